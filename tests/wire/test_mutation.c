/* test_mutation.c: every prefix and every single-bit flip of every valid vector gets an answer or an error, never a crash, and bytes that
 * announce more than they hold cost no memory. Meant to be run with SAN=address,undefined too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/wire/vectors.h"
#include "wire/reply.h"
#include "wire/request.h"
#include "wire/values.h"

static const char *const files[] = { "schemas/vectors/requests.json", "schemas/vectors/values.json" };

/* What a daemon does with a request, up to the frame. Returns the bytes that the frame took. */
static size_t
take(const uint8_t *at, size_t size, const struct mmq_schema *schema, struct mmq_err *err)
{
	struct mmq_head head;
	struct mmq_frame frame;
	struct mmq_row_errors errors = { 0 };
	struct mmq_predict_options options;
	struct mmq_train_request train;
	enum mmq_values_form form;
	size_t used = 0;

	*err = (struct mmq_err){ .code = MMQ_OK };
	if (mmq_peek(&head, at, size, 1, err) == -1)
		return 0;
	struct mmq_values_options values = { .schema = schema, .rows_max = 1000, .cells_max = 10000 };
	mmq_frame_init(&frame);
	if (head.op == MMQ_OP_PREDICT && mmq_predict_options_read(&options, at, size, err) == 0) {
		values.errors = options.report_row_errors ? &errors : NULL;
		values.extra_is_ignored = options.extra_is_ignored;
		mmq_values_read(&frame, &form, at, size, NULL, &values, err);
		used = frame.arena.used_bytes;
		mmq_frame_reset(&frame);
		struct mmq_err unused;
		values.schema = NULL;
		mmq_values_read(&frame, &form, at, size, NULL, &values, &unused);
	} else if (head.op == MMQ_OP_TRAIN && mmq_train_request_read(&train, at, size, err) == 0 && train.data.kind == MMQ_DATA_INLINE) {
		values.schema = NULL;
		mmq_values_read(&frame, &form, train.data.map.at, train.data.map.size, NULL, &values, err);
	}
	mmq_row_errors_fini(&errors);
	mmq_frame_fini(&frame);
	return used;
}

/* Whatever happened can be told: the error answer is itself well-formed. */
static void
check_answer(const struct mmq_err *err, struct mmq_buf *out)
{
	struct mmq_err why = { 0 };

	if (err->code == MMQ_OK)
		return;
	assert_int_not_equal(err->message[0], '\0');
	mmq_buf_reset(out);
	mmq_reply_error(out, NULL, err);
	if (mmq_wire_check(out->bytes, out->size, &why) == -1)
		fail_msg("answer to '%s': %s", err->message, why.message);
}

