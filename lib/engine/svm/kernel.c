/* kernel.c: packing rows, and the kernel functions over their dot products. */
#include "engine/svm/kernel.h"

#include <stdlib.h>

#include "math/dense.h"
#include "math/exp.h"
#include "util/mem.h"

_Static_assert((int)SVM_PANEL == (int)MMQ_DENSE_PANEL, "rows are packed as math/dense.h wants them");

const char *const svm_kernel_names[4] = { "linear", "poly", "rbf", "sigmoid" };

double
svm_square_length(const float *row, size_t cols)
{
	double sum = 0;
	for (size_t j = 0; j < cols; j++)
		sum += (double)row[j] * (double)row[j];
	return sum;
}

void
svm_rows_pack(struct svm_rows *packed, const float *values, size_t rows, size_t cols)
{
	size_t panels = (rows + SVM_PANEL - 1) / SVM_PANEL;

	*packed = (struct svm_rows){ .rows = rows, .cols = cols, .panels = panels };
	packed->values = mmq_aligned(panels * cols * SVM_PANEL * sizeof(float));
	packed->norm = mmq_aligned(panels * SVM_PANEL * sizeof(float));
	packed->zeros = mmq_aligned(panels * SVM_PANEL * sizeof(float));
	for (size_t r = 0; r < rows; r++) {
		float *panel = packed->values + r / SVM_PANEL * cols * SVM_PANEL + r % SVM_PANEL;
		for (size_t j = 0; j < cols; j++)
			panel[j * SVM_PANEL] = values[r * cols + j];
		packed->norm[r] = (float)svm_square_length(values + r * cols, cols);
	}
}

void
svm_rows_fini(struct svm_rows *packed)
{
	free(packed->values);
	free(packed->norm);
	free(packed->zeros);
	*packed = (struct svm_rows){ 0 };
}

void
svm_rows_get(const struct svm_rows *packed, size_t row, float *values_out)
{
	const float *panel = packed->values + row / SVM_PANEL * packed->cols * SVM_PANEL + row % SVM_PANEL;
	for (size_t j = 0; j < packed->cols; j++)
		values_out[j] = panel[j * SVM_PANEL];
}

static float
power(float base, int exponent)
{
	float result = 1.0f;
	for (; exponent > 0; exponent >>= 1, base *= base)
		if (exponent & 1)
			result *= base;
	return result;
}

/* Dot products in place to kernel values; norms of the rows and of the query. */
static void
finish(const struct svm_kernel *kernel, float *values, size_t count, const float *row_norm, float query_norm)
{
	float gamma = (float)kernel->gamma, coef0 = (float)kernel->coef0;

	switch (kernel->kind) {
	case SVM_LINEAR:
		break;
	case SVM_POLY:
		for (size_t i = 0; i < count; i++)
			values[i] = power(gamma * values[i] + coef0, kernel->degree);
		break;
	case SVM_RBF:
		for (size_t i = 0; i < count; i++) {
			/* Rounding can make a squared distance a little negative. */
			float distance = row_norm[i] + query_norm - 2.0f * values[i];
			values[i] = -gamma * (distance > 0 ? distance : 0);
		}
		mmq_exp_f32(values, values, count);
		break;
	case SVM_SIGMOID:
		for (size_t i = 0; i < count; i++)
			values[i] = gamma * values[i] + coef0;
		mmq_tanh_f32(values, values, count);
		break;
	}
}

void
svm_kernel_values(const struct svm_kernel *kernel, const struct svm_rows *packed, size_t from, size_t to, const float *queries,
    size_t query_stride, size_t count, float *out, size_t out_stride)
{
	mmq_dense_run(out, out_stride, queries, query_stride, count, packed->values + from * packed->cols * SVM_PANEL, packed->zeros,
	    packed->cols, (to - from) * SVM_PANEL);
	for (size_t q = 0; q < count; q++) {
		float norm = kernel->kind == SVM_RBF ? (float)svm_square_length(queries + q * query_stride, packed->cols) : 0;
		finish(kernel, out + q * out_stride, (to - from) * SVM_PANEL, packed->norm + from * SVM_PANEL, norm);
	}
}

float
svm_kernel_self(const struct svm_kernel *kernel, const struct svm_rows *packed, size_t row)
{
	float value = packed->norm[row];
	if (kernel->kind == SVM_RBF)
		return 1.0f;
	finish(kernel, &value, 1, NULL, 0);
	return value;
}
