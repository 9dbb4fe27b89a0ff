/* batch.h: what waits for one model, and the turns in which it is computed.
 *
 * A turn takes rows from the head of one model's queue until it holds about 5 ms of work, joins them into one engine call
 * and answers every request whose rows are all done. A large request takes several turns; between turns the owner
 * drains its socket. Nothing waits for a batch to fill up. */
#ifndef PREDICTOR_BATCH_H
#define PREDICTOR_BATCH_H

#include "predictor/cache.h"
#include "predictor/request.h"

struct mmq_queue {
	struct mmq_cached *entry;
	struct mmq_request *first, *last;
	double row_us;                     /* estimate of the time for one row; 0: not known yet */
	struct mmq_queue *next;            /* the ring of queues with work */
	bool in_ring;
};

struct mmq_batcher {
	struct mmq_worker *worker;
	struct mmq_scratch *scratch;
	struct mmq_request *spare;         /* freed requests, kept for their memory */
	struct mmq_queue *ring_first, *ring_last;
	uint32_t *indices;                 /* 0, 1, 2, ..: slices of it name the rows of a part of a request */
	size_t indices_count, rows_max;    /* rows_max: of one engine call */
	size_t waiting;                    /* requests in queues */
	bool torn;                         /* a model file was cut short under an engine: leave when the answers are out */
};

void mmq_batcher_init(struct mmq_batcher *batcher, struct mmq_worker *worker, size_t rows_max);
void mmq_batcher_fini(struct mmq_batcher *batcher);   /* no request may wait */

/* A queue for a cache entry (entry->user), made when first needed; freed with mmq_queue_free. */
struct mmq_queue *mmq_batcher_queue(struct mmq_batcher *batcher, struct mmq_cached *entry);
void mmq_queue_free(struct mmq_cached *entry, void *arg);

/* Put an item at the end of its model's queue. Takes the hold on entry that the caller acquired. */
void mmq_batcher_add(struct mmq_batcher *batcher, struct mmq_cache *cache, struct mmq_cached *entry, struct mmq_work_item *item);
/* Its model is READY or FAILED now: make the queue's work eligible, or answer all with the error. */
void mmq_batcher_loaded(struct mmq_batcher *batcher, struct mmq_cache *cache, struct mmq_cached *entry);
/* The item is not wanted any more. */
void mmq_batcher_cancel(struct mmq_batcher *batcher, struct mmq_cache *cache, struct mmq_work_item *item, enum mmq_code code);
/* Give all that waits back to the broker. */
void mmq_batcher_drop_all(struct mmq_batcher *batcher, struct mmq_cache *cache);

bool mmq_batcher_has_work(const struct mmq_batcher *batcher);   /* a turn would do something */
void mmq_batcher_turn(struct mmq_batcher *batcher, struct mmq_cache *cache);

#endif
