/* lease.c: who holds which request under which fencing number, and what happens when a lease is lost.
 *
 * A request lost in a crash becomes a suspect and is tried alone; only a crash while it is alone is a strike; enough strikes end it as a
 * dead letter. Whatever arrives under a lease that is not held any more changes nothing. */
#include "broker/core_inner.h"

enum { PROGRESS_BYTES_MAX = 65536 };

static uint64_t
lease_hash(const struct mmq_core *core, const struct mmq_lease *name)
{
	return core_hash_number(core, name->delivery); /* of another start's lease the number may be the same: the epoch is compared */
}

struct core_lease *
core_lease_new(struct mmq_core *core, struct core_worker *worker, struct core_request *request, const struct mmq_lease *name, bool solo)
{
	struct core_lease *lease = core_lease_get(core);

	lease->name = *name;
	lease->worker = worker;
	lease->request = request;
	lease->kind = request->lane->kind;
	lease->solo = solo;
	lease->suspect = request->suspect;
	lease->estimate_us = request->estimate_us;
	lease->until_us = core->now_us + (int64_t)core->limits.lease_ms * US_PER_MS;
	lease->moved_us = core->now_us;
	core_list_add(&worker->leases, &lease->node);
	core_table_put(&core->leases, lease_hash(core, name), lease);
	worker->held[lease->kind]++;
	if (worker->held_all++ == 0)
		core_worker_watch(core, worker);
	worker->load_us += lease->estimate_us;
	request->lease = lease;
	request->state = R_LEASED;
	core->leased++;
	return lease;
}

struct core_lease *
core_lease_find(const struct mmq_core *core, const struct core_worker *worker, const struct mmq_lease *name)
{
	uint64_t hash = lease_hash(core, name);
	size_t cursor = SIZE_MAX;
	struct core_lease *lease;

	while ((lease = core_table_find(&core->leases, hash, &cursor)) != NULL)
		if (lease->worker == worker && lease->name.delivery == name->delivery &&
		    memcmp(lease->name.epoch, name->epoch, sizeof name->epoch) == 0)
			return lease;
	return NULL;
}

/* The place on the worker is free again. The request, if it is still there, is in no list after this. */
void
core_lease_drop(struct mmq_core *core, struct core_lease *lease)
{
	struct core_worker *worker = lease->worker;
	struct core_request *request = lease->request;

	core_list_remove(&lease->node);
	core_table_remove(&core->leases, lease_hash(core, &lease->name), lease);
	worker->held[lease->kind]--;
	worker->held_all--;
	worker->load_us -= lease->estimate_us;
	if (lease->solo && lease->kind != MMQ_WORK_TRAIN)
		worker->solo = false;
	if (lease->solo && lease->kind == MMQ_WORK_PREDICT) {
		core->alone_leased -= lease->suspect;
		core->big_leased -= !lease->suspect;
	}
	if (request != NULL) {
		request->lease = NULL;
		request->state = R_LOOSE;
		core->leased--;
		if (lease->kind == MMQ_WORK_STORE) {
			request->lane->busy = false;
			core_lane_order(core, request->lane);
		}
	}
	core_lease_put(core, lease);
}

void
core_lease_extend(struct mmq_core *core, struct core_lease *lease)
{
	lease->until_us = core->now_us + (int64_t)core->limits.lease_ms * US_PER_MS;
	core_list_remove(&lease->node);
	core_list_add(&lease->worker->leases, &lease->node);
}

static void
strike_write(struct mmq_core *core, struct core_request *request)
{
	struct core_pending *pending;
	struct mmq_journal_command *command;

	if (!request->durable)
		return;
	command = core_command(core, MMQ_STRIKE, P_STRIKE, request, &pending);
	command->row.strikes = request->strikes;
	command->row.attempt = request->attempt;
}

static void
dead_letter(struct mmq_core *core, struct core_request *request)
{
	char why[160];

	CORE_COUNT(core, dead_letters);
	core_audit(core, "dead_letter", request->lane->tenant->name, mmq_op_name((enum mmq_op)request->op), request->strikes);
	snprintf(why, sizeof why, "%u workers died of this request, each alone with it; it is given up", request->strikes);
	request->is_dead = true;
	core_end(core, request, MMQ_JOB_FAILED, MMQ_INTERNAL, why);
}

