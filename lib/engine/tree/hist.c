/* hist.c: fixed-point gradients and their histograms.
 *
 * The scale is a power of two chosen so that no sum over the rows can overflow its 32 bits. Rounding adds a random fraction that
 * depends on the row alone, so that many small gradients do not all vanish and the same data gives the same tree. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/grow.h"
#include "math/cpu.h"
#include "util/mem.h"

enum { BLOCK = 8192, SPLIT_ROWS = 2 * BLOCK, BITS_MAX = 24 };

void
mmq_hist_init(struct mmq_hist *hist, const struct mmq_tree_bins *bins, struct mmq_pool *pool)
{
	*hist = (struct mmq_hist){ .bins = bins, .pool = pool, .size = bins->offset[bins->columns_count] };
	hist->row = mmq_array(bins->rows + 1, sizeof(*hist->row));
	hist->privates = mmq_aligned(mmq_pool_threads(pool) * hist->size * sizeof(*hist->privates) + 8);
}

void
mmq_hist_fini(struct mmq_hist *hist)
{
	free(hist->row);
	free(hist->privates);
}

struct quantise {
	struct mmq_hist *hist;
	const float *g, *h;
	uint32_t key;
	float g_scale, h_scale;
	float *largest;  /* (blocks, 2) */
};

/* A few well mixed bits from a counter (Wellons 2018, "lowbias32"). */
static inline uint32_t
mix32(uint32_t x)
{
	x = (x ^ x >> 16) * 0x7feb352du;
	x = (x ^ x >> 15) * 0x846ca68bu;
	return x ^ x >> 16;
}

/* The body of both paths: plain operations in a fixed order, which the compiler may spread over lanes without changing a bit. */
static inline __attribute__((always_inline)) void
quantise_rows(const struct quantise *q, size_t begin, size_t end)
{
	const float *restrict g_from = q->g, *restrict h_from = q->h;
	int64_t *restrict out = q->hist->row;
	for (size_t r = begin; r < end; r++) {
		uint32_t random = mix32(q->key + (uint32_t)r);
		float g = floorf(g_from[r] * q->g_scale + (float)(int32_t)(random & 0xffff) * 0x1p-16f);
		float h = floorf(h_from[r] * q->h_scale + (float)(int32_t)(random >> 16) * 0x1p-16f);
		out[r] = (int64_t)((uint64_t)(int64_t)(int32_t)g << 32) + (int64_t)(int32_t)h;
	}
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"), optimize("O3"))) static void
quantise_avx2(const struct quantise *q, size_t begin, size_t end)
{
	quantise_rows(q, begin, end);
}
#endif

static void
quantise_block(void *arg, size_t block, unsigned thread)
{
	const struct quantise *q = arg;
	size_t rows = q->hist->bins->rows, begin = block * BLOCK, end = begin + BLOCK < rows ? begin + BLOCK : rows;
	(void)thread;
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2()) {
		quantise_avx2(q, begin, end);
		return;
	}
#endif
	quantise_rows(q, begin, end);
}

static void
largest_block(void *arg, size_t block, unsigned thread)
{
	const struct quantise *q = arg;
	size_t rows = q->hist->bins->rows, end = (block + 1) * BLOCK < rows ? (block + 1) * BLOCK : rows;
	float g = 0, h = 0;
	(void)thread;
	for (size_t r = block * BLOCK; r < end; r++) {
		float size = fabsf(q->g[r]);
		g = size > g ? size : g;
		h = q->h[r] > h ? q->h[r] : h;
	}
	q->largest[2 * block] = g;
	q->largest[2 * block + 1] = h;
}

/* The largest power of two s with largest * s <= 2^bits. */
static double
scale_for(float largest, int bits)
{
	int exponent;
	if (!(largest > 0))
		return 1.0;
	frexp((double)largest, &exponent);
	return ldexp(1.0, bits - exponent > 120 ? 120 : bits - exponent);
}

