/* test_linear_losses.c: every loss, penalty and solver of the linear engine: coefficients of scikit-learn 1.9.1 on the same formula data, no better
 * point beside the one that was found, one optimum whatever the solver; what does not go together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "math/rng.h"
#include "tests/engine/linear_case.h"
#include "util/mem.h"

enum { WIDE = 40 };

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
		struct mmq_dataset data = linear_formula(cases[c].is_regression, cases[c].is_weighted);
		struct linear_answer a = linear_fitted(&data, cases[c].settings, NULL);
		for (size_t j = 0; j < 4; j++) {
			double got = j < LINEAR_COLS ? a.coef[j] : a.intercept[0];
			if (!(fabs(got - cases[c].want[j]) <= cases[c].allowed))
				fail_msg("%s: number %zu is %.12g, scikit-learn's %.12g", cases[c].settings, j, got, cases[c].want[j]);
		}
		assert_true(a.converged);
		linear_answer_fini(&a);
	}
}

/* Rows that some columns explain, dense and sparse; `wide` columns. */
struct table {
	size_t cols;
	float dense[LINEAR_ROWS * WIDE], value[LINEAR_ROWS * WIDE];
	uint64_t row_start[LINEAR_ROWS + 1];
	uint32_t col[LINEAR_ROWS * WIDE];
	double y[LINEAR_ROWS];
};

static void
make_table(struct table *t, size_t cols, bool is_regression)
{
	struct mmq_rng rng = mmq_rng_stream(3, cols, 0);
	t->cols = cols;
	t->row_start[0] = 0;
	for (size_t r = 0; r < LINEAR_ROWS; r++) {
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
	struct mmq_dataset data = { .x = { .rows = LINEAR_ROWS, .cols = t->cols, .dtype = MMQ_F32, .dense = t->dense, .stride = t->cols }, .y = t->y,
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
	for (size_t r = 0; r < LINEAR_ROWS; r++) {
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
	struct linear_answer a = linear_fitted(&data, settings, NULL);
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
	linear_answer_fini(&a);
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

/* Several classes one against the rest: contributions add up to scores, logistic probabilities to 1, hinges give none. */
static void
test_one_against_the_rest(void **unused)
{
	const struct mmq_engine *engine = mmq_engine_find("linear");
	static const char *const settings[] = { "multi_class=ovr", "loss=squared_hinge" };
	(void)unused;
	for (size_t k = 0; k < 2; k++) {
		struct mmq_dataset data = linear_formula(false, false);
		double score[LINEAR_ROWS * 3], probability[LINEAR_ROWS * 3], contribution[LINEAR_ROWS * 9], base[3];
		struct mmq_err err;
		for (size_t r = 0; r < LINEAR_ROWS; r++)
			linear_class[r] = (linear_y[r] > -0.5) + (linear_y[r] > 0.8);
		data.classes = 3;
		struct linear_answer a = linear_fitted(&data, settings[k], NULL);
		bool has_probability = (engine->gives(a.state) & MMQ_OUT_PROBABILITY) != 0;
		assert_int_equal(has_probability, k == 0);
		struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE | MMQ_OUT_CONTRIBUTION | (has_probability ? MMQ_OUT_PROBABILITY : 0u), .score = score, .score_cols = 3,
			.probability = probability, .contribution = contribution, .base = base };
		void *scratch = mmq_aligned(engine->scratch_bytes(a.state, LINEAR_ROWS, out.wanted));
		assert_int_equal(engine->predict(a.state, &data.x, &out, scratch, &err), 0);
		for (size_t r = 0; r < LINEAR_ROWS; r++) {
			for (size_t c = 0; c < 3; c++) {
				const double *part = contribution + (r * 3 + c) * LINEAR_COLS;
				assert_true(fabs(base[c] + part[0] + part[1] + part[2] - score[r * 3 + c]) < 1e-12);
			}
			if (has_probability)
				assert_true(fabs(probability[r * 3] + probability[r * 3 + 1] + probability[r * 3 + 2] - 1.0) < 1e-12);
		}
		free(scratch);
		linear_answer_fini(&a);
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
		struct mmq_dataset data = linear_formula(cases[k].is_regression, false);
		struct mmq_err err;
		assert_null(linear_fit(&data, &(struct linear_how){ .settings = cases[k].settings }, &err));
		assert_string_equal(err.field, cases[k].field);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_coefficients_equal_scikit_learn),
		cmocka_unit_test(test_every_solver_finds_the_optimum),
		cmocka_unit_test(test_one_against_the_rest),
		cmocka_unit_test(test_what_does_not_go_together_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
