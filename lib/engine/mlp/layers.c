/* layers.c: a network from its text, the inference of shapes, and where each layer's values lie. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "engine/mlp/net.h"
#include "math/blas.h"
#include "util/mem.h"

enum { PANEL = MMQ_DENSE_PANEL, UNITS_MAX = 65536, WORDS_MAX = 8 };

static const char *const activation_names[MMQ_MLP_ACTIVATIONS] = { [MMQ_MLP_IDENTITY] = "identity", [MMQ_MLP_LOGISTIC] = "logistic",
	[MMQ_MLP_TANH] = "tanh", [MMQ_MLP_RELU] = "relu", [MMQ_MLP_SOFTMAX] = "softmax", [MMQ_MLP_LEAKY_RELU] = "leaky_relu", [MMQ_MLP_GELU] = "gelu",
	[MMQ_MLP_SILU] = "silu" };
static const char *const kind_names[MMQ_MLP_KINDS] = { [MMQ_MLP_DENSE] = "dense", [MMQ_MLP_CONV] = "conv", [MMQ_MLP_MAX_POOL] = "pool",
	[MMQ_MLP_AVERAGE_POOL] = "avgpool", [MMQ_MLP_FLATTEN] = "flatten", [MMQ_MLP_DROPOUT] = "dropout", [MMQ_MLP_BATCH_NORM] = "batchnorm",
	[MMQ_MLP_EMBEDDING] = "embedding" };

struct word { const char *text; size_t length; };

static bool
is_word(const struct word *word, const char *name)
{
	return strlen(name) == word->length && memcmp(word->text, name, word->length) == 0;
}

int
mmq_mlp_activation_find(const char *name, size_t length)
{
	const struct word word = { name, length };
	for (int k = 0; k < MMQ_MLP_ACTIVATIONS; k++)
		if (is_word(&word, activation_names[k]))
			return k;
	return is_word(&word, "sigmoid") ? MMQ_MLP_LOGISTIC : -1;
}

const char *
mmq_mlp_activation_name(enum mmq_mlp_activation activation)
{
	return activation_names[activation];
}

/* "3x5" or "3" into sizes (count of 1..rank): how many there were, 0 when it is no size. */
static size_t
take_sizes(const struct word *word, size_t *sizes, size_t rank)
{
	size_t count = 0, at = 0;
	while (at < word->length && count < rank) {
		size_t value = 0, start = at;
		for (; at < word->length && isdigit((unsigned char)word->text[at]) && value <= UNITS_MAX; at++)
			value = value * 10 + (size_t)(word->text[at] - '0');
		if (at == start || value == 0 || value > UNITS_MAX)
			return 0;
		sizes[count++] = value;
		if (at < word->length && word->text[at++] != 'x')
			return 0;
		if (at == word->length && word->text[at - 1] == 'x')
			return 0;
	}
	return at == word->length ? count : 0;
}

static bool
take_rate(const struct word *word, double *rate_out)
{
	char text[32];
	int end = 0;
	snprintf(text, sizeof(text), "%.*s", (int)word->length, word->text);
	return word->length < sizeof(text) && sscanf(text, "%lf%n", rate_out, &end) == 1 && text[end] == '\0' && *rate_out >= 0.0 && *rate_out < 1.0;
}

static int
layer_error(size_t k, const struct word *words, size_t count, const char *want, struct mmq_err *err)
{
	const struct word *last = &words[count - 1];
	size_t length = (size_t)(last->text + last->length - words[0].text);
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.layers", want, "layer %zu '%.*s'", k + 1, (int)(length < 60 ? length : 60), words[0].text);
}

