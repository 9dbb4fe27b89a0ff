/* metric.c: metrics after scikit-learn's definitions (accuracy_score, f1_score macro, roc_auc_score, log_loss, mean_squared_error,
 * mean_absolute_error, r2_score), all with sample weights. Sums are in double, in row order. */
#include "data/metric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mpack/writer.h"
#include "util/mem.h"

#define LOG_LOSS_CLIP 1e-15

static const char *const names[MMQ_METRIC_COUNT] = { "accuracy", "macro_f1", "auc", "log_loss", "rmse", "mae", "r2", "inside" };

const char *
mmq_metric_name(enum mmq_metric metric)
{
	return names[metric];
}

int
mmq_metric_from_name(const char *name, size_t size)
{
	for (int i = 0; i < MMQ_METRIC_COUNT; i++)
		if (strlen(names[i]) == size && memcmp(names[i], name, size) == 0)
			return i;
	return -1;
}

bool
mmq_metric_is_higher_better(enum mmq_metric metric)
{
	return metric == MMQ_ACCURACY || metric == MMQ_MACRO_F1 || metric == MMQ_AUC || metric == MMQ_R2;
}

static double
weight_of(const float *weight, size_t row)
{
	return weight != NULL ? (double)weight[row] : 1.0;
}

static void
set(struct mmq_metrics *out, enum mmq_metric metric, double value)
{
	out->has |= 1u << metric;
	out->value[metric] = value;
}

static void
begin(struct mmq_metrics *out, size_t rows)
{
	*out = (struct mmq_metrics){ .rows = rows };
	for (int i = 0; i < MMQ_METRIC_COUNT; i++)
		out->value[i] = NAN;
}

struct ranked { double score, weight; bool positive; };

static int
compare_ranked(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	return (x->score > y->score) - (x->score < y->score);
}

double
mmq_auc(const double *score, const unsigned char *positive, const float *weight, size_t rows)
{
	struct ranked *items = mmq_array(rows, sizeof(*items));
	double negatives = 0, positives = 0, pairs = 0;

	for (size_t i = 0; i < rows; i++)
		items[i] = (struct ranked){ score[i], weight_of(weight, i), positive[i] != 0 };
	if (rows > 0)
		qsort(items, rows, sizeof(*items), compare_ranked);
	for (size_t i = 0; i < rows;) {
		double tied[2] = { 0, 0 };
		size_t end = i;
		for (; end < rows && items[end].score == items[i].score; end++)
			tied[items[end].positive] += items[end].weight;
		if (end == i) {  /* NaN: no order exists */
			free(items);
			return NAN;
		}
		pairs += tied[1] * (negatives + tied[0] / 2);
		negatives += tied[0];
		positives += tied[1];
		i = end;
	}
	free(items);
	return negatives > 0 && positives > 0 ? pairs / negatives / positives : NAN;
}

/* Column k of probability, or score, against "is class k". */
static double
auc_of(const double *truth, const double *column, size_t stride, size_t rows, size_t k, const float *weight)
{
	unsigned char *positive = mmq_alloc(rows);
	double *score = mmq_array(rows, sizeof(*score));

	for (size_t i = 0; i < rows; i++) {
		positive[i] = truth[i] == (double)k;
		score[i] = column[i * stride];
	}
	double auc = mmq_auc(score, positive, weight, rows);
	free(positive);
	free(score);
	return auc;
}

static void
auc_metric(struct mmq_metrics *out, const double *truth, const double *score, const double *probability, size_t rows, size_t classes,
    const float *weight, struct mmq_buf *warnings)
{
	double sum = 0;

	if (classes == 2 && (probability != NULL || score != NULL)) {
		sum = probability != NULL ? auc_of(truth, probability + 1, 2, rows, 1, weight) : auc_of(truth, score, 1, rows, 1, weight);
	} else if (classes > 2 && probability != NULL) {
		for (size_t k = 0; k < classes; k++)
			sum += auc_of(truth, probability + k, classes, rows, k, weight);
		sum /= (double)classes;
	} else {
		return;
	}
	set(out, MMQ_AUC, sum);
	if (isnan(sum) && warnings != NULL)
		mmq_buf_printf(warnings, "auc is not defined: a class has no row, or all rows, among the %zu\n", rows);
}

/* F1 per class = 2 tp / (2 tp + fp + fn); a class in neither truth nor prediction is left out, as scikit-learn does. */
static void
accuracy_and_f1(struct mmq_metrics *out, const double *truth, const double *predicted, size_t rows, size_t classes, const float *weight,
    struct mmq_buf *warnings)
{
	double *counts = mmq_array(classes * 3, sizeof(*counts));  /* per class: right, true, predicted */
	double right = 0, total = 0, f1 = 0;
	size_t present = 0;

