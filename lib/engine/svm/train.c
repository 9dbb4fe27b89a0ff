/* train.c: from a data set to dual problems and back to one model.
 *
 * Binary classification, regression and one-class are one problem; k classes are k(k-1)/2 problems, one against one, over the
 * rows of two classes each, solved side by side when there are threads. All problems see the same kernel rows (rowcache.h). */
#include "engine/svm/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "util/mem.h"

/* Below this share of values that are not zero, sparse products are the faster ones: a sparse one costs about as much as four dense. */
#define SPARSE_BELOW 0.25

int
svm_check(const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_dataset *train = fit->train;
	size_t bytes;

	if (mmq_check_fit(fit, mmq_engine_svm.tasks, mmq_engine_svm.accepts, err) == -1)
		return -1;
	if (train->x.rows > UINT32_MAX / 2)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "rows", "at most 2147483647", "%zu", train->x.rows);
	if (strcmp(mmq_params_choice(fit->params, "kernel"), "precomputed") == 0 && train->x.cols != train->x.rows)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.kernel", "as many columns as rows: a column for each training row", "%zu columns for %zu rows",
		    train->x.cols, train->x.rows);
	size_t stored = train->x.row_start != NULL ? (size_t)train->x.row_start[train->x.rows] / (train->x.rows + 1) + 1 : train->x.cols;
	if (!mmq_size_mul(train->x.rows, stored * sizeof(float) * 2, &bytes) || (fit->memory_bytes_max > 0 && bytes > fit->memory_bytes_max))
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "svm: %zu rows of %zu columns need more memory than the job may use", train->x.rows,
		    train->x.cols);
	return 0;
}

/* Count, mean and variance over all values of all rows, those that are not stored included; and the share that is not zero. */
static double
spread_of(const struct mmq_batch *x, double *density_out)
{
	double count = (double)x->rows * (double)x->cols, sum = 0, square = 0, filled = 0;
	size_t col;

	for (size_t r = 0; r < x->rows; r++)
		for (size_t k = 0; k < svm_batch_stored(x, r); k++) {
			double value = svm_batch_get(x, r, k, &col);
			sum += value;
			filled += value != 0;
		}
	double mean = sum / count, stored = 0;
	for (size_t r = 0; r < x->rows; r++)
		for (size_t k = 0; k < svm_batch_stored(x, r); k++) {
			double off = svm_batch_get(x, r, k, &col) - mean;
			square += off * off;
			stored++;
		}
	*density_out = filled / count;
	return (square + (count - stored) * mean * mean) / count;
}

/* gamma: scale = 1 / (cols * variance of all values), auto = 1 / cols (scikit-learn's definitions). */
static double
resolve_gamma(const struct mmq_params *params, size_t cols, double variance)
{
	if (mmq_params_is_number(params, "gamma"))
		return mmq_params_number(params, "gamma");
	if (strcmp(mmq_params_choice(params, "gamma"), "auto") == 0)
		return 1 / (double)cols;
	return variance > 0 ? 1 / ((double)cols * variance) : 1;
}

static void
training_begin(struct svm_training *training, const struct mmq_fit *fit)
{
	const struct mmq_params *params = fit->params;
	const char *kernel = mmq_params_choice(params, "kernel"), *precision = mmq_params_choice(params, "precision");
	double density, variance = spread_of(&fit->train->x, &density);

	*training = (struct svm_training){ .fit = fit };
	for (int k = 0; k < SVM_KERNELS; k++)
		if (strcmp(kernel, svm_kernel_names[k]) == 0)
			training->kernel.kind = (enum svm_kernel_kind)k;
	training->kernel.degree = (int)mmq_params_int(params, "degree");
	training->kernel.coef0 = mmq_params_number(params, "coef0");
	training->kernel.gamma = resolve_gamma(params, fit->train->x.cols, variance);
	training->form.precomputed = training->kernel.kind == SVM_PRECOMPUTED;
	training->form.sparse = !training->form.precomputed && density < SPARSE_BELOW;
	training->form.wide = strcmp(precision, "float64") == 0;
	training->may_widen = strcmp(precision, "auto") == 0;
	training->is_nu = fit->task != MMQ_ONE_CLASS && strcmp(mmq_params_choice(params, "formulation"), "nu") == 0;
	training->c = mmq_params_number(params, "C");
	training->nu = mmq_params_number(params, "nu");
	training->epsilon = mmq_params_number(params, "epsilon");
	training->tol = mmq_params_number(params, "tol");
	training->iterations_max = mmq_params_int(params, "max_iter");
	training->with_probability = fit->train->classes > 0 && mmq_params_bool(params, "probability");
	training->cache_bytes = (size_t)(mmq_params_number(params, "cache_size") * 1e6);
}

