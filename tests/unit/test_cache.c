/* test_cache.c: models are loaded once, kept while held, and leave least recently used first; a failed load is tried anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "predictor/cache.h"

enum { ROWS = 40, VERSIONS = 4 };

static char folder[64];
static struct mmq_store *store;
static size_t model_bytes;

static int
save(void *arg, int fd, struct mmq_err *err)
{
	return mmq_model_save(arg, fd, err);
}

static struct mmq_model *
small_model(void)
{
	struct mmq_frame frame;
	struct mmq_schema schema;
	struct mmq_params *params;
	struct mmq_model *model;
	struct mmq_buf warnings;
	struct mmq_err err = { 0 };
	double y[ROWS];
	uint32_t rows[ROWS];

	mmq_frame_init(&frame);
	frame.rows = ROWS;
	double *x = mmq_frame_add_numbers(&frame, "x", 1);
	for (uint32_t i = 0; i < ROWS; i++) {
		x[i] = sin(i);
		y[i] = 2 * x[i] + 1;
		rows[i] = i;
	}
	mmq_schema_init(&schema);
	mmq_schema_add(&schema, "x", MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE);
	mmq_buf_init(&warnings, 4096);
	const struct mmq_engine *engine = mmq_engine_find("linear");
	assert_int_equal(mmq_params_read(&params, engine->params, NULL, &err), 0);
	const struct mmq_model_fit fit = { .engine = engine, .params = params, .frame = &frame, .schema = &schema, .task = MMQ_REGRESSION, .y = y,
		.train_rows = rows, .train_count = ROWS, .warnings = &warnings };
	if (mmq_model_fit(&model, &fit, &err) == -1)
		fail_msg("%s", err.message);
	mmq_params_destroy(&params);
	mmq_buf_fini(&warnings);
	mmq_schema_fini(&schema);
	mmq_frame_fini(&frame);
	return model;
}

static int
publish_models(void **state)
{
	struct mmq_err err = { 0 };
	bool was_there;

	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/mmq-cache-XXXXXX");
	if (mkdtemp(folder) == NULL || mmq_store_open(&store, folder, true, NULL, &err) == -1)
		return -1;
	struct mmq_model *model = small_model();
	for (uint32_t version = 1; version <= VERSIONS; version++) {
		const struct mmq_publish what = { .tenant = "default", .model = "line", .job = "job", .version = version, .write_model = save, .arg = model,
			.card = "{\"job\": \"job\"}", .card_bytes = 14 };
		if (mmq_store_publish(store, &what, &was_there, &err) == -1)
			return -1;
	}
	mmq_model_destroy(&model);
	return 0;
}

static int
remove_models(void **state)
{
	char command[96];

	(void)state;
	mmq_store_close(&store);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

/* Wait for the next load to end. */
static struct mmq_cached *
collect(struct mmq_cache *cache)
{
	struct mmq_cached *entry;
	struct pollfd ready = { .fd = mmq_cache_fd(cache), .events = POLLIN };

	while ((entry = mmq_cache_collect(cache)) == NULL)
		assert_int_equal(poll(&ready, 1, 5000), 1);
	return entry;
}

static struct mmq_cached *
acquire_ready(struct mmq_cache *cache, uint32_t version)
{
	struct mmq_cached *entry = mmq_cache_acquire(cache, "default", "line", version);
	if (entry->state == MMQ_CACHED_LOADING)
		assert_ptr_equal(collect(cache), entry);
	assert_int_equal(entry->state, MMQ_CACHED_READY);
	return entry;
}

static void
test_a_model_is_loaded_once(void **state)
{
	struct mmq_cache *cache;
	struct mmq_err err;

	(void)state;
	assert_int_equal(mmq_cache_open(&cache, store, 1 << 20, &err), 0);
	struct mmq_cached *one = mmq_cache_acquire(cache, "default", "line", 1), *two = mmq_cache_acquire(cache, "default", "line", 1);
	assert_ptr_equal(one, two);
	assert_ptr_equal(collect(cache), one);
	assert_null(mmq_cache_collect(cache));
	assert_int_equal(mmq_cache_count(cache), 1);
	model_bytes = mmq_cache_bytes(cache);
	assert_true(model_bytes > 0);
	mmq_cache_release(cache, &one);
	mmq_cache_release(cache, &two);
	assert_int_equal(mmq_cache_count(cache), 1);
	mmq_cache_close(&cache);
}

