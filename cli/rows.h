/* rows.h: prints the outputs of a predict answer row by row, as JSON lines or CSV. */
#ifndef MMQ_CLI_ROWS_H
#define MMQ_CLI_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "client/modelmq.h"

struct rows_out {
	bool is_csv, has_header;
	const char *want;           /* the outputs in the order asked for, joined by commas */
};

void rows_init(struct rows_out *out, bool is_csv, const char *want);
/* Print all rows of an answer to stdout; errors of single rows go into them (JSON) or to stderr (CSV). How many rows had one. */
size_t rows_print(struct rows_out *out, const struct mmq_answer *answer, size_t first_row);

#endif
