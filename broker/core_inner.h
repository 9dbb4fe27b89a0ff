/* core_inner.h: the core as its own files see it. core.h is what the shell sees.
 *
 * A request lives in one struct core_request from acceptance to its end, whatever lists it is in. Nothing is freed while
 * an action may still point to it: what ended goes to the retired list, emptied at the next event. */
#ifndef MMQ_BROKER_CORE_INNER_H
#define MMQ_BROKER_CORE_INNER_H

#include <stdio.h>
#include <string.h>

#include "broker/core.h"
#include "broker/table.h"
#include "util/hash.h"
#include "util/mem.h"

enum { US_PER_MS = 1000, FETCHES_MAX = 64, PAUSE_US = 100000, QUANTUM_US = 300, JOURNAL_RETRY_US = 500000, UNSENT_US = 5000,
	MARK_US = 1000000, MARKS_MAX = 256, PRUNE_US = 60000000, PRUNE_AGAIN_US = 50000, EST_UNKNOWN_US = 50, EXPIRED_COUNT = 256, IDLE_LANES_MAX = 2048, WARM_US = 5000000, CRASHES_US = 60000000 };

enum timer_kind { TIMER_REQUEST, TIMER_WORKER, TIMER_WAITER, TIMER_ADOPTION, TIMER_MARK, TIMER_PRUNE, TIMER_EXPIRED, TIMER_LANE, TIMER_WARMING };

enum request_state {
	R_LOOSE,       /* in no list, about to be */
	R_PUTTING,     /* durable: its put is not committed */
	R_QUEUED,      /* in its lane, or in the alone list */
	R_ADOPTABLE,   /* after a start: its worker may still hold it */
	R_FETCHING,    /* its body is being read */
	R_LEASED,
	R_ENDING,      /* durable: its outcome is not committed */
	R_ENDED,
};

struct core_lane;
struct core_lease;

struct core_node { struct core_node *previous, *next; };  /* intrusive list; an empty head points to itself */

struct core_request {
	struct core_node node;              /* in lane->waiting, core->alone[kind] or core->adoptable */
	struct core_lane *lane;
	struct core_client *client;         /* NULL: pushed, or read from the journal */
	struct core_lease *lease;
	struct core_timer timer;            /* deadline; R_ENDING: the next try of a refused outcome */
	struct mmq_body *body, *answer, *progress;
	char *why;                          /* of an end with an error made here */
	char *trace;                        /* the client's; NULL: none */
	enum request_state state;
	uint8_t op, pending;                /* pending: commands and reads under way that name it */
	bool is_dead, durable, sink, wait, keep, id_is_binary, suspect, alone, late_cancel, strike_due;
	uint8_t id_size;
	uint8_t id[MMQ_ID_BYTES_MAX];
	uint64_t id_hash, route;
	uint32_t tag, version, attempt, strikes, estimate_us, queue_us, service_us;
	int64_t arrived_us, deadline_us;
	uint64_t bytes, key_hash;
	/* durable */
	uint64_t seq, result_seq, checkpoint;
	uint32_t warm_version;              /* what an alias change of this request will point at; 0: not known */
	uint8_t job[16], fingerprint[16];
	uint64_t job_hash;
	uint8_t lease_epoch[16];
	uint64_t lease_delivery;
	int64_t created_ms, deadline_ms, started_ms, ended_ms;
	/* the end */
	enum mmq_journal_state end_state;
	enum mmq_code code;
	uint32_t result_version;
};

/* What is held of something that has a budget of its own. */
struct core_budget { uint32_t requests; uint64_t bytes; };

struct core_client {                        /* a connection that has requests here */
	uint64_t route;
	struct core_budget held;
	struct core_client *next;           /* free list */
};
struct core_model_load {                    /* a model that is asked for: one for all its lanes */
	uint64_t hash;
	struct core_budget held;
	uint32_t lanes;
	char tenant[MMQ_JOURNAL_TEXT], model[MMQ_JOURNAL_TEXT];
};

