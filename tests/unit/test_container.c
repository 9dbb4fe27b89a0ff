/* test_container.c: a model file gives back what was put; any changed or missing byte is DATA_LOSS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/container.h"
#include "util/mem.h"

static int
memory_file(const uint8_t *bytes, size_t size)
{
	int fd = memfd_create("model", 0);
	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, bytes, size), (ssize_t)size);
	return fd;
}

/* A file of two parts with every kind of value and three tensors, one empty. */
static int
sample(void)
{
	static const char *const texts[] = { "red", "", "gr\xc3\xbcn" };
	const double doubles[] = { 1.5, NAN, -INFINITY };
	const float weights[] = { 1, 2, 3, 4, 5, 6 };
	const int32_t one = 7;
	struct mmq_part a, b;
	struct mmq_err err;

	mmq_part_init(&a, true);
	mmq_part_put_int(&a, "int", INT64_MIN);
	mmq_part_put_bool(&a, "yes", true);
	mmq_part_put_double(&a, "double", 0.1);
	mmq_part_put_text(&a, "text", "hello");
	mmq_part_put_texts(&a, "texts", texts, 3);
	mmq_part_put_texts(&a, "no_texts", texts, 0);
	mmq_part_put_doubles(&a, "doubles", doubles, 3);
	mmq_part_put_doubles(&a, "no_doubles", doubles, 0);
	mmq_part_init(&b, true);
	mmq_part_put_matrix(&b, "weights", MMQ_F32, 2, 3, weights);
	mmq_part_put_vector(&b, "empty", MMQ_F64, 0, NULL);
	mmq_part_put_vector(&b, "one", MMQ_I32, 1, &one);
	struct mmq_container_part parts[2] = {
		{ .id = "p", .kind = "prepare", .name = "auto", .version = 1, .part = &a },
		{ .id = "e", .kind = "engine", .name = "mean", .version = 3, .inputs_count = 1, .inputs = { "p" }, .part = &b },
	};
	int fd = memfd_create("model", 0);
	assert_int_equal(mmq_container_write(fd, parts, 2, &err), 0);
	mmq_part_fini(&a);
	mmq_part_fini(&b);
	return fd;
}

static uint8_t *
content(int fd, size_t *size_out)
{
	*size_out = (size_t)lseek(fd, 0, SEEK_END);
	uint8_t *bytes = mmq_alloc(*size_out);
	assert_int_equal(pread(fd, bytes, *size_out, 0), (ssize_t)*size_out);
	return bytes;
}

