/* distance.h: how far apart two words are, for "did you mean". */
#ifndef MMQ_UTIL_DISTANCE_H
#define MMQ_UTIL_DISTANCE_H

#include <stddef.h>

enum { MMQ_DISTANCE_WORD_MAX = 64 };

/* Edit distance of a (a_size bytes) and b, case ignored: insert, delete, replace cost 1 each. SIZE_MAX when one is longer than
 * MMQ_DISTANCE_WORD_MAX. */
size_t mmq_distance_words(const char *a, size_t a_size, const char *b);

#endif
