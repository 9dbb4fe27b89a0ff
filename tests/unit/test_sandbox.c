/* test_sandbox.c: what work in a child does comes back, and what it breaks stays there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "trainer/sandbox.h"
#include "util/mem.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITIZED = 1 };
#else
enum { IS_SANITIZED = 0 };
#endif

static const struct mmq_sandbox plain = { .memory_bytes = (size_t)64 << 20, .cpu_s = 1 };

static int
writes(void *arg, int fd, struct mmq_err *err)
{
	(void)err;
	return write(fd, arg, 5) == 5 ? 0 : -1;
}

static int
refuses(void *arg, int fd, struct mmq_err *err)
{
	(void)arg;
	(void)fd;
	return mmq_err_value(err, MMQ_FAILED_PRECONDITION, "tree", "leaves", "apples");
}

static int crashes(void *arg, int fd, struct mmq_err *err) { (void)arg; (void)fd; (void)err; raise(SIGSEGV); return 0; }

static int
spins(void *arg, int fd, struct mmq_err *err)
{
	(void)fd;
	(void)err;
	for (volatile int *at = arg; *at >= 0;)
		*at = 1 - *at;
	return 0;
}

static int
hoards(void *arg, int fd, struct mmq_err *err)
{
	(void)arg;
	(void)fd;
	(void)err;
	for (int i = 0; i < 64; i++)
		memset(mmq_alloc(16 << 20), i, 16 << 20);
	return 0;
}

/* arg: a descriptor of the parent's. 0: it could do none of this. */
static int
reaches(void *arg, int fd, struct mmq_err *err)
{
	bool file = open("/etc/passwd", O_RDONLY) != -1, net = socket(AF_INET, SOCK_STREAM, 0) != -1, old = fcntl(*(int *)arg, F_GETFD) != -1;
	return file || net || old || fcntl(fd, F_GETFD) == -1 ? mmq_err_set(err, MMQ_INTERNAL, "file %d net %d old %d", file, net, old) : 0;
}

static bool never(void *arg) { (void)arg; return false; }

static int
run(const struct mmq_sandbox *sandbox, int (*work)(void *, int, struct mmq_err *), void *arg, struct mmq_err *err)
{
	char text[6] = "";
	int fd = memfd_create("out", MFD_CLOEXEC), result = mmq_sandbox_run(sandbox, work, arg, fd, err);

	if (work == writes) {
		assert_int_equal(pread(fd, text, 5, 0), 5);
		assert_string_equal(text, "hello");
	}
	close(fd);
	return result;
}

static void
test_results_and_errors_come_back(void **state)
{
	struct mmq_err err = { 0 };
	int fd = open("/dev/null", O_RDONLY);

	(void)state;
	assert_int_equal(run(&plain, writes, (void *)(uintptr_t)"hello", &err), 0);
	assert_int_equal(run(&plain, refuses, NULL, &err), -1);
	assert_int_equal(err.code, MMQ_FAILED_PRECONDITION);
	assert_string_equal(err.field, "tree");
	if (run(&plain, reaches, &fd, &err) == -1)
		fail_msg("%s", err.message);
	close(fd);
}

static void
test_what_it_breaks_stays_there(void **state)
{
	struct mmq_err err = { 0 };
	volatile int number = 0;
	struct mmq_sandbox impatient = plain;

	(void)state;
	assert_int_equal(run(&plain, crashes, NULL, &err), -1);
	assert_true(err.code == MMQ_INVALID_ARGUMENT);
	assert_int_equal(run(&plain, spins, (void *)(uintptr_t)&number, &err), -1);
	assert_int_equal(err.code, MMQ_RESOURCE_EXHAUSTED);
	assert_int_equal(number, 0);
	impatient.go_on = never;
	impatient.cpu_s = 100;
	assert_int_equal(run(&impatient, spins, (void *)(uintptr_t)&number, &err), -1);
	assert_int_equal(err.code, MMQ_CANCELLED);
	if (!IS_SANITIZED) {
		assert_int_equal(run(&plain, hoards, NULL, &err), -1);
		assert_int_equal(err.code, MMQ_RESOURCE_EXHAUSTED);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_results_and_errors_come_back),
		cmocka_unit_test(test_what_it_breaks_stays_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
