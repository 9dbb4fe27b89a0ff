/* jobs.c: what the broker answers itself: jobs, cancel, results, ping, status. Jobs in memory are answered at once, others by a read. */
#include "broker/core_inner.h"

#include <stdlib.h>

static int
job_parse(const struct mmq_head *head, uint8_t job_out[16])
{
	if (head->job.at == NULL || head->job.size != 32)
		return -1;
	for (int i = 0; i < 32; i++) {
		char c = head->job.at[i];
		int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
		if (digit == -1)
			return -1;
		job_out[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : job_out[i / 2] | digit);
	}
	return 0;
}

/* A waiter that goes along with a read. NULL: refused. */
static struct core_waiter *
reader_new(struct mmq_core *core, const struct mmq_core_request *in)
{
	struct core_waiter *waiter = core->journal && !core->stopped ? core_waiter_get(core) : NULL;
	struct mmq_err err;

	if (waiter != NULL) {
		core_waiter_fill(waiter, in);
		return waiter;
	}
	if (!core->journal || core->stopped)
		mmq_err_set(&err, MMQ_UNAVAILABLE, "there is no journal to ask");
	else
		mmq_err_set(&err, MMQ_RESOURCE_EXHAUSTED, "too many clients wait (waiters_max)");
	err.retry_after_ms = core_retry_after_ms(core, core->waiting + core->leased);
	core_refuse(core, in, &err);
	return NULL;
}

static int64_t
wait_until(const struct mmq_core *core, const struct mmq_head *head)
{
	return core->now_us + (head->deadline_ms > 0 ? head->deadline_ms : core->limits.wait_ms) * US_PER_MS;
}

static const struct mmq_core_job *
job_now(struct mmq_core *core, const struct core_request *request)
{
	struct mmq_core_job *job = mmq_arena_get(&core->scratch, sizeof *job);

	core_request_job(request, job);
	return job;
}

static void
request_cancel(struct mmq_core *core, struct core_request *request)
{
	if (request->state == R_PUTTING)
		request->late_cancel = true;
	else
		core_end(core, request, MMQ_JOB_CANCELLED, MMQ_CANCELLED, "cancelled on request");
}

/* job.get, job.wait, job.cancel of a job in memory. The waiter is answered here or queued. */
static void
job_serve(struct mmq_core *core, struct core_waiter *waiter, struct core_request *request, int64_t due_us)
{
	if (waiter->op == MMQ_OP_JOB_GET) {
		core_answer_to(core, waiter, MMQ_ANSWER_JOB)->job = job_now(core, request);
		return;
	}
	core_waiter_add(core, waiter, request->job, due_us);
	if (waiter->op == MMQ_OP_JOB_CANCEL || waiter->op == MMQ_OP_CANCEL)
		request_cancel(core, request);
}

static void
no_dead_letter(struct mmq_core *core, const struct core_waiter *waiter)
{
	core_answer_error(core, waiter, MMQ_FAILED_PRECONDITION, "job: it is no dead letter", 0);
}

static void
job_op(struct mmq_core *core, const struct mmq_core_request *in)
{
	uint8_t job[16] = { 0 };
	struct core_request *request;
	struct core_waiter *waiter;
	struct core_pending *pending;
	struct mmq_journal_read *read;
	struct mmq_err err;

	if (job_parse(in->head, job) == -1) {
		mmq_err_value(&err, MMQ_INVALID_ARGUMENT, "job", "32 lower-case hexadecimal digits", "something else or nothing");
		core_refuse(core, in, &err);
		return;
	}
	waiter = reader_new(core, in);
	if (waiter == NULL)
		return;
	memcpy(waiter->job, job, sizeof job);
	request = core_find_job(core, job);
	if (request != NULL && strcmp(request->lane->tenant->name, in->tenant) == 0) {
		if (waiter->op == MMQ_OP_DEAD_REQUEUE || waiter->op == MMQ_OP_DEAD_DROP) {
			no_dead_letter(core, waiter);
			core_waiter_put(core, waiter);
			return;
		}
		job_serve(core, waiter, request, wait_until(core, in->head));
		if (!waiter->queued)
			core_waiter_put(core, waiter);
		return;
	}
	if (request != NULL)
		core_foreign_job(core, in->tenant, job);
	waiter->timer.due = wait_until(core, in->head);
	read = core_read(core, MMQ_READ_FIND, P_JOB, &pending);
	pending->waiter = waiter;
	pending->asker = core_tenant_get(core, in->tenant);
	snprintf(read->row.tenant, sizeof read->row.tenant, "%s", in->tenant);
	memcpy(read->row.job, job, sizeof job);
	read->job_is_set = read->with_answer = true;
}

