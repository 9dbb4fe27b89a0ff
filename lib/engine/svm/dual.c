/* dual.c: what the plain and the batched solver share: violation, threshold, objective; and how a point is made feasible again. */
#include "engine/svm/dual.h"

#include <math.h>
#include <stdlib.h>

double
svm_violation(const struct svm_problem *problem, const double *alpha, const double *g, struct svm_ends *ends)
{
	double worst = 0;

	for (size_t k = 0; k < 2; k++)
		ends[k] = (struct svm_ends){ INFINITY, -INFINITY };
	for (size_t v = 0; v < problem->variables; v++) {
		struct svm_ends *end = &ends[svm_group(problem, v)];
		double f = svm_f(problem, g, v);
		if (f < end->lowest && svm_room_up(problem, alpha, v) > 0)
			end->lowest = f;
		if (f > end->highest && svm_room_low(problem, alpha, v) > 0)
			end->highest = f;
	}
	for (size_t k = 0; k < svm_groups(problem); k++)
		worst = fmax(worst, ends[k].highest - ends[k].lowest);
	return worst;
}

size_t
svm_count_settled(const struct svm_problem *problem, const double *alpha, const double *g, const struct svm_ends *ends)
{
	size_t count = 0;
	for (size_t r = 0; r < problem->rows; r++) {
		bool is_settled = true;
		for (size_t v = r; v < problem->variables; v += problem->rows)
			is_settled = is_settled && svm_is_settled(problem, alpha, g, ends, v);
		count += is_settled;
	}
	return count;
}

/* The threshold of a group: mean f of the free variables, or the middle of what the bounded ones allow (Chang and Lin 2011, 4.1.5). */
static double
threshold(const struct svm_problem *problem, const double *alpha, const double *g, size_t group)
{
	double sum = 0, low = -INFINITY, high = INFINITY;
	size_t free_count = 0;

	for (size_t v = 0; v < problem->variables; v++) {
		if (svm_group(problem, v) != group)
			continue;
		double f = svm_f(problem, g, v);
		bool rises = svm_room_up(problem, alpha, v) > 0, falls = svm_room_low(problem, alpha, v) > 0;
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
objective(const struct svm_problem *problem, const double *alpha, const double *g)
{
	double sum = 0;  /* 1/2 a'Qa + p'a = 1/2 sum a (G + p), with G = y f and p = y offset */
	for (size_t v = 0; v < problem->variables; v++)
		sum += alpha[v] * problem->y[v] * (svm_f(problem, g, v) + problem->offset[v]);
	return sum / 2;
}

void
svm_finish(const struct svm_problem *problem, double *alpha, double *g, struct svm_solution *solution)
{
	double first = threshold(problem, alpha, g, 0), second = problem->by_sign ? threshold(problem, alpha, g, 1) : first;
	solution->rho = (first + second) / 2;
	solution->margin = (first - second) / 2;
	solution->objective = objective(problem, alpha, g);
	solution->alpha = alpha;
	solution->g = g;
}

void
svm_solution_fini(struct svm_solution *solution)
{
	free(solution->alpha);
	free(solution->g);
	solution->alpha = solution->g = NULL;
}

int64_t
svm_iterations_max(const struct svm_problem *problem)
{
	if (problem->iterations_max >= 0)
		return problem->iterations_max;
	int64_t by_size = (int64_t)problem->variables * 100;
	return by_size > 10000000 ? by_size : 10000000;
}

size_t
svm_count_vectors(const struct svm_problem *problem, const double *alpha)
{
	size_t count = 0;
	for (size_t r = 0; r < problem->rows; r++)
		count += alpha[r] > 0 || (problem->variables > problem->rows && alpha[problem->rows + r] > 0);
	return count;
}

/* Move y a of one group by `by` in total; free variables only, or any. Returns what is left. */
static double
spread(const struct svm_problem *problem, double *alpha, size_t group, double by, bool only_free)
{
	for (size_t v = 0; v < problem->variables && by != 0; v++) {
		double up = svm_room_up(problem, alpha, v), low = svm_room_low(problem, alpha, v);
		if (svm_group(problem, v) != group || (only_free && (up <= 0 || low <= 0)))
			continue;
		double step = by > 0 ? fmin(by, up) : fmax(by, -low), next = alpha[v] + problem->y[v] * step;
		bool at_end = by > 0 ? step == up : step == -low;
		/* At a bound the value is set, not computed, so that the sets stay exact. */
		alpha[v] = !at_end ? next : (by > 0) == (problem->y[v] > 0) ? problem->upper[v] : 0;
		by -= step;
	}
	return by;
}

void
svm_problem_repair(const struct svm_problem *problem, double *alpha, const double sums[2])
{
	double have[2] = { 0, 0 };

	for (size_t v = 0; v < problem->variables; v++) {
		alpha[v] = fmin(fmax(alpha[v], 0), problem->upper[v]);
		have[svm_group(problem, v)] += problem->y[v] * alpha[v];
	}
	for (size_t group = 0; group < svm_groups(problem); group++) {
		double want = problem->by_sign ? (group == 0 ? sums[0] : -sums[1]) : sums[0] - sums[1];
		double left = spread(problem, alpha, group, want - have[group], true);
		spread(problem, alpha, group, left, false);
	}
}
