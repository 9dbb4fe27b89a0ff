/* rows.h: one prepared row of any batch form as plain dense numbers, for engines that do not take missing values. */
#ifndef MMQ_ENGINE_ROWS_H
#define MMQ_ENGINE_ROWS_H

#include "engine/engine.h"

/* Row `row` of x (dense F32 or F64, or CSR) into out (x->cols). INVALID_ARGUMENT names the row and column of a NaN or infinity. */
int mmq_rows_get_f32(const struct mmq_batch *x, size_t row, float *out, struct mmq_err *err);

/* Refuse what such an engine cannot take at all: categories, or a width other than cols_want (SIZE_MAX: any). */
int mmq_rows_check(const struct mmq_batch *x, const char *engine, size_t cols_want, struct mmq_err *err);

#endif
