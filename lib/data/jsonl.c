/* jsonl.c: each line through jansson twice: once to learn columns and types, once to fill. One line's tree lives at a time. */
#include "data/jsonl.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/category.h"

enum shape { SHAPE_UNKNOWN, SHAPE_OBJECT, SHAPE_LIST };
enum type { TYPE_UNKNOWN, TYPE_NUMBER, TYPE_TEXT, TYPE_BOOLEAN };
static const char *const type_names[] = { "nothing", "a number", "a string", "a boolean" };

struct jsonl {
	struct mmq_frame *frame;
	const char *name;
	const struct mmq_data_limits *limits;
	size_t line, row, cols;
	enum shape shape;
	struct mmq_distinct names;   /* column names in order of appearance */
	enum type *types;            /* (types_capacity) */
	size_t types_capacity;
};

static int
refuse(const struct jsonl *in, const char *column, enum mmq_code code, const char *what, struct mmq_err *err)
{
	return mmq_err_set(err, code, "%s, line %zu%s%.80s: %s", in->name, in->line, *column ? ", column " : "", column, what);
}

static int
column_index(struct jsonl *in, const char *name, size_t *col_out, struct mmq_err *err)
{
	size_t size = strlen(name);

	if (size == 0 || size > in->limits->cell_bytes_max)
		return refuse(in, "", MMQ_INVALID_ARGUMENT, "a name is empty or too long", err);
	*col_out = mmq_distinct_add(&in->names, (struct mmq_text){ name, (uint32_t)size });
	in->cols = in->names.known.count;
	if (in->cols > in->limits->cols_max)
		return refuse(in, name, MMQ_RESOURCE_EXHAUSTED, "more columns than cols_max", err);
	while (in->types_capacity < in->cols) {
		size_t old = in->types_capacity;
		in->types_capacity = old * 2 + 16;
		in->types = mmq_grow(in->types, in->types_capacity, sizeof(*in->types));
		memset(in->types + old, 0, (in->types_capacity - old) * sizeof(*in->types));
	}
	return 0;
}

static int
learn_value(struct jsonl *in, const char *name, const json_t *value, struct mmq_err *err)
{
	enum type type = json_is_number(value) ? TYPE_NUMBER : json_is_string(value) ? TYPE_TEXT : json_is_boolean(value) ? TYPE_BOOLEAN : TYPE_UNKNOWN;
	char what[128];
	size_t col = 0;

	if (column_index(in, name, &col, err) == -1)
		return -1;
	if (json_is_null(value))
		return 0;
	if (type == TYPE_UNKNOWN)
		return refuse(in, name, MMQ_INVALID_ARGUMENT, "got a list or object, want a number, string, boolean or null", err);
	if (in->types[col] == TYPE_UNKNOWN)
		in->types[col] = type;
	if (in->types[col] != type) {
		snprintf(what, sizeof(what), "got %s, but earlier lines have %s there", type_names[type], type_names[in->types[col]]);
		return refuse(in, name, MMQ_INVALID_ARGUMENT, what, err);
	}
	if (json_is_integer(value) && (json_integer_value(value) > 1LL << 53 || json_integer_value(value) < -(1LL << 53)))
		return refuse(in, name, MMQ_INVALID_ARGUMENT, "an integer is beyond 2^53, which a number cannot hold exactly", err);
	if (type == TYPE_TEXT && json_string_length(value) > in->limits->cell_bytes_max)
		return refuse(in, name, MMQ_RESOURCE_EXHAUSTED, "the string is longer than cell_bytes_max", err);
	return 0;
}

static void
fill_value(struct jsonl *in, size_t col, const json_t *value)
{
	struct mmq_column *column = &in->frame->columns[col];

	if (column->type == MMQ_COLUMN_NUMBER) {
		if (json_is_number(value))
			((double *)column->numbers)[in->row] = json_number_value(value);
	} else if (json_is_boolean(value)) {
		((struct mmq_text *)column->texts)[in->row] = json_is_true(value) ? (struct mmq_text){ "true", 4 } : (struct mmq_text){ "false", 5 };
	} else if (json_is_string(value)) {
		size_t size = json_string_length(value);
		((struct mmq_text *)column->texts)[in->row] =
		    (struct mmq_text){ mmq_arena_strndup(&in->frame->arena, json_string_value(value), size), (uint32_t)size };
	}
}

/* Column names of lists: those given, else c0, c1, ...; the first list says how many. */
static int
learn_list(struct jsonl *in, const json_t *list, const char *const *names, size_t names_count, struct mmq_err *err)
{
	size_t count = json_array_size(list);
	char generated[24];

	if ((names != NULL && count != names_count) || (in->cols > 0 && count != in->cols) || count == 0)
		return refuse(in, "", MMQ_INVALID_ARGUMENT, "the list has not as many values as there are columns", err);
	for (size_t i = 0; i < count; i++) {
		snprintf(generated, sizeof(generated), "c%zu", i);
		if (learn_value(in, names != NULL ? names[i] : generated, json_array_get(list, i), err) == -1)
			return -1;
	}
	return 0;
}

