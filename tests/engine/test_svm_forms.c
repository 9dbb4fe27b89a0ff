/* test_svm_forms.c: the svm engine beyond C-SVC: nu forms and one-class against LIBSVM, precomputed kernels, sparse rows, double where it matters,
 * warm starts, models from elsewhere in double.
 *
 * Recorded results: LIBSVM 3.37 (libsvm-official), svm-train on heart_scale with -g 1/13 -e 1e-6 and the options named at each row. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "math/rng.h"
#include "svm_case.h"
#include "util/mem.h"

static void
test_every_form_gives_libsvms_values_on_heart(void **state_unused)
{
	(void)state_unused;
	static const size_t row[] = { 0, 1, 2, 100, 269 };
	static const struct {
		enum mmq_task task;
		const char *formulation, *nu;
		double vectors, value[5];
	} want[] = {
		{ MMQ_BINARY, "formulation=nu", "nu=0.4", 125, { 1.594267, -0.542906, -0.89334, -1.767025, 1.906573 } },       /* -s 1 -n 0.4 */
		{ MMQ_ONE_CLASS, "formulation=c", "nu=0.3", 87, { -0.930566, -2.793859, 1.572984, 1.339892, -1.333744 } },     /* -s 2 -n 0.3 */
		{ MMQ_REGRESSION, "formulation=nu", "nu=0.4", 125, { 0.925905, -0.322821, -0.516542, -1.031325, 1.087826 } },  /* -s 4 -n 0.4 */
		{ MMQ_BINARY, "formulation=c", "nu=0.5", 132, { 1.235005, -0.349645, -0.779102, -1.659523, 1.649074 } },       /* -s 0 */
		{ MMQ_REGRESSION, "formulation=c", "nu=0.5", 200, { 0.9, -0.079035, -0.306244, -1.061651, 1.1 } },             /* -s 3 -p 0.1 */
	};
	for (size_t k = 0; k < sizeof(want) / sizeof(*want); k++) {
		struct svm_data heart;
		const char *settings[] = { "gamma=0.07692307692307693", "tol=1e-6", want[k].formulation, want[k].nu };
		svm_load_heart(&heart);
		for (size_t r = 0; want[k].task == MMQ_REGRESSION && r < heart.rows; r++)
			heart.y[r] = heart.y[r] > 0 ? 1 : -1;
		heart.classes = want[k].task == MMQ_BINARY ? 2 : 0;
		void *state = svm_fit(&heart, want[k].task, settings, 4);
		double *score = svm_scores(state, &heart, 0, heart.rows);
		for (size_t i = 0; i < 5; i++)
			svm_close_to(score[row[i]], want[k].value[i], 5e-5);
		svm_close_to(svm_described(state, "support_vectors"), want[k].vectors, 1);
		free(score);
		mmq_engine_svm.destroy(&state);
		svm_data_free(&heart);
	}
}

static int
try_fit(const struct mmq_fit *fit, struct mmq_err *err)
{
	void *state;
	int result = mmq_engine_svm.train(&state, fit, err);
	mmq_engine_svm.destroy(&state);
	return result;
}

static void
test_a_nu_that_a_class_cannot_carry_is_refused(void **state_unused)
{
	(void)state_unused;
	struct svm_data data;
	struct mmq_params *params;
	struct mmq_err err;
	svm_blobs(&data, 60, 3, 0.5, 1);
	for (size_t r = 0; r < 54; r++)
		data.y[r] = (double)(r % 2);   /* class 2 has two rows */
	const struct mmq_dataset train = { .x = { .rows = 60, .cols = 3, .dtype = MMQ_F32, .dense = data.x, .stride = 3 }, .y = data.y, .classes = 3 };
	assert_int_equal(mmq_params_parse(&params, mmq_engine_svm.params, (const char *const[]){ "formulation=nu", "nu=0.5" }, 2, &err), 0);
	const struct mmq_fit fit = { .train = &train, .task = MMQ_MULTICLASS, .params = params };
	assert_int_equal(try_fit(&fit, &err), -1);
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	assert_string_equal(err.field, "params.nu");
	mmq_params_destroy(&params);
	svm_data_free(&data);
}

