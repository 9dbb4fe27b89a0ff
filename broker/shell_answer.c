/* shell_answer.c: what the core decided becomes the one frame that a client gets. Answers of workers pass byte for byte. */
#include <string.h>

#include "broker/shell.h"
#include "daemon/log.h"
#include "mpack/writer.h"

struct mmq_head
mmq_shell_head(const uint8_t *id, size_t size, bool is_binary, const char *trace)
{
	struct mmq_head head = { .op = MMQ_OP_NONE, .id_is_binary = is_binary };

	if (size > 0) {
		head.id.at = (const char *)id;
		head.id.size = (uint32_t)size;
	}
	if (trace != NULL) {
		head.trace.at = trace;
		head.trace.size = (uint32_t)strlen(trace);
	}
	return head;
}

static void
put_text(struct mmq_buf *out, const char *key, const char *text)
{
	mmq_put_str(out, key);
	mmq_put_str(out, text);
}

static void
put_number(struct mmq_buf *out, const char *key, uint64_t value)
{
	mmq_put_str(out, key);
	mmq_put_uint(out, value);
}

static void
put_job_id(struct mmq_buf *out, const uint8_t job[16])
{
	char text[MMQ_JOB_ID_CHARS + 1];

	mmq_job_id_format(job, text);
	put_text(out, "job", text);
}

static void
put_raw(struct mmq_buf *out, const char *key, const struct mmq_body *body)
{
	mmq_put_str(out, key);
	mmq_buf_append(out, body->bytes, body->size);
}

unsigned
mmq_shell_put_job(struct mmq_buf *out, const struct mmq_core_job *job)
{
	unsigned pairs = 5;
	bool ended = job->state == MMQ_JOB_FAILED || job->state == MMQ_JOB_CANCELLED;

	put_job_id(out, job->job);
	put_text(out, "model", job->model);
	put_text(out, "state", mmq_job_state_name(job->state));
	put_number(out, "attempt", job->attempt);
	put_number(out, "created_ms", (uint64_t)job->created_ms);
	if (job->started_ms > 0 && ++pairs)
		put_number(out, "started_ms", (uint64_t)job->started_ms);
	if (job->ended_ms > 0 && ++pairs)
		put_number(out, "ended_ms", (uint64_t)job->ended_ms);
	if (job->progress != NULL && ++pairs)
		put_raw(out, "progress", job->progress);
	if (job->version > 0 && ++pairs)
		put_number(out, "version", job->version);
	if (job->state == MMQ_JOB_DONE && job->result != NULL && job->op == MMQ_OP_TRAIN && ++pairs)
		put_raw(out, "result", job->result);
	if (ended && ++pairs) {
		struct mmq_err err;

		if (job->result != NULL && job->op == MMQ_OP_TRAIN) {
			put_raw(out, "error", job->result);
		} else {
			mmq_err_set(&err, job->code, "%s", job->message == NULL ? "" : job->message);
			mmq_put_str(out, "error");
			mmq_reply_put_error(out, &err);
		}
	}
	return pairs;
}

static void
put_jobs(struct mmq_buf *out, const struct mmq_head *head, const struct mmq_journal_page *page)
{
	mmq_reply_begin(out, head, page->more && page->count > 0 ? 2 : 1);
	mmq_put_str(out, "jobs");
	mmq_put_array(out, page->count);
	for (uint32_t i = 0; i < page->count; i++) {
		const struct mmq_journal_row *row = &page->rows[i];
		struct mmq_core_job job = { .model = row->model, .op = row->op, .state = row->state, .attempt = row->attempt,
			.version = row->result_version, .created_ms = row->created_ms, .started_ms = row->started_ms, .ended_ms = row->ended_ms,
			.code = row->code, .message = row->message };
		size_t place = mmq_put_map_begin(out);

		memcpy(job.job, row->job, sizeof job.job);
		mmq_put_map_end(out, place, mmq_shell_put_job(out, &job));
	}
	if (page->more && page->count > 0)
		put_number(out, "next", page->rows[page->count - 1].seq);
}

