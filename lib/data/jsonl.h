/* jsonl.h: one JSON value per line, all objects {name: value} or all lists in column order. */
#ifndef MMQ_DATA_JSONL_H
#define MMQ_DATA_JSONL_H

#include "data/frame.h"
#include "data/limits.h"
#include "util/err.h"

/* Values: number, string, true/false, null or an absent name (missing); one type per column. Columns are in order of first appearance.
 * Lists need names (names_count of them), else columns are c0, c1, ... Errors name file, line and column. */
int mmq_jsonl_read(struct mmq_frame *frame, const char *bytes, size_t size, const char *name, const char *const *names, size_t names_count,
    const struct mmq_data_limits *limits, struct mmq_err *err);

#endif
