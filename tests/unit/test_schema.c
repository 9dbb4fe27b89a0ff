/* test_schema.c: frames, inference, schemas from requests and files, targets and their classes, profiles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/csv.h"
#include "data/datetime.h"
#include "data/profile.h"
#include "data/schema.h"
#include "data/target.h"
#include "mpack/writer.h"

static struct mmq_frame frame;
static struct mmq_err err;

static int
setup(void **unused)
{
	(void)unused;
	mmq_frame_init(&frame);
	return 0;
}

static int
teardown(void **unused)
{
	(void)unused;
	mmq_frame_fini(&frame);
	return 0;
}

static void
read_csv(const char *csv)
{
	struct mmq_csv_options options = { .limits = MMQ_DATA_LIMITS_DEFAULT };

	mmq_frame_reset(&frame);
	if (mmq_csv_read(&frame, csv, strlen(csv), "t", &options, &err) == -1)
		fail_msg("%s", err.message);
}

static void
check_canonical(double value, const char *want)
{
	char text[32];
	assert_int_equal(mmq_canonical_number(value, text), strlen(want));
	assert_string_equal(text, want);
}

static void
test_canonical_numbers(void **unused)
{
	(void)unused;
	check_canonical(3, "3");
	check_canonical(-0.0, "0");
	check_canonical(-120, "-120");
	check_canonical(9007199254740992.0, "9007199254740992");
	check_canonical(0.1, "0.1");
	check_canonical(-2.5, "-2.5");
	check_canonical(1.0 / 3, "0.3333333333333333");
	check_canonical(5e-324, "5e-324");
	check_canonical(NAN, "");
}

static void
test_many_columns_stay_in_order(void **unused)
{
	char name[16];

	(void)unused;
	mmq_frame_reset(&frame);
	frame.rows = 1;
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		mmq_frame_add_numbers(&frame, name, 1)[0] = i;
	}
	for (int i = 0; i < 100; i++)
		assert_true(frame.columns[i].numbers[0] == i);
	assert_null(mmq_frame_find(&frame, "c100"));
}

static void
test_kinds_are_inferred(void **unused)
{
	static const enum mmq_field_kind want[] = { MMQ_FIELD_NUMERIC, MMQ_FIELD_CATEGORICAL, MMQ_FIELD_BOOLEAN, MMQ_FIELD_DATETIME, MMQ_FIELD_TEXT };
	struct mmq_schema schema;

	(void)unused;
	read_csv("n,c,b,d,t\n1,red,true,2024-01-01,this is a longer piece of text\n2,red,,2024-01-02 10:00,and here is another long one\n");
	mmq_schema_init(&schema);
	assert_int_equal(mmq_schema_infer(&schema, &frame, &err), 0);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(schema.fields[i].kind, want[i]);
	/* Later data is read with these kinds: a category that looks like a number stays a text. */
	struct mmq_csv_options options = { .limits = MMQ_DATA_LIMITS_DEFAULT, .schema = &schema };
	mmq_frame_reset(&frame);
	assert_int_equal(mmq_csv_read(&frame, "n,c\n1,007\n", 10, "t", &options, &err), 0);
	assert_true(frame.columns[1].type == MMQ_COLUMN_TEXT && frame.columns[1].texts[0].size == 3);
	mmq_schema_fini(&schema);
	mmq_schema_add(&schema, "c", MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE)->kind_is_set = true;
	assert_int_equal(mmq_schema_infer(&schema, &frame, &err), -1);
	assert_string_equal(err.field, "schema.c.kind");
	mmq_schema_fini(&schema);
	mmq_schema_add(&schema, "absent", MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE);
	assert_int_equal(mmq_schema_infer(&schema, &frame, &err), -1);
	mmq_schema_fini(&schema);
}

static void
put_request(struct mmq_buf *buf, const char *kind)
{
	mmq_put_map(buf, 2);
	mmq_put_str(buf, "c");
	mmq_put_map(buf, 5);
	mmq_put_str(buf, "kind");
	mmq_put_str(buf, kind);
	mmq_put_str(buf, "role");
	mmq_put_str(buf, "sensitive");
	mmq_put_str(buf, "required");
	mmq_put_bool(buf, false);
	mmq_put_str(buf, "values");
	mmq_put_array(buf, 3);
	mmq_put_str(buf, "red");
	mmq_put_int(buf, 7);
	mmq_put_bool(buf, true);
	mmq_put_str(buf, "newer");
	mmq_put_array(buf, 1);
	mmq_put_nil(buf);
	mmq_put_str(buf, "n");
	mmq_put_map(buf, 2);
	mmq_put_str(buf, "bounds");
	mmq_put_array(buf, 2);
	mmq_put_int(buf, 0);
	mmq_put_nil(buf);
	mmq_put_str(buf, "role");
	mmq_put_str(buf, "feature");
}