/* One layer's words, e.g. "conv 8 3x3 stride 2 same relu". */
static int
parse_layer(struct mmq_mlp_net *net, const struct word *words, size_t count, struct mmq_err *err)
{
	struct mmq_mlp_layer *layer = &net->layer[net->layers];
	size_t at = 1, sizes[2], got;
	int kind = 0, activation;
	*layer = (struct mmq_mlp_layer){ .stride = { 1, 1 } };
	while (kind < MMQ_MLP_EMBEDDING && !is_word(&words[0], kind_names[kind]))
		kind++;
	if (is_word(&words[0], "maxpool"))
		kind = MMQ_MLP_MAX_POOL;
	if (kind == MMQ_MLP_EMBEDDING)
		return layer_error(net->layers, words, count, "dense, conv, pool, avgpool, flatten, dropout or batchnorm", err);
	layer->kind = (enum mmq_mlp_kind)kind;
	if (kind == MMQ_MLP_DENSE || kind == MMQ_MLP_CONV) {
		if (at >= count || take_sizes(&words[at++], &layer->cols, 1) != 1)
			return layer_error(net->layers, words, count, kind == MMQ_MLP_DENSE ? "dense UNITS" : "conv CHANNELS SIZE, e.g. conv 8 3x3", err);
	}
	if (kind == MMQ_MLP_CONV || kind == MMQ_MLP_MAX_POOL || kind == MMQ_MLP_AVERAGE_POOL) {
		if (at >= count || (got = take_sizes(&words[at++], layer->kernel, 2)) == 0 || layer->kernel[0] > 255 || layer->kernel[got - 1] > 255)
			return layer_error(net->layers, words, count, kind == MMQ_MLP_CONV ? "conv CHANNELS SIZE, e.g. conv 8 3x3" : "a pool with its size, e.g. pool 2", err);
		layer->kernel[1] = layer->kernel[got - 1];
		if (kind != MMQ_MLP_CONV)
			layer->stride[0] = layer->kernel[0], layer->stride[1] = layer->kernel[1];
	}
	if (kind == MMQ_MLP_DROPOUT && (at >= count || !take_rate(&words[at++], &layer->rate)))
		return layer_error(net->layers, words, count, "dropout RATE in [0, 1)", err);
	for (; at < count; at++) {
		bool has_window = layer->kernel[0] > 0;
		if (has_window && is_word(&words[at], "stride") && at + 1 < count && (got = take_sizes(&words[at + 1], sizes, 2)) > 0) {
			layer->stride[0] = sizes[0], layer->stride[1] = sizes[got - 1];
			at++;
		} else if (kind == MMQ_MLP_CONV && is_word(&words[at], "same")) {
			layer->pad[0] = layer->pad[1] = SIZE_MAX;     /* until the shape is known */
		} else if ((kind <= MMQ_MLP_CONV || kind == MMQ_MLP_BATCH_NORM) && (activation = mmq_mlp_activation_find(words[at].text, words[at].length)) >= 0) {
			layer->activation = (enum mmq_mlp_activation)activation;
		} else if (!(kind == MMQ_MLP_CONV && is_word(&words[at], "valid"))) {
			return layer_error(net->layers, words, count, "a kind, its sizes, then stride N, same or an activation where they apply", err);
		}
	}
	net->layers++;
	return 0;
}

int
mmq_mlp_layers_parse(struct mmq_mlp_net *net, const char *text, struct mmq_err *err)
{
	for (const char *at = text; *at != '\0';) {
		struct word words[WORDS_MAX];
		size_t count = 0;
		while (*at != '\0' && *at != ',') {
			size_t length = strcspn(at, " ,");
			if (length > 0 && count < WORDS_MAX)
				words[count++] = (struct word){ at, length };
			at += length > 0 ? length : 1;
		}
		at += *at == ',';
		if (count == 0)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.layers", "a layer between commas", "nothing as layer %zu", net->layers + 1);
		if (net->layers + 2 >= MMQ_MLP_LAYERS_MAX)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.layers", "at most 64 hidden layers", "more");
		if (is_word(&words[0], "input") && net->layers == 0) {
			size_t sizes[MMQ_MLP_RANK], got = count == 2 ? take_sizes(&words[1], sizes, MMQ_MLP_RANK) : 0;
			size_t all = net->input[0] * net->input[1] * net->input[2];
			if (got < 2 || sizes[0] * sizes[1] * (got == 3 ? sizes[2] : 1) != all)
				return layer_error(0, words, count, "input HEIGHTxWIDTH or HEIGHTxWIDTHxCHANNELS with as many values as there are columns", err);
			net->input[0] = sizes[0], net->input[1] = sizes[1], net->input[2] = got == 3 ? sizes[2] : 1;
		} else if (parse_layer(net, words, count, err) == -1) {
			return -1;
		}
	}
	return 0;
}

