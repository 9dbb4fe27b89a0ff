/* main.c: `modelmq`, the command line: finds the subcommand in a table and runs it. Everything else is in the file named after it. */
#include <locale.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static const struct cli_command commands[] = {
	{ "up", "", "start a whole service here and keep it running until Ctrl-C", "modelmq up --home ./modelmq-home\n"
	    "modelmq up --request tcp://127.0.0.1:5550 --publish tcp://127.0.0.1:5551 --sink tcp://127.0.0.1:5552", cli_up },
	{ "train", "FILE", "train a model from a file and publish it as a new version",
	    "modelmq train iris.csv --target species --model iris --follow\n"
	    "modelmq train adult.csv.gz --target income --model income --engine tree --set num_leaves=63 --follow", cli_train },
	{ "predict", "MODEL FILE|-", "ask a model about the rows of a CSV or JSON lines file",
	    "modelmq predict iris new.csv --want prediction,probability\n"
	    "printf '{\"sepal_length\":5.1,...}\\n' | modelmq predict iris - --output csv", cli_predict },
	{ "models", "", "list models with their versions and aliases", "modelmq models --json", cli_models },
	{ "model", "show|delete|alias MODEL", "show a model, delete a version, move an alias",
	    "modelmq model show iris --version 3\nmodelmq model alias iris production 3\nmodelmq model alias iris canary --remove\n"
	    "modelmq model delete iris --version 1", cli_model },
	{ "import", "FILE", "publish a model that LightGBM, XGBoost, LIBSVM or LIBLINEAR wrote as a new version",
	    "modelmq import model.txt --model churn\nmodelmq import heart.model --model heart --format libsvm", cli_import },
	{ "export", "MODEL[@VERSION] FILE|-", "write a model as a file of LightGBM, LIBSVM or LIBLINEAR",
	    "modelmq export income income.txt\nmodelmq export income@3 - > income.txt", cli_export },
	{ "jobs", "", "list training jobs, newest first", "modelmq jobs --state running", cli_jobs },
	{ "job", "show|cancel|follow JOB", "show, cancel or follow one job", "modelmq job cancel 5f0c...", cli_job },
	{ "dead", "list|show|requeue|drop [JOB]", "durable requests that were given up: list, show, try again or drop them",
	    "modelmq dead list\nmodelmq dead requeue 5f0c...", cli_dead },
	{ "watch", "[TOPIC]", "print what the sink publishes, as JSON lines", "modelmq watch result/default/iris/\nmodelmq watch job/", cli_watch },
	{ "engines", "[NAME]", "list the engines, or every parameter of one", "modelmq engines tree", cli_engines },
	{ "status", "", "workers, queue, journal and counters of the service", "modelmq status --json", cli_status },
	{ "keygen", "NAME", "make a CURVE key pair: NAME (public) and NAME_secret",
	    "modelmq keygen alice --keys ./keys\nmodelmq keygen reader --role subscriber --tenant lab", cli_keygen },
	{ "journal", "check|backup FILE|compact", "look at every byte of the journal, copy it while it is in use, make its file small",
	    "modelmq journal check\nmodelmq journal backup /backups/journal-monday.db\nmodelmq journal compact      # while the service is down", cli_journal },
	{ "doctor", "", "check the home, the store and the processes of a service on this machine", "modelmq doctor --home ./modelmq-home", cli_doctor },
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static int
help(FILE *to, int exit_code)
{
	fprintf(to, "usage: modelmq COMMAND [OPTIONS]\n\nTrain, version and serve models over a message queue.\n\n");
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].summary);
	fprintf(to, "\n`modelmq COMMAND --help` says more. First steps:\n"
	    "  modelmq up &\n  modelmq train iris.csv --target species --model iris --follow\n  modelmq predict iris new.csv\n");
	return exit_code;
}

static const struct cli_command *
find(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

int
main(int argc, char **argv)
{
	struct cli cli = { .is_terminal = isatty(STDOUT_FILENO) == 1, .timeout_ms = 60000 };

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_DFL);
	if (argc < 2)
		return help(stderr, CLI_USAGE);
	if (strcmp(argv[1], "help") == 0 && argc > 2) {
		argv[1] = argv[2];
		argv[2] = (char[]){ "--help" };
		argc = 3;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
		return help(stdout, CLI_OK);
	if (strcmp(argv[1], "--version") == 0) {
		printf("modelmq %s\n", MMQ_VERSION);
		return CLI_OK;
	}
	if (argv[1][0] == '-')
		return cli_say(CLI_USAGE, "got '%s' before a command; options come after it: modelmq COMMAND %s ...", argv[1], argv[1]);
	const struct cli_command *command = find(argv[1]);
	if (command == NULL)
		return cli_say(CLI_USAGE, "no command '%s'; `modelmq --help` lists them", argv[1]);
	int exit_code = command->run(&cli, command, argc - 2, argv + 2);
	mmq_client_close(&cli.client);
	if (fflush(stdout) != 0 || ferror(stdout))
		return cli_say(CLI_ERROR, "cannot write the output");
	return exit_code;
}
