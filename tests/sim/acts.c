/* acts.c: carries out what the core wants: answers are checked, work reaches workers over a bad network, commands wait for the disk. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

struct sim_worker *
sim_worker_at(struct sim *sim, uint64_t route)
{
	for (int i = 0; i < SIM_WORKERS; i++)
		if (sim->workers[i].route == route)
			return &sim->workers[i];
	return NULL;
}

struct thing *
sim_worker_message(struct sim *sim, struct sim_worker *worker, enum mmq_event_kind kind)
{
	struct thing *thing = sim_thing_new(sim, T_EVENT, sim_net_us(sim));

	thing->life = sim->life;
	thing->event.kind = kind;
	thing->event.route = worker->route;
	return thing;
}

void
sim_gone_tell(struct sim *sim, uint64_t route)
{
	struct thing *thing = sim_thing_new(sim, T_EVENT, 10);

	thing->life = sim->life;
	thing->event.kind = MMQ_ON_GONE;
	thing->event.route = route;
}

/* The send itself failed: the worker never saw these. */
static void
unsent_tell(struct sim *sim, const struct mmq_core_action *action)
{
	struct thing *thing = sim_thing_new(sim, T_EVENT, 5);

	thing->life = sim->life;
	thing->event.kind = MMQ_ON_UNSENT;
	thing->event.route = action->route;
	thing->leases = mmq_array(action->work.count, sizeof *thing->leases);
	for (size_t i = 0; i < action->work.count; i++) {
		memcpy(thing->leases[i].epoch, &sim->life, sizeof sim->life);
		thing->leases[i].delivery = action->work.items[i].delivery;
	}
	thing->event.held.leases = thing->leases;
	thing->event.held.count = action->work.count;
}

void
sim_hello_later(struct sim *sim, struct sim_worker *worker, int64_t delay_us)
{
	struct thing *thing = sim_thing_new(sim, T_HELLO, delay_us);

	thing->worker = (uint32_t)(worker - sim->workers);
	thing->worker_life = worker->life;
}

/* Between taking a training and finishing it: progress, numbers for the version and the alias; sometimes it is handed back. */
void
sim_step_later(struct sim *sim, struct sim_worker *worker, const struct mmq_lease *lease, uint32_t record)
{
	struct thing *thing = sim_thing_new(sim, T_STEP, (int64_t)sim_random(sim, 2000000));

	thing->worker = (uint32_t)(worker - sim->workers);
	thing->worker_life = worker->life;
	thing->event.result.lease = *lease;
	thing->record = record;
}

static void
work_take(struct sim *sim, const struct mmq_core_action *action)
{
	struct sim_worker *worker = sim_worker_at(sim, action->route);

	sim_check_work(sim, action->work.items, action->work.count);
	sim_turn_handed(sim, action->route, action->work.items, action->work.count);
	if (worker == NULL || !worker->is_alive) {
		unsent_tell(sim, action);
		sim_gone_tell(sim, action->route);
	} else {
		memcpy(&worker->last_alone, action->work.items[0].body->bytes, sizeof worker->last_alone);
		worker->last_alone = action->work.count == 1 ? worker->last_alone + 1 : 0;
	}
	for (size_t i = 0; i < action->work.count; i++) {
		const struct mmq_core_item *item = &action->work.items[i];
		uint32_t record;
		struct mmq_lease lease = { .delivery = item->delivery };
		struct thing *finish;
		memcpy(&record, item->body->bytes, sizeof record);
		memcpy(lease.epoch, &sim->life, sizeof sim->life);
		sim->records[record].last = lease;
		if (worker == NULL || !worker->is_alive || sim_chance(sim, sim->is_healing ? 0 : 5) || worker->held_count == SIM_HELD)
			continue; /* lost on the way */
		worker->held[worker->held_count++] = (struct sim_held){ lease, record, 0, (uint8_t)item->kind };
		finish = sim_thing_new(sim, T_FINISH, 100 + (int64_t)sim_random(sim, item->kind == MMQ_WORK_TRAIN ? 8000000 : 2000));
		finish->worker = (uint32_t)(worker - sim->workers);
		finish->worker_life = worker->life;
		finish->event.result.lease = lease;
		finish->record = record;
		if (item->kind != MMQ_WORK_PREDICT)
			sim_step_later(sim, worker, &lease, record);
	}
}

void
sim_held_forget(struct sim_worker *worker, const struct mmq_lease *lease)
{
	for (size_t i = 0; i < worker->held_count; i++)
		if (memcmp(&worker->held[i].lease, lease, sizeof *lease) == 0)
			worker->held[i--] = worker->held[--worker->held_count];
}

