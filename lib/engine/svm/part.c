/* part.c: the model file's form of a support vector machine, and what describe tells of it.
 *
 * Vectors are one of: `support_vectors` (count, cols) f32 or f64; `vector_start`, `vector_col`, `vector_value` (CSR, f32 or f64) with `cols`;
 * `vector_column` (count) with `cols` for a precomputed kernel. f64 vectors predict in double, which is how imported models come. */
#include <stdlib.h>
#include <string.h>

#include "engine/svm/model.h"
#include "util/mem.h"

enum { COLS_MAX = 1 << 24 };

static void
save_dense(const struct svm_rows *vectors, struct mmq_part *out)
{
	if (vectors->form.wide) {
		mmq_part_put_matrix(out, "support_vectors", MMQ_F64, vectors->count, vectors->cols, vectors->values);
		return;
	}
	float *rows = mmq_array(vectors->count * vectors->cols, sizeof(float));
	for (size_t v = 0; v < vectors->count; v++)
		for (size_t j = 0; j < vectors->cols; j++)
			rows[v * vectors->cols + j] = ((const float *)vectors->values)[(v / SVM_PANEL * vectors->cols + j) * SVM_PANEL + v % SVM_PANEL];
	mmq_part_put_matrix(out, "support_vectors", MMQ_F32, vectors->count, vectors->cols, rows);
	free(rows);
}

static void
save_vectors(const struct svm_rows *vectors, struct mmq_part *out)
{
	mmq_part_put_int(out, "cols", (int64_t)vectors->cols);
	if (vectors->form.precomputed) {
		mmq_part_put_vector(out, "vector_column", MMQ_U32, vectors->count, vectors->column);
	} else if (vectors->form.sparse) {
		uint64_t stored = vectors->start[vectors->count];
		mmq_part_put_vector(out, "vector_start", MMQ_U64, vectors->count + 1, vectors->start);
		mmq_part_put_vector(out, "vector_col", MMQ_U32, stored, vectors->col);
		mmq_part_put_vector(out, "vector_value", vectors->form.wide ? MMQ_F64 : MMQ_F32, stored, vectors->values);
	} else {
		save_dense(vectors, out);
	}
}

int
svm_save(const void *state, struct mmq_part *out, struct mmq_err *err)
{
	const struct svm_model *model = state;

	(void)err;
	mmq_part_put_text(out, "task", mmq_task_name(model->task));
	mmq_part_put_text(out, "formulation", model->is_nu ? "nu" : "c");
	mmq_part_put_text(out, "kernel", svm_kernel_names[model->kernel.kind]);
	mmq_part_put_double(out, "gamma", model->kernel.gamma);
	mmq_part_put_double(out, "coef0", model->kernel.coef0);
	mmq_part_put_int(out, "degree", model->kernel.degree);
	mmq_part_put_int(out, "classes", model->classes);
	mmq_part_put_int(out, "iterations", model->iterations);
	mmq_part_put_int(out, "not_converged", (int64_t)model->not_converged);
	mmq_part_put_double(out, "objective", model->objective);
	mmq_part_put_double(out, "gap", model->gap_max);
	save_vectors(&model->vectors, out);
	mmq_part_put_matrix(out, "dual_coef", MMQ_F64, model->coef_rows, model->vectors.count, model->coef);
	mmq_part_put_vector(out, "rho", MMQ_F64, model->pairs, model->rho);
	if (model->sigmoid != NULL)
		mmq_part_put_matrix(out, "sigmoid", MMQ_F64, model->pairs, 2, model->sigmoid);
	if (model->sigma > 0)
		mmq_part_put_double(out, "sigma", model->sigma);
	mmq_part_put_vector(out, "class_start", MMQ_U32, model->classes + 1, model->class_start);
	if (model->features > 0) {
		mmq_part_put_int(out, "seed", (int64_t)(model->seed & INT64_MAX));
		mmq_part_put_vector(out, "feature_start", MMQ_U32, model->features + 1, model->feature_start);
		if (!model->vectors.form.sparse)
			mmq_part_put_vector(out, "origin", MMQ_F64, model->vectors.cols, model->origin);
	}
	return 0;
}

