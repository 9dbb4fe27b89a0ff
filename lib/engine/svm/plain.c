/* plain.c: sequential minimal optimisation with second-order working sets, one pair of variables over all rows at a time.
 *
 * The reference that the batched solver is held against in tests: short, no selection shortcuts, everything but the kernel
 * values in double. Not used by training. */
#include <math.h>
#include <stdlib.h>

#include "engine/svm/dual.h"
#include "engine/svm/rowcache.h"
#include "util/mem.h"

/* The variable that may rise with the lowest f; SIZE_MAX when none may. */
static size_t
select_first(const struct svm_dual *dual, double *f_out)
{
	size_t best = SIZE_MAX;
	double lowest = INFINITY;
	for (size_t v = 0; v < dual->problem->variables; v++) {
		double f = svm_dual_f(dual, v);
		if (f < lowest && svm_dual_room_up(dual, v) > 0) {
			lowest = f;
			best = v;
		}
	}
	*f_out = lowest;
	return best;
}

/* Given the first, the falling one with the largest decrease of the objective; also the largest f of all that may fall. */
static size_t
select_second(const struct svm_dual *dual, size_t first, double f_first, const float *row_first, double *f_highest_out)
{
	size_t best = SIZE_MAX;
	double gain_best = 0, highest = -INFINITY, self_first = (double)dual->self[svm_dual_row(dual, first)];

	for (size_t v = 0; v < dual->problem->variables; v++) {
		double f = svm_dual_f(dual, v);
		if (svm_dual_room_low(dual, v) <= 0)
			continue;
		if (f > highest)
			highest = f;
		double distance = f - f_first;
		if (distance <= 0)
			continue;
		size_t row = svm_dual_row(dual, v);
		double curvature = self_first + (double)dual->self[row] - 2.0 * (double)row_first[row];
		double gain = distance * distance / (curvature > SVM_CURVATURE_MIN ? curvature : SVM_CURVATURE_MIN);
		if (gain > gain_best) {
			gain_best = gain;
			best = v;
		}
	}
	*f_highest_out = highest;
	return best;
}

/* Move y_i a_i up and y_j a_j down by the same step, as far as the curvature asks and the bounds allow. */
static void
take_step(struct svm_dual *dual, struct svm_rowcache *cache, size_t i, size_t j)
{
	const struct svm_problem *problem = dual->problem;
	const float *rows[2];
	const size_t pair[2] = { svm_dual_row(dual, i), svm_dual_row(dual, j) };

	svm_rowcache_get(cache, pair, 2, rows);
	double curvature = (double)dual->self[pair[0]] + (double)dual->self[pair[1]] - 2.0 * (double)rows[0][pair[1]];
	double step = (svm_dual_f(dual, j) - svm_dual_f(dual, i)) / (curvature > SVM_CURVATURE_MIN ? curvature : SVM_CURVATURE_MIN);
	double room_i = svm_dual_room_up(dual, i), room_j = svm_dual_room_low(dual, j);
	/* At a bound the value is set, not computed, so that the sets stay exact. */
	bool i_at_bound = step >= room_i && room_i <= room_j, j_at_bound = step >= room_j && room_j <= room_i;
	if (i_at_bound)
		step = room_i;
	else if (j_at_bound)
		step = room_j;
	dual->alpha[i] = i_at_bound ? (problem->y[i] > 0 ? problem->upper[i] : 0) : dual->alpha[i] + problem->y[i] * step;
	dual->alpha[j] = j_at_bound ? (problem->y[j] > 0 ? 0 : problem->upper[j]) : dual->alpha[j] - problem->y[j] * step;
	for (size_t k = 0; k < problem->rows->rows; k++)
		dual->g[k] += step * ((double)rows[0][k] - (double)rows[1][k]);
}

void
svm_solve_plain(const struct svm_problem *problem, struct svm_solution *solution)
{
	struct svm_dual dual;
	int64_t limit = svm_dual_iterations_max(problem);

	*solution = (struct svm_solution){ .gap = INFINITY };
	svm_dual_init(&dual, problem);
	struct svm_rowcache *cache = svm_rowcache_new(&problem->kernel, problem->rows, problem->cache_bytes, 2, problem->pool);
	for (;;) {
		double f_first, f_highest;
		size_t first = select_first(&dual, &f_first), second = SIZE_MAX;
		solution->gap = 0;
		if (first != SIZE_MAX) {
			const float *row_first;
			svm_rowcache_get(cache, &(size_t){ svm_dual_row(&dual, first) }, 1, &row_first);
			second = select_second(&dual, first, f_first, row_first, &f_highest);
			solution->gap = f_highest > f_first ? f_highest - f_first : 0;
		}
		if (second == SIZE_MAX || solution->gap < problem->tol) {
			solution->converged = true;
			break;
		}
		if (solution->iterations == limit)
			break;
		take_step(&dual, cache, first, second);
		solution->iterations++;
	}
	svm_rowcache_destroy(&cache);
	svm_dual_fini(&dual, solution);
}
