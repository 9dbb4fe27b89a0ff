/* test_prepare.c: what preparation makes of columns, with small cases recorded from scikit-learn 1.9.1 (SimpleImputer median + StandardScaler;
 * HashingVectorizer 1-2-grams, 2^18). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "prepare/text_hash.h"
#include "tests/unit/prepare_case.h"

static void
test_numbers_are_imputed_flagged_and_standardised_as_sklearn(void **unused)
{
	static const double want[5] = { -1.0198501554751274, -0.29138575870717937, -0.04856429311786332, -0.5342072242964954, 1.8940074315966648 };
	struct prepare_case f;
	size_t count;

	(void)unused;
	prepare_read(&f, prepare_table, "y");
	prepare_fit_apply(&f, MMQ_WANTS_SCALED | MMQ_WANTS_ONE_HOT, MMQ_F64);
	const struct mmq_feature *features = mmq_prepare_features(f.prepare, &count);
	/* size, its flag, 3 colours + missing, flag, its flag, five parts of when */
	assert_int_equal(count, 13);
	assert_int_equal(f.out.batch.cols, 13);
	assert_string_equal(features[1].name, "size=missing");
	assert_string_equal(features[2].name, "color=blue");
	assert_string_equal(features[5].name, "color=missing");
	assert_string_equal(features[8].name, "when.year");
	assert_int_equal(features[12].source, 3);
	const double *x = f.out.batch.dense;
	for (size_t i = 0; i < 5; i++) {
		assert_true(fabs(x[i * 13] - want[i]) < 1e-14);
		assert_true(x[i * 13 + 1] == (i == 1));
		double ones = x[i * 13 + 2] + x[i * 13 + 3] + x[i * 13 + 4] + x[i * 13 + 5];
		assert_true(ones == 1);
	}
	assert_true(x[3 * 13 + 5] == 1);               /* the missing colour */
	assert_true(x[6] == 1 && x[13 + 6] == 0);      /* true and false stay 1 and 0 */
	assert_true(x[2 * 13 + 7] == 1);
	prepare_fini(&f);
}

static void
test_trees_get_numbers_gaps_and_codes_as_they_are(void **unused)
{
	struct prepare_case f;
	size_t count;

	(void)unused;
	prepare_read(&f, prepare_table, "y");
	prepare_fit_apply(&f, PREPARE_TREE, MMQ_F64);
	const struct mmq_feature *features = mmq_prepare_features(f.prepare, &count);
	assert_int_equal(count, 8);
	assert_int_equal(f.out.batch.cols, 7);
	assert_int_equal(f.out.batch.codes_cols, 1);
	assert_int_equal(features[1].kind, MMQ_CATEGORY);
	assert_int_equal(features[1].cardinality, 3);
	const double *x = f.out.batch.dense;
	static const int32_t codes[5] = { 2, 0, 2, -1, 1 };  /* blue green red */
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(f.out.batch.codes[i], codes[i]);
	assert_true(x[0] == 1 && isnan(x[7]) && isnan(x[2 * 7 + 1]));
	static const double leap[5] = { 2024, 2, 29, 3, 23 };   /* a Thursday */
	assert_memory_equal(x + 2, leap, sizeof(leap));
	static const double last[5] = { 2024, 12, 31, 1, 1 };
	assert_memory_equal(x + 2 * 7 + 2, last, sizeof(last));
	prepare_fini(&f);
}

static void
test_unseen_categories(void **unused)
{
	struct prepare_case f, g;
	struct mmq_prepared out = { 0 };

	(void)unused;
	prepare_read(&f, "c,x\na,1\nb,2\na,3\n", NULL);
	prepare_read(&g, "c,x\nq,1\n,2\n", NULL);
	prepare_fit_apply(&f, MMQ_WANTS_ONE_HOT, MMQ_F64);
	assert_int_equal(mmq_prepare_apply(f.prepare, &g.frame, NULL, 2, &out, NULL, &f.err), 0);
	const double *x = out.batch.dense;
	assert_int_equal(out.batch.cols, 3);
	assert_true(x[0] == 0 && x[1] == 0 && x[3] == 0 && x[4] == 0);
	mmq_prepare_destroy(&f.prepare);
	prepare_fit_apply(&f, PREPARE_TREE, MMQ_F64);
	assert_int_equal(mmq_prepare_apply(f.prepare, &g.frame, NULL, 2, &out, NULL, &f.err), 0);
	assert_int_equal(out.batch.codes[0], -2);
	assert_int_equal(out.batch.codes[1], -1);
	mmq_prepared_fini(&out);
	prepare_fini(&f);
	prepare_fini(&g);
}

static void
test_only_categories_need_no_dense_columns(void **unused)
{
	struct prepare_case f;

	(void)unused;
	prepare_read(&f, "c\na\nb\na\n", NULL);
	prepare_fit_apply(&f, PREPARE_TREE, MMQ_F32);
	assert_int_equal(f.out.batch.cols, 0);
	assert_null(f.out.batch.dense);
	assert_null(f.out.batch.row_start);
	assert_true(f.out.batch.codes[0] == 0 && f.out.batch.codes[1] == 1 && f.out.batch.codes[2] == 0);
	prepare_fini(&f);
}

static void
check_hash(const char *text, size_t count, const uint32_t *cols, const double *values)
{
	size_t size = strlen(text), most = mmq_text_hash_terms_max(size);
	uint32_t *cols_out = malloc(most * sizeof(*cols_out));
	double *values_out = malloc(most * sizeof(*values_out));
	void *scratch = malloc(mmq_text_hash_scratch_bytes(size));

	assert_int_equal(mmq_text_hash((struct mmq_text){ text, (uint32_t)size }, scratch, cols_out, values_out), count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(cols_out[i], cols[i]);
		assert_true(fabs(values_out[i] - values[i]) < 1e-15);
	}
	free(cols_out);
	free(values_out);
	free(scratch);
}

