/* dual.h: the state of a dual problem while it is solved, and what both solvers ask of it. See solver.h for the notation. */
#ifndef MMQ_ENGINE_SVM_DUAL_H
#define MMQ_ENGINE_SVM_DUAL_H

#include "engine/svm/solver.h"

/* Curvature below which two rows count as equal (LIBSVM's tau): keeps steps finite for duplicates and non-PSD kernels. */
#define SVM_CURVATURE_MIN 1e-12

struct svm_dual {
	const struct svm_problem *problem;
	double *alpha;       /* (variables) */
	double *g;           /* (panels * SVM_PANEL) sum of y a K, in double */
	float *self;         /* (rows) K(r, r) */
};

void svm_dual_init(struct svm_dual *dual, const struct svm_problem *problem);
/* Threshold and objective to the solution, which takes alpha; the rest is freed. */
void svm_dual_fini(struct svm_dual *dual, struct svm_solution *solution);
int64_t svm_dual_iterations_max(const struct svm_problem *problem);

static inline size_t
svm_dual_row(const struct svm_dual *dual, size_t v)
{
	size_t rows = dual->problem->rows->rows;
	return v < rows ? v : v - rows;
}

static inline double
svm_dual_f(const struct svm_dual *dual, size_t v)
{
	return dual->g[svm_dual_row(dual, v)] + dual->problem->offset[v];
}

/* How far y_v a_v may still grow (up), or fall (low). */
static inline double
svm_dual_room_up(const struct svm_dual *dual, size_t v)
{
	return dual->problem->y[v] > 0 ? dual->problem->upper[v] - dual->alpha[v] : dual->alpha[v];
}

static inline double
svm_dual_room_low(const struct svm_dual *dual, size_t v)
{
	return dual->problem->y[v] > 0 ? dual->alpha[v] : dual->problem->upper[v] - dual->alpha[v];
}

#endif
