/* test_model.c: a fitted model answers the same after saving and opening, in one call or in pieces; decisions follow their rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/model.h"
#include "util/mem.h"

/* ---- A tiny engine: score = x0 - x1, with everything a decision can use ---- */

struct tiny { uint32_t classes; size_t features; };

static int
tiny_train(void **state_out, const struct mmq_fit *fit, struct mmq_err *err)
{
	struct tiny *tiny = mmq_alloc(sizeof(*tiny));
	(void)err;
	*tiny = (struct tiny){ fit->train->classes, fit->train->features_count };
	*state_out = tiny;
	return 0;
}

static size_t tiny_score_cols(const void *state) { const struct tiny *tiny = state; return tiny->classes > 2 ? tiny->classes : 1; }
static void
tiny_shape(const void *state, struct mmq_state_shape *shape)
{
	const struct tiny *tiny = state;
	*shape = (struct mmq_state_shape){ .cols = tiny->features, .classes = tiny->classes, .features = tiny->features };
}

static size_t tiny_scratch(const void *state, size_t rows, unsigned wanted) { (void)state; (void)rows; (void)wanted; return 0; }
static const char *tiny_method(const void *state) { (void)state; return "tiny"; }
static void tiny_destroy(void **state) { free(*state); *state = NULL; }

static int
tiny_predict(const void *state, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err)
{
	const struct tiny *tiny = state;
	(void)scratch;
	(void)err;
	for (size_t r = 0; r < x->rows; r++) {
		const float *row = (const float *)x->dense + r * x->stride;
		double score = (double)row[0] - (double)row[1];
		if (out->score != NULL)
			out->score[r] = score;
		if (out->probability != NULL) {
			out->probability[2 * r + 1] = 1 / (1 + exp(-score));
			out->probability[2 * r] = 1 - out->probability[2 * r + 1];
		}
		if (out->contribution != NULL) {
			memset(out->contribution + r * tiny->features, 0, tiny->features * sizeof(double));
			out->contribution[r * tiny->features] = (double)row[0];
			out->contribution[r * tiny->features + 1] = -(double)row[1];
			out->base[0] = 0;
		}
	}
	return 0;
}

static const struct mmq_param no_params[] = { { .name = NULL } };
static const struct mmq_engine tiny_engine = {
	.abi = MMQ_ENGINE_ABI, .name = "tiny", .tasks = MMQ_REGRESSION | MMQ_BINARY, .accepts = MMQ_WANTS_TARGET_SCALED,
	.outputs = MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY | MMQ_OUT_CONTRIBUTION, .params = no_params, .train = tiny_train,
	.score_cols = tiny_score_cols, .shape = tiny_shape, .contribution_method = tiny_method, .scratch_bytes = tiny_scratch, .predict = tiny_predict, .destroy = tiny_destroy,
};

/* ---- Data: two numbers, three blobs ---- */

enum { ROWS = 90 };

struct sample {
	struct mmq_frame frame;
	struct mmq_schema schema;
	double y[ROWS];
	uint32_t rows[ROWS];
};

static void
sample_init(struct sample *s, unsigned classes)
{
	mmq_frame_init(&s->frame);
	s->frame.rows = ROWS;
	double *b = mmq_frame_add_numbers(&s->frame, "b", 1), *target = mmq_frame_add_numbers(&s->frame, "target", 1);
	double *a = mmq_frame_add_numbers(&s->frame, "a", 1);
	for (uint32_t i = 0; i < ROWS; i++) {
		unsigned group = i % (classes > 0 ? classes : 3);
		a[i] = 3.0 * group + 0.7 * sin(i);
		b[i] = 2.0 * (group == 1) + 0.7 * cos(3.0 * i);
		s->y[i] = target[i] = classes > 0 ? group : 100 + 50 * a[i];
		s->rows[i] = i;
	}
	mmq_schema_init(&s->schema);
	mmq_schema_add(&s->schema, "b", MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE);
	mmq_schema_add(&s->schema, "target", MMQ_FIELD_NUMERIC, MMQ_ROLE_TARGET);
	mmq_schema_add(&s->schema, "a", MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE);
}

static void
sample_fini(struct sample *s)
{
	mmq_frame_fini(&s->frame);
	mmq_schema_fini(&s->schema);
}

