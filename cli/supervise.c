/* supervise.c: the children of `modelmq up`.
 *
 * One loop over a pipe of signals, the ready pipes and the next restart. A child that dies is started again after 0.1 s,
 * doubling up to 30 s while it keeps dying; one whose configuration is wrong is not, since it would say the same again.
 * Children get TERM from the kernel when this process dies, however it dies. */
#include "cli/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "util/clock.h"

enum { BACK_OFF_MS = 100, BACK_OFF_MS_MAX = 30000, HEALTHY_US = 10000000 };

static int signal_pipe[2] = { -1, -1 };

static void
on_signal(int number)
{
	int keep = errno;
	char byte = number == SIGCHLD ? 'C' : number == SIGHUP ? 'H' : 'T';

	if (write(signal_pipe[1], &byte, 1) == -1)
		errno = keep;   /* full of signals already */
	errno = keep;
}

int
supervisor_init(struct supervisor *supervisor)
{
	const int numbers[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	memset(supervisor, 0, sizeof(*supervisor));
	if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) == -1)
		return -1;
	supervisor->signal_fd = signal_pipe[0];
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (sigaction(numbers[i], &action, NULL) == -1)
			return -1;
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

struct child *
supervisor_add(struct supervisor *supervisor, const char *name, int rank)
{
	struct child *child = &supervisor->children[supervisor->count++];

	*child = (struct child){ .name = name, .rank = rank, .ready_fd = -1 };
	return child;
}

void
child_arg(struct child *child, const char *arg)
{
	for (size_t i = 0; i + 5 < CHILD_ARGS_MAX; i++) {
		if (child->args[i] == NULL) {
			child->args[i] = arg;
			return;
		}
	}
	abort();   /* more arguments than the table of options can make */
}

/* In the child: never returns. */
static void
child_exec(const struct child *child, pid_t parent, int ready_fd)
{
	const char *args[CHILD_ARGS_MAX];
	char ready_text[16], parent_text[16];
	size_t count = 0;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(CLI_ERROR);
	/* Ctrl-C goes to the whole group of the terminal; the order of stopping is ours. */
	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	fcntl(ready_fd, F_SETFD, 0);
	for (; child->args[count] != NULL; count++)
		args[count] = child->args[count];
	snprintf(ready_text, sizeof(ready_text), "%d", ready_fd);
	snprintf(parent_text, sizeof(parent_text), "%d", (int)parent);
	const char *const more[] = { "--ready-fd", ready_text, "--parent-pid", parent_text, NULL };
	memcpy(args + count, more, sizeof(more));
	execv(args[0], (char **)args);
	fprintf(stderr, "modelmq: cannot start %s: %s\n", args[0], strerror(errno));
	_exit(CLI_CONFIG);
}

static void
child_start(struct child *child)
{
	int ready[2];
	pid_t parent = getpid();

	child->start_again_us = 0;
	child->started_us = mmq_clock_mono_us();
	child->is_ready = false;
	if (pipe2(ready, O_CLOEXEC) == -1) {
		child->start_again_us = child->started_us + 1000000;
		return;
	}
	child->pid = fork();
	if (child->pid == 0)
		child_exec(child, parent, ready[1]);
	close(ready[1]);
	if (child->pid == -1) {
		cli_say(0, "cannot fork for the %s: %s", child->name, strerror(errno));
		child->pid = 0;
		child->start_again_us = child->started_us + 1000000;
		close(ready[0]);
		return;
	}
	child->ready_fd = ready[0];
}

void
supervisor_start(struct supervisor *supervisor, int rank_max)
{
	for (size_t i = 0; i < supervisor->count; i++) {
		struct child *child = &supervisor->children[i];
		if (child->rank <= rank_max && child->pid == 0 && child->start_again_us == 0 && !child->is_given_up)
			child_start(child);
	}
}

static void
close_ready(struct child *child)
{
	if (child->ready_fd != -1)
		close(child->ready_fd);
	child->ready_fd = -1;
}

/* A child has left: say so and plan its next start. Its exit code when it must not be started again, else 0. */
static int
child_left(struct child *child, int status, bool is_stopping)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	int64_t now_us = mmq_clock_mono_us();
	char how[64];

	child->pid = 0;
	child->is_ready = false;
	close_ready(child);
	if (is_stopping)
		return 0;
	if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(how, sizeof(how), "left with exit code %d", code);
	if (code == CLI_CONFIG || code == CHILD_CONFIG_EXIT_OLD) {
		child->is_given_up = true;
		cli_say(0, "the %s %s: its configuration is wrong, it is not started again", child->name, how);
		return CLI_CONFIG;
	}
	if (now_us - child->started_us > HEALTHY_US)
		child->failures = 0;
	int64_t wait_ms = child->failures < 9 ? (int64_t)BACK_OFF_MS << child->failures : BACK_OFF_MS_MAX;
	wait_ms = wait_ms > BACK_OFF_MS_MAX ? BACK_OFF_MS_MAX : wait_ms;
	child->failures++;
	child->start_again_us = now_us + wait_ms * 1000;
	cli_say(0, "the %s %s; starting it again in %.1f s", child->name, how, (double)wait_ms / 1000);
	return 0;
}