void
core_lease_lost(struct mmq_core *core, struct core_lease *lease, bool crash, bool alone)
{
	struct core_request *request = lease->request;
	bool strike = crash && alone && lease->solo;

	core_lease_drop(core, lease);
	if (request == NULL)
		return;
	CORE_COUNT(core, leases_lost);
	if (strike) {
		request->strikes++;
		CORE_COUNT(core, strikes);
		strike_write(core, request);
		/* One request that kills is at fault itself; several of one version speak against the version. */
		if (request->strikes == 1 && request->lane->kind == MMQ_WORK_PREDICT)
			core_version_strike(core, request->lane->tenant->name, request->lane->model, request->version);
		if (request->strikes >= core->limits.strikes_max) {
			dead_letter(core, request);
			return;
		}
	}
	if (crash && !request->suspect) {
		request->suspect = true;
		CORE_COUNT(core, suspects);
	}
	CORE_COUNT(core, redelivered);
	if (request->lane->kind == MMQ_WORK_TRAIN)
		core_job_event(core, request, "retry");
	if (core->disabled_count > 0 && request->lane->kind == MMQ_WORK_PREDICT &&
	    core_version_is_disabled(core, request->lane->tenant->name, request->lane->model, request->version))
		core_end(core, request, MMQ_JOB_FAILED, MMQ_DATA_LOSS, "the version was disabled: it ended its workers");
	else
		core_queue_push(core, request, !strike); /* after a strike the other suspects have their turn first */
}

/* ---- What workers send under a lease ------------------------------------------------------------------------------ */

static struct core_lease *
lease_of(struct mmq_core *core, const struct mmq_core_event *event, const struct mmq_lease *name)
{
	struct core_worker *worker = core_worker_of(core, event->route);

	if (worker == NULL) {
		core_act(core, MMQ_DO_WHO)->route = event->route;
		return NULL;
	}
	core_worker_hear(core, worker);
	return core_lease_find(core, worker, name);
}

/* Time per byte of body stands in for time per row: the broker does not look into rows. */
static void
cost_learn(struct core_request *request, const struct mmq_work_result *result)
{
	double us = request->bytes == 0 ? 0 : (double)result->service_us / (double)request->bytes;
	double *known = &request->lane->us_per_byte;

	if (result->code == MMQ_OK && us > 0)
		*known = *known == 0 ? us : *known + 0.1 * (us - *known);
}

void
core_on_result(struct mmq_core *core, const struct mmq_core_event *event)
{
	struct core_lease *lease = lease_of(core, event, &event->result.lease);
	struct core_request *request = lease == NULL ? NULL : lease->request;
	struct mmq_body *body = event->result.body;

	if (lease != NULL) {
		lease->worker->rows += event->result.result.rows;
		lease->worker->items++;
		core_lease_drop(core, lease);
	}
	if (request == NULL) {
		CORE_COUNT(core, late_results);
		core_free_body(core, &body);
		return;
	}
	cost_learn(request, &event->result.result);
	request->service_us = event->result.result.service_us;
	core_observe(&core_metric(core, request)->service, request->service_us);
	if (event->result.result.crashes_model)
		core_version_strike(core, request->lane->tenant->name, request->lane->model, request->version);
	core_end_with(core, request, &event->result.result, body, event->result.why);
}

/* Handed back, or never sent: again into the queue, nobody is to blame. */
void
core_on_return(struct mmq_core *core, const struct mmq_core_event *event, bool unsent)
{
	for (size_t i = event->held.count; i > 0; i--) {
		struct core_lease *lease = lease_of(core, event, &event->held.leases[i - 1]);
		struct core_worker *worker;
		if (lease == NULL)
			continue;
		worker = lease->worker;
		if (unsent) {
			worker->blocked_us = core->now_us + UNSENT_US;
			core_heap_set(&core->timers, &worker->timer, worker->blocked_us);
			if (lease->request != NULL)
				lease->request->attempt--;
		}
		core_lease_lost(core, lease, false, false);
	}
}

