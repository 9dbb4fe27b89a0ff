/* outcome.c: how a request ends, once: answered, failed, expired, cancelled or a dead letter.
 *
 * A plain one is answered at once. A durable one's outcome is journalled first; answer and sink message leave only after the commit. A
 * refused write (disk full) is tried again until it is taken, the client waits. */
#include "broker/core_inner.h"

#include <stdlib.h>

struct mmq_core_answer *
core_answer_to(struct mmq_core *core, const struct core_waiter *to, enum mmq_answer_form form)
{
	struct mmq_core_answer *answer = &core_act(core, MMQ_DO_ANSWER)->answer;
	uint8_t *id = mmq_arena_get(&core->scratch, sizeof to->id + sizeof to->request), *request = id + sizeof to->id;

	memcpy(id, to->id, to->id_size);
	memcpy(request, to->request, to->request_size);
	answer->route = to->route;
	answer->tag = to->tag;
	answer->id = id;
	answer->id_size = to->id_size;
	answer->id_is_binary = to->id_is_binary;
	answer->request = request;
	answer->request_size = to->request_size;
	answer->request_is_binary = to->request_is_binary;
	answer->trace = to->trace[0] == '\0' ? NULL : mmq_arena_strndup(&core->scratch, to->trace, strlen(to->trace));
	answer->op = to->op;
	answer->form = form;
	return answer;
}

static struct mmq_err *
error_make(struct mmq_core *core, enum mmq_code code, const char *why, uint32_t retry_after_ms)
{
	struct mmq_err *err = mmq_arena_get(&core->scratch, sizeof *err);

	mmq_err_set(err, code, "%s", why == NULL ? "" : why);
	err->retry_after_ms = retry_after_ms;
	return err;
}

void
core_answer_error(struct mmq_core *core, const struct core_waiter *to, enum mmq_code code, const char *why, uint32_t retry_after_ms)
{
	struct mmq_err *err = error_make(core, code, why, retry_after_ms);

	core_answer_to(core, to, MMQ_ANSWER_ERROR)->err = err;
}

/* ---- What a job looks like ---------------------------------------------------------------------------------------- */

void
core_request_job(const struct core_request *request, struct mmq_core_job *job)
{
	bool ended = request->state == R_ENDED;

	*job = (struct mmq_core_job){ .tenant = request->lane->tenant->name, .model = request->lane->model, .op = request->op,
		.state = ended ? request->end_state : request->state == R_LEASED || (request->state == R_ENDING && request->started_ms != 0) ?
		    MMQ_JOB_RUNNING : MMQ_JOB_QUEUED,
		.attempt = request->attempt, .version = ended ? request->result_version : 0, .seq = request->seq,
		.result_seq = request->result_seq, .created_ms = request->created_ms, .started_ms = request->started_ms,
		.ended_ms = ended ? request->ended_ms : 0, .progress = ended ? NULL : request->progress,
		.result = ended ? request->answer : NULL, .code = ended ? request->code : MMQ_OK, .message = request->why, .trace = request->trace };
	memcpy(job->job, request->job, sizeof job->job);
}

static const struct mmq_core_job *
job_kept(struct mmq_core *core, const struct core_request *request)
{
	struct mmq_core_job *job = mmq_arena_get(&core->scratch, sizeof *job);

	core_request_job(request, job);
	if (job->message != NULL)
		job->message = mmq_arena_strndup(&core->scratch, job->message, strlen(job->message));
	return job;
}

static void
hex(const uint8_t bytes[16], char text_out[33])
{
	mmq_job_id_format(bytes, text_out);
}

/* The topic on which this request's outcome appears; "" if nowhere. */
static void
topic_of(const struct core_request *request, char topic_out[MMQ_JOURNAL_TOPIC])
{
	char job[33];

	topic_out[0] = '\0';
	if (request->op == MMQ_OP_TRAIN) {
		hex(request->job, job);
		snprintf(topic_out, MMQ_JOURNAL_TOPIC, "job/%s/%s", request->lane->tenant->name, job);
	} else if (request->sink) {
		snprintf(topic_out, MMQ_JOURNAL_TOPIC, "result/%s/%s/%s", request->lane->tenant->name, request->lane->model,
		    mmq_op_name((enum mmq_op)request->op));
	}
}

