/* test_engine_tasks.c: laws of what only some engines can: to go on from a model, to say what each feature contributed, to learn without a
 * target. An engine is held to them as soon as its table says that it can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "laws.h"
#include "table.h"
#include "util/mem.h"

static struct table table;

static void *
fit_or_fail(const struct mmq_engine *engine, const struct mmq_dataset *data, enum mmq_task task, const void *previous)
{
	const struct fit_how how = { .seed = 7, .previous = previous };
	struct mmq_err err;
	void *state = fit_table(engine, data, task, &how, &err);
	if (state == NULL)
		fail_msg("%s %s: %s", engine->name, mmq_task_name(task), err.message);
	return state;
}

static double *
predict_or_fail(const struct mmq_engine *engine, const struct mmq_dataset *data, enum mmq_task task, const void *state, size_t *count)
{
	struct mmq_err err;
	double *values = predict_table(engine, state, &data->x, data->classes, count, &err);
	if (values == NULL)
		fail_msg("%s %s: %s", engine->name, mmq_task_name(task), err.message);
	return values;
}

/* How far off the scores are on the rows they were trained on: mean square, or rows on the wrong side. */
static double
training_error(const struct mmq_engine *engine, const struct mmq_dataset *data, enum mmq_task task, const void *state)
{
	size_t count, cols = engine->score_cols(state);
	double error = 0, *values = predict_or_fail(engine, data, task, state, &count);
	for (size_t r = 0; r < data->x.rows; r++) {
		double score = values[r * cols];
		error += task == MMQ_REGRESSION ? (score - data->y[r]) * (score - data->y[r]) : task == MMQ_BINARY ? (score > 0) != (data->y[r] == 1) : 0;
	}
	free(values);
	return error / (double)data->x.rows;
}

static void
check_warm_start(const struct mmq_engine *engine, enum mmq_task task, const struct mmq_dataset *data)
{
	struct mmq_part part;
	struct mmq_err err;
	void *opened, *first = fit_or_fail(engine, data, task, NULL);
	size_t count, after_count;

	/* The service goes on from what a file holds. */
	mmq_part_init(&part, true);
	LAW(engine, task, engine->save(first, &part, &err) == 0 && engine->open(&opened, &part, &err) == 0);
	double *before = predict_or_fail(engine, data, task, opened, &count);
	void *second = fit_or_fail(engine, data, task, opened), *again = fit_or_fail(engine, data, task, opened);
	double *after = predict_or_fail(engine, data, task, opened, &after_count);
	LAW(engine, task, memcmp(before, after, count * sizeof(*before)) == 0);                     /* the old one is as it was */
	double *values = predict_or_fail(engine, data, task, second, &count), *repeated = predict_or_fail(engine, data, task, again, &count);
	LAW(engine, task, memcmp(values, repeated, count * sizeof(*values)) == 0);                  /* same seed, same bits */
	LAW(engine, task, training_error(engine, data, task, second) <= training_error(engine, data, task, first) * 1.05 + 0.03);
	free(before);
	free(after);
	free(values);
	free(repeated);
	engine->destroy(&second);
	engine->destroy(&again);
	engine->destroy(&opened);
	engine->destroy(&first);
	mmq_part_fini(&part);
}

static void
test_a_warm_start_goes_on_and_leaves_the_old_model_alone(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		if (!(engine->can & MMQ_CAN_WARM_START))
			continue;
		table_make(&table, task, 120, 3);
		for (int form = 0; form < TABLE_FORMS; form++) {
			struct mmq_dataset data = table_dataset(&table, (enum table_form)form);
			if (table_form_is_accepted(engine, (enum table_form)form))
				check_warm_start(engine, task, &data);
		}
	}
}

/* base + the sum of a row's contributions = its score, within 1e-6 of the larger of 1 and the sum of their magnitudes. */
static void
check_contributions(const struct mmq_engine *engine, enum mmq_task task, const struct mmq_dataset *data, const void *state)
{
	size_t rows = data->x.rows, cols = engine->score_cols(state), features = data->features_count;
	unsigned wanted = MMQ_OUT_SCORE | MMQ_OUT_CONTRIBUTION;
	bool is_sampled = strncmp(engine->contribution_method(state), "sampled", 7) == 0;
	double *score = mmq_array(rows * cols, sizeof(double)), *base = mmq_array(cols, sizeof(double));
	double *contribution = mmq_array(rows * cols * features, sizeof(double)), *width = mmq_array(rows * cols * features, sizeof(double));
	void *scratch = mmq_aligned(engine->scratch_bytes(state, rows, wanted) + 1);
	struct mmq_outputs out = { .wanted = wanted, .score = score, .score_cols = cols, .contribution = contribution, .base = base,
		.contribution_error = is_sampled ? width : NULL };
	struct mmq_err err;

	LAW(engine, task, engine->predict(state, &data->x, &out, scratch, &err) == 0);
	for (size_t i = 0; i < rows * cols; i++) {
		double sum = base[i % cols], magnitude = 0;
		for (size_t f = 0; f < features; f++) {
			sum += contribution[i * features + f];
			magnitude += fabs(contribution[i * features + f]);
			LAW(engine, task, !is_sampled || (width[i * features + f] >= 0 && isfinite(width[i * features + f])));
		}
		if (!(fabs(sum - score[i]) <= 1e-6 * fmax(1, magnitude)))
			fail_msg("%s %s: contributions add up to %.17g, the score is %.17g", engine->name, mmq_task_name(task), sum, score[i]);
	}
	free(score);
	free(base);
	free(contribution);
	free(width);
	free(scratch);
}

static void
test_contributions_add_up_to_the_score(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		table_make(&table, task, 60, 3);
		for (int form = 0; form < TABLE_FORMS; form++) {
			struct mmq_dataset data = table_dataset(&table, (enum table_form)form);
			if (!table_form_is_accepted(engine, (enum table_form)form))
				continue;
			void *state = fit_or_fail(engine, &data, task, NULL);
			bool gives = table_gives(engine, state) & MMQ_OUT_CONTRIBUTION;
			LAW(engine, task, !gives || (engine->contribution_method != NULL && engine->contribution_method(state) != NULL));
			if (gives)
				check_contributions(engine, task, &data, state);
			engine->destroy(&state);
		}
	}
}

static void
test_one_class_learns_what_is_usual(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		if (task != MMQ_ONE_CLASS)
			continue;
		table_make(&table, task, 120, 3);
		struct mmq_dataset data = table_dataset(&table, TABLE_F32), targeted = data;
		const struct fit_how how = { .seed = 7 };
		struct mmq_err err;
		size_t count, inside = 0;
		targeted.y = table.y;
		LAW(engine, task, fit_table(engine, &targeted, task, &how, &err) == NULL && err.code == MMQ_INVALID_ARGUMENT);
		void *state = fit_or_fail(engine, &data, task, NULL);
		LAW(engine, task, engine->score_cols(state) == 1);
		double *values = predict_or_fail(engine, &data, task, state, &count);
		for (size_t r = 0; r < data.x.rows; r++)
			inside += values[r] > 0;
		LAW(engine, task, inside > 20);
		free(values);
		for (size_t c = 0; c < TABLE_COLS; c++)
			table.f32[c] = 100;                  /* row 0 is far from all that was seen */
		values = predict_or_fail(engine, &data, task, state, &count);
		LAW(engine, task, !(values[0] > 0));
		free(values);
		engine->destroy(&state);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_warm_start_goes_on_and_leaves_the_old_model_alone),
		cmocka_unit_test(test_contributions_add_up_to_the_score),
		cmocka_unit_test(test_one_class_learns_what_is_usual),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
