/* test_vectors.c: every vector of schemas/vectors through the C code, both ways: our packer makes the same bytes from the decoded form
 * that msgpack's Python package made, and our readers come to the outcome that the vector states. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "mpack/writer.h"
#include "tests/wire/vectors.h"
#include "wire/reply.h"
#include "wire/request.h"
#include "wire/values.h"

static void pack(struct mmq_buf *buf, const json_t *value);

static bool
pack_special(struct mmq_buf *buf, const json_t *value)
{
	const json_t *special;

	if ((special = json_object_get(value, "$bin")) != NULL) {
		struct bytes bytes = from_hex(json_string_value(special));
		mmq_put_bin(buf, bytes.at, bytes.size);
		free(bytes.at);
		return true;
	}
	if ((special = json_object_get(value, "$float")) != NULL) {
		/* As msgpack's Python package writes them; mmq_put_double writes NaN as nil. */
		double number = strtod(json_string_value(special), NULL);
		uint64_t bits;
		memcpy(&bits, &number, sizeof(bits));
		uint8_t raw[9] = { 0xcb };
		for (unsigned i = 0; i < 8; i++)
			raw[1 + i] = (uint8_t)(bits >> (56 - 8 * i));
		mmq_buf_append(buf, raw, sizeof(raw));
		return true;
	}
	if ((special = json_object_get(value, "$map")) != NULL) {
		mmq_put_map(buf, json_array_size(special));
		for (size_t i = 0; i < json_array_size(special); i++) {
			pack(buf, json_array_get(json_array_get(special, i), 0));
			pack(buf, json_array_get(json_array_get(special, i), 1));
		}
		return true;
	}
	return false;
}

static void
pack(struct mmq_buf *buf, const json_t *value)
{
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_object(value)) {
		if (pack_special(buf, value))
			return;
		mmq_put_map(buf, json_object_size(value));
		json_object_foreach((json_t *)value, key, item) {
			mmq_put_str(buf, key);
			pack(buf, item);
		}
	} else if (json_is_array(value)) {
		mmq_put_array(buf, json_array_size(value));
		json_array_foreach(value, i, item)
			pack(buf, item);
	} else if (json_is_string(value)) {
		mmq_put_strn(buf, json_string_value(value), json_string_length(value));
	} else if (json_is_integer(value)) {
		mmq_put_int(buf, json_integer_value(value));
	} else if (json_is_real(value)) {
		mmq_put_double(buf, json_real_value(value));
	} else if (json_is_boolean(value)) {
		mmq_put_bool(buf, json_is_true(value));
	} else {
		mmq_put_nil(buf);
	}
}

static void
check_cell(const struct mmq_column *column, size_t row, size_t k, const json_t *want)
{
	if (column->type == MMQ_COLUMN_TEXT) {
		struct mmq_text text = mmq_column_text(column, row);
		assert_int_equal(text.at == NULL, json_is_null(want));
		if (text.at == NULL)
			return;
		assert_int_equal(text.size, json_string_length(want));
		assert_memory_equal(text.at, json_string_value(want), text.size);
		return;
	}
	double number = column->numbers[row * column->stride + k];
	if (json_is_null(want))
		assert_true(isnan(number));
	else
		assert_true(number == json_number_value(want));
}

static void
check_frame(const struct mmq_frame *frame, const json_t *expect)
{
	const json_t *columns = json_object_get(expect, "columns"), *sparse = json_object_get(expect, "sparse");
	json_t *cells, *cell;
	size_t i, j;

	json_array_foreach(columns, i, cells) {
		assert_true(i < frame->columns_count);
		const struct mmq_column *column = &frame->columns[i];
		assert_int_equal(json_array_size(cells), frame->rows * column->width);
		json_array_foreach(cells, j, cell)
			check_cell(column, j / column->width, j % column->width, cell);
	}
	if (sparse == NULL)
		return;
	assert_int_equal(frame->sparse.cols, json_integer_value(json_object_get(sparse, "cols")));
	json_array_foreach(json_object_get(sparse, "rows"), i, cells) {
		assert_true(i < frame->sparse.rows);
		assert_int_equal(frame->sparse.row_start[i + 1] - frame->sparse.row_start[i], json_array_size(cells));
		json_array_foreach(cells, j, cell) {
			size_t at = (size_t)frame->sparse.row_start[i] + j;
			assert_int_equal(frame->sparse.col[at], json_integer_value(json_array_get(cell, 0)));
			assert_true(frame->sparse.value[at] == json_number_value(json_array_get(cell, 1)));
		}
	}
}

