/* test_guard.c: a turn that never ends takes the process along; turns that end, and time between them, do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

#include "predictor/guard.h"
#include "util/clock.h"

static void
burn(int64_t ms)
{
	int64_t until_us = mmq_clock_mono_us() + ms * 1000;
	volatile unsigned x = 0;

	while (mmq_clock_mono_us() < until_us)
		x++;
}

/* Exit code of a process that does this many turns of so many ms each, and lets the last one go on if it hangs. */
static int
run(int turns, int64_t ms, bool hangs)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		if (mmq_guard_turns(100, NULL) == -1)
			_exit(9);
		for (int i = 0; i < turns; i++) {
			mmq_guard_turn_begin();
			burn(ms);
			mmq_guard_turn_end();
		}
		if (hangs)
			mmq_guard_turn_begin();
		burn(hangs ? 20000 : 300);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_a_turn_without_end_ends_the_process(void **state) { (void)state; assert_int_equal(run(3, 1, true), 1); }
static void test_many_short_turns_and_time_between_are_nothing(void **state) { (void)state; assert_int_equal(run(30, 10, false), 0); }

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_turn_without_end_ends_the_process),
		cmocka_unit_test(test_many_short_turns_and_time_between_are_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
