/* exp.h: fast float exp, sigmoid and tanh over arrays, and the kernels themselves for use inside other loops.
 *
 * exp: Cody-Waite reduction x = n ln2 + r, |r| <= ln2/2, then the degree 6 polynomial of Cephes' expf, times 2^n in two steps so
 * that results down to the smallest subnormal come out. Relative error <= 2e-7 over [-87, 87]; above 88.73 +inf, below
 * -104 zero, NaN stays NaN. The one-value and the 8- and 16-lane versions do the same fma steps in the same order: equal bits. */
#ifndef MMQ_MATH_EXP_H
#define MMQ_MATH_EXP_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* y (count) = f(x (count)); y may be x. AVX2 where the processor has it. */
void mmq_exp_f32(float *y, const float *x, size_t count);
void mmq_sigmoid_f32(float *y, const float *x, size_t count);   /* 1 / (1 + exp(-x)); absolute error <= 2e-7 */
void mmq_tanh_f32(float *y, const float *x, size_t count);      /* absolute error <= 2e-7 */

/* The same without vector instructions: same bits, for tests and for processors without AVX2. */
void mmq_exp_f32_portable(float *y, const float *x, size_t count);
void mmq_sigmoid_f32_portable(float *y, const float *x, size_t count);
void mmq_tanh_f32_portable(float *y, const float *x, size_t count);

#define MMQ_EXP_HIGH 89.0f
#define MMQ_EXP_LOW (-104.5f)
#define MMQ_EXP_LOG2E 1.44269504088896341f
#define MMQ_EXP_ROUND 12582912.0f               /* 1.5 * 2^23: adding it rounds to an integer, kept in the low bits */
#define MMQ_EXP_LN2_HIGH 0.693359375f
#define MMQ_EXP_LN2_LOW (-2.12194440e-4f)
#define MMQ_TANH_SMALL 0.625f

static inline float
mmq_float_of_bits(uint32_t bits)
{
	float value;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

static inline float
mmq_exp1(float x)
{
	float t, n, r, p;
	uint32_t bits;
	x = x > MMQ_EXP_HIGH ? MMQ_EXP_HIGH : x;
	x = x < MMQ_EXP_LOW ? MMQ_EXP_LOW : x;
	t = fmaf(x, MMQ_EXP_LOG2E, MMQ_EXP_ROUND);
	n = t - MMQ_EXP_ROUND;
	r = fmaf(n, -MMQ_EXP_LN2_HIGH, x);
	r = fmaf(n, -MMQ_EXP_LN2_LOW, r);
	p = fmaf(1.9875691500e-4f, r, 1.3981999507e-3f);
	p = fmaf(p, r, 8.3334519073e-3f);
	p = fmaf(p, r, 4.1665795894e-2f);
	p = fmaf(p, r, 1.6666665459e-1f);
	p = fmaf(p, r, 5.0000001201e-1f);
	p = fmaf(p, r * r, r) + 1.0f;
	/* 2^n as 2^(n/2) * 2^(n - n/2): both factors are ordinary numbers. */
	memcpy(&bits, &t, sizeof(bits));
	uint32_t power = bits - 0x4b400000u, half = power >> 1 | (power & 0x80000000u);
	return p * mmq_float_of_bits((half + 127u) << 23) * mmq_float_of_bits((power - half + 127u) << 23);
}

static inline float
mmq_sigmoid1(float x)
{
	return 1.0f / (1.0f + mmq_exp1(-x));
}

static inline float
mmq_tanh1(float x)
{
	float size = fabsf(x), z = x * x, p;
	if (!(size < MMQ_TANH_SMALL))
		return copysignf(1.0f - 2.0f / (mmq_exp1(size + size) + 1.0f), x);
	p = fmaf(-5.70498872745e-3f, z, 2.06390887954e-2f);
	p = fmaf(p, z, -5.37397155531e-2f);
	p = fmaf(p, z, 1.33314422036e-1f);
	p = fmaf(p, z, -3.33332819422e-1f);
	return fmaf(p * z, x, x);
}

#if defined(__x86_64__)
/* Eight at a time; call only from functions with the same target attribute. */
__attribute__((target("avx2,fma"))) static inline __m256
mmq_exp8(__m256 x)
{
	const __m256 round = _mm256_set1_ps(MMQ_EXP_ROUND);
	__m256 t, n, r, p;
	x = _mm256_min_ps(_mm256_set1_ps(MMQ_EXP_HIGH), x);    /* the second operand is returned for NaN */
	x = _mm256_max_ps(_mm256_set1_ps(MMQ_EXP_LOW), x);
	t = _mm256_fmadd_ps(x, _mm256_set1_ps(MMQ_EXP_LOG2E), round);
	n = _mm256_sub_ps(t, round);
	r = _mm256_fmadd_ps(n, _mm256_set1_ps(-MMQ_EXP_LN2_HIGH), x);
	r = _mm256_fmadd_ps(n, _mm256_set1_ps(-MMQ_EXP_LN2_LOW), r);
	p = _mm256_fmadd_ps(_mm256_set1_ps(1.9875691500e-4f), r, _mm256_set1_ps(1.3981999507e-3f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
	p = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
	__m256i power = _mm256_sub_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(0x4b400000));
	__m256i half = _mm256_srai_epi32(power, 1), bias = _mm256_set1_epi32(127);
	__m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
	__m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(power, half), bias), 23);
	return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}

