/* test_mlp.c: the textbook's XOR, and what training promises. */
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
#include "tests/engine/kept_part.h"
#include "util/mem.h"

static void *
fit(const struct mmq_dataset *data, const struct mmq_dataset *valid, enum mmq_task task, uint64_t seed, struct mmq_pool *pool,
    const char *const *settings, size_t count, struct mmq_err *err)
{
	struct mmq_params *params;
	void *state;
	assert_int_equal(mmq_params_parse(&params, mmq_engine_find("mlp")->params, settings, count, err), 0);
	struct mmq_fit how = { .train = data, .valid = valid, .task = task, .params = params, .seed = seed, .pool = pool };
	int rc = mmq_engine_find("mlp")->train(&state, &how, err);
	assert_true(rc == 0 ? state != NULL : state == NULL);
	mmq_params_destroy(&params);
	return state;
}

static void
predict(const void *state, const struct mmq_batch *x, double *score, double *probability)
{
	const struct mmq_engine *engine = mmq_engine_find("mlp");
	void *scratch = mmq_aligned(engine->scratch_bytes(state, x->rows, MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY) + 1);
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE | (probability != NULL ? MMQ_OUT_PROBABILITY : 0u), .score = score,
		.score_cols = engine->score_cols(state), .probability = probability };
	struct mmq_err err;
	assert_int_equal(engine->predict(state, x, &out, scratch, &err), 0);
	free(scratch);
}

static const float xor_x[] = { 0, 0, 0, 1, 1, 0, 1, 1 };
static const double xor_y[] = { 0, 1, 1, 0 };
static const struct mmq_dataset xor_data = { .x = { .rows = 4, .cols = 2, .dtype = MMQ_F32, .dense = xor_x, .stride = 2 }, .y = xor_y, .classes = 2 };

/* The textbook: 2-4-1 logistic units, squared error, plain full-batch gradient descent. The engine's README cites these settings. */
static void
test_xor_learns_as_in_the_textbook(void **unused)
{
	(void)unused;
	const char *settings[] = { "hidden_layer_sizes=4", "activation=logistic", "loss=mse", "solver=sgd", "momentum=0", "nesterovs_momentum=false",
		"batch_size=full", "learning_rate_init=8", "alpha=0", "init=normal", "max_iter=10000", "tol=0", "n_iter_no_change=10000" };
	size_t learnt = 0, seeds = 20;
	for (uint64_t seed = 0; seed < seeds; seed++) {
		struct mmq_err err;
		double score[4], probability[8];
		void *state = fit(&xor_data, NULL, MMQ_BINARY, seed, NULL, settings, sizeof(settings) / sizeof(settings[0]), &err);
		assert_non_null(state);
		predict(state, &xor_data.x, score, probability);
		bool is_right = true;
		for (size_t i = 0; i < 4; i++)
			is_right = is_right && fabs(probability[2 * i + 1] - xor_y[i]) < 0.1;
		learnt += is_right;
		mmq_engine_find("mlp")->destroy(&state);
	}
	print_message("xor: %zu of %zu seeds within 0.1\n", learnt, seeds);
	assert_int_equal(learnt, seeds);
}

/* y = sin of a sum, noise-free: a regression that a line cannot do. */
static void
make_waves(float *x, double *y, size_t rows, uint64_t seed)
{
	struct mmq_rng rng = mmq_rng_stream(seed, 0, 0);
	for (size_t r = 0; r < rows; r++) {
		x[2 * r] = (float)mmq_rng_normal(&rng);
		x[2 * r + 1] = (float)mmq_rng_normal(&rng);
		y[r] = sin(1.5 * (double)x[2 * r] + (double)x[2 * r + 1]);
	}
}

static double
waves_error(const struct mmq_dataset *train, const struct mmq_dataset *test, const char *const *settings, size_t count, uint64_t seed)
{
	struct mmq_err err;
	static double score[2000];
	double sum = 0.0;
	void *state = fit(train, NULL, MMQ_REGRESSION, seed, NULL, settings, count, &err);
	assert_non_null(state);
	predict(state, &test->x, score, NULL);
	for (size_t r = 0; r < test->x.rows; r++)
		sum += (score[r] - test->y[r]) * (score[r] - test->y[r]);
	mmq_engine_find("mlp")->destroy(&state);
	return sqrt(sum / (double)test->x.rows);
}

