/* mlp.c: the mlp engine: fully connected networks in float32, with scikit-learn's parameter names and defaults.
 *
 * A model keeps its canonical weights (in, out) and a packed copy for prediction. Prediction is one chain of fused multiply-adds per output
 * (math/dense.h), so that a row alone and in a batch give the same bits. It has no convolutions and no L-BFGS. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "engine/mlp/net.h"
#include "math/dense.h"
#include "util/mem.h"

enum { PREDICT_TILE = 60 };      /* rows at a time: a multiple of the dense kernel's 6 */
enum { TASKS = MMQ_REGRESSION | MMQ_BINARY | MMQ_MULTICLASS };
enum { ACCEPTS = MMQ_ACCEPTS_SPARSE | MMQ_ACCEPTS_VECTOR | MMQ_WANTS_SCALED | MMQ_WANTS_ONE_HOT | MMQ_WANTS_TARGET_SCALED };

static const char *const activation_names[] = { [MMQ_MLP_IDENTITY] = "identity", [MMQ_MLP_LOGISTIC] = "logistic", [MMQ_MLP_TANH] = "tanh",
	[MMQ_MLP_RELU] = "relu", [MMQ_MLP_SOFTMAX] = "softmax" };
static const char *const loss_names[] = { [MMQ_MLP_MSE] = "mse", [MMQ_MLP_CROSS_ENTROPY] = "cross_entropy" };

struct state {
	struct mmq_mlp_net net;
	float *owned;                    /* net.params after train; NULL after open of one-piece tensors */
	float *packed[MMQ_MLP_LAYERS_MAX];
	uint32_t classes;
	struct mmq_mlp_report report;
	char *warning;
};

static const struct mmq_param params_table[] = {
	{ "hidden_layer_sizes", "hidden", MMQ_P_INTS, "100", 1, 65536, NULL, "Units of each hidden layer.", 8, 512 },
	{ "activation", NULL, MMQ_P_ENUM, "relu", 0, 0, "relu|logistic|tanh|identity", "Activation of the hidden layers.", 0, 0 },
	{ "output_activation", NULL, MMQ_P_ENUM, "auto", 0, 0, "auto|identity|logistic|softmax",
	    "Activation of the output; auto: identity for numbers, logistic for two classes, softmax for more.", 0, 0 },
	{ "loss", NULL, MMQ_P_ENUM, "auto", 0, 0, "auto|mse|cross_entropy", "auto: mse for numbers, cross_entropy for classes.", 0, 0 },
	{ "solver", "optimizer", MMQ_P_ENUM, "adam", 0, 0, "adam|sgd", "How weights are updated.", 0, 0 },
	{ "learning_rate_init", "lr", MMQ_P_NUMBER, "0.001", 1e-9, 1000, NULL, "Step size.", 1e-4, 1e-1 },
	{ "learning_rate", "schedule", MMQ_P_ENUM, "constant", 0, 0, "constant|invscaling|adaptive", "Schedule of the step size; sgd only.", 0, 0 },
	{ "power_t", NULL, MMQ_P_NUMBER, "0.5", 0, 10, NULL, "Exponent of invscaling.", 0, 0 },
	{ "batch_size", NULL, MMQ_P_NUMBER_OR_ENUM, "auto", 0, 1e9, "auto|full", "Rows per step; auto: min(200, rows); 0 or full: all rows.", 0, 0 },
	{ "max_iter", "epochs", MMQ_P_INT, "200", 1, 1e7, NULL, "Most epochs.", 0, 0 },
	{ "momentum", NULL, MMQ_P_NUMBER, "0.9", 0, 1, NULL, "Momentum of sgd.", 0, 0 },
	{ "nesterovs_momentum", NULL, MMQ_P_BOOL, "true", 0, 0, NULL, "Nesterov's momentum in sgd.", 0, 0 },
	{ "beta_1", NULL, MMQ_P_NUMBER, "0.9", 0, 0.999999, NULL, "Decay of Adam's first moment.", 0, 0 },
	{ "beta_2", NULL, MMQ_P_NUMBER, "0.999", 0, 0.9999999, NULL, "Decay of Adam's second moment.", 0, 0 },
	{ "epsilon", NULL, MMQ_P_NUMBER, "1e-8", 1e-30, 1, NULL, "Adam's guard against division by zero.", 0, 0 },
	{ "alpha", "weight_decay", MMQ_P_NUMBER, "0.0001", 0, 1e6, NULL, "L2 penalty: alpha / 2 times the squared weights, per batch.", 1e-6, 1e-1 },
	{ "tol", NULL, MMQ_P_NUMBER, "0.0001", -1e30, 1e30, NULL, "An epoch must gain this much loss to count as progress.", 0, 0 },
	{ "n_iter_no_change", "patience", MMQ_P_INT, "10", 1, 1e7, NULL, "Epochs without progress before stopping.", 0, 0 },
	{ "early_stopping", NULL, MMQ_P_BOOL, "false", 0, 0, NULL,
	    "Stop by the loss of validation rows and keep the best epoch; cuts validation_fraction off when there are none.", 0, 0 },
	{ "validation_fraction", NULL, MMQ_P_NUMBER, "0.1", 0.0001, 0.9, NULL, "Share of rows that early_stopping cuts off.", 0, 0 },
	{ "shuffle", NULL, MMQ_P_BOOL, "true", 0, 0, NULL, "Shuffle the rows before each epoch.", 0, 0 },
	{ "init", NULL, MMQ_P_ENUM, "auto", 0, 0, "auto|uniform|normal|he",
	    "First weights; auto: Glorot uniform as scikit-learn; uniform: [-1, 1]; normal: N(0, 1); he: N(0, 2 / inputs).", 0, 0 },
	{ NULL, NULL, MMQ_P_BOOL, NULL, 0, 0, NULL, NULL, 0, 0 },
};

