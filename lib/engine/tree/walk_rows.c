/* walk_rows.c: walks without branches, 8 at a time in scalar registers; runs everywhere. Source of the layout: branch-free walks with
 * self-looping leaves, cf. Asadi, Lin, de Vries 2014. */
#include "engine/tree/walk.h"

enum { LANES = 8 };

struct lanes { const struct mmq_walk_node *nodes[LANES]; const float *row[LANES]; uint32_t at[LANES]; };

/* Slot s of lane j is row[j][s << step_shift]. Walk until all lanes are at leaves, which is looked at after `head` steps only. */
static inline __attribute__((always_inline)) void
walk_lanes(struct lanes *lanes, unsigned shift, unsigned step_shift, uint32_t head, uint32_t depth)
{
	uint32_t moved = 1, at[LANES], mask = (1u << shift) - 1;
	for (int j = 0; j < LANES; j++)
		at[j] = lanes->at[j];
	for (uint32_t level = 0; level < depth && moved != 0; level++) {
		moved = level < head;
#pragma GCC unroll 8
		for (int j = 0; j < LANES; j++) {
			struct mmq_walk_node node = lanes->nodes[j][at[j]];
			uint32_t next = (node.packed >> shift) + !(lanes->row[j][(node.packed & mask) << step_shift] <= node.threshold);
			moved |= next ^ at[j];
			at[j] = next;
		}
	}
	for (int j = 0; j < LANES; j++)
		lanes->at[j] = at[j];
}

static void
interleaved_rows(const struct mmq_tree_walk *walk, enum mmq_walk_space space, uint32_t tree, uint32_t count, const float *rows, uint32_t *at_out)
{
	for (uint32_t t = tree; t < tree + count; t++) {
		for (uint32_t half = 0; half < MMQ_WALK_LANES; half += LANES) {
			struct lanes lanes;
			for (uint32_t j = 0; j < LANES; j++) {
				lanes.nodes[j] = walk->nodes[space] + walk->tree_start[t];
				lanes.row[j] = rows + half + j;
				lanes.at[j] = 0;
			}
			walk_lanes(&lanes, walk->shift, 4, walk->head[t], walk->depth[t]);
			for (uint32_t j = 0; j < LANES; j++)
				*at_out++ = lanes.at[j];
		}
	}
}

static void
interleaved_row(const struct mmq_tree_walk *walk, enum mmq_walk_space space, const float *row, uint32_t *work, uint32_t *at_out)
{
	(void)work;
	for (uint32_t from = 0; from < walk->trees; from += LANES) {
		struct lanes lanes;
		uint32_t depth = 0, head = 0;
		for (uint32_t j = 0; j < LANES; j++) {
			bool works = from + j < walk->trees;
			uint32_t t = from + j;
			lanes.nodes[j] = walk->nodes[space] + (works ? walk->tree_start[t] : walk->nodes_count);
			lanes.row[j] = row;
			lanes.at[j] = 0;
			depth = works && walk->depth[t] > depth ? walk->depth[t] : depth;
			head = works && walk->head[t] > head ? walk->head[t] : head;
		}
		walk_lanes(&lanes, walk->shift, 0, head, depth);
		for (uint32_t j = 0; j < LANES && from + j < walk->trees; j++)
			at_out[from + j] = lanes.at[j];
	}
}

size_t
mmq_walk_interleaved(const struct mmq_tree_walk *walk, const struct mmq_walk_way **ways_out)
{
	static const struct mmq_walk_way way = { "interleaved", interleaved_rows, interleaved_row, false };
	(void)walk;
	ways_out[0] = &way;
	return 1;
}
