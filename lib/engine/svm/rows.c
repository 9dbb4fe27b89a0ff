/* rows.c: packing rows and queries in each form, and kernel values between them, tile by tile: dot products stay in the first cache until
 * they are kernel values. */
#include "engine/svm/rows.h"

#include <stdlib.h>
#include <string.h>

#include "math/dense.h"
#include "util/mem.h"

_Static_assert((int)SVM_PANEL == (int)MMQ_DENSE_PANEL, "rows are packed as math/dense.h wants them");

enum { TILE_ROWS = 512, TILE_QUERIES = SVM_SPARSE_QUERIES_MAX };

size_t
svm_rows_element_bytes(const struct svm_rows *rows)
{
	return rows->form.wide ? sizeof(double) : sizeof(float);
}

/* One value into a place of an array of floats or doubles; returns what was kept of it. */
static double
put(void *values, size_t at, double value, bool wide)
{
	if (wide)
		return ((double *)values)[at] = value;
	return (double)(((float *)values)[at] = (float)value);
}

static void
pack_row(struct svm_rows *rows, size_t place, const struct mmq_batch *x, size_t row)
{
	bool wide = rows->form.wide;
	double norm = 0;
	size_t stored = svm_batch_stored(x, row), col;
	uint64_t at = rows->form.sparse ? rows->start[place] : 0;

	for (size_t k = 0; k < stored; k++) {
		double value = svm_batch_get(x, row, k, &col);
		if (rows->form.sparse) {
			if (value == 0)
				continue;
			rows->col[at] = (uint32_t)col;
			value = put(rows->values, at++, value, wide);
		} else {
			size_t to = wide ? place * rows->cols + col : (place / SVM_PANEL * rows->cols + col) * SVM_PANEL + place % SVM_PANEL;
			value = put(rows->values, to, value, wide);
		}
		norm += value * value;
	}
	put(rows->norm, place, norm, wide);
}

/* Where each sparse row starts; returns the number of values. */
static size_t
count_stored(struct svm_rows *rows, const struct mmq_batch *x, const uint32_t *order)
{
	rows->start = mmq_array(rows->panels * SVM_PANEL + 1, sizeof(*rows->start));
	for (size_t place = 0; place < rows->panels * SVM_PANEL; place++) {
		size_t row = place >= rows->count ? SVM_NO_ROW : order == NULL ? place : order[place], col, stored = 0;
		for (size_t k = 0; row != SVM_NO_ROW && k < svm_batch_stored(x, row); k++)
			stored += svm_batch_get(x, row, k, &col) != 0;
		rows->start[place + 1] = rows->start[place] + stored;
	}
	return (size_t)rows->start[rows->panels * SVM_PANEL];
}

void
svm_rows_init(struct svm_rows *rows, const struct mmq_batch *x, const uint32_t *order, size_t count, struct svm_form form)
{
	size_t panels = (count + SVM_PANEL - 1) / SVM_PANEL, padded = panels * SVM_PANEL;

	*rows = (struct svm_rows){ .form = form, .count = count, .cols = x->cols, .panels = panels };
	rows->norm = mmq_aligned(padded * svm_rows_element_bytes(rows));
	if (form.precomputed) {
		rows->column = mmq_array(padded, sizeof(*rows->column));
		for (size_t place = 0; place < padded; place++)
			rows->column[place] = place >= count ? SVM_NO_ROW : order == NULL ? (uint32_t)place : order[place];
		return;
	}
	size_t values = padded * x->cols;
	if (form.sparse) {
		values = count_stored(rows, x, order);
		rows->col = mmq_array(values, sizeof(*rows->col));
	}
	rows->values = mmq_aligned(values * svm_rows_element_bytes(rows));
	if (!form.sparse && !form.wide)
		rows->zeros = mmq_aligned(padded * sizeof(float));
	for (size_t place = 0; place < count; place++) {
		size_t row = order == NULL ? place : order[place];
		if (row != SVM_NO_ROW)
			pack_row(rows, place, x, row);
	}
}

void
svm_rows_fini(struct svm_rows *rows)
{
	free(rows->values);
	free(rows->start);
	free(rows->col);
	free(rows->column);
	free(rows->norm);
	free(rows->zeros);
	*rows = (struct svm_rows){ 0 };
}

size_t
svm_queries_max(const struct svm_rows *rows, size_t query_rows)
{
	/* A block is full width or one row: a single one needs no more than its own values. */
	return query_rows <= 1 ? 1 : rows->form.sparse ? SVM_SPARSE_QUERIES_MAX : SVM_QUERIES_MAX;
}

/* Blocks that hold the queries' values of a column side by side. */
static bool
is_by_column(const struct svm_rows *rows)
{
	return rows->form.sparse || (!rows->form.wide && !rows->form.precomputed);
}

size_t
svm_queries_bytes(const struct svm_rows *rows, size_t max)
{
	return (max * rows->cols * svm_rows_element_bytes(rows) + 63) / 64 * 64;
}

