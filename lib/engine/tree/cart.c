/* cart.c: growing one tree of a forest: depth first, best first when the number of leaves is limited, or level after level when several
 * threads share the nodes of one tree. Nodes do not depend on each other, so only their numbers tell these orders apart. */
#include "engine/tree/cart.h"

#include <stdlib.h>
#include <string.h>

#include "math/rng.h"
#include "util/mem.h"

enum { HIST_ROWS = 512, HIST_BYTES = 256 << 20 };

struct frontier {
	struct mmq_cart_node *open;
	size_t count, capacity;
	uint32_t leaves;
	uint32_t *pure_row;       /* (classes): row of values of a leaf with one class only; UINT32_MAX: not made yet */
};

void
mmq_cart_init(struct mmq_cart *cart, const struct mmq_cart_data *data)
{
	size_t rows = data->bins->rows, columns = data->bins->columns_count, bins = 0;
	*cart = (struct mmq_cart){ .data = data };
	for (size_t c = 0; c < columns; c++)
		bins = data->bins->columns[c].bins + 1 > bins ? data->bins->columns[c].bins + 1 : bins;
	cart->words = (uint32_t)(bins / 4096 + 1);
	cart->columns = mmq_array(columns + 1, sizeof(uint32_t));
	cart->picks = mmq_array(columns + 1, sizeof(uint32_t));
	cart->weight = mmq_array(rows, sizeof(int64_t));
	cart->moment = data->is_regression ? mmq_array(rows, sizeof(int64_t)) : NULL;
	cart->label = data->is_regression ? NULL : mmq_array(rows, sizeof(uint32_t));
	cart->bin = mmq_array((bins + 1) * data->channels, sizeof(int64_t));
	cart->bin_rows = mmq_array(bins + 1, sizeof(uint32_t));
	cart->touched = mmq_array((size_t)cart->words * 64, sizeof(uint64_t));
	cart->touched_words = mmq_array(cart->words, sizeof(uint64_t));
	cart->list = mmq_array(bins + 1, sizeof(uint32_t));
	cart->left = mmq_array(data->channels, sizeof(int64_t));
	cart->right = mmq_array(data->channels, sizeof(int64_t));
	cart->total = mmq_array(data->channels, sizeof(int64_t));
	for (uint32_t c = 0; c < columns; c++)
		cart->columns[c] = c;
}

void
mmq_cart_fini(struct mmq_cart *cart)
{
	void *const arrays[] = { cart->columns, cart->picks, cart->weight, cart->moment, cart->label, cart->bin, cart->bin_rows, cart->touched,
		cart->touched_words, cart->list, cart->left, cart->right, cart->total };
	for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
		free(arrays[i]);
}

void
mmq_cart_tree_init(struct mmq_cart_tree *tree, const struct mmq_cart_data *data, struct mmq_pool *pool)
{
	size_t rows = data->bins->rows;
	*tree = (struct mmq_cart_tree){ .data = data, .hist_rows_min = UINT32_MAX };
	tree->index = mmq_array(rows, sizeof(uint32_t));
	tree->temp = mmq_array(rows, sizeof(uint32_t));
	tree->weight = mmq_array(rows, sizeof(int64_t));
	tree->moment = data->is_regression ? mmq_array(rows, sizeof(int64_t)) : NULL;
	if (!data->options->by_row)
		return;
	mmq_hist_init(&tree->hist, data->bins, pool);
	size_t hists_max = HIST_BYTES / ((tree->hist.size + 1) * sizeof(int64_t)) + 1, rows_min = rows / hists_max + 1;
	tree->hist_rows_min = rows_min > HIST_ROWS ? (uint32_t)rows_min : HIST_ROWS;
}

void
mmq_cart_tree_fini(struct mmq_cart_tree *tree)
{
	free(tree->index);
	free(tree->temp);
	free(tree->weight);
	free(tree->moment);
	free(tree->gain);
	free(tree->value_row);
	if (tree->data->options->by_row)
		mmq_hist_fini(&tree->hist);
}

