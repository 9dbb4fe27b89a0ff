/* test_tree_import.c: models that LightGBM and XGBoost wrote answer as they did, row by row; damaged files are refused.
 * tests/data/models/README.md says where the files come from. */
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
#include "util/mem.h"

extern const struct mmq_engine mmq_engine_tree;

typedef int reader(struct mmq_import *import, const void *bytes, size_t size, struct mmq_err *err);

/* The next cell of a line of CSV without quotes; NULL after the last. */
static char *
next_cell(char **at)
{
	char *cell = *at;
	if (cell == NULL)
		return NULL;
	char *comma = strchr(cell, ',');
	*at = comma != NULL ? comma + 1 : NULL;
	if (comma != NULL)
		*comma = '\0';
	return cell;
}

struct rows {
	size_t count, wants;
	double *x;        /* (rows, cols) */
	float *x32;
	int32_t *codes;   /* (rows, codes_cols) */
	double *want;     /* (rows, wants) */
	bool *is_score;   /* (wants): raw or margin; otherwise after the link */
};

static int32_t
code_of(const struct mmq_import *import, size_t f, const char *cell)
{
	if (*cell == '\0')
		return -1;
	if (import->values[f] == NULL)
		return (int32_t)strtol(cell, NULL, 10);
	for (size_t k = 0; k < import->values_count[f]; k++)
		if (strcmp(import->values[f][k], cell) == 0)
			return (int32_t)k;
	return -1;
}

static void
read_rows(struct rows *rows, const struct mmq_import *import, const char *name)
{
	size_t size, lines = 0, f;
	char *text = model_file_read(name, &size), *line, *cell, *save = NULL;
	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	*rows = (struct rows){ .x = mmq_array(lines * import->cols + 1, sizeof(double)), .x32 = mmq_array(lines * import->cols + 1, sizeof(float)),
		.codes = mmq_array(lines * import->codes_cols + 1, sizeof(int32_t)), .is_score = mmq_array(64, sizeof(bool)) };
	char *head = strtok_r(text, "\n", &save);
	while ((cell = next_cell(&head)) != NULL)
		if (strncmp(cell, "p.", 2) == 0)
			rows->is_score[rows->wants++] = strncmp(cell, "p.raw", 5) == 0 || strncmp(cell, "p.margin", 8) == 0;
	rows->want = mmq_array(lines * rows->wants + 1, sizeof(double));
	for (; (line = strtok_r(NULL, "\n", &save)) != NULL; rows->count++) {
		line[strcspn(line, "\r")] = '\0';
		for (f = 0; f < import->features_count; f++) {
			cell = next_cell(&line);
			assert_non_null(cell);
			uint32_t column = import->column[f];
			if (import->is_category[f])
				rows->codes[rows->count * import->codes_cols + column - import->cols] = code_of(import, f, cell);
			else
				rows->x[rows->count * import->cols + column] = *cell != '\0' ? strtod(cell, NULL) : NAN;
		}
		for (size_t k = 0; k < rows->wants; k++)
			rows->want[rows->count * rows->wants + k] = strtod(next_cell(&line), NULL);
	}
	for (size_t i = 0; i < rows->count * import->cols; i++)
		rows->x32[i] = (float)rows->x[i];
	free(text);
}

/* What the peer's column k is in our answers: columns come as raw and link in pairs, or all raws before all probabilities. */
static double
ours(const struct mmq_import *import, const struct rows *rows, const double *score, const double *probability, size_t r, size_t k)
{
	size_t column = 0;
	for (size_t j = 0; j < k; j++)
		column += rows->is_score[j] == rows->is_score[k];
	if (rows->is_score[k] || import->task == MMQ_REGRESSION)
		return score[r * import->outputs + (rows->is_score[k] ? column : 0)];
	return probability[r * import->classes + (import->task == MMQ_BINARY ? 1 : column)];
}

