/* convert.c: `modelmq import FILE` and `modelmq export MODEL FILE`: models of other libraries into the store and out of it.
 *
 * A small file goes with the request, whatever machine the service is on; a larger one has to be where the service may read. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "util/file.h"

enum { SENT_BYTES_MAX = 4 << 20 };   /* what fits in one frame by default */

struct import_arguments {
	const char *model, *format, *alias, *description;
	bool on_server;
};

/* The file itself as payload, or its path. 0, or the exit code. */
static int
put_file(struct mmq_message *message, const struct import_arguments *arguments, const char *file)
{
	char path[PATH_MAX];
	struct mmq_err err;
	uint8_t *bytes;
	size_t size;

	if (arguments->on_server) {
		mmq_message_text(message, "file", file);
		return CLI_OK;
	}
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd == -1 || realpath(file, path) == NULL) {
		if (fd != -1)
			close(fd);
		return cli_say(CLI_USAGE, "'%s': %s", file, strerror(errno));
	}
	int result = mmq_file_read(fd, file, SENT_BYTES_MAX, &bytes, &size, &err);
	close(fd);
	if (result == 0) {
		mmq_message_payload(message, "file", bytes, size);
		free(bytes);
	} else if (err.code == MMQ_RESOURCE_EXHAUSTED) {
		mmq_message_text(message, "file", path);
	} else {
		return cli_say(CLI_USAGE, "%s", err.message);
	}
	return CLI_OK;
}

static int
import(struct cli *cli, const struct cli_command *command, const struct import_arguments *arguments, const char *file)
{
	int result;

	if (arguments->model == NULL)
		return cli_usage(command, "--model NAME is needed");
	struct mmq_message *message = mmq_message_new("model.import");
	const char *const texts[][2] = { { "model", arguments->model }, { "format", arguments->format }, { "alias", arguments->alias },
		{ "description", arguments->description } };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i][1] != NULL)
			mmq_message_text(message, texts[i][0], texts[i][1]);
	mmq_message_int(message, "deadline_ms", cli->timeout_ms);
	if ((result = put_file(message, arguments, file)) != CLI_OK) {
		mmq_message_destroy(&message);
		return result;
	}
	struct mmq_answer *answer = cli_ask(cli, &message, &result);
	if (answer == NULL)
		return result;
	if (cli->json)
		result = cli_print_json(answer, "");
	else
		result = printf("%s version %lld: %s, %s, %lld inputs, from a model of %s\n", arguments->model, (long long)mmq_answer_int(answer, "version", 0),
		    mmq_answer_text(answer, "engine"), mmq_answer_text(answer, "task"), (long long)mmq_answer_int(answer, "columns", 0),
		    mmq_answer_text(answer, "imported.library")) < 0 ? CLI_ERROR : CLI_OK;
	mmq_answer_destroy(&answer);
	return result;
}

int
cli_import(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	struct import_arguments arguments = { 0 };
	const struct cli_option options[] = {
		{ "model", "NAME", CLI_TEXT, &arguments.model, "name of the model" },
		{ "format", "FORMAT", CLI_TEXT, &arguments.format, "lightgbm, xgboost, libsvm or liblinear; default: by content" },
		{ "alias", "NAME", CLI_TEXT, &arguments.alias, "alias for the new version; default production" },
		{ "description", "TEXT", CLI_TEXT, &arguments.description, "a note for the model's card" },
		{ "on-server", NULL, CLI_FLAG, &arguments.on_server, "FILE is a path on the service's machine, in a folder that it may read" },
		{ NULL, NULL, CLI_FLAG, NULL, NULL },
	};
	const char *file;
	int result = CLI_USAGE;

	return cli_parse(cli, command, options, argc, argv, &file, 1, 1, &result) ? import(cli, command, &arguments, file) : result;
}

/* ---- export ---------------------------------------------------------------------------------------------------------- */

struct export_arguments {
	char model[256];
	const char *version, *format, *file;
};

