/* up.c: `modelmq up`, the whole service in one command: a broker, then trainers and predictors, kept running.
 *
 * It holds HOME/up.lock for its life; the broker holds HOME/lock. Both matter: the first refuses a second `up`, the second a
 * broker that was started by hand. The broker chooses and writes the endpoints; this file only passes on what was asked for. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/keys.h"
#include "cli/supervise.h"
#include "math/cpu.h"
#include "util/clock.h"
#include "util/mem.h"

enum { BROKER, WORKER, READY_MS = 30000, STOP_MS = 3000, LOCK_WAIT_MS = 5000, WORKERS_MAX = 100, DATA_MAX = 6 };

#define DRAIN_MS "2000"   /* below STOP_MS: the workers have left by then, so there is nothing to wait for */

struct up {
	char home[PATH_MAX], bin[PATH_MAX], broker[PATH_MAX + 32], trainer[PATH_MAX + 32], predictor[PATH_MAX + 32], worker_key[PATH_MAX + 32], broker_key[PATH_MAX + 32];
	const char *request, *publish, *sink, *work, *keys, *log_level;
	struct cli_list data;
	char data_joined[DATA_MAX * PATH_MAX];   /* absolute, joined by colons */
	long predictors, trainers;
	char names[CHILDREN_MAX][24];            /* of the workers */
	struct supervisor supervisor;
};

/* Make HOME (0700: its sockets are the service's door) and know it by its absolute path. */
static int
prepare_home(struct up *up, const char *home)
{
	if (mkdir(home, 0700) == -1 && errno != EEXIST)
		return cli_say(CLI_CONFIG, "cannot make the home folder '%s': %s", home, strerror(errno));
	if (realpath(home, up->home) == NULL)
		return cli_say(CLI_CONFIG, "home folder '%s': %s", home, strerror(errno));
	if (access(up->home, R_OK | W_OK | X_OK) == -1)
		return cli_say(CLI_CONFIG, "home folder '%s': %s", up->home, strerror(errno));
	return 0;
}

/* Open a file of HOME and lock it. -1: someone else holds it, or errno. */
static int
lock_file(const struct up *up, const char *name)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", up->home, name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd != -1 && flock(fd, LOCK_EX | LOCK_NB) == -1) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Refuse a home that is in use. The broker of an `up` that was killed may need a moment to leave, hence the wait. */
static int
lock_home(const struct up *up)
{
	int64_t until_us = mmq_clock_mono_us() + LOCK_WAIT_MS * INT64_C(1000);

	if (lock_file(up, "up.lock") == -1)
		return cli_say(CLI_CONFIG, "another `modelmq up` runs on home '%s'", up->home);
	for (;;) {
		int fd = lock_file(up, "lock");
		if (fd != -1) {
			close(fd);
			return 0;
		}
		if (errno != EWOULDBLOCK || mmq_clock_mono_us() > until_us)
			return cli_say(CLI_CONFIG, "a broker runs on home '%s' already (%s/lock is held)", up->home, up->home);
		usleep(50000);
	}
}

/* The daemons lie beside this program. */
static int
find_daemons(struct up *up)
{
	ssize_t length = readlink("/proc/self/exe", up->bin, sizeof(up->bin) - 1);

	if (length == -1)
		return cli_say(CLI_ERROR, "cannot find my own folder: %s", strerror(errno));
	up->bin[length] = '\0';
	*strrchr(up->bin, '/') = '\0';
	snprintf(up->broker, sizeof(up->broker), "%s/modelmq-broker", up->bin);
	snprintf(up->trainer, sizeof(up->trainer), "%s/modelmq-trainer", up->bin);
	snprintf(up->predictor, sizeof(up->predictor), "%s/modelmq-predictor", up->bin);
	const char *const paths[] = { up->broker, up->trainer, up->predictor };
	for (size_t i = 0; i < 3; i++)
		if (access(paths[i], X_OK) == -1)
			return cli_say(CLI_CONFIG, "%s: %s", paths[i], strerror(errno));
	return 0;
}

static void
add_option(struct child *child, const char *name, const char *value)
{
	if (value == NULL)
		return;
	child_arg(child, name);
	child_arg(child, value);
}

