/* journal_inner.h: what the journal's files share. journal_sqlite.c owns thread and queue, journal_disk.c the transactions;
 * journal_schema.c knows tables and statements, journal_rows.c columns and their checksums, journal_bodies.c what lies beside the rows;
 * journal_write.c and journal_read.c are the commands and queries on one connection. */
#ifndef MMQ_BROKER_JOURNAL_INNER_H
#define MMQ_BROKER_JOURNAL_INNER_H

#include <sqlite3.h>

#include "broker/journal.h"
#include "util/buf.h"

enum { JOURNAL_FORMAT = 2, JOURNAL_APPLICATION = 0x4d4d514a };   /* "MMQJ" */

enum journal_statement {
	JS_PUT, JS_FIND_SEQ, JS_AFTER, JS_FIND_ID, JS_FIND_JOB, JS_HAS_JOB, JS_CHANGE, JS_BODY_PUT, JS_BODY_GET, JS_BODY_DELETE, JS_ANSWER_PUT, JS_ANSWER_GET,
	JS_ANSWER_DELETE, JS_GRANT_JOB, JS_GRANT_MAX, JS_GRANT_PUT, JS_SETTING_PUT, JS_SETTING_GET, JS_PRUNE_FIND, JS_PRUNE_DEAD, JS_SIZE,
	JS_PRUNE, JS_LANES, JS_HEADS, JS_LIST, JS_DEAD, JS_EXPIRED, JS_EXPIRED_NEXT, JS_RESULTS, JS_RESULTS_OLDEST, JS_PAGES, JS_FREE_PAGES, JS_BEGIN, JS_COMMIT, JS_ROLLBACK,
	JS_SAVE, JS_SAVE_BACK, JS_SAVE_RELEASE, JOURNAL_STATEMENTS
};

struct journal_numbers {
	uint64_t next;                                  /* the next seq or result_seq */
	uint64_t reserved;                              /* numbers below it may be given out without a word on disk */
	uint64_t kept[MMQ_KEPT_KINDS];                  /* bytes of ended rows, see MMQ_KEPT_ROW_BYTES */
};

struct journal_db {
	sqlite3 *db;
	sqlite3_stmt *statements[JOURNAL_STATEMENTS];   /* prepared when first used */
	struct journal_numbers numbers;
	uint64_t damaged;
	char why[MMQ_JOURNAL_MESSAGE];                  /* of the last damage */
};

struct journal_task {               /* a batch of commands, or one read (count 0) */
	struct journal_task *next;
	size_t count;
	struct mmq_journal_read read;
	struct mmq_journal_command commands[];
};

struct journal_disk {
	struct journal_db db;
	char *path, *reserve_path;
	int lock_fd;
	uint64_t free_bytes_min, reserve_bytes;
	bool has_reserve, is_broken;
	char broken_why[MMQ_JOURNAL_MESSAGE];
	int wal_pages;                  /* after the last commit */
};

/* journal_disk.c. open: -1 with err. close: also of one that is zeroed but for lock_fd -1, or half open. */
int journal_disk_open(struct journal_disk *disk, const struct mmq_journal_options *options, struct mmq_journal_info *info_out, struct mmq_err *err);
void journal_disk_close(struct journal_disk *disk);
/* The first count commands of the tasks from first on as one transaction; events[count] say what became of each. */
void journal_disk_commit(struct journal_disk *disk, const struct journal_task *first, size_t count, struct mmq_journal_event *events);
/* Move committed pages into the file once there are enough: here rather than inside a commit, where SQLite would hide an I/O error. */
void journal_disk_checkpoint(struct journal_disk *disk);
bool journal_disk_give_back(struct journal_disk *disk);    /* one slice of free pages; whether there is more */

/* journal_file.c: each -1 with err. lock: exclusive, on a local disk, held until *lock_fd_out is closed (also on failure, if not -1).
 * format: makes the tables of a new file, refuses a newer or foreign one. start: reads the settings, counts this start durably. */
