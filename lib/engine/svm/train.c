/* train.c: from a data set to dual problems and back to one model.
 *
 * Binary classification and regression are one problem; k classes are k(k-1)/2 problems, one against one, over the
 * rows of two classes each, solved side by side when there are threads. */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "engine/rows.h"
#include "engine/svm/model.h"
#include "engine/svm/platt.h"
#include "engine/svm/solver.h"
#include "math/rng.h"
#include "util/mem.h"

enum { FOLDS = 5 };

/* One dual problem and what came out of it. */
struct pair {
	uint32_t first, second;       /* classes: +1 and -1; unused for regression */
	uint32_t *rows;               /* (rows_count) indices into the training set */
	size_t rows_count;
	struct svm_solution solution;
	double *signed_alpha;         /* (rows_count) y a, summed over a row's variables */
	double sigmoid[2];            /* a, b of platt.h, with probability */
};

struct training {
	const struct mmq_fit *fit;
	struct svm_kernel kernel;
	float *x;                     /* (rows, cols) */
	size_t rows, cols;
	double c, epsilon, tol;
	int64_t iterations_max;
	bool with_probability;
	size_t cache_bytes;
	struct mmq_pool *row_pool;    /* threads for the kernel rows of a single problem */
	struct pair *pairs;
	size_t pairs_count;
	double gap_first;
	atomic_size_t pairs_done;
	atomic_bool cancelled;
};

int
svm_check(const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_dataset *train = fit->train;
	size_t bytes;

	if (mmq_check_fit(fit, mmq_engine_svm.tasks, mmq_engine_svm.accepts, err) == -1)
		return -1;
	if (train->x.rows > UINT32_MAX / 2)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "rows", "at most 2147483647", "%zu", train->x.rows);
	if (!mmq_size_mul(train->x.rows, train->x.cols * sizeof(float) * 2, &bytes) || (fit->memory_bytes_max > 0 && bytes > fit->memory_bytes_max))
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "svm: %zu rows of %zu columns need more memory than the job may use", train->x.rows,
		    train->x.cols);
	return 0;
}

/* gamma: scale = 1 / (cols * variance of all values), auto = 1 / cols (scikit-learn's definitions). */
static double
resolve_gamma(const struct training *training)
{
	const struct mmq_params *params = training->fit->params;
	if (mmq_params_is_number(params, "gamma"))
		return mmq_params_number(params, "gamma");
	double cols = (double)training->cols;
	if (strcmp(mmq_params_choice(params, "gamma"), "auto") == 0)
		return 1 / cols;
	size_t count = training->rows * training->cols;
	double mean = 0, variance = 0;
	for (size_t i = 0; i < count; i++)
		mean += (double)training->x[i];
	mean /= (double)count;
	for (size_t i = 0; i < count; i++)
		variance += ((double)training->x[i] - mean) * ((double)training->x[i] - mean);
	variance /= (double)count;
	return variance > 0 ? 1 / (cols * variance) : 1;
}

static void
training_begin(struct training *training, const struct mmq_fit *fit)
{
	const struct mmq_params *params = fit->params;
	const struct mmq_batch *x = &fit->train->x;

	*training = (struct training){ .fit = fit, .rows = x->rows, .cols = x->cols };
	training->x = mmq_array(x->rows * x->cols, sizeof(float));
	for (size_t r = 0; r < x->rows; r++)
		mmq_rows_get_f32(x, r, training->x + r * x->cols);
	const char *kernel = mmq_params_choice(params, "kernel");
	for (int k = 0; k < 4; k++)
		if (strcmp(kernel, svm_kernel_names[k]) == 0)
			training->kernel.kind = (enum svm_kernel_kind)k;
	training->kernel.degree = (int)mmq_params_int(params, "degree");
	training->kernel.coef0 = mmq_params_number(params, "coef0");
	training->kernel.gamma = resolve_gamma(training);
	training->c = mmq_params_number(params, "C");
	training->epsilon = mmq_params_number(params, "epsilon");
	training->tol = mmq_params_number(params, "tol");
	training->iterations_max = mmq_params_int(params, "max_iter");
	training->with_probability = fit->task != MMQ_REGRESSION && mmq_params_bool(params, "probability");
	training->cache_bytes = (size_t)(mmq_params_number(params, "cache_size") * 1e6);
}

