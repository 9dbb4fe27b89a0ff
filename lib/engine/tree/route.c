/* route.c: stable partition of row indices by a split, in blocks so that any number of threads gives the same order. */
#include <string.h>

#include "engine/tree/grow.h"
#include "math/cpu.h"

enum { BLOCK_LEAST = 4096, BLOCKS_MAX = 1024 };

struct partition {
	const uint8_t *column, *first;
	uint32_t *index, *temp;
	size_t count, block;
	size_t *firsts;  /* per block: how many go to the first child */
};

/* Branch-free: every index is written to both sides, one cursor moves. The first side stays in place, the second goes to temp. */
static size_t
split_range(const uint8_t *column, const uint8_t *first, uint32_t *index, size_t count, uint32_t *temp)
{
	size_t done[2] = { 0, 0 }, i = 0;
#if defined(__x86_64__)
	if (mmq_cpu_has_avx512())
		i = mmq_tree_partition_512(column, first, index, count, temp, done);
#endif
	size_t a = done[0], b = done[1];
	for (; i < count; i++) {
		uint32_t r = index[i];
		uint8_t goes_first = first[column[r]];
		index[a] = r;
		temp[b] = r;
		a += goes_first;
		b += 1u - goes_first;
	}
	return a;
}

static void
partition_block(void *arg, size_t block, unsigned thread)
{
	struct partition *p = arg;
	size_t from = block * p->block, count = p->count - from < p->block ? p->count - from : p->block;
	(void)thread;
	p->firsts[block] = split_range(p->column, p->first, p->index + from, count, p->temp + from);
}

size_t
mmq_tree_partition(const uint8_t *column, const uint8_t *first, uint32_t *index, size_t count, uint32_t *temp, struct mmq_pool *pool)
{
	size_t block = count / BLOCKS_MAX < BLOCK_LEAST ? BLOCK_LEAST : count / BLOCKS_MAX + 1, blocks = (count + block - 1) / block, firsts[BLOCKS_MAX];
	if (mmq_pool_threads(pool) == 1 || blocks < 4) {
		size_t a = split_range(column, first, index, count, temp);
		memcpy(index + a, temp, (count - a) * sizeof(*index));
		return a;
	}
	struct partition p = { column, first, index, temp, count, block, firsts };
	mmq_pool_run(pool, blocks, partition_block, &p);
	size_t a = 0, b = 0;
	for (size_t k = 0; k < blocks; k++) {
		size_t size = count - k * block < block ? count - k * block : block;
		memmove(index + a, index + k * block, firsts[k] * sizeof(*index));
		memmove(temp + b, temp + k * block, (size - firsts[k]) * sizeof(*temp));
		a += firsts[k];
		b += size - firsts[k];
	}
	memcpy(index + a, temp, b * sizeof(*index));
	return a;
}

void
mmq_tree_route(const struct mmq_grown *tree, const struct mmq_tree_bins *bins, const uint8_t *by_column, size_t rows_total,
    uint32_t *index, size_t count, uint32_t *temp, struct mmq_leaf *ranges, struct mmq_pool *pool)
{
	uint8_t first[MMQ_TREE_BINS_MAX];
	ranges[0] = (struct mmq_leaf){ .node = 0, .begin = 0, .count = (uint32_t)count };
	for (uint32_t k = 0; k < tree->nodes_count; k++) {
		const struct mmq_grown_node *node = &tree->nodes[k];
		if (node->first == 0)
			continue;
		mmq_grown_routes(tree, node, bins, first);
		uint32_t begin = ranges[k].begin;
		uint32_t size = (uint32_t)mmq_tree_partition(by_column + (size_t)node->column * rows_total, first, index + begin, ranges[k].count, temp, pool);
		ranges[node->first] = (struct mmq_leaf){ .node = node->first, .begin = begin, .count = size };
		ranges[node->first + 1] = (struct mmq_leaf){ .node = node->first + 1, .begin = begin + size, .count = ranges[k].count - size };
	}
}
