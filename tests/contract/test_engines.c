/* test_engines.c: the laws of engine.h, held to by every engine in the registry on every task and form of data it says it takes.
 * A new engine is picked up by its registry row. Model files: test_engine_parts.c; allocations: test_engine_allocations.c. */
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

static struct table table, valid_table;
static const struct fit_how plain = { .seed = 7 };

static bool
all_finite(const double *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!isfinite(values[i]))
			return false;
	return true;
}

/* Fit or fail the test, then predict the training rows. */
static double *
fit_and_predict(const struct mmq_engine *engine, const struct mmq_dataset *data, enum mmq_task task, const struct fit_how *how, void **state_out,
    size_t *count)
{
	struct mmq_err err;
	*state_out = fit_table(engine, data, task, how, &err);
	if (*state_out == NULL)
		fail_msg("%s %s: %s", engine->name, mmq_task_name(task), err.message);
	double *values = predict_table(engine, *state_out, &data->x, data->classes, count, &err);
	if (values == NULL)
		fail_msg("%s %s: %s", engine->name, mmq_task_name(task), err.message);
	return values;
}

static void
test_tables_are_complete(void **unused)
{
	(void)unused;
	for (const struct mmq_engine *const *at = mmq_engine_list(), *e; (e = *at) != NULL; at++) {
		struct mmq_params *params;
		LAW(e, 0, e->abi == MMQ_ENGINE_ABI && e->name[0] != '\0' && e->summary[0] != '\0' && e->tasks != 0);
		LAW(e, 0, mmq_engine_find(e->name) == e);
		LAW(e, 0, e->train && e->save && e->open && e->score_cols && e->scratch_bytes && e->predict && e->describe && e->destroy);
		LAW(e, 0, (e->outputs & MMQ_OUT_SCORE) != 0 && ((e->outputs & MMQ_OUT_LEAF) == 0) == (e->leaf_cols == NULL));
		LAW(e, 0, mmq_params_read(&params, e->params, NULL, NULL) == 0);
		mmq_params_destroy(&params);
		for (const struct mmq_param *p = e->params; p->name != NULL; p++) {
			LAW(e, 0, p->doc != NULL && p->doc[0] != '\0' && p->min <= p->max && p->search_min <= p->search_max);
			for (const struct mmq_param *q = e->params; q < p; q++)
				LAW(e, 0, strcmp(p->name, q->name) != 0);
		}
	}
}

/* Each row of probabilities adds up to 1. */
static bool
are_probabilities(const double *p, size_t rows, size_t classes)
{
	for (size_t r = 0; r < rows; r++) {
		double sum = 0.0;
		for (size_t c = 0; c < classes; c++) {
			if (!(p[r * classes + c] >= 0.0))
				return false;
			sum += p[r * classes + c];
		}
		if (!(fabs(sum - 1.0) < 1e-9))
			return false;
	}
	return true;
}

static void
test_every_form_and_task_fits_and_learns(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		table_make(&table, task, 120, 3);
		for (int f = 0; f < TABLE_FORMS; f++) {
			struct mmq_dataset data = table_dataset(&table, (enum table_form)f);
			void *state;
			size_t count, hits = 0;
			if (!table_form_is_accepted(engine, (enum table_form)f))
				continue;
			double *values = fit_and_predict(engine, &data, task, &plain, &state, &count);
			LAW(engine, task, all_finite(values, count));
			for (size_t r = 0; task == MMQ_BINARY && r < data.x.rows; r++)
				hits += (values[r] > 0.0) == (data.y[r] == 1.0);
			LAW(engine, task, task != MMQ_BINARY || hits >= 90);   /* 120 easy rows that it has seen */
			LAW(engine, task, data.classes == 0 || (table_gives(engine, state) & MMQ_OUT_PROBABILITY) == 0 ||
			    are_probabilities(values + data.x.rows * engine->score_cols(state), data.x.rows, data.classes));
			engine->destroy(&state);
			LAW(engine, task, state == NULL);
			engine->destroy(&state);
			free(values);
		}
	}
}

static void
refused(const struct mmq_engine *engine, enum mmq_task task, const struct mmq_dataset *data, const struct mmq_dataset *valid, const char *what)
{
	struct mmq_err err;
	struct fit_how how = { .seed = 7, .valid = valid };
	void *state = fit_table(engine, data, task, &how, &err);
	if (state != NULL || err.code == MMQ_OK || err.code == MMQ_INTERNAL || err.message[0] == '\0')
		fail_msg("%s %s: %s was not refused with a reason: %s", engine->name, mmq_task_name(task), what, err.message);
}

