/* queue.c: who waits, and whose turn it is. Lane = (tenant, kind of work, priority, model, version), first in first out.
 *
 * Deficit round robin over the tenants (Shreedhar and Varghese 1995), its cost the estimated microseconds of work. Within a tenant the lane whose
 * head has the highest priority + waited / ageing goes first. Written as arrival - priority * ageing this does not change while
 * the head waits, so that a heap finds it however many lanes there are. */
#include "broker/core_inner.h"

#include <stdlib.h>

struct core_tenant *
core_tenant_get(struct mmq_core *core, const char *name)
{
	struct core_tenant *tenant, *before = NULL;

	for (tenant = core->tenants; tenant != NULL; before = tenant, tenant = tenant->next)
		if (strcmp(tenant->name, name) == 0)
			break;
	if (tenant != NULL) {
		if (before != NULL) { /* to the front: one tenant often comes in a burst */
			before->next = tenant->next;
			tenant->next = core->tenants;
			core->tenants = tenant;
		}
		return tenant;
	}
	if (core->tenants_count >= core->limits.tenants_max || strlen(name) >= sizeof tenant->name)
		return NULL;
	tenant = mmq_alloc(sizeof *tenant);
	memcpy(tenant->name, name, strlen(name) + 1);
	for (int i = 0; i < MMQ_WORK_KINDS; i++)
		tenant->queues[i].tenant = tenant;
	tenant->next = core->tenants;
	core->tenants = tenant;
	core->tenants_count++;
	return tenant;
}

static struct core_model_load *
load_get(struct mmq_core *core, const char *tenant, const char *model)
{
	uint64_t hash = core_hash(core, mmq_hash64(tenant, strlen(tenant)) + 6, model, strlen(model));
	size_t cursor = SIZE_MAX;
	struct core_model_load *load;

	while ((load = core_table_find(&core->loads, hash, &cursor)) != NULL)
		if (strcmp(load->model, model) == 0 && strcmp(load->tenant, tenant) == 0)
			break;
	if (load == NULL) {
		load = mmq_alloc(sizeof *load);
		load->hash = hash;
		memcpy(load->tenant, tenant, strlen(tenant) + 1);
		memcpy(load->model, model, strlen(model) + 1);
		core_table_put(&core->loads, hash, load);
	}
	load->lanes++;
	return load;
}

static void
lane_free(struct mmq_core *core, struct core_lane *lane)
{
	if (--lane->load->lanes == 0) {
		core_table_remove(&core->loads, lane->load->hash, lane->load);
		free(lane->load);
	}
	core_list_remove(&lane->idle);
	core_table_remove(&core->lanes, lane->hash, lane);
	core->lanes_count--;
	if (core->last_lane == lane)
		core->last_lane = NULL;
	free(lane);
}

/* Empty lanes are kept for what was measured on them, up to a number; the one idle longest goes first. */
static bool
lane_room(struct mmq_core *core)
{
	if (core->lanes_count < core->limits.lanes_max && core->lanes_count < IDLE_LANES_MAX)
		return true;
	if (!core_list_is_empty(&core->idle_lanes))
		lane_free(core, OF(struct core_lane, idle, core->idle_lanes.next));
	return core->lanes_count < core->limits.lanes_max;
}

static bool
lane_is(const struct core_lane *lane, const struct core_tenant *tenant, enum mmq_work_kind kind, uint8_t priority, const char *model,
    uint32_t version)
{
	return lane->tenant == tenant && lane->kind == kind && lane->priority == priority && lane->version == version &&
	    strcmp(lane->model, model) == 0;
}

