/* train.c: `modelmq train FILE`: sends the path of a data file to the service, which reads it itself, and follows the job.
 *
 * Parameters come as texts; the engine's own table, linked into this program, says what type each has. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "engine/engine.h"

struct arguments {
	const char *target, *model, *engine, *task, *test, *format, *split, *alias, *description, *labels, *warm_start, *calibrate, *scale;
	struct cli_list set, kinds;
	bool follow, on_server, importance;
	long seed, priority;
};

/* The entry for name or one of its aliases; NULL: this program does not know it, the service may. */
static const struct mmq_param *
find_param(const char *engine_name, const char *name, size_t length)
{
	const struct mmq_engine *engine = engine_name != NULL ? mmq_engine_find(engine_name) : NULL;

	for (const struct mmq_param *param = engine != NULL ? engine->params : NULL; param != NULL && param->name != NULL; param++) {
		if (strlen(param->name) == length && memcmp(param->name, name, length) == 0)
			return param;
		for (const char *at = param->aliases; at != NULL && *at != '\0'; at += strspn(at, " ")) {
			size_t word = strcspn(at, " ");
			if (word == length && memcmp(at, name, length) == 0)
				return param;
			at += word;
		}
	}
	return NULL;
}

static void
put_scalar(struct mmq_message *message, const char *key, const char *text)
{
	char *end;

	errno = 0;
	long long whole = strtoll(text, &end, 10);
	if (end != text && *end == '\0' && errno == 0) {
		mmq_message_int(message, key, whole);
		return;
	}
	double number = strtod(text, &end);
	if (end != text && *end == '\0')
		mmq_message_number(message, key, number);
	else if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
		mmq_message_flag(message, key, *text == 't');
	else
		mmq_message_text(message, key, text);
}

static void
put_list(struct mmq_message *message, const char *key, const char *text)
{
	char item[64];

	mmq_message_list(message, key);
	while (*(text += strspn(text, ", []")) != '\0') {
		size_t length = strcspn(text, ", ]");
		snprintf(item, sizeof(item), "%.*s", (int)length, text);
		put_scalar(message, NULL, item);
		text += length;
	}
	mmq_message_close(message);
}

/* One `key=value` of --set. false: no "=". */
static bool
put_setting(struct mmq_message *message, const char *engine, const char *setting)
{
	const char *equals = strchr(setting, '=');
	char key[64];

	if (equals == NULL || equals == setting || equals - setting >= (ptrdiff_t)sizeof(key))
		return false;
	snprintf(key, sizeof(key), "%.*s", (int)(equals - setting), setting);
	const struct mmq_param *param = find_param(engine, key, strlen(key));
	bool is_list = param != NULL ? param->type == MMQ_P_INTS || param->type == MMQ_P_NUMBERS : strpbrk(equals + 1, ",[") != NULL;
	if (is_list)
		put_list(message, key, equals + 1);
	else if (param != NULL && (param->type == MMQ_P_ENUM || param->type == MMQ_P_TEXT))
		mmq_message_text(message, key, equals + 1);
	else
		put_scalar(message, key, equals + 1);
	return true;
}

/* {file, format?, options?} under key. false: the file is not there (said on stderr). */
static bool
put_file(struct mmq_message *message, const char *key, const char *file, const struct arguments *arguments)
{
	char path[PATH_MAX], labels[PATH_MAX];

	if (arguments->on_server)
		snprintf(path, sizeof(path), "%s", file);
	else if (realpath(file, path) == NULL)
		return cli_say(0, "'%s': %s", file, strerror(errno)), false;
	mmq_message_map(message, key);
	mmq_message_text(message, "file", path);
	if (arguments->format != NULL)
		mmq_message_text(message, "format", arguments->format);
	if (arguments->labels != NULL) {
		if (arguments->on_server)
			snprintf(labels, sizeof(labels), "%s", arguments->labels);
		else if (realpath(arguments->labels, labels) == NULL)
			return cli_say(0, "'%s': %s", arguments->labels, strerror(errno)), false;
		mmq_message_map(message, "options");
		mmq_message_text(message, "labels", labels);
		mmq_message_close(message);
	}
	mmq_message_close(message);
	return true;
}

