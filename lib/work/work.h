/* work.h: the worker's side of the work protocol (schemas/work.md), shared by the predictor and the trainer.
 *
 * Key idea: one thread owns a worker and calls mmq_worker_next() whenever it can; each call moves bytes both ways, sends the
 * heartbeats that keep leases alive, says HELLO again when the broker fell silent, and hands back at most one event.
 * Answers are packed and leave together at the next call of mmq_worker_next() or mmq_worker_flush().
 * It does not read what clients sent: a body is opaque here. Nothing in here is safe to call from a second thread; a
 * compute thread wakes the owner through a watched descriptor. */
#ifndef MMQ_WORK_WORK_H
#define MMQ_WORK_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

enum { MMQ_WORK_PROTOCOL = 1, MMQ_WORK_EPOCH_BYTES = 16, MMQ_WORK_WATCH_MAX = 4, MMQ_WORKER_NAME_MAX = 33,
	MMQ_WORK_IDLE_BEATS = 3 };  /* heartbeats in the time of a lease while nothing is held */

/* What kind of process connects. */
enum mmq_worker_kind { MMQ_WORKER_NONE, MMQ_WORKER_PREDICTOR, MMQ_WORKER_TRAINER, MMQ_WORKER_STORE, MMQ_WORKER_KINDS };

/* What kind of work is handed out. A predictor takes PREDICT, a trainer TRAIN and STORE, a store worker STORE. */
enum mmq_work_kind { MMQ_WORK_PREDICT, MMQ_WORK_TRAIN, MMQ_WORK_STORE, MMQ_WORK_KINDS };

/* The name of one lease: who handed it out (one run of one broker) and its number there. Never repeats. */
struct mmq_lease {
	uint8_t epoch[MMQ_WORK_EPOCH_BYTES];
	uint64_t delivery;
};

/* One piece of work. The caller's until mmq_worker_answer() or mmq_worker_drop() takes it. The texts and bodies point into
 * the received message, which lives as long as the item. */
struct mmq_work_item {
	struct mmq_lease lease;
	enum mmq_work_kind kind;
	char op[16];                       /* "predict", "train", "model.alias", ... */
	char tenant[65], model[65];        /* model: "" where the operation names none */
	char job[33];                      /* TRAIN: the job's id, 32 hex digits; else "" */
	uint32_t version;                  /* resolved by the broker and pinned; 0: none */
	uint32_t attempt;                  /* from 1 */
	int64_t deadline_us;               /* monotonic clock; INT64_MAX: none */
	int64_t arrived_us;                /* monotonic clock, when this process received it */
	uint32_t queue_us;                 /* how long it waited in the broker */
	const uint8_t *body, *payload;     /* the client's map as it was sent, and its second frame (NULL: none) */
	size_t body_bytes, payload_bytes;
	bool cancelled;                    /* set before the CANCEL event of this item is handed out */
	void *user;                        /* the caller's */
};

enum mmq_work_event_kind {
	MMQ_WORK_EVENT_NONE,
	MMQ_WORK_EVENT_WELCOME,   /* the broker took the session; report the catalogue, if this worker has one */
	MMQ_WORK_EVENT_WORK,      /* item: now the caller's */
	MMQ_WORK_EVENT_CANCEL,    /* item: stop soon and answer it (CANCELLED) or drop it; code says why */
	MMQ_WORK_EVENT_GRANTED,   /* item, version: the number that was asked for; or code != MMQ_OK: not granted */
	MMQ_WORK_EVENT_LOAD,      /* tenant, model, version: load it, then call mmq_worker_loaded */
	MMQ_WORK_EVENT_DRAIN,     /* the broker stops or wants this worker to leave: finish what is held, then close */
	MMQ_WORK_EVENT_REFUSED,   /* code, message: the broker will not have this worker (protocol, kind, key) */
	MMQ_WORK_EVENT_FD,        /* fd: a watched descriptor is readable */
};

struct mmq_work_event {
	enum mmq_work_event_kind kind;
	struct mmq_work_item *item;
	uint32_t version;
	enum mmq_code code;        /* CANCEL: CANCELLED, DEADLINE_EXCEEDED, or UNAVAILABLE when the lease is lost: any result would be refused */
	char tenant[65], model[65];
	char message[256];
	int fd;
};

/* What the store holds of one model; versions ascending. Borrowed during the call. */
struct mmq_work_alias { const char *name; uint32_t version; };
struct mmq_work_model {
	const char *tenant, *name;
	const uint32_t *versions;
	size_t versions_count;             /* 0: the model is gone */
	const struct mmq_work_alias *aliases;
	size_t aliases_count;
	uint32_t generation;               /* of its aliases */
};

