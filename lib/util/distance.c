/* distance.c: the row-by-row form of Wagner and Fischer (1974): one row of the table is kept. */
#include "util/distance.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

size_t
mmq_distance_words(const char *a, size_t a_size, const char *b)
{
	size_t row[MMQ_DISTANCE_WORD_MAX + 1], b_size = strlen(b);
	if (a_size > MMQ_DISTANCE_WORD_MAX || b_size > MMQ_DISTANCE_WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_size; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_size; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= b_size; j++) {
			size_t above = row[j], best = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = above;
			row[j] = best;
		}
	}
	return row[b_size];
}
