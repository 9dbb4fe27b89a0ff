/* scan.c: the best place to cut a list of prefix sums in two, four places at a time.
 *
 * Gain of a side: T(G)^2 / (H + l2), T the soft threshold by l1 (Chen and Guestrin 2016, eq. 7). All paths do the same operations in
 * the same order, so they choose the same place with the same gain; ties go to the first place. */
#include "engine/tree/scan.h"

#include <math.h>

#include "math/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* What a leaf of value w takes off the loss, twice: -(2 T(G) w + (H + l2) w^2). At the best w it is T(G)^2 / (H + l2). */
static double
gain_at(const struct mmq_scan *scan, double g, double h, double value)
{
	return -(2 * mmq_soften(g, scan->l1) * value + (h + scan->l2) * value * value);
}

static double
bounded_gain(const struct mmq_scan *scan, double g1, double h1, double g2, double h2)
{
	double v1 = mmq_scan_value(scan, g1, h1), v2 = mmq_scan_value(scan, g2, h2);
	if (scan->direction * v1 > scan->direction * v2)
		return -INFINITY;
	return gain_at(scan, g1, h1, v1) + gain_at(scan, g2, h2, v2);
}

double
mmq_scan_parent(const struct mmq_scan *scan)
{
	double g = mmq_packed_g(scan->total) * scan->g_unit, h = mmq_packed_h(scan->total) * scan->h_unit, t = mmq_soften(g, scan->l1);
	return scan->is_bounded ? gain_at(scan, g, h, mmq_scan_value(scan, g, h)) : t * t / (h + scan->l2);
}

void
mmq_scan_limit(struct mmq_scan *scan, double rows_min, double h_min)
{
	double wanted = fmax((rows_min - 0.5) / scan->per_h, h_min / scan->h_unit);
	scan->side_min = wanted < 1 ? 1 : wanted < UINT32_MAX ? (uint32_t)ceil(wanted) : UINT32_MAX;
	scan->l2_steps = scan->l2 / scan->h_unit;
	scan->steps_per_gain = scan->h_unit / (scan->g_unit * scan->g_unit);
}

uint32_t
mmq_scan_prefix(const int64_t *bin, uint32_t count, int64_t *sums_out)
{
	int64_t sum = 0;
	uint32_t n = 0;
#if defined(__x86_64__)
	if (mmq_cpu_has_avx512())
		return mmq_scan_prefix_512(bin, count, sums_out);
#endif
	for (uint32_t b = 0; b < count; b++) {
		sum += bin[b];
		sums_out[n] = sum;
		n += bin[b] != 0;
	}
	return n;
}

uint32_t
mmq_scan_place(const int64_t *bin, uint32_t count, uint32_t k, uint32_t *next_out)
{
	uint32_t last = 0, next;
	for (uint32_t seen = bin[0] != 0; seen < k + 1; last++)
		seen += bin[last + 1] != 0;
	for (next = last + 1; next < count && bin[next] == 0; next++)
		continue;
	*next_out = next;
	return last;
}

double
mmq_scan_gain(const struct mmq_scan *scan, int64_t one)
{
	int64_t other = scan->total - one;
	if ((uint32_t)one < scan->side_min || (uint32_t)other < scan->side_min)
		return -INFINITY;
	double h1 = mmq_packed_h(one) * scan->h_unit, h2 = mmq_packed_h(other) * scan->h_unit;
	double g1 = mmq_packed_g(one) * scan->g_unit, g2 = mmq_packed_g(other) * scan->g_unit;
	if (scan->is_bounded)
		return bounded_gain(scan, g1, h1, g2, h2);
	g1 = mmq_soften(g1, scan->l1);
	g2 = mmq_soften(g2, scan->l1);
	h1 += scan->l2;
	h2 += scan->l2;
	return (g1 * g1 * h2 + g2 * g2 * h1) / (h1 * h2);
}

/* Places [from, count), the best so far in *best and its place in *at. */
static void
scan_portable(const struct mmq_scan *scan, const int64_t *sums, uint32_t from, uint32_t count, int64_t add, double *best, uint32_t *at)
{
	for (uint32_t k = from; k < count; k++) {
		double gain = mmq_scan_gain(scan, sums[k] + add);
		if (gain > *best) {
			*best = gain;
			*at = k;
		}
	}
}

#if defined(__x86_64__)
/* The unsigned low and the signed high halves of four numbers, as doubles. */
__attribute__((target("avx2,fma"))) static inline __m256d
low_halves(__m256i v)
{
	const __m256i magic = _mm256_set1_epi64x(0x4330000000000000);  /* 2^52 */
	__m256i bits = _mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi64x(0xffffffff)), magic);
	return _mm256_sub_pd(_mm256_castsi256_pd(bits), _mm256_castsi256_pd(magic));
}