static void
test_request_schema_wins_and_survives_a_model_file(void **unused)
{
	struct mmq_schema schema, opened;
	struct mmq_buf buf, a, b;
	struct mmq_reader reader;
	struct mmq_part part;

	(void)unused;
	mmq_buf_init(&buf, 4096);
	mmq_buf_init(&a, 4096);
	mmq_buf_init(&b, 4096);
	put_request(&buf, "categorical");
	mmq_schema_init(&schema);
	mmq_reader_init(&reader, buf.bytes, buf.size);
	assert_int_equal(mmq_schema_read(&schema, &reader, &err), 0);
	assert_true(mmq_reader_is_done(&reader));
	read_csv("n,c\n1,red\n2,7\n");
	assert_int_equal(mmq_schema_infer(&schema, &frame, &err), 0);
	assert_string_equal(schema.fields[0].name, "n");   /* the data's order */
	assert_true(schema.fields[0].bound_min == 0 && isinf(schema.fields[0].bound_max) && schema.fields[0].kind == MMQ_FIELD_NUMERIC);
	assert_true(schema.fields[1].role == MMQ_ROLE_SENSITIVE && !schema.fields[1].required && schema.fields[1].values_count == 3);
	assert_string_equal(schema.fields[1].values[2], "true");
	mmq_part_init(&part, true);
	mmq_schema_save(&schema, &part);
	assert_int_equal(mmq_schema_open(&opened, &part, &err), 0);
	mmq_schema_write(&schema, &a);
	mmq_schema_write(&opened, &b);
	assert_int_equal(a.size, b.size);
	assert_memory_equal(a.bytes, b.bytes, a.size);
	mmq_schema_fini(&opened);
	size_t refused = 0;
	for (size_t t = 0; t < part.tensors_count; t++)
		for (size_t at = 0; at < part.tensors[t].bytes; at++) {
			unsigned char *byte = (unsigned char *)(uintptr_t)part.tensors[t].data + at;
			*byte ^= 0xff;
			if (mmq_schema_open(&opened, &part, &err) == -1)
				refused++;
			mmq_schema_fini(&opened);
			*byte ^= 0xff;
		}
	assert_true(refused > 10);
	for (size_t cut = 0; cut < buf.size; cut++) {
		mmq_reader_init(&reader, buf.bytes, cut);
		assert_int_equal(mmq_schema_read(&opened, &reader, &err), -1);
		mmq_schema_fini(&opened);
	}
	mmq_buf_reset(&buf);
	put_request(&buf, "colour");
	mmq_reader_init(&reader, buf.bytes, buf.size);
	assert_int_equal(mmq_schema_read(&opened, &reader, &err), -1);
	assert_string_equal(err.field, "schema.c.kind");
	assert_string_equal(err.got, "'colour'");
	mmq_schema_fini(&opened);
	mmq_part_fini(&part);
	mmq_schema_fini(&schema);
	mmq_buf_fini(&buf);
	mmq_buf_fini(&a);
	mmq_buf_fini(&b);
}

static bool
infer(const char *csv, const char *part)
{
	char why[128];

	read_csv(csv);
	bool is_classes = mmq_target_is_classes(&frame.columns[0], NULL, frame.rows, why);
	if (strstr(why, part) == NULL)
		fail_msg("'%s' does not say '%s'", why, part);
	return is_classes;
}

static void
test_task_rule(void **unused)
{
	(void)unused;
	assert_true(infer("y,x\nred,1\nblue,2\n", "text"));
	assert_true(infer("y,x\ntrue,1\nfalse,2\n", "boolean"));
	assert_false(infer("y,x\n1.5,1\n2,2\n", "fractional"));
	assert_false(infer("y,x\n1,1\n2,2\n", "more than 5 %"));
	struct mmq_buf buf;
	mmq_buf_init(&buf, 4096);
	mmq_buf_printf(&buf, "y,x\n");
	for (int i = 0; i < 40; i++)
		mmq_buf_printf(&buf, "%d,1\n", i % 2);
	assert_true(infer(mmq_buf_text(&buf), "2 different integers in 40 rows"));
	mmq_buf_fini(&buf);
}