static void
check_parity(reader *read, const char *model, const char *csv, enum mmq_dtype dtype, double within)
{
	struct mmq_import import;
	struct mmq_err err;
	struct rows rows;
	size_t size;
	void *state;
	char *bytes = model_file_read(model, &size);
	if (read(&import, bytes, size, &err) == -1)
		fail_msg("%s", err.message);
	if (mmq_engine_tree.open(&state, &import.part, &err) == -1)
		fail_msg("%s", err.message);
	read_rows(&rows, &import, csv);
	struct mmq_batch x = { .rows = rows.count, .cols = import.cols, .dtype = dtype, .stride = import.cols, .codes = rows.codes,
		.codes_cols = import.codes_cols, .dense = dtype == MMQ_F64 ? (const void *)rows.x : (const void *)rows.x32 };
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE | (import.classes > 0 ? (unsigned)MMQ_OUT_PROBABILITY : 0u), .score_cols = import.outputs };
	out.score = mmq_array(rows.count * import.outputs, sizeof(double));
	out.probability = mmq_array(rows.count * import.classes + 1, sizeof(double));
	void *scratch = mmq_aligned(mmq_engine_tree.scratch_bytes(state, rows.count, out.wanted));
	assert_int_equal(mmq_engine_tree.predict(state, &x, &out, scratch, &err), 0);
	assert_true(rows.count >= 60);
	for (size_t r = 0; r < rows.count; r++) {
		for (size_t k = 0; k < rows.wants; k++) {
			double want = rows.want[r * rows.wants + k], got = ours(&import, &rows, out.score, out.probability, r, k);
			if (!(fabs(got - want) <= within * fmax(1, fabs(want))))
				fail_msg("%s row %zu column %zu: %.17g, the peer says %.17g", model, r, k, got, want);
		}
	}
	free(scratch);
	free(out.score);
	free(out.probability);
	free(rows.x);
	free(rows.x32);
	free(rows.codes);
	free(rows.want);
	free(rows.is_score);
	mmq_engine_tree.destroy(&state);
	mmq_import_fini(&import);
	free(bytes);
}

static void
test_lightgbm_models_answer_as_they_did(void **state)
{
	(void)state;
	check_parity(mmq_lightgbm_read, "breast_binary.txt", "breast_binary.csv", MMQ_F64, 1e-9);
	check_parity(mmq_lightgbm_read, "digits_multiclass.txt", "digits_multiclass.csv", MMQ_F64, 1e-9);
	check_parity(mmq_lightgbm_read, "housing_regression_cat_missing.txt", "housing_regression_cat_missing.csv", MMQ_F64, 1e-9);
	check_parity(mmq_lightgbm_read, "adult_binary_catcodes.txt", "adult_binary_catcodes.csv", MMQ_F64, 1e-9);
	check_parity(mmq_lightgbm_read, "tree_lgb_zero_missing.txt", "tree_lgb_zero_missing.csv", MMQ_F64, 1e-9);
	check_parity(mmq_lightgbm_read, "tree_lgb_no_missing.txt", "tree_lgb_no_missing.csv", MMQ_F64, 1e-9);
	check_parity(mmq_lightgbm_read, "tree_lgb_poisson.txt", "tree_lgb_poisson.csv", MMQ_F64, 1e-9);
	check_parity(mmq_lightgbm_read, "tree_lgb_dart.txt", "tree_lgb_dart.csv", MMQ_F64, 1e-9);
	check_parity(mmq_lightgbm_read, "tree_lgb_forest.txt", "tree_lgb_forest.csv", MMQ_F64, 1e-9);
	/* These rows hold small whole numbers, which floats hold too. */
	check_parity(mmq_lightgbm_read, "digits_multiclass.txt", "digits_multiclass.csv", MMQ_F32, 1e-9);
	check_parity(mmq_lightgbm_read, "adult_binary_catcodes.txt", "adult_binary_catcodes.csv", MMQ_F32, 1e-9);
}

static void
test_xgboost_models_answer_as_they_did(void **state)
{
	(void)state;
	check_parity(mmq_xgboost_read, "breast_logistic.json", "breast_logistic.csv", MMQ_F32, 1e-5);
	check_parity(mmq_xgboost_read, "breast_logistic.ubj", "breast_logistic.csv", MMQ_F32, 1e-5);
	check_parity(mmq_xgboost_read, "digits_softprob.ubj", "digits_softprob.csv", MMQ_F32, 1e-5);
	check_parity(mmq_xgboost_read, "housing_squarederror_missing.json", "housing_squarederror_missing.csv", MMQ_F32, 1e-5);
	check_parity(mmq_xgboost_read, "tree_xgb_categories.json", "tree_xgb_categories.csv", MMQ_F32, 1e-5);
	check_parity(mmq_xgboost_read, "tree_xgb_categories.ubj", "tree_xgb_categories.csv", MMQ_F32, 1e-5);
	check_parity(mmq_xgboost_read, "tree_xgb_dart.ubj", "tree_xgb_dart.csv", MMQ_F32, 1e-5);
	check_parity(mmq_xgboost_read, "tree_xgb_binary_dart.json", "tree_xgb_binary_dart.csv", MMQ_F32, 1e-5);
	check_parity(mmq_xgboost_read, "tree_xgb_poisson.ubj", "tree_xgb_poisson.csv", MMQ_F32, 1e-5);
}

