/* journal_read.c: the journal's queries on one SQLite connection. Each is read to its end at once, at most `limit` rows, so that
 * no read transaction outlives a page. Damaged rows are left out, counted and named. */
#include <stdlib.h>
#include <string.h>

#include "broker/journal_inner.h"
#include "util/mem.h"

enum { PAGE_ROWS_MAX = 10000 };

uint32_t
journal_page_limit(const struct mmq_journal_read *read)
{
	return read->limit == 0 || read->limit > PAGE_ROWS_MAX ? PAGE_ROWS_MAX : read->limit;
}

static void
page_room(struct mmq_journal_page *page, uint32_t *capacity)
{
	if (page->count < *capacity)
		return;
	*capacity = *capacity * 2 + 8;
	page->rows = mmq_grow(page->rows, *capacity, sizeof(*page->rows));
	page->numbers = page->query == MMQ_READ_LANES ? mmq_grow(page->numbers, *capacity, sizeof(*page->numbers)) : NULL;
}

/* SQLite's word for what happened, in the page. Damage found by a checksum is already there. */
static void
page_status(struct mmq_journal_page *page, int code)
{
	if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW)
		return;
	page->status = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB ? MMQ_JOURNAL_DAMAGED : MMQ_JOURNAL_BROKEN;
}

/* Add the answer to a row that has ended. false: it is damaged, and the row with it. */
static bool
add_answer(struct journal_db *db, struct mmq_journal_page *page, struct mmq_journal_row *row)
{
	int code = journal_get_body(db, JS_ANSWER_GET, row->seq, &row->answer);

	page_status(page, code);
	return code == SQLITE_OK;
}

/* Read full rows until the statement ends, the limit (one more row was asked for) or the bytes are reached. */
static void
take_rows(struct journal_db *db, sqlite3_stmt *statement, struct mmq_journal_page *page, const struct mmq_journal_read *read)
{
	uint32_t capacity = 0, limit = journal_page_limit(read), seen = 0;
	uint64_t bytes = 0;
	int code;

	while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
		if (seen++ == limit) {
			page->more = true;
			break;
		}
		page_room(page, &capacity);
		struct mmq_journal_row *row = &page->rows[page->count];
		if (!journal_take_row(db, statement, row)) {
			page->status = MMQ_JOURNAL_DAMAGED;
			continue;
		}
		if (read->query == MMQ_READ_RESULTS && !add_answer(db, page, row))
			continue;
		bytes += row->answer != NULL ? row->answer->size : 0;
		if (read->query == MMQ_READ_RESULTS && page->count > 0 && read->bytes_max > 0 && bytes > read->bytes_max) {
			row->answer->release(row->answer);
			page->more = true;
			break;
		}
		page->count++;
	}
	page_status(page, code);
}

static void
take_lanes(sqlite3_stmt *statement, struct mmq_journal_page *page, uint32_t limit)
{
	uint32_t capacity = 0;
	int code;

	while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
		if (page->count == limit) {
			page->more = true;
			break;
		}
		page_room(page, &capacity);
		struct mmq_journal_row *row = &page->rows[page->count];
		memset(row, 0, sizeof(*row));
		sqlite3_snprintf(sizeof(row->tenant), row->tenant, "%s", sqlite3_column_text(statement, 0));
		row->kind = (uint8_t)sqlite3_column_int(statement, 1);
		row->priority = (uint8_t)sqlite3_column_int(statement, 2);
		sqlite3_snprintf(sizeof(row->model), row->model, "%s", sqlite3_column_text(statement, 3));
		row->version = (uint32_t)sqlite3_column_int64(statement, 4);
		page->numbers[page->count] = (uint32_t)sqlite3_column_int64(statement, 5);
		row->seq = (uint64_t)sqlite3_column_int64(statement, 6);
		page->count++;
	}
	page_status(page, code);
}

/* The single number that a min() query gives; 0 for none. */
static int64_t
query_number(sqlite3_stmt *statement, struct mmq_journal_page *page)
{
	int code = sqlite3_step(statement);
	int64_t number = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;

	page_status(page, code);
	sqlite3_reset(statement);
	return number;
}

