/* plain.c: sequential minimal optimisation with second-order working sets, one pair of variables over all rows at a time.
 *
 * The reference that the batched solver is held against in tests: short, no selection shortcuts, kernel values straight from their definition
 * and everything in double. Not used by training. */
#include <math.h>
#include <stdlib.h>

#include "engine/svm/dual.h"
#include "util/mem.h"

static double
kernel_value(const struct svm_kernel *kernel, const struct mmq_batch *x, size_t a, size_t b)
{
	double dot = 0, distance = 0;
	for (size_t j = 0; j < x->cols; j++) {
		size_t col;
		double u = svm_batch_get(x, a, j, &col), v = svm_batch_get(x, b, j, &col);
		dot += u * v;
		distance += (u - v) * (u - v);
	}
	switch (kernel->kind) {
	case SVM_LINEAR: return dot;
	case SVM_POLY: return pow(kernel->gamma * dot + kernel->coef0, kernel->degree);
	case SVM_RBF: return exp(-kernel->gamma * distance);
	case SVM_SIGMOID: return tanh(kernel->gamma * dot + kernel->coef0);
	default: return svm_batch_get(x, a, b, &(size_t){ 0 });
	}
}

struct plain {
	const struct svm_problem *problem;
	size_t n;              /* rows without padding */
	double *k, *alpha, *g; /* (n, n), (variables), (rows) */
};

/* The variable of a group that may rise with the lowest f; SIZE_MAX when none may. */
static size_t
select_first(const struct plain *plain, size_t group)
{
	size_t best = SIZE_MAX;
	for (size_t v = 0; v < plain->problem->variables; v++)
		if (svm_group(plain->problem, v) == group && svm_room_up(plain->problem, plain->alpha, v) > 0 &&
		    (best == SIZE_MAX || svm_f(plain->problem, plain->g, v) < svm_f(plain->problem, plain->g, best)))
			best = v;
	return best;
}

static double
curvature(const struct plain *plain, size_t i, size_t j)
{
	size_t a = svm_row(plain->problem, i), b = svm_row(plain->problem, j);
	double value = plain->k[a * plain->n + a] + plain->k[b * plain->n + b] - 2 * plain->k[a * plain->n + b];
	return value > SVM_CURVATURE_MIN ? value : SVM_CURVATURE_MIN;
}

/* Given the first, the falling one with the largest decrease of the objective, which is returned too. */
static size_t
select_second(const struct plain *plain, size_t first, double *gain_out)
{
	size_t best = SIZE_MAX, group = svm_group(plain->problem, first);
	*gain_out = 0;
	for (size_t v = 0; v < plain->problem->variables; v++) {
		double distance = svm_f(plain->problem, plain->g, v) - svm_f(plain->problem, plain->g, first);
		if (svm_group(plain->problem, v) != group || svm_room_low(plain->problem, plain->alpha, v) <= 0 || distance <= 0)
			continue;
		double gain = distance * distance / curvature(plain, first, v);
		if (gain > *gain_out) {
			*gain_out = gain;
			best = v;
		}
	}
	return best;
}

/* Move y_i a_i up and y_j a_j down by the same step, as far as the curvature asks and the bounds allow. */
static void
take_step(struct plain *plain, size_t i, size_t j)
{
	const struct svm_problem *problem = plain->problem;
	double step = (svm_f(problem, plain->g, j) - svm_f(problem, plain->g, i)) / curvature(plain, i, j);
	double room_i = svm_room_up(problem, plain->alpha, i), room_j = svm_room_low(problem, plain->alpha, j);
	/* At a bound the value is set, not computed, so that the sets stay exact. */
	bool i_at_bound = step >= room_i && room_i <= room_j, j_at_bound = step >= room_j && room_j <= room_i;
	if (i_at_bound)
		step = room_i;
	else if (j_at_bound)
		step = room_j;
	plain->alpha[i] = i_at_bound ? (problem->y[i] > 0 ? problem->upper[i] : 0) : plain->alpha[i] + problem->y[i] * step;
	plain->alpha[j] = j_at_bound ? (problem->y[j] > 0 ? 0 : problem->upper[j]) : plain->alpha[j] - problem->y[j] * step;
	for (size_t r = 0; r < plain->n; r++)
		plain->g[r] += step * (plain->k[svm_row(problem, i) * plain->n + r] - plain->k[svm_row(problem, j) * plain->n + r]);
}

static void
plain_init(struct plain *plain, const struct svm_problem *problem, const struct svm_kernel *kernel, const struct mmq_batch *x)
{
	*plain = (struct plain){ .problem = problem, .n = x->rows };
	plain->k = mmq_array(x->rows * x->rows, sizeof(double));
	plain->alpha = mmq_array(problem->variables, sizeof(double));
	plain->g = mmq_array(problem->rows, sizeof(double));
	for (size_t a = 0; a < x->rows; a++)
		for (size_t b = 0; b < x->rows; b++)
			plain->k[a * x->rows + b] = kernel_value(kernel, x, a, b);
	for (size_t v = 0; problem->start != NULL && v < problem->variables; v++) {
		plain->alpha[v] = problem->start[v];
		for (size_t r = 0; problem->start[v] != 0 && r < x->rows; r++)
			plain->g[r] += problem->y[v] * problem->start[v] * plain->k[svm_row(problem, v) * x->rows + r];
	}
}

void
svm_solve_plain(const struct svm_problem *problem, const struct svm_kernel *kernel, const struct mmq_batch *x, struct svm_solution *solution)
{
	struct plain plain;
	struct svm_ends ends[2];
	int64_t limit = svm_iterations_max(problem);

	*solution = (struct svm_solution){ .gap = INFINITY };
	plain_init(&plain, problem, kernel, x);
	for (;;) {
		double gain, gain_best = 0;
		size_t first = SIZE_MAX, second = SIZE_MAX;
		solution->gap = svm_violation(problem, plain.alpha, plain.g, ends);
		solution->converged = solution->gap < problem->tol;
		for (size_t group = 0; group < svm_groups(problem); group++) {
			size_t i = select_first(&plain, group), j = i == SIZE_MAX ? SIZE_MAX : select_second(&plain, i, &gain);
			if (j == SIZE_MAX || gain <= gain_best)
				continue;
			gain_best = gain;
			first = i;
			second = j;
		}
		if (solution->converged || second == SIZE_MAX || solution->iterations == limit)
			break;
		take_step(&plain, first, second);
		solution->iterations++;
	}
	svm_finish(problem, plain.alpha, plain.g, solution);
	free(plain.k);
}
