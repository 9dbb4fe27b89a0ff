/* io.c: a preparation into and out of a model file, and its steps for people.
 *
 * Only choices and fitted numbers are stored. Positions are derived again by the layout and then compared with the counts
 * in the file, so a damaged file cannot make apply write outside its memory. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/match.h"
#include "mpack/writer.h"
#include "prepare/steps.h"

enum { PREPARE_VERSION = 1 };
/* One row per input in the file. */
enum { I_FIELD, I_CODING, I_HAS_FLAG, I_MISSING_IS_CODE, I_BUCKETS, I_CATEGORIES, I_COLS };
/* The codings that a kind of field can have. */
static const unsigned codings_of[] = {
	[MMQ_FIELD_NUMERIC] = 1u << MMQ_CODING_NUMBER, [MMQ_FIELD_BOOLEAN] = 1u << MMQ_CODING_BOOLEAN,
	[MMQ_FIELD_DATETIME] = 1u << MMQ_CODING_DATETIME, [MMQ_FIELD_VECTOR] = 1u << MMQ_CODING_VECTOR,
	[MMQ_FIELD_CATEGORICAL] = 1u << MMQ_CODING_ONE_HOT | 1u << MMQ_CODING_ORDINAL, [MMQ_FIELD_TEXT] = 1u << MMQ_CODING_TEXT_HASH,
	[MMQ_FIELD_IGNORE] = 0,
};

int
mmq_prepare_save(const struct mmq_prepare *prepare, struct mmq_part *out, struct mmq_err *err)
{
	size_t count = prepare->inputs_count, texts = 0, bytes = 0, at = 0;
	uint32_t *table = mmq_array(count * I_COLS, sizeof(*table));

	for (size_t i = 0; i < count; i++) {
		const struct mmq_prepare_input *input = &prepare->inputs[i];
		uint32_t *row = table + i * I_COLS;
		row[I_FIELD] = input->field;
		row[I_CODING] = input->coding;
		row[I_HAS_FLAG] = input->has_flag;
		row[I_MISSING_IS_CODE] = input->missing_is_code;
		row[I_BUCKETS] = input->buckets;
		row[I_CATEGORIES] = (uint32_t)input->categories.count;
		texts += input->categories.count;
		for (size_t k = 0; k < input->categories.count; k++)
			bytes += input->categories.items[k].size;
	}
	if (bytes > UINT32_MAX) {
		free(table);
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "category names take %zu bytes, more than a model file holds", bytes);
	}
	uint32_t *sizes = mmq_array(texts, sizeof(*sizes));
	char *block = mmq_alloc(bytes);
	size_t text = 0;
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < prepare->inputs[i].categories.count; k++) {
			struct mmq_text item = prepare->inputs[i].categories.items[k];
			if (item.size > 0)
				memcpy(block + at, item.at, item.size);
			at += item.size;
			sizes[text++] = item.size;
		}
	mmq_part_put_int(out, "version", PREPARE_VERSION);
	mmq_part_put_text(out, "dtype", mmq_dtype_name(prepare->dtype));
	mmq_part_put_bool(out, "is_csr", prepare->is_csr);
	mmq_part_put_bool(out, "imputes", prepare->imputes);
	mmq_part_put_bool(out, "keeps_vectors", prepare->keeps_vectors);
	mmq_part_put_int(out, "cols", (int64_t)prepare->cols);
	mmq_part_put_int(out, "codes_cols", (int64_t)prepare->codes_cols);
	mmq_part_put_matrix(out, "inputs", MMQ_U32, count, I_COLS, table);
	mmq_part_put_vector(out, "category_sizes", MMQ_U32, texts, sizes);
	mmq_part_put_vector(out, "category_texts", MMQ_U8, bytes, block);
	mmq_part_put_matrix(out, "scales", MMQ_F64, prepare->scales_count, 3, prepare->scales);
	free(table);
	free(sizes);
	free(block);
	return 0;
}

