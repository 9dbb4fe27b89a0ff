/* cart_node.c: one node of a forest's tree: its sums, its value as a leaf, its rows divided among two children. */
#include <stdlib.h>
#include <string.h>

#include "engine/tree/cart.h"
#include "math/rng.h"
#include "util/mem.h"

/* Channel sums of a node into cart->total; returns true when all its targets are equal. */
static bool
sum_node(struct mmq_cart *cart, const struct mmq_cart_tree *tree, const uint32_t *index, uint32_t count)
{
	const struct mmq_cart_data *data = cart->data;
	bool is_pure = true;
	memset(cart->total, 0, data->channels * sizeof(int64_t));
	for (uint32_t i = 0; i < count; i++) {
		uint32_t r = index[i];
		is_pure = is_pure && data->y[r] == data->y[index[0]];
		if (data->is_regression) {
			cart->total[0] += tree->weight[r];
			cart->total[1] += tree->moment[r];
		} else {
			cart->total[(uint32_t)data->y[r]] += tree->weight[r];
		}
	}
	return is_pure;
}

static double
node_amount(const struct mmq_cart *cart)
{
	int64_t amount = cart->total[0];
	for (uint32_t c = 1; c < cart->data->channels && !cart->data->is_regression; c++)
		amount += cart->total[c];
	return (double)amount;
}

static void
value_of(const struct mmq_cart *cart, double *out)
{
	const struct mmq_cart_data *data = cart->data;
	double amount = node_amount(cart);
	if (data->width == 1)
		out[0] = data->is_regression ? data->centre + (double)cart->total[1] * data->moment_unit / (amount * data->weight_unit) :
		    (double)cart->total[1] / amount;
	for (uint32_t c = 0; c < data->width && data->width > 1; c++)
		out[c] = (double)cart->total[c] / amount;
}

void
mmq_cart_value(struct mmq_cart *cart, const struct mmq_cart_tree *tree, const struct mmq_cart_node *node, double *value_out)
{
	sum_node(cart, tree, tree->index + node->begin, node->count);
	value_of(cart, value_out);
}

static bool
may_split(const struct mmq_cart_tree *tree, const struct mmq_cart_node *node)
{
	return node->depth < tree->data->options->depth_max && node->count >= 2 * (uint64_t)tree->data->options->min_data;
}

int64_t *
mmq_cart_build_hist(const struct mmq_cart_tree *tree, const struct mmq_cart_node *node, struct mmq_pool *pool)
{
	int64_t *out = mmq_aligned(tree->hist.size * sizeof(*out) + 8), total = 0;
	struct mmq_hist hist = tree->hist;
	hist.pool = pool;
	for (uint32_t i = node->begin; i < node->begin + node->count && hist.bins->other != NULL; i++)
		total += hist.row[tree->index[i]];
	mmq_hist_build(&hist, tree->index + node->begin, node->count, total, out);
	return out;
}

void
mmq_cart_examine(struct mmq_cart *cart, struct mmq_cart_tree *tree, struct mmq_cart_node *node, double *value_out)
{
	const uint32_t *index = tree->index + node->begin;
	bool is_pure = sum_node(cart, tree, index, node->count);

	tree->grown->nodes[node->node].cover = (float)(node_amount(cart) * cart->data->weight_unit);
	value_of(cart, value_out);
	node->split.found = false;
	if (!is_pure && may_split(tree, node) && node->hist != NULL)
		mmq_cart_search_hist(cart, tree, node->hist, node->count, node->key, &node->split);
	else if (!is_pure && may_split(tree, node))
		mmq_cart_search(cart, tree, index, node->count, node->key, &node->split);
	if (!node->split.found) {
		free(node->hist);
		node->hist = NULL;
	}
}

/* The smaller child's histogram is built from its rows, the larger one's is what is left of the parent's. */
static void
share_hist(struct mmq_cart_tree *tree, struct mmq_cart_node *parent, struct mmq_cart_node *children, struct mmq_pool *pool)
{
	struct mmq_cart_node *small = &children[children[0].count > children[1].count], *large = small == children ? children + 1 : children;
	bool wants_large = large->count >= tree->hist_rows_min && may_split(tree, large);
	if (parent->hist == NULL)
		return;
	if (!wants_large) {
		free(parent->hist);
		parent->hist = NULL;
		return;
	}
	small->hist = mmq_cart_build_hist(tree, small, pool);
	mmq_hist_subtract(parent->hist, small->hist, tree->hist.size);
	large->hist = parent->hist;
	parent->hist = NULL;
}

/* Rows of two-byte bins; a numeric node compares, a category's set is looked up. Stable. Returns how many go to the first child. */
static uint32_t
divide_wide(const struct mmq_tree_bins *bins, const struct mmq_cart_split *split, uint32_t *index, uint32_t count, uint32_t *temp)
{
	const uint16_t *column = bins->wide + (size_t)split->column * bins->rows;
	uint32_t missing = bins->columns[split->column].bins, a = 0, b = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t r = index[i], bin = column[r];
		bool goes_first = split->kind == MMQ_NODE_CATEGORY ? (split->set.has[bin / 8] >> bin % 8 & 1) != 0 :
		    split->kind == MMQ_NODE_LESS_FIRST ? bin <= split->bin : bin > split->bin && bin != missing;
		index[a] = r;
		temp[b] = r;
		a += goes_first;
		b += !goes_first;
	}
	memcpy(index + a, temp, b * sizeof(*index));
	return a;
}

void
mmq_cart_divide(struct mmq_cart *cart, struct mmq_cart_tree *tree, struct mmq_cart_node *parent, struct mmq_cart_node children[2],
    double *values_out, struct mmq_pool *pool)
{
	const struct mmq_tree_bins *bins = cart->data->bins;
	uint32_t *index = tree->index + parent->begin, *temp = tree->temp + parent->begin, count;

	if (bins->wide != NULL) {
		count = divide_wide(bins, &parent->split, index, parent->count, temp);
	} else {
		uint8_t first[MMQ_TREE_BINS_MAX];
		mmq_grown_routes(tree->grown, &tree->grown->nodes[parent->node], bins, first);
		count = (uint32_t)mmq_tree_partition(bins->by_column + (size_t)parent->split.column * bins->rows, first, index, parent->count, temp, pool);
	}
	for (int side = 0; side < 2; side++) {
		children[side].begin = parent->begin + (side == 0 ? 0 : count);
		children[side].count = side == 0 ? count : parent->count - count;
		children[side].depth = parent->depth + 1;
		children[side].key = mmq_mix64(parent->key + 1 + (uint64_t)side);
		children[side].hist = NULL;
	}
	share_hist(tree, parent, children, pool);
	for (int side = 0; side < 2; side++)
		mmq_cart_examine(cart, tree, &children[side], values_out + (size_t)side * cart->data->width);
}
