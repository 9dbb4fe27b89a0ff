/* journal.c: `modelmq journal check|backup FILE|compact`: the journal's file, looked at from outside the broker. */
#include <limits.h>
#include <string.h>

#include "broker/journal_tool.h"
#include "cli/cli.h"

static int
check(const struct cli *cli, const char *path)
{
	struct mmq_journal_check found;
	struct mmq_err err;

	if (mmq_journal_check(path, &found, &err) == -1)
		return cli_say(CLI_ERROR, "%s: %s", mmq_code_name(err.code), err.message);
	if (cli->json)
		printf("{\"format\":%d,\"requests\":%llu,\"open\":%llu,\"dead\":%llu,\"bytes\":%llu,\"free_bytes\":%llu,\"damaged\":%llu}\n", found.format,
		    (unsigned long long)found.requests, (unsigned long long)found.open, (unsigned long long)found.dead, (unsigned long long)found.bytes,
		    (unsigned long long)found.free_bytes, (unsigned long long)found.damaged);
	else
		printf("format %d, %llu requests, %llu without an outcome, %llu dead letters, %.1f MiB, of which %.1f MiB hold nothing; damaged: %llu%s%s\n",
		    found.format, (unsigned long long)found.requests, (unsigned long long)found.open, (unsigned long long)found.dead,
		    (double)found.bytes / 1048576, (double)found.free_bytes / 1048576, (unsigned long long)found.damaged, found.damaged > 0 ? "; first: " : "",
		    found.first);
	return found.damaged == 0 ? CLI_OK : CLI_ERROR;
}

int
cli_journal(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	const struct cli_option options[] = { { NULL, NULL, CLI_FLAG, NULL, NULL } };
	const char *words[2] = { NULL, NULL };
	uint64_t before, after;
	char path[PATH_MAX];
	struct mmq_err err;
	int result = CLI_USAGE;

	if (!cli_parse(cli, command, options, argc, argv, words, 1, 2, &result))
		return result;
	bool is_backup = strcmp(words[0], "backup") == 0, is_compact = strcmp(words[0], "compact") == 0;
	if ((!is_backup && !is_compact && strcmp(words[0], "check") != 0) || is_backup != (words[1] != NULL))
		return cli_usage(command, "want check, backup FILE or compact, got '%s'", words[0]);
	snprintf(path, sizeof(path), "%s/journal.db", cli_home(cli));
	if (!is_backup && !is_compact)
		return check(cli, path);
	if (is_backup ? mmq_journal_backup(path, words[1], &err) == -1 : mmq_journal_compact(path, &before, &after, &err) == -1)
		return cli_say(CLI_ERROR, "%s: %s", mmq_code_name(err.code), err.message);
	if (is_backup)
		printf("%s holds the journal as of now\n", words[1]);
	else
		printf("%.1f MiB became %.1f MiB\n", (double)before / 1048576, (double)after / 1048576);
	return CLI_OK;
}
