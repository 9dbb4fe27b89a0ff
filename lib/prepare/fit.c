/* fit.c: what the training rows say about each input column: coding, categories, fill values, scales.
 *
 * Order: choose the coding from kind and engine -> look at values (gaps, categories) -> dense or CSR from the expected share of non-zeros ->
 * fill and scale. Values are read through the same cell functions as in apply. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/match.h"
#include "prepare/steps.h"
#include "prepare/text_hash.h"
#include "util/number.h"

#define CSR_DENSITY_MAX 0.10

struct fit {
	struct mmq_prepare *prepare;
	const struct mmq_frame *frame;
	const uint32_t *rows;
	size_t rows_count;
	unsigned accepts;
	struct mmq_buf *warnings;
	double *values;          /* (rows_count) one column's numbers */
};

static void
warn(struct fit *fit, const char *column, const char *text)
{
	if (fit->warnings == NULL)
		return;
	if (column != NULL)
		mmq_buf_printf(fit->warnings, "column '%.100s' %s\n", column, text);
	else
		mmq_buf_printf(fit->warnings, "%s\n", text);
}

static const char *
name_of(const struct fit *fit, const struct mmq_prepare_input *input)
{
	return fit->prepare->schema.fields[input->field].name;
}

static int
choose_coding(const struct fit *fit, const struct mmq_field *field, enum mmq_coding *coding_out, struct mmq_err *err)
{
	bool ordinal = (fit->accepts & MMQ_ACCEPTS_CATEGORY) && !(fit->accepts & MMQ_WANTS_ONE_HOT);

	switch (field->kind) {
	case MMQ_FIELD_NUMERIC: *coding_out = MMQ_CODING_NUMBER; break;
	case MMQ_FIELD_BOOLEAN: *coding_out = MMQ_CODING_BOOLEAN; break;
	case MMQ_FIELD_DATETIME: *coding_out = MMQ_CODING_DATETIME; break;
	case MMQ_FIELD_VECTOR: *coding_out = MMQ_CODING_VECTOR; break;
	case MMQ_FIELD_CATEGORICAL: *coding_out = ordinal ? MMQ_CODING_ORDINAL : MMQ_CODING_ONE_HOT; break;
	case MMQ_FIELD_TEXT:
		if (!(fit->accepts & MMQ_ACCEPTS_SPARSE))
			return mmq_err_value(err, MMQ_FAILED_PRECONDITION, field->name,
			    "an engine that accepts sparse rows, or kind categorical or ignore in the schema", "free text for an engine of dense rows");
		*coding_out = MMQ_CODING_TEXT_HASH;
		break;
	case MMQ_FIELD_IGNORE: break;
	}
	return 0;
}

/* One word among numbers makes a column text: said, since it is more often a slip or a mark of a missing value than a category. */
static void
warn_of_numbers(struct fit *fit, const struct mmq_field *field, const struct mmq_text *values, size_t count)
{
	const struct mmq_text *word = NULL;
	size_t numbers = 0;
	char line[256];
	double ignored;

	for (size_t i = 0; i < count; i++) {
		if (mmq_number_parse(values[i].at, values[i].size, &ignored))
			numbers++;
		else if (word == NULL)
			word = &values[i];
	}
	if (word == NULL || numbers * 10 < count * 9)
		return;
	snprintf(line, sizeof(line), "is taken as categories because of '%.*s', but %zu of its %zu different values are numbers; "
	    "an empty field says that a value is missing (schema: kind numeric refuses words)", word->size > 40 ? 40 : (int)word->size, word->at, numbers, count);
	warn(fit, field->name, line);
}

