/* rowcache.c: slots of equal size on a doubly linked list, newest at the head; or, when nothing has to go, segments one after
 * the other as they come: those of a class with itself from the start of the slab on, those between classes in a stretch for each lane.
 *
 * Only what is used of the slab gets pages, and pages are used again: on easy data and with many classes clearing them took most of a fit. */
#include "engine/svm/rowcache.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "util/mem.h"

enum { NONE = UINT32_MAX };
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
	bool slab_is_lent;        /* belongs to the cache that this one was narrowed from */
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

static size_t
widest_bytes(const struct svm_rowcache *cache)
{
	size_t widest = 0;
	for (size_t s = 0; s < cache->set->segments; s++)
		widest = segment_bytes(cache, s) > widest ? segment_bytes(cache, s) : widest;
	return widest;
}

/* As many slots as the slab has room for. */
static void
begin_slots(struct svm_rowcache *cache, size_t keys)
{
	cache->slot_bytes = widest_bytes(cache);
	cache->slots_max = cache->slot_bytes == 0 ? 0 : cache->slab_bytes / cache->slot_bytes;
	cache->slots_max = cache->slots_max > keys ? keys : cache->slots_max;
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
		size_t least = segments_min * widest_bytes(cache);
		cache->slab = map_slab(cache->slab_bytes = bytes_max > least ? bytes_max : least);
		if (cache->slab == NULL)   /* no address space for the whole budget: as few rows as will do */
			cache->slab = map_slab(cache->slab_bytes = least);
		begin_slots(cache, keys);
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
	if (!cache->slab_is_lent)
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
	svm_filler_run(filler, pool, segment);
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

/* The place of the row in each slot of a cache with one segment, in the order of the slab; SIZE_MAX: none. free() it. */
static size_t *
rows_by_slot(const struct svm_rowcache *cache, size_t *count_out)
{
	size_t places = cache->set->segment_start[1], *place_in = mmq_array(places > cache->slots_count ? places : cache->slots_count, sizeof(size_t));

	*count_out = cache->is_shared ? cache->own_used / segment_bytes(cache, 0) : cache->slots_count;
	for (size_t k = 0; k < *count_out; k++)
		place_in[k] = cache->is_shared ? SIZE_MAX : (size_t)cache->slots[k].key;
	for (size_t place = 0; cache->is_shared && place < places; place++)
		if (cache->state[place] >= PRESENT)
			place_in[(cache->state[place] - PRESENT) / segment_bytes(cache, 0)] = place;
	return place_in;
}

static void
forget_all(struct svm_rowcache *cache)
{
	for (size_t place = 0; place < cache->set->segment_start[1]; place++) {
		if (cache->is_shared)
			cache->state[place] = ABSENT;
		else
			cache->slot_of[place] = NONE;
	}
	cache->own_used = 0;
	cache->slots_count = 0;
	cache->newest = cache->oldest = NONE;
}

struct svm_rowcache *
svm_rowcache_narrow(struct svm_rowcache *cache, const struct svm_rowset *set, const size_t *place, size_t count)
{
	struct svm_rowcache *narrow = mmq_alloc(sizeof(*narrow));
	size_t wide_bytes = segment_bytes(cache, 0), slots, *place_in = rows_by_slot(cache, &slots), size = cache->element_bytes;
	uint32_t *index_of = mmq_array(cache->set->segment_start[1], sizeof(uint32_t));

	*narrow = (struct svm_rowcache){ .set = set, .element_bytes = size, .slab = cache->slab, .slab_bytes = cache->slab_bytes, .slab_is_lent = true,
		.newest = NONE, .oldest = NONE };
	begin_slots(narrow, set->segment_start[1]);
	for (size_t i = 0; i < count; i++)
		index_of[place[i]] = (uint32_t)i + 1;
	/* No value moves up in the slab, so that going up overwrites only what was read. */
	for (size_t k = 0; k < slots; k++) {
		if (place_in[k] == SIZE_MAX || index_of[place_in[k]] == 0)
			continue;
		bool is_missing;
		const char *from = cache->slab + k * wide_bytes;
		char *to = claim(narrow, index_of[place_in[k]] - 1, &is_missing);
		for (size_t i = 0; i < count; i++)
			memmove(to + i * size, from + place[i] * size, size);
		memset(to + count * size, 0, narrow->slot_bytes - count * size);
	}
	forget_all(cache);
	free(place_in);
	free(index_of);
	return narrow;
}
