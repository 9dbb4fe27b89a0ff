/* category.h: the known values of a category column and a hash table to find a value's code. */
#ifndef MMQ_DATA_CATEGORY_H
#define MMQ_DATA_CATEGORY_H

#include <stddef.h>
#include <stdint.h>

#include "data/frame.h"

struct mmq_categories {
	struct mmq_text *items;  /* code = index; texts in one block */
	size_t count;
	char *block;
	uint32_t *table;         /* open addressing; entry = code + 1, 0 = free; size is a power of two >= 2 * count */
	size_t table_size;
};

/* items (count, distinct) are copied. */
void mmq_categories_init(struct mmq_categories *categories, const struct mmq_text *items, size_t count);
void mmq_categories_fini(struct mmq_categories *categories);
int32_t mmq_categories_find(const struct mmq_categories *categories, struct mmq_text text);  /* -1: not known */

/* Collects the distinct texts of a column while it is read. */
struct mmq_distinct {
	struct mmq_categories known;  /* items borrow until finish */
	struct mmq_arena arena;
	size_t capacity;
};
void mmq_distinct_init(struct mmq_distinct *distinct);
/* Returns the index of text in order of appearance. */
uint32_t mmq_distinct_add(struct mmq_distinct *distinct, struct mmq_text text);
/* Sorts bytewise into categories; distinct is then finished. */
void mmq_distinct_finish(struct mmq_distinct *distinct, struct mmq_categories *categories_out);
void mmq_distinct_fini(struct mmq_distinct *distinct);

int mmq_text_compare(const void *a, const void *b);  /* struct mmq_text, bytewise, for qsort */

#endif
