/* job_read.c: from the request's bytes to frames whose columns are known, and to a coded target. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/match.h"
#include "trainer/job_inner.h"
#include "util/mem.h"
#include "wire/values.h"

enum { TRAIN_ROWS_MAX = 1 << 26 };

static int
read_inline(struct mmq_frame *frame, struct mmq_job_source *source, const struct mmq_data_source *from, size_t width, struct mmq_err *err)
{
	const struct mmq_values_options how = { .width = width, .rows_max = TRAIN_ROWS_MAX, .cells_max = MMQ_TRAIN_CELLS_MAX };
	enum mmq_values_form form;

	if (mmq_values_read(frame, &form, from->map.at, from->map.size, NULL, &how, err) == -1)
		return -1;
	crypto_generichash(source->hash, sizeof(source->hash), from->map.at, from->map.size, NULL, 0);
	return 0;
}

static int
read_file(struct mmq_job *job, struct mmq_frame *frame, struct mmq_job_source *source, const struct mmq_data_source *from,
    const struct mmq_schema *known, struct mmq_err *err)
{
	struct mmq_source file;
	struct mmq_reader map = mmq_raw_reader(&from->map);
	int result = -1;

	mmq_source_init(&file);
	if (mmq_source_read(&file, &map, err) == -1)
		goto out;
	file.schema = known;
	if (file.width == 0)
		file.width = job->request.width;
	result = mmq_source_open(frame, &file, job->options.folders, job->options.folders_count, source->hash, err);
	source->file = mmq_strdup(file.file);
out:
	mmq_source_fini(&file);
	return result;
}

static int
read_rows(struct mmq_job *job, struct mmq_frame *frame, struct mmq_job_source *source, const struct mmq_data_source *from,
    const struct mmq_schema *known, const char *field, struct mmq_err *err)
{
	int result = from->kind == MMQ_DATA_FILE ? read_file(job, frame, source, from, known, err) :
	    read_inline(frame, source, from, job->request.width, err);

	if (result == -1)
		return mmq_err_prefix(err, "%s", field);
	source->rows = frame->rows;
	if (frame->rows == 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, "at least one row", "no rows");
	if (frame->rows > TRAIN_ROWS_MAX)
		return mmq_err_value(err, MMQ_RESOURCE_EXHAUSTED, field, "at most 67108864 rows", "%zu", frame->rows);
	return 0;
}

/* Nothing is to be learnt, so no column may be named; a label that the data brings is passed over. */
static int
without_target(struct mmq_job *job, struct mmq_err *err)
{
	struct mmq_field *label = mmq_schema_find(&job->schema, "label");

	if (job->request.targets_count > 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "target", "none for task one_class; role target in the schema passes a column over", "'%.*s'",
		    (int)job->request.targets[0].size, job->request.targets[0].at);
	if (label != NULL && label->role == MMQ_ROLE_FEATURE) {
		label->role = MMQ_ROLE_TARGET;
		mmq_buf_printf(&job->warnings, "column 'label' is passed over: task one_class has no target\n");
	}
	return 0;
}

static bool
is_one_class(const struct mmq_job *job)
{
	return job->request.task == MMQ_TRAIN_TASK_ONE_CLASS || (job->previous != NULL && mmq_model_decide(job->previous)->task == MMQ_ONE_CLASS);
}

/* The target's name: from the request, from the schema's roles, or "label" where the file format brings one. */
static int
find_target(struct mmq_job *job, struct mmq_err *err)
{
	const struct mmq_train_request *request = &job->request;

	if (is_one_class(job))
		return without_target(job, err);
	if (request->targets_count > 1)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "target", "one column; no engine learns several at once", "%zu", request->targets_count);
	if (request->targets_count == 1)
		job->target = mmq_strndup(request->targets[0].at, request->targets[0].size);
	for (size_t i = 0; job->target == NULL && i < job->schema.fields_count; i++)
		if (job->schema.fields[i].role == MMQ_ROLE_TARGET)
			job->target = mmq_strdup(job->schema.fields[i].name);
	if (job->target == NULL && mmq_frame_find(&job->frame, "label") != NULL)
		job->target = mmq_strdup("label");
	if (job->target == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "target", "the name of the column to learn", "nothing");
	struct mmq_field *field = mmq_schema_find(&job->schema, job->target);
	if (field == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "target", "a column of the data", "'%s', which is not among its %zu columns", job->target,
		    job->frame.columns_count);
	if (field->width != 1)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "target", "a column of single values", "'%s', which holds %zu numbers a row", job->target,
		    field->width);
	field->role = MMQ_ROLE_TARGET;
	return 0;
}

