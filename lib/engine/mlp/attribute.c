/* attribute.c: what each feature contributed to a score: integrated gradients (Sundararajan, Taly, Yan 2017, equation 1).
 *
 * The path runs straight from the baseline (zero: the mean of a scaled number, no category, a black image) to the row. A feature's share is its value
 * times the mean gradient along the path, by the midpoint rule. Shares then add up to the score's distance from the baseline's but for the rule's error:
 * points are added while that is not small, and the rest is shared out in proportion, so that the sum is exact. When the first layer is dense the path is
 * followed through its sums instead of its inputs, which is the same and cheaper, and never touches the zeros of a sparse row. */
#include <math.h>
#include <string.h>

#include "engine/mlp/model.h"

enum { POINTS = 16, POINTS_MAX = 256, PANEL = MMQ_DENSE_PANEL, ALIGN_FLOATS = 16 };
static const double error_small = 0.005;         /* of the shares' magnitudes */

struct path {
	const struct mmq_mlp_model *model;
	size_t layer, width, inputs;    /* first layer behind the path; values on the path; values that go into the first layer */
	bool is_summed;                 /* the path's values are sums of a dense layer, layer - 1 */
	float *input, *start, *step;    /* (inputs) the row; (width) at the baseline, and from there to the row */
	double *slope, *score;          /* (score_cols, width) sums of gradients; (score_cols) */
	float *act[MMQ_MLP_LAYERS_MAX + 1], *z[MMQ_MLP_LAYERS_MAX + 1], *delta[2], *pad;   /* each of POINTS rows */
};

