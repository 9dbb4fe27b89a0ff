/* frame.c: the work protocol's maps to structs. One table of keys serves every message type; what a type cannot do without
 * is a mask over that table. The writers are in frame_write.c. */
#include "work/frame.h"

#include <stddef.h>
#include <string.h>

enum field_type { F_U32, F_U64, F_BOOL, F_BIN16, F_TEXT, F_LIST, F_MAP, F_KIND, F_CODE, F_WHAT, F_WINDOW };
enum field {
	K_KIND, K_SESSION, K_PROTOCOL, K_BUILD, K_PID, K_HELD, K_READY, K_MODELS, K_WINDOW, K_N, K_FULL, K_EPOCH, K_HEARTBEAT_MS,
	K_LEASE_MS, K_KEEP, K_CODE, K_MESSAGE, K_ITEMS, K_DELIVERY, K_WHAT, K_NUMBER, K_TENANT, K_MODEL, K_VERSION, K_CHECKPOINT,
	K_INFO, K_ABOVE, K_NAME, K_BYTES, K_ENTRIES, K_COUNT
};

#define AT(member) offsetof(struct mmq_work_message, member), sizeof(((struct mmq_work_message *)0)->member)
static const struct { const char *key; enum field_type type; size_t offset, size; } fields[K_COUNT] = {
	[K_KIND] = { "kind", F_KIND, AT(kind) }, [K_SESSION] = { "session", F_BIN16, AT(session) },
	[K_PROTOCOL] = { "protocol", F_U32, AT(protocol) }, [K_BUILD] = { "build", F_TEXT, AT(build) },
	[K_PID] = { "pid", F_U64, AT(pid) }, [K_HELD] = { "held", F_LIST, AT(held) }, [K_READY] = { "ready", F_WINDOW, AT(window) },
	[K_MODELS] = { "models", F_LIST, AT(models) }, [K_WINDOW] = { "window", F_WINDOW, AT(window) }, [K_N] = { "n", F_U64, AT(n) },
	[K_FULL] = { "full", F_BOOL, AT(full) }, [K_EPOCH] = { "epoch", F_BIN16, AT(lease.epoch) },
	[K_HEARTBEAT_MS] = { "heartbeat_ms", F_U32, AT(heartbeat_ms) }, [K_LEASE_MS] = { "lease_ms", F_U32, AT(lease_ms) },
	[K_KEEP] = { "keep", F_LIST, AT(keep) }, [K_CODE] = { "code", F_CODE, AT(code) }, [K_MESSAGE] = { "message", F_TEXT, AT(message) },
	[K_ITEMS] = { "items", F_LIST, AT(items) }, [K_DELIVERY] = { "delivery", F_U64, AT(lease.delivery) },
	[K_WHAT] = { "what", F_WHAT, AT(what) }, [K_NUMBER] = { "number", F_U32, AT(number) },
	[K_TENANT] = { "tenant", F_TEXT, AT(tenant) }, [K_MODEL] = { "model", F_TEXT, AT(model) },
	[K_VERSION] = { "version", F_U32, AT(version) }, [K_CHECKPOINT] = { "checkpoint", F_U64, AT(checkpoint) },
	[K_INFO] = { "info", F_MAP, AT(info) }, [K_ABOVE] = { "above", F_U32, AT(above) },
	[K_NAME] = { "name", F_TEXT, AT(name) }, [K_BYTES] = { "bytes", F_U64, AT(bytes) }, [K_ENTRIES] = { "entries", F_U32, AT(entries) },
};

