/* step.c: one fused pass over parameters, moments and gradient per optimiser step.
 *
 * Adam: Kingma and Ba 2015, algorithm 1, with both bias corrections folded into the rate. SGD with momentum and Nesterov's variant
 * as scikit-learn writes it. AdamW: Loshchilov and Hutter 2019, algorithm 2. Only add, multiply, divide and square root: the vector path gives the portable bits. */
#include <math.h>

#include "engine/mlp/net.h"
#include "math/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

struct coefficients {
	float rate, momentum, b1, b2, c1, c2, epsilon, scale, decay, keep;   /* keep: share of w that decoupled decay leaves */
};

static inline void
adam_one(const struct coefficients *c, float *w, float *m, float *v, float sum)
{
	float g = c->scale * sum + c->decay * *w;
	*m = c->b1 * *m + c->c1 * g;
	*v = c->b2 * *v + c->c2 * (g * g);
	*w = c->keep * *w - c->rate * *m / (sqrtf(*v) + c->epsilon);
}

static inline void
sgd_one(const struct coefficients *c, float *w, float *velocity, float sum, bool nesterov)
{
	float g = c->scale * sum + c->decay * *w;
	*velocity = c->momentum * *velocity - c->rate * g;
	*w = *w + (nesterov ? c->momentum * *velocity - c->rate * g : *velocity);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static size_t
adam_avx2(const struct coefficients *c, float *w, float *m, float *v, const float *sum, size_t count)
{
	const __m256 rate = _mm256_set1_ps(c->rate), b1 = _mm256_set1_ps(c->b1), b2 = _mm256_set1_ps(c->b2), c1 = _mm256_set1_ps(c->c1),
	    c2 = _mm256_set1_ps(c->c2), epsilon = _mm256_set1_ps(c->epsilon), scale = _mm256_set1_ps(c->scale), keep = _mm256_set1_ps(c->keep),
	    decay = _mm256_set1_ps(c->decay);
	size_t i = 0;
	for (; i + 8 <= count; i += 8) {
		__m256 x = _mm256_loadu_ps(w + i);
		__m256 g = _mm256_add_ps(_mm256_mul_ps(scale, _mm256_loadu_ps(sum + i)), _mm256_mul_ps(decay, x));
		__m256 first = _mm256_add_ps(_mm256_mul_ps(b1, _mm256_loadu_ps(m + i)), _mm256_mul_ps(c1, g));
		__m256 second = _mm256_add_ps(_mm256_mul_ps(b2, _mm256_loadu_ps(v + i)), _mm256_mul_ps(c2, _mm256_mul_ps(g, g)));
		__m256 move = _mm256_div_ps(_mm256_mul_ps(rate, first), _mm256_add_ps(_mm256_sqrt_ps(second), epsilon));
		_mm256_storeu_ps(m + i, first);
		_mm256_storeu_ps(v + i, second);
		_mm256_storeu_ps(w + i, _mm256_sub_ps(_mm256_mul_ps(keep, x), move));
	}
	return i;
}

__attribute__((target("avx2"))) static size_t
sgd_avx2(const struct coefficients *c, float *w, float *velocity, const float *sum, size_t count, bool nesterov)
{
	const __m256 rate = _mm256_set1_ps(c->rate), momentum = _mm256_set1_ps(c->momentum), scale = _mm256_set1_ps(c->scale),
	    decay = _mm256_set1_ps(c->decay);
	size_t i = 0;
	for (; i + 8 <= count; i += 8) {
		__m256 x = _mm256_loadu_ps(w + i);
		__m256 g = _mm256_add_ps(_mm256_mul_ps(scale, _mm256_loadu_ps(sum + i)), _mm256_mul_ps(decay, x));
		__m256 step = _mm256_mul_ps(rate, g), v = _mm256_sub_ps(_mm256_mul_ps(momentum, _mm256_loadu_ps(velocity + i)), step);
		_mm256_storeu_ps(velocity + i, v);
		_mm256_storeu_ps(w + i, _mm256_add_ps(x, nesterov ? _mm256_sub_ps(_mm256_mul_ps(momentum, v), step) : v));
	}
	return i;
}
#endif

void
mmq_mlp_update(const struct mmq_mlp_step *step, float *params, float *first, float *second, const float *gradient, size_t count,
    bool is_decayed)
{
	const struct coefficients c = { (float)step->rate, (float)step->momentum, (float)step->beta_1, (float)step->beta_2,
		(float)(1.0 - step->beta_1), (float)(1.0 - step->beta_2), (float)step->epsilon, (float)step->scale,
		is_decayed && !step->is_decoupled ? (float)step->decay : 0.0f,
		is_decayed && step->is_decoupled ? (float)(1.0 - step->decay) : 1.0f };
	size_t i = 0;
	if (!step->is_adam) {
#if defined(__x86_64__)
		if (mmq_cpu_has_avx2())
			i = sgd_avx2(&c, params, first, gradient, count, step->nesterov);
#endif
		for (; i < count; i++)
			sgd_one(&c, params + i, first + i, gradient[i], step->nesterov);
		return;
	}
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2())
		i = adam_avx2(&c, params, first, second, gradient, count);
#endif
	for (; i < count; i++)
		adam_one(&c, params + i, first + i, second + i, gradient[i]);
}
