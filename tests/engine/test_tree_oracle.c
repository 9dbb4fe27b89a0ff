/* test_tree_oracle.c: boosted trees against a plain reference that sorts, sums and compares row by row in double.
 *
 * The reference knows nothing of bins, histograms or fixed point. On data with few distinct values both see the same splits;
 * where two splits tie or nearly do they may choose differently, so the losses are compared too, not only the predictions. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "math/rng.h"
#include "tests/engine/tree_case.h"
#include "util/mem.h"

enum { LEAVES_MAX = 32 };

struct oracle {
	const struct tree_case *c;
	double *g, *h, *score;
	uint32_t *leaf;         /* (rows): leaf of each row */
	size_t leaves, min_data;
	double lambda, rate, min_hessian;
};

struct choice { double gain; size_t leaf, col; double threshold; bool missing_left; };

static bool
goes_left(const struct oracle *o, size_t r, const struct choice *choice)
{
	double x = (double)o->c->x[r * o->c->data.x.cols + choice->col];
	return isnan(x) ? choice->missing_left : x <= choice->threshold;
}

/* Gain of a candidate; -1 when a side is too small. */
static double
gain_of(const struct oracle *o, const struct choice *choice)
{
	double g[2] = { 0 }, h[2] = { 0 };
	size_t n[2] = { 0 };
	for (size_t r = 0; r < o->c->data.x.rows; r++) {
		if (o->leaf[r] != choice->leaf)
			continue;
		int side = !goes_left(o, r, choice);
		g[side] += o->g[r];
		h[side] += o->h[r];
		n[side]++;
	}
	if (n[0] < o->min_data || n[1] < o->min_data || h[0] < o->min_hessian || h[1] < o->min_hessian)
		return -1;
	return g[0] * g[0] / (h[0] + o->lambda) + g[1] * g[1] / (h[1] + o->lambda) -
	    (g[0] + g[1]) * (g[0] + g[1]) / (h[0] + h[1] + o->lambda);
}

/* Thresholds are the distinct values themselves: x <= v. */
static struct choice
best_of_leaf(const struct oracle *o, size_t leaf)
{
	struct choice best = { .gain = 1e-9 };
	size_t cols = o->c->data.x.cols;
	for (size_t col = 0; col < cols; col++) {
		for (double v = -3; v <= 3; v++) {
			for (int missing_left = 0; missing_left < 2; missing_left++) {
				struct choice choice = { 0, leaf, col, v, missing_left };
				choice.gain = gain_of(o, &choice);
				if (choice.gain > best.gain * (1 + 1e-9))
					best = choice;
			}
		}
	}
	return best;
}

static void
grow(struct oracle *o, size_t leaves_max)
{
	size_t rows = o->c->data.x.rows;
	struct choice best[LEAVES_MAX];
	o->leaves = 1;
	memset(o->leaf, 0, rows * sizeof(*o->leaf));
	best[0] = best_of_leaf(o, 0);
	while (o->leaves < leaves_max) {
		size_t top = 0;
		for (size_t k = 1; k < o->leaves; k++)
			if (best[k].gain > best[top].gain)
				top = k;
		if (best[top].gain <= 1e-9)
			break;
		struct choice choice = best[top];
		for (size_t r = 0; r < rows; r++)
			if (o->leaf[r] == top && !goes_left(o, r, &choice))
				o->leaf[r] = (uint32_t)o->leaves;
		best[top] = best_of_leaf(o, top);
		best[o->leaves] = best_of_leaf(o, o->leaves);
		o->leaves++;
	}
	for (size_t k = 0; k < o->leaves; k++) {
		double g = 0, h = 0;
		for (size_t r = 0; r < rows; r++) {
			g += o->leaf[r] == k ? o->g[r] : 0;
			h += o->leaf[r] == k ? o->h[r] : 0;
		}
		for (size_t r = 0; r < rows; r++)
			o->score[r] += o->leaf[r] == k ? -g / (h + o->lambda) * o->rate : 0;
	}
}

static double
loss_of(const struct tree_case *c, const double *score)
{
	double sum = 0;
	for (size_t r = 0; r < c->data.x.rows; r++)
		sum += c->data.classes == 2 ? log1p(exp(c->y[r] > 0 ? -score[r] : score[r])) : (score[r] - c->y[r]) * (score[r] - c->y[r]);
	return sum / (double)c->data.x.rows;
}

