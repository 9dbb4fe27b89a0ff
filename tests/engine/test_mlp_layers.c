/* test_mlp_layers.c: every layer, activation and loss against finite differences; shapes and their errors; networks of layers that learn. */
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
#include "engine/mlp/net.h"
#include "math/rng.h"
#include "util/mem.h"

enum { ROWS = 12, COLS = 72 };

struct problem {
	size_t input[3];
	const char *layers;
	enum mmq_mlp_activation output;
	enum mmq_mlp_loss loss;
	uint32_t classes;
	bool is_sparse, has_kinks;
	double smoothing;
	bool has_codes;          /* two category columns of 4 and 5 values, as vectors of 3 and 2 */
};

static struct mmq_mlp_net
make_net(const struct problem *problem)
{
	struct mmq_mlp_net net = { .input = { problem->input[0], problem->input[1], problem->input[2] }, .output = problem->output, .loss = problem->loss,
		.smoothing = problem->smoothing, .huber = 0.3 };
	struct mmq_err err;
	assert_int_equal(mmq_mlp_layers_parse(&net, problem->layers, &err), 0);
	assert_true(mmq_mlp_layers_add_dense(&net, problem->classes == 0 || (problem->classes == 2 && problem->output == MMQ_MLP_LOGISTIC) ? 1 : problem->classes,
	    MMQ_MLP_IDENTITY));
	if (problem->has_codes)
		assert_true(mmq_mlp_embed_add(&net, (const uint32_t[]){ 4, 5 }, (const uint32_t[]){ 3, 2 }, 2));
	assert_int_equal(mmq_mlp_shape(&net, &err), 0);
	net.params = mmq_aligned(net.params_count * sizeof(float));
	net.back = mmq_aligned(net.back_count * sizeof(float));
	return net;
}

/* Small random values everywhere but in the padding; running variances 1. */
static void
fill_params(struct mmq_mlp_net *net, struct mmq_rng *rng)
{
	for (size_t k = 0; k < net->layers; k++) {
		const struct mmq_mlp_layer *layer = &net->layer[k];
		float *w = mmq_array(layer->rows * layer->cols + 1, sizeof(*w));
		for (size_t i = 0; i < layer->rows * layer->cols; i++)
			w[i] = (float)((layer->kind == MMQ_MLP_BATCH_NORM ? 1.0 : 0.0) + (layer->rows > 20 ? 0.25 : 0.6) * mmq_rng_normal(rng));
		mmq_dense_pack(net->params + layer->w_at, w, layer->rows, layer->rows > 0 ? layer->cols : 0);
		for (size_t i = 0; i < mmq_mlp_biases(layer); i++)
			net->params[layer->b_at + i] = (float)(0.3 * mmq_rng_normal(rng));
		for (size_t i = 0; layer->kind == MMQ_MLP_BATCH_NORM && i < layer->cols; i++)
			net->params[layer->stats_at + 16 + i] = 1.0f;
		free(w);
	}
}

