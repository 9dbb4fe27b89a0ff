/* peek.c: one pass over the top-level map. Each key's value is walked (structure, depth, UTF-8) and, if it is a header key,
 * read through its row in the table. The first error is kept while the rest is still looked at for the id, so that even a
 * refused request can be correlated. Costs no memory; work is linear in the frame, with a cap on top-level keys. */
#include "wire/peek.h"

#include <string.h>

#include "mpack/writer.h"
#include "wire/want.h"

static const struct {
	const char *name;
	enum mmq_service service;
	bool journalled, needs_model;
} ops[MMQ_OP_COUNT] = {
#define X(op, name, work, journalled, model) [op] = { name, work, journalled, model },
	MMQ_OPS(X)
#undef X
};

/* Names kept for later versions, so that a client that tries one learns that it did not misspell it. */
static const char *const reserved_ops[] = { "data.put", "data.append", "data.get", "data.list", "data.delete", "evaluate", "feedback",
	"explain", "model.import", "model.export", "erase" };

const char *
mmq_op_name(enum mmq_op op)
{
	return ops[op].name;
}

enum mmq_op
mmq_op_from_name(const char *name, size_t size)
{
	struct mmq_text text = { name, (uint32_t)size };
	for (int op = MMQ_OP_NONE + 1; op < MMQ_OP_COUNT; op++)
		if (mmq_text_is(&text, ops[op].name))
			return (enum mmq_op)op;
	return MMQ_OP_NONE;
}

enum mmq_service
mmq_op_service(enum mmq_op op)
{
	return ops[op].service;
}

bool
mmq_op_is_journalled(enum mmq_op op)
{
	return ops[op].journalled;
}

bool
mmq_trace_is_plain(const char *trace, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (memchr("0123456789abcdef-", trace[i], 17) == NULL)
			return false;
	return size > 0;
}

bool
mmq_job_id_is_valid(const char *text, size_t size)
{
	if (size != MMQ_JOB_ID_CHARS)
		return false;
	for (size_t i = 0; i < size; i++)
		if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
			return false;
	return true;
}

void
mmq_job_id_format(const uint8_t bytes[16], char text_out[MMQ_JOB_ID_CHARS + 1])
{
	static const char digits[] = "0123456789abcdef";
	for (unsigned i = 0; i < 16; i++) {
		text_out[2 * i] = digits[bytes[i] >> 4];
		text_out[2 * i + 1] = digits[bytes[i] & 15];
	}
	text_out[MMQ_JOB_ID_CHARS] = '\0';
}

static int
read_v(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_token token;
	(void)head;
	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	if (token.type != MMQ_T_INT || token.i != MMQ_PROTOCOL_VERSION)
		return mmq_want_refuse(&token, "v", "1, the protocol version that this server speaks", err);
	return 0;
}

static int
read_op(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_token token;
	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	if (token.type != MMQ_T_STR)
		return mmq_want_refuse(&token, "op", "a string", err);
	head->op = mmq_op_from_name(token.bytes, token.size);
	if (head->op != MMQ_OP_NONE)
		return 0;
	struct mmq_text name = { token.bytes, token.size };
	for (size_t i = 0; i < sizeof(reserved_ops) / sizeof(reserved_ops[0]); i++)
		if (mmq_text_is(&name, reserved_ops[i]))
			return mmq_want_refuse(&token, "op", "an operation of this version; that one is reserved for a later one", err);
	return mmq_want_refuse(&token, "op", "predict, train, train.check, job.get|list|cancel|wait, model.list|get|alias|delete, "
	    "engine.list|get, cancel, results, ping or status", err);
}

static int
read_any_id(struct mmq_reader *reader, const char *field, struct mmq_text *id_out, bool *is_binary_out, struct mmq_err *err)
{
	struct mmq_token token;
	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	bool is_text = token.type == MMQ_T_STR && token.size >= 1 && token.size <= MMQ_ID_BYTES_MAX;
	if (!is_text && !(token.type == MMQ_T_BIN && token.size == 16))
		return mmq_want_refuse(&token, field, "a string of 1 to 64 bytes, or 16 binary bytes", err);
	*id_out = (struct mmq_text){ token.bytes, token.size };
	*is_binary_out = !is_text;
	return 0;
}

