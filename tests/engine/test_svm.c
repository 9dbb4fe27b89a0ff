/* test_svm.c: numbers of the svm engine: LIBSVM's optimum on heart_scale, closed forms, pairs, weights, batch against one row.
 *
 * Recorded results: LIBSVM 3.37 (libsvm-official), svm-train with -c 1 -g 1/13 -r 0.5 -d 3 on heart_scale, as it prints them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "svm_case.h"
#include "math/rng.h"
#include "util/mem.h"

static double
saved_rho(const void *state)
{
	struct mmq_part part;
	mmq_part_init(&part, true);
	mmq_engine_svm.save(state, &part, NULL);
	double rho = ((const double *)mmq_part_find_tensor(&part, "rho")->data)[0];
	mmq_part_fini(&part);
	return rho;
}

static void
test_reaches_libsvms_optimum_on_heart(void **state_unused)
{
	(void)state_unused;
	static const struct {
		const char *kernel;
		double objective, rho, vectors;
	} want[] = { { "rbf", -100.877288, 0.424462, 132 }, { "linear", -92.473356, -1.050690, 101 }, { "poly", -92.215363, -0.398613, 124 },
		{ "sigmoid", -118.317355, -0.186710, 127 } };
	struct svm_data heart;

	svm_load_heart(&heart);
	for (size_t k = 0; k < 4; k++) {
		char kernel[32];
		snprintf(kernel, sizeof(kernel), "kernel=%s", want[k].kernel);
		const char *settings[] = { kernel, "gamma=0.07692307692307693", "coef0=0.5", "degree=3" };
		void *state = svm_fit(&heart, MMQ_BINARY, settings, 4);
		svm_close_to(svm_described(state, "objective"), want[k].objective, 1e-4 * fabs(want[k].objective));
		svm_close_to(saved_rho(state), want[k].rho, 1e-2);
		svm_close_to(svm_described(state, "support_vectors"), want[k].vectors, 0.02 * want[k].vectors);
		mmq_engine_svm.destroy(&state);
	}
	svm_data_free(&heart);
}

static void
test_regression_reaches_libsvms_optimum_on_heart(void **state_unused)
{
	(void)state_unused;
	struct svm_data heart;
	svm_load_heart(&heart);
	for (size_t r = 0; r < heart.rows; r++)
		heart.y[r] = heart.y[r] > 0 ? 1 : -1;
	heart.classes = 0;
	const char *settings[] = { "gamma=0.07692307692307693", "epsilon=0.1" };
	void *state = svm_fit(&heart, MMQ_REGRESSION, settings, 2);
	svm_close_to(svm_described(state, "objective"), -95.509946, 1e-4 * 95.5);
	svm_close_to(svm_described(state, "support_vectors"), 200, 4);
	svm_close_to(saved_rho(state), 0.225125, 1e-2);
	mmq_engine_svm.destroy(&state);
	svm_data_free(&heart);
}

/* Two points at -1 and +1 on a line: w = 1, no offset, both on the margin, alpha = 1/2, objective -1/2. */
static void
test_two_points_have_the_known_separator(void **state_unused)
{
	(void)state_unused;
	float x[] = { -1, 1, 0.25f };
	double y[] = { 0, 1, 0 };
	struct svm_data data = { .x = x, .y = y, .rows = 2, .cols = 1, .classes = 2 };
	const char *settings[] = { "kernel=linear", "C=10", "tol=1e-6" };
	void *state = svm_fit(&data, MMQ_BINARY, settings, 3);
	double *score = svm_scores(state, &data, 0, 3);
	svm_close_to(score[0], -1, 1e-6);
	svm_close_to(score[1], 1, 1e-6);
	svm_close_to(score[2], 0.25, 1e-6);
	svm_close_to(svm_described(state, "objective"), -0.5, 1e-6);
	free(score);
	mmq_engine_svm.destroy(&state);
}

static void
test_pairs_point_to_the_first_class(void **state_unused)
{
	(void)state_unused;
	struct svm_data data;
	svm_blobs(&data, 200, 4, 0.3, 1);
	void *state = svm_fit(&data, MMQ_MULTICLASS, NULL, 0);
	assert_int_equal(mmq_engine_svm.score_cols(state), 6);
	double *score = svm_scores(state, &data, 0, data.rows);
	for (size_t r = 0; r < data.rows; r++) {
		size_t p = 0;
		for (uint32_t a = 0; a < 4; a++)
			for (uint32_t b = a + 1; b < 4; b++, p++) {
				if ((uint32_t)data.y[r] == a)
					assert_true(score[r * 6 + p] > 0);
				if ((uint32_t)data.y[r] == b)
					assert_true(score[r * 6 + p] < 0);
			}
	}
	free(score);
	mmq_engine_svm.destroy(&state);
	svm_data_free(&data);
}

