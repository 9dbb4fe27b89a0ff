/* small.c: full-batch steps of networks so small that overhead is all there is, e.g. the textbook's XOR.
 *
 * Key idea: eight rows are the eight lanes of a vector and every unit one vector of values, so that the whole pass lives in the first level cache and no
 * matrix is needed. Every operation rounds by itself in a fixed order: the same bits on every path. Plain dense layers of up to 16 units with logistic,
 * tanh, relu or identity, half squared error or cross-entropy of one output, up to 64 rows without weights; everything else goes through room.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mlp/net.h"
#include "math/cpu.h"
#include "math/exp.h"
#include "util/mem.h"

enum { LANES = 8, UNITS_MAX = 16, SMALL_LAYERS_MAX = 4, ROWS_MAX = 64, PANEL = MMQ_DENSE_PANEL };

/* Vectors are passed only between functions that are always inlined: how a call would pass them does not matter. */
#pragma GCC diagnostic ignored "-Wpsabi"

typedef float eight __attribute__((vector_size(32)));

struct mmq_mlp_small {
	const struct mmq_mlp_net *net;
	size_t rows, groups;
	eight *values;           /* (groups): act of every layer, delta, target, mask */
	size_t group_values;
};

bool
mmq_mlp_small_fits(const struct mmq_mlp_net *net, const struct mmq_dataset *data, size_t rows, size_t batch_rows, bool has_weights)
{
	bool fits = net->layers <= SMALL_LAYERS_MAX && rows == batch_rows && rows <= ROWS_MAX && !has_weights && data->x.row_start == NULL;
	for (size_t k = 0; k < net->layers; k++)
		fits = fits && net->layer[k].kind == MMQ_MLP_DENSE && net->layer[k].activation <= MMQ_MLP_RELU && net->layer[k].rows <= UNITS_MAX &&
		    net->layer[k].cols <= UNITS_MAX;
	bool is_entropy = net->loss == MMQ_MLP_CROSS_ENTROPY && net->output == MMQ_MLP_LOGISTIC && net->smoothing == 0.0;
	bool is_squared = net->loss == MMQ_MLP_MSE && net->output != MMQ_MLP_SOFTMAX;
	return fits && net->layer[net->layers - 1].cols == 1 && (is_entropy || is_squared);
}

/* Each group: inputs, then every layer's values; then the gradient by them; then target and mask. */
static size_t
units_of(const struct mmq_mlp_net *net)
{
	size_t units = net->layer[0].rows;
	for (size_t k = 0; k < net->layers; k++)
		units += net->layer[k].cols;
	return units;
}

struct mmq_mlp_small *
mmq_mlp_small_new(const struct mmq_mlp_net *net, const struct mmq_mlp_rows *rows, size_t count)
{
	struct mmq_mlp_small *small = mmq_alloc(sizeof(*small));
	size_t units = units_of(net), inputs = net->layer[0].rows;
	*small = (struct mmq_mlp_small){ .net = net, .rows = count, .groups = (count + LANES - 1) / LANES, .group_values = 2 * units + 2 };
	small->values = mmq_aligned(small->groups * small->group_values * sizeof(eight));
	for (size_t r = 0; r < count; r++) {
		size_t row = rows->index != NULL ? rows->index[r] : r, lane = r % LANES;
		eight *group = small->values + r / LANES * small->group_values;
		for (size_t c = 0; c < inputs; c++)
			((float *)&group[c])[lane] = ((const float *)rows->data->x.dense)[row * rows->data->x.stride + c];
		((float *)&group[2 * units])[lane] = (float)rows->data->y[row];
		((float *)&group[2 * units + 1])[lane] = 1.0f;
	}
	return small;
}

void
mmq_mlp_small_destroy(struct mmq_mlp_small **small_p)
{
	if (*small_p != NULL)
		free((*small_p)->values);
	free(*small_p);
	*small_p = NULL;
}

/* Both paths share what follows, by address: eight floats by value would be passed in other ways with and without AVX. */
static inline __attribute__((always_inline)) float
lanes_sum(const eight *v)
{
	float a = (*v)[0] + (*v)[4], b = (*v)[1] + (*v)[5], c = (*v)[2] + (*v)[6], d = (*v)[3] + (*v)[7];
	return (a + c) + (b + d);
}

