/* refit.c: what going on from a trained model needs: its scores of new rows, and its trees with leaf values learnt anew.
 *
 * Refitting a boosted model walks its rounds as training did: derivatives at the score so far, a value for each leaf from the rows that
 * fall into it, mixed with the old one by refit_decay_rate; so does LightGBM. The constant in front is treated as one more leaf. A forest's
 * leaves are means or class shares of their rows. Leaves that no row reaches keep their value. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/grow.h"
#include "engine/tree/loss.h"
#include "engine/tree/scan.h"
#include "util/mem.h"

enum { SCORE_BLOCK = 2048 };

struct asked {
	const struct mmq_tree_model *model;
	const struct mmq_batch *x;
	double *score;       /* (outputs, rows) or NULL */
	uint32_t *leaf;      /* (rows, trees) or NULL */
	void **scratch;      /* (threads) */
	double **out;        /* (threads): (block, outputs) */
};

struct mmq_batch
mmq_tree_rows_of(const struct mmq_batch *x, size_t first, size_t rows_max)
{
	struct mmq_batch part = *x;
	part.rows = x->rows - first < rows_max ? x->rows - first : rows_max;
	if (x->row_start != NULL)
		part.row_start = x->row_start + first;
	else if (x->dense != NULL)
		part.dense = (const char *)x->dense + first * x->stride * (x->dtype == MMQ_F32 ? sizeof(float) : sizeof(double));
	if (x->codes_cols > 0)
		part.codes = x->codes + first * x->codes_cols;
	return part;
}

static void
ask_block(void *arg, size_t block, unsigned thread)
{
	const struct asked *asked = arg;
	const struct mmq_tree_model *model = asked->model;
	size_t first = block * SCORE_BLOCK;
	struct mmq_batch x = mmq_tree_rows_of(asked->x, first, SCORE_BLOCK);
	struct mmq_outputs out = { .wanted = asked->leaf != NULL ? MMQ_OUT_LEAF : MMQ_OUT_SCORE, .score = asked->out[thread],
		.score_cols = model->outputs, .leaf = asked->leaf != NULL ? asked->leaf + first * model->trees : NULL, .leaf_cols = model->trees };

	mmq_tree_predict(model, &x, &out, asked->scratch[thread]);
	for (size_t r = 0; r < x.rows && asked->score != NULL; r++)
		for (uint32_t c = 0; c < model->outputs; c++)
			asked->score[c * asked->x->rows + first + r] = out.score[r * model->outputs + c];
}

static void
ask(const struct mmq_tree_model *model, const struct mmq_batch *x, struct mmq_pool *pool, double *score, uint32_t *leaf)
{
	unsigned threads = mmq_pool_threads(pool);
	struct asked asked = { model, x, score, leaf, mmq_array(threads, sizeof(void *)), mmq_array(threads, sizeof(double *)) };
	for (unsigned t = 0; t < threads; t++) {
		asked.scratch[t] = mmq_aligned(mmq_tree_scratch_bytes(model, SCORE_BLOCK, leaf != NULL ? MMQ_OUT_LEAF : MMQ_OUT_SCORE) + 8);
		asked.out[t] = mmq_array((size_t)SCORE_BLOCK * model->outputs, sizeof(double));
	}
	mmq_pool_run(pool, (x->rows + SCORE_BLOCK - 1) / SCORE_BLOCK, ask_block, &asked);
	for (unsigned t = 0; t < threads; t++) {
		free(asked.scratch[t]);
		free(asked.out[t]);
	}
	free(asked.scratch);
	free(asked.out);
}

void
mmq_tree_scores(const struct mmq_tree_model *model, const struct mmq_batch *x, struct mmq_pool *pool, double *score_out)
{
	struct mmq_tree_model plain = *model;
	plain.log_link = false;
	ask(&plain, x, pool, score_out, NULL);
}

struct refit {
	const struct mmq_fit *fit;
	const struct mmq_tree_options *options;
	const struct mmq_tree_model *model;
	struct mmq_tree_target target;
	const uint32_t *leaf;     /* (rows, trees) */
	double *values;           /* of all leaves, tree by tree: (leaves, width) */
	uint32_t *index, *start;  /* rows by leaf of the tree at hand: leaf l has index[start[l]..start[l + 1]) */
	double *base, *score;
	float *g, *h;
	struct mmq_tree_weighted *residual;
};

