/* test_tree_previous.c: going on from a trained model: more rounds, more trees, and leaf values learnt anew. */
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

/* Train with `settings` and this many rounds or trees, after `previous` when that is not NULL. */
static void *
train_rounds(struct tree_case *c, const char *settings, int rounds, const void *previous)
{
	char all[200];
	snprintf(all, sizeof(all), "%s num_iterations=%d", settings, rounds);
	c->fit.previous = previous;
	void *state = tree_case_train_well(c, all);
	c->fit.previous = NULL;
	return state;
}

static void
expect_same_scores(const struct tree_case *c, const void *a, const void *b, double epsilon)
{
	double *score_a = tree_case_score(a, &c->data.x, NULL, NULL, 0), *score_b = tree_case_score(b, &c->data.x, NULL, NULL, 0);
	for (size_t i = 0; i < c->data.x.rows * mmq_engine_tree.score_cols(a); i++)
		assert_near(score_a[i], score_b[i], epsilon);
	free(score_a);
	free(score_b);
}

/* 7 rounds and 5 more are 12 rounds, to the bit: scores, samples and random fractions go on where they were. */
static void
test_more_rounds_equal_one_long_fit(void **unused)
{
	(void)unused;
	static const char *const settings[] = { "boosting=gbdt", "bagging_fraction=0.6 bagging_freq=3 feature_fraction=0.7", "data_sample_strategy=goss learning_rate=0.4",
		"extra_trees=true", "boosting=rf", "boosting=rf extra_trees=true" };
	for (size_t k = 0; k < sizeof(settings) / sizeof(settings[0]); k++) {
		for (uint32_t classes = 0; classes <= 3; classes += classes == 0 ? 2 : 1) {
			struct tree_case c;
			tree_case_init(&c, 900, 3, 1, 7, classes);
			tree_case_fill(&c, 31);
			void *whole = train_rounds(&c, settings[k], 12, NULL), *part = train_rounds(&c, settings[k], 7, NULL);
			void *both = train_rounds(&c, settings[k], 5, part);
			mmq_engine_tree.destroy(&part);
			expect_same_scores(&c, whole, both, 0);
			assert_true(tree_case_tells(both, "trees") == tree_case_tells(whole, "trees"));
			assert_true(tree_case_tells(both, "best_iteration") == 12);
			mmq_engine_tree.destroy(&whole);
			mmq_engine_tree.destroy(&both);
			tree_case_fini(&c);
		}
	}
}

static void
test_counts_of_poisson_go_on_too(void **unused)
{
	(void)unused;
	struct tree_case c;
	tree_case_init(&c, 500, 2, 0, 0, 0);
	tree_case_fill(&c, 4);
	for (size_t r = 0; r < 500; r++)
		c.y[r] = floor(fabs(3 * c.y[r]));
	void *whole = train_rounds(&c, "objective=poisson", 10, NULL), *part = train_rounds(&c, "objective=poisson", 6, NULL);
	void *both = train_rounds(&c, "objective=poisson", 4, part);
	expect_same_scores(&c, whole, both, 0);
	struct mmq_err err;
	c.fit.previous = part;
	assert_null(tree_case_train(&c, "objective=regression", &err));
	assert_non_null(strstr(err.message, "params.objective"));
	mmq_engine_tree.destroy(&part);
	mmq_engine_tree.destroy(&both);
	mmq_engine_tree.destroy(&whole);
	tree_case_fini(&c);
}

/* New rows: what was learnt stays and the new structure is learnt on top. */
static void
test_new_rows_are_learnt_on_top(void **unused)
{
	(void)unused;
	struct tree_case c;
	tree_case_init(&c, 400, 2, 0, 0, 0);
	for (size_t r = 0; r < 400; r++) {
		c.x[r * 2] = (float)(r % 20);
		c.x[r * 2 + 1] = (float)(r / 20);
		c.y[r] = r % 20 < 10 ? 0 : 8;
	}
	void *old = train_rounds(&c, "num_leaves=4", 60, NULL);
	for (size_t r = 0; r < 400; r++)
		c.y[r] += r / 20 < 10 ? 0 : 3;
	void *both = train_rounds(&c, "num_leaves=4", 60, old);
	double *score = tree_case_score(both, &c.data.x, NULL, NULL, 0);
	for (size_t r = 0; r < 400; r++)
		assert_near(score[r], c.y[r], 0.1);
	free(score);
	mmq_engine_tree.destroy(&old);
	mmq_engine_tree.destroy(&both);
	tree_case_fini(&c);
}

