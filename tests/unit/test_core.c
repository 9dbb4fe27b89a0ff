/* test_core.c: the core's laws one at a time, with hand-made events. tests/sim tries them all together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/core.h"
#include "broker/table.h"
#include "util/mem.h"

struct world {
	struct mmq_core *core;
	int64_t now_us;
	struct mmq_core_answer answer;      /* the last one */
	struct mmq_err err;
	char text[16];
	struct mmq_lease leases[256];       /* of work handed out, in order */
	uint32_t tags[256], attempts[256];
	struct mmq_journal_command prunes[8];
	size_t items, frames, answers, frees, cancels, echoes, gone, pruned;
	uint64_t route;                     /* of the last work */
};

struct own_body { struct mmq_body body; uint32_t tag; };

static void
release(struct mmq_body *body)
{
	free(body);
}

static void
drain(struct world *world)
{
	const struct mmq_core_action *action;

	while ((action = mmq_core_next_action(world->core)) != NULL)
		switch (action->kind) {
		case MMQ_DO_ANSWER:
			world->answer = action->answer;
			world->answers++;
			if (action->answer.form == MMQ_ANSWER_ERROR)
				world->err = *action->answer.err;
			if (action->answer.form == MMQ_ANSWER_CANCEL)
				snprintf(world->text, sizeof world->text, "%s", action->answer.text);
			break;
		case MMQ_DO_WORK:
			world->frames++;
			world->route = action->route;
			for (size_t i = 0; i < action->work.count && world->items < 256; i++) {
				world->leases[world->items].delivery = action->work.items[i].delivery;
				world->attempts[world->items] = action->work.items[i].attempt;
				world->tags[world->items++] = ((const struct own_body *)(const void *)action->work.items[i].body)->tag;
			}
			break;
		case MMQ_DO_JOURNAL:
			if (action->command->verb == MMQ_PRUNE)
				world->prunes[world->pruned++ % 8] = *action->command;
			break;
		case MMQ_DO_CANCEL_WORK: world->cancels++; break;
		case MMQ_DO_ECHO: world->echoes++; break;
		case MMQ_DO_FREE:
			world->frees++;
			action->body->release(action->body);
			break;
		default: break;
		}
}

static void
feed(struct world *world, struct mmq_core_event *event)
{
	event->now_us = world->now_us;
	event->wall_ms = world->now_us / 1000;
	mmq_core_event(world->core, event);
	drain(world);
}

static void
tick(struct world *world)
{
	struct mmq_core_event event = { .kind = MMQ_ON_TICK };

	feed(world, &event);
}

static struct world *
world_new(struct mmq_core_limits limits)
{
	struct world *world = mmq_alloc(sizeof *world);
	struct mmq_core_options options = { .limits = limits, .now_us = 1000000 };

	world->now_us = 1000000;
	world->core = mmq_core_new(&options);
	return world;
}

static void
world_destroy(struct world *world)
{
	mmq_core_destroy(&world->core);
	free(world);
}

static struct mmq_body *
body_new(uint32_t tag, size_t size)
{
	struct own_body *own = mmq_alloc(sizeof *own);

	own->tag = tag;
	own->body = (struct mmq_body){ .size = size, .release = release };
	return &own->body;
}

static void
worker_add(struct world *world, uint64_t route, uint32_t window)
{
	static const uint32_t version = 1;
	static const struct mmq_work_alias alias = { "production", 1 };
	struct mmq_work_model models[2] = { { "default", "iris", &version, 1, &alias, 1, 1 }, { "other", "iris", &version, 1, &alias, 1, 1 } };
	struct mmq_core_event event = { .kind = MMQ_ON_HELLO, .route = route };

	event.hello.kind = MMQ_WORKER_PREDICTOR;
	memcpy(event.hello.session, &route, sizeof route);
	event.hello.window[MMQ_WORK_PREDICT] = window;
	feed(world, &event);
	event = (struct mmq_core_event){ .kind = MMQ_ON_CATALOGUE, .route = route };
	event.catalogue.models = models;
	event.catalogue.count = 2;
	event.catalogue.full = true;
	feed(world, &event);
}

