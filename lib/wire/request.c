/* request.c: the options of predict, and the walk over a map's keys that train shares: each known key has a row in a table and
 * a function that reads it, unknown keys are passed over so that clients may be newer. */
#include "wire/request.h"

#include "wire/keys.h"
#include "wire/want.h"

struct mmq_reader
mmq_raw_reader(const struct mmq_raw *raw)
{
	struct mmq_reader reader;
	mmq_reader_init(&reader, raw->at, raw->size);
	return reader;
}

int
mmq_keys_read(const struct mmq_key *keys, void *into, const void *map, size_t size, struct mmq_err *err)
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
		const struct mmq_key *key = keys;
		while (key->name != NULL && !mmq_text_is(&name, key->name))
			key++;
		bool is_nil = value.at[0] == 0xc0;
		if (key->name != NULL && (!is_nil || key->takes_nil) && key->read(into, &value, err) == -1)
			return -1;
	}
	return 0;
}

int
mmq_keys_map(struct mmq_raw *out, const struct mmq_raw *value, const char *field, struct mmq_err *err)
{
	struct mmq_reader reader = mmq_raw_reader(value);
	uint32_t pairs;

	*out = *value;
	return mmq_want_map(&reader, field, &pairs, err);
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
	static const struct mmq_key keys[] = { { "interval_level", read_interval_level, false }, { NULL, NULL, false } };
	struct mmq_raw map;
	return mmq_keys_map(&map, value, "want_options", err) == -1 ? -1 : mmq_keys_read(keys, into, map.at, map.size, err);
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
	return mmq_keys_map(&((struct mmq_predict_options *)into)->format_options, value, "format_options", err);
}

int
mmq_predict_options_read(struct mmq_predict_options *options, const void *request, size_t size, struct mmq_err *err)
{
	static const struct mmq_key keys[] = {
		{ "want", read_want, false }, { "want_options", read_want_options, false }, { "on_row_error", read_on_row_error, false },
		{ "extra", read_extra, false }, { "reply_format", read_reply_format, false }, { "row_ids", read_row_ids, false },
		{ "format_options", read_format_options, false }, { NULL, NULL, false },
	};

	*options = (struct mmq_predict_options){ .want = MMQ_ASK_PREDICTION, .interval_level = 0.9 };
	return mmq_keys_read(keys, options, request, size, err);
}