/* Cut and changed at seeded places: an error that says something, or a model that opens; never a crash. */
static void
damage(reader *read, const char *name, size_t size_max)
{
	size_t size;
	char *bytes = model_file_read(name, &size);
	size = size < size_max ? size : size_max;
	char *copy = mmq_alloc(size + 1);
	for (uint64_t turn = 0; turn < 300; turn++) {
		struct mmq_rng rng = mmq_rng_stream(7, turn, size);
		struct mmq_import import;
		struct mmq_err err = { 0 };
		size_t length = turn % 3 == 0 ? (size_t)mmq_rng_below(&rng, size) : size;
		memcpy(copy, bytes, size);
		for (int k = 0; k < 4 && length > 0 && turn % 3 != 0; k++)
			copy[mmq_rng_below(&rng, length)] = (char)(turn % 3 == 1 ? '0' + (char)mmq_rng_below(&rng, 10) : (char)mmq_rng_below(&rng, 256));
		if (read(&import, copy, length, &err) == -1) {
			assert_true(strlen(err.message) > 10);
			continue;
		}
		void *state = NULL;
		if (mmq_engine_tree.open(&state, &import.part, &err) == 0)
			mmq_engine_tree.destroy(&state);
		mmq_import_fini(&import);
	}
	free(copy);
	free(bytes);
}

static void
test_damaged_files_are_refused(void **state)
{
	(void)state;
	damage(mmq_lightgbm_read, "adult_binary_catcodes.txt", SIZE_MAX);
	damage(mmq_xgboost_read, "breast_logistic.json", SIZE_MAX);
	damage(mmq_xgboost_read, "breast_logistic.ubj", SIZE_MAX);
	damage(mmq_lightgbm_read, "tree_lgb_dart.txt", SIZE_MAX);
	damage(mmq_xgboost_read, "tree_xgb_categories.json", SIZE_MAX);
	damage(mmq_xgboost_read, "tree_xgb_categories.ubj", SIZE_MAX);
}

static void
check_refused(reader *read, const char *bytes, size_t size, const char *says)
{
	struct mmq_import import;
	struct mmq_err err = { 0 };
	assert_int_equal(read(&import, bytes, size, &err), -1);
	if (strstr(err.message, says) == NULL)
		fail_msg("'%s' does not say '%s'", err.message, says);
}

#define LIGHTGBM_HEAD "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=0\nobjective=regression\nfeature_names=a\n" \
	"feature_infos=[0:1]\n\nTree=0\n"

static void
test_hostile_files_are_refused_with_their_place(void **state)
{
	static const struct { const char *text, *says; } lightgbm[] = {
		{ "", "begin" },
		{ LIGHTGBM_HEAD "num_leaves=2\nnum_cat=0\nsplit_feature=0\nthreshold=0.5\ndecision_type=2\nleft_child=0\nright_child=-2\nleaf_value=1 2\n"
		    "\nend of trees\n", "twice" },
		{ LIGHTGBM_HEAD "num_leaves=2\nnum_cat=0\nsplit_feature=9\nthreshold=0.5\ndecision_type=2\nleft_child=-1\nright_child=-2\nleaf_value=1 2\n"
		    "\nend of trees\n", "feature is out of range" },
		{ LIGHTGBM_HEAD "num_leaves=2\nnum_cat=0\nsplit_feature=0\nthreshold=0.5\ndecision_type=2\nleft_child=-1\nright_child=-9\nleaf_value=1 2\n"
		    "\nend of trees\n", "child is out of range" },
		{ LIGHTGBM_HEAD "num_leaves=60000000\nleaf_value=1 2\n\nend of trees\n", "shorter than announced" },
		{ LIGHTGBM_HEAD "num_leaves=2\nis_linear=1\nleaf_value=1 2\n\nend of trees\n", "linear" },
		{ LIGHTGBM_HEAD "num_leaves=1\nleaf_value=nan\n\nend of trees\n", "line" },
		{ LIGHTGBM_HEAD "num_leaves=1\nleaf_value=1\n", "end of trees" },
	};
	/* A list that announces 10 GB; one of values without room; a hundred lists in each other. */
	static const char huge[] = "{U\x01" "a[$D#L\x00\x00\x00\x02\x54\x0b\xe4\x00", empty[] = "{U\x01" "a[$Z#L\x00\x00\x00\x02\x54\x0b\xe4\x00";
	char nested[101];
	(void)state;
	for (size_t i = 0; i < sizeof(lightgbm) / sizeof(lightgbm[0]); i++)
		check_refused(mmq_lightgbm_read, lightgbm[i].text, strlen(lightgbm[i].text), lightgbm[i].says);
	check_refused(mmq_xgboost_read, huge, sizeof(huge) - 1, "beyond the end");
	check_refused(mmq_xgboost_read, empty, sizeof(empty) - 1, "no room");
	memset(nested, '[', sizeof(nested));
	check_refused(mmq_xgboost_read, nested, sizeof(nested), "too deep");
	static const char linear[] = "{\"learner\":{\"gradient_booster\":{\"name\":\"gblinear\"}}}";
	check_refused(mmq_xgboost_read, linear, sizeof(linear) - 1, "gblinear");
}

