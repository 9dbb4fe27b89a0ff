/* target.c: classes or a value? Which classes, in which order, and the code of each row.
 *
 * Classes keep their type, because an answer gives labels back as they came: 3 stays a number, "3" a text. */
#include "data/target.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INFER_CLASSES_MAX = 20 };

static size_t
row_at(const uint32_t *rows, size_t i)
{
	return rows != NULL ? rows[i] : i;
}

static bool
is_integer(double value)
{
	return value == floor(value) && fabs(value) <= 0x1p53;
}

bool
mmq_target_is_classes(const struct mmq_column *column, const uint32_t *rows, size_t rows_count, char why_out[128])
{
	double seen[INFER_CLASSES_MAX];
	size_t count = 0;

	if (column->type == MMQ_COLUMN_TEXT) {
		snprintf(why_out, 128, "classification, because the target is %s", column->is_boolean ? "boolean" : "text");
		return true;
	}
	for (size_t i = 0; i < rows_count; i++) {
		double value = mmq_column_number(column, row_at(rows, i));
		size_t k = 0;
		if (isnan(value))
			continue;
		if (!is_integer(value)) {
			snprintf(why_out, 128, "regression, because the target has fractional numbers such as %g", value);
			return false;
		}
		while (k < count && seen[k] != value)
			k++;
		if (k < count)
			continue;
		if (count == INFER_CLASSES_MAX) {
			snprintf(why_out, 128, "regression, because the target has more than %d different integers", INFER_CLASSES_MAX);
			return false;
		}
		seen[count++] = value;
	}
	bool is_classes = count * 20 <= rows_count;
	snprintf(why_out, 128, "%s, because the target has %zu different integers in %zu rows (%s 5 %%)", is_classes ? "classification" : "regression",
	    count, rows_count, is_classes ? "at most" : "more than");
	return is_classes;
}

static int
refuse_row(struct mmq_err *err, const struct mmq_column *column, size_t row, const char *want, struct mmq_text got)
{
	char field[96];
	snprintf(field, sizeof(field), "rows[%zu].%s", row, column->name);
	if (got.at == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "nothing (the target is missing)");
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%.*s", (int)(got.size < 80 ? got.size : 80), got.at);
}

static int
refuse_number(struct mmq_err *err, const struct mmq_column *column, size_t row, const char *want, double got)
{
	char text[32];
	size_t size = mmq_canonical_number(got, text);
	return refuse_row(err, column, row, want, (struct mmq_text){ size > 0 ? text : NULL, (uint32_t)size });
}

static int
too_many(struct mmq_err *err, const struct mmq_column *column)
{
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, column->name, "at most 10000 classes (or task: regression)", "more");
}