/* Distinct values and gaps of a category column. */
static int
fit_categories(struct fit *fit, struct mmq_prepare_input *input, const struct mmq_column *column, struct mmq_err *err)
{
	const struct mmq_field *field = &fit->prepare->schema.fields[input->field];
	struct mmq_distinct distinct;
	struct mmq_text text;
	char number[32], line[192];
	size_t missing = 0;

	mmq_distinct_init(&distinct);
	for (size_t i = 0; i < field->values_count; i++)
		mmq_distinct_add(&distinct, (struct mmq_text){ field->values[i], (uint32_t)strlen(field->values[i]) });
	for (size_t i = 0; i < fit->rows_count; i++) {
		if (mmq_prepare_category_text(fit->prepare, input, column, fit->rows[i], number, &text, err) == -1)
			goto fail;
		if (text.at == NULL) {
			missing++;
		} else if (mmq_distinct_add(&distinct, text) >= field->values_count && field->values != NULL) {
			mmq_prepare_refuse(err, field->name, fit->rows[i], "one of the schema's values", text.at, text.size);
			goto fail;
		}
	}
	/* An ordinal code of -1 says missing to engines that understand it; all others get a code of its own. */
	input->missing_is_code = missing > 0 && (input->coding == MMQ_CODING_ONE_HOT || !(fit->accepts & MMQ_ACCEPTS_MISSING));
	size_t count = distinct.known.count;
	if (missing == fit->rows_count)
		warn(fit, field->name, "has no value in any training row");
	else if (count == 1 && missing == 0)
		warn(fit, field->name, "has the same value in all training rows");
	if (field->values == NULL)
		warn_of_numbers(fit, field, distinct.known.items, count);
	if (count > MMQ_CATEGORIES_MAX && field->values == NULL) {
		input->buckets = MMQ_CATEGORY_BUCKETS;
		snprintf(line, sizeof(line), "has %zu different values, more than %d: they are hashed into %d groups%s", count, MMQ_CATEGORIES_MAX,
		    MMQ_CATEGORY_BUCKETS, count * 10 > fit->rows_count * 9 ? "; it looks like an id (schema: role id)" : "");
		warn(fit, field->name, line);
		mmq_distinct_fini(&distinct);
	} else {
		mmq_distinct_finish(&distinct, &input->categories);
	}
	return 0;
fail:
	mmq_distinct_fini(&distinct);
	return -1;
}

/* One pass over the cells of a column: are they values of this field, and does it have gaps? */
static int
fit_gaps(struct fit *fit, struct mmq_prepare_input *input, const struct mmq_column *column, struct mmq_err *err)
{
	const struct mmq_field *field = &fit->prepare->schema.fields[input->field];
	double values[MMQ_DATETIME_PARTS];
	size_t missing = 0;

	if (input->coding == MMQ_CODING_VECTOR && (column->type != MMQ_COLUMN_NUMBER || column->width != field->width))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field->name, "a vector of the schema's width", "%zu numbers, want %zu", column->width, field->width);
	for (size_t i = 0; i < fit->rows_count; i++) {
		bool gap = false;
		if (input->coding == MMQ_CODING_VECTOR) {
			const double *numbers = column->numbers + fit->rows[i] * column->stride;
			for (size_t k = 0; k < field->width && !gap; k++)
				gap = isnan(numbers[k]);
		} else if (mmq_prepare_numbers(fit->prepare, input, column, fit->rows[i], values, err) == -1) {
			return -1;
		} else {
			gap = isnan(values[0]);
		}
		missing += gap;
	}
	if (missing == fit->rows_count)
		warn(fit, field->name, "has no value in any training row");
	input->has_flag = missing > 0;  /* settled once imputing is: only then is the flag needed */
	return 0;
}

/* The k-th smallest of values (count), reordered so that none before k is larger and none behind it smaller. Hoare's FIND (1961). */
static double
select_kth(double *values, ptrdiff_t count, ptrdiff_t k)
{
	ptrdiff_t low = 0, high = count - 1;

	while (low < high) {
		double pivot = values[k];
		ptrdiff_t i = low, j = high;
		while (i <= j) {
			while (values[i] < pivot)
				i++;
			while (values[j] > pivot)
				j--;
			if (i > j)
				break;
			double swap = values[i];
			values[i++] = values[j];
			values[j--] = swap;
		}
		if (j < k)
			low = i;
		if (i > k)
			high = j;
	}
	return values[k];
}