static void
test_bad_training_data_is_refused_with_a_reason(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		table_make(&table, task, 60, 3);
		struct mmq_dataset data = table_dataset(&table, TABLE_F32), bad = data;
		bad.x.rows = 0;
		refused(engine, task, &bad, NULL, "no rows");
		bad = data;
		bad.x.cols = 0;
		bad.x.dense = NULL;
		bad.features_count = 0;
		refused(engine, task, &bad, NULL, "no columns");
		bad = data;
		bad.x.cols = TABLE_COLS - 1;
		bad.features_count = TABLE_COLS - 1;
		refused(engine, task, &data, &bad, "validation rows of another width");
		bad = table_dataset(&table, TABLE_CODED);
		if ((engine->accepts & MMQ_ACCEPTS_CATEGORY) == 0)
			refused(engine, task, &bad, NULL, "category codes");
		table.f32[5] = INFINITY;
		refused(engine, task, &data, NULL, "infinity");
		table.f32[5] = NAN;
		if ((engine->accepts & MMQ_ACCEPTS_MISSING) == 0)
			refused(engine, task, &data, NULL, "NaN");
		table.f32[5] = 0.0f;
		double keep = table.y[7];
		for (int k = 0; k < (task == MMQ_REGRESSION ? 2 : task == MMQ_ONE_CLASS ? 0 : 4); k++) {
			table.y[7] = k == 0 ? NAN : k == 1 ? INFINITY : k == 2 ? -1.0 : (double)data.classes;
			refused(engine, task, &data, NULL, "a target out of range");
		}
		table.y[7] = keep;
		refused(engine, (enum mmq_task)16, &data, NULL, "an unknown task");
	}
}

static void
test_bad_rows_are_refused_at_predict(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		struct mmq_err err;
		void *state;
		size_t count;
		table_make(&table, task, 60, 3);
		struct mmq_dataset data = table_dataset(&table, TABLE_F32);
		free(fit_and_predict(engine, &data, task, &plain, &state, &count));
		struct mmq_batch x = data.x;
		x.cols = TABLE_COLS - 1;
		LAW(engine, task, predict_table(engine, state, &x, data.classes, &count, &err) == NULL && err.code == MMQ_INVALID_ARGUMENT);
		table.f32[5] = NAN;
		LAW(engine, task, (engine->accepts & MMQ_ACCEPTS_MISSING) != 0 ||
		    (predict_table(engine, state, &data.x, data.classes, &count, &err) == NULL && err.code == MMQ_INVALID_ARGUMENT));
		x = data.x;
		x.rows = 0;
		double *none = predict_table(engine, state, &x, data.classes, &count, &err);
		LAW(engine, task, none != NULL);
		free(none);
		engine->destroy(&state);
	}
}

/* Row r of x as a batch of its own. */
static struct mmq_batch
row_of(const struct mmq_batch *x, size_t r)
{
	struct mmq_batch one = *x;
	one.rows = 1;
	if (x->row_start != NULL)
		one.row_start += r;   /* offsets stay those of the whole matrix */
	else
		one.dense = (const char *)x->dense + r * x->stride * mmq_dtype_bytes(x->dtype);
	one.codes = x->codes != NULL ? x->codes + r * x->codes_cols : NULL;
	return one;
}

static void
test_one_row_alone_equals_the_batch(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		table_make(&table, task, 120, 3);
		for (int f = 0; f < TABLE_FORMS; f++) {
			struct mmq_dataset data = table_dataset(&table, (enum table_form)f);
			struct mmq_err err;
			void *state;
			size_t count, one_count;
			if (!table_form_is_accepted(engine, (enum table_form)f))
				continue;
			double *values = fit_and_predict(engine, &data, task, &plain, &state, &count);
			size_t cols = engine->score_cols(state);
			for (size_t r = 0; r < data.x.rows; r++) {
				struct mmq_batch x = row_of(&data.x, r);
				double *one = predict_table(engine, state, &x, data.classes, &one_count, &err);
				LAW(engine, task, one != NULL);
				for (size_t i = 0; i < one_count; i++) {
					double whole = i < cols ? values[r * cols + i] : values[data.x.rows * cols + r * data.classes + i - cols];
					LAW(engine, task, fabs(one[i] - whole) <= 1e-12 * fabs(whole));
				}
				free(one);
			}
			free(values);
			engine->destroy(&state);
		}
	}
}

static void
test_same_seed_gives_same_bits_for_any_number_of_threads(void **unused)
{
	(void)unused;
	struct mmq_pool *pool = mmq_pool_new(2);
	EACH(engine, task) {
		table_make(&table, task, 200, 3);
		table_make(&valid_table, task, 40, 4);
		struct mmq_dataset data = table_dataset(&table, TABLE_F32), valid = table_dataset(&valid_table, TABLE_F32);
		const struct fit_how hows[] = { plain, { .seed = 7, .pool = pool }, { .seed = 7, .valid = &valid }, { .seed = 7, .valid = &valid, .pool = pool } };
		void *state;
		size_t count;
		for (int pair = 0; pair < 2; pair++) {
			double *alone = fit_and_predict(engine, &data, task, &hows[2 * pair], &state, &count);
			engine->destroy(&state);
			for (int k = 2 * pair; k <= 2 * pair + 1; k++) {
				double *again = fit_and_predict(engine, &data, task, &hows[k], &state, &count);
				engine->destroy(&state);
				LAW(engine, task, memcmp(alone, again, count * sizeof(*again)) == 0);
				free(again);
			}
			free(alone);
		}
	}
	mmq_pool_destroy(&pool);
}

struct listener {
	int stop_at, calls, calls_after;
};

