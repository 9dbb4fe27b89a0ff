/* shell.h: the broker's body: sockets, time, disk and bytes around the core.
 *
 * One thread: drain the sockets in bursts, hand each message to the core as an event, carry out its actions, tick, submit the
 * journal batch, sleep until something happens. Nothing here decides anything about requests, leases or workers: the core does.
 * shell.c is the loop; shell_request.c what clients send; shell_answer.c what they get; shell_work.c the workers' socket;
 * shell_route.c connections and outboxes; shell_home.c folder, lock, endpoints; sink.c, zap.c the subscribers and the keys. */
#ifndef MMQ_BROKER_SHELL_H
#define MMQ_BROKER_SHELL_H

#include <poll.h>
#include <zmq.h>

#include "broker/core.h"
#include "broker/http.h"
#include "broker/shell_home.h"
#include "broker/shell_route.h"
#include "broker/sink.h"
#include "broker/zap.h"
#include "util/buf.h"
#include "util/mem.h"
#include "wire/reply.h"
#include "work/frame.h"

enum { SHELL_SMALL = 256, SHELL_BURST = 128, SHELL_EARLY = 16, SHELL_COPY_MAX = 16384, SHELL_SINK_BYTES_MAX = 65536, SHELL_BATCH_MAX = 1024 };

/* What comes back with an answer: how its request came. */
enum { SHELL_ENVELOPE = 1, SHELL_PACKED = 2 };

/* Pushed requests are read until this share of the memory for bodies is used: their senders wait before anyone is refused. */
#define PUSH_SHARE(bytes_max) ((uint64_t)(bytes_max) / 8 * 7)

struct shell_options {
	char *home, *given[SHELL_SOCKETS], *keys, *journal, *http;
	int64_t message_bytes_max, work_bytes_max, peers_max, io_threads;
	int64_t outbox_bytes_max, outbox_bytes_each, outbox_ttl_ms, peer_timeout_ms, drain_ms;
	int64_t heartbeat_ms, lease_ms, stall_ms, adoption_ms, requests_max, bytes_max, requests_tenant_max, bytes_tenant_max, requests_client_max,
	    bytes_client_max, requests_model_max, bytes_model_max, requests_priority_max, bytes_priority_max, strikes_max, durable_max, disk_free_min,
	    retention_hours, retention_bytes, dead_retention_hours, dead_retention_bytes;
};

/* Something that happened while actions were carried out; it becomes an event when they are done. */
struct shell_news {
	struct shell_news *next;
	enum mmq_event_kind kind;            /* GONE or UNSENT */
	uint64_t route;
	size_t count;
	struct mmq_lease leases[];
};

/* The frames of one received message, or a piece of a packed one: a small piece lies in the struct, which comes from a pool. */
struct shell_body {
	struct mmq_body body;                /* first: what the core holds is this */
	zmq_msg_t parts[2];
	unsigned parts_count;
	struct shell_bodies *pool;
	struct shell_body *next;             /* in the pool */
	uint8_t small[SHELL_SMALL];
};

/* Bodies given back, for the next ones: there are two to each request. */
struct shell_bodies { struct shell_body *free; unsigned count; };

/* Answers of this turn for one connection that asked in lists; shell_pack.c. */
struct shell_pack { struct shell_pack *next; uint64_t route; size_t place; uint32_t count; struct mmq_buf bytes; };

struct shell {
	struct shell_options options;
	struct shell_home home;
	struct zap zap;
	bool has_keys;
	void *context, *request, *publish, *work;
	struct sink sink;
	struct http *http;
	struct routes clients, workers;
	const struct mmq_journal_ops *ops;
	struct mmq_journal *journal;
	struct mmq_journal_info info;
	struct mmq_journal_command *batch;
	size_t batch_count;
	struct mmq_core *core;
	uint8_t epoch[MMQ_WORK_EPOCH_BYTES], run[16];
	int64_t now_us, wall_ms, started_us, keys_us, memory_us, drain_until_us;
	struct shell_news *news_first, **news_last;
	struct shell_bodies bodies;
	struct shell_pack *packs, *free_packs;
	unsigned free_packs_count;
	struct mmq_buf out;                  /* scratch for what is packed */
	struct mmq_arena arena;              /* scratch for lists of one message */
	bool look_work, look_request;        /* that socket was sent on, or not read empty: look there before sleeping */
	bool stopping, draining, failed;
	struct mmq_err why;                  /* failed: what is said at the end */
	struct { uint64_t bad_frames, denied, bad_work, sink_references, journal_damaged; } counters;
};

