/* guard.c: SIGBUS is raised by the very instruction that reads, so it arrives on the thread that reads and a jump out of
 * the handler is safe as long as that code holds no lock: engines and hashing hold none. */
#include "predictor/guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static _Thread_local sigjmp_buf *volatile way_out;

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