/* Which rows belong to which problem. */
static int
make_pairs(struct training *training, struct mmq_err *err)
{
	const struct mmq_fit *fit = training->fit;
	uint32_t classes = fit->task == MMQ_REGRESSION ? 0 : fit->train->classes;
	size_t *counts = mmq_array((size_t)classes + 1, sizeof(*counts));
	size_t present = 0;

	for (size_t r = 0; classes > 0 && r < training->rows; r++)
		counts[(size_t)fit->train->y[r]]++;
	for (uint32_t c = 0; c < classes; c++)
		present += counts[c] > 0;
	if (classes > 0 && present < 2) {
		free(counts);
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "svm: got rows of one class only, want at least two classes");
	}
	training->pairs_count = classes == 0 ? 1 : (size_t)classes * (classes - 1) / 2;
	training->pairs = mmq_array(training->pairs_count, sizeof(*training->pairs));
	size_t p = 0;
	for (uint32_t a = 0; a + 1 < classes || classes == 0; a++) {
		for (uint32_t b = a + 1; b < classes || classes == 0; b++) {
			struct pair *pair = &training->pairs[p++];
			/* A binary score is > 0 for class 1, a pairwise one for the first of the pair. */
			pair->first = fit->task == MMQ_BINARY ? 1 : a;
			pair->second = fit->task == MMQ_BINARY ? 0 : b;
			pair->rows = mmq_array(classes == 0 ? training->rows : counts[a] + counts[b], sizeof(*pair->rows));
			for (size_t r = 0; r < training->rows; r++)
				if (classes == 0 || (uint32_t)fit->train->y[r] == a || (uint32_t)fit->train->y[r] == b)
					pair->rows[pair->rows_count++] = (uint32_t)r;
			if (classes == 0)
				break;
		}
		if (classes == 0)
			break;
	}
	free(counts);
	return 0;
}

static bool
report(void *arg, int64_t iteration, double gap)
{
	struct training *training = arg;
	double done = (double)atomic_load(&training->pairs_done), within = 0;

	/* The gap falls roughly geometrically: its logarithm says how far a single problem is. */
	if (training->pairs_count == 1) {
		if (training->gap_first == 0 && gap > training->tol)
			training->gap_first = gap * 2;
		if (training->gap_first > training->tol && gap > 0)
			within = log(training->gap_first / gap) / log(training->gap_first / training->tol);
		within = within < 0 ? 0 : within > 1 ? 1 : within;
	}
	const struct mmq_progress_state state = { .fraction = (done + within) / (double)training->pairs_count, .loss = gap, .valid_loss = NAN,
		.iteration = iteration, .iterations_max = 0, .loss_name = "gap" };
	if (!mmq_progress_step(training->fit->progress, &state))
		atomic_store(&training->cancelled, true);
	return !atomic_load(&training->cancelled);
}

/* A pair with an absent class has no problem to solve: its score is a constant for the class that is there. */
static bool
is_one_sided(const struct training *training, const struct pair *pair)
{
	const double *y = training->fit->train->y;
	for (size_t i = 1; i < pair->rows_count; i++)
		if (y[pair->rows[i]] != y[pair->rows[0]])
			return false;
	return true;
}

/* The dual problem over rows (n of them); signed_alpha (n): y a, summed over a row's variables. */
static void
solve_rows(struct training *training, uint32_t first, const uint32_t *rows, size_t n, struct svm_solution *solution, double *signed_alpha)
{
	const struct mmq_dataset *data = training->fit->train;
	bool regression = training->fit->task == MMQ_REGRESSION;
	size_t variables = regression ? 2 * n : n;

	float *x = mmq_array(n * training->cols, sizeof(float));
	int8_t *y = mmq_array(variables, sizeof(int8_t));
	double *offset = mmq_array(variables, sizeof(double)), *upper = mmq_array(variables, sizeof(double));
	for (size_t i = 0; i < n; i++) {
		size_t r = rows[i];
		double c = training->c * (data->weight == NULL ? 1.0 : (double)data->weight[r]);
		memcpy(x + i * training->cols, training->x + r * training->cols, training->cols * sizeof(float));
		if (regression) {
			y[i] = 1;
			y[n + i] = -1;
			offset[i] = training->epsilon - data->y[r];
			offset[n + i] = -training->epsilon - data->y[r];
			upper[i] = upper[n + i] = c;
		} else {
			y[i] = (uint32_t)data->y[r] == first ? 1 : -1;
			offset[i] = -y[i];
			upper[i] = c;
		}
	}
	struct svm_rows packed;
	svm_rows_pack(&packed, x, n, training->cols);
	free(x);
	const struct svm_problem problem = { .rows = &packed, .kernel = training->kernel, .variables = variables, .y = y, .offset = offset,
		.upper = upper, .tol = training->tol, .iterations_max = training->iterations_max, .cache_bytes = training->cache_bytes,
		.pool = training->row_pool, .report = report, .arg = training };
	svm_solve(&problem, solution);
	for (size_t v = 0; v < variables; v++)
		signed_alpha[v % n] += y[v] * solution->alpha[v];
	free(solution->alpha);
	solution->alpha = NULL;
	svm_rows_fini(&packed);
	free(y);
	free(offset);
	free(upper);
}