static void
ask(struct world *world, const char *tenant, uint32_t tag, int priority, int64_t deadline_ms, size_t size)
{
	struct mmq_head head = { .op = MMQ_OP_PREDICT, .priority = priority, .deadline_ms = deadline_ms, .wait = true };
	struct mmq_core_event event = { .kind = MMQ_ON_REQUEST };
	char id[16];

	snprintf(id, sizeof id, "r%u", tag);
	head.id.at = id;
	head.id.size = (uint32_t)strlen(id);
	head.model.at = "iris";
	head.model.size = 4;
	event.request = (struct mmq_core_request){ .route = 7, .tag = tag, .tenant = tenant, .head = &head, .body = body_new(tag, size) };
	feed(world, &event);
}

static void
answer_to(struct world *world, uint64_t route, const struct mmq_lease *lease)
{
	struct mmq_core_event event = { .kind = MMQ_ON_RESULT, .route = route };

	event.result.lease = *lease;
	event.result.result.service_us = 10;
	event.result.body = body_new(0, 10);
	feed(world, &event);
}

static void
worker_event(struct world *world, enum mmq_event_kind kind, uint64_t route)
{
	struct mmq_core_event event = { .kind = kind, .route = route };

	feed(world, &event);
}

static void
test_predict_is_answered_once_and_bodies_come_back(void **state)
{
	struct world *world = world_new((struct mmq_core_limits){ 0 });

	(void)state;
	worker_add(world, 1, 8);
	ask(world, "default", 5, 5, 0, 100);
	tick(world);
	assert_int_equal(world->items, 1);
	answer_to(world, 1, &world->leases[0]);
	assert_int_equal(world->answers, 1);
	assert_int_equal(world->answer.tag, 5);
	assert_int_equal(world->answer.form, MMQ_ANSWER_BODY);
	answer_to(world, 1, &world->leases[0]);
	assert_int_equal(world->answers, 1);
	assert_int_equal(world->frees, 3);
	world_destroy(world);
}

static void
test_unknown_model_waits_for_a_catalogue_then_is_not_found(void **state)
{
	struct world *world = world_new((struct mmq_core_limits){ 0 });
	struct mmq_head head = { .op = MMQ_OP_PREDICT, .wait = true, .model = { .at = "rose", .size = 4 } };
	struct mmq_core_event event = { .kind = MMQ_ON_REQUEST, .request = { .route = 7, .tenant = "default", .head = &head } };

	(void)state;
	feed(world, &event);
	assert_int_equal(world->err.code, MMQ_UNAVAILABLE);
	worker_add(world, 1, 8);
	feed(world, &event);
	assert_int_equal(world->err.code, MMQ_NOT_FOUND);
	assert_string_equal(world->err.field, "model");
	world_destroy(world);
}

static void
test_waiting_requests_share_one_frame_within_its_limits(void **state)
{
	struct world *world = world_new((struct mmq_core_limits){ .ahead_us = 1000000 });

	(void)state;
	worker_add(world, 1, 256);
	for (uint32_t i = 0; i < 70; i++)
		ask(world, "default", i, 5, 0, 100);
	ask(world, "default", 70, 5, 0, 5000);
	tick(world);
	assert_int_equal(world->items, 71);
	assert_int_equal(world->frames, 3);
	for (uint32_t i = 0; i < 71; i++)
		assert_int_equal(world->tags[i], i);
	world_destroy(world);
}

static void
test_a_deadline_is_answered_when_it_falls_due_though_leased(void **state)
{
	struct world *world = world_new((struct mmq_core_limits){ 0 });

	(void)state;
	worker_add(world, 1, 8);
	ask(world, "default", 1, 5, 100, 100);
	tick(world);
	assert_int_equal(world->items, 1);
	assert_true(mmq_core_next(world->core) <= world->now_us + 100000);
	world->now_us += 99999;
	tick(world);
	assert_int_equal(world->answers, 0);
	world->now_us += 1;
	tick(world);
	assert_int_equal(world->err.code, MMQ_DEADLINE_EXCEEDED);
	assert_int_equal(world->cancels, 1);
	answer_to(world, 1, &world->leases[0]);
	assert_int_equal(world->answers, 1);
	world_destroy(world);
}

static void
test_a_full_queue_says_when_to_come_back(void **state)
{
	struct world *world = world_new((struct mmq_core_limits){ .requests_max = 2 });

	(void)state;
	worker_add(world, 1, 0);
	for (uint32_t i = 0; i < 3; i++)
		ask(world, "default", i, 5, 0, 100);
	assert_int_equal(world->answer.tag, 2);
	assert_int_equal(world->err.code, MMQ_RESOURCE_EXHAUSTED);
	assert_true(world->err.retry_after_ms > 0);
	assert_non_null(strstr(world->err.message, "requests_max"));
	world_destroy(world);
}

