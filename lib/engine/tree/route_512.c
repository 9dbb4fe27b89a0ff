/* route_512.c: the partition of route.c for sixteen rows at a time: their bytes by one gather, which side they take from a table of 256 bits in
 * a register, and both sides stored side by side. */
#include "engine/tree/grow.h"

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f"))) size_t
mmq_tree_partition_512(const uint8_t *column, const uint8_t *first, uint32_t *index, size_t count, uint32_t *temp, size_t done[2])
{
	uint32_t bits[16] = { 0 };
	for (uint32_t b = 0; b < MMQ_TREE_BINS_MAX; b++)
		bits[b / 32] |= (uint32_t)first[b] << b % 32;
	const __m512i table = _mm512_loadu_si512(bits), low = _mm512_set1_epi32(255), one = _mm512_set1_epi32(1);
	/* A gather counts with signs, rows do not: both start half-way. */
	const __m512i half = _mm512_set1_epi32(INT32_MIN);
	const void *middle = (const void *)((uintptr_t)column + ((uintptr_t)1 << 31));
	size_t i = 0, a = 0, b = 0;
	for (; i + 16 <= count; i += 16) {
		__m512i rows = _mm512_loadu_si512(index + i);
		__m512i bytes = _mm512_and_si512(_mm512_i32gather_epi32(_mm512_xor_si512(rows, half), middle, 1), low);
		__m512i word = _mm512_permutexvar_epi32(_mm512_srli_epi32(bytes, 5), table);
		__mmask16 goes_first = _mm512_test_epi32_mask(_mm512_srlv_epi32(word, _mm512_and_si512(bytes, _mm512_set1_epi32(31))), one);
		/* Full stores: what they write too much comes from these sixteen rows, and the next store or nobody reads it. */
		_mm512_storeu_si512(index + a, _mm512_maskz_compress_epi32(goes_first, rows));
		_mm512_storeu_si512(temp + b, _mm512_maskz_compress_epi32((__mmask16)~goes_first, rows));
		size_t firsts = (size_t)__builtin_popcount(goes_first);
		a += firsts;
		b += 16 - firsts;
	}
	done[0] = a;
	done[1] = b;
	return i;
}
#endif
