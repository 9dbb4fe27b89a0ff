/* test_split.c: every split is complete, disjoint, ascending and the same again; each kind does what its name says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/split.h"
#include "mpack/writer.h"

enum { ROWS = 1000 };

static void
check_whole(const struct mmq_split *split, size_t rows)
{
	unsigned char *seen = calloc(rows, 1);
	const uint32_t *lists[3] = { split->train, split->valid, split->test };
	size_t counts[3] = { split->train_count, split->valid_count, split->test_count };

	assert_int_equal(counts[0] + counts[1] + counts[2], rows);
	for (int k = 0; k < 3; k++)
		for (size_t i = 0; i < counts[k]; i++) {
			assert_true(i == 0 || lists[k][i] > lists[k][i - 1]);
			assert_true(lists[k][i] < rows && seen[lists[k][i]]++ == 0);
		}
	free(seen);
}

static void
test_random_is_stratified_and_repeatable(void **unused)
{
	struct mmq_split_spec spec = MMQ_SPLIT_DEFAULT;
	struct mmq_split a, b;
	struct mmq_err err;
	double codes[ROWS], share[3] = { 0.7, 0.25, 0.05 };

	(void)unused;
	for (size_t i = 0; i < ROWS; i++)
		codes[i] = i < 700 ? 0 : i < 950 ? 1 : 2;
	assert_int_equal(mmq_split_make(&a, &spec, NULL, ROWS, codes, 3, 0, &err), 0);
	check_whole(&a, ROWS);
	for (int k = 0; k < 3; k++) {
		double test = 0, valid = 0;
		for (size_t i = 0; i < a.test_count; i++)
			test += codes[a.test[i]] == k;
		for (size_t i = 0; i < a.valid_count; i++)
			valid += codes[a.valid[i]] == k;
		assert_true(fabs(test - 200 * share[k]) <= 2 && fabs(valid - 100 * share[k]) <= 2);
	}
	assert_int_equal(mmq_split_make(&b, &spec, NULL, ROWS, codes, 3, 0, &err), 0);
	assert_memory_equal(a.rows, b.rows, ROWS * sizeof(uint32_t));
	mmq_split_fini(&b);
	spec.seed = 1;
	assert_int_equal(mmq_split_make(&b, &spec, NULL, ROWS, codes, 3, 0, &err), 0);
	assert_memory_not_equal(a.rows, b.rows, ROWS * sizeof(uint32_t));
	mmq_split_fini(&a);
	mmq_split_fini(&b);
}

static void
test_modulo_and_head(void **unused)
{
	struct mmq_split_spec spec = MMQ_SPLIT_DEFAULT;
	struct mmq_split split;
	struct mmq_err err;

	(void)unused;
	spec.kind = MMQ_SPLIT_MODULO;
	assert_int_equal(mmq_split_make(&split, &spec, NULL, ROWS, NULL, 0, 0, &err), 0);
	check_whole(&split, ROWS);
	assert_int_equal(split.test_count, 200);
	for (size_t i = 0; i < split.test_count; i++)
		assert_int_equal(split.test[i] % 5, 4);
	assert_true(split.valid_count >= 99 && split.valid_count <= 101);
	mmq_split_fini(&split);
	spec.kind = MMQ_SPLIT_HEAD;
	spec.head_rows = 900;
	assert_int_equal(mmq_split_make(&split, &spec, NULL, ROWS, NULL, 0, 0, &err), 0);
	check_whole(&split, ROWS);
	assert_int_equal(split.test[0], 900);
	assert_int_equal(split.valid[0], 800);
	assert_int_equal(split.train_count, 800);
	mmq_split_fini(&split);
}

static void
test_folds_cover_all_rows_once(void **unused)
{
	struct mmq_split_spec spec = MMQ_SPLIT_DEFAULT;
	struct mmq_err err;
	unsigned char seen[ROWS] = { 0 };

	(void)unused;
	spec.kind = MMQ_SPLIT_FOLDS;
	for (uint32_t fold = 0; fold < 5; fold++) {
		struct mmq_split split;
		assert_int_equal(mmq_split_make(&split, &spec, NULL, ROWS, NULL, 0, fold, &err), 0);
		check_whole(&split, ROWS);
		assert_int_equal(split.test_count, ROWS / 5);
		for (size_t i = 0; i < split.test_count; i++)
			assert_int_equal(seen[split.test[i]]++, 0);
		mmq_split_fini(&split);
	}
}

static void
test_column_and_refusals(void **unused)
{
	struct mmq_split_spec spec = MMQ_SPLIT_DEFAULT;
	struct mmq_frame frame;
	struct mmq_split split;
	struct mmq_err err;

	(void)unused;
	mmq_frame_init(&frame);
	frame.rows = 4;
	struct mmq_text *part = mmq_frame_add_texts(&frame, "part");
	part[0] = part[3] = (struct mmq_text){ "train", 5 };
	part[1] = (struct mmq_text){ "test", 4 };
	part[2] = (struct mmq_text){ "valid", 5 };
	spec.kind = MMQ_SPLIT_COLUMN;
	memcpy(spec.column, "part", 5);
	assert_int_equal(mmq_split_make(&split, &spec, &frame, 4, NULL, 0, 0, &err), 0);
	check_whole(&split, 4);
	assert_true(split.test[0] == 1 && split.valid[0] == 2 && split.train_count == 2);
	mmq_split_fini(&split);
	part[2].size = 3;
	assert_int_equal(mmq_split_make(&split, &spec, &frame, 4, NULL, 0, 0, &err), -1);
	assert_string_equal(err.field, "rows[2].part");
	spec.kind = MMQ_SPLIT_RANDOM;
	spec.test = 0.95;
	assert_int_equal(mmq_split_make(&split, &spec, &frame, 4, NULL, 0, 0, &err), -1);
	spec.test = 0.2;
	assert_int_equal(mmq_split_make(&split, &spec, &frame, 0, NULL, 0, 0, &err), -1);
	mmq_frame_fini(&frame);
}

static void
test_spec_reads_what_it_writes_and_names_bad_keys(void **unused)
{
	struct mmq_split_spec spec = MMQ_SPLIT_DEFAULT, read = MMQ_SPLIT_DEFAULT;
	struct mmq_buf buf;
	struct mmq_reader reader;
	struct mmq_err err;

	(void)unused;
	mmq_buf_init(&buf, 4096);
	spec.kind = MMQ_SPLIT_MODULO;
	spec.modulo = 7;
	spec.valid = 0.25;
	spec.seed = 9;
	mmq_split_write(&spec, &buf);
	mmq_reader_init(&reader, buf.bytes, buf.size);
	assert_int_equal(mmq_split_read(&read, &reader, &err), 0);
	assert_true(mmq_reader_is_done(&reader));
	assert_true(read.kind == spec.kind && read.modulo == 7 && read.valid == 0.25 && read.seed == 9);
	mmq_buf_reset(&buf);
	mmq_put_map(&buf, 1);
	mmq_put_str(&buf, "test");
	mmq_put_double(&buf, 1.5);
	mmq_reader_init(&reader, buf.bytes, buf.size);
	assert_int_equal(mmq_split_read(&read, &reader, &err), -1);
	assert_string_equal(err.field, "split.test");
	for (size_t cut = 0; cut < buf.size; cut++) {
		mmq_reader_init(&reader, buf.bytes, cut);
		assert_int_equal(mmq_split_read(&read, &reader, &err), -1);
	}
	mmq_buf_fini(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_is_stratified_and_repeatable),
		cmocka_unit_test(test_modulo_and_head),
		cmocka_unit_test(test_folds_cover_all_rows_once),
		cmocka_unit_test(test_column_and_refusals),
		cmocka_unit_test(test_spec_reads_what_it_writes_and_names_bad_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
