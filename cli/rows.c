/* rows.c: see rows.h. One cursor per output walks its array, so that a batch is read once whatever its size. */
#include "cli/rows.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "mpack/reader.h"

enum { OUTPUTS_MAX = 8 };
#define ERRORS "contribution_error"

struct output {
	char name[32];
	struct mmq_reader reader;   /* before the next row's value */
	bool is_there;
};

void
rows_init(struct rows_out *out, bool is_csv, const char *want)
{
	*out = (struct rows_out){ .is_csv = is_csv, .want = want };
}

/* Place a cursor before the first row's value, if the answer has this output. */
static void
output_open(struct output *output, const struct mmq_answer *answer, const char *name, int length)
{
	struct mmq_token token;
	char path[64];
	size_t size;

	snprintf(output->name, sizeof(output->name), "%.*s", length, name);
	snprintf(path, sizeof(path), "outputs.%.31s", output->name);
	const uint8_t *raw = mmq_answer_raw(answer, path, &size);
	output->is_there = raw != NULL;
	if (raw == NULL)
		return;
	mmq_reader_init(&output->reader, raw, size);
	output->is_there = mmq_read(&output->reader, &token) && token.type == MMQ_T_ARRAY;
}

/* Each wanted output; contributions that were sampled bring their errors along. How many there are. */
static size_t
outputs_open(const struct rows_out *out, const struct mmq_answer *answer, struct output outputs[OUTPUTS_MAX])
{
	size_t count = 0;

	for (const char *at = out->want; *at != '\0' && count < OUTPUTS_MAX;) {
		int length = (int)strcspn(at, ",");
		output_open(&outputs[count++], answer, at, length);
		at += length + (at[length] == ',');
		if (strcmp(outputs[count - 1].name, "contribution") == 0 && count < OUTPUTS_MAX)
			output_open(&outputs[count++], answer, ERRORS, sizeof(ERRORS) - 1);
	}
	return count;
}

/* The text of class i as a JSON object's key: strings quoted, numbers in quotes. */
static void
put_class(struct mmq_buf *line, const struct mmq_answer *answer, size_t i, bool is_csv)
{
	char path[32];
	struct mmq_buf json;
	size_t size;

	snprintf(path, sizeof(path), "classes.%zu", i);
	const uint8_t *raw = mmq_answer_raw(answer, path, &size);
	mmq_buf_init(&json, 1 << 20);
	if (raw != NULL)
		cli_json(&json, raw, size, false);
	const char *text = mmq_buf_text(&json);
	if (is_csv && *text == '"')   /* without its quotes; commas in labels are rare enough to keep the header simple */
		mmq_buf_append(line, text + 1, strlen(text) - 2);
	else
		mmq_buf_printf(line, *text == '"' || is_csv ? "%s" : "\"%s\"", text);
	mmq_buf_fini(&json);
}

/* {"setosa":0.98,...}: probabilities are easier to read with their classes. */
static void
put_probability(struct mmq_buf *line, const struct mmq_answer *answer, const uint8_t *raw, size_t size)
{
	struct mmq_reader reader;
	struct mmq_token token;

	mmq_reader_init(&reader, raw, size);
	if (!mmq_read(&reader, &token) || token.type != MMQ_T_ARRAY || token.size != mmq_answer_count(answer, "classes")) {
		cli_json(line, raw, size, false);
		return;
	}
	mmq_buf_append(line, "{", 1);
	for (uint32_t i = 0; i < token.size; i++) {
		const uint8_t *value;
		size_t value_size;
		if (!mmq_read_raw(&reader, &value, &value_size))
			break;
		mmq_buf_printf(line, i == 0 ? "" : ",");
		put_class(line, answer, i, false);
		mmq_buf_append(line, ":", 1);
		cli_json(line, value, value_size, false);
	}
	mmq_buf_append(line, "}", 1);
}

/* A plain value as a CSV field: quoted when it has to be. */
static void
put_field(struct mmq_buf *line, const uint8_t *raw, size_t size)
{
	struct mmq_reader reader;
	struct mmq_token token;

	mmq_reader_init(&reader, raw, size);
	if (!mmq_read(&reader, &token) || token.type == MMQ_T_NIL)
		return;
	if (token.type != MMQ_T_STR) {
		cli_json(line, raw, size, false);
		return;
	}
	bool quote = token.size == 0 || memchr(token.bytes, ',', token.size) != NULL || memchr(token.bytes, '"', token.size) != NULL ||
	    memchr(token.bytes, '\n', token.size) != NULL || memchr(token.bytes, '\r', token.size) != NULL;
	mmq_buf_printf(line, quote ? "\"" : "");
	for (uint32_t i = 0; i < token.size; i++)
		mmq_buf_append(line, token.bytes[i] == '"' ? "\"\"" : &token.bytes[i], token.bytes[i] == '"' ? 2 : 1);
	mmq_buf_printf(line, quote ? "\"" : "");
}

