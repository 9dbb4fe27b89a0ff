/* fuzz_import.c: libFuzzer's entry to the readers of other libraries' models; what a reader takes must open, answer and be written, or
 * be refused. Built by `make fuzz`; the files of tests/data/models are a corpus. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "convert/convert.h"
#include "util/mem.h"

enum { ROWS = 3, CELLS_MAX = 1 << 16, BYTES_MAX = 1 << 24 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Zeros through a model that has opened. */
static void
predict(const struct mmq_engine *engine, const void *state)
{
	struct mmq_state_shape shape;
	struct mmq_err err;
	engine->shape(state, &shape);
	size_t outputs = engine->score_cols(state);
	if (shape.cols > CELLS_MAX || shape.codes_cols > CELLS_MAX || outputs > CELLS_MAX)
		return;
	double *dense = mmq_array(ROWS * shape.cols + 1, sizeof(*dense));
	int32_t *codes = mmq_array(ROWS * shape.codes_cols + 1, sizeof(*codes));
	struct mmq_batch x = { .rows = ROWS, .cols = shape.cols, .dtype = MMQ_F64, .dense = dense, .stride = shape.cols, .codes = codes,
		.codes_cols = shape.codes_cols };
	const char *method = engine->contribution_method != NULL ? engine->contribution_method(state) : NULL;
	bool explains = method != NULL && strncmp(method, "sampled", 7) != 0 && shape.features > 0 && shape.features <= CELLS_MAX && outputs * shape.features <= CELLS_MAX;
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE | (explains ? (unsigned)MMQ_OUT_CONTRIBUTION : 0), .score_cols = outputs,
		.score = mmq_array(ROWS * outputs, sizeof(double)), .base = mmq_array(outputs, sizeof(double)),
		.contribution = mmq_array(explains ? ROWS * outputs * shape.features : 1, sizeof(double)) };
	void *scratch = mmq_aligned(engine->scratch_bytes(state, ROWS, out.wanted));
	for (x.rows = 1; x.rows <= ROWS; x.rows += ROWS - 1)  /* one row and several go different ways */
		(void)engine->predict(state, &x, &out, scratch, &err);
	free(scratch);
	free(out.score);
	free(out.base);
	free(out.contribution);
	free(codes);
	free(dense);
}

/* What the engine saves goes to the format's writer, which may refuse it. */
static void
write_back(const struct mmq_converter *converter, struct mmq_converted *converted, const struct mmq_engine *engine, const void *state)
{
	struct mmq_part as_read = converted->part;
	struct mmq_err err;
	struct mmq_buf out;
	mmq_part_init(&converted->part, true);
	mmq_buf_init(&out, BYTES_MAX);
	if (converter->write != NULL && engine->save(state, &converted->part, &err) == 0)
		(void)converter->write(converted, &out, &err);
	mmq_buf_fini(&out);
	mmq_part_fini(&converted->part);
	converted->part = as_read;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	size_t count;
	const struct mmq_converter *converters = mmq_converter_list(&count);
	for (size_t i = 0; i < count; i++) {
		struct mmq_converted converted;
		struct mmq_err err;
		void *state = NULL;
		if (!converters[i].is_it(bytes, size))
			continue;
		mmq_converted_init(&converted);
		if (converters[i].read(&converted, bytes, size, &err) == 0) {
			const struct mmq_engine *engine = mmq_engine_find(converted.engine);
			if (engine->open(&state, &converted.part, &err) == 0) {
				predict(engine, state);
				write_back(&converters[i], &converted, engine, state);
				engine->destroy(&state);
			}
		}
		mmq_converted_fini(&converted);
	}
	return 0;
}
