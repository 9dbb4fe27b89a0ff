/* split.c: the best split of a leaf from its histogram.
 *
 * Row counts of a side are estimated from its hessian as LightGBM does; they are exact where every row has the same hessian.
 * Ties go to the lowest column, then to missing on the second side, then to the lowest bin. Many columns are
 * spread over the pool. Missing values are tried on both sides; where a leaf has none, they follow the larger side. With extra_trees
 * only one cut of a column, drawn at random for this tree, leaf and column, is looked at. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/scan.h"
#include "math/rng.h"
#include "util/mem.h"

struct search {
	const struct mmq_split_rules *rules;
	const struct mmq_hist *hist;
	struct mmq_scan scan;
	uint32_t node;
	double rows;
	uint32_t at;   /* which of its column's prefix sums the best split has, if it is a cut of numbers */
	double best;   /* largest sum of the sides' gains so far; at first what not splitting has */
};

/* Which of `count` cuts of a column is the random one. */
static uint32_t
random_cut(const struct search *search, uint32_t c, uint32_t count)
{
	struct mmq_rng rng = mmq_rng_stream(search->rules->key, search->node, c);
	return (uint32_t)mmq_rng_below(&rng, count);
}

static void
search_numeric(struct search *search, uint32_t c, const int64_t *bin, struct mmq_split *best)
{
	const struct mmq_tree_column *column = &search->hist->bins->columns[c];
	int64_t missing = column->has_missing ? bin[column->bins] : 0, total = search->scan.total, sums[MMQ_TREE_BINS_MAX + 8];
	uint32_t n = mmq_scan_prefix(bin, column->bins, sums), at = 0, from = 0;
	search->scan.direction = search->rules->monotone != NULL ? search->rules->monotone[c] : 0;
	if (search->rules->options->extra_trees && n > 0) {
		from = n > 1 ? random_cut(search, c, n - 1) : 0;
		n = 1;
	}
	if (mmq_scan_best(&search->scan, sums + from, n, 0, &search->best, &at)) {
		search->at = at += from;
		/* Where no row is missing, missing rows of the future go with the majority. */
		bool is_larger = missing == 0 && 2 * mmq_packed_h(sums[at]) >= mmq_packed_h(total);
		*best = (struct mmq_split){ .column = c, .kind = is_larger ? MMQ_NODE_LESS_SECOND : MMQ_NODE_LESS_FIRST,
			.first_sum = is_larger ? total - sums[at] : sums[at] };
	}
	if (missing != 0 && mmq_scan_best(&search->scan, sums + from, n, missing, &search->best, &at)) {
		search->at = at += from;
		*best = (struct mmq_split){ .column = c, .kind = MMQ_NODE_LESS_SECOND, .first_sum = total - sums[at] - missing };
	}
}

/* The last bin before the cut behind this prefix sum: half-way through the bins that are empty there, so that rows to come which fall into
 * them are not all sent to one side. */
static uint8_t
cut_bin(const struct mmq_tree_column *column, const int64_t *bin, uint32_t at)
{
	uint32_t next, last = mmq_scan_place(bin, column->bins, at, &next);
	return (uint8_t)(next < column->bins ? (last + next - 1) / 2 : column->bins - 1);
}

static void
take_set(struct mmq_split *best, struct search *search, uint32_t c, double gain, int64_t sum, bool is_set)
{
	search->best = gain;
	*best = (struct mmq_split){ .column = c, .kind = MMQ_NODE_CATEGORY, .is_set = is_set, .first_sum = sum };
}

