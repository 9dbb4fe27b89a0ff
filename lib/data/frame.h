/* frame.h: raw rows by column, as they came from a file or a message, before preparation.
 *
 * One shape serves all input forms: a column is a pointer and a stride, so row-major tensors and column-major files both
 * fit without copying. Numbers stay float64 and text stays text until preparation ends. All memory a frame hands out lives in
 * its arena or is borrowed from the message or file it was read from; nothing is freed piece by piece. */
#ifndef MMQ_DATA_FRAME_H
#define MMQ_DATA_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"
#include "util/mem.h"

struct mmq_text {
	const char *at;          /* NULL: missing; "" is a value */
	uint32_t size;
};

enum mmq_column_type { MMQ_COLUMN_NUMBER, MMQ_COLUMN_TEXT };

struct mmq_column {
	const char *name;
	enum mmq_column_type type;
	size_t width;            /* numbers per row: 1, or the product of shape for a vector column */
	uint32_t rank, shape[4]; /* rank 0: scalar */
	bool is_boolean;         /* text "true"/"false" that came as booleans */
	size_t stride;           /* elements from one row to the next; NUMBER: value k of row r is numbers[r * stride + k] */
	const double *numbers;   /* NaN: missing */
	const struct mmq_text *texts;
};

/* CSR over columns 0..cols-1, all numeric; absent = 0. */
struct mmq_csr {
	size_t rows, cols;
	const uint64_t *row_start; /* rows + 1 */
	const uint32_t *col;       /* ascending within a row */
	const double *value;
};

struct mmq_frame {
	size_t rows, columns_count;
	struct mmq_column *columns;   /* in file or message order */
	struct mmq_csr sparse;        /* sparse.row_start != NULL: features are here, columns[] holds only label, weight, ... */
	struct mmq_arena arena;
};

/* Rows that could not be read or prepared, for `on_row_error: report`: at most one error per row, in row order. */
struct mmq_row_error {
	size_t row;
	struct mmq_err err;
};
struct mmq_row_errors {
	struct mmq_row_error *items;
	size_t count, capacity;
};
void mmq_row_errors_add(struct mmq_row_errors *errors, size_t row, const struct mmq_err *err);
void mmq_row_errors_fini(struct mmq_row_errors *errors);

void mmq_frame_init(struct mmq_frame *frame);
void mmq_frame_reset(struct mmq_frame *frame);   /* empty, memory kept for the next request */
void mmq_frame_fini(struct mmq_frame *frame);
const struct mmq_column *mmq_frame_find(const struct mmq_frame *frame, const char *name);  /* NULL: not there */
/* A new column at the end, its cells from the arena and writable through the returned pointers; rows must be set. */
double *mmq_frame_add_numbers(struct mmq_frame *frame, const char *name, size_t width);
struct mmq_text *mmq_frame_add_texts(struct mmq_frame *frame, const char *name);
/* A new column of one number per row over numbers that live elsewhere: numbers[row * stride]. */
void mmq_frame_add_view(struct mmq_frame *frame, const char *name, const double *numbers, size_t stride);

static inline double
mmq_column_number(const struct mmq_column *column, size_t row)
{
	return column->numbers[row * column->stride];
}

static inline struct mmq_text
mmq_column_text(const struct mmq_column *column, size_t row)
{
	return column->texts[row * column->stride];
}

/* Canonical text of a number as a category: integral values in decimal ("3", "-0" is "0"), others shortest round-trip.
 * text_out holds at least 32 bytes; returns its length. NaN gives 0. */
size_t mmq_canonical_number(double value, char *text_out);

#endif