int mmq_shell_start(void *shell, struct mmq_err *err);
int mmq_shell_loop(void *shell, struct mmq_err *err);
void mmq_shell_stop(void *shell);
int mmq_shell_check(void *shell, struct mmq_err *err);

/* shell.c: give the core one event, carry out what it wants, then what came of that. Fills in the times. */
void mmq_shell_event(struct shell *shell, struct mmq_core_event *event);
void mmq_shell_news(struct shell *shell, enum mmq_event_kind kind, uint64_t route, const struct mmq_core_item *items, size_t count);

/* shell_sockets.c: bind all, write the endpoints into the home. */
int mmq_shell_sockets_open(struct shell *shell, struct mmq_err *err);

/* shell_memory.c */
void mmq_shell_memory(struct shell *shell);

/* shell_wake.c */
enum { WAKE_SIGNAL, WAKE_JOURNAL, WAKE_WORK, WAKE_REQUEST, WAKE_PUBLISH, WAKE_SINK, WAKE_ZAP, WAKE_HTTP, WAKES };
void mmq_shell_wakes_init(const struct shell *shell, struct pollfd wakes[WAKES]);        /* all awake: the first turn looks everywhere */
int mmq_shell_wait(const struct shell *shell, struct pollfd wakes[WAKES], int timeout_ms); /* as poll(); revents of WAKE_PUBLISH says what the last turn left */

/* shell_body.c */
struct shell_body *mmq_shell_body_take(struct shell_bodies *pool, zmq_msg_t *parts, unsigned count);  /* moves one or two frames */
struct shell_body *mmq_shell_body_copy(struct shell_bodies *pool, const void *bytes, size_t size);
void mmq_shell_body_send(const struct mmq_body *body, zmq_msg_t *part_out, bool payload); /* without a copy where that is possible */
void mmq_shell_body_move(const struct mmq_body *body, zmq_msg_t *part_out);           /* the same for a body that nobody reads again */
void mmq_shell_bodies_fini(struct shell_bodies *pool);
void mmq_shell_part(zmq_msg_t *part_out, const struct mmq_buf *buf);
int mmq_shell_receive(void *socket, zmq_msg_t *parts, unsigned parts_max, unsigned *count_out); /* 0: one message, count may say more than kept */
void mmq_shell_parts_close(zmq_msg_t *parts, unsigned count);

/* shell_request.c */
bool mmq_shell_request_read(struct shell *shell);     /* the same */
bool mmq_shell_publish_read(struct shell *shell);     /* true: nothing is left there */
/* An accepted header to the core, which takes the body. -1: one of its keys is wrong; the body is still the caller's. route NULL: pushed. */
int mmq_shell_request_give(struct shell *shell, struct route *route, uint32_t tag, const char *tenant, const struct mmq_head *head,
    struct shell_body *own, struct mmq_err *err);

/* shell_pack.c: several requests in one frame, and their answers. */
void mmq_shell_pack_read(struct shell *shell, struct route *route, const char *tenant, zmq_msg_t *frame);  /* route NULL: pushed */
void mmq_shell_pack_add(struct shell *shell, struct route *route, const void *answer, size_t size);
void mmq_shell_packs_send(struct shell *shell);       /* what was added leaves */
void mmq_shell_packs_fini(struct shell *shell);

/* shell_metrics.c */
void mmq_shell_metrics_give(struct shell *shell);

/* shell_answer.c, shell_publish.c, shell_status.c */
void mmq_shell_answer(struct shell *shell, const struct mmq_core_answer *answer);
void mmq_shell_refuse(struct shell *shell, struct route *route, uint32_t tag, const struct mmq_head *head, const struct mmq_err *err);
struct mmq_head mmq_shell_head(const uint8_t *id, size_t size, bool is_binary, const char *trace); /* a head that holds nothing else; trace may be NULL */
void mmq_shell_log_traced(const struct mmq_core_traced *traced);
unsigned mmq_shell_put_job(struct mmq_buf *out, const struct mmq_core_job *job);      /* keys and values; returns how many pairs */
void mmq_shell_publish(struct shell *shell, const struct mmq_core_publish *publish);
void mmq_shell_mark(struct shell *shell, const char *tenant, const struct mmq_core_mark *marks, size_t count);
void mmq_shell_put_status(struct shell *shell, struct mmq_buf *out, const struct mmq_head *head, const char *tenant);

/* shell_work.c */
bool mmq_shell_work_read(struct shell *shell);        /* true: nothing is left there */
void mmq_shell_work_act(struct shell *shell, const struct mmq_core_action *action);

#endif
