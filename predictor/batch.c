/* batch.c: queues per model in a ring; one turn computes about 5 ms of one of them. */
#include "predictor/batch.h"

#include <stdlib.h>
#include <string.h>

#include "predictor/guard.h"
#include "util/clock.h"
#include "util/mem.h"

enum { SLICES_MAX = 1024, TURN_US = 5000, ROWS_FIRST = 64 };

/* Rows from .. from + count of a request: what one turn computes of it. */
struct slice {
	struct mmq_request *request;
	size_t from, count, at;      /* at: its first row in the joined result */
};

struct turn {
	struct mmq_batcher *batcher;
	const struct mmq_model *model;
	struct slice slices[SLICES_MAX];
	size_t slices_count, rows;
	unsigned wanted;
	struct mmq_prediction result;
	struct mmq_err err;
	int status;
};

void
mmq_batcher_init(struct mmq_batcher *batcher, struct mmq_worker *worker, size_t rows_max)
{
	*batcher = (struct mmq_batcher){ .worker = worker, .rows_max = rows_max, .scratch = mmq_scratch_new() };
}

void
mmq_batcher_fini(struct mmq_batcher *batcher)
{
	while (batcher->spare != NULL) {
		struct mmq_request *next = batcher->spare->next;
		mmq_request_destroy(&batcher->spare);
		batcher->spare = next;
	}
	mmq_scratch_destroy(&batcher->scratch);
	free(batcher->indices);
	batcher->indices = NULL;
}

struct mmq_queue *
mmq_batcher_queue(struct mmq_batcher *batcher, struct mmq_cached *entry)
{
	(void)batcher;
	if (entry->user == NULL) {
		struct mmq_queue *queue = mmq_alloc(sizeof(*queue));
		queue->entry = entry;
		entry->user = queue;
	}
	return entry->user;
}

void
mmq_queue_free(struct mmq_cached *entry, void *arg)
{
	(void)arg;
	free(entry->user);
	entry->user = NULL;
}

static void
ring_add(struct mmq_batcher *batcher, struct mmq_queue *queue)
{
	if (queue->in_ring || queue->first == NULL || queue->entry->state != MMQ_CACHED_READY)
		return;
	queue->in_ring = true;
	queue->next = NULL;
	*(batcher->ring_last != NULL ? &batcher->ring_last->next : &batcher->ring_first) = queue;
	batcher->ring_last = queue;
}

static struct mmq_queue *
ring_take(struct mmq_batcher *batcher)
{
	struct mmq_queue *queue = batcher->ring_first;

	batcher->ring_first = queue->next;
	if (batcher->ring_first == NULL)
		batcher->ring_last = NULL;
	queue->in_ring = false;
	return queue;
}

static void
ring_remove(struct mmq_batcher *batcher, struct mmq_queue *queue)
{
	struct mmq_queue **at = &batcher->ring_first, *last = NULL;

	if (!queue->in_ring)
		return;
	while (*at != queue) {
		last = *at;
		at = &last->next;
	}
	*at = queue->next;
	if (batcher->ring_last == queue)
		batcher->ring_last = last;
	queue->in_ring = false;
}

/* Take the request out of its queue, let its model go and keep its memory. It was answered or dropped. */
static void
retire(struct mmq_batcher *batcher, struct mmq_cache *cache, struct mmq_request *request)
{
	struct mmq_queue *queue = request->entry->user;
	struct mmq_request *before = NULL;

	for (struct mmq_request *at = queue->first; at != request; at = at->next)
		before = at;
	*(before != NULL ? &before->next : &queue->first) = request->next;
	if (queue->last == request)
		queue->last = before;
	if (queue->first == NULL)
		ring_remove(batcher, queue);
	batcher->waiting--;
	mmq_cache_release(cache, &request->entry);
	mmq_request_reset(request);
	request->next = batcher->spare;
	batcher->spare = request;
}

static void
refuse(struct mmq_batcher *batcher, struct mmq_cache *cache, struct mmq_request *request, const struct mmq_err *err, bool crashes_model)
{
	mmq_request_refuse(request, batcher->worker, err, crashes_model);
	retire(batcher, cache, request);
}

