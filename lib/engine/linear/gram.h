/* gram.h: the equations of least squares, X_c^T S (y_c - X_c b) = l2 b over rows and targets less their weighted means (less nothing without intercept). */
#ifndef MMQ_ENGINE_LINEAR_GRAM_H
#define MMQ_ENGINE_LINEAR_GRAM_H

#include "engine/linear/linear.h"

struct mmq_linear_gram {
	const struct mmq_linear_problem *p;
	size_t cols, parts, gram_parts;
	double *mean, y_mean, weight_sum;    /* means are zeros without intercept */
	double y_square;                     /* sum s y_c^2 */
	double *sums;                        /* (parts, cols) or (gram_parts, cols, cols) */
	double *part_scalars;                /* (parts, 3): sums of s, s y, s y^2 */
	const double *direction;             /* (cols): apply's argument */
	double direction_shift, y_factor;    /* direction . mean; 1: y takes part, 0: not */
};

void mmq_linear_gram_init(struct mmq_linear_gram *g, const struct mmq_linear_problem *p);   /* one pass: the means */
void mmq_linear_gram_fini(struct mmq_linear_gram *g);
/* X_c^T S X_c with l2 on the diagonal, both triangles; the caller's to free. */
double *mmq_linear_gram_form(struct mmq_linear_gram *g, double l2);
/* out (cols) = X_c^T S (y_factor y_c - X_c b) - l2 b. */
void mmq_linear_gram_apply(struct mmq_linear_gram *g, const double *b, double y_factor, double l2, double *out);
/* L1: duality gap and objective of b (cols) from right = X_c^T S y_c and q = right - X_c^T S X_c b, which may be of some columns only. */
double mmq_linear_gram_gap(const struct mmq_linear_gram *g, size_t cols, const double *b, const double *right, const double *q, double *objective_out);
/* b's intercept. */
double mmq_linear_gram_intercept(const struct mmq_linear_gram *g, const double *b);

#endif
