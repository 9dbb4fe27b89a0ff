/* bins.c: choosing the columns of a training set and coding rows into bytes.
 *
 * Borders come from every row, or from rows that are spread evenly over larger sets. Columns are independent, so they are spread over the
 * pool. Sparse columns get their values through a counting pass by column; columns with too few non-zeros to split are dropped there. */
#include "engine/tree/bins.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

enum { ROW_BLOCK = 1024, TOGETHER = 8 };

/* The non-zeros of a sparse batch by column. */
struct by_column {
	uint64_t *start;  /* (cols + 1) */
	uint32_t *row;
	float *value;
};

static float
stored_value(const struct mmq_batch *x, const void *values, size_t k)
{
	return x->dtype == MMQ_F32 ? ((const float *)values)[k] : (float)((const double *)values)[k];
}

static void
turn_sparse(const struct mmq_batch *x, struct by_column *out)
{
	uint64_t first = x->row_start[0], stored = x->row_start[x->rows] - first;
	out->start = mmq_array(x->cols + 2, sizeof(*out->start));
	out->row = mmq_array(stored + 1, sizeof(*out->row));
	out->value = mmq_array(stored + 1, sizeof(*out->value));
	for (uint64_t k = 0; k < stored; k++)
		out->start[x->col[first + k] + 2]++;
	for (size_t c = 0; c < x->cols; c++)
		out->start[c + 2] += out->start[c + 1];
	for (size_t r = 0; r < x->rows; r++) {
		for (uint64_t k = x->row_start[r]; k < x->row_start[r + 1]; k++) {
			uint64_t place = out->start[x->col[k] + 1]++;
			out->row[place] = (uint32_t)r;
			out->value[place] = stored_value(x, x->value, k);
		}
	}
}

static void
by_column_fini(struct by_column *sparse)
{
	free(sparse->start);
	free(sparse->row);
	free(sparse->value);
}

struct job {
	const struct mmq_batch *x;
	const struct mmq_dataset *train;
	const struct by_column *sparse;     /* NULL: dense */
	const struct mmq_tree_options *options;
	const struct mmq_feature *features; /* of the code columns only, in order */
	struct mmq_tree_column *columns;
	uint32_t columns_count;
	size_t together;                    /* numeric columns that are cut at once */
	size_t step;                        /* every step-th row is looked at for borders */
	size_t rows_min;                    /* a column that cannot part so many rows from as many others is left out */
	uint8_t *by_column;
	uint16_t *wide;
	const struct mmq_progress *progress; /* asked once a piece of work, from any thread */
	atomic_bool cancelled;
};

static size_t
groups_of(const struct job *job)
{
	return (job->x->cols + job->together - 1) / job->together;
}

static bool
is_cancelled(struct job *job)
{
	static const struct mmq_progress_state state = { .loss = NAN, .valid_loss = NAN };
	if (!mmq_progress_step(job->progress, &state))
		atomic_store(&job->cancelled, true);
	return atomic_load(&job->cancelled);
}

/* Has some border rows enough for a leaf on both sides, wherever the missing ones go? LightGBM's feature_pre_filter: rows of a side are later
 * estimated from hessians, so that a few uncertain rows would pass for many, and columns that are rarely different be learnt by heart.
 * values and counts as mmq_tree_borders leaves them; count, missing: of the rows looked at; least: of those, for a leaf. */
static bool
has_room(const struct mmq_tree_column *column, const float *values, const uint32_t *counts, size_t count, size_t missing, double least)
{
	size_t below = 0, i = 0;

	for (uint32_t b = 0; b < column->bins; b++) {
		for (; below < count && values[i] <= column->upper[b]; i++)
			below += counts[i];
		double left = (double)below, right = (double)(count - below), rest = (double)missing;
		if ((left + rest >= least && right >= least) || (left >= least && right + rest >= least))
			return true;
	}
	return false;
}