static int
read_values(const struct bytes *request, const struct mmq_text *payload, const struct mmq_schema *schema, const json_t *expect, struct mmq_err *err)
{
	struct mmq_predict_options options;
	struct mmq_row_errors errors = { 0 };
	struct mmq_frame frame;
	enum mmq_values_form form;
	json_t *bad;
	size_t i;

	if (mmq_predict_options_read(&options, request->at, request->size, err) == -1)
		return -1;
	struct mmq_values_options values = { .schema = schema, .extra_is_ignored = options.extra_is_ignored, .rows_max = 1000, .cells_max = 100000,
		.errors = options.report_row_errors ? &errors : NULL };
	mmq_frame_init(&frame);
	int rc = mmq_values_read(&frame, &form, request->at, request->size, payload, &values, err);
	if (rc == 0)
		check_frame(&frame, expect);
	json_array_foreach(json_object_get(expect, "row_errors"), i, bad) {
		assert_true(i < errors.count);
		assert_int_equal(errors.items[i].row, json_integer_value(json_object_get(bad, "row")));
		assert_string_equal(errors.items[i].err.field, json_string_value(json_object_get(bad, "field")));
	}
	assert_int_equal(errors.count, json_array_size(json_object_get(expect, "row_errors")));
	mmq_row_errors_fini(&errors);
	mmq_frame_fini(&frame);
	return rc;
}

static int
read_train(const struct bytes *request, const json_t *expect, struct mmq_err *err)
{
	struct mmq_train_request train;
	struct mmq_frame frame;
	enum mmq_values_form form;
	const char *data = json_string_value(json_object_get(expect, "data"));

	if (mmq_train_request_read(&train, request->at, request->size, err) == -1)
		return -1;
	if (data != NULL)
		assert_int_equal(train.data.kind, strcmp(data, "file") == 0 ? MMQ_DATA_FILE : MMQ_DATA_INLINE);
	if (train.data.kind != MMQ_DATA_INLINE)
		return 0;
	struct mmq_values_options values = { .rows_max = 1000, .cells_max = 100000 };
	mmq_frame_init(&frame);
	int rc = mmq_values_read(&frame, &form, train.data.map.at, train.data.map.size, NULL, &values, err);
	mmq_frame_fini(&frame);
	return rc;
}

static void
check_head(const struct mmq_head *head, const json_t *expect)
{
	const json_t *want;

	if ((want = json_object_get(expect, "op")) != NULL)
		assert_string_equal(mmq_op_name(head->op), json_string_value(want));
	if ((want = json_object_get(expect, "model")) != NULL)
		assert_memory_equal(head->model.at, json_string_value(want), json_string_length(want));
	if ((want = json_object_get(expect, "version")) != NULL)
		assert_int_equal(head->version, json_integer_value(want));
	if ((want = json_object_get(expect, "priority")) != NULL)
		assert_int_equal(head->priority, json_integer_value(want));
	if ((want = json_object_get(expect, "deadline_ms")) != NULL)
		assert_int_equal(head->deadline_ms, json_integer_value(want));
	if ((want = json_object_get(expect, "durable")) != NULL)
		assert_int_equal(head->durable, json_is_true(want));
	if ((want = json_object_get(expect, "request")) != NULL)
		assert_memory_equal(head->request.at, json_string_value(want), json_string_length(want));
}

static int
read_request(const struct bytes *request, const json_t *vector, const json_t *models, struct mmq_head *head, struct mmq_err *err)
{
	const json_t *expect = json_object_get(vector, "expect"), *payload_hex = json_object_get(vector, "payload_hex");
	struct bytes payload = from_hex(payload_hex != NULL ? json_string_value(payload_hex) : "");
	struct mmq_text payload_text = { (const char *)payload.at, (uint32_t)payload.size };
	struct mmq_schema schema;

	int rc = mmq_peek(head, request->at, request->size, payload_hex != NULL ? 2 : 1, err);
	if (rc == 0)
		check_head(head, expect);
	if (rc == 0 && head->op == MMQ_OP_PREDICT && json_object_get(vector, "model") != NULL) {
		make_schema(&schema, models, json_string_value(json_object_get(vector, "model")));
		rc = read_values(request, payload_hex != NULL ? &payload_text : NULL, &schema, expect, err);
		mmq_schema_fini(&schema);
	}
	if (rc == 0 && (head->op == MMQ_OP_TRAIN || head->op == MMQ_OP_TRAIN_CHECK))
		rc = read_train(request, expect, err);
	free(payload.at);
	return rc;
}

