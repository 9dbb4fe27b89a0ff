/* rows_dense.h: kernels over dense float32 rows (count, stride), products in double. False: this processor has none, take the plain loop. */
#ifndef MMQ_ENGINE_LINEAR_ROWS_DENSE_H
#define MMQ_ENGINE_LINEAR_ROWS_DENSE_H

#include <stdbool.h>
#include <stddef.h>

/* scores (count) = rows coef + intercept. */
bool mmq_linear_dense_scores(const float *rows, size_t stride, size_t count, size_t cols, const double *coef, double intercept, double *scores);
/* sum (cols) += rows^T factor. */
bool mmq_linear_dense_add(const float *rows, size_t stride, size_t count, size_t cols, const double *factor, double *sum);
/* out (count, ld) = each row times its factor, in float32; on any processor. */
void mmq_linear_dense_scale(const float *rows, size_t stride, size_t count, size_t cols, const float *factor, float *out, size_t ld);

#endif
