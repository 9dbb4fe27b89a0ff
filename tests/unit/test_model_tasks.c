/* test_model_tasks.c: what lib/model adds to an engine that goes on from a model, knows one class, or samples its contributions. The engine is
 * made up: its score is x0 + the number of fits behind it, its contributions claim an error of 0.5 each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "util/mem.h"

struct counted {
	int64_t fits;
	uint32_t classes;
	size_t cols;
};

static int
counted_train(void **state_out, const struct mmq_fit *fit, struct mmq_err *err)
{
	struct counted *counted = mmq_alloc(sizeof(*counted));
	const struct counted *previous = fit->previous;
	(void)err;
	assert_true((fit->train->y == NULL) == (fit->task == MMQ_ONE_CLASS));
	*counted = (struct counted){ previous != NULL ? previous->fits + 1 : 1, fit->train->classes, fit->train->x.cols };
	*state_out = counted;
	return 0;
}

static size_t counted_score_cols(const void *state) { (void)state; return 1; }
static size_t counted_scratch(const void *state, size_t rows, unsigned wanted) { (void)state; (void)rows; (void)wanted; return 0; }
static void counted_destroy(void **state) { free(*state); *state = NULL; }
static const char *counted_method(const void *state) { (void)state; return "sampled_made_up"; }

static void
counted_shape(const void *state, struct mmq_state_shape *shape)
{
	const struct counted *counted = state;
	*shape = (struct mmq_state_shape){ .cols = counted->cols, .classes = counted->classes, .features = counted->cols };
}

static int
counted_predict(const void *state, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err)
{
	const struct counted *counted = state;
	(void)scratch;
	(void)err;
	for (size_t r = 0; r < x->rows; r++) {
		double first = (double)((const float *)x->dense)[r * x->stride];
		if (out->score != NULL)
			out->score[r] = first + (double)counted->fits;
		for (size_t f = 0; out->contribution != NULL && f < counted->cols; f++) {
			out->contribution[r * counted->cols + f] = f == 0 ? first : 0;
			assert_non_null(out->contribution_error);
			out->contribution_error[r * counted->cols + f] = 0.5;
		}
		if (out->base != NULL)
			out->base[0] = (double)counted->fits;
	}
	return 0;
}

static const struct mmq_param no_params[] = { { .name = NULL } };
#define COUNTED .abi = MMQ_ENGINE_ABI, .name = "counted", .tasks = MMQ_REGRESSION | MMQ_ONE_CLASS, .accepts = MMQ_WANTS_TARGET_SCALED, \
	.outputs = MMQ_OUT_SCORE | MMQ_OUT_CONTRIBUTION, .params = no_params, .train = counted_train, .score_cols = counted_score_cols, \
	.shape = counted_shape, .contribution_method = counted_method, .scratch_bytes = counted_scratch, .predict = counted_predict, \
	.destroy = counted_destroy
static const struct mmq_engine counted_engine = { COUNTED, .can = MMQ_CAN_WARM_START };
static const struct mmq_engine cold_engine = { COUNTED };

enum { ROWS = 20 };

/* Columns x, y (the target) and kind, whose texts come in 2 forms. */
struct sample {
	struct mmq_frame frame;
	struct mmq_schema schema;
	double y[ROWS];
	uint32_t rows[ROWS];
};

static void
sample_init(struct sample *s, double from, const char *kind)
{
	mmq_frame_init(&s->frame);
	s->frame.rows = ROWS;
	double *x = mmq_frame_add_numbers(&s->frame, "x", 1);
	struct mmq_text *texts = mmq_frame_add_texts(&s->frame, "kind");
	for (uint32_t i = 0; i < ROWS; i++) {
		x[i] = from + i;
		texts[i] = (struct mmq_text){ i % 2 ? kind : "plain", (uint32_t)strlen(i % 2 ? kind : "plain") };
		s->y[i] = 10 * x[i];
		s->rows[i] = i;
	}
	mmq_schema_init(&s->schema);
	mmq_schema_add(&s->schema, "x", MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE);
	mmq_schema_add(&s->schema, "kind", MMQ_FIELD_CATEGORICAL, MMQ_ROLE_FEATURE);
}

static void
sample_fini(struct sample *s)
{
	mmq_frame_fini(&s->frame);
	mmq_schema_fini(&s->schema);
}

static int
fit(struct mmq_model **model, const struct sample *s, const struct mmq_engine *engine, enum mmq_task task, const struct mmq_model *previous,
    struct mmq_err *err)
{
	struct mmq_classes classes = { 0 };
	struct mmq_params *params;

	memset(err, 0, sizeof(*err));
	if (task == MMQ_ONE_CLASS)
		mmq_decide_one_class(&classes);
	assert_int_equal(mmq_params_read(&params, engine->params, NULL, err), 0);
	const struct mmq_model_fit what = { .engine = engine, .params = params, .frame = &s->frame, .schema = &s->schema, .task = task,
		.classes = &classes, .y = task == MMQ_ONE_CLASS ? NULL : s->y, .train_rows = s->rows, .train_count = ROWS, .threshold = 0.5,
		.previous = previous };
	int result = mmq_model_fit(model, &what, err);
	mmq_params_destroy(&params);
	mmq_classes_fini(&classes);
	return result;
}

