/* worker.c: the sessions of workers. A session outlives its connection: HELLO on a new one moves it there with what it still holds.
 *
 * Silence is probed with an unasked echo: a dead process makes that send fail, which the shell reports as GONE, a crash; a hung or paused one
 * is expelled when its lease is over, which is nobody's strike. */
#include "broker/core_inner.h"

#include <stdlib.h>

#include "work/frame.h"

static int64_t
lease_us(const struct mmq_core *core)
{
	return (int64_t)core->limits.lease_ms * US_PER_MS;
}

/* One that holds nothing is heard more rarely: see lib/work. */
static int64_t
probe_us(const struct mmq_core *core, const struct core_worker *worker)
{
	int64_t usual = (int64_t)core->limits.heartbeat_ms * US_PER_MS * 3 / 2, idle = lease_us(core) * 3 / 2 / MMQ_WORK_IDLE_BEATS;

	return worker->held_all > 0 || idle < usual ? usual : idle;
}

bool
core_worker_is_silent(const struct mmq_core *core, const struct core_worker *worker)
{
	return core->now_us - worker->heard_us > probe_us(core, worker);
}

void
core_worker_watch(struct mmq_core *core, struct core_worker *worker)
{
	int64_t due = core->now_us + probe_us(core, worker);

	if (worker->timer.due > due)
		core_heap_set(&core->timers, &worker->timer, due);
}

static uint64_t
route_hash(const struct mmq_core *core, uint64_t route)
{
	return core_hash_number(core, route);
}

struct core_worker *
core_worker_of(const struct mmq_core *core, uint64_t route)
{
	uint64_t hash = route_hash(core, route);
	size_t cursor = SIZE_MAX;
	struct core_worker *worker;

	while ((worker = core_table_find(&core->routes, hash, &cursor)) != NULL)
		if (worker->route == route)
			return worker;
	return NULL;
}

static struct core_worker *
worker_of_session(const struct mmq_core *core, const uint8_t session[16])
{
	uint64_t hash = core_hash(core, 3, session, 16);
	size_t cursor = SIZE_MAX;
	struct core_worker *worker;

	while ((worker = core_table_find(&core->sessions, hash, &cursor)) != NULL)
		if (memcmp(worker->session, session, 16) == 0)
			return worker;
	return NULL;
}

static void
worker_free(struct mmq_core *core, struct core_worker *worker)
{
	core_table_remove(&core->routes, route_hash(core, worker->route), worker);
	core_table_remove(&core->sessions, core_hash(core, 3, worker->session, 16), worker);
	core_heap_remove(&core->timers, &worker->timer);
	core_list_remove(&worker->node);
	core->workers_count--;
	if (worker->kind == MMQ_WORKER_PREDICTOR)
		core->predictors_count--;
	free(worker);
}

/* Its requests go to others; the newest first, each to the front, so that they end in their old order. */
void
core_worker_lost(struct mmq_core *core, struct core_worker *worker, bool crash)
{
	bool alone = worker->held_all == 1;

	if (crash) {
		CORE_COUNT(core, workers_lost);
		memmove(core->crashed_us + 1, core->crashed_us, sizeof core->crashed_us - sizeof *core->crashed_us);
		core->crashed_us[0] = core->now_us;
		core_crash_count(core, worker);
	}
	core_audit(core, crash ? "worker_crashed" : "worker_left", NULL, mmq_arena_strndup(&core->scratch, worker->name, strlen(worker->name)), worker->held_all);
	while (!core_list_is_empty(&worker->leases))
		core_lease_lost(core, OF(struct core_lease, node, worker->leases.previous), crash, alone);
	worker_free(core, worker);
}

static void
window_set(struct mmq_core *core, struct core_worker *worker, const uint32_t window[MMQ_WORK_KINDS])
{
	for (int i = 0; i < MMQ_WORK_KINDS; i++)
		worker->window[i] = window[i] > core->limits.window_max ? core->limits.window_max : window[i];
}

/* A name becomes a label of metrics: nothing in it may need escaping. A worker without one is called by its kind. */
static void
name_set(struct core_worker *worker, const char *name)
{
	snprintf(worker->name, sizeof worker->name, "%s", name == NULL || *name == '\0' ? mmq_worker_kind_name(worker->kind) : name);
	for (char *at = worker->name; *at != '\0'; at++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *at) == NULL)
			*at = '_';
}