static int
read_id(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	return read_any_id(reader, "id", &head->id, &head->id_is_binary, err);
}

static int
read_request(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	return read_any_id(reader, "request", &head->request, &head->request_is_binary, err);
}

static int
read_model(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	return mmq_want_name(reader, "model", &head->model, err);
}

static int
read_version(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	if (mmq_read_peek(reader) == MMQ_T_STR)
		return mmq_want_name(reader, "version", &head->alias, err);
	return mmq_want_int(reader, "version", 1, UINT32_MAX, &head->version, err);
}

static int
read_deadline(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	if (mmq_want_int(reader, "deadline_ms", INT64_MIN, MMQ_DEADLINE_MS_MAX, &head->deadline_ms, err) == -1) {
		struct mmq_err old = *err;
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "deadline_ms", "an integer of milliseconds from 1 to 2592000000", "%s", old.got);
	}
	if (head->deadline_ms <= 0)
		return mmq_err_value(err, MMQ_DEADLINE_EXCEEDED, "deadline_ms", "time left to do the work", "%lld ms", (long long)head->deadline_ms);
	return 0;
}

static int
read_priority(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	int64_t value = 0;
	int rc = mmq_want_int(reader, "priority", 0, 9, &value, err);
	head->priority = (int)value;
	return rc;
}

static int
read_durable(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	return mmq_want_bool(reader, "durable", &head->durable, err);
}

static int
read_sink(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	return mmq_want_bool(reader, "sink", &head->sink, err);
}

static int
read_wait(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	return mmq_want_bool(reader, "wait", &head->wait, err);
}

static int
read_trace(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	return mmq_want_text(reader, "trace", 0, MMQ_TRACE_BYTES_MAX, &head->trace, err);
}

static int
read_key(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	return mmq_want_text(reader, "key", 0, MMQ_KEY_BYTES_MAX, &head->key, err);
}

static int
read_payload(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	int index = 0;
	if (mmq_want_choice(reader, "payload", "tensor|csv|jsonl|msgpack|file", &index, err) == -1)
		return -1;
	head->payload = (enum mmq_payload)(index + 1);
	return 0;
}

static int
read_job(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_token token;
	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	if (token.type != MMQ_T_STR || !mmq_job_id_is_valid(token.bytes, token.size))
		return mmq_want_refuse(&token, "job", "a job id: 32 hexadecimal digits, as train answered it", err);
	head->job = (struct mmq_text){ token.bytes, token.size };
	return 0;
}

static const struct header_field {
	struct mmq_text name;
	int (*read)(struct mmq_head *head, struct mmq_reader *reader, struct mmq_err *err);
} header_fields[] = {
#define FIELD(name, read) { { name, sizeof(name) - 1 }, read }
	FIELD("v", read_v), FIELD("op", read_op), FIELD("id", read_id), FIELD("model", read_model), FIELD("version", read_version),
	FIELD("deadline_ms", read_deadline), FIELD("priority", read_priority), FIELD("durable", read_durable), FIELD("sink", read_sink),
	FIELD("trace", read_trace), FIELD("key", read_key), FIELD("wait", read_wait), FIELD("payload", read_payload), FIELD("job", read_job),
	FIELD("request", read_request),
#undef FIELD
};

/* Keys differ in length or first byte nearly always: the library's comparison is called for a match only. */
static bool
key_is(const struct mmq_text *key, const struct mmq_text *other)
{
	return key->size == other->size && (key->size == 0 || (key->at[0] == other->at[0] && memcmp(key->at, other->at, key->size) == 0));
}

static const struct header_field *
find_field(const struct mmq_text *key)
{
	for (size_t i = 0; i < sizeof(header_fields) / sizeof(header_fields[0]); i++)
		if (key_is(key, &header_fields[i].name))
			return &header_fields[i];
	return NULL;
}

