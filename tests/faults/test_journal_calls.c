/* test_journal_calls.c: the journal with a disk that fails, fills up, dies or loses what was not synced, at each of its system calls.
 *
 * The calls that change a disk are defined here and so come before libc's, for SQLite too. A child works on a fresh journal and
 * tells over a pipe what was acknowledged; its Nth call goes wrong. Then the journal is opened again: what was acknowledged is there,
 * byte for byte and with its one outcome, and nothing is there that was never sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/journal_helper.h"

enum mode { SOUND, FAIL, FULL, KILL_BEFORE, KILL_AFTER, POWER, SCATTER };   /* SCATTER: as POWER, and some of what was not synced is there */
enum { PUTS = 4, BODY = 3000, STRUCK = 1, REVIVED = 3 };   /* STRUCK becomes a dead letter, REVIVED one that is queued again */

static struct { enum mode mode; int at, calls; bool on; char shadow[64]; } fault;
static const char *base = "/tmp";   /* in memory where that is possible: what fails here fails by our hand, not the disk's */

/* Writes since the last sync of their file, in order. */
static struct { char file[64]; off_t at; size_t size; uint8_t *bytes; } loose[4096];
static size_t loose_count;

static const char *
file_of(int fd, char name_out[256])
{
	char link[64];
	ssize_t size;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	size = readlink(link, name_out, 255);
	name_out[size > 0 ? size : 0] = 0;
	return size > 0 ? strrchr(name_out, '/') + 1 : "";
}

static void
loose_keep(int fd, const void *bytes, size_t size, off_t at)
{
	char name[256];

	if (!fault.on || fault.mode != SCATTER || loose_count == sizeof loose / sizeof *loose)
		return;
	snprintf(loose[loose_count].file, sizeof loose[0].file, "%s", file_of(fd, name));
	loose[loose_count].at = at;
	loose[loose_count].size = size;
	loose[loose_count].bytes = malloc(size);
	memcpy(loose[loose_count++].bytes, bytes, size);
}

static void
loose_sync(int fd)
{
	char name[256];
	const char *file = file_of(fd, name);
	size_t kept = 0;

	for (size_t i = 0; i < loose_count; i++)
		if (strcmp(loose[i].file, file) == 0)
			free(loose[i].bytes);
		else
			loose[kept++] = loose[i];
	loose_count = kept;
}

/* The power is gone: every other of the loose writes, or so, made it, in whatever order. A file that was never synced has nothing. */
static void
loose_scatter(void)
{
	char path[400];

	for (size_t i = 0; i < loose_count; i++) {
		int fd;
		if (((i + (size_t)fault.at) * 2654435761u >> 7) % 2 == 0)
			continue;
		snprintf(path, sizeof path, "%s/%.63s", fault.shadow, loose[i].file);
		fd = open(path, O_WRONLY);
		if (fd == -1)
			continue;
		syscall(SYS_pwrite64, fd, loose[i].bytes, loose[i].size, loose[i].at);
		close(fd);
	}
}

static int
number(int fd, const char *path)
{
	char link[64], name[256];
	ssize_t size = 0;

	if (!fault.on)
		return 0;
	if (path == NULL) { /* pipes and the like are nobody's disk */
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		size = readlink(link, name, sizeof name - 1);
		if (size <= 0 || memcmp(name, base, strlen(base)) != 0)
			return 0;
	}
	if (++fault.calls != fault.at)
		return 0;
	if (fault.mode == SCATTER)
		loose_scatter();
	if (fault.mode == KILL_BEFORE || fault.mode == POWER || fault.mode == SCATTER)
		syscall(SYS_exit_group, 9);
	return fault.mode == FAIL ? EIO : fault.mode == FULL ? ENOSPC : 0;
}

static long
after(long result)
{
	if (fault.on && fault.calls == fault.at && fault.mode == KILL_AFTER)
		syscall(SYS_exit_group, 9);
	return result;
}

#define GUARD(fd, path) do { int error_number = number(fd, path); if (error_number != 0) { errno = error_number; return -1; } } while (0)

