/* linear.h: inside the linear engine: what is minimised, rows in double, and the solvers.
 *
 * One output (regression, two classes, one class against the rest): f(w, b) = sum_i s_i loss(x_i w + b; t_i) + l2/2 |w|^2 + l1 |w|_1, s_i the row's weight.
 * Softmax has the same form with an output per class. The intercept b is not penalised; with bias > 0 it is, as LIBLINEAR's feature of constant value
 * `bias`: by l2/2 (b / bias)^2 + l1 |b| / bias. Both come from the parameters in fit.c, divided so that the losses have factor 1. */
#ifndef MMQ_ENGINE_LINEAR_LINEAR_H
#define MMQ_ENGINE_LINEAR_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

enum { MMQ_LINEAR_BLOCK = 256,       /* rows converted to double at a time */
	MMQ_LINEAR_PARTS_MAX = 8,    /* pieces of the rows with a partial sum each, added in order */
	MMQ_LINEAR_GRAM_COLS = 2048, /* widest matrix whose Gram matrix is formed */
	MMQ_LINEAR_NEWTON_SIZE = 500 /* most classes * columns whose Hessian is formed */ };

enum mmq_linear_loss {
	MMQ_LOSS_SQUARED,            /* (z - t)^2 / 2 */
	MMQ_LOSS_LOG,                /* log(1 + exp(-t z)), t = -1 or 1; several outputs: softmax */
	MMQ_LOSS_SQUARED_HINGE,      /* max(0, 1 - t z)^2 */
	MMQ_LOSS_SQUARED_EPSILON,    /* max(0, |z - t| - epsilon)^2 */
	MMQ_LOSS_HINGE,              /* max(0, 1 - t z): from here on not smooth */
	MMQ_LOSS_EPSILON,            /* max(0, |z - t| - epsilon) */
};

struct mmq_linear_problem {
	const struct mmq_fit *fit;
	const struct mmq_batch *x;
	const double *target;        /* (rows): t; softmax: the class */
	const float *weight;         /* (rows), NULL: all 1 */
	struct mmq_pool *pool;       /* NULL where problems are solved side by side */
	size_t cols, outputs;
	enum mmq_linear_loss loss;
	double l1, l2, epsilon, bias;
	double smoothing;            /* hinge and epsilon losses: mu of smooth.c */
	bool with_intercept;
	double weight_sum, tol;
	int64_t iterations_max;
	uint64_t seed;
};

struct mmq_linear_fit {              /* what a fit gives; coef and intercept hold the start, zeros or an earlier model's */
	double *coef;                /* (outputs, cols) */
	double *intercept;           /* (outputs) */
	size_t outputs, cols;
	int64_t iterations;
	double loss;                 /* objective per weight */
	double gap;                  /* duality gap over the objective; NaN: not known */
	bool converged, is_warm;     /* is_warm: the start is not zero */
	const char *method, *warning; /* constant texts; warning may be NULL */
};

/* rows.c. Weighted rows of a dataset; all sums are over rows in a fixed order. */
size_t mmq_linear_parts(size_t rows, size_t bytes_per_part);
/* Rows [first, first + count) as doubles into out (count, ld), minus shift (cols) if not NULL. Any storage of x. */
void mmq_linear_load(const struct mmq_batch *x, size_t first, size_t count, const double *shift, double *out, size_t ld);
/* scores (count, outputs) = x coef^T + intercept. block: scratch (MMQ_LINEAR_BLOCK, cols), unused for sparse rows. */
void mmq_linear_forward(const struct mmq_batch *x, size_t first, size_t count, const double *coef, const double *intercept, size_t outputs,
    double *block, double *scores);
/* gradient (outputs, cols) += residual^T x; gradient_0 (outputs) += column sums of residual (count, outputs). */
void mmq_linear_backward(const struct mmq_batch *x, size_t first, size_t count, const double *residual, size_t outputs, double *block,
    double *gradient, double *gradient_0);
/* The same for one output, without scratch. */
void mmq_linear_scores(const struct mmq_batch *x, size_t first, size_t count, const double *coef, double intercept, double *scores);
void mmq_linear_add_rows(const struct mmq_batch *x, size_t first, size_t count, const double *factor, double *sum);
static inline double
mmq_linear_weight(const float *weight, size_t row)
{
	return weight != NULL ? (double)weight[row] : 1.0;
}

/* A value of dense rows. */
static inline double
mmq_linear_cell(const struct mmq_batch *x, size_t row, size_t col)
{
	size_t at = row * x->stride + col;
	return x->dtype == MMQ_F32 ? (double)((const float *)x->dense)[at] : ((const double *)x->dense)[at];
}

/* vector.c */
double mmq_linear_dot(const double *x, const double *y, size_t count);
void mmq_linear_add(double *y, const double *x, double scale, size_t count);   /* y += scale x */
double mmq_linear_sum(const double *values, size_t count);
double mmq_linear_largest(const double *values, size_t count);   /* largest magnitude; INFINITY when one is not finite */

/* loss.c. Scores z (count) of rows from `first` on -> their weighted loss (returned), its first derivative in z's place, its second in curvature
 * (NULL: not wanted; for losses that have one). One output. */
