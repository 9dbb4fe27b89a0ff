/* clock.h: the two clocks, read in one place so that pure code can be handed a time instead. */
#ifndef MMQ_UTIL_CLOCK_H
#define MMQ_UTIL_CLOCK_H

#include <stdint.h>

int64_t mmq_clock_mono_us(void);   /* monotonic, microseconds; for leases, deadlines, durations */
int64_t mmq_clock_wall_ms(void);   /* milliseconds since 1970 UTC; for records that people read */

/* "2026-11-24T03:04:05.678Z" into text_out (at least 32 bytes). Returns text_out. */
char *mmq_clock_format(int64_t wall_ms, char *text_out);

#endif
