/* rowcache.c: slots of equal size on a doubly linked list, newest at the head; or, when nothing has to go, segments one after
 * the other as they come: those of a class with itself from the start of the slab on, those between classes in a stretch for each lane.
 *
 * Missing rows are computed together, a stretch of the segment at a time, so that the stretch stays in the second cache for all of them.
 * Only what is used of the slab gets pages, and pages are used again: on easy data and with many classes clearing them took most of a fit. */
#include "engine/svm/rowcache.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "util/mem.h"

enum { NONE = UINT32_MAX, STRETCH_BYTES = 256 << 10, QUERIES_BYTES_MAX = 64 << 20 };
enum { ABSENT, IN_WORK, PRESENT };    /* of a segment in a shared cache: PRESENT + where it is in the slab, in bytes */

struct slot {
	uint64_t key;             /* place * segments + segment */
	uint32_t older, newer;
};

struct svm_rowcache {
	const struct svm_rowset *set;
	size_t element_bytes, slot_bytes;
	char *slab;
	size_t slab_bytes;
	bool is_shared;
	atomic_size_t *state;     /* (places * segments), shared */
	atomic_size_t own_used;   /* bytes of the slab with values of a segment with itself */
	size_t *lane_used;        /* (lanes) end of what is used in the lane's stretch */
	size_t lanes_start, lane_bytes;
	struct slot *slots;       /* else */
	uint32_t *slot_of;        /* (places * segments) NONE when not here */
	size_t slots_count, slots_max;
	uint32_t newest, oldest;
};

struct svm_filler {
	size_t block_queries, blocks_max;
	struct svm_queries *blocks;
	char *memory;
	size_t block_bytes;
	void **missing;           /* (rows_max) where their values go */
	size_t *missing_place;
	size_t missing_count, rows_max, lane;
	size_t *waiting;          /* (rows_max) which of the rows asked for another thread is at work on */
	/* Of the pass that runs. */
	const struct svm_rowset *set;
	size_t segment, stretch_panels, first, used;
};

