/* npy.c: magic, version, header length, then a Python dict as text: {'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }.
 * The dict is read by a small scanner that knows these three keys and nothing else; every number is checked before memory is taken. */
#include "data/npy.h"

#include <stdio.h>
#include <string.h>

#include "data/element.h"

enum { RANK_MAX = 5 };

struct npy {
	enum mmq_dtype dtype;
	bool is_big_endian, is_fortran;
	size_t rank, shape[RANK_MAX];
	unsigned seen;  /* bit 0 descr, 1 fortran_order, 2 shape */
};

static int
refuse(struct mmq_err *err, const char *name, const char *what)
{
	return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "%s is not a good .npy file: %s", name, what);
}

static bool
take(const char **at, const char *end, const char *text)
{
	size_t size = strlen(text);
	while (*at < end && (**at == ' ' || **at == '\n'))
		(*at)++;
	if ((size_t)(end - *at) < size || memcmp(*at, text, size) != 0)
		return false;
	*at += size;
	return true;
}

static bool
take_dtype(struct npy *npy, const char **at, const char *end)
{
	static const struct { const char *text; enum mmq_dtype dtype; } types[] = {
		{ "b1", MMQ_BOOL }, { "u1", MMQ_U8 }, { "i1", MMQ_I8 }, { "u2", MMQ_U16 }, { "i2", MMQ_I16 }, { "u4", MMQ_U32 }, { "i4", MMQ_I32 },
		{ "u8", MMQ_U64 }, { "i8", MMQ_I64 }, { "f2", MMQ_F16 }, { "f4", MMQ_F32 }, { "f8", MMQ_F64 },
	};
	if (!take(at, end, "'"))
		return false;
	npy->is_big_endian = take(at, end, ">");
	if (!npy->is_big_endian && !take(at, end, "<") && !take(at, end, "|"))
		return false;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (take(at, end, types[i].text)) {
			npy->dtype = types[i].dtype;
			return take(at, end, "'");
		}
	return false;
}

static bool
take_shape(struct npy *npy, const char **at, const char *end)
{
	if (!take(at, end, "("))
		return false;
	while (!take(at, end, ")")) {
		size_t value = 0;
		int digits = 0;
		if (npy->rank == RANK_MAX)
			return false;
		for (take(at, end, ""); *at < end && **at >= '0' && **at <= '9' && digits < 15; (*at)++, digits++)
			value = value * 10 + (size_t)(**at - '0');
		if (digits == 0)
			return false;
		npy->shape[npy->rank++] = value;
		if (!take(at, end, ",") && !(*at < end && **at == ')'))
			return false;
	}
	return true;
}

static bool
take_dict(struct npy *npy, const char *at, const char *end)
{
	if (!take(&at, end, "{"))
		return false;
	while (!take(&at, end, "}")) {
		unsigned key;
		bool is_good;
		if (take(&at, end, "'descr':")) {
			key = 1;
			is_good = take_dtype(npy, &at, end);
		} else if (take(&at, end, "'fortran_order':")) {
			key = 2;
			npy->is_fortran = take(&at, end, "True");
			is_good = npy->is_fortran || take(&at, end, "False");
		} else if (take(&at, end, "'shape':")) {
			key = 4;
			is_good = take_shape(npy, &at, end);
		} else {
			return false;
		}
		if (!is_good || (npy->seen & key))
			return false;
		npy->seen |= key;
		if (!take(&at, end, ",") && !(at < end && *at == '}'))
			return false;
	}
	return npy->seen == 7;
}

/* numbers (rows, width) in C order from the file's order. */
static bool
fill(const struct npy *npy, const unsigned char *data, double *numbers, size_t values)
{
	size_t bytes = mmq_dtype_bytes(npy->dtype), index[RANK_MAX] = { 0 };
	bool exact = true;

	for (size_t i = 0; i < values; i++) {
		size_t from = i;
		if (npy->is_fortran && npy->rank > 1) {
			from = 0;
			for (size_t k = npy->rank; k-- > 0;)
				from = from * npy->shape[k] + index[k];
			for (size_t k = npy->rank; k-- > 0 && ++index[k] == npy->shape[k];)
				index[k] = 0;
		}
		numbers[i] = mmq_element_read(data + from * bytes, npy->dtype, npy->is_big_endian, &exact);
	}
	return exact;
}

