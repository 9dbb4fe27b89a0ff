/* hist.c: fixed-point gradients and their histograms.
 *
 * The scale is a power of two chosen so that no sum over the rows can overflow its 32 bits. Rounding adds a random fraction that
 * depends on the row alone, so that many small gradients do not all vanish and the same data gives the same tree. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/grow.h"
#include "math/rng.h"
#include "util/mem.h"

enum { BLOCK = 8192, SPLIT_ROWS = 4 * BLOCK, BITS_MAX = 24 };

void
mmq_hist_init(struct mmq_hist *hist, const struct mmq_tree_bins *bins, struct mmq_pool *pool)
{
	*hist = (struct mmq_hist){ .bins = bins, .pool = pool, .size = (size_t)bins->columns_count * bins->width };
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
	const uint32_t *index;
	size_t count;
	uint64_t key;
	double g_scale, h_scale;
};

static void
quantise_block(void *arg, size_t block, unsigned thread)
{
	const struct quantise *q = arg;
	size_t end = (block + 1) * BLOCK < q->count ? (block + 1) * BLOCK : q->count;
	(void)thread;
	for (size_t i = block * BLOCK; i < end; i++) {
		uint32_t r = q->index[i];
		uint64_t random = mmq_mix64(q->key + r);
		int64_t g = (int64_t)floor((double)q->g[r] * q->g_scale + (double)(uint32_t)random * 0x1p-32);
		int64_t h = (int64_t)floor((double)q->h[r] * q->h_scale + (double)(uint32_t)(random >> 32) * 0x1p-32);
		q->hist->row[r] = (int64_t)((uint64_t)g << 32) + h;
	}
}

/* The largest power of two s with largest * s <= 2^bits. */
static double
scale_for(float largest, int bits)
{
	int exponent;
	if (!(largest > 0))
		return 1.0;
	frexp((double)largest, &exponent);
	return ldexp(1.0, bits - exponent);
}

void
mmq_hist_quantise(struct mmq_hist *hist, const float *g, const float *h, const uint32_t *index, size_t count, uint64_t key)
{
	float g_largest = 0, h_largest = 0;
	int bits = 30;
	for (size_t i = 0; i < count; i++) {
		float size = fabsf(g[index[i]]);
		g_largest = size > g_largest ? size : g_largest;
		h_largest = h[index[i]] > h_largest ? h[index[i]] : h_largest;
	}
	while (bits > 0 && count >> (30 - bits) > 0)
		bits--;
	bits = bits > BITS_MAX ? BITS_MAX : bits;
	struct quantise q = { hist, g, h, index, count, key, scale_for(g_largest, bits), scale_for(h_largest, bits) };
	hist->g_unit = 1.0 / q.g_scale;
	hist->h_unit = 1.0 / q.h_scale;
	mmq_pool_run(hist->pool, (count + BLOCK - 1) / BLOCK, quantise_block, &q);
}

/* Add rows into a histogram: eight bin bytes to a load, one load-add-store a value. */
static void
add_rows(const struct mmq_hist *hist, const uint32_t *index, size_t count, int64_t *out)
{
	const struct mmq_tree_bins *bins = hist->bins;
	size_t width = bins->width, eights = bins->columns_count / 8, rest = bins->columns_count % 8;
	for (size_t i = 0; i < count; i++) {
		const uint8_t *row = bins->by_row + index[i] * bins->row_bytes;
		int64_t value = hist->row[index[i]], *to = out;
		if (i + 16 < count)
			__builtin_prefetch(bins->by_row + index[i + 16] * bins->row_bytes);
		for (size_t k = 0; k < eights; k++, row += 8) {
			uint64_t bytes;
			memcpy(&bytes, row, 8);
#pragma GCC unroll 8
			for (int j = 0; j < 8; j++, to += width)
				to[bytes >> 8 * j & 255] += value;
		}
		for (size_t j = 0; j < rest; j++, to += width)
			to[row[j]] += value;
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
	add_rows(build->hist, build->index + first, left < BLOCK ? left : BLOCK, build->hist->privates + thread * build->hist->size);
}

void
mmq_hist_build(const struct mmq_hist *hist, const uint32_t *index, size_t count, int64_t *out)
{
	unsigned threads = mmq_pool_threads(hist->pool);
	memset(out, 0, hist->size * sizeof(*out));
	if (threads == 1 || count < SPLIT_ROWS) {
		add_rows(hist, index, count, out);
		return;
	}
	memset(hist->privates, 0, threads * hist->size * sizeof(*out));
	mmq_pool_run(hist->pool, (count + BLOCK - 1) / BLOCK, build_block, &(struct build){ hist, index, count });
	for (unsigned t = 0; t < threads; t++)
		for (size_t k = 0; k < hist->size; k++)
			out[k] += hist->privates[t * hist->size + k];
}
