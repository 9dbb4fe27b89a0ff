/* tree_case.c: small fits of the tree engine for its tests. */
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

void
tree_case_init(struct tree_case *c, size_t rows, size_t cols, size_t codes_cols, uint32_t cardinality, uint32_t classes)
{
	*c = (struct tree_case){ 0 };
	c->x = mmq_array(rows * cols + 1, sizeof(float));
	c->codes = mmq_array(rows * codes_cols + 1, sizeof(int32_t));
	c->y = mmq_array(rows, sizeof(double));
	c->weight = NULL;
	for (size_t k = 0; k < cols + codes_cols; k++)
		c->features[k] = (struct mmq_feature){ .name = "f", .kind = k < cols ? MMQ_NUMERIC : MMQ_CATEGORY,
			.cardinality = k < cols ? 0 : cardinality, .source = (uint32_t)k };
	c->data = (struct mmq_dataset){ .x = { .rows = rows, .cols = cols, .dtype = MMQ_F32, .dense = c->x, .stride = cols,
		.codes = c->codes, .codes_cols = codes_cols }, .features = c->features, .features_count = cols + codes_cols, .y = c->y,
		.classes = classes };
	c->fit = (struct mmq_fit){ .train = &c->data, .task = classes == 0 ? MMQ_REGRESSION : classes == 2 ? MMQ_BINARY : MMQ_MULTICLASS,
		.seed = 7 };
}

void
tree_case_fini(struct tree_case *c)
{
	free(c->x);
	free(c->codes);
	free(c->y);
	free(c->weight);
}

void *
tree_case_train(struct tree_case *c, const char *settings, struct mmq_err *err)
{
	char *words = mmq_strdup(settings), *rest = NULL;
	const char *list[32];
	size_t count = 0;
	struct mmq_params *params;
	void *state = NULL;
	c->data.weight = c->weight;
	for (char *word = strtok_r(words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
		list[count++] = word;
	if (mmq_params_parse(&params, mmq_engine_tree.params, list, count, err) == 0) {
		c->fit.params = params;
		if (mmq_engine_tree.train(&state, &c->fit, err) == -1)
			assert_null(state);
		mmq_params_destroy(&params);
	}
	free(words);
	return state;
}

void *
tree_case_train_well(struct tree_case *c, const char *settings)
{
	struct mmq_err err;
	void *state = tree_case_train(c, settings, &err);
	if (state == NULL)
		fail_msg("%s", err.message);
	return state;
}

void
tree_case_fill(struct tree_case *c, uint64_t seed)
{
	struct mmq_rng rng = mmq_rng_stream(seed, 0, 0);
	size_t cols = c->data.x.cols, codes_cols = c->data.x.codes_cols;
	for (size_t r = 0; r < c->data.x.rows; r++) {
		double value = 0;
		for (size_t k = 0; k < cols; k++) {
			double x = mmq_rng_normal(&rng);
			c->x[r * cols + k] = mmq_rng_uniform(&rng) < 0.05 ? NAN : (float)x;
			value += isnan(c->x[r * cols + k]) ? 0.7 : k % 2 == 0 ? x : x * x - 1;
		}
		for (size_t k = 0; k < codes_cols; k++) {
			int32_t code = (int32_t)mmq_rng_below(&rng, c->features[cols + k].cardinality);
			c->codes[r * codes_cols + k] = mmq_rng_uniform(&rng) < 0.05 ? -1 : code;
			value += (code * 7 % 5) - 2;
		}
		value += 0.3 * mmq_rng_normal(&rng);
		c->y[r] = c->data.classes == 0 ? value : c->data.classes == 2 ? value > 0 : value < -1 ? 0 : value < 1 ? 1 : 2;
	}
}

double *
tree_case_score(const void *state, const struct mmq_batch *x, double **probability_out, uint32_t **leaf_out, uint32_t classes)
{
	struct mmq_err err;
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE };
	out.score_cols = mmq_engine_tree.score_cols(state);
	out.leaf_cols = mmq_engine_tree.leaf_cols(state);
	out.score = mmq_array(x->rows * out.score_cols, sizeof(double));
	if (probability_out != NULL) {
		out.wanted |= MMQ_OUT_PROBABILITY;
		*probability_out = out.probability = mmq_array(x->rows * classes, sizeof(double));
	}
	if (leaf_out != NULL) {
		out.wanted |= MMQ_OUT_LEAF;
		*leaf_out = out.leaf = mmq_array(x->rows * out.leaf_cols + 1, sizeof(uint32_t));
	}
	void *scratch = mmq_aligned(mmq_engine_tree.scratch_bytes(state, x->rows, out.wanted));
	assert_int_equal(mmq_engine_tree.predict(state, x, &out, scratch, &err), 0);
	free(scratch);
	return out.score;
}

double
tree_case_tells(const void *state, const char *key)
{
	struct mmq_part part;
	struct mmq_err err;
	mmq_part_init(&part, true);
	assert_int_equal(mmq_engine_tree.describe(state, &part, &err), 0);
	const struct mmq_value *value = mmq_part_find(&part, key);
	assert_non_null(value);
	double number = value->type == MMQ_V_DOUBLE ? value->f : (double)value->i;
	mmq_part_fini(&part);
	return number;
}

void
tree_case_scores_agree(const struct tree_case *c, const void *one, const void *two)
{
	double *score_one = tree_case_score(one, &c->data.x, NULL, NULL, 0), *score_two = tree_case_score(two, &c->data.x, NULL, NULL, 0);
	assert_memory_equal(score_one, score_two, c->data.x.rows * mmq_engine_tree.score_cols(one) * sizeof(double));
	free(score_one);
	free(score_two);
}

void
tree_case_is_refused(struct tree_case *c, const char *settings)
{
	struct mmq_err err;
	assert_null(tree_case_train(c, settings, &err));
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	assert_non_null(strstr(err.message, "params."));
}
