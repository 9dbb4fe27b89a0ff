/* payload.c: csv and jsonl payloads, read as files are and brought into the model's column order. */
#include <stdlib.h>
#include <string.h>

#include "data/match.h"
#include "data/source.h"
#include "mpack/reader.h"
#include "mpack/writer.h"
#include "predictor/request.h"

/* The request's {delimiter, names} is the `options` of a file's description. */
static int
read_format_options(struct mmq_source *source, const struct mmq_raw *options, struct mmq_err *err)
{
	struct mmq_buf map;
	struct mmq_reader reader;

	if (options->at == NULL)
		return 0;
	mmq_buf_init(&map, options->size + 64);
	mmq_put_map(&map, 1);
	mmq_put_str(&map, "options");
	mmq_buf_append(&map, options->at, options->size);
	mmq_reader_init(&reader, map.bytes, map.size);
	int result = mmq_source_read(source, &reader, err);
	mmq_buf_fini(&map);
	return result;
}

int
mmq_payload_read(struct mmq_request *request, struct mmq_err *err)
{
	const struct mmq_schema *schema = mmq_model_schema(request->entry->model);
	struct mmq_source source;
	int result = -1;

	mmq_source_init(&source);
	source.schema = schema;
	if (read_format_options(&source, &request->options.format_options, err) == 0) {
		source.format = request->head.payload == MMQ_PAYLOAD_CSV ? MMQ_FORMAT_CSV : MMQ_FORMAT_JSONL;
		if (mmq_source_parse(&request->frame, &source, request->item->payload, request->item->payload_bytes, NULL, err) == 0)
			result = mmq_frame_match(&request->frame, schema, request->options.extra_is_ignored, err);
	}
	mmq_source_fini(&source);
	return result;
}
