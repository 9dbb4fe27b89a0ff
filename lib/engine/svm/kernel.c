/* kernel.c: packing rows, and the kernel functions over their dot products. */
#include "engine/svm/kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/cpu.h"
#include "math/dense.h"
#include "math/exp.h"
#include "util/mem.h"

_Static_assert((int)SVM_PANEL == (int)MMQ_DENSE_PANEL, "rows are packed as math/dense.h wants them");

const char *const svm_kernel_names[4] = { "linear", "poly", "rbf", "sigmoid" };

double
svm_square_length(const float *row, size_t cols)
{
	double sum = 0;
	for (size_t j = 0; j < cols; j++)
		sum += (double)row[j] * (double)row[j];
	return sum;
}

void
svm_rows_pack(struct svm_rows *packed, const float *values, size_t rows, size_t cols)
{
	size_t panels = (rows + SVM_PANEL - 1) / SVM_PANEL;

	*packed = (struct svm_rows){ .rows = rows, .cols = cols, .panels = panels };
	packed->values = mmq_aligned(panels * cols * SVM_PANEL * sizeof(float));
	packed->norm = mmq_aligned(panels * SVM_PANEL * sizeof(float));
	packed->zeros = mmq_aligned(panels * SVM_PANEL * sizeof(float));
	for (size_t r = 0; r < rows; r++) {
		float *panel = packed->values + r / SVM_PANEL * cols * SVM_PANEL + r % SVM_PANEL;
		for (size_t j = 0; j < cols; j++)
			panel[j * SVM_PANEL] = values[r * cols + j];
		packed->norm[r] = (float)svm_square_length(values + r * cols, cols);
	}
}

void
svm_rows_fini(struct svm_rows *packed)
{
	free(packed->values);
	free(packed->norm);
	free(packed->zeros);
	*packed = (struct svm_rows){ 0 };
}

void
svm_rows_get(const struct svm_rows *packed, size_t row, float *values_out)
{
	const float *panel = packed->values + row / SVM_PANEL * packed->cols * SVM_PANEL + row % SVM_PANEL;
	for (size_t j = 0; j < packed->cols; j++)
		values_out[j] = panel[j * SVM_PANEL];
}

static float
power(float base, int exponent)
{
	float result = 1.0f;
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
__attribute__((target("avx2,fma"))) static void
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
#endif

void
svm_kernel_finish(const struct svm_kernel *kernel, const float *dots, float *out, size_t count, const float *row_norm, float query_norm)
{
	float gamma = (float)kernel->gamma, coef0 = (float)kernel->coef0;

	switch (kernel->kind) {
	case SVM_LINEAR:
		if (out != dots)
			memcpy(out, dots, count * sizeof(*out));
		break;
	case SVM_POLY:
		for (size_t i = 0; i < count; i++)
			out[i] = power(gamma * dots[i] + coef0, kernel->degree);
		break;
	case SVM_RBF:
#if defined(__x86_64__)
		if (mmq_cpu_has_avx2()) {
			rbf_avx2(gamma, dots, out, count, row_norm, query_norm);
			break;
		}
#endif
		rbf_portable(gamma, dots, out, count, row_norm, query_norm);
		break;
	case SVM_SIGMOID:
		for (size_t i = 0; i < count; i++)
			out[i] = gamma * dots[i] + coef0;
		mmq_tanh_f32(out, out, count);
		break;
	}
}

void
svm_kernel_dots(const struct svm_rows *packed, size_t from, size_t to, const float *queries, size_t query_stride, size_t count, float *out,
    size_t out_stride)
{
	mmq_dense_run(out, out_stride, queries, query_stride, count, packed->values + from * packed->cols * SVM_PANEL, packed->zeros,
	    packed->cols, (to - from) * SVM_PANEL);
}

void
svm_kernel_values(const struct svm_kernel *kernel, const struct svm_rows *packed, size_t from, size_t to, const float *queries,
    size_t query_stride, size_t count, float *out, size_t out_stride)
{
	svm_kernel_dots(packed, from, to, queries, query_stride, count, out, out_stride);
	for (size_t q = 0; q < count; q++) {
		float norm = kernel->kind == SVM_RBF ? (float)svm_square_length(queries + q * query_stride, packed->cols) : 0, *row = out + q * out_stride;
		svm_kernel_finish(kernel, row, row, (to - from) * SVM_PANEL, packed->norm + from * SVM_PANEL, norm);
	}
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void
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
#endif

void
svm_kernel_add(double *sum, size_t count, const double scale[4], const float *a, const float *b, const float *c, const float *d)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2()) {
		add_avx2(sum, count, scale, a, b, c, d);
		return;
	}
#endif
	for (size_t i = 0; i < count; i++)
		sum[i] = fma(scale[3], (double)d[i], fma(scale[2], (double)c[i], fma(scale[1], (double)b[i], fma(scale[0], (double)a[i], sum[i]))));
}

float
svm_kernel_self(const struct svm_kernel *kernel, const struct svm_rows *packed, size_t row)
{
	float value = packed->norm[row];
	if (kernel->kind == SVM_RBF)
		return 1.0f;
	svm_kernel_finish(kernel, &value, &value, 1, NULL, 0);
	return value;
}
