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
#pragma GCC unroll 12                            /* all of sum by constant indices, or the compiler keeps it in memory */
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
#pragma GCC unroll 12
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

/* count inputs by panels (1 or 2), both constants after inlining, each input at its own place: segments may be shorter than the tile. Neighbours lie
 * one after another from the first. width: of the last panel. */
AVX512 INLINE void
gradient_tile(float *g, size_t g_stride, const struct mmq_dense_rows *rows, const size_t *offset, size_t width, bool add, size_t count, size_t panels,
    bool are_neighbours)
{
	__m512 sum[TILE][2];
	const float *x[TILE];
	const __mmask16 low_mask = panels == 2 ? 0xffff : lanes(width), high_mask = lanes(width);
#pragma GCC unroll 12
	for (size_t i = 0; i < count; i++) {
		sum[i][0] = add ? _mm512_loadu_ps(g + i * PANEL) : _mm512_setzero_ps();
		sum[i][1] = add && panels == 2 ? _mm512_loadu_ps(g + g_stride + i * PANEL) : _mm512_setzero_ps();
	}
	for (size_t run = 0; run < rows->runs; run++) {
		const float *d = rows->d + run * rows->d_run_stride;
		size_t at = 0;
		for (size_t i = 0; i < (are_neighbours ? 1 : count); i++)
			x[i] = rows->x + run * rows->x_run_stride + offset[i];
		for (size_t r = 0; r < rows->run_rows; r++, at += rows->x_stride, d += rows->d_stride) {
			__m512 low = _mm512_maskz_loadu_ps(low_mask, d), high = panels == 2 ? _mm512_maskz_loadu_ps(high_mask, d + PANEL) : low;
#pragma GCC unroll 12
			for (size_t i = 0; i < count; i++) {
				__m512 value = _mm512_set1_ps(are_neighbours ? x[0][at + i] : x[i][at]);
				sum[i][0] = _mm512_fmadd_ps(value, low, sum[i][0]);
				if (panels == 2)
					sum[i][1] = _mm512_fmadd_ps(value, high, sum[i][1]);
			}
		}
	}
#pragma GCC unroll 12
	for (size_t i = 0; i < count; i++) {
		_mm512_storeu_ps(g + i * PANEL, sum[i][0]);
		if (panels == 2)
			_mm512_storeu_ps(g + g_stride + i * PANEL, sum[i][1]);
	}
}

#define PART(panels, count) case count: gradient_tile(g, g_stride, rows, offset, width, add, count, panels, false); break;
#define PARTS(panels) \
	PART(panels, 12) PART(panels, 11) PART(panels, 10) PART(panels, 9) PART(panels, 8) PART(panels, 7) PART(panels, 6) PART(panels, 5) \
	PART(panels, 4) PART(panels, 3) PART(panels, 2) PART(panels, 1)
#define GRADIENT(panels)                                                                                                                \
	AVX512 static void                                                                                                              \
	gradient_##panels(const struct mmq_dense *shape, float *g, size_t g_stride, const struct mmq_dense_rows *rows, size_t width, bool add) \
	{                                                                                                                               \
		size_t offset[TILE], in = shape->segments * shape->segment;                                                             \
		for (size_t i = 0, count; i < in; i += count, g += count * PANEL) {                                                     \
			count = in - i < TILE ? in - i : TILE;                                                                          \
			for (size_t k = 0; k < count; k++)                                                                              \
				offset[k] = mmq_dense_offset(shape, i + k);                                                             \
			if (count == TILE && offset[TILE - 1] == offset[0] + TILE - 1) {                                                \
				gradient_tile(g, g_stride, rows, offset, width, add, TILE, panels, true);                               \
				continue;                                                                                               \
			}                                                                                                               \
			switch (count) {                                                                                                \
			PARTS(panels)                                                                                                   \
			default: break;                                                                                                 \
			}                                                                                                               \
		}                                                                                                                       \
	}
GRADIENT(1)
GRADIENT(2)

AVX512 void
mmq_dense_gradient_avx512(const struct mmq_dense *shape, float *g, const struct mmq_dense_rows *rows, size_t width, bool add)
{
	size_t p = 0, g_stride = shape->segments * shape->segment * PANEL;
	for (struct mmq_dense_rows at = *rows; p < width; p += 2 * PANEL, at.d += 2 * PANEL, g += 2 * g_stride) {
		size_t left = width - p;
		if (left > PANEL)
			gradient_2(shape, g, g_stride, &at, left < 2 * PANEL ? left - PANEL : PANEL, add);
		else
			gradient_1(shape, g, g_stride, &at, left, add);
	}
}
#endif
