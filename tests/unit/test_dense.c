/* test_dense.c: packed layers against a plain double sum, and equal bits for any number of rows and either path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "math/dense.h"
#include "math/rng.h"
#include "util/mem.h"

enum { ROWS = 23, WIDE = 150, STRIDE = WIDE + 3 };

static void
check_shape(size_t in, size_t out)
{
	struct mmq_rng rng = mmq_rng_stream(5, in, out);
	float *x = mmq_array(ROWS * STRIDE, sizeof(*x)), *w = mmq_array(in * out + 1, sizeof(*w)), *bias = mmq_array(out, sizeof(*bias));
	float *y = mmq_array(ROWS * STRIDE, sizeof(*y)), *z = mmq_array(ROWS * STRIDE, sizeof(*z));
	float *packed = mmq_aligned((mmq_dense_packed_count(in, out) + 1) * sizeof(*packed));
	for (size_t i = 0; i < ROWS * STRIDE; i++)
		x[i] = (float)mmq_rng_normal(&rng);
	for (size_t i = 0; i < in * out; i++)
		w[i] = (float)mmq_rng_normal(&rng);
	for (size_t i = 0; i < out; i++)
		bias[i] = (float)mmq_rng_normal(&rng);
	mmq_dense_pack(packed, w, in, out);
	mmq_dense_run(y, STRIDE, x, STRIDE, ROWS, packed, bias, in, out);
	for (size_t r = 0; r < ROWS; r++) {
		for (size_t j = 0; j < out; j++) {
			double sum = (double)bias[j];
			for (size_t i = 0; i < in; i++)
				sum += (double)x[r * STRIDE + i] * (double)w[i * out + j];
			assert_true(fabs((double)y[r * STRIDE + j] - sum) <= 1e-4 * (1.0 + fabs(sum)));
		}
	}
	mmq_dense_run_portable(z, STRIDE, x, STRIDE, ROWS, packed, bias, in, out);
	assert_memory_equal(y, z, ROWS * STRIDE * sizeof(*y));
	for (size_t rows = 1; rows <= 7; rows++) {
		memset(z, 0, ROWS * STRIDE * sizeof(*z));
		for (size_t r = 0; r < ROWS; r += rows)
			mmq_dense_run(z + r * STRIDE, STRIDE, x + r * STRIDE, STRIDE, ROWS - r < rows ? ROWS - r : rows, packed, bias, in, out);
		assert_memory_equal(y, z, ROWS * STRIDE * sizeof(*y));
	}
	free(x), free(w), free(bias), free(y), free(z), free(packed);
}

static void
test_all_shapes_agree(void **unused)
{
	(void)unused;
	const size_t sizes[] = { 1, 2, 7, 15, 16, 17, 31, 64, 80, 129, WIDE };
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++)
			check_shape(sizes[i], sizes[j]);
}

/* g = x^T d over runs of rows, added or not, against a double sum; the portable path has the same bits. in: segments of 3 neighbours or all together. */
static void
check_gradient(size_t in, size_t out, bool is_cut)
{
	struct mmq_rng rng = mmq_rng_stream(6, in, out);
	const struct mmq_dense shape = { .segments = is_cut ? in / 3 : 1, .segment = is_cut ? 3 : in, .segment_stride = 5, .out = out };
	const size_t runs = 3, run_rows = 7, x_stride = 2 * WIDE, count = mmq_dense_packed_count(in, out);
	float *x = mmq_array(runs * run_rows * x_stride, sizeof(*x)), *d = mmq_array(runs * run_rows * out, sizeof(*d));
	float *g = mmq_aligned(count * sizeof(*g)), *portable = mmq_aligned(count * sizeof(*g));
	for (size_t i = 0; i < runs * run_rows * x_stride; i++)
		x[i] = (float)mmq_rng_normal(&rng);
	for (size_t i = 0; i < runs * run_rows * out; i++)
		d[i] = (float)mmq_rng_normal(&rng);
	const struct mmq_dense_rows rows = { .x = x, .d = d, .runs = runs, .run_rows = run_rows, .x_stride = x_stride, .x_run_stride = run_rows * x_stride,
		.d_stride = out, .d_run_stride = run_rows * out };
	for (int times = 1; times <= 2; times++) {
		mmq_dense_gradient(&shape, g, &rows, out, times == 2);
		mmq_dense_gradient_portable(&shape, portable, &rows, out, times == 2);
		assert_memory_equal(g, portable, count * sizeof(*g));
		for (size_t i = 0; i < in; i++)
			for (size_t j = 0; j < out; j++) {
				double sum = 0.0, got = (double)g[j / 16 * 16 * in + i * 16 + j % 16];
				for (size_t r = 0; r < runs * run_rows; r++)
					sum += (double)x[r * x_stride + (is_cut ? i / 3 * 5 + i % 3 : i)] * (double)d[r * out + j];
				assert_true(fabs(got - times * sum) <= 1e-4 * (1.0 + fabs(times * sum)));
			}
	}
	free(x), free(d), free(g), free(portable);
}

static void
test_gradients_agree(void **unused)
{
	(void)unused;
	const size_t sizes[] = { 3, 9, 12, 24, 27, 36, 48, 63, 129 };
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
			check_gradient(sizes[i], sizes[j], false);
			check_gradient(sizes[i], sizes[j], true);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_all_shapes_agree), cmocka_unit_test(test_gradients_agree) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