#define B(key) (1U << K_##key)
#define LEASE (B(EPOCH) | B(DELIVERY))
static const struct { const char *name; uint32_t needs; } types[MMQ_WM_TYPES] = {
	[MMQ_WM_NONE] = { "", 0 },
	[MMQ_WM_HELLO] = { "hello", B(KIND) | B(SESSION) | B(PROTOCOL) },
	[MMQ_WM_READY] = { "ready", B(WINDOW) },
	[MMQ_WM_HEARTBEAT] = { "heartbeat", B(N) | B(HELD) },
	[MMQ_WM_CATALOGUE] = { "catalogue", B(FULL) | B(MODELS) },
	[MMQ_WM_BYE] = { "bye", 0 },
	[MMQ_WM_RESULT] = { "result", B(ITEMS) },
	[MMQ_WM_RETURN] = { "return", B(HELD) },
	[MMQ_WM_PROGRESS] = { "progress", LEASE | B(CHECKPOINT) | B(INFO) },
	[MMQ_WM_GRANT] = { "grant", LEASE | B(WHAT) },
	[MMQ_WM_LOADED] = { "loaded", B(TENANT) | B(MODEL) | B(VERSION) | B(CODE) },
	[MMQ_WM_WELCOME] = { "welcome", B(EPOCH) | B(PROTOCOL) | B(HEARTBEAT_MS) | B(LEASE_MS) },
	[MMQ_WM_ECHO] = { "echo", B(N) },
	[MMQ_WM_WHO] = { "who", 0 },
	[MMQ_WM_DRAIN] = { "drain", 0 },
	[MMQ_WM_WORK] = { "work", B(EPOCH) | B(ITEMS) },
	[MMQ_WM_CANCEL] = { "cancel", LEASE | B(CODE) },
	[MMQ_WM_GRANTED] = { "granted", LEASE },
	[MMQ_WM_LOAD] = { "load", B(TENANT) | B(MODEL) | B(VERSION) },
};
static const char *const worker_kinds[MMQ_WORKER_KINDS] = { "none", "predictor", "trainer", "store" };
static const char *const work_kinds[MMQ_WORK_KINDS] = { "predict", "train", "store" };
static const char *const whats[] = { "version", "alias" };

const char *
mmq_work_type_name(enum mmq_work_type type)
{
	return (unsigned)type < MMQ_WM_TYPES ? types[type].name : "";
}

const char *
mmq_worker_kind_name(enum mmq_worker_kind kind)
{
	return (unsigned)kind < MMQ_WORKER_KINDS ? worker_kinds[kind] : worker_kinds[0];
}

const char *
mmq_work_kind_name(enum mmq_work_kind kind)
{
	return (unsigned)kind < MMQ_WORK_KINDS ? work_kinds[kind] : "none";
}

static bool
text_get(const struct mmq_token *token, char *text_out, size_t size_max)
{
	if (token->type != MMQ_T_STR || token->size >= size_max || memchr(token->bytes, 0, token->size) != NULL)
		return false;
	memcpy(text_out, token->bytes, token->size);
	text_out[token->size] = 0;
	return true;
}

static bool
unsigned_get(const struct mmq_token *token, uint64_t max, uint64_t *value_out)
{
	uint64_t value = token->type == MMQ_T_UINT ? token->u : (uint64_t)token->i;

	if ((token->type != MMQ_T_UINT && token->type != MMQ_T_INT) || (token->type == MMQ_T_INT && token->i < 0) || value > max)
		return false;
	*value_out = value;
	return true;
}

static bool
code_get(const struct mmq_token *token, enum mmq_code *code_out)
{
	char name[32];

	if (!text_get(token, name, sizeof name))
		return false;
	*code_out = mmq_code_from_name(name);
	return true;
}

static int
choice_get(const struct mmq_token *token, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (mmq_read_is(token, names[i]))
			return i;
	return -1;
}

static bool
window_read(struct mmq_reader *reader, struct mmq_work_message *message)
{
	struct mmq_token map, token;

	if (!mmq_read(reader, &map) || map.type != MMQ_T_MAP)
		return false;
	for (uint32_t i = 0; i < map.size; i++) {
		uint64_t value;
		int kind;

		if (!mmq_read(reader, &token) || token.type != MMQ_T_STR)
			return false;
		kind = choice_get(&token, work_kinds, MMQ_WORK_KINDS);
		if (kind == -1) {
			if (!mmq_read_skip(reader))
				return false;
			continue;
		}
		if (!mmq_read(reader, &token) || !unsigned_get(&token, UINT32_MAX, &value))
			return false;
		message->window[kind] = (uint32_t)value;
		message->window_has[kind] = true;
	}
	return true;
}

static bool
span_read(struct mmq_reader *reader, enum mmq_type type, struct mmq_work_span *span)
{
	return mmq_read_peek(reader) == type && mmq_read_raw(reader, &span->bytes, &span->size);
}

