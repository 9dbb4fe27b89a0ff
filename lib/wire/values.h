/* values.h: the values of a request into a frame: rows, columns, tensor or sparse, checked against a model's schema.
 *
 * The same code reads predict requests (a schema says what each column must be) and inline training data (nothing is known
 * yet: types are taken from the values). Numbers land in one row-major block with column strides; no cell is allocated
 * on its own. Texts point into the message. Counts are held to limits before memory is taken. */
#ifndef MMQ_WIRE_VALUES_H
#define MMQ_WIRE_VALUES_H

#include <stdbool.h>
#include <stddef.h>

#include "data/frame.h"
#include "data/schema.h"
#include "util/err.h"
#include "wire/peek.h"

enum mmq_values_form { MMQ_VALUES_NONE, MMQ_VALUES_ROWS, MMQ_VALUES_COLUMNS, MMQ_VALUES_TENSOR, MMQ_VALUES_SPARSE };

struct mmq_values_options {
	const struct mmq_schema *schema;   /* the model's; NULL: training data, types from the values */
	bool extra_is_ignored;             /* `extra: ignore`: unknown keys of map rows and of columns are passed over */
	struct mmq_row_errors *errors;     /* `on_row_error: report`: bad rows go here, their cells are missing; NULL: the first one fails */
	size_t width;                      /* training, sparse rows: columns; 0: the largest index + 1 */
	size_t rows_max, cells_max;        /* RESOURCE_EXHAUSTED past them; cells: numbers or texts that the frame will hold */
};
#define MMQ_VALUES_ROWS_MAX ((size_t)1 << 20)
#define MMQ_VALUES_CELLS_MAX ((size_t)1 << 24)
#define MMQ_TRAIN_CELLS_MAX ((size_t)1 << 26)
#define MMQ_TRAIN_COLUMNS_MAX ((size_t)100000)

/* Read the one of `rows`, `columns`, `tensor`, `sparse` that the map (size bytes: a request, a train request's `data`, or a msgpack
 * payload) has, into frame (initialised or reset). payload: a `tensor` payload's bytes, NULL if none. The map must have passed mmq_peek or
 * mmq_wire_check, and lives as long as the frame. With a schema the frame gets the schema's input fields in order (numbers: NUMBER;
 * categorical, text, datetime and boolean: TEXT, or NUMBER when they came in a numeric tensor), or its sparse block if the schema has one.
 * Without: the columns as they came; `names` in the map names those of list rows and tensors (else c0, c1, ...).
 * -1: INVALID_ARGUMENT naming e.g. "rows[3].age", "columns.age[3]", "tensor.shape"; RESOURCE_EXHAUSTED past a limit. */
int mmq_values_read(struct mmq_frame *frame, enum mmq_values_form *form_out, const void *map, size_t size, const struct mmq_text *payload,
    const struct mmq_values_options *options, struct mmq_err *err);

#endif
