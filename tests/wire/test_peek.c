/* test_peek.c: the rules of the header that need more than one small frame, the table of operations, and the fingerprint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "model/model.h"
#include "mpack/writer.h"
#include "wire/peek.h"
#include "wire/reply.h"
#include "wire/request.h"
#include "wire/want.h"

static const uint8_t secret[MMQ_FINGERPRINT_KEY_BYTES] = { 1, 2, 3 };

/* A predict whose tensor has `bytes` of data; the keys after it are those of the header when header_last. */
static void
make_predict(struct mmq_buf *buf, size_t bytes, bool header_last)
{
	uint8_t *data = calloc(1, bytes);

	mmq_buf_reset(buf);
	mmq_put_map(buf, 5);
	for (int turn = 0; turn < 2; turn++) {
		if ((turn == 0) == header_last) {
			mmq_put_str(buf, "tensor");
			mmq_put_map(buf, 1);
			mmq_put_str(buf, "data");
			mmq_put_bin(buf, data, bytes);
			continue;
		}
		mmq_put_str(buf, "v");
		mmq_put_int(buf, 1);
		mmq_put_str(buf, "op");
		mmq_put_str(buf, "predict");
		mmq_put_str(buf, "id");
		mmq_put_str(buf, "a");
		mmq_put_str(buf, "model");
		mmq_put_str(buf, "iris");
	}
	free(data);
}

static void
test_large_frames_bring_the_header_first(void **state)
{
	struct mmq_head head;
	struct mmq_err err = { 0 };
	struct mmq_buf buf;
	(void)state;

	mmq_buf_init(&buf, 1 << 20);
	make_predict(&buf, 60000, true);
	assert_int_equal(mmq_peek(&head, buf.bytes, buf.size, 1, &err), 0);
	make_predict(&buf, 70000, false);
	assert_int_equal(mmq_peek(&head, buf.bytes, buf.size, 1, &err), 0);
	make_predict(&buf, 70000, true);
	assert_int_equal(mmq_peek(&head, buf.bytes, buf.size, 1, &err), -1);
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	assert_non_null(strstr(err.message, "come first"));
	assert_int_equal(head.id.size, 1);  /* still known, so that the refusal finds its asker */
	mmq_buf_fini(&buf);
}

static void
test_a_request_is_one_or_two_frames(void **state)
{
	struct mmq_head head;
	struct mmq_err err = { 0 };
	struct mmq_buf buf;
	(void)state;

	mmq_buf_init(&buf, 1 << 20);
	make_predict(&buf, 10, false);
	assert_int_equal(mmq_peek(&head, buf.bytes, buf.size, 0, &err), -1);
	assert_int_equal(mmq_peek(&head, buf.bytes, buf.size, 3, &err), -1);
	assert_int_equal(mmq_peek(&head, buf.bytes, buf.size, 2, &err), -1);
	assert_string_equal(err.field, "payload");
	mmq_buf_fini(&buf);
}

/* A request of the keys of `order`, each with its value below. */
static void
fingerprint_of(uint8_t *hash_out, const char *order, const char *id, int64_t rows, const char *payload)
{
	struct mmq_buf buf;

	mmq_buf_init(&buf, 1 << 16);
	mmq_put_map(&buf, strlen(order));
	for (const char *at = order; *at != '\0'; at++) {
		mmq_put_str(&buf, *at == 'v' ? "v" : *at == 'o' ? "op" : *at == 'i' ? "id" : *at == 'd' ? "deadline_ms" : *at == 'p' ? "priority" :
		    *at == 't' ? "trace" : *at == 's' ? "sink" : "rows");
		if (*at == 'i')
			mmq_put_str(&buf, id);
		else
			mmq_put_int(&buf, *at == 'r' ? rows : *at);
	}
	mmq_fingerprint(hash_out, secret, buf.bytes, buf.size, payload, payload != NULL ? strlen(payload) : 0);
	mmq_buf_fini(&buf);
}