/* All parameters of one network against central differences. */
static void
check_gradient(const struct problem *problem)
{
	struct mmq_mlp_net net = make_net(problem);
	struct mmq_rng rng = mmq_rng_stream(3, net.layers, (uint64_t)problem->loss);
	size_t cols = net.layer[0].in_count;
	float x[ROWS * COLS], weight[ROWS];
	double y[ROWS];
	uint32_t index[ROWS], col[ROWS * COLS];
	int32_t codes[2 * ROWS];
	uint64_t row_start[ROWS + 1] = { 0 };
	assert_true(cols <= COLS);
	fill_params(&net, &rng);
	for (size_t i = 0; i < ROWS * cols; i++) {
		x[i] = (float)mmq_rng_normal(&rng);
		col[i] = (uint32_t)(i % cols);
	}
	for (size_t i = 0; i < ROWS; i++) {
		y[i] = problem->classes == 0 ? mmq_rng_uniform(&rng) : (double)(i % problem->classes);
		weight[i] = (float)(0.5 + mmq_rng_uniform(&rng));
		index[i] = (uint32_t)(ROWS - 1 - i);
		row_start[i + 1] = row_start[i] + cols;
		codes[2 * i] = (int32_t)(i % 5) - 1;          /* -1: missing */
		codes[2 * i + 1] = (int32_t)(i % 6);          /* 5: no such value */
	}
	struct mmq_dataset data = { .x = { .rows = ROWS, .cols = cols, .dtype = MMQ_F32, .dense = problem->is_sparse ? NULL : x, .stride = cols,
		.row_start = problem->is_sparse ? row_start : NULL, .col = col, .value = x, .codes = codes, .codes_cols = problem->has_codes ? 2 : 0 }, .y = y,
		.classes = problem->classes };
	struct mmq_mlp_rows rows = { &data, index, problem->classes == 2 ? NULL : weight };
	struct mmq_mlp_room *room = mmq_mlp_room_new(&net, ROWS, problem->is_sparse, NULL);
	float *gradient = mmq_aligned(net.params_count * sizeof(float)), *unused = mmq_aligned(net.params_count * sizeof(float));
	double sum = 0.0, start;
	assert_non_null(room);
	start = mmq_mlp_room_gradient(room, &rows, 0, ROWS, 7, 1, gradient, NULL, NULL, &sum);
	size_t kinks = 0;
	for (size_t i = 0; i < net.trained_count; i++) {
		float keep = net.params[i], step = 4e-3f;
		net.params[i] = keep + step;
		double up = mmq_mlp_room_gradient(room, &rows, 0, ROWS, 7, 1, unused, NULL, NULL, &sum);
		net.params[i] = keep - step;
		double down = mmq_mlp_room_gradient(room, &rows, 0, ROWS, 7, 1, unused, NULL, NULL, &sum);
		net.params[i] = keep;
		double slope = (up - down) / (2.0 * (double)step), bend = fabs(up + down - 2.0 * start) / (double)step;
		double error = fabs(slope - (double)gradient[i]), allowed = 5e-3 * (1.0 + fabs(slope));
		if (error > allowed && problem->has_kinks && error <= bend)
			kinks++;   /* a unit switched on, or another value became the largest, within the step: two slopes */
		else if (error > allowed)
			fail_msg("'%s' loss %d parameter %zu: %g by differences, %g by the pass", problem->layers, (int)problem->loss, i, slope, (double)gradient[i]);
	}
	assert_true(kinks * 8 <= net.trained_count);
	mmq_mlp_room_destroy(&room);
	free(net.params), free(net.back), free(net.tables), free(gradient), free(unused);
}

static void
test_every_activation_has_the_gradient_of_finite_differences(void **unused)
{
	(void)unused;
	for (int a = 0; a < MMQ_MLP_ACTIVATIONS; a++) {
		char layers[64];
		bool has_kinks = a == MMQ_MLP_RELU || a == MMQ_MLP_LEAKY_RELU;
		snprintf(layers, sizeof(layers), "dense 19 %s, dense 4 %s", mmq_mlp_activation_name((enum mmq_mlp_activation)a), mmq_mlp_activation_name((enum mmq_mlp_activation)a));
		check_gradient(&(struct problem){ { 1, 1, 5 }, layers, MMQ_MLP_SOFTMAX, MMQ_MLP_CROSS_ENTROPY, 3, false, has_kinks, 0, false });
		check_gradient(&(struct problem){ { 1, 1, 5 }, layers, MMQ_MLP_IDENTITY, MMQ_MLP_MSE, 0, true, has_kinks, 0, false });
	}
}

