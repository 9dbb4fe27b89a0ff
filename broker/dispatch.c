/* dispatch.c: what waits goes to who has room. Runs at each tick, that is, after the sockets were drained, so that what came together
 * travels together: one frame holds up to pack_count small requests of one lane.
 *
 * A worker gets a little estimated time ahead, not a number of requests; it always may have one request running and one ahead. Suspects
 * and very large requests go alone to a worker that holds nothing; a worker is kept free for them when none is. */
#include "broker/core_inner.h"

static bool
serves(const struct core_worker *worker, enum mmq_work_kind kind)
{
	return worker->window[kind] > worker->held[kind];
}

static bool
is_open(const struct mmq_core *core, const struct core_worker *worker, enum mmq_work_kind kind)
{
	if (worker->draining || worker->doubtful || worker->blocked_us > core->now_us || !serves(worker, kind))
		return false;
	if (worker->solo || worker->reserved)
		return false;
	if (kind == MMQ_WORK_TRAIN)
		return worker->held[kind] == 0;
	return kind != MMQ_WORK_PREDICT || worker->held_all < 2 || worker->load_us < core->limits.ahead_us;
}

static struct core_worker *
worker_pick(struct mmq_core *core, enum mmq_work_kind kind)
{
	struct core_worker *best = NULL;
	struct core_node *at;

	for (at = core->workers.next; at != &core->workers; at = at->next) {
		struct core_worker *worker = OF(struct core_worker, node, at);
		if (is_open(core, worker, kind) && (best == NULL || worker->load_us < best->load_us ||
		    (worker->load_us == best->load_us && worker->held_all < best->held_all)))
			best = worker;
	}
	return best;
}

/* Requests with the same affinity key prefer the same worker, if it has room. */
static struct core_worker *
worker_of_key(struct mmq_core *core, enum mmq_work_kind kind, uint64_t key_hash)
{
	uint64_t index = key_hash % core->workers_count;
	struct core_node *at = core->workers.next;

	for (; index > 0; index--)
		at = at->next;
	return is_open(core, OF(struct core_worker, node, at), kind) ? OF(struct core_worker, node, at) : NULL;
}

static uint32_t
estimate(const struct core_lane *lane, uint64_t bytes)
{
	double us = lane->us_per_byte * (double)bytes;

	if (lane->us_per_byte == 0)
		return EST_UNKNOWN_US;
	return us < 1 ? 1 : us > 1e6 ? 1000000 : (uint32_t)us;
}

static void
item_fill(struct mmq_core *core, struct mmq_core_item *item, struct core_worker *worker, struct core_request *request, bool solo)
{
	struct core_lane *lane = request->lane;
	struct mmq_lease name;
	int64_t waited = core->now_us - request->arrived_us;

	memcpy(name.epoch, core->epoch, sizeof name.epoch);
	name.delivery = ++core->delivery;
	request->attempt++;
	request->estimate_us = estimate(lane, request->bytes);
	core_lease_new(core, worker, request, &name, solo);
	if (lane->kind == MMQ_WORK_STORE) {
		lane->busy = true;
		core_lane_order(core, lane);
	}
	*item = (struct mmq_core_item){ .delivery = name.delivery, .kind = lane->kind, .op = request->op, .tenant = lane->tenant->name,
		.model = lane->model, .version = request->version, .attempt = request->attempt, .ms_left = -1,
		.queue_us = waited > UINT32_MAX ? UINT32_MAX : (uint32_t)waited, .body = request->body };
	memcpy(item->job, request->job, sizeof item->job);
	if (request->deadline_us != INT64_MAX)
		item->ms_left = (request->deadline_us - core->now_us + 999) / US_PER_MS;
	request->queue_us = item->queue_us;
	core_observe(&core_metric(core, request)->queue, waited);
	CORE_COUNT(core, items_of_work);
}

