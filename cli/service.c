/* service.c: the connection of a subcommand, and how errors are said. */
#include "cli/cli.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *
cli_home(const struct cli *cli)
{
	const char *home = cli->home != NULL ? cli->home : getenv("MODELMQ_HOME");

	return home != NULL && *home != '\0' ? home : "modelmq-home";
}

static const char *
from_environment(const char *given, const char *name)
{
	const char *value = given != NULL ? given : getenv(name);

	return value != NULL && *value != '\0' ? value : NULL;
}

struct mmq_client *
cli_client(struct cli *cli)
{
	if (cli->client != NULL)
		return cli->client;
	struct mmq_client_options options = {
		.home = cli->connect != NULL ? cli->home : cli_home(cli),
		.request = cli->connect,
		.publish = cli->publish,
		.sink = cli->sink,
		.server_key = from_environment(cli->server_key, "MODELMQ_SERVER_KEY"),
		.retry_ms = 10000,
		.key_file = from_environment(cli->key_file, "MODELMQ_KEY"),
	};
	return cli->client = mmq_client_open_with(&options);
}

int
cli_say(int exit_code, const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("modelmq: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	return exit_code;
}

int
cli_fail(const struct mmq_answer *answer)
{
	bool is_misuse = strcmp(mmq_answer_code(answer), "INVALID_ARGUMENT") == 0;

	if (mmq_answer_is_local(answer))
		return cli_say(is_misuse ? CLI_USAGE : CLI_UNREACHABLE, "%s", mmq_answer_why(answer));
	return cli_say(CLI_ERROR, "%s", mmq_answer_why(answer));
}

struct mmq_answer *
cli_ask(struct cli *cli, struct mmq_message **message, int *exit_out)
{
	long timeout_ms = cli->timeout_ms > INT_MAX ? INT_MAX : cli->timeout_ms;
	struct mmq_answer *answer = mmq_client_ask(cli_client(cli), message, (int)timeout_ms);

	if (mmq_answer_is_ok(answer))
		return answer;
	*exit_out = cli_fail(answer);
	mmq_answer_destroy(&answer);
	return NULL;
}

void
cli_put_version(struct mmq_message *message, const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (*end == '\0' && end != text)
		mmq_message_int(message, "version", number);
	else
		mmq_message_text(message, "version", text);
}
