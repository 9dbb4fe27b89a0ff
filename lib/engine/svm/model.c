/* model.c: prediction, and the model file's form of a support vector machine. */
#include "engine/svm/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "engine/rows.h"
#include "engine/svm/platt.h"
#include "util/mem.h"

enum { LANES = 8 };

size_t
svm_score_cols(const void *state)
{
	return ((const struct svm_model *)state)->pairs;
}

size_t
svm_scratch_bytes(const void *state, size_t rows_max, unsigned wanted)
{
	const struct svm_model *model = state;
	size_t classes = model->classes;
	(void)rows_max;
	(void)wanted;
	return SVM_QUERIES_MAX * (model->vectors.cols + model->vectors.panels * SVM_PANEL) * sizeof(float) +
	    (model->pairs + 2 * classes * classes + classes) * sizeof(double);
}

unsigned
svm_gives(const void *state)
{
	const struct svm_model *model = state;
	return MMQ_OUT_SCORE | MMQ_OUT_PAIRWISE | (model->sigmoid != NULL ? MMQ_OUT_PROBABILITY : 0u);
}

/* score (pairs) -> probability (classes). temp (2 classes^2 + classes). */
static void
probability_row(const struct svm_model *model, const double *score, double *temp, double *probability)
{
	size_t classes = model->classes, p = 0;
	if (model->task == MMQ_BINARY) {
		probability[1] = svm_platt_probability(score[0], model->sigmoid[0], model->sigmoid[1]);
		probability[0] = 1 - probability[1];
		return;
	}
	for (size_t a = 0; a < classes; a++) {
		for (size_t b = a + 1; b < classes; b++, p++) {
			double first = svm_platt_probability(score[p], model->sigmoid[2 * p], model->sigmoid[2 * p + 1]);
			temp[a * classes + b] = fmin(fmax(first, 1e-7), 1 - 1e-7);
			temp[b * classes + a] = 1 - temp[a * classes + b];
		}
	}
	svm_platt_couple(temp, classes, temp + classes * classes, probability);
}

/* Sum of coef * values over [from, to), in fixed lanes so that the compiler may use vectors without changing the order. */
static double
weighted_sum(const double *coef, const float *values, size_t from, size_t to)
{
	double lanes[LANES] = { 0 }, sum = 0;
	size_t i = from;
	for (; i + LANES <= to; i += LANES)
		for (size_t k = 0; k < LANES; k++)
			lanes[k] += coef[i + k] * (double)values[i + k];
	for (; i < to; i++)
		sum += coef[i] * (double)values[i];
	for (size_t k = 0; k < LANES; k++)
		sum += lanes[k];
	return sum;
}

static void
score_row(const struct svm_model *model, const float *values, double *score_out)
{
	size_t count = model->vectors_count;
	if (model->task != MMQ_MULTICLASS) {
		score_out[0] = weighted_sum(model->coef, values, 0, count) - model->rho[0];
		return;
	}
	size_t p = 0;
	for (uint32_t a = 0; a < model->classes; a++)
		for (uint32_t b = a + 1; b < model->classes; b++, p++)
			score_out[p] = weighted_sum(model->coef + (b - 1) * count, values, model->class_start[a], model->class_start[a + 1]) +
			    weighted_sum(model->coef + a * count, values, model->class_start[b], model->class_start[b + 1]) - model->rho[p];
}

void
svm_shape(const void *state, struct mmq_state_shape *shape)
{
	const struct svm_model *model = state;
	*shape = (struct mmq_state_shape){ .cols = model->vectors.cols, .classes = model->classes };
}