static struct core_worker *
worker_new(struct mmq_core *core, const struct mmq_core_event *event)
{
	struct core_worker *worker = mmq_alloc(sizeof *worker);

	core_list_init(&worker->leases);
	worker->timer.kind = TIMER_WORKER;
	worker->kind = event->hello.kind;
	memcpy(worker->session, event->hello.session, sizeof worker->session);
	name_set(worker, event->hello.name);
	snprintf(worker->build, sizeof worker->build, "%s", event->hello.build == NULL ? "" : event->hello.build);
	worker->pid = event->hello.pid;
	worker->route = event->route;
	core_list_add(&core->workers, &worker->node);
	core_table_put(&core->sessions, core_hash(core, 3, worker->session, 16), worker);
	core_table_put(&core->routes, route_hash(core, worker->route), worker);
	core->workers_count++;
	if (worker->kind == MMQ_WORKER_PREDICTOR)
		core->predictors_count++;
	return worker;
}

static struct core_worker *
worker_meet(struct mmq_core *core, const struct mmq_core_event *event)
{
	struct core_worker *worker = worker_of_session(core, event->hello.session), *other = core_worker_of(core, event->route);
	struct mmq_core_action *bye;

	if (other != NULL && other != worker)
		core_worker_lost(core, other, false);
	if (worker != NULL && worker->route != event->route) {
		core_table_remove(&core->routes, route_hash(core, worker->route), worker);
		worker->route = event->route;
		core_table_put(&core->routes, route_hash(core, worker->route), worker);
	}
	if (worker != NULL)
		return worker;
	if (core->workers_count < core->limits.workers_max)
		return worker_new(core, event);
	bye = core_act(core, MMQ_DO_BYE);
	bye->route = event->route;
	bye->bye.code = MMQ_RESOURCE_EXHAUSTED;
	bye->bye.message = "too many workers (workers_max)";
	return NULL;
}

void
core_on_hello(struct mmq_core *core, const struct mmq_core_event *event)
{
	struct core_worker *worker = worker_meet(core, event);
	struct mmq_core_action *welcome;
	struct mmq_lease *keep;
	struct core_node *at, *next;
	size_t count = 0;

	if (worker == NULL)
		return;
	core_worker_hear(core, worker);
	window_set(core, worker, event->hello.window);
	keep = mmq_arena_get(&core->scratch, (event->hello.held_count + 1) * sizeof *keep);
	for (at = worker->leases.next; at != &worker->leases; at = at->next)
		OF(struct core_lease, node, at)->kept = false;
	for (size_t i = 0; i < event->hello.held_count; i++) {
		const struct mmq_lease *name = &event->hello.held[i];
		struct core_lease *lease = core_lease_find(core, worker, name);
		if (lease == NULL && core_adopt(core, worker, name))
			lease = core_lease_find(core, worker, name);
		if (lease == NULL || lease->request == NULL)
			continue;
		core_lease_extend(core, lease);
		lease->kept = true;
		keep[count++] = *name;
	}
	/* What it does not name never arrived or was given up: hand it out again. */
	for (at = worker->leases.previous; at != &worker->leases; at = next) {
		next = at->previous;
		if (!OF(struct core_lease, node, at)->kept)
			core_lease_lost(core, OF(struct core_lease, node, at), false, false);
	}
	core_heap_set(&core->timers, &worker->timer, core->now_us + probe_us(core, worker));
	welcome = core_act(core, MMQ_DO_WELCOME);
	welcome->route = worker->route;
	welcome->welcome.keep = keep;
	welcome->welcome.count = count;
	welcome->welcome.heartbeat_ms = core->limits.heartbeat_ms;
	welcome->welcome.lease_ms = core->limits.lease_ms;
}

void
core_worker_hear(struct mmq_core *core, struct core_worker *worker)
{
	worker->heard_us = core->now_us;
	worker->doubtful = false;
}

static struct core_worker *
worker_heard(struct mmq_core *core, const struct mmq_core_event *event)
{
	struct core_worker *worker = core_worker_of(core, event->route);

	if (worker == NULL)
		core_act(core, MMQ_DO_WHO)->route = event->route;
	else
		core_worker_hear(core, worker);
	return worker;
}

