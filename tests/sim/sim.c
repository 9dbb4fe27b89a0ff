/* sim.c: moves the simulated world: one schedule of things to come, taken in order of their virtual time. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

enum thing_kind { T_CLIENT, T_EVENT, T_BEAT, T_FINISH, T_WORKER_FAULT, T_BROKER_CRASH, T_FULL, T_JOURNAL, T_HELLO, T_CLOCK, T_BROKEN, T_STEP };

struct thing {
	struct core_timer timer;
	enum thing_kind kind;
	uint32_t life;                      /* of the broker it is meant for; 0: any */
	uint32_t worker, worker_life, record;
	struct mmq_core_event event;
	struct mmq_lease *leases;           /* owned copies */
	struct mmq_journal_command *commands;
	size_t commands_count;
	struct mmq_journal_read read;
};

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

static struct thing *
thing_new(struct sim *sim, enum thing_kind kind, int64_t delay_us)
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

static int64_t
wall_now_ms(const struct sim *sim)
{
	int64_t ms = 1700000000000 + sim->now_us / 1000 + sim->wall_shift_ms;

	return ms < 1 ? 1 : ms;
}

static int64_t
net_us(struct sim *sim)
{
	return 20 + (int64_t)sim_random(sim, sim_chance(sim, 20) ? 300000 : 200);
}

/* ---- Actions of the core ------------------------------------------------------------------------------------------ */

static struct sim_worker *
worker_at(struct sim *sim, uint64_t route)
{
	for (int i = 0; i < SIM_WORKERS; i++)
		if (sim->workers[i].route == route)
			return &sim->workers[i];
	return NULL;
}

static struct thing *
worker_message(struct sim *sim, struct sim_worker *worker, enum mmq_event_kind kind)
{
	struct thing *thing = thing_new(sim, T_EVENT, net_us(sim));

	thing->life = sim->life;
	thing->event.kind = kind;
	thing->event.route = worker->route;
	return thing;
}

static void
gone_tell(struct sim *sim, uint64_t route)
{
	struct thing *thing = thing_new(sim, T_EVENT, 10);

	thing->life = sim->life;
	thing->event.kind = MMQ_ON_GONE;
	thing->event.route = route;
}