/* With 200 MB all kernel rows are kept, with 0.4 for each thread they do not fit and some are given up; the answer is the same. */
static void
test_the_room_for_rows_and_threads_change_no_bit(void **state_unused)
{
	(void)state_unused;
	static const char *const rooms[] = { "cache_size=200", "cache_size=200", "cache_size=0.4", "cache_size=1.2" };
	struct mmq_pool *pool = mmq_pool_new(3);
	struct svm_data data;
	double *first = NULL;

	svm_blobs(&data, 2000, 20, 2, 9);
	for (size_t r = 1; r < data.rows; r += 40)   /* not all classes as large */
		data.y[r] = 0;
	for (size_t k = 0; k < 4; k++) {
		const char *const settings[] = { rooms[k], "gamma=0.5", "probability=true" };
		data.pool = k % 2 == 0 ? NULL : pool;
		void *state = svm_fit(&data, MMQ_MULTICLASS, settings, 3);
		double *score = svm_scores(state, &data, 0, data.rows);
		if (first != NULL)
			assert_memory_equal(score, first, data.rows * 190 * sizeof(double));
		free(k == 0 ? NULL : score);
		first = k == 0 ? score : first;
		mmq_engine_svm.destroy(&state);
	}
	free(first);
	mmq_pool_destroy(&pool);
	svm_data_free(&data);
}

static double *
probabilities(const void *state, const struct svm_data *data)
{
	struct mmq_err err = { 0 };
	double *probability = calloc(data->rows * data->classes, sizeof(double));
	void *scratch = mmq_aligned(mmq_engine_svm.scratch_bytes(state, data->rows, MMQ_OUT_PROBABILITY));
	const struct mmq_batch x = { .rows = data->rows, .cols = data->cols, .dtype = MMQ_F32, .dense = data->x, .stride = data->cols };
	struct mmq_outputs out = { .wanted = MMQ_OUT_PROBABILITY, .probability = probability };
	if (mmq_engine_svm.predict(state, &x, &out, scratch, &err) == -1)
		fail_msg("%s", err.message);
	free(scratch);
	return probability;
}

/* Blobs whose classes overlap: a calibrated probability is right as often as it says. */
static void
test_probabilities_follow_the_share_of_each_class(void **state_unused)
{
	(void)state_unused;
	for (uint32_t classes = 2; classes <= 4; classes++) {
		struct svm_data data;
		const char *settings[] = { "probability=true", "gamma=0.1" };
		svm_blobs(&data, 600, classes, 2.0, 8);
		void *state = svm_fit(&data, classes == 2 ? MMQ_BINARY : MMQ_MULTICLASS, settings, 2);
		double *probability = probabilities(state, &data), claimed = 0, hits = 0, of_row;
		for (size_t r = 0; r < data.rows; r++) {
			size_t best = 0;
			of_row = 0;
			for (size_t c = 0; c < classes; c++) {
				double p = probability[r * classes + c];
				assert_true(p >= 0 && p <= 1);
				of_row += p;
				best = p > probability[r * classes + best] ? c : best;
			}
			svm_close_to(of_row, 1, 1e-9);
			claimed += probability[r * classes + best];
			hits += (double)best == data.y[r];
		}
		svm_close_to(claimed / 600, hits / 600, 0.05);   /* what it claims to get right is what it gets right */
		free(probability);
		mmq_engine_svm.destroy(&state);
		svm_data_free(&data);
	}
}

static void
test_probability_has_to_be_asked_for(void **state_unused)
{
	(void)state_unused;
	struct svm_data data;
	struct mmq_err err = { 0 };
	double probability[2];
	svm_blobs(&data, 40, 2, 0.5, 9);
	void *state = svm_fit(&data, MMQ_BINARY, NULL, 0), *scratch = mmq_aligned(mmq_engine_svm.scratch_bytes(state, 1, MMQ_OUT_PROBABILITY));
	const struct mmq_batch x = { .rows = 1, .cols = 3, .dtype = MMQ_F32, .dense = data.x, .stride = 3 };
	struct mmq_outputs out = { .wanted = MMQ_OUT_PROBABILITY, .probability = probability };
	assert_int_equal(mmq_engine_svm.gives(state) & MMQ_OUT_PROBABILITY, 0);
	assert_int_equal(mmq_engine_svm.predict(state, &x, &out, scratch, &err), -1);
	free(scratch);
	mmq_engine_svm.destroy(&state);
	svm_data_free(&data);
}

