/* predict.c: scores, probabilities and leaves of rows.
 *
 * Rows are prepared in blocks as slots (slots.h), 16 rows to a group; a block goes through the trees piece by piece, so that a piece's nodes
 * stay in the cache for all its rows. Rows beyond the last full group go one by one, or as a group that is not full, whichever is less work.
 * Either way a row's values are added tree after tree in double, so one row and a batch give the same bits. */
#include <math.h>
#include <string.h>

#include "engine/tree/shap.h"
#include "engine/tree/walk.h"

enum { LANES = MMQ_WALK_LANES, BLOCK_BYTES = 256 << 10, BLOCK_ROWS_MAX = 256, PIECE_NODES = 24 << 10 };

static size_t
block_rows(const struct mmq_tree_model *model, size_t rows_max)
{
	size_t rows = BLOCK_BYTES / (model->walk->slots.count * sizeof(float)) / LANES * LANES, wanted = (rows_max + LANES - 1) / LANES * LANES;
	rows = rows < LANES ? LANES : rows > BLOCK_ROWS_MAX ? BLOCK_ROWS_MAX : rows;
	return wanted < rows ? (wanted > 0 ? wanted : LANES) : rows;
}

size_t
mmq_tree_scratch_bytes(const struct mmq_tree_model *model, size_t rows_max, unsigned wanted)
{
	const struct mmq_tree_walk *walk = model->walk;
	size_t row_bytes = walk->slots.count * sizeof(float) + model->outputs * sizeof(double);
	size_t bytes = block_rows(model, rows_max) * row_bytes + (walk->slots.count + LANES + model->trees + mmq_walk_words(walk)) * sizeof(float) +
	    (walk->any_plain ? model->cols * sizeof(double) : 0);
	size_t explain_bytes = (wanted & MMQ_OUT_CONTRIBUTION) != 0 && walk->shap != NULL ? mmq_tree_shap_scratch_bytes(model, rows_max) : 0;
	return bytes > explain_bytes ? bytes : explain_bytes;
}

struct run {
	const struct mmq_tree_model *model;
	const struct mmq_batch *x;
	struct mmq_outputs *out;
	enum mmq_walk_space space;
	float *rows;    /* (block / 16, slots, 16) */
	float *single;  /* (slots) */
	double *sums;   /* (block / 16, outputs, 16) */
	uint32_t *at, *work; /* (trees) and words of masks, for single rows */
	double *plain;  /* (cols): for trees that only exact.c can walk */
	size_t first;   /* row of x that the block begins with */
	bool wants_sums, wants_leaf;
};

/* Lanes [0, lanes) of a group stand at places at[lane * step] of a tree. */
static inline void
take_leaves(const struct run *run, const struct mmq_leaf_table *table, size_t group, uint32_t lanes, size_t lane, uint32_t tree, const uint32_t *at)
{
	const struct mmq_tree_model *model = run->model;
	uint32_t start = table->start[tree];
	double *sums = run->sums + (group * model->outputs + (model->width > 1 || model->outputs == 1 ? 0 : tree % model->outputs)) * LANES + lane;
	if (run->wants_sums && model->width == 1) {
		const double *value = table->value + start;
		for (uint32_t j = 0; j < lanes; j++)
			sums[j] += value[at[j]];
	} else if (run->wants_sums) {
		for (uint32_t j = 0; j < lanes; j++) {
			const double *values = model->values + (size_t)table->value_row[start + at[j]] * model->width;
			for (uint32_t c = 0; c < model->width; c++)
				sums[c * LANES + j] += values[c];
		}
	}
	for (uint32_t j = 0; j < lanes && run->wants_leaf; j++) {
		size_t row = run->first + group * LANES + lane + j;
		if (row < run->x->rows)
			run->out->leaf[row * run->out->leaf_cols + tree] = table->number[start + at[j]];
	}
}

/* One row through one tree on the model's own arrays, from doubles that are what is compared. */
static uint32_t
walk_plain(const struct run *run, size_t row, uint32_t tree)
{
	const struct mmq_tree_model *model = run->model;
	const struct mmq_batch *x = run->x;
	const int32_t *codes = x->codes_cols > 0 ? x->codes + row * x->codes_cols : NULL;
	mmq_tree_slots_plain_row(model, x, row, run->space, run->plain);
	return mmq_tree_walk_exact(model, tree, run->plain, codes) - model->tree_start[tree];
}

static void
walk_group(const struct run *run, size_t group, uint32_t tree, uint32_t end)
{
	const struct mmq_tree_walk *walk = run->model->walk;
	const struct mmq_leaf_table *table = walk->rows_way->gives_bits ? &walk->by_bit : &walk->by_node;
	const float *rows = run->rows + group * walk->slots.count * LANES;
	uint32_t at[MMQ_WALK_TREES * LANES];
	for (; tree < end; tree += MMQ_WALK_TREES) {
		uint32_t count = end - tree < MMQ_WALK_TREES ? end - tree : MMQ_WALK_TREES;
		walk->rows_way->rows(walk, run->space, tree, count, rows, at);
		for (uint32_t t = 0; t < count; t++) {
			for (uint32_t j = 0; walk->is_plain[tree + t] && j < LANES && run->first + group * LANES + j < run->x->rows; j++)
				at[t * LANES + j] = walk_plain(run, run->first + group * LANES + j, tree + t);
			take_leaves(run, table, group, LANES, 0, tree + t, at + (size_t)t * LANES);
		}
	}
}

