/* test_engine_parts.c: what every engine writes into a model file it reads back to the same bits, with every choice of every parameter;
 * and no damage to the part does worse than DATA_LOSS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "laws.h"
#include "tests/engine/kept_part.h"
#include "math/rng.h"
#include "table.h"
#include "util/mem.h"

static struct table table;

/* Save, open, predict both: equal bits. */
static void
check_round_trip(const struct mmq_engine *engine, enum mmq_task task, const struct mmq_dataset *data, const void *state)
{
	struct mmq_part part, described;
	struct mmq_err err;
	void *opened;
	size_t count, again_count;
	mmq_part_init(&part, true);
	mmq_part_init(&described, true);
	LAW(engine, task, engine->save(state, &part, &err) == 0);
	if (engine->open(&opened, &part, &err) == -1)
		fail_msg("%s %s: its own part: %s", engine->name, mmq_task_name(task), err.message);
	LAW(engine, task, engine->score_cols(opened) == engine->score_cols(state));
	double *values = predict_table(engine, state, &data->x, data->classes, &count, &err);
	double *again = predict_table(engine, opened, &data->x, data->classes, &again_count, &err);
	LAW(engine, task, values != NULL && again != NULL && memcmp(values, again, count * sizeof(*values)) == 0);
	LAW(engine, task, engine->describe(opened, &described, &err) == 0 && described.values_count > 0);
	free(values);
	free(again);
	engine->destroy(&opened);
	mmq_part_fini(&described);
	mmq_part_fini(&part);
}

static void
test_open_predicts_the_bits_that_were_saved(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		table_make(&table, task, 120, 3);
		for (int form = 0; form < TABLE_FORMS; form++) {
			struct mmq_dataset data = table_dataset(&table, (enum table_form)form);
			const struct fit_how plain = { .seed = 7 };
			struct mmq_err err;
			if (!table_form_is_accepted(engine, (enum table_form)form))
				continue;
			void *state = fit_table(engine, &data, task, &plain, &err);
			LAW(engine, task, state != NULL);
			check_round_trip(engine, task, &data, state);
			engine->destroy(&state);
		}
	}
}

/* One setting: a model that survives saving, or a refusal that names a parameter, or the target that does not suit it. */
static void
check_setting(const struct mmq_engine *engine, enum mmq_task task, const char *setting)
{
	struct mmq_dataset data = table_dataset(&table, TABLE_F32);
	struct fit_how how = { .seed = 7, .settings = &setting, .settings_count = 1 };
	struct mmq_err err;
	void *state = fit_table(engine, &data, task, &how, &err);
	if (state == NULL) {
		if (err.code != MMQ_INVALID_ARGUMENT || (strncmp(err.field, "params.", 7) != 0 && strcmp(err.field, "target") != 0))
			fail_msg("%s %s: %s: %s", engine->name, mmq_task_name(task), setting, err.message);
		return;
	}
	check_round_trip(engine, task, &data, state);
	engine->destroy(&state);
}

static void
test_a_resumed_fit_ends_with_the_bits_of_an_undisturbed_one(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		struct kept_part kept = { .at = 2 };
		const struct mmq_checkpoint checkpoint = { kept_part_is_due, kept_part_write, &kept };
		const struct fit_how whole = { .seed = 7, .checkpoint = &checkpoint }, rest = { .seed = 7, .resume = &kept.part };
		double *values[2];
		size_t count;
		struct mmq_err err;
		if ((engine->can & MMQ_CAN_CHECKPOINT) == 0)
			continue;
		table_make(&table, task, 150, 3);
		struct mmq_dataset data = table_dataset(&table, TABLE_F32);
		for (int run = 0; run < 2; run++) {
			void *state = fit_table(engine, &data, task, run == 0 ? &whole : &rest, &err);
			LAW(engine, task, state != NULL && kept.asked >= kept.at);
			values[run] = predict_table(engine, state, &data.x, data.classes, &count, &err);
			engine->destroy(&state);
		}
		LAW(engine, task, memcmp(values[0], values[1], count * sizeof(double)) == 0);
		free(values[0]);
		free(values[1]);
		mmq_part_fini(&kept.part);
	}
}