static void
test_tenants_take_turns_and_priority_goes_first(void **state)
{
	struct world *world = world_new((struct mmq_core_limits){ .ahead_us = 1000000, .pack_count = 1 });
	unsigned early = 0;

	(void)state;
	worker_add(world, 1, 0);
	for (uint32_t i = 0; i < 100; i++)
		ask(world, "default", i, 5, 0, 100);
	ask(world, "default", 100, 9, 0, 100);
	for (uint32_t i = 200; i < 220; i++)
		ask(world, "other", i, 5, 0, 100);
	struct mmq_core_event ready = { .kind = MMQ_ON_READY, .route = 1, .window = { [MMQ_WORK_PREDICT] = 120 } };
	feed(world, &ready);
	tick(world);
	assert_int_equal(world->items, 120);
	assert_true(world->tags[0] == 100 || world->tags[0] == 200);
	for (size_t i = 0; i < 60; i++)
		early += world->tags[i] >= 200;
	assert_true(early >= 20);
	world_destroy(world);
}

/* A stream of high priority never leaves the worker idle; an old request of low priority has its turn all the same. */
static void
test_an_old_request_of_low_priority_passes_a_stream_of_high_priority(void **state)
{
	struct world *world = world_new((struct mmq_core_limits){ .pack_count = 1, .ageing_ms = 10, .lease_ms = 60000, .heartbeat_ms = 20000 });
	bool was_served = false;
	uint32_t tag = 1;

	(void)state;
	worker_add(world, 1, 1);
	for (uint32_t i = 0; i < 4; i++)
		ask(world, "default", tag++, 9, 0, 100);
	ask(world, "default", 0, 0, 0, 100);
	for (int turn = 0; turn < 200 && !was_served; turn++) {
		world->now_us += 1000;
		tick(world);
		was_served = world->tags[world->items - 1] == 0;
		answer_to(world, 1, &world->leases[world->items - 1]);
		ask(world, "default", tag++, 9, 0, 100);
	}
	assert_true(was_served);
	assert_true(world->now_us >= 90000 / 2);
	world_destroy(world);
}

static void
test_a_request_that_kills_workers_is_tried_alone_then_given_up(void **state)
{
	struct world *world = world_new((struct mmq_core_limits){ 0 });

	(void)state;
	worker_add(world, 1, 8);
	ask(world, "default", 1, 5, 0, 100);
	ask(world, "default", 2, 5, 0, 100);
	tick(world);
	assert_int_equal(world->items, 2);
	worker_event(world, MMQ_ON_GONE, 1);
	/* The two suspects take turns after a strike; the innocent one is answered at its turn. */
	for (uint64_t route = 2; route < 5; route++) {
		worker_add(world, route, 8);
		tick(world);
		assert_int_equal(world->tags[world->items - 1], 1);
		assert_int_equal(world->attempts[world->items - 1], route);
		worker_event(world, MMQ_ON_GONE, route);
		if (route > 2)
			continue;
		worker_add(world, 9, 8);
		tick(world);
		assert_int_equal(world->tags[world->items - 1], 2);
		answer_to(world, 9, &world->leases[world->items - 1]);
		assert_int_equal(world->answer.form, MMQ_ANSWER_BODY);
		worker_event(world, MMQ_ON_BYE, 9);
	}
	assert_int_equal(world->answers, 2);
	assert_int_equal(world->answer.tag, 1);
	assert_int_equal(world->err.code, MMQ_INTERNAL);
	world_destroy(world);
}

static void
test_silence_is_probed_then_expelled_without_a_strike(void **state)
{
	struct world *world = world_new((struct mmq_core_limits){ 0 });
	struct mmq_core_status status;

	(void)state;
	worker_add(world, 1, 8);
	ask(world, "default", 1, 5, 0, 100);
	tick(world);
	do {
		world->now_us = mmq_core_next(world->core);
		tick(world);
		mmq_core_status(world->core, &status);
	} while (status.workers > 0 && world->now_us < 20000000);
	assert_true(world->echoes > 0);
	assert_int_equal(status.workers, 0);
	assert_int_equal(status.counters.strikes, 0);
	assert_int_equal(status.waiting, 1);
	world_destroy(world);
}

