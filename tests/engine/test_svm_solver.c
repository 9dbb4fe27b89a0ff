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

#include "engine/svm/dual.h"
#include "math/rng.h"
#include "util/mem.h"

struct made {
	struct svm_problem problem;
	struct svm_rowset set;
	struct mmq_batch x;
	float *values;
	uint32_t *order;
	size_t start[2];
	int8_t *y;
	double *offset, *upper, *begin;
};

enum form { C_SVC, SVR, NU_SVC, NU_SVR, ONE_CLASS };

/* Two overlapping blobs, or a noisy sine of the first column for regression; every fifth row repeats the one before, label and all else new. */
static void
make(struct made *made, size_t rows, size_t cols, enum form form, struct svm_kernel kernel, double c, size_t cache_bytes, struct svm_form layout)
{
	struct mmq_rng rng = mmq_rng_stream(11, rows, cols);
	bool regression = form == SVR || form == NU_SVR;
	size_t padded = (rows + SVM_PANEL - 1) / SVM_PANEL * SVM_PANEL, variables = regression ? 2 * padded : padded;

	*made = (struct made){ .values = mmq_array(rows * cols, sizeof(float)), .order = mmq_array(padded, sizeof(uint32_t)), .start = { 0, padded },
		.y = mmq_array(variables, 1), .offset = mmq_array(variables, sizeof(double)), .upper = mmq_array(variables, sizeof(double)),
		.begin = mmq_array(variables, sizeof(double)) };
	for (size_t v = 0; v < variables; v++)
		made->y[v] = v < padded ? 1 : -1;
	for (size_t r = 0; r < padded; r++)
		made->order[r] = r < rows ? (uint32_t)r : SVM_NO_ROW;
	for (size_t r = 0; r < rows; r++) {
		float *x = made->values + r * cols;
		int8_t label = mmq_rng_normal(&rng) > 0 ? 1 : -1;
		for (size_t j = 0; j < cols; j++)
			x[j] = layout.sparse && mmq_rng_uniform(&rng) < 0.7 ? 0 : (float)(mmq_rng_normal(&rng) + 0.4 * label);
		if (r % 5 == 4)
			memcpy(x, x - cols, cols * sizeof(float));
		double target = sin(2 * (double)x[0]) + 0.3 * mmq_rng_normal(&rng), epsilon = form == SVR ? 0.1 : 0;
		made->upper[r] = c * (1 + (double)(r % 3));
		if (regression) {
			made->offset[r] = epsilon - target;
			made->offset[padded + r] = -epsilon - target;
			made->upper[padded + r] = made->upper[r];
		} else if (form != ONE_CLASS) {
			made->y[r] = label;
			made->offset[r] = form == C_SVC ? -label : 0;
		}
	}
	made->x = (struct mmq_batch){ .rows = rows, .cols = cols, .dtype = MMQ_F32, .dense = made->values, .stride = cols };
	made->set = (struct svm_rowset){ .x = &made->x, .order = made->order, .kernel = kernel, .segments = 1, .segment_start = made->start };
	svm_rows_init(&made->set.rows, &made->x, made->order, padded, layout);
	made->problem = (struct svm_problem){ .cache = svm_rowcache_new(&made->set, cache_bytes, SVM_SEGMENTS_MIN, 1), .pieces = 1, .rows = padded,
		.variables = variables, .y = made->y, .offset = made->offset, .upper = made->upper, .by_sign = form == NU_SVC || form == NU_SVR,
		.tol = 1e-3, .iterations_max = -1 };
	if (form == C_SVC || form == SVR)
		return;
	/* A fifth of the room of the smaller sign, in order. */
	double room[2] = { 0, 0 }, left[2];
	for (size_t v = 0; v < variables; v++)
		room[made->y[v] < 0] += made->upper[v];
	left[0] = left[1] = 0.2 * (form == ONE_CLASS || room[0] < room[1] ? room[0] : room[1]);
	for (size_t v = 0; v < variables; v++) {
		double *sign = &left[made->y[v] < 0];
		made->begin[v] = fmin(*sign, made->upper[v]);
		*sign -= made->begin[v];
	}
	made->problem.start = made->begin;
}

