/* loss.c: derivatives and values of the losses, in blocks of rows over the pool. */
#include "engine/tree/loss.h"

#include <math.h>
#include <stdlib.h>

#include "math/cpu.h"
#include "math/exp.h"
#include "util/mem.h"

enum { BLOCK = 2048 };

static double
weight_of(const struct mmq_tree_target *target, size_t r)
{
	double weight = target->weight != NULL ? (double)target->weight[r] : 1.0;
	return target->options->objective == MMQ_TREE_LOGISTIC && target->y[r] > 0 ? weight * target->options->positive_weight : weight;
}

int
mmq_tree_loss_check(const struct mmq_tree_target *target, struct mmq_err *err)
{
	double total = 0;
	if (target->options->objective != MMQ_TREE_POISSON)
		return 0;
	for (size_t r = 0; r < target->rows; r++) {
		if (target->y[r] < 0)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "target", "counts, >= 0, for the objective poisson", "%g in row %zu", target->y[r], r);
		total += target->y[r];
	}
	return total > 0 ? 0 : mmq_err_value(err, MMQ_INVALID_ARGUMENT, "target", "a count above 0 for the objective poisson", "only 0");
}

void
mmq_tree_loss_start(const struct mmq_tree_target *target, double *base_out)
{
	enum mmq_tree_objective objective = target->options->objective;
	double total = 0, q;
	if (mmq_tree_loss_is_quantile(target->options, &q)) {
		double *zero = mmq_array(target->rows, sizeof(*zero));
		struct mmq_tree_weighted *temp = mmq_array(target->rows, sizeof(*temp));
		base_out[0] = mmq_tree_loss_residual(target, zero, NULL, target->rows, temp);
		free(temp);
		free(zero);
		return;
	}
	for (uint32_t c = 0; c < target->outputs; c++)
		base_out[c] = 0;
	for (size_t r = 0; r < target->rows; r++) {
		double weight = weight_of(target, r);
		total += weight;
		if (target->outputs > 1)
			base_out[(uint32_t)target->y[r]] += weight;
		else
			base_out[0] += weight * target->y[r];
	}
	for (uint32_t c = 0; c < target->outputs; c++) {
		double mean = base_out[c] / total;
		if (objective == MMQ_TREE_LOGISTIC || objective == MMQ_TREE_SOFTMAX)
			mean = fmin(fmax(mean, 1e-15), 1 - 1e-15);
		base_out[c] = objective == MMQ_TREE_LOGISTIC ? log(mean / (1 - mean)) :
		    objective == MMQ_TREE_SOFTMAX || objective == MMQ_TREE_POISSON ? log(mean) : mean;
	}
}

struct job {
	const struct mmq_tree_target *target;
	const double *score;
	float *g, *h;
	double *sums, *weights;  /* per block */
};

/* Log of the sum of exponentials of a row's scores. */
static double
log_sum_exp(const struct mmq_tree_target *target, const double *score, size_t r)
{
	double top = score[r], total = 0;
	for (uint32_t c = 1; c < target->outputs; c++)
		top = score[c * target->rows + r] > top ? score[c * target->rows + r] : top;
	for (uint32_t c = 0; c < target->outputs; c++)
		total += exp(score[c * target->rows + r] - top);
	return top + log(total);
}