/* d columns that share one block of numbers, each with stride d. */
static void
add_columns(struct mmq_frame *frame, const char *prefix, const char *const *names, const double *numbers, size_t width)
{
	char generated[80];

	for (size_t i = 0; i < width; i++) {
		snprintf(generated, sizeof(generated), "%.40s%zu", prefix, i);
		mmq_frame_add_view(frame, names != NULL ? names[i] : generated, numbers + i, width);
	}
}

static int
read_header(struct npy *npy, const unsigned char *at, size_t size, size_t *data_at_out, const char *name, struct mmq_err *err)
{
	bool exact = true;

	if (size < 12 || memcmp(at, "\x93NUMPY", 6) != 0 || at[6] < 1 || at[6] > 3)
		return refuse(err, name, "it does not begin with the magic of versions 1 to 3");
	size_t prefix = at[6] == 1 ? 10 : 12;
	size_t length = (size_t)mmq_element_read(at + 8, at[6] == 1 ? MMQ_U16 : MMQ_U32, false, &exact);
	if (length > size - prefix)
		return refuse(err, name, "its header is truncated");
	if (!take_dict(npy, (const char *)at + prefix, (const char *)at + prefix + length))
		return refuse(err, name, "want a header of descr (plain numbers), fortran_order and shape (1 to 5 dimensions)");
	*data_at_out = prefix + length;
	return 0;
}

int
mmq_npy_read(struct mmq_frame *frame, const char *prefix, const char *const *names, size_t names_count, const void *bytes, size_t size,
    const char *name, const struct mmq_data_limits *limits, struct mmq_err *err)
{
	struct npy npy = { .rank = 0 };
	size_t data_at = 0, width = 1, values;

	if (read_header(&npy, bytes, size, &data_at, name, err) == -1)
		return -1;
	for (size_t i = 1; i < npy.rank; i++)
		if (npy.shape[i] == 0 || !mmq_size_mul(width, npy.shape[i], &width))
			return refuse(err, name, "a dimension is 0 or too large");
	size_t rows = npy.rank > 0 ? npy.shape[0] : 0;
	if (rows == 0)
		return refuse(err, name, "it has no rows");
	if (rows > limits->rows_max || rows > UINT32_MAX || (npy.rank == 2 && width > limits->cols_max) || !mmq_size_mul(rows, width, &values) ||
	    values > limits->values_max)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s: %zu rows of %zu numbers are beyond rows_max, cols_max or values_max", name, rows, width);
	if (size - data_at != values * mmq_dtype_bytes(npy.dtype))
		return refuse(err, name, size - data_at < values * mmq_dtype_bytes(npy.dtype) ? "it is truncated" : "bytes follow its end");
	if (frame->columns_count > 0 && frame->rows != rows)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, prefix, "as many rows as the other file", "%zu rows, want %zu", rows, frame->rows);
	if (npy.rank == 2 && names != NULL && names_count != width)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "names", "one name per column", "%zu names for %zu columns", names_count, width);
	frame->rows = rows;
	double *numbers;
	if (npy.rank == 2) {
		numbers = mmq_arena_get(&frame->arena, values * sizeof(*numbers));
		add_columns(frame, prefix, names, numbers, width);
	} else {
		numbers = mmq_frame_add_numbers(frame, prefix, width);
		struct mmq_column *column = &frame->columns[frame->columns_count - 1];
		column->rank = (uint32_t)npy.rank - 1;
		for (size_t i = 1; i < npy.rank; i++)
			column->shape[i - 1] = (uint32_t)npy.shape[i];
	}
	if (!fill(&npy, (const unsigned char *)bytes + data_at, numbers, values))
		return refuse(err, name, "an integer is beyond 2^53, which a number cannot hold exactly");
	return 0;
}
