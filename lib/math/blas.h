/* blas.h: the few BLAS calls that engines use, row-major, with sizes checked.
 *
 * BLAS counts in int: a size that does not fit is a programmer's mistake here (assert); engines ask mmq_blas_fits first.
 * Each call runs in the calling thread only: our own pool splits the work in fixed blocks, so that the same bits come out
 * for any number of threads. Sizes of 0 are allowed. beta == 0 does not read c. */
#ifndef MMQ_MATH_BLAS_H
#define MMQ_MATH_BLAS_H

#include <stdbool.h>
#include <stddef.h>

bool mmq_blas_fits(size_t size);
const char *mmq_blas_core(void);   /* the kernel OpenBLAS chose, e.g. "Haswell": for cards and bench headers */

/* c (m, n; rows ldc apart) = alpha op(a) op(b) + beta c, op(a) (m, k), op(b) (k, n); a_t: a is stored (k, m). */
void mmq_sgemm(bool a_t, bool b_t, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
    float beta, float *c, size_t ldc);
void mmq_dgemm(bool a_t, bool b_t, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda, const double *b, size_t ldb,
    double beta, double *c, size_t ldc);

/* Upper triangle of c (n, n) = alpha op(a) op(a)^T + beta c, op(a) (n, k); a_t: a is stored (k, n). */
void mmq_ssyrk(bool a_t, size_t n, size_t k, float alpha, const float *a, size_t lda, float beta, float *c, size_t ldc);
void mmq_dsyrk(bool a_t, size_t n, size_t k, double alpha, const double *a, size_t lda, double beta, double *c, size_t ldc);

/* y = alpha op(a) x + beta y, a stored (rows, cols); a_t: y (cols), x (rows), else y (rows), x (cols). */
void mmq_sgemv(bool a_t, size_t rows, size_t cols, float alpha, const float *a, size_t lda, const float *x, float beta, float *y);
void mmq_dgemv(bool a_t, size_t rows, size_t cols, double alpha, const double *a, size_t lda, const double *x, double beta, double *y);

#endif
