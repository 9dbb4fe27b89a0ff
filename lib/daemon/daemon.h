/* daemon.h: what every modelmq process does the same way: options, --check-config, log, signals, ready, leave.
 *
 * Key idea: one row per option gives the flag, the key of the configuration file, the environment variable, the range check
 * and the line of --help. mmq_daemon_main() runs in order: defaults, file, environment, flags; signals; start; loop; stop.
 * The loop is the daemon's own: it watches mmq_signal_fd() beside its sockets. No fork, no pid file, no log file. */
#ifndef MMQ_DAEMON_DAEMON_H
#define MMQ_DAEMON_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/log.h"
#include "util/err.h"

/* How the text of an option is read and what lies at its offset. */
enum mmq_option_type {
	MMQ_OPTION_TEXT,    /* char *; owned by the table, NULL when empty */
	MMQ_OPTION_COUNT,   /* int64_t within min..max */
	MMQ_OPTION_BYTES,   /* int64_t within min..max; k, M, G (1024) may follow the number */
	MMQ_OPTION_FLAG,    /* bool; as a flag it takes no value, elsewhere yes/no/true/false/1/0 */
};

enum {
	MMQ_OPTION_RELOAD = 1,  /* read again from the file on HUP */
	MMQ_OPTION_COMMON = 2,  /* lies in the struct that all daemons share; set by mmq_daemon_main */
};

struct mmq_option {
	const char *name;        /* "queue-depth": --queue-depth, MMQ_QUEUE_DEPTH, queue-depth = ... ; NULL ends the table */
	enum mmq_option_type type;
	size_t offset;           /* of the value within the daemon's struct */
	const char *initial;     /* default as text; NULL: empty, 0 or no */
	int64_t min, max;
	unsigned flags;
	const char *doc;         /* one line */
};

struct mmq_daemon {
	const char *name, *summary;
	const struct mmq_option *options;
	int (*check)(void *self, struct mmq_err *err);  /* (Optional) the options together; -1 is a configuration error */
	int (*start)(void *self, struct mmq_err *err);  /* bind, open, recover. After it the process is ready. */
	int (*loop)(void *self, struct mmq_err *err);   /* until a signal or the end of its work */
	void (*reload)(void *self);                     /* (Optional) after HUP, with the options marked RELOAD read again */
	void (*stop)(void *self);                       /* always called, also after a failed start */
};

/* 0: left as asked; 1: failed at run time; 2: the configuration is wrong (a supervisor does not try again). */
enum { MMQ_EXIT_OK, MMQ_EXIT_FAILED, MMQ_EXIT_CONFIG };
int mmq_daemon_main(const struct mmq_daemon *daemon, void *self, int argc, char **argv);

/* Signals arrive as bytes on a pipe, so that they work beside libraries that start threads before main. */
enum mmq_signal { MMQ_SIGNAL_NONE, MMQ_SIGNAL_DRAIN, MMQ_SIGNAL_LEAVE, MMQ_SIGNAL_RELOAD };
int mmq_signal_fd(void);                 /* readable when a signal waits */
enum mmq_signal mmq_signal_take(void);   /* first TERM or INT: DRAIN; the next: LEAVE; HUP: RELOAD (the table's options are already read) */

/* options.c, used by mmq_daemon_main and by tests. */
struct mmq_options {
	const struct mmq_option *rows;
	void *self, *common;
	unsigned char source[96];            /* who set row i: a later source is not overruled by an earlier one */
	bool reloading;
};
enum mmq_option_source { MMQ_FROM_DEFAULT, MMQ_FROM_FILE, MMQ_FROM_ENVIRONMENT, MMQ_FROM_FLAG };
int mmq_options_init(struct mmq_options *options, const struct mmq_option *rows, void *self, void *common, struct mmq_err *err);
void mmq_options_fini(struct mmq_options *options);
int mmq_options_set(struct mmq_options *options, const char *name, const char *text, enum mmq_option_source source, struct mmq_err *err);
int mmq_options_read(struct mmq_options *options, const char *path, struct mmq_err *err);  /* `name = value` lines, # comments */
int mmq_options_environment(struct mmq_options *options, struct mmq_err *err);
int mmq_options_flags(struct mmq_options *options, int argc, char **argv, struct mmq_err *err);
void mmq_options_help(const struct mmq_option *rows);  /* to stdout */

/* A libzmq context for a daemon: received bytes are copied out of the read buffer (a small message that is kept would else
 * pin 8 KiB and more), and the number of sockets allows `peers` of them. NULL: errno says why. */
void *mmq_zmq_context(int io_threads, int peers);

#endif
