/* test_source.c: files are read only from allowed folders, gzip is undone up to a limit, the hash follows the content, and the real data
 * sets come out with the rows, columns and gaps that their README states. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "data/source.h"
#include "mpack/writer.h"
#include "util/file.h"

static char folder[64];
static struct mmq_frame frame;
static struct mmq_err err;

static int
setup(void **unused)
{
	(void)unused;
	snprintf(folder, sizeof(folder), "/tmp/mmq-source-%ld", (long)getpid());
	return mkdir(folder, 0700);
}

static int
teardown(void **unused)
{
	static const char *const names[] = { "in/a.csv", "in/link.csv", "in/pipe.csv", "in/bomb.csv.gz", "out.csv", "in" };
	char path[128];

	(void)unused;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		remove(path);
	}
	return rmdir(folder);
}

static char *
path_of(const char *name)
{
	static char path[160];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void
write_file(const char *name, const char *text)
{
	FILE *file = fopen(path_of(name), "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int
open_file(char *file, const char *allowed, uint8_t *hash)
{
	struct mmq_source source;

	mmq_source_init(&source);
	source.file = file;
	source.limits.bytes_max = 1 << 24;
	mmq_frame_fini(&frame);
	mmq_frame_init(&frame);
	int result = mmq_source_open(&frame, &source, &allowed, 1, hash, &err);
	if (result == -1)
		mmq_frame_fini(&frame);
	return result;
}

static void
test_only_regular_files_in_allowed_folders(void **unused)
{
	char allowed[160], outside[160], link[160];

	(void)unused;
	snprintf(allowed, sizeof(allowed), "%s", path_of("in"));
	assert_int_equal(mkdir(allowed, 0700), 0);
	write_file("in/a.csv", "x,y\n1,2\n");
	write_file("out.csv", "x\n1\n");
	snprintf(outside, sizeof(outside), "%s", path_of("out.csv"));
	snprintf(link, sizeof(link), "%s", path_of("in/link.csv"));
	assert_int_equal(symlink(outside, link), 0);
	assert_int_equal(mkfifo(path_of("in/pipe.csv"), 0600), 0);
	assert_int_equal(open_file(path_of("in/a.csv"), allowed, NULL), 0);
	assert_int_equal(frame.columns_count, 2);
	static const char *const denied[] = { "out.csv", "in/link.csv", "in/pipe.csv", "in/../out.csv", "absent.csv", "in/../absent.csv" };
	for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++) {
		assert_int_equal(open_file(path_of(denied[i]), allowed, NULL), -1);
		if (err.code != MMQ_PERMISSION_DENIED)
			fail_msg("%s: %s", denied[i], err.message);
	}
	assert_int_equal(open_file((char *)(uintptr_t)"/etc/passwd", allowed, NULL), -1);
	assert_int_equal(err.code, MMQ_PERMISSION_DENIED);
	assert_int_equal(open_file(path_of("in/absent.csv"), allowed, NULL), -1);
	assert_int_equal(err.code, MMQ_NOT_FOUND);
	snprintf(link, sizeof(link), "%s/i", folder);  /* a name that begins alike is not inside */
	assert_int_equal(open_file(path_of("in/a.csv"), link, NULL), -1);
}

static void
test_gzip_bomb_and_damage(void **unused)
{
	char allowed[160];
	uint8_t *bytes, *out, zeros[4096];
	size_t size, out_size;

	(void)unused;
	snprintf(allowed, sizeof(allowed), "%s", path_of("in"));
	memset(zeros, '1', sizeof(zeros));
	gzFile gz = gzopen(path_of("in/bomb.csv.gz"), "wb9");
	for (int i = 0; i < 5000; i++)
		gzwrite(gz, zeros, sizeof(zeros));
	gzclose(gz);
	assert_int_equal(open_file(path_of("in/bomb.csv.gz"), allowed, NULL), -1);
	assert_int_equal(err.code, MMQ_RESOURCE_EXHAUSTED);
	FILE *file = fopen("examples/data/digits8x8.csv.gz", "rb");
	assert_non_null(file);
	assert_int_equal(mmq_file_read(fileno(file), "digits", 1 << 20, &bytes, &size, &err), 0);
	fclose(file);
	for (size_t cut = 0; cut < size; cut += 997)
		assert_int_equal(mmq_gunzip(bytes, cut, "cut", 1 << 24, &out, &out_size, &err), -1);
	bytes[size / 2] ^= 0x55;
	assert_int_equal(mmq_gunzip(bytes, size, "changed", 1 << 24, &out, &out_size, &err), -1);
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	bytes[size / 2] ^= 0x55;
	assert_int_equal(mmq_gunzip(bytes, size, "whole", 1 << 24, &out, &out_size, &err), 0);
	free(out);
	free(bytes);
}

