/* job_prepare.c: engine and parameters, which rows do what, and how much each row counts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mpack/reader.h"
#include "trainer/job_inner.h"
#include "util/mem.h"
#include "wire/want.h"

static const char engine_default[] = "tree";

static int
choose_engine(struct mmq_job *job, struct mmq_err *err)
{
	const struct mmq_text *asked = &job->request.engine;
	char name[MMQ_NAME_MAX + 1];

	if (asked->at != NULL)
		snprintf(name, sizeof(name), "%.*s", (int)asked->size, asked->at);
	else
		snprintf(name, sizeof(name), "%s", job->previous != NULL ? mmq_model_engine(job->previous)->name : engine_default);
	job->engine = mmq_engine_find(name);
	if (job->engine == NULL) {
		char known[128] = "";
		size_t used = 0;
		for (const struct mmq_engine *const *engine = mmq_engine_list(); *engine != NULL && used < sizeof(known); engine++)
			used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", used > 0 ? ", " : "one of ", (*engine)->name);
		return mmq_err_value(err, MMQ_NOT_FOUND, "engine", known, "'%s'", name);
	}
	struct mmq_reader map = mmq_raw_reader(&job->request.params);
	return mmq_params_read(&job->params, job->engine->params, job->request.params.at == NULL ? NULL : &map, err);
}

/* Do the parameters look at validation rows at all? Else cutting some off would only cost training rows. */
static bool
uses_validation(const struct mmq_job *job)
{
	for (const struct mmq_param *param = job->engine->params; param->name != NULL; param++) {
		if (strcmp(param->name, "early_stopping") == 0 && param->type == MMQ_P_BOOL)
			return mmq_params_bool(job->params, param->name);
		if (strcmp(param->name, "early_stopping_round") == 0)
			return mmq_params_int(job->params, param->name) > 0;
	}
	return false;
}

static int
cut_rows(struct mmq_job *job, struct mmq_err *err)
{
	struct mmq_split_spec *spec = &job->split_spec;

	*spec = job->request.split;
	if (!job->request.split.valid_is_set && !uses_validation(job))
		spec->valid = 0;
	if (job->request.test.kind != MMQ_DATA_NONE) {
		if (job->request.split_is_set && (spec->kind != MMQ_SPLIT_RANDOM || spec->refit))
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "split.kind", "random without refit when test rows are given", "%s%s",
			    mmq_split_kind_name(spec->kind), spec->refit ? " with refit" : "");
		spec->test = 0;
	}
	if (spec->kind == MMQ_SPLIT_COLUMN) {
		struct mmq_field *field = mmq_schema_find(&job->schema, spec->column);
		if (field != NULL)
			field->role = MMQ_ROLE_SPLIT;  /* it says which rows, it is nothing to learn from */
	}
	return mmq_split_make(&job->split, spec, &job->frame, job->frame.rows, job->task == MMQ_REGRESSION ? NULL : job->y, (uint32_t)job->classes.count, 0, err);
}

static int
column_weights(struct mmq_job *job, struct mmq_err *err)
{
	for (size_t i = 0; i < job->schema.fields_count; i++) {
		const struct mmq_field *field = &job->schema.fields[i];
		if (field->role != MMQ_ROLE_WEIGHT)
			continue;
		const struct mmq_column *column = mmq_frame_find(&job->frame, field->name);
		for (size_t r = 0; r < job->frame.rows; r++) {
			double weight = column->type == MMQ_COLUMN_NUMBER ? mmq_column_number(column, r) : NAN;
			if (!(weight > 0) || !isfinite((float)weight)) {
				char name[96];
				snprintf(name, sizeof(name), "data[%zu].%s", r, field->name);
				return mmq_err_value(err, MMQ_INVALID_ARGUMENT, name, "a weight above 0", "%g", weight);
			}
			job->weight[r] *= (float)weight;
		}
	}
	return 0;
}

