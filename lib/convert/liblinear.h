/* liblinear.h: models of LIBLINEAR, read and written: all solver types, with or without bias, several classes, one class. They predict in double.
 *
 * What scaling preparation does to inputs and target is folded into the weights that are written, so that the file takes raw rows. Softmax models are
 * written as MCSVM_CS, which gives the same labels and no probabilities, since LIBLINEAR's own are one against the rest. */
#ifndef MMQ_CONVERT_LIBLINEAR_H
#define MMQ_CONVERT_LIBLINEAR_H

#include "convert/convert.h"

bool mmq_liblinear_is_it(const uint8_t *bytes, size_t size);
int mmq_liblinear_read(struct mmq_converted *converted, const uint8_t *bytes, size_t size, struct mmq_err *err);
int mmq_liblinear_write(const struct mmq_converted *converted, struct mmq_buf *out, struct mmq_err *err);

#endif
