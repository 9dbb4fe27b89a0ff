/* cart_split.c: the best split of a node of a forest (Breiman et al. 1984; Breiman 2001 for the random features).
 *
 * A feature's histogram touches only the bins that the node's rows are in; a bitmap of two levels remembers which, so that small nodes
 * cost what their rows cost, however many bins there are. With extra_trees (Geurts, Ernst, Wehenkel 2006) one random cut of a feature, or
 * one random set of its categories, is looked at. The best split maximises the sum over both sides of  S(side):
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

/* The amounts and classes of the node's rows, side by side: each tried feature reads them again. */
static void
gather_rows(struct mmq_cart *cart, const struct mmq_cart_tree *tree, const uint32_t *index, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t r = index[i];
		cart->weight[i] = tree->weight[r];
		if (cart->moment != NULL)
			cart->moment[i] = tree->moment[r];
		else
			cart->label[i] = (uint32_t)cart->data->y[r];
	}
}

static inline void
add_row(struct mmq_cart *cart, uint32_t i, uint32_t b)
{
	int64_t *to = cart->bin + (size_t)b * cart->data->channels;
	cart->bin_rows[b]++;
	cart->touched[b / 64] |= (uint64_t)1 << b % 64;
	if (cart->moment != NULL) {
		to[0] += cart->weight[i];
		to[1] += cart->moment[i];
	} else {
		to[cart->label[i]] += cart->weight[i];
	}
}

/* Put rows into bins and list those that are touched, ascending; returns how many. */
static uint32_t
fill_bins(struct mmq_cart *cart, uint32_t column, const uint32_t *index, uint32_t count)
{
	const struct mmq_tree_bins *bins = cart->data->bins;
	const uint8_t *bytes = bins->wide == NULL ? bins->by_column + (size_t)column * bins->rows : NULL;
	const uint16_t *wide = bins->wide != NULL ? bins->wide + (size_t)column * bins->rows : NULL;
	uint32_t n = 0;
	for (uint32_t i = 0; i < count && wide == NULL; i++)
		add_row(cart, i, bytes[index[i]]);
	for (uint32_t i = 0; i < count && wide != NULL; i++) {
		uint32_t b = wide[index[i]];
		add_row(cart, i, b);
		cart->touched_words[b / 4096] |= (uint64_t)1 << b / 64 % 64;
	}
	if (wide == NULL)
		cart->touched_words[0] = 15;
	for (uint32_t top = 0; top < cart->words; top++) {
		for (uint64_t words = cart->touched_words[top]; words != 0; words &= words - 1) {
			uint32_t w = top * 64 + (uint32_t)__builtin_ctzll(words);
			for (uint64_t bits = cart->touched[w]; bits != 0; bits &= bits - 1)
				cart->list[n++] = w * 64 + (uint32_t)__builtin_ctzll(bits);
			cart->touched[w] = 0;
		}
		cart->touched_words[top] = 0;
	}
	return n;
}

static void
clear_bins(struct mmq_cart *cart, uint32_t n)
{
	size_t channels = cart->data->channels;
	for (uint32_t k = 0; k < n; k++) {
		memset(cart->bin + cart->list[k] * channels, 0, channels * sizeof(int64_t));
		cart->bin_rows[cart->list[k]] = 0;
	}
}

float
mmq_cart_middle(const struct mmq_tree_column *column, uint32_t a, uint32_t b)
{
	if (b >= column->bins)
		return column->upper[column->bins - 1];  /* missing values alone are on the other side */
	float middle = (float)((double)column->low[a] + ((double)column->low[b] - (double)column->low[a]) / 2);
	return fminf(fmaxf(middle, column->upper[a]), column->upper[b - 1]);
}

/* A random cut between the least and the largest value of the node, uniform as in the paper where the range is finite: how many of the
 * listed bins lie below it, 1..n-1, and the cut itself. A bin is taken for its least value, which is all it holds where splits are exact. */
