/* test_tree_shap.c: contributions against Shapley's formula, summed over all subsets of features; they add up to the score. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/shap.h"
#include "tests/engine/tree_case.h"
#include "tests/engine/tree_made.h"
#include "math/rng.h"
#include "util/mem.h"

enum { SUBSETS = 1 << MADE_FEATURES };

struct answer { double *score, *contribution, *base; };

static struct answer
explain(const struct mmq_tree_model *model, const struct mmq_batch *x, size_t at_once)
{
	struct answer answer = { mmq_array(x->rows * model->outputs, sizeof(double)),
		mmq_array(x->rows * model->outputs * model->features, sizeof(double)), mmq_array(model->outputs, sizeof(double)) };
	unsigned wanted = MMQ_OUT_SCORE | MMQ_OUT_CONTRIBUTION;
	void *scratch = mmq_aligned(mmq_tree_scratch_bytes(model, at_once, wanted));
	assert_non_null(model->walk->shap);
	for (size_t r = 0; r < x->rows; r += at_once) {
		struct mmq_batch part = *x;
		part.rows = x->rows - r < at_once ? x->rows - r : at_once;
		part.dense = (const char *)x->dense + r * x->stride * mmq_dtype_bytes(x->dtype);
		part.codes = x->codes + r * x->codes_cols;
		struct mmq_outputs out = { .wanted = wanted, .score_cols = model->outputs, .score = answer.score + r * model->outputs,
			.contribution = answer.contribution + r * model->outputs * model->features, .base = answer.base };
		mmq_tree_predict(model, &part, &out, scratch);
	}
	free(scratch);
	return answer;
}

static void
answer_fini(struct answer *answer)
{
	free(answer->score);
	free(answer->contribution);
	free(answer->base);
}

/* What a tree is expected to answer when only the features of the subset are known; column c of its values. */
static double
expect(const struct mmq_tree_model *model, uint32_t tree, uint32_t node, uint32_t c, unsigned subset, const double *row, const int32_t *codes)
{
	uint32_t start = model->tree_start[tree], k = start + node, first = model->first[k];
	if (model->kind[k] == MMQ_NODE_LEAF)
		return model->values[(size_t)model->feature[k] * model->width + c];
	if ((subset >> model->feature_of[model->feature[k]] & 1) != 0)
		return expect(model, tree, first + mmq_tree_goes_second(model, k, row, codes), c, subset, row, codes);
	double share = (double)model->cover[start + first] / (double)model->cover[k];
	return share * expect(model, tree, first, c, subset, row, codes) +
	    (double)model->cover[start + first + 1] / (double)model->cover[k] * expect(model, tree, first + 1, c, subset, row, codes);
}

/* Shapley values of one output of one row from what each subset is worth. */
static void
sum_subsets(const struct mmq_tree_model *model, uint32_t output, const double *row, const int32_t *codes, double *phi)
{
	static const double factorial[] = { 1, 1, 2, 6, 24, 120, 720, 5040 };
	double *worth = mmq_array(SUBSETS, sizeof(*worth));
	for (unsigned subset = 0; subset < SUBSETS; subset++)
		for (uint32_t tree = 0; tree < model->trees; tree++)
			if (model->width > 1 || tree % model->outputs == output)
				worth[subset] += expect(model, tree, 0, model->width > 1 ? output : 0, subset, row, codes);
	memset(phi, 0, MADE_FEATURES * sizeof(*phi));
	for (unsigned subset = 0; subset < SUBSETS; subset++) {
		int size = __builtin_popcount(subset);
		for (unsigned i = 0; i < MADE_FEATURES; i++)
			if ((subset >> i & 1) == 0)
				phi[i] += factorial[size] * factorial[MADE_FEATURES - size - 1] / factorial[MADE_FEATURES] *
				    (worth[subset | 1u << i] - worth[subset]);
	}
	free(worth);
}

