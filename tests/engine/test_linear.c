/* test_linear.c: coefficients against scikit-learn 1.7.2's on the same formula data, optimality of every solver, contributions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "math/rng.h"
#include "tests/engine/linear_case.h"
#include "util/mem.h"

enum { ROWS = LINEAR_ROWS, COLS = LINEAR_COLS };

/* The formula's rows with three classes, in classes (ROWS). */
static struct mmq_dataset
formula_of_three(double *classes)
{
	struct mmq_dataset data = linear_formula(false, false);
	for (size_t i = 0; i < ROWS; i++)
		classes[i] = (linear_y[i] > -0.5 ? 1.0 : 0.0) + (linear_y[i] > 0.8 ? 1.0 : 0.0);
	data.y = classes;
	data.classes = 3;
	return data;
}

static struct mmq_dataset
dataset(const float *x, size_t rows, size_t cols, const double *y, uint32_t classes)
{
	return (struct mmq_dataset){ .x = { .rows = rows, .cols = cols, .dtype = MMQ_F32, .dense = x, .stride = cols }, .y = y, .classes = classes };
}

static enum mmq_task
task_of(uint32_t classes)
{
	return classes == 0 ? MMQ_REGRESSION : classes == 2 ? MMQ_BINARY : MMQ_MULTICLASS;
}

/* Fit and describe into part; the state is the caller's. */
static void *
fit(const struct mmq_dataset *data, struct mmq_part *part, const char *a, const char *b)
{
	const struct mmq_engine *engine = mmq_engine_find("linear");
	const char *settings[] = { a, b };
	struct mmq_params *params;
	struct mmq_err err;
	void *state;
	assert_int_equal(mmq_params_parse(&params, engine->params, settings, a == NULL ? 0 : b == NULL ? 1 : 2, &err), 0);
	struct mmq_fit how = { .train = data, .task = task_of(data->classes), .params = params, .seed = 1 };
	assert_int_equal(engine->train(&state, &how, &err), 0);
	mmq_part_init(part, true);
	assert_int_equal(engine->describe(state, part, &err), 0);
	mmq_params_destroy(&params);
	return state;
}

static void
assert_coefficients(const struct mmq_part *part, const double *coef, const double *intercept, size_t outputs, double allowed)
{
	const double *got = mmq_part_find_tensor(part, "coef")->data;
	for (size_t i = 0; i < outputs * COLS; i++)
		assert_true(fabs(got[i] - coef[i]) <= allowed);
	for (size_t k = 0; intercept != NULL && k < outputs; k++)
		assert_true(fabs(mmq_part_find(part, "intercept")->doubles[k] - intercept[k]) <= allowed);
}

static void
end(void **state, struct mmq_part *part)
{
	mmq_engine_find("linear")->destroy(state);
	mmq_part_fini(part);
}

static void
test_coefficients_equal_scikit_learn(void **unused)
{
	(void)unused;
	static const double ridge[] = { 1.3194176617842808, -0.8836926051453153, -0.14185137094434322 }, ridge_0 = 0.3657868119036542;
	static const double binary[] = { 2.7021932546860272, -0.9609687693628322, -1.4216523267979388 }, binary_0 = 0.2785113760555449;
	static const double three[] = { -2.677962864931145, 2.0264116953571127, -0.022335956373375637, 0.45859906884021656, -0.4516829077491987,
		0.143291351866735, 2.219363796090927, -1.5747287876079152, -0.12095539549335904 };
	static const double three_0[] = { -2.067041576766947, 1.5034582837724872, 0.563583292994457 };
	static const double no_intercept[] = { 2.8501461272904587, -0.7493028039945174, -1.2171455845501757 };
	struct mmq_part part;
	double three_classes[ROWS];
	struct mmq_dataset data = linear_formula(true, true);
	void *state = fit(&data, &part, "alpha=2", NULL);
	assert_coefficients(&part, ridge, &ridge_0, 1, 1e-7);
	end(&state, &part);
	data.y = linear_class;
	data.classes = 2;
	state = fit(&data, &part, "C=0.5", "tol=1e-10");
	assert_coefficients(&part, binary, &binary_0, 1, 1e-6);
	end(&state, &part);
	data.weight = NULL;
	state = fit(&data, &part, "fit_intercept=false", "tol=1e-10");
	assert_coefficients(&part, no_intercept, NULL, 1, 1e-6);
	assert_true(mmq_part_find(&part, "intercept")->doubles[0] == 0.0);
	end(&state, &part);
	data = formula_of_three(three_classes);
	state = fit(&data, &part, "C=2", "tol=1e-10");
	assert_coefficients(&part, three, three_0, 3, 1e-5);
	end(&state, &part);
}

/* Random sparse rows in both storages. */
struct table {
	size_t rows, cols;
	float *dense, *value;
	uint64_t *row_start;
	uint32_t *col;
	double *y;
};