void
mmq_hist_quantise(struct mmq_hist *hist, const float *g, const float *h, size_t count, uint64_t key)
{
	size_t rows = hist->bins->rows, blocks = (rows + BLOCK - 1) / BLOCK;
	struct quantise q = { hist, g, h, (uint32_t)key, 0, 0, mmq_array(2 * blocks + 2, sizeof(float)) };
	float g_largest = 0, h_largest = 0;
	int bits = 30;

	mmq_pool_run(hist->pool, blocks, largest_block, &q);
	for (size_t k = 0; k < blocks; k++) {
		g_largest = q.largest[2 * k] > g_largest ? q.largest[2 * k] : g_largest;
		h_largest = q.largest[2 * k + 1] > h_largest ? q.largest[2 * k + 1] : h_largest;
	}
	while (bits > 0 && count >> (30 - bits) > 0)
		bits--;
	bits = bits > BITS_MAX ? BITS_MAX : bits;
	q.g_scale = (float)scale_for(g_largest, bits);
	q.h_scale = (float)scale_for(h_largest, bits);
	hist->g_unit = 1.0 / (double)q.g_scale;
	hist->h_unit = 1.0 / (double)q.h_scale;
	mmq_pool_run(hist->pool, blocks, quantise_block, &q);
	free(q.largest);
}

/* Add rows into a histogram: eight bin bytes to a load, one load-add-store a value. */
static void
add_rows(const struct mmq_hist *hist, const uint32_t *index, size_t count, int64_t *out)
{
	const struct mmq_tree_bins *bins = hist->bins;
	const uint32_t *offset = bins->offset;
	size_t eights = bins->columns_count / 8 * 8, columns = bins->columns_count;
	for (size_t i = 0; i < count; i++) {
		const uint8_t *row = bins->by_row + index[i] * bins->row_bytes;
		int64_t value = hist->row[index[i]];
		if (i + 16 < count)
			__builtin_prefetch(bins->by_row + index[i + 16] * bins->row_bytes);
		for (size_t k = 0; k < eights; k += 8) {
			uint64_t bytes;
			memcpy(&bytes, row + k, 8);
#pragma GCC unroll 8
			for (size_t j = 0; j < 8; j++)
				out[offset[k + j] + (bytes >> 8 * j & 255)] += value;
		}
		for (size_t k = eights; k < columns; k++)
			out[offset[k] + row[k]] += value;
	}
}

/* The same from lists of the bins that are not the most frequent of their columns. */
static void
add_others(const struct mmq_hist *hist, const uint32_t *index, size_t count, int64_t *out)
{
	const struct mmq_tree_bins *bins = hist->bins;
	for (size_t i = 0; i < count; i++) {
		const uint32_t *at = bins->other + bins->other_start[index[i]], *end = bins->other + bins->other_start[index[i] + 1];
		int64_t value = hist->row[index[i]];
		for (; at < end; at++)
			out[*at] += value;
	}
}

static void
add(const struct mmq_hist *hist, const uint32_t *index, size_t count, int64_t *out)
{
	if (hist->bins->other != NULL)
		add_others(hist, index, count, out);
	else
		add_rows(hist, index, count, out);
}

/* Give the most frequent bins what the others leave of the total. */
static void
fill_common(const struct mmq_hist *hist, int64_t total, int64_t *out)
{
	const struct mmq_tree_bins *bins = hist->bins;
	for (uint32_t c = 0; c < bins->columns_count; c++) {
		int64_t rest = total;
		for (uint32_t k = bins->offset[c]; k < bins->offset[c + 1]; k++)
			rest -= out[k];
		out[bins->offset[c] + bins->common[c]] = rest;
	}
}

struct build {
	const struct mmq_hist *hist;
	const uint32_t *index;
	size_t count;
};

static void
build_block(void *arg, size_t block, unsigned thread)
{
	const struct build *build = arg;
	size_t first = block * BLOCK, left = build->count - first;
	add(build->hist, build->index + first, left < BLOCK ? left : BLOCK, build->hist->privates + thread * build->hist->size);
}

void
mmq_hist_build(const struct mmq_hist *hist, const uint32_t *index, size_t count, int64_t total, int64_t *out)
{
	unsigned threads = mmq_pool_threads(hist->pool);
	memset(out, 0, hist->size * sizeof(*out));
	if (threads == 1 || count < SPLIT_ROWS) {
		add(hist, index, count, out);
	} else {
		memset(hist->privates, 0, threads * hist->size * sizeof(*out));
		mmq_pool_run(hist->pool, (count + BLOCK - 1) / BLOCK, build_block, &(struct build){ hist, index, count });
		for (unsigned t = 0; t < threads; t++)
			for (size_t k = 0; k < hist->size; k++)
				out[k] += hist->privates[t * hist->size + k];
	}
	if (hist->bins->other != NULL)
		fill_common(hist, total, out);
}

__attribute__((optimize("O3"))) void
mmq_hist_subtract(int64_t *restrict from, const int64_t *restrict part, size_t size)
{
	for (size_t k = 0; k < size; k++)
		from[k] -= part[k];
}
