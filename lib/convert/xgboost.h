/* xgboost.h: models of XGBoost as JSON or UBJSON (1.x to 3.x): gbtree and dart; squared error and its kin, logistic, softmax; categories.
 * They predict in float32. Refused with a reason: gblinear, vector leaves, objectives with another link. */
#ifndef MMQ_CONVERT_XGBOOST_H
#define MMQ_CONVERT_XGBOOST_H

#include <jansson.h>

#include "convert/trees.h"

enum { MMQ_XGBOOST_BYTES_MAX = 512 << 20 };

/* import: initialised by the call; fini it after 0. FAILED_PRECONDITION: what this reader does not take; DATA_LOSS. */
int mmq_xgboost_read(struct mmq_import *import, const void *bytes, size_t size, struct mmq_err *err);

/* The row of the table of formats. */
bool mmq_xgboost_is_it(const uint8_t *bytes, size_t size);
int mmq_xgboost_convert(struct mmq_converted *converted, const uint8_t *bytes, size_t size, struct mmq_err *err);
/* xgboost_cats.c: values of category codes from the model's cats.enc, once features_count is known. */
int mmq_xgboost_read_cats(struct mmq_import *import, const json_t *coded, struct mmq_err *err);

#endif
