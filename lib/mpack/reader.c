/* reader.c: the msgpack cursor. Format: the msgpack specification's table of first bytes. */
#include "mpack/reader.h"

#include <string.h>

static uint64_t
big_endian(const uint8_t *at, unsigned width)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < width; i++)
		value = value << 8 | at[i];
	return value;
}

static bool
fail(struct mmq_reader *reader, const char *why)
{
	if (reader->why == NULL)
		reader->why = why;
	return false;
}

void
mmq_reader_init(struct mmq_reader *reader, const void *bytes, size_t size)
{
	*reader = (struct mmq_reader){ .start = bytes, .at = bytes, .end = (const uint8_t *)bytes + size };
}

bool
mmq_reader_is_done(const struct mmq_reader *reader)
{
	return reader->why == NULL && reader->at == reader->end;
}

enum mmq_type
mmq_read_peek(const struct mmq_reader *reader)
{
	struct mmq_reader ahead = *reader;
	struct mmq_token token;
	return mmq_read(&ahead, &token) ? token.type : MMQ_T_NONE;
}

/* The `width` bytes after the first one, big-endian; false when the message ends before. */
static bool
take(struct mmq_reader *reader, unsigned width, uint64_t *value_out)
{
	if ((size_t)(reader->end - reader->at) < width)
		return fail(reader, "the message is truncated");
	*value_out = big_endian(reader->at, width);
	reader->at += width;
	return true;
}

static bool
take_bytes(struct mmq_reader *reader, enum mmq_type type, uint64_t size, struct mmq_token *token)
{
	if (size > (uint64_t)(reader->end - reader->at))
		return fail(reader, "a string or binary announces more bytes than the message holds");
	if (type == MMQ_T_STR && size > MMQ_WIRE_TEXT_MAX)
		return fail(reader, "a string is longer than 1 MiB");
	token->type = type;
	token->bytes = (const char *)reader->at;
	token->size = (uint32_t)size;
	reader->at += size;
	return true;
}

static bool
take_container(struct mmq_reader *reader, enum mmq_type type, uint64_t count, struct mmq_token *token)
{
	/* Every element is at least one byte, so a count above the bytes left is a lie: refuse before anyone allocates. */
	uint64_t bytes_least = type == MMQ_T_MAP ? count * 2 : count;
	if (bytes_least > (uint64_t)(reader->end - reader->at))
		return fail(reader, "an array or map announces more elements than the message holds");
	token->type = type;
	token->size = (uint32_t)count;
	return true;
}

static bool
give_int(struct mmq_token *token, int64_t value)
{
	token->type = MMQ_T_INT;
	token->i = value;
	token->f = (double)value;
	return true;
}

static bool
give_uint(struct mmq_token *token, uint64_t value)
{
	if (value <= INT64_MAX)
		return give_int(token, (int64_t)value);
	token->type = MMQ_T_UINT;
	token->u = value;
	token->f = (double)value;
	return true;
}

static bool
give_float(struct mmq_token *token, uint64_t bits, unsigned width)
{
	token->type = MMQ_T_FLOAT;
	if (width == 4) {
		uint32_t low = (uint32_t)bits;
		float single;
		memcpy(&single, &low, sizeof(single));
		token->f = (double)single;
	} else {
		memcpy(&token->f, &bits, sizeof(token->f));
	}
	return true;
}

static bool
take_ext(struct mmq_reader *reader, uint64_t size, struct mmq_token *token)
{
	uint64_t kind;
	if (!take(reader, 1, &kind))
		return false;
	token->ext_type = (int8_t)kind;
	return take_bytes(reader, MMQ_T_EXT, size, token);
}

