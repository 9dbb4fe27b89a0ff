/* want.c: typed reads with errors that name the field. One place decides how a wrong value is described, so that every
 * op's errors read alike. Values are shown only for short header and option fields, never for rows (values.c). */
#include "wire/want.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_BYTES_MAX = 48 };

bool
mmq_text_is(const struct mmq_text *text, const char *word)
{
	size_t size = strlen(word);
	return text->at != NULL && text->size == size && memcmp(text->at, word, size) == 0;
}

int
mmq_want_broken(const struct mmq_reader *reader, struct mmq_err *err)
{
	return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "not a readable msgpack message: %s (byte %zu of %zu)",
	    reader->why != NULL ? reader->why : "a value is missing", (size_t)(reader->at - reader->start),
	    (size_t)(reader->end - reader->start));
}

/* Cut at a character's border, so that an answer that repeats it is still valid UTF-8. */
static int
shown_size(const struct mmq_token *token)
{
	uint32_t size = token->size;
	if (size <= SHOWN_BYTES_MAX)
		return (int)size;
	size = SHOWN_BYTES_MAX;
	while (size > 0 && ((uint8_t)token->bytes[size] & 0xc0) == 0x80)
		size--;
	return (int)size;
}

int
mmq_want_refuse(const struct mmq_token *token, const char *field, const char *want, struct mmq_err *err)
{
	switch (token->type) {
	case MMQ_T_BOOL:
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%s", token->boolean ? "true" : "false");
	case MMQ_T_INT:
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%lld", (long long)token->i);
	case MMQ_T_UINT:
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%llu", (unsigned long long)token->u);
	case MMQ_T_FLOAT:
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%.17g", token->f);
	case MMQ_T_STR:
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "the string '%.*s'%s", shown_size(token), token->bytes,
		    token->size > SHOWN_BYTES_MAX ? "..." : "");
	case MMQ_T_BIN:
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%u binary bytes", token->size);
	case MMQ_T_ARRAY:
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "an array of %u", token->size);
	case MMQ_T_MAP:
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "a map of %u", token->size);
	default:
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%s", mmq_type_name(token->type));
	}
}

bool
mmq_want_nil(struct mmq_reader *reader)
{
	if (reader->why != NULL || reader->at == reader->end || *reader->at != 0xc0)
		return false;
	reader->at++;
	return true;
}

int
mmq_want_bool(struct mmq_reader *reader, const char *field, bool *value_out, struct mmq_err *err)
{
	struct mmq_token token;

	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	if (token.type != MMQ_T_BOOL)
		return mmq_want_refuse(&token, field, "true or false", err);
	*value_out = token.boolean;
	return 0;
}

int
mmq_want_int(struct mmq_reader *reader, const char *field, int64_t min, int64_t max, int64_t *value_out, struct mmq_err *err)
{
	struct mmq_token token;
	char want[96];

	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	if (token.type != MMQ_T_INT || token.i < min || token.i > max) {
		snprintf(want, sizeof(want), "an integer from %lld to %lld", (long long)min, (long long)max);
		return mmq_want_refuse(&token, field, want, err);
	}
	*value_out = token.i;
	return 0;
}

int
mmq_want_number(struct mmq_reader *reader, const char *field, double min, double max, double *value_out, struct mmq_err *err)
{
	struct mmq_token token;
	char want[96];

	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	bool is_number = token.type == MMQ_T_INT || token.type == MMQ_T_UINT || token.type == MMQ_T_FLOAT;
	if (!is_number || !isfinite(token.f) || token.f < min || token.f > max) {
		snprintf(want, sizeof(want), "a number from %.10g to %.10g", min, max);
		return mmq_want_refuse(&token, field, want, err);
	}
	*value_out = token.f;
	return 0;
}

int
mmq_want_text(struct mmq_reader *reader, const char *field, size_t size_min, size_t size_max, struct mmq_text *text_out, struct mmq_err *err)
{
	struct mmq_token token;
	char want[96];

	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	if (token.type != MMQ_T_STR || token.size < size_min || token.size > size_max) {
		snprintf(want, sizeof(want), "a string of %zu to %zu bytes", size_min, size_max);
		return mmq_want_refuse(&token, field, want, err);
	}
	*text_out = (struct mmq_text){ token.bytes, token.size };
	return 0;
}

int
mmq_want_choice(struct mmq_reader *reader, const char *field, const char *choices, int *index_out, struct mmq_err *err)
{
	struct mmq_token token;
	char want[160];

	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	int index = 0;
	for (const char *at = choices; token.type == MMQ_T_STR; at++, index++) {
		size_t size = strcspn(at, "|");
		if (size == token.size && memcmp(at, token.bytes, size) == 0) {
			*index_out = index;
			return 0;
		}
		at += size;
		if (*at == '\0')
			break;
	}
	snprintf(want, sizeof(want), "one of %s", choices);
	return mmq_want_refuse(&token, field, want, err);
}

int
mmq_want_array(struct mmq_reader *reader, const char *field, size_t count_max, uint32_t *count_out, struct mmq_err *err)
{
	struct mmq_token token;
	char want[96];

	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	if (token.type != MMQ_T_ARRAY || token.size > count_max) {
		snprintf(want, sizeof(want), "a list of at most %zu", count_max);
		return mmq_want_refuse(&token, field, token.type == MMQ_T_ARRAY ? want : "a list", err);
	}
	*count_out = token.size;
	return 0;
}

int
mmq_want_map(struct mmq_reader *reader, const char *field, uint32_t *pairs_out, struct mmq_err *err)
{
	struct mmq_token token;

	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	if (token.type != MMQ_T_MAP)
		return mmq_want_refuse(&token, field, "a map", err);
	*pairs_out = token.size;
	return 0;
}

int
mmq_want_key(struct mmq_reader *reader, const char *field, struct mmq_text *key_out, struct mmq_err *err)
{
	struct mmq_token token;

	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	if (token.type != MMQ_T_STR)
		return mmq_want_refuse(&token, field, "a map whose keys are strings", err);
	*key_out = (struct mmq_text){ token.bytes, token.size };
	return 0;
}

int
mmq_want_name(struct mmq_reader *reader, const char *field, struct mmq_text *name_out, struct mmq_err *err)
{
	struct mmq_token token;

	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	if (token.type != MMQ_T_STR || !mmq_name_is_valid(token.bytes, token.size))
		return mmq_want_refuse(&token, field, "a name of 1 to 64 of a-z 0-9 . _ - that begins with a letter or digit", err);
	*name_out = (struct mmq_text){ token.bytes, token.size };
	return 0;
}