/* Places by class, each class a segment that starts on a panel; one segment in the given order without several classes. */
static void
make_places(struct svm_training *training)
{
	const struct mmq_dataset *data = training->fit->train;
	bool by_class = training->fit->task == MMQ_MULTICLASS;
	size_t rows = data->x.rows;

	training->segments = by_class ? data->classes : 1;
	training->segment_start = mmq_array(training->segments + 1, sizeof(size_t));
	size_t *next = mmq_array(training->segments, sizeof(size_t));
	for (size_t r = 0; r < rows; r++)
		next[by_class ? (size_t)data->y[r] : 0]++;
	for (size_t s = 0; s < training->segments; s++) {
		training->segment_start[s + 1] = training->segment_start[s] + (next[s] + SVM_PANEL - 1) / SVM_PANEL * SVM_PANEL;
		next[s] = training->segment_start[s];
	}
	size_t places = training->segment_start[training->segments];
	training->order = mmq_array(places, sizeof(uint32_t));
	for (size_t place = 0; place < places; place++)
		training->order[place] = SVM_NO_ROW;
	for (size_t r = 0; r < rows; r++)
		training->order[next[by_class ? (size_t)data->y[r] : 0]++] = (uint32_t)r;
	free(next);
}

static int
make_pairs(struct svm_training *training, struct mmq_err *err)
{
	const struct mmq_dataset *data = training->fit->train;
	uint32_t classes = data->classes;
	size_t p = 0, others = 0;

	for (size_t r = 0; classes > 0 && r < data->x.rows; r++)
		others += data->y[r] != data->y[0];
	if (classes > 0 && others == 0)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "svm: got rows of one class only, want at least two classes");
	training->pairs_count = training->fit->task == MMQ_MULTICLASS ? (size_t)classes * (classes - 1) / 2 : 1;
	training->pairs = mmq_array(training->pairs_count, sizeof(*training->pairs));
	/* A binary score is > 0 for class 1, a pairwise one for the first of the pair. */
	training->pairs[0] = (struct svm_pair){ .first = 1, .second = 0, .pieces = 1 };
	for (uint32_t a = 0; training->fit->task == MMQ_MULTICLASS && a < classes; a++)
		for (uint32_t b = a + 1; b < classes; b++)
			training->pairs[p++] = (struct svm_pair){ .first = a, .second = b, .pieces = 2, .piece = { a, b } };
	return 0;
}

/* A nu that the smaller class of a pair cannot carry is refused before any work. */
static int
check_nu(struct svm_training *training, struct mmq_err *err)
{
	for (size_t p = 0; training->is_nu && p < training->pairs_count; p++) {
		struct svm_case one;
		double sums[2], all = 0;
		const struct svm_pair *pair = &training->pairs[p];
		svm_case_init(&one, training, pair, NULL);
		bool fits = svm_case_sums(training, &one, sums);
		for (size_t v = 0; v < one.problem.variables; v++)
			all += one.upper[v];
		svm_case_fini(&one);
		if (!fits && sums[0] > 0)   /* 0: a pair with an absent class is no problem to solve */
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.nu", "twice the share of the smaller class at the most", "%g, where it is %g",
			    training->nu, 2 * sums[0] / all);
	}
	return 0;
}

