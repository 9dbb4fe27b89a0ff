/* test_number.c: the fast number parser gives strtod's bits, and nothing else passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "math/rng.h"
#include "util/hash.h"
#include "util/number.h"

static void
check_equals_strtod(const char *text)
{
	double got, want = strtod(text, NULL);

	if (!mmq_number_parse(text, strlen(text), &got))
		fail_msg("'%s' was refused", text);
	if (memcmp(&got, &want, sizeof(got)) != 0)
		fail_msg("'%s': got %.17g, want %.17g", text, got, want);
}

static void
test_same_bits_as_strtod(void **unused)
{
	static const char *const fixed[] = { "0", "-0", "+1", ".5", "5.", "1e22", "1e23", "9007199254740993", "9007199254740992", "1e-22", "123456789012345678901",
		"4.9e-324", "1.7976931348623157e308", "2.2250738585072011e-308", "0.1", "1E+2", "00012.50", "0e999", "3.14159265358979323846264338327950288" };
	struct mmq_rng rng = mmq_rng_stream(1, 2, 3);
	char text[64];

	(void)unused;
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		check_equals_strtod(fixed[i]);
	for (int i = 0; i < 20000; i++) {
		uint64_t bits = mmq_rng_next(&rng);
		double value;
		memcpy(&value, &bits, sizeof(value));
		if (!isfinite(value))
			continue;
		snprintf(text, sizeof(text), "%.*g", (int)(bits % 17) + 1, value);
		if (isfinite(strtod(text, NULL)))
			check_equals_strtod(text);
		snprintf(text, sizeof(text), "%.*f", (int)(bits % 9), (mmq_rng_uniform(&rng) - 0.5) * 1e6);
		check_equals_strtod(text);
	}
}

static void
test_what_is_no_number_is_refused(void **unused)
{
	static const char *const bad[] = { "", "-", "+", ".", "e5", "1e", "1e+", "1x", "0x10", "inf", "-Infinity", "1e999", "1 ", " 1", "1,5", "--1", "1.2.3", "nano" };
	double value;

	(void)unused;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (mmq_number_parse(bad[i], strlen(bad[i]), &value))
			fail_msg("'%s' passed as %g", bad[i], value);
	assert_true(mmq_number_parse("NaN", 3, &value) && isnan(value));
	char long_text[600];
	memset(long_text, '1', sizeof(long_text));
	assert_false(mmq_number_parse(long_text, sizeof(long_text), &value));
}

static void
test_unsigned_stay_within_max(void **unused)
{
	uint64_t value;

	(void)unused;
	assert_true(mmq_number_parse_uint("4294967295", 10, UINT32_MAX, &value) && value == UINT32_MAX);
	assert_false(mmq_number_parse_uint("4294967296", 10, UINT32_MAX, &value));
	assert_false(mmq_number_parse_uint("18446744073709551616", 20, UINT64_MAX, &value));
	assert_true(mmq_number_parse_uint("18446744073709551615", 20, UINT64_MAX, &value) && value == UINT64_MAX);
	assert_false(mmq_number_parse_uint("", 0, 9, &value));
	assert_false(mmq_number_parse_uint("-1", 2, 9, &value));
	assert_false(mmq_number_parse_uint("7", 1, 6, &value));
}

/* Test vectors of MurmurHash3_x86_32 as published with other implementations of it. */
static void
test_murmur3_known_values(void **unused)
{
	(void)unused;
	assert_int_equal(mmq_murmur3_32("", 0, 0), 0);
	assert_int_equal(mmq_murmur3_32("", 0, 1), 0x514e28b7);
	assert_int_equal(mmq_murmur3_32("\xff\xff\xff\xff", 4, 0), 0x76293b50);
	assert_int_equal(mmq_murmur3_32("\x21\x43\x65\x87", 4, 0), 0xf55b516b);
	assert_int_equal(mmq_murmur3_32("\x21\x43\x65", 3, 0), 0x7e4a8634);
	assert_int_equal(mmq_murmur3_32("\x21", 1, 0), 0x72661cf4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_bits_as_strtod),
		cmocka_unit_test(test_what_is_no_number_is_refused),
		cmocka_unit_test(test_unsigned_stay_within_max),
		cmocka_unit_test(test_murmur3_known_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
