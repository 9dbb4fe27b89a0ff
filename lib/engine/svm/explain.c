/* explain.c: what each feature adds to a score, between a starting point (the training means) and the row.
 *
 * Linear kernel: exact. Others: Shapley values by sampling orders of the features (Castro, Gomez and Tejada 2009), each order and its reverse
 * as one sample, which takes out much of the spread. Along an order the scores telescope, so that contributions add up to score - base
 * whatever the orders. The orders come from the model's seed alone: a row gets the same answer in every batch. */
#include <math.h>
#include <string.h>

#include "engine/svm/model.h"
#include "math/rng.h"

enum { SAMPLES = 16 };
#define STUDENT 2.131    /* 97.5 % point of Student's t with SAMPLES - 1 degrees of freedom */

struct walk {
	const struct svm_model *model;
	const struct mmq_batch *x;
	struct svm_queries queries;
	size_t max;                    /* points in one block */
	void *queries_space, *values;
	double *point, *target;        /* (cols) where the walk is; the row */
	double *score;                 /* (max, pairs) of the points of a block */
	double *last;                  /* (pairs) score before the next feature */
	double *sample, *sum, *square; /* (pairs, features) */
	uint32_t *order;               /* (features) those that differ */
	size_t count;
};

static size_t
piece(char **at, size_t bytes, void *piece_out)
{
	bytes = (bytes + 63) / 64 * 64;
	if (*at != NULL) {
		memcpy(piece_out, at, sizeof(void *));
		*at += bytes;
	}
	return bytes;
}

static size_t
lay_out(const struct svm_model *model, void *memory, struct walk *walk)
{
	char *at = memory;
	size_t cols = model->vectors.cols, pairs = model->pairs, wide = pairs * model->features * sizeof(double), bytes = 0;
	bool sampled = model->weights == NULL;

	walk->model = model;
	walk->max = svm_queries_max(&model->vectors, 2 + model->features);
	bytes += piece(&at, cols * sizeof(double), &walk->point);
	bytes += piece(&at, cols * sizeof(double), &walk->target);
	bytes += piece(&at, sampled ? svm_queries_bytes(&model->vectors, walk->max) : 0, &walk->queries_space);
	bytes += piece(&at, sampled ? model->vectors.panels * SVM_PANEL * svm_rows_element_bytes(&model->vectors) * walk->max : 0, &walk->values);
	bytes += piece(&at, walk->max * pairs * sizeof(double), &walk->score);
	bytes += piece(&at, pairs * sizeof(double), &walk->last);
	bytes += piece(&at, sampled ? wide : 0, &walk->sample);
	bytes += piece(&at, sampled ? wide : 0, &walk->sum);
	bytes += piece(&at, sampled ? wide : 0, &walk->square);
	bytes += piece(&at, model->features * sizeof(uint32_t), &walk->order);
	return bytes;
}

size_t
svm_explain_bytes(const struct svm_model *model)
{
	struct walk walk;
	return lay_out(model, NULL, &walk);
}

static struct mmq_batch
one_point(const double *point, size_t cols)
{
	return (struct mmq_batch){ .rows = 1, .cols = cols, .dtype = MMQ_F64, .dense = point, .stride = cols };
}

/* Scores of the points put into the block so far, which is empty afterwards. */
static void
score_block(struct walk *walk)
{
	const struct svm_model *model = walk->model;
	size_t bytes = model->vectors.panels * SVM_PANEL * svm_rows_element_bytes(&model->vectors), count = walk->queries.count;
	void *values[SVM_SPARSE_QUERIES_MAX];

	for (size_t q = 0; q < count; q++)
		values[q] = (char *)walk->values + q * bytes;
	svm_rows_values(&model->kernel, &model->vectors, &walk->queries, 0, model->vectors.panels, values);
	for (size_t q = 0; q < count; q++)
		svm_model_score(model, values[q], walk->score + q * model->pairs);
	svm_queries_clear(&walk->queries);
}

static void
move_feature(struct walk *walk, uint32_t feature)
{
	const uint32_t *start = walk->model->feature_start;
	memcpy(walk->point + start[feature], walk->target + start[feature], (start[feature + 1] - start[feature]) * sizeof(double));
}

/* What `feature` added on the way to a point of this score. */
static void
add_step(struct walk *walk, uint32_t feature, const double *score)
{
	for (size_t p = 0; p < walk->model->pairs; p++) {
		walk->sample[p * walk->model->features + feature] += 0.5 * (score[p] - walk->last[p]);
		walk->last[p] = score[p];
	}
}

