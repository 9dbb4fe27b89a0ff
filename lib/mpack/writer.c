/* writer.c: thin names over msgpack-c's packer, plus arrays of doubles packed in one pass. */
#include "mpack/writer.h"

#include <math.h>
#include <msgpack.h>
#include <string.h>

static int
append(void *arg, const char *bytes, size_t size)
{
	mmq_buf_append(arg, bytes, size);
	return 0;
}

static msgpack_packer
packer(struct mmq_buf *buf)
{
	msgpack_packer pk;
	msgpack_packer_init(&pk, buf, append);
	return pk;
}

void
mmq_put_nil(struct mmq_buf *buf)
{
	msgpack_packer pk = packer(buf);
	msgpack_pack_nil(&pk);
}

void
mmq_put_bool(struct mmq_buf *buf, bool value)
{
	msgpack_packer pk = packer(buf);
	value ? msgpack_pack_true(&pk) : msgpack_pack_false(&pk);
}

void
mmq_put_int(struct mmq_buf *buf, int64_t value)
{
	msgpack_packer pk = packer(buf);
	msgpack_pack_int64(&pk, value);
}

void
mmq_put_uint(struct mmq_buf *buf, uint64_t value)
{
	if (value < 128) {  /* most are: one byte, without a call for it */
		uint8_t small = (uint8_t)value;
		mmq_buf_append(buf, &small, 1);
		return;
	}
	msgpack_packer pk = packer(buf);
	msgpack_pack_uint64(&pk, value);
}

void
mmq_put_double(struct mmq_buf *buf, double value)
{
	msgpack_packer pk = packer(buf);
	if (isnan(value))
		msgpack_pack_nil(&pk);
	else
		msgpack_pack_double(&pk, value);
}

void
mmq_put_strn(struct mmq_buf *buf, const char *text, size_t size)
{
	uint8_t *room;

	if (size < 32) {  /* the head is one byte: both in one go */
		room = mmq_buf_extend(buf, 1 + size);
		if (room == NULL)
			return;
		room[0] = (uint8_t)(0xa0 | size);
		if (size > 0)
			memcpy(room + 1, text, size);
		return;
	}
	msgpack_packer pk = packer(buf);
	msgpack_pack_str(&pk, size);
	msgpack_pack_str_body(&pk, text, size);
}

void
mmq_put_str(struct mmq_buf *buf, const char *text)
{
	if (text == NULL)
		mmq_put_nil(buf);
	else
		mmq_put_strn(buf, text, strlen(text));
}

void
mmq_put_bin(struct mmq_buf *buf, const void *bytes, size_t size)
{
	msgpack_packer pk = packer(buf);
	msgpack_pack_bin(&pk, size);
	msgpack_pack_bin_body(&pk, bytes, size);
}

void
mmq_put_array(struct mmq_buf *buf, size_t count)
{
	msgpack_packer pk = packer(buf);
	msgpack_pack_array(&pk, count);
}

void
mmq_put_map(struct mmq_buf *buf, size_t pairs)
{
	msgpack_packer pk = packer(buf);
	msgpack_pack_map(&pk, pairs);
}

void
mmq_put_doubles(struct mmq_buf *buf, const double *values, size_t count)
{
	mmq_put_array(buf, count);
	for (size_t i = 0; i < count; i++) {
		if (isnan(values[i])) {
			mmq_put_nil(buf);
			continue;
		}
		uint64_t bits;
		memcpy(&bits, &values[i], sizeof(bits));
		bits = __builtin_bswap64(bits);
		uint8_t *room = mmq_buf_extend(buf, 9);
		if (room == NULL)
			return;
		room[0] = 0xcb;
		memcpy(room + 1, &bits, sizeof(bits));
	}
}

static size_t
container_begin(struct mmq_buf *buf, uint8_t first)
{
	const uint8_t head[5] = { first };
	size_t place = buf->size;
	mmq_buf_append(buf, head, sizeof(head));
	return place;
}

static void
container_end(struct mmq_buf *buf, size_t place, uint32_t count)
{
	if (buf->failed)
		return;
	for (unsigned i = 0; i < 4; i++)
		buf->bytes[place + 1 + i] = (uint8_t)(count >> (24 - 8 * i));
}

size_t
mmq_put_map_begin(struct mmq_buf *buf)
{
	return container_begin(buf, 0xdf);
}

void
mmq_put_map_end(struct mmq_buf *buf, size_t place, uint32_t pairs)
{
	container_end(buf, place, pairs);
}

size_t
mmq_put_array_begin(struct mmq_buf *buf)
{
	return container_begin(buf, 0xdd);
}

void
mmq_put_array_end(struct mmq_buf *buf, size_t place, uint32_t count)
{
	container_end(buf, place, count);
}