static void
replay_request(const json_t *vector, const json_t *models)
{
	const json_t *expect = json_object_get(vector, "expect");
	struct bytes request = from_hex(json_string_value(json_object_get(vector, "hex")));
	struct mmq_head head;
	struct mmq_err err = { 0 };

	int rc = read_request(&request, vector, models, &head, &err);
	if (json_is_true(json_object_get(expect, "ok"))) {
		if (rc != 0)
			fail_msg("refused: %s", err.message);
	} else {
		assert_int_equal(rc, -1);
		assert_string_equal(mmq_code_name(err.code), json_string_value(json_object_get(expect, "code")));
		assert_string_equal(err.field, json_string_value(json_object_get(expect, "field")));
		const char *id = json_string_value(json_object_get(expect, "id"));
		assert_int_equal(head.id.at != NULL, id != NULL);
		if (id != NULL)
			assert_memory_equal(head.id.at, id, strlen(id));
	}
	free(request.at);
}

static void
check_packing(const json_t *vector)
{
	const json_t *decoded = json_object_get(vector, "decoded");
	struct bytes want = from_hex(json_string_value(json_object_get(vector, "hex")));
	struct mmq_buf buf;

	mmq_buf_init(&buf, 1 << 20);
	pack(&buf, decoded);
	assert_false(buf.failed);
	assert_int_equal(buf.size, want.size);
	assert_memory_equal(buf.bytes, want.at, want.size);
	mmq_buf_fini(&buf);
	free(want.at);
}

static void
test_requests_have_the_outcome_their_vector_states(void **state)
{
	static const char *const files[] = { "schemas/vectors/requests.json", "schemas/vectors/values.json", "schemas/vectors/bad.json" };
	json_t *models = load_vectors("schemas/vectors/models.json"), *vector;
	size_t i, count = 0;
	(void)state;

	for (size_t f = 0; f < 3; f++) {
		json_t *vectors = load_vectors(files[f]);
		json_array_foreach(vectors, i, vector) {
			print_message("%s\n", json_string_value(json_object_get(vector, "name")));
			replay_request(vector, models);
			count++;
		}
		json_decref(vectors);
	}
	assert_true(count > 200);
	json_decref(models);
}

static void
test_our_packer_makes_the_same_bytes(void **state)
{
	static const char *const files[] = { "schemas/vectors/requests.json", "schemas/vectors/values.json", "schemas/vectors/bad.json",
		"schemas/vectors/answers.json" };
	json_t *vector;
	size_t i;
	(void)state;

	for (size_t f = 0; f < 4; f++) {
		json_t *vectors = load_vectors(files[f]);
		json_array_foreach(vectors, i, vector)
			if (json_object_get(vector, "decoded") != NULL)
				check_packing(vector);
		json_decref(vectors);
	}
}

static void
test_answers_are_read_and_errors_written_again(void **state)
{
	json_t *vectors = load_vectors("schemas/vectors/answers.json"), *vector;
	size_t i;
	(void)state;

	json_array_foreach(vectors, i, vector) {
		const json_t *decoded = json_object_get(vector, "decoded"), *ok = json_object_get(decoded, "ok");
		struct bytes answer = from_hex(json_string_value(json_object_get(vector, "hex")));
		struct mmq_err error = { 0 }, err = { 0 };
		bool is_ok = false;
		if (ok != NULL) {
			assert_int_equal(mmq_reply_read(answer.at, answer.size, &is_ok, &error, &err), 0);
			assert_int_equal(is_ok, json_is_true(ok));
		}
		if (ok != NULL && !is_ok) {
			const json_t *id = json_object_get(decoded, "id");
			struct bytes raw_id = from_hex(json_is_object(id) ? json_string_value(json_object_get(id, "$bin")) : "");
			struct mmq_head head = { .id = { json_is_string(id) ? json_string_value(id) : json_is_object(id) ? (char *)raw_id.at : NULL, 0 } };
			head.id.size = (uint32_t)(json_is_string(id) ? json_string_length(id) : raw_id.size);
			head.id_is_binary = json_is_object(id);
			struct mmq_buf out;
			mmq_buf_init(&out, 1 << 16);
			mmq_reply_error(&out, &head, &error);
			assert_int_equal(out.size, answer.size);
			assert_memory_equal(out.bytes, answer.at, answer.size);
			mmq_buf_fini(&out);
			free(raw_id.at);
		}
		free(answer.at);
	}
	json_decref(vectors);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_have_the_outcome_their_vector_states),
		cmocka_unit_test(test_our_packer_makes_the_same_bytes),
		cmocka_unit_test(test_answers_are_read_and_errors_written_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
