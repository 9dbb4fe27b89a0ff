/* cli.h: what the subcommands of `modelmq` share: options, the connection, errors and exit codes, tables. */
#ifndef MMQ_CLI_CLI_H
#define MMQ_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "client/modelmq.h"
#include "util/buf.h"

/* Exit codes, the same for all subcommands; scripts rely on them. CONFIG is EX_CONFIG of sysexits.h. */
enum cli_exit { CLI_OK = 0, CLI_ERROR = 1, CLI_USAGE = 2, CLI_UNREACHABLE = 3, CLI_CONFIG = 78 };

struct cli {
	const char *home, *connect, *publish, *sink, *server_key, *key_file;
	bool json;
	bool is_terminal;            /* of stdout */
	long timeout_ms;
	struct mmq_client *client;   /* opened by cli_client */
};

/* ---- options.c ---- */

enum cli_kind { CLI_FLAG, CLI_TEXT, CLI_NUMBER, CLI_LIST };

struct cli_list {
	const char **items;          /* borrowed texts, the array is the list's */
	size_t count;
};

struct cli_option {
	const char *name;            /* without the dashes; a table ends with NULL */
	const char *argument;        /* what stands for the value in the help; NULL for a flag */
	enum cli_kind kind;
	void *to;                    /* bool *, const char **, long *, struct cli_list * */
	const char *help;
};

struct cli_command {
	const char *name, *arguments, *summary;
	const char *examples;        /* one a line */
	int (*run)(struct cli *cli, const struct cli_command *command, int argc, char **argv);
};

/* Parse argv (after the command's name): the command's options and the common ones, anywhere; "--" ends options.
 * positional_out gets the rest, at least `least`, at most `most` (unused ones NULL). True: go on. False: leave with
 * *exit_out (help was shown: CLI_OK; wrong: CLI_USAGE, said on stderr). */
bool cli_parse(struct cli *cli, const struct cli_command *command, const struct cli_option *options, int argc, char **argv,
    const char **positional_out, size_t least, size_t most, int *exit_out);
void cli_list_fini(struct cli_list *list);
int cli_usage(const struct cli_command *command, const char *format, ...) __attribute__((format(printf, 2, 3))); /* CLI_USAGE */

/* ---- service.c ---- */

struct mmq_client *cli_client(struct cli *cli);                    /* never NULL; belongs to cli */
const char *cli_home(const struct cli *cli);
/* Ask; an error is said on stderr and destroyed, NULL comes back with *exit_out. Takes *message. */
struct mmq_answer *cli_ask(struct cli *cli, struct mmq_message **message, int *exit_out);
int cli_fail(const struct mmq_answer *answer);                     /* say why on stderr; the exit code for it */
void cli_put_version(struct mmq_message *message, const char *text); /* a number or an alias */
int cli_say(int exit_code, const char *format, ...) __attribute__((format(printf, 2, 3))); /* "modelmq: ..." on stderr; exit_code */

/* ---- output.c ---- */

/* One packed value as JSON, on one line (indent false) or for people. Binary becomes hexadecimal text. */
void cli_json(struct mmq_buf *out, const void *msgpack, size_t size, bool indent);
void cli_json_text(struct mmq_buf *out, const char *text);                /* a quoted JSON string */
int cli_print_json(const struct mmq_answer *answer, const char *path);   /* to stdout with a line end; CLI_OK */
const char *cli_time(int64_t wall_ms, char text_out[32]);                /* local "2026-11-24 03:04:05"; "-" for 0 */
const char *cli_colour(const struct cli *cli, const char *code);         /* an escape sequence, or "" when not on a terminal */

/* ---- plain.c ---- */

void cli_plain(struct mmq_buf *out, const void *msgpack, size_t size);   /* one packed value in words */
/* "title  words ...", broken into lines under each other from column width on; nothing when it is absent. */
void cli_print_plain(const char *title, int width, const struct mmq_answer *answer, const char *path);

/* A table: cells are copied, columns as wide as their widest cell, numbers to the right. */
struct cli_table {
	const char *const *titles;
	size_t cols;
	char **cells;
	size_t count, capacity;
};
void cli_table_init(struct cli_table *table, const char *const *titles, size_t cols);
void cli_table_add(struct cli_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_table_print(struct cli_table *table, const struct cli *cli);    /* and frees it */

/* ---- follow.c ---- */

/* Show a job until it ended: a bar on a terminal, lines when not. The exit code of its outcome. */
int cli_follow(struct cli *cli, const char *job);

/* ---- the subcommands, each in its file ---- */

int cli_up(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_train(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_predict(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_models(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_model(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_import(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_export(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_dead(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_jobs(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_job(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_watch(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_engines(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_status(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_keygen(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_journal(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_doctor(struct cli *cli, const struct cli_command *command, int argc, char **argv);

#endif
