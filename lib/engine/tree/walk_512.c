/* walk_512.c: 16 walks in the lanes of AVX-512 registers, nodes and slots fetched by gathers. Two registers of walks are under way at
 * once, since a gather's result takes longer to come than the next gather to start. */
#include "engine/tree/walk.h"
#include "math/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f")))

struct lanes512 { __m512i at, base; __m512i slot_base; };

/* One step of 16 walks. at: node within its tree; base: where its tree begins; slots of lane j begin at slot_base[j]. */
AVX512 static inline __m512i
step512(const struct mmq_walk_node *nodes, const struct lanes512 *lanes, const float *rows, __m128i shift, __m512i slot_mask, __m128i slot_shift)
{
	const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
	__m512i place = _mm512_add_epi32(lanes->at, lanes->base);
	__m512i low = _mm512_i32gather_epi64(_mm512_castsi512_si256(place), nodes, 8);
	__m512i high = _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(place, 1), nodes, 8);
	__m512 threshold = _mm512_castsi512_ps(_mm512_permutex2var_epi32(low, even, high));
	__m512i packed = _mm512_permutex2var_epi32(low, _mm512_add_epi32(even, _mm512_set1_epi32(1)), high);
	__m512i slot = _mm512_add_epi32(_mm512_sll_epi32(_mm512_and_si512(packed, slot_mask), slot_shift), lanes->slot_base);
	__mmask16 second = _mm512_cmp_ps_mask(_mm512_i32gather_ps(slot, rows, 4), threshold, _CMP_NLE_UQ);
	__m512i first = _mm512_srl_epi32(packed, shift);
	return _mm512_mask_add_epi32(first, second, first, _mm512_set1_epi32(1));
}

/* Until both registers' walks are at leaves. */
AVX512 static inline void
walk512(const struct mmq_tree_walk *walk, enum mmq_walk_space space, struct lanes512 *a, struct lanes512 *b, const float *rows, unsigned slot_shift,
    uint32_t head, uint32_t depth)
{
	const struct mmq_walk_node *nodes = walk->nodes[space];
	__m512i mask = _mm512_set1_epi32((int)((1u << walk->shift) - 1));
	__m128i shift = _mm_cvtsi32_si128((int)walk->shift), by = _mm_cvtsi32_si128((int)slot_shift);
	for (uint32_t level = 0; level < depth; level++) {
		__m512i at_a = step512(nodes, a, rows, shift, mask, by), at_b = step512(nodes, b, rows, shift, mask, by);
		bool moved = level < head || (_mm512_cmpneq_epi32_mask(at_a, a->at) | _mm512_cmpneq_epi32_mask(at_b, b->at)) != 0;
		a->at = at_a;
		b->at = at_b;
		if (!moved)
			break;
	}
}

AVX512 static void
gathered_rows(const struct mmq_tree_walk *walk, enum mmq_walk_space space, uint32_t tree, uint32_t count, const float *rows, uint32_t *at_out)
{
	const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	for (uint32_t k = 0; k < count; k += 2) {
		uint32_t t = tree + k, u = k + 1 < count ? t + 1 : t;
		struct lanes512 a = { _mm512_setzero_si512(), _mm512_set1_epi32((int)walk->tree_start[t]), lane };
		struct lanes512 b = { _mm512_setzero_si512(), _mm512_set1_epi32((int)walk->tree_start[u]), lane };
		uint32_t head = walk->head[t] > walk->head[u] ? walk->head[t] : walk->head[u];
		uint32_t depth = walk->depth[t] > walk->depth[u] ? walk->depth[t] : walk->depth[u];
		walk512(walk, space, &a, &b, rows, 4, head, depth);
		_mm512_storeu_si512(at_out + (size_t)k * MMQ_WALK_LANES, a.at);
		if (u != t)
			_mm512_storeu_si512(at_out + (size_t)(k + 1) * MMQ_WALK_LANES, b.at);
	}
}

/* Trees `from` .. of 16 lanes; lanes beyond count sit on the leaf after all trees. */
AVX512 static inline struct lanes512
lanes_of_trees(const struct mmq_tree_walk *walk, uint32_t tree, uint32_t count)
{
	__mmask16 works = (__mmask16)(count >= 16 ? 0xffff : (1u << count) - 1);
	return (struct lanes512){ _mm512_setzero_si512(),
		_mm512_mask_loadu_epi32(_mm512_set1_epi32((int)walk->nodes_count), works, walk->tree_start + tree), _mm512_setzero_si512() };
}

AVX512 static void
gathered_row(const struct mmq_tree_walk *walk, enum mmq_walk_space space, const float *row, uint32_t *work, uint32_t *at_out)
{
	(void)work;
	for (uint32_t tree = 0; tree < walk->trees; tree += 32) {
		uint32_t head = 0, depth = 0, count = walk->trees - tree < 32 ? walk->trees - tree : 32;
		for (uint32_t t = tree; t < tree + count; t++) {
			head = walk->head[t] > head ? walk->head[t] : head;
			depth = walk->depth[t] > depth ? walk->depth[t] : depth;
		}
		struct lanes512 a = lanes_of_trees(walk, tree, count), b = lanes_of_trees(walk, tree + 16, count > 16 ? count - 16 : 0);
		walk512(walk, space, &a, &b, row, 0, head, depth);
		_mm512_mask_storeu_epi32(at_out + tree, (__mmask16)(count >= 16 ? 0xffff : (1u << count) - 1), a.at);
		if (count > 16)
			_mm512_mask_storeu_epi32(at_out + tree + 16, (__mmask16)(count >= 32 ? 0xffff : (1u << (count - 16)) - 1), b.at);
	}
}
#endif

size_t
mmq_walk_gathered(const struct mmq_tree_walk *walk, const struct mmq_walk_way **ways_out)
{
#if defined(__x86_64__)
	static const struct mmq_walk_way way = { "gathered-avx512", gathered_rows, gathered_row, false };
	if (mmq_cpu_has_avx512() && walk->nodes_count < INT32_MAX) {
		ways_out[0] = &way;
		return 1;
	}
#endif
	(void)walk;
	(void)ways_out;
	return 0;
}