int
journal_find(struct journal_db *db, const struct mmq_journal_row *like, bool by_job, bool with_answer, struct mmq_journal_row **row_out)
{
	sqlite3_stmt *statement;
	int code = journal_statement(db, by_job ? JS_FIND_JOB : JS_FIND_ID, &statement);

	*row_out = NULL;
	if (code != SQLITE_OK)
		return code;
	if (by_job) {
		sqlite3_bind_blob(statement, 1, like->job, sizeof(like->job), SQLITE_TRANSIENT);
		sqlite3_bind_text(statement, 2, like->tenant, -1, SQLITE_TRANSIENT);
	} else {
		sqlite3_bind_text(statement, 1, like->tenant, -1, SQLITE_TRANSIENT);
		sqlite3_bind_int(statement, 2, like->id_is_binary);
		sqlite3_bind_blob(statement, 3, like->id, like->id_size, SQLITE_TRANSIENT);
	}
	code = sqlite3_step(statement);
	if (code == SQLITE_ROW) {
		struct mmq_journal_row *row = mmq_alloc(sizeof(*row));
		code = journal_take_row(db, statement, row) ? SQLITE_OK : SQLITE_CORRUPT;
		if (code == SQLITE_OK && with_answer && row->result_seq > 0)
			code = journal_get_body(db, JS_ANSWER_GET, row->seq, &row->answer);
		if (code == SQLITE_OK)
			*row_out = row;
		else
			free(row);
	}
	sqlite3_reset(statement);
	return code == SQLITE_DONE ? SQLITE_OK : code;
}

static void
query_find(struct journal_db *db, const struct mmq_journal_read *read, struct mmq_journal_page *page)
{
	sqlite3_stmt *statement;

	page_status(page, journal_find(db, &read->row, read->job_is_set, read->with_answer, &page->rows));
	page->count = page->rows != NULL;
	if (page->count > 0 || !read->job_is_set || page->status != MMQ_JOURNAL_OK || journal_statement(db, JS_HAS_JOB, &statement) != SQLITE_OK)
		return;
	sqlite3_bind_blob(statement, 1, read->row.job, sizeof(read->row.job), SQLITE_TRANSIENT);
	page->is_foreign = sqlite3_step(statement) == SQLITE_ROW;
	sqlite3_reset(statement);
}

static void
query_body(struct journal_db *db, const struct mmq_journal_read *read, struct mmq_journal_page *page)
{
	sqlite3_stmt *statement;
	int code = journal_statement(db, JS_FIND_SEQ, &statement);

	if (code == SQLITE_OK) {
		sqlite3_bind_int64(statement, 1, (int64_t)read->row.seq);
		take_rows(db, statement, page, read);
		sqlite3_reset(statement);
		if (page->count == 1)
			code = journal_get_body(db, JS_BODY_GET, read->row.seq, &page->rows[0].body);
		/* A request that has not ended lost its bytes: as bad as wrong ones. */
		if (code == SQLITE_OK && page->count == 1 && page->rows[0].state == MMQ_JOB_QUEUED && page->rows[0].body == NULL && page->rows[0].body_size > 0) {
			db->damaged++;
			sqlite3_snprintf(sizeof(db->why), db->why, "the body of request %llu of the journal is missing", (unsigned long long)read->row.seq);
			code = SQLITE_CORRUPT;
		}
		if (code != SQLITE_OK)
			page->count = 0;
		else if (page->count == 0 && page->status == MMQ_JOURNAL_OK)
			page->status = MMQ_JOURNAL_MISSING;
	}
	page_status(page, code);
}