static void
test_every_choice_fits_or_is_refused_by_name(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		table_make(&table, task, 60, 5);
		for (const struct mmq_param *p = engine->params; p->name != NULL; p++) {
			char setting[256], choices[256];
			if (p->type == MMQ_P_BOOL) {
				snprintf(setting, sizeof(setting), "%s=%s", p->name, strcmp(p->def, "true") == 0 ? "false" : "true");
				check_setting(engine, task, setting);
			}
			if (p->type != MMQ_P_ENUM && p->type != MMQ_P_NUMBER_OR_ENUM)
				continue;
			snprintf(choices, sizeof(choices), "%s", p->choices);
			char *rest = NULL;
			for (char *choice = strtok_r(choices, "|", &rest); choice != NULL; choice = strtok_r(NULL, "|", &rest)) {
				snprintf(setting, sizeof(setting), "%s=%s", p->name, choice);
				check_setting(engine, task, setting);
			}
		}
	}
}

/* Open a damaged part. Refused: with DATA_LOSS. Accepted: then predict must not crash either. */
static void
try_damaged(const struct mmq_engine *engine, enum mmq_task task, const struct mmq_dataset *data, const struct mmq_part *part, const char *what)
{
	struct mmq_err err = { 0 };
	void *state;
	size_t count;
	if (engine->open(&state, part, &err) == -1) {
		if (state != NULL || err.code != MMQ_DATA_LOSS || err.message[0] == '\0')
			fail_msg("%s %s: %s: %s %s", engine->name, mmq_task_name(task), what, mmq_code_name(err.code), err.message);
		return;
	}
	if (engine->score_cols(state) <= 64)
		free(predict_table(engine, state, &data->x, data->classes, &count, &err));
	engine->destroy(&state);
}

/* A copy of part without value `drop_value` and tensor `drop_tensor` (SIZE_MAX: none). Tensors are copies. */
static void
copy_part(struct mmq_part *to, const struct mmq_part *from, size_t drop_value, size_t drop_tensor)
{
	mmq_part_init(to, true);
	for (size_t i = 0; i < from->values_count; i++) {
		const struct mmq_value *v = &from->values[i];
		if (i == drop_value)
			continue;
		if (v->type == MMQ_V_INT)
			mmq_part_put_int(to, v->key, v->i);
		else if (v->type == MMQ_V_BOOL)
			mmq_part_put_bool(to, v->key, v->i != 0);
		else if (v->type == MMQ_V_DOUBLE)
			mmq_part_put_double(to, v->key, v->f);
		else if (v->type == MMQ_V_TEXT)
			mmq_part_put_text(to, v->key, v->texts[0]);
		else if (v->type == MMQ_V_TEXTS)
			mmq_part_put_texts(to, v->key, (const char *const *)v->texts, v->count);
		else
			mmq_part_put_doubles(to, v->key, v->doubles, v->count);
	}
	for (size_t i = 0; i < from->tensors_count; i++) {
		const struct mmq_tensor *t = &from->tensors[i];
		if (i != drop_tensor)
			mmq_part_put_tensor(to, t->name, t->dtype, t->rank, t->shape, t->data);
	}
}

static void
damage_values(const struct mmq_engine *engine, enum mmq_task task, const struct mmq_dataset *data, const struct mmq_part *part)
{
	static const int64_t ints[] = { -1, 0, 1, 2, 7, INT32_MAX, INT64_MAX, INT64_MIN };
	static const double doubles[] = { -1.0, 0.0, 1.5, 1e9, 1e300 };
	struct mmq_part bad;
	for (size_t i = 0; i < part->values_count; i++) {
		const struct mmq_value *v = &part->values[i];
		copy_part(&bad, part, i, SIZE_MAX);
		try_damaged(engine, task, data, &bad, v->key);
		mmq_part_put_texts(&bad, v->key, NULL, 0);   /* another type, and empty */
		try_damaged(engine, task, data, &bad, v->key);
		mmq_part_fini(&bad);
		for (size_t k = 0; v->type == MMQ_V_INT && k < sizeof(ints) / sizeof(ints[0]); k++) {
			copy_part(&bad, part, SIZE_MAX, SIZE_MAX);
			bad.values[i].i = ints[k];
			try_damaged(engine, task, data, &bad, v->key);
			mmq_part_fini(&bad);
		}
		for (size_t k = 0; v->type == MMQ_V_DOUBLES && v->count > 0 && k < sizeof(doubles) / sizeof(doubles[0]); k++) {
			copy_part(&bad, part, SIZE_MAX, SIZE_MAX);
			bad.values[i].doubles[v->count / 2] = doubles[k];
			try_damaged(engine, task, data, &bad, v->key);
			mmq_part_fini(&bad);
		}
		if (v->type == MMQ_V_TEXT) {
			copy_part(&bad, part, i, SIZE_MAX);
			mmq_part_put_text(&bad, v->key, "junk");
			try_damaged(engine, task, data, &bad, v->key);
			mmq_part_fini(&bad);
		}
	}
}

