/* xgboost_cats.c: the values behind category codes, which XGBoost 3 keeps in a model ("cats"): for each feature nothing, or texts as one string of
 * bytes with offsets, or numbers. Code k is the k-th of them. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/xgboost.h"
#include "util/mem.h"

static int
fail(struct mmq_err *err, size_t f, const char *what)
{
	return mmq_err_set(err, MMQ_DATA_LOSS, "XGBoost model: categories of feature %zu: %s", f, what);
}

/* Bytes [from, to) of a list of numbers as text; NULL: they are no bytes. In UBJSON they may be signed. */
static char *
text_of(const json_t *bytes, size_t from, size_t to)
{
	char *text = mmq_alloc(to - from + 1);
	for (size_t i = from; i < to; i++) {
		json_int_t byte = json_integer_value(json_array_get(bytes, i));
		if (!json_is_integer(json_array_get(bytes, i)) || byte < -128 || byte > 255 || byte == 0) {
			free(text);
			return NULL;
		}
		text[i - from] = (char)byte;
	}
	return text;
}

static int
read_texts(struct mmq_import *import, size_t f, const json_t *offsets, const json_t *bytes, struct mmq_err *err)
{
	size_t count = json_array_size(offsets) - 1;
	import->values[f] = mmq_array(count + 1, sizeof(char *));
	for (size_t k = 0; k < count; k++) {
		json_int_t from = json_integer_value(json_array_get(offsets, k)), to = json_integer_value(json_array_get(offsets, k + 1));
		if (from < 0 || to < from || (size_t)to > json_array_size(bytes))
			return fail(err, f, "offsets do not rise within the bytes");
		if ((import->values[f][k] = text_of(bytes, (size_t)from, (size_t)to)) == NULL)
			return fail(err, f, "a value is not made of bytes");
		import->values_count[f] = k + 1;
	}
	return 0;
}

static int
read_numbers(struct mmq_import *import, size_t f, const json_t *numbers, struct mmq_err *err)
{
	size_t count = json_array_size(numbers);
	import->values[f] = mmq_array(count + 1, sizeof(char *));
	for (size_t k = 0; k < count; k++) {
		const json_t *number = json_array_get(numbers, k);
		char text[32];
		if (json_is_integer(number))
			snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(number));
		else if (json_is_real(number))
			snprintf(text, sizeof(text), "%.9g", json_real_value(number));
		else
			return fail(err, f, "a value is no number");
		import->values[f][k] = mmq_strdup(text);
		import->values_count[f] = k + 1;
	}
	return 0;
}

int
mmq_xgboost_read_cats(struct mmq_import *import, const json_t *coded, struct mmq_err *err)
{
	if (json_array_size(coded) == 0)
		return 0;
	if (json_array_size(coded) != import->features_count)
		return mmq_err_set(err, MMQ_DATA_LOSS, "XGBoost model: categories of %zu features, but it has %zu", json_array_size(coded),
		    import->features_count);
	for (size_t f = 0; f < import->features_count; f++) {
		const json_t *one = json_array_get(coded, f), *offsets = json_object_get(one, "offsets"), *values = json_object_get(one, "values");
		if (!json_is_array(values))
			return fail(err, f, "their values are absent");
		if (json_array_size(values) == 0 && json_array_size(offsets) < 2)
			continue;
		import->is_category[f] = true;
		if ((json_array_size(offsets) >= 2 ? read_texts(import, f, offsets, values, err) : read_numbers(import, f, values, err)) == -1)
			return -1;
	}
	return 0;
}
