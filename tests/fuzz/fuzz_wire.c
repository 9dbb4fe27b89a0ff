/* fuzz_wire.c: libFuzzer's entry to everything that reads a request's bytes. Not part of `make check`; `make fuzz` builds it with clang, under
 * build/san-address-undefined-fuzzer-no-link/tests/fuzz. The golden vectors' bytes are a corpus. */
#include <stddef.h>
#include <stdint.h>

#include "wire/reply.h"
#include "wire/request.h"
#include "wire/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void
read_values(const uint8_t *bytes, size_t size, const struct mmq_schema *schema)
{
	const struct mmq_values_options options = { .schema = schema, .rows_max = 1000, .cells_max = 10000 };
	struct mmq_frame frame;
	enum mmq_values_form form;
	struct mmq_err err;

	mmq_frame_init(&frame);
	mmq_values_read(&frame, &form, bytes, size, NULL, &options, &err);
	mmq_frame_fini(&frame);
}

static void
list_read(const uint8_t *bytes, size_t size)
{
	struct mmq_reader reader;
	struct mmq_head head;
	struct mmq_err err;
	uint32_t count;
	bool is_broken = mmq_peek_packed(&reader, bytes, size, &count, &err) == -1;

	for (uint32_t i = 0; !is_broken && i < count; i++)
		(void)mmq_peek_next(&head, &reader, i + 1 == count, &is_broken, &err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct mmq_head head;
	struct mmq_predict_options options;
	struct mmq_train_request train;
	struct mmq_schema schema;
	struct mmq_err err, told;
	bool ok;

	(void)mmq_reply_read(bytes, size, &ok, &told, &err);
	list_read(bytes, size);
	if (mmq_peek(&head, bytes, size, 1, &err) == -1)
		return 0;
	uint8_t hash[MMQ_FINGERPRINT_BYTES], key[MMQ_FINGERPRINT_KEY_BYTES] = { 0 };
	mmq_fingerprint(hash, key, bytes, size, NULL, 0);
	(void)mmq_predict_options_read(&options, bytes, size, &err);
	(void)mmq_train_request_read(&train, bytes, size, &err);
	mmq_schema_init(&schema);
	mmq_schema_add(&schema, "a", MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE);
	mmq_schema_add(&schema, "b", MMQ_FIELD_CATEGORICAL, MMQ_ROLE_FEATURE)->required = false;
	read_values(bytes, size, &schema);
	read_values(bytes, size, NULL);
	mmq_schema_fini(&schema);
	return 0;
}
