/* journal_rows.c: the columns of a request's row, and the checksum of every row.
 *
 * One table of columns makes the SQL, binds, reads and hashes a row, so that none of them can forget a column. The checksum
 * (SipHash of the columns with the row's seq) finds flipped bits, which SQLite itself does not see. */
#include "broker/journal_inner.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

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

const char *
journal_column(size_t index, bool *changes_out)
{
	*changes_out = index < COLUMNS && columns[index].changes;
	return index < COLUMNS ? columns[index].name : NULL;
}

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

int64_t
journal_sum_grant(const struct mmq_journal_row *row, uint8_t what, uint32_t number)
{
	const int64_t input[] = { journal_sum(row->tenant, strlen(row->tenant)), journal_sum(row->model, strlen(row->model)), what, number,
		journal_sum(row->job, sizeof(row->job)) };

	return journal_sum(input, sizeof(input));
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
