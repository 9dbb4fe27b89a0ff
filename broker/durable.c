/* durable.c: the core's side of the journal: commands and reads with tickets out, completions in. */
#include "broker/core_inner.h"

#include <stdlib.h>

static struct core_pending *
pending_new(struct mmq_core *core, enum pending_why why)
{
	struct core_pending *pending = core->free_pendings;

	if (pending == NULL)
		pending = mmq_alloc(sizeof *pending);
	else
		core->free_pendings = pending->next;
	*pending = (struct core_pending){ .ticket = ++core->ticket, .why = why, .since_us = core->now_us };
	core_table_put(&core->pendings, core_hash_number(core, pending->ticket), pending);
	return pending;
}

static struct core_pending *
pending_take(struct mmq_core *core, uint64_t ticket)
{
	uint64_t hash = core_hash_number(core, ticket);
	size_t cursor = SIZE_MAX;
	struct core_pending *pending;

	while ((pending = core_table_find(&core->pendings, hash, &cursor)) != NULL)
		if (pending->ticket == ticket)
			break;
	if (pending != NULL)
		core_table_remove(&core->pendings, hash, pending);
	return pending;
}

void
core_pending_fini(struct mmq_core *core)
{
	struct core_pending *pending;
	struct core_waiter *waiter;

	for (size_t i = 0; core->pendings.slots != NULL && i <= core->pendings.mask; i++) {
		pending = core->pendings.slots[i].value;
		if (pending != NULL) {
			free(pending->waiter);
			free(pending->again);
		}
		free(pending);
	}
	while ((pending = core->free_pendings) != NULL) {
		core->free_pendings = pending->next;
		free(pending);
	}
	for (size_t i = 0; core->waiters.slots != NULL && i <= core->waiters.mask; i++)
		free(core->waiters.slots[i].value);
	while ((waiter = core->free_waiters) != NULL) {
		core->free_waiters = waiter->next;
		free(waiter);
	}
}

struct mmq_journal_command *
core_command(struct mmq_core *core, enum mmq_journal_verb verb, enum pending_why why, struct core_request *request,
    struct core_pending **pending_out)
{
	struct mmq_journal_command *command = mmq_arena_get(&core->scratch, sizeof *command);
	struct core_pending *pending = pending_new(core, why);

	memset(command, 0, sizeof *command);
	command->verb = verb;
	command->ticket = pending->ticket;
	pending->request = request;
	if (request != NULL) {
		request->pending++;
		command->row.seq = request->seq;
	}
	core_act(core, MMQ_DO_JOURNAL)->command = command;
	*pending_out = pending;
	return command;
}

struct mmq_journal_read *
core_read(struct mmq_core *core, enum mmq_journal_query query, enum pending_why why, struct core_pending **pending_out)
{
	struct mmq_journal_read *read = mmq_arena_get(&core->scratch, sizeof *read);
	struct core_pending *pending = pending_new(core, why);

	memset(read, 0, sizeof *read);
	read->query = query;
	read->ticket = pending->ticket;
	core_act(core, MMQ_DO_READ)->read = read;
	*pending_out = pending;
	return read;
}

void
core_put(struct mmq_core *core, struct core_request *request)
{
	struct core_pending *pending;
	struct mmq_journal_command *command = core_command(core, MMQ_PUT, P_PUT, request, &pending);
	struct mmq_journal_row *row = &command->row;

	request->state = R_PUTTING;
	core->puts++;
	CORE_COUNT(core, journal_puts);
	memcpy(row->tenant, request->lane->tenant->name, sizeof row->tenant);
	memcpy(row->model, request->lane->model, sizeof row->model);
	memcpy(row->id, request->id, sizeof row->id);
	row->id_size = request->id_size;
	row->id_is_binary = request->id_is_binary;
	row->op = request->op;
	row->kind = (uint8_t)request->lane->kind;
	row->priority = request->lane->priority;
	row->sink = request->sink;
	row->wait = request->wait;
	row->keep = request->keep;
	row->version = request->version;
	memcpy(row->job, request->job, sizeof row->job);
	memcpy(row->fingerprint, request->fingerprint, sizeof row->fingerprint);
	row->key_hash = request->key_hash;
	if (request->trace != NULL)
		snprintf(row->trace, sizeof row->trace, "%s", request->trace);
	row->created_ms = request->created_ms;
	row->deadline_ms = request->deadline_ms;
	row->body_size = request->body == NULL ? 0 : request->body->size;
	row->payload_size = request->body == NULL ? 0 : request->body->payload_size;
	command->body = request->body;
}

