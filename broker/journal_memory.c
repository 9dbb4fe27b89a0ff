/* journal_memory.c: the journal's contract without a disk: for the simulator, tests and trials. Every command is done when submit
 * returns and its completion waits for poll; nothing survives close. Rows lie in one array in the order of seq. */
#include <stdlib.h>
#include <string.h>

#include "broker/journal_memory.h"
#include "util/mem.h"

static void
drop_body(struct mmq_body **body)
{
	if (*body != NULL)
		(*body)->release(*body);
	*body = NULL;
}

/* ---- Commands ---------------------------------------------------------------------------------------------------- */

static void
put(struct mmq_journal *journal, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	const struct mmq_journal_row *old = memory_find_like(journal, &command->row, false);

	if (old != NULL) {
		event->status = MMQ_JOURNAL_EXISTS;
		event->found = mmq_alloc(sizeof(*event->found));
		*event->found = memory_copy_row(old, false, true);
		return;
	}
	struct mmq_journal_row *row = mmq_alloc(sizeof(*row));
	*row = command->row;
	row->seq = event->seq = journal->next++;
	row->body = memory_copy_body(command->body);
	row->answer = NULL;
	row->body_size = command->body != NULL ? command->body->size : 0;
	row->payload_size = command->body != NULL ? command->body->payload_size : 0;
	row->state = MMQ_JOB_QUEUED;
	row->code = MMQ_OK;
	row->result_version = row->attempt = row->strikes = 0;
	memset(row->lease_epoch, 0, sizeof(row->lease_epoch));
	row->lease_delivery = row->result_seq = 0;
	row->started_ms = row->ended_ms = 0;
	row->message[0] = row->topic[0] = '\0';
	if (journal->rows_count == journal->rows_capacity) {
		journal->rows_capacity = journal->rows_capacity * 2 + 64;
		journal->rows = mmq_grow(journal->rows, journal->rows_capacity, sizeof(*journal->rows));
	}
	journal->rows[journal->rows_count++] = row;
}

static void
change(struct mmq_journal *journal, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	struct mmq_journal_row *row = memory_find_seq(journal, command->row.seq);
	bool is_end = command->verb == MMQ_OUTCOME || command->verb == MMQ_CANCEL, is_cancel = command->verb == MMQ_CANCEL;

	event->seq = is_end ? command->row.seq : 0;
	event->status = row == NULL ? MMQ_JOURNAL_MISSING : row->state != MMQ_JOB_QUEUED ? MMQ_JOURNAL_ENDED : MMQ_JOURNAL_OK;
	if (event->status == MMQ_JOURNAL_ENDED && is_end)
		event->result_seq = row->result_seq;
	if (event->status != MMQ_JOURNAL_OK)
		return;
	if (!is_end) {
		row->attempt = command->row.attempt;
		if (command->verb == MMQ_STRIKE) {
			row->strikes = command->row.strikes;
			return;
		}
		memcpy(row->lease_epoch, command->row.lease_epoch, sizeof(row->lease_epoch));
		row->lease_delivery = command->row.lease_delivery;
		row->started_ms = command->wall_ms;
		return;
	}
	row->state = is_cancel ? MMQ_JOB_CANCELLED : command->row.state;
	row->code = is_cancel && command->row.code == MMQ_OK ? MMQ_CANCELLED : command->row.code;
	row->result_version = command->row.result_version;
	row->ended_ms = command->wall_ms;
	row->result_seq = event->result_seq = journal->next++;
	memcpy(row->message, command->row.message, sizeof(row->message));
	memcpy(row->topic, command->row.topic, sizeof(row->topic));
	row->answer = memory_copy_body(command->body);
	if (!row->keep && !command->row.keep)
		drop_body(&row->body);
}

static void
row_drop(struct mmq_journal *journal, size_t at)
{
	drop_body(&journal->rows[at]->body);
	drop_body(&journal->rows[at]->answer);
	free(journal->rows[at]);
	journal->rows_count--;
	memmove(journal->rows + at, journal->rows + at + 1, (journal->rows_count - at) * sizeof(*journal->rows));
}

static void
dead(struct mmq_journal *journal, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	struct mmq_journal_row *row = memory_find_seq(journal, command->row.seq);
	size_t at = 0;

	event->seq = command->row.seq;
	event->status = row == NULL ? MMQ_JOURNAL_MISSING : journal_is_dead(row, command->row.strikes) ? MMQ_JOURNAL_OK : MMQ_JOURNAL_ENDED;
	if (event->status != MMQ_JOURNAL_OK)
		return;
	if (command->verb == MMQ_REVIVE) {
		journal_revive(row);
		drop_body(&row->answer);
		return;
	}
	while (journal->rows[at] != row)
		at++;
	row_drop(journal, at);
}

static void
grant(struct mmq_journal *journal, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	uint32_t highest = command->number, of_job = 0;

	for (size_t i = 0; i < journal->grants_count; i++) {
		const struct grant *old = &journal->grants[i];
		if (old->what != command->what || strcmp(old->tenant, command->row.tenant) != 0 || strcmp(old->model, command->row.model) != 0)
			continue;
		highest = old->number > highest ? old->number : highest;
		if (memcmp(old->job, command->row.job, sizeof(old->job)) == 0)
			of_job = old->number > of_job ? old->number : of_job;
	}
	event->number = of_job > command->number ? of_job : highest + 1;
	if (of_job > command->number)
		return;
	if (journal->grants_count == journal->grants_capacity) {
		journal->grants_capacity = journal->grants_capacity * 2 + 16;
		journal->grants = mmq_grow(journal->grants, journal->grants_capacity, sizeof(*journal->grants));
	}
	struct grant *new = &journal->grants[journal->grants_count++];
	memcpy(new->tenant, command->row.tenant, sizeof(new->tenant));
	memcpy(new->model, command->row.model, sizeof(new->model));
	memcpy(new->job, command->row.job, sizeof(new->job));
	new->what = command->what;
	new->number = event->number;
}

