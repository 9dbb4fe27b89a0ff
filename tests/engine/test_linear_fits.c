/* test_linear_fits.c: fits as a whole: weights as repeated rows, warm starts, tall and wide data, cancelling, honest ends, odd data. */
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

static void
test_weights_are_repeated_rows(void **unused)
{
	static const char *const settings[] = { "penalty=l1 alpha=0.1 tol=1e-12", "alpha=2", "loss=squared_hinge tol=1e-9", "loss=hinge tol=1e-7 max_iter=100000",
		"penalty=l1 tol=1e-9" };
	(void)unused;
	for (size_t k = 0; k < sizeof(settings) / sizeof(settings[0]); k++) {
		struct mmq_dataset data = linear_formula(k < 2, true), many = data;
		float rows[3 * LINEAR_ROWS * LINEAR_COLS];
		double targets[3 * LINEAR_ROWS];
		size_t count = 0;
		for (size_t r = 0; r < LINEAR_ROWS; r++) {
			for (size_t copy = 0; copy < 1 + r % 3; copy++, count++) {
				memcpy(rows + count * LINEAR_COLS, linear_x + r * LINEAR_COLS, LINEAR_COLS * sizeof(float));
				targets[count] = data.y[r];
			}
		}
		many.x.rows = count;
		many.x.dense = rows;
		many.y = targets;
		many.weight = NULL;
		struct linear_answer a = linear_fitted(&data, settings[k], NULL), b = linear_fitted(&many, settings[k], NULL);
		for (size_t j = 0; j < LINEAR_COLS; j++)
			if (!(fabs(a.coef[j] - b.coef[j]) < 2e-3 && (k == 3 || fabs(a.coef[j] - b.coef[j]) < 1e-5)))
				fail_msg("%s: %.10g with weights, %.10g with rows", settings[k], a.coef[j], b.coef[j]);
		linear_answer_fini(&a);
		linear_answer_fini(&b);
	}
}

static void
test_a_warm_start_from_the_end_is_at_its_end(void **unused)
{
	static const char *const settings[] = { "tol=1e-8", "penalty=l1 tol=1e-8", "loss=squared_hinge solver=dual tol=1e-6 max_iter=20000", "tol=1e-8 solver=lbfgs",
		"tol=1e-8 solver=newton_cg", "penalty=l1 solver=coordinate tol=1e-8" };
	(void)unused;
	for (size_t k = 0; k < sizeof(settings) / sizeof(settings[0]); k++) {
		struct mmq_dataset data = linear_formula(false, false);
		struct linear_answer cold = linear_fitted(&data, settings[k], NULL), warm = linear_fitted(&data, settings[k], cold.state);
		if (!(warm.iterations * 4 <= cold.iterations))
			fail_msg("%s: %lld iterations, from the start %lld", settings[k], (long long)warm.iterations, (long long)cold.iterations);
		for (size_t j = 0; j < LINEAR_COLS; j++)
			assert_true(fabs(warm.coef[j] - cold.coef[j]) < 1e-3);
		linear_answer_fini(&cold);
		linear_answer_fini(&warm);
	}
}

/* Tall data take their start from samples and their curvature from a share of the rows. Sorted by class, a sample is as good; the end is the one
 * that another solver finds, with the same bits for any number of threads. */
static void
test_tall_data_end_as_others_do(void **unused)
{
	enum { TALL = 150000 };
	static const char *const settings[] = { "tol=1e-7", "loss=squared_hinge tol=1e-7", "penalty=l1 C=0.001 tol=1e-7" };
	float *rows = mmq_array((size_t)TALL * LINEAR_COLS, sizeof(*rows));
	double *target = mmq_array(TALL, sizeof(*target));
	(void)unused;
	for (size_t r = 0; r < TALL; r++) {
		struct mmq_rng rng = mmq_rng_stream(7, r, 0);
		target[r] = r >= TALL / 3;
		for (size_t j = 0; j < LINEAR_COLS; j++)
			rows[r * LINEAR_COLS + j] = (float)(mmq_rng_normal(&rng) + (target[r] > 0 ? 0.5 : 0.0) * (double)j);
	}
	const struct mmq_dataset data = { .x = { .rows = TALL, .cols = LINEAR_COLS, .dtype = MMQ_F32, .dense = rows, .stride = LINEAR_COLS }, .y = target, .classes = 2 };
	for (size_t k = 0; k < sizeof(settings) / sizeof(settings[0]); k++) {
		struct mmq_pool *pool = mmq_pool_new(2);
		struct mmq_err err;
		struct linear_answer one = linear_fitted(&data, settings[k], NULL);
		char other[96];
		snprintf(other, sizeof(other), "%s solver=%s", settings[k], k == 2 ? "coordinate" : "newton_cg");
		struct linear_answer same = linear_fitted(&data, other, NULL);
		void *two = linear_fit(&data, &(struct linear_how){ .settings = settings[k], .pool = pool }, &err);
		struct mmq_part part;
		mmq_part_init(&part, true);
		assert_int_equal(mmq_engine_find("linear")->describe(two, &part, &err), 0);
		assert_memory_equal(mmq_part_find_tensor(&part, "coef")->data, one.coef, LINEAR_COLS * sizeof(double));
		assert_true(one.converged);
		for (size_t j = 0; j < LINEAR_COLS; j++)
			assert_true(fabs(one.coef[j] - same.coef[j]) < 1e-4);
		mmq_part_fini(&part);
		mmq_engine_find("linear")->destroy(&two);
		mmq_pool_destroy(&pool);
		linear_answer_fini(&one);
		linear_answer_fini(&same);
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
		struct mmq_dataset data = linear_formula(k >= 5, false);
		struct mmq_err err;
		int asked = 0;
		struct mmq_progress progress = { .report = stop_at_once, .arg = &asked };
		assert_null(linear_fit(&data, &(struct linear_how){ .settings = k < 5 ? settings[k] : k == 5 ? "alpha=1" : "penalty=l1", .progress = &progress }, &err));
		assert_int_equal(err.code, MMQ_CANCELLED);
		assert_int_equal(asked, 1);
	}
}

