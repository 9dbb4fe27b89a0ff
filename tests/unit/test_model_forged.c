/* test_model_forged.c: model files whose hashes are right and whose content is a lie. Each engine, preparation and decision must refuse
 * what it cannot use, or answer something; never crash, read outside, or hang. Run it sanitized: that is where it speaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "math/rng.h"
#include "model/model.h"
#include "util/mem.h"

enum { ROWS = 60, LIES = 400 };

/* ---- A small model with a category, a number with gaps, and a text ---- */

struct sample {
	struct mmq_frame frame;
	struct mmq_schema schema;
	double y[ROWS];
	uint32_t rows[ROWS];
};

static void
sample_init(struct sample *s, unsigned classes)
{
	static const char *const colours[] = { "red", "green", "blue" };

	mmq_frame_init(&s->frame);
	s->frame.rows = ROWS;
	double *a = mmq_frame_add_numbers(&s->frame, "a", 1), *b = mmq_frame_add_numbers(&s->frame, "b", 1);
	struct mmq_text *c = mmq_frame_add_texts(&s->frame, "c");
	for (uint32_t i = 0; i < ROWS; i++) {
		unsigned group = i % (classes > 0 ? classes : 3);
		a[i] = 3.0 * group + 0.7 * sin(i);
		b[i] = i % 7 == 0 ? NAN : cos(3.0 * i) + group;
		c[i] = (struct mmq_text){ colours[(i / 3 + group) % 3], (uint32_t)strlen(colours[(i / 3 + group) % 3]) };
		s->y[i] = classes > 0 ? group : 10 * a[i];
		s->rows[i] = i;
	}
	mmq_schema_init(&s->schema);
	mmq_schema_add(&s->schema, "a", MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE);
	mmq_schema_add(&s->schema, "b", MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE);
	mmq_schema_add(&s->schema, "c", MMQ_FIELD_CATEGORICAL, MMQ_ROLE_FEATURE);
}

/* A saved model in a file in memory. */
static int
fit_and_save(const struct sample *s, const struct mmq_engine *engine, unsigned classes)
{
	int64_t ints[] = { 0, 1, 2 };
	const struct mmq_classes labels = { .type = MMQ_LABEL_INT, .count = classes, .ints = ints };
	struct mmq_buf warnings;
	struct mmq_params *params;
	struct mmq_model *model;
	struct mmq_err err = { 0 };
	int fd = memfd_create("model", 0);

	mmq_buf_init(&warnings, 1 << 16);
	assert_int_equal(mmq_params_read(&params, engine->params, NULL, &err), 0);
	const struct mmq_model_fit fit = { .engine = engine, .params = params, .frame = &s->frame, .schema = &s->schema,
		.task = classes == 0 ? MMQ_REGRESSION : classes == 2 ? MMQ_BINARY : MMQ_MULTICLASS, .classes = &labels, .y = s->y,
		.train_rows = s->rows, .train_count = ROWS, .positive = 1, .threshold = 0.5, .warnings = &warnings };
	if (mmq_model_fit(&model, &fit, &err) == -1 || mmq_model_save(model, fd, &err) == -1)
		fail_msg("%s: %s", engine->name, err.message);
	mmq_model_destroy(&model);
	mmq_params_destroy(&params);
	mmq_buf_fini(&warnings);
	return fd;
}

/* ---- Lies ---- */

static int64_t
odd_int(struct mmq_rng *rng, int64_t value)
{
	static const int64_t odd[] = { 0, -1, 1, INT_MAX, INT64_MIN, INT64_MAX, 1 << 20, 65536, -2 };
	switch (mmq_rng_below(rng, 4)) {
	case 0: return odd[mmq_rng_below(rng, sizeof(odd) / sizeof(*odd))];
	case 1: return value + (value < INT64_MAX);
	case 2: return value - (value > INT64_MIN);
	default: return value / 2;
	}
}

static double
odd_double(struct mmq_rng *rng, double value)
{
	const double odd[] = { 0, -1, NAN, INFINITY, -INFINITY, 1e308, -1e308, 5e-324, value * 2 };
	return odd[mmq_rng_below(rng, sizeof(odd) / sizeof(*odd))];
}

