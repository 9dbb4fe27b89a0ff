/* message.c: builds one request.
 *
 * Two buffers: plain values of the top level go to `head`, lists, maps and binary to `body`, so that a large message has all
 * of its header keys first, in whatever order the caller filled it. A misuse is remembered and told when it is sent. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "client/internal.h"
#include "mpack/reader.h"
#include "mpack/writer.h"
#include "util/mem.h"

enum { MESSAGE_BYTES_MAX = 64 << 20 };

struct level {
	size_t place;    /* of the count, in body */
	uint32_t count;
	bool is_map;
};

struct mmq_message {
	char id[65];
	struct mmq_buf head, body, payload;
	uint32_t pairs;
	struct level levels[MMQ_WIRE_DEPTH_MAX];
	size_t depth;
	const char *why;   /* the first misuse; constant text */
};

void
mmq_client_random_id(char id_out[MMQ_CLIENT_ID_SIZE])
{
	uint8_t bytes[16];

	if (sodium_init() == -1)
		abort();
	randombytes_buf(bytes, sizeof(bytes));
	sodium_bin2hex(id_out, MMQ_CLIENT_ID_SIZE, bytes, sizeof(bytes));
}

struct mmq_message *
mmq_message_new(const char *op)
{
	struct mmq_message *message = mmq_alloc(sizeof(*message));

	mmq_buf_init(&message->head, MESSAGE_BYTES_MAX);
	mmq_buf_init(&message->body, MESSAGE_BYTES_MAX);
	mmq_buf_init(&message->payload, MESSAGE_BYTES_MAX);
	mmq_client_random_id(message->id);
	mmq_message_int(message, "v", 1);
	mmq_message_text(message, "op", op);
	return message;
}

void
mmq_message_destroy(struct mmq_message **message)
{
	if (*message == NULL)
		return;
	mmq_buf_fini(&(*message)->head);
	mmq_buf_fini(&(*message)->body);
	mmq_buf_fini(&(*message)->payload);
	free(*message);
	*message = NULL;
}

const char *
mmq_message_id(const struct mmq_message *message)
{
	return message->id;
}

static void
misuse(struct mmq_message *message, const char *why)
{
	if (message->why == NULL)
		message->why = why;
}

void
mmq_message_set_id(struct mmq_message *message, const char *id)
{
	size_t length = strlen(id);

	if (length == 0 || length >= sizeof(message->id)) {
		misuse(message, "an id has 1 to 64 bytes");
		return;
	}
	memcpy(message->id, id, length + 1);
}

/* Count one more value here, write its key, and say which buffer takes it. */
static struct mmq_buf *
slot(struct mmq_message *message, const char *key, bool is_plain)
{
	struct mmq_buf *buf = message->depth == 0 && is_plain ? &message->head : &message->body;
	struct level *level = message->depth == 0 ? NULL : &message->levels[message->depth - 1];
	bool wants_key = level == NULL || level->is_map;

	if (wants_key != (key != NULL))
		misuse(message, wants_key ? "a value in a map needs a key" : "a value in a list has no key");
	if (key != NULL && level == NULL && strcmp(key, "id") == 0)
		misuse(message, "the id is set by mmq_message_set_id");
	if (level == NULL)
		message->pairs++;
	else
		level->count++;
	if (key != NULL)
		mmq_put_str(buf, key);
	return buf;
}

void
mmq_message_text(struct mmq_message *message, const char *key, const char *text)
{
	struct mmq_buf *buf = slot(message, key, true);

	if (text != NULL && !mmq_utf8_is_valid(text, strlen(text)))
		misuse(message, "a text is not valid UTF-8");
	mmq_put_str(buf, text);
}

void
mmq_message_int(struct mmq_message *message, const char *key, int64_t value)
{
	mmq_put_int(slot(message, key, true), value);
}

void
mmq_message_number(struct mmq_message *message, const char *key, double value)
{
	mmq_put_double(slot(message, key, true), value);
}

void
mmq_message_flag(struct mmq_message *message, const char *key, bool value)
{
	mmq_put_bool(slot(message, key, true), value);
}

void
mmq_message_nil(struct mmq_message *message, const char *key)
{
	mmq_put_nil(slot(message, key, true));
}

void
mmq_message_bytes(struct mmq_message *message, const char *key, const void *bytes, size_t size)
{
	mmq_put_bin(slot(message, key, false), bytes, size);
}

