/* core.h: the broker's mind: a pure state machine. Events go in, actions come out.
 *
 * It has no sockets, clock, disk, threads or randomness: times, random bytes and the epoch are passed in; bodies are handles whose
 * bytes it never reads; bytes on the wire are the shell's. So a simulator can drive it with crashes, losses and delays from one seed.
 *
 *     for each burst:  for each message:  mmq_core_event(core, &event);
 *                      mmq_core_event(core, &tick);          once after the sockets were drained: hands out work, fires what is due
 *     after EACH mmq_core_event:  while ((action = mmq_core_next_action(core))) carry it out;
 *     sleep until mmq_core_next(core) or a socket or the journal wakes.
 *
 * What an action points to lives until the next mmq_core_event(). An event's pointers are borrowed during the call, except bodies:
 * they are the core's from then on, until it gives each back by exactly one MMQ_DO_FREE (which may come at once). All actions are to be
 * drained before the next event (asserted). One thread. */
#ifndef MMQ_BROKER_CORE_H
#define MMQ_BROKER_CORE_H

#include "broker/body.h"
#include "broker/journal.h"
#include "wire/peek.h"
#include "work/work.h"

/* Every limit of the core. Zeroes are replaced by the defaults named here. */
struct mmq_core_limits {
	uint32_t requests_max;              /* 100000: held in memory, waiting and leased, all tenants */
	uint32_t requests_tenant_max;       /* 50000 */
	uint64_t bytes_max;                 /* 256 MiB of bodies in memory */
	uint64_t bytes_tenant_max;          /* 192 MiB */
	uint32_t requests_client_max;       /* 25000: of one connection */
	uint64_t bytes_client_max;          /* 96 MiB */
	uint32_t requests_model_max;        /* 40000: of one model of one tenant */
	uint64_t bytes_model_max;           /* 160 MiB */
	uint32_t requests_priority_max;     /* 80000: of one priority */
	uint64_t bytes_priority_max;        /* 208 MiB */
	uint32_t durable_max;               /* 10000000: unended rows in the journal, all tenants */
	uint32_t journal_inflight_max;      /* 4096: puts that wait for their commit */
	uint32_t heads_lane_max;            /* 256: durable requests of one lane in memory; the rest stays in the journal */
	uint32_t body_keep_bytes;           /* 64 KiB: a queued durable body above this is dropped and read again when its turn comes */
	uint32_t lanes_max;                 /* 10000 */
	uint32_t tenants_max;               /* 1000 */
	uint32_t waiters_max;               /* 10000: clients waiting for durable outcomes */
	uint32_t workers_max;               /* 256 */
	uint32_t window_max;                /* 1024: of one worker, whatever it asks for */
	uint32_t models_max;                /* 20000: in the catalogue */
	uint32_t topics_max;                /* 50000: with a running number */
	uint32_t strikes_max;               /* 3 = K: crashes while alone on a worker until a request is a dead letter */
	uint32_t version_strikes_max;       /* 3: until a version is disabled */
	uint32_t pack_count, pack_bytes, pack_body_bytes; /* 64, 65536, 4096: one frame of work */
	uint32_t alone_bytes;               /* 256 KiB: a request above this goes alone, on at most half of the workers */
	uint32_t ahead_us;                  /* 300: estimated work handed to one worker ahead */
	uint32_t heartbeat_ms, lease_ms;    /* 500, 5000 */
	uint32_t stall_ms;                  /* 1800000: a training without progress for this long is taken from its trainer, which is a strike */
	uint32_t adoption_ms;               /* 10000: after a start, held trainings wait this long for their worker to come back */
	uint32_t ageing_ms;                 /* 2000: waiting this long is worth one step of priority */
	uint32_t deadline_predict_ms;       /* 30000 */
	uint32_t wait_ms;                   /* 30000: job.wait without deadline_ms */
	uint32_t retention_ms;              /* 7 days: ended rows are kept this long */
	uint64_t retention_bytes;           /* 1 GiB: and at most this much of them, the newest */
	uint32_t dead_retention_ms;         /* 30 days: the same for dead letters */
	uint64_t dead_retention_bytes;      /* 256 MiB */
};