/* What is synced is what a power failure leaves: a copy of each file as it was at its last sync. */
static void
shadow_keep(int fd)
{
	char link[64], name[256], path[400], bytes[65536];
	ssize_t size;
	off_t at = 0;
	int out;

	if (!fault.on || (fault.mode != POWER && fault.mode != SCATTER))
		return;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	size = readlink(link, name, sizeof name - 1);
	if (size <= 0)
		return;
	name[size] = 0;
	snprintf(path, sizeof path, "%s/%s", fault.shadow, strrchr(name, '/') + 1);
	out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	while (out != -1 && (size = pread(fd, bytes, sizeof bytes, at)) > 0) {
		syscall(SYS_write, out, bytes, size);
		at += size;
	}
	if (out != -1)
		close(out);
}

/* The folder is synced after a removal. */
static void
shadow_drop(const char *name)
{
	char path[400];

	if (!fault.on || (fault.mode != POWER && fault.mode != SCATTER))
		return;
	snprintf(path, sizeof path, "%s/%s", fault.shadow, strrchr(name, '/') + 1);
	syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

ssize_t write(int fd, const void *bytes, size_t size);
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at);
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at);
ssize_t write(int fd, const void *bytes, size_t size) { GUARD(fd, NULL); return after(syscall(SYS_write, fd, bytes, size)); }
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) { GUARD(fd, NULL); loose_keep(fd, bytes, size, at); return after(syscall(SYS_pwrite64, fd, bytes, size, at)); }
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) { GUARD(fd, NULL); loose_keep(fd, bytes, size, at); return after(syscall(SYS_pwrite64, fd, bytes, size, at)); }
int ftruncate(int fd, off_t size) { GUARD(fd, NULL); return (int)after(syscall(SYS_ftruncate, fd, size)); }
int ftruncate64(int fd, off64_t size) { GUARD(fd, NULL); return (int)after(syscall(SYS_ftruncate, fd, size)); }
int unlink(const char *path) { GUARD(-1, path); shadow_drop(path); return (int)after(syscall(SYS_unlinkat, AT_FDCWD, path, 0)); }
int rename(const char *from, const char *to) { GUARD(-1, from); return (int)after(syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to)); }
int fsync(int fd) { GUARD(fd, NULL); long result = syscall(SYS_fsync, fd); shadow_keep(fd); loose_sync(fd); return (int)after(result); }
int fdatasync(int fd) { GUARD(fd, NULL); long result = syscall(SYS_fdatasync, fd); shadow_keep(fd); loose_sync(fd); return (int)after(result); }

/* ---- The child's work -------------------------------------------------------------------------------------------- */

static const char *
body_of(int i)
{
	static char text[BODY + 1];

	memset(text, 'a' + i, BODY);
	return text;
}

static struct mmq_journal_event
done(struct mmq_journal *journal, struct mmq_journal_command *command)
{
	struct mmq_journal_event event;

	command->ticket = 7;
	mmq_journal_sqlite.submit(journal, command, 1);
	while (mmq_journal_sqlite.poll(journal, &event, 1) == 0) {
		fd_set set;
		int fd = mmq_journal_sqlite.fd(journal);

		FD_ZERO(&set);
		FD_SET(fd, &set);
		select(fd + 1, &set, NULL, NULL, NULL);
	}
	return event;
}

/* True and told up the pipe: the command was acknowledged. */
static bool
told(struct mmq_journal *journal, struct mmq_journal_command *command, int out, char what, int i)
{
	struct mmq_journal_event event = done(journal, command);
	char said[2] = { what, (char)i };

	if (event.status != MMQ_JOURNAL_OK)
		return false;
	syscall(SYS_write, out, said, 2);
	return true;
}

static struct mmq_journal_command
grant_of(int i)
{
	struct mmq_journal_command grant = { .verb = MMQ_GRANT };

	memcpy(grant.row.tenant, "default", 8);
	memcpy(grant.row.model, "m", 2);
	memset(grant.row.job, 'a' + i, sizeof(grant.row.job));
	return grant;
}

/* Strikes, an end that keeps its body, and for one of them the way back. */
static void
kill_and_revive(struct mmq_journal *journal, uint64_t seq, int i, int out)
{
	struct mmq_journal_command strike = { .verb = MMQ_STRIKE, .row = { .seq = seq, .strikes = 3, .attempt = 3 } };
	struct mmq_journal_command end = journal_test_outcome(seq, "gave up"), revive = { .verb = MMQ_REVIVE, .row = { .seq = seq, .strikes = 3 } };

	end.row.state = MMQ_JOB_FAILED;
	end.row.code = MMQ_INTERNAL;
	end.row.keep = true;
	if (told(journal, &strike, out, 's', i) && told(journal, &end, out, 'd', i) && i == REVIVED)
		told(journal, &revive, out, 'r', i);
}