/* What was learned on the way is not in a model that came from elsewhere. */
static int
open_history(struct svm_model *model, const struct mmq_part *in, struct mmq_err *err)
{
	int64_t not_converged = 0, seed = 0;

	if (mmq_part_find(in, "iterations") != NULL && (mmq_part_get_int(in, "iterations", 0, INT64_MAX, &model->iterations, err) == -1 ||
	    mmq_part_get_int(in, "not_converged", 0, INT64_MAX, &not_converged, err) == -1 ||
	    mmq_part_get_double(in, "objective", &model->objective, err) == -1 || mmq_part_get_double(in, "gap", &model->gap_max, err) == -1))
		return -1;
	if (mmq_part_find(in, "seed") != NULL && mmq_part_get_int(in, "seed", 0, INT64_MAX, &seed, err) == -1)
		return -1;
	if (mmq_part_find(in, "sigma") != NULL && mmq_part_get_double(in, "sigma", &model->sigma, err) == -1)
		return -1;
	model->not_converged = (size_t)not_converged;
	model->seed = (uint64_t)seed;
	return 0;
}

static int
open_head(struct svm_model *model, const struct mmq_part *in, struct mmq_err *err)
{
	const char *task, *kernel, *formulation = "c";
	int64_t degree, classes;
	int kind = -1;

	if (mmq_part_get_text(in, "task", &task, err) == -1 || mmq_part_get_text(in, "kernel", &kernel, err) == -1 ||
	    mmq_part_get_double(in, "gamma", &model->kernel.gamma, err) == -1 || mmq_part_get_double(in, "coef0", &model->kernel.coef0, err) == -1 ||
	    mmq_part_get_int(in, "degree", 0, INT32_MAX, &degree, err) == -1 || mmq_part_get_int(in, "classes", 0, 65535, &classes, err) == -1 ||
	    (mmq_part_find(in, "formulation") != NULL && mmq_part_get_text(in, "formulation", &formulation, err) == -1) ||
	    open_history(model, in, err) == -1)
		return -1;
	for (int k = 0; k < SVM_KERNELS; k++)
		if (strcmp(kernel, svm_kernel_names[k]) == 0)
			kind = k;
	for (enum mmq_task t = MMQ_REGRESSION; t <= MMQ_ONE_CLASS; t <<= 1)
		if (strcmp(task, mmq_task_name(t)) == 0)
			model->task = t;
	bool classes_fit = model->task == MMQ_BINARY ? classes == 2 : model->task == MMQ_MULTICLASS ? classes >= 2 : classes == 0;
	if (kind == -1 || model->task == MMQ_TASK_NONE || !classes_fit)
		return mmq_err_set(err, MMQ_DATA_LOSS, "svm: kernel '%s', task '%s' with %lld classes is no model", kernel, task, (long long)classes);
	model->kernel.kind = (enum svm_kernel_kind)kind;
	model->kernel.degree = (int)degree;
	model->is_nu = strcmp(formulation, "nu") == 0;
	model->classes = (uint32_t)classes;
	model->pairs = classes < 2 ? 1 : (size_t)classes * (size_t)(classes - 1) / 2;
	model->coef_rows = model->task == MMQ_MULTICLASS ? model->classes - 1 : 1;
	return 0;
}