void
core_job_of_row(struct mmq_core_job *job, const struct mmq_journal_row *row)
{
	*job = (struct mmq_core_job){ .tenant = row->tenant, .model = row->model, .op = row->op, .state = row->state, .attempt = row->attempt,
		.version = row->result_version, .seq = row->seq, .result_seq = row->result_seq, .created_ms = row->created_ms,
		.started_ms = row->started_ms, .ended_ms = row->ended_ms, .result = row->answer, .code = row->code, .message = row->message,
		.trace = row->trace[0] == '\0' ? NULL : row->trace };
	memcpy(job->job, row->job, sizeof job->job);
}

/* ---- Completions ---------------------------------------------------------------------------------------------------- */

/* Not accepted: whoever asked is told so, a pushed one on the sink. */
static void
put_refused(struct mmq_core *core, struct core_request *request, enum mmq_code code, const char *why, uint32_t retry_after_ms)
{
	CORE_COUNT(core, refused);
	core_waiters_error(core, request->job, code, why, retry_after_ms);
	if (request->route == 0 && request->op != MMQ_OP_TRAIN && code != MMQ_ALREADY_EXISTS) {
		request->code = code;
		request->why = mmq_strdup(why);
		core_publish_answer(core, request);
	}
	request->state = R_LOOSE;
	core_request_done(core, request);
}

static struct core_waiter *
waiter_next(const struct mmq_core *core, const uint8_t job[16])
{
	uint64_t hash = core_hash(core, 1, job, 16);
	size_t cursor = SIZE_MAX;
	struct core_waiter *waiter;

	while ((waiter = core_table_find(&core->waiters, hash, &cursor)) != NULL)
		if (memcmp(waiter->job, job, 16) == 0)
			return waiter;
	return NULL;
}

/* The journal knows this id: its row is the truth, this request was the repetition. */
static void
put_exists(struct mmq_core *core, struct core_request *request, struct mmq_journal_row *found)
{
	bool same = found != NULL && memcmp(found->fingerprint, request->fingerprint, 16) == 0;
	struct core_waiter *waiter;
	struct mmq_core_job *job = mmq_arena_get(&core->scratch, sizeof *job);

	while (same && (waiter = waiter_next(core, request->job)) != NULL) {
		core_job_of_row(job, found);
		if (waiter->acceptance) {
			core_accepted(core, waiter, job);
			core_waiter_put(core, waiter);
		} else {
			core_waiter_add(core, waiter, found->job, INT64_MAX);
		}
	}
	if (same && found->result_seq != 0)
		core_row_waiters(core, found);
	put_refused(core, request, MMQ_ALREADY_EXISTS, "id: this id was used for another request", 0);
}

/* Wake those who asked only for acceptance. */
static void
put_accepted(struct mmq_core *core, const struct core_request *request)
{
	struct mmq_core_job *job = mmq_arena_get(&core->scratch, sizeof *job);
	uint64_t hash = core_hash(core, 1, request->job, 16);
	struct core_waiter *waiter;
	size_t cursor;

	core_request_job(request, job);
	do {
		cursor = SIZE_MAX;
		while ((waiter = core_table_find(&core->waiters, hash, &cursor)) != NULL)
			if (memcmp(waiter->job, request->job, 16) == 0 && waiter->acceptance && waiter->op != MMQ_OP_JOB_CANCEL)
				break;
		if (waiter != NULL) {
			core_accepted(core, waiter, job);
			core_waiter_put(core, waiter);
		}
	} while (waiter != NULL);
}