double mmq_linear_loss_block(const struct mmq_linear_problem *p, size_t first, size_t count, double *z, double *curvature);
double mmq_linear_loss_value(const struct mmq_linear_problem *p, size_t first, size_t count, const double *z);

/* solve.c. Lower Cholesky factor over the upper or lower triangle given in a (n, n), symmetric, full storage. Returns the smallest pivot
 * over the largest, or -1 when a pivot is not positive. */
double mmq_linear_cholesky(double *a, size_t n);
void mmq_linear_cholesky_solve(const double *l, size_t n, double *b);
/* The same with diagonal pivoting, stopping at pivots below 1e-13 of the first: order (n), returns the rank. solve sets the other
 * unknowns to zero; temp (n). */
size_t mmq_linear_pivoted(double *a, size_t n, uint32_t *order);
void mmq_linear_pivoted_solve(const double *l, size_t n, size_t rank, const uint32_t *order, double *b, double *temp);
void mmq_linear_mirror(double *a, size_t n);   /* upper triangle copied to the lower */

/* The solvers: from out's start to its end. -1 only for CANCELLED; running out of iterations leaves converged false. */
int mmq_linear_ridge(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err);           /* ridge.c: squared loss, L2 */
int mmq_linear_lasso(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err);           /* lasso.c: squared loss, L1, few columns */
int mmq_linear_wide(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err);            /* wide.c: the same, many dense columns */
int mmq_linear_newton(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err);          /* newton.c: smooth losses, few unknowns */
int mmq_linear_lbfgs(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err);           /* lbfgs.c: smooth losses, L2, any size */
int mmq_linear_truncated(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err);       /* truncated.c: the same, one output */
int mmq_linear_columns(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err);         /* columns.c: smooth losses, L1, one output */
int mmq_linear_dual(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err);            /* dual.c: hinge and epsilon losses, L2 */
int mmq_linear_smoothed(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err);        /* smooth.c: hinge and epsilon, few columns */
/* Tell progress; false: stop. measure: loss or gap. */
bool mmq_linear_say(const struct mmq_linear_problem *p, int64_t iteration, double measure, const char *name);
int mmq_linear_cancelled(int64_t iteration, struct mmq_err *err);

/* fit.c: from the parameters and the data set to coefficients. */
enum mmq_linear_link { MMQ_LINK_NONE, MMQ_LINK_LOGISTIC, MMQ_LINK_SOFTMAX, MMQ_LINK_RATIO /* logistic each, divided by their sum */ };
int mmq_linear_check_params(const struct mmq_fit *fit, struct mmq_err *err);
int mmq_linear_fit_all(struct mmq_linear_fit *out, const struct mmq_fit *fit, enum mmq_linear_link *link_out, struct mmq_err *err);
const char *mmq_linear_loss_name(const struct mmq_fit *fit);
extern const struct mmq_param mmq_linear_params[];

/* objective.c: the smooth part of the objective of theta (outputs, cols + 1; each output's intercept last). */
struct mmq_linear_objective {
	const struct mmq_linear_problem *p;
	size_t cols, wide, outputs, size;    /* wide: cols + 1; size: outputs * wide */
	size_t parts;
	size_t stride, hessian_stride;       /* of each so many blocks of rows one is taken */
	double share;                        /* weight of the rows taken / all, for the penalty */
	bool with_gradient, with_hessian, hessian_in_double;
	const double *theta;
	double *coef, *intercept;            /* theta taken apart for the product with rows */
	double *part_loss, *part_gradient;   /* (parts), (parts, size): coef (outputs, cols) then intercept (outputs) */
	double *part_hessian, *hessian;      /* (parts, size, size); hessian is the first part */
	double *part_weight;                 /* (parts): weight of the rows taken */
};
void mmq_linear_objective_init(struct mmq_linear_objective *o, const struct mmq_linear_problem *p, bool has_hessian);
void mmq_linear_objective_fini(struct mmq_linear_objective *o);
/* The smooth part's value and gradient (size), penalty included. */
double mmq_linear_evaluate(struct mmq_linear_objective *o, const double *theta, double *gradient);
/* The Hessian's upper triangle at theta into o->hessian, penalty included: scaled up from every hessian_stride-th block of those that give the gradient. */
void mmq_linear_curvature(struct mmq_linear_objective *o, const double *theta);
void mmq_linear_theta_get(const struct mmq_linear_problem *p, const struct mmq_linear_fit *fit, double *theta);
void mmq_linear_theta_put(const struct mmq_linear_problem *p, const double *theta, struct mmq_linear_fit *fit);
/* Penalties of unknown j of an output (j == cols: the intercept). */
static inline double
mmq_linear_l2_of(const struct mmq_linear_problem *p, size_t j)
{
	return j < p->cols ? p->l2 : p->bias > 0 ? p->l2 / (p->bias * p->bias) : 0.0;
}
static inline double
mmq_linear_l1_of(const struct mmq_linear_problem *p, size_t j)
{
	return j < p->cols ? p->l1 : p->bias > 0 ? p->l1 / p->bias : 0.0;
}

#endif
