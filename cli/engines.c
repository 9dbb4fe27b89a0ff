/* engines.c: `modelmq engines [NAME]`: the engines of the service, or every parameter of one. */
#include "cli/cli.h"

#include <string.h>

/* A value of any type as short text. */
static void
add_value(struct cli_table *table, const struct mmq_answer *answer, const char *path)
{
	struct mmq_buf words;
	size_t size;
	const uint8_t *raw = mmq_answer_raw(answer, path, &size);

	mmq_buf_init(&words, 1 << 16);
	if (raw != NULL)
		cli_plain(&words, raw, size);
	cli_table_add(table, "%s", mmq_buf_text(&words));
	mmq_buf_fini(&words);
}

static void
add_range(struct cli_table *table, const struct mmq_answer *answer, size_t i)
{
	char path[64];
	bool has_range;
#define AT(key) (snprintf(path, sizeof(path), "params.%zu." key, i), path)
	has_range = mmq_answer_has(answer, AT("min")) || mmq_answer_has(answer, AT("max"));
	double low = mmq_answer_number(answer, AT("min"), -1e300), high = mmq_answer_number(answer, AT("max"), 1e300);
	if (mmq_answer_has(answer, AT("choices")))
		add_value(table, answer, AT("choices"));
	else if (has_range && low <= -1e300)
		cli_table_add(table, "<= %g", high);
	else if (has_range && high >= 1e300)
		cli_table_add(table, ">= %g", low);
	else if (has_range)
		cli_table_add(table, "%g .. %g", low, high);
	else
		cli_table_add(table, "-");
#undef AT
}

static void
print_params(const struct cli *cli, const struct mmq_answer *answer)
{
	const char *const titles[] = { "PARAMETER", "TYPE", "RANGE", "DEFAULT", "MEANING" };
	struct cli_table table;
	char path[64];

	cli_table_init(&table, titles, 5);
	for (size_t i = 0; i < mmq_answer_count(answer, "params"); i++) {
#define AT(key) (snprintf(path, sizeof(path), "params.%zu." key, i), path)
		add_value(&table, answer, AT("name"));
		add_value(&table, answer, AT("type"));
		add_range(&table, answer, i);
		add_value(&table, answer, AT("default"));
		add_value(&table, answer, AT("doc"));
#undef AT
	}
	cli_table_print(&table, cli);
}

static void
print_engines(const struct cli *cli, const struct mmq_answer *answer)
{
	const char *const titles[] = { "ENGINE", "TASKS", "WHAT IT IS" };
	struct cli_table table;
	char path[64];

	cli_table_init(&table, titles, 3);
	for (size_t i = 0; i < mmq_answer_count(answer, "engines"); i++) {
		snprintf(path, sizeof(path), "engines.%zu.engine", i);
		add_value(&table, answer, path);
		snprintf(path, sizeof(path), "engines.%zu.tasks", i);
		add_value(&table, answer, path);
		snprintf(path, sizeof(path), "engines.%zu.summary", i);
		add_value(&table, answer, path);
	}
	cli_table_print(&table, cli);
}

int
cli_engines(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	const struct cli_option options[] = { { NULL, NULL, CLI_FLAG, NULL, NULL } };
	const char *name;
	int result = CLI_USAGE;

	if (!cli_parse(cli, command, options, argc, argv, &name, 0, 1, &result))
		return result;
	struct mmq_message *message = mmq_message_new(name != NULL ? "engine.get" : "engine.list");
	if (name != NULL)
		mmq_message_text(message, "engine", name);
	struct mmq_answer *answer = cli_ask(cli, &message, &result);
	if (answer == NULL)
		return result;
	if (cli->json) {
		cli_print_json(answer, name != NULL ? "" : "engines");
	} else if (name != NULL) {
		const char *summary = mmq_answer_text(answer, "summary");
		printf("%s: %s\n\n", name, summary != NULL ? summary : "");
		print_params(cli, answer);
	} else {
		print_engines(cli, answer);
	}
	mmq_answer_destroy(&answer);
	return CLI_OK;
}
