/* metric.h: how good predictions are. Definitions are scikit-learn's, with sample weights. A metric that would divide by zero is NaN,
 * and one line in warnings says why. */
#ifndef MMQ_DATA_METRIC_H
#define MMQ_DATA_METRIC_H

#include <stdbool.h>
#include <stddef.h>

#include "util/buf.h"

enum mmq_metric { MMQ_ACCURACY, MMQ_MACRO_F1, MMQ_AUC, MMQ_LOG_LOSS, MMQ_RMSE, MMQ_MAE, MMQ_R2, MMQ_INSIDE, MMQ_METRIC_COUNT };

const char *mmq_metric_name(enum mmq_metric metric);           /* "accuracy", "macro_f1", "auc", "log_loss", "rmse", "mae", "r2", "inside" */
int mmq_metric_from_name(const char *name, size_t size);       /* -1: unknown */
bool mmq_metric_is_higher_better(enum mmq_metric metric);

struct mmq_metrics {
	size_t rows;
	unsigned has;                           /* bit m: metric m belongs to this task and its inputs were there */
	double value[MMQ_METRIC_COUNT];         /* NaN: not defined on these rows, or not had */
};

/* truth, predicted (rows): class codes. score (rows): binary only, larger means class 1; probability (rows, classes); either may be NULL:
 * then AUC or log loss is not had. AUC takes probability if there, else score; multiclass is one-vs-rest, macro. weight (rows) or NULL. */
void mmq_metrics_classes(struct mmq_metrics *out, const double *truth, const double *predicted, const double *score, const double *probability,
    size_t rows, size_t classes, const float *weight, struct mmq_buf *warnings);
void mmq_metrics_values(struct mmq_metrics *out, const double *truth, const double *predicted, size_t rows, const float *weight, struct mmq_buf *warnings);
/* One-class models have nothing to be held against: the share of rows that they call inside. inside (rows) is 0 or 1. */
void mmq_metrics_inside(struct mmq_metrics *out, const double *inside, size_t rows, const float *weight);

/* Area under the ROC curve: the share of (positive, negative) pairs that score ranks right, ties half. positive (rows) is 0 or 1.
 * NaN when a side has no weight. O(rows log rows). */
double mmq_auc(const double *score, const unsigned char *positive, const float *weight, size_t rows);

/* A map {name: value or nil, ..., n}. */
void mmq_metrics_write(const struct mmq_metrics *metrics, struct mmq_buf *out);

#endif