static void
test_every_loss_has_the_gradient_of_finite_differences(void **unused)
{
	(void)unused;
	const struct problem problems[] = {
		{ { 1, 1, 5 }, "dense 7 tanh", MMQ_MLP_LOGISTIC, MMQ_MLP_MSE, 0, false, false, 0, false },
		{ { 1, 1, 5 }, "dense 7 tanh", MMQ_MLP_LOGISTIC, MMQ_MLP_MSE, 2, false, false, 0, false },
		{ { 1, 1, 5 }, "dense 7 tanh", MMQ_MLP_LOGISTIC, MMQ_MLP_CROSS_ENTROPY, 2, false, false, 0, false },
		{ { 1, 1, 5 }, "dense 7 tanh", MMQ_MLP_LOGISTIC, MMQ_MLP_CROSS_ENTROPY, 2, false, false, 0.2, false },
		{ { 1, 1, 5 }, "dense 7 tanh", MMQ_MLP_LOGISTIC, MMQ_MLP_CROSS_ENTROPY, 4, false, false, 0.1, false },
		{ { 1, 1, 5 }, "dense 7 tanh", MMQ_MLP_LOGISTIC, MMQ_MLP_MSE, 4, false, false, 0, false },
		{ { 1, 1, 5 }, "dense 7 tanh", MMQ_MLP_SOFTMAX, MMQ_MLP_CROSS_ENTROPY, 4, true, false, 0.1, false },
		{ { 1, 1, 5 }, "dense 7 tanh", MMQ_MLP_SOFTMAX, MMQ_MLP_MSE, 3, false, false, 0, false },
		{ { 1, 1, 5 }, "dense 7 tanh", MMQ_MLP_SOFTMAX, MMQ_MLP_HUBER, 3, false, true, 0, false },
		{ { 1, 1, 5 }, "dense 7 tanh", MMQ_MLP_IDENTITY, MMQ_MLP_MAE, 0, false, true, 0, false },
		{ { 1, 1, 5 }, "dense 7 tanh", MMQ_MLP_IDENTITY, MMQ_MLP_HUBER, 0, false, true, 0, false },
		{ { 1, 1, 5 }, "", MMQ_MLP_SOFTMAX, MMQ_MLP_CROSS_ENTROPY, 3, false, false, 0, false },
	};
	for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++)
		check_gradient(&problems[i]);
}

static void
test_every_layer_has_the_gradient_of_finite_differences(void **unused)
{
	(void)unused;
	static const char *const layers[] = { "conv 3 3x3 tanh, flatten, dense 5 tanh", "conv 9 2x3 tanh, avgpool 2", "conv 18 3x2 gelu, dense 4 silu",
		"conv 2 3x3 same tanh, conv 3 3x3 same stride 2 tanh", "conv 4 2x2 stride 2x1 tanh, conv 17 2x2 tanh, dense 3 tanh", "avgpool 3 stride 2, dense 4 tanh",
		"conv 3 2x2 tanh, dropout 0.4, dense 6 tanh, dropout 0.2", "conv 3 2x2, batchnorm tanh, dense 5, batchnorm gelu", "batchnorm, dense 6 tanh",
		"conv 4 3x3 tanh, pool 2, dense 4 tanh", "pool 2x3 stride 1, conv 2 1x1 relu" };
	for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++)
		check_gradient(&(struct problem){ { 6, 6, 2 }, layers[i], MMQ_MLP_SOFTMAX, MMQ_MLP_CROSS_ENTROPY, 3, false, strstr(layers[i], "pool") != NULL, 0, false });
	check_gradient(&(struct problem){ { 1, 1, 5 }, "dense 7 tanh", MMQ_MLP_SOFTMAX, MMQ_MLP_CROSS_ENTROPY, 3, .has_codes = true });
	check_gradient(&(struct problem){ { 1, 1, 0 }, "batchnorm, dense 7 tanh", MMQ_MLP_IDENTITY, MMQ_MLP_MSE, 0, .has_codes = true });
}

static void
check_refused(const char *text, const char *got)
{
	struct mmq_mlp_net net = { .input = { 6, 6, 2 } };
	struct mmq_err err;
	assert_true(mmq_mlp_layers_parse(&net, text, &err) == -1 || mmq_mlp_shape(&net, &err) == -1);
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	assert_string_equal(err.field, "params.layers");
	if (strstr(err.message, got) == NULL)
		fail_msg("'%s': '%s' is not in '%s'", text, got, err.message);
}

static void
test_errors_name_the_layer(void **unused)
{
	(void)unused;
	check_refused("dense 4 relu, banana 3", "layer 2 'banana 3'");
	check_refused("dense", "layer 1 'dense'");
	check_refused("dense 0", "layer 1");
	check_refused("dense 4x", "layer 1");
	check_refused("conv 4", "conv CHANNELS SIZE");
	check_refused("conv 4 7x7", "layer 1 'conv 4 7x7'");
	check_refused("pool 2, pool 2, pool 2", "layer 3");
	check_refused("flatten, conv 4 3x3", "layer 2");
	check_refused("dropout 1.5", "layer 1");
	check_refused("dense 4 relu relux", "layer 1");
	check_refused("dense 3,, dense 4", "layer 2");
	check_refused("input 5x5, dense 4", "input");
	check_refused("pool 2 same", "layer 1");
}

