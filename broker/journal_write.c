/* journal_write.c: the journal's commands on one SQLite connection, inside a transaction that the caller holds.
 *
 * A command either does all of its steps or none: an end runs under a savepoint, a put takes its row back. A row whose checksum is
 * wrong is never written again, since a fresh checksum would hide the damage. */
#include <stdio.h>
#include <string.h>

#include "broker/journal_inner.h"
#include "util/mem.h"
#include "wire/peek.h"

static int
step_once(sqlite3_stmt *statement)
{
	int code = sqlite3_step(statement);

	sqlite3_reset(statement);
	return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

/* A statement whose only parameter is a seq. */
static int
run_for(struct journal_db *db, enum journal_statement which, uint64_t seq)
{
	sqlite3_stmt *statement;
	int code = journal_statement(db, which, &statement);

	if (code != SQLITE_OK)
		return code;
	sqlite3_bind_int64(statement, 1, (int64_t)seq);
	return step_once(statement);
}

/* Undo what a command with several steps did, or keep it. */
static int
savepoint_end(struct journal_db *db, int code)
{
	if (code != SQLITE_OK) {
		journal_run(db, JS_SAVE_BACK);
		journal_run(db, JS_SAVE_RELEASE);
		return code;
	}
	return journal_run(db, JS_SAVE_RELEASE);
}

static int
put_exists(struct journal_db *db, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	int code = journal_find(db, &command->row, false, true, &event->found);

	if (code == SQLITE_OK && event->found != NULL)
		event->status = MMQ_JOURNAL_EXISTS;
	else if (code == SQLITE_OK)
		return SQLITE_CONSTRAINT;   /* not the id, so the job: a number that is random and was used before */
	if (code == SQLITE_CORRUPT)
		event->status = MMQ_JOURNAL_DAMAGED;
	return code == SQLITE_CORRUPT ? SQLITE_OK : code;
}

static int
put(struct journal_db *db, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	struct mmq_journal_row row = command->row;
	sqlite3_stmt *statement;
	int code;

	row.seq = db->numbers.next;
	row.state = MMQ_JOB_QUEUED;
	row.code = MMQ_OK;
	row.result_version = row.attempt = row.strikes = 0;
	row.lease_delivery = row.result_seq = 0;
	memset(row.lease_epoch, 0, sizeof(row.lease_epoch));
	row.started_ms = row.ended_ms = 0;
	row.message[0] = row.topic[0] = '\0';
	row.body_size = command->body != NULL ? command->body->size : 0;
	row.payload_size = command->body != NULL ? command->body->payload_size : 0;
	if ((code = journal_statement(db, JS_PUT, &statement)) != SQLITE_OK)
		return code;
	journal_bind_row(statement, &row, false);
	code = step_once(statement);
	sqlite3_clear_bindings(statement);
	if (code != SQLITE_OK)
		return code;
	if (sqlite3_changes(db->db) == 0)
		return put_exists(db, command, event);
	/* The first step put one row: taking it back is cheaper than a savepoint around every put. */
	if (command->body != NULL && (code = journal_put_body(db, JS_BODY_PUT, row.seq, command->body)) != SQLITE_OK) {
		int undone = run_for(db, JS_PRUNE, row.seq);
		return undone != SQLITE_OK ? undone : code;
	}
	event->seq = db->numbers.next++;
	return SQLITE_OK;
}

/* Read the row that a command names; status MISSING or DAMAGED is set when it cannot be used (*usable_out false). */
static int
load(struct journal_db *db, uint64_t seq, struct mmq_journal_row *row_out, struct mmq_journal_event *event, bool *usable_out)
{
	sqlite3_stmt *statement;
	int code = journal_statement(db, JS_FIND_SEQ, &statement);

	*usable_out = false;
	if (code != SQLITE_OK)
		return code;
	sqlite3_bind_int64(statement, 1, (int64_t)seq);
	code = sqlite3_step(statement);
	if (code == SQLITE_ROW) {
		*usable_out = journal_take_row(db, statement, row_out);
		event->status = *usable_out ? MMQ_JOURNAL_OK : MMQ_JOURNAL_DAMAGED;
		code = SQLITE_OK;
	} else if (code == SQLITE_DONE) {
		event->status = MMQ_JOURNAL_MISSING;
		code = SQLITE_OK;
	}
	sqlite3_reset(statement);
	return code;
}

static int
change(struct journal_db *db, const struct mmq_journal_row *row)
{
	sqlite3_stmt *statement;
	int code = journal_statement(db, JS_CHANGE, &statement);

	if (code != SQLITE_OK)
		return code;
	journal_bind_row(statement, row, true);
	code = step_once(statement);
	sqlite3_clear_bindings(statement);
	return code;
}

/* LEASE and STRIKE: small changes of a row that has not ended. */
static int
mark(struct journal_db *db, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	struct mmq_journal_row row;
	bool usable;
	int code = load(db, command->row.seq, &row, event, &usable);

	if (code != SQLITE_OK || !usable)
		return code;
	if (row.state != MMQ_JOB_QUEUED) {
		event->status = MMQ_JOURNAL_ENDED;
		return SQLITE_OK;
	}
	row.attempt = command->row.attempt;
	if (command->verb == MMQ_STRIKE) {
		row.strikes = command->row.strikes;
	} else {
		memcpy(row.lease_epoch, command->row.lease_epoch, sizeof(row.lease_epoch));
		row.lease_delivery = command->row.lease_delivery;
		row.started_ms = command->wall_ms;
	}
	return change(db, &row);
}

/* OUTCOME and CANCEL: the end of a row; the first one stays. */
static int
end(struct journal_db *db, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	struct mmq_journal_row row;
	bool usable;
	int code = load(db, command->row.seq, &row, event, &usable);

	event->seq = command->row.seq;
	if (code != SQLITE_OK || !usable)
		return code;
	if (row.state != MMQ_JOB_QUEUED) {
		event->status = MMQ_JOURNAL_ENDED;
		event->result_seq = row.result_seq;
		return SQLITE_OK;
	}
	bool is_cancel = command->verb == MMQ_CANCEL;
	row.state = is_cancel ? MMQ_JOB_CANCELLED : command->row.state;
	row.code = is_cancel && command->row.code == MMQ_OK ? MMQ_CANCELLED : command->row.code;
	row.result_version = command->row.result_version;
	row.ended_ms = command->wall_ms;
	row.result_seq = db->numbers.next;
	memcpy(row.message, command->row.message, sizeof(row.message));
	memcpy(row.topic, command->row.topic, sizeof(row.topic));
	if ((code = journal_run(db, JS_SAVE)) != SQLITE_OK)
		return code;
	code = change(db, &row);
	if (code == SQLITE_OK && command->body != NULL)
		code = journal_put_body(db, JS_ANSWER_PUT, row.seq, command->body);
	if (code == SQLITE_OK && !row.keep && !command->row.keep)
		code = run_for(db, JS_BODY_DELETE, row.seq);
	if ((code = savepoint_end(db, code)) != SQLITE_OK)
		return code;
	event->result_seq = db->numbers.next++;
	db->numbers.kept[journal_kept_as(&row)] += MMQ_KEPT_ROW_BYTES + (command->body != NULL ? command->body->size + command->body->payload_size : 0) +
	    (row.keep || command->row.keep ? row.body_size + row.payload_size : 0);
	return SQLITE_OK;
}

/* What an ended row was counted as when it ended. */
static int
kept_size(struct journal_db *db, uint64_t seq, uint64_t *bytes_out)
{
	sqlite3_stmt *statement;
	int code = journal_statement(db, JS_SIZE, &statement);

	*bytes_out = MMQ_KEPT_ROW_BYTES;
	if (code != SQLITE_OK)
		return code;
	sqlite3_bind_int64(statement, 1, (int64_t)seq);
	if ((code = sqlite3_step(statement)) == SQLITE_ROW)
		*bytes_out += (uint64_t)sqlite3_column_int64(statement, 0) + (uint64_t)sqlite3_column_int64(statement, 1);
	sqlite3_reset(statement);
	return code == SQLITE_ROW ? SQLITE_OK : code;
}

static void
kept_less(struct journal_db *db, enum mmq_journal_kept as, uint64_t bytes)
{
	db->numbers.kept[as] -= bytes < db->numbers.kept[as] ? bytes : db->numbers.kept[as];
}

/* REVIVE and FORGET: what an operator does with a dead letter. */
static int
dead(struct journal_db *db, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	static const enum journal_statement all[] = { JS_ANSWER_DELETE, JS_BODY_DELETE, JS_PRUNE };
	struct mmq_journal_row row;
	bool usable, revive = command->verb == MMQ_REVIVE;
	uint64_t bytes;
	int code = load(db, command->row.seq, &row, event, &usable);

	event->seq = command->row.seq;
	if (code != SQLITE_OK || !usable)
		return code;
	if (!journal_is_dead(&row, command->row.strikes)) {
		event->status = MMQ_JOURNAL_ENDED;
		return SQLITE_OK;
	}
	journal_revive(&row);
	if ((code = kept_size(db, row.seq, &bytes)) != SQLITE_OK || (code = journal_run(db, JS_SAVE)) != SQLITE_OK)
		return code;
	if (revive)
		code = change(db, &row);
	for (size_t i = 0; i < (revive ? 1 : 3) && code == SQLITE_OK; i++)
		code = run_for(db, all[i], row.seq);
	if ((code = savepoint_end(db, code)) == SQLITE_OK)
		kept_less(db, MMQ_KEPT_DEAD, bytes);
	return code;
}

/* The highest granted number of (tenant, model, what), or of this job alone; 0 for none. SQLITE_CORRUPT: damaged. */
static int
highest_grant(struct journal_db *db, const struct mmq_journal_command *command, bool of_job, uint32_t *number_out)
{
	struct mmq_journal_row row = command->row;
	sqlite3_stmt *statement;
	int code = journal_statement(db, of_job ? JS_GRANT_JOB : JS_GRANT_MAX, &statement);

	*number_out = 0;
	if (code != SQLITE_OK)
		return code;
	sqlite3_bind_text(statement, 1, row.tenant, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(statement, 2, row.model, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int(statement, 3, command->what);
	if (of_job)
		sqlite3_bind_blob(statement, 4, row.job, sizeof(row.job), SQLITE_TRANSIENT);
	code = sqlite3_step(statement);
	if (code == SQLITE_ROW) {
		const void *job = sqlite3_column_blob(statement, 1);
		*number_out = (uint32_t)sqlite3_column_int64(statement, 0);
		memset(row.job, 0, sizeof(row.job));
		if (sqlite3_column_bytes(statement, 1) == sizeof(row.job))
			memcpy(row.job, job, sizeof(row.job));
		if (journal_sum_grant(&row, command->what, *number_out) != sqlite3_column_int64(statement, 2)) {
			db->damaged++;
			snprintf(db->why, sizeof(db->why), "grant %u of model %s of the journal is damaged: wrong checksum", *number_out, row.model);
			code = SQLITE_CORRUPT;
		}
	}
	sqlite3_reset(statement);
	return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

static int
grant(struct journal_db *db, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	const struct mmq_journal_row *row = &command->row;
	sqlite3_stmt *statement;
	uint32_t highest;
	int code = highest_grant(db, command, true, &event->number);

	if (code != SQLITE_OK || event->number > command->number)
		return code;
	if ((code = highest_grant(db, command, false, &highest)) != SQLITE_OK || (code = journal_statement(db, JS_GRANT_PUT, &statement)) != SQLITE_OK)
		return code;
	event->number = 1 + (highest > command->number ? highest : command->number);
	sqlite3_bind_text(statement, 1, row->tenant, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(statement, 2, row->model, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int(statement, 3, command->what);
	sqlite3_bind_blob(statement, 4, row->job, sizeof(row->job), SQLITE_TRANSIENT);
	sqlite3_bind_int64(statement, 5, event->number);
	sqlite3_bind_int64(statement, 6, journal_sum_grant(row, command->what, event->number));
	return step_once(statement);
}

static int
meta(struct journal_db *db, const struct mmq_journal_command *command)
{
	char key[64];

	snprintf(key, sizeof(key), "meta.%.*s", (int)sizeof(command->key), command->key);
	return journal_setting_put(db, key, command->value, strnlen(command->value, sizeof(command->value)));
}

/* Forget rows that ended before before_ms, the oldest first, as long as more than bytes_max (0: or not) is kept. */
static int
forget(struct journal_db *db, const struct mmq_journal_command *command, int64_t before_ms, uint64_t bytes_max, struct mmq_journal_event *event)
{
	static const enum journal_statement all[] = { JS_PRUNE, JS_BODY_DELETE, JS_ANSWER_DELETE };
	enum mmq_journal_kept as = command->what == MMQ_KEPT_DEAD ? MMQ_KEPT_DEAD : MMQ_KEPT_RESULTS;
	uint32_t count = 0, limit = command->number < MMQ_PRUNE_ROWS_MAX ? command->number : MMQ_PRUNE_ROWS_MAX;
	uint64_t seqs[MMQ_PRUNE_ROWS_MAX], bytes;
	sqlite3_stmt *statement;
	int code = journal_statement(db, as == MMQ_KEPT_DEAD ? JS_PRUNE_DEAD : JS_PRUNE_FIND, &statement);

	if (code != SQLITE_OK)
		return code;
	sqlite3_bind_int64(statement, 1, before_ms);
	sqlite3_bind_int64(statement, 2, limit - event->number);
	while (event->number + count < limit && (code = sqlite3_step(statement)) == SQLITE_ROW)
		seqs[count++] = (uint64_t)sqlite3_column_int64(statement, 0);
	sqlite3_reset(statement);
	if (code == SQLITE_ROW || code == SQLITE_DONE)
		code = SQLITE_OK;
	for (uint32_t i = 0; i < count && code == SQLITE_OK && (bytes_max == 0 || db->numbers.kept[as] > bytes_max); i++) {
		code = kept_size(db, seqs[i], &bytes);
		for (size_t k = 0; k < 3 && code == SQLITE_OK; k++)
			code = run_for(db, all[k], seqs[i]);
		kept_less(db, as, bytes);
		event->number++;
	}
	return code;
}

/* An error here ends the transaction, which sets the counts right. */
static int
prune(struct journal_db *db, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	int code = forget(db, command, command->wall_ms, 0, event);

	if (code == SQLITE_OK && command->bytes_max > 0)
		code = forget(db, command, INT64_MAX, command->bytes_max, event);
	return code;
}

int
journal_apply(struct journal_db *db, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	int code;

	switch (command->verb) {
	case MMQ_PUT:
		return put(db, command, event);
	case MMQ_LEASE:
	case MMQ_STRIKE:
		return mark(db, command, event);
	case MMQ_GRANT:
		code = grant(db, command, event);
		if (code == SQLITE_CORRUPT) {   /* found by us: this grant alone is refused */
			event->status = MMQ_JOURNAL_DAMAGED;
			code = SQLITE_OK;
		}
		return code;
	case MMQ_OUTCOME:
	case MMQ_CANCEL:
		return end(db, command, event);
	case MMQ_REVIVE:
	case MMQ_FORGET:
		return dead(db, command, event);
	case MMQ_META:
		return meta(db, command);
	case MMQ_PRUNE:
		return prune(db, command, event);
	}
	return SQLITE_OK;
}
