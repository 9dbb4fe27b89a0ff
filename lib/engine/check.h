/* check.h: what every engine has to refuse before it fits or predicts: wrong shapes, values that are not finite, codes out of
 * range. One place, so that all engines say it in the same words. INVALID_ARGUMENT names row and column. */
#ifndef MMQ_ENGINE_CHECK_H
#define MMQ_ENGINE_CHECK_H

#include "engine/engine.h"

/* Columns of the dense or sparse matrix that these features take: one per NUMERIC, the product of its shape per VECTOR. */
size_t mmq_check_feature_cols(const struct mmq_feature *features, size_t count);

/* Rows of an x that was trained with cols (and codes_cols). accepts: enum mmq_accepts; NaN passes only with MMQ_ACCEPTS_MISSING. */
int mmq_check_batch(const struct mmq_batch *x, size_t cols, size_t codes_cols, unsigned accepts, struct mmq_err *err);

/* Training and validation data of a fit: at least one row and one column, a task that tasks holds, class codes in range,
 * finite targets (none for one-class models), weights > 0, both sets of the same width. */
int mmq_check_fit(const struct mmq_fit *fit, unsigned tasks, unsigned accepts, struct mmq_err *err);

#endif
