/* schema_io.c: schemas from requests, onto cards, and into and out of model files.
 *
 * A request's schema may be partial; a model file's must be whole and is checked entry by entry, since the bytes
 * are not to be trusted. */
#include "data/schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mpack/writer.h"

enum { KINDS = MMQ_FIELD_IGNORE + 1, ROLES = MMQ_ROLE_SENSITIVE + 1, VALUES_MAX = 100000, NAME_BYTES_MAX = 1024 };
#define WIDTH_MAX ((size_t)1 << 26)  /* numbers in one vector cell */

static int
refuse(struct mmq_err *err, const struct mmq_field *field, const char *key, const char *want, const struct mmq_token *token)
{
	char where[96];
	snprintf(where, sizeof(where), "schema.%s.%s", field->name, key);
	if (token->type == MMQ_T_STR)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, where, want, "'%.*s'", (int)(token->size < 80 ? token->size : 80), token->bytes);
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, where, want, "%s", mmq_type_name(token->type));
}

static int
broken(struct mmq_reader *reader, struct mmq_err *err)
{
	return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "schema: not readable: %s", reader->why);
}

static int
kind_from(const char *text, size_t size)
{
	for (int i = 0; i < KINDS; i++)
		if (strlen(mmq_field_kind_name((enum mmq_field_kind)i)) == size && memcmp(mmq_field_kind_name((enum mmq_field_kind)i), text, size) == 0)
			return i;
	return -1;
}

static int
role_from(const char *text, size_t size)
{
	for (int i = 0; i < ROLES; i++)
		if (strlen(mmq_field_role_name((enum mmq_field_role)i)) == size && memcmp(mmq_field_role_name((enum mmq_field_role)i), text, size) == 0)
			return i;
	return -1;
}

static int
read_values(struct mmq_field *field, struct mmq_reader *in, const struct mmq_token *list, struct mmq_err *err)
{
	struct mmq_token token;
	char number[32];

	if (list->type != MMQ_T_ARRAY || list->size == 0 || list->size > VALUES_MAX || field->values != NULL)
		return refuse(err, field, "values", "one list of 1 to 100000 values", list);
	field->values = mmq_array(list->size, sizeof(*field->values));
	for (uint32_t i = 0; i < list->size; i++) {
		if (!mmq_read(in, &token))
			return broken(in, err);
		if (token.type == MMQ_T_STR && memchr(token.bytes, '\0', token.size) == NULL)
			field->values[i] = mmq_strndup(token.bytes, token.size);
		else if (token.type == MMQ_T_BOOL)
			field->values[i] = mmq_strdup(token.boolean ? "true" : "false");
		else if (token.type == MMQ_T_INT || (token.type == MMQ_T_FLOAT && isfinite(token.f)))
			field->values[i] = mmq_strndup(number, mmq_canonical_number(token.f, number));
		else
			return refuse(err, field, "values", "texts, numbers or booleans", &token);
		field->values_count++;
	}
	return 0;
}

static int
read_bounds(struct mmq_field *field, struct mmq_reader *in, const struct mmq_token *list, struct mmq_err *err)
{
	struct mmq_token token;
	double *bounds[2] = { &field->bound_min, &field->bound_max };

	if (list->type != MMQ_T_ARRAY || list->size != 2)
		return refuse(err, field, "bounds", "[min, max], nil for none", list);
	for (int i = 0; i < 2; i++) {
		if (!mmq_read(in, &token))
			return broken(in, err);
		if (token.type == MMQ_T_NIL)
			continue;
		if ((token.type != MMQ_T_INT && token.type != MMQ_T_FLOAT) || isnan(token.f))
			return refuse(err, field, "bounds", "[min, max], nil for none", &token);
		*bounds[i] = token.f;
	}
	return field->bound_min <= field->bound_max ? 0 : refuse(err, field, "bounds", "min <= max", list);
}

static int
read_shape(struct mmq_field *field, struct mmq_reader *in, const struct mmq_token *list, struct mmq_err *err)
{
	struct mmq_token token;

	if (list->type != MMQ_T_ARRAY || list->size < 1 || list->size > 4)
		return refuse(err, field, "shape", "a list of 1 to 4 sizes", list);
	field->rank = list->size;
	field->width = 1;
	for (uint32_t i = 0; i < list->size; i++) {
		if (!mmq_read(in, &token))
			return broken(in, err);
		if (token.type != MMQ_T_INT || token.i < 1 || (size_t)token.i > WIDTH_MAX / field->width)
			return refuse(err, field, "shape", "sizes of 1 or more with a product of at most 2^26", &token);
		field->shape[i] = (uint32_t)token.i;
		field->width *= (size_t)token.i;
	}
	return 0;
}