static void
walk_single(const struct run *run, size_t r)
{
	const struct mmq_tree_model *model = run->model;
	const struct mmq_tree_walk *walk = model->walk;
	const struct mmq_leaf_table *table = walk->row_way->gives_bits ? &walk->by_bit : &walk->by_node;
	mmq_tree_slots_fill(&walk->slots, model, run->x, run->first + r, run->single, 1);
	walk->row_way->row(walk, run->space, run->single, run->work, run->at);
	if (model->outputs == 1 && model->width == 1 && run->wants_sums && !run->wants_leaf && !walk->any_plain) {
		double sum = run->sums[r / LANES * LANES + r % LANES];
		for (uint32_t tree = 0; tree < model->trees; tree++)
			sum += table->value[table->start[tree] + run->at[tree]];
		run->sums[r / LANES * LANES + r % LANES] = sum;
		return;
	}
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		if (walk->is_plain[tree])
			run->at[tree] = walk_plain(run, run->first + r, tree);
		take_leaves(run, table, r / LANES, 1, r % LANES, tree, &run->at[tree]);
	}
}

/* The trees of one pass over a block's rows: their nodes fit a part of the second-level cache. */
static uint32_t
piece_end(const struct mmq_tree_model *model, uint32_t tree)
{
	uint32_t end = tree + 1;
	while (end < model->trees && model->tree_start[end + 1] - model->tree_start[tree] <= PIECE_NODES)
		end++;
	return end;
}

/* Rows of a block in groups, the last one possibly padded with rows of zeros. */
static void
walk_groups(const struct run *run, size_t rows)
{
	const struct mmq_tree_model *model = run->model;
	const struct mmq_tree_walk *walk = model->walk;
	size_t groups = (rows + LANES - 1) / LANES;
	memset(run->rows + rows / LANES * walk->slots.count * LANES, 0, (groups - rows / LANES) * walk->slots.count * LANES * sizeof(float));
	for (size_t r = 0; r < rows; r++)
		mmq_tree_slots_fill(&walk->slots, model, run->x, run->first + r, run->rows + r / LANES * walk->slots.count * LANES + r % LANES, LANES);
	for (uint32_t tree = 0, end; tree < model->trees; tree = end) {
		end = piece_end(model, tree);
		for (size_t g = 0; g < groups; g++)
			walk_group(run, g, tree, end);
	}
}

static void
write_probability(const struct mmq_tree_model *model, const double *sums, double *out)
{
	if (model->boosting != MMQ_TREE_GBDT) {
		double one = sums[0] / model->trees;
		for (uint32_t c = 0; c < model->outputs; c++)
			out[c] = sums[c * LANES] / model->trees;
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
			top = sums[c * LANES] > top ? sums[c * LANES] : top;
		for (uint32_t c = 0; c < model->outputs; c++)
			total += out[c] = exp(sums[c * LANES] - top);
		for (uint32_t c = 0; c < model->outputs; c++)
			out[c] /= total;
	}
}

static void
write_rows(const struct run *run, size_t count)
{
	const struct mmq_tree_model *model = run->model;
	bool is_forest = model->boosting != MMQ_TREE_GBDT;
	for (size_t r = 0; r < count && run->wants_sums; r++) {
		const double *sums = run->sums + r / LANES * model->outputs * LANES + r % LANES;
		size_t row = run->first + r;
		for (uint32_t c = 0; c < model->outputs && (run->out->wanted & MMQ_OUT_SCORE) != 0; c++)
			run->out->score[row * model->outputs + c] = is_forest ? model->base[c] + sums[c * LANES] / model->trees :
			    model->log_link ? exp(sums[c * LANES]) : sums[c * LANES];
		if ((run->out->wanted & MMQ_OUT_PROBABILITY) != 0)
			write_probability(model, sums, run->out->probability + row * model->classes);
	}
}

void
mmq_tree_predict(const struct mmq_tree_model *model, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch)
{
	const struct mmq_tree_walk *walk = model->walk;
	if ((out->wanted & MMQ_OUT_CONTRIBUTION) != 0)
		mmq_tree_explain(model, x, out, scratch);
	size_t block = block_rows(model, x->rows);
	struct run run = { .model = model, .x = x, .out = out, .rows = scratch, .space = mmq_tree_slots_space(&walk->slots, x) };
	run.sums = (double *)(run.rows + block * walk->slots.count);
	run.plain = run.sums + block * model->outputs;
	run.single = (float *)(run.plain + (walk->any_plain ? model->cols : 0));
	run.at = (uint32_t *)(run.single + walk->slots.count);
	run.work = run.at + model->trees;
	run.wants_sums = (out->wanted & (MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY)) != 0;
	run.wants_leaf = (out->wanted & MMQ_OUT_LEAF) != 0;
	if (!run.wants_sums && !run.wants_leaf)
		return;
	for (run.first = 0; run.first < x->rows; run.first += block) {
		size_t count = x->rows - run.first < block ? x->rows - run.first : block, grouped = count;
		if (count % LANES < walk->group_min)
			grouped -= count % LANES;
		for (size_t k = 0; k < (count + LANES - 1) / LANES * model->outputs * LANES; k++)
			run.sums[k] = model->boosting == MMQ_TREE_GBDT ? model->base[k / LANES % model->outputs] : 0.0;
		walk_groups(&run, grouped);
		for (size_t r = grouped; r < count; r++)
			walk_single(&run, r);
		write_rows(&run, count);
	}
}