static struct core_lane *
lane_get(struct mmq_core *core, struct core_tenant *tenant, enum mmq_work_kind kind, uint8_t priority, const char *model, uint32_t version)
{
	uint64_t number;
	uint64_t hash;
	size_t cursor = SIZE_MAX;
	struct core_lane *lane;

	number = (uint64_t)(uintptr_t)tenant * 31 + ((uint64_t)version << 16 | (uint64_t)kind << 8 | priority);
	hash = core_hash(core, number, model, strlen(model));
	while ((lane = core_table_find(&core->lanes, hash, &cursor)) != NULL)
		if (lane_is(lane, tenant, kind, priority, model, version))
			return lane;
	if (!lane_room(core))
		return NULL;
	lane = mmq_alloc(sizeof *lane);
	core_list_init(&lane->waiting);
	lane->order.kind = TIMER_LANE;
	lane->tenant = tenant;
	lane->kind = kind;
	lane->priority = priority;
	lane->version = version;
	lane->hash = hash;
	memcpy(lane->model, model, strlen(model) + 1);
	lane->load = load_get(core, tenant->name, model);
	core_table_put(&core->lanes, hash, lane);
	core->lanes_count++;
	return lane;
}

struct core_lane *
core_lane_get(struct mmq_core *core, struct core_tenant *tenant, enum mmq_work_kind kind, uint8_t priority, const char *model,
    uint32_t version)
{
	struct core_lane *lane = core->last_lane;

	/* Store work is ordered per model, so that all of a model is one lane. */
	if (kind == MMQ_WORK_STORE)
		priority = MMQ_PRIORITY_DEFAULT;
	if (lane == NULL || !lane_is(lane, tenant, kind, priority, model, version))
		lane = lane_get(core, tenant, kind, priority, model, version);
	if (lane == NULL)
		return NULL;
	core->last_lane = lane;
	core_list_remove(&lane->idle);
	lane->requests++;
	return lane;
}

void
core_lane_release(struct mmq_core *core, struct core_lane *lane)
{
	if (--lane->requests > 0 || lane->backlog || lane->reading)
		return;
	lane->last_seq = 0;
	core_list_add(&core->idle_lanes, &lane->idle);
}

void
core_lane_order(struct mmq_core *core, struct core_lane *lane)
{
	struct core_queue *queue = &lane->tenant->queues[lane->kind];
	struct core_request *head = OF(struct core_request, node, lane->waiting.next);

	if (core_list_is_empty(&lane->waiting) || lane->busy)
		core_heap_remove(&queue->lanes, &lane->order);
	else
		core_heap_set(&queue->lanes, &lane->order,
		    head->arrived_us - (int64_t)lane->priority * core->limits.ageing_ms * US_PER_MS);
	if (queue->lanes.count == 0) {
		core_list_remove(&queue->node);
		queue->deficit_us = 0;
		queue->has_turn = false;
	} else if (queue->node.next == NULL) {
		core_list_add(&core->ring[lane->kind], &queue->node);
	}
}

void
core_queue_push(struct mmq_core *core, struct core_request *request, bool front)
{
	struct core_lane *lane = request->lane;

	request->state = R_QUEUED;
	core->waiting++;
	lane->depth++;
	if (request->durable)
		lane->heads++;
	request->alone = lane->kind != MMQ_WORK_TRAIN && (request->suspect || (lane->kind == MMQ_WORK_PREDICT && request->bytes > core->limits.alone_bytes));
	if (request->alone) {
		core_list_add(front ? core->alone[lane->kind].next : &core->alone[lane->kind], &request->node);
		return;
	}
	core_list_add(front ? lane->waiting.next : &lane->waiting, &request->node);
	if (lane->waiting.next == &request->node)
		core_lane_order(core, lane);
}

/* Back to where it was when its body was sent for: before all that are younger. Several come back together, in whatever order. */
void
core_queue_return(struct mmq_core *core, struct core_request *request)
{
	const struct core_node *end = &request->lane->waiting;
	struct core_node *at;

	core_queue_push(core, request, true);
	if (request->alone)
		end = &core->alone[request->lane->kind];
	for (at = request->node.next; at != end; at = at->next)
		if (!OF(struct core_request, node, at)->durable || OF(struct core_request, node, at)->seq > request->seq)
			break;
	if (at == request->node.next)
		return;
	core_list_remove(&request->node);
	core_list_add(at, &request->node);
	if (!request->alone)
		core_lane_order(core, request->lane);
}

