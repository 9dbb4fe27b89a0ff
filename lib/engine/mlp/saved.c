/* saved.c: a network as a part of a model file, and what describe says of it.
 *
 * The file holds hidden layers as their text and every layer's weights (rows, cols) row-major and biases, in order: the packed layout is made at
 * open. Batch normalisation's running means and variances follow its shifts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mlp/model.h"
#include "util/buf.h"
#include "util/mem.h"

enum { TEXT_MAX = 8192, LAYER_TEXT = 96 };

const char *const mmq_mlp_loss_names[MMQ_MLP_LOSSES] = { [MMQ_MLP_MSE] = "mse", [MMQ_MLP_CROSS_ENTROPY] = "cross_entropy", [MMQ_MLP_MAE] = "mae",
	[MMQ_MLP_HUBER] = "huber" };

static size_t
saved_count(const struct mmq_mlp_net *net)
{
	size_t count = 0;
	for (size_t k = 0; k < net->layers; k++) {
		const struct mmq_mlp_layer *layer = &net->layer[k];
		count += layer->rows * (layer->rows > 0 ? layer->cols : 0) + mmq_mlp_biases(layer);
		count += layer->kind == MMQ_MLP_BATCH_NORM ? 2 * layer->cols : 0;
	}
	return count;
}

/* Between params and the file's order; one of the two is written. */
static void
exchange(const struct mmq_mlp_net *net, float *saved, bool is_saving)
{
	for (size_t k = 0; k < net->layers; k++) {
		const struct mmq_mlp_layer *layer = &net->layer[k];
		size_t columns = layer->rows > 0 ? layer->cols : 0, biases = mmq_mlp_biases(layer), padded = (layer->cols + 15) / 16 * 16;
		float *w = net->params + layer->w_at, *rest[3] = { net->params + layer->b_at, net->params + layer->stats_at, net->params + layer->stats_at + padded };
		if (is_saving)
			mmq_dense_unpack(saved, w, layer->rows, columns);
		else
			mmq_dense_pack(w, saved, layer->rows, columns);
		saved += layer->rows * columns;
		for (int part = 0; part < (layer->kind == MMQ_MLP_BATCH_NORM ? 3 : 1); part++, saved += biases)
			memcpy(is_saving ? saved : rest[part], is_saving ? rest[part] : saved, biases * sizeof(*saved));
	}
}

/* Cardinality and width of each category column. */
static void
save_tables(const struct mmq_mlp_net *net, struct mmq_part *out)
{
	uint32_t *sizes = mmq_array(2 * net->tables_count, sizeof(*sizes));
	for (size_t c = 0; c < net->tables_count; c++)
		sizes[2 * c] = net->tables[c].cardinality, sizes[2 * c + 1] = net->tables[c].width;
	if (mmq_mlp_embeds(net))
		mmq_part_put_matrix(out, "embedding", MMQ_U32, net->tables_count, 2, sizes);
	free(sizes);
}

/* Rows of a tensor that may be missing: then 0. */
static uint64_t
count_of(const struct mmq_part *in, const char *name)
{
	for (size_t i = 0; i < in->tensors_count; i++)
		if (strcmp(in->tensors[i].name, name) == 0)
			return in->tensors[i].shape[0];
	return 0;
}

static int
open_features(struct mmq_mlp_model *model, const struct mmq_part *in, struct mmq_err *err)
{
	const struct mmq_tensor *tensor;
	uint64_t count = count_of(in, "feature_cols"), cols = 0, categories = 0;
	if (count == 0)
		return 0;
	if (mmq_part_get_tensor(in, "feature_cols", MMQ_U32, 1, &count, &tensor, err) == -1)
		return -1;
	const uint32_t *widths = tensor->data;
	for (uint64_t f = 0; f < count; f++) {
		cols += widths[f];
		categories += widths[f] == 0;
	}
	if (cols != model->net.layer[0].in_count || categories != model->net.tables_count)
		return mmq_err_set(err, MMQ_DATA_LOSS, "mlp: feature_cols: got %llu columns and %llu categories of %zu and %zu", (unsigned long long)cols,
		    (unsigned long long)categories, model->net.layer[0].in_count, model->net.tables_count);
	model->features_count = count;
	model->feature_cols = mmq_array(count, sizeof(*widths));
	memcpy(model->feature_cols, widths, count * sizeof(*widths));
	return 0;
}

static int
open_tables(struct mmq_mlp_net *net, const struct mmq_part *in, struct mmq_err *err)
{
	const struct mmq_tensor *tensor;
	uint64_t shape[2] = { count_of(in, "embedding"), 2 }, weights = 0;
	if (shape[0] == 0)
		return 0;
	if (mmq_part_get_tensor(in, "embedding", MMQ_U32, 2, shape, &tensor, err) == -1)
		return -1;
	const uint32_t *sizes = tensor->data;
	uint32_t *split = mmq_array(2 * shape[0], sizeof(*split));
	for (uint64_t c = 0; c < shape[0] && weights <= INT32_MAX; c++) {
		split[c] = sizes[2 * c], split[shape[0] + c] = sizes[2 * c + 1];
		weights = sizes[2 * c + 1] > 0 && sizes[2 * c + 1] <= MMQ_MLP_WIDTH_MAX ? weights + (uint64_t)sizes[2 * c] * sizes[2 * c + 1] : UINT64_MAX;
	}
	bool is_added = weights <= INT32_MAX && mmq_mlp_embed_add(net, split, split + shape[0], shape[0]);
	free(split);
	return is_added ? 0 : mmq_err_set(err, MMQ_DATA_LOSS, "mlp: embedding: got more or wider tables than there can be");
}