/* Journalled results as they were published: the stored answer with its place in the journal's order. */
static void
put_results(struct shell *shell, struct mmq_buf *out, const struct mmq_head *head, const struct mmq_journal_page *page)
{
	char id[33];

	mmq_reply_begin(out, head, 3 + (page->more && page->count > 0));
	mmq_put_str(out, "results");
	mmq_put_array(out, page->count);
	for (uint32_t i = 0; i < page->count; i++) {
		const struct mmq_journal_row *row = &page->rows[i];
		const struct mmq_head own = mmq_shell_head(row->id, row->id_size, row->id_is_binary, row->trace[0] == '\0' ? NULL : row->trace);

		mmq_put_map(out, 3);
		put_text(out, "topic", row->topic);
		put_number(out, "seq", row->result_seq);
		mmq_put_str(out, "message");
		if (row->op == MMQ_OP_TRAIN) {
			struct mmq_core_job job = { .model = row->model, .op = row->op, .state = row->state, .attempt = row->attempt,
				.version = row->result_version, .created_ms = row->created_ms, .started_ms = row->started_ms,
				.ended_ms = row->ended_ms, .code = row->code, .message = row->message, .result = row->answer };
			size_t place = mmq_put_map_begin(out);

			memcpy(job.job, row->job, sizeof job.job);
			put_number(out, "v", MMQ_PROTOCOL_VERSION);
			put_text(out, "event", mmq_job_state_name(row->state));
			put_number(out, "seq", row->result_seq);
			mmq_put_map_end(out, place, 3 + mmq_shell_put_job(out, &job));
		} else if (row->answer != NULL) {
			mmq_buf_append(out, row->answer->bytes, row->answer->size);
		} else {
			struct mmq_err err;

			mmq_err_set(&err, row->code, "%s", row->message);
			mmq_reply_error(out, &own, &err);
		}
	}
	if (page->more && page->count > 0)
		put_number(out, "next", page->rows[page->count - 1].result_seq);
	put_number(out, "oldest", page->oldest);
	mmq_job_id_format(shell->info.id, id);
	put_text(out, "journal", id);
}

static void
put_form(struct shell *shell, struct mmq_buf *out, const struct mmq_head *head, const struct mmq_core_answer *answer, const char *tenant)
{
	struct mmq_head request;
	size_t place;

	switch (answer->form) {
	case MMQ_ANSWER_BODY:
		break;
	case MMQ_ANSWER_ERROR:
		mmq_reply_error(out, head, answer->err);
		break;
	case MMQ_ANSWER_ACCEPTED:
		mmq_reply_begin(out, head, 4);
		put_job_id(out, answer->job->job);
		put_text(out, "model", answer->job->model);
		put_text(out, "state", mmq_job_state_name(answer->job->state));
		put_number(out, "seq", answer->job->seq);
		break;
	case MMQ_ANSWER_SEQ:
		mmq_reply_begin(out, head, 2);
		mmq_put_str(out, "accepted");
		mmq_put_bool(out, true);
		put_number(out, "seq", answer->seq);
		break;
	case MMQ_ANSWER_JOB:
		place = mmq_reply_begin_open(out, head);
		mmq_put_map_end(out, place, mmq_reply_pairs(head) + mmq_shell_put_job(out, answer->job));
		break;
	case MMQ_ANSWER_DROPPED:
		mmq_reply_begin(out, head, 2);
		put_job_id(out, answer->job->job);
		put_text(out, "state", "dropped");
		break;
	case MMQ_ANSWER_JOBS:
		put_jobs(out, head, answer->page);
		break;
	case MMQ_ANSWER_CANCEL:
		request = mmq_shell_head(answer->request, answer->request_size, answer->request_is_binary, NULL);
		mmq_reply_begin(out, head, 2);
		mmq_put_str(out, "request");
		mmq_head_put_id(out, &request);
		put_text(out, "state", answer->text);
		break;
	case MMQ_ANSWER_RESULTS:
		put_results(shell, out, head, answer->page);
		break;
	case MMQ_ANSWER_PONG:
		mmq_reply_begin(out, head, 3);
		put_number(out, "time_ms", (uint64_t)shell->wall_ms);
		put_text(out, "version", MMQ_VERSION);
		mmq_put_str(out, "run");
		mmq_put_bin(out, shell->run, sizeof shell->run);
		break;
	case MMQ_ANSWER_STATUS:
		mmq_shell_put_status(shell, out, head, tenant);
		break;
	}
}

