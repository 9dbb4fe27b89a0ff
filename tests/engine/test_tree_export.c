/* test_tree_export.c: tree models written as LightGBM's text and read again answer with the same bits.
 *
 * MMQ_WRITTEN names a folder: files are left there with rows and answers, for tests/data/models/make_trees.py to load into LightGBM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/lightgbm.h"
#include "convert/xgboost.h"
#include "math/rng.h"
#include "tests/engine/model_file.h"
#include "tests/engine/tree_case.h"
#include "tests/engine/tree_made.h"
#include "util/mem.h"

enum { ROWS = 200 };

struct rows { double *x; int32_t *codes; struct mmq_batch batch; };

static void
make_rows(struct rows *rows, const struct mmq_converted *c, const struct mmq_tree_model *model)
{
	struct mmq_rng rng = mmq_rng_stream(3, model->nodes, model->cols);
	*rows = (struct rows){ mmq_array((size_t)ROWS * model->cols + 1, sizeof(double)), mmq_array((size_t)ROWS * model->codes_cols + 1, sizeof(int32_t)), { 0 } };
	for (size_t i = 0; i < (size_t)ROWS * model->cols; i++)
		rows->x[i] = mmq_rng_below(&rng, 10) == 0 ? NAN : (double)(float)mmq_rng_normal(&rng);
	/* Half of the numbers are thresholds of their column, or just beside one. */
	for (size_t r = 0; r < ROWS && model->nodes > 0; r++) {
		for (uint32_t turn = 0; turn < model->cols; turn++) {
			uint32_t k = (uint32_t)mmq_rng_below(&rng, model->nodes);
			if (model->kind[k] == MMQ_NODE_LEAF || model->kind[k] == MMQ_NODE_CATEGORY)
				continue;
			double t = model->threshold64 != NULL ? model->threshold64[k] : (double)model->threshold[k];
			rows->x[r * model->cols + model->feature[k]] = mmq_rng_below(&rng, 2) == 0 ? t :
			    model->threshold64 != NULL ? nextafter(t, INFINITY) : (double)nextafterf((float)t, INFINITY);
		}
	}
	/* LightGBM's program takes rows apart before its trees see them, and drops what is nearly zero. */
	for (size_t i = 0; i < (size_t)ROWS * model->cols; i++)
		rows->x[i] = fabs(rows->x[i]) < 1e-30 ? 0 : rows->x[i];
	for (size_t f = 0, code = 0; f < c->features_count; f++) {
		if (!c->is_category[f])
			continue;
		for (size_t r = 0; r < ROWS; r++)
			rows->codes[r * model->codes_cols + code] = (int32_t)mmq_rng_below(&rng, c->values_count[f] + 1) - 1;
		code++;
	}
	rows->batch = (struct mmq_batch){ .rows = ROWS, .cols = model->cols, .dtype = MMQ_F64, .stride = model->cols, .dense = rows->x,
		.codes = rows->codes, .codes_cols = model->codes_cols };
}

static double *
score(const struct mmq_tree_model *model, const struct mmq_batch *x)
{
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE, .score_cols = model->outputs, .score = mmq_array((size_t)ROWS * model->outputs, sizeof(double)) };
	void *scratch = mmq_aligned(mmq_tree_scratch_bytes(model, ROWS, out.wanted));
	mmq_tree_predict(model, x, &out, scratch);
	free(scratch);
	return out.score;
}

static void
leave_for_lightgbm(const char *name, const struct mmq_converted *c, struct mmq_buf *text, const struct rows *rows, const struct mmq_tree_model *model)
{
	const char *folder = getenv("MMQ_WRITTEN");
	char path[256];
	if (folder == NULL)
		return;
	double *want = score(model, &rows->batch);
	snprintf(path, sizeof(path), "%s/%s.txt", folder, name);
	FILE *file = fopen(path, "wb");
	assert_int_equal(fwrite(text->bytes, 1, text->size, file), text->size);
	fclose(file);
	snprintf(path, sizeof(path), "%s/%s.csv", folder, name);
	file = fopen(path, "wb");
	for (size_t f = 0; f < c->features_count; f++)
		fprintf(file, "%sx.%s%zu", f > 0 ? "," : "", c->is_category[f] ? "cat" : "n", f);
	for (uint32_t o = 0; o < model->outputs; o++)
		fprintf(file, ",p.%u", o);
	for (size_t r = 0; r < ROWS; r++) {
		for (size_t f = 0, col = 0, code = 0; f < c->features_count; f++) {
			int32_t value = c->is_category[f] ? rows->codes[r * model->codes_cols + code++] : 0;
			double number = c->is_category[f] ? NAN : rows->x[r * model->cols + col++];
			fprintf(file, f > 0 ? "," : "\n");
			if (c->is_category[f] && value >= 0 && c->values != NULL && c->values[f] != NULL)
				fprintf(file, "%s", c->values[f][value]);
			else if (c->is_category[f] && value >= 0)
				fprintf(file, "%d", value);
			else if (!isnan(number))
				fprintf(file, "%.17g", number);
		}
		for (uint32_t o = 0; o < model->outputs; o++) {
			double answer = want[r * model->outputs + o];
			/* LightGBM's own score is before a link; a forest's of two classes is the probability. */
			answer = model->log_link ? log(answer) : model->boosting != MMQ_TREE_GBDT && model->task == MMQ_BINARY ? answer - model->base[0] : answer;
			fprintf(file, ",%.17g", answer);
		}
	}
	fclose(file);
	free(want);
}

