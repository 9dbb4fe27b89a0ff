/* cart_hist.c: the best split of a large node of two classes, from its packed histogram.
 *
 * With P of N amounts in class 1, Gini's sum of squares over amount is N - 2P + 2 P^2 / N: the split that boosting's search finds for
 * gradient P and hessian N is the one that Gini asks for, and that search takes four places at a time. All is in whole numbers. */
#include <math.h>

#include "engine/tree/cart.h"
#include "engine/tree/scan.h"

/* Sum of squares over amount of both sides, from the sum of P^2 / N of both. */
static double
score_of(const struct mmq_scan *scan, double sum)
{
	return mmq_packed_h(scan->total) - 2 * mmq_packed_g(scan->total) + 2 * sum;
}

static double
sum_of(const struct mmq_scan *scan, double score)
{
	return (score - mmq_packed_h(scan->total) + 2 * mmq_packed_g(scan->total)) / 2;
}

static void
search_numeric(const struct mmq_scan *scan, const struct mmq_tree_column *column, uint32_t c, const int64_t *bin, struct mmq_cart_split *best)
{
	int64_t missing = column->has_missing ? bin[column->bins] : 0, sums[MMQ_TREE_BINS_MAX + 8];
	uint32_t n = mmq_scan_prefix(bin, column->bins, sums), at = 0;
	double top = best->found ? sum_of(scan, best->score) : -1;
	for (int with_less = 0; with_less < (missing != 0 ? 2 : 1); with_less++) {
		if (!mmq_scan_best(scan, sums, n, with_less ? missing : 0, &top, &at))
			continue;
		bool less_second = missing != 0 ? with_less : 2 * mmq_packed_h(sums[at]) >= mmq_packed_h(scan->total);
		uint32_t b, a = mmq_scan_place(bin, column->bins, at, &b);
		*best = (struct mmq_cart_split){ .found = true, .score = score_of(scan, top), .column = c,
			.kind = less_second ? MMQ_NODE_LESS_SECOND : MMQ_NODE_LESS_FIRST,
			.bin = (uint16_t)(b - 1), .threshold = mmq_cart_middle(column, a, b) };
	}
}

/* A category column goes through the bins of the plain search. */
static void
search_category(struct mmq_cart *cart, uint32_t c, const int64_t *bin, uint32_t count, struct mmq_cart_split *best)
{
	uint32_t n = 0;
	for (uint32_t b = 0; b <= cart->data->bins->columns[c].bins; b++) {
		if (bin[b] == 0)
			continue;
		cart->list[n++] = b;
		cart->bin[2 * b + 1] = (int64_t)mmq_packed_g(bin[b]);
		cart->bin[2 * b] = (int64_t)mmq_packed_h(bin[b]) - cart->bin[2 * b + 1];
		cart->bin_rows[b] = (uint32_t)mmq_packed_h(bin[b]);
	}
	if (n > 1)
		mmq_cart_search_category(cart, c, cart->list, n, count, best);
	for (uint32_t k = 0; k < n; k++) {
		cart->bin[2 * cart->list[k]] = cart->bin[2 * cart->list[k] + 1] = 0;
		cart->bin_rows[cart->list[k]] = 0;
	}
}

void
mmq_cart_search_hist(struct mmq_cart *cart, const struct mmq_cart_tree *tree, const int64_t *hist, uint32_t count, uint64_t node_key,
    struct mmq_cart_split *best)
{
	const struct mmq_tree_bins *bins = tree->data->bins;
	int64_t amount = cart->total[0] + cart->total[1];
	struct mmq_scan scan = { .total = (int64_t)((uint64_t)cart->total[1] << 32) + amount, .g_unit = 1, .h_unit = 1, .per_h = 1, .steps_per_gain = 1,
		.side_min = tree->data->options->min_data };
	struct mmq_rng order = { node_key };

	*best = (struct mmq_cart_split){ 0 };
	for (uint32_t drawn = 0; drawn < bins->columns_count; drawn++) {
		uint32_t c = mmq_cart_draw_column(cart, &order, drawn);
		if (bins->columns[c].is_category)
			search_category(cart, c, hist + bins->offset[c], (uint32_t)amount, best);
		else
			search_numeric(&scan, &bins->columns[c], c, hist + bins->offset[c], best);
	}
	mmq_cart_undraw_columns(cart, bins->columns_count);
	if (best->found)
		best->gain = fmax(0, best->score - mmq_cart_node_score(cart, count));
}