static void
test_text_hash_equals_sklearn(void **unused)
{
	static const uint32_t spam[] = { 42257, 75688, 80637, 83894, 95006, 156782, 173015, 194611, 253893, 259525 };
	static const double spam_values[] = { 0.22941573387056174, -0.22941573387056174, 0.22941573387056174, -0.22941573387056174, 0.22941573387056174,
		0.4588314677411235, -0.22941573387056174, -0.22941573387056174, 0.4588314677411235, 0.4588314677411235 };
	static const uint32_t cafe[] = { 3848, 179201, 193278, 260679 };
	static const double cafe_values[] = { 0.3779644730092272, -0.3779644730092272, 0.3779644730092272, 0.7559289460184544 };

	(void)unused;
	check_hash("Free entry in 2 a wkly comp, FREE entry!", 10, spam, spam_values);
	check_hash("Hello caf\xc3\xa9 hello", 4, cafe, cafe_values);
	check_hash("ok", 1, (uint32_t[]){ 76705 }, (double[]){ -1 });
	check_hash("a ! \xe2\x80\x94 b", 0, NULL, NULL);
	check_hash("\xe2\x80", 0, NULL, NULL);
}

static void
test_bounds_and_values_hold_in_fit_and_apply(void **unused)
{
	struct prepare_case f, g;
	char *values[] = { "a", "b", "z" };

	(void)unused;
	prepare_read(&f, "c,x\na,1\nb,2\na,3\n", NULL);
	f.schema.fields[0].values = values;
	f.schema.fields[0].values_count = 3;
	f.schema.fields[1].bound_max = 3;
	prepare_fit_apply(&f, MMQ_WANTS_ONE_HOT, MMQ_F64);
	assert_int_equal(f.out.batch.cols, 4);   /* z was never seen but is known */
	prepare_read(&g, "c,x\nq,1\na,4\n", NULL);
	assert_int_equal(mmq_prepare_apply(f.prepare, &g.frame, NULL, 2, &f.out, NULL, &f.err), -1);
	assert_string_equal(f.err.field, "rows[0].c");
	assert_string_equal(f.err.got, "q");
	assert_int_equal(mmq_prepare_apply(f.prepare, &g.frame, (uint32_t[]){ 1 }, 1, &f.out, NULL, &f.err), -1);
	assert_string_equal(f.err.field, "rows[1].x");
	mmq_prepare_destroy(&f.prepare);
	f.schema.fields[1].bound_max = 2;
	assert_int_equal(mmq_prepare_fit(&f.prepare, &f.schema, &f.frame, NULL, 3, PREPARE_TREE, MMQ_F64, NULL, &f.err), -1);
	assert_string_equal(f.err.field, "rows[2].x");
	f.schema.fields[0].values = NULL;
	f.schema.fields[0].values_count = 0;
	prepare_fini(&f);
	prepare_fini(&g);
}

static void
test_steps_are_written_for_people(void **unused)
{
	static const char *const wanted[] = { "datetime_parts", "missing_flag", "impute_median", "one_hot", "standardize", "assemble_dense" };
	struct prepare_case f;
	struct mmq_buf out;
	struct mmq_reader reader;
	struct mmq_token token;
	size_t found = 0;

	(void)unused;
	prepare_read(&f, prepare_table, "y");
	prepare_fit_apply(&f, PREPARE_LINEAR, MMQ_F32);
	mmq_buf_init(&out, 4096);
	mmq_prepare_write(f.prepare, &out);
	assert_int_equal(mmq_wire_check(out.bytes, out.size, &f.err), 0);
	mmq_reader_init(&reader, out.bytes, out.size);
	while (!mmq_reader_is_done(&reader)) {
		assert_true(mmq_read(&reader, &token));
		if (mmq_read_is(&token, "step") && mmq_read(&reader, &token) && found < 6)
			assert_true(mmq_read_is(&token, wanted[found++]));
	}
	assert_int_equal(found, 6);
	mmq_buf_fini(&out);
	prepare_fini(&f);
}

/* Nine numbers and a word: said. Two numbers and a word: a category like any other. */
static void
test_a_word_among_numbers_is_pointed_out(void **unused)
{
	struct prepare_case f;

	(void)unused;
	prepare_read(&f, "a,b,y\n1,1,0\n2,2,1\n3,x,0\n4,1,1\n5,2,0\n6,x,1\n7,1,0\n8,2,1\n9,x,0\ninf,1,1\n", "y");
	prepare_fit_apply(&f, PREPARE_TREE, MMQ_F64);
	mmq_buf_append(&f.warnings, "", 1);
	assert_non_null(strstr((const char *)f.warnings.bytes, "column 'a' is taken as categories because of 'inf', but 9 of its 10 different values are numbers"));
	assert_null(strstr((const char *)f.warnings.bytes, "column 'b'"));
	prepare_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_are_imputed_flagged_and_standardised_as_sklearn),
		cmocka_unit_test(test_trees_get_numbers_gaps_and_codes_as_they_are),
		cmocka_unit_test(test_unseen_categories),
		cmocka_unit_test(test_only_categories_need_no_dense_columns),
		cmocka_unit_test(test_text_hash_equals_sklearn),
		cmocka_unit_test(test_bounds_and_values_hold_in_fit_and_apply),
		cmocka_unit_test(test_steps_are_written_for_people),
		cmocka_unit_test(test_a_word_among_numbers_is_pointed_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
