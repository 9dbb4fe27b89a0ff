/* scan_512.c: the loops of scan.c for eight places at a time, with the same bits: what AVX-512 adds is the store of chosen lanes side by
 * side, which prefix sums without the empty bins need. */
#include "engine/tree/scan.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f")))

/* The lanes of what is left after the last whole eight of count. */
static inline __mmask8
rest_of(uint32_t count)
{
	return (__mmask8)((1u << count % 8) - 1);
}

AVX512 static inline __m512d
low_halves(__m512i v)
{
	const __m512i magic = _mm512_set1_epi64(0x4330000000000000);  /* 2^52 */
	__m512i bits = _mm512_or_si512(_mm512_and_si512(v, _mm512_set1_epi64(0xffffffff)), magic);
	return _mm512_sub_pd(_mm512_castsi512_pd(bits), _mm512_castsi512_pd(magic));
}

/* With the sign bit turned over, a signed half is an unsigned one that is 2^31 too large. */
AVX512 static inline __m512d
high_halves(__m512i v)
{
	const __m512i magic = _mm512_set1_epi64(0x4330000080000000);  /* 2^52 + 2^31 */
	return _mm512_sub_pd(_mm512_castsi512_pd(_mm512_xor_si512(_mm512_srli_epi64(v, 32), magic)), _mm512_castsi512_pd(magic));
}

AVX512 static inline __m512d
soften8(__m512d g, __m512d l1)
{
	const __m512i sign = _mm512_set1_epi64(INT64_MIN);
	__m512i bits = _mm512_castpd_si512(g);
	__m512d size = _mm512_max_pd(_mm512_sub_pd(_mm512_castsi512_pd(_mm512_andnot_si512(sign, bits)), l1), _mm512_setzero_pd());
	return _mm512_castsi512_pd(_mm512_or_si512(_mm512_castpd_si512(size), _mm512_and_si512(sign, bits)));
}

/* What a scan keeps in registers. Units are powers of two and sums whole numbers below 2^32, so that what one side leaves of the total is
 * exact in doubles, too. */
struct eights {
	__m512d g_unit, h_unit, g_total, h_total, l1, l2;
	__m512i added, least;
	__m512i room;                 /* how far a side may be above the least so that the other is not below it */
	__m512d top, limit;           /* the best gains so far, and a little less */
	__m512i place;
};

/* The places [k, k + 8) of which `mask` are there. */
AVX512 static inline __attribute__((always_inline)) void
scan_eight(struct eights *s, __m512i sums, __mmask8 mask, uint32_t k, const bool softens)
{
	__m512i one = _mm512_add_epi64(sums, s->added), h = _mm512_and_si512(one, _mm512_set1_epi64(0xffffffff));
	/* One comparison for both sides, since numbers below 0 are very large ones. */
	__mmask8 is_good = _mm512_mask_cmple_epu64_mask(mask, _mm512_sub_epi64(h, s->least), s->room);
	if (is_good == 0)
		return;
	__m512d h1 = _mm512_mul_pd(low_halves(one), s->h_unit), h2 = _mm512_sub_pd(s->h_total, h1);
	__m512d g1 = _mm512_mul_pd(high_halves(one), s->g_unit), g2 = _mm512_sub_pd(s->g_total, g1);
	if (softens) {
		g1 = soften8(g1, s->l1);
		g2 = soften8(g2, s->l1);
	}
	h1 = _mm512_add_pd(h1, s->l2);
	h2 = _mm512_add_pd(h2, s->l2);
	__m512d above = _mm512_add_pd(_mm512_mul_pd(_mm512_mul_pd(g1, g1), h2), _mm512_mul_pd(_mm512_mul_pd(g2, g2), h1));
	__m512d below = _mm512_mul_pd(h1, h2);
	/* Most places are far from the best: they are seen without a division, whose rounding the limit leaves room for. */
	if (_mm512_mask_cmp_pd_mask(is_good, above, _mm512_mul_pd(below, s->limit), _CMP_GT_OQ) == 0)
		return;
	__m512d gain = _mm512_div_pd(above, below);
	__mmask8 is_better = _mm512_mask_cmp_pd_mask(is_good, gain, s->top, _CMP_GT_OQ);
	s->top = _mm512_mask_mov_pd(s->top, is_better, gain);
	s->limit = _mm512_mul_pd(s->top, _mm512_set1_pd(1 - 1e-14));
	s->place = _mm512_mask_mov_epi64(s->place, is_better, _mm512_add_epi64(_mm512_set1_epi64(k), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7)));
}

