/* payload.c: csv and jsonl payloads, read as files are and brought into the model's column order. */
#include "data/match.h"
#include "data/source.h"
#include "mpack/reader.h"
#include "predictor/request.h"
#include "util/mem.h"

/* Lists in jsonl are in the model's order, as `rows` are; objects bring their names. */
static void
name_lists(struct mmq_source *source, const struct mmq_schema *schema)
{
	source->names = mmq_array(schema->fields_count, sizeof(*source->names));
	for (size_t i = 0; i < schema->fields_count; i++)
		if (mmq_field_is_input(&schema->fields[i]))
			source->names[source->names_count++] = mmq_strdup(schema->fields[i].name);
}

int
mmq_payload_read(struct mmq_request *request, struct mmq_err *err)
{
	const struct mmq_schema *schema = mmq_model_schema(request->entry->model);
	struct mmq_source source;
	const struct mmq_raw *options = &request->options.format_options;
	struct mmq_reader reader;
	int result = -1;

	mmq_source_init(&source);
	source.schema = schema;
	mmq_reader_init(&reader, options->at, options->size);
	if (options->at == NULL || mmq_source_read_options(&source, &reader, err) == 0) {
		source.format = request->head.payload == MMQ_PAYLOAD_CSV ? MMQ_FORMAT_CSV : MMQ_FORMAT_JSONL;
		if (source.format == MMQ_FORMAT_JSONL && source.names == NULL)
			name_lists(&source, schema);
		if (mmq_source_parse(&request->frame, &source, request->item->payload, request->item->payload_bytes, NULL, err) == 0)
			result = mmq_frame_match(&request->frame, schema, request->options.extra_is_ignored, err);
	}
	mmq_source_fini(&source);
	return result;
}
