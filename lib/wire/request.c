/* request.c: options of predict and train. One walk over the top-level keys; each known key has a row in a table and a
 * function that reads it, unknown keys are passed over so that clients may be newer. */
#include "wire/request.h"

#include <stdio.h>
#include <string.h>

#include "wire/peek.h"
#include "wire/want.h"

enum { TEXT_BYTES_MAX = 4096, NAME_BYTES_MAX = 1024, THREADS_MAX = 1024 };

struct mmq_reader
mmq_raw_reader(const struct mmq_raw *raw)
{
	struct mmq_reader reader;
	mmq_reader_init(&reader, raw->at, raw->size);
	return reader;
}

/* A row of a table of keys. `into` is the struct being filled. nil counts as absent unless takes_nil. */
struct key {
	const char *name;
	int (*read)(void *into, const struct mmq_raw *value, struct mmq_err *err);
	bool takes_nil;
};

static int
read_keys(const struct key *keys, void *into, const void *map, size_t size, struct mmq_err *err)
{
	struct mmq_reader reader;
	struct mmq_text name;
	struct mmq_raw value;
	uint32_t pairs;

	mmq_reader_init(&reader, map, size);
	if (mmq_want_map(&reader, "request", &pairs, err) == -1)
		return -1;
	for (; pairs > 0; pairs--) {
		if (mmq_want_key(&reader, "request", &name, err) == -1)
			return -1;
		if (!mmq_read_raw(&reader, &value.at, &value.size))
			return mmq_want_broken(&reader, err);
		const struct key *key = keys;
		while (key->name != NULL && !mmq_text_is(&name, key->name))
			key++;
		bool is_nil = value.at[0] == 0xc0;
		if (key->name != NULL && (!is_nil || key->takes_nil) && key->read(into, &value, err) == -1)
			return -1;
	}
	return 0;
}

static int
read_map(struct mmq_raw *out, const struct mmq_raw *value, const char *field, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	uint32_t pairs;

	*out = *value;
	return mmq_want_map(&reader, field, &pairs, err);
}

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
read_want(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	static const unsigned bits[] = { MMQ_ASK_PREDICTION, MMQ_ASK_PROBABILITY, MMQ_ASK_SCORE, MMQ_ASK_INTERVAL, MMQ_ASK_CONTRIBUTION, MMQ_ASK_LEAF };
	struct mmq_predict_options *options = into;
	struct mmq_reader reader = mmq_raw_reader(value);
	uint32_t count;
	int index = 0;

	if (mmq_want_array(&reader, "want", 16, &count, err) == -1)
		return -1;
	if (count == 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "want", "at least one output", "an empty list");
	for (options->want = 0; count > 0; count--) {
		if (mmq_want_choice(&reader, "want", "prediction|probability|score|interval|contribution|leaf", &index, err) == -1)
			return -1;
		options->want |= bits[index];
	}
	return 0;
}

static int
read_interval_level(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_predict_options *options = into;
	struct mmq_reader reader = mmq_raw_reader(value);
	return mmq_want_number(&reader, "want_options.interval_level", 0.5, 0.999, &options->interval_level, err);
}

static int
read_want_options(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	static const struct key keys[] = { { "interval_level", read_interval_level, false }, { NULL, NULL, false } };
	struct mmq_raw map;
	return read_map(&map, value, "want_options", err) == -1 ? -1 : read_keys(keys, into, map.at, map.size, err);
}

static int
read_on_row_error(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	int index = 0;
	int rc = mmq_want_choice(&reader, "on_row_error", "fail|report", &index, err);
	((struct mmq_predict_options *)into)->report_row_errors = index == 1;
	return rc;
}

static int
read_extra(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	int index = 0;
	int rc = mmq_want_choice(&reader, "extra", "refuse|ignore", &index, err);
	((struct mmq_predict_options *)into)->extra_is_ignored = index == 1;
	return rc;
}

static int
read_reply_format(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	int index = 0;
	int rc = mmq_want_choice(&reader, "reply_format", "lists|tensor", &index, err);
	((struct mmq_predict_options *)into)->reply_format = index == 1 ? MMQ_REPLY_TENSOR : MMQ_REPLY_LISTS;
	return rc;
}

