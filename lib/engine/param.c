/* param.c: an engine's parameter table against what a user gave.
 *
 * Key idea: every way in (wire map, command line, the table's own defaults) ends in the same three checks, so that a value
 * accepted by one is accepted by all: type, then range, then one name per parameter. Values are kept in table order.
 * It does not check how parameters fit together; that is the engine's. */
#include "engine/param.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mpack/writer.h"
#include "util/distance.h"
#include "util/mem.h"

enum { NAME_MAX_BYTES = 64, LIST_MAX = 64, TEXT_MAX = 4096 };

struct value {
	bool is_set, is_number, boolean;
	int64_t integer;
	double number;
	char *choice;             /* owned */
	double list[LIST_MAX];
	size_t list_count;
	char given[NAME_MAX_BYTES]; /* the name the user used; empty for a default */
};

struct mmq_params {
	const struct mmq_param *table;
	size_t count;
	struct value *values;     /* (count) */
};

/* Does the bar- or space-separated list hold this word? */
static bool
list_has(const char *list, char separator, const char *word, size_t size)
{
	while (list != NULL && *list != '\0') {
		const char *end = strchr(list, separator);
		size_t length = end != NULL ? (size_t)(end - list) : strlen(list);
		if (length > 0 && length == size && memcmp(list, word, size) == 0)
			return true;
		list = end != NULL ? end + 1 : NULL;
	}
	return false;
}

static bool
is_named(const struct mmq_param *param, const char *name, size_t size)
{
	return (strlen(param->name) == size && memcmp(param->name, name, size) == 0) || list_has(param->aliases, ' ', name, size);
}

/* The smallest distance of a word to a parameter's name or one of its aliases. */
static size_t
name_distance(const struct mmq_param *param, const char *name, size_t size)
{
	size_t best = mmq_distance_words(name, size, param->name);
	char aliases[256];
	if (param->aliases == NULL || strlen(param->aliases) >= sizeof(aliases))
		return best;
	memcpy(aliases, param->aliases, strlen(param->aliases) + 1);
	char *rest = NULL;
	for (char *word = strtok_r(aliases, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
		size_t distance = mmq_distance_words(name, size, word);
		if (distance < best)
			best = distance;
	}
	return best;
}

/* "did you mean": up to three nearest parameters, or as many known names as fit. */
static int
unknown_error(const struct mmq_params *params, const char *name, size_t size, struct mmq_err *err)
{
	char want[160] = "", field[96];
	size_t used = 0, near_max = size / 3 > 2 ? size / 3 : 2, shown = 0;
	snprintf(field, sizeof(field), "params.%.*s", (int)(size < NAME_MAX_BYTES ? size : NAME_MAX_BYTES), name);
	for (size_t distance = 0; distance <= near_max && shown < 3; distance++) {
		for (size_t k = 0; k < params->count && shown < 3; k++) {
			if (name_distance(&params->table[k], name, size) != distance)
				continue;
			used += (size_t)snprintf(want + used, sizeof(want) - used, "%s%s", shown == 0 ? "" : " or ", params->table[k].name);
			if (used >= sizeof(want))
				used = sizeof(want) - 1;
			shown++;
		}
	}
	for (size_t k = 0; shown == 0 && k < params->count; k++) {
		int n = snprintf(want + used, sizeof(want) - used, "%s%s", k == 0 ? "one of " : " ", params->table[k].name);
		if (used + (size_t)n + 4 >= sizeof(want)) {
			snprintf(want + used, sizeof(want) - used, "%s", sizeof(want) - used > 4 ? " ..." : "");
			break;
		}
		used += (size_t)n;
	}
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want[0] != '\0' ? want : "no parameters", "an unknown parameter");
}

