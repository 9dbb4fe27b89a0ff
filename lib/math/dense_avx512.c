/* dense_avx512.c: the kernels of dense.c and dense_gradient.c for processors with 512-bit units: tiles of 12 x 32 and 12 x 16.
 *
 * A panel of 16 columns is one register. Every output is the same chain of fused multiply-adds as on the other paths: equal bits. */
#include "math/dense_inner.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f")))
#define INLINE static inline __attribute__((always_inline))

enum { PANEL = MMQ_DENSE_PANEL, TILE = 12 };

AVX512 INLINE __mmask16
lanes(size_t width)
{
	return (__mmask16)((1u << width) - 1);
}

AVX512 INLINE void
store(float *y, __m512 sum, const float *bias, size_t width, bool relu)
{
	if (bias != NULL)
		sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(lanes(width), bias));
	if (relu)
		sum = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(sum, _mm512_setzero_ps(), _CMP_GT_OQ), sum);
	_mm512_mask_storeu_ps(y, lanes(width), sum);
}

/* count rows by panels (1 or 2) panels; both are constants after inlining. width: of the last panel. */
AVX512 INLINE void
rows_tile(const struct mmq_dense *shape, float *y, size_t y_stride, const float *x, size_t x_stride, const float *packed, size_t panel_stride,
    const float *bias, size_t width, size_t count, size_t panels)
{
	__m512 sum[TILE][2];
	for (size_t r = 0; r < count; r++)
		sum[r][0] = sum[r][1] = _mm512_setzero_ps();
	for (size_t s = 0; s < shape->segments; s++, x += shape->segment_stride) {
		const float *at = x, *end = x + shape->segment;
		for (; at < end; at++, packed += PANEL) {
			__m512 low = _mm512_load_ps(packed), high = panels == 2 ? _mm512_load_ps(packed + panel_stride) : low;
#pragma GCC unroll 12
			for (size_t r = 0; r < count; r++) {
				__m512 value = _mm512_set1_ps(at[r * x_stride]);
				sum[r][0] = _mm512_fmadd_ps(value, low, sum[r][0]);
				if (panels == 2)
					sum[r][1] = _mm512_fmadd_ps(value, high, sum[r][1]);
			}
		}
	}
	for (size_t r = 0; r < count; r++) {
		store(y + r * y_stride, sum[r][0], bias, panels == 2 ? PANEL : width, shape->relu);
		if (panels == 2)
			store(y + r * y_stride + PANEL, sum[r][1], bias != NULL ? bias + PANEL : NULL, width, shape->relu);
	}
}

/* One row, eight panels: as many chains as hide the latency of fma. */
AVX512 static void
row_eight_panels(float *y, const float *x, const float *packed, const float *bias, size_t in, bool relu)
{
	__m512 sum[8];
	for (size_t p = 0; p < 8; p++)
		sum[p] = _mm512_setzero_ps();
	for (size_t i = 0; i < in; i++) {
		__m512 value = _mm512_set1_ps(x[i]);
#pragma GCC unroll 8
		for (size_t p = 0; p < 8; p++)
			sum[p] = _mm512_fmadd_ps(value, _mm512_load_ps(packed + (p * in + i) * PANEL), sum[p]);
	}
	for (size_t p = 0; p < 8; p++)
		store(y + p * PANEL, sum[p], bias != NULL ? bias + p * PANEL : NULL, PANEL, relu);
}

#define CASE(panels, count) \
	case count: rows_tile(shape, y, y_stride, x, x_stride, packed, panel_stride, bias, width, count, panels); break;
#define CASES(panels) \
	CASE(panels, 11) CASE(panels, 10) CASE(panels, 9) CASE(panels, 8) CASE(panels, 7) CASE(panels, 6) CASE(panels, 5) CASE(panels, 4) \
	CASE(panels, 3) CASE(panels, 2) CASE(panels, 1)
#define COLUMN(panels)                                                                                                                  \
	AVX512 static void                                                                                                              \
	columns_##panels(const struct mmq_dense *shape, float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows,        \
	    const float *packed, size_t panel_stride, const float *bias, size_t width)                                                  \
	{                                                                                                                               \
		for (; rows >= TILE; rows -= TILE, y += TILE * y_stride, x += TILE * x_stride)                                          \
			rows_tile(shape, y, y_stride, x, x_stride, packed, panel_stride, bias, width, TILE, panels);                    \
		switch (rows) {                                                                                                         \
		CASES(panels)                                                                                                           \
		default: break;                                                                                                         \
		}                                                                                                                       \
	}