struct mmq_core_options {
	struct mmq_core_limits limits;
	uint8_t epoch[MMQ_WORK_EPOCH_BYTES];  /* journal_info.start big-endian, then 8 random bytes */
	uint8_t run[16];
	int64_t now_us, wall_ms;
	bool journal;                         /* false: no journal; durable work is refused with UNAVAILABLE */
	uint64_t journal_pending;             /* journal_info.pending */
};

/* ---- Events ----------------------------------------------------------------------------------------------------- */

enum mmq_event_kind {
	MMQ_ON_TICK,          /* after the sockets were drained */
	MMQ_ON_BURST,         /* in the midst of draining: what waits may go to a predictor that holds nothing; no timer fires */
	MMQ_ON_REQUEST,       /* request: a request whose header mmq_peek accepted */
	MMQ_ON_HELLO,         /* hello; then MMQ_ON_CATALOGUE with its models */
	MMQ_ON_READY,         /* window */
	MMQ_ON_HEARTBEAT,     /* n, leases: these are extended; answered by ECHO or WHO */
	MMQ_ON_CATALOGUE,     /* models, full */
	MMQ_ON_BYE,           /* the worker leaves; what it holds goes to others without a strike */
	MMQ_ON_GONE,          /* its connection broke without BYE, or a send said EHOSTUNREACH: a crash */
	MMQ_ON_EXPELLED,      /* the shell will have it no more (its key was revoked, it sent junk): no strike */
	MMQ_ON_RESULT,        /* lease, result, body: one per item of the message */
	MMQ_ON_RETURN,        /* leases: handed back unfinished */
	MMQ_ON_PROGRESS,      /* lease, checkpoint, body (one msgpack map) */
	MMQ_ON_GRANT,         /* lease, what, above */
	MMQ_ON_LOADED,        /* tenant, model, version, code */
	MMQ_ON_UNSENT,        /* a MMQ_DO_WORK could not be sent: leases, never seen by the worker. After EHOSTUNREACH, GONE follows */
	MMQ_ON_JOURNAL,       /* journal: a completion or page; its bodies are taken by setting pointers to NULL. The shell releases the rest */
	MMQ_ON_SUBSCRIBE,     /* subscribe: a subscription that was refused, for it names no topic of its tenant */
	MMQ_ON_LIMITS,        /* limits: new ones */
	MMQ_ON_DRAIN,         /* take no more requests; go on until mmq_core_is_drained() */
};

/* The keys of broker-served operations that mmq_head does not hold. NULL or 0: absent. */
struct mmq_core_query {
	const uint8_t *request; size_t request_size;   /* cancel: id of the request; absent: the header's id */
	const char *prefix; size_t prefix_size;        /* results */
	const char *model; size_t model_size;          /* job.list */
	int state;                                     /* job.list: enum mmq_journal_state, -1: any */
	uint64_t since;                                /* results: since. job.list: after (a seq) */
	uint32_t limit;                                /* 0: 100 */
	uint64_t bytes_max;                            /* results; 0: 1 MiB */
};

struct mmq_core_request {
	uint64_t route;              /* where the answer goes; the shell's number of a connection, never reused. 0: pushed, no answer, only the sink */
	uint32_t tag;                /* comes back with the answer (envelope flag) */
	const char *tenant;
	const struct mmq_head *head; /* its id is required by the core for durable work */
	const struct mmq_core_query *query;  /* broker-served ops; may be NULL otherwise */
	struct mmq_body *body;       /* taken */
	uint8_t fingerprint[MMQ_FINGERPRINT_BYTES];  /* durable only */
	uint8_t job[16];             /* durable only: random */
	bool keep;                   /* train: keep the body after the end */
};

