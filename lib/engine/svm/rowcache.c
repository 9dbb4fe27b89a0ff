/* rowcache.c: a slab of equal slots on a doubly linked list, newest at the head.
 *
 * Missing rows are computed six at a time, tile by tile: dot products of a tile stay in the first cache until they are kernel
 * values. Pages of the slab are only touched when a slot is first used. */
#include "engine/svm/rowcache.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "util/mem.h"

enum { NONE = UINT32_MAX, PANELS_PER_BLOCK = 64, PANELS_PER_TILE = 32 };

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
	size_t slots_count, slots_max, rows_min;
	uint32_t newest, oldest;
	float *slab;              /* (slots_max, panels * SVM_PANEL) */
	size_t slab_bytes;
	float *queries;           /* (rows_min, cols) */
	float *query_norm;        /* (rows_min) */
	float **missing;          /* (rows_min) */
};

struct svm_rowcache *
svm_rowcache_new(const struct svm_kernel *kernel, const struct svm_rows *rows, size_t bytes_max, size_t rows_min, struct mmq_pool *pool)
{
	struct svm_rowcache *cache = mmq_alloc(sizeof(*cache));
	size_t row_bytes = rows->panels * SVM_PANEL * sizeof(float);

	*cache = (struct svm_rowcache){ .kernel = *kernel, .rows = rows, .pool = pool, .newest = NONE, .oldest = NONE, .rows_min = rows_min };
	cache->slots_max = row_bytes == 0 ? 0 : bytes_max / row_bytes;
	if (cache->slots_max > rows->rows)
		cache->slots_max = rows->rows;
	if (cache->slots_max < rows_min)
		cache->slots_max = rows_min;
	cache->slots = mmq_array(cache->slots_max, sizeof(*cache->slots));
	cache->slot_of = mmq_array(rows->rows, sizeof(*cache->slot_of));
	for (size_t i = 0; i < rows->rows; i++)
		cache->slot_of[i] = NONE;
	cache->slab_bytes = cache->slots_max * row_bytes;
	void *slab = mmap(NULL, cache->slab_bytes > 0 ? cache->slab_bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (slab == MAP_FAILED)   /* no address space for the whole budget: as few rows as will do */
		slab = mmap(NULL, cache->slab_bytes = (cache->slots_max = rows_min) * row_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (slab == MAP_FAILED)
		abort();              /* as every allocation of this size does, see util/mem.h */
	madvise(slab, cache->slab_bytes, MADV_HUGEPAGE);  /* a hint: kernel rows are read column block by column block */
	cache->slab = slab;
	cache->queries = mmq_aligned(rows_min * rows->cols * sizeof(float));
	cache->query_norm = mmq_array(rows_min, sizeof(float));
	cache->missing = mmq_array(rows_min, sizeof(float *));
	return cache;
}

void
svm_rowcache_destroy(struct svm_rowcache **cache_p)
{
	struct svm_rowcache *cache = *cache_p;
	if (cache == NULL)
		return;
	munmap(cache->slab, cache->slab_bytes > 0 ? cache->slab_bytes : 1);
	free(cache->query_norm);
	free(cache->missing);
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
		cache->slots[index].values = cache->slab + (size_t)index * cache->rows->panels * SVM_PANEL;
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

struct fill {
	const struct svm_rowcache *cache;
	size_t count;
};

static void
fill_block(void *arg, size_t block, unsigned thread)
{
	const struct fill *fill = arg;
	const struct svm_rowcache *cache = fill->cache;
	const struct svm_rows *rows = cache->rows;
	size_t end = (block + 1) * PANELS_PER_BLOCK < rows->panels ? (block + 1) * PANELS_PER_BLOCK : rows->panels;
	_Alignas(64) float tile[SVM_QUERIES_MAX * PANELS_PER_TILE * SVM_PANEL];

	(void)thread;
	for (size_t from = block * PANELS_PER_BLOCK; from < end; from += PANELS_PER_TILE) {
		size_t to = from + PANELS_PER_TILE < end ? from + PANELS_PER_TILE : end, width = (to - from) * SVM_PANEL;
		for (size_t q = 0; q < fill->count; q += SVM_QUERIES_MAX) {
			size_t count = fill->count - q < SVM_QUERIES_MAX ? fill->count - q : SVM_QUERIES_MAX;
			svm_kernel_dots(rows, from, to, cache->queries + q * rows->cols, rows->cols, count, tile, width);
			for (size_t k = 0; k < count; k++)
				svm_kernel_finish(&cache->kernel, tile + k * width, cache->missing[q + k] + from * SVM_PANEL, width,
				    rows->norm + from * SVM_PANEL, cache->query_norm[q + k]);
		}
	}
}

void
svm_rowcache_get(struct svm_rowcache *cache, const size_t *rows, size_t count, const float **rows_out)
{
	struct fill fill = { .cache = cache };

	for (size_t i = 0; i < count; i++) {
		bool is_missing;
		struct slot *slot = claim(cache, rows[i], &is_missing);
		rows_out[i] = slot->values;
		if (!is_missing)
			continue;
		svm_rows_get(cache->rows, rows[i], cache->queries + fill.count * cache->rows->cols);
		cache->query_norm[fill.count] = cache->rows->norm[rows[i]];
		cache->missing[fill.count++] = slot->values;
	}
	if (fill.count > 0)
		mmq_pool_run(cache->pool, (cache->rows->panels + PANELS_PER_BLOCK - 1) / PANELS_PER_BLOCK, fill_block, &fill);
}