/* A model whose rows are products of the rows with all training rows scores as the linear model does. */
static void
test_precomputed_products_are_the_linear_kernel(void **state_unused)
{
	(void)state_unused;
	struct svm_data plain, given;
	svm_blobs(&plain, 90, 3, 1.5, 2);
	given = plain;
	given.cols = given.rows;
	given.x = calloc(90 * 90, sizeof(float));
	for (size_t a = 0; a < 90; a++)
		for (size_t b = 0; b < 90; b++)
			for (size_t j = 0; j < 3; j++)
				given.x[a * 90 + b] += plain.x[a * 3 + j] * plain.x[b * 3 + j];
	void *linear = svm_fit(&plain, MMQ_MULTICLASS, (const char *const[]){ "kernel=linear", "tol=1e-5" }, 2);
	void *precomputed = svm_fit(&given, MMQ_MULTICLASS, (const char *const[]){ "kernel=precomputed", "tol=1e-5" }, 2);
	double *a = svm_scores(linear, &plain, 0, 90), *b = svm_scores(precomputed, &given, 0, 90);
	for (size_t k = 0; k < 270; k++)
		svm_close_to(b[k], a[k], 1e-3);
	assert_int_equal(mmq_engine_svm.gives(precomputed) & MMQ_OUT_CONTRIBUTION, 0);
	free(a);
	free(b);
	free(given.x);
	mmq_engine_svm.destroy(&linear);
	mmq_engine_svm.destroy(&precomputed);
	svm_data_free(&plain);
}

/* Mostly zero rows, dense and as CSR: one model, chosen sparse, to the bit. */
static void
test_sparse_rows_give_the_bits_of_dense_ones(void **state_unused)
{
	(void)state_unused;
	enum { ROWS = 200, COLS = 40 };
	struct mmq_rng rng = mmq_rng_stream(4, 0, 0);
	struct svm_data data = { .rows = ROWS, .cols = COLS, .classes = 2, .x = calloc(ROWS * COLS, sizeof(float)), .y = calloc(ROWS, sizeof(double)) };
	uint64_t start[ROWS + 1] = { 0 };
	uint32_t *col = calloc(ROWS * COLS, sizeof(*col));
	float *value = calloc(ROWS * COLS, sizeof(*value));
	for (size_t r = 0; r < ROWS; r++) {
		start[r + 1] = start[r];
		for (size_t j = 0; j < COLS; j++) {
			if (mmq_rng_uniform(&rng) > 0.15)
				continue;
			data.x[r * COLS + j] = value[start[r + 1]] = (float)mmq_rng_normal(&rng);
			data.y[r] += value[start[r + 1]];
			col[start[r + 1]++] = (uint32_t)j;
		}
		data.y[r] = data.y[r] > 0;
	}
	struct mmq_err err;
	struct mmq_params *params;
	void *sparse, *dense = svm_fit(&data, MMQ_BINARY, NULL, 0);
	const struct mmq_dataset train = { .x = { .rows = ROWS, .cols = COLS, .dtype = MMQ_F32, .row_start = start, .col = col, .value = value }, .y = data.y,
		.classes = 2 };
	assert_int_equal(mmq_params_parse(&params, mmq_engine_svm.params, NULL, 0, &err), 0);
	const struct mmq_fit fit = { .train = &train, .task = MMQ_BINARY, .params = params };
	assert_int_equal(mmq_engine_svm.train(&sparse, &fit, &err), 0);
	double *a = svm_scores(dense, &data, 0, ROWS), *b = svm_scores(sparse, &data, 0, ROWS);
	assert_memory_equal(a, b, ROWS * sizeof(double));
	assert_int_equal((int)svm_described(sparse, "sparse"), 1);
	free(a);
	a = svm_scores(sparse, &data, 17, 1);
	assert_memory_equal(a, b + 17, sizeof(double));   /* one row alone, the same bits */
	free(a);
	free(b);
	free(col);
	free(value);
	mmq_params_destroy(&params);
	mmq_engine_svm.destroy(&dense);
	mmq_engine_svm.destroy(&sparse);
	svm_data_free(&data);
}

static bool
is_double(const void *state)
{
	struct mmq_part part;
	mmq_part_init(&part, true);
	mmq_engine_svm.describe(state, &part, NULL);
	bool wide = strcmp(mmq_part_find(&part, "precision")->texts[0], "float64") == 0;
	mmq_part_fini(&part);
	return wide;
}

/* Columns far from zero: squared lengths of 3e8 leave nothing of distances around 10 in single precision. */
static void
test_double_is_taken_where_single_is_not_enough(void **state_unused)
{
	(void)state_unused;
	struct svm_data near, far;
	svm_blobs(&near, 300, 2, 2.0, 5);
	svm_blobs(&far, 300, 2, 2.0, 5);
	for (size_t k = 0; k < 900; k++) {
		near.x[k] = roundf(near.x[k] * 64) / 64;   /* so that adding loses nothing */
		far.x[k] = near.x[k] + 10000;
	}
	const char *settings[] = { "gamma=0.2" };
	void *a = svm_fit(&near, MMQ_BINARY, settings, 1), *b = svm_fit(&far, MMQ_BINARY, settings, 1);
	assert_true(!is_double(a) && is_double(b));
	double *x = svm_scores(a, &near, 0, 300), *y = svm_scores(b, &far, 0, 300);
	for (size_t r = 0; r < 300; r++)
		svm_close_to(y[r], x[r], 5e-3);
	free(x);
	free(y);
	mmq_engine_svm.destroy(&a);
	mmq_engine_svm.destroy(&b);
	svm_data_free(&near);
	svm_data_free(&far);
}

