/* jobs.c: `modelmq jobs` and `modelmq job show|cancel|follow`. */
#include <string.h>

#include "cli/cli.h"

static void
add_job(struct cli_table *table, const struct mmq_answer *answer, size_t i)
{
	char path[64], when[32];
#define AT(key) (snprintf(path, sizeof(path), "jobs.%zu." key, i), path)
	const char *job = mmq_answer_text(answer, AT("job")), *model = mmq_answer_text(answer, AT("model"));
	const char *state = mmq_answer_text(answer, AT("state")), *why = mmq_answer_text(answer, AT("error.code"));
	int64_t started = mmq_answer_int(answer, AT("started_ms"), 0), ended = mmq_answer_int(answer, AT("ended_ms"), 0);
	int64_t version = mmq_answer_int(answer, AT("version"), 0);
	double fraction = mmq_answer_number(answer, AT("progress.fraction"), -1);

	cli_table_add(table, "%s", job != NULL ? job : "");
	cli_table_add(table, "%s", model != NULL ? model : "");
	if (state != NULL && strcmp(state, "running") == 0 && fraction >= 0)
		cli_table_add(table, "running %.0f %%", fraction * 100);
	else
		cli_table_add(table, "%s%s%s", state != NULL ? state : "", why != NULL ? " " : "", why != NULL ? why : "");
	cli_table_add(table, "%lld", (long long)mmq_answer_int(answer, AT("attempt"), 0));
	cli_table_add(table, "%s", cli_time(mmq_answer_int(answer, AT("created_ms"), 0), when));
	if (started > 0 && ended >= started)
		cli_table_add(table, "%.1f", (double)(ended - started) / 1000);
	else
		cli_table_add(table, "-");
	if (version > 0)
		cli_table_add(table, "%lld", (long long)version);
	else
		cli_table_add(table, "-");
	const char *message = mmq_answer_text(answer, AT("error.message"));
	cli_table_add(table, "%s", message != NULL ? message : "");
#undef AT
}

int
cli_jobs(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	const char *state = NULL, *model = NULL;
	long limit = 100;
	const struct cli_option options[] = {
		{ "state", "STATE", CLI_TEXT, &state, "only queued, running, done, failed or cancelled ones" },
		{ "model", "MODEL", CLI_TEXT, &model, "only those of this model" },
		{ "limit", "N", CLI_NUMBER, &limit, "at most so many, 1 to 1000; default 100" },
		{ NULL, NULL, CLI_FLAG, NULL, NULL },
	};
	const char *const titles[] = { "JOB", "MODEL", "STATE", "ATTEMPT", "CREATED", "SECONDS", "VERSION", "WHY" };
	struct cli_table table;
	int result = CLI_USAGE;

	if (!cli_parse(cli, command, options, argc, argv, NULL, 0, 0, &result))
		return result;
	struct mmq_message *message = mmq_message_new("job.list");
	mmq_message_int(message, "limit", limit);
	if (state != NULL)
		mmq_message_text(message, "state", state);
	if (model != NULL)
		mmq_message_text(message, "model", model);
	struct mmq_answer *answer = cli_ask(cli, &message, &result);
	if (answer == NULL)
		return result;
	if (cli->json) {
		cli_print_json(answer, "jobs");
	} else {
		cli_table_init(&table, titles, 8);
		for (size_t i = 0; i < mmq_answer_count(answer, "jobs"); i++)
			add_job(&table, answer, i);
		cli_table_print(&table, cli);
	}
	mmq_answer_destroy(&answer);
	return CLI_OK;
}

static void
print_time(const struct mmq_answer *answer, const char *title, const char *path)
{
	char when[32];

	if (mmq_answer_has(answer, path))
		printf("  %-11s%s\n", title, cli_time(mmq_answer_int(answer, path, 0), when));
}

static void
print_job(const struct mmq_answer *answer)
{
	static const char *const shown[][2] = { { "  version", "version" }, { "  attempt", "attempt" }, { "  progress", "progress" }, { "  error", "error" },
		{ "  engine", "result.engine" }, { "  task", "result.task" }, { "  metrics", "result.metrics" }, { "  rows", "result.rows" },
		{ "  params", "result.params" }, { "  warnings", "result.warnings" }, { "  ms", "result.timings_ms" } };
	const char *job = mmq_answer_text(answer, "job"), *model = mmq_answer_text(answer, "model"), *state = mmq_answer_text(answer, "state");

	printf("%s: %s, %s\n", job != NULL ? job : "", model != NULL ? model : "", state != NULL ? state : "");
	print_time(answer, "created", "created_ms");
	print_time(answer, "started", "started_ms");
	print_time(answer, "ended", "ended_ms");
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		cli_print_plain(shown[i][0], 13, answer, shown[i][1]);
}

int
cli_job(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	const struct cli_option options[] = { { NULL, NULL, CLI_FLAG, NULL, NULL } };
	const char *words[2], *op;
	int result = CLI_USAGE;

	if (!cli_parse(cli, command, options, argc, argv, words, 2, 2, &result))
		return result;
	if (strcmp(words[0], "follow") == 0)
		return cli_follow(cli, words[1]);
	op = strcmp(words[0], "show") == 0 ? "job.get" : strcmp(words[0], "cancel") == 0 ? "job.cancel" : NULL;
	if (op == NULL)
		return cli_usage(command, "want show, cancel or follow, got '%s'", words[0]);
	struct mmq_message *message = mmq_message_new(op);
	mmq_message_text(message, "job", words[1]);
	struct mmq_answer *answer = cli_ask(cli, &message, &result);
	if (answer == NULL)
		return result;
	const char *state = mmq_answer_text(answer, "state");
	if (cli->json)
		cli_print_json(answer, "");
	else if (strcmp(op, "job.get") == 0)
		print_job(answer);
	else
		printf("%s is %s\n", words[1], state != NULL ? state : "cancelled");
	mmq_answer_destroy(&answer);
	return CLI_OK;
}
