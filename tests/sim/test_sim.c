/* test_sim.c: the broker's core in a simulated world, many seeds. A failing seed prints itself:
 *     build/plain/tests/sim/test_sim --seed N --requests M
 * replays it event by event. --seed N --seeds COUNT runs that many from seed N on. The default is 1,200,000
 * requests of clients, of which some are questions that nobody gets to ask: 1,110,000 messages. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
main(int argc, char **argv)
{
	uint64_t seed = 1, seeds = 1500;
	uint32_t requests = 800;
	struct sim_totals totals = { 0 };
	int failures = 0;
	bool is_loud = false;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--seed") == 0) {
			seed = strtoull(argv[i + 1], NULL, 10);
			seeds = 1;
			is_loud = true;
		} else if (strcmp(argv[i], "--requests") == 0) {
			requests = (uint32_t)strtoul(argv[i + 1], NULL, 10);
		} else if (strcmp(argv[i], "--seeds") == 0) {
			seeds = strtoull(argv[i + 1], NULL, 10);
		}
	}
	for (uint64_t at = seed; at < seed + seeds && failures < 20; at++) {
		if (sim_run(at, requests, is_loud, &totals) == 0)
			continue;
		failures++;
		printf("failed: test_sim --seed %llu --requests %u\n", (unsigned long long)at, requests);
	}
#define N(member) (unsigned long long)totals.member
	printf("counted: %llu seeds from %llu of %u requests, %d failed: %llu requests as %llu messages, %llu events, %llu starts of the broker, %llu crashes of workers; "
	    "ended: %llu answered, %llu dead letters, %llu cancelled, %llu expired, %llu refused; checked: %llu turns, %llu suspects alone, %llu deadlines\n",
	    (unsigned long long)seeds, (unsigned long long)seed, requests, failures, N(requests), N(sends), N(events), N(starts), N(crashes), N(ended.answered),
	    N(ended.dead), N(ended.cancelled), N(ended.expired), N(refused), N(turns), N(alone), N(deadlines));
	/* A law that never had to hold was not tested. */
	if (seeds >= 100 && (totals.requests == 0 || totals.starts <= seeds || N(crashes) == 0 || N(ended.answered) == 0 || N(ended.dead) == 0 ||
	    N(ended.cancelled) == 0 || N(ended.expired) == 0 || N(refused) == 0 || N(turns) == 0 || N(alone) == 0 || N(deadlines) == 0)) {
		printf("one of these counts must not be 0\n");
		failures++;
	}
#undef N
	return failures != 0;
}
