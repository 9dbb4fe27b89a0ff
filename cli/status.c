/* status.c: `modelmq status`: how the service is. Exit code 1 when it is degraded, so that a check can use it. */
#include "cli/cli.h"

#include <string.h>

static void
print_workers(const struct cli *cli, const struct mmq_answer *answer)
{
	const char *const titles[] = { "WORKER", "STATE", "HELD", "ROWS", "MODELS", "BUILD" };
	struct cli_table table;
	char path[64];

	cli_table_init(&table, titles, 6);
	for (size_t i = 0; i < mmq_answer_count(answer, "workers"); i++) {
#define AT(key) (snprintf(path, sizeof(path), "workers.%zu." key, i), path)
		const char *kind = mmq_answer_text(answer, AT("name")), *state = mmq_answer_text(answer, AT("state"));
		const char *build = mmq_answer_text(answer, AT("build"));
		cli_table_add(&table, "%s", kind != NULL ? kind : "");
		cli_table_add(&table, "%s", state != NULL ? state : "");
		cli_table_add(&table, "%lld", (long long)mmq_answer_int(answer, AT("held"), (int64_t)mmq_answer_count(answer, AT("held"))));
		cli_table_add(&table, "%lld", (long long)mmq_answer_int(answer, AT("rows"), 0));
		cli_table_add(&table, "%lld", (long long)mmq_answer_int(answer, AT("entries"), 0));
		cli_table_add(&table, "%s", build != NULL ? build : "");
#undef AT
	}
	cli_table_print(&table, cli);
}

static void
print_map(const struct mmq_answer *answer, const char *key)
{
	if (mmq_answer_count(answer, key) > 0)
		cli_print_plain(key, 10, answer, key);
}

int
cli_status(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	const struct cli_option options[] = { { NULL, NULL, CLI_FLAG, NULL, NULL } };
	int result = CLI_USAGE;

	if (!cli_parse(cli, command, options, argc, argv, NULL, 0, 0, &result))
		return result;
	struct mmq_message *message = mmq_message_new("status");
	struct mmq_answer *answer = cli_ask(cli, &message, &result);
	if (answer == NULL)
		return result;
	const char *health = mmq_answer_text(answer, "health"), *version = mmq_answer_text(answer, "version");
	bool is_well = health != NULL && strcmp(health, "ready") == 0;
	if (cli->json) {
		cli_print_json(answer, "");
	} else {
		printf("modelmq %s: %s%s%s, up %.0f s\n", version != NULL ? version : "", cli_colour(cli, is_well ? "\033[32m" : "\033[31m"),
		    health != NULL ? health : "unknown", cli_colour(cli, "\033[0m"), mmq_answer_number(answer, "uptime_ms", 0) / 1000);
		print_map(answer, "reasons");
		print_map(answer, "queue");
		print_map(answer, "journal");
		print_map(answer, "crashes");
		print_map(answer, "counters");
		print_workers(cli, answer);
	}
	mmq_answer_destroy(&answer);
	return is_well ? CLI_OK : CLI_ERROR;
}
