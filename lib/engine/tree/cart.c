/* cart.c: growing one tree of a forest: depth first, or best first when the number of leaves is limited. */
#include "engine/tree/cart.h"

#include <stdlib.h>
#include <string.h>

#include "math/rng.h"
#include "util/mem.h"

struct open_node {
	uint32_t node, begin, count, depth;
	struct mmq_cart_split split;
};
struct frontier {
	struct open_node *open;
	size_t count, capacity;
	uint32_t leaves;
	uint32_t *pure_row;       /* (classes): row of values of a leaf with one class only; UINT32_MAX: not made yet */
};

void
mmq_cart_init(struct mmq_cart *cart, const struct mmq_cart_data *data)
{
	size_t rows = data->bins->rows;
	*cart = (struct mmq_cart){ .data = data };
	cart->index = mmq_array(rows, sizeof(uint32_t));
	cart->temp = mmq_array(rows, sizeof(uint32_t));
	cart->weight = mmq_array(rows, sizeof(int64_t));
	cart->moment = data->is_regression ? mmq_array(rows, sizeof(int64_t)) : NULL;
	cart->columns = mmq_array((size_t)data->bins->columns_count + 1, sizeof(uint32_t));
	cart->bin = mmq_array((size_t)MMQ_TREE_BINS_MAX * data->channels, sizeof(int64_t));
	cart->left = mmq_array(data->channels, sizeof(int64_t));
	cart->right = mmq_array(data->channels, sizeof(int64_t));
	cart->total = mmq_array(data->channels, sizeof(int64_t));
}

void
mmq_cart_fini(struct mmq_cart *cart)
{
	free(cart->index);
	free(cart->temp);
	free(cart->weight);
	free(cart->moment);
	free(cart->columns);
	free(cart->bin);
	free(cart->left);
	free(cart->right);
	free(cart->total);
}

/* This tree's rows and their amounts; returns how many rows it has. */
static uint32_t
draw_rows(struct mmq_cart *cart, uint64_t tree_number)
{
	const struct mmq_cart_data *data = cart->data;
	size_t rows = data->bins->rows;
	uint32_t count = 0;
	struct mmq_rng rng = mmq_rng_stream(data->options->seed + 3, tree_number, 0);
	memset(cart->temp, 0, rows * sizeof(uint32_t));
	for (size_t k = 0; k < rows; k++)
		cart->temp[data->options->bootstrap ? mmq_rng_below(&rng, rows) : k]++;
	for (size_t r = 0; r < rows; r++) {
		if (cart->temp[r] == 0)
			continue;
		cart->weight[r] = data->weight[r] * cart->temp[r];
		if (data->is_regression)
			cart->moment[r] = data->moment[r] * cart->temp[r];
		cart->index[count++] = (uint32_t)r;
	}
	return count;
}

