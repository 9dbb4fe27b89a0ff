/* journal_memory.c: the journal's contract without a disk: for the simulator, tests and trials. Every command is done when submit
 * returns and its completion waits for poll; nothing survives close. Rows lie in one array in the order of seq. */
#include <stdlib.h>
#include <string.h>

#include "broker/journal_inner.h"
#include "util/mem.h"
#include "work/work.h"

struct grant {
	char tenant[MMQ_JOURNAL_TEXT], model[MMQ_JOURNAL_TEXT];
	uint8_t what, job[16];
	uint32_t number;
};

struct setting {
	char key[32], value[96];
};

struct mmq_journal {
	struct mmq_journal_row **rows;
	size_t rows_count, rows_capacity;
	struct grant *grants;
	size_t grants_count, grants_capacity;
	struct setting *settings;
	size_t settings_count;
	struct mmq_journal_event *events;
	size_t events_count, events_capacity;
	uint64_t next;
};

static struct mmq_body *
copy_body(const struct mmq_body *body)
{
	return body == NULL ? NULL : journal_body_new(body->bytes, body->size, body->payload, body->payload_size);
}

static void
drop_body(struct mmq_body **body)
{
	if (*body != NULL)
		(*body)->release(*body);
	*body = NULL;
}

/* A row as a read gives it: bodies only where asked for. */
static struct mmq_journal_row
copy_row(const struct mmq_journal_row *row, bool with_body, bool with_answer)
{
	struct mmq_journal_row copy = *row;

	copy.body = with_body ? copy_body(row->body) : NULL;
	copy.answer = with_answer ? copy_body(row->answer) : NULL;
	return copy;
}

static struct mmq_journal_row *
find_seq(const struct mmq_journal *journal, uint64_t seq)
{
	size_t low = 0, high = journal->rows_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (journal->rows[middle]->seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low < journal->rows_count && journal->rows[low]->seq == seq ? journal->rows[low] : NULL;
}

static bool
is_same_id(const struct mmq_journal_row *a, const struct mmq_journal_row *b)
{
	return a->id_size > 0 && a->id_size == b->id_size && a->id_is_binary == b->id_is_binary && memcmp(a->id, b->id, a->id_size) == 0 &&
	    strcmp(a->tenant, b->tenant) == 0;
}

static struct mmq_journal_row *
find_like(const struct mmq_journal *journal, const struct mmq_journal_row *like, bool by_job)
{
	for (size_t i = journal->rows_count; i-- > 0;) {
		struct mmq_journal_row *row = journal->rows[i];
		if (by_job ? memcmp(row->job, like->job, sizeof(row->job)) == 0 && strcmp(row->tenant, like->tenant) == 0 : is_same_id(row, like))
			return row;
	}
	return NULL;
}

/* ---- Commands ---------------------------------------------------------------------------------------------------- */

static void
put(struct mmq_journal *journal, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	const struct mmq_journal_row *old = find_like(journal, &command->row, false);

	if (old != NULL) {
		event->status = MMQ_JOURNAL_EXISTS;
		event->found = mmq_alloc(sizeof(*event->found));
		*event->found = copy_row(old, false, true);
		return;
	}
	struct mmq_journal_row *row = mmq_alloc(sizeof(*row));
	*row = command->row;
	row->seq = event->seq = journal->next++;
	row->body = copy_body(command->body);
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
	struct mmq_journal_row *row = find_seq(journal, command->row.seq);
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
	row->answer = copy_body(command->body);
	if (!row->keep)
		drop_body(&row->body);
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

/* Oldest ends first, as on disk. Rows are few here: one pass per row that goes. */
static void
prune(struct mmq_journal *journal, const struct mmq_journal_command *command, struct mmq_journal_event *event)
{
	for (; event->number < command->number; event->number++) {
		size_t oldest = journal->rows_count;
		for (size_t i = 0; i < journal->rows_count; i++) {
			const struct mmq_journal_row *row = journal->rows[i];
			if (row->state != MMQ_JOB_QUEUED && row->ended_ms < command->wall_ms &&
			    (oldest == journal->rows_count || row->ended_ms < journal->rows[oldest]->ended_ms))
				oldest = i;
		}
		if (oldest == journal->rows_count)
			return;
		drop_body(&journal->rows[oldest]->body);
		drop_body(&journal->rows[oldest]->answer);
		free(journal->rows[oldest]);
		journal->rows_count--;
		memmove(journal->rows + oldest, journal->rows + oldest + 1, (journal->rows_count - oldest) * sizeof(*journal->rows));
	}
}

static void
add_event(struct mmq_journal *journal, const struct mmq_journal_event *event)
{
	if (journal->events_count == journal->events_capacity) {
		journal->events_capacity = journal->events_capacity * 2 + 64;
		journal->events = mmq_grow(journal->events, journal->events_capacity, sizeof(*journal->events));
	}
	journal->events[journal->events_count++] = *event;
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
		case MMQ_META:
			meta(journal, &commands[i]);
			break;
		case MMQ_PRUNE:
			prune(journal, &commands[i], &event);
			break;
		default:
			change(journal, &commands[i], &event);
		}
		add_event(journal, &event);
	}
}