/* Borders of a column from values (count), which are sorted; 0 bins where none of them could part a node. */
static void
cut_values(const struct job *job, struct mmq_tree_column *column, float *values, size_t count)
{
	size_t looked_at = (job->x->rows + job->step - 1) / job->step;
	double least = (double)job->rows_min * (double)looked_at / (double)job->x->rows;
	uint32_t *temp = mmq_array(2 * count + 2, sizeof(*temp)), bins_max = job->options->exact ? MMQ_TREE_BINS_WIDE - 1 : job->options->max_bin;
	column->upper = mmq_array(bins_max, sizeof(float));
	column->low = mmq_array(bins_max, sizeof(float));
	column->bins = mmq_tree_borders(column->upper, column->low, bins_max, values, count, job->options->min_data_in_bin, temp);
	column->upper = mmq_grow(column->upper, column->bins, sizeof(float));
	column->low = mmq_grow(column->low, column->bins, sizeof(float));
	if (job->options->pre_filter && !has_room(column, values, temp, count, looked_at - count, least))
		column->bins = 0;
	free(temp);
}

static void
cut_sparse(const struct job *job, struct mmq_tree_column *column)
{
	size_t rows = job->x->rows, count = 0;
	uint64_t k = job->sparse->start[column->source], end = job->sparse->start[column->source + 1];
	if (end - k < job->rows_min)
		return;
	float *values = mmq_array(rows / job->step + 2, sizeof(*values));
	for (size_t r = 0; r < rows; r += job->step) {
		while (k < end && job->sparse->row[k] < r)
			k++;
		values[count++] = k < end && job->sparse->row[k] == r ? job->sparse->value[k] : 0.0f;
	}
	cut_values(job, column, values, count);
	free(values);
}

/* A few neighbouring columns, so that each cache line of the rows is fetched for all of them at once. */
static void
cut_dense(const struct job *job, struct mmq_tree_column *columns, size_t columns_count)
{
	const struct mmq_batch *x = job->x;
	size_t room = x->rows / job->step + 2, counts[TOGETHER] = { 0 };
	float *values = mmq_array(columns_count * room, sizeof(*values));
	for (size_t r = 0; r < x->rows; r++) {
		size_t at = r * x->stride + columns->source;
		bool is_sampled = r % job->step == 0;
		for (size_t c = 0; c < columns_count; c++) {
			float value = stored_value(x, x->dense, at + c);
			if (isnan(value))
				columns[c].has_missing = true;
			else if (is_sampled)
				values[c * room + counts[c]++] = value;
		}
	}
	for (size_t c = 0; c < columns_count; c++)
		cut_values(job, &columns[c], values + c * room, counts[c]);
	free(values);
}

/* Numeric columns in groups, sparse ones and categories one by one. */
static void
cut_block(void *arg, size_t block, unsigned thread)
{
	struct job *job = arg;
	size_t cols = job->x->cols, groups = groups_of(job), first = block * job->together;
	(void)thread;
	if (atomic_load(&job->cancelled) || is_cancelled(job))
		return;
	if (block >= groups)
		mmq_tree_cut_category(job->train, block - groups, job->features[block - groups].cardinality, job->options,
		    &job->columns[cols + block - groups]);
	else if (job->sparse != NULL)
		cut_sparse(job, &job->columns[first]);
	else
		cut_dense(job, &job->columns[first], cols - first < job->together ? cols - first : job->together);
}

static void
put_bin(uint8_t *out, uint16_t *wide, size_t r, uint32_t bin)
{
	if (wide != NULL)
		wide[r] = (uint16_t)bin;
	else
		out[r] = (uint8_t)bin;
}

