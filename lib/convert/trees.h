/* trees.h: trees of other libraries on their way into the tree engine's part format.
 *
 * A reader fills nodes as its file has them, with children by number; adding a tree puts them in the engine's order (children
 * side by side, after their parent) and proves on the way that each node is reached at most once. */
#ifndef MMQ_CONVERT_TREES_H
#define MMQ_CONVERT_TREES_H

#include "convert/convert.h"

enum { MMQ_IMPORT_FEATURES_MAX = 1 << 20, MMQ_IMPORT_NODES_MAX = 1 << 27, MMQ_IMPORT_SETS_MAX = 1 << 24, MMQ_IMPORT_CLASSES_MAX = 1 << 16 };

struct mmq_import_node {
	bool is_leaf;
	uint8_t kind;                /* enum mmq_tree_node_kind, when no leaf */
	uint32_t feature;            /* of the file */
	uint32_t first, second;      /* numbers of the children */
	double threshold, value;     /* value: of a leaf */
	double cover, gain;
	const uint32_t *set;         /* CATEGORY: bit value of word value / 32: the value goes to the first child */
	size_t set_words;
	bool missing_first;          /* CATEGORY: missing goes to the first child */
};

/* What a file turned into. fini frees all. */
struct mmq_import {
	enum mmq_task task;
	uint32_t classes, outputs;
	size_t features_count;
	char **names;                /* (features_count) */
	bool *is_category;           /* (features_count) */
	char ***values;              /* (features_count): texts of a category's codes 0.., or NULL: the codes are the values */
	size_t *values_count;
	bool log_link;               /* regression: the answer is exp of the sum */
	bool keeps_doubles;          /* thresholds are compared as doubles */
	double *base;                /* (outputs) */
	struct mmq_part part;        /* for mmq_engine_tree.open */

	uint32_t *column;            /* (features_count): column of the engine's batch */
	uint32_t cols, codes_cols, trees, nodes, sets;
	size_t nodes_capacity, trees_capacity, sets_capacity, words, words_capacity;
	uint32_t *tree_start, *feature, *first, *set_start, *set_word;
	uint8_t *kind;
	double *threshold, *values_of, *gain, *splits;
	float *cover;
};

void mmq_import_init(struct mmq_import *import);
void mmq_import_fini(struct mmq_import *import);
/* After task, outputs, features_count and is_category are known. */
void mmq_import_columns(struct mmq_import *import);
/* Add a tree with root 0; scale is a factor on its values. DATA_LOSS: children out of range, or a node that is reached twice. */
int mmq_import_tree(struct mmq_import *import, const struct mmq_import_node *nodes, size_t count, double scale, struct mmq_err *err);
/* Make the part. */
void mmq_import_finish(struct mmq_import *import);
/* What was read, with its names, values and part moved: import is then empty. Classes are 0.. . */
void mmq_import_convert(struct mmq_import *import, struct mmq_converted *converted);

#endif