/* Puts, grants, strikes and ends. A letter and i go up the pipe when they are acknowledged: p put, o outcome, s strike, d dead, r revived, g granted. */
static void
work(const char *path, int out)
{
	struct mmq_journal_options options = { .path = path, .free_bytes_min = 1, .reserve_bytes = 65536 };
	struct mmq_journal_info info;
	struct mmq_journal *journal;
	struct mmq_err err;
	uint64_t seqs[PUTS];

	fault.on = true;
	if (mmq_journal_sqlite.open(&journal, &options, &info, &err) == -1)
		syscall(SYS_exit_group, 3);
	for (int i = 0; i < PUTS; i++) {
		struct mmq_journal_command put = journal_test_put(i, body_of(i));
		struct mmq_journal_event event = done(journal, &put);
		char said[2] = { 'p', (char)i };

		if (event.status != MMQ_JOURNAL_OK)
			continue;
		seqs[i] = event.seq;
		syscall(SYS_write, out, said, 2);
		struct mmq_journal_command grant = grant_of(i);
		told(journal, &grant, out, 'g', i);
		if (i == STRUCK || i == REVIVED)
			kill_and_revive(journal, seqs[i], i, out);
		if (i % 2 == 0) {
			struct mmq_journal_command end = journal_test_outcome(seqs[i], "the answer");
			event = done(journal, &end);
			said[0] = 'o';
			if (event.status == MMQ_JOURNAL_OK)
				syscall(SYS_write, out, said, 2);
		}
	}
	mmq_journal_sqlite.close(&journal);
	fault.on = false;
}

static struct mmq_journal_event
asked(struct mmq_journal *journal, struct mmq_journal_read read)
{
	struct mmq_journal_event event;

	read.ticket = 9;
	mmq_journal_sqlite.read(journal, &read);
	while (mmq_journal_sqlite.poll(journal, &event, 1) == 0) {
		fd_set set;
		int fd = mmq_journal_sqlite.fd(journal);

		FD_ZERO(&set);
		FD_SET(fd, &set);
		select(fd + 1, &set, NULL, NULL, NULL);
	}
	return event;
}

/* Open what was left and hold it against what was acknowledged. */
static void
look(const char *path, bool said[128][PUTS], int at)
{
	struct mmq_journal_options options = { .path = path, .free_bytes_min = 1, .reserve_bytes = 65536 };
	struct mmq_journal_info info;
	struct mmq_journal *journal;
	struct mmq_err err;

	if (mmq_journal_sqlite.open(&journal, &options, &info, &err) == -1)
		fail_msg("call %d: cannot be opened again: %s", at, err.message);
	for (int i = 0; i < PUTS; i++) {
		struct mmq_journal_command like = journal_test_put(i, body_of(i));
		struct mmq_journal_read find = { .query = MMQ_READ_FIND, .row = like.row, .with_answer = true };
		struct mmq_journal_event event = asked(journal, find), body;
		bool is_there = event.page->count == 1;

		if (said['p'][i] && !is_there)
			fail_msg("call %d: put %d was acknowledged and is gone", at, i);
		if (said['d'][i] && !said['r'][i])   /* it may have been revived without being told so, but never lost */
			assert_true(event.page->rows[0].strikes == 3 || (i == REVIVED && event.page->rows[0].state == MMQ_JOB_QUEUED));
		if (said['r'][i])
			assert_true(event.page->rows[0].state == MMQ_JOB_QUEUED && event.page->rows[0].strikes == 0 && event.page->rows[0].result_seq == 0);
		if (is_there && said['o'][i])
			assert_true(event.page->rows[0].result_seq != 0 && event.page->rows[0].state == MMQ_JOB_DONE);
		if (is_there && (event.page->rows[0].result_seq == 0 || said['d'][i])) {
			body = asked(journal, (struct mmq_journal_read){ .query = MMQ_READ_BODY, .row.seq = event.page->rows[0].seq });
			assert_int_equal(body.page->count, 1);
			assert_int_equal(body.page->rows[0].body->size, BODY);
			assert_memory_equal(body.page->rows[0].body->bytes, body_of(i), BODY);
			mmq_journal_sqlite.release(&body);
		}
		mmq_journal_sqlite.release(&event);
	}
	/* Numbers that were granted stay whose they are, and are nobody else's. */
	uint32_t highest = 0;
	for (int i = 0; i < PUTS; i++) {
		struct mmq_journal_command grant = grant_of(i);
		struct mmq_journal_event event;

		if (!said['g'][i])
			continue;
		event = done(journal, &grant);
		assert_int_equal(event.status, MMQ_JOURNAL_OK);
		assert_true(event.number > highest && event.number <= PUTS);
		highest = event.number;
	}
	struct mmq_journal_command other = grant_of(PUTS);
	assert_true(done(journal, &other).number > highest);
	assert_int_equal(mmq_journal_sqlite.damaged(journal), 0);
	mmq_journal_sqlite.close(&journal);
}

