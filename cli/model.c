/* model.c: `modelmq model show|delete|alias`. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "mpack/reader.h"

struct arguments {
	const char *name, *alias, *target, *version;
	bool all, remove;
	long expect;
};

/* The aliases of a version, with commas. */
static void
add_aliases(struct cli_table *table, const struct mmq_answer *answer, int64_t version)
{
	struct mmq_reader reader;
	struct mmq_token name, pairs;
	char path[96], names[256] = "";
	size_t size, used = 0;
	const uint8_t *raw = mmq_answer_raw(answer, "aliases", &size);

	mmq_reader_init(&reader, raw, raw != NULL ? size : 0);
	if (raw != NULL && mmq_read(&reader, &pairs) && pairs.type == MMQ_T_MAP) {
		for (uint32_t i = 0; i < pairs.size && mmq_read(&reader, &name) && mmq_read_skip(&reader) && used < sizeof(names); i++) {
			snprintf(path, sizeof(path), "aliases.%.*s.version", (int)name.size, name.bytes);
			if (mmq_answer_int(answer, path, 0) == version)
				used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%.*s", used > 0 ? ", " : "", (int)name.size, name.bytes);
		}
	}
	cli_table_add(table, "%s", names);
}

static void
print_versions(const struct cli *cli, const struct mmq_answer *answer)
{
	const char *const titles[] = { "VERSION", "CREATED", "BYTES", "ENGINE", "TASK", "ALIASES" };
	struct cli_table table;
	char path[64], when[32];

	cli_table_init(&table, titles, 6);
	for (size_t i = 0; i < mmq_answer_count(answer, "versions"); i++) {
#define AT(key) (snprintf(path, sizeof(path), "versions.%zu." key, i), path)
		int64_t version = mmq_answer_int(answer, AT("version"), 0);
		const char *engine = mmq_answer_text(answer, AT("engine")), *task = mmq_answer_text(answer, AT("task"));
		cli_table_add(&table, "%lld", (long long)version);
		cli_table_add(&table, "%s", cli_time(mmq_answer_int(answer, AT("created_ms"), 0), when));
		cli_table_add(&table, "%lld", (long long)mmq_answer_int(answer, AT("bytes"), 0));
		cli_table_add(&table, "%s", engine != NULL ? engine : "");
		cli_table_add(&table, "%s", task != NULL ? task : "");
		add_aliases(&table, answer, version);
#undef AT
	}
	cli_table_print(&table, cli);
}

static void
print_inputs(const struct cli *cli, const struct mmq_answer *answer)
{
	const char *const titles[] = { "INPUT", "TYPE", "KIND", "REQUIRED" };
	struct cli_table table;
	char path[96];

	cli_table_init(&table, titles, 4);
	for (size_t i = 0; i < mmq_answer_count(answer, "inputs"); i++) {
		const char *const keys[] = { "name", "dtype", "kind" };
		for (size_t k = 0; k < 3; k++) {
			snprintf(path, sizeof(path), "inputs.%zu.%s", i, keys[k]);
			const char *text = mmq_answer_text(answer, path);
			cli_table_add(&table, "%s", text != NULL ? text : "");
		}
		snprintf(path, sizeof(path), "inputs.%zu.required", i);
		cli_table_add(&table, "%s", mmq_answer_flag(answer, path, true) ? "yes" : "no");
	}
	cli_table_print(&table, cli);
}

