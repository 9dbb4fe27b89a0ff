/* libsvm.c: one pass to count rows and entries (a colon each), one to fill; so memory is known before it is taken. */
#include "data/libsvm.h"

#include <math.h>
#include <string.h>

#include "util/number.h"

struct libsvm {
	const char *name, *line_start;
	size_t line;
};

static int
refuse(const struct libsvm *in, const char *at, enum mmq_code code, const char *what, struct mmq_err *err)
{
	return mmq_err_set(err, code, "%s, line %zu, column %zu: %s", in->name, in->line, (size_t)(at - in->line_start) + 1, what);
}

/* The line without its end and comment. */
static const char *
line_end(const char *at, const char *end, const char **next_out)
{
	const char *stop = memchr(at, '\n', (size_t)(end - at));
	*next_out = stop != NULL ? stop + 1 : end;
	stop = stop != NULL ? stop : end;
	const char *comment = memchr(at, '#', (size_t)(stop - at));
	return comment != NULL ? comment : stop;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static const char *
skip_space(const char *at, const char *end)
{
	while (at < end && is_space(*at))
		at++;
	return at;
}

static const char *
skip_word(const char *at, const char *end)
{
	while (at < end && !is_space(*at))
		at++;
	return at;
}

static void
count_lines(const char *bytes, const char *end, size_t *rows_out, size_t *entries_out)
{
	const char *next;

	*rows_out = *entries_out = 0;
	for (const char *at = bytes; at < end; at = next) {
		const char *stop = line_end(at, end, &next);
		*rows_out += skip_space(at, stop) < stop;
		for (const char *colon = at; (colon = memchr(colon, ':', (size_t)(stop - colon))) != NULL; colon++)
			(*entries_out)++;
	}
}

/* index:value ... of one line into col and value from *count on. */
static int
read_entries(const struct libsvm *in, const char *at, const char *stop, const struct mmq_libsvm_options *options, uint32_t *col, double *value,
    size_t *count, struct mmq_err *err)
{
	uint64_t before = 0, index;

	for (at = skip_space(at, stop); at < stop; at = skip_space(at, stop)) {
		const char *word_end = skip_word(at, stop), *colon = memchr(at, ':', (size_t)(word_end - at));
		if (colon == NULL || !mmq_number_parse_uint(at, (size_t)(colon - at), UINT32_MAX, &index) || index == 0)
			return refuse(in, at, MMQ_INVALID_ARGUMENT, "want index:value with an index from 1", err);
		if (index <= before)
			return refuse(in, at, MMQ_INVALID_ARGUMENT, "indices must ascend within a line", err);
		if (options->width > 0 && index > options->width)
			return refuse(in, at, MMQ_INVALID_ARGUMENT, "the index is beyond the given width", err);
		if (index > options->limits.cols_max)
			return refuse(in, at, MMQ_RESOURCE_EXHAUSTED, "the index is beyond cols_max", err);
		if (!mmq_number_parse(colon + 1, (size_t)(word_end - colon - 1), &value[*count]) || isnan(value[*count]))
			return refuse(in, colon + 1, MMQ_INVALID_ARGUMENT, "want a finite number behind the colon", err);
		col[(*count)++] = (uint32_t)index - 1;
		before = index;
		at = word_end;
	}
	return 0;
}

int
mmq_libsvm_read(struct mmq_frame *frame, const char *bytes, size_t size, const char *name, const struct mmq_libsvm_options *options,
    struct mmq_err *err)
{
	const struct mmq_data_limits *limits = &options->limits;
	struct libsvm in = { .name = name };
	const char *end = bytes + size, *next;
	size_t rows, entries, row = 0, count = 0, width = options->width;

	count_lines(bytes, end, &rows, &entries);
	if (size > limits->bytes_max || rows > limits->rows_max || rows > UINT32_MAX || entries > limits->values_max || width > limits->cols_max)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s: %zu bytes, %zu rows, %zu values, width %zu: beyond a limit", name, size, rows, entries, width);
	frame->rows = rows;
	double *labels = mmq_frame_add_numbers(frame, "label", 1);
	uint64_t *row_start = mmq_arena_get(&frame->arena, (rows + 1) * sizeof(*row_start));
	uint32_t *col = mmq_arena_get(&frame->arena, entries * sizeof(*col));
	double *value = mmq_arena_get(&frame->arena, entries * sizeof(*value));
	row_start[0] = 0;
	for (const char *at = bytes; at < end; at = next) {
		const char *stop = line_end(at, end, &next);
		in.line_start = at;
		in.line++;
		at = skip_space(at, stop);
		if (at == stop)
			continue;
		const char *label_end = skip_word(at, stop);
		if (!mmq_number_parse(at, (size_t)(label_end - at), &labels[row]) || isnan(labels[row]))
			return refuse(&in, at, MMQ_INVALID_ARGUMENT, "want a number as label", err);
		if (read_entries(&in, label_end, stop, options, col, value, &count, err) == -1)
			return -1;
		if (options->width == 0 && count > row_start[row] && (size_t)col[count - 1] + 1 > width)
			width = (size_t)col[count - 1] + 1;
		row_start[++row] = count;
	}
	if (rows == 0 || width == 0)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "%s holds no row with a feature", name);
	frame->sparse = (struct mmq_csr){ .rows = rows, .cols = width, .row_start = row_start, .col = col, .value = value };
	return 0;
}