/* Validation rows of another law: every new round makes them worse, so none is kept. */
static void
test_rounds_that_do_not_help_are_not_kept(void **unused)
{
	(void)unused;
	struct tree_case c, v;
	tree_case_init(&c, 300, 1, 0, 0, 0);
	tree_case_init(&v, 300, 1, 0, 0, 0);
	for (size_t r = 0; r < 300; r++) {
		c.x[r] = v.x[r] = (float)r;
		c.y[r] = v.y[r] = r < 150 ? 1 : 2;
	}
	c.fit.valid = &v.data;
	void *old = train_rounds(&c, "early_stopping_round=5", 40, NULL);
	for (size_t r = 0; r < 300; r++)
		c.y[r] = r < 150 ? 2 : 1;
	void *both = train_rounds(&c, "early_stopping_round=5", 40, old);
	expect_same_scores(&c, old, both, 0);
	assert_true(tree_case_tells(both, "trees") == tree_case_tells(old, "trees"));
	mmq_engine_tree.destroy(&old);
	mmq_engine_tree.destroy(&both);
	tree_case_fini(&v);
	tree_case_fini(&c);
}

static void
test_refit_on_the_same_rows_gives_the_same_model(void **unused)
{
	(void)unused;
	static const char *const settings[] = { "refit_decay_rate=0", "refit_decay_rate=1", "refit_decay_rate=0.3 objective=regression_l1",
		"refit_decay_rate=0 lambda_l2=3 lambda_l1=0.5", "boosting=rf bootstrap=false refit_decay_rate=0", "boosting=tree refit_decay_rate=0.5" };
	for (size_t k = 0; k < sizeof(settings) / sizeof(settings[0]); k++) {
		for (uint32_t classes = 0; classes <= (k == 2 ? 0 : 3); classes += classes == 0 ? 2 : 1) {
			struct tree_case c;
			char again[160];
			tree_case_init(&c, 700, 3, 0, 0, classes);
			tree_case_fill(&c, 41);
			void *old = train_rounds(&c, settings[k], 8, NULL);
			snprintf(again, sizeof(again), "%s refit=true", settings[k]);
			void *fresh = train_rounds(&c, again, 8, old);
			expect_same_scores(&c, old, fresh, 1e-9);
			mmq_engine_tree.destroy(&old);
			mmq_engine_tree.destroy(&fresh);
			tree_case_fini(&c);
		}
	}
}

/* One tree of two leaves, means 1 and 5; on new rows the left ones mean 3 and none lies right. */
static void
test_refit_mixes_old_and_new_values(void **unused)
{
	(void)unused;
	static const char *const kinds[] = { "boosting=tree", "boosting=rf bootstrap=false" };
	for (size_t k = 0; k < 2; k++) {
		struct tree_case c, n;
		char settings[100];
		tree_case_init(&c, 20, 1, 0, 0, 0);
		tree_case_init(&n, 6, 1, 0, 0, 0);
		for (size_t r = 0; r < 20; r++) {
			c.x[r] = r < 10 ? 0 : 1;
			c.y[r] = r < 10 ? 1 : 5;
		}
		for (size_t r = 0; r < 6; r++)
			n.y[r] = r % 2 == 0 ? 2 : 4;
		void *old = train_rounds(&c, kinds[k], 1, NULL);
		snprintf(settings, sizeof(settings), "%s refit=true refit_decay_rate=0.75", kinds[k]);
		void *fresh = train_rounds(&n, settings, 1, old);
		double *score = tree_case_score(fresh, &c.data.x, NULL, NULL, 0);
		assert_near(score[0], 0.75 * 1 + 0.25 * 3, 1e-12);
		assert_near(score[19], 5, 1e-12);
		free(score);
		mmq_engine_tree.destroy(&old);
		mmq_engine_tree.destroy(&fresh);
		tree_case_fini(&n);
		tree_case_fini(&c);
	}
}