static int
name_index(const char *const *names, int count, const char *name)
{
	for (int k = 0; k < count; k++)
		if (strcmp(names[k], name) == 0)
			return k;
	return -1;
}

/* The network that these parameters and data ask for, without its weights. */
static int
design(struct mmq_mlp_net *net, const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_params *params = fit->params;
	const char *output = mmq_params_choice(params, "output_activation"), *loss = mmq_params_choice(params, "loss");
	bool is_regression = fit->task == MMQ_REGRESSION;
	size_t hidden_count;
	const double *hidden = mmq_params_list(params, "hidden_layer_sizes", &hidden_count);

	*net = (struct mmq_mlp_net){ .layers = hidden_count + 1, .widths[0] = fit->train->x.cols };
	net->hidden = (enum mmq_mlp_activation)name_index(activation_names, 5, mmq_params_choice(params, "activation"));
	net->output = is_regression ? MMQ_MLP_IDENTITY : fit->task == MMQ_BINARY ? MMQ_MLP_LOGISTIC : MMQ_MLP_SOFTMAX;
	if (strcmp(output, "auto") != 0)
		net->output = (enum mmq_mlp_activation)name_index(activation_names, 5, output);
	net->loss = is_regression ? MMQ_MLP_MSE : MMQ_MLP_CROSS_ENTROPY;
	if (strcmp(loss, "auto") != 0)
		net->loss = (enum mmq_mlp_loss)name_index(loss_names, 2, loss);
	if (is_regression ? net->output == MMQ_MLP_SOFTMAX : net->output == MMQ_MLP_IDENTITY)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.output_activation", is_regression ? "auto, identity or logistic for regression" :
		    "auto, logistic or softmax for classes", "%s", output);
	if (is_regression && net->loss == MMQ_MLP_CROSS_ENTROPY)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.loss", "auto or mse for regression", "%s", loss);
	for (size_t k = 0; k < hidden_count; k++)
		net->widths[k + 1] = (size_t)hidden[k];
	net->widths[net->layers] = is_regression || (fit->task == MMQ_BINARY && net->output == MMQ_MLP_LOGISTIC) ? 1 : fit->train->classes;
	return mmq_mlp_shape(net, err);
}

static int
mlp_check(const struct mmq_fit *fit, struct mmq_err *err)
{
	struct mmq_mlp_net net;
	if (mmq_check_fit(fit, TASKS, ACCEPTS, err) == -1 || design(&net, fit, err) == -1)
		return -1;
	if (mmq_params_is_number(fit->params, "batch_size")) {
		double size = mmq_params_number(fit->params, "batch_size");
		if (size != floor(size))
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.batch_size", "a whole number of rows", "%g", size);
	}
	for (size_t r = 0; fit->task == MMQ_REGRESSION && net.output == MMQ_MLP_LOGISTIC && r < fit->train->x.rows; r++)
		if (fit->train->y[r] < 0.0 || fit->train->y[r] > 1.0)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.output_activation", "identity for a target outside [0, 1]", "logistic");
	size_t bytes = mmq_mlp_train_bytes(&net, fit);
	if (fit->memory_bytes_max > 0 && bytes > fit->memory_bytes_max)
		return mmq_err_value(err, MMQ_RESOURCE_EXHAUSTED, "params.hidden_layer_sizes", "a network within the memory limit", "%zu bytes", bytes);
	return 0;
}