static uint32_t
random_cut(const struct mmq_tree_column *column, const uint32_t *list, uint32_t n, bool is_exact, struct mmq_rng *rng, float *cut_out)
{
	float low = column->low[list[0]], range = column->low[list[n - 1]] - low;
	double u = mmq_rng_uniform(rng);
	if (!isfinite(range)) {
		uint32_t below = 1 + (uint32_t)(u * (n - 1));
		*cut_out = mmq_cart_middle(column, list[below - 1], list[below]);
		return below;
	}
	float cut = low + (float)u * range;
	uint32_t below = 1;
	while (below + 1 < n && column->low[list[below]] <= cut)
		below++;
	uint32_t a = list[below - 1], b = list[below];
	if (!is_exact || !(cut < column->low[b]))
		cut = fminf(fmaxf(cut, column->upper[a]), column->upper[b - 1]);
	*cut_out = cut;
	return below;
}

static void
search_numeric(struct mmq_cart *cart, uint32_t c, uint32_t n, uint32_t count, struct mmq_rng *rng, struct mmq_cart_split *best)
{
	const struct mmq_tree_column *column = &cart->data->bins->columns[c];
	const uint32_t *list = cart->list;
	uint32_t missing = column->bins, from = 0;
	float cut = 0;
	bool has_missing = list[n - 1] == missing, is_random = cart->data->options->extra_trees;
	uint32_t values = has_missing ? n - 1 : n;
	if (is_random && values > 1)
		from = random_cut(column, list, values, cart->data->options->exact, rng, &cut) - 1;
	for (int with_less = 0; with_less < (has_missing ? 2 : 1); with_less++) {
		struct sides sides;
		sides_start(cart, &sides, count);
		if (with_less)
			sides_move(cart, &sides, missing);
		for (uint32_t k = 0; k < values; k++) {
			sides_move(cart, &sides, list[k]);
			if (k + 1 == values && (with_less || !has_missing))
				break;
			if ((is_random && k != from) || !is_best(cart, &sides, best))
				continue;
			bool less_second = has_missing ? with_less : sides.left_rows >= sides.right_rows;
			best->column = c;
			best->kind = less_second ? MMQ_NODE_LESS_SECOND : MMQ_NODE_LESS_FIRST;
			uint32_t next = k + 1 < values ? list[k + 1] : missing;
			best->bin = (uint16_t)(next - 1);
			best->threshold = is_random && k + 1 < values ? cut : mmq_cart_middle(column, list[k], next);
		}
	}
}

struct ranked { double share; uint32_t bin; };

static int
compare_ranked(const void *a_p, const void *b_p)
{
	const struct ranked *a = a_p, *b = b_p;
	return a->share != b->share ? (a->share < b->share ? -1 : 1) : a->bin < b->bin ? -1 : 1;
}

/* Of more than two classes: categories in the order of their share of the node's largest class. */
static void
rank_bins(const struct mmq_cart *cart, uint32_t *list, uint32_t n)
{
	struct ranked ranked[MMQ_TREE_BINS_MAX];
	uint32_t channels = cart->data->channels, largest = 0;
	for (uint32_t k = 1; k < channels; k++)
		if (cart->total[k] > cart->total[largest])
			largest = k;
	for (uint32_t k = 0; k < n; k++) {
		const int64_t *bin = cart->bin + (size_t)list[k] * channels;
		double amount = 0;
		for (uint32_t j = 0; j < channels; j++)
			amount += (double)bin[j];
		ranked[k] = (struct ranked){ amount > 0 ? (double)bin[largest] / amount : 0, list[k] };
	}
	qsort(ranked, n, sizeof(ranked[0]), compare_ranked);
	for (uint32_t k = 0; k < n; k++)
		list[k] = ranked[k].bin;
}

/* Bins are in the order of categories.c: where they are cut, all before it are the set, those too that the node has not. Rare codes, the bin
 * after the last, stay with the unseen ones, on the second side. */
void
mmq_cart_search_category(struct mmq_cart *cart, uint32_t c, uint32_t *list, uint32_t n, uint32_t count, struct mmq_cart_split *best)
{
	bool is_many = !cart->data->is_regression && cart->data->channels > 2;
	uint32_t known = list[n - 1] == cart->data->bins->columns[c].bins ? n - 1 : n, at = UINT32_MAX;
	struct sides sides;
	if (is_many)
		rank_bins(cart, list, known);
	sides_start(cart, &sides, count);
	for (uint32_t k = 0; k < known && sides.right_rows > 0; k++) {
		sides_move(cart, &sides, list[k]);
		if (is_best(cart, &sides, best))
			at = k;
	}
	if (at == UINT32_MAX)
		return;
	best->column = c;
	best->kind = MMQ_NODE_CATEGORY;
	for (uint32_t b = 0; b <= (is_many ? at : list[at]); b++) {
		uint32_t bin = is_many ? list[b] : b;
		best->set.has[bin / 8] |= (uint8_t)(1u << bin % 8);
	}
}

