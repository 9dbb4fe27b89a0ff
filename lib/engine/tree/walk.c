/* walk.c: from a model's arrays to packed nodes. Nothing here is stored; it is derived anew at each load. */
#include "engine/tree/walk.h"

#include <math.h>
#include <stdlib.h>

#include "engine/tree/shap.h"
#include "util/mem.h"

enum { RANKS_MAX = 1 << 24 };   /* whole numbers beyond it are not all floats */

static unsigned
bits_for(uint32_t largest)
{
	unsigned bits = 1;
	while (bits < 32 && largest >> bits != 0)
		bits++;
	return bits;
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
			walk->by_node.number[k] = leaves++;
			walk->by_node.value_row[k] = model->feature[k];
			rows += (double)model->cover[k];
			steps += (double)model->cover[k] * depth[k - start];
			walk->depth[tree] = depth[k - start] > walk->depth[tree] ? depth[k - start] : walk->depth[tree];
			if (model->width == 1)
				walk->by_node.value[k] = model->values[model->feature[k]];
			continue;
		}
		if (model->kind[k] == MMQ_NODE_CATEGORY && !walk->slots.has_sets)
			walk->is_plain[tree] = 1;
		for (uint32_t side = 0; side < 2; side++) {
			uint32_t *child = &depth[model->first[k] + side];
			*child = depth[k - start] + 1 > *child ? depth[k - start] + 1 : *child;
		}
	}
	double mean = rows > 0 ? ceil(steps / rows) : 0;
	walk->head[tree] = mean < walk->depth[tree] ? (uint32_t)mean : walk->depth[tree];
}

static void
pack_nodes(struct mmq_tree_walk *walk, const struct mmq_tree_model *model, enum mmq_walk_space space)
{
	struct mmq_walk_node *nodes = walk->nodes[space] = mmq_aligned_huge(((size_t)model->nodes + 1) * sizeof(*nodes));
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		uint32_t start = model->tree_start[tree];
		for (uint32_t k = start; k < model->tree_start[tree + 1]; k++) {
			if (model->kind[k] == MMQ_NODE_LEAF || walk->is_plain[tree])
				nodes[k] = (struct mmq_walk_node){ INFINITY, (k - start) << walk->shift };
			else
				nodes[k] = (struct mmq_walk_node){ mmq_tree_slot_threshold(&walk->slots, model, k, space),
					model->first[k] << walk->shift | mmq_tree_slot_of(&walk->slots, model, k) };
		}
	}
	nodes[model->nodes] = (struct mmq_walk_node){ INFINITY, 0 };
}

/* Whether node numbers and slots fit their word, and ranks a float; otherwise every tree is walked plainly. */
static bool
can_pack(struct mmq_tree_walk *walk, const struct mmq_tree_model *model)
{
	const struct mmq_tree_slots *slots = &walk->slots;
	uint32_t largest = 1;
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		uint32_t size = model->tree_start[tree + 1] - model->tree_start[tree];
		largest = size > largest ? size : largest;
	}
	walk->shift = bits_for(slots->count - 1);
	for (uint32_t s = 0; slots->ladder != NULL && s < slots->plain; s++)
		if (slots->ladder_start[s + 1] - slots->ladder_start[s] >= RANKS_MAX)
			return false;
	return walk->shift + bits_for(largest) <= 32;
}

/* Whether nodes know their share of the training rows; files of other libraries may leave it out. */
static bool
has_covers(const struct mmq_tree_model *model)
{
	for (uint32_t k = 0; k < model->nodes; k++)
		if (model->kind[k] != MMQ_NODE_LEAF && model->cover[k] <= 0)
			return false;
	return true;
}

struct mmq_tree_walk *
mmq_tree_walk_new(const struct mmq_tree_model *model)
{
	struct mmq_tree_walk *walk = mmq_alloc(sizeof(*walk));
	uint32_t *depth = mmq_array((size_t)model->nodes + 1, sizeof(*depth));

	mmq_tree_slots_init(&walk->slots, model);
	walk->trees = model->trees;
	walk->tree_start = model->tree_start;
	walk->nodes_count = model->nodes;
	walk->depth = mmq_array((size_t)model->trees + 1, sizeof(uint32_t));
	walk->head = mmq_array((size_t)model->trees + 1, sizeof(uint32_t));
	walk->is_plain = mmq_array((size_t)model->trees + 1, 1);
	walk->by_node = (struct mmq_leaf_table){ .start = model->tree_start, .number = mmq_array((size_t)model->nodes + 1, sizeof(uint32_t)),
		.value_row = mmq_array((size_t)model->nodes + 1, sizeof(uint32_t)),
		.value = model->width == 1 ? mmq_aligned_huge(((size_t)model->nodes + 1) * sizeof(double)) : NULL };
	bool fits = can_pack(walk, model);
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		measure_depth(walk, model, tree, depth);
		walk->is_plain[tree] = walk->is_plain[tree] || !fits;
		walk->any_plain = walk->any_plain || walk->is_plain[tree];
	}
	free(depth);
	pack_nodes(walk, model, MMQ_SPACE_VALUES);
	if (walk->slots.ladder != NULL)
		pack_nodes(walk, model, MMQ_SPACE_RANKS);
	mmq_walk_build_masks(walk, model);
	for (int space = 0; space < MMQ_SPACES; space++)
		if (walk->nodes[space] != NULL)
			mmq_walk_build_table(walk, (enum mmq_walk_space)space);
	mmq_walk_choose(walk);
	/* With a link nothing adds up to the score. */
	walk->shap = has_covers(model) && !model->log_link ? mmq_tree_shap_new(model) : NULL;
	return walk;
}

static void
table_fini(struct mmq_leaf_table *table)
{
	free(table->number);
	free(table->value_row);
	free(table->value);
}

void
mmq_tree_walk_destroy(struct mmq_tree_walk **walk_p)
{
	struct mmq_tree_walk *walk = *walk_p;
	if (walk == NULL)
		return;
	for (int space = 0; space < MMQ_SPACES; space++) {
		free(walk->nodes[space]);
		free(walk->entries[space]);
		mmq_walk_table_destroy(&walk->tables[space]);
	}
	mmq_tree_shap_destroy(&walk->shap);
	mmq_tree_slots_fini(&walk->slots);
	table_fini(&walk->by_node);
	table_fini(&walk->by_bit);
	free(walk->depth);
	free(walk->head);
	free(walk->is_plain);
	free(walk->word_start);
	free(walk->tree_word);
	free(walk->bits_start);
	free(walk);
	*walk_p = NULL;
}