static int
open_sparse(struct svm_rows *vectors, size_t cols, const struct mmq_part *in, struct mmq_err *err)
{
	const struct mmq_tensor *start, *col, *value = mmq_part_find_tensor(in, "vector_value");
	enum mmq_dtype dtype = value != NULL && value->dtype == MMQ_F64 ? MMQ_F64 : MMQ_F32;

	if (mmq_part_get_tensor(in, "vector_start", MMQ_U64, 1, (uint64_t[]){ UINT64_MAX }, &start, err) == -1 ||
	    mmq_part_get_tensor(in, "vector_col", MMQ_U32, 1, (uint64_t[]){ UINT64_MAX }, &col, err) == -1 ||
	    mmq_part_get_tensor(in, "vector_value", dtype, 1, (uint64_t[]){ col->shape[0] }, &value, err) == -1)
		return -1;
	size_t count = start->shape[0] == 0 ? 0 : (size_t)start->shape[0] - 1;
	const uint64_t *offset = start->data;
	const uint32_t *cols_at = col->data;
	bool ordered = start->shape[0] > 0 && offset[0] == 0 && offset[count] == col->shape[0];
	for (size_t v = 0; ordered && v < count; v++) {
		ordered = offset[v] <= offset[v + 1] && offset[v + 1] <= col->shape[0];
		for (uint64_t k = offset[v]; ordered && k < offset[v + 1]; k++)
			ordered = cols_at[k] < cols && (k == offset[v] || cols_at[k] > cols_at[k - 1]);
	}
	if (!ordered)
		return mmq_err_set(err, MMQ_DATA_LOSS, "svm: the sparse support vectors are out of order");
	const struct mmq_batch x = { .rows = count, .cols = cols, .dtype = dtype, .row_start = offset, .col = cols_at, .value = value->data };
	svm_rows_init(vectors, &x, NULL, count, (struct svm_form){ .sparse = true, .wide = dtype == MMQ_F64 });
	return 0;
}

static int
open_vectors(struct svm_model *model, const struct mmq_part *in, struct mmq_err *err)
{
	const struct mmq_tensor *dense = mmq_part_find_tensor(in, "support_vectors"), *column;
	enum mmq_dtype dtype = dense != NULL && dense->dtype == MMQ_F64 ? MMQ_F64 : MMQ_F32;
	int64_t cols;

	if (dense != NULL) {
		if (mmq_part_get_tensor(in, "support_vectors", dtype, 2, (uint64_t[]){ UINT64_MAX, UINT64_MAX }, &dense, err) == -1)
			return -1;
		if (dense->shape[1] == 0 || model->kernel.kind == SVM_PRECOMPUTED)
			return mmq_err_set(err, MMQ_DATA_LOSS, "svm: support vectors without columns, or of a precomputed kernel");
		const struct mmq_batch x = { .rows = dense->shape[0], .cols = dense->shape[1], .dtype = dtype, .dense = dense->data, .stride = dense->shape[1] };
		svm_rows_init(&model->vectors, &x, NULL, x.rows, (struct svm_form){ .wide = dtype == MMQ_F64 });
		return 0;
	}
	if (mmq_part_get_int(in, "cols", 1, COLS_MAX, &cols, err) == -1)
		return -1;
	if (model->kernel.kind != SVM_PRECOMPUTED)
		return open_sparse(&model->vectors, (size_t)cols, in, err);
	if (mmq_part_get_tensor(in, "vector_column", MMQ_U32, 1, (uint64_t[]){ UINT64_MAX }, &column, err) == -1)
		return -1;
	for (size_t v = 0; v < column->shape[0]; v++)
		if (((const uint32_t *)column->data)[v] >= (uint64_t)cols)
			return mmq_err_set(err, MMQ_DATA_LOSS, "svm: vector_column[%zu] is not below the width of %lld", v, (long long)cols);
	svm_rows_init(&model->vectors, &(const struct mmq_batch){ .cols = (size_t)cols }, column->data, column->shape[0],
	    (struct svm_form){ .wide = true, .precomputed = true });
	return 0;
}

/* Without a stored origin, explanations start at zero; a row of kernel values has no point to start from. */
static int
open_explanation(struct svm_model *model, const struct mmq_part *in, struct mmq_err *err)
{
	const struct mmq_tensor *starts = mmq_part_find_tensor(in, "feature_start"), *origin;
	size_t cols = model->vectors.cols;

	if (model->kernel.kind == SVM_PRECOMPUTED)
		return 0;
	model->origin = mmq_array(cols, sizeof(double));
	if (mmq_part_find_tensor(in, "origin") != NULL) {
		if (mmq_part_get_tensor(in, "origin", MMQ_F64, 1, (uint64_t[]){ cols }, &origin, err) == -1)
			return -1;
		memcpy(model->origin, origin->data, cols * sizeof(double));
	}
	if (starts != NULL && mmq_part_get_tensor(in, "feature_start", MMQ_U32, 1, (uint64_t[]){ UINT64_MAX }, &starts, err) == -1)
		return -1;
	size_t features = starts == NULL ? cols : starts->shape[0] == 0 ? 0 : (size_t)starts->shape[0] - 1;
	model->feature_start = mmq_array(features + 1, sizeof(uint32_t));
	for (size_t f = 0; f <= features; f++)
		model->feature_start[f] = starts == NULL ? (uint32_t)f : ((const uint32_t *)starts->data)[f];
	bool covers = features > 0 && model->feature_start[0] == 0 && model->feature_start[features] == cols;
	for (size_t f = 0; f < features; f++)
		covers = covers && model->feature_start[f] <= model->feature_start[f + 1];
	if (!covers)
		return mmq_err_set(err, MMQ_DATA_LOSS, "svm: feature_start does not divide the %zu columns", cols);
	model->features = features;
	return 0;
}