static void
test_cancel_ends_a_plain_request_of_the_same_connection(void **state)
{
	struct world *world = world_new((struct mmq_core_limits){ 0 });
	struct mmq_head head = { .op = MMQ_OP_CANCEL, .wait = true, .id = { .at = "c", .size = 1 } };
	struct mmq_core_query query = { .request = (const uint8_t *)"r1", .request_size = 2 };
	struct mmq_core_event event = { .kind = MMQ_ON_REQUEST, .request = { .route = 8, .tenant = "default", .head = &head, .query = &query } };

	(void)state;
	worker_add(world, 1, 8);
	ask(world, "default", 1, 5, 0, 100);
	feed(world, &event);
	assert_string_equal(world->text, "unknown");
	event.request.route = 7;
	feed(world, &event);
	assert_string_equal(world->text, "cancelled");
	assert_int_equal(world->err.code, MMQ_CANCELLED);
	assert_int_equal(world->answers, 3);
	world_destroy(world);
}

/* Once a minute, results and dead letters each by their own age and size; at once again while there is more. */
static void
test_what_has_ended_is_forgotten_by_age_and_by_size(void **state)
{
	struct world *world = mmq_alloc(sizeof *world);
	struct mmq_core_options options = { .now_us = 1000000, .wall_ms = 1700000000000, .journal = true,
		.limits = { .retention_ms = 3600000, .retention_bytes = 1000, .dead_retention_ms = 7200000, .dead_retention_bytes = 2000 } };
	struct mmq_journal_event done = { .verb = MMQ_PRUNE, .number = MMQ_PRUNE_ROWS_MAX };
	struct mmq_core_event event = { .kind = MMQ_ON_JOURNAL, .journal = &done };

	(void)state;
	world->core = mmq_core_new(&options);
	drain(world);
	world->now_us = 61000000;
	tick(world);
	assert_int_equal(world->pruned, 2);
	assert_int_equal(world->prunes[0].what, MMQ_KEPT_RESULTS);
	assert_true(world->prunes[0].wall_ms == world->now_us / 1000 - 3600000 && world->prunes[0].bytes_max == 1000);
	assert_int_equal(world->prunes[1].what, MMQ_KEPT_DEAD);
	assert_true(world->prunes[1].wall_ms == world->now_us / 1000 - 7200000 && world->prunes[1].bytes_max == 2000);
	done.ticket = world->prunes[0].ticket;
	feed(world, &event);
	done.ticket = world->prunes[1].ticket;
	done.number = 3;
	feed(world, &event);
	world->now_us += 100000;
	tick(world);
	assert_int_equal(world->pruned, 4);
	world->now_us += 1000000;
	tick(world);
	assert_int_equal(world->pruned, 4);
	world_destroy(world);
}

static void
test_the_table_finds_what_was_put_and_not_what_was_removed(void **state)
{
	struct core_table table = { 0 };
	static int values[500];
	size_t cursor;

	(void)state;
	for (size_t i = 0; i < 500; i++)
		core_table_put(&table, i % 50 * 64, &values[i]);
	for (size_t i = 0; i < 500; i += 3)
		core_table_remove(&table, i % 50 * 64, &values[i]);
	for (size_t i = 0; i < 500; i++) {
		bool is_found = false;
		int *value;
		for (cursor = SIZE_MAX; (value = core_table_find(&table, i % 50 * 64, &cursor)) != NULL;)
			is_found |= value == &values[i];
		assert_int_equal(is_found, i % 3 != 0);
	}
	core_table_fini(&table);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_predict_is_answered_once_and_bodies_come_back),
		cmocka_unit_test(test_unknown_model_waits_for_a_catalogue_then_is_not_found),
		cmocka_unit_test(test_waiting_requests_share_one_frame_within_its_limits),
		cmocka_unit_test(test_a_deadline_is_answered_when_it_falls_due_though_leased),
		cmocka_unit_test(test_a_full_queue_says_when_to_come_back),
		cmocka_unit_test(test_tenants_take_turns_and_priority_goes_first),
		cmocka_unit_test(test_an_old_request_of_low_priority_passes_a_stream_of_high_priority),
		cmocka_unit_test(test_a_request_that_kills_workers_is_tried_alone_then_given_up),
		cmocka_unit_test(test_silence_is_probed_then_expelled_without_a_strike),
		cmocka_unit_test(test_cancel_ends_a_plain_request_of_the_same_connection),
		cmocka_unit_test(test_what_has_ended_is_forgotten_by_age_and_by_size),
		cmocka_unit_test(test_the_table_finds_what_was_put_and_not_what_was_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