/* The data folders as one option of the trainer. */
static int
join_data(struct up *up)
{
	char path[PATH_MAX];

	/* Whoever can start `up` here may read here; clients from elsewhere get nothing that was not named. */
	if (up->data.count == 0 && up->keys == NULL && getcwd(up->data_joined, sizeof(up->data_joined)) == NULL)
		up->data_joined[0] = '\0';
	for (size_t i = 0; i < up->data.count; i++) {
		if (realpath(up->data.items[i], path) == NULL)
			return cli_say(CLI_CONFIG, "data folder '%s': %s", up->data.items[i], strerror(errno));
		size_t used = strlen(up->data_joined);
		snprintf(up->data_joined + used, sizeof(up->data_joined) - used, "%s%s", used > 0 ? ":" : "", path);
	}
	return 0;
}

static struct child *
add_child(struct up *up, const char *name, int rank, const char *path)
{
	struct child *child = supervisor_add(&up->supervisor, name, rank);

	child_arg(child, path);
	add_option(child, "--home", up->home);
	add_option(child, "--log-level", up->log_level);
	return child;
}

/* Sockets on tcp ask for keys, those in the home do not. */
static bool
workers_need_keys(const struct up *up)
{
	return up->keys != NULL && up->work != NULL && strncmp(up->work, "tcp://", 6) == 0;
}

/* Workers that come over tcp need a key that the broker allows; it is made once and kept in the folder of keys. */
static int
prepare_keys(struct up *up)
{
	char folder[PATH_MAX], allow[PATH_MAX + 16];

	if (up->keys == NULL)
		return 0;
	if ((mkdir(up->keys, 0700) == -1 && errno != EEXIST) || realpath(up->keys, folder) == NULL)
		return cli_say(CLI_CONFIG, "folder of keys '%s': %s", up->keys, strerror(errno));
	snprintf(allow, sizeof(allow), "%s/allow", folder);
	if (mkdir(allow, 0700) == -1 && errno != EEXIST)
		return cli_say(CLI_CONFIG, "folder of keys '%s': %s", allow, strerror(errno));
	snprintf(up->worker_key, sizeof(up->worker_key), "%s/worker_secret", folder);
	snprintf(up->broker_key, sizeof(up->broker_key), "%s/broker", folder);
	return !workers_need_keys(up) || access(up->worker_key, F_OK) == 0 ? 0 : keys_make(folder, allow, "worker", "worker", "default");
}

static void
add_worker(struct up *up, const char *name, long number, const char *path)
{
	struct child *child = add_child(up, name, WORKER, path);
	char *own = up->names[up->supervisor.count - 1];

	snprintf(own, sizeof(up->names[0]), "%s-%ld", name, number);
	add_option(child, "--name", own);

	if (workers_need_keys(up)) {
		add_option(child, "--key-file", up->worker_key);
		add_option(child, "--server-key-file", up->broker_key);
	}
	if (path == up->trainer && up->data_joined[0] != '\0')
		add_option(child, "--data", up->data_joined);
}

static void
add_children(struct up *up)
{
	struct child *broker = add_child(up, "broker", BROKER, up->broker);

	add_option(broker, "--request", up->request);
	add_option(broker, "--publish", up->publish);
	add_option(broker, "--sink", up->sink);
	add_option(broker, "--work", up->work);
	add_option(broker, "--keys", up->keys);
	add_option(broker, "--drain-ms", DRAIN_MS);
	for (long i = 0; i < up->trainers; i++)
		add_worker(up, "trainer", i + 1, up->trainer);
	for (long i = 0; i < up->predictors; i++)
		add_worker(up, "predictor", i + 1, up->predictor);
}

static void
say_ready(const struct cli *cli, const struct up *up, int64_t took_us)
{
	const char *const names[] = { "request", "publish", "sink", "work" };
	struct mmq_client *client = mmq_client_open(up->home);
	bool is_default = strcmp(cli_home(cli), "modelmq-home") == 0;

	printf("%smodelmq %s is ready%s after %.2f s: %ld predictor%s, %ld trainer%s, home %s\n", cli_colour(cli, "\033[1m"), MMQ_VERSION,
	    cli_colour(cli, "\033[0m"), (double)took_us / 1e6, up->predictors, up->predictors == 1 ? "" : "s", up->trainers,
	    up->trainers == 1 ? "" : "s", up->home);
	for (size_t i = 0; i < 4; i++) {
		const char *endpoint = mmq_client_endpoint(client, names[i]);
		if (endpoint != NULL)
			printf("  %-8s %s\n", names[i], endpoint);
	}
	printf("Next, in another terminal%s%s:\n  modelmq train iris.csv --target species --model iris --follow\n"
	    "  modelmq predict iris new.csv\n  modelmq status\nCtrl-C stops the service.\n", is_default ? "" : " with MODELMQ_HOME=",
	    is_default ? "" : up->home);
	fflush(stdout);
	mmq_client_close(&client);
}

