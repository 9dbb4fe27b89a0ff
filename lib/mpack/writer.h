/* writer.h: msgpack out into a struct mmq_buf, through msgpack-c's packer. Check buf->failed once at the end.
 *
 * mmq_put_map(buf, n) announces n pairs; the caller then puts n keys and n values. The shortest encoding is always used. */
#ifndef MMQ_MPACK_WRITER_H
#define MMQ_MPACK_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

void mmq_put_nil(struct mmq_buf *buf);
void mmq_put_bool(struct mmq_buf *buf, bool value);
void mmq_put_int(struct mmq_buf *buf, int64_t value);
void mmq_put_uint(struct mmq_buf *buf, uint64_t value);
void mmq_put_double(struct mmq_buf *buf, double value);      /* NaN is written as nil: the wire's word for "missing" */
void mmq_put_str(struct mmq_buf *buf, const char *text);     /* NUL-terminated; NULL is written as nil */
void mmq_put_strn(struct mmq_buf *buf, const char *text, size_t size);
void mmq_put_bin(struct mmq_buf *buf, const void *bytes, size_t size);
void mmq_put_array(struct mmq_buf *buf, size_t count);
void mmq_put_map(struct mmq_buf *buf, size_t pairs);
void mmq_put_doubles(struct mmq_buf *buf, const double *values, size_t count); /* an array; NaN as nil */

/* A map whose number of pairs is known only at the end: begin remembers the place, end writes the count there. */
size_t mmq_put_map_begin(struct mmq_buf *buf);
void mmq_put_map_end(struct mmq_buf *buf, size_t place, uint32_t pairs);
size_t mmq_put_array_begin(struct mmq_buf *buf);
void mmq_put_array_end(struct mmq_buf *buf, size_t place, uint32_t count);

#endif
