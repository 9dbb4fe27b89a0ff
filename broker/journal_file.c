/* journal_file.c: the journal's file as a file: its lock, the disk it lies on, its format, its own settings, pages that hold nothing. */
#include "broker/journal_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/vfs.h>

enum { SLACK_PAGES_MIN = 1000 };

/* Of a setting. */
static int64_t
sum_pair(const char *key, const void *value, size_t size)
{
	const int64_t input[] = { journal_sum(key, strlen(key)), journal_sum(value, size) };

	return journal_sum(input, sizeof(input));
}

int
journal_setting_put(struct journal_db *db, const char *key, const void *value, size_t size)
{
	sqlite3_stmt *statement;
	int code = journal_statement(db, JS_SETTING_PUT, &statement);

	if (code != SQLITE_OK)
		return code;
	sqlite3_bind_text(statement, 1, key, -1, SQLITE_TRANSIENT);
	sqlite3_bind_blob(statement, 2, value, (int)size, SQLITE_TRANSIENT);
	sqlite3_bind_int64(statement, 3, sum_pair(key, value, size));
	code = sqlite3_step(statement);
	sqlite3_reset(statement);
	return code == SQLITE_DONE ? SQLITE_OK : code;
}

int
journal_setting_get(struct journal_db *db, const char *key, void *value_out, size_t capacity, size_t *size_out)
{
	sqlite3_stmt *statement;
	int code = journal_statement(db, JS_SETTING_GET, &statement);

	*size_out = 0;
	if (code != SQLITE_OK)
		return code;
	sqlite3_bind_text(statement, 1, key, -1, SQLITE_TRANSIENT);
	code = sqlite3_step(statement);
	if (code == SQLITE_ROW) {
		const void *value = sqlite3_column_blob(statement, 0);
		size_t size = (size_t)sqlite3_column_bytes(statement, 0);
		bool is_whole = sum_pair(key, value, size) == sqlite3_column_int64(statement, 1) && size <= capacity;
		code = is_whole ? SQLITE_OK : SQLITE_CORRUPT;
		*size_out = is_whole ? size : 0;
		memcpy(value_out, size > 0 ? value : "", *size_out);
	}
	sqlite3_reset(statement);
	return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int
refuse_network(int fd, const char *path, struct mmq_err *err)
{
	static const struct { unsigned long magic; const char *name; } kinds[] = { { 0x6969, "NFS" }, { 0x517b, "SMB" }, { 0xff534d42, "CIFS" },
		{ 0xfe534d42, "SMB2" }, { 0x00c36400, "Ceph" }, { 0x5346414f, "AFS" } };
	struct statfs fs;

	if (fstatfs(fd, &fs) == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "journal '%s': %s", path, strerror(errno));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (((unsigned long)fs.f_type & 0xffffffff) == kinds[i].magic)
			return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "journal '%s' lies on %s; it needs a local disk", path, kinds[i].name);
	return 0;
}

/* A lock beside the file: a second descriptor on the file itself would drop SQLite's own locks when closed. */
int
journal_file_lock(const char *path, int *lock_fd_out, struct mmq_err *err)
{
	char *lock_path = sqlite3_mprintf("%s.lock", path);

	*lock_fd_out = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int failed = errno;
	sqlite3_free(lock_path);
	if (*lock_fd_out == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "journal '%s': %s", path, strerror(failed));
	if (flock(*lock_fd_out, LOCK_EX | LOCK_NB) == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "journal '%s' is in use by another process", path);
	return refuse_network(*lock_fd_out, path, err);
}

static int
read_int(struct journal_db *db, const char *pragma, int *value_out)
{
	sqlite3_stmt *statement;
	int code = sqlite3_prepare_v2(db->db, pragma, -1, &statement, NULL);

	if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
		*value_out = sqlite3_column_int(statement, 0);
		code = SQLITE_OK;
	}
	sqlite3_finalize(statement);
	return code;
}

/* Files of format 1 lack a column and may lack an index. */
static int
migrate(sqlite3 *db)
{
	return sqlite3_exec(db, "BEGIN IMMEDIATE; ALTER TABLE request ADD COLUMN trace NOT NULL DEFAULT '';"
	    "CREATE INDEX IF NOT EXISTS request_dead ON request (tenant, seq) WHERE state = 3 AND strikes > 0;"
	    "PRAGMA user_version = 2; COMMIT", NULL, NULL, NULL);
}

