/* walk.h: trees packed for prediction, derived from a model when it is made or opened, and the ways to find a row's leaves.
 *
 * A packed node is 8 bytes: a float, and a word that holds the number of the first child (from its tree's start) above the number of a
 * slot. The step is `first + !(slot <= threshold)` for every node, so that walks have no branches and many can be interleaved:
 *  - missing (NaN) fails the comparison and goes to the second child;
 *  - LESS_SECOND compares a negated copy of the column: !(-x <= -next(t)) is x <= t or missing, next(t) the float above t;
 *  - a leaf is its own child and compares slot 0, which is always 0, with +inf: more steps than the path is long do no harm.
 * Masks (V-QuickScorer: Lucchese et al. 2016) need no walk: bits stand for a tree's leaves from first to last, every node whose
 * comparison fails strikes the leaves below its first child, and the lowest bit left is the row's leaf. Here they go tree by tree, with a
 * word's bits in a register.
 * All ways give the same leaves, and values are added tree after tree in double, so the choice between them (choose.c) changes no bit. */
#ifndef MMQ_ENGINE_TREE_WALK_H
#define MMQ_ENGINE_TREE_WALK_H

#include "engine/tree/slots.h"

enum {
	MMQ_WALK_TREES = 32,          /* most trees that a way is asked for at once */
	MMQ_MASK_LEAVES_MAX = 256,
	MMQ_WALK_WAYS_MAX = 6,
};

struct mmq_walk_node { float threshold; uint32_t packed; };
struct mmq_mask_entry { float threshold; uint32_t slot, mask; };

/* What a way's answer means: place p of a tree is entry start[tree] + p. */
struct mmq_leaf_table {
	const uint32_t *start;        /* (trees) */
	uint32_t *number;             /* the leaf's number within its tree, in the order of the model's nodes */
	uint32_t *value_row;          /* of model->values */
	double *value;                /* width 1: the value itself */
};

struct mmq_tree_walk;
struct mmq_walk_table;
/* Leaves of a group of 16 rows (slots, 16) for `count` <= MMQ_WALK_TREES trees; at_out (count, 16): places. */
typedef void mmq_walk_rows(const struct mmq_tree_walk *walk, enum mmq_walk_space space, uint32_t tree, uint32_t count, const float *rows,
    uint32_t *at_out);
/* Leaves of one row (slots) in all trees; at_out (trees): places; work (words of masks, padded to 8). */
typedef void mmq_walk_row(const struct mmq_tree_walk *walk, enum mmq_walk_space space, const float *row, uint32_t *work, uint32_t *at_out);

/* rows or row may be NULL, but not both. */
struct mmq_walk_way { const char *name; mmq_walk_rows *rows; mmq_walk_row *row; bool gives_bits; };

struct mmq_tree_walk {
	struct mmq_tree_slots slots;
	uint32_t trees;
	const uint32_t *tree_start;                /* borrowed from the model */
	uint32_t nodes_count;
	struct mmq_walk_node *nodes[MMQ_SPACES];   /* (nodes_count + 1): the last is a leaf of its own, for lanes without work; NULL: no such space */
	unsigned shift;                            /* packed = first << shift | slot */
	uint32_t *depth, *head;                    /* (trees): steps of the longest path, and of the average row */
	uint8_t *is_plain;                         /* (trees): only exact.c can walk it */
	bool any_plain;
	struct mmq_mask_entry *entries[MMQ_SPACES];
	uint32_t *word_start;                      /* (words + 1) into entries */
	uint32_t *tree_word;                       /* (trees + 1) into words; NULL: too many leaves for masks */
	uint32_t *bits_start;                      /* (trees) into by_bit */
	struct mmq_walk_table *tables[MMQ_SPACES]; /* table.c; NULL: none */
	struct mmq_leaf_table by_node, by_bit;
	const struct mmq_walk_way *rows_way, *row_way;
	struct mmq_tree_shap *shap;                /* NULL: the model does not say what its contributions need */
	size_t group_min;                          /* so many rows or more are worth a group of 16 */
};

/* walk_rows.c, walk_512.c, mask.c, table.c: append the ways that this processor and model allow; return how many. */
size_t mmq_walk_interleaved(const struct mmq_tree_walk *walk, const struct mmq_walk_way **ways_out);
size_t mmq_walk_gathered(const struct mmq_tree_walk *walk, const struct mmq_walk_way **ways_out);
size_t mmq_walk_masks(const struct mmq_tree_walk *walk, const struct mmq_walk_way **ways_out);
size_t mmq_walk_tables(const struct mmq_tree_walk *walk, const struct mmq_walk_way **ways_out);
/* table.c: after masks; for a model small enough. */
void mmq_walk_build_table(struct mmq_tree_walk *walk, enum mmq_walk_space space);
void mmq_walk_table_destroy(struct mmq_walk_table **table);
/* mask.c: entries of all trees, if they have few enough leaves. */
void mmq_walk_build_masks(struct mmq_tree_walk *walk, const struct mmq_tree_model *model);
/* Words of masks of a row, padded to 8. */
static inline size_t
mmq_walk_words(const struct mmq_tree_walk *walk)
{
	return walk->tree_word != NULL ? ((size_t)walk->tree_word[walk->trees] + 7) / 8 * 8 : 0;
}
/* choose.c: all legal ways, the last of which works for every model; and the choice among them. */
size_t mmq_walk_ways(const struct mmq_tree_walk *walk, const struct mmq_walk_way *ways_out[MMQ_WALK_WAYS_MAX]);
void mmq_walk_choose(struct mmq_tree_walk *walk);

#endif