static bool
listen_once(void *arg, const struct mmq_progress_state *state)
{
	struct listener *listener = arg;
	(void)state;
	listener->calls_after += listener->calls >= listener->stop_at;
	return ++listener->calls < listener->stop_at;
}

static void
test_cancel_is_obeyed_at_once(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		table_make(&table, task, 200, 3);
		struct mmq_dataset data = table_dataset(&table, TABLE_F32);
		for (int stop_at = 1; stop_at <= 4; stop_at++) {
			struct listener listener = { .stop_at = stop_at };
			struct mmq_progress progress = { listen_once, &listener };
			struct fit_how how = { .seed = 7, .progress = &progress };
			struct mmq_err err;
			void *state = fit_table(engine, &data, task, &how, &err);
			bool was_stopped = listener.calls >= stop_at;
			LAW(engine, task, was_stopped || stop_at > 1);   /* every fit asks at least once */
			LAW(engine, task, was_stopped ? state == NULL && err.code == MMQ_CANCELLED : state != NULL);
			LAW(engine, task, listener.calls_after <= 3);
			engine->destroy(&state);
		}
	}
}

static double
score_sum(const struct mmq_engine *engine, const struct mmq_dataset *data, enum mmq_task task)
{
	void *state;
	size_t count;
	double sum = 0.0, *values = fit_and_predict(engine, data, task, &plain, &state, &count);
	for (size_t r = 0; r < data->x.rows; r++)
		sum += values[r];
	engine->destroy(&state);
	free(values);
	return sum;
}

static void
test_weights_pull_and_ones_change_nothing(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		if ((engine->can & MMQ_CAN_WEIGHTS) == 0)
			continue;
		table_make(&table, task, 120, 3);
		struct mmq_dataset data = table_dataset(&table, TABLE_F32), weighted = data;
		void *state;
		size_t count;
		weighted.weight = table.weight;
		double *without = fit_and_predict(engine, &data, task, &plain, &state, &count);
		engine->destroy(&state);
		double *ones = fit_and_predict(engine, &weighted, task, &plain, &state, &count);
		engine->destroy(&state);
		LAW(engine, task, memcmp(without, ones, count * sizeof(*ones)) == 0);
		free(without);
		free(ones);
		if (task == MMQ_MULTICLASS || task == MMQ_ONE_CLASS)
			continue;
		/* Noise in the target: heavy upper rows must lift the fit as a whole. */
		for (size_t r = 0; r < data.x.rows; r++) {
			table.y[r] = task == MMQ_BINARY ? (double)(r % 2) : table.y[r] + (r % 2 == 0 ? -1.0 : 1.0);
			table.weight[r] = r % 2 == 0 ? 0.1f : 10.0f;
		}
		LAW(engine, task, score_sum(engine, &weighted, task) > score_sum(engine, &data, task));
	}
}

enum { ONE_ROW, TWO_ROWS, ONE_TARGET, CONSTANT, SAME_ROWS, HUGE_CELLS, DEGENERATES };

static void
make_degenerate(int what, enum mmq_task task)
{
	table_make(&table, task, what == ONE_ROW ? 1 : what == TWO_ROWS ? 2 : 60, 3);
	for (size_t r = 0; r < table.rows; r++) {
		table.y[r] = what == ONE_TARGET ? 1.0 : table.y[r];
		for (size_t c = 0; c < TABLE_COLS; c++) {
			float *cell = &table.f32[r * TABLE_COLS + c];
			*cell = what == CONSTANT ? 2.5f : what == SAME_ROWS ? table.f32[c] : what == HUGE_CELLS ? *cell * 1e30f : *cell;
		}
	}
}

static void
test_degenerate_data_gives_an_error_or_a_finite_model(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		for (int what = 0; what < DEGENERATES; what++) {
			struct mmq_err err;
			size_t count;
			make_degenerate(what, task);
			struct mmq_dataset data = table_dataset(&table, TABLE_F32);
			void *state = fit_table(engine, &data, task, &plain, &err);
			if (state == NULL) {
				LAW(engine, task, err.code != MMQ_OK && err.code != MMQ_INTERNAL && err.message[0] != '\0');
				continue;
			}
			double *values = predict_table(engine, state, &data.x, data.classes, &count, &err);
			if (values == NULL || (what != HUGE_CELLS && !all_finite(values, count)))
				fail_msg("%s %s: degenerate data %d", engine->name, mmq_task_name(task), what);
			free(values);
			engine->destroy(&state);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables_are_complete),
		cmocka_unit_test(test_every_form_and_task_fits_and_learns),
		cmocka_unit_test(test_bad_training_data_is_refused_with_a_reason),
		cmocka_unit_test(test_bad_rows_are_refused_at_predict),
		cmocka_unit_test(test_one_row_alone_equals_the_batch),
		cmocka_unit_test(test_same_seed_gives_same_bits_for_any_number_of_threads),
		cmocka_unit_test(test_cancel_is_obeyed_at_once),
		cmocka_unit_test(test_weights_pull_and_ones_change_nothing),
		cmocka_unit_test(test_degenerate_data_gives_an_error_or_a_finite_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
