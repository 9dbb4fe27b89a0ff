/* oob.c: how good a forest is by the rows that its trees did not see: each row is answered by the trees whose bootstrap left it out
 * (Breiman 2001), which costs no validation rows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/cart.h"
#include "util/mem.h"

enum { BLOCK = 256 };

struct oob {
	const struct mmq_tree_model *model;
	const struct mmq_dataset *train;
	const uint8_t *drawn;
	uint32_t trees;
	uint32_t *leaf_row;      /* rows of values, leaf after leaf, tree after tree */
	uint32_t *leaf_start;    /* (all trees) */
	uint32_t **leaf;         /* (threads): (BLOCK, all trees) */
	double **sum;            /* (threads): (width) */
	void **scratch;          /* (threads) */
	double *right, *weight, *moment, *square; /* (blocks): weight of rows answered right, or squared errors; weights; weighted y and y^2 */
};

/* The mean answer of the trees that did not draw the row; false when there is none. */
static bool
answer(const struct oob *oob, size_t row, const uint32_t *leaf, double *sum)
{
	const struct mmq_tree_model *model = oob->model;
	uint32_t first = model->trees - oob->trees, count = 0;
	memset(sum, 0, model->width * sizeof(*sum));
	for (uint32_t t = 0; t < oob->trees; t++) {
		if ((oob->drawn[t * (oob->train->x.rows / 8 + 1) + row / 8] >> row % 8 & 1) != 0)
			continue;
		const double *value = model->values + (size_t)oob->leaf_row[oob->leaf_start[first + t] + leaf[first + t]] * model->width;
		for (uint32_t c = 0; c < model->width; c++)
			sum[c] += value[c];
		count++;
	}
	for (uint32_t c = 0; c < model->width && count > 0; c++)
		sum[c] /= count;
	return count > 0;
}

static double
rightness(const struct mmq_tree_model *model, const double *sum, double y)
{
	uint32_t top = 0;
	if (model->task == MMQ_REGRESSION)
		return (sum[0] - y) * (sum[0] - y);
	if (model->width == 1)
		return (sum[0] > 0.5) == (y > 0);
	for (uint32_t c = 1; c < model->width; c++)
		top = sum[c] > sum[top] ? c : top;
	return top == (uint32_t)y;
}

static void
judge_block(void *arg, size_t block, unsigned thread)
{
	struct oob *oob = arg;
	const struct mmq_dataset *train = oob->train;
	struct mmq_batch x = mmq_tree_rows_of(&train->x, block * BLOCK, BLOCK);
	struct mmq_outputs out = { .wanted = MMQ_OUT_LEAF, .leaf = oob->leaf[thread], .leaf_cols = oob->model->trees };
	mmq_tree_predict(oob->model, &x, &out, oob->scratch[thread]);
	for (size_t r = 0; r < x.rows; r++) {
		size_t row = block * BLOCK + r;
		double weight = train->weight != NULL ? (double)train->weight[row] : 1.0, y = train->y[row];
		if (!answer(oob, row, out.leaf + r * out.leaf_cols, oob->sum[thread]))
			continue;
		oob->right[block] += weight * rightness(oob->model, oob->sum[thread], y);
		oob->weight[block] += weight;
		oob->moment[block] += weight * y;
		oob->square[block] += weight * y * y;
	}
}

static double
total_of(const double *parts, size_t count)
{
	double sum = 0;
	for (size_t b = 0; b < count; b++)
		sum += parts[b];
	return sum;
}

static void
list_leaves(struct oob *oob)
{
	const struct mmq_tree_model *model = oob->model;
	uint32_t next = 0;
	oob->leaf_row = mmq_array((size_t)model->nodes + 1, sizeof(uint32_t));
	oob->leaf_start = mmq_array((size_t)model->trees + 1, sizeof(uint32_t));
	for (uint32_t t = 0; t < model->trees; t++) {
		oob->leaf_start[t] = next;
		for (uint32_t k = model->tree_start[t]; k < model->tree_start[t + 1]; k++)
			if (model->kind[k] == MMQ_NODE_LEAF)
				oob->leaf_row[next++] = model->feature[k];
	}
}

double
mmq_tree_oob_score(const struct mmq_tree_model *model, const struct mmq_dataset *train, const uint8_t *drawn, uint32_t trees,
    struct mmq_pool *pool)
{
	unsigned threads = mmq_pool_threads(pool);
	size_t blocks = (train->x.rows + BLOCK - 1) / BLOCK;
	struct oob oob = { .model = model, .train = train, .drawn = drawn, .trees = trees, .leaf = mmq_array(threads, sizeof(uint32_t *)),
		.sum = mmq_array(threads, sizeof(double *)), .scratch = mmq_array(threads, sizeof(void *)) };
	double **parts[] = { &oob.right, &oob.weight, &oob.moment, &oob.square };
	for (size_t i = 0; i < 4; i++)
		*parts[i] = mmq_array(blocks, sizeof(double));
	list_leaves(&oob);
	for (unsigned t = 0; t < threads; t++) {
		oob.leaf[t] = mmq_array((size_t)BLOCK * model->trees, sizeof(uint32_t));
		oob.sum[t] = mmq_array(model->width, sizeof(double));
		oob.scratch[t] = mmq_aligned(mmq_tree_scratch_bytes(model, BLOCK, MMQ_OUT_LEAF) + 8);
	}
	mmq_pool_run(pool, blocks, judge_block, &oob);
	double right = total_of(oob.right, blocks), weight = total_of(oob.weight, blocks), moment = total_of(oob.moment, blocks);
	double spread = total_of(oob.square, blocks) - moment * moment / weight;
	double score = !(weight > 0) ? NAN : model->task == MMQ_REGRESSION ? 1 - right / spread : right / weight;
	for (unsigned t = 0; t < threads; t++) {
		free(oob.leaf[t]);
		free(oob.sum[t]);
		free(oob.scratch[t]);
	}
	for (size_t i = 0; i < 4; i++)
		free(*parts[i]);
	free(oob.leaf);
	free(oob.sum);
	free(oob.scratch);
	free(oob.leaf_row);
	free(oob.leaf_start);
	return score;
}
