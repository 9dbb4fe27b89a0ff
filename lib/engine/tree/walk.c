/* walk.c: from a model's arrays to packed nodes. Nothing here is stored; it is derived anew at each load. */
#include "engine/tree/walk.h"

#include <math.h>
#include <stdlib.h>

#include "util/mem.h"

/* Slots for the columns that numeric nodes use; column_slot and `twin` (cols) tell them. */
static void
give_slots(struct mmq_tree_walk *walk, const struct mmq_tree_model *model, uint32_t *twin)
{
	walk->column_slot = mmq_array((size_t)model->cols + 1, sizeof(uint32_t));
	for (uint32_t k = 0; k < model->nodes; k++) {
		if (model->kind[k] == MMQ_NODE_LEAF || model->kind[k] == MMQ_NODE_CATEGORY)
			continue;
		walk->column_slot[model->feature[k]] = 1;
		if (model->kind[k] == MMQ_NODE_LESS_SECOND)
			twin[model->feature[k]] = 1;
	}
	for (uint32_t c = 0; c < model->cols; c++)
		walk->plain += walk->column_slot[c];
	walk->slot_source = mmq_array((size_t)walk->plain + 1, sizeof(uint32_t));
	walk->negated_slot = mmq_array((size_t)walk->plain + 1, sizeof(uint32_t));
	uint32_t next = 0;
	for (uint32_t c = 0; c < model->cols; c++) {
		if (walk->column_slot[c] == 0)
			continue;
		walk->slot_source[next++] = c;
		walk->column_slot[c] = next;
		if (twin[c] != 0) {
			walk->negated_slot[walk->negated++] = next;
			twin[c] = walk->plain + walk->negated;
		}
	}
	walk->slots = 1 + walk->plain + walk->negated;
}

static unsigned
bits_for(uint32_t largest)
{
	unsigned bits = 1;
	while (bits < 32 && largest >> bits != 0)
		bits++;
	return bits;
}

static void
pack_node(struct mmq_tree_walk *walk, const struct mmq_tree_model *model, const uint32_t *twin, uint32_t start, uint32_t k)
{
	struct mmq_walk_node *node = &walk->nodes[k];
	float t = model->threshold[k];
	switch (model->kind[k]) {
	case MMQ_NODE_LESS_FIRST:
		*node = (struct mmq_walk_node){ t, (start + model->first[k]) << walk->shift | walk->column_slot[model->feature[k]] };
		break;
	case MMQ_NODE_LESS_SECOND:
		*node = (struct mmq_walk_node){ -nextafterf(t, INFINITY), (start + model->first[k]) << walk->shift | twin[model->feature[k]] };
		break;
	default:
		*node = (struct mmq_walk_node){ INFINITY, k << walk->shift };
	}
}

/* Longest path, and the mean over training rows rounded up: what a walk does without looking whether it has arrived. */
static void
measure_depth(struct mmq_tree_walk *walk, const struct mmq_tree_model *model, uint32_t tree, uint32_t *depth)
{
	uint32_t start = model->tree_start[tree], end = model->tree_start[tree + 1], leaves = 0;
	double rows = 0, steps = 0;
	for (uint32_t k = start; k < end; k++)
		depth[k - start] = 0;
	for (uint32_t k = start; k < end; k++) {
		if (model->kind[k] == MMQ_NODE_LEAF) {
			walk->leaf_number[k] = leaves++;
			rows += (double)model->cover[k];
			steps += (double)model->cover[k] * depth[k - start];
			walk->depth[tree] = depth[k - start] > walk->depth[tree] ? depth[k - start] : walk->depth[tree];
			if (model->width == 1)
				walk->leaf_value[k] = model->values[model->feature[k]];
			continue;
		}
		if (model->kind[k] >= MMQ_NODE_CATEGORY)
			walk->is_mixed[tree] = 1;
		for (uint32_t side = 0; side < 2; side++) {
			uint32_t *child = &depth[model->first[k] + side];
			*child = depth[k - start] + 1 > *child ? depth[k - start] + 1 : *child;
		}
	}
	double mean = rows > 0 ? ceil(steps / rows) : 0;
	walk->head[tree] = mean < walk->depth[tree] ? (uint32_t)mean : walk->depth[tree];
}

struct mmq_tree_walk *
mmq_tree_walk_new(const struct mmq_tree_model *model)
{
	struct mmq_tree_walk *walk = mmq_alloc(sizeof(*walk));
	uint32_t *twin = mmq_array((size_t)model->cols + 1, sizeof(*twin)), *depth = mmq_array((size_t)model->nodes + 1, sizeof(*depth));

	give_slots(walk, model, twin);
	walk->shift = bits_for(walk->slots - 1);
	walk->depth = mmq_array((size_t)model->trees + 1, sizeof(uint32_t));
	walk->head = mmq_array((size_t)model->trees + 1, sizeof(uint32_t));
	walk->is_mixed = mmq_array((size_t)model->trees + 1, 1);
	walk->leaf_number = mmq_array((size_t)model->nodes + 1, sizeof(uint32_t));
	walk->leaf_value = model->width == 1 ? mmq_array((size_t)model->nodes + 1, sizeof(double)) : NULL;
	walk->nodes = mmq_aligned(((size_t)model->nodes + 1) * sizeof(*walk->nodes));
	bool fits = walk->shift + bits_for(model->nodes) <= 32;
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		measure_depth(walk, model, tree, depth);
		if (!fits)
			walk->is_mixed[tree] = 1;
		for (uint32_t k = model->tree_start[tree]; k < model->tree_start[tree + 1]; k++)
			pack_node(walk, model, twin, model->tree_start[tree], k);
	}
	walk->nodes[model->nodes] = (struct mmq_walk_node){ INFINITY, fits ? model->nodes << walk->shift : 0 };
	free(twin);
	free(depth);
	return walk;
}

void
mmq_tree_walk_destroy(struct mmq_tree_walk **walk_p)
{
	struct mmq_tree_walk *walk = *walk_p;
	if (walk == NULL)
		return;
	free(walk->nodes);
	free(walk->slot_source);
	free(walk->negated_slot);
	free(walk->column_slot);
	free(walk->depth);
	free(walk->head);
	free(walk->is_mixed);
	free(walk->leaf_number);
	free(walk->leaf_value);
	free(walk);
	*walk_p = NULL;
}
