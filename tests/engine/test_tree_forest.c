/* test_tree_forest.c: forests and single trees: exact splits beside brute force, packed histograms beside the plain search, random cuts,
 * pruning in closed form, the out-of-bag score. */
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

enum measure { GINI, ENTROPY, MSE };

/* Impurity times rows of the rows whose side is `wanted`. */
static double
impurity(const struct tree_case *c, const uint8_t *side, uint8_t wanted, enum measure measure)
{
	double counts[3] = { 0 }, n = 0, sum = 0, squares = 0, value = 0;
	for (size_t r = 0; r < c->data.x.rows; r++) {
		if (side[r] != wanted)
			continue;
		n++;
		sum += c->y[r];
		squares += c->y[r] * c->y[r];
		if (measure != MSE)
			counts[(size_t)c->y[r]]++;
	}
	if (n == 0 || measure == MSE)
		return n == 0 ? 0 : squares - sum * sum / n;
	for (size_t k = 0; k < 3; k++)
		value += counts[k] == 0 ? 0 : measure == GINI ? counts[k] / n * (1 - counts[k] / n) : -counts[k] / n * log(counts[k] / n);
	return n * value;
}

/* Least impurity of any stump: every value of every column tried. */
static double
best_stump(const struct tree_case *c, enum measure measure)
{
	size_t rows = c->data.x.rows, cols = c->data.x.cols;
	uint8_t *side = mmq_array(rows, 1);
	double best = INFINITY;
	for (size_t k = 0; k < cols; k++) {
		for (size_t cut = 0; cut < rows; cut++) {
			for (size_t r = 0; r < rows; r++)
				side[r] = c->x[r * cols + k] > c->x[cut * cols + k];
			double found = impurity(c, side, 0, measure) + impurity(c, side, 1, measure);
			best = found < best ? found : best;
		}
	}
	free(side);
	return best;
}

static void
test_exact_stumps_are_the_best_there_are(void **unused)
{
	(void)unused;
	static const char *const settings[] = { "boosting=tree max_depth=1 criterion=gini", "boosting=tree max_depth=1 criterion=entropy",
		"boosting=tree max_depth=1" };
	for (uint64_t seed = 0; seed < 12; seed++) {
		for (int measure = GINI; measure <= MSE; measure++) {
			struct tree_case c;
			uint32_t *leaf, classes = measure == MSE ? 0 : seed % 2 == 0 ? 2 : 3;
			uint8_t side[700];
			struct mmq_rng rng = mmq_rng_stream(seed, (uint64_t)measure, 0);
			tree_case_init(&c, 700, 2, 0, 0, classes);
			for (size_t r = 0; r < 700; r++) {  /* more distinct values than bytes have */
				c.x[r * 2] = (float)mmq_rng_normal(&rng);
				c.x[r * 2 + 1] = (float)mmq_rng_normal(&rng);
				double value = (double)c.x[r * 2] - 0.3 * (double)(c.x[r * 2 + 1] > 0.7f) + mmq_rng_normal(&rng);
				c.y[r] = classes == 0 ? value : classes == 2 ? value > 0.4 : value < -0.5 ? 0 : value < 0.9 ? 1 : 2;
			}
			void *state = tree_case_train_well(&c, settings[measure]);
			free(tree_case_score(state, &c.data.x, NULL, &leaf, 0));
			for (size_t r = 0; r < 700; r++)
				side[r] = (uint8_t)leaf[r];
			double ours = impurity(&c, side, 0, (enum measure)measure) + impurity(&c, side, 1, (enum measure)measure), best = best_stump(&c, (enum measure)measure);
			assert_near(ours, best, 1e-9 * fabs(best));
			free(leaf);
			mmq_engine_tree.destroy(&state);
			tree_case_fini(&c);
		}
	}
}