void
mmq_batcher_add(struct mmq_batcher *batcher, struct mmq_cache *cache, struct mmq_cached *entry, struct mmq_work_item *item)
{
	struct mmq_queue *queue = mmq_batcher_queue(batcher, entry);
	struct mmq_request *request = batcher->spare != NULL ? batcher->spare : mmq_request_new();

	if (batcher->spare != NULL)
		batcher->spare = request->next;
	request->next = NULL;
	request->item = item;
	request->entry = entry;
	item->user = request;
	*(queue->last != NULL ? &queue->last->next : &queue->first) = request;
	queue->last = request;
	batcher->waiting++;
	if (entry->state == MMQ_CACHED_FAILED) {
		struct mmq_err err = entry->err;
		refuse(batcher, cache, request, &err, err.code == MMQ_DATA_LOSS);
	} else
		ring_add(batcher, queue);
}

void
mmq_batcher_loaded(struct mmq_batcher *batcher, struct mmq_cache *cache, struct mmq_cached *entry)
{
	struct mmq_queue *queue = mmq_batcher_queue(batcher, entry);
	struct mmq_err err = entry->err;

	if (entry->state == MMQ_CACHED_READY) {
		ring_add(batcher, queue);
		return;
	}
	/* The last release frees entry and queue: the caller holds it meanwhile. */
	while (queue->first != NULL)
		refuse(batcher, cache, queue->first, &err, err.code == MMQ_DATA_LOSS);
}

void
mmq_batcher_cancel(struct mmq_batcher *batcher, struct mmq_cache *cache, struct mmq_work_item *item, enum mmq_code code)
{
	struct mmq_request *request = item->user;
	struct mmq_err err;

	if (code == MMQ_UNAVAILABLE) {
		/* The lease is lost: any answer would be refused. */
		mmq_worker_drop(batcher->worker, &request->item);
		retire(batcher, cache, request);
		return;
	}
	mmq_err_set(&err, code, code == MMQ_DEADLINE_EXCEEDED ? "the deadline passed before the rows were computed" : "cancelled");
	refuse(batcher, cache, request, &err, false);
}

void
mmq_batcher_drop_all(struct mmq_batcher *batcher, struct mmq_cache *cache)
{
	struct mmq_cached *entry = mmq_cache_newest(cache);

	while (entry != NULL) {
		struct mmq_queue *queue = entry->user;
		entry->references++;  /* stays while its queue empties */
		while (queue != NULL && queue->first != NULL) {
			mmq_worker_drop(batcher->worker, &queue->first->item);
			retire(batcher, cache, queue->first);
		}
		struct mmq_cached *older = entry->older;
		mmq_cache_release(cache, &entry);
		entry = older;
	}
}

bool
mmq_batcher_has_work(const struct mmq_batcher *batcher)
{
	return batcher->ring_first != NULL;
}

/* Read the request if need be; false: it was answered and is gone. */
static bool
make_ready(struct mmq_batcher *batcher, struct mmq_cache *cache, struct mmq_request *request)
{
	struct mmq_err err;

	if (request->item->deadline_us <= mmq_clock_mono_us()) {
		mmq_err_set(&err, MMQ_DEADLINE_EXCEEDED, "the deadline passed before the rows were computed");
		refuse(batcher, cache, request, &err, false);
		return false;
	}
	if (request->is_read)
		return true;
	if (mmq_request_read(request, &err) == -1) {
		refuse(batcher, cache, request, &err, false);
		return false;
	}
	return true;
}

/* How many rows are about TURN_US of work. */
static size_t
rows_of_turn(const struct mmq_batcher *batcher, const struct mmq_queue *queue)
{
	double rows = queue->row_us > 0 ? TURN_US / queue->row_us : ROWS_FIRST;
	return rows < 1 ? 1 : rows > (double)batcher->rows_max ? batcher->rows_max : (size_t)rows;
}

static void
choose_slices(struct turn *turn, struct mmq_cache *cache, struct mmq_queue *queue)
{
	size_t rows_max = rows_of_turn(turn->batcher, queue);

	for (struct mmq_request *request = queue->first, *next; request != NULL && turn->slices_count < SLICES_MAX; request = next) {
		next = request->next;
		if (turn->rows >= rows_max)
			break;
		if (!make_ready(turn->batcher, cache, request))
			continue;
		if (turn->slices_count > 0 && request->wanted != turn->wanted)
			break;
		size_t left = request->rows - request->done, room = rows_max - turn->rows;
		struct slice slice = { .request = request, .from = request->done, .count = left < room ? left : room };
		turn->wanted = request->wanted;
		turn->slices[turn->slices_count++] = slice;
		turn->rows += slice.count;
	}
}

