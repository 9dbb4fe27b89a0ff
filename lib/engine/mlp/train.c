/* train.c: epochs of minibatches.
 *
 * Key idea: a minibatch is cut into blocks that depend only on its size, each block fills its own gradient, and the blocks' gradients
 * are added in block order inside the optimiser's pass. So 1 and 8 threads give the same bits. The names, defaults and stopping rules are
 * scikit-learn's, with one difference: early stopping looks at the validation loss, not at accuracy. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mlp/net.h"
#include "math/flush.h"
#include "math/rng.h"
#include "util/mem.h"

enum { BLOCKS_MAX = 8, BLOCK_ROWS = 100, CHUNK = 16384 };
static const double block_work_min = 5e5;    /* rows * parameters below which cutting a batch costs more than it brings */
static const double report_work = 2e8;       /* rows * parameters between two looks at cancel: about 50 ms */

struct trainer {
	struct mmq_mlp_net *net;
	const struct mmq_fit *fit;
	struct mmq_mlp_rows rows, valid;
	size_t rows_count, valid_count, batch_rows;
	uint32_t *index;                 /* (train rows): training part first, then a validation part if one was cut off */
	float *weight;                   /* (train rows), mean 1; NULL: all 1 */
	float *gradient, *first, *second, *good, *best;  /* gradient: (BLOCKS_MAX, params) */
	struct mmq_mlp_work *work;       /* one per thread */
	unsigned threads;
	size_t blocks, batch_first, batch_count;         /* the minibatch at hand */
	double block_loss[BLOCKS_MAX], block_weight[BLOCKS_MAX];
	double *tile_loss, *tile_weight; /* validation */
	struct mmq_mlp_step step;
	double learning_rate, alpha;
	struct mmq_rng rng;
};

static size_t
batch_rows_of(const struct mmq_params *params, size_t rows)
{
	if (mmq_params_is_number(params, "batch_size")) {
		size_t size = (size_t)mmq_params_number(params, "batch_size");
		return size == 0 || size > rows ? rows : size;
	}
	return strcmp(mmq_params_choice(params, "batch_size"), "full") == 0 || rows < 200 ? rows : 200;
}

static size_t
blocks_of(const struct mmq_mlp_net *net, size_t rows)
{
	size_t blocks = rows / BLOCK_ROWS;
	if ((double)rows * (double)net->params_count < block_work_min || blocks < 1)
		return 1;
	return blocks < BLOCKS_MAX ? blocks : BLOCKS_MAX;
}

size_t
mmq_mlp_train_bytes(const struct mmq_mlp_net *net, const struct mmq_fit *fit)
{
	size_t blocks = blocks_of(net, batch_rows_of(fit->params, fit->train->x.rows)), widths = 0;
	for (size_t k = 0; k <= net->layers; k++)
		widths += net->widths[k];
	return (blocks + 5) * net->params_count * sizeof(float) + fit->train->x.rows * 8 +
	    mmq_pool_threads(fit->pool) * MMQ_MLP_TILE * (widths + 2 * net->width_max) * sizeof(float);
}

static void
init_params(struct mmq_mlp_net *net, const char *init, uint64_t seed)
{
	for (size_t k = 0; k < net->layers; k++) {
		struct mmq_rng rng = mmq_rng_stream(seed, 1, k);
		size_t in = net->widths[k], out = net->widths[k + 1];
		double factor = net->hidden == MMQ_MLP_LOGISTIC ? 2.0 : 6.0, bound = sqrt(factor / (double)(in + out));
		bool is_normal = strcmp(init, "normal") == 0 || strcmp(init, "he") == 0;
		if (strcmp(init, "uniform") == 0 || strcmp(init, "normal") == 0)
			bound = 1.0;
		else if (strcmp(init, "he") == 0)
			bound = sqrt(2.0 / (double)in);
		for (size_t i = net->w_at[k]; i < net->b_at[k] + out; i++)
			net->params[i] = (float)(is_normal ? bound * mmq_rng_normal(&rng) : bound * (2.0 * mmq_rng_uniform(&rng) - 1.0));
		for (size_t i = 0; strcmp(init, "he") == 0 && i < out; i++)
			net->params[net->b_at[k] + i] = 0.0f;
	}
}

