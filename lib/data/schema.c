/* schema.c: the list of fields and how kinds are inferred from a frame.
 *
 * Inference looks at values only, never at names, and what the user set always wins; a set kind that the column's values
 * cannot have is refused here, before any work. Reading and writing of schemas is in schema_io.c. */
#include "data/schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/datetime.h"
#include "util/hash.h"

enum {
	SAMPLE_ROWS_MAX = 20000,  /* rows looked at to tell categories from text */
	TEXT_BYTES_LEAST = 20,    /* mean length from which mostly different values are text */
};

static const char *const kind_names[] = { "numeric", "categorical", "text", "datetime", "boolean", "vector", "ignore" };
static const char *const role_names[] = { "feature", "target", "weight", "id", "group", "time", "split", "sensitive" };

const char *
mmq_field_kind_name(enum mmq_field_kind kind)
{
	return kind_names[kind];
}

const char *
mmq_field_role_name(enum mmq_field_role role)
{
	return role_names[role];
}

void
mmq_schema_init(struct mmq_schema *schema)
{
	*schema = (struct mmq_schema){ 0 };
}

static void
field_fini(struct mmq_field *field)
{
	for (size_t i = 0; field->values != NULL && i < field->values_count; i++)
		free(field->values[i]);
	free(field->values);
	free(field->name);
}

void
mmq_schema_fini(struct mmq_schema *schema)
{
	for (size_t i = 0; i < schema->fields_count; i++)
		field_fini(&schema->fields[i]);
	free(schema->fields);
	mmq_schema_init(schema);
}

static struct mmq_field *
field_append(struct mmq_schema *schema, const struct mmq_field *field)
{
	size_t count = schema->fields_count;

	if ((count & (count - 1)) == 0)  /* 0 and powers of two: room for twice as many */
		schema->fields = mmq_grow(schema->fields, count == 0 ? 1 : count * 2, sizeof(*schema->fields));
	schema->fields[schema->fields_count++] = *field;
	return &schema->fields[count];
}

struct mmq_field *
mmq_schema_add(struct mmq_schema *schema, const char *name, enum mmq_field_kind kind, enum mmq_field_role role)
{
	return field_append(schema, &(struct mmq_field){ .name = mmq_strdup(name), .kind = kind, .role = role, .required = true,
	    .width = 1, .bound_min = -INFINITY, .bound_max = INFINITY });
}

struct mmq_field *
mmq_schema_find(const struct mmq_schema *schema, const char *name)
{
	for (size_t i = 0; i < schema->fields_count; i++)
		if (strcmp(schema->fields[i].name, name) == 0)
			return &schema->fields[i];
	return NULL;
}

void
mmq_schema_copy(struct mmq_schema *to, const struct mmq_schema *from)
{
	mmq_schema_init(to);
	to->sparse_cols = from->sparse_cols;
	to->sparse_scaling = from->sparse_scaling;
	for (size_t i = 0; i < from->fields_count; i++) {
		struct mmq_field field = from->fields[i];
		field.name = mmq_strdup(field.name);
		if (field.values != NULL) {
			field.values = mmq_array(field.values_count, sizeof(*field.values));
			for (size_t k = 0; k < field.values_count; k++)
				field.values[k] = mmq_strdup(from->fields[i].values[k]);
		}
		field_append(to, &field);
	}
}

static int
compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Categories repeat or are short; free text is long and mostly different; a column in which every value is an ISO 8601
 * date or time is one. */
static enum mmq_field_kind
infer_text(const struct mmq_column *column, size_t rows)
{
	size_t count = 0, bytes = 0, distinct = 0, dates = 0;
	size_t sample = rows < SAMPLE_ROWS_MAX ? rows : SAMPLE_ROWS_MAX;
	uint64_t *hashes = mmq_array(sample, sizeof(*hashes));

	for (size_t row = 0; row < sample; row++) {
		struct mmq_text text = mmq_column_text(column, row);
		double seconds;
		if (text.at == NULL)
			continue;
		dates += mmq_datetime_parse(text.at, text.size, &seconds) == 0;
		bytes += text.size;
		hashes[count++] = mmq_hash64(text.at, text.size);
	}
	qsort(hashes, count, sizeof(*hashes), compare_u64);
	for (size_t i = 0; i < count; i++)
		distinct += i == 0 || hashes[i] != hashes[i - 1];
	free(hashes);
	if (count > 0 && dates == count)
		return MMQ_FIELD_DATETIME;
	return distinct * 2 > count && bytes >= count * TEXT_BYTES_LEAST ? MMQ_FIELD_TEXT : MMQ_FIELD_CATEGORICAL;
}