void
core_on_progress(struct mmq_core *core, const struct mmq_core_event *event)
{
	struct core_lease *lease = lease_of(core, event, &event->progress.lease);
	struct core_request *request = lease == NULL ? NULL : lease->request;
	struct mmq_body *body = event->progress.body;

	if (request == NULL || body == NULL || body->size > PROGRESS_BYTES_MAX) {
		core_free_body(core, &body);
		return;
	}
	lease->moved_us = core->now_us;
	core_free_body(core, &request->progress);
	request->progress = body;
	if (event->progress.checkpoint > request->checkpoint) {
		request->checkpoint = event->progress.checkpoint;
		if (request->strikes > 0) {
			request->strikes = 0;
			strike_write(core, request);
		}
	}
	if (request->durable)
		core_job_event(core, request, "progress");
}

static void
granted_send(struct mmq_core *core, uint64_t route, const struct mmq_lease *lease, uint8_t what, uint32_t number, enum mmq_code code, const char *why)
{
	struct mmq_core_action *action = core_act(core, MMQ_DO_GRANTED);

	action->route = route;
	action->grant.lease = *lease;
	action->grant.what = (enum mmq_grant_kind)what;
	action->grant.number = number;
	action->grant.code = code;
	action->grant.message = why;
}

void
core_grant_refuse(struct mmq_core *core, uint64_t route, const struct mmq_lease *lease, enum mmq_grant_kind what, enum mmq_code code, const char *why)
{
	granted_send(core, route, lease, (uint8_t)what, 0, code, why);
}

void
core_on_grant(struct mmq_core *core, const struct mmq_core_event *event)
{
	struct core_lease *lease = lease_of(core, event, &event->grant.lease);
	struct core_request *request = lease == NULL ? NULL : lease->request;

	/* A worker that has not said hello to this broker yet was asked who it is; its lease may well be adopted then, and it asks again. */
	if (core_worker_of(core, event->route) == NULL)
		return;
	if (request == NULL || !request->durable) {
		core_grant_refuse(core, event->route, &event->grant.lease, event->grant.what, MMQ_UNAVAILABLE,
		    "the lease is lost: nothing may be published under it");
		return;
	}
	if (event->grant.what == MMQ_GRANT_ALIAS && core_warm(core, event->route, lease, event->grant.above))
		return;
	core_grant_write(core, lease, event->grant.what, event->grant.above);
}

void
core_grant_write(struct mmq_core *core, struct core_lease *lease, enum mmq_grant_kind what, uint32_t above)
{
	struct core_request *request = lease->request;
	struct core_pending *pending;
	struct mmq_journal_command *command = core_command(core, MMQ_GRANT, P_GRANT, request, &pending);

	memcpy(command->row.tenant, request->lane->tenant->name, sizeof command->row.tenant);
	memcpy(command->row.model, request->lane->model, sizeof command->row.model);
	memcpy(command->row.job, request->job, sizeof command->row.job);
	command->what = pending->what = (uint8_t)what;
	command->number = above;
	pending->lease = lease->name;
}

/* The number is journalled. It is told only if the lease is still held; a refused write is asked for again by the worker. */
void
core_granted(struct mmq_core *core, const struct core_pending *pending, const struct mmq_journal_event *event)
{
	struct core_lease *lease = pending->request->lease;

	if (event->status != MMQ_JOURNAL_OK || pending->request->state != R_LEASED || lease->name.delivery != pending->lease.delivery ||
	    memcmp(lease->name.epoch, pending->lease.epoch, sizeof lease->name.epoch) != 0)
		return;
	CORE_COUNT(core, grants);
	if (pending->what == MMQ_GRANT_VERSION)
		pending->request->warm_version = event->number;
	granted_send(core, lease->worker->route, &pending->lease, pending->what, event->number, MMQ_OK, "");
}

/* A training held since before this broker's start goes on under its old fence. */
bool
core_adopt(struct mmq_core *core, struct core_worker *worker, const struct mmq_lease *name)
{
	uint64_t hash = lease_hash(core, name);
	size_t cursor = SIZE_MAX;
	struct core_request *request;

	while ((request = core_table_find(&core->adoptable_leases, hash, &cursor)) != NULL)
		if (request->lease_delivery == name->delivery && memcmp(request->lease_epoch, name->epoch, sizeof name->epoch) == 0)
			break;
	if (request == NULL)
		return false;
	core_detach(core, request);
	core_lease_new(core, worker, request, name, true);
	CORE_COUNT(core, adopted);
	return true;
}
