/* predict.c: `modelmq predict MODEL FILE|-`: rows in as CSV or JSON lines, answers out in the same order.
 *
 * The text of the rows goes to the service as it is, in batches as payload frames; the model knows what each column is, so
 * nothing is guessed here. A few batches are in flight; printing waits for the oldest. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/records.h"
#include "cli/rows.h"

enum { IN_FLIGHT = 8, BATCH_BYTES_MAX = 1 << 20 };

struct slot {
	char id[65];
	size_t first_row, rows;
	struct mmq_answer *answer;   /* NULL: not yet */
};

struct predict {
	struct cli *cli;
	const char *model, *version, *format, *output, *want;
	bool report, is_csv_in;
	long batch_rows;
	struct records *records;
	struct mmq_buf header, batch;
	struct slot slots[IN_FLIGHT];
	size_t first, count;         /* of slots, a ring */
	size_t rows_sent, row_errors;
	struct rows_out out;
};

/* Fill the batch with records up to the limits. Number of rows; 0 at the end. */
static size_t
fill_batch(struct predict *predict)
{
	size_t rows = 0;

	mmq_buf_reset(&predict->batch);
	mmq_buf_append(&predict->batch, predict->header.bytes, predict->header.size);
	while (rows < (size_t)predict->batch_rows && predict->batch.size < BATCH_BYTES_MAX &&
	    records_next(predict->records, predict->is_csv_in, &predict->batch))
		rows++;
	return rows;
}

static void
send_batch(struct predict *predict, size_t rows)
{
	struct slot *slot = &predict->slots[(predict->first + predict->count++) % IN_FLIGHT];
	struct mmq_message *message = mmq_message_new("predict");
	const char *at = predict->want;

	mmq_message_text(message, "model", predict->model);
	if (predict->version != NULL)
		cli_put_version(message, predict->version);
	mmq_message_int(message, "deadline_ms", predict->cli->timeout_ms);
	mmq_message_text(message, "extra", "ignore");   /* files often carry more than the model was trained on */
	mmq_message_text(message, "reply_format", "lists");
	if (predict->report)
		mmq_message_text(message, "on_row_error", "report");
	mmq_message_list(message, "want");
	while (*at != '\0') {
		char word[32];
		size_t length = strcspn(at, ",");
		snprintf(word, sizeof(word), "%.*s", (int)length, at);
		mmq_message_text(message, NULL, word);
		at += length + (at[length] == ',');
	}
	mmq_message_close(message);
	mmq_message_payload(message, predict->is_csv_in ? "csv" : "jsonl", predict->batch.bytes, predict->batch.size);
	*slot = (struct slot){ .first_row = predict->rows_sent, .rows = rows };
	snprintf(slot->id, sizeof(slot->id), "%s", mmq_message_id(message));
	predict->rows_sent += rows;
	mmq_client_send(cli_client(predict->cli), &message);
}

/* Wait for the oldest batch and print it. 0, or the exit code. */
static int
print_oldest(struct predict *predict)
{
	struct slot *oldest = &predict->slots[predict->first];

	while (oldest->answer == NULL) {
		struct mmq_answer *answer = mmq_client_receive(cli_client(predict->cli), (int)predict->cli->timeout_ms);
		if (answer == NULL)
			return cli_say(CLI_UNREACHABLE, "no answer within %ld ms", predict->cli->timeout_ms);
		for (size_t i = 0; i < predict->count; i++) {
			struct slot *slot = &predict->slots[(predict->first + i) % IN_FLIGHT];
			if (strcmp(slot->id, mmq_answer_id(answer)) == 0) {
				slot->answer = answer;
				answer = NULL;
				break;
			}
		}
		mmq_answer_destroy(&answer);
	}
	int result = 0;
	if (!mmq_answer_is_ok(oldest->answer)) {
		if (!mmq_answer_is_local(oldest->answer))
			fprintf(stderr, "modelmq: in the batch of rows %zu to %zu:\n", oldest->first_row + 1, oldest->first_row + oldest->rows);
		result = cli_fail(oldest->answer);
	} else {
		predict->row_errors += rows_print(&predict->out, oldest->answer, oldest->first_row);
	}
	mmq_answer_destroy(&oldest->answer);
	predict->first = (predict->first + 1) % IN_FLIGHT;
	predict->count--;
	return result;
}

