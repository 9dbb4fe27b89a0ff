/* libsvm_write.c: our support vector machines as LIBSVM's text models. */
#include <stdlib.h>
#include <string.h>

#include "convert/libsvm.h"
#include "convert/lines.h"
#include "util/mem.h"

struct writer {
	const struct mmq_converted *converted;
	struct mmq_buf *out;
	struct mmq_err *err;
	const char *kernel, *formulation;
	size_t count, cols, pairs, coef_rows, classes;
	const double *coef;              /* (coef_rows, count) */
	const uint32_t *class_start;     /* (classes + 1) */
	double *rho;                     /* (pairs): with the scaling of inputs and target in it */
	const struct mmq_tensor *dense, *start, *col, *value, *column;
};

static int
refuse(const struct writer *w, const char *what)
{
	return mmq_err_set(w->err, MMQ_FAILED_PRECONDITION, "LIBSVM: %s", what);
}

/* Entry e of vector v: its column, and its value with a linear kernel's scale. */
static double
entry(const struct writer *w, size_t v, uint64_t e, size_t *col_out)
{
	const struct mmq_tensor *tensor = w->dense != NULL ? w->dense : w->value;
	size_t at = w->dense != NULL ? v * w->cols + e : e;
	*col_out = w->dense != NULL ? e : ((const uint32_t *)w->col->data)[e];
	double value = tensor->dtype == MMQ_F32 ? (double)((const float *)tensor->data)[at] : ((const double *)tensor->data)[at];
	return w->converted->scale != NULL ? value * w->converted->scale[*col_out] : value;
}

static void
range(const struct writer *w, size_t v, uint64_t *from, uint64_t *to)
{
	*from = w->dense != NULL ? 0 : ((const uint64_t *)w->start->data)[v];
	*to = w->dense != NULL ? w->cols : ((const uint64_t *)w->start->data)[v + 1];
}

/* Classes in the file's order: of two, the one with positive decision values is first. */
static size_t
class_at(const struct writer *w, size_t k)
{
	return w->classes > 2 ? k : k == 0 ? w->converted->positive : 1 - w->converted->positive;
}

/* A linear kernel of (x - c) s with v is one of x with s v, less c s v: every vector's part of that goes into the rhos of its pairs. */
static void
fold_centres(struct writer *w)
{
	size_t p = 0, classes = w->classes > 2 ? w->classes : 0;
	double *shift = mmq_array(w->count + 1, sizeof(*shift));
	for (size_t v = 0; v < w->count; v++) {
		uint64_t from, to;
		range(w, v, &from, &to);
		for (uint64_t e = from; e < to; e++) {
			size_t col;
			double value = entry(w, v, e, &col);
			shift[v] += value * w->converted->center[col];
		}
	}
	for (size_t v = 0; classes == 0 && v < w->count; v++)
		w->rho[0] += w->coef[v] * shift[v];
	for (size_t a = 0; a < classes; a++) {
		for (size_t b = a + 1; b < classes; b++, p++) {
			for (size_t v = w->class_start[a]; v < w->class_start[a + 1]; v++)
				w->rho[p] += w->coef[(b - 1) * w->count + v] * shift[v];
			for (size_t v = w->class_start[b]; v < w->class_start[b + 1]; v++)
				w->rho[p] += w->coef[a * w->count + v] * shift[v];
		}
	}
	free(shift);
}

static int
open_part(struct writer *w)
{
	const struct mmq_part *part = &w->converted->part;
	const struct mmq_tensor *coef = mmq_part_find_tensor(part, "dual_coef"), *rho = mmq_part_find_tensor(part, "rho");
	const struct mmq_tensor *class_start = mmq_part_find_tensor(part, "class_start");
	int64_t cols = 0;
	w->dense = mmq_part_find_tensor(part, "support_vectors");
	w->start = mmq_part_find_tensor(part, "vector_start");
	w->col = mmq_part_find_tensor(part, "vector_col");
	w->value = mmq_part_find_tensor(part, "vector_value");
	w->column = mmq_part_find_tensor(part, "vector_column");
	if (mmq_part_get_text(part, "kernel", &w->kernel, w->err) == -1 || mmq_part_get_text(part, "formulation", &w->formulation, w->err) == -1)
		return -1;
	if (w->dense == NULL && mmq_part_get_int(part, "cols", 1, INT64_MAX, &cols, w->err) == -1)
		return -1;
	w->cols = w->dense != NULL ? w->dense->shape[1] : (size_t)cols;
	w->count = coef->shape[1];
	w->coef_rows = coef->shape[0];
	w->pairs = rho->shape[0];
	w->classes = w->converted->classes.count;
	w->coef = coef->data;
	w->class_start = class_start->data;
	w->rho = mmq_array(w->pairs, sizeof(double));
	memcpy(w->rho, rho->data, w->pairs * sizeof(double));
	if (w->cols != w->converted->features_count)
		return refuse(w, "its models take numbers as they are; this one makes other columns of its inputs");
	if (mmq_converted_is_scaled(w->converted) && strcmp(w->kernel, "linear") != 0)
		return refuse(w, "its models know no scaling of inputs, and this kernel cannot take it in; train with prepare {\"*\": {scale: none}}");
	if (mmq_converted_is_scaled(w->converted) && w->converted->center != NULL)
		fold_centres(w);
	return 0;
}