/* This tree's rows and their amounts; returns how many rows it has. */
static uint32_t
draw_rows(struct mmq_cart_tree *tree)
{
	const struct mmq_cart_data *data = tree->data;
	size_t rows = data->bins->rows;
	uint32_t count = 0;
	struct mmq_rng rng = mmq_rng_stream(data->options->seed + 3, tree->number, 0);
	memset(tree->temp, 0, rows * sizeof(uint32_t));
	for (size_t k = 0; k < rows; k++)
		tree->temp[data->options->bootstrap ? mmq_rng_below(&rng, rows) : k]++;
	for (size_t r = 0; r < rows; r++) {
		if (tree->temp[r] == 0)
			continue;
		tree->weight[r] = data->weight[r] * tree->temp[r];
		if (data->is_regression)
			tree->moment[r] = data->moment[r] * tree->temp[r];
		if (data->options->by_row)
			tree->hist.row[r] = (data->y[r] > 0 ? tree->weight[r] << 32 : 0) + tree->weight[r];
		if (tree->drawn != NULL)
			tree->drawn[r / 8] |= (uint8_t)(1u << r % 8);
		tree->index[count++] = (uint32_t)r;
	}
	return count;
}

/* The number of a row of values. Leaves of one class share a row. */
static uint32_t
keep_value(const struct mmq_cart_data *data, struct mmq_grown *grown, struct frontier *frontier, const double *value)
{
	uint32_t only = UINT32_MAX;
	for (uint32_t c = 0; c < data->width && data->width > 1; c++)
		if (value[c] == 1.0)
			only = c;
	if (only != UINT32_MAX && frontier->pure_row[only] != UINT32_MAX)
		return frontier->pure_row[only];
	uint32_t number = mmq_grown_value(grown, value, data->width);
	if (only != UINT32_MAX)
		frontier->pure_row[only] = number;
	return number;
}

/* After a look at a node: a leaf for good, or open with its split. */
static void
commit(struct mmq_cart_tree *tree, struct frontier *frontier, const struct mmq_cart_node *node, const double *value)
{
	struct mmq_grown *grown = tree->grown;
	bool prunes = tree->data->options->ccp_alpha > 0;
	uint32_t row = !node->split.found || prunes ? keep_value(tree->data, grown, frontier, value) : 0;
	if (prunes) {
		if (node->node >= tree->nodes_capacity) {
			tree->nodes_capacity = node->node * 2 + 64;
			tree->gain = mmq_grow(tree->gain, tree->nodes_capacity, sizeof(double));
			tree->value_row = mmq_grow(tree->value_row, tree->nodes_capacity, sizeof(uint32_t));
		}
		tree->gain[node->node] = 0;
		tree->value_row[node->node] = row;
	}
	if (!node->split.found) {
		grown->nodes[node->node].column = row;
		return;
	}
	if (frontier->count == frontier->capacity) {
		frontier->capacity = frontier->capacity * 2 + 64;
		frontier->open = mmq_grow(frontier->open, frontier->capacity, sizeof(*frontier->open));
	}
	frontier->open[frontier->count++] = *node;
}

/* The next node to split: the last opened, or the one that gains most when leaves are limited. */
static struct mmq_cart_node
take_next(struct frontier *frontier, bool by_gain)
{
	size_t best = frontier->count - 1;
	for (size_t k = 0; by_gain && k < frontier->count; k++)
		if (frontier->open[k].split.gain > frontier->open[best].split.gain ||
		    (frontier->open[k].split.gain == frontier->open[best].split.gain && frontier->open[k].node < frontier->open[best].node))
			best = k;
	struct mmq_cart_node next = frontier->open[best];
	frontier->open[best] = frontier->open[--frontier->count];
	return next;
}

/* Write an open node's split and give its children numbers. */
static void
settle_split(struct mmq_cart_tree *tree, const struct mmq_cart_node *parent, struct mmq_cart_node children[2])
{
	const struct mmq_cart_split *split = &parent->split;
	struct mmq_grown *grown = tree->grown;
	uint32_t pair = mmq_grown_pair(grown);
	struct mmq_grown_node *node = &grown->nodes[parent->node];

	node->first = children[0].node = pair;
	children[1].node = pair + 1;
	node->column = split->column;
	node->kind = split->kind;
	node->bin = split->bin;
	node->threshold = split->threshold;
	node->gain = (float)(split->gain * tree->data->gain_unit);
	if (split->kind == MMQ_NODE_CATEGORY)
		node->set = mmq_grown_set(grown, &split->set);
	if (tree->gain != NULL)
		tree->gain[parent->node] = split->gain * tree->data->gain_unit;
}

