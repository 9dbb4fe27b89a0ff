/* test_blas.c: the wrappers against plain loops over all transpositions, strides and empty sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>

#include <cmocka.h>

#include "math/blas.h"
#include "math/rng.h"

enum { M = 5, N = 7, K = 9, LD = 11 };
static float a[LD * LD], b[LD * LD], c[LD * LD];
static double da[LD * LD], db[LD * LD], dc[LD * LD], want[LD * LD];

static void
fill(void)
{
	struct mmq_rng rng = mmq_rng_stream(7, 0, 0);
	for (size_t i = 0; i < LD * LD; i++) {
		a[i] = (float)mmq_rng_normal(&rng);
		b[i] = (float)mmq_rng_normal(&rng);
		c[i] = (float)mmq_rng_normal(&rng);
		da[i] = (double)a[i];
		db[i] = (double)b[i];
		dc[i] = (double)c[i];
	}
}

static double
at(const double *matrix, bool is_transposed, size_t i, size_t j)
{
	return is_transposed ? matrix[j * LD + i] : matrix[i * LD + j];
}

static void
test_gemm_equals_plain_loops(void **unused)
{
	(void)unused;
	for (int form = 0; form < 4; form++) {
		bool a_t = (form & 1) != 0, b_t = (form & 2) != 0;
		fill();
		for (size_t i = 0; i < M; i++) {
			for (size_t j = 0; j < N; j++) {
				want[i * LD + j] = 0.5 * dc[i * LD + j];
				for (size_t k = 0; k < K; k++)
					want[i * LD + j] += 2.0 * at(da, a_t, i, k) * at(db, b_t, k, j);
			}
		}
		double untouched = dc[N];
		mmq_sgemm(a_t, b_t, M, N, K, 2.0f, a, LD, b, LD, 0.5f, c, LD);
		mmq_dgemm(a_t, b_t, M, N, K, 2.0, da, LD, db, LD, 0.5, dc, LD);
		for (size_t i = 0; i < M; i++) {
			for (size_t j = 0; j < N; j++) {
				assert_true(fabs(dc[i * LD + j] - want[i * LD + j]) < 1e-12);
				assert_true(fabs((double)c[i * LD + j] - want[i * LD + j]) < 1e-4);
			}
		}
		assert_true(dc[N] == untouched);   /* between row end and stride */
	}
}

static void
test_syrk_and_gemv_equal_plain_loops(void **unused)
{
	(void)unused;
	for (int form = 0; form < 2; form++) {
		bool a_t = form == 1;
		fill();
		mmq_dsyrk(a_t, N, K, 1.0, da, LD, 0.0, dc, LD);
		mmq_ssyrk(a_t, N, K, 1.0f, a, LD, 0.0f, c, LD);
		for (size_t i = 0; i < N; i++) {
			for (size_t j = i; j < N; j++) {
				double sum = 0.0;
				for (size_t k = 0; k < K; k++)
					sum += at(da, a_t, i, k) * at(da, a_t, j, k);
				assert_true(fabs(dc[i * LD + j] - sum) < 1e-12);
				assert_true(fabs((double)c[i * LD + j] - sum) < 1e-4);
			}
		}
		size_t rows = a_t ? K : N, cols = a_t ? N : K;
		mmq_dgemv(a_t, rows, cols, 1.0, da, LD, db, 0.0, dc);
		mmq_sgemv(a_t, rows, cols, 1.0f, a, LD, b, 0.0f, c);
		for (size_t i = 0; i < N; i++) {
			double sum = 0.0;
			for (size_t k = 0; k < K; k++)
				sum += at(da, a_t, i, k) * db[k];
			assert_true(fabs(dc[i] - sum) < 1e-12);
			assert_true(fabs((double)c[i] - sum) < 1e-4);
		}
	}
}

static void
test_empty_sizes_are_harmless(void **unused)
{
	(void)unused;
	fill();
	double first = dc[0];
	mmq_dgemm(false, false, 0, N, K, 1.0, da, LD, db, LD, 0.0, dc, LD);
	mmq_dsyrk(true, 0, K, 1.0, da, LD, 0.0, dc, LD);
	assert_true(dc[0] == first);
	mmq_dgemm(false, false, 2, 2, 0, 1.0, da, 0, db, 2, 0.0, dc, LD);
	assert_true(dc[0] == 0.0 && dc[LD + 1] == 0.0);
	dc[1] = NAN;
	mmq_dgemv(false, 2, 0, 1.0, da, 1, db, 0.0, dc);
	assert_true(dc[0] == 0.0 && dc[1] == 0.0);
	assert_true(mmq_blas_fits(INT32_MAX) && !mmq_blas_fits((size_t)INT32_MAX + 1));
	assert_true(mmq_blas_core()[0] != '\0');
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gemm_equals_plain_loops),
		cmocka_unit_test(test_syrk_and_gemv_equal_plain_loops),
		cmocka_unit_test(test_empty_sizes_are_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
