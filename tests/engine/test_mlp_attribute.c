/* test_mlp_attribute.c: integrated gradients against what they are by definition: the mean slope of the score along the path, by differences. */
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
#include "util/mem.h"

enum { ROWS = 300, COLS = 36, FEATURES = 3, CHECKED = 6 };

/* 36 columns as three features of 1, 8 and 27 columns. */
struct problem {
	float x[ROWS * COLS];
	double y[ROWS];
	uint64_t row_start[ROWS + 1];
	uint32_t col[ROWS * COLS];
	float value[ROWS * COLS];
	struct mmq_feature features[FEATURES];
};

static struct problem problem;

static void
make_problem(void)
{
	struct mmq_rng rng = mmq_rng_stream(6, 0, 0);
	const uint32_t widths[FEATURES] = { 1, 8, 27 };
	for (uint32_t f = 0; f < FEATURES; f++)
		problem.features[f] = (struct mmq_feature){ .name = "f", .kind = f == 0 ? MMQ_NUMERIC : MMQ_VECTOR, .rank = 1, .shape = { widths[f] }, .source = f };
	for (size_t r = 0; r < ROWS; r++) {
		float *x = problem.x + r * COLS;
		problem.row_start[r + 1] = problem.row_start[r];
		for (size_t c = 0; c < COLS; c++) {
			x[c] = c % 3 == r % 3 ? (float)mmq_rng_normal(&rng) : 0.0f;
			if (x[c] != 0.0f) {
				problem.col[problem.row_start[r + 1]] = (uint32_t)c;
				problem.value[problem.row_start[r + 1]++] = x[c];
			}
		}
		double sum = (double)x[0] + tanh((double)(x[1] + x[2])) - (double)(x[12] * x[15]);
		problem.y[r] = sum < -0.5 ? 0.0 : sum < 0.5 ? 1.0 : 2.0;
	}
}

static void *
train(const char *layers, bool is_sparse, struct mmq_dataset *data)
{
	const char *settings[] = { layers, "max_iter=30", "learning_rate_init=0.01" };
	const struct mmq_engine *engine = mmq_engine_find("mlp");
	struct mmq_params *params;
	struct mmq_err err;
	void *state;
	*data = (struct mmq_dataset){ .x = { .rows = ROWS, .cols = COLS, .dtype = MMQ_F32, .dense = is_sparse ? NULL : problem.x, .stride = COLS,
		.row_start = is_sparse ? problem.row_start : NULL, .col = problem.col, .value = problem.value }, .y = problem.y, .classes = 3,
		.features = problem.features, .features_count = FEATURES };
	assert_int_equal(mmq_params_parse(&params, engine->params, settings, 3, &err), 0);
	struct mmq_fit fit = { .train = data, .task = MMQ_MULTICLASS, .params = params, .seed = 2 };
	if (engine->train(&state, &fit, &err) == -1)
		fail_msg("%s", err.message);
	mmq_params_destroy(&params);
	return state;
}

static void
predict(const void *state, const struct mmq_batch *x, double *score, double *contribution, double *base)
{
	const struct mmq_engine *engine = mmq_engine_find("mlp");
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE | (contribution != NULL ? MMQ_OUT_CONTRIBUTION : 0u), .score = score, .score_cols = 3,
		.contribution = contribution, .base = base };
	void *scratch = mmq_aligned(engine->scratch_bytes(state, x->rows, out.wanted));
	struct mmq_err err;
	assert_int_equal(engine->predict(state, x, &out, scratch, &err), 0);
	free(scratch);
}

