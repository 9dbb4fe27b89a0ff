/* solver.c: sequential minimal optimisation with second-order working sets. */
#include "engine/svm/solver.h"

#include <math.h>
#include <stdlib.h>

#include "engine/svm/rowcache.h"
#include "util/mem.h"

/* Curvature below which two rows count as equal (LIBSVM's tau): keeps steps finite for duplicates and non-PSD kernels. */
static const double curvature_min = 1e-12;

struct solver {
	const struct svm_problem *problem;
	struct svm_rowcache *cache;
	double *alpha;       /* (variables) */
	double *g;           /* (rows) sum of y a K, in double */
	float *self;         /* (rows) K(r, r) */
};

static size_t
row_of(const struct solver *solver, size_t variable)
{
	size_t rows = solver->problem->rows->rows;
	return variable < rows ? variable : variable - rows;
}

static double
f_of(const struct solver *solver, size_t variable)
{
	return solver->g[row_of(solver, variable)] + solver->problem->offset[variable];
}

/* May y_v a_v still grow (up), or fall (low)? */
static bool
can_rise(const struct solver *solver, size_t v)
{
	return solver->problem->y[v] > 0 ? solver->alpha[v] < solver->problem->upper[v] : solver->alpha[v] > 0;
}

static bool
can_fall(const struct solver *solver, size_t v)
{
	return solver->problem->y[v] > 0 ? solver->alpha[v] > 0 : solver->alpha[v] < solver->problem->upper[v];
}

/* The variable that may rise with the lowest f; SIZE_MAX when none may. */
static size_t
select_first(const struct solver *solver, double *f_out)
{
	size_t best = SIZE_MAX;
	double lowest = INFINITY;
	for (size_t v = 0; v < solver->problem->variables; v++) {
		double f = f_of(solver, v);
		if (f < lowest && can_rise(solver, v)) {
			lowest = f;
			best = v;
		}
	}
	*f_out = lowest;
	return best;
}

/* Given the first, the falling one with the largest decrease of the objective; also the largest f of all that may fall. */
static size_t
select_second(const struct solver *solver, size_t first, double f_first, const float *row_first, double *f_highest_out)
{
	size_t best = SIZE_MAX;
	double gain_best = 0, highest = -INFINITY, self_first = (double)solver->self[row_of(solver, first)];

	for (size_t v = 0; v < solver->problem->variables; v++) {
		double f = f_of(solver, v);
		if (f <= f_first && f <= highest)
			continue;
		if (!can_fall(solver, v))
			continue;
		if (f > highest)
			highest = f;
		double distance = f - f_first;
		if (distance <= 0)
			continue;
		size_t row = row_of(solver, v);
		double curvature = self_first + (double)solver->self[row] - 2.0 * (double)row_first[row];
		double gain = distance * distance / (curvature > curvature_min ? curvature : curvature_min);
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
take_step(struct solver *solver, size_t i, size_t j)
{
	const struct svm_problem *problem = solver->problem;
	const float *row_i, *row_j;
	size_t r = row_of(solver, i), s = row_of(solver, j);

	svm_rowcache_get_two(solver->cache, r, s, &row_i, &row_j);
	double curvature = (double)solver->self[r] + (double)solver->self[s] - 2.0 * (double)row_i[s];
	double step = (f_of(solver, j) - f_of(solver, i)) / (curvature > curvature_min ? curvature : curvature_min);
	double room_i = problem->y[i] > 0 ? problem->upper[i] - solver->alpha[i] : solver->alpha[i];
	double room_j = problem->y[j] > 0 ? solver->alpha[j] : problem->upper[j] - solver->alpha[j];
	/* At a bound the value is set, not computed, so that the sets stay exact. */
	bool i_at_bound = step >= room_i && room_i <= room_j, j_at_bound = step >= room_j && room_j <= room_i;
	if (i_at_bound)
		step = room_i;
	else if (j_at_bound)
		step = room_j;
	solver->alpha[i] = i_at_bound ? (problem->y[i] > 0 ? problem->upper[i] : 0) : solver->alpha[i] + problem->y[i] * step;
	solver->alpha[j] = j_at_bound ? (problem->y[j] > 0 ? 0 : problem->upper[j]) : solver->alpha[j] - problem->y[j] * step;
	for (size_t k = 0; k < problem->rows->rows; k++)
		solver->g[k] += step * ((double)row_i[k] - (double)row_j[k]);
}

/* The threshold: mean f of the free variables, or the middle of what the bounded ones allow (Chang and Lin 2011, 4.1.5). */
static double
threshold(const struct solver *solver)
{
	double sum = 0, low = -INFINITY, high = INFINITY;
	size_t free_count = 0;

	for (size_t v = 0; v < solver->problem->variables; v++) {
		double f = f_of(solver, v);
		bool rises = can_rise(solver, v), falls = can_fall(solver, v);
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
objective(const struct solver *solver)
{
	const struct svm_problem *problem = solver->problem;
	double sum = 0;  /* 1/2 a'Qa + p'a = 1/2 sum a (G + p), with G = y f and p = y offset */
	for (size_t v = 0; v < problem->variables; v++)
		sum += solver->alpha[v] * problem->y[v] * (f_of(solver, v) + problem->offset[v]);
	return sum / 2;
}

static int64_t
iterations_limit(const struct svm_problem *problem)
{
	if (problem->iterations_max >= 0)
		return problem->iterations_max;
	int64_t by_size = (int64_t)problem->variables * 100;
	return by_size > 10000000 ? by_size : 10000000;
}

void
svm_solve(const struct svm_problem *problem, struct svm_solution *solution)
{
	size_t rows = problem->rows->rows;
	struct solver solver = { .problem = problem };
	int64_t limit = iterations_limit(problem), since_report = 0;
	int64_t report_every = (int64_t)(20000000 / (rows * 2 + problem->rows->cols + 1)) + 1;

	*solution = (struct svm_solution){ .gap = INFINITY };
	solver.cache = svm_rowcache_new(&problem->kernel, problem->rows, problem->cache_bytes, problem->pool);
	solver.alpha = mmq_array(problem->variables, sizeof(double));
	solver.g = mmq_array(problem->rows->panels * SVM_PANEL, sizeof(double));
	solver.self = mmq_array(rows, sizeof(float));
	for (size_t r = 0; r < rows; r++)
		solver.self[r] = svm_kernel_self(&problem->kernel, problem->rows, r);

	for (;;) {
		double f_first, f_highest;
		size_t first = select_first(&solver, &f_first);
		if (first == SIZE_MAX) {
			solution->gap = 0;
			solution->converged = true;
			break;
		}
		const float *row_first = svm_rowcache_get(solver.cache, row_of(&solver, first));
		size_t second = select_second(&solver, first, f_first, row_first, &f_highest);
		solution->gap = f_highest - f_first;
		if (second == SIZE_MAX || solution->gap < problem->tol) {
			solution->gap = solution->gap > 0 ? solution->gap : 0;
			solution->converged = true;
			break;
		}
		if (solution->iterations == limit)
			break;
		take_step(&solver, first, second);
		solution->iterations++;
		if (++since_report >= report_every) {
			since_report = 0;
			if (problem->report != NULL && !problem->report(problem->arg, solution->iterations, solution->gap)) {
				solution->cancelled = true;
				break;
			}
		}
	}
	solution->rho = threshold(&solver);
	solution->objective = objective(&solver);
	solution->alpha = solver.alpha;
	svm_rowcache_destroy(&solver.cache);
	free(solver.g);
	free(solver.self);
}