/* extra_trees: a random set of the column's categories, of which the node has some and does not have all; those that it has not are drawn, too. */
static void
search_random_set(struct mmq_cart *cart, uint32_t c, uint32_t n, uint32_t count, struct mmq_rng *rng, struct mmq_cart_split *best)
{
	uint32_t bins = cart->data->bins->columns[c].bins, inside = 0;
	struct mmq_bin_set set;
	while (inside == 0 || inside == n) {
		set = (struct mmq_bin_set){ 0 };
		for (uint32_t b = 0; b < bins; b++)
			set.has[b / 8] |= (uint8_t)((mmq_rng_next(rng) >> 63) << b % 8);
		inside = 0;
		for (uint32_t k = 0; k < n; k++)  /* rare codes, the bin after the last, are in no set */
			inside += set.has[cart->list[k] / 8] >> cart->list[k] % 8 & 1;
	}
	struct sides sides;
	sides_start(cart, &sides, count);
	for (uint32_t k = 0; k < n; k++)
		if ((set.has[cart->list[k] / 8] >> cart->list[k] % 8 & 1) != 0)
			sides_move(cart, &sides, cart->list[k]);
	if (!is_best(cart, &sides, best))
		return;
	best->column = c;
	best->kind = MMQ_NODE_CATEGORY;
	best->set = set;
}

double
mmq_cart_node_score(const struct mmq_cart *cart, uint32_t count)
{
	struct sides sides;
	sides_start(cart, &sides, count);
	return sides_score(cart->data, &sides);
}

uint32_t
mmq_cart_draw_column(struct mmq_cart *cart, struct mmq_rng *rng, uint32_t drawn)
{
	uint32_t k = drawn + (uint32_t)mmq_rng_below(rng, cart->data->bins->columns_count - drawn), column = cart->columns[k];
	cart->columns[k] = cart->columns[drawn];
	cart->columns[drawn] = column;
	cart->picks[drawn] = k;
	return column;
}

void
mmq_cart_undraw_columns(struct mmq_cart *cart, uint32_t drawn)
{
	while (drawn-- > 0) {
		uint32_t k = cart->picks[drawn], column = cart->columns[k];
		cart->columns[k] = cart->columns[drawn];
		cart->columns[drawn] = column;
	}
}

void
mmq_cart_search(struct mmq_cart *cart, const struct mmq_cart_tree *tree, const uint32_t *index, uint32_t count, uint64_t node_key,
    struct mmq_cart_split *best)
{
	const struct mmq_cart_data *data = cart->data;
	struct mmq_rng order = { node_key };
	uint32_t columns = data->bins->columns_count, drawn = 0;

	*best = (struct mmq_cart_split){ 0 };
	gather_rows(cart, tree, index, count);
	/* Always in a random order, so that equal scores, which small nodes have in plenty, do not all go to the columns at one end.
	 * Features that are constant here count as tried, but the search goes on until one splits. Both as in scikit-learn: were they not counted, trees
	 * on sparse columns would try nearly all that split, and be too much alike. */
	for (; drawn < columns && (drawn < data->features_tried || !best->found); drawn++) {
		uint32_t column = mmq_cart_draw_column(cart, &order, drawn), n = fill_bins(cart, column, index, count);
		struct mmq_rng cuts = mmq_rng_stream(node_key, 1, column);
		if (n > 1 && data->bins->columns[column].is_category && data->options->extra_trees)
			search_random_set(cart, column, n, count, &cuts, best);
		else if (n > 1 && data->bins->columns[column].is_category)
			mmq_cart_search_category(cart, column, cart->list, n, count, best);
		else if (n > 1)
			search_numeric(cart, column, n, count, &cuts, best);
		clear_bins(cart, n);
	}
	mmq_cart_undraw_columns(cart, drawn);
	if (best->found)
		best->gain = fmax(0, best->score - mmq_cart_node_score(cart, count));
}
