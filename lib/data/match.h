/* match.h: bring a frame that was read from a file or payload into the order of a model's input columns. */
#ifndef MMQ_DATA_MATCH_H
#define MMQ_DATA_MATCH_H

#include <stdbool.h>

#include "data/frame.h"
#include "data/schema.h"
#include "util/err.h"

/* A field that a request must bring: role feature or sensitive, kind not ignore. */
bool mmq_field_is_input(const struct mmq_field *field);

/* Reorder frame->columns to the schema's input fields. An absent column that is not required becomes all missing. A numeric column for a vector of
 * several numbers, a text for a number and the like are INVALID_ARGUMENT naming the column. Columns that the schema has under another role
 * (target, weight, id ...) are dropped; unknown ones are refused unless extra_is_ignored. */
int mmq_frame_match(struct mmq_frame *frame, const struct mmq_schema *schema, bool extra_is_ignored, struct mmq_err *err);

#endif