/* Exponentials of float32 are enough for derivatives; rows [begin, end) of at most a block. */
static void
softmax_gradient(const struct job *job, size_t begin, size_t end)
{
	const struct mmq_tree_target *target = job->target;
	double factor = (double)target->outputs / (target->outputs - 1.0), total[BLOCK] = { 0 };
	float top[BLOCK];
	size_t rows = target->rows, count = end - begin;
	for (size_t i = 0; i < count; i++)
		top[i] = (float)job->score[begin + i];
	for (uint32_t c = 1; c < target->outputs; c++)
		for (size_t i = 0; i < count; i++)
			top[i] = (float)job->score[c * rows + begin + i] > top[i] ? (float)job->score[c * rows + begin + i] : top[i];
	for (uint32_t c = 0; c < target->outputs; c++) {
		float *e = job->g + c * rows + begin;
		for (size_t i = 0; i < count; i++)
			e[i] = (float)(job->score[c * rows + begin + i] - (double)top[i]);
		mmq_exp_f32(e, e, count);
		for (size_t i = 0; i < count; i++)
			total[i] += (double)e[i];
	}
	for (uint32_t c = 0; c < target->outputs; c++) {
		for (size_t r = begin; r < end; r++) {
			double p = (double)job->g[c * rows + r] / total[r - begin], weight = weight_of(target, r);
			job->g[c * rows + r] = (float)((p - ((uint32_t)target->y[r] == c ? 1.0 : 0.0)) * weight);
			job->h[c * rows + r] = (float)(factor * p * (1 - p) * weight);
		}
	}
}

/* The body of both paths: plain operations in a fixed order, which the compiler may spread over lanes without changing a bit. */
static inline __attribute__((always_inline)) void
logistic_rows(const float *restrict p, const double *restrict y, const double *restrict weight, float *restrict g, float *restrict h, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		double q = (double)p[i];
		g[i] = (float)((q - y[i]) * weight[i]);
		h[i] = (float)(q * (1 - q) * weight[i]);
	}
}

#if defined(__x86_64__)
__attribute__((target("avx2"), optimize("O3"))) static void
logistic_avx2(const float *p, const double *y, const double *weight, float *g, float *h, size_t count)
{
	logistic_rows(p, y, weight, g, h, count);
}
#endif

static void
logistic_gradient(const struct job *job, size_t begin, size_t end)
{
	const struct mmq_tree_target *target = job->target;
	float p[BLOCK];
	double weight[BLOCK];
	bool is_plain = target->weight == NULL && target->options->positive_weight == 1.0;
	for (size_t r = begin; r < end; r++) {
		p[r - begin] = (float)job->score[r];
		weight[r - begin] = is_plain ? 1.0 : weight_of(target, r);
	}
	mmq_sigmoid_f32(p, p, end - begin);
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2()) {
		logistic_avx2(p, target->y + begin, weight, job->g + begin, job->h + begin, end - begin);
		return;
	}
#endif
	logistic_rows(p, target->y + begin, weight, job->g + begin, job->h + begin, end - begin);
}

/* The hessian is made larger so that steps stay short where the mean is small (LightGBM's poisson_max_delta_step). */
static void
poisson_gradient(const struct job *job, size_t begin, size_t end)
{
	const struct mmq_tree_target *target = job->target;
	double longer = exp(target->options->poisson_step_max);
	for (size_t r = begin; r < end; r++) {
		double weight = weight_of(target, r), mean = exp(job->score[r]);
		job->g[r] = (float)((mean - target->y[r]) * weight);
		job->h[r] = (float)(mean * longer * weight);
	}
}

/* Squared loss, and Huber's with the error held to +-alpha. */
static void
clipped_gradient(const struct job *job, size_t begin, size_t end)
{
	const struct mmq_tree_target *target = job->target;
	double most = target->options->objective == MMQ_TREE_HUBER ? target->options->alpha : INFINITY;
	for (size_t r = begin; r < end; r++) {
		double weight = weight_of(target, r), error = job->score[r] - target->y[r];
		job->g[r] = (float)((error > most ? most : error < -most ? -most : error) * weight);
		job->h[r] = (float)weight;
	}
}

/* Absolute loss is the pinball loss of one half, times two. */
static void
pinball_gradient(const struct job *job, size_t begin, size_t end)
{
	const struct mmq_tree_target *target = job->target;
	bool is_absolute = target->options->objective == MMQ_TREE_ABSOLUTE;
	double over = is_absolute ? 1 : 1 - target->options->alpha, under = is_absolute ? -1 : -target->options->alpha;
	for (size_t r = begin; r < end; r++) {
		double weight = weight_of(target, r), error = job->score[r] - target->y[r];
		job->g[r] = (float)((error > 0 ? over : error < 0 ? under : is_absolute ? 0 : over) * weight);
		job->h[r] = (float)weight;
	}
}