/* delta *= the activation's derivative where it gave a. */
static inline __attribute__((always_inline)) void
times_derivative(eight *delta, const eight *a, enum mmq_mlp_activation activation)
{
	const eight one = { 1, 1, 1, 1, 1, 1, 1, 1 };
	eight slope = one;
	if (activation == MMQ_MLP_LOGISTIC)
		slope = *a * (one - *a);
	else if (activation == MMQ_MLP_TANH)
		slope = one - *a * *a;
	else if (activation == MMQ_MLP_RELU)
		for (int l = 0; l < LANES; l++)
			slope[l] = (*a)[l] > 0.0f ? 1.0f : 0.0f;
	*delta *= slope;
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,fma")))
#endif
/* The body of both paths; apply(z, activation) is the only call that differs. */
#define PASS(name, attribute, apply)                                                                                                             \
	attribute static double                                                                                                                  \
	name(struct mmq_mlp_small *small, float *gradient)                                                                                       \
	{                                                                                                                                        \
		const struct mmq_mlp_net *net = small->net;                                                                                      \
		const float *params = net->params;                                                                                               \
		size_t units = units_of(net);                                                                                                    \
		double loss = 0.0;                                                                                                               \
		for (size_t g = 0; g < small->groups; g++) {                                                                                     \
			eight *act = small->values + g * small->group_values, *delta = act + units, target = act[2 * units],                     \
			      mask = act[2 * units + 1];                                                                                         \
			size_t at = 0;                                                                                                           \
			for (size_t k = 0; k < net->layers; at += net->layer[k].rows, k++) {                                                     \
				const struct mmq_mlp_layer *layer = &net->layer[k];                                                              \
				const float *w = params + layer->w_at, *b = params + layer->b_at;                                                \
				eight *out = act + at + layer->rows;                                                                             \
				for (size_t j = 0; j < layer->cols; j++) {                                                                       \
					eight z = { b[j], b[j], b[j], b[j], b[j], b[j], b[j], b[j] };                                            \
					for (size_t i = 0; i < layer->rows; i++)                                                                 \
						z += act[at + i] * w[i * PANEL + j];                                                             \
					out[j] = z;                                                                                              \
				}                                                                                                                \
				for (size_t j = 0; k + 1 < net->layers && j < layer->cols; j++)                                                  \
					out[j] = apply(out[j], layer->activation);                                                               \
			}                                                                                                                        \
			eight answer = apply(act[at], net->output);                                                                              \
			loss += output_delta(net, &act[at], &answer, &target, &mask, &delta[at]);                                                \
			for (size_t k = net->layers; k-- > 0;) {                                                                                 \
				const struct mmq_mlp_layer *layer = &net->layer[k];                                                              \
				float *w_sum = gradient + layer->w_at, *b_sum = gradient + layer->b_at;                                          \
				const eight *d = delta + at;                                                                                     \
				at -= layer->rows;                                                                                               \
				for (size_t j = 0; j < layer->cols; j++)                                                                         \
					b_sum[j] = (g > 0 ? b_sum[j] : 0.0f) + lanes_sum(&d[j]);                                                 \
				for (size_t i = 0; i < layer->rows; i++)                                                                         \
					for (size_t j = 0; j < layer->cols; j++) {                                                               \
						eight product = act[at + i] * d[j];                                                              \
						w_sum[i * PANEL + j] = (g > 0 ? w_sum[i * PANEL + j] : 0.0f) + lanes_sum(&product);              \
					}                                                                                                        \
				for (size_t i = 0; k > 0 && i < layer->rows; i++) {                                                              \
					eight sum = { 0 };                                                                                       \
					for (size_t j = 0; j < layer->cols; j++)                                                                 \
						sum += d[j] * params[layer->w_at + i * PANEL + j];                                               \
					times_derivative(&sum, &act[at + i], net->layer[k - 1].activation);                                      \
					delta[at + i] = sum;                                                                                     \
				}                                                                                                                \
			}                                                                                                                        \
		}                                                                                                                                \
		return loss;                                                                                                                     \
	}

/* Loss of the lanes in use, and the gradient by the sums z of the one output; a: after the output's activation. */
static inline __attribute__((always_inline)) double
output_delta(const struct mmq_mlp_net *net, const eight *z, const eight *a, const eight *target, const eight *mask, eight *delta)
{
	eight error = (*a - *target) * *mask;
	*delta = error;
	if (net->loss == MMQ_MLP_MSE) {
		if (net->output == MMQ_MLP_LOGISTIC)
			times_derivative(delta, a, MMQ_MLP_LOGISTIC);
		error *= error;
		return 0.5 * (double)lanes_sum(&error);
	}
	double loss = 0.0;
	for (int l = 0; l < LANES; l++) {
		double value = (double)(*z)[l];
		if ((*mask)[l] != 0.0f)
			loss += (value > 0.0 ? value : 0.0) - value * (double)(*target)[l] + log1p((double)mmq_exp1(-fabsf((*z)[l])));
	}
	return loss;
}

static inline __attribute__((always_inline)) eight
apply_portable(eight z, enum mmq_mlp_activation activation)
{
	for (int l = 0; l < LANES; l++)
		z[l] = activation == MMQ_MLP_LOGISTIC ? mmq_sigmoid1(z[l]) : activation == MMQ_MLP_TANH ? mmq_tanh1(z[l]) :
		    activation == MMQ_MLP_RELU && !(z[l] > 0.0f) ? 0.0f : z[l];
	return z;
}

PASS(pass_portable, , apply_portable)

#if defined(__x86_64__)
AVX2 static inline __attribute__((always_inline)) eight
apply_avx2(eight z, enum mmq_mlp_activation activation)
{
	if (activation == MMQ_MLP_LOGISTIC)
		return (eight)mmq_sigmoid8((__m256)z);
	if (activation == MMQ_MLP_TANH)
		return (eight)mmq_tanh8((__m256)z);
	if (activation == MMQ_MLP_RELU)
		return (eight)_mm256_and_ps((__m256)z, _mm256_cmp_ps((__m256)z, _mm256_setzero_ps(), _CMP_GT_OQ));
	return z;
}

PASS(pass_avx2, AVX2, apply_avx2)
#endif

double
mmq_mlp_small_gradient(struct mmq_mlp_small *small, float *gradient)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2())
		return pass_avx2(small, gradient);
#endif
	return pass_portable(small, gradient);
}