static int
read_key(struct mmq_field *field, const struct mmq_token *key, struct mmq_reader *in, struct mmq_err *err)
{
	struct mmq_reader before = *in;
	struct mmq_token token;

	if (!mmq_read(in, &token))
		return broken(in, err);
	if (mmq_read_is(key, "kind")) {
		int kind = token.type == MMQ_T_STR ? kind_from(token.bytes, token.size) : -1;
		if (kind == -1)
			return refuse(err, field, "kind", "numeric, categorical, text, datetime, boolean, vector or ignore", &token);
		field->kind = (enum mmq_field_kind)kind;
		field->kind_is_set = true;
	} else if (mmq_read_is(key, "role")) {
		int role = token.type == MMQ_T_STR ? role_from(token.bytes, token.size) : -1;
		if (role == -1)
			return refuse(err, field, "role", "feature, target, weight, id, group, time, split or sensitive", &token);
		field->role = (enum mmq_field_role)role;
	} else if (mmq_read_is(key, "required")) {
		if (token.type != MMQ_T_BOOL)
			return refuse(err, field, "required", "true or false", &token);
		field->required = token.boolean;
	} else if (mmq_read_is(key, "values")) {
		return read_values(field, in, &token, err);
	} else if (mmq_read_is(key, "bounds")) {
		return read_bounds(field, in, &token, err);
	} else if (mmq_read_is(key, "shape")) {
		return read_shape(field, in, &token, err);
	} else {
		*in = before;  /* unknown: a newer client's */
		if (!mmq_read_skip(in))
			return broken(in, err);
	}
	return 0;
}

static int
read_field(struct mmq_schema *schema, struct mmq_reader *in, struct mmq_err *err)
{
	struct mmq_token name, map, key;
	char text[NAME_BYTES_MAX + 1];

	if (!mmq_read(in, &name))
		return broken(in, err);
	if (name.type != MMQ_T_STR || name.size == 0 || name.size > NAME_BYTES_MAX || memchr(name.bytes, '\0', name.size) != NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "schema", "column names of 1 to 1024 bytes as keys", "%s", mmq_type_name(name.type));
	memcpy(text, name.bytes, name.size);
	text[name.size] = '\0';
	if (mmq_schema_find(schema, text) != NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "schema", "each column once", "'%s' twice", text);
	struct mmq_field *field = mmq_schema_add(schema, text, MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE);
	if (!mmq_read(in, &map))
		return broken(in, err);
	if (map.type != MMQ_T_MAP)
		return refuse(err, field, "", "a map of kind, role, values, bounds, required, shape", &map);
	for (uint32_t i = 0; i < map.size; i++) {
		if (!mmq_read(in, &key))
			return broken(in, err);
		if (read_key(field, &key, in, err) == -1)
			return -1;
	}
	return 0;
}

int
mmq_schema_read(struct mmq_schema *schema, struct mmq_reader *in, struct mmq_err *err)
{
	struct mmq_token map;

	if (!mmq_read(in, &map))
		return broken(in, err);
	if (map.type != MMQ_T_MAP)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "schema", "a map of columns", "%s", mmq_type_name(map.type));
	for (uint32_t i = 0; i < map.size; i++)
		if (read_field(schema, in, err) == -1)
			return -1;
	return 0;
}

static void
put_bound(struct mmq_buf *out, double bound)
{
	if (isinf(bound))
		mmq_put_nil(out);
	else
		mmq_put_double(out, bound);
}

void
mmq_schema_write(const struct mmq_schema *schema, struct mmq_buf *out)
{
	mmq_put_array(out, schema->fields_count);
	for (size_t i = 0; i < schema->fields_count; i++) {
		const struct mmq_field *field = &schema->fields[i];
		bool bounded = isfinite(field->bound_min) || isfinite(field->bound_max);
		mmq_put_map(out, 4u + (field->rank > 0) + (field->values != NULL) + bounded);
		mmq_put_str(out, "name");
		mmq_put_str(out, field->name);
		mmq_put_str(out, "kind");
		mmq_put_str(out, mmq_field_kind_name(field->kind));
		mmq_put_str(out, "role");
		mmq_put_str(out, mmq_field_role_name(field->role));
		mmq_put_str(out, "required");
		mmq_put_bool(out, field->required);
		if (field->rank > 0) {
			mmq_put_str(out, "shape");
			mmq_put_array(out, field->rank);
			for (uint32_t k = 0; k < field->rank; k++)
				mmq_put_uint(out, field->shape[k]);
		}
		if (field->values != NULL) {
			mmq_put_str(out, "values");
			mmq_put_array(out, field->values_count);
			for (size_t k = 0; k < field->values_count; k++)
				mmq_put_str(out, field->values[k]);
		}
		if (bounded) {
			mmq_put_str(out, "bounds");
			mmq_put_array(out, 2);
			put_bound(out, field->bound_min);
			put_bound(out, field->bound_max);
		}
	}
}

/* One row of numbers per field in a model file. */
enum { F_KIND, F_ROLE, F_REQUIRED, F_RANK, F_SHAPE, F_VALUES = F_SHAPE + 4, F_COLS };

