/* predict.c: scores, probabilities and leaves of rows.
 *
 * Rows are prepared in blocks as floats (one slot per used column), then each tree is walked by 8 rows at once; rows beyond
 * the last 8 are walked by 8 trees at once. Either way a row's values are added tree after tree in double, so one row
 * and a batch give the same bits. Source of the layout: branch-free walks with self-looping leaves, cf. Asadi, Lin, de Vries 2014. */
#include <math.h>
#include <string.h>

#include "engine/tree/walk.h"

enum { LANES = 8, BLOCK_BYTES = 128 << 10, BLOCK_ROWS_MAX = 256 };

static size_t
block_rows(const struct mmq_tree_model *model, size_t rows_max)
{
	size_t rows = BLOCK_BYTES / (model->walk->slots * sizeof(float)) / LANES * LANES;
	rows = rows < LANES ? LANES : rows > BLOCK_ROWS_MAX ? BLOCK_ROWS_MAX : rows;
	return rows_max < rows ? (rows_max > 0 ? rows_max : 1) : rows;
}

size_t
mmq_tree_scratch_bytes(const struct mmq_tree_model *model, size_t rows_max)
{
	size_t rows = block_rows(model, rows_max);
	if (model->threshold64 != NULL)
		return rows * model->outputs * sizeof(double) + rows * model->walk->slots * sizeof(float) + model->cols * sizeof(double) + 8;
	return rows * model->outputs * sizeof(double) + rows * model->walk->slots * sizeof(float);
}

/* Rows [first, first + count) of x into prepared rows (count, slots). */
static void
prepare_rows(const struct mmq_tree_walk *walk, const struct mmq_batch *x, size_t first, size_t count, float *out)
{
	for (size_t r = 0; r < count; r++, out += walk->slots) {
		out[0] = 0.0f;
		if (x->row_start != NULL) {
			memset(out, 0, (walk->plain + 1) * sizeof(float));
			for (uint64_t k = x->row_start[first + r]; k < x->row_start[first + r + 1]; k++) {
				uint32_t slot = walk->column_slot[x->col[k]];
				if (slot != 0)
					out[slot] = x->dtype == MMQ_F32 ? ((const float *)x->value)[k] : (float)((const double *)x->value)[k];
			}
		} else if (x->dtype == MMQ_F32) {
			const float *row = (const float *)x->dense + (first + r) * x->stride;
			for (uint32_t s = 0; s < walk->plain; s++)
				out[1 + s] = row[walk->slot_source[s]];
		} else {
			const double *row = (const double *)x->dense + (first + r) * x->stride;
			for (uint32_t s = 0; s < walk->plain; s++)
				out[1 + s] = (float)row[walk->slot_source[s]];
		}
		for (uint32_t s = 0; s < walk->negated; s++)
			out[1 + walk->plain + s] = -out[walk->negated_slot[s]];
	}
}

static inline uint32_t
step(const struct mmq_tree_walk *walk, uint32_t at, const float *row)
{
	struct mmq_walk_node node = walk->nodes[at];
	return (node.packed >> walk->shift) + !(row[node.packed & ((1u << walk->shift) - 1)] <= node.threshold);
}

/* Move 8 walks, lane j on the row at row + j * stride (0: all on one row), until all are at leaves. */
static inline __attribute__((always_inline)) void
walk_lanes(const struct mmq_tree_walk *walk, uint32_t at[LANES], const float *row, size_t stride, uint32_t head, uint32_t depth)
{
	uint32_t a0 = at[0], a1 = at[1], a2 = at[2], a3 = at[3], a4 = at[4], a5 = at[5], a6 = at[6], a7 = at[7];
	uint32_t level = 0, moved = 1;
	const float *row4 = row + 4 * stride;
	for (; level < depth && moved != 0; level++) {
		uint32_t b0 = step(walk, a0, row), b1 = step(walk, a1, row + stride), b2 = step(walk, a2, row + 2 * stride);
		uint32_t b3 = step(walk, a3, row + 3 * stride), b4 = step(walk, a4, row4), b5 = step(walk, a5, row4 + stride);
		uint32_t b6 = step(walk, a6, row4 + 2 * stride), b7 = step(walk, a7, row4 + 3 * stride);
		if (level >= head)
			moved = (a0 ^ b0) | (a1 ^ b1) | (a2 ^ b2) | (a3 ^ b3) | (a4 ^ b4) | (a5 ^ b5) | (a6 ^ b6) | (a7 ^ b7);
		a0 = b0, a1 = b1, a2 = b2, a3 = b3, a4 = b4, a5 = b5, a6 = b6, a7 = b7;
	}
	at[0] = a0, at[1] = a1, at[2] = a2, at[3] = a3, at[4] = a4, at[5] = a5, at[6] = a6, at[7] = a7;
}

