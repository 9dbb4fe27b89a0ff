/* check.c: the laws that hold whatever happens in the simulated world. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

#include "util/hash.h"

void
sim_fail(struct sim *sim, const char *law, uint64_t number)
{
	if (sim->failures++ < 5)
		fprintf(stderr, "seed %llu at %lld us: %s (%llu)\n", (unsigned long long)sim->seed, (long long)sim->now_us, law,
		    (unsigned long long)number);
}

static bool
lease_is(const struct mmq_lease *a, const struct mmq_lease *b)
{
	return a->delivery == b->delivery && memcmp(a->epoch, b->epoch, sizeof a->epoch) == 0;
}

/* An answer that a worker computed comes from the last lease of that request. */
static void
check_body(struct sim *sim, const struct mmq_body *body, uint32_t record)
{
	struct mmq_lease lease;
	uint32_t named;

	memcpy(&named, body->bytes, sizeof named);
	memcpy(&lease, body->bytes + 8, sizeof lease);
	if (named != record)
		sim_fail(sim, "an answer reached another request", record);
	if (!lease_is(&lease, &sim->records[record].last))
		sim_fail(sim, "a stale lease's result was published", record);
}

/* Accepted is what was not turned away before anything else happened; it ends in exactly one of four ways. */
static void
check_end_kind(struct sim *sim, const struct mmq_core_answer *answer, const struct sim_send *send, const struct sim_record *record)
{
	enum mmq_code code = answer->form == MMQ_ANSWER_ERROR ? answer->err->code : MMQ_OK;

	if (send->op != record->op)
		return; /* a question about it, or its cancel */
	if (!send->is_accepted && code != MMQ_OK && code != MMQ_INTERNAL && code != MMQ_CANCELLED && code != MMQ_DEADLINE_EXCEEDED) {
		sim->totals->refused++;
		return;
	}
	switch (code) {
	case MMQ_OK: sim->totals->ended.answered++; break;
	case MMQ_INTERNAL: sim->totals->ended.dead++; break;
	case MMQ_CANCELLED: sim->totals->ended.cancelled++; break;
	case MMQ_DEADLINE_EXCEEDED: sim->totals->ended.expired++; break;
	default: sim_fail(sim, "an accepted request was neither answered nor a dead letter, cancelled or expired", send->record);
	}
}

void
sim_check_answer(struct sim *sim, const struct mmq_core_answer *answer)
{
	struct sim_send *send;
	struct sim_record *record;

	if (answer->tag >= sim->sends_count) {
		sim_fail(sim, "an answer to nobody", answer->tag);
		return;
	}
	send = &sim->sends[answer->tag];
	record = &sim->records[send->record];
	if (send->due_us != 0 && answer->form == MMQ_ANSWER_ERROR && answer->err->code == MMQ_DEADLINE_EXCEEDED && sim->now_us < send->due_us)
		sim_fail(sim, "a deadline fell due too early", answer->tag);
	if (++send->answers > 1)
		sim_fail(sim, "a second answer to one request", answer->tag);
	if (send->life != sim->life)
		sim_fail(sim, "an answer across lives of the broker", answer->tag);
	if (answer->form == MMQ_ANSWER_ACCEPTED || answer->form == MMQ_ANSWER_SEQ)
		record->accepted = true;
	if (answer->form == MMQ_ANSWER_ACCEPTED) {
		memcpy(record->job, answer->job->job, sizeof record->job);
		record->has_job = true;
	}
	check_end_kind(sim, answer, send, record);
	sim_turn_forget(sim, send->record);
	if (answer->form == MMQ_ANSWER_BODY)
		check_body(sim, answer->body, send->record);
	if (answer->form == MMQ_ANSWER_ERROR && answer->err->code == MMQ_INTERNAL && record->crashes_alone < 3)
		sim_fail(sim, "a dead letter without three crashes alone", send->record);
}

void
sim_check_publish(struct sim *sim, const struct mmq_core_publish *publish)
{
	size_t at = mmq_murmur3_32(publish->topic, strlen(publish->topic), 0) % SIM_TOPICS, tries = 0;

	while (sim->topics[at].name[0] != '\0' && strcmp(sim->topics[at].name, publish->topic) != 0 && tries++ < SIM_TOPICS)
		at = (at + 1) % SIM_TOPICS;
	if (sim->topics[at].name[0] == '\0')
		snprintf(sim->topics[at].name, sizeof sim->topics[at].name, "%s", publish->topic);
	if (publish->n != ++sim->topics[at].n)
		sim_fail(sim, "n has a gap", publish->n);
	if (publish->seq == 0 && publish->form == MMQ_PUBLISH_JOB && publish->job->state >= MMQ_JOB_DONE)
		sim_fail(sim, "an end was published before its commit", publish->n);
}