int journal_file_lock(const char *path, int *lock_fd_out, struct mmq_err *err);
int journal_file_format(struct journal_db *db, const struct mmq_journal_options *options, struct mmq_err *err);
/* Give the disk one slice of the pages that hold nothing, if these are more than a quarter. An SQLite code. */
int journal_give_back(struct journal_db *db, bool *is_more_out);
int journal_file_start(struct journal_db *db, const char *path, struct mmq_journal_info *info, struct mmq_err *err);

/* Settings: the journal's own and, as "meta.<key>", those of META. get: the size, 0 for none; SQLITE_CORRUPT when damaged. */
int journal_setting_put(struct journal_db *db, const char *key, const void *value, size_t size);
int journal_setting_get(struct journal_db *db, const char *key, void *value_out, size_t capacity, size_t *size_out);

/* journal_schema.c */
int journal_create(struct journal_db *db);                                     /* tables of a new file; an SQLite code */
int journal_statement(struct journal_db *db, enum journal_statement which, sqlite3_stmt **statement_out); /* reset and unbound */
void journal_statements_fini(struct journal_db *db);
int journal_run(struct journal_db *db, enum journal_statement which);         /* one without parameters or rows; SQLITE_OK */

/* journal_rows.c. A column's name in the schema's order, and whether it changes after the put; NULL behind the last one. */
const char *journal_column(size_t index, bool *changes_out);
/* The row's bytes are borrowed until the statement is bound anew or its bindings are cleared: step it while row lives. */
void journal_bind_row(sqlite3_stmt *statement, const struct mmq_journal_row *row, bool only_changing);
/* The row that the statement stands on. false: its checksum is wrong; counted, and why names it. */
bool journal_take_row(struct journal_db *db, sqlite3_stmt *statement, struct mmq_journal_row *row_out);
bool journal_is_dead(const struct mmq_journal_row *row, uint32_t strikes);       /* an end by that many strikes */
enum mmq_journal_kept journal_kept_as(const struct mmq_journal_row *row);       /* of an ended row */
void journal_revive(struct mmq_journal_row *row);                               /* the columns of a row that is queued again */
int64_t journal_sum(const void *bytes, size_t size);                            /* what all checksums are made of */
int64_t journal_sum_grant(const struct mmq_journal_row *row, uint8_t what, uint32_t number); /* row: tenant, model, job */

/* journal_bodies.c. A body or an answer of a row. SQLITE_OK with *body_out NULL: there is none. SQLITE_CORRUPT: damaged. */
int journal_put_body(struct journal_db *db, enum journal_statement which, uint64_t seq, const struct mmq_body *body);
int journal_get_body(struct journal_db *db, enum journal_statement which, uint64_t seq, struct mmq_body **body_out);
struct mmq_body *journal_body_new(const void *bytes, size_t size, const void *payload, size_t payload_size);
void journal_release(struct mmq_journal_event *event);                        /* both journals' release */

/* journal_write.c: apply one command; its status, numbers and found row go to event. An SQLite code other than SQLITE_OK and
 * SQLITE_CONSTRAINT ends the transaction. */
int journal_apply(struct journal_db *db, const struct mmq_journal_command *command, struct mmq_journal_event *event);

/* journal_read.c: answer one query; page is zeroed and has ticket and query set. */
uint32_t journal_page_limit(const struct mmq_journal_read *read);              /* both journals' limit of rows */
void journal_query(struct journal_db *db, const struct mmq_journal_read *read, struct mmq_journal_page *page);
/* One row by id (or job) with its answer when wanted: SQLITE_OK and *row_out NULL when there is none. SQLITE_CORRUPT: damaged. */
int journal_find(struct journal_db *db, const struct mmq_journal_row *like, bool by_job, bool with_answer, struct mmq_journal_row **row_out);

#endif
