/* dense.c: packing, and the forward kernel: register tiles of 6 x 16 (or 12 x 8 for narrow panels), four panels at a time for a single row. */
#include "math/dense_inner.h"

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

void
mmq_dense_unpack(float *w, const float *packed, size_t in, size_t out)
{
	for (size_t p = 0; p < out; p += PANEL)
		for (size_t i = 0; i < in; i++, packed += PANEL)
			memcpy(w + i * out + p, packed, (out - p < PANEL ? out - p : PANEL) * sizeof(*w));
}

void
mmq_dense_transpose(float *packed_t, const float *packed, size_t in, size_t out, size_t from, size_t to)
{
	for (size_t p = from; p < to; p += PANEL) {
		const float *panel = packed + p * in;
		size_t width = to - p < PANEL ? to - p : PANEL;
		for (size_t i = 0; i < in; i += PANEL) {
			size_t count = in - i < PANEL ? in - i : PANEL;
			float *at = packed_t + i * out + p * PANEL;
			for (size_t j = 0; j < width; j++)
				for (size_t k = 0; k < count; k++)
					at[j * PANEL + k] = panel[(i + k) * PANEL + j];
		}
	}
}

/* Add the bias and write what lies within out. sums (16), y and bias at the panel's first column. */
static void
finish_panel(float *y, const float *sums, const float *bias, size_t width, bool relu)
{
	for (size_t j = 0; j < width; j++) {
		float value = bias != NULL ? sums[j] + bias[j] : sums[j];
		y[j] = relu && !(value > 0.0f) ? 0.0f : value;
	}
}

void
mmq_dense_forward_portable(const struct mmq_dense *shape, float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows,
    const float *packed, const float *bias)
{
	size_t in = shape->segments * shape->segment, out = shape->out;
	for (size_t p = 0; p < out; p += PANEL, packed += in * PANEL) {
		for (size_t r = 0; r < rows; r++) {
			float sums[PANEL] = { 0 };
			const float *w = packed;
			for (size_t s = 0; s < shape->segments; s++)
				for (size_t i = 0; i < shape->segment; i++, w += PANEL)
					for (size_t j = 0; j < PANEL; j++)
						sums[j] = fmaf(x[r * x_stride + s * shape->segment_stride + i], w[j], sums[j]);
			finish_panel(y + r * y_stride + p, sums, bias != NULL ? bias + p : NULL, out - p < PANEL ? out - p : PANEL, shape->relu);
		}
	}
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,fma")))
#define INLINE static inline __attribute__((always_inline))

AVX2 INLINE void
store_eight(float *y, __m256 sum, const float *bias, size_t width, bool relu)
{
	if (width >= 8) {
		if (bias != NULL)
			sum = _mm256_add_ps(sum, _mm256_loadu_ps(bias));
		if (relu)
			sum = _mm256_and_ps(sum, _mm256_cmp_ps(sum, _mm256_setzero_ps(), _CMP_GT_OQ));
		_mm256_storeu_ps(y, sum);
	} else {
		float sums[8];
		_mm256_storeu_ps(sums, sum);
		finish_panel(y, sums, bias, width, relu);
	}
}

AVX2 INLINE void
store_panel(float *y, __m256 low, __m256 high, const float *bias, size_t width, bool relu)
{
	store_eight(y, low, bias, width, relu);
	if (width > 8)
		store_eight(y + 8, high, bias != NULL ? bias + 8 : NULL, width - 8, relu);
}

/* count rows (a constant after inlining) of one panel, both halves. */
AVX2 INLINE void
rows_wide(const struct mmq_dense *shape, float *y, size_t y_stride, const float *x, size_t x_stride, const float *packed, const float *bias,
    size_t width, size_t count)
{
	__m256 sum[6][2];
	for (size_t r = 0; r < count; r++)
		sum[r][0] = sum[r][1] = _mm256_setzero_ps();
	for (size_t s = 0; s < shape->segments; s++, x += shape->segment_stride) {
		const float *at = x, *end = x + shape->segment;
		for (; at < end; at++, packed += PANEL) {
			__m256 low = _mm256_load_ps(packed), high = _mm256_load_ps(packed + 8);
#pragma GCC unroll 6
			for (size_t r = 0; r < count; r++) {
				__m256 value = _mm256_broadcast_ss(at + r * x_stride);
				sum[r][0] = _mm256_fmadd_ps(value, low, sum[r][0]);
				sum[r][1] = _mm256_fmadd_ps(value, high, sum[r][1]);
			}
		}
	}
	for (size_t r = 0; r < count; r++)
		store_panel(y + r * y_stride, sum[r][0], sum[r][1], bias, width, shape->relu);
}

/* The same of a panel that is at most 8 wide. */
AVX2 INLINE void
rows_narrow(const struct mmq_dense *shape, float *y, size_t y_stride, const float *x, size_t x_stride, const float *packed, const float *bias,
    size_t width, size_t count)
{
	__m256 sum[12];
	for (size_t r = 0; r < count; r++)
		sum[r] = _mm256_setzero_ps();
	for (size_t s = 0; s < shape->segments; s++, x += shape->segment_stride) {
		const float *at = x, *end = x + shape->segment;
		for (; at < end; at++, packed += PANEL) {
			__m256 low = _mm256_load_ps(packed);
#pragma GCC unroll 12
			for (size_t r = 0; r < count; r++)
				sum[r] = _mm256_fmadd_ps(_mm256_broadcast_ss(at + r * x_stride), low, sum[r]);
		}
	}
	for (size_t r = 0; r < count; r++)
		store_eight(y + r * y_stride, sum[r], bias, width, shape->relu);
}

#define CASE(kind, count) case count: rows_##kind(shape, y, y_stride, x, x_stride, packed, bias, width, count); break;

AVX2 static void
panel_wide(const struct mmq_dense *shape, float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, const float *packed,
    const float *bias, size_t width)
{
	for (; rows >= 6; rows -= 6, y += 6 * y_stride, x += 6 * x_stride)
		rows_wide(shape, y, y_stride, x, x_stride, packed, bias, width, 6);
	switch (rows) {
	CASE(wide, 5) CASE(wide, 4) CASE(wide, 3) CASE(wide, 2) CASE(wide, 1)
	default: break;
	}
}

AVX2 static void
panel_narrow(const struct mmq_dense *shape, float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, const float *packed,
    const float *bias, size_t width)
{
	for (; rows >= 12; rows -= 12, y += 12 * y_stride, x += 12 * x_stride)
		rows_narrow(shape, y, y_stride, x, x_stride, packed, bias, width, 12);
	switch (rows) {
	CASE(narrow, 11) CASE(narrow, 10) CASE(narrow, 9) CASE(narrow, 8) CASE(narrow, 7) CASE(narrow, 6) CASE(narrow, 5) CASE(narrow, 4)
	CASE(narrow, 3) CASE(narrow, 2) CASE(narrow, 1)
	default: break;
	}
}

/* One row, four panels: eight independent chains hide the latency of fma. */
AVX2 static void
row_four_panels(float *y, const float *x, const float *packed, const float *bias, size_t in, bool relu)
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
		store_panel(y + p * PANEL, sum[p][0], sum[p][1], bias != NULL ? bias + p * PANEL : NULL, PANEL, relu);
}