/* One value among thousands is found by an exact tree; 255 bins cannot tell it from its neighbours. */
static void
test_exact_trees_cut_between_any_two_values(void **unused)
{
	(void)unused;
	static const char *const methods[] = { "boosting=tree max_depth=2", "boosting=tree max_depth=2 tree_method=exact", "boosting=tree max_depth=2 tree_method=hist",
		"boosting=rf max_features=all bootstrap=false num_iterations=2 max_depth=2" };
	for (uint32_t sparse = 0; sparse < 2; sparse++) {
		for (size_t k = 0; k < 4; k++) {
			enum { ROWS = 5000 };
			struct tree_case c;
			uint64_t *start = mmq_array(ROWS + 1, sizeof(uint64_t));
			uint32_t *col = mmq_array(ROWS, sizeof(uint32_t));
			double wrong = 0;
			tree_case_init(&c, ROWS, 1, 1, 3, 2);
			for (size_t r = 0; r < ROWS; r++) {
				c.x[r] = (float)(r + 1);
				c.codes[r] = (int32_t)(r % 3);
				c.y[r] = r == 1234;
				start[r + 1] = r + 1;
			}
			struct mmq_batch dense = c.data.x;
			if (sparse)
				c.data.x = (struct mmq_batch){ .rows = ROWS, .cols = 1, .dtype = MMQ_F32, .row_start = start, .col = col, .value = c.x,
					.codes = c.codes, .codes_cols = 1 };
			void *state = tree_case_train_well(&c, methods[k]);
			double *score = tree_case_score(state, &dense, NULL, NULL, 2);
			for (size_t r = 0; r < ROWS; r++)
				wrong += (score[r] > 0) != (c.y[r] > 0);
			assert_true(k == 2 ? wrong > 0 : wrong == 0);
			free(score);
			free(start);
			free(col);
			mmq_engine_tree.destroy(&state);
			tree_case_fini(&c);
		}
	}
}

/* Weights of one take the plain search; without them large nodes of two classes go through packed histograms. Both see the same tree. */
static void
test_packed_histograms_grow_the_plain_tree(void **unused)
{
	(void)unused;
	static const char *const settings[] = { "boosting=tree max_depth=7", "boosting=tree num_leaves=40", "boosting=tree max_depth=6 min_data_in_leaf=200",
		"boosting=rf max_features=all num_iterations=3 max_depth=6" };
	struct mmq_pool *pool = mmq_pool_new(2);
	for (size_t k = 0; k < 4; k++) {
		for (int with_pool = 0; with_pool < 2; with_pool++) {
			enum { ROWS = 30000 };
			struct tree_case c;
			tree_case_init(&c, ROWS, 4, 2, 12, 2);
			tree_case_fill(&c, 71);
			c.fit.pool = with_pool ? pool : NULL;
			void *packed = tree_case_train_well(&c, settings[k]);
			c.weight = mmq_array(ROWS, sizeof(float));
			for (size_t r = 0; r < ROWS; r++)
				c.weight[r] = 1;
			void *plain = tree_case_train_well(&c, settings[k]);
			double *a = tree_case_score(packed, &c.data.x, NULL, NULL, 0), *b = tree_case_score(plain, &c.data.x, NULL, NULL, 0);
			for (size_t r = 0; r < ROWS; r++)
				assert_near(a[r], b[r], 1e-12);
			assert_true(tree_case_tells(packed, "leaves") == tree_case_tells(plain, "leaves"));
			free(a);
			free(b);
			mmq_engine_tree.destroy(&packed);
			mmq_engine_tree.destroy(&plain);
			tree_case_fini(&c);
		}
	}
	mmq_pool_destroy(&pool);
}

