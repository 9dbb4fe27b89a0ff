/* cells.h: the table being filled while values are read; shared by rows.c, columns.c, sparse.c and infer.c, inner to lib/wire.
 *
 * A slot is one input column: what it must hold and where its cells lie. Numbers of all slots lie in one row-major block and texts in
 * another, so that a row of any kind is written by walking the slots. */
#ifndef MMQ_WIRE_CELLS_H
#define MMQ_WIRE_CELLS_H

#include <math.h>
#include <string.h>

#include "wire/tensor.h"
#include "wire/values.h"

struct mmq_slot {
	const char *name;             /* the schema's, or in the frame's arena */
	enum mmq_field_kind kind;
	bool required;
	bool as_number;               /* a kind that is text otherwise came in a numeric tensor: keep its numbers */
	uint32_t rank, shape[4];
	size_t width;                 /* numbers per row */
	double *numbers;              /* of row 0; the kind decides which of the two there is */
	struct mmq_text *texts;
	size_t stride;
	unsigned seen;                /* inference: what kinds of values there were */
	uint32_t row_mark;            /* the row last written, + 1: finds absent and repeated keys */
};

struct mmq_cells {
	struct mmq_frame *frame;
	const struct mmq_values_options *options;
	struct mmq_slot *slots;
	size_t slots_count, slots_capacity;
	size_t numbers_width;         /* numbers per row over all number slots */
	size_t texts_width;           /* text slots */
	bool by_column;               /* errors read "columns.x[3]" instead of "rows[3].x" */
	const char *form;             /* "rows", "tensor", ... */
	uint32_t *buckets;            /* names to slots, made at the first key that is not where it was expected */
	size_t buckets_count;
};

bool mmq_slot_is_text(const struct mmq_slot *slot);
struct mmq_slot *mmq_cells_add(struct mmq_cells *cells, const char *name, enum mmq_field_kind kind);
int mmq_cells_plan(struct mmq_cells *cells, struct mmq_err *err);  /* slots from the schema's input fields, or its sparse width as one vector "features" */

/* Hold rows and the slots' widths to the limits and take the memory, not cleared. Once, after the slots are known. */
int mmq_cells_alloc(struct mmq_cells *cells, size_t rows, struct mmq_err *err);
/* Point the frame's columns at the slots. */
void mmq_cells_finish(struct mmq_cells *cells);

/* Read one value into a cell. -1 names the place. */
int mmq_cell_read(struct mmq_cells *cells, size_t slot, size_t row, struct mmq_reader *reader, struct mmq_err *err);
int mmq_cell_put_text(struct mmq_cells *cells, size_t slot, size_t row, const struct mmq_token *token, struct mmq_err *err);
void mmq_cell_clear(struct mmq_cells *cells, size_t slot, size_t row);   /* missing */
void mmq_row_clear(struct mmq_cells *cells, size_t row);
/* "got a string, want a number" at a place. The value itself is not repeated: data does not belong into logs. Always -1. */
int mmq_cell_refuse(const struct mmq_cells *cells, size_t slot, size_t row, const char *got, const char *want, struct mmq_err *err);
/* What to do with a bad row: 0 if it was noted in options->errors, -1 if the request fails. */
int mmq_cells_note(const struct mmq_cells *cells, size_t row, const struct mmq_err *err);

/* A token as a number: NULL, or what is wrong with it in words. nil is NaN. */
const char *mmq_token_number(const struct mmq_token *token, double *number_out);

/* A finite or NaN double, which most clients send, read without making a token of it; false: anything else, nothing was read. */
static inline bool
mmq_read_double(struct mmq_reader *reader, double *number_out)
{
	uint64_t bits;

	if (reader->end - reader->at < 9 || reader->at[0] != 0xcb)
		return false;
	memcpy(&bits, reader->at + 1, sizeof(bits));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	bits = __builtin_bswap64(bits);
#endif
	memcpy(number_out, &bits, sizeof(bits));
	if (isinf(*number_out))
		return false;
	reader->at += 9;
	return true;
}

enum { MMQ_SLOT_NONE = -1, MMQ_SLOT_PASSED = -2 };  /* unknown; known to the schema under another role */
int64_t mmq_cells_find(struct mmq_cells *cells, const struct mmq_text *name, size_t guess);

/* The forms. Each reads at the reader's place, where the value of its key begins. */
int mmq_rows_read(struct mmq_cells *cells, struct mmq_reader *reader, struct mmq_err *err);
int mmq_columns_read(struct mmq_cells *cells, struct mmq_reader *reader, struct mmq_err *err);
int mmq_tensor_fill(struct mmq_cells *cells, struct mmq_reader *reader, const struct mmq_text *payload, struct mmq_err *err);
int mmq_sparse_read(struct mmq_cells *cells, struct mmq_reader *reader, struct mmq_err *err);
/* List of {int: value} maps: rows of them, the reader before the first. */
int mmq_sparse_rows_read(struct mmq_cells *cells, struct mmq_reader *reader, size_t rows, struct mmq_err *err);
/* Cells that were read densely into one block (the schema is sparse): make it the frame's CSR. */
int mmq_dense_to_sparse(struct mmq_cells *cells, struct mmq_err *err);

/* infer.c, training data without a schema: find the slots by a first pass over the values. */
int mmq_infer_rows(struct mmq_cells *cells, struct mmq_reader reader, size_t rows, struct mmq_err *err);
int mmq_infer_list(struct mmq_cells *cells, size_t slot, struct mmq_reader reader, size_t rows, struct mmq_err *err);
int mmq_infer_names(struct mmq_cells *cells, struct mmq_reader *names, struct mmq_err *err);   /* `names` become slots */

#endif
