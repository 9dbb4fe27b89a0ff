/* answer.c: reads an answer or a sink message by path.
 *
 * The bytes are checked once when the answer is made; every look-up walks them again with the cursor, which is quick for the
 * sizes that answers have and keeps no tree. An answer that the client made itself holds only an error. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"
#include "mpack/reader.h"
#include "util/mem.h"

struct mmq_answer {
	uint8_t *bytes;        /* one msgpack map; NULL when made here */
	size_t size;
	bool is_local, is_ok;
	char *topic, *why;
	char id[65], code[32];
	struct mmq_arena *texts;   /* copies handed out by mmq_answer_text */
};

/* Move into the element called name[0..length) of the container at the reader's place. */
static bool
step_into(struct mmq_reader *reader, const char *name, size_t length)
{
	struct mmq_token token, key;

	if (!mmq_read(reader, &token))
		return false;
	if (token.type == MMQ_T_MAP) {
		for (uint32_t i = 0; i < token.size; i++) {
			if (!mmq_read(reader, &key))
				return false;
			if (key.type == MMQ_T_STR && key.size == length && memcmp(key.bytes, name, length) == 0)
				return true;
			if (!mmq_read_skip(reader))
				return false;
		}
		return false;
	}
	if (token.type == MMQ_T_ARRAY) {
		char *end;
		unsigned long index = strtoul(name, &end, 10);
		if (end != name + length || index >= token.size)
			return false;
		for (unsigned long i = 0; i < index; i++)
			if (!mmq_read_skip(reader))
				return false;
		return true;
	}
	return false;
}

static bool
find(const struct mmq_answer *answer, const char *path, struct mmq_reader *reader_out)
{
	if (answer->bytes == NULL)
		return false;
	mmq_reader_init(reader_out, answer->bytes, answer->size);
	while (*path != '\0') {
		size_t length = strcspn(path, ".");
		if (!step_into(reader_out, path, length))
			return false;
		path += length;
		if (*path == '.')
			path++;
	}
	return true;
}

static bool
find_token(const struct mmq_answer *answer, const char *path, struct mmq_token *token_out)
{
	struct mmq_reader reader;

	return find(answer, path, &reader) && mmq_read(&reader, token_out);
}

static struct mmq_answer *
new_answer(void)
{
	struct mmq_answer *answer = mmq_alloc(sizeof(*answer));

	answer->texts = mmq_alloc(sizeof(*answer->texts));
	mmq_arena_init(answer->texts);
	return answer;
}

static void
set_error(struct mmq_answer *answer, const char *code, const char *message, const char *field)
{
	size_t size = strlen(code) + strlen(message) + (field != NULL ? strlen(field) : 0) + 16;

	answer->is_ok = false;
	snprintf(answer->code, sizeof(answer->code), "%s", code);
	answer->why = mmq_alloc(size);
	/* Most sentences begin with the field's name; say it only when this one does not. */
	if (field != NULL && *field != '\0' && strstr(message, field) == NULL)
		snprintf(answer->why, size, "%s: %s (field %s)", code, message, field);
	else
		snprintf(answer->why, size, "%s: %s", code, message);
}

struct mmq_answer *
mmq_answer_from_err(const char *id, const struct mmq_err *err)
{
	struct mmq_answer *answer = new_answer();

	answer->is_local = true;
	snprintf(answer->id, sizeof(answer->id), "%s", id);
	set_error(answer, mmq_code_name(err->code), err->message, err->field);
	return answer;
}

struct mmq_answer *
mmq_answer_from_bytes(const void *bytes, size_t size, const char *topic, size_t topic_size)
{
	struct mmq_answer *answer = new_answer();
	struct mmq_token token;
	struct mmq_err err;

	answer->topic = topic != NULL ? mmq_strndup(topic, topic_size) : NULL;
	if (mmq_wire_check(bytes, size, &err) == -1) {
		mmq_err_prefix(&err, "the service's message");
		set_error(answer, mmq_code_name(MMQ_INTERNAL), err.message, NULL);
		answer->is_local = true;
		return answer;
	}
	answer->bytes = mmq_alloc(size);
	answer->size = size;
	memcpy(answer->bytes, bytes, size);
	if (find_token(answer, "id", &token) && token.type == MMQ_T_STR && token.size < sizeof(answer->id))
		memcpy(answer->id, token.bytes, token.size);
	answer->is_ok = mmq_answer_flag(answer, "ok", topic != NULL);
	if (answer->is_ok) {
		snprintf(answer->code, sizeof(answer->code), "OK");
		return answer;
	}
	const char *code = mmq_answer_text(answer, "error.code"), *message = mmq_answer_text(answer, "error.message");
	set_error(answer, code != NULL ? code : "INTERNAL", message != NULL ? message : "the answer has no message",
	    mmq_answer_text(answer, "error.field"));
	return answer;
}

