/* table.c: the hash table and the heap of table.h. Both grow by doubling and never shrink: their sizes follow the core's limits. */
#include "broker/table.h"

#include <stdlib.h>

#include "util/mem.h"

void
core_table_fini(struct core_table *table)
{
	free(table->slots);
	*table = (struct core_table){ 0 };
}

static void
place(struct core_table *table, uint64_t hash, void *value)
{
	size_t at = hash & table->mask;

	while (table->slots[at].value != NULL)
		at = (at + 1) & table->mask;
	table->slots[at] = (struct core_slot){ hash, value };
}

void
core_table_put(struct core_table *table, uint64_t hash, void *value)
{
	struct core_slot *old = table->slots;
	size_t old_size = old == NULL ? 0 : table->mask + 1;

	if ((table->count + 1) * 3 > old_size * 2) {
		size_t size = old_size == 0 ? 64 : old_size * 2;
		table->slots = mmq_array(size, sizeof *table->slots);
		table->mask = size - 1;
		for (size_t i = 0; i < old_size; i++)
			if (old[i].value != NULL)
				place(table, old[i].hash, old[i].value);
		free(old);
	}
	place(table, hash, value);
	table->count++;
}

void *
core_table_find(const struct core_table *table, uint64_t hash, size_t *cursor)
{
	size_t at;

	if (table->count == 0)
		return NULL;
	at = *cursor == SIZE_MAX ? hash & table->mask : (*cursor + 1) & table->mask;
	for (; table->slots[at].value != NULL; at = (at + 1) & table->mask)
		if (table->slots[at].hash == hash) {
			*cursor = at;
			return table->slots[at].value;
		}
	return NULL;
}

void
core_table_remove(struct core_table *table, uint64_t hash, const void *value)
{
	size_t at = hash & table->mask, next, home;

	if (table->count == 0)
		return;
	while (table->slots[at].value != value) {
		if (table->slots[at].value == NULL)
			return;
		at = (at + 1) & table->mask;
	}
	/* Close the gap: a later entry may move into it unless its home lies behind the gap. */
	for (next = (at + 1) & table->mask; table->slots[next].value != NULL; next = (next + 1) & table->mask) {
		home = table->slots[next].hash & table->mask;
		if (((next - home) & table->mask) >= ((next - at) & table->mask)) {
			table->slots[at] = table->slots[next];
			at = next;
		}
	}
	table->slots[at] = (struct core_slot){ 0 };
	table->count--;
}

void
core_heap_fini(struct core_heap *heap)
{
	free(heap->items);
	*heap = (struct core_heap){ 0 };
}

static void
heap_put(struct core_heap *heap, size_t at, struct core_heap_item item)
{
	heap->items[at] = item;
	item.timer->at = (uint32_t)at + 1;
}

static void
heap_settle(struct core_heap *heap, size_t at, struct core_timer *timer)
{
	const struct core_heap_item item = { timer->due, timer };
	size_t parent, child;

	for (; at > 0; at = parent) {
		parent = (at - 1) / 2;
		if (heap->items[parent].due <= item.due)
			break;
		heap_put(heap, at, heap->items[parent]);
	}
	for (;; at = child) {
		child = 2 * at + 1;
		if (child >= heap->count)
			break;
		if (child + 1 < heap->count && heap->items[child + 1].due < heap->items[child].due)
			child++;
		if (heap->items[child].due >= item.due)
			break;
		heap_put(heap, at, heap->items[child]);
	}
	heap_put(heap, at, item);
}

void
core_heap_set(struct core_heap *heap, struct core_timer *timer, int64_t due)
{
	size_t at = timer->at;

	timer->due = due;
	if (at == 0) {
		if (heap->count == heap->capacity) {
			heap->capacity = heap->capacity == 0 ? 64 : heap->capacity * 2;
			heap->items = mmq_grow(heap->items, heap->capacity, sizeof *heap->items);
		}
		at = ++heap->count;
	}
	heap_settle(heap, at - 1, timer);
}

void
core_heap_remove(struct core_heap *heap, struct core_timer *timer)
{
	size_t at = timer->at;
	struct core_timer *last;

	if (at == 0)
		return;
	timer->at = 0;
	last = heap->items[--heap->count].timer;
	if (last != timer)
		heap_settle(heap, at - 1, last);
}
