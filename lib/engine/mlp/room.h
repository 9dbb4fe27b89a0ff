/* room.h: what room.c (memory) and room_pass.c (passes) share. */
#ifndef MMQ_ENGINE_MLP_ROOM_H
#define MMQ_ENGINE_MLP_ROOM_H

#include "engine/mlp/net.h"

/* Columns [from, to) of one layer's weights, and their biases. */
struct piece { size_t layer, from, to; };

/* One thread's own: act[k] goes into layer k, delta[k] is the gradient by it, z[k + 1] what layer k gave before its activation. */
struct work {
	float *act[MMQ_MLP_LAYERS_MAX + 1], *delta[MMQ_MLP_LAYERS_MAX + 1], *z[MMQ_MLP_LAYERS_MAX + 1], *pad, *memory;
	double *moments;
};

struct mmq_mlp_room {
	const struct mmq_mlp_net *net;
	struct mmq_pool *pool;
	unsigned threads;
	size_t rows_max, tile_rows, tiles_max;
	bool is_sparse, is_fresh;
	float *kept, *kept_act[MMQ_MLP_LAYERS_MAX + 1], *kept_delta[MMQ_MLP_LAYERS_MAX + 1];
	float *partial;                          /* (tiles_max, partial_count) */
	size_t partial_at[MMQ_MLP_LAYERS_MAX], partial_count, pieces_count;
	struct piece *pieces;
	struct work *work;
	double *tile_loss, *tile_weight;
	/* The minibatch at hand. */
	const struct mmq_mlp_rows *rows;
	size_t first, count, base;
	uint64_t seed, step;
	bool is_training, is_last, add;
	float *gradient;
	void (*step_with)(void *arg, size_t at, size_t count, bool is_weight);
	void *arg;
};

static inline bool
is_dense_layer(const struct mmq_mlp_net *net, size_t k)
{
	return net->layer[k].kind == MMQ_MLP_DENSE;
}

/* Values of layer k's input, k up to the count of layers: then the output. */
static inline size_t
values_of(const struct mmq_mlp_net *net, size_t k)
{
	return k == 0 ? net->layer[0].in_count : net->layer[k - 1].out_count;
}

#endif
