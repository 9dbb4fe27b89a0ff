/* err.h: how every layer says what went wrong: one code, one sentence, and which field, what came, what is wanted.
 *
 * A function that can fail for an outside reason returns -1 and fills a struct mmq_err that its caller owns.
 * mmq_err_* return -1 so that `return mmq_err_set(err, ...)` is the whole failure path. err may be NULL. */
#ifndef MMQ_UTIL_ERR_H
#define MMQ_UTIL_ERR_H

#include <stdint.h>

/* Canonical codes (gRPC's names). X(enum, wire name, may a retry of the same request succeed). */
#define MMQ_CODES(X)                                      \
	X(MMQ_OK, "OK", 0)                                \
	X(MMQ_INVALID_ARGUMENT, "INVALID_ARGUMENT", 0)    \
	X(MMQ_NOT_FOUND, "NOT_FOUND", 0)                  \
	X(MMQ_ALREADY_EXISTS, "ALREADY_EXISTS", 0)        \
	X(MMQ_FAILED_PRECONDITION, "FAILED_PRECONDITION", 0) \
	X(MMQ_PERMISSION_DENIED, "PERMISSION_DENIED", 0)  \
	X(MMQ_UNAUTHENTICATED, "UNAUTHENTICATED", 0)      \
	X(MMQ_RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED", 1) \
	X(MMQ_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", 1)  \
	X(MMQ_CANCELLED, "CANCELLED", 0)                  \
	X(MMQ_UNAVAILABLE, "UNAVAILABLE", 1)              \
	X(MMQ_DATA_LOSS, "DATA_LOSS", 0)                  \
	X(MMQ_INTERNAL, "INTERNAL", 0)

enum mmq_code {
#define X(code, name, retryable) code,
	MMQ_CODES(X)
#undef X
	MMQ_CODE_COUNT
};

struct mmq_err {
	enum mmq_code code;
	char message[384];       /* one sentence for people */
	char field[96];          /* empty when no single field is to blame */
	char got[96], want[160]; /* empty when not known */
	uint32_t retry_after_ms; /* 0: no hint */
};

/* Fill err with a code and a sentence; clears the other fields. Always returns -1. */
int mmq_err_set(struct mmq_err *err, enum mmq_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A value that is not acceptable: code, the field's name, what is wanted, and what came (formatted).
 * The sentence becomes "<field>: got <got>, want <want>". Always returns -1. */
int mmq_err_value(struct mmq_err *err, enum mmq_code code, const char *field, const char *want, const char *got_format, ...)
    __attribute__((format(printf, 5, 6)));

/* Put "prefix: " before the sentence, e.g. the file or model that a lower layer did not know. Always returns -1. */
int mmq_err_prefix(struct mmq_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *mmq_code_name(enum mmq_code code);             /* "INVALID_ARGUMENT"; "INTERNAL" for an unknown number */
enum mmq_code mmq_code_from_name(const char *name);        /* MMQ_INTERNAL for an unknown name */
int mmq_code_is_retryable(enum mmq_code code);             /* 1 or 0 */

#endif
