/* vectors.c: loading golden vectors and the schemas of the models that they name; shared by the tests of the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/wire/vectors.h"

struct bytes
from_hex(const char *hex)
{
	size_t size = strlen(hex) / 2;
	struct bytes bytes = { malloc(size > 0 ? size : 1), size };

	for (size_t i = 0; i < size; i++) {
		unsigned value = 0;
		assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
		bytes.at[i] = (uint8_t)value;
	}
	return bytes;
}

json_t *
load_vectors(const char *path)
{
	json_error_t error;
	json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error);
	if (root == NULL)
		fail_msg("%s:%d: %s", path, error.line, error.text);
	return root;
}

static enum mmq_field_kind
kind_of(const char *name)
{
	int kind = MMQ_FIELD_NUMERIC;
	while (strcmp(mmq_field_kind_name((enum mmq_field_kind)kind), name) != 0)
		kind++;
	return (enum mmq_field_kind)kind;
}

void
make_schema(struct mmq_schema *schema, const json_t *models, const char *name)
{
	const json_t *model = json_object_get(models, name);
	json_t *field;
	size_t i, axis;

	assert_non_null(model);
	mmq_schema_init(schema);
	schema->sparse_cols = (size_t)json_integer_value(json_object_get(model, "sparse_cols"));
	json_array_foreach(json_object_get(model, "fields"), i, field) {
		struct mmq_field *to = mmq_schema_add(schema, json_string_value(json_object_get(field, "name")),
		    kind_of(json_string_value(json_object_get(field, "kind"))), MMQ_ROLE_FEATURE);
		const json_t *shape = json_object_get(field, "shape");
		to->required = json_is_true(json_object_get(field, "required"));
		to->rank = (uint32_t)json_array_size(shape);
		for (axis = 0; axis < to->rank; axis++) {
			to->shape[axis] = (uint32_t)json_integer_value(json_array_get(shape, axis));
			to->width *= to->shape[axis];
		}
	}
}
