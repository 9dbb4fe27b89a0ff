/* number.c: decimal text to double. When the digits fit in 2^53 and the power of ten in 10^22, both are exact doubles and one
 * multiplication or division rounds once, hence correctly (Clinger 1990); all else goes to strtod_l in the C locale. */
#include "util/number.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 400, EXACT_POWER_MAX = 22 };

static const double powers[EXACT_POWER_MAX + 1] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
	1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void
c_locale_make(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static bool
parse_slow(const char *text, size_t size, double *value_out)
{
	char copy[TEXT_MAX + 1], *end;

	if (size > TEXT_MAX)
		return false;
	memcpy(copy, text, size);
	copy[size] = '\0';
	pthread_once(&c_locale_once, c_locale_make);
	*value_out = strtod_l(copy, &end, c_locale);
	return end == copy + size && isfinite(*value_out);
}

static bool
is_nan_text(const char *text, size_t size)
{
	return size == 3 && (text[0] | 32) == 'n' && (text[1] | 32) == 'a' && (text[2] | 32) == 'n';
}

/* Digits into *mantissa (as long as it stays below 2^53 * 10) and how many; *exact falls when digits were lost. */
static const char *
take_digits(const char *at, const char *end, uint64_t *mantissa, int *count, bool *exact)
{
	for (; at < end && *at >= '0' && *at <= '9'; at++, (*count)++) {
		if (*mantissa > (uint64_t)1 << 53)
			*exact = false;
		else
			*mantissa = *mantissa * 10 + (uint64_t)(*at - '0');
	}
	return at;
}

bool
mmq_number_parse(const char *text, size_t size, double *value_out)
{
	const char *at = text, *end = text + size;
	uint64_t mantissa = 0;
	int whole = 0, fraction = 0, exponent = 0;
	bool exact = true, negative = false;

	if (at < end && (*at == '-' || *at == '+'))
		negative = *at++ == '-';
	at = take_digits(at, end, &mantissa, &whole, &exact);
	if (at < end && *at == '.')
		at = take_digits(at + 1, end, &mantissa, &fraction, &exact);
	if (whole + fraction == 0) {
		*value_out = NAN;
		return is_nan_text(text, size);
	}
	if (at < end && (*at == 'e' || *at == 'E')) {
		bool down = false;
		int digits = 0;
		if (++at < end && (*at == '-' || *at == '+'))
			down = *at++ == '-';
		for (; at < end && *at >= '0' && *at <= '9'; at++, digits++)
			exponent = exponent < 100000 ? exponent * 10 + (*at - '0') : exponent;
		if (digits == 0)
			return false;
		exponent = down ? -exponent : exponent;
	}
	if (at != end)
		return false;
	int power = exponent - fraction;
	if (!exact || mantissa > (uint64_t)1 << 53 || power > EXACT_POWER_MAX || power < -EXACT_POWER_MAX)
		return parse_slow(text, size, value_out);
	double value = power < 0 ? (double)mantissa / powers[-power] : (double)mantissa * powers[power];
	*value_out = negative ? -value : value;
	return true;
}

bool
mmq_number_parse_uint(const char *text, size_t size, uint64_t max, uint64_t *value_out)
{
	uint64_t value = 0;

	if (size == 0)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(text[i] - '0');
		if (digit > max || value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*value_out = value;
	return true;
}
