/* wait.c: see wait.h. Something that comes within AWAKE_US counts for staying awake, a longer lull counts thrice against it: at a steady few
 * thousand messages a second, a lull after each, a core would else be busy with nothing. */
#include "util/wait.h"

#include <sched.h>
#include <stdint.h>

#include "util/clock.h"

enum { AWAKE_US = 100, EAGER_MIN = 3, EAGER_MAX = 12, LULL_COST = 3 };

int
mmq_wait_poll(struct mmq_wait *wait, struct pollfd *fds, nfds_t count, int timeout_ms)
{
	int64_t start_us;
	int result = 0;

	if (timeout_ms == 0)
		return poll(fds, count, 0);
	start_us = mmq_clock_mono_us();
	while (wait->eager >= EAGER_MIN && result == 0 && mmq_clock_mono_us() - start_us < AWAKE_US) {
		result = poll(fds, count, 0);
		if (result == 0)
			sched_yield();
	}
	if (result == 0)
		result = poll(fds, count, timeout_ms);
	wait->eager += mmq_clock_mono_us() - start_us < AWAKE_US ? 1 : -LULL_COST;
	wait->eager = wait->eager < 0 ? 0 : wait->eager > EAGER_MAX ? EAGER_MAX : wait->eager;
	return result;
}
