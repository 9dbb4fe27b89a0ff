/* test_prepare.c: preparation's laws: rows alone equal rows together, a saved preparation gives the same bits, damage is refused,
 * and small cases recorded from scikit-learn 1.9.1 (SimpleImputer median + StandardScaler; HashingVectorizer 1-2-grams, 2^18). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/csv.h"
#include "data/libsvm.h"
#include "data/match.h"
#include "data/source.h"
#include "prepare/prepare.h"
#include "prepare/text_hash.h"

enum { TREE = MMQ_ACCEPTS_MISSING | MMQ_ACCEPTS_CATEGORY | MMQ_ACCEPTS_F64, LINEAR = MMQ_ACCEPTS_SPARSE | MMQ_WANTS_SCALED | MMQ_WANTS_ONE_HOT,
	MLP = MMQ_ACCEPTS_VECTOR | MMQ_WANTS_SCALED | MMQ_WANTS_ONE_HOT };

static const char table[] =
    "size,color,flag,when,y\n"
    "1,red,true,2024-02-29T23:30,a\n"
    ",blue,false,2024-03-01,b\n"
    "4,red,,2024-12-31T01:00:00Z,a\n"
    "2.5,,true,2025-01-01,b\n"
    "10,green,false,2024-02-29,a\n";

struct fixture {
	struct mmq_frame frame;
	struct mmq_schema schema;
	struct mmq_prepare *prepare;
	struct mmq_prepared out;
	struct mmq_buf warnings;
	struct mmq_err err;
};

static void
fixture_read(struct fixture *f, const char *csv, const char *target)
{
	memset(f, 0, sizeof(*f));
	mmq_frame_init(&f->frame);
	mmq_buf_init(&f->warnings, 1 << 16);
	mmq_schema_init(&f->schema);
	struct mmq_csv_options options = { .limits = MMQ_DATA_LIMITS_DEFAULT };
	assert_int_equal(mmq_csv_read(&f->frame, csv, strlen(csv), "test", &options, &f->err), 0);
	assert_int_equal(mmq_schema_infer(&f->schema, &f->frame, &f->err), 0);
	if (target != NULL)
		mmq_schema_find(&f->schema, target)->role = MMQ_ROLE_TARGET;
}

static void
fixture_open(struct fixture *f, char *file, const char *target)
{
	const char *folder = "examples/data";
	struct mmq_source source;

	memset(f, 0, sizeof(*f));
	mmq_frame_init(&f->frame);
	mmq_buf_init(&f->warnings, 1 << 16);
	mmq_schema_init(&f->schema);
	mmq_source_init(&source);
	source.file = file;
	assert_int_equal(mmq_source_open(&f->frame, &source, &folder, 1, NULL, &f->err), 0);
	assert_int_equal(mmq_schema_infer(&f->schema, &f->frame, &f->err), 0);
	mmq_schema_find(&f->schema, target)->role = MMQ_ROLE_TARGET;
}

static void
fixture_fini(struct fixture *f)
{
	mmq_prepared_fini(&f->out);
	mmq_prepare_destroy(&f->prepare);
	mmq_schema_fini(&f->schema);
	mmq_frame_fini(&f->frame);
	mmq_buf_fini(&f->warnings);
}

static void
fit_apply(struct fixture *f, unsigned accepts, enum mmq_dtype dtype)
{
	if (mmq_prepare_fit(&f->prepare, &f->schema, &f->frame, NULL, f->frame.rows, accepts, dtype, &f->warnings, &f->err) == -1)
		fail_msg("%s", f->err.message);
	if (mmq_prepare_apply(f->prepare, &f->frame, NULL, f->frame.rows, &f->out, NULL, &f->err) == -1)
		fail_msg("%s", f->err.message);
}

static void
test_numbers_are_imputed_flagged_and_standardised_as_sklearn(void **unused)
{
	static const double want[5] = { -1.0198501554751274, -0.29138575870717937, -0.04856429311786332, -0.5342072242964954, 1.8940074315966648 };
	struct fixture f;
	size_t count;

	(void)unused;
	fixture_read(&f, table, "y");
	fit_apply(&f, MMQ_WANTS_SCALED | MMQ_WANTS_ONE_HOT, MMQ_F64);
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
	fixture_fini(&f);
}

static void
test_trees_get_numbers_gaps_and_codes_as_they_are(void **unused)
{
	struct fixture f;
	size_t count;

	(void)unused;
	fixture_read(&f, table, "y");
	fit_apply(&f, TREE, MMQ_F64);
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
	fixture_fini(&f);
}

static void
test_unseen_categories(void **unused)
{
	struct fixture f, g;
	struct mmq_prepared out = { 0 };

	(void)unused;
	fixture_read(&f, "c,x\na,1\nb,2\na,3\n", NULL);
	fixture_read(&g, "c,x\nq,1\n,2\n", NULL);
	fit_apply(&f, MMQ_WANTS_ONE_HOT, MMQ_F64);
	assert_int_equal(mmq_prepare_apply(f.prepare, &g.frame, NULL, 2, &out, NULL, &f.err), 0);
	const double *x = out.batch.dense;
	assert_int_equal(out.batch.cols, 3);
	assert_true(x[0] == 0 && x[1] == 0 && x[3] == 0 && x[4] == 0);
	mmq_prepare_destroy(&f.prepare);
	fit_apply(&f, TREE, MMQ_F64);
	assert_int_equal(mmq_prepare_apply(f.prepare, &g.frame, NULL, 2, &out, NULL, &f.err), 0);
	assert_int_equal(out.batch.codes[0], -2);
	assert_int_equal(out.batch.codes[1], -1);
	mmq_prepared_fini(&out);
	fixture_fini(&f);
	fixture_fini(&g);
}

static void
test_only_categories_need_no_dense_columns(void **unused)
{
	struct fixture f;

	(void)unused;
	fixture_read(&f, "c\na\nb\na\n", NULL);
	fit_apply(&f, TREE, MMQ_F32);
	assert_int_equal(f.out.batch.cols, 0);
	assert_null(f.out.batch.dense);
	assert_null(f.out.batch.row_start);
	assert_true(f.out.batch.codes[0] == 0 && f.out.batch.codes[1] == 1 && f.out.batch.codes[2] == 0);
	fixture_fini(&f);
}

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
check_laws(struct fixture *f, unsigned accepts, enum mmq_dtype dtype)
{
	struct mmq_prepare *opened = NULL;
	struct mmq_prepared one = { 0 };
	struct mmq_part part;
	size_t rows = f->frame.rows < 400 ? f->frame.rows : 400;

	mmq_prepare_destroy(&f->prepare);
	fit_apply(f, accepts, dtype);
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
	struct fixture f;

	(void)unused;
	fixture_read(&f, table, "y");
	check_laws(&f, TREE, MMQ_F64);
	check_laws(&f, LINEAR, MMQ_F32);
	check_laws(&f, MLP, MMQ_F32);
	fixture_fini(&f);
	fixture_open(&f, "examples/data/adult_test.csv.gz", "income");
	check_laws(&f, TREE, MMQ_F32);
	check_laws(&f, LINEAR, MMQ_F32);
	fixture_fini(&f);
	fixture_open(&f, "examples/data/heart_scale.libsvm", "label");
	check_laws(&f, TREE, MMQ_F32);
	assert_null(f.out.batch.row_start);   /* 96 % are there: dense */
	assert_int_equal(f.out.batch.cols, 13);
	check_laws(&f, LINEAR, MMQ_F64);
	fixture_fini(&f);
}

