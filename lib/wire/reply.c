/* reply.c: the frame of every answer, errors, and what the sink puts in front of an answer. */
#include "wire/reply.h"

#include <stdio.h>
#include <string.h>

#include "mpack/writer.h"
#include "wire/want.h"

static bool
has_trace(const struct mmq_head *head)
{
	return head != NULL && head->trace.at != NULL;
}

uint32_t
mmq_reply_pairs(const struct mmq_head *head)
{
	return MMQ_REPLY_PAIRS + has_trace(head);
}

static void
put_first(struct mmq_buf *out, const struct mmq_head *head, bool ok)
{
	mmq_put_str(out, "v");
	mmq_put_int(out, MMQ_PROTOCOL_VERSION);
	mmq_put_str(out, "id");
	if (head != NULL)
		mmq_head_put_id(out, head);
	else
		mmq_put_nil(out);
	if (has_trace(head)) {
		mmq_put_str(out, "trace");
		mmq_put_strn(out, head->trace.at, head->trace.size);
	}
	mmq_put_str(out, "ok");
	mmq_put_bool(out, ok);
}

void
mmq_reply_begin(struct mmq_buf *out, const struct mmq_head *head, size_t pairs)
{
	mmq_put_map(out, mmq_reply_pairs(head) + pairs);
	put_first(out, head, true);
}

size_t
mmq_reply_begin_open(struct mmq_buf *out, const struct mmq_head *head)
{
	size_t place = mmq_put_map_begin(out);
	put_first(out, head, true);
	return place;
}

/* A text that came through snprintf may end inside a character: what goes out must be UTF-8. */
static void
put_text(struct mmq_buf *out, const char *key, const char *text)
{
	size_t size = strlen(text);

	for (unsigned cut = 0; cut < 4 && size > 0 && !mmq_utf8_is_valid(text, size); cut++)
		size--;
	mmq_put_str(out, key);
	if (mmq_utf8_is_valid(text, size))
		mmq_put_strn(out, text, size);
	else
		mmq_put_str(out, "(not readable text)");
}

void
mmq_reply_put_error(struct mmq_buf *out, const struct mmq_err *err)
{
	size_t pairs = 3u + (err->field[0] != '\0') + (err->got[0] != '\0') + (err->want[0] != '\0') + (err->retry_after_ms > 0);

	mmq_put_map(out, pairs);
	mmq_put_str(out, "code");
	mmq_put_str(out, mmq_code_name(err->code));
	put_text(out, "message", err->message);
	if (err->field[0] != '\0')
		put_text(out, "field", err->field);
	if (err->got[0] != '\0')
		put_text(out, "got", err->got);
	if (err->want[0] != '\0')
		put_text(out, "want", err->want);
	mmq_put_str(out, "retryable");
	mmq_put_bool(out, mmq_code_is_retryable(err->code));
	if (err->retry_after_ms > 0) {
		mmq_put_str(out, "retry_after_ms");
		mmq_put_uint(out, err->retry_after_ms);
	}
}

void
mmq_reply_error(struct mmq_buf *out, const struct mmq_head *head, const struct mmq_err *err)
{
	mmq_put_map(out, mmq_reply_pairs(head) + 1);
	put_first(out, head, false);
	mmq_put_str(out, "error");
	mmq_reply_put_error(out, err);
}

void
mmq_reply_timed(struct mmq_buf *out, const struct mmq_buf *answer, int64_t queue_us, int64_t service_us)
{
	struct mmq_buf times;

	mmq_buf_init(&times, 64);
	mmq_put_str(&times, "queue_us");
	mmq_put_int(&times, queue_us < 0 ? 0 : queue_us);
	mmq_put_str(&times, "service_us");
	mmq_put_int(&times, service_us < 0 ? 0 : service_us);
	mmq_reply_splice(out, &times, 2, answer->bytes, answer->size, NULL);
	mmq_buf_fini(&times);
}

int
mmq_reply_splice(struct mmq_buf *out, const struct mmq_buf *extra, uint32_t pairs, const void *answer, size_t answer_size, struct mmq_err *err)
{
	struct mmq_reader reader;
	uint32_t own;

	mmq_reader_init(&reader, answer, answer_size);
	if (mmq_want_map(&reader, "answer", &own, err) == -1)
		return -1;
	mmq_put_map(out, (size_t)pairs + own);
	mmq_buf_append(out, extra->bytes, extra->size);
	mmq_buf_append(out, reader.at, (size_t)(reader.end - reader.at));
	return 0;
}

static void
copy_text(char *to, size_t to_size, const struct mmq_token *token)
{
	if (token->type == MMQ_T_STR)
		snprintf(to, to_size, "%.*s", (int)token->size, token->bytes);
}

int
mmq_reply_read_error(struct mmq_err *error_out, struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_text key;
	struct mmq_token value;
	char code[32] = "";
	uint32_t pairs;

	*error_out = (struct mmq_err){ .code = MMQ_INTERNAL };
	if (mmq_want_map(reader, "error", &pairs, err) == -1)
		return -1;
	for (; pairs > 0; pairs--) {
		if (mmq_want_key(reader, "error", &key, err) == -1)
			return -1;
		struct mmq_reader before = *reader;
		if (!mmq_read_skip(reader) || !mmq_read(&before, &value))
			return mmq_want_broken(reader, err);
		if (mmq_text_is(&key, "code"))
			copy_text(code, sizeof(code), &value);
		else if (mmq_text_is(&key, "message"))
			copy_text(error_out->message, sizeof(error_out->message), &value);
		else if (mmq_text_is(&key, "field"))
			copy_text(error_out->field, sizeof(error_out->field), &value);
		else if (mmq_text_is(&key, "got"))
			copy_text(error_out->got, sizeof(error_out->got), &value);
		else if (mmq_text_is(&key, "want"))
			copy_text(error_out->want, sizeof(error_out->want), &value);
		else if (mmq_text_is(&key, "retry_after_ms") && value.type == MMQ_T_INT && value.i > 0 && value.i <= UINT32_MAX)
			error_out->retry_after_ms = (uint32_t)value.i;
	}
	error_out->code = mmq_code_from_name(code);
	return 0;
}

int
mmq_reply_read(const void *answer, size_t size, bool *ok_out, struct mmq_err *error_out, struct mmq_err *err)
{
	struct mmq_reader reader;

	if (!mmq_peek_find(answer, size, "ok", &reader))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "ok", "an answer's true or false", "nothing");
	if (mmq_want_bool(&reader, "ok", ok_out, err) == -1)
		return -1;
	if (*ok_out)
		return 0;
	if (!mmq_peek_find(answer, size, "error", &reader))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "error", "an error object", "nothing");
	return mmq_reply_read_error(error_out, &reader, err);
}
