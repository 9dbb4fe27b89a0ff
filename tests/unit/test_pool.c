/* test_pool.c: every block runs exactly once, by a known thread, for any number of threads; and the pool can be used again at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#include "math/pool.h"

enum { BLOCKS = 1000 };

struct job {
	atomic_uint runs[BLOCKS];
	atomic_uint strangers;           /* blocks that ran on a thread number out of range */
	double partial[BLOCKS];
	unsigned threads;
};

static void
work(void *arg, size_t block, unsigned thread)
{
	struct job *job = arg;
	atomic_fetch_add(&job->runs[block], 1);
	if (thread >= job->threads)
		atomic_fetch_add(&job->strangers, 1);
	double sum = 0.0;
	for (int i = 1; i < 50; i++)
		sum += 1.0 / ((double)block + i);
	job->partial[block] = sum;
}

static double
run(struct mmq_pool *pool, struct job *job, size_t blocks)
{
	double total = 0.0;
	*job = (struct job){ .threads = mmq_pool_threads(pool) };
	mmq_pool_run(pool, blocks, work, job);
	for (size_t b = 0; b < BLOCKS; b++)
		assert_int_equal(atomic_load(&job->runs[b]), b < blocks ? 1 : 0);
	assert_int_equal(atomic_load(&job->strangers), 0);
	for (size_t b = 0; b < blocks; b++)
		total += job->partial[b];
	return total;
}

static void
test_each_block_runs_once_and_sums_are_equal(void **unused)
{
	(void)unused;
	static struct job job;
	double alone = run(NULL, &job, BLOCKS);
	assert_int_equal(mmq_pool_threads(NULL), 1);
	for (unsigned threads = 1; threads <= 5; threads++) {
		struct mmq_pool *pool = mmq_pool_new(threads);
		assert_true(mmq_pool_threads(pool) >= 1 && mmq_pool_threads(pool) <= threads);
		for (size_t blocks = 0; blocks < 12; blocks++)
			run(pool, &job, blocks);
		for (int again = 0; again < 50; again++)
			assert_true(run(pool, &job, BLOCKS) == alone);
		mmq_pool_destroy(&pool);
		assert_null(pool);
		mmq_pool_destroy(&pool);
	}
}

static void
count(void *arg, size_t block, unsigned thread)
{
	(void)block;
	(void)thread;
	atomic_fetch_add((atomic_uint *)arg, 1);
}

/* Short runs one after the other: a helper that is late must not touch the next run's blocks. */
static void
test_many_short_runs_do_not_mix(void **unused)
{
	(void)unused;
	struct mmq_pool *pool = mmq_pool_new(3);
	for (unsigned i = 0; i < 3000; i++) {
		atomic_uint done = 0;
		mmq_pool_run(pool, 2 + i % 4, count, &done);
		assert_int_equal(atomic_load(&done), 2 + i % 4);
	}
	mmq_pool_destroy(&pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_block_runs_once_and_sums_are_equal),
		cmocka_unit_test(test_many_short_runs_do_not_mix),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
