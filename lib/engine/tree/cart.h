/* cart.h: one tree of a forest: impurity splits on whole numbers, so that sums are exact and their order does not matter.
 *
 * A row carries an amount (its weight times how often the bootstrap drew it) in fixed point. Channels are what a histogram bin
 * holds: the amount of each class, or for regression the amount and amount * (y - centre). */
#ifndef MMQ_ENGINE_TREE_CART_H
#define MMQ_ENGINE_TREE_CART_H

#include "engine/tree/grow.h"
#include "math/rng.h"

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
	double gain_unit;         /* of a split's gain */
};

/* A tree while it grows. Its rows: index, in which every node has a range. */
struct mmq_cart_tree {
	const struct mmq_cart_data *data;
	struct mmq_grown *grown;
	uint64_t number;
	uint32_t *index, *temp;   /* (rows) */
	int64_t *weight, *moment; /* (rows) this tree's amounts */
	uint8_t *drawn;           /* (rows / 8 + 1) bits, or NULL: nobody asks which rows the bootstrap drew */
	struct mmq_hist hist;     /* two classes with options->by_row: a row is (class 1 ? amount : 0, amount) */
	uint32_t hist_rows_min;   /* nodes of so many rows have a histogram; UINT32_MAX: none */
	double *gain;             /* for pruning: of every node, and its row of values */
	uint32_t *value_row, nodes_capacity;
};

struct mmq_cart_split {
	double score, gain;       /* gain: fall of impurity, >= 0 */
	bool found;
	uint32_t column;
	float threshold;          /* between the node's values left and right of it, of which bins only know the order */
	uint16_t bin;
	uint8_t kind;
	struct mmq_bin_set set;
};
struct mmq_cart_node {
	uint32_t node, begin, count, depth;
	uint64_t key;             /* random numbers of its own, by its path from the root: the order of growth does not matter */
	int64_t *hist;            /* packed sums of its rows (hist.size), or NULL */
	struct mmq_cart_split split;
};

/* What a thread needs to look at nodes. */
struct mmq_cart {
	const struct mmq_cart_data *data;
	uint32_t *columns, *picks;      /* (columns): 0, 1, 2 ..; which of them a node drew */
	int64_t *weight, *moment;       /* (rows) amounts of the node's rows, side by side */
	uint32_t *label;                /* (rows) classes of the node's rows */
	int64_t *bin;                   /* (bins, channels), all zero between uses */
	uint32_t *bin_rows;             /* (bins) */
	uint64_t *touched;              /* (bins / 64), all zero between uses */
	uint64_t *touched_words;        /* (bins / 4096): which of these are not zero */
	uint32_t *list;                 /* (bins) touched ones, ascending */
	uint32_t words;                 /* of touched_words */
	int64_t *left, *right, *total;  /* (channels) */
	struct mmq_tree_watch watch;
};

void mmq_cart_init(struct mmq_cart *cart, const struct mmq_cart_data *data);
void mmq_cart_fini(struct mmq_cart *cart);
void mmq_cart_tree_init(struct mmq_cart_tree *tree, const struct mmq_cart_data *data, struct mmq_pool *pool);
void mmq_cart_tree_fini(struct mmq_cart_tree *tree);
/* Grow tree number `number` into grown; with bootstrap on a sample of its own. by_level: carts has one for each thread of the pool, and
 * they share the nodes of the tree; else one cart, this thread alone. -1: cancelled. */
int mmq_cart_grow(struct mmq_cart *carts, bool by_level, struct mmq_pool *pool, struct mmq_cart_tree *tree, struct mmq_grown *grown,
    uint64_t number);

/* cart_node.c: divide a node's rows among its two children (whose node numbers are set) and look at both. values_out (2, width): what
 * they answer as leaves. pool: for work inside, or NULL. */
void mmq_cart_divide(struct mmq_cart *cart, struct mmq_cart_tree *tree, struct mmq_cart_node *parent, struct mmq_cart_node children[2],
    double *values_out, struct mmq_pool *pool);
/* Look at one node: cover, value and best split. */
void mmq_cart_examine(struct mmq_cart *cart, struct mmq_cart_tree *tree, struct mmq_cart_node *node, double *value_out);
/* What the node answers as a leaf (width). */
void mmq_cart_value(struct mmq_cart *cart, const struct mmq_cart_tree *tree, const struct mmq_cart_node *node, double *value_out);
int64_t *mmq_cart_build_hist(const struct mmq_cart_tree *tree, const struct mmq_cart_node *node, struct mmq_pool *pool);

/* cart_split.c: the best split of rows index (count) whose channel sums are in cart->total. node_key: a number of its own for each
 * node, from which the tried features are drawn. */
void mmq_cart_search(struct mmq_cart *cart, const struct mmq_cart_tree *tree, const uint32_t *index, uint32_t count, uint64_t node_key,
    struct mmq_cart_split *best);
double mmq_cart_node_score(const struct mmq_cart *cart, uint32_t count);
/* The split of a category column whose sums are in cart->bin and whose touched bins are in list (n), if it is better than *best. */
void mmq_cart_search_category(struct mmq_cart *cart, uint32_t c, uint32_t *list, uint32_t n, uint32_t count,
    struct mmq_cart_split *best);
/* The next column in a node's random order, after `drawn` others; and back to 0, 1, 2 .. when the node is done, since what a node draws
 * must not depend on the nodes that this thread saw before. */
uint32_t mmq_cart_draw_column(struct mmq_cart *cart, struct mmq_rng *rng, uint32_t drawn);
void mmq_cart_undraw_columns(struct mmq_cart *cart, uint32_t drawn);
/* A threshold in the middle between the node's rows in bins <= a and >= b. */
float mmq_cart_middle(const struct mmq_tree_column *column, uint32_t a, uint32_t b);
/* cart_hist.c: the same from a packed histogram. */
void mmq_cart_search_hist(struct mmq_cart *cart, const struct mmq_cart_tree *tree, const int64_t *hist, uint32_t count, uint64_t node_key,
    struct mmq_cart_split *best);

/* prune.c: cut back every branch whose gain is at most alpha for each leaf that it adds (Breiman et al. 1984, chapter 3). gain and
 * value_row (nodes) of the tree; what is left is numbered anew. */
void mmq_cart_prune(struct mmq_grown *grown, const double *gain, const uint32_t *value_row, double alpha);

/* oob.c: accuracy, or R2, of answers from trees that did not draw the row. drawn (trees, rows / 8 + 1): bits of the last trees of model.
 * NAN when every row was drawn by every tree. */
double mmq_tree_oob_score(const struct mmq_tree_model *model, const struct mmq_dataset *train, const uint8_t *drawn, uint32_t trees,
    struct mmq_pool *pool);

#endif