static void
mlp_destroy(void **state_p)
{
	struct state *state = *state_p;
	if (state == NULL)
		return;
	for (size_t k = 0; k < MMQ_MLP_LAYERS_MAX; k++)
		free(state->packed[k]);
	free(state->owned);
	free(state->warning);
	free(state);
	*state_p = NULL;
}

/* Derive what prediction needs from the canonical weights. */
static int
pack(struct state *state, struct mmq_err *err)
{
	const struct mmq_mlp_net *net = &state->net;
	for (size_t k = 0; k < net->layers; k++) {
		state->packed[k] = mmq_try_aligned(mmq_dense_packed_count(net->widths[k], net->widths[k + 1]) * sizeof(float));
		if (state->packed[k] == NULL)
			return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "mlp: no memory to pack layer %zu", k);
		mmq_dense_pack(state->packed[k], net->params + net->w_at[k], net->widths[k], net->widths[k + 1]);
	}
	return 0;
}

static int
mlp_train(void **state_out, const struct mmq_fit *fit, struct mmq_err *err)
{
	*state_out = NULL;
	if (mlp_check(fit, err) == -1)
		return -1;
	struct state *state = mmq_alloc(sizeof(*state));
	void *holder = state;
	state->classes = fit->train->classes;
	if (design(&state->net, fit, err) == -1)
		goto fail;
	state->owned = state->net.params = mmq_try_aligned(state->net.params_count * sizeof(float));
	if (state->owned == NULL) {
		mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "mlp: no memory for %zu parameters", state->net.params_count);
		goto fail;
	}
	if (mmq_mlp_train(&state->net, fit, &state->report, err) == -1 || pack(state, err) == -1)
		goto fail;
	if (state->report.warning != NULL)
		state->warning = mmq_strdup(state->report.warning);
	*state_out = state;
	return 0;
fail:
	mlp_destroy(&holder);
	return -1;
}

static int
mlp_save(const void *state_p, struct mmq_part *out, struct mmq_err *err)
{
	const struct state *state = state_p;
	const struct mmq_mlp_net *net = &state->net;
	double widths[MMQ_MLP_LAYERS_MAX + 1];
	(void)err;
	for (size_t k = 0; k <= net->layers; k++)
		widths[k] = (double)net->widths[k];
	mmq_part_put_doubles(out, "widths", widths, net->layers + 1);
	mmq_part_put_text(out, "activation", activation_names[net->hidden]);
	mmq_part_put_text(out, "output_activation", activation_names[net->output]);
	mmq_part_put_text(out, "loss_name", loss_names[net->loss]);
	mmq_part_put_int(out, "classes", state->classes);
	mmq_part_put_int(out, "epochs", state->report.epochs);
	mmq_part_put_double(out, "loss", state->report.loss);
	if (isfinite(state->report.valid_loss))
		mmq_part_put_double(out, "valid_loss", state->report.valid_loss);
	mmq_part_put_bool(out, "converged", state->report.converged);
	if (state->warning != NULL)
		mmq_part_put_text(out, "warning", state->warning);
	mmq_part_put_vector(out, "params", MMQ_F32, net->params_count, net->params);
	return 0;
}

static int
open_shape(struct state *state, const struct mmq_part *in, struct mmq_err *err)
{
	struct mmq_mlp_net *net = &state->net;
	const char *hidden, *output, *loss;
	const double *widths;
	size_t count;
	int64_t classes;
	if (mmq_part_get_doubles(in, "widths", &widths, &count, err) == -1 || mmq_part_get_text(in, "activation", &hidden, err) == -1 ||
	    mmq_part_get_text(in, "output_activation", &output, err) == -1 || mmq_part_get_text(in, "loss_name", &loss, err) == -1 ||
	    mmq_part_get_int(in, "classes", 0, UINT32_MAX, &classes, err) == -1)
		return -1;
	if (count < 2 || count > MMQ_MLP_LAYERS_MAX + 1)
		return mmq_err_set(err, MMQ_DATA_LOSS, "mlp: widths: got %zu of them", count);
	for (size_t k = 0; k < count; k++) {
		if (!(widths[k] >= 1 && widths[k] <= INT32_MAX && widths[k] == floor(widths[k])))
			return mmq_err_set(err, MMQ_DATA_LOSS, "mlp: widths: got %g at %zu", widths[k], k);
		net->widths[k] = (size_t)widths[k];
	}
	int h = name_index(activation_names, 4, hidden), o = name_index(activation_names, 5, output), l = name_index(loss_names, 2, loss);
	state->classes = (uint32_t)classes;
	net->layers = count - 1;
	size_t outputs = classes == 0 || (classes == 2 && o == MMQ_MLP_LOGISTIC && net->widths[count - 1] == 1) ? 1 : (size_t)classes;
	bool is_output = classes == 0 ? o == MMQ_MLP_IDENTITY || o == MMQ_MLP_LOGISTIC : o == MMQ_MLP_LOGISTIC || o == MMQ_MLP_SOFTMAX;
	if (h < 0 || !is_output || l < 0 || classes == 1 || net->widths[count - 1] != outputs)
		return mmq_err_set(err, MMQ_DATA_LOSS, "mlp: activation %s, output %s (%zu) and %lld classes do not fit together", hidden, output,
		    net->widths[count - 1], (long long)classes);
	net->hidden = (enum mmq_mlp_activation)h;
	net->output = (enum mmq_mlp_activation)o;
	net->loss = (enum mmq_mlp_loss)l;
	return mmq_mlp_shape(net, err) == -1 ? mmq_err_set(err, MMQ_DATA_LOSS, "mlp: widths of an impossible network") : 0;
}