static void
test_least_recently_used_leaves_first_and_held_stays(void **state)
{
	struct mmq_cache *cache;
	struct mmq_err err;
	struct mmq_cached *held, *entry;

	(void)state;
	assert_int_equal(mmq_cache_open(&cache, store, model_bytes * 2, &err), 0);
	held = acquire_ready(cache, 1);
	for (uint32_t version = 2; version <= 3; version++) {
		entry = acquire_ready(cache, version);
		mmq_cache_release(cache, &entry);
	}
	/* 1 is oldest but held, so 2 had to leave for 3. */
	assert_int_equal(mmq_cache_count(cache), 2);
	assert_int_equal(mmq_cache_acquire(cache, "default", "line", 3)->state, MMQ_CACHED_READY);
	entry = mmq_cache_newest(cache);
	mmq_cache_release(cache, &entry);
	entry = mmq_cache_acquire(cache, "default", "line", 2);
	assert_int_equal(entry->state, MMQ_CACHED_LOADING);
	assert_ptr_equal(collect(cache), entry);
	mmq_cache_release(cache, &entry);
	assert_true(mmq_cache_bytes(cache) <= model_bytes * 2);
	mmq_cache_release(cache, &held);
	mmq_cache_close(&cache);
}

static void
test_more_than_the_budget_is_served_while_held(void **state)
{
	struct mmq_cache *cache;
	struct mmq_err err;
	struct mmq_cached *entries[VERSIONS];

	(void)state;
	assert_int_equal(mmq_cache_open(&cache, store, 1, &err), 0);
	for (uint32_t i = 0; i < VERSIONS; i++)
		entries[i] = mmq_cache_acquire(cache, "default", "line", i + 1);
	for (uint32_t i = 0; i < VERSIONS; i++)
		collect(cache);
	for (uint32_t i = 0; i < VERSIONS; i++) {
		assert_int_equal(entries[i]->state, MMQ_CACHED_READY);
		mmq_cache_release(cache, &entries[i]);
	}
	assert_int_equal(mmq_cache_count(cache), 0);
	assert_int_equal(mmq_cache_bytes(cache), 0);
	mmq_cache_close(&cache);
}

static void
test_a_failed_load_is_forgotten_with_its_last_user(void **state)
{
	struct mmq_cache *cache;
	struct mmq_err err;

	(void)state;
	assert_int_equal(mmq_cache_open(&cache, store, 1 << 20, &err), 0);
	for (int i = 0; i < 2; i++) {
		struct mmq_cached *entry = mmq_cache_acquire(cache, "default", "line", 99);
		assert_int_equal(entry->state, MMQ_CACHED_LOADING);
		assert_ptr_equal(collect(cache), entry);
		assert_int_equal(entry->state, MMQ_CACHED_FAILED);
		assert_int_equal(entry->err.code, MMQ_NOT_FOUND);
		mmq_cache_release(cache, &entry);
		assert_int_equal(mmq_cache_count(cache), 0);
	}
	mmq_cache_close(&cache);
}

static void
test_closing_does_not_wait_for_what_nobody_needs(void **state)
{
	struct mmq_cache *cache;
	struct mmq_err err;

	(void)state;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(mmq_cache_open(&cache, store, 1 << 20, &err), 0);
		for (uint32_t version = 1; version <= VERSIONS; version++) {
			struct mmq_cached *entry = mmq_cache_acquire(cache, "default", "line", version);
			mmq_cache_release(cache, &entry);
		}
		mmq_cache_close(&cache);
		assert_null(cache);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_model_is_loaded_once),
		cmocka_unit_test(test_least_recently_used_leaves_first_and_held_stays),
		cmocka_unit_test(test_more_than_the_budget_is_served_while_held),
		cmocka_unit_test(test_a_failed_load_is_forgotten_with_its_last_user),
		cmocka_unit_test(test_closing_does_not_wait_for_what_nobody_needs),
	};
	return cmocka_run_group_tests(tests, publish_models, remove_models);
}