static void
make_set(struct svm_training *training)
{
	const struct mmq_batch *x = &training->fit->train->x;
	struct svm_rowset *set = &training->set;
	unsigned threads = training->pairs_count > 1 ? mmq_pool_threads(training->fit->pool) : 1;

	*set = (struct svm_rowset){ .x = x, .order = training->order, .kernel = training->kernel, .segments = training->segments,
		.segment_start = training->segment_start };
	svm_rows_init(&set->rows, x, training->order, training->segment_start[training->segments], training->form);
	training->caches = mmq_array(threads, sizeof(*training->caches));
	training->caches[0] = svm_rowcache_new(set, training->cache_bytes, SVM_SEGMENTS_MIN, threads);
	training->caches_count = 1;
	if (svm_rowcache_is_shared(training->caches[0]) || threads == 1)
		return;
	/* What has to give up rows is for one thread alone: the budget is divided. */
	svm_rowcache_destroy(&training->caches[0]);
	for (training->caches_count = 0; training->caches_count < threads; training->caches_count++)
		training->caches[training->caches_count] = svm_rowcache_new(set, training->cache_bytes / threads, SVM_SEGMENTS_MIN, 1);
}

static void
drop_set(struct svm_training *training)
{
	for (size_t k = 0; k < training->caches_count; k++)
		svm_rowcache_destroy(&training->caches[k]);
	training->caches_count = 0;
	free(training->caches);
	training->caches = NULL;
	svm_rows_fini(&training->set.rows);
}

static void
solve_pair(void *arg, size_t index, unsigned thread)
{
	struct svm_training *training = arg;
	struct svm_pair *pair = &training->pairs[index];
	bool own_cache = training->caches_count > 1;
	if (!training->form.wide || pair->wants_wide || !training->may_widen)
		svm_pair_solve(training, pair, training->caches[own_cache ? thread : 0], own_cache ? 0 : thread);
}

/* All pairs in single precision, then again in double those that it was not enough for. */
static void
solve_all(struct svm_training *training)
{
	/* Threads go to whole pairs when there are enough of them, else to the kernel rows of the one problem. */
	bool by_pairs = training->pairs_count > 1, wants_wide = false;
	struct mmq_pool *pool = by_pairs ? training->fit->pool : NULL;

	training->row_pool = by_pairs ? NULL : training->fit->pool;
	make_set(training);
	if (training->fit->previous != NULL)
		training->previous = svm_previous(training, training->fit->previous);
	if (training->form.wide)
		training->may_widen = false;
	mmq_pool_run(pool, training->pairs_count, solve_pair, training);
	for (size_t p = 0; p < training->pairs_count; p++)
		wants_wide = wants_wide || training->pairs[p].wants_wide;
	if (!wants_wide || atomic_load(&training->cancelled))
		return;
	drop_set(training);
	training->form.wide = true;
	make_set(training);
	mmq_pool_run(pool, training->pairs_count, solve_pair, training);
}

static void
training_end(struct svm_training *training)
{
	for (size_t p = 0; training->pairs != NULL && p < training->pairs_count; p++)
		free(training->pairs[p].signed_alpha);
	free(training->pairs);
	drop_set(training);
	free(training->order);
	free(training->segment_start);
	free(training->previous);
}

int
svm_train(void **state_out, const struct mmq_fit *fit, struct mmq_err *err)
{
	struct svm_training training = { 0 };
	int result = -1;

	*state_out = NULL;
	if (svm_check(fit, err) == -1)
		return -1;
	training_begin(&training, fit);
	make_places(&training);
	if (make_pairs(&training, err) == -1 || check_nu(&training, err) == -1)
		goto done;
	solve_all(&training);
	if (atomic_load(&training.cancelled)) {
		mmq_err_set(err, MMQ_CANCELLED, "svm: training was cancelled");
		goto done;
	}
	*state_out = svm_assemble(&training);
	result = 0;
done:
	training_end(&training);
	return result;
}
