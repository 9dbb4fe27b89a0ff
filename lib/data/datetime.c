/* datetime.c: ISO 8601 to seconds and back. Days from civil date: the proleptic Gregorian calendar counted in eras of 400 years. */
#include "data/datetime.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

static int64_t
days_from_civil(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
	int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;  /* the year begins in March */
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Exactly `count` digits at *at. */
static bool
take_number(const char **at, const char *end, int count, int *value_out)
{
	int value = 0;

	if (end - *at < count)
		return false;
	for (int i = 0; i < count; i++) {
		char c = (*at)[i];
		if (c < '0' || c > '9')
			return false;
		value = value * 10 + (c - '0');
	}
	*at += count;
	*value_out = value;
	return true;
}

static bool
take_char(const char **at, const char *end, char wanted)
{
	if (*at == end || **at != wanted)
		return false;
	(*at)++;
	return true;
}

static bool
take_time(const char **at, const char *end, double *seconds)
{
	int hour, minute, second = 0;
	double fraction = 0;

	if (!take_number(at, end, 2, &hour) || !take_char(at, end, ':') || !take_number(at, end, 2, &minute))
		return false;
	if (take_char(at, end, ':')) {
		if (!take_number(at, end, 2, &second))
			return false;
		if (take_char(at, end, '.')) {
			double unit = 0.1;
			if (*at == end)
				return false;
			for (; *at < end && **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
				fraction += unit * (**at - '0');
		}
	}
	if (hour > 23 || minute > 59 || second > 60)
		return false;
	*seconds += hour * 3600.0 + minute * 60.0 + second + fraction;
	return true;
}

static bool
take_zone(const char **at, const char *end, double *seconds)
{
	int hour, minute = 0;

	if (*at == end || take_char(at, end, 'Z'))
		return true;
	int sign = take_char(at, end, '+') ? 1 : take_char(at, end, '-') ? -1 : 0;
	if (sign == 0 || !take_number(at, end, 2, &hour))
		return false;
	take_char(at, end, ':');
	if (*at < end && !take_number(at, end, 2, &minute))
		return false;
	if (hour > 15 || minute > 59)
		return false;
	*seconds -= sign * (hour * 3600.0 + minute * 60.0);
	return true;
}

int
mmq_datetime_parse(const char *text, size_t size, double *seconds_out)
{
	static const int month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const char *at = text, *end = text + size;
	int year, month, day;

	if (!take_number(&at, end, 4, &year) || !take_char(&at, end, '-') || !take_number(&at, end, 2, &month) ||
	    !take_char(&at, end, '-') || !take_number(&at, end, 2, &day))
		return -1;
	if (year < 1 || month < 1 || month > 12 || day < 1)
		return -1;
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	if (day > month_days[month - 1] + (month == 2 && leap))
		return -1;
	double seconds = (double)days_from_civil(year, month, day) * 86400.0;
	if (at < end && ((!take_char(&at, end, 'T') && !take_char(&at, end, ' ')) || !take_time(&at, end, &seconds) ||
	    !take_zone(&at, end, &seconds)))
		return -1;
	if (at != end)
		return -1;
	*seconds_out = seconds;
	return 0;
}

struct mmq_datetime
mmq_datetime_split(double seconds)
{
	int64_t days = (int64_t)floor(seconds / 86400.0);
	int hour = (int)((seconds - (double)days * 86400.0) / 3600.0);
	int64_t weekday = ((days + 3) % 7 + 7) % 7;  /* 1970-01-01 was a Thursday */
	int64_t shifted = days + 719468, era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int64_t of_era = shifted - era * 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t march_month = (5 * of_year + 2) / 153;
	int month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);

	return (struct mmq_datetime){ .year = (int)(year + era * 400 + (month <= 2)), .month = month,
		.day = (int)(of_year - (153 * march_month + 2) / 5 + 1), .weekday = (int)weekday, .hour = hour > 23 ? 23 : hour };
}