/* What is left of the lists of category texts while inputs are opened one after the other. */
struct texts_left {
	const uint32_t *sizes;
	const char *bytes;
	uint64_t count, bytes_count;
};

static int
open_categories(struct mmq_prepare_input *input, uint32_t count, struct texts_left *left, struct mmq_err *err)
{
	if (count > left->count)
		return mmq_err_set(err, MMQ_DATA_LOSS, "preparation: more categories announced than stored");
	struct mmq_text *items = mmq_array(count, sizeof(*items));
	for (uint32_t i = 0; i < count; i++) {
		uint32_t size = left->sizes[i];
		if (size > left->bytes_count) {
			free(items);
			return mmq_err_set(err, MMQ_DATA_LOSS, "preparation: a category is longer than what is stored");
		}
		items[i] = (struct mmq_text){ left->bytes, size };
		left->bytes += size;
		left->bytes_count -= size;
	}
	left->sizes += count;
	left->count -= count;
	mmq_categories_init(&input->categories, items, count);
	free(items);
	return 0;
}

static int
open_input(struct mmq_prepare *prepare, const uint32_t *row, struct texts_left *left, struct mmq_err *err)
{
	struct mmq_prepare_input *input = &prepare->inputs[prepare->inputs_count];
	uint32_t before = prepare->inputs_count > 0 ? input[-1].field + 1 : 0;

	if (row[I_FIELD] < before || row[I_FIELD] >= prepare->schema.fields_count || !mmq_field_is_input(&prepare->schema.fields[row[I_FIELD]]))
		return mmq_err_set(err, MMQ_DATA_LOSS, "preparation: input %zu names field %u, which is not an input of the schema", prepare->inputs_count,
		    row[I_FIELD]);
	const struct mmq_field *field = &prepare->schema.fields[row[I_FIELD]];
	if (row[I_CODING] >= MMQ_CODING_COUNT || !(codings_of[field->kind] & 1u << row[I_CODING]))
		return mmq_err_set(err, MMQ_DATA_LOSS, "preparation: column '%s' of kind %s has coding %u", field->name, mmq_field_kind_name(field->kind),
		    row[I_CODING]);
	bool is_category = field->kind == MMQ_FIELD_CATEGORICAL;
	if (row[I_HAS_FLAG] > 1 || row[I_MISSING_IS_CODE] > 1 || row[I_BUCKETS] > MMQ_CATEGORY_BUCKETS ||
	    (is_category ? row[I_HAS_FLAG] != 0 : row[I_MISSING_IS_CODE] + row[I_BUCKETS] + row[I_CATEGORIES] != 0) ||
	    (row[I_BUCKETS] > 0 && row[I_CATEGORIES] > 0))
		return mmq_err_set(err, MMQ_DATA_LOSS, "preparation: column '%s' has flags that do not fit together", field->name);
	if (row[I_CODING] == MMQ_CODING_TEXT_HASH && (!prepare->is_csr || row[I_HAS_FLAG]))
		return mmq_err_set(err, MMQ_DATA_LOSS, "preparation: column '%s' is hashed text, which only sparse rows can hold", field->name);
	input->field = row[I_FIELD];
	input->coding = (enum mmq_coding)row[I_CODING];
	input->has_flag = row[I_HAS_FLAG];
	input->missing_is_code = row[I_MISSING_IS_CODE];
	input->buckets = row[I_BUCKETS];
	prepare->inputs_count++;  /* from here on destroy frees the categories */
	return open_categories(input, row[I_CATEGORIES], left, err);
}

static int
open_scales(struct mmq_prepare *prepare, const struct mmq_part *in, struct mmq_err *err)
{
	const struct mmq_tensor *scales;

	if (mmq_part_get_tensor(in, "scales", MMQ_F64, 2, (uint64_t[2]){ prepare->scales_count, 3 }, &scales, err) == -1)
		return -1;
	const double *numbers = scales->data;
	for (size_t i = 0; i < prepare->scales_count * 3; i++)
		if (!isfinite(numbers[i]))
			return mmq_err_set(err, MMQ_DATA_LOSS, "preparation: scale %zu is not finite", i / 3);
	prepare->scales = mmq_array(prepare->scales_count, sizeof(*prepare->scales));
	for (size_t i = 0; i < prepare->scales_count; i++)
		prepare->scales[i] = (struct mmq_scale){ numbers[i * 3], numbers[i * 3 + 1], numbers[i * 3 + 2] };
	return 0;
}

