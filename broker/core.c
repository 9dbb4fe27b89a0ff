/* core.c: the machine's frame: events in, actions out, time. What the events mean is in the files beside it:
 * accept (requests), queue (whose turn), dispatch (to whom), worker and lease (who holds what), outcome (how it ends), durable and recover
 * (the journal), jobs (questions about jobs), catalogue (models), topic (the sink's numbers).
 *
 * Objects come from pools that never shrink; their number is bounded by the limits. */
#include "broker/core_inner.h"

#include <assert.h>
#include <stdlib.h>

void
mmq_core_limits_default(struct mmq_core_limits *limits)
{
	const struct mmq_core_limits defaults = {
		.requests_max = 100000, .requests_tenant_max = 50000, .bytes_max = 256u << 20, .bytes_tenant_max = 192u << 20,
		.requests_client_max = 25000, .bytes_client_max = 96u << 20, .requests_model_max = 40000, .bytes_model_max = 160u << 20,
		.requests_priority_max = 80000, .bytes_priority_max = 208u << 20,
		.durable_max = 10000000, .journal_inflight_max = 4096, .heads_lane_max = 256, .body_keep_bytes = 65536,
		.lanes_max = 10000, .tenants_max = 1000, .waiters_max = 10000, .workers_max = 256, .window_max = 1024,
		.models_max = 20000, .topics_max = 50000, .strikes_max = 3, .version_strikes_max = 3,
		.pack_count = 64, .pack_bytes = 65536, .pack_body_bytes = 4096, .alone_bytes = 262144, .ahead_us = 300,
		.heartbeat_ms = 500, .lease_ms = 5000, .stall_ms = 1800000, .adoption_ms = 10000, .ageing_ms = 2000,
		.deadline_predict_ms = 30000, .wait_ms = 30000, .retention_ms = 604800000, .retention_bytes = UINT64_C(1) << 30,
		.dead_retention_ms = 2592000000, .dead_retention_bytes = UINT64_C(256) << 20,
	};
#define FILL(name) if (limits->name == 0) limits->name = defaults.name
	FILL(requests_max); FILL(requests_tenant_max); FILL(bytes_max); FILL(bytes_tenant_max); FILL(durable_max);
	FILL(requests_client_max); FILL(bytes_client_max); FILL(requests_model_max); FILL(bytes_model_max);
	FILL(requests_priority_max); FILL(bytes_priority_max);
	FILL(journal_inflight_max); FILL(heads_lane_max); FILL(body_keep_bytes); FILL(lanes_max); FILL(tenants_max);
	FILL(waiters_max); FILL(workers_max); FILL(window_max); FILL(models_max); FILL(topics_max); FILL(strikes_max);
	FILL(version_strikes_max); FILL(pack_count); FILL(pack_bytes); FILL(pack_body_bytes); FILL(alone_bytes); FILL(ahead_us);
	FILL(heartbeat_ms); FILL(lease_ms); FILL(stall_ms); FILL(adoption_ms); FILL(ageing_ms); FILL(deadline_predict_ms); FILL(wait_ms);
	FILL(retention_ms); FILL(retention_bytes); FILL(dead_retention_ms); FILL(dead_retention_bytes);
#undef FILL
}

struct mmq_core *
mmq_core_new(const struct mmq_core_options *options)
{
	struct mmq_core *core = mmq_alloc(sizeof *core);
	struct core_pending *pending;

	core->limits = options->limits;
	mmq_core_limits_default(&core->limits);
	memcpy(core->epoch, options->epoch, sizeof core->epoch);
	memcpy(core->run, options->run, sizeof core->run);
	memcpy(&core->secret, core->run, sizeof core->secret);
	core->now_us = options->now_us;
	core->wall_ms = options->wall_ms;
	core->promised_us = INT64_MAX;
	core->drained_us = core->now_us;
	core->journal = options->journal;
	core->durable = options->journal_pending;
	mmq_arena_init(&core->scratch);
	for (int i = 0; i < MMQ_WORK_KINDS; i++) {
		core_list_init(&core->ring[i]);
		core_list_init(&core->alone[i]);
	}
	core_list_init(&core->workers);
	core_list_init(&core->adoptable);
	core_list_init(&core->idle_lanes);
	core->adoption.kind = TIMER_ADOPTION;
	core->mark.kind = TIMER_MARK;
	core->prune.kind = TIMER_PRUNE;
	core->expired.kind = TIMER_EXPIRED;
	if (!core->journal)
		return core;
	core->recovering = true;
	core_heap_set(&core->timers, &core->prune, core->now_us + PRUNE_US);
	core_heap_set(&core->timers, &core->adoption, core->now_us + (int64_t)core->limits.adoption_ms * US_PER_MS);
	core_read(core, MMQ_READ_LANES, P_LANES, &pending)->limit = core->limits.lanes_max;
	core_expired_read(core);
	return core;
}