static double
median(double *values, size_t count)
{
	double upper = select_kth(values, (ptrdiff_t)count, (ptrdiff_t)(count / 2)), lower = upper;

	if (count % 2 == 0) {
		lower = values[0];
		for (size_t i = 1; i < count / 2; i++)
			lower = fmax(lower, values[i]);
	}
	return lower + (upper - lower) / 2;
}

/* Sums of one numeric output over the training rows, gaps filled. */
struct spread { double mean, deviation; };

static struct spread
spread_of(const double *values, size_t count, size_t filled, double fill)
{
	double n = (double)(count + filled), sum = fill * (double)filled, squares = 0;

	for (size_t i = 0; i < count; i++)
		sum += values[i];
	double mean = sum / n;
	squares = (fill - mean) * (fill - mean) * (double)filled;
	for (size_t i = 0; i < count; i++)
		squares += (values[i] - mean) * (values[i] - mean);
	double deviation = sqrt(squares / n);
	/* What is left of rounding a constant is not a spread. */
	return (struct spread){ mean, deviation > 1e-13 * fabs(mean) && deviation > 1e-300 ? deviation : 0 };
}

/* fill from the values that are there, center and scale (z-score, as StandardScaler: divided by n) if the engine wants scaled input. */
static void
fit_scale(struct fit *fit, const struct mmq_prepare_input *input, size_t count, size_t missing, bool is_scaled, struct mmq_scale *scale)
{
	bool imputes = fit->prepare->imputes;
	enum mmq_filling filling = fit->prepare->schema.fields[input->field].filling;

	*scale = (struct mmq_scale){ .fill = count == 0 || filling == MMQ_FILLING_ZERO ? 0 : filling == MMQ_FILLING_MEAN ?
	    spread_of(fit->values, count, 0, 0).mean : median(fit->values, count), .scale = 1 };
	if (count == 0)
		return;
	struct spread spread = spread_of(fit->values, count, imputes ? missing : 0, scale->fill);
	if (spread.deviation == 0 && missing == 0 && input->coding != MMQ_CODING_DATETIME)
		warn(fit, name_of(fit, input), "has the same value in all training rows");
	if (is_scaled) {
		scale->center = spread.mean;
		scale->scale = spread.deviation > 0 ? 1 / spread.deviation : 1;
	}
}

static bool
wants_scaling(const struct fit *fit, enum mmq_scaling scaling)
{
	return scaling == MMQ_SCALING_STANDARD || (scaling == MMQ_SCALING_AUTO && (fit->accepts & MMQ_WANTS_SCALED));
}

static int
fit_numbers(struct fit *fit, struct mmq_prepare_input *input, const struct mmq_column *column, struct mmq_err *err)
{
	double values[MMQ_DATETIME_PARTS];
	bool is_scaled = wants_scaling(fit, fit->prepare->schema.fields[input->field].scaling) && input->coding != MMQ_CODING_BOOLEAN;

	for (uint32_t k = 0; k < input->scales; k++) {
		size_t count = 0;
		for (size_t i = 0; i < fit->rows_count; i++) {
			if (mmq_prepare_numbers(fit->prepare, input, column, fit->rows[i], values, err) == -1)
				return -1;
			if (!isnan(values[k]))
				fit->values[count++] = values[k];
		}
		fit_scale(fit, input, count, fit->rows_count - count, is_scaled, &fit->prepare->scales[input->scale + k]);
	}
	return 0;
}

/* All numbers of a vector go from the range of all its training values to 0..1: pixels keep their relations, black stays 0, and a pixel
 * that is constant in training does not blow up when it changes later. A gap is filled with the mean. */