static int
open_inputs(struct mmq_prepare *prepare, const struct mmq_part *in, struct mmq_err *err)
{
	const struct mmq_tensor *table, *sizes, *bytes;
	const char *dtype;
	int64_t version, cols, codes_cols;
	size_t wanted = 0;

	if (mmq_part_get_int(in, "version", 1, PREPARE_VERSION, &version, err) == -1 || mmq_part_get_text(in, "dtype", &dtype, err) == -1 ||
	    mmq_part_get_bool(in, "is_csr", &prepare->is_csr, err) == -1 || mmq_part_get_bool(in, "imputes", &prepare->imputes, err) == -1 ||
	    mmq_part_get_bool(in, "keeps_vectors", &prepare->keeps_vectors, err) == -1 ||
	    mmq_part_get_int(in, "cols", 0, INT32_MAX, &cols, err) == -1 ||
	    mmq_part_get_int(in, "codes_cols", 0, INT32_MAX, &codes_cols, err) == -1)
		return -1;
	int type = mmq_dtype_from_name(dtype, strlen(dtype));
	if (type != MMQ_F32 && type != MMQ_F64)
		return mmq_err_set(err, MMQ_DATA_LOSS, "preparation: dtype '%.20s' is neither f32 nor f64", dtype);
	prepare->dtype = (enum mmq_dtype)type;
	for (size_t i = 0; i < prepare->schema.fields_count; i++)
		wanted += mmq_field_is_input(&prepare->schema.fields[i]);
	if (mmq_part_get_tensor(in, "inputs", MMQ_U32, 2, (uint64_t[2]){ wanted, I_COLS }, &table, err) == -1 ||
	    mmq_part_get_tensor(in, "category_sizes", MMQ_U32, 1, (uint64_t[1]){ UINT64_MAX }, &sizes, err) == -1 ||
	    mmq_part_get_tensor(in, "category_texts", MMQ_U8, 1, (uint64_t[1]){ UINT64_MAX }, &bytes, err) == -1)
		return -1;
	struct texts_left left = { sizes->data, bytes->data, sizes->shape[0], bytes->shape[0] };
	prepare->inputs = mmq_array(wanted, sizeof(*prepare->inputs));
	for (size_t i = 0; i < wanted; i++)
		if (open_input(prepare, (const uint32_t *)table->data + i * I_COLS, &left, err) == -1)
			return -1;
	if (prepare->is_csr && !prepare->imputes)
		return mmq_err_set(err, MMQ_DATA_LOSS, "preparation: sparse rows without filled gaps");
	if (mmq_prepare_layout(prepare, err) == -1)
		return -1;
	if (prepare->cols != (size_t)cols || prepare->codes_cols != (size_t)codes_cols || left.count != 0 || left.bytes_count != 0)
		return mmq_err_set(err, MMQ_DATA_LOSS, "preparation: gives %zu + %zu columns, the file says %lld + %lld", prepare->cols, prepare->codes_cols,
		    (long long)cols, (long long)codes_cols);
	return open_scales(prepare, in, err);
}

int
mmq_prepare_open(struct mmq_prepare **prepare_out, const struct mmq_schema *schema, const struct mmq_part *in, struct mmq_err *err)
{
	struct mmq_prepare *prepare = mmq_alloc(sizeof(*prepare));

	mmq_schema_copy(&prepare->schema, schema);
	mmq_arena_init(&prepare->names);
	if (open_inputs(prepare, in, err) == -1)
		mmq_prepare_destroy(&prepare);
	*prepare_out = prepare;
	return prepare != NULL ? 0 : -1;
}

