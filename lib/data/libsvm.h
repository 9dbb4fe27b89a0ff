/* libsvm.h: LIBSVM's text format, "label index:value ...", into a frame with a sparse block and a column "label". */
#ifndef MMQ_DATA_LIBSVM_H
#define MMQ_DATA_LIBSVM_H

#include "data/frame.h"
#include "data/limits.h"
#include "util/err.h"

struct mmq_libsvm_options {
	struct mmq_data_limits limits;
	size_t width;      /* columns; 0: the largest index. An index beyond it is INVALID_ARGUMENT */
};

/* Indices count from 1 in the file and ascend; column i of the block is index i + 1. '#' begins a comment. Errors name file, line and
 * byte of the line. frame is empty. */
int mmq_libsvm_read(struct mmq_frame *frame, const char *bytes, size_t size, const char *name, const struct mmq_libsvm_options *options,
    struct mmq_err *err);

#endif
