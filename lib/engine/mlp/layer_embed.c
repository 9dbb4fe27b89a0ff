/* layer_embed.c: the embedding of category columns: before all other layers, each category's code becomes a learnt vector (Guo, Berkhahn 2016).
 *
 * A row's values are its numbers as they are, then the vectors of its codes in order. A code that is missing, unseen or out of range gives zeros and
 * learns nothing. The tables lie one after another in the layer's weights, (cardinality, width) row-major. */
#include <math.h>
#include <string.h>

#include "engine/mlp/net.h"
#include "math/rng.h"
#include "util/mem.h"

bool
mmq_mlp_embed_add(struct mmq_mlp_net *net, const uint32_t *cardinality, const uint32_t *width, size_t count)
{
	size_t weights = 0;
	if (net->layers == MMQ_MLP_LAYERS_MAX)
		return false;
	net->tables = mmq_array(count, sizeof(*net->tables));
	net->tables_count = count;
	for (size_t c = 0; c < count; c++) {
		net->tables[c] = (struct mmq_mlp_table){ .cardinality = cardinality[c], .width = width[c], .at = weights };
		weights += (size_t)cardinality[c] * width[c];
	}
	memmove(net->layer + 1, net->layer, net->layers * sizeof(*net->layer));
	net->layers++;
	net->layer[0] = (struct mmq_mlp_layer){ .kind = MMQ_MLP_EMBEDDING, .stride = { 1, 1 }, .rows = 1, .cols = weights };
	return true;
}

bool
mmq_mlp_embeds(const struct mmq_mlp_net *net)
{
	return net->tables_count > 0;
}

/* Vectors about as long as the one column of a 0/1 coding. */
void
mmq_mlp_embed_init(struct mmq_mlp_net *net, uint64_t seed)
{
	struct mmq_rng rng = mmq_rng_stream(seed, 1, 0);
	for (size_t c = 0; c < net->tables_count; c++) {
		const struct mmq_mlp_table *table = &net->tables[c];
		float *w = net->params + net->layer[0].w_at + table->at;
		for (size_t i = 0; i < (size_t)table->cardinality * table->width; i++)
			w[i] = (float)(mmq_rng_normal(&rng) / sqrt((double)table->width));
	}
}

/* Where the vector of a row's code lies in the layer's weights; false: it has none. */
static bool
find_vector(const struct mmq_mlp_table *table, int32_t code, size_t *at_out)
{
	*at_out = table->at + (size_t)code * table->width;
	return code >= 0 && (uint32_t)code < table->cardinality;
}

void
mmq_mlp_embed_forward(const struct mmq_mlp_net *net, const struct mmq_mlp_rows *rows, size_t first, size_t count, float *out)
{
	const struct mmq_batch *x = &rows->data->x;
	const float *weights = net->params + net->layer[0].w_at;
	for (size_t i = 0; i < count; i++) {
		size_t row = rows->index != NULL ? rows->index[first + i] : first + i, at;
		float *to = out + i * net->layer[0].out_count;
		if (x->cols > 0)
			memcpy(to, (const float *)x->dense + row * x->stride, x->cols * sizeof(*to));
		to += x->cols;
		for (size_t c = 0; c < net->tables_count; to += net->tables[c].width, c++) {
			if (find_vector(&net->tables[c], x->codes[row * x->codes_cols + c], &at))
				memcpy(to, weights + at, net->tables[c].width * sizeof(*to));
			else
				memset(to, 0, net->tables[c].width * sizeof(*to));
		}
	}
}

void
mmq_mlp_embed_gradient(const struct mmq_mlp_net *net, const struct mmq_mlp_rows *rows, size_t first, size_t count, const float *d, float *gradient)
{
	const struct mmq_batch *x = &rows->data->x;
	for (size_t i = 0; i < count; i++) {
		size_t row = rows->index != NULL ? rows->index[first + i] : first + i, at;
		const float *from = d + i * net->layer[0].out_count + x->cols;
		for (size_t c = 0; c < net->tables_count; from += net->tables[c].width, c++)
			for (size_t j = 0; find_vector(&net->tables[c], x->codes[row * x->codes_cols + c], &at) && j < net->tables[c].width; j++)
				gradient[at + j] += from[j];
	}
}