/* class_weight as a list by class: balanced is rows / (classes * rows of the class), over the training rows. */
static int
class_weights(struct mmq_job *job, double *by_class, struct mmq_err *err)
{
	size_t classes = job->classes.count;

	for (size_t c = 0; c < classes; c++)
		by_class[c] = job->request.class_weight_is_balanced ? 0 : 1;
	if (job->request.class_weight_is_balanced) {
		for (size_t i = 0; i < job->split.train_count; i++)
			by_class[(size_t)job->y[job->split.train[i]]]++;
		for (size_t c = 0; c < classes; c++)
			by_class[c] = by_class[c] > 0 ? (double)job->split.train_count / ((double)classes * by_class[c]) : 1;
		return 0;
	}
	struct mmq_reader reader = mmq_raw_reader(&job->request.class_weight);
	uint32_t pairs;
	if (mmq_want_map(&reader, "class_weight", &pairs, err) == -1)
		return -1;
	for (uint32_t k = 0; k < pairs; k++) {
		struct mmq_token key;
		char number[32], field[96];
		double weight;
		mmq_read(&reader, &key);
		const char *text = key.type == MMQ_T_STR ? key.bytes : key.type == MMQ_T_BOOL ? (key.boolean ? "true" : "false") : number;
		size_t size = key.type == MMQ_T_STR ? key.size : key.type == MMQ_T_BOOL ? strlen(text) : mmq_canonical_number(key.f, number);
		int index = mmq_classes_find(&job->classes, text, size);
		snprintf(field, sizeof(field), "class_weight.%.*s", (int)(size < 64 ? size : 64), text);
		if (index == -1)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, "a class of the target", "a label that does not occur");
		if (mmq_want_number(&reader, field, 1e-9, 1e9, &weight, err) == -1)
			return -1;
		by_class[index] = weight;
	}
	return 0;
}

static int
make_weights(struct mmq_job *job, struct mmq_err *err)
{
	bool by_class = job->request.class_weight_is_balanced || job->request.class_weight.at != NULL, by_column = false;

	for (size_t i = 0; i < job->schema.fields_count; i++)
		by_column = by_column || job->schema.fields[i].role == MMQ_ROLE_WEIGHT;
	if (!by_class && !by_column)
		return 0;
	if (by_class && job->task != MMQ_BINARY && job->task != MMQ_MULTICLASS)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "class_weight", "a classification task", "%s", mmq_task_name(job->task));
	job->weight = mmq_array(job->frame.rows, sizeof(float));
	for (size_t r = 0; r < job->frame.rows; r++)
		job->weight[r] = 1;
	if (column_weights(job, err) == -1)
		return -1;
	if (by_class) {
		double *weights = mmq_array(job->classes.count, sizeof(double));
		int result = class_weights(job, weights, err);
		for (size_t r = 0; result == 0 && r < job->frame.rows; r++)
			job->weight[r] *= (float)weights[(size_t)job->y[r]];
		free(weights);
		return result;
	}
	return 0;
}

static int
check_calibrate(const struct mmq_job *job, struct mmq_err *err)
{
	_Static_assert(MMQ_CALIBRATE_SIGMOID == 1 && MMQ_CALIBRATE_ISOTONIC == 2, "the numbers of request.h");
	if (job->request.calibrate == MMQ_CALIBRATE_NONE || job->task == MMQ_BINARY || job->task == MMQ_MULTICLASS)
		return 0;
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "calibrate", "none for a task without classes", "%s",
	    mmq_calibration_name((enum mmq_calibration)job->request.calibrate));
}

int
mmq_job_prepare(struct mmq_job *job, struct mmq_err *err)
{
	unsigned threads = job->request.threads > 0 ? job->request.threads : job->options.threads_max;

	if (choose_engine(job, err) == -1 || check_calibrate(job, err) == -1 || cut_rows(job, err) == -1 || make_weights(job, err) == -1)
		return -1;
	job->pool = mmq_pool_new(threads > job->options.threads_max ? job->options.threads_max : threads);
	return 0;
}