void
mmq_schema_save(const struct mmq_schema *schema, struct mmq_part *out)
{
	size_t count = schema->fields_count, values = 0, at = 0;
	const char **names = mmq_array(count, sizeof(*names));
	uint32_t *table = mmq_array(count * F_COLS, sizeof(*table));
	double *bounds = mmq_array(count * 2, sizeof(*bounds));

	for (size_t i = 0; i < count; i++)
		values += schema->fields[i].values_count;
	const char **texts = mmq_array(values, sizeof(*texts));
	for (size_t i = 0; i < count; i++) {
		const struct mmq_field *field = &schema->fields[i];
		uint32_t *row = table + i * F_COLS;
		names[i] = field->name;
		row[F_KIND] = field->kind;
		row[F_ROLE] = field->role;
		row[F_REQUIRED] = field->required;
		row[F_RANK] = field->rank;
		memcpy(row + F_SHAPE, field->shape, sizeof(field->shape));
		row[F_VALUES] = (uint32_t)field->values_count;
		bounds[i * 2] = field->bound_min;
		bounds[i * 2 + 1] = field->bound_max;
		for (size_t k = 0; k < field->values_count; k++)
			texts[at++] = field->values[k];
	}
	mmq_part_put_int(out, "schema_sparse_cols", (int64_t)schema->sparse_cols);
	mmq_part_put_texts(out, "schema_names", names, count);
	mmq_part_put_texts(out, "schema_values", texts, values);
	mmq_part_put_matrix(out, "schema_table", MMQ_U32, count, F_COLS, table);
	mmq_part_put_matrix(out, "schema_bounds", MMQ_F64, count, 2, bounds);
	free(names);
	free(table);
	free(bounds);
	free(texts);
}

static int
open_field(struct mmq_schema *schema, const char *name, const uint32_t *row, const double *bounds, struct mmq_err *err)
{
	size_t width = 1;

	if (row[F_KIND] >= KINDS || row[F_ROLE] >= ROLES || row[F_REQUIRED] > 1 || row[F_RANK] > 4 || isnan(bounds[0]) || isnan(bounds[1]))
		return mmq_err_set(err, MMQ_DATA_LOSS, "schema: field '%s' holds an unknown kind, role, rank or bound", name);
	if ((row[F_KIND] == MMQ_FIELD_VECTOR) != (row[F_RANK] > 0))
		return mmq_err_set(err, MMQ_DATA_LOSS, "schema: field '%s' has a shape that its kind cannot have", name);
	for (uint32_t k = 0; k < row[F_RANK]; k++) {
		if (row[F_SHAPE + k] == 0 || row[F_SHAPE + k] > WIDTH_MAX / width)
			return mmq_err_set(err, MMQ_DATA_LOSS, "schema: field '%s' has a shape out of limits", name);
		width *= row[F_SHAPE + k];
	}
	if (*name == '\0' || mmq_schema_find(schema, name) != NULL)
		return mmq_err_set(err, MMQ_DATA_LOSS, "schema: field name '%s' is empty or twice there", name);
	struct mmq_field *field = mmq_schema_add(schema, name, (enum mmq_field_kind)row[F_KIND], (enum mmq_field_role)row[F_ROLE]);
	field->required = row[F_REQUIRED] == 1;
	field->kind_is_set = true;
	field->rank = row[F_RANK];
	memcpy(field->shape, row + F_SHAPE, sizeof(field->shape));
	field->width = width;
	field->bound_min = bounds[0];
	field->bound_max = bounds[1];
	return 0;
}

int
mmq_schema_open(struct mmq_schema *schema, const struct mmq_part *in, struct mmq_err *err)
{
	const char *const *names, *const *texts;
	const struct mmq_tensor *table, *bounds;
	size_t count, values;
	int64_t sparse_cols;

	mmq_schema_init(schema);
	if (mmq_part_get_int(in, "schema_sparse_cols", 0, UINT32_MAX, &sparse_cols, err) == -1 ||
	    mmq_part_get_texts(in, "schema_names", &names, &count, err) == -1 ||
	    mmq_part_get_texts(in, "schema_values", &texts, &values, err) == -1 ||
	    mmq_part_get_tensor(in, "schema_table", MMQ_U32, 2, (uint64_t[2]){ count, F_COLS }, &table, err) == -1 ||
	    mmq_part_get_tensor(in, "schema_bounds", MMQ_F64, 2, (uint64_t[2]){ count, 2 }, &bounds, err) == -1)
		return -1;
	schema->sparse_cols = (size_t)sparse_cols;
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		const uint32_t *row = (const uint32_t *)table->data + i * F_COLS;
		if (open_field(schema, names[i], row, (const double *)bounds->data + i * 2, err) == -1)
			goto fail;
		struct mmq_field *field = &schema->fields[i];
		if (row[F_VALUES] > values - at) {
			mmq_err_set(err, MMQ_DATA_LOSS, "schema: field '%s' announces more values than are there", names[i]);
			goto fail;
		}
		if (row[F_VALUES] == 0)
			continue;
		field->values = mmq_array(row[F_VALUES], sizeof(*field->values));
		for (; field->values_count < row[F_VALUES]; field->values_count++)
			field->values[field->values_count] = mmq_strdup(texts[at++]);
	}
	return 0;
fail:
	mmq_schema_fini(schema);
	return -1;
}
