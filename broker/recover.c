/* recover.c: durable requests that are in the journal and not in memory: after a start, beyond a lane's heads, past their deadline.
 *
 * A lane with a backlog reads its next heads when few are left. New requests of such a lane stay in the journal too, so that it stays
 * first in first out. The journal hands out pages and completions in the order of submission, so a page that says "no more"
 * is the truth at the moment it arrives. */
#include "broker/core_inner.h"

struct core_request *
core_request_of_row(struct mmq_core *core, struct mmq_journal_row *row)
{
	struct core_tenant *tenant = core_tenant_get(core, row->tenant);
	struct core_lane *lane = tenant == NULL ? NULL :
	    core_lane_get(core, tenant, (enum mmq_work_kind)row->kind, row->priority, row->model, row->version);
	struct core_request *request;
	int64_t waited = core->wall_ms - row->created_ms;

	if (lane == NULL)
		return NULL;
	request = core_request_get(core);
	request->lane = lane;
	request->op = row->op;
	request->durable = true;
	request->sink = row->sink;
	request->wait = row->wait;
	request->keep = row->keep;
	request->id_is_binary = row->id_is_binary;
	request->id_size = row->id_size;
	memcpy(request->id, row->id, sizeof request->id);
	request->version = row->version;
	request->attempt = row->attempt;
	request->strikes = row->strikes;
	request->suspect = row->strikes > 0;
	request->key_hash = row->key_hash;
	request->trace = row->trace[0] == '\0' ? NULL : mmq_strdup(row->trace);
	request->arrived_us = core->now_us - (waited < 0 ? 0 : waited) * US_PER_MS;
	request->deadline_us = row->deadline_ms == 0 ? INT64_MAX : core->now_us + (row->deadline_ms - core->wall_ms) * US_PER_MS;
	request->bytes = row->body_size + row->payload_size;
	request->seq = row->seq;
	memcpy(request->job, row->job, sizeof request->job);
	memcpy(request->fingerprint, row->fingerprint, sizeof request->fingerprint);
	memcpy(request->lease_epoch, row->lease_epoch, sizeof request->lease_epoch);
	request->lease_delivery = row->lease_delivery;
	request->created_ms = row->created_ms;
	request->deadline_ms = row->deadline_ms;
	request->started_ms = row->started_ms;
	core_request_enter(core, request);
	return request;
}

static void
expired_arm(struct mmq_core *core, int64_t due_us)
{
	if (core->expired.at == 0 || due_us < core->expired.due)
		core_heap_set(&core->timers, &core->expired, due_us < core->now_us ? core->now_us : due_us);
}

void
core_spill(struct mmq_core *core, struct core_request *request)
{
	struct core_lane *lane = request->lane;

	lane->backlog = true;
	if (request->deadline_us != INT64_MAX)
		expired_arm(core, request->deadline_us);
	core_lane_refill(core, lane);
	core_request_done(core, request);
}

void
core_lane_refill(struct mmq_core *core, struct core_lane *lane)
{
	struct core_pending *pending;
	struct mmq_journal_read *read;

	if (lane->reading || core->recovering || core->stopped || !lane->backlog || lane->heads > core->limits.heads_lane_max / 2)
		return;
	lane->reading = true;
	read = core_read(core, MMQ_READ_HEADS, P_HEADS, &pending);
	pending->lane = lane;
	memcpy(read->row.tenant, lane->tenant->name, sizeof read->row.tenant);
	memcpy(read->row.model, lane->model, sizeof read->row.model);
	read->row.kind = (uint8_t)lane->kind;
	read->row.priority = lane->priority;
	read->row.version = lane->version;
	read->after = lane->last_seq;
	read->limit = core->limits.heads_lane_max;
}

