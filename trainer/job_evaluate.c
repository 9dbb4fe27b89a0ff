/* job_evaluate.c: how good the model is on rows that it has not seen, whether that is good enough, and the refit on all rows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mpack/map.h"
#include "trainer/job_inner.h"
#include "util/mem.h"
#include "wire/want.h"

enum { ROWS_AT_ONCE = 4096 };

/* Answers of a model over many rows, collected from batches. */
struct answers {
	double *predicted, *score, *probability;   /* (rows), (rows) binary only, (rows, classes); NULL: not had */
	size_t classes;
};

static void
collect(struct answers *answers, const struct mmq_job *job, const struct mmq_prediction *batch, size_t from)
{
	for (size_t i = 0; i < batch->rows; i++) {
		answers->predicted[from + i] = job->task == MMQ_REGRESSION ? batch->value[i] : batch->label[i];
		if (answers->score != NULL)  /* a score means the positive class; the metric wants class 1 */
			answers->score[from + i] = job->positive == 1 ? batch->score[i * batch->score_cols] : -batch->score[i * batch->score_cols];
	}
	if (answers->probability != NULL)
		memcpy(answers->probability + from * answers->classes, batch->probability, batch->rows * answers->classes * sizeof(double));
}

static int
predict_all(struct mmq_job *job, const struct mmq_model *model, const struct mmq_frame *view, const uint32_t *rows, size_t rows_count,
    struct answers *answers, struct mmq_err *err)
{
	struct mmq_scratch *scratch = mmq_scratch_new();
	unsigned wanted = MMQ_WANT_PREDICTION | (answers->score != NULL ? MMQ_OUT_SCORE : 0) | (answers->probability != NULL ? MMQ_OUT_PROBABILITY : 0);
	uint32_t *indices = mmq_array(ROWS_AT_ONCE, sizeof(*indices));
	int result = 0;

	for (size_t from = 0; from < rows_count && result == 0; from += ROWS_AT_ONCE) {
		size_t count = rows_count - from < ROWS_AT_ONCE ? rows_count - from : ROWS_AT_ONCE;
		struct mmq_prediction batch;
		for (size_t i = 0; i < count; i++)
			indices[i] = rows == NULL ? (uint32_t)(from + i) : rows[from + i];
		result = mmq_model_predict(model, view, indices, count, wanted, scratch, &batch, NULL, err);
		if (result == 0)
			collect(answers, job, &batch, from);
		if (result == 0)
			result = mmq_job_check_cancel(job, err);
	}
	free(indices);
	mmq_scratch_destroy(&scratch);
	return result;
}

int
mmq_job_measure(struct mmq_job *job, const struct mmq_model *model, const struct mmq_frame *frame, const double *y, const float *weight,
    const uint32_t *rows, size_t rows_count, struct mmq_metrics *out, struct mmq_err *err)
{
	struct mmq_frame view;
	size_t classes = job->classes.count;
	bool has_probability = job->task != MMQ_REGRESSION && (mmq_model_outputs(model) & MMQ_OUT_PROBABILITY);
	struct answers answers = { .classes = classes };

	*out = (struct mmq_metrics){ 0 };
	if (rows_count == 0)
		return 0;
	mmq_frame_init(&view);
	if (mmq_model_view(mmq_model_schema(model), frame, &view, err) == -1) {
		mmq_frame_fini(&view);
		return -1;
	}
	double *truth = mmq_array(rows_count, sizeof(double));
	float *row_weight = weight == NULL ? NULL : mmq_array(rows_count, sizeof(float));
	answers.predicted = mmq_array(rows_count, sizeof(double));
	if (job->task == MMQ_BINARY && !has_probability)
		answers.score = mmq_array(rows_count, sizeof(double));
	if (has_probability)
		answers.probability = mmq_array(rows_count * classes, sizeof(double));
	for (size_t i = 0; i < rows_count; i++) {
		truth[i] = y == NULL ? 0 : y[rows == NULL ? i : rows[i]];
		if (weight != NULL)
			row_weight[i] = weight[rows == NULL ? i : rows[i]];
	}
	int result = predict_all(job, model, &view, rows, rows_count, &answers, err);
	if (result == 0 && job->task == MMQ_REGRESSION)
		mmq_metrics_values(out, truth, answers.predicted, rows_count, row_weight, &job->warnings);
	else if (result == 0 && job->task == MMQ_ONE_CLASS)
		mmq_metrics_inside(out, answers.predicted, rows_count, row_weight);
	else if (result == 0)
		mmq_metrics_classes(out, truth, answers.predicted, answers.score, answers.probability, rows_count, classes, row_weight, &job->warnings);
	free(truth);
	free(row_weight);
	free(answers.predicted);
	free(answers.score);
	free(answers.probability);
	mmq_frame_fini(&view);
	return result;
}