static const double L2_STEPS_MAX = 0x1p32;

/* Sixteen places at once in floats of whole fixed-point steps, where no product can leave their range: is one of them worth a closer look?
 * Rounding is below a millionth, the limit leaves ten of them. */
struct sixteens {
	__m512i g_total, h_total, g_added, h_added, least, room;
	__m512 l2, limit;
};

AVX512 static inline bool
is_promising(const struct sixteens *s, const int64_t *sums)
{
	const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
	__m512i first = _mm512_loadu_si512(sums), second = _mm512_loadu_si512(sums + 8);
	__m512i h1 = _mm512_add_epi32(_mm512_permutex2var_epi32(first, even, second), s->h_added);
	__mmask16 is_good = _mm512_cmple_epu32_mask(_mm512_sub_epi32(h1, s->least), s->room);
	__m512i g1 = _mm512_add_epi32(_mm512_permutex2var_epi32(first, _mm512_add_epi32(even, _mm512_set1_epi32(1)), second), s->g_added);
	__m512 below1 = _mm512_add_ps(_mm512_cvtepu32_ps(h1), s->l2), below2 = _mm512_add_ps(_mm512_cvtepu32_ps(_mm512_sub_epi32(s->h_total, h1)), s->l2);
	__m512 above1 = _mm512_cvtepi32_ps(g1), above2 = _mm512_cvtepi32_ps(_mm512_sub_epi32(s->g_total, g1));
	__m512 above = _mm512_add_ps(_mm512_mul_ps(_mm512_mul_ps(above1, above1), below2), _mm512_mul_ps(_mm512_mul_ps(above2, above2), below1));
	return _mm512_mask_cmp_ps_mask(is_good, above, _mm512_mul_ps(_mm512_mul_ps(below1, below2), s->limit), _CMP_GT_OQ) != 0;
}

AVX512 static inline __m512
limit_of(const struct mmq_scan *scan, const struct eights *eights)
{
	return _mm512_set1_ps((float)(_mm512_reduce_max_pd(eights->top) * scan->steps_per_gain * (1 - 1e-5)));
}

/* As many places as sixteens go; returns how many. */
AVX512 static uint32_t
scan_sixteens(const struct mmq_scan *scan, struct eights *eights, const int64_t *sums, uint32_t count, int64_t add)
{
	struct sixteens s = { _mm512_set1_epi32((int32_t)mmq_packed_g(scan->total)), _mm512_set1_epi32((int32_t)(uint32_t)scan->total),
		_mm512_set1_epi32((int32_t)mmq_packed_g(add)), _mm512_set1_epi32((int32_t)(uint32_t)add), _mm512_set1_epi32((int32_t)scan->side_min),
		_mm512_set1_epi32((int32_t)((uint32_t)scan->total - 2 * scan->side_min)), _mm512_set1_ps((float)scan->l2_steps),
		limit_of(scan, eights) };
	uint32_t k = 0;
	for (; k + 16 <= count; k += 16) {
		if (!is_promising(&s, sums + k))
			continue;
		scan_eight(eights, _mm512_loadu_si512(sums + k), 0xff, k, false);
		scan_eight(eights, _mm512_loadu_si512(sums + k + 8), 0xff, k + 8, false);
		s.limit = limit_of(scan, eights);
	}
	return k;
}