/* Which task: as asked, or by the protocol's rule; and the classes if it is one of classes. */
static int
settle_task(struct mmq_job *job, const struct mmq_column *column, struct mmq_err *err)
{
	enum mmq_train_task asked = job->request.task;
	bool is_classes = asked != MMQ_TRAIN_TASK_REGRESSION;

	if (job->previous != NULL)
		return mmq_job_warm_task(job, err);
	if (asked == MMQ_TRAIN_TASK_ONE_CLASS) {
		job->task = MMQ_ONE_CLASS;
		mmq_decide_one_class(&job->classes);
		return 0;
	}
	if (asked == MMQ_TRAIN_TASK_INFER) {
		is_classes = mmq_target_is_classes(column, NULL, job->frame.rows, job->task_why);
		job->task_is_inferred = true;
	}
	if (!is_classes) {
		job->task = MMQ_REGRESSION;
		return 0;
	}
	if (mmq_classes_init(&job->classes, column, NULL, job->frame.rows, err) == -1)
		return mmq_err_prefix(err, "target '%s'", job->target);
	if (asked == MMQ_TRAIN_TASK_BINARY && job->classes.count != 2)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "task", "binary only for a target with 2 classes", "%zu classes", job->classes.count);
	job->task = job->classes.count == 2 ? MMQ_BINARY : MMQ_MULTICLASS;
	job->positive = job->task == MMQ_BINARY ? 1 : 0;
	return 0;
}

static int
encode_target(const struct mmq_job *job, const struct mmq_frame *frame, double **y_out, struct mmq_err *err)
{
	if (job->task == MMQ_ONE_CLASS)
		return 0;
	const struct mmq_column *column = mmq_frame_find(frame, job->target);
	if (column == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "test", "the columns of the training data", "no column '%s'", job->target);
	*y_out = mmq_array(frame->rows, sizeof(double));
	int result = job->task == MMQ_REGRESSION ? mmq_target_numbers(column, NULL, frame->rows, *y_out, err) :
	    mmq_classes_encode(&job->classes, column, NULL, frame->rows, *y_out, err);
	return result == -1 ? mmq_err_prefix(err, "target '%s'", job->target) : 0;
}

static int
read_positive(struct mmq_job *job, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(&job->request.positive);
	struct mmq_token token;
	char number[32];

	if (job->request.positive.at == NULL)
		return 0;
	if (job->task != MMQ_BINARY)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "positive", "a label of a binary target", "a %s task", mmq_task_name(job->task));
	mmq_read(&reader, &token);
	const char *text = token.type == MMQ_T_STR ? token.bytes : token.type == MMQ_T_BOOL ? (token.boolean ? "true" : "false") : number;
	size_t size = token.type == MMQ_T_STR ? token.size : token.type == MMQ_T_BOOL ? strlen(text) : mmq_canonical_number(token.f, number);
	int index = mmq_classes_find(&job->classes, text, size);
	if (index == -1)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "positive", "one of the target's classes", "'%.*s'", (int)(size < 64 ? size : 64), text);
	if (job->previous != NULL && job->positive != (uint32_t)index)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "positive", "the positive class of the model of warm_start", "the other one");
	job->positive = (uint32_t)index;
	return 0;
}

/* After the columns are known: which are scaled and filled otherwise. */
static int
read_prepare(struct mmq_job *job, struct mmq_err *err)
{
	struct mmq_reader map = mmq_raw_reader(&job->request.prepare);

	if (job->request.prepare.at == NULL)
		return 0;
	if (job->previous != NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "prepare", "\"auto\" with warm_start: the preparation stays as it is", "a map");
	return mmq_schema_read_prepare(&job->schema, &map, err);
}

int
mmq_job_read(struct mmq_job *job, struct mmq_err *err)
{
	struct mmq_train_request *request = &job->request;

	if (mmq_peek(&job->head, job->item->body, job->item->body_bytes, 1, err) == -1 ||
	    mmq_train_request_read(request, job->item->body, job->item->body_bytes, err) == -1 || mmq_job_warm_open(job, err) == -1)
		return -1;
	if (request->schema.at != NULL) {
		struct mmq_reader map = mmq_raw_reader(&request->schema);
		if (mmq_schema_read(&job->schema, &map, err) == -1)
			return -1;
	}
	if (mmq_job_warm_schema(job, err) == -1)
		return -1;
	const struct mmq_schema *known = job->schema.fields_count > 0 ? &job->schema : NULL;
	if (read_rows(job, &job->frame, &job->source, &request->data, known, "data", err) == -1)
		return -1;
	mmq_job_report(job, 0.5, NULL);
	if (mmq_job_warm_columns(job, err) == -1 || mmq_schema_infer(&job->schema, &job->frame, err) == -1 || find_target(job, err) == -1 || mmq_job_check_cancel(job, err) == -1)
		return -1;
	if (request->test.kind != MMQ_DATA_NONE &&
	    read_rows(job, &job->test_frame, &job->test_source, &request->test, &job->schema, "test", err) == -1)
		return -1;
	mmq_job_warm_extra(job);
	if (read_prepare(job, err) == -1)
		return -1;
	if (settle_task(job, job->target != NULL ? mmq_frame_find(&job->frame, job->target) : NULL, err) == -1 || encode_target(job, &job->frame, &job->y, err) == -1 ||
	    (request->test.kind != MMQ_DATA_NONE && encode_target(job, &job->test_frame, &job->test_y, err) == -1))
		return -1;
	return read_positive(job, err);
}
