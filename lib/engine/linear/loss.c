/* loss.c: the losses of one output over a block of rows: value, first and second derivative in the score.
 *
 * The log loss takes one exp a row; where all weights are 1 the logarithms of a block, each of a number up to 2, are taken of their product. */
#include <math.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "math/cpu.h"
#include "math/exp.h"

enum { LANES = 4 };

static double
log_portable(const double *target, const float *weight, size_t count, double *z, double *curvature)
{
	double loss = 0.0, product = 1.0;
	for (size_t i = 0; i < count; i++) {
		double margin = target[i] * z[i], s = mmq_linear_weight(weight, i), small = exp(-fabs(margin)), share = 1.0 / (1.0 + small);
		loss += margin < 0.0 ? -s * margin : 0.0;
		if (weight == NULL)
			product *= 1.0 + small;
		else
			loss += s * log1p(small);
		z[i] = -s * target[i] * (margin < 0.0 ? share : small * share);
		if (curvature != NULL)
			curvature[i] = s * small * share * share;
	}
	return loss + log(product);
}

#if defined(__x86_64__)
/* weight may be NULL; weights of 1 give the same derivatives. */
__attribute__((target("avx2,fma"))) static double
log_avx2(const double *target, const float *weight, size_t count, double *z, double *curvature)
{
	const __m256d sign = _mm256_set1_pd(-0.0), one = _mm256_set1_pd(1.0), zero = _mm256_setzero_pd();
	__m256d loss = zero, product = one, s = one;
	double losses[LANES], lanes[LANES], total;
	size_t i = count - count % LANES;
	total = log_portable(target + i, weight == NULL ? NULL : weight + i, count - i, z + i, curvature == NULL ? NULL : curvature + i);
	for (i = 0; i + LANES <= count; i += LANES) {
		__m256d t = _mm256_loadu_pd(target + i), margin = _mm256_mul_pd(t, _mm256_loadu_pd(z + i));
		__m256d small = mmq_exp4_f64(_mm256_or_pd(margin, sign)), sum = _mm256_add_pd(one, small), share = _mm256_div_pd(one, sum);
		__m256d other = _mm256_mul_pd(small, share), slope = _mm256_mul_pd(t, _mm256_blendv_pd(other, share, margin)), bend = _mm256_mul_pd(other, share);
		if (weight == NULL) {
			product = _mm256_mul_pd(product, sum);
		} else {
			s = _mm256_cvtps_pd(_mm_loadu_ps(weight + i));
			_mm256_storeu_pd(lanes, small);
			for (size_t k = 0; k < LANES; k++)
				total += (double)weight[i + k] * log1p(lanes[k]);
		}
		loss = _mm256_fnmadd_pd(s, _mm256_min_pd(margin, zero), loss);
		_mm256_storeu_pd(z + i, _mm256_xor_pd(sign, _mm256_mul_pd(s, slope)));
		if (curvature != NULL)
			_mm256_storeu_pd(curvature + i, _mm256_mul_pd(s, bend));
	}
	_mm256_storeu_pd(losses, loss);
	_mm256_storeu_pd(lanes, product);
	for (size_t k = 0; k < LANES; k++)
		total += losses[k] + log(lanes[k]);
	return total;
}
#endif

static double
log_block(const double *target, const float *weight, size_t count, double *z, double *curvature)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2())
		return log_avx2(target, weight, count, z, curvature);
#endif
	return log_portable(target, weight, count, z, curvature);
}

/* max(0, |z - t| - epsilon) with the sign of z - t, and max(0, 1 - t z) as the same: the excess is what is squared or added up. */
static inline double
excess_of(const struct mmq_linear_problem *p, double t, double z)
{
	if (p->loss == MMQ_LOSS_SQUARED_HINGE || p->loss == MMQ_LOSS_HINGE)
		return t * z < 1.0 ? z - t : 0.0;    /* t is 1 or -1: t (z - t) = t z - 1 */
	double far = z - t;
	return far > p->epsilon ? far - p->epsilon : far < -p->epsilon ? far + p->epsilon : 0.0;
}

/* mu log(1 + exp(v / mu)), and in *slope its derivative. */
static inline double
soft_part(double v, double mu, double *slope)
{
	double small = exp(-fabs(v) / mu);
	*slope = (v > 0.0 ? 1.0 : small) / (1.0 + small);
	return (v > 0.0 ? v : 0.0) + mu * log1p(small);
}

/* The losses of smooth.c: hinge, or the two sides of the epsilon loss. */
static double
smoothed_block(const struct mmq_linear_problem *p, const double *target, const float *weight, size_t count, double *z, double *curvature)
{
	double loss = 0.0, mu = p->smoothing;
	for (size_t i = 0; i < count; i++) {
		double s = mmq_linear_weight(weight, i), t = target[i], right, left = 0.0;
		if (p->loss == MMQ_LOSS_HINGE) {
			loss += s * soft_part(1.0 - t * z[i], mu, &right);
			z[i] = -s * t * right;
		} else {
			loss += s * (soft_part(z[i] - t - p->epsilon, mu, &right) + soft_part(t - z[i] - p->epsilon, mu, &left));
			z[i] = s * (right - left);
		}
		if (curvature != NULL)
			curvature[i] = s / mu * (right * (1.0 - right) + left * (1.0 - left));
	}
	return loss;
}

double
mmq_linear_loss_block(const struct mmq_linear_problem *p, size_t first, size_t count, double *z, double *curvature)
{
	const double *target = p->target + first;
	const float *weight = p->weight == NULL ? NULL : p->weight + first;
	double loss = 0.0;
	if (p->loss == MMQ_LOSS_LOG)
		return log_block(target, weight, count, z, curvature);
	if (p->loss >= MMQ_LOSS_HINGE)
		return smoothed_block(p, target, weight, count, z, curvature);
	bool is_square = p->loss == MMQ_LOSS_SQUARED;
	double factor = is_square ? 1.0 : 2.0;
	for (size_t i = 0; i < count; i++) {
		double s = mmq_linear_weight(weight, i) * factor, excess = is_square ? z[i] - target[i] : excess_of(p, target[i], z[i]);
		loss += 0.5 * s * excess * excess;
		z[i] = s * excess;
		if (curvature != NULL)
			curvature[i] = excess != 0.0 || is_square ? s : 0.0;
	}
	return loss;
}

double
mmq_linear_loss_value(const struct mmq_linear_problem *p, size_t first, size_t count, const double *z)
{
	double copy[MMQ_LINEAR_BLOCK], loss = 0.0;
	for (size_t at = 0, some; at < count; at += some) {
		some = count - at < MMQ_LINEAR_BLOCK ? count - at : MMQ_LINEAR_BLOCK;
		if (p->loss < MMQ_LOSS_HINGE) {
			memcpy(copy, z + at, some * sizeof(*copy));
			loss += mmq_linear_loss_block(p, first + at, some, copy, NULL);
			continue;
		}
		for (size_t i = 0; i < some; i++)
			loss += mmq_linear_weight(p->weight, first + at + i) * fabs(excess_of(p, p->target[first + at + i], z[at + i]));
	}
	return loss;
}