static int
put_schema(struct mmq_message *message, const struct cli_command *command, const struct cli_list *kinds)
{
	char column[256];

	if (kinds->count == 0)
		return 0;
	mmq_message_map(message, "schema");
	for (size_t i = 0; i < kinds->count; i++) {
		const char *equals = strrchr(kinds->items[i], '=');
		if (equals == NULL || equals == kinds->items[i])
			return cli_usage(command, "--kind wants COLUMN=KIND, got '%s'", kinds->items[i]);
		snprintf(column, sizeof(column), "%.*s", (int)(equals - kinds->items[i]), kinds->items[i]);
		mmq_message_map(message, column);
		mmq_message_text(message, "kind", equals + 1);
		mmq_message_close(message);
	}
	mmq_message_close(message);
	return 0;
}

/* MODEL or MODEL@VERSION, a number or an alias. */
static void
put_warm_start(struct mmq_message *message, const char *text)
{
	char model[256];

	snprintf(model, sizeof(model), "%.*s", (int)strcspn(text, "@"), text);
	mmq_message_map(message, "warm_start");
	mmq_message_text(message, "model", model);
	if (strchr(text, '@') != NULL)
		cli_put_version(message, strchr(text, '@') + 1);
	mmq_message_close(message);
}

/* Fill the request; 0, or the exit code. */
static int
fill(struct mmq_message *message, const struct cli_command *command, const struct arguments *arguments, const char *file)
{
	const char *const texts[][2] = { { "model", arguments->model }, { "target", arguments->target }, { "engine", arguments->engine },
		{ "task", arguments->task }, { "alias", arguments->alias }, { "description", arguments->description },
		{ "calibrate", arguments->calibrate } };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i][1] != NULL)
			mmq_message_text(message, texts[i][0], texts[i][1]);
	if (arguments->seed >= 0)
		mmq_message_int(message, "seed", arguments->seed);
	if (arguments->priority >= 0)
		mmq_message_int(message, "priority", arguments->priority);
	if (!put_file(message, "data", file, arguments) || (arguments->test != NULL && !put_file(message, "test", arguments->test, arguments)))
		return CLI_USAGE;
	if (arguments->split != NULL) {
		mmq_message_map(message, "split");
		mmq_message_text(message, "kind", arguments->split);
		mmq_message_close(message);
	}
	if (arguments->set.count > 0) {
		mmq_message_map(message, "params");
		for (size_t i = 0; i < arguments->set.count; i++)
			if (!put_setting(message, arguments->engine, arguments->set.items[i]))
				return cli_usage(command, "--set wants NAME=VALUE, got '%s'", arguments->set.items[i]);
		mmq_message_close(message);
	}
	if (arguments->scale != NULL) {
		mmq_message_map(message, "prepare");
		mmq_message_map(message, "*");
		mmq_message_text(message, "scale", arguments->scale);
		mmq_message_close(message);
		mmq_message_close(message);
	}
	if (arguments->importance)
		mmq_message_flag(message, "importance", true);
	if (arguments->warm_start != NULL)
		put_warm_start(message, arguments->warm_start);
	return put_schema(message, command, &arguments->kinds);
}

