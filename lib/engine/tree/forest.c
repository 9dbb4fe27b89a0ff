/* forest.c: random forests (Breiman 2001) and single trees. Trees are independent: each is one block of work for the pool and draws
 * from its own random streams, so the forest is the same for any number of threads. */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "engine/tree/cart.h"
#include "util/mem.h"

struct forest {
	const struct mmq_fit *fit;
	struct mmq_cart_data data;
	struct mmq_cart *workers;   /* (threads) */
	struct mmq_cart_tree *growing; /* (threads) the tree that each is at */
	uint8_t *drawn;             /* (trees, rows / 8 + 1) bits for the out-of-bag score, or NULL */
	struct mmq_grown *trees;    /* (trees) */
	uint32_t first_tree;        /* trees of the forest that a warm start goes on from: numbers, and with them random streams, count on */
	atomic_uint done;
	atomic_bool cancelled;
};

/* The largest power of two s with largest * s * rows <= 2^bits: sums over the rows keep to that. */
static double
scale_for(double largest, size_t rows, int bits)
{
	int value_bits, rows_bits;
	if (!(largest > 0))
		return 1.0;
	frexp(largest, &value_bits);
	frexp((double)rows, &rows_bits);
	return ldexp(1.0, bits - value_bits - rows_bits);
}

/* Weights (and for regression weight * (y - mean)) in fixed point. Equal weights of 1 are just counted. */
static void
fix_points(struct forest *forest)
{
	struct mmq_cart_data *data = &forest->data;
	const struct mmq_dataset *train = forest->fit->train;
	bool is_binary = forest->fit->task == MMQ_BINARY;
	size_t rows = train->x.rows;
	double *weight = mmq_array(rows, sizeof(*weight));
	double largest = 0, moment = 0, total = 0, sum = 0, scale = 1.0;

	for (size_t r = 0; r < rows; r++) {
		weight[r] = (train->weight != NULL ? (double)train->weight[r] : 1.0) *
		    (is_binary && train->y[r] > 0 ? data->options->positive_weight : 1.0);
		largest = fmax(largest, weight[r]);
		total += weight[r];
		sum += weight[r] * train->y[r];
	}
	if (train->weight != NULL || (is_binary && data->options->positive_weight != 1.0))
		scale = scale_for(largest, rows, 52);
	data->weight_unit = 1.0 / scale;
	data->weight = mmq_array(rows, sizeof(*data->weight));
	for (size_t r = 0; r < rows; r++) {
		data->weight[r] = llround(weight[r] * scale);
		data->weight[r] = data->weight[r] > 0 ? data->weight[r] : 1;
	}
	if (data->is_regression) {
		data->centre = sum / total;
		data->moment = mmq_array(rows, sizeof(*data->moment));
		for (size_t r = 0; r < rows; r++)
			moment = fmax(moment, weight[r] * fabs(train->y[r] - data->centre));
		scale = scale_for(moment, rows, 61);
		data->moment_unit = 1.0 / scale;
		for (size_t r = 0; r < rows; r++)
			data->moment[r] = llround(weight[r] * (train->y[r] - data->centre) * scale);
	}
	/* Gains are told as falls of impurity over all rows: what ccp_alpha is compared with, and importances add up. */
	data->gain_unit = (data->is_regression ? data->moment_unit * data->moment_unit / data->weight_unit : data->weight_unit) / total *
	    (data->options->criterion == MMQ_TREE_ENTROPY ? 1 / M_LN2 : 1);
	free(weight);
}

static void
start_worker(struct forest *forest, unsigned thread)
{
	mmq_cart_init(&forest->workers[thread], &forest->data);
	forest->workers[thread].watch = (struct mmq_tree_watch){ .progress = forest->fit->progress, .state = { .loss = NAN, .valid_loss = NAN,
		.iterations_max = forest->data.options->trees, .loss_name = "impurity" } };
}

/* One tree alone: the threads share its nodes, and one thread takes them in the same order. */
static void
grow_alone(struct forest *forest)
{
	unsigned threads = mmq_pool_threads(forest->fit->pool);
	mmq_cart_tree_init(&forest->growing[0], &forest->data, forest->fit->pool);
	for (unsigned t = 0; t < threads; t++)
		start_worker(forest, t);
	forest->growing[0].drawn = forest->drawn;
	atomic_store(&forest->cancelled, mmq_cart_grow(forest->workers, true, forest->fit->pool, &forest->growing[0], &forest->trees[0], forest->first_tree) == -1);
}

