/* test_linear_losses.c: every loss, penalty and solver of the linear engine: coefficients of scikit-learn 1.9.1 on the same formula data, no better
 * point beside the one that was found, one optimum whatever the solver, weights as repeated rows, warm starts, cancelling, odd data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "math/rng.h"
#include "util/mem.h"

enum { ROWS = 60, COLS = 3, WIDE = 40, SETTINGS_MAX = 12 };
static float x[ROWS * COLS], weight[ROWS];
static double y[ROWS], class[ROWS];

/* As test_linear.c: x_ij = sin(1.7 i + 2.3 j) + j / 10, y = 1.5 x_0 - 0.7 x_1 + 0.3 + cos(5.1 i), weights 1 2 3 1 .. */
static void
make_formula(void)
{
	for (size_t i = 0; i < ROWS; i++) {
		for (size_t j = 0; j < COLS; j++)
			x[i * COLS + j] = (float)(sin(1.7 * (double)i + 2.3 * (double)j) + 0.1 * (double)j);
		y[i] = 1.5 * (double)x[i * COLS] - 0.7 * (double)x[i * COLS + 1] + 0.3 + cos(5.1 * (double)i);
		class[i] = y[i] > 0.3 ? 1.0 : 0.0;
		weight[i] = (float)(1 + i % 3);
	}
}

static struct mmq_dataset
formula(bool is_regression, bool is_weighted)
{
	make_formula();
	return (struct mmq_dataset){ .x = { .rows = ROWS, .cols = COLS, .dtype = MMQ_F32, .dense = x, .stride = COLS }, .y = is_regression ? y : class,
		.classes = is_regression ? 0 : 2, .weight = is_weighted ? weight : NULL };
}

struct how {
	const char *settings;        /* separated by spaces */
	const void *previous;
	const struct mmq_progress *progress;
	struct mmq_pool *pool;
};

/* NULL: refused, err says why. */
static void *
fit(const struct mmq_dataset *data, const struct how *how, struct mmq_err *err)
{
	const struct mmq_engine *engine = mmq_engine_find("linear");
	char text[256], *save = NULL;
	const char *settings[SETTINGS_MAX];
	size_t count = 0;
	struct mmq_params *params;
	void *state = NULL;
	snprintf(text, sizeof(text), "%s", how->settings);
	for (char *at = strtok_r(text, " ", &save); at != NULL; at = strtok_r(NULL, " ", &save)) {
		assert_true(count < SETTINGS_MAX);
		settings[count++] = at;
	}
	if (mmq_params_parse(&params, engine->params, settings, count, err) == -1)
		fail_msg("%s: %s", how->settings, err->message);
	struct mmq_fit fit = { .train = data, .task = data->classes == 0 ? MMQ_REGRESSION : data->classes == 2 ? MMQ_BINARY : MMQ_MULTICLASS, .params = params,
		.seed = 1, .previous = how->previous, .progress = how->progress, .pool = how->pool };
	engine->train(&state, &fit, err);
	mmq_params_destroy(&params);
	return state;
}

struct answer {
	void *state;
	struct mmq_part part;
	const double *coef, *intercept;
	bool converged;
	int64_t iterations;
	const char *method;
};

static struct answer
fitted(const struct mmq_dataset *data, const char *settings, const void *previous)
{
	struct mmq_err err;
	struct answer a = { .state = fit(data, &(struct how){ .settings = settings, .previous = previous }, &err) };
	if (a.state == NULL)
		fail_msg("%s: %s", settings, err.message);
	mmq_part_init(&a.part, true);
	assert_int_equal(mmq_engine_find("linear")->describe(a.state, &a.part, &err), 0);
	a.coef = mmq_part_find_tensor(&a.part, "coef")->data;
	a.intercept = mmq_part_find(&a.part, "intercept")->doubles;
	a.converged = mmq_part_find(&a.part, "converged")->i;
	a.iterations = mmq_part_find(&a.part, "iterations")->i;
	a.method = mmq_part_find(&a.part, "method")->texts[0];
	return a;
}

static void
answer_fini(struct answer *a)
{
	mmq_engine_find("linear")->destroy(&a->state);
	mmq_part_fini(&a->part);
}

