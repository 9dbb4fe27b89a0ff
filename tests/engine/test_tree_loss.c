/* test_tree_loss.c: objectives of boosting: leaves in closed form, quantiles beside a sort, what targets they refuse. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/tree/loss.h"
#include "math/rng.h"
#include "tests/engine/tree_case.h"
#include "util/mem.h"

#define ONE_STEP "num_iterations=1 learning_rate=1 min_data_in_leaf=1 min_data_in_bin=1 num_leaves=2 "

static int
compare_items(const void *a_p, const void *b_p)
{
	const struct mmq_tree_weighted *a = a_p, *b = b_p;
	return a->value < b->value ? -1 : a->value > b->value;
}

/* The plain way: sort, then add weights up. */
static double
sorted_quantile(const struct mmq_tree_weighted *items, size_t count, double q)
{
	struct mmq_tree_weighted *sorted = mmq_array(count, sizeof(*sorted));
	double total = 0, sum = 0, answer = NAN;
	memcpy(sorted, items, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_items);
	for (size_t i = 0; i < count; i++)
		total += sorted[i].weight;
	for (size_t i = 0; i < count && isnan(answer); i++) {
		sum += sorted[i].weight;
		if (sum >= q * total)
			answer = sum == q * total && i + 1 < count ? (sorted[i].value + sorted[i + 1].value) / 2 : sorted[i].value;
	}
	free(sorted);
	return answer;
}

static void
test_quantiles_equal_those_of_a_sort(void **unused)
{
	(void)unused;
	static const double shares[] = { 0.5, 0.25, 0.1, 0.9, 0.001, 0.999, 0.75 };
	struct mmq_rng rng = mmq_rng_stream(1, 0, 0);
	for (int k = 0; k < 4000; k++) {
		size_t count = 1 + (size_t)mmq_rng_below(&rng, k % 50 == 0 ? 900 : 24);
		struct mmq_tree_weighted *items = mmq_array(count, sizeof(*items));
		uint64_t values = 1 + mmq_rng_below(&rng, 30);
		for (size_t i = 0; i < count; i++)  /* weights are whole numbers, so that sums are exact and ties really tie */
			items[i] = (struct mmq_tree_weighted){ (double)mmq_rng_below(&rng, values), k % 2 == 0 ? 1 : 1 + (double)mmq_rng_below(&rng, 4) };
		double q = shares[k % 7], wanted = sorted_quantile(items, count, q);
		assert_true(mmq_tree_quantile(items, count, q) == wanted);
		free(items);
	}
}