static void
gradient_block(void *arg, size_t block, unsigned thread)
{
	const struct job *job = arg;
	const struct mmq_tree_target *target = job->target;
	size_t begin = block * BLOCK, end = begin + BLOCK < target->rows ? begin + BLOCK : target->rows;
	(void)thread;
	switch (target->options->objective) {
	case MMQ_TREE_SOFTMAX:
		softmax_gradient(job, begin, end);
		break;
	case MMQ_TREE_LOGISTIC:
		logistic_gradient(job, begin, end);
		break;
	case MMQ_TREE_POISSON:
		poisson_gradient(job, begin, end);
		break;
	case MMQ_TREE_SQUARED:
	case MMQ_TREE_HUBER:
		clipped_gradient(job, begin, end);
		break;
	case MMQ_TREE_ABSOLUTE:
	case MMQ_TREE_QUANTILE:
		pinball_gradient(job, begin, end);
	}
}

void
mmq_tree_loss_gradient(const struct mmq_tree_target *target, const double *score, float *g, float *h)
{
	struct job job = { .target = target, .score = score, .g = g, .h = h };
	mmq_pool_run(target->pool, (target->rows + BLOCK - 1) / BLOCK, gradient_block, &job);
}

static double
row_loss(const struct mmq_tree_target *target, const double *score, size_t r)
{
	double s = score[r], y = target->y[r], alpha = target->options->alpha, size = fabs(s - y);
	switch (target->options->objective) {
	case MMQ_TREE_SOFTMAX:
		return log_sum_exp(target, score, r) - score[(size_t)y * target->rows + r];
	case MMQ_TREE_LOGISTIC:
		return fmax(s, 0) - s * y + log1p(exp(-fabs(s)));
	case MMQ_TREE_POISSON:
		return exp(s) - y * s;
	case MMQ_TREE_ABSOLUTE:
		return size;
	case MMQ_TREE_QUANTILE:
		return s > y ? (1 - alpha) * size : alpha * size;
	case MMQ_TREE_HUBER:
		return size <= alpha ? size * size / 2 : alpha * (size - alpha / 2);
	default:
		return size * size;
	}
}

static void
value_block(void *arg, size_t block, unsigned thread)
{
	struct job *job = arg;
	const struct mmq_tree_target *target = job->target;
	size_t end = (block + 1) * BLOCK < target->rows ? (block + 1) * BLOCK : target->rows;
	(void)thread;
	for (size_t r = block * BLOCK; r < end; r++) {
		double weight = weight_of(target, r);
		job->sums[block] += weight * row_loss(target, job->score, r);
		job->weights[block] += weight;
	}
}

double
mmq_tree_loss_mean(const struct mmq_tree_target *target, const double *score)
{
	size_t blocks = (target->rows + BLOCK - 1) / BLOCK;
	struct job job = { .target = target, .score = score, .sums = mmq_array(blocks, sizeof(double)), .weights = mmq_array(blocks, sizeof(double)) };
	double sum = 0, weight = 0;
	mmq_pool_run(target->pool, blocks, value_block, &job);
	for (size_t b = 0; b < blocks; b++) {
		sum += job.sums[b];
		weight += job.weights[b];
	}
	free(job.sums);
	free(job.weights);
	return sum / weight;
}

const char *
mmq_tree_loss_name(enum mmq_tree_objective objective)
{
	static const char *const names[] = { [MMQ_TREE_SQUARED] = "mse", [MMQ_TREE_ABSOLUTE] = "mae", [MMQ_TREE_QUANTILE] = "quantile",
		[MMQ_TREE_HUBER] = "huber", [MMQ_TREE_POISSON] = "poisson", [MMQ_TREE_LOGISTIC] = "log_loss", [MMQ_TREE_SOFTMAX] = "log_loss" };
	return names[objective];
}