static void
search_one_hot(struct search *search, uint32_t c, const int64_t *bin, struct mmq_split *best)
{
	uint32_t bins = search->hist->bins->columns[c].bins, only = search->rules->options->extra_trees ? random_cut(search, c, bins) : bins;
	for (uint32_t b = 0; b < bins; b++) {
		if (only < bins && b != only)
			continue;
		double gain = mmq_scan_gain(&search->scan, bin[b]);
		if (gain > search->best) {
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
search_sets(struct search *search, uint32_t c, const int64_t *bin, struct mmq_split *best)
{
	const struct mmq_tree_options *options = search->rules->options;
	const struct mmq_hist *hist = search->hist;
	struct ranked ranked[MMQ_TREE_BINS_MAX];
	struct mmq_scan smooth = search->scan;
	uint32_t n = 0;
	smooth.l2 += options->cat_l2;
	for (uint32_t b = 0; b < hist->bins->columns[c].bins; b++) {
		double h = mmq_packed_h(bin[b]);
		if (h * search->scan.per_h >= options->cat_smooth && h > 0)
			ranked[n++] = (struct ranked){ mmq_packed_g(bin[b]) * hist->g_unit / (h * hist->h_unit + options->cat_smooth), b };
	}
	qsort(ranked, n, sizeof(ranked[0]), compare_ranked);
	uint32_t most = (n + 1) / 2 < options->cat_threshold_max ? (n + 1) / 2 : options->cat_threshold_max;
	uint32_t only = options->extra_trees && most > 0 ? random_cut(search, c, 2 * most) : UINT32_MAX;
	for (int from_end = 0; from_end < 2; from_end++) {
		int64_t sum = 0;
		double group = 0;
		for (uint32_t k = 0; k < n && k < most; k++) {
			uint32_t b = ranked[from_end ? n - 1 - k : k].bin;
			sum += bin[b];
			group += mmq_packed_h(bin[b]) * search->scan.per_h;
			if (search->rows - mmq_packed_h(sum) * search->scan.per_h < options->cat_group_min)
				break;
			if (group < options->cat_group_min)
				continue;
			double gain = mmq_scan_gain(&smooth, sum);
			if (gain == -INFINITY || (only != UINT32_MAX && only != k * 2 + (uint32_t)from_end))
				continue;
			group = 0;
			if (gain <= search->best)
				continue;
			take_set(best, search, c, gain, sum, true);
			for (uint32_t j = 0; j <= k; j++) {
				uint32_t member = ranked[from_end ? n - 1 - j : j].bin;
				best->set.has[member / 8] |= (uint8_t)(1u << member % 8);
			}
		}
	}
}

enum { CHUNK = 16, SHARED_FROM = 8192 };  /* columns of a block; bins from which on a second thread saves more than it costs */

struct chunks {
	struct search search;
	const int64_t *sums;
	struct mmq_split *best;  /* (chunks) */
	double *gain;            /* (chunks) */
};

static void
search_chunk(void *arg, size_t chunk, unsigned thread)
{
	const struct chunks *chunks = arg;
	struct search search = chunks->search;
	const struct mmq_tree_bins *bins = search.hist->bins;
	struct mmq_split best = { 0 };
	uint32_t end = (uint32_t)(chunk + 1) * CHUNK < bins->columns_count ? (uint32_t)(chunk + 1) * CHUNK : bins->columns_count;
	(void)thread;
	for (uint32_t c = (uint32_t)chunk * CHUNK; c < end; c++) {
		const int64_t *bin = chunks->sums + bins->offset[c];
		if (!search.rules->columns_on[c])
			continue;
		search.scan.direction = 0;
		if (!bins->columns[c].is_category)
			search_numeric(&search, c, bin, &best);
		else if (bins->columns[c].bins <= search.rules->options->cat_onehot_max)
			search_one_hot(&search, c, bin, &best);
		else
			search_sets(&search, c, bin, &best);
	}
	if (search.best > chunks->search.best && best.kind != MMQ_NODE_CATEGORY)
		best.bin = cut_bin(&bins->columns[best.column], chunks->sums + bins->offset[best.column], search.at);
	chunks->best[chunk] = best;
	chunks->gain[chunk] = search.best;
}

static struct mmq_scan
scan_of(const struct mmq_tree_options *options, const struct mmq_hist *hist, int64_t total, const struct mmq_leaf *leaf)
{
	struct mmq_scan scan = { .total = total, .g_unit = hist->g_unit, .h_unit = hist->h_unit, .l1 = options->l1, .l2 = options->l2,
		.per_h = (double)leaf->count / mmq_packed_h(total), .is_bounded = options->monotone_count > 0, .low = leaf->low, .high = leaf->high };
	mmq_scan_limit(&scan, options->min_data, options->min_hessian);
	return scan;
}

double
mmq_split_value(const struct mmq_tree_options *options, const struct mmq_hist *hist, int64_t sum, const struct mmq_leaf *leaf)
{
	struct mmq_scan scan = scan_of(options, hist, sum, leaf);
	scan.l2 = leaf->l2;
	return mmq_scan_value(&scan, mmq_packed_g(sum) * hist->g_unit, mmq_packed_h(sum) * hist->h_unit);
}

void
mmq_split_search(const struct mmq_split_rules *rules, const struct mmq_hist *hist, const int64_t *sums, int64_t total,
    const struct mmq_leaf *leaf, struct mmq_split *best)
{
	const struct mmq_tree_options *options = rules->options;
	size_t chunks_count = (hist->bins->columns_count + CHUNK - 1) / CHUNK;
	struct chunks chunks = { .sums = sums, .search = { .rules = rules, .hist = hist, .node = leaf->node, .rows = (double)leaf->count } };

	*best = (struct mmq_split){ 0 };
	if (mmq_packed_h(total) == 0 || leaf->count < 2 * (size_t)options->min_data || chunks_count == 0)
		return;
	chunks.search.scan = scan_of(options, hist, total, leaf);
	double parent = mmq_scan_parent(&chunks.search.scan);
	/* The small part keeps rounding from looking like a gain where every value is the same. */
	double least = chunks.search.best = parent + fabs(parent) * 1e-10 + options->min_gain, top = least;
	chunks.best = mmq_array(chunks_count, sizeof(*chunks.best));
	chunks.gain = mmq_array(chunks_count, sizeof(*chunks.gain));
	mmq_pool_run(hist->size >= SHARED_FROM ? hist->pool : NULL, chunks_count, search_chunk, &chunks);
	for (size_t k = 0; k < chunks_count; k++) {
		if (chunks.gain[k] > top) {
			top = chunks.gain[k];
			*best = chunks.best[k];
			best->gain = top - least;
		}
	}
	free(chunks.best);
	free(chunks.gain);
}