static void
frame_send(struct shell *shell, struct route *route, uint32_t tag, zmq_msg_t *frame)
{
	zmq_msg_t parts[2];
	unsigned count = 0;

	if (tag & SHELL_PACKED) {
		mmq_shell_pack_add(shell, route, zmq_msg_data(frame), zmq_msg_size(frame));
		zmq_msg_close(frame);
		return;
	}
	if (tag & SHELL_ENVELOPE)
		zmq_msg_init(&parts[count++]);
	zmq_msg_init(&parts[count]);
	zmq_msg_move(&parts[count++], frame);
	zmq_msg_close(frame);
	mmq_routes_send(&shell->clients, route, parts, count, shell->now_us);
}

void
mmq_shell_refuse(struct shell *shell, struct route *route, uint32_t tag, const struct mmq_head *head, const struct mmq_err *err)
{
	zmq_msg_t frame;

	mmq_buf_reset(&shell->out);
	mmq_reply_error(&shell->out, head, err);
	mmq_shell_part(&frame, &shell->out);
	frame_send(shell, route, tag, &frame);
}

void
mmq_shell_answer(struct shell *shell, const struct mmq_core_answer *answer)
{
	struct route *route = mmq_routes_find(&shell->clients, answer->route);
	zmq_msg_t frame;

	if (route == NULL)
		return;
	if (answer->form == MMQ_ANSWER_BODY && (answer->tag & SHELL_PACKED)) {
		mmq_shell_pack_add(shell, route, answer->body->bytes, answer->body->size);
		goto answered;
	}
	if (answer->form == MMQ_ANSWER_BODY) {
		if (answer->body_is_last)
			mmq_shell_body_move(answer->body, &frame);
		else
			mmq_shell_body_send(answer->body, &frame, false);
	} else {
		struct mmq_head head = mmq_shell_head(answer->id, answer->id_size, answer->id_is_binary, answer->trace);
		struct mmq_err err;

		mmq_buf_reset(&shell->out);
		put_form(shell, &shell->out, &head, answer, route->tenant);
		if (shell->out.failed) {
			mmq_buf_reset(&shell->out);
			mmq_err_set(&err, MMQ_RESOURCE_EXHAUSTED, "the answer is larger than %zu bytes; ask with a smaller limit", shell->out.bytes_max);
			mmq_reply_error(&shell->out, &head, &err);
		}
		mmq_shell_part(&frame, &shell->out);
	}
	frame_send(shell, route, answer->tag, &frame);
answered:
	if (route->holds > 0)
		route->holds--;
	mmq_routes_release(&shell->clients, route);
}

/* What a client wrote may be anything: only what looks like a traceparent gets into the log. Its last digit says whether the
 * client records this request: others are told only when asked for (W3C Trace Context, section 3.2.2.5). */
void
mmq_shell_log_traced(const struct mmq_core_traced *traced)
{
	size_t size = strlen(traced->trace);
	bool is_sampled = size > 0 && strchr("13579bdf", traced->trace[size - 1]) != NULL;
	char id[2 * MMQ_ID_BYTES_MAX + 1] = "";

	if (!mmq_trace_is_plain(traced->trace, size))
		return;
	for (size_t i = 0; i < traced->id_size; i++) {
		bool is_plain = !traced->id_is_binary && traced->id[i] > ' ' && traced->id[i] < 0x7f && traced->id[i] != '"';
		if (traced->id_is_binary)
			snprintf(id + 2 * i, 3, "%02x", traced->id[i]);
		else
			id[i] = is_plain ? (char)traced->id[i] : '_';
	}
	mmq_log(is_sampled ? MMQ_LOG_INFO : MMQ_LOG_DEBUG, "ended", "trace=%s id=%s op=%s tenant=%s model=%s code=%s attempt=%u queue_us=%u service_us=%u",
	    traced->trace, id, mmq_op_name((enum mmq_op)traced->op), traced->tenant, traced->model, mmq_code_name(traced->code), traced->attempt,
	    traced->queue_us, traced->service_us);
}
