/* test_schema_prepare.c: what a request's `prepare` says, read, refused by name, and done by the preparation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "mpack/writer.h"
#include "prepare/prepare.h"

enum { ROWS = 4 };

static void
make(struct mmq_frame *frame, struct mmq_schema *schema)
{
	mmq_frame_init(frame);
	frame->rows = ROWS;
	double *a = mmq_frame_add_numbers(frame, "a", 1), *b = mmq_frame_add_numbers(frame, "b", 1);
	for (int r = 0; r < ROWS; r++) {
		a[r] = 1 << r;          /* 1 2 4 8: median 3, mean 3.75 */
		b[r] = r == 0 ? NAN : 1 << r;   /* 2 4 8: median 4, mean 14/3 */
	}
	mmq_schema_init(schema);
	mmq_schema_add(schema, "a", MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE);
	mmq_schema_add(schema, "b", MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE);
}

/* {column: {key: value}}, two entries at most. */
static int
read(struct mmq_schema *schema, const char *const entries[][3], size_t count, struct mmq_err *err)
{
	struct mmq_reader reader;
	struct mmq_buf buf;

	mmq_buf_init(&buf, 4096);
	mmq_put_map(&buf, count);
	for (size_t i = 0; i < count; i++) {
		mmq_put_str(&buf, entries[i][0]);
		mmq_put_map(&buf, 1);
		mmq_put_str(&buf, entries[i][1]);
		mmq_put_str(&buf, entries[i][2]);
	}
	mmq_reader_init(&reader, buf.bytes, buf.size);
	memset(err, 0, sizeof(*err));
	int result = mmq_schema_read_prepare(schema, &reader, err);
	mmq_buf_fini(&buf);
	return result;
}

/* Row 0 prepared for an engine that wants scaled numbers and takes no gaps: a, b, b's flag. */
static void
prepare(const struct mmq_schema *schema, const struct mmq_frame *frame, double out[3])
{
	struct mmq_prepared prepared = { 0 };
	struct mmq_prepare *made;
	struct mmq_err err;

	assert_int_equal(mmq_prepare_fit(&made, schema, frame, NULL, ROWS, MMQ_WANTS_SCALED, MMQ_F64, NULL, &err), 0);
	assert_int_equal(mmq_prepare_apply(made, frame, NULL, ROWS, &prepared, NULL, &err), 0);
	assert_int_equal(prepared.batch.cols, 3);
	memcpy(out, prepared.batch.dense, 3 * sizeof(*out));
	mmq_prepared_fini(&prepared);
	mmq_prepare_destroy(&made);
}

static void
test_scaling_and_filling_are_done_as_said(void **state)
{
	static const struct { const char *entries[2][3]; size_t count; double a, b; } cases[] = {
		{ { { "*", "scale", "none" } }, 1, 1, 4 },
		{ { { "*", "scale", "none" }, { "b", "impute", "mean" } }, 2, 1, 14.0 / 3 },
		{ { { "b", "impute", "zero" }, { "*", "scale", "none" } }, 2, 1, 0 },
		{ { { "a", "scale", "none" }, { "*", "scale", "standard" } }, 2, 1, NAN },   /* a column's own entry wins */
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mmq_schema schema;
		struct mmq_frame frame;
		struct mmq_err err;
		double out[3];
		make(&frame, &schema);
		assert_int_equal(read(&schema, cases[i].entries, cases[i].count, &err), 0);
		prepare(&schema, &frame, out);
		assert_true(fabs(out[0] - cases[i].a) < 1e-12 && (isnan(cases[i].b) || fabs(out[1] - cases[i].b) < 1e-12));
		assert_true(out[2] == 1);
		mmq_frame_fini(&frame);
		mmq_schema_fini(&schema);
	}
}

static void
test_what_is_wrong_is_named(void **state)
{
	static const struct { const char *entries[1][3], *field; } cases[] = {
		{ { { "a", "scale", "huge" } }, "prepare.a.scale" }, { { { "b", "impute", "mode" } }, "prepare.b.impute" },
		{ { { "a", "encode", "one_hot" } }, "prepare.a" }, { { { "c", "scale", "none" } }, "prepare" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mmq_schema schema;
		struct mmq_frame frame;
		struct mmq_err err;
		make(&frame, &schema);
		assert_int_equal(read(&schema, cases[i].entries, 1, &err), -1);
		assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
		assert_string_equal(err.field, cases[i].field);
		mmq_frame_fini(&frame);
		mmq_schema_fini(&schema);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scaling_and_filling_are_done_as_said),
		cmocka_unit_test(test_what_is_wrong_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
