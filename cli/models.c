/* models.c: `modelmq models`: what there is to ask. */
#include <string.h>

#include "cli/cli.h"

/* "production -> 3, canary -> 4" of entry i into text. */
static void
aliases_text(const struct mmq_answer *answer, size_t i, char *text, size_t size)
{
	char path[64], key[160];
	struct mmq_buf json;
	size_t raw_size;

	snprintf(path, sizeof(path), "models.%zu.aliases", i);
	const uint8_t *raw = mmq_answer_raw(answer, path, &raw_size);
	text[0] = '\0';
	if (raw == NULL || mmq_answer_count(answer, path) == 0)
		return;
	mmq_buf_init(&json, 1 << 16);
	cli_json(&json, raw, raw_size, false);
	/* {"production":3,"canary":4}: names and numbers have no characters that JSON escapes. */
	for (const char *at = mmq_buf_text(&json) + 1; *at == '"' || *at == ',';) {
		at += *at == ',';
		size_t length = strcspn(at + 1, "\""), number = strcspn(at + length + 3, ",}");
		snprintf(key, sizeof(key), "%s%.*s=%.*s", text[0] != '\0' ? " " : "", (int)length, at + 1, (int)number, at + length + 3);
		strncat(text, key, size - strlen(text) - 1);
		at += length + 3 + number;
	}
	mmq_buf_fini(&json);
}

int
cli_models(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	const struct cli_option options[] = { { NULL, NULL, CLI_FLAG, NULL, NULL } };
	const char *const titles[] = { "MODEL", "LATEST", "VERSIONS", "ALIASES", "TASK", "ENGINE", "UPDATED" };
	struct cli_table table;
	char path[64], aliases[512], when[32];
	const char *next = NULL;
	int result = CLI_USAGE;
	struct mmq_answer *answer = NULL;

	if (!cli_parse(cli, command, options, argc, argv, NULL, 0, 0, &result))
		return result;
	cli_table_init(&table, titles, 7);
	do {
		struct mmq_message *message = mmq_message_new("model.list");
		if (next != NULL)
			mmq_message_text(message, "after", next);
		mmq_answer_destroy(&answer);
		answer = cli_ask(cli, &message, &result);
		if (answer == NULL)
			return result;
		if (cli->json) {
			cli_print_json(answer, "models");
		} else {
			for (size_t i = 0; i < mmq_answer_count(answer, "models"); i++) {
#define AT(key) (snprintf(path, sizeof(path), "models.%zu." key, i), path)
				const char *name = mmq_answer_text(answer, AT("model")), *task = mmq_answer_text(answer, AT("task"));
				const char *engine = mmq_answer_text(answer, AT("engine"));
				/* `versions` is a count, or the list itself. */
				int64_t versions = mmq_answer_int(answer, AT("versions"), (int64_t)mmq_answer_count(answer, AT("versions")));
				aliases_text(answer, i, aliases, sizeof(aliases));
				cli_table_add(&table, "%s", name != NULL ? name : "");
				cli_table_add(&table, "%lld", (long long)mmq_answer_int(answer, AT("latest"), 0));
				cli_table_add(&table, "%lld", (long long)versions);
				cli_table_add(&table, "%s", aliases);
				cli_table_add(&table, "%s", task != NULL ? task : "");
				cli_table_add(&table, "%s", engine != NULL ? engine : "");
				cli_table_add(&table, "%s", cli_time(mmq_answer_int(answer, AT("updated_ms"), 0), when));
#undef AT
			}
		}
		next = mmq_answer_text(answer, "next");
	} while (next != NULL);
	mmq_answer_destroy(&answer);
	if (!cli->json)
		cli_table_print(&table, cli);
	return CLI_OK;
}
