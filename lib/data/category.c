/* category.c: distinct texts and their codes. The table is probed linearly and at most half full. */
#include "data/category.h"

#include <stdlib.h>
#include <string.h>

#include "util/hash.h"

static int32_t
find(const struct mmq_categories *known, struct mmq_text text, size_t *slot_out)
{
	size_t mask = known->table_size - 1;

	for (size_t slot = mmq_hash64(text.at, text.size) & mask;; slot = (slot + 1) & mask) {
		uint32_t entry = known->table[slot];
		if (entry == 0) {
			*slot_out = slot;
			return -1;
		}
		const struct mmq_text *item = &known->items[entry - 1];
		if (item->size == text.size && memcmp(item->at, text.at, text.size) == 0)
			return (int32_t)(entry - 1);
	}
}

int32_t
mmq_categories_find(const struct mmq_categories *categories, struct mmq_text text)
{
	size_t slot;
	return categories->count == 0 ? -1 : find(categories, text, &slot);
}

static void
rehash(struct mmq_categories *known, size_t size)
{
	size_t slot;

	free(known->table);
	known->table_size = size;
	known->table = mmq_array(size, sizeof(*known->table));
	for (size_t i = 0; i < known->count; i++)
		if (find(known, known->items[i], &slot) == -1)
			known->table[slot] = (uint32_t)i + 1;
}

void
mmq_categories_init(struct mmq_categories *categories, const struct mmq_text *items, size_t count)
{
	size_t bytes = 0, size = 4;

	for (size_t i = 0; i < count; i++)
		bytes += items[i].size;
	*categories = (struct mmq_categories){ .count = count };
	char *at = categories->block = mmq_alloc(bytes);
	categories->items = mmq_array(count, sizeof(*items));
	for (size_t i = 0; i < count; i++) {
		if (items[i].size > 0)
			memcpy(at, items[i].at, items[i].size);
		categories->items[i] = (struct mmq_text){ at, items[i].size };
		at += items[i].size;
	}
	while (size < count * 2)
		size *= 2;
	rehash(categories, size);
}

void
mmq_categories_fini(struct mmq_categories *categories)
{
	free(categories->items);
	free(categories->block);
	free(categories->table);
	*categories = (struct mmq_categories){ 0 };
}

void
mmq_distinct_init(struct mmq_distinct *distinct)
{
	*distinct = (struct mmq_distinct){ 0 };
	mmq_arena_init(&distinct->arena);
	rehash(&distinct->known, 64);
}

uint32_t
mmq_distinct_add(struct mmq_distinct *distinct, struct mmq_text text)
{
	struct mmq_categories *known = &distinct->known;
	size_t slot;
	int32_t index = find(known, text, &slot);

	if (index >= 0)
		return (uint32_t)index;
	if (known->count == distinct->capacity) {
		distinct->capacity = distinct->capacity * 2 + 32;
		known->items = mmq_grow(known->items, distinct->capacity, sizeof(*known->items));
	}
	known->items[known->count] = (struct mmq_text){ mmq_arena_strndup(&distinct->arena, text.at, text.size), text.size };
	known->table[slot] = (uint32_t)++known->count;
	if (known->count * 2 > known->table_size)
		rehash(known, known->table_size * 2);
	return (uint32_t)known->count - 1;
}

int
mmq_text_compare(const void *a, const void *b)
{
	const struct mmq_text *x = a, *y = b;
	uint32_t size = x->size < y->size ? x->size : y->size;
	int order = size > 0 ? memcmp(x->at, y->at, size) : 0;

	return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

void
mmq_distinct_finish(struct mmq_distinct *distinct, struct mmq_categories *categories_out)
{
	struct mmq_categories *known = &distinct->known;

	if (known->count > 0)
		qsort(known->items, known->count, sizeof(*known->items), mmq_text_compare);
	mmq_categories_init(categories_out, known->items, known->count);
	mmq_distinct_fini(distinct);
}

void
mmq_distinct_fini(struct mmq_distinct *distinct)
{
	mmq_categories_fini(&distinct->known);
	mmq_arena_fini(&distinct->arena);
	distinct->capacity = 0;
}