/* Fill index; cut off validation rows when early stopping has none. Shuffled by seed, before the epochs' shuffles. */
static void
choose_rows(struct trainer *t)
{
	const struct mmq_fit *fit = t->fit;
	size_t count = fit->train->x.rows;
	t->index = mmq_array(count, sizeof(*t->index));
	for (size_t i = 0; i < count; i++)
		t->index[i] = (uint32_t)i;
	t->rows = t->valid = (struct mmq_mlp_rows){ fit->train, t->index, t->weight };
	t->rows_count = count;
	if (fit->valid != NULL) {
		t->valid = (struct mmq_mlp_rows){ fit->valid, NULL, fit->valid->weight };
		t->valid_count = fit->valid->x.rows;
	} else if (mmq_params_bool(fit->params, "early_stopping") && count > 1) {
		struct mmq_rng rng = mmq_rng_stream(fit->seed, 2, 0);
		mmq_rng_shuffle(&rng, t->index, count);
		size_t cut = (size_t)ceil(mmq_params_number(fit->params, "validation_fraction") * (double)count);
		t->valid_count = cut < 1 ? 1 : cut >= count ? count - 1 : cut;
		t->rows_count = count - t->valid_count;
		t->valid.index = t->index + t->rows_count;
	}
}

/* Weights relative to their mean, so that multiplying all by a number changes nothing. */
static void
scale_weights(struct trainer *t)
{
	const struct mmq_dataset *train = t->fit->train;
	double sum = 0.0;
	if (train->weight == NULL)
		return;
	t->weight = mmq_array(train->x.rows, sizeof(*t->weight));
	for (size_t r = 0; r < train->x.rows; r++)
		sum += (double)train->weight[r];
	for (size_t r = 0; r < train->x.rows; r++)
		t->weight[r] = (float)((double)train->weight[r] * (double)train->x.rows / sum);
}

static void
trainer_fini(struct trainer *t)
{
	for (unsigned k = 0; t->work != NULL && k < t->threads; k++)
		mmq_mlp_work_fini(&t->work[k]);
	free(t->work), free(t->index), free(t->weight), free(t->gradient), free(t->first), free(t->second), free(t->good), free(t->best);
	free(t->tile_loss), free(t->tile_weight);
}

static int
trainer_init(struct trainer *t, struct mmq_err *err)
{
	const struct mmq_params *params = t->fit->params;
	size_t bytes = t->net->params_count * sizeof(float), tiles;
	bool is_sparse = t->fit->train->x.row_start != NULL;

	scale_weights(t);
	choose_rows(t);
	t->batch_rows = batch_rows_of(params, t->rows_count);
	t->threads = mmq_pool_threads(t->fit->pool);
	t->work = mmq_array(t->threads, sizeof(*t->work));
	t->gradient = mmq_try_aligned(bytes * blocks_of(t->net, t->batch_rows));
	t->first = mmq_try_aligned(bytes);
	t->second = mmq_try_aligned(bytes);
	t->good = mmq_try_aligned(bytes);
	t->best = mmq_try_aligned(bytes);
	bool is_enough = t->gradient != NULL && t->first != NULL && t->second != NULL && t->good != NULL && t->best != NULL;
	for (unsigned k = 0; k < t->threads; k++)
		is_enough = mmq_mlp_work_new(&t->work[k], t->net, is_sparse) && is_enough;
	if (!is_enough)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "mlp: no memory for %zu parameters", t->net->params_count);
	tiles = t->valid_count / MMQ_MLP_TILE + 1;
	t->tile_loss = mmq_array(tiles, sizeof(*t->tile_loss));
	t->tile_weight = mmq_array(tiles, sizeof(*t->tile_weight));
	t->learning_rate = mmq_params_number(params, "learning_rate_init");
	t->alpha = mmq_params_number(params, "alpha");
	t->rng = mmq_rng_stream(t->fit->seed, 3, 0);
	t->step = (struct mmq_mlp_step){ .is_adam = strcmp(mmq_params_choice(params, "solver"), "adam") == 0,
		.nesterov = mmq_params_bool(params, "nesterovs_momentum"), .momentum = mmq_params_number(params, "momentum"),
		.beta_1 = mmq_params_number(params, "beta_1"), .beta_2 = mmq_params_number(params, "beta_2"),
		.epsilon = mmq_params_number(params, "epsilon") };
	return 0;
}

/* One block of the minibatch: its gradient and loss. */
static void
run_block(void *arg, size_t block, unsigned thread)
{
	struct trainer *t = arg;
	float *gradient = t->gradient + block * t->net->params_count;
	size_t from = t->batch_count * block / t->blocks, to = t->batch_count * (block + 1) / t->blocks;
	unsigned mode = mmq_flush_begin();

	memset(gradient, 0, t->net->params_count * sizeof(*gradient));
	t->block_loss[block] = t->block_weight[block] = 0.0;
	for (size_t i = from; i < to; i += MMQ_MLP_TILE)
		t->block_loss[block] += mmq_mlp_tile(t->net, &t->rows, t->batch_first + i, to - i < MMQ_MLP_TILE ? to - i : MMQ_MLP_TILE,
		    &t->work[thread], gradient, &t->block_weight[block]);
	mmq_flush_end(mode);
}