static void
request_bodies_release(struct core_request *request)
{
	struct mmq_body *bodies[] = { request->body, request->answer, request->progress };

	for (int i = 0; i < 3; i++)
		if (bodies[i] != NULL)
			bodies[i]->release(bodies[i]);
	free(request->why);
	free(request->trace);
}

static void
clients_fini(struct mmq_core *core)
{
	struct core_client *client;

	for (size_t i = 0; core->clients.slots != NULL && i <= core->clients.mask; i++)
		free(core->clients.slots[i].value);
	while ((client = core->free_clients) != NULL) {
		core->free_clients = client->next;
		free(client);
	}
}

void
mmq_core_destroy(struct mmq_core **core_at)
{
	struct mmq_core *core = *core_at;

	if (core == NULL)
		return;
	while (mmq_core_next_action(core) != NULL)
		if (core->actions[core->actions_at - 1].kind == MMQ_DO_FREE)
			core->actions[core->actions_at - 1].body->release(core->actions[core->actions_at - 1].body);
	core_warm_fini(core);   /* these while what is in the heap of timers is still there */
	core_worker_fini(core);
	/* Every request that was ever made lies in a block; those on the free list hold nothing. */
	for (size_t i = 0; i < core->blocks_count; i++)
		for (size_t j = 0; j < 64; j++)
			request_bodies_release((struct core_request *)core->blocks[i] + j);
	for (size_t i = 0; i < core->blocks_count; i++)
		free(core->blocks[i]);
	free(core->blocks);
	core_pending_fini(core);
	core_queue_fini(core);
	core_catalogue_fini(core);
	core_topic_fini(core);
	core_metrics_fini(core);
	core_crashes_fini(core);
	clients_fini(core);
	core_heap_fini(&core->timers);
	core_table_fini(&core->plain_ids);
	core_table_fini(&core->durable_ids);
	core_table_fini(&core->jobs);
	core_table_fini(&core->leases);
	core_table_fini(&core->routes);
	core_table_fini(&core->sessions);
	core_table_fini(&core->lanes);
	core_table_fini(&core->waiters);
	core_table_fini(&core->pendings);
	core_table_fini(&core->models);
	core_table_fini(&core->topics);
	core_table_fini(&core->adoptable_leases);
	core_table_fini(&core->clients);
	core_table_fini(&core->loads);
	mmq_arena_fini(&core->scratch);
	free(core->actions);
	free(core);
	*core_at = NULL;
}

/* ---- Pools ------------------------------------------------------------------------------------------------------ */

struct core_request *
core_request_get(struct mmq_core *core)
{
	struct core_request *request = core->free_requests;

	if (request == NULL) {
		struct core_request *block = mmq_array(64, sizeof *block);
		core->blocks = mmq_grow(core->blocks, core->blocks_count + 1, sizeof *core->blocks);
		core->blocks[core->blocks_count++] = block;
		for (int i = 0; i < 64; i++) {
			block[i].node.next = (struct core_node *)core->free_requests;
			core->free_requests = &block[i];
		}
		request = core->free_requests;
	}
	core->free_requests = (struct core_request *)request->node.next;
	*request = (struct core_request){ .timer.kind = TIMER_REQUEST };
	return request;
}

static void
retired_free(struct mmq_core *core)
{
	struct core_request *request;

	while ((request = core->retired) != NULL) {
		core->retired = (struct core_request *)request->node.next;
		request->node.next = (struct core_node *)core->free_requests;
		core->free_requests = request;
		free(request->why);
		free(request->trace);
		request->why = request->trace = NULL;
	}
}

struct core_lease *
core_lease_get(struct mmq_core *core)
{
	struct core_lease *lease = core->free_leases;

	if (lease == NULL)
		return mmq_alloc(sizeof *lease);
	core->free_leases = (struct core_lease *)lease->node.next;
	*lease = (struct core_lease){ 0 };
	return lease;
}

void
core_lease_put(struct mmq_core *core, struct core_lease *lease)
{
	lease->node.next = (struct core_node *)core->free_leases;
	core->free_leases = lease;
}

struct core_waiter *
core_waiter_get(struct mmq_core *core)
{
	struct core_waiter *waiter = core->free_waiters;

	if (core->waiters_count >= core->limits.waiters_max)
		return NULL;
	core->waiters_count++;
	if (waiter == NULL)
		waiter = mmq_alloc(sizeof *waiter);
	else
		core->free_waiters = waiter->next;
	*waiter = (struct core_waiter){ .timer.kind = TIMER_WAITER };
	return waiter;
}

