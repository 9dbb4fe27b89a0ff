/* prepare_case.h: rows, their schema and a preparation, for the tests of lib/prepare. What fails, fails the test. */
#ifndef TESTS_UNIT_PREPARE_CASE_H
#define TESTS_UNIT_PREPARE_CASE_H

#include "prepare/prepare.h"

enum { PREPARE_TREE = MMQ_ACCEPTS_MISSING | MMQ_ACCEPTS_CATEGORY | MMQ_ACCEPTS_F64, PREPARE_LINEAR = MMQ_ACCEPTS_SPARSE | MMQ_WANTS_SCALED | MMQ_WANTS_ONE_HOT,
	PREPARE_MLP = MMQ_ACCEPTS_VECTOR | MMQ_WANTS_SCALED | MMQ_WANTS_ONE_HOT };

struct prepare_case {
	struct mmq_frame frame;
	struct mmq_schema schema;
	struct mmq_prepare *prepare;
	struct mmq_prepared out;
	struct mmq_buf warnings;
	struct mmq_err err;
};

extern const char prepare_table[];      /* a CSV of five rows: size, color, flag, when, y */
void prepare_read(struct prepare_case *f, const char *csv, const char *target);
void prepare_open(struct prepare_case *f, char *file, const char *target);        /* a file of examples/data */
void prepare_fini(struct prepare_case *f);
/* Fit on all rows, and apply to them. */
void prepare_fit_apply(struct prepare_case *f, unsigned accepts, enum mmq_dtype dtype);

#endif
