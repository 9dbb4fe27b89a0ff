/* local.c: second-order SMO on a working set, two fused passes per step.
 *
 * Pass A applies the last step to f and finds the lowest f that may grow; pass B finds the highest f that may fall and the partner with
 * the largest gain. The lowest index wins a tie, in the AVX2 and in the portable version, so that both give the same bits. */
#include "engine/svm/local.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/cpu.h"
#include "util/mem.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define CURVATURE_MIN 1e-12f

struct found {
	float value;         /* of the pass's measure */
	uint32_t index;      /* UINT32_MAX: none */
};

void
svm_local_init(struct svm_local *local, size_t size_max)
{
	size_t stride = (size_max + 7) / 8 * 8;
	*local = (struct svm_local){ .stride = stride, .split = stride };
	local->kernel = mmq_aligned(stride * stride * sizeof(float));
	local->self = mmq_aligned(stride * sizeof(float));
	local->f = mmq_aligned(stride * sizeof(float));
	local->block_up = mmq_aligned(stride * sizeof(float));
	local->block_low = mmq_aligned(stride * sizeof(float));
	local->room_up = mmq_array(stride, sizeof(double));
	local->room_low = mmq_array(stride, sizeof(double));
	local->moved = mmq_array(stride, sizeof(double));
	memset(local->kernel, 0, stride * stride * sizeof(float));
	memset(local->self, 0, stride * sizeof(float));
	memset(local->f, 0, stride * sizeof(float));
	for (size_t i = 0; i < stride; i++) {
		local->block_up[i] = INFINITY;
		local->block_low[i] = -INFINITY;
	}
}

void
svm_local_fini(struct svm_local *local)
{
	free(local->kernel);
	free(local->self);
	free(local->f);
	free(local->block_up);
	free(local->block_low);
	free(local->room_up);
	free(local->room_low);
	free(local->moved);
	*local = (struct svm_local){ 0 };
}

/* f += step (K_i - K_j); the lowest f that may grow. */
static struct found
pass_a_portable(struct svm_local *local, size_t from, size_t to, float step, const float *row_i, const float *row_j)
{
	struct found best = { INFINITY, UINT32_MAX };
	for (size_t k = from; k < to; k++) {
		float f = fmaf(step, row_i[k] - row_j[k], local->f[k]), value = f + local->block_up[k];
		local->f[k] = f;
		if (value < best.value)
			best = (struct found){ value, (uint32_t)k };
	}
	return best;
}

/* The partner of i with the largest gain, and the highest f that may fall. */
static struct found
pass_b_portable(const struct svm_local *local, size_t from, size_t to, float f_i, float self_i, const float *row_i, float *highest_out)
{
	struct found best = { 0, UINT32_MAX };
	float highest = -INFINITY;
	for (size_t k = from; k < to; k++) {
		float f = local->f[k] + local->block_low[k], distance = f - f_i;
		float curvature = fmaf(-2.0f, row_i[k], self_i + local->self[k]);
		highest = f > highest ? f : highest;
		distance = distance > 0 ? distance : 0;
		float gain = distance * distance / (curvature > CURVATURE_MIN ? curvature : CURVATURE_MIN);
		if (gain > best.value)
			best = (struct found){ gain, (uint32_t)k };
	}
	*highest_out = highest;
	return best;
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,fma")))

AVX2 static inline __m256i
first_index(size_t from)
{
	return _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32((int)from));
}

AVX2 static struct found
pass_a_avx2(struct svm_local *local, size_t from, size_t to, float step, const float *row_i, const float *row_j)
{
	const __m256 s = _mm256_set1_ps(step);
	__m256 best = _mm256_set1_ps(INFINITY);
	__m256i where = _mm256_set1_epi32(-1), index = first_index(from);
	for (size_t k = from; k < to; k += 8) {
		__m256 f = _mm256_fmadd_ps(s, _mm256_sub_ps(_mm256_load_ps(row_i + k), _mm256_load_ps(row_j + k)), _mm256_load_ps(local->f + k));
		_mm256_store_ps(local->f + k, f);
		f = _mm256_add_ps(f, _mm256_load_ps(local->block_up + k));
		__m256 better = _mm256_cmp_ps(f, best, _CMP_LT_OQ);
		best = _mm256_blendv_ps(best, f, better);
		where = _mm256_blendv_epi8(where, index, _mm256_castps_si256(better));
		index = _mm256_add_epi32(index, _mm256_set1_epi32(8));
	}
	float values[8];
	uint32_t indices[8];
	struct found found = { INFINITY, UINT32_MAX };
	_mm256_storeu_ps(values, best);
	_mm256_storeu_si256((__m256i *)indices, where);
	for (size_t k = 0; k < 8; k++)
		if (values[k] < found.value || (values[k] == found.value && indices[k] < found.index))
			found = (struct found){ values[k], indices[k] };
	return found;
}

