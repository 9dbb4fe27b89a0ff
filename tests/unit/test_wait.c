/* test_wait.c: sleeping until something comes: what is there is told at once, the timeout holds, awake or asleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/clock.h"
#include "util/wait.h"

static void
test_what_is_there_is_told_and_what_is_not_times_out(void **state)
{
	struct mmq_wait wait = { 0 };
	struct pollfd fd = { .events = POLLIN };
	int ends[2];
	char byte = 0;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	fd.fd = ends[0];
	assert_int_equal(mmq_wait_poll(&wait, &fd, 1, 0), 0);
	assert_int_equal(wait.eager, 0);   /* a mere look says nothing about what comes when */
	for (int i = 0; i < 50; i++) {
		assert_int_equal(write(ends[1], &byte, 1), 1);
		assert_int_equal(mmq_wait_poll(&wait, &fd, 1, 1000), 1);
		assert_true(fd.revents & POLLIN);
		assert_int_equal(read(ends[0], &byte, 1), 1);
	}
	assert_true(wait.eager > 0);       /* it came at once each time */
	for (int i = 0; i < 10; i++) {
		int64_t start_us = mmq_clock_mono_us();

		assert_int_equal(mmq_wait_poll(&wait, &fd, 1, 2), 0);
		assert_true(mmq_clock_mono_us() - start_us >= 1900);
	}
	assert_int_equal(wait.eager, 0);   /* lulls: it sleeps again */
	close(ends[0]);
	close(ends[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_what_is_there_is_told_and_what_is_not_times_out) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
