/* journal_tool.c: see journal_tool.h. */
#include "broker/journal_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/journal_inner.h"

enum { ROWS_AT_ONCE = 1000, BUSY_MS = 2000 };

static int
fail(struct mmq_err *err, const char *path, sqlite3 *db)
{
	return mmq_err_set(err, MMQ_UNAVAILABLE, "journal '%s': %s", path, db != NULL ? sqlite3_errmsg(db) : strerror(errno));
}

static int
journal_open(const char *path, int flags, sqlite3 **db_out, struct mmq_err *err)
{
	*db_out = NULL;
	if (access(path, F_OK) == -1)
		return fail(err, path, NULL);
	if (sqlite3_open_v2(path, db_out, flags, NULL) == SQLITE_OK && sqlite3_busy_timeout(*db_out, BUSY_MS) == SQLITE_OK)
		return 0;
	fail(err, path, *db_out);
	sqlite3_close(*db_out);
	return -1;
}

/* The first column of the first row. -1: SQLite says no. */
static int64_t
number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement;
	int64_t value = -1;

	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
		value = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return value;
}

static uint64_t
file_bytes(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* ---- Check -------------------------------------------------------------------------------------------------------- */

static void
note(struct mmq_journal_check *check, const char *why)
{
	check->damaged++;
	if (check->first[0] == '\0')
		snprintf(check->first, sizeof(check->first), "%s", why);
}

/* What the functions of the journal counted and named since the last call. */
static void
note_damage(struct mmq_journal_check *check, struct journal_db *db)
{
	for (; db->damaged > 0; db->damaged--)
		note(check, db->why);
}

static void
check_bodies(struct journal_db *db, const struct mmq_journal_row *row, struct mmq_journal_check *check)
{
	static const enum journal_statement which[] = { JS_BODY_GET, JS_ANSWER_GET };
	struct mmq_body *body;
	char why[128];

	for (size_t i = 0; i < 2; i++) {
		int code = journal_get_body(db, which[i], row->seq, &body);
		if (code == SQLITE_OK && body == NULL && i == 0 && row->state == MMQ_JOB_QUEUED && row->body_size > 0) {
			snprintf(why, sizeof(why), "the body of request %llu of the journal is missing", (unsigned long long)row->seq);
			note(check, why);
		}
		if (body != NULL)
			body->release(body);
	}
}

/* The next rows and their bodies, as of one moment. false: there are no more, or SQLite cannot go on (noted). */
static bool
check_page(struct journal_db *db, uint64_t *after, struct mmq_journal_check *check)
{
	sqlite3_stmt *statement;
	struct mmq_journal_row row;
	bool is_more = false;
	int code = sqlite3_exec(db->db, "BEGIN", NULL, NULL, NULL);

	if (code == SQLITE_OK)
		code = journal_statement(db, JS_AFTER, &statement);
	if (code == SQLITE_OK) {
		sqlite3_bind_int64(statement, 1, (int64_t)*after);
		sqlite3_bind_int64(statement, 2, ROWS_AT_ONCE);
		while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
			is_more = true;
			check->requests++;
			*after = (uint64_t)sqlite3_column_int64(statement, 0);
			if (journal_take_row(db, statement, &row)) {
				check->open += row.state == MMQ_JOB_QUEUED;
				check->dead += row.state != MMQ_JOB_QUEUED && journal_kept_as(&row) == MMQ_KEPT_DEAD;
				check_bodies(db, &row, check);
			}
			note_damage(check, db);
		}
		sqlite3_reset(statement);
	}
	if (code != SQLITE_DONE)
		note(check, sqlite3_errmsg(db->db));
	sqlite3_exec(db->db, "COMMIT", NULL, NULL, NULL);
	return is_more && code == SQLITE_DONE;
}

static void
check_grants(struct journal_db *db, struct mmq_journal_check *check)
{
	sqlite3_stmt *statement;
	int code = sqlite3_prepare_v2(db->db, "SELECT tenant, model, what, number, job, sum FROM grants", -1, &statement, NULL);
	char why[160];

	while (code == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
		struct mmq_journal_row row = { 0 };
		uint32_t granted = (uint32_t)sqlite3_column_int64(statement, 3);
		snprintf(row.tenant, sizeof(row.tenant), "%s", (const char *)sqlite3_column_text(statement, 0));
		snprintf(row.model, sizeof(row.model), "%s", (const char *)sqlite3_column_text(statement, 1));
		if (sqlite3_column_bytes(statement, 4) == sizeof(row.job))
			memcpy(row.job, sqlite3_column_blob(statement, 4), sizeof(row.job));
		if (journal_sum_grant(&row, (uint8_t)sqlite3_column_int(statement, 2), granted) == sqlite3_column_int64(statement, 5))
			continue;
		snprintf(why, sizeof(why), "grant %u of model %s of the journal is damaged: wrong checksum", granted, row.model);
		note(check, why);
	}
	sqlite3_finalize(statement);
}

static void
check_settings(struct journal_db *db, struct mmq_journal_check *check)
{
	static const char *const keys[] = { "id", "fingerprint_key", "next", "start", "kept" };
	uint8_t value[64];
	size_t size;
	char why[96];

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (journal_setting_get(db, keys[i], value, sizeof(value), &size) == SQLITE_OK && size > 0)
			continue;
		snprintf(why, sizeof(why), "setting '%s' of the journal is missing or damaged", keys[i]);
		note(check, why);
	}
}