AVX2 static struct found
pass_b_avx2(const struct svm_local *local, size_t from, size_t to, float f_i, float self_i, const float *row_i, float *highest_out)
{
	const __m256 fi = _mm256_set1_ps(f_i), si = _mm256_set1_ps(self_i), minus_two = _mm256_set1_ps(-2.0f), tau = _mm256_set1_ps(CURVATURE_MIN);
	__m256 best = _mm256_setzero_ps(), highest = _mm256_set1_ps(-INFINITY);
	__m256i where = _mm256_set1_epi32(-1), index = first_index(from);
	for (size_t k = from; k < to; k += 8) {
		__m256 f = _mm256_add_ps(_mm256_load_ps(local->f + k), _mm256_load_ps(local->block_low + k));
		__m256 distance = _mm256_max_ps(_mm256_sub_ps(f, fi), _mm256_setzero_ps());
		__m256 curvature = _mm256_fmadd_ps(minus_two, _mm256_load_ps(row_i + k), _mm256_add_ps(si, _mm256_load_ps(local->self + k)));
		highest = _mm256_max_ps(f, highest);
		__m256 gain = _mm256_div_ps(_mm256_mul_ps(distance, distance), _mm256_max_ps(curvature, tau));
		__m256 better = _mm256_cmp_ps(gain, best, _CMP_GT_OQ);
		best = _mm256_blendv_ps(best, gain, better);
		where = _mm256_blendv_epi8(where, index, _mm256_castps_si256(better));
		index = _mm256_add_epi32(index, _mm256_set1_epi32(8));
	}
	float values[8], tops[8];
	uint32_t indices[8];
	struct found found = { 0, UINT32_MAX };
	_mm256_storeu_ps(values, best);
	_mm256_storeu_ps(tops, highest);
	_mm256_storeu_si256((__m256i *)indices, where);
	*highest_out = -INFINITY;
	for (size_t k = 0; k < 8; k++) {
		if (values[k] > found.value || (values[k] == found.value && indices[k] < found.index))
			found = (struct found){ values[k], indices[k] };
		*highest_out = tops[k] > *highest_out ? tops[k] : *highest_out;
	}
	return found;
}
#endif

static struct found
pass_a(struct svm_local *local, size_t from, size_t to, float step, const float *row_i, const float *row_j)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2())
		return pass_a_avx2(local, from, to, step, row_i, row_j);
#endif
	return pass_a_portable(local, from, to, step, row_i, row_j);
}

static struct found
pass_b(const struct svm_local *local, size_t from, size_t to, float f_i, float self_i, const float *row_i, float *highest_out)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2())
		return pass_b_avx2(local, from, to, f_i, self_i, row_i, highest_out);
#endif
	return pass_b_portable(local, from, to, f_i, self_i, row_i, highest_out);
}

/* y a of a member moves by step; room that is used up is exactly 0. */
static void
move(struct svm_local *local, size_t k, double step)
{
	local->moved[k] += step;
	local->room_up[k] -= step;
	local->room_low[k] += step;
	local->block_up[k] = local->room_up[k] > 0 ? 0 : INFINITY;
	local->block_low[k] = local->room_low[k] > 0 ? 0 : -INFINITY;
}

/* The best step of one group after the last one. Returns its gain, 0: none; gap_out: the group's violation. */
static float
choose_pair(struct svm_local *local, size_t from, size_t to, float step, const float *row_i, const float *row_j, struct found pair[2], double *gap_out)
{
	float highest;

	*gap_out = 0;
	pair[0] = pass_a(local, from, to, step, row_i, row_j);
	if (pair[0].index == UINT32_MAX)
		return 0;
	const float *kernel = local->kernel + (size_t)pair[0].index * local->stride;
	pair[1] = pass_b(local, from, to, pair[0].value, local->self[pair[0].index], kernel, &highest);
	if (pair[1].index == UINT32_MAX)
		return 0;
	*gap_out = (double)highest - (double)pair[0].value;
	return pair[1].value;
}

int64_t
svm_local_solve(struct svm_local *local, double tol, int64_t iterations_max)
{
	const float *row_i = local->kernel, *row_j = local->kernel;
	float step_float = 0;
	int64_t done = 0;

	for (; done < iterations_max; done++) {
		struct found pair[2], other[2];
		double gap, other_gap = 0;
		float gain = choose_pair(local, 0, local->split, step_float, row_i, row_j, pair, &gap);
		if (local->split < local->stride) {
			float other_gain = choose_pair(local, local->split, local->stride, step_float, row_i, row_j, other, &other_gap);
			if (other_gain > gain) {
				gain = other_gain;
				pair[0] = other[0];
				pair[1] = other[1];
			}
		}
		if (gain <= 0 || (gap < tol && other_gap < tol))
			break;
		uint32_t i = pair[0].index, j = pair[1].index;
		row_i = local->kernel + (size_t)i * local->stride;
		row_j = local->kernel + (size_t)j * local->stride;
		double curvature = (double)local->self[i] + (double)local->self[j] - 2.0 * (double)row_i[j];
		double step = ((double)local->f[j] - (double)pair[0].value) / (curvature > (double)CURVATURE_MIN ? curvature : (double)CURVATURE_MIN);
		double room_i = local->room_up[i], room_j = local->room_low[j];
		step = step < room_i ? step : room_i;
		step = step < room_j ? step : room_j;
		move(local, i, step);
		move(local, j, -step);
		step_float = (float)step;
	}
	return done;
}