/* One run with its Nth call gone wrong. False: there was no Nth call. */
static bool
run(enum mode mode, int at)
{
	char folder[32], path[96], command[128], word[2];
	bool said[128][PUTS] = { { false } };
	int ends[2], status;
	pid_t child;

	snprintf(folder, sizeof(folder), "%s/mmq-calls-XXXXXX", base);
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/journal.db", folder);
	snprintf(fault.shadow, sizeof fault.shadow, "%s/shadow", folder);
	assert_int_equal(mkdir(fault.shadow, 0700), 0);
	assert_int_equal(pipe(ends), 0);
	fault.mode = mode;
	fault.at = at;
	fault.calls = 0;
	child = fork();
	if (child == 0) {
		close(ends[0]);
		work(path, ends[1]);
		syscall(SYS_exit_group, fault.calls >= at ? 4 : 0);
	}
	close(ends[1]);
	while (read(ends[0], word, 2) == 2)
		said[(int)word[0]][(int)word[1]] = true;
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	fault.mode = SOUND;
	bool is_power = mode == POWER || mode == SCATTER;
	if (is_power)
		snprintf(path, sizeof path, "%s/journal.db", fault.shadow);
	if (!is_power || access(path, F_OK) == 0)
		look(path, said, at);
	else
		for (int i = 0; i < PUTS; i++)
			assert_false(said['p'][i]);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	assert_int_equal(system(command), 0);
	return WEXITSTATUS(status) != 0;
}

static int
all(enum mode mode, int step)
{
	int at = 1;

	while (run(mode, at))
		at += step;
	return at - 1;
}

static void test_a_failed_call_loses_nothing_acknowledged(void **state) { (void)state; assert_true(all(FAIL, 1) > 20); }
static void test_a_full_disk_at_a_call_loses_nothing_acknowledged(void **state) { (void)state; assert_true(all(FULL, 1) > 20); }
static void test_a_kill_before_a_call_loses_nothing_acknowledged(void **state) { (void)state; assert_true(all(KILL_BEFORE, 1) > 20); }
static void test_a_kill_after_a_call_loses_nothing_acknowledged(void **state) { (void)state; assert_true(all(KILL_AFTER, 1) > 20); }
static void test_a_power_failure_at_a_call_keeps_what_was_synced(void **state) { (void)state; assert_true(all(POWER, 1) > 20); }
static void test_what_was_not_synced_may_be_there_in_pieces(void **state) { (void)state; assert_true(all(SCATTER, 1) > 20); }

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_failed_call_loses_nothing_acknowledged),
		cmocka_unit_test(test_a_full_disk_at_a_call_loses_nothing_acknowledged),
		cmocka_unit_test(test_a_kill_before_a_call_loses_nothing_acknowledged),
		cmocka_unit_test(test_a_kill_after_a_call_loses_nothing_acknowledged),
		cmocka_unit_test(test_a_power_failure_at_a_call_keeps_what_was_synced),
		cmocka_unit_test(test_what_was_not_synced_may_be_there_in_pieces),
	};

	if (access("/dev/shm", W_OK) == 0)
		base = "/dev/shm";
	return cmocka_run_group_tests(tests, NULL, NULL);
}
