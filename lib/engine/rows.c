/* rows.c: reading rows of dense and sparse batches. */
#include "engine/rows.h"

#include <math.h>
#include <string.h>

int
mmq_rows_check(const struct mmq_batch *x, const char *engine, size_t cols_want, struct mmq_err *err)
{
	if (x->codes_cols > 0)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "%s: got %zu category columns, want them one-hot coded", engine, x->codes_cols);
	if (cols_want != SIZE_MAX && x->cols != cols_want)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "%s: got %zu columns, want %zu", engine, x->cols, cols_want);
	return 0;
}

static int
refuse(const struct mmq_batch *x, size_t row, const float *out, struct mmq_err *err)
{
	size_t col = 0;
	while (col < x->cols && isfinite(out[col]))
		col++;
	return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "row %zu, column %zu: got %s, want a finite number", row, col,
	    col < x->cols && isnan(out[col]) ? "a missing value" : "an infinite value");
}

int
mmq_rows_get_f32(const struct mmq_batch *x, size_t row, float *out, struct mmq_err *err)
{
	if (x->row_start != NULL) {
		memset(out, 0, x->cols * sizeof(float));
		for (uint64_t k = x->row_start[row]; k < x->row_start[row + 1]; k++)
			out[x->col[k]] = x->dtype == MMQ_F32 ? ((const float *)x->value)[k] : (float)((const double *)x->value)[k];
	} else if (x->dtype == MMQ_F32) {
		if (x->cols > 0)
			memcpy(out, (const float *)x->dense + row * x->stride, x->cols * sizeof(float));
	} else {
		const double *from = (const double *)x->dense + row * x->stride;
		for (size_t j = 0; j < x->cols; j++)
			out[j] = (float)from[j];
	}
	/* A sum times zero is 0 for finite numbers only: one pass without a branch per number. */
	float poison = 0;
	for (size_t j = 0; j < x->cols; j++)
		poison += out[j] * 0.0f;
	return isfinite(poison) ? 0 : refuse(x, row, out, err);
}
