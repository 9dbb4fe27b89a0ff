/* test_tree_walk.c: every way to a leaf goes to the leaf that the plain walk finds, and every answer has the same bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/engine/tree_made.h"
#include "util/mem.h"

enum { ROWS = 77 };

/* Scores and leaves of rows by the plain walk alone. */
static void
answer_plainly(const struct tree_made *made, enum mmq_dtype dtype, double *score, uint32_t *leaf)
{
	const struct mmq_tree_model *model = made->model;
	for (size_t r = 0; r < ROWS; r++) {
		double row[MADE_COLS];
		/* A model without doubles compares floats, so rows of doubles are rounded first. */
		for (size_t c = 0; c < MADE_COLS; c++)
			row[c] = dtype == MMQ_F64 && model->threshold64 != NULL ? made->wide[r * MADE_COLS + c] : (double)made->narrow[r * MADE_COLS + c];
		memcpy(score + r * model->outputs, model->base, model->outputs * sizeof(double));
		for (uint32_t tree = 0; tree < model->trees; tree++) {
			uint32_t node = mmq_tree_walk_exact(model, tree, row, made->codes + r * MADE_CODES_COLS), number = 0;
			for (uint32_t k = model->tree_start[tree]; k < node; k++)
				number += model->kind[k] == MMQ_NODE_LEAF;
			leaf[r * model->trees + tree] = number;
			score[r * model->outputs + tree % model->outputs] += model->values[model->feature[node]];
		}
	}
}

static void
check_answer(const struct tree_made *made, const struct mmq_batch *x, const double *score, const uint32_t *leaf, const char *name)
{
	const struct mmq_tree_model *model = made->model;
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE | MMQ_OUT_LEAF, .score_cols = model->outputs, .leaf_cols = model->trees };
	out.score = mmq_array(ROWS * model->outputs, sizeof(double));
	out.leaf = mmq_array((size_t)ROWS * model->trees, sizeof(uint32_t));
	void *scratch = mmq_aligned(mmq_tree_scratch_bytes(model, x->rows, out.wanted));
	mmq_tree_predict(model, x, &out, scratch);
	for (size_t i = 0; i < (size_t)ROWS * model->trees; i++)
		if (out.leaf[i] != leaf[i])
			fail_msg("%s: row %zu, tree %zu: leaf %u, the plain walk finds %u", name, i / model->trees, i % model->trees, out.leaf[i], leaf[i]);
	assert_memory_equal(out.score, score, ROWS * model->outputs * sizeof(double));
	free(scratch);
	free(out.score);
	free(out.leaf);
}

/* Each way for groups with each way for single rows, for dense floats, dense doubles and sparse rows. */
static void
check_model(const struct tree_made_how *how)
{
	struct tree_made made;
	const struct mmq_walk_way *ways[MMQ_WALK_WAYS_MAX];
	tree_made_init(&made, how, ROWS);
	struct mmq_tree_walk *walk = made.model->walk;
	double *score = mmq_array(ROWS * made.model->outputs, sizeof(double));
	uint32_t *leaf = mmq_array((size_t)ROWS * made.model->trees, sizeof(uint32_t)), col[ROWS * MADE_COLS];
	uint64_t row_start[ROWS + 1];
	size_t count = mmq_walk_ways(walk, ways);
	assert_true(count >= 2 || how->leaves > MMQ_MASK_LEAVES_MAX || walk->any_plain);
	for (size_t i = 0; i < ROWS * MADE_COLS; i++) {
		row_start[i / MADE_COLS] = i / MADE_COLS * MADE_COLS;
		col[i] = (uint32_t)(i % MADE_COLS);
	}
	row_start[ROWS] = ROWS * MADE_COLS;
	for (int form = 0; form < 3; form++) {
		struct mmq_batch x = tree_made_batch(&made, form == 0 ? MMQ_F32 : MMQ_F64);
		answer_plainly(&made, x.dtype, score, leaf);
		if (form == 2) {
			x.value = x.dense;
			x.dense = NULL;
			x.row_start = row_start;
			x.col = col;
		}
		for (size_t i = 0; i < count; i++) {
			if (ways[i]->rows != NULL) {
				walk->rows_way = ways[i];
				walk->group_min = 1;       /* the last rows as a group that is not full */
				check_answer(&made, &x, score, leaf, ways[i]->name);
			}
			if (ways[i]->row == NULL)
				continue;
			walk->row_way = ways[i];
			walk->group_min = 100;     /* the last rows one by one */
			check_answer(&made, &x, score, leaf, ways[i]->name);
		}
	}
	free(score);
	free(leaf);
	tree_made_fini(&made);
}

static void
test_all_ways_find_the_same_leaves(void **state)
{
	static const uint32_t leaves[] = { 1, 2, 7, 31, 32, 33, 64, 65, 127, 256, 300 };
	(void)state;
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		for (uint64_t variant = 0; variant < 4; variant++) {
			struct tree_made_how how = { .seed = i, .trees = 3 + 16 * (uint32_t)(variant & 1) + 20 * (i == 3), .leaves = leaves[i],
				.has_categories = variant >= 2, .keeps_doubles = (variant & 1) != 0 };
			check_model(&how);
		}
	}
}

static void
test_trees_that_are_one_long_path(void **state)
{
	(void)state;
	for (uint32_t leaves = 30; leaves <= 400; leaves += 185) {
		struct tree_made_how how = { .seed = leaves, .trees = 9, .leaves = leaves, .is_chain = true, .keeps_doubles = true };
		check_model(&how);
		how.has_categories = true;
		check_model(&how);
	}
}

static void
test_scores_of_several_classes(void **state)
{
	struct tree_made_how how = { .seed = 5, .trees = 7, .leaves = 20, .classes = 3, .has_categories = true };
	(void)state;
	check_model(&how);
}

/* So many category nodes that testing every set of every row would cost more than walking: such trees are walked plainly. */
static void
test_trees_of_very_many_categories(void **state)
{
	struct tree_made_how how = { .seed = 6, .trees = 4, .leaves = 200, .has_categories = true, .keeps_doubles = true };
	struct tree_made made;
	(void)state;
	tree_made_init(&made, &how, 1);
	assert_true(made.model->walk->any_plain);
	tree_made_fini(&made);
	check_model(&how);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_ways_find_the_same_leaves),
		cmocka_unit_test(test_trees_that_are_one_long_path),
		cmocka_unit_test(test_scores_of_several_classes),
		cmocka_unit_test(test_trees_of_very_many_categories),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
