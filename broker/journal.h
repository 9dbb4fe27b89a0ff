/* journal.h: what the broker keeps on disk, behind one interface that SQLite and an in-memory journal implement alike.
 *
 * Key idea: commands in batches, one completion per command, never a wait. A batch is one transaction and its completions come
 * after the commit. Reads are asynchronous and paged. Everything crosses threads by value, except bodies: a command borrows its
 * body until its completion was polled; a row that was read owns its bodies until the page is released or the taker sets
 * the pointer to NULL. The journal has no idea of time or leases: wall times come with the commands.
 *
 * One row per durable request, found by seq, by (tenant, id) and by job. One counter numbers puts and outcomes: a put's number is the
 * request's `seq`, an outcome's number is the `result_seq` that orders results. Both grow and are never used twice. */
#ifndef MMQ_BROKER_JOURNAL_H
#define MMQ_BROKER_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/body.h"
#include "util/err.h"

enum {
	MMQ_PRUNE_ROWS_MAX = 1000,
	MMQ_JOURNAL_TEXT = 65,       /* tenant and model: at most 64 bytes and NUL */
	MMQ_JOURNAL_ID_MAX = 64,
	MMQ_JOURNAL_TRACE = 129,
	MMQ_JOURNAL_MESSAGE = 256,
	MMQ_JOURNAL_TOPIC = 208,     /* "result/" tenant "/" model "/" op */
};

enum mmq_journal_state { MMQ_JOB_QUEUED, MMQ_JOB_RUNNING, MMQ_JOB_DONE, MMQ_JOB_FAILED, MMQ_JOB_CANCELLED, MMQ_JOB_STATES };
/* RUNNING is never stored: the journal says QUEUED until the outcome. `failed` covers dead letters and passed deadlines; code tells. */

/* ---- Commands --------------------------------------------------------------------------------------------------- */

enum mmq_journal_verb {
	MMQ_PUT,        /* a new request: row, body. OK: seq. EXISTS: found = the row that has this (tenant, id), with its answer */
	MMQ_LEASE,      /* seq, epoch, delivery, attempt, wall_ms: a training was handed out; so that a restarted broker can adopt it */
	MMQ_GRANT,      /* tenant, model, what, job, above: a number for this job. OK: number. The same (job, what) gets the same number again as
	                   long as it is above `above`; else 1 + the largest of `above` and all numbers of (tenant, model, what) */
	MMQ_STRIKE,     /* seq, strikes, attempt: replaces both */
	MMQ_OUTCOME,    /* seq, state, code, message, version, topic, answer, wall_ms: the end. The first one wins: a second gets ENDED.
	                   OK: result_seq. Drops the request's body unless the row or this command's row says keep */
	MMQ_CANCEL,     /* as OUTCOME with CANCELLED for a row that the core does not hold in memory: seq. OK, ENDED or MISSING */
	MMQ_REVIVE,     /* seq, strikes: a dead letter (failed, INTERNAL, at least so many strikes, its body kept) is queued again, without strikes or deadline.
	                   ENDED: it is none; MISSING */
	MMQ_FORGET,     /* seq, strikes: a dead letter goes with body and answer. ENDED, MISSING as above */
	MMQ_META,       /* key, value (text): small settings, replaced */
	MMQ_PRUNE,      /* what (enum mmq_journal_kept), wall_ms, bytes_max, limit: forget ended rows that ended before wall_ms, then the oldest of the
	                   rest until what is kept of them is at most bytes_max (0: no such limit); number = how many went. Grants stay */
};

/* What ended rows are kept as: dead letters (failed, INTERNAL, struck) are counted and forgotten apart from results. */
enum mmq_journal_kept { MMQ_KEPT_RESULTS, MMQ_KEPT_DEAD, MMQ_KEPT_KINDS };
enum { MMQ_KEPT_ROW_BYTES = 512 };  /* what a row is counted as, its answer and its body apart */