/* One piece of the file. NULL with *exit_out: refused. */
static struct mmq_answer *
ask_piece(struct cli *cli, const struct export_arguments *arguments, int64_t version, int64_t offset, int *exit_out)
{
	struct mmq_message *message = mmq_message_new("model.export");

	mmq_message_text(message, "model", arguments->model);
	if (version != 0)
		mmq_message_int(message, "version", version);
	else if (arguments->version != NULL)
		cli_put_version(message, arguments->version);
	if (arguments->format != NULL)
		mmq_message_text(message, "format", arguments->format);
	mmq_message_int(message, "offset", offset);
	mmq_message_int(message, "deadline_ms", cli->timeout_ms);
	return cli_ask(cli, &message, exit_out);
}

/* Write all pieces to out. The version that the first one named is asked for by number then: an alias may move. */
static int
write_pieces(struct cli *cli, const struct export_arguments *arguments, FILE *out)
{
	int64_t version = 0, offset = 0;
	int result = CLI_OK;

	do {
		struct mmq_answer *answer = ask_piece(cli, arguments, version, offset, &result);
		size_t size = 0;
		if (answer == NULL)
			return result;
		const uint8_t *bytes = mmq_answer_bytes(answer, "data", &size);
		version = mmq_answer_int(answer, "version", 0);
		offset = mmq_answer_int(answer, "next", 0);
		if (bytes == NULL || version == 0)
			result = cli_say(CLI_ERROR, "the service's answer holds no piece of a file");
		else if (fwrite(bytes, 1, size, out) != size)
			result = cli_say(CLI_ERROR, "'%s': %s", arguments->file, strerror(errno));
		else if (offset == 0 && out != stdout)
			fprintf(stderr, "%s version %lld: %lld bytes of %s\n", arguments->model, (long long)version, (long long)mmq_answer_int(answer, "bytes", 0),
			    mmq_answer_text(answer, "library"));
		mmq_answer_destroy(&answer);
	} while (result == CLI_OK && offset != 0);
	return result;
}

static int
export(struct cli *cli, struct export_arguments *arguments)
{
	char part[PATH_MAX];

	if (strcmp(arguments->file, "-") == 0)
		return write_pieces(cli, arguments, stdout);
	/* Under another name until it is whole. */
	if (snprintf(part, sizeof(part), "%s.part", arguments->file) >= (int)sizeof(part))
		return cli_say(CLI_USAGE, "'%s': the name is too long", arguments->file);
	FILE *out = fopen(part, "wbe");
	if (out == NULL)
		return cli_say(CLI_USAGE, "'%s': %s", part, strerror(errno));
	int result = write_pieces(cli, arguments, out);
	if (fclose(out) != 0 && result == CLI_OK)
		result = cli_say(CLI_ERROR, "'%s': %s", part, strerror(errno));
	if (result == CLI_OK && rename(part, arguments->file) == -1)
		result = cli_say(CLI_ERROR, "'%s': %s", arguments->file, strerror(errno));
	if (result != CLI_OK)
		unlink(part);
	return result;
}

int
cli_export(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	struct export_arguments arguments = { 0 };
	const struct cli_option options[] = {
		{ "format", "FORMAT", CLI_TEXT, &arguments.format, "lightgbm, libsvm or liblinear; default: that of the model's engine" },
		{ NULL, NULL, CLI_FLAG, NULL, NULL },
	};
	const char *words[2];
	int result = CLI_USAGE;

	if (!cli_parse(cli, command, options, argc, argv, words, 2, 2, &result))
		return result;
	size_t name = strcspn(words[0], "@");
	if (name >= sizeof(arguments.model))
		return cli_usage(command, "the model's name is too long");
	memcpy(arguments.model, words[0], name);
	arguments.version = words[0][name] == '@' ? words[0] + name + 1 : NULL;
	arguments.file = words[1];
	return export(cli, &arguments);
}