static char *
map_slab(size_t bytes)
{
	void *slab = mmap(NULL, bytes > 0 ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return slab == MAP_FAILED ? NULL : slab;
}

static size_t
segment_bytes(const struct svm_rowcache *cache, size_t segment)
{
	return (cache->set->segment_start[segment + 1] - cache->set->segment_start[segment]) * cache->element_bytes;
}

/* Sizes of the shared form: all values of each segment with itself, and for each lane those between the two largest segments, both ways. */
static bool
fits_shared(struct svm_rowcache *cache, size_t bytes_max, size_t lanes)
{
	size_t segments = cache->set->segments, largest = 0, second = 0;

	cache->lanes_start = 0;
	for (size_t s = 0; s < segments; s++) {
		size_t bytes = segment_bytes(cache, s);
		cache->lanes_start += bytes * (bytes / cache->element_bytes);
		second = bytes > largest ? largest : bytes > second ? bytes : second;
		largest = bytes > largest ? bytes : largest;
	}
	cache->lane_bytes = 2 * largest * (second / cache->element_bytes);
	cache->slab_bytes = cache->lanes_start + lanes * cache->lane_bytes;
	return cache->slab_bytes <= bytes_max;
}

static void
begin_slots(struct svm_rowcache *cache, size_t bytes_max, size_t segments_min, size_t keys)
{
	for (size_t s = 0; s < cache->set->segments; s++)
		if (segment_bytes(cache, s) > cache->slot_bytes)
			cache->slot_bytes = segment_bytes(cache, s);
	cache->slots_max = cache->slot_bytes == 0 ? 0 : bytes_max / cache->slot_bytes;
	cache->slots_max = cache->slots_max > keys ? keys : cache->slots_max;
	cache->slots_max = cache->slots_max < segments_min ? segments_min : cache->slots_max;
	cache->slab = map_slab(cache->slab_bytes = cache->slots_max * cache->slot_bytes);
	if (cache->slab == NULL)   /* no address space for the whole budget: as few rows as will do */
		cache->slab = map_slab(cache->slab_bytes = (cache->slots_max = segments_min) * cache->slot_bytes);
	cache->slots = mmq_array(cache->slots_max, sizeof(*cache->slots));
	cache->slot_of = mmq_array(keys, sizeof(*cache->slot_of));
	for (size_t i = 0; i < keys; i++)
		cache->slot_of[i] = NONE;
}

struct svm_rowcache *
svm_rowcache_new(const struct svm_rowset *set, size_t bytes_max, size_t segments_min, size_t lanes)
{
	struct svm_rowcache *cache = mmq_alloc(sizeof(*cache));
	size_t keys = set->rows.panels * SVM_PANEL * set->segments;

	*cache = (struct svm_rowcache){ .set = set, .element_bytes = svm_rows_element_bytes(&set->rows), .newest = NONE, .oldest = NONE };
	cache->is_shared = fits_shared(cache, bytes_max, lanes) && (cache->slab = map_slab(cache->slab_bytes)) != NULL;
	if (cache->is_shared) {
		cache->state = mmq_array(keys, sizeof(*cache->state));
		cache->lane_used = mmq_array(lanes, sizeof(*cache->lane_used));
	} else {
		begin_slots(cache, bytes_max, segments_min, keys);
	}
	if (cache->slab == NULL)
		abort();              /* as every allocation of this size does, see util/mem.h */
	madvise(cache->slab, cache->slab_bytes, MADV_HUGEPAGE);  /* a hint: kernel rows are read column block by column block */
	return cache;
}

void
svm_rowcache_destroy(struct svm_rowcache **cache_p)
{
	struct svm_rowcache *cache = *cache_p;
	if (cache == NULL)
		return;
	munmap(cache->slab, cache->slab_bytes > 0 ? cache->slab_bytes : 1);
	free((void *)cache->state);
	free(cache->lane_used);
	free(cache->slots);
	free(cache->slot_of);
	free(cache);
	*cache_p = NULL;
}

bool
svm_rowcache_is_shared(const struct svm_rowcache *cache)
{
	return cache->is_shared;
}

size_t
svm_rowcache_room(const struct svm_rowcache *cache)
{
	return cache->is_shared ? SIZE_MAX : cache->slots_max;
}

const struct svm_rowset *
svm_rowcache_set(const struct svm_rowcache *cache)
{
	return cache->set;
}

struct svm_filler *
svm_filler_new(const struct svm_rowset *set, size_t rows_max, size_t lane)
{
	struct svm_filler *filler = mmq_alloc(sizeof(*filler));

	filler->block_queries = svm_queries_max(&set->rows, SIZE_MAX);
	filler->block_bytes = svm_queries_bytes(&set->rows, filler->block_queries);
	filler->blocks_max = (rows_max + filler->block_queries - 1) / filler->block_queries;
	/* Queries of very wide rows: fewer at a time. */
	while (filler->blocks_max > 1 && filler->blocks_max * filler->block_bytes > QUERIES_BYTES_MAX)
		filler->blocks_max = (filler->blocks_max + 1) / 2;
	filler->rows_max = rows_max;
	filler->lane = lane;
	filler->memory = mmq_aligned(filler->blocks_max * filler->block_bytes);
	filler->blocks = mmq_array(filler->blocks_max, sizeof(*filler->blocks));
	for (size_t b = 0; b < filler->blocks_max; b++)
		svm_queries_begin(&filler->blocks[b], &set->rows, filler->block_queries, filler->memory + b * filler->block_bytes);
	filler->missing = mmq_array(rows_max, sizeof(void *));
	filler->missing_place = mmq_array(rows_max, sizeof(size_t));
	filler->waiting = mmq_array(rows_max, sizeof(size_t));
	return filler;
}

void
svm_filler_destroy(struct svm_filler **filler_p)
{
	struct svm_filler *filler = *filler_p;
	if (filler == NULL)
		return;
	free(filler->memory);
	free(filler->blocks);
	free(filler->missing);
	free(filler->missing_place);
	free(filler->waiting);
	free(filler);
	*filler_p = NULL;
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

/* The slot that now belongs to key, as the newest; *is_missing_out when its values are still to be computed. */
static char *
claim(struct svm_rowcache *cache, size_t key, bool *is_missing_out)
{
	uint32_t index = cache->slot_of[key];

	*is_missing_out = index == NONE;
	if (index != NONE) {
		list_remove(cache, index);
	} else if (cache->slots_count < cache->slots_max) {
		index = (uint32_t)cache->slots_count++;
	} else {
		index = cache->oldest;
		list_remove(cache, index);
		cache->slot_of[cache->slots[index].key] = NONE;
	}
	cache->slots[index].key = key;
	cache->slot_of[key] = index;
	list_add_newest(cache, index);
	return cache->slab + (size_t)index * cache->slot_bytes;
}

/* The same in a shared cache. NULL: it is being computed, by another thread or for an earlier one of these rows. */
static char *
claim_shared(struct svm_rowcache *cache, size_t lane, size_t place, size_t segment, bool *is_missing_out)
{
	const size_t *start = cache->set->segment_start + segment;
	size_t key = place * cache->set->segments + segment, bytes = segment_bytes(cache, segment), seen = ABSENT, at;

	*is_missing_out = atomic_compare_exchange_strong_explicit(&cache->state[key], &seen, IN_WORK, memory_order_acquire, memory_order_acquire);
	if (!*is_missing_out)
		return seen == IN_WORK ? NULL : cache->slab + (seen - PRESENT);
	if (place >= start[0] && place < start[1]) {
		at = atomic_fetch_add_explicit(&cache->own_used, bytes, memory_order_relaxed);
	} else {
		at = cache->lanes_start + lane * cache->lane_bytes + cache->lane_used[lane];
		cache->lane_used[lane] += bytes;
	}
	return cache->slab + at;
}

void
svm_rowcache_forget(struct svm_rowcache *cache, size_t lane, size_t first, size_t second)
{
	const struct svm_rowset *set = cache->set;
	const size_t *start = set->segment_start;

	if (!cache->is_shared || first == second)
		return;               /* slots that nobody asks for any more are the first to go */
	for (size_t place = start[first]; place < start[first + 1]; place++)
		atomic_store_explicit(&cache->state[place * set->segments + second], ABSENT, memory_order_relaxed);
	for (size_t place = start[second]; place < start[second + 1]; place++)
		atomic_store_explicit(&cache->state[place * set->segments + first], ABSENT, memory_order_relaxed);
	cache->lane_used[lane] = 0;
}

static void
fill_stretch(void *arg, size_t block, unsigned thread)
{
	const struct svm_filler *filler = arg;
	const struct svm_rowset *set = filler->set;
	size_t base = set->segment_start[filler->segment] / SVM_PANEL, end = set->segment_start[filler->segment + 1] / SVM_PANEL;
	size_t from = base + block * filler->stretch_panels, to = from + filler->stretch_panels < end ? from + filler->stretch_panels : end;
	size_t element_bytes = svm_rows_element_bytes(&set->rows);
	void *out[SVM_SPARSE_QUERIES_MAX];

	(void)thread;
	for (size_t b = 0; b < filler->used; b++) {
		for (size_t q = 0; q < filler->blocks[b].count; q++)
			out[q] = (char *)filler->missing[filler->first + b * filler->block_queries + q] + (from - base) * SVM_PANEL * element_bytes;
		svm_rows_values(&set->kernel, &set->rows, &filler->blocks[b], from, to, out);
	}
}

/* Compute the missing ones, as many at a time as there are query blocks. */
static void
fill(struct svm_filler *filler, struct mmq_pool *pool, const struct svm_rowset *set, size_t segment)
{
	size_t panels = (set->segment_start[segment + 1] - set->segment_start[segment]) / SVM_PANEL;
	size_t panel_bytes = set->rows.cols * SVM_PANEL * svm_rows_element_bytes(&set->rows);

	filler->set = set;
	filler->segment = segment;
	filler->stretch_panels = STRETCH_BYTES / (panel_bytes + 1) / 2 * 2 + 2;
	if (filler->stretch_panels > 64)
		filler->stretch_panels = 64;
	for (filler->first = 0; filler->first < filler->missing_count; filler->first += filler->blocks_max * filler->block_queries) {
		filler->used = 0;
		for (size_t m = filler->first; m < filler->missing_count && filler->used < filler->blocks_max; m += filler->block_queries) {
			struct svm_queries *queries = &filler->blocks[filler->used++];
			for (size_t q = 0; q < filler->block_queries && m + q < filler->missing_count; q++)
				svm_queries_put(queries, set->x, set->order[filler->missing_place[m + q]]);
		}
		mmq_pool_run(pool, (panels + filler->stretch_panels - 1) / filler->stretch_panels, fill_stretch, filler);
		for (size_t b = 0; b < filler->used; b++)
			svm_queries_clear(&filler->blocks[b]);
	}
}

void
svm_rowcache_get(struct svm_rowcache *cache, struct svm_filler *filler, struct mmq_pool *pool, const size_t *places, size_t count,
    size_t segment, const void **rows_out, size_t out_stride)
{
	const struct svm_rowset *set = cache->set;
	size_t waiting = 0;

	filler->missing_count = 0;
	for (size_t i = 0; i < count; i++) {
		bool is_missing;
		char *row = cache->is_shared ? claim_shared(cache, filler->lane, places[i], segment, &is_missing) :
		    claim(cache, places[i] * set->segments + segment, &is_missing);
		rows_out[i * out_stride] = row;
		if (row == NULL)
			filler->waiting[waiting++] = i;
		if (!is_missing)
			continue;
		filler->missing_place[filler->missing_count] = places[i];
		filler->missing[filler->missing_count++] = row;
	}
	fill(filler, pool, set, segment);
	for (size_t m = 0; cache->is_shared && m < filler->missing_count; m++)
		atomic_store_explicit(&cache->state[filler->missing_place[m] * set->segments + segment],
		    PRESENT + (size_t)((char *)filler->missing[m] - cache->slab), memory_order_release);
	for (size_t w = 0; w < waiting; w++) {
		size_t i = filler->waiting[w], seen;
		while ((seen = atomic_load_explicit(&cache->state[places[i] * set->segments + segment], memory_order_acquire)) < PRESENT)
			sched_yield();
		rows_out[i * out_stride] = cache->slab + (seen - PRESENT);
	}
}

double
svm_rowset_self(const struct svm_rowset *set, size_t place)
{
	size_t row = set->order[place], col;
	if (!set->rows.form.precomputed || row == SVM_NO_ROW)
		return row == SVM_NO_ROW ? 0 : svm_rows_self(&set->kernel, &set->rows, place);
	for (size_t k = 0; k < svm_batch_stored(set->x, row); k++) {
		double value = svm_batch_get(set->x, row, k, &col);
		if (col == row)
			return set->rows.form.wide ? value : (double)(float)value;
	}
	return 0;
}
