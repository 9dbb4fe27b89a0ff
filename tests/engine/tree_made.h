/* tree_made.h: models of random trees with every kind of node, and rows that meet their thresholds exactly, just beside them, or not at all. */
#ifndef TESTS_ENGINE_TREE_MADE_H
#define TESTS_ENGINE_TREE_MADE_H

#include "convert/trees.h"
#include "engine/tree/walk.h"

enum { MADE_COLS = 5, MADE_CODES_COLS = 2, MADE_FEATURES = MADE_COLS + MADE_CODES_COLS, MADE_CARDINALITY = 40 };

struct tree_made_how {
	uint64_t seed;
	uint32_t trees, leaves, classes;   /* classes: 0, 2 or more */
	bool is_chain;                     /* every split is of the newest leaf: as deep as it has leaves */
	bool has_categories, keeps_doubles;
};

struct tree_made {
	struct mmq_import import;
	struct mmq_tree_model *model;
	size_t rows;
	double *wide;        /* (rows, cols) */
	float *narrow;       /* the same as floats */
	int32_t *codes;      /* (rows, codes_cols) */
};

void tree_made_init(struct tree_made *made, const struct tree_made_how *how, size_t rows);
void tree_made_fini(struct tree_made *made);
/* The rows as a batch of floats or doubles. */
struct mmq_batch tree_made_batch(const struct tree_made *made, enum mmq_dtype dtype);

#endif