bool
mmq_mlp_layers_add_dense(struct mmq_mlp_net *net, size_t units, enum mmq_mlp_activation activation)
{
	if (net->layers == MMQ_MLP_LAYERS_MAX)
		return false;
	net->layer[net->layers++] = (struct mmq_mlp_layer){ .kind = MMQ_MLP_DENSE, .activation = activation, .cols = units, .stride = { 1, 1 } };
	return true;
}

/* Layer k as people count them in the text: from 1, without the embedding. */
static size_t
number_of(const struct mmq_mlp_net *net, size_t k)
{
	return mmq_mlp_embeds(net) ? k : k + 1;
}

/* Height and width after a window. */
static int
shape_window(struct mmq_mlp_layer *layer, size_t number, struct mmq_err *err)
{
	for (int axis = 0; axis < 2; axis++) {
		size_t in = layer->in[axis], kernel = layer->kernel[axis], stride = layer->stride[axis];
		if (layer->pad[axis] != 0) {
			size_t out = (in + stride - 1) / stride, covered = (out - 1) * stride + kernel;
			layer->out[axis] = out;
			layer->pad[axis] = covered > in ? (covered - in) / 2 : 0;
		} else if (kernel > in) {
			char got[64];
			layer->out[0] = layer->out[1] = 0;     /* there is none */
			mmq_mlp_layer_print(layer, got, sizeof(got));
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.layers", "windows no larger than the image", "layer %zu '%s' on %zux%zux%zu", number,
			    got, layer->in[0], layer->in[1], layer->in[2]);
		} else {
			layer->out[axis] = (in - kernel) / stride + 1;
		}
	}
	return 0;
}

static int
shape_layer(struct mmq_mlp_net *net, size_t k, struct mmq_err *err)
{
	struct mmq_mlp_layer *layer = &net->layer[k];
	size_t pixels = layer->in[0] * layer->in[1];
	memcpy(layer->out, layer->in, sizeof(layer->out));
	switch (layer->kind) {
	case MMQ_MLP_DENSE:
		layer->rows = layer->in_count;
		layer->out[0] = layer->out[1] = 1;
		layer->out[2] = layer->cols;
		break;
	case MMQ_MLP_FLATTEN:
		layer->out[0] = layer->out[1] = 1;
		layer->out[2] = layer->in_count;
		break;
	case MMQ_MLP_BATCH_NORM:
		layer->rows = 1;
		layer->cols = layer->in[2];
		break;
	case MMQ_MLP_DROPOUT:
		break;
	case MMQ_MLP_EMBEDDING:
		layer->out[0] = layer->out[1] = 1;
		layer->out[2] = layer->in_count;
		for (size_t c = 0; c < net->tables_count; c++)
			layer->out[2] += net->tables[c].width;
		break;
	default:
		if (pixels <= 1)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.layers", "an image before it: one vector column of two or three axes, or 'input HxWxC' first",
			    "layer %zu '%s' on %zu values in a row", number_of(net, k), kind_names[layer->kind], layer->in_count);
		if (shape_window(layer, number_of(net, k), err) == -1)
			return -1;
		if (layer->kind == MMQ_MLP_CONV) {
			layer->rows = layer->kernel[0] * layer->kernel[1] * layer->in[2];
			layer->out[2] = layer->cols;
		}
	}
	size_t flat;
	if (!mmq_size_mul(layer->out[0] * layer->out[1], layer->out[2], &flat) || !mmq_blas_fits(flat))
		return mmq_err_value(err, MMQ_RESOURCE_EXHAUSTED, "params.layers", "layers that fit in memory", "layer %zu of %zux%zux%zu", number_of(net, k), layer->out[0],
		    layer->out[1], layer->out[2]);
	layer->out_count = flat;
	return 0;
}

static size_t
pad_floats(const struct mmq_mlp_layer *layer)
{
	size_t height = layer->in[0] + 2 * layer->kernel[0], width = layer->in[1] + 2 * layer->kernel[1];
	return height * width * (layer->in[2] > layer->out[2] ? layer->in[2] : layer->out[2]);
}