static struct table
make_table(size_t rows, size_t cols, double density, uint32_t classes)
{
	struct mmq_rng rng = mmq_rng_stream(11, rows, cols);
	struct table t = { rows, cols, mmq_array(rows * cols, sizeof(float)), mmq_array(rows * cols, sizeof(float)),
		mmq_array(rows + 1, sizeof(uint64_t)), mmq_array(rows * cols, sizeof(uint32_t)), mmq_array(rows, sizeof(double)) };
	for (size_t r = 0; r < rows; r++) {
		t.row_start[r + 1] = t.row_start[r];
		double score = 0.0;
		for (size_t c = 0; c < cols; c++) {
			if (mmq_rng_uniform(&rng) >= density)
				continue;
			float value = (float)mmq_rng_normal(&rng);
			t.dense[r * cols + c] = value;
			t.value[t.row_start[r + 1]] = value;
			t.col[t.row_start[r + 1]++] = (uint32_t)c;
			score += (double)value * sin((double)c);
		}
		score += 0.5 * mmq_rng_normal(&rng);
		t.y[r] = classes == 0 ? 3.0 + score : score < -0.5 ? 0.0 : score < 0.5 && classes > 2 ? 1.0 : (double)(classes - 1);
	}
	return t;
}

static void
table_fini(struct table *t)
{
	free(t->dense), free(t->value), free(t->row_start), free(t->col), free(t->y);
}

/* The largest entry of the objective's gradient at the fitted coefficients, worked out with plain loops. */
static double
worst_slope(const struct mmq_part *part, const struct table *t, uint32_t classes, double penalty)
{
	const double *coef = mmq_part_find_tensor(part, "coef")->data, *intercept = mmq_part_find(part, "intercept")->doubles;
	size_t outputs = classes <= 2 ? 1 : classes;
	double *slope = mmq_array(outputs * (t->cols + 1), sizeof(*slope)), worst = 0.0, p[8];
	for (size_t r = 0; r < t->rows; r++) {
		double sum = 0.0;
		for (size_t k = 0; k < outputs; k++) {
			p[k] = intercept[k];
			for (size_t c = 0; c < t->cols; c++)
				p[k] += coef[k * t->cols + c] * (double)t->dense[r * t->cols + c];
			sum += exp(p[k]);
		}
		for (size_t k = 0; k < outputs; k++) {
			double residual = classes == 0 ? p[k] - t->y[r] : classes == 2 ? 1.0 / (1.0 + exp(-p[k])) - t->y[r] :
			    exp(p[k]) / sum - (t->y[r] == (double)k ? 1.0 : 0.0);
			slope[outputs * t->cols + k] += residual;
			for (size_t c = 0; c < t->cols; c++)
				slope[k * t->cols + c] += residual * (double)t->dense[r * t->cols + c];
		}
	}
	for (size_t i = 0; i < outputs * (t->cols + 1); i++) {
		double value = fabs(slope[i] + (i < outputs * t->cols ? penalty * coef[i] : 0.0));
		worst = value > worst ? value : worst;
	}
	free(slope);
	return worst;
}

static void
check_optimum(size_t rows, size_t cols, uint32_t classes, const char *method)
{
	struct table t = make_table(rows, cols, 0.2, classes);
	struct mmq_dataset dense = dataset(t.dense, rows, cols, t.y, classes), sparse = dense;
	struct mmq_part part;
	sparse.x.dense = NULL;
	sparse.x.row_start = t.row_start;
	sparse.x.col = t.col;
	sparse.x.value = t.value;
	for (int form = 0; form < 2; form++) {
		void *state = fit(form == 0 ? &dense : &sparse, &part, "tol=1e-8", "max_iter=2000");
		assert_string_equal(mmq_part_find(&part, "method")->texts[0], method);
		assert_true(mmq_part_find(&part, "converged")->i);
		assert_true(worst_slope(&part, &t, classes, 1.0) <= 1e-5 * (double)rows);
		end(&state, &part);
	}
	table_fini(&t);
}

static void
test_every_solver_ends_where_the_gradient_is_zero(void **unused)
{
	(void)unused;
	check_optimum(300, 20, 0, "cholesky");
	check_optimum(40, 90, 0, "cholesky");
	check_optimum(60, 2100, 0, "conjugate_gradient");
	check_optimum(2500, 20, 2, "newton");
	check_optimum(300, 20, 4, "newton");
	check_optimum(100, 600, 2, "truncated_newton");
	check_optimum(200, 150, 4, "lbfgs");
}

