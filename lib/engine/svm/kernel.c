/* kernel.c: kernel functions over dot products, and the two sums that kernel values go into.
 *
 * The vector versions do the portable ones' operations in the same order: equal bits. Only exp in double
 * may differ in the last one. */
#include "engine/svm/kernel.h"

#include <math.h>
#include <string.h>

#include "math/cpu.h"
#include "math/exp.h"

enum { LANES = 8 };

const char *const svm_kernel_names[SVM_KERNELS] = { "linear", "poly", "rbf", "sigmoid", "precomputed" };

static float
power(float base, int exponent)
{
	float result = 1.0f;
	for (; exponent > 0; exponent >>= 1, base *= base)
		if (exponent & 1)
			result *= base;
	return result;
}

static double
power_wide(double base, int exponent)
{
	double result = 1;
	for (; exponent > 0; exponent >>= 1, base *= base)
		if (exponent & 1)
			result *= base;
	return result;
}

static void
rbf_portable(float gamma, const float *dots, float *out, size_t count, const float *row_norm, float query_norm)
{
	for (size_t i = 0; i < count; i++) {
		/* Rounding can make a squared distance a little negative. */
		float distance = fmaf(-2.0f, dots[i], row_norm[i] + query_norm);
		out[i] = mmq_exp1(-gamma * (distance > 0 ? distance : 0));
	}
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx2,fma")))

AVX2 static void
rbf_avx2(float gamma, const float *dots, float *out, size_t count, const float *row_norm, float query_norm)
{
	const __m256 minus_gamma = _mm256_set1_ps(-gamma), norm = _mm256_set1_ps(query_norm), minus_two = _mm256_set1_ps(-2.0f);
	size_t i = 0;
	for (; i + 8 <= count; i += 8) {
		__m256 distance = _mm256_fmadd_ps(minus_two, _mm256_loadu_ps(dots + i), _mm256_add_ps(_mm256_loadu_ps(row_norm + i), norm));
		distance = _mm256_max_ps(distance, _mm256_setzero_ps());
		_mm256_storeu_ps(out + i, mmq_exp8(_mm256_mul_ps(minus_gamma, distance)));
	}
	rbf_portable(gamma, dots + i, out + i, count - i, row_norm + i, query_norm);
}

AVX512 static void
rbf_avx512(float gamma, const float *dots, float *out, size_t count, const float *row_norm, float query_norm)
{
	const __m512 minus_gamma = _mm512_set1_ps(-gamma), norm = _mm512_set1_ps(query_norm), minus_two = _mm512_set1_ps(-2.0f);
	size_t i = 0;
	for (; i + 16 <= count; i += 16) {
		__m512 distance = _mm512_fmadd_ps(minus_two, _mm512_loadu_ps(dots + i), _mm512_add_ps(_mm512_loadu_ps(row_norm + i), norm));
		distance = _mm512_max_ps(distance, _mm512_setzero_ps());
		_mm512_storeu_ps(out + i, mmq_exp16(_mm512_mul_ps(minus_gamma, distance)));
	}
	rbf_avx2(gamma, dots + i, out + i, count - i, row_norm + i, query_norm);
}
#endif

static void
rbf(float gamma, const float *dots, float *out, size_t count, const float *row_norm, float query_norm)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx512()) {
		rbf_avx512(gamma, dots, out, count, row_norm, query_norm);
		return;
	}
	if (mmq_cpu_has_avx2()) {
		rbf_avx2(gamma, dots, out, count, row_norm, query_norm);
		return;
	}
#endif
	rbf_portable(gamma, dots, out, count, row_norm, query_norm);
}

void
svm_kernel_finish(const struct svm_kernel *kernel, const float *dots, float *out, size_t count, const float *row_norm, float query_norm)
{
	float gamma = (float)kernel->gamma, coef0 = (float)kernel->coef0;

	switch (kernel->kind) {
	case SVM_POLY:
		for (size_t i = 0; i < count; i++)
			out[i] = power(gamma * dots[i] + coef0, kernel->degree);
		break;
	case SVM_RBF:
		rbf(gamma, dots, out, count, row_norm, query_norm);
		break;
	case SVM_SIGMOID:
		for (size_t i = 0; i < count; i++)
			out[i] = gamma * dots[i] + coef0;
		mmq_tanh_f32(out, out, count);
		break;
	default:   /* linear and precomputed are what they are */
		if (out != dots)
			memcpy(out, dots, count * sizeof(*out));
	}
}

