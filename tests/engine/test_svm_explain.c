/* test_svm_explain.c: the svm engine's sampled contributions against exact Shapley values. */
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

/* Contributions and errors of all rows. */
static void
explain(const void *state, const struct svm_data *data, double *contribution, double *error, double *base)
{
	struct mmq_err err;
	void *scratch = mmq_aligned(mmq_engine_svm.scratch_bytes(state, data->rows, MMQ_OUT_CONTRIBUTION));
	const struct mmq_batch x = { .rows = data->rows, .cols = data->cols, .dtype = MMQ_F32, .dense = data->x, .stride = data->cols };
	struct mmq_outputs out = { .wanted = MMQ_OUT_CONTRIBUTION, .contribution = contribution, .contribution_error = error, .base = base };
	if (mmq_engine_svm.predict(state, &x, &out, scratch, &err) == -1)
		fail_msg("%s", err.message);
	free(scratch);
}

/* poly of degree 1 is the linear kernel by the sampling way: every order gives the same, and there is no spread. */
static void
test_sampling_an_additive_model_is_exact(void **state_unused)
{
	(void)state_unused;
	struct svm_data data;
	double a[270], b[270], error[270], base_a[3], base_b[3];
	svm_blobs(&data, 30, 3, 1.5, 7);
	void *linear = svm_fit(&data, MMQ_MULTICLASS, (const char *const[]){ "kernel=linear", "tol=1e-5" }, 2);
	void *poly = svm_fit(&data, MMQ_MULTICLASS, (const char *const[]){ "kernel=poly", "degree=1", "gamma=1", "tol=1e-5" }, 4);
	assert_string_equal(mmq_engine_svm.contribution_method(linear), "linear");
	assert_string_equal(mmq_engine_svm.contribution_method(poly), "sampled_shapley");
	explain(linear, &data, a, error, base_a);
	for (size_t k = 0; k < 270; k++)
		assert_true(error[k] == 0);
	explain(poly, &data, b, error, base_b);
	for (size_t k = 0; k < 270; k++) {
		svm_close_to(b[k], a[k], 1e-3);
		assert_true(error[k] < 1e-5);
	}
	mmq_engine_svm.destroy(&linear);
	mmq_engine_svm.destroy(&poly);
	svm_data_free(&data);
}

/* Score of a row whose columns come from it where the mask says so, else from the means. */
static double
score_of_mix(const void *state, const struct svm_data *data, size_t row, const double *mean, unsigned mask)
{
	float x[3];
	double y = 0;
	const struct svm_data one = { .x = x, .y = &y, .rows = 1, .cols = 3, .classes = 2 };
	for (size_t j = 0; j < 3; j++)
		x[j] = mask >> j & 1 ? data->x[row * 3 + j] : (float)mean[j];
	double *score = svm_scores(state, &one, 0, 1), value = *score;
	free(score);
	return value;
}

/* Three features: Shapley's definition over all eight subsets. The error bound has to hold for about 95 % of the values. */
static void
test_sampled_contributions_are_shapleys_within_their_error(void **state_unused)
{
	(void)state_unused;
	enum { ROWS = 120 };
	struct svm_data data;
	double contribution[ROWS * 3], error[ROWS * 3], base, mean[3] = { 0 };
	size_t within = 0;
	svm_blobs(&data, ROWS, 2, 2.5, 8);
	for (size_t r = 0; r < ROWS; r++)
		for (size_t j = 0; j < 3; j++)
			mean[j] += (double)data.x[r * 3 + j] / ROWS;
	void *state = svm_fit(&data, MMQ_BINARY, (const char *const[]){ "gamma=0.5", "C=10" }, 2);
	double *score = svm_scores(state, &data, 0, ROWS);
	explain(state, &data, contribution, error, &base);
	for (size_t r = 0; r < ROWS; r++) {
		double sum = base, exact[3] = { 0 };
		for (size_t j = 0; j < 3; j++) {
			static const double weight[] = { 1.0 / 3, 1.0 / 6, 1.0 / 3 };   /* |S|! (2 - |S|)! / 3! */
			for (unsigned mask = 0; mask < 8; mask++)
				if (!(mask >> j & 1))
					exact[j] += weight[__builtin_popcount(mask)] * (score_of_mix(state, &data, r, mean, mask | 1u << j) -
					    score_of_mix(state, &data, r, mean, mask));
			sum += contribution[r * 3 + j];
			within += fabs(contribution[r * 3 + j] - exact[j]) <= error[r * 3 + j] + 1e-5;
			svm_close_to(contribution[r * 3 + j], exact[j], 0.05 + 3 * error[r * 3 + j]);
		}
		svm_close_to(sum, score[r], 1e-9);
	}
	assert_true(within >= ROWS * 3 * 88 / 100);
	free(score);
	mmq_engine_svm.destroy(&state);
	svm_data_free(&data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sampling_an_additive_model_is_exact),
		cmocka_unit_test(test_sampled_contributions_are_shapleys_within_their_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
