/* want.h: read one msgpack value as what a field must be, or say which field, what came and what is wanted.
 *
 * Each function reads exactly one value at the reader's place. On a wrong type or range it fills err with INVALID_ARGUMENT
 * naming `field` and returns -1; the reader's place is then undefined. Texts point into the message. */
#ifndef MMQ_WIRE_WANT_H
#define MMQ_WIRE_WANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/frame.h"
#include "mpack/reader.h"
#include "util/err.h"
#include "util/name.h"

int mmq_want_bool(struct mmq_reader *reader, const char *field, bool *value_out, struct mmq_err *err);
int mmq_want_int(struct mmq_reader *reader, const char *field, int64_t min, int64_t max, int64_t *value_out, struct mmq_err *err);
int mmq_want_number(struct mmq_reader *reader, const char *field, double min, double max, double *value_out, struct mmq_err *err); /* finite; integers too */
int mmq_want_text(struct mmq_reader *reader, const char *field, size_t size_min, size_t size_max, struct mmq_text *text_out, struct mmq_err *err);
/* One of "first|second|third": *index_out counts from 0. */
int mmq_want_choice(struct mmq_reader *reader, const char *field, const char *choices, int *index_out, struct mmq_err *err);
/* A container: its element or pair count; the elements follow. */
int mmq_want_array(struct mmq_reader *reader, const char *field, size_t count_max, uint32_t *count_out, struct mmq_err *err);
int mmq_want_map(struct mmq_reader *reader, const char *field, uint32_t *pairs_out, struct mmq_err *err);
/* The next key of a map, which must be a string. */
int mmq_want_key(struct mmq_reader *reader, const char *field, struct mmq_text *key_out, struct mmq_err *err);
/* A model, alias or engine name: [a-z0-9][a-z0-9._-]{0,63}. */
int mmq_want_name(struct mmq_reader *reader, const char *field, struct mmq_text *name_out, struct mmq_err *err);

/* True when the next value is nil, which is then read: an optional field that is nil counts as absent. */
bool mmq_want_nil(struct mmq_reader *reader);

/* Refuse a token that was already read: INVALID_ARGUMENT with field, want, and the token in words. Always -1. */
int mmq_want_refuse(const struct mmq_token *token, const char *field, const char *want, struct mmq_err *err);
/* The reader's own failure as an error. Always -1. */
int mmq_want_broken(const struct mmq_reader *reader, struct mmq_err *err);

bool mmq_text_is(const struct mmq_text *text, const char *word);

#endif
