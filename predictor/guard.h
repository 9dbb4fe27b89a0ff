/* guard.h: a mapped model file that was cut short under us raises SIGBUS at the first missing page.
 *
 * Code that reads mapped models runs inside mmq_guard_run: the fault then ends that call alone, the requests are answered DATA_LOSS
 * with the version at fault, and the process leaves after its answers are out, since an engine was torn out of its work.
 * A SIGBUS anywhere else ends the process at once.
 *
 * And a turn that computes for ever ends the process: nobody else could tell a predictor that hangs from one that is gone. */
#ifndef PREDICTOR_GUARD_H
#define PREDICTOR_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "util/err.h"

void mmq_guard_install(void);

/* Call work(arg). false: SIGBUS came and work was left in its middle; what it held is lost. Any thread; not nested. */
bool mmq_guard_run(void (*work)(void *arg), void *arg);

/* From now on a turn of the calling thread that uses cpu_ms of processor time ends the process with exit code 1. A process that is stopped
 * uses none. Costs nothing per turn but the two calls below. */
int mmq_guard_turns(int64_t cpu_ms, struct mmq_err *err);
void mmq_guard_turn_begin(void);
void mmq_guard_turn_end(void);

#endif
