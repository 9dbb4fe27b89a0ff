/* cart_split.c: the best split of a node of a forest (Breiman et al. 1984; Breiman 2001 for the random features).
 *
 * A feature's histogram touches only the bins that the node's rows are in; a bitmap remembers which, so that small nodes cost
 * what their rows cost. The best split maximises the sum over both sides of  S(side):
 *   gini: sum of squared class amounts / amount;  entropy: sum a ln a - A ln A;  mse: moment^2 / amount.
 * A split that gains nothing is still taken, as long as the node is impure: the gain may come one level later (exclusive or). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/cart.h"
#include "math/rng.h"

/* The two sides of a split while bins move from right to left. */
struct sides {
	int64_t *left, *right;        /* (channels) */
	double left_part, right_part; /* gini: sums of squares; entropy: sums of a ln a */
	int64_t left_amount, right_amount;
	uint32_t left_rows, right_rows;
};

static inline double
x_log_x(double x)
{
	return x > 0 ? x * log(x) : 0;
}

static void
sides_start(const struct mmq_cart *cart, struct sides *sides, uint32_t count)
{
	const struct mmq_cart_data *data = cart->data;
	*sides = (struct sides){ .left = cart->left, .right = cart->right, .right_rows = count };
	memset(sides->left, 0, data->channels * sizeof(int64_t));
	memcpy(sides->right, cart->total, data->channels * sizeof(int64_t));
	if (data->is_regression) {
		sides->right_amount = cart->total[0];
		return;
	}
	for (uint32_t c = 0; c < data->channels; c++) {
		double amount = (double)cart->total[c];
		sides->right_amount += cart->total[c];
		sides->right_part += data->options->criterion == MMQ_TREE_GINI ? amount * amount : x_log_x(amount);
	}
}

static void
sides_move(const struct mmq_cart *cart, struct sides *sides, uint32_t b)
{
	const struct mmq_cart_data *data = cart->data;
	const int64_t *from = cart->bin + (size_t)b * data->channels;
	sides->left_rows += cart->bin_rows[b];
	sides->right_rows -= cart->bin_rows[b];
	if (data->is_regression) {
		sides->left_amount += from[0];
		sides->right_amount -= from[0];
		sides->left[1] += from[1];
		sides->right[1] -= from[1];
		return;
	}
	for (uint32_t c = 0; c < data->channels; c++) {
		int64_t d = from[c];
		if (d == 0)
			continue;
		double l = (double)sides->left[c], r = (double)sides->right[c], l_new = (double)(sides->left[c] + d), r_new = (double)(sides->right[c] - d);
		if (data->options->criterion == MMQ_TREE_GINI) {
			sides->left_part += l_new * l_new - l * l;
			sides->right_part += r_new * r_new - r * r;
		} else {
			sides->left_part += x_log_x(l_new) - x_log_x(l);
			sides->right_part += x_log_x(r_new) - x_log_x(r);
		}
		sides->left[c] += d;
		sides->right[c] -= d;
		sides->left_amount += d;
		sides->right_amount -= d;
	}
}

static inline double
side_score(const struct mmq_cart_data *data, int64_t moment, double part, double amount)
{
	if (amount <= 0)
		return 0;
	return data->is_regression ? (double)moment * (double)moment / amount : data->options->criterion == MMQ_TREE_GINI ? part / amount :
	    part - x_log_x(amount);
}

static double
sides_score(const struct mmq_cart_data *data, const struct sides *sides)
{
	return side_score(data, sides->left[1], sides->left_part, (double)sides->left_amount) +
	    side_score(data, sides->right[1], sides->right_part, (double)sides->right_amount);
}

/* Is the present division the best so far, with leaves large enough? Then its score is in *best. */
static bool
is_best(const struct mmq_cart *cart, const struct sides *sides, struct mmq_cart_split *best)
{
	uint32_t least = cart->data->options->min_data;
	if (sides->left_rows < least || sides->right_rows < least || sides->left_amount <= 0 || sides->right_amount <= 0)
		return false;
	double score = sides_score(cart->data, sides);
	if (best->found && !(score > best->score))
		return false;
	*best = (struct mmq_cart_split){ .found = true, .score = score };
	return true;
}

/* Put rows into bins; returns how many bins are touched. */
static uint32_t
fill_bins(struct mmq_cart *cart, uint32_t column, const uint32_t *index, uint32_t count)
{
	const struct mmq_cart_data *data = cart->data;
	const uint8_t *bytes = data->bins->by_column + (size_t)column * data->bins->rows;
	uint32_t touched = 0;
	memset(cart->touched, 0, sizeof(cart->touched));
	for (uint32_t i = 0; i < count; i++) {
		uint32_t r = index[i], b = bytes[r];
		int64_t *to = cart->bin + (size_t)b * data->channels;
		cart->bin_rows[b]++;
		cart->touched[b / 64] |= (uint64_t)1 << b % 64;
		if (data->is_regression) {
			to[0] += cart->weight[r];
			to[1] += cart->moment[r];
		} else {
			to[(uint32_t)data->y[r]] += cart->weight[r];
		}
	}
	for (size_t w = 0; w < MMQ_TREE_BINS_MAX / 64; w++)
		touched += (uint32_t)__builtin_popcountll(cart->touched[w]);
	return touched;
}

