/* code.c: values into bins, and the forms of the coded rows that histograms read.
 *
 * Binary searches run for four values side by side, so that their latencies overlap; dense rows are read once, block by block. Rows are
 * kept as bytes by row or, where most bytes would be the most frequent bin of their column, as the list of the other ones:
 * a histogram then adds only those and gets the frequent bin as the leaf's total minus the rest. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/bins.h"
#include "util/mem.h"

enum { ROW_BLOCK = 4096 };

/* Rows go by the list of other bins when less than this part of all bytes is not the most frequent bin. */
static const double LIST_BELOW = 0.4;

/* One body for both widths: which of the two is NULL is known where this is inlined. */
static inline __attribute__((always_inline)) void
put_bin(uint8_t *out, uint16_t *wide_out, size_t i, uint32_t bin)
{
	if (wide_out != NULL)
		wide_out[i] = (uint16_t)bin;
	else
		out[i] = (uint8_t)bin;
}

static inline __attribute__((always_inline)) void
search_bins(const struct mmq_tree_column *column, const float *values, size_t count, uint8_t *out, uint16_t *wide_out)
{
	const float *upper = column->upper;
	uint32_t missing = column->bins;
	size_t i = 0;
	for (; i + 4 <= count; i += 4) {
		float v0 = values[i], v1 = values[i + 1], v2 = values[i + 2], v3 = values[i + 3];
		const float *p0 = upper, *p1 = upper, *p2 = upper, *p3 = upper;
		for (uint32_t length = column->bins, half; length > 1; length -= half) {
			half = length / 2;
			/* A product, so that no compiler makes it a branch that is guessed wrong half of the time. */
			p0 += (size_t)(p0[half - 1] < v0) * half;
			p1 += (size_t)(p1[half - 1] < v1) * half;
			p2 += (size_t)(p2[half - 1] < v2) * half;
			p3 += (size_t)(p3[half - 1] < v3) * half;
		}
		put_bin(out, wide_out, i, isnan(v0) ? missing : (uint32_t)(p0 - upper));
		put_bin(out, wide_out, i + 1, isnan(v1) ? missing : (uint32_t)(p1 - upper));
		put_bin(out, wide_out, i + 2, isnan(v2) ? missing : (uint32_t)(p2 - upper));
		put_bin(out, wide_out, i + 3, isnan(v3) ? missing : (uint32_t)(p3 - upper));
	}
	for (; i < count; i++) {
		const float *p = upper;
		for (uint32_t length = column->bins, half; length > 1; length -= half) {
			half = length / 2;
			p += (size_t)(p[half - 1] < values[i]) * half;
		}
		put_bin(out, wide_out, i, isnan(values[i]) ? missing : (uint32_t)(p - upper));
	}
}

void
mmq_tree_bin_values(const struct mmq_tree_column *column, const float *values, size_t count, uint8_t *out, uint16_t *wide_out)
{
	if (wide_out != NULL)
		search_bins(column, values, count, NULL, wide_out);
	else
		search_bins(column, values, count, out, NULL);
}

struct layout {
	struct mmq_tree_bins *bins;
	size_t *others;  /* (columns): rows that are not in the most frequent bin */
};

static void
count_block(void *arg, size_t c, unsigned thread)
{
	const struct layout *layout = arg;
	struct mmq_tree_bins *bins = layout->bins;
	const uint8_t *bytes = bins->by_column + c * bins->rows;
	uint32_t counts[4][MMQ_TREE_BINS_MAX] = { 0 };
	size_t most = 0;
	(void)thread;
	for (size_t r = 0; r < bins->rows; r++)
		counts[r & 3][bytes[r]]++;
	for (uint32_t b = 0; b < MMQ_TREE_BINS_MAX; b++) {
		size_t count = (size_t)counts[0][b] + counts[1][b] + counts[2][b] + counts[3][b];
		if (count > most) {
			most = count;
			bins->common[c] = (uint8_t)b;
		}
	}
	layout->others[c] = bins->rows - most;
}

/* Bytes by column into bytes by row. */
static void
turn_block(void *arg, size_t block, unsigned thread)
{
	const struct mmq_tree_bins *bins = ((struct layout *)arg)->bins;
	size_t first = block * ROW_BLOCK, end = first + ROW_BLOCK < bins->rows ? first + ROW_BLOCK : bins->rows;
	(void)thread;
	for (uint32_t c = 0; c < bins->columns_count; c++)
		for (size_t r = first; r < end; r++)
			bins->by_row[r * bins->row_bytes + c] = bins->by_column[c * bins->rows + r];
}

/* Places in a histogram of each row's bins that are not the most frequent. other_start[r + 1] is a cursor until the end. */
static void
list_rows(struct mmq_tree_bins *bins, size_t total)
{
	bins->other_start = mmq_array(bins->rows + 2, sizeof(*bins->other_start));
	bins->other = mmq_array(total + 1, sizeof(*bins->other));
	for (uint32_t c = 0; c < bins->columns_count; c++)
		for (size_t r = 0; r < bins->rows; r++)
			bins->other_start[r + 2] += bins->by_column[c * bins->rows + r] != bins->common[c];
	for (size_t r = 0; r < bins->rows; r++)
		bins->other_start[r + 2] += bins->other_start[r + 1];
	for (uint32_t c = 0; c < bins->columns_count; c++) {
		const uint8_t *bytes = bins->by_column + c * bins->rows;
		for (size_t r = 0; r < bins->rows; r++)
			if (bytes[r] != bins->common[c])
				bins->other[bins->other_start[r + 1]++] = bins->offset[c] + bytes[r];
	}
}

void
mmq_tree_bins_layout(struct mmq_tree_bins *bins, struct mmq_pool *pool)
{
	struct layout layout = { bins, mmq_array((size_t)bins->columns_count + 1, sizeof(size_t)) };
	size_t total = 0;

	bins->common = mmq_array((size_t)bins->columns_count + 1, 1);
	mmq_pool_run(pool, bins->columns_count, count_block, &layout);
	for (uint32_t c = 0; c < bins->columns_count; c++)
		total += layout.others[c];
	if ((double)total < LIST_BELOW * (double)bins->columns_count * (double)bins->rows) {
		list_rows(bins, total);
	} else {
		bins->by_row = mmq_aligned_huge(bins->rows * bins->row_bytes + 8);
		mmq_pool_run(pool, (bins->rows + ROW_BLOCK - 1) / ROW_BLOCK, turn_block, &layout);
	}
	free(layout.others);
}
