/* test_tree.c: boosting on cases whose answer is known in closed form, and laws that hold for any data. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "math/rng.h"
#include "tests/engine/tree_case.h"
#include "util/mem.h"

#define ONE_STEP "num_iterations=1 learning_rate=1 min_data_in_leaf=1 min_data_in_bin=1 "

static void
test_one_split_gives_the_two_means(void **unused)
{
	(void)unused;
	struct tree_case c;
	tree_case_init(&c, 10, 1, 0, 0, 0);
	for (size_t r = 0; r < 10; r++) {
		c.x[r] = (float)r;
		c.y[r] = r < 4 ? 1.0 + (double)(r % 2) : 10.0;
	}
	void *state = tree_case_train_well(&c, ONE_STEP "num_leaves=2");
	double *score = tree_case_score(state, &c.data.x, NULL, NULL, 0);
	for (size_t r = 0; r < 10; r++)
		assert_near(score[r], r < 4 ? 1.5 : 10.0, 1e-6);
	free(score);
	assert_true(tree_case_tells(state, "leaves") == 2);
	mmq_engine_tree.destroy(&state);
	/* With lambda the step is shorter: mean 6.6, sum of residuals of the left side 4 * (1.5 - 6.6), over 4 + 2. */
	state = tree_case_train_well(&c, ONE_STEP "num_leaves=2 reg_lambda=2");
	score = tree_case_score(state, &c.data.x, NULL, NULL, 0);
	assert_near(score[0], 6.6 + 4 * (1.5 - 6.6) / 6, 1e-5);
	assert_near(score[9], 6.6 + 6 * (10 - 6.6) / 8, 1e-5);
	free(score);
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

