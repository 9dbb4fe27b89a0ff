/* test_prepare_laws.c: preparation's laws: rows alone equal rows together, a saved preparation gives the same bits, damage is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/match.h"
#include "data/source.h"
#include "tests/unit/prepare_case.h"

/* Every value of a batch of one or more rows as doubles, dense or CSR, with codes: (rows, cols + codes_cols). */
static void
flatten(const struct mmq_batch *x, double *out)
{
	size_t width = x->cols + x->codes_cols;

	memset(out, 0, x->rows * width * sizeof(*out));
	for (size_t i = 0; i < x->rows; i++) {
		for (size_t k = 0; x->dense != NULL && k < x->cols; k++)
			out[i * width + k] = x->dtype == MMQ_F32 ? (double)((const float *)x->dense)[i * x->stride + k] : ((const double *)x->dense)[i * x->stride + k];
		for (uint64_t k = x->row_start != NULL ? x->row_start[i] : 0; x->row_start != NULL && k < x->row_start[i + 1]; k++) {
			if (k > x->row_start[i])
				assert_true(x->col[k] > x->col[k - 1]);
			assert_true(x->col[k] < x->cols);
			out[i * width + x->col[k]] = x->dtype == MMQ_F32 ? (double)((const float *)x->value)[k] : ((const double *)x->value)[k];
		}
		for (size_t k = 0; k < x->codes_cols; k++)
			out[i * width + x->cols + k] = x->codes[i * x->codes_cols + k];
	}
}

static void
check_laws(struct prepare_case *f, unsigned accepts, enum mmq_dtype dtype)
{
	struct mmq_prepare *opened = NULL;
	struct mmq_prepared one = { 0 };
	struct mmq_part part;
	size_t rows = f->frame.rows < 400 ? f->frame.rows : 400;

	mmq_prepare_destroy(&f->prepare);
	prepare_fit_apply(f, accepts, dtype);
	assert_int_equal(mmq_prepare_apply(f->prepare, &f->frame, NULL, rows, &f->out, NULL, &f->err), 0);
	size_t width = f->out.batch.cols + f->out.batch.codes_cols;
	double *all = malloc(rows * width * sizeof(*all)), *row = malloc(rows * width * sizeof(*row));
	flatten(&f->out.batch, all);
	for (uint32_t i = 0; i < rows; i++) {
		assert_int_equal(mmq_prepare_apply(f->prepare, &f->frame, &i, 1, &one, NULL, &f->err), 0);
		flatten(&one.batch, row);
		assert_memory_equal(row, all + i * width, width * sizeof(*row));
	}
	mmq_part_init(&part, true);
	assert_int_equal(mmq_prepare_save(f->prepare, &part, &f->err), 0);
	if (mmq_prepare_open(&opened, &f->schema, &part, &f->err) == -1)
		fail_msg("%s", f->err.message);
	assert_int_equal(mmq_prepare_apply(opened, &f->frame, NULL, rows, &one, NULL, &f->err), 0);
	flatten(&one.batch, row);
	assert_memory_equal(row, all, rows * width * sizeof(*row));
	mmq_prepare_destroy(&opened);
	mmq_part_fini(&part);
	mmq_prepared_fini(&one);
	free(all);
	free(row);
}

static void
test_rows_alone_equal_rows_together_and_saved_equals_fitted(void **unused)
{
	struct prepare_case f;

	(void)unused;
	prepare_read(&f, prepare_table, "y");
	check_laws(&f, PREPARE_TREE, MMQ_F64);
	check_laws(&f, PREPARE_LINEAR, MMQ_F32);
	check_laws(&f, PREPARE_MLP, MMQ_F32);
	prepare_fini(&f);
	prepare_open(&f, "examples/data/adult_test.csv.gz", "income");
	check_laws(&f, PREPARE_TREE, MMQ_F32);
	check_laws(&f, PREPARE_LINEAR, MMQ_F32);
	prepare_fini(&f);
	prepare_open(&f, "examples/data/heart_scale.libsvm", "label");
	check_laws(&f, PREPARE_TREE, MMQ_F32);
	assert_null(f.out.batch.row_start);   /* 96 % are there: dense */
	assert_int_equal(f.out.batch.cols, 13);
	check_laws(&f, PREPARE_LINEAR, MMQ_F64);
	prepare_fini(&f);
}

