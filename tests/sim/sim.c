/* sim.c: moves the simulated world: one schedule of things to come, taken in order of their virtual time. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

uint64_t
sim_random(struct sim *sim, uint64_t below)
{
	uint64_t z = sim->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) % below;
}

bool
sim_chance(struct sim *sim, unsigned per_mille)
{
	return sim_random(sim, 1000) < per_mille;
}

static void
body_release(struct mmq_body *body)
{
	struct sim_body *own = (struct sim_body *)(void *)body;

	own->sim->bodies--;
	free(own);
}

struct sim_body *
sim_body_new(struct sim *sim, uint32_t record, size_t size)
{
	struct sim_body *own = mmq_alloc(sizeof *own + size);

	own->sim = sim;
	memcpy(own->bytes, &record, sizeof record);
	own->body = (struct mmq_body){ .bytes = own->bytes, .size = size, .release = body_release };
	sim->bodies++;
	return own;
}

struct thing *
sim_thing_new(struct sim *sim, enum thing_kind kind, int64_t delay_us)
{
	struct thing *thing = mmq_alloc(sizeof *thing);

	thing->kind = kind;
	core_heap_set(&sim->schedule, &thing->timer, sim->now_us + delay_us);
	return thing;
}

static void
thing_free(struct thing *thing)
{
	free(thing->leases);
	free(thing->commands);
	free(thing);
}

int64_t
sim_wall_ms(const struct sim *sim)
{
	int64_t ms = 1700000000000 + sim->now_us / 1000 + sim->wall_shift_ms;

	return ms < 1 ? 1 : ms;
}

int64_t
sim_net_us(struct sim *sim)
{
	return 20 + (int64_t)sim_random(sim, sim_chance(sim, 20) ? 300000 : 200);
}

static void
broker_start(struct sim *sim)
{
	struct mmq_core_options options = { .now_us = sim->now_us, .wall_ms = sim_wall_ms(sim), .journal = true };
	struct mmq_journal_read count = { .query = MMQ_READ_LANES, .limit = 1000 };
	struct mmq_journal_event event;

	sim->life++;
	sim_turn_start(sim);
	memset(sim->topics, 0, sizeof sim->topics);
	memcpy(options.epoch, &sim->life, sizeof sim->life);
	memcpy(options.run, &sim->seed, sizeof sim->seed);
	options.limits = (struct mmq_core_limits){ .requests_max = 80, .ageing_ms = 20, .heads_lane_max = 4, .lease_ms = 2000, .adoption_ms = 3000,
		.version_strikes_max = 1000000,
		.pack_bytes = 4096, .pack_body_bytes = 600, .alone_bytes = 2000, .body_keep_bytes = 500 };
	mmq_journal_memory.read(sim->journal, &count);
	mmq_journal_memory.poll(sim->journal, &event, 1);
	for (uint32_t i = 0; i < event.page->count; i++)
		options.journal_pending += event.page->numbers[i];
	mmq_journal_memory.release(&event);
	sim->core = mmq_core_new(&options);
	sim_actions_do(sim);
}

static void
journal_do(struct sim *sim, struct thing *thing, bool is_heard)
{
	struct mmq_journal_event event;
	struct mmq_core_event wrapped = { .kind = MMQ_ON_JOURNAL, .journal = &event };

	for (size_t i = 0; i <= thing->commands_count; i++) {
		struct mmq_journal_command *command = &thing->commands[i];
		event = (struct mmq_journal_event){ 0 };
		if (i == thing->commands_count) {
			if (thing->read.ticket == 0)
				return;
			mmq_journal_memory.read(sim->journal, &thing->read);
		} else if (sim->is_broken) { /* an I/O error: it may have been kept or not, and nothing more will be */
			if (sim_chance(sim, 500) && !sim->stop_wanted) {
				mmq_journal_memory.submit(sim->journal, command, 1);
				mmq_journal_memory.poll(sim->journal, &event, 1);
				mmq_journal_memory.release(&event);
			}
			event = (struct mmq_journal_event){ .status = MMQ_JOURNAL_BROKEN, .verb = command->verb, .ticket = command->ticket };
		} else if (sim->full_until_us > sim->now_us && (command->verb == MMQ_PUT || sim_chance(sim, 500))) {
			event.status = MMQ_JOURNAL_FULL;
			event.verb = command->verb;
			event.ticket = command->ticket;
		} else {
			mmq_journal_memory.submit(sim->journal, command, 1);
		}
		if (event.ticket == 0 && mmq_journal_memory.poll(sim->journal, &event, 1) != 1)
			sim_fail(sim, "the journal lost a completion", command->ticket);
		if (is_heard)
			sim_feed(sim, &wrapped);
		mmq_journal_memory.release(&event);
	}
}

