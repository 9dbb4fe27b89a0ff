/* tensor.h: {dtype, shape, data} and the maps of the msgpack-numpy packages, checked and read element by element.
 *
 * Nothing is copied: data points into the message, at any alignment. The element count is held to the bytes that came. */
#ifndef MMQ_WIRE_TENSOR_H
#define MMQ_WIRE_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "data/frame.h"
#include "data/part.h"
#include "mpack/reader.h"
#include "util/err.h"

struct mmq_tensor_view {
	enum mmq_dtype dtype;
	unsigned rank;                  /* 0 (a NumPy scalar) to 4 */
	uint64_t shape[MMQ_TENSOR_RANK_MAX];
	size_t count;                   /* product of shape */
	const uint8_t *data;            /* little-endian, row-major; NULL for MMQ_STR */
	struct mmq_reader texts;        /* MMQ_STR: stands before the first of count list elements */
};

/* Read one map. payload: the bytes of the second frame when the map has no `data` of its own (NULL: it must have). field names the place
 * in errors: INVALID_ARGUMENT for "<field>.dtype", "<field>.shape", "<field>.data". */
int mmq_tensor_view_read(struct mmq_tensor_view *view, struct mmq_reader *reader, const char *field, const struct mmq_text *payload,
    struct mmq_err *err);

/* Element i as a number; not for MMQ_STR. NaN stays NaN. Returns NULL, or what is wrong with it in words (infinite, beyond 2^53). */
const char *mmq_tensor_view_number(const struct mmq_tensor_view *view, size_t i, double *number_out);

#endif