static void
test_forests_give_the_same_bits_for_any_threads(void **unused)
{
	(void)unused;
	static const char *const settings[] = { "boosting=tree", "boosting=tree max_features=2", "boosting=rf extra_trees=true num_iterations=4",
		"boosting=rf num_iterations=1", "boosting=rf oob_score=true num_iterations=9", "boosting=tree ccp_alpha=0.001", "boosting=tree criterion=auto tree_method=hist" };
	struct mmq_pool *pool = mmq_pool_new(2);
	for (size_t k = 0; k < sizeof(settings) / sizeof(settings[0]); k++) {
		for (uint32_t classes = 0; classes <= 3; classes += classes == 0 ? 2 : 1) {
			struct tree_case c;
			tree_case_init(&c, 3000, 3, 1, 9, classes);
			tree_case_fill(&c, 81);
			void *one = tree_case_train_well(&c, settings[k]);
			c.fit.pool = pool;
			void *two = tree_case_train_well(&c, settings[k]);
			tree_case_scores_agree(&c, one, two);
			if (k == 4)
				assert_true(tree_case_tells(one, "oob_score") == tree_case_tells(two, "oob_score"));
			mmq_engine_tree.destroy(&one);
			mmq_engine_tree.destroy(&two);
			tree_case_fini(&c);
		}
	}
	mmq_pool_destroy(&pool);
}

/* Cuts of extra trees are even in the value, not in the rows: of a column crowded near 0 most cuts fall where it is empty. */
static void
test_extra_trees_draw_cuts_evenly_in_the_value(void **unused)
{
	(void)unused;
	enum { ROWS = 1000, TREES = 300 };
	for (int hist = 0; hist < 2; hist++) {
		struct tree_case c;
		struct mmq_rng rng = mmq_rng_stream(6, 0, 0);
		size_t upper_half = 0;
		tree_case_init(&c, ROWS, 1, 0, 0, 0);
		for (size_t r = 0; r < ROWS; r++) {
			c.x[r] = (float)pow((double)r / ROWS, 4);
			c.y[r] = mmq_rng_normal(&rng);
		}
		void *state = tree_case_train_well(&c, hist ? "boosting=rf extra_trees=true num_iterations=300 max_depth=1 tree_method=hist" :
		    "boosting=rf extra_trees=true num_iterations=300 max_depth=1");
		uint32_t *leaf;
		free(tree_case_score(state, &c.data.x, NULL, &leaf, 0));
		for (size_t t = 0; t < TREES; t++) {
			size_t cut = 1;
			while (cut < ROWS && leaf[cut * TREES + t] == leaf[t])
				cut++;
			upper_half += c.x[cut] > 0.5f;
		}
		assert_in_range(upper_half, TREES * 4 / 10, TREES * 6 / 10);
		free(leaf);
		mmq_engine_tree.destroy(&state);
		tree_case_fini(&c);
	}
}