/* The send itself failed: the worker never saw these. */
static void
unsent_tell(struct sim *sim, const struct mmq_core_action *action)
{
	struct thing *thing = thing_new(sim, T_EVENT, 5);

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

static void
hello_later(struct sim *sim, struct sim_worker *worker, int64_t delay_us)
{
	struct thing *thing = thing_new(sim, T_HELLO, delay_us);

	thing->worker = (uint32_t)(worker - sim->workers);
	thing->worker_life = worker->life;
}

/* Between taking a training and finishing it: progress, numbers for the version and the alias; sometimes it is handed back. */
static void
step_later(struct sim *sim, struct sim_worker *worker, const struct mmq_lease *lease, uint32_t record)
{
	struct thing *thing = thing_new(sim, T_STEP, (int64_t)sim_random(sim, 2000000));

	thing->worker = (uint32_t)(worker - sim->workers);
	thing->worker_life = worker->life;
	thing->event.result.lease = *lease;
	thing->record = record;
}

static void
work_take(struct sim *sim, const struct mmq_core_action *action)
{
	struct sim_worker *worker = worker_at(sim, action->route);

	sim_check_work(sim, worker, action->work.items, action->work.count);
	if (worker == NULL || !worker->is_alive) {
		unsent_tell(sim, action);
		gone_tell(sim, action->route);
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
		finish = thing_new(sim, T_FINISH, 100 + (int64_t)sim_random(sim, item->kind == MMQ_WORK_TRAIN ? 8000000 : 2000));
		finish->worker = (uint32_t)(worker - sim->workers);
		finish->worker_life = worker->life;
		finish->event.result.lease = lease;
		finish->record = record;
		if (item->kind != MMQ_WORK_PREDICT)
			step_later(sim, worker, &lease, record);
	}
}

static void
held_forget(struct sim_worker *worker, const struct mmq_lease *lease)
{
	for (size_t i = 0; i < worker->held_count; i++)
		if (memcmp(&worker->held[i].lease, lease, sizeof *lease) == 0)
			worker->held[i--] = worker->held[--worker->held_count];
}

static void
welcome_take(struct sim *sim, const struct mmq_core_action *action)
{
	struct sim_worker *worker = worker_at(sim, action->route);
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

static void
journal_flush(struct sim *sim, const struct mmq_journal_read *read)
{
	struct thing *thing;
	int64_t due = sim->now_us + 50 + (int64_t)sim_random(sim, sim_chance(sim, 50) ? 200000 : 3000);

	if (sim->batch_count == 0 && read == NULL)
		return;
	sim->disk_us = due > sim->disk_us ? due : sim->disk_us + 1;
	thing = thing_new(sim, T_JOURNAL, sim->disk_us - sim->now_us);
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
	struct thing *message = worker_message(sim, worker, MMQ_ON_LOADED);

	message->event.loaded.tenant = of->tenant[0] == 'o' ? "other" : "default";
	message->event.loaded.model = names[(unsigned)(of->model[1] - '0') % 3];
	message->event.loaded.version = of->version;
	message->event.loaded.code = MMQ_OK;
}

static void
actions_do(struct sim *sim)
{
	const struct mmq_core_action *action;
	struct sim_worker *worker;

	while ((action = mmq_core_next_action(sim->core)) != NULL) {
		switch (action->kind) {
		case MMQ_DO_ANSWER: sim_check_answer(sim, &action->answer); break;
		case MMQ_DO_WORK: work_take(sim, action); break;
		case MMQ_DO_WELCOME: welcome_take(sim, action); break;
		case MMQ_DO_CANCEL_WORK:
			worker = worker_at(sim, action->route);
			if (worker != NULL && !sim_chance(sim, 300))
				held_forget(worker, &action->cancel.lease);
			break;
		case MMQ_DO_ECHO:
			worker = worker_at(sim, action->route);
			if (worker == NULL || !worker->is_alive)
				gone_tell(sim, action->route);
			break;
		case MMQ_DO_WHO:
		case MMQ_DO_BYE:
			worker = worker_at(sim, action->route);
			if (worker != NULL && worker->is_alive)
				hello_later(sim, worker, net_us(sim));
			break;
		case MMQ_DO_LOAD:
			worker = worker_at(sim, action->route);
			if (worker != NULL && worker->is_alive && sim_chance(sim, 900))
				loaded_tell(sim, worker, &action->load);
			break;
		case MMQ_DO_GRANTED:
			worker = worker_at(sim, action->route);
			if (worker != NULL && worker->record_granted != 0)
				sim_check_granted(sim, action, worker->record_granted - 1);
			break;
		case MMQ_DO_STOP: sim->stop_wanted = true; break;
		case MMQ_DO_PUBLISH: sim_check_publish(sim, &action->publish); break;
		case MMQ_DO_JOURNAL:
			sim->batch = mmq_grow(sim->batch, sim->batch_count + 1, sizeof *sim->batch);
			sim->batch[sim->batch_count++] = *action->command;
			break;
		case MMQ_DO_READ: journal_flush(sim, action->read); break;
		case MMQ_DO_FREE: action->body->release(action->body); break;
		default: break;
		}
	}
}

static void
core_feed(struct sim *sim, struct mmq_core_event *event)
{
	event->now_us = sim->now_us;
	event->wall_ms = wall_now_ms(sim);
	sim->events++;
	mmq_core_event(sim->core, event);
	actions_do(sim);
}

/* ---- Clients ------------------------------------------------------------------------------------------------------ */

static void
client_send(struct sim *sim, uint32_t index, enum mmq_op op)
{
	struct sim_record *record = &sim->records[index];
	struct mmq_core_event event = { .kind = MMQ_ON_REQUEST };
	struct mmq_core_request *in = &event.request;
	struct mmq_core_query query = { .state = -1 };
	struct mmq_head head = { .op = op, .priority = (int)(index % 3) + 4, .wait = record->wait, .durable = record->durable };
	char id[24], model[8], job[33];

	snprintf(id, sizeof id, "id-%u", index);
	snprintf(model, sizeof model, "m%u", index % 3);
	head.id.at = id;
	head.id.size = (uint32_t)strlen(id);
	head.model.at = model;
	head.model.size = (uint32_t)strlen(model);
	if (index % 7 == 0 && op == MMQ_OP_PREDICT)
		head.deadline_ms = 1 + index % 50;
	if (op == MMQ_OP_JOB_WAIT || op == MMQ_OP_JOB_GET || op == MMQ_OP_JOB_CANCEL) {
		mmq_job_id_format(record->job, job);
		head.job.at = job;
		head.job.size = 32;
	}
	in->route = 1 + index % 5;
	in->tag = (uint32_t)sim->sends_count;
	in->tenant = index % 11 == 0 ? "other" : "default";
	if (op == MMQ_OP_MODEL_ALIAS)
		head.version = 1;
	if (record->op != MMQ_OP_PREDICT)
		in->tenant = "default";
	in->head = &head;
	in->query = &query;
	in->body = &sim_body_new(sim, index, record->size)->body;
	memcpy(in->fingerprint, &index, sizeof index);
	for (int i = 0; i < 16; i++)
		in->job[i] = (uint8_t)sim_random(sim, 256);
	sim->sends = mmq_grow(sim->sends, sim->sends_count + 1, sizeof *sim->sends);
	sim->sends[sim->sends_count++] = (struct sim_send){ index, sim->life, (uint8_t)op, 0,
		head.deadline_ms != 0 && !record->durable && op == MMQ_OP_PREDICT ? sim->now_us + head.deadline_ms * 1000 : 0 };
	record->sends++;
	core_feed(sim, &event);
}

static void
client_new(struct sim *sim)
{
	uint64_t dice = sim_random(sim, 100);
	uint32_t index = (uint32_t)sim->records_count, old;
	struct sim_record *record;

	if (dice >= 80 && index > 0) {
		old = (uint32_t)sim_random(sim, index);
		record = &sim->records[old];
		if (dice < 88 && record->durable)
			client_send(sim, old, (enum mmq_op)record->op);          /* the same again */
		else if (dice < 92)
			client_send(sim, old, MMQ_OP_CANCEL);
		else if (record->has_job)
			client_send(sim, old, dice < 95 ? MMQ_OP_JOB_GET : dice < 98 ? MMQ_OP_JOB_WAIT : MMQ_OP_JOB_CANCEL);
		return;
	}
	sim->records = mmq_grow(sim->records, index + 1u, sizeof *sim->records);
	record = &sim->records[sim->records_count++];
	memset(record, 0, sizeof *record);
	record->op = dice < 8 ? MMQ_OP_TRAIN : dice < 10 ? MMQ_OP_MODEL_ALIAS : dice < 12 ? MMQ_OP_MODEL_LIST : MMQ_OP_PREDICT;
	record->durable = dice < 30 && record->op != MMQ_OP_MODEL_LIST;
	record->size = (uint16_t)(sim_chance(sim, 30) ? 3000 : sim_chance(sim, 50) ? 700 : 32);
	record->wait = dice % 4 != 0;
	record->poison = sim_chance(sim, 15);
	client_send(sim, index, (enum mmq_op)record->op);
}

/* ---- Workers ------------------------------------------------------------------------------------------------------ */

static void
worker_crash(struct sim *sim, struct sim_worker *worker)
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
		gone_tell(sim, worker->route);
	hello_later(sim, worker, 1000 + (int64_t)sim_random(sim, 300000));
}

static void
worker_hello(struct sim *sim, struct sim_worker *worker)
{
	struct mmq_core_event event = { .kind = MMQ_ON_HELLO, .route = 0 }, catalogue = { .kind = MMQ_ON_CATALOGUE };
	static const uint32_t versions[] = { 1 };
	static const struct mmq_work_alias alias = { "production", 1 };
	struct mmq_work_model models[6];
	static const char *const names[] = { "m0", "m1", "m2" };
	struct mmq_lease held[SIM_HELD];
	struct thing *beat;
	uint64_t left = worker->route;

	if (!worker->is_alive) {
		worker->is_alive = true;
		for (int i = 0; i < 16; i++)
			worker->session[i] = (uint8_t)sim_random(sim, 256);
		beat = thing_new(sim, T_BEAT, 500000);
		beat->worker = (uint32_t)(worker - sim->workers);
		beat->worker_life = worker->life;
	}
	worker->route = ++sim->routes;
	if (left != 0 && sim_chance(sim, 100))
		gone_tell(sim, left); /* the old connection's end is noticed late */
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
	core_feed(sim, &event);
	for (int i = 0; i < 6; i++)
		models[i] = (struct mmq_work_model){ i < 3 ? "default" : "other", names[i % 3], versions, 1, &alias, 1, 1 };
	catalogue.catalogue.models = models;
	catalogue.catalogue.count = 6;
	catalogue.catalogue.full = true;
	core_feed(sim, &catalogue);
}

static void
worker_beat(struct sim *sim, struct thing *was)
{
	struct sim_worker *worker = &sim->workers[was->worker];
	struct thing *message, *next;

	next = thing_new(sim, T_BEAT, 500000);
	next->worker = was->worker;
	next->worker_life = was->worker_life;
	if (worker->paused_us > sim->now_us || sim_chance(sim, 20))
		return;
	message = worker_message(sim, worker, MMQ_ON_HEARTBEAT);
	message->event.held.n = ++worker->beat;
	message->leases = mmq_array(worker->held_count + 1, sizeof *message->leases);
	for (size_t i = 0; i < worker->held_count; i++)
		message->leases[i] = worker->held[i].lease;
	message->event.held.leases = message->leases;
	message->event.held.count = worker->held_count;
}

static void
worker_step(struct sim *sim, struct thing *was)
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
		message = worker_message(sim, worker, MMQ_ON_RETURN);
		message->leases = mmq_array(1, sizeof *message->leases);
		message->leases[0] = *lease;
		message->event.held.leases = message->leases;
		message->event.held.count = 1;
		held_forget(worker, lease);
		return;
	}
	message = worker_message(sim, worker, dice < 40 ? MMQ_ON_PROGRESS : MMQ_ON_GRANT);
	if (dice < 40) {
		message->event.progress.lease = *lease;
		message->event.progress.checkpoint = ++worker->beat;
		message->event.progress.body = &sim_body_new(sim, was->record, 16)->body;
	} else {
		message->event.grant.lease = *lease;
		message->event.grant.what = dice < 80 && sim->records[was->record].op == MMQ_OP_TRAIN ? MMQ_GRANT_VERSION : MMQ_GRANT_ALIAS;
		worker->record_granted = was->record + 1;
	}
	step_later(sim, worker, lease, was->record);
}