/* Scores of count held-out rows by the solution over the rows kept. */
static void
score_held_out(const struct training *training, const uint32_t *kept, size_t kept_count, const double *signed_alpha, double rho,
    const uint32_t *held, size_t count, double *score_out)
{
	size_t cols = training->cols, vectors = 0;
	float *x = mmq_array(kept_count * cols, sizeof(float));
	double *coef = mmq_array(kept_count, sizeof(double));
	struct svm_rows packed;

	for (size_t i = 0; i < kept_count; i++) {
		if (signed_alpha[i] == 0)
			continue;
		memcpy(x + vectors * cols, training->x + kept[i] * cols, cols * sizeof(float));
		coef[vectors++] = signed_alpha[i];
	}
	svm_rows_pack(&packed, x, vectors, cols);
	float *values = mmq_aligned(packed.panels * SVM_PANEL * sizeof(float));
	for (size_t i = 0; i < count; i++) {
		score_out[i] = -rho;
		svm_kernel_values(&training->kernel, &packed, 0, packed.panels, training->x + held[i] * cols, cols, 1, values, 0);
		for (size_t k = 0; k < vectors; k++)
			score_out[i] += coef[k] * (double)values[k];
	}
	svm_rows_fini(&packed);
	free(values);
	free(coef);
	free(x);
}

/* Platt's sigmoid from the scores of rows that a five-fold solution has not seen; the folds come from the seed. */
static void
fit_probability(struct training *training, struct pair *pair)
{
	const struct mmq_dataset *data = training->fit->train;
	size_t n = pair->rows_count;
	struct mmq_rng rng = mmq_rng_stream(training->fit->seed, pair->first, pair->second);
	uint32_t *order = mmq_array(n, sizeof(uint32_t)), *kept = mmq_array(n, sizeof(uint32_t));
	double *score = mmq_array(n, sizeof(double)), *signed_alpha = mmq_array(n, sizeof(double));
	uint8_t *positive = mmq_array(n, 1);

	memcpy(order, pair->rows, n * sizeof(uint32_t));
	for (size_t i = n; i > 1; i--) {
		size_t k = mmq_rng_below(&rng, i);
		uint32_t row = order[k];
		order[k] = order[i - 1];
		order[i - 1] = row;
	}
	for (size_t fold = 0; fold < FOLDS && !atomic_load(&training->cancelled); fold++) {
		size_t from = n * fold / FOLDS, to = n * (fold + 1) / FOLDS, count = n - (to - from), positives = 0;
		memcpy(kept, order, from * sizeof(uint32_t));
		memcpy(kept + from, order + to, (n - to) * sizeof(uint32_t));
		for (size_t i = 0; i < count; i++)
			positives += (uint32_t)data->y[kept[i]] == pair->first;
		if (positives == 0 || positives == count) {   /* nothing to tell apart: the side that is there */
			for (size_t i = from; i < to; i++)
				score[i] = positives == 0 ? -1 : 1;
			continue;
		}
		struct svm_solution solution;
		memset(signed_alpha, 0, n * sizeof(double));
		solve_rows(training, pair->first, kept, count, &solution, signed_alpha);
		score_held_out(training, kept, count, signed_alpha, solution.rho, order + from, to - from, score + from);
	}
	for (size_t i = 0; i < n; i++)
		positive[i] = (uint32_t)data->y[order[i]] == pair->first;
	svm_platt_fit(score, positive, n, &pair->sigmoid[0], &pair->sigmoid[1]);
	free(order);
	free(kept);
	free(score);
	free(signed_alpha);
	free(positive);
}

static void
solve_pair(void *arg, size_t index, unsigned thread)
{
	struct training *training = arg;
	struct pair *pair = &training->pairs[index];
	const struct mmq_dataset *data = training->fit->train;
	bool regression = training->fit->task == MMQ_REGRESSION;
	size_t n = pair->rows_count;

	(void)thread;
	pair->signed_alpha = mmq_array(n, sizeof(double));
	if (atomic_load(&training->cancelled))
		return;
	if (!regression && is_one_sided(training, pair)) {
		pair->solution.converged = true;
		pair->sigmoid[0] = -10;  /* its score is a constant 1 or -1: nearly sure */
		pair->solution.rho = n == 0 ? 0 : (uint32_t)data->y[pair->rows[0]] == pair->first ? -1 : 1;
		return;
	}
	solve_rows(training, pair->first, pair->rows, n, &pair->solution, pair->signed_alpha);
	if (training->with_probability)
		fit_probability(training, pair);
	atomic_fetch_add(&training->pairs_done, 1);
	report(training, pair->solution.iterations, pair->solution.gap);
}

