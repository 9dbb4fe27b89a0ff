/* fit.c: frame -> preparation fitted on the training rows -> engine. Validation rows pass through the same preparation
 * and never shape it; test rows are not seen here at all. */
#include "model/model_inner.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "data/match.h"
#include "util/mem.h"

/* One side of the fit: prepared rows with targets and weights. */
struct side {
	struct mmq_prepared prepared;
	double *y;
	float *weight;
	struct mmq_dataset data;
};

static void
side_fini(struct side *side)
{
	mmq_prepared_fini(&side->prepared);
	free(side->y);
	free(side->weight);
}

static void
copy_features(struct mmq_schema *to, const struct mmq_schema *from)
{
	struct mmq_schema kept = { .fields = mmq_array(from->fields_count, sizeof(*kept.fields)), .sparse_cols = from->sparse_cols, .sparse_scaling = from->sparse_scaling };
	for (size_t i = 0; i < from->fields_count; i++) {
		const struct mmq_field *field = &from->fields[i];
		if (mmq_field_is_input(field))
			kept.fields[kept.fields_count++] = *field;
	}
	mmq_schema_copy(to, &kept);
	free(kept.fields);  /* the entries themselves belong to `from` */
}

static int
check_fit(const struct mmq_model_fit *fit, const struct mmq_schema *features, struct mmq_err *err)
{
	const struct mmq_engine *engine = fit->engine;

	if ((engine->tasks & fit->task) == 0)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "engine '%s' cannot do %s", engine->name, mmq_task_name(fit->task));
	if (features->fields_count == 0 && features->sparse_cols == 0)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "data: no column is left to learn from");
	if (features->sparse_cols > 0 && !(engine->accepts & MMQ_ACCEPTS_SPARSE))
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "engine '%s' does not take sparse data", engine->name);
	if (fit->weight != NULL && !(engine->can & MMQ_CAN_WEIGHTS))
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "engine '%s' does not take weights", engine->name);
	if (fit->train_count == 0)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "data: no row is left to train on");
	return 0;
}

/* Mean and standard deviation of the training targets, for engines that want them near 0 and 1. */
static void
scale_target(struct mmq_decide *decide, const struct mmq_model_fit *fit)
{
	double sum = 0, squares = 0, n = (double)fit->train_count;

	for (size_t i = 0; i < fit->train_count; i++)
		sum += fit->y[fit->train_rows[i]];
	decide->mean = sum / n;
	for (size_t i = 0; i < fit->train_count; i++) {
		double off = fit->y[fit->train_rows[i]] - decide->mean;
		squares += off * off;
	}
	double deviation = sqrt(squares / n);
	decide->scale = isfinite(deviation) && deviation > 0 ? deviation : 1;
}

static int
side_fill(struct side *side, const struct mmq_model *model, const struct mmq_model_fit *fit, const struct mmq_frame *view,
    const uint32_t *rows, size_t rows_count, struct mmq_err *err)
{
	const struct mmq_decide *decide = &model->decide;

	if (mmq_prepare_apply(model->prepare, view, rows, rows_count, &side->prepared, NULL, err) == -1)
		return -1;
	side->y = decide->task == MMQ_ONE_CLASS ? NULL : mmq_array(rows_count, sizeof(*side->y));
	for (size_t i = 0; i < rows_count && side->y != NULL; i++)
		side->y[i] = decide->task == MMQ_REGRESSION ? (fit->y[rows[i]] - decide->mean) / decide->scale :
		    mmq_decide_class(decide, (uint32_t)fit->y[rows[i]]);
	if (fit->weight != NULL) {
		side->weight = mmq_array(rows_count, sizeof(*side->weight));
		for (size_t i = 0; i < rows_count; i++)
			side->weight[i] = fit->weight[rows[i]];
	}
	side->data = (struct mmq_dataset){ .x = side->prepared.batch, .y = side->y, .classes = (uint32_t)mmq_decide_engine_classes(decide),
		.weight = side->weight };
	side->data.features = mmq_prepare_features(model->prepare, &side->data.features_count);
	return 0;
}