static void
worker_finish(struct sim *sim, struct thing *was)
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
		message = thing_new(sim, T_FINISH, worker->paused_us - sim->now_us + 1000);
		message->worker = was->worker;
		message->worker_life = was->worker_life;
		message->event = was->event;
		message->record = was->record;
		return;
	}
	if (sim->records[was->record].poison) {
		worker_crash(sim, worker);
		return;
	}
	held_forget(worker, &was->event.result.lease);
	if (sim_chance(sim, sim->is_healing ? 0 : 5))
		return; /* the answer is lost: the lease runs out */
	for (int copies = sim_chance(sim, 10) ? 2 : 1; copies > 0; copies--) {
		message = worker_message(sim, worker, MMQ_ON_RESULT);
		message->event.result.lease = was->event.result.lease;
		message->event.result.result = (struct mmq_work_result){ .code = MMQ_OK, .rows = 1, .service_us = 50, .version = 1 };
		answer = sim_body_new(sim, was->record, 32);
		memcpy(answer->bytes + 8, &was->event.result.lease, sizeof(struct mmq_lease));
		message->event.result.body = &answer->body;
	}
}

/* ---- The world ---------------------------------------------------------------------------------------------------- */

static void
broker_start(struct sim *sim)
{
	struct mmq_core_options options = { .now_us = sim->now_us, .wall_ms = wall_now_ms(sim), .journal = true };
	struct mmq_journal_read count = { .query = MMQ_READ_LANES, .limit = 1000 };
	struct mmq_journal_event event;

	sim->life++;
	memset(sim->topics, 0, sizeof sim->topics);
	memcpy(options.epoch, &sim->life, sizeof sim->life);
	memcpy(options.run, &sim->seed, sizeof sim->seed);
	options.limits = (struct mmq_core_limits){ .requests_max = 80, .heads_lane_max = 4, .lease_ms = 2000, .adoption_ms = 3000,
		.version_strikes_max = 1000000,
		.pack_bytes = 4096, .pack_body_bytes = 600, .alone_bytes = 2000, .body_keep_bytes = 500 };
	mmq_journal_memory.read(sim->journal, &count);
	mmq_journal_memory.poll(sim->journal, &event, 1);
	for (uint32_t i = 0; i < event.page->count; i++)
		options.journal_pending += event.page->numbers[i];
	mmq_journal_memory.release(&event);
	sim->core = mmq_core_new(&options);
	actions_do(sim);
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
			core_feed(sim, &wrapped);
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
		struct thing *thing = (struct thing *)(void *)sim->schedule.items[i];
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
			client_new(sim);
		thing_new(sim, T_CLIENT, 100 + (int64_t)sim_random(sim, sim_chance(sim, 50) ? 400000 : 4000));
		break;
	case T_EVENT:
		if (thing->event.kind == MMQ_ON_RESULT && worker_at(sim, thing->event.route) == NULL) {
			core_feed(sim, &thing->event);
			break;
		}
		core_feed(sim, &thing->event);
		break;
	case T_BEAT:
		if (!is_void && worker->is_alive)
			worker_beat(sim, thing);
		break;
	case T_FINISH:
		if (!is_void && worker->is_alive)
			worker_finish(sim, thing);
		break;
	case T_HELLO:
		if (!is_void)
			worker_hello(sim, worker);
		break;
	case T_WORKER_FAULT:
		if (sim->is_healing)
			return;
		worker = &sim->workers[sim_random(sim, SIM_WORKERS)];
		if (worker->is_alive && sim_chance(sim, 500))
			worker_crash(sim, worker);
		else
			worker->paused_us = sim->now_us + (int64_t)sim_random(sim, 4000000);
		thing_new(sim, T_WORKER_FAULT, (int64_t)sim_random(sim, 3000000));
		break;
	case T_BROKER_CRASH:
		if (sim->is_healing)
			return;
		broker_crash(sim);
		thing_new(sim, T_BROKER_CRASH, 500000 + (int64_t)sim_random(sim, 8000000));
		break;
	case T_FULL:
		if (sim->is_healing)
			return;
		sim->full_until_us = sim->now_us + (int64_t)sim_random(sim, 1000000);
		thing_new(sim, T_FULL, 1000000 + (int64_t)sim_random(sim, 8000000));
		break;
	case T_CLOCK: /* the wall clock is set: by up to an hour, or to 1970 and back */
		if (sim->is_healing)
			return;
		sim->wall_shift_ms = sim_chance(sim, 100) ? -1700000000000 : (int64_t)sim_random(sim, 7200000) - 3600000;
		sim->was_1970 |= sim->wall_shift_ms < -3600000;
		thing_new(sim, T_CLOCK, 500000 + (int64_t)sim_random(sim, 8000000));
		break;
	case T_BROKEN:
		if (sim->is_healing)
			return;
		sim->is_broken = true;
		thing_new(sim, T_BROKEN, 1000000 + (int64_t)sim_random(sim, 12000000));
		break;
	case T_STEP:
		if (!is_void && worker->is_alive)
			worker_step(sim, thing);
		break;
	case T_JOURNAL: journal_do(sim, thing, true); break;
	}
}