struct core_tenant;
struct core_queue {                         /* what one tenant waits for of one kind of work */
	struct core_node node;              /* in core->ring[kind] while lanes.count > 0 */
	struct core_tenant *tenant;
	struct core_heap lanes;             /* by head->arrived_us - priority * ageing: constant while they wait */
	int64_t deficit_us;
	bool has_turn;                      /* its quantum was added */
};

struct core_tenant {
	struct core_tenant *next;
	char name[MMQ_JOURNAL_TEXT];
	struct core_queue queues[MMQ_WORK_KINDS];
	struct core_budget held;
};

struct core_lane {
	struct core_timer order;            /* first member: in its queue's heap */
	struct core_node waiting, idle;
	struct core_tenant *tenant;
	struct core_model_load *load;
	struct mmq_core_metric *metric;     /* of metric_op; NULL: not looked up yet */
	uint8_t metric_op;
	char model[MMQ_JOURNAL_TEXT];
	uint64_t hash;
	enum mmq_work_kind kind;
	uint8_t priority;
	uint32_t version;
	uint32_t requests, heads, depth;    /* requests that name it; durable ones among those waiting; all that wait */
	bool backlog, reading, busy;        /* more in the journal; a read is under way; STORE: one is leased */
	bool is_first_read;                 /* that read is the first one after a start */
	uint64_t last_seq;                  /* the largest seq taken into memory */
	double us_per_byte;                 /* measured; 0: not yet */
};

struct core_worker {
	struct core_node node;              /* in core->workers */
	struct core_timer timer;
	struct core_node leases;            /* oldest `until` first */
	uint64_t route;
	uint8_t session[16];
	enum mmq_worker_kind kind;
	char name[MMQ_WORKER_NAME_MAX], build[64];
	struct mmq_work_usage usage;
	uint64_t pid, rows, items;
	uint32_t window[MMQ_WORK_KINDS], held[MMQ_WORK_KINDS], held_all;
	int64_t load_us, heard_us, blocked_us;
	bool draining, solo, reserved, doubtful; /* doubtful: lost a lease by silence and was not heard since; solo: a request is alone on it; reserved: takes nothing until idle, for such a one */
};

struct core_lease {
	struct core_node node;
	struct mmq_lease name;
	struct core_worker *worker;
	struct core_request *request;       /* NULL: it ended otherwise; the worker's place is still taken */
	enum mmq_work_kind kind;
	bool solo, suspect, kept;           /* kept: named by the HELLO being read */
	int64_t until_us, moved_us;         /* moved: when it last showed progress */
	uint32_t estimate_us;
};

/* A client that waits for the outcome of a job, or for a read. */
struct core_waiter {
	struct core_timer timer;
	struct core_waiter *next;           /* free list */
	uint64_t route, job_hash;
	uint32_t tag;
	uint8_t op, id_size, job[16];
	bool id_is_binary, queued, acceptance; /* queued: in core->waiters; acceptance: waits for the commit only */
	uint8_t id[MMQ_ID_BYTES_MAX];
	bool request_is_binary;
	uint8_t request_size, request[MMQ_ID_BYTES_MAX]; /* cancel: what is to be given up */
	char trace[MMQ_TRACE_BYTES_MAX + 1];
};

enum pending_why { P_PUT, P_LEASE, P_GRANT, P_STRIKE, P_OUTCOME, P_PRUNE, P_LANES, P_HEADS, P_BODY, P_EXPIRED, P_JOB, P_CANCEL, P_LIST, P_RESULTS, P_DEAD,
	P_RECHECK, P_AGAIN };

/* A durable request that cannot be served now, while the journal is asked whether it knows the id. */
struct core_again {
	uint8_t fingerprint[16];
	struct mmq_err err;                 /* the answer if it does not */
	char tenant[MMQ_JOURNAL_TEXT], model[MMQ_JOURNAL_TEXT];
};

struct core_pending {
	struct core_pending *next;
	uint64_t ticket;
	enum pending_why why;
	struct core_request *request;
	struct core_lane *lane;
	struct core_waiter *waiter;
	struct core_again *again;
	struct mmq_lease lease;
	const struct core_tenant *asker;    /* of a job by its id */
	int64_t since_us;
	uint8_t what;
};