static enum mmq_field_kind
infer_kind(const struct mmq_column *column, size_t rows)
{
	if (column->is_boolean)
		return MMQ_FIELD_BOOLEAN;
	if (column->type == MMQ_COLUMN_TEXT)
		return infer_text(column, rows);
	return column->width > 1 || column->rank > 0 ? MMQ_FIELD_VECTOR : MMQ_FIELD_NUMERIC;
}

/* Can a column of this storage hold a field of this kind? Numbers may be categories; texts are never numbers. */
static bool
kind_fits(enum mmq_field_kind kind, const struct mmq_column *column)
{
	bool is_text = column->type == MMQ_COLUMN_TEXT, is_vector = !is_text && (column->width > 1 || column->rank > 0);

	switch (kind) {
	case MMQ_FIELD_NUMERIC: return !is_text && !is_vector;
	case MMQ_FIELD_CATEGORICAL: return !is_vector;
	case MMQ_FIELD_TEXT: return is_text;
	case MMQ_FIELD_DATETIME: return !is_vector && !column->is_boolean;
	case MMQ_FIELD_BOOLEAN: return column->is_boolean;
	case MMQ_FIELD_VECTOR: return !is_text;
	case MMQ_FIELD_IGNORE: return true;
	}
	return false;
}

static int
field_settle(struct mmq_field *field, const struct mmq_column *column, size_t rows, struct mmq_err *err)
{
	char where[96];

	if (!field->kind_is_set)
		field->kind = infer_kind(column, rows);
	if (!kind_fits(field->kind, column)) {
		snprintf(where, sizeof(where), "schema.%s.kind", field->name);
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, where, mmq_field_kind_name(infer_kind(column, rows)), "%s",
		    mmq_field_kind_name(field->kind));
	}
	field->kind_is_set = true;
	if (field->kind != MMQ_FIELD_VECTOR)
		return 0;
	if (field->rank == 0) {
		field->rank = column->rank > 0 ? column->rank : 1;
		field->width = column->width;
		field->shape[0] = (uint32_t)column->width;
		if (column->rank > 0)
			memcpy(field->shape, column->shape, sizeof(field->shape));
	}
	if (field->width != column->width) {
		snprintf(where, sizeof(where), "schema.%s.shape", field->name);
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, where, "a shape whose product is the width of the data", "%zu values, the data has %zu",
		    field->width, column->width);
	}
	return 0;
}

int
mmq_schema_infer(struct mmq_schema *schema, const struct mmq_frame *frame, struct mmq_err *err)
{
	for (size_t i = 0; i < schema->fields_count; i++)
		if (mmq_frame_find(frame, schema->fields[i].name) == NULL)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "schema", "columns of the data", "'%s', which is not among them",
			    schema->fields[i].name);
	if (frame->sparse.row_start != NULL) {
		if (schema->sparse_cols == 0)
			schema->sparse_cols = frame->sparse.cols;
		if (frame->sparse.cols > schema->sparse_cols)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "width", "at least the data's columns", "%zu, the data has %zu",
			    schema->sparse_cols, frame->sparse.cols);
	}
	/* The data's order becomes the model's order. */
	struct mmq_schema ordered = { .sparse_cols = schema->sparse_cols, .sparse_scaling = schema->sparse_scaling };
	for (size_t i = 0; i < frame->columns_count; i++) {
		const char *name = frame->columns[i].name;
		struct mmq_field *old = mmq_schema_find(schema, name);
		if (old == NULL) {
			mmq_schema_add(&ordered, name, MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE);
			continue;
		}
		field_append(&ordered, old);
		*old = (struct mmq_field){ .name = mmq_strdup("") };  /* moved */
	}
	mmq_schema_fini(schema);
	*schema = ordered;
	for (size_t i = 0; i < frame->columns_count; i++)
		if (field_settle(&schema->fields[i], &frame->columns[i], frame->rows, err) == -1)
			return -1;
	return 0;
}
