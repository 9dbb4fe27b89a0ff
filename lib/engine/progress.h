/* progress.h: what a running fit says of itself, and how it learns that it should stop.
 *
 * The compute thread calls mmq_progress_step; the owner (socket thread, or a test) gets it through `report`, which must be
 * cheap and thread-safe. Engines look at the return value at least every 200 ms of work and give up with CANCELLED. */
#ifndef MMQ_ENGINE_PROGRESS_H
#define MMQ_ENGINE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mmq_progress_state {
	double fraction;             /* 0..1 of this fit; best guess when the end is open (SVM) */
	double loss;                 /* NaN: not known */
	double valid_loss;           /* NaN: no validation rows */
	int64_t iteration, iterations_max;
	const char *loss_name;       /* "log_loss", "mse", "gap", ...; constant text */
	int64_t size;                /* how large the model has become, in size_name; 0: not said */
	const char *size_name;       /* "support_vectors"; constant text */
};

struct mmq_progress {
	/* Returns true to go on, false to cancel. */
	bool (*report)(void *arg, const struct mmq_progress_state *state);
	void *arg;
};

/* progress may be NULL: always true. */
static inline bool
mmq_progress_step(const struct mmq_progress *progress, const struct mmq_progress_state *state)
{
	return progress == NULL || progress->report == NULL || progress->report(progress->arg, state);
}

#endif