/* Rows whose target has moved: refitted leaves follow with the structure as it was. */
static void
test_refit_follows_a_moved_target(void **unused)
{
	(void)unused;
	struct tree_case c;
	tree_case_init(&c, 600, 3, 0, 0, 0);
	tree_case_fill(&c, 51);
	void *old = train_rounds(&c, "num_leaves=15", 40, NULL);
	double *before = tree_case_score(old, &c.data.x, NULL, NULL, 0);
	for (size_t r = 0; r < 600; r++)
		c.y[r] = 10 - 2 * c.y[r];
	void *fresh = train_rounds(&c, "refit=true refit_decay_rate=0", 40, old);
	double *after = tree_case_score(fresh, &c.data.x, NULL, NULL, 0), error = 0, stale = 0;
	for (size_t r = 0; r < 600; r++) {
		error += fabs(after[r] - c.y[r]) / 600;
		stale += fabs(10 - 2 * before[r] - c.y[r]) / 600;
	}
	assert_near(error, stale, 0.02 * stale);
	assert_true(tree_case_tells(fresh, "train_loss") > 0);
	free(before);
	free(after);
	mmq_engine_tree.destroy(&old);
	mmq_engine_tree.destroy(&fresh);
	tree_case_fini(&c);
}

/* A refitted or continued model goes through a file like any other. */
static void
test_the_file_of_a_continued_model_opens(void **unused)
{
	(void)unused;
	static const char *const settings[] = { "learning_rate=0.2", "refit=true" };
	for (size_t k = 0; k < 2; k++) {
		struct tree_case c;
		struct mmq_part old_part, part;
		struct mmq_err err;
		void *opened, *again;
		tree_case_init(&c, 300, 2, 1, 5, 3);
		tree_case_fill(&c, 61);
		void *old = train_rounds(&c, "learning_rate=0.1", 4, NULL);
		mmq_part_init(&old_part, true);
		assert_int_equal(mmq_engine_tree.save(old, &old_part, &err), 0);
		assert_int_equal(mmq_engine_tree.open(&opened, &old_part, &err), 0);
		void *fresh = train_rounds(&c, settings[k], 3, opened);
		mmq_engine_tree.destroy(&opened);
		mmq_part_fini(&old_part);  /* what was borrowed is gone: the new model stands alone */
		mmq_part_init(&part, true);
		assert_int_equal(mmq_engine_tree.save(fresh, &part, &err), 0);
		assert_int_equal(mmq_engine_tree.open(&again, &part, &err), 0);
		expect_same_scores(&c, fresh, again, 0);
		mmq_engine_tree.destroy(&again);
		mmq_part_fini(&part);
		mmq_engine_tree.destroy(&fresh);
		mmq_engine_tree.destroy(&old);
		tree_case_fini(&c);
	}
}

static void
test_models_that_do_not_fit_are_refused(void **unused)
{
	(void)unused;
	static const char *const wrong[] = { "boosting=rf", "boosting=tree", "boosting=rf refit=true" };
	struct tree_case c, wide, many;
	struct mmq_err err;
	tree_case_init(&c, 60, 1, 0, 0, 0);
	tree_case_init(&wide, 60, 2, 0, 0, 0);
	tree_case_init(&many, 60, 1, 0, 0, 3);
	tree_case_fill(&c, 1);
	tree_case_fill(&wide, 1);
	tree_case_fill(&many, 1);
	void *old = train_rounds(&c, "min_data_in_leaf=3", 3, NULL);
	c.fit.previous = wide.fit.previous = many.fit.previous = old;
	for (size_t k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++) {
		assert_null(tree_case_train(&c, wrong[k], &err));
		assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	}
	assert_null(tree_case_train(&wide, "boosting=gbdt", &err));
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	assert_null(tree_case_train(&many, "boosting=gbdt", &err));
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	mmq_engine_tree.destroy(&old);
	c.fit.previous = NULL;
	old = tree_case_train_well(&c, "boosting=tree");
	c.fit.previous = old;
	assert_null(tree_case_train(&c, "boosting=tree", &err));  /* one tree stays one tree */
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	mmq_engine_tree.destroy(&old);
	tree_case_fini(&c);
	tree_case_fini(&wide);
	tree_case_fini(&many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_more_rounds_equal_one_long_fit),
		cmocka_unit_test(test_counts_of_poisson_go_on_too),
		cmocka_unit_test(test_new_rows_are_learnt_on_top),
		cmocka_unit_test(test_rounds_that_do_not_help_are_not_kept),
		cmocka_unit_test(test_refit_on_the_same_rows_gives_the_same_model),
		cmocka_unit_test(test_refit_mixes_old_and_new_values),
		cmocka_unit_test(test_refit_follows_a_moved_target),
		cmocka_unit_test(test_the_file_of_a_continued_model_opens),
		cmocka_unit_test(test_models_that_do_not_fit_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