static void
check_sums(const struct mmq_tree_model *model, const struct answer *answer, size_t rows)
{
	for (size_t i = 0; i < rows * model->outputs; i++) {
		double sum = answer->base[i % model->outputs], size = 0;
		for (uint32_t f = 0; f < model->features; f++) {
			sum += answer->contribution[i * model->features + f];
			size += fabs(answer->contribution[i * model->features + f]);
		}
		assert_true(fabs(sum - answer->score[i]) <= 1e-10 * fmax(1, size));
	}
}

static void
check_model(const struct tree_made_how *how, size_t rows)
{
	struct tree_made made;
	tree_made_init(&made, how, rows);
	const struct mmq_tree_model *model = made.model;
	for (int form = 0; form < 2; form++) {
		struct mmq_batch x = tree_made_batch(&made, form == 0 ? MMQ_F32 : MMQ_F64);
		struct answer all = explain(model, &x, rows), single = explain(model, &x, 1);
		assert_memory_equal(all.contribution, single.contribution, rows * model->outputs * model->features * sizeof(double));
		check_sums(model, &all, rows);
		for (size_t r = 0; r < rows; r++) {
			double row[MADE_COLS], phi[MADE_FEATURES];
			for (size_t c = 0; c < MADE_COLS; c++)
				row[c] = form == 1 && how->keeps_doubles ? made.wide[r * MADE_COLS + c] : (double)made.narrow[r * MADE_COLS + c];
			for (uint32_t output = 0; output < model->outputs; output++) {
				sum_subsets(model, output, row, made.codes + r * MADE_CODES_COLS, phi);
				for (size_t f = 0; f < MADE_FEATURES; f++)
					assert_near(all.contribution[(r * model->outputs + output) * MADE_FEATURES + f], phi[f], 1e-11);
			}
		}
		answer_fini(&all);
		answer_fini(&single);
	}
	tree_made_fini(&made);
}