static void
frame_send(struct mmq_core *core, struct core_worker *worker, const struct mmq_core_item *items, size_t count)
{
	struct mmq_core_action *action = core_act(core, MMQ_DO_WORK);

	action->route = worker->route;
	action->work.items = items;
	action->work.count = count;
	CORE_COUNT(core, frames_of_work);
}

/* The first attempt of a training is written down, so that a restarted broker knows whose it is. */
static void
training_started(struct mmq_core *core, struct core_request *request)
{
	struct core_pending *pending;
	struct mmq_journal_command *command;

	if (request->started_ms == 0)
		request->started_ms = core->wall_ms;
	core_job_event(core, request, "started");
	command = core_command(core, MMQ_LEASE, P_LEASE, request, &pending);
	memcpy(command->row.lease_epoch, request->lease->name.epoch, 16);
	command->row.lease_delivery = request->lease->name.delivery;
	command->row.attempt = request->attempt;
	command->wall_ms = request->started_ms;
}

static void
body_fetch(struct mmq_core *core, struct core_request *request)
{
	struct core_pending *pending;
	struct mmq_journal_read *read;

	core_queue_remove(core, request);
	request->state = R_FETCHING;
	core->fetches++;
	read = core_read(core, MMQ_READ_BODY, P_BODY, &pending);
	read->row.seq = request->seq;
	pending->request = request;
	request->pending++;
}

/* One request, alone. */
static void
send_one(struct mmq_core *core, struct core_worker *worker, struct core_request *request, bool solo)
{
	struct mmq_core_item *item = mmq_arena_get(&core->scratch, sizeof *item);

	core_queue_remove(core, request);
	item_fill(core, item, worker, request, solo);
	frame_send(core, worker, item, 1);
	if (request->lane->kind == MMQ_WORK_TRAIN)
		training_started(core, request);
}

/* Fill one frame for worker from the lane whose turn it is. The lane's body sizes decide: a body too large to pack goes by itself. */
static void
send_packed(struct mmq_core *core, struct core_worker *worker, struct core_lane *lane)
{
	const struct mmq_core_limits *limits = &core->limits;
	struct mmq_core_item *items = mmq_arena_get(&core->scratch, limits->pack_count * sizeof *items);
	struct core_queue *queue = &lane->tenant->queues[lane->kind];
	bool has_rivals = core->ring[lane->kind].next != core->ring[lane->kind].previous;
	struct core_request *request;
	uint64_t bytes = 0;
	size_t count = 0;

	while (count < limits->pack_count && !core_list_is_empty(&lane->waiting) && is_open(core, worker, lane->kind)) {
		request = OF(struct core_request, node, lane->waiting.next);
		if (request->body == NULL) {
			body_fetch(core, request);
			if (count == 0)
				return; /* the lane's turn was this one's: who is next has to be asked again */
			if (core->fetches >= FETCHES_MAX)
				break;
			continue;
		}
		if (request->bytes > limits->pack_body_bytes || request->body->payload != NULL) {
			if (count == 0) {
				send_one(core, worker, request, lane->kind == MMQ_WORK_TRAIN);
				core_queue_charge(lane, lane->kind == MMQ_WORK_PREDICT ? request->estimate_us : QUANTUM_US);
				return;
			}
			break;
		}
		if (count > 0 && (bytes + request->bytes > limits->pack_bytes || (queue->deficit_us <= 0 && has_rivals)))
			break;
		bytes += request->bytes;
		core_queue_remove(core, request);
		item_fill(core, &items[count++], worker, request, lane->kind == MMQ_WORK_TRAIN);
		core_queue_charge(lane, lane->kind == MMQ_WORK_PREDICT ? request->estimate_us : QUANTUM_US);
		if (lane->kind == MMQ_WORK_STORE)
			break;
		if (lane->kind == MMQ_WORK_TRAIN) {
			training_started(core, request);
			break;
		}
	}
	if (count > 0)
		frame_send(core, worker, items, count);
}

