/* predict.c: rows to scores. A tile of rows at a time goes through all layers between two buffers that stay in the cache.
 *
 * Every kernel gives a row the same bits alone and among others, so the size of the tile is free. */
#include <math.h>
#include <string.h>

#include "engine/check.h"
#include "engine/mlp/model.h"

enum { TILE_ROWS = 60, TILE_FLOATS = 60000 };    /* rows: a multiple of the dense kernel's 6 */

static size_t
values_max(const struct mmq_mlp_net *net)
{
	size_t values = 0;
	for (size_t k = 0; k < net->layers; k++)
		values = net->layer[k].out_count > values ? net->layer[k].out_count : values;
	return (values + 15) / 16 * 16;
}

static size_t
tile_rows(const struct mmq_mlp_net *net)
{
	size_t rows = TILE_FLOATS / values_max(net);
	return rows > TILE_ROWS ? TILE_ROWS : rows > 6 ? rows / 6 * 6 : rows > 0 ? rows : 1;
}

/* Scratch of run_layers, rounded to a line of the cache. */
static size_t
layers_floats(const struct mmq_mlp_net *net)
{
	return (2 * tile_rows(net) * values_max(net) + net->pad_count + 15) / 16 * 16;
}

size_t
mmq_mlp_scratch_bytes(const void *model_p, size_t rows_max, unsigned wanted)
{
	const struct mmq_mlp_model *model = model_p;
	size_t floats = layers_floats(&model->net);
	(void)rows_max;
	if ((wanted & MMQ_OUT_CONTRIBUTION) != 0)
		floats += mmq_mlp_attribute_floats(model) + 2 * (model->classes <= 2 ? 1 : model->classes);
	return floats * sizeof(float);
}

void
mmq_mlp_score_of(const struct mmq_mlp_model *model, const float *z, double *score)
{
	const struct mmq_mlp_net *net = &model->net;
	if (model->classes == 0)
		score[0] = net->output == MMQ_MLP_LOGISTIC ? 1.0 / (1.0 + exp(-(double)z[0])) : (double)z[0];
	else if (model->classes == 2)
		score[0] = net->layer[net->layers - 1].out_count == 1 ? (double)z[0] : (double)z[1] - (double)z[0];
	else
		for (size_t k = 0; k < model->classes; k++)
			score[k] = (double)z[k];
}

/* Outputs before their activation -> score and probability of one row. */
static void
write_row(const struct mmq_mlp_model *model, const float *z, size_t row, const struct mmq_outputs *out)
{
	const struct mmq_mlp_net *net = &model->net;
	size_t width = net->layer[net->layers - 1].out_count, classes = model->classes;
	double sum = 0.0, top = (double)z[0];
	if ((out->wanted & MMQ_OUT_SCORE) != 0)
		mmq_mlp_score_of(model, z, out->score + row * out->score_cols);
	if ((out->wanted & MMQ_OUT_PROBABILITY) == 0 || classes == 0)
		return;
	double *p = out->probability + row * classes;
	if (width == 1) {
		double small = exp(-fabs((double)z[0])), below = small / (1.0 + small);
		p[0] = z[0] > 0.0f ? below : 1.0 / (1.0 + small);
		p[1] = z[0] > 0.0f ? 1.0 / (1.0 + small) : below;
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

/* Layers' values of a tile; returns those of the last. */
static const float *
run_layers(const struct mmq_mlp_net *net, const struct mmq_batch *x, size_t first, size_t count, float *scratch)
{
	float *next = scratch, *other = scratch + tile_rows(net) * values_max(net);
	const struct mmq_mlp_pass pass = { .pad = other + tile_rows(net) * values_max(net) };
	const struct mmq_dataset data = { .x = *x };
	const struct mmq_mlp_rows rows = { .data = &data };
	const float *in = x->row_start != NULL || mmq_mlp_embeds(net) ? NULL : (const float *)x->dense + first * x->stride;
	size_t stride = x->stride;
	for (size_t k = 0; k < net->layers; k++) {
		const struct mmq_mlp_layer *layer = &net->layer[k];
		if (layer->kind == MMQ_MLP_EMBEDDING)
			mmq_mlp_embed_forward(net, &rows, first, count, next);
		else if (in == NULL)
			mmq_mlp_sparse_forward(net, &rows, first, count, next);
		else if (layer->kind == MMQ_MLP_DENSE || layer->kind == MMQ_MLP_CONV)
			mmq_mlp_dense_forward(net, layer, in, stride, count, next, &pass);
		else
			mmq_mlp_plain_forward(net, k, in, stride, count, next, &pass);
		if (layer->activation != MMQ_MLP_RELU || layer->kind == MMQ_MLP_BATCH_NORM)
			mmq_mlp_activate(next, count * (layer->out_count / layer->out[2]), layer->out[2], layer->activation);
		in = next;
		stride = layer->out_count;
		next = other;
		other = (float *)(uintptr_t)in;
	}
	return in;
}

/* Of a tile, this brings its rows into the cache for the layers. */
static int
check_rows(const struct mmq_mlp_net *net, const struct mmq_batch *x, struct mmq_err *err)
{
	return mmq_check_batch(x, net->layer[0].in_count, net->tables_count, MMQ_MLP_ACCEPTS, err);
}

int
mmq_mlp_predict(const void *model_p, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err)
{
	const struct mmq_mlp_model *model = model_p;
	const struct mmq_mlp_net *net = &model->net;
	size_t tile = tile_rows(net), width = net->layer[net->layers - 1].out_count;
	const struct mmq_dataset data = { .x = *x };
	const struct mmq_mlp_rows rows = { .data = &data };
	float *attribute = (float *)scratch + layers_floats(net);
	double *base = (double *)(attribute + ((out->wanted & MMQ_OUT_CONTRIBUTION) != 0 ? mmq_mlp_attribute_floats(model) : 0));
	bool is_cut = x->row_start == NULL && x->rows > tile;
	if (!is_cut && check_rows(net, x, err) == -1)
		return -1;
	for (size_t first = 0; first < x->rows; first += tile) {
		size_t count = x->rows - first < tile ? x->rows - first : tile;
		const struct mmq_batch part = { .rows = count, .cols = x->cols, .dtype = x->dtype, .dense = (const float *)x->dense + first * x->stride,
			.stride = x->stride, .codes = x->codes, .codes_cols = x->codes_cols };
		if (is_cut && check_rows(net, &part, err) == -1)
			return check_rows(net, x, err);     /* names the row within the batch */
		const float *z = run_layers(net, x, first, count, scratch);
		for (size_t i = 0; i < count; i++)
			write_row(model, z + i * width, first + i, out);
		for (size_t i = 0; (out->wanted & MMQ_OUT_CONTRIBUTION) != 0 && i < count; i++)
			mmq_mlp_attribute(model, &rows, first + i, z + i * width, out->contribution + (first + i) * out->score_cols * model->features_count,
			    out->base != NULL ? out->base : base, attribute);
	}
	return 0;
}
