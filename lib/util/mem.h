/* mem.h: allocation with checked sizes, and an arena for things that die together.
 *
 * Running out of memory for sizes that passed the limits is not a user's error that a request can survive:
 * mmq_alloc aborts with a message, and a supervisor restarts the process. Sizes that come from outside
 * are checked against a limit first, or taken with mmq_try_array, which returns NULL. */
#ifndef MMQ_UTIL_MEM_H
#define MMQ_UTIL_MEM_H

#include <stdbool.h>
#include <stddef.h>

void *mmq_alloc(size_t bytes);                              /* zeroed; never NULL; free() it */
void *mmq_array(size_t count, size_t size);                 /* zeroed count * size bytes; aborts on overflow */
void *mmq_try_array(size_t count, size_t size);             /* the same, but NULL on overflow or no memory */
void *mmq_grow(void *old, size_t count, size_t size);       /* realloc; new bytes are not cleared */
void *mmq_aligned(size_t bytes);                            /* 64-byte aligned, zeroed, padded to 64 bytes; free() it */
void *mmq_aligned_huge(size_t bytes);                       /* the same; from 1 MiB on, of huge pages if the system has them */
void *mmq_try_aligned(size_t bytes);                        /* the same, but NULL when there is no memory */
char *mmq_strdup(const char *text);
char *mmq_strndup(const char *text, size_t length);
bool mmq_size_mul(size_t a, size_t b, size_t *product_out); /* false on overflow */

/* Memory that is handed out piece by piece and given back all at once. Pieces are 16-byte aligned. */
struct mmq_arena {
	struct mmq_arena_block *blocks;
	size_t used_bytes;  /* handed out since init or reset */
};
void mmq_arena_init(struct mmq_arena *arena);
void *mmq_arena_get(struct mmq_arena *arena, size_t bytes); /* not cleared; never NULL */
char *mmq_arena_strndup(struct mmq_arena *arena, const char *text, size_t length);
void mmq_arena_reset(struct mmq_arena *arena);              /* forget all pieces, keep the largest block for reuse */
void mmq_arena_fini(struct mmq_arena *arena);

#endif
