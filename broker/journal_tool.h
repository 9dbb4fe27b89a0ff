/* journal_tool.h: what people do with a journal's file from outside the broker: look at every byte of it, copy it while it is in use, make it small. */
#ifndef MMQ_BROKER_JOURNAL_TOOL_H
#define MMQ_BROKER_JOURNAL_TOOL_H

#include <stdint.h>

#include "util/err.h"

struct mmq_journal_check {
	int format;
	uint64_t requests, open, dead;       /* rows; those without an outcome; dead letters */
	uint64_t bytes, free_bytes;          /* of the file; what of it holds nothing */
	uint64_t damaged;                    /* rows, bodies, answers, grants and settings with a wrong checksum, and what SQLite finds wrong itself */
	char first[256];                     /* the first of them; "": none */
};

/* Read everything, a thousand rows per transaction, so that a broker that writes meanwhile is not held up. -1: it cannot be read at all. */
int mmq_journal_check(const char *path, struct mmq_journal_check *check_out, struct mmq_err *err);

/* A copy as of one moment, complete or absent, on disk when this returns. The broker may write meanwhile. ALREADY_EXISTS: target is there. */
int mmq_journal_backup(const char *path, const char *target, struct mmq_err *err);

/* Give the disk back what holds nothing, all of it at once. Only while no broker uses it: UNAVAILABLE. A running broker does the same bit by bit. */
int mmq_journal_compact(const char *path, uint64_t *before_out, uint64_t *after_out, struct mmq_err *err);

#endif