/* Two groups of rows, a leaf each: what each group's rows get. */
static void
two_groups(const double *y, size_t first, size_t rows, const float *weight, const char *settings, double got[2])
{
	struct tree_case c;
	char all[300];
	tree_case_init(&c, rows, 1, 0, 0, 0);
	for (size_t r = 0; r < rows; r++) {
		c.x[r] = r < first ? 1.0f : 2.0f;
		c.y[r] = y[r];
	}
	if (weight != NULL) {
		c.weight = mmq_array(rows, sizeof(float));
		memcpy(c.weight, weight, rows * sizeof(float));
	}
	snprintf(all, sizeof(all), ONE_STEP "%s", settings);
	void *state = tree_case_train_well(&c, all);
	double *score = tree_case_score(state, &c.data.x, NULL, NULL, 0);
	got[0] = score[0];
	got[1] = score[rows - 1];
	free(score);
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

static void
test_leaves_of_absolute_and_quantile_loss_are_quantiles(void **unused)
{
	(void)unused;
	const double y[] = { 1, 2, 3, 1000, 10, 20, 30, 40, 50 };
	const float weight[] = { 1, 1, 1, 5, 1, 1, 1, 1, 7 };
	double got[2];
	two_groups(y, 4, 9, NULL, "objective=regression_l1", got);
	assert_near(got[0], 2.5, 1e-9);
	assert_near(got[1], 30, 1e-9);
	two_groups(y, 4, 9, weight, "objective=regression_l1", got);
	assert_near(got[0], 1000, 1e-9);
	assert_near(got[1], 50, 1e-9);
	two_groups(y, 4, 9, NULL, "objective=quantile alpha=0.3", got);
	assert_near(got[0], 2, 1e-9);    /* 1.2 rows of 4 */
	assert_near(got[1], 20, 1e-9);   /* 1.5 rows of 5 */
	two_groups(y, 4, 9, NULL, "objective=quantile alpha=0.55", got);
	assert_near(got[0], 3, 1e-9);    /* 2.2 rows of 4 */
	assert_near(got[1], 30, 1e-9);   /* 2.75 rows of 5 */
}

static void
test_a_quantile_model_covers_its_share(void **unused)
{
	(void)unused;
	enum { ROWS = 4000 };
	static const double shares[] = { 0.1, 0.5, 0.9 };
	for (size_t k = 0; k < 3; k++) {
		struct tree_case c;
		char settings[100];
		struct mmq_rng rng = mmq_rng_stream(8, 0, 0);
		tree_case_init(&c, ROWS, 2, 0, 0, 0);
		for (size_t r = 0; r < ROWS; r++) {
			c.x[r * 2] = (float)mmq_rng_uniform(&rng);
			c.x[r * 2 + 1] = (float)mmq_rng_uniform(&rng);
			c.y[r] = 3 * (double)c.x[r * 2] + (0.2 + (double)c.x[r * 2 + 1]) * mmq_rng_normal(&rng);
		}
		snprintf(settings, sizeof(settings), "objective=quantile alpha=%g num_iterations=60 num_leaves=8", shares[k]);
		void *state = tree_case_train_well(&c, settings);
		double *score = tree_case_score(state, &c.data.x, NULL, NULL, 0), below = 0;
		for (size_t r = 0; r < ROWS; r++)
			below += c.y[r] <= score[r] ? 1.0 / ROWS : 0;
		assert_near(below, shares[k], 0.02);
		free(score);
		mmq_engine_tree.destroy(&state);
		tree_case_fini(&c);
	}
}

static void
test_huber_clips_the_errors(void **unused)
{
	(void)unused;
	const double y[] = { 0, 1, 2, 7, 100, 104, 102, 300 };
	double got[2], plain[2], mean = (0 + 1 + 2 + 7 + 100 + 104 + 102 + 300) / 8.0;
	two_groups(y, 4, 8, NULL, "objective=huber alpha=1e6", got);
	two_groups(y, 4, 8, NULL, "objective=regression", plain);
	assert_true(got[0] == plain[0] && got[1] == plain[1]);
	/* Errors mean - y are all above 60 on one side; on the other three are -23, -27, -25 and the last is far below -50. */
	two_groups(y, 4, 8, NULL, "objective=huber alpha=50", got);
	double second = 0;
	for (size_t r = 4; r < 8; r++)
		second += fmax(fmin(mean - y[r], 50), -50) / 4;
	assert_near(got[0], mean - 50, 1e-4);
	assert_near(got[1], mean - second, 1e-4);
}

static void
test_poisson_steps_on_the_log_of_the_mean(void **unused)
{
	(void)unused;
	const double y[] = { 0, 1, 1, 2, 8, 12, 9, 11 };
	double got[2], mean = 44 / 8.0;
	two_groups(y, 4, 8, NULL, "objective=poisson poisson_max_delta_step=0.7", got);
	/* G = sum(mean - y), H = 4 mean exp(0.7): the score moves by -G / H, the answer is its exponential. */
	assert_near(got[0], mean * exp(-(4 * mean - 4) / (4 * mean * exp(0.7))), 1e-5);
	assert_near(got[1], mean * exp(-(4 * mean - 40) / (4 * mean * exp(0.7))), 1e-5);
}

/* The mean of the answers is the mean of the counts, and the file keeps the link. */
static void
test_a_poisson_model_keeps_the_mean_and_its_link(void **unused)
{
	(void)unused;
	enum { ROWS = 3000 };
	struct tree_case c;
	struct mmq_rng rng = mmq_rng_stream(3, 0, 0);
	struct mmq_part part;
	struct mmq_err err;
	void *again;
	double total = 0, answered = 0;
	tree_case_init(&c, ROWS, 2, 0, 0, 0);
	for (size_t r = 0; r < ROWS; r++) {
		c.x[r * 2] = (float)mmq_rng_uniform(&rng);
		c.x[r * 2 + 1] = (float)mmq_rng_uniform(&rng);
		double rate = exp(2 * (double)c.x[r * 2] - 1), limit = exp(-rate);
		for (double product = mmq_rng_uniform(&rng); product > limit; product *= mmq_rng_uniform(&rng))
			c.y[r]++;
		total += c.y[r];
	}
	void *state = tree_case_train_well(&c, "objective=poisson num_iterations=80 num_leaves=8");
	double *score = tree_case_score(state, &c.data.x, NULL, NULL, 0);
	for (size_t r = 0; r < ROWS; r++) {
		assert_true(score[r] > 0);
		answered += score[r];
	}
	assert_near(answered / total, 1, 0.02);
	mmq_part_init(&part, true);
	assert_int_equal(mmq_engine_tree.save(state, &part, &err), 0);
	assert_int_equal(mmq_engine_tree.open(&again, &part, &err), 0);
	double *score_again = tree_case_score(again, &c.data.x, NULL, NULL, 0);
	assert_memory_equal(score, score_again, ROWS * sizeof(double));
	free(score);
	free(score_again);
	mmq_engine_tree.destroy(&again);
	mmq_part_fini(&part);
	mmq_engine_tree.destroy(&state);
	for (size_t r = 0; r < ROWS; r++)
		c.y[r] = r == 7 ? -1 : 0;
	assert_null(tree_case_train(&c, "objective=poisson", &err));
	assert_non_null(strstr(err.message, "row 7"));
	c.y[7] = 0;
	assert_null(tree_case_train(&c, "objective=poisson", &err));
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	tree_case_fini(&c);
}

/* A few wild targets hardly move the absolute loss, but they do the squared one. */
static void
test_absolute_loss_bears_wild_targets(void **unused)
{
	(void)unused;
	enum { ROWS = 2000 };
	static const char *const objectives[] = { "objective=regression_l1 num_leaves=8", "objective=regression num_leaves=8" };
	double error[2] = { 0 };
	for (size_t k = 0; k < 2; k++) {
		struct tree_case c;
		struct mmq_rng rng = mmq_rng_stream(4, 0, 0);
		tree_case_init(&c, ROWS, 1, 0, 0, 0);
		for (size_t r = 0; r < ROWS; r++) {
			c.x[r] = (float)mmq_rng_uniform(&rng);
			c.y[r] = (double)c.x[r] + 0.1 * tan(3.1 * (mmq_rng_uniform(&rng) - 0.5));  /* Cauchy but for its last tails */
		}
		void *state = tree_case_train_well(&c, objectives[k]);
		double *score = tree_case_score(state, &c.data.x, NULL, NULL, 0);
		for (size_t r = 0; r < ROWS; r++)
			error[k] += fabs(score[r] - (double)c.x[r]) / ROWS;
		free(score);
		mmq_engine_tree.destroy(&state);
		tree_case_fini(&c);
	}
	assert_true(error[0] < 0.06);
	assert_true(error[1] > 2 * error[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quantiles_equal_those_of_a_sort),
		cmocka_unit_test(test_leaves_of_absolute_and_quantile_loss_are_quantiles),
		cmocka_unit_test(test_a_quantile_model_covers_its_share),
		cmocka_unit_test(test_huber_clips_the_errors),
		cmocka_unit_test(test_poisson_steps_on_the_log_of_the_mean),
		cmocka_unit_test(test_a_poisson_model_keeps_the_mean_and_its_link),
		cmocka_unit_test(test_absolute_loss_bears_wild_targets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
