/* data.c: products of rows and coefficients in double, block by block; dense blocks through BLAS, sparse rows entry by entry. */
#include <string.h>

#include "engine/linear/linear.h"
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
		} else {
			for (size_t j = 0; j < x->cols; j++)
				out[j] = value_at(x, x->dense, (first + i) * x->stride + j);
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
