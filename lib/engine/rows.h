/* rows.h: one prepared row of any batch form as plain dense numbers, for engines that work on those. */
#ifndef MMQ_ENGINE_ROWS_H
#define MMQ_ENGINE_ROWS_H

#include "engine/engine.h"

/* Row `row` of x (dense F32 or F64, or CSR; checked by mmq_check_batch) into out (x->cols). */
void mmq_rows_get_f32(const struct mmq_batch *x, size_t row, float *out);
/* The same in double. */
void mmq_rows_get_f64(const struct mmq_batch *x, size_t row, double *out);

#endif
