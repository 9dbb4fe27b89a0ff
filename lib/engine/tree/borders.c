/* borders.c: where to cut one numeric column.
 *
 * Few distinct values: a bin each, unless they hold fewer than min_data rows. Many: greedy equal-count bins, a value that is
 * more frequent than the average bin has a bin to itself (the rule of LightGBM's bin finder, Ke et al. 2017). A border lies
 * half-way between two neighbouring values, rounded so that it separates them as floats. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/bins.h"
#include "util/mem.h"

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

/* Floats as integers of the same order: flip all bits of negatives, the sign of others. */
static uint32_t
key_of(float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof(bits));
	return bits ^ ((uint32_t)((int32_t)bits >> 31) | 0x80000000u);
}

static float
value_of(uint32_t key)
{
	float value;
	key ^= (key & 0x80000000u) != 0 ? 0x80000000u : 0xffffffffu;
	memcpy(&value, &key, sizeof(value));
	return value;
}

/* Radix sort in three passes; temp (2 * count). */
static void
sort_values(float *values, size_t count, uint32_t *temp)
{
	uint32_t *from = temp, *to = temp + count;
	for (size_t i = 0; i < count; i++)
		from[i] = key_of(values[i]);
	for (unsigned shift = 0; shift < 32; shift += DIGIT_BITS) {
		size_t start[DIGITS + 1] = { 0 };
		for (size_t i = 0; i < count; i++)
			start[(from[i] >> shift & (DIGITS - 1)) + 1]++;
		for (size_t d = 0; d < DIGITS; d++)
			start[d + 1] += start[d];
		for (size_t i = 0; i < count; i++)
			to[start[from[i] >> shift & (DIGITS - 1)]++] = from[i];
		uint32_t *swap = from;
		from = to;
		to = swap;
	}
	for (size_t i = 0; i < count; i++)
		values[i] = value_of(from[i]);
}

/* A float b with low <= b < high. */
static float
border_between(float low, float high)
{
	float middle = (float)((double)low + ((double)high - (double)low) / 2);
	return middle >= low && middle < high ? middle : low;
}

/* Distinct values (a bin each) with their counts, small ones joined with the next. */
static uint32_t
cut_each(float *upper, float *low, const float *distinct, const uint32_t *counts, size_t n, uint32_t min_data)
{
	uint32_t bins = 0, held = 0;
	for (size_t i = 0; i + 1 < n; i++) {
		held += counts[i];
		if (held >= min_data) {
			upper[bins++] = border_between(distinct[i], distinct[i + 1]);
			low[bins] = distinct[i + 1];
			held = 0;
		}
	}
	upper[bins++] = INFINITY;
	return bins;
}

static uint32_t
cut_equal(float *upper, float *low, uint32_t bins_max, const float *distinct, const uint32_t *counts, size_t n, size_t total, uint32_t min_data)
{
	size_t wanted = total / min_data < bins_max ? total / min_data : bins_max;
	if (wanted < 1)
		wanted = 1;
	double average = (double)total / (double)wanted, big = average;
	size_t rest_bins = wanted, rest_rows = total;
	for (size_t i = 0; i < n; i++) {
		if (counts[i] >= big) {
			rest_bins--;
			rest_rows -= counts[i];
		}
	}
	average = rest_bins > 0 ? (double)rest_rows / (double)rest_bins : INFINITY;
	uint32_t bins = 0;
	double held = 0;
	for (size_t i = 0; i + 1 < n && bins + 1 < wanted; i++) {
		bool is_big = counts[i] >= big;
		if (!is_big)
			rest_rows -= counts[i];
		held += counts[i];
		if (!is_big && held < average && !(counts[i + 1] >= big && held >= fmax(1.0, average * 0.5)))
			continue;
		upper[bins++] = border_between(distinct[i], distinct[i + 1]);
		low[bins] = distinct[i + 1];
		held = 0;
		if (!is_big && rest_bins > 1) {
			rest_bins--;
			average = (double)rest_rows / (double)rest_bins;
		}
	}
	upper[bins++] = INFINITY;
	return bins;
}

uint32_t
mmq_tree_borders(float *upper_out, float *low_out, uint32_t bins_max, float *values, size_t count, uint32_t min_data, uint32_t *temp)
{
	if (count == 0) {
		low_out[0] = 0;
		upper_out[0] = INFINITY;
		return 1;
	}
	sort_values(values, count, temp);
	size_t n = 0;
	for (size_t i = 0; i < count;) {
		size_t end = i + 1;
		while (end < count && values[end] == values[i])
			end++;
		values[n] = values[i];
		temp[n++] = (uint32_t)(end - i);
		i = end;
	}
	low_out[0] = values[0];
	return n <= bins_max ? cut_each(upper_out, low_out, values, temp, n, min_data) :
	    cut_equal(upper_out, low_out, bins_max, values, temp, n, count, min_data);
}
