/* rows.c: products of rows and coefficients in double, block by block. One output over float32 rows has kernels of its own, several outputs
 * go through BLAS, sparse rows entry by entry. */
#include <math.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "math/blas.h"
#include "math/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { LANES = 4, CHUNK = 32, AHEAD = 8 };      /* CHUNK: columns whose sums are kept in registers */

static inline double
value_at(const struct mmq_batch *x, const void *values, uint64_t k)
{
	return x->dtype == MMQ_F32 ? (double)((const float *)values)[k] : ((const double *)values)[k];
}

size_t
mmq_linear_parts(size_t rows, size_t bytes_per_part)
{
	size_t parts = rows / 1024, fits = ((size_t)64 << 20) / (bytes_per_part + 1);
	parts = parts > MMQ_LINEAR_PARTS_MAX ? MMQ_LINEAR_PARTS_MAX : parts;
	parts = parts > fits ? fits : parts;
	return parts < 1 ? 1 : parts;
}

double
mmq_linear_dot(const double *x, const double *y, size_t count)
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

void
mmq_linear_load(const struct mmq_batch *x, size_t first, size_t count, const double *shift, double *out, size_t ld)
{
	for (size_t i = 0; i < count; i++, out += ld) {
		if (x->row_start != NULL) {
			memset(out, 0, x->cols * sizeof(*out));
			for (uint64_t e = x->row_start[first + i]; e < x->row_start[first + i + 1]; e++)
				out[x->col[e]] = value_at(x, x->value, e);
		} else if (x->dtype == MMQ_F32) {
			const float *from = (const float *)x->dense + (first + i) * x->stride;
			for (size_t j = 0; j < x->cols; j++)
				out[j] = (double)from[j];
		} else {
			memcpy(out, (const double *)x->dense + (first + i) * x->stride, x->cols * sizeof(*out));
		}
		for (size_t j = 0; shift != NULL && j < x->cols; j++)
			out[j] -= shift[j];
	}
}

void
mmq_linear_forward(const struct mmq_batch *x, size_t first, size_t count, const double *coef, const double *intercept, size_t outputs,
    double *block, double *scores)
{
	for (size_t i = 0; i < count; i++)
		memcpy(scores + i * outputs, intercept, outputs * sizeof(*scores));
	if (x->row_start == NULL) {
		mmq_linear_load(x, first, count, NULL, block, x->cols);
		mmq_dgemm(false, true, count, outputs, x->cols, 1.0, block, x->cols, coef, x->cols, 1.0, scores, outputs);
		return;
	}
	for (size_t i = 0; i < count; i++)
		for (uint64_t e = x->row_start[first + i]; e < x->row_start[first + i + 1]; e++)
			for (size_t k = 0; k < outputs; k++)
				scores[i * outputs + k] += value_at(x, x->value, e) * coef[k * x->cols + x->col[e]];
}

void
mmq_linear_backward(const struct mmq_batch *x, size_t first, size_t count, const double *residual, size_t outputs, double *block,
    double *gradient, double *gradient_0)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < outputs; k++)
			gradient_0[k] += residual[i * outputs + k];
	if (x->row_start == NULL) {
		mmq_linear_load(x, first, count, NULL, block, x->cols);
		mmq_dgemm(true, false, outputs, x->cols, count, 1.0, residual, outputs, block, x->cols, 1.0, gradient, x->cols);
		return;
	}
	for (size_t i = 0; i < count; i++)
		for (uint64_t e = x->row_start[first + i]; e < x->row_start[first + i + 1]; e++)
			for (size_t k = 0; k < outputs; k++)
				gradient[k * x->cols + x->col[e]] += value_at(x, x->value, e) * residual[i * outputs + k];
}

static double
score_row(const struct mmq_batch *x, size_t row, const double *coef)
{
	double sum = 0.0;
	if (x->row_start != NULL && x->dtype == MMQ_F32) {
		const float *value = x->value;
		for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++)
			sum += (double)value[e] * coef[x->col[e]];
		return sum;
	}
	if (x->row_start != NULL) {
		const double *value = x->value;
		for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++)
			sum += value[e] * coef[x->col[e]];
		return sum;
	}
	if (x->dtype == MMQ_F64)
		return mmq_linear_dot((const double *)x->dense + row * x->stride, coef, x->cols);
	const float *values = (const float *)x->dense + row * x->stride;
	for (size_t j = 0; j < x->cols; j++)
		sum += (double)values[j] * coef[j];
	return sum;
}

static void
add_row(const struct mmq_batch *x, size_t row, double factor, double *sum)
{
	if (x->row_start != NULL && x->dtype == MMQ_F32) {
		const float *value = x->value;
		for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++)
			sum[x->col[e]] += factor * (double)value[e];
		return;
	}
	if (x->row_start != NULL) {
		const double *value = x->value;
		for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++)
			sum[x->col[e]] += factor * value[e];
		return;
	}
	if (x->dtype == MMQ_F64) {
		const double *values = (const double *)x->dense + row * x->stride;
		for (size_t j = 0; j < x->cols; j++)
			sum[j] += factor * values[j];
		return;
	}
	const float *values = (const float *)x->dense + row * x->stride;
	for (size_t j = 0; j < x->cols; j++)
		sum[j] += factor * (double)values[j];
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static inline __m256d
widened(const float *at)
{
	return _mm256_cvtps_pd(_mm_loadu_ps(at));
}

