/* file.h: a whole file into memory, and gzip undone, both up to a stated size. */
#ifndef MMQ_UTIL_FILE_H
#define MMQ_UTIL_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/* Read fd to its end; *bytes_out is the caller's to free(). name is for error texts. RESOURCE_EXHAUSTED: more than bytes_max. */
int mmq_file_read(int fd, const char *name, size_t bytes_max, uint8_t **bytes_out, size_t *size_out, struct mmq_err *err);
/* Unpack gzip (several members are joined). INVALID_ARGUMENT: damaged or truncated; RESOURCE_EXHAUSTED: more than bytes_max comes out. */
int mmq_gunzip(const uint8_t *bytes, size_t size, const char *name, size_t bytes_max, uint8_t **bytes_out, size_t *size_out, struct mmq_err *err);

#endif
