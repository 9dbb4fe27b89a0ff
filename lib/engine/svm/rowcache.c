/* rowcache.c: a slab of equal slots on a doubly linked list, newest at the head. */
#include "engine/svm/rowcache.h"

#include <stdint.h>
#include <stdlib.h>

#include "util/mem.h"

enum { NONE = UINT32_MAX, PANELS_PER_BLOCK = 256 };

struct slot {
	float *values;            /* (panels * SVM_PANEL) */
	uint32_t row, older, newer;
};

struct svm_rowcache {
	struct svm_kernel kernel;
	const struct svm_rows *rows;
	struct mmq_pool *pool;
	struct slot *slots;
	uint32_t *slot_of;        /* (rows) NONE when not here */
	size_t slots_count, slots_max;
	uint32_t newest, oldest;
	float *queries;           /* (2, cols) */
};

/* One pass over the panels for the rows that are missing. */
struct fill {
	struct svm_rowcache *cache;
	size_t count;
	float *outs[2];
};

struct svm_rowcache *
svm_rowcache_new(const struct svm_kernel *kernel, const struct svm_rows *rows, size_t bytes_max, struct mmq_pool *pool)
{
	struct svm_rowcache *cache = mmq_alloc(sizeof(*cache));
	size_t row_bytes = rows->panels * SVM_PANEL * sizeof(float);

	*cache = (struct svm_rowcache){ .kernel = *kernel, .rows = rows, .pool = pool, .newest = NONE, .oldest = NONE };
	cache->slots_max = row_bytes == 0 ? 0 : bytes_max / row_bytes;
	if (cache->slots_max > rows->rows)
		cache->slots_max = rows->rows;
	if (cache->slots_max < 2)
		cache->slots_max = 2;  /* a step needs two rows at once */
	cache->slots = mmq_array(cache->slots_max, sizeof(*cache->slots));
	cache->slot_of = mmq_array(rows->rows, sizeof(*cache->slot_of));
	for (size_t i = 0; i < rows->rows; i++)
		cache->slot_of[i] = NONE;
	cache->queries = mmq_aligned(2 * rows->cols * sizeof(float));
	return cache;
}

void
svm_rowcache_destroy(struct svm_rowcache **cache_p)
{
	struct svm_rowcache *cache = *cache_p;
	if (cache == NULL)
		return;
	for (size_t i = 0; i < cache->slots_count; i++)
		free(cache->slots[i].values);
	free(cache->slots);
	free(cache->slot_of);
	free(cache->queries);
	free(cache);
	*cache_p = NULL;
}

static void
list_remove(struct svm_rowcache *cache, uint32_t index)
{
	struct slot *slot = &cache->slots[index];
	*(slot->newer == NONE ? &cache->newest : &cache->slots[slot->newer].older) = slot->older;
	*(slot->older == NONE ? &cache->oldest : &cache->slots[slot->older].newer) = slot->newer;
}

static void
list_add_newest(struct svm_rowcache *cache, uint32_t index)
{
	struct slot *slot = &cache->slots[index];
	slot->older = cache->newest;
	slot->newer = NONE;
	*(cache->newest == NONE ? &cache->oldest : &cache->slots[cache->newest].newer) = index;
	cache->newest = index;
}

/* The slot that now belongs to row, as the newest; *is_missing_out when its values are still to be computed. */
static struct slot *
claim(struct svm_rowcache *cache, size_t row, bool *is_missing_out)
{
	uint32_t index = cache->slot_of[row];

	*is_missing_out = index == NONE;
	if (index != NONE) {
		list_remove(cache, index);
	} else if (cache->slots_count < cache->slots_max) {
		index = (uint32_t)cache->slots_count++;
		cache->slots[index].values = mmq_aligned(cache->rows->panels * SVM_PANEL * sizeof(float));
	} else {
		index = cache->oldest;
		list_remove(cache, index);
		cache->slot_of[cache->slots[index].row] = NONE;
	}
	cache->slots[index].row = (uint32_t)row;
	cache->slot_of[row] = index;
	list_add_newest(cache, index);
	return &cache->slots[index];
}

static void
fill_block(void *arg, size_t block, unsigned thread)
{
	const struct fill *fill = arg;
	const struct svm_rows *rows = fill->cache->rows;
	size_t from = block * PANELS_PER_BLOCK, to = from + PANELS_PER_BLOCK;

	(void)thread;
	if (to > rows->panels)
		to = rows->panels;
	for (size_t q = 0; q < fill->count; q++)
		svm_kernel_values(&fill->cache->kernel, rows, from, to, fill->cache->queries + q * rows->cols, rows->cols, 1,
		    fill->outs[q] + from * SVM_PANEL, 0);
}

static void
compute(struct svm_rowcache *cache, struct slot *const *missing, size_t count)
{
	struct fill fill = { .cache = cache, .count = count };
	for (size_t q = 0; q < count; q++) {
		svm_rows_get(cache->rows, missing[q]->row, cache->queries + q * cache->rows->cols);
		fill.outs[q] = missing[q]->values;
	}
	/* A block's panels stay in the cache for the second row. */
	mmq_pool_run(cache->pool, (cache->rows->panels + PANELS_PER_BLOCK - 1) / PANELS_PER_BLOCK, fill_block, &fill);
}

void
svm_rowcache_get_two(struct svm_rowcache *cache, size_t i, size_t j, const float **row_i_out, const float **row_j_out)
{
	struct slot *missing[2];
	size_t count = 0;
	bool is_missing;

	struct slot *slot_i = claim(cache, i, &is_missing);
	if (is_missing)
		missing[count++] = slot_i;
	struct slot *slot_j = i == j ? slot_i : claim(cache, j, &is_missing);
	if (i != j && is_missing)
		missing[count++] = slot_j;
	if (count > 0)
		compute(cache, missing, count);
	*row_i_out = slot_i->values;
	*row_j_out = slot_j->values;
}

const float *
svm_rowcache_get(struct svm_rowcache *cache, size_t i)
{
	const float *row, *same;
	svm_rowcache_get_two(cache, i, i, &row, &same);
	return row;
}
