/* npy.h: NumPy's .npy files, versions 1 to 3, of plain numbers. */
#ifndef MMQ_DATA_NPY_H
#define MMQ_DATA_NPY_H

#include "data/frame.h"
#include "data/limits.h"
#include "util/err.h"

/* (rows): one column, `prefix`. (rows, d): d columns, named by names (names_count of them) or prefix0, prefix1, ... (rows, a, b, ..): one vector
 * column, `prefix`. dtypes b1 u1 i1 u2 i2 u4 i4 u8 i8 f2 f4 f8 of either byte order; integers beyond 2^53 are refused. C or Fortran order. */
int mmq_npy_read(struct mmq_frame *frame, const char *prefix, const char *const *names, size_t names_count, const void *bytes, size_t size,
    const char *name, const struct mmq_data_limits *limits, struct mmq_err *err);

#endif