static void *
go_on(const struct svm_data *data, enum mmq_task task, const char *setting, const void *previous)
{
	struct mmq_err err;
	struct mmq_params *params;
	void *state;
	const struct mmq_dataset train = { .x = { .rows = data->rows, .cols = data->cols, .dtype = MMQ_F32, .dense = data->x, .stride = data->cols },
		.y = task == MMQ_ONE_CLASS ? NULL : data->y, .classes = data->classes };
	assert_int_equal(mmq_params_parse(&params, mmq_engine_svm.params, &setting, 1, &err), 0);
	const struct mmq_fit fit = { .train = &train, .task = task, .params = params, .previous = previous };
	assert_int_equal(mmq_engine_svm.train(&state, &fit, &err), 0);
	mmq_params_destroy(&params);
	return state;
}

/* On the rows of before there is next to nothing to do; with more rows the end is that of a fit from the start. */
static void
test_going_on_saves_steps_and_ends_at_the_same_optimum(void **state_unused)
{
	(void)state_unused;
	static const struct {
		enum mmq_task task;
		const char *setting;
	} cases[] = { { MMQ_MULTICLASS, "formulation=c" }, { MMQ_MULTICLASS, "formulation=nu" }, { MMQ_REGRESSION, "formulation=c" }, { MMQ_ONE_CLASS, "nu=0.3" } };
	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		struct svm_data data;
		svm_blobs(&data, 600, 3, 2.0, 6);
		data.classes = cases[k].task == MMQ_MULTICLASS ? 3 : 0;
		struct svm_data fewer = data;
		fewer.rows = 540;
		void *before = svm_fit(&fewer, cases[k].task, &cases[k].setting, 1);
		void *again = go_on(&fewer, cases[k].task, cases[k].setting, before), *more = go_on(&data, cases[k].task, cases[k].setting, before);
		void *cold = svm_fit(&data, cases[k].task, &cases[k].setting, 1);
		if (svm_described(again, "iterations") > 0.1 * svm_described(before, "iterations") ||
		    svm_described(more, "iterations") > 0.8 * svm_described(cold, "iterations"))
			fail_msg("case %zu: %g then %g steps; %g instead of %g", k, svm_described(before, "iterations"), svm_described(again, "iterations"),
			    svm_described(more, "iterations"), svm_described(cold, "iterations"));
		svm_close_to(svm_described(more, "objective"), svm_described(cold, "objective"), 2e-3 * fabs(svm_described(cold, "objective")));
		mmq_engine_svm.destroy(&before);
		mmq_engine_svm.destroy(&again);
		mmq_engine_svm.destroy(&more);
		mmq_engine_svm.destroy(&cold);
		svm_data_free(&data);
	}
}

static void
put_head(struct mmq_part *part, const char *kernel)
{
	mmq_part_init(part, true);
	mmq_part_put_text(part, "task", "regression");
	mmq_part_put_text(part, "kernel", kernel);
	mmq_part_put_double(part, "gamma", 0.3);
	mmq_part_put_double(part, "coef0", 0.25);
	mmq_part_put_int(part, "degree", 3);
	mmq_part_put_int(part, "classes", 0);
	mmq_part_put_int(part, "cols", 3);
	mmq_part_put_matrix(part, "dual_coef", MMQ_F64, 1, 2, (const double[]){ 1.5, -0.7 });
	mmq_part_put_vector(part, "rho", MMQ_F64, 1, (const double[]){ 0.125 });
	mmq_part_put_vector(part, "class_start", MMQ_U32, 1, (const uint32_t[]){ 0 });
}

static double
predict_double(const struct mmq_part *part, const double *row)
{
	struct mmq_err err;
	void *state;
	double score;
	if (mmq_engine_svm.open(&state, part, &err) == -1)
		fail_msg("%s", err.message);
	void *scratch = mmq_aligned(mmq_engine_svm.scratch_bytes(state, 1, MMQ_OUT_SCORE));
	const struct mmq_batch x = { .rows = 1, .cols = 3, .dtype = MMQ_F64, .dense = row, .stride = 3 };
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE, .score = &score, .score_cols = 1 };
	assert_int_equal(mmq_engine_svm.predict(state, &x, &out, scratch, &err), 0);
	free(scratch);
	mmq_engine_svm.destroy(&state);
	return score;
}