/* Returns the share of rows with the same score; holds the losses to each other. */
static double
compare(uint64_t seed, uint32_t classes, bool has_missing, int rounds)
{
	enum { ROWS = 160, COLS = 4 };
	struct tree_case c;
	struct mmq_err err;
	struct mmq_rng rng = mmq_rng_stream(seed, classes, has_missing);
	char settings[200];
	tree_case_init(&c, ROWS, COLS, 0, 0, classes);
	for (size_t r = 0; r < ROWS; r++) {
		for (size_t k = 0; k < COLS; k++)
			c.x[r * COLS + k] = has_missing && mmq_rng_uniform(&rng) < 0.15 ? NAN : (float)mmq_rng_below(&rng, 7) - 3;
		double a = isnan(c.x[r * COLS]) ? 2 : (double)c.x[r * COLS], b = isnan(c.x[r * COLS + 1]) ? -1 : (double)c.x[r * COLS + 1];
		double value = a * b + 2 * (double)(c.x[r * COLS + 2] > 0) + mmq_rng_normal(&rng);
		c.y[r] = classes == 2 ? value > 0 : value;
	}
	struct oracle o = { .c = &c, .min_data = 4, .lambda = 0.5, .rate = 0.3, .min_hessian = classes == 2 ? 0.7 : 0 };
	/* The engine counts rows by hessian: exact for squared error only, so logistic loss leaves the limit to min_hessian. */
	if (classes == 2)
		o.min_data = 1;
	snprintf(settings, sizeof(settings), "num_leaves=7 min_data_in_bin=1 lambda_l2=0.5 learning_rate=0.3 num_iterations=%d min_data_in_leaf=%zu "
	    "min_sum_hessian_in_leaf=%g", rounds, o.min_data, o.min_hessian);
	o.g = mmq_array(ROWS, sizeof(double));
	o.h = mmq_array(ROWS, sizeof(double));
	o.score = mmq_array(ROWS, sizeof(double));
	o.leaf = mmq_array(ROWS, sizeof(uint32_t));
	double mean = 0;
	for (size_t r = 0; r < ROWS; r++)
		mean += c.y[r] / ROWS;
	for (size_t r = 0; r < ROWS; r++)
		o.score[r] = classes == 2 ? log(mean / (1 - mean)) : mean;
	for (int round = 0; round < rounds; round++) {
		for (size_t r = 0; r < ROWS; r++) {
			double p = 1 / (1 + exp(-o.score[r]));
			o.g[r] = classes == 2 ? p - c.y[r] : o.score[r] - c.y[r];
			o.h[r] = classes == 2 ? p * (1 - p) : 1;
		}
		grow(&o, 7);
	}
	void *state = tree_case_train(&c, settings, &err);
	if (state == NULL)
		fail_msg("%s", err.message);
	double *score = tree_case_score(state, &c.data.x, NULL, NULL, 0), same = 0;
	for (size_t r = 0; r < ROWS; r++)
		same += fabs(score[r] - o.score[r]) < 1e-4 ? 1.0 / ROWS : 0;
	assert_near(loss_of(&c, score), loss_of(&c, o.score), 0.03 * loss_of(&c, o.score));
	free(score);
	mmq_engine_tree.destroy(&state);
	free(o.g);
	free(o.h);
	free(o.score);
	free(o.leaf);
	tree_case_fini(&c);
	return same;
}

static void
compare_many(uint32_t classes, bool has_missing)
{
	int equal = 0, cases = 12;
	for (int seed = 0; seed < cases; seed++)
		equal += compare((uint64_t)seed + 1, classes, has_missing, 3) > 0.999;
	/* Ties between splits of the same gain (often one category of values in two columns) may go either way. */
	assert_true(equal >= cases - 2);
}

static void
test_regression_equals_the_reference(void **unused)
{
	(void)unused;
	compare_many(0, false);
	compare_many(0, true);
}

static void
test_logistic_equals_the_reference(void **unused)
{
	(void)unused;
	compare_many(2, false);
	compare_many(2, true);
}

