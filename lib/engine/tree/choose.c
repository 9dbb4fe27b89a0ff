/* choose.c: which way answers fastest for this model on this processor, found by trying each on made-up rows when the model is loaded.
 *
 * The one place of the engine that reads a clock: all ways give the same bits, so time changes how long an answer takes and nothing else.
 * Rows are drawn from the model's own thresholds, so that comparisons fall both ways. Models of little work are not timed at all. */
#include <stdlib.h>

#include "engine/tree/walk.h"
#include "math/rng.h"
#include "util/clock.h"
#include "util/mem.h"

enum { ROWS = 64, REPEATS = 3, TREES_MIN = 4, TREES_MANY = 256, SLOTS_MAX = 4096 };

struct trial {
	const struct mmq_tree_walk *walk;
	uint32_t rows_count;
	uint32_t *at;                    /* (trees and a group's places, then words of masks) */
	float *rows;                     /* (ROWS / 16, slots, 16) */
	float *single;                   /* (ROWS, slots) */
};

static void
draw_rows(struct trial *trial)
{
	const struct mmq_tree_walk *walk = trial->walk;
	uint32_t slots = walk->slots.count, mask = (1u << walk->shift) - 1;
	struct mmq_rng rng = mmq_rng_stream(1, walk->nodes_count, slots);
	float *seen = mmq_array(slots, sizeof(float));
	for (uint32_t r = 0; r < ROWS; r++) {
		/* Of the thresholds of each slot any, by letting later ones take the place of earlier ones now and then. */
		for (uint32_t turn = 0; turn < 4 * slots; turn++) {
			struct mmq_walk_node node = walk->nodes[MMQ_SPACE_VALUES][mmq_rng_below(&rng, walk->nodes_count)];
			if ((node.packed & mask) != 0)
				seen[node.packed & mask] = mmq_rng_below(&rng, 2) == 0 ? node.threshold : node.threshold * 1.25f + 0.25f;
		}
		for (uint32_t s = 0; s < slots; s++) {
			trial->rows[(r / MMQ_WALK_LANES * slots + s) * MMQ_WALK_LANES + r % MMQ_WALK_LANES] = seen[s];
			trial->single[(size_t)r * slots + s] = seen[s];
		}
	}
	free(seen);
}

/* Microseconds for all rows, the best of a few turns. */
static int64_t
time_way(const struct trial *trial, const struct mmq_walk_way *way, bool by_row)
{
	const struct mmq_tree_walk *walk = trial->walk;
	uint32_t slots = walk->slots.count, *at = trial->at, *work = at + walk->trees + MMQ_WALK_TREES * MMQ_WALK_LANES;
	int64_t best = INT64_MAX;
	for (int turn = 0; turn < REPEATS; turn++) {
		int64_t start = mmq_clock_mono_us();
		for (uint32_t r = 0; r < trial->rows_count; r += by_row ? 1 : MMQ_WALK_LANES) {
			if (by_row)
				way->row(walk, MMQ_SPACE_VALUES, trial->single + (size_t)r * slots, work, at);
			for (uint32_t tree = 0; !by_row && tree < walk->trees; tree += MMQ_WALK_TREES) {
				uint32_t count = walk->trees - tree < MMQ_WALK_TREES ? walk->trees - tree : MMQ_WALK_TREES;
				way->rows(walk, MMQ_SPACE_VALUES, tree, count, trial->rows + (size_t)r * slots, at);
			}
		}
		int64_t took = mmq_clock_mono_us() - start;
		best = took < best ? took : best;
	}
	return best;
}

size_t
mmq_walk_ways(const struct mmq_tree_walk *walk, const struct mmq_walk_way *ways_out[MMQ_WALK_WAYS_MAX])
{
	size_t count = mmq_walk_masks(walk, ways_out);
	count += mmq_walk_tables(walk, ways_out + count);
	count += mmq_walk_gathered(walk, ways_out + count);
	return count + mmq_walk_interleaved(walk, ways_out + count);
}

void
mmq_walk_choose(struct mmq_tree_walk *walk)
{
	const struct mmq_walk_way *ways[MMQ_WALK_WAYS_MAX];
	size_t count = mmq_walk_ways(walk, ways);
	struct trial trial = { .walk = walk, .rows_count = walk->trees > TREES_MANY ? MMQ_WALK_LANES : ROWS };
	int64_t best_rows = INT64_MAX, best_row = INT64_MAX;

	walk->rows_way = ways[0];        /* masks, if they are legal */
	walk->row_way = ways[count - 1];
	walk->group_min = MMQ_WALK_LANES / 4;
	if (walk->trees < TREES_MIN || walk->slots.count > SLOTS_MAX)
		return;
	trial.rows = mmq_aligned((size_t)ROWS * walk->slots.count * sizeof(float));
	trial.single = mmq_aligned((size_t)ROWS * walk->slots.count * sizeof(float));
	trial.at = mmq_array((size_t)walk->trees + MMQ_WALK_TREES * MMQ_WALK_LANES + mmq_walk_words(walk), sizeof(uint32_t));
	draw_rows(&trial);
	for (size_t i = 0; i < count; i++) {
		int64_t took = ways[i]->rows != NULL ? time_way(&trial, ways[i], false) : INT64_MAX;
		walk->rows_way = took < best_rows ? ways[i] : walk->rows_way;
		best_rows = took < best_rows ? took : best_rows;
		took = ways[i]->row != NULL ? time_way(&trial, ways[i], true) : INT64_MAX;
		walk->row_way = took < best_row ? ways[i] : walk->row_way;
		best_row = took < best_row ? took : best_row;
	}
	/* A group costs the same however few of its lanes hold rows. */
	if (best_row > 0)
		walk->group_min = (size_t)(best_rows * MMQ_WALK_LANES / best_row) + 1;
	free(trial.at);
	free(trial.rows);
	free(trial.single);
}
