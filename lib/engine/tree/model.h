/* model.h: trees as they are kept, and the two ways in: a grown tree in bins, or a part from a model file.
 *
 * All trees lie in flat arrays. A node's children are first and first + 1, counted from its tree's start and always after the node.
 * A missing value goes to the second child, at every node. What else goes where is the node's kind:
 *   LESS_FIRST    x <= threshold goes to the first child, the rest to the second
 *   LESS_SECOND   x > threshold goes to the first child, the rest to the second
 *   CATEGORY      a code in the node's set goes to the first child, the rest to the second; here missing is a code like others
 *   ZERO_LESS_*   the same as LESS_*, where values within 1e-35 of zero are missing ones (models of other libraries)
 * Comparisons are of floats; with threshold64 (models of libraries that compute in double) rows of doubles are compared as doubles. A leaf names a row of values: one number, or one per class for forests on more than two classes. */
#ifndef MMQ_ENGINE_TREE_MODEL_H
#define MMQ_ENGINE_TREE_MODEL_H

#include "data/part.h"
#include "engine/tree/bins.h"

enum mmq_tree_node_kind { MMQ_NODE_LEAF, MMQ_NODE_LESS_FIRST, MMQ_NODE_LESS_SECOND, MMQ_NODE_CATEGORY, MMQ_NODE_ZERO_LESS_FIRST,
	MMQ_NODE_ZERO_LESS_SECOND, MMQ_NODE_KINDS };

struct mmq_tree_walk;  /* walk.c: what prediction derives from these arrays */

struct mmq_tree_model {
	enum mmq_tree_kind boosting;
	enum mmq_task task;
	bool log_link;                /* the answer is exp of base and leaf values (poisson) */
	uint32_t classes;             /* 0 for regression */
	uint32_t cols, codes_cols, features;
	uint32_t trees, outputs;      /* outputs: columns of the score */
	uint32_t width;               /* numbers in a row of values: 1, or classes */
	uint32_t nodes, sets, value_rows;
	uint64_t set_words;
	const double *base;           /* (outputs): score without any tree */
	const uint32_t *tree_start;   /* (trees + 1) */
	const uint8_t *kind;          /* (nodes) */
	const float *threshold;       /* (nodes); CATEGORY: the number of its set */
	const double *threshold64;    /* (nodes) or NULL; threshold is then the largest float that is not above */
	const uint32_t *feature;      /* (nodes): column of the batch, code columns after dense ones; LEAF: row of values */
	const uint32_t *first;        /* (nodes) */
	const float *cover;           /* (nodes): training rows, or their weight */
	const uint32_t *set_start;    /* (sets + 1) into set_word; bit code + 1 of a set, bit 0 = missing */
	const uint32_t *set_word;
	const double *values;         /* (value_rows, width) */
	const uint32_t *feature_of;   /* (cols + codes_cols): feature of each column, for contributions */
	const double *gain, *splits;  /* (cols + codes_cols): importance of each column */
	int64_t best_iteration;       /* rounds kept */
	double train_loss, valid_loss, oob_score; /* NaN: not known */
	bool owns;                    /* false: the arrays are borrowed from a part */
	struct mmq_tree_walk *walk;
};

/* A tree in terms of bins, as a grower leaves it. */
struct mmq_grown_node {
	uint32_t first;               /* 0: leaf; from the tree's start */
	uint32_t column;              /* of bins; leaf: row of values of this tree */
	uint32_t set;                 /* CATEGORY: number of the set */
	float cover, gain, threshold; /* threshold: LESS_*, that of the model; it parts the node's rows as bin does */
	uint16_t bin;                 /* bins <= bin are "less" */
	uint8_t kind;
};
struct mmq_bin_set { uint8_t has[MMQ_TREE_BINS_MAX / 8]; };
struct mmq_grown {
	struct mmq_grown_node *nodes;
	struct mmq_bin_set *sets;
	double *values;
	uint32_t nodes_count, nodes_capacity, sets_count, sets_capacity, values_count, values_capacity;
};
uint32_t mmq_grown_pair(struct mmq_grown *tree);                           /* two new leaves; the number of the first */
uint32_t mmq_grown_root(struct mmq_grown *tree);                           /* forget all, begin with one leaf */
uint32_t mmq_grown_set(struct mmq_grown *tree, const struct mmq_bin_set *set);
uint32_t mmq_grown_value(struct mmq_grown *tree, const double *row, uint32_t width); /* its row number */
void mmq_grown_fini(struct mmq_grown *tree);
/* first_out[bin] = 1 when rows in that bin go to the node's first child. (256) */
void mmq_grown_routes(const struct mmq_grown *tree, const struct mmq_grown_node *node, const struct mmq_tree_bins *bins, uint8_t *first_out);

/* Collects grown trees into a model's arrays. */
struct mmq_tree_builder;
struct mmq_tree_builder *mmq_tree_builder_new(const struct mmq_fit *fit, const struct mmq_tree_bins *bins, uint32_t width, uint32_t outputs);
/* Begin with all trees of a model of the same columns and outputs. Before any other tree. */
void mmq_tree_builder_take(struct mmq_tree_builder *builder, const struct mmq_tree_model *model);
void mmq_tree_builder_add(struct mmq_tree_builder *builder, const struct mmq_grown *tree);
void mmq_tree_builder_cut(struct mmq_tree_builder *builder, uint32_t trees);  /* keep the first so many */
/* What was collected so far, for a checkpoint; and back into a new builder, with the importances of the model that was gone on from (NULL: none).
 * Returns the number of trees; 0: they do not fit. */
void mmq_tree_builder_put(const struct mmq_tree_builder *builder, const struct mmq_tree_options *options, const double *base, struct mmq_part *out);
uint32_t mmq_tree_builder_get(struct mmq_tree_builder *builder, const struct mmq_part *in, const struct mmq_tree_model *previous);
/* Takes the builder; base (outputs). Never NULL. */
struct mmq_tree_model *mmq_tree_builder_finish(struct mmq_tree_builder **builder, const struct mmq_tree_options *options, const double *base);
/* Give an owned model's leaves, in the order of its nodes, values of their own: (leaves, width). Takes values. */
void mmq_tree_model_revalue(struct mmq_tree_model *model, double *values, uint32_t leaves);
void mmq_tree_builder_destroy(struct mmq_tree_builder **builder);

int mmq_tree_model_save(const struct mmq_tree_model *model, struct mmq_part *out);
int mmq_tree_model_open(struct mmq_tree_model **model_out, const struct mmq_part *in, struct mmq_err *err);
void mmq_tree_model_destroy(struct mmq_tree_model **model);

/* walk.c */
struct mmq_tree_walk *mmq_tree_walk_new(const struct mmq_tree_model *model);
void mmq_tree_walk_destroy(struct mmq_tree_walk **walk);
/* exact.c: where node k sends a row of doubles (cols) and its codes; and the leaf of one tree that it comes to, as a node of the model. */
bool mmq_tree_goes_second(const struct mmq_tree_model *model, uint32_t k, const double *row, const int32_t *codes);
uint32_t mmq_tree_walk_exact(const struct mmq_tree_model *model, uint32_t tree, const double *row, const int32_t *codes);
/* predict.c */
size_t mmq_tree_scratch_bytes(const struct mmq_tree_model *model, size_t rows_max, unsigned wanted);
void mmq_tree_predict(const struct mmq_tree_model *model, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch);

#endif