static size_t
rounded(size_t count)
{
	return (count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

static float *
take(float **at, size_t count)
{
	float *taken = *at;
	*at += rounded(count);
	return taken;
}

/* Lay the path out from `at` on, or, with NULL, only count: floats that it takes. */
static size_t
path_init(struct path *path, const struct mmq_mlp_model *model, float *at)
{
	const struct mmq_mlp_net *net = &model->net;
	size_t first = mmq_mlp_embeds(net), outputs = model->classes <= 2 ? 1 : model->classes, values = 0;
	float *end = at;
	path->model = model;
	path->inputs = first > 0 ? net->layer[0].out_count : net->layer[0].in_count;
	path->is_summed = net->layer[first].kind == MMQ_MLP_DENSE;
	path->layer = first + path->is_summed;
	path->width = path->is_summed ? net->layer[first].out_count : path->inputs;
	path->input = take(&end, path->inputs);
	path->start = take(&end, path->width);
	path->step = take(&end, path->width);
	path->slope = (double *)take(&end, 2 * outputs * path->width);
	path->score = (double *)take(&end, 2 * outputs);
	for (size_t k = path->layer; k <= net->layers; k++) {
		size_t count = k == path->layer ? path->width : net->layer[k - 1].out_count;
		path->act[k] = take(&end, POINTS * count);
		path->z[k] = take(&end, POINTS * count);
		values = count > values ? count : values;
	}
	path->delta[0] = take(&end, POINTS * values);
	path->delta[1] = take(&end, POINTS * values);
	path->pad = take(&end, net->pad_count);
	return (size_t)(end - at);
}

size_t
mmq_mlp_attribute_floats(const struct mmq_mlp_model *model)
{
	struct path path;
	return path_init(&path, model, NULL);
}

static void
activate(struct path *path, size_t k, size_t count)
{
	const struct mmq_mlp_layer *layer = &path->model->net.layer[k];
	if (mmq_mlp_keeps_z(layer->activation))
		memcpy(path->z[k + 1], path->act[k + 1], count * layer->out_count * sizeof(float));
	mmq_mlp_activate(path->act[k + 1], count * (layer->out_count / layer->out[2]), layer->out[2], layer->activation);
}

/* Points along[0..count) of the path, 0 at the baseline and 1 at the row, through all layers behind it. */
static void
forward(struct path *path, const float *along, size_t count)
{
	const struct mmq_mlp_net *net = &path->model->net;
	const struct mmq_mlp_pass pass = { .pad = path->pad };
	float *values = path->act[path->layer];
	for (size_t p = 0; p < count; p++)
		for (size_t i = 0; i < path->width; i++)
			values[p * path->width + i] = path->start[i] + along[p] * path->step[i];
	if (path->is_summed)
		activate(path, path->layer - 1, count);
	for (size_t k = path->layer; k < net->layers; k++) {
		const struct mmq_mlp_layer *layer = &net->layer[k];
		if (layer->kind == MMQ_MLP_DENSE || layer->kind == MMQ_MLP_CONV)
			mmq_mlp_dense_forward(net, layer, path->act[k], layer->in_count, count, path->act[k + 1], &pass);
		else
			mmq_mlp_plain_forward(net, k, path->act[k], layer->in_count, count, path->act[k + 1], &pass);
		activate(path, k, count);
	}
}

/* The derivative of score `output` by the network's last values z (width). */
static void
seed_delta(const struct mmq_mlp_model *model, const float *z, size_t width, size_t output, float *delta)
{
	memset(delta, 0, width * sizeof(*delta));
	if (model->classes == 2 && width == 2) {
		delta[0] = -1.0f, delta[1] = 1.0f;
	} else if (model->classes == 0 && model->net.output == MMQ_MLP_LOGISTIC) {
		double p = 1.0 / (1.0 + exp(-(double)z[0]));
		delta[0] = (float)(p * (1.0 - p));
	} else {
		delta[output] = 1.0f;
	}
}

/* slope (width) of one output += the gradients at the points that forward went through last. */
static void
backward(struct path *path, size_t count, size_t output)
{
	const struct mmq_mlp_net *net = &path->model->net;
	const struct mmq_mlp_pass pass = { .pad = path->pad };
	size_t width = net->layer[net->layers - 1].out_count;
	float *d = path->delta[0], *other = path->delta[1];
	for (size_t p = 0; p < count; p++)
		seed_delta(path->model, path->act[net->layers] + p * width, width, output, d + p * width);
	for (size_t k = net->layers; k-- + path->is_summed > path->layer;) {
		const struct mmq_mlp_layer *layer = &net->layer[k];
		mmq_mlp_derive(d, path->act[k + 1], path->z[k + 1], count * (layer->out_count / layer->out[2]), layer->out[2], layer->activation);
		if (k < path->layer)
			break;
		if (layer->kind == MMQ_MLP_DENSE || layer->kind == MMQ_MLP_CONV)
			mmq_mlp_dense_backward(net, layer, d, count, other, &pass);
		else
			mmq_mlp_plain_backward(net, k, path->act[k], path->act[k + 1], d, count, other, NULL, &pass);
		float *swap = d;
		d = other;
		other = swap;
	}
	double *slope = path->slope + output * path->width;
	for (size_t p = 0; p < count; p++)
		for (size_t i = 0; i < path->width; i++)
			slope[i] += (double)d[p * path->width + i];
}

static void
integrate(struct path *path, size_t points, size_t outputs)
{
	float along[POINTS];
	memset(path->slope, 0, outputs * path->width * sizeof(double));
	for (size_t at = 0; at < points; at += POINTS) {
		for (size_t p = 0; p < POINTS; p++)
			along[p] = (float)(((double)(at + p) + 0.5) / (double)points);
		forward(path, along, POINTS);
		for (size_t k = 0; k < outputs; k++)
			backward(path, POINTS, k);
	}
	for (size_t i = 0; i < outputs * path->width; i++)
		path->slope[i] /= (double)points;
}

/* The slope by input i of the network, before the path's layer. */
static double
input_slope(const struct path *path, size_t i, const double *slope)
{
	const struct mmq_mlp_net *net = &path->model->net;
	if (!path->is_summed)
		return slope[i];
	const struct mmq_mlp_layer *layer = &net->layer[path->layer - 1];
	double sum = 0.0;
	for (size_t p = 0; p < layer->cols; p += PANEL) {
		const float *w = net->params + layer->w_at + p * layer->rows + i * PANEL;
		for (size_t j = 0; j < PANEL && p + j < layer->cols; j++)
			sum += (double)w[j] * slope[p + j];
	}
	return sum;
}

/* Where the path goes for this row: its values, or their sums through the first layer. */
static void
aim(struct path *path, const struct mmq_mlp_rows *rows, size_t row)
{
	const struct mmq_mlp_net *net = &path->model->net;
	const struct mmq_mlp_layer *layer = &net->layer[path->layer - path->is_summed];
	const struct mmq_batch *x = &rows->data->x;
	if (mmq_mlp_embeds(net))
		mmq_mlp_embed_forward(net, rows, row, 1, path->input);
	else if (x->row_start == NULL)
		memcpy(path->input, (const float *)x->dense + row * x->stride, path->inputs * sizeof(float));
	memset(path->start, 0, path->width * sizeof(float));
	if (!path->is_summed) {
		memcpy(path->step, path->input, path->width * sizeof(float));
		return;
	}
	memcpy(path->start, net->params + layer->b_at, path->width * sizeof(float));
	if (x->row_start == NULL) {
		mmq_dense_run(path->step, path->width, path->input, path->inputs, 1, net->params + layer->w_at, NULL, layer->rows, layer->cols);
		return;
	}
	memset(path->step, 0, path->width * sizeof(float));
	for (size_t p = 0; p < layer->cols; p += PANEL)
		for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++)
			mmq_mlp_add_scaled(path->step + p, net->params + layer->w_at + p * layer->rows + x->col[e] * PANEL, ((const float *)x->value)[e],
			    layer->cols - p < PANEL ? layer->cols - p : PANEL);
}

/* Inputs' shares -> features' (out), in their order: numbers take their columns, categories their vectors behind all columns. */
static void
share(const struct path *path, const struct mmq_batch *x, size_t row, const double *slope, double *out)
{
	const struct mmq_mlp_model *model = path->model;
	size_t column = 0, vector = model->net.layer[0].in_count, table = 0;
	uint64_t e = x->row_start != NULL ? x->row_start[row] : 0;
	for (size_t f = 0; f < model->features_count; f++) {
		size_t width = model->feature_cols[f];
		out[f] = 0.0;
		if (x->row_start != NULL) {
			for (; e < x->row_start[row + 1] && x->col[e] < column + width; e++)
				out[f] += (double)((const float *)x->value)[e] * input_slope(path, x->col[e], slope);
			column += width;
			continue;
		}
		size_t *at = width > 0 ? &column : &vector, end = *at + (width > 0 ? width : model->net.tables[table++].width);
		for (; *at < end; (*at)++)
			if (path->input[*at] != 0.0f)
				out[f] += (double)path->input[*at] * input_slope(path, *at, slope);
	}
}

/* What is missing to total goes to all in proportion to their magnitudes. Returns how much it was, of those magnitudes. */
static double
complete(double *out, size_t count, double total)
{
	double sum = 0.0, magnitude = 0.0;
	for (size_t f = 0; f < count; f++) {
		sum += out[f];
		magnitude += fabs(out[f]);
	}
	double missing = total - sum;
	for (size_t f = 0; f < count; f++)
		out[f] += magnitude > 0.0 ? missing * fabs(out[f]) / magnitude : missing / (double)count;
	return fabs(missing) / fmax(magnitude, fabs(total));
}

static void
baseline(struct path *path, double *base)
{
	const float none = 0.0f;
	forward(path, &none, 1);
	mmq_mlp_score_of(path->model, path->act[path->model->net.layers], base);
}

void
mmq_mlp_attribute(const struct mmq_mlp_model *model, const struct mmq_mlp_rows *rows, size_t row, const float *z, double *out, double *base, float *scratch)
{
	struct path path;
	size_t outputs = model->classes <= 2 ? 1 : model->classes;
	path_init(&path, model, scratch);
	aim(&path, rows, row);
	baseline(&path, base);
	mmq_mlp_score_of(model, z, path.score);
	for (size_t points = POINTS; points <= POINTS_MAX; points *= 4) {
		double worst = 0.0;
		integrate(&path, points, outputs);
		for (size_t k = 0; k < outputs; k++) {
			double *shares = out + k * model->features_count;
			share(&path, &rows->data->x, row, path.slope + k * path.width, shares);
			double missing = complete(shares, model->features_count, path.score[k] - base[k]);
			worst = missing > worst ? missing : worst;
		}
		if (worst <= error_small)
			break;
	}
}