static void
test_shapes_are_inferred(void **unused)
{
	(void)unused;
	struct mmq_mlp_net net = { .input = { 28, 28, 1 } };
	struct mmq_err err;
	char text[96];
	assert_int_equal(mmq_mlp_layers_parse(&net, "conv 8 3x3 relu, pool 2, conv 16 3 same stride 2, batchnorm relu, avgpool 2x3, flatten, dense 64 sigmoid", &err), 0);
	assert_int_equal(mmq_mlp_shape(&net, &err), 0);
	const size_t want[7][3] = { { 26, 26, 8 }, { 13, 13, 8 }, { 7, 7, 16 }, { 7, 7, 16 }, { 3, 2, 16 }, { 1, 1, 96 }, { 1, 1, 64 } };
	for (size_t k = 0; k < 7; k++)
		assert_memory_equal(net.layer[k].out, want[k], sizeof(want[k]));
	mmq_mlp_layer_print(&net.layer[2], text, sizeof(text));
	assert_string_equal(text, "conv 16 3x3 stride 2x2 same");
	assert_true(mmq_mlp_layer_flops(&net.layer[0]) == 26.0 * 26.0 * 8.0 * 19.0);
}

/* Bars across or down in noise: what a small convolution learns. */
static void
make_bars(float *x, double *y, size_t rows, uint64_t seed)
{
	struct mmq_rng rng = mmq_rng_stream(seed, 0, 0);
	for (size_t r = 0; r < rows; r++) {
		size_t at = (size_t)mmq_rng_below(&rng, 8);
		y[r] = (double)(r % 2);
		for (size_t i = 0; i < 64; i++)
			x[r * 64 + i] = (float)(0.3 * mmq_rng_normal(&rng)) + ((r % 2 == 0 ? i / 8 : i % 8) == at ? 1.0f : 0.0f);
	}
}

static void
test_a_network_of_all_layers_learns_and_threads_do_not_change_a_bit(void **unused)
{
	(void)unused;
	enum { N = 600, M = 200 };
	static float x[N * 64], u[M * 64];
	static double y[N], v[M], score[2][M], again[M];
	const struct mmq_engine *engine = mmq_engine_find("mlp");
	const char *settings[] = { "layers=input 8x8, conv 6 3x3 same leaky_relu, batchnorm, pool 2, conv 12 2x2 silu, dropout 0.1, flatten, dense 16 gelu", "max_iter=12",
		"learning_rate_init=0.005", "learning_rate=cosine", "warmup_epochs=1", "clip_norm=5", "solver=adamw", "label_smoothing=0.05", "batch_size=64" };
	struct mmq_params *params;
	struct mmq_err err;
	make_bars(x, y, N, 1);
	make_bars(u, v, M, 2);
	struct mmq_feature features[64] = { { .name = "x", .kind = MMQ_NUMERIC } };
	for (size_t i = 1; i < 64; i++)
		features[i] = features[0];
	struct mmq_dataset data = { .x = { .rows = N, .cols = 64, .dtype = MMQ_F32, .dense = x, .stride = 64 }, .y = y, .classes = 2, .features = features,
		.features_count = 64 };
	struct mmq_batch test = { .rows = M, .cols = 64, .dtype = MMQ_F32, .dense = u, .stride = 64 };
	assert_int_equal(mmq_params_parse(&params, engine->params, settings, sizeof(settings) / sizeof(settings[0]), &err), 0);
	size_t right = 0;
	for (int run = 0; run < 2; run++) {
		struct mmq_pool *pool = run == 0 ? NULL : mmq_pool_new(3);
		struct mmq_fit fit = { .train = &data, .task = MMQ_BINARY, .params = params, .seed = 5, .pool = pool };
		struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE, .score = score[run], .score_cols = 1 };
		void *state, *scratch;
		if (engine->train(&state, &fit, &err) == -1)
			fail_msg("%s", err.message);
		scratch = mmq_aligned(engine->scratch_bytes(state, M, out.wanted));
		assert_int_equal(engine->predict(state, &test, &out, scratch, &err), 0);
		for (size_t r = 0; r < M; r++) {
			struct mmq_batch one = test;
			struct mmq_outputs single = out;
			one.rows = 1;
			one.dense = u + r * 64;
			single.score = again + r;
			assert_int_equal(engine->predict(state, &one, &single, scratch, &err), 0);
			right += run == 0 && (score[0][r] > 0.0) == (v[r] > 0.5);
		}
		assert_memory_equal(again, score[run], sizeof(again));
		free(scratch);
		engine->destroy(&state);
		mmq_pool_destroy(&pool);
	}
	assert_memory_equal(score[0], score[1], sizeof(again));
	print_message("bars: %zu of %d right\n", right, M);
	assert_true(right >= M * 95 / 100);
	mmq_params_destroy(&params);
}