/* Bytes of ended rows as they were counted; a file that was never counted is counted here, once. */
static int
kept_load(struct journal_db *db)
{
	static const char count[] = "SELECT (state = 3 AND strikes > 0 AND code = 'INTERNAL'), ifnull(sum(512 + "
	    "ifnull((SELECT length(bytes) + ifnull(length(payload), 0) FROM answer WHERE answer.seq = request.seq), 0) + "
	    "ifnull((SELECT length(bytes) + ifnull(length(payload), 0) FROM body WHERE body.seq = request.seq), 0)), 0) "
	    "FROM request WHERE state <> 0 GROUP BY 1";
	sqlite3_stmt *statement;
	size_t size;
	int code = journal_setting_get(db, "kept", db->numbers.kept, sizeof(db->numbers.kept), &size);

	if (code != SQLITE_OK || size == sizeof(db->numbers.kept))
		return code;
	code = sqlite3_prepare_v2(db->db, count, -1, &statement, NULL);
	while (code == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
		db->numbers.kept[sqlite3_column_int(statement, 0) != 0] = (uint64_t)sqlite3_column_int64(statement, 1);
	sqlite3_finalize(statement);
	return code == SQLITE_OK ? journal_setting_put(db, "kept", db->numbers.kept, sizeof(db->numbers.kept)) : code;
}

/* Make the tables of a new file, or check that an old one is ours and not newer. */
int
journal_file_format(struct journal_db *db, const struct mmq_journal_options *options, struct mmq_err *err)
{
	const char *path = options->path;
	int application = 0, format = 0, tables = 0;
	char marks[128];

	if (read_int(db, "PRAGMA application_id", &application) != SQLITE_OK || read_int(db, "PRAGMA user_version", &format) != SQLITE_OK ||
	    read_int(db, "SELECT count(*) FROM sqlite_schema", &tables) != SQLITE_OK)
		return mmq_err_set(err, MMQ_DATA_LOSS, "journal '%s': %s", path, sqlite3_errmsg(db->db));
	if (tables == 0 && application == 0) {
		uint64_t one = 1;
		snprintf(marks, sizeof(marks), "PRAGMA application_id = %d; PRAGMA user_version = %d", JOURNAL_APPLICATION, JOURNAL_FORMAT);
		if (journal_run(db, JS_BEGIN) != SQLITE_OK || sqlite3_exec(db->db, marks, NULL, NULL, NULL) != SQLITE_OK || journal_create(db) != SQLITE_OK ||
		    journal_setting_put(db, "id", options->random, 16) != SQLITE_OK || journal_setting_put(db, "next", &one, sizeof(one)) != SQLITE_OK ||
		    journal_setting_put(db, "fingerprint_key", options->random + 16, 32) != SQLITE_OK || journal_run(db, JS_COMMIT) != SQLITE_OK)
			return mmq_err_set(err, MMQ_UNAVAILABLE, "journal '%s': cannot be made: %s", path, sqlite3_errmsg(db->db));
		return 0;
	}
	if (application != JOURNAL_APPLICATION)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "journal '%s' is another program's database", path);
	if (format > JOURNAL_FORMAT)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "journal '%s' has format %d, this program knows up to %d: use a newer modelmq",
		    path, format, JOURNAL_FORMAT);
	if (format == 1 && migrate(db->db) != SQLITE_OK)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "journal '%s': cannot be written: %s", path, sqlite3_errmsg(db->db));
	return 0;
}

/* Read the journal's own settings and count this start, on disk before open returns. */
int
journal_file_start(struct journal_db *db, const char *path, struct mmq_journal_info *info, struct mmq_err *err)
{
	size_t id_size, key_size, next_size, start_size;
	int pending = 0;

	memset(info, 0, sizeof(*info));
	if (journal_setting_get(db, "id", info->id, sizeof(info->id), &id_size) != SQLITE_OK || id_size != sizeof(info->id) ||
	    journal_setting_get(db, "fingerprint_key", info->fingerprint_key, sizeof(info->fingerprint_key), &key_size) != SQLITE_OK ||
	    key_size != sizeof(info->fingerprint_key) || journal_setting_get(db, "next", &db->numbers.next, sizeof(db->numbers.next), &next_size) != SQLITE_OK ||
	    next_size != sizeof(db->numbers.next) || kept_load(db) != SQLITE_OK || journal_setting_get(db, "start", &info->start, sizeof(info->start), &start_size) != SQLITE_OK)
		return mmq_err_set(err, MMQ_DATA_LOSS, "journal '%s': its settings are damaged", path);
	db->numbers.reserved = db->numbers.next;
	info->start++;
	if (journal_setting_put(db, "start", &info->start, sizeof(info->start)) != SQLITE_OK)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "journal '%s': cannot be written: %s", path, sqlite3_errmsg(db->db));
	if (read_int(db, "SELECT count(*) FROM request WHERE state = 0", &pending) != SQLITE_OK)
		return mmq_err_set(err, MMQ_DATA_LOSS, "journal '%s': %s", path, sqlite3_errmsg(db->db));
	info->pending = (uint64_t)pending;
	return 0;
}

static int
page_count(struct journal_db *db, enum journal_statement which)
{
	sqlite3_stmt *statement;
	int count = 0;

	if (journal_statement(db, which, &statement) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
		count = sqlite3_column_int(statement, 0);
	sqlite3_reset(statement);
	return count;
}

/* Files that were made by format 1 cannot do this until `modelmq journal compact` has rewritten them: then nothing changes and no more is tried. */
int
journal_give_back(struct journal_db *db, bool *is_more_out)
{
	int unused = page_count(db, JS_FREE_PAGES), code;

	*is_more_out = false;
	if (unused <= SLACK_PAGES_MIN || unused <= page_count(db, JS_PAGES) / 4)
		return SQLITE_OK;
	code = sqlite3_exec(db->db, "PRAGMA incremental_vacuum(256)", NULL, NULL, NULL);   /* about a megabyte */
	*is_more_out = code == SQLITE_OK && page_count(db, JS_FREE_PAGES) < unused;
	return code;
}