/* The touched bins, ascending. */
static uint32_t
list_touched(const struct mmq_cart *cart, uint16_t *list)
{
	uint32_t n = 0;
	for (uint32_t w = 0; w < MMQ_TREE_BINS_MAX / 64; w++)
		for (uint64_t bits = cart->touched[w]; bits != 0; bits &= bits - 1)
			list[n++] = (uint16_t)(w * 64 + (uint32_t)__builtin_ctzll(bits));
	return n;
}

static void
clear_bins(struct mmq_cart *cart, const uint16_t *list, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++) {
		memset(cart->bin + (size_t)list[k] * cart->data->channels, 0, cart->data->channels * sizeof(int64_t));
		cart->bin_rows[list[k]] = 0;
	}
}

static void
search_numeric(struct mmq_cart *cart, uint32_t c, const uint16_t *list, uint32_t n, uint32_t count, struct mmq_cart_split *best)
{
	uint32_t missing = cart->data->bins->columns[c].bins;
	bool has_missing = list[n - 1] == missing;
	uint32_t values = has_missing ? n - 1 : n;
	for (int with_less = 0; with_less < (has_missing ? 2 : 1); with_less++) {
		struct sides sides;
		sides_start(cart, &sides, count);
		if (with_less)
			sides_move(cart, &sides, missing);
		for (uint32_t k = 0; k < values; k++) {
			sides_move(cart, &sides, list[k]);
			if (k + 1 == values && (with_less || !has_missing))
				break;
			if (!is_best(cart, &sides, best))
				continue;
			bool less_second = has_missing ? with_less : sides.left_rows >= sides.right_rows;
			best->column = c;
			best->kind = less_second ? MMQ_NODE_LESS_SECOND : MMQ_NODE_LESS_FIRST;
			best->bin = (uint8_t)(k + 1 < values ? (list[k] + list[k + 1] - 1) / 2 : (int)missing - 1);
			best->first_count = less_second ? sides.right_rows : sides.left_rows;
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

/* Categories in the order of their mean, or of the share of one class: the last of two, the node's largest of more. */
static void
search_category(struct mmq_cart *cart, uint32_t c, const uint16_t *list, uint32_t n, uint32_t count, struct mmq_cart_split *best)
{
	const struct mmq_cart_data *data = cart->data;
	struct ranked ranked[MMQ_TREE_BINS_MAX];
	struct sides sides;
	uint32_t known = 0, channel = 1;
	for (uint32_t k = 0; k < data->channels && data->channels > 2; k++)
		if (cart->total[k] > cart->total[channel])
			channel = k;
	for (uint32_t k = 0; k < n; k++) {
		const int64_t *bin = cart->bin + (size_t)list[k] * data->channels;
		double amount = 0;
		if (list[k] == data->bins->columns[c].bins)
			continue;  /* rare codes stay with the unseen ones, on the second side */
		for (uint32_t j = 0; j < (data->is_regression ? 1 : data->channels); j++)
			amount += (double)bin[j];
		ranked[known++] = (struct ranked){ amount > 0 ? (double)bin[channel] / amount : 0, list[k] };
	}
	qsort(ranked, known, sizeof(ranked[0]), compare_ranked);
	sides_start(cart, &sides, count);
	for (uint32_t k = 0; k < known && sides.right_rows > 0; k++) {
		sides_move(cart, &sides, ranked[k].bin);
		if (!is_best(cart, &sides, best))
			continue;
		best->column = c;
		best->kind = MMQ_NODE_CATEGORY;
		best->first_count = sides.left_rows;
		for (uint32_t j = 0; j <= k; j++)
			best->set.has[ranked[j].bin / 8] |= (uint8_t)(1u << ranked[j].bin % 8);
	}
}

static double
node_score(const struct mmq_cart *cart, uint32_t count)
{
	struct sides sides;
	sides_start(cart, &sides, count);
	return sides_score(cart->data, &sides);
}

void
mmq_cart_search(struct mmq_cart *cart, const uint32_t *index, uint32_t count, uint64_t node_key, struct mmq_cart_split *best)
{
	const struct mmq_cart_data *data = cart->data;
	struct mmq_rng rng = { node_key };
	uint32_t left = data->bins->columns_count, tried = 0;
	uint16_t list[MMQ_TREE_BINS_MAX];

	*best = (struct mmq_cart_split){ 0 };
	/* Always in a random order, so that equal scores, which small nodes have in plenty, do not all go to the columns at one end.
	 * Features that are constant here do not count as tried. Both as in scikit-learn. */
	while (left > 0 && (tried < data->features_tried || !best->found)) {
		uint32_t k = (uint32_t)mmq_rng_below(&rng, left);
		uint32_t column = cart->columns[k];
		cart->columns[k] = cart->columns[--left];
		cart->columns[left] = column;
		bool is_varied = fill_bins(cart, column, index, count) > 1;
		uint32_t n = list_touched(cart, list);
		if (is_varied && data->bins->columns[column].is_category)
			search_category(cart, column, list, n, count, best);
		else if (is_varied)
			search_numeric(cart, column, list, n, count, best);
		clear_bins(cart, list, n);
		tried += is_varied;
	}
	if (best->found)
		best->gain = fmax(0, best->score - node_score(cart, count));
}
