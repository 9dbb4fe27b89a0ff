/* act.c: activations and their derivatives over arrays.
 *
 * gelu is the exact one, x times the normal distribution's probability below x, with erf from Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7).
 * Everything goes through the array kernels of math/exp.h and plain loops without contraction: the same bits on every path. */
#include <math.h>
#include <string.h>

#include "engine/mlp/net.h"
#include "math/cpu.h"
#include "math/exp.h"

enum { CHUNK = 64 };
static const float leak = 0.01f;

bool
mmq_mlp_keeps_z(enum mmq_mlp_activation activation)
{
	return activation == MMQ_MLP_GELU || activation == MMQ_MLP_SILU;
}

/* cdf (count <= CHUNK) = probability of a standard normal below x; density = its density at x. */
static void
normal_of(const float *x, size_t count, float *cdf, float *density)
{
	float power[CHUNK];
	for (size_t i = 0; i < count; i++)
		power[i] = -0.5f * x[i] * x[i];
	mmq_exp_f32(power, power, count);
	for (size_t i = 0; i < count; i++) {
		float t = 1.0f / (1.0f + 0.3275911f * 0.70710678f * fabsf(x[i]));
		float tail = 0.5f * t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f)))) * power[i];
		cdf[i] = x[i] < 0.0f ? tail : 1.0f - tail;
		density[i] = 0.39894228f * power[i];
	}
}

static void
activate_chunk(float *z, size_t count, enum mmq_mlp_activation activation)
{
	float a[CHUNK], b[CHUNK];
	if (activation == MMQ_MLP_GELU)
		normal_of(z, count, a, b);
	else
		mmq_sigmoid_f32(a, z, count);
	for (size_t i = 0; i < count; i++)
		z[i] *= a[i];
}

static void
derive_chunk(float *delta, const float *z, size_t count, enum mmq_mlp_activation activation)
{
	float a[CHUNK], b[CHUNK];
	if (activation == MMQ_MLP_GELU) {
		normal_of(z, count, a, b);
	} else {
		mmq_sigmoid_f32(a, z, count);
		for (size_t i = 0; i < count; i++)
			b[i] = a[i] * (1.0f - a[i]);
	}
	for (size_t i = 0; i < count; i++)
		delta[i] *= a[i] + z[i] * b[i];
}

static void
softmax_row(float *z, size_t width)
{
	float top = z[0];
	double sum = 0.0;
	for (size_t i = 1; i < width; i++)
		top = z[i] > top ? z[i] : top;
	for (size_t i = 0; i < width; i++)
		z[i] -= top;
	mmq_exp_f32(z, z, width);
	for (size_t i = 0; i < width; i++)
		sum += (double)z[i];
	for (size_t i = 0; i < width; i++)
		z[i] = (float)((double)z[i] / sum);
}

void
mmq_mlp_activate(float *z, size_t rows, size_t width, enum mmq_mlp_activation activation)
{
	size_t count = rows * width;
	switch (activation) {
	case MMQ_MLP_RELU:
		for (size_t i = 0; i < count; i++)
			z[i] = z[i] > 0.0f ? z[i] : 0.0f;
		break;
	case MMQ_MLP_LEAKY_RELU:
		for (size_t i = 0; i < count; i++)
			z[i] = z[i] > 0.0f ? z[i] : leak * z[i];
		break;
	case MMQ_MLP_LOGISTIC:
		mmq_sigmoid_f32(z, z, count);
		break;
	case MMQ_MLP_TANH:
		mmq_tanh_f32(z, z, count);
		break;
	case MMQ_MLP_GELU:
	case MMQ_MLP_SILU:
		for (size_t i = 0; i < count; i += CHUNK)
			activate_chunk(z + i, count - i < CHUNK ? count - i : CHUNK, activation);
		break;
	case MMQ_MLP_SOFTMAX:
		for (size_t r = 0; r < rows; r++)
			softmax_row(z + r * width, width);
		break;
	default:
		break;
	}
}