/* ---- Reads ------------------------------------------------------------------------------------------------------- */

static bool
is_same_lane(const struct mmq_journal_row *a, const struct mmq_journal_row *b)
{
	return a->kind == b->kind && a->priority == b->priority && a->version == b->version && strcmp(a->tenant, b->tenant) == 0 &&
	    strcmp(a->model, b->model) == 0;
}

static int
compare_lanes(const void *a_in, const void *b_in)
{
	const struct mmq_journal_row *a = a_in, *b = b_in;
	int order = strcmp(a->tenant, b->tenant);

	if (order == 0)
		order = a->kind - b->kind;
	if (order == 0)
		order = a->priority - b->priority;
	if (order == 0)
		order = strcmp(a->model, b->model);
	return order != 0 ? order : (a->version > b->version) - (a->version < b->version);
}

/* One row per lane in the order of its key; row.result_seq carries the count while they are sorted. */
static void
read_lanes(const struct mmq_journal *journal, const struct mmq_journal_read *read, uint32_t limit, struct mmq_journal_page *page)
{
	struct mmq_journal_row *lanes = mmq_array(journal->rows_count + 1, sizeof(*lanes));
	size_t count = 0;

	for (size_t i = 0; i < journal->rows_count; i++) {
		const struct mmq_journal_row *row = journal->rows[i];
		size_t at = 0;
		if (row->state != MMQ_JOB_QUEUED)
			continue;
		while (at < count && !is_same_lane(&lanes[at], row))
			at++;
		if (at == count) {
			memset(&lanes[count], 0, sizeof(lanes[count]));
			memcpy(lanes[count].tenant, row->tenant, sizeof(row->tenant));
			memcpy(lanes[count].model, row->model, sizeof(row->model));
			lanes[count].kind = row->kind;
			lanes[count].priority = row->priority;
			lanes[count].version = row->version;
			lanes[count++].seq = row->seq;
		}
		lanes[at].result_seq++;
	}
	qsort(lanes, count, sizeof(*lanes), compare_lanes);
	size_t from = read->after < count ? (size_t)read->after : count;
	page->count = count - from > limit ? limit : (uint32_t)(count - from);
	page->more = count - from > limit;
	page->rows = mmq_array(page->count + 1u, sizeof(*page->rows));
	page->numbers = mmq_array(page->count + 1u, sizeof(*page->numbers));
	for (uint32_t i = 0; i < page->count; i++) {
		page->rows[i] = lanes[from + i];
		page->numbers[i] = (uint32_t)page->rows[i].result_seq;
		page->rows[i].result_seq = 0;
	}
	free(lanes);
}

static bool
is_wanted(const struct mmq_journal_read *read, const struct mmq_journal_row *row)
{
	bool is_open = row->state == MMQ_JOB_QUEUED;
	int state = read->state == MMQ_JOB_RUNNING ? MMQ_JOB_QUEUED : read->state;

	switch (read->query) {
	case MMQ_READ_HEADS:
		return is_open && row->seq > read->after && is_same_lane(row, &read->row);
	case MMQ_READ_LIST:
		return row->kind == MMQ_WORK_TRAIN && (read->after == 0 || row->seq < read->after) && (state < 0 || (int)row->state == state) &&
		    strcmp(row->tenant, read->row.tenant) == 0 && (read->row.model[0] == '\0' || strcmp(row->model, read->row.model) == 0);
	case MMQ_READ_EXPIRED:
		return is_open && row->deadline_ms > 0 && row->deadline_ms <= read->wall_ms;
	case MMQ_READ_RESULTS:
		return !is_open && row->topic[0] != '\0' && row->result_seq > read->after && strcmp(row->tenant, read->row.tenant) == 0 &&
		    strncmp(row->topic, read->prefix, strlen(read->prefix)) == 0;
	default:
		return false;
	}
}

