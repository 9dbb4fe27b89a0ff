/* kernel.h: the kernel functions, applied to dot products that are there already. Single and double precision. */
#ifndef MMQ_ENGINE_SVM_KERNEL_H
#define MMQ_ENGINE_SVM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

/* precomputed: a row's columns are its kernel values with the training rows. */
enum svm_kernel_kind { SVM_LINEAR, SVM_POLY, SVM_RBF, SVM_SIGMOID, SVM_PRECOMPUTED, SVM_KERNELS };

struct svm_kernel {
	enum svm_kernel_kind kind;
	double gamma, coef0;
	int degree;
};

extern const char *const svm_kernel_names[SVM_KERNELS];

/* dots (count) -> kernel values (count); out may be dots. row_norm (count) and query_norm: squared lengths, read by rbf only. */
void svm_kernel_finish(const struct svm_kernel *kernel, const float *dots, float *out, size_t count, const float *row_norm, float query_norm);
void svm_kernel_finish_wide(const struct svm_kernel *kernel, const double *dots, double *out, size_t count, const double *row_norm, double query_norm);

/* sum[i] += scale[0] a[i] + scale[1] b[i] + scale[2] c[i] + scale[3] d[i], in double and in that order. count is a multiple of 8. */
void svm_kernel_add(double *sum, size_t count, const double scale[4], const float *a, const float *b, const float *c, const float *d);
void svm_kernel_add_wide(double *sum, size_t count, const double scale[4], const double *a, const double *b, const double *c, const double *d);

/* Sum of coef * values, in fixed lanes: the same order on every path. */
double svm_kernel_weigh(const double *coef, const float *values, size_t count);
double svm_kernel_weigh_wide(const double *coef, const double *values, size_t count);

#endif