void
core_job_event(struct mmq_core *core, struct core_request *request, const char *event)
{
	char topic[MMQ_JOURNAL_TOPIC];
	struct mmq_core_publish *publish;
	const struct mmq_core_job *job;

	if (request->op != MMQ_OP_TRAIN)
		return;
	topic_of(request, topic);
	job = job_kept(core, request);
	publish = core_publish(core, request->lane->tenant, MMQ_PUBLISH_JOB, topic, request->state == R_ENDED);
	if (publish == NULL)
		return;
	publish->event = event;
	publish->job = job;
	publish->seq = request->result_seq;
}

void
core_publish_answer(struct mmq_core *core, struct core_request *request)
{
	char topic[MMQ_JOURNAL_TOPIC];
	struct mmq_core_publish *publish;

	topic_of(request, topic);
	publish = topic[0] == '\0' ? NULL : core_publish(core, request->lane->tenant, MMQ_PUBLISH_ANSWER, topic, false);
	if (publish == NULL)
		return;
	publish->id = request->id;
	publish->id_size = request->id_size;
	publish->id_is_binary = request->id_is_binary;
	publish->body = request->answer;
	publish->seq = request->result_seq;
	publish->trace = request->trace;
	if (request->answer == NULL)
		publish->err = error_make(core, request->code, request->why, 0);
}

/* ---- The end ------------------------------------------------------------------------------------------------------ */

/* Take it out of whatever list or lease it is in. What a worker still computes for it will come too late. */
void
core_detach(struct mmq_core *core, struct core_request *request)
{
	struct core_lease *lease = request->lease;
	struct mmq_core_action *cancel;

	switch (request->state) {
	case R_QUEUED:
		core_queue_remove(core, request);
		break;
	case R_ADOPTABLE:
		core_list_remove(&request->node);
		core_table_remove(&core->adoptable_leases, core_hash_number(core, request->lease_delivery), request);
		break;
	case R_LEASED:
		cancel = core_act(core, MMQ_DO_CANCEL_WORK);
		cancel->route = lease->worker->route;
		cancel->cancel.lease = lease->name;
		cancel->cancel.code = request->code == MMQ_DEADLINE_EXCEEDED ? MMQ_DEADLINE_EXCEEDED : MMQ_CANCELLED;
		lease->request = NULL;
		request->lease = NULL;
		core->leased--;
		if (request->lane->kind == MMQ_WORK_STORE) {
			request->lane->busy = false;
			core_lane_order(core, request->lane);
		}
		break;
	default:
		break;
	}
	request->state = R_LOOSE;
}

static void
count_end(struct mmq_core *core, const struct core_request *request)
{
	static const enum mmq_work_kind none = MMQ_WORK_KINDS;
	enum mmq_work_kind kind = request->end_state == MMQ_JOB_DONE ? request->lane->kind : none;

	CORE_COUNT(core, answered);
	core_metric(core, request)->codes[(unsigned)request->code < MMQ_CODE_COUNT ? request->code : MMQ_INTERNAL]++;
	core->status.counters.predict_done += kind == MMQ_WORK_PREDICT;
	core->status.counters.train_done += kind == MMQ_WORK_TRAIN;
	core->status.counters.store_done += kind == MMQ_WORK_STORE;
	core->status.counters.expired += request->code == MMQ_DEADLINE_EXCEEDED;
	core->status.counters.cancelled += request->end_state == MMQ_JOB_CANCELLED;
	if (request->trace != NULL)
		core_act(core, MMQ_DO_TRACED)->traced = (struct mmq_core_traced){ request->trace, request->lane->tenant->name, request->lane->model,
			request->id, request->id_size, request->id_is_binary, request->op, request->code, request->queue_us, request->service_us,
			request->attempt };
}