/* A worker that asked for the number of an alias change waits until the predictors have loaded what the alias will point at. */
struct core_warming {
	struct core_timer timer;
	struct core_warming *next;
	uint64_t route;
	struct mmq_lease lease;
	uint32_t above, version, missing;   /* missing: predictors that have not said LOADED */
	enum mmq_code code;                 /* of one that could not load it for good */
	char tenant[MMQ_JOURNAL_TEXT], model[MMQ_JOURNAL_TEXT];
};

enum { ALIAS_PAST = 4 };
struct core_alias { char name[MMQ_JOURNAL_TEXT]; uint32_t version, past[ALIAS_PAST]; };  /* past: what it pointed at before, newest first */
struct core_bad_version { uint32_t version, strikes; };  /* strikes: requests that killed a worker alone, and damaged files */
struct core_model {
	char tenant[MMQ_JOURNAL_TEXT], name[MMQ_JOURNAL_TEXT];
	uint64_t hash;
	uint32_t *versions;
	size_t versions_count;
	struct core_alias *aliases;
	size_t aliases_count;
	uint32_t generation, mark;          /* mark: of the last full report that named it */
	struct core_bad_version *bad;
	size_t bad_count;
};

struct core_topic {
	struct core_topic *next_dirty;
	uint64_t hash, n;
	const struct core_tenant *tenant;
	bool is_dirty, is_closed;           /* closed: nothing more comes; forgotten after its mark */
	char name[MMQ_JOURNAL_TOPIC];
};

struct mmq_core {
	struct mmq_core_limits limits;
	uint8_t epoch[16], run[16];
	int64_t now_us, wall_ms, promised_us;
	uint64_t secret, delivery, ticket;
	bool journal, draining, stopped, recovering, has_catalogue, store_catalogue, is_dirty;
	bool expired_reading;

	struct mmq_core_action *actions;
	size_t actions_count, actions_capacity, actions_at;
	struct mmq_arena scratch;

	struct core_heap timers;
	struct core_timer adoption, mark, prune, expired;
	struct core_table plain_ids, durable_ids, jobs, leases, routes, sessions, lanes, waiters, pendings, models, topics, adoptable_leases, clients, loads;
	struct core_tenant *tenants;
	struct core_lane *last_lane;        /* the one found last: requests of one model often come in a burst */
	struct core_node ring[MMQ_WORK_KINDS], alone[MMQ_WORK_KINDS], workers, adoptable, idle_lanes;
	struct core_request *retired, *free_requests;   /* linked through node.next */
	struct core_lease *free_leases;
	struct core_waiter *free_waiters;
	struct core_pending *free_pendings;
	struct core_topic *dirty_topics;
	struct core_warming *warmings;
	struct mmq_core_metric **metrics;
	uint32_t metrics_count;
	struct mmq_core_histogram journal_times;
	struct mmq_core_crash *crashes;
	uint32_t crashes_count;
	struct core_client *free_clients;
	void **blocks;                      /* of pooled memory */
	size_t blocks_count;

	uint32_t tenants_count, lanes_count, workers_count, predictors_count, waiters_count, fetches, puts, models_count, model_mark;
	uint32_t first_reads;               /* lanes whose heads are not read yet after a start: workers cannot be adopted before */
	uint32_t requests, plain, alone_leased, big_leased, disabled_count;
	struct core_budget priorities[10];  /* by priority */
	int64_t crashed_us[3];              /* when workers crashed last, newest first */
	int64_t foreign_us;                 /* when somebody was last looked at for naming what is another tenant's */
	uint64_t waiting, leased, durable, bytes;
	double drained_per_s;
	uint64_t drained_count;
	int64_t drained_us, full_until_us;
	struct mmq_core_status status;      /* counters only */
};

#define CORE_COUNT(core, name) ((core)->status.counters.name++)
#define OF(type, member, node_at) ((type *)(void *)((char *)(node_at) - offsetof(type, member)))