/* From the origin to the row, feature by feature in order (forwards or backwards); the last point's score is the row's own. */
static void
take_walk(struct walk *walk, bool forwards, const double *base, const double *score)
{
	const struct svm_model *model = walk->model;
	const struct mmq_batch at = one_point(walk->point, model->vectors.cols);
	size_t done = 0;

	memcpy(walk->point, model->origin, model->vectors.cols * sizeof(double));
	memcpy(walk->last, base, model->pairs * sizeof(double));
	for (size_t k = 0; k + 1 < walk->count; k++) {
		move_feature(walk, walk->order[forwards ? k : walk->count - 1 - k]);
		svm_queries_put(&walk->queries, &at, 0);
		/* A sparse block is cleared by reading its points again, which have moved on by then: one point at a time. */
		if (walk->queries.count < walk->max && !model->vectors.form.sparse && k + 2 < walk->count)
			continue;
		score_block(walk);
		for (size_t q = 0; done <= k; done++, q++)
			add_step(walk, walk->order[forwards ? done : walk->count - 1 - done], walk->score + q * model->pairs);
	}
	if (walk->count > 0)
		add_step(walk, walk->order[forwards ? walk->count - 1 : 0], score);
}

static void
load_target(struct walk *walk, const struct mmq_batch *x, size_t row)
{
	size_t col, stored = svm_batch_stored(x, row);
	memset(walk->target, 0, walk->model->vectors.cols * sizeof(double));
	for (size_t k = 0; k < stored; k++) {
		double value = svm_batch_get(x, row, k, &col);
		walk->target[col] = value;
	}
}

static void
explain_linear(struct walk *walk, double *contribution)
{
	const struct svm_model *model = walk->model;
	for (size_t p = 0; p < model->pairs; p++)
		for (size_t f = 0; f < model->features; f++)
			for (size_t j = model->feature_start[f]; j < model->feature_start[f + 1]; j++)
				contribution[p * model->features + f] += model->weights[p * model->vectors.cols + j] * (walk->target[j] - model->origin[j]);
}

void
svm_explain_row(const struct svm_model *model, const struct mmq_batch *x, size_t row, const double *score, const double *base,
    double *contribution, double *error, void *scratch)
{
	struct walk walk = { 0 };
	size_t wide = model->pairs * model->features;
	struct mmq_rng rng = mmq_rng_stream(model->seed, 0x5ab1e, 0);

	lay_out(model, scratch, &walk);
	load_target(&walk, x, row);
	memset(contribution, 0, wide * sizeof(double));
	if (error != NULL)
		memset(error, 0, wide * sizeof(double));
	if (model->weights != NULL) {
		explain_linear(&walk, contribution);
		return;
	}
	for (uint32_t f = 0; f < model->features; f++) {
		size_t from = model->feature_start[f], bytes = (model->feature_start[f + 1] - from) * sizeof(double);
		if (memcmp(walk.target + from, model->origin + from, bytes) != 0)
			walk.order[walk.count++] = f;
	}
	svm_queries_begin(&walk.queries, &model->vectors, walk.max, walk.queries_space);
	memset(walk.sum, 0, wide * sizeof(double));
	memset(walk.square, 0, wide * sizeof(double));
	for (size_t s = 0; s < SAMPLES; s++) {
		memset(walk.sample, 0, wide * sizeof(double));
		mmq_rng_shuffle(&rng, walk.order, walk.count);
		take_walk(&walk, true, base, score);
		take_walk(&walk, false, base, score);
		for (size_t k = 0; k < wide; k++) {
			/* Welford's mean and squares: samples that agree leave no spread, not its rounding. */
			double off = walk.sample[k] - walk.sum[k];
			walk.sum[k] += off / (double)(s + 1);
			walk.square[k] += off * (walk.sample[k] - walk.sum[k]);
		}
	}
	memcpy(contribution, walk.sum, wide * sizeof(double));
	for (size_t k = 0; error != NULL && k < wide; k++)
		error[k] = STUDENT * sqrt(walk.square[k] / (SAMPLES - 1) / SAMPLES);
}

void
svm_explain_base(const struct svm_model *model, double *base_out, void *scratch)
{
	struct walk walk = { 0 };
	const struct mmq_batch origin = one_point(model->origin, model->vectors.cols);

	lay_out(model, scratch, &walk);
	if (model->weights == NULL) {
		svm_queries_begin(&walk.queries, &model->vectors, walk.max, walk.queries_space);
		svm_queries_put(&walk.queries, &origin, 0);
		score_block(&walk);
		memcpy(base_out, walk.score, model->pairs * sizeof(double));
		return;
	}
	for (size_t p = 0; p < model->pairs; p++) {
		base_out[p] = -model->rho[p];
		for (size_t j = 0; j < model->vectors.cols; j++)
			base_out[p] += model->weights[p * model->vectors.cols + j] * model->origin[j];
	}
}
