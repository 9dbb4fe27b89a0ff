/* guard.c: SIGBUS is raised by the very instruction that reads, so it arrives on the thread that reads and a jump out of
 * the handler is safe as long as that code holds no lock: engines and hashing hold none. */
#include "predictor/guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Thread_local sigjmp_buf *volatile way_out;
static volatile sig_atomic_t turns, seen;   /* turns is odd within a turn; seen: what it was when the timer last looked */

static void
on_bus(int number)
{
	static const char text[] = "level=error program=modelmq-predictor event=sigbus detail=\"outside of model code\"\n";

	(void)number;
	if (way_out != NULL)
		siglongjmp(*way_out, 1);
	ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)ignored;
	_exit(1);
}

static void
on_time(int number)
{
	static const char text[] = "level=error program=modelmq-predictor event=hang detail=\"one turn took more processor time than hang-ms; leaving for a fresh start\"\n";
	ssize_t ignored;

	(void)number;
	if (turns % 2 == 1 && turns == seen) {
		ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
		(void)ignored;
		_exit(1);
	}
	seen = turns;
}

int
mmq_guard_turns(int64_t cpu_ms, struct mmq_err *err)
{
	struct sigaction action = { .sa_handler = on_time, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGXCPU };
	int64_t half_ns = cpu_ms * 500000;   /* a turn is seen twice before its time is over, and not before half of it */
	struct itimerspec every = { .it_interval = { half_ns / 1000000000, half_ns % 1000000000 } };
	timer_t timer;

	every.it_value = every.it_interval;
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGXCPU, &action, NULL) == -1 || timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) == -1 || timer_settime(timer, 0, &every, NULL) == -1)
		return mmq_err_set(err, MMQ_INTERNAL, "no timer of processor time: %s", strerror(errno));
	return 0;
}

/* Far from INT_MAX: wrapping is not worth a thought at a turn per microsecond, but must not be undefined. */
void mmq_guard_turn_begin(void) { turns = (turns + 1) % 1000000; }
void mmq_guard_turn_end(void) { turns = (turns + 1) % 1000000; }

void
mmq_guard_install(void)
{
	struct sigaction action = { .sa_handler = on_bus, .sa_flags = SA_NODEFER };

	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}

bool
mmq_guard_run(void (*work)(void *arg), void *arg)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 1) != 0) {
		way_out = NULL;
		return false;
	}
	way_out = &here;
	work(arg);
	way_out = NULL;
	return true;
}