void
core_waiter_put(struct mmq_core *core, struct core_waiter *waiter)
{
	if (waiter->queued)
		core_table_remove(&core->waiters, waiter->job_hash, waiter);
	core_heap_remove(&core->timers, &waiter->timer);
	waiter->queued = false;
	core->waiters_count--;
	waiter->next = core->free_waiters;
	core->free_waiters = waiter;
}

/* ---- Actions ---------------------------------------------------------------------------------------------------- */

struct mmq_core_action *
core_act(struct mmq_core *core, enum mmq_action_kind kind)
{
	struct mmq_core_action *action;

	if (core->actions_count == core->actions_capacity) {
		core->actions_capacity = core->actions_capacity == 0 ? 64 : core->actions_capacity * 2;
		core->actions = mmq_grow(core->actions, core->actions_capacity, sizeof *core->actions);
	}
	action = &core->actions[core->actions_count++];
	*action = (struct mmq_core_action){ .kind = kind };
	return action;
}

const struct mmq_core_action *
mmq_core_next_action(struct mmq_core *core)
{
	return core->actions_at < core->actions_count ? &core->actions[core->actions_at++] : NULL;
}

void
core_free_body(struct mmq_core *core, struct mmq_body **body)
{
	if (*body != NULL)
		core_act(core, MMQ_DO_FREE)->body = *body;
	*body = NULL;
}

void
core_audit(struct mmq_core *core, const char *what, const char *tenant, const char *text, uint64_t number)
{
	struct mmq_core_action *action = core_act(core, MMQ_DO_AUDIT);

	action->audit.what = what;
	action->audit.tenant = tenant;
	action->audit.text = text;
	action->audit.number = number;
}

/* Ids come from strangers, so that the tables' hashes are keyed with bytes that nobody outside knows. */
uint64_t
core_hash(const struct mmq_core *core, uint64_t number, const void *bytes, size_t size)
{
	uint64_t key[2 + 32];  /* not cleared: this runs some ten times per request */

	assert(size <= 256);
	key[0] = core->secret;
	key[1] = number;
	if (size > 0)
		memcpy(&key[2], bytes, size);
	return mmq_hash64(key, 16 + size);
}

/* ---- Time ------------------------------------------------------------------------------------------------------- */

/* Requests ended per second, smoothed; gives people who were turned away an honest time to come back. */
static void
drain_rate_update(struct mmq_core *core)
{
	uint64_t ended = core->status.counters.answered;
	double seconds = (double)(core->now_us - core->drained_us) / 1e6, now_per_s;

	if (core->requests == 0 && ended == core->drained_count) /* time without work says nothing of the rate */
		core->drained_us = core->now_us;
	if (seconds < 0.1 || core->drained_us == core->now_us)
		return;
	now_per_s = (double)(ended - core->drained_count) / seconds;
	core->drained_per_s += (core->drained_per_s == 0 ? 1 : 1 - 1 / (1 + seconds)) * (now_per_s - core->drained_per_s);
	core->drained_count = ended;
	core->drained_us = core->now_us;
}

uint32_t
core_retry_after_ms(const struct mmq_core *core, uint64_t held)
{
	double ms = core->drained_per_s < 0.01 ? 1000 : 1000.0 * (double)held / 2 / core->drained_per_s;

	return ms < 10 ? 10 : ms > 60000 ? 60000 : (uint32_t)ms;
}

static void
request_due(struct mmq_core *core, struct core_request *request)
{
	if (request->state == R_ENDING)
		core_outcome_write(core, request);
	else if (request->state != R_PUTTING) /* the commit comes first; core_put_done looks at the deadline */
		core_end(core, request, MMQ_JOB_FAILED, MMQ_DEADLINE_EXCEEDED, "the deadline passed before there was an answer");
}

static void
waiter_due(struct mmq_core *core, struct core_waiter *waiter)
{
	core_answer_error(core, waiter, MMQ_DEADLINE_EXCEEDED, "the job has not ended yet; ask again", 0);
	core_waiter_put(core, waiter);
}

static void
prune_due(struct mmq_core *core)
{
	const struct { int64_t ms; uint64_t bytes; } keep[MMQ_KEPT_KINDS] = {
		[MMQ_KEPT_RESULTS] = { core->limits.retention_ms, core->limits.retention_bytes },
		[MMQ_KEPT_DEAD] = { core->limits.dead_retention_ms, core->limits.dead_retention_bytes },
	};
	struct core_pending *pending;

	for (uint8_t what = 0; what < MMQ_KEPT_KINDS && !core->stopped; what++) {
		struct mmq_journal_command *command = core_command(core, MMQ_PRUNE, P_PRUNE, NULL, &pending);
		command->what = what;
		command->wall_ms = core->wall_ms - keep[what].ms;
		command->bytes_max = keep[what].bytes;
		command->number = MMQ_PRUNE_ROWS_MAX;
	}
	core_heap_set(&core->timers, &core->prune, core->now_us + PRUNE_US);
}