static int
compare_int(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

/* Ascending insertion; at most MMQ_CLASSES_MAX are kept, so the moves stay short. */
static int
int_classes(struct mmq_classes *classes, const struct mmq_column *column, const uint32_t *rows, size_t rows_count, struct mmq_err *err)
{
	classes->ints = mmq_array(MMQ_CLASSES_MAX, sizeof(*classes->ints));
	for (size_t i = 0; i < rows_count; i++) {
		double value = mmq_column_number(column, row_at(rows, i));
		if (!is_integer(value))
			return refuse_number(err, column, row_at(rows, i), "a class: text, boolean or integer", value);
		int64_t label = (int64_t)value;
		if (bsearch(&label, classes->ints, classes->count, sizeof(label), compare_int) != NULL)
			continue;
		if (classes->count == MMQ_CLASSES_MAX)
			return too_many(err, column);
		size_t at = classes->count++;
		for (; at > 0 && classes->ints[at - 1] > label; at--)
			classes->ints[at] = classes->ints[at - 1];
		classes->ints[at] = label;
	}
	return 0;
}

static int
compare_text(struct mmq_text text, const char *label)
{
	size_t size = strlen(label), shorter = size < text.size ? size : text.size;
	int order = memcmp(text.at, label, shorter);
	return order != 0 ? order : (text.size > size) - (text.size < size);
}

/* Place of the first label that is not less than text. */
static size_t
text_place(const struct mmq_classes *classes, struct mmq_text text)
{
	size_t low = 0, high = classes->count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (compare_text(text, classes->texts[middle]) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int
text_classes(struct mmq_classes *classes, const struct mmq_column *column, const uint32_t *rows, size_t rows_count, struct mmq_err *err)
{
	classes->texts = mmq_array(MMQ_CLASSES_MAX, sizeof(*classes->texts));
	for (size_t i = 0; i < rows_count; i++) {
		struct mmq_text text = mmq_column_text(column, row_at(rows, i));
		if (text.at == NULL || memchr(text.at, '\0', text.size) != NULL)
			return refuse_row(err, column, row_at(rows, i), "a class: text, boolean or integer", (struct mmq_text){ 0 });
		size_t at = text_place(classes, text);
		if (at < classes->count && compare_text(text, classes->texts[at]) == 0)
			continue;
		if (classes->count == MMQ_CLASSES_MAX)
			return too_many(err, column);
		memmove(&classes->texts[at + 1], &classes->texts[at], (classes->count - at) * sizeof(*classes->texts));
		classes->texts[at] = mmq_strndup(text.at, text.size);
		classes->count++;
	}
	return 0;
}

static int
bool_classes(struct mmq_classes *classes, const struct mmq_column *column, const uint32_t *rows, size_t rows_count, struct mmq_err *err)
{
	bool seen[2] = { false, false };

	classes->ints = mmq_array(2, sizeof(*classes->ints));
	for (size_t i = 0; i < rows_count; i++) {
		struct mmq_text text = mmq_column_text(column, row_at(rows, i));
		if (text.at == NULL)
			return refuse_row(err, column, row_at(rows, i), "true or false", text);
		seen[text.size == 4] = true;
	}
	for (int value = 0; value < 2; value++)
		if (seen[value])
			classes->ints[classes->count++] = value;
	return 0;
}

int
mmq_classes_init(struct mmq_classes *classes, const struct mmq_column *column, const uint32_t *rows, size_t rows_count, struct mmq_err *err)
{
	int result;

	*classes = (struct mmq_classes){ .type = column->type == MMQ_COLUMN_NUMBER ? MMQ_LABEL_INT : column->is_boolean ? MMQ_LABEL_BOOL : MMQ_LABEL_TEXT };
	if (column->width != 1)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, column->name, "one class per row", "%zu numbers per row", column->width);
	if (classes->type == MMQ_LABEL_INT)
		result = int_classes(classes, column, rows, rows_count, err);
	else if (classes->type == MMQ_LABEL_BOOL)
		result = bool_classes(classes, column, rows, rows_count, err);
	else
		result = text_classes(classes, column, rows, rows_count, err);
	if (result == 0 && classes->count < 2)
		result = mmq_err_value(err, MMQ_INVALID_ARGUMENT, column->name, "at least 2 classes", "%zu", classes->count);
	if (result == -1)
		mmq_classes_fini(classes);
	return result;
}

void
mmq_classes_copy(struct mmq_classes *to, const struct mmq_classes *from)
{
	*to = (struct mmq_classes){ .type = from->type, .count = from->count };
	if (from->type == MMQ_LABEL_TEXT) {
		to->texts = mmq_array(from->count, sizeof(*to->texts));
		for (size_t i = 0; i < from->count; i++)
			to->texts[i] = mmq_strdup(from->texts[i]);
	} else {
		to->ints = mmq_array(from->count, sizeof(*to->ints));
		if (from->count > 0)
			memcpy(to->ints, from->ints, from->count * sizeof(*to->ints));
	}
}

void
mmq_classes_fini(struct mmq_classes *classes)
{
	for (size_t i = 0; classes->texts != NULL && i < classes->count; i++)
		free(classes->texts[i]);
	free(classes->texts);
	free(classes->ints);
	*classes = (struct mmq_classes){ 0 };
}

const char *
mmq_classes_text(const struct mmq_classes *classes, size_t index, char *number_out)
{
	if (classes->type == MMQ_LABEL_TEXT)
		return classes->texts[index];
	if (classes->type == MMQ_LABEL_BOOL)
		return classes->ints[index] != 0 ? "true" : "false";
	mmq_canonical_number((double)classes->ints[index], number_out);
	return number_out;
}

int
mmq_classes_find(const struct mmq_classes *classes, const char *text, size_t size)
{
	char number[32];

	if (classes->type == MMQ_LABEL_TEXT) {
		size_t at = text_place(classes, (struct mmq_text){ text, (uint32_t)size });
		return at < classes->count && compare_text((struct mmq_text){ text, (uint32_t)size }, classes->texts[at]) == 0 ? (int)at : -1;
	}
	for (size_t i = 0; i < classes->count; i++) {
		const char *label = mmq_classes_text(classes, i, number);
		if (strlen(label) == size && memcmp(label, text, size) == 0)
			return (int)i;
	}
	return -1;
}

int
mmq_classes_encode(const struct mmq_classes *classes, const struct mmq_column *column, const uint32_t *rows, size_t rows_count, double *y_out,
    struct mmq_err *err)
{
	static const char want[] = "one of the classes seen in training";

	if ((column->type == MMQ_COLUMN_NUMBER) != (classes->type == MMQ_LABEL_INT) || column->width != 1)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, column->name, classes->type == MMQ_LABEL_INT ? "integer classes" : "classes as text or boolean",
		    column->type == MMQ_COLUMN_NUMBER ? "numbers" : "text");
	for (size_t i = 0; i < rows_count; i++) {
		size_t row = row_at(rows, i);
		int code = -1;
		if (column->type == MMQ_COLUMN_NUMBER) {
			double value = mmq_column_number(column, row);
			int64_t label = is_integer(value) ? (int64_t)value : INT64_MIN;
			const int64_t *at = bsearch(&label, classes->ints, classes->count, sizeof(label), compare_int);
			if (at == NULL)
				return refuse_number(err, column, row, want, value);
			code = (int)(at - classes->ints);
		} else {
			struct mmq_text text = mmq_column_text(column, row);
			if (text.at == NULL || (code = mmq_classes_find(classes, text.at, text.size)) == -1)
				return refuse_row(err, column, row, want, text);
		}
		y_out[i] = code;
	}
	return 0;
}

int
mmq_target_numbers(const struct mmq_column *column, const uint32_t *rows, size_t rows_count, double *y_out, struct mmq_err *err)
{
	if (column->type != MMQ_COLUMN_NUMBER || column->width != 1)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, column->name, "one number per row for task regression", "%s",
		    column->type == MMQ_COLUMN_NUMBER ? "a vector" : "text");
	for (size_t i = 0; i < rows_count; i++) {
		y_out[i] = mmq_column_number(column, row_at(rows, i));
		if (!isfinite(y_out[i]))
			return refuse_number(err, column, row_at(rows, i), "a finite number", y_out[i]);
	}
	return 0;
}
