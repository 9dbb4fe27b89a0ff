/* guard.h: a mapped model file that was cut short under us raises SIGBUS at the first missing page.
 *
 * Code that reads mapped models runs inside mmq_guard_run: the fault then ends that call alone, the requests are answered DATA_LOSS
 * with the version at fault, and the process leaves after its answers are out, since an engine was torn out of its work.
 * A SIGBUS anywhere else ends the process at once. */
#ifndef PREDICTOR_GUARD_H
#define PREDICTOR_GUARD_H

#include <stdbool.h>

void mmq_guard_install(void);

/* Call work(arg). false: SIGBUS came and work was left in its middle; what it held is lost. Any thread; not nested. */
bool mmq_guard_run(void (*work)(void *arg), void *arg);

#endif