static int
reap(struct supervisor *supervisor)
{
	int status, result = 0;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < supervisor->count; i++)
			if (supervisor->children[i].pid == pid) {
				int code = child_left(&supervisor->children[i], status, supervisor->is_stopping);
				result = code != 0 ? code : result;
			}
	return result;
}

static void
send_all(struct supervisor *supervisor, int rank, int number)
{
	for (size_t i = 0; i < supervisor->count; i++)
		if (supervisor->children[i].pid != 0 && (rank == -1 || supervisor->children[i].rank == rank))
			kill(supervisor->children[i].pid, number);
}

static int
take_signals(struct supervisor *supervisor)
{
	char bytes[64];
	ssize_t count;
	int result = 0;

	while ((count = read(supervisor->signal_fd, bytes, sizeof(bytes))) > 0) {
		if (memchr(bytes, 'T', (size_t)count) != NULL)
			supervisor->is_stopping = true;
		if (memchr(bytes, 'H', (size_t)count) != NULL)
			send_all(supervisor, -1, SIGHUP);
		if (memchr(bytes, 'C', (size_t)count) != NULL)
			result = reap(supervisor);
	}
	return result;
}

static void
take_ready(struct child *child)
{
	char bytes[16];
	ssize_t count = read(child->ready_fd, bytes, sizeof(bytes));

	if (count > 0)
		child->is_ready = true;
	close_ready(child);
}

/* Wait for signals, ready lines or until_us; then start what is due. */
static int
one_turn(struct supervisor *supervisor, int64_t until_us)
{
	struct pollfd fds[CHILDREN_MAX + 1] = { { .fd = supervisor->signal_fd, .events = POLLIN } };
	struct child *owners[CHILDREN_MAX + 1];
	nfds_t count = 1;
	int result = 0;

	for (size_t i = 0; i < supervisor->count; i++) {
		struct child *child = &supervisor->children[i];
		if (child->start_again_us != 0 && child->start_again_us < until_us)
			until_us = child->start_again_us;
		if (child->ready_fd == -1)
			continue;
		owners[count] = child;
		fds[count++] = (struct pollfd){ .fd = child->ready_fd, .events = POLLIN };
	}
	int64_t left_us = until_us == INT64_MAX ? -1 : until_us - mmq_clock_mono_us();
	if (poll(fds, count, until_us == INT64_MAX ? -1 : left_us <= 0 ? 0 : (int)((left_us + 999) / 1000)) > 0) {
		for (nfds_t i = 1; i < count; i++)
			if (fds[i].revents != 0)
				take_ready(owners[i]);
		if (fds[0].revents != 0)
			result = take_signals(supervisor);
	}
	int64_t now_us = mmq_clock_mono_us();
	for (size_t i = 0; i < supervisor->count && !supervisor->is_stopping; i++)
		if (supervisor->children[i].start_again_us != 0 && supervisor->children[i].start_again_us <= now_us)
			child_start(&supervisor->children[i]);
	return result;
}

bool
supervisor_is_ready(const struct supervisor *supervisor, int rank_max)
{
	for (size_t i = 0; i < supervisor->count; i++)
		if (supervisor->children[i].rank <= rank_max && !supervisor->children[i].is_ready)
			return false;
	return true;
}

int
supervisor_run(struct supervisor *supervisor, bool until_ready, int rank_max, int timeout_ms)
{
	int64_t until_us = timeout_ms < 0 ? INT64_MAX : mmq_clock_mono_us() + (int64_t)timeout_ms * 1000;

	while (!supervisor->is_stopping && !(until_ready && supervisor_is_ready(supervisor, rank_max))) {
		int result = one_turn(supervisor, until_us);
		if (result != 0)
			return result;
		if (mmq_clock_mono_us() >= until_us)
			break;
	}
	return 0;
}

static bool
is_running(const struct supervisor *supervisor, int rank)
{
	for (size_t i = 0; i < supervisor->count; i++)
		if (supervisor->children[i].rank == rank && supervisor->children[i].pid != 0)
			return true;
	return false;
}

void
supervisor_stop(struct supervisor *supervisor, int grace_ms)
{
	int rank = 0;

	supervisor->is_stopping = true;
	for (size_t i = 0; i < supervisor->count; i++) {
		supervisor->children[i].start_again_us = 0;
		rank = supervisor->children[i].rank > rank ? supervisor->children[i].rank : rank;
	}
	for (; rank >= 0; rank--) {
		int64_t until_us = mmq_clock_mono_us() + (int64_t)grace_ms * 1000;
		send_all(supervisor, rank, SIGTERM);
		while (is_running(supervisor, rank) && mmq_clock_mono_us() < until_us)
			one_turn(supervisor, until_us);
		if (!is_running(supervisor, rank))
			continue;
		send_all(supervisor, rank, SIGKILL);
		while (is_running(supervisor, rank))
			one_turn(supervisor, INT64_MAX);
	}
}
