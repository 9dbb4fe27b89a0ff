/* layer_plain.c: layers that are no matrix product: pools, flatten, dropout, batch normalisation.
 *
 * Batch normalisation (Ioffe, Szegedy 2015) in training uses the mean and variance of the tile's rows (and pixels) and moves its running ones by a
 * tenth; the running variance is the unbiased one, as in PyTorch. A tile is then the whole minibatch (room.c). */
#include <math.h>
#include <string.h>

#include "engine/mlp/net.h"
#include "math/cpu.h"
#include "math/rng.h"

static const double epsilon = 1e-5, moved_share = 0.1;

/* Eight channels at a time: the compiler makes of it what the processor has, and every operation rounds by itself: the same bits on every path. */
typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(32)));
enum { LANES = 8 };
#define INLINE static inline __attribute__((always_inline))

/* One window over channels [c, c + LANES): y, or with d: dx += d at the first largest value, or spread evenly. */
INLINE void
window_eight(const struct mmq_mlp_layer *layer, const float *x, float *y, const float *d, float *dx)
{
	size_t row = layer->in[1] * layer->in[2], height = layer->kernel[0], width = layer->kernel[1];
	float share = 1.0f / (float)(height * width);
	bool is_max = layer->kind == MMQ_MLP_MAX_POOL;
	eight out = is_max ? *(const eight *)x : (eight){ 0 };
	mask left = d != NULL ? (mask)*(const eight *)d : (mask){ 0 };
	for (size_t a = 0; a < height; a++)
		for (size_t b = 0; b < width; b++) {
			size_t at = a * row + b * layer->in[2];
			if (d == NULL && is_max) {
				eight value = *(const eight *)(x + at);
				mask larger = value > out;
				out = (eight)((larger & (mask)value) | (~larger & (mask)out));
			} else if (d == NULL) {
				out += share * *(const eight *)(x + at);
			} else if (is_max) {
				mask hit = *(const eight *)(x + at) == *(const eight *)y;
				*(eight *)(dx + at) += (eight)(hit & left);
				left &= ~hit;
			} else {
				*(eight *)(dx + at) += share * *(const eight *)d;
			}
		}
	if (d == NULL)
		*(eight *)y = out;
}

/* The same of one channel. */
INLINE void
window_one(const struct mmq_mlp_layer *layer, const float *x, float *y, const float *d, float *dx)
{
	size_t row = layer->in[1] * layer->in[2], height = layer->kernel[0], width = layer->kernel[1];
	float share = 1.0f / (float)(height * width), left = d != NULL ? *d : 0.0f;
	bool is_max = layer->kind == MMQ_MLP_MAX_POOL;
	float out = is_max ? *x : 0.0f;
	for (size_t a = 0; a < height; a++)
		for (size_t b = 0; b < width; b++) {
			size_t at = a * row + b * layer->in[2];
			if (d == NULL) {
				out = !is_max ? out + share * x[at] : x[at] > out ? x[at] : out;
			} else if (!is_max) {
				dx[at] += share * *d;
			} else if (x[at] == *y) {
				dx[at] += left;
				left = 0.0f;
			}
		}
	if (d == NULL)
		*y = out;
}

/* All windows of one row of values. */
INLINE void
pool_any(const struct mmq_mlp_layer *layer, const float *x, float *y, const float *d, float *dx)
{
	size_t channels = layer->in[2];
	for (size_t i = 0; i < layer->out[0]; i++)
		for (size_t j = 0; j < layer->out[1]; j++) {
			size_t corner = (i * layer->stride[0] * layer->in[1] + j * layer->stride[1]) * channels, at = (i * layer->out[1] + j) * channels, c = 0;
			for (; c + LANES <= channels; c += LANES)
				window_eight(layer, x + corner + c, y + at + c, d != NULL ? d + at + c : NULL, dx != NULL ? dx + corner + c : NULL);
			for (; c < channels; c++)
				window_one(layer, x + corner + c, y + at + c, d != NULL ? d + at + c : NULL, dx != NULL ? dx + corner + c : NULL);
		}
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void
pool_avx2(const struct mmq_mlp_layer *layer, const float *x, float *y, const float *d, float *dx)
{
	if (d == NULL)
		pool_any(layer, x, y, NULL, NULL);
	else
		pool_any(layer, x, y, d, dx);
}
#endif

static void
pool_row(const struct mmq_mlp_layer *layer, const float *x, float *y, const float *d, float *dx)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2()) {
		pool_avx2(layer, x, y, d, dx);
		return;
	}
#endif
	pool_any(layer, x, y, d, dx);
}

/* Kept or dropped, by counter: the same in the forward and the backward pass, whichever thread does it. */
static void
drop_row(const struct mmq_mlp_layer *layer, const float *x, float *y, size_t k, size_t row, const struct mmq_mlp_pass *pass)
{
	uint64_t base = mmq_mix64(mmq_mix64(mmq_mix64(pass->seed ^ 0x64726f70u) ^ pass->step) ^ ((uint64_t)k << 48 ^ (pass->first + row)));
	uint64_t limit = (uint64_t)(layer->rate * 0x1p32);
	float scale = (float)(1.0 / (1.0 - layer->rate));
	for (size_t i = 0; i < layer->in_count; i++)
		y[i] = mmq_mix64(base + i) >> 32 < limit ? 0.0f : scale * x[i];
}

