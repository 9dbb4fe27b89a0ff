/* test_tree_part.c: trees through a part of a model file: the same answers back, and no harm from any changed byte. */
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

static const char *const kinds[] = { "num_iterations=3 num_leaves=6 min_data_in_leaf=2", "boosting=rf num_iterations=3 max_depth=4",
	"boosting=tree max_depth=3" };

/* Few rows with numbers, missing values and a category. */
static void *
make_state(struct tree_case *c, uint32_t classes, const char *settings)
{
	struct mmq_err err;
	struct mmq_rng rng = mmq_rng_stream(3, classes, 0);
	tree_case_init(c, 60, 2, 1, 6, classes);
	for (size_t r = 0; r < 60; r++) {
		for (size_t k = 0; k < 2; k++)
			c->x[r * 2 + k] = mmq_rng_uniform(&rng) < 0.2 ? NAN : (float)mmq_rng_normal(&rng);
		c->codes[r] = (int32_t)mmq_rng_below(&rng, 7) - 1;
		double value = (double)(isnan(c->x[r * 2]) ? 1 : c->x[r * 2]) + c->codes[r] % 3;
		c->y[r] = classes == 0 ? value : fmin(classes - 1, fmax(0, floor(value)));
	}
	char all[160];
	snprintf(all, sizeof(all), "%s min_data_per_group=1 cat_smooth=1", settings);
	void *state = tree_case_train(c, all, &err);
	if (state == NULL)
		fail_msg("%s", err.message);
	return state;
}

static void
test_saved_and_opened_answers_the_same(void **unused)
{
	(void)unused;
	for (size_t k = 0; k < 3; k++) {
		for (uint32_t classes = 0; classes <= 3; classes += classes == 0 ? 2 : 1) {
			struct tree_case c;
			struct mmq_part part;
			struct mmq_err err;
			void *state = make_state(&c, classes, kinds[k]), *opened;
			mmq_part_init(&part, true);
			assert_int_equal(mmq_engine_tree.save(state, &part, &err), 0);
			assert_int_equal(mmq_engine_tree.open(&opened, &part, &err), 0);
			size_t bytes = 60 * mmq_engine_tree.score_cols(state) * sizeof(double);
			double *before = tree_case_score(state, &c.data.x, NULL, NULL, 0), *after = tree_case_score(opened, &c.data.x, NULL, NULL, 0);
			assert_memory_equal(before, after, bytes);
			assert_true(tree_case_tells(opened, "leaves") == tree_case_tells(state, "leaves"));
			free(before);
			free(after);
			mmq_engine_tree.destroy(&opened);
			assert_null(opened);
			mmq_engine_tree.destroy(&opened);
			mmq_engine_tree.destroy(&state);
			mmq_part_fini(&part);
			tree_case_fini(&c);
		}
	}
}

/* Open what may be damaged; if it opens, it must also answer without harm. */
static bool
try_open(const struct mmq_part *part, const struct mmq_batch *x)
{
	void *state;
	struct mmq_err err;
	if (mmq_engine_tree.open(&state, part, &err) == -1) {
		assert_null(state);
		assert_int_equal(err.code, MMQ_DATA_LOSS);
		return false;
	}
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE | MMQ_OUT_LEAF, .score_cols = mmq_engine_tree.score_cols(state) };
	out.leaf_cols = mmq_engine_tree.leaf_cols(state);
	out.score = mmq_array(x->rows * out.score_cols, sizeof(double));
	out.leaf = mmq_array(x->rows * out.leaf_cols + 1, sizeof(uint32_t));
	void *scratch = mmq_aligned(mmq_engine_tree.scratch_bytes(state, x->rows, out.wanted));
	int result = mmq_engine_tree.predict(state, x, &out, scratch, &err);
	assert_true(result == 0 || err.code == MMQ_INVALID_ARGUMENT);
	free(scratch);
	free(out.score);
	free(out.leaf);
	mmq_engine_tree.destroy(&state);
	return true;
}

