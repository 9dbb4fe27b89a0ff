/* solver.h: the dual problem of a support vector machine.
 *
 *   min  1/2 a'Qa + p'a   with  0 <= a_v <= C_v,  y'a = 0,  Q_uv = y_u y_v K(row u, row v)
 *
 * C-SVC has one variable per row; epsilon-SVR has two, which share the row's kernel values. Instead of the gradient G the
 * solver keeps f_v = y_v G_v = g[row v] + offset_v, with g[r] = sum over u of y_u a_u K(row u, r): one array over rows serves
 * both halves of a regression. Working set: second-order selection (Fan, Chen, Lin 2005, WSS 2). Stops when the largest
 * violation is below tol, which is LIBSVM's criterion, on all variables. */
#ifndef MMQ_ENGINE_SVM_SOLVER_H
#define MMQ_ENGINE_SVM_SOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/progress.h"
#include "engine/svm/kernel.h"
#include "math/pool.h"

struct svm_problem {
	const struct svm_rows *rows;
	struct svm_kernel kernel;
	size_t variables;         /* rows, or 2 * rows for regression: variable v belongs to row v % rows */
	const int8_t *y;          /* (variables) +1 or -1 */
	const double *offset;     /* (variables) y_v p_v */
	const double *upper;      /* (variables) C_v > 0 */
	double tol;
	int64_t iterations_max;   /* < 0: 10,000,000 or 100 per variable, whichever is more */
	size_t cache_bytes;
	struct mmq_pool *pool;    /* for long kernel rows; may be NULL */
	bool (*report)(void *arg, int64_t iteration, double gap);  /* false: stop, cancelled; may be NULL */
	void *arg;
};

struct svm_solution {
	double *alpha;            /* (variables), free() it */
	double rho, objective, gap;
	int64_t iterations;
	bool converged, cancelled;
};

/* Many variables at a time: batch.c. */
void svm_solve(const struct svm_problem *problem, struct svm_solution *solution_out);
/* The reference of the tests: plain.c. Does not report. */
void svm_solve_plain(const struct svm_problem *problem, struct svm_solution *solution_out);

#endif
