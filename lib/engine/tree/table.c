/* table.c: one row's leaves from tables of struck leaves: masks (walk.h) for a single row, where there are no other rows to share a vector with.
 *
 * The entries of all trees are sorted by slot and threshold. Those that a value fails are then the first ones of its slot, so what whole
 * groups of them strike is worked out when the model is loaded: one row of words (a bit per leaf of every tree) for each number of failed
 * groups. A row ANDs one such row per slot, and strikes for itself what the group on the border strikes; groups are small, so that this takes no
 * loop whose length would be guessed wrong. For models whose tables fit the second-level cache. */
#include <stdlib.h>
#include <string.h>

#include "engine/tree/walk.h"
#include "math/cpu.h"
#include "util/mem.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { GROUP = 2, LANES = 8, TABLE_BYTES_MAX = 1 << 20, SLOTS_MAX = 512 };

struct mmq_walk_table {
	uint32_t slots, words;        /* words: padded to 8 */
	uint32_t *group_start;        /* (slots + 1): groups of entries before each slot, without the empty one that ends every slot */
	uint32_t *pivot_start;        /* (slots + 1) into pivot, multiples of 8 */
	float *pivot;                 /* largest threshold of each group, then +inf */
	float *threshold;             /* (groups + slots, GROUP): ascending within a slot, the last group filled up with +inf */
	uint32_t *word, *mask;        /* (groups + slots, GROUP) */
	uint32_t *struck;             /* (groups + slots, words): row group_start[s] + s + k is what the first k groups of slot s leave */
};

struct sorted { uint32_t slot, word, mask; float threshold; };

static int
compare(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;
	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	return (x->threshold > y->threshold) - (x->threshold < y->threshold);
}

static struct sorted *
sort_entries(const struct mmq_tree_walk *walk, enum mmq_walk_space space, uint32_t words)
{
	uint32_t count = walk->word_start[words];
	struct sorted *sorted = mmq_array((size_t)count + 1, sizeof(*sorted));
	for (uint32_t w = 0; w < words; w++)
		for (uint32_t e = walk->word_start[w]; e < walk->word_start[w + 1]; e++)
			sorted[e] = (struct sorted){ walk->entries[space][e].slot / MMQ_WALK_LANES, w, walk->entries[space][e].mask, walk->entries[space][e].threshold };
	qsort(sorted, count, sizeof(*sorted), compare);
	return sorted;
}

static void
count_groups(struct mmq_walk_table *table, const struct sorted *sorted, uint32_t count)
{
	table->group_start = mmq_array((size_t)table->slots + 1, sizeof(uint32_t));
	table->pivot_start = mmq_array((size_t)table->slots + 1, sizeof(uint32_t));
	for (uint32_t s = 0, e = 0; s < table->slots; s++) {
		uint32_t from = e;
		while (e < count && sorted[e].slot == s)
			e++;
		uint32_t groups = (e - from + GROUP - 1) / GROUP;
		table->group_start[s + 1] = table->group_start[s] + groups;
		table->pivot_start[s + 1] = table->pivot_start[s] + (groups + LANES - 1) / LANES * LANES;
	}
}

static void
fill_slot(struct mmq_walk_table *table, uint32_t s, const struct sorted *sorted, uint32_t count)
{
	uint32_t groups = table->group_start[s + 1] - table->group_start[s];
	uint32_t *row = table->struck + (size_t)(table->group_start[s] + s) * table->words;
	memset(row, 0xff, table->words * sizeof(*row));
	for (uint32_t k = table->pivot_start[s]; k < table->pivot_start[s + 1]; k++)
		table->pivot[k] = __builtin_inff();
	for (size_t at = (size_t)(table->group_start[s] + s + groups) * GROUP, end = at + GROUP; at < end; at++)
		table->mask[at] = UINT32_MAX;
	for (uint32_t g = 0; g < groups; g++, row += table->words) {
		memcpy(row + table->words, row, table->words * sizeof(*row));
		for (uint32_t i = g * GROUP; i < (g + 1) * GROUP; i++) {
			struct sorted entry = i < count ? sorted[i] : (struct sorted){ s, 0, UINT32_MAX, __builtin_inff() };
			size_t at = (size_t)(table->group_start[s] + s) * GROUP + i;
			table->threshold[at] = table->pivot[table->pivot_start[s] + g] = entry.threshold;
			table->word[at] = entry.word;
			table->mask[at] = entry.mask;
			row[table->words + entry.word] &= entry.mask;
		}
	}
}

void
mmq_walk_build_table(struct mmq_tree_walk *walk, enum mmq_walk_space space)
{
	if (walk->tree_word == NULL || walk->slots.count > SLOTS_MAX || !mmq_cpu_has_avx2())
		return;
	uint32_t words = walk->tree_word[walk->trees], count = walk->word_start[words], padded = (words + 7) / 8 * 8;
	if (((size_t)count / GROUP + 2 * (size_t)walk->slots.count) * padded * sizeof(uint32_t) > TABLE_BYTES_MAX)
		return;
	struct sorted *sorted = sort_entries(walk, space, words);
	struct mmq_walk_table *table = walk->tables[space] = mmq_alloc(sizeof(*table));
	table->slots = walk->slots.count;
	table->words = padded;
	count_groups(table, sorted, count);
	uint32_t groups = table->group_start[table->slots];
	table->pivot = mmq_aligned(((size_t)table->pivot_start[table->slots] + 1) * sizeof(float));
	size_t entries = (size_t)(groups + table->slots) * GROUP;
	table->threshold = mmq_aligned(entries * sizeof(float));
	table->word = mmq_array(entries, sizeof(uint32_t));
	table->mask = mmq_array(entries, sizeof(uint32_t));
	table->struck = mmq_aligned_huge((size_t)(groups + table->slots) * padded * sizeof(uint32_t));
	for (uint32_t s = 0, e = 0; s < table->slots; s++) {
		uint32_t from = e;
		while (e < count && sorted[e].slot == s)
			e++;
		fill_slot(table, s, sorted + from, e - from);
	}
	free(sorted);
}

