/* journal_schema.c: the journal's tables and every SQL statement on them, prepared when first used. */
#include "broker/journal_inner.h"

#include <string.h>

/* State 0 is MMQ_JOB_QUEUED: the only one that is not an end. `@` stands for the list of all columns. */
static const char tables[] =
    "CREATE TABLE request (seq INTEGER PRIMARY KEY, @, sum);"
    "CREATE UNIQUE INDEX request_id ON request (tenant, id_is_binary, id) WHERE id IS NOT NULL;"
    "CREATE UNIQUE INDEX request_job ON request (job) WHERE job IS NOT NULL;"
    "CREATE INDEX request_lane ON request (tenant, kind, priority, model, version, seq) WHERE state = 0;"
    "CREATE INDEX request_deadline ON request (deadline_ms) WHERE state = 0 AND deadline_ms > 0;"
    "CREATE INDEX request_train ON request (tenant, seq) WHERE kind = 1;"
    "CREATE INDEX request_result ON request (tenant, result_seq) WHERE topic <> '';"
    "CREATE INDEX request_dead ON request (tenant, seq) WHERE state = 3 AND strikes > 0;"
    "CREATE INDEX request_ended ON request (ended_ms) WHERE state <> 0;"
    "CREATE TABLE body (seq INTEGER PRIMARY KEY, bytes BLOB, payload BLOB, sum);"
    "CREATE TABLE answer (seq INTEGER PRIMARY KEY, bytes BLOB, payload BLOB, sum);"
    "CREATE TABLE grants (tenant, model, what, number, job, sum, PRIMARY KEY (tenant, model, what, number)) WITHOUT ROWID;"
    "CREATE INDEX grants_job ON grants (job);"
    "CREATE TABLE setting (key TEXT PRIMARY KEY, value BLOB, sum) WITHOUT ROWID;";

#define ROW "SELECT seq, @, sum FROM request "
static const char *const statements[JOURNAL_STATEMENTS] = {
	[JS_PUT] = "INSERT OR IGNORE INTO request (seq, @, sum) VALUES (?, #, ?)",
	[JS_FIND_SEQ] = ROW "WHERE seq = ?",
	[JS_AFTER] = ROW "WHERE seq > ? ORDER BY seq LIMIT ?",
	[JS_FIND_ID] = ROW "WHERE tenant = ? AND id_is_binary = ? AND id = ?",
	[JS_FIND_JOB] = ROW "WHERE job = ? AND tenant = ?",
	[JS_HAS_JOB] = "SELECT 1 FROM request WHERE job = ?",
	[JS_CHANGE] = "UPDATE request SET %, sum = ? WHERE seq = ?",
	[JS_BODY_PUT] = "INSERT INTO body (seq, bytes, payload, sum) VALUES (?, ?, ?, ?)",
	[JS_BODY_GET] = "SELECT bytes, payload, sum FROM body WHERE seq = ?",
	[JS_BODY_DELETE] = "DELETE FROM body WHERE seq = ?",
	[JS_ANSWER_PUT] = "INSERT INTO answer (seq, bytes, payload, sum) VALUES (?, ?, ?, ?)",
	[JS_ANSWER_GET] = "SELECT bytes, payload, sum FROM answer WHERE seq = ?",
	[JS_ANSWER_DELETE] = "DELETE FROM answer WHERE seq = ?",
	[JS_GRANT_JOB] = "SELECT number, job, sum FROM grants WHERE tenant = ?1 AND model = ?2 AND what = ?3 AND job = ?4 ORDER BY number DESC LIMIT 1",
	[JS_GRANT_MAX] = "SELECT number, job, sum FROM grants WHERE tenant = ?1 AND model = ?2 AND what = ?3 ORDER BY number DESC LIMIT 1",
	[JS_GRANT_PUT] = "INSERT INTO grants (tenant, model, what, job, number, sum) VALUES (?, ?, ?, ?, ?, ?)",
	[JS_SETTING_PUT] = "INSERT INTO setting (key, value, sum) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, sum = excluded.sum",
	[JS_SETTING_GET] = "SELECT value, sum FROM setting WHERE key = ?",
	[JS_PRUNE_FIND] = "SELECT seq FROM request WHERE state <> 0 AND ended_ms < ? AND NOT (state = 3 AND strikes > 0 AND code = 'INTERNAL') "
	    "ORDER BY ended_ms LIMIT ?",
	[JS_PRUNE_DEAD] = "SELECT seq FROM request INDEXED BY request_dead WHERE state = 3 AND strikes > 0 AND code = 'INTERNAL' AND ended_ms < ? "
	    "ORDER BY ended_ms LIMIT ?",
	[JS_SIZE] = "SELECT (SELECT length(bytes) + ifnull(length(payload), 0) FROM answer WHERE seq = ?1), "
	    "(SELECT length(bytes) + ifnull(length(payload), 0) FROM body WHERE seq = ?1)",
	[JS_PRUNE] = "DELETE FROM request WHERE seq = ?",
	[JS_LANES] = "SELECT tenant, kind, priority, model, version, count(*), min(seq) FROM request WHERE state = 0 "
	    "GROUP BY tenant, kind, priority, model, version LIMIT ? OFFSET ?",
	[JS_HEADS] = ROW "WHERE state = 0 AND tenant = ? AND kind = ? AND priority = ? AND model = ? AND version = ? AND seq > ? ORDER BY seq LIMIT ?",
	[JS_LIST] = ROW "WHERE kind = 1 AND tenant = ?1 AND seq < ?2 AND (?3 < 0 OR state = ?3) AND (?4 = '' OR model = ?4) ORDER BY seq DESC LIMIT ?5",
	[JS_DEAD] = ROW "WHERE tenant = ?1 AND state = 3 AND strikes > 0 AND strikes >= ?2 AND code = 'INTERNAL' AND seq < ?3 ORDER BY seq DESC LIMIT ?4",
	[JS_EXPIRED] = ROW "WHERE state = 0 AND deadline_ms > 0 AND deadline_ms <= ? ORDER BY deadline_ms LIMIT ?",
	[JS_EXPIRED_NEXT] = "SELECT min(deadline_ms) FROM request WHERE state = 0 AND deadline_ms > 0 AND deadline_ms > ?",
	[JS_RESULTS] = ROW "WHERE tenant = ?1 AND topic <> '' AND result_seq > ?2 AND substr(topic, 1, length(?3)) = ?3 ORDER BY result_seq LIMIT ?4",
	[JS_RESULTS_OLDEST] = "SELECT min(result_seq) FROM request WHERE tenant = ? AND topic <> ''",
	[JS_PAGES] = "PRAGMA page_count",
	[JS_FREE_PAGES] = "PRAGMA freelist_count",
	[JS_BEGIN] = "BEGIN IMMEDIATE",
	[JS_COMMIT] = "COMMIT",
	[JS_ROLLBACK] = "ROLLBACK",
	[JS_SAVE] = "SAVEPOINT command",
	[JS_SAVE_BACK] = "ROLLBACK TO command",
	[JS_SAVE_RELEASE] = "RELEASE command",
};