static void
grow_one(void *arg, size_t block, unsigned thread)
{
	struct forest *forest = arg;
	struct mmq_cart *worker = &forest->workers[thread];
	struct mmq_progress_state *state = &worker->watch.state;

	if (atomic_load(&forest->cancelled))
		return;
	if (worker->data == NULL) {
		start_worker(forest, thread);
		mmq_cart_tree_init(&forest->growing[thread], &forest->data, NULL);
	}
	forest->growing[thread].drawn = forest->drawn != NULL ? forest->drawn + block * (forest->data.bins->rows / 8 + 1) : NULL;
	bool goes_on = mmq_cart_grow(worker, false, NULL, &forest->growing[thread], &forest->trees[block], forest->first_tree + block) == 0;
	state->iteration = (int64_t)atomic_fetch_add(&forest->done, 1) + 1;
	state->fraction = (double)state->iteration / forest->data.options->trees;
	if (!goes_on || !mmq_progress_step(forest->fit->progress, state))
		atomic_store(&forest->cancelled, true);
}

int
mmq_tree_forest(struct mmq_tree_model **model_out, const struct mmq_fit *fit, const struct mmq_tree_options *options,
    const struct mmq_tree_bins *bins, struct mmq_err *err)
{
	bool is_many = fit->task == MMQ_MULTICLASS;
	uint32_t width = is_many ? fit->train->classes : 1;
	unsigned threads = mmq_pool_threads(fit->pool);
	struct forest forest = { .fit = fit, .data = { .options = options, .bins = bins, .y = fit->train->y,
		.is_regression = fit->task == MMQ_REGRESSION, .channels = is_many ? fit->train->classes : 2, .width = width,
		.features_tried = mmq_tree_features_tried(options, bins->columns_count > 0 ? bins->columns_count : 1) } };

	const struct mmq_tree_model *previous = fit->previous;

	*model_out = NULL;
	forest.first_tree = previous != NULL ? previous->trees : 0;
	fix_points(&forest);
	forest.workers = mmq_array(threads, sizeof(*forest.workers));
	forest.trees = mmq_array(options->trees, sizeof(*forest.trees));
	forest.growing = mmq_array(threads, sizeof(*forest.growing));
	if (options->oob_score)
		forest.drawn = mmq_array((size_t)options->trees * (bins->rows / 8 + 1), 1);
	if (options->trees == 1)
		grow_alone(&forest);
	else
		mmq_pool_run(fit->pool, options->trees, grow_one, &forest);
	int result = atomic_load(&forest.cancelled) ? mmq_err_set(err, MMQ_CANCELLED, "training was cancelled") : 0;
	if (result == 0) {
		struct mmq_tree_builder *builder = mmq_tree_builder_new(fit, bins, width, width);
		double *base = mmq_array(width, sizeof(*base));
		if (previous != NULL)
			mmq_tree_builder_take(builder, previous);
		base[0] = fit->task == MMQ_BINARY ? -0.5 : 0.0;
		for (uint32_t t = 0; t < options->trees; t++)
			mmq_tree_builder_add(builder, &forest.trees[t]);
		*model_out = mmq_tree_builder_finish(&builder, options, base);
		(*model_out)->best_iteration = forest.first_tree + options->trees;
		if (options->oob_score)
			(*model_out)->oob_score = mmq_tree_oob_score(*model_out, fit->train, forest.drawn, options->trees, fit->pool);
		free(base);
	}
	for (uint32_t t = 0; t < options->trees; t++)
		mmq_grown_fini(&forest.trees[t]);
	for (unsigned t = 0; t < threads; t++) {
		if (forest.workers[t].data != NULL)
			mmq_cart_fini(&forest.workers[t]);
		if (forest.growing[t].data != NULL)
			mmq_cart_tree_fini(&forest.growing[t]);
	}
	free(forest.workers);
	free(forest.growing);
	free(forest.drawn);
	free(forest.trees);
	free(forest.data.weight);
	free(forest.data.moment);
	return result;
}