void
core_queue_remove(struct mmq_core *core, struct core_request *request)
{
	struct core_lane *lane = request->lane;
	bool first = lane->waiting.next == &request->node;

	core_list_remove(&request->node);
	core->waiting--;
	lane->depth--;
	if (request->durable)
		lane->heads--;
	if (first)
		core_lane_order(core, lane);
	if (lane->backlog && lane->heads <= core->limits.heads_lane_max / 2)
		core_lane_refill(core, lane);
}

/* Deficit round robin: who has the turn may use its quantum, what it used beyond is paid off in its next turns; one tenant alone owes nobody. */
struct core_lane *
core_queue_next(struct mmq_core *core, enum mmq_work_kind kind)
{
	struct core_node *ring = &core->ring[kind];
	struct core_queue *queue;

	if (core_list_is_empty(ring))
		return NULL;
	for (;;) {
		queue = OF(struct core_queue, node, ring->next);
		if (queue->deficit_us > 0)
			break;
		if (ring->next == ring->previous) {
			queue->deficit_us = QUANTUM_US;
			break;
		}
		if (!queue->has_turn) {
			queue->has_turn = true;
			queue->deficit_us += QUANTUM_US;
			continue;
		}
		queue->has_turn = false;
		core_list_remove(&queue->node);
		core_list_add(ring, &queue->node);
	}
	return OF(struct core_lane, order, queue->lanes.items[0].timer);
}

/* A debt is bounded: what was taken before others came is not held against a tenant for ever. */
void
core_queue_charge(struct core_lane *lane, uint32_t us)
{
	struct core_queue *queue = &lane->tenant->queues[lane->kind];

	queue->deficit_us -= us;
	if (queue->deficit_us < -64 * (int64_t)QUANTUM_US)
		queue->deficit_us = -64 * (int64_t)QUANTUM_US;
}

static void
disabled_end(struct mmq_core *core, struct core_request *request)
{
	core_end(core, request, MMQ_JOB_FAILED, MMQ_DATA_LOSS, "the version was disabled while this request waited: it ended its workers");
}

void
core_queue_end_version(struct mmq_core *core, const char *tenant, const char *model, uint32_t version)
{
	struct core_node *at, *next;

	for (size_t i = 0; core->lanes.slots != NULL && i <= core->lanes.mask; i++) {
		struct core_lane *lane = core->lanes.slots[i].value;
		if (lane == NULL || lane->kind != MMQ_WORK_PREDICT || lane->version != version || strcmp(lane->model, model) != 0 ||
		    strcmp(lane->tenant->name, tenant) != 0)
			continue;
		while (!core_list_is_empty(&lane->waiting))
			disabled_end(core, OF(struct core_request, node, lane->waiting.next));
	}
	for (at = core->alone[MMQ_WORK_PREDICT].next; at != &core->alone[MMQ_WORK_PREDICT]; at = next) {
		struct core_request *request = OF(struct core_request, node, at);
		next = at->next;
		if (request->version == version && strcmp(request->lane->model, model) == 0 && strcmp(request->lane->tenant->name, tenant) == 0)
			disabled_end(core, request);
	}
}

void
core_queue_fini(struct mmq_core *core)
{
	struct core_tenant *tenant;

	for (size_t i = 0; core->lanes.slots != NULL && i <= core->lanes.mask; i++)
		free(core->lanes.slots[i].value);
	for (size_t i = 0; core->loads.slots != NULL && i <= core->loads.mask; i++)
		free(core->loads.slots[i].value);
	while ((tenant = core->tenants) != NULL) {
		core->tenants = tenant->next;
		for (int i = 0; i < MMQ_WORK_KINDS; i++)
			core_heap_fini(&tenant->queues[i].lanes);
		free(tenant);
	}
}