/* Models of other libraries come as the least that a part may hold, with vectors in double, dense, sparse or as columns. */
static void
test_models_from_elsewhere_predict_in_double(void **state_unused)
{
	(void)state_unused;
	static const double v[2][3] = { { 0.1, 0, -2.3 }, { 1.7, 0.4, 0 } }, x[3] = { 0.7, -1.1, 0.3 };
	static const char *const names[] = { "linear", "poly", "rbf", "sigmoid" };
	for (size_t k = 0; k < 4; k++) {
		double want = -0.125;
		struct mmq_part dense, sparse;
		for (size_t s = 0; s < 2; s++) {
			double dot = 0, distance = 0;
			for (size_t j = 0; j < 3; j++) {
				dot += v[s][j] * x[j];
				distance += (v[s][j] - x[j]) * (v[s][j] - x[j]);
			}
			double value = k == 0 ? dot : k == 1 ? pow(0.3 * dot + 0.25, 3) : k == 2 ? exp(-0.3 * distance) : tanh(0.3 * dot + 0.25);
			want += (s == 0 ? 1.5 : -0.7) * value;
		}
		put_head(&dense, names[k]);
		put_head(&sparse, names[k]);
		mmq_part_put_matrix(&dense, "support_vectors", MMQ_F64, 2, 3, v);
		mmq_part_put_vector(&sparse, "vector_start", MMQ_U64, 3, (const uint64_t[]){ 0, 2, 4 });
		mmq_part_put_vector(&sparse, "vector_col", MMQ_U32, 4, (const uint32_t[]){ 0, 2, 0, 1 });
		mmq_part_put_vector(&sparse, "vector_value", MMQ_F64, 4, (const double[]){ 0.1, -2.3, 1.7, 0.4 });
		svm_close_to(predict_double(&dense, x), want, 1e-13);
		svm_close_to(predict_double(&sparse, x), want, 1e-13);
		mmq_part_fini(&dense);
		mmq_part_fini(&sparse);
	}
	struct mmq_part columns;
	put_head(&columns, "precomputed");
	mmq_part_put_vector(&columns, "vector_column", MMQ_U32, 2, (const uint32_t[]){ 2, 0 });
	svm_close_to(predict_double(&columns, x), 1.5 * 0.3 - 0.7 * 0.7 - 0.125, 1e-15);
	mmq_part_fini(&columns);
}

static bool
note_vectors(void *arg, const struct mmq_progress_state *state)
{
	int64_t *most = arg;
	if (state->size > *most) {
		assert_string_equal(state->size_name, "support_vectors");
		*most = state->size;
	}
	return true;
}

static void
test_progress_counts_support_vectors(void **state_unused)
{
	(void)state_unused;
	struct svm_data data;
	struct mmq_err err;
	struct mmq_params *params;
	void *state;
	int64_t most = 0;
	svm_blobs(&data, 1500, 2, 2.5, 9);
	const struct mmq_dataset train = { .x = { .rows = 1500, .cols = 3, .dtype = MMQ_F32, .dense = data.x, .stride = 3 }, .y = data.y, .classes = 2 };
	const struct mmq_progress progress = { .report = note_vectors, .arg = &most };
	assert_int_equal(mmq_params_parse(&params, mmq_engine_svm.params, NULL, 0, &err), 0);
	const struct mmq_fit fit = { .train = &train, .task = MMQ_BINARY, .params = params, .progress = &progress };
	assert_int_equal(mmq_engine_svm.train(&state, &fit, &err), 0);
	double vectors = svm_described(state, "support_vectors");
	assert_true((double)most > 0.5 * vectors && most < 1500);
	mmq_params_destroy(&params);
	mmq_engine_svm.destroy(&state);
	svm_data_free(&data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_form_gives_libsvms_values_on_heart),
		cmocka_unit_test(test_a_nu_that_a_class_cannot_carry_is_refused),
		cmocka_unit_test(test_precomputed_products_are_the_linear_kernel),
		cmocka_unit_test(test_sparse_rows_give_the_bits_of_dense_ones),
		cmocka_unit_test(test_double_is_taken_where_single_is_not_enough),
		cmocka_unit_test(test_going_on_saves_steps_and_ends_at_the_same_optimum),
		cmocka_unit_test(test_models_from_elsewhere_predict_in_double),
		cmocka_unit_test(test_progress_counts_support_vectors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
