/* wait.h: poll() for a loop that talks to others on the same machine.
 *
 * A core that falls asleep has to be woken, which on virtual machines costs more than the work it is woken for: 20 to 30 us for each thread on
 * a request's way. So while things come at short distances the caller stays awake for them a little while, giving its core to whoever wants
 * it; once they do not, it sleeps at once as poll() does. */
#ifndef MMQ_UTIL_WAIT_H
#define MMQ_UTIL_WAIT_H

#include <poll.h>

struct mmq_wait { int eager; };  /* zeroed: sleeps at once */

int mmq_wait_poll(struct mmq_wait *wait, struct pollfd *fds, nfds_t count, int timeout_ms);  /* as poll() */

#endif