static int
read_row_ids(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_predict_options *options = into;
	struct mmq_reader reader = mmq_raw_reader(value);
	struct mmq_token token;

	options->row_ids = *value;
	if (mmq_want_array(&reader, "row_ids", UINT32_MAX, &options->row_ids_count, err) == -1)
		return -1;
	for (uint32_t i = 0; i < options->row_ids_count; i++) {
		if (!mmq_read(&reader, &token))
			return mmq_want_broken(&reader, err);
		if (token.type != MMQ_T_STR && token.type != MMQ_T_INT && token.type != MMQ_T_UINT)
			return mmq_want_refuse(&token, "row_ids", "strings or integers", err);
	}
	return 0;
}

static int
read_format_options(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	return read_map(&((struct mmq_predict_options *)into)->format_options, value, "format_options", err);
}

int
mmq_predict_options_read(struct mmq_predict_options *options, const void *request, size_t size, struct mmq_err *err)
{
	static const struct key keys[] = {
		{ "want", read_want, false }, { "want_options", read_want_options, false }, { "on_row_error", read_on_row_error, false },
		{ "extra", read_extra, false }, { "reply_format", read_reply_format, false }, { "row_ids", read_row_ids, false },
		{ "format_options", read_format_options, false }, { NULL, NULL, false },
	};

	*options = (struct mmq_predict_options){ .want = MMQ_ASK_PREDICTION, .interval_level = 0.9 };
	return read_keys(keys, options, request, size, err);
}

static int
read_source(struct mmq_data_source *source, const struct mmq_raw *value, const char *field, struct mmq_err *err)
{
	static const char *const inline_keys[] = { "rows", "columns", "tensor", "sparse" };
	struct mmq_reader reader;
	char name[32];

	if (read_map(&source->map, value, field, err) == -1)
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
	int rc = mmq_want_choice(&reader, "task", "regression|binary|multiclass|classification", &index, err);
	((struct mmq_train_request *)into)->task = (enum mmq_train_task)(index + 1);
	return rc;
}

static int
read_schema(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	return read_map(&((struct mmq_train_request *)into)->schema, value, "schema", err);
}

static int
read_params(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	return read_map(&((struct mmq_train_request *)into)->params, value, "params", err);
}

static int
read_gates(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	return read_map(&((struct mmq_train_request *)into)->gates, value, "gates", err);
}

static int
read_prepare(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	int index = 0;

	if (mmq_read_peek(&reader) == MMQ_T_STR)
		return mmq_want_choice(&reader, "prepare", "auto", &index, err);
	return read_map(&((struct mmq_train_request *)into)->prepare, value, "prepare", err);
}

static int
read_split(void *into, const struct mmq_raw *value, struct mmq_err *err)
{
	struct mmq_train_request *train = into;
	struct mmq_reader reader = mmq_raw_reader(value);
	struct mmq_raw map;

	if (read_map(&map, value, "split", err) == -1)
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
		return read_map(&train->class_weight, value, "class_weight", err);
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
	static const struct key keys[] = { { "model", read_warm_model, false }, { "version", read_warm_version, false }, { NULL, NULL, false } };
	struct mmq_train_request *train = into;
	struct mmq_raw map;

	if (read_map(&map, value, "warm_start", err) == -1 || read_keys(keys, into, map.at, map.size, err) == -1)
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

int
mmq_train_request_read(struct mmq_train_request *train, const void *request, size_t size, struct mmq_err *err)
{
	static const struct key keys[] = {
		{ "model", read_model, false }, { "data", read_data, false }, { "test", read_test, false }, { "target", read_target, false },
		{ "engine", read_engine, false }, { "task", read_task, false }, { "schema", read_schema, false }, { "params", read_params, false },
		{ "prepare", read_prepare, false }, { "gates", read_gates, false }, { "split", read_split, false },
		{ "class_weight", read_class_weight, false }, { "positive", read_positive, false }, { "threads", read_threads, false },
		{ "memory_mb", read_memory, false }, { "seed", read_seed, false }, { "width", read_width, false },
		{ "warm_start", read_warm_start, false }, { "alias", read_alias, true }, { "description", read_description, false },
		{ "keep", read_keep, false }, { NULL, NULL, false },
	};

	*train = (struct mmq_train_request){ .split = MMQ_SPLIT_DEFAULT, .alias = { "production", 10 } };
	if (read_keys(keys, train, request, size, err) == -1)
		return -1;
	if (train->data.kind == MMQ_DATA_NONE)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "data", "rows, columns, tensor, sparse or a file", "nothing");
	return 0;
}
