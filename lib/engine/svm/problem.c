/* problem.c: the numbers of one dual problem, and its solution: which precision is enough is found out by looking. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/svm/dual.h"
#include "engine/svm/train.h"
#include "util/mem.h"

size_t
svm_case_place(const struct svm_training *training, const struct svm_pair *pair, size_t row)
{
	const size_t *start = training->segment_start;
	size_t width = start[pair->piece[0] + 1] - start[pair->piece[0]];
	return row < width ? start[pair->piece[0]] + row : start[pair->piece[1]] + row - width;
}

/* One row's variables: sign, offset and bound (0 for padding). See solver.h and Chang and Lin 2011, section 2. */
static void
set_variables(struct svm_case *one, const struct svm_training *training, const struct svm_pair *pair, size_t r, size_t row)
{
	const struct mmq_dataset *data = training->fit->train;
	size_t other = one->problem.rows + r;
	bool is_there = row != SVM_NO_ROW, positive = data->classes == 0 || (is_there && (uint32_t)data->y[row] == pair->first);
	double weight = !is_there ? 0 : data->weight == NULL ? 1 : (double)data->weight[row];

	one->y[r] = positive ? 1 : -1;
	one->upper[r] = weight * (training->fit->task == MMQ_ONE_CLASS || (training->is_nu && data->classes > 0) ? 1 : training->c);
	if (training->fit->task == MMQ_REGRESSION) {
		double y = is_there ? data->y[row] : 0, epsilon = training->is_nu ? 0 : training->epsilon;
		one->offset[r] = epsilon - y;
		one->y[other] = -1;
		one->offset[other] = -epsilon - y;
		one->upper[other] = one->upper[r];
	} else if (data->classes > 0 && !training->is_nu) {
		one->offset[r] = -one->y[r];
	}
}

void
svm_case_init(struct svm_case *one, struct svm_training *training, const struct svm_pair *pair, struct svm_rowcache *cache)
{
	struct svm_problem *problem = &one->problem;

	*one = (struct svm_case){ .problem = { .cache = cache, .pieces = pair->pieces, .piece = { pair->piece[0], pair->piece[1] },
		.by_sign = training->is_nu && training->fit->task != MMQ_ONE_CLASS, .tol = training->tol, .iterations_max = training->iterations_max,
		.pool = training->row_pool } };
	for (size_t k = 0; k < pair->pieces; k++)
		problem->rows += training->segment_start[pair->piece[k] + 1] - training->segment_start[pair->piece[k]];
	problem->variables = training->fit->task == MMQ_REGRESSION ? 2 * problem->rows : problem->rows;
	problem->y = one->y = mmq_array(problem->variables, sizeof(int8_t));
	problem->offset = one->offset = mmq_array(problem->variables, sizeof(double));
	problem->upper = one->upper = mmq_array(problem->variables, sizeof(double));
	for (size_t r = 0; r < problem->rows; r++)
		set_variables(one, training, pair, r, training->order[svm_case_place(training, pair, r)]);
	svm_case_sums(training, one, one->sums);
}

void
svm_case_fini(struct svm_case *one)
{
	free(one->y);
	free(one->offset);
	free(one->upper);
}

bool
svm_case_sums(const struct svm_training *training, const struct svm_case *one, double sums[2])
{
	double room[2] = { 0, 0 };
	for (size_t v = 0; v < one->problem.variables; v++)
		room[one->y[v] < 0] += one->upper[v];
	sums[0] = sums[1] = 0;
	if (training->fit->task == MMQ_ONE_CLASS)
		sums[0] = training->nu * room[0];
	else if (training->is_nu && training->fit->task == MMQ_REGRESSION)
		sums[0] = sums[1] = training->nu * room[0] / 2;   /* room[0]: C times the number of rows */
	else if (training->is_nu)
		sums[0] = sums[1] = training->nu * (room[0] + room[1]) / 2;
	bool fits = sums[0] <= room[0] * (1 + 1e-12) && sums[1] <= room[1] * (1 + 1e-12);
	sums[0] = fmin(sums[0], fmin(room[0], training->fit->task == MMQ_ONE_CLASS ? room[0] : room[1]));
	sums[1] = training->fit->task == MMQ_ONE_CLASS ? 0 : fmin(sums[1], sums[0]);
	return fits;
}

void
svm_case_start(const struct svm_case *one, double *alpha)
{
	double left[2] = { one->sums[0], one->sums[1] };
	for (size_t v = 0; v < one->problem.variables; v++) {
		double *of_sign = &left[one->y[v] < 0];
		alpha[v] = fmin(*of_sign, one->upper[v]);
		*of_sign -= alpha[v];
	}
}

double
svm_case_scale(const struct svm_training *training, const struct svm_solution *solution)
{
	bool is_scaled = training->is_nu && (training->fit->task == MMQ_BINARY || training->fit->task == MMQ_MULTICLASS);
	return is_scaled && solution->margin > 0 ? solution->margin : 1;
}