static int
learn_line(struct jsonl *in, json_t *value, const char *const *names, size_t names_count, struct mmq_err *err)
{
	enum shape shape = json_is_object(value) ? SHAPE_OBJECT : json_is_array(value) ? SHAPE_LIST : SHAPE_UNKNOWN;
	const char *key;
	json_t *item;

	if (in->shape == SHAPE_UNKNOWN)
		in->shape = shape;
	if (shape == SHAPE_UNKNOWN || shape != in->shape)
		return refuse(in, "", MMQ_INVALID_ARGUMENT, "want an object on every line, or a list on every line", err);
	if (shape == SHAPE_LIST)
		return learn_list(in, value, names, names_count, err);
	json_object_foreach(value, key, item)
		if (learn_value(in, key, item, err) == -1)
			return -1;
	return 0;
}

static int
fill_line(struct jsonl *in, json_t *value, struct mmq_err *err)
{
	const char *key;
	json_t *item;
	size_t col = 0;

	if (in->shape == SHAPE_LIST) {
		for (size_t i = 0; i < json_array_size(value); i++)
			fill_value(in, i, json_array_get(value, i));
		return 0;
	}
	json_object_foreach(value, key, item) {
		if (column_index(in, key, &col, err) == -1)
			return -1;
		fill_value(in, col, item);
	}
	return 0;
}

/* Every line with something on it, once. fills: the second time. */
static int
walk(struct jsonl *in, const char *bytes, size_t size, bool fills, const char *const *names, size_t names_count, struct mmq_err *err)
{
	const char *end = bytes + size, *next;

	in->line = in->row = 0;
	for (const char *at = bytes; at < end; at = next) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		json_error_t why;
		next = stop != NULL ? stop + 1 : end;
		stop = stop != NULL ? stop : end;
		in->line++;
		while (at < stop && (*at == ' ' || *at == '\t' || *at == '\r'))
			at++;
		if (at == stop)
			continue;
		if (in->row == in->limits->rows_max || in->row >= UINT32_MAX || (in->row + 1) * (in->cols + 1) > in->limits->values_max)
			return refuse(in, "", MMQ_RESOURCE_EXHAUSTED, "more rows or values than rows_max or values_max", err);
		json_t *value = json_loadb(at, (size_t)(stop - at), JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
		if (value == NULL)
			return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "%s, line %zu, column %d: %s", in->name, in->line, why.column, why.text);
		int result = fills ? fill_line(in, value, err) : learn_line(in, value, names, names_count, err);
		json_decref(value);
		if (result == -1)
			return -1;
		in->row++;
	}
	return 0;
}

static void
add_columns(struct jsonl *in)
{
	for (size_t i = 0; i < in->cols; i++) {
		const char *name = in->names.known.items[i].at;  /* the arena's copy ends with a zero byte */
		if (in->types[i] == TYPE_TEXT || in->types[i] == TYPE_BOOLEAN) {
			struct mmq_text *texts = mmq_frame_add_texts(in->frame, name);
			memset(texts, 0, in->frame->rows * sizeof(*texts));
			in->frame->columns[i].is_boolean = in->types[i] == TYPE_BOOLEAN;
		} else {
			double *numbers = mmq_frame_add_numbers(in->frame, name, 1);
			for (size_t row = 0; row < in->frame->rows; row++)
				numbers[row] = NAN;
		}
	}
}

int
mmq_jsonl_read(struct mmq_frame *frame, const char *bytes, size_t size, const char *name, const char *const *names, size_t names_count,
    const struct mmq_data_limits *limits, struct mmq_err *err)
{
	struct jsonl in = { .frame = frame, .name = name, .limits = limits };
	int result = -1;

	if (size > limits->bytes_max)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s has %zu bytes, more than bytes_max %zu", name, size, limits->bytes_max);
	mmq_distinct_init(&in.names);
	if (walk(&in, bytes, size, false, names, names_count, err) == -1)
		goto out;
	if (in.row == 0 || in.cols == 0) {
		mmq_err_set(err, MMQ_INVALID_ARGUMENT, "%s holds no row", name);
		goto out;
	}
	if (in.row * in.cols > limits->values_max) {
		mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s: %zu rows of %zu columns are beyond values_max", name, in.row, in.cols);
		goto out;
	}
	frame->rows = in.row;
	add_columns(&in);
	result = walk(&in, bytes, size, true, names, names_count, err);
out:
	mmq_distinct_fini(&in.names);
	free(in.types);
	return result;
}
