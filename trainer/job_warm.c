/* job_warm.c: training that goes on from a published version. Its columns, preparation, classes and units stay as they are, or its
 * state would mean something else; so new data is read as the old data was, and what does not fit it is refused by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trainer/job_inner.h"
#include "util/mem.h"
#include "wire/want.h"

static int
find_version(struct mmq_job *job, struct mmq_err *err)
{
	struct mmq_store_aliases *aliases = mmq_alloc(sizeof(*aliases));
	const struct mmq_text *asked = &job->request.warm_alias;
	char alias[MMQ_NAME_MAX + 1] = "production";
	int result = mmq_store_aliases(job->options.store, job->item->tenant, job->previous_name, aliases, err);

	if (asked->at != NULL)
		snprintf(alias, sizeof(alias), "%.*s", (int)asked->size, asked->at);
	job->previous_version = result == 0 ? mmq_store_alias_version(aliases, alias) : 0;
	free(aliases);
	if (result == 0 && job->previous_version == 0)
		return mmq_err_value(err, MMQ_NOT_FOUND, "warm_start.version", "a version or an alias of the model", "'%s' of '%s'", alias, job->previous_name);
	return result;
}

int
mmq_job_warm_open(struct mmq_job *job, struct mmq_err *err)
{
	const struct mmq_text *asked = &job->request.engine, *model = &job->request.warm_model;
	int fd, result;

	if (model->at == NULL)
		return 0;
	snprintf(job->previous_name, sizeof(job->previous_name), "%.*s", (int)model->size, model->at);
	job->previous_version = job->request.warm_version;
	if (job->previous_version == 0 && find_version(job, err) == -1)
		return -1;
	if (mmq_store_open_model(job->options.store, job->item->tenant, job->previous_name, job->previous_version, &fd, err) == -1) {
		if (err->code != MMQ_NOT_FOUND)
			return -1;
		return mmq_err_value(err, MMQ_NOT_FOUND, "warm_start", "a model and version of the store", "'%s' version %u", job->previous_name,
		    job->previous_version);
	}
	result = mmq_model_open(&job->previous, fd, err);
	close(fd);
	if (result == -1)
		return mmq_err_prefix(err, "warm_start: %s version %u", job->previous_name, job->previous_version);
	const struct mmq_engine *engine = mmq_model_engine(job->previous);
	if (asked->at != NULL && !mmq_text_is(asked, engine->name))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "engine", engine->name, "'%.*s', which cannot go on from a model of another engine",
		    (int)asked->size, asked->at);
	if (!(engine->can & MMQ_CAN_WARM_START))
		return mmq_err_value(err, MMQ_FAILED_PRECONDITION, "warm_start", "an engine that can go on from its own models", "engine '%s'", engine->name);
	return 0;
}

/* The request may say what the model does not: roles of other columns. */
int
mmq_job_warm_schema(struct mmq_job *job, struct mmq_err *err)
{
	if (job->previous == NULL)
		return 0;
	const struct mmq_schema *known = mmq_model_schema(job->previous);
	struct mmq_schema all = { .fields = mmq_array(known->fields_count + job->schema.fields_count, sizeof(*all.fields)), .sparse_cols = known->sparse_cols };
	struct mmq_schema settled;

	for (size_t i = 0; i < known->fields_count; i++) {
		if (mmq_schema_find(&job->schema, known->fields[i].name) != NULL) {
			free(all.fields);
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "schema", "columns that the model of warm_start does not settle", "'%s'",
			    known->fields[i].name);
		}
		all.fields[all.fields_count++] = known->fields[i];
	}
	for (size_t i = 0; i < job->schema.fields_count; i++)
		all.fields[all.fields_count++] = job->schema.fields[i];
	mmq_schema_init(&settled);
	mmq_schema_copy(&settled, &all);
	free(all.fields);
	mmq_schema_fini(&job->schema);
	job->schema = settled;
	return 0;
}

int
mmq_job_warm_columns(const struct mmq_job *job, struct mmq_err *err)
{
	const struct mmq_schema *known = job->previous != NULL ? mmq_model_schema(job->previous) : NULL;
	char want[160];

	for (size_t i = 0; known != NULL && i < known->fields_count; i++)
		if (mmq_frame_find(&job->frame, known->fields[i].name) == NULL) {
			snprintf(want, sizeof(want), "column '%.100s' of the model of warm_start", known->fields[i].name);
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "data", want, "no such column");
		}
	return 0;
}

/* Columns that came later are nothing the model could learn from. */
void
mmq_job_warm_extra(struct mmq_job *job)
{
	for (size_t i = 0; job->previous != NULL && i < job->schema.fields_count; i++) {
		struct mmq_field *field = &job->schema.fields[i];
		if (field->role != MMQ_ROLE_FEATURE || field->kind == MMQ_FIELD_IGNORE || mmq_schema_find(mmq_model_schema(job->previous), field->name) != NULL)
			continue;
		field->kind = MMQ_FIELD_IGNORE;
		mmq_buf_printf(&job->warnings, "column '%.100s' is not learnt from: the model of warm_start does not have it\n", field->name);
	}
}

int
mmq_job_warm_task(struct mmq_job *job, struct mmq_err *err)
{
	const struct mmq_decide *decide = mmq_model_decide(job->previous);
	enum mmq_train_task asked = job->request.task;
	bool is_classes = decide->task == MMQ_BINARY || decide->task == MMQ_MULTICLASS;
	bool fits = asked == MMQ_TRAIN_TASK_INFER || (asked == MMQ_TRAIN_TASK_CLASSIFICATION && is_classes) ||
	    (asked == MMQ_TRAIN_TASK_REGRESSION && decide->task == MMQ_REGRESSION) || (asked == MMQ_TRAIN_TASK_BINARY && decide->task == MMQ_BINARY) ||
	    (asked == MMQ_TRAIN_TASK_MULTICLASS && decide->task == MMQ_MULTICLASS) || (asked == MMQ_TRAIN_TASK_ONE_CLASS && decide->task == MMQ_ONE_CLASS);

	if (!fits)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "task", mmq_task_name(decide->task), "another task than the model of warm_start has");
	job->task = decide->task;
	job->positive = decide->positive;
	mmq_classes_copy(&job->classes, &decide->classes);
	return 0;
}