void
core_on_lanes(struct mmq_core *core, struct mmq_journal_page *page)
{
	struct core_tenant *tenant;
	struct core_lane *lane;

	if (page->status == MMQ_JOURNAL_BROKEN)
		return;
	core->recovering = false;
	for (uint32_t i = 0; i < page->count; i++) {
		const struct mmq_journal_row *row = &page->rows[i];
		tenant = core_tenant_get(core, row->tenant);
		lane = tenant == NULL ? NULL :
		    core_lane_get(core, tenant, (enum mmq_work_kind)row->kind, row->priority, row->model, row->version);
		if (lane == NULL) {
			core_audit(core, "lane_left_out", NULL, "more lanes in the journal than lanes_max or tenants_max; the rest waits for a restart", i);
			return;
		}
		lane->backlog = true;
		core_lane_refill(core, lane);
		lane->is_first_read = lane->reading;
		core->first_reads += lane->is_first_read;
		core_lane_release(core, lane);
	}
}

static bool
is_adoptable(const struct mmq_core *core, const struct core_request *request)
{
	return request->lane->kind == MMQ_WORK_TRAIN && request->lease_delivery != 0 && core->adoption.at != 0 &&
	    memcmp(request->lease_epoch, core->epoch, sizeof core->epoch) != 0;
}

void
core_on_heads(struct mmq_core *core, struct core_lane *lane, struct mmq_journal_page *page)
{
	struct core_request *request;

	lane->requests++;
	lane->reading = false;
	core->first_reads -= lane->is_first_read;
	lane->is_first_read = false;
	for (uint32_t i = 0; i < page->count; i++) {
		struct mmq_journal_row *row = &page->rows[i];
		if (row->seq > lane->last_seq)
			lane->last_seq = row->seq;
		if (core_find_job(core, row->job) != NULL || (request = core_request_of_row(core, row)) == NULL)
			continue;
		if (core->disabled_count > 0 && request->lane->kind == MMQ_WORK_PREDICT &&
		    core_version_is_disabled(core, row->tenant, row->model, row->version)) {
			core_end(core, request, MMQ_JOB_FAILED, MMQ_DATA_LOSS, "the version was disabled: it ended its workers");
		} else if (is_adoptable(core, request)) {
			request->state = R_ADOPTABLE;
			core_list_add(&core->adoptable, &request->node);
			core_table_put(&core->adoptable_leases, core_hash_number(core, request->lease_delivery), request);
		} else {
			core_queue_push(core, request, false);
		}
	}
	lane->backlog = page->more || page->status == MMQ_JOURNAL_BROKEN;
	core_lane_release(core, lane);
	if (lane->backlog)
		core_lane_refill(core, lane);
}

void
core_adoption_end(struct mmq_core *core)
{
	struct core_request *request;

	while (!core_list_is_empty(&core->adoptable)) {
		request = OF(struct core_request, node, core->adoptable.previous);
		core_detach(core, request);
		core_queue_push(core, request, true);
	}
}

void
core_expired_read(struct mmq_core *core)
{
	struct core_pending *pending;
	struct mmq_journal_read *read;

	if (core->expired_reading || core->stopped)
		return;
	core->expired_reading = true;
	read = core_read(core, MMQ_READ_EXPIRED, P_EXPIRED, &pending);
	read->wall_ms = core->wall_ms;
	read->limit = EXPIRED_COUNT;
}

void
core_on_expired(struct mmq_core *core, struct mmq_journal_page *page)
{
	struct core_request *request;

	core->expired_reading = false;
	if (page->status == MMQ_JOURNAL_BROKEN)
		return;
	for (uint32_t i = 0; i < page->count; i++) {
		if (core_find_job(core, page->rows[i].job) != NULL || (request = core_request_of_row(core, &page->rows[i])) == NULL)
			continue;
		request->state = R_LOOSE;
		core_end(core, request, MMQ_JOB_FAILED, MMQ_DEADLINE_EXCEEDED, "the deadline passed before there was an answer");
	}
	if (page->more)
		expired_arm(core, core->now_us + 100 * US_PER_MS);
	else if (page->next_ms != 0)
		expired_arm(core, core->now_us + (page->next_ms - core->wall_ms) * US_PER_MS);
}