static void
test_coefficients_equal_scikit_learn(void **unused)
{
	static const struct { const char *settings; bool is_regression, is_weighted; double want[4], allowed; } cases[] = {
		{ "penalty=l1 alpha=0.1 tol=1e-13", true, true, { 1.3808693654344997, -0.5768847937703601, 0.0, 0.3081000651049139 }, 1e-7 },
		{ "penalty=elasticnet alpha=0.2 l1_ratio=0.3 tol=1e-13", true, false, { 1.1004030917150882, -0.6616528095398159, 0.0, 0.3176823678839386 }, 1e-7 },
		{ "penalty=l1 alpha=0.1 tol=1e-13 solver=coordinate", true, true, { 1.3808693654344997, -0.5768847937703601, 0.0, 0.3081000651049139 }, 1e-6 },
		{ "loss=squared_hinge penalize_intercept=true C=0.5 tol=1e-10", false, true,
		    { 1.83001357546414, -0.5994216585503898, -0.9690623484195584, 0.18661542805369422 }, 1e-6 },
		{ "loss=hinge penalize_intercept=true C=0.5 tol=1e-8 max_iter=100000", false, false,
		    { 1.7907362799729025, -0.5862866706936185, -0.915444853766589, 0.282167702974311 }, 1e-3 },
		{ "loss=epsilon_insensitive penalize_intercept=true C=2 epsilon=0.2 tol=1e-8 max_iter=100000", true, false,
		    { 1.414860121537642, -0.8765814768929138, -0.11349685939023144, 0.39991279234748306 }, 1e-3 },
		{ "loss=squared_epsilon_insensitive penalize_intercept=true C=2 epsilon=0.2 tol=1e-10", true, false,
		    { 1.3757073705817615, -0.8553189025339808, -0.11727329799931636, 0.35611492108647813 }, 1e-5 },
		{ "penalty=l1 C=0.5 penalize_intercept=true tol=1e-10", false, false, { 3.943871138638643, 0.0, -0.5557363630462655, 0.0 }, 1e-5 },
		{ "penalty=l1 C=0.5 tol=1e-10", false, false, { 3.9441964578105826, 0.0, -0.5764266704544991, 0.10972442447917381 }, 1e-5 },
		{ "penalty=elasticnet l1_ratio=0.4 C=0.5 tol=1e-10", false, false,
		    { 2.484618121928177, -0.5118016211981062, -0.9142477836248991, 0.22750549641401457 }, 1e-5 },
	};
	(void)unused;
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct mmq_dataset data = formula(cases[c].is_regression, cases[c].is_weighted);
		struct answer a = fitted(&data, cases[c].settings, NULL);
		for (size_t j = 0; j < 4; j++) {
			double got = j < COLS ? a.coef[j] : a.intercept[0];
			if (!(fabs(got - cases[c].want[j]) <= cases[c].allowed))
				fail_msg("%s: number %zu is %.12g, scikit-learn's %.12g", cases[c].settings, j, got, cases[c].want[j]);
		}
		assert_true(a.converged);
		answer_fini(&a);
	}
}

/* Rows that some columns explain, dense and sparse; `wide` columns. */
struct table {
	size_t cols;
	float dense[ROWS * WIDE], value[ROWS * WIDE];
	uint64_t row_start[ROWS + 1];
	uint32_t col[ROWS * WIDE];
	double y[ROWS];
};

static void
make_table(struct table *t, size_t cols, bool is_regression)
{
	struct mmq_rng rng = mmq_rng_stream(3, cols, 0);
	t->cols = cols;
	t->row_start[0] = 0;
	for (size_t r = 0; r < ROWS; r++) {
		double score = 0.4 + 0.7 * mmq_rng_normal(&rng);
		t->row_start[r + 1] = t->row_start[r];
		for (size_t c = 0; c < cols; c++) {
			float value = mmq_rng_uniform(&rng) < 0.5 ? 0.0f : (float)mmq_rng_normal(&rng);
			t->dense[r * cols + c] = value;
			if (value != 0.0f) {
				t->value[t->row_start[r + 1]] = value;
				t->col[t->row_start[r + 1]++] = (uint32_t)c;
			}
			score += (double)value * (c % 3 == 0 ? 1.0 : c % 3 == 1 ? -0.5 : 0.0);
		}
		t->y[r] = is_regression ? score : score > 0 ? 1.0 : 0.0;
	}
}

