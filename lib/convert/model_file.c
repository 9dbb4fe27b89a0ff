/* model_file.c: between another library's model and ours. Ours has a preparation: for an imported one it passes values as they are, codes
 * categories by the file's own lists, and fills nothing but what the engine cannot take (absent is 0 in LIBSVM's and LIBLINEAR's world). */
#include "convert/model_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/category.h"
#include "mpack/reader.h"
#include "util/mem.h"

enum { NAME_BYTES_MAX = 1024 };

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
check_names(const struct mmq_converted *converted, struct mmq_err *err)
{
	size_t count = converted->features_count;
	char **sorted = mmq_array(count, sizeof(*sorted));
	int result = 0;

	for (size_t f = 0; f < count && result == 0; f++) {
		size_t size = strlen(converted->names[f]);
		sorted[f] = converted->names[f];
		if (size == 0 || size > NAME_BYTES_MAX || !mmq_utf8_is_valid(converted->names[f], size))
			result = mmq_err_set(err, MMQ_DATA_LOSS, "feature %zu: its name is empty, longer than %d bytes or no UTF-8", f, NAME_BYTES_MAX);
	}
	if (result == 0 && count > 1) {
		qsort(sorted, count, sizeof(*sorted), compare_names);
		for (size_t f = 1; f < count && result == 0; f++)
			if (strcmp(sorted[f - 1], sorted[f]) == 0)
				result = mmq_err_set(err, MMQ_DATA_LOSS, "two features are called '%.80s'", sorted[f]);
	}
	free(sorted);
	return result;
}

static void
make_schema(struct mmq_schema *schema, const struct mmq_converted *converted)
{
	char number[24];

	if (converted->names == NULL && converted->features_count > MMQ_CONVERT_DENSE_MAX) {
		schema->sparse_cols = converted->features_count;
		return;
	}
	for (size_t f = 0; f < converted->features_count; f++) {
		bool is_category = converted->is_category != NULL && converted->is_category[f];
		snprintf(number, sizeof(number), "%zu", f + 1);
		struct mmq_field *field = mmq_schema_add(schema, converted->names != NULL ? converted->names[f] : number,
		    is_category ? MMQ_FIELD_CATEGORICAL : MMQ_FIELD_NUMERIC, MMQ_ROLE_FEATURE);
		field->kind_is_set = true;
	}
}

/* Codes that are the values themselves get their decimal texts. */
static char **
code_texts(size_t count)
{
	char **texts = mmq_array(count, sizeof(*texts)), number[24];
	for (size_t k = 0; k < count; k++) {
		snprintf(number, sizeof(number), "%zu", k);
		texts[k] = mmq_strdup(number);
	}
	return texts;
}

static int
make_preparation(struct mmq_prepare **prepare, const struct mmq_schema *schema, const struct mmq_converted *converted, const struct mmq_engine *engine,
    struct mmq_err *err)
{
	const struct mmq_prepare_raw_options options = { .dtype = converted->dtype, .is_csr = schema->sparse_cols > 0,
		.imputes = !(engine->accepts & MMQ_ACCEPTS_MISSING) };
	size_t fields = schema->fields_count;
	char ***values = mmq_array(fields, sizeof(*values));
	bool *is_own = mmq_array(fields, sizeof(*is_own));

	for (size_t f = 0; f < fields; f++) {
		if (converted->is_category == NULL || !converted->is_category[f])
			continue;
		is_own[f] = converted->values == NULL || converted->values[f] == NULL;
		values[f] = is_own[f] ? code_texts(converted->values_count[f]) : converted->values[f];
	}
	int result = mmq_prepare_raw(prepare, schema, (char *const *const *)values, converted->values_count, &options, err);
	for (size_t f = 0; f < fields; f++) {
		for (size_t k = 0; is_own[f] && k < converted->values_count[f]; k++)
			free(values[f][k]);
		if (is_own[f])
			free(values[f]);
	}
	free(values);
	free(is_own);
	return result;
}