static void
meta(struct mmq_journal *journal, const struct mmq_journal_command *command)
{
	size_t at = 0;

	while (at < journal->settings_count && strcmp(journal->settings[at].key, command->key) != 0)
		at++;
	if (at == journal->settings_count) {
		journal->settings = mmq_grow(journal->settings, ++journal->settings_count, sizeof(*journal->settings));
		memcpy(journal->settings[at].key, command->key, sizeof(command->key));
	}
	memcpy(journal->settings[at].value, command->value, sizeof(command->value));
}

static uint64_t
kept_size(const struct mmq_journal_row *row)
{
	return MMQ_KEPT_ROW_BYTES + (row->answer != NULL ? row->answer->size + row->answer->payload_size : 0) +
	    (row->body != NULL ? row->body->size + row->body->payload_size : 0);
}

/* Oldest ends first, as on disk. Rows are few here: one pass per row that goes. */
static void
prune(struct mmq_journal *journal, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	while (event->number < command->number && event->number < MMQ_PRUNE_ROWS_MAX) {
		size_t oldest = journal->rows_count;
		uint64_t kept = 0;
		for (size_t i = 0; i < journal->rows_count; i++) {
			const struct mmq_journal_row *row = journal->rows[i];
			if (row->state == MMQ_JOB_QUEUED || journal_kept_as(row) != (enum mmq_journal_kept)command->what)
				continue;
			kept += kept_size(row);
			if (oldest == journal->rows_count || row->ended_ms < journal->rows[oldest]->ended_ms)
				oldest = i;
		}
		if (oldest == journal->rows_count ||
		    (journal->rows[oldest]->ended_ms >= command->wall_ms && (command->bytes_max == 0 || kept <= command->bytes_max)))
			return;
		row_drop(journal, oldest);
		event->number++;
	}
}

static void
memory_submit(struct mmq_journal *journal, const struct mmq_journal_command *commands, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct mmq_journal_event event = { .verb = commands[i].verb, .ticket = commands[i].ticket };
		switch (commands[i].verb) {
		case MMQ_PUT:
			put(journal, &commands[i], &event);
			break;
		case MMQ_GRANT:
			grant(journal, &commands[i], &event);
			break;
		case MMQ_REVIVE:
		case MMQ_FORGET:
			dead(journal, &commands[i], &event);
			break;
		case MMQ_META:
			meta(journal, &commands[i]);
			break;
		case MMQ_PRUNE:
			prune(journal, &commands[i], &event);
			break;
		default:
			change(journal, &commands[i], &event);
		}
		memory_add_event(journal, &event);
	}
}

/* ---- Opening and closing ----------------------------------------------------------------------------------------- */

static int
memory_open(struct mmq_journal **journal_out, const struct mmq_journal_options *options, struct mmq_journal_info *info_out, struct mmq_err *err)
{
	(void)err;
	*journal_out = mmq_alloc(sizeof(**journal_out));
	(*journal_out)->next = 1;
	*info_out = (struct mmq_journal_info){ .start = 1 };
	memcpy(info_out->id, options->random, sizeof(info_out->id));
	memcpy(info_out->fingerprint_key, options->random + sizeof(info_out->id), sizeof(info_out->fingerprint_key));
	return 0;
}

static void
memory_close(struct mmq_journal **journal_in)
{
	struct mmq_journal *journal = *journal_in;

	if (journal == NULL)
		return;
	for (size_t i = 0; i < journal->events_count; i++)
		journal_release(&journal->events[i]);
	for (size_t i = 0; i < journal->rows_count; i++) {
		drop_body(&journal->rows[i]->body);
		drop_body(&journal->rows[i]->answer);
		free(journal->rows[i]);
	}
	free(journal->rows);
	free(journal->grants);
	free(journal->settings);
	free(journal->events);
	free(journal);
	*journal_in = NULL;
}

static int
memory_fd(const struct mmq_journal *journal)
{
	(void)journal;
	return -1;
}

static size_t
memory_poll(struct mmq_journal *journal, struct mmq_journal_event *events_out, size_t max)
{
	size_t count = journal->events_count < max ? journal->events_count : max;

	if (count == 0)
		return 0;
	memcpy(events_out, journal->events, count * sizeof(*events_out));
	journal->events_count -= count;
	memmove(journal->events, journal->events + count, journal->events_count * sizeof(*events_out));
	return count;
}

static uint64_t
memory_damaged(const struct mmq_journal *journal)
{
	(void)journal;
	return 0;
}

static uint64_t
memory_get_meta(struct mmq_journal *journal, const char *key, char *value_out, size_t value_size)
{
	for (size_t i = 0; i < journal->settings_count; i++) {
		size_t length = strlen(journal->settings[i].value);
		if (strcmp(journal->settings[i].key, key) != 0 || length >= value_size)
			continue;
		memcpy(value_out, journal->settings[i].value, length + 1);
		return length;
	}
	if (value_size > 0)
		value_out[0] = '\0';
	return 0;
}

const struct mmq_journal_ops mmq_journal_memory = {
	.name = "memory",
	.open = memory_open,
	.close = memory_close,
	.fd = memory_fd,
	.submit = memory_submit,
	.read = memory_read,
	.poll = memory_poll,
	.release = journal_release,
	.damaged = memory_damaged,
	.get_meta = memory_get_meta,
};