static void
test_too_few_epochs_are_admitted(void **unused)
{
	(void)unused;
	struct mmq_dataset data = linear_formula(false, false);
	struct linear_answer a = linear_fitted(&data, "loss=hinge tol=1e-12 max_iter=1 C=100", NULL);
	assert_false(a.converged);
	assert_true(mmq_part_find(&a.part, "gap")->f > 1e-12);
	assert_non_null(strstr(mmq_part_find(&a.part, "warning")->texts[0], "not converged"));
	linear_answer_fini(&a);
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
			struct mmq_dataset data = linear_formula(false, false);
			for (size_t r = 0; r < LINEAR_ROWS; r++) {
				linear_class[r] = kind == 0 ? 1.0 : kind == 1 ? linear_class[r] : linear_x[r * LINEAR_COLS] > 0.2f;
				linear_x[r * LINEAR_COLS + 1] = kind == 1 ? 1.0f : linear_x[r * LINEAR_COLS + 1];
				linear_x[r * LINEAR_COLS + 2] = kind == 1 ? linear_x[r * LINEAR_COLS] : linear_x[r * LINEAR_COLS + 2];
			}
			struct linear_answer a = linear_fitted(&data, settings[k], NULL);
			for (size_t j = 0; j < LINEAR_COLS; j++)
				assert_true(isfinite(a.coef[j]));
			assert_true(isfinite(a.intercept[0]));
			if (kind == 0)
				assert_non_null(strstr(mmq_part_find(&a.part, "warning")->texts[0], "same class"));
			linear_answer_fini(&a);
		}
	}
}

/* Many dense columns go through working sets: the end is that of coordinate descent over all of them. */
static void
test_working_sets_end_as_all_columns_do(void **unused)
{
	enum { MANY_ROWS = 150, MANY_COLS = 2100 };
	static const struct { const char *settings; bool is_weighted; } cases[] = { { "penalty=l1 alpha=0.05", false }, { "penalty=l1 alpha=0.01", true },
		{ "penalty=elasticnet alpha=0.05 l1_ratio=0.3", true }, { "penalty=l1 alpha=0.02 fit_intercept=false", false }, { "penalty=l1 alpha=100", false } };
	float *rows = mmq_array((size_t)MANY_ROWS * MANY_COLS, sizeof(*rows)), heavy[MANY_ROWS];
	double target[MANY_ROWS];
	(void)unused;
	for (size_t r = 0; r < MANY_ROWS; r++) {
		struct mmq_rng rng = mmq_rng_stream(9, r, 0);
		target[r] = 2.0 + mmq_rng_normal(&rng);
		heavy[r] = (float)(1 + r % 3);
		for (size_t j = 0; j < MANY_COLS; j++) {
			rows[r * MANY_COLS + j] = (float)mmq_rng_normal(&rng) + (j == 4 ? 3.0f : 0.0f);
			target[r] += j % 300 == 0 ? (double)rows[r * MANY_COLS + j] : 0.0;
		}
	}
	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		const struct mmq_dataset data = { .x = { .rows = MANY_ROWS, .cols = MANY_COLS, .dtype = MMQ_F32, .dense = rows, .stride = MANY_COLS }, .y = target,
			.weight = cases[k].is_weighted ? heavy : NULL };
		char settings[128], other[160];
		snprintf(settings, sizeof(settings), "%s tol=1e-9 max_iter=1000", cases[k].settings);
		snprintf(other, sizeof(other), "%s solver=coordinate", settings);
		struct linear_answer a = linear_fitted(&data, settings, NULL), b = linear_fitted(&data, other, NULL);
		assert_string_equal(a.method, "working_sets");
		assert_true(a.converged && b.converged);
		for (size_t j = 0; j < MANY_COLS; j++)
			if (!(fabs(a.coef[j] - b.coef[j]) < 1e-3))
				fail_msg("%s: coefficient %zu is %.10g by sets, %.10g by all columns", settings, j, a.coef[j], b.coef[j]);
		double a_loss = mmq_part_find(&a.part, "loss")->f, b_loss = mmq_part_find(&b.part, "loss")->f;
		if (!(fabs(a_loss - b_loss) < 1e-6 * b_loss))
			fail_msg("%s: loss %.12g by sets, %.12g by all columns", settings, a_loss, b_loss);
		assert_true(fabs(a.intercept[0] - b.intercept[0]) < 1e-3);
		struct linear_answer warm = linear_fitted(&data, settings, a.state);
		assert_int_equal(warm.iterations, 0);
		linear_answer_fini(&a);
		linear_answer_fini(&b);
		linear_answer_fini(&warm);
	}
	free(rows);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_weights_are_repeated_rows),
		cmocka_unit_test(test_a_warm_start_from_the_end_is_at_its_end),
		cmocka_unit_test(test_tall_data_end_as_others_do),
		cmocka_unit_test(test_working_sets_end_as_all_columns_do),
		cmocka_unit_test(test_every_solver_can_be_cancelled),
		cmocka_unit_test(test_too_few_epochs_are_admitted),
		cmocka_unit_test(test_odd_data_end_with_finite_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
