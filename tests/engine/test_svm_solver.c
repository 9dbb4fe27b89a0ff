/* test_svm_solver.c: the batched solver against the plain one: same optimum over kernels, costs, shapes and duplicates; same bits for any
 * number of threads; bounds on steps; cancel. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/svm/solver.h"
#include "math/rng.h"
#include "util/mem.h"

struct made {
	struct svm_problem problem;
	struct svm_rows rows;
	int8_t *y;
	double *offset, *upper;
};

/* Two overlapping blobs, or a noisy sine of the first column for regression; every fifth row repeats the one before, label and all else new. */
static void
make(struct made *made, size_t rows, size_t cols, bool regression, struct svm_kernel kernel, double c, uint64_t seed)
{
	struct mmq_rng rng = mmq_rng_stream(seed, rows, cols);
	float *x = mmq_array(rows * cols, sizeof(float));
	size_t variables = regression ? 2 * rows : rows;

	*made = (struct made){ .y = mmq_array(variables, 1), .offset = mmq_array(variables, sizeof(double)),
		.upper = mmq_array(variables, sizeof(double)) };
	for (size_t r = 0; r < rows; r++) {
		int8_t label = mmq_rng_normal(&rng) > 0 ? 1 : -1;
		for (size_t j = 0; j < cols; j++)
			x[r * cols + j] = (float)(mmq_rng_normal(&rng) + 0.4 * label);
		if (r % 5 == 4)
			memcpy(x + r * cols, x + (r - 1) * cols, cols * sizeof(float));
		double target = sin(2 * (double)x[r * cols]) + 0.3 * mmq_rng_normal(&rng);
		made->y[r] = regression ? 1 : label;
		made->offset[r] = regression ? 0.1 - target : -label;
		made->upper[r] = c * (1 + (double)(r % 3));
		if (regression) {
			made->y[rows + r] = -1;
			made->offset[rows + r] = -0.1 - target;
			made->upper[rows + r] = made->upper[r];
		}
	}
	svm_rows_pack(&made->rows, x, rows, cols);
	made->problem = (struct svm_problem){ .rows = &made->rows, .kernel = kernel, .variables = variables, .y = made->y, .offset = made->offset,
		.upper = made->upper, .tol = 1e-3, .iterations_max = -1, .cache_bytes = 20000000 };
	free(x);
}

static void
made_free(struct made *made)
{
	svm_rows_fini(&made->rows);
	free(made->y);
	free(made->offset);
	free(made->upper);
}

static void
compare(size_t rows, size_t cols, bool regression, struct svm_kernel kernel, double c, size_t cache_bytes)
{
	struct made made;
	struct svm_solution plain, batched;

	make(&made, rows, cols, regression, kernel, c, 11);
	made.problem.cache_bytes = cache_bytes;
	svm_solve_plain(&made.problem, &plain);
	svm_solve(&made.problem, &batched);
	assert_true(plain.converged && batched.converged);
	assert_true(batched.gap < made.problem.tol);
	double scale = fabs(plain.objective) > 1e-9 ? fabs(plain.objective) : 1e-9, balance = 0;
	/* Both stop at the same gap; a point whose gap is tol is at most tol times the sum of bounds above the optimum. */
	double room = 0;
	for (size_t v = 0; v < made.problem.variables; v++)
		room += made.problem.tol * made.upper[v];
	if (batched.objective > plain.objective + 1e-4 * scale || batched.objective < plain.objective - room - 1e-4 * scale)
		fail_msg("%zu x %zu C=%g: batched %.9g, plain %.9g", rows, cols, c, batched.objective, plain.objective);
	for (size_t v = 0; v < made.problem.variables; v++) {
		assert_true(batched.alpha[v] >= 0 && batched.alpha[v] <= made.upper[v]);
		balance += made.y[v] * batched.alpha[v];
	}
	assert_true(fabs(balance) < 1e-9 * c * (double)rows);
	free(plain.alpha);
	free(batched.alpha);
	made_free(&made);
}

static void
test_same_optimum_over_shapes_and_costs(void **state)
{
	(void)state;
	static const size_t sizes[] = { 2, 3, 17, 50, 300, 1023, 1025, 1500 };
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		for (int regression = 0; regression < 2; regression++)
			for (double c = 0.01; c < 101; c *= 100) {
				const struct svm_kernel kernel = { .kind = SVM_RBF, .gamma = i % 2 == 0 ? 0.2 : 5 };
				compare(sizes[i], 1 + i * 3, regression, kernel, c, 20000000);
			}
}

static void
test_same_optimum_over_kernels(void **state)
{
	(void)state;
	static const struct svm_kernel kernels[] = { { .kind = SVM_LINEAR }, { .kind = SVM_POLY, .gamma = 0.2, .coef0 = 1, .degree = 2 },
		{ .kind = SVM_RBF, .gamma = 0.05 } };
	for (size_t k = 0; k < 3; k++)
		for (int regression = 0; regression < 2; regression++)
			compare(1200, 6, regression, kernels[k], 0.5, 20000000);
}

static void
test_a_small_cache_changes_nothing_but_time(void **state)
{
	(void)state;
	compare(1600, 5, false, (struct svm_kernel){ .kind = SVM_RBF, .gamma = 0.2 }, 1, 1);
	compare(1600, 5, true, (struct svm_kernel){ .kind = SVM_RBF, .gamma = 0.2 }, 1, 1000000);
}

static void
test_any_number_of_threads_gives_the_same_bits(void **state)
{
	(void)state;
	struct made made;
	struct svm_solution one, three;
	struct mmq_pool *pool = mmq_pool_new(3);
	make(&made, 2500, 9, false, (struct svm_kernel){ .kind = SVM_RBF, .gamma = 0.1 }, 1, 5);
	svm_solve(&made.problem, &one);
	made.problem.pool = pool;
	svm_solve(&made.problem, &three);
	assert_memory_equal(one.alpha, three.alpha, made.problem.variables * sizeof(double));
	assert_true(one.rho == three.rho && one.iterations == three.iterations);
	free(one.alpha);
	free(three.alpha);
	mmq_pool_destroy(&pool);
	made_free(&made);
}

static bool
stop_at_once(void *arg, int64_t iteration, double gap)
{
	(void)arg;
	(void)iteration;
	(void)gap;
	return false;
}

static void
test_bounds_and_cancel_are_told_apart(void **state)
{
	(void)state;
	struct made made;
	struct svm_solution solution;
	make(&made, 2000, 4, true, (struct svm_kernel){ .kind = SVM_RBF, .gamma = 1 }, 10, 7);
	made.problem.iterations_max = 10;
	svm_solve(&made.problem, &solution);
	assert_true(!solution.converged && !solution.cancelled && solution.iterations == 10 && solution.gap > made.problem.tol);
	free(solution.alpha);
	made.problem.report = stop_at_once;
	svm_solve(&made.problem, &solution);
	assert_true(!solution.converged && solution.cancelled);
	free(solution.alpha);
	made_free(&made);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_optimum_over_shapes_and_costs),
		cmocka_unit_test(test_same_optimum_over_kernels),
		cmocka_unit_test(test_a_small_cache_changes_nothing_but_time),
		cmocka_unit_test(test_any_number_of_threads_gives_the_same_bits),
		cmocka_unit_test(test_bounds_and_cancel_are_told_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