static void
body_drop(struct thing *thing)
{
	if (thing->kind == T_EVENT && thing->event.kind == MMQ_ON_RESULT)
		thing->event.result.body->release(thing->event.result.body);
	if (thing->kind == T_EVENT && thing->event.kind == MMQ_ON_PROGRESS)
		thing->event.progress.body->release(thing->event.progress.body);
}

/* Kill -9: what was on its way to the disk may or may not get there, in order; what the disk took stays. */
static void
broker_crash(struct sim *sim)
{
	size_t i = 0;

	sim->batch_count = 0;
	while (i < sim->schedule.count) {
		struct thing *thing = (struct thing *)(void *)sim->schedule.items[i].timer;
		if (thing->kind != T_JOURNAL && !(thing->kind == T_EVENT && thing->life == sim->life)) {
			i++;
			continue;
		}
		core_heap_remove(&sim->schedule, &thing->timer);
		body_drop(thing);
		thing_free(thing);
		i = 0;
	}
	mmq_core_destroy(&sim->core);
	sim->is_broken = sim->stop_wanted = false;
	sim->disk_us = 0;
	broker_start(sim);
}

static void
thing_do(struct sim *sim, struct thing *thing)
{
	struct sim_worker *worker = &sim->workers[thing->worker];
	bool is_void = thing->worker_life != worker->life;

	switch (thing->kind) {
	case T_CLIENT:
		if (sim->requests_left == 0)
			return;
		for (uint64_t burst = 1 + sim_random(sim, 8); burst > 0 && sim->requests_left > 0; burst--, sim->requests_left--)
			sim_client_new(sim);
		sim_thing_new(sim, T_CLIENT, 100 + (int64_t)sim_random(sim, sim_chance(sim, 50) ? 400000 : 4000));
		break;
	case T_EVENT:
		if (thing->event.kind == MMQ_ON_RESULT && sim_worker_at(sim, thing->event.route) == NULL) {
			sim_feed(sim, &thing->event);
			break;
		}
		sim_feed(sim, &thing->event);
		break;
	case T_BEAT:
		if (!is_void && worker->is_alive)
			sim_worker_beat(sim, thing);
		break;
	case T_FINISH:
		if (!is_void && worker->is_alive)
			sim_worker_finish(sim, thing);
		break;
	case T_HELLO:
		if (!is_void)
			sim_worker_hello(sim, worker);
		break;
	case T_WORKER_FAULT:
		if (sim->is_healing)
			return;
		worker = &sim->workers[sim_random(sim, SIM_WORKERS)];
		if (worker->is_alive && sim_chance(sim, 500))
			sim_worker_crash(sim, worker);
		else
			worker->paused_us = sim->now_us + (int64_t)sim_random(sim, 4000000);
		sim_thing_new(sim, T_WORKER_FAULT, (int64_t)sim_random(sim, 3000000));
		break;
	case T_BROKER_CRASH:
		if (sim->is_healing)
			return;
		broker_crash(sim);
		sim_thing_new(sim, T_BROKER_CRASH, 500000 + (int64_t)sim_random(sim, 8000000));
		break;
	case T_FULL:
		if (sim->is_healing)
			return;
		sim->full_until_us = sim->now_us + (int64_t)sim_random(sim, 1000000);
		sim_thing_new(sim, T_FULL, 1000000 + (int64_t)sim_random(sim, 8000000));
		break;
	case T_CLOCK: /* the wall clock is set: by up to an hour, or to 1970 and back */
		if (sim->is_healing)
			return;
		sim->wall_shift_ms = sim_chance(sim, 100) ? -1700000000000 : (int64_t)sim_random(sim, 7200000) - 3600000;
		sim->was_1970 |= sim->wall_shift_ms < -3600000;
		sim_thing_new(sim, T_CLOCK, 500000 + (int64_t)sim_random(sim, 8000000));
		break;
	case T_BROKEN:
		if (sim->is_healing)
			return;
		sim->is_broken = true;
		sim_thing_new(sim, T_BROKEN, 1000000 + (int64_t)sim_random(sim, 12000000));
		break;
	case T_STEP:
		if (!is_void && worker->is_alive)
			sim_worker_step(sim, thing);
		break;
	case T_JOURNAL: journal_do(sim, thing, true); break;
	}
}