/* Of three values the last is cut off as often as the first, in the share of their distances, and a cut may be anywhere in a gap. */
static void
test_extra_trees_cut_anywhere_between_few_values(void **unused)
{
	(void)unused;
	enum { ROWS = 90, TREES = 600, POINTS = 4 };
	struct tree_case c;
	size_t third[POINTS - 1] = { 0 };
	float points[POINTS] = { 0, 1, 2, 3 };
	uint32_t *leaf;
	tree_case_init(&c, ROWS, 1, 0, 0, 0);
	for (size_t r = 0; r < ROWS; r++) {
		c.x[r] = (float[]){ 0, 1, 3 }[r % 3];
		c.y[r] = (double)(r % 7);
	}
	void *state = tree_case_train_well(&c, "boosting=rf extra_trees=true num_iterations=600 max_depth=1");
	struct mmq_batch x = c.data.x;
	x.rows = POINTS;
	x.dense = points;
	free(tree_case_score(state, &x, NULL, &leaf, 0));
	for (size_t t = 0; t < TREES; t++)
		for (size_t k = 0; k + 1 < POINTS; k++)
			third[k] += leaf[k * TREES + t] != leaf[(k + 1) * TREES + t];
	for (size_t k = 0; k + 1 < POINTS; k++)
		assert_in_range(third[k], TREES * 27 / 100, TREES * 40 / 100);
	free(leaf);
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

/* Any two of three categories may be on one side, the least and the greatest, too; each of the three divisions is as likely. */
static void
test_extra_trees_draw_sets_of_categories(void **unused)
{
	(void)unused;
	enum { ROWS = 90, TREES = 600 };
	struct tree_case c;
	size_t alone[3] = { 0 };
	uint32_t *leaf;
	tree_case_init(&c, ROWS, 0, 1, 3, 0);
	for (size_t r = 0; r < ROWS; r++) {
		c.codes[r] = (int32_t)(r % 3);
		c.y[r] = (double)(r % 3 + r % 7);
	}
	void *state = tree_case_train_well(&c, "boosting=rf extra_trees=true num_iterations=600 max_depth=1");
	free(tree_case_score(state, &c.data.x, NULL, &leaf, 0));
	for (size_t t = 0; t < TREES; t++)
		for (size_t k = 0; k < 3; k++)
			alone[k] += leaf[k * TREES + t] != leaf[(k + 1) % 3 * TREES + t] && leaf[k * TREES + t] != leaf[(k + 2) % 3 * TREES + t];
	for (size_t k = 0; k < 3; k++)
		assert_in_range(alone[k], TREES * 27 / 100, TREES * 40 / 100);
	free(leaf);
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

/* The middle one of three categories is the highest in a small node, but the order of all rows holds there, too: it is not cut off alone. */
static void
test_categories_keep_the_order_of_all_rows(void **unused)
{
	(void)unused;
	enum { ROWS = 120 };
	struct tree_case c;
	uint32_t *leaf;
	tree_case_init(&c, ROWS, 1, 1, 3, 0);
	for (size_t r = 0; r < ROWS; r++) {  /* where x is 0: 0, 5, 10 by category; where it is 1, 1000 but a little more for category 1 */
		c.x[r] = r >= 90;
		c.codes[r] = (int32_t)(r % 3);
		c.y[r] = r < 90 ? 5.0 * (double)(r % 3) : r % 3 == 1 ? 1000.03 : 1000;
	}
	void *state = tree_case_train_well(&c, "boosting=tree max_depth=2");
	free(tree_case_score(state, &c.data.x, NULL, &leaf, 0));
	assert_int_not_equal(leaf[90], leaf[92]);
	free(leaf);
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

/* Where the node has 0 and 100, it does not matter that other rows have 10 and 11. */
static void
test_thresholds_lie_in_the_middle_of_the_nodes_own_values(void **unused)
{
	(void)unused;
	static const float rows[] = { 0, 0, 0, 100, 1, 10, 1, 11 }, asked[] = { 0, 40, 0, 60 };
	static const double y[] = { 0, 10, 1000, 1000 };
	struct tree_case c;
	tree_case_init(&c, 4, 2, 0, 0, 0);
	memcpy(c.x, rows, sizeof(rows));
	memcpy(c.y, y, sizeof(y));
	void *state = tree_case_train_well(&c, "boosting=tree");
	struct mmq_batch x = c.data.x;
	x.rows = 2;
	x.dense = asked;
	double *score = tree_case_score(state, &x, NULL, NULL, 0);
	assert_near(score[0], 0, 1e-9);
	assert_near(score[1], 10, 1e-9);
	free(score);
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

/* Four values: the splits gain 27.5625, 0.5 and 0.125 of mean squared error. */
static void
test_pruning_cuts_back_what_gains_too_little(void **unused)
{
	(void)unused;
	static const double y[] = { 0, 1, 10, 12 };
	static const struct { double alpha, leaves; } wanted[] = { { 0, 4 }, { 0.12, 4 }, { 0.13, 3 }, { 0.49, 3 }, { 0.51, 2 }, { 27, 2 }, { 28, 1 } };
	for (size_t k = 0; k < 2 * sizeof(wanted) / sizeof(wanted[0]); k++) {
		struct tree_case c;
		char settings[80];
		double leaves = wanted[k / 2].leaves;
		tree_case_init(&c, 4, 1, 0, 0, 0);
		for (size_t r = 0; r < 4; r++) {
			c.x[r] = (float)r;
			c.y[r] = y[r];
		}
		snprintf(settings, sizeof(settings), "%s ccp_alpha=%g", k % 2 == 0 ? "boosting=tree" : "boosting=rf bootstrap=false num_iterations=2",
		    wanted[k / 2].alpha);
		void *state = tree_case_train_well(&c, settings);
		double *score = tree_case_score(state, &c.data.x, NULL, NULL, 0);
		assert_true(tree_case_tells(state, "leaves") == (k % 2 == 0 ? leaves : 2 * leaves));
		assert_near(score[0], leaves == 4 ? 0 : leaves >= 2 ? 0.5 : 5.75, 1e-12);
		assert_near(score[3], leaves >= 3 ? 12 : leaves == 2 ? 11 : 5.75, 1e-12);
		free(score);
		mmq_engine_tree.destroy(&state);
		tree_case_fini(&c);
	}
}

/* Exclusive or: the first split gains nothing by itself, but the branch gains all; half a unit of Gini over three more leaves. */
static void
test_pruning_judges_whole_branches(void **unused)
{
	(void)unused;
	static const struct { const char *settings; double leaves; } wanted[] = { { "boosting=tree ccp_alpha=0.16", 4 }, { "boosting=tree ccp_alpha=0.17", 1 },
		{ "boosting=tree criterion=entropy ccp_alpha=0.33", 4 }, { "boosting=tree criterion=entropy ccp_alpha=0.34", 1 } };
	for (size_t k = 0; k < 4; k++) {
		struct tree_case c;
		tree_case_init(&c, 40, 2, 0, 0, 2);
		for (size_t r = 0; r < 40; r++) {
			c.x[r * 2] = (float)(r & 1);
			c.x[r * 2 + 1] = (float)(r >> 1 & 1);
			c.y[r] = (double)((r ^ r >> 1) & 1);
		}
		void *state = tree_case_train_well(&c, wanted[k].settings);
		assert_true(tree_case_tells(state, "leaves") == wanted[k].leaves);
		mmq_engine_tree.destroy(&state);
		tree_case_fini(&c);
	}
}

/* A pruned tree is a subtree: fewer leaves for each larger alpha, and never a worse test error than noise explains. */
static void
test_pruning_shrinks_and_helps_on_noise(void **unused)
{
	(void)unused;
	enum { ROWS = 1200 };
	static const char *const settings[] = { "boosting=tree", "boosting=tree ccp_alpha=0.0012", "boosting=tree ccp_alpha=0.003" };
	struct tree_case c, test;
	double leaves[3], right[3] = { 0 };
	struct tree_case *const both[] = { &c, &test };
	for (size_t k = 0; k < 2; k++) {
		struct mmq_rng rng = mmq_rng_stream(13, k, 0);
		tree_case_init(both[k], ROWS, 3, 0, 0, 2);
		for (size_t r = 0; r < ROWS; r++) {
			for (size_t j = 0; j < 3; j++)
				both[k]->x[r * 3 + j] = (float)mmq_rng_normal(&rng);
			both[k]->y[r] = ((both[k]->x[r * 3] > 0) != (both[k]->x[r * 3 + 1] > 0)) != (mmq_rng_uniform(&rng) < 0.25);
		}
	}
	for (size_t k = 0; k < 3; k++) {
		void *state = tree_case_train_well(&c, settings[k]);
		double *score = tree_case_score(state, &test.data.x, NULL, NULL, 0);
		for (size_t r = 0; r < ROWS; r++)
			right[k] += (score[r] > 0) == (test.y[r] > 0);
		leaves[k] = tree_case_tells(state, "leaves");
		free(score);
		mmq_engine_tree.destroy(&state);
	}
	assert_true(leaves[0] > leaves[1] && leaves[1] > leaves[2] && leaves[2] >= 4);
	assert_true(right[2] > right[0] + 0.05 * ROWS);
	tree_case_fini(&c);
	tree_case_fini(&test);
}

/* On rows it has seen a full forest is always right; the out-of-bag score tells what new rows would. */
static void
test_the_out_of_bag_score_is_that_of_new_rows(void **unused)
{
	(void)unused;
	for (uint32_t classes = 0; classes <= 3; classes += classes == 0 ? 2 : 1) {
		enum { ROWS = 2000 };
		struct tree_case c, test;
		double good = 0, spread = 0, mean = 0, score_on_test;
		tree_case_init(&c, ROWS, 3, 1, 5, classes);
		tree_case_init(&test, ROWS, 3, 1, 5, classes);
		tree_case_fill(&c, 1);
		tree_case_fill(&test, 2);
		void *state = tree_case_train_well(&c, "boosting=rf oob_score=true num_iterations=60");
		double *probability = NULL, *score = tree_case_score(state, &test.data.x, classes > 0 ? &probability : NULL, NULL, classes);
		for (size_t r = 0; r < ROWS; r++)
			mean += test.y[r] / ROWS;
		for (size_t r = 0; r < ROWS; r++) {
			size_t top = 0;
			for (uint32_t k = 1; k < classes; k++)
				top = probability[r * classes + k] > probability[r * classes + top] ? k : top;
			good += classes == 0 ? (score[r] - test.y[r]) * (score[r] - test.y[r]) : (double)top == test.y[r];
			spread += (test.y[r] - mean) * (test.y[r] - mean);
		}
		score_on_test = classes == 0 ? 1 - good / spread : good / ROWS;
		assert_near(tree_case_tells(state, "oob_score"), score_on_test, 0.03);
		assert_true(tree_case_tells(state, "oob_score") < 0.98);
		free(probability);
		free(score);
		mmq_engine_tree.destroy(&state);
		/* Targets of pure chance cannot be told from the features: the score is no better than a guess. */
		struct mmq_rng rng = mmq_rng_stream(3, 0, 0);
		for (size_t r = 0; r < ROWS; r++)
			c.y[r] = classes == 0 ? mmq_rng_normal(&rng) : (double)mmq_rng_below(&rng, classes);
		state = tree_case_train_well(&c, "boosting=rf oob_score=true num_iterations=60");
		assert_true(tree_case_tells(state, "oob_score") < (classes == 0 ? 0.0 : 1.0 / classes + 0.05));
		mmq_engine_tree.destroy(&state);
		tree_case_fini(&c);
		tree_case_fini(&test);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact_stumps_are_the_best_there_are),
		cmocka_unit_test(test_exact_trees_cut_between_any_two_values),
		cmocka_unit_test(test_packed_histograms_grow_the_plain_tree),
		cmocka_unit_test(test_forests_give_the_same_bits_for_any_threads),
		cmocka_unit_test(test_extra_trees_draw_cuts_evenly_in_the_value),
		cmocka_unit_test(test_extra_trees_cut_anywhere_between_few_values),
		cmocka_unit_test(test_extra_trees_draw_sets_of_categories),
		cmocka_unit_test(test_categories_keep_the_order_of_all_rows),
		cmocka_unit_test(test_thresholds_lie_in_the_middle_of_the_nodes_own_values),
		cmocka_unit_test(test_pruning_cuts_back_what_gains_too_little),
		cmocka_unit_test(test_pruning_judges_whole_branches),
		cmocka_unit_test(test_pruning_shrinks_and_helps_on_noise),
		cmocka_unit_test(test_the_out_of_bag_score_is_that_of_new_rows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