/* Write, read again, and hold the answers to each other. */
static void
check_written(const char *name, struct mmq_converted *c, bool reads_back)
{
	struct mmq_tree_model *before, *after;
	struct mmq_converted again;
	struct mmq_buf text;
	struct mmq_err err;
	struct rows rows;
	mmq_buf_init(&text, 1 << 28);
	mmq_converted_init(&again);
	if (mmq_lightgbm_write(c, &text, &err) == -1 || mmq_tree_model_open(&before, &c->part, &err) == -1)
		fail_msg("%s: %s", name, err.message);
	make_rows(&rows, c, before);
	leave_for_lightgbm(name, c, &text, &rows, before);
	if (reads_back) {
		if (mmq_lightgbm_convert(&again, text.bytes, text.size, &err) == -1 || mmq_tree_model_open(&after, &again.part, &err) == -1)
			fail_msg("%s read again: %s", name, err.message);
		double *was = score(before, &rows.batch), *is = score(after, &rows.batch);
		/* Forests are read as the mean's parts, so their last bits may differ. */
		for (size_t i = 0; i < (size_t)ROWS * before->outputs; i++) {
			bool is_same = before->boosting == MMQ_TREE_GBDT ? was[i] == is[i] : fabs(was[i] - before->base[0] - is[i]) <= 1e-12 ||
			    fabs(was[i] - is[i]) <= 1e-12 * fmax(1, fabs(is[i]));
			if (!is_same)
				fail_msg("%s row %zu: %.17g, written and read again %.17g", name, i / before->outputs, was[i], is[i]);
		}
		/* Importance by gain survives, up to the digits of the text. */
		for (uint32_t k = 0; k < before->features; k++)
			assert_near(before->gain[k], after->gain[k], 1e-6 * fmax(1, fabs(before->gain[k])));
		free(was);
		free(is);
		mmq_tree_model_destroy(&after);
	}
	mmq_converted_fini(&again);
	mmq_tree_model_destroy(&before);
	mmq_buf_fini(&text);
	free(rows.x);
	free(rows.codes);
}

static void
test_models_of_others_survive(void **state)
{
	static const char *const names[] = { "breast_binary.txt", "digits_multiclass.txt", "housing_regression_cat_missing.txt", "adult_binary_catcodes.txt",
		"tree_lgb_zero_missing.txt", "tree_lgb_no_missing.txt", "tree_lgb_poisson.txt", "tree_lgb_forest.txt", "tree_lgb_dart.txt",
		"breast_logistic.ubj", "digits_softprob.ubj", "housing_squarederror_missing.json", "tree_xgb_categories.ubj", "tree_xgb_dart.ubj",
		"tree_xgb_poisson.ubj", "tree_xgb_binary_dart.json" };
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char name[64];
		struct mmq_converted c;
		struct mmq_err err;
		size_t size;
		char *bytes = model_file_read(names[i], &size);
		mmq_converted_init(&c);
		assert_int_equal((strstr(names[i], ".txt") != NULL ? mmq_lightgbm_convert : mmq_xgboost_convert)(&c, (const uint8_t *)bytes, size, &err), 0);
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(names[i], "."), names[i]);
		check_written(name, &c, true);
		mmq_converted_fini(&c);
		free(bytes);
	}
}

/* Every kind of node, among them sets that hold missing values. */
static void
test_made_models_survive(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 12; seed++) {
		struct tree_made_how how = { .seed = seed, .trees = 6, .leaves = 1 + (uint32_t)seed * 3, .classes = seed % 3 == 2 ? 4 : seed % 3 == 1 ? 2 : 0,
			.has_categories = seed % 2 == 0, .keeps_doubles = seed % 4 >= 2, .is_chain = seed == 7 };
		struct tree_made made;
		struct mmq_converted c;
		char name[32];
		tree_made_init(&made, &how, 1);
		mmq_tree_model_destroy(&made.model);
		mmq_converted_init(&c);
		mmq_import_convert(&made.import, &c);
		snprintf(name, sizeof(name), "made_%d", (int)seed);
		check_written(name, &c, true);
		mmq_converted_fini(&c);
		tree_made_fini(&made);
	}
}

