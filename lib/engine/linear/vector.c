/* vector.c: sums, products and magnitudes of vectors of doubles. */
#include <math.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "math/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,fma")))
#endif

enum { LANES = 4, REGISTERS = 4 };

double
mmq_linear_sum(const double *values, size_t count)
{
	double lanes[LANES] = { 0 };
	size_t i = 0;
	for (; i + LANES <= count; i += LANES)
		for (size_t k = 0; k < LANES; k++)
			lanes[k] += values[i + k];
	for (; i < count; i++)
		lanes[0] += values[i];
	return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

double
mmq_linear_largest(const double *values, size_t count)
{
	double top = 0.0;
	for (size_t i = 0; i < count; i++) {
		if (!isfinite(values[i]))
			return INFINITY;
		top = fabs(values[i]) > top ? fabs(values[i]) : top;
	}
	return top;
}

static double
dot_portable(const double *x, const double *y, size_t count)
{
	double lanes[LANES] = { 0 };
	size_t i = 0;
	for (; i + LANES <= count; i += LANES)
		for (size_t k = 0; k < LANES; k++)
			lanes[k] += x[i + k] * y[i + k];
	for (; i < count; i++)
		lanes[0] += x[i] * y[i];
	return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

#if defined(__x86_64__)
AVX2 static double
dot_avx2(const double *x, const double *y, size_t count)
{
	__m256d a = _mm256_setzero_pd(), b = a, c = a, d = a;
	double lanes[LANES];
	size_t i = 0;
	for (; i + LANES * REGISTERS <= count; i += LANES * REGISTERS) {
		a = _mm256_fmadd_pd(_mm256_loadu_pd(x + i), _mm256_loadu_pd(y + i), a);
		b = _mm256_fmadd_pd(_mm256_loadu_pd(x + i + LANES), _mm256_loadu_pd(y + i + LANES), b);
		c = _mm256_fmadd_pd(_mm256_loadu_pd(x + i + 2 * LANES), _mm256_loadu_pd(y + i + 2 * LANES), c);
		d = _mm256_fmadd_pd(_mm256_loadu_pd(x + i + 3 * LANES), _mm256_loadu_pd(y + i + 3 * LANES), d);
	}
	_mm256_storeu_pd(lanes, _mm256_add_pd(_mm256_add_pd(a, b), _mm256_add_pd(c, d)));
	return dot_portable(x + i, y + i, count - i) + ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3]));
}

AVX2 static void
add_avx2(double *y, const double *x, double scale, size_t count)
{
	__m256d s = _mm256_set1_pd(scale);
	size_t i = 0;
	for (; i + LANES <= count; i += LANES)
		_mm256_storeu_pd(y + i, _mm256_fmadd_pd(s, _mm256_loadu_pd(x + i), _mm256_loadu_pd(y + i)));
	for (; i < count; i++)
		y[i] += scale * x[i];
}
#endif

double
mmq_linear_dot(const double *x, const double *y, size_t count)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2())
		return dot_avx2(x, y, count);
#endif
	return dot_portable(x, y, count);
}

void
mmq_linear_add(double *y, const double *x, double scale, size_t count)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2()) {
		add_avx2(y, x, scale, count);
		return;
	}
#endif
	for (size_t i = 0; i < count; i++)
		y[i] += scale * x[i];
}
