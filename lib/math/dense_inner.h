/* dense_inner.h: what the paths of the dense kernels share. */
#ifndef MMQ_MATH_DENSE_INNER_H
#define MMQ_MATH_DENSE_INNER_H

#include "math/dense.h"

/* Where input i of a row lies. */
static inline size_t
mmq_dense_offset(const struct mmq_dense *shape, size_t i)
{
	return i / shape->segment * shape->segment_stride + i % shape->segment;
}

#if defined(__x86_64__)
void mmq_dense_forward_avx512(const struct mmq_dense *shape, float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows,
    const float *packed, const float *bias);
void mmq_dense_gradient_avx512(const struct mmq_dense *shape, float *g, const struct mmq_dense_rows *rows, size_t width, bool add);
#endif

#endif