static void
made_free(struct made *made)
{
	svm_rowcache_destroy(&made->problem.cache);
	svm_rows_fini(&made->set.rows);
	free(made->values);
	free(made->order);
	free(made->y);
	free(made->offset);
	free(made->upper);
	free(made->begin);
}

static double
sum_of_sign(const struct made *made, const double *alpha, int sign)
{
	double sum = 0;
	for (size_t v = 0; v < made->problem.variables; v++)
		sum += made->y[v] == sign ? alpha[v] : 0;
	return sum;
}

static void
compare(size_t rows, size_t cols, enum form form, struct svm_kernel kernel, double c, size_t cache_bytes, struct svm_form layout)
{
	struct made made;
	struct svm_solution plain, batched;

	make(&made, rows, cols, form, kernel, c, cache_bytes, layout);
	svm_solve_plain(&made.problem, &kernel, &made.x, &plain);
	svm_solve(&made.problem, &batched);
	assert_true(plain.converged && batched.converged);
	assert_true(batched.gap < made.problem.tol);
	double scale = fabs(plain.objective) > 1e-9 ? fabs(plain.objective) : 1e-9;
	/* Both stop at the same gap; a point whose gap is tol is at most tol times the sum of bounds above the optimum. */
	double room = 0;
	for (size_t v = 0; v < made.problem.variables; v++)
		room += made.problem.tol * made.upper[v];
	if (batched.objective > plain.objective + 1e-4 * scale + (form >= NU_SVC ? room : 0) || batched.objective < plain.objective - room - 1e-4 * scale)
		fail_msg("form %d, %zu x %zu C=%g: batched %.9g, plain %.9g", (int)form, rows, cols, c, batched.objective, plain.objective);
	for (size_t v = 0; v < made.problem.variables; v++)
		assert_true(batched.alpha[v] >= 0 && batched.alpha[v] <= made.upper[v]);
	double start = sum_of_sign(&made, made.begin, 1) - sum_of_sign(&made, made.begin, -1);
	double balance = sum_of_sign(&made, batched.alpha, 1) - sum_of_sign(&made, batched.alpha, -1) - start;
	assert_true(fabs(balance) < 1e-9 * c * (double)rows);
	if (made.problem.by_sign)
		assert_true(fabs(sum_of_sign(&made, batched.alpha, 1) - sum_of_sign(&made, made.begin, 1)) < 1e-9 * c * (double)rows);
	svm_solution_fini(&plain);
	svm_solution_fini(&batched);
	made_free(&made);
}

static const struct svm_form single;

static void
test_same_optimum_over_shapes_and_costs(void **state)
{
	(void)state;
	static const size_t sizes[] = { 2, 3, 17, 50, 200, 1030 };
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		for (enum form form = C_SVC; form <= ONE_CLASS; form++)
			for (double c = 0.01; c < (sizes[i] > 300 ? 1 : 101); c *= 100) {
				const struct svm_kernel kernel = { .kind = SVM_RBF, .gamma = i % 2 == 0 ? 0.2 : 5 };
				compare(sizes[i], 1 + i * 3, form, kernel, c, 20000000, single);
			}
}

static void
test_same_optimum_over_kernels(void **state)
{
	(void)state;
	static const struct svm_kernel kernels[] = { { .kind = SVM_LINEAR }, { .kind = SVM_POLY, .gamma = 0.2, .coef0 = 1, .degree = 2 },
		{ .kind = SVM_RBF, .gamma = 0.05 } };
	for (size_t k = 0; k < 3; k++)
		for (enum form form = C_SVC; form <= ONE_CLASS; form++)
			compare(300, 6, form, kernels[k], 0.5, 20000000, single);
}

