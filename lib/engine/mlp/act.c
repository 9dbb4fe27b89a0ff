/* act.c: the elementwise passes of a network, fused where it saves a trip through memory. */
#include "engine/mlp/net.h"
#include "math/cpu.h"
#include "math/exp.h"

static inline float
activate_one(float z, enum mmq_mlp_activation activation)
{
	switch (activation) {
	case MMQ_MLP_RELU:
		return z > 0.0f ? z : 0.0f;
	case MMQ_MLP_LOGISTIC:
		return mmq_sigmoid1(z);
	case MMQ_MLP_TANH:
		return mmq_tanh1(z);
	default:
		return z;
	}
}

static inline float
derive_one(float delta, float a, enum mmq_mlp_activation activation)
{
	switch (activation) {
	case MMQ_MLP_RELU:
		return a > 0.0f ? delta : 0.0f;
	case MMQ_MLP_LOGISTIC:
		return delta * (a * (1.0f - a));
	case MMQ_MLP_TANH:
		return delta * (1.0f - a * a);
	default:
		return delta;
	}
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,fma")))

AVX2 static inline __attribute__((always_inline)) void
activate_row(float *z, size_t width, const float *bias, enum mmq_mlp_activation activation)
{
	size_t j = 0;
	for (; j + 8 <= width; j += 8) {
		__m256 v = _mm256_loadu_ps(z + j);
		if (bias != NULL)
			v = _mm256_add_ps(v, _mm256_loadu_ps(bias + j));
		if (activation == MMQ_MLP_RELU)
			v = _mm256_and_ps(v, _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_GT_OQ));
		else if (activation == MMQ_MLP_LOGISTIC)
			v = mmq_sigmoid8(v);
		else if (activation == MMQ_MLP_TANH)
			v = mmq_tanh8(v);
		_mm256_storeu_ps(z + j, v);
	}
	for (; j < width; j++)
		z[j] = activate_one(bias != NULL ? z[j] + bias[j] : z[j], activation);
}

AVX2 static void
activate_avx2(float *z, size_t rows, size_t width, const float *bias, enum mmq_mlp_activation activation)
{
	for (size_t r = 0; r < rows; r++) {
		if (activation == MMQ_MLP_RELU)
			activate_row(z + r * width, width, bias, MMQ_MLP_RELU);
		else if (activation == MMQ_MLP_LOGISTIC)
			activate_row(z + r * width, width, bias, MMQ_MLP_LOGISTIC);
		else if (activation == MMQ_MLP_TANH)
			activate_row(z + r * width, width, bias, MMQ_MLP_TANH);
		else
			activate_row(z + r * width, width, bias, MMQ_MLP_IDENTITY);
	}
}

AVX2 static void
derive_avx2(float *delta, const float *a, size_t count, enum mmq_mlp_activation activation)
{
	const __m256 one = _mm256_set1_ps(1.0f), zero = _mm256_setzero_ps();
	size_t i = 0;
	for (; i + 8 <= count; i += 8) {
		__m256 d = _mm256_loadu_ps(delta + i), v = _mm256_loadu_ps(a + i);
		if (activation == MMQ_MLP_RELU)
			d = _mm256_and_ps(d, _mm256_cmp_ps(v, zero, _CMP_GT_OQ));
		else if (activation == MMQ_MLP_LOGISTIC)
			d = _mm256_mul_ps(d, _mm256_mul_ps(v, _mm256_sub_ps(one, v)));
		else
			d = _mm256_mul_ps(d, _mm256_sub_ps(one, _mm256_mul_ps(v, v)));
		_mm256_storeu_ps(delta + i, d);
	}
	for (; i < count; i++)
		delta[i] = derive_one(delta[i], a[i], activation);
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

void
mmq_mlp_activate(float *z, size_t rows, size_t width, const float *bias, enum mmq_mlp_activation activation)
{
	if (bias == NULL && (activation == MMQ_MLP_IDENTITY || activation == MMQ_MLP_SOFTMAX))
		return;
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2()) {
		activate_avx2(z, rows, width, bias, activation);
		return;
	}
#endif
	for (size_t r = 0; r < rows; r++)
		for (size_t j = 0; j < width; j++)
			z[r * width + j] = activate_one(bias != NULL ? z[r * width + j] + bias[j] : z[r * width + j], activation);
}

void
mmq_mlp_derive(float *delta, const float *a, size_t count, enum mmq_mlp_activation activation)
{
	if (activation == MMQ_MLP_IDENTITY || activation == MMQ_MLP_SOFTMAX)
		return;
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2()) {
		derive_avx2(delta, a, count, activation);
		return;
	}
#endif
	for (size_t i = 0; i < count; i++)
		delta[i] = derive_one(delta[i], a[i], activation);
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

void
mmq_mlp_add_columns(float *sums, const float *delta, size_t rows, size_t width)
{
	for (size_t r = 0; r < rows; r++)
		mmq_mlp_add_scaled(sums, delta + r * width, 1.0f, width);
}
