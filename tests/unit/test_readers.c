/* test_readers.c: libsvm, idx, npy and jsonl: what they read, what they refuse and where, and that cut or changed bytes never crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/element.h"
#include "data/idx.h"
#include "data/jsonl.h"
#include "data/libsvm.h"
#include "data/npy.h"

static struct mmq_frame frame;
static struct mmq_err err;
static const struct mmq_data_limits limits = { .rows_max = 1000, .cols_max = 1000, .cell_bytes_max = 1000, .values_max = 10000, .bytes_max = 100000 };

static int
setup(void **unused)
{
	(void)unused;
	mmq_frame_init(&frame);
	return 0;
}

static int
teardown(void **unused)
{
	(void)unused;
	mmq_frame_fini(&frame);
	return 0;
}

enum format { LIBSVM, IDX, NPY, JSONL };

static int
read_bytes(enum format format, const void *bytes, size_t size)
{
	mmq_frame_reset(&frame);
	switch (format) {
	case LIBSVM: return mmq_libsvm_read(&frame, bytes, size, "t", &(struct mmq_libsvm_options){ .limits = limits }, &err);
	case IDX: return mmq_idx_read(&frame, "image", bytes, size, "t", &limits, &err);
	case NPY: return mmq_npy_read(&frame, "x", NULL, 0, bytes, size, "t", &limits, &err);
	default: return mmq_jsonl_read(&frame, bytes, size, "t", NULL, 0, &limits, &err);
	}
}

/* Every prefix, and every byte set to a few others. Good ones are counted so that the test cannot pass by refusing all. */
static size_t
damage(enum format format, const void *bytes, size_t size)
{
	static const unsigned char swaps[] = { 0, 1, 0xff, '0', ' ', ':', '\n', '(', 0x7f };
	size_t good = 0;

	for (size_t cut = 0; cut <= size; cut++) {
		unsigned char *copy = malloc(cut > 0 ? cut : 1);
		memcpy(copy, bytes, cut);
		good += read_bytes(format, copy, cut) == 0;
		free(copy);
	}
	for (size_t at = 0; at < size; at++)
		for (size_t k = 0; k < sizeof(swaps); k++) {
			unsigned char *copy = malloc(size);
			memcpy(copy, bytes, size);
			copy[at] = swaps[k];
			if (read_bytes(format, copy, size) == 0)
				good++;
			else
				assert_true(err.message[0] != '\0');
			free(copy);
		}
	return good;
}

static void
check_refused(enum format format, const char *text, const char *part)
{
	assert_int_equal(read_bytes(format, text, strlen(text)), -1);
	if (strstr(err.message, part) == NULL)
		fail_msg("'%s' does not say '%s'", err.message, part);
}

static void
test_libsvm(void **unused)
{
	static const char text[] = "+1 1:0.5 3:-2 # a comment 9:9\r\n\n-1 2:1e2\n0.5\n";
	struct mmq_libsvm_options options = { .limits = limits, .width = 5 };

	(void)unused;
	assert_int_equal(read_bytes(LIBSVM, text, sizeof(text) - 1), 0);
	assert_int_equal(frame.rows, 3);
	assert_int_equal(frame.sparse.cols, 3);
	assert_int_equal(frame.sparse.row_start[3], 3);
	assert_int_equal(frame.sparse.col[1], 2);
	assert_true(frame.sparse.value[1] == -2 && frame.sparse.value[2] == 100);
	assert_true(mmq_frame_find(&frame, "label")->numbers[2] == 0.5);
	mmq_frame_reset(&frame);
	assert_int_equal(mmq_libsvm_read(&frame, text, sizeof(text) - 1, "t", &options, &err), 0);
	assert_int_equal(frame.sparse.cols, 5);
	mmq_frame_reset(&frame);
	options.width = 2;
	assert_int_equal(mmq_libsvm_read(&frame, text, sizeof(text) - 1, "t", &options, &err), -1);
	check_refused(LIBSVM, "1 2:1 1:1\n", "t, line 1, column 7: indices must ascend");
	check_refused(LIBSVM, "1 0:1\n", "index from 1");
	check_refused(LIBSVM, "1 1:1\nx 1:1\n", "line 2, column 1: want a number as label");
	check_refused(LIBSVM, "1 1:inf\n", "line 1, column 5: want a finite number");
	check_refused(LIBSVM, "1 1001:1\n", "cols_max");
	assert_true(damage(LIBSVM, text, sizeof(text) - 1) > 20);
}

static void
test_idx(void **unused)
{
	static const unsigned char images[] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255 };
	static const unsigned char shorts[] = { 0, 0, 0x0b, 1, 0, 0, 0, 2, 0xff, 0xfe, 1, 0 };

	(void)unused;
	assert_int_equal(read_bytes(IDX, images, sizeof(images)), 0);
	assert_int_equal(frame.rows, 2);
	const struct mmq_column *image = mmq_frame_find(&frame, "image");
	assert_true(image->width == 3 && image->rank == 2 && image->shape[0] == 1 && image->shape[1] == 3);
	assert_true(image->numbers[5] == 255);
	assert_int_equal(mmq_idx_read(&frame, "label", shorts, sizeof(shorts), "l", &limits, &err), 0);
	assert_true(frame.columns[1].numbers[0] == -2 && frame.columns[1].numbers[1] == 256);
	assert_true(damage(IDX, images, sizeof(images)) > 20);
	assert_int_equal(read_bytes(IDX, images, sizeof(images)), 0);
	assert_int_equal(mmq_idx_read(&frame, "label", (unsigned char[]){ 0, 0, 8, 1, 0, 0, 0, 1, 7 }, 9, "l", &limits, &err), -1);
}

