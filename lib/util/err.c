/* err.c: filling a struct mmq_err. Texts are cut at the field's size, never overflow and never allocate. */
#include "util/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int retryable;
} codes[MMQ_CODE_COUNT] = {
#define X(code, name, retryable) [code] = { name, retryable },
	MMQ_CODES(X)
#undef X
};

int
mmq_err_set(struct mmq_err *err, enum mmq_code code, const char *format, ...)
{
	va_list ap;

	if (err == NULL)
		return -1;
	struct mmq_err fresh = { .code = code };  /* filled aside: the arguments may point into *err */
	va_start(ap, format);
	vsnprintf(fresh.message, sizeof(fresh.message), format, ap);
	va_end(ap);
	*err = fresh;
	return -1;
}

int
mmq_err_value(struct mmq_err *err, enum mmq_code code, const char *field, const char *want, const char *got_format, ...)
{
	va_list ap;

	if (err == NULL)
		return -1;
	struct mmq_err fresh = { .code = code };
	va_start(ap, got_format);
	vsnprintf(fresh.got, sizeof(fresh.got), got_format, ap);
	va_end(ap);
	snprintf(fresh.field, sizeof(fresh.field), "%s", field);
	snprintf(fresh.want, sizeof(fresh.want), "%s", want);
	snprintf(fresh.message, sizeof(fresh.message), "%s: got %s, want %s", fresh.field, fresh.got, fresh.want);
	*err = fresh;
	return -1;
}

int
mmq_err_prefix(struct mmq_err *err, const char *format, ...)
{
	char prefix[192], old[sizeof(err->message)];
	va_list ap;

	if (err == NULL)
		return -1;
	va_start(ap, format);
	vsnprintf(prefix, sizeof(prefix), format, ap);
	va_end(ap);
	memcpy(old, err->message, sizeof(old));
	if (snprintf(err->message, sizeof(err->message), "%s: %s", prefix, old) < 0)
		err->message[0] = '\0';
	return -1;
}

const char *
mmq_code_name(enum mmq_code code)
{
	return (unsigned)code < MMQ_CODE_COUNT ? codes[code].name : codes[MMQ_INTERNAL].name;
}

enum mmq_code
mmq_code_from_name(const char *name)
{
	for (int i = 0; i < MMQ_CODE_COUNT; i++)
		if (strcmp(codes[i].name, name) == 0)
			return (enum mmq_code)i;
	return MMQ_INTERNAL;
}

int
mmq_code_is_retryable(enum mmq_code code)
{
	return (unsigned)code < MMQ_CODE_COUNT && codes[code].retryable;
}