	for (size_t i = 0; i < rows; i++) {
		double w = weight_of(weight, i);
		total += w;
		counts[(size_t)truth[i] * 3 + 1] += w;
		counts[(size_t)predicted[i] * 3 + 2] += w;
		if (truth[i] == predicted[i]) {
			right += w;
			counts[(size_t)truth[i] * 3] += w;
		}
	}
	for (size_t k = 0; k < classes; k++) {
		double below = counts[k * 3 + 1] + counts[k * 3 + 2];
		present += below > 0;
		f1 += below > 0 ? 2 * counts[k * 3] / below : 0;
	}
	free(counts);
	set(out, MMQ_ACCURACY, total > 0 ? right / total : NAN);
	set(out, MMQ_MACRO_F1, present > 0 ? f1 / (double)present : NAN);
	if (!(total > 0) && warnings != NULL)
		mmq_buf_printf(warnings, "accuracy and macro_f1 are not defined: the weights of %zu rows sum to 0\n", rows);
}

/* The true class's probability is first divided by the row's sum, then clipped to [1e-15, 1 - 1e-15]. */
static double
log_loss(const double *truth, const double *probability, size_t rows, size_t classes, const float *weight)
{
	double loss = 0, total = 0;

	for (size_t i = 0; i < rows; i++) {
		const double *row = probability + i * classes;
		double sum = 0, w = weight_of(weight, i);
		for (size_t k = 0; k < classes; k++)
			sum += row[k];
		double p = row[(size_t)truth[i]] / sum;
		if (p < LOG_LOSS_CLIP)
			p = LOG_LOSS_CLIP;
		else if (p > 1 - LOG_LOSS_CLIP)
			p = 1 - LOG_LOSS_CLIP;
		loss -= w * log(p);
		total += w;
	}
	return total > 0 ? loss / total : NAN;
}

void
mmq_metrics_classes(struct mmq_metrics *out, const double *truth, const double *predicted, const double *score, const double *probability,
    size_t rows, size_t classes, const float *weight, struct mmq_buf *warnings)
{
	begin(out, rows);
	accuracy_and_f1(out, truth, predicted, rows, classes, weight, warnings);
	auc_metric(out, truth, score, probability, rows, classes, weight, warnings);
	if (probability == NULL)
		return;
	set(out, MMQ_LOG_LOSS, log_loss(truth, probability, rows, classes, weight));
	if (isnan(out->value[MMQ_LOG_LOSS]) && warnings != NULL)
		mmq_buf_printf(warnings, "log_loss is not defined: no weight, or a probability that is no number\n");
}

void
mmq_metrics_values(struct mmq_metrics *out, const double *truth, const double *predicted, size_t rows, const float *weight, struct mmq_buf *warnings)
{
	double total = 0, mean = 0, squares = 0, absolute = 0, around = 0;

	begin(out, rows);
	for (size_t i = 0; i < rows; i++) {
		double w = weight_of(weight, i), error = truth[i] - predicted[i];
		total += w;
		mean += w * truth[i];
		squares += w * error * error;
		absolute += w * fabs(error);
	}
	mean /= total;
	for (size_t i = 0; i < rows; i++)
		around += weight_of(weight, i) * (truth[i] - mean) * (truth[i] - mean);
	bool any = total > 0;
	set(out, MMQ_RMSE, any ? sqrt(squares / total) : NAN);
	set(out, MMQ_MAE, any ? absolute / total : NAN);
	set(out, MMQ_R2, any && around > 0 && rows > 1 ? 1 - squares / around : NAN);
	if (warnings == NULL)
		return;
	if (!any)
		mmq_buf_printf(warnings, "rmse and mae are not defined: the weights of %zu rows sum to 0\n", rows);
	if (isnan(out->value[MMQ_R2]))
		mmq_buf_printf(warnings, "r2 is not defined: the target has the same value in all %zu rows\n", rows);
}

void
mmq_metrics_inside(struct mmq_metrics *out, const double *inside, size_t rows, const float *weight)
{
	double total = 0, sum = 0;

	begin(out, rows);
	for (size_t i = 0; i < rows; i++) {
		total += weight_of(weight, i);
		sum += weight_of(weight, i) * inside[i];
	}
	set(out, MMQ_INSIDE, total > 0 ? sum / total : NAN);
}

void
mmq_metrics_write(const struct mmq_metrics *metrics, struct mmq_buf *out)
{
	mmq_put_map(out, 1u + (size_t)__builtin_popcount(metrics->has));
	for (int i = 0; i < MMQ_METRIC_COUNT; i++) {
		if (!(metrics->has & 1u << i))
			continue;
		mmq_put_str(out, names[i]);
		mmq_put_double(out, metrics->value[i]);
	}
	mmq_put_str(out, "n");
	mmq_put_uint(out, metrics->rows);
}