/* Small and large ones never exceed a frame. */
void
sim_check_work(struct sim *sim, const struct mmq_core_item *items, size_t count)
{
	size_t bytes = 0;

	for (size_t i = 0; i < count; i++) {
		bytes += items[i].body->size;
		if (count > 1 && items[i].body->size > 600)
			sim_fail(sim, "a large request shares a frame", items[i].delivery);
		if (items[i].ms_left == 0)
			sim_fail(sim, "work without time left", items[i].delivery);
		if (i > 0 && (items[i].version != items[0].version || strcmp(items[i].model, items[0].model) != 0))
			sim_fail(sim, "one frame mixes models", items[i].delivery);
	}
	if (count > 64 || (count > 1 && bytes > 4096))
		sim_fail(sim, "a frame of work is too large", bytes);
}

/* One number per job and model, told only to who holds the job now. */
void
sim_check_granted(struct sim *sim, const struct mmq_core_action *action, uint32_t record)
{
	struct sim_record *own = &sim->records[record];
	uint32_t *owner;

	if (action->grant.code != MMQ_OK || action->grant.lease.delivery != own->last.delivery || action->grant.what != MMQ_GRANT_VERSION)
		return;
	if (!lease_is(&action->grant.lease, &own->last))
		sim_fail(sim, "a number was granted under a stale lease", record);
	if (own->number != 0 && own->number != action->grant.number)
		sim_fail(sim, "one job was granted two numbers", record);
	own->number = action->grant.number;
	owner = &sim->numbers[record % 3][action->grant.number % 4096];
	if (*owner != 0 && *owner != record + 1 && sim->records[*owner - 1].number == action->grant.number)
		sim_fail(sim, "two jobs were granted one number", record);
	*owner = record + 1;
}

/* Plain deadlines are answered when they fall due, whatever the wall clock says. Looks at the newest sends only: older ones had their turn. */
void
sim_check_deadlines(struct sim *sim)
{
	size_t from = sim->sends_count > 64 ? sim->sends_count - 64 : 0;

	for (size_t i = from; i < sim->sends_count; i++)
		if (sim->sends[i].due_us != 0 && sim->sends[i].life == sim->life && sim->sends[i].answers == 0 && sim->now_us > sim->sends[i].due_us)
			sim_fail(sim, "a deadline was not answered in time", i);
}

void
sim_check_limits(struct sim *sim)
{
	const struct mmq_core_limits *limits = mmq_core_limits(sim->core);
	struct mmq_core_status status;

	mmq_core_status(sim->core, &status);
	/* What the journal holds comes back over the limit by at most the heads of each lane. */
	if (status.waiting + status.leased > limits->requests_max + (uint64_t)status.lanes * limits->heads_lane_max)
		sim_fail(sim, "more requests in memory than the limit", status.waiting + status.leased);
}

/* Nothing is owed to anyone. */
bool
sim_is_quiet(struct sim *sim)
{
	struct mmq_core_status status;

	mmq_core_status(sim->core, &status);
	for (size_t i = 0; i < sim->sends_count; i++)
		if (sim->sends[i].life == sim->life && sim->sends[i].answers == 0)
			return false;
	return status.waiting == 0 && status.leased == 0 && status.durable == 0 && status.journal_inflight == 0 && sim->batch_count == 0;
}

static void
check_row(struct sim *sim, size_t index)
{
	struct mmq_journal_read read = { .query = MMQ_READ_FIND, .job_is_set = true, .with_answer = true };
	struct mmq_journal_event event;

	memcpy(read.row.tenant, "default", 8);
	memcpy(read.row.job, sim->records[index].job, 16);
	mmq_journal_memory.read(sim->journal, &read);
	bool polled = mmq_journal_memory.poll(sim->journal, &event, 1) == 1;
	if (!polled || (event.page->count != 1 && !sim->was_1970)) /* what was made in 1970 is past its retention */
		sim_fail(sim, "an accepted job is not in the journal", index);
	else if (event.page->count == 1 && event.page->rows[0].result_seq == 0)
		sim_fail(sim, "an accepted job has no outcome", index);
	else if (event.page->count == 1 && event.page->rows[0].code == MMQ_INTERNAL && sim->records[index].crashes_alone < 3)
		sim_fail(sim, "a job's dead letter without three crashes alone", index);
	mmq_journal_memory.release(&event);
}

void
sim_check_end(struct sim *sim)
{
	struct mmq_core_status status;

	mmq_core_status(sim->core, &status);
	for (size_t i = 0; i < sim->sends_count; i++)
		if (sim->sends[i].life == sim->life && sim->sends[i].answers != 1)
			sim_fail(sim, "a request was never answered", i);
	for (size_t i = 0; i < sim->records_count; i++)
		if (sim->records[i].has_job)
			check_row(sim, i);
	if (status.waiting != 0 || status.leased != 0 || status.durable != 0 || status.journal_inflight != 0)
		sim_fail(sim, "work is left over at the end", status.durable);
	if (status.bytes != 0)
		sim_fail(sim, "bytes are still accounted for at the end", status.bytes);
}
