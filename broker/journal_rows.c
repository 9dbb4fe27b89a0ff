/* journal_rows.c: the journal's schema in one place: tables, columns, statements, and the checksum of every row.
 *
 * One table of columns makes the SQL, binds, reads and hashes a row, so that none of them can forget a column. The checksum
 * (SipHash of the columns with the row's seq) finds flipped bits, which SQLite itself does not see; bodies and answers
 * lie in tables of their own, so that lists do not read them. */
#include "broker/journal_inner.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "util/mem.h"
#include "wire/peek.h"

enum column_type { COL_U8, COL_BOOL, COL_U32, COL_U64, COL_STATE, COL_CODE, COL_OP, COL_TEXT, COL_BYTES, COL_ID };

struct column {
	const char *name;
	enum column_type type;
	size_t offset, size;
	bool changes;         /* after the put */
};

#define COLUMN(name, type, changes) { #name, type, offsetof(struct mmq_journal_row, name), sizeof(((struct mmq_journal_row *)0)->name), changes }
static const struct column columns[] = {
	COLUMN(tenant, COL_TEXT, false), COLUMN(model, COL_TEXT, false), COLUMN(id, COL_ID, false), COLUMN(id_is_binary, COL_BOOL, false),
	COLUMN(op, COL_OP, false), COLUMN(kind, COL_U8, false), COLUMN(priority, COL_U8, false), COLUMN(sink, COL_BOOL, false),
	COLUMN(wait, COL_BOOL, false), COLUMN(keep, COL_BOOL, false), COLUMN(version, COL_U32, false), COLUMN(job, COL_BYTES, false),
	COLUMN(fingerprint, COL_BYTES, false), COLUMN(key_hash, COL_U64, false), COLUMN(created_ms, COL_U64, false),
	COLUMN(deadline_ms, COL_U64, true), COLUMN(body_size, COL_U64, false), COLUMN(payload_size, COL_U64, false),
	COLUMN(state, COL_STATE, true), COLUMN(code, COL_CODE, true), COLUMN(result_version, COL_U32, true), COLUMN(attempt, COL_U32, true),
	COLUMN(strikes, COL_U32, true), COLUMN(lease_epoch, COL_BYTES, true), COLUMN(lease_delivery, COL_U64, true),
	COLUMN(started_ms, COL_U64, true), COLUMN(ended_ms, COL_U64, true), COLUMN(result_seq, COL_U64, true),
	COLUMN(message, COL_TEXT, true), COLUMN(topic, COL_TEXT, true),
	COLUMN(trace, COL_TEXT, false), /* since format 2: the last one, and not part of the checksum where it is empty */
};
enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };

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

