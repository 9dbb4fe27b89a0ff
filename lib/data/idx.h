/* idx.h: the IDX format of MNIST (big-endian header, then numbers) as columns. */
#ifndef MMQ_DATA_IDX_H
#define MMQ_DATA_IDX_H

#include "data/frame.h"
#include "data/limits.h"
#include "util/err.h"

/* Append one column called `column` to frame: rank 1 a number per row; rank 2 to 5 a vector of shape dims[1..]. Types u8, i8, i16, i32, f32,
 * f64. The frame is empty, or has as many rows. name is the source in error texts. */
int mmq_idx_read(struct mmq_frame *frame, const char *column, const void *bytes, size_t size, const char *name, const struct mmq_data_limits *limits,
    struct mmq_err *err);

#endif
