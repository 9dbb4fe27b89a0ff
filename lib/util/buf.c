/* buf.c: a growable byte buffer with a maximum. */
#include "util/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

void
mmq_buf_init(struct mmq_buf *buf, size_t bytes_max)
{
	*buf = (struct mmq_buf){ .bytes_max = bytes_max };
}

void
mmq_buf_fini(struct mmq_buf *buf)
{
	free(buf->bytes);
	*buf = (struct mmq_buf){ .bytes_max = buf->bytes_max };
}

void
mmq_buf_reset(struct mmq_buf *buf)
{
	buf->size = 0;
	buf->failed = false;
}

uint8_t *
mmq_buf_extend(struct mmq_buf *buf, size_t size)
{
	if (buf->failed || size > buf->bytes_max - buf->size) {
		buf->failed = true;
		return NULL;
	}
	size_t need = buf->size + size;
	if (need > buf->capacity) {
		size_t capacity = buf->capacity < 128 ? 128 : buf->capacity * 2;
		buf->capacity = capacity < need ? need : capacity;
		buf->bytes = mmq_grow(buf->bytes, buf->capacity, 1);
	}
	uint8_t *room = buf->bytes + buf->size;
	buf->size = need;
	return room;
}

void
mmq_buf_append(struct mmq_buf *buf, const void *bytes, size_t size)
{
	if (size == 0)
		return;
	uint8_t *room = mmq_buf_extend(buf, size);
	if (room != NULL)
		memcpy(room, bytes, size);
}

void
mmq_buf_printf(struct mmq_buf *buf, const char *format, ...)
{
	char small[256];
	va_list ap;

	va_start(ap, format);
	int length = vsnprintf(small, sizeof(small), format, ap);
	va_end(ap);
	if (length < 0) {
		buf->failed = true;
		return;
	}
	if ((size_t)length < sizeof(small)) {
		mmq_buf_append(buf, small, (size_t)length);
		return;
	}
	char *large = mmq_alloc((size_t)length + 1);
	va_start(ap, format);
	vsnprintf(large, (size_t)length + 1, format, ap);
	va_end(ap);
	mmq_buf_append(buf, large, (size_t)length);
	free(large);
}

uint8_t *
mmq_buf_take(struct mmq_buf *buf, size_t *size_out)
{
	uint8_t *bytes = buf->bytes;
	*size_out = buf->size;
	mmq_buf_init(buf, buf->bytes_max);
	return bytes;
}

const char *
mmq_buf_text(struct mmq_buf *buf)
{
	/* One byte past size: grow without counting it, so that the maximum still speaks of content. */
	if (buf->size == buf->capacity) {
		buf->capacity += 16;
		buf->bytes = mmq_grow(buf->bytes, buf->capacity, 1);
	}
	buf->bytes[buf->size] = '\0';
	return (const char *)buf->bytes;
}