/* Replace @ by the columns, # by as many ?, % by the assignments of the changing ones. */
static void
expand(struct mmq_buf *sql, const char *text)
{
	for (; *text != '\0'; text++) {
		const char *gap = "";
		if (strchr("@#%", *text) == NULL)
			mmq_buf_append(sql, text, 1);
		for (size_t i = 0; i < COLUMNS && strchr("@#%", *text) != NULL; i++) {
			if (*text == '%' && !columns[i].changes)
				continue;
			if (*text == '#')
				mmq_buf_printf(sql, "%s?", gap);
			else
				mmq_buf_printf(sql, "%s%s%s", gap, columns[i].name, *text == '%' ? " = ?" : "");
			gap = ", ";
		}
	}
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

/* ---- Values and checksums --------------------------------------------------------------------------------------- */

static const uint8_t sum_key[crypto_shorthash_KEYBYTES] = "modelmq journal";   /* fixed: against accidents, not attackers */

int64_t
journal_sum(const void *bytes, size_t size)
{
	uint8_t hash[crypto_shorthash_BYTES];
	int64_t sum;

	crypto_shorthash(hash, bytes, size, sum_key);
	memcpy(&sum, hash, sizeof(sum));
	return sum;
}

/* A column as a number; texts and bytes are handled apart. */
static int64_t
number_of(const struct column *column, const struct mmq_journal_row *row)
{
	const void *at = (const uint8_t *)row + column->offset;

	switch (column->size) {
	case 1:
		return *(const uint8_t *)at;
	case 4:
		return *(const uint32_t *)at;
	default:
		return *(const int64_t *)at;
	}
}

static void
number_set(const struct column *column, struct mmq_journal_row *row, int64_t value)
{
	void *at = (uint8_t *)row + column->offset;

	if (column->size == 1)
		*(uint8_t *)at = column->type == COL_BOOL ? value != 0 : (uint8_t)value;
	else if (column->size == 4)
		*(uint32_t *)at = (uint32_t)value;
	else
		*(int64_t *)at = value;
}

/* Bytes of a text or blob column; *size_out 0: stored as NULL (blobs) or '' (texts). */
static const void *
bytes_of(const struct column *column, const struct mmq_journal_row *row, size_t *size_out)
{
	static const uint8_t zeros[64];
	const uint8_t *at = (const uint8_t *)row + column->offset;

	switch (column->type) {
	case COL_TEXT:
		*size_out = strnlen((const char *)at, column->size - 1);
		return at;
	case COL_ID:
		*size_out = row->id_size <= sizeof(row->id) ? row->id_size : 0;
		return at;
	case COL_BYTES:
		*size_out = memcmp(at, zeros, column->size) == 0 ? 0 : column->size;
		return at;
	case COL_CODE: {
		const char *name = mmq_code_name(row->code);
		*size_out = strlen(name);
		return name;
	}
	case COL_OP: {
		const char *name = mmq_op_name((enum mmq_op)row->op);
		*size_out = strlen(name);
		return name;
	}
	default:
		return NULL;   /* a number */
	}
}

/* Lengths go in before bytes, so that no two rows give the same input. */
static int64_t
row_sum(const struct mmq_journal_row *row)
{
	uint8_t input[sizeof(struct mmq_journal_row) + COLUMNS * sizeof(int64_t)];
	size_t used = sizeof(row->seq);

	memcpy(input, &row->seq, sizeof(row->seq));
	for (size_t i = 0; i < COLUMNS; i++) {
		size_t size = 0;
		const void *bytes = bytes_of(&columns[i], row, &size);
		if (columns[i].offset == offsetof(struct mmq_journal_row, trace) && size == 0)
			continue;
		int64_t number = bytes == NULL ? number_of(&columns[i], row) : (int64_t)size;
		memcpy(input + used, &number, sizeof(number));
		used += sizeof(number);
		memcpy(input + used, bytes == NULL ? (const void *)"" : bytes, size);
		used += size;
	}
	assert(used <= sizeof(input));
	return journal_sum(input, used);
}

static void
bind_value(sqlite3_stmt *statement, int at, const struct column *column, const struct mmq_journal_row *row)
{
	size_t size;
	const void *bytes = bytes_of(column, row, &size);

	if (bytes == NULL)
		sqlite3_bind_int64(statement, at, number_of(column, row));
	else if (column->type == COL_BYTES || column->type == COL_ID)
		size > 0 ? sqlite3_bind_blob(statement, at, bytes, (int)size, SQLITE_STATIC) : sqlite3_bind_null(statement, at);
	else
		sqlite3_bind_text(statement, at, bytes, (int)size, SQLITE_STATIC);
}

void
journal_bind_row(sqlite3_stmt *statement, const struct mmq_journal_row *row, bool only_changing)
{
	int at = 1;

	if (!only_changing)
		sqlite3_bind_int64(statement, at++, (int64_t)row->seq);
	for (size_t i = 0; i < COLUMNS; i++)
		if (!only_changing || columns[i].changes)
			bind_value(statement, at++, &columns[i], row);
	sqlite3_bind_int64(statement, at++, row_sum(row));
	if (only_changing)
		sqlite3_bind_int64(statement, at, (int64_t)row->seq);
}

static void
take_value(sqlite3_stmt *statement, int at, const struct column *column, struct mmq_journal_row *row)
{
	uint8_t *to = (uint8_t *)row + column->offset;
	const void *bytes = column->type >= COL_CODE ? sqlite3_column_blob(statement, at) : NULL;
	size_t size = bytes != NULL ? (size_t)sqlite3_column_bytes(statement, at) : 0;

	switch (column->type) {
	case COL_TEXT:
		size = size < column->size ? size : column->size - 1;
		memcpy(to, bytes != NULL ? bytes : "", size);
		break;
	case COL_ID:
		row->id_size = (uint8_t)(size < sizeof(row->id) ? size : sizeof(row->id));
		memcpy(to, bytes != NULL ? bytes : "", row->id_size);
		break;
	case COL_BYTES:
		memcpy(to, bytes != NULL ? bytes : "", size < column->size ? size : column->size);
		break;
	case COL_OP:
		row->op = (uint8_t)mmq_op_from_name(bytes != NULL ? bytes : "", size);
		break;
	case COL_CODE: {
		char name[32];
		snprintf(name, sizeof(name), "%.*s", (int)size, bytes != NULL ? (const char *)bytes : "");
		row->code = mmq_code_from_name(name);
		break;
	}
	default:
		number_set(column, row, sqlite3_column_int64(statement, at));
	}
}

bool
journal_take_row(struct journal_db *db, sqlite3_stmt *statement, struct mmq_journal_row *row_out)
{
	memset(row_out, 0, sizeof(*row_out));
	row_out->seq = (uint64_t)sqlite3_column_int64(statement, 0);
	for (int i = 0; i < COLUMNS; i++)
		take_value(statement, i + 1, &columns[i], row_out);
	if (row_sum(row_out) == sqlite3_column_int64(statement, COLUMNS + 1) && (unsigned)row_out->state < MMQ_JOB_STATES)
		return true;
	db->damaged++;
	snprintf(db->why, sizeof(db->why), "request %llu of the journal is damaged: wrong checksum", (unsigned long long)row_out->seq);
	return false;
}

/* ---- Bodies ----------------------------------------------------------------------------------------------------- */

static void
body_free(struct mmq_body *body)
{
	free(body);
}

struct mmq_body *
journal_body_new(const void *bytes, size_t size, const void *payload, size_t payload_size)
{
	struct mmq_body *body = mmq_alloc(sizeof(*body) + size + payload_size);
	uint8_t *room = (uint8_t *)(body + 1);

	memcpy(room, size > 0 ? bytes : "", size);
	memcpy(room + size, payload_size > 0 ? payload : "", payload_size);
	*body = (struct mmq_body){ .bytes = room, .size = size, .payload = payload_size > 0 ? room + size : NULL, .payload_size = payload_size,
		.release = body_free };
	return body;
}

/* Bound to its row and table, so that a body that turns up elsewhere is found out. */
static int64_t
body_sum(bool is_answer, uint64_t seq, const void *bytes, size_t size, const void *payload, size_t payload_size)
{
	const uint64_t input[] = { is_answer, seq, size, (uint64_t)journal_sum(bytes, size), payload_size, (uint64_t)journal_sum(payload, payload_size) };

	return journal_sum(input, sizeof(input));
}

int
journal_put_body(struct journal_db *db, enum journal_statement which, uint64_t seq, const struct mmq_body *body)
{
	sqlite3_stmt *statement;
	int code = journal_statement(db, which, &statement);

	if (code != SQLITE_OK)
		return code;
	sqlite3_bind_int64(statement, 1, (int64_t)seq);
	sqlite3_bind_blob64(statement, 2, body->bytes, body->size, SQLITE_STATIC);
	sqlite3_bind_blob64(statement, 3, body->payload, body->payload_size, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 4, body_sum(which == JS_ANSWER_PUT, seq, body->bytes, body->size, body->payload, body->payload_size));
	code = sqlite3_step(statement);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);   /* the bytes are the caller's and may go now */
	return code == SQLITE_DONE ? SQLITE_OK : code;
}