/* One chunk of the parameters: add the blocks' gradients in order, then step. */
static void
update_chunk(void *arg, size_t chunk, unsigned thread)
{
	struct trainer *t = arg;
	const struct mmq_mlp_net *net = t->net;
	size_t from = chunk * CHUNK, to = from + CHUNK < net->params_count ? from + CHUNK : net->params_count;
	unsigned mode = mmq_flush_begin();

	(void)thread;
	for (size_t b = 1; b < t->blocks; b++)
		mmq_mlp_add_scaled(t->gradient + from, t->gradient + b * net->params_count + from, 1.0f, to - from);
	for (size_t k = 0; k < net->layers; k++) {
		size_t ends[3] = { net->w_at[k], net->b_at[k], net->b_at[k] + net->widths[k + 1] };
		for (int part = 0; part < 2; part++) {
			size_t low = ends[part] > from ? ends[part] : from, high = ends[part + 1] < to ? ends[part + 1] : to;
			if (low < high)
				mmq_mlp_update(&t->step, net->params + low, t->first + low, t->second + low, t->gradient + low, high - low,
				    part == 0);
		}
	}
	mmq_flush_end(mode);
}

static double
squared_weights(const struct mmq_mlp_net *net)
{
	double sum = 0.0;
	for (size_t k = 0; k < net->layers; k++)
		for (size_t i = net->w_at[k]; i < net->b_at[k]; i++)
			sum += (double)net->params[i] * (double)net->params[i];
	return sum;
}

/* Step number `step` (from 1) on the minibatch at [first, first + count). Returns its weighted loss sum. */
static double
run_batch(struct trainer *t, size_t first, size_t count, int64_t step, double *weight_out)
{
	double loss = 0.0, weight = 0.0;
	t->batch_first = first;
	t->batch_count = count;
	t->blocks = blocks_of(t->net, count);
	mmq_pool_run(t->fit->pool, t->blocks, run_block, t);
	for (size_t b = 0; b < t->blocks; b++) {
		loss += t->block_loss[b];
		weight += t->block_weight[b];
	}
	t->step.scale = 1.0 / weight;
	t->step.decay = t->alpha / weight;
	t->step.rate = t->learning_rate;
	if (t->step.is_adam)
		t->step.rate *= sqrt(1.0 - pow(t->step.beta_2, (double)step)) / (1.0 - pow(t->step.beta_1, (double)step));
	if (isfinite(loss))
		mmq_pool_run(t->fit->pool, (t->net->params_count + CHUNK - 1) / CHUNK, update_chunk, t);
	*weight_out += weight;
	return loss;
}

static void
valid_tile(void *arg, size_t tile, unsigned thread)
{
	struct trainer *t = arg;
	size_t from = tile * MMQ_MLP_TILE, left = t->valid_count - from;
	t->tile_weight[tile] = 0.0;
	t->tile_loss[tile] = mmq_mlp_tile(t->net, &t->valid, from, left < MMQ_MLP_TILE ? left : MMQ_MLP_TILE, &t->work[thread], NULL,
	    &t->tile_weight[tile]);
}

static double
valid_loss(struct trainer *t)
{
	size_t tiles = (t->valid_count + MMQ_MLP_TILE - 1) / MMQ_MLP_TILE;
	double loss = 0.0, weight = 0.0;
	if (t->valid_count == 0)
		return NAN;
	mmq_pool_run(t->fit->pool, tiles, valid_tile, t);
	for (size_t k = 0; k < tiles; k++) {
		loss += t->tile_loss[k];
		weight += t->tile_weight[k];
	}
	return loss / weight;
}

static bool
say(const struct trainer *t, double epochs, int64_t epochs_max, double loss, double loss_valid)
{
	struct mmq_progress_state state = { .fraction = epochs / (double)epochs_max, .loss = loss, .valid_loss = loss_valid,
		.iteration = (int64_t)epochs, .iterations_max = epochs_max, .loss_name = t->net->loss == MMQ_MLP_MSE ? "half_mse" : "log_loss" };
	return mmq_progress_step(t->fit->progress, &state);
}

