/* rows_dense.c: one output over dense float32 rows, with AVX2 or AVX-512. Both keep a row's sum in eight lanes and a column's in one chain over the
 * rows, and mask what is left of eight columns: the same bits from either. */
#include "engine/linear/rows_dense.h"
#include "math/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx2,fma")))
#define UNROLL _Pragma("GCC unroll 4")   /* so that arrays of sums are registers */
#define INLINE static inline __attribute__((always_inline))

enum { LANES = 8, TOGETHER = 4 /* rows that share a loaded coefficient, and registers of a column's sums */, CHUNK = TOGETHER * LANES };

/* Sums of the four lanes of each of four rows. */
AVX2 INLINE __m256d
sums_of(const __m256d rows[TOGETHER])
{
	__m256d even = _mm256_add_pd(_mm256_permute2f128_pd(rows[0], rows[2], 0x20), _mm256_permute2f128_pd(rows[0], rows[2], 0x31));
	__m256d odd = _mm256_add_pd(_mm256_permute2f128_pd(rows[1], rows[3], 0x20), _mm256_permute2f128_pd(rows[1], rows[3], 0x31));
	return _mm256_hadd_pd(even, odd);
}

/* The first `count` of a row of scores. */
AVX2 INLINE void
store_scores(double *scores, __m256d sums, double intercept, size_t count)
{
	double all[TOGETHER];
	sums = _mm256_add_pd(_mm256_set1_pd(intercept), sums);
	if (count == TOGETHER) {
		_mm256_storeu_pd(scores, sums);
		return;
	}
	_mm256_storeu_pd(all, sums);
	for (size_t k = 0; k < count; k++)
		scores[k] = all[k];
}

/* Which of the four lanes from `first` on are among the columns that are left. */
AVX2 INLINE __m128i
mask_of(size_t left, int first)
{
	return _mm_cmpgt_epi32(_mm_set1_epi32((int)left), _mm_add_epi32(_mm_set1_epi32(first), _mm_setr_epi32(0, 1, 2, 3)));
}

AVX2 INLINE void
row_scores_avx2(const float *rows, size_t stride, size_t together, size_t cols, const double *coef, double intercept, double *scores)
{
	const size_t whole = cols - cols % LANES;
	const __m128i low = mask_of(cols % LANES, 0), high = mask_of(cols % LANES, LANES / 2);
	__m256d a[TOGETHER], b[TOGETHER];
	UNROLL
	for (size_t k = 0; k < TOGETHER; k++)
		a[k] = b[k] = _mm256_setzero_pd();
	for (size_t j = 0; j < whole; j += LANES) {
		__m256d v = _mm256_loadu_pd(coef + j), w = _mm256_loadu_pd(coef + j + LANES / 2);
		UNROLL
		for (size_t k = 0; k < together; k++) {
			a[k] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(rows + k * stride + j)), v, a[k]);
			b[k] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(rows + k * stride + j + LANES / 2)), w, b[k]);
		}
	}
	if (whole < cols) {
		__m256d v = _mm256_maskload_pd(coef + whole, _mm256_cvtepi32_epi64(low));
		__m256d w = _mm256_maskload_pd(coef + whole + LANES / 2, _mm256_cvtepi32_epi64(high));
		UNROLL
		for (size_t k = 0; k < together; k++) {
			a[k] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_maskload_ps(rows + k * stride + whole, low)), v, a[k]);
			b[k] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_maskload_ps(rows + k * stride + whole + LANES / 2, high)), w, b[k]);
		}
	}
	UNROLL
	for (size_t k = 0; k < TOGETHER; k++)
		a[k] = _mm256_add_pd(a[k], b[k]);
	store_scores(scores, sums_of(a), intercept, together);
}