static void
test_a_small_cache_changes_nothing_but_time(void **state)
{
	(void)state;
	compare(1030, 5, C_SVC, (struct svm_kernel){ .kind = SVM_RBF, .gamma = 0.2 }, 1, 1, single);
	compare(1030, 5, SVR, (struct svm_kernel){ .kind = SVM_RBF, .gamma = 0.2 }, 1, 1000000, single);
	compare(1030, 5, NU_SVC, (struct svm_kernel){ .kind = SVM_RBF, .gamma = 0.2 }, 1, 1, single);
}

static void
test_same_optimum_in_every_form_of_rows(void **state)
{
	(void)state;
	static const struct svm_kernel kernels[] = { { .kind = SVM_LINEAR }, { .kind = SVM_RBF, .gamma = 0.2 } };
	for (size_t k = 0; k < 2; k++)
		for (int layout = 0; layout < 4; layout++)
			compare(1030, 19, C_SVC, kernels[k], 1, 20000000, (struct svm_form){ .sparse = layout & 1, .wide = layout & 2 });
}

/* Numbers that single precision cannot square: double converges to the plain solver's optimum. */
static void
test_double_rows_reach_a_tight_tolerance(void **state)
{
	(void)state;
	struct made made;
	struct svm_solution plain, batched;
	struct svm_kernel kernel = { .kind = SVM_RBF, .gamma = 0.3 };
	make(&made, 1030, 4, C_SVC, kernel, 10, 100000000, (struct svm_form){ .wide = true });
	made.problem.tol = 1e-6;
	svm_solve_plain(&made.problem, &kernel, &made.x, &plain);
	svm_solve(&made.problem, &batched);
	assert_true(batched.converged && fabs(batched.objective - plain.objective) < 1e-8 * fabs(plain.objective));
	svm_solution_fini(&plain);
	svm_solution_fini(&batched);
	made_free(&made);
}

/* From its own solution there is nothing to do; from a known g of another point the end is the same. */
static void
test_a_start_is_taken_up(void **state)
{
	(void)state;
	struct made made;
	struct svm_solution first, again;
	const double none[2] = { 0, 0 };
	make(&made, 1500, 6, C_SVC, (struct svm_kernel){ .kind = SVM_RBF, .gamma = 0.2 }, 1, 20000000, single);
	svm_solve(&made.problem, &first);
	made.problem.start = first.alpha;
	svm_solve(&made.problem, &again);
	assert_true(again.converged && again.iterations < first.iterations / 20);
	svm_solution_fini(&again);
	memcpy(made.begin, first.alpha, made.problem.variables * sizeof(double));
	for (size_t r = 0; r < 300; r++)
		made.upper[r] = 0;
	svm_problem_repair(&made.problem, made.begin, none);
	assert_true(fabs(sum_of_sign(&made, made.begin, 1) - sum_of_sign(&made, made.begin, -1)) < 1e-9);
	made.problem.start = made.begin;
	made.problem.known_alpha = first.alpha;
	made.problem.known_g = first.g;
	svm_solve(&made.problem, &again);
	made.problem.start = NULL;
	made.problem.known_alpha = made.problem.known_g = NULL;
	struct svm_solution cold;
	svm_solve(&made.problem, &cold);
	assert_true(again.converged && again.iterations < cold.iterations);
	assert_true(fabs(again.objective - cold.objective) < 1e-4 * fabs(cold.objective));
	for (size_t r = 0; r < 300; r++)   /* held out, but scored */
		assert_true(again.alpha[r] == 0 && fabs(again.g[r] - again.rho - cold.g[r] + cold.rho) < 0.01);
	svm_solution_fini(&first);
	svm_solution_fini(&again);
	svm_solution_fini(&cold);
	made_free(&made);
}

