/* table.h: a hash table of pointers and a heap of times: the core's two indexes. Neither knows what it holds. */
#ifndef MMQ_BROKER_TABLE_H
#define MMQ_BROKER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Open addressing, linear probing, deletion by shifting back. Several values may share a hash: the caller compares keys. */
struct core_slot { uint64_t hash; void *value; };
struct core_table { struct core_slot *slots; size_t mask, count; };

void core_table_fini(struct core_table *table);
void core_table_put(struct core_table *table, uint64_t hash, void *value);
void core_table_remove(struct core_table *table, uint64_t hash, const void *value); /* no harm if it is not there */
/* The next value with this hash. *cursor is SIZE_MAX at first; NULL: no more. No changes between calls of one walk. */
void *core_table_find(const struct core_table *table, uint64_t hash, size_t *cursor);

/* A binary heap of things that embed a struct core_timer; the smallest `due` is first. */
struct core_timer { int64_t due; uint32_t at; uint32_t kind; };  /* at: index + 1, 0: not in a heap */
struct core_heap_item { int64_t due; struct core_timer *timer; };   /* due is here too: sifting does not touch the timers */
struct core_heap { struct core_heap_item *items; size_t count, capacity; };

void core_heap_fini(struct core_heap *heap);
void core_heap_set(struct core_heap *heap, struct core_timer *timer, int64_t due);  /* put in, or move */
void core_heap_remove(struct core_heap *heap, struct core_timer *timer);            /* no harm if it is not there */

#endif