/* Category columns, and sparse ones. */
static void
code_column(void *arg, size_t block, unsigned thread)
{
	struct job *job = arg;
	const struct mmq_batch *x = job->x;
	const struct mmq_tree_column *column = &job->columns[block];
	uint8_t *out = job->by_column != NULL ? job->by_column + block * x->rows : NULL;
	uint16_t *wide = job->wide != NULL ? job->wide + block * x->rows : NULL;
	(void)thread;
	if (atomic_load(&job->cancelled) || is_cancelled(job))
		return;
	if (column->is_category) {
		const int32_t *codes = x->codes + (column->source - x->cols);
		for (size_t r = 0; r < x->rows; r++) {
			int64_t place = (int64_t)codes[r * x->codes_cols] + 1;
			put_bin(out, wide, r, place >= 0 && place < column->codes ? column->bin_of_code[place] : column->bins);
		}
	} else if (job->sparse != NULL) {
		uint16_t bin;
		mmq_tree_bin_values(column, &(float){ 0.0f }, 1, NULL, &bin);
		for (size_t r = 0; r < x->rows; r++)
			put_bin(out, wide, r, bin);
		for (uint64_t k = job->sparse->start[column->source]; k < job->sparse->start[column->source + 1]; k++) {
			mmq_tree_bin_values(column, &job->sparse->value[k], 1, NULL, &bin);
			put_bin(out, wide, job->sparse->row[k], bin);
		}
	}
}

/* Dense columns, a block of rows at a time. */
static void
code_rows(void *arg, size_t block, unsigned thread)
{
	struct job *job = arg;
	const struct mmq_batch *x = job->x;
	size_t first = block * ROW_BLOCK, count = x->rows - first < ROW_BLOCK ? x->rows - first : ROW_BLOCK;
	float values[ROW_BLOCK];
	(void)thread;
	if (atomic_load(&job->cancelled) || is_cancelled(job))
		return;
	for (uint32_t c = 0; c < job->columns_count && !job->columns[c].is_category; c++) {
		for (size_t r = 0; r < count; r++)
			values[r] = stored_value(x, x->dense, (first + r) * x->stride + job->columns[c].source);
		size_t at = c * x->rows + first;
		mmq_tree_bin_values(&job->columns[c], values, count, job->wide != NULL ? NULL : job->by_column + at, job->wide != NULL ? job->wide + at : NULL);
	}
}

static void
code_all(struct job *job, struct mmq_pool *pool)
{
	mmq_pool_run(pool, job->columns_count, code_column, job);
	if (job->sparse == NULL)
		mmq_pool_run(pool, (job->x->rows + ROW_BLOCK - 1) / ROW_BLOCK, code_rows, job);
}

static bool
can_split(const struct mmq_tree_column *column)
{
	return column->bins >= 2 || (column->bins == 1 && column->has_missing && !column->is_category);
}

static void
column_fini(struct mmq_tree_column *column)
{
	free(column->upper);
	free(column->low);
	free(column->code_of_bin);
	free(column->bin_of_code);
}

static int
check_memory(const struct mmq_tree_bins *bins, const struct mmq_fit *fit, struct mmq_err *err)
{
	size_t bytes;
	if (!mmq_size_mul(bins->rows, 2 * bins->row_bytes + 64, &bytes) || (fit->memory_bytes_max > 0 && bytes > fit->memory_bytes_max))
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "tree: %zu rows of %u columns need about %zu MiB as bins, the limit is %zu MiB",
		    bins->rows, bins->columns_count, bytes >> 20, fit->memory_bytes_max >> 20);
	return 0;
}

