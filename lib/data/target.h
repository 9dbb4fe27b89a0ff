/* target.h: what is to be learnt: is it classes or a value, which classes, and the code of each row. */
#ifndef MMQ_DATA_TARGET_H
#define MMQ_DATA_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/frame.h"
#include "util/err.h"

enum mmq_label_type { MMQ_LABEL_INT, MMQ_LABEL_TEXT, MMQ_LABEL_BOOL };

/* Classes in order: integers by value, texts bytewise, false before true. */
struct mmq_classes {
	enum mmq_label_type type;
	size_t count;
	int64_t *ints;   /* INT, BOOL (0, 1): count of them; else NULL */
	char **texts;    /* TEXT: count of them; else NULL */
};
enum { MMQ_CLASSES_MAX = 10000 };

/* The protocol's rule for rows (indices; NULL: 0..count-1) of a target column: text or booleans are classes; a fractional number makes
 * a value; integers with at most 20 distinct values that are at most 5 % of the rows are classes. why_out says the reason. */
bool mmq_target_is_classes(const struct mmq_column *column, const uint32_t *rows, size_t rows_count, char why_out[128]);

/* The distinct values of the column in these rows. -1: a missing value, fractional numbers, fewer than 2 classes, or more than MMQ_CLASSES_MAX. */
int mmq_classes_init(struct mmq_classes *classes, const struct mmq_column *column, const uint32_t *rows, size_t rows_count, struct mmq_err *err);
void mmq_classes_copy(struct mmq_classes *to, const struct mmq_classes *from);
void mmq_classes_fini(struct mmq_classes *classes);
/* y_out (rows_count): the class code of each row. -1: a missing value, or (names row and value) one that is not among the classes. */
int mmq_classes_encode(const struct mmq_classes *classes, const struct mmq_column *column, const uint32_t *rows, size_t rows_count,
    double *y_out, struct mmq_err *err);
/* Class index of a label's canonical text ("3", "true", "setosa"), -1: none. */
int mmq_classes_find(const struct mmq_classes *classes, const char *text, size_t size);
/* Canonical text of class `index`; number_out (32 bytes) is used for integers. */
const char *mmq_classes_text(const struct mmq_classes *classes, size_t index, char *number_out);

/* y_out (rows_count): the numbers of a regression target. -1: a missing or non-numeric value, naming row and column. */
int mmq_target_numbers(const struct mmq_column *column, const uint32_t *rows, size_t rows_count, double *y_out, struct mmq_err *err);

#endif
