/* loss.c: derivatives and values of the losses, in blocks of rows over the pool. */
#include "engine/tree/loss.h"

#include <math.h>
#include <stdlib.h>

#include "math/exp.h"
#include "util/mem.h"

enum { BLOCK = 2048 };

static double
weight_of(const struct mmq_tree_target *target, size_t r)
{
	double weight = target->weight != NULL ? (double)target->weight[r] : 1.0;
	return target->task == MMQ_BINARY && target->y[r] > 0 ? weight * target->positive_weight : weight;
}

void
mmq_tree_loss_start(const struct mmq_tree_target *target, double *base_out)
{
	double total = 0;
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
		if (target->task != MMQ_REGRESSION)
			mean = fmin(fmax(mean, 1e-15), 1 - 1e-15);
		base_out[c] = target->task == MMQ_REGRESSION ? mean : target->task == MMQ_BINARY ? log(mean / (1 - mean)) : log(mean);
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

static void
logistic_gradient(const struct job *job, size_t begin, size_t end)
{
	const struct mmq_tree_target *target = job->target;
	float p[BLOCK] = { 0 };
	for (size_t r = begin; r < end; r++)
		p[r - begin] = (float)job->score[r];
	mmq_sigmoid_f32(p, p, end - begin);
	for (size_t r = begin; r < end; r++) {
		double weight = weight_of(target, r), q = (double)p[r - begin];
		job->g[r] = (float)((q - target->y[r]) * weight);
		job->h[r] = (float)(q * (1 - q) * weight);
	}
}

static void
gradient_block(void *arg, size_t block, unsigned thread)
{
	const struct job *job = arg;
	const struct mmq_tree_target *target = job->target;
	size_t begin = block * BLOCK, end = begin + BLOCK < target->rows ? begin + BLOCK : target->rows;
	(void)thread;
	if (target->outputs > 1) {
		softmax_gradient(job, begin, end);
		return;
	}
	if (target->task == MMQ_BINARY) {
		logistic_gradient(job, begin, end);
		return;
	}
	for (size_t r = begin; r < end; r++) {
		double weight = weight_of(target, r);
		job->g[r] = (float)((job->score[r] - target->y[r]) * weight);
		job->h[r] = (float)weight;
	}
}

void
mmq_tree_loss_gradient(const struct mmq_tree_target *target, const double *score, float *g, float *h)
{
	struct job job = { .target = target, .score = score, .g = g, .h = h };
	mmq_pool_run(target->pool, (target->rows + BLOCK - 1) / BLOCK, gradient_block, &job);
}

static void
value_block(void *arg, size_t block, unsigned thread)
{
	struct job *job = arg;
	const struct mmq_tree_target *target = job->target;
	size_t end = (block + 1) * BLOCK < target->rows ? (block + 1) * BLOCK : target->rows;
	(void)thread;
	for (size_t r = block * BLOCK; r < end; r++) {
		double weight = weight_of(target, r), loss, s = job->score[r];
		if (target->outputs > 1)
			loss = log_sum_exp(target, job->score, r) - job->score[(size_t)target->y[r] * target->rows + r];
		else if (target->task == MMQ_BINARY)
			loss = fmax(s, 0) - s * target->y[r] + log1p(exp(-fabs(s)));
		else
			loss = (s - target->y[r]) * (s - target->y[r]);
		job->sums[block] += weight * loss;
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
mmq_tree_loss_name(enum mmq_task task)
{
	return task == MMQ_REGRESSION ? "mse" : "log_loss";
}
