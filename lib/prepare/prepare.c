/* prepare.c: apply: one row at a time through the fitted inputs, into dense, codes or CSR.
 *
 * Every row takes the same path whether it comes from a training file or alone in a request, so both give the same bits. Columns
 * are found by position; category values through a hash table; nothing is allocated once the output's memory is warm. */
#include "prepare/prepare.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prepare/steps.h"
#include "prepare/text_hash.h"
#include "util/hash.h"

#define DENSE_BYTES_MAX ((size_t)8 << 30)  /* of one apply; a request is far below, a training set may come near */

/* Where one row goes. Dense rows are first written as doubles, then rounded once to the batch's type. */
struct sink {
	struct mmq_prepared *out;
	double *dense;      /* (cols) of the current row; NULL: CSR */
	int32_t *codes;     /* of the current row */
	size_t entries;     /* CSR entries so far */
	bool is_f32;
};

/* The largest float instead of infinity; NaN stays. */
static float
to_float(double value)
{
	return value > FLT_MAX ? FLT_MAX : value < -FLT_MAX ? -FLT_MAX : (float)value;
}

/* At least one byte, so that memory for no columns is still not NULL. */
static void *
reserve(void *memory, size_t *bytes, size_t need)
{
	if (memory != NULL && need <= *bytes)
		return memory;
	free(memory);
	*bytes = need + need / 4 + 1;
	return mmq_aligned(*bytes);
}

void
mmq_prepared_fini(struct mmq_prepared *prepared)
{
	free(prepared->dense);
	free(prepared->codes);
	free(prepared->row_start);
	free(prepared->col);
	free(prepared->value);
	free(prepared->temp);
	*prepared = (struct mmq_prepared){ 0 };
}

static void
entries_grow(struct sink *sink, size_t more)
{
	struct mmq_prepared *out = sink->out;
	size_t width = sink->is_f32 ? sizeof(float) : sizeof(double), need = sink->entries + more;

	if (need * sizeof(uint32_t) <= out->col_bytes && need * width <= out->value_bytes)
		return;
	size_t count = need * 2 + 64;
	uint32_t *col = mmq_aligned(count * sizeof(*col));
	void *value = mmq_aligned(count * width);
	if (sink->entries > 0) {
		memcpy(col, out->col, sink->entries * sizeof(*col));
		memcpy(value, out->value, sink->entries * width);
	}
	free(out->col);
	free(out->value);
	out->col = col;
	out->col_bytes = count * sizeof(*col);
	out->value = value;
	out->value_bytes = count * width;
}

static void
put(struct sink *sink, size_t col, double value)
{
	if (sink->dense != NULL) {
		sink->dense[col] = value;
		return;
	}
	if (value == 0)
		return;
	entries_grow(sink, 1);
	sink->out->col[sink->entries] = (uint32_t)col;
	if (sink->is_f32)
		((float *)sink->out->value)[sink->entries] = to_float(value);
	else
		((double *)sink->out->value)[sink->entries] = value;
	sink->entries++;
}

/* code_out: 0.. known, -1 missing, -2 unseen. */
static int
read_code(const struct mmq_prepare *prepare, const struct mmq_prepare_input *input, const struct mmq_column *column, size_t row, int32_t *code_out,
    struct mmq_err *err)
{
	char number[32];
	struct mmq_text text;

	if (mmq_prepare_category_text(prepare, input, column, row, number, &text, err) == -1)
		return -1;
	if (text.at == NULL) {
		*code_out = input->missing_is_code ? (int32_t)mmq_prepare_codes_of(input) - 1 : -1;
		return 0;
	}
	if (input->buckets > 0) {
		*code_out = (int32_t)(mmq_murmur3_32(text.at, text.size, 0) % input->buckets);
		return 0;
	}
	int32_t code = mmq_categories_find(&input->categories, text);
	if (code == -1 && prepare->schema.fields[input->field].values != NULL)
		return mmq_prepare_refuse(err, prepare->schema.fields[input->field].name, row, "one of the schema's values", text.at, text.size);
	*code_out = code == -1 ? -2 : code;
	return 0;
}

static double
scaled(const struct mmq_prepare *prepare, const struct mmq_scale *scale, double value)
{
	if (isnan(value) && prepare->imputes)
		value = scale->fill;
	return (value - scale->center) * scale->scale;
}

static int
put_vector(const struct mmq_prepare *prepare, const struct mmq_prepare_input *input, const struct mmq_column *column, size_t row,
    struct sink *sink, struct mmq_err *err)
{
	const struct mmq_field *field = &prepare->schema.fields[input->field];
	const struct mmq_scale *scale = &prepare->scales[input->scale];
	bool has_gap = false;

