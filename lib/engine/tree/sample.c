/* sample.c: bagging, and gradient-based one-side sampling (Ke et al. 2017): rows whose gradients are large are kept, of the others a
 * sample is drawn that stands for all of them. A row's luck depends on seed, round and row alone, so order and threads do not matter. */
#include "engine/tree/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/rng.h"
#include "util/mem.h"

void
mmq_tree_sample_init(struct mmq_tree_sample *sample, const struct mmq_tree_options *options, size_t rows)
{
	*sample = (struct mmq_tree_sample){ .options = options, .rows = rows, .index = mmq_array(rows, sizeof(uint32_t)),
		.size = options->goss ? mmq_array(rows, sizeof(float)) : NULL };
}

void
mmq_tree_sample_fini(struct mmq_tree_sample *sample)
{
	free(sample->index);
	free(sample->size);
}

bool
mmq_tree_sample_is_all(const struct mmq_tree_options *options)
{
	return !options->goss && options->bagging_fraction >= 1;
}

static void
take_all(struct mmq_tree_sample *sample)
{
	for (size_t r = 0; r < sample->rows; r++)
		sample->index[r] = (uint32_t)r;
	sample->count = sample->rows;
}

static bool
is_lucky(const struct mmq_tree_sample *sample, uint32_t round, size_t row, double chance)
{
	struct mmq_rng rng = mmq_rng_stream(sample->options->seed + 2, round, row);
	return mmq_rng_uniform(&rng) < chance;
}

static void
draw_bag(struct mmq_tree_sample *sample, uint32_t round)
{
	size_t rest = sample->rows;
	sample->count = 0;
	for (size_t r = 0; r < sample->rows; r++) {
		if (is_lucky(sample, round, r, sample->options->bagging_fraction))
			sample->index[sample->count++] = (uint32_t)r;
		else
			sample->index[--rest] = (uint32_t)r;
	}
}

/* The k-th largest of values >= 0, 1 <= k <= count. Their bits as integers have the same order: the answer is found eleven bits at a time. */
static float
kth_largest(const float *values, size_t count, size_t k)
{
	enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };
	uint32_t found = 0, bits;
	for (int shift = 3 * DIGIT_BITS - DIGIT_BITS; shift >= 0; shift -= DIGIT_BITS) {
		size_t counts[DIGITS] = { 0 };
		uint32_t digit = DIGITS - 1;
		for (size_t r = 0; r < count; r++) {
			memcpy(&bits, &values[r], sizeof(bits));
			if ((uint64_t)bits >> (shift + DIGIT_BITS) == (uint64_t)found >> (shift + DIGIT_BITS))
				counts[bits >> shift & (DIGITS - 1)]++;
		}
		for (; counts[digit] < k; digit--)
			k -= counts[digit];
		found |= digit << shift;
	}
	float value;
	memcpy(&value, &found, sizeof(value));
	return value;
}

static void
draw_goss(struct mmq_tree_sample *sample, uint32_t round, float *g, float *h, uint32_t outputs)
{
	const struct mmq_tree_options *options = sample->options;
	size_t rows = sample->rows, kept = (size_t)(options->top_rate * (double)rows), top = 0, rest = rows;
	float *size = sample->size, threshold = INFINITY;

	for (size_t r = 0; r < rows; r++) {
		size[r] = 0;
		for (uint32_t c = 0; c < outputs; c++)
			size[r] += fabsf(g[c * rows + r] * h[c * rows + r]);
	}
	if (kept > 0)
		threshold = kth_largest(size, rows, kept);
	for (size_t r = 0; r < rows; r++)
		top += size[r] >= threshold;
	double others = (double)(rows - top), chance = others > 0 ? fmin(1, options->other_rate * (double)rows / others) : 0;
	float factor = chance > 0 ? (float)(1 / chance) : 1;
	sample->count = 0;
	for (size_t r = 0; r < rows; r++) {
		bool is_top = size[r] >= threshold;
		if (!is_top && !is_lucky(sample, round, r, chance)) {
			sample->index[--rest] = (uint32_t)r;
			continue;
		}
		sample->index[sample->count++] = (uint32_t)r;
		for (uint32_t c = 0; c < outputs && !is_top; c++) {
			g[c * rows + r] *= factor;
			h[c * rows + r] *= factor;
		}
	}
}

void
mmq_tree_sample_draw(struct mmq_tree_sample *sample, uint32_t round, bool is_first, float *g, float *h, uint32_t outputs)
{
	const struct mmq_tree_options *options = sample->options;
	bool is_early = options->goss && (double)round < 1 / options->learning_rate;  /* gradients tell little at first, as in LightGBM */
	if (mmq_tree_sample_is_all(options) || is_early) {
		if (is_first || is_early)
			take_all(sample);
	} else if (options->goss) {
		draw_goss(sample, round, g, h, outputs);
	} else if (is_first || round % options->bagging_freq == 0) {
		draw_bag(sample, round - round % options->bagging_freq);
	}
	if (sample->count == 0)
		take_all(sample);  /* so few rows that none was drawn */
}
