/* boost.c: gradient boosting (Friedman 2001): each round fits one tree per score to the loss's derivatives and adds it.
 *
 * A warm start goes on from the scores and trees of a model as if it had never stopped. Scores of training rows are updated through the leaves' ranges; rows left out by bagging and validation rows are routed
 * down the new tree in bins. Early stopping keeps the round with the best validation loss. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/grow.h"
#include "engine/tree/loss.h"
#include "engine/tree/sample.h"
#include "util/mem.h"

enum { LOSS_EVERY = 10, AHEAD = 32 };
/* Fewer values in all are not worth a second thread: passing the cache lines to and fro takes longer. */
enum { VALUES_ALONE = 500000 };

struct boost {
	const struct mmq_fit *fit;
	const struct mmq_tree_options *options;
	const struct mmq_tree_bins *bins;
	struct mmq_tree_target train, valid;    /* valid.rows == 0: none */
	uint8_t *valid_bins;
	double *base, *score, *valid_score;     /* (outputs), (outputs, rows) */
	float *g, *h;
	uint32_t *index, *temp;
	struct mmq_tree_sample sample;
	struct mmq_tree_weighted *residual;     /* (rows) where leaf values are quantiles */
	struct mmq_grower *grower;
	struct mmq_grown tree;
	struct mmq_leaf *ranges;
	size_t ranges_capacity;
	struct mmq_tree_builder *builder;
	struct mmq_tree_watch watch;
	uint32_t first_round, best_round;       /* rounds before this fit; kept rounds with the best validation loss, counted from the first of all */
	uint32_t next_round;                    /* where this run of the fit begins: first_round, or where a checkpoint left it */
	uint64_t fingerprint;
	double best_loss;
};

static struct mmq_tree_target
target_of(const struct boost *boost, const struct mmq_dataset *data)
{
	return (struct mmq_tree_target){ .options = boost->options, .rows = data->x.rows, .outputs = boost->fit->task == MMQ_MULTICLASS ?
	    data->classes : 1, .y = data->y, .weight = data->weight, .pool = boost->fit->pool };
}

static double *
start_scores(const struct boost *boost, const struct mmq_tree_target *target, const struct mmq_dataset *data)
{
	double *score = mmq_aligned_huge((size_t)target->outputs * target->rows * sizeof(*score));
	if (boost->fit->previous != NULL) {
		mmq_tree_scores(boost->fit->previous, &data->x, boost->fit->pool, score);
		return score;
	}
	for (uint32_t c = 0; c < target->outputs; c++)
		for (size_t r = 0; r < target->rows; r++)
			score[c * target->rows + r] = boost->base[c];
	return score;
}

static void
boost_init(struct boost *boost)
{
	const struct mmq_fit *fit = boost->fit;
	const struct mmq_tree_model *previous = fit->previous;
	double q;
	size_t rows = fit->train->x.rows, rows_most = rows;

	boost->train = target_of(boost, fit->train);
	boost->base = mmq_array(boost->train.outputs, sizeof(double));
	if (previous != NULL)
		memcpy(boost->base, previous->base, boost->train.outputs * sizeof(double));
	else if (boost->options->start_from_average)
		mmq_tree_loss_start(&boost->train, boost->base);
	boost->score = start_scores(boost, &boost->train, fit->train);
	if (fit->valid != NULL) {
		boost->valid = target_of(boost, fit->valid);
		boost->valid_score = start_scores(boost, &boost->valid, fit->valid);
		boost->valid_bins = mmq_tree_bins_code(boost->bins, &fit->valid->x, fit->pool);
		rows_most = fit->valid->x.rows > rows ? fit->valid->x.rows : rows;
	}
	boost->g = mmq_aligned_huge((size_t)boost->train.outputs * rows * sizeof(float));
	boost->h = mmq_aligned_huge((size_t)boost->train.outputs * rows * sizeof(float));
	boost->index = mmq_array(rows_most, sizeof(uint32_t));
	boost->temp = mmq_array(rows_most, sizeof(uint32_t));
	mmq_tree_sample_init(&boost->sample, boost->options, rows);
	if (mmq_tree_loss_is_quantile(boost->options, &q))
		boost->residual = mmq_array(rows, sizeof(*boost->residual));
	boost->grower = mmq_grower_new(boost->bins, boost->options, fit);
	boost->builder = mmq_tree_builder_new(fit, boost->bins, 1, boost->train.outputs);
	if (previous != NULL) {
		mmq_tree_builder_take(boost->builder, previous);
		boost->first_round = boost->best_round = previous->trees / previous->outputs;
	}
	boost->watch = (struct mmq_tree_watch){ .progress = fit->progress, .state = { .loss = NAN, .valid_loss = NAN,
		.iterations_max = boost->options->trees, .loss_name = mmq_tree_loss_name(boost->options->objective) } };
	/* What the model begins with must be beaten: a version that only gets worse is kept as it was. */
	boost->best_loss = previous != NULL && fit->valid != NULL ? mmq_tree_loss_mean(&boost->valid, boost->valid_score) : INFINITY;
}

