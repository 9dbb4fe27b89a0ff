/* tensor.c: reading tensors. The keys may come in any order, as strings or (older msgpack-numpy) as binary. */
#include "wire/tensor.h"

#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "wire/want.h"

enum { TENSOR_NAME_MAX = 96 };

struct parts {
	bool is_numpy, has_type, has_shape, has_data;
	struct mmq_token data;
	struct mmq_reader data_at;
};

static bool
key_is(const struct mmq_token *key, const char *word)
{
	struct mmq_text text = { key->bytes, key->size };
	return (key->type == MMQ_T_STR || key->type == MMQ_T_BIN) && mmq_text_is(&text, word);
}

/* "field.key", without a format: this runs for every tensor, also when there is nothing to complain about. */
static void
name_of(char name_out[TENSOR_NAME_MAX], const char *field, const char *key)
{
	size_t field_size = strnlen(field, TENSOR_NAME_MAX / 2 - 1), key_size = strnlen(key, TENSOR_NAME_MAX / 2 - 1);

	memcpy(name_out, field, field_size);
	name_out[field_size] = '.';
	memcpy(name_out + field_size + 1, key, key_size);
	name_out[field_size + 1 + key_size] = '\0';
}

static int
refuse(const struct mmq_token *token, const char *field, const char *key, const char *want, struct mmq_err *err)
{
	char name[TENSOR_NAME_MAX];
	name_of(name, field, key);
	return mmq_want_refuse(token, name, want, err);
}

static int
read_dtype(struct mmq_tensor_view *view, const struct mmq_token *token, const char *field, struct mmq_err *err)
{
	int dtype = token->type == MMQ_T_STR ? mmq_dtype_from_name(token->bytes, token->size) : -1;
	if (dtype == -1)
		return refuse(token, field, "dtype", "bool, u8 u16 u32 u64, i8 i16 i32 i64, f16 f32 f64 or str", err);
	view->dtype = (enum mmq_dtype)dtype;
	return 0;
}

/* NumPy's type strings, "<f8": byte order, kind, bytes. */
static int
read_numpy_type(struct mmq_tensor_view *view, const struct mmq_token *token, const char *field, struct mmq_err *err)
{
	static const struct { char name[3]; enum mmq_dtype dtype; } types[] = {
		{ "b1", MMQ_BOOL }, { "u1", MMQ_U8 }, { "u2", MMQ_U16 }, { "u4", MMQ_U32 }, { "u8", MMQ_U64 }, { "i1", MMQ_I8 },
		{ "i2", MMQ_I16 }, { "i4", MMQ_I32 }, { "i8", MMQ_I64 }, { "f2", MMQ_F16 }, { "f4", MMQ_F32 }, { "f8", MMQ_F64 },
	};
	bool is_text = (token->type == MMQ_T_STR || token->type == MMQ_T_BIN) && token->size == 3;

	for (size_t i = 0; is_text && i < sizeof(types) / sizeof(types[0]); i++) {
		bool order_is_known = token->bytes[0] == '<' || token->bytes[0] == '|' || token->bytes[0] == '=';
		if (order_is_known && memcmp(token->bytes + 1, types[i].name, 2) == 0) {
			view->dtype = types[i].dtype;
			return 0;
		}
	}
	return refuse(token, field, "type", "a little-endian NumPy type of numbers or bool, e.g. <f8; send text as a list of strings", err);
}

static int
read_shape(struct mmq_tensor_view *view, struct mmq_reader *reader, const char *field, struct mmq_err *err)
{
	char name[TENSOR_NAME_MAX];
	uint32_t rank;

	name_of(name, field, "shape");
	if (mmq_want_array(reader, name, MMQ_TENSOR_RANK_MAX, &rank, err) == -1)
		return -1;
	view->rank = rank;
	view->count = 1;
	for (uint32_t i = 0; i < rank; i++) {
		int64_t length = 0;
		if (mmq_want_int(reader, name, 0, UINT32_MAX, &length, err) == -1)
			return -1;
		view->shape[i] = (uint64_t)length;
		if (!mmq_size_mul(view->count, (size_t)length, &view->count))
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, name, "a shape whose elements can be counted", "more than 2^64");
	}
	return 0;
}

/* One key and its value into the view or parts. */
static int
read_pair(struct mmq_tensor_view *view, struct parts *parts, struct mmq_reader *reader, const char *field, struct mmq_err *err)
{
	struct mmq_token key, value;

	if (!mmq_read(reader, &key))
		return mmq_want_broken(reader, err);
	if (key_is(&key, "shape")) {
		parts->has_shape = true;
		return read_shape(view, reader, field, err);
	}
	struct mmq_reader before = *reader;
	if (!mmq_read_skip(reader) || !mmq_read(&before, &value))
		return mmq_want_broken(reader, err);
	if (key_is(&key, "nd")) {
		parts->is_numpy = true;
	} else if (key_is(&key, "dtype")) {
		parts->has_type = true;
		return read_dtype(view, &value, field, err);
	} else if (key_is(&key, "type")) {
		parts->has_type = true;
		return read_numpy_type(view, &value, field, err);
	} else if (key_is(&key, "kind")) {
		if ((value.type == MMQ_T_STR || value.type == MMQ_T_BIN) && value.size > 0)
			return refuse(&value, field, "kind", "plain numbers: kinds O (Python objects) and V (records) are not read", err);
	} else if (key_is(&key, "data")) {
		parts->has_data = true;
		parts->data = value;
		parts->data_at = before;
	}
	return 0;
}

