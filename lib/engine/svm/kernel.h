/* kernel.h: rows packed for dot products, and kernel values between a few query rows and all packed rows.
 *
 * Rows are kept in panels of 16, feature by feature, as the packed weights of math/dense.h: a kernel row is a layer whose outputs
 * are the training rows. Its rule holds here too: a row alone and in a batch gets the same bits. */
#ifndef MMQ_ENGINE_SVM_KERNEL_H
#define MMQ_ENGINE_SVM_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

enum svm_kernel_kind { SVM_LINEAR, SVM_POLY, SVM_RBF, SVM_SIGMOID };
enum { SVM_PANEL = 16, SVM_QUERIES_MAX = 6 };

struct svm_kernel {
	enum svm_kernel_kind kind;
	double gamma, coef0;
	int degree;
};

struct svm_rows {
	size_t rows, cols;
	size_t panels;        /* rows rounded up to panels; the rows added are zeros */
	float *values;        /* (panels, cols, SVM_PANEL), 64-byte aligned */
	float *norm;          /* (panels * SVM_PANEL): squared length, summed in double */
	float *zeros;         /* (panels * SVM_PANEL): the bias that dot products do not have */
};

/* rows x cols floats, row-major, to panels. */
void svm_rows_pack(struct svm_rows *packed, const float *values, size_t rows, size_t cols);
void svm_rows_fini(struct svm_rows *packed);
void svm_rows_get(const struct svm_rows *packed, size_t row, float *values_out);  /* (cols) */

/* out[q * out_stride + r] = K(query q, row r of panels from..to-1), r counted from the first row of panel `from`.
 * queries (count, query_stride) with count <= SVM_QUERIES_MAX. out rows hold (to - from) * SVM_PANEL values. */
void svm_kernel_values(const struct svm_kernel *kernel, const struct svm_rows *packed, size_t from, size_t to, const float *queries,
    size_t query_stride, size_t count, float *out, size_t out_stride);

/* The two halves of svm_kernel_values: dot products, and from these (count of them, out may be dots) kernel values. */
void svm_kernel_dots(const struct svm_rows *packed, size_t from, size_t to, const float *queries, size_t query_stride, size_t count,
    float *out, size_t out_stride);
void svm_kernel_finish(const struct svm_kernel *kernel, const float *dots, float *out, size_t count, const float *row_norm, float query_norm);

/* sum[i] += scale[0] a[i] + scale[1] b[i] + scale[2] c[i] + scale[3] d[i], in double and in that order. count is a multiple of 4. */
void svm_kernel_add(double *sum, size_t count, const double scale[4], const float *a, const float *b, const float *c, const float *d);

float svm_kernel_self(const struct svm_kernel *kernel, const struct svm_rows *packed, size_t row);  /* K(row, row) */
double svm_square_length(const float *row, size_t cols);

extern const char *const svm_kernel_names[4];

#endif
