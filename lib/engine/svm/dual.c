/* dual.c: what the plain and the batched solver share: set-up, threshold and objective. */
#include "engine/svm/dual.h"

#include <math.h>
#include <stdlib.h>

#include "util/mem.h"

void
svm_dual_init(struct svm_dual *dual, const struct svm_problem *problem)
{
	*dual = (struct svm_dual){ .problem = problem };
	dual->alpha = mmq_array(problem->variables, sizeof(double));
	dual->g = mmq_array(problem->rows->panels * SVM_PANEL, sizeof(double));
	dual->self = mmq_array(problem->rows->rows, sizeof(float));
	for (size_t r = 0; r < problem->rows->rows; r++)
		dual->self[r] = svm_kernel_self(&problem->kernel, problem->rows, r);
}

/* The threshold: mean f of the free variables, or the middle of what the bounded ones allow (Chang and Lin 2011, 4.1.5). */
static double
threshold(const struct svm_dual *dual)
{
	double sum = 0, low = -INFINITY, high = INFINITY;
	size_t free_count = 0;

	for (size_t v = 0; v < dual->problem->variables; v++) {
		double f = svm_dual_f(dual, v);
		bool rises = svm_dual_room_up(dual, v) > 0, falls = svm_dual_room_low(dual, v) > 0;
		if (rises && falls) {
			sum += f;
			free_count++;
		} else if (rises) {
			high = f < high ? f : high;
		} else if (falls) {
			low = f > low ? f : low;
		}
	}
	if (free_count > 0)
		return sum / (double)free_count;
	if (isinf(low) && isinf(high))
		return 0;
	return isinf(low) ? high : isinf(high) ? low : (low + high) / 2;
}

static double
objective(const struct svm_dual *dual)
{
	const struct svm_problem *problem = dual->problem;
	double sum = 0;  /* 1/2 a'Qa + p'a = 1/2 sum a (G + p), with G = y f and p = y offset */
	for (size_t v = 0; v < problem->variables; v++)
		sum += dual->alpha[v] * problem->y[v] * (svm_dual_f(dual, v) + problem->offset[v]);
	return sum / 2;
}

void
svm_dual_fini(struct svm_dual *dual, struct svm_solution *solution)
{
	solution->rho = threshold(dual);
	solution->objective = objective(dual);
	solution->alpha = dual->alpha;
	free(dual->g);
	free(dual->self);
}

int64_t
svm_dual_iterations_max(const struct svm_problem *problem)
{
	if (problem->iterations_max >= 0)
		return problem->iterations_max;
	int64_t by_size = (int64_t)problem->variables * 100;
	return by_size > 10000000 ? by_size : 10000000;
}
