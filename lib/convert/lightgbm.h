/* lightgbm.h: text models of LightGBM (format v3 and v4): regression (with log links), binary, multiclass; categories; all kinds of missing values.
 * They predict in double. Refused with a reason: linear trees, other objectives and links. */
#ifndef MMQ_CONVERT_LIGHTGBM_H
#define MMQ_CONVERT_LIGHTGBM_H

#include "convert/trees.h"

/* import: initialised by the call; fini it after 0. FAILED_PRECONDITION: what this reader does not take; DATA_LOSS with the line's number. */
int mmq_lightgbm_read(struct mmq_import *import, const void *text, size_t size, struct mmq_err *err);

/* The row of the table of formats. */
bool mmq_lightgbm_is_it(const uint8_t *bytes, size_t size);
int mmq_lightgbm_convert(struct mmq_converted *converted, const uint8_t *bytes, size_t size, struct mmq_err *err);
/* lightgbm_write.c. FAILED_PRECONDITION: a preparation that the format cannot say. */
int mmq_lightgbm_write(const struct mmq_converted *converted, struct mmq_buf *out, struct mmq_err *err);

#endif