/* Rows by leaf, in each leaf in ascending order: sums are taken as training took them. */
static void
group_rows(struct refit *refit, uint32_t tree, uint32_t leaves)
{
	size_t rows = refit->target.rows, trees = refit->model->trees;
	memset(refit->start, 0, ((size_t)leaves + 2) * sizeof(uint32_t));
	for (size_t r = 0; r < rows; r++)
		refit->start[refit->leaf[r * trees + tree] + 2]++;
	for (uint32_t l = 2; l <= leaves + 1; l++)
		refit->start[l] += refit->start[l - 1];
	for (size_t r = 0; r < rows; r++)
		refit->index[refit->start[refit->leaf[r * trees + tree] + 1]++] = (uint32_t)r;
}

/* What the rows of a leaf ask for, (width). */
static void
leaf_of_rows(struct refit *refit, uint32_t tree, const uint32_t *index, size_t count, double *out)
{
	const struct mmq_tree_options *options = refit->options;
	const struct mmq_dataset *train = refit->fit->train;
	size_t at = (size_t)(tree % refit->model->outputs) * refit->target.rows;
	double g = 0, h = 0;

	if (options->kind == MMQ_TREE_GBDT && refit->residual != NULL) {
		out[0] = options->learning_rate * mmq_tree_loss_residual(&refit->target, refit->score, index, count, refit->residual);
		return;
	}
	memset(out, 0, refit->model->width * sizeof(*out));
	for (size_t i = 0; i < count; i++) {
		size_t r = index[i];
		double weight = train->weight != NULL ? (double)train->weight[r] : 1.0;
		if (options->kind == MMQ_TREE_GBDT) {
			g += (double)refit->g[at + r];
			h += (double)refit->h[at + r];
			continue;
		}
		weight *= refit->model->task == MMQ_BINARY && train->y[r] > 0 ? options->positive_weight : 1.0;
		h += weight;
		out[refit->model->width > 1 ? (uint32_t)train->y[r] : 0] += refit->model->width > 1 ? weight : weight * train->y[r];
	}
	if (options->kind == MMQ_TREE_GBDT)
		out[0] = h + options->l2 > 0 ? -mmq_soften(g, options->l1) / (h + options->l2) * options->learning_rate : 0;
	for (uint32_t c = 0; c < refit->model->width && options->kind != MMQ_TREE_GBDT; c++)
		out[c] /= h;
}

/* New values of one tree's leaves; values_at: where they go. */
static void
refit_tree(struct refit *refit, uint32_t tree, double *values_at, uint32_t leaves)
{
	const struct mmq_tree_model *model = refit->model;
	double decay = refit->options->refit_decay_rate, *fresh = mmq_array(model->width, sizeof(*fresh));
	double *score = refit->score != NULL ? refit->score + (size_t)(tree % model->outputs) * refit->target.rows : NULL;

	group_rows(refit, tree, leaves);
	for (uint32_t l = 0; l < leaves; l++) {
		const uint32_t *index = refit->index + refit->start[l];
		size_t count = refit->start[l + 1] - refit->start[l];
		double *value = values_at + (size_t)l * model->width;
		if (count > 0) {
			leaf_of_rows(refit, tree, index, count, fresh);
			for (uint32_t c = 0; c < model->width; c++)
				value[c] = decay * value[c] + (1 - decay) * fresh[c];
		}
		for (size_t i = 0; i < count && score != NULL; i++)
			score[index[i]] += value[0];
	}
	free(fresh);
}

/* Scores begin at the constant, which is mixed as leaves are. */
static void
start_boosted(struct refit *refit)
{
	double decay = refit->options->refit_decay_rate, q;
	size_t rows = refit->target.rows, outputs = refit->target.outputs;
	double *fresh = mmq_array(outputs, sizeof(*fresh));
	refit->score = mmq_array(outputs * rows, sizeof(double));
	refit->g = mmq_array(outputs * rows, sizeof(float));
	refit->h = mmq_array(outputs * rows, sizeof(float));
	if (mmq_tree_loss_is_quantile(refit->options, &q))
		refit->residual = mmq_array(rows, sizeof(*refit->residual));
	mmq_tree_loss_start(&refit->target, fresh);
	for (size_t c = 0; c < outputs; c++) {
		if (refit->options->start_from_average)
			refit->base[c] = decay * refit->base[c] + (1 - decay) * fresh[c];
		for (size_t r = 0; r < rows; r++)
			refit->score[c * rows + r] = refit->base[c];
	}
	free(fresh);
}

