/* frame.h: the messages of the work protocol (schemas/work.md) as bytes, read and written here for both sides.
 *
 * Key idea: every message is one map, read by one table of keys into one flat struct; lists stay unread byte ranges that
 * small iterators walk. Nothing is allocated; texts that outlive the frame are copied into bounded arrays. */
#ifndef MMQ_WORK_FRAME_H
#define MMQ_WORK_FRAME_H

#include "mpack/reader.h"
#include "util/buf.h"
#include "work/work.h"

enum mmq_work_type {
	MMQ_WM_NONE, MMQ_WM_HELLO, MMQ_WM_READY, MMQ_WM_HEARTBEAT, MMQ_WM_CATALOGUE, MMQ_WM_BYE, MMQ_WM_RESULT, MMQ_WM_RETURN,
	MMQ_WM_PROGRESS, MMQ_WM_GRANT, MMQ_WM_LOADED,                                            /* from workers; BYE from both */
	MMQ_WM_WELCOME, MMQ_WM_ECHO, MMQ_WM_WHO, MMQ_WM_DRAIN, MMQ_WM_WORK, MMQ_WM_CANCEL, MMQ_WM_GRANTED, MMQ_WM_LOAD,
	MMQ_WM_TYPES
};

struct mmq_work_span { const uint8_t *bytes; size_t size; };  /* one whole msgpack value inside the message */

struct mmq_work_message {
	enum mmq_work_type type;
	uint32_t has;                      /* bit i: key i of the table in frame.c came */
	size_t head_bytes;                 /* what the map took; bodies may follow it */
	enum mmq_worker_kind kind;
	struct mmq_lease lease;            /* epoch and delivery */
	uint8_t session[16];
	uint32_t protocol, heartbeat_ms, lease_ms, version, number, above, entries;
	uint64_t pid, n, checkpoint, bytes;
	bool full;
	enum mmq_grant_kind what;
	enum mmq_code code;
	bool window_has[MMQ_WORK_KINDS];
	uint32_t window[MMQ_WORK_KINDS];
	char build[64], name[MMQ_WORKER_NAME_MAX], tenant[65], model[65], message[256];
	struct mmq_work_span held, keep, items, models, info;  /* arrays; info is a map; bytes NULL: absent */
};

/* Read the map at the start of bytes. -1: not a message of this protocol; err says what is wrong. Borrows bytes. */
int mmq_work_parse(struct mmq_work_message *message_out, const void *bytes, size_t size, struct mmq_err *err);
const char *mmq_work_type_name(enum mmq_work_type type);
const char *mmq_worker_kind_name(enum mmq_worker_kind kind);
const char *mmq_work_kind_name(enum mmq_work_kind kind);

/* Walk a list of the message. begin returns the count of elements; next returns false at the end or on a malformed
 * element (then list->why is set). */
struct mmq_work_list {
	struct mmq_reader reader;
	uint32_t left;
	const char *why;
};
uint32_t mmq_work_list_begin(struct mmq_work_list *list, const struct mmq_work_span *span);

/* Leases of `held` and `keep`. */
bool mmq_work_next_lease(struct mmq_work_list *list, struct mmq_lease *lease_out);

/* Items of `work`: the head fields of item_out; bodies are for the caller to cut, by the two sizes that are filled. ms_left -1: none. */
bool mmq_work_next_item(struct mmq_work_list *list, struct mmq_work_item *item_out, int64_t *ms_left_out);

/* Items of `result`. */
struct mmq_work_outcome {
	struct mmq_lease lease;
	struct mmq_work_result result;
	size_t body_bytes;
};
bool mmq_work_next_result(struct mmq_work_list *list, struct mmq_work_outcome *outcome_out);

/* Models of `catalogue` and `hello`; versions and aliases stay unread: walk them with the two functions below. */
struct mmq_work_entry {
	char tenant[65], name[65];
	struct mmq_work_span versions, aliases;
	uint32_t generation;
};
bool mmq_work_next_model(struct mmq_work_list *list, struct mmq_work_entry *entry_out);
bool mmq_work_next_version(struct mmq_work_list *list, uint32_t *version_out);
bool mmq_work_next_alias(struct mmq_work_list *list, char alias_out[65], uint32_t *version_out);

/* Writers. Each appends one whole message (or, for lists of items, its parts) to buf. */
void mmq_work_put_hello(struct mmq_buf *buf, enum mmq_worker_kind kind, const uint8_t session[16], const char *name, const char *build, uint64_t pid,
    const struct mmq_lease *held, size_t held_count, const uint32_t window[MMQ_WORK_KINDS], const struct mmq_buf *models);
void mmq_work_put_ready(struct mmq_buf *buf, const uint32_t window[MMQ_WORK_KINDS]);
void mmq_work_put_heartbeat(struct mmq_buf *buf, uint64_t n, const struct mmq_lease *held, size_t held_count, const struct mmq_work_usage *usage);
void mmq_work_put_catalogue(struct mmq_buf *buf, bool full, const struct mmq_buf *models);
void mmq_work_put_models(struct mmq_buf *buf, const struct mmq_work_model *models, size_t count); /* the list alone */
void mmq_work_put_return(struct mmq_buf *buf, const struct mmq_lease *held, size_t held_count);
void mmq_work_put_progress(struct mmq_buf *buf, const struct mmq_lease *lease, uint64_t checkpoint, const void *info, size_t info_size);
void mmq_work_put_grant(struct mmq_buf *buf, const struct mmq_lease *lease, enum mmq_grant_kind what, uint32_t above);
void mmq_work_put_loaded(struct mmq_buf *buf, const char *tenant, const char *model, uint32_t version, enum mmq_code code, const char *message);
void mmq_work_put_results(struct mmq_buf *buf, size_t count);   /* then count times: */
void mmq_work_put_result(struct mmq_buf *buf, const struct mmq_lease *lease, const struct mmq_work_result *result, size_t body_bytes);

void mmq_work_put_welcome(struct mmq_buf *buf, const uint8_t epoch[16], const char *build, uint32_t heartbeat_ms, uint32_t lease_ms,
    const struct mmq_lease *keep, size_t keep_count);
void mmq_work_put_echo(struct mmq_buf *buf, uint64_t n);
void mmq_work_put_plain(struct mmq_buf *buf, enum mmq_work_type type);              /* BYE of a worker, WHO, DRAIN */
void mmq_work_put_refused(struct mmq_buf *buf, enum mmq_code code, const char *message);  /* BYE of the broker */
void mmq_work_put_cancel(struct mmq_buf *buf, const struct mmq_lease *lease, enum mmq_code code);
void mmq_work_put_granted(struct mmq_buf *buf, const struct mmq_lease *lease, enum mmq_grant_kind what, uint32_t number,
    enum mmq_code code, const char *message);
void mmq_work_put_load(struct mmq_buf *buf, const char *tenant, const char *model, uint32_t version);
void mmq_work_put_work(struct mmq_buf *buf, const uint8_t epoch[16], size_t count); /* then count times: */
struct mmq_work_head {
	uint64_t delivery;
	enum mmq_work_kind kind;
	const char *op, *tenant, *model, *job;
	uint32_t version, attempt;
	int64_t ms_left;                   /* -1: no deadline */
	uint32_t queue_us;
	size_t body_bytes, payload_bytes;
};
void mmq_work_put_item(struct mmq_buf *buf, const struct mmq_work_head *head);

#endif