static int
value_error(const struct mmq_param *param, const struct value *value, struct mmq_err *err, const char *got)
{
	char field[96], want[160];
	snprintf(field, sizeof(field), "params.%s", value->given[0] != '\0' ? value->given : param->name);
	switch (param->type) {
	case MMQ_P_BOOL:
		snprintf(want, sizeof(want), "true or false");
		break;
	case MMQ_P_TEXT:
		snprintf(want, sizeof(want), "a text of up to %d bytes", TEXT_MAX);
		break;
	case MMQ_P_ENUM:
		snprintf(want, sizeof(want), "%s", param->choices);
		break;
	case MMQ_P_NUMBER_OR_ENUM:
		snprintf(want, sizeof(want), "%s or a number in [%.10g, %.10g]", param->choices, param->min, param->max);
		break;
	default:
		snprintf(want, sizeof(want), "%s in [%.10g, %.10g]", param->type == MMQ_P_INT ? "an integer" : param->type == MMQ_P_NUMBER ?
		    "a number" : param->type == MMQ_P_INTS ? "up to 64 integers" : "up to 64 numbers", param->min, param->max);
	}
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%s", got);
}

/* A number, from either way in: type and range. */
static int
take_number(const struct mmq_param *param, struct value *value, double number, struct mmq_err *err)
{
	bool is_whole = param->type == MMQ_P_INT || param->type == MMQ_P_INTS;
	bool takes = is_whole || param->type == MMQ_P_NUMBER || param->type == MMQ_P_NUMBERS || param->type == MMQ_P_NUMBER_OR_ENUM;
	if (!takes || !isfinite(number) || number < param->min || number > param->max ||
	    (is_whole && (number != nearbyint(number) || fabs(number) > 0x1p53))) {
		char got[40];
		snprintf(got, sizeof(got), "%.10g", number);
		return value_error(param, value, err, got);
	}
	if (param->type == MMQ_P_INTS || param->type == MMQ_P_NUMBERS) {
		if (value->list_count == LIST_MAX)
			return value_error(param, value, err, "more than 64 entries");
		value->list[value->list_count++] = number;
		return 0;
	}
	value->is_number = true;
	value->number = number;
	value->integer = is_whole ? (int64_t)number : 0;
	return 0;
}

static int
take_choice(const struct mmq_param *param, struct value *value, const char *text, size_t size, struct mmq_err *err)
{
	bool is_text = param->type == MMQ_P_TEXT && size <= TEXT_MAX && memchr(text, '\0', size) == NULL;
	if (!is_text && ((param->type != MMQ_P_ENUM && param->type != MMQ_P_NUMBER_OR_ENUM) || !list_has(param->choices, '|', text, size))) {
		char got[64];
		snprintf(got, sizeof(got), "'%.*s'", (int)(size < 48 ? size : 48), text);
		return value_error(param, value, err, got);
	}
	value->choice = mmq_strndup(text, size);
	return 0;
}

/* One word of text as a number. */
static bool
text_number(const char *text, double *number_out)
{
	char *end;
	*number_out = strtod(text, &end);
	return end != text && *end == '\0' && !isspace((unsigned char)*text);
}

