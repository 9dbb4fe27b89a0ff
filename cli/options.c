/* options.c: one parser for all subcommands, driven by tables that are also their help. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

enum { COMMON = 10 };

static void
common_options(struct cli *cli, struct cli_option options_out[COMMON])
{
	const struct cli_option options[COMMON] = {
		{ "home", "DIR", CLI_TEXT, &cli->home, "home folder of the service; default: $MODELMQ_HOME, else ./modelmq-home" },
		{ "connect", "ENDPOINT", CLI_TEXT, &cli->connect, "request endpoint of a service elsewhere, instead of --home" },
		{ "publish", "ENDPOINT", CLI_TEXT, &cli->publish, "its publish endpoint" },
		{ "sink", "ENDPOINT", CLI_TEXT, &cli->sink, "its sink endpoint" },
		{ "server-key", "KEY|FILE", CLI_TEXT, &cli->server_key, "CURVE: public key of the service; default: $MODELMQ_SERVER_KEY" },
		{ "key", "FILE", CLI_TEXT, &cli->key_file, "CURVE: secret key file of this client; default: $MODELMQ_KEY" },
		{ "timeout", "MS", CLI_NUMBER, &cli->timeout_ms, "give up waiting for an answer after so many milliseconds; default 60000" },
		{ "json", NULL, CLI_FLAG, &cli->json, "print JSON for programs" },
		{ "help", NULL, CLI_FLAG, NULL, "this text" },
		{ NULL, NULL, CLI_FLAG, NULL, NULL },
	};
	memcpy(options_out, options, sizeof(options));
}

static void
print_options(const struct cli_option *options)
{
	for (; options->name != NULL; options++) {
		char left[64];
		snprintf(left, sizeof(left), "--%s%s%s", options->name, options->argument != NULL ? " " : "",
		    options->argument != NULL ? options->argument : "");
		printf("  %-24s %s\n", left, options->help);
	}
}

static void
print_help(struct cli *cli, const struct cli_command *command, const struct cli_option *options)
{
	struct cli_option common[COMMON];

	printf("usage: modelmq %s %s%s[OPTIONS]\n\n%s\n", command->name, command->arguments, *command->arguments != '\0' ? " " : "",
	    command->summary);
	if (options[0].name != NULL)
		printf("\noptions:\n");
	print_options(options);
	printf("\ncommon options:\n");
	common_options(cli, common);
	print_options(common);
	printf("\nexamples:\n");
	for (const char *at = command->examples; *at != '\0';) {
		int length = (int)strcspn(at, "\n");
		printf("  %.*s\n", length, at);
		at += length + (at[length] == '\n');
	}
	printf("\nexit codes: 0 done; 1 the service answered with an error; 2 wrong usage; 3 the service is not reachable\n");
}

int
cli_usage(const struct cli_command *command, const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "modelmq %s: ", command->name);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, " (see `modelmq %s --help`)\n", command->name);
	return CLI_USAGE;
}

void
cli_list_fini(struct cli_list *list)
{
	free(list->items);
	*list = (struct cli_list){ 0 };
}

static const struct cli_option *
find(const struct cli_option *options, const char *name, size_t length)
{
	for (; options->name != NULL; options++)
		if (strlen(options->name) == length && memcmp(options->name, name, length) == 0)
			return options;
	return NULL;
}

/* Store one value; false when it is not a number though it should be. */
static bool
store(const struct cli_option *option, const char *value)
{
	switch (option->kind) {
	case CLI_FLAG:
		*(bool *)option->to = true;
		return true;
	case CLI_TEXT:
		*(const char **)option->to = value;
		return true;
	case CLI_LIST: {
		struct cli_list *list = option->to;
		list->items = mmq_grow(list->items, list->count + 1, sizeof(const char *));
		list->items[list->count++] = value;
		return true;
	}
	case CLI_NUMBER: {
		char *end;
		errno = 0;
		long number = strtol(value, &end, 10);
		if (errno != 0 || end == value || *end != '\0')
			return false;
		*(long *)option->to = number;
		return true;
	}
	}
	return false;
}

bool
cli_parse(struct cli *cli, const struct cli_command *command, const struct cli_option *options, int argc, char **argv,
    const char **positional_out, size_t least, size_t most, int *exit_out)
{
	struct cli_option common[COMMON];
	size_t count = 0;
	bool options_ended = false;

	common_options(cli, common);
	for (size_t i = 0; i < most; i++)
		positional_out[i] = NULL;
	*exit_out = CLI_USAGE;
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i];
		if (!options_ended && strcmp(word, "--") == 0) {
			options_ended = true;
			continue;
		}
		if (options_ended || word[0] != '-' || word[1] == '\0') {
			if (count == most) {
				cli_usage(command, "unexpected argument '%s'", word);
				return false;
			}
			positional_out[count++] = word;
			continue;
		}
		if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
			print_help(cli, command, options);
			*exit_out = CLI_OK;
			return false;
		}
		const char *name = word + (word[1] == '-' ? 2 : 1), *equals = strchr(name, '=');
		size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
		/* The command's own options come first: `up` has its own --sink. */
		const struct cli_option *option = word[1] == '-' ? find(options, name, length) : NULL;
		if (option == NULL && word[1] == '-')
			option = find(common, name, length);
		if (option == NULL) {
			cli_usage(command, "no option '%s'", word);
			return false;
		}
		const char *value = equals != NULL ? equals + 1 : NULL;
		if (option->kind == CLI_FLAG ? value != NULL : value == NULL && ++i == argc) {
			cli_usage(command, "option --%s %s", option->name, option->kind == CLI_FLAG ? "takes no value" : "needs a value");
			return false;
		}
		if (!store(option, value != NULL ? value : option->kind == CLI_FLAG ? NULL : argv[i])) {
			cli_usage(command, "option --%s wants a whole number, got '%s'", option->name, value != NULL ? value : argv[i]);
			return false;
		}
	}
	if (count < least) {
		cli_usage(command, "missing argument: %s", command->arguments);
		return false;
	}
	return true;
}