/* Start in order, stay, stop in reverse. */
static int
run(const struct cli *cli, struct up *up)
{
	int64_t began_us = mmq_clock_mono_us();

	supervisor_start(&up->supervisor, BROKER);
	int result = supervisor_run(&up->supervisor, true, BROKER, READY_MS);
	if (result == 0 && !up->supervisor.is_stopping && !supervisor_is_ready(&up->supervisor, BROKER))
		result = cli_say(CLI_ERROR, "the broker was not ready within %d s", READY_MS / 1000);
	if (result == 0 && !up->supervisor.is_stopping) {
		supervisor_start(&up->supervisor, WORKER);
		result = supervisor_run(&up->supervisor, true, WORKER, READY_MS);
	}
	if (result == 0 && !up->supervisor.is_stopping) {
		if (!supervisor_is_ready(&up->supervisor, WORKER))
			cli_say(0, "some workers are not ready after %d s; see above", READY_MS / 1000);
		say_ready(cli, up, mmq_clock_mono_us() - began_us);
		result = supervisor_run(&up->supervisor, false, WORKER, -1);
	}
	supervisor_stop(&up->supervisor, STOP_MS);
	if (result == 0)
		puts("modelmq has stopped");
	return result;
}

static int
check_options(const struct cli_command *command, const struct up *up)
{
	if (up->predictors < 0 || up->predictors > WORKERS_MAX || up->trainers < 0 || up->trainers > WORKERS_MAX)
		return cli_usage(command, "--predictors and --trainers are 0 to %d", WORKERS_MAX);
	if (up->data.count > DATA_MAX)
		return cli_usage(command, "at most %d --data folders", DATA_MAX);
	return 0;
}

int
cli_up(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	struct up *up = mmq_alloc(sizeof(*up));
	const struct cli_option options[] = {
		{ "predictors", "N", CLI_NUMBER, &up->predictors, "predictor processes; default: one per processor" },
		{ "trainers", "N", CLI_NUMBER, &up->trainers, "trainer processes; default 1" },
		{ "request", "ENDPOINT", CLI_TEXT, &up->request, "where to listen for requests; default: a socket file in the home" },
		{ "publish", "ENDPOINT", CLI_TEXT, &up->publish, "where to listen for pushed requests" },
		{ "sink", "ENDPOINT", CLI_TEXT, &up->sink, "where to publish results" },
		{ "work", "ENDPOINT", CLI_TEXT, &up->work, "where workers connect" },
		{ "data", "DIR", CLI_LIST, &up->data, "folder that training may read files from (may be given again); default: this one, none with --keys" },
		{ "keys", "DIR", CLI_TEXT, &up->keys, "CURVE keys and allow-list; needed for addresses beyond this machine" },
		{ "log-level", "LEVEL", CLI_TEXT, &up->log_level, "error, warn, info or debug; every other daemon option: MMQ_<NAME>=..." },
		{ NULL, NULL, CLI_FLAG, NULL, NULL },
	};
	int result = CLI_USAGE;

	up->predictors = sysconf(_SC_NPROCESSORS_ONLN) > WORKERS_MAX ? WORKERS_MAX : sysconf(_SC_NPROCESSORS_ONLN);
	up->trainers = 1;
	if (!cli_parse(cli, command, options, argc, argv, NULL, 0, 0, &result))
		goto out;
	if ((result = check_options(command, up)) != 0 || (result = find_daemons(up)) != 0 || (result = prepare_home(up, cli_home(cli))) != 0 ||
	    (result = lock_home(up)) != 0 ||
	    (result = prepare_keys(up)) != 0 || (result = join_data(up)) != 0)
		goto out;
	if (supervisor_init(&up->supervisor) == -1) {
		result = cli_say(CLI_ERROR, "cannot catch signals: %s", strerror(errno));
		goto out;
	}
	unsetenv("NOTIFY_SOCKET");
	mmq_cpu_set_blas_environment();
	add_children(up);
	result = run(cli, up);
out:
	cli_list_fini(&up->data);
	free(up);
	return result;
}