static int
by_seq_descending(const void *a, const void *b)
{
	uint64_t x = ((const struct mmq_journal_row *)a)->seq, y = ((const struct mmq_journal_row *)b)->seq;

	return x < y ? 1 : x > y ? -1 : 0;
}

static void
row_of_request(const struct core_request *request, struct mmq_journal_row *row)
{
	memset(row, 0, sizeof *row);
	row->seq = request->seq;
	row->op = request->op;
	row->state = MMQ_JOB_RUNNING;
	row->attempt = request->attempt;
	row->created_ms = request->created_ms;
	row->started_ms = request->started_ms;
	memcpy(row->job, request->job, sizeof row->job);
	memcpy(row->model, request->lane->model, sizeof row->model);
}

/* What runs is known here alone and at most one per trainer: the journal has no say in it. */
static void
job_list_running(struct mmq_core *core, const struct mmq_core_request *in)
{
	const struct mmq_core_query *query = in->query;
	uint32_t limit = query->limit == 0 ? 100 : query->limit;
	struct core_waiter to = { 0 };
	struct mmq_journal_page *page = mmq_arena_get(&core->scratch, sizeof *page);
	struct core_node *at, *lease;

	memset(page, 0, sizeof *page);
	page->rows = mmq_arena_get(&core->scratch, (core->workers_count + 1) * sizeof *page->rows);
	for (at = core->workers.next; at != &core->workers; at = at->next)
		for (lease = OF(struct core_worker, node, at)->leases.next; lease != &OF(struct core_worker, node, at)->leases; lease = lease->next) {
			const struct core_request *request = OF(struct core_lease, node, lease)->request;
			if (request == NULL || request->op != MMQ_OP_TRAIN || strcmp(request->lane->tenant->name, in->tenant) != 0 ||
			    (query->since != 0 && request->seq >= query->since) || page->count == core->workers_count ||
			    (query->model != NULL && (strlen(request->lane->model) != query->model_size || memcmp(request->lane->model, query->model, query->model_size) != 0)))
				continue;
			row_of_request(request, &page->rows[page->count++]);
		}
	qsort(page->rows, page->count, sizeof *page->rows, by_seq_descending);
	page->more = page->count > limit;
	page->count = page->more ? limit : page->count;
	core_waiter_fill(&to, in);
	core_answer_to(core, &to, MMQ_ANSWER_JOBS)->page = page;
}

static void
job_list(struct mmq_core *core, const struct mmq_core_request *in)
{
	const struct mmq_core_query *query = in->query;
	struct core_waiter *waiter = reader_new(core, in);
	struct core_pending *pending;
	struct mmq_journal_read *read;

	if (waiter == NULL)
		return;
	read = core_read(core, in->head->op == MMQ_OP_DEAD_LIST ? MMQ_READ_DEAD : MMQ_READ_LIST, P_LIST, &pending);
	read->row.strikes = core->limits.strikes_max;
	pending->waiter = waiter;
	snprintf(read->row.tenant, sizeof read->row.tenant, "%s", in->tenant);
	pending->what = query != NULL && query->state >= 0 ? (uint8_t)(query->state + 1) : 0;
	read->state = query == NULL ? -1 : (int)query->state;
	if (query != NULL && query->model != NULL && query->model_size < sizeof read->row.model)
		memcpy(read->row.model, query->model, query->model_size);
	read->after = query == NULL ? 0 : query->since;
	read->limit = query == NULL || query->limit == 0 ? 100 : query->limit > 1000 ? 1000 : query->limit;
}

static void
results(struct mmq_core *core, const struct mmq_core_request *in)
{
	const struct mmq_core_query *query = in->query;
	struct core_waiter *waiter = reader_new(core, in);
	struct core_pending *pending;
	struct mmq_journal_read *read;

	if (waiter == NULL)
		return;
	read = core_read(core, MMQ_READ_RESULTS, P_RESULTS, &pending);
	pending->waiter = waiter;
	snprintf(read->row.tenant, sizeof read->row.tenant, "%s", in->tenant);
	read->limit = 100;
	read->bytes_max = 1u << 20;
	if (query == NULL)
		return;
	if (query->prefix != NULL)
		core_foreign_topic(core, in->tenant, query->prefix, query->prefix_size);
	if (query->prefix != NULL)
		snprintf(read->prefix, sizeof read->prefix, "%.*s", (int)query->prefix_size, query->prefix);
	read->after = query->since;
	if (query->limit != 0)
		read->limit = query->limit > 1000 ? 1000 : query->limit;
	if (query->bytes_max != 0 && query->bytes_max < read->bytes_max)
		read->bytes_max = query->bytes_max;
}