static struct mmq_dataset
table_data(const struct table *t, bool is_regression, bool is_sparse)
{
	struct mmq_dataset data = { .x = { .rows = ROWS, .cols = t->cols, .dtype = MMQ_F32, .dense = t->dense, .stride = t->cols }, .y = t->y,
		.classes = is_regression ? 0 : 2 };
	if (is_sparse) {
		data.x.dense = NULL;
		data.x.row_start = t->row_start;
		data.x.col = t->col;
		data.x.value = t->value;
	}
	return data;
}

static double
loss_at(const char *loss, double z, double t)
{
	double hinge = fmax(0.0, 1.0 - t * z), far = fmax(0.0, fabs(z - t) - 0.1);
	return strcmp(loss, "log_loss") == 0 ? log1p(exp(-t * z)) : strcmp(loss, "hinge") == 0 ? hinge : strcmp(loss, "squared_hinge") == 0 ? hinge * hinge :
	    strcmp(loss, "epsilon_insensitive") == 0 ? far : far * far;
}

/* C = 2, epsilon = 0.1; theta (cols + 1), the intercept last. */
static double
objective(const struct table *t, const char *loss, double l1, bool is_regression, const double *theta, bool bias)
{
	double sum = 0.0;
	for (size_t j = 0; j < t->cols + bias; j++)
		sum += l1 * fabs(theta[j]) + 0.5 * (1.0 - l1) * theta[j] * theta[j];
	for (size_t r = 0; r < ROWS; r++) {
		double z = theta[t->cols];
		for (size_t j = 0; j < t->cols; j++)
			z += (double)t->dense[r * t->cols + j] * theta[j];
		sum += 2.0 * loss_at(loss, z, is_regression ? t->y[r] : 2.0 * t->y[r] - 1.0);
	}
	return sum;
}

static double
checked_optimum(const struct table *t, const char *loss, double l1, bool is_regression, bool is_sparse, bool bias, const char *solver)
{
	char settings[200];
	double theta[WIDE + 1], at, h = 1e-3;
	struct mmq_dataset data = table_data(t, is_regression, is_sparse);
	snprintf(settings, sizeof(settings), "loss=%s penalty=elasticnet l1_ratio=%g C=2%s solver=%s tol=1e-7 max_iter=20000 penalize_intercept=%s", loss, l1,
	    is_regression ? " epsilon=0.1" : "", solver, bias ? "true" : "false");
	struct answer a = fitted(&data, settings, NULL);
	memcpy(theta, a.coef, t->cols * sizeof(*theta));
	theta[t->cols] = a.intercept[0];
	at = objective(t, loss, l1, is_regression, theta, bias);
	for (size_t j = 0; j <= t->cols; j++) {
		for (int side = -1; side <= 1; side += 2) {
			theta[j] += side * h;
			if (objective(t, loss, l1, is_regression, theta, bias) < at - 1e-6 * at)
				fail_msg("%s (%s): unknown %zu has a better place beside it", settings, a.method, j);
			theta[j] -= side * h;
		}
	}
	if (!a.converged)
		fail_msg("%s (%s): not converged", settings, a.method);
	answer_fini(&a);
	return at;
}