static struct mmq_decide
make_decision(const struct mmq_converted *converted, const struct mmq_engine *engine)
{
	struct mmq_decide decide = { .task = converted->task, .positive = converted->task == MMQ_BINARY ? converted->positive : 0,
		.pairwise = converted->task == MMQ_MULTICLASS && (engine->outputs & MMQ_OUT_PAIRWISE), .threshold = 0.5, .mean = 0, .scale = 1 };

	if (converted->task == MMQ_ONE_CLASS)
		mmq_decide_one_class(&decide.classes);
	else
		mmq_classes_copy(&decide.classes, &converted->classes);
	return decide;
}

static int
write_parts(const struct mmq_converted *converted, const struct mmq_schema *schema, const struct mmq_prepare *prepare,
    const struct mmq_decide *decide, int fd, struct mmq_err *err)
{
	struct mmq_model_parts parts = { .engine = converted->engine, .engine_part = &converted->part };

	mmq_model_parts_init(&parts);
	mmq_schema_save(schema, &parts.schema);
	mmq_decide_save(decide, &parts.decide);
	int result = mmq_prepare_save(prepare, &parts.prepare, err);
	if (result == 0)
		result = mmq_model_parts_write(&parts, fd, err);
	mmq_model_parts_fini(&parts);
	return result;
}

int
mmq_converted_save(const struct mmq_converted *converted, int fd, struct mmq_err *err)
{
	const struct mmq_engine *engine = mmq_engine_find(converted->engine);
	struct mmq_prepare *prepare = NULL;
	struct mmq_schema schema;

	if (converted->features_count == 0)
		return mmq_err_set(err, MMQ_DATA_LOSS, "the model has no feature");
	if (converted->names != NULL && check_names(converted, err) == -1)
		return -1;
	mmq_schema_init(&schema);
	make_schema(&schema, converted);
	struct mmq_decide decide = make_decision(converted, engine);
	int result = make_preparation(&prepare, &schema, converted, engine, err);
	if (result == 0)
		result = write_parts(converted, &schema, prepare, &decide, fd, err);
	mmq_prepare_destroy(&prepare);
	mmq_decide_fini(&decide);
	mmq_schema_fini(&schema);
	return result;
}

/* ---- The other way -------------------------------------------------------------------------------------------------- */

static void
take_column(struct mmq_converted *converted, size_t f, const struct mmq_prepare_plain *column)
{
	converted->center[f] = column->center;
	converted->scale[f] = column->scale;
	if (converted->names != NULL)
		converted->names[f] = mmq_strdup(column->name);
	if (!column->is_category)
		return;
	size_t count = column->categories->count;
	converted->is_category[f] = true;
	converted->values_count[f] = count;
	converted->values[f] = mmq_array(count + 1, sizeof(char *));
	for (size_t k = 0; k < count; k++)
		converted->values[f][k] = mmq_strndup(column->categories->items[k].at, column->categories->items[k].size);
}

int
mmq_converted_of_model(struct mmq_converted *converted, const struct mmq_model *model, struct mmq_err *err)
{
	const struct mmq_prepare *prepare = mmq_model_preparation(model);
	const struct mmq_decide *decide = mmq_model_decide(model);
	size_t count = mmq_prepare_plain_count(prepare);
	struct mmq_prepare_plain *columns = mmq_array(count, sizeof(*columns));

	if (mmq_prepare_plain(prepare, columns, err) == -1) {
		free(columns);
		return -1;
	}
	converted->engine = mmq_model_engine(model)->name;
	converted->task = decide->task;
	if (decide->task != MMQ_ONE_CLASS)
		mmq_classes_copy(&converted->classes, &decide->classes);
	converted->positive = decide->positive;
	converted->dtype = mmq_prepare_dtype(prepare);
	converted->target_mean = decide->mean;
	converted->target_scale = decide->scale;
	bool is_sparse = mmq_model_schema(model)->sparse_cols > 0;
	converted->names = is_sparse ? NULL : mmq_array(count, sizeof(char *));
	converted->is_category = mmq_array(count, sizeof(bool));
	converted->values = mmq_array(count, sizeof(char **));
	converted->values_count = mmq_array(count, sizeof(size_t));
	converted->center = mmq_array(count, sizeof(double));
	converted->scale = mmq_array(count, sizeof(double));
	converted->features_count = count;
	for (size_t f = 0; f < count; f++)
		take_column(converted, f, &columns[f]);
	free(columns);
	return mmq_model_save_engine(model, &converted->part, err);
}