void
core_on_ready(struct mmq_core *core, const struct mmq_core_event *event)
{
	struct core_worker *worker = worker_heard(core, event);

	if (worker != NULL)
		window_set(core, worker, event->window);
}

void
core_on_heartbeat(struct mmq_core *core, const struct mmq_core_event *event)
{
	struct core_worker *worker = worker_heard(core, event);
	struct mmq_core_action *action;

	if (worker == NULL)
		return;
	worker->usage = event->held.usage;
	for (size_t i = 0; i < event->held.count; i++) {
		struct core_lease *lease = core_lease_find(core, worker, &event->held.leases[i]);
		if (lease != NULL)
			core_lease_extend(core, lease);
		if (lease != NULL && lease->request != NULL)
			continue;
		action = core_act(core, MMQ_DO_CANCEL_WORK);
		action->route = worker->route;
		action->cancel.lease = event->held.leases[i];
		action->cancel.code = MMQ_UNAVAILABLE;
	}
	action = core_act(core, MMQ_DO_ECHO);
	action->route = worker->route;
	action->number = event->held.n;
}

/* A worker that was only paused or cut off comes back by saying hello; what it held is with others by then. */
static void
worker_expel(struct mmq_core *core, struct core_worker *worker)
{
	core_act(core, MMQ_DO_WHO)->route = worker->route;
	core_worker_lost(core, worker, false);
}

/* The heartbeats of a trainer come from another thread than its work: without progress for very long the work hangs. */
static bool
training_stalls(const struct mmq_core *core, const struct core_worker *worker)
{
	const struct core_node *at;

	for (at = worker->leases.next; worker->held[MMQ_WORK_TRAIN] > 0 && at != &worker->leases; at = at->next) {
		const struct core_lease *lease = OF(const struct core_lease, node, at);
		if (lease->kind == MMQ_WORK_TRAIN && lease->moved_us + (int64_t)core->limits.stall_ms * US_PER_MS <= core->now_us)
			return true;
	}
	return false;
}

void
core_worker_timer(struct mmq_core *core, struct core_worker *worker)
{
	int64_t silent = core->now_us - worker->heard_us, due = worker->heard_us + probe_us(core, worker);
	struct core_lease *lease;
	struct mmq_core_action *probe;

	if (silent >= lease_us(core)) {
		worker_expel(core, worker);
		return;
	}
	if (training_stalls(core, worker)) {
		probe = core_act(core, MMQ_DO_BYE);
		probe->route = worker->route;
		probe->bye.code = MMQ_DEADLINE_EXCEEDED;
		probe->bye.message = "the training shows no progress (stall_ms)";
		core_worker_lost(core, worker, true);
		return;
	}
	while (!core_list_is_empty(&worker->leases)) {
		lease = OF(struct core_lease, node, worker->leases.next);
		if (lease->until_us > core->now_us) {
			due = lease->until_us < due ? lease->until_us : due;
			break;
		}
		worker->doubtful = silent >= (int64_t)core->limits.heartbeat_ms * US_PER_MS * 3 / 2;
		core_lease_lost(core, lease, false, false);
	}
	if (silent >= probe_us(core, worker)) {
		probe = core_act(core, MMQ_DO_ECHO);
		probe->route = worker->route;
		due = core->now_us + (int64_t)core->limits.heartbeat_ms * US_PER_MS;
	}
	if (worker->held[MMQ_WORK_TRAIN] > 0 && due > core->now_us + (int64_t)core->limits.stall_ms * US_PER_MS / 4)
		due = core->now_us + (int64_t)core->limits.stall_ms * US_PER_MS / 4;
	if (worker->blocked_us > core->now_us && worker->blocked_us < due)
		due = worker->blocked_us;
	core_heap_set(&core->timers, &worker->timer, due <= core->now_us ? core->now_us + US_PER_MS : due);
}

void
core_worker_fini(struct mmq_core *core)
{
	struct core_lease *lease;
	struct core_worker *worker;

	while (!core_list_is_empty(&core->workers)) {
		worker = OF(struct core_worker, node, core->workers.next);
		while (!core_list_is_empty(&worker->leases)) {
			lease = OF(struct core_lease, node, worker->leases.next);
			core_list_remove(&lease->node);
			free(lease);
		}
		worker_free(core, worker);
	}
	while ((lease = core->free_leases) != NULL) {
		core->free_leases = (struct core_lease *)lease->node.next;
		free(lease);
	}
}
