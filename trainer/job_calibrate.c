/* job_calibrate.c: probabilities fitted on rows that the engine has not learnt from: the validation rows, or, without any, each fifth of the
 * training rows by a model of the other four, whose answers together calibrate the one model that learnt from all. */
#include <stdlib.h>
#include <string.h>

#include "math/rng.h"
#include "trainer/job_inner.h"
#include "util/mem.h"

enum { FOLDS = 5, ROWS_AT_ONCE = 4096, STREAM = 0xca11 };

/* inputs (rows_count, cols): what the model's curves take of these rows. */
static int
inputs_of(struct mmq_job *job, const struct mmq_model *model, const uint32_t *rows, size_t rows_count, double *inputs, struct mmq_err *err)
{
	struct mmq_scratch *scratch = mmq_scratch_new();
	size_t cols = mmq_calibrate_cols(mmq_model_decide(model));
	struct mmq_frame view;
	int result = mmq_model_view(mmq_model_schema(model), &job->frame, &view, err);

	for (size_t from = 0; from < rows_count && result == 0; from += ROWS_AT_ONCE) {
		size_t count = rows_count - from < ROWS_AT_ONCE ? rows_count - from : ROWS_AT_ONCE;
		result = mmq_model_calibration_inputs(model, &view, rows + from, count, scratch, inputs + from * cols, err);
		if (result == 0)
			result = mmq_job_check_cancel(job, err);
	}
	mmq_frame_fini(&view);
	mmq_scratch_destroy(&scratch);
	return result;
}

/* Rows by fold: shuffled, then dealt class by class, so that each fold has its share of each. */
static void
deal(const struct mmq_job *job, const uint32_t *rows, size_t count, uint8_t *fold)
{
	struct mmq_rng rng = mmq_rng_stream(job->request.seed, STREAM, 0);
	uint32_t *order = mmq_array(count, sizeof(*order)), *dealt = mmq_array(job->classes.count, sizeof(*dealt));

	for (size_t i = 0; i < count; i++) {
		size_t j = (size_t)mmq_rng_below(&rng, i + 1);
		order[i] = order[j];
		order[j] = (uint32_t)i;
	}
	for (size_t i = 0; i < count; i++)
		fold[order[i]] = (uint8_t)(dealt[(size_t)job->y[rows[order[i]]]]++ % FOLDS);
	free(order);
	free(dealt);
}

static int
one_fold(struct mmq_job *job, const uint32_t *rows, size_t count, const uint8_t *fold, int which, double *inputs, double from, double to,
    struct mmq_err *err)
{
	uint32_t *train = mmq_array(count, sizeof(*train)), *held = mmq_array(count, sizeof(*held));
	size_t trains = 0, helds = 0, *place = mmq_array(count, sizeof(*place));
	struct mmq_model *model = NULL;

	for (size_t i = 0; i < count; i++) {
		if (fold[i] == which) {
			place[helds] = i;
			held[helds++] = rows[i];
		} else {
			train[trains++] = rows[i];
		}
	}
	int result = mmq_job_fit_plain(job, &model, train, trains, NULL, 0, from, to, err);
	if (result == 0) {
		size_t cols = mmq_calibrate_cols(mmq_model_decide(model));
		double *own = mmq_array(helds * cols, sizeof(*own));
		result = inputs_of(job, model, held, helds, own, err);
		for (size_t i = 0; i < helds; i++)
			memcpy(inputs + place[i] * cols, own + i * cols, cols * sizeof(*own));
		free(own);
	}
	mmq_model_destroy(&model);
	free(train);
	free(held);
	free(place);
	return result;
}

static int
by_folds(struct mmq_job *job, const uint32_t *rows, size_t count, double *inputs, double from, double to, struct mmq_err *err)
{
	uint8_t *fold = mmq_array(count, 1);
	int result = 0;

	deal(job, rows, count, fold);
	for (int k = 0; k < FOLDS && result == 0; k++)
		result = one_fold(job, rows, count, fold, k, inputs, from + (to - from) * k / FOLDS, from + (to - from) * (k + 1) / FOLDS, err);
	free(fold);
	return result;
}

int
mmq_job_calibrate(struct mmq_job *job, struct mmq_model *model, const uint32_t *rows, size_t rows_count, const uint32_t *valid, size_t valid_count,
    double from, double to, struct mmq_err *err)
{
	const uint32_t *on = valid_count > 0 ? valid : rows;
	size_t count = valid_count > 0 ? valid_count : rows_count, cols = mmq_calibrate_cols(mmq_model_decide(model));
	double *inputs = mmq_array(count * cols, sizeof(*inputs)), *y = mmq_array(count, sizeof(*y));
	float *weight = job->weight != NULL ? mmq_array(count, sizeof(*weight)) : NULL;
	int result;

	for (size_t i = 0; i < count; i++) {
		y[i] = job->y[on[i]];
		if (weight != NULL)
			weight[i] = job->weight[on[i]];
	}
	result = valid_count > 0 ? inputs_of(job, model, valid, valid_count, inputs, err) : by_folds(job, rows, rows_count, inputs, from, to, err);
	if (result == 0)
		result = mmq_model_calibrate(model, (enum mmq_calibration)job->request.calibrate, inputs, y, weight, count, err);
	job->calibrated_on = count;
	job->calibrated_by_folds = valid_count == 0;
	free(inputs);
	free(y);
	free(weight);
	return result;
}