static void
test_any_number_of_threads_gives_the_same_bits(void **state)
{
	(void)state;
	struct made made;
	struct svm_solution one, three;
	struct mmq_pool *pool = mmq_pool_new(3);
	make(&made, 2500, 9, C_SVC, (struct svm_kernel){ .kind = SVM_RBF, .gamma = 0.1 }, 1, 20000000, single);
	svm_solve(&made.problem, &one);
	svm_rowcache_destroy(&made.problem.cache);
	made.problem.cache = svm_rowcache_new(&made.set, 20000000, SVM_SEGMENTS_MIN, 1);
	made.problem.pool = pool;
	svm_solve(&made.problem, &three);
	assert_memory_equal(one.alpha, three.alpha, made.problem.variables * sizeof(double));
	assert_true(one.rho == three.rho && one.iterations == three.iterations);
	svm_solution_fini(&one);
	svm_solution_fini(&three);
	mmq_pool_destroy(&pool);
	made_free(&made);
}

/* Half of the rows or more settle on the way. Once with a cache that gives up rows, and with one that does not: the narrow one keeps theirs. */
static void
test_shrinking_ends_at_the_optimum_of_all_rows(void **state)
{
	(void)state;
	static const struct {
		enum form form;
		size_t cols, cache_bytes;
		double gamma, c;
	} cases[] = { { SVR, 4, 30000000, 0.3, 0.3 }, { C_SVC, 20, 30000000, 0.02, 1 }, { C_SVC, 8, 400000000, 0.05, 1 }, { ONE_CLASS, 8, 30000000, 0.05, 1 } };
	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		struct made made;
		struct svm_solution all, shrunk;
		struct svm_ends ends[2];
		make(&made, 9000, cases[k].cols, cases[k].form, (struct svm_kernel){ .kind = SVM_RBF, .gamma = cases[k].gamma }, cases[k].c,
		    cases[k].cache_bytes, single);
		made.problem.tol = 1e-4;
		svm_solve(&made.problem, &all);
		svm_rowcache_destroy(&made.problem.cache);
		made.problem.cache = svm_rowcache_new(&made.set, cases[k].cache_bytes, SVM_SEGMENTS_MIN, 1);
		svm_solve_large(&made.problem, &shrunk);
		assert_true(shrunk.cuts > 0 && all.converged && shrunk.converged);
		assert_true(fabs(shrunk.objective - all.objective) < 1e-5 * fabs(all.objective));
		assert_true(svm_violation(&made.problem, shrunk.alpha, shrunk.g, ends) < made.problem.tol);
		svm_solution_fini(&all);
		svm_solution_fini(&shrunk);
		made_free(&made);
	}
}

static bool
stop_at_once(void *arg, int64_t iteration, double gap, size_t vectors)
{
	(void)arg;
	(void)iteration;
	(void)gap;
	(void)vectors;
	return false;
}

static void
test_bounds_and_cancel_are_told_apart(void **state)
{
	(void)state;
	struct made made;
	struct svm_solution solution;
	make(&made, 2000, 4, SVR, (struct svm_kernel){ .kind = SVM_RBF, .gamma = 1 }, 10, 20000000, single);
	made.problem.iterations_max = 10;
	svm_solve(&made.problem, &solution);
	assert_true(!solution.converged && !solution.cancelled && solution.iterations == 10 && solution.gap > made.problem.tol);
	svm_solution_fini(&solution);
	made.problem.report = stop_at_once;
	svm_solve(&made.problem, &solution);
	assert_true(!solution.converged && solution.cancelled);
	svm_solution_fini(&solution);
	made_free(&made);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_optimum_over_shapes_and_costs),
		cmocka_unit_test(test_same_optimum_over_kernels),
		cmocka_unit_test(test_a_small_cache_changes_nothing_but_time),
		cmocka_unit_test(test_same_optimum_in_every_form_of_rows),
		cmocka_unit_test(test_double_rows_reach_a_tight_tolerance),
		cmocka_unit_test(test_a_start_is_taken_up),
		cmocka_unit_test(test_shrinking_ends_at_the_optimum_of_all_rows),
		cmocka_unit_test(test_any_number_of_threads_gives_the_same_bits),
		cmocka_unit_test(test_bounds_and_cancel_are_told_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