/* The queries whose rows come from one statement: prepare and bind it. */
static int
bind_query(struct journal_db *db, const struct mmq_journal_read *read, sqlite3_stmt **statement_out)
{
	const struct mmq_journal_row *row = &read->row;
	static const enum journal_statement which[] = { [MMQ_READ_LANES] = JS_LANES, [MMQ_READ_HEADS] = JS_HEADS, [MMQ_READ_LIST] = JS_LIST,
		[MMQ_READ_DEAD] = JS_DEAD, [MMQ_READ_EXPIRED] = JS_EXPIRED, [MMQ_READ_RESULTS] = JS_RESULTS };
	int64_t limit = (int64_t)journal_page_limit(read) + 1;
	sqlite3_stmt *statement;
	int code = journal_statement(db, which[read->query], &statement);

	*statement_out = statement;
	if (code != SQLITE_OK)
		return code;
	switch (read->query) {
	case MMQ_READ_LANES:
		sqlite3_bind_int64(statement, 1, limit);
		sqlite3_bind_int64(statement, 2, (int64_t)read->after);
		break;
	case MMQ_READ_HEADS:
		sqlite3_bind_text(statement, 1, row->tenant, -1, SQLITE_TRANSIENT);
		sqlite3_bind_int(statement, 2, row->kind);
		sqlite3_bind_int(statement, 3, row->priority);
		sqlite3_bind_text(statement, 4, row->model, -1, SQLITE_TRANSIENT);
		sqlite3_bind_int64(statement, 5, row->version);
		sqlite3_bind_int64(statement, 6, (int64_t)read->after);
		sqlite3_bind_int64(statement, 7, limit);
		break;
	case MMQ_READ_LIST:
		sqlite3_bind_text(statement, 1, row->tenant, -1, SQLITE_TRANSIENT);
		sqlite3_bind_int64(statement, 2, read->after == 0 ? INT64_MAX : (int64_t)read->after);
		sqlite3_bind_int(statement, 3, read->state == MMQ_JOB_RUNNING ? MMQ_JOB_QUEUED : read->state);
		sqlite3_bind_text(statement, 4, row->model, -1, SQLITE_TRANSIENT);
		sqlite3_bind_int64(statement, 5, limit);
		break;
	case MMQ_READ_DEAD:
		sqlite3_bind_text(statement, 1, row->tenant, -1, SQLITE_TRANSIENT);
		sqlite3_bind_int64(statement, 2, row->strikes);
		sqlite3_bind_int64(statement, 3, read->after == 0 ? INT64_MAX : (int64_t)read->after);
		sqlite3_bind_int64(statement, 4, limit);
		break;
	case MMQ_READ_EXPIRED:
		sqlite3_bind_int64(statement, 1, read->wall_ms);
		sqlite3_bind_int64(statement, 2, limit);
		break;
	default:
		sqlite3_bind_text(statement, 1, row->tenant, -1, SQLITE_TRANSIENT);
		sqlite3_bind_int64(statement, 2, (int64_t)read->after);
		sqlite3_bind_text(statement, 3, read->prefix, -1, SQLITE_TRANSIENT);
		sqlite3_bind_int64(statement, 4, limit);
	}
	return SQLITE_OK;
}

/* The one number that goes with a page. */
static void
add_number(struct journal_db *db, const struct mmq_journal_read *read, struct mmq_journal_page *page)
{
	bool is_results = read->query == MMQ_READ_RESULTS;
	sqlite3_stmt *statement;

	if (!is_results && read->query != MMQ_READ_EXPIRED)
		return;
	int code = journal_statement(db, is_results ? JS_RESULTS_OLDEST : JS_EXPIRED_NEXT, &statement);
	page_status(page, code);
	if (code != SQLITE_OK)
		return;
	if (is_results) {
		sqlite3_bind_text(statement, 1, read->row.tenant, -1, SQLITE_TRANSIENT);
		page->oldest = (uint64_t)query_number(statement, page);
	} else {
		sqlite3_bind_int64(statement, 1, read->wall_ms);
		page->next_ms = query_number(statement, page);
	}
}

void
journal_query(struct journal_db *db, const struct mmq_journal_read *read, struct mmq_journal_page *page)
{
	sqlite3_stmt *statement;

	if (read->query == MMQ_READ_FIND) {
		query_find(db, read, page);
		return;
	}
	if (read->query == MMQ_READ_BODY) {
		query_body(db, read, page);
		return;
	}
	int code = bind_query(db, read, &statement);
	page_status(page, code);
	if (code != SQLITE_OK)
		return;
	if (read->query == MMQ_READ_LANES)
		take_lanes(statement, page, journal_page_limit(read));
	else
		take_rows(db, statement, page, read);
	sqlite3_reset(statement);
	add_number(db, read, page);
}
