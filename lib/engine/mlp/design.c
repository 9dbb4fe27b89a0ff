/* design.c: the network that parameters and data ask for: input shape, hidden layers, output and loss; in a warm start those of the model before. */
#include <stdlib.h>
#include <string.h>

#include "engine/mlp/model.h"
#include "util/mem.h"

/* Height, width and channels of what comes in: of the image, if one vector of two or three axes is all there is. */
static void
input_shape(struct mmq_mlp_net *net, const struct mmq_dataset *data)
{
	const struct mmq_feature *feature = data->features;
	net->input[0] = net->input[1] = 1;
	net->input[2] = data->x.cols;
	if (data->features_count == 1 && feature != NULL && feature->kind == MMQ_VECTOR && (feature->rank == 2 || feature->rank == 3) &&
	    data->x.row_start == NULL) {
		net->input[0] = feature->shape[0];
		net->input[1] = feature->shape[1];
		net->input[2] = feature->rank == 3 ? feature->shape[2] : 1;
	}
}

/* Hidden layers from either parameter. */
static int
hidden_layers(struct mmq_mlp_net *net, const struct mmq_fit *fit, struct mmq_err *err)
{
	const char *text = mmq_params_choice(fit->params, "layers"), *name = mmq_params_choice(fit->params, "activation");
	size_t count;
	const double *sizes = mmq_params_list(fit->params, "hidden_layer_sizes", &count);
	if (text[0] == '\0') {
		for (size_t k = 0; k < count; k++)
			mmq_mlp_layers_add_dense(net, (size_t)sizes[k], (enum mmq_mlp_activation)mmq_mlp_activation_find(name, strlen(name)));
		return 0;
	}
	if (mmq_params_is_set(fit->params, "hidden_layer_sizes"))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.layers", "one of layers and hidden_layer_sizes", "both");
	if (mmq_mlp_layers_parse(net, text, err) == -1)
		return -1;
	if (fit->train->x.row_start != NULL && (net->layers == 0 || net->layer[0].kind != MMQ_MLP_DENSE))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.layers", "a dense layer first for sparse rows", "another");
	return 0;
}

/* Tables for the category columns, if there are any: as wide as asked for or as in the model before. */
static int
add_embedding(struct mmq_mlp_net *net, const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_dataset *train = fit->train;
	const struct mmq_mlp_model *previous = fit->previous;
	size_t count = train->x.codes_cols, found = 0, weights = 0;
	if (count == 0)
		return 0;
	if (train->x.row_start != NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.embedding", "none beside text or sparse columns", "an embedding");
	uint32_t *cardinality = mmq_array(2 * count, sizeof(*cardinality)), *width = cardinality + count;
	for (size_t f = 0; f < train->features_count && found < count; f++) {
		if (train->features[f].kind != MMQ_CATEGORY)
			continue;
		uint32_t values = train->features[f].cardinality;
		cardinality[found] = values;
		if (previous != NULL && found < previous->net.tables_count && !mmq_params_is_set(fit->params, "embedding"))
			width[found] = previous->net.tables[found].width;
		else if (mmq_params_is_number(fit->params, "embedding"))
			width[found] = (uint32_t)mmq_params_number(fit->params, "embedding");
		else
			width[found] = values < 2 ? 1 : values > 100 ? 50 : (values + 1) / 2;
		weights += (size_t)values * width[found++];
	}
	bool is_added = found == count && weights <= INT32_MAX && mmq_mlp_embed_add(net, cardinality, width, count);
	free(cardinality);
	return is_added ? 0 : mmq_err_value(err, MMQ_RESOURCE_EXHAUSTED, "params.embedding", "tables of at most 2^31 weights, and at most 64 hidden layers", "more");
}

/* The layers of a model that learns on, already shaped. */
static void
take_over(struct mmq_mlp_net *net, const struct mmq_mlp_net *from)
{
	const struct mmq_mlp_net asked = *net;
	*net = *from;
	net->tables = from->tables_count > 0 ? mmq_array(from->tables_count, sizeof(*net->tables)) : NULL;
	if (net->tables != NULL)
		memcpy(net->tables, from->tables, from->tables_count * sizeof(*net->tables));
	net->output = asked.output, net->loss = asked.loss, net->smoothing = asked.smoothing, net->huber = asked.huber;
	net->params = net->back = NULL;
}

/* Weights can be taken over only between equal layers; a dropout rate holds no weights. */
static int
check_same(const struct mmq_mlp_net *net, const struct mmq_mlp_net *from, struct mmq_err *err)
{
	char want[96] = "no layer", got[96] = "no layer";
	size_t k = 0, most = net->layers > from->layers ? net->layers : from->layers;
	for (; k < most; k++) {
		const struct mmq_mlp_layer *a = &net->layer[k], *b = &from->layer[k];
		if (k >= net->layers || k >= from->layers || a->kind != b->kind || a->activation != b->activation || a->rows != b->rows || a->cols != b->cols ||
		    memcmp(a->out, b->out, sizeof(a->out)) != 0 || memcmp(a->kernel, b->kernel, sizeof(a->kernel)) != 0 ||
		    memcmp(a->stride, b->stride, sizeof(a->stride)) != 0)
			break;
	}
	if (k == most)
		return 0;
	if (k < from->layers)
		mmq_mlp_layer_print(&from->layer[k], want, sizeof(want));
	if (k < net->layers)
		mmq_mlp_layer_print(&net->layer[k], got, sizeof(got));
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.layers", "the layers of the model to go on from, or none to take them over",
	    "layer %zu '%s' instead of '%s'", k + 1, got, want);
}