static struct mmq_model *
fit(const struct sample *s, const struct mmq_engine *engine, unsigned classes, uint32_t positive, double threshold)
{
	int64_t ints[] = { 10, 20, 30 };
	const struct mmq_classes labels = { .type = MMQ_LABEL_INT, .count = classes, .ints = ints };
	struct mmq_buf warnings;
	struct mmq_params *params;
	struct mmq_model *model;
	struct mmq_err err = { 0 };

	mmq_buf_init(&warnings, 1 << 16);
	assert_int_equal(mmq_params_read(&params, engine->params, NULL, &err), 0);
	const struct mmq_model_fit what = { .engine = engine, .params = params, .frame = &s->frame, .schema = &s->schema,
		.task = classes == 0 ? MMQ_REGRESSION : classes == 2 ? MMQ_BINARY : MMQ_MULTICLASS, .classes = &labels, .y = s->y,
		.train_rows = s->rows, .train_count = ROWS - 10, .positive = positive, .threshold = threshold, .warnings = &warnings };
	if (mmq_model_fit(&model, &what, &err) == -1)
		fail_msg("%s", err.message);
	mmq_params_destroy(&params);
	mmq_buf_fini(&warnings);
	return model;
}

static struct mmq_model *
save_and_open(const struct mmq_model *model)
{
	struct mmq_model *opened;
	struct mmq_err err = { 0 };
	int fd = memfd_create("model", 0);

	if (mmq_model_save(model, fd, &err) == -1 || mmq_model_open(&opened, fd, &err) == -1)
		fail_msg("%s", err.message);
	close(fd);
	return opened;
}

static void
predict(const struct mmq_model *model, const struct sample *s, unsigned wanted, struct mmq_scratch *scratch, struct mmq_prediction *out)
{
	struct mmq_frame view;
	struct mmq_err err = { 0 };

	assert_int_equal(mmq_model_view(mmq_model_schema(model), &s->frame, &view, &err), 0);
	if (mmq_model_predict(model, &view, NULL, 0, wanted, scratch, out, NULL, &err) == -1)
		fail_msg("%s", err.message);
	mmq_frame_fini(&view);
}

/* ---- Laws ---- */

static void
same_after_opening(unsigned classes)
{
	struct sample s;
	struct mmq_scratch *one = mmq_scratch_new(), *two = mmq_scratch_new();
	struct mmq_prediction before, after;

	sample_init(&s, classes);
	struct mmq_model *model = fit(&s, mmq_engine_find("svm"), classes, 1, 0.5), *opened = save_and_open(model);
	predict(model, &s, MMQ_WANT_PREDICTION | MMQ_OUT_SCORE, one, &before);
	predict(opened, &s, MMQ_WANT_PREDICTION | MMQ_OUT_SCORE, two, &after);
	assert_int_equal(before.rows, ROWS);
	assert_memory_equal(before.score, after.score, ROWS * before.score_cols * sizeof(double));
	unsigned right = 0;
	for (unsigned i = 0; i < ROWS; i++) {
		if (classes == 0) {
			assert_true(before.value[i] == after.value[i] && before.value[i] == before.score[i]);
			right += fabs(before.value[i] - s.y[i]) < 40;
		} else {
			assert_int_equal(before.label[i], after.label[i]);
			right += before.label[i] == (uint32_t)s.y[i];
		}
	}
	assert_true(right > ROWS * 9 / 10);
	assert_true(mmq_model_bytes(opened) > 0 && mmq_model_bytes(model) == 0);
	mmq_model_destroy(&model);
	mmq_model_destroy(&opened);
	mmq_scratch_destroy(&one);
	mmq_scratch_destroy(&two);
	sample_fini(&s);
}

static void test_regression_is_the_same_after_opening(void **state) { (void)state; same_after_opening(0); }
static void test_binary_is_the_same_after_opening(void **state) { (void)state; same_after_opening(2); }
static void test_pairwise_votes_are_the_same_after_opening(void **state) { (void)state; same_after_opening(3); }

static void
test_pieces_equal_one_call(void **state)
{
	struct sample s;
	struct mmq_scratch *one = mmq_scratch_new(), *two = mmq_scratch_new();
	struct mmq_prediction whole, joined;
	struct mmq_frame view;
	struct mmq_err err;

	(void)state;
	sample_init(&s, 3);
	struct mmq_model *model = fit(&s, mmq_engine_find("svm"), 3, 1, 0.5);
	predict(model, &s, MMQ_OUT_SCORE, one, &whole);
	assert_int_equal(mmq_model_view(mmq_model_schema(model), &s.frame, &view, &err), 0);
	mmq_model_begin(model, two);
	for (size_t at = 0, step = 1; at < ROWS; at += step, step *= 3)
		assert_int_equal(mmq_model_add(model, &view, s.rows + at, step < ROWS - at ? step : ROWS - at, two, NULL, &err), 0);
	assert_int_equal(mmq_model_run(model, MMQ_OUT_SCORE, two, &joined, &err), 0);
	assert_int_equal(joined.rows, ROWS);
	for (size_t i = 0; i < ROWS * whole.score_cols; i++)
		assert_true(fabs(joined.score[i] - whole.score[i]) <= 1e-12 * (1 + fabs(whole.score[i])));
	mmq_frame_fini(&view);
	mmq_model_destroy(&model);
	mmq_scratch_destroy(&one);
	mmq_scratch_destroy(&two);
	sample_fini(&s);
}

