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

enum { BLOCK = 8192, BITS_MAX = 24 };
enum { GATHER = 512, WORDS = 8, AHEAD = 32, BUILD_BLOCK = 2048, BUILD_ALONE = 2 * BUILD_BLOCK };

void
mmq_hist_init(struct mmq_hist *hist, const struct mmq_tree_bins *bins, struct mmq_pool *pool)
{
	*hist = (struct mmq_hist){ .bins = bins, .pool = pool, .size = bins->offset[bins->columns_count] };
	hist->row = mmq_aligned_huge((bins->rows + 1) * sizeof(*hist->row));
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

/* Floats without their sign have the order of their bits, and the largest of whole numbers is found in any order. */
static inline __attribute__((always_inline)) void
largest_rows(const float *restrict g, const float *restrict h, size_t count, float *largest_out)
{
	uint32_t top[2] = { 0, 0 };
	for (size_t r = 0; r < count; r++) {
		uint32_t bits[2];
		memcpy(&bits[0], &g[r], sizeof(bits[0]));
		memcpy(&bits[1], &h[r], sizeof(bits[1]));
		bits[0] &= 0x7fffffff;
		top[0] = bits[0] > top[0] ? bits[0] : top[0];
		top[1] = bits[1] > top[1] ? bits[1] : top[1];
	}
	memcpy(largest_out, top, sizeof(top));
}

#if defined(__x86_64__)
__attribute__((target("avx2"), optimize("O3"))) static void
largest_avx2(const float *g, const float *h, size_t count, float *largest_out)
{
	largest_rows(g, h, count, largest_out);
}
#endif

static void
largest_block(void *arg, size_t block, unsigned thread)
{
	const struct quantise *q = arg;
	size_t rows = q->hist->bins->rows, begin = block * BLOCK, count = rows - begin < BLOCK ? rows - begin : BLOCK;
	(void)thread;
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2()) {
		largest_avx2(q->g + begin, q->h + begin, count, q->largest + 2 * block);
		return;
	}
#endif
	largest_rows(q->g + begin, q->h + begin, count, q->largest + 2 * block);
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

struct sum {
	const struct mmq_hist *hist;
	const uint32_t *index;
	size_t count;
	int64_t *totals;  /* (blocks) */
};

static void
sum_block(void *arg, size_t block, unsigned thread)
{
	const struct sum *sum = arg;
	size_t end = (block + 1) * BLOCK < sum->count ? (block + 1) * BLOCK : sum->count;
	int64_t total = 0;
	(void)thread;
	for (size_t i = block * BLOCK; i < end; i++)
		total += sum->hist->row[sum->index[i]];
	sum->totals[block] = total;
}

int64_t
mmq_hist_total(const struct mmq_hist *hist, const uint32_t *index, size_t count)
{
	size_t blocks = (count + BLOCK - 1) / BLOCK;
	int64_t total = 0, *totals = mmq_array(blocks + 1, sizeof(*totals));
	mmq_pool_run(hist->pool, blocks, sum_block, &(struct sum){ hist, index, count, totals });
	for (size_t k = 0; k < blocks; k++)
		total += totals[k];
	free(totals);
	return total;
}

/* What add_rows reads of some rows, side by side: their packed pairs, and their bytes of up to 64 columns. */
struct gathered {
	int64_t value[GATHER];
	uint64_t bytes[GATHER * WORDS];
};

/* Add `columns` <= 8 bytes of each row: a known number, so that every column's place stays in a register. */
static inline __attribute__((always_inline)) void
add_word(const struct gathered *rows, size_t count, const uint64_t *bytes, size_t words, const uint32_t *offset, const size_t columns, int64_t *out)
{
	int64_t *at[8];
	for (size_t j = 0; j < columns; j++)
		at[j] = out + offset[j];
	for (size_t i = 0; i < count; i++) {
		uint64_t word = bytes[i * words];
		int64_t value = rows->value[i];
#pragma GCC unroll 8
		for (size_t j = 0; j < columns; j++)
			at[j][word >> 8 * j & 255] += value;
	}
}

static void
add_columns(const struct gathered *rows, size_t count, const uint64_t *bytes, size_t words, const uint32_t *offset, size_t columns, int64_t *out)
{
	switch (columns) {
	case 1: add_word(rows, count, bytes, words, offset, 1, out); break;
	case 2: add_word(rows, count, bytes, words, offset, 2, out); break;
	case 3: add_word(rows, count, bytes, words, offset, 3, out); break;
	case 4: add_word(rows, count, bytes, words, offset, 4, out); break;
	case 5: add_word(rows, count, bytes, words, offset, 5, out); break;
	case 6: add_word(rows, count, bytes, words, offset, 6, out); break;
	case 7: add_word(rows, count, bytes, words, offset, 7, out); break;
	default: add_word(rows, count, bytes, words, offset, 8, out);
	}
}

/* Add rows into a histogram. Rows of a leaf lie scattered: a few hundred are gathered, each with its cache lines asked for in time, and
 * then added eight columns at a time, whose bins (16 KiB) stay in the nearest cache. */
static void
add_rows(const struct mmq_hist *hist, const uint32_t *index, size_t count, int64_t *out)
{
	const struct mmq_tree_bins *bins = hist->bins;
	struct gathered rows;
	for (size_t first = 0; first < count; first += GATHER) {
		size_t some = count - first < GATHER ? count - first : GATHER;
		for (size_t column = 0; column < bins->columns_count; column += 8 * WORDS) {
			size_t columns = bins->columns_count - column < 8 * WORDS ? bins->columns_count - column : 8 * WORDS, words = (columns + 7) / 8;
			const uint8_t *bytes = bins->by_row + column;
			for (size_t i = 0; i < some; i++) {
				if (first + i + AHEAD < count) {
					__builtin_prefetch(bytes + index[first + i + AHEAD] * bins->row_bytes);
					__builtin_prefetch(hist->row + index[first + i + AHEAD]);
				}
				rows.value[i] = hist->row[index[first + i]];
				for (size_t w = 0; w < words; w++)
					memcpy(&rows.bytes[i * words + w], bytes + index[first + i] * bins->row_bytes + 8 * w, 8);
			}
			for (size_t w = 0; w < words; w++)
				add_columns(&rows, some, rows.bytes + w, words, bins->offset + column + 8 * w, columns - 8 * w < 8 ? columns - 8 * w : 8, out);
		}
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

/* The body of both paths, as above. */
static inline __attribute__((always_inline)) void
add_sums(int64_t *restrict to, const int64_t *restrict part, int64_t sign, size_t size)
{
	for (size_t k = 0; k < size; k++)
		to[k] = sign > 0 ? to[k] + part[k] : to[k] - part[k];
}

#if defined(__x86_64__)
__attribute__((target("avx2"), optimize("O3"))) static void
add_sums_avx2(int64_t *to, const int64_t *part, int64_t sign, size_t size)
{
	if (sign > 0)
		add_sums(to, part, 1, size);
	else
		add_sums(to, part, -1, size);
}
#endif

static void
combine(int64_t *to, const int64_t *part, int64_t sign, size_t size)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2()) {
		add_sums_avx2(to, part, sign, size);
		return;
	}
#endif
	add_sums(to, part, sign, size);
}

struct build {
	const struct mmq_hist *hist;
	const uint32_t *index;
	size_t count;
	int64_t *out;
};

/* The caller's thread adds into the result, the others into histograms of their own. */
static void
build_block(void *arg, size_t block, unsigned thread)
{
	const struct build *build = arg;
	const struct mmq_hist *hist = build->hist;
	size_t first = block * BUILD_BLOCK, left = build->count - first;
	add(hist, build->index + first, left < BUILD_BLOCK ? left : BUILD_BLOCK, thread == 0 ? build->out : hist->privates + (thread - 1) * hist->size);
}

void
mmq_hist_build(const struct mmq_hist *hist, const uint32_t *index, size_t count, int64_t total, int64_t *out)
{
	unsigned threads = mmq_pool_threads(hist->pool);
	memset(out, 0, hist->size * sizeof(*out));
	if (threads == 1 || count < BUILD_ALONE) {
		add(hist, index, count, out);
	} else {
		memset(hist->privates, 0, (threads - 1) * hist->size * sizeof(*out));
		mmq_pool_run(hist->pool, (count + BUILD_BLOCK - 1) / BUILD_BLOCK, build_block, &(struct build){ hist, index, count, out });
		for (unsigned t = 0; t + 1 < threads; t++)
			combine(out, hist->privates + t * hist->size, 1, hist->size);
	}
	if (hist->bins->other != NULL)
		fill_common(hist, total, out);
}

void
mmq_hist_subtract(int64_t *restrict from, const int64_t *restrict part, size_t size)
{
	combine(from, part, -1, size);
}