static void
test_images_share_one_scale(void **unused)
{
	const char *folder = "examples/data";
	struct mmq_source source;
	struct prepare_case f = { 0 };
	size_t count;
	double low = 1, high = 0;

	(void)unused;
	mmq_frame_init(&f.frame);
	mmq_source_init(&source);
	source.file = "examples/data/mnist10k-images-idx3-ubyte.gz";
	source.labels = "examples/data/mnist10k-labels-idx1-ubyte.gz";
	assert_int_equal(mmq_source_open(&f.frame, &source, &folder, 1, NULL, &f.err), 0);
	f.frame.rows = 500;
	assert_int_equal(mmq_schema_infer(&f.schema, &f.frame, &f.err), 0);
	mmq_schema_find(&f.schema, "label")->role = MMQ_ROLE_TARGET;
	check_laws(&f, PREPARE_MLP, MMQ_F32);
	const struct mmq_feature *features = mmq_prepare_features(f.prepare, &count);
	assert_int_equal(count, 1);
	assert_int_equal(features[0].kind, MMQ_VECTOR);
	assert_int_equal(features[0].shape[1], 28);
	assert_int_equal(mmq_prepare_apply(f.prepare, &f.frame, NULL, 500, &f.out, NULL, &f.err), 0);
	for (size_t i = 0; i < 500 * 784; i++) {
		double value = (double)((const float *)f.out.batch.dense)[i];
		assert_true(fabs(value - f.frame.columns[0].numbers[i] / 255) < 1e-7);
		low = value < low ? value : low;
		high = value > high ? value : high;
	}
	assert_true(low == 0 && high == 1);
	mmq_prepare_destroy(&f.prepare);
	prepare_fit_apply(&f, PREPARE_TREE, MMQ_F32);  /* an engine without vectors: a feature per pixel */
	mmq_prepare_features(f.prepare, &count);
	assert_int_equal(count, 784);
	prepare_fini(&f);
}

static void
test_text_goes_sparse_or_is_refused(void **unused)
{
	static const char csv[] = "t,x\nhello there general kenobi of old,1\nthe quick brown fox jumps over it,2\n,3\n";
	struct prepare_case f;

	(void)unused;
	prepare_read(&f, csv, NULL);
	assert_int_equal(f.schema.fields[0].kind, MMQ_FIELD_TEXT);
	check_laws(&f, PREPARE_LINEAR, MMQ_F32);
	assert_non_null(f.out.batch.row_start);
	mmq_prepare_destroy(&f.prepare);
	assert_int_equal(mmq_prepare_fit(&f.prepare, &f.schema, &f.frame, NULL, 3, PREPARE_TREE, MMQ_F32, NULL, &f.err), -1);
	assert_int_equal(f.err.code, MMQ_FAILED_PRECONDITION);
	assert_string_equal(f.err.field, "t");
	prepare_fini(&f);
}

static void
test_many_categories_are_hashed_and_said(void **unused)
{
	struct prepare_case f;
	struct mmq_buf csv;

	(void)unused;
	mmq_buf_init(&csv, 1 << 20);
	mmq_buf_printf(&csv, "c,k\n");
	for (int i = 0; i < 1500; i++)
		mmq_buf_printf(&csv, "v%d,1\n", i);
	prepare_read(&f, mmq_buf_text(&csv), NULL);
	check_laws(&f, PREPARE_TREE, MMQ_F64);
	size_t count;
	assert_int_equal(mmq_prepare_features(f.prepare, &count)[0].cardinality, 1024);
	assert_non_null(strstr(mmq_buf_text(&f.warnings), "hashed into 1024"));
	assert_non_null(strstr(mmq_buf_text(&f.warnings), "looks like an id"));
	assert_non_null(strstr(mmq_buf_text(&f.warnings), "column 'k' has the same value"));
	check_laws(&f, PREPARE_LINEAR, MMQ_F32);
	assert_non_null(f.out.batch.row_start);  /* 2 of 1025 */
	mmq_buf_fini(&csv);
	prepare_fini(&f);
}

static void
test_bad_rows_are_named_or_reported(void **unused)
{
	struct prepare_case f;
	struct mmq_row_errors bad = { 0 };

	(void)unused;
	prepare_read(&f, "c,x\na,1\nb,2\nc,3\n", NULL);
	prepare_fit_apply(&f, PREPARE_TREE, MMQ_F64);
	((double *)f.frame.columns[1].numbers)[1] = INFINITY;
	assert_int_equal(mmq_prepare_apply(f.prepare, &f.frame, NULL, 3, &f.out, NULL, &f.err), -1);
	assert_int_equal(f.err.code, MMQ_INVALID_ARGUMENT);
	assert_string_equal(f.err.field, "rows[1].x");
	assert_int_equal(mmq_prepare_apply(f.prepare, &f.frame, NULL, 3, &f.out, &bad, &f.err), 0);
	assert_int_equal(bad.count, 1);
	assert_int_equal(bad.items[0].row, 1);
	assert_true(((const double *)f.out.batch.dense)[2] == 3);
	assert_int_equal(f.out.batch.codes[1], -1);
	mmq_row_errors_fini(&bad);
	prepare_fini(&f);
}

