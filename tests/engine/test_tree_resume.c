/* test_tree_resume.c: boosting that was killed and goes on from a checkpoint ends with the model of a fit that was not disturbed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/engine/kept_part.h"
#include "tests/engine/tree_case.h"
#include "util/mem.h"

/* A fit with a checkpoint (or NULL) from a part (or NULL). */
static void *
train_from(struct tree_case *c, const char *settings, const struct mmq_checkpoint *checkpoint, const struct mmq_part *resume)
{
	c->fit.checkpoint = checkpoint;
	c->fit.resume = resume;
	void *state = tree_case_train_well(c, settings);
	c->fit.checkpoint = NULL;
	c->fit.resume = NULL;
	return state;
}

/* Not a bit of what a model file would hold differs. */
static void
expect_same_models(const void *one, const void *two)
{
	struct mmq_part a, b;
	struct mmq_err err;
	mmq_part_init(&a, true);
	mmq_part_init(&b, true);
	assert_int_equal(mmq_engine_tree.save(one, &a, &err), 0);
	assert_int_equal(mmq_engine_tree.save(two, &b, &err), 0);
	assert_int_equal(a.tensors_count, b.tensors_count);
	for (size_t i = 0; i < a.tensors_count; i++) {
		assert_string_equal(a.tensors[i].name, b.tensors[i].name);
		assert_int_equal(a.tensors[i].bytes, b.tensors[i].bytes);
		if (a.tensors[i].bytes > 0)
			assert_memory_equal(a.tensors[i].data, b.tensors[i].data, a.tensors[i].bytes);
	}
	mmq_part_fini(&a);
	mmq_part_fini(&b);
}

static void
test_a_resumed_fit_is_the_whole_fit(void **unused)
{
	(void)unused;
	static const char *const settings[] = { "num_iterations=12", "bagging_fraction=0.6 bagging_freq=3 feature_fraction=0.7 num_iterations=12",
		"data_sample_strategy=goss learning_rate=0.4 num_iterations=12", "extra_trees=true num_iterations=12", "grow_policy=depthwise num_iterations=12" };
	for (size_t k = 0; k < sizeof(settings) / sizeof(settings[0]); k++) {
		for (uint32_t classes = 0; classes <= 3; classes += classes == 0 ? 2 : 1) {
			struct tree_case c;
			struct kept_part kept = { .at = 7 };
			struct mmq_checkpoint checkpoint = { kept_part_is_due, kept_part_write, &kept };
			tree_case_init(&c, 900, 3, 1, 7, classes);
			tree_case_fill(&c, 31);
			void *whole = train_from(&c, settings[k], &checkpoint, NULL), *resumed = train_from(&c, settings[k], NULL, &kept.part);
			assert_true(kept.asked >= kept.at);
			expect_same_models(whole, resumed);
			mmq_engine_tree.destroy(&whole);
			mmq_engine_tree.destroy(&resumed);
			mmq_part_fini(&kept.part);
			tree_case_fini(&c);
		}
	}
}

/* Early stopping cuts the model back to a round before the checkpoint; and a warm start is resumed behind the trees that it began with. */
static void
test_resuming_keeps_the_best_round_and_what_was_gone_on_from(void **unused)
{
	(void)unused;
	struct tree_case c, valid;
	struct kept_part kept = { .at = 9 };
	struct mmq_checkpoint checkpoint = { kept_part_is_due, kept_part_write, &kept };
	const char *settings = "learning_rate=0.6 early_stopping_round=12 num_iterations=60 max_cat_to_onehot=2 min_data_per_group=5";
	tree_case_init(&c, 500, 3, 1, 9, 2);
	tree_case_fill(&c, 5);
	tree_case_init(&valid, 200, 3, 1, 9, 2);
	tree_case_fill(&valid, 6);
	for (size_t r = 0; r < 500; r += 3)
		c.y[r] = !(c.y[r] > 0);  /* noise, so that few rounds are best */
	c.fit.valid = &valid.data;
	void *before = tree_case_train_well(&c, "num_iterations=3");
	for (int warm = 0; warm < 2; warm++) {
		kept.asked = 0;
		c.fit.previous = warm ? before : NULL;
		void *whole = train_from(&c, settings, &checkpoint, NULL), *resumed = train_from(&c, settings, NULL, &kept.part);
		assert_true(kept.asked >= kept.at);
		assert_true(tree_case_tells(whole, "best_iteration") < (double)kept.at + 3 * warm);
		assert_true(tree_case_tells(resumed, "valid_loss") == tree_case_tells(whole, "valid_loss"));
		expect_same_models(whole, resumed);
		mmq_engine_tree.destroy(&whole);
		mmq_engine_tree.destroy(&resumed);
		mmq_part_fini(&kept.part);
	}
	mmq_engine_tree.destroy(&before);
	tree_case_fini(&c);
	tree_case_fini(&valid);
}

static void
test_checkpoints_of_other_fits_and_damaged_ones_are_passed_over(void **unused)
{
	(void)unused;
	struct tree_case c;
	struct kept_part kept = { .at = 4 };
	struct mmq_checkpoint checkpoint = { kept_part_is_due, kept_part_write, &kept };
	const char *settings = "num_iterations=9 bagging_fraction=0.5 bagging_freq=1";
	tree_case_init(&c, 400, 3, 1, 5, 2);
	tree_case_fill(&c, 8);
	void *whole = train_from(&c, settings, &checkpoint, NULL);
	for (int other = 0; other < 3; other++) {
		c.fit.seed += other == 0;
		c.y[7] = other == 1 ? !(c.y[7] > 0) : c.y[7];
		const char *with = other == 2 ? "num_iterations=9 bagging_fraction=0.4 bagging_freq=1" : settings;
		void *plain = train_from(&c, with, NULL, NULL), *resumed = train_from(&c, with, NULL, &kept.part);
		expect_same_models(plain, resumed);
		mmq_engine_tree.destroy(&plain);
		mmq_engine_tree.destroy(&resumed);
		c.fit.seed -= other == 0;
		c.y[7] = other == 1 ? !(c.y[7] > 0) : c.y[7];
	}
	for (size_t i = 0; i < kept.part.tensors_count; i++) {  /* a tensor too short is of another fit */
		struct mmq_tensor *tensor = &kept.part.tensors[i], saved = *tensor;
		if (saved.bytes == 0)
			continue;
		tensor->shape[0]--;
		tensor->bytes = tensor->bytes / saved.shape[0] * tensor->shape[0];
		void *resumed = train_from(&c, settings, NULL, &kept.part);
		expect_same_models(whole, resumed);
		mmq_engine_tree.destroy(&resumed);
		*tensor = saved;
	}
	mmq_engine_tree.destroy(&whole);
	mmq_part_fini(&kept.part);
	tree_case_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_resumed_fit_is_the_whole_fit),
		cmocka_unit_test(test_resuming_keeps_the_best_round_and_what_was_gone_on_from),
		cmocka_unit_test(test_checkpoints_of_other_fits_and_damaged_ones_are_passed_over),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