/* Merge the pairs' support vectors into one list by class, each row once, with its coefficients. */
static struct svm_model *
assemble(const struct training *training)
{
	const struct mmq_fit *fit = training->fit;
	struct svm_model *model = mmq_alloc(sizeof(*model));
	bool multiclass = fit->task == MMQ_MULTICLASS;
	uint8_t *is_vector = mmq_array(training->rows, 1);
	uint32_t *place = mmq_array(training->rows, sizeof(*place));

	model->task = fit->task;
	model->kernel = training->kernel;
	model->classes = fit->task == MMQ_REGRESSION ? 0 : fit->train->classes;
	model->pairs = training->pairs_count;
	model->coef_rows = multiclass ? model->classes - 1 : 1;
	for (size_t p = 0; p < model->pairs; p++)
		for (size_t i = 0; i < training->pairs[p].rows_count; i++)
			is_vector[training->pairs[p].rows[i]] |= training->pairs[p].signed_alpha[i] != 0;
	model->class_start = mmq_array((size_t)model->classes + 1, sizeof(uint32_t));
	for (uint32_t c = 0; c < (multiclass ? model->classes : 1); c++) {
		for (size_t r = 0; r < training->rows; r++)
			if (is_vector[r] && (!multiclass || (uint32_t)fit->train->y[r] == c))
				place[r] = (uint32_t)model->vectors_count++;
		if (multiclass)
			model->class_start[c + 1] = (uint32_t)model->vectors_count;
	}
	float *vectors = mmq_array(model->vectors_count * training->cols, sizeof(float));
	for (size_t r = 0; r < training->rows; r++)
		if (is_vector[r])
			memcpy(vectors + place[r] * training->cols, training->x + r * training->cols, training->cols * sizeof(float));
	svm_rows_pack(&model->vectors, vectors, model->vectors_count, training->cols);
	free(vectors);

	size_t coefs = model->coef_rows * model->vectors_count;
	model->owned = mmq_array(coefs + 3 * model->pairs, sizeof(double));
	model->coef = model->owned;
	model->rho = model->owned + coefs;
	model->sigmoid = training->with_probability ? model->rho + model->pairs : NULL;
	for (size_t p = 0; p < model->pairs; p++) {
		const struct pair *pair = &training->pairs[p];
		for (size_t i = 0; i < pair->rows_count; i++) {
			if (pair->signed_alpha[i] == 0)
				continue;
			size_t r = pair->rows[i], row = 0;
			if (multiclass)
				row = (uint32_t)fit->train->y[r] == pair->first ? pair->second - 1 : pair->first;
			model->owned[row * model->vectors_count + place[r]] = pair->signed_alpha[i];
		}
		model->owned[coefs + p] = pair->solution.rho;
		model->owned[coefs + model->pairs + 2 * p] = pair->sigmoid[0];
		model->owned[coefs + model->pairs + 2 * p + 1] = pair->sigmoid[1];
		model->objective += pair->solution.objective;
		model->iterations += pair->solution.iterations;
		model->not_converged += !pair->solution.converged;
		model->gap_max = pair->solution.gap > model->gap_max ? pair->solution.gap : model->gap_max;
	}
	free(is_vector);
	free(place);
	return model;
}

static void
training_end(struct training *training)
{
	for (size_t p = 0; training->pairs != NULL && p < training->pairs_count; p++) {
		free(training->pairs[p].rows);
		free(training->pairs[p].signed_alpha);
	}
	free(training->pairs);
	free(training->x);
}

int
svm_train(void **state_out, const struct mmq_fit *fit, struct mmq_err *err)
{
	struct training training = { 0 };
	int result = -1;

	*state_out = NULL;
	if (svm_check(fit, err) == -1)
		return -1;
	training_begin(&training, fit);
	if (make_pairs(&training, err) == -1)
		goto done;
	/* Threads go to whole pairs when there are enough of them, else to the kernel rows of the one problem. */
	bool by_pairs = training.pairs_count > 1;
	training.row_pool = by_pairs ? NULL : fit->pool;
	if (by_pairs)
		training.cache_bytes /= mmq_pool_threads(fit->pool);
	mmq_pool_run(by_pairs ? fit->pool : NULL, training.pairs_count, solve_pair, &training);
	if (atomic_load(&training.cancelled)) {
		mmq_err_set(err, MMQ_CANCELLED, "svm: training was cancelled");
		goto done;
	}
	*state_out = assemble(&training);
	result = 0;
done:
	training_end(&training);
	return result;
}
