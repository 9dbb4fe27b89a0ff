/* frame.c: columns in an arena, canonical texts of numbers, and the list of rows that could not be used.
 *
 * The array of columns also lives in the arena; it doubles when its count is a power of two, so a frame needs no
 * capacity of its own and reset is one arena reset. */
#include "data/frame.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_LEAST = 8 };

void
mmq_row_errors_add(struct mmq_row_errors *errors, size_t row, const struct mmq_err *err)
{
	if (errors->count == errors->capacity) {
		errors->capacity = errors->capacity * 2 + 8;
		errors->items = mmq_grow(errors->items, errors->capacity, sizeof(*errors->items));
	}
	errors->items[errors->count++] = (struct mmq_row_error){ row, *err };
}

void
mmq_row_errors_fini(struct mmq_row_errors *errors)
{
	free(errors->items);
	*errors = (struct mmq_row_errors){ 0 };
}

void
mmq_frame_init(struct mmq_frame *frame)
{
	*frame = (struct mmq_frame){ 0 };
	mmq_arena_init(&frame->arena);
}

void
mmq_frame_reset(struct mmq_frame *frame)
{
	struct mmq_arena arena = frame->arena;

	mmq_arena_reset(&arena);
	*frame = (struct mmq_frame){ .arena = arena };
}

void
mmq_frame_fini(struct mmq_frame *frame)
{
	mmq_arena_fini(&frame->arena);
	*frame = (struct mmq_frame){ 0 };
}

const struct mmq_column *
mmq_frame_find(const struct mmq_frame *frame, const char *name)
{
	for (size_t i = 0; i < frame->columns_count; i++)
		if (strcmp(frame->columns[i].name, name) == 0)
			return &frame->columns[i];
	return NULL;
}

static struct mmq_column *
column_add(struct mmq_frame *frame, const char *name)
{
	size_t count = frame->columns_count;

	if (count == 0 || (count >= COLUMNS_LEAST && (count & (count - 1)) == 0)) {
		size_t capacity = count == 0 ? COLUMNS_LEAST : count * 2;
		struct mmq_column *larger = mmq_arena_get(&frame->arena, capacity * sizeof(*larger));
		if (count > 0)
			memcpy(larger, frame->columns, count * sizeof(*larger));
		frame->columns = larger;
	}
	struct mmq_column *column = &frame->columns[frame->columns_count++];
	*column = (struct mmq_column){ .name = mmq_arena_strndup(&frame->arena, name, strlen(name)), .width = 1, .stride = 1 };
	return column;
}

double *
mmq_frame_add_numbers(struct mmq_frame *frame, const char *name, size_t width)
{
	struct mmq_column *column = column_add(frame, name);
	double *numbers = mmq_arena_get(&frame->arena, frame->rows * width * sizeof(double));

	column->type = MMQ_COLUMN_NUMBER;
	column->width = column->stride = width;
	column->numbers = numbers;
	return numbers;
}

struct mmq_text *
mmq_frame_add_texts(struct mmq_frame *frame, const char *name)
{
	struct mmq_column *column = column_add(frame, name);
	struct mmq_text *texts = mmq_arena_get(&frame->arena, frame->rows * sizeof(*texts));

	column->type = MMQ_COLUMN_TEXT;
	column->texts = texts;
	return texts;
}

void
mmq_frame_add_view(struct mmq_frame *frame, const char *name, const double *numbers, size_t stride)
{
	struct mmq_column *column = column_add(frame, name);

	column->type = MMQ_COLUMN_NUMBER;
	column->stride = stride;
	column->numbers = numbers;
}

size_t
mmq_canonical_number(double value, char *text_out)
{
	if (isnan(value)) {
		text_out[0] = '\0';
		return 0;
	}
	if (value == 0.0)
		value = 0.0;  /* -0 becomes 0 */
	if (value == floor(value) && fabs(value) <= 0x1p53) {
		char digits[24];
		size_t at = sizeof(digits), size = 0;
		uint64_t left = (uint64_t)fabs(value);
		do
			digits[--at] = (char)('0' + left % 10);
		while ((left /= 10) > 0);
		if (value < 0)
			text_out[size++] = '-';
		memcpy(text_out + size, digits + at, sizeof(digits) - at);
		size += sizeof(digits) - at;
		text_out[size] = '\0';
		return size;
	}
	for (int precision = 1;; precision++) {
		int size = snprintf(text_out, 32, "%.*g", precision, value);
		if (precision == 17 || strtod(text_out, NULL) == value)
			return (size_t)size;
	}
}