static void
flip_tensors(struct mmq_part *part, const struct mmq_batch *x, size_t *refused)
{
	static const uint8_t flips[] = { 0x01, 0x80, 0xff };
	for (size_t t = 0; t < part->tensors_count; t++) {
		uint8_t *bytes = (uint8_t *)(uintptr_t)part->tensors[t].data;
		for (size_t i = 0; i < part->tensors[t].bytes; i++) {
			for (size_t f = 0; f < sizeof(flips); f++) {
				bytes[i] ^= flips[f];
				*refused += !try_open(part, x);
				bytes[i] ^= flips[f];
			}
		}
		for (unsigned axis = 0; axis < part->tensors[t].rank; axis++) {
			uint64_t was = part->tensors[t].shape[axis];
			for (uint64_t less = 1; less <= was && less < 4; less++) {  /* fewer than there are bytes for: safe to read */
				part->tensors[t].shape[axis] = was - less;
				*refused += !try_open(part, x);
			}
			part->tensors[t].shape[axis] = was;
		}
		char first = part->tensors[t].name[0];
		part->tensors[t].name[0] = '?';
		assert_false(try_open(part, x));
		part->tensors[t].name[0] = first;
	}
}

static void
flip_values(struct mmq_part *part, const struct mmq_batch *x)
{
	static const int64_t odd[] = { 0, 1, 2, 3, 4, 5, -1, 255, INT32_MAX, UINT32_MAX, INT64_MAX, INT64_MIN };
	for (size_t v = 0; v < part->values_count; v++) {
		struct mmq_value was = part->values[v], *value = &part->values[v];
		for (size_t k = 0; k < sizeof(odd) / sizeof(odd[0]); k++) {
			value->i = odd[k];
			value->f = k == 0 ? NAN : (double)odd[k];
			try_open(part, x);
		}
		*value = was;
		value->type = MMQ_V_TEXT;
		assert_false(try_open(part, x));
		*value = was;
	}
}

static void
test_any_flipped_field_is_refused_or_harmless(void **unused)
{
	(void)unused;
	for (size_t k = 0; k < 3; k++) {
		struct tree_case c;
		struct mmq_part part;
		struct mmq_err err;
		size_t refused = 0;
		void *state = make_state(&c, k == 1 ? 3 : 0, kinds[k]);
		struct mmq_batch x = c.data.x;
		x.rows = 11;
		mmq_part_init(&part, true);
		assert_int_equal(mmq_engine_tree.save(state, &part, &err), 0);
		mmq_engine_tree.destroy(&state);
		flip_tensors(&part, &x, &refused);
		flip_values(&part, &x);
		assert_true(refused > 100);
		assert_true(try_open(&part, &x));
		mmq_part_fini(&part);
		tree_case_fini(&c);
	}
}

static void
test_a_loop_of_nodes_is_refused(void **unused)
{
	(void)unused;
	struct tree_case c;
	struct mmq_part part;
	struct mmq_err err;
	void *state = make_state(&c, 0, kinds[2]);
	mmq_part_init(&part, true);
	assert_int_equal(mmq_engine_tree.save(state, &part, &err), 0);
	uint32_t *first = (uint32_t *)(uintptr_t)mmq_part_find_tensor(&part, "first")->data;
	const uint8_t *kind = mmq_part_find_tensor(&part, "kind")->data;
	uint32_t inner = 1;
	while (kind[inner] == 0)
		inner++;
	uint32_t was = first[inner];
	for (uint32_t to = 0; to <= inner; to++) {  /* a child at or before its parent */
		first[inner] = to;
		assert_false(try_open(&part, &c.data.x));
	}
	first[inner] = was;
	assert_true(try_open(&part, &c.data.x));
	mmq_part_fini(&part);
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_saved_and_opened_answers_the_same),
		cmocka_unit_test(test_any_flipped_field_is_refused_or_harmless),
		cmocka_unit_test(test_a_loop_of_nodes_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
