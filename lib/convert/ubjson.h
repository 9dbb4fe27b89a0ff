/* ubjson.h: Universal Binary JSON (draft 12) into jansson values, bounded. */
#ifndef MMQ_CONVERT_UBJSON_H
#define MMQ_CONVERT_UBJSON_H

#include <jansson.h>
#include <stddef.h>

#include "util/err.h"

/* NULL: DATA_LOSS with the place. Depth, and memory by the number of bytes, are bounded: an announced count is held to what is left. */
json_t *mmq_ubjson_read(const void *bytes, size_t size, struct mmq_err *err);

#endif