static void
plain_end(struct mmq_core *core, struct core_request *request)
{
	struct mmq_core_answer *answer;

	if (request->route != 0) {
		answer = &core_act(core, MMQ_DO_ANSWER)->answer;
		answer->route = request->route;
		answer->tag = request->tag;
		answer->id = request->id;
		answer->id_size = request->id_size;
		answer->id_is_binary = request->id_is_binary;
		answer->trace = request->trace;
		answer->op = request->op;
		answer->form = request->answer != NULL ? MMQ_ANSWER_BODY : MMQ_ANSWER_ERROR;
		answer->body = request->answer;
		answer->body_is_last = !request->sink;
		if (request->answer == NULL)
			answer->err = error_make(core, request->code, request->why, 0);
	}
	if (request->sink)
		core_publish_answer(core, request);
	count_end(core, request);
	core_request_done(core, request);
}

void
core_outcome_write(struct mmq_core *core, struct core_request *request)
{
	struct core_pending *pending;
	enum mmq_journal_verb verb = request->end_state == MMQ_JOB_CANCELLED && request->answer == NULL ? MMQ_CANCEL : MMQ_OUTCOME;
	struct mmq_journal_command *command = core_command(core, verb, P_OUTCOME, request, &pending);

	command->row.state = request->end_state;
	command->row.code = request->code;
	command->row.result_version = request->result_version;
	command->row.attempt = request->attempt;
	command->row.keep = request->is_dead; /* a dead letter's body stays, to be looked at and tried again */
	if (request->why != NULL)
		snprintf(command->row.message, sizeof command->row.message, "%s", request->why);
	topic_of(request, command->row.topic);
	command->body = request->answer;
	command->wall_ms = request->ended_ms;
}

static void
finish(struct mmq_core *core, struct core_request *request)
{
	core_heap_remove(&core->timers, &request->timer);
	if (!request->durable) {
		plain_end(core, request);
		return;
	}
	request->state = R_ENDING;
	request->ended_ms = core->wall_ms > request->created_ms ? core->wall_ms : request->created_ms; /* a clock set back must not age it */
	core_outcome_write(core, request);
}

void
core_end(struct mmq_core *core, struct core_request *request, enum mmq_journal_state state, enum mmq_code code, const char *why)
{
	if (request->state == R_ENDING || request->state == R_ENDED)
		return;
	request->code = code;
	core_detach(core, request);
	request->end_state = state;
	free(request->why);
	request->why = mmq_strdup(why);
	finish(core, request);
}

void
core_end_with(struct mmq_core *core, struct core_request *request, const struct mmq_work_result *result, struct mmq_body *answer, const char *why)
{
	request->end_state = result->code == MMQ_OK ? MMQ_JOB_DONE : result->code == MMQ_CANCELLED ? MMQ_JOB_CANCELLED : MMQ_JOB_FAILED;
	request->code = result->code;
	request->result_version = result->version;
	request->answer = answer;
	if (request->why == NULL && (why != NULL || answer == NULL))
		request->why = mmq_strdup(why != NULL ? why : "the worker gave no reason");
	finish(core, request);
}

/* ---- After the commit ----------------------------------------------------------------------------------------------- */

static bool
asks_for_job(const struct core_waiter *waiter)
{
	return waiter->op == MMQ_OP_JOB_WAIT || waiter->op == MMQ_OP_JOB_CANCEL || waiter->op == MMQ_OP_JOB_GET;
}

static struct core_waiter *
waiter_of(const struct mmq_core *core, const uint8_t job[16])
{
	uint64_t hash = core_hash(core, 1, job, 16);
	size_t cursor = SIZE_MAX;
	struct core_waiter *waiter;

	while ((waiter = core_table_find(&core->waiters, hash, &cursor)) != NULL)
		if (memcmp(waiter->job, job, 16) == 0)
			return waiter;
	return NULL;
}

void
core_waiters_error(struct mmq_core *core, const uint8_t job[16], enum mmq_code code, const char *why, uint32_t retry_after_ms)
{
	struct core_waiter *waiter;

	while ((waiter = waiter_of(core, job)) != NULL) {
		core_answer_error(core, waiter, code, why, retry_after_ms);
		core_waiter_put(core, waiter);
	}
}

