/* dense_gradient.c: the gradient of a layer's weights: g = x^T d, a register tile of 6 inputs x 16 columns (12 x 8 for narrow panels) over all rows.
 *
 * Each entry is one chain of fused multiply-adds over the rows in order, so the bits depend neither on the tile nor on the path. */
#include "math/dense_inner.h"

#include <math.h>
#include <string.h>

#include "math/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { PANEL = MMQ_DENSE_PANEL, TILE_MAX = 12 };

/* One panel of width <= 16 columns. */
static void
panel_portable(const struct mmq_dense *shape, float *g, const struct mmq_dense_rows *rows, size_t width, bool add)
{
	for (size_t i = 0; i < shape->segments * shape->segment; i++, g += PANEL) {
		if (!add)
			memset(g, 0, PANEL * sizeof(*g));
		for (size_t run = 0; run < rows->runs; run++)
			for (size_t r = 0; r < rows->run_rows; r++) {
				float x = rows->x[run * rows->x_run_stride + r * rows->x_stride + mmq_dense_offset(shape, i)];
				const float *d = rows->d + run * rows->d_run_stride + r * rows->d_stride;
				for (size_t j = 0; j < width; j++)
					g[j] = fmaf(x, d[j], g[j]);
			}
	}
}

void
mmq_dense_gradient_portable(const struct mmq_dense *shape, float *g, const struct mmq_dense_rows *rows, size_t width, bool add)
{
	struct mmq_dense_rows at = *rows;
	for (size_t p = 0; p < width; p += PANEL, at.d += PANEL, g += shape->segments * shape->segment * PANEL)
		panel_portable(shape, g, &at, width - p < PANEL ? width - p : PANEL, add);
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,fma")))
#define INLINE static inline __attribute__((always_inline))

/* Lanes 0..count-1 of eight. */
AVX2 INLINE __m256i
lanes(size_t count)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* count inputs (a constant after inlining) whose first value lies at x[0], x[1] .. : one segment's neighbours. */
AVX2 INLINE void
tile_wide(float *g, const struct mmq_dense_rows *rows, const float *x, size_t width, bool add, size_t count)
{
	__m256 sum[6][2];
	__m256i mask = lanes(width - 8);
	bool is_full = width == PANEL;
	for (size_t i = 0; i < count; i++) {
		sum[i][0] = add ? _mm256_loadu_ps(g + i * PANEL) : _mm256_setzero_ps();
		sum[i][1] = add ? _mm256_loadu_ps(g + i * PANEL + 8) : _mm256_setzero_ps();
	}
	for (size_t run = 0; run < rows->runs; run++) {
		const float *at = x + run * rows->x_run_stride, *d = rows->d + run * rows->d_run_stride;
		for (size_t r = 0; r < rows->run_rows; r++, at += rows->x_stride, d += rows->d_stride) {
			__m256 low = _mm256_loadu_ps(d), high = is_full ? _mm256_loadu_ps(d + 8) : _mm256_maskload_ps(d + 8, mask);
#pragma GCC unroll 6
			for (size_t i = 0; i < count; i++) {
				__m256 value = _mm256_broadcast_ss(at + i);
				sum[i][0] = _mm256_fmadd_ps(value, low, sum[i][0]);
				sum[i][1] = _mm256_fmadd_ps(value, high, sum[i][1]);
			}
		}
	}
	for (size_t i = 0; i < count; i++) {
		_mm256_storeu_ps(g + i * PANEL, sum[i][0]);
		_mm256_storeu_ps(g + i * PANEL + 8, sum[i][1]);
	}
}

/* The same of a panel at most 8 wide; offset (count) says where each input lies, as narrow layers have short segments. */
AVX2 INLINE void
tile_narrow(float *g, const struct mmq_dense_rows *rows, const size_t *offset, size_t width, bool add, size_t count)
{
	__m256 sum[TILE_MAX];
	const float *x[TILE_MAX];
	__m256i mask = lanes(width);
	bool is_full = width == 8;
	for (size_t i = 0; i < count; i++)
		sum[i] = add ? _mm256_loadu_ps(g + i * PANEL) : _mm256_setzero_ps();
	for (size_t run = 0; run < rows->runs; run++) {
		const float *d = rows->d + run * rows->d_run_stride;
		size_t at = 0;
		for (size_t i = 0; i < count; i++)
			x[i] = rows->x + run * rows->x_run_stride + offset[i];
		for (size_t r = 0; r < rows->run_rows; r++, at += rows->x_stride, d += rows->d_stride) {
			__m256 low = is_full ? _mm256_loadu_ps(d) : _mm256_maskload_ps(d, mask);
#pragma GCC unroll 12
			for (size_t i = 0; i < count; i++)
				sum[i] = _mm256_fmadd_ps(_mm256_broadcast_ss(x[i] + at), low, sum[i]);
		}
	}
	for (size_t i = 0; i < count; i++) {
		_mm256_storeu_ps(g + i * PANEL, sum[i]);
		if (!add)
			_mm256_storeu_ps(g + i * PANEL + 8, _mm256_setzero_ps());
	}
}

#define WIDE(count) case count: tile_wide(g, rows, rows->x + mmq_dense_offset(shape, i), width, add, count); break;
#define NARROW(count) case count: tile_narrow(g, rows, offset, width, add, count); break;

AVX2 static void
gradient_wide(const struct mmq_dense *shape, float *g, const struct mmq_dense_rows *rows, size_t width, bool add)
{
	size_t in = shape->segments * shape->segment;
	for (size_t i = 0, count; i < in; i += count, g += count * PANEL) {
		size_t left = shape->segment - i % shape->segment;
		count = in - i < left ? in - i : left;
		count = count < 6 ? count : 6;
		switch (count) {
		WIDE(6) WIDE(5) WIDE(4) WIDE(3) WIDE(2) WIDE(1)
		default: break;
		}
	}
}

AVX2 static void
gradient_narrow(const struct mmq_dense *shape, float *g, const struct mmq_dense_rows *rows, size_t width, bool add)
{
	size_t offset[TILE_MAX], in = shape->segments * shape->segment;
	for (size_t i = 0, count; i < in; i += count, g += count * PANEL) {
		count = in - i < TILE_MAX ? in - i : TILE_MAX;
		for (size_t k = 0; k < count; k++)
			offset[k] = mmq_dense_offset(shape, i + k);
		switch (count) {
		NARROW(12) NARROW(11) NARROW(10) NARROW(9) NARROW(8) NARROW(7) NARROW(6) NARROW(5) NARROW(4) NARROW(3) NARROW(2) NARROW(1)
		default: break;
		}
	}
}

static void
gradient_avx2(const struct mmq_dense *shape, float *g, const struct mmq_dense_rows *rows, size_t width, bool add)
{
	struct mmq_dense_rows at = *rows;
	for (size_t p = 0; p < width; p += PANEL, at.d += PANEL, g += shape->segments * shape->segment * PANEL) {
		if (width - p > 8)
			gradient_wide(shape, g, &at, width - p < PANEL ? width - p : PANEL, add);
		else
			gradient_narrow(shape, g, &at, width - p, add);
	}
}
#endif

void
mmq_dense_gradient(const struct mmq_dense *shape, float *g, const struct mmq_dense_rows *rows, size_t width, bool add)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx512()) {
		mmq_dense_gradient_avx512(shape, g, rows, width, add);
		return;
	}
	if (mmq_cpu_has_avx2()) {
		gradient_avx2(shape, g, rows, width, add);
		return;
	}
#endif
	mmq_dense_gradient_portable(shape, g, rows, width, add);
}
