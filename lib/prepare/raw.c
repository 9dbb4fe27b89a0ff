/* raw.c: preparations that leave values as they are, for models of other libraries, and whether one that was fitted here is so simple that
 * another library's file can say it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/match.h"
#include "prepare/steps.h"

int
mmq_prepare_raw(struct mmq_prepare **prepare_out, const struct mmq_schema *schema, char *const *const *values, const size_t *values_count,
    const struct mmq_prepare_raw_options *options, struct mmq_err *err)
{
	struct mmq_prepare *prepare = mmq_alloc(sizeof(*prepare));

	*prepare_out = NULL;
	mmq_schema_copy(&prepare->schema, schema);
	mmq_arena_init(&prepare->names);
	prepare->dtype = options->dtype;
	prepare->is_csr = options->is_csr;
	prepare->imputes = options->imputes || options->is_csr;
	prepare->inputs = mmq_array(schema->fields_count, sizeof(*prepare->inputs));
	for (size_t i = 0; i < schema->fields_count; i++) {
		struct mmq_prepare_input *input = &prepare->inputs[prepare->inputs_count++];
		bool is_category = schema->fields[i].kind == MMQ_FIELD_CATEGORICAL;
		input->field = (uint32_t)i;
		input->coding = is_category ? MMQ_CODING_ORDINAL : MMQ_CODING_NUMBER;
		if (!is_category)
			continue;
		struct mmq_text *texts = mmq_array(values_count[i], sizeof(*texts));
		for (size_t k = 0; k < values_count[i]; k++)
			texts[k] = (struct mmq_text){ values[i][k], (uint32_t)strlen(values[i][k]) };
		mmq_categories_init(&input->categories, texts, values_count[i]);
		free(texts);
	}
	if (mmq_prepare_layout(prepare, err) == -1) {
		mmq_prepare_destroy(&prepare);
		return -1;
	}
	prepare->scales = mmq_array(prepare->scales_count, sizeof(*prepare->scales));
	for (size_t i = 0; i < prepare->scales_count; i++)
		prepare->scales[i].scale = 1;
	*prepare_out = prepare;
	return 0;
}

static int
refuse(const struct mmq_field *field, const char *what, struct mmq_err *err)
{
	return mmq_err_value(err, MMQ_FAILED_PRECONDITION, field->name, "numbers, or categories as codes", "%s", what);
}

int
mmq_prepare_plain(const struct mmq_prepare *prepare, struct mmq_prepare_plain *columns_out, struct mmq_err *err)
{
	for (size_t i = 0; i < prepare->inputs_count; i++) {
		const struct mmq_prepare_input *input = &prepare->inputs[i];
		const struct mmq_field *field = &prepare->schema.fields[input->field];
		struct mmq_prepare_plain *column = &columns_out[i];
		*column = (struct mmq_prepare_plain){ .name = field->name, .scale = 1 };
		if (input->has_flag)
			return refuse(field, "a column with a flag of its own for missing values", err);
		if (input->coding == MMQ_CODING_ORDINAL) {
			if (input->buckets > 0 || input->missing_is_code)
				return refuse(field, input->buckets > 0 ? "hashed categories" : "a code for missing values", err);
			column->is_category = true;
			column->categories = &input->categories;
		} else if (input->coding == MMQ_CODING_NUMBER || input->coding == MMQ_CODING_BOOLEAN) {
			column->center = prepare->scales[input->scale].center;
			column->scale = prepare->scales[input->scale].scale;
		} else {
			return refuse(field, input->coding == MMQ_CODING_ONE_HOT ? "one-hot categories" : input->coding == MMQ_CODING_DATETIME ? "dates" :
			    input->coding == MMQ_CODING_VECTOR ? "a vector" : "free text", err);
		}
	}
	for (size_t k = 0; k < prepare->schema.sparse_cols; k++)
		columns_out[prepare->inputs_count + k] = (struct mmq_prepare_plain){ .scale = prepare->scales[prepare->sparse_scale + k].scale };
	return 0;
}

size_t
mmq_prepare_plain_count(const struct mmq_prepare *prepare)
{
	return prepare->inputs_count + prepare->schema.sparse_cols;
}

enum mmq_dtype
mmq_prepare_dtype(const struct mmq_prepare *prepare)
{
	return prepare->dtype;
}
