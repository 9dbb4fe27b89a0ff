/* number.h: decimal text to double, fast and exact, without the locale. */
#ifndef MMQ_UTIL_NUMBER_H
#define MMQ_UTIL_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The whole of text (size bytes) as a decimal number: [+-]digits[.digits][e[+-]digits], or nan in any case. Nearest double. false: anything else,
 * infinity, a magnitude beyond double, or more than 400 characters. */
bool mmq_number_parse(const char *text, size_t size, double *value_out);
/* Digits only, up to max. */
bool mmq_number_parse_uint(const char *text, size_t size, uint64_t max, uint64_t *value_out);

#endif
