/* room.c: the memory of a minibatch's passes: tiles of rows, pieces of weights, and what is kept between the two rounds (room_pass.c). */
#include "engine/mlp/room.h"

#include <stdlib.h>

#include "util/mem.h"

enum { PANEL = MMQ_DENSE_PANEL, ROWS_AT_ONCE = 1024, ALIGN_FLOATS = 16, PIECE = 16384 };

static size_t
rounded(size_t count)
{
	return (count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
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
		plain += k < net->layers && !is_dense_layer(net, k) && net->layer[k].kind != MMQ_MLP_EMBEDDING;
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
			if (!is_dense_layer(net, k))
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
		size_t step = layer->rows == 0 || !is_dense_layer(net, k) ? layer->cols : (PIECE / layer->rows / PANEL + 1) * PANEL;
		for (size_t from = 0; layer->rows > 0 && from < layer->cols; from += step)
			room->pieces[piece++] = (struct piece){ k, from, layer->cols - from < step ? layer->cols : from + step };
		room->partial_at[k] = room->partial_count;
		if (layer->rows > 0 && !is_dense_layer(net, k))
			room->partial_count += layer->b_at - layer->w_at + rounded(mmq_mlp_biases(layer));
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
