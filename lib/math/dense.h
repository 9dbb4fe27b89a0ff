/* dense.h: y = x w + bias for float32 layers, with weights packed once in panels of 16 columns.
 *
 * Key idea: each output is one chain of fused multiply-adds over the inputs in order, however many rows come at once. So a
 * row alone gives the same bits as the row within a batch, and the portable version the same bits as AVX2.
 * For training, where that does not matter, math/blas.h is used. */
#ifndef MMQ_MATH_DENSE_H
#define MMQ_MATH_DENSE_H

#include <stddef.h>

enum { MMQ_DENSE_PANEL = 16 };

size_t mmq_dense_packed_count(size_t in, size_t out);   /* floats that pack needs: in * out rounded up to 16 */
/* w (in, out) row-major -> packed [out/16][in][16], zeros past out. packed is 64-byte aligned. */
void mmq_dense_pack(float *packed, const float *w, size_t in, size_t out);
/* y (rows, out; rows y_stride apart) = x (rows, in; rows x_stride apart) w + bias (out). y must not overlap x. Any thread. */
void mmq_dense_run(float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, const float *packed, const float *bias,
    size_t in, size_t out);
void mmq_dense_run_portable(float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, const float *packed,
    const float *bias, size_t in, size_t out);

#endif
