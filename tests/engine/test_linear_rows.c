/* test_linear_rows.c: the kernels over dense rows beside plain sums, over every width around their registers, and the same bits from AVX2 and AVX-512. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/linear/rows_dense.h"
#include "math/cpu.h"
#include "math/rng.h"
#include "util/mem.h"

enum { COLS_MAX = 71, COUNT_MAX = 9, STRIDE = COLS_MAX + 2, CASES = COLS_MAX * COUNT_MAX };

struct inputs {
	float rows[COUNT_MAX * STRIDE];
	double coef[COLS_MAX], factor[COUNT_MAX];
};

struct answers {
	double scores[CASES][COUNT_MAX], sums[CASES][COLS_MAX];
	bool has_kernels;
};

static void
make_inputs(struct inputs *in)
{
	struct mmq_rng rng = mmq_rng_stream(3, 1, 4);
	for (size_t i = 0; i < COUNT_MAX * STRIDE; i++)
		in->rows[i] = (float)mmq_rng_normal(&rng);
	for (size_t j = 0; j < COLS_MAX; j++)
		in->coef[j] = mmq_rng_normal(&rng);
	for (size_t i = 0; i < COUNT_MAX; i++)
		in->factor[i] = mmq_rng_normal(&rng);
}

static void
answer(struct answers *out, const struct inputs *in)
{
	out->has_kernels = true;
	for (size_t cols = 1; cols <= COLS_MAX; cols++) {
		for (size_t count = 1; count <= COUNT_MAX; count++) {
			size_t at = (cols - 1) * COUNT_MAX + count - 1;
			for (size_t j = 0; j < COLS_MAX; j++)
				out->sums[at][j] = 0.5;
			out->has_kernels = out->has_kernels && mmq_linear_dense_scores(in->rows, STRIDE, count, cols, in->coef, 0.25, out->scores[at]) &&
			    mmq_linear_dense_add(in->rows, STRIDE, count, cols, in->factor, out->sums[at]);
		}
	}
}

static void
test_kernels_equal_plain_sums(void **unused)
{
	(void)unused;
	struct inputs *in = mmq_alloc(sizeof(*in));
	struct answers *out = mmq_alloc(sizeof(*out));
	make_inputs(in);
	answer(out, in);
	for (size_t at = 0; at < CASES && out->has_kernels; at++) {
		size_t cols = at / COUNT_MAX + 1, count = at % COUNT_MAX + 1;
		for (size_t i = 0; i < count; i++) {
			double sum = 0.25;
			for (size_t j = 0; j < cols; j++)
				sum += (double)in->rows[i * STRIDE + j] * in->coef[j];
			assert_true(fabs(out->scores[at][i] - sum) < 1e-13 * (double)(cols + 1));
		}
		for (size_t j = 0; j < COLS_MAX; j++) {
			double sum = 0.5;
			for (size_t i = 0; j < cols && i < count; i++)
				sum += in->factor[i] * (double)in->rows[i * STRIDE + j];
			assert_true(fabs(out->sums[at][j] - sum) < 1e-13 * (double)(count + 1));
		}
	}
	free(in);
	free(out);
}

/* The other processor is played by a child, since the choice is made once. */
static void
test_processors_give_the_same_bits(void **unused)
{
	(void)unused;
	struct inputs *in = mmq_alloc(sizeof(*in));
	struct answers *other = mmap(NULL, sizeof(*other), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *own = mmq_alloc(sizeof(*own));
	int status;
	make_inputs(in);
	assert_true(other != MAP_FAILED);
	pid_t child = fork();
	assert_true(child != -1);
	if (child == 0) {
		setenv("MMQ_CPU", "avx2", 1);
		answer(other, in);
		_exit(mmq_cpu_has_avx512());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	answer(own, in);
	assert_memory_equal(own, other, sizeof(*own));
	munmap(other, sizeof(*other));
	free(in);
	free(own);
}

static void
test_scaled_rows(void **unused)
{
	(void)unused;
	struct inputs *in = mmq_alloc(sizeof(*in));
	float factor[COUNT_MAX], out[COUNT_MAX * STRIDE];
	make_inputs(in);
	for (size_t i = 0; i < COUNT_MAX; i++)
		factor[i] = (float)in->factor[i];
	for (size_t cols = 1; cols <= COLS_MAX; cols++) {
		memset(out, 0, sizeof(out));
		mmq_linear_dense_scale(in->rows, STRIDE, COUNT_MAX, cols, factor, out, cols + 1);
		for (size_t i = 0; i < COUNT_MAX; i++) {
			for (size_t j = 0; j < cols; j++)
				assert_true(out[i * (cols + 1) + j] == factor[i] * in->rows[i * STRIDE + j]);
			assert_true(out[i * (cols + 1) + cols] == 0.0f);
		}
	}
	free(in);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_processors_give_the_same_bits),    /* first: before anything asks for the processor */
		cmocka_unit_test(test_kernels_equal_plain_sums),
		cmocka_unit_test(test_scaled_rows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
