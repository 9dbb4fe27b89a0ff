/* libsvm.h: models of LIBSVM, read and written: all five types and kernels, precomputed ones too, with probabilities. They predict in double.
 *
 * A kernel sees prepared rows and LIBSVM knows no preparation: a model that scales its inputs is written only with a linear kernel, where the scaling
 * goes into vectors and rho; other kernels are refused. A scaled target is folded in. Density marks of one-class models are read past. */
#ifndef MMQ_CONVERT_LIBSVM_H
#define MMQ_CONVERT_LIBSVM_H

#include "convert/convert.h"

bool mmq_libsvm_model_is_it(const uint8_t *bytes, size_t size);
int mmq_libsvm_model_read(struct mmq_converted *converted, const uint8_t *bytes, size_t size, struct mmq_err *err);
int mmq_libsvm_model_write(const struct mmq_converted *converted, struct mmq_buf *out, struct mmq_err *err);

#endif