__attribute__((target("avx2,fma"))) static inline double
lane_sum(__m256d lanes)
{
	__m128d pair = _mm_add_pd(_mm256_castpd256_pd128(lanes), _mm256_extractf128_pd(lanes, 1));
	return _mm_cvtsd_f64(_mm_add_sd(pair, _mm_unpackhi_pd(pair, pair)));
}

/* Four rows at a time, so that a coefficient is loaded once for them. */
__attribute__((target("avx2,fma"))) static void
scores_avx2(const float *rows, size_t stride, size_t count, size_t cols, const double *coef, double intercept, double *scores)
{
	size_t i = 0;
	for (; i + 4 <= count; i += 4, rows += 4 * stride) {
		__m256d a = _mm256_setzero_pd(), b = a, c = a, d = a;
		size_t j = 0;
		for (; j + LANES <= cols; j += LANES) {
			__m256d w = _mm256_loadu_pd(coef + j);
			a = _mm256_fmadd_pd(widened(rows + j), w, a);
			b = _mm256_fmadd_pd(widened(rows + stride + j), w, b);
			c = _mm256_fmadd_pd(widened(rows + 2 * stride + j), w, c);
			d = _mm256_fmadd_pd(widened(rows + 3 * stride + j), w, d);
		}
		double tail[4] = { 0 };
		for (; j < cols; j++)
			for (size_t k = 0; k < 4; k++)
				tail[k] += (double)rows[k * stride + j] * coef[j];
		scores[i] = intercept + tail[0] + lane_sum(a);
		scores[i + 1] = intercept + tail[1] + lane_sum(b);
		scores[i + 2] = intercept + tail[2] + lane_sum(c);
		scores[i + 3] = intercept + tail[3] + lane_sum(d);
	}
	for (; i < count; i++, rows += stride) {
		__m256d a = _mm256_setzero_pd();
		double tail = 0.0;
		size_t j = 0;
		for (; j + LANES <= cols; j += LANES)
			a = _mm256_fmadd_pd(widened(rows + j), _mm256_loadu_pd(coef + j), a);
		for (; j < cols; j++)
			tail += (double)rows[j] * coef[j];
		scores[i] = intercept + tail + lane_sum(a);
	}
}

__attribute__((target("avx2,fma"))) static void
add_rows_avx2(const float *rows, size_t stride, size_t count, size_t cols, const double *factor, double *sum)
{
	size_t at = 0;
	for (; at + CHUNK <= cols; at += CHUNK) {
		__m256d lanes[CHUNK / LANES];
		for (size_t k = 0; k < CHUNK / LANES; k++)
			lanes[k] = _mm256_loadu_pd(sum + at + k * LANES);
		for (size_t i = 0; i < count; i++) {
			__m256d f = _mm256_broadcast_sd(factor + i);
			for (size_t k = 0; k < CHUNK / LANES; k++)
				lanes[k] = _mm256_fmadd_pd(widened(rows + i * stride + at + k * LANES), f, lanes[k]);
		}
		for (size_t k = 0; k < CHUNK / LANES; k++)
			_mm256_storeu_pd(sum + at + k * LANES, lanes[k]);
	}
	for (; at + LANES <= cols; at += LANES) {
		__m256d even = _mm256_loadu_pd(sum + at), odd = _mm256_setzero_pd();
		size_t i = 0;
		for (; i + 2 <= count; i += 2) {
			even = _mm256_fmadd_pd(widened(rows + i * stride + at), _mm256_broadcast_sd(factor + i), even);
			odd = _mm256_fmadd_pd(widened(rows + (i + 1) * stride + at), _mm256_broadcast_sd(factor + i + 1), odd);
		}
		if (i < count)
			even = _mm256_fmadd_pd(widened(rows + i * stride + at), _mm256_broadcast_sd(factor + i), even);
		_mm256_storeu_pd(sum + at, _mm256_add_pd(even, odd));
	}
	for (; at < cols; at++)
		for (size_t i = 0; i < count; i++)
			sum[at] += factor[i] * (double)rows[i * stride + at];
}
#endif

void
mmq_linear_scores(const struct mmq_batch *x, size_t first, size_t count, const double *coef, double intercept, double *scores)
{
#if defined(__x86_64__)
	if (x->row_start == NULL && x->dtype == MMQ_F32 && mmq_cpu_has_avx2()) {
		scores_avx2((const float *)x->dense + first * x->stride, x->stride, count, x->cols, coef, intercept, scores);
		return;
	}
#endif
	for (size_t i = 0; i < count; i++)
		scores[i] = intercept + score_row(x, first + i, coef);
}

void
mmq_linear_add_rows(const struct mmq_batch *x, size_t first, size_t count, const double *factor, double *sum)
{
#if defined(__x86_64__)
	if (x->row_start == NULL && x->dtype == MMQ_F32 && mmq_cpu_has_avx2()) {
		add_rows_avx2((const float *)x->dense + first * x->stride, x->stride, count, x->cols, factor, sum);
		return;
	}
#endif
	for (size_t i = 0; i < count; i++)
		add_row(x, first + i, factor[i], sum);
}
