/* turns.c: two laws that need a memory of what was handed to whom: within a tenant nobody passes one that has waited longer for its priority,
 * so that none starves; and a request that was there when a worker crashed is tried alone from then on.
 *
 * Both are kept beside the core from what can be seen of it. Where a lease ran out unseen the law looks away rather than guess. */
#include "tests/sim/sim.h"

#include <string.h>

#include "util/mem.h"

enum { AGEING_US = 20000, ALONE_BYTES = 2000 };

/* ---- Whose turn --------------------------------------------------------------------------------------------------- */

/* The larger its priority and the longer it waits, the smaller. */
static int64_t
turn_of(const struct sim *sim, uint32_t record)
{
	return sim->records[record].arrived_us - (int64_t)sim_priority(record) * AGEING_US;
}

/* Plain, small predictions that were never handed out: nothing but their turn decides about these. */
void
sim_turn_waits(struct sim *sim, uint32_t record)
{
	sim->records[record].arrived_us = sim->now_us;
	sim->waiting = mmq_grow(sim->waiting, sim->waiting_count + 1, sizeof *sim->waiting);
	sim->waiting[sim->waiting_count++] = record;
}

bool
sim_turn_forget(struct sim *sim, uint32_t record)
{
	for (size_t i = 0; i < sim->waiting_count; i++)
		if (sim->waiting[i] == record) {
			sim->waiting[i] = sim->waiting[--sim->waiting_count];
			return true;
		}
	return false;
}

static void
turn_check(struct sim *sim, uint32_t record)
{
	if (!sim_turn_forget(sim, record))
		return;
	sim->totals->turns++;
	for (size_t i = 0; i < sim->waiting_count; i++)
		if (sim_is_other_tenant(sim->waiting[i]) == sim_is_other_tenant(record) && turn_of(sim, sim->waiting[i]) < turn_of(sim, record))
			sim_fail(sim, "a request was passed by one whose turn came later", sim->waiting[i]);
}

/* ---- Who goes alone ----------------------------------------------------------------------------------------------- */

void
sim_turn_handed(struct sim *sim, uint64_t route, const struct mmq_core_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct sim_record *record;
		uint32_t named;

		memcpy(&named, items[i].body->bytes, sizeof named);
		record = &sim->records[named];
		if (i == 0)
			turn_check(sim, named);
		else
			sim_turn_forget(sim, named);
		record->handed_route = route;
		record->is_unsure = false;
		if (!record->is_suspect)
			continue;
		sim->totals->alone++;
		if (count != 1)
			sim_fail(sim, "a suspect was not tried alone", named);
	}
}

static struct sim_record *
record_of(struct sim *sim, const struct mmq_lease *lease)
{
	for (size_t i = 0; i < sim->records_count; i++)
		if (sim->records[i].handed_route != 0 && memcmp(&sim->records[i].last, lease, sizeof *lease) == 0)
			return &sim->records[i];
	return NULL;
}

/* The core wants a lease's work no more. */
void
sim_turn_dropped(struct sim *sim, const struct mmq_lease *lease)
{
	struct sim_record *record = record_of(sim, lease);

	if (record != NULL)
		record->handed_route = 0;
}

/* The core knows nobody at this route. */
void
sim_turn_unknown(struct sim *sim, uint64_t route)
{
	for (size_t i = 0; i < sim->records_count; i++)
		if (sim->records[i].handed_route == route)
			sim->records[i].handed_route = 0;
}

/* A worker said hello at a new route: what it may keep went there with it, all else it held before is in the queue again. was 0: it is another
 * process, and what the one before it held is with the core still. */
void
sim_turn_moved(struct sim *sim, const struct sim_worker *worker, uint64_t was)
{
	sim_turn_unknown(sim, was);
	for (size_t i = 0; i < worker->held_count; i++)
		if (memcmp(&sim->records[worker->held[i].record].last, &worker->held[i].lease, sizeof(struct mmq_lease)) == 0)
			sim->records[worker->held[i].record].handed_route = worker->route;
}

static void
after_gone(struct sim *sim, uint64_t route, uint64_t suspects)
{
	uint64_t there = 0;
	bool is_sure = true;

	for (size_t i = 0; i < sim->records_count; i++) {
		const struct sim_record *record = &sim->records[i];
		if (record->handed_route != route)
			continue;
		there += !record->is_suspect;
		is_sure &= !record->is_unsure;
	}
	if (is_sure && suspects > there)
		sim_fail(sim, "one became a suspect that was not there", suspects);
	for (size_t i = 0; i < sim->records_count; i++)
		if (sim->records[i].handed_route == route) {
			sim->records[i].is_suspect |= is_sure && suspects == there;
			sim->records[i].handed_route = 0;
		}
}

static void
after_return(struct sim *sim, const struct mmq_core_event *event, uint64_t lost)
{
	for (size_t i = 0; i < event->held.count; i++) {
		struct sim_record *record = record_of(sim, &event->held.leases[i]);
		if (record == NULL)
			continue;
		if (lost == event->held.count)
			record->handed_route = 0;
		else
			record->is_unsure = true;
	}
}

void
sim_turn_after(struct sim *sim, const struct mmq_core_event *event, const struct mmq_core_status *before, uint32_t answered)
{
	struct mmq_core_status now;

	mmq_core_status(sim->core, &now);
	switch (event->kind) {
	case MMQ_ON_GONE: after_gone(sim, event->route, now.counters.suspects - before->counters.suspects); break;
	case MMQ_ON_RETURN:
	case MMQ_ON_UNSENT: after_return(sim, event, now.counters.leases_lost - before->counters.leases_lost); break;
	case MMQ_ON_RESULT:
		if (now.counters.late_results == before->counters.late_results)
			sim->records[answered].handed_route = 0;
		break;
	default: break;
	}
}

/* A new life of the broker: plain requests went with the old one, and what it suspected it did not write down. */
void
sim_turn_start(struct sim *sim)
{
	sim->waiting_count = 0;
	for (size_t i = 0; i < sim->records_count; i++) {
		sim->records[i].handed_route = 0;
		sim->records[i].is_suspect = sim->records[i].is_unsure = false;
	}
}

bool
sim_turn_is_watched(const struct sim_record *record)
{
	return record->op == MMQ_OP_PREDICT && !record->durable && record->size <= ALONE_BYTES;
}