/* Every border that training cut is honoured at prediction: the values around it fall on the sides that training saw. */
static void
test_thresholds_compare_as_bins_did(void **unused)
{
	(void)unused;
	enum { ROWS = 64 };
	struct tree_case c;
	struct mmq_err err;
	struct mmq_rng rng = mmq_rng_stream(77, 0, 0);
	tree_case_init(&c, ROWS, 1, 0, 0, 0);
	/* Neighbouring floats, subnormals and the largest ones: half-way points cannot always be told apart. */
	float value = -FLT_MAX;
	for (size_t r = 0; r < ROWS; r++) {
		c.x[r] = value;
		c.y[r] = mmq_rng_normal(&rng);
		value = r % 3 != 2 ? nextafterf(value, INFINITY) : r < 20 ? value / 8e6f : r < 40 ? value / -3.0f + 1e-40f : fabsf(value) * 1e5f;
		if (value <= c.x[r])
			value = nextafterf(c.x[r], INFINITY);
		if (!isfinite(value))
			value = FLT_MAX;
	}
	void *state = tree_case_train(&c, "boosting=tree", &err);
	assert_non_null(state);
	double *score = tree_case_score(state, &c.data.x, NULL, NULL, 0);
	for (size_t r = 0; r < ROWS; r++)
		if ((r == 0 || c.x[r] != c.x[r - 1]) && (r + 1 == ROWS || c.x[r] != c.x[r + 1]))
			assert_near(score[r], c.y[r], 1e-9);
	free(score);
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

/* Exclusive or: the first split gains nothing, the second everything. */
static void
test_a_tree_of_depth_two_learns_exclusive_or(void **unused)
{
	(void)unused;
	struct tree_case c;
	struct mmq_err err;
	tree_case_init(&c, 40, 2, 0, 0, 2);
	for (size_t r = 0; r < 40; r++) {
		c.x[r * 2] = (float)(r & 1);
		c.x[r * 2 + 1] = (float)(r >> 1 & 1);
		c.y[r] = (double)((r ^ r >> 1) & 1);
	}
	static const char *const criteria[] = { "boosting=tree max_depth=2", "boosting=tree max_depth=2 criterion=entropy",
		"boosting=rf bootstrap=false max_features=all num_iterations=3" };
	for (size_t k = 0; k < 3; k++) {
		void *state = tree_case_train(&c, criteria[k], &err);
		assert_non_null(state);
		double *probability, *score = tree_case_score(state, &c.data.x, &probability, NULL, 2);
		for (size_t r = 0; r < 40; r++)
			assert_true(probability[r * 2 + 1] == c.y[r] && (score[r] > 0) == (c.y[r] > 0));
		free(score);
		free(probability);
		mmq_engine_tree.destroy(&state);
	}
	tree_case_fini(&c);
}

/* A full regression tree gives back each distinct row's target; a forest's probability is a mean of leaf frequencies. */
static void
test_full_trees_hold_the_training_rows(void **unused)
{
	(void)unused;
	struct tree_case c;
	struct mmq_err err;
	struct mmq_rng rng = mmq_rng_stream(5, 0, 0);
	tree_case_init(&c, 200, 2, 0, 0, 0);
	for (size_t r = 0; r < 200; r++) {
		c.x[r * 2] = (float)r;
		c.x[r * 2 + 1] = (float)mmq_rng_normal(&rng);
		c.y[r] = 1e6 + mmq_rng_normal(&rng);
	}
	void *state = tree_case_train(&c, "boosting=tree", &err);
	assert_non_null(state);
	double *score = tree_case_score(state, &c.data.x, NULL, NULL, 0);
	for (size_t r = 0; r < 200; r++)
		assert_near(score[r], c.y[r], 1e-8);
	free(score);
	mmq_engine_tree.destroy(&state);
	c.data.classes = 3;
	c.fit.task = MMQ_MULTICLASS;
	for (size_t r = 0; r < 200; r++)
		c.y[r] = (double)(r % 3);
	state = tree_case_train(&c, "boosting=rf num_iterations=8", &err);
	assert_non_null(state);
	double *probability;
	score = tree_case_score(state, &c.data.x, &probability, NULL, 3);
	for (size_t i = 0; i < 600; i++) {
		assert_near(probability[i] * 8, nearbyint(probability[i] * 8), 1e-12);  /* leaves are pure: eighths */
		assert_true(probability[i] == score[i]);
	}
	free(score);
	free(probability);
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_regression_equals_the_reference),
		cmocka_unit_test(test_logistic_equals_the_reference),
		cmocka_unit_test(test_thresholds_compare_as_bins_did),
		cmocka_unit_test(test_a_tree_of_depth_two_learns_exclusive_or),
		cmocka_unit_test(test_full_trees_hold_the_training_rows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
