/* idx.c: two zero bytes, a type, a rank, the sizes as big-endian 32-bit numbers, then the numbers row by row. */
#include "data/idx.h"

#include <string.h>

#include "data/element.h"

static int
type_of(unsigned char code)
{
	switch (code) {
	case 0x08: return MMQ_U8;
	case 0x09: return MMQ_I8;
	case 0x0b: return MMQ_I16;
	case 0x0c: return MMQ_I32;
	case 0x0d: return MMQ_F32;
	case 0x0e: return MMQ_F64;
	default: return -1;
	}
}

static int
refuse(struct mmq_err *err, const char *name, const char *what)
{
	return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "%s is not a good IDX file: %s", name, what);
}

int
mmq_idx_read(struct mmq_frame *frame, const char *column, const void *bytes, size_t size, const char *name, const struct mmq_data_limits *limits,
    struct mmq_err *err)
{
	const unsigned char *at = bytes;
	uint32_t dims[5];
	size_t width = 1, values;
	bool exact = true;

	if (size < 4 || at[0] != 0 || at[1] != 0 || type_of(at[2]) == -1)
		return refuse(err, name, "its first bytes are not 0 0 and a known type");
	enum mmq_dtype dtype = (enum mmq_dtype)type_of(at[2]);
	size_t rank = at[3];
	if (rank < 1 || rank > 5 || size < 4 + 4 * rank)
		return refuse(err, name, "it has no 1 to 5 dimensions");
	for (size_t i = 0; i < rank; i++)
		dims[i] = (uint32_t)mmq_element_read(at + 4 + 4 * i, MMQ_U32, true, &exact);
	for (size_t i = 1; i < rank; i++)
		if (dims[i] == 0 || !mmq_size_mul(width, dims[i], &width))
			return refuse(err, name, "a dimension is 0 or too large");
	size_t rows = dims[0], left = size - 4 - 4 * rank;
	if (!mmq_size_mul(rows, width, &values) || rows > limits->rows_max || width > limits->values_max || values > limits->values_max)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s: %zu rows of %zu numbers are beyond rows_max or values_max", name, rows, width);
	if (rows == 0 || left != values * mmq_dtype_bytes(dtype))
		return refuse(err, name, rows == 0 ? "it has no rows" : left < values * mmq_dtype_bytes(dtype) ? "it is truncated" : "bytes follow its end");
	if (frame->columns_count > 0 && frame->rows != rows)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, column, "as many rows as the other file", "%zu rows, want %zu", rows, frame->rows);
	frame->rows = rows;
	double *numbers = mmq_frame_add_numbers(frame, column, width);
	struct mmq_column *added = &frame->columns[frame->columns_count - 1];
	added->rank = (uint32_t)rank - 1;
	memcpy(added->shape, dims + 1, (rank - 1) * sizeof(dims[0]));
	at += 4 + 4 * rank;
	if (dtype == MMQ_U8) {  /* images: the common case in a loop of its own */
		for (size_t i = 0; i < values; i++)
			numbers[i] = at[i];
		return 0;
	}
	for (size_t i = 0; i < values; i++)
		numbers[i] = mmq_element_read(at + i * mmq_dtype_bytes(dtype), dtype, true, &exact);
	return 0;
}