/* Mean over the path of the score's slope by each column, times the column's value, summed per feature. */
static void
by_differences(const void *state, const float *x, double *want)
{
	enum { POINTS = 200 };
	const float step = 0.01f;
	const size_t ends[FEATURES] = { 1, 9, 36 };
	float along[2 * POINTS * COLS];
	double score[2 * POINTS * 3];
	size_t feature = 0;
	memset(want, 0, 3 * FEATURES * sizeof(*want));
	for (size_t c = 0; c < COLS; c++) {
		feature += c == ends[feature];
		if (x[c] == 0.0f)
			continue;
		for (size_t p = 0; p < 2 * POINTS; p++) {
			for (size_t i = 0; i < COLS; i++)
				along[p * COLS + i] = x[i] * ((float)(p / 2) + 0.5f) / (float)POINTS;
			along[p * COLS + c] += p % 2 == 0 ? step : -step;
		}
		const struct mmq_batch batch = { .rows = 2 * POINTS, .cols = COLS, .dtype = MMQ_F32, .dense = along, .stride = COLS };
		predict(state, &batch, score, NULL, NULL);
		for (size_t p = 0; p < POINTS; p++)
			for (size_t k = 0; k < 3; k++)
				want[k * FEATURES + feature] += (double)x[c] * (score[2 * p * 3 + k] - score[(2 * p + 1) * 3 + k]) / (2.0 * (double)step * POINTS);
	}
}

static void
test_contributions_are_the_mean_slopes_along_the_path(void **unused)
{
	(void)unused;
	static const char *const layers[] = { "layers=dense 20 tanh, dense 9 gelu", "layers=dense 24 relu, dense 12 leaky_relu", "layers=batchnorm, dense 12 silu",
		"layers=input 6x6, conv 4 3x3 tanh, pool 2, dropout 0.1, dense 8 sigmoid", "layers=input 6x6x1, avgpool 2, conv 6 2x2 same, batchnorm tanh" };
	for (size_t l = 0; l < sizeof(layers) / sizeof(layers[0]); l++) {
		struct mmq_dataset data;
		void *state = train(layers[l], false, &data);
		double score[CHECKED * 3], contribution[CHECKED * 3 * FEATURES], base[3], want[3 * FEATURES];
		data.x.rows = CHECKED;
		predict(state, &data.x, score, contribution, base);
		for (size_t r = 0; r < CHECKED; r++) {
			by_differences(state, problem.x + r * COLS, want);
			for (size_t k = 0; k < 3; k++) {
				double sum = base[k], magnitude = 1.0;
				for (size_t f = 0; f < FEATURES; f++) {
					double got = contribution[(r * 3 + k) * FEATURES + f];
					sum += got;
					magnitude += fabs(got);
				}
				assert_true(fabs(sum - score[r * 3 + k]) <= 1e-9 * magnitude);
				for (size_t f = 0; f < FEATURES; f++)
					if (fabs(contribution[(r * 3 + k) * FEATURES + f] - want[k * FEATURES + f]) > 0.015 * magnitude)
						fail_msg("%s: row %zu class %zu feature %zu: %g, by differences %g", layers[l], r, k, f,
						    contribution[(r * 3 + k) * FEATURES + f], want[k * FEATURES + f]);
			}
		}
		mmq_engine_find("mlp")->destroy(&state);
	}
}

static void
test_sparse_rows_have_the_contributions_of_dense_ones(void **unused)
{
	(void)unused;
	struct mmq_dataset data, dense;
	void *state = train("layers=dense 20 tanh, dense 9 relu", true, &data);
	double score[2][CHECKED * 3], contribution[2][CHECKED * 3 * FEATURES], base[2][3];
	dense = data;
	dense.x.row_start = NULL;
	dense.x.dense = problem.x;
	data.x.rows = dense.x.rows = CHECKED;
	predict(state, &data.x, score[0], contribution[0], base[0]);
	predict(state, &dense.x, score[1], contribution[1], base[1]);
	for (size_t i = 0; i < CHECKED * 3 * FEATURES; i++)
		assert_true(fabs(contribution[0][i] - contribution[1][i]) <= 1e-5 * (1.0 + fabs(contribution[0][i])));
	mmq_engine_find("mlp")->destroy(&state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contributions_are_the_mean_slopes_along_the_path),
		cmocka_unit_test(test_sparse_rows_have_the_contributions_of_dense_ones),
	};
	make_problem();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