struct mmq_core_event {
	enum mmq_event_kind kind;
	int64_t now_us, wall_ms;     /* every event; now_us never goes back */
	uint64_t route;              /* every worker event: the connection */
	union {
		struct mmq_core_request request;
		struct {
			enum mmq_worker_kind kind;
			uint8_t session[16];
			const char *name, *build;   /* name: outlives the process; NULL or empty: none */
			uint64_t pid;
			uint32_t window[MMQ_WORK_KINDS];
			const struct mmq_lease *held;
			size_t held_count;
		} hello;
		uint32_t window[MMQ_WORK_KINDS];
		struct { uint64_t n; const struct mmq_lease *leases; size_t count; struct mmq_work_usage usage; } held;  /* HEARTBEAT; RETURN and UNSENT: the leases alone */
		struct { const struct mmq_work_model *models; size_t count; bool full; } catalogue;
		struct { struct mmq_lease lease; struct mmq_work_result result; struct mmq_body *body; const char *why; } result; /* why: NULL or the error's message */
		struct { struct mmq_lease lease; uint64_t checkpoint; struct mmq_body *body; } progress;
		struct { struct mmq_lease lease; enum mmq_grant_kind what; uint32_t above; } grant;
		struct { const char *tenant, *model; uint32_t version; enum mmq_code code; } loaded;
		struct { const char *tenant, *topic; size_t size; } subscribe;
		struct mmq_journal_event *journal;
		const struct mmq_core_limits *limits;  /* a pointer, so that events of every message stay small */
	};
};

/* ---- Actions ---------------------------------------------------------------------------------------------------- */

enum mmq_action_kind {
	MMQ_DO_ANSWER,       /* answer: to a client */
	MMQ_DO_WORK,         /* work: one message to worker `route` */
	MMQ_DO_WELCOME,      /* welcome: to `route` */
	MMQ_DO_ECHO,         /* number: the n of the heartbeat. Also sent unasked (n 0) to find out whether a silent worker is dead */
	MMQ_DO_WHO,          /* to `route`: say hello. The shell may forget the route */
	MMQ_DO_DRAIN_WORKER, /* to `route` */
	MMQ_DO_BYE,          /* to `route`: refused or expelled: code, message. The shell may forget the route */
	MMQ_DO_CANCEL_WORK,  /* to `route`: lease, code */
	MMQ_DO_GRANTED,      /* to `route`: grant */
	MMQ_DO_LOAD,         /* to `route`: load */
	MMQ_DO_PUBLISH,      /* publish: on the sink */
	MMQ_DO_MARK,         /* mark: on the sink */
	MMQ_DO_JOURNAL,      /* command: append to the batch that is submitted at the end of this burst */
	MMQ_DO_READ,         /* read: submit the batch so far, then this */
	MMQ_DO_FREE,         /* body: call its release() */
	MMQ_DO_AUDIT,        /* audit: one line for the log */
	MMQ_DO_TRACED,       /* traced: a request that carries a trace has ended: one line for the log */
	MMQ_DO_STOP,         /* the journal broke: what was accepted is safe there, stop the process; message */
};

enum mmq_answer_form {
	MMQ_ANSWER_BODY,       /* body: the whole answer map, byte for byte */
	MMQ_ANSWER_ERROR,      /* err */
	MMQ_ANSWER_ACCEPTED,   /* job: {job, model, state: "queued", seq} */
	MMQ_ANSWER_SEQ,        /* seq: {accepted: true, seq} */
	MMQ_ANSWER_JOB,        /* job: of job.get, job.wait, job.cancel */
	MMQ_ANSWER_DROPPED,    /* job: only its id; a dead letter that is gone */
	MMQ_ANSWER_JOBS,       /* page: rows; states and attempts are as of now; next = seq of the last row if page->more */
	MMQ_ANSWER_CANCEL,     /* text: "cancelled", "cancelling", "unknown" */
	MMQ_ANSWER_RESULTS,    /* page: rows with topic, result_seq, answer; next = result_seq of the last row if page->more */
	MMQ_ANSWER_PONG,
	MMQ_ANSWER_STATUS,     /* the shell packs it from mmq_core_status() and its own numbers */
};

/* A job, or any durable request, as job.get and the sink show it. */
struct mmq_core_job {
	uint8_t job[16];
	const char *tenant, *model;
	uint8_t op;
	enum mmq_journal_state state;
	uint32_t attempt, version;
	uint64_t seq, result_seq;
	int64_t created_ms, started_ms, ended_ms;
	const char *trace;                   /* of the request that made it; NULL: none */
	const struct mmq_body *progress;     /* NULL: none; a msgpack map */
	const struct mmq_body *result;       /* train: state DONE: the map for `result`; FAILED or CANCELLED: the map for `error`, or NULL: code, message */
	enum mmq_code code;
	const char *message;
};

