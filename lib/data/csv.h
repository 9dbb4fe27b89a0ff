/* csv.h: comma separated values (RFC 4180) into a frame.
 *
 * A column is numeric if all its values parse as numbers, boolean if all are true or false, else text. An empty unquoted
 * field is missing, a quoted empty one is a value. With a schema the kinds are known and nothing is guessed. */
#ifndef MMQ_DATA_CSV_H
#define MMQ_DATA_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "data/frame.h"
#include "data/limits.h"
#include "data/schema.h"
#include "util/err.h"

struct mmq_csv_options {
	struct mmq_data_limits limits;
	char delimiter;                    /* 0: comma */
	const char *const *names;          /* column names; NULL: the first line has them */
	size_t names_count;
	const struct mmq_schema *schema;   /* NULL: infer. A column that the schema has not is inferred */
};

/* Read size bytes (UTF-8, a byte order mark is passed over). name is the source in error texts, which also give line and column. Texts are
 * copied into the frame. frame was initialised and is empty. INVALID_ARGUMENT: ragged line, open quote, not UTF-8, name twice;
 * RESOURCE_EXHAUSTED: a limit. */
int mmq_csv_read(struct mmq_frame *frame, const char *bytes, size_t size, const char *name, const struct mmq_csv_options *options, struct mmq_err *err);

#endif