static void
test_fingerprint_is_of_the_meaning(void **state)
{
	uint8_t a[MMQ_FINGERPRINT_BYTES], b[MMQ_FINGERPRINT_BYTES];
	(void)state;

	fingerprint_of(a, "voir", "x", 1, NULL);
	fingerprint_of(b, "riov", "x", 1, NULL);
	assert_memory_equal(a, b, sizeof(a));           /* key order */
	fingerprint_of(b, "voirdpt", "another", 1, NULL);
	assert_memory_equal(a, b, sizeof(a));           /* what only says how to treat this sending */
	fingerprint_of(b, "voir", "x", 2, NULL);
	assert_memory_not_equal(a, b, sizeof(a));
	fingerprint_of(b, "voirs", "x", 1, NULL);
	assert_memory_not_equal(a, b, sizeof(a));
	fingerprint_of(b, "voir", "x", 1, "");
	assert_memory_not_equal(a, b, sizeof(a));
	fingerprint_of(a, "voir", "x", 1, "1");
	assert_memory_not_equal(a, b, sizeof(a));
	mmq_fingerprint(a, secret, "\x81\xa1x\x01", 4, NULL, 0);
	uint8_t other[MMQ_FINGERPRINT_KEY_BYTES] = { 9 };
	mmq_fingerprint(b, other, "\x81\xa1x\x01", 4, NULL, 0);
	assert_memory_not_equal(a, b, sizeof(a));
}

static void
test_the_table_of_operations(void **state)
{
	(void)state;
	for (int op = MMQ_OP_NONE + 1; op < MMQ_OP_COUNT; op++) {
		const char *name = mmq_op_name((enum mmq_op)op);
		assert_int_equal(mmq_op_from_name(name, strlen(name)), op);
	}
	assert_int_equal(mmq_op_from_name("", 0), MMQ_OP_NONE);
	assert_int_equal(mmq_op_from_name("predic", 6), MMQ_OP_NONE);
	assert_int_equal(mmq_op_service(MMQ_OP_PREDICT), MMQ_BY_PREDICTOR);
	assert_int_equal(mmq_op_service(MMQ_OP_TRAIN), MMQ_BY_TRAINER);
	assert_int_equal(mmq_op_service(MMQ_OP_MODEL_ALIAS), MMQ_BY_STORE);
	assert_int_equal(mmq_op_service(MMQ_OP_JOB_WAIT), MMQ_BY_BROKER);
	assert_true(mmq_op_is_journalled(MMQ_OP_TRAIN) && mmq_op_is_journalled(MMQ_OP_MODEL_DELETE) && !mmq_op_is_journalled(MMQ_OP_PREDICT));
}

static void
put_ping(struct mmq_buf *buf, const char *op, const char *id)
{
	mmq_put_map(buf, 3);
	mmq_put_str(buf, "v");
	mmq_put_int(buf, 1);
	mmq_put_str(buf, "op");
	mmq_put_str(buf, op);
	mmq_put_str(buf, "id");
	mmq_put_str(buf, id);
}

