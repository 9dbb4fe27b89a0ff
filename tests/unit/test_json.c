/* test_json.c: a card that goes to JSON and comes back says the same; what is no value is refused, not guessed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "model/json.h"
#include "mpack/writer.h"

static void
test_there_and_back_says_the_same(void **state)
{
	struct mmq_buf packed, text, again;
	struct mmq_err err;

	(void)state;
	mmq_buf_init(&packed, 1 << 16);
	mmq_buf_init(&text, 1 << 16);
	mmq_buf_init(&again, 1 << 16);
	mmq_put_map(&packed, 6);
	mmq_put_str(&packed, "text");
	mmq_put_str(&packed, "gr\xc3\xbcn \"quoted\"\n");
	mmq_put_str(&packed, "int");
	mmq_put_int(&packed, INT64_MIN);
	mmq_put_str(&packed, "double");
	mmq_put_double(&packed, 0.1);
	mmq_put_str(&packed, "nothing");
	mmq_put_nil(&packed);
	mmq_put_str(&packed, "list");
	mmq_put_array(&packed, 3);
	mmq_put_bool(&packed, true);
	mmq_put_array(&packed, 0);
	mmq_put_map(&packed, 0);
	mmq_put_str(&packed, "");
	mmq_put_bool(&packed, false);
	assert_int_equal(mmq_json_encode(packed.bytes, packed.size, &text, &err), 0);
	assert_int_equal(mmq_json_decode(text.bytes, text.size, &again, &err), 0);
	assert_int_equal(again.size, packed.size);
	assert_memory_equal(again.bytes, packed.bytes, packed.size);
	mmq_buf_fini(&packed);
	mmq_buf_fini(&text);
	mmq_buf_fini(&again);
}

static void
test_what_json_cannot_say_becomes_null_or_hexadecimal(void **state)
{
	struct mmq_buf packed, text;
	struct mmq_err err;

	(void)state;
	mmq_buf_init(&packed, 1024);
	mmq_buf_init(&text, 1024);
	mmq_put_array(&packed, 3);
	mmq_put_double(&packed, NAN);
	mmq_put_double(&packed, INFINITY);
	mmq_put_bin(&packed, "\x00\xff", 2);
	assert_int_equal(mmq_json_encode(packed.bytes, packed.size, &text, &err), 0);
	assert_string_equal(mmq_buf_text(&text), "[\n null,\n null,\n \"00ff\"\n]");
	mmq_buf_fini(&packed);
	mmq_buf_fini(&text);
}

/* depth lists around a nil. */
static int
encode_nested(unsigned depth, struct mmq_err *err)
{
	struct mmq_buf packed, text;

	mmq_buf_init(&packed, 1024);
	mmq_buf_init(&text, 1024);
	for (unsigned i = 0; i < depth; i++)
		mmq_put_array(&packed, 1);
	mmq_put_nil(&packed);
	int result = mmq_json_encode(packed.bytes, packed.size, &text, err);
	mmq_buf_fini(&packed);
	mmq_buf_fini(&text);
	return result;
}

static void
test_depth_is_bounded_both_ways(void **state)
{
	char text[101];
	struct mmq_buf out;
	struct mmq_err err;

	(void)state;
	assert_int_equal(encode_nested(16, &err), 0);
	assert_int_equal(encode_nested(18, &err), -1);
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	memset(text, '[', 50);
	memset(text + 50, ']', 50);
	mmq_buf_init(&out, 1024);
	assert_int_equal(mmq_json_decode(text, 100, &out, &err), -1);
	assert_int_equal(err.code, MMQ_DATA_LOSS);
	mmq_buf_fini(&out);
}

static void
test_junk_is_refused(void **state)
{
	static const char *const junk[] = { "", "{", "{\"a\":1,\"a\":2}", "[1] 2", "\xff", "{\"a\"}", "nul" };
	static const uint8_t packed[][3] = { { 0x82, 0xa1, 'a' }, { 0x81, 0x01, 0x02 }, { 0xc1 }, { 0x01, 0x02 } };
	struct mmq_buf out;
	struct mmq_err err;

	(void)state;
	mmq_buf_init(&out, 1024);
	for (size_t i = 0; i < sizeof(junk) / sizeof(*junk); i++) {
		assert_int_equal(mmq_json_decode(junk[i], strlen(junk[i]), &out, &err), -1);
		assert_int_equal(err.code, MMQ_DATA_LOSS);
	}
	for (size_t i = 0; i < sizeof(packed) / sizeof(*packed); i++)
		assert_int_equal(mmq_json_encode(packed[i], sizeof(packed[i]), &out, &err), -1);
	mmq_buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back_says_the_same),
		cmocka_unit_test(test_what_json_cannot_say_becomes_null_or_hexadecimal),
		cmocka_unit_test(test_depth_is_bounded_both_ways),
		cmocka_unit_test(test_junk_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
