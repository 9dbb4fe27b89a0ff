/* test_csv.c: RFC 4180 as read by the service: quotes, line ends, missing against empty, types, limits, errors with a place; damage never crashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/csv.h"

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

static int
read_csv(const char *csv, struct mmq_csv_options options)
{
	if (options.limits.rows_max == 0)
		options.limits = MMQ_DATA_LIMITS_DEFAULT;
	mmq_frame_reset(&frame);
	return mmq_csv_read(&frame, csv, strlen(csv), "t.csv", &options, &err);
}

static void
check_text(size_t col, size_t row, const char *want)
{
	struct mmq_text text = mmq_column_text(&frame.columns[col], row);

	if (want == NULL) {
		assert_null(text.at);
		return;
	}
	assert_int_equal(text.size, strlen(want));
	assert_memory_equal(text.at, want, text.size);
}

static void
test_quotes_line_ends_and_missing(void **unused)
{
	(void)unused;
	assert_int_equal(read_csv("\xef\xbb\xbf" "a,\"b \"\"q\"\"\",c\r\n1,\"x, y\",\r\n ,\"\",\"two\nlines \"\"\"\r\n,plain,z", (struct mmq_csv_options){ 0 }), 0);
	assert_int_equal(frame.rows, 3);
	assert_int_equal(frame.columns_count, 3);
	assert_string_equal(frame.columns[1].name, "b \"q\"");
	check_text(0, 1, " ");       /* a space is text, so the column is */
	check_text(0, 2, NULL);
	check_text(1, 0, "x, y");
	check_text(1, 1, "");        /* quoted empty is a value */
	check_text(2, 0, NULL);      /* unquoted empty is missing */
	check_text(2, 1, "two\nlines \"");
	check_text(2, 2, "z");
}

static void
test_types(void **unused)
{
	(void)unused;
	assert_int_equal(read_csv("n,b,t,all\n1e3,true,1,\n,False,x,\n -2.5,,true,\n", (struct mmq_csv_options){ 0 }), 0);
	assert_int_equal(frame.columns[0].type, MMQ_COLUMN_NUMBER);
	assert_true(frame.columns[0].numbers[0] == 1000 && isnan(frame.columns[0].numbers[1]) && frame.columns[0].numbers[2] == -2.5);
	assert_true(frame.columns[1].is_boolean);
	check_text(1, 1, "false");
	check_text(1, 2, NULL);
	assert_int_equal(frame.columns[2].type, MMQ_COLUMN_TEXT);
	assert_false(frame.columns[2].is_boolean);
	assert_true(frame.columns[3].type == MMQ_COLUMN_NUMBER && isnan(frame.columns[3].numbers[2]));
}

static void
test_names_delimiter_and_schema(void **unused)
{
	static const char *const names[] = { "x", "y" };
	struct mmq_schema schema;

	(void)unused;
	assert_int_equal(read_csv("1;2\n\n3;4\n", (struct mmq_csv_options){ .delimiter = ';', .names = names, .names_count = 2 }), 0);
	assert_int_equal(frame.rows, 2);
	assert_true(mmq_frame_find(&frame, "y")->numbers[1] == 4);
	mmq_schema_init(&schema);
	mmq_schema_add(&schema, "x", MMQ_FIELD_CATEGORICAL, MMQ_ROLE_FEATURE)->kind_is_set = true;
	mmq_schema_add(&schema, "y", MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE)->kind_is_set = true;
	assert_int_equal(read_csv("y,x\n1,7\n", (struct mmq_csv_options){ .schema = &schema }), 0);
	check_text(1, 0, "7");
	assert_int_equal(read_csv("y,x\n1,7\nred,8\n", (struct mmq_csv_options){ .schema = &schema }), -1);
	assert_non_null(strstr(err.message, "t.csv, line 3, column 1 'y': not a number"));
	mmq_schema_fini(&schema);
}

static void
check_refused(const char *csv, const char *part)
{
	assert_int_equal(read_csv(csv, (struct mmq_csv_options){ 0 }), -1);
	if (strstr(err.message, part) == NULL)
		fail_msg("'%s' does not say '%s'", err.message, part);
}

static void
test_errors_name_the_place(void **unused)
{
	(void)unused;
	check_refused("", "empty");
	check_refused("a,b\n1,2\n3\n", "line 3, column 2 'b'");
	check_refused("a,b\n1,2,3\n", "line 2, column 3");
	check_refused("a,b\n\"x\ny\",1\n1,\"open\n", "line 4, column 2 'b': the quote");
	check_refused("a,b\n1,x\"y\n", "a quote inside");
	check_refused("a,b\n1,\"x\"y\n", "after a closing quote");
	check_refused("a,a\n1,2\n", "'a' twice");
	check_refused("a,\n1,2\n", "column name is empty");
	check_refused("a\n\xff\n", "UTF-8");
}

static void
test_limits(void **unused)
{
	struct mmq_data_limits limits = MMQ_DATA_LIMITS_DEFAULT;

	(void)unused;
	limits.rows_max = 2;
	limits.cols_max = 2;
	limits.cell_bytes_max = 4;
	assert_int_equal(read_csv("a,b\n1,2\n3,4\n", (struct mmq_csv_options){ .limits = limits }), 0);
	static const char *const over[] = { "a,b\n1,2\n3,4\n5,6\n", "a,b,c\n", "a,b\n1,abcde\n" };
	for (int i = 0; i < 3; i++) {
		assert_int_equal(read_csv(over[i], (struct mmq_csv_options){ .limits = limits }), -1);
		assert_int_equal(err.code, MMQ_RESOURCE_EXHAUSTED);
	}
	limits.bytes_max = 3;
	assert_int_equal(read_csv("a\n1\n", (struct mmq_csv_options){ .limits = limits }), -1);
	assert_int_equal(err.code, MMQ_RESOURCE_EXHAUSTED);
}

/* Every prefix and every changed byte is read or refused with a sentence. Copies are exact, so that a read past the end is seen by a sanitizer. */
static void
test_damage_never_crashes(void **unused)
{
	static const char csv[] = "a,\"b\"\"\",c\r\n1,\"x, y\",true\r\n,\"\",\n2e5,\"two\nlines\",false\n";
	static const char swaps[] = { '"', ',', '\n', '\r', '\0', 'e', (char)0xff };
	size_t size = sizeof(csv) - 1, good = 0;
	struct mmq_csv_options options = { .limits = MMQ_DATA_LIMITS_DEFAULT };

	(void)unused;
	for (size_t cut = 0; cut <= size; cut++) {
		char *copy = malloc(cut > 0 ? cut : 1);
		memcpy(copy, csv, cut);
		mmq_frame_reset(&frame);
		good += mmq_csv_read(&frame, copy, cut, "t.csv", &options, &err) == 0;
		free(copy);
	}
	for (size_t at = 0; at < size; at++)
		for (size_t k = 0; k < sizeof(swaps); k++) {
			char *copy = malloc(size);
			memcpy(copy, csv, size);
			copy[at] = swaps[k];
			mmq_frame_reset(&frame);
			if (mmq_csv_read(&frame, copy, size, "t.csv", &options, &err) == 0)
				good++;
			else
				assert_true(err.message[0] != '\0');
			free(copy);
		}
	assert_true(good > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quotes_line_ends_and_missing),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_names_delimiter_and_schema),
		cmocka_unit_test(test_errors_name_the_place),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_damage_never_crashes),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