static void
fit_vector(struct fit *fit, const struct mmq_prepare_input *input, const struct mmq_column *column)
{
	size_t width = fit->prepare->schema.fields[input->field].width, count = 0;
	struct mmq_scale *scale = &fit->prepare->scales[input->scale];
	double sum = 0, low = INFINITY, high = -INFINITY;

	for (size_t i = 0; i < fit->rows_count; i++) {
		const double *numbers = column->numbers + fit->rows[i] * column->stride;
		for (size_t k = 0; k < width; k++) {
			if (isnan(numbers[k]))
				continue;
			low = numbers[k] < low ? numbers[k] : low;
			high = numbers[k] > high ? numbers[k] : high;
			sum += numbers[k];
			count++;
		}
	}
	*scale = (struct mmq_scale){ .fill = count > 0 ? sum / (double)count : 0, .scale = 1 };
	if (count == 0 || low == high)
		warn(fit, name_of(fit, input), "has the same value in all training rows");
	else if (wants_scaling(fit, fit->prepare->schema.fields[input->field].scaling))
		scale->center = low, scale->scale = 1 / (high - low);
}

/* Sparse columns are never centred, or zeros would fill up; they are divided by their largest magnitude. */
static void
fit_sparse(struct fit *fit)
{
	const struct mmq_csr *sparse = &fit->frame->sparse;
	struct mmq_scale *scales = fit->prepare->scales + fit->prepare->sparse_scale;
	size_t cols = fit->prepare->schema.sparse_cols;

	for (size_t col = 0; col < cols; col++)
		scales[col].scale = 0;
	for (size_t i = 0; wants_scaling(fit, fit->prepare->schema.sparse_scaling) && i < fit->rows_count; i++)
		for (uint64_t k = sparse->row_start[fit->rows[i]]; k < sparse->row_start[fit->rows[i] + 1]; k++)
			if (sparse->col[k] < cols)
				scales[sparse->col[k]].scale = fmax(scales[sparse->col[k]].scale, fabs(sparse->value[k]));
	for (size_t col = 0; col < cols; col++)
		scales[col].scale = scales[col].scale > 0 && isfinite(scales[col].scale) ? 1 / scales[col].scale : 1;
}

/* Expected share of non-zeros: a scaled number is one, a category is one of its codes, sparse cells are counted. */
static double
density(const struct fit *fit, bool *has_text_out)
{
	const struct mmq_prepare *prepare = fit->prepare;
	const struct mmq_csr *sparse = &fit->frame->sparse;
	double filled = 0, cols = (double)prepare->schema.sparse_cols, entries = 0;

	*has_text_out = false;
	for (size_t i = 0; i < prepare->inputs_count; i++) {
		const struct mmq_prepare_input *input = &prepare->inputs[i];
		if (input->coding == MMQ_CODING_ORDINAL)
			continue;
		*has_text_out = *has_text_out || input->coding == MMQ_CODING_TEXT_HASH;
		size_t width = input->coding == MMQ_CODING_VECTOR ? prepare->schema.fields[input->field].width : mmq_prepare_scales_of(input->coding);
		filled += input->coding == MMQ_CODING_ONE_HOT ? 1 : (double)width;
		cols += input->coding == MMQ_CODING_ONE_HOT ? (double)mmq_prepare_codes_of(input) : (double)width;
	}
	for (size_t i = 0; prepare->schema.sparse_cols > 0 && i < fit->rows_count; i++)
		entries += (double)(sparse->row_start[fit->rows[i] + 1] - sparse->row_start[fit->rows[i]]);
	return cols > 0 ? (filled + entries / (double)fit->rows_count) / cols : 1;
}

