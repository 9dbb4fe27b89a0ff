/* train.c: epochs of minibatches.
 *
 * The names, defaults and stopping rules are scikit-learn's, with one difference: early stopping looks at the validation loss, not at accuracy.
 * The passes and the threads are room.c's; a step is taken piece by piece as soon as the piece's gradient is there, or, when gradients
 * are clipped by their norm, after all of it is. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mlp/net.h"
#include "math/rng.h"
#include "util/mem.h"

static const double report_work = 2e8;       /* rows * parameters between two looks at cancel: about 50 ms */
enum { SAID_EVERY = 256 };                   /* epochs of a very small network between two looks at cancel */
static const double step_factor = 0.1, warm_start_share = 0.01;

struct trainer {
	struct mmq_mlp_net *net;
	const struct mmq_fit *fit;
	struct mmq_mlp_rows rows, valid;
	size_t rows_count, valid_count, batch_rows;
	uint32_t *index;                 /* (train rows): training part first, then a validation part if one was cut off */
	float *weight;                   /* (train rows), mean 1; NULL: all 1 */
	float *gradient, *first, *second, *good, *best;
	struct mmq_mlp_room *room;
	struct mmq_mlp_small *small;     /* instead of the room's passes, where the network is that small; else NULL */
	struct mmq_mlp_step step;
	double learning_rate, alpha, clip_norm, warmup_epochs, batch_weight;
	double tol, power_t, rate_first;
	bool shuffles, stops_early, is_adaptive, is_invscaling, is_cosine, is_stepped;
	int64_t epochs_max, step_epochs, patience;
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

double
mmq_mlp_train_bytes(const struct mmq_mlp_net *net, const struct mmq_fit *fit)
{
	size_t rows = fit->train->x.rows;
	return 6.0 * (double)(net->params_count + net->back_count) * sizeof(float) + (double)rows * 8.0 +
	    mmq_mlp_room_bytes(net, batch_rows_of(fit->params, rows), mmq_pool_threads(fit->pool));
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
	size_t first_other = 0;
	while (train->weight != NULL && first_other < train->x.rows && train->weight[first_other] == train->weight[0])
		first_other++;
	if (train->weight == NULL || first_other == train->x.rows)
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
	mmq_mlp_room_destroy(&t->room);
	mmq_mlp_small_destroy(&t->small);
	free(t->index), free(t->weight), free(t->gradient), free(t->first), free(t->second), free(t->good), free(t->best);
}

static int
trainer_init(struct trainer *t, struct mmq_err *err)
{
	const struct mmq_params *params = t->fit->params;
	size_t bytes = t->net->params_count * sizeof(float);
	const char *solver = mmq_params_choice(params, "solver"), *schedule = mmq_params_choice(params, "learning_rate");

	scale_weights(t);
	choose_rows(t);
	t->batch_rows = batch_rows_of(params, t->rows_count);
	t->room = mmq_mlp_room_new(t->net, t->batch_rows, t->fit->train->x.row_start != NULL, t->fit->pool);
	t->gradient = mmq_try_aligned(bytes);
	t->first = mmq_try_aligned(bytes);
	t->second = mmq_try_aligned(bytes);
	t->good = mmq_try_aligned(bytes);
	t->best = mmq_try_aligned(bytes);
	if (t->room == NULL || t->gradient == NULL || t->first == NULL || t->second == NULL || t->good == NULL || t->best == NULL)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "mlp: no memory for %zu parameters", t->net->params_count);
	if (mmq_mlp_small_fits(t->net, t->fit->train, t->rows_count, t->batch_rows, t->weight != NULL))
		t->small = mmq_mlp_small_new(t->net, &t->rows, t->rows_count);
	t->learning_rate = t->rate_first = mmq_params_number(params, "learning_rate_init");
	t->tol = mmq_params_number(params, "tol");
	t->power_t = mmq_params_number(params, "power_t");
	t->patience = mmq_params_int(params, "n_iter_no_change");
	t->shuffles = mmq_params_bool(params, "shuffle") && t->small == NULL;
	t->stops_early = mmq_params_bool(params, "early_stopping");
	t->epochs_max = mmq_params_int(params, "max_iter");
	t->step_epochs = mmq_params_int(params, "step_epochs");
	t->warmup_epochs = mmq_params_number(params, "warmup_epochs");
	t->clip_norm = mmq_params_number(params, "clip_norm");
	t->alpha = mmq_params_number(params, "alpha");
	t->rng = mmq_rng_stream(t->fit->seed, 3, 0);
	t->step = (struct mmq_mlp_step){ .is_adam = strcmp(solver, "sgd") != 0, .is_decoupled = strcmp(solver, "adamw") == 0,
		.nesterov = mmq_params_bool(params, "nesterovs_momentum"), .momentum = mmq_params_number(params, "momentum"),
		.beta_1 = mmq_params_number(params, "beta_1"), .beta_2 = mmq_params_number(params, "beta_2"),
		.epsilon = mmq_params_number(params, "epsilon") };
	t->is_adaptive = (!t->step.is_adam && strcmp(schedule, "adaptive") == 0) || strcmp(schedule, "plateau") == 0;
	t->is_invscaling = !t->step.is_adam && strcmp(schedule, "invscaling") == 0;
	t->is_cosine = strcmp(schedule, "cosine") == 0;
	t->is_stepped = strcmp(schedule, "step") == 0;
	return 0;
}

