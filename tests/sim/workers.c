/* workers.c: what workers do: say hello, beat, work, crash, fall silent. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

void
sim_worker_crash(struct sim *sim, struct sim_worker *worker)
{
	/* Only what would have been alone on it counts towards a dead letter. */
	if (worker->held_count == 1)
		sim->records[worker->held[0].record].crashes_alone++;
	if (worker->last_alone != 0 && (worker->held_count != 1 || worker->held[0].record != worker->last_alone - 1))
		sim->records[worker->last_alone - 1].crashes_alone++; /* lost on its way, which nobody can tell from a crash */
	worker->is_alive = worker->is_welcome = false;
	worker->life++;
	worker->held_count = 0;
	sim->crashes++;
	if (sim_chance(sim, 700))
		sim_gone_tell(sim, worker->route);
	sim_hello_later(sim, worker, 1000 + (int64_t)sim_random(sim, 300000));
}

void
sim_worker_hello(struct sim *sim, struct sim_worker *worker)
{
	struct mmq_core_event event = { .kind = MMQ_ON_HELLO, .route = 0 }, catalogue = { .kind = MMQ_ON_CATALOGUE };
	static const uint32_t versions[] = { 1 };
	static const struct mmq_work_alias alias = { "production", 1 };
	struct mmq_work_model models[6];
	static const char *const names[] = { "m0", "m1", "m2" };
	struct mmq_lease held[SIM_HELD];
	struct thing *beat;
	uint64_t left = worker->route;
	bool was_alive = worker->is_alive;

	if (!worker->is_alive) {
		worker->is_alive = true;
		for (int i = 0; i < 16; i++)
			worker->session[i] = (uint8_t)sim_random(sim, 256);
		beat = sim_thing_new(sim, T_BEAT, 500000);
		beat->worker = (uint32_t)(worker - sim->workers);
		beat->worker_life = worker->life;
	}
	worker->route = ++sim->routes;
	if (left != 0 && sim_chance(sim, 100))
		sim_gone_tell(sim, left); /* the old connection's end is noticed late */
	event.route = catalogue.route = worker->route;
	event.hello.kind = worker->kind;
	memcpy(event.hello.session, worker->session, 16);
	event.hello.window[worker->kind == MMQ_WORKER_PREDICTOR ? MMQ_WORK_PREDICT : MMQ_WORK_TRAIN] = worker->kind == MMQ_WORKER_PREDICTOR ? 16 : 1;
	if (worker->kind == MMQ_WORKER_TRAINER)
		event.hello.window[MMQ_WORK_STORE] = 8;
	for (size_t i = 0; i < worker->held_count; i++)
		held[i] = worker->held[i].lease;
	event.hello.held = held;
	event.hello.held_count = worker->held_count;
	sim_feed(sim, &event);
	sim_turn_moved(sim, worker, was_alive ? left : 0);
	for (int i = 0; i < 6; i++)
		models[i] = (struct mmq_work_model){ i < 3 ? "default" : "other", names[i % 3], versions, 1, &alias, 1, 1 };
	catalogue.catalogue.models = models;
	catalogue.catalogue.count = 6;
	catalogue.catalogue.full = true;
	sim_feed(sim, &catalogue);
}

void
sim_worker_beat(struct sim *sim, struct thing *was)
{
	struct sim_worker *worker = &sim->workers[was->worker];
	struct thing *message, *next;

	next = sim_thing_new(sim, T_BEAT, 500000);
	next->worker = was->worker;
	next->worker_life = was->worker_life;
	if (worker->paused_us > sim->now_us || sim_chance(sim, 20))
		return;
	message = sim_worker_message(sim, worker, MMQ_ON_HEARTBEAT);
	message->event.held.n = ++worker->beat;
	message->leases = mmq_array(worker->held_count + 1, sizeof *message->leases);
	for (size_t i = 0; i < worker->held_count; i++)
		message->leases[i] = worker->held[i].lease;
	message->event.held.leases = message->leases;
	message->event.held.count = worker->held_count;
}

void
sim_worker_step(struct sim *sim, struct thing *was)
{
	struct sim_worker *worker = &sim->workers[was->worker];
	const struct mmq_lease *lease = &was->event.result.lease;
	uint64_t dice = sim_random(sim, 100);
	struct thing *message;
	size_t at = 0;

	while (at < worker->held_count && memcmp(&worker->held[at].lease, lease, sizeof *lease) != 0)
		at++;
	if (at == worker->held_count || worker->paused_us > sim->now_us)
		return;
	if (dice < 5) {
		message = sim_worker_message(sim, worker, MMQ_ON_RETURN);
		message->leases = mmq_array(1, sizeof *message->leases);
		message->leases[0] = *lease;
		message->event.held.leases = message->leases;
		message->event.held.count = 1;
		sim_held_forget(worker, lease);
		return;
	}
	message = sim_worker_message(sim, worker, dice < 40 ? MMQ_ON_PROGRESS : MMQ_ON_GRANT);
	if (dice < 40) {
		message->event.progress.lease = *lease;
		message->event.progress.checkpoint = ++worker->beat;
		message->event.progress.body = &sim_body_new(sim, was->record, 16)->body;
	} else {
		message->event.grant.lease = *lease;
		message->event.grant.what = dice < 80 && sim->records[was->record].op == MMQ_OP_TRAIN ? MMQ_GRANT_VERSION : MMQ_GRANT_ALIAS;
		worker->record_granted = was->record + 1;
	}
	sim_step_later(sim, worker, lease, was->record);
}

void
sim_worker_finish(struct sim *sim, struct thing *was)
{
	struct sim_worker *worker = &sim->workers[was->worker];
	struct sim_body *answer;
	struct thing *message;
	bool is_held = false;

	for (size_t i = 0; i < worker->held_count; i++)
		is_held |= memcmp(&worker->held[i].lease, &was->event.result.lease, sizeof(struct mmq_lease)) == 0;
	if (!is_held)
		return;
	if (worker->paused_us > sim->now_us) {
		message = sim_thing_new(sim, T_FINISH, worker->paused_us - sim->now_us + 1000);
		message->worker = was->worker;
		message->worker_life = was->worker_life;
		message->event = was->event;
		message->record = was->record;
		return;
	}
	if (sim->records[was->record].poison) {
		sim_worker_crash(sim, worker);
		return;
	}
	sim_held_forget(worker, &was->event.result.lease);
	if (sim_chance(sim, sim->is_healing ? 0 : 5))
		return; /* the answer is lost: the lease runs out */
	for (int copies = sim_chance(sim, 10) ? 2 : 1; copies > 0; copies--) {
		message = sim_worker_message(sim, worker, MMQ_ON_RESULT);
		message->event.result.lease = was->event.result.lease;
		message->event.result.result = (struct mmq_work_result){ .code = MMQ_OK, .rows = 1, .service_us = 50, .version = 1 };
		answer = sim_body_new(sim, was->record, 32);
		memcpy(answer->bytes + 8, &was->event.result.lease, sizeof(struct mmq_lease));
		message->event.result.body = &answer->body;
	}
}
