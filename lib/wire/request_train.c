/* request_train.c: a train request into its struct, every wrong field named. What other parts of the code own (params, schema, files,
 * preparation, gates) is only held to being a map here and read by its owner. */
#include <stdio.h>

#include "wire/keys.h"
#include "wire/peek.h"
#include "wire/want.h"

enum { TEXT_BYTES_MAX = 4096, NAME_BYTES_MAX = 1024, THREADS_MAX = 1024 };

static int
read_unsigned(uint64_t *out, const struct mmq_raw *value, const char *field, int64_t min, int64_t max, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	int64_t number = 0;
	int rc = mmq_want_int(&reader, field, min, max, &number, err);
	*out = (uint64_t)number;
	return rc;
}

static int
read_source(struct mmq_data_source *source, const struct mmq_raw *value, const char *field, struct mmq_err *err)
{
	static const char *const inline_keys[] = { "rows", "columns", "tensor", "sparse" };
	struct mmq_reader reader;
	char name[32];

	if (mmq_keys_map(&source->map, value, field, err) == -1)
		return -1;
	unsigned inline_count = 0;
	for (size_t i = 0; i < sizeof(inline_keys) / sizeof(inline_keys[0]); i++)
		inline_count += mmq_peek_find(value->at, value->size, inline_keys[i], &reader);
	bool is_file = mmq_peek_find(value->at, value->size, "file", &reader);
	snprintf(name, sizeof(name), "%s.dataset", field);
	if (mmq_peek_find(value->at, value->size, "dataset", &reader))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, name, "rows, columns, tensor, sparse or file; datasets are reserved for a later version", "a dataset");
	if (inline_count + is_file != 1)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, "one of rows, columns, tensor, sparse, file", "%u of them", inline_count + is_file);
	source->kind = is_file ? MMQ_DATA_FILE : MMQ_DATA_INLINE;
	return 0;
}

static int
read_data(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	return read_source(&((struct mmq_train_request *)into)->data, value, "data", err);
}

static int
read_test(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	return read_source(&((struct mmq_train_request *)into)->test, value, "test", err);
}

static int
read_target(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_train_request *train = into;
	struct mmq_reader reader = mmq_raw_reader(value);
	uint32_t count = 1;

	if (mmq_read_peek(&reader) == MMQ_T_ARRAY && mmq_want_array(&reader, "target", MMQ_TARGETS_MAX, &count, err) == -1)
		return -1;
	if (count == 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "target", "a column's name", "an empty list");
	for (train->targets_count = 0; train->targets_count < count; train->targets_count++)
		if (mmq_want_text(&reader, "target", 1, NAME_BYTES_MAX, &train->targets[train->targets_count], err) == -1)
			return -1;
	return 0;
}

static int
read_model(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	return mmq_want_name(&reader, "model", &((struct mmq_train_request *)into)->model, err);
}

static int
read_engine(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	return mmq_want_name(&reader, "engine", &((struct mmq_train_request *)into)->engine, err);
}

static int
read_task(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	int index = 0;
	int rc = mmq_want_choice(&reader, "task", "regression|binary|multiclass|classification|one_class", &index, err);
	((struct mmq_train_request *)into)->task = (enum mmq_train_task)(index + 1);
	return rc;
}

static int
read_schema(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	return mmq_keys_map(&((struct mmq_train_request *)into)->schema, value, "schema", err);
}

static int
read_params(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	return mmq_keys_map(&((struct mmq_train_request *)into)->params, value, "params", err);
}

static int
read_gates(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	return mmq_keys_map(&((struct mmq_train_request *)into)->gates, value, "gates", err);
}

static int
read_prepare(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	int index = 0;

	if (mmq_read_peek(&reader) == MMQ_T_STR)
		return mmq_want_choice(&reader, "prepare", "auto", &index, err);
	return mmq_keys_map(&((struct mmq_train_request *)into)->prepare, value, "prepare", err);
}

static int
read_split(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_train_request *train = into;
	struct mmq_reader reader = mmq_raw_reader(value);
	struct mmq_raw map;

	if (mmq_keys_map(&map, value, "split", err) == -1)
		return -1;
	train->split_is_set = true;
	return mmq_split_read(&train->split, &reader, err);
}

static int
read_class_weight(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_train_request *train = into;
	struct mmq_reader reader = mmq_raw_reader(value);
	int index = 0;

	if (mmq_read_peek(&reader) != MMQ_T_STR)
		return mmq_keys_map(&train->class_weight, value, "class_weight", err);
	train->class_weight_is_balanced = true;
	return mmq_want_choice(&reader, "class_weight", "balanced", &index, err);
}

static int
read_positive(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	struct mmq_token token;

	if (!mmq_read(&reader, &token))
		return mmq_want_broken(&reader, err);
	if (token.type != MMQ_T_STR && token.type != MMQ_T_INT && token.type != MMQ_T_BOOL)
		return mmq_want_refuse(&token, "positive", "a label: a string, an integer or a bool", err);
	((struct mmq_train_request *)into)->positive = *value;
	return 0;
}

static int
read_threads(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	uint64_t threads;
	int rc = read_unsigned(&threads, value, "threads", 1, THREADS_MAX, err);
	((struct mmq_train_request *)into)->threads = (uint32_t)threads;
	return rc;
}