/* What the whole failed groups of a slot leave; the border group's own strikes go into left. */
__attribute__((target("avx2,popcnt"))) static inline const uint32_t *
strike(const struct mmq_walk_table *table, uint32_t s, float value, uint32_t *left)
{
	__m256 x = _mm256_set1_ps(value);
	uint32_t groups = table->group_start[s + 1] - table->group_start[s], failed = 0;
	for (uint32_t k = table->pivot_start[s]; k < table->pivot_start[s + 1]; k += LANES)
		failed += (uint32_t)__builtin_popcount((unsigned)_mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_load_ps(table->pivot + k), _CMP_NLE_UQ)));
	failed = failed < groups ? failed : groups;  /* a missing value fails the padding too */
	/* Of the border group all but the last entry may be failed. There is always a group on the border: the last one of a slot is empty. */
	size_t at = (size_t)(table->group_start[s] + s + failed) * GROUP;
#pragma GCC unroll 8
	for (size_t i = at; i < at + GROUP - 1; i++)
		left[table->word[i]] &= table->mask[i] | (value <= table->threshold[i] ? UINT32_MAX : 0);
	return table->struck + (size_t)(table->group_start[s] + s + failed) * table->words;
}

__attribute__((target("avx2,popcnt"))) static void
tables_row(const struct mmq_tree_walk *walk, enum mmq_walk_space space, const float *row, uint32_t *work, uint32_t *at_out)
{
	const struct mmq_walk_table *table = walk->tables[space];
	const uint32_t *from[SLOTS_MAX];
	uint32_t used = 0;
	memset(work, 0xff, table->words * sizeof(*work));
	for (uint32_t s = 1; s < table->slots; s++)
		if (table->group_start[s + 1] > table->group_start[s])
			from[used++] = strike(table, s, row[s], work);
	for (uint32_t w = 0; w < table->words; w += 32) {
		__m256i *left = (__m256i *)(void *)(work + w);
		uint32_t rest = table->words - w < 32 ? (table->words - w) / 8 : 4;
		__m256i a = _mm256_loadu_si256(left), b = a, c = a, d = a;
		if (rest == 4) {
			b = _mm256_loadu_si256(left + 1), c = _mm256_loadu_si256(left + 2), d = _mm256_loadu_si256(left + 3);
			for (uint32_t s = 0; s < used; s++) {
				const __m256i *more = (const __m256i *)(const void *)(from[s] + w);
				a = _mm256_and_si256(a, _mm256_load_si256(more));
				b = _mm256_and_si256(b, _mm256_load_si256(more + 1));
				c = _mm256_and_si256(c, _mm256_load_si256(more + 2));
				d = _mm256_and_si256(d, _mm256_load_si256(more + 3));
			}
			_mm256_storeu_si256(left, a), _mm256_storeu_si256(left + 1, b), _mm256_storeu_si256(left + 2, c), _mm256_storeu_si256(left + 3, d);
			continue;
		}
		for (uint32_t k = 0; k < rest; k++) {
			a = _mm256_loadu_si256(left + k);
			for (uint32_t s = 0; s < used; s++)
				a = _mm256_and_si256(a, _mm256_load_si256((const __m256i *)(const void *)(from[s] + w + k * 8)));
			_mm256_storeu_si256(left + k, a);
		}
	}
	for (uint32_t t = 0; t < walk->trees; t++) {
		uint32_t w = walk->tree_word[t], first = w;
		while (work[w] == 0 && w + 1 < walk->tree_word[t + 1])
			w++;
		at_out[t] = (w - first) * 32 + (uint32_t)__builtin_ctz(work[w]);
	}
}

void
mmq_walk_table_destroy(struct mmq_walk_table **table_p)
{
	struct mmq_walk_table *table = *table_p;
	if (table == NULL)
		return;
	free(table->group_start);
	free(table->pivot_start);
	free(table->pivot);
	free(table->threshold);
	free(table->word);
	free(table->mask);
	free(table->struck);
	free(table);
	*table_p = NULL;
}
#else
void
mmq_walk_build_table(struct mmq_tree_walk *walk, enum mmq_walk_space space)
{
	(void)walk;
	(void)space;
}

void
mmq_walk_table_destroy(struct mmq_walk_table **table)
{
	(void)table;
}
#endif

size_t
mmq_walk_tables(const struct mmq_tree_walk *walk, const struct mmq_walk_way **ways_out)
{
#if defined(__x86_64__)
	static const struct mmq_walk_way way = { "tables-avx2", NULL, tables_row, true };
	if (walk->tables[MMQ_SPACE_VALUES] != NULL) {
		ways_out[0] = &way;
		return 1;
	}
#endif
	(void)walk;
	(void)ways_out;
	return 0;
}
