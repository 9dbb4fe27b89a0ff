/* element.h: one number of a binary array, of any width and byte order, as a double. Used by the idx and npy readers. */
#ifndef MMQ_DATA_ELEMENT_H
#define MMQ_DATA_ELEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/part.h"

/* dtype is any but MMQ_STR; at need not be aligned. *exact_out becomes false (never true) for an integer beyond 2^53. */
double mmq_element_read(const unsigned char *at, enum mmq_dtype dtype, bool is_big_endian, bool *exact_out);
double mmq_half_to_double(uint16_t half);

#endif