static void
test_dependent_columns_without_penalty_still_fit(void **unused)
{
	(void)unused;
	static float x[ROWS * 4], x_3[ROWS * 3];
	struct mmq_rng rng = mmq_rng_stream(2, 0, 0);
	struct mmq_part part, plain;
	const double *y = linear_formula(true, false).y;
	for (size_t i = 0; i < ROWS; i++) {
		for (size_t j = 0; j < 3; j++)
			x[4 * i + j] = x_3[3 * i + j] = (float)mmq_rng_normal(&rng);
		x[4 * i + 3] = x[4 * i] * 2.0f;
	}
	struct mmq_dataset data = dataset(x, ROWS, 4, y, 0), three = dataset(x_3, ROWS, 3, y, 0);
	void *state = fit(&data, &part, "alpha=0", NULL), *state_3 = fit(&three, &plain, "alpha=0", NULL);
	const double *got = mmq_part_find_tensor(&part, "coef")->data, *want = mmq_part_find_tensor(&plain, "coef")->data;
	assert_non_null(mmq_part_find(&part, "warning"));
	assert_null(mmq_part_find(&plain, "warning"));
	assert_true(fabs(got[0] + 2.0 * got[3] - want[0]) < 1e-9 && fabs(got[1] - want[1]) < 1e-9 && fabs(got[2] - want[2]) < 1e-9);
	end(&state, &part);
	end(&state_3, &plain);
}

/* Columns 1e-5 apart: the Gram matrix alone would lose all digits of the difference. */
static void
test_nearly_equal_columns_keep_their_digits(void **unused)
{
	(void)unused;
	static double x[ROWS * 2], y[ROWS];
	struct mmq_part part;
	for (size_t i = 0; i < ROWS; i++) {
		x[2 * i] = sin(1.7 * (double)i);
		x[2 * i + 1] = x[2 * i] + 1e-5 * cos(2.9 * (double)i);
		y[i] = 2.0 * x[2 * i] - 3.0 * x[2 * i + 1] + 1.0;
	}
	struct mmq_dataset data = { .x = { .rows = ROWS, .cols = 2, .dtype = MMQ_F64, .dense = x, .stride = 2 }, .y = y };
	void *state = fit(&data, &part, "alpha=0", NULL);
	const double *coef = mmq_part_find_tensor(&part, "coef")->data;
	assert_string_equal(mmq_part_find(&part, "method")->texts[0], "pivoted_cholesky");
	assert_true(fabs(coef[0] - 2.0) < 1e-5 && fabs(coef[1] + 3.0) < 1e-5);
	end(&state, &part);
}

static void
test_contributions_add_up_to_the_score(void **unused)
{
	(void)unused;
	const struct mmq_engine *engine = mmq_engine_find("linear");
	static double score[ROWS * 3], contribution[ROWS * 3 * 2], base[3];
	struct mmq_feature features[] = { { .name = "pair", .kind = MMQ_VECTOR, .rank = 1, .shape = { 2 } }, { .name = "one", .kind = MMQ_NUMERIC } };
	struct mmq_part part;
	struct mmq_err err;
	double three_classes[ROWS];
	struct mmq_dataset data = formula_of_three(three_classes);
	data.features = features;
	data.features_count = 2;
	void *state = fit(&data, &part, NULL, NULL);
	void *scratch = mmq_aligned(engine->scratch_bytes(state, ROWS, MMQ_OUT_CONTRIBUTION));
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE | MMQ_OUT_CONTRIBUTION, .score = score, .score_cols = 3, .contribution = contribution, .base = base };
	assert_int_equal(engine->predict(state, &data.x, &out, scratch, &err), 0);
	double total = 0.0;
	for (size_t i = 0; i < ROWS * 3; i++) {
		assert_true(fabs(base[i % 3] + contribution[2 * i] + contribution[2 * i + 1] - score[i]) < 1e-12);
		total += contribution[2 * i];
	}
	assert_true(fabs(total) < 1e-9);   /* contributions are around the mean of the training rows */
	free(scratch);
	end(&state, &part);
}

static void
test_wrong_penalty_for_the_task_is_refused(void **unused)
{
	(void)unused;
	const struct mmq_engine *engine = mmq_engine_find("linear");
	const char *alpha[] = { "alpha=1" };
	struct mmq_params *params;
	struct mmq_err err;
	void *state;
	struct mmq_dataset data = linear_formula(false, false);
	assert_int_equal(mmq_params_parse(&params, engine->params, alpha, 1, &err), 0);
	struct mmq_fit how = { .train = &data, .task = MMQ_BINARY, .params = params };
	assert_int_equal(engine->train(&state, &how, &err), -1);
	assert_string_equal(err.field, "params.alpha");
	mmq_params_destroy(&params);
}

static void
test_too_few_iterations_are_admitted(void **unused)
{
	(void)unused;
	struct mmq_part part;
	struct mmq_dataset data = linear_formula(false, false);
	void *state = fit(&data, &part, "max_iter=1", "tol=1e-12");
	assert_false(mmq_part_find(&part, "converged")->i);
	assert_non_null(strstr(mmq_part_find(&part, "warning")->texts[0], "not converged"));
	end(&state, &part);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_coefficients_equal_scikit_learn),
		cmocka_unit_test(test_every_solver_ends_where_the_gradient_is_zero),
		cmocka_unit_test(test_dependent_columns_without_penalty_still_fit),
		cmocka_unit_test(test_nearly_equal_columns_keep_their_digits),
		cmocka_unit_test(test_contributions_add_up_to_the_score),
		cmocka_unit_test(test_wrong_penalty_for_the_task_is_refused),
		cmocka_unit_test(test_too_few_iterations_are_admitted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
