/* test_mpack.c: what the packer writes the cursor reads; what lies about its size is refused before it is believed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mpack/reader.h"
#include "mpack/writer.h"

static const int64_t ints[] = { 0, 1, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, INT64_MAX, -1, -32, -33, -128, -129, -32768,
	-32769, INT32_MIN, (int64_t)INT32_MIN - 1, INT64_MIN };

static void
test_every_kind_of_value_comes_back(void **state)
{
	(void)state;
	struct mmq_buf buf;
	struct mmq_reader reader;
	struct mmq_token token;
	const double doubles[] = { 0.5, NAN, -1e308 };
	const size_t lengths[] = { 0, 31, 32, 255, 256, 65535, 65536 };
	char *text = calloc(1, 65537);

	mmq_buf_init(&buf, 1 << 20);
	memset(text, 'a', 65536);
	for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++)
		mmq_put_int(&buf, ints[i]);
	for (size_t i = 0; i < 7; i++) {
		mmq_put_strn(&buf, text, lengths[i]);
		mmq_put_bin(&buf, text, lengths[i]);
	}
	mmq_put_uint(&buf, UINT64_MAX);
	mmq_put_nil(&buf);
	mmq_put_bool(&buf, true);
	mmq_put_double(&buf, NAN);
	mmq_put_doubles(&buf, doubles, 3);
	size_t place = mmq_put_map_begin(&buf);
	mmq_put_str(&buf, "k");
	mmq_put_str(&buf, NULL);
	mmq_put_map_end(&buf, place, 1);
	assert_false(buf.failed);

	mmq_reader_init(&reader, buf.bytes, buf.size);
	for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
		assert_true(mmq_read(&reader, &token));
		assert_int_equal(token.type, MMQ_T_INT);
		assert_int_equal(token.i, ints[i]);
	}
	for (size_t i = 0; i < 7; i++) {
		assert_true(mmq_read(&reader, &token) && token.type == MMQ_T_STR && token.size == lengths[i]);
		assert_true(mmq_read(&reader, &token) && token.type == MMQ_T_BIN && token.size == lengths[i]);
	}
	assert_true(mmq_read(&reader, &token) && token.type == MMQ_T_UINT && token.u == UINT64_MAX);
	assert_true(mmq_read(&reader, &token) && token.type == MMQ_T_NIL);
	assert_true(mmq_read(&reader, &token) && token.type == MMQ_T_BOOL && token.boolean);
	assert_true(mmq_read(&reader, &token) && token.type == MMQ_T_NIL);
	assert_true(mmq_read(&reader, &token) && token.type == MMQ_T_ARRAY && token.size == 3);
	assert_true(mmq_read(&reader, &token) && token.f == 0.5);
	assert_int_equal(mmq_read_peek(&reader), MMQ_T_NIL);
	assert_true(mmq_read_skip(&reader));
	assert_true(mmq_read(&reader, &token) && token.f == -1e308);
	const uint8_t *raw;
	size_t raw_size;
	assert_true(mmq_read_raw(&reader, &raw, &raw_size));
	assert_int_equal(raw_size, 5 + 2 + 1);
	assert_true(mmq_reader_is_done(&reader));
	assert_false(mmq_read(&reader, &token));
	mmq_buf_fini(&buf);
	free(text);
}

static void
refused(const void *bytes, size_t size, const char *part_of_message)
{
	struct mmq_err err = { 0 };
	uint8_t *copy = malloc(size > 0 ? size : 1);  /* exact size, so that a sanitizer sees one byte too far */
	memcpy(copy, bytes, size);
	assert_int_equal(mmq_wire_check(copy, size, &err), -1);
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	if (strstr(err.message, part_of_message) == NULL)
		fail_msg("'%s' does not say '%s'", err.message, part_of_message);
	free(copy);
}

static void
test_lies_and_junk_are_refused(void **state)
{
	(void)state;
	uint8_t deep[40];
	memset(deep, 0x91, sizeof(deep));
	deep[39] = 0xc0;
	refused("", 0, "truncated");
	refused("\xc1", 1, "0xc1");
	refused("\xdd\xff\xff\xff\xff", 5, "more elements");
	refused("\xdf\x0f\x00\x00\x00", 5, "more elements");
	refused("\xdb\xff\xff\xff\xff" "abc", 8, "more bytes");
	refused("\xc6\x40\x00\x00\x00" "abc", 8, "more bytes");
	refused("\xcb\x00\x00", 3, "truncated");
	refused("\xc0\xc0", 2, "1 bytes after its end");
	refused(deep, sizeof(deep), "deeper than 16");
	refused("\xa2\xc3\x28", 3, "UTF-8");
	refused("\xa3\xed\xa0\x80", 4, "UTF-8");
	refused("\xa2\xc0\x80", 3, "UTF-8");
	refused("\xa4\xf4\x90\x80\x80", 5, "UTF-8");
}

static void
test_nesting_up_to_the_limit_is_fine(void **state)
{
	(void)state;
	uint8_t deep[17];
	memset(deep, 0x91, 16);
	deep[16] = 0xc0;
	assert_int_equal(mmq_wire_check(deep, sizeof(deep), NULL), 0);
	assert_int_equal(mmq_wire_check("\xa4\xf0\x9f\x98\x80", 5, NULL), 0);
}

static void
test_amplifier_of_nested_arrays_costs_nothing(void **state)
{
	(void)state;
	/* array16 headers that each announce all the bytes left: an object tree would take megabytes, the cursor none. */
	uint8_t bytes[93];
	for (size_t i = 0; i + 3 <= sizeof(bytes); i += 3) {
		bytes[i] = 0xdc;
		bytes[i + 1] = 0;
		bytes[i + 2] = (uint8_t)(sizeof(bytes) - i - 3);
	}
	refused(bytes, sizeof(bytes), "deeper than 16");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kind_of_value_comes_back),
		cmocka_unit_test(test_lies_and_junk_are_refused),
		cmocka_unit_test(test_nesting_up_to_the_limit_is_fine),
		cmocka_unit_test(test_amplifier_of_nested_arrays_costs_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