static void
test_gives_back_what_was_put(void **state)
{
	struct mmq_container *container;
	struct mmq_err err;
	int fd = sample();

	(void)state;
	assert_int_equal(mmq_container_open(&container, fd, true, &err), 0);
	close(fd);
	const struct mmq_container_part *a = mmq_container_find(container, "prepare"), *b = mmq_container_find(container, "engine");
	int64_t i;
	bool yes;
	const char *text, *const *texts;
	const double *doubles;
	size_t count;
	assert_int_equal(mmq_part_get_int(a->part, "int", INT64_MIN, 0, &i, &err), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(mmq_part_get_bool(a->part, "yes", &yes, &err), 0);
	assert_true(yes);
	assert_int_equal(mmq_part_get_text(a->part, "text", &text, &err), 0);
	assert_string_equal(text, "hello");
	assert_int_equal(mmq_part_get_texts(a->part, "texts", &texts, &count, &err), 0);
	assert_int_equal(count, 3);
	assert_string_equal(texts[2], "gr\xc3\xbcn");
	assert_int_equal(mmq_part_get_texts(a->part, "no_texts", &texts, &count, &err), 0);
	assert_int_equal(count, 0);
	assert_int_equal(mmq_part_get_doubles(a->part, "doubles", &doubles, &count, &err), 0);
	assert_true(count == 3 && doubles[0] == 1.5 && isnan(doubles[1]) && doubles[2] == -INFINITY);
	assert_int_equal(mmq_part_get_doubles(a->part, "no_doubles", &doubles, &count, &err), 0);
	assert_int_equal(count, 0);
	assert_int_equal(b->version, 3);
	assert_string_equal(b->inputs[0], "p");
	const struct mmq_tensor *tensor;
	assert_int_equal(mmq_part_get_tensor(b->part, "weights", MMQ_F32, 2, (uint64_t[]){ 2, 3 }, &tensor, &err), 0);
	assert_int_equal((uintptr_t)tensor->data % 64, 0);
	assert_true(((const float *)tensor->data)[5] == 6);
	assert_int_equal(mmq_part_get_tensor(b->part, "one", MMQ_I32, 1, (uint64_t[]){ 1 }, &tensor, &err), 0);
	assert_int_equal(*(const int32_t *)tensor->data, 7);
	mmq_container_close(&container);
}

static void
test_header_alone_lists_tensors_without_data(void **state)
{
	struct mmq_container *container;
	struct mmq_err err;
	int fd = sample();

	(void)state;
	assert_int_equal(mmq_container_read_header(&container, fd, &err), 0);
	const struct mmq_tensor *tensor = mmq_part_find_tensor(mmq_container_find(container, "engine")->part, "weights");
	assert_true(tensor != NULL && tensor->data == NULL && tensor->shape[1] == 3);
	mmq_container_close(&container);
	close(fd);
}

static void
assert_lost(const uint8_t *bytes, size_t size)
{
	struct mmq_container *container;
	struct mmq_err err = { 0 };
	int fd = memory_file(bytes, size);

	assert_int_equal(mmq_container_open(&container, fd, true, &err), -1);
	assert_null(container);
	assert_int_equal(err.code, MMQ_DATA_LOSS);
	close(fd);
}

static void
test_every_flipped_byte_is_data_loss(void **state)
{
	size_t size;
	int fd = sample();
	uint8_t *bytes = content(fd, &size);

	(void)state;
	for (size_t i = 0; i < size; i++) {
		static const uint8_t masks[] = { 0x01, 0x80, 0xff };
		for (size_t k = 0; k < sizeof(masks); k++) {
			bytes[i] ^= masks[k];
			assert_lost(bytes, size);
			bytes[i] ^= masks[k];
		}
	}
	free(bytes);
	close(fd);
}

static void
test_every_truncation_is_data_loss(void **state)
{
	size_t size;
	int fd = sample();
	uint8_t *bytes = content(fd, &size);

	(void)state;
	for (size_t i = 0; i < size; i++)
		assert_lost(bytes, i);
	free(bytes);
	close(fd);
}

/* A liar who writes a right hash over a wrong header must still not crash the reader: the structure is checked too. */
static void
test_forged_headers_never_crash(void **state)
{
	size_t size;
	int fd = sample();
	uint8_t *bytes = content(fd, &size);
	uint32_t header_bytes;

	(void)state;
	memcpy(&header_bytes, bytes + 12, 4);
	for (size_t i = 24; i < 24 + header_bytes; i++) {
		for (unsigned k = 1; k < 256; k += 7) {
			struct mmq_container *container;
			struct mmq_err err = { 0 };
			bytes[i] ^= (uint8_t)k;

			crypto_generichash(bytes + 24 + header_bytes, 32, bytes, 24 + header_bytes, NULL, 0);
			int forged = memory_file(bytes, size);
			if (mmq_container_open(&container, forged, true, &err) == 0)
				mmq_container_close(&container);
			else
				assert_true(err.code == MMQ_DATA_LOSS || err.code == MMQ_FAILED_PRECONDITION);
			close(forged);
			bytes[i] ^= (uint8_t)k;
		}
	}
	free(bytes);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gives_back_what_was_put),
		cmocka_unit_test(test_header_alone_lists_tensors_without_data),
		cmocka_unit_test(test_every_flipped_byte_is_data_loss),
		cmocka_unit_test(test_every_truncation_is_data_loss),
		cmocka_unit_test(test_forged_headers_never_crash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
