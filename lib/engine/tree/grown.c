/* grown.c: one tree while it grows, in terms of bins. Nodes come in pairs behind their parent. */
#include <stdlib.h>
#include <string.h>

#include "engine/tree/model.h"
#include "util/mem.h"

static void *
room_for(void *items, uint32_t wanted, uint32_t *capacity, size_t size)
{
	if (wanted <= *capacity)
		return items;
	*capacity = wanted + wanted / 2 + 16;
	return mmq_grow(items, *capacity, size);
}

static uint32_t
nodes_add(struct mmq_grown *tree, uint32_t count)
{
	uint32_t first = tree->nodes_count;
	tree->nodes = room_for(tree->nodes, first + count, &tree->nodes_capacity, sizeof(*tree->nodes));
	memset(tree->nodes + first, 0, count * sizeof(*tree->nodes));
	tree->nodes_count += count;
	return first;
}

uint32_t
mmq_grown_pair(struct mmq_grown *tree)
{
	return nodes_add(tree, 2);
}

uint32_t
mmq_grown_root(struct mmq_grown *tree)
{
	tree->nodes_count = tree->sets_count = tree->values_count = 0;
	return nodes_add(tree, 1);
}

uint32_t
mmq_grown_set(struct mmq_grown *tree, const struct mmq_bin_set *set)
{
	tree->sets = room_for(tree->sets, tree->sets_count + 1, &tree->sets_capacity, sizeof(*tree->sets));
	tree->sets[tree->sets_count] = *set;
	return tree->sets_count++;
}

uint32_t
mmq_grown_value(struct mmq_grown *tree, const double *row, uint32_t width)
{
	uint32_t at = tree->values_count * width;
	tree->values = room_for(tree->values, at + width, &tree->values_capacity, sizeof(*tree->values));
	memcpy(tree->values + at, row, width * sizeof(*row));
	return tree->values_count++;
}

void
mmq_grown_fini(struct mmq_grown *tree)
{
	free(tree->nodes);
	free(tree->sets);
	free(tree->values);
	*tree = (struct mmq_grown){ 0 };
}

void
mmq_grown_routes(const struct mmq_grown *tree, const struct mmq_grown_node *node, const struct mmq_tree_bins *bins, uint8_t *first_out)
{
	uint32_t missing = bins->columns[node->column].bins;
	for (uint32_t b = 0; b < MMQ_TREE_BINS_MAX; b++) {
		bool is_less = b <= node->bin;
		bool goes_first = node->kind == MMQ_NODE_CATEGORY ? (tree->sets[node->set].has[b / 8] >> b % 8 & 1) != 0 :
		    node->kind == MMQ_NODE_LESS_FIRST ? is_less : !is_less && b != missing;
		first_out[b] = goes_first;
	}
}
