/* test_sim.c: the broker's core in a simulated world, many seeds. A failing seed prints itself:
 *     build/plain/tests/sim/test_sim --seed N --requests M
 * replays it event by event. --seeds COUNT runs that many from seed N on. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
main(int argc, char **argv)
{
	uint64_t seed = 1, seeds = 1300;
	uint32_t requests = 800;
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
		if (sim_run(at, requests, is_loud) == 0)
			continue;
		failures++;
		printf("failed: test_sim --seed %llu --requests %u\n", (unsigned long long)at, requests);
	}
	printf("%llu seeds of %u requests, %d failed\n", (unsigned long long)seeds, requests, failures);
	return failures != 0;
}