struct level {
	struct mmq_cart *carts;
	struct mmq_cart_tree *tree;
	struct mmq_cart_node *parents, *children;
	double *values;
};

static void
divide_block(void *arg, size_t block, unsigned thread)
{
	struct level *level = arg;
	mmq_cart_divide(&level->carts[thread], level->tree, &level->parents[block], level->children + 2 * block,
	    level->values + 2 * block * level->tree->data->width, NULL);
}

/* All open nodes at once. Few large nodes are divided one after the other by all threads, many at the same time. */
static uint64_t
grow_level(struct mmq_cart *carts, struct mmq_pool *pool, struct mmq_cart_tree *tree, struct frontier *frontier)
{
	size_t count = frontier->count, width = tree->data->width;
	struct level level = { carts, tree, frontier->open, mmq_array(2 * count, sizeof(struct mmq_cart_node)), mmq_array(2 * count * width, sizeof(double)) };
	uint64_t rows = 0;

	for (size_t k = 0; k < count; k++) {
		settle_split(tree, &level.parents[k], level.children + 2 * k);
		rows += level.parents[k].count;
	}
	if (count >= 4 * mmq_pool_threads(pool) || tree->hist_rows_min == UINT32_MAX)
		mmq_pool_run(pool, count, divide_block, &level);
	else
		for (size_t k = 0; k < count; k++)
			mmq_cart_divide(carts, tree, &level.parents[k], level.children + 2 * k, level.values + 2 * k * width, pool);
	frontier->open = NULL;
	frontier->count = frontier->capacity = 0;
	for (size_t k = 0; k < 2 * count; k++)
		commit(tree, frontier, &level.children[k], level.values + k * width);
	free(level.parents);
	free(level.children);
	free(level.values);
	return rows + 16 * count;
}

static uint64_t
grow_next(struct mmq_cart *cart, struct mmq_cart_tree *tree, struct frontier *frontier, double *values)
{
	struct mmq_cart_node next = take_next(frontier, tree->data->options->leaves_max != UINT32_MAX), children[2];
	settle_split(tree, &next, children);
	mmq_cart_divide(cart, tree, &next, children, values, NULL);
	frontier->leaves++;
	for (int side = 0; side < 2; side++)
		commit(tree, frontier, &children[side], values + (size_t)side * tree->data->width);
	return next.count + 16;
}

int
mmq_cart_grow(struct mmq_cart *carts, bool by_level, struct mmq_pool *pool, struct mmq_cart_tree *tree, struct mmq_grown *grown,
    uint64_t number)
{
	const struct mmq_cart_data *data = tree->data;
	struct frontier frontier = { .leaves = 1, .pure_row = mmq_array(data->width, sizeof(uint32_t)) };
	double *values = mmq_array(2 * (size_t)data->width, sizeof(double));
	bool goes_on = true;

	memset(frontier.pure_row, 0xff, data->width * sizeof(uint32_t));
	mmq_grown_root(grown);
	tree->grown = grown;
	tree->number = number;
	by_level = by_level && data->options->leaves_max == UINT32_MAX;
	struct mmq_cart_node root = { .count = draw_rows(tree), .key = mmq_rng_stream(data->options->seed + 4, number, 0).state };
	if (root.count >= tree->hist_rows_min)
		root.hist = mmq_cart_build_hist(tree, &root, pool);
	mmq_cart_examine(carts, tree, &root, values);
	commit(tree, &frontier, &root, values);
	while (goes_on && frontier.count > 0 && frontier.leaves < data->options->leaves_max) {
		uint64_t rows = by_level ? grow_level(carts, pool, tree, &frontier) : grow_next(carts, tree, &frontier, values);
		goes_on = mmq_tree_watch_work(&carts->watch, rows * (data->features_tried + 2));
	}
	for (size_t k = 0; k < frontier.count; k++) {  /* still open when the leaves were used up */
		struct mmq_cart_node *open = &frontier.open[k];
		mmq_cart_value(carts, tree, open, values);
		grown->nodes[open->node].column = keep_value(data, grown, &frontier, values);
		free(open->hist);
	}
	if (data->options->ccp_alpha > 0 && goes_on)
		mmq_cart_prune(grown, tree->gain, tree->value_row, data->options->ccp_alpha);
	free(frontier.open);
	free(frontier.pure_row);
	free(values);
	return goes_on ? 0 : -1;
}
