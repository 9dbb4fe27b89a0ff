/* json.h: cards are built and answered as msgpack and kept for people as JSON; these two turn one into the other. */
#ifndef MMQ_MODEL_JSON_H
#define MMQ_MODEL_JSON_H

#include <stddef.h>

#include "util/buf.h"
#include "util/err.h"

/* One msgpack value (checked with mmq_wire_check or our own) -> indented JSON text. Binary becomes hexadecimal text; nil and
 * numbers that JSON cannot say become null. INVALID_ARGUMENT: not msgpack, or nested deeper than MMQ_WIRE_DEPTH_MAX. */
int mmq_json_encode(const void *msgpack, size_t size, struct mmq_buf *text_out, struct mmq_err *err);

/* JSON text -> msgpack, appended. DATA_LOSS: not JSON, or nested deeper than MMQ_WIRE_DEPTH_MAX. */
int mmq_json_decode(const void *text, size_t size, struct mmq_buf *msgpack_out, struct mmq_err *err);

#endif