static bool
field_read(struct mmq_reader *reader, enum field field, struct mmq_work_message *message)
{
	void *to = (char *)message + fields[field].offset;
	struct mmq_token token;
	uint64_t value;
	int choice;

	switch (fields[field].type) {
	case F_LIST: return span_read(reader, MMQ_T_ARRAY, to);
	case F_MAP: return span_read(reader, MMQ_T_MAP, to);
	case F_WINDOW: return window_read(reader, message);
	default: break;
	}
	if (!mmq_read(reader, &token))
		return false;
	switch (fields[field].type) {
	case F_U32:
		if (!unsigned_get(&token, UINT32_MAX, &value))
			return false;
		*(uint32_t *)to = (uint32_t)value;
		return true;
	case F_U64:
		return unsigned_get(&token, UINT64_MAX, to);
	case F_BOOL:
		*(bool *)to = token.boolean;
		return token.type == MMQ_T_BOOL;
	case F_BIN16:
		if (token.type != MMQ_T_BIN || token.size != 16)
			return false;
		memcpy(to, token.bytes, 16);
		return true;
	case F_TEXT:
		return text_get(&token, to, fields[field].size);
	case F_CODE:
		return code_get(&token, to);
	case F_KIND:
		choice = choice_get(&token, worker_kinds, MMQ_WORKER_KINDS);
		*(enum mmq_worker_kind *)to = choice > 0 ? (enum mmq_worker_kind)choice : MMQ_WORKER_NONE;
		return choice > 0;
	case F_WHAT:
		choice = choice_get(&token, whats, 2);
		*(enum mmq_grant_kind *)to = choice == 1 ? MMQ_GRANT_ALIAS : MMQ_GRANT_VERSION;
		return choice >= 0;
	default:
		return false;
	}
}

int
mmq_work_parse(struct mmq_work_message *message, const void *bytes, size_t size, struct mmq_err *err)
{
	struct mmq_reader reader;
	struct mmq_token map, key, value;

	memset(message, 0, sizeof *message);
	mmq_reader_init(&reader, bytes, size);
	if (!mmq_read(&reader, &map) || map.type != MMQ_T_MAP)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "work message: not a map");
	for (uint32_t i = 0; i < map.size; i++) {
		enum field field;

		if (!mmq_read(&reader, &key) || key.type != MMQ_T_STR)
			return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "work message: a key is not text");
		if (mmq_read_is(&key, "t")) {
			if (!mmq_read(&reader, &value) || value.type != MMQ_T_STR)
				return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "work message: t is not text");
			for (int type = 1; type < MMQ_WM_TYPES; type++)
				if (mmq_read_is(&value, types[type].name))
					message->type = (enum mmq_work_type)type;
			continue;
		}
		for (field = 0; field < K_COUNT && !mmq_read_is(&key, fields[field].key); field++)
			continue;
		if (field == K_COUNT ? !mmq_read_skip(&reader) : !field_read(&reader, field, message))
			return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "work message: unreadable value of '%.*s'",
			    key.size > 32 ? 32 : (int)key.size, key.bytes);
		if (field < K_COUNT)
			message->has |= 1U << field;
	}
	if (message->type == MMQ_WM_NONE)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "work message: no known type");
	if ((message->has & types[message->type].needs) != types[message->type].needs)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "work message '%s': a needed key is missing", types[message->type].name);
	message->head_bytes = (size_t)(reader.at - reader.start);
	return 0;
}

uint32_t
mmq_work_list_begin(struct mmq_work_list *list, const struct mmq_work_span *span)
{
	struct mmq_token token;

	*list = (struct mmq_work_list){ .left = 0 };
	mmq_reader_init(&list->reader, span->bytes, span->bytes == NULL ? 0 : span->size);
	if (span->bytes != NULL && mmq_read(&list->reader, &token) && (token.type == MMQ_T_ARRAY || token.type == MMQ_T_MAP))
		list->left = token.size;
	return list->left;
}

static bool
list_fail(struct mmq_work_list *list, const char *why)
{
	list->why = why;
	list->left = 0;
	return false;
}

/* Open the next element, a list of at least `want` values; *extra_out is how many unknown ones follow them. */
static bool
element_begin(struct mmq_work_list *list, uint32_t want, uint32_t *extra_out)
{
	struct mmq_token token;

	if (list->left == 0)
		return false;
	list->left--;
	if (!mmq_read(&list->reader, &token) || token.type != MMQ_T_ARRAY || token.size < want)
		return list_fail(list, "an element is not a list of enough values");
	*extra_out = token.size - want;
	return true;
}

static bool
element_end(struct mmq_work_list *list, uint32_t extra)
{
	while (extra-- > 0)
		if (!mmq_read_skip(&list->reader))
			return list_fail(list, "an element is cut off");
	return true;
}

static bool
take_unsigned(struct mmq_work_list *list, uint64_t max, uint64_t *value_out)
{
	struct mmq_token token;

	return mmq_read(&list->reader, &token) && unsigned_get(&token, max, value_out);
}

static bool
take_text(struct mmq_work_list *list, char *text_out, size_t size_max)
{
	struct mmq_token token;

	return mmq_read(&list->reader, &token) && text_get(&token, text_out, size_max);
}