static int
mlp_open(void **state_out, const struct mmq_part *in, struct mmq_err *err)
{
	struct state *state = mmq_alloc(sizeof(*state));
	void *holder = state;
	const struct mmq_tensor *tensor;
	const char *warning = NULL;

	*state_out = NULL;
	if (open_shape(state, in, err) == -1)
		goto fail;
	uint64_t want = state->net.params_count;
	if (mmq_part_get_tensor(in, "params", MMQ_F32, 1, &want, &tensor, err) == -1 ||
	    mmq_part_get_int(in, "epochs", 0, INT64_MAX, &state->report.epochs, err) == -1 ||
	    mmq_part_get_double(in, "loss", &state->report.loss, err) == -1 ||
	    mmq_part_get_bool(in, "converged", &state->report.converged, err) == -1)
		goto fail;
	state->report.valid_loss = NAN;
	if (mmq_part_find(in, "valid_loss") != NULL && mmq_part_get_double(in, "valid_loss", &state->report.valid_loss, err) == -1)
		goto fail;
	if (mmq_part_find(in, "warning") != NULL && mmq_part_get_text(in, "warning", &warning, err) == -1)
		goto fail;
	state->warning = warning != NULL ? mmq_strdup(warning) : NULL;
	state->net.params = (float *)(uintptr_t)tensor->data;   /* read only from here on */
	if (pack(state, err) == -1)
		goto fail;
	*state_out = state;
	return 0;
fail:
	mlp_destroy(&holder);
	return -1;
}

static size_t
mlp_score_cols(const void *state_p)
{
	const struct state *state = state_p;
	return state->classes <= 2 ? 1 : state->classes;
}

static size_t
tile_floats(const struct state *state)
{
	size_t width = 0;
	for (size_t k = 1; k <= state->net.layers; k++)
		width = state->net.widths[k] > width ? state->net.widths[k] : width;
	return PREDICT_TILE * ((width + 15) / 16 * 16);
}

static size_t
mlp_scratch_bytes(const void *state, size_t rows_max, unsigned wanted)
{
	(void)rows_max;
	(void)wanted;
	return 2 * tile_floats(state) * sizeof(float);
}

/* The first layer of sparse rows, with the same chain of fused multiply-adds (absent entries would add zero). */
static void
first_sparse(const struct mmq_mlp_net *net, const struct mmq_batch *x, size_t first, size_t count, float *out)
{
	size_t width = net->widths[1];
	memset(out, 0, count * width * sizeof(*out));
	for (size_t i = 0; i < count; i++)
		for (uint64_t e = x->row_start[first + i]; e < x->row_start[first + i + 1]; e++)
			mmq_mlp_add_scaled(out + i * width, net->params + x->col[e] * width, ((const float *)x->value)[e], width);
	mmq_mlp_activate(out, count, width, net->params + net->b_at[0], MMQ_MLP_IDENTITY);
}