/* What a worker keeps: a predictor the model files in its cache, a trainer or store worker the versions in the store. */
struct mmq_work_usage { uint64_t bytes; uint32_t entries; };

struct mmq_worker_options {
	enum mmq_worker_kind kind;
	const char *name;                  /* stays the same when the process is started again: crashes are counted by it; NULL: none */
	const char *endpoint;              /* ipc://... or tcp://host:port */
	const char *build;                 /* program and version, for status */
	const char *key_file;              /* CURVE: this worker's secret certificate (czmq's format); NULL: no encryption */
	const char *server_key_file;       /* CURVE: the broker's public certificate; both or none */
	int64_t message_bytes_max;         /* 0: 64 MiB */
};

struct mmq_worker;

/* Connect. The session begins with HELLO at the first mmq_worker_next(). -1: bad options, unreadable keys, bad endpoint. */
int mmq_worker_open(struct mmq_worker **worker_out, const struct mmq_worker_options *options, struct mmq_err *err);

/* Say BYE (what is held goes back to the broker without a strike), flush for at most 500 ms, close, free. *worker may be NULL. */
void mmq_worker_close(struct mmq_worker **worker);

/* Also wait for this descriptor to become readable; at most MMQ_WORK_WATCH_MAX. */
int mmq_worker_watch(struct mmq_worker *worker, int fd);

/* Move bytes both ways and wait at most timeout_ms (0: do not wait, -1: until something happens) for one event.
 * Returns 1 with *event_out, or 0 when nothing happened. -1: the socket is unusable; close and leave.
 * Call it at least every few hundred milliseconds while work is held: the lease is kept from inside. */
int mmq_worker_next(struct mmq_worker *worker, int timeout_ms, struct mmq_work_event *event_out, struct mmq_err *err);

/* How many items of this kind this worker is willing to hold at once, those it holds included. Sent when it changed. */
void mmq_worker_ready(struct mmq_worker *worker, enum mmq_work_kind kind, uint32_t window);

/* What came of one item. rows: how many rows were computed (the broker learns the time per row); service_us: compute time. */
struct mmq_work_result {
	enum mmq_code code;                /* MMQ_OK or the error's code; must agree with the body */
	uint32_t rows, service_us;
	uint32_t version;                  /* the version that answered or was published; 0: none */
	bool crashes_model;                /* the model, not the request, is at fault: the broker strikes the version */
};

/* Answer an item and free it; *item becomes NULL. bytes are copied. PREDICT and STORE: the whole answer map of protocol
 * version 1 with the client's id. TRAIN: on MMQ_OK the map that becomes `result`, else the map that becomes `error`. */
void mmq_worker_answer(struct mmq_worker *worker, struct mmq_work_item **item, const struct mmq_work_result *result,
    const void *bytes, size_t size);

/* Free an item without answering: its lease was lost, or it is handed back (the broker gives it to another, no strike). */
void mmq_worker_drop(struct mmq_worker *worker, struct mmq_work_item **item);

/* Send what is packed now instead of at the next mmq_worker_next(). */
void mmq_worker_flush(struct mmq_worker *worker);

/* Progress of a training item: info is one msgpack map that job.get shows and the sink publishes; checkpoint counts the
 * checkpoints written so far (a higher number resets the strikes). The latest one wins if the socket is full. */
void mmq_worker_progress(struct mmq_worker *worker, const struct mmq_work_item *item, uint64_t checkpoint,
    const void *info, size_t info_size);

/* Ask for a number. VERSION: the version that this job may publish. ALIAS: the next generation of the model's aliases.
 * above: only a number greater than this will do (0: any). Answered by GRANTED; repeated by itself until answered. */
enum mmq_grant_kind { MMQ_GRANT_VERSION, MMQ_GRANT_ALIAS };
void mmq_worker_grant(struct mmq_worker *worker, const struct mmq_work_item *item, enum mmq_grant_kind kind, uint32_t above);

/* Report models: all of them (full: replaces what was reported before) or those that changed. Nothing is sent before WELCOME: report all
 * of them then, since what was true before a broker restarted may be no more. */
void mmq_worker_catalogue(struct mmq_worker *worker, const struct mmq_work_model *models, size_t count, bool full);

/* Told with every heartbeat from now on. */
void mmq_worker_usage(struct mmq_worker *worker, const struct mmq_work_usage *usage);

/* Answer LOAD, or report a version that cannot be served. code MMQ_OK: ready; message may be NULL. */
void mmq_worker_loaded(struct mmq_worker *worker, const char *tenant, const char *model, uint32_t version,
    enum mmq_code code, const char *message);

size_t mmq_worker_held(const struct mmq_worker *worker);      /* items handed out and not yet answered */
bool mmq_worker_is_welcome(const struct mmq_worker *worker);  /* the broker took this session and was heard lately */

#endif
