/* boost.c: gradient boosting (Friedman 2001): each round fits one tree per score to the loss's derivatives and adds it.
 *
 * Scores of training rows are updated through the leaves' ranges; rows left out by bagging and validation rows are routed
 * down the new tree in bins. Early stopping keeps the round with the best validation loss. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/grow.h"
#include "engine/tree/loss.h"
#include "math/rng.h"
#include "util/mem.h"

enum { LOSS_EVERY = 10 };

struct boost {
	const struct mmq_fit *fit;
	const struct mmq_tree_options *options;
	const struct mmq_tree_bins *bins;
	struct mmq_tree_target train, valid;    /* valid.rows == 0: none */
	uint8_t *valid_bins;
	double *base, *score, *valid_score;     /* (outputs), (outputs, rows) */
	float *g, *h;
	uint32_t *index, *bag, *temp;           /* bag: rows in the sample first, the others behind */
	size_t bag_count;
	struct mmq_grower *grower;
	struct mmq_grown tree;
	struct mmq_leaf *ranges;
	size_t ranges_capacity;
	struct mmq_tree_builder *builder;
	struct mmq_tree_watch watch;
	uint32_t best_round;
	double best_loss;
};

static struct mmq_tree_target
target_of(const struct boost *boost, const struct mmq_dataset *data)
{
	return (struct mmq_tree_target){ .task = boost->fit->task, .rows = data->x.rows, .outputs = boost->fit->task == MMQ_MULTICLASS ?
	    data->classes : 1, .y = data->y, .weight = data->weight,
	    .positive_weight = boost->options->positive_weight, .pool = boost->fit->pool };
}

static double *
start_scores(const struct boost *boost, const struct mmq_tree_target *target)
{
	double *score = mmq_array((size_t)target->outputs * target->rows, sizeof(*score));
	for (uint32_t c = 0; c < target->outputs; c++)
		for (size_t r = 0; r < target->rows; r++)
			score[c * target->rows + r] = boost->base[c];
	return score;
}

static void
boost_init(struct boost *boost)
{
	const struct mmq_fit *fit = boost->fit;
	size_t rows = fit->train->x.rows, rows_most = rows;

	boost->train = target_of(boost, fit->train);
	boost->base = mmq_array(boost->train.outputs, sizeof(double));
	if (boost->options->start_from_average)
		mmq_tree_loss_start(&boost->train, boost->base);
	boost->score = start_scores(boost, &boost->train);
	if (fit->valid != NULL) {
		boost->valid = target_of(boost, fit->valid);
		boost->valid_score = start_scores(boost, &boost->valid);
		boost->valid_bins = mmq_tree_bins_code(boost->bins, &fit->valid->x, fit->pool);
		rows_most = fit->valid->x.rows > rows ? fit->valid->x.rows : rows;
	}
	boost->g = mmq_array((size_t)boost->train.outputs * rows, sizeof(float));
	boost->h = mmq_array((size_t)boost->train.outputs * rows, sizeof(float));
	boost->index = mmq_array(rows_most, sizeof(uint32_t));
	boost->temp = mmq_array(rows_most, sizeof(uint32_t));
	boost->bag = mmq_array(rows, sizeof(uint32_t));
	boost->grower = mmq_grower_new(boost->bins, boost->options, fit->pool, fit->memory_bytes_max);
	boost->builder = mmq_tree_builder_new(fit, boost->bins, 1, boost->train.outputs);
	boost->watch = (struct mmq_tree_watch){ .progress = fit->progress, .state = { .loss = NAN, .valid_loss = NAN,
		.iterations_max = boost->options->trees, .loss_name = mmq_tree_loss_name(fit->task) } };
	boost->best_loss = INFINITY;
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
	free(boost->bag);
	free(boost->ranges);
}

/* The rows of this round; drawn anew every bagging_freq rounds, each row on its own. */
static void
draw_bag(struct boost *boost, uint32_t round)
{
	const struct mmq_tree_options *options = boost->options;
	size_t rows = boost->train.rows, rest = rows;
	bool draws = options->bagging_fraction < 1 && options->bagging_freq > 0;
	if (round > 0 && (!draws || round % options->bagging_freq != 0))
		return;
	boost->bag_count = 0;
	for (size_t r = 0; r < rows; r++) {
		struct mmq_rng rng = mmq_rng_stream(options->seed + 2, round, r);
		if (!draws || mmq_rng_uniform(&rng) < options->bagging_fraction)
			boost->bag[boost->bag_count++] = (uint32_t)r;
		else
			boost->bag[--rest] = (uint32_t)r;
	}
	if (boost->bag_count == 0)
		boost->bag_count = rows;  /* so few rows that none was drawn: all of them lie behind, take them */
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
	for (uint32_t i = leaf->begin; i < leaf->begin + leaf->count; i++)
		add->score[add->index[i]] += value;
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
	mmq_pool_run(boost->fit->pool, boost->tree.nodes_count, add_leaf, &(struct add){ &boost->tree, boost->ranges, index, score });
}

