/* room_pass.c: forward and backward passes of a minibatch over several threads.
 *
 * Key idea: two rounds. First tiles of rows go forward and back, each in one thread's own memory; what dense layers take in and the gradients by their
 * sums are kept for all rows. Then pieces of the weights: a piece's gradient is summed over all rows at once and, still in the cache, stepped with.
 * Layers with few weights and many pixels sum per tile in the first round instead; tiles are added in order. Tiles and pieces depend only on
 * shapes, and every sum's order is fixed, so the number of threads never changes a bit. */
#include <math.h>
#include <string.h>

#include "engine/mlp/room.h"
#include "math/flush.h"

enum { PANEL = MMQ_DENSE_PANEL };
static const double parallel_work = 1e6;         /* floating-point operations below which waking a thread costs more than it brings */

static size_t
row_of(const struct mmq_mlp_rows *rows, size_t i)
{
	return rows->index != NULL ? rows->index[i] : i;
}

static void
gather(const struct mmq_mlp_rows *rows, size_t first, size_t count, float *out)
{
	const struct mmq_batch *x = &rows->data->x;
	for (size_t i = 0; i < count; i++)
		memcpy(out + i * x->cols, (const float *)x->dense + row_of(rows, first + i) * x->stride, x->cols * sizeof(float));
}

/* Sparse rows through the first dense layer's packed weights, entry by entry. */
void
mmq_mlp_sparse_forward(const struct mmq_mlp_net *net, const struct mmq_mlp_rows *rows, size_t first, size_t count, float *out)
{
	const struct mmq_batch *x = &rows->data->x;
	const struct mmq_mlp_layer *layer = &net->layer[0];
	for (size_t i = 0; i < count; i++) {
		size_t row = row_of(rows, first + i);
		for (size_t p = 0; p < layer->cols; p += PANEL) {
			size_t width = layer->cols - p < PANEL ? layer->cols - p : PANEL;
			float *sums = out + i * layer->cols + p;
			memset(sums, 0, width * sizeof(*sums));
			for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++)
				mmq_mlp_add_scaled(sums, net->params + layer->w_at + p * layer->rows + x->col[e] * PANEL, ((const float *)x->value)[e], width);
			mmq_mlp_add_scaled(sums, net->params + layer->b_at + p, 1.0f, width);
		}
	}
	if (layer->activation == MMQ_MLP_RELU)
		mmq_mlp_activate(out, count, layer->cols, MMQ_MLP_RELU);
}

static void
sparse_gradient(struct mmq_mlp_room *room, const struct piece *piece, float *gradient)
{
	const struct mmq_batch *x = &room->rows->data->x;
	const struct mmq_mlp_layer *layer = &room->net->layer[0];
	for (size_t p = piece->from; p < piece->to; p += PANEL) {
		size_t width = layer->cols - p < PANEL ? layer->cols - p : PANEL;
		float *panel = gradient + p * layer->rows, *biases = gradient + layer->b_at - layer->w_at + p;
		for (size_t i = 0; i < room->count; i++) {
			size_t row = row_of(room->rows, room->first + i);
			const float *d = room->kept_delta[1] + i * layer->cols + p;
			for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++)
				mmq_mlp_add_scaled(panel + x->col[e] * PANEL, d, ((const float *)x->value)[e], width);
			mmq_mlp_add_scaled(biases, d, 1.0f, width);
		}
	}
}

/* Where this tile's values lie: with those of all rows, or in the thread's own memory. */
static float *
place(float *kept, float *own, size_t offset, size_t values)
{
	return kept != NULL ? kept + offset * values : own;
}

