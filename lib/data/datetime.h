/* datetime.h: dates and times as people write them in data (ISO 8601), as seconds since 1970 UTC. */
#ifndef MMQ_DATA_DATETIME_H
#define MMQ_DATA_DATETIME_H

#include <stddef.h>

/* "2026-11-24", "2026-11-24T03:04[:05[.678]]" (T or a space), then nothing, "Z" or "+01:00". No zone means UTC. Years 1..9999.
 * 0, or -1 when the text is anything else. */
int mmq_datetime_parse(const char *text, size_t size, double *seconds_out);

struct mmq_datetime { int year, month, day, weekday, hour; };  /* month and day from 1; weekday 0 = Monday */
struct mmq_datetime mmq_datetime_split(double seconds);        /* UTC; seconds finite, |seconds| <= 1e12 */

#endif