AVX512 INLINE void
row_scores_avx512(const float *rows, size_t stride, size_t together, size_t cols, const double *coef, double intercept, double *scores)
{
	const size_t whole = cols - cols % LANES;
	const __mmask16 rest = (__mmask16)((1u << cols % LANES) - 1);
	__m512d sum[TOGETHER];
	__m256d half[TOGETHER];
	UNROLL
	for (size_t k = 0; k < TOGETHER; k++)
		sum[k] = _mm512_setzero_pd();
	for (size_t j = 0; j < whole; j += LANES) {
		__m512d w = _mm512_loadu_pd(coef + j);
		UNROLL
		for (size_t k = 0; k < together; k++)
			sum[k] = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(rows + k * stride + j)), w, sum[k]);
	}
	if (rest != 0) {
		__m512d w = _mm512_maskz_loadu_pd((__mmask8)rest, coef + whole);
		UNROLL
		for (size_t k = 0; k < together; k++)
			sum[k] = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(_mm512_maskz_loadu_ps(rest, rows + k * stride + whole))), w, sum[k]);
	}
	UNROLL
	for (size_t k = 0; k < TOGETHER; k++)
		half[k] = _mm256_add_pd(_mm512_castpd512_pd256(sum[k]), _mm512_extractf64x4_pd(sum[k], 1));
	store_scores(scores, sums_of(half), intercept, together);
}

#define SCORES(name, attribute, row_scores)                                                                                                      \
	attribute static void                                                                                                                    \
	name(const float *rows, size_t stride, size_t count, size_t cols, const double *coef, double intercept, double *scores)                 \
	{                                                                                                                                        \
		size_t i = 0;                                                                                                                    \
		for (; i + TOGETHER <= count; i += TOGETHER)                                                                                     \
			row_scores(rows + i * stride, stride, TOGETHER, cols, coef, intercept, scores + i);                                      \
		if (i < count)                                                                                                                   \
			row_scores(rows + i * stride, stride, count - i, cols, coef, intercept, scores + i);                                     \
	}
SCORES(scores_avx2, AVX2, row_scores_avx2)
SCORES(scores_avx512, AVX512, row_scores_avx512)

/* sum (up to 8 `eights`, a constant; the last eight columns masked) += factor^T rows. */
AVX2 INLINE void
add_chunk_avx2(const float *rows, size_t stride, size_t count, size_t eights, size_t left, const double *factor, double *sum)
{
	const size_t last = (eights - 1) * LANES;
	const __m128i low = mask_of(left, 0), high = mask_of(left, LANES / 2);
	const __m256i low_wide = _mm256_cvtepi32_epi64(low), high_wide = _mm256_cvtepi32_epi64(high);
	__m256d a[TOGETHER], b[TOGETHER];
	UNROLL
	for (size_t k = 0; k + 1 < eights; k++) {
		a[k] = _mm256_loadu_pd(sum + k * LANES);
		b[k] = _mm256_loadu_pd(sum + k * LANES + LANES / 2);
	}
	a[eights - 1] = _mm256_maskload_pd(sum + last, low_wide);
	b[eights - 1] = _mm256_maskload_pd(sum + last + LANES / 2, high_wide);
	for (size_t i = 0; i < count; i++, rows += stride) {
		__m256d f = _mm256_broadcast_sd(factor + i);
		UNROLL
		for (size_t k = 0; k + 1 < eights; k++) {
			a[k] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(rows + k * LANES)), f, a[k]);
			b[k] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(rows + k * LANES + LANES / 2)), f, b[k]);
		}
		a[eights - 1] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_maskload_ps(rows + last, low)), f, a[eights - 1]);
		b[eights - 1] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_maskload_ps(rows + last + LANES / 2, high)), f, b[eights - 1]);
	}
	UNROLL
	for (size_t k = 0; k + 1 < eights; k++) {
		_mm256_storeu_pd(sum + k * LANES, a[k]);
		_mm256_storeu_pd(sum + k * LANES + LANES / 2, b[k]);
	}
	_mm256_maskstore_pd(sum + last, low_wide, a[eights - 1]);
	_mm256_maskstore_pd(sum + last + LANES / 2, high_wide, b[eights - 1]);
}

