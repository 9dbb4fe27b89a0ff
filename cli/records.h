/* records.h: cuts a CSV or JSON lines file into whole records, so that a large input goes out in batches. Reads .gz as well. */
#ifndef MMQ_CLI_RECORDS_H
#define MMQ_CLI_RECORDS_H

#include <stdbool.h>

#include "util/buf.h"

struct records;

/* path "-": standard input. is_csv: a line end within quotes does not end a record. NULL: errno says why. */
struct records *records_open(const char *path);
void records_close(struct records *records);
int records_peek(struct records *records);   /* the first character that is not white space, not taken; -1 at the end */
/* Append the next record with its line end; empty lines are passed over. false: none is left, or a read failed (records_failed). */
bool records_next(struct records *records, bool is_csv, struct mmq_buf *out);
bool records_failed(const struct records *records);

#endif
