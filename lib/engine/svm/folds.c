/* folds.c: probabilities by cross-validation, and the check of single precision.
 *
 * A fold is the whole pair's problem with the bounds of the held-out rows set to 0: kernel rows are the ones that are there already, the
 * solution starts from the whole one, and the solver's g of a held-out row is its score. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/svm/train.h"
#include "math/platt.h"
#include "math/rng.h"
#include "util/mem.h"

enum { FOLDS = 5, DRIFT_ROWS_MIN = 4, DRIFT_ROWS_MAX = 16, DRIFT_WORK = 8000000 };

/* Scores of the rows held[0..count-1] to score_out by a solution without them. */
static void
solve_fold(struct svm_training *training, const struct svm_case *one, const struct svm_solution *whole, const uint32_t *held, size_t count,
    double *score_out)
{
	struct svm_case fold = *one;
	struct svm_solution solution;
	size_t variables = one->problem.variables, sides[2] = { 0, 0 };
	double *start = mmq_array(variables, sizeof(double));

	fold.upper = mmq_array(variables, sizeof(double));
	memcpy(fold.upper, one->upper, variables * sizeof(double));
	for (size_t i = 0; i < count; i++)
		fold.upper[held[i]] = 0;
	for (size_t v = 0; v < variables; v++)
		sides[one->y[v] < 0] += fold.upper[v] > 0;
	fold.problem.upper = fold.upper;
	svm_case_sums(training, &fold, fold.sums);
	memcpy(start, whole->alpha, variables * sizeof(double));
	svm_problem_repair(&fold.problem, start, fold.sums);
	fold.problem.start = start;
	fold.problem.known_alpha = whole->alpha;
	fold.problem.known_g = whole->g;
	if (sides[0] > 0 && sides[1] > 0) {
		svm_solve(&fold.problem, &solution);
		double scale = svm_case_scale(training, &solution);
		for (size_t i = 0; i < count; i++)
			score_out[i] = (solution.g[held[i]] - solution.rho) / scale;
		svm_solution_fini(&solution);
	} else {   /* nothing to tell apart: the side that is there */
		for (size_t i = 0; i < count; i++)
			score_out[i] = sides[0] == 0 ? -1 : 1;
	}
	free(start);
	free(fold.upper);
}

void
svm_pair_calibrate(struct svm_training *training, struct svm_pair *pair, const struct svm_case *one, const struct svm_solution *whole)
{
	struct mmq_rng rng = mmq_rng_stream(training->fit->seed, pair->first, pair->second);
	uint32_t *order = mmq_array(one->problem.rows, sizeof(uint32_t));
	size_t n = 0;

	for (size_t r = 0; r < one->problem.rows; r++)
		if (training->order[svm_case_place(training, pair, r)] != SVM_NO_ROW)
			order[n++] = (uint32_t)r;
	double *score = mmq_array(n, sizeof(double));
	uint8_t *positive = mmq_array(n, 1);
	mmq_rng_shuffle(&rng, order, n);
	for (size_t fold = 0; fold < FOLDS && !atomic_load(&training->cancelled); fold++) {
		size_t from = n * fold / FOLDS, to = n * (fold + 1) / FOLDS;
		solve_fold(training, one, whole, order + from, to - from, score + from);
	}
	for (size_t i = 0; i < n; i++)
		positive[i] = one->y[order[i]] > 0;
	/* As LIBSVM: weights take part in the folds' machines only. */
	mmq_platt_fit(score, positive, NULL, n, &pair->sigmoid[0], &pair->sigmoid[1]);
	free(order);
	free(score);
	free(positive);
}

/* The rows of a few variables to look at: free ones, whose f decides, spread over the problem. Returns how many. */
static size_t
choose_rows(const struct svm_problem *problem, const struct svm_solution *solution, size_t want, size_t *rows_out)
{
	size_t free_count = 0, seen = 0, count = 0;
	for (size_t v = 0; v < problem->variables; v++)
		free_count += svm_room_up(problem, solution->alpha, v) > 0 && svm_room_low(problem, solution->alpha, v) > 0;
	for (size_t v = 0; v < problem->variables && count < want; v++) {
		bool is_free = svm_room_up(problem, solution->alpha, v) > 0 && svm_room_low(problem, solution->alpha, v) > 0;
		bool counts = free_count > 0 ? is_free : problem->upper[v] > 0;
		size_t total = free_count > 0 ? free_count : problem->variables;
		if (counts && seen++ * want / (total > 0 ? total : 1) >= count)
			rows_out[count++] = v % problem->rows;
	}
	return count;
}

double
svm_pair_drift(const struct svm_training *training, const struct svm_pair *pair, const struct svm_case *one, const struct svm_solution *solution)
{
	const struct svm_problem *problem = &one->problem;
	struct svm_form form = training->form;
	size_t count = 0, rows[DRIFT_ROWS_MAX];
	uint32_t *order = mmq_array(problem->rows, sizeof(uint32_t));
	double *coef = mmq_array(problem->rows, sizeof(double)), worst = 0;
	struct svm_rows vectors;
	struct svm_queries queries;

	for (size_t r = 0; r < problem->rows; r++) {
		double sum = 0;
		for (size_t v = r; v < problem->variables; v += problem->rows)
			sum += problem->y[v] * solution->alpha[v];
		if (sum == 0)
			continue;
		coef[count] = sum;
		order[count++] = training->order[svm_case_place(training, pair, r)];
	}
	form.wide = true;
	svm_rows_init(&vectors, &training->fit->train->x, order, count, form);
	size_t want = DRIFT_WORK / ((count + 1) * (training->set.rows.cols + 20));
	want = want < DRIFT_ROWS_MIN ? DRIFT_ROWS_MIN : want > DRIFT_ROWS_MAX ? DRIFT_ROWS_MAX : want;
	want = choose_rows(problem, solution, want, rows);
	void *memory = mmq_aligned(svm_queries_bytes(&vectors, 1));
	double *values = mmq_aligned(vectors.panels * SVM_PANEL * sizeof(double));
	svm_queries_begin(&queries, &vectors, 1, memory);
	for (size_t i = 0; i < want; i++) {
		svm_queries_put(&queries, &training->fit->train->x, training->order[svm_case_place(training, pair, rows[i])]);
		svm_rows_values(&training->kernel, &vectors, &queries, 0, vectors.panels, (void *[]){ values });
		svm_queries_clear(&queries);
		worst = fmax(worst, fabs(svm_kernel_weigh_wide(coef, values, count) - solution->g[rows[i]]));
	}
	svm_rows_fini(&vectors);
	free(memory);
	free(values);
	free(order);
	free(coef);
	return worst;
}