AVX512 static inline __attribute__((always_inline)) void
scan_eights(const struct mmq_scan *scan, const int64_t *sums, uint32_t count, int64_t add, double *best, uint32_t *at, const bool softens)
{
	struct eights s = { _mm512_set1_pd(scan->g_unit), _mm512_set1_pd(scan->h_unit), _mm512_set1_pd(mmq_packed_g(scan->total) * scan->g_unit),
		_mm512_set1_pd(mmq_packed_h(scan->total) * scan->h_unit), _mm512_set1_pd(scan->l1), _mm512_set1_pd(scan->l2), _mm512_set1_epi64(add),
		_mm512_set1_epi64(scan->side_min), _mm512_set1_epi64((int64_t)(uint32_t)scan->total - 2 * (int64_t)scan->side_min),
		_mm512_set1_pd(*best), _mm512_set1_pd(*best * (1 - 1e-14)), _mm512_setzero_si512() };
	uint32_t k = 0;
	if ((uint32_t)scan->total < 2 * (uint64_t)scan->side_min)
		return;
	if (!softens && scan->l2_steps < L2_STEPS_MAX)
		k = scan_sixteens(scan, &s, sums, count, add);
	for (; k + 8 <= count; k += 8)
		scan_eight(&s, _mm512_loadu_si512(sums + k), 0xff, k, softens);
	if (k < count)
		scan_eight(&s, _mm512_maskz_loadu_epi64(rest_of(count), sums + k), rest_of(count), k, softens);
	if (_mm512_cmp_pd_mask(s.top, _mm512_set1_pd(*best), _CMP_GT_OQ) == 0)
		return;
	double tops[8], start = *best;
	uint64_t places[8];
	_mm512_storeu_pd(tops, s.top);
	_mm512_storeu_si512(places, s.place);
	for (int j = 0; j < 8; j++) {
		if (tops[j] > *best || (tops[j] > start && tops[j] == *best && places[j] < *at)) {
			*best = tops[j];
			*at = (uint32_t)places[j];
		}
	}
}

AVX512 void
mmq_scan_best_512(const struct mmq_scan *scan, const int64_t *sums, uint32_t count, int64_t add, double *best, uint32_t *at)
{
	if (scan->l1 > 0)
		scan_eights(scan, sums, count, add, best, at, true);
	else
		scan_eights(scan, sums, count, add, best, at, false);
}

/* Sums of eight bins behind *carry: those of bins that are not empty go to out, side by side. Returns how many. */
AVX512 static inline uint32_t
prefix_eight(__m512i v, __m512i *carry, int64_t *out)
{
	const __m512i zero = _mm512_setzero_si512();
	__mmask8 is_there = _mm512_test_epi64_mask(v, v);
	if (is_there == 0)
		return 0;
	/* Sums of 2, 4, 8 neighbours: lanes move up by 1, 2 and 4 places. */
	v = _mm512_add_epi64(v, _mm512_alignr_epi64(v, zero, 7));
	v = _mm512_add_epi64(v, _mm512_alignr_epi64(v, zero, 6));
	v = _mm512_add_epi64(v, _mm512_alignr_epi64(v, zero, 4));
	v = _mm512_add_epi64(v, *carry);
	*carry = _mm512_permutexvar_epi64(_mm512_set1_epi64(7), v);
	/* Chosen lanes side by side, then a full store: faster than a store of chosen lanes on some processors. */
	_mm512_storeu_si512(out, _mm512_maskz_compress_epi64(is_there, v));
	return (uint32_t)__builtin_popcount(is_there);
}

AVX512 uint32_t
mmq_scan_prefix_512(const int64_t *bin, uint32_t count, int64_t *sums_out)
{
	__m512i carry = _mm512_setzero_si512();
	uint32_t n = 0, b = 0;
	for (; b + 8 <= count; b += 8)
		n += prefix_eight(_mm512_loadu_si512(bin + b), &carry, sums_out + n);
	if (b < count)
		n += prefix_eight(_mm512_maskz_loadu_epi64(rest_of(count), bin + b), &carry, sums_out + n);
	return n;
}
#endif
