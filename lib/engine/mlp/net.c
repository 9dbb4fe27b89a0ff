/* net.c: forward and backward pass of a tile of rows through BLAS; sparse rows go through the first layer entry by entry. */
#include "engine/mlp/net.h"

#include <stdlib.h>
#include <string.h>

#include "math/blas.h"
#include "util/mem.h"

enum { ALIGN_FLOATS = 16 };

static size_t
aligned_count(size_t count)
{
	return (count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

int
mmq_mlp_shape(struct mmq_mlp_net *net, struct mmq_err *err)
{
	size_t at = 0, product;
	net->width_max = net->widths[0];
	for (size_t k = 0; k < net->layers; k++) {
		size_t in = net->widths[k], out = net->widths[k + 1];
		if (!mmq_blas_fits(in) || !mmq_blas_fits(out) || !mmq_size_mul(in, out, &product) || product > SIZE_MAX / 256 - at)
			return mmq_err_value(err, MMQ_RESOURCE_EXHAUSTED, "params.hidden_layer_sizes", "a network that fits in memory",
			    "a layer of %zu x %zu", in, out);
		net->w_at[k] = at;
		net->b_at[k] = at + product;
		at += product + out;
		net->width_max = out > net->width_max ? out : net->width_max;
	}
	net->params_count = at;
	return 0;
}

bool
mmq_mlp_work_new(struct mmq_mlp_work *work, const struct mmq_mlp_net *net, bool is_sparse)
{
	size_t total = 0, delta_max = 0;
	for (size_t k = 0; k <= net->layers; k++) {
		total += k == 0 && is_sparse ? 0 : aligned_count(MMQ_MLP_TILE * net->widths[k]);
		delta_max = k > 0 && net->widths[k] > delta_max ? net->widths[k] : delta_max;
	}
	delta_max = aligned_count(MMQ_MLP_TILE * delta_max);
	*work = (struct mmq_mlp_work){ .memory = mmq_try_aligned((total + 2 * delta_max) * sizeof(float)) };
	if (work->memory == NULL)
		return false;
	float *at = work->memory;
	for (size_t k = 0; k <= net->layers; k++) {
		work->act[k] = at;
		at += k == 0 && is_sparse ? 0 : aligned_count(MMQ_MLP_TILE * net->widths[k]);
	}
	work->delta[0] = at;
	work->delta[1] = at + delta_max;
	return true;
}

void
mmq_mlp_work_fini(struct mmq_mlp_work *work)
{
	free(work->memory);
	*work = (struct mmq_mlp_work){ 0 };
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

/* out (count, width) = sparse rows times w (cols, width). */
static void
sparse_forward(const struct mmq_mlp_rows *rows, size_t first, size_t count, const float *w, size_t width, float *out)
{
	const struct mmq_batch *x = &rows->data->x;
	memset(out, 0, count * width * sizeof(*out));
	for (size_t i = 0; i < count; i++) {
		size_t row = row_of(rows, first + i);
		for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++)
			mmq_mlp_add_scaled(out + i * width, w + x->col[e] * width, ((const float *)x->value)[e], width);
	}
}

static void
sparse_backward(const struct mmq_mlp_rows *rows, size_t first, size_t count, const float *delta, size_t width, float *gradient)
{
	const struct mmq_batch *x = &rows->data->x;
	for (size_t i = 0; i < count; i++) {
		size_t row = row_of(rows, first + i);
		for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++)
			mmq_mlp_add_scaled(gradient + x->col[e] * width, delta + i * width, ((const float *)x->value)[e], width);
	}
}

double
mmq_mlp_tile(const struct mmq_mlp_net *net, const struct mmq_mlp_rows *rows, size_t first, size_t count, struct mmq_mlp_work *work,
    float *gradient, double *weight_sum_out)
{
	bool is_sparse = rows->data->x.row_start != NULL;
	float *delta = work->delta[0], *below = work->delta[1];

	if (!is_sparse)
		gather(rows, first, count, work->act[0]);
	for (size_t k = 0; k < net->layers; k++) {
		size_t in = net->widths[k], out = net->widths[k + 1];
		const float *w = net->params + net->w_at[k];
		if (k == 0 && is_sparse)
			sparse_forward(rows, first, count, w, out, work->act[1]);
		else
			mmq_sgemm(false, false, count, out, in, 1.0f, work->act[k], in, w, out, 0.0f, work->act[k + 1], out);
		mmq_mlp_activate(work->act[k + 1], count, out, net->params + net->b_at[k], k + 1 < net->layers ? net->hidden : MMQ_MLP_IDENTITY);
	}
	double loss = mmq_mlp_loss(net, work->act[net->layers], rows, first, count, delta, weight_sum_out);
	for (size_t k = net->layers; gradient != NULL && k-- > 0;) {
		size_t in = net->widths[k], out = net->widths[k + 1];
		mmq_mlp_add_columns(gradient + net->b_at[k], delta, count, out);
		if (k == 0 && is_sparse) {
			sparse_backward(rows, first, count, delta, out, gradient + net->w_at[0]);
			break;
		}
		mmq_sgemm(true, false, in, out, count, 1.0f, work->act[k], in, delta, out, 1.0f, gradient + net->w_at[k], out);
		if (k == 0)
			break;
		mmq_sgemm(false, true, count, in, out, 1.0f, delta, out, net->params + net->w_at[k], out, 0.0f, below, in);
		mmq_mlp_derive(below, work->act[k], count * in, net->hidden);
		float *swap = delta;
		delta = below;
		below = swap;
	}
	return loss;
}