/* A wrong request is told from one behind which nothing can be found. */
static void
test_a_list_is_read_request_by_request(void **state)
{
	struct mmq_reader reader;
	struct mmq_head head;
	struct mmq_err err;
	struct mmq_buf buf;
	uint32_t count = 0;
	bool is_broken;
	(void)state;

	mmq_buf_init(&buf, 1 << 20);
	mmq_put_array(&buf, 3);
	put_ping(&buf, "ping", "a");
	put_ping(&buf, "nothing", "b");
	put_ping(&buf, "ping", "c");
	assert_true(mmq_peek_is_packed(buf.bytes, buf.size));
	assert_int_equal(mmq_peek_packed(&reader, buf.bytes, buf.size, &count, &err), 0);
	assert_int_equal(count, 3);
	assert_int_equal(mmq_peek_next(&head, &reader, false, &is_broken, &err), 0);
	assert_memory_equal(head.id.at, "a", 1);
	assert_int_equal(mmq_peek_next(&head, &reader, false, &is_broken, &err), -1);
	assert_false(is_broken);
	assert_memory_equal(head.id.at, "b", 1);
	assert_int_equal(mmq_peek_next(&head, &reader, true, &is_broken, &err), 0);
	assert_true(reader.at == buf.bytes + buf.size);
	for (size_t cut = 1; cut < buf.size; cut++) {
		uint32_t read = 0;

		is_broken = mmq_peek_packed(&reader, buf.bytes, cut, &count, &err) == -1;
		for (; !is_broken && read < count; read++)
			mmq_peek_next(&head, &reader, read + 1 == count, &is_broken, &err);
		assert_true(is_broken);   /* something is missing, and that was noticed */
	}
	mmq_put_nil(&buf);
	assert_int_equal(mmq_peek_packed(&reader, buf.bytes, buf.size, &count, &err), 0);
	for (uint32_t i = 0; i < count; i++)
		mmq_peek_next(&head, &reader, i + 1 == count, &is_broken, &err);
	assert_true(is_broken && head.id.at == NULL);
	mmq_buf_reset(&buf);
	mmq_put_array(&buf, 0);
	assert_int_equal(mmq_peek_packed(&reader, buf.bytes, buf.size, &count, &err), -1);
	assert_int_equal(mmq_peek_packed(&reader, buf.bytes, MMQ_PACKED_BYTES_MAX + 1, &count, &err), -1);
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	mmq_buf_fini(&buf);
	assert_false(mmq_peek_is_packed("\x81", 1) || mmq_peek_is_packed("", 0));
}

static void
test_names_and_job_ids(void **state)
{
	char text[MMQ_JOB_ID_CHARS + 1];
	const uint8_t bytes[16] = { 0x00, 0xff, 0x1a };
	(void)state;

	assert_true(mmq_name_is_valid("iris", 4) && mmq_name_is_valid("0.9_a-b", 7) && mmq_name_is_valid("com", 3) && mmq_name_is_valid("connect", 7));
	assert_false(mmq_name_is_valid("", 0) || mmq_name_is_valid("..", 2) || mmq_name_is_valid("lpt1", 4) || mmq_name_is_valid("aux.x", 5));
	mmq_job_id_format(bytes, text);
	assert_string_equal(text, "00ff1a00000000000000000000000000");
	assert_true(mmq_job_id_is_valid(text, 32));
	assert_false(mmq_job_id_is_valid(text, 31));
	text[0] = 'F';
	assert_false(mmq_job_id_is_valid(text, 32));
}

/* A daemon passes `want` on as it is. */
static void
test_asked_outputs_have_the_engines_bits(void **state)
{
	(void)state;
	assert_int_equal(MMQ_ASK_SCORE, MMQ_OUT_SCORE);
	assert_int_equal(MMQ_ASK_PROBABILITY, MMQ_OUT_PROBABILITY);
	assert_int_equal(MMQ_ASK_CONTRIBUTION, MMQ_OUT_CONTRIBUTION);
	assert_int_equal(MMQ_ASK_LEAF, MMQ_OUT_LEAF);
	assert_int_equal(MMQ_ASK_INTERVAL, MMQ_OUT_INTERVAL);
	assert_int_equal(MMQ_ASK_PREDICTION, MMQ_WANT_PREDICTION);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_large_frames_bring_the_header_first), cmocka_unit_test(test_a_request_is_one_or_two_frames),
		cmocka_unit_test(test_fingerprint_is_of_the_meaning),       cmocka_unit_test(test_the_table_of_operations),
		cmocka_unit_test(test_a_list_is_read_request_by_request),
		cmocka_unit_test(test_names_and_job_ids),                   cmocka_unit_test(test_asked_outputs_have_the_engines_bits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