static void
test_every_solver_and_schedule_learns_a_curve(void **unused)
{
	(void)unused;
	static float x[2000], u[1000];
	static double y[1000], v[500];
	struct mmq_dataset train = { .x = { .rows = 1000, .cols = 2, .dtype = MMQ_F32, .dense = x, .stride = 2 }, .y = y };
	struct mmq_dataset test = { .x = { .rows = 500, .cols = 2, .dtype = MMQ_F32, .dense = u, .stride = 2 }, .y = v };
	make_waves(x, y, 1000, 1);
	make_waves(u, v, 500, 2);
	const char *adam[] = { "learning_rate_init=0.01", "max_iter=120" };
	const char *sgd[] = { "solver=sgd", "learning_rate_init=0.1", "max_iter=200", "tol=0" };
	const char *adaptive[] = { "solver=sgd", "learning_rate=adaptive", "learning_rate_init=0.1", "max_iter=200", "activation=tanh" };
	const char *invscaling[] = { "solver=sgd", "learning_rate=invscaling", "power_t=0.1", "learning_rate_init=0.3", "max_iter=200", "tol=0" };
	const char *early[] = { "early_stopping=true", "learning_rate_init=0.01", "hidden_layer_sizes=32 32", "max_iter=120" };
	assert_true(waves_error(&train, &test, adam, 2, 4) < 0.15);
	assert_true(waves_error(&train, &test, sgd, 4, 4) < 0.2);
	assert_true(waves_error(&train, &test, adaptive, 5, 4) < 0.3);
	assert_true(waves_error(&train, &test, invscaling, 6, 4) < 0.3);
	assert_true(waves_error(&train, &test, early, 4, 4) < 0.15);
}

/* How far epoch `epoch` (from 1) moves a score. Full batches of a fixed slope: as far as the rate says. */
static double
move_of(const struct mmq_dataset *data, const char *const *settings, size_t count, size_t epoch)
{
	static double score[2][1000];
	for (size_t k = 0; k < 2; k++) {
		char epochs[32];
		const char *all[12] = { "solver=sgd", "momentum=0", "nesterovs_momentum=false", "batch_size=full", "learning_rate_init=0.002", "hidden_layer_sizes=8", epochs };
		struct mmq_err err;
		snprintf(epochs, sizeof(epochs), "max_iter=%zu", epoch - 1 + k);
		memcpy(all + 7, settings, count * sizeof(*settings));
		void *state = fit(data, NULL, MMQ_REGRESSION, 1, NULL, all, 7 + count, &err);
		assert_non_null(state);
		predict(state, &data->x, score[k], NULL);
		mmq_engine_find("mlp")->destroy(&state);
	}
	double sum = 0.0;
	for (size_t i = 0; i < data->x.rows; i++)
		sum += fabs(score[1][i] - score[0][i]);
	return sum;
}

static void
test_schedules_set_the_rate_of_an_epoch(void **unused)
{
	(void)unused;
	static float x[2000];
	static double y[1000];
	struct mmq_dataset data = { .x = { .rows = 1000, .cols = 2, .dtype = MMQ_F32, .dense = x, .stride = 2 }, .y = y };
	const char *constant[] = { "tol=0" }, *step[] = { "tol=0", "learning_rate=step", "step_epochs=3" }, *warm[] = { "tol=0", "warmup_epochs=4" },
		*plateau[] = { "tol=1e30", "n_iter_no_change=1", "learning_rate=plateau" };
	make_waves(x, y, 1000, 1);
	double plain = move_of(&data, constant, 1, 4);
	assert_true(fabs(move_of(&data, step, 3, 3) / plain - 1.0) < 0.03);
	assert_true(fabs(move_of(&data, step, 3, 4) / plain - 0.1) < 0.01);
	assert_true(fabs(move_of(&data, warm, 2, 3) / plain - 0.505) < 0.03);        /* halfway from a hundredth */
	assert_true(fabs(move_of(&data, plateau, 3, 3) / plain - 1.0) < 0.03);       /* the first epoch gains, two do not */
	assert_true(fabs(move_of(&data, plateau, 3, 4) / plain - 0.2) < 0.02);
}