	if (column->type != MMQ_COLUMN_NUMBER || column->width != field->width)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field->name, "a vector of the model's width", "%zu numbers, want %zu", column->width, field->width);
	const double *numbers = column->numbers + row * column->stride;
	for (size_t i = 0; i < field->width; i++) {
		has_gap = has_gap || isnan(numbers[i]);
		if (mmq_prepare_check(field, row, numbers[i], err) == -1)
			return -1;
		put(sink, input->out + i, scaled(prepare, scale, numbers[i]));
	}
	if (input->has_flag)
		put(sink, input->out + field->width, has_gap);
	return 0;
}

static int
put_text(const struct mmq_prepare *prepare, const struct mmq_prepare_input *input, const struct mmq_column *column, size_t row, struct sink *sink,
    struct mmq_err *err)
{
	struct mmq_prepared *out = sink->out;

	if (column->type != MMQ_COLUMN_TEXT)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, prepare->schema.fields[input->field].name, "text", "numbers");
	struct mmq_text text = mmq_column_text(column, row);
	size_t most = mmq_text_hash_terms_max(text.size), scratch = mmq_text_hash_scratch_bytes(text.size);
	size_t need = most * sizeof(double) + most * sizeof(uint64_t) + scratch;
	out->temp = reserve(out->temp, &out->temp_bytes, need);
	double *values = out->temp;
	uint32_t *cols = (uint32_t *)(values + most);
	size_t count = mmq_text_hash(text, (uint64_t *)(values + most) + most, cols, values);
	for (size_t i = 0; i < count; i++)
		put(sink, input->out + cols[i], values[i]);
	return 0;
}

static int
put_input(const struct mmq_prepare *prepare, const struct mmq_prepare_input *input, const struct mmq_column *column, size_t row,
    struct sink *sink, struct mmq_err *err)
{
	double values[MMQ_DATETIME_PARTS];
	int32_t code = -1;

	switch (input->coding) {
	case MMQ_CODING_VECTOR:
		return put_vector(prepare, input, column, row, sink, err);
	case MMQ_CODING_TEXT_HASH:
		return put_text(prepare, input, column, row, sink, err);
	case MMQ_CODING_ONE_HOT:
	case MMQ_CODING_ORDINAL:
		if (read_code(prepare, input, column, row, &code, err) == -1)
			return -1;
		if (input->coding == MMQ_CODING_ORDINAL)
			sink->codes[input->out] = code;
		else if (code >= 0)
			put(sink, input->out + (size_t)code, 1);
		return 0;
	default:
		if (mmq_prepare_numbers(prepare, input, column, row, values, err) == -1)
			return -1;
		for (uint32_t i = 0; i < input->scales; i++)
			put(sink, input->out + i, scaled(prepare, &prepare->scales[input->scale + i], values[i]));
		if (input->has_flag)
			put(sink, input->out + input->scales, isnan(values[0]));
		return 0;
	}
}

static int
put_sparse(const struct mmq_prepare *prepare, const struct mmq_csr *sparse, size_t row, struct sink *sink, struct mmq_err *err)
{
	const struct mmq_scale *scales = prepare->scales + prepare->sparse_scale;
	char field[64];

	for (uint64_t i = sparse->row_start[row]; i < sparse->row_start[row + 1]; i++) {
		uint32_t col = sparse->col[i];
		if (col >= prepare->schema.sparse_cols || !isfinite(sparse->value[i])) {
			snprintf(field, sizeof(field), "rows[%zu].%u", row, col);
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, "a finite number in a column of the model", "%g, the model has %zu columns",
			    sparse->value[i], prepare->schema.sparse_cols);
		}
		put(sink, prepare->sparse_at + col, sparse->value[i] * scales[col].scale);
	}
	return 0;
}

static int
put_row(const struct mmq_prepare *prepare, const struct mmq_frame *frame, const struct mmq_column *columns, bool is_full, size_t row, struct sink *sink,
    struct mmq_err *err)
{
	for (size_t i = 0; i < prepare->inputs_count; i++) {
		const struct mmq_prepare_input *input = &prepare->inputs[i];
		if (put_input(prepare, input, &columns[is_full ? input->field : i], row, sink, err) == -1)
			return -1;
	}
	return prepare->schema.sparse_cols > 0 ? put_sparse(prepare, &frame->sparse, row, sink, err) : 0;
}

static int
check_layout(const struct mmq_prepare *prepare, const struct mmq_frame *frame, struct mmq_err *err)
{
	if (prepare->schema.sparse_cols > 0 && frame->sparse.row_start == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "rows", "sparse rows, as the model was trained on", "dense rows");
	if (frame->columns_count != prepare->schema.fields_count && frame->columns_count != prepare->inputs_count)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "rows", "the model's columns", "%zu columns, want %zu", frame->columns_count,
		    prepare->inputs_count);
	return 0;
}

const struct mmq_column *
mmq_prepare_column(const struct mmq_prepare *prepare, const struct mmq_frame *frame, size_t index, struct mmq_err *err)
{
	if (check_layout(prepare, frame, err) == -1)
		return NULL;
	return &frame->columns[frame->columns_count == prepare->schema.fields_count ? prepare->inputs[index].field : index];
}

