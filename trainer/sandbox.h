/* sandbox.h: a piece of work on bytes that nobody vouches for, in a child process with little to break: no file, socket or other descriptor
 * than the one it writes to, and bounds on memory and processor time. What goes wrong there is an error here. */
#ifndef TRAINER_SANDBOX_H
#define TRAINER_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"

struct mmq_sandbox {
	size_t memory_bytes;            /* beyond what this process has mapped */
	unsigned cpu_s;
	bool (*go_on)(void *arg);       /* asked now and then; false: the child is killed and the error is CANCELLED */
	void *arg;
};

/* Run work(work_arg, fd) in a child; fd is shared with it. work's result and error become the caller's; RESOURCE_EXHAUSTED: a bound was hit;
 * INVALID_ARGUMENT: the work crashed on these bytes. Blocks. */
int mmq_sandbox_run(const struct mmq_sandbox *sandbox, int (*work)(void *work_arg, int fd, struct mmq_err *err), void *work_arg, int fd,
    struct mmq_err *err);

#endif