static bool
seen_before(struct mmq_text *keys, uint32_t count, const struct mmq_text *key)
{
	for (uint32_t i = 0; i < count; i++)
		if (key_is(key, &keys[i]))
			return true;
	keys[count] = *key;
	return false;
}

static int
key_error(struct mmq_err *err, const struct mmq_text *key, const char *sentence)
{
	int shown = key->size <= 48 ? (int)key->size : 0;
	mmq_err_set(err, MMQ_INVALID_ARGUMENT, "the key '%.*s' %s", shown, key->at, sentence);
	if (err != NULL)
		memcpy(err->field, key->at, (size_t)shown);
	return -1;
}

/* What one pass over the pairs found; `broken` means that the bytes cannot be walked further. */
struct pass {
	struct mmq_text keys[MMQ_TOP_KEYS_MAX];
	uint32_t keys_count;
	bool has_v, big_value_seen, broken;
};

static int
read_pair(struct mmq_head *head, struct mmq_reader *reader, struct pass *pass, struct mmq_err *err)
{
	struct mmq_text key;
	const uint8_t *bytes;
	size_t size;

	pass->broken = true;
	if (mmq_want_key(reader, "request", &key, err) == -1)
		return -1;
	if (!mmq_utf8_is_valid(key.at, key.size))
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "not a readable msgpack message: a key is not valid UTF-8");
	if (!mmq_read_raw_checked(reader, 1, &bytes, &size))
		return mmq_want_broken(reader, err);
	pass->broken = false;
	if (seen_before(pass->keys, pass->keys_count, &key))
		return key_error(err, &key, "is there twice; a request's keys are unique");
	pass->keys_count++;
	const struct header_field *field = find_field(&key);
	bool was_big = pass->big_value_seen;
	if (field == NULL) {
		pass->big_value_seen |= size > MMQ_HEAD_VALUE_BYTES_MAX;
		return 0;
	}
	struct mmq_reader value;
	mmq_reader_init(&value, bytes, size);
	if (field->read != read_v && mmq_want_nil(&value))
		return 0;
	if (field->read == read_v)
		pass->has_v = true;
	if (field->read(head, &value, err) == -1)
		return -1;
	if (was_big && (size_t)(reader->end - reader->start) > MMQ_ANY_ORDER_BYTES_MAX)
		return key_error(err, &key, "comes after a big value; in frames above 64 KiB the header keys come first");
	return 0;
}

/* What holds between fields, once each was read. */
static int
check_together(const struct mmq_head *head, bool has_v, unsigned frames, struct mmq_err *err)
{
	if (!has_v)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "v", "1, the protocol version", "nothing");
	if (head->op == MMQ_OP_NONE)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "op", "the name of an operation", "nothing");
	if (ops[head->op].needs_model && head->model.at == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "model", "a model's name", "nothing");
	if (head->durable && head->id.at == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "id", "an id: durable work is made idempotent by it", "nothing");
	bool is_job_op = head->op == MMQ_OP_JOB_GET || head->op == MMQ_OP_JOB_CANCEL || head->op == MMQ_OP_JOB_WAIT;
	if (is_job_op && head->job.at == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "job", "a job id, as train answered it", "nothing");
	if (head->op == MMQ_OP_CANCEL && head->request.at == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "request", "the id of the prediction to give up", "nothing");
	if (frames == 2 && head->payload == MMQ_PAYLOAD_NONE)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "payload", "tensor, csv, jsonl, msgpack or file: what the second frame holds", "nothing");
	if (frames == 1 && head->payload != MMQ_PAYLOAD_NONE)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "payload: the request announces a payload, but has no second frame");
	return 0;
}

