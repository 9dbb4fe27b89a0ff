/* test_tree_grow.c: how boosted trees grow: policies, samples of rows and features, random cuts, monotone constraints. */
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

#define ONE_STEP "num_iterations=1 learning_rate=1 min_data_in_leaf=1 min_data_in_bin=1 "

/* Leaf-wise growth spends all leaves where most is to be gained; level by level no side is left behind. */
static void
test_depthwise_splits_level_after_level(void **unused)
{
	(void)unused;
	static const double y[] = { 0, 0, 1, 1, 1000, 1100, 1200, 1300 };
	static const char *const policies[] = { ONE_STEP "num_leaves=4", ONE_STEP "num_leaves=4 grow_policy=depthwise",
		ONE_STEP "max_depth=2 grow_policy=depthwise", ONE_STEP "num_leaves=3 grow_policy=depthwise" };
	static const bool parts_low[] = { false, true, true, false };
	static const double leaves[] = { 4, 4, 4, 3 };
	for (size_t k = 0; k < 4; k++) {
		struct tree_case c;
		tree_case_init(&c, 8, 1, 0, 0, 0);
		for (size_t r = 0; r < 8; r++) {
			c.x[r] = (float)r;
			c.y[r] = y[r];
		}
		void *state = tree_case_train_well(&c, policies[k]);
		uint32_t *leaf;
		free(tree_case_score(state, &c.data.x, NULL, &leaf, 0));
		assert_true((leaf[0] != leaf[3]) == parts_low[k]);
		assert_true(tree_case_tells(state, "leaves") == leaves[k]);
		free(leaf);
		mmq_engine_tree.destroy(&state);
		tree_case_fini(&c);
	}
}

/* Five heavy rows look like forty to a count that is made of hessians; the filter counts rows. */
static void
test_a_column_that_is_rarely_different_is_left_out(void **unused)
{
	(void)unused;
	static const char *const settings[] = { "num_iterations=1 min_data_in_leaf=20", "num_iterations=1 min_data_in_leaf=20 feature_pre_filter=false",
		"num_iterations=1 min_data_in_leaf=5" };
	for (size_t k = 0; k < 3; k++) {
		struct tree_case c;
		tree_case_init(&c, 200, 1, 0, 0, 0);
		c.weight = mmq_array(200, sizeof(float));
		for (size_t r = 0; r < 200; r++) {
			c.x[r] = r < 5;
			c.y[r] = r < 5 ? 1000 : 0;
			c.weight[r] = r < 5 ? 10 : 1;
		}
		void *state = tree_case_train_well(&c, settings[k]);
		double *score = tree_case_score(state, &c.data.x, NULL, NULL, 0);
		assert_true((score[0] != score[199]) == (k > 0));
		free(score);
		mmq_engine_tree.destroy(&state);
		tree_case_fini(&c);
	}
}

static void
expect_same_bits(struct tree_case *c, const char *one, const char *two, bool same)
{
	void *a = tree_case_train_well(c, one), *b = tree_case_train_well(c, two);
	double *score_a = tree_case_score(a, &c->data.x, NULL, NULL, 0), *score_b = tree_case_score(b, &c->data.x, NULL, NULL, 0);
	assert_true((memcmp(score_a, score_b, c->data.x.rows * mmq_engine_tree.score_cols(a) * sizeof(double)) == 0) == same);
	free(score_a);
	free(score_b);
	mmq_engine_tree.destroy(&a);
	mmq_engine_tree.destroy(&b);
}

static void
test_goss_that_keeps_all_rows_changes_nothing(void **unused)
{
	(void)unused;
	struct tree_case c;
	tree_case_init(&c, 1200, 3, 1, 6, 3);
	tree_case_fill(&c, 5);
	expect_same_bits(&c, "num_iterations=20 learning_rate=0.3", "num_iterations=20 learning_rate=0.3 data_sample_strategy=goss top_rate=1 other_rate=0", true);
	expect_same_bits(&c, "num_iterations=20 learning_rate=0.3", "num_iterations=20 learning_rate=0.3 data_sample_strategy=goss", false);
	tree_case_fini(&c);
}

static double
mean_squared_error(const struct tree_case *c, const void *state)
{
	double *score = tree_case_score(state, &c->data.x, NULL, NULL, 0), sum = 0;
	for (size_t r = 0; r < c->data.x.rows; r++)
		sum += (score[r] - c->y[r]) * (score[r] - c->y[r]);
	free(score);
	return sum / (double)c->data.x.rows;
}

/* The sample stands for all rows: enlarged derivatives keep the means, so the model is nearly as good, and better than one from as many plain rows. */
static void
test_goss_learns_as_from_all_rows(void **unused)
{
	(void)unused;
	static const char *const settings[] = { "num_iterations=60 learning_rate=0.2", "num_iterations=60 learning_rate=0.2 data_sample_strategy=goss" };
	struct tree_case c;
	double error[2];
	tree_case_init(&c, 6000, 4, 0, 0, 0);
	tree_case_fill(&c, 6);
	for (size_t k = 0; k < 2; k++) {
		void *state = tree_case_train_well(&c, settings[k]);
		error[k] = mean_squared_error(&c, state);
		mmq_engine_tree.destroy(&state);
	}
	assert_true(error[1] > error[0]);
	assert_true(error[1] < 1.5 * error[0]);
	tree_case_fini(&c);
}