static void
put_done(struct mmq_core *core, struct core_request *request, struct mmq_journal_event *event)
{
	struct core_lane *lane = request->lane;

	core->puts--;
	switch (event->status) {
	case MMQ_JOURNAL_OK:
		break;
	case MMQ_JOURNAL_EXISTS:
		put_exists(core, request, event->found);
		return;
	case MMQ_JOURNAL_FULL:
		CORE_COUNT(core, journal_full);
		core->full_until_us = core->now_us + 10 * JOURNAL_RETRY_US;
		put_refused(core, request, MMQ_RESOURCE_EXHAUSTED, "the journal's disk is full", 5000);
		return;
	default:
		put_refused(core, request, MMQ_UNAVAILABLE, "the journal failed; send again with the same id", 1000);
		return;
	}
	request->seq = event->seq;
	request->state = R_LOOSE;
	core->durable++;
	core_job_event(core, request, "queued");
	put_accepted(core, request);
	if (request->late_cancel) {
		core_end(core, request, MMQ_JOB_CANCELLED, MMQ_CANCELLED, "cancelled on request");
	} else if (request->deadline_us <= core->now_us) {
		core_end(core, request, MMQ_JOB_FAILED, MMQ_DEADLINE_EXCEEDED, "the deadline passed before there was an answer");
	} else if (core->recovering || lane->backlog || lane->heads >= core->limits.heads_lane_max) {
		core_spill(core, request);
	} else {
		lane->last_seq = request->seq;
		if (request->bytes > core->limits.body_keep_bytes)
			core_free_body(core, &request->body);
		core_queue_push(core, request, false);
	}
}

static void
body_arrived(struct mmq_core *core, struct core_request *request, struct mmq_journal_page *page)
{
	core->fetches--;
	if (request->state != R_FETCHING)
		return;
	request->state = R_LOOSE;
	if (page->status == MMQ_JOURNAL_BROKEN)
		return;
	if (page->count == 0 || page->rows[0].body == NULL) {
		core_end(core, request, MMQ_JOB_FAILED, MMQ_DATA_LOSS, "the request's bytes in the journal are damaged");
		return;
	}
	request->body = page->rows[0].body;
	page->rows[0].body = NULL;
	core_queue_return(core, request);
}

static void
page_done(struct mmq_core *core, struct core_pending *pending, struct mmq_journal_page *page)
{
	switch (pending->why) {
	case P_LANES: core_on_lanes(core, page); break;
	case P_HEADS: core_on_heads(core, pending->lane, page); break;
	case P_EXPIRED: core_on_expired(core, page); break;
	case P_BODY: body_arrived(core, pending->request, page); break;
	case P_AGAIN: core_on_again(core, pending, page); break;
	case P_RECHECK:
		if (page->count > 0)
			core_row_waiters(core, &page->rows[0]);
		break;
	default: core_on_job_page(core, pending, page); break;
	}
}

static void
command_done(struct mmq_core *core, struct core_pending *pending, struct mmq_journal_event *event)
{
	switch (pending->why) {
	case P_PUT: put_done(core, pending->request, event); break;
	case P_OUTCOME: core_outcome_written(core, pending->request, event->status, event->result_seq); break;
	case P_DEAD: core_dead_done(core, pending, event); break;
	case P_GRANT: core_granted(core, pending, event); break;
	case P_PRUNE:
		if (event->number >= MMQ_PRUNE_ROWS_MAX) /* more may be due: soon again, but not at the cost of what comes meanwhile */
			core_heap_set(&core->timers, &core->prune, core->now_us + PRUNE_AGAIN_US);
		break;
	default: break; /* a lost strike or lease is made good by the next one */
	}
}

/* The request may end in here; it is retired by whoever lets go of it last. */
static void
request_let_go(struct mmq_core *core, struct core_request *request)
{
	request->pending--;
	if (request->state != R_ENDED || request->pending > 0)
		return;
	request->node.next = (struct core_node *)core->retired;
	core->retired = request;
}

void
core_on_journal(struct mmq_core *core, struct mmq_journal_event *event)
{
	struct core_pending *pending = pending_take(core, event->is_page ? event->page->ticket : event->ticket);
	enum mmq_journal_status status = event->is_page ? event->page->status : event->status;

	if (pending == NULL)
		return;
	if (status == MMQ_JOURNAL_BROKEN)
		core_stop(core, event->message);
	if (!event->is_page)
		core_observe(&core->journal_times, core->now_us - pending->since_us);
	if (event->is_page)
		page_done(core, pending, event->page);
	else
		command_done(core, pending, event);
	if (pending->request != NULL)
		request_let_go(core, pending->request);
	if (pending->waiter != NULL && !pending->waiter->queued)
		core_waiter_put(core, pending->waiter);
	pending->next = core->free_pendings;
	core->free_pendings = pending;
}
