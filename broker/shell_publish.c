/* shell_publish.c: the core's news become sink messages: two frames, a topic and a map with `run`, `n` and, if journalled, `seq`.
 * What is larger than a sink message may be goes out without its content and with `reference: true`; `results` has it. */
#include <string.h>

#include "broker/shell.h"
#include "mpack/writer.h"

static unsigned
put_place(struct shell *shell, struct mmq_buf *out, uint64_t n, uint64_t seq)
{
	mmq_put_str(out, "run");
	mmq_put_bin(out, shell->run, sizeof shell->run);
	mmq_put_str(out, "n");
	mmq_put_uint(out, n);
	if (seq == 0)
		return 2;
	mmq_put_str(out, "seq");
	mmq_put_uint(out, seq);
	return 3;
}

static void
put_text(struct mmq_buf *out, const char *key, const char *text)
{
	mmq_put_str(out, key);
	mmq_put_str(out, text);
}

/* The pairs that come before an answer's own. */
static void
put_answer(struct shell *shell, struct mmq_buf *out, const struct mmq_core_publish *publish, bool reference)
{
	const struct mmq_head head = mmq_shell_head(publish->id, publish->id_size, publish->id_is_binary, publish->trace);
	struct mmq_buf extra, answer;
	unsigned pairs;

	mmq_buf_init(&extra, 1024);
	mmq_buf_init(&answer, 65536);
	pairs = put_place(shell, &extra, publish->n, publish->seq);
	if (reference) {
		mmq_put_str(&extra, "reference");
		mmq_put_bool(&extra, true);
		pairs++;
		mmq_reply_begin(&answer, &head, 1);
		mmq_put_str(&answer, "bytes");
		mmq_put_uint(&answer, publish->body->size);
	} else if (publish->body == NULL) {
		mmq_reply_error(&answer, &head, publish->err);
	}
	mmq_reply_splice(out, &extra, pairs, answer.size > 0 ? answer.bytes : publish->body->bytes,
	    answer.size > 0 ? answer.size : publish->body->size, NULL);
	mmq_buf_fini(&extra);
	mmq_buf_fini(&answer);
}

static void
put_event(struct shell *shell, struct mmq_buf *out, const struct mmq_core_publish *publish, bool reference)
{
	size_t place = mmq_put_map_begin(out);
	unsigned pairs = 2;
	char job[MMQ_JOB_ID_CHARS + 1];

	mmq_put_str(out, "v");
	mmq_put_uint(out, MMQ_PROTOCOL_VERSION);
	pairs += put_place(shell, out, publish->n, publish->seq);
	put_text(out, "event", publish->event);
	if (publish->form == MMQ_PUBLISH_JOB) {
		struct mmq_core_job shown = *publish->job;

		if (reference) {
			shown.result = shown.progress = NULL;
			mmq_put_str(out, "reference");
			mmq_put_bool(out, true);
			pairs++;
		}
		pairs += mmq_shell_put_job(out, &shown);
		if (shown.trace != NULL && ++pairs)
			put_text(out, "trace", shown.trace);
	} else {
		put_text(out, "model", publish->model);
		pairs++;
		if (publish->version > 0 && ++pairs) {
			mmq_put_str(out, "version");
			mmq_put_uint(out, publish->version);
		}
		if (publish->alias != NULL && (pairs += 2)) {
			put_text(out, "alias", publish->alias);
			mmq_put_str(out, "generation");
			mmq_put_uint(out, publish->generation);
		}
		if (publish->job != NULL && ++pairs) {
			mmq_job_id_format(publish->job->job, job);
			put_text(out, "job", job);
		}
	}
	mmq_put_map_end(out, place, pairs);
}

void
mmq_shell_publish(struct shell *shell, const struct mmq_core_publish *publish)
{
	struct mmq_buf *out = &shell->out;
	bool reference = publish->form == MMQ_PUBLISH_ANSWER && publish->body != NULL && publish->body->size > SHELL_SINK_BYTES_MAX - 256;

	for (;;) {
		mmq_buf_reset(out);
		if (publish->form == MMQ_PUBLISH_ANSWER)
			put_answer(shell, out, publish, reference);
		else
			put_event(shell, out, publish, reference);
		if (reference || (!out->failed && out->size <= SHELL_SINK_BYTES_MAX))
			break;
		reference = true;
	}
	shell->counters.sink_references += reference;
	if (!out->failed && out->size > 0)
		mmq_sink_send(&shell->sink, publish->topic, out->bytes, out->size);
}

void
mmq_shell_mark(struct shell *shell, const char *tenant, const struct mmq_core_mark *marks, size_t count)
{
	char topic[80];

	mmq_buf_reset(&shell->out);
	mmq_put_map(&shell->out, 3);
	mmq_put_str(&shell->out, "v");
	mmq_put_uint(&shell->out, MMQ_PROTOCOL_VERSION);
	mmq_put_str(&shell->out, "run");
	mmq_put_bin(&shell->out, shell->run, sizeof shell->run);
	mmq_put_str(&shell->out, "topics");
	mmq_put_map(&shell->out, count);
	for (size_t i = 0; i < count; i++) {
		mmq_put_str(&shell->out, marks[i].topic);
		mmq_put_uint(&shell->out, marks[i].n);
	}
	snprintf(topic, sizeof topic, "mark/%s/", tenant);
	if (!shell->out.failed)
		mmq_sink_send(&shell->sink, topic, shell->out.bytes, shell->out.size);
}
