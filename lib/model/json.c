/* json.c: both ways through jansson's tree, with a stack of bounded depth instead of recursion. */
#include "model/json.h"

#include <jansson.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "mpack/reader.h"
#include "mpack/writer.h"
#include "util/mem.h"

static int
append_text(const char *bytes, size_t size, void *arg)
{
	mmq_buf_append(arg, bytes, size);
	return 0;
}

static json_t *
scalar(const struct mmq_token *token)
{
	switch (token->type) {
	case MMQ_T_BOOL: return json_boolean(token->boolean);
	case MMQ_T_INT: return json_integer(token->i);
	case MMQ_T_UINT: return json_real(token->f);
	case MMQ_T_FLOAT: return isfinite(token->f) ? json_real(token->f) : json_null();
	case MMQ_T_STR: return json_stringn(token->bytes, token->size);
	case MMQ_T_ARRAY: return json_array();
	case MMQ_T_MAP: return json_object();
	case MMQ_T_BIN: {
		char *hex = mmq_alloc((size_t)token->size * 2 + 1);
		sodium_bin2hex(hex, (size_t)token->size * 2 + 1, (const unsigned char *)token->bytes, token->size);
		json_t *text = json_string(hex);
		free(hex);
		return text;
	}
	default: return json_null();
	}
}

/* A container that is being filled. */
struct level {
	json_t *value;
	uint32_t left;
};

static bool
put_child(struct level *level, const struct mmq_token *key, json_t *child)
{
	if (json_is_array(level->value))
		return json_array_append_new(level->value, child) == 0;
	char *name = mmq_strndup(key->bytes, key->size);
	bool ok = strlen(name) == key->size && json_object_set_new(level->value, name, child) == 0;
	free(name);
	return ok;
}

static json_t *
to_tree(struct mmq_reader *reader)
{
	struct level levels[MMQ_WIRE_DEPTH_MAX + 1];
	struct mmq_token token, key = { .type = MMQ_T_NONE };
	int depth = 0;

	if (!mmq_read(reader, &token))
		return NULL;
	levels[0] = (struct level){ scalar(&token), token.type == MMQ_T_ARRAY || token.type == MMQ_T_MAP ? token.size : 0 };
	json_t *root = levels[0].value;
	while (depth >= 0) {
		struct level *level = &levels[depth];
		if (level->left == 0) {
			depth--;
			continue;
		}
		level->left--;
		bool ok = !json_is_object(level->value) || (mmq_read(reader, &key) && key.type == MMQ_T_STR);
		ok = ok && mmq_read(reader, &token);
		json_t *child = ok ? scalar(&token) : NULL;
		if (child == NULL || !put_child(level, &key, child)) {
			json_decref(root);
			return NULL;
		}
		if (token.type == MMQ_T_ARRAY || token.type == MMQ_T_MAP) {
			if (depth == MMQ_WIRE_DEPTH_MAX) {
				json_decref(root);
				return NULL;
			}
			levels[++depth] = (struct level){ child, token.size };
		}
	}
	return root;
}

int
mmq_json_encode(const void *msgpack, size_t size, struct mmq_buf *text_out, struct mmq_err *err)
{
	struct mmq_reader reader;

	mmq_reader_init(&reader, msgpack, size);
	json_t *root = to_tree(&reader);
	if (root == NULL || !mmq_reader_is_done(&reader)) {
		json_decref(root);
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "not a msgpack value that JSON can say");
	}
	json_dump_callback(root, append_text, text_out, JSON_INDENT(1) | JSON_ENCODE_ANY);
	json_decref(root);
	return text_out->failed ? mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "JSON text is larger than %zu bytes", text_out->bytes_max) : 0;
}

/* A scalar, or the head of a container. */
static void
put_head(struct mmq_buf *out, const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT: mmq_put_map(out, json_object_size(value)); break;
	case JSON_ARRAY: mmq_put_array(out, json_array_size(value)); break;
	case JSON_STRING: mmq_put_strn(out, json_string_value(value), json_string_length(value)); break;
	case JSON_INTEGER: mmq_put_int(out, json_integer_value(value)); break;
	case JSON_REAL: mmq_put_double(out, json_real_value(value)); break;
	case JSON_TRUE: mmq_put_bool(out, true); break;
	case JSON_FALSE: mmq_put_bool(out, false); break;
	case JSON_NULL: mmq_put_nil(out); break;
	}
}

struct place {
	json_t *value;
	void *iter;       /* objects */
	size_t index;     /* arrays */
};

/* The next element of the container, its key already written; NULL: no more. */
static json_t *
step(struct mmq_buf *out, struct place *place)
{
	if (json_is_array(place->value))
		return json_array_get(place->value, place->index++);
	if (place->iter == NULL)
		return NULL;
	json_t *child = json_object_iter_value(place->iter);
	mmq_put_str(out, json_object_iter_key(place->iter));
	place->iter = json_object_iter_next(place->value, place->iter);
	return child;
}

int
mmq_json_decode(const void *text, size_t size, struct mmq_buf *out, struct mmq_err *err)
{
	struct place places[MMQ_WIRE_DEPTH_MAX + 1];
	json_error_t why;
	json_t *root = json_loadb(text, size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
	int depth = 0, result = 0;

	if (root == NULL)
		return mmq_err_set(err, MMQ_DATA_LOSS, "not readable as JSON: %s (line %d)", why.text, why.line);
	put_head(out, root);
	places[0] = (struct place){ root, json_is_object(root) ? json_object_iter(root) : NULL, 0 };
	while (depth >= 0) {
		json_t *child = step(out, &places[depth]);
		if (child == NULL) {
			depth--;
			continue;
		}
		put_head(out, child);
		if (!json_is_object(child) && !json_is_array(child))
			continue;
		if (depth == MMQ_WIRE_DEPTH_MAX) {
			result = mmq_err_set(err, MMQ_DATA_LOSS, "JSON is nested deeper than %d", MMQ_WIRE_DEPTH_MAX);
			break;
		}
		places[++depth] = (struct place){ child, json_is_object(child) ? json_object_iter(child) : NULL, 0 };
	}
	json_decref(root);
	if (result == 0 && out->failed)
		result = mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "the message is larger than %zu bytes", out->bytes_max);
	return result;
}