static const uint32_t *
indices(struct mmq_batcher *batcher, size_t from, size_t count)
{
	size_t need = from + count;

	if (need > batcher->indices_count) {
		size_t more = need * 2 > 1024 ? need * 2 : 1024;
		batcher->indices = mmq_grow(batcher->indices, more, sizeof(*batcher->indices));
		for (size_t i = batcher->indices_count; i < more; i++)
			batcher->indices[i] = (uint32_t)i;
		batcher->indices_count = more;
	}
	return batcher->indices + from;
}

/* Prepare and compute; runs under the guard. A request whose rows are refused costs the others nothing. */
static void
compute(void *arg)
{
	struct turn *turn = arg;
	struct mmq_batcher *batcher = turn->batcher;

	if (turn->slices_count == 1) {
		struct slice *slice = &turn->slices[0];
		turn->status = mmq_model_predict(turn->model, &slice->request->frame, indices(batcher, slice->from, slice->count), slice->count,
		    turn->wanted, batcher->scratch, &turn->result, slice->request->options.report_row_errors ? &slice->request->bad : NULL, &turn->err);
		return;
	}
	size_t kept = 0;
	turn->rows = 0;
	mmq_model_begin(turn->model, batcher->scratch);
	for (size_t i = 0; i < turn->slices_count; i++) {
		struct slice *slice = &turn->slices[i];
		struct mmq_request *request = slice->request;
		if (mmq_model_add(turn->model, &request->frame, indices(batcher, slice->from, slice->count), slice->count, batcher->scratch,
		        request->options.report_row_errors ? &request->bad : NULL, &request->err) == -1) {
			request->failed = true;
			continue;
		}
		slice->at = turn->rows;
		turn->rows += slice->count;
		kept++;
	}
	if (kept > 0)
		turn->status = mmq_model_run(turn->model, turn->wanted, batcher->scratch, &turn->result, &turn->err);
}

/* Answer what is complete, keep what is not, refuse what failed. */
static void
deliver(struct turn *turn, struct mmq_cache *cache, int64_t spent_us)
{
	struct mmq_batcher *batcher = turn->batcher;

	for (size_t i = 0; i < turn->slices_count; i++) {
		const struct slice *slice = &turn->slices[i];
		struct mmq_request *request = slice->request;
		struct mmq_err err;
		request->service_us += turn->rows > 0 ? spent_us * (int64_t)slice->count / (int64_t)turn->rows : 0;
		if (batcher->torn || turn->status == -1 || request->failed) {
			err = request->failed ? request->err : turn->err;
			refuse(batcher, cache, request, &err, batcher->torn);
			continue;
		}
		if (slice->count == request->rows) {
			struct mmq_prediction own = mmq_prediction_slice(&turn->result, slice->at, slice->count);
			mmq_request_answer(request, batcher->worker, &own);
			retire(batcher, cache, request);
			continue;
		}
		if (mmq_request_collect(request, &turn->result, slice->at, slice->count, &err) == -1) {
			refuse(batcher, cache, request, &err, false);
			continue;
		}
		if (request->done == request->rows) {
			mmq_request_answer(request, batcher->worker, &request->sum);
			retire(batcher, cache, request);
		}
	}
}

void
mmq_batcher_turn(struct mmq_batcher *batcher, struct mmq_cache *cache)
{
	struct mmq_queue *queue = ring_take(batcher);
	struct mmq_cached *entry = queue->entry;
	struct turn turn;  /* 40 KiB of slices: not cleared, only what is counted is read */

	entry->references++;  /* the last answered request would free it, and with it the queue */
	turn.batcher = batcher;
	turn.model = entry->model;
	turn.slices_count = turn.rows = 0;
	turn.wanted = 0;
	turn.status = 0;
	choose_slices(&turn, cache, queue);
	if (turn.slices_count > 0) {
		int64_t begun_us = mmq_clock_mono_us();
		for (size_t i = 0; i < turn.slices_count; i++)
			if (turn.slices[i].from == 0)
				turn.slices[i].request->begun_us = begun_us;
		if (!mmq_guard_run(compute, &turn)) {
			mmq_err_set(&turn.err, MMQ_DATA_LOSS, "%s version %u: the model file was cut short while it was used", entry->name, entry->version);
			batcher->torn = true;
		}
		int64_t spent_us = mmq_clock_mono_us() - begun_us;
		if (turn.rows > 0) {
			double now_us = (double)spent_us / (double)turn.rows;
			queue->row_us = queue->row_us == 0 ? now_us : 0.7 * queue->row_us + 0.3 * now_us;
		}
		deliver(&turn, cache, spent_us);
	}
	ring_add(batcher, queue);
	mmq_cache_release(cache, &entry);
}