static void
check_sqlite(sqlite3 *db, struct mmq_journal_check *check)
{
	sqlite3_stmt *statement;

	if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &statement, NULL) != SQLITE_OK || sqlite3_step(statement) != SQLITE_ROW)
		note(check, sqlite3_errmsg(db));
	else if (strcmp((const char *)sqlite3_column_text(statement, 0), "ok") != 0)
		note(check, (const char *)sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
}

int
mmq_journal_check(const char *path, struct mmq_journal_check *check, struct mmq_err *err)
{
	struct journal_db db = { 0 };
	uint64_t after = 0;

	memset(check, 0, sizeof(*check));
	if (journal_open(path, SQLITE_OPEN_READONLY, &db.db, err) == -1)
		return -1;
	check->format = (int)number(db.db, "PRAGMA user_version");
	if (number(db.db, "PRAGMA application_id") != JOURNAL_APPLICATION || check->format < 1 || check->format > JOURNAL_FORMAT) {
		sqlite3_close(db.db);
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "journal '%s' is none that this program knows (format %d)", path, check->format);
	}
	check->bytes = (uint64_t)number(db.db, "PRAGMA page_count") * (uint64_t)number(db.db, "PRAGMA page_size");
	check->free_bytes = (uint64_t)number(db.db, "PRAGMA freelist_count") * (uint64_t)number(db.db, "PRAGMA page_size");
	check_sqlite(db.db, check);
	if (check->format == JOURNAL_FORMAT) {   /* older ones lack columns until a broker has opened them */
		check_settings(&db, check);
		while (check_page(&db, &after, check))
			continue;
		check_grants(&db, check);
	}
	journal_statements_fini(&db);
	sqlite3_close(db.db);
	return 0;
}

/* ---- Backup and compaction ---------------------------------------------------------------------------------------- */

static int
sync_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), result = fd == -1 ? -1 : fsync(fd);

	if (fd != -1)
		close(fd);
	return result;
}

/* One step of the backup is one read transaction: what the broker commits meanwhile goes to its log and is not in the copy. */
static int
copy(sqlite3 *from, const char *fresh, const char *path, struct mmq_err *err)
{
	sqlite3 *to = NULL;
	sqlite3_backup *backup;
	int code = sqlite3_open_v2(fresh, &to, SQLITE_OPEN_READWRITE, NULL);

	if (code == SQLITE_OK && (backup = sqlite3_backup_init(to, "main", from, "main")) != NULL) {
		sqlite3_backup_step(backup, -1);
		sqlite3_backup_finish(backup);
	}
	if (code == SQLITE_OK)
		code = sqlite3_errcode(to);
	if (code == SQLITE_OK)   /* one file, without a log beside it */
		code = sqlite3_exec(to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
	if (code != SQLITE_OK)
		fail(err, path, to);
	sqlite3_close(to);
	return code == SQLITE_OK ? 0 : -1;
}

int
mmq_journal_backup(const char *path, const char *target, struct mmq_err *err)
{
	char fresh[PATH_MAX], folder[PATH_MAX];
	sqlite3 *from;
	int fd, result = -1;

	snprintf(folder, sizeof(folder), "%s", target);
	if (snprintf(fresh, sizeof(fresh), "%s.part", target) >= (int)sizeof(fresh))
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "'%s' is too long", target);
	if (access(target, F_OK) == 0)
		return mmq_err_set(err, MMQ_ALREADY_EXISTS, "'%s' is there already", target);
	if (journal_open(path, SQLITE_OPEN_READONLY, &from, err) == -1)
		return -1;
	fd = open(fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);   /* what a broken-off backup left is written anew */
	if (fd == -1)
		fail(err, fresh, NULL);
	else if ((result = copy(from, fresh, path, err)) == 0 &&
	    (result = fsync(fd) == -1 || rename(fresh, target) == -1 || sync_path(dirname(folder)) == -1 ? -1 : 0) == -1)
		fail(err, target, NULL);
	if (result == -1 && fd != -1)
		unlink(fresh);
	if (fd != -1)
		close(fd);
	sqlite3_close(from);
	return result;
}

int
mmq_journal_compact(const char *path, uint64_t *before_out, uint64_t *after_out, struct mmq_err *err)
{
	sqlite3 *db = NULL;
	int lock_fd, result = -1;

	*before_out = file_bytes(path);
	if (access(path, F_OK) == -1)
		return fail(err, path, NULL);
	if (journal_file_lock(path, &lock_fd, err) == 0 && journal_open(path, SQLITE_OPEN_READWRITE, &db, err) == 0) {
		if (number(db, "PRAGMA application_id") != JOURNAL_APPLICATION)
			mmq_err_set(err, MMQ_FAILED_PRECONDITION, "journal '%s' is another program's database", path);
		else if (sqlite3_exec(db, "PRAGMA auto_vacuum = INCREMENTAL; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL) != SQLITE_OK)
			fail(err, path, db);
		else
			result = 0;
	}
	sqlite3_close(db);
	if (lock_fd != -1)
		close(lock_fd);
	*after_out = file_bytes(path);
	return result;
}
