/* linear.h: inside the linear engine: rows in double, small solvers, and the two fits. */
#ifndef MMQ_ENGINE_LINEAR_LINEAR_H
#define MMQ_ENGINE_LINEAR_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

enum { MMQ_LINEAR_BLOCK = 256,       /* rows converted to double at a time */
	MMQ_LINEAR_PARTS_MAX = 8,    /* pieces of the rows with a partial sum each, added in order */
	MMQ_LINEAR_GRAM_COLS = 2048, /* widest matrix whose Gram matrix is formed */
	MMQ_LINEAR_NEWTON_SIZE = 500 /* most classes * columns for Newton */ };

struct mmq_linear_fit {              /* what a fit gives */
	double *coef;                /* (outputs, cols) */
	double *intercept;           /* (outputs) */
	size_t outputs, cols;
	int64_t iterations;
	double loss;                 /* objective per weight */
	bool converged;
	const char *method, *warning; /* constant texts; warning may be NULL */
};

/* data.c. Weighted rows of a dataset; all sums are over rows in a fixed order. */
size_t mmq_linear_parts(size_t rows, size_t bytes_per_part);
/* Rows [first, first + count) as doubles into out (count, ld), minus shift (cols) if not NULL. Any storage of x. */
void mmq_linear_load(const struct mmq_batch *x, size_t first, size_t count, const double *shift, double *out, size_t ld);
/* scores (count, outputs) = x coef^T + intercept. block: scratch (MMQ_LINEAR_BLOCK, cols), unused for sparse rows. */
void mmq_linear_forward(const struct mmq_batch *x, size_t first, size_t count, const double *coef, const double *intercept, size_t outputs,
    double *block, double *scores);
/* gradient (outputs, cols) += residual^T x; gradient_0 (outputs) += column sums of residual (count, outputs). */
void mmq_linear_backward(const struct mmq_batch *x, size_t first, size_t count, const double *residual, size_t outputs, double *block,
    double *gradient, double *gradient_0);
static inline double
mmq_linear_weight(const struct mmq_dataset *data, size_t row)
{
	return data->weight != NULL ? (double)data->weight[row] : 1.0;
}

/* solve.c. Lower Cholesky factor over the upper or lower triangle given in a (n, n), symmetric, full storage. Returns the smallest pivot
 * over the largest, or -1 when a pivot is not positive. */
double mmq_linear_cholesky(double *a, size_t n);
void mmq_linear_cholesky_solve(const double *l, size_t n, double *b);
/* The same with diagonal pivoting, stopping at pivots below 1e-13 of the first: order (n), returns the rank. solve sets the other
 * unknowns to zero; temp (n). */
size_t mmq_linear_pivoted(double *a, size_t n, uint32_t *order);
void mmq_linear_pivoted_solve(const double *l, size_t n, size_t rank, const uint32_t *order, double *b, double *temp);
void mmq_linear_mirror(double *a, size_t n);   /* upper triangle copied to the lower */

/* ridge.c, logistic.c: fill fit (coef and intercept allocated by the caller, zeroed). */
int mmq_linear_ridge(struct mmq_linear_fit *out, const struct mmq_fit *fit, struct mmq_err *err);
int mmq_linear_logistic(struct mmq_linear_fit *out, const struct mmq_fit *fit, struct mmq_err *err);

/* logistic.c for lbfgs.c: objective of theta (outputs, cols + 1; the intercept last) with its gradient. */
struct mmq_linear_objective;
double mmq_linear_evaluate(struct mmq_linear_objective *objective, const double *theta, double *gradient, bool with_hessian);
/* lbfgs.c: minimise over theta (size). step is asked before each iteration; false: cancelled (-1). Returns 1 converged, 0 not. */
int mmq_linear_lbfgs(struct mmq_linear_objective *objective, double *theta, size_t size, double gradient_max, int64_t iterations_max,
    bool (*step)(void *arg, int64_t iteration, double value), void *arg, int64_t *iterations_out, double *value_out);

#endif
