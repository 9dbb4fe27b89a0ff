/* panels.c: dot products of a block of 12 queries with dense rows in single precision: register tiles of 12 x 32, or of 6 x 16.
 *
 * The block holds the 12 queries' values of a column side by side, so that the inner loop reads two streams however long the rows are: with
 * twelve rows in their own places it waited for memory half of the time at 784 columns. */
#include <math.h>
#include <string.h>

#include "engine/svm/rows.h"
#include "math/cpu.h"
#include "math/dense.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx2,fma")))
#endif

enum { BLOCK = SVM_QUERIES_MAX };

/* One panel: out[q * out_stride + 0..15]. */
static void
panel_portable(const float *panel, const float *block, size_t cols, float *out, size_t out_stride)
{
	for (size_t q = 0; q < BLOCK; q++) {
		float sums[SVM_PANEL] = { 0 };
		for (size_t j = 0; j < cols; j++)
			for (size_t r = 0; r < SVM_PANEL; r++)
				sums[r] = fmaf(block[j * BLOCK + q], panel[j * SVM_PANEL + r], sums[r]);
		memcpy(out + q * out_stride, sums, sizeof(sums));
	}
}

#if defined(__x86_64__)
AVX2 static void
panel_avx2(const float *panel, const float *block, size_t cols, float *out, size_t out_stride)
{
	for (size_t half = 0; half < BLOCK; half += BLOCK / 2) {
		__m256 sum[BLOCK / 2][2];
		for (size_t q = 0; q < BLOCK / 2; q++)
			sum[q][0] = sum[q][1] = _mm256_setzero_ps();
		for (size_t j = 0; j < cols; j++) {
			__m256 low = _mm256_load_ps(panel + j * SVM_PANEL), high = _mm256_load_ps(panel + j * SVM_PANEL + 8);
#pragma GCC unroll 6
			for (size_t q = 0; q < BLOCK / 2; q++) {
				__m256 value = _mm256_broadcast_ss(block + j * BLOCK + half + q);
				sum[q][0] = _mm256_fmadd_ps(value, low, sum[q][0]);
				sum[q][1] = _mm256_fmadd_ps(value, high, sum[q][1]);
			}
		}
		for (size_t q = 0; q < BLOCK / 2; q++) {
			_mm256_storeu_ps(out + (half + q) * out_stride, sum[q][0]);
			_mm256_storeu_ps(out + (half + q) * out_stride + 8, sum[q][1]);
		}
	}
}

/* Two panels, panel_stride apart (0: only one, computed twice). */
AVX512 static void
panels_avx512(const float *panel, size_t panel_stride, const float *block, size_t cols, float *out, size_t out_stride)
{
	__m512 sum[BLOCK][2];
#pragma GCC unroll 12
	for (size_t q = 0; q < BLOCK; q++)
		sum[q][0] = sum[q][1] = _mm512_setzero_ps();
	for (size_t j = 0; j < cols; j++, panel += SVM_PANEL, block += BLOCK) {
		__m512 low = _mm512_load_ps(panel), high = _mm512_load_ps(panel + panel_stride);
		_mm_prefetch((const char *)(panel + 16 * SVM_PANEL), _MM_HINT_T0);
		_mm_prefetch((const char *)(panel + panel_stride + 16 * SVM_PANEL), _MM_HINT_T0);
#pragma GCC unroll 12
		for (size_t q = 0; q < BLOCK; q++) {
			__m512 value = _mm512_set1_ps(block[q]);
			sum[q][0] = _mm512_fmadd_ps(value, low, sum[q][0]);
			sum[q][1] = _mm512_fmadd_ps(value, high, sum[q][1]);
		}
	}
#pragma GCC unroll 12
	for (size_t q = 0; q < BLOCK; q++) {
		_mm512_storeu_ps(out + q * out_stride, sum[q][0]);
		if (panel_stride > 0)
			_mm512_storeu_ps(out + q * out_stride + SVM_PANEL, sum[q][1]);
	}
}
#endif

void
svm_dots_panels(const struct svm_rows *rows, const struct svm_queries *queries, size_t from_row, size_t count, float *out, size_t out_stride)
{
	const float *panel = (const float *)rows->values + from_row * rows->cols, *block = queries->values;
	size_t cols = rows->cols, stride = cols * SVM_PANEL, r = 0;

	if (queries->max == 1) {
		mmq_dense_run(out, out_stride, block, cols, 1, panel, rows->zeros, cols, count);
		return;
	}
#if defined(__x86_64__)
	for (; mmq_cpu_has_avx512() && r < count; r += 2 * SVM_PANEL)
		panels_avx512(panel + r * cols, r + SVM_PANEL < count ? stride : 0, block, cols, out + r, out_stride);
	for (; mmq_cpu_has_avx2() && r < count; r += SVM_PANEL)
		panel_avx2(panel + r * cols, block, cols, out + r, out_stride);
#endif
	for (; r < count; r += SVM_PANEL)
		panel_portable(panel + r * cols, block, cols, out + r, out_stride);
}