static int
open_coefficients(struct svm_model *model, const struct mmq_part *in, struct mmq_err *err)
{
	const struct mmq_tensor *coef, *rho, *starts, *sigmoid;

	if (mmq_part_get_tensor(in, "dual_coef", MMQ_F64, 2, (uint64_t[]){ model->coef_rows, model->vectors.count }, &coef, err) == -1 ||
	    mmq_part_get_tensor(in, "rho", MMQ_F64, 1, (uint64_t[]){ model->pairs }, &rho, err) == -1 ||
	    mmq_part_get_tensor(in, "class_start", MMQ_U32, 1, (uint64_t[]){ model->classes + 1 }, &starts, err) == -1)
		return -1;
	if (mmq_part_find_tensor(in, "sigmoid") != NULL && model->classes > 0) {
		if (mmq_part_get_tensor(in, "sigmoid", MMQ_F64, 2, (uint64_t[]){ model->pairs, 2 }, &sigmoid, err) == -1)
			return -1;
		model->sigmoid = sigmoid->data;
	}
	model->coef = coef->data;
	model->rho = rho->data;
	model->class_start = mmq_array((size_t)model->classes + 1, sizeof(uint32_t));
	memcpy(model->class_start, starts->data, ((size_t)model->classes + 1) * sizeof(uint32_t));
	if (model->task != MMQ_MULTICLASS)
		return 0;
	const uint32_t *start = model->class_start;
	bool ordered = start[0] == 0 && start[model->classes] == model->vectors.count;
	for (uint32_t c = 0; c < model->classes; c++)
		ordered = ordered && start[c] <= start[c + 1];
	if (!ordered)
		return mmq_err_set(err, MMQ_DATA_LOSS, "svm: class_start does not divide the %zu support vectors", model->vectors.count);
	return 0;
}

int
svm_open(void **state_out, const struct mmq_part *in, struct mmq_err *err)
{
	struct svm_model *model = mmq_alloc(sizeof(*model));

	*state_out = model;
	if (open_head(model, in, err) == 0 && open_vectors(model, in, err) == 0 && open_coefficients(model, in, err) == 0 &&
	    open_explanation(model, in, err) == 0) {
		svm_model_derive(model);
		return 0;
	}
	svm_destroy(state_out);
	return -1;
}

int
svm_describe(const void *state, struct mmq_part *out, struct mmq_err *err)
{
	const struct svm_model *model = state;

	(void)err;
	mmq_part_put_text(out, "kernel", svm_kernel_names[model->kernel.kind]);
	mmq_part_put_text(out, "formulation", model->is_nu ? "nu" : "c");
	mmq_part_put_double(out, "gamma", model->kernel.gamma);
	mmq_part_put_text(out, "precision", model->vectors.form.wide ? "float64" : "float32");
	mmq_part_put_bool(out, "sparse", model->vectors.form.sparse);
	mmq_part_put_int(out, "support_vectors", (int64_t)model->vectors.count);
	mmq_part_put_int(out, "iterations", model->iterations);
	mmq_part_put_double(out, "objective", model->objective);
	mmq_part_put_double(out, "gap", model->gap_max);
	if (model->task == MMQ_REGRESSION)
		mmq_part_put_text(out, "epsilon_units", "standardised target");
	if (model->not_converged > 0)
		mmq_part_put_text(out, "warning", "not converged: max_iter was reached, or single precision had no further step, before the gap fell below tol");
	return 0;
}