int
journal_get_body(struct journal_db *db, enum journal_statement which, uint64_t seq, struct mmq_body **body_out)
{
	sqlite3_stmt *statement;
	int code = journal_statement(db, which, &statement);

	*body_out = NULL;
	if (code != SQLITE_OK)
		return code;
	sqlite3_bind_int64(statement, 1, (int64_t)seq);
	code = sqlite3_step(statement);
	if (code == SQLITE_ROW) {
		const void *bytes = sqlite3_column_blob(statement, 0), *payload = sqlite3_column_blob(statement, 1);
		size_t size = (size_t)sqlite3_column_bytes(statement, 0), payload_size = (size_t)sqlite3_column_bytes(statement, 1);
		bool is_whole = body_sum(which == JS_ANSWER_GET, seq, bytes, size, payload, payload_size) == sqlite3_column_int64(statement, 2);
		code = is_whole ? SQLITE_OK : SQLITE_CORRUPT;
		if (is_whole)
			*body_out = journal_body_new(bytes, size, payload, payload_size);
	}
	sqlite3_reset(statement);
	if (code == SQLITE_CORRUPT) {
		db->damaged++;
		snprintf(db->why, sizeof(db->why), "the %s of request %llu of the journal is damaged: wrong checksum",
		    which == JS_ANSWER_GET ? "answer" : "body", (unsigned long long)seq);
	}
	return code == SQLITE_DONE ? SQLITE_OK : code;
}

int64_t
journal_sum_grant(const struct mmq_journal_row *row, uint8_t what, uint32_t number)
{
	const int64_t input[] = { journal_sum(row->tenant, strlen(row->tenant)), journal_sum(row->model, strlen(row->model)), what, number,
		journal_sum(row->job, sizeof(row->job)) };

	return journal_sum(input, sizeof(input));
}

static void
row_fini(struct mmq_journal_row *row)
{
	if (row->body != NULL)
		row->body->release(row->body);
	if (row->answer != NULL)
		row->answer->release(row->answer);
}

void
journal_release(struct mmq_journal_event *event)
{
	if (event->found != NULL)
		row_fini(event->found);
	for (uint32_t i = 0; event->page != NULL && i < event->page->count; i++)
		row_fini(&event->page->rows[i]);
	if (event->page != NULL) {
		free(event->page->rows);
		free(event->page->numbers);
	}
	free(event->page);
	free(event->found);
	event->page = NULL;
	event->found = NULL;
}

bool
journal_is_dead(const struct mmq_journal_row *row, uint32_t strikes)
{
	return row->state == MMQ_JOB_FAILED && row->code == MMQ_INTERNAL && row->strikes > 0 && row->strikes >= strikes;
}

enum mmq_journal_kept
journal_kept_as(const struct mmq_journal_row *row)
{
	return journal_is_dead(row, 1) ? MMQ_KEPT_DEAD : MMQ_KEPT_RESULTS;
}

void
journal_revive(struct mmq_journal_row *row)
{
	row->state = MMQ_JOB_QUEUED;
	row->code = MMQ_OK;
	row->strikes = 0;
	row->lease_delivery = row->result_seq = 0;
	row->deadline_ms = row->started_ms = row->ended_ms = 0;
	row->message[0] = row->topic[0] = '\0';
}