static bool
take_lease(struct mmq_work_list *list, struct mmq_lease *lease)
{
	struct mmq_token token;

	if (!mmq_read(&list->reader, &token) || token.type != MMQ_T_BIN || token.size != MMQ_WORK_EPOCH_BYTES)
		return false;
	memcpy(lease->epoch, token.bytes, MMQ_WORK_EPOCH_BYTES);
	return take_unsigned(list, UINT64_MAX, &lease->delivery);
}

bool
mmq_work_next_lease(struct mmq_work_list *list, struct mmq_lease *lease_out)
{
	uint32_t extra;

	if (!element_begin(list, 2, &extra))
		return false;
	if (!take_lease(list, lease_out))
		return list_fail(list, "a lease is not [epoch, delivery]");
	return element_end(list, extra);
}

bool
mmq_work_next_item(struct mmq_work_list *list, struct mmq_work_item *item, int64_t *ms_left_out)
{
	uint64_t kind, version, attempt, queue_us, body, payload;
	struct mmq_token left;
	uint32_t extra;

	if (!element_begin(list, 12, &extra))
		return false;
	if (!take_unsigned(list, UINT64_MAX, &item->lease.delivery) || !take_unsigned(list, MMQ_WORK_KINDS - 1, &kind) ||
	    !take_text(list, item->op, sizeof item->op) || !take_text(list, item->tenant, sizeof item->tenant) ||
	    !take_text(list, item->model, sizeof item->model) || !take_unsigned(list, UINT32_MAX, &version) ||
	    !take_unsigned(list, UINT32_MAX, &attempt) || !mmq_read(&list->reader, &left) || left.type != MMQ_T_INT ||
	    !take_unsigned(list, UINT32_MAX, &queue_us) || !take_text(list, item->job, sizeof item->job) ||
	    !take_unsigned(list, SIZE_MAX / 4, &body) || !take_unsigned(list, SIZE_MAX / 4, &payload))
		return list_fail(list, "an item of work is malformed");
	item->kind = (enum mmq_work_kind)kind;
	item->version = (uint32_t)version;
	item->attempt = (uint32_t)attempt;
	item->queue_us = (uint32_t)queue_us;
	item->body_bytes = body;
	item->payload_bytes = payload;
	*ms_left_out = left.i;
	return element_end(list, extra);
}

bool
mmq_work_next_result(struct mmq_work_list *list, struct mmq_work_outcome *outcome)
{
	uint64_t rows, service_us, version, flags, body;
	struct mmq_token code;
	uint32_t extra;

	if (!element_begin(list, 8, &extra))
		return false;
	if (!take_lease(list, &outcome->lease) || !mmq_read(&list->reader, &code) || !code_get(&code, &outcome->result.code) ||
	    !take_unsigned(list, UINT32_MAX, &rows) || !take_unsigned(list, UINT32_MAX, &service_us) ||
	    !take_unsigned(list, UINT32_MAX, &version) || !take_unsigned(list, UINT32_MAX, &flags) ||
	    !take_unsigned(list, SIZE_MAX / 4, &body))
		return list_fail(list, "a result is malformed");
	outcome->result.rows = (uint32_t)rows;
	outcome->result.service_us = (uint32_t)service_us;
	outcome->result.version = (uint32_t)version;
	outcome->result.crashes_model = flags & 1;
	outcome->body_bytes = body;
	return element_end(list, extra);
}

bool
mmq_work_next_model(struct mmq_work_list *list, struct mmq_work_entry *entry)
{
	uint64_t generation;
	uint32_t extra;

	if (!element_begin(list, 5, &extra))
		return false;
	if (!take_text(list, entry->tenant, sizeof entry->tenant) || !take_text(list, entry->name, sizeof entry->name) ||
	    !span_read(&list->reader, MMQ_T_ARRAY, &entry->versions) || !span_read(&list->reader, MMQ_T_MAP, &entry->aliases) ||
	    !take_unsigned(list, UINT32_MAX, &generation))
		return list_fail(list, "a model is malformed");
	entry->generation = (uint32_t)generation;
	return element_end(list, extra);
}

bool
mmq_work_next_version(struct mmq_work_list *list, uint32_t *version_out)
{
	uint64_t value;

	if (list->left == 0)
		return false;
	list->left--;
	if (!take_unsigned(list, UINT32_MAX, &value))
		return list_fail(list, "a version is not a number");
	*version_out = (uint32_t)value;
	return true;
}

bool
mmq_work_next_alias(struct mmq_work_list *list, char alias_out[65], uint32_t *version_out)
{
	if (list->left == 0)
		return false;
	if (!take_text(list, alias_out, 65))
		return list_fail(list, "an alias is not text");
	return mmq_work_next_version(list, version_out);
}
