/* clock.c: the only reader of the system's clocks. */
#include "util/clock.h"

#include <stdio.h>
#include <time.h>

int64_t
mmq_clock_mono_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t
mmq_clock_wall_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

char *
mmq_clock_format(int64_t wall_ms, char *text_out)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm utc;
	char date[24];

	gmtime_r(&seconds, &utc);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text_out, 32, "%s.%03dZ", date, (int)(wall_ms % 1000));
	return text_out;
}