/* exp of four doubles up to 0: Cody-Waite reduction, Taylor's polynomial of degree 13 on |r| <= ln2/2; relative error <= 4e-16, below -708 the
 * value at -708 (3e-308). */
__attribute__((target("avx2,fma"))) static inline __m256d
mmq_exp4_f64(__m256d x)
{
	const __m256d round = _mm256_set1_pd(6755399441055744.0);   /* 1.5 * 2^52 */
	x = _mm256_max_pd(_mm256_set1_pd(-708.0), x);
	__m256d t = _mm256_fmadd_pd(x, _mm256_set1_pd(1.4426950408889634074), round), n = _mm256_sub_pd(t, round), r, p;
	r = _mm256_fmadd_pd(n, _mm256_set1_pd(-6.93147180369123816490e-01), x);
	r = _mm256_fmadd_pd(n, _mm256_set1_pd(-1.90821492927058770002e-10), r);
	p = _mm256_set1_pd(1.0 / 6227020800.0);
	p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(1.0 / 479001600.0));
	p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(1.0 / 39916800.0));
	p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(1.0 / 3628800.0));
	p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(1.0 / 362880.0));
	p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(1.0 / 40320.0));
	p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(1.0 / 5040.0));
	p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(1.0 / 720.0));
	p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(1.0 / 120.0));
	p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(1.0 / 24.0));
	p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(1.0 / 6.0));
	p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(0.5));
	p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(1.0));
	p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(1.0));
	return _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(p), _mm256_slli_epi64(_mm256_castpd_si256(t), 52)));
}

/* Sixteen at a time, for functions with AVX-512: the same steps, the same bits. */
__attribute__((target("avx512f"))) static inline __m512
mmq_exp16(__m512 x)
{
	const __m512 round = _mm512_set1_ps(MMQ_EXP_ROUND);
	__m512 t, n, r, p;
	x = _mm512_min_ps(_mm512_set1_ps(MMQ_EXP_HIGH), x);
	x = _mm512_max_ps(_mm512_set1_ps(MMQ_EXP_LOW), x);
	t = _mm512_fmadd_ps(x, _mm512_set1_ps(MMQ_EXP_LOG2E), round);
	n = _mm512_sub_ps(t, round);
	r = _mm512_fmadd_ps(n, _mm512_set1_ps(-MMQ_EXP_LN2_HIGH), x);
	r = _mm512_fmadd_ps(n, _mm512_set1_ps(-MMQ_EXP_LN2_LOW), r);
	p = _mm512_fmadd_ps(_mm512_set1_ps(1.9875691500e-4f), r, _mm512_set1_ps(1.3981999507e-3f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
	p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
	__m512i power = _mm512_sub_epi32(_mm512_castps_si512(t), _mm512_set1_epi32(0x4b400000));
	__m512i half = _mm512_srai_epi32(power, 1), bias = _mm512_set1_epi32(127);
	__m512i a = _mm512_slli_epi32(_mm512_add_epi32(half, bias), 23);
	__m512i b = _mm512_slli_epi32(_mm512_add_epi32(_mm512_sub_epi32(power, half), bias), 23);
	return _mm512_mul_ps(_mm512_mul_ps(p, _mm512_castsi512_ps(a)), _mm512_castsi512_ps(b));
}

__attribute__((target("avx2,fma"))) static inline __m256
mmq_sigmoid8(__m256 x)
{
	const __m256 one = _mm256_set1_ps(1.0f);
	__m256 minus_x = _mm256_xor_ps(x, _mm256_set1_ps(-0.0f));
	return _mm256_div_ps(one, _mm256_add_ps(one, mmq_exp8(minus_x)));
}

__attribute__((target("avx2,fma"))) static inline __m256
mmq_tanh8(__m256 x)
{
	const __m256 sign = _mm256_set1_ps(-0.0f), one = _mm256_set1_ps(1.0f);
	__m256 size = _mm256_andnot_ps(sign, x), z = _mm256_mul_ps(x, x), p, big, small;
	big = _mm256_add_ps(mmq_exp8(_mm256_add_ps(size, size)), one);
	big = _mm256_sub_ps(one, _mm256_div_ps(_mm256_set1_ps(2.0f), big));
	big = _mm256_or_ps(_mm256_andnot_ps(sign, big), _mm256_and_ps(sign, x));
	p = _mm256_fmadd_ps(_mm256_set1_ps(-5.70498872745e-3f), z, _mm256_set1_ps(2.06390887954e-2f));
	p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(-5.37397155531e-2f));
	p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(1.33314422036e-1f));
	p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(-3.33332819422e-1f));
	small = _mm256_fmadd_ps(_mm256_mul_ps(p, z), x, x);
	return _mm256_blendv_ps(big, small, _mm256_cmp_ps(size, _mm256_set1_ps(MMQ_TANH_SMALL), _CMP_LT_OQ));
}
#endif

#endif