/* One row through one tree of any kind; row: its prepared floats, codes: its category codes. */
static uint32_t
walk_mixed(const struct mmq_tree_model *model, uint32_t tree, const float *row, const int32_t *codes)
{
	uint32_t start = model->tree_start[tree], at = start;
	while (model->kind[at] != MMQ_NODE_LEAF) {
		bool goes_second;
		if (model->kind[at] == MMQ_NODE_CATEGORY) {
			uint32_t set = (uint32_t)model->threshold[at], from = model->set_start[set];
			uint64_t place = (uint64_t)((int64_t)codes[model->feature[at] - model->cols] + 1);
			goes_second = place / 32 >= model->set_start[set + 1] - from || (model->set_word[from + place / 32] >> place % 32 & 1) == 0;
		} else {
			float value = row[model->walk->column_slot[model->feature[at]]];
			bool less_first = model->kind[at] == MMQ_NODE_LESS_FIRST || model->kind[at] == MMQ_NODE_ZERO_LESS_FIRST;
			if (model->kind[at] >= MMQ_NODE_ZERO_LESS_FIRST && fabsf(value) <= 1e-35f)
				value = NAN;
			goes_second = less_first ? !(value <= model->threshold[at]) : !(value > model->threshold[at]);
		}
		at = start + model->first[at] + goes_second;
	}
	return at;
}

struct run {
	const struct mmq_tree_model *model;
	const struct mmq_batch *x;
	struct mmq_outputs *out;
	float *rows;    /* (block, slots) */
	double *sums;   /* (block, outputs) */
	size_t first;   /* row of x that the block begins with */
	bool wants_sums, wants_leaf;
};

static inline void
take_leaf(const struct run *run, size_t r, uint32_t tree, uint32_t leaf)
{
	const struct mmq_tree_model *model = run->model;
	double *sums = run->sums + r * model->outputs;
	if (run->wants_leaf)
		run->out->leaf[(run->first + r) * run->out->leaf_cols + tree] = model->walk->leaf_number[leaf];
	if (!run->wants_sums)
		return;
	if (model->width == 1) {
		sums[model->outputs == 1 ? 0 : tree % model->outputs] += model->walk->leaf_value[leaf];
		return;
	}
	const double *values = model->values + (size_t)model->feature[leaf] * model->width;
	for (uint32_t c = 0; c < model->width; c++)
		sums[c] += values[c];
}

static const int32_t *
codes_of(const struct run *run, size_t r)
{
	return run->x->codes_cols > 0 ? run->x->codes + (run->first + r) * run->x->codes_cols : NULL;
}

static void
walk_eight_rows(const struct run *run, size_t r)
{
	const struct mmq_tree_model *model = run->model;
	const struct mmq_tree_walk *walk = model->walk;
	const float *row = run->rows + r * walk->slots;
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		uint32_t at[LANES], root = model->tree_start[tree];
		if (walk->is_mixed[tree]) {
			for (size_t j = 0; j < LANES; j++)
				at[j] = walk_mixed(model, tree, row + j * walk->slots, codes_of(run, r + j));
		} else {
			for (size_t j = 0; j < LANES; j++)
				at[j] = root;
			walk_lanes(walk, at, row, walk->slots, walk->head[tree], walk->depth[tree]);
		}
		for (size_t j = 0; j < LANES; j++)
			take_leaf(run, r + j, tree, at[j]);
	}
}

static void
walk_eight_trees(const struct run *run, size_t r)
{
	const struct mmq_tree_model *model = run->model;
	const struct mmq_tree_walk *walk = model->walk;
	const float *row = run->rows + r * walk->slots;
	for (uint32_t from = 0; from < model->trees; from += LANES) {
		uint32_t at[LANES], count = model->trees - from < LANES ? model->trees - from : LANES, depth = 0, head = 0;
		for (uint32_t j = 0; j < LANES; j++) {
			uint32_t tree = from + j;
			at[j] = model->nodes;
			if (j >= count || walk->is_mixed[tree])
				continue;
			at[j] = model->tree_start[tree];
			depth = walk->depth[tree] > depth ? walk->depth[tree] : depth;
			head = walk->head[tree] > head ? walk->head[tree] : head;
		}
		if (depth > 0)
			walk_lanes(walk, at, row, 0, head, depth);
		for (uint32_t j = 0; j < count; j++)
			take_leaf(run, r, from + j, walk->is_mixed[from + j] ? walk_mixed(model, from + j, row, codes_of(run, r)) : at[j]);
	}
}

