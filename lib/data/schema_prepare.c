/* schema_prepare.c: a request's `prepare`: how columns are scaled and filled, where the user knows better than their kind and the engine. */
#include <stdio.h>
#include <string.h>

#include "data/schema.h"

static int
refuse(struct mmq_err *err, const char *column, const char *key, const char *want, const struct mmq_token *token)
{
	char where[96];
	snprintf(where, sizeof(where), "prepare.%s%s%s", column, key[0] != '\0' ? "." : "", key);
	if (token->type == MMQ_T_STR)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, where, want, "'%.*s'", (int)(token->size < 80 ? token->size : 80), token->bytes);
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, where, want, "%s", mmq_type_name(token->type));
}

static int
broken(const struct mmq_reader *in, struct mmq_err *err)
{
	return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "prepare: not readable: %s", in->why);
}

/* Which of the words token is; -1: none. */
static int
word_of(const struct mmq_token *token, const char *const words[3])
{
	for (int i = 0; i < 3; i++)
		if (mmq_read_is(token, words[i]))
			return i;
	return -1;
}

struct change {
	int scaling, filling;        /* -1: not said */
};

static int
read_change(struct change *change, const char *column, struct mmq_reader *in, struct mmq_err *err)
{
	static const char *const scalings[] = { "auto", "none", "standard" }, *const fillings[] = { "median", "mean", "zero" };
	struct mmq_token map, key, value;

	*change = (struct change){ -1, -1 };
	if (!mmq_read(in, &map))
		return broken(in, err);
	if (map.type != MMQ_T_MAP)
		return refuse(err, column, "", "a map of scale and impute", &map);
	for (uint32_t i = 0; i < map.size; i++) {
		if (!mmq_read(in, &key) || !mmq_read(in, &value))
			return broken(in, err);
		if (mmq_read_is(&key, "scale")) {
			if ((change->scaling = word_of(&value, scalings)) == -1)
				return refuse(err, column, "scale", "auto, none or standard", &value);
		} else if (mmq_read_is(&key, "impute")) {
			if ((change->filling = word_of(&value, fillings)) == -1)
				return refuse(err, column, "impute", "median, mean or zero", &value);
		} else {
			return refuse(err, column, "", "scale and impute alone", &key);
		}
	}
	return 0;
}

static void
apply(struct mmq_field *field, const struct change *change)
{
	if (change->scaling != -1)
		field->scaling = (enum mmq_scaling)change->scaling;
	if (change->filling != -1)
		field->filling = (enum mmq_filling)change->filling;
}

/* One pass over the map: the entries for all columns, or those for one. */
static int
read_entries(struct mmq_schema *schema, struct mmq_reader in, bool for_all, struct mmq_err *err)
{
	struct mmq_token map, name;
	struct change change;
	char text[1025];

	if (!mmq_read(&in, &map))
		return broken(&in, err);
	if (map.type != MMQ_T_MAP)
		return refuse(err, "*", "", "a map of columns", &map);
	for (uint32_t i = 0; i < map.size; i++) {
		if (!mmq_read(&in, &name))
			return broken(&in, err);
		if (name.type != MMQ_T_STR || name.size >= sizeof(text))
			return refuse(err, "*", "", "column names as keys", &name);
		snprintf(text, sizeof(text), "%.*s", (int)name.size, name.bytes);
		if (read_change(&change, text, &in, err) == -1)
			return -1;
		bool is_all = strcmp(text, "*") == 0;
		struct mmq_field *field = is_all ? NULL : mmq_schema_find(schema, text);
		if (!is_all && field == NULL)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "prepare", "columns of the data, or \"*\"", "'%.80s', which is not among them", text);
		if (is_all != for_all)
			continue;
		if (!is_all) {
			apply(field, &change);
			continue;
		}
		for (size_t k = 0; k < schema->fields_count; k++)
			apply(&schema->fields[k], &change);
		if (change.scaling != -1)
			schema->sparse_scaling = (enum mmq_scaling)change.scaling;
	}
	return 0;
}

int
mmq_schema_read_prepare(struct mmq_schema *schema, struct mmq_reader *map, struct mmq_err *err)
{
	return read_entries(schema, *map, true, err) == -1 ? -1 : read_entries(schema, *map, false, err);
}