static struct mmq_boost_at
boost_at(const struct boost *boost, uint32_t round, struct mmq_tree_builder *builder)
{
	return (struct mmq_boost_at){ .fingerprint = boost->fingerprint, .round = round, .best_round = boost->best_round, .best_loss = boost->best_loss,
		.outputs = boost->train.outputs, .score = boost->score, .valid_score = boost->valid_score, .scores = boost->train.outputs * boost->train.rows,
		.valid_scores = boost->train.outputs * boost->valid.rows, .builder = builder };
}

/* Begin where a checkpoint left this fit, if there is one. */
static void
boost_resume(struct boost *boost)
{
	const struct mmq_fit *fit = boost->fit;
	boost->next_round = boost->first_round;
	if (fit->checkpoint != NULL || fit->resume != NULL)
		boost->fingerprint = mmq_boost_fingerprint(fit, boost->bins);
	if (fit->resume == NULL)
		return;
	struct mmq_boost_at at = boost_at(boost, 0, mmq_tree_builder_new(fit, boost->bins, 1, boost->train.outputs));
	if (mmq_boost_get(&at, fit->resume, fit->previous)) {
		struct mmq_tree_builder *fresh = boost->builder;
		boost->builder = at.builder;
		boost->next_round = at.round;
		boost->best_round = at.best_round;
		boost->best_loss = at.best_loss;
		at.builder = fresh;
	}
	mmq_tree_builder_destroy(&at.builder);
}

static void
leave_checkpoint(const struct boost *boost, uint32_t round)
{
	const struct mmq_checkpoint *checkpoint = boost->fit->checkpoint;
	if (checkpoint == NULL || !checkpoint->is_due(checkpoint->arg))
		return;
	struct mmq_boost_at at = boost_at(boost, round, boost->builder);
	struct mmq_part part;
	mmq_part_init(&part, true);
	mmq_boost_put(&at, boost->options, boost->base, &part);
	checkpoint->write(checkpoint->arg, &part);
	mmq_part_fini(&part);
}

static void
boost_fini(struct boost *boost)
{
	mmq_tree_builder_destroy(&boost->builder);
	mmq_grower_destroy(&boost->grower);
	mmq_grown_fini(&boost->tree);
	free(boost->valid_bins);
	free(boost->base);
	free(boost->score);
	free(boost->valid_score);
	free(boost->g);
	free(boost->h);
	free(boost->index);
	free(boost->temp);
	mmq_tree_sample_fini(&boost->sample);
	free(boost->residual);
	free(boost->ranges);
}

struct add {
	const struct mmq_grown *tree;
	const struct mmq_leaf *leaves;
	const uint32_t *index;
	double *score;
};