static void
step(struct sim *sim)
{
	struct mmq_core_event tick = { .kind = MMQ_ON_TICK };
	int64_t next = mmq_core_next(sim->core);

	if (sim->schedule.count > 0 && sim->schedule.items[0]->due < next)
		next = sim->schedule.items[0]->due;
	if (next > sim->now_us && next != INT64_MAX)
		sim->now_us = next;
	while (sim->schedule.count > 0 && sim->schedule.items[0]->due <= sim->now_us) {
		struct thing *thing = (struct thing *)(void *)sim->schedule.items[0];
		core_heap_remove(&sim->schedule, &thing->timer);
		thing_do(sim, thing);
		thing_free(thing);
	}
	core_feed(sim, &tick);
	journal_flush(sim, NULL);
	sim_check_limits(sim);
	sim_check_deadlines(sim);
	if (sim->stop_wanted)
		broker_crash(sim);
}

static void
sim_end(struct sim *sim)
{
	while (sim->schedule.count > 0) {
		struct thing *thing = (struct thing *)(void *)sim->schedule.items[0];
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
}

int
sim_run(uint64_t seed, uint32_t requests, bool is_loud)
{
	static struct sim sim;
	struct mmq_journal_options options = { 0 };
	struct mmq_core_status status;
	struct mmq_err err;
	int64_t heal_us;

	memset(&sim, 0, sizeof sim);
	sim.seed = seed;
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
		hello_later(&sim, &sim.workers[i], 1000 * (i + 1));
	}
	thing_new(&sim, T_CLIENT, 10000);
	thing_new(&sim, T_WORKER_FAULT, 500000);
	if (seed % 4 != 0)
		thing_new(&sim, T_BROKER_CRASH, 700000);
	if (seed % 3 == 0)
		thing_new(&sim, T_FULL, 300000);
	if (seed % 5 < 3)
		thing_new(&sim, T_CLOCK, 400000);
	if (seed % 7 == 0)
		thing_new(&sim, T_BROKEN, 2000000);
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
