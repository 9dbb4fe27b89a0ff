/* init.c: the first weights of a network, one stream of random numbers per layer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mlp/net.h"
#include "math/rng.h"
#include "util/mem.h"

/* First weights into w (rows, cols). Bounds are per layer: Glorot and Bengio 2010; He et al. 2015. */
static void
init_layer(struct mmq_mlp_net *net, size_t k, const char *init, uint64_t seed)
{
	const struct mmq_mlp_layer *layer = &net->layer[k];
	struct mmq_rng rng = mmq_rng_stream(seed, 1, k);
	double window = layer->kind == MMQ_MLP_CONV ? (double)(layer->kernel[0] * layer->kernel[1]) : 1.0;
	double factor = layer->activation == MMQ_MLP_LOGISTIC || (k + 1 == net->layers && k > 0 && net->layer[k - 1].activation == MMQ_MLP_LOGISTIC) ? 2.0 : 6.0;
	double bound = sqrt(factor / ((double)layer->rows + window * (double)layer->cols));
	bool is_normal = strcmp(init, "normal") == 0 || strcmp(init, "he") == 0, is_he = strcmp(init, "he") == 0;
	if (strcmp(init, "uniform") == 0 || strcmp(init, "normal") == 0)
		bound = 1.0;
	else if (is_he)
		bound = sqrt(2.0 / (double)layer->rows);
	float *w = mmq_array(layer->rows * layer->cols, sizeof(*w));
	for (size_t i = 0; i < layer->rows * layer->cols; i++)
		w[i] = (float)(is_normal ? bound * mmq_rng_normal(&rng) : bound * (2.0 * mmq_rng_uniform(&rng) - 1.0));
	mmq_dense_pack(net->params + layer->w_at, w, layer->rows, layer->cols);
	for (size_t i = 0; !is_he && i < layer->cols; i++)
		net->params[layer->b_at + i] = (float)(is_normal ? bound * mmq_rng_normal(&rng) : bound * (2.0 * mmq_rng_uniform(&rng) - 1.0));
	free(w);
}

void
mmq_mlp_init(struct mmq_mlp_net *net, const char *init, uint64_t seed)
{
	memset(net->params, 0, net->params_count * sizeof(*net->params));
	mmq_mlp_embed_init(net, seed);
	for (size_t k = 0; k < net->layers; k++) {
		const struct mmq_mlp_layer *layer = &net->layer[k];
		if (layer->kind <= MMQ_MLP_CONV)
			init_layer(net, k, init, seed);
		for (size_t c = 0; layer->kind == MMQ_MLP_BATCH_NORM && c < layer->cols; c++)
			net->params[layer->w_at + c] = net->params[layer->stats_at + (layer->cols + 15) / 16 * 16 + c] = 1.0f;
	}
}
