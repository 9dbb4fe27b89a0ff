/* match.c: columns by name into the model's order. Lookup is by strcmp over few columns, once per file or message. */
#include "data/match.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool
mmq_field_is_input(const struct mmq_field *field)
{
	return (field->role == MMQ_ROLE_FEATURE || field->role == MMQ_ROLE_SENSITIVE) && field->kind != MMQ_FIELD_IGNORE;
}

static void
add_missing(struct mmq_frame *frame, const struct mmq_field *field)
{
	if (field->kind == MMQ_FIELD_NUMERIC || field->kind == MMQ_FIELD_VECTOR) {
		double *numbers = mmq_frame_add_numbers(frame, field->name, field->width);
		for (size_t i = 0; i < frame->rows * field->width; i++)
			numbers[i] = NAN;
		struct mmq_column *column = &frame->columns[frame->columns_count - 1];
		column->rank = field->rank;
		memcpy(column->shape, field->shape, sizeof(column->shape));
	} else {
		struct mmq_text *texts = mmq_frame_add_texts(frame, field->name);
		for (size_t i = 0; i < frame->rows; i++)
			texts[i] = (struct mmq_text){ 0 };
	}
}

static bool
is_all_missing(const struct mmq_column *column, size_t rows)
{
	for (size_t row = 0; row < rows; row++)
		if (column->type == MMQ_COLUMN_TEXT ? mmq_column_text(column, row).at != NULL : !isnan(mmq_column_number(column, row)))
			return false;
	return true;
}

/* A file's column that holds nothing was read as numbers, whatever it is; that fits any field of one value. */
static int
check_kind(const struct mmq_column *column, const struct mmq_field *field, size_t rows, struct mmq_err *err)
{
	bool is_text = column->type == MMQ_COLUMN_TEXT, fits = true;

	if (field->kind == MMQ_FIELD_NUMERIC || field->kind == MMQ_FIELD_VECTOR)
		fits = !is_text && column->width == field->width;
	else if (column->width > 1)
		fits = false;
	else if (field->kind == MMQ_FIELD_TEXT)
		fits = is_text;
	if (fits || (column->width == 1 && field->width == 1 && is_all_missing(column, rows)))
		return 0;
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field->name, mmq_field_kind_name(field->kind), "%s, %zu per row",
	    is_text ? "text" : "numbers", column->width);
}

static int
refuse_extra(const struct mmq_frame *frame, const struct mmq_schema *schema, struct mmq_err *err)
{
	for (size_t i = 0; i < frame->columns_count; i++)
		if (mmq_schema_find(schema, frame->columns[i].name) == NULL)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, frame->columns[i].name, "the model's columns (or extra: ignore)",
			    "a column that the model does not have");
	return 0;
}

int
mmq_frame_match(struct mmq_frame *frame, const struct mmq_schema *schema, bool extra_is_ignored, struct mmq_err *err)
{
	size_t inputs = 0, capacity = 8;

	if (!extra_is_ignored && refuse_extra(frame, schema, err) == -1)
		return -1;
	for (size_t i = 0; i < schema->fields_count; i++) {
		const struct mmq_field *field = &schema->fields[i];
		if (!mmq_field_is_input(field))
			continue;
		inputs++;
		const struct mmq_column *column = mmq_frame_find(frame, field->name);
		if (column == NULL && field->required)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field->name, "a column that the model needs", "nothing");
		if (column == NULL)
			add_missing(frame, field);
		else if (check_kind(column, field, frame->rows, err) == -1)
			return -1;
	}
	while (capacity < inputs)  /* a power of two, as frame.c expects */
		capacity *= 2;
	struct mmq_column *ordered = mmq_arena_get(&frame->arena, capacity * sizeof(*ordered));
	size_t count = 0;
	for (size_t i = 0; i < schema->fields_count; i++) {
		if (!mmq_field_is_input(&schema->fields[i]))
			continue;
		struct mmq_column *column = &ordered[count++];
		*column = *mmq_frame_find(frame, schema->fields[i].name);
		bool is_text = column->type == MMQ_COLUMN_TEXT, wants_text = schema->fields[i].kind == MMQ_FIELD_TEXT;
		bool wants_numbers = schema->fields[i].kind == MMQ_FIELD_NUMERIC || schema->fields[i].kind == MMQ_FIELD_VECTOR;
		if ((is_text && wants_numbers) || (!is_text && wants_text)) {  /* all missing, as check_kind saw */
			add_missing(frame, &schema->fields[i]);
			*column = frame->columns[frame->columns_count - 1];
		}
	}
	frame->columns = ordered;
	frame->columns_count = count;
	return 0;
}