static void
test_contributions_are_shapley_values(void **state)
{
	static const struct tree_made_how hows[] = {
		{ .seed = 1, .trees = 3, .leaves = 8 },
		{ .seed = 2, .trees = 2, .leaves = 16, .has_categories = true },
		{ .seed = 3, .trees = 1, .leaves = 25, .has_categories = true, .keeps_doubles = true },
		{ .seed = 4, .trees = 2, .leaves = 12, .classes = 3 },
		{ .seed = 5, .trees = 1, .leaves = 30, .is_chain = true },
		{ .seed = 6, .trees = 1, .leaves = 150, .has_categories = true },   /* walked plainly */
		{ .seed = 7, .trees = 2, .leaves = 1 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(hows) / sizeof(hows[0]); i++)
		check_model(&hows[i], hows[i].leaves > 100 ? 3 : 11);
}

static void
test_many_rows_and_deep_trees_add_up(void **state)
{
	struct tree_made_how how = { .seed = 8, .trees = 12, .leaves = 300, .is_chain = true, .keeps_doubles = true };
	struct tree_made made;
	(void)state;
	tree_made_init(&made, &how, 150);
	struct mmq_batch x = tree_made_batch(&made, MMQ_F64);
	struct answer answer = explain(made.model, &x, 150);
	check_sums(made.model, &answer, 150);
	answer_fini(&answer);
	tree_made_fini(&made);
}

/* Forests keep a row of values per leaf and answer with the mean of their trees. */
static void
test_forests_add_up(void **state)
{
	(void)state;
	for (uint32_t classes = 0; classes <= 4; classes += 2) {
		struct tree_case c;
		struct mmq_rng rng = mmq_rng_stream(9, classes, 0);
		struct mmq_err err;
		tree_case_init(&c, 200, 3, 1, 5, classes);
		for (size_t r = 0; r < 200; r++) {
			for (size_t k = 0; k < 3; k++)
				c.x[r * 3 + k] = mmq_rng_uniform(&rng) < 0.1 ? NAN : (float)mmq_rng_normal(&rng);
			c.codes[r] = (int32_t)mmq_rng_below(&rng, 6) - 1;
			double value = (double)(isnan(c.x[r * 3]) ? 1 : c.x[r * 3]) + c.codes[r] % 2;
			c.y[r] = classes == 0 ? value : fmin(classes - 1, fmax(0, floor(value + 1)));
		}
		struct mmq_tree_model *model = tree_case_train(&c, "boosting=rf num_iterations=8 max_depth=6", &err);
		assert_non_null(model);
		struct answer answer = explain(model, &c.data.x, 200);
		check_sums(model, &answer, 200);
		double size = 0;
		for (size_t i = 0; i < 200 * (size_t)model->outputs * model->features; i++)
			size += fabs(answer.contribution[i]);
		assert_true(size > 1);
		answer_fini(&answer);
		mmq_tree_model_destroy(&model);
		tree_case_fini(&c);
	}
}

/* Batches have numbers before codes; a model whose first feature is a category says its importance and contribution first all the same. */
static void
test_importance_and_contribution_are_in_the_order_of_the_features(void **state)
{
	struct tree_case c;
	struct mmq_rng rng = mmq_rng_stream(10, 0, 0);
	struct mmq_part part;
	struct mmq_err err;
	const struct mmq_tensor *gain, *splits;
	(void)state;
	tree_case_init(&c, 300, 2, 1, 4, 0);
	for (size_t f = 0; f < 3; f++)
		c.features[f] = (struct mmq_feature){ .name = "f", .kind = f == 0 ? MMQ_CATEGORY : MMQ_NUMERIC, .cardinality = f == 0 ? 4 : 0, .source = (uint32_t)f };
	for (size_t r = 0; r < 300; r++) {
		c.x[r * 2] = (float)mmq_rng_normal(&rng);
		c.x[r * 2 + 1] = 1;
		c.codes[r] = (int32_t)mmq_rng_below(&rng, 4);
		c.y[r] = 10 * (c.codes[r] % 2) + 0.1 * (double)c.x[r * 2];
	}
	struct mmq_tree_model *model = tree_case_train(&c, "num_iterations=10 min_data_per_group=5 cat_smooth=1", &err);
	assert_non_null(model);
	mmq_part_init(&part, true);
	assert_int_equal(mmq_engine_tree.describe(model, &part, &err), 0);
	assert_int_equal(mmq_part_get_tensor(&part, "importance_gain", MMQ_F64, 1, (uint64_t[1]){ 3 }, &gain, &err), 0);
	assert_int_equal(mmq_part_get_tensor(&part, "importance_split", MMQ_F64, 1, (uint64_t[1]){ 3 }, &splits, &err), 0);
	const double *g = gain->data, *s = splits->data;
	assert_true(g[0] > 100 * g[1] && g[1] > 0 && g[2] == 0);
	double inner = 0;
	for (uint32_t k = 0; k < model->nodes; k++)
		inner += model->kind[k] != MMQ_NODE_LEAF;
	assert_true(s[0] > 0 && s[1] > 0 && s[2] == 0 && s[0] + s[1] == inner);
	struct answer answer = explain(model, &c.data.x, 300);
	check_sums(model, &answer, 300);
	for (size_t r = 0; r < 300; r++)
		assert_true(fabs(answer.contribution[r * 3]) > 1 && fabs(answer.contribution[r * 3 + 1]) < 1 && answer.contribution[r * 3 + 2] == 0);
	answer_fini(&answer);
	mmq_part_fini(&part);
	mmq_tree_model_destroy(&model);
	tree_case_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contributions_are_shapley_values),
		cmocka_unit_test(test_many_rows_and_deep_trees_add_up),
		cmocka_unit_test(test_forests_add_up),
		cmocka_unit_test(test_importance_and_contribution_are_in_the_order_of_the_features),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