static void
damage_tensors(const struct mmq_engine *engine, enum mmq_task task, const struct mmq_dataset *data, const struct mmq_part *part)
{
	struct mmq_part bad;
	for (size_t i = 0; i < part->tensors_count; i++) {
		const struct mmq_tensor *t = &part->tensors[i];
		struct mmq_tensor changed = *t;
		copy_part(&bad, part, SIZE_MAX, i);
		try_damaged(engine, task, data, &bad, t->name);
		changed.shape[0] /= 2;                       /* shorter than the others expect */
		mmq_part_put_tensor(&bad, t->name, t->dtype, t->rank, changed.shape, t->data);
		try_damaged(engine, task, data, &bad, t->name);
		mmq_part_fini(&bad);
		copy_part(&bad, part, SIZE_MAX, i);          /* same bytes, another type */
		uint64_t bytes = t->bytes;
		mmq_part_put_tensor(&bad, t->name, MMQ_U8, 1, &bytes, t->data);
		try_damaged(engine, task, data, &bad, t->name);
		mmq_part_fini(&bad);
		for (uint64_t seed = 0; seed < 30; seed++) { /* right shape, random content: all of it, or one byte */
			struct mmq_rng rng = mmq_rng_stream(seed, i, 0);
			copy_part(&bad, part, SIZE_MAX, SIZE_MAX);
			uint8_t *content = (uint8_t *)(uintptr_t)bad.tensors[i].data;
			for (size_t b = 0; seed % 3 == 0 && b < t->bytes; b++)
				content[b] = (uint8_t)mmq_rng_next(&rng);
			if (seed % 3 != 0 && t->bytes > 0)
				content[mmq_rng_below(&rng, t->bytes)] = seed % 3 == 1 ? 0xff : 0x01;
			try_damaged(engine, task, data, &bad, t->name);
			mmq_part_fini(&bad);
		}
	}
}

static void
test_damaged_parts_are_data_loss_and_never_a_crash(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		table_make(&table, task, 60, 3);
		for (int form = 0; form < TABLE_FORMS; form += TABLE_CODED) {
			struct mmq_dataset data = table_dataset(&table, (enum table_form)form);
			const struct fit_how plain = { .seed = 7 };
			struct mmq_part part, empty;
			struct mmq_err err;
			if (!table_form_is_accepted(engine, (enum table_form)form))
				continue;
			void *state = fit_table(engine, &data, task, &plain, &err);
			LAW(engine, task, state != NULL);
			mmq_part_init(&part, true);
			mmq_part_init(&empty, true);
			LAW(engine, task, engine->save(state, &part, &err) == 0);
			engine->destroy(&state);
			LAW(engine, task, engine->open(&state, &empty, &err) == -1 && state == NULL && err.code == MMQ_DATA_LOSS);
			damage_values(engine, task, &data, &part);
			damage_tensors(engine, task, &data, &part);
			mmq_part_fini(&part);
			mmq_part_fini(&empty);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_predicts_the_bits_that_were_saved),
		cmocka_unit_test(test_a_resumed_fit_ends_with_the_bits_of_an_undisturbed_one),
		cmocka_unit_test(test_every_choice_fits_or_is_refused_by_name),
		cmocka_unit_test(test_damaged_parts_are_data_loss_and_never_a_crash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