static inline void core_list_init(struct core_node *head) { head->previous = head->next = head; }
static inline bool core_list_is_empty(const struct core_node *head) { return head->next == head; }
static inline void
core_list_add(struct core_node *before, struct core_node *node)  /* before a head: at the end */
{
	node->next = before;
	node->previous = before->previous;
	before->previous->next = node;
	before->previous = node;
}
static inline void
core_list_remove(struct core_node *node)
{
	if (node->next == NULL)
		return;
	node->previous->next = node->next;
	node->next->previous = node->previous;
	node->previous = node->next = NULL;
}

/* core.c */
static inline uint64_t core_hash_number(const struct mmq_core *core, uint64_t number) { return mmq_hash64_pair(core->secret, number); }  /* keyed */
uint64_t core_hash(const struct mmq_core *core, uint64_t number, const void *bytes, size_t size); /* keyed; size <= 256 */
struct mmq_core_action *core_act(struct mmq_core *core, enum mmq_action_kind kind);
void core_free_body(struct mmq_core *core, struct mmq_body **body);
void core_audit(struct mmq_core *core, const char *what, const char *tenant, const char *text, uint64_t number);
struct core_request *core_request_get(struct mmq_core *core);
struct core_lease *core_lease_get(struct mmq_core *core);
void core_lease_put(struct mmq_core *core, struct core_lease *lease);
struct core_waiter *core_waiter_get(struct mmq_core *core);      /* NULL: too many */
void core_waiter_put(struct mmq_core *core, struct core_waiter *waiter);
uint32_t core_retry_after_ms(const struct mmq_core *core, uint64_t held);                /* until half of what is held has ended */

/* queue.c */
struct core_tenant *core_tenant_get(struct mmq_core *core, const char *name);          /* NULL: too many */
struct core_lane *core_lane_get(struct mmq_core *core, struct core_tenant *tenant, enum mmq_work_kind kind, uint8_t priority,
    const char *model, uint32_t version);                                             /* NULL: too many */
void core_lane_release(struct mmq_core *core, struct core_lane *lane);                 /* no longer named by one request */
void core_lane_order(struct mmq_core *core, struct core_lane *lane);                   /* its head changed */
void core_queue_push(struct mmq_core *core, struct core_request *request, bool front); /* R_QUEUED */
void core_queue_return(struct mmq_core *core, struct core_request *request);            /* its body is there */
void core_queue_remove(struct mmq_core *core, struct core_request *request);
struct core_lane *core_queue_next(struct mmq_core *core, enum mmq_work_kind kind);     /* whose turn it is; NULL: nobody waits */
void core_queue_charge(struct core_lane *lane, uint32_t us);
void core_queue_fini(struct mmq_core *core);
void core_queue_end_version(struct mmq_core *core, const char *tenant, const char *model, uint32_t version); /* it was disabled: answer who waits for it */
void core_lane_refill(struct mmq_core *core, struct core_lane *lane);                  /* read more heads if few are left */

/* accept.c */
void core_accept(struct mmq_core *core, const struct mmq_core_request *in);
void core_refuse(struct mmq_core *core, const struct mmq_core_request *in, const struct mmq_err *err);
void core_refuse_to(struct mmq_core *core, const struct core_waiter *to, const char *tenant_name, const char *model, const struct mmq_err *err);
void core_request_enter(struct mmq_core *core, struct core_request *request);          /* into the indexes and budgets */
void core_request_done(struct mmq_core *core, struct core_request *request);           /* out of them; freed when nothing is pending */
struct core_request *core_find_durable(const struct mmq_core *core, const char *tenant, const uint8_t *id, size_t size, bool is_binary);
struct core_request *core_find_job(const struct mmq_core *core, const uint8_t job[16]);
void core_waiter_fill(struct core_waiter *waiter, const struct mmq_core_request *in);
void core_waiter_add(struct mmq_core *core, struct core_waiter *waiter, const uint8_t job[16], int64_t due_us);
void core_accepted(struct mmq_core *core, const struct core_waiter *to, const struct mmq_core_job *job); /* answer at acceptance */

