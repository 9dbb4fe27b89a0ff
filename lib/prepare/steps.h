/* steps.h: how a fitted preparation is laid out; shared by fit.c, prepare.c (apply), layout.c and io.c only.
 *
 * Key idea: one entry per input column says how it is coded; where its output columns lie is never stored but derived from
 * the entries by mmq_prepare_layout, after a fit and after opening a file alike. */
#ifndef MMQ_PREPARE_STEPS_H
#define MMQ_PREPARE_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/category.h"
#include "prepare/prepare.h"

enum mmq_coding { MMQ_CODING_NUMBER, MMQ_CODING_BOOLEAN, MMQ_CODING_DATETIME, MMQ_CODING_VECTOR, MMQ_CODING_ONE_HOT, MMQ_CODING_ORDINAL,
	MMQ_CODING_TEXT_HASH, MMQ_CODING_COUNT };
enum { MMQ_DATETIME_PARTS = 5, MMQ_CATEGORY_BUCKETS = 1024, MMQ_CATEGORIES_MAX = 1000, MMQ_SPARSE_FEATURES_MAX = 65536 };

/* out = ((missing ? fill : value) - center) * scale */
struct mmq_scale { double fill, center, scale; };

struct mmq_prepare_input {
	uint32_t field;            /* among the schema's fields */
	enum mmq_coding coding;
	bool has_flag;             /* one more 0/1 column behind: the value was missing (it had gaps in training) */
	bool missing_is_code;      /* categories: missing has a code of its own, the last one */
	uint32_t buckets;          /* categories: > 0: the code is a hash into so many buckets, and `categories` is empty */
	struct mmq_categories categories;
	/* derived by layout */
	uint32_t out, out_count;   /* first dense or sparse column and how many, the flag counted; ORDINAL: index among codes, 1 */
	uint32_t scale, scales;    /* first and how many of prepare->scales: 1 per number, 5 per date, 1 for a whole vector */
};

struct mmq_prepare {
	struct mmq_schema schema;
	enum mmq_dtype dtype;
	bool is_csr;               /* the output is sparse */
	bool imputes;              /* missing numbers are filled; otherwise they stay NaN */
	bool keeps_vectors;        /* a vector is one VECTOR feature; otherwise one NUMERIC feature per number */
	struct mmq_prepare_input *inputs;
	size_t inputs_count;
	struct mmq_scale *scales;  /* of the inputs, then one per column of the sparse block */
	size_t scales_count;
	/* derived */
	size_t cols, codes_cols;
	size_t sparse_at, sparse_scale; /* where the sparse block begins, among columns and among scales */
	struct mmq_feature *features;
	size_t features_count;
	struct mmq_arena names;
};

/* Fill what is derived. -1: more than 2^31 columns or 2^22 features. */
int mmq_prepare_layout(struct mmq_prepare *prepare, struct mmq_err *err);
size_t mmq_prepare_scales_of(enum mmq_coding coding);
/* Codes of a category column, the one for missing counted. */
uint32_t mmq_prepare_codes_of(const struct mmq_prepare_input *input);

/* What apply reads of one cell, used by fit to see the same values. */
/* NUMBER, BOOLEAN: 1 value; DATETIME: 5. NaN: missing. -1: not a value of this field. */
int mmq_prepare_numbers(const struct mmq_prepare *prepare, const struct mmq_prepare_input *input, const struct mmq_column *column, size_t row,
    double values[MMQ_DATETIME_PARTS], struct mmq_err *err);
/* The canonical text of a category cell; number_text has 32 bytes. at NULL: missing. */
int mmq_prepare_category_text(const struct mmq_prepare *prepare, const struct mmq_prepare_input *input, const struct mmq_column *column, size_t row,
    char *number_text, struct mmq_text *text_out, struct mmq_err *err);
/* Finite and within the field's bounds (NaN passes), else -1. */
int mmq_prepare_check(const struct mmq_field *field, size_t row, double value, struct mmq_err *err);
/* INVALID_ARGUMENT for "rows[row].column": got the text, want. Always -1. */
int mmq_prepare_refuse(struct mmq_err *err, const char *column, size_t row, const char *want, const char *got, size_t got_size);
/* The frame's column of input `index` in either layout; NULL with INVALID_ARGUMENT when the frame has neither layout. */
const struct mmq_column *mmq_prepare_column(const struct mmq_prepare *prepare, const struct mmq_frame *frame, size_t index, struct mmq_err *err);

#endif
