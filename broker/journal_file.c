/* journal_file.c: the journal's file before it is used: its lock, the disk it lies on, its format, its own settings. */
#include "broker/journal_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/vfs.h>

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

/* Make the tables of a new file, or check that an old one is ours and not newer. */
/* An index that older files lack; it holds dead letters only. */
static int
index_add(sqlite3 *db)
{
	return sqlite3_exec(db, "CREATE INDEX IF NOT EXISTS request_dead ON request (tenant, seq) WHERE state = 3 AND strikes > 0", NULL, NULL, NULL);
}

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
	if (index_add(db->db) != SQLITE_OK)
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
	    key_size != sizeof(info->fingerprint_key) || journal_setting_get(db, "next", &db->next, sizeof(db->next), &next_size) != SQLITE_OK ||
	    next_size != sizeof(db->next) || journal_setting_get(db, "start", &info->start, sizeof(info->start), &start_size) != SQLITE_OK)
		return mmq_err_set(err, MMQ_DATA_LOSS, "journal '%s': its settings are damaged", path);
	info->start++;
	if (journal_setting_put(db, "start", &info->start, sizeof(info->start)) != SQLITE_OK)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "journal '%s': cannot be written: %s", path, sqlite3_errmsg(db->db));
	if (read_int(db, "SELECT count(*) FROM request WHERE state = 0", &pending) != SQLITE_OK)
		return mmq_err_set(err, MMQ_DATA_LOSS, "journal '%s': %s", path, sqlite3_errmsg(db->db));
	info->pending = (uint64_t)pending;
	return 0;
}