/* A worker for a request that goes alone: one that holds nothing, else one is told to run empty. NULL: not now. */
static struct core_worker *
worker_alone(struct mmq_core *core, const struct core_request *request)
{
	struct core_worker *reserve = NULL;
	struct core_node *at;

	enum mmq_work_kind kind = request->lane->kind;
	uint32_t leased = kind == MMQ_WORK_STORE ? 0 : request->suspect ? core->alone_leased : core->big_leased;

	if (request->lane->busy)
		return NULL;
	if (leased > 0 && leased * 2 >= core->predictors_count) /* one at least, half of the predictors at most */
		return NULL;
	for (at = core->workers.next; at != &core->workers; at = at->next) {
		struct core_worker *worker = OF(struct core_worker, node, at);
		if (worker->draining || worker->doubtful || worker->solo || worker->blocked_us > core->now_us || worker->window[kind] == 0)
			continue;
		if (worker->held_all == 0)
			return worker;
		if (reserve == NULL || worker->reserved || (!reserve->reserved && worker->load_us < reserve->load_us))
			reserve = worker;
	}
	if (reserve != NULL)
		reserve->reserved = true;
	return NULL;
}

static void
alone_dispatch(struct mmq_core *core, enum mmq_work_kind kind)
{
	struct core_node *at, *next;
	struct core_request *request;
	struct core_worker *worker;

	for (at = core->alone[kind].next; at != &core->alone[kind]; at = next) {
		next = at->next;
		request = OF(struct core_request, node, at);
		if (request->body == NULL) {
			if (core->fetches < FETCHES_MAX)
				body_fetch(core, request);
			continue;
		}
		worker = worker_alone(core, request);
		if (worker == NULL)
			break;
		worker->reserved = false;
		worker->solo = true;
		core->alone_leased += kind == MMQ_WORK_PREDICT && request->suspect;
		core->big_leased += kind == MMQ_WORK_PREDICT && !request->suspect;
		send_one(core, worker, request, true);
	}
	if (!core_list_is_empty(&core->alone[kind]))
		return;
	for (at = core->workers.next; at != &core->workers; at = at->next)
		if (OF(struct core_worker, node, at)->window[kind] > 0)
			OF(struct core_worker, node, at)->reserved = false;
}

void
core_dispatch(struct mmq_core *core)
{
	struct core_lane *lane;
	struct core_worker *worker;
	struct core_request *head;

	if (core->stopped)
		return;
	alone_dispatch(core, MMQ_WORK_PREDICT);
	alone_dispatch(core, MMQ_WORK_STORE);
	for (int kind = 0; kind < MMQ_WORK_KINDS; kind++) {
		while (core->fetches < FETCHES_MAX && !core_list_is_empty(&core->ring[kind])) {
			worker = worker_pick(core, (enum mmq_work_kind)kind);
			if (worker == NULL)
				break;
			lane = core_queue_next(core, (enum mmq_work_kind)kind);
			head = OF(struct core_request, node, lane->waiting.next);
			if (head->key_hash != 0) {
				struct core_worker *preferred = worker_of_key(core, (enum mmq_work_kind)kind, head->key_hash);
				worker = preferred != NULL ? preferred : worker;
			}
			send_packed(core, worker, lane);
		}
	}
}

/* A worker that idles costs more than a frame that could have held more: the first requests of a burst set it to work while the others come in. */
void
core_dispatch_early(struct mmq_core *core)
{
	struct core_node *at;

	if (core_list_is_empty(&core->ring[MMQ_WORK_PREDICT]))
		return;
	for (at = core->workers.next; at != &core->workers; at = at->next) {
		const struct core_worker *worker = OF(const struct core_worker, node, at);
		if (worker->held_all == 0 && is_open(core, worker, MMQ_WORK_PREDICT)) {
			core_dispatch(core);
			return;
		}
	}
}
