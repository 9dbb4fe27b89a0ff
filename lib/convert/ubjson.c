/* ubjson.c: one value after the other from a cursor; nested containers are kept on a small stack, not on the C stack. Every value of a
 * typed array takes at least a byte of the input, so nothing grows beyond a fixed multiple of it. */
#include "convert/ubjson.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

struct cursor {
	const uint8_t *bytes;
	size_t at, size;
	struct mmq_err *err;
};

struct level {
	json_t *value;          /* array or object; owned by the one below, or by the caller */
	bool is_object, is_counted;
	uint64_t left;          /* counted: values to come */
	uint8_t type;           /* 0: each value brings its own */
};

static int
fail(const struct cursor *cursor, const char *what)
{
	return mmq_err_set(cursor->err, MMQ_DATA_LOSS, "UBJSON, byte %zu: %s", cursor->at, what);
}

static size_t
bytes_of(uint8_t type)
{
	switch (type) {
	case 'i': case 'U': case 'C': return 1;
	case 'I': return 2;
	case 'l': case 'd': return 4;
	case 'L': case 'D': return 8;
	default: return 0;
	}
}

static int
take_type(struct cursor *cursor, uint8_t *type)
{
	do {
		if (cursor->at >= cursor->size)
			return fail(cursor, "the data ends early");
		*type = cursor->bytes[cursor->at++];
	} while (*type == 'N');
	return 0;
}

/* Big-endian bits of a number. */
static int
take_bits(struct cursor *cursor, uint8_t type, uint64_t *bits)
{
	size_t n = bytes_of(type);
	if (n == 0)
		return fail(cursor, "a value of unknown type");
	if (cursor->size - cursor->at < n)
		return fail(cursor, "the data ends early");
	*bits = 0;
	for (size_t k = 0; k < n; k++)
		*bits = *bits << 8 | cursor->bytes[cursor->at++];
	return 0;
}

static int64_t
integer_of(uint8_t type, uint64_t bits)
{
	return type == 'i' ? (int8_t)bits : type == 'I' ? (int16_t)bits : type == 'l' ? (int32_t)bits : (int64_t)bits;
}

static int
take_length(struct cursor *cursor, uint64_t *length)
{
	uint8_t type;
	uint64_t bits;
	if (take_type(cursor, &type) == -1)
		return -1;
	if (type == 'd' || type == 'D' || type == 'C')
		return fail(cursor, "a length that is no integer");
	if (take_bits(cursor, type, &bits) == -1)
		return -1;
	if (integer_of(type, bits) < 0 || (uint64_t)integer_of(type, bits) > cursor->size - cursor->at)
		return fail(cursor, "a length beyond the end of the data");
	*length = (uint64_t)integer_of(type, bits);
	return 0;
}

static json_t *
take_text(struct cursor *cursor)
{
	uint64_t length;
	if (take_length(cursor, &length) == -1)
		return NULL;
	json_t *text = json_stringn((const char *)cursor->bytes + cursor->at, length);
	cursor->at += length;
	if (text == NULL)
		fail(cursor, "a text that is not UTF-8");
	return text;
}

static json_t *
take_scalar(struct cursor *cursor, uint8_t type)
{
	uint64_t bits;
	float single;
	double number;
	if (type == 'Z')
		return json_null();
	if (type == 'T' || type == 'F')
		return json_boolean(type == 'T');
	if (type == 'S' || type == 'H')
		return take_text(cursor);
	if (take_bits(cursor, type, &bits) == -1)
		return NULL;
	if (type == 'd') {
		uint32_t half = (uint32_t)bits;
		memcpy(&single, &half, sizeof(single));
		number = (double)single;
	} else if (type == 'D') {
		memcpy(&number, &bits, sizeof(number));
	} else {
		return json_integer(integer_of(type, bits));
	}
	json_t *value = json_real(number);
	if (value == NULL)
		fail(cursor, "a number that is not finite");
	return value;
}

/* The optional $type and #count after [ or {. */
static int
open_level(struct cursor *cursor, struct level *level)
{
	if (cursor->at < cursor->size && cursor->bytes[cursor->at] == '$') {
		cursor->at++;
		if (take_type(cursor, &level->type) == -1)
			return -1;
		if (bytes_of(level->type) == 0 && level->type != 'S' && level->type != '[' && level->type != '{')
			return fail(cursor, "a container of values that take no room");
		if (cursor->at >= cursor->size || cursor->bytes[cursor->at] != '#')
			return fail(cursor, "a typed container without a count");
	}
	if (cursor->at < cursor->size && cursor->bytes[cursor->at] == '#') {
		cursor->at++;
		level->is_counted = true;
		if (take_length(cursor, &level->left) == -1)
			return -1;
		if (level->left * (bytes_of(level->type) > 0 ? bytes_of(level->type) : 1) > cursor->size - cursor->at)
			return fail(cursor, "a count beyond the end of the data");
	}
	return 0;
}

/* True when the container has ended; its end mark is taken. */
static bool
is_over(struct cursor *cursor, struct level *level)
{
	if (level->is_counted)
		return level->left-- == 0;
	while (cursor->at < cursor->size && cursor->bytes[cursor->at] == 'N')
		cursor->at++;
	if (cursor->at >= cursor->size || cursor->bytes[cursor->at] != (level->is_object ? '}' : ']'))
		return false;
	cursor->at++;
	return true;
}

/* One value into its container (or the root); containers are pushed. */
static int
take_value(struct cursor *cursor, struct level *stack, size_t *depth, json_t **root)
{
	struct level *top = *depth > 0 ? &stack[*depth - 1] : NULL;
	json_t *key = NULL, *value = NULL;
	uint8_t type = top != NULL ? top->type : 0;
	int result = -1;

	if (top != NULL && top->is_object && (key = take_text(cursor)) == NULL)
		return -1;
	if (type == 0 && take_type(cursor, &type) == -1)
		goto out;
	bool is_container = type == '[' || type == '{';
	value = is_container ? (type == '[' ? json_array() : json_object()) : take_scalar(cursor, type);
	if (value == NULL)
		goto out;
	if (is_container && *depth == DEPTH_MAX) {
		fail(cursor, "nested too deep");
		json_decref(value);
		goto out;
	}
	if (top == NULL)
		*root = value;
	else if (top->is_object ? json_object_setn_new(top->value, json_string_value(key), json_string_length(key), value) == -1 :
	    json_array_append_new(top->value, value) == -1) {
		fail(cursor, "a key or value that cannot be kept");
		goto out;
	}
	result = 0;
	if (is_container) {
		stack[*depth] = (struct level){ .value = value, .is_object = type == '{' };
		result = open_level(cursor, &stack[(*depth)++]);
	}
out:
	json_decref(key);
	return result;
}

json_t *
mmq_ubjson_read(const void *bytes, size_t size, struct mmq_err *err)
{
	struct cursor cursor = { .bytes = bytes, .size = size, .err = err };
	struct level stack[DEPTH_MAX];
	json_t *root = NULL;
	size_t depth = 0;
	int result = take_value(&cursor, stack, &depth, &root);

	while (result == 0 && depth > 0) {
		if (is_over(&cursor, &stack[depth - 1]))
			depth--;
		else
			result = take_value(&cursor, stack, &depth, &root);
	}
	if (result == 0 && cursor.at != size)
		result = fail(&cursor, "something follows the value");
	if (result == -1) {
		json_decref(root);
		root = NULL;
	}
	return root;
}