/* The network that these parameters and data ask for, without its weights. */
int
mmq_mlp_design(struct mmq_mlp_net *net, const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_params *params = fit->params;
	const struct mmq_mlp_model *previous = fit->previous;
	const char *output = mmq_params_choice(params, "output_activation"), *loss = mmq_params_choice(params, "loss");
	bool is_regression = fit->task == MMQ_REGRESSION;

	*net = (struct mmq_mlp_net){ .smoothing = mmq_params_number(params, "label_smoothing"), .huber = mmq_params_number(params, "huber_delta") };
	net->output = is_regression ? MMQ_MLP_IDENTITY : fit->task == MMQ_BINARY ? MMQ_MLP_LOGISTIC : MMQ_MLP_SOFTMAX;
	if (previous != NULL && !mmq_params_is_set(params, "output_activation"))
		net->output = previous->net.output;
	else if (strcmp(output, "auto") != 0)
		net->output = (enum mmq_mlp_activation)mmq_mlp_activation_find(output, strlen(output));
	net->loss = is_regression ? MMQ_MLP_MSE : MMQ_MLP_CROSS_ENTROPY;
	if (previous != NULL && !mmq_params_is_set(params, "loss"))
		net->loss = previous->net.loss;
	for (int k = 0; k < MMQ_MLP_LOSSES; k++)
		if (strcmp(loss, mmq_mlp_loss_names[k]) == 0)
			net->loss = (enum mmq_mlp_loss)k;
	if (is_regression ? net->output == MMQ_MLP_SOFTMAX : net->output == MMQ_MLP_IDENTITY)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.output_activation", is_regression ? "auto, identity or logistic for regression" :
		    "auto, logistic or softmax for classes", "%s", output);
	if (is_regression && net->loss == MMQ_MLP_CROSS_ENTROPY)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.loss", "auto, mse, mae or huber for regression", "%s", loss);
	if (previous != NULL && !mmq_params_is_set(params, "layers") && !mmq_params_is_set(params, "hidden_layer_sizes")) {
		take_over(net, &previous->net);
		return 0;
	}
	input_shape(net, fit->train);
	if (hidden_layers(net, fit, err) == -1)
		return -1;
	size_t outputs = is_regression || (fit->task == MMQ_BINARY && net->output == MMQ_MLP_LOGISTIC) ? 1 : fit->train->classes;
	mmq_mlp_layers_add_dense(net, outputs, MMQ_MLP_IDENTITY);
	if (add_embedding(net, fit, err) == 0 && mmq_mlp_shape(net, err) == 0 && (previous == NULL || check_same(net, &previous->net, err) == 0))
		return 0;
	mmq_mlp_net_fini(net);
	return -1;
}