/* Every byte of every tensor changed, every number moved: open refuses, or what it opened still applies within its memory. */
static void
test_a_damaged_part_never_crashes(void **unused)
{
	struct prepare_case f;
	struct mmq_part part;
	size_t refused = 0, opened_count = 0;

	(void)unused;
	prepare_read(&f, prepare_table, "y");
	prepare_fit_apply(&f, PREPARE_LINEAR, MMQ_F64);
	mmq_part_init(&part, true);
	assert_int_equal(mmq_prepare_save(f.prepare, &part, &f.err), 0);
	for (size_t t = 0; t < part.tensors_count; t++)
		for (size_t at = 0; at < part.tensors[t].bytes; at++) {
			unsigned char *byte = (unsigned char *)(uintptr_t)part.tensors[t].data + at, before = *byte;
			struct mmq_prepare *opened;
			*byte = (unsigned char)(before ^ (at % 3 == 0 ? 1 : 0xff));
			if (mmq_prepare_open(&opened, &f.schema, &part, &f.err) == 0) {
				opened_count++;
				mmq_prepare_apply(opened, &f.frame, NULL, f.frame.rows, &f.out, NULL, &f.err);
				mmq_prepare_destroy(&opened);
			} else {
				refused++;
				assert_int_equal(f.err.code, MMQ_DATA_LOSS);
			}
			*byte = before;
		}
	for (size_t v = 0; v < part.values_count; v++) {
		struct mmq_prepare *opened;
		part.values[v].i += 1;
		if (mmq_prepare_open(&opened, &f.schema, &part, &f.err) == 0)
			mmq_prepare_destroy(&opened);
		part.values[v].i -= 1;
	}
	assert_true(refused > 50 && opened_count > 0);
	mmq_part_fini(&part);
	prepare_fini(&f);
}

static void
test_matched_requests_take_the_input_layout(void **unused)
{
	struct prepare_case f, g;
	struct mmq_prepared out = { 0 };

	(void)unused;
	prepare_read(&f, prepare_table, "y");
	prepare_fit_apply(&f, PREPARE_TREE, MMQ_F64);
	prepare_read(&g, "when,flag,color,size\n2024-03-01,false,blue,\n", NULL);
	assert_int_equal(mmq_frame_match(&g.frame, &f.schema, false, &f.err), 0);
	assert_int_equal(g.frame.columns_count, 4);
	assert_int_equal(mmq_prepare_apply(f.prepare, &g.frame, NULL, 1, &out, NULL, &f.err), 0);
	const double *all = f.out.batch.dense, *one = out.batch.dense;
	assert_memory_equal(one, all + f.out.batch.stride, f.out.batch.cols * sizeof(double));
	assert_int_equal(out.batch.codes[0], f.out.batch.codes[1]);
	prepare_fini(&g);
	prepare_read(&g, "when,flag,color\n2024-03-01,false,blue\n", NULL);
	assert_int_equal(mmq_frame_match(&g.frame, &f.schema, false, &f.err), -1);
	assert_string_equal(f.err.field, "size");
	mmq_schema_find(&f.schema, "size")->required = false;
	assert_int_equal(mmq_frame_match(&g.frame, &f.schema, false, &f.err), 0);
	prepare_fini(&g);
	prepare_read(&g, "when,flag,color,size,more\n2024-03-01,false,blue,x,1\n", NULL);
	assert_int_equal(mmq_frame_match(&g.frame, &f.schema, false, &f.err), -1);
	assert_string_equal(f.err.field, "more");
	assert_int_equal(mmq_frame_match(&g.frame, &f.schema, true, &f.err), -1);
	assert_string_equal(f.err.field, "size");
	prepare_fini(&g);
	mmq_prepared_fini(&out);
	prepare_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_alone_equal_rows_together_and_saved_equals_fitted),
		cmocka_unit_test(test_images_share_one_scale),
		cmocka_unit_test(test_text_goes_sparse_or_is_refused),
		cmocka_unit_test(test_many_categories_are_hashed_and_said),
		cmocka_unit_test(test_bad_rows_are_named_or_reported),
		cmocka_unit_test(test_a_damaged_part_never_crashes),
		cmocka_unit_test(test_matched_requests_take_the_input_layout),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