static void
test_threads_do_not_change_a_bit_when_batches_are_cut(void **unused)
{
	(void)unused;
	enum { N = 1500, D = 40 };
	static float x[N * D];
	static double y[N], one[N], three[N];
	struct mmq_rng rng = mmq_rng_stream(9, 0, 0);
	const char *settings[] = { "hidden_layer_sizes=64 32", "batch_size=400", "max_iter=3" };
	for (size_t i = 0; i < N * D; i++)
		x[i] = (float)mmq_rng_normal(&rng);
	for (size_t i = 0; i < N; i++)
		y[i] = (double)x[i * D];
	struct mmq_dataset data = { .x = { .rows = N, .cols = D, .dtype = MMQ_F32, .dense = x, .stride = D }, .y = y };
	struct mmq_pool *pool = mmq_pool_new(3);
	struct mmq_err err;
	void *alone = fit(&data, NULL, MMQ_REGRESSION, 1, NULL, settings, 3, &err), *shared = fit(&data, NULL, MMQ_REGRESSION, 1, pool, settings, 3, &err);
	predict(alone, &data.x, one, NULL);
	predict(shared, &data.x, three, NULL);
	assert_memory_equal(one, three, sizeof(one));
	mmq_engine_find("mlp")->destroy(&alone);
	mmq_engine_find("mlp")->destroy(&shared);
	mmq_pool_destroy(&pool);
}

static void
test_divergence_keeps_the_last_good_epoch_or_says_so(void **unused)
{
	(void)unused;
	static float x[2000];
	static double y[1000], score[1000];
	struct mmq_dataset data = { .x = { .rows = 1000, .cols = 2, .dtype = MMQ_F32, .dense = x, .stride = 2 }, .y = y };
	struct mmq_err err;
	make_waves(x, y, 1000, 1);
	const char *at_once[] = { "solver=sgd", "learning_rate_init=1000", "activation=identity" };
	assert_null(fit(&data, NULL, MMQ_REGRESSION, 1, NULL, at_once, 3, &err));
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	assert_string_equal(err.field, "params.learning_rate_init");
	/* Full batch: the loss grows by a factor per epoch and overflows only after some. */
	const char *later[] = { "solver=sgd", "learning_rate_init=2", "activation=identity", "batch_size=full", "tol=-1e30", "max_iter=5000" };
	void *state = fit(&data, NULL, MMQ_REGRESSION, 1, NULL, later, 6, &err);
	assert_non_null(state);
	struct mmq_part part;
	const char *warning;
	mmq_part_init(&part, true);
	assert_int_equal(mmq_engine_find("mlp")->describe(state, &part, &err), 0);
	assert_int_equal(mmq_part_get_text(&part, "warning", &warning, &err), 0);
	assert_non_null(strstr(warning, "last good epoch"));
	predict(state, &data.x, score, NULL);
	mmq_part_fini(&part);
	mmq_engine_find("mlp")->destroy(&state);
}

