/* rows.c: products of rows and coefficients in double, block by block. One output over float32 rows has kernels of its own (rows_dense.c), several
 * outputs go through BLAS, sparse rows entry by entry. */
#include <math.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "engine/linear/rows_dense.h"
#include "math/blas.h"

static inline double
value_at(const struct mmq_batch *x, const void *values, uint64_t k)
{
	return x->dtype == MMQ_F32 ? (double)((const float *)values)[k] : ((const double *)values)[k];
}

size_t
mmq_linear_parts(size_t rows, size_t bytes_per_part)
{
	size_t parts = rows / 1024, fits = ((size_t)64 << 20) / (bytes_per_part + 1);
	parts = parts > MMQ_LINEAR_PARTS_MAX ? MMQ_LINEAR_PARTS_MAX : parts;
	parts = parts > fits ? fits : parts;
	return parts < 1 ? 1 : parts;
}

void
mmq_linear_load(const struct mmq_batch *x, size_t first, size_t count, const double *shift, double *out, size_t ld)
{
	for (size_t i = 0; i < count; i++, out += ld) {
		if (x->row_start != NULL) {
			memset(out, 0, x->cols * sizeof(*out));
			for (uint64_t e = x->row_start[first + i]; e < x->row_start[first + i + 1]; e++)
				out[x->col[e]] = value_at(x, x->value, e);
		} else if (x->dtype == MMQ_F32) {
			const float *from = (const float *)x->dense + (first + i) * x->stride;
			for (size_t j = 0; j < x->cols; j++)
				out[j] = (double)from[j];
		} else {
			memcpy(out, (const double *)x->dense + (first + i) * x->stride, x->cols * sizeof(*out));
		}
		for (size_t j = 0; shift != NULL && j < x->cols; j++)
			out[j] -= shift[j];
	}
}

void
mmq_linear_forward(const struct mmq_batch *x, size_t first, size_t count, const double *coef, const double *intercept, size_t outputs,
    double *block, double *scores)
{
	for (size_t i = 0; i < count; i++)
		memcpy(scores + i * outputs, intercept, outputs * sizeof(*scores));
	if (x->row_start == NULL) {
		mmq_linear_load(x, first, count, NULL, block, x->cols);
		mmq_dgemm(false, true, count, outputs, x->cols, 1.0, block, x->cols, coef, x->cols, 1.0, scores, outputs);
		return;
	}
	for (size_t i = 0; i < count; i++)
		for (uint64_t e = x->row_start[first + i]; e < x->row_start[first + i + 1]; e++)
			for (size_t k = 0; k < outputs; k++)
				scores[i * outputs + k] += value_at(x, x->value, e) * coef[k * x->cols + x->col[e]];
}

void
mmq_linear_backward(const struct mmq_batch *x, size_t first, size_t count, const double *residual, size_t outputs, double *block,
    double *gradient, double *gradient_0)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < outputs; k++)
			gradient_0[k] += residual[i * outputs + k];
	if (x->row_start == NULL) {
		mmq_linear_load(x, first, count, NULL, block, x->cols);
		mmq_dgemm(true, false, outputs, x->cols, count, 1.0, residual, outputs, block, x->cols, 1.0, gradient, x->cols);
		return;
	}
	for (size_t i = 0; i < count; i++)
		for (uint64_t e = x->row_start[first + i]; e < x->row_start[first + i + 1]; e++)
			for (size_t k = 0; k < outputs; k++)
				gradient[k * x->cols + x->col[e]] += value_at(x, x->value, e) * residual[i * outputs + k];
}

static double
score_row(const struct mmq_batch *x, size_t row, const double *coef)
{
	double sum = 0.0;
	if (x->row_start != NULL && x->dtype == MMQ_F32) {
		const float *value = x->value;
		for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++)
			sum += (double)value[e] * coef[x->col[e]];
		return sum;
	}
	if (x->row_start != NULL) {
		const double *value = x->value;
		for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++)
			sum += value[e] * coef[x->col[e]];
		return sum;
	}
	if (x->dtype == MMQ_F64)
		return mmq_linear_dot((const double *)x->dense + row * x->stride, coef, x->cols);
	const float *values = (const float *)x->dense + row * x->stride;
	for (size_t j = 0; j < x->cols; j++)
		sum += (double)values[j] * coef[j];
	return sum;
}

static void
add_row(const struct mmq_batch *x, size_t row, double factor, double *sum)
{
	if (x->row_start != NULL && x->dtype == MMQ_F32) {
		const float *value = x->value;
		for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++)
			sum[x->col[e]] += factor * (double)value[e];
		return;
	}
	if (x->row_start != NULL) {
		const double *value = x->value;
		for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++)
			sum[x->col[e]] += factor * value[e];
		return;
	}
	if (x->dtype == MMQ_F64) {
		const double *values = (const double *)x->dense + row * x->stride;
		for (size_t j = 0; j < x->cols; j++)
			sum[j] += factor * values[j];
		return;
	}
	const float *values = (const float *)x->dense + row * x->stride;
	for (size_t j = 0; j < x->cols; j++)
		sum[j] += factor * (double)values[j];
}

void
mmq_linear_scores(const struct mmq_batch *x, size_t first, size_t count, const double *coef, double intercept, double *scores)
{
	if (x->row_start == NULL && x->dtype == MMQ_F32 &&
	    mmq_linear_dense_scores((const float *)x->dense + first * x->stride, x->stride, count, x->cols, coef, intercept, scores))
		return;
	for (size_t i = 0; i < count; i++)
		scores[i] = intercept + score_row(x, first + i, coef);
}

void
mmq_linear_add_rows(const struct mmq_batch *x, size_t first, size_t count, const double *factor, double *sum)
{
	if (x->row_start == NULL && x->dtype == MMQ_F32 &&
	    mmq_linear_dense_add((const float *)x->dense + first * x->stride, x->stride, count, x->cols, factor, sum))
		return;
	for (size_t i = 0; i < count; i++)
		add_row(x, first + i, factor[i], sum);
}