/* Eight floats as one value: the compiler makes of it what the processor has; every operation rounds by itself, so the bits are the same. */
typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(32)));

static inline __attribute__((always_inline)) void
derive_by_value(float *delta, const float *a, size_t count, enum mmq_mlp_activation activation)
{
	size_t i = 0;
	for (; i + 8 <= count; i += 8) {
		eight d = *(const eight *)(delta + i), v = *(const eight *)(a + i);
		if (activation == MMQ_MLP_RELU)
			d = (eight)((mask)d & (v > 0.0f));
		else if (activation == MMQ_MLP_LOGISTIC)
			d = d * (v * (1.0f - v));
		else
			d = d * (1.0f - v * v);
		*(eight *)(delta + i) = d;
	}
	for (; i < count; i++)
		delta[i] = activation == MMQ_MLP_RELU ? (a[i] > 0.0f ? delta[i] : 0.0f) : activation == MMQ_MLP_LOGISTIC ? delta[i] * (a[i] * (1.0f - a[i])) :
		    delta[i] * (1.0f - a[i] * a[i]);
}

static inline __attribute__((always_inline)) void
derive_any(float *delta, const float *a, size_t count, enum mmq_mlp_activation activation)
{
	if (activation == MMQ_MLP_RELU)
		derive_by_value(delta, a, count, MMQ_MLP_RELU);
	else if (activation == MMQ_MLP_LOGISTIC)
		derive_by_value(delta, a, count, MMQ_MLP_LOGISTIC);
	else
		derive_by_value(delta, a, count, MMQ_MLP_TANH);
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,fma")))

AVX2 static void
derive_avx2(float *delta, const float *a, size_t count, enum mmq_mlp_activation activation)
{
	derive_any(delta, a, count, activation);
}

AVX2 static void
add_scaled_avx2(float *y, const float *x, float scale, size_t count)
{
	const __m256 s = _mm256_set1_ps(scale);
	size_t i = 0;
	for (; i + 8 <= count; i += 8)
		_mm256_storeu_ps(y + i, _mm256_fmadd_ps(s, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
	for (; i < count; i++)
		y[i] = fmaf(scale, x[i], y[i]);
}
#endif

static void
derive_softmax(float *delta, const float *a, size_t rows, size_t width)
{
	for (size_t r = 0; r < rows; r++, delta += width, a += width) {
		double mixed = 0.0;
		for (size_t i = 0; i < width; i++)
			mixed += (double)delta[i] * (double)a[i];
		for (size_t i = 0; i < width; i++)
			delta[i] = (float)((double)a[i] * ((double)delta[i] - mixed));
	}
}

void
mmq_mlp_derive(float *delta, const float *a, const float *z, size_t rows, size_t width, enum mmq_mlp_activation activation)
{
	size_t count = rows * width;
	if (activation == MMQ_MLP_SOFTMAX) {
		derive_softmax(delta, a, rows, width);
	} else if (activation == MMQ_MLP_LEAKY_RELU) {
		for (size_t i = 0; i < count; i++)
			delta[i] = a[i] > 0.0f ? delta[i] : leak * delta[i];
	} else if (mmq_mlp_keeps_z(activation)) {
		for (size_t i = 0; i < count; i += CHUNK)
			derive_chunk(delta + i, z + i, count - i < CHUNK ? count - i : CHUNK, activation);
	} else if (activation != MMQ_MLP_IDENTITY) {
#if defined(__x86_64__)
		if (mmq_cpu_has_avx2()) {
			derive_avx2(delta, a, count, activation);
			return;
		}
#endif
		derive_any(delta, a, count, activation);
	}
}

void
mmq_mlp_add_scaled(float *y, const float *x, float scale, size_t count)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2()) {
		add_scaled_avx2(y, x, scale, count);
		return;
	}
#endif
	for (size_t i = 0; i < count; i++)
		y[i] = fmaf(scale, x[i], y[i]);
}