/* Where the previous model stood on these rows; as its alphas of the nu form were divided by the margin, they are scaled back to their sums. */
static void
previous_start(const struct svm_training *training, const struct svm_pair *pair, const struct svm_case *one, double *alpha)
{
	const struct svm_problem *problem = &one->problem;
	const double *previous = training->previous + (size_t)(pair - training->pairs) * training->set.rows.panels * SVM_PANEL;
	double total = 0, scale = 1;

	for (size_t r = 0; r < problem->rows; r++)
		total += fabs(previous[svm_case_place(training, pair, r)]);
	if (training->is_nu && total > 0)
		scale = (one->sums[0] + one->sums[1]) / total;
	for (size_t r = 0; r < problem->rows; r++) {
		double value = scale * previous[svm_case_place(training, pair, r)];
		for (size_t v = r; v < problem->variables; v += problem->rows) {
			alpha[v] = fmax(problem->y[v] * value, 0);
			if (alpha[v] > problem->upper[v] * (1 - 1e-9))   /* at its bound but for rounding: not a free one */
				alpha[v] = problem->upper[v];
		}
	}
	svm_problem_repair(problem, alpha, one->sums);
}

static bool
report(void *arg, int64_t iteration, double gap, size_t vectors)
{
	struct svm_training *training = arg;
	double done = (double)atomic_load(&training->pairs_done), within = 0;

	/* The gap falls roughly geometrically: its logarithm says how far a single problem is. */
	if (training->pairs_count == 1 && isfinite(gap)) {
		if (training->gap_first == 0 && gap > training->tol)
			training->gap_first = gap * 2;
		if (training->gap_first > training->tol && gap > 0)
			within = log(training->gap_first / gap) / log(training->gap_first / training->tol);
		within = within < 0 ? 0 : within > 1 ? 1 : within;
	}
	const struct mmq_progress_state state = { .fraction = fmin((done + within) / (double)training->pairs_count, 1), .loss = isfinite(gap) ? gap : NAN,
		.valid_loss = NAN, .iteration = iteration, .iterations_max = 0, .loss_name = "gap", .size = (int64_t)vectors, .size_name = "support_vectors" };
	if (!mmq_progress_step(training->fit->progress, &state))
		atomic_store(&training->cancelled, true);
	return !atomic_load(&training->cancelled);
}

/* A pair with an absent class has no problem to solve: its score is a constant for the class that is there. */
static bool
is_one_sided(const struct svm_training *training, struct svm_pair *pair)
{
	const size_t *start = training->segment_start;
	if (pair->pieces < 2)
		return false;
	bool has_first = start[pair->piece[0] + 1] > start[pair->piece[0]], has_second = start[pair->piece[1] + 1] > start[pair->piece[1]];
	if (has_first && has_second)
		return false;
	pair->converged = true;
	pair->sigmoid[0] = -10;  /* its score is a constant 1 or -1: nearly sure */
	pair->rho = has_first ? -1 : has_second ? 1 : 0;
	return true;
}

void
svm_pair_solve(struct svm_training *training, struct svm_pair *pair, struct svm_rowcache *cache, size_t lane)
{
	struct svm_case one;
	struct svm_solution solution;

	if (atomic_load(&training->cancelled) || is_one_sided(training, pair))
		return;
	svm_case_init(&one, training, pair, cache);
	struct svm_problem *problem = &one.problem;
	problem->lane = lane;
	problem->report = report;
	problem->arg = training;
	double *start = mmq_array(problem->variables, sizeof(double));
	if (pair->signed_alpha != NULL) {   /* once more, in double, from where single precision came to */
		for (size_t v = 0; v < problem->variables; v++)
			start[v] = fmax(problem->y[v] * pair->signed_alpha[v % problem->rows], 0);
		svm_problem_repair(problem, start, one.sums);
	} else if (training->previous != NULL) {
		previous_start(training, pair, &one, start);
	} else {
		svm_case_start(&one, start);
	}
	problem->start = start;
	svm_solve_large(problem, &solution);
	bool is_limited = solution.iterations >= svm_iterations_max(problem);
	pair->wants_wide = training->may_widen && !solution.cancelled && !is_limited && (!solution.converged ||
	    svm_pair_drift(training, pair, &one, &solution) > training->tol);
	double scale = pair->wants_wide ? 1 : svm_case_scale(training, &solution);
	free(pair->signed_alpha);
	pair->signed_alpha = mmq_array(problem->rows, sizeof(double));
	for (size_t v = 0; v < problem->variables; v++)
		pair->signed_alpha[v % problem->rows] += problem->y[v] * solution.alpha[v] / scale;
	pair->rho = solution.rho / scale;
	pair->objective = solution.objective / (scale * scale);
	pair->gap = solution.gap;
	pair->iterations += solution.iterations;
	pair->converged = solution.converged;
	if (training->with_probability && !pair->wants_wide)
		svm_pair_calibrate(training, pair, &one, &solution);
	svm_rowcache_forget(cache, lane, pair->piece[0], pair->piece[pair->pieces - 1]);
	free(start);
	svm_solution_fini(&solution);
	svm_case_fini(&one);
	if (!pair->wants_wide)
		atomic_fetch_add(&training->pairs_done, 1);
	report(training, pair->iterations, pair->gap, 0);
}