/* cancel: a plain request of the same connection, else a durable one of the tenant. */
static void
cancel(struct mmq_core *core, const struct mmq_core_request *in)
{
	bool named = in->query != NULL && in->query->request != NULL;
	const uint8_t *id = named ? in->query->request : (const uint8_t *)in->head->id.at;
	size_t size = named ? in->query->request_size : id == NULL ? 0 : in->head->id.size, cursor = SIZE_MAX;
	struct core_request *request;
	struct core_waiter to = { 0 }, *waiter;
	struct core_pending *pending;
	struct mmq_journal_read *read;

	core_waiter_fill(&to, in);
	if (size > MMQ_ID_BYTES_MAX)
		size = 0;
	uint64_t hash = core_hash(core, in->route, id, size);
	while (size > 0 && (request = core_table_find(&core->plain_ids, hash, &cursor)) != NULL) {
		if (request->route != in->route || request->id_size != size || memcmp(request->id, id, size) != 0)
			continue;
		request_cancel(core, request);
		core_answer_to(core, &to, MMQ_ANSWER_CANCEL)->text = "cancelled";
		return;
	}
	if (size == 0 || !core->journal || (waiter = reader_new(core, in)) == NULL) {
		if (size == 0 || !core->journal)
			core_answer_to(core, &to, MMQ_ANSWER_CANCEL)->text = "unknown";
		return;
	}
	for (int binary = 0; binary < 2; binary++) {
		request = core_find_durable(core, in->tenant, id, size, binary != 0);
		if (request == NULL)
			continue;
		job_serve(core, waiter, request, INT64_MAX);
		return;
	}
	read = core_read(core, MMQ_READ_FIND, P_CANCEL, &pending);
	pending->waiter = waiter;
	snprintf(read->row.tenant, sizeof read->row.tenant, "%s", in->tenant);
	memcpy(read->row.id, id, size);
	read->row.id_size = (uint8_t)size;
	read->row.id_is_binary = size == 16 && in->head->id_is_binary;
}

void
core_serve(struct mmq_core *core, const struct mmq_core_request *in)
{
	struct core_waiter to = { 0 };

	core_waiter_fill(&to, in);
	if (in->route == 0)
		return; /* a pushed question has nobody to answer */
	switch (in->head->op) {
	case MMQ_OP_JOB_GET:
	case MMQ_OP_JOB_WAIT:
	case MMQ_OP_JOB_CANCEL:
	case MMQ_OP_DEAD_REQUEUE:
	case MMQ_OP_DEAD_DROP: job_op(core, in); break;
	case MMQ_OP_DEAD_LIST: job_list(core, in); break;
	case MMQ_OP_JOB_LIST:
		if (in->query != NULL && in->query->state == MMQ_JOB_RUNNING)
			job_list_running(core, in);
		else
			job_list(core, in);
		break;
	case MMQ_OP_RESULTS: results(core, in); break;
	case MMQ_OP_CANCEL: cancel(core, in); break;
	case MMQ_OP_PING: core_answer_to(core, &to, MMQ_ANSWER_PONG); break;
	case MMQ_OP_STATUS: core_answer_to(core, &to, MMQ_ANSWER_STATUS); break;
	default: core_answer_error(core, &to, MMQ_INTERNAL, "op: nobody serves it", 0); break;
	}
}

/* ---- Pages ---------------------------------------------------------------------------------------------------------- */

/* The waiter goes on with the command. */
static void
dead_change(struct mmq_core *core, struct core_pending *was, const struct mmq_journal_row *row)
{
	struct core_waiter *waiter = was->waiter;
	struct core_pending *pending;
	struct mmq_journal_command *command;
	struct core_tenant *tenant = core_tenant_get(core, row->tenant);
	struct core_lane *lane = tenant == NULL ? NULL :
	    core_lane_get(core, tenant, (enum mmq_work_kind)row->kind, row->priority, row->model, row->version);

	if (lane == NULL) {
		core_answer_error(core, waiter, MMQ_RESOURCE_EXHAUSTED, "too many lanes; try again", core_retry_after_ms(core, core->waiting + core->leased));
		return;
	}
	command = core_command(core, waiter->op == MMQ_OP_DEAD_REQUEUE ? MMQ_REVIVE : MMQ_FORGET, P_DEAD, NULL, &pending);
	command->row.seq = row->seq;
	command->row.strikes = core->limits.strikes_max;
	pending->lane = lane;
	pending->waiter = waiter;
	was->waiter = NULL;
}