void
mmq_message_raw(struct mmq_message *message, const char *key, const void *msgpack, size_t size)
{
	struct mmq_buf *buf = slot(message, key, false);

	if (mmq_wire_check(msgpack, size, NULL) == -1) {
		misuse(message, "a raw value is not one whole msgpack value");
		mmq_put_nil(buf);
		return;
	}
	mmq_buf_append(buf, msgpack, size);
}

static void
open_level(struct mmq_message *message, const char *key, bool is_map)
{
	struct mmq_buf *buf = slot(message, key, false);

	if (message->depth == MMQ_WIRE_DEPTH_MAX - 1) {   /* the message itself is one level */
		misuse(message, "lists and maps are nested too deep");
		mmq_put_nil(buf);
		return;
	}
	struct level *level = &message->levels[message->depth++];
	level->place = is_map ? mmq_put_map_begin(buf) : mmq_put_array_begin(buf);
	level->count = 0;
	level->is_map = is_map;
}

void
mmq_message_map(struct mmq_message *message, const char *key)
{
	open_level(message, key, true);
}

void
mmq_message_list(struct mmq_message *message, const char *key)
{
	open_level(message, key, false);
}

void
mmq_message_close(struct mmq_message *message)
{
	if (message->depth == 0) {
		misuse(message, "close without an open map or list");
		return;
	}
	const struct level *level = &message->levels[--message->depth];
	if (level->is_map)
		mmq_put_map_end(&message->body, level->place, level->count);
	else
		mmq_put_array_end(&message->body, level->place, level->count);
}

void
mmq_message_payload(struct mmq_message *message, const char *format, const void *bytes, size_t size)
{
	if (message->payload.size > 0 || size == 0)
		misuse(message, "a payload is given once and is not empty");
	mmq_message_text(message, "payload", format);
	mmq_buf_append(&message->payload, bytes, size);
}

void
mmq_message_numbers(struct mmq_message *message, const char *key, const double *values, size_t count)
{
	mmq_put_doubles(slot(message, key, false), values, count);
}

void
mmq_message_texts(struct mmq_message *message, const char *key, const char *const *texts, size_t count)
{
	mmq_message_list(message, key);
	for (size_t i = 0; i < count; i++)
		mmq_message_text(message, NULL, texts[i]);
	mmq_message_close(message);
}

void
mmq_message_rows(struct mmq_message *message, const char *key, const double *values, size_t rows, size_t cols)
{
	struct mmq_buf *buf = slot(message, key, false);

	mmq_put_array(buf, rows);
	for (size_t row = 0; row < rows; row++)
		mmq_put_doubles(buf, values + row * cols, cols);
}

void
mmq_message_tensor(struct mmq_message *message, const char *key, const double *values, size_t rows, size_t cols)
{
	mmq_message_map(message, key);
	mmq_message_text(message, "dtype", "f64");
	mmq_message_list(message, "shape");
	mmq_message_int(message, NULL, (int64_t)rows);
	mmq_message_int(message, NULL, (int64_t)cols);
	mmq_message_close(message);
	mmq_message_bytes(message, "data", values, rows * cols * sizeof(*values)); /* x86 and arm are little-endian, as the wire */
	mmq_message_close(message);
}

int
mmq_message_finish(struct mmq_message *message, struct mmq_buf *frame_out, struct mmq_buf *payload_out, struct mmq_err *err)
{
	if (message->why == NULL && message->depth > 0)
		message->why = "a map or list was not closed";
	if (message->why != NULL)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "message: %s", message->why);
	mmq_buf_init(frame_out, MESSAGE_BYTES_MAX);
	mmq_put_map(frame_out, message->pairs + 1);
	mmq_put_str(frame_out, "id");
	mmq_put_str(frame_out, message->id);
	mmq_buf_append(frame_out, message->head.bytes, message->head.size);
	mmq_buf_append(frame_out, message->body.bytes, message->body.size);
	if (frame_out->failed || message->head.failed || message->body.failed || message->payload.failed) {
		mmq_buf_fini(frame_out);
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "message: larger than %d MiB", MESSAGE_BYTES_MAX >> 20);
	}
	*payload_out = message->payload;
	mmq_buf_init(&message->payload, MESSAGE_BYTES_MAX);
	return 0;
}
