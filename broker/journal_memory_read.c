/* journal_memory_read.c: finding, copying and paging rows of the journal in memory; the same answers as the SQL of journal_rows.c. */
#include "broker/journal_memory.h"

#include <stdlib.h>
#include <string.h>

#include "util/mem.h"
#include "work/work.h"

struct mmq_body *
memory_copy_body(const struct mmq_body *body)
{
	return body == NULL ? NULL : journal_body_new(body->bytes, body->size, body->payload, body->payload_size);
}

struct mmq_journal_row
memory_copy_row(const struct mmq_journal_row *row, bool with_body, bool with_answer)
{
	struct mmq_journal_row copy = *row;

	copy.body = with_body ? memory_copy_body(row->body) : NULL;
	copy.answer = with_answer ? memory_copy_body(row->answer) : NULL;
	return copy;
}

struct mmq_journal_row *
memory_find_seq(const struct mmq_journal *journal, uint64_t seq)
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

struct mmq_journal_row *
memory_find_like(const struct mmq_journal *journal, const struct mmq_journal_row *like, bool by_job)
{
	for (size_t i = journal->rows_count; i-- > 0;) {
		struct mmq_journal_row *row = journal->rows[i];
		if (by_job ? memcmp(row->job, like->job, sizeof(row->job)) == 0 && strcmp(row->tenant, like->tenant) == 0 : is_same_id(row, like))
			return row;
	}
	return NULL;
}

void
memory_add_event(struct mmq_journal *journal, const struct mmq_journal_event *event)
{
	if (journal->events_count == journal->events_capacity) {
		journal->events_capacity = journal->events_capacity * 2 + 64;
		journal->events = mmq_grow(journal->events, journal->events_capacity, sizeof(*journal->events));
	}
	journal->events[journal->events_count++] = *event;
}

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
	case MMQ_READ_DEAD:
		return journal_is_dead(row, read->row.strikes) && (read->after == 0 || row->seq < read->after) && strcmp(row->tenant, read->row.tenant) == 0;
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
	static int (*const order[])(const void *, const void *) = { [MMQ_READ_LIST] = compare_seq_down, [MMQ_READ_DEAD] = compare_seq_down, [MMQ_READ_EXPIRED] = compare_deadline,
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
			page->rows[page->count++] = memory_copy_row(found[i], false, is_results);
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

void
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
		row = is_body ? memory_find_seq(journal, read->row.seq) : memory_find_like(journal, &read->row, read->job_is_set);
		if (row != NULL) {
			page->rows = mmq_alloc(sizeof(*page->rows));
			page->rows[page->count++] = memory_copy_row(row, is_body, read->with_answer && !is_body);
		} else if (is_body) {
			page->status = MMQ_JOURNAL_MISSING;
		} else if (read->job_is_set) {
			for (size_t i = 0; i < journal->rows_count; i++)
				page->is_foreign |= memcmp(journal->rows[i]->job, read->row.job, sizeof(read->row.job)) == 0;
		}
	} else {
		read_rows(journal, read, limit, page);
		add_number(journal, read, page);
	}
	event.status = page->status;
	memory_add_event(journal, &event);
}
