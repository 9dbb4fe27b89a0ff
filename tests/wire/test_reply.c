/* test_reply.c: what predict answers hold, read back value by value, and answers with more keys in front for the sink. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mpack/writer.h"
#include "wire/reply.h"

static const struct mmq_head head = { .id = { "a", 1 } };

/* The reader before outputs.<key>. */
static struct mmq_reader
output(const struct mmq_buf *out, const char *key)
{
	struct mmq_reader outputs, value;
	const uint8_t *bytes;
	size_t size;

	assert_int_equal(mmq_wire_check(out->bytes, out->size, NULL), 0);
	assert_true(mmq_peek_find(out->bytes, out->size, "outputs", &outputs));
	assert_true(mmq_read_raw(&outputs, &bytes, &size));
	assert_true(mmq_peek_find(bytes, size, key, &value));
	return value;
}

static void
expect_array(struct mmq_reader *reader, uint32_t size)
{
	struct mmq_token token;
	assert_true(mmq_read(reader, &token));
	assert_int_equal(token.type, MMQ_T_ARRAY);
	assert_int_equal(token.size, size);
}

static void
expect_number(struct mmq_reader *reader, double number)
{
	struct mmq_token token;
	assert_true(mmq_read(reader, &token));
	if (isnan(number))
		assert_int_equal(token.type, MMQ_T_NIL);
	else
		assert_true(token.f == number);
}

static void
test_classification_with_a_bad_row(void **state)
{
	char *texts[] = { "no", "yes" };
	const struct mmq_classes classes = { .type = MMQ_LABEL_TEXT, .count = 2, .texts = texts };
	const uint32_t label[] = { 1, 0, 0 };
	const double probability[] = { 0.25, 0.75, 9, 9, 0.5, 0.5 }, score[] = { 1, 9, 0 };
	struct mmq_row_errors errors = { 0 };
	struct mmq_err err;
	struct mmq_buf out;
	struct mmq_token token;
	(void)state;

	mmq_err_value(&err, MMQ_INVALID_ARGUMENT, "rows[1].x", "a number", "a string");
	mmq_row_errors_add(&errors, 1, &err);
	struct mmq_predict_reply reply = { .model = "m", .version = 2, .alias = { "production", 10 }, .task = "binary", .rows = 3, .score_cols = 1,
		.classes = &classes, .positive = 1, .label = label, .probability = probability, .score = score, .row_errors = &errors,
		.row_ids = { (const uint8_t *)"\x93\x01\x02\x03", 4 } };
	mmq_buf_init(&out, 1 << 16);
	mmq_reply_predict(&out, &head, &reply);
	struct mmq_reader reader = output(&out, "prediction");
	expect_array(&reader, 3);
	assert_true(mmq_read(&reader, &token) && mmq_read_is(&token, "yes"));
	assert_true(mmq_read(&reader, &token) && token.type == MMQ_T_NIL);
	assert_true(mmq_read(&reader, &token) && mmq_read_is(&token, "no"));
	reader = output(&out, "probability");
	expect_array(&reader, 3);
	expect_array(&reader, 2);
	expect_number(&reader, 0.25);
	expect_number(&reader, 0.75);
	expect_number(&reader, NAN);
	reader = output(&out, "score");
	expect_array(&reader, 3);
	expect_number(&reader, 1);
	expect_number(&reader, NAN);
	assert_true(mmq_peek_find(out.bytes, out.size, "positive", &reader) && mmq_read(&reader, &token) && mmq_read_is(&token, "yes"));
	assert_true(mmq_peek_find(out.bytes, out.size, "row_errors", &reader));
	expect_array(&reader, 1);
	assert_true(mmq_peek_find(out.bytes, out.size, "row_ids", &reader));
	expect_array(&reader, 3);
	mmq_row_errors_fini(&errors);
	mmq_buf_fini(&out);
}

static void
test_tensors_hold_nan_for_bad_rows(void **state)
{
	const double value[] = { 1.5, 7 };
	struct mmq_row_errors errors = { 0 };
	struct mmq_buf out;
	struct mmq_reader data;
	struct mmq_token token;
	const uint8_t *bytes;
	size_t size;
	double got[2];
	(void)state;

	mmq_row_errors_add(&errors, 1, &(struct mmq_err){ .code = MMQ_INVALID_ARGUMENT, .message = "x" });
	struct mmq_predict_reply reply = { .model = "m", .version = 1, .task = "regression", .rows = 2, .positive = -1, .value = value, .as_tensor = true,
		.row_errors = &errors };
	mmq_buf_init(&out, 1 << 16);
	mmq_reply_predict(&out, &head, &reply);
	struct mmq_reader reader = output(&out, "prediction");
	assert_true(mmq_read_raw(&reader, &bytes, &size));
	assert_true(mmq_peek_find(bytes, size, "data", &data) && mmq_read(&data, &token));
	assert_int_equal(token.type, MMQ_T_BIN);
	assert_int_equal(token.size, sizeof(got));
	memcpy(got, token.bytes, sizeof(got));
	assert_true(got[0] == 1.5 && isnan(got[1]));
	mmq_row_errors_fini(&errors);
	mmq_buf_fini(&out);
}