static size_t
gaps(const char *name)
{
	const struct mmq_column *column = mmq_frame_find(&frame, name);
	size_t count = 0;

	assert_non_null(column);
	for (size_t row = 0; row < frame.rows; row++)
		count += column->type == MMQ_COLUMN_TEXT ? mmq_column_text(column, row).at == NULL : isnan(mmq_column_number(column, row));
	return count;
}

static void
test_real_data_sets(void **unused)
{
	static const struct { const char *file; size_t rows, columns; } sets[] = {
		{ "examples/data/iris.csv", 150, 5 }, { "examples/data/breast_cancer.csv", 569, 31 }, { "examples/data/diabetes.csv", 442, 11 },
		{ "examples/data/digits8x8.csv.gz", 1797, 65 }, { "examples/data/adult_train.csv.gz", 32561, 15 }, { "examples/data/adult_test.csv.gz", 16281, 15 },
		{ "examples/data/california_housing.csv.gz", 20640, 10 }, { "examples/data/heart_scale.libsvm", 270, 1 },
	};
	uint8_t hash[MMQ_SOURCE_HASH_BYTES], again[MMQ_SOURCE_HASH_BYTES], zero[MMQ_SOURCE_HASH_BYTES] = { 0 };

	(void)unused;
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		if (open_file((char *)(uintptr_t)sets[i].file, "examples/data", hash) == -1)
			fail_msg("%s", err.message);
		assert_int_equal(frame.rows, sets[i].rows);
		assert_int_equal(frame.columns_count, sets[i].columns);
		assert_memory_not_equal(hash, zero, sizeof(hash));
		if (i == 6)
			assert_int_equal(gaps("total_bedrooms"), 207);
		if (i == 4)
			assert_int_equal(gaps("workclass"), 1836);
	}
	assert_int_equal(frame.sparse.cols, 13);
	assert_int_equal(open_file((char *)(uintptr_t)sets[7].file, "examples/data", again), 0);
	assert_memory_equal(hash, again, sizeof(hash));
	mmq_frame_fini(&frame);
}

static int
read_spec(const struct mmq_buf *buf, size_t size, struct mmq_source *source)
{
	struct mmq_reader reader;

	mmq_source_init(source);
	mmq_reader_init(&reader, buf->bytes, size);
	return mmq_source_read(source, &reader, &err);
}

static void
test_request_map(void **unused)
{
	struct mmq_source source;
	struct mmq_buf buf;

	(void)unused;
	mmq_buf_init(&buf, 4096);
	mmq_put_map(&buf, 4);
	mmq_put_str(&buf, "options");
	mmq_put_map(&buf, 4);
	mmq_put_str(&buf, "names");
	mmq_put_array(&buf, 2);
	mmq_put_str(&buf, "a");
	mmq_put_str(&buf, "b");
	mmq_put_str(&buf, "delimiter");
	mmq_put_str(&buf, ";");
	mmq_put_str(&buf, "newer");
	mmq_put_map(&buf, 0);
	mmq_put_str(&buf, "width");
	mmq_put_int(&buf, 7);
	mmq_put_str(&buf, "file");
	mmq_put_str(&buf, "x/y.csv");
	mmq_put_str(&buf, "format");
	mmq_put_str(&buf, "csv");
	mmq_put_str(&buf, "unknown");
	mmq_put_nil(&buf);
	assert_int_equal(read_spec(&buf, buf.size, &source), 0);
	assert_string_equal(source.file, "x/y.csv");
	assert_true(source.format == MMQ_FORMAT_CSV && source.delimiter == ';' && source.width == 7 && source.names_count == 2);
	mmq_source_fini(&source);
	for (size_t cut = 0; cut < buf.size; cut++) {
		assert_int_equal(read_spec(&buf, cut, &source), -1);
		mmq_source_fini(&source);
	}
	mmq_buf_fini(&buf);
	assert_int_equal(mmq_format_guess("a/b.tsv.gz"), MMQ_FORMAT_CSV);
	assert_int_equal(mmq_format_guess("train-images-idx3-ubyte.gz"), MMQ_FORMAT_IDX);
	assert_int_equal(mmq_format_guess("a.parquet"), MMQ_FORMAT_AUTO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_regular_files_in_allowed_folders),
		cmocka_unit_test(test_gzip_bomb_and_damage),
		cmocka_unit_test(test_real_data_sets),
		cmocka_unit_test(test_request_map),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