static void
test_a_resumed_fit_ends_with_the_same_bits(void **unused)
{
	(void)unused;
	static float x[2000];
	static double y[1000], score[3][1000];
	const struct mmq_engine *engine = mmq_engine_find("mlp");
	const char *settings[2][6] = { { "max_iter=9", "layers=dense 20 relu, dropout 0.2, batchnorm, dense 9 tanh", "early_stopping=true", "learning_rate=cosine",
		"batch_size=64", "tol=0" }, { "max_iter=9", "solver=sgd", "learning_rate=adaptive", "n_iter_no_change=1", "learning_rate_init=0.2", "tol=0.001" } };
	make_waves(x, y, 1000, 1);
	struct mmq_dataset data = { .x = { .rows = 1000, .cols = 2, .dtype = MMQ_F32, .dense = x, .stride = 2 }, .y = y };
	struct mmq_err err;
	for (int which = 0; which < 2; which++) {
		struct kept_part kept = { .at = 4 };
		struct mmq_checkpoint checkpoint = { kept_part_is_due, kept_part_write, &kept };
		struct mmq_params *params;
		assert_int_equal(mmq_params_parse(&params, engine->params, settings[which], 6, &err), 0);
		for (int run = 0; run < 3; run++) {
			struct mmq_fit fit_with = { .train = &data, .task = MMQ_REGRESSION, .params = params, .seed = 3, .checkpoint = run == 0 ? &checkpoint : NULL,
				.resume = run == 1 ? &kept.part : NULL };
			void *state;
			assert_int_equal(engine->train(&state, &fit_with, &err), 0);
			predict(state, &data.x, score[run], NULL);
			engine->destroy(&state);
		}
		assert_true(kept.asked >= kept.at);
		assert_memory_equal(score[0], score[1], sizeof(score[0]));
		assert_memory_equal(score[0], score[2], sizeof(score[0]));
		/* Another seed's fit is not resumed from it: the same as from its own start. */
		for (int run = 0; run < 2; run++) {
			struct mmq_fit other = { .train = &data, .task = MMQ_REGRESSION, .params = params, .seed = 4, .resume = run == 0 ? &kept.part : NULL };
			void *state;
			assert_int_equal(engine->train(&state, &other, &err), 0);
			predict(state, &data.x, score[run], NULL);
			engine->destroy(&state);
		}
		assert_memory_equal(score[0], score[1], sizeof(score[0]));
		mmq_params_destroy(&params);
		mmq_part_fini(&kept.part);
	}
}

/* Two categories of 6 values, equal or not: only their meeting tells, so a sum over values learns nothing. */
static void
test_embedded_categories_learn_what_their_meeting_tells(void **unused)
{
	(void)unused;
	enum { N = 900 };
	static int32_t codes[2 * N];
	static double y[N], score[N], again[N];
	const struct mmq_engine *engine = mmq_engine_find("mlp");
	const struct mmq_feature features[2] = { { .name = "a", .kind = MMQ_CATEGORY, .cardinality = 6 }, { .name = "b", .kind = MMQ_CATEGORY, .cardinality = 6, .source = 1 } };
	const char *settings[] = { "embedding=4", "hidden_layer_sizes=32", "max_iter=60", "learning_rate_init=0.01" };
	struct mmq_rng rng = mmq_rng_stream(4, 0, 0);
	struct mmq_err err;
	struct mmq_part part;
	for (size_t r = 0; r < N; r++) {
		codes[2 * r] = (int32_t)mmq_rng_below(&rng, 6);
		codes[2 * r + 1] = r % 2 == 0 ? codes[2 * r] : (int32_t)mmq_rng_below(&rng, 6);
		y[r] = codes[2 * r] == codes[2 * r + 1];
	}
	struct mmq_dataset data = { .x = { .rows = N, .codes = codes, .codes_cols = 2 }, .y = y, .classes = 2, .features = features, .features_count = 2 };
	void *opened, *state = fit(&data, NULL, MMQ_BINARY, 2, NULL, settings, 4, &err);
	assert_non_null(state);
	predict(state, &data.x, score, NULL);
	size_t right = 0;
	for (size_t r = 0; r < N; r++)
		right += (score[r] > 0.0) == (y[r] > 0.5);
	assert_true(right >= N * 99 / 100);

	mmq_part_init(&part, true);
	assert_int_equal(engine->save(state, &part, &err), 0);
	assert_int_equal(engine->open(&opened, &part, &err), 0);
	predict(opened, &data.x, again, NULL);
	assert_memory_equal(score, again, sizeof(score));
	/* A value never seen is as one that is missing, not somebody else's vector. */
	const int32_t strange[] = { -1, 3, -2, 3, 6, 3, INT32_MAX, 3 };
	const struct mmq_batch odd = { .rows = 4, .codes = strange, .codes_cols = 2 };
	predict(opened, &odd, again, NULL);
	for (size_t r = 1; r < 4; r++)
		assert_true(again[r] == again[0]);
	engine->destroy(&opened);
	engine->destroy(&state);
	mmq_part_fini(&part);
}

static double
loss_of(const void *state)
{
	struct mmq_part part;
	struct mmq_err err;
	double loss;
	mmq_part_init(&part, true);
	assert_int_equal(mmq_engine_find("mlp")->describe(state, &part, &err), 0);
	assert_int_equal(mmq_part_get_double(&part, "loss", &loss, &err), 0);
	mmq_part_fini(&part);
	return loss;
}

