/* layout.c: where each input's output columns lie, and the engine's list of features. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prepare/steps.h"
#include "prepare/text_hash.h"

enum { FEATURES_MAX = 1 << 22 };

static const char *const part_names[MMQ_DATETIME_PARTS] = { "year", "month", "day", "weekday", "hour" };

size_t
mmq_prepare_scales_of(enum mmq_coding coding)
{
	switch (coding) {
	case MMQ_CODING_NUMBER: case MMQ_CODING_BOOLEAN: case MMQ_CODING_VECTOR: return 1;
	case MMQ_CODING_DATETIME: return MMQ_DATETIME_PARTS;
	default: return 0;
	}
}

uint32_t
mmq_prepare_codes_of(const struct mmq_prepare_input *input)
{
	uint32_t known = input->buckets > 0 ? input->buckets : (uint32_t)input->categories.count;
	return known + input->missing_is_code;
}

static uint64_t
columns_of(const struct mmq_prepare_input *input, const struct mmq_field *field)
{
	switch (input->coding) {
	case MMQ_CODING_VECTOR: return (uint64_t)field->width + input->has_flag;
	case MMQ_CODING_ONE_HOT: return mmq_prepare_codes_of(input);
	case MMQ_CODING_ORDINAL: return 1;
	case MMQ_CODING_TEXT_HASH: return MMQ_TEXT_HASH_COLS;
	default: return mmq_prepare_scales_of(input->coding) + input->has_flag;
	}
}

static struct mmq_feature *
feature_add(struct mmq_prepare *prepare, const char *name, const struct mmq_prepare_input *input)
{
	struct mmq_feature *feature = &prepare->features[prepare->features_count++];

	*feature = (struct mmq_feature){ .name = mmq_arena_strndup(&prepare->names, name, strlen(name)), .kind = MMQ_NUMERIC, .source = input->field };
	return feature;
}

/* "column<separator>detail", cut at the buffer's size: names are for reading only. */
static void
feature_named(struct mmq_prepare *prepare, const struct mmq_prepare_input *input, char separator, const char *detail, size_t size)
{
	char name[256];
	snprintf(name, sizeof(name), "%.120s%c%.*s", prepare->schema.fields[input->field].name, separator, (int)(size < 100 ? size : 100), detail);
	feature_add(prepare, name, input);
}

static void
one_hot_features(struct mmq_prepare *prepare, const struct mmq_prepare_input *input)
{
	char bucket[24];

	for (uint32_t i = 0; i < input->buckets; i++) {
		int size = snprintf(bucket, sizeof(bucket), "#%u", i);
		feature_named(prepare, input, '=', bucket, (size_t)size);
	}
	for (size_t i = 0; i < input->categories.count; i++)
		feature_named(prepare, input, '=', input->categories.items[i].at, input->categories.items[i].size);
	if (input->missing_is_code)
		feature_named(prepare, input, '=', "missing", 7);
}

static void
vector_features(struct mmq_prepare *prepare, const struct mmq_prepare_input *input)
{
	const struct mmq_field *field = &prepare->schema.fields[input->field];
	char index[24];

	if (prepare->keeps_vectors) {
		struct mmq_feature *feature = feature_add(prepare, field->name, input);
		feature->kind = MMQ_VECTOR;
		feature->rank = field->rank;
		memcpy(feature->shape, field->shape, sizeof(feature->shape));
		return;
	}
	for (size_t i = 0; i < field->width; i++) {
		int size = snprintf(index, sizeof(index), "%zu", i);
		feature_named(prepare, input, '.', index, (size_t)size);
	}
}

static void
input_features(struct mmq_prepare *prepare, const struct mmq_prepare_input *input)
{
	const struct mmq_field *field = &prepare->schema.fields[input->field];
	struct mmq_feature *feature;

	switch (input->coding) {
	case MMQ_CODING_NUMBER: case MMQ_CODING_BOOLEAN:
		feature_add(prepare, field->name, input);
		break;
	case MMQ_CODING_DATETIME:
		for (int i = 0; i < MMQ_DATETIME_PARTS; i++)
			feature_named(prepare, input, '.', part_names[i], strlen(part_names[i]));
		break;
	case MMQ_CODING_VECTOR:
		vector_features(prepare, input);
		break;
	case MMQ_CODING_ONE_HOT:
		one_hot_features(prepare, input);
		return;
	case MMQ_CODING_ORDINAL:
		feature = feature_add(prepare, field->name, input);
		feature->kind = MMQ_CATEGORY;
		feature->cardinality = mmq_prepare_codes_of(input);
		return;
	case MMQ_CODING_TEXT_HASH:
		feature = feature_add(prepare, field->name, input);
		feature->kind = MMQ_VECTOR;
		feature->rank = 1;
		feature->shape[0] = MMQ_TEXT_HASH_COLS;
		return;
	case MMQ_CODING_COUNT:
		break;
	}
	if (input->has_flag)
		feature_named(prepare, input, '=', "missing", 7);
}

static void
sparse_features(struct mmq_prepare *prepare)
{
	size_t cols = prepare->schema.sparse_cols;
	struct mmq_prepare_input block = { .field = (uint32_t)prepare->schema.fields_count };
	char name[24];

	if (cols > MMQ_SPARSE_FEATURES_MAX) {
		struct mmq_feature *feature = feature_add(prepare, "sparse", &block);
		feature->kind = MMQ_VECTOR;
		feature->rank = 1;
		feature->shape[0] = (uint32_t)cols;
		return;
	}
	for (size_t i = 0; i < cols; i++) {
		snprintf(name, sizeof(name), "%zu", i);
		feature_add(prepare, name, &block)->source = block.field + (uint32_t)i;
	}
}

int
mmq_prepare_layout(struct mmq_prepare *prepare, struct mmq_err *err)
{
	uint64_t cols = 0, features_max = 0;
	size_t scales = 0;

	for (size_t i = 0; i < prepare->inputs_count; i++) {
		struct mmq_prepare_input *input = &prepare->inputs[i];
		const struct mmq_field *field = &prepare->schema.fields[input->field];
		uint64_t count = columns_of(input, field);
		input->out = (uint32_t)(input->coding == MMQ_CODING_ORDINAL ? prepare->codes_cols : cols);
		input->out_count = (uint32_t)count;
		input->scale = (uint32_t)scales;
		input->scales = (uint32_t)mmq_prepare_scales_of(input->coding);
		scales += input->scales;
		if (input->coding == MMQ_CODING_ORDINAL)
			prepare->codes_cols++;
		else
			cols += count;
		bool is_one = input->coding == MMQ_CODING_TEXT_HASH || (input->coding == MMQ_CODING_VECTOR && prepare->keeps_vectors);
		features_max += is_one ? 2 : count;  /* a vector and its flag */
		if (cols > INT32_MAX || features_max > FEATURES_MAX)
			break;
	}
	prepare->sparse_at = cols;
	prepare->sparse_scale = scales;
	cols += prepare->schema.sparse_cols;
	features_max += prepare->schema.sparse_cols > MMQ_SPARSE_FEATURES_MAX ? 1 : prepare->schema.sparse_cols;
	if (cols > INT32_MAX || features_max > FEATURES_MAX)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "preparation would give more than 2^31 columns or %d features", FEATURES_MAX);
	prepare->cols = cols;
	prepare->scales_count = scales + prepare->schema.sparse_cols;
	prepare->features = mmq_array(features_max, sizeof(*prepare->features));
	for (size_t i = 0; i < prepare->inputs_count; i++)
		input_features(prepare, &prepare->inputs[i]);
	sparse_features(prepare);
	return 0;
}