static void
add_leaf(void *arg, size_t block, unsigned thread)
{
	const struct add *add = arg;
	const struct mmq_leaf *leaf = &add->leaves[block];
	(void)thread;
	if (add->tree->nodes[leaf->node].first != 0)
		return;
	double value = add->tree->values[add->tree->nodes[leaf->node].column];
	for (uint32_t i = leaf->begin, end = leaf->begin + leaf->count; i < end; i++) {
		if (i + AHEAD < end)
			__builtin_prefetch(add->score + add->index[i + AHEAD], 1);
		add->score[add->index[i]] += value;
	}
}

/* Add the tree to scores of rows that it was not grown on. */
static void
add_routed(struct boost *boost, const uint8_t *by_column, size_t rows_total, uint32_t *index, size_t count, double *score)
{
	if (boost->tree.nodes_count > boost->ranges_capacity) {
		boost->ranges_capacity = boost->tree.nodes_count * 2;
		boost->ranges = mmq_grow(boost->ranges, boost->ranges_capacity, sizeof(*boost->ranges));
	}
	mmq_tree_route(&boost->tree, boost->bins, by_column, rows_total, index, count, boost->temp, boost->ranges, boost->fit->pool);
	mmq_pool_run(count < MMQ_TREE_ROWS_ALONE ? NULL : boost->fit->pool, boost->tree.nodes_count, add_leaf, &(struct add){ &boost->tree, boost->ranges, index, score });
}

struct renewal { struct boost *boost; const struct mmq_leaf *leaves; };

/* A leaf's value as the quantile that its objective asks for, of what its rows lack. */
static void
value_by_quantile(void *arg, size_t block, unsigned thread)
{
	struct boost *boost = ((struct renewal *)arg)->boost;
	const struct mmq_leaf *leaf = &((struct renewal *)arg)->leaves[block];
	(void)thread;
	boost->tree.values[boost->tree.nodes[leaf->node].column] = boost->options->learning_rate * mmq_tree_loss_residual(&boost->train, boost->score,
	    boost->index + leaf->begin, leaf->count, boost->residual + leaf->begin);
}

/* One tree for one score. *grew_out: it has a split. */
static int
boost_tree(struct boost *boost, uint32_t round, uint32_t output, bool *grew_out)
{
	size_t rows = boost->train.rows, at = (size_t)output * rows, leaves_count, drawn = boost->sample.count;
	double *score = boost->score + at;

	memcpy(boost->index, boost->sample.index, rows * sizeof(uint32_t));
	if (mmq_grower_grow(boost->grower, &boost->tree, boost->g + at, boost->h + at, boost->index, drawn,
	    (uint64_t)round * boost->train.outputs + output, &boost->watch) == -1)
		return -1;
	const struct mmq_leaf *leaves = mmq_grower_leaves(boost->grower, &leaves_count);
	if (boost->residual != NULL)
		mmq_pool_run(boost->fit->pool, leaves_count, value_by_quantile, &(struct renewal){ boost, leaves });
	mmq_pool_run(rows < MMQ_TREE_ROWS_ALONE ? NULL : boost->fit->pool, leaves_count, add_leaf, &(struct add){ &boost->tree, leaves, boost->index, score });
	if (drawn < rows)
		add_routed(boost, boost->bins->by_column, rows, boost->index + drawn, rows - drawn, score);
	if (boost->valid.rows > 0) {
		for (size_t r = 0; r < boost->valid.rows; r++)
			boost->index[r] = (uint32_t)r;
		add_routed(boost, boost->valid_bins, boost->valid.rows, boost->index, boost->valid.rows, boost->valid_score + output * boost->valid.rows);
	}
	mmq_tree_builder_add(boost->builder, &boost->tree);
	*grew_out = *grew_out || boost->tree.nodes_count > 1;
	return 0;
}

