/* reader.h: a bounded cursor over msgpack bytes. It never builds an object tree and never allocates.
 *
 * Key idea: one token at a time, every announced count and length is checked against the bytes that are really
 * left before it is believed, and nesting is walked with a counter, not with recursion. Text and binary point into
 * the message. The first error sticks: later reads fail too, so that callers may check once. */
#ifndef MMQ_MPACK_READER_H
#define MMQ_MPACK_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

enum mmq_type { MMQ_T_NONE, MMQ_T_NIL, MMQ_T_BOOL, MMQ_T_INT, MMQ_T_UINT, MMQ_T_FLOAT, MMQ_T_STR, MMQ_T_BIN, MMQ_T_ARRAY, MMQ_T_MAP, MMQ_T_EXT };

enum { MMQ_WIRE_DEPTH_MAX = 16, MMQ_WIRE_TEXT_MAX = 1 << 20 };

struct mmq_token {
	enum mmq_type type;      /* MMQ_T_UINT only for integers above INT64_MAX */
	bool boolean;
	int8_t ext_type;
	int64_t i;               /* MMQ_T_INT */
	uint64_t u;              /* MMQ_T_UINT */
	double f;                /* MMQ_T_FLOAT, and the rounded value of MMQ_T_INT and MMQ_T_UINT */
	const char *bytes;       /* STR, BIN, EXT: points into the message, not NUL-terminated */
	uint32_t size;           /* STR, BIN, EXT: bytes; ARRAY: elements; MAP: pairs */
};

struct mmq_reader {
	const uint8_t *start, *at, *end;
	const char *why;         /* NULL until something failed; then a constant sentence */
};

void mmq_reader_init(struct mmq_reader *reader, const void *bytes, size_t size);
bool mmq_reader_is_done(const struct mmq_reader *reader);              /* all bytes were read and nothing failed */

enum mmq_type mmq_read_peek(const struct mmq_reader *reader);          /* the next token's type; MMQ_T_NONE at the end or on junk */
bool mmq_read(struct mmq_reader *reader, struct mmq_token *token_out); /* next token; for ARRAY and MAP the elements follow */
bool mmq_read_skip(struct mmq_reader *reader);                         /* pass over one whole value, depth <= MMQ_WIRE_DEPTH_MAX */
bool mmq_read_is(const struct mmq_token *token, const char *text);     /* token is a STR equal to text */

/* One whole value as a byte range of the message (for copying or hashing it unread). */
bool mmq_read_raw(struct mmq_reader *reader, const uint8_t **bytes_out, size_t *size_out);
/* The same for bytes not yet trusted, as mmq_wire_check does it: `open` containers around the value count towards the depth limit, and
 * text must be valid UTF-8. */
bool mmq_read_raw_checked(struct mmq_reader *reader, unsigned open, const uint8_t **bytes_out, size_t *size_out);

/* Walk bytes once: exactly one well-formed value, depth and lengths within limits, text in valid UTF-8, nothing after it.
 * -1 with INVALID_ARGUMENT otherwise. After this, reads of the same bytes cannot fail on structure. */
int mmq_wire_check(const void *bytes, size_t size, struct mmq_err *err);

const char *mmq_type_name(enum mmq_type type);                         /* "map", "string", ... for error texts */
bool mmq_utf8_is_valid(const char *text, size_t size);

#endif