/* repeat.c */
void core_accept_again(struct mmq_core *core, const struct mmq_core_request *in, struct core_request *request);
void core_ask_journal(struct mmq_core *core, const struct mmq_core_request *in, struct core_waiter *waiter, const struct mmq_err *err);
void core_on_again(struct mmq_core *core, struct core_pending *pending, struct mmq_journal_page *page);

/* durable.c */
struct mmq_journal_command *core_command(struct mmq_core *core, enum mmq_journal_verb verb, enum pending_why why, struct core_request *request,
    struct core_pending **pending_out);
struct mmq_journal_read *core_read(struct mmq_core *core, enum mmq_journal_query query, enum pending_why why, struct core_pending **pending_out);
void core_put(struct mmq_core *core, struct core_request *request);
void core_on_journal(struct mmq_core *core, struct mmq_journal_event *event);
void core_expired_read(struct mmq_core *core);
void core_adoption_end(struct mmq_core *core);
void core_job_of_row(struct mmq_core_job *job, const struct mmq_journal_row *row);
void core_pending_fini(struct mmq_core *core);

/* recover.c */
struct core_request *core_request_of_row(struct mmq_core *core, struct mmq_journal_row *row);   /* not queued yet; NULL: no room */
void core_on_lanes(struct mmq_core *core, struct mmq_journal_page *page);
void core_on_heads(struct mmq_core *core, struct core_lane *lane, struct mmq_journal_page *page);
void core_on_expired(struct mmq_core *core, struct mmq_journal_page *page);
void core_spill(struct mmq_core *core, struct core_request *request);                  /* it stays in the journal alone */

/* outcome.c */
void core_end(struct mmq_core *core, struct core_request *request, enum mmq_journal_state state, enum mmq_code code, const char *why);
void core_end_with(struct mmq_core *core, struct core_request *request, const struct mmq_work_result *result, struct mmq_body *answer, const char *why);
void core_outcome_write(struct mmq_core *core, struct core_request *request);
void core_stop(struct mmq_core *core, const char *why);
void core_detach(struct mmq_core *core, struct core_request *request);                 /* out of whatever list or lease it is in: R_LOOSE */
void core_outcome_written(struct mmq_core *core, struct core_request *request, enum mmq_journal_status status, uint64_t result_seq);
void core_publish_answer(struct mmq_core *core, struct core_request *request);            /* its code, why or answer on the sink, if it has a topic */
void core_request_job(const struct core_request *request, struct mmq_core_job *job);
void core_job_event(struct mmq_core *core, struct core_request *request, const char *event);
void core_answer_error(struct mmq_core *core, const struct core_waiter *to, enum mmq_code code, const char *why, uint32_t retry_after_ms);
struct mmq_core_answer *core_answer_to(struct mmq_core *core, const struct core_waiter *to, enum mmq_answer_form form);
void core_answer_row(struct mmq_core *core, const struct core_waiter *to, struct mmq_journal_row *row); /* an ended one; takes its answer */
void core_waiters_error(struct mmq_core *core, const uint8_t job[16], enum mmq_code code, const char *why, uint32_t retry_after_ms);
void core_row_waiters(struct mmq_core *core, struct mmq_journal_row *row);             /* answer all who wait for it */

/* jobs.c */
void core_serve(struct mmq_core *core, const struct mmq_core_request *in);
void core_dead_done(struct mmq_core *core, struct core_pending *pending, const struct mmq_journal_event *event);  /* a REVIVE or FORGET is through */
void core_on_job_page(struct mmq_core *core, struct core_pending *pending, struct mmq_journal_page *page);

/* worker.c */
struct core_worker *core_worker_of(const struct mmq_core *core, uint64_t route);
void core_on_hello(struct mmq_core *core, const struct mmq_core_event *event);
void core_on_heartbeat(struct mmq_core *core, const struct mmq_core_event *event);
void core_on_ready(struct mmq_core *core, const struct mmq_core_event *event);
void core_worker_timer(struct mmq_core *core, struct core_worker *worker);
bool core_worker_is_silent(const struct mmq_core *core, const struct core_worker *worker);
void core_worker_watch(struct mmq_core *core, struct core_worker *worker);             /* it holds something now: its silence is noticed sooner */
void core_worker_hear(struct mmq_core *core, struct core_worker *worker);              /* it has just said something */
void core_worker_lost(struct mmq_core *core, struct core_worker *worker, bool crash);
void core_worker_fini(struct mmq_core *core);