struct mmq_core_answer {
	uint64_t route;
	uint32_t tag;
	const uint8_t *id;
	size_t id_size;                      /* 0: nil */
	bool id_is_binary;
	const char *trace;                   /* of the request; NULL: none. A BODY has it inside */
	const uint8_t *request;              /* CANCEL: the id that was to be given up */
	size_t request_size;
	bool request_is_binary;
	uint8_t op;
	enum mmq_answer_form form;
	const struct mmq_body *body;
	bool body_is_last;                   /* BODY: nothing reads the body after this; what it holds may be moved out */
	const struct mmq_err *err;           /* retry_after_ms set where known */
	const struct mmq_core_job *job;
	const struct mmq_journal_page *page;
	const char *text;
	uint64_t seq;
};

struct mmq_core_item {                       /* of MMQ_DO_WORK: everything for one mmq_work_put_item and its bodies */
	uint64_t delivery;
	enum mmq_work_kind kind;
	uint8_t op;                          /* enum mmq_op */
	const char *tenant, *model;
	uint8_t job[16];                     /* kind TRAIN */
	uint32_t version, attempt;
	int64_t ms_left;                     /* -1: no deadline */
	uint32_t queue_us;
	const struct mmq_body *body;
};

enum mmq_publish_form {
	MMQ_PUBLISH_ANSWER,    /* topic result/...: the keys of body (an answer map), or of the error answer made of id, err; plus run, n, seq? */
	MMQ_PUBLISH_JOB,       /* topic job/...: event, job */
	MMQ_PUBLISH_MODEL,     /* topic model/...: event, model, version, alias?, generation?, job? */
};

struct mmq_core_publish {
	enum mmq_publish_form form;
	const char *topic;
	uint64_t n, seq;                     /* seq 0: not journalled */
	const uint8_t *id;
	size_t id_size;
	bool id_is_binary;
	const char *trace;                   /* ANSWER made of err; NULL: none */
	const struct mmq_body *body;
	const struct mmq_err *err;
	const char *event;                   /* "queued", "started", ...; "published", "alias", "deleted", "disabled" */
	const struct mmq_core_job *job;      /* JOB; MODEL: NULL if no job did it */
	const char *model, *alias;           /* MODEL; alias NULL: none */
	uint32_t version, generation;
};

struct mmq_core_traced {
	const char *trace, *tenant, *model;
	const uint8_t *id;
	size_t id_size;
	bool id_is_binary;
	uint8_t op;
	enum mmq_code code;
	uint32_t queue_us, service_us, attempt;
};

struct mmq_core_mark { const char *topic; uint64_t n; };

struct mmq_core_action {
	enum mmq_action_kind kind;
	uint64_t route;                      /* of a worker */
	union {
		struct mmq_core_answer answer;
		struct { const struct mmq_core_item *items; size_t count; } work;
		struct { const struct mmq_lease *keep; size_t count; uint32_t heartbeat_ms, lease_ms; } welcome;
		uint64_t number;
		struct { enum mmq_code code; const char *message; } bye;
		struct { struct mmq_lease lease; enum mmq_code code; } cancel;
		struct { struct mmq_lease lease; enum mmq_grant_kind what; uint32_t number; enum mmq_code code; const char *message; } grant;
		struct { const char *tenant, *model; uint32_t version; } load;
		struct mmq_core_publish publish;
		struct { const char *tenant; const struct mmq_core_mark *marks; size_t count; } mark;  /* topic mark/<tenant>/ */
		const struct mmq_journal_command *command;
		const struct mmq_journal_read *read;
		struct mmq_body *body;
		struct { const char *what, *tenant, *text; uint64_t number; } audit; /* tenant may be NULL */
		struct mmq_core_traced traced;
		const char *message;
	};
};

/* ---- The machine ------------------------------------------------------------------------------------------------ */

struct mmq_core;

struct mmq_core *mmq_core_new(const struct mmq_core_options *options);   /* its first actions read the journal's lanes */
void mmq_core_destroy(struct mmq_core **core);                           /* releases every body it holds; *core may be NULL */
void mmq_core_event(struct mmq_core *core, const struct mmq_core_event *event);
const struct mmq_core_action *mmq_core_next_action(struct mmq_core *core); /* NULL: no more for now */
int64_t mmq_core_next(const struct mmq_core *core);                      /* when the next tick is due, monotonic us; INT64_MAX: no need */
bool mmq_core_is_drained(const struct mmq_core *core);                   /* nothing plain is held and no durable work is under way in the journal */
void mmq_core_limits_default(struct mmq_core_limits *limits);            /* fill the zeroes */