static void
norm_moments(const struct mmq_mlp_net *net, const struct mmq_mlp_layer *layer, const float *x, size_t x_stride, size_t rows, double *moments)
{
	size_t channels = layer->cols, pixels = layer->in_count / channels;
	float *mean_moved = net->params + layer->stats_at, *variance_moved = mean_moved + (channels + 15) / 16 * 16;
	double count = (double)(rows * pixels);
	for (size_t c = 0; c < channels; c++) {
		double sum = 0.0, squares = 0.0;
		for (size_t r = 0; r < rows; r++)
			for (size_t p = 0; p < pixels; p++)
				sum += (double)x[r * x_stride + p * channels + c];
		double mean = sum / count;
		for (size_t r = 0; r < rows; r++)
			for (size_t p = 0; p < pixels; p++) {
				double value = (double)x[r * x_stride + p * channels + c] - mean;
				squares += value * value;
			}
		moments[c] = mean;
		moments[channels + c] = 1.0 / sqrt(squares / count + epsilon);
		mean_moved[c] = (float)((1.0 - moved_share) * (double)mean_moved[c] + moved_share * mean);
		variance_moved[c] = (float)((1.0 - moved_share) * (double)variance_moved[c] + moved_share * squares / (count > 1.0 ? count - 1.0 : 1.0));
	}
}

static void
norm_forward(const struct mmq_mlp_net *net, const struct mmq_mlp_layer *layer, const float *x, size_t x_stride, size_t rows, float *y,
    const struct mmq_mlp_pass *pass)
{
	size_t channels = layer->cols, pixels = layer->in_count / channels;
	const float *scale = net->params + layer->w_at, *shift = net->params + layer->b_at, *mean = net->params + layer->stats_at,
	    *variance = mean + (channels + 15) / 16 * 16;
	if (pass->is_training)
		norm_moments(net, layer, x, x_stride, rows, pass->moments);
	for (size_t c = 0; c < channels; c++) {
		double m = pass->is_training ? pass->moments[c] : (double)mean[c];
		double inverse = pass->is_training ? pass->moments[channels + c] : 1.0 / sqrt((double)variance[c] + epsilon);
		float times = (float)((double)scale[c] * inverse), plus = (float)((double)shift[c] - m * inverse * (double)scale[c]);
		for (size_t r = 0; r < rows; r++)
			for (size_t p = 0; p < pixels; p++)
				y[r * layer->in_count + p * channels + c] = x[r * x_stride + p * channels + c] * times + plus;
	}
}

static void
norm_backward(const struct mmq_mlp_net *net, const struct mmq_mlp_layer *layer, const float *x, const float *d, size_t rows, float *dx, float *gradient,
    const struct mmq_mlp_pass *pass)
{
	size_t channels = layer->cols, pixels = layer->in_count / channels, values = rows * pixels;
	const float *scale = net->params + layer->w_at, *variance = net->params + layer->stats_at + (channels + 15) / 16 * 16;
	for (size_t c = 0; c < channels; c++) {
		if (!pass->is_training) {
			double inverse = 1.0 / sqrt((double)variance[c] + epsilon);
			for (size_t i = 0; i < values; i++)
				dx[i * channels + c] = (float)((double)scale[c] * inverse * (double)d[i * channels + c]);
			continue;
		}
		double mean = pass->moments[c], inverse = pass->moments[channels + c], sum = 0.0, mixed = 0.0;
		for (size_t i = 0; i < values; i++) {
			sum += (double)d[i * channels + c];
			mixed += (double)d[i * channels + c] * ((double)x[i * channels + c] - mean) * inverse;
		}
		gradient[c] += (float)mixed;
		gradient[layer->b_at - layer->w_at + c] += (float)sum;
		for (size_t i = 0; dx != NULL && i < values; i++)
			dx[i * channels + c] = (float)((double)scale[c] * inverse * ((double)d[i * channels + c] - sum / (double)values -
			    ((double)x[i * channels + c] - mean) * inverse * mixed / (double)values));
	}
}

void
mmq_mlp_plain_forward(const struct mmq_mlp_net *net, size_t k, const float *x, size_t x_stride, size_t rows, float *y, const struct mmq_mlp_pass *pass)
{
	const struct mmq_mlp_layer *layer = &net->layer[k];
	if (layer->kind == MMQ_MLP_BATCH_NORM) {
		norm_forward(net, layer, x, x_stride, rows, y, pass);
		return;
	}
	for (size_t r = 0; r < rows; r++) {
		const float *from = x + r * x_stride;
		float *to = y + r * layer->out_count;
		if (layer->kind == MMQ_MLP_DROPOUT && pass->is_training)
			drop_row(layer, from, to, k, r, pass);
		else if (layer->kind == MMQ_MLP_DROPOUT || layer->kind == MMQ_MLP_FLATTEN)
			memcpy(to, from, layer->in_count * sizeof(*to));
		else
			pool_row(layer, from, to, NULL, NULL);
	}
}

void
mmq_mlp_plain_backward(const struct mmq_mlp_net *net, size_t k, const float *x, const float *y, const float *d, size_t rows, float *dx, float *gradient,
    const struct mmq_mlp_pass *pass)
{
	const struct mmq_mlp_layer *layer = &net->layer[k];
	if (layer->kind == MMQ_MLP_BATCH_NORM) {
		norm_backward(net, layer, x, d, rows, dx, gradient, pass);
		return;
	}
	for (size_t r = 0; dx != NULL && r < rows; r++) {
		const float *from = d + r * layer->out_count;
		float *to = dx + r * layer->in_count;
		if (layer->kind == MMQ_MLP_DROPOUT && pass->is_training) {
			drop_row(layer, from, to, k, r, pass);
		} else if (layer->kind == MMQ_MLP_DROPOUT || layer->kind == MMQ_MLP_FLATTEN) {
			memcpy(to, from, layer->in_count * sizeof(*to));
		} else {
			memset(to, 0, layer->in_count * sizeof(*to));
			pool_row(layer, x + r * layer->in_count, (float *)(uintptr_t)(y + r * layer->out_count), from, to);
		}
	}
}