/* Stumps that see one feature of three at their node choose each about as often. */
static void
test_a_node_draws_its_features(void **unused)
{
	(void)unused;
	struct tree_case c;
	struct mmq_part part;
	struct mmq_err err;
	tree_case_init(&c, 400, 3, 0, 0, 0);
	tree_case_fill(&c, 9);
	void *state = tree_case_train_well(&c, "num_iterations=300 num_leaves=2 feature_fraction_bynode=0.34");
	mmq_part_init(&part, true);
	assert_int_equal(mmq_engine_tree.describe(state, &part, &err), 0);
	const struct mmq_tensor *splits = mmq_part_find_tensor(&part, "importance_split");
	assert_non_null(splits);
	for (size_t k = 0; k < 3; k++)
		assert_near(((const double *)splits->data)[k], 100, 30);
	mmq_part_fini(&part);
	mmq_engine_tree.destroy(&state);
	expect_same_bits(&c, "num_iterations=5", "num_iterations=5 feature_fraction_bynode=1", true);
	expect_same_bits(&c, "num_iterations=5", "num_iterations=5 feature_fraction_bynode=0.5", false);
	tree_case_fini(&c);
}

/* Random cuts of one uniform column lie all over it, and together they still learn. */
static void
test_extra_trees_cut_at_random(void **unused)
{
	(void)unused;
	enum { ROWS = 1000, TREES = 200 };
	struct tree_case c;
	tree_case_init(&c, ROWS, 1, 0, 0, 0);
	for (size_t r = 0; r < ROWS; r++) {
		c.x[r] = (float)r / ROWS;
		c.y[r] = r >= 600;
	}
	void *state = tree_case_train_well(&c, "extra_trees=true num_iterations=200 num_leaves=2 learning_rate=0.3");
	uint32_t *leaf;
	free(tree_case_score(state, &c.data.x, NULL, &leaf, 0));
	size_t cuts_of_tenth[10] = { 0 };
	for (size_t t = 0; t < TREES; t++) {
		size_t cut = 1;
		while (cut < ROWS && leaf[cut * TREES + t] == leaf[t])
			cut++;
		cuts_of_tenth[cut * 10 / (ROWS + 1)]++;
	}
	for (size_t k = 0; k < 10; k++)
		assert_in_range(cuts_of_tenth[k], 5, 40);
	assert_true(mean_squared_error(&c, state) < 0.05);
	free(leaf);
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

/* How often the answer falls (or rises, direction -1) along column 0, for random values of the others. */
static size_t
count_violations(const struct tree_case *c, const void *state, int direction)
{
	enum { STEPS = 60, LINES = 40 };
	size_t cols = c->data.x.cols, found = 0;
	float *x = mmq_array(STEPS * cols, sizeof(float));
	struct mmq_rng rng = mmq_rng_stream(99, 0, 0);
	struct mmq_batch batch = { .rows = STEPS, .cols = cols, .dtype = MMQ_F32, .dense = x, .stride = cols };
	for (size_t line = 0; line < LINES; line++) {
		for (size_t k = 1; k < cols; k++) {
			float value = mmq_rng_uniform(&rng) < 0.1 ? NAN : (float)mmq_rng_normal(&rng);
			for (size_t s = 0; s < STEPS; s++)
				x[s * cols + k] = value;
		}
		for (size_t s = 0; s < STEPS; s++)
			x[s * cols] = (float)s * 0.1f - 3;
		double *score = tree_case_score(state, &batch, NULL, NULL, 0);
		for (size_t s = 1; s < STEPS; s++)
			found += direction * (score[s] - score[s - 1]) < 0;
		free(score);
	}
	free(x);
	return found;
}

static void
test_constrained_answers_only_rise_or_fall(void **unused)
{
	(void)unused;
	static const char *const more[] = { "", " lambda_l1=0.5 lambda_l2=2", " grow_policy=depthwise", " extra_trees=true", " bagging_fraction=0.5 bagging_freq=1",
		" data_sample_strategy=goss" };
	for (uint32_t classes = 0; classes <= 2; classes += 2) {
		struct tree_case c;
		tree_case_init(&c, 3000, 3, 0, 0, classes);
		struct mmq_rng rng = mmq_rng_stream(12, 0, 0);
		for (size_t r = 0; r < 3000; r++) {
			for (size_t k = 0; k < 3; k++)
				c.x[r * 3 + k] = mmq_rng_uniform(&rng) < 0.05 ? NAN : (float)mmq_rng_normal(&rng);
			double a = isnan(c.x[r * 3]) ? 0 : (double)c.x[r * 3], b = isnan(c.x[r * 3 + 1]) ? 1 : (double)c.x[r * 3 + 1];
			double value = sin(3 * a) + 0.8 * a + a * b + 0.3 * mmq_rng_normal(&rng);
			c.y[r] = classes == 2 ? value > 0 : value;
		}
		void *state = tree_case_train_well(&c, "num_iterations=40");
		assert_true(count_violations(&c, state, 1) > 50);
		double free_error = mean_squared_error(&c, state);
		mmq_engine_tree.destroy(&state);
		for (size_t k = 0; k < 6; k++) {
			for (int direction = -1; direction <= 1; direction += 2) {
				char settings[160];
				snprintf(settings, sizeof(settings), "num_iterations=40 monotone_constraints=%d%s", direction, more[k]);
				state = tree_case_train_well(&c, settings);
				assert_int_equal(count_violations(&c, state, direction), 0);
				if (classes == 0)
					assert_true(mean_squared_error(&c, state) >= free_error);
				mmq_engine_tree.destroy(&state);
			}
		}
		tree_case_fini(&c);
	}
}

/* A constraint that the data keep of themselves costs nothing: the same splits, the same values. */
static void
test_a_constraint_that_does_not_bind_changes_nothing(void **unused)
{
	(void)unused;
	struct tree_case c;
	tree_case_init(&c, 500, 1, 0, 0, 0);
	for (size_t r = 0; r < 500; r++) {
		c.x[r] = (float)r;
		c.y[r] = sqrt((double)r);
	}
	expect_same_bits(&c, ONE_STEP "num_leaves=9", ONE_STEP "num_leaves=9 monotone_constraints=1", true);
	expect_same_bits(&c, ONE_STEP "num_leaves=9", ONE_STEP "num_leaves=9 monotone_constraints=0", true);
	void *state = tree_case_train_well(&c, ONE_STEP "num_leaves=9 monotone_constraints=-1");
	assert_true(tree_case_tells(state, "trees") == 0);  /* nothing may fall here: no split is left */
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

static void
test_every_way_to_grow_gives_the_same_bits_for_any_threads(void **unused)
{
	(void)unused;
	static const char *const ways[] = { "grow_policy=depthwise max_depth=4", "data_sample_strategy=goss learning_rate=0.5", "extra_trees=true",
		"feature_fraction_bynode=0.5", "monotone_constraints=1,0,-1", "bagging_fraction=0.5 bagging_freq=3" };
	static const char *const objectives[] = { "objective=regression_l1", "objective=quantile alpha=0.2", "objective=huber", "objective=auto" };
	struct mmq_pool *pool = mmq_pool_new(2);
	for (size_t k = 0; k < 10; k++) {
		for (uint32_t classes = 0; classes <= (k < 6 ? 3 : 0); classes += classes == 0 ? 2 : 1) {
			struct tree_case c;
			char settings[160];
			snprintf(settings, sizeof(settings), "num_iterations=4 %s", k < 6 ? ways[k] : objectives[k - 6]);
			tree_case_init(&c, 130000, 3, 1, 9, classes);  /* so many that boosting takes both threads */
			tree_case_fill(&c, 21);
			void *one = tree_case_train_well(&c, settings);
			c.fit.pool = pool;
			void *two = tree_case_train_well(&c, settings);
			tree_case_scores_agree(&c, one, two);
			mmq_engine_tree.destroy(&one);
			mmq_engine_tree.destroy(&two);
			tree_case_fini(&c);
		}
	}
	mmq_pool_destroy(&pool);
}

static void
test_settings_that_do_not_go_together_are_refused(void **unused)
{
	(void)unused;
	static const char *const wrong[] = { "objective=multiclass", "boosting=rf objective=quantile", "objective=quantile alpha=1.5", "boosting=rf grow_policy=depthwise",
		"data_sample_strategy=goss top_rate=0.9 other_rate=0.2", "data_sample_strategy=goss bagging_fraction=0.5", "monotone_constraints=1,1,1",
		"monotone_constraints=0,1", "monotone_constraints=1 objective=quantile", "refit=true", "monotone_constraints=2", "oob_score=true",
		"boosting=tree oob_score=true", "ccp_alpha=1", "boosting=rf alpha=0.5" };
	struct tree_case c;
	tree_case_init(&c, 50, 1, 1, 3, 0);
	for (size_t k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++)
		tree_case_is_refused(&c, wrong[k]);
	tree_case_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_depthwise_splits_level_after_level),
		cmocka_unit_test(test_a_column_that_is_rarely_different_is_left_out),
		cmocka_unit_test(test_goss_that_keeps_all_rows_changes_nothing),
		cmocka_unit_test(test_goss_learns_as_from_all_rows),
		cmocka_unit_test(test_a_node_draws_its_features),
		cmocka_unit_test(test_extra_trees_cut_at_random),
		cmocka_unit_test(test_constrained_answers_only_rise_or_fall),
		cmocka_unit_test(test_a_constraint_that_does_not_bind_changes_nothing),
		cmocka_unit_test(test_every_way_to_grow_gives_the_same_bits_for_any_threads),
		cmocka_unit_test(test_settings_that_do_not_go_together_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