int
mmq_mlp_save(const void *model_p, struct mmq_part *out, struct mmq_err *err)
{
	const struct mmq_mlp_model *model = model_p;
	const struct mmq_mlp_net *net = &model->net;
	double input[MMQ_MLP_RANK] = { (double)net->input[0], (double)net->input[1], (double)net->input[2] };
	char text[TEXT_MAX] = "", one[LAYER_TEXT];
	size_t used = 0;
	for (size_t k = mmq_mlp_embeds(net); k + 1 < net->layers; k++) {
		mmq_mlp_layer_print(&net->layer[k], one, sizeof(one));
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", used > 0 ? ", " : "", one);
	}
	float *saved = mmq_try_aligned(saved_count(net) * sizeof(*saved));
	if (saved == NULL)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "mlp: no memory to save %zu parameters", net->params_count);
	exchange(net, saved, true);
	mmq_part_put_doubles(out, "input", input, MMQ_MLP_RANK);
	mmq_part_put_text(out, "layers", text);
	save_tables(net, out);
	mmq_part_put_text(out, "output_activation", mmq_mlp_activation_name(net->output));
	mmq_part_put_text(out, "loss_name", mmq_mlp_loss_names[net->loss]);
	mmq_part_put_int(out, "classes", model->classes);
	mmq_part_put_int(out, "outputs", (int64_t)net->layer[net->layers - 1].out_count);
	mmq_part_put_int(out, "epochs", model->report.epochs);
	mmq_part_put_double(out, "loss", model->report.loss);
	if (isfinite(model->report.valid_loss))
		mmq_part_put_double(out, "valid_loss", model->report.valid_loss);
	mmq_part_put_bool(out, "converged", model->report.converged);
	if (model->warning != NULL)
		mmq_part_put_text(out, "warning", model->warning);
	if (model->features_count > 0)
		mmq_part_put_vector(out, "feature_cols", MMQ_U32, model->features_count, model->feature_cols);
	mmq_part_put_vector(out, "params", MMQ_F32, saved_count(net), saved);
	free(saved);
	return 0;
}

static int
open_shape(struct mmq_mlp_model *model, const struct mmq_part *in, struct mmq_err *err)
{
	struct mmq_mlp_net *net = &model->net;
	const char *layers, *output, *loss;
	const double *input;
	size_t count;
	int64_t classes, outputs;
	if (mmq_part_get_doubles(in, "input", &input, &count, err) == -1 || mmq_part_get_text(in, "layers", &layers, err) == -1 ||
	    mmq_part_get_text(in, "output_activation", &output, err) == -1 || mmq_part_get_text(in, "loss_name", &loss, err) == -1 ||
	    mmq_part_get_int(in, "classes", 0, UINT32_MAX, &classes, err) == -1 || mmq_part_get_int(in, "outputs", 1, INT32_MAX, &outputs, err) == -1)
		return -1;
	if (count != MMQ_MLP_RANK)
		return mmq_err_set(err, MMQ_DATA_LOSS, "mlp: input: got %zu axes", count);
	for (size_t k = 0; k < count; k++) {
		if (!(input[k] >= (k == 2 ? 0 : 1) && input[k] <= 1e9 && input[k] == floor(input[k])) || (k == 2 && input[0] * input[1] * input[2] > INT32_MAX))
			return mmq_err_set(err, MMQ_DATA_LOSS, "mlp: input: got %g as axis %zu", input[k], k);
		net->input[k] = (size_t)input[k];
	}
	int o = mmq_mlp_activation_find(output, strlen(output)), l = 0;
	while (l < MMQ_MLP_LOSSES && strcmp(loss, mmq_mlp_loss_names[l]) != 0)
		l++;
	size_t wanted = classes == 0 || (classes == 2 && o == MMQ_MLP_LOGISTIC && outputs == 1) ? 1 : (size_t)classes;
	bool is_output = classes == 0 ? o == MMQ_MLP_IDENTITY || o == MMQ_MLP_LOGISTIC : o == MMQ_MLP_LOGISTIC || o == MMQ_MLP_SOFTMAX;
	if (!is_output || l == MMQ_MLP_LOSSES || classes == 1 || (size_t)outputs != wanted)
		return mmq_err_set(err, MMQ_DATA_LOSS, "mlp: output %s (%lld) and %lld classes do not fit together", output, (long long)outputs, (long long)classes);
	model->classes = (uint32_t)classes;
	net->output = (enum mmq_mlp_activation)o;
	net->loss = (enum mmq_mlp_loss)l;
	struct mmq_err why;
	if (mmq_mlp_layers_parse(net, layers, &why) == -1 || !mmq_mlp_layers_add_dense(net, (size_t)outputs, MMQ_MLP_IDENTITY))
		return mmq_err_set(err, MMQ_DATA_LOSS, "mlp: layers: got '%.60s', which is no network", layers);
	if (open_tables(net, in, err) == -1)
		return -1;
	if (mmq_mlp_shape(net, &why) == -1 || (net->input[2] == 0 && !mmq_mlp_embeds(net)))
		return mmq_err_set(err, MMQ_DATA_LOSS, "mlp: layers: got '%.60s', which is no network", layers);
	return 0;
}

