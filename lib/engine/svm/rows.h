/* rows.h: rows kept for kernel products, and blocks of query rows to go against them.
 *
 * Single precision, dense: panels of 16 rows, feature by feature, as the packed weights of math/dense.h; a kernel row is a layer whose
 * outputs are the rows. Sparse: CSR against a block of up to 16 queries that is dense, so that each stored value serves all queries. Every
 * dot product is one chain of fused multiply-adds over the columns in order, whatever the form and the number of queries: equal bits,
 * and K(a, b) = K(b, a). Double precision ("wide") has fixed lanes instead. Precomputed kernels only remember which column is which row. */
#ifndef MMQ_ENGINE_SVM_ROWS_H
#define MMQ_ENGINE_SVM_ROWS_H

#include <stdint.h>

#include "engine/engine.h"
#include "engine/svm/kernel.h"

enum { SVM_PANEL = 16, SVM_QUERIES_MAX = 12, SVM_SPARSE_QUERIES_MAX = 16 };
#define SVM_NO_ROW UINT32_MAX

struct svm_form {
	bool wide, sparse, precomputed;
};

struct svm_rows {
	struct svm_form form;
	size_t count, cols;
	size_t panels;        /* count rounded up to panels; the rows added are zeros */
	void *values;         /* single: (panels, cols, SVM_PANEL); wide: (panels * SVM_PANEL, cols); sparse: with start and col */
	uint64_t *start;      /* sparse: (panels * SVM_PANEL + 1) */
	uint32_t *col;
	uint32_t *column;     /* precomputed: (panels * SVM_PANEL) the query's column for this row; SVM_NO_ROW: padding */
	void *norm;           /* (panels * SVM_PANEL) squared length, summed in double: float, or double when wide */
	float *zeros;         /* (panels * SVM_PANEL): the bias that dot products do not have; single dense */
};

/* The rows order[0..count-1] of x (checked); order NULL: 0..count-1; SVM_NO_ROW: a row of zeros. Precomputed: x gives only the width. */
void svm_rows_init(struct svm_rows *rows, const struct mmq_batch *x, const uint32_t *order, size_t count, struct svm_form form);
void svm_rows_fini(struct svm_rows *rows);
size_t svm_rows_element_bytes(const struct svm_rows *rows);       /* of a kernel value: float, or double when wide */

struct svm_queries {
	const struct svm_rows *rows;
	size_t max, count;
	void *values;         /* single and sparse: (cols, max), zero where nothing is; wide and precomputed: (max, cols) */
	double norm[SVM_SPARSE_QUERIES_MAX > SVM_QUERIES_MAX ? SVM_SPARSE_QUERIES_MAX : SVM_QUERIES_MAX];
	const struct mmq_batch *x;
	size_t row[SVM_SPARSE_QUERIES_MAX];   /* of x: what has to be cleared, sparse only */
};

/* How many queries go into one block; at the most `rows` of them are there. */
size_t svm_queries_max(const struct svm_rows *rows, size_t query_rows);
size_t svm_queries_bytes(const struct svm_rows *rows, size_t max);
/* memory: svm_queries_bytes of it, 64-byte aligned, borrowed. */
void svm_queries_begin(struct svm_queries *queries, const struct svm_rows *rows, size_t max, void *memory);
void svm_queries_put(struct svm_queries *queries, const struct mmq_batch *x, size_t row);
void svm_queries_clear(struct svm_queries *queries);

/* out[q][r] = K(query q, row r of panels from..to-1), r counted from the first row of panel `from`; float, or double when wide. */
void svm_rows_values(const struct svm_kernel *kernel, const struct svm_rows *rows, const struct svm_queries *queries, size_t from, size_t to,
    void *const *out);
double svm_rows_self(const struct svm_kernel *kernel, const struct svm_rows *rows, size_t row);   /* K(row, row); not precomputed */

/* Elements of one row of a checked batch in turn: for (k = 0; k < svm_batch_stored(x, row); k++) svm_batch_get(x, row, k, &col). */
static inline size_t
svm_batch_stored(const struct mmq_batch *x, size_t row)
{
	return x->row_start == NULL ? x->cols : (size_t)(x->row_start[row + 1] - x->row_start[row]);
}

static inline double
svm_batch_get(const struct mmq_batch *x, size_t row, size_t k, size_t *col_out)
{
	size_t at = x->row_start == NULL ? row * x->stride + k : (size_t)x->row_start[row] + k;
	const void *values = x->row_start == NULL ? x->dense : x->value;
	*col_out = x->row_start == NULL ? k : x->col[at];
	return x->dtype == MMQ_F32 ? (double)((const float *)values)[at] : ((const double *)values)[at];
}

/* The inner products of the forms, panels.c and sums.c: out[q * out_stride + r]. */
void svm_dots_panels(const struct svm_rows *rows, const struct svm_queries *queries, size_t from_row, size_t count, float *out, size_t out_stride);
void svm_dots_sparse(const struct svm_rows *rows, const struct svm_queries *queries, size_t from_row, size_t count, float *out, size_t out_stride);
void svm_dots_wide(const struct svm_rows *rows, const struct svm_queries *queries, size_t from_row, size_t count, double *out, size_t out_stride);
void svm_dots_wide_sparse(const struct svm_rows *rows, const struct svm_queries *queries, size_t from_row, size_t count, double *out, size_t out_stride);

#endif