static void
step(struct sim *sim)
{
	struct mmq_core_event tick = { .kind = MMQ_ON_TICK };
	int64_t next = mmq_core_next(sim->core);

	if (sim->schedule.count > 0 && sim->schedule.items[0].due < next)
		next = sim->schedule.items[0].due;
	if (next > sim->now_us && next != INT64_MAX)
		sim->now_us = next;
	while (sim->schedule.count > 0 && sim->schedule.items[0].due <= sim->now_us) {
		struct thing *thing = (struct thing *)(void *)sim->schedule.items[0].timer;
		core_heap_remove(&sim->schedule, &thing->timer);
		thing_do(sim, thing);
		thing_free(thing);
	}
	sim_feed(sim, &tick);
	sim_journal_flush(sim, NULL);
	sim_check_limits(sim);
	sim_check_deadlines(sim);
	if (sim->stop_wanted)
		broker_crash(sim);
}

static void
sim_end(struct sim *sim)
{
	while (sim->schedule.count > 0) {
		struct thing *thing = (struct thing *)(void *)sim->schedule.items[0].timer;
		core_heap_remove(&sim->schedule, &thing->timer);
		body_drop(thing);
		thing_free(thing);
	}
	core_heap_fini(&sim->schedule);
	mmq_core_destroy(&sim->core);
	mmq_journal_memory.close(&sim->journal);
	if (sim->bodies != 0)
		sim_fail(sim, "bodies were not given back", sim->bodies);
	free(sim->records);
	free(sim->sends);
	free(sim->batch);
	free(sim->waiting);
}

int
sim_run(uint64_t seed, uint32_t requests, bool is_loud, struct sim_totals *totals)
{
	static struct sim sim;
	struct mmq_journal_options options = { 0 };
	struct mmq_core_status status;
	struct mmq_err err;
	int64_t heal_us;

	memset(&sim, 0, sizeof sim);
	sim.seed = seed;
	sim.totals = totals;
	sim.random = seed * 0x2545f4914f6cdd1du;
	sim.now_us = 1000000;
	sim.requests_left = requests;
	if (mmq_journal_memory.open(&sim.journal, &options, &sim.info, &err) == -1) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	broker_start(&sim);
	for (int i = 0; i < SIM_WORKERS; i++) {
		sim.workers[i].kind = i == SIM_WORKERS - 1 ? MMQ_WORKER_TRAINER : MMQ_WORKER_PREDICTOR;
		sim.workers[i].life = 1;
		sim_hello_later(&sim, &sim.workers[i], 1000 * (i + 1));
	}
	sim_thing_new(&sim, T_CLIENT, 10000);
	sim_thing_new(&sim, T_WORKER_FAULT, 500000);
	if (seed % 4 != 0)
		sim_thing_new(&sim, T_BROKER_CRASH, 700000);
	if (seed % 3 == 0)
		sim_thing_new(&sim, T_FULL, 300000);
	if (seed % 5 < 3)
		sim_thing_new(&sim, T_CLOCK, 400000);
	if (seed % 7 == 0)
		sim_thing_new(&sim, T_BROKEN, 2000000);
	while (sim.requests_left > 0 && sim.failures == 0)
		step(&sim);
	sim.is_healing = true;
	if (sim.is_broken) /* the disk is well again with the next start */
		broker_crash(&sim);
	sim.full_until_us = sim.wall_shift_ms = 0;
	heal_us = sim.now_us + INT64_C(1800000000);
	while (sim.now_us < heal_us && sim.failures == 0 && !sim_is_quiet(&sim))
		step(&sim);
	if (sim.failures == 0)
		sim_check_end(&sim);
	totals->requests += requests;
	totals->sends += sim.sends_count;
	totals->events += sim.events;
	totals->starts += sim.life;
	totals->crashes += sim.crashes;
	mmq_core_status(sim.core, &status);
	if (is_loud)
		printf("seed %llu: %zu sends, %llu events, %.1f s simulated, %u starts, %llu crashes; in the last life %llu redelivered, %llu strikes, "
		    "%llu dead letters, %llu late, %llu adopted\n", (unsigned long long)seed, sim.sends_count, (unsigned long long)sim.events,
		    (double)sim.now_us / 1e6, sim.life, (unsigned long long)sim.crashes, (unsigned long long)status.counters.redelivered,
		    (unsigned long long)status.counters.strikes, (unsigned long long)status.counters.dead_letters,
		    (unsigned long long)status.counters.late_results, (unsigned long long)status.counters.adopted);
	sim_end(&sim);
	return (int)sim.failures;
}