/* The path of very small networks against the general one. */
static void
test_small_networks_have_the_same_gradient(void **unused)
{
	(void)unused;
	static const struct problem problems[] = {
		{ { 1, 1, 2 }, "dense 4 sigmoid", MMQ_MLP_LOGISTIC, MMQ_MLP_MSE, 2, false, false, 0, false },
		{ { 1, 1, 5 }, "dense 16 tanh, dense 3 relu", MMQ_MLP_LOGISTIC, MMQ_MLP_CROSS_ENTROPY, 2, false, false, 0, false },
		{ { 1, 1, 3 }, "dense 7 relu, dense 5 identity", MMQ_MLP_IDENTITY, MMQ_MLP_MSE, 0, false, false, 0, false },
	};
	for (size_t p = 0; p < sizeof(problems) / sizeof(problems[0]); p++) {
		struct mmq_mlp_net net = make_net(&problems[p]);
		struct mmq_rng rng = mmq_rng_stream(8, p, 0);
		size_t cols = net.layer[0].in_count;
		float x[ROWS * 5];
		double y[ROWS], weight = 0.0;
		fill_params(&net, &rng);
		for (size_t i = 0; i < ROWS * cols; i++)
			x[i] = (float)mmq_rng_normal(&rng);
		for (size_t i = 0; i < ROWS; i++)
			y[i] = problems[p].classes == 0 ? mmq_rng_uniform(&rng) : (double)(i % 2);
		struct mmq_dataset data = { .x = { .rows = ROWS, .cols = cols, .dtype = MMQ_F32, .dense = x, .stride = cols }, .y = y, .classes = problems[p].classes };
		struct mmq_mlp_rows rows = { .data = &data };
		float *general = mmq_aligned(net.params_count * sizeof(float)), *quick = mmq_aligned(net.params_count * sizeof(float));
		assert_true(mmq_mlp_small_fits(&net, &data, ROWS, ROWS, false));
		assert_false(mmq_mlp_small_fits(&net, &data, ROWS, ROWS - 1, false));
		struct mmq_mlp_room *room = mmq_mlp_room_new(&net, ROWS, false, NULL);
		struct mmq_mlp_small *small = mmq_mlp_small_new(&net, &rows, ROWS);
		double want = mmq_mlp_room_gradient(room, &rows, 0, ROWS, 1, 1, general, NULL, NULL, &weight), got = mmq_mlp_small_gradient(small, quick);
		assert_true(fabs(got - want) <= 1e-5 * (1.0 + fabs(want)));
		for (size_t i = 0; i < net.trained_count; i++)
			assert_true(fabs((double)quick[i] - (double)general[i]) <= 1e-5 * (1.0 + fabs((double)general[i])));
		mmq_mlp_room_destroy(&room);
		mmq_mlp_small_destroy(&small);
		free(net.params), free(net.back), free(general), free(quick);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_activation_has_the_gradient_of_finite_differences),
		cmocka_unit_test(test_every_loss_has_the_gradient_of_finite_differences),
		cmocka_unit_test(test_every_layer_has_the_gradient_of_finite_differences),
		cmocka_unit_test(test_small_networks_have_the_same_gradient),
		cmocka_unit_test(test_errors_name_the_layer),
		cmocka_unit_test(test_shapes_are_inferred),
		cmocka_unit_test(test_a_network_of_all_layers_learns_and_threads_do_not_change_a_bit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