int
svm_predict(const void *state, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err)
{
	const struct svm_model *model = state;
	size_t cols = model->vectors.cols, values_stride = model->vectors.panels * SVM_PANEL;
	float *queries = scratch, *values = queries + SVM_QUERIES_MAX * cols;
	double *own_score = (double *)(void *)(values + SVM_QUERIES_MAX * values_stride);

	if (mmq_check_batch(x, cols, 0, mmq_engine_svm.accepts, err) == -1)
		return -1;
	if ((out->wanted & ~svm_gives(model)) != 0)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "svm: this model was trained without probability");
	if ((out->wanted & (MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY)) == 0)
		return 0;
	for (size_t row = 0; row < x->rows; row += SVM_QUERIES_MAX) {
		size_t count = x->rows - row < SVM_QUERIES_MAX ? x->rows - row : SVM_QUERIES_MAX;
		for (size_t q = 0; q < count; q++)
			mmq_rows_get_f32(x, row + q, queries + q * cols);
		svm_kernel_values(&model->kernel, &model->vectors, 0, model->vectors.panels, queries, cols, count, values, values_stride);
		for (size_t q = 0; q < count; q++) {
			double *score = out->wanted & MMQ_OUT_SCORE ? out->score + (row + q) * out->score_cols : own_score;
			score_row(model, values + q * values_stride, score);
			if (out->wanted & MMQ_OUT_PROBABILITY)
				probability_row(model, score, own_score + model->pairs, out->probability + (row + q) * model->classes);
		}
	}
	return 0;
}

int
svm_save(const void *state, struct mmq_part *out, struct mmq_err *err)
{
	const struct svm_model *model = state;
	size_t cols = model->vectors.cols;
	float *vectors = mmq_array(model->vectors_count * cols, sizeof(float));

	(void)err;
	for (size_t i = 0; i < model->vectors_count; i++)
		svm_rows_get(&model->vectors, i, vectors + i * cols);
	mmq_part_put_text(out, "task", mmq_task_name(model->task));
	mmq_part_put_text(out, "kernel", svm_kernel_names[model->kernel.kind]);
	mmq_part_put_double(out, "gamma", model->kernel.gamma);
	mmq_part_put_double(out, "coef0", model->kernel.coef0);
	mmq_part_put_int(out, "degree", model->kernel.degree);
	mmq_part_put_int(out, "classes", model->classes);
	mmq_part_put_int(out, "iterations", model->iterations);
	mmq_part_put_int(out, "not_converged", (int64_t)model->not_converged);
	mmq_part_put_double(out, "objective", model->objective);
	mmq_part_put_double(out, "gap", model->gap_max);
	mmq_part_put_matrix(out, "support_vectors", MMQ_F32, model->vectors_count, cols, vectors);
	mmq_part_put_matrix(out, "dual_coef", MMQ_F64, model->coef_rows, model->vectors_count, model->coef);
	mmq_part_put_vector(out, "rho", MMQ_F64, model->pairs, model->rho);
	if (model->sigmoid != NULL)
		mmq_part_put_matrix(out, "sigmoid", MMQ_F64, model->pairs, 2, model->sigmoid);
	mmq_part_put_vector(out, "class_start", MMQ_U32, model->classes + 1, model->class_start);
	free(vectors);
	return 0;
}

static int
open_head(struct svm_model *model, const struct mmq_part *in, struct mmq_err *err)
{
	const char *task, *kernel;
	int64_t degree, classes, not_converged;
	int kind = -1;

	if (mmq_part_get_text(in, "task", &task, err) == -1 || mmq_part_get_text(in, "kernel", &kernel, err) == -1 ||
	    mmq_part_get_double(in, "gamma", &model->kernel.gamma, err) == -1 || mmq_part_get_double(in, "coef0", &model->kernel.coef0, err) == -1 ||
	    mmq_part_get_int(in, "degree", 1, 20, &degree, err) == -1 || mmq_part_get_int(in, "classes", 0, 65535, &classes, err) == -1 ||
	    mmq_part_get_int(in, "iterations", 0, INT64_MAX, &model->iterations, err) == -1 ||
	    mmq_part_get_int(in, "not_converged", 0, INT64_MAX, &not_converged, err) == -1 ||
	    mmq_part_get_double(in, "objective", &model->objective, err) == -1 || mmq_part_get_double(in, "gap", &model->gap_max, err) == -1)
		return -1;
	for (int k = 0; k < 4; k++)
		if (strcmp(kernel, svm_kernel_names[k]) == 0)
			kind = k;
	for (enum mmq_task t = MMQ_REGRESSION; t <= MMQ_MULTICLASS; t <<= 1)
		if (strcmp(task, mmq_task_name(t)) == 0)
			model->task = t;
	bool classes_fit = model->task == MMQ_REGRESSION ? classes == 0 : model->task == MMQ_BINARY ? classes == 2 : classes >= 2;
	if (kind == -1 || model->task == MMQ_TASK_NONE || !classes_fit)
		return mmq_err_set(err, MMQ_DATA_LOSS, "svm: kernel '%s', task '%s' with %lld classes is no model", kernel, task, (long long)classes);
	model->kernel.kind = (enum svm_kernel_kind)kind;
	model->kernel.degree = (int)degree;
	model->classes = (uint32_t)classes;
	model->not_converged = (size_t)not_converged;
	model->pairs = classes < 2 ? 1 : (size_t)classes * (size_t)(classes - 1) / 2;
	model->coef_rows = model->task == MMQ_MULTICLASS ? model->classes - 1 : 1;
	return 0;
}

