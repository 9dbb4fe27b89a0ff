/* sandbox.c: fork, bounds, work, and the error back through a pipe. The child is of this same program, so the error crosses as it lies in
 * memory; the end of the pipe is the end of the child. */
#include "trainer/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ASK_EVERY_MS = 50 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { BOUNDS_MEMORY = 0 };   /* their shadow memory takes terabytes of addresses */
#else
enum { BOUNDS_MEMORY = 1 };
#endif

/* Bytes of addresses that this process has now. */
static size_t
mapped_bytes(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	if (file == NULL)
		return 0;
	int got = fscanf(file, "%lu", &pages);
	fclose(file);
	return got == 1 ? pages * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

static void
bound(int what, rlim_t most)
{
	const struct rlimit limit = { most, most };
	setrlimit(what, &limit);   /* only lowers; a refusal leaves a stricter one in place */
}

/* All descriptors but 2 (for a last word) and these two. */
static void
close_others(int a, int b)
{
	unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a);
	close(0);
	close(1);
	if (low > 3)
		close_range(3, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0u, 0);
}

static void
child(const struct mmq_sandbox *sandbox, size_t mapped, int (*work)(void *, int, struct mmq_err *), void *work_arg, int fd, int out)
{
	static const int own[] = { SIGTERM, SIGINT, SIGHUP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	struct mmq_err err = { 0 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		signal(own[i], SIG_DFL);   /* whatever this program does about them */
	close_others(fd, out);
	bound(RLIMIT_CORE, 0);
	bound(RLIMIT_NOFILE, 0);
	bound(RLIMIT_NPROC, 0);
	bound(RLIMIT_CPU, sandbox->cpu_s);
	if (BOUNDS_MEMORY && mapped > 0)
		bound(RLIMIT_AS, mapped + sandbox->memory_bytes);
	if (work(work_arg, fd, &err) == 0)
		err = (struct mmq_err){ .code = MMQ_OK };
	ssize_t ignored = write(out, &err, sizeof(err));
	(void)ignored;
	_exit(0);
}

/* Whole: the child's error came. */
static bool
receive(const struct mmq_sandbox *sandbox, pid_t pid, int in, struct mmq_err *from_child, bool *cancelled)
{
	size_t got = 0;

	*cancelled = false;
	while (got < sizeof(*from_child)) {
		struct pollfd ready = { .fd = in, .events = POLLIN };
		int count = poll(&ready, 1, ASK_EVERY_MS);
		if (!*cancelled && sandbox->go_on != NULL && !sandbox->go_on(sandbox->arg)) {
			*cancelled = true;
			kill(pid, SIGKILL);
		}
		if (count <= 0)
			continue;
		ssize_t size = read(in, (char *)from_child + got, sizeof(*from_child) - got);
		if (size <= 0)
			return false;
		got += (size_t)size;
	}
	return true;
}

static int
explain(const struct mmq_sandbox *sandbox, int status, struct mmq_err *err)
{
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (number == SIGXCPU || number == SIGKILL)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "reading it takes more than %u s of processor time", sandbox->cpu_s);
	if (number == SIGABRT)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "reading it takes more than %zu MiB of memory", sandbox->memory_bytes >> 20);
	return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "reading it failed with signal %d; it was contained", number);
}

int
mmq_sandbox_run(const struct mmq_sandbox *sandbox, int (*work)(void *work_arg, int fd, struct mmq_err *err), void *work_arg, int fd,
    struct mmq_err *err)
{
	struct mmq_err from_child;
	size_t mapped = mapped_bytes();
	bool cancelled;
	int ends[2], status = 0;

	if (pipe2(ends, O_CLOEXEC) == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid == -1) {
		close(ends[0]);
		close(ends[1]);
		return mmq_err_set(err, MMQ_UNAVAILABLE, "fork: %s", strerror(errno));
	}
	if (pid == 0)
		child(sandbox, mapped, work, work_arg, fd, ends[1]);
	close(ends[1]);
	bool whole = receive(sandbox, pid, ends[0], &from_child, &cancelled);
	close(ends[0]);
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		continue;
	if (cancelled)
		return mmq_err_set(err, MMQ_CANCELLED, "stopped");
	if (!whole)
		return explain(sandbox, status, err);
	if (from_child.code == MMQ_OK)
		return 0;
	/* The child read a stranger's file: its texts end where they may. */
	from_child.message[sizeof(from_child.message) - 1] = from_child.field[sizeof(from_child.field) - 1] = '\0';
	from_child.got[sizeof(from_child.got) - 1] = from_child.want[sizeof(from_child.want) - 1] = '\0';
	*err = from_child;
	return -1;
}