enum mmq_journal_status {
	MMQ_JOURNAL_OK,
	MMQ_JOURNAL_EXISTS,     /* put: (tenant, id) is taken */
	MMQ_JOURNAL_ENDED,      /* outcome, cancel: the row has one already */
	MMQ_JOURNAL_MISSING,    /* no such row */
	MMQ_JOURNAL_FULL,       /* no space: this command changed nothing, later ones may work. Puts are refused so below a watermark already */
	MMQ_JOURNAL_DAMAGED,    /* read: a row's checksum is wrong; the row is counted and left out */
	MMQ_JOURNAL_BROKEN,     /* I/O error or failed sync: unknown whether it was kept; every later command gets this too */
};

/* A request as a row. Texts end with NUL. Columns from `state` on are filled by reads only. */
struct mmq_journal_row {
	uint64_t seq;
	char tenant[MMQ_JOURNAL_TEXT], model[MMQ_JOURNAL_TEXT];
	uint8_t id[MMQ_JOURNAL_ID_MAX];
	uint8_t id_size;
	bool id_is_binary;
	uint8_t op;                          /* enum mmq_op; stored as its wire name, so that renumbering does no harm */
	uint8_t kind;                        /* enum mmq_work_kind, part of the lane */
	uint8_t priority;
	bool sink, wait, keep;
	uint32_t version;                    /* pinned; 0: none */
	uint8_t job[16];
	uint8_t fingerprint[16];
	uint64_t key_hash;                   /* affinity; 0: none */
	char trace[MMQ_JOURNAL_TRACE];       /* the client's; "": none */
	int64_t created_ms;                  /* wall */
	int64_t deadline_ms;                 /* wall; 0: none */
	uint64_t body_size, payload_size;

	enum mmq_journal_state state;
	enum mmq_code code;                  /* of the outcome */
	uint32_t result_version;
	uint32_t attempt, strikes;
	uint8_t lease_epoch[16];             /* the last MMQ_LEASE; delivery 0: none */
	uint64_t lease_delivery;
	int64_t started_ms, ended_ms;        /* 0: not yet */
	uint64_t result_seq;                 /* 0: not ended */
	char message[MMQ_JOURNAL_MESSAGE];
	char topic[MMQ_JOURNAL_TOPIC];       /* "" : not published */
	struct mmq_body *body, *answer;      /* NULL: not asked for, or none; the taker sets it to NULL */
};

struct mmq_journal_command {
	enum mmq_journal_verb verb;
	uint64_t ticket;                     /* the submitter's; comes back */
	struct mmq_journal_row row;          /* the columns named at the verb; row.seq names the row; row.attempt, row.strikes, row.lease_* */
	const struct mmq_body *body;         /* PUT: the request. OUTCOME: the answer, NULL: code and message say all. Borrowed until completed */
	int64_t wall_ms;                     /* LEASE: started. OUTCOME, CANCEL: ended. PRUNE: before */
	uint8_t what;                        /* GRANT: enum mmq_grant_kind. PRUNE: enum mmq_journal_kept */
	uint32_t number;                     /* GRANT: above. PRUNE: limit, at most MMQ_PRUNE_ROWS_MAX */
	uint64_t bytes_max;                  /* PRUNE */
	char key[32], value[96];             /* META */
};

/* ---- Reads ------------------------------------------------------------------------------------------------------ */

enum mmq_journal_query {
	MMQ_READ_LANES,    /* -> one row per lane with unended requests: tenant, kind, priority, model, version; number = how many, and
	                      seq = the smallest. Paged by `after` = rows to skip */
	MMQ_READ_HEADS,    /* lane (tenant, kind, priority, model, version), after (seq), limit: unended rows, seq ascending, without bodies */
	MMQ_READ_BODY,     /* seq -> one row with body */
	MMQ_READ_FIND,     /* tenant and (id, or job if job_is_set), with_answer -> 0 or 1 row */
	MMQ_READ_LIST,     /* tenant, state (or -1), model ("" : any), after (seq, 0: newest), limit: kind train only, newest first, without answers */
	MMQ_READ_EXPIRED,  /* wall_ms, limit: unended rows whose deadline is at or before wall_ms; next_ms = the earliest deadline after wall_ms, 0: none */
	MMQ_READ_DEAD,     /* tenant, row.strikes, after (seq, 0: newest), limit: dead letters, newest first, without answers */
	MMQ_READ_RESULTS,  /* tenant, prefix of topic, after (result_seq), limit, bytes_max: ended rows with a topic, result_seq ascending, with answers */
};

