/* pool.c: block distribution over persistent threads; blocks are taken from an atomic counter.
 *
 * A run is open until the caller finds no block left. A helper joins an open run by one compare-and-swap; the caller waits for those that
 * joined and for nobody else. So a helper that sleeps, or whose core another process has, is not waited for: a run then takes as long as
 * one thread does. */
#include "math/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "util/mem.h"

enum { SPINS = 2000 };  /* about 10 us: longer than the gap between two steps of a fit, shorter than a time slice */

/* The state of the last run in one word: its number, whether it is open, how many helpers have joined it. */
#define OPEN     ((uint64_t)1 << 31)
#define JOINED   (OPEN - 1)
#define ONE_RUN  ((uint64_t)1 << 32)

struct mmq_pool {
	unsigned threads;
	pthread_t *helpers;          /* threads - 1 */
	pthread_mutex_t lock;
	pthread_cond_t wake, idle;
	void (*work)(void *arg, size_t block, unsigned thread);
	void *arg;
	size_t blocks;
	atomic_size_t next;          /* next block to take */
	atomic_uint_fast64_t run;
	atomic_uint finished;        /* helpers that joined this run and are through */
	atomic_uint sleeping;        /* helpers at `wake` */
	atomic_bool waiting;         /* the caller is at `idle` */
	atomic_bool stopping;
};

struct helper {
	struct mmq_pool *pool;
	unsigned thread;
};

static void
take_blocks(struct mmq_pool *pool, unsigned thread)
{
	size_t block;
	while ((block = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed)) < pool->blocks)
		pool->work(pool->arg, block, thread);
}

static void
pause_briefly(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

static uint_fast64_t
number_of(uint_fast64_t run)
{
	return run & ~(uint_fast64_t)(JOINED | OPEN);
}

/* Is there an open run other than number `seen`, which this helper is through with? */
static bool
is_fresh(struct mmq_pool *pool, uint_fast64_t seen)
{
	uint_fast64_t run = atomic_load(&pool->run);
	return (run & OPEN) != 0 && number_of(run) != seen;
}

/* False: there is no fresh run, or it was closed before. */
static bool
join(struct mmq_pool *pool, uint_fast64_t *seen)
{
	uint_fast64_t run = atomic_load(&pool->run);
	while ((run & OPEN) != 0 && number_of(run) != *seen) {
		if (atomic_compare_exchange_weak(&pool->run, &run, run + 1)) {
			*seen = number_of(run);
			return true;
		}
	}
	return false;
}

static void
wait_for_run(struct mmq_pool *pool, uint_fast64_t seen)
{
	for (int i = 0; i < SPINS && !is_fresh(pool, seen) && !atomic_load(&pool->stopping); i++)
		pause_briefly();
	if (is_fresh(pool, seen) || atomic_load(&pool->stopping))
		return;
	pthread_mutex_lock(&pool->lock);
	atomic_fetch_add(&pool->sleeping, 1);
	while (!is_fresh(pool, seen) && !atomic_load(&pool->stopping))
		pthread_cond_wait(&pool->wake, &pool->lock);
	atomic_fetch_sub(&pool->sleeping, 1);
	pthread_mutex_unlock(&pool->lock);
}

static void *
help(void *arg)
{
	struct helper self = *(struct helper *)arg;
	struct mmq_pool *pool = self.pool;
	uint_fast64_t seen = 0;      /* runs are numbered from one on */

	free(arg);
	while (!atomic_load(&pool->stopping)) {
		if (!join(pool, &seen)) {
			wait_for_run(pool, seen);
			continue;
		}
		take_blocks(pool, self.thread);
		atomic_fetch_add(&pool->finished, 1);
		if (atomic_load(&pool->waiting)) {
			pthread_mutex_lock(&pool->lock);
			pthread_cond_signal(&pool->idle);
			pthread_mutex_unlock(&pool->lock);
		}
	}
	return NULL;
}

static void
wake_sleepers(struct mmq_pool *pool)
{
	if (atomic_load(&pool->sleeping) == 0)
		return;
	pthread_mutex_lock(&pool->lock);
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
}

struct mmq_pool *
mmq_pool_new(unsigned threads)
{
	struct mmq_pool *pool = mmq_alloc(sizeof(*pool));

	pool->threads = 1;
	pool->helpers = mmq_array(threads, sizeof(*pool->helpers));
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pthread_cond_init(&pool->idle, NULL);
	for (unsigned i = 1; i < threads; i++) {
		struct helper *helper = mmq_alloc(sizeof(*helper));
		*helper = (struct helper){ pool, i };
		if (pthread_create(&pool->helpers[pool->threads - 1], NULL, help, helper) != 0) {
			free(helper);  /* fewer threads give the same result, only later */
			break;
		}
		pool->threads++;
	}
	return pool;
}

void
mmq_pool_destroy(struct mmq_pool **pool_p)
{
	struct mmq_pool *pool = *pool_p;

	if (pool == NULL)
		return;
	atomic_store(&pool->stopping, true);
	pthread_mutex_lock(&pool->lock);
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i + 1 < pool->threads; i++)
		pthread_join(pool->helpers[i], NULL);
	pthread_mutex_destroy(&pool->lock);
	pthread_cond_destroy(&pool->wake);
	pthread_cond_destroy(&pool->idle);
	free(pool->helpers);
	free(pool);
	*pool_p = NULL;
}

unsigned
mmq_pool_threads(const struct mmq_pool *pool)
{
	return pool == NULL ? 1 : pool->threads;
}

void
mmq_pool_run(struct mmq_pool *pool, size_t blocks, void (*work)(void *arg, size_t block, unsigned thread), void *arg)
{
	if (mmq_pool_threads(pool) == 1 || blocks <= 1) {
		for (size_t i = 0; i < blocks; i++)
			work(arg, i, 0);
		return;
	}
	pool->work = work;
	pool->arg = arg;
	pool->blocks = blocks;
	atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
	atomic_store_explicit(&pool->finished, 0, memory_order_relaxed);
	atomic_store(&pool->run, number_of(atomic_load(&pool->run)) + ONE_RUN + OPEN);
	wake_sleepers(pool);
	take_blocks(pool, 0);
	unsigned joined = (unsigned)(atomic_fetch_and(&pool->run, ~(uint_fast64_t)OPEN) & JOINED);
	for (int i = 0; i < SPINS && atomic_load(&pool->finished) < joined; i++)
		pause_briefly();
	if (atomic_load(&pool->finished) == joined)
		return;
	pthread_mutex_lock(&pool->lock);
	atomic_store(&pool->waiting, true);
	while (atomic_load(&pool->finished) < joined)
		pthread_cond_wait(&pool->idle, &pool->lock);
	atomic_store(&pool->waiting, false);
	pthread_mutex_unlock(&pool->lock);
}
