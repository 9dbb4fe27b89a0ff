/* predict.c: scores and probabilities. Kernel values of a few rows with all vectors come first, then every pair reads the same values.
 * A linear kernel needs none: its vectors are added up to weights when the model is made or opened. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "engine/svm/model.h"
#include "math/platt.h"
#include "util/mem.h"

/* Pieces of the scratch, each rounded up to 64 bytes. */
struct space {
	void *queries, *values, *explain;
	double *score, *temp, *base;
};

static size_t
take(char **at, size_t bytes, void *piece_out)
{
	bytes = (bytes + 63) / 64 * 64;
	if (*at != NULL) {
		memcpy(piece_out, at, sizeof(void *));
		*at += bytes;
	}
	return bytes;
}

static size_t
value_bytes(const struct svm_model *model)
{
	return model->vectors.panels * SVM_PANEL * svm_rows_element_bytes(&model->vectors);
}

/* Lay the scratch out (memory NULL: only add up its size) for blocks of max queries. */
static size_t
lay_out(const struct svm_model *model, size_t max, unsigned wanted, char *memory, struct space *space)
{
	char *at = memory;
	size_t classes = model->classes, bytes = 0;
	bool by_kernel = model->weights == NULL, explain = (wanted & MMQ_OUT_CONTRIBUTION) != 0;

	bytes += take(&at, by_kernel ? svm_queries_bytes(&model->vectors, max) : 0, &space->queries);
	bytes += take(&at, by_kernel ? max * value_bytes(model) : 0, &space->values);
	bytes += take(&at, model->pairs * sizeof(double), &space->score);
	bytes += take(&at, model->pairs * sizeof(double), &space->base);
	bytes += take(&at, (wanted & MMQ_OUT_PROBABILITY) != 0 ? (2 * classes * classes + classes) * sizeof(double) : 0, &space->temp);
	bytes += take(&at, explain ? svm_explain_bytes(model) : 0, &space->explain);
	return bytes;
}

size_t
svm_score_cols(const void *state)
{
	return ((const struct svm_model *)state)->pairs;
}

size_t
svm_scratch_bytes(const void *state, size_t rows_max, unsigned wanted)
{
	const struct svm_model *model = state;
	struct space space;
	return lay_out(model, svm_queries_max(&model->vectors, rows_max), wanted, NULL, &space);
}

unsigned
svm_gives(const void *state)
{
	const struct svm_model *model = state;
	return MMQ_OUT_SCORE | MMQ_OUT_PAIRWISE | (model->sigmoid != NULL ? MMQ_OUT_PROBABILITY : 0u) |
	    (model->features > 0 ? MMQ_OUT_CONTRIBUTION : 0u);
}

const char *
svm_contribution_method(const void *state)
{
	const struct svm_model *model = state;
	return model->features == 0 ? NULL : model->weights != NULL ? "linear" : "sampled_shapley";
}

/* score (pairs) -> probability (classes). temp (2 classes^2 + classes). */
static void
probability_row(const struct svm_model *model, const double *score, double *temp, double *probability)
{
	size_t classes = model->classes, p = 0;
	if (model->task == MMQ_BINARY) {
		probability[1] = mmq_platt_probability(score[0], model->sigmoid[0], model->sigmoid[1]);
		probability[0] = 1 - probability[1];
		return;
	}
	for (size_t a = 0; a < classes; a++) {
		for (size_t b = a + 1; b < classes; b++, p++) {
			double first = mmq_platt_probability(score[p], model->sigmoid[2 * p], model->sigmoid[2 * p + 1]);
			temp[a * classes + b] = fmin(fmax(first, 1e-7), 1 - 1e-7);
			temp[b * classes + a] = 1 - temp[a * classes + b];
		}
	}
	mmq_platt_couple(temp, classes, temp + classes * classes, probability);
}

static double
weigh(const struct svm_model *model, size_t coef_row, const void *values, size_t from, size_t to)
{
	const double *coef = model->coef + coef_row * model->vectors.count + from;
	return model->vectors.form.wide ? svm_kernel_weigh_wide(coef, (const double *)values + from, to - from) :
	    svm_kernel_weigh(coef, (const float *)values + from, to - from);
}

void
svm_model_score(const struct svm_model *model, const void *values, double *score_out)
{
	if (model->task != MMQ_MULTICLASS) {
		score_out[0] = weigh(model, 0, values, 0, model->vectors.count) - model->rho[0];
		return;
	}
	size_t p = 0;
	const uint32_t *start = model->class_start;
	for (uint32_t a = 0; a < model->classes; a++)
		for (uint32_t b = a + 1; b < model->classes; b++, p++)
			score_out[p] = weigh(model, b - 1, values, start[a], start[a + 1]) + weigh(model, a, values, start[b], start[b + 1]) - model->rho[p];
}

/* Add the vectors [from, to) of one coefficient row to weights (cols). */
static void
collapse(const struct svm_rows *vectors, const double *coef, size_t from, size_t to, double *weights)
{
	for (size_t v = from; v < to; v++) {
		if (vectors->form.sparse) {
			for (uint64_t k = vectors->start[v]; k < vectors->start[v + 1]; k++)
				weights[vectors->col[k]] += coef[v] * (vectors->form.wide ? ((const double *)vectors->values)[k] :
				    (double)((const float *)vectors->values)[k]);
			continue;
		}
		for (size_t j = 0; j < vectors->cols; j++) {
			size_t panel = (v / SVM_PANEL * vectors->cols + j) * SVM_PANEL + v % SVM_PANEL;
			weights[j] += coef[v] * (vectors->form.wide ? ((const double *)vectors->values)[v * vectors->cols + j] :
			    (double)((const float *)vectors->values)[panel]);
		}
	}
}