COLUMN(1)
COLUMN(2)

AVX512 void
mmq_dense_forward_avx512(const struct mmq_dense *shape, float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows,
    const float *packed, const float *bias)
{
	size_t p = 0, in = shape->segments * shape->segment, out = shape->out, panel_stride = in * PANEL;
	for (; rows == 1 && shape->segments == 1 && p + 8 * PANEL <= out; p += 8 * PANEL, packed += 8 * panel_stride)
		row_eight_panels(y + p, x, packed, bias != NULL ? bias + p : NULL, in, shape->relu);
	for (; p + PANEL < out; p += 2 * PANEL, packed += 2 * panel_stride)
		columns_2(shape, y + p, y_stride, x, x_stride, rows, packed, panel_stride, bias != NULL ? bias + p : NULL,
		    out - p < 2 * PANEL ? out - p - PANEL : PANEL);
	if (p < out)
		columns_1(shape, y + p, y_stride, x, x_stride, rows, packed, panel_stride, bias != NULL ? bias + p : NULL, out - p);
}

/* count inputs (a constant after inlining), each at its own place: segments may be shorter than the tile. */
AVX512 INLINE void
gradient_tile(float *g, const struct mmq_dense_rows *rows, const size_t *offset, size_t width, bool add, size_t count)
{
	__m512 sum[TILE];
	const float *x[TILE];
	for (size_t i = 0; i < count; i++)
		sum[i] = add ? _mm512_loadu_ps(g + i * PANEL) : _mm512_setzero_ps();
	for (size_t run = 0; run < rows->runs; run++) {
		const float *d = rows->d + run * rows->d_run_stride;
		size_t at = 0;
		for (size_t i = 0; i < count; i++)
			x[i] = rows->x + run * rows->x_run_stride + offset[i];
		for (size_t r = 0; r < rows->run_rows; r++, at += rows->x_stride, d += rows->d_stride) {
			__m512 low = _mm512_maskz_loadu_ps(lanes(width), d);
#pragma GCC unroll 12
			for (size_t i = 0; i < count; i++)
				sum[i] = _mm512_fmadd_ps(_mm512_set1_ps(x[i][at]), low, sum[i]);
		}
	}
	for (size_t i = 0; i < count; i++)
		_mm512_storeu_ps(g + i * PANEL, sum[i]);
}

/* The same where count inputs are neighbours. */
AVX512 INLINE void
gradient_neighbours(float *g, const struct mmq_dense_rows *rows, const float *x, size_t width, bool add, size_t count)
{
	__m512 sum[TILE];
	for (size_t i = 0; i < count; i++)
		sum[i] = add ? _mm512_loadu_ps(g + i * PANEL) : _mm512_setzero_ps();
	for (size_t run = 0; run < rows->runs; run++) {
		const float *at = x + run * rows->x_run_stride, *d = rows->d + run * rows->d_run_stride;
		for (size_t r = 0; r < rows->run_rows; r++, at += rows->x_stride, d += rows->d_stride) {
			__m512 low = _mm512_maskz_loadu_ps(lanes(width), d);
#pragma GCC unroll 12
			for (size_t i = 0; i < count; i++)
				sum[i] = _mm512_fmadd_ps(_mm512_set1_ps(at[i]), low, sum[i]);
		}
	}
	for (size_t i = 0; i < count; i++)
		_mm512_storeu_ps(g + i * PANEL, sum[i]);
}

#define PART(count) case count: gradient_tile(g, rows, offset, width, add, count); break;

AVX512 void
mmq_dense_gradient_avx512(const struct mmq_dense *shape, float *g, const struct mmq_dense_rows *rows, size_t width, size_t from, size_t to, bool add)
{
	size_t offset[TILE];
	for (size_t i = from, count; i < to; i += count, g += count * PANEL) {
		count = to - i < TILE ? to - i : TILE;
		if (count == TILE && i % shape->segment + TILE <= shape->segment) {
			gradient_neighbours(g, rows, rows->x + mmq_dense_offset(shape, i), width, add, TILE);
			continue;
		}
		for (size_t k = 0; k < count; k++)
			offset[k] = mmq_dense_offset(shape, i + k);
		switch (count) {
		PART(12) PART(11) PART(10) PART(9) PART(8) PART(7) PART(6) PART(5) PART(4) PART(3) PART(2) PART(1)
		default: break;
		}
	}
}
#endif
