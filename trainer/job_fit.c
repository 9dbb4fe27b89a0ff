/* job_fit.c: the fit itself; with folds one fit for each, whose held-out metrics are averaged, and one on all rows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/job_inner.h"
#include "util/mem.h"

static bool
fit_progress(void *arg, const struct mmq_progress_state *state)
{
	struct mmq_job *job = arg;
	double span = job->fit_fraction_to - job->fit_fraction_from;
	return mmq_job_report(job, job->fit_fraction_from + span * state->fraction, state);
}

int
mmq_job_fit_plain(struct mmq_job *job, struct mmq_model **model_out, const uint32_t *rows, size_t rows_count, const uint32_t *valid,
    size_t valid_count, double from, double to, struct mmq_err *err)
{
	const struct mmq_progress progress = { .report = fit_progress, .arg = job };
	size_t memory = (size_t)job->request.memory_mb << 20;

	if (job->options.memory_bytes_max > 0 && (memory == 0 || memory > job->options.memory_bytes_max))
		memory = job->options.memory_bytes_max;
	job->fit_fraction_from = from;
	job->fit_fraction_to = to;
	const struct mmq_model_fit fit = { .engine = job->engine, .params = job->params, .frame = &job->frame, .schema = &job->schema,
		.task = job->task, .classes = &job->classes, .y = job->y, .weight = job->weight, .train_rows = rows, .train_count = rows_count,
		.valid_rows = valid, .valid_count = valid_count, .positive = job->positive, .threshold = 0.5, .seed = job->request.seed,
		.pool = job->pool, .memory_bytes_max = memory, .progress = &progress,
		.checkpoint = &job->checkpoint, .resume = mmq_job_checkpoint_left(job), .previous = job->previous,
		.warnings = &job->warnings };
	return mmq_model_fit(model_out, &fit, err);
}

int
mmq_job_fit_rows(struct mmq_job *job, struct mmq_model **model_out, const uint32_t *rows, size_t rows_count, const uint32_t *valid,
    size_t valid_count, double from, double to, struct mmq_err *err)
{
	bool calibrates = job->request.calibrate != MMQ_CALIBRATE_NONE;
	double end = calibrates && valid_count == 0 ? from + (to - from) / 6 : to;   /* five more fits follow */

	if (mmq_job_fit_plain(job, model_out, rows, rows_count, valid, valid_count, from, end, err) == -1)
		return -1;
	if (!calibrates || mmq_job_calibrate(job, *model_out, rows, rows_count, valid, valid_count, end, to, err) == 0)
		return 0;
	mmq_model_destroy(model_out);
	return -1;
}

/* Mean of the folds' metrics, each weighted by its rows. */
static void
add_fold(struct mmq_metrics *sum, const struct mmq_metrics *fold)
{
	for (int m = 0; m < MMQ_METRIC_COUNT; m++)
		sum->value[m] = sum->rows == 0 ? fold->value[m] :
		    (sum->value[m] * (double)sum->rows + fold->value[m] * (double)fold->rows) / (double)(sum->rows + fold->rows);
	sum->has |= fold->has;
	sum->rows += fold->rows;
}

static int
fit_folds(struct mmq_job *job, struct mmq_err *err)
{
	double fits = job->split_spec.folds + 1;

	for (uint32_t fold = 0; fold < job->split_spec.folds; fold++) {
		struct mmq_split split;
		struct mmq_model *model = NULL;
		struct mmq_metrics metrics = { 0 };
		if (mmq_split_make(&split, &job->split_spec, &job->frame, job->frame.rows, job->task == MMQ_REGRESSION ? NULL : job->y,
		        (uint32_t)job->classes.count, fold, err) == -1)
			return -1;
		int result = mmq_job_fit_rows(job, &model, split.train, split.train_count, split.valid, split.valid_count, fold / fits, (fold + 1) / fits, err);
		if (result == 0)
			result = mmq_job_measure(job, model, &job->frame, job->y, job->weight, split.test, split.test_count, &metrics, err);
		mmq_model_destroy(&model);
		mmq_split_fini(&split);
		if (result == -1)
			return mmq_err_prefix(err, "fold %u", fold);
		add_fold(&job->test, &metrics);
	}
	/* Every row was held out once; the model that is published learns from all of them. */
	struct mmq_split_spec all = job->split_spec;
	all.kind = MMQ_SPLIT_RANDOM;
	all.test = 0;
	mmq_split_fini(&job->split);
	if (mmq_split_make(&job->split, &all, &job->frame, job->frame.rows, job->task == MMQ_REGRESSION ? NULL : job->y,
	        (uint32_t)job->classes.count, 0, err) == -1)
		return -1;
	return mmq_job_fit_rows(job, &job->model, job->split.train, job->split.train_count, job->split.valid, job->split.valid_count, 1 - 1 / fits, 1, err);
}

int
mmq_job_fit(struct mmq_job *job, struct mmq_err *err)
{
	mmq_job_checkpoint_begin(job);
	if (job->split_spec.kind == MMQ_SPLIT_FOLDS)
		return fit_folds(job, err);
	return mmq_job_fit_rows(job, &job->model, job->split.train, job->split.train_count, job->split.valid, job->split.valid_count, 0,
	    job->split_spec.refit ? 0.5 : 1, err);
}
