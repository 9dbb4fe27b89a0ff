/* daemon.c: the life of a process from main() to its exit code, the same for all of them. The common options (--config,
 * --log-level, --ready-fd, --parent-pid and those that leave at once) are rows of a table too. */
#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

enum { ROWS_MAX = 95, ZMQ_OPTION_ZERO_COPY_RECV = 10 };

static int signal_pipe[2] = { -1, -1 };
static struct common {
	char *config, *log_level;
	int64_t ready_fd, parent_pid;
	bool check, version, help;
} common;
static struct mmq_options *reload_options;  /* NULL until the configuration was found good */

static const struct mmq_option common_rows[] = {
	{ "config", MMQ_OPTION_TEXT, offsetof(struct common, config), NULL, 0, 0, 0, "read options from this file" },
	{ "log-level", MMQ_OPTION_TEXT, offsetof(struct common, log_level), "info", 0, 0, 0, "error, warn, info or debug" },
	{ "ready-fd", MMQ_OPTION_COUNT, offsetof(struct common, ready_fd), "-1", -1, 65535, 0, "write one line here when ready" },
	{ "parent-pid", MMQ_OPTION_COUNT, offsetof(struct common, parent_pid), "0", 0, INT32_MAX, 0, "leave when this parent is gone" },
	{ "check-config", MMQ_OPTION_FLAG, offsetof(struct common, check), NULL, 0, 0, 0, "check the options and leave" },
	{ "version", MMQ_OPTION_FLAG, offsetof(struct common, version), NULL, 0, 0, 0, "print the version and leave" },
	{ "help", MMQ_OPTION_FLAG, offsetof(struct common, help), NULL, 0, 0, 0, "print this and leave" },
	{ .name = NULL },
};

static void
on_signal(int number)
{
	int keep = errno;
	char byte = number == SIGHUP ? 'H' : 'T';

	if (write(signal_pipe[1], &byte, 1) == -1)
		errno = keep;  /* the pipe is full of signals already */
	errno = keep;
}

static int
signals_start(struct mmq_err *err)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "signals: pipe: %s", strerror(errno));
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		sigaction(numbers[i], &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	setenv("ZSYS_SIGHANDLER", "false", 1);  /* czmq would put its own handlers over ours */
	return 0;
}

int
mmq_signal_fd(void)
{
	return signal_pipe[0];
}

/* Read the file again for the rows that may change. A bad file changes nothing but the rows before the fault, and is reported. */
static void
options_reload(void)
{
	struct mmq_err err = { 0 };

	if (common.config == NULL || reload_options == NULL)
		return;
	reload_options->reloading = true;
	if (mmq_options_read(reload_options, common.config, &err) == -1)
		mmq_log(MMQ_LOG_ERROR, "reload", "error=\"%s\"", err.message);
	reload_options->reloading = false;
}

enum mmq_signal
mmq_signal_take(void)
{
	static bool asked;
	char byte;

	if (read(signal_pipe[0], &byte, 1) != 1)
		return MMQ_SIGNAL_NONE;
	if (byte == 'H') {
		options_reload();
		return MMQ_SIGNAL_RELOAD;
	}
	if (asked)
		return MMQ_SIGNAL_LEAVE;
	asked = true;
	return MMQ_SIGNAL_DRAIN;
}

/* Say ready the two ways that supervisors know. */
static void
ready_say(void)
{
	const char *path = getenv("NOTIFY_SOCKET"), *text = "READY=1";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (common.ready_fd >= 0) {
		if (write((int)common.ready_fd, "ready\n", 6) == -1)
			mmq_log(MMQ_LOG_WARN, "ready-fd", "error=\"%s\"", strerror(errno));
		close((int)common.ready_fd);
	}
	if (path == NULL || strlen(path) >= sizeof address.sun_path)
		return;
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	if (address.sun_path[0] == '@')
		address.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return;
	if (sendto(fd, text, strlen(text), 0, (struct sockaddr *)&address,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) == -1)
		mmq_log(MMQ_LOG_WARN, "notify", "error=\"%s\"", strerror(errno));
	close(fd);
}

/* Die with the supervisor, also if it died before this line. */
static int
parent_follow(struct mmq_err *err)
{
	if (common.parent_pid == 0)
		return 0;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != (pid_t)common.parent_pid)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "parent-pid: process %lld is not the parent", (long long)common.parent_pid);
	return 0;
}