static void
test_an_absent_class_loses_its_pairs(void **state_unused)
{
	(void)state_unused;
	struct svm_data data;
	svm_blobs(&data, 90, 2, 0.3, 2);
	data.classes = 3;  /* class 2 has no rows */
	void *state = svm_fit(&data, MMQ_MULTICLASS, NULL, 0);
	double *score = svm_scores(state, &data, 0, data.rows);
	for (size_t r = 0; r < data.rows; r++) {
		assert_true(score[r * 3 + 1] > 0);  /* (0, 2) */
		assert_true(score[r * 3 + 2] > 0);  /* (1, 2) */
	}
	free(score);
	mmq_engine_svm.destroy(&state);
	svm_data_free(&data);
}

static void
test_one_row_and_batch_agree_to_the_bit(void **state_unused)
{
	(void)state_unused;
	struct svm_data data;
	svm_blobs(&data, 67, 3, 1.5, 3);
	void *state = svm_fit(&data, MMQ_MULTICLASS, NULL, 0);
	double *batch = svm_scores(state, &data, 0, data.rows);
	for (size_t r = 0; r < data.rows; r++) {
		double *one = svm_scores(state, &data, r, 1);
		assert_memory_equal(one, batch + r * 3, 3 * sizeof(double));
		free(one);
	}
	free(batch);
	mmq_engine_svm.destroy(&state);
	svm_data_free(&data);
}

static void
test_a_weight_of_two_is_a_row_twice(void **state_unused)
{
	(void)state_unused;
	struct svm_data once, twice;
	svm_blobs(&once, 80, 2, 2.0, 4);
	twice = (struct svm_data){ .rows = 160, .cols = 3, .classes = 2, .x = calloc(160 * 3, sizeof(float)), .y = calloc(160, sizeof(double)) };
	for (size_t r = 0; r < 160; r++) {
		memcpy(twice.x + r * 3, once.x + r % 80 * 3, 3 * sizeof(float));
		twice.y[r] = once.y[r % 80];
	}
	once.weight = calloc(80, sizeof(float));
	for (size_t r = 0; r < 80; r++)
		once.weight[r] = 2;
	const char *settings[] = { "tol=1e-6", "gamma=0.5" };
	void *weighted = svm_fit(&once, MMQ_BINARY, settings, 2), *repeated = svm_fit(&twice, MMQ_BINARY, settings, 2);
	double *a = svm_scores(weighted, &once, 0, 80), *b = svm_scores(repeated, &once, 0, 80);
	for (size_t r = 0; r < 80; r++)
		svm_close_to(a[r], b[r], 1e-4);
	free(a);
	free(b);
	mmq_engine_svm.destroy(&weighted);
	mmq_engine_svm.destroy(&repeated);
	svm_data_free(&once);
	svm_data_free(&twice);
}

static void
test_a_bound_on_steps_is_said_so(void **state_unused)
{
	(void)state_unused;
	struct svm_data data;
	struct mmq_part part;
	svm_blobs(&data, 200, 2, 3.0, 5);
	const char *settings[] = { "max_iter=3" };
	void *state = svm_fit(&data, MMQ_BINARY, settings, 1);
	mmq_part_init(&part, true);
	mmq_engine_svm.describe(state, &part, NULL);
	assert_non_null(mmq_part_find(&part, "warning"));
	mmq_part_fini(&part);
	mmq_engine_svm.destroy(&state);
	svm_data_free(&data);
}

static void
test_duplicates_with_opposite_labels_end(void **state_unused)
{
	(void)state_unused;
	struct svm_data data;
	svm_blobs(&data, 60, 2, 0.5, 6);
	for (size_t r = 1; r < data.rows; r += 2)
		memcpy(data.x + r * 3, data.x + (r - 1) * 3, 3 * sizeof(float));
	void *state = svm_fit(&data, MMQ_BINARY, NULL, 0);
	/* Every pair pulls both ways: all at the bound, a function that is flat. */
	svm_close_to(svm_described(state, "objective"), -60, 1e-3);
	mmq_engine_svm.destroy(&state);
	svm_data_free(&data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reaches_libsvms_optimum_on_heart),
		cmocka_unit_test(test_regression_reaches_libsvms_optimum_on_heart),
		cmocka_unit_test(test_two_points_have_the_known_separator),
		cmocka_unit_test(test_pairs_point_to_the_first_class),
		cmocka_unit_test(test_the_room_for_rows_and_threads_change_no_bit),
		cmocka_unit_test(test_probabilities_follow_the_share_of_each_class),
		cmocka_unit_test(test_probability_has_to_be_asked_for),
		cmocka_unit_test(test_an_absent_class_loses_its_pairs),
		cmocka_unit_test(test_one_row_and_batch_agree_to_the_bit),
		cmocka_unit_test(test_a_weight_of_two_is_a_row_twice),
		cmocka_unit_test(test_a_bound_on_steps_is_said_so),
		cmocka_unit_test(test_duplicates_with_opposite_labels_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