/* The rate at this many epochs (with their fraction) from the start. */
static double
rate_at(const struct trainer *t, double epochs)
{
	double rate = t->learning_rate;
	if (t->is_cosine)
		rate *= 0.5 * (1.0 + cos(3.141592653589793 * epochs / (double)t->epochs_max));
	else if (t->is_stepped)
		rate *= pow(step_factor, floor(epochs / (double)t->step_epochs));
	if (epochs < t->warmup_epochs)
		rate *= warm_start_share + (1.0 - warm_start_share) * epochs / t->warmup_epochs;
	return rate;
}

/* The weights of the rows are known now: fill what depends on them, once per step, then update this piece. */
static void
step_piece(void *arg, size_t at, size_t count, bool is_weight)
{
	const struct trainer *t = arg;
	struct mmq_mlp_step step = t->step;
	step.scale /= t->batch_weight;
	step.decay = step.is_decoupled ? step.decay : t->alpha / t->batch_weight;
	mmq_mlp_update(&step, t->net->params + at, t->first + at, t->second + at, t->gradient + at, count, is_weight);
}

/* Factor that brings the mean gradient's length down to clip_norm. */
static double
clip_factor(const struct trainer *t)
{
	double squares = 0.0;
	for (size_t i = 0; i < t->net->trained_count; i++)
		squares += (double)t->gradient[i] * (double)t->gradient[i];
	double norm = sqrt(squares) / t->batch_weight;
	return norm > t->clip_norm ? t->clip_norm / norm : 1.0;
}

/* Step number `step` (from 1) on the minibatch at [first, first + count). Returns its weighted loss sum. */
static double
run_batch(struct trainer *t, size_t first, size_t count, double epochs, int64_t step, double *weight_out)
{
	double rate = rate_at(t, epochs), loss;
	t->batch_weight = 0.0;
	t->step.scale = 1.0;
	t->step.decay = rate * t->alpha;
	t->step.rate = rate;
	if (t->step.is_adam)
		t->step.rate *= sqrt(1.0 - pow(t->step.beta_2, (double)step)) / (1.0 - pow(t->step.beta_1, (double)step));
	if (t->small != NULL) {
		t->batch_weight = (double)count;
		loss = mmq_mlp_small_gradient(t->small, t->gradient);
	} else {
		loss = mmq_mlp_room_gradient(t->room, &t->rows, first, count, t->fit->seed, (uint64_t)step, t->gradient,
		    t->clip_norm > 0.0 ? NULL : step_piece, t, &t->batch_weight);
	}
	if (t->clip_norm > 0.0 && isfinite(loss)) {
		t->step.scale = clip_factor(t);
		mmq_mlp_room_step(t->room, step_piece, t);
	} else if (t->small != NULL && isfinite(loss)) {
		for (size_t k = 0; k < t->net->layers; k++) {
			const struct mmq_mlp_layer *layer = &t->net->layer[k];
			step_piece(t, layer->w_at, layer->b_at - layer->w_at, true);
			step_piece(t, layer->b_at, (layer->cols + 15) / 16 * 16, false);
		}
	}
	*weight_out += t->batch_weight;
	return loss;
}

