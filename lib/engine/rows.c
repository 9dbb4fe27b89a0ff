/* rows.c: reading rows of dense and sparse batches. */
#include "engine/rows.h"

#include <string.h>

void
mmq_rows_get_f32(const struct mmq_batch *x, size_t row, float *out)
{
	if (x->row_start != NULL) {
		memset(out, 0, x->cols * sizeof(float));
		for (uint64_t k = x->row_start[row]; k < x->row_start[row + 1]; k++)
			out[x->col[k]] = x->dtype == MMQ_F32 ? ((const float *)x->value)[k] : (float)((const double *)x->value)[k];
	} else if (x->dtype == MMQ_F32) {
		memcpy(out, (const float *)x->dense + row * x->stride, x->cols * sizeof(float));
	} else {
		const double *from = (const double *)x->dense + row * x->stride;
		for (size_t j = 0; j < x->cols; j++)
			out[j] = (float)from[j];
	}
}

void
mmq_rows_get_f64(const struct mmq_batch *x, size_t row, double *out)
{
	if (x->row_start != NULL) {
		memset(out, 0, x->cols * sizeof(double));
		for (uint64_t k = x->row_start[row]; k < x->row_start[row + 1]; k++)
			out[x->col[k]] = x->dtype == MMQ_F32 ? (double)((const float *)x->value)[k] : ((const double *)x->value)[k];
	} else if (x->dtype == MMQ_F32) {
		const float *from = (const float *)x->dense + row * x->stride;
		for (size_t j = 0; j < x->cols; j++)
			out[j] = (double)from[j];
	} else {
		memcpy(out, (const double *)x->dense + row * x->stride, x->cols * sizeof(double));
	}
}