static int
check_data(struct mmq_tensor_view *view, const struct parts *parts, const char *field, const struct mmq_text *payload, struct mmq_err *err)
{
	char name[TENSOR_NAME_MAX], want[96];
	size_t bytes;

	name_of(name, field, "data");
	if (!parts->has_data && payload == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, name, "the elements", "nothing");
	if (view->dtype == MMQ_STR) {
		if (!parts->has_data || parts->data.type != MMQ_T_ARRAY || parts->data.size != view->count) {
			snprintf(want, sizeof(want), "a list of %zu strings, as the shape says", view->count);
			struct mmq_token none = { .type = MMQ_T_NONE };
			return mmq_want_refuse(parts->has_data ? &parts->data : &none, name, want, err);
		}
		view->texts = parts->data_at;
		return 0;
	}
	if (parts->has_data && parts->data.type != MMQ_T_BIN)
		return mmq_want_refuse(&parts->data, name, "binary", err);
	size_t size = parts->has_data ? parts->data.size : payload->size;
	if (!mmq_size_mul(view->count, mmq_dtype_bytes(view->dtype), &bytes) || bytes != size) {
		snprintf(want, sizeof(want), "%zu elements of %zu bytes, as dtype and shape say", view->count, mmq_dtype_bytes(view->dtype));
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, name, want, "%zu bytes", size);
	}
	view->data = (const uint8_t *)(parts->has_data ? parts->data.bytes : payload->at);
	return 0;
}

int
mmq_tensor_view_read(struct mmq_tensor_view *view, struct mmq_reader *reader, const char *field, const struct mmq_text *payload,
    struct mmq_err *err)
{
	struct parts parts = { .has_type = false };
	uint32_t pairs;
	char name[TENSOR_NAME_MAX];

	*view = (struct mmq_tensor_view){ .count = 1 };
	if (mmq_want_map(reader, field, &pairs, err) == -1)
		return -1;
	for (uint32_t i = 0; i < pairs; i++)
		if (read_pair(view, &parts, reader, field, err) == -1)
			return -1;
	if (!parts.has_type) {
		name_of(name, field, parts.is_numpy ? "type" : "dtype");
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, name, "the type of the elements, e.g. f32", "nothing");
	}
	if (!parts.has_shape && !parts.is_numpy) {  /* a NumPy scalar has no shape */
		name_of(name, field, "shape");
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, name, "a list of lengths", "nothing");
	}
	return check_data(view, &parts, field, payload, err);
}

/* IEEE 754 binary16. */
static double
half_to_double(uint16_t half)
{
	int exponent = half >> 10 & 31, fraction = half & 1023;
	double value;

	if (exponent == 31)
		value = fraction != 0 ? (double)NAN : (double)INFINITY;
	else if (exponent == 0)
		value = ldexp(fraction, -24);
	else
		value = ldexp(1024 + fraction, exponent - 25);
	return half >> 15 ? -value : value;
}

/* The element's bits, little-endian; copies of constant size compile to one load each. */
static uint64_t
element_bits(const uint8_t *data, size_t i, size_t width)
{
	uint64_t wide;
	uint32_t word;
	uint16_t half;

	switch (width) {
	case 8:
		memcpy(&wide, data + i * 8, sizeof(wide));
		return le64toh(wide);
	case 4:
		memcpy(&word, data + i * 4, sizeof(word));
		return le32toh(word);
	case 2:
		memcpy(&half, data + i * 2, sizeof(half));
		return le16toh(half);
	default:
		return data[i];
	}
}

const char *
mmq_tensor_view_number(const struct mmq_tensor_view *view, size_t i, double *number_out)
{
	size_t width = mmq_dtype_bytes(view->dtype);
	uint64_t bits = element_bits(view->data, i, width);
	unsigned unused_bits = (unsigned)(64 - 8 * width);
	int64_t whole = (int64_t)(bits << unused_bits) >> unused_bits;
	uint32_t low = (uint32_t)bits;
	float single;

	switch (view->dtype) {
	case MMQ_F64:
		memcpy(number_out, &bits, sizeof(*number_out));
		break;
	case MMQ_F32:
		memcpy(&single, &low, sizeof(single));
		*number_out = (double)single;
		break;
	case MMQ_F16:
		*number_out = half_to_double((uint16_t)bits);
		break;
	case MMQ_BOOL:
		*number_out = bits != 0;
		return NULL;
	case MMQ_I8: case MMQ_I16: case MMQ_I32: case MMQ_I64:
		*number_out = (double)whole;
		return whole > INT64_C(1) << 53 || whole < -(INT64_C(1) << 53) ? "an integer beyond 2^53" : NULL;
	default:
		*number_out = (double)bits;
		return bits > UINT64_C(1) << 53 ? "an integer beyond 2^53" : NULL;
	}
	return isinf(*number_out) ? "infinity" : NULL;
}
