/* pool.c: block distribution over persistent threads; blocks are taken from an atomic counter. */
#include "math/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "util/mem.h"

enum { SPINS = 2000 };  /* about 10 us: longer than the gap between two steps of a fit, shorter than a time slice */

struct mmq_pool {
	unsigned threads;
	pthread_t *helpers;          /* threads - 1 */
	pthread_mutex_t lock;
	pthread_cond_t wake, idle;
	void (*work)(void *arg, size_t block, unsigned thread);
	void *arg;
	size_t blocks;
	atomic_size_t next;          /* next block to take */
	atomic_uint generation;      /* one more for each run */
	atomic_uint busy;            /* helpers that have not finished this run */
	bool stopping;
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

static void *
help(void *arg)
{
	struct helper self = *(struct helper *)arg;
	struct mmq_pool *pool = self.pool;
	unsigned seen = 0;

	free(arg);
	for (;;) {
		for (int i = 0; i < SPINS && atomic_load_explicit(&pool->generation, memory_order_acquire) == seen; i++)
			pause_briefly();
		if (atomic_load_explicit(&pool->generation, memory_order_acquire) == seen) {
			pthread_mutex_lock(&pool->lock);
			while (atomic_load(&pool->generation) == seen)
				pthread_cond_wait(&pool->wake, &pool->lock);
			pthread_mutex_unlock(&pool->lock);
		}
		seen = atomic_load_explicit(&pool->generation, memory_order_acquire);
		if (pool->stopping)
			return NULL;
		take_blocks(pool, self.thread);
		if (atomic_fetch_sub_explicit(&pool->busy, 1, memory_order_acq_rel) == 1) {
			pthread_mutex_lock(&pool->lock);
			pthread_cond_signal(&pool->idle);
			pthread_mutex_unlock(&pool->lock);
		}
	}
}

static void
announce(struct mmq_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
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
	pool->stopping = true;
	announce(pool);
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
	atomic_store_explicit(&pool->busy, pool->threads - 1, memory_order_relaxed);
	announce(pool);
	take_blocks(pool, 0);
	for (int i = 0; i < SPINS && atomic_load_explicit(&pool->busy, memory_order_acquire) > 0; i++)
		pause_briefly();
	if (atomic_load_explicit(&pool->busy, memory_order_acquire) > 0) {
		pthread_mutex_lock(&pool->lock);
		while (atomic_load_explicit(&pool->busy, memory_order_acquire) > 0)
			pthread_cond_wait(&pool->idle, &pool->lock);
		pthread_mutex_unlock(&pool->lock);
	}
}
