/* prune.c: minimal cost-complexity pruning (Breiman et al. 1984, section 3.3) for a given alpha, in one pass from the leaves up: a branch stays
 * if what it gains in all is worth more than alpha for each leaf it adds. This is the smallest of the subtrees with the least cost. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/cart.h"
#include "util/mem.h"

/* Nodes that are still reached, numbered anew in their old order, so that children stay behind their parents. */
static void
renumber(struct mmq_grown *grown)
{
	uint32_t *number = mmq_array(grown->nodes_count, sizeof(*number)), kept = 1;
	struct mmq_grown_node *old = mmq_array(grown->nodes_count, sizeof(*old));
	memcpy(old, grown->nodes, grown->nodes_count * sizeof(*old));
	for (uint32_t k = 0; k < grown->nodes_count; k++) {
		uint32_t first = old[k].first;
		if (first == 0 || (k > 0 && number[k] == 0))
			continue;
		number[first] = kept++;
		number[first + 1] = kept++;
	}
	for (uint32_t k = 0; k < grown->nodes_count; k++) {
		if (k > 0 && number[k] == 0)
			continue;
		struct mmq_grown_node node = old[k];
		node.first = node.first == 0 ? 0 : number[node.first];
		grown->nodes[number[k]] = node;
	}
	grown->nodes_count = kept;
	free(number);
	free(old);
}

void
mmq_cart_prune(struct mmq_grown *grown, const double *gain, const uint32_t *value_row, double alpha)
{
	double *worth = mmq_array(grown->nodes_count, sizeof(*worth));  /* of the best way to cut below a node */
	for (uint32_t k = grown->nodes_count; k-- > 0;) {
		struct mmq_grown_node *node = &grown->nodes[k];
		if (node->first == 0)
			continue;
		worth[k] = gain[k] - alpha + worth[node->first] + worth[node->first + 1];
		if (worth[k] > 0)
			continue;
		worth[k] = 0;
		node->first = 0;
		node->column = value_row[k];
	}
	free(worth);
	renumber(grown);
}
