/* scan_512.c: the loops of scan.c for eight places at a time, with the same bits: what AVX-512 adds is the store of chosen lanes side by
 * side, which prefix sums without the empty bins need. */
#include "engine/tree/scan.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f")))

AVX512 static inline __m512d
low_halves(__m512i v)
{
	const __m512i magic = _mm512_set1_epi64(0x4330000000000000);  /* 2^52 */
	__m512i bits = _mm512_or_si512(_mm512_and_si512(v, _mm512_set1_epi64(0xffffffff)), magic);
	return _mm512_sub_pd(_mm512_castsi512_pd(bits), _mm512_castsi512_pd(magic));
}

AVX512 static inline __m512d
high_halves(__m512i v)
{
	return _mm512_cvtepi32_pd(_mm512_cvtepi64_epi32(_mm512_srai_epi64(v, 32)));
}

AVX512 static inline __m512d
soften8(__m512d g, __m512d l1)
{
	const __m512i sign = _mm512_set1_epi64(INT64_MIN);
	__m512i bits = _mm512_castpd_si512(g);
	__m512d size = _mm512_max_pd(_mm512_sub_pd(_mm512_castsi512_pd(_mm512_andnot_si512(sign, bits)), l1), _mm512_setzero_pd());
	return _mm512_castsi512_pd(_mm512_or_si512(_mm512_castpd_si512(size), _mm512_and_si512(sign, bits)));
}

AVX512 void
mmq_scan_best_512(const struct mmq_scan *scan, const int64_t *sums, uint32_t count, int64_t add, double *best, uint32_t *at)
{
	const __m512d g_unit = _mm512_set1_pd(scan->g_unit), h_unit = _mm512_set1_pd(scan->h_unit);
	const __m512d l1 = _mm512_set1_pd(scan->l1), l2 = _mm512_set1_pd(scan->l2), almost = _mm512_set1_pd(1 - 1e-14);
	const __m512i total = _mm512_set1_epi64(scan->total), added = _mm512_set1_epi64(add), eight = _mm512_set1_epi64(8);
	const __m512i low = _mm512_set1_epi64(0xffffffff), least = _mm512_set1_epi64(scan->side_min);
	__m512d top = _mm512_set1_pd(*best);
	__m512i place = _mm512_setzero_si512(), now = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
	for (uint32_t k = 0; k < count; k += 8, now = _mm512_add_epi64(now, eight)) {
		__m512i one = _mm512_add_epi64(_mm512_loadu_si512(sums + k), added), other = _mm512_sub_epi64(total, one);
		__mmask8 is_there = count - k < 8 ? (__mmask8)(0xffu >> (8 - (count - k))) : 0xff;
		__mmask8 is_good = _mm512_mask_cmpge_epu64_mask(_mm512_mask_cmpge_epu64_mask(is_there, _mm512_and_si512(one, low), least),
		    _mm512_and_si512(other, low), least);
		if (is_good == 0)
			continue;
		__m512d h1 = _mm512_mul_pd(low_halves(one), h_unit), h2 = _mm512_mul_pd(low_halves(other), h_unit);
		__m512d g1 = soften8(_mm512_mul_pd(high_halves(one), g_unit), l1), g2 = soften8(_mm512_mul_pd(high_halves(other), g_unit), l1);
		h1 = _mm512_add_pd(h1, l2);
		h2 = _mm512_add_pd(h2, l2);
		__m512d above = _mm512_add_pd(_mm512_mul_pd(_mm512_mul_pd(g1, g1), h2), _mm512_mul_pd(_mm512_mul_pd(g2, g2), h1));
		__m512d below = _mm512_mul_pd(h1, h2);
		/* Most places are far from the best: they are seen without a division, whose rounding the factor leaves room for. */
		if (_mm512_mask_cmp_pd_mask(is_good, above, _mm512_mul_pd(below, _mm512_mul_pd(top, almost)), _CMP_GT_OQ) == 0)
			continue;
		__m512d gain = _mm512_div_pd(above, below);
		__mmask8 is_better = _mm512_mask_cmp_pd_mask(is_good, gain, top, _CMP_GT_OQ);
		top = _mm512_mask_mov_pd(top, is_better, gain);
		place = _mm512_mask_mov_epi64(place, is_better, now);
	}
	double tops[8], start = *best;
	uint64_t places[8];
	_mm512_storeu_pd(tops, top);
	_mm512_storeu_si512(places, place);
	for (int j = 0; j < 8; j++) {
		if (tops[j] > *best || (tops[j] > start && tops[j] == *best && places[j] < *at)) {
			*best = tops[j];
			*at = (uint32_t)places[j];
		}
	}
}

AVX512 uint32_t
mmq_scan_prefix_512(const int64_t *bin, uint32_t count, int64_t *sums_out)
{
	const __m512i zero = _mm512_setzero_si512(), last = _mm512_set1_epi64(7);
	__m512i carry = zero;
	uint32_t n = 0;
	for (uint32_t b = 0; b < count; b += 8) {
		__m512i v = _mm512_maskz_loadu_epi64(count - b < 8 ? (__mmask8)(0xffu >> (8 - (count - b))) : 0xff, bin + b);
		__mmask8 is_there = _mm512_test_epi64_mask(v, v);
		if (is_there == 0)
			continue;
		/* Sums of 2, 4, 8 neighbours: lanes move up by 1, 2 and 4 places. */
		v = _mm512_add_epi64(v, _mm512_alignr_epi64(v, zero, 7));
		v = _mm512_add_epi64(v, _mm512_alignr_epi64(v, zero, 6));
		v = _mm512_add_epi64(v, _mm512_alignr_epi64(v, zero, 4));
		v = _mm512_add_epi64(v, carry);
		carry = _mm512_permutexvar_epi64(last, v);
		/* Chosen lanes side by side, then a full store: faster than a store of chosen lanes on some processors. */
		_mm512_storeu_si512(sums_out + n, _mm512_maskz_compress_epi64(is_there, v));
		n += (uint32_t)__builtin_popcount(is_there);
	}
	return n;
}
#endif