void
svm_queries_begin(struct svm_queries *queries, const struct svm_rows *rows, size_t max, void *memory)
{
	*queries = (struct svm_queries){ .rows = rows, .max = max, .values = memory };
	if (is_by_column(rows))
		memset(memory, 0, svm_queries_bytes(rows, max));
}

void
svm_queries_put(struct svm_queries *queries, const struct mmq_batch *x, size_t row)
{
	const struct svm_rows *rows = queries->rows;
	size_t q = queries->count++, stored = svm_batch_stored(x, row), col, step = is_by_column(rows) ? queries->max : 1;
	size_t from = is_by_column(rows) ? q : q * rows->cols;
	double norm = 0;

	/* A sparse row into a block that is not cleared between uses. */
	if (!rows->form.sparse && x->row_start != NULL)
		for (size_t j = 0; j < rows->cols; j++)
			put(queries->values, from + j * step, 0, rows->form.wide);
	for (size_t k = 0; k < stored; k++) {
		double value = svm_batch_get(x, row, k, &col);
		value = put(queries->values, from + col * step, value, rows->form.wide);
		norm += value * value;
	}
	queries->norm[q] = norm;
	queries->x = x;
	if (rows->form.sparse)
		queries->row[q] = row;
}

void
svm_queries_clear(struct svm_queries *queries)
{
	size_t col;
	for (size_t q = 0; queries->rows->form.sparse && q < queries->count; q++)
		for (size_t k = 0; k < svm_batch_stored(queries->x, queries->row[q]); k++) {
			svm_batch_get(queries->x, queries->row[q], k, &col);
			put(queries->values, col * queries->max + q, 0, queries->rows->form.wide);
		}
	queries->count = 0;
}

static void
columns_of_query(const struct svm_rows *rows, const struct svm_queries *queries, size_t q, size_t from_row, size_t count, void *out)
{
	for (size_t r = 0; r < count; r++) {
		uint32_t column = rows->column[from_row + r];
		size_t at = q * rows->cols + column;
		put(out, r, column == SVM_NO_ROW ? 0 : rows->form.wide ? ((const double *)queries->values)[at] :
		    (double)((const float *)queries->values)[at], rows->form.wide);
	}
}

static void
tile_single(const struct svm_kernel *kernel, const struct svm_rows *rows, const struct svm_queries *queries, size_t from_row, size_t count,
    void *const *out, size_t out_at)
{
	_Alignas(64) float tile[TILE_QUERIES * TILE_ROWS];

	if (rows->form.sparse)
		svm_dots_sparse(rows, queries, from_row, count, tile, count);
	else
		svm_dots_panels(rows, queries, from_row, count, tile, count);
	for (size_t q = 0; q < queries->count; q++)
		svm_kernel_finish(kernel, tile + q * count, (float *)out[q] + out_at, count, (const float *)rows->norm + from_row, (float)queries->norm[q]);
}

static void
tile_wide(const struct svm_kernel *kernel, const struct svm_rows *rows, const struct svm_queries *queries, size_t from_row, size_t count,
    void *const *out, size_t out_at)
{
	_Alignas(64) double tile[TILE_QUERIES * TILE_ROWS];

	if (rows->form.sparse)
		svm_dots_wide_sparse(rows, queries, from_row, count, tile, count);
	else
		svm_dots_wide(rows, queries, from_row, count, tile, count);
	for (size_t q = 0; q < queries->count; q++)
		svm_kernel_finish_wide(kernel, tile + q * count, (double *)out[q] + out_at, count, (const double *)rows->norm + from_row, queries->norm[q]);
}

void
svm_rows_values(const struct svm_kernel *kernel, const struct svm_rows *rows, const struct svm_queries *queries, size_t from, size_t to,
    void *const *out)
{
	size_t first = from * SVM_PANEL, end = to * SVM_PANEL;

	if (rows->form.precomputed) {
		for (size_t q = 0; q < queries->count; q++)
			columns_of_query(rows, queries, q, first, end - first, out[q]);
		return;
	}
	for (size_t row = first; row < end; row += TILE_ROWS) {
		size_t count = end - row < TILE_ROWS ? end - row : TILE_ROWS;
		if (rows->form.wide)
			tile_wide(kernel, rows, queries, row, count, out, row - first);
		else
			tile_single(kernel, rows, queries, row, count, out, row - first);
	}
}

double
svm_rows_self(const struct svm_kernel *kernel, const struct svm_rows *rows, size_t row)
{
	if (kernel->kind == SVM_RBF)
		return 1;
	if (rows->form.wide) {
		double value = ((const double *)rows->norm)[row];
		svm_kernel_finish_wide(kernel, &value, &value, 1, NULL, 0);
		return value;
	}
	float value = ((const float *)rows->norm)[row];
	svm_kernel_finish(kernel, &value, &value, 1, NULL, 0);
	return (double)value;
}