/* One tree for one score. *grew_out: it has a split. */
static int
boost_tree(struct boost *boost, uint32_t round, uint32_t output, bool *grew_out)
{
	size_t rows = boost->train.rows, at = (size_t)output * rows, leaves_count;
	double *score = boost->score + at;

	memcpy(boost->index, boost->bag, rows * sizeof(uint32_t));
	if (mmq_grower_grow(boost->grower, &boost->tree, boost->g + at, boost->h + at, boost->index, boost->bag_count,
	    (uint64_t)round * boost->train.outputs + output, &boost->watch) == -1)
		return -1;
	const struct mmq_leaf *leaves = mmq_grower_leaves(boost->grower, &leaves_count);
	mmq_pool_run(boost->fit->pool, leaves_count, add_leaf, &(struct add){ &boost->tree, leaves, boost->index, score });
	if (boost->bag_count < rows)
		add_routed(boost, boost->bins->by_column, rows, boost->index + boost->bag_count, rows - boost->bag_count, score);
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
	if (boost->fit->progress != NULL && (round % LOSS_EVERY == 0 || round + 1 == boost->options->trees))
		state->loss = mmq_tree_loss_mean(&boost->train, boost->score);
	return boost->options->early_rounds > 0 && boost->valid.rows > 0 && round + 1 >= boost->best_round + boost->options->early_rounds;
}

static int
boost_rounds(struct boost *boost, uint32_t *rounds_out, struct mmq_err *err)
{
	const struct mmq_tree_options *options = boost->options;
	bool samples = options->feature_fraction < 1 || options->bagging_fraction < 1, stops = false;
	uint32_t round = 0;

	for (; round < options->trees && !stops; round++) {
		bool grew = false;
		draw_bag(boost, round);
		mmq_tree_loss_gradient(&boost->train, boost->score, boost->g, boost->h);
		for (uint32_t c = 0; c < boost->train.outputs; c++)
			if (boost_tree(boost, round, c, &grew) == -1)
				return mmq_err_set(err, MMQ_CANCELLED, "training was cancelled in round %u", round + 1);
		if (!grew && !samples) {
			mmq_tree_builder_cut(boost->builder, round * boost->train.outputs);
			break;  /* no split helps any more, and later rounds would see the same */
		}
		stops = judge_round(boost, round);
		boost->watch.state.iteration = round + 1;
		boost->watch.state.fraction = (double)(round + 1) / options->trees;
		if (!mmq_progress_step(boost->fit->progress, &boost->watch.state))
			return mmq_err_set(err, MMQ_CANCELLED, "training was cancelled after round %u", round + 1);
	}
	*rounds_out = round;
	return 0;
}

int
mmq_tree_boost(struct mmq_tree_model **model_out, const struct mmq_fit *fit, const struct mmq_tree_options *options,
    const struct mmq_tree_bins *bins, struct mmq_err *err)
{
	struct boost boost = { .fit = fit, .options = options, .bins = bins };
	uint32_t rounds = 0;

	*model_out = NULL;
	boost_init(&boost);
	int result = boost_rounds(&boost, &rounds, err);
	if (result == 0) {
		bool keeps_best = options->early_rounds > 0 && boost.valid.rows > 0;
		if (keeps_best)
			mmq_tree_builder_cut(boost.builder, boost.best_round * boost.train.outputs);
		*model_out = mmq_tree_builder_finish(&boost.builder, options, boost.base);
		(*model_out)->best_iteration = keeps_best ? boost.best_round : rounds;
		(*model_out)->train_loss = mmq_tree_loss_mean(&boost.train, boost.score);
		(*model_out)->valid_loss = keeps_best ? boost.best_loss : boost.valid.rows > 0 ? mmq_tree_loss_mean(&boost.valid, boost.valid_score) : NAN;
	}
	boost_fini(&boost);
	return result;
}