int
mmq_mlp_shape(struct mmq_mlp_net *net, struct mmq_err *err)
{
	size_t at = 0, back = 0;
	const size_t *in = net->input;
	net->pad_count = 0;
	for (size_t k = 0; k < net->layers; k++) {
		struct mmq_mlp_layer *layer = &net->layer[k];
		memcpy(layer->in, in, sizeof(layer->in));
		layer->in_count = in[0] * in[1] * in[2];
		if (shape_layer(net, k, err) == -1)
			return -1;
		in = layer->out;
		size_t columns = (layer->cols + PANEL - 1) / PANEL * PANEL, product;
		if (!mmq_size_mul(layer->rows, columns, &product) || product > SIZE_MAX / 256 - at)
			return mmq_err_value(err, MMQ_RESOURCE_EXHAUSTED, "params.layers", "a network that fits in memory", "layer %zu of %zu x %zu", number_of(net, k),
			    layer->rows, layer->cols);
		layer->w_at = at;
		layer->b_at = at + product;
		at += layer->rows > 0 ? product + (mmq_mlp_biases(layer) + PANEL - 1) / PANEL * PANEL : 0;
		layer->back_at = back;
		if (layer->kind == MMQ_MLP_DENSE)
			back += mmq_dense_packed_count(layer->cols, layer->rows);
		if (layer->kind == MMQ_MLP_CONV) {
			back += mmq_dense_packed_count(layer->kernel[0] * layer->kernel[1] * layer->cols, layer->in[2]);
			net->pad_count = pad_floats(layer) > net->pad_count ? pad_floats(layer) : net->pad_count;
		}
	}
	net->trained_count = net->params_count = at;
	net->back_count = back;
	for (size_t k = 0; k < net->layers; k++)
		if (net->layer[k].kind == MMQ_MLP_BATCH_NORM) {
			net->layer[k].stats_at = net->params_count;
			net->params_count += 2 * ((net->layer[k].cols + PANEL - 1) / PANEL * PANEL);
		}
	return 0;
}

void
mmq_mlp_layer_print(const struct mmq_mlp_layer *layer, char *out, size_t size)
{
	const char *name = kind_names[layer->kind];
	char tail[64] = "";
	int used = 0;
	if (layer->kernel[0] > 0 && (layer->stride[0] != (layer->kind == MMQ_MLP_CONV ? 1 : layer->kernel[0]) ||
	                                layer->stride[1] != (layer->kind == MMQ_MLP_CONV ? 1 : layer->kernel[1])))
		used = snprintf(tail, sizeof(tail), " stride %zux%zu", layer->stride[0], layer->stride[1]);
	if (layer->kind == MMQ_MLP_CONV && layer->out[0] > 0 && layer->out[1] > 0 && ((layer->out[0] - 1) * layer->stride[0] + layer->kernel[0] > layer->in[0] ||
	                                       (layer->out[1] - 1) * layer->stride[1] + layer->kernel[1] > layer->in[1]))
		used += snprintf(tail + used, sizeof(tail) - (size_t)used, " same");
	if (layer->activation != MMQ_MLP_IDENTITY)
		snprintf(tail + used, sizeof(tail) - (size_t)used, " %s", activation_names[layer->activation]);
	if (layer->kind == MMQ_MLP_DENSE)
		snprintf(out, size, "%s %zu%s", name, layer->cols, tail);
	else if (layer->kind == MMQ_MLP_CONV)
		snprintf(out, size, "%s %zu %zux%zu%s", name, layer->cols, layer->kernel[0], layer->kernel[1], tail);
	else if (layer->kernel[0] > 0)
		snprintf(out, size, "%s %zux%zu%s", name, layer->kernel[0], layer->kernel[1], tail);
	else if (layer->kind == MMQ_MLP_DROPOUT)
		snprintf(out, size, "%s %g", name, layer->rate);
	else
		snprintf(out, size, "%s%s", name, tail);
}

double
mmq_mlp_layer_flops(const struct mmq_mlp_layer *layer)
{
	double outputs = (double)layer->out_count;
	if (layer->kind == MMQ_MLP_DENSE || layer->kind == MMQ_MLP_CONV)
		return outputs * (2.0 * (double)layer->rows + 1.0);
	if (layer->kernel[0] > 0)
		return outputs * (double)(layer->kernel[0] * layer->kernel[1]);
	return layer->kind == MMQ_MLP_BATCH_NORM ? 2.0 * outputs : 0.0;
}