int
mmq_tree_bins_new(struct mmq_tree_bins **bins_out, const struct mmq_fit *fit, const struct mmq_tree_options *options, struct mmq_err *err)
{
	const struct mmq_dataset *data = fit->train;
	const struct mmq_batch *x = &data->x;
	size_t total = x->cols + x->codes_cols;
	struct mmq_tree_bins *bins = mmq_alloc(sizeof(*bins));
	struct mmq_feature *categories = mmq_array(x->codes_cols + 1, sizeof(*categories));
	struct by_column sparse;
	struct job job = { .x = x, .options = options, .features = categories, .step = options->exact ? 1 : x->rows / options->bin_sample + 1,
		.progress = fit->progress, .train = data };

	*bins_out = NULL;
	for (size_t k = 0, c = 0; k < data->features_count && c < x->codes_cols; k++)
		if (data->features[k].kind == MMQ_CATEGORY)
			categories[c++] = data->features[k];
	if (x->row_start != NULL) {
		turn_sparse(x, &sparse);
		job.sparse = &sparse;
	}
	job.rows_min = options->kind == MMQ_TREE_GBDT && !options->pre_filter ? 1 : options->min_data;
	bins->rows = x->rows;
	bins->columns = job.columns = mmq_array(total, sizeof(*bins->columns));
	size_t share = x->cols / (2 * mmq_pool_threads(fit->pool)) + 1;
	job.together = job.sparse != NULL ? 1 : share < TOGETHER ? share : TOGETHER;
	for (size_t c = 0; c < total; c++) {
		bins->columns[c].source = (uint32_t)c;
		bins->columns[c].is_category = c >= x->cols;
	}
	mmq_pool_run(fit->pool, groups_of(&job) + x->codes_cols, cut_block, &job);
	for (size_t c = 0; c < total; c++) {
		if (!can_split(&bins->columns[c])) {
			column_fini(&bins->columns[c]);
			continue;
		}
		bins->columns[bins->columns_count++] = bins->columns[c];
	}
	bins->offset = mmq_array((size_t)bins->columns_count + 1, sizeof(*bins->offset));
	for (uint32_t c = 0; c < bins->columns_count; c++)
		bins->offset[c + 1] = bins->offset[c] + ((bins->columns[c].bins + 4) & ~3u);
	job.columns_count = bins->columns_count;
	bins->row_bytes = ((size_t)bins->columns_count + 7) & ~(size_t)7;
	int result = check_memory(bins, fit, err);
	if (result == 0) {
		if (options->exact)
			job.wide = bins->wide = mmq_array((size_t)bins->columns_count * bins->rows + 1, sizeof(uint16_t));
		else
			job.by_column = bins->by_column = mmq_aligned_huge(bins->columns_count * bins->rows + 8);
		code_all(&job, fit->pool);
	}
	if (result == 0 && options->by_row)
		mmq_tree_bins_layout(bins, fit->pool);
	if (job.sparse != NULL)
		by_column_fini(&sparse);
	free(categories);
	if (result == 0 && atomic_load(&job.cancelled))
		result = mmq_err_set(err, MMQ_CANCELLED, "training was cancelled while features were binned");
	if (result == -1)
		mmq_tree_bins_destroy(&bins);
	*bins_out = bins;
	return result;
}

uint8_t *
mmq_tree_bins_code(const struct mmq_tree_bins *bins, const struct mmq_batch *x, struct mmq_pool *pool)
{
	struct by_column sparse;
	struct job job = { .x = x, .columns = bins->columns, .columns_count = bins->columns_count, .by_column = mmq_aligned(bins->columns_count * x->rows + 8) };
	if (x->row_start != NULL) {
		turn_sparse(x, &sparse);
		job.sparse = &sparse;
	}
	code_all(&job, pool);
	if (job.sparse != NULL)
		by_column_fini(&sparse);
	return job.by_column;
}

void
mmq_tree_bins_destroy(struct mmq_tree_bins **bins_p)
{
	struct mmq_tree_bins *bins = *bins_p;
	if (bins == NULL)
		return;
	for (uint32_t c = 0; c < bins->columns_count; c++)
		column_fini(&bins->columns[c]);
	free(bins->columns);
	free(bins->by_row);
	free(bins->offset);
	free(bins->common);
	free(bins->other_start);
	free(bins->other);
	free(bins->by_column);
	free(bins->wide);
	free(bins);
	*bins_p = NULL;
}
