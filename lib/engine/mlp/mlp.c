/* mlp.c: the mlp engine: neural networks in float32, with scikit-learn's parameter names and defaults where it has them.
 *
 * A network is hidden_layer_sizes of dense layers, or any layers from a text; the output layer follows the task. This file holds the parameters and
 * the engine's entry; the design, layers, passes, training, prediction and saving have files of their own. There is no L-BFGS. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "engine/mlp/model.h"
#include "util/mem.h"

enum { TASKS = MMQ_REGRESSION | MMQ_BINARY | MMQ_MULTICLASS };

static const struct mmq_param params_table[] = {
	{ "hidden_layer_sizes", "hidden", MMQ_P_INTS, "100", 1, 65536, NULL, "Units of each hidden layer.", 8, 512 },
	{ "layers", NULL, MMQ_P_TEXT, "", 0, 0, NULL,
	    "Hidden layers in order instead of hidden_layer_sizes, e.g. 'conv 8 3x3 relu, pool 2, flatten, dense 128 relu'.", 0, 0 },
	{ "embedding", NULL, MMQ_P_NUMBER_OR_ENUM, "none", 1, MMQ_MLP_WIDTH_MAX, "none|auto",
	    "Length of the learnt vector of each value of a category column, instead of one 0/1 column per value; auto: half the number of values, at most 50.", 0, 0 },
	{ "activation", NULL, MMQ_P_ENUM, "relu", 0, 0, "relu|logistic|tanh|identity|leaky_relu|gelu|silu|softmax",
	    "Activation of the layers of hidden_layer_sizes.", 0, 0 },
	{ "output_activation", NULL, MMQ_P_ENUM, "auto", 0, 0, "auto|identity|logistic|softmax",
	    "Activation of the output; auto: identity for numbers, logistic for two classes, softmax for more.", 0, 0 },
	{ "loss", NULL, MMQ_P_ENUM, "auto", 0, 0, "auto|mse|cross_entropy|mae|huber",
	    "auto: mse for numbers, cross_entropy for classes.", 0, 0 },
	{ "solver", "optimizer", MMQ_P_ENUM, "adam", 0, 0, "adam|sgd|adamw", "How weights are updated.", 0, 0 },
	{ "learning_rate_init", "lr", MMQ_P_NUMBER, "0.001", 1e-9, 1000, NULL, "Step size.", 1e-4, 1e-1 },
	{ "learning_rate", "schedule", MMQ_P_ENUM, "constant", 0, 0, "constant|invscaling|adaptive|step|cosine|plateau",
	    "Schedule of the step size; invscaling and adaptive: sgd only; plateau: as adaptive, with any solver.", 0, 0 },
	{ "step_epochs", NULL, MMQ_P_INT, "30", 1, 1e7, NULL, "Epochs after which learning_rate=step divides the rate by 10.", 0, 0 },
	{ "warmup_epochs", NULL, MMQ_P_NUMBER, "0", 0, 1e7, NULL, "Epochs in which the rate grows from a hundredth to its own, on any schedule.", 0, 0 },
	{ "clip_norm", NULL, MMQ_P_NUMBER, "0", 0, 1e30, NULL, "Longest mean gradient of a step; a longer one is scaled down. 0: any.", 0, 0 },
	{ "label_smoothing", NULL, MMQ_P_NUMBER, "0", 0, 0.9, NULL, "Share of each class target that cross_entropy spreads over all classes.", 0, 0 },
	{ "huber_delta", NULL, MMQ_P_NUMBER, "1", 1e-6, 1e6, NULL, "Error from which huber grows in a line, in units of the scaled target.", 0, 0 },
	{ "power_t", NULL, MMQ_P_NUMBER, "0.5", 0, 10, NULL, "Exponent of invscaling.", 0, 0 },
	{ "batch_size", NULL, MMQ_P_NUMBER_OR_ENUM, "auto", 0, 1e9, "auto|full", "Rows per step; auto: min(200, rows); 0 or full: all rows.", 0, 0 },
	{ "max_iter", "epochs", MMQ_P_INT, "200", 1, 1e7, NULL, "Most epochs.", 0, 0 },
	{ "momentum", NULL, MMQ_P_NUMBER, "0.9", 0, 1, NULL, "Momentum of sgd.", 0, 0 },
	{ "nesterovs_momentum", NULL, MMQ_P_BOOL, "true", 0, 0, NULL, "Nesterov's momentum in sgd.", 0, 0 },
	{ "beta_1", NULL, MMQ_P_NUMBER, "0.9", 0, 0.999999, NULL, "Decay of Adam's first moment.", 0, 0 },
	{ "beta_2", NULL, MMQ_P_NUMBER, "0.999", 0, 0.9999999, NULL, "Decay of Adam's second moment.", 0, 0 },
	{ "epsilon", NULL, MMQ_P_NUMBER, "1e-8", 1e-30, 1, NULL, "Adam's guard against division by zero.", 0, 0 },
	{ "alpha", "weight_decay", MMQ_P_NUMBER, "0.0001", 0, 1e6, NULL, "L2 penalty: alpha / 2 times the squared weights, per batch; adamw: the decay of the weights beside the gradient.", 1e-6, 1e-1 },
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
check_whole(const struct mmq_params *params, const char *name, const char *want, struct mmq_err *err)
{
	char field[48];
	snprintf(field, sizeof(field), "params.%s", name);
	if (mmq_params_is_number(params, name) && mmq_params_number(params, name) != floor(mmq_params_number(params, name)))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%g", mmq_params_number(params, name));
	return 0;
}

static int
mlp_check(const struct mmq_fit *fit, struct mmq_err *err)
{
	struct mmq_mlp_net net;
	if (mmq_check_fit(fit, TASKS, MMQ_MLP_ACCEPTS, err) == -1 || check_whole(fit->params, "batch_size", "a whole number of rows", err) == -1 ||
	    check_whole(fit->params, "embedding", "a whole number of values", err) == -1 || mmq_mlp_design(&net, fit, err) == -1)
		return -1;
	double bytes = mmq_mlp_train_bytes(&net, fit);
	bool is_logistic = net.output == MMQ_MLP_LOGISTIC;
	mmq_mlp_net_fini(&net);
	for (size_t r = 0; fit->task == MMQ_REGRESSION && is_logistic && r < fit->train->x.rows; r++)
		if (fit->train->y[r] < 0.0 || fit->train->y[r] > 1.0)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.output_activation", "identity for a target outside [0, 1]", "logistic");
	if (fit->memory_bytes_max > 0 && bytes > (double)fit->memory_bytes_max)
		return mmq_err_value(err, MMQ_RESOURCE_EXHAUSTED, "params.hidden_layer_sizes", "a network within the memory limit", "%.0f bytes", bytes);
	return 0;
}

bool
mmq_mlp_allocate(struct mmq_mlp_net *net)
{
	net->params = mmq_try_aligned(net->params_count * sizeof(float));
	net->back = mmq_try_aligned(net->back_count * sizeof(float));
	return net->params != NULL && net->back != NULL;
}

void
mmq_mlp_net_fini(struct mmq_mlp_net *net)
{
	free(net->params), free(net->back), free(net->tables);
	net->params = net->back = NULL;
	net->tables = NULL;
}

void
mmq_mlp_model_destroy(void **model_p)
{
	struct mmq_mlp_model *model = *model_p;
	if (model == NULL)
		return;
	mmq_mlp_net_fini(&model->net);
	free(model->warning), free(model->feature_cols);
	free(model);
	*model_p = NULL;
}

/* Which columns are whose, for contributions. */
static void
take_features(struct mmq_mlp_model *model, const struct mmq_dataset *data)
{
	if (data->features == NULL || mmq_check_feature_cols(data->features, data->features_count) != data->x.cols)
		return;
	model->features_count = data->features_count;
	model->feature_cols = mmq_array(data->features_count, sizeof(*model->feature_cols));
	for (size_t f = 0; f < data->features_count; f++)
		model->feature_cols[f] = (uint32_t)mmq_check_feature_cols(&data->features[f], 1);
}