bool
mmq_read(struct mmq_reader *reader, struct mmq_token *token)
{
	static const uint8_t widths[4] = { 1, 2, 4, 8 };
	uint64_t value;
	unsigned first;

	token->type = MMQ_T_NONE;
	if (reader->why != NULL)
		return false;
	if (reader->at == reader->end)
		return fail(reader, "the message is truncated");
	first = *reader->at++;
	if (first < 0x80)
		return give_int(token, (int64_t)first);
	if (first < 0x90)
		return take_container(reader, MMQ_T_MAP, first & 15, token);
	if (first < 0xa0)
		return take_container(reader, MMQ_T_ARRAY, first & 15, token);
	if (first < 0xc0)
		return take_bytes(reader, MMQ_T_STR, first & 31, token);
	if (first >= 0xe0)
		return give_int(token, (int64_t)(int8_t)first);
	switch (first) {
	case 0xc0:
		token->type = MMQ_T_NIL;
		return true;
	case 0xc2:
	case 0xc3:
		token->type = MMQ_T_BOOL;
		token->boolean = first == 0xc3;
		return true;
	case 0xc4: case 0xc5: case 0xc6:
		return take(reader, widths[first - 0xc4], &value) && take_bytes(reader, MMQ_T_BIN, value, token);
	case 0xc7: case 0xc8: case 0xc9:
		return take(reader, widths[first - 0xc7], &value) && take_ext(reader, value, token);
	case 0xca:
		return take(reader, 4, &value) && give_float(token, value, 4);
	case 0xcb:
		return take(reader, 8, &value) && give_float(token, value, 8);
	case 0xcc: case 0xcd: case 0xce: case 0xcf:
		return take(reader, widths[first - 0xcc], &value) && give_uint(token, value);
	case 0xd0: case 0xd1: case 0xd2: case 0xd3: {
		unsigned width = widths[first - 0xd0];
		if (!take(reader, width, &value))
			return false;
		unsigned unused_bits = 64 - 8 * width;
		return give_int(token, (int64_t)(value << unused_bits) >> unused_bits);
	}
	case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8:
		return take_ext(reader, (uint64_t)1 << (first - 0xd4), token);
	case 0xd9: case 0xda: case 0xdb:
		return take(reader, widths[first - 0xd9], &value) && take_bytes(reader, MMQ_T_STR, value, token);
	case 0xdc: case 0xdd:
		return take(reader, first == 0xdc ? 2 : 4, &value) && take_container(reader, MMQ_T_ARRAY, value, token);
	case 0xde: case 0xdf:
		return take(reader, first == 0xde ? 2 : 4, &value) && take_container(reader, MMQ_T_MAP, value, token);
	default:
		return fail(reader, "byte 0xc1 is not msgpack");
	}
}

/* Doubles, small integers, nil and booleans, which rows are full of, are passed without making tokens of them.
 * Returns how many of `left` values remain. */
static uint64_t
pass_scalars(struct mmq_reader *reader, uint64_t left)
{
	const uint8_t *at = reader->at, *end = reader->end;

	for (; left > 0 && at < end && reader->why == NULL; left--) {
		if (*at == 0xcb && end - at >= 9)
			at += 9;
		else if (*at < 0x80 || *at >= 0xe0 || *at == 0xc0 || *at == 0xc2 || *at == 0xc3)
			at++;
		else
			break;
	}
	reader->at = at;
	return left;
}

/* Pass over one value inside `open` containers; with check_text also hold strings to UTF-8. */
static bool
walk(struct mmq_reader *reader, unsigned open, bool check_text)
{
	uint64_t left[MMQ_WIRE_DEPTH_MAX + 1];  /* values still to read at each depth */
	int depth_max = MMQ_WIRE_DEPTH_MAX - (int)open;
	int depth = 0;
	struct mmq_token token;

	left[0] = 1;
	while (depth >= 0) {
		left[depth] = pass_scalars(reader, left[depth]);
		if (left[depth] == 0) {
			depth--;
			continue;
		}
		left[depth]--;
		if (!mmq_read(reader, &token))
			return false;
		if (check_text && token.type == MMQ_T_STR && !mmq_utf8_is_valid(token.bytes, token.size))
			return fail(reader, "a string is not valid UTF-8");
		if (token.type == MMQ_T_ARRAY || token.type == MMQ_T_MAP) {
			if (depth >= depth_max)
				return fail(reader, "nesting is deeper than 16");
			left[++depth] = token.type == MMQ_T_MAP ? (uint64_t)token.size * 2 : token.size;
		}
	}
	return true;
}