static void
back_tile(struct mmq_mlp_room *room, struct work *work, float *const *act, float *const *delta, size_t tile, size_t count, const struct mmq_mlp_pass *pass)
{
	const struct mmq_mlp_net *net = room->net;
	struct mmq_mlp_pass here = *pass;
	double *moments = work->moments;
	for (size_t k = 0; k < net->layers; k++)
		moments += net->layer[k].kind == MMQ_MLP_BATCH_NORM ? 2 * net->layer[k].cols : 0;
	for (size_t k = net->layers; k-- > 0;) {
		const struct mmq_mlp_layer *layer = &net->layer[k];
		float *dx = k > 0 ? delta[k] : NULL, *partial = room->partial + tile * room->partial_count + room->partial_at[k];
		size_t channels = layer->out[2];
		if (layer->kind == MMQ_MLP_EMBEDDING) {
			mmq_mlp_embed_gradient(net, room->rows, room->first + tile * room->tile_rows, count, delta[k + 1], partial);
			continue;
		}
		mmq_mlp_derive(delta[k + 1], act[k + 1], work->z[k + 1], count * (layer->out_count / channels), channels, layer->activation);
		if (layer->kind == MMQ_MLP_DENSE || layer->kind == MMQ_MLP_CONV) {
			if (layer->kind == MMQ_MLP_CONV)
				mmq_mlp_dense_gradient(layer, act[k], layer->in_count, delta[k + 1], count, partial, 0, layer->cols, true, &here);
			if (dx != NULL)
				mmq_mlp_dense_backward(net, layer, delta[k + 1], count, dx, &here);
			continue;
		}
		if (layer->kind == MMQ_MLP_BATCH_NORM)
			moments -= 2 * layer->cols;
		here.moments = moments;
		mmq_mlp_plain_backward(net, k, act[k], act[k + 1], delta[k + 1], count, dx, partial, &here);
	}
}

static void
run_tile(void *arg, size_t tile, unsigned thread)
{
	struct mmq_mlp_room *room = arg;
	const struct mmq_mlp_net *net = room->net;
	struct work *work = &room->work[thread];
	size_t from = tile * room->tile_rows, count = room->count - from < room->tile_rows ? room->count - from : room->tile_rows;
	float *act[MMQ_MLP_LAYERS_MAX + 1], *delta[MMQ_MLP_LAYERS_MAX + 1];
	struct mmq_mlp_pass pass = { .is_training = room->is_training, .seed = room->seed, .step = room->step, .first = room->base + from,
		.pad = work->pad, .moments = work->moments };
	unsigned mode = mmq_flush_begin();

	for (size_t k = 0; k <= net->layers; k++) {
		act[k] = place(room->kept_act[k], work->act[k], from, values_of(net, k));
		delta[k] = place(room->kept_delta[k], work->delta[k], from, values_of(net, k));
	}
	if (!room->is_sparse && !mmq_mlp_embeds(net))
		gather(room->rows, room->first + from, count, act[0]);
	for (size_t k = 0; k < net->layers; k++) {
		const struct mmq_mlp_layer *layer = &net->layer[k];
		if (k == 0 && room->is_sparse)
			mmq_mlp_sparse_forward(net, room->rows, room->first + from, count, act[1]);
		else if (layer->kind == MMQ_MLP_EMBEDDING)
			mmq_mlp_embed_forward(net, room->rows, room->first + from, count, act[1]);
		else if (layer->kind == MMQ_MLP_DENSE || layer->kind == MMQ_MLP_CONV)
			mmq_mlp_dense_forward(net, layer, act[k], layer->in_count, count, act[k + 1], &pass);
		else
			mmq_mlp_plain_forward(net, k, act[k], layer->in_count, count, act[k + 1], &pass);
		if (layer->kind == MMQ_MLP_BATCH_NORM)
			pass.moments += 2 * layer->cols;
		if (mmq_mlp_keeps_z(layer->activation))
			memcpy(work->z[k + 1], act[k + 1], count * layer->out_count * sizeof(float));
		if (layer->activation != MMQ_MLP_RELU || layer->kind == MMQ_MLP_BATCH_NORM)
			mmq_mlp_activate(act[k + 1], count * (layer->out_count / layer->out[2]), layer->out[2], layer->activation);
	}
	room->tile_weight[tile] = 0.0;
	room->tile_loss[tile] = mmq_mlp_loss(net, act[net->layers], room->rows, room->first + from, count, delta[net->layers], &room->tile_weight[tile]);
	if (room->gradient != NULL) {
		memset(room->partial + tile * room->partial_count, 0, room->partial_count * sizeof(float));
		back_tile(room, work, act, delta, tile, count, &pass);
	}
	mmq_flush_end(mode);
}

static void
step_piece(struct mmq_mlp_room *room, const struct piece *piece)
{
	const struct mmq_mlp_layer *layer = &room->net->layer[piece->layer];
	size_t columns = (piece->to - piece->from + PANEL - 1) / PANEL * PANEL;
	bool is_weight = layer->kind <= MMQ_MLP_CONV;
	room->step_with(room->arg, layer->w_at + piece->from * layer->rows, columns * layer->rows, is_weight);
	if (mmq_mlp_biases(layer) > 0)
		room->step_with(room->arg, layer->b_at + piece->from, columns, false);
	if (is_weight && piece->layer > 0)           /* nobody asks for the gradient by the inputs */
		mmq_mlp_refresh(room->net, layer, piece->from, piece->to);
}