static void
rbf_wide_portable(double gamma, const double *dots, double *out, size_t count, const double *row_norm, double query_norm)
{
	for (size_t i = 0; i < count; i++) {
		double distance = row_norm[i] + query_norm - 2 * dots[i];
		out[i] = exp(-gamma * (distance > 0 ? distance : 0));
	}
}

#if defined(__x86_64__)
AVX2 static void
rbf_wide_avx2(double gamma, const double *dots, double *out, size_t count, const double *row_norm, double query_norm)
{
	const __m256d minus_gamma = _mm256_set1_pd(-gamma), norm = _mm256_set1_pd(query_norm), zero = _mm256_setzero_pd();
	size_t i = 0;
	for (; i + 4 <= count; i += 4) {
		__m256d dot = _mm256_loadu_pd(dots + i), distance = _mm256_sub_pd(_mm256_add_pd(_mm256_loadu_pd(row_norm + i), norm), _mm256_add_pd(dot, dot));
		_mm256_storeu_pd(out + i, mmq_exp4_f64(_mm256_mul_pd(minus_gamma, _mm256_max_pd(distance, zero))));
	}
	rbf_wide_portable(gamma, dots + i, out + i, count - i, row_norm + i, query_norm);
}
#endif

static void
rbf_wide(double gamma, const double *dots, double *out, size_t count, const double *row_norm, double query_norm)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2()) {
		rbf_wide_avx2(gamma, dots, out, count, row_norm, query_norm);
		return;
	}
#endif
	rbf_wide_portable(gamma, dots, out, count, row_norm, query_norm);
}

void
svm_kernel_finish_wide(const struct svm_kernel *kernel, const double *dots, double *out, size_t count, const double *row_norm, double query_norm)
{
	switch (kernel->kind) {
	case SVM_POLY:
		for (size_t i = 0; i < count; i++)
			out[i] = power_wide(kernel->gamma * dots[i] + kernel->coef0, kernel->degree);
		break;
	case SVM_RBF:
		rbf_wide(kernel->gamma, dots, out, count, row_norm, query_norm);
		break;
	case SVM_SIGMOID:
		for (size_t i = 0; i < count; i++)
			out[i] = tanh(kernel->gamma * dots[i] + kernel->coef0);
		break;
	default:
		if (out != dots)
			memcpy(out, dots, count * sizeof(*out));
	}
}

#if defined(__x86_64__)
AVX2 static void
add_avx2(double *sum, size_t count, const double scale[4], const float *a, const float *b, const float *c, const float *d)
{
	const __m256d sa = _mm256_set1_pd(scale[0]), sb = _mm256_set1_pd(scale[1]), sc = _mm256_set1_pd(scale[2]), sd = _mm256_set1_pd(scale[3]);
	for (size_t i = 0; i < count; i += 4) {
		__m256d at = _mm256_loadu_pd(sum + i);
		at = _mm256_fmadd_pd(sa, _mm256_cvtps_pd(_mm_loadu_ps(a + i)), at);
		at = _mm256_fmadd_pd(sb, _mm256_cvtps_pd(_mm_loadu_ps(b + i)), at);
		at = _mm256_fmadd_pd(sc, _mm256_cvtps_pd(_mm_loadu_ps(c + i)), at);
		at = _mm256_fmadd_pd(sd, _mm256_cvtps_pd(_mm_loadu_ps(d + i)), at);
		_mm256_storeu_pd(sum + i, at);
	}
}