static int
show(struct cli *cli, const struct arguments *arguments)
{
	struct mmq_message *message = mmq_message_new("model.get");
	int result = CLI_OK;

	mmq_message_text(message, "model", arguments->name);
	if (arguments->version != NULL)
		cli_put_version(message, arguments->version);
	struct mmq_answer *answer = cli_ask(cli, &message, &result);
	if (answer == NULL)
		return result;
	if (cli->json) {
		cli_print_json(answer, "");
	} else {
		printf("%s version %lld (latest %lld)\n", arguments->name, (long long)mmq_answer_int(answer, "version", 0),
		    (long long)mmq_answer_int(answer, "latest", 0));
		const char *const shown[][2] = { { "  engine", "card.engine" }, { "  task", "card.task" }, { "  classes", "card.classes" },
			{ "  imported", "card.imported" }, { "  parent", "card.parent" },
			{ "  metrics", "card.metrics" }, { "  calibrate", "card.calibrate" },
			{ "  importance", "card.permutation_importance" }, { "  rows", "card.rows" }, { "  params", "card.params" }, { "  warnings", "card.warnings" } };
		for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
			cli_print_plain(shown[i][0], 15, answer, shown[i][1]);
		putchar('\n');
		print_inputs(cli, answer);
		putchar('\n');
		print_versions(cli, answer);
	}
	mmq_answer_destroy(&answer);
	return CLI_OK;
}

static int
change(struct cli *cli, struct mmq_message **message, const char *done)
{
	int result = CLI_OK;
	struct mmq_answer *answer = cli_ask(cli, message, &result);

	if (answer == NULL)
		return result;
	if (cli->json)
		cli_print_json(answer, "");
	else
		puts(done);
	mmq_answer_destroy(&answer);
	return CLI_OK;
}

static int
delete(struct cli *cli, const struct cli_command *command, const struct arguments *arguments)
{
	struct mmq_message *message;
	char done[256];

	if (arguments->all == (arguments->version != NULL))
		return cli_usage(command, "delete wants either --version N or --all");
	message = mmq_message_new("model.delete");
	mmq_message_text(message, "model", arguments->name);
	if (arguments->all)
		mmq_message_flag(message, "all", true);
	else
		cli_put_version(message, arguments->version);
	snprintf(done, sizeof(done), "%s: deleted %s%s", arguments->name, arguments->all ? "all versions" : "version ",
	    arguments->all ? "" : arguments->version);
	return change(cli, &message, done);
}

static int
alias(struct cli *cli, const struct cli_command *command, const struct arguments *arguments)
{
	struct mmq_message *message;
	char done[512];

	if (arguments->alias == NULL || arguments->remove == (arguments->target != NULL))
		return cli_usage(command, "alias wants MODEL ALIAS VERSION, or MODEL ALIAS --remove");
	message = mmq_message_new("model.alias");
	mmq_message_text(message, "model", arguments->name);
	mmq_message_text(message, "alias", arguments->alias);
	if (arguments->remove)
		mmq_message_flag(message, "remove", true);
	else
		cli_put_version(message, arguments->target);
	if (arguments->expect >= 0)
		mmq_message_int(message, "expect", arguments->expect);
	snprintf(done, sizeof(done), "%s: %s %s%s", arguments->name, arguments->alias, arguments->remove ? "removed" : "is now version ",
	    arguments->remove ? "" : arguments->target);
	return change(cli, &message, done);
}

int
cli_model(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	struct arguments arguments = { .expect = -1 };
	const struct cli_option options[] = {
		{ "version", "N|ALIAS", CLI_TEXT, &arguments.version, "show, delete: which version; show's default is production" },
		{ "all", NULL, CLI_FLAG, &arguments.all, "delete: every version and the name" },
		{ "remove", NULL, CLI_FLAG, &arguments.remove, "alias: take it away" },
		{ "expect", "GENERATION", CLI_NUMBER, &arguments.expect, "alias: fail when someone else changed an alias since" },
		{ NULL, NULL, CLI_FLAG, NULL, NULL },
	};
	const char *words[4];
	int result = CLI_USAGE;

	if (!cli_parse(cli, command, options, argc, argv, words, 2, 4, &result))
		return result;
	arguments.name = words[1];
	arguments.alias = words[2];
	arguments.target = words[3];
	if (strcmp(words[0], "alias") == 0)
		return alias(cli, command, &arguments);
	if (words[2] != NULL)
		return cli_usage(command, "unexpected argument '%s'", words[2]);
	if (strcmp(words[0], "show") == 0)
		return show(cli, &arguments);
	if (strcmp(words[0], "delete") == 0)
		return delete(cli, command, &arguments);
	return cli_usage(command, "want show, delete or alias, got '%s'", words[0]);
}