static int
open_tensors(struct svm_model *model, const struct mmq_part *in, struct mmq_err *err)
{
	const struct mmq_tensor *vectors, *coef, *rho, *starts, *sigmoid;

	if (mmq_part_get_tensor(in, "support_vectors", MMQ_F32, 2, (uint64_t[]){ UINT64_MAX, UINT64_MAX }, &vectors, err) == -1)
		return -1;
	model->vectors_count = vectors->shape[0];
	if (vectors->shape[1] == 0)
		return mmq_err_set(err, MMQ_DATA_LOSS, "svm: support vectors have no columns");
	if (mmq_part_get_tensor(in, "dual_coef", MMQ_F64, 2, (uint64_t[]){ model->coef_rows, model->vectors_count }, &coef, err) == -1 ||
	    mmq_part_get_tensor(in, "rho", MMQ_F64, 1, (uint64_t[]){ model->pairs }, &rho, err) == -1 ||
	    mmq_part_get_tensor(in, "class_start", MMQ_U32, 1, (uint64_t[]){ model->classes + 1 }, &starts, err) == -1)
		return -1;
	if (mmq_part_find_tensor(in, "sigmoid") != NULL && model->task != MMQ_REGRESSION) {
		if (mmq_part_get_tensor(in, "sigmoid", MMQ_F64, 2, (uint64_t[]){ model->pairs, 2 }, &sigmoid, err) == -1)
			return -1;
		model->sigmoid = sigmoid->data;
	}
	model->coef = coef->data;
	model->rho = rho->data;
	model->class_start = mmq_array((size_t)model->classes + 1, sizeof(uint32_t));
	memcpy(model->class_start, starts->data, ((size_t)model->classes + 1) * sizeof(uint32_t));
	if (model->task == MMQ_MULTICLASS) {
		const uint32_t *start = model->class_start;
		bool ordered = start[0] == 0 && start[model->classes] == model->vectors_count;
		for (uint32_t c = 0; c < model->classes; c++)
			ordered = ordered && start[c] <= start[c + 1];
		if (!ordered)
			return mmq_err_set(err, MMQ_DATA_LOSS, "svm: class_start does not divide the %zu support vectors", model->vectors_count);
	}
	svm_rows_pack(&model->vectors, vectors->data, model->vectors_count, vectors->shape[1]);
	return 0;
}

int
svm_open(void **state_out, const struct mmq_part *in, struct mmq_err *err)
{
	struct svm_model *model = mmq_alloc(sizeof(*model));

	*state_out = model;
	if (open_head(model, in, err) == 0 && open_tensors(model, in, err) == 0)
		return 0;
	svm_destroy(state_out);
	return -1;
}

int
svm_describe(const void *state, struct mmq_part *out, struct mmq_err *err)
{
	const struct svm_model *model = state;

	(void)err;
	mmq_part_put_text(out, "kernel", svm_kernel_names[model->kernel.kind]);
	mmq_part_put_double(out, "gamma", model->kernel.gamma);
	mmq_part_put_int(out, "support_vectors", (int64_t)model->vectors_count);
	mmq_part_put_int(out, "iterations", model->iterations);
	mmq_part_put_double(out, "objective", model->objective);
	mmq_part_put_double(out, "gap", model->gap_max);
	if (model->task == MMQ_REGRESSION)
		mmq_part_put_text(out, "epsilon_units", "standardised target");
	if (model->not_converged > 0)
		mmq_part_put_text(out, "warning", "not converged: max_iter was reached before the gap fell below tol");
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
	free(model->owned);
	free(model);
	*state = NULL;
}
