/* test_util.c: errors are cut and never overflow, sizes are checked, buffers keep to their maximum, arenas give back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/buf.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

static void
test_err_value_names_field_got_and_want(void **state)
{
	(void)state;
	struct mmq_err err;
	assert_int_equal(mmq_err_value(&err, MMQ_INVALID_ARGUMENT, "params.C", "a number > 0", "%g", -1.5), -1);
	assert_string_equal(err.message, "params.C: got -1.5, want a number > 0");
	assert_string_equal(err.field, "params.C");
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	mmq_err_prefix(&err, "model %s", "iris");
	assert_string_equal(err.message, "model iris: params.C: got -1.5, want a number > 0");
	assert_int_equal(mmq_err_set(NULL, MMQ_INTERNAL, "nobody listens"), -1);
}

static void
test_err_cuts_long_texts(void **state)
{
	(void)state;
	struct mmq_err err;
	char long_text[2000];
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	mmq_err_value(&err, MMQ_INVALID_ARGUMENT, long_text, long_text, "%s", long_text);
	mmq_err_prefix(&err, "%s", long_text);
	assert_true(strlen(err.message) < sizeof(err.message));
	assert_true(strlen(err.field) < sizeof(err.field));
}

static void
test_code_names_round_trip(void **state)
{
	(void)state;
	for (int code = 0; code < MMQ_CODE_COUNT; code++)
		assert_int_equal(mmq_code_from_name(mmq_code_name((enum mmq_code)code)), code);
	assert_int_equal(mmq_code_from_name("NO_SUCH_CODE"), MMQ_INTERNAL);
	assert_true(mmq_code_is_retryable(MMQ_UNAVAILABLE));
	assert_false(mmq_code_is_retryable(MMQ_INVALID_ARGUMENT));
}

static void
test_sizes_that_overflow_are_refused(void **state)
{
	(void)state;
	size_t product;
	assert_false(mmq_size_mul(SIZE_MAX / 2, 3, &product));
	assert_true(mmq_size_mul(6, 7, &product));
	assert_int_equal(product, 42);
	assert_null(mmq_try_array(SIZE_MAX / 2, 3));
	assert_null(mmq_try_aligned(SIZE_MAX - 8));
	void *aligned = mmq_aligned(3);
	assert_int_equal((uintptr_t)aligned % 64, 0);
	free(aligned);
}

static void
test_buf_keeps_to_its_maximum(void **state)
{
	(void)state;
	struct mmq_buf buf;
	mmq_buf_init(&buf, 10);
	mmq_buf_append(&buf, "12345678", 8);
	assert_false(buf.failed);
	mmq_buf_append(&buf, "9ab", 3);
	assert_true(buf.failed);
	assert_int_equal(buf.size, 8);
	mmq_buf_append(&buf, "9", 1);  /* still failed: a message with a hole in it is worse than none */
	assert_int_equal(buf.size, 8);
	assert_string_equal(mmq_buf_text(&buf), "12345678");
	mmq_buf_reset(&buf);
	mmq_buf_printf(&buf, "%s", "0123456789");
	assert_false(buf.failed);
	assert_string_equal(mmq_buf_text(&buf), "0123456789");
	mmq_buf_fini(&buf);
}

static void
test_buf_printf_past_its_small_room(void **state)
{
	(void)state;
	struct mmq_buf buf;
	char text[1000];
	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	mmq_buf_init(&buf, 4096);
	mmq_buf_printf(&buf, "<%s>", text);
	assert_int_equal(buf.size, sizeof(text) - 1 + 2);
	size_t size;
	uint8_t *bytes = mmq_buf_take(&buf, &size);
	assert_int_equal(bytes[size - 1], '>');
	assert_int_equal(buf.size, 0);
	free(bytes);
}

static void
test_arena_pieces_are_aligned_and_come_back(void **state)
{
	(void)state;
	struct mmq_arena arena;
	mmq_arena_init(&arena);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 1; i < 300; i++) {
			uint8_t *piece = mmq_arena_get(&arena, i * 7);
			assert_int_equal((uintptr_t)piece % 16, 0);
			memset(piece, 0xee, i * 7);
		}
		char *text = mmq_arena_strndup(&arena, "hello world", 5);
		assert_string_equal(text, "hello");
		mmq_arena_reset(&arena);
		assert_int_equal(arena.used_bytes, 0);
	}
	mmq_arena_fini(&arena);
}

static void
test_clock_formats_utc(void **state)
{
	(void)state;
	char text[32];
	assert_string_equal(mmq_clock_format(0, text), "1970-01-01T00:00:00.000Z");
	assert_string_equal(mmq_clock_format(1764000000123, text), "2025-11-24T16:00:00.123Z");
	int64_t before = mmq_clock_mono_us();
	assert_true(mmq_clock_mono_us() >= before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err_value_names_field_got_and_want),
		cmocka_unit_test(test_err_cuts_long_texts),
		cmocka_unit_test(test_code_names_round_trip),
		cmocka_unit_test(test_sizes_that_overflow_are_refused),
		cmocka_unit_test(test_buf_keeps_to_its_maximum),
		cmocka_unit_test(test_buf_printf_past_its_small_room),
		cmocka_unit_test(test_arena_pieces_are_aligned_and_come_back),
		cmocka_unit_test(test_clock_formats_utc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