AVX512 INLINE void
add_chunk_avx512(const float *rows, size_t stride, size_t count, size_t eights, size_t left, const double *factor, double *sum)
{
	const size_t last = (eights - 1) * LANES;
	const __mmask16 rest = (__mmask16)((1u << left) - 1);
	const size_t ahead = count * stride * sizeof(float);    /* the next block comes from memory while this one is added up */
	__m512d lanes[TOGETHER];
	UNROLL
	for (size_t k = 0; k + 1 < eights; k++)
		lanes[k] = _mm512_loadu_pd(sum + k * LANES);
	lanes[eights - 1] = _mm512_maskz_loadu_pd((__mmask8)rest, sum + last);
	for (size_t i = 0; i < count; i++, rows += stride) {
		__m512d f = _mm512_set1_pd(factor[i]);
		_mm_prefetch((const char *)rows + ahead, _MM_HINT_T0);
		_mm_prefetch((const char *)rows + ahead + 64, _MM_HINT_T0);
		UNROLL
		for (size_t k = 0; k + 1 < eights; k++)
			lanes[k] = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(rows + k * LANES)), f, lanes[k]);
		lanes[eights - 1] = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(_mm512_maskz_loadu_ps(rest, rows + last))), f, lanes[eights - 1]);
	}
	UNROLL
	for (size_t k = 0; k + 1 < eights; k++)
		_mm512_storeu_pd(sum + k * LANES, lanes[k]);
	_mm512_mask_storeu_pd(sum + last, (__mmask8)rest, lanes[eights - 1]);
}

/* Columns in chunks whose sums stay in registers; what is left of the last has one to four eights. */
#define ADD_ROWS(name, attribute, add_chunk)                                                                                                     \
	attribute static void                                                                                                                    \
	name(const float *rows, size_t stride, size_t count, size_t cols, const double *factor, double *sum)                                    \
	{                                                                                                                                        \
		size_t at = 0;                                                                                                                   \
		for (; at + CHUNK < cols; at += CHUNK)                                                                                           \
			add_chunk(rows + at, stride, count, 4, LANES, factor, sum + at);                                                         \
		size_t eights = (cols - at + LANES - 1) / LANES, left = cols - at - (eights - 1) * LANES;                                       \
		if (eights == 1)                                                                                                                 \
			add_chunk(rows + at, stride, count, 1, left, factor, sum + at);                                                          \
		else if (eights == 2)                                                                                                            \
			add_chunk(rows + at, stride, count, 2, left, factor, sum + at);                                                          \
		else if (eights == 3)                                                                                                            \
			add_chunk(rows + at, stride, count, 3, left, factor, sum + at);                                                          \
		else                                                                                                                             \
			add_chunk(rows + at, stride, count, 4, left, factor, sum + at);                                                          \
	}
ADD_ROWS(add_rows_avx2, AVX2, add_chunk_avx2)
ADD_ROWS(add_rows_avx512, AVX512, add_chunk_avx512)

/* Eight columns at a time, those left one by one. */
AVX2 static void
scale_rows_avx2(const float *rows, size_t stride, size_t count, size_t cols, const float *factor, float *out, size_t ld)
{
	for (size_t i = 0; i < count; i++, rows += stride, out += ld) {
		__m256 f = _mm256_set1_ps(factor[i]);
		size_t j = 0;
		for (; j + LANES <= cols; j += LANES)
			_mm256_storeu_ps(out + j, _mm256_mul_ps(f, _mm256_loadu_ps(rows + j)));
		for (; j < cols; j++)
			out[j] = factor[i] * rows[j];
	}
}
#endif

bool
mmq_linear_dense_scores(const float *rows, size_t stride, size_t count, size_t cols, const double *coef, double intercept, double *scores)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx512()) {
		scores_avx512(rows, stride, count, cols, coef, intercept, scores);
		return true;
	}
	if (mmq_cpu_has_avx2()) {
		scores_avx2(rows, stride, count, cols, coef, intercept, scores);
		return true;
	}
#endif
	return false;
}

bool
mmq_linear_dense_add(const float *rows, size_t stride, size_t count, size_t cols, const double *factor, double *sum)
{
#if defined(__x86_64__)
	if (cols > 0 && mmq_cpu_has_avx512()) {
		add_rows_avx512(rows, stride, count, cols, factor, sum);
		return true;
	}
	if (cols > 0 && mmq_cpu_has_avx2()) {
		add_rows_avx2(rows, stride, count, cols, factor, sum);
		return true;
	}
#endif
	return false;
}

void
mmq_linear_dense_scale(const float *rows, size_t stride, size_t count, size_t cols, const float *factor, float *out, size_t ld)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2()) {
		scale_rows_avx2(rows, stride, count, cols, factor, out, ld);
		return;
	}
#endif
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < cols; j++)
			out[i * ld + j] = factor[i] * rows[i * stride + j];
}
