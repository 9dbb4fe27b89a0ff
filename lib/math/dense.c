/* dense.c: a 6 x 16 register tile over packed weights, and four panels at a time for a single row. */
#include "math/dense.h"

#include <math.h>
#include <string.h>

#include "math/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { PANEL = MMQ_DENSE_PANEL };

size_t
mmq_dense_packed_count(size_t in, size_t out)
{
	return in * ((out + PANEL - 1) / PANEL) * PANEL;
}

void
mmq_dense_pack(float *packed, const float *w, size_t in, size_t out)
{
	for (size_t p = 0; p < out; p += PANEL) {
		size_t width = out - p < PANEL ? out - p : PANEL;
		for (size_t i = 0; i < in; i++, packed += PANEL) {
			memset(packed, 0, PANEL * sizeof(*packed));
			memcpy(packed, w + i * out + p, width * sizeof(*packed));
		}
	}
}

/* Add the bias and write what lies within out. sums (16), y and bias at the panel's first column. */
static void
finish_panel(float *y, const float *sums, const float *bias, size_t width)
{
	for (size_t j = 0; j < width; j++)
		y[j] = sums[j] + bias[j];
}

void
mmq_dense_run_portable(float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, const float *packed,
    const float *bias, size_t in, size_t out)
{
	for (size_t p = 0; p < out; p += PANEL, packed += in * PANEL) {
		for (size_t r = 0; r < rows; r++) {
			float sums[PANEL] = { 0 };
			for (size_t i = 0; i < in; i++)
				for (size_t j = 0; j < PANEL; j++)
					sums[j] = fmaf(x[r * x_stride + i], packed[i * PANEL + j], sums[j]);
			finish_panel(y + r * y_stride + p, sums, bias + p, out - p < PANEL ? out - p : PANEL);
		}
	}
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,fma")))

AVX2 static inline void
store_panel(float *y, __m256 low, __m256 high, const float *bias, size_t width)
{
	if (width == PANEL) {
		_mm256_storeu_ps(y, _mm256_add_ps(low, _mm256_loadu_ps(bias)));
		_mm256_storeu_ps(y + 8, _mm256_add_ps(high, _mm256_loadu_ps(bias + 8)));
	} else {
		float sums[PANEL];
		_mm256_storeu_ps(sums, low);
		_mm256_storeu_ps(sums + 8, high);
		finish_panel(y, sums, bias, width);
	}
}

/* count rows (a constant after inlining) of one panel. */
AVX2 static inline __attribute__((always_inline)) void
rows_panel(float *y, size_t y_stride, const float *x, size_t x_stride, const float *packed, const float *bias, size_t in, size_t width,
    size_t count)
{
	__m256 sum[6][2];
	for (size_t r = 0; r < count; r++)
		sum[r][0] = sum[r][1] = _mm256_setzero_ps();
	for (size_t i = 0; i < in; i++) {
		__m256 low = _mm256_load_ps(packed + i * PANEL), high = _mm256_load_ps(packed + i * PANEL + 8);
#pragma GCC unroll 6
		for (size_t r = 0; r < count; r++) {
			__m256 value = _mm256_broadcast_ss(x + r * x_stride + i);
			sum[r][0] = _mm256_fmadd_ps(value, low, sum[r][0]);
			sum[r][1] = _mm256_fmadd_ps(value, high, sum[r][1]);
		}
	}
	for (size_t r = 0; r < count; r++)
		store_panel(y + r * y_stride, sum[r][0], sum[r][1], bias, width);
}

/* One row, four panels: eight independent chains hide the latency of fma. */
AVX2 static void
row_four_panels(float *y, const float *x, const float *packed, const float *bias, size_t in)
{
	__m256 sum[4][2];
	for (size_t p = 0; p < 4; p++)
		sum[p][0] = sum[p][1] = _mm256_setzero_ps();
	for (size_t i = 0; i < in; i++) {
		__m256 value = _mm256_broadcast_ss(x + i);
#pragma GCC unroll 4
		for (size_t p = 0; p < 4; p++) {
			const float *at = packed + (p * in + i) * PANEL;
			sum[p][0] = _mm256_fmadd_ps(value, _mm256_load_ps(at), sum[p][0]);
			sum[p][1] = _mm256_fmadd_ps(value, _mm256_load_ps(at + 8), sum[p][1]);
		}
	}
	for (size_t p = 0; p < 4; p++)
		store_panel(y + p * PANEL, sum[p][0], sum[p][1], bias + p * PANEL, PANEL);
}

AVX2 static void
run_avx2(float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, const float *packed, const float *bias, size_t in,
    size_t out)
{
	size_t p = 0;
	for (; rows == 1 && p + 4 * PANEL <= out; p += 4 * PANEL, packed += 4 * in * PANEL)
		row_four_panels(y + p, x, packed, bias + p, in);
	for (; p < out; p += PANEL, packed += in * PANEL) {
		size_t width = out - p < PANEL ? out - p : PANEL, r = 0;
		for (; r + 6 <= rows; r += 6)
			rows_panel(y + r * y_stride + p, y_stride, x + r * x_stride, x_stride, packed, bias + p, in, width, 6);
		for (; r + 2 <= rows; r += 2)
			rows_panel(y + r * y_stride + p, y_stride, x + r * x_stride, x_stride, packed, bias + p, in, width, 2);
		if (r < rows)
			rows_panel(y + r * y_stride + p, y_stride, x + r * x_stride, x_stride, packed, bias + p, in, width, 1);
	}
}
#endif

void
mmq_dense_run(float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, const float *packed, const float *bias, size_t in,
    size_t out)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2()) {
		run_avx2(y, y_stride, x, x_stride, rows, packed, bias, in, out);
		return;
	}
#endif
	mmq_dense_run_portable(y, y_stride, x, x_stride, rows, packed, bias, in, out);
}
