/* request_convert.c: what model.import and model.export ask for. */
#include "wire/keys.h"
#include "wire/request.h"
#include "wire/want.h"

enum { FILE_BYTES_MAX = 4096, TEXT_BYTES_MAX = 4096 };

static int
read_format(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	return mmq_want_name(&reader, "format", &((struct mmq_convert_request *)into)->format, err);
}

static int
read_file(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	return mmq_want_text(&reader, "file", 1, FILE_BYTES_MAX, &((struct mmq_convert_request *)into)->file, err);
}

static int
read_alias(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_convert_request *request = into;
	struct mmq_reader reader = mmq_raw_reader(value);

	request->alias = (struct mmq_text){ NULL, 0 };
	return mmq_want_nil(&reader) ? 0 : mmq_want_name(&reader, "alias", &request->alias, err);
}

static int
read_description(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	return mmq_want_text(&reader, "description", 0, TEXT_BYTES_MAX, &((struct mmq_convert_request *)into)->description, err);
}

static int
read_offset(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	return mmq_want_int(&reader, "offset", 0, INT64_MAX, &((struct mmq_convert_request *)into)->offset, err);
}

int
mmq_convert_request_read(struct mmq_convert_request *request, const void *map, size_t size, struct mmq_err *err)
{
	static const struct mmq_key keys[] = {
		{ "format", read_format, false }, { "file", read_file, false }, { "alias", read_alias, true },
		{ "description", read_description, false }, { "offset", read_offset, false }, { NULL, NULL, false },
	};

	*request = (struct mmq_convert_request){ .alias = { "production", 10 } };
	return mmq_keys_read(keys, request, map, size, err);
}