static double
valid_loss(struct trainer *t)
{
	double weight = 0.0;
	if (t->valid_count == 0)
		return NAN;
	double loss = mmq_mlp_room_loss(t->room, &t->valid, 0, t->valid_count, &weight);
	return loss / weight;
}

/* The parts that L2 punishes. */
static double
squared_weights(const struct mmq_mlp_net *net)
{
	double sum[8] = { 0 };
	for (size_t k = 0; k < net->layers; k++)
		for (size_t i = net->layer[k].w_at; net->layer[k].kind <= MMQ_MLP_CONV && i < net->layer[k].b_at; i += 8)
			for (size_t j = 0; j < 8; j++)
				sum[j] += (double)net->params[i + j] * (double)net->params[i + j];
	return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

static const char *const loss_names[MMQ_MLP_LOSSES] = { [MMQ_MLP_MSE] = "half_mse", [MMQ_MLP_CROSS_ENTROPY] = "log_loss", [MMQ_MLP_MAE] = "mae",
	[MMQ_MLP_HUBER] = "huber" };

static bool
say(const struct trainer *t, double epochs, int64_t epochs_max, double loss, double loss_valid)
{
	struct mmq_progress_state state = { .fraction = epochs / (double)epochs_max, .loss = loss, .valid_loss = loss_valid,
		.iteration = (int64_t)epochs, .iterations_max = epochs_max, .loss_name = loss_names[t->net->loss] };
	return mmq_progress_step(t->fit->progress, &state);
}

/* One epoch. Returns its mean loss with L2, NaN when it diverged; *is_cancelled_out when the listener said stop. */
static double
run_epoch(struct trainer *t, struct mmq_mlp_report *report, int64_t epochs_max, bool *is_cancelled_out)
{
	double loss = 0.0, weight = 0.0, work = 0.0;
	size_t batches = 0;
	if (t->shuffles)
		mmq_rng_shuffle(&t->rng, t->index, t->rows_count);
	for (size_t first = 0; first < t->rows_count; first += t->batch_rows, batches++) {
		size_t count = t->rows_count - first < t->batch_rows ? t->rows_count - first : t->batch_rows;
		double epochs = (double)report->epochs + (double)first / (double)t->rows_count;
		loss += run_batch(t, first, count, epochs, ++report->steps, &weight);
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
	return isfinite(squares) ? (loss + (t->step.is_decoupled ? 0.0 : 0.5 * t->alpha * squares * (double)batches)) / weight : NAN;
}

/* scikit-learn's rule: no gain of tol for more than n_iter_no_change epochs in a row. True: stop. */
static bool
has_settled(struct trainer *t, struct mmq_mlp_loop *loop, double value)
{
	loop->stale = value > loop->best - t->tol ? loop->stale + 1 : 0;
	loop->best = value < loop->best ? value : loop->best;
	if (loop->stale <= t->patience)
		return false;
	if (!t->is_adaptive || t->learning_rate <= 1e-6)
		return true;
	t->learning_rate /= 5.0;
	loop->stale = 0;
	return false;
}

/* What an epoch left: the good weights, the best ones, the next rate. */
static void
end_epoch(struct trainer *t, struct mmq_mlp_report *report, struct mmq_mlp_loop *loop, double loss)
{
	size_t bytes = t->net->params_count * sizeof(float);

	memcpy(t->good, t->net->params, bytes);
	report->epochs++;
	report->loss = loss;
	report->valid_loss = valid_loss(t);
	if (t->stops_early && report->valid_loss < loop->best_valid) {
		loop->best_valid = report->valid_loss;
		memcpy(t->best, t->net->params, bytes);
	}
	report->converged = has_settled(t, loop, t->stops_early && t->valid_count > 0 ? report->valid_loss : loss);
	if (t->is_invscaling)
		t->learning_rate = t->rate_first / pow((double)report->epochs * (double)t->rows_count + 1.0, t->power_t);
}

static void
write_checkpoint(const struct trainer *t, const struct mmq_mlp_report *report, struct mmq_mlp_loop *loop)
{
	struct mmq_part part;
	loop->epochs = report->epochs, loop->steps = report->steps, loop->loss = report->loss, loop->valid_loss = report->valid_loss;
	loop->learning_rate = t->learning_rate, loop->rng = t->rng.state;
	mmq_part_init(&part, true);
	mmq_mlp_loop_put(loop, &part);
	t->fit->checkpoint->write(t->fit->checkpoint->arg, &part);
	mmq_part_fini(&part);
}

/* The loop from its start, or where a checkpoint left it. */
static struct mmq_mlp_loop
begin_loop(struct trainer *t, struct mmq_mlp_report *report)
{
	struct mmq_mlp_loop loop = { .best = INFINITY, .best_valid = INFINITY, .params_count = t->net->params_count, .rows = t->fit->train->x.rows,
		.params = t->net->params, .first = t->first, .second = t->second, .best_params = t->best, .index = t->index };
	if (t->fit->resume != NULL || t->fit->checkpoint != NULL)
		loop.fingerprint = mmq_mlp_fingerprint(t->fit, t->net);
	if (t->fit->resume != NULL && mmq_mlp_loop_get(&loop, t->fit->resume)) {
		report->epochs = loop.epochs, report->steps = loop.steps, report->loss = loop.loss, report->valid_loss = loop.valid_loss;
		t->learning_rate = loop.learning_rate, t->rng.state = loop.rng;
		memcpy(t->good, t->net->params, t->net->params_count * sizeof(float));
	}
	return loop;
}

static int
run_epochs(struct trainer *t, struct mmq_mlp_report *report, struct mmq_err *err)
{
	const struct mmq_checkpoint *checkpoint = t->fit->checkpoint;
	struct mmq_mlp_loop loop = begin_loop(t, report);
	size_t bytes = t->net->params_count * sizeof(float);
	bool is_cancelled = false;

	while (report->epochs < t->epochs_max && !report->converged) {
		double loss = run_epoch(t, report, t->epochs_max, &is_cancelled);
		if (is_cancelled)
			return mmq_err_set(err, MMQ_CANCELLED, "mlp: cancelled in epoch %lld", (long long)report->epochs + 1);
		if (!isfinite(loss)) {
			if (report->epochs == 0)
				return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.learning_rate_init",
				    "a rate at which the loss stays finite in the first epoch", "%g", t->rate_first);
			memcpy(t->net->params, t->good, bytes);
			report->warning = "the loss became infinite or NaN; the last good epoch was kept: lower learning_rate_init";
			return 0;
		}
		end_epoch(t, report, &loop, loss);
		if (t->small != NULL && report->epochs % SAID_EVERY != 0)
			continue;
		if (!say(t, (double)report->epochs, t->epochs_max, loss, report->valid_loss))
			return mmq_err_set(err, MMQ_CANCELLED, "mlp: cancelled after epoch %lld", (long long)report->epochs);
		if (checkpoint != NULL && !report->converged && report->epochs < t->epochs_max && checkpoint->is_due(checkpoint->arg))
			write_checkpoint(t, report, &loop);
	}
	if (isfinite(loop.best_valid)) {
		memcpy(t->net->params, t->best, bytes);
		report->valid_loss = loop.best_valid;
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
	if (rc == 0)
		rc = run_epochs(&t, report, err);
	trainer_fini(&t);
	return rc;
}