static int
mlp_train(void **model_out, const struct mmq_fit *fit, struct mmq_err *err)
{
	*model_out = NULL;
	if (mlp_check(fit, err) == -1)
		return -1;
	struct mmq_mlp_model *model = mmq_alloc(sizeof(*model));
	void *holder = model;
	model->classes = fit->train->classes;
	if (mmq_mlp_design(&model->net, fit, err) == -1)
		goto fail;
	if (!mmq_mlp_allocate(&model->net)) {
		mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "mlp: no memory for %zu parameters", model->net.params_count);
		goto fail;
	}
	if (fit->previous != NULL)
		memcpy(model->net.params, ((const struct mmq_mlp_model *)fit->previous)->net.params, model->net.params_count * sizeof(float));
	else
		mmq_mlp_init(&model->net, mmq_params_choice(fit->params, "init"), fit->seed);
	if (mmq_mlp_train(&model->net, fit, &model->report, err) == -1)
		goto fail;
	mmq_mlp_refresh_all(&model->net);
	take_features(model, fit->train);
	if (model->report.warning != NULL)
		model->warning = mmq_strdup(model->report.warning);
	*model_out = model;
	return 0;
fail:
	mmq_mlp_model_destroy(&holder);
	return -1;
}

static size_t
mlp_score_cols(const void *model_p)
{
	const struct mmq_mlp_model *model = model_p;
	return model->classes <= 2 ? 1 : model->classes;
}