/* One request's map from the reader, which stands behind it unless *broken_out: then what follows cannot be found. is_last: nothing may follow. */
static int
request_read(struct mmq_head *head, struct mmq_reader *reader, unsigned frames, bool is_last, bool *broken_out, struct mmq_err *err)
{
	struct pass pass;  /* 1 KiB of keys: not cleared, only what is counted is read */
	struct mmq_err first;
	uint32_t pairs;

	pass.keys_count = 0;
	pass.has_v = pass.big_value_seen = pass.broken = false;
	first.code = MMQ_OK;
	*head = (struct mmq_head){ .wait = true, .priority = MMQ_PRIORITY_DEFAULT };
	*broken_out = true;
	if (mmq_want_map(reader, "request", &pairs, err) == -1)
		return -1;
	if (pairs > MMQ_TOP_KEYS_MAX)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "request", "a map of at most 64 keys", "%u keys", pairs);
	for (uint32_t i = 0; i < pairs && !pass.broken; i++)
		if (read_pair(head, reader, &pass, err) == -1 && first.code == MMQ_OK)
			first = *err;
	if (first.code == MMQ_OK && is_last && reader->at != reader->end) {
		pass.broken = true;
		mmq_err_set(&first, MMQ_INVALID_ARGUMENT, "not a readable msgpack message: %zu bytes after its end", (size_t)(reader->end - reader->at));
	}
	*broken_out = pass.broken;
	if (pass.broken)
		head->id = (struct mmq_text){ NULL, 0 };  /* an unreadable message is answered with id nil */
	if (head->request.at == NULL) {
		head->request = head->id;
		head->request_is_binary = head->id_is_binary;
	}
	head->durable |= ops[head->op].journalled;
	if (first.code == MMQ_OK && check_together(head, pass.has_v, frames, &first) == 0)
		return 0;
	*err = first;
	return -1;
}

int
mmq_peek(struct mmq_head *head, const void *frame, size_t size, unsigned frames, struct mmq_err *err)
{
	struct mmq_reader reader;
	struct mmq_err unused;
	bool is_broken;

	*head = (struct mmq_head){ .op = MMQ_OP_NONE };
	if (err == NULL)
		err = &unused;
	if (frames < 1 || frames > 2)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "a request is one frame, or two with a payload; got %u", frames);
	if (size == 0)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "the request is empty; want one msgpack map");
	mmq_reader_init(&reader, frame, size);
	return request_read(head, &reader, frames, true, &is_broken, err);
}

bool
mmq_peek_is_packed(const void *frame, size_t size)
{
	uint8_t first = size == 0 ? 0 : *(const uint8_t *)frame;  /* also of a list that is cut off: it is answered by a list */

	return (first & 0xf0) == 0x90 || first == 0xdc || first == 0xdd;
}

int
mmq_peek_packed(struct mmq_reader *reader_out, const void *frame, size_t size, uint32_t *count_out, struct mmq_err *err)
{
	struct mmq_token list;

	mmq_reader_init(reader_out, frame, size);
	if (size > MMQ_PACKED_BYTES_MAX)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "requests", "at most 65536 bytes for several requests in one frame", "%zu bytes", size);
	if (!mmq_read(reader_out, &list) || list.type != MMQ_T_ARRAY || list.size == 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "requests", "one map, or a list of maps", "%s", reader_out->why == NULL ? "none" : reader_out->why);
	*count_out = list.size;
	return 0;
}

int
mmq_peek_next(struct mmq_head *head, struct mmq_reader *reader, bool is_last, bool *broken_out, struct mmq_err *err)
{
	return request_read(head, reader, 1, is_last, broken_out, err);
}

bool
mmq_peek_find(const void *frame, size_t size, const char *key, struct mmq_reader *reader_out)
{
	struct mmq_token token;

	mmq_reader_init(reader_out, frame, size);
	if (!mmq_read(reader_out, &token) || token.type != MMQ_T_MAP)
		return false;
	for (uint32_t pairs = token.size; pairs > 0; pairs--) {
		if (!mmq_read(reader_out, &token))
			return false;
		if (mmq_read_is(&token, key))
			return mmq_read_peek(reader_out) != MMQ_T_NIL;
		if (!mmq_read_skip(reader_out))
			return false;
	}
	return false;
}

void
mmq_head_put_id(struct mmq_buf *out, const struct mmq_head *head)
{
	if (head->id.at == NULL)
		mmq_put_nil(out);
	else if (head->id_is_binary)
		mmq_put_bin(out, head->id.at, head->id.size);
	else
		mmq_put_strn(out, head->id.at, head->id.size);
}