static void
test_trained_models_survive(void **state)
{
	static const struct { const char *name, *settings; uint32_t classes; bool reads_back; } cases[] = {
		{ "ours_squared", "num_iterations=20 num_leaves=8", 0, true }, { "ours_binary", "num_iterations=20 num_leaves=8", 2, true },
		{ "ours_softmax", "num_iterations=10 num_leaves=8", 3, true }, { "ours_none", "num_iterations=3 min_data_in_leaf=300", 0, true },
		{ "ours_poisson", "num_iterations=20 num_leaves=8 objective=poisson", 0, true },
		{ "ours_forest", "boosting=rf num_iterations=10 max_depth=6", 0, true }, { "ours_tree", "boosting=tree max_depth=5", 0, true },
		/* Without a link there is no objective that our reader knows. */
		{ "ours_forest_binary", "boosting=rf num_iterations=10 max_depth=6", 2, false },
		{ "ours_forest_classes", "boosting=rf num_iterations=10 max_depth=6", 3, false } };
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tree_case tc;
		struct mmq_rng rng = mmq_rng_stream(4, 0, 0);
		struct mmq_converted c;
		struct mmq_err err;
		tree_case_init(&tc, 400, 3, 2, 9, cases[i].classes);
		for (size_t r = 0; r < 400; r++) {
			for (size_t k = 0; k < 3; k++)
				tc.x[r * 3 + k] = mmq_rng_uniform(&rng) < 0.1 ? NAN : (float)mmq_rng_normal(&rng);
			for (size_t k = 0; k < 2; k++)
				tc.codes[r * 2 + k] = (int32_t)mmq_rng_below(&rng, 10) - 1;
			double value = (double)(isnan(tc.x[r * 3]) ? 1 : tc.x[r * 3]) + tc.codes[r * 2] % 3 + (tc.codes[r * 2 + 1] == 4);
			tc.y[r] = cases[i].classes == 0 ? fmax(0, floor(value * 2)) : fmin(cases[i].classes - 1, fmax(0, floor(value)));
		}
		char settings[160];
		snprintf(settings, sizeof(settings), "%s min_data_per_group=5 cat_smooth=1", cases[i].settings);
		void *trained = tree_case_train(&tc, settings, &err);
		if (trained == NULL)
			fail_msg("%s: %s", cases[i].name, err.message);
		mmq_converted_init(&c);
		c.features_count = 5;
		c.is_category = mmq_array(5, sizeof(bool));
		c.values_count = mmq_array(5, sizeof(size_t));
		for (size_t f = 3; f < 5; f++) {
			c.is_category[f] = true;
			c.values_count[f] = 9;
		}
		c.positive = 1;
		assert_int_equal(mmq_engine_tree.save(trained, &c.part, &err), 0);
		check_written(cases[i].name, &c, cases[i].reads_back);
		mmq_converted_fini(&c);
		mmq_engine_tree.destroy(&trained);
		tree_case_fini(&tc);
	}
}

static void
test_what_the_format_cannot_say_is_refused(void **state)
{
	struct tree_made_how how = { .seed = 1, .trees = 2, .leaves = 4 };
	struct tree_made made;
	struct mmq_converted c;
	struct mmq_buf text;
	struct mmq_err err;
	(void)state;
	tree_made_init(&made, &how, 1);
	mmq_tree_model_destroy(&made.model);
	mmq_converted_init(&c);
	mmq_import_convert(&made.import, &c);
	c.center = mmq_array(c.features_count, sizeof(double));
	c.scale = mmq_array(c.features_count, sizeof(double));
	for (size_t f = 0; f < c.features_count; f++)
		c.scale[f] = 2;
	mmq_buf_init(&text, 1 << 20);
	assert_int_equal(mmq_lightgbm_write(&c, &text, &err), -1);
	assert_int_equal(err.code, MMQ_FAILED_PRECONDITION);
	assert_non_null(strstr(err.message, "scales"));
	for (size_t f = 0; f < c.features_count; f++)
		c.scale[f] = 1;
	mmq_buf_fini(&text);
	mmq_buf_init(&text, 100);
	assert_int_equal(mmq_lightgbm_write(&c, &text, &err), -1);
	assert_int_equal(err.code, MMQ_RESOURCE_EXHAUSTED);
	mmq_buf_fini(&text);
	mmq_converted_fini(&c);
	tree_made_fini(&made);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_models_of_others_survive),
		cmocka_unit_test(test_made_models_survive),
		cmocka_unit_test(test_trained_models_survive),
		cmocka_unit_test(test_what_the_format_cannot_say_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
