/* slots.h: a row as the packed trees see it: one float per thing that nodes compare.
 *
 * Slot 0 is always 0. Then come the used columns, then copies of some (negated, or with values near zero taken as missing), then one
 * slot for each category set: 0 when the row's code is in it, 1 when not. Every node is then `slot <= threshold`: see walk.h.
 * Two number spaces: values as floats; and, for models that compare doubles, ranks: how many of the model's thresholds on that column
 * lie below the double. Ranks are whole numbers, so they are exact as floats and keep every comparison of doubles. */
#ifndef MMQ_ENGINE_TREE_SLOTS_H
#define MMQ_ENGINE_TREE_SLOTS_H

#include "engine/tree/model.h"

enum { MMQ_WALK_LANES = 16 };   /* rows of a group: float 16 * slot + lane of its block */
enum mmq_walk_space { MMQ_SPACE_VALUES, MMQ_SPACE_RANKS, MMQ_SPACES };

struct mmq_slot_copy { uint32_t slot; bool is_negated, zero_is_missing; };

struct mmq_tree_slots {
	uint32_t count;                /* all slots */
	uint32_t plain, copies, sets;  /* slots of each sort, in this order after slot 0 */
	uint32_t *source;              /* (plain): column of the batch */
	uint32_t *column_slot;         /* (cols): plain slot, 0 = unused */
	uint32_t *copy_of;             /* (cols, 4): copy by negated + 2 * zero_is_missing; [0] unused, 0 = none */
	struct mmq_slot_copy *copy;    /* (copies) */
	uint32_t *set_column;          /* (sets): code column of the batch */
	bool has_sets;                 /* false: so many sets that trees with categories are walked plainly */
	size_t *ladder_start;          /* (plain + 1) into ladder, for ranks; NULL: the model compares floats */
	double *ladder;                /* each column's distinct thresholds, ascending */
};

void mmq_tree_slots_init(struct mmq_tree_slots *slots, const struct mmq_tree_model *model);
void mmq_tree_slots_fini(struct mmq_tree_slots *slots);

/* The slot that node k compares, and its threshold in a space: the node's first child is taken when slot <= threshold. */
uint32_t mmq_tree_slot_of(const struct mmq_tree_slots *slots, const struct mmq_tree_model *model, uint32_t k);
float mmq_tree_slot_threshold(const struct mmq_tree_slots *slots, const struct mmq_tree_model *model, uint32_t k, enum mmq_walk_space space);

/* The space in which rows of this batch are compared. */
enum mmq_walk_space mmq_tree_slots_space(const struct mmq_tree_slots *slots, const struct mmq_batch *x);
/* Row r of x: slot s goes to out[s * step]. */
void mmq_tree_slots_fill(const struct mmq_tree_slots *slots, const struct mmq_tree_model *model, const struct mmq_batch *x, size_t r, float *out,
    size_t step);
/* Row r as doubles (cols) that the plain walk compares as the slots of this space are compared. */
void mmq_tree_slots_plain_row(const struct mmq_tree_model *model, const struct mmq_batch *x, size_t r, enum mmq_walk_space space, double *out);

#endif
