/* mask.c: leaves by striking out (walk.h says how): entries of each word of 32 leaves, and the loops over them.
 *
 * Compared with V-QuickScorer as published, entries go tree by tree and not feature by feature in order of their thresholds: all of them are
 * looked at, but a word's bits stay in a register for 16 rows, and nothing is stored until the tree is done. */
#include <stdlib.h>
#include <string.h>

#include "engine/tree/walk.h"
#include "math/cpu.h"
#include "util/mem.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Leaves from first to last by a walk that keeps to the left; range_out (nodes of the tree): leaves below each first child. */
struct leaf_range { uint32_t from, to; };

static uint32_t
number_leaves(const struct mmq_tree_model *model, uint32_t tree, struct leaf_range *below, uint32_t *stack, uint32_t *leaf_of_bit)
{
	uint32_t start = model->tree_start[tree], depth = 0, leaves = 0;
	stack[depth++] = 0;
	/* A node is met twice: on the way down, and (marked by the top bit) when its first child's leaves have their numbers. */
	while (depth > 0) {
		uint32_t node = stack[--depth] & 0x7fffffff;
		bool is_back = stack[depth] >> 31 != 0;
		if (model->kind[start + node] == MMQ_NODE_LEAF) {
			leaf_of_bit[leaves++] = node;
		} else if (is_back) {
			below[node].to = leaves;
			stack[depth++] = model->first[start + node] + 1;
		} else {
			below[node].from = leaves;
			stack[depth++] = node | 0x80000000;
			stack[depth++] = model->first[start + node];
		}
	}
	return leaves;
}

/* Entries of one tree's words, appended from `count`; out NULL: only counted. */
static size_t
add_entries(struct mmq_tree_walk *walk, const struct mmq_tree_model *model, uint32_t tree, const struct leaf_range *below, uint32_t leaves, size_t count)
{
	uint32_t start = model->tree_start[tree], size = model->tree_start[tree + 1] - start, words = (leaves + 31) / 32;
	for (uint32_t w = 0; w < words; w++) {
		for (uint32_t node = 0; node < size; node++) {
			uint32_t k = start + node, from = below[node].from, to = below[node].to;
			if (model->kind[k] == MMQ_NODE_LEAF || to <= w * 32 || from >= (w + 1) * 32)
				continue;
			from = from > w * 32 ? from - w * 32 : 0;
			to = to < (w + 1) * 32 ? to - w * 32 : 32;
			uint32_t strikes = (to == 32 ? UINT32_MAX : (1u << to) - 1) & ~((1u << from) - 1);
			for (int space = 0; space < MMQ_SPACES; space++)
				if (walk->entries[space] != NULL)
					walk->entries[space][count] = (struct mmq_mask_entry){
						mmq_tree_slot_threshold(&walk->slots, model, k, (enum mmq_walk_space)space),
						mmq_tree_slot_of(&walk->slots, model, k) * MMQ_WALK_LANES, ~strikes };
			count++;
		}
		walk->word_start[walk->tree_word[tree] + w + 1] = (uint32_t)count;
	}
	return count;
}

void
mmq_walk_build_masks(struct mmq_tree_walk *walk, const struct mmq_tree_model *model)
{
	uint32_t words = 0, leaves_all = 0;
	size_t entries_max = 0;
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		/* A binary tree of n nodes has (n + 1) / 2 leaves. */
		uint32_t leaves = (model->tree_start[tree + 1] - model->tree_start[tree] + 1) / 2;
		if (leaves > MMQ_MASK_LEAVES_MAX)
			return;
		words += (leaves + 31) / 32;
		leaves_all += leaves;
		entries_max += (size_t)leaves * ((leaves + 31) / 32);
	}
	if (walk->any_plain || entries_max > UINT32_MAX / 2 || model->trees == 0)
		return;
	struct leaf_range below[MMQ_MASK_LEAVES_MAX * 2];
	uint32_t stack[MMQ_MASK_LEAVES_MAX * 2], leaf_of_bit[MMQ_MASK_LEAVES_MAX], word = 0, bit = 0;
	size_t count = 0;
	walk->tree_word = mmq_array((size_t)model->trees + 1, sizeof(uint32_t));
	walk->word_start = mmq_array((size_t)words + 1, sizeof(uint32_t));
	walk->bits_start = mmq_array(model->trees, sizeof(uint32_t));
	walk->by_bit = (struct mmq_leaf_table){ .start = walk->bits_start, .number = mmq_array(leaves_all, sizeof(uint32_t)),
		.value_row = mmq_array(leaves_all, sizeof(uint32_t)), .value = model->width == 1 ? mmq_aligned_huge(leaves_all * sizeof(double)) : NULL };
	for (int space = 0; space < MMQ_SPACES; space++)
		if (walk->nodes[space] != NULL)
			walk->entries[space] = mmq_aligned_huge((entries_max + 1) * sizeof(struct mmq_mask_entry));
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		uint32_t start = model->tree_start[tree], leaves = number_leaves(model, tree, below, stack, leaf_of_bit);
		walk->tree_word[tree] = word;
		walk->bits_start[tree] = bit;
		count = add_entries(walk, model, tree, below, leaves, count);
		word += (leaves + 31) / 32;
		for (uint32_t b = 0; b < leaves; b++, bit++) {
			walk->by_bit.number[bit] = walk->by_node.number[start + leaf_of_bit[b]];
			walk->by_bit.value_row[bit] = walk->by_node.value_row[start + leaf_of_bit[b]];
			if (model->width == 1)
				walk->by_bit.value[bit] = walk->by_node.value[start + leaf_of_bit[b]];
		}
	}
	walk->tree_word[model->trees] = word;
}