/* ---- Status ----------------------------------------------------------------------------------------------------- */

/* X(counter's wire name): each counts up since the start. */
#define MMQ_CORE_COUNTERS(X)                                                                                             \
	X(requests) X(answered) X(refused) X(exhausted) X(predict_done) X(train_done) X(store_done) X(expired) X(cancelled)    \
	X(redelivered) X(suspects) X(strikes) X(dead_letters) X(late_results) X(leases_lost) X(workers_lost) X(adopted)        \
	X(journal_puts) X(journal_full) X(grants) X(published) X(unpublished) X(frames_of_work) X(items_of_work) X(versions_disabled) X(foreign)

struct mmq_core_worker_status {
	enum mmq_worker_kind kind;
	const char *name, *build;
	struct mmq_work_usage usage;
	uint64_t pid, rows, items;
	uint32_t held, window[MMQ_WORK_KINDS];
	const char *state;                   /* "ready", "silent", "draining" */
};

struct mmq_core_status {
	uint64_t waiting, leased, durable, bytes, journal_inflight;
	uint32_t workers, models, lanes, tenants;
	bool draining, recovering, stopped;  /* recovering: the journal's heads are not read yet */
	const char *health;                  /* "ready", "degraded" or "not ready" */
	const char *reasons[8];              /* why not "ready"; NULL-terminated unless full */
#define X(name) uint64_t name;
	struct { MMQ_CORE_COUNTERS(X) } counters;
#undef X
};

/* Per operation and model, see metrics.c. counts[i]: at most mmq_core_buckets_us[i]; the last one: more than all. */
enum { MMQ_CORE_BUCKETS = 16 };
extern const uint32_t mmq_core_buckets_us[MMQ_CORE_BUCKETS];
struct mmq_core_histogram { uint64_t counts[MMQ_CORE_BUCKETS + 1], sum_us; };
struct mmq_core_metric {
	uint8_t op;
	char tenant[MMQ_JOURNAL_TEXT], model[MMQ_JOURNAL_TEXT];
	uint64_t codes[MMQ_CODE_COUNT];
	struct mmq_core_histogram queue, service;
	uint64_t depth;                      /* how many wait; as of the last mmq_core_depths() */
};
const struct mmq_core_metric *mmq_core_metric(const struct mmq_core *core, uint32_t index);  /* NULL past the end */
void mmq_core_depths(struct mmq_core *core);                             /* count them anew */
const struct mmq_core_histogram *mmq_core_journal_times(const struct mmq_core *core);        /* from a command to its completion */

uint64_t mmq_core_bytes(const struct mmq_core *core);                   /* of bodies in memory: what status says, for each turn of the shell */
void mmq_core_status(const struct mmq_core *core, struct mmq_core_status *status_out);
/* Workers by index from 0; false past the end. */
bool mmq_core_worker(const struct mmq_core *core, uint32_t index, struct mmq_core_worker_status *worker_out);

/* Crashes of workers by name, since the start; NULL past the end. */
struct mmq_core_crash { char name[MMQ_WORKER_NAME_MAX]; enum mmq_worker_kind kind; uint64_t crashes; int64_t last_us; };
const struct mmq_core_crash *mmq_core_crash(const struct mmq_core *core, uint32_t index);
/* Versions with strikes, one per call; a cursor begins as zeroes. */
struct mmq_core_bad_version { const char *tenant, *model; uint32_t version, strikes; bool is_disabled; };
struct mmq_core_bad_cursor { size_t slot, at; };
bool mmq_core_bad_version(const struct mmq_core *core, struct mmq_core_bad_cursor *cursor, struct mmq_core_bad_version *bad_out);

const struct mmq_core_limits *mmq_core_limits(const struct mmq_core *core);
const char *mmq_job_state_name(enum mmq_journal_state state);            /* "queued", "running", "done", "failed", "cancelled" */

#endif