static int
refit_trees(struct refit *refit, struct mmq_err *err)
{
	const struct mmq_tree_model *model = refit->model;
	struct mmq_progress_state state = { .loss = NAN, .valid_loss = NAN, .iterations_max = model->trees, .loss_name = "refit" };
	bool is_boosted = refit->options->kind == MMQ_TREE_GBDT;
	double *values = refit->values;

	if (is_boosted)
		start_boosted(refit);
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		uint32_t leaves = 0;
		for (uint32_t k = model->tree_start[tree]; k < model->tree_start[tree + 1]; k++) {
			if (model->kind[k] == MMQ_NODE_LEAF)
				memcpy(values + (size_t)leaves++ * model->width, model->values + (size_t)model->feature[k] * model->width,
				    model->width * sizeof(*values));
		}
		if (is_boosted && tree % model->outputs == 0)
			mmq_tree_loss_gradient(&refit->target, refit->score, refit->g, refit->h);
		refit_tree(refit, tree, values, leaves);
		values += (size_t)leaves * model->width;
		state.iteration = tree + 1;
		state.fraction = (double)(tree + 1) / model->trees;
		if (!mmq_progress_step(refit->fit->progress, &state))
			return mmq_err_set(err, MMQ_CANCELLED, "refitting was cancelled after tree %u", tree + 1);
	}
	return 0;
}

/* A model with the old trees and the new values. Takes refit->values. */
static struct mmq_tree_model *
model_of(struct refit *refit, uint32_t leaves)
{
	struct mmq_tree_builder *builder = mmq_tree_builder_new(refit->fit, NULL, refit->model->width, refit->model->outputs);
	mmq_tree_builder_take(builder, refit->model);
	struct mmq_tree_model *model = mmq_tree_builder_finish(&builder, refit->options, refit->base);
	mmq_tree_model_revalue(model, refit->values, leaves);
	refit->values = NULL;
	model->log_link = refit->model->log_link;
	model->best_iteration = refit->model->best_iteration;
	if (refit->score != NULL)
		model->train_loss = mmq_tree_loss_mean(&refit->target, refit->score);
	return model;
}

int
mmq_tree_refit(struct mmq_tree_model **model_out, const struct mmq_fit *fit, const struct mmq_tree_options *options, struct mmq_err *err)
{
	const struct mmq_tree_model *old = fit->previous;
	size_t rows = fit->train->x.rows, bytes;
	uint32_t leaves = 0;
	struct refit refit = { .fit = fit, .options = options, .model = old, .target = { .options = options, .rows = rows, .outputs = old->outputs,
		.y = fit->train->y, .weight = fit->train->weight, .pool = fit->pool } };

	*model_out = NULL;
	if (options->kind == MMQ_TREE_GBDT && mmq_tree_loss_check(&refit.target, err) == -1)
		return -1;
	if (!mmq_size_mul(rows, (size_t)old->trees * sizeof(uint32_t), &bytes) || (fit->memory_bytes_max > 0 && bytes > fit->memory_bytes_max))
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "tree: the leaves of %zu rows in %u trees need %zu MiB, the limit is %zu MiB", rows,
		    old->trees, bytes >> 20, fit->memory_bytes_max >> 20);
	for (uint32_t k = 0; k < old->nodes; k++)
		leaves += old->kind[k] == MMQ_NODE_LEAF;
	uint32_t *leaf = mmq_array(rows * old->trees + 1, sizeof(*leaf));
	ask(old, &fit->train->x, fit->pool, NULL, leaf);
	refit.leaf = leaf;
	refit.values = mmq_array((size_t)leaves * old->width + 1, sizeof(double));
	refit.index = mmq_array(rows, sizeof(uint32_t));
	refit.start = mmq_array((size_t)leaves + 2, sizeof(uint32_t));
	refit.base = mmq_array(old->outputs, sizeof(double));
	memcpy(refit.base, old->base, old->outputs * sizeof(double));
	int result = refit_trees(&refit, err);
	if (result == 0)
		*model_out = model_of(&refit, leaves);
	void *const arrays[] = { leaf, refit.values, refit.index, refit.start, refit.base, refit.score, refit.g, refit.h, refit.residual };
	for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
		free(arrays[i]);
	return result;
}