static void
timers_fire(struct mmq_core *core)
{
	while (core->timers.count > 0 && core->timers.items[0].due <= core->now_us) {
		struct core_timer *timer = core->timers.items[0].timer;

		core_heap_remove(&core->timers, timer);
		switch ((enum timer_kind)timer->kind) {
		case TIMER_REQUEST: request_due(core, OF(struct core_request, timer, timer)); break;
		case TIMER_WORKER: core_worker_timer(core, OF(struct core_worker, timer, timer)); break;
		case TIMER_WAITER: waiter_due(core, OF(struct core_waiter, timer, timer)); break;
		case TIMER_ADOPTION: core_adoption_end(core); break;
		case TIMER_MARK: core_marks(core); break;
		case TIMER_PRUNE: prune_due(core); break;
		case TIMER_EXPIRED: core_expired_read(core); break;
		case TIMER_WARMING: core_warming_due(core, OF(struct core_warming, timer, timer)); break;
		case TIMER_LANE: break;
		}
	}
}

/* The broker itself was stopped or starved: what it did not hear meanwhile is nobody's fault. */
static void
pause_forgive(struct mmq_core *core)
{
	int64_t late = core->promised_us == INT64_MAX ? 0 : core->now_us - core->promised_us;
	struct core_node *at, *lease;

	if (late < PAUSE_US)
		return;
	for (at = core->workers.next; at != &core->workers; at = at->next) {
		struct core_worker *worker = OF(struct core_worker, node, at);
		worker->heard_us += late;
		if (worker->heard_us > core->now_us)
			worker->heard_us = core->now_us;
		for (lease = worker->leases.next; lease != &worker->leases; lease = lease->next)
			OF(struct core_lease, node, lease)->until_us += late;
	}
	core_audit(core, "pause", NULL, "the broker was paused; leases are longer by that", (uint64_t)late / US_PER_MS);
}

static void
tick(struct mmq_core *core)
{
	pause_forgive(core);
	timers_fire(core);
	drain_rate_update(core);
	core_dispatch(core);
	core->is_dirty = false;
	core->promised_us = mmq_core_next(core);
}

int64_t
mmq_core_next(const struct mmq_core *core)
{
	if (core->is_dirty)
		return core->now_us;
	return core->timers.count == 0 ? INT64_MAX : core->timers.items[0].due;
}

void
mmq_core_event(struct mmq_core *core, const struct mmq_core_event *event)
{
	struct core_worker *worker;

	assert(core->actions_at == core->actions_count);
	/* What mmq_core_new left to do has no event before it: its scratch is cleared only after it was carried out. */
	core->actions_at = core->actions_count = 0;
	mmq_arena_reset(&core->scratch);
	retired_free(core);
	if (event->now_us > core->now_us)
		core->now_us = event->now_us;
	core->wall_ms = event->wall_ms;
	core->is_dirty = true;
	switch (event->kind) {
	case MMQ_ON_TICK: tick(core); break;
	case MMQ_ON_BURST: core_dispatch_early(core); break;
	case MMQ_ON_REQUEST: core_accept(core, &event->request); break;
	case MMQ_ON_HELLO: core_on_hello(core, event); break;
	case MMQ_ON_READY: core_on_ready(core, event); break;
	case MMQ_ON_HEARTBEAT: core_on_heartbeat(core, event); break;
	case MMQ_ON_CATALOGUE: core_on_catalogue(core, event); break;
	case MMQ_ON_BYE:
	case MMQ_ON_EXPELLED:
	case MMQ_ON_GONE:
		worker = core_worker_of(core, event->route);
		if (worker != NULL)
			core_worker_lost(core, worker, event->kind == MMQ_ON_GONE);
		break;
	case MMQ_ON_RESULT: core_on_result(core, event); break;
	case MMQ_ON_RETURN:
	case MMQ_ON_UNSENT: core_on_return(core, event, event->kind == MMQ_ON_UNSENT); break;
	case MMQ_ON_PROGRESS: core_on_progress(core, event); break;
	case MMQ_ON_GRANT: core_on_grant(core, event); break;
	case MMQ_ON_LOADED: core_on_loaded(core, event); break;
	case MMQ_ON_JOURNAL: core_on_journal(core, event->journal); break;
	case MMQ_ON_SUBSCRIBE: core_foreign_topic(core, event->subscribe.tenant, event->subscribe.topic, event->subscribe.size); break;
	case MMQ_ON_LIMITS:
		core->limits = *event->limits;
		mmq_core_limits_default(&core->limits);
		break;
	case MMQ_ON_DRAIN: core->draining = true; break;
	}
}

bool
mmq_core_is_drained(const struct mmq_core *core)
{
	return core->draining && core->plain == 0 && (core->pendings.count == 0 || core->stopped);
}