__attribute__((target("avx2,fma"))) static inline __m256d
high_halves(__m256i v)
{
	__m256i order = _mm256_setr_epi32(1, 3, 5, 7, 1, 3, 5, 7);
	return _mm256_cvtepi32_pd(_mm256_castsi256_si128(_mm256_permutevar8x32_epi32(v, order)));
}

__attribute__((target("avx2,fma"))) static inline __m256d
soften4(__m256d g, __m256d l1)
{
	const __m256d sign = _mm256_set1_pd(-0.0);
	__m256d size = _mm256_max_pd(_mm256_sub_pd(_mm256_andnot_pd(sign, g), l1), _mm256_setzero_pd());
	return _mm256_or_pd(size, _mm256_and_pd(sign, g));
}

__attribute__((target("avx2,fma"))) static uint32_t
scan_avx2(const struct mmq_scan *scan, const int64_t *sums, uint32_t count, int64_t add, double *best, uint32_t *at)
{
	const __m256d g_unit = _mm256_set1_pd(scan->g_unit), h_unit = _mm256_set1_pd(scan->h_unit);
	const __m256d l1 = _mm256_set1_pd(scan->l1), l2 = _mm256_set1_pd(scan->l2), zero = _mm256_setzero_pd();
	const __m256i total = _mm256_set1_epi64x(scan->total), added = _mm256_set1_epi64x(add);
	const __m256i low = _mm256_set1_epi64x(0xffffffff), least = _mm256_set1_epi64x((int64_t)scan->side_min - 1);
	__m256d top = _mm256_set1_pd(*best), place = zero, now = _mm256_setr_pd(0, 1, 2, 3);
	uint32_t k = 0;
	for (; k + 4 <= count; k += 4, now = _mm256_add_pd(now, _mm256_set1_pd(4))) {
		__m256i one = _mm256_add_epi64(_mm256_loadu_si256((const __m256i *)(sums + k)), added), other = _mm256_sub_epi64(total, one);
		__m256i is_large = _mm256_and_si256(_mm256_cmpgt_epi64(_mm256_and_si256(one, low), least),
		    _mm256_cmpgt_epi64(_mm256_and_si256(other, low), least));
		__m256d is_good = _mm256_castsi256_pd(is_large);
		if (_mm256_movemask_pd(is_good) == 0)
			continue;
		__m256d h1 = _mm256_mul_pd(low_halves(one), h_unit), h2 = _mm256_mul_pd(low_halves(other), h_unit);
		__m256d g1 = soften4(_mm256_mul_pd(high_halves(one), g_unit), l1), g2 = soften4(_mm256_mul_pd(high_halves(other), g_unit), l1);
		h1 = _mm256_add_pd(h1, l2);
		h2 = _mm256_add_pd(h2, l2);
		__m256d above = _mm256_add_pd(_mm256_mul_pd(_mm256_mul_pd(g1, g1), h2), _mm256_mul_pd(_mm256_mul_pd(g2, g2), h1));
		__m256d gain = _mm256_div_pd(above, _mm256_mul_pd(h1, h2));
		__m256d is_better = _mm256_and_pd(is_good, _mm256_cmp_pd(gain, top, _CMP_GT_OQ));
		top = _mm256_blendv_pd(top, gain, is_better);
		place = _mm256_blendv_pd(place, now, is_better);
	}
	double tops[4], places[4], start = *best;
	_mm256_storeu_pd(tops, top);
	_mm256_storeu_pd(places, place);
	for (int j = 0; j < 4; j++) {
		if (tops[j] > *best || (tops[j] > start && tops[j] == *best && places[j] < *at)) {
			*best = tops[j];
			*at = (uint32_t)places[j];
		}
	}
	return k;
}
#endif

bool
mmq_scan_best(const struct mmq_scan *scan, const int64_t *sums, uint32_t count, int64_t add, double *best, uint32_t *at)
{
	double before = *best;
	uint32_t from = 0;
#if defined(__x86_64__)
	if (!scan->is_bounded && mmq_cpu_has_avx512()) {
		mmq_scan_best_512(scan, sums, count, add, best, at);
		return *best > before;
	}
	if (count >= 4 && !scan->is_bounded && mmq_cpu_has_avx2())
		from = scan_avx2(scan, sums, count, add, best, at);
#endif
	scan_portable(scan, sums, from, count, add, best, at);
	return *best > before;
}
