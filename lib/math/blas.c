/* blas.c: thin wrappers over CBLAS. */
#include "math/blas.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <stdatomic.h>

bool
mmq_blas_fits(size_t size)
{
	return size <= INT_MAX;
}

/* OpenBLAS starts one thread per core unless the environment said otherwise before main; its threads would fight with ours. */
static void
use_one_thread(void)
{
	static atomic_bool done;
	if (!atomic_load_explicit(&done, memory_order_acquire)) {
		openblas_set_num_threads(1);
		atomic_store_explicit(&done, true, memory_order_release);
	}
}

static int
size_of(size_t size)
{
	assert(mmq_blas_fits(size) && "a matrix is too large for BLAS");
	return (int)size;
}

static enum CBLAS_TRANSPOSE
transpose_of(bool is_transposed)
{
	return is_transposed ? CblasTrans : CblasNoTrans;
}

const char *
mmq_blas_core(void)
{
	return openblas_get_corename();
}

/* The float and the double version of each call differ in nothing but the type. */
#define WRAPPERS(prefix, real)                                                                                                    \
	void                                                                                                                      \
	mmq_##prefix##gemm(bool a_t, bool b_t, size_t m, size_t n, size_t k, real alpha, const real *a, size_t lda, const real *b, \
	    size_t ldb, real beta, real *c, size_t ldc)                                                                           \
	{                                                                                                                         \
		use_one_thread();                                                                                                 \
		if (m > 0 && n > 0)                                                                                               \
			cblas_##prefix##gemm(CblasRowMajor, transpose_of(a_t), transpose_of(b_t), size_of(m), size_of(n),         \
			    size_of(k), alpha, a, size_of(lda > 0 ? lda : 1), b, size_of(ldb > 0 ? ldb : 1), beta, c, size_of(ldc)); \
	}                                                                                                                         \
	void                                                                                                                      \
	mmq_##prefix##syrk(bool a_t, size_t n, size_t k, real alpha, const real *a, size_t lda, real beta, real *c, size_t ldc)    \
	{                                                                                                                         \
		use_one_thread();                                                                                                 \
		if (n > 0)                                                                                                        \
			cblas_##prefix##syrk(CblasRowMajor, CblasUpper, transpose_of(a_t), size_of(n), size_of(k), alpha, a,       \
			    size_of(lda > 0 ? lda : 1), beta, c, size_of(ldc));                                                   \
	}                                                                                                                         \
	void                                                                                                                      \
	mmq_##prefix##gemv(bool a_t, size_t rows, size_t cols, real alpha, const real *a, size_t lda, const real *x, real beta,    \
	    real *y)                                                                                                              \
	{                                                                                                                         \
		use_one_thread();                                                                                                 \
		size_t y_count = a_t ? cols : rows;                                                                               \
		if (rows > 0 && cols > 0) {                                                                                       \
			cblas_##prefix##gemv(CblasRowMajor, transpose_of(a_t), size_of(rows), size_of(cols), alpha, a,             \
			    size_of(lda), x, 1, beta, y, 1);                                                                      \
			return;                                                                                                   \
		}                                                                                                                 \
		for (size_t i = 0; i < y_count; i++)   /* an empty sum */                                                        \
			y[i] = beta == 0 ? 0 : beta * y[i];                                                                       \
	}

WRAPPERS(s, float)
WRAPPERS(d, double)