/* One epoch. Returns its mean loss with L2, NaN when it diverged; *is_cancelled_out when the listener said stop. */
static double
run_epoch(struct trainer *t, struct mmq_mlp_report *report, int64_t epochs_max, bool *is_cancelled_out)
{
	double loss = 0.0, weight = 0.0, work = 0.0;
	size_t batches = 0;
	if (mmq_params_bool(t->fit->params, "shuffle"))
		mmq_rng_shuffle(&t->rng, t->index, t->rows_count);
	for (size_t first = 0; first < t->rows_count; first += t->batch_rows, batches++) {
		size_t count = t->rows_count - first < t->batch_rows ? t->rows_count - first : t->batch_rows;
		loss += run_batch(t, first, count, ++report->steps, &weight);
		if (!isfinite(loss))
			return NAN;
		work += (double)count * (double)t->net->params_count;
		if (work > report_work) {
			work = 0.0;
			double done = (double)report->epochs + (double)(first + count) / (double)t->rows_count;
			if (!say(t, done, epochs_max, loss / weight, report->valid_loss)) {
				*is_cancelled_out = true;
				return NAN;
			}
		}
	}
	double squares = squared_weights(t->net);
	return isfinite(squares) ? (loss + 0.5 * t->alpha * squares * (double)batches) / weight : NAN;
}

/* scikit-learn's rule: no gain of tol for more than n_iter_no_change epochs in a row. True: stop. */
static bool
has_settled(struct trainer *t, double value, double *best, int64_t *stale, bool is_adaptive)
{
	const struct mmq_params *params = t->fit->params;
	*stale = value > *best - mmq_params_number(params, "tol") ? *stale + 1 : 0;
	*best = value < *best ? value : *best;
	if (*stale <= mmq_params_int(params, "n_iter_no_change"))
		return false;
	if (!is_adaptive || t->learning_rate <= 1e-6)
		return true;
	t->learning_rate /= 5.0;
	*stale = 0;
	return false;
}

static int
run_epochs(struct trainer *t, struct mmq_mlp_report *report, struct mmq_err *err)
{
	const struct mmq_params *params = t->fit->params;
	const char *schedule = mmq_params_choice(params, "learning_rate");
	bool is_adaptive = !t->step.is_adam && strcmp(schedule, "adaptive") == 0, stops_early = mmq_params_bool(params, "early_stopping");
	int64_t epochs_max = mmq_params_int(params, "max_iter"), stale = 0;
	double rate = t->learning_rate, best = INFINITY, best_valid = INFINITY;
	size_t bytes = t->net->params_count * sizeof(float);
	bool is_cancelled = false;

	while (report->epochs < epochs_max && !report->converged) {
		double loss = run_epoch(t, report, epochs_max, &is_cancelled);
		if (is_cancelled)
			return mmq_err_set(err, MMQ_CANCELLED, "mlp: cancelled in epoch %lld", (long long)report->epochs + 1);
		if (!isfinite(loss)) {
			if (report->epochs == 0)
				return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.learning_rate_init",
				    "a rate at which the loss stays finite in the first epoch", "%g", rate);
			memcpy(t->net->params, t->good, bytes);
			report->warning = "the loss became infinite or NaN; the last good epoch was kept: lower learning_rate_init";
			return 0;
		}
		memcpy(t->good, t->net->params, bytes);
		report->epochs++;
		report->loss = loss;
		report->valid_loss = valid_loss(t);
		if (stops_early && report->valid_loss < best_valid) {
			best_valid = report->valid_loss;
			memcpy(t->best, t->net->params, bytes);
		}
		if (!say(t, (double)report->epochs, epochs_max, loss, report->valid_loss))
			return mmq_err_set(err, MMQ_CANCELLED, "mlp: cancelled after epoch %lld", (long long)report->epochs);
		report->converged = has_settled(t, stops_early && t->valid_count > 0 ? report->valid_loss : loss, &best, &stale, is_adaptive);
		if (!t->step.is_adam && strcmp(schedule, "invscaling") == 0)
			t->learning_rate = rate / pow((double)report->epochs * (double)t->rows_count + 1.0, mmq_params_number(params, "power_t"));
	}
	if (stops_early && isfinite(best_valid)) {
		memcpy(t->net->params, t->best, bytes);
		report->valid_loss = best_valid;
	}
	if (!report->converged)
		report->warning = "max_iter epochs were done before the loss settled";
	return 0;
}

int
mmq_mlp_train(struct mmq_mlp_net *net, const struct mmq_fit *fit, struct mmq_mlp_report *report, struct mmq_err *err)
{
	struct trainer t = { .net = net, .fit = fit };
	*report = (struct mmq_mlp_report){ .loss = NAN, .valid_loss = NAN };
	int rc = trainer_init(&t, err);
	if (rc == 0) {
		init_params(net, mmq_params_choice(fit->params, "init"), fit->seed);
		rc = run_epochs(&t, report, err);
	}
	trainer_fini(&t);
	return rc;
}