/* Outputs before their activation -> score and probability of one row. */
static void
write_row(const struct state *state, const float *z, size_t row, const struct mmq_outputs *out)
{
	const struct mmq_mlp_net *net = &state->net;
	size_t width = net->widths[net->layers], classes = state->classes;
	double sum = 0.0, top = (double)z[0];
	if ((out->wanted & MMQ_OUT_SCORE) != 0) {
		double *score = out->score + row * out->score_cols;
		if (classes == 0)
			score[0] = net->output == MMQ_MLP_LOGISTIC ? 1.0 / (1.0 + exp(-(double)z[0])) : (double)z[0];
		else if (classes == 2)
			score[0] = width == 1 ? (double)z[0] : (double)z[1] - (double)z[0];
		else
			for (size_t k = 0; k < classes; k++)
				score[k] = (double)z[k];
	}
	if ((out->wanted & MMQ_OUT_PROBABILITY) == 0 || classes == 0)
		return;
	double *p = out->probability + row * classes;
	if (width == 1) {
		p[0] = 1.0 / (1.0 + exp((double)z[0]));
		p[1] = 1.0 / (1.0 + exp(-(double)z[0]));
		return;
	}
	for (size_t k = 1; k < classes; k++)
		top = (double)z[k] > top ? (double)z[k] : top;
	for (size_t k = 0; k < classes; k++) {
		/* Logistic outputs are made to add up to 1; a common factor keeps them apart when all are tiny. */
		double value = (double)z[k];
		p[k] = net->output == MMQ_MLP_SOFTMAX ? exp(value - top) : top < -30.0 ? exp(value - top) : 1.0 / (1.0 + exp(-value));
		sum += p[k];
	}
	for (size_t k = 0; k < classes; k++)
		p[k] /= sum;
}

static void
mlp_shape(const void *state_p, struct mmq_state_shape *shape)
{
	const struct state *state = state_p;
	*shape = (struct mmq_state_shape){ .cols = state->net.widths[0], .classes = state->classes };
}

static int
mlp_predict(const void *state_p, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err)
{
	const struct state *state = state_p;
	const struct mmq_mlp_net *net = &state->net;
	if (mmq_check_batch(x, net->widths[0], 0, ACCEPTS, err) == -1)
		return -1;
	for (size_t first = 0; first < x->rows; first += PREDICT_TILE) {
		size_t count = x->rows - first < PREDICT_TILE ? x->rows - first : PREDICT_TILE, stride = x->stride;
		const float *in = x->row_start != NULL ? NULL : (const float *)x->dense + first * stride;
		float *next = scratch, *other = next + tile_floats(state);
		for (size_t k = 0; k < net->layers; k++) {
			size_t width = net->widths[k + 1];
			if (in == NULL)
				first_sparse(net, x, first, count, next);
			else
				mmq_dense_run(next, width, in, stride, count, state->packed[k], net->params + net->b_at[k], net->widths[k], width);
			if (k + 1 < net->layers)
				mmq_mlp_activate(next, count, width, NULL, net->hidden);
			in = next;
			stride = width;
			next = other;
			other = (float *)(uintptr_t)in;
		}
		for (size_t i = 0; i < count; i++)
			write_row(state, in + i * stride, first + i, out);
	}
	return 0;
}

static int
mlp_describe(const void *state_p, struct mmq_part *out, struct mmq_err *err)
{
	const struct state *state = state_p;
	const struct mmq_mlp_net *net = &state->net;
	double widths[MMQ_MLP_LAYERS_MAX + 1];
	(void)err;
	for (size_t k = 0; k <= net->layers; k++)
		widths[k] = (double)net->widths[k];
	mmq_part_put_doubles(out, "layer_sizes", widths, net->layers + 1);
	mmq_part_put_int(out, "parameters", (int64_t)net->params_count);
	mmq_part_put_text(out, "activation", activation_names[net->hidden]);
	mmq_part_put_text(out, "output_activation", activation_names[net->output]);
	mmq_part_put_text(out, "loss_name", loss_names[net->loss]);
	mmq_part_put_int(out, "iterations", state->report.epochs);
	mmq_part_put_double(out, "loss", state->report.loss);
	if (isfinite(state->report.valid_loss))
		mmq_part_put_double(out, "valid_loss", state->report.valid_loss);
	mmq_part_put_bool(out, "converged", state->report.converged);
	mmq_part_put_text(out, "precision", "single");
	if (state->warning != NULL)
		mmq_part_put_text(out, "warning", state->warning);
	return 0;
}

extern const struct mmq_engine mmq_engine_mlp;
const struct mmq_engine mmq_engine_mlp = {
	.abi = MMQ_ENGINE_ABI, .name = "mlp", .summary = "Neural network of fully connected layers (float32; Adam or SGD)",
	.tasks = TASKS, .accepts = ACCEPTS, .outputs = MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY, .can = MMQ_CAN_WEIGHTS, .params = params_table,
	.check = mlp_check, .train = mlp_train, .save = mlp_save, .open = mlp_open, .score_cols = mlp_score_cols, .shape = mlp_shape,
	.scratch_bytes = mlp_scratch_bytes, .predict = mlp_predict, .describe = mlp_describe, .destroy = mlp_destroy,
};
