/* dead.c: `modelmq dead list|show|requeue|drop`: durable requests that ended their workers again and again. */
#include <string.h>

#include "cli/cli.h"

static void
list_print(struct cli *cli, const struct mmq_answer *answer)
{
	const char *const titles[] = { "JOB", "MODEL", "ATTEMPT", "CREATED", "WHY" };
	struct cli_table table;

	cli_table_init(&table, titles, 5);
	for (size_t i = 0; i < mmq_answer_count(answer, "jobs"); i++) {
		char path[64], when[32];
		const char *keys[] = { "job", "model", "error.message" }, *texts[3];

		for (int k = 0; k < 3; k++) {
			snprintf(path, sizeof(path), "jobs.%zu.%s", i, keys[k]);
			texts[k] = mmq_answer_text(answer, path);
		}
		cli_table_add(&table, "%s", texts[0] != NULL ? texts[0] : "");
		cli_table_add(&table, "%s", texts[1] != NULL ? texts[1] : "");
		snprintf(path, sizeof(path), "jobs.%zu.attempt", i);
		cli_table_add(&table, "%lld", (long long)mmq_answer_int(answer, path, 0));
		snprintf(path, sizeof(path), "jobs.%zu.created_ms", i);
		cli_table_add(&table, "%s", cli_time(mmq_answer_int(answer, path, 0), when));
		cli_table_add(&table, "%s", texts[2] != NULL ? texts[2] : "");
	}
	cli_table_print(&table, cli);
}

int
cli_dead(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	static const struct { const char *word, *op; } ops[] = { { "list", "dead.list" }, { "show", "job.get" }, { "requeue", "dead.requeue" },
		{ "drop", "dead.drop" } };
	const struct cli_option options[] = { { NULL, NULL, CLI_FLAG, NULL, NULL } };
	const char *words[2] = { NULL, NULL }, *op = NULL;
	int result = CLI_USAGE;

	if (!cli_parse(cli, command, options, argc, argv, words, 1, 2, &result))
		return result;
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (strcmp(words[0], ops[i].word) == 0)
			op = ops[i].op;
	if (op == NULL || (words[1] == NULL) != (strcmp(words[0], "list") == 0))
		return cli_usage(command, "want list, show JOB, requeue JOB or drop JOB, got '%s'", words[0]);
	struct mmq_message *message = mmq_message_new(op);
	if (words[1] != NULL)
		mmq_message_text(message, "job", words[1]);
	struct mmq_answer *answer = cli_ask(cli, &message, &result);
	if (answer == NULL)
		return result;
	if (words[1] == NULL && !cli->json)
		list_print(cli, answer);
	else if (words[1] == NULL)
		cli_print_json(answer, "jobs");
	else if (cli->json || strcmp(op, "job.get") == 0)
		cli_print_json(answer, "");
	else
		printf("%s is %s\n", words[1], mmq_answer_text(answer, "state"));
	mmq_answer_destroy(&answer);
	return CLI_OK;
}