/* Convex problems have one optimum: every solver, dense or sparse, comes to it. */
static void
test_every_solver_finds_the_optimum(void **unused)
{
	static const struct { const char *loss; bool is_regression, is_smooth; } losses[] = { { "log_loss", false, true }, { "hinge", false, false },
		{ "squared_hinge", false, true }, { "epsilon_insensitive", true, false }, { "squared_epsilon_insensitive", true, true } };
	static const char *const solvers[] = { "auto", "newton", "coordinate", "newton_cg", "lbfgs", "dual", "smoothed" };
	struct table *t = mmq_alloc(sizeof(*t));
	(void)unused;
	for (size_t k = 0; k < sizeof(losses) / sizeof(losses[0]) * 4; k++) {
		const char *loss = losses[k / 4].loss;
		bool bias = k % 2 == 1, is_wide = k / 2 % 2 == 1;
		make_table(t, is_wide ? WIDE : 6, losses[k / 4].is_regression);
		for (int with_l1 = 0; with_l1 < (losses[k / 4].is_smooth ? 2 : 1); with_l1++) {
			double first = NAN;
			for (size_t s = 0; s < sizeof(solvers) / sizeof(solvers[0]); s++) {
				bool is_dual = strcmp(solvers[s], "dual") == 0, is_auto = s == 0, has_l1 = s < 3, is_smoothed = s == 6;
				if ((!losses[k / 4].is_smooth && !is_dual && !is_auto && !is_smoothed) || (losses[k / 4].is_smooth && is_smoothed) || (is_dual && strcmp(loss, "log_loss") == 0) || (with_l1 && !has_l1))
					continue;
				double at = checked_optimum(t, loss, with_l1 ? 0.6 : 0.0, losses[k / 4].is_regression, s % 2 == 0, bias, solvers[s]);
				first = isnan(first) ? at : first;
				if (!(fabs(at - first) <= 1e-5 * first))
					fail_msg("%s, solver %s: objective %.10g, another's %.10g", loss, solvers[s], at, first);
			}
		}
	}
	free(t);
}

static void
test_weights_are_repeated_rows(void **unused)
{
	static const char *const settings[] = { "penalty=l1 alpha=0.1 tol=1e-12", "alpha=2", "loss=squared_hinge tol=1e-9", "loss=hinge tol=1e-7 max_iter=100000",
		"penalty=l1 tol=1e-9" };
	(void)unused;
	for (size_t k = 0; k < sizeof(settings) / sizeof(settings[0]); k++) {
		struct mmq_dataset data = formula(k < 2, true), many = data;
		float rows[3 * ROWS * COLS];
		double targets[3 * ROWS];
		size_t count = 0;
		for (size_t r = 0; r < ROWS; r++) {
			for (size_t copy = 0; copy < 1 + r % 3; copy++, count++) {
				memcpy(rows + count * COLS, x + r * COLS, COLS * sizeof(float));
				targets[count] = data.y[r];
			}
		}
		many.x.rows = count;
		many.x.dense = rows;
		many.y = targets;
		many.weight = NULL;
		struct answer a = fitted(&data, settings[k], NULL), b = fitted(&many, settings[k], NULL);
		for (size_t j = 0; j < COLS; j++)
			if (!(fabs(a.coef[j] - b.coef[j]) < 2e-3 && (k == 3 || fabs(a.coef[j] - b.coef[j]) < 1e-5)))
				fail_msg("%s: %.10g with weights, %.10g with rows", settings[k], a.coef[j], b.coef[j]);
		answer_fini(&a);
		answer_fini(&b);
	}
}

static void
test_a_warm_start_from_the_end_is_at_its_end(void **unused)
{
	static const char *const settings[] = { "tol=1e-8", "penalty=l1 tol=1e-8", "loss=squared_hinge solver=dual tol=1e-6 max_iter=20000", "tol=1e-8 solver=lbfgs",
		"tol=1e-8 solver=newton_cg", "penalty=l1 solver=coordinate tol=1e-8" };
	(void)unused;
	for (size_t k = 0; k < sizeof(settings) / sizeof(settings[0]); k++) {
		struct mmq_dataset data = formula(false, false);
		struct answer cold = fitted(&data, settings[k], NULL), warm = fitted(&data, settings[k], cold.state);
		if (!(warm.iterations * 4 <= cold.iterations))
			fail_msg("%s: %lld iterations, from the start %lld", settings[k], (long long)warm.iterations, (long long)cold.iterations);
		for (size_t j = 0; j < COLS; j++)
			assert_true(fabs(warm.coef[j] - cold.coef[j]) < 1e-3);
		answer_fini(&cold);
		answer_fini(&warm);
	}
}

/* Tall data take their start from samples and their curvature from a share of the rows. Sorted by class, a sample is as good; the end is the one
 * that another solver finds, with the same bits for any number of threads. */