static void
run_piece(void *arg, size_t index, unsigned thread)
{
	struct mmq_mlp_room *room = arg;
	const struct piece *piece = &room->pieces[index];
	const struct mmq_mlp_layer *layer = &room->net->layer[piece->layer];
	float *gradient = room->gradient + layer->w_at;
	size_t k = piece->layer, count = layer->b_at - layer->w_at, tiles = (room->count + room->tile_rows - 1) / room->tile_rows;
	size_t columns = (piece->to - piece->from + PANEL - 1) / PANEL * PANEL, biases = mmq_mlp_biases(layer) > 0 ? columns : 0;
	unsigned mode = mmq_flush_begin();

	(void)thread;
	if (!room->add)
		memset(gradient + count + piece->from, 0, biases * sizeof(float));
	if (is_dense_layer(room->net, k) && !(room->is_sparse && k == 0)) {
		mmq_mlp_dense_gradient(layer, room->kept_act[k], layer->in_count, room->kept_delta[k + 1], room->count, gradient, piece->from, piece->to,
		    room->add, NULL);
	} else {
		if (!room->add)
			memset(gradient + piece->from * layer->rows, 0, columns * layer->rows * sizeof(float));
		if (is_dense_layer(room->net, k))
			sparse_gradient(room, piece, gradient);
		for (size_t t = 0; !is_dense_layer(room->net, k) && t < tiles; t++)
			mmq_mlp_add_scaled(gradient, room->partial + t * room->partial_count + room->partial_at[k], 1.0f, count + biases);
	}
	if (room->is_last && room->step_with != NULL)
		step_piece(room, piece);
	mmq_flush_end(mode);
}

static void
run_step(void *arg, size_t index, unsigned thread)
{
	struct mmq_mlp_room *room = arg;
	unsigned mode = mmq_flush_begin();
	(void)thread;
	step_piece(room, &room->pieces[index]);
	mmq_flush_end(mode);
}

void
mmq_mlp_room_step(struct mmq_mlp_room *room, void (*step_with)(void *arg, size_t at, size_t count, bool is_weight), void *arg)
{
	room->step_with = step_with;
	room->arg = arg;
	mmq_pool_run(room->pool, room->pieces_count, run_step, room);
}

/* Both rounds over rows [first, first + count), as many at once as there is room for. */
static double
run_rows(struct mmq_mlp_room *room, const struct mmq_mlp_rows *rows, size_t first, size_t count, double *weight_sum_out)
{
	double loss = 0.0, work = 0.0;
	for (size_t k = 0; k < room->net->layers; k++)
		work += mmq_mlp_layer_flops(&room->net->layer[k]) * (room->gradient != NULL ? 3.0 : 1.0);
	room->rows = rows;
	for (size_t at = 0; at < count; at += room->rows_max) {
		room->first = first + at;
		room->base = at;
		room->count = count - at < room->rows_max ? count - at : room->rows_max;
		room->add = at > 0;
		room->is_last = at + room->count == count;
		struct mmq_pool *pool = work * (double)room->count < parallel_work ? NULL : room->pool;
		size_t tiles = (room->count + room->tile_rows - 1) / room->tile_rows;
		mmq_pool_run(pool, tiles, run_tile, room);
		for (size_t t = 0; t < tiles; t++) {
			loss += room->tile_loss[t];
			*weight_sum_out += room->tile_weight[t];
		}
		if (room->gradient != NULL && isfinite(loss))
			mmq_pool_run(pool, room->pieces_count, run_piece, room);
	}
	return loss;
}

double
mmq_mlp_room_loss(struct mmq_mlp_room *room, const struct mmq_mlp_rows *rows, size_t first, size_t count, double *weight_sum_out)
{
	room->is_training = false;
	room->gradient = NULL;
	return run_rows(room, rows, first, count, weight_sum_out);
}

double
mmq_mlp_room_gradient(struct mmq_mlp_room *room, const struct mmq_mlp_rows *rows, size_t first, size_t count, uint64_t seed, uint64_t step,
    float *gradient, void (*step_with)(void *arg, size_t at, size_t count, bool is_weight), void *arg, double *weight_sum_out)
{
	if (!room->is_fresh || step_with == NULL)
		mmq_mlp_refresh_all(room->net);
	room->is_fresh = true;
	room->is_training = true;
	room->seed = seed;
	room->step = step;
	room->gradient = gradient;
	room->step_with = step_with;
	room->arg = arg;
	return run_rows(room, rows, first, count, weight_sum_out);
}
