/* journal_bodies.c: requests' bodies and their answers. They lie in tables of their own, so that lists do not read them; their
 * checksums are bound to the row, so that a body that turns up elsewhere is found out. */
#include "broker/journal_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

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