static void
test_tall_data_end_as_others_do(void **unused)
{
	enum { TALL = 150000 };
	static const char *const settings[] = { "tol=1e-7", "loss=squared_hinge tol=1e-7", "penalty=l1 C=0.001 tol=1e-7" };
	float *rows = mmq_array((size_t)TALL * COLS, sizeof(*rows));
	double *target = mmq_array(TALL, sizeof(*target));
	(void)unused;
	for (size_t r = 0; r < TALL; r++) {
		struct mmq_rng rng = mmq_rng_stream(7, r, 0);
		target[r] = r >= TALL / 3;
		for (size_t j = 0; j < COLS; j++)
			rows[r * COLS + j] = (float)(mmq_rng_normal(&rng) + (target[r] > 0 ? 0.5 : 0.0) * (double)j);
	}
	const struct mmq_dataset data = { .x = { .rows = TALL, .cols = COLS, .dtype = MMQ_F32, .dense = rows, .stride = COLS }, .y = target, .classes = 2 };
	for (size_t k = 0; k < sizeof(settings) / sizeof(settings[0]); k++) {
		struct mmq_pool *pool = mmq_pool_new(2);
		struct mmq_err err;
		struct answer one = fitted(&data, settings[k], NULL);
		char other[96];
		snprintf(other, sizeof(other), "%s solver=%s", settings[k], k == 2 ? "coordinate" : "newton_cg");
		struct answer same = fitted(&data, other, NULL);
		void *two = fit(&data, &(struct how){ .settings = settings[k], .pool = pool }, &err);
		struct mmq_part part;
		mmq_part_init(&part, true);
		assert_int_equal(mmq_engine_find("linear")->describe(two, &part, &err), 0);
		assert_memory_equal(mmq_part_find_tensor(&part, "coef")->data, one.coef, COLS * sizeof(double));
		assert_true(one.converged);
		for (size_t j = 0; j < COLS; j++)
			assert_true(fabs(one.coef[j] - same.coef[j]) < 1e-4);
		mmq_part_fini(&part);
		mmq_engine_find("linear")->destroy(&two);
		mmq_pool_destroy(&pool);
		answer_fini(&one);
		answer_fini(&same);
	}
	free(rows);
	free(target);
}

static bool
stop_at_once(void *arg, const struct mmq_progress_state *state)
{
	(void)state;
	++*(int *)arg;
	return false;
}

static void
test_every_solver_can_be_cancelled(void **unused)
{
	static const char *const settings[] = { "solver=newton", "solver=lbfgs", "solver=newton_cg", "solver=coordinate", "loss=hinge" };
	(void)unused;
	for (size_t k = 0; k < 7; k++) {
		struct mmq_dataset data = formula(k >= 5, false);
		struct mmq_err err;
		int asked = 0;
		struct mmq_progress progress = { .report = stop_at_once, .arg = &asked };
		assert_null(fit(&data, &(struct how){ .settings = k < 5 ? settings[k] : k == 5 ? "alpha=1" : "penalty=l1", .progress = &progress }, &err));
		assert_int_equal(err.code, MMQ_CANCELLED);
		assert_int_equal(asked, 1);
	}
}

static void
test_too_few_epochs_are_admitted(void **unused)
{
	(void)unused;
	struct mmq_dataset data = formula(false, false);
	struct answer a = fitted(&data, "loss=hinge tol=1e-12 max_iter=1 C=100", NULL);
	assert_false(a.converged);
	assert_true(mmq_part_find(&a.part, "gap")->f > 1e-12);
	assert_non_null(strstr(mmq_part_find(&a.part, "warning")->texts[0], "not converged"));
	answer_fini(&a);
}

/* One class only, a constant column beside a copy of another, and rows that a plane divides with almost no penalty. */
static void
test_odd_data_end_with_finite_numbers(void **unused)
{
	static const char *const settings[] = { "C=1e6", "loss=squared_hinge C=1e6", "loss=hinge C=1e3", "penalty=l1 C=1e4", "loss=squared_hinge penalty=l1 C=1e3",
		"solver=newton_cg", "solver=lbfgs", "solver=coordinate" };
	(void)unused;
	for (size_t k = 0; k < sizeof(settings) / sizeof(settings[0]); k++) {
		for (int kind = 0; kind < 3; kind++) {
			struct mmq_dataset data = formula(false, false);
			for (size_t r = 0; r < ROWS; r++) {
				class[r] = kind == 0 ? 1.0 : kind == 1 ? class[r] : x[r * COLS] > 0.2f;
				x[r * COLS + 1] = kind == 1 ? 1.0f : x[r * COLS + 1];
				x[r * COLS + 2] = kind == 1 ? x[r * COLS] : x[r * COLS + 2];
			}
			struct answer a = fitted(&data, settings[k], NULL);
			for (size_t j = 0; j < COLS; j++)
				assert_true(isfinite(a.coef[j]));
			assert_true(isfinite(a.intercept[0]));
			if (kind == 0)
				assert_non_null(strstr(mmq_part_find(&a.part, "warning")->texts[0], "same class"));
			answer_fini(&a);
		}
	}
}