static int
read_memory(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	return read_unsigned(&((struct mmq_train_request *)into)->memory_mb, value, "memory_mb", 1, INT64_C(1) << 30, err);
}

static int
read_seed(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	return read_unsigned(&((struct mmq_train_request *)into)->seed, value, "seed", 0, INT64_MAX, err);
}

static int
read_width(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	uint64_t width;
	int rc = read_unsigned(&width, value, "width", 1, INT32_MAX, err);
	((struct mmq_train_request *)into)->width = (uint32_t)width;
	return rc;
}

static int
read_warm_model(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	return mmq_want_name(&reader, "warm_start.model", &((struct mmq_train_request *)into)->warm_model, err);
}

static int
read_warm_version(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_train_request *train = into;
	struct mmq_reader reader = mmq_raw_reader(value);
	uint64_t version;

	if (mmq_read_peek(&reader) == MMQ_T_STR)
		return mmq_want_name(&reader, "warm_start.version", &train->warm_alias, err);
	int rc = read_unsigned(&version, value, "warm_start.version", 1, UINT32_MAX, err);
	train->warm_version = (uint32_t)version;
	return rc;
}

static int
read_warm_start(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	static const struct mmq_key keys[] = { { "model", read_warm_model, false }, { "version", read_warm_version, false }, { NULL, NULL, false } };
	struct mmq_train_request *train = into;
	struct mmq_raw map;

	if (mmq_keys_map(&map, value, "warm_start", err) == -1 || mmq_keys_read(keys, into, map.at, map.size, err) == -1)
		return -1;
	if (train->warm_model.at == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "warm_start.model", "a model's name", "nothing");
	return 0;
}

static int
read_alias(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_train_request *train = into;
	struct mmq_reader reader = mmq_raw_reader(value);

	train->alias = (struct mmq_text){ NULL, 0 };
	return mmq_want_nil(&reader) ? 0 : mmq_want_name(&reader, "alias", &train->alias, err);
}

static int
read_description(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	return mmq_want_text(&reader, "description", 0, TEXT_BYTES_MAX, &((struct mmq_train_request *)into)->description, err);
}

static int
read_keep(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	return mmq_want_bool(&reader, "keep", &((struct mmq_train_request *)into)->keep, err);
}

static int
read_calibrate(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	return mmq_want_choice(&reader, "calibrate", "none|sigmoid|isotonic", &((struct mmq_train_request *)into)->calibrate, err);
}

static int
read_repeats(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	uint64_t repeats;
	int rc = read_unsigned(&repeats, value, "importance.repeats", 1, 100, err);
	((struct mmq_train_request *)into)->importance_repeats = (uint32_t)repeats;
	return rc;
}

static int
read_importance_rows(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	uint64_t rows;
	int rc = read_unsigned(&rows, value, "importance.rows_max", 2, 1000000, err);
	((struct mmq_train_request *)into)->importance_rows_max = (uint32_t)rows;
	return rc;
}

static int
read_importance(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	static const struct mmq_key keys[] = { { "repeats", read_repeats, false }, { "rows_max", read_importance_rows, false }, { NULL, NULL, false } };
	struct mmq_train_request *train = into;
	struct mmq_reader reader = mmq_raw_reader(value);
	bool is_wanted = true;
	struct mmq_raw map;

	train->importance_rows_max = 2000;
	if (mmq_read_peek(&reader) == MMQ_T_BOOL) {
		int rc = mmq_want_bool(&reader, "importance", &is_wanted, err);
		train->importance_repeats = is_wanted ? 5 : 0;
		return rc;
	}
	train->importance_repeats = 5;
	return mmq_keys_map(&map, value, "importance", err) == -1 ? -1 : mmq_keys_read(keys, into, map.at, map.size, err);
}

int
mmq_train_request_read(struct mmq_train_request *train, const void *request, size_t size, struct mmq_err *err)
{
	static const struct mmq_key keys[] = {
		{ "model", read_model, false }, { "data", read_data, false }, { "test", read_test, false }, { "target", read_target, false },
		{ "engine", read_engine, false }, { "task", read_task, false }, { "schema", read_schema, false }, { "params", read_params, false },
		{ "prepare", read_prepare, false }, { "gates", read_gates, false }, { "split", read_split, false },
		{ "class_weight", read_class_weight, false }, { "positive", read_positive, false }, { "threads", read_threads, false },
		{ "memory_mb", read_memory, false }, { "seed", read_seed, false }, { "width", read_width, false },
		{ "warm_start", read_warm_start, false }, { "alias", read_alias, true }, { "description", read_description, false },
		{ "keep", read_keep, false }, { "calibrate", read_calibrate, false }, { "importance", read_importance, false }, { NULL, NULL, false },
	};

	*train = (struct mmq_train_request){ .split = MMQ_SPLIT_DEFAULT, .alias = { "production", 10 } };
	if (mmq_keys_read(keys, train, request, size, err) == -1)
		return -1;
	if (train->data.kind == MMQ_DATA_NONE)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "data", "rows, columns, tensor, sparse or a file", "nothing");
	return 0;
}
