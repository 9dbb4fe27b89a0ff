/* walk.h: trees packed for prediction, derived from a model when it is made or opened.
 *
 * A node is 8 bytes: a float, and a word that holds the number of the first child above the number of a slot in a row of floats.
 * The step is `first + !(row[slot] <= threshold)` for every node, so that a walk has no branches and 8 walks can be interleaved:
 *  - missing (NaN) fails the comparison and goes to the second child;
 *  - LESS_SECOND compares a negated copy of the column: !(-x <= -next(t)) is x <= t or missing, next(t) the float above t;
 *  - a leaf is its own child and compares slot 0, which is always 0, with +inf: more steps than the path is long do no harm.
 * Trees with category nodes are walked one row at a time on the model's own arrays. */
#ifndef MMQ_ENGINE_TREE_WALK_H
#define MMQ_ENGINE_TREE_WALK_H

#include "engine/tree/model.h"

struct mmq_walk_node { float threshold; uint32_t packed; };

struct mmq_tree_walk {
	struct mmq_walk_node *nodes;   /* (model nodes + 1): the last is a leaf of its own, for lanes without work */
	unsigned shift;                /* packed = first << shift | slot */
	uint32_t slots;                /* floats of a prepared row; slot 0 is 0 */
	uint32_t plain, negated;       /* slots 1..plain hold columns, the next `negated` negated copies of some */
	uint32_t *slot_source;         /* (plain): column of the batch */
	uint32_t *negated_slot;        /* (negated): the plain slot it copies */
	uint32_t *column_slot;         /* (cols): plain slot, 0 = unused */
	uint32_t *depth, *head;        /* (trees): steps of the longest path, and of the average row */
	uint8_t *is_mixed;             /* (trees): has category nodes, or the packing had too few bits */
	uint32_t *leaf_number;         /* (nodes): counted within the tree; only for leaves */
	double *leaf_value;            /* (nodes): only for width 1 */
};

#endif