/* The lane that was kept for it reads its heads anew: a revived row is older than all that it has. */
void
core_dead_done(struct mmq_core *core, struct core_pending *pending, const struct mmq_journal_event *event)
{
	struct core_waiter *waiter = pending->waiter;
	struct core_lane *lane = pending->lane;
	struct mmq_core_job *job;

	if (event->status == MMQ_JOURNAL_OK) {
		job = mmq_arena_get(&core->scratch, sizeof *job);
		*job = (struct mmq_core_job){ .state = MMQ_JOB_QUEUED, .model = lane->model, .seq = event->seq };
		memcpy(job->job, waiter->job, sizeof job->job);
		core_answer_to(core, waiter, event->verb == MMQ_REVIVE ? MMQ_ANSWER_ACCEPTED : MMQ_ANSWER_DROPPED)->job = job;
		if (event->verb == MMQ_REVIVE) {
			core->durable++;
			lane->last_seq = 0;
			lane->backlog = true;
			core_lane_refill(core, lane);
		}
	} else if (event->status == MMQ_JOURNAL_ENDED || event->status == MMQ_JOURNAL_MISSING) {
		no_dead_letter(core, waiter);
	} else {
		core_answer_error(core, waiter, event->status == MMQ_JOURNAL_FULL ? MMQ_RESOURCE_EXHAUSTED : MMQ_UNAVAILABLE, "the journal could not do it; try again", 1000);
	}
	core_lane_release(core, lane);
}

/* The row of a job that was not in memory when it was asked for; it may be by now. */
static void
job_found(struct mmq_core *core, struct core_pending *pending, struct mmq_journal_page *page)
{
	struct core_waiter *waiter = pending->waiter;
	struct mmq_journal_row *row = page->count == 0 ? NULL : &page->rows[0];
	struct core_request *request = row == NULL ? NULL : core_find_job(core, row->job);

	if (row == NULL) {
		if (page->is_foreign && pending->asker != NULL)
			core_foreign_job(core, pending->asker->name, waiter->job);
		if (waiter->op == MMQ_OP_CANCEL)
			core_answer_to(core, waiter, MMQ_ANSWER_CANCEL)->text = "unknown";
		else
			core_answer_error(core, waiter, MMQ_NOT_FOUND, "job: there is no such job", 0);
		return;
	}
	if (waiter->op == MMQ_OP_DEAD_REQUEUE || waiter->op == MMQ_OP_DEAD_DROP) {
		dead_change(core, pending, row);
		return;
	}
	if (row->result_seq != 0 || waiter->op == MMQ_OP_JOB_GET) {
		core_answer_row(core, waiter, row);
		return;
	}
	if (request == NULL && waiter->op != MMQ_OP_JOB_WAIT) {
		request = core_request_of_row(core, row);
		if (request != NULL)
			request->state = R_LOOSE;
	}
	if (request != NULL)
		job_serve(core, waiter, request, waiter->timer.due == 0 ? INT64_MAX : waiter->timer.due);
	else if (waiter->op == MMQ_OP_JOB_WAIT)
		core_waiter_add(core, waiter, row->job, waiter->timer.due);
	else
		core_answer_error(core, waiter, MMQ_RESOURCE_EXHAUSTED, "too many lanes; try again", core_retry_after_ms(core, core->waiting + core->leased));
}

/* Rows say "queued" until the end; what is being worked on is known here. */
static void
list_refresh(struct mmq_core *core, struct mmq_journal_page *page, int state)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < page->count; i++) {
		struct mmq_journal_row *row = &page->rows[i];
		const struct core_request *request = row->result_seq == 0 ? core_find_job(core, row->job) : NULL;
		if (request != NULL && request->state == R_LEASED) {
			row->state = MMQ_JOB_RUNNING;
			row->attempt = request->attempt;
			row->started_ms = request->started_ms;
		}
		if (state >= 0 && (int)row->state != state)
			continue;
		if (kept != i) {
			struct mmq_journal_row swap = page->rows[kept];
			page->rows[kept] = *row;
			page->rows[i] = swap;
		}
		kept++;
	}
	page->count = kept;
}

void
core_on_job_page(struct mmq_core *core, struct core_pending *pending, struct mmq_journal_page *page)
{
	struct core_waiter *waiter = pending->waiter;
	struct mmq_core_answer *answer;

	if (page->status == MMQ_JOURNAL_BROKEN || page->status == MMQ_JOURNAL_DAMAGED) {
		core_answer_error(core, waiter, page->status == MMQ_JOURNAL_BROKEN ? MMQ_UNAVAILABLE : MMQ_DATA_LOSS,
		    "the journal could not be read", 1000);
		return;
	}
	switch (pending->why) {
	case P_LIST:
		list_refresh(core, page, (int)pending->what - 1);
		answer = core_answer_to(core, waiter, MMQ_ANSWER_JOBS);
		answer->page = page;
		break;
	case P_RESULTS:
		answer = core_answer_to(core, waiter, MMQ_ANSWER_RESULTS);
		answer->page = page;
		break;
	default:
		job_found(core, pending, page);
		break;
	}
}