AVX512 static void
add_avx512(double *sum, size_t count, const double scale[4], const float *a, const float *b, const float *c, const float *d)
{
	const __m512d sa = _mm512_set1_pd(scale[0]), sb = _mm512_set1_pd(scale[1]), sc = _mm512_set1_pd(scale[2]), sd = _mm512_set1_pd(scale[3]);
	for (size_t i = 0; i < count; i += 8) {
		__m512d at = _mm512_loadu_pd(sum + i);
		at = _mm512_fmadd_pd(sa, _mm512_cvtps_pd(_mm256_loadu_ps(a + i)), at);
		at = _mm512_fmadd_pd(sb, _mm512_cvtps_pd(_mm256_loadu_ps(b + i)), at);
		at = _mm512_fmadd_pd(sc, _mm512_cvtps_pd(_mm256_loadu_ps(c + i)), at);
		at = _mm512_fmadd_pd(sd, _mm512_cvtps_pd(_mm256_loadu_ps(d + i)), at);
		_mm512_storeu_pd(sum + i, at);
	}
}
#endif

void
svm_kernel_add(double *sum, size_t count, const double scale[4], const float *a, const float *b, const float *c, const float *d)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx512()) {
		add_avx512(sum, count, scale, a, b, c, d);
		return;
	}
	if (mmq_cpu_has_avx2()) {
		add_avx2(sum, count, scale, a, b, c, d);
		return;
	}
#endif
	for (size_t i = 0; i < count; i++)
		sum[i] = fma(scale[3], (double)d[i], fma(scale[2], (double)c[i], fma(scale[1], (double)b[i], fma(scale[0], (double)a[i], sum[i]))));
}

void
svm_kernel_add_wide(double *sum, size_t count, const double scale[4], const double *a, const double *b, const double *c, const double *d)
{
	for (size_t i = 0; i < count; i++)
		sum[i] += scale[0] * a[i] + scale[1] * b[i] + scale[2] * c[i] + scale[3] * d[i];
}

#if defined(__x86_64__)
AVX512 static size_t
weigh_avx512(const double *coef, const float *values, size_t count, double *lanes)
{
	__m512d sum = _mm512_setzero_pd();
	size_t i = 0;
	for (; i + LANES <= count; i += LANES)
		sum = _mm512_fmadd_pd(_mm512_loadu_pd(coef + i), _mm512_cvtps_pd(_mm256_loadu_ps(values + i)), sum);
	_mm512_storeu_pd(lanes, sum);
	return i;
}

AVX2 static size_t
weigh_avx2(const double *coef, const float *values, size_t count, double *lanes)
{
	__m256d low = _mm256_setzero_pd(), high = low;
	size_t i = 0;
	for (; i + LANES <= count; i += LANES) {
		low = _mm256_fmadd_pd(_mm256_loadu_pd(coef + i), _mm256_cvtps_pd(_mm_loadu_ps(values + i)), low);
		high = _mm256_fmadd_pd(_mm256_loadu_pd(coef + i + 4), _mm256_cvtps_pd(_mm_loadu_ps(values + i + 4)), high);
	}
	_mm256_storeu_pd(lanes, low);
	_mm256_storeu_pd(lanes + 4, high);
	return i;
}
#endif

static size_t
weigh_lanes(const double *coef, const float *values, size_t count, double *lanes)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx512())
		return weigh_avx512(coef, values, count, lanes);
	if (mmq_cpu_has_avx2())
		return weigh_avx2(coef, values, count, lanes);
#endif
	size_t i = 0;
	for (; i + LANES <= count; i += LANES)
		for (size_t k = 0; k < LANES; k++)
			lanes[k] = fma(coef[i + k], (double)values[i + k], lanes[k]);
	return i;
}

double
svm_kernel_weigh(const double *coef, const float *values, size_t count)
{
	double lanes[LANES] = { 0 }, sum = 0;
	for (size_t i = weigh_lanes(coef, values, count, lanes); i < count; i++)
		sum += coef[i] * (double)values[i];
	for (size_t k = 0; k < LANES; k++)
		sum += lanes[k];
	return sum;
}

double
svm_kernel_weigh_wide(const double *coef, const double *values, size_t count)
{
	double lanes[LANES] = { 0 }, sum = 0;
	size_t i = 0;
	for (; i + LANES <= count; i += LANES)
		for (size_t k = 0; k < LANES; k++)
			lanes[k] += coef[i + k] * values[i + k];
	for (; i < count; i++)
		sum += coef[i] * values[i];
	for (size_t k = 0; k < LANES; k++)
		sum += lanes[k];
	return sum;
}