static void
test_a_warm_start_takes_over_layers_and_weights(void **unused)
{
	(void)unused;
	static float x[2000];
	static double y[1000];
	const struct mmq_engine *engine = mmq_engine_find("mlp");
	struct mmq_dataset data = { .x = { .rows = 1000, .cols = 2, .dtype = MMQ_F32, .dense = x, .stride = 2 }, .y = y };
	struct mmq_err err;
	make_waves(x, y, 1000, 1);
	const char *first[] = { "layers=dense 24 tanh, dense 9 relu", "max_iter=30", "loss=huber" };
	const char *same[] = { "max_iter=1" }, *named[] = { "max_iter=1", "layers=dense 24 tanh, dense 9 relu" }, *other[] = { "layers=dense 24 tanh, dense 8 relu" };
	void *before = fit(&data, NULL, MMQ_REGRESSION, 1, NULL, first, 3, &err), *after;
	assert_non_null(before);
	const struct { const char **settings; size_t count; } going_on[] = { { same, 1 }, { named, 2 } };
	for (size_t k = 0; k < 2; k++) {
		struct mmq_params *params;
		assert_int_equal(mmq_params_parse(&params, engine->params, going_on[k].settings, going_on[k].count, &err), 0);
		struct mmq_fit how = { .train = &data, .task = MMQ_REGRESSION, .params = params, .seed = 1, .previous = before };
		assert_int_equal(engine->train(&after, &how, &err), 0);
		assert_true(loss_of(after) <= 1.02 * loss_of(before));       /* one epoch from its weights, not from chance */
		engine->destroy(&after);
		mmq_params_destroy(&params);
	}
	struct mmq_params *params;
	assert_int_equal(mmq_params_parse(&params, engine->params, other, 1, &err), 0);
	struct mmq_fit how = { .train = &data, .task = MMQ_REGRESSION, .params = params, .seed = 1, .previous = before };
	assert_int_equal(engine->train(&after, &how, &err), -1);
	assert_string_equal(err.field, "params.layers");
	assert_non_null(strstr(err.message, "layer 2 'dense 8 relu' instead of 'dense 9 relu'"));
	mmq_params_destroy(&params);
	engine->destroy(&before);
}

static void
test_settings_that_do_not_fit_together_are_refused(void **unused)
{
	(void)unused;
	struct mmq_err err;
	const char *identity[] = { "output_activation=identity" }, *fraction[] = { "batch_size=2.5" };
	assert_null(fit(&xor_data, NULL, MMQ_BINARY, 1, NULL, identity, 1, &err));
	assert_string_equal(err.field, "params.output_activation");
	assert_null(fit(&xor_data, NULL, MMQ_BINARY, 1, NULL, fraction, 1, &err));
	assert_string_equal(err.field, "params.batch_size");
	double y[] = { 0, 1, 2, 3 };
	struct mmq_dataset regression = xor_data;
	regression.y = y;
	regression.classes = 0;
	const char *logistic[] = { "output_activation=logistic" }, *entropy[] = { "loss=cross_entropy" };
	assert_null(fit(&regression, NULL, MMQ_REGRESSION, 1, NULL, logistic, 1, &err));
	assert_string_equal(err.field, "params.output_activation");
	assert_null(fit(&regression, NULL, MMQ_REGRESSION, 1, NULL, entropy, 1, &err));
	assert_string_equal(err.field, "params.loss");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_xor_learns_as_in_the_textbook),
		cmocka_unit_test(test_every_solver_and_schedule_learns_a_curve),
		cmocka_unit_test(test_schedules_set_the_rate_of_an_epoch),
		cmocka_unit_test(test_threads_do_not_change_a_bit_when_batches_are_cut),
		cmocka_unit_test(test_divergence_keeps_the_last_good_epoch_or_says_so),
		cmocka_unit_test(test_a_resumed_fit_ends_with_the_same_bits),
		cmocka_unit_test(test_embedded_categories_learn_what_their_meeting_tells),
		cmocka_unit_test(test_a_warm_start_takes_over_layers_and_weights),
		cmocka_unit_test(test_settings_that_do_not_fit_together_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
