/* dense.h: the float32 kernels of neural layers: y = x w + bias, and the gradient of w, with weights in panels of 16 columns.
 *
 * Key idea: each output is one chain of fused multiply-adds over the inputs in order, however many rows come at once. So a
 * row alone gives the same bits as the row within a batch, and the portable version the same bits as AVX2. A row of inputs may lie in several
 * equal segments: a convolution's window is one segment per kernel row, read in place from the image. */
#ifndef MMQ_MATH_DENSE_H
#define MMQ_MATH_DENSE_H

#include <stdbool.h>
#include <stddef.h>

enum { MMQ_DENSE_PANEL = 16 };

/* Input i of a row is x[i / segment * segment_stride + i % segment]. segments * segment inputs, out outputs. */
struct mmq_dense {
	size_t segments, segment, segment_stride, out;
	bool relu;                      /* y = max(y, 0) */
};

static inline struct mmq_dense
mmq_dense_plain(size_t in, size_t out)
{
	return (struct mmq_dense){ .segments = 1, .segment = in, .out = out };
}

size_t mmq_dense_packed_count(size_t in, size_t out);   /* floats that pack needs: in * out rounded up to 16 */
/* w (in, out) row-major -> packed [out/16][in][16], zeros past out. packed is 64-byte aligned. */
void mmq_dense_pack(float *packed, const float *w, size_t in, size_t out);
void mmq_dense_unpack(float *w, const float *packed, size_t in, size_t out);
/* packed (in, out) -> the same for its transpose (out, in); only columns [from, to) of packed, multiples of 16 or the end. */
void mmq_dense_transpose(float *packed_t, const float *packed, size_t in, size_t out, size_t from, size_t to);

/* y (rows, out; rows y_stride apart) = x (rows, in; rows x_stride apart) w + bias (out; NULL: none). y must not overlap x. Any thread. */
void mmq_dense_forward(const struct mmq_dense *shape, float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows,
    const float *packed, const float *bias);
void mmq_dense_forward_portable(const struct mmq_dense *shape, float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows,
    const float *packed, const float *bias);
/* The same for one segment of `in` values. */
void mmq_dense_run(float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, const float *packed, const float *bias,
    size_t in, size_t out);
void mmq_dense_run_portable(float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, const float *packed,
    const float *bias, size_t in, size_t out);

/* Rows in runs: row r is run r / run_rows, each run x_run_stride and d_run_stride from the one before. */
struct mmq_dense_rows {
	const float *x, *d;             /* x as above; d (rows, out) the gradient of y */
	size_t runs, run_rows, x_stride, x_run_stride, d_stride, d_run_stride;
};
/* g[panel][in][16], as the weights are packed, = or += the sum over rows of x[i] d[column], for width columns from rows.d's first.
 * Columns past width in the last panel are left zero. */
void mmq_dense_gradient(const struct mmq_dense *shape, float *g, const struct mmq_dense_rows *rows, size_t width, bool add);
void mmq_dense_gradient_portable(const struct mmq_dense *shape, float *g, const struct mmq_dense_rows *rows, size_t width, bool add);

#endif