static void
waiter_answer(struct mmq_core *core, const struct core_waiter *waiter, const struct mmq_core_job *job)
{
	if (waiter->op == MMQ_OP_CANCEL)
		core_answer_to(core, waiter, MMQ_ANSWER_CANCEL)->text = job->state == MMQ_JOB_CANCELLED ? "cancelled" : "unknown";
	else if (asks_for_job(waiter))
		core_answer_to(core, waiter, MMQ_ANSWER_JOB)->job = job;
	else if (waiter->acceptance)
		core_accepted(core, waiter, job);
	else if (job->result != NULL)
		core_answer_to(core, waiter, MMQ_ANSWER_BODY)->body = job->result;
	else
		core_answer_error(core, waiter, job->code, job->message, 0);
}

static void
waiters_answer(struct mmq_core *core, const struct mmq_core_job *job)
{
	struct core_waiter *waiter;

	while ((waiter = waiter_of(core, job->job)) != NULL) {
		waiter_answer(core, waiter, job);
		core_waiter_put(core, waiter);
	}
}

/* A row that ended earlier. Its answer is given back after those who read it now. */
void
core_answer_row(struct mmq_core *core, const struct core_waiter *to, struct mmq_journal_row *row)
{
	struct mmq_core_job *job = mmq_arena_get(&core->scratch, sizeof *job);

	core_job_of_row(job, row);
	waiter_answer(core, to, job);
	core_free_body(core, &row->answer);
}

void
core_row_waiters(struct mmq_core *core, struct mmq_journal_row *row)
{
	struct mmq_core_job *job = mmq_arena_get(&core->scratch, sizeof *job);

	core_job_of_row(job, row);
	waiters_answer(core, job);
	core_free_body(core, &row->answer);
}

static void
model_published(struct mmq_core *core, struct core_request *request)
{
	struct mmq_core_publish *publish;
	char topic[MMQ_JOURNAL_TOPIC];

	snprintf(topic, sizeof topic, "model/%s/%s", request->lane->tenant->name, request->lane->model);
	publish = core_publish(core, request->lane->tenant, MMQ_PUBLISH_MODEL, topic, false);
	if (publish != NULL) {
		publish->event = "published";
		publish->job = job_kept(core, request);
		publish->model = request->lane->model;
		publish->version = request->result_version;
	}
	core_version_add(core, request, request->result_version);
	core_load_everywhere(core, request->lane->tenant->name, request->lane->model, request->result_version);
}

void
core_stop(struct mmq_core *core, const char *why)
{
	if (core->stopped)
		return;
	core->stopped = true;
	core_act(core, MMQ_DO_STOP)->message = mmq_arena_strndup(&core->scratch, why, strlen(why));
}

void
core_outcome_written(struct mmq_core *core, struct core_request *request, enum mmq_journal_status status, uint64_t result_seq)
{
	struct core_pending *pending;
	struct mmq_journal_read *read;

	if (status == MMQ_JOURNAL_FULL) {
		core_heap_set(&core->timers, &request->timer, core->now_us + JOURNAL_RETRY_US);
		return;
	}
	if (status == MMQ_JOURNAL_BROKEN) {
		core_waiters_error(core, request->job, MMQ_UNAVAILABLE, "the journal failed; send again with the same id", 1000);
		return;
	}
	core->durable -= core->durable > 0;
	if (status == MMQ_JOURNAL_ENDED) { /* another outcome came first: that one is told */
		read = core_read(core, MMQ_READ_FIND, P_RECHECK, &pending);
		memcpy(read->row.tenant, request->lane->tenant->name, sizeof read->row.tenant);
		memcpy(read->row.job, request->job, 16);
		read->job_is_set = read->with_answer = true;
		core_request_done(core, request);
		return;
	}
	request->result_seq = result_seq;
	request->state = R_ENDED;
	waiters_answer(core, job_kept(core, request));
	count_end(core, request);
	if (request->op == MMQ_OP_TRAIN)
		core_job_event(core, request, mmq_job_state_name(request->end_state));
	else
		core_publish_answer(core, request);
	if ((request->op == MMQ_OP_TRAIN || request->op == MMQ_OP_MODEL_IMPORT) && request->end_state == MMQ_JOB_DONE && request->result_version > 0)
		model_published(core, request);
	core_request_done(core, request);
}