struct mmq_journal_read {
	enum mmq_journal_query query;
	uint64_t ticket;
	struct mmq_journal_row row;          /* the columns that the query names */
	bool job_is_set, with_answer;
	int state;                           /* LIST */
	uint64_t after;
	uint32_t limit;
	uint64_t bytes_max;                  /* RESULTS: stop before the answers pass this; at least one row */
	int64_t wall_ms;
	char prefix[MMQ_JOURNAL_TOPIC];
};

/* The rows of one read. */
struct mmq_journal_page {
	enum mmq_journal_query query;
	enum mmq_journal_status status;
	uint64_t ticket;
	struct mmq_journal_row *rows;
	uint32_t *numbers;                   /* LANES: requests per lane; else NULL */
	uint32_t count;
	bool more, is_foreign;               /* the limit cut it. FIND by job: none of this tenant, but another has it */
	uint64_t oldest;                     /* RESULTS: the smallest result_seq kept; 0: none */
	int64_t next_ms;                     /* EXPIRED */
};

/* What comes back from the journal's thread: a completed command, or a page. */
struct mmq_journal_event {
	bool is_page;
	enum mmq_journal_verb verb;
	enum mmq_journal_status status;
	uint64_t ticket, seq, result_seq;
	uint32_t number;
	struct mmq_journal_row *found;       /* EXISTS: the row with its answer; else NULL. Given back with release */
	struct mmq_journal_page *page;       /* is_page */
	char message[MMQ_JOURNAL_MESSAGE];   /* FULL, DAMAGED, BROKEN: why, for the log */
};

/* ---- The implementations ---------------------------------------------------------------------------------------- */

struct mmq_journal_options {
	const char *path;                    /* file; NULL for the in-memory one. Local disk only: a network file system is refused */
	uint64_t free_bytes_min;             /* puts are FULL below this much free space; 0: 64 MiB */
	uint64_t reserve_bytes;              /* a file given up when outcomes find no space; 0: 8 MiB */
	uint8_t random[48];                  /* journal id and fingerprint key, used when the journal is new */
};

struct mmq_journal_info {
	uint8_t id[16];                      /* of this journal; another one after it was replaced */
	uint8_t fingerprint_key[32];
	uint64_t start;                      /* counts how often it was opened, durable before open returns: the first half of the epoch */
	uint64_t pending;                    /* unended rows */
};

struct mmq_journal;
struct mmq_journal_ops {
	const char *name;                    /* "sqlite", "memory" */
	/* Recovers, starts the thread. -1: err says why in one sentence (locked, damaged, newer format, not writable, network disk). */
	int (*open)(struct mmq_journal **journal_out, const struct mmq_journal_options *options, struct mmq_journal_info *info_out, struct mmq_err *err);
	/* Completes what was submitted, stops the thread, frees. What was not polled is freed too. *journal may be NULL. */
	void (*close)(struct mmq_journal **journal);
	int (*fd)(const struct mmq_journal *journal);          /* readable while poll has something; -1: none, poll after each submit */
	/* One batch = one transaction, in order; a bad command never fails its batch. Copies the commands. count <= 1024. */
	void (*submit)(struct mmq_journal *journal, const struct mmq_journal_command *commands, size_t count);
	void (*read)(struct mmq_journal *journal, const struct mmq_journal_read *read);   /* sees all batches submitted before it */
	size_t (*poll)(struct mmq_journal *journal, struct mmq_journal_event *events_out, size_t max); /* never waits */
	void (*release)(struct mmq_journal_event *event);      /* found and page, with the bodies that nobody took */
	uint64_t (*damaged)(const struct mmq_journal *journal); /* rows left out because of a wrong checksum, since open */
	uint64_t (*get_meta)(struct mmq_journal *journal, const char *key, char *value_out, size_t value_size); /* at start only: may wait; 0: none */
};

extern const struct mmq_journal_ops mmq_journal_sqlite, mmq_journal_memory;

#endif
