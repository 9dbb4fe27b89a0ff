/* cell.c: the value of one cell as preparation sees it: numbers, parts of dates, canonical texts of categories. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/datetime.h"
#include "prepare/steps.h"

#define SECONDS_MAX 1e12  /* the year 33658: what mmq_datetime_split takes */

int
mmq_prepare_refuse(struct mmq_err *err, const char *column, size_t row, const char *want, const char *got, size_t got_size)
{
	char field[96];
	snprintf(field, sizeof(field), "rows[%zu].%s", row, column);
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%.*s", (int)(got_size < 80 ? got_size : 80), got);
}

static int
refuse_number(struct mmq_err *err, const struct mmq_field *field, size_t row, const char *want, double got)
{
	char text[32];
	int size = snprintf(text, sizeof(text), "%.17g", got);
	return mmq_prepare_refuse(err, field->name, row, want, text, (size_t)size);
}

int
mmq_prepare_check(const struct mmq_field *field, size_t row, double value, struct mmq_err *err)
{
	char want[96];

	if (isinf(value))
		return refuse_number(err, field, row, "a finite number", value);
	if (value < field->bound_min || value > field->bound_max) {
		snprintf(want, sizeof(want), "%g to %g", field->bound_min, field->bound_max);
		return refuse_number(err, field, row, want, value);
	}
	return 0;
}

static int
read_boolean(const struct mmq_field *field, const struct mmq_column *column, size_t row, double *value, struct mmq_err *err)
{
	if (column->type == MMQ_COLUMN_NUMBER) {
		*value = mmq_column_number(column, row);
		return isnan(*value) || *value == 0 || *value == 1 ? 0 : refuse_number(err, field, row, "true or false", *value);
	}
	struct mmq_text text = mmq_column_text(column, row);
	if (text.at == NULL)
		*value = NAN;
	else if (text.size == 4 && memcmp(text.at, "true", 4) == 0)
		*value = 1;
	else if (text.size == 5 && memcmp(text.at, "false", 5) == 0)
		*value = 0;
	else
		return mmq_prepare_refuse(err, field->name, row, "true or false", text.at, text.size);
	return 0;
}

static int
read_datetime(const struct mmq_field *field, const struct mmq_column *column, size_t row, double *values, struct mmq_err *err)
{
	double seconds = NAN;

	if (column->type == MMQ_COLUMN_NUMBER) {
		seconds = mmq_column_number(column, row);
		if (fabs(seconds) > SECONDS_MAX)
			return refuse_number(err, field, row, "seconds since 1970, at most 1e12", seconds);
	} else {
		struct mmq_text text = mmq_column_text(column, row);
		if (text.at != NULL && mmq_datetime_parse(text.at, text.size, &seconds) == -1)
			return mmq_prepare_refuse(err, field->name, row, "an ISO 8601 date or time", text.at, text.size);
	}
	for (int i = 0; i < MMQ_DATETIME_PARTS; i++)
		values[i] = NAN;
	if (isnan(seconds))
		return 0;
	struct mmq_datetime parts = mmq_datetime_split(seconds);
	values[0] = parts.year;
	values[1] = parts.month;
	values[2] = parts.day;
	values[3] = parts.weekday;
	values[4] = parts.hour;
	return 0;
}

int
mmq_prepare_numbers(const struct mmq_prepare *prepare, const struct mmq_prepare_input *input, const struct mmq_column *column, size_t row,
    double values[MMQ_DATETIME_PARTS], struct mmq_err *err)
{
	const struct mmq_field *field = &prepare->schema.fields[input->field];

	if (input->coding == MMQ_CODING_DATETIME)
		return read_datetime(field, column, row, values, err);
	if (input->coding == MMQ_CODING_BOOLEAN)
		return read_boolean(field, column, row, values, err);
	if (column->type == MMQ_COLUMN_TEXT) {
		struct mmq_text text = mmq_column_text(column, row);
		*values = NAN;
		return text.at == NULL ? 0 : mmq_prepare_refuse(err, field->name, row, "a number", text.at, text.size);
	}
	*values = mmq_column_number(column, row);
	return mmq_prepare_check(field, row, *values, err);
}

int
mmq_prepare_category_text(const struct mmq_prepare *prepare, const struct mmq_prepare_input *input, const struct mmq_column *column, size_t row,
    char *number_text, struct mmq_text *text_out, struct mmq_err *err)
{
	if (column->type == MMQ_COLUMN_TEXT) {
		*text_out = mmq_column_text(column, row);
		return 0;
	}
	double value = mmq_column_number(column, row);
	if (mmq_prepare_check(&prepare->schema.fields[input->field], row, value, err) == -1)
		return -1;
	size_t size = mmq_canonical_number(value, number_text);
	*text_out = (struct mmq_text){ size > 0 ? number_text : NULL, (uint32_t)size };
	return 0;
}