static void
expand_columns(struct mmq_buf *sql, char mark)
{
	const char *gap = "", *name;
	bool changes;

	for (size_t i = 0; (name = journal_column(i, &changes)) != NULL; i++) {
		if (mark == '%' && !changes)
			continue;
		mmq_buf_printf(sql, "%s%s%s", gap, mark == '#' ? "?" : name, mark == '%' ? " = ?" : "");
		gap = ", ";
	}
}

/* Replace @ by the columns, # by as many ?, % by the assignments of the changing ones. */
static void
expand(struct mmq_buf *sql, const char *text)
{
	for (; *text != '\0'; text++)
		if (strchr("@#%", *text) != NULL)
			expand_columns(sql, *text);
		else
			mmq_buf_append(sql, text, 1);
}

int
journal_create(struct journal_db *db)
{
	struct mmq_buf sql;

	mmq_buf_init(&sql, 1 << 16);
	expand(&sql, tables);
	int code = sqlite3_exec(db->db, mmq_buf_text(&sql), NULL, NULL, NULL);
	mmq_buf_fini(&sql);
	return code;
}

int
journal_statement(struct journal_db *db, enum journal_statement which, sqlite3_stmt **statement_out)
{
	int code = SQLITE_OK;

	if (db->statements[which] == NULL) {
		struct mmq_buf sql;
		mmq_buf_init(&sql, 1 << 16);
		expand(&sql, statements[which]);
		code = sqlite3_prepare_v3(db->db, mmq_buf_text(&sql), -1, SQLITE_PREPARE_PERSISTENT, &db->statements[which], NULL);
		mmq_buf_fini(&sql);
	} else {
		sqlite3_reset(db->statements[which]);
	}
	*statement_out = db->statements[which];
	return code;
}

void
journal_statements_fini(struct journal_db *db)
{
	for (size_t i = 0; i < JOURNAL_STATEMENTS; i++)
		sqlite3_finalize(db->statements[i]);
	memset(db->statements, 0, sizeof(db->statements));
}

int
journal_run(struct journal_db *db, enum journal_statement which)
{
	sqlite3_stmt *statement;
	int code = journal_statement(db, which, &statement);

	if (code != SQLITE_OK)
		return code;
	code = sqlite3_step(statement);
	sqlite3_reset(statement);
	return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}