/* Memory for `rows` rows and the batch that points to it. One row of doubles for rounding lies behind the dense rows. */
static int
batch_begin(const struct mmq_prepare *prepare, size_t rows, struct mmq_prepared *out, struct sink *sink, struct mmq_err *err)
{
	size_t width = mmq_dtype_bytes(prepare->dtype), bytes = 0;

	if (!prepare->is_csr && (!mmq_size_mul(rows + 1, prepare->cols * width, &bytes) || bytes > DENSE_BYTES_MAX))
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%zu rows of %zu dense columns need more than %zu GiB; an engine that accepts sparse rows may do",
		    rows, prepare->cols, DENSE_BYTES_MAX >> 30);
	*sink = (struct sink){ .out = out, .is_f32 = prepare->dtype == MMQ_F32 };
	out->batch = (struct mmq_batch){ .rows = rows, .cols = prepare->cols, .dtype = prepare->dtype, .stride = prepare->cols, .codes_cols = prepare->codes_cols };
	if (prepare->codes_cols > 0)
		out->codes = reserve(out->codes, &out->codes_bytes, rows * prepare->codes_cols * sizeof(*out->codes));
	if (prepare->is_csr) {
		out->row_start = reserve(out->row_start, &out->row_start_bytes, (rows + 1) * sizeof(*out->row_start));
		out->row_start[0] = 0;
		entries_grow(sink, 1);
	} else {
		out->dense = reserve(out->dense, &out->dense_bytes, bytes);
		out->temp = reserve(out->temp, &out->temp_bytes, prepare->cols * sizeof(double));
		sink->dense = out->temp;
	}
	return 0;
}

static void
row_end(const struct mmq_prepare *prepare, size_t index, struct sink *sink)
{
	size_t cols = prepare->cols;

	if (sink->dense == NULL) {
		sink->out->row_start[index + 1] = sink->entries;
	} else if (sink->is_f32) {
		float *row = (float *)sink->out->dense + index * cols;
		for (size_t i = 0; i < cols; i++)
			row[i] = to_float(sink->dense[i]);
	} else if (cols > 0) {
		memcpy((double *)sink->out->dense + index * cols, sink->dense, cols * sizeof(double));
	}
}

int
mmq_prepare_apply(const struct mmq_prepare *prepare, const struct mmq_frame *frame, const uint32_t *rows, size_t rows_count,
    struct mmq_prepared *out, struct mmq_row_errors *bad, struct mmq_err *err)
{
	struct sink sink;
	struct mmq_err row_err;

	if (check_layout(prepare, frame, err) == -1 || batch_begin(prepare, rows_count, out, &sink, err) == -1)
		return -1;
	bool is_full = frame->columns_count == prepare->schema.fields_count;
	for (size_t i = 0; i < rows_count; i++) {
		size_t row = rows != NULL ? rows[i] : i, entries_before = sink.entries;
		if (sink.dense != NULL)
			memset(sink.dense, 0, prepare->cols * sizeof(double));
		sink.codes = out->codes + i * prepare->codes_cols;
		if (put_row(prepare, frame, frame->columns, is_full, row, &sink, &row_err) == -1) {
			if (bad == NULL) {
				if (err != NULL)
					*err = row_err;
				return -1;
			}
			mmq_row_errors_add(bad, row, &row_err);
			sink.entries = entries_before;
			if (sink.dense != NULL)
				memset(sink.dense, 0, prepare->cols * sizeof(double));
			for (size_t k = 0; k < prepare->codes_cols; k++)
				sink.codes[k] = -1;
		}
		row_end(prepare, i, &sink);
	}
	out->batch.codes = prepare->codes_cols > 0 ? out->codes : NULL;
	out->batch.dense = prepare->is_csr || prepare->cols == 0 ? NULL : out->dense;
	out->batch.row_start = prepare->is_csr ? out->row_start : NULL;
	out->batch.col = prepare->is_csr ? out->col : NULL;
	out->batch.value = prepare->is_csr ? out->value : NULL;
	return 0;
}

const struct mmq_feature *
mmq_prepare_features(const struct mmq_prepare *prepare, size_t *count_out)
{
	*count_out = prepare->features_count;
	return prepare->features;
}

void
mmq_prepare_destroy(struct mmq_prepare **prepare)
{
	if (*prepare == NULL)
		return;
	for (size_t i = 0; i < (*prepare)->inputs_count; i++)
		mmq_categories_fini(&(*prepare)->inputs[i].categories);
	free((*prepare)->inputs);
	free((*prepare)->scales);
	free((*prepare)->features);
	mmq_arena_fini(&(*prepare)->names);
	mmq_schema_fini(&(*prepare)->schema);
	free(*prepare);
	*prepare = NULL;
}