void
svm_model_derive(struct svm_model *model)
{
	size_t count = model->vectors.count, cols = model->vectors.cols, p = 0;

	/* Weights of many pairs can be more than the vectors they come from. */
	if (model->kernel.kind != SVM_LINEAR || (model->pairs > 1 && model->pairs > count))
		return;
	model->weights = mmq_array(model->pairs * cols, sizeof(double));
	if (model->task != MMQ_MULTICLASS) {
		collapse(&model->vectors, model->coef, 0, count, model->weights);
		return;
	}
	for (uint32_t a = 0; a < model->classes; a++) {
		for (uint32_t b = a + 1; b < model->classes; b++, p++) {
			collapse(&model->vectors, model->coef + (b - 1) * count, model->class_start[a], model->class_start[a + 1], model->weights + p * cols);
			collapse(&model->vectors, model->coef + a * count, model->class_start[b], model->class_start[b + 1], model->weights + p * cols);
		}
	}
}

static void
score_linear(const struct svm_model *model, const struct mmq_batch *x, size_t row, double *score_out)
{
	size_t stored = svm_batch_stored(x, row), col;
	for (size_t p = 0; p < model->pairs; p++) {
		const double *weights = model->weights + p * model->vectors.cols;
		double sum = 0;
		for (size_t k = 0; k < stored; k++) {
			double value = svm_batch_get(x, row, k, &col);
			sum += weights[col] * value;
		}
		score_out[p] = sum - model->rho[p];
	}
}

void
svm_shape(const void *state, struct mmq_state_shape *shape)
{
	const struct svm_model *model = state;
	*shape = (struct mmq_state_shape){ .cols = model->vectors.cols, .classes = model->classes, .features = model->features };
}

/* Everything that is wanted of one row whose score is known. */
static void
finish_row(const struct svm_model *model, const struct mmq_batch *x, size_t row, const double *score, struct mmq_outputs *out, const struct space *space)
{
	size_t wide = model->pairs * model->features;
	if (out->wanted & MMQ_OUT_PROBABILITY)
		probability_row(model, score, space->temp, out->probability + row * model->classes);
	if (out->wanted & MMQ_OUT_CONTRIBUTION)
		svm_explain_row(model, x, row, score, space->base, out->contribution + row * wide,
		    out->contribution_error == NULL ? NULL : out->contribution_error + row * wide, space->explain);
}

/* Rows [row, row + count) in one block. */
static void
predict_block(const struct svm_model *model, const struct mmq_batch *x, size_t row, size_t count, struct svm_queries *queries,
    struct mmq_outputs *out, const struct space *space)
{
	void *values[SVM_SPARSE_QUERIES_MAX];

	if (model->weights == NULL) {
		for (size_t q = 0; q < count; q++) {
			svm_queries_put(queries, x, row + q);
			values[q] = (char *)space->values + q * value_bytes(model);
		}
		svm_rows_values(&model->kernel, &model->vectors, queries, 0, model->vectors.panels, values);
		svm_queries_clear(queries);
	}
	for (size_t q = 0; q < count; q++) {
		double *score = out->wanted & MMQ_OUT_SCORE ? out->score + (row + q) * out->score_cols : space->score;
		if (model->weights != NULL)
			score_linear(model, x, row + q, score);
		else
			svm_model_score(model, values[q], score);
		finish_row(model, x, row + q, score, out, space);
	}
}

int
svm_predict(const void *state, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err)
{
	const struct svm_model *model = state;
	size_t max = svm_queries_max(&model->vectors, x->rows);
	struct space space = { 0 };
	struct svm_queries queries;

	if (mmq_check_batch(x, model->vectors.cols, 0, mmq_engine_svm.accepts, err) == -1)
		return -1;
	if ((out->wanted & MMQ_OUT_PROBABILITY & ~svm_gives(model)) != 0)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "svm: this model was trained without probability");
	if ((out->wanted & MMQ_OUT_CONTRIBUTION & ~svm_gives(model)) != 0)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "svm: this model cannot explain: its columns are kernel values, or it came without a starting point");
	if ((out->wanted & (MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY | MMQ_OUT_CONTRIBUTION)) == 0)
		return 0;
	lay_out(model, max, out->wanted, scratch, &space);
	if (model->weights == NULL)
		svm_queries_begin(&queries, &model->vectors, max, space.queries);
	if (out->wanted & MMQ_OUT_CONTRIBUTION) {
		svm_explain_base(model, space.base, space.explain);
		if (out->base != NULL)
			memcpy(out->base, space.base, model->pairs * sizeof(double));
	}
	for (size_t row = 0; row < x->rows; row += max)
		predict_block(model, x, row, x->rows - row < max ? x->rows - row : max, &queries, out, &space);
	return 0;
}

void
svm_destroy(void **state)
{
	struct svm_model *model = *state;
	if (model == NULL)
		return;
	svm_rows_fini(&model->vectors);
	free(model->class_start);
	free(model->weights);
	free(model->origin);
	free(model->feature_start);
	free(model->owned);
	free(model);
	*state = NULL;
}