#define XGBOOST_TREE(children, more) "{\"learner\":{\"gradient_booster\":{\"name\":\"gbtree\",\"model\":{\"tree_info\":[0],\"trees\":[{" children \
	",\"split_indices\":[0,0,0],\"split_conditions\":[1,2,3],\"default_left\":[0,0,0]" more "}]}}," XGBOOST_REST
#define XGBOOST_REST "\"objective\":{\"name\":\"reg:squarederror\"},\"learner_model_param\":{\"base_score\":\"0.5\",\"num_class\":\"0\"," \
	"\"num_feature\":\"1\"}}}"

static void
test_hostile_xgboost_trees_are_refused_with_their_place(void **state)
{
	static const struct { const char *text, *says; } files[] = {
		{ XGBOOST_TREE("\"left_children\":[1,0,-1],\"right_children\":[2,2,-1]", ""), "tree 0, node 1: a child is reached twice" },
		{ XGBOOST_TREE("\"left_children\":[1,-1,-1],\"right_children\":[1,-1,-1]", ""), "tree 0, node 0: a child is reached twice" },
		{ XGBOOST_TREE("\"left_children\":[1,-1,-1],\"right_children\":[7,-1,-1]", ""), "(tree 0, node 0)" },
		{ XGBOOST_TREE("\"left_children\":[1,-1,-1],\"right_children\":[-1,-1,-1]", ""), "one child (tree 0, node 0)" },
		{ XGBOOST_TREE("\"left_children\":[1,-1,-1,-1,-1],\"right_children\":[2,-1,-1]", ""), "(tree 0, node 3)" },
		{ XGBOOST_TREE("\"left_children\":[1,-1,-1],\"right_children\":[2,-1,-1]", ",\"split_type\":[1,0,0]"), "without categories (tree 0, node 0)" },
		{ XGBOOST_TREE("\"left_children\":[1,-1,-1],\"right_children\":[2,-1,-1]", ",\"split_type\":[1,0,0],\"categories_nodes\":[0],"
		    "\"categories_segments\":[5],\"categories_sizes\":[1000000000000],\"categories\":[1]"), "(tree 0, node 0)" },
		{ XGBOOST_TREE("\"left_children\":[1,-1,-1],\"right_children\":[2,-1,-1]", ",\"tree_param\":{\"size_leaf_vector\":\"3\"}"), "vectors" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		check_refused(mmq_xgboost_read, files[i].text, strlen(files[i].text), files[i].says);
	/* The same tree without fault is taken. */
	struct mmq_import import;
	struct mmq_err err;
	static const char good[] = XGBOOST_TREE("\"left_children\":[1,-1,-1],\"right_children\":[2,-1,-1]", "");
	assert_int_equal(mmq_xgboost_read(&import, good, sizeof(good) - 1, &err), 0);
	mmq_import_fini(&import);
}

/* Values of categories in the file: offsets beyond the bytes, values that are no bytes, another number of features. */
static void
test_hostile_category_values_are_refused(void **state)
{
	static const struct { const char *cats, *says; } files[] = {
		{ "[{\"offsets\":[0,9],\"values\":[65]}]", "offsets" }, { "[{\"offsets\":[0,-1],\"values\":[65]}]", "offsets" },
		{ "[{\"offsets\":[0,1],\"values\":[900]}]", "bytes" }, { "[{\"values\":[\"a\"]}]", "number" },
		{ "[{\"offsets\":[0,1]}]", "absent" }, { "[{\"values\":[1]},{\"values\":[1]}]", "features" } };
	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char text[512];
		snprintf(text, sizeof(text), "{\"learner\":{\"gradient_booster\":{\"name\":\"gbtree\",\"model\":{\"trees\":[],\"cats\":{\"enc\":%s}}}," XGBOOST_REST,
		    files[i].cats);
		check_refused(mmq_xgboost_read, text, strlen(text), files[i].says);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lightgbm_models_answer_as_they_did),
		cmocka_unit_test(test_xgboost_models_answer_as_they_did),
		cmocka_unit_test(test_damaged_files_are_refused),
		cmocka_unit_test(test_hostile_files_are_refused_with_their_place),
		cmocka_unit_test(test_hostile_xgboost_trees_are_refused_with_their_place),
		cmocka_unit_test(test_hostile_category_values_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
