/* split.c: the best split of a leaf from its histogram.
 *
 * Gain of a side: T(G)^2 / (H + l2), T the soft threshold by l1 (Chen and Guestrin 2016, eq. 7). Row counts of a side are
 * estimated from its hessian as LightGBM does; they are exact where every row has the same hessian. Ties go to the lowest
 * column and bin. Missing values are tried on both sides; where a leaf has none, they follow the larger side. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/grow.h"

struct search {
	const struct mmq_tree_options *options;
	const struct mmq_hist *hist;
	int64_t total;
	double l2, per_h;        /* rows per unit of packed hessian */
	double rows, gain_min;   /* what a split has to be better than */
};

static inline double
soften(double g, double l1)
{
	return l1 == 0 ? g : g > l1 ? g - l1 : g < -l1 ? g + l1 : 0;
}

/* Sum of the two sides' gains, or -1 when a side is too small. */
static inline double
gain_of(const struct search *search, int64_t one, double l2)
{
	const struct mmq_tree_options *options = search->options;
	int64_t other = search->total - one;
	double h1 = mmq_packed_h(one), h2 = mmq_packed_h(other);
	if (floor(h1 * search->per_h + 0.5) < options->min_data || floor(h2 * search->per_h + 0.5) < options->min_data || h1 == 0 || h2 == 0)
		return -1;
	h1 *= search->hist->h_unit;
	h2 *= search->hist->h_unit;
	if (h1 < options->min_hessian || h2 < options->min_hessian)
		return -1;
	double g1 = soften(mmq_packed_g(one) * search->hist->g_unit, options->l1), g2 = soften(mmq_packed_g(other) * search->hist->g_unit, options->l1);
	h1 += l2;
	h2 += l2;
	return (g1 * g1 * h2 + g2 * g2 * h1) / (h1 * h2);
}

static void
search_numeric(const struct search *search, uint32_t c, const int64_t *bin, struct mmq_split *best)
{
	const struct mmq_tree_column *column = &search->hist->bins->columns[c];
	int64_t missing = column->has_missing ? bin[column->bins] : 0, less = 0;
	for (uint32_t b = 0; b < column->bins; b++) {
		if (bin[b] == 0)
			continue;
		less += bin[b];
		double gain = gain_of(search, less, search->l2);
		if (gain > search->gain_min + best->gain) {
			/* Where no row is missing, missing rows of the future go with the majority. */
			bool is_larger = missing == 0 && 2 * mmq_packed_h(less) >= mmq_packed_h(search->total);
			*best = (struct mmq_split){ .gain = gain - search->gain_min, .column = c, .bin = (uint8_t)b,
				.kind = is_larger ? MMQ_NODE_LESS_SECOND : MMQ_NODE_LESS_FIRST,
				.first_sum = is_larger ? search->total - less : less };
		}
		if (missing == 0)
			continue;
		gain = gain_of(search, less + missing, search->l2);
		if (gain > search->gain_min + best->gain)
			*best = (struct mmq_split){ .gain = gain - search->gain_min, .column = c, .bin = (uint8_t)b, .kind = MMQ_NODE_LESS_SECOND,
				.first_sum = search->total - less - missing };
	}
}

static void
take_set(struct mmq_split *best, const struct search *search, uint32_t c, double gain, int64_t sum, bool is_set)
{
	*best = (struct mmq_split){ .gain = gain - search->gain_min, .column = c, .kind = MMQ_NODE_CATEGORY, .is_set = is_set, .first_sum = sum };
}

static void
search_one_hot(const struct search *search, uint32_t c, const int64_t *bin, struct mmq_split *best)
{
	for (uint32_t b = 0; b < search->hist->bins->columns[c].bins; b++) {
		double gain = gain_of(search, bin[b], search->l2);
		if (gain > search->gain_min + best->gain) {
			take_set(best, search, c, gain, bin[b], false);
			best->set.has[b / 8] = (uint8_t)(1u << b % 8);
		}
	}
}

struct ranked { double ratio; uint32_t bin; };

static int
compare_ranked(const void *a_p, const void *b_p)
{
	const struct ranked *a = a_p, *b = b_p;
	return a->ratio != b->ratio ? (a->ratio < b->ratio ? -1 : 1) : a->bin < b->bin ? -1 : 1;
}

/* Prefixes, from either end, of the categories in the order of G / (H + cat_smooth) (Fisher 1958). */
static void
search_sets(const struct search *search, uint32_t c, const int64_t *bin, struct mmq_split *best)
{
	const struct mmq_tree_options *options = search->options;
	const struct mmq_hist *hist = search->hist;
	struct ranked ranked[MMQ_TREE_BINS_MAX];
	uint32_t n = 0;
	for (uint32_t b = 0; b < hist->bins->columns[c].bins; b++) {
		double h = mmq_packed_h(bin[b]);
		if (h * search->per_h >= options->cat_smooth && h > 0)
			ranked[n++] = (struct ranked){ mmq_packed_g(bin[b]) * hist->g_unit / (h * hist->h_unit + options->cat_smooth), b };
	}
	qsort(ranked, n, sizeof(ranked[0]), compare_ranked);
	uint32_t most = (n + 1) / 2 < options->cat_threshold_max ? (n + 1) / 2 : options->cat_threshold_max;
	for (int from_end = 0; from_end < 2; from_end++) {
		int64_t sum = 0;
		double group = 0;
		for (uint32_t k = 0; k < n && k < most; k++) {
			uint32_t b = ranked[from_end ? n - 1 - k : k].bin;
			sum += bin[b];
			group += mmq_packed_h(bin[b]) * search->per_h;
			if (search->rows - mmq_packed_h(sum) * search->per_h < options->cat_group_min)
				break;
			if (group < options->cat_group_min)
				continue;
			double gain = gain_of(search, sum, search->l2 + options->cat_l2);
			if (gain < 0)
				continue;
			group = 0;
			if (gain <= search->gain_min + best->gain)
				continue;
			take_set(best, search, c, gain, sum, true);
			for (uint32_t j = 0; j <= k; j++) {
				uint32_t member = ranked[from_end ? n - 1 - j : j].bin;
				best->set.has[member / 8] |= (uint8_t)(1u << member % 8);
			}
		}
	}
}

void
mmq_split_search(const struct mmq_tree_options *options, const struct mmq_hist *hist, const uint8_t *columns_on, const int64_t *leaf,
    int64_t total, size_t count, struct mmq_split *best)
{
	const struct mmq_tree_bins *bins = hist->bins;
	double h = mmq_packed_h(total), g = soften(mmq_packed_g(total) * hist->g_unit, options->l1);
	struct search search = { .options = options, .hist = hist, .total = total, .l2 = options->l2, .rows = (double)count };

	*best = (struct mmq_split){ 0 };
	if (h == 0 || count < 2 * (size_t)options->min_data)
		return;
	search.per_h = (double)count / h;
	double parent = g * g / (h * hist->h_unit + options->l2);
	/* The small factor keeps rounding from looking like a gain where every value is the same. */
	search.gain_min = parent * (1 + 1e-10) + options->min_gain;
	for (uint32_t c = 0; c < bins->columns_count; c++) {
		const int64_t *bin = leaf + bins->offset[c];
		if (!columns_on[c])
			continue;
		if (!bins->columns[c].is_category)
			search_numeric(&search, c, bin, best);
		else if (bins->columns[c].bins <= options->cat_onehot_max)
			search_one_hot(&search, c, bin, best);
		else
			search_sets(&search, c, bin, best);
	}
}