/* One gate: {metric: {min?, max?}}. Appends what was held against what; *passed_out false when it fails. */
static int
check_gate(struct mmq_job *job, const struct mmq_metrics *metrics, struct mmq_reader *reader, bool *passed_out, struct mmq_err *err)
{
	struct mmq_text name, key;
	char field[96];
	double low = -INFINITY, high = INFINITY;
	uint32_t pairs;

	if (mmq_want_key(reader, "gates", &name, err) == -1)
		return -1;
	snprintf(field, sizeof(field), "gates.%.*s", (int)(name.size < 64 ? name.size : 64), name.at);
	int metric = mmq_metric_from_name(name.at, name.size);
	if (metric == -1 || !(metrics->has & 1u << metric))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, "a metric of this task", "one that it does not have");
	if (mmq_want_map(reader, field, &pairs, err) == -1)
		return -1;
	for (uint32_t i = 0; i < pairs; i++) {
		if (mmq_want_key(reader, field, &key, err) == -1)
			return -1;
		bool is_min = mmq_text_is(&key, "min");
		if (!is_min && !mmq_text_is(&key, "max"))
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, "min or max", "'%.*s'", (int)(key.size < 32 ? key.size : 32), key.at);
		if (mmq_want_number(reader, field, -1e300, 1e300, is_min ? &low : &high, err) == -1)
			return -1;
	}
	double value = metrics->value[metric];
	bool passed = value >= low && value <= high;
	struct mmq_map map = mmq_map_begin(&job->gates);
	mmq_map_text(&map, "metric", mmq_metric_name((enum mmq_metric)metric));
	mmq_map_double(&map, "value", value);
	if (isfinite(low))
		mmq_map_double(&map, "min", low);
	if (isfinite(high))
		mmq_map_double(&map, "max", high);
	mmq_map_bool(&map, "passed", passed);
	mmq_map_end(&map);
	if (!passed) {
		*passed_out = false;
		mmq_err_value(err, MMQ_FAILED_PRECONDITION, field, isfinite(low) ? "a metric at or above its minimum" : "a metric at or below its maximum",
		    "%g, the gate is %g", value, isfinite(low) ? low : high);
	}
	return 0;
}

static int
check_gates(struct mmq_job *job, struct mmq_err *err)
{
	const struct mmq_metrics *metrics = job->test.rows > 0 ? &job->test : &job->train;
	struct mmq_reader reader = mmq_raw_reader(&job->request.gates);
	bool passed = true;
	uint32_t gates;

	if (job->request.gates.at == NULL)
		return 0;
	if (mmq_want_map(&reader, "gates", &gates, err) == -1)
		return -1;
	mmq_put_array(&job->gates, gates);
	for (uint32_t i = 0; i < gates; i++)
		if (check_gate(job, metrics, &reader, &passed, err) == -1)
			return -1;
	return passed ? 0 : -1;
}

static int
refit(struct mmq_job *job, struct mmq_err *err)
{
	struct mmq_model *model;
	uint32_t *rows = mmq_array(job->frame.rows, sizeof(*rows));

	for (size_t r = 0; r < job->frame.rows; r++)
		rows[r] = (uint32_t)r;
	int result = mmq_job_fit_rows(job, &model, rows, job->frame.rows, NULL, 0, 0.2, 1, err);
	free(rows);
	if (result == -1)
		return -1;
	mmq_model_destroy(&job->model);
	job->model = model;
	return 0;
}

int
mmq_job_evaluate(struct mmq_job *job, struct mmq_err *err)
{
	const struct mmq_split *split = &job->split;
	bool has_test = job->request.test.kind != MMQ_DATA_NONE;
	int result = 0;

	if (has_test)
		result = mmq_job_measure(job, job->model, &job->test_frame, job->test_y, NULL, NULL, job->test_frame.rows, &job->test, err);
	else if (job->split_spec.kind != MMQ_SPLIT_FOLDS)
		result = mmq_job_measure(job, job->model, &job->frame, job->y, job->weight, split->test, split->test_count, &job->test, err);
	if (result == 0)
		result = mmq_job_measure(job, job->model, &job->frame, job->y, job->weight, split->valid, split->valid_count, &job->valid, err);
	/* With nothing held out the training rows are better than no figure, and are called so. */
	if (result == 0 && job->test.rows == 0)
		result = mmq_job_measure(job, job->model, &job->frame, job->y, job->weight, split->train, split->train_count, &job->train, err);
	if (result == -1 || check_gates(job, err) == -1 || mmq_job_importance(job, err) == -1)
		return -1;
	return job->split_spec.refit && job->split_spec.kind != MMQ_SPLIT_FOLDS ? refit(job, err) : 0;
}