AVX2 static void
run_avx2(const struct mmq_dense *shape, float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, const float *packed,
    const float *bias)
{
	size_t p = 0, in = shape->segments * shape->segment, out = shape->out;
	for (; rows == 1 && shape->segments == 1 && p + 4 * PANEL <= out; p += 4 * PANEL, packed += 4 * in * PANEL)
		row_four_panels(y + p, x, packed, bias != NULL ? bias + p : NULL, in, shape->relu);
	for (; p < out; p += PANEL, packed += in * PANEL) {
		const float *part = bias != NULL ? bias + p : NULL;
		if (out - p > 8)
			panel_wide(shape, y + p, y_stride, x, x_stride, rows, packed, part, out - p < PANEL ? out - p : PANEL);
		else
			panel_narrow(shape, y + p, y_stride, x, x_stride, rows, packed, part, out - p);
	}
}
#endif

void
mmq_dense_forward(const struct mmq_dense *shape, float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows,
    const float *packed, const float *bias)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx512()) {
		mmq_dense_forward_avx512(shape, y, y_stride, x, x_stride, rows, packed, bias);
		return;
	}
	if (mmq_cpu_has_avx2()) {
		run_avx2(shape, y, y_stride, x, x_stride, rows, packed, bias);
		return;
	}
#endif
	mmq_dense_forward_portable(shape, y, y_stride, x, x_stride, rows, packed, bias);
}

void
mmq_dense_run(float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, const float *packed, const float *bias, size_t in,
    size_t out)
{
	const struct mmq_dense shape = mmq_dense_plain(in, out);
	mmq_dense_forward(&shape, y, y_stride, x, x_stride, rows, packed, bias);
}

void
mmq_dense_run_portable(float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, const float *packed, const float *bias,
    size_t in, size_t out)
{
	const struct mmq_dense shape = mmq_dense_plain(in, out);
	mmq_dense_forward_portable(&shape, y, y_stride, x, x_stride, rows, packed, bias);
}