static int
train(struct mmq_model *model, const struct mmq_model_fit *fit, const struct mmq_frame *view, struct mmq_err *err)
{
	struct side train = { 0 }, valid = { 0 };
	int result = -1;

	if (side_fill(&train, model, fit, view, fit->train_rows, fit->train_count, err) == -1 ||
	    (fit->valid_count > 0 && side_fill(&valid, model, fit, view, fit->valid_rows, fit->valid_count, err) == -1))
		goto out;
	struct mmq_fit task = { .train = &train.data, .valid = fit->valid_count > 0 ? &valid.data : NULL, .task = fit->task,
		.params = fit->params, .seed = fit->seed, .pool = fit->pool, .memory_bytes_max = fit->memory_bytes_max, .progress = fit->progress,
		.checkpoint = fit->checkpoint, .resume = fit->resume, .previous = fit->previous != NULL ? fit->previous->state : NULL };
	if (fit->engine->check != NULL && fit->engine->check(&task, err) == -1)
		goto out;
	result = fit->engine->train(&model->state, &task, err);
out:
	side_fini(&train);
	side_fini(&valid);
	return result;
}

static unsigned
accepts_of(const struct mmq_model_fit *fit)
{
	return fit->engine->accepts_with != NULL ? fit->engine->accepts_with(fit->params) : fit->engine->accepts;
}

/* What the model is made of before its engine learns: fitted on the training rows. */
static int
begin(struct mmq_model *model, const struct mmq_model_fit *fit, struct mmq_frame *view, struct mmq_err *err)
{
	copy_features(&model->schema, fit->schema);
	model->decide = (struct mmq_decide){ .task = fit->task, .positive = fit->task == MMQ_BINARY ? fit->positive : 0,
		.pairwise = fit->task == MMQ_MULTICLASS && (fit->engine->outputs & MMQ_OUT_PAIRWISE), .threshold = fit->threshold, .scale = 1 };
	if (fit->task != MMQ_REGRESSION) {
		assert(fit->task == MMQ_MULTICLASS ? fit->classes->count > 2 : fit->classes->count == 2 && fit->positive < 2);
		mmq_classes_copy(&model->decide.classes, fit->classes);
	}
	if (check_fit(fit, &model->schema, err) == -1 || mmq_model_view(&model->schema, fit->frame, view, err) == -1 ||
	    mmq_prepare_fit(&model->prepare, &model->schema, view, fit->train_rows, fit->train_count, accepts_of(fit), MMQ_F32,
	        fit->warnings, err) == -1)
		return -1;
	if (fit->task == MMQ_REGRESSION && (fit->engine->accepts & MMQ_WANTS_TARGET_SCALED))
		scale_target(&model->decide, fit);
	return 0;
}

/* The same of a model that learns on: all taken over, so that old and new state speak of the same features. */
static int
go_on(struct mmq_model *model, const struct mmq_model_fit *fit, struct mmq_frame *view, struct mmq_err *err)
{
	const struct mmq_model *previous = fit->previous;
	struct mmq_part part;

	if (previous->engine != fit->engine || !(fit->engine->can & MMQ_CAN_WARM_START))
		return mmq_err_value(err, MMQ_FAILED_PRECONDITION, "warm_start", "an engine that can go on from its own models", "engine '%s' on a model of '%s'",
		    fit->engine->name, previous->engine->name);
	assert(previous->decide.task == fit->task);
	mmq_schema_copy(&model->schema, &previous->schema);
	model->decide = previous->decide;
	mmq_classes_copy(&model->decide.classes, &previous->decide.classes);
	mmq_part_init(&part, true);
	int result = check_fit(fit, &model->schema, err) == -1 || mmq_model_view(&model->schema, fit->frame, view, err) == -1 ||
	    mmq_prepare_save(previous->prepare, &part, err) == -1 ? -1 : mmq_prepare_open(&model->prepare, &model->schema, &part, err);
	mmq_part_fini(&part);
	return result;
}

int
mmq_model_fit(struct mmq_model **model_out, const struct mmq_model_fit *fit, struct mmq_err *err)
{
	struct mmq_model *model = mmq_alloc(sizeof(*model));
	struct mmq_frame view;
	int result = -1;

	*model_out = NULL;
	mmq_frame_init(&view);
	mmq_schema_init(&model->schema);
	model->engine = fit->engine;
	if ((fit->previous != NULL ? go_on : begin)(model, fit, &view, err) == -1)
		goto out;
	if (train(model, fit, &view, err) == -1 || mmq_model_complete(model, err) == -1)
		goto out;
	result = 0;
out:
	mmq_frame_fini(&view);
	if (result == -1)
		mmq_model_destroy(&model);
	*model_out = model;
	return result;
}