/* Losses after a round, and whether to stop. */
static bool
judge_round(struct boost *boost, uint32_t round)
{
	struct mmq_progress_state *state = &boost->watch.state;
	if (boost->valid.rows > 0 && (boost->options->early_rounds > 0 || boost->fit->progress != NULL)) {
		state->valid_loss = mmq_tree_loss_mean(&boost->valid, boost->valid_score);
		if (state->valid_loss < boost->best_loss - boost->options->early_delta) {
			boost->best_loss = state->valid_loss;
			boost->best_round = round + 1;
		}
	}
	if (boost->fit->progress != NULL && (round % LOSS_EVERY == 0 || round + 1 == boost->first_round + boost->options->trees))
		state->loss = mmq_tree_loss_mean(&boost->train, boost->score);
	return boost->options->early_rounds > 0 && boost->valid.rows > 0 && round + 1 >= boost->best_round + boost->options->early_rounds;
}

static int
boost_rounds(struct boost *boost, uint32_t *rounds_out, struct mmq_err *err)
{
	const struct mmq_tree_options *options = boost->options;
	bool samples = options->feature_fraction < 1 || options->feature_fraction_bynode < 1 || options->extra_trees || !mmq_tree_sample_is_all(options);
	bool stops = false;
	uint32_t first = boost->first_round, round = boost->next_round;

	for (; round < first + options->trees && !stops; round++) {
		bool grew = false;
		mmq_tree_loss_gradient(&boost->train, boost->score, boost->g, boost->h);
		mmq_tree_sample_draw(&boost->sample, round, round == boost->next_round, boost->g, boost->h, boost->train.outputs);
		for (uint32_t c = 0; c < boost->train.outputs; c++)
			if (boost_tree(boost, round, c, &grew) == -1)
				return mmq_err_set(err, MMQ_CANCELLED, "training was cancelled in round %u", round + 1);
		if (!grew && !samples) {
			mmq_tree_builder_cut(boost->builder, round * boost->train.outputs);
			break;  /* no split helps any more, and later rounds would see the same */
		}
		stops = judge_round(boost, round);
		boost->watch.state.iteration = round + 1 - first;
		boost->watch.state.fraction = (double)(round + 1 - first) / options->trees;
		if (!mmq_progress_step(boost->fit->progress, &boost->watch.state))
			return mmq_err_set(err, MMQ_CANCELLED, "training was cancelled after round %u", round + 1);
		if (!stops && round + 1 < first + options->trees)
			leave_checkpoint(boost, round + 1);
	}
	*rounds_out = round;
	return 0;
}

int
mmq_tree_boost(struct mmq_tree_model **model_out, const struct mmq_fit *fit, const struct mmq_tree_options *options,
    const struct mmq_tree_bins *bins, struct mmq_err *err)
{
	struct mmq_fit own = *fit;
	struct boost boost = { .fit = &own, .options = options, .bins = bins };
	uint32_t rounds = 0;

	if ((double)bins->rows * bins->columns_count < VALUES_ALONE)
		own.pool = NULL;
	struct mmq_tree_target train = target_of(&boost, fit->train), valid = fit->valid != NULL ? target_of(&boost, fit->valid) : train;

	*model_out = NULL;
	if (mmq_tree_loss_check(&train, err) == -1 || mmq_tree_loss_check(&valid, err) == -1)
		return -1;
	boost_init(&boost);
	boost_resume(&boost);
	int result = boost_rounds(&boost, &rounds, err);
	if (result == 0) {
		bool keeps_best = options->early_rounds > 0 && boost.valid.rows > 0;
		if (keeps_best)
			mmq_tree_builder_cut(boost.builder, boost.best_round * boost.train.outputs);
		*model_out = mmq_tree_builder_finish(&boost.builder, options, boost.base);
		(*model_out)->log_link = options->objective == MMQ_TREE_POISSON;
		(*model_out)->best_iteration = keeps_best ? boost.best_round : rounds;
		(*model_out)->train_loss = mmq_tree_loss_mean(&boost.train, boost.score);
		(*model_out)->valid_loss = keeps_best ? boost.best_loss : boost.valid.rows > 0 ? mmq_tree_loss_mean(&boost.valid, boost.valid_score) : NAN;
	}
	boost_fini(&boost);
	return result;
}