int
mmq_mlp_open(void **model_out, const struct mmq_part *in, struct mmq_err *err)
{
	struct mmq_mlp_model *model = mmq_alloc(sizeof(*model));
	void *holder = model;
	const struct mmq_tensor *tensor;
	const char *warning = NULL;

	*model_out = NULL;
	if (open_shape(model, in, err) == -1)
		goto fail;
	uint64_t want = saved_count(&model->net);
	if (mmq_part_get_tensor(in, "params", MMQ_F32, 1, &want, &tensor, err) == -1 ||
	    mmq_part_get_int(in, "epochs", 0, INT64_MAX, &model->report.epochs, err) == -1 ||
	    mmq_part_get_double(in, "loss", &model->report.loss, err) == -1 ||
	    mmq_part_get_bool(in, "converged", &model->report.converged, err) == -1)
		goto fail;
	model->report.valid_loss = NAN;
	if (mmq_part_find(in, "valid_loss") != NULL && mmq_part_get_double(in, "valid_loss", &model->report.valid_loss, err) == -1)
		goto fail;
	if (mmq_part_find(in, "warning") != NULL && mmq_part_get_text(in, "warning", &warning, err) == -1)
		goto fail;
	if (open_features(model, in, err) == -1)
		goto fail;
	model->warning = warning != NULL ? mmq_strdup(warning) : NULL;
	if (!mmq_mlp_allocate(&model->net)) {
		mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "mlp: no memory for %zu parameters", model->net.params_count);
		goto fail;
	}
	exchange(&model->net, (float *)(uintptr_t)tensor->data, false);
	mmq_mlp_refresh_all(&model->net);
	*model_out = model;
	return 0;
fail:
	mmq_mlp_model_destroy(&holder);
	return -1;
}

/* One line per layer: "conv 8 3x3 relu -> 26x26x8, 80 parameters, 97344 flops". */
static void
describe_layers(const struct mmq_mlp_net *net, struct mmq_part *out)
{
	char line[MMQ_MLP_LAYERS_MAX][2 * LAYER_TEXT], one[LAYER_TEXT];
	const char *lines[MMQ_MLP_LAYERS_MAX];
	double flops = 0.0;
	for (size_t k = 0; k < net->layers; k++) {
		const struct mmq_mlp_layer *layer = &net->layer[k];
		struct mmq_mlp_layer shown = *layer;
		if (k + 1 == net->layers)
			shown.activation = net->output;
		mmq_mlp_layer_print(&shown, one, sizeof(one));
		snprintf(line[k], sizeof(line[k]), "%s -> %zux%zux%zu, %zu parameters, %.0f flops", one, layer->out[0], layer->out[1], layer->out[2],
		    layer->rows > 0 ? layer->rows * layer->cols + mmq_mlp_biases(layer) : 0, mmq_mlp_layer_flops(layer));
		lines[k] = line[k];
		flops += mmq_mlp_layer_flops(layer);
	}
	mmq_part_put_texts(out, "layers", lines, net->layers);
	mmq_part_put_double(out, "flops", flops);
}

int
mmq_mlp_describe(const void *model_p, struct mmq_part *out, struct mmq_err *err)
{
	const struct mmq_mlp_model *model = model_p;
	const struct mmq_mlp_net *net = &model->net;
	double input[MMQ_MLP_RANK] = { (double)net->input[0], (double)net->input[1], (double)net->input[2] };
	size_t parameters = 0;
	(void)err;
	for (size_t k = 0; k < net->layers; k++)
		parameters += net->layer[k].rows > 0 ? net->layer[k].rows * net->layer[k].cols + mmq_mlp_biases(&net->layer[k]) : 0;
	mmq_part_put_doubles(out, "input", input, MMQ_MLP_RANK);
	describe_layers(net, out);
	mmq_part_put_int(out, "parameters", (int64_t)parameters);
	mmq_part_put_text(out, "output_activation", mmq_mlp_activation_name(net->output));
	mmq_part_put_text(out, "loss_name", mmq_mlp_loss_names[net->loss]);
	mmq_part_put_int(out, "iterations", model->report.epochs);
	mmq_part_put_double(out, "loss", model->report.loss);
	if (isfinite(model->report.valid_loss))
		mmq_part_put_double(out, "valid_loss", model->report.valid_loss);
	mmq_part_put_bool(out, "converged", model->report.converged);
	mmq_part_put_text(out, "precision", "single");
	if (model->warning != NULL)
		mmq_part_put_text(out, "warning", model->warning);
	return 0;
}