static int
train(struct cli *cli, const struct cli_command *command, const struct arguments *arguments, const char *file)
{
	bool is_remote = cli->connect != NULL && strncmp(cli->connect, "ipc:", 4) != 0 && strncmp(cli->connect, "tcp://127.", 10) != 0 &&
	    strncmp(cli->connect, "tcp://localhost", 15) != 0;
	struct mmq_message *message;
	int result;

	bool is_one_class = arguments->task != NULL && strcmp(arguments->task, "one_class") == 0;
	if (arguments->model == NULL || (arguments->target == NULL && !is_one_class))
		return cli_usage(command, "--target COLUMN (unless --task one_class) and --model NAME are needed");
	if (is_remote && !arguments->on_server)
		return cli_usage(command, "the service at %s reads files on its own machine: give a path there and --on-server", cli->connect);
	message = mmq_message_new("train");
	if ((result = fill(message, command, arguments, file)) != 0) {
		mmq_message_destroy(&message);
		return result;
	}
	struct mmq_answer *answer = cli_ask(cli, &message, &result);
	if (answer == NULL)
		return result;
	const char *job = mmq_answer_text(answer, "job");
	if (job == NULL)
		result = cli_say(CLI_ERROR, "the service's answer names no job");
	else if (arguments->follow)
		result = cli_follow(cli, job);
	else if (cli->json)
		result = cli_print_json(answer, "");
	else
		result = printf("%s\n", job) < 0 ? CLI_ERROR : CLI_OK;   /* alone on its line, for $(...) */
	mmq_answer_destroy(&answer);
	return result;
}

int
cli_train(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	struct arguments arguments = { .seed = -1, .priority = -1 };
	const struct cli_option options[] = {
		{ "target", "COLUMN", CLI_TEXT, &arguments.target, "what to predict" },
		{ "model", "NAME", CLI_TEXT, &arguments.model, "name of the model" },
		{ "engine", "NAME", CLI_TEXT, &arguments.engine, "see `modelmq engines`" },
		{ "set", "NAME=VALUE", CLI_LIST, &arguments.set, "a parameter of the engine; lists as 64,32 (may be given again)" },
		{ "task", "TASK", CLI_TEXT, &arguments.task, "regression, binary, multiclass, classification or one_class; default: from the target" },
		{ "warm-start", "MODEL[@VERSION]", CLI_TEXT, &arguments.warm_start, "go on from a published version; default its production alias" },
		{ "test", "FILE", CLI_TEXT, &arguments.test, "held-out rows; default: a part of FILE" },
		{ "format", "FORMAT", CLI_TEXT, &arguments.format, "csv, libsvm, idx or npy; default: from the file's name" },
		{ "labels", "FILE", CLI_TEXT, &arguments.labels, "the labels of an idx or npy file" },
		{ "kind", "COLUMN=KIND", CLI_LIST, &arguments.kinds, "numeric, categorical, text, ... instead of what is inferred" },
		{ "scale", "none|standard", CLI_TEXT, &arguments.scale, "of all numbers; default: as the engine wants them" },
		{ "split", "KIND", CLI_TEXT, &arguments.split, "random, head, modulo or folds" },
		{ "seed", "N", CLI_NUMBER, &arguments.seed, "same seed, same model; default 0" },
		{ "calibrate", "KIND", CLI_TEXT, &arguments.calibrate, "sigmoid or isotonic: fit probabilities on rows not learnt from" },
		{ "importance", NULL, CLI_FLAG, &arguments.importance, "measure what each column is worth by shuffling it" },
		{ "alias", "NAME", CLI_TEXT, &arguments.alias, "alias for the new version; default production" },
		{ "priority", "0..9", CLI_NUMBER, &arguments.priority, "higher first; default 5" },
		{ "description", "TEXT", CLI_TEXT, &arguments.description, "a note for the model's card" },
		{ "on-server", NULL, CLI_FLAG, &arguments.on_server, "FILE is a path on the service's machine" },
		{ "follow", NULL, CLI_FLAG, &arguments.follow, "show progress and wait for the outcome; else print the job's id" },
		{ NULL, NULL, CLI_FLAG, NULL, NULL },
	};
	const char *file;
	int result = CLI_USAGE;

	if (cli_parse(cli, command, options, argc, argv, &file, 1, 1, &result))
		result = train(cli, command, &arguments, file);
	cli_list_fini(&arguments.set);
	cli_list_fini(&arguments.kinds);
	return result;
}