static int
fit_inputs(struct fit *fit, struct mmq_err *err)
{
	struct mmq_prepare *prepare = fit->prepare;
	const struct mmq_column *column;
	bool has_text;

	for (size_t i = 0; i < prepare->inputs_count; i++) {
		struct mmq_prepare_input *input = &prepare->inputs[i];
		if ((column = mmq_prepare_column(prepare, fit->frame, i, err)) == NULL)
			return -1;
		if (input->coding == MMQ_CODING_TEXT_HASH)
			continue;
		bool is_category = input->coding == MMQ_CODING_ONE_HOT || input->coding == MMQ_CODING_ORDINAL;
		if ((is_category ? fit_categories(fit, input, column, err) : fit_gaps(fit, input, column, err)) == -1)
			return -1;
	}
	double share = density(fit, &has_text);
	prepare->is_csr = has_text || ((fit->accepts & MMQ_ACCEPTS_SPARSE) && share < CSR_DENSITY_MAX);
	prepare->imputes = prepare->is_csr || !(fit->accepts & MMQ_ACCEPTS_MISSING);  /* CSR has no word for missing */
	for (size_t i = 0; i < prepare->inputs_count; i++)
		prepare->inputs[i].has_flag = prepare->inputs[i].has_flag && prepare->imputes;
	if (mmq_prepare_layout(prepare, err) == -1)
		return -1;
	prepare->scales = mmq_array(prepare->scales_count, sizeof(*prepare->scales));
	for (size_t i = 0; i < prepare->inputs_count; i++) {
		struct mmq_prepare_input *input = &prepare->inputs[i];
		if (input->scales == 0)
			continue;
		column = mmq_prepare_column(prepare, fit->frame, i, err);
		if (input->coding == MMQ_CODING_VECTOR)
			fit_vector(fit, input, column);
		else if (fit_numbers(fit, input, column, err) == -1)
			return -1;
	}
	if (prepare->schema.sparse_cols > 0)
		fit_sparse(fit);
	return 0;
}

int
mmq_prepare_fit(struct mmq_prepare **prepare_out, const struct mmq_schema *schema, const struct mmq_frame *frame, const uint32_t *rows,
    size_t rows_count, unsigned accepts, enum mmq_dtype dtype, struct mmq_buf *warnings, struct mmq_err *err)
{
	struct mmq_prepare *prepare = mmq_alloc(sizeof(*prepare));
	uint32_t *all = NULL;
	struct fit fit = { .prepare = prepare, .frame = frame, .rows = rows, .rows_count = rows_count, .accepts = accepts, .warnings = warnings };

	*prepare_out = NULL;
	mmq_schema_copy(&prepare->schema, schema);
	mmq_arena_init(&prepare->names);
	prepare->dtype = dtype;
	prepare->keeps_vectors = accepts & MMQ_ACCEPTS_VECTOR;
	prepare->inputs = mmq_array(schema->fields_count, sizeof(*prepare->inputs));
	if (rows_count == 0) {
		mmq_err_set(err, MMQ_INVALID_ARGUMENT, "no training rows to fit the preparation on");
		goto fail;
	}
	for (size_t i = 0; i < schema->fields_count; i++) {
		if (!mmq_field_is_input(&schema->fields[i]))
			continue;
		struct mmq_prepare_input *input = &prepare->inputs[prepare->inputs_count++];
		input->field = (uint32_t)i;
		if (choose_coding(&fit, &schema->fields[i], &input->coding, err) == -1)
			goto fail;
	}
	if (prepare->inputs_count == 0 && schema->sparse_cols == 0) {
		mmq_err_set(err, MMQ_INVALID_ARGUMENT, "no feature columns: every column is the target, ignored or has another role");
		goto fail;
	}
	if (schema->sparse_cols > 0 && frame->sparse.row_start == NULL) {
		mmq_err_set(err, MMQ_INVALID_ARGUMENT, "the schema has sparse columns, the data has none");
		goto fail;
	}
	fit.values = mmq_array(rows_count, sizeof(*fit.values));
	if (rows == NULL) {
		fit.rows = all = mmq_array(rows_count, sizeof(*all));
		for (size_t i = 0; i < rows_count; i++)
			all[i] = (uint32_t)i;
	}
	int result = fit_inputs(&fit, err);
	free(fit.values);
	free(all);
	if (result == -1)
		goto fail;
	*prepare_out = prepare;
	return 0;
fail:
	mmq_prepare_destroy(&prepare);
	return -1;
}
