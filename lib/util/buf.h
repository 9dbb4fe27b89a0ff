/* buf.h: bytes that grow up to a stated maximum. Going past it sets `failed` and keeps what was there. */
#ifndef MMQ_UTIL_BUF_H
#define MMQ_UTIL_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mmq_buf {
	uint8_t *bytes;
	size_t size, capacity, bytes_max;
	bool failed;  /* an append did not fit; checked once at the end instead of after each append */
};

void mmq_buf_init(struct mmq_buf *buf, size_t bytes_max);
void mmq_buf_fini(struct mmq_buf *buf);
void mmq_buf_reset(struct mmq_buf *buf);                                     /* size 0, memory kept */
void mmq_buf_append(struct mmq_buf *buf, const void *bytes, size_t size);
void mmq_buf_printf(struct mmq_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint8_t *mmq_buf_extend(struct mmq_buf *buf, size_t size);                   /* room for size bytes, counted in; NULL past the maximum */
uint8_t *mmq_buf_take(struct mmq_buf *buf, size_t *size_out);                /* the bytes become the caller's to free(); buf is empty */
const char *mmq_buf_text(struct mmq_buf *buf);                               /* NUL-terminated view; valid until the next append */

#endif