static void
write_probability(const struct mmq_tree_model *model, const double *sums, double *out)
{
	if (model->boosting != MMQ_TREE_GBDT) {
		double one = sums[0] / model->trees;
		for (uint32_t c = 0; c < model->outputs; c++)
			out[c] = sums[c] / model->trees;
		if (model->outputs == 1) {
			out[0] = 1.0 - one;
			out[1] = one;
		}
	} else if (model->outputs == 1) {
		double e = exp(-fabs(sums[0])), small = e / (1.0 + e), large = 1.0 / (1.0 + e);
		out[0] = sums[0] > 0 ? small : large;
		out[1] = sums[0] > 0 ? large : small;
	} else {
		double top = sums[0], total = 0;
		for (uint32_t c = 1; c < model->outputs; c++)
			top = sums[c] > top ? sums[c] : top;
		for (uint32_t c = 0; c < model->outputs; c++)
			total += out[c] = exp(sums[c] - top);
		for (uint32_t c = 0; c < model->outputs; c++)
			out[c] /= total;
	}
}

static void
write_rows(const struct run *run, size_t count)
{
	const struct mmq_tree_model *model = run->model;
	bool is_forest = model->boosting != MMQ_TREE_GBDT;
	for (size_t r = 0; r < count; r++) {
		const double *sums = run->sums + r * model->outputs;
		size_t row = run->first + r;
		for (uint32_t c = 0; c < model->outputs && (run->out->wanted & MMQ_OUT_SCORE) != 0; c++)
			run->out->score[row * model->outputs + c] = is_forest ? model->base[c] + sums[c] / model->trees : sums[c];
		if ((run->out->wanted & MMQ_OUT_PROBABILITY) != 0)
			write_probability(model, sums, run->out->probability + row * model->classes);
	}
}

/* Rows of doubles through a model that compares doubles; row: (cols). */
static void
predict_exact(struct run *run, double *row)
{
	const struct mmq_tree_model *model = run->model;
	const struct mmq_batch *x = run->x;
	for (; run->first < x->rows; run->first++) {
		if (x->row_start != NULL) {
			memset(row, 0, model->cols * sizeof(*row));
			for (uint64_t k = x->row_start[run->first]; k < x->row_start[run->first + 1]; k++)
				row[x->col[k]] = ((const double *)x->value)[k];
		}
		const double *from = x->row_start != NULL ? row : (const double *)x->dense + run->first * x->stride;
		memcpy(run->sums, model->base, model->outputs * sizeof(double));
		for (uint32_t tree = 0; tree < model->trees; tree++)
			take_leaf(run, 0, tree, mmq_tree_walk_exact(model, tree, from, codes_of(run, 0)));
		write_rows(run, 1);
	}
}

void
mmq_tree_predict(const struct mmq_tree_model *model, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch)
{
	size_t block = block_rows(model, x->rows);
	struct run run = { .model = model, .x = x, .out = out, .sums = scratch };
	run.rows = (float *)(run.sums + block * model->outputs);
	run.wants_sums = (out->wanted & (MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY)) != 0;
	run.wants_leaf = (out->wanted & MMQ_OUT_LEAF) != 0;
	if (model->threshold64 != NULL && x->dtype == MMQ_F64) {
		predict_exact(&run, run.sums + block * model->outputs);
		return;
	}
	for (run.first = 0; run.first < x->rows; run.first += block) {
		size_t count = x->rows - run.first < block ? x->rows - run.first : block, r = 0;
		prepare_rows(model->walk, x, run.first, count, run.rows);
		for (size_t k = 0; k < count * model->outputs; k++)
			run.sums[k] = model->boosting == MMQ_TREE_GBDT ? model->base[k % model->outputs] : 0.0;
		for (; r + LANES <= count; r += LANES)
			walk_eight_rows(&run, r);
		for (; r < count; r++)
			walk_eight_trees(&run, r);
		write_rows(&run, count);
	}
}