static void
write_kernel(const struct writer *w)
{
	const struct mmq_part *part = &w->converted->part;
	bool is_poly = strcmp(w->kernel, "poly") == 0, is_sigmoid = strcmp(w->kernel, "sigmoid") == 0;
	mmq_buf_printf(w->out, "kernel_type %s\n", is_poly ? "polynomial" : w->kernel);
	if (is_poly)
		mmq_buf_printf(w->out, "degree %lld\n", (long long)mmq_part_find(part, "degree")->i);
	if (is_poly || is_sigmoid || strcmp(w->kernel, "rbf") == 0)
		mmq_buf_printf(w->out, "gamma %.17g\n", mmq_part_find(part, "gamma")->f);
	if (is_poly || is_sigmoid)
		mmq_buf_printf(w->out, "coef0 %.17g\n", mmq_part_find(part, "coef0")->f);
}

static void
write_pairs(const struct writer *w, const char *key, const double *values, size_t step)
{
	mmq_buf_printf(w->out, "%s", key);
	for (size_t p = 0; p < w->pairs; p++)
		mmq_buf_printf(w->out, " %.17g", values[p * step]);
	mmq_buf_printf(w->out, "\n");
}

static int
write_head(const struct writer *w)
{
	const struct mmq_converted *c = w->converted;
	const struct mmq_tensor *sigmoid = mmq_part_find_tensor(&c->part, "sigmoid");
	const struct mmq_value *sigma = mmq_part_find(&c->part, "sigma");
	bool is_nu = strcmp(w->formulation, "nu") == 0, is_regression = c->task == MMQ_REGRESSION;
	mmq_buf_printf(w->out, "svm_type %s\n", c->task == MMQ_ONE_CLASS ? "one_class" : is_regression ? is_nu ? "nu_svr" : "epsilon_svr" :
	    is_nu ? "nu_svc" : "c_svc");
	write_kernel(w);
	mmq_buf_printf(w->out, "nr_class %zu\ntotal_sv %zu\n", w->classes == 0 ? 2 : w->classes, w->count);
	if (is_regression)           /* mean + scale (sum - rho) */
		w->rho[0] = w->rho[0] * c->target_scale - c->target_mean;
	write_pairs(w, "rho", w->rho, 1);
	for (size_t k = 0; k < w->classes; k++) {
		long label;
		if (mmq_lines_label("LIBSVM", &c->classes, class_at(w, k), &label, w->err) == -1)
			return -1;
		mmq_buf_printf(w->out, k == 0 ? "label %ld" : " %ld", label);
	}
	if (w->classes > 0)
		mmq_buf_printf(w->out, "\n");
	if (sigmoid != NULL) {
		write_pairs(w, "probA", sigmoid->data, 2);
		write_pairs(w, "probB", (const double *)sigmoid->data + 1, 2);
	} else if (is_regression && sigma != NULL) {
		mmq_buf_printf(w->out, "probA %.17g\n", sigma->f * c->target_scale);
	}
	for (size_t k = 0; w->classes > 2 && k < w->classes; k++)
		mmq_buf_printf(w->out, k == 0 ? "nr_sv %u" : " %u", w->class_start[k + 1] - w->class_start[k]);
	if (w->classes == 2)         /* only their sum matters to two classes */
		mmq_buf_printf(w->out, "nr_sv %zu 0", w->count);
	mmq_buf_printf(w->out, w->classes > 0 ? "\nSV\n" : "SV\n");
	return 0;
}

int
mmq_libsvm_model_write(const struct mmq_converted *converted, struct mmq_buf *out, struct mmq_err *err)
{
	struct writer w = { .converted = converted, .out = out, .err = err };
	double scale = converted->task == MMQ_REGRESSION ? converted->target_scale : 1.0;
	int result = open_part(&w) == -1 ? -1 : write_head(&w);
	for (size_t v = 0; result == 0 && v < w.count && !out->failed; v++) {
		uint64_t from = 0, to = 0;
		for (size_t k = 0; k < w.coef_rows; k++)
			mmq_buf_printf(out, "%.17g ", w.coef[k * w.count + v] * scale);
		if (w.column != NULL)
			mmq_buf_printf(out, "0:%u ", ((const uint32_t *)w.column->data)[v] + 1);
		else
			range(&w, v, &from, &to);
		for (uint64_t e = from; e < to; e++) {
			size_t col;
			double value = entry(&w, v, e, &col);
			if (value != 0.0)
				mmq_buf_printf(out, "%zu:%.17g ", col + 1, value);
		}
		mmq_buf_printf(out, "\n");
	}
	free(w.rho);
	return result == 0 && out->failed ? mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "LIBSVM: the file would be larger than is allowed") : result;
}