/* The daemon's rows and ours in one table, so that one pass over a source serves both. */
static int
rows_merge(struct mmq_option rows_out[ROWS_MAX + 1], const struct mmq_option *own, struct mmq_err *err)
{
	size_t count = 0;

	for (const struct mmq_option *row = own; row->name != NULL && count < ROWS_MAX; row++)
		rows_out[count++] = *row;
	for (const struct mmq_option *row = common_rows; row->name != NULL && count < ROWS_MAX; row++) {
		rows_out[count] = *row;
		rows_out[count++].flags |= MMQ_OPTION_COMMON;
	}
	rows_out[count].name = NULL;
	return count < ROWS_MAX ? 0 : mmq_err_set(err, MMQ_INTERNAL, "options: more than %d rows", ROWS_MAX);
}

static int
options_load(struct mmq_options *options, int argc, char **argv, struct mmq_err *err)
{
	if (mmq_options_flags(options, argc, argv, err) == -1 || mmq_options_environment(options, err) == -1)
		return -1;
	return common.config == NULL ? 0 : mmq_options_read(options, common.config, err);
}

static int
config_fail(const struct mmq_err *err)
{
	mmq_log(MMQ_LOG_ERROR, "config", "error=\"%s\"", err->message);
	return MMQ_EXIT_CONFIG;
}

static int
run(const struct mmq_daemon *daemon, void *self)
{
	struct mmq_err err = { 0 };
	int result = MMQ_EXIT_OK;

	if (signals_start(&err) == -1 || parent_follow(&err) == -1 || daemon->start(self, &err) == -1) {
		mmq_log(MMQ_LOG_ERROR, "start", "code=%s error=\"%s\"", mmq_code_name(err.code), err.message);
		result = err.code == MMQ_INVALID_ARGUMENT || err.code == MMQ_FAILED_PRECONDITION ? MMQ_EXIT_CONFIG : MMQ_EXIT_FAILED;
	} else {
		ready_say();
		mmq_log(MMQ_LOG_INFO, "ready", "version=%s pid=%d", MMQ_VERSION, (int)getpid());
		if (daemon->loop(self, &err) == -1) {
			mmq_log(MMQ_LOG_ERROR, "loop", "code=%s error=\"%s\"", mmq_code_name(err.code), err.message);
			result = MMQ_EXIT_FAILED;
		}
	}
	daemon->stop(self);
	mmq_log(MMQ_LOG_INFO, "left", "result=%d", result);
	return result;
}

int
mmq_daemon_main(const struct mmq_daemon *daemon, void *self, int argc, char **argv)
{
	static struct mmq_option rows[ROWS_MAX + 1];
	static struct mmq_options options;
	struct mmq_err err = { 0 };
	int level, result;

	mmq_log_init(daemon->name, MMQ_LOG_INFO);
	if (rows_merge(rows, daemon->options, &err) == -1 || mmq_options_init(&options, rows, self, &common, &err) == -1 ||
	    options_load(&options, argc, argv, &err) == -1) {
		result = config_fail(&err);
	} else if (common.help) {
		printf("%s: %s\nusage: %s [options]; each is also a key of the --config file and MMQ_<NAME> in the environment\n",
		    daemon->name, daemon->summary, daemon->name);
		mmq_options_help(rows);
		result = MMQ_EXIT_OK;
	} else if (common.version) {
		printf("%s %s\n", daemon->name, MMQ_VERSION);
		result = MMQ_EXIT_OK;
	} else if ((level = mmq_level_from_name(common.log_level)) == -1) {
		mmq_err_value(&err, MMQ_INVALID_ARGUMENT, "log-level", "error, warn, info or debug", "'%s'", common.log_level == NULL ? "" : common.log_level);
		result = config_fail(&err);
	} else if (daemon->check != NULL && daemon->check(self, &err) == -1) {
		result = config_fail(&err);
	} else if (common.check) {
		printf("%s: the configuration is good\n", daemon->name);
		result = MMQ_EXIT_OK;
	} else {
		mmq_log_init(daemon->name, (enum mmq_level)level);
		reload_options = &options;
		result = run(daemon, self);
	}
	mmq_options_fini(&options);
	return result;
}

void *
mmq_zmq_context(int io_threads, int peers)
{
	void *context = zmq_ctx_new();

	if (context == NULL)
		return NULL;
	zmq_ctx_set(context, ZMQ_OPTION_ZERO_COPY_RECV, 0);
	zmq_ctx_set(context, ZMQ_IO_THREADS, io_threads);
	zmq_ctx_set(context, ZMQ_MAX_SOCKETS, peers);
	zmq_ctx_set(context, ZMQ_BLOCKY, 0);
	return context;
}