static void
welcome_take(struct sim *sim, const struct mmq_core_action *action)
{
	struct sim_worker *worker = sim_worker_at(sim, action->route);
	size_t count = 0;

	if (worker == NULL || !worker->is_alive)
		return;
	worker->is_welcome = true;
	for (size_t i = 0; i < worker->held_count; i++)
		for (size_t j = 0; j < action->welcome.count; j++)
			if (memcmp(&worker->held[i].lease, &action->welcome.keep[j], sizeof(struct mmq_lease)) == 0) {
				worker->held[count++] = worker->held[i];
				break;
			}
	worker->held_count = count;
}

void
sim_journal_flush(struct sim *sim, const struct mmq_journal_read *read)
{
	struct thing *thing;
	int64_t due = sim->now_us + 50 + (int64_t)sim_random(sim, sim_chance(sim, 50) ? 200000 : 3000);

	if (sim->batch_count == 0 && read == NULL)
		return;
	sim->disk_us = due > sim->disk_us ? due : sim->disk_us + 1;
	thing = sim_thing_new(sim, T_JOURNAL, sim->disk_us - sim->now_us);
	thing->life = sim->life;
	thing->commands = mmq_array(sim->batch_count + 1, sizeof *thing->commands);
	if (sim->batch_count > 0)
		memcpy(thing->commands, sim->batch, sim->batch_count * sizeof *sim->batch);
	thing->commands_count = sim->batch_count;
	if (read != NULL)
		thing->read = *read;
	sim->batch_count = 0;
}

static void
loaded_tell(struct sim *sim, struct sim_worker *worker, const void *load)
{
	const struct { const char *tenant, *model; uint32_t version; } *of = load;
	static const char *const names[] = { "m0", "m1", "m2" };
	struct thing *message = sim_worker_message(sim, worker, MMQ_ON_LOADED);

	message->event.loaded.tenant = of->tenant[0] == 'o' ? "other" : "default";
	message->event.loaded.model = names[(unsigned)(of->model[1] - '0') % 3];
	message->event.loaded.version = of->version;
	message->event.loaded.code = MMQ_OK;
}

void
sim_actions_do(struct sim *sim)
{
	const struct mmq_core_action *action;
	struct sim_worker *worker;

	while ((action = mmq_core_next_action(sim->core)) != NULL) {
		switch (action->kind) {
		case MMQ_DO_ANSWER: sim_check_answer(sim, &action->answer); break;
		case MMQ_DO_WORK: work_take(sim, action); break;
		case MMQ_DO_WELCOME: welcome_take(sim, action); break;
		case MMQ_DO_CANCEL_WORK:
			worker = sim_worker_at(sim, action->route);
			sim_turn_dropped(sim, &action->cancel.lease);
			if (worker != NULL && !sim_chance(sim, 300))
				sim_held_forget(worker, &action->cancel.lease);
			break;
		case MMQ_DO_ECHO:
			worker = sim_worker_at(sim, action->route);
			if (worker == NULL || !worker->is_alive)
				sim_gone_tell(sim, action->route);
			break;
		case MMQ_DO_WHO:
		case MMQ_DO_BYE:
			sim_turn_unknown(sim, action->route);
			worker = sim_worker_at(sim, action->route);
			if (worker != NULL && worker->is_alive)
				sim_hello_later(sim, worker, sim_net_us(sim));
			break;
		case MMQ_DO_LOAD:
			worker = sim_worker_at(sim, action->route);
			if (worker != NULL && worker->is_alive && sim_chance(sim, 900))
				loaded_tell(sim, worker, &action->load);
			break;
		case MMQ_DO_GRANTED:
			worker = sim_worker_at(sim, action->route);
			if (worker != NULL && worker->record_granted != 0)
				sim_check_granted(sim, action, worker->record_granted - 1);
			break;
		case MMQ_DO_STOP: sim->stop_wanted = true; break;
		case MMQ_DO_PUBLISH: sim_check_publish(sim, &action->publish); break;
		case MMQ_DO_JOURNAL:
			sim->batch = mmq_grow(sim->batch, sim->batch_count + 1, sizeof *sim->batch);
			sim->batch[sim->batch_count++] = *action->command;
			break;
		case MMQ_DO_READ: sim_journal_flush(sim, action->read); break;
		case MMQ_DO_FREE: action->body->release(action->body); break;
		default: break;
		}
	}
}

void
sim_feed(struct sim *sim, struct mmq_core_event *event)
{
	bool is_watched = event->kind == MMQ_ON_GONE || event->kind == MMQ_ON_RETURN || event->kind == MMQ_ON_UNSENT || event->kind == MMQ_ON_RESULT;
	struct mmq_core_status before;
	uint32_t answered = 0;

	event->now_us = sim->now_us;
	event->wall_ms = sim_wall_ms(sim);
	sim->events++;
	if (is_watched)
		mmq_core_status(sim->core, &before);
	if (event->kind == MMQ_ON_RESULT)
		memcpy(&answered, event->result.body->bytes, sizeof answered);
	mmq_core_event(sim->core, event);
	sim_actions_do(sim);
	if (is_watched)
		sim_turn_after(sim, event, &before, answered);
}
