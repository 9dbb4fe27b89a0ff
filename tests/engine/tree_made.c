/* tree_made.c: random trees for tests of prediction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "math/rng.h"
#include "tests/engine/tree_made.h"
#include "util/mem.h"

/* Thresholds: no float, small for a float, zero, and what LightGBM takes for zero. */
static const double thresholds[] = { -1.5, -0.3, -1e-36, 0, 1e-40, 0.1, 0.1 + 1e-12, 0.5, 1.0 / 3, 2 };

static double
any_threshold(struct mmq_rng *rng)
{
	return thresholds[mmq_rng_below(rng, sizeof(thresholds) / sizeof(thresholds[0]))];
}

static void
make_tree(struct tree_made *made, const struct tree_made_how *how, struct mmq_rng *rng)
{
	struct mmq_import_node *nodes = mmq_array(2 * (size_t)how->leaves, sizeof(*nodes));
	uint32_t *sets = mmq_array(2 * (size_t)how->leaves, 2 * sizeof(*sets)), *leaf = mmq_array(how->leaves, sizeof(*leaf)), count = 1;
	struct mmq_err err;
	for (uint32_t leaves = 1; leaves < how->leaves; leaves++) {
		uint32_t which = how->is_chain ? leaves - 1 : (uint32_t)mmq_rng_below(rng, leaves), k = leaf[which];
		bool is_category = how->has_categories && mmq_rng_below(rng, 4) == 0;
		nodes[k] = (struct mmq_import_node){ .first = count, .second = count + 1, .threshold = any_threshold(rng), .gain = mmq_rng_uniform(rng) };
		nodes[k].feature = (uint32_t)(is_category ? MADE_COLS + mmq_rng_below(rng, MADE_CODES_COLS) : mmq_rng_below(rng, MADE_COLS));
		static const uint8_t kinds[] = { MMQ_NODE_LESS_FIRST, MMQ_NODE_LESS_SECOND, MMQ_NODE_ZERO_LESS_FIRST, MMQ_NODE_ZERO_LESS_SECOND };
		nodes[k].kind = is_category ? (uint8_t)MMQ_NODE_CATEGORY : kinds[mmq_rng_below(rng, 4)];
		sets[2 * k] = (uint32_t)mmq_rng_next(rng);
		sets[2 * k + 1] = (uint32_t)mmq_rng_next(rng) & 0xff;
		nodes[k].set = sets + (size_t)2 * k;
		nodes[k].set_words = 2;
		nodes[k].missing_first = mmq_rng_below(rng, 2) == 0;
		leaf[which] = how->is_chain ? count + 1 : count;
		leaf[leaves] = how->is_chain ? count : count + 1;
		count += 2;
	}
	/* Covers: leaves at random, parents the sum of theirs; children come after their parents. */
	for (uint32_t k = count; k-- > 0;) {
		nodes[k].is_leaf = nodes[k].first == 0;
		nodes[k].value = mmq_rng_normal(rng);
		nodes[k].cover = nodes[k].is_leaf ? 1 + (double)mmq_rng_below(rng, 50) : nodes[nodes[k].first].cover + nodes[nodes[k].second].cover;
	}
	assert_int_equal(mmq_import_tree(&made->import, nodes, count, 1, &err), 0);
	free(nodes);
	free(sets);
	free(leaf);
}

static void
make_rows(struct tree_made *made, struct mmq_rng *rng)
{
	made->wide = mmq_array(made->rows * MADE_COLS, sizeof(double));
	made->narrow = mmq_array(made->rows * MADE_COLS, sizeof(float));
	made->codes = mmq_array(made->rows * MADE_CODES_COLS, sizeof(int32_t));
	for (size_t i = 0; i < made->rows * MADE_COLS; i++) {
		double at = any_threshold(rng);
		switch (mmq_rng_below(rng, 6)) {
		case 0: at = NAN; break;
		case 1: at = nextafter(at, INFINITY); break;
		case 2: at = nextafter(at, -INFINITY); break;
		case 3: at = 2 * mmq_rng_normal(rng); break;
		case 4: at = (double)nextafterf((float)at, INFINITY); break;
		default: break;
		}
		made->wide[i] = at;
		made->narrow[i] = (float)at;
	}
	for (size_t i = 0; i < made->rows * MADE_CODES_COLS; i++)
		made->codes[i] = (int32_t)mmq_rng_below(rng, MADE_CARDINALITY + 4) - 2;
}

void
tree_made_init(struct tree_made *made, const struct tree_made_how *how, size_t rows)
{
	struct mmq_rng rng = mmq_rng_stream(how->seed, how->leaves, how->classes);
	struct mmq_import *import = &made->import;
	struct mmq_err err;
	*made = (struct tree_made){ .rows = rows };
	mmq_import_init(import);
	import->task = how->classes == 0 ? MMQ_REGRESSION : how->classes == 2 ? MMQ_BINARY : MMQ_MULTICLASS;
	import->classes = how->classes;
	import->outputs = how->classes > 2 ? how->classes : 1;
	import->features_count = MADE_FEATURES;
	import->is_category = mmq_array(MADE_FEATURES, sizeof(bool));
	for (size_t f = MADE_COLS; f < MADE_FEATURES; f++)
		import->is_category[f] = true;
	import->keeps_doubles = how->keeps_doubles;
	import->base = mmq_array(import->outputs, sizeof(double));
	for (uint32_t c = 0; c < import->outputs; c++)
		import->base[c] = mmq_rng_normal(&rng);
	mmq_import_columns(import);
	for (uint32_t t = 0; t < how->trees * import->outputs; t++)
		make_tree(made, how, &rng);
	mmq_import_finish(import);
	if (mmq_tree_model_open(&made->model, &import->part, &err) == -1)
		fail_msg("%s", err.message);
	make_rows(made, &rng);
}

void
tree_made_fini(struct tree_made *made)
{
	mmq_tree_model_destroy(&made->model);
	mmq_import_fini(&made->import);
	free(made->wide);
	free(made->narrow);
	free(made->codes);
}

struct mmq_batch
tree_made_batch(const struct tree_made *made, enum mmq_dtype dtype)
{
	return (struct mmq_batch){ .rows = made->rows, .cols = MADE_COLS, .dtype = dtype, .stride = MADE_COLS, .codes = made->codes,
		.codes_cols = MADE_CODES_COLS, .dense = dtype == MMQ_F64 ? (const void *)made->wide : (const void *)made->narrow };
}