/* Copy a part whose tensors are read-only into one that owns them, with one lie about something. */
static void
copy_with_lie(const struct mmq_part *from, struct mmq_part *to, struct mmq_rng *rng, bool lie)
{
	size_t things = from->values_count + from->tensors_count;
	size_t chosen = lie && things > 0 ? mmq_rng_below(rng, things) : SIZE_MAX;

	mmq_part_init(to, true);
	for (size_t i = 0; i < from->values_count; i++) {
		const struct mmq_value *value = &from->values[i];
		bool here = i == chosen;
		size_t count = here && mmq_rng_below(rng, 2) == 0 ? value->count / 2 : value->count;
		if (here && mmq_rng_below(rng, 8) == 0)
			continue;
		switch (value->type) {
		case MMQ_V_INT: mmq_part_put_int(to, value->key, here ? odd_int(rng, value->i) : value->i); break;
		case MMQ_V_BOOL: mmq_part_put_bool(to, value->key, here ? !value->i : value->i != 0); break;
		case MMQ_V_DOUBLE: mmq_part_put_double(to, value->key, here ? odd_double(rng, value->f) : value->f); break;
		case MMQ_V_TEXT: mmq_part_put_text(to, value->key, here ? "lie" : value->texts[0]); break;
		case MMQ_V_TEXTS: mmq_part_put_texts(to, value->key, (const char *const *)value->texts, count); break;
		case MMQ_V_DOUBLES:
			mmq_part_put_doubles(to, value->key, value->doubles, count);
			if (here && count > 0)
				to->values[to->values_count - 1].doubles[mmq_rng_below(rng, count)] = odd_double(rng, value->doubles[0]);
			break;
		}
	}
	for (size_t i = 0; i < from->tensors_count; i++) {
		const struct mmq_tensor *tensor = &from->tensors[i];
		bool here = from->values_count + i == chosen;
		unsigned how = here ? (unsigned)mmq_rng_below(rng, 8) : 0;
		uint64_t shape[MMQ_TENSOR_RANK_MAX];
		memcpy(shape, tensor->shape, sizeof(shape));
		if (here && how == 1)
			continue;
		if (here && how == 2)
			shape[mmq_rng_below(rng, tensor->rank)] /= 2;
		mmq_part_put_tensor(to, tensor->name, tensor->dtype, tensor->rank, shape, tensor->data);
		struct mmq_tensor *copy = &to->tensors[to->tensors_count - 1];
		uint8_t *bytes = (uint8_t *)(uintptr_t)copy->data;
		if (here && how > 2 && copy->bytes > 0) {
			/* Bytes, or a whole cell with all bits set, which is -1, NaN or a huge index. */
			size_t cell = mmq_dtype_bytes(copy->dtype), at = mmq_rng_below(rng, copy->bytes);
			if (how < 6)
				bytes[at] ^= (uint8_t)(1u << mmq_rng_below(rng, 8));
			else
				memset(bytes + at / cell * cell, how == 6 ? 0xff : 0x7f, cell);
		}
	}
}

/* Write the parts again, right hashes over one lie. */
static int
forge(const struct mmq_container *container, struct mmq_rng *rng)
{
	struct mmq_container_part entries[MMQ_CONTAINER_PARTS_MAX];
	struct mmq_part copies[MMQ_CONTAINER_PARTS_MAX];
	size_t chosen = mmq_rng_below(rng, container->parts_count);
	struct mmq_err err;
	int fd = memfd_create("forged", 0);

	for (size_t i = 0; i < container->parts_count; i++) {
		copy_with_lie(container->parts[i].part, &copies[i], rng, i == chosen);
		entries[i] = container->parts[i];
		entries[i].part = &copies[i];
	}
	assert_int_equal(mmq_container_write(fd, entries, container->parts_count, &err), 0);
	for (size_t i = 0; i < container->parts_count; i++)
		mmq_part_fini(&copies[i]);
	return fd;
}

static void
use(struct mmq_model *model, const struct sample *s, struct mmq_scratch *scratch)
{
	struct mmq_prediction out;
	struct mmq_frame view;
	struct mmq_err err;

	if (mmq_model_view(mmq_model_schema(model), &s->frame, &view, &err) == 0) {
		unsigned all = mmq_model_outputs(model) | MMQ_WANT_PREDICTION;
		if (mmq_model_predict(model, &view, NULL, 0, all, scratch, &out, NULL, &err) == 0 && out.label != NULL)
			for (size_t r = 0; r < out.rows; r++)
				assert_true(out.label[r] < out.classes);
	}
	mmq_frame_fini(&view);
}

static void
tell_lies(const struct mmq_engine *engine, unsigned classes)
{
	struct sample s;
	struct mmq_container *container;
	struct mmq_scratch *scratch = mmq_scratch_new();
	struct mmq_err err;
	unsigned refused = 0;

	sample_init(&s, classes);
	int fd = fit_and_save(&s, engine, classes);
	assert_int_equal(mmq_container_open(&container, fd, true, &err), 0);
	for (unsigned lie = 0; lie < LIES; lie++) {
		struct mmq_rng rng = mmq_rng_stream(7, classes, lie);
		struct mmq_model *model;
		int forged = forge(container, &rng);
		if (mmq_model_open(&model, forged, &err) == 0)
			use(model, &s, scratch);
		else {
			assert_true(err.code == MMQ_DATA_LOSS || err.code == MMQ_FAILED_PRECONDITION || err.code == MMQ_RESOURCE_EXHAUSTED);
			refused++;
		}
		mmq_model_destroy(&model);
		close(forged);
	}
	assert_true(refused > LIES / 10);
	mmq_container_close(&container);
	close(fd);
	mmq_scratch_destroy(&scratch);
	mmq_frame_fini(&s.frame);
	mmq_schema_fini(&s.schema);
}

static void
all_engines(unsigned classes, enum mmq_task task)
{
	for (const struct mmq_engine *const *engine = mmq_engine_list(); *engine != NULL; engine++)
		if ((*engine)->tasks & task)
			tell_lies(*engine, classes);
}

static void test_lies_about_regression_never_crash(void **state) { (void)state; all_engines(0, MMQ_REGRESSION); }
static void test_lies_about_two_classes_never_crash(void **state) { (void)state; all_engines(2, MMQ_BINARY); }
static void test_lies_about_three_classes_never_crash(void **state) { (void)state; all_engines(3, MMQ_MULTICLASS); }

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lies_about_regression_never_crash),
		cmocka_unit_test(test_lies_about_two_classes_never_crash),
		cmocka_unit_test(test_lies_about_three_classes_never_crash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
