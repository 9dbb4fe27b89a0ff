/* profile.c: one pass per column over the training rows; numbers are sorted for their quantiles, texts counted in a table. */
#include "data/profile.h"

#include <math.h>
#include <stdlib.h>

#include "data/category.h"
#include "mpack/writer.h"

enum { QUOTED_BYTES_MAX = 200 };

struct profile {
	const struct mmq_frame *frame;
	const uint32_t *rows;
	size_t rows_count;
	struct mmq_buf *out;
};

static size_t
row_at(const struct profile *profile, size_t i)
{
	return profile->rows != NULL ? profile->rows[i] : i;
}

static int
compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void
put_number(struct mmq_buf *out, const char *key, double value)
{
	mmq_put_str(out, key);
	mmq_put_double(out, value);
}

/* mean, std, min, max: 4 pairs. NaN (nil) when there is no value. */
static void
put_moments(struct mmq_buf *out, const double *values, size_t count)
{
	double sum = 0, squares = 0, least = INFINITY, most = -INFINITY;

	for (size_t i = 0; i < count; i++) {
		sum += values[i];
		least = fmin(least, values[i]);
		most = fmax(most, values[i]);
	}
	double mean = count > 0 ? sum / (double)count : NAN;
	for (size_t i = 0; i < count; i++)
		squares += (values[i] - mean) * (values[i] - mean);
	put_number(out, "mean", mean);
	put_number(out, "std", count > 0 ? sqrt(squares / (double)count) : NAN);
	put_number(out, "min", count > 0 ? least : NAN);
	put_number(out, "max", count > 0 ? most : NAN);
}

/* Quantiles 0, 0.1, .. 1, linear between neighbours; values ascending. */
static void
put_edges(struct mmq_buf *out, const double *values, size_t count)
{
	mmq_put_str(out, "edges");
	mmq_put_array(out, count > 0 ? MMQ_PROFILE_EDGES : 0);
	for (int i = 0; count > 0 && i < MMQ_PROFILE_EDGES; i++) {
		double place = (double)(count - 1) * i / (MMQ_PROFILE_EDGES - 1), below = floor(place);
		size_t at = (size_t)below, next = at + 1 < count ? at + 1 : at;
		mmq_put_double(out, values[at] + (values[next] - values[at]) * (place - below));
	}
}

static void
put_counts(struct mmq_buf *out, size_t count, size_t missing)
{
	mmq_put_str(out, "count");
	mmq_put_uint(out, count);
	mmq_put_str(out, "missing");
	mmq_put_uint(out, missing);
}

/* 6 pairs, 7 for a single number per row. */
static void
put_numbers(const struct profile *profile, const struct mmq_column *column)
{
	double *values = mmq_array(profile->rows_count, column->width * sizeof(*values));
	size_t count = 0, all = profile->rows_count * column->width;

	for (size_t i = 0; i < profile->rows_count; i++)
		for (size_t k = 0; k < column->width; k++) {
			double value = column->numbers[row_at(profile, i) * column->stride + k];
			if (!isnan(value))
				values[count++] = value;
		}
	put_counts(profile->out, count, all - count);
	put_moments(profile->out, values, count);
	if (column->width == 1 && column->rank == 0) {
		if (count > 0)
			qsort(values, count, sizeof(*values), compare_double);
		put_edges(profile->out, values, count);
	}
	free(values);
}

struct tally { uint32_t index; size_t count; };

static int
compare_tally(const void *a, const void *b)
{
	const struct tally *x = a, *y = b;
	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return (x->index > y->index) - (x->index < y->index);
}

/* 4 pairs. */
static void
put_texts(const struct profile *profile, const struct mmq_column *column)
{
	struct mmq_distinct distinct;
	struct tally *tallies = mmq_array(profile->rows_count, sizeof(*tallies));
	size_t missing = 0;

	mmq_distinct_init(&distinct);
	for (size_t i = 0; i < profile->rows_count; i++) {
		struct mmq_text text = mmq_column_text(column, row_at(profile, i));
		if (text.at == NULL) {
			missing++;
			continue;
		}
		uint32_t index = mmq_distinct_add(&distinct, text);
		tallies[index].index = index;
		tallies[index].count++;
	}
	size_t count = distinct.known.count, top = count < MMQ_PROFILE_TOP ? count : MMQ_PROFILE_TOP;
	if (count > 0)
		qsort(tallies, count, sizeof(*tallies), compare_tally);
	put_counts(profile->out, profile->rows_count - missing, missing);
	mmq_put_str(profile->out, "distinct");
	mmq_put_uint(profile->out, count);
	mmq_put_str(profile->out, "top");
	mmq_put_array(profile->out, top);
	for (size_t i = 0; i < top; i++) {
		struct mmq_text text = distinct.known.items[tallies[i].index];
		mmq_put_array(profile->out, 2);
		if (text.size < QUOTED_BYTES_MAX)
			mmq_put_strn(profile->out, text.at, text.size);
		else
			mmq_put_nil(profile->out);  /* long texts are counted, not quoted */
		mmq_put_uint(profile->out, tallies[i].count);
	}
	mmq_distinct_fini(&distinct);
	free(tallies);
}

/* The entries of the sparse block: 2 + 2 + 4 pairs. */
static void
put_sparse(const struct profile *profile)
{
	const struct mmq_csr *sparse = &profile->frame->sparse;
	size_t count = 0, most = 0;

	for (size_t i = 0; i < profile->rows_count; i++)
		most += (size_t)(sparse->row_start[row_at(profile, i) + 1] - sparse->row_start[row_at(profile, i)]);
	double *values = mmq_array(most, sizeof(*values));
	for (size_t i = 0; i < profile->rows_count; i++)
		for (uint64_t k = sparse->row_start[row_at(profile, i)]; k < sparse->row_start[row_at(profile, i) + 1]; k++)
			values[count++] = sparse->value[k];
	mmq_put_map(profile->out, 8);
	mmq_put_str(profile->out, "name");
	mmq_put_str(profile->out, "sparse");
	mmq_put_str(profile->out, "columns");
	mmq_put_uint(profile->out, sparse->cols);
	put_counts(profile->out, count, 0);
	put_moments(profile->out, values, count);
	free(values);
}

void
mmq_profile_write(const struct mmq_frame *frame, const struct mmq_schema *schema, const uint32_t *rows, size_t rows_count, struct mmq_buf *out)
{
	struct profile profile = { frame, rows, rows_count, out };
	size_t columns = frame->columns_count < schema->fields_count ? frame->columns_count : schema->fields_count;
	bool is_sparse = frame->sparse.row_start != NULL;

	mmq_put_array(out, columns + is_sparse);
	for (size_t i = 0; i < columns; i++) {
		const struct mmq_column *column = &frame->columns[i];
		bool is_text = column->type == MMQ_COLUMN_TEXT, has_edges = !is_text && column->width == 1 && column->rank == 0;
		mmq_put_map(out, is_text ? 6 : has_edges ? 9 : 8);
		mmq_put_str(out, "name");
		mmq_put_str(out, column->name);
		mmq_put_str(out, "kind");
		mmq_put_str(out, mmq_field_kind_name(schema->fields[i].kind));
		if (is_text)
			put_texts(&profile, column);
		else
			put_numbers(&profile, column);
	}
	if (is_sparse)
		put_sparse(&profile);
}
