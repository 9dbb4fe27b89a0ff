/* test_fair.c: what a tenant that floods costs another one, in a world where only the broker decides: one worker that takes exactly
 * SERVICE_US per request, and no processors to fight for. Fair is half of the worker, hence twice the time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/core.h"
#include "util/mem.h"

enum { SERVICE_US = 20, SAMPLES = 20000, HELD_MAX = 4096, FLOOD_FROM = 1000000 };

struct work { struct mmq_lease lease; uint32_t tag; };

struct world {
	struct mmq_core *core;
	int64_t now_us;
	struct work held[HELD_MAX];         /* a ring: what the worker has, oldest first */
	size_t first, count;
	uint32_t next_quiet, next_flood;
	int64_t *asked_us;                  /* by tag of the quiet one */
	int64_t *took_us;
	size_t samples;
};

struct own_body { struct mmq_body body; uint32_t tag; };

static void
release(struct mmq_body *body)
{
	free(body);
}

static struct mmq_body *
body_new(uint32_t tag)
{
	struct own_body *own = mmq_alloc(sizeof *own);

	own->tag = tag;
	own->body = (struct mmq_body){ .size = 100, .release = release };
	return &own->body;
}

static void
feed(struct world *world, struct mmq_core_event *event)
{
	const struct mmq_core_action *action;

	event->now_us = world->now_us;
	event->wall_ms = world->now_us / 1000;
	mmq_core_event(world->core, event);
	while ((action = mmq_core_next_action(world->core)) != NULL) {
		if (action->kind == MMQ_DO_FREE)
			action->body->release(action->body);
		for (size_t i = 0; action->kind == MMQ_DO_WORK && i < action->work.count; i++) {
			struct work *work = &world->held[(world->first + world->count++) % HELD_MAX];
			assert_true(world->count <= HELD_MAX);
			*work = (struct work){ .lease.delivery = action->work.items[i].delivery,
				.tag = ((const struct own_body *)(const void *)action->work.items[i].body)->tag };
		}
		if (action->kind == MMQ_DO_ANSWER && action->answer.tag < FLOOD_FROM && world->samples < SAMPLES)
			world->took_us[world->samples++] = world->now_us - world->asked_us[action->answer.tag];
	}
}

static void
ask(struct world *world, bool is_flood)
{
	struct mmq_head head = { .op = MMQ_OP_PREDICT, .priority = 5, .deadline_ms = 1000000000, .wait = true };
	struct mmq_core_event event = { .kind = MMQ_ON_REQUEST };
	uint32_t tag = is_flood ? world->next_flood++ : world->next_quiet++;

	if (!is_flood)
		world->asked_us[tag] = world->now_us;
	head.model.at = "iris";
	head.model.size = 4;
	event.request = (struct mmq_core_request){ .route = is_flood ? 7 : 8, .tag = tag, .tenant = is_flood ? "flood" : "quiet", .head = &head,
		.body = body_new(tag) };
	feed(world, &event);
}

static void
worker_add(struct world *world)
{
	static const uint32_t version = 1;
	static const struct mmq_work_alias alias = { "production", 1 };
	struct mmq_work_model models[2] = { { "quiet", "iris", &version, 1, &alias, 1, 1 }, { "flood", "iris", &version, 1, &alias, 1, 1 } };
	struct mmq_core_event event = { .kind = MMQ_ON_HELLO, .route = 1 };

	event.hello.kind = MMQ_WORKER_PREDICTOR;
	event.hello.window[MMQ_WORK_PREDICT] = 1024;
	feed(world, &event);
	event = (struct mmq_core_event){ .kind = MMQ_ON_CATALOGUE, .route = 1 };
	event.catalogue.models = models;
	event.catalogue.count = 2;
	event.catalogue.full = true;
	feed(world, &event);
}

/* The worker ends its oldest request; whoever asked for it asks again at once. */
static void
serve(struct world *world)
{
	struct work work = world->held[world->first];
	struct mmq_core_event event = { .kind = MMQ_ON_RESULT, .route = 1 };

	world->now_us += SERVICE_US;
	world->first = (world->first + 1) % HELD_MAX;
	world->count--;
	event.result.lease = work.lease;
	event.result.result = (struct mmq_work_result){ .code = MMQ_OK, .rows = 1, .service_us = SERVICE_US, .version = 1 };
	event.result.body = body_new(work.tag);
	feed(world, &event);
	ask(world, work.tag >= FLOOD_FROM);
}

static int
ascending(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* The 99th percentile of what the quiet tenant waits, with so many of its own and of the flood's in flight. */
static int64_t
p99_us(unsigned quiet, unsigned flood)
{
	struct world *world = mmq_alloc(sizeof *world);
	struct mmq_core_options options = { .limits = { .lease_ms = 600000, .heartbeat_ms = 300000 }, .now_us = 1000000 };
	struct mmq_core_event tick = { .kind = MMQ_ON_TICK };
	int64_t found;

	world->now_us = 1000000;
	world->next_flood = FLOOD_FROM;
	world->asked_us = mmq_array(FLOOD_FROM, sizeof *world->asked_us);
	world->took_us = mmq_array(SAMPLES, sizeof *world->took_us);
	world->core = mmq_core_new(&options);
	worker_add(world);
	for (unsigned i = 0; i < flood; i++)
		ask(world, true);
	for (unsigned i = 0; i < quiet; i++)
		ask(world, false);
	while (world->samples < SAMPLES) {
		feed(world, &tick);
		assert_true(world->count > 0);      /* the worker never idles while somebody waits */
		serve(world);
	}
	qsort(world->took_us, SAMPLES, sizeof *world->took_us, ascending);
	found = world->took_us[SAMPLES * 99 / 100];
	mmq_core_destroy(&world->core);
	free(world->asked_us);
	free(world->took_us);
	free(world);
	return found;
}

static void
test_a_flood_costs_a_tenant_with_work_of_its_own_at_most_twice_its_time(void **state)
{
	static const unsigned loads[] = { 128, 256, 512 };

	(void)state;
	for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
		int64_t alone = p99_us(loads[i], 0), beside = p99_us(loads[i], 4000);
		print_message("%u in flight: p99 alone %lld us, beside a flood of 4000 %lld us\n", loads[i], (long long)alone, (long long)beside);
		assert_true(alone >= (int64_t)loads[i] * SERVICE_US * 9 / 10);
		assert_true(beside <= 2 * alone + 600);  /* what is ahead and one quantum on top */
	}
}

/* One that asks one at a time waits for what was handed out before it came (ahead_us), and for the flood's turn (a quantum). */
static void
test_a_flood_costs_a_tenant_with_one_request_a_turn(void **state)
{
	int64_t alone = p99_us(1, 0), beside = p99_us(1, 4000);

	(void)state;
	print_message("1 in flight: p99 alone %lld us, beside a flood of 4000 %lld us\n", (long long)alone, (long long)beside);
	assert_int_equal(alone, SERVICE_US);
	assert_true(beside <= 300 + 300 + 4 * SERVICE_US);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_flood_costs_a_tenant_with_work_of_its_own_at_most_twice_its_time),
		cmocka_unit_test(test_a_flood_costs_a_tenant_with_one_request_a_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