/* One output of one row: one field, or one per element of a list; with title: the fields' names. */
static void
put_fields(struct mmq_buf *line, const struct mmq_answer *answer, const struct output *output, const uint8_t *raw, size_t size, bool title)
{
	struct mmq_reader reader;
	struct mmq_token token;
	bool is_probability = strcmp(output->name, "probability") == 0;

	mmq_reader_init(&reader, raw, size);
	if (!mmq_read(&reader, &token) || token.type != MMQ_T_ARRAY) {
		if (title)
			mmq_buf_printf(line, "%s", output->name);
		else
			put_field(line, raw, size);
		return;
	}
	for (uint32_t i = 0; i < token.size; i++) {
		const uint8_t *value;
		size_t value_size;
		if (!mmq_read_raw(&reader, &value, &value_size))
			return;
		mmq_buf_printf(line, i == 0 ? "" : ",");
		if (title && is_probability && token.size == mmq_answer_count(answer, "classes")) {
			mmq_buf_printf(line, "probability_");
			put_class(line, answer, i, true);
		} else if (title) {
			mmq_buf_printf(line, "%s_%u", output->name, i);
		} else {
			put_field(line, value, value_size);
		}
	}
}

/* The code and sentence of this row's error, if it has one; row_errors are ascending, *at walks them. */
static bool
row_error(const struct mmq_answer *answer, size_t row, size_t *at, const char **code_out, const char **message_out)
{
	char path[64];

	snprintf(path, sizeof(path), "row_errors.%zu.row", *at);
	if (mmq_answer_int(answer, path, -1) != (int64_t)row)
		return false;
	snprintf(path, sizeof(path), "row_errors.%zu.code", *at);
	*code_out = mmq_answer_text(answer, path);
	snprintf(path, sizeof(path), "row_errors.%zu.message", *at);
	*message_out = mmq_answer_text(answer, path);
	(*at)++;
	return true;
}

static void
put_csv_row(struct rows_out *out, struct mmq_buf *line, const struct mmq_answer *answer, struct output *outputs, size_t count)
{
	struct output before[OUTPUTS_MAX];

	memcpy(before, outputs, sizeof(before));
	for (int title = out->has_header ? 0 : 1; title >= 0; title--) {
		for (size_t i = 0; i < count; i++) {
			const uint8_t *raw;
			size_t size;
			if (title)
				outputs[i].reader = before[i].reader;
			if (!outputs[i].is_there || !mmq_read_raw(&outputs[i].reader, &raw, &size))
				continue;
			mmq_buf_printf(line, i == 0 ? "" : ",");
			put_fields(line, answer, &outputs[i], raw, size, title == 1);
			if (title)
				outputs[i].reader = before[i].reader;
		}
		mmq_buf_append(line, "\n", 1);
	}
	out->has_header = true;
}

static void
put_json_row(struct mmq_buf *line, const struct mmq_answer *answer, struct output *outputs, size_t count, const char *code, const char *message)
{
	const char *gap = "";

	mmq_buf_append(line, "{", 1);
	for (size_t i = 0; i < count; i++) {
		const uint8_t *raw;
		size_t size;
		if (!outputs[i].is_there || !mmq_read_raw(&outputs[i].reader, &raw, &size))
			continue;
		mmq_buf_printf(line, "%s\"%s\":", gap, outputs[i].name);
		if (strcmp(outputs[i].name, "probability") == 0)
			put_probability(line, answer, raw, size);
		else
			cli_json(line, raw, size, false);
		gap = ",";
		if (strcmp(outputs[i].name, "contribution") == 0 && (raw = mmq_answer_raw(answer, "outputs.base", &size)) != NULL) {
			mmq_buf_printf(line, ",\"base\":");       /* what they add up from to the score */
			cli_json(line, raw, size, false);
		}
	}
	if (code != NULL) {
		mmq_buf_printf(line, "%s\"error\":{\"code\":\"%s\",\"message\":", gap, code);
		cli_json_text(line, message != NULL ? message : "");
		mmq_buf_append(line, "}", 1);
	}
	mmq_buf_append(line, "}\n", 2);
}

size_t
rows_print(struct rows_out *out, const struct mmq_answer *answer, size_t first_row)
{
	struct output outputs[OUTPUTS_MAX] = { 0 };
	size_t count = outputs_open(out, answer, outputs), rows = (size_t)mmq_answer_int(answer, "rows", 0), errors = 0;
	struct mmq_buf line;

	mmq_buf_init(&line, 1u << 28);
	for (size_t row = 0; row < rows; row++) {
		const char *code = NULL, *message = NULL;
		mmq_buf_reset(&line);
		bool is_bad = row_error(answer, row, &errors, &code, &message);
		if (out->is_csv)
			put_csv_row(out, &line, answer, outputs, count);
		else
			put_json_row(&line, answer, outputs, count, is_bad ? code : NULL, message);
		if (is_bad && out->is_csv)
			fprintf(stderr, "row %zu: %s: %s\n", first_row + row + 1, code != NULL ? code : "", message != NULL ? message : "");
		fwrite(line.bytes, 1, line.size, stdout);
	}
	mmq_buf_fini(&line);
	return errors;
}