static int
take_text(const struct mmq_param *param, struct value *value, const char *text, struct mmq_err *err)
{
	double number;
	if (param->type == MMQ_P_INTS || param->type == MMQ_P_NUMBERS) {
		char *copy = mmq_strdup(text), *rest = NULL;
		int rc = 0;
		for (char *word = strtok_r(copy, " ,", &rest); word != NULL && rc == 0; word = strtok_r(NULL, " ,", &rest))
			rc = text_number(word, &number) ? take_number(param, value, number, err) : value_error(param, value, err, text);
		free(copy);
		return rc;
	}
	if (param->type == MMQ_P_BOOL) {
		bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
		if (!yes && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
			return value_error(param, value, err, text);
		value->boolean = yes;
		return 0;
	}
	if (param->type != MMQ_P_ENUM && param->type != MMQ_P_TEXT && text_number(text, &number))
		return take_number(param, value, number, err);
	return take_choice(param, value, text, strlen(text), err);
}

static int
take_token(const struct mmq_param *param, struct value *value, struct mmq_reader *map, struct mmq_err *err)
{
	struct mmq_token token;
	if (!mmq_read(map, &token))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params", "a msgpack map", "%s", map->why != NULL ? map->why : "its end");
	bool is_list = param->type == MMQ_P_INTS || param->type == MMQ_P_NUMBERS;
	if (token.type == MMQ_T_ARRAY && is_list) {
		for (uint32_t k = 0; k < token.size; k++) {
			struct mmq_token entry;
			if (!mmq_read(map, &entry) || (entry.type != MMQ_T_INT && entry.type != MMQ_T_UINT && entry.type != MMQ_T_FLOAT))
				return value_error(param, value, err, map->why != NULL ? map->why : mmq_type_name(entry.type));
			if (take_number(param, value, entry.f, err) == -1)
				return -1;
		}
		return 0;
	}
	if (token.type == MMQ_T_INT || token.type == MMQ_T_UINT || token.type == MMQ_T_FLOAT)
		return take_number(param, value, token.f, err);
	if (token.type == MMQ_T_STR)
		return take_choice(param, value, token.bytes, token.size, err);
	if (token.type == MMQ_T_BOOL && param->type == MMQ_P_BOOL) {
		value->boolean = token.boolean;
		return 0;
	}
	return value_error(param, value, err, mmq_type_name(token.type));
}

/* Find the parameter that a user means and note that it was given. NULL and err: unknown, or given twice. */
static struct value *
claim(struct mmq_params *params, const char *name, size_t size, struct mmq_err *err)
{
	for (size_t k = 0; k < params->count; k++) {
		struct value *value = &params->values[k];
		if (!is_named(&params->table[k], name, size))
			continue;
		if (value->is_set) {
			char field[96];
			snprintf(field, sizeof(field), "params.%.*s", (int)size, name);
			mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, "one value for the parameter", "'%s' as well", value->given);
			return NULL;
		}
		value->is_set = true;
		value->list_count = 0;
		free(value->choice);
		value->choice = NULL;
		value->is_number = false;
		snprintf(value->given, sizeof(value->given), "%.*s", (int)size, name);
		return value;
	}
	unknown_error(params, name, size, err);
	return NULL;
}

static struct mmq_params *
params_new(const struct mmq_param *table)
{
	struct mmq_params *params = mmq_alloc(sizeof(*params));
	params->table = table;
	while (table[params->count].name != NULL)
		params->count++;
	params->values = mmq_array(params->count + 1, sizeof(*params->values));
	for (size_t k = 0; k < params->count; k++) {
		int rc = take_text(&table[k], &params->values[k], table[k].def, NULL);
		assert(rc == 0 && "a parameter table's default is outside its own range");
		(void)rc;
	}
	return params;
}

int
mmq_params_read(struct mmq_params **params_out, const struct mmq_param *table, struct mmq_reader *map, struct mmq_err *err)
{
	struct mmq_params *params = params_new(table);
	struct mmq_token token, key;
	*params_out = NULL;
	if (map == NULL) {
		*params_out = params;
		return 0;
	}
	if (!mmq_read(map, &token) || token.type != MMQ_T_MAP) {
		mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params", "a map of name to value", "%s", map->why != NULL ? map->why :
		    mmq_type_name(token.type));
		goto fail;
	}
	for (uint32_t k = 0; k < token.size; k++) {
		if (!mmq_read(map, &key) || key.type != MMQ_T_STR) {
			mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params", "names as strings", "%s", map->why != NULL ? map->why :
			    mmq_type_name(key.type));
			goto fail;
		}
		struct value *value = claim(params, key.bytes, key.size, err);
		if (value == NULL || take_token(&table[value - params->values], value, map, err) == -1)
			goto fail;
	}
	*params_out = params;
	return 0;
fail:
	mmq_params_destroy(&params);
	return -1;
}

