/* watch.c: `modelmq watch [TOPIC]`: what the sink publishes, one JSON object a line, until Ctrl-C or --count. */
#include "cli/cli.h"

#include <string.h>

static void
print_message(const struct mmq_answer *answer)
{
	struct mmq_buf line;
	size_t size;
	const uint8_t *raw = mmq_answer_raw(answer, "", &size);

	mmq_buf_init(&line, 1u << 28);
	mmq_buf_printf(&line, "{\"topic\":\"%s\",\"message\":", mmq_answer_topic(answer));
	if (raw != NULL)
		cli_json(&line, raw, size, false);
	else
		mmq_buf_printf(&line, "null");
	printf("%s}\n", mmq_buf_text(&line));
	fflush(stdout);
	mmq_buf_fini(&line);
}

int
cli_watch(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	long count = 0;
	const struct cli_option options[] = {
		{ "count", "N", CLI_NUMBER, &count, "leave after N messages; default: never" },
		{ NULL, NULL, CLI_FLAG, NULL, NULL },
	};
	const char *topic;
	int result = CLI_USAGE;

	if (!cli_parse(cli, command, options, argc, argv, &topic, 0, 1, &result))
		return result;
	struct mmq_client *client = cli_client(cli);
	if (mmq_client_subscribe(client, topic != NULL ? topic : "") == -1)
		return cli_say(CLI_UNREACHABLE, "%s", mmq_client_why(client) != NULL ? mmq_client_why(client) : "the sink endpoint is not known; give --sink");
	for (long seen = 0; count == 0 || seen < count; seen++) {
		struct mmq_answer *answer = mmq_client_next(client, -1);
		if (answer == NULL)
			return CLI_OK;   /* interrupted */
		print_message(answer);
		mmq_answer_destroy(&answer);
	}
	return CLI_OK;
}
