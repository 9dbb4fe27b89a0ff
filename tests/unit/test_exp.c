/* test_exp.c: the fast exponentials against libm in double, and vector against portable bit by bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "math/exp.h"

enum { STEP = 4096 };
static float x[STEP + 1], y[STEP + 1], plain[STEP + 1];

typedef void array_function(float *out, const float *in, size_t count);

/* Largest error over [low, high], 4e6 points, relative or absolute; also that both paths give the same bits. */
static double
worst_error(array_function *vector, array_function *portable, double (*exact)(double), double low, double high, int is_relative)
{
	double worst = 0.0;
	size_t chunks = 1000;
	for (size_t chunk = 0; chunk < chunks; chunk++) {
		for (size_t i = 0; i < STEP; i++)
			x[i] = (float)(low + (high - low) * ((double)(chunk * STEP + i) / (double)(chunks * STEP - 1)));
		vector(y, x, STEP);
		if (chunk % 16 == 0) {
			portable(plain, x, STEP);
			assert_memory_equal(plain, y, STEP * sizeof(float));
		}
		for (size_t i = 0; i < STEP; i++) {
			double want = exact((double)x[i]), error = fabs((double)y[i] - want);
			error = is_relative ? error / fabs(want) : error;
			worst = error > worst ? error : worst;
		}
	}
	return worst;
}

static double
exact_sigmoid(double value)
{
	return 1.0 / (1.0 + exp(-value));
}

static void
test_exp_is_within_2e_7(void **unused)
{
	(void)unused;
	double worst = worst_error(mmq_exp_f32, mmq_exp_f32_portable, exp, -87.0, 87.0, 1);
	print_message("exp: largest relative error %.3g\n", worst);
	assert_true(worst <= 2e-7);
	assert_true(worst_error(mmq_exp_f32, mmq_exp_f32_portable, exp, -1.0, 1.0, 1) <= 2e-7);
}

static void
test_sigmoid_and_tanh_are_within_2e_7(void **unused)
{
	(void)unused;
	assert_true(worst_error(mmq_sigmoid_f32, mmq_sigmoid_f32_portable, exact_sigmoid, -30.0, 30.0, 0) <= 2e-7);
	assert_true(worst_error(mmq_tanh_f32, mmq_tanh_f32_portable, tanh, -12.0, 12.0, 0) <= 2e-7);
	assert_true(worst_error(mmq_tanh_f32, mmq_tanh_f32_portable, tanh, 1e-3, 0.7, 1) <= 5e-7);
}

static void
test_ends_and_special_values(void **unused)
{
	(void)unused;
	const float in[] = { 0.0f, -0.0f, 88.7f, 88.8f, 1e30f, INFINITY, -87.4f, -100.0f, -104.0f, -1e30f, -INFINITY };
	size_t count = sizeof(in) / sizeof(in[0]);
	mmq_exp_f32(y, in, count);
	mmq_exp_f32_portable(plain, in, count);
	assert_memory_equal(plain, y, count * sizeof(float));
	assert_true(y[0] == 1.0f && y[1] == 1.0f);
	assert_true(isfinite(y[2]) && fabs((double)y[2] / exp((double)88.7f) - 1.0) < 2e-7);
	assert_true(isinf(y[3]) && isinf(y[4]) && isinf(y[5]));
	assert_true(fabs((double)y[6] / exp((double)-87.4f) - 1.0) < 1e-6);
	assert_true(fabs((double)y[7] - exp(-100.0)) <= 0x1p-149);
	assert_true(y[8] <= 0x1p-149f && y[9] == 0.0f && y[10] == 0.0f);
	for (size_t i = 0; i < 11; i++)
		x[i] = NAN;
	mmq_exp_f32(y, x, 11);
	mmq_tanh_f32(plain, x, 11);
	for (size_t i = 0; i < 11; i++)
		assert_true(isnan(y[i]) && isnan(plain[i]));
	mmq_sigmoid_f32(y, in, count);
	mmq_tanh_f32(plain, in, count);
	assert_true(y[0] == 0.5f && y[5] == 1.0f && y[10] == 0.0f);
	assert_true(plain[0] == 0.0f && plain[1] == 0.0f && plain[5] == 1.0f && plain[10] == -1.0f);
}

static void
test_every_tail_length_equals_portable(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < 40; i++)
		x[i] = (float)i * 0.37f - 7.0f;
	for (size_t count = 0; count <= 33; count++) {
		memset(y, 0x55, sizeof(y));
		memset(plain, 0x55, sizeof(plain));
		mmq_exp_f32(y + 1, x + 3, count);
		mmq_exp_f32_portable(plain + 1, x + 3, count);
		assert_memory_equal(y, plain, sizeof(y));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exp_is_within_2e_7),
		cmocka_unit_test(test_sigmoid_and_tanh_are_within_2e_7),
		cmocka_unit_test(test_ends_and_special_values),
		cmocka_unit_test(test_every_tail_length_equals_portable),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