static void
test_contributions_and_pair_names(void **state)
{
	int64_t ints[] = { 3, 5, 8 };
	const struct mmq_classes classes = { .type = MMQ_LABEL_INT, .count = 3, .ints = ints };
	const double score[] = { 1, 2, 3 }, contribution[] = { 1, 2, 3, 4, 5, 6 }, base[] = { 0.5, 0.25, 0.125 };
	const char *const names[] = { "x", "y" };
	struct mmq_predict_reply reply = { .model = "m", .version = 1, .task = "multiclass", .rows = 1, .score_cols = 3, .columns = 2, .classes = &classes,
		.positive = -1, .score_is_pairwise = true, .score = score, .contribution = contribution, .base = base, .column_names = names,
		.contribution_method = "exact" };
	struct mmq_buf out;
	struct mmq_token token;
	struct mmq_reader reader;
	(void)state;

	mmq_buf_init(&out, 1 << 16);
	mmq_reply_predict(&out, &head, &reply);
	reader = output(&out, "contribution");
	expect_array(&reader, 1);
	expect_array(&reader, 3);
	expect_array(&reader, 2);
	expect_number(&reader, 1);
	expect_number(&reader, 2);
	expect_array(&reader, 2);
	expect_number(&reader, 3);
	reader = output(&out, "base");
	expect_array(&reader, 3);
	assert_true(mmq_peek_find(out.bytes, out.size, "score_names", &reader));
	expect_array(&reader, 3);
	assert_true(mmq_read(&reader, &token) && mmq_read_is(&token, "3|5"));
	assert_true(mmq_read(&reader, &token) && mmq_read_is(&token, "3|8"));
	assert_true(mmq_read(&reader, &token) && mmq_read_is(&token, "5|8"));
	mmq_buf_fini(&out);
}

static void
test_splice_puts_keys_in_front(void **state)
{
	struct mmq_buf answer, extra, out;
	struct mmq_reader reader;
	struct mmq_token token;
	struct mmq_err err;
	(void)state;

	mmq_buf_init(&answer, 1024);
	mmq_buf_init(&extra, 1024);
	mmq_buf_init(&out, 1024);
	mmq_reply_begin(&answer, &head, 1);
	mmq_put_str(&answer, "time_ms");
	mmq_put_int(&answer, 7);
	mmq_put_str(&extra, "n");
	mmq_put_int(&extra, 4);
	assert_int_equal(mmq_reply_splice(&out, &extra, 1, answer.bytes, answer.size, &err), 0);
	assert_int_equal(mmq_wire_check(out.bytes, out.size, &err), 0);
	assert_true(mmq_peek_find(out.bytes, out.size, "n", &reader) && mmq_read(&reader, &token) && token.i == 4);
	assert_true(mmq_peek_find(out.bytes, out.size, "time_ms", &reader) && mmq_read(&reader, &token) && token.i == 7);
	assert_int_equal(mmq_reply_splice(&out, &extra, 1, "\x90", 1, &err), -1);
	mmq_buf_fini(&answer);
	mmq_buf_fini(&extra);
	mmq_buf_fini(&out);
}

/* Error texts are cut at their field's size; the cut must not leave half a character in an answer. */
static void
test_errors_are_utf8_even_when_cut(void **state)
{
	struct mmq_err err, got, why;
	struct mmq_buf out;
	bool ok;
	(void)state;

	mmq_buf_init(&out, 4096);
	for (int pad = 0; pad < 3; pad++) {
		char long_text[600];
		memset(long_text, 'x', sizeof(long_text));
		for (int i = pad; i + 3 <= 597; i += 3)
			memcpy(long_text + i, "\xe2\x82\xac", 3);
		long_text[598] = '\0';
		mmq_err_value(&err, MMQ_RESOURCE_EXHAUSTED, long_text, long_text, "%s", long_text);
		err.retry_after_ms = 9;
		mmq_buf_reset(&out);
		mmq_reply_error(&out, &head, &err);
		assert_int_equal(mmq_wire_check(out.bytes, out.size, &why), 0);
		assert_int_equal(mmq_reply_read(out.bytes, out.size, &ok, &got, &why), 0);
		assert_false(ok);
		assert_int_equal(got.code, MMQ_RESOURCE_EXHAUSTED);
		assert_int_equal(got.retry_after_ms, 9);
	}
	mmq_buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classification_with_a_bad_row), cmocka_unit_test(test_tensors_hold_nan_for_bad_rows),
		cmocka_unit_test(test_contributions_and_pair_names),  cmocka_unit_test(test_splice_puts_keys_in_front),
		cmocka_unit_test(test_errors_are_utf8_even_when_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