/* The other data has another range and another text: neither the units of the target nor the codes of the texts move. */
static void
test_a_warm_start_keeps_preparation_and_units(void **state)
{
	struct sample first, second;
	struct mmq_model *old, *fresh;
	struct mmq_prediction out;
	struct mmq_scratch *scratch = mmq_scratch_new();
	struct mmq_err err;

	(void)state;
	sample_init(&first, 0, "fancy");
	sample_init(&second, 1000, "unheard");
	assert_int_equal(fit(&old, &first, &counted_engine, MMQ_REGRESSION, NULL, &err), 0);
	assert_int_equal(fit(&fresh, &second, &counted_engine, MMQ_REGRESSION, old, &err), 0);
	assert_true(mmq_model_decide(fresh)->mean == mmq_model_decide(old)->mean && mmq_model_decide(fresh)->scale == mmq_model_decide(old)->scale);
	assert_int_equal(mmq_model_predict(old, &first.frame, NULL, 0, MMQ_WANT_PREDICTION, scratch, &out, NULL, &err), 0);
	double before = out.value[0];
	assert_int_equal(mmq_model_predict(fresh, &first.frame, NULL, 0, MMQ_WANT_PREDICTION, scratch, &out, NULL, &err), 0);
	assert_true(fabs(out.value[0] - before - mmq_model_decide(old)->scale) < 1e-9);   /* one fit more, in the old units */
	mmq_model_destroy(&fresh);
	mmq_model_destroy(&old);
	mmq_scratch_destroy(&scratch);
	sample_fini(&first);
	sample_fini(&second);
}

static void
test_an_engine_that_cannot_go_on_is_failed_precondition(void **state)
{
	struct sample s;
	struct mmq_model *old, *fresh;
	struct mmq_err err;

	(void)state;
	sample_init(&s, 0, "fancy");
	assert_int_equal(fit(&old, &s, &cold_engine, MMQ_REGRESSION, NULL, &err), 0);
	assert_int_equal(fit(&fresh, &s, &cold_engine, MMQ_REGRESSION, old, &err), -1);
	assert_int_equal(err.code, MMQ_FAILED_PRECONDITION);
	assert_null(fresh);
	mmq_model_destroy(&old);
	sample_fini(&s);
}

static void
test_one_class_says_one_inside_and_minus_one_outside(void **state)
{
	struct sample s;
	struct mmq_model *model;
	struct mmq_prediction out;
	struct mmq_scratch *scratch = mmq_scratch_new();
	struct mmq_err err;

	(void)state;
	sample_init(&s, -10, "fancy");
	assert_int_equal(fit(&model, &s, &counted_engine, MMQ_ONE_CLASS, NULL, &err), 0);
	assert_false(mmq_model_outputs(model) & MMQ_OUT_PROBABILITY);
	assert_int_equal(mmq_model_predict(model, &s.frame, NULL, 0, MMQ_WANT_PREDICTION | MMQ_OUT_SCORE, scratch, &out, NULL, &err), 0);
	const struct mmq_classes *classes = &mmq_model_decide(model)->classes;
	for (size_t r = 0; r < ROWS; r++) {
		assert_true(out.score[r] == s.frame.columns[0].numbers[r] + 1);
		assert_int_equal(classes->ints[out.label[r]], out.score[r] > 0 ? 1 : -1);
	}
	mmq_model_destroy(&model);
	mmq_scratch_destroy(&scratch);
	sample_fini(&s);
}

/* kind becomes two one-hot features of 0.5 each: its column's half width is 1, times the scale of the target. */
static void
test_sampled_contributions_bring_their_error(void **state)
{
	struct sample s;
	struct mmq_model *model;
	struct mmq_prediction out;
	struct mmq_scratch *scratch = mmq_scratch_new();
	struct mmq_err err;

	(void)state;
	sample_init(&s, 0, "fancy");
	assert_int_equal(fit(&model, &s, &counted_engine, MMQ_REGRESSION, NULL, &err), 0);
	assert_string_equal(mmq_model_contribution_method(model), "sampled_made_up");
	assert_int_equal(mmq_model_predict(model, &s.frame, NULL, 0, MMQ_OUT_CONTRIBUTION, scratch, &out, NULL, &err), 0);
	double scale = mmq_model_decide(model)->scale;
	assert_true(scale > 1);
	assert_true(fabs(out.contribution_error[0] - 0.5 * scale) < 1e-9 && fabs(out.contribution_error[1] - 1 * scale) < 1e-9);
	mmq_model_destroy(&model);
	mmq_scratch_destroy(&scratch);
	sample_fini(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_warm_start_keeps_preparation_and_units),
		cmocka_unit_test(test_an_engine_that_cannot_go_on_is_failed_precondition),
		cmocka_unit_test(test_one_class_says_one_inside_and_minus_one_outside),
		cmocka_unit_test(test_sampled_contributions_bring_their_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
