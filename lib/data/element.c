/* element.c: bytes to one double. */
#include "data/element.h"

#include <math.h>
#include <string.h>

double
mmq_half_to_double(uint16_t half)
{
	int exponent = half >> 10 & 31, fraction = half & 1023;
	double value = exponent == 0 ? ldexp(fraction, -24) : exponent < 31 ? ldexp(fraction + 1024, exponent - 25) : fraction != 0 ? NAN : INFINITY;

	return half & 0x8000 ? -value : value;
}

static double
from_bits32(uint32_t bits)
{
	float single;
	memcpy(&single, &bits, sizeof(single));
	return (double)single;
}

static double
from_bits64(uint64_t bits)
{
	double number;
	memcpy(&number, &bits, sizeof(number));
	return number;
}

double
mmq_element_read(const unsigned char *at, enum mmq_dtype dtype, bool is_big_endian, bool *exact_out)
{
	size_t width = mmq_dtype_bytes(dtype);
	uint64_t bits = 0;

	for (size_t i = 0; i < width; i++)
		bits = bits << 8 | at[is_big_endian ? i : width - 1 - i];
	switch (dtype) {
	case MMQ_BOOL: return bits != 0;
	case MMQ_I8: return (int8_t)bits;
	case MMQ_I16: return (int16_t)bits;
	case MMQ_I32: return (int32_t)bits;
	case MMQ_I64:
		if ((int64_t)bits > (int64_t)1 << 53 || (int64_t)bits < -((int64_t)1 << 53))
			*exact_out = false;
		return (double)(int64_t)bits;
	case MMQ_U64:
		if (bits > (uint64_t)1 << 53)
			*exact_out = false;
		return (double)bits;
	case MMQ_F16: return mmq_half_to_double((uint16_t)bits);
	case MMQ_F32: return from_bits32((uint32_t)bits);
	case MMQ_F64: return from_bits64(bits);
	default: return (double)bits;
	}
}