/* A step for people: who takes part in it. */
enum step { STEP_DATETIME, STEP_FLAG, STEP_IMPUTE, STEP_ONE_HOT, STEP_ORDINAL, STEP_CATEGORY_HASH, STEP_TEXT_HASH, STEP_STANDARDIZE,
	STEP_VECTOR_RANGE, STEP_COUNT };
static const char *const step_names[STEP_COUNT] = { "datetime_parts", "missing_flag", "impute_median", "one_hot", "category_codes", "category_hash",
	"text_hash", "standardize", "vector_range" };

static bool
takes_part(const struct mmq_prepare *prepare, const struct mmq_prepare_input *input, enum step step)
{
	bool is_scaled = false;

	for (uint32_t i = 0; i < input->scales; i++)
		is_scaled = is_scaled || prepare->scales[input->scale + i].center != 0 || prepare->scales[input->scale + i].scale != 1;
	switch (step) {
	case STEP_DATETIME: return input->coding == MMQ_CODING_DATETIME;
	case STEP_FLAG: return input->has_flag;
	case STEP_IMPUTE: return prepare->imputes && input->scales > 0;
	case STEP_ONE_HOT: return input->coding == MMQ_CODING_ONE_HOT;
	case STEP_ORDINAL: return input->coding == MMQ_CODING_ORDINAL;
	case STEP_CATEGORY_HASH: return input->buckets > 0;
	case STEP_TEXT_HASH: return input->coding == MMQ_CODING_TEXT_HASH;
	case STEP_STANDARDIZE: return is_scaled && input->coding != MMQ_CODING_VECTOR;
	case STEP_VECTOR_RANGE: return is_scaled && input->coding == MMQ_CODING_VECTOR;
	case STEP_COUNT: break;
	}
	return false;
}

static void
write_step(const struct mmq_prepare *prepare, enum step step, size_t columns, struct mmq_buf *out)
{
	mmq_put_map(out, 3);
	mmq_put_str(out, "step");
	mmq_put_str(out, step_names[step]);
	mmq_put_str(out, "version");
	mmq_put_int(out, 1);
	mmq_put_str(out, "columns");
	mmq_put_array(out, columns);
	for (size_t i = 0; i < prepare->inputs_count; i++)
		if (takes_part(prepare, &prepare->inputs[i], step))
			mmq_put_str(out, prepare->schema.fields[prepare->inputs[i].field].name);
}

void
mmq_prepare_write(const struct mmq_prepare *prepare, struct mmq_buf *out)
{
	size_t place = mmq_put_array_begin(out);
	uint32_t steps = 0;

	for (enum step step = STEP_DATETIME; step < STEP_COUNT; step++) {
		size_t columns = 0;
		for (size_t i = 0; i < prepare->inputs_count; i++)
			columns += takes_part(prepare, &prepare->inputs[i], step);
		if (columns == 0)
			continue;
		write_step(prepare, step, columns, out);
		steps++;
	}
	bool is_scaled = false;
	for (size_t i = prepare->sparse_scale; i < prepare->scales_count; i++)
		is_scaled = is_scaled || prepare->scales[i].scale != 1;
	if (is_scaled) {
		mmq_put_map(out, 3);
		mmq_put_str(out, "step");
		mmq_put_str(out, "max_abs_scale");
		mmq_put_str(out, "version");
		mmq_put_int(out, 1);
		mmq_put_str(out, "sparse_columns");
		mmq_put_uint(out, prepare->schema.sparse_cols);
		steps++;
	}
	mmq_put_map(out, 4);
	mmq_put_str(out, "step");
	mmq_put_str(out, prepare->is_csr ? "assemble_sparse" : "assemble_dense");
	mmq_put_str(out, "version");
	mmq_put_int(out, 1);
	mmq_put_str(out, "width");
	mmq_put_uint(out, prepare->cols);
	mmq_put_str(out, "dtype");
	mmq_put_str(out, mmq_dtype_name(prepare->dtype));
	mmq_put_array_end(out, place, steps + 1);
}
