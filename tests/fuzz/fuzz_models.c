/* fuzz_models.c: libFuzzer's entry to the readers of other libraries' models, and to the engines that open what these made of the bytes. Built as
 * fuzz_wire.c; tests/data/models is a corpus. */
#include <stddef.h>
#include <stdint.h>

#include "convert/convert.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct mmq_converted model;
	struct mmq_err err;
	void *state;
	const struct mmq_converter *converter = mmq_converter_recognise(bytes, size, &err);

	if (converter == NULL)
		return 0;
	mmq_converted_init(&model);
	if (converter->read(&model, bytes, size, &err) == 0) {
		const struct mmq_engine *engine = mmq_engine_find(model.engine);
		if (engine->open(&state, &model.part, &err) == 0)
			engine->destroy(&state);
	}
	mmq_converted_fini(&model);
	return 0;
}