/* Channel sums of a node into cart->total; returns true when all its targets are equal. */
static bool
sum_node(struct mmq_cart *cart, const uint32_t *index, uint32_t count)
{
	const struct mmq_cart_data *data = cart->data;
	bool is_pure = true;
	memset(cart->total, 0, data->channels * sizeof(int64_t));
	for (uint32_t i = 0; i < count; i++) {
		uint32_t r = index[i];
		is_pure = is_pure && data->y[r] == data->y[index[0]];
		if (data->is_regression) {
			cart->total[0] += cart->weight[r];
			cart->total[1] += cart->moment[r];
		} else {
			cart->total[(uint32_t)data->y[r]] += cart->weight[r];
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

/* The leaf's row of values from cart->total. Leaves of one class share a row. */
static uint32_t
leaf_value(const struct mmq_cart *cart, struct mmq_grown *tree, struct frontier *frontier)
{
	const struct mmq_cart_data *data = cart->data;
	double amount = node_amount(cart), value;
	uint32_t only = UINT32_MAX;
	if (data->width == 1) {
		value = data->is_regression ? data->centre + (double)cart->total[1] * data->moment_unit / (amount * data->weight_unit) :
		    (double)cart->total[1] / amount;
		return mmq_grown_value(tree, &value, 1);
	}
	for (uint32_t c = 0; c < data->width; c++)
		if ((double)cart->total[c] == amount)
			only = c;
	if (only != UINT32_MAX && frontier->pure_row[only] != UINT32_MAX)
		return frontier->pure_row[only];
	double *row = mmq_array(data->width, sizeof(*row));
	for (uint32_t c = 0; c < data->width; c++)
		row[c] = (double)cart->total[c] / amount;
	uint32_t number = mmq_grown_value(tree, row, data->width);
	free(row);
	if (only != UINT32_MAX)
		frontier->pure_row[only] = number;
	return number;
}

/* Make the node a leaf, or open it with its best split. */
static void
settle(struct mmq_cart *cart, struct mmq_grown *tree, struct frontier *frontier, struct open_node *node, uint64_t tree_number)
{
	const struct mmq_tree_options *options = cart->data->options;
	const uint32_t *index = cart->index + node->begin;
	bool is_pure = sum_node(cart, index, node->count);

	tree->nodes[node->node].cover = (float)(node_amount(cart) * cart->data->weight_unit);
	if (!is_pure && node->depth < options->depth_max && node->count >= 2 * (uint64_t)options->min_data) {
		struct mmq_rng key = mmq_rng_stream(options->seed + 4, tree_number, node->node);
		mmq_cart_search(cart, index, node->count, key.state, &node->split);
	}
	if (!node->split.found) {
		tree->nodes[node->node].column = leaf_value(cart, tree, frontier);
		return;
	}
	if (frontier->count == frontier->capacity) {
		frontier->capacity = frontier->capacity * 2 + 64;
		frontier->open = mmq_grow(frontier->open, frontier->capacity, sizeof(*frontier->open));
	}
	frontier->open[frontier->count++] = *node;
}

/* The next node to split: the last opened, or the one that gains most when leaves are limited. */
static struct open_node
take_next(struct frontier *frontier, bool by_gain)
{
	size_t best = frontier->count - 1;
	for (size_t k = 0; by_gain && k < frontier->count; k++)
		if (frontier->open[k].split.gain > frontier->open[best].split.gain ||
		    (frontier->open[k].split.gain == frontier->open[best].split.gain && frontier->open[k].node < frontier->open[best].node))
			best = k;
	struct open_node next = frontier->open[best];
	frontier->open[best] = frontier->open[--frontier->count];
	return next;
}

static void
split_node(struct mmq_cart *cart, struct mmq_grown *tree, struct frontier *frontier, const struct open_node *parent, uint64_t tree_number)
{
	const struct mmq_tree_bins *bins = cart->data->bins;
	const struct mmq_cart_split *split = &parent->split;
	uint32_t pair = mmq_grown_pair(tree);
	struct mmq_grown_node *node = &tree->nodes[parent->node];
	uint8_t first[MMQ_TREE_BINS_MAX];

	node->first = pair;
	node->column = split->column;
	node->kind = split->kind;
	node->bin = split->bin;
	node->gain = (float)(split->gain * (cart->data->is_regression ?
	    cart->data->moment_unit * cart->data->moment_unit / cart->data->weight_unit : cart->data->weight_unit));
	if (split->kind == MMQ_NODE_CATEGORY)
		node->set = mmq_grown_set(tree, &split->set);
	mmq_grown_routes(tree, node, bins, first);
	uint32_t count = (uint32_t)mmq_tree_partition(bins->by_column + (size_t)split->column * bins->rows, first, cart->index + parent->begin,
	    parent->count, cart->temp, NULL);
	struct open_node a = { .node = pair, .begin = parent->begin, .count = count, .depth = parent->depth + 1 };
	struct open_node b = { .node = pair + 1, .begin = parent->begin + count, .count = parent->count - count, .depth = parent->depth + 1 };
	frontier->leaves++;
	settle(cart, tree, frontier, &a, tree_number);
	settle(cart, tree, frontier, &b, tree_number);
}

int
mmq_cart_grow(struct mmq_cart *cart, struct mmq_grown *tree, uint64_t tree_number)
{
	const struct mmq_cart_data *data = cart->data;
	struct frontier frontier = { .leaves = 1, .pure_row = mmq_array(data->width, sizeof(uint32_t)) };
	bool by_gain = data->options->leaves_max != UINT32_MAX, goes_on = true;

	memset(frontier.pure_row, 0xff, data->width * sizeof(uint32_t));
	for (uint32_t c = 0; c < data->bins->columns_count; c++)
		cart->columns[c] = c;
	mmq_grown_root(tree);
	struct open_node root = { .count = draw_rows(cart, tree_number) };
	settle(cart, tree, &frontier, &root, tree_number);
	while (goes_on && frontier.count > 0 && frontier.leaves < data->options->leaves_max) {
		struct open_node next = take_next(&frontier, by_gain);
		split_node(cart, tree, &frontier, &next, tree_number);
		goes_on = mmq_tree_watch_work(&cart->watch, (uint64_t)(next.count + 16) * (data->features_tried + 2));
	}
	for (size_t k = 0; k < frontier.count; k++) {  /* still open when the leaves were used up */
		sum_node(cart, cart->index + frontier.open[k].begin, frontier.open[k].count);
		tree->nodes[frontier.open[k].node].column = leaf_value(cart, tree, &frontier);
	}
	free(frontier.open);
	free(frontier.pure_row);
	return goes_on ? 0 : -1;
}
