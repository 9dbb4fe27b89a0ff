/* pool.h: a few threads that split one piece of work into fixed blocks.
 *
 * The blocks depend only on the size of the work, never on the number of threads, and partial results are to be
 * combined in block order by the caller: the same bits come out for any thread count. Waiting spins briefly, then sleeps,
 * so that a core taken by another process costs its share and no more. */
#ifndef MMQ_MATH_POOL_H
#define MMQ_MATH_POOL_H

#include <stddef.h>

struct mmq_pool;

struct mmq_pool *mmq_pool_new(unsigned threads);      /* threads >= 1, the caller's counted; never NULL */
void mmq_pool_destroy(struct mmq_pool **pool);
unsigned mmq_pool_threads(const struct mmq_pool *pool); /* NULL: 1 */

/* Call work(arg, block, thread) once for each block 0..blocks-1; returns when all are done. thread < mmq_pool_threads: for
 * per-thread scratch. pool == NULL runs all in the caller. Not re-entrant: work must not use the same pool. */
void mmq_pool_run(struct mmq_pool *pool, size_t blocks, void (*work)(void *arg, size_t block, unsigned thread), void *arg);

#endif