static void
test_images_share_one_scale(void **unused)
{
	const char *folder = "examples/data";
	struct mmq_source source;
	struct fixture f = { 0 };
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
	check_laws(&f, MLP, MMQ_F32);
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
	fit_apply(&f, TREE, MMQ_F32);  /* an engine without vectors: a feature per pixel */
	mmq_prepare_features(f.prepare, &count);
	assert_int_equal(count, 784);
	fixture_fini(&f);
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
test_text_goes_sparse_or_is_refused(void **unused)
{
	static const char csv[] = "t,x\nhello there general kenobi of old,1\nthe quick brown fox jumps over it,2\n,3\n";
	struct fixture f;

	(void)unused;
	fixture_read(&f, csv, NULL);
	assert_int_equal(f.schema.fields[0].kind, MMQ_FIELD_TEXT);
	check_laws(&f, LINEAR, MMQ_F32);
	assert_non_null(f.out.batch.row_start);
	mmq_prepare_destroy(&f.prepare);
	assert_int_equal(mmq_prepare_fit(&f.prepare, &f.schema, &f.frame, NULL, 3, TREE, MMQ_F32, NULL, &f.err), -1);
	assert_int_equal(f.err.code, MMQ_FAILED_PRECONDITION);
	assert_string_equal(f.err.field, "t");
	fixture_fini(&f);
}

static void
test_bad_rows_are_named_or_reported(void **unused)
{
	struct fixture f;
	struct mmq_row_errors bad = { 0 };

	(void)unused;
	fixture_read(&f, "c,x\na,1\nb,2\nc,3\n", NULL);
	fit_apply(&f, TREE, MMQ_F64);
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
	fixture_fini(&f);
}

static void
test_many_categories_are_hashed_and_said(void **unused)
{
	struct fixture f;
	struct mmq_buf csv;

	(void)unused;
	mmq_buf_init(&csv, 1 << 20);
	mmq_buf_printf(&csv, "c,k\n");
	for (int i = 0; i < 1500; i++)
		mmq_buf_printf(&csv, "v%d,1\n", i);
	fixture_read(&f, mmq_buf_text(&csv), NULL);
	check_laws(&f, TREE, MMQ_F64);
	size_t count;
	assert_int_equal(mmq_prepare_features(f.prepare, &count)[0].cardinality, 1024);
	assert_non_null(strstr(mmq_buf_text(&f.warnings), "hashed into 1024"));
	assert_non_null(strstr(mmq_buf_text(&f.warnings), "looks like an id"));
	assert_non_null(strstr(mmq_buf_text(&f.warnings), "column 'k' has the same value"));
	check_laws(&f, LINEAR, MMQ_F32);
	assert_non_null(f.out.batch.row_start);  /* 2 of 1025 */
	mmq_buf_fini(&csv);
	fixture_fini(&f);
}

static void
test_bounds_and_values_hold_in_fit_and_apply(void **unused)
{
	struct fixture f, g;
	char *values[] = { "a", "b", "z" };

	(void)unused;
	fixture_read(&f, "c,x\na,1\nb,2\na,3\n", NULL);
	f.schema.fields[0].values = values;
	f.schema.fields[0].values_count = 3;
	f.schema.fields[1].bound_max = 3;
	fit_apply(&f, MMQ_WANTS_ONE_HOT, MMQ_F64);
	assert_int_equal(f.out.batch.cols, 4);   /* z was never seen but is known */
	fixture_read(&g, "c,x\nq,1\na,4\n", NULL);
	assert_int_equal(mmq_prepare_apply(f.prepare, &g.frame, NULL, 2, &f.out, NULL, &f.err), -1);
	assert_string_equal(f.err.field, "rows[0].c");
	assert_string_equal(f.err.got, "q");
	assert_int_equal(mmq_prepare_apply(f.prepare, &g.frame, (uint32_t[]){ 1 }, 1, &f.out, NULL, &f.err), -1);
	assert_string_equal(f.err.field, "rows[1].x");
	mmq_prepare_destroy(&f.prepare);
	f.schema.fields[1].bound_max = 2;
	assert_int_equal(mmq_prepare_fit(&f.prepare, &f.schema, &f.frame, NULL, 3, TREE, MMQ_F64, NULL, &f.err), -1);
	assert_string_equal(f.err.field, "rows[2].x");
	f.schema.fields[0].values = NULL;
	f.schema.fields[0].values_count = 0;
	fixture_fini(&f);
	fixture_fini(&g);
}

static void
test_steps_are_written_for_people(void **unused)
{
	static const char *const wanted[] = { "datetime_parts", "missing_flag", "impute_median", "one_hot", "standardize", "assemble_dense" };
	struct fixture f;
	struct mmq_buf out;
	struct mmq_reader reader;
	struct mmq_token token;
	size_t found = 0;

	(void)unused;
	fixture_read(&f, table, "y");
	fit_apply(&f, LINEAR, MMQ_F32);
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
	fixture_fini(&f);
}

/* Every byte of every tensor changed, every number moved: open refuses, or what it opened still applies within its memory. */
static void
test_a_damaged_part_never_crashes(void **unused)
{
	struct fixture f;
	struct mmq_part part;
	size_t refused = 0, opened_count = 0;

	(void)unused;
	fixture_read(&f, table, "y");
	fit_apply(&f, LINEAR, MMQ_F64);
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
	fixture_fini(&f);
}

static void
test_matched_requests_take_the_input_layout(void **unused)
{
	struct fixture f, g;
	struct mmq_prepared out = { 0 };

	(void)unused;
	fixture_read(&f, table, "y");
	fit_apply(&f, TREE, MMQ_F64);
	fixture_read(&g, "when,flag,color,size\n2024-03-01,false,blue,\n", NULL);
	assert_int_equal(mmq_frame_match(&g.frame, &f.schema, false, &f.err), 0);
	assert_int_equal(g.frame.columns_count, 4);
	assert_int_equal(mmq_prepare_apply(f.prepare, &g.frame, NULL, 1, &out, NULL, &f.err), 0);
	const double *all = f.out.batch.dense, *one = out.batch.dense;
	assert_memory_equal(one, all + f.out.batch.stride, f.out.batch.cols * sizeof(double));
	assert_int_equal(out.batch.codes[0], f.out.batch.codes[1]);
	fixture_fini(&g);
	fixture_read(&g, "when,flag,color\n2024-03-01,false,blue\n", NULL);
	assert_int_equal(mmq_frame_match(&g.frame, &f.schema, false, &f.err), -1);
	assert_string_equal(f.err.field, "size");
	mmq_schema_find(&f.schema, "size")->required = false;
	assert_int_equal(mmq_frame_match(&g.frame, &f.schema, false, &f.err), 0);
	fixture_fini(&g);
	fixture_read(&g, "when,flag,color,size,more\n2024-03-01,false,blue,x,1\n", NULL);
	assert_int_equal(mmq_frame_match(&g.frame, &f.schema, false, &f.err), -1);
	assert_string_equal(f.err.field, "more");
	assert_int_equal(mmq_frame_match(&g.frame, &f.schema, true, &f.err), -1);
	assert_string_equal(f.err.field, "size");
	fixture_fini(&g);
	mmq_prepared_fini(&out);
	fixture_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_are_imputed_flagged_and_standardised_as_sklearn),
		cmocka_unit_test(test_trees_get_numbers_gaps_and_codes_as_they_are),
		cmocka_unit_test(test_unseen_categories),
		cmocka_unit_test(test_only_categories_need_no_dense_columns),
		cmocka_unit_test(test_rows_alone_equal_rows_together_and_saved_equals_fitted),
		cmocka_unit_test(test_images_share_one_scale),
		cmocka_unit_test(test_text_hash_equals_sklearn),
		cmocka_unit_test(test_text_goes_sparse_or_is_refused),
		cmocka_unit_test(test_bad_rows_are_named_or_reported),
		cmocka_unit_test(test_many_categories_are_hashed_and_said),
		cmocka_unit_test(test_bounds_and_values_hold_in_fit_and_apply),
		cmocka_unit_test(test_steps_are_written_for_people),
		cmocka_unit_test(test_a_damaged_part_never_crashes),
		cmocka_unit_test(test_matched_requests_take_the_input_layout),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