static int
stream(struct predict *predict)
{
	int result = 0;
	size_t rows;

	while (result == 0 && (rows = fill_batch(predict)) > 0) {
		if (predict->count == IN_FLIGHT)
			result = print_oldest(predict);
		if (result == 0)
			send_batch(predict, rows);
	}
	while (result == 0 && predict->count > 0)
		result = print_oldest(predict);
	if (result == 0 && records_failed(predict->records))
		result = cli_say(CLI_ERROR, "the input cannot be read to its end");
	if (result == 0 && predict->row_errors > 0)
		result = cli_say(CLI_ERROR, "%zu of %zu rows have no answer", predict->row_errors, predict->rows_sent);
	for (size_t i = 0; i < predict->count; i++)
		mmq_answer_destroy(&predict->slots[(predict->first + i) % IN_FLIGHT].answer);
	return result;
}

/* CSV or JSON lines, from --format, the name, or the first character. */
static bool
guess_csv(const struct predict *predict, const char *file)
{
	size_t length = strlen(file);

	if (predict->format != NULL)
		return strcmp(predict->format, "csv") == 0;
	if (length > 3 && strcmp(file + length - 3, ".gz") == 0)
		length -= 3;
	if (length > 4 && strncmp(file + length - 4, ".csv", 4) == 0)
		return true;
	int first = records_peek(predict->records);
	return first != '{' && first != '[';
}

static int
run(struct predict *predict, const char *file)
{
	predict->records = records_open(file);
	if (predict->records == NULL)
		return cli_say(CLI_USAGE, "'%s': %s", file, strerror(errno));
	predict->is_csv_in = guess_csv(predict, file);
	mmq_buf_init(&predict->header, BATCH_BYTES_MAX);
	mmq_buf_init(&predict->batch, 64 << 20);
	rows_init(&predict->out, strcmp(predict->output, "csv") == 0, predict->want);
	int result = CLI_OK;
	if (predict->is_csv_in && !records_next(predict->records, true, &predict->header))
		result = cli_say(CLI_USAGE, "'%s' has no header line", file);
	if (result == CLI_OK)
		result = stream(predict);
	mmq_buf_fini(&predict->header);
	mmq_buf_fini(&predict->batch);
	records_close(predict->records);
	return result;
}

int
cli_predict(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	struct predict predict = { .cli = cli, .output = "jsonl", .want = "prediction", .batch_rows = 256 };
	const struct cli_option options[] = {
		{ "version", "N|ALIAS", CLI_TEXT, &predict.version, "default: production" },
		{ "want", "LIST", CLI_TEXT, &predict.want, "prediction,probability,score,interval,contribution,leaf" },
		{ "output", "csv|jsonl", CLI_TEXT, &predict.output, "default jsonl" },
		{ "format", "csv|jsonl", CLI_TEXT, &predict.format, "of the input; default: from its name or its first character" },
		{ "batch", "ROWS", CLI_NUMBER, &predict.batch_rows, "rows per request; default 256" },
		{ "keep-going", NULL, CLI_FLAG, &predict.report, "report bad rows and answer the others; exit code 1 in the end" },
		{ NULL, NULL, CLI_FLAG, NULL, NULL },
	};
	const char *words[2];
	int result = CLI_USAGE;

	if (!cli_parse(cli, command, options, argc, argv, words, 2, 2, &result))
		return result;
	if (strcmp(predict.output, "csv") != 0 && strcmp(predict.output, "jsonl") != 0)
		return cli_usage(command, "--output is csv or jsonl, got '%s'", predict.output);
	if (predict.format != NULL && strcmp(predict.format, "csv") != 0 && strcmp(predict.format, "jsonl") != 0)
		return cli_usage(command, "--format is csv or jsonl, got '%s'", predict.format);
	if (predict.batch_rows < 1 || predict.batch_rows > 100000)
		return cli_usage(command, "--batch is 1 to 100000");
	predict.model = words[0];
	return run(&predict, words[1]);
}
