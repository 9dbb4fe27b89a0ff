/* load.h: a lean client. It keeps a number of requests in flight, or sends them by the clock whatever comes back (open loop), and checks that
 * every number is answered once. Requests are made before; only the 8 digits of their id are written while the clock runs. */
#ifndef MMQ_BENCH_LOAD_H
#define MMQ_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOAD_IN_FLIGHT_MAX = 1024, LOAD_PENDING_MAX = 65536, LOAD_ID_CHARS = 8, LOAD_PACK_MAX = 64, LOAD_PACK_BYTES_MAX = 65000 };

struct load_request {
	uint8_t *bytes;
	size_t size, id_at;                  /* where the digits of the id are */
};

struct load {
	void *socket;
	const struct load_request *requests; /* taken in turn */
	size_t requests_count;
	size_t answer_id_at;                 /* where the answers' ids are */
	/* Is this the answer to the request? Answers are for reading until the next one. */
	bool (*is_good)(const struct load_request *request, const uint8_t *answer, size_t size);
	int pack_max;                        /* load_rate: so many requests in one frame, as a list; 0: each by itself */
	unsigned next;                       /* number of the next request */
	bool waits[LOAD_PENDING_MAX];        /* by number modulo LOAD_PENDING_MAX */
	int64_t due_us[LOAD_PENDING_MAX];    /* open loop: when it should have left */
};

double load_rate(struct load *load, int in_flight, int count);      /* answers per second */
void load_times(struct load *load, double *us, int count);          /* round trips of one in flight */
int load_open(struct load *load, double per_s, double seconds, double *us, int count_max);  /* from the time it was due; returns how many */
double load_quantile(double *values, int count, double q);          /* sorts them */

#endif
