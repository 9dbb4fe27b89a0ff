/* room.c: forward and backward passes of a minibatch over several threads.
 *
 * Key idea: two rounds. First tiles of rows go forward and back, each in one thread's own memory; what dense layers take in and the gradients by their
 * sums are kept for all rows. Then pieces of the weights: a piece's gradient is summed over all rows at once and, still in the cache, stepped with.
 * Layers with few weights and many pixels sum per tile in the first round instead; tiles are added in order. Tiles and pieces depend only on
 * shapes, and every sum's order is fixed, so the number of threads never changes a bit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mlp/net.h"
#include "math/flush.h"
#include "util/mem.h"

enum { PANEL = MMQ_DENSE_PANEL, ROWS_AT_ONCE = 1024, ALIGN_FLOATS = 16, PIECE = 16384 };
static const double parallel_work = 1e6;         /* floating-point operations below which waking a thread costs more than it brings */

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
	bool is_sparse, is_fresh, has_norm;
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

static size_t
rounded(size_t count)
{
	return (count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

static bool
is_dense(const struct mmq_mlp_net *net, size_t k)
{
	return net->layer[k].kind == MMQ_MLP_DENSE;
}

/* Values of layer k's input, k up to the count of layers: then the output. */
static size_t
values_of(const struct mmq_mlp_net *net, size_t k)
{
	return k == 0 ? net->layer[0].in_count : net->layer[k - 1].out_count;
}

static bool
has_kind(const struct mmq_mlp_net *net, enum mmq_mlp_kind kind)
{
	for (size_t k = 0; k < net->layers; k++)
		if (net->layer[k].kind == kind)
			return true;
	return false;
}

/* Rows of a tile: two equal ones per 128 rows where only dense layers follow one another; small enough for the second level cache else. */
static size_t
tile_rows_of(const struct mmq_mlp_net *net, size_t rows_max)
{
	size_t all = 0, plain = 0;
	for (size_t k = 0; k <= net->layers; k++) {
		all += values_of(net, k);
		plain += k < net->layers && !is_dense(net, k);
	}
	if (has_kind(net, MMQ_MLP_BATCH_NORM))
		return rows_max;
	size_t tiles = 2 * ((rows_max + 127) / 128), rows = ((rows_max + tiles - 1) / tiles + 5) / 6 * 6;
	size_t fitting = 64000 / all;
	if (plain > 0 && fitting < rows)
		rows = fitting < 4 ? 4 : fitting;
	return rows;
}

static size_t
rows_at_once(size_t rows_max)
{
	return rows_max < ROWS_AT_ONCE ? rows_max : ROWS_AT_ONCE;
}

double
mmq_mlp_room_bytes(const struct mmq_mlp_net *net, size_t rows_max, unsigned threads)
{
	double kept = 0.0, own = (double)net->pad_count, rows = (double)rows_at_once(rows_max);
	for (size_t k = 0; k <= net->layers; k++) {
		kept += 2.0 * (double)values_of(net, k);
		own += 3.0 * (double)values_of(net, k) * (double)tile_rows_of(net, rows_at_once(rows_max));
	}
	return sizeof(float) * (kept * rows + own * threads);
}

void
mmq_mlp_room_destroy(struct mmq_mlp_room **room_p)
{
	struct mmq_mlp_room *room = *room_p;
	if (room == NULL)
		return;
	for (unsigned t = 0; room->work != NULL && t < room->threads; t++) {
		free(room->work[t].memory);
		free(room->work[t].moments);
	}
	free(room->work), free(room->kept), free(room->partial), free(room->pieces), free(room->tile_loss), free(room->tile_weight);
	free(room);
	*room_p = NULL;
}

static bool
work_init(struct mmq_mlp_room *room, struct work *work)
{
	const struct mmq_mlp_net *net = room->net;
	size_t total = rounded(net->pad_count), channels = 1;
	for (size_t k = 0; k <= net->layers; k++)
		total += 3 * rounded(room->tile_rows * values_of(net, k));
	for (size_t k = 0; k < net->layers; k++)
		channels = net->layer[k].kind == MMQ_MLP_BATCH_NORM ? channels + 2 * net->layer[k].cols : channels;
	float *at = work->memory = mmq_try_aligned(total * sizeof(float));
	work->moments = mmq_array(channels, sizeof(double));
	if (at == NULL)
		return false;
	work->pad = at;
	at += rounded(net->pad_count);
	for (size_t k = 0; k <= net->layers; k++) {
		size_t size = rounded(room->tile_rows * values_of(net, k));
		work->act[k] = at;
		work->delta[k] = at + size;
		work->z[k] = at + 2 * size;
		at += 3 * size;
	}
	return true;
}

static bool
keep_init(struct mmq_mlp_room *room)
{
	const struct mmq_mlp_net *net = room->net;
	size_t total = 0, piece = 0;
	for (int round = 0; round < 2; round++) {
		float *at = room->kept;
		for (size_t k = 0; k < net->layers; k++) {
			if (!is_dense(net, k))
				continue;
			size_t in = room->is_sparse && k == 0 ? 0 : rounded(room->rows_max * values_of(net, k)), out = rounded(room->rows_max * values_of(net, k + 1));
			if (round == 1) {
				room->kept_act[k] = at;
				room->kept_delta[k + 1] = at + in;
				at += in + out;
			}
			total += in + out;
		}
		if (round == 0 && (room->kept = mmq_try_aligned(total * sizeof(float))) == NULL)
			return false;
	}
	room->pieces = mmq_array(net->trained_count / PANEL + net->layers + 1, sizeof(*room->pieces));
	for (size_t k = 0; k < net->layers; k++) {
		const struct mmq_mlp_layer *layer = &net->layer[k];
		size_t step = layer->rows == 0 || !is_dense(net, k) ? layer->cols : (PIECE / layer->rows / PANEL + 1) * PANEL;
		for (size_t from = 0; layer->rows > 0 && from < layer->cols; from += step)
			room->pieces[piece++] = (struct piece){ k, from, layer->cols - from < step ? layer->cols : from + step };
		room->partial_at[k] = room->partial_count;
		if (layer->rows > 0 && !is_dense(net, k))
			room->partial_count += layer->b_at - layer->w_at + rounded(layer->cols);
	}
	room->pieces_count = piece;
	room->partial = mmq_try_aligned((room->tiles_max * room->partial_count + 1) * sizeof(float));
	return room->partial != NULL;
}

struct mmq_mlp_room *
mmq_mlp_room_new(const struct mmq_mlp_net *net, size_t rows_max, bool is_sparse, struct mmq_pool *pool)
{
	struct mmq_mlp_room *room = mmq_alloc(sizeof(*room));
	bool is_enough;
	room->net = net;
	room->pool = pool;
	room->threads = mmq_pool_threads(pool);
	room->is_sparse = is_sparse;
	room->has_norm = has_kind(net, MMQ_MLP_BATCH_NORM);
	room->rows_max = rows_at_once(rows_max);
	room->tile_rows = tile_rows_of(net, room->rows_max);
	room->tiles_max = (room->rows_max + room->tile_rows - 1) / room->tile_rows;
	room->tile_loss = mmq_array(room->tiles_max, sizeof(double));
	room->tile_weight = mmq_array(room->tiles_max, sizeof(double));
	room->work = mmq_array(room->threads, sizeof(*room->work));
	is_enough = keep_init(room);
	for (unsigned t = 0; t < room->threads; t++)
		is_enough = work_init(room, &room->work[t]) && is_enough;
	if (!is_enough)
		mmq_mlp_room_destroy(&room);
	return room;
}

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
		mmq_mlp_derive(delta[k + 1], act[k + 1], work->z[k + 1], count * (layer->out_count / channels), channels, layer->activation);
		if (layer->kind == MMQ_MLP_DENSE || layer->kind == MMQ_MLP_CONV) {
			if (layer->kind == MMQ_MLP_CONV)
				mmq_mlp_dense_gradient(layer, act[k], layer->in_count, delta[k + 1], count, partial, 0, layer->cols, 0, layer->rows, true, &here);
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
	if (!room->is_sparse)
		gather(room->rows, room->first + from, count, act[0]);
	for (size_t k = 0; k < net->layers; k++) {
		const struct mmq_mlp_layer *layer = &net->layer[k];
		if (k == 0 && room->is_sparse)
			mmq_mlp_sparse_forward(net, room->rows, room->first + from, count, act[1]);
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
	bool is_weight = layer->kind != MMQ_MLP_BATCH_NORM;
	room->step_with(room->arg, layer->w_at + piece->from * layer->rows, columns * layer->rows, is_weight);
	room->step_with(room->arg, layer->b_at + piece->from, columns, false);
	if (is_weight)
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
	size_t columns = (piece->to - piece->from + PANEL - 1) / PANEL * PANEL;
	unsigned mode = mmq_flush_begin();

	(void)thread;
	if (!room->add)
		memset(gradient + count + piece->from, 0, columns * sizeof(float));
	if (is_dense(room->net, k) && !(room->is_sparse && k == 0)) {
		mmq_mlp_dense_gradient(layer, room->kept_act[k], layer->in_count, room->kept_delta[k + 1], room->count, gradient, piece->from, piece->to, 0,
		    layer->rows, room->add, NULL);
	} else {
		if (!room->add)
			memset(gradient + piece->from * layer->rows, 0, columns * layer->rows * sizeof(float));
		if (is_dense(room->net, k))
			sparse_gradient(room, piece, gradient);
		for (size_t t = 0; !is_dense(room->net, k) && t < tiles; t++)
			mmq_mlp_add_scaled(gradient, room->partial + t * room->partial_count + room->partial_at[k], 1.0f, count + columns);
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
	const struct mmq_mlp_net *net = room->net;
	for (size_t k = 0; k < net->layers && (!room->is_fresh || step_with == NULL); k++)
		if (net->layer[k].kind <= MMQ_MLP_CONV)
			mmq_mlp_refresh(net, &net->layer[k], 0, net->layer[k].cols);
	room->is_fresh = true;
	room->is_training = true;
	room->seed = seed;
	room->step = step;
	room->gradient = gradient;
	room->step_with = step_with;
	room->arg = arg;
	return run_rows(room, rows, first, count, weight_sum_out);
}