bool
mmq_read_skip(struct mmq_reader *reader)
{
	return walk(reader, 0, false);
}

bool
mmq_read_raw(struct mmq_reader *reader, const uint8_t **bytes_out, size_t *size_out)
{
	const uint8_t *from = reader->at;
	if (!mmq_read_skip(reader))
		return false;
	*bytes_out = from;
	*size_out = (size_t)(reader->at - from);
	return true;
}

/* How long the next value is if it is one of those that headers are made of and lies within the message: a short text, a binary, a
 * small integer, nil or a boolean. 0: look closely. */
static size_t
plain_size(const struct mmq_reader *reader)
{
	size_t left = (size_t)(reader->end - reader->at), size;
	uint8_t first;

	if (reader->why != NULL || left == 0)
		return 0;
	first = *reader->at;
	if (first < 0x80 || first >= 0xe0 || first == 0xc0 || first == 0xc2 || first == 0xc3)
		return 1;
	if (first >= 0xa0 && first < 0xc0) {
		size = 1 + (first & 31u);
		return size <= left && mmq_utf8_is_valid((const char *)reader->at + 1, size - 1) ? size : 0;
	}
	size = first == 0xc4 && left >= 2 ? 2 + (size_t)reader->at[1] : first == 0xc5 && left >= 3 ? 3 + ((size_t)reader->at[1] << 8 | reader->at[2]) : 0;
	return size <= left ? size : 0;
}

bool
mmq_read_raw_checked(struct mmq_reader *reader, unsigned open, const uint8_t **bytes_out, size_t *size_out)
{
	const uint8_t *from = reader->at;
	size_t plain = plain_size(reader);

	if (plain > 0)
		reader->at += plain;
	else if (!walk(reader, open, true))
		return false;
	*bytes_out = from;
	*size_out = (size_t)(reader->at - from);
	return true;
}

bool
mmq_read_is(const struct mmq_token *token, const char *text)
{
	size_t size = strlen(text);
	return token->type == MMQ_T_STR && token->size == size && memcmp(token->bytes, text, size) == 0;
}

int
mmq_wire_check(const void *bytes, size_t size, struct mmq_err *err)
{
	struct mmq_reader reader;

	mmq_reader_init(&reader, bytes, size);
	if (!walk(&reader, 0, true))
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "not a readable msgpack message: %s (byte %zu of %zu)", reader.why,
		    (size_t)(reader.at - reader.start), size);
	if (reader.at != reader.end)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "not a readable msgpack message: %zu bytes after its end",
		    (size_t)(reader.end - reader.at));
	return 0;
}

const char *
mmq_type_name(enum mmq_type type)
{
	static const char *const names[] = { "nothing", "nil", "a bool", "an integer", "an integer", "a float", "a string", "binary",
		"an array", "a map", "an extension type" };
	return names[type];
}

/* UTF-8 as in RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool
mmq_utf8_is_valid(const char *text, size_t size)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + size;
	uint64_t eight;

	while (at < end) {
		/* Most text is ASCII: eight bytes at once, none of them with its high bit set. */
		if (end - at >= 8 && (memcpy(&eight, at, 8), (eight & 0x8080808080808080u) == 0)) {
			at += 8;
			continue;
		}
		uint8_t first = *at++;
		if (first < 0x80)
			continue;
		unsigned more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
		if (first < 0xc2 || first > 0xf4 || (size_t)(end - at) < more)
			return false;
		uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
		uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
		if (at[0] < low || at[0] > high)
			return false;
		for (unsigned i = 1; i < more; i++)
			if ((at[i] & 0xc0) != 0x80)
				return false;
		at += more;
	}
	return true;
}
