/* shrink.c: large problems without the rows that have settled at a bound.
 *
 * When most rows have no variable left that could be half of a violating pair, the others are a problem of their own: the settled ones keep
 * their a, and their part of g is a constant of it. Kernel rows, selection and updates are then as short as this problem; kernel rows that are
 * there already are cut to it, in the memory they have. At its end g of all rows is computed from what has moved, and the whole problem is
 * solved to the end: the stop is on all variables, as without shrinking (Joachims 1999; Chang and Lin 2011, 5.1).
 *
 * That end costs as many kernel rows as were left at the most, so a problem is cut only after twice as many were computed: one that would have
 * ended soon takes little longer, one that goes on for long gains. What is left may be cut again, down to ROWS_MIN. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/svm/dual.h"
#include "util/mem.h"

/* Below ROWS_MIN a round costs little. */
enum { ROWS_MIN = 8192, CUTS_MAX = 4 };

struct active {
	const struct svm_problem *whole;
	struct svm_problem problem;
	struct svm_rowset set;
	uint32_t *order;          /* (problem.rows) of the training set */
	size_t segment_start[2];
	size_t *row;              /* (count) of the whole problem */
	size_t count;
	int8_t *y;
	double *offset, *upper, *alpha, *g;
	int64_t iterations_before;
	size_t vectors_elsewhere;
};

/* The rows that stay, and how many of the others are support vectors. */
static void
find_active(struct active *active, const struct svm_solution *solution)
{
	const struct svm_problem *whole = active->whole;
	struct svm_ends ends[2];

	svm_violation(whole, solution->alpha, solution->g, ends);
	active->row = mmq_array(whole->rows, sizeof(size_t));
	for (size_t r = 0; r < whole->rows; r++) {
		bool is_settled = true, is_vector = false;
		for (size_t v = r; v < whole->variables; v += whole->rows) {
			is_settled = is_settled && svm_is_settled(whole, solution->alpha, solution->g, ends, v);
			is_vector = is_vector || solution->alpha[v] > 0;
		}
		if (!is_settled)
			active->row[active->count++] = r;
		else
			active->vectors_elsewhere += is_vector;
	}
}

static bool
report_active(void *arg, int64_t iteration, double gap, size_t vectors)
{
	const struct active *active = arg;
	const struct svm_problem *whole = active->whole;
	return whole->report(whole->arg, active->iterations_before + iteration, gap, active->vectors_elsewhere + vectors);
}

static void
active_init(struct active *active, const struct svm_problem *whole, const struct svm_solution *solution)
{
	const struct svm_rowset *set = svm_rowcache_set(whole->cache);

	*active = (struct active){ .whole = whole, .iterations_before = solution->iterations };
	find_active(active, solution);
	size_t halves = whole->variables / whole->rows, rows = (active->count + SVM_PANEL - 1) / SVM_PANEL * SVM_PANEL;
	active->order = mmq_array(rows, sizeof(uint32_t));
	active->y = mmq_array(rows * halves, sizeof(int8_t));
	active->offset = mmq_array(rows * halves, sizeof(double));
	active->upper = mmq_array(rows * halves, sizeof(double));
	active->alpha = mmq_array(rows * halves, sizeof(double));
	active->g = mmq_array(rows, sizeof(double));
	memset(active->y, 1, rows * halves);
	for (size_t i = 0; i < rows; i++)
		active->order[i] = SVM_NO_ROW;
	for (size_t i = 0; i < active->count; i++) {
		active->order[i] = set->order[active->row[i]];
		active->g[i] = solution->g[active->row[i]];
		for (size_t half = 0; half < halves; half++) {
			size_t to = half * rows + i, from = half * whole->rows + active->row[i];
			active->y[to] = whole->y[from];
			active->offset[to] = whole->offset[from];
			active->upper[to] = whole->upper[from];
			active->alpha[to] = solution->alpha[from];
		}
	}
	active->segment_start[1] = rows;
	active->set = (struct svm_rowset){ .x = set->x, .order = active->order, .kernel = set->kernel, .segments = 1,
		.segment_start = active->segment_start };
	svm_rows_init(&active->set.rows, set->x, active->order, rows, set->rows.form);
	active->problem = *whole;
	active->problem.cache = svm_rowcache_narrow(whole->cache, &active->set, active->row, active->count);
	active->problem.rows = rows;
	active->problem.variables = rows * halves;
	active->problem.y = active->y;
	active->problem.offset = active->offset;
	active->problem.upper = active->upper;
	active->problem.start = active->problem.known_alpha = active->alpha;
	active->problem.known_g = active->g;
	active->problem.iterations_max = svm_iterations_max(whole) - solution->iterations;
	active->problem.report = whole->report == NULL ? NULL : report_active;
	active->problem.arg = active;
}

static void
active_fini(struct active *active)
{
	svm_rowcache_destroy(&active->problem.cache);
	svm_rows_fini(&active->set.rows);
	free(active->order);
	free(active->row);
	free(active->y);
	free(active->offset);
	free(active->upper);
	free(active->alpha);
	free(active->g);
}

/* The whole problem's alpha after its active rows are solved; *iterations_io counts on. True: go on with it. */
static bool
solve_active(const struct svm_problem *whole, const struct svm_solution *cut, double *alpha_out, int64_t *iterations_io)
{
	struct active active;
	struct svm_solution solution;

	active_init(&active, whole, cut);
	svm_solve_large(&active.problem, &solution);
	memcpy(alpha_out, cut->alpha, whole->variables * sizeof(double));
	for (size_t i = 0; i < active.count; i++)
		for (size_t v = active.row[i], at = i; v < whole->variables; v += whole->rows, at += active.problem.rows)
			alpha_out[v] = solution.alpha[at];
	*iterations_io += solution.iterations;
	bool go_on = !solution.cancelled;
	svm_solution_fini(&solution);
	active_fini(&active);
	return go_on;
}

void
svm_solve_large(const struct svm_problem *problem, struct svm_solution *solution)
{
	struct svm_problem whole = *problem;
	struct svm_solution cut = { 0 };
	double *alpha = NULL;
	int64_t iterations = 0;

	for (int cuts = 0;; cuts++) {
		whole.may_settle = problem->rows >= ROWS_MIN && problem->pieces == 1 && cuts < CUTS_MAX;
		whole.iterations_max = svm_iterations_max(problem) - iterations;
		svm_solve(&whole, solution);
		svm_solution_fini(&cut);
		iterations += solution->iterations;
		solution->cuts = cuts;
		if (!solution->has_settled)
			break;
		cut = *solution;
		free(alpha);
		alpha = mmq_array(problem->variables, sizeof(double));
		if (!solve_active(&whole, &cut, alpha, &iterations)) {
			solution->cancelled = true;
			cut = (struct svm_solution){ 0 };
			break;
		}
		whole.start = alpha;
		whole.known_alpha = cut.alpha;
		whole.known_g = cut.g;
	}
	solution->iterations = iterations;
	free(alpha);
}