static int
compare_seq_down(const void *a, const void *b)
{
	uint64_t left = (*(struct mmq_journal_row *const *)a)->seq, right = (*(struct mmq_journal_row *const *)b)->seq;

	return (left < right) - (left > right);
}

static int
compare_deadline(const void *a, const void *b)
{
	int64_t left = (*(struct mmq_journal_row *const *)a)->deadline_ms, right = (*(struct mmq_journal_row *const *)b)->deadline_ms;

	return (left > right) - (left < right);
}

static int
compare_result(const void *a, const void *b)
{
	uint64_t left = (*(struct mmq_journal_row *const *)a)->result_seq, right = (*(struct mmq_journal_row *const *)b)->result_seq;

	return (left > right) - (left < right);
}

static void
read_rows(const struct mmq_journal *journal, const struct mmq_journal_read *read, uint32_t limit, struct mmq_journal_page *page)
{
	static int (*const order[])(const void *, const void *) = { [MMQ_READ_LIST] = compare_seq_down, [MMQ_READ_EXPIRED] = compare_deadline,
		[MMQ_READ_RESULTS] = compare_result };
	struct mmq_journal_row **found = mmq_array(journal->rows_count + 1, sizeof(*found));
	size_t count = 0;
	uint64_t bytes = 0;

	for (size_t i = 0; i < journal->rows_count; i++)
		if (is_wanted(read, journal->rows[i]))
			found[count++] = journal->rows[i];
	if (read->query != MMQ_READ_HEADS)
		qsort(found, count, sizeof(*found), order[read->query]);
	page->rows = mmq_array((count < limit ? count : limit) + 1, sizeof(*page->rows));
	for (size_t i = 0; i < count && !page->more; i++) {
		bool is_results = read->query == MMQ_READ_RESULTS;
		bytes += is_results && found[i]->answer != NULL ? found[i]->answer->size : 0;
		page->more = i == limit || (is_results && i > 0 && read->bytes_max > 0 && bytes > read->bytes_max);
		if (!page->more)
			page->rows[page->count++] = copy_row(found[i], false, is_results);
	}
	free(found);
}

/* The one number that goes with a page. */
static void
add_number(const struct mmq_journal *journal, const struct mmq_journal_read *read, struct mmq_journal_page *page)
{
	for (size_t i = 0; i < journal->rows_count; i++) {
		const struct mmq_journal_row *row = journal->rows[i];
		if (read->query == MMQ_READ_EXPIRED && row->state == MMQ_JOB_QUEUED && row->deadline_ms > read->wall_ms && row->deadline_ms > 0 &&
		    (page->next_ms == 0 || row->deadline_ms < page->next_ms))
			page->next_ms = row->deadline_ms;
		if (read->query == MMQ_READ_RESULTS && row->topic[0] != '\0' && strcmp(row->tenant, read->row.tenant) == 0 &&
		    (page->oldest == 0 || row->result_seq < page->oldest))
			page->oldest = row->result_seq;
	}
}

static void
memory_read(struct mmq_journal *journal, const struct mmq_journal_read *read)
{
	struct mmq_journal_page *page = mmq_alloc(sizeof(*page));
	struct mmq_journal_event event = { .is_page = true, .ticket = read->ticket, .page = page };
	uint32_t limit = journal_page_limit(read);
	const struct mmq_journal_row *row = NULL;

	page->query = read->query;
	page->ticket = read->ticket;
	if (read->query == MMQ_READ_LANES) {
		read_lanes(journal, read, limit, page);
	} else if (read->query == MMQ_READ_BODY || read->query == MMQ_READ_FIND) {
		bool is_body = read->query == MMQ_READ_BODY;
		row = is_body ? find_seq(journal, read->row.seq) : find_like(journal, &read->row, read->job_is_set);
		if (row != NULL) {
			page->rows = mmq_alloc(sizeof(*page->rows));
			page->rows[page->count++] = copy_row(row, is_body, read->with_answer && !is_body);
		} else if (is_body) {
			page->status = MMQ_JOURNAL_MISSING;
		}
	} else {
		read_rows(journal, read, limit, page);
		add_number(journal, read, page);
	}
	event.status = page->status;
	add_event(journal, &event);
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
