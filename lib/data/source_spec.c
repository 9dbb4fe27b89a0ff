/* source_spec.c: the request's {file, format, options} map. */
#include <stdlib.h>
#include <string.h>

#include "data/source.h"
#include "util/mem.h"

enum { PATH_BYTES_MAX = 4095, NAMES_MAX = 100000 };

void
mmq_source_init(struct mmq_source *source)
{
	*source = (struct mmq_source){ .limits = MMQ_DATA_LIMITS_DEFAULT };
}

void
mmq_source_fini(struct mmq_source *source)
{
	for (size_t i = 0; source->names != NULL && i < source->names_count; i++)
		free(source->names[i]);
	free(source->names);
	free(source->file);
	free(source->labels);
	mmq_source_init(source);
}

static int
refuse(struct mmq_err *err, const char *field, const char *want, const struct mmq_token *got)
{
	if (got->type == MMQ_T_STR)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "'%.*s'", (int)(got->size < 80 ? got->size : 80), got->bytes);
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%s", mmq_type_name(got->type));
}

static int
read_text(char **text, const char *field, size_t bytes_max, const struct mmq_token *token, struct mmq_err *err)
{
	if (token->type != MMQ_T_STR || token->size == 0 || token->size > bytes_max || memchr(token->bytes, 0, token->size) != NULL || *text != NULL)
		return refuse(err, field, "one text, not empty, not too long, without zero bytes", token);
	*text = mmq_strndup(token->bytes, token->size);
	return 0;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
read_names(struct mmq_source *source, struct mmq_reader *in, const struct mmq_token *list, struct mmq_err *err)
{
	struct mmq_token token;

	if (list->type != MMQ_T_ARRAY || list->size == 0 || list->size > NAMES_MAX || source->names != NULL)
		return refuse(err, "options.names", "one list of column names", list);
	source->names = mmq_array(list->size, sizeof(*source->names));
	for (uint32_t i = 0; i < list->size; i++) {
		if (!mmq_read(in, &token))
			return 0;  /* the caller sees in->why */
		if (read_text(&source->names[i], "options.names", PATH_BYTES_MAX, &token, err) == -1)
			return -1;
		source->names_count++;
	}
	char **sorted = mmq_array(list->size, sizeof(*sorted));
	int result = 0;
	memcpy(sorted, source->names, list->size * sizeof(*sorted));
	qsort(sorted, list->size, sizeof(*sorted), compare_names);
	for (uint32_t i = 1; i < list->size && result == 0; i++)
		if (strcmp(sorted[i], sorted[i - 1]) == 0)
			result = mmq_err_value(err, MMQ_INVALID_ARGUMENT, "options.names", "each name once", "'%.60s' twice", sorted[i]);
	free(sorted);
	return result;
}

static int
read_option(struct mmq_source *source, const struct mmq_token *key, struct mmq_reader *in, struct mmq_err *err)
{
	struct mmq_reader at = *in;
	struct mmq_token token;

	if (!mmq_read_skip(in) || !mmq_read(&at, &token))
		return 0;
	if (mmq_read_is(key, "names"))
		return read_names(source, &at, &token, err);
	if (mmq_read_is(key, "labels"))
		return read_text(&source->labels, "options.labels", PATH_BYTES_MAX, &token, err);
	if (mmq_read_is(key, "delimiter")) {
		if (token.type != MMQ_T_STR || token.size != 1 || strchr("\"\r\n", token.bytes[0]) != NULL)
			return refuse(err, "options.delimiter", "one character such as , ; or tab", &token);
		source->delimiter = token.bytes[0];
	} else if (mmq_read_is(key, "width")) {
		if (token.type != MMQ_T_INT || token.i < 1 || (uint64_t)token.i > source->limits.cols_max)
			return refuse(err, "options.width", "a positive integer up to cols_max", &token);
		source->width = (size_t)token.i;
	}
	return 0;
}

int
mmq_source_read_options(struct mmq_source *source, struct mmq_reader *in, struct mmq_err *err)
{
	struct mmq_token map, option;

	if (mmq_read(in, &map) && map.type != MMQ_T_MAP)
		return refuse(err, "options", "a map", &map);
	for (uint32_t i = 0; in->why == NULL && i < map.size && mmq_read(in, &option); i++)
		if (read_option(source, &option, in, err) == -1)
			return -1;
	return in->why == NULL ? 0 : mmq_err_set(err, MMQ_INVALID_ARGUMENT, "options: not readable: %s", in->why);
}

static int
read_key(struct mmq_source *source, const struct mmq_token *key, struct mmq_reader *in, struct mmq_err *err)
{
	struct mmq_reader at = *in;
	struct mmq_token token;

	if (!mmq_read_skip(in))
		return 0;
	if (mmq_read_is(key, "options"))
		return mmq_source_read_options(source, &at, err);
	if (!mmq_read(&at, &token))
		return 0;
	if (mmq_read_is(key, "file"))
		return read_text(&source->file, "file", PATH_BYTES_MAX, &token, err);
	if (mmq_read_is(key, "format")) {
		int format = token.type == MMQ_T_STR ? mmq_format_from_name(token.bytes, token.size) : -1;
		if (format == -1)
			return refuse(err, "format", "auto, csv, libsvm, idx, npy or jsonl", &token);
		source->format = (enum mmq_format)format;
	}
	return 0;
}

int
mmq_source_read(struct mmq_source *source, struct mmq_reader *in, struct mmq_err *err)
{
	struct mmq_token map, key;

	if (mmq_read(in, &map) && map.type != MMQ_T_MAP)
		return refuse(err, "data", "a map with file, format, options", &map);
	for (uint32_t i = 0; in->why == NULL && i < map.size && mmq_read(in, &key); i++)
		if (read_key(source, &key, in, err) == -1)
			return -1;
	if (in->why != NULL)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "data: not readable: %s", in->why);
	if (source->file == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "file", "the path of a data file", "nothing");
	return 0;
}