int
mmq_params_parse(struct mmq_params **params_out, const struct mmq_param *table, const char *const *settings, size_t count, struct mmq_err *err)
{
	struct mmq_params *params = params_new(table);
	*params_out = NULL;
	for (size_t k = 0; k < count; k++) {
		const char *equals = strchr(settings[k], '=');
		if (equals == NULL) {
			mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params", "name=value", "'%.40s'", settings[k]);
			goto fail;
		}
		struct value *value = claim(params, settings[k], (size_t)(equals - settings[k]), err);
		if (value == NULL || take_text(&table[value - params->values], value, equals + 1, err) == -1)
			goto fail;
	}
	*params_out = params;
	return 0;
fail:
	mmq_params_destroy(&params);
	return -1;
}

void
mmq_params_destroy(struct mmq_params **params)
{
	if (*params == NULL)
		return;
	for (size_t k = 0; k < (*params)->count; k++)
		free((*params)->values[k].choice);
	free((*params)->values);
	free(*params);
	*params = NULL;
}

static const struct value *
value_of(const struct mmq_params *params, const char *name, unsigned types)
{
	for (size_t k = 0; k < params->count; k++) {
		if (strcmp(params->table[k].name, name) == 0) {
			assert((types & 1u << params->table[k].type) != 0 && "parameter asked for as another type");
			return &params->values[k];
		}
	}
	assert(!"parameter is not in the engine's table");
	return NULL;
}

bool
mmq_params_bool(const struct mmq_params *params, const char *name)
{
	return value_of(params, name, 1u << MMQ_P_BOOL)->boolean;
}

int64_t
mmq_params_int(const struct mmq_params *params, const char *name)
{
	return value_of(params, name, 1u << MMQ_P_INT)->integer;
}

double
mmq_params_number(const struct mmq_params *params, const char *name)
{
	const struct value *value = value_of(params, name, 1u << MMQ_P_NUMBER | 1u << MMQ_P_INT | 1u << MMQ_P_NUMBER_OR_ENUM);
	assert(value->is_number && "a word was given: ask mmq_params_is_number first");
	return value->number;
}

bool
mmq_params_is_number(const struct mmq_params *params, const char *name)
{
	return value_of(params, name, 1u << MMQ_P_NUMBER_OR_ENUM)->is_number;
}

const char *
mmq_params_choice(const struct mmq_params *params, const char *name)
{
	const struct value *value = value_of(params, name, 1u << MMQ_P_ENUM | 1u << MMQ_P_TEXT | 1u << MMQ_P_NUMBER_OR_ENUM);
	assert(value->choice != NULL && "a number was given: ask mmq_params_is_number first");
	return value->choice;
}

const double *
mmq_params_list(const struct mmq_params *params, const char *name, size_t *count_out)
{
	const struct value *value = value_of(params, name, 1u << MMQ_P_INTS | 1u << MMQ_P_NUMBERS);
	*count_out = value->list_count;
	return value->list;
}

bool
mmq_params_is_set(const struct mmq_params *params, const char *name)
{
	return value_of(params, name, ~0u)->is_set;
}

void
mmq_params_write(const struct mmq_params *params, struct mmq_buf *out)
{
	mmq_put_map(out, params->count);
	for (size_t k = 0; k < params->count; k++) {
		const struct mmq_param *param = &params->table[k];
		const struct value *value = &params->values[k];
		mmq_put_str(out, param->name);
		if (param->type == MMQ_P_BOOL) {
			mmq_put_bool(out, value->boolean);
		} else if (param->type == MMQ_P_INT) {
			mmq_put_int(out, value->integer);
		} else if (param->type == MMQ_P_INTS) {
			mmq_put_array(out, value->list_count);
			for (size_t i = 0; i < value->list_count; i++)
				mmq_put_int(out, (int64_t)value->list[i]);
		} else if (param->type == MMQ_P_NUMBERS) {
			mmq_put_doubles(out, value->list, value->list_count);
		} else if (value->choice != NULL) {
			mmq_put_str(out, value->choice);
		} else {
			mmq_put_double(out, value->number);
		}
	}
}