static void
mutate(const struct bytes *request, const struct mmq_schema *schema, struct mmq_buf *out)
{
	struct mmq_err err;

	for (size_t size = 0; size < request->size; size++) {
		uint8_t *prefix = malloc(size > 0 ? size : 1);
		memcpy(prefix, request->at, size);
		take(prefix, size, schema, &err);
		assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
		check_answer(&err, out);
		free(prefix);
	}
	for (size_t bit = 0; bit < request->size * 8; bit++) {
		request->at[bit / 8] ^= (uint8_t)(1u << bit % 8);
		take(request->at, request->size, schema, &err);
		check_answer(&err, out);
		request->at[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void
test_every_prefix_and_bit_flip_is_answered(void **state)
{
	json_t *models = load_vectors("schemas/vectors/models.json"), *vector;
	struct mmq_buf out;
	size_t i;
	(void)state;

	mmq_buf_init(&out, 1 << 16);
	for (size_t f = 0; f < 2; f++) {
		json_t *vectors = load_vectors(files[f]);
		json_array_foreach(vectors, i, vector) {
			const json_t *model = json_object_get(vector, "model");
			struct bytes request = from_hex(json_string_value(json_object_get(vector, "hex")));
			struct mmq_schema schema;
			make_schema(&schema, models, model != NULL ? json_string_value(model) : "iris");
			mutate(&request, &schema, &out);
			mmq_schema_fini(&schema);
			free(request.at);
		}
		json_decref(vectors);
	}
	json_decref(models);
	mmq_buf_fini(&out);
}

/* A predict whose `rows` is what follows the key. */
static size_t
wrap(uint8_t *out, const uint8_t *rows, size_t size)
{
	static const char head[] = "\x84\xa1v\x01\xa2op\xa7predict\xa5model\xa4iris\xa4rows";
	memcpy(out, head, sizeof(head) - 1);
	memcpy(out + sizeof(head) - 1, rows, size);
	return sizeof(head) - 1 + size;
}

static void
test_announced_counts_cost_no_memory(void **state)
{
	static const uint8_t lies[][6] = {
		{ 0xdd, 0xff, 0xff, 0xff, 0xff }, { 0xdf, 0xff, 0xff, 0xff, 0xff }, { 0xdb, 0xff, 0xff, 0xff, 0xff }, { 0xc6, 0xff, 0xff, 0xff, 0xff },
		{ 0xc9, 0xff, 0xff, 0xff, 0xff, 0x01 }, { 0xdd, 0x00, 0x01, 0x00, 0x00 },
	};
	uint8_t request[256], nested[93];
	json_t *models = load_vectors("schemas/vectors/models.json");
	struct mmq_schema schema;
	struct mmq_err err;
	(void)state;

	make_schema(&schema, models, "iris");
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		size_t size = wrap(request, lies[i], sizeof(lies[i]));
		assert_int_equal(take(request, size, &schema, &err), 0);
		assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	}
	for (size_t i = 0; i < sizeof(nested); i++)
		nested[i] = i % 3 == 0 ? 0xdc : i % 3 == 1 ? 0x00 : 0x10;
	assert_int_equal(take(request, wrap(request, nested, sizeof(nested)), &schema, &err), 0);
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	for (size_t depth = 15; depth <= 33; depth += 18) {
		memset(nested, 0x91, depth);
		nested[depth] = 0x01;
		take(request, wrap(request, nested, depth + 1), &schema, &err);
		assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
		assert_int_equal(strstr(err.message, "deeper") != NULL, depth == 33);
	}
	mmq_schema_fini(&schema);
	json_decref(models);
}

/* 60,000 empty maps in 60 kB would become 240,000 cells: past the limit it is refused before the memory is taken. */
static void
test_small_rows_of_a_wide_model_are_held_to_the_cell_limit(void **state)
{
	size_t rows = 60000, size;
	uint8_t *request = malloc(rows + 64), head[5] = { 0xdd, 0, 0, (uint8_t)(rows >> 8), (uint8_t)rows };
	struct mmq_schema schema;
	struct mmq_frame frame;
	struct mmq_err err = { 0 };
	enum mmq_values_form form;
	(void)state;

	mmq_schema_init(&schema);
	for (char name[2] = "a"; name[0] <= 'd'; name[0]++)
		mmq_schema_add(&schema, name, MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE)->required = false;
	size = wrap(request, head, sizeof(head));
	memset(request + size, 0x80, rows);
	size += rows;
	struct mmq_values_options values = { .schema = &schema, .rows_max = 100000, .cells_max = 239999 };
	mmq_frame_init(&frame);
	assert_int_equal(mmq_values_read(&frame, &form, request, size, NULL, &values, &err), -1);
	assert_int_equal(err.code, MMQ_RESOURCE_EXHAUSTED);
	assert_true(frame.arena.used_bytes < 4096);
	values.cells_max = 240000;
	assert_int_equal(mmq_values_read(&frame, &form, request, size, NULL, &values, &err), 0);
	values.rows_max = 59999;
	assert_int_equal(mmq_values_read(&frame, &form, request, size, NULL, &values, &err), -1);
	assert_int_equal(err.code, MMQ_RESOURCE_EXHAUSTED);
	mmq_frame_fini(&frame);
	mmq_schema_fini(&schema);
	free(request);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_prefix_and_bit_flip_is_answered),
		cmocka_unit_test(test_announced_counts_cost_no_memory),
		cmocka_unit_test(test_small_rows_of_a_wide_model_are_held_to_the_cell_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
