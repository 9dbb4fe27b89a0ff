/* test_distance.c: edit distances that can be counted by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/distance.h"

static void
test_known_distances(void **unused)
{
	(void)unused;
	static const struct { const char *a, *b; size_t distance; } cases[] = { { "", "", 0 }, { "abc", "abc", 0 }, { "ABC", "abc", 0 }, { "", "abc", 3 },
		{ "abc", "", 3 }, { "kitten", "sitting", 3 }, { "flaw", "lawn", 2 }, { "alpha", "alhpa", 2 }, { "a", "b", 1 } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(mmq_distance_words(cases[i].a, strlen(cases[i].a), cases[i].b), cases[i].distance);
}

static void
test_long_words_are_far_from_all(void **unused)
{
	(void)unused;
	char word[MMQ_DISTANCE_WORD_MAX + 2];
	memset(word, 'x', sizeof(word));
	word[sizeof(word) - 1] = '\0';
	assert_true(mmq_distance_words(word, MMQ_DISTANCE_WORD_MAX + 1, "x") == SIZE_MAX);
	assert_true(mmq_distance_words("x", 1, word) == SIZE_MAX);
	assert_int_equal(mmq_distance_words(word, MMQ_DISTANCE_WORD_MAX, "x"), MMQ_DISTANCE_WORD_MAX - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_distances),
		cmocka_unit_test(test_long_words_are_far_from_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
