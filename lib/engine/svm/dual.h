/* dual.h: what both solvers share: the end of a solution, and bounds. See solver.h for the notation. */
#ifndef MMQ_ENGINE_SVM_DUAL_H
#define MMQ_ENGINE_SVM_DUAL_H

#include "engine/svm/solver.h"

/* Curvature below which two rows count as equal (LIBSVM's tau): keeps steps finite for duplicates and non-PSD kernels. */
#define SVM_CURVATURE_MIN 1e-12

/* Variables that steps stay within: all of them, or those of one sign. */
static inline size_t
svm_groups(const struct svm_problem *problem)
{
	return problem->by_sign ? 2 : 1;
}

static inline size_t
svm_group(const struct svm_problem *problem, size_t v)
{
	return problem->by_sign && problem->y[v] < 0 ? 1 : 0;
}

static inline size_t
svm_row(const struct svm_problem *problem, size_t v)
{
	return v < problem->rows ? v : v - problem->rows;
}

static inline double
svm_f(const struct svm_problem *problem, const double *g, size_t v)
{
	return g[svm_row(problem, v)] + problem->offset[v];
}

/* One group's violation: f falls from the highest of those that may fall to the lowest of those that may rise. */
struct svm_ends {
	double lowest, highest;
};
/* ends_out (2). Returns the largest violation of all groups. */
double svm_violation(const struct svm_problem *problem, const double *alpha, const double *g, struct svm_ends *ends_out);

/* At a bound, and no partner is left on whose side it would violate. */
static inline bool
svm_is_settled(const struct svm_problem *problem, const double *alpha, const double *g, const struct svm_ends *ends, size_t v)
{
	const struct svm_ends *end = &ends[svm_group(problem, v)];
	double f = svm_f(problem, g, v);
	return (svm_room_up(problem, alpha, v) <= 0 || f > end->highest) && (svm_room_low(problem, alpha, v) <= 0 || f < end->lowest);
}

/* Rows none of whose variables is otherwise. */
size_t svm_count_settled(const struct svm_problem *problem, const double *alpha, const double *g, const struct svm_ends *ends);

/* Threshold, margin and objective; the solution takes alpha and g. */
void svm_finish(const struct svm_problem *problem, double *alpha, double *g, struct svm_solution *solution);
int64_t svm_iterations_max(const struct svm_problem *problem);
size_t svm_count_vectors(const struct svm_problem *problem, const double *alpha);

#endif
