/* solver.h: the dual problem of a support vector machine.
 *
 *   min  1/2 a'Qa + p'a   with  0 <= a_v <= C_v,  y'a = 0,  Q_uv = y_u y_v K(row u, row v)
 *
 * C-SVC and one-class have one variable per row; the regressions have two, which share the row's kernel values. The nu forms hold e'a as
 * well, so that steps stay within variables of one sign (by_sign). Instead of the gradient G the solver keeps f_v = y_v G_v = g[row v] +
 * offset_v, with g[r] = sum over u of y_u a_u K(row u, r): one array over rows serves both halves of a regression. Working set: second-order
 * selection (Fan, Chen, Lin 2005, WSS 2). Stops when the largest violation is below tol, which is LIBSVM's criterion, on all variables.
 *
 * Rows of a problem are one or two segments of a row cache, padding included: what has upper = 0 takes no part, but its g is kept up to date,
 * so that rows held out of a fit get their scores with it. */
#ifndef MMQ_ENGINE_SVM_SOLVER_H
#define MMQ_ENGINE_SVM_SOLVER_H

#include "engine/svm/rowcache.h"

enum { SVM_PIECES = 2, SVM_SET_MIN = 64,
	SVM_SEGMENTS_MIN = SVM_PIECES * 2 * SVM_SET_MIN };   /* that a row cache has to hold for the smallest working set */

struct svm_problem {
	struct svm_rowcache *cache;
	size_t lane;              /* of the cache */
	size_t pieces, piece[SVM_PIECES];  /* segments of the cache, one after the other */
	size_t rows;              /* of all pieces, multiple of SVM_PANEL */
	size_t variables;         /* rows, or 2 * rows for regression: variable v belongs to row v % rows */
	const int8_t *y;          /* (variables) +1 or -1 */
	const double *offset;     /* (variables) y_v p_v */
	const double *upper;      /* (variables) C_v >= 0 */
	bool by_sign;
	double tol;
	bool may_settle;          /* stop when most rows have settled and the gap is still far from tol: see shrink.c */
	int64_t iterations_max;   /* < 0: 10,000,000 or 100 per variable, whichever is more */
	const double *start;      /* (variables) a that keeps the constraints; NULL: zeros */
	const double *known_alpha, *known_g;  /* (variables), (rows): some a and its g, close to start; NULL: zeros */
	struct mmq_pool *pool;    /* for long kernel rows; may be NULL */
	bool (*report)(void *arg, int64_t iteration, double gap, size_t vectors);  /* false: stop, cancelled; may be NULL */
	void *arg;
};

struct svm_solution {
	double *alpha;            /* (variables), free() it */
	double *g;                /* (rows), free() it */
	double rho, objective, gap;
	double margin;            /* by_sign: the r of nu-SVC, minus the epsilon of nu-SVR */
	int64_t iterations;
	bool converged, cancelled, has_settled;
	int cuts;                 /* how often it was shrunk */
};

/* Many variables at a time: batch.c. */
void svm_solve(const struct svm_problem *problem, struct svm_solution *solution_out);
/* The same, shrinking the problem on its way when it is large: shrink.c. Of one piece that is the whole cache. */
void svm_solve_large(const struct svm_problem *problem, struct svm_solution *solution_out);
/* The reference of the tests: plain.c. Kernel values of x (the problem's rows, without padding) in double, all at once. Does not report. */
void svm_solve_plain(const struct svm_problem *problem, const struct svm_kernel *kernel, const struct mmq_batch *x,
    struct svm_solution *solution_out);
void svm_solution_fini(struct svm_solution *solution);

/* Change alpha (variables) so that it keeps its bounds and y'a = 0 (by_sign: the sum of each sign as it was in `sums`, + then -), with free
 * variables first, as little as it takes. */
void svm_problem_repair(const struct svm_problem *problem, double *alpha, const double sums[2]);

/* How far y_v a_v may still grow (up), or fall (low). */
static inline double
svm_room_up(const struct svm_problem *problem, const double *alpha, size_t v)
{
	return problem->y[v] > 0 ? problem->upper[v] - alpha[v] : alpha[v];
}

static inline double
svm_room_low(const struct svm_problem *problem, const double *alpha, size_t v)
{
	return problem->y[v] > 0 ? alpha[v] : problem->upper[v] - alpha[v];
}

#endif