static void
test_classes_are_sorted_and_typed(void **unused)
{
	struct mmq_classes classes;
	double y[4];
	char number[32];

	(void)unused;
	read_csv("i,t,b,m\n10,b,true,1\n-2,a,false,\n9,B,true,3\n10,a,true,4\n");
	assert_int_equal(mmq_classes_init(&classes, &frame.columns[0], NULL, 4, &err), 0);
	assert_true(classes.type == MMQ_LABEL_INT && classes.count == 3 && classes.ints[0] == -2 && classes.ints[2] == 10);
	assert_int_equal(mmq_classes_encode(&classes, &frame.columns[0], NULL, 4, y, &err), 0);
	assert_true(y[0] == 2 && y[1] == 0 && y[2] == 1 && y[3] == 2);
	assert_int_equal(mmq_classes_find(&classes, "9", 1), 1);
	assert_string_equal(mmq_classes_text(&classes, 0, number), "-2");
	assert_int_equal(mmq_classes_encode(&classes, &frame.columns[3], NULL, 4, y, &err), -1);
	assert_string_equal(err.field, "rows[0].m");
	mmq_classes_fini(&classes);
	assert_int_equal(mmq_classes_init(&classes, &frame.columns[1], NULL, 4, &err), 0);
	assert_string_equal(classes.texts[0], "B");
	assert_string_equal(classes.texts[2], "b");
	assert_int_equal(mmq_classes_encode(&classes, &frame.columns[1], (uint32_t[]){ 2, 0 }, 2, y, &err), 0);
	assert_true(y[0] == 0 && y[1] == 2);
	mmq_classes_fini(&classes);
	assert_int_equal(mmq_classes_init(&classes, &frame.columns[2], NULL, 4, &err), 0);
	assert_true(classes.type == MMQ_LABEL_BOOL && mmq_classes_find(&classes, "true", 4) == 1);
	mmq_classes_fini(&classes);
	assert_int_equal(mmq_classes_init(&classes, &frame.columns[3], NULL, 4, &err), -1);
	assert_string_equal(err.field, "rows[1].m");
	assert_int_equal(mmq_classes_init(&classes, &frame.columns[1], (uint32_t[]){ 1, 3 }, 2, &err), -1);  /* one class */
	assert_int_equal(mmq_target_numbers(&frame.columns[0], NULL, 4, y, &err), 0);
	assert_true(y[1] == -2);
	assert_int_equal(mmq_target_numbers(&frame.columns[3], NULL, 4, y, &err), -1);
	assert_int_equal(mmq_target_numbers(&frame.columns[1], NULL, 4, y, &err), -1);
}

static void
check_date(const char *text, double want)
{
	double seconds = NAN;
	int result = mmq_datetime_parse(text, strlen(text), &seconds);

	assert_int_equal(result, isnan(want) ? -1 : 0);
	assert_true(isnan(want) || seconds == want);
}

static void
test_dates(void **unused)
{
	static const char *const bad[] = { "", "2024", "2024-1-1", "2023-02-29", "2024-13-01", "2024-01-01T", "2024-01-01T25:00", "2024-01-01T10:00:", "2024-01-01T10:00x",
		"2024-01-01T10:00:00.", "0000-01-01", "2024-01-01T10:00+1" };

	(void)unused;
	check_date("1970-01-01", 0);
	check_date("2000-02-29T12:34:56Z", 951827696);
	check_date("2026-11-24 03:04", 1795489440);
	check_date("2026-11-24T03:04:00+01:00", 1795485840);
	check_date("1969-12-31T23:59:59.5", -0.5);
	check_date("0001-01-01", -62135596800);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check_date(bad[i], NAN);
	for (double seconds = -62135596800; seconds < 253402300800; seconds += 86400 * 97.3) {
		struct mmq_datetime parts = mmq_datetime_split(seconds);
		char text[32];
		double again;
		snprintf(text, sizeof(text), "%04d-%02d-%02d", parts.year, parts.month, parts.day);
		assert_int_equal(mmq_datetime_parse(text, strlen(text), &again), 0);
		assert_true(seconds - again >= 0 && seconds - again < 86400);
	}
	assert_int_equal(mmq_datetime_split(951827696).weekday, 1);
}

static void
test_profile_counts_and_quantiles(void **unused)
{
	struct mmq_schema schema;
	struct mmq_buf out;
	struct mmq_reader reader;
	struct mmq_token token;

	(void)unused;
	read_csv("n,c\n0,a\n10,b\n,a\n5,\n");
	mmq_schema_init(&schema);
	assert_int_equal(mmq_schema_infer(&schema, &frame, &err), 0);
	mmq_buf_init(&out, 4096);
	mmq_profile_write(&frame, &schema, NULL, 4, &out);
	assert_int_equal(mmq_wire_check(out.bytes, out.size, &err), 0);
	mmq_reader_init(&reader, out.bytes, out.size);
	double sum = 0;
	bool in_edges = false, saw_top = false;
	while (!mmq_reader_is_done(&reader)) {
		assert_true(mmq_read(&reader, &token));
		if (mmq_read_is(&token, "edges")) {
			in_edges = true;
		} else if (in_edges && token.type == MMQ_T_FLOAT) {
			sum += token.f;
		} else if (mmq_read_is(&token, "top")) {
			saw_top = true;
		} else if (saw_top && token.type == MMQ_T_STR) {
			assert_true(mmq_read_is(&token, "a"));
			break;
		} else if (in_edges && token.type == MMQ_T_MAP) {
			in_edges = false;
		}
	}
	assert_true(saw_top && fabs(sum - 55) < 1e-9);  /* 0 1 2 .. 10 */
	mmq_buf_fini(&out);
	mmq_schema_fini(&schema);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_canonical_numbers),
		cmocka_unit_test(test_many_columns_stay_in_order),
		cmocka_unit_test(test_kinds_are_inferred),
		cmocka_unit_test(test_request_schema_wins_and_survives_a_model_file),
		cmocka_unit_test(test_task_rule),
		cmocka_unit_test(test_classes_are_sorted_and_typed),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_profile_counts_and_quantiles),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