/* lease.c */
struct core_lease *core_lease_new(struct mmq_core *core, struct core_worker *worker, struct core_request *request, const struct mmq_lease *name,
    bool solo);
struct core_lease *core_lease_find(const struct mmq_core *core, const struct core_worker *worker, const struct mmq_lease *name);
void core_lease_drop(struct mmq_core *core, struct core_lease *lease);                 /* the worker's place is free again */
void core_lease_extend(struct mmq_core *core, struct core_lease *lease);
void core_lease_lost(struct mmq_core *core, struct core_lease *lease, bool crash, bool alone); /* back into the queue, or a strike */
void core_on_result(struct mmq_core *core, const struct mmq_core_event *event);
void core_on_return(struct mmq_core *core, const struct mmq_core_event *event, bool unsent);
void core_on_progress(struct mmq_core *core, const struct mmq_core_event *event);
void core_on_grant(struct mmq_core *core, const struct mmq_core_event *event);
void core_grant_write(struct mmq_core *core, struct core_lease *lease, enum mmq_grant_kind what, uint32_t above);
void core_grant_refuse(struct mmq_core *core, uint64_t route, const struct mmq_lease *lease, enum mmq_grant_kind what, enum mmq_code code, const char *why);
void core_granted(struct mmq_core *core, const struct core_pending *pending, const struct mmq_journal_event *event);
bool core_adopt(struct mmq_core *core, struct core_worker *worker, const struct mmq_lease *name);

/* dispatch.c */
void core_dispatch(struct mmq_core *core);
void core_dispatch_early(struct mmq_core *core);                                       /* only if a predictor holds nothing */

/* catalogue.c */
struct core_model *core_model_find(const struct mmq_core *core, const char *tenant, const char *name, size_t name_size);
void core_on_catalogue(struct mmq_core *core, const struct mmq_core_event *event);
int core_resolve(struct mmq_core *core, const char *tenant, const struct mmq_head *head, uint32_t *version_out, struct mmq_err *err);
void core_version_add(struct mmq_core *core, const struct core_request *request, uint32_t version);
void core_version_strike(struct mmq_core *core, const char *tenant, const char *model, uint32_t version);
void core_load_everywhere(struct mmq_core *core, const char *tenant, const char *model, uint32_t version);
void core_catalogue_fini(struct mmq_core *core);
bool core_version_is_disabled(const struct mmq_core *core, const char *tenant, const char *model, uint32_t version);

/* metrics.c */
void core_observe(struct mmq_core_histogram *histogram, int64_t us);
struct mmq_core_metric *core_metric(struct mmq_core *core, const struct core_request *request);
void core_metrics_fini(struct mmq_core *core);

/* foreign.c */
void core_foreign_job(struct mmq_core *core, const char *tenant, const uint8_t job[16]);
void core_foreign_model(struct mmq_core *core, const char *tenant, const char *name, size_t size);   /* the tenant has no such model */
void core_foreign_topic(struct mmq_core *core, const char *tenant, const char *prefix, size_t size);

/* crashes.c */
void core_crash_count(struct mmq_core *core, const struct core_worker *worker);
void core_crashes_fini(struct mmq_core *core);

/* warm.c */
bool core_warm(struct mmq_core *core, uint64_t route, const struct core_lease *lease, uint32_t above);   /* true: the grant waits */
void core_on_loaded(struct mmq_core *core, const struct mmq_core_event *event);
void core_warming_due(struct mmq_core *core, struct core_warming *warming);
void core_warm_fini(struct mmq_core *core);

/* topic.c */
struct mmq_core_publish *core_publish(struct mmq_core *core, const struct core_tenant *tenant, enum mmq_publish_form form, const char *topic,
    bool last);                                                                    /* NULL: too many topics */
void core_marks(struct mmq_core *core);
void core_topic_fini(struct mmq_core *core);

#endif