static void
test_logistic_leaf_is_one_newton_step(void **unused)
{
	(void)unused;
	struct tree_case c;
	tree_case_init(&c, 8, 1, 0, 0, 2);
	for (size_t r = 0; r < 8; r++) {
		c.x[r] = r < 4;
		c.y[r] = r == 0 || r >= 5;  /* 1 of 4 on one side, 3 of 4 on the other */
	}
	void *state = tree_case_train_well(&c, ONE_STEP "num_leaves=2");
	double *probability, *score = tree_case_score(state, &c.data.x, &probability, NULL, 2);
	/* p = 1/2 at the start: -G / H = (1 - 2) / (4 / 4) = -1 and +1. */
	assert_near(score[0], -1.0, 1e-6);
	assert_near(score[7], 1.0, 1e-6);
	assert_near(probability[1], 1 / (1 + exp(1.0)), 1e-6);
	assert_near(probability[0] + probability[1], 1.0, 1e-12);
	free(score);
	free(probability);
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

static void
test_missing_values_go_where_they_fit(void **unused)
{
	(void)unused;
	for (int high = 0; high < 2; high++) {
		struct tree_case c;
		tree_case_init(&c, 30, 1, 0, 0, 0);
		for (size_t r = 0; r < 30; r++) {
			c.x[r] = r < 10 ? 1.0f : r < 20 ? 2.0f : NAN;
			c.y[r] = r < 10 ? 0 : r < 20 ? 5 : high ? 5 : 0;
		}
		void *state = tree_case_train_well(&c, ONE_STEP "num_leaves=2");
		double *score = tree_case_score(state, &c.data.x, NULL, NULL, 0);
		for (size_t r = 0; r < 30; r++)
			assert_near(score[r], c.y[r], 1e-6);
		free(score);
		mmq_engine_tree.destroy(&state);
		/* Missing against present, when that is the only difference. */
		for (size_t r = 0; r < 30; r++)
			c.y[r] = r < 20 ? 1 : 4;
		state = tree_case_train_well(&c, ONE_STEP "num_leaves=2");
		score = tree_case_score(state, &c.data.x, NULL, NULL, 0);
		for (size_t r = 0; r < 30; r++)
			assert_near(score[r], c.y[r], 1e-6);
		free(score);
		mmq_engine_tree.destroy(&state);
		tree_case_fini(&c);
	}
}

static void
test_missing_follows_the_majority_when_training_had_none(void **unused)
{
	(void)unused;
	for (int many_low = 0; many_low < 2; many_low++) {
		struct tree_case c;
		tree_case_init(&c, 30, 1, 0, 0, 0);
		for (size_t r = 0; r < 30; r++) {
			bool low = many_low ? r < 20 : r < 10;
			c.x[r] = low ? 1.0f : 2.0f;
			c.y[r] = low ? 0 : 5;
		}
		void *state = tree_case_train_well(&c, ONE_STEP "num_leaves=2");
		float missing = NAN;
		struct mmq_batch x = { .rows = 1, .cols = 1, .dtype = MMQ_F32, .dense = &missing, .stride = 1 };
		double *score = tree_case_score(state, &x, NULL, NULL, 0);
		assert_near(score[0], many_low ? 0 : 5, 1e-6);
		free(score);
		mmq_engine_tree.destroy(&state);
		tree_case_fini(&c);
	}
}

static void
test_categories_split_by_sets(void **unused)
{
	(void)unused;
	for (uint32_t cardinality = 3; cardinality <= 12; cardinality += 9) {  /* one-hot, then sorted sets */
		struct tree_case c;
		tree_case_init(&c, 600, 0, 1, cardinality, 0);
		for (size_t r = 0; r < 600; r++) {
			c.codes[r] = (int32_t)(r % cardinality);
			c.y[r] = cardinality == 3 ? c.codes[r] == 1 : c.codes[r] % 2;
		}
		void *state = tree_case_train_well(&c, ONE_STEP "num_leaves=2 min_data_per_group=1 cat_smooth=0 cat_l2=0");
		double *score = tree_case_score(state, &c.data.x, NULL, NULL, 0);
		for (size_t r = 0; r < 600; r++)
			assert_near(score[r], c.y[r], 1e-5);
		free(score);
		/* Unseen and out of range codes take the second side and do no harm. */
		int32_t odd[4] = { -2, -1, INT32_MAX, INT32_MIN };
		struct mmq_batch x = { .rows = 4, .codes = odd, .codes_cols = 1 };
		score = tree_case_score(state, &x, NULL, NULL, 0);
		for (size_t r = 1; r < 4; r++)
			assert_true(score[r] == score[0]);
		free(score);
		mmq_engine_tree.destroy(&state);
		tree_case_fini(&c);
	}
}

static void
test_weights_are_repetitions(void **unused)
{
	(void)unused;
	struct tree_case a, b;
	tree_case_init(&a, 300, 3, 0, 0, 0);
	tree_case_fill(&a, 5);
	a.weight = mmq_array(300, sizeof(float));
	size_t total = 0;
	for (size_t r = 0; r < 300; r++) {
		a.y[r] = nearbyint(a.y[r] * 4);
		total += (size_t)(a.weight[r] = (float)(1 + r % 3));
	}
	tree_case_init(&b, total, 3, 0, 0, 0);
	for (size_t r = 0, k = 0; r < 300; r++)
		for (size_t i = 0; i < (size_t)a.weight[r]; i++, k++) {
			memcpy(b.x + k * 3, a.x + r * 3, 3 * sizeof(float));
			b.y[k] = a.y[r];
		}
	/* min_data_in_leaf counts rows, so it is kept out of the way; every distinct value has its bin. */
	static const char *const kinds[] = { "num_iterations=5 num_leaves=8 min_data_in_leaf=1 min_data_in_bin=1", "boosting=tree num_leaves=20" };
	for (size_t k = 0; k < 2; k++) {
		void *state_a, *state_b;
		for (size_t r = 0; r < 300; r++)
			for (size_t j = 0; j < 3; j++)
				a.x[r * 3 + j] = nearbyintf(a.x[r * 3 + j] * 8);
		for (size_t r = 0; r < total; r++)
			for (size_t j = 0; j < 3; j++)
				b.x[r * 3 + j] = nearbyintf(b.x[r * 3 + j] * 8);
		state_a = tree_case_train_well(&a, kinds[k]);
		state_b = tree_case_train_well(&b, kinds[k]);
		double *score_a = tree_case_score(state_a, &a.data.x, NULL, NULL, 0), *score_b = tree_case_score(state_b, &a.data.x, NULL, NULL, 0);
		for (size_t r = 0; r < 300; r++)
			assert_near(score_a[r], score_b[r], 1e-4);
		free(score_a);
		free(score_b);
		mmq_engine_tree.destroy(&state_a);
		mmq_engine_tree.destroy(&state_b);
	}
	tree_case_fini(&a);
	tree_case_fini(&b);
}

static const char *const kinds_of_fit[] = {
	"num_iterations=12", "num_iterations=8 bagging_fraction=0.6 bagging_freq=2 feature_fraction=0.5",
	"boosting=rf num_iterations=7", "boosting=tree max_depth=6", "boosting=rf num_iterations=5 num_leaves=12 criterion=auto bootstrap=false",
};

static void
test_same_seed_same_bits_for_any_threads(void **unused)
{
	(void)unused;
	struct mmq_pool *pool = mmq_pool_new(2);
	for (size_t k = 0; k < sizeof(kinds_of_fit) / sizeof(kinds_of_fit[0]); k++) {
		for (uint32_t classes = 0; classes <= 3; classes += classes == 0 ? 2 : 1) {
			struct tree_case c;
			size_t rows = k == 0 && classes == 2 ? 150000 : 1500;  /* large enough that rows are split over threads */
			tree_case_init(&c, rows, 3, 1, 9, classes);
			tree_case_fill(&c, 11);
			void *one = tree_case_train_well(&c, kinds_of_fit[k]);
			c.fit.pool = pool;
			void *two = tree_case_train_well(&c, kinds_of_fit[k]);
			tree_case_scores_agree(&c, one, two);
			mmq_engine_tree.destroy(&one);
			mmq_engine_tree.destroy(&two);
			tree_case_fini(&c);
		}
	}
	mmq_pool_destroy(&pool);
}

static void
test_one_row_equals_the_batch_and_leaves_name_values(void **unused)
{
	(void)unused;
	for (size_t k = 0; k < sizeof(kinds_of_fit) / sizeof(kinds_of_fit[0]); k++) {
		struct tree_case c;
		tree_case_init(&c, 403, 3, k % 2, 9, 3);
		tree_case_fill(&c, 13);
		void *state = tree_case_train_well(&c, kinds_of_fit[k]);
		uint32_t *leaf, *leaf_one;
		double *probability, *probability_one, *score = tree_case_score(state, &c.data.x, &probability, &leaf, 3);
		size_t trees = mmq_engine_tree.leaf_cols(state);
		for (size_t r = 0; r < 403; r++) {
			struct mmq_batch x = c.data.x;
			x.rows = 1;
			x.dense = c.x + r * 3;
			x.codes = c.codes + r * x.codes_cols;
			double *score_one = tree_case_score(state, &x, &probability_one, &leaf_one, 3);
			assert_memory_equal(score_one, score + r * 3, 3 * sizeof(double));
			assert_memory_equal(probability_one, probability + r * 3, 3 * sizeof(double));
			assert_memory_equal(leaf_one, leaf + r * trees, trees * sizeof(uint32_t));
			assert_near(probability_one[0] + probability_one[1] + probability_one[2], 1.0, 1e-12);
			free(score_one);
			free(probability_one);
			free(leaf_one);
		}
		free(score);
		free(probability);
		free(leaf);
		mmq_engine_tree.destroy(&state);
		tree_case_fini(&c);
	}
}

static void
test_f64_and_sparse_rows_give_the_same_model(void **unused)
{
	(void)unused;
	struct tree_case c;
	tree_case_init(&c, 400, 4, 0, 0, 2);
	tree_case_fill(&c, 17);
	double *wide = mmq_array(1600, sizeof(double));
	uint64_t *start = mmq_array(401, sizeof(uint64_t));
	uint32_t *col = mmq_array(1600, sizeof(uint32_t));
	float *value = mmq_array(1600, sizeof(float));
	for (size_t i = 0, n = 0; i < 1600; i++) {
		if (isnan(c.x[i]) || (i % 4 == 3 && i % 3 != 0))
			c.x[i] = 0;
		wide[i] = (double)c.x[i];
		if (c.x[i] != 0.0f) {
			col[n] = (uint32_t)(i % 4);
			value[n++] = c.x[i];
		}
		start[i / 4 + 1] = n;
	}
	struct mmq_batch batches[3] = { c.data.x, c.data.x, { .rows = 400, .cols = 4, .dtype = MMQ_F32, .row_start = start, .col = col, .value = value } };
	batches[1].dtype = MMQ_F64;
	batches[1].dense = wide;
	double *scores[3];
	for (size_t k = 0; k < 3; k++) {
		c.data.x = batches[k];
		void *state = tree_case_train_well(&c, "num_iterations=10");
		scores[k] = tree_case_score(state, &batches[k], NULL, NULL, 0);
		double *other = tree_case_score(state, &batches[(k + 1) % 3], NULL, NULL, 0);
		assert_memory_equal(scores[k], other, 400 * sizeof(double));
		assert_memory_equal(scores[k], scores[0], 400 * sizeof(double));
		free(other);
		mmq_engine_tree.destroy(&state);
	}
	for (size_t k = 0; k < 3; k++)
		free(scores[k]);
	free(wide);
	free(start);
	free(col);
	free(value);
	tree_case_fini(&c);
}

static void
test_data_that_cannot_split_gives_a_constant(void **unused)
{
	(void)unused;
	static const char *const kinds[] = { "num_iterations=3", "boosting=rf num_iterations=3 bootstrap=false", "boosting=tree" };
	for (size_t k = 0; k < 3; k++) {
		for (int what = 0; what < 3; what++) {
			struct tree_case c;
			tree_case_init(&c, what == 0 ? 15 : 60, 2, 0, 0, 0);
			for (size_t r = 0; r < c.data.x.rows; r++) {
				c.x[r * 2] = what == 1 ? 4.0f : (float)r;       /* 1: constant features */
				c.y[r] = what == 2 ? 3.25 : (double)(r % 2);    /* 2: constant target; 0: fewer rows than two leaves want */
			}
			if (what == 0 && k > 0) {
				tree_case_fini(&c);
				continue;
			}
			void *state = tree_case_train_well(&c, kinds[k]);
			double *score = tree_case_score(state, &c.data.x, NULL, NULL, 0), mean = 0;
			for (size_t r = 0; r < c.data.x.rows; r++)
				mean += c.y[r] / (double)c.data.x.rows;
			for (size_t r = 0; r < c.data.x.rows; r++)
				assert_near(score[r], mean, 1e-12);
			free(score);
			mmq_engine_tree.destroy(&state);
			tree_case_fini(&c);
		}
	}
	/* One class only: a probability near one, not a NaN. */
	struct tree_case c;
	tree_case_init(&c, 60, 1, 0, 0, 2);
	for (size_t r = 0; r < 60; r++) {
		c.x[r] = (float)r;
		c.y[r] = 1;
	}
	void *state = tree_case_train_well(&c, "num_iterations=3");
	double *probability, *score = tree_case_score(state, &c.data.x, &probability, NULL, 2);
	assert_true(score[0] > 30 && probability[1] > 0.999999 && probability[0] >= 0);
	free(score);
	free(probability);
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

struct stop { int calls, at; };

static bool
stop_at(void *arg, const struct mmq_progress_state *state)
{
	struct stop *stop = arg;
	assert_true(state->fraction >= 0 && state->fraction <= 1);
	return ++stop->calls < stop->at;
}

static void
test_cancel_leaves_nothing(void **unused)
{
	(void)unused;
	static const char *const settings[] = { "num_iterations=50", "boosting=rf num_iterations=50", "num_iterations=50 num_leaves=4" };
	for (size_t k = 0; k < 9; k++) {
		struct stop stop = { .at = k < 3 ? 1 : k < 6 ? 5 : 12 };  /* among the columns that are binned, then among rounds */
		struct mmq_progress progress = { stop_at, &stop };
		struct mmq_err err;
		struct tree_case c;
		tree_case_init(&c, 500, 3, 0, 0, 2);
		tree_case_fill(&c, 19);
		c.fit.progress = &progress;
		assert_null(tree_case_train(&c, settings[k % 3], &err));
		assert_int_equal(err.code, MMQ_CANCELLED);
		assert_int_equal(stop.calls, stop.at);
		tree_case_fini(&c);
	}
}

static void
test_early_stopping_keeps_the_best_round(void **unused)
{
	(void)unused;
	struct tree_case c, v;
	tree_case_init(&c, 300, 5, 0, 0, 2);
	tree_case_init(&v, 300, 5, 0, 0, 2);
	tree_case_fill(&c, 23);
	tree_case_fill(&v, 29);
	c.fit.valid = &v.data;
	void *stopped = tree_case_train_well(&c, "num_iterations=300 learning_rate=0.3 early_stopping_round=5 min_data_in_leaf=5");
	double best = tree_case_tells(stopped, "best_iteration"), loss = tree_case_tells(stopped, "valid_loss"), sum = 0;
	assert_true(best >= 1 && best < 295);
	assert_true(tree_case_tells(stopped, "trees") == best);
	double *score = tree_case_score(stopped, &v.data.x, NULL, NULL, 0);
	for (size_t r = 0; r < 300; r++)
		sum += log1p(exp(v.y[r] > 0 ? -score[r] : score[r])) / 300;
	assert_near(sum, loss, 1e-9);
	free(score);
	mmq_engine_tree.destroy(&stopped);
	tree_case_fini(&c);
	tree_case_fini(&v);
}

static void
test_depth_and_leaf_limits_hold(void **unused)
{
	(void)unused;
	struct tree_case c;
	tree_case_init(&c, 5000, 4, 0, 0, 0);
	tree_case_fill(&c, 31);
	static const struct { const char *settings; double leaves_max, rows_min; } limits[] = {
		{ "num_iterations=1 max_depth=3", 8, 20 }, { "num_iterations=1 num_leaves=200 min_data_in_leaf=50", 200, 50 },
		{ "boosting=tree max_depth=4", 16, 1 }, { "boosting=tree num_leaves=37", 37, 1 }, { "boosting=tree min_data_in_leaf=25", 200, 25 },
	};
	for (size_t k = 0; k < sizeof(limits) / sizeof(limits[0]); k++) {
		void *state = tree_case_train_well(&c, limits[k].settings);
		uint32_t *leaf, counts[5000] = { 0 };
		double *score = tree_case_score(state, &c.data.x, NULL, &leaf, 0);
		assert_true(tree_case_tells(state, "leaves") <= limits[k].leaves_max);
		for (size_t r = 0; r < 5000; r++)
			counts[leaf[r]]++;
		for (size_t n = 0; n < (size_t)tree_case_tells(state, "leaves"); n++)
			assert_true(counts[n] >= limits[k].rows_min);
		free(score);
		free(leaf);
		mmq_engine_tree.destroy(&state);
	}
	tree_case_fini(&c);
}

static void
test_parameters_that_do_not_fit_are_refused(void **unused)
{
	(void)unused;
	static const char *const wrong[] = { "num_leaves=2.5", "criterion=gini", "boosting=rf criterion=gini", "objective=binary",
		"early_stopping_round=3", "max_bin=256", "num_leaves=1", "no_such=1", "max_features=3" };
	struct tree_case c;
	tree_case_init(&c, 50, 1, 0, 0, 0);
	for (size_t k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++)
		tree_case_is_refused(&c, wrong[k]);
	tree_case_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_split_gives_the_two_means),
		cmocka_unit_test(test_logistic_leaf_is_one_newton_step),
		cmocka_unit_test(test_missing_values_go_where_they_fit),
		cmocka_unit_test(test_missing_follows_the_majority_when_training_had_none),
		cmocka_unit_test(test_categories_split_by_sets),
		cmocka_unit_test(test_weights_are_repetitions),
		cmocka_unit_test(test_same_seed_same_bits_for_any_threads),
		cmocka_unit_test(test_one_row_equals_the_batch_and_leaves_name_values),
		cmocka_unit_test(test_f64_and_sparse_rows_give_the_same_model),
		cmocka_unit_test(test_data_that_cannot_split_gives_a_constant),
		cmocka_unit_test(test_cancel_leaves_nothing),
		cmocka_unit_test(test_early_stopping_keeps_the_best_round),
		cmocka_unit_test(test_depth_and_leaf_limits_hold),
		cmocka_unit_test(test_parameters_that_do_not_fit_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
