/* cart.h: one tree of a forest: impurity splits on whole numbers, so that sums are exact and their order does not matter.
 *
 * A row carries an amount (its weight times how often the bootstrap drew it) in fixed point. Channels are what a histogram bin
 * holds: the amount of each class, or for regression the amount and amount * (y - centre). */
#ifndef MMQ_ENGINE_TREE_CART_H
#define MMQ_ENGINE_TREE_CART_H

#include "engine/tree/grow.h"

struct mmq_cart_data {
	const struct mmq_tree_options *options;
	const struct mmq_tree_bins *bins;
	const double *y;          /* (rows) */
	uint32_t channels;        /* classes, or 2 */
	bool is_regression;
	uint32_t width;           /* numbers of a leaf's value */
	uint32_t features_tried;
	int64_t *weight;          /* (rows) fixed point */
	int64_t *moment;          /* (rows) weight * (y - centre), regression only */
	double weight_unit, moment_unit, centre;
};
struct mmq_cart_split {
	double score, gain;       /* gain: fall of impurity, >= 0 */
	bool found;
	uint32_t column, first_count;
	uint8_t kind, bin;
	struct mmq_bin_set set;
};
/* What one thread needs to grow trees, one after the other. */
struct mmq_cart {
	const struct mmq_cart_data *data;
	uint32_t *index, *temp;   /* (rows) */
	int64_t *weight, *moment; /* (rows) this tree's amounts */
	uint32_t *columns;        /* (columns) in some order */
	int64_t *bin;             /* (256, channels), all zero between uses */
	uint32_t bin_rows[MMQ_TREE_BINS_MAX];
	uint64_t touched[MMQ_TREE_BINS_MAX / 64];
	int64_t *left, *right, *total; /* (channels) */
	struct mmq_tree_watch watch;
};

void mmq_cart_init(struct mmq_cart *cart, const struct mmq_cart_data *data);
void mmq_cart_fini(struct mmq_cart *cart);
/* Grow tree number tree_number; with bootstrap on a sample of its own. -1: cancelled. */
int mmq_cart_grow(struct mmq_cart *cart, struct mmq_grown *tree, uint64_t tree_number);

/* cart_split.c: the best split of rows index (count) whose channel sums are in cart->total. node_key: a number of its own for each
 * node, from which the tried features are drawn. */
void mmq_cart_search(struct mmq_cart *cart, const uint32_t *index, uint32_t count, uint64_t node_key, struct mmq_cart_split *best);

#endif