/* Several classes one against the rest: contributions add up to scores, logistic probabilities to 1, hinges give none. */
static void
test_one_against_the_rest(void **unused)
{
	const struct mmq_engine *engine = mmq_engine_find("linear");
	static const char *const settings[] = { "multi_class=ovr", "loss=squared_hinge" };
	(void)unused;
	for (size_t k = 0; k < 2; k++) {
		struct mmq_dataset data = formula(false, false);
		double score[ROWS * 3], probability[ROWS * 3], contribution[ROWS * 9], base[3];
		struct mmq_err err;
		for (size_t r = 0; r < ROWS; r++)
			class[r] = (y[r] > -0.5) + (y[r] > 0.8);
		data.classes = 3;
		struct answer a = fitted(&data, settings[k], NULL);
		bool has_probability = (engine->gives(a.state) & MMQ_OUT_PROBABILITY) != 0;
		assert_int_equal(has_probability, k == 0);
		struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE | MMQ_OUT_CONTRIBUTION | (has_probability ? MMQ_OUT_PROBABILITY : 0u), .score = score, .score_cols = 3,
			.probability = probability, .contribution = contribution, .base = base };
		void *scratch = mmq_aligned(engine->scratch_bytes(a.state, ROWS, out.wanted));
		assert_int_equal(engine->predict(a.state, &data.x, &out, scratch, &err), 0);
		for (size_t r = 0; r < ROWS; r++) {
			for (size_t c = 0; c < 3; c++) {
				const double *part = contribution + (r * 3 + c) * COLS;
				assert_true(fabs(base[c] + part[0] + part[1] + part[2] - score[r * 3 + c]) < 1e-12);
			}
			if (has_probability)
				assert_true(fabs(probability[r * 3] + probability[r * 3 + 1] + probability[r * 3 + 2] - 1.0) < 1e-12);
		}
		free(scratch);
		answer_fini(&a);
	}
}

static void
test_what_does_not_go_together_is_refused(void **unused)
{
	static const struct { const char *settings, *field; bool is_regression; } cases[] = { { "loss=hinge", "params.loss", true },
		{ "loss=squared_error", "params.loss", false }, { "loss=hinge penalty=l1", "params.penalty", false }, { "loss=hinge alpha=2", "params.alpha", false },
		{ "penalty=l1 solver=lbfgs", "params.solver", false }, { "loss=hinge solver=newton", "params.solver", false }, { "C=2", "params.C", true },
		{ "loss=hinge multi_class=multinomial", "params.multi_class", false }, { "loss=hinge penalty=none", "params.penalty", false } };
	(void)unused;
	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		struct mmq_dataset data = formula(cases[k].is_regression, false);
		struct mmq_err err;
		assert_null(fit(&data, &(struct how){ .settings = cases[k].settings }, &err));
		assert_string_equal(err.field, cases[k].field);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_coefficients_equal_scikit_learn),
		cmocka_unit_test(test_every_solver_finds_the_optimum),
		cmocka_unit_test(test_weights_are_repeated_rows),
		cmocka_unit_test(test_a_warm_start_from_the_end_is_at_its_end),
		cmocka_unit_test(test_tall_data_end_as_others_do),
		cmocka_unit_test(test_every_solver_can_be_cancelled),
		cmocka_unit_test(test_too_few_epochs_are_admitted),
		cmocka_unit_test(test_odd_data_end_with_finite_numbers),
		cmocka_unit_test(test_one_against_the_rest),
		cmocka_unit_test(test_what_does_not_go_together_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
