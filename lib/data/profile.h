/* profile.h: what the training data looks like, column by column: kept on the card, so that drift can be seen later. */
#ifndef MMQ_DATA_PROFILE_H
#define MMQ_DATA_PROFILE_H

#include <stddef.h>
#include <stdint.h>

#include "data/frame.h"
#include "data/schema.h"
#include "util/buf.h"

enum { MMQ_PROFILE_EDGES = 11, MMQ_PROFILE_TOP = 10 };

/* An array of maps, one per schema field (same order as the frame's columns), over these rows (NULL: 0..count-1): {name, kind, count, missing} and
 * for numbers {mean, std, min, max, edges: 11 quantiles from 0 to 1}, for texts {distinct, top: [[value, count], ...]}, for
 * vectors {mean, std, min, max} over all their numbers. std divides by n. A sparse block adds one map named "sparse". */
void mmq_profile_write(const struct mmq_frame *frame, const struct mmq_schema *schema, const uint32_t *rows, size_t rows_count, struct mmq_buf *out);

#endif