/* Eight rows as one vector; the compiler makes of it what the target has. */
typedef float floats8 __attribute__((vector_size(32), aligned(4)));
typedef int32_t ints8 __attribute__((vector_size(32), aligned(4)));
typedef uint32_t uints8 __attribute__((vector_size(32), aligned(4)));

static inline __attribute__((always_inline)) void
leaves8(const struct mmq_tree_walk *walk, enum mmq_walk_space space, uint32_t tree, const float *rows, uint32_t *at_out)
{
	uint32_t words = walk->tree_word[tree + 1] - walk->tree_word[tree];
	const uint32_t *start = walk->word_start + walk->tree_word[tree];
	ints8 found = { 0 }, is_open = ~found;
	for (uint32_t w = 0; w < words; w++) {
		ints8 left = ~(ints8){ 0 };
		for (const struct mmq_mask_entry *e = walk->entries[space] + start[w], *end = walk->entries[space] + start[w + 1]; e < end; e++) {
			floats8 x = *(const floats8 *)(rows + e->slot);
			left &= (ints8)(x <= e->threshold) | (int32_t)e->mask;
		}
		/* The lowest bit's number is the exponent of the power of two that it is, here -1 for no bit. */
		ints8 lowest = (ints8)((uints8)left & -(uints8)left), is_here = is_open & (left != 0);
		ints8 number = (((ints8)__builtin_convertvector(lowest, floats8) >> 23) & 0xff) - 127 + (int32_t)(w * 32);
		found = (number & is_here) | (found & ~is_here);
		is_open &= ~is_here;
	}
	memcpy(at_out, &found, sizeof(found));
}

static void
masks_portable(const struct mmq_tree_walk *walk, enum mmq_walk_space space, uint32_t tree, uint32_t count, const float *rows, uint32_t *at_out)
{
	for (uint32_t t = tree; t < tree + count; t++, at_out += MMQ_WALK_LANES) {
		leaves8(walk, space, t, rows, at_out);
		leaves8(walk, space, t, rows + 8, at_out + 8);
	}
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void
masks_avx2(const struct mmq_tree_walk *walk, enum mmq_walk_space space, uint32_t tree, uint32_t count, const float *rows, uint32_t *at_out)
{
	for (uint32_t t = tree; t < tree + count; t++, at_out += MMQ_WALK_LANES) {
		leaves8(walk, space, t, rows, at_out);
		leaves8(walk, space, t, rows + 8, at_out + 8);
	}
}

__attribute__((target("avx512f"))) static void
masks_avx512(const struct mmq_tree_walk *walk, enum mmq_walk_space space, uint32_t tree, uint32_t count, const float *rows, uint32_t *at_out)
{
	for (uint32_t t = tree; t < tree + count; t++, at_out += MMQ_WALK_LANES) {
		uint32_t words = walk->tree_word[t + 1] - walk->tree_word[t];
		const uint32_t *start = walk->word_start + walk->tree_word[t];
		__m512i found = _mm512_setzero_si512();
		__mmask16 is_open = 0xffff;
		for (uint32_t w = 0; w < words; w++) {
			__m512i left = _mm512_set1_epi32(-1);
			for (const struct mmq_mask_entry *e = walk->entries[space] + start[w], *end = walk->entries[space] + start[w + 1]; e < end; e++) {
				__mmask16 fails = _mm512_cmp_ps_mask(_mm512_load_ps(rows + e->slot), _mm512_set1_ps(e->threshold), _CMP_NLE_UQ);
				left = _mm512_mask_and_epi32(left, fails, left, _mm512_set1_epi32((int)e->mask));
			}
			__mmask16 is_here = _mm512_mask_test_epi32_mask(is_open, left, left);
			__m512i lowest = _mm512_and_si512(left, _mm512_sub_epi32(_mm512_setzero_si512(), left));
			__m512i exponent = _mm512_srli_epi32(_mm512_castps_si512(_mm512_cvtepu32_ps(lowest)), 23);
			found = _mm512_mask_add_epi32(found, is_here, exponent, _mm512_set1_epi32((int)(w * 32) - 127));
			is_open &= (__mmask16)~is_here;
		}
		_mm512_storeu_si512(at_out, found);
	}
}
#endif

size_t
mmq_walk_masks(const struct mmq_tree_walk *walk, const struct mmq_walk_way **ways_out)
{
	static const struct mmq_walk_way portable = { "masks", masks_portable, NULL, true };
	size_t count = 0;
	if (walk->tree_word == NULL)
		return 0;
#if defined(__x86_64__)
	static const struct mmq_walk_way avx2 = { "masks-avx2", masks_avx2, NULL, true }, avx512 = { "masks-avx512", masks_avx512, NULL, true };
	if (mmq_cpu_has_avx512())
		ways_out[count++] = &avx512;
	if (mmq_cpu_has_avx2())
		ways_out[count++] = &avx2;
#endif
	ways_out[count++] = &portable;
	return count;
}