void
mmq_answer_need_done_job(struct mmq_answer *answer)
{
	const char *state = mmq_answer_text(answer, "state"), *code = mmq_answer_text(answer, "error.code");
	const char *message = mmq_answer_text(answer, "error.message");

	if (!answer->is_ok || (state != NULL && strcmp(state, "done") == 0))
		return;
	set_error(answer, code != NULL ? code : "INTERNAL", message != NULL ? message : "the job ended without saying why",
	    mmq_answer_text(answer, "error.field"));
}

void
mmq_answer_destroy(struct mmq_answer **answer)
{
	if (*answer == NULL)
		return;
	free((*answer)->bytes);
	free((*answer)->topic);
	free((*answer)->why);
	mmq_arena_fini((*answer)->texts);
	free((*answer)->texts);
	free(*answer);
	*answer = NULL;
}

bool
mmq_answer_is_ok(const struct mmq_answer *answer)
{
	return answer->is_ok;
}

bool
mmq_answer_is_local(const struct mmq_answer *answer)
{
	return answer->is_local;
}

const char *
mmq_answer_why(const struct mmq_answer *answer)
{
	return answer->why != NULL ? answer->why : "";
}

const char *
mmq_answer_code(const struct mmq_answer *answer)
{
	return answer->code;
}

const char *
mmq_answer_id(const struct mmq_answer *answer)
{
	return answer->id;
}

const char *
mmq_answer_topic(const struct mmq_answer *answer)
{
	return answer->topic != NULL ? answer->topic : "";
}

const char *
mmq_answer_text(const struct mmq_answer *answer, const char *path)
{
	struct mmq_token token;

	if (!find_token(answer, path, &token) || token.type != MMQ_T_STR)
		return NULL;
	return mmq_arena_strndup(answer->texts, token.bytes, token.size);
}

void
mmq_answer_set_id(struct mmq_answer *answer, const char *id)
{
	snprintf(answer->id, sizeof(answer->id), "%s", id);
}

static bool
is_number(const struct mmq_token *token)
{
	return token->type == MMQ_T_INT || token->type == MMQ_T_UINT || token->type == MMQ_T_FLOAT;
}

double
mmq_answer_number(const struct mmq_answer *answer, const char *path, double otherwise)
{
	struct mmq_token token;

	return find_token(answer, path, &token) && is_number(&token) ? token.f : otherwise;
}

int64_t
mmq_answer_int(const struct mmq_answer *answer, const char *path, int64_t otherwise)
{
	struct mmq_token token;

	return find_token(answer, path, &token) && token.type == MMQ_T_INT ? token.i : otherwise;
}

bool
mmq_answer_flag(const struct mmq_answer *answer, const char *path, bool otherwise)
{
	struct mmq_token token;

	return find_token(answer, path, &token) && token.type == MMQ_T_BOOL ? token.boolean : otherwise;
}

bool
mmq_answer_has(const struct mmq_answer *answer, const char *path)
{
	struct mmq_reader reader;

	return find(answer, path, &reader);
}

size_t
mmq_answer_count(const struct mmq_answer *answer, const char *path)
{
	struct mmq_token token;

	return find_token(answer, path, &token) && (token.type == MMQ_T_ARRAY || token.type == MMQ_T_MAP) ? token.size : 0;
}

size_t
mmq_answer_numbers(const struct mmq_answer *answer, const char *path, double *values_out, size_t max)
{
	struct mmq_reader reader;
	struct mmq_token token;
	size_t count = 0, left = 1;   /* tokens still to read: lists only add to it, so no stack is needed */

	if (!find(answer, path, &reader) || mmq_read_peek(&reader) != MMQ_T_ARRAY)
		return 0;
	while (left > 0 && mmq_read(&reader, &token)) {
		left--;
		if (token.type == MMQ_T_ARRAY) {
			left += token.size;
			continue;
		}
		if (token.type != MMQ_T_NIL && !is_number(&token))
			return 0;
		if (count < max)
			values_out[count] = token.type == MMQ_T_NIL ? NAN : token.f;
		count++;
	}
	return count;
}

const uint8_t *
mmq_answer_raw(const struct mmq_answer *answer, const char *path, size_t *size_out)
{
	struct mmq_reader reader;
	const uint8_t *bytes;

	return find(answer, path, &reader) && mmq_read_raw(&reader, &bytes, size_out) ? bytes : NULL;
}

const uint8_t *
mmq_answer_bytes(const struct mmq_answer *answer, const char *path, size_t *size_out)
{
	struct mmq_reader reader;
	struct mmq_token token;

	if (!find(answer, path, &reader) || !mmq_read(&reader, &token) || token.type != MMQ_T_BIN)
		return NULL;
	*size_out = token.size;
	return (const uint8_t *)token.bytes;
}