static void
test_what_a_model_lacks_is_failed_precondition(void **state)
{
	struct sample s;
	struct mmq_scratch *scratch = mmq_scratch_new();
	struct mmq_prediction out;
	struct mmq_err err = { 0 };

	(void)state;
	sample_init(&s, 2);
	struct mmq_model *model = fit(&s, mmq_engine_find("svm"), 2, 1, 0.5);
	assert_int_equal(mmq_model_predict(model, &s.frame, NULL, 0, MMQ_OUT_LEAF, scratch, &out, NULL, &err), -1);
	mmq_model_destroy(&model);
	model = fit(&s, &tiny_engine, 2, 1, 0.5);
	assert_int_equal(mmq_model_check_wanted(model, MMQ_OUT_LEAF, &err), -1);
	assert_int_equal(err.code, MMQ_FAILED_PRECONDITION);
	assert_string_equal(err.got, "leaf");
	mmq_model_destroy(&model);
	mmq_scratch_destroy(&scratch);
	sample_fini(&s);
}

/* Code 1 of the engine stands for the positive class, wherever that is in the order of classes. */
static void
test_positive_and_threshold_decide(void **state)
{
	struct sample s;
	struct mmq_scratch *scratch = mmq_scratch_new();
	struct mmq_prediction out;

	(void)state;
	sample_init(&s, 2);
	for (uint32_t positive = 0; positive < 2; positive++)
		for (int k = 1; k < 10; k += 4) {
			double threshold = k / 10.0;
			struct mmq_model *model = fit(&s, &tiny_engine, 2, positive, threshold);
			predict(model, &s, MMQ_WANT_PREDICTION | MMQ_OUT_PROBABILITY | MMQ_OUT_SCORE, scratch, &out);
			for (size_t r = 0; r < ROWS; r++) {
				double p = 1 / (1 + exp(-out.score[r]));
				assert_true(fabs(out.probability[2 * r + positive] - p) < 1e-15);
				assert_int_equal(out.label[r] == positive, p > threshold);
			}
			mmq_model_destroy(&model);
		}
	mmq_scratch_destroy(&scratch);
	sample_fini(&s);
}

static void
test_contributions_add_up_in_the_targets_units(void **state)
{
	struct sample s;
	struct mmq_scratch *scratch = mmq_scratch_new();
	struct mmq_prediction out;

	(void)state;
	sample_init(&s, 0);
	struct mmq_model *model = fit(&s, &tiny_engine, 0, 1, 0.5);
	assert_true(mmq_model_decide(model)->scale > 10);
	predict(model, &s, MMQ_WANT_PREDICTION | MMQ_OUT_CONTRIBUTION, scratch, &out);
	assert_int_equal(out.columns, 2);
	for (size_t r = 0; r < ROWS; r++) {
		double sum = out.base[0] + out.contribution[2 * r] + out.contribution[2 * r + 1];
		assert_true(fabs(sum - out.value[r]) < 1e-9 * (1 + fabs(sum)));
	}
	mmq_model_destroy(&model);
	mmq_scratch_destroy(&scratch);
	sample_fini(&s);
}

/* Every byte of a real model: changed, it is refused and never answers wrongly. */
static void
test_a_changed_byte_is_refused(void **state)
{
	struct sample s;
	struct mmq_err err;
	int fd = memfd_create("model", 0);

	(void)state;
	sample_init(&s, 2);
	struct mmq_model *model = fit(&s, mmq_engine_find("svm"), 2, 1, 0.5), *opened;
	assert_int_equal(mmq_model_save(model, fd, &err), 0);
	off_t size = lseek(fd, 0, SEEK_END);
	for (off_t at = 0; at < size; at++) {
		uint8_t byte;
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		assert_int_equal(mmq_model_open(&opened, fd, &err), -1);
		assert_int_equal(err.code, MMQ_DATA_LOSS);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	assert_int_equal(mmq_model_open(&opened, fd, &err), 0);
	mmq_model_destroy(&opened);
	mmq_model_destroy(&model);
	close(fd);
	sample_fini(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_regression_is_the_same_after_opening),
		cmocka_unit_test(test_binary_is_the_same_after_opening),
		cmocka_unit_test(test_pairwise_votes_are_the_same_after_opening),
		cmocka_unit_test(test_pieces_equal_one_call),
		cmocka_unit_test(test_what_a_model_lacks_is_failed_precondition),
		cmocka_unit_test(test_positive_and_threshold_decide),
		cmocka_unit_test(test_contributions_add_up_in_the_targets_units),
		cmocka_unit_test(test_a_changed_byte_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