static void
mlp_shape(const void *model_p, struct mmq_state_shape *shape)
{
	const struct mmq_mlp_model *model = model_p;
	*shape = (struct mmq_state_shape){ .cols = model->net.layer[0].in_count, .codes_cols = model->net.tables_count, .classes = model->classes,
		.features = model->features_count };
}

static unsigned
mlp_gives(const void *model_p)
{
	const struct mmq_mlp_model *model = model_p;
	return MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY | (model->features_count > 0 ? (unsigned)MMQ_OUT_CONTRIBUTION : 0u);
}

static const char *
mlp_contribution_method(const void *model_p)
{
	return (mlp_gives(model_p) & MMQ_OUT_CONTRIBUTION) != 0 ? "integrated_gradients" : NULL;
}

/* Learnt vectors take category columns as codes; without them one 0/1 column per value suits a network best. */
static unsigned
mlp_accepts_with(const struct mmq_params *params)
{
	bool embeds = mmq_params_is_number(params, "embedding") || strcmp(mmq_params_choice(params, "embedding"), "none") != 0;
	return embeds ? MMQ_MLP_ACCEPTS & ~(unsigned)MMQ_WANTS_ONE_HOT : MMQ_MLP_ACCEPTS;
}

extern const struct mmq_engine mmq_engine_mlp;
const struct mmq_engine mmq_engine_mlp = {
	.abi = MMQ_ENGINE_ABI, .name = "mlp", .summary = "Neural network of dense, convolution, pooling, embedding, dropout and normalisation layers (float32)",
	.tasks = TASKS, .accepts = MMQ_MLP_ACCEPTS, .outputs = MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY | MMQ_OUT_CONTRIBUTION, .can = MMQ_CAN_WEIGHTS | MMQ_CAN_CHECKPOINT | MMQ_CAN_WARM_START, .params = params_table,
	.accepts_with = mlp_accepts_with, .check = mlp_check, .train = mlp_train, .save = mmq_mlp_save, .open = mmq_mlp_open, .score_cols = mlp_score_cols, .shape = mlp_shape,
	.gives = mlp_gives, .contribution_method = mlp_contribution_method,
	.scratch_bytes = mmq_mlp_scratch_bytes, .predict = mmq_mlp_predict, .describe = mmq_mlp_describe, .destroy = mmq_mlp_model_destroy,
};