/* A version 1 file: magic, length, dict padded with spaces, data. */
static size_t
make_npy(unsigned char *out, const char *dict, const void *data, size_t data_size)
{
	size_t length = strlen(dict);

	memcpy(out, "\x93NUMPY\x01\x00", 8);
	out[8] = (unsigned char)length;
	out[9] = 0;
	memcpy(out + 10, dict, length);
	memcpy(out + 10 + length, data, data_size);
	return 10 + length + data_size;
}

static void
test_npy(void **unused)
{
	static const double numbers[6] = { 1, 2, 3, 4, 5, 6 };
	unsigned char file[400];

	(void)unused;
	size_t size = make_npy(file, "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }   \n", numbers, sizeof(numbers));
	assert_int_equal(read_bytes(NPY, file, size), 0);
	assert_true(frame.rows == 3 && frame.columns_count == 2);
	assert_true(mmq_column_number(mmq_frame_find(&frame, "x1"), 2) == 6);
	assert_true(damage(NPY, file, size) > 20);
	size = make_npy(file, "{'descr': '<f8', 'fortran_order': True, 'shape': (3, 2), }", numbers, sizeof(numbers));
	assert_int_equal(read_bytes(NPY, file, size), 0);
	assert_true(mmq_column_number(&frame.columns[1], 0) == 4 && mmq_column_number(&frame.columns[0], 2) == 3);
	size = make_npy(file, "{'descr': '>i2', 'fortran_order': True, 'shape': (1, 2, 3)}", "\0\1\0\2\0\3\0\4\0\5\0\6", 12);
	assert_int_equal(read_bytes(NPY, file, size), 0);
	static const double c_order[6] = { 1, 3, 5, 2, 4, 6 };
	assert_true(frame.columns[0].width == 6 && frame.columns[0].rank == 2);
	assert_memory_equal(frame.columns[0].numbers, c_order, sizeof(c_order));
	size = make_npy(file, "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }", "\1\0\0\0\0\0\x20\0", 8);
	assert_int_equal(read_bytes(NPY, file, size), -1);
	assert_non_null(strstr(err.message, "2^53"));
	size = make_npy(file, "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", numbers, 8);
	assert_int_equal(read_bytes(NPY, file, size), -1);
	size = make_npy(file, "{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000000, 9), }", numbers, 8);
	assert_int_equal(read_bytes(NPY, file, size), -1);
	assert_int_equal(err.code, MMQ_RESOURCE_EXHAUSTED);
	assert_true(mmq_half_to_double(0x3c00) == 1 && mmq_half_to_double(0xc000) == -2 && mmq_half_to_double(1) == 0x1p-24);
	assert_true(mmq_half_to_double(0x7bff) == 65504 && isinf(mmq_half_to_double(0x7c00)) && isnan(mmq_half_to_double(0x7e00)));
}

static void
test_jsonl(void **unused)
{
	static const char objects[] = "{\"a\": 1, \"b\": \"x\", \"c\": true}\n\n{\"b\": null, \"a\": 2.5, \"d\": 7}\r\n";
	static const char lists[] = "[1, \"x\"]\n[null, \"\"]";

	(void)unused;
	assert_int_equal(read_bytes(JSONL, objects, sizeof(objects) - 1), 0);
	assert_true(frame.rows == 2 && frame.columns_count == 4);
	assert_true(mmq_frame_find(&frame, "a")->numbers[1] == 2.5);
	assert_null(mmq_frame_find(&frame, "b")->texts[1].at);
	assert_true(mmq_frame_find(&frame, "c")->is_boolean && mmq_frame_find(&frame, "c")->texts[0].size == 4);
	assert_true(isnan(mmq_frame_find(&frame, "d")->numbers[0]));
	assert_true(damage(JSONL, objects, sizeof(objects) - 1) > 20);
	assert_int_equal(read_bytes(JSONL, lists, sizeof(lists) - 1), 0);
	assert_true(isnan(mmq_frame_find(&frame, "c0")->numbers[1]) && mmq_frame_find(&frame, "c1")->texts[1].at != NULL);
	check_refused(JSONL, "{\"a\": 1}\n{\"a\": \"x\"}\n", "t, line 2, column a: got a string");
	check_refused(JSONL, "{\"a\": [1]}\n", "got a list or object");
	check_refused(JSONL, "[1]\n{\"a\": 1}\n", "on every line");
	check_refused(JSONL, "[1]\n[1, 2]\n", "not as many values");
	check_refused(JSONL, "{\"a\": 9007199254740993}\n", "2^53");
	check_refused(JSONL, "{\"a\": 1, \"a\": 2}\n", "line 1");
	check_refused(JSONL, "{\"a\": \n", "line 1");
	check_refused(JSONL, "\n", "no row");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_libsvm),
		cmocka_unit_test(test_idx),
		cmocka_unit_test(test_npy),
		cmocka_unit_test(test_jsonl),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
