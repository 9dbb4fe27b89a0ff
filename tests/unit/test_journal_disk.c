/* test_journal_disk.c: what a disk and a crash can do to the SQLite journal: kill -9, torn tails, flipped bits, no space, I/O
 * errors, newer formats. Faults come through SQLite's own table of system calls, so the code under test is the real one. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "tests/unit/journal_helper.h"
#include "util/clock.h"
#include "util/mem.h"

static uint8_t *
read_file(const char *path, size_t *size_out)
{
	FILE *file = fopen(path, "rb");
	struct stat st;

	if (file == NULL || fstat(fileno(file), &st) == -1)
		abort();
	uint8_t *bytes = mmq_alloc((size_t)st.st_size + 1);
	*size_out = fread(bytes, 1, (size_t)st.st_size, file);
	fclose(file);
	return bytes;
}

static void
write_file(const char *path, const uint8_t *bytes, size_t size)
{
	FILE *file = fopen(path, "wb");

	if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
		abort();
}

/* The process that is going to be killed: puts and ends requests for ever, and says what was acknowledged, after it was. */
static void
writer_run(const char *folder, int pipe_fd)
{
	struct journal_test *test = journal_test_open(&mmq_journal_sqlite, folder);

	for (int number = 0;; number += 8) {
		struct mmq_journal_command commands[8];
		struct mmq_journal_event events[8];
		for (int i = 0; i < 8; i++)
			commands[i] = journal_test_put(number + i, "a body that has to survive");
		test->ops->submit(test->journal, commands, 8);
		journal_test_wait(test, events, 8);
		struct mmq_journal_command outcome = journal_test_outcome(events[0].seq, "an answer that has to survive");
		struct mmq_journal_event ended = journal_test_do(test, &outcome);
		uint64_t said[9];
		for (int i = 0; i < 8; i++)
			said[i] = events[i].seq;
		said[8] = ended.result_seq;
		if (write(pipe_fd, said, sizeof(said)) != sizeof(said))
			_exit(0);
	}
}

/* Run the writer and kill it after that many rounds were acknowledged and some microseconds more; the sequence numbers it said. */
static size_t
kill_writer(const char *folder, size_t rounds, useconds_t later_us, uint64_t (*said)[9])
{
	int fds[2];
	size_t count = 0;

	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0)
		writer_run(folder, fds[1]);
	close(fds[1]);
	while (count < rounds && read(fds[0], said[count], sizeof(said[0])) == sizeof(said[0]))
		count++;
	struct timespec moment = { .tv_nsec = (long)later_us * 1000 };
	nanosleep(&moment, NULL);   /* the kill is to fall anywhere within a write */
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (count < rounds + 64 && read(fds[0], said[count], sizeof(said[0])) == sizeof(said[0]))
		count++;
	close(fds[0]);
	return count;
}

static void
expect_all(struct journal_test *test, uint64_t (*said)[9], size_t count)
{
	for (size_t i = 0; i < count * 8; i++) {
		uint64_t seq = said[i / 8][i % 8];
		struct mmq_journal_event event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_BODY, .row.seq = seq });
		assert_int_equal(event.page->status, MMQ_JOURNAL_OK);
		if (i % 8 == 0) {
			assert_int_equal(event.page->rows[0].state, MMQ_JOB_DONE);
			assert_int_equal(event.page->rows[0].result_seq, said[i / 8][8]);
		} else {
			assert_memory_equal(event.page->rows[0].body->bytes, "a body that has to survive", 26);
		}
		test->ops->release(&event);
	}
}

static void
test_kill_keeps_what_was_acknowledged(void **state)
{
	(void)state;
	for (unsigned trial = 0; trial < 6; trial++) {
		char folder[] = "/tmp/mmq-journal-XXXXXX";
		uint64_t said[128][9];
		assert_non_null(mkdtemp(folder));
		size_t count = kill_writer(folder, 4 + trial, trial * 137 % 900, said);
		assert_true(count >= 4);
		struct journal_test *test = journal_test_open(&mmq_journal_sqlite, folder);
		assert_int_equal(test->info.start, 2);
		expect_all(test, said, count);
		struct mmq_journal_command put = journal_test_put(900000, "after");
		assert_true(journal_test_do(test, &put).seq > said[count - 1][8]);   /* numbers go on, none twice */
		journal_test_close(test, true);
	}
}

/* A log that was cut anywhere: some first batches are there, whole, and nothing else. */
static void
test_a_torn_tail_leaves_whole_batches(void **state)
{
	(void)state;
	char folder[] = "/tmp/mmq-journal-XXXXXX", path[96], wal[96], copy[] = "/tmp/mmq-journal-XXXXXX";
	uint64_t said[128][9];
	size_t db_size, wal_size, longest = 0;

	assert_non_null(mkdtemp(folder));
	assert_non_null(mkdtemp(copy));
	size_t count = kill_writer(folder, 5, 0, said);
	snprintf(path, sizeof(path), "%s/journal.db", folder);
	snprintf(wal, sizeof(wal), "%s/journal.db-wal", folder);
	uint8_t *db_bytes = read_file(path, &db_size), *wal_bytes = read_file(wal, &wal_size);
	for (int cut = 0; cut <= 12; cut++) {
		char command[128];
		snprintf(command, sizeof(command), "rm -f %s/*", copy);
		assert_int_equal(system(command), 0);
		snprintf(path, sizeof(path), "%s/journal.db", copy);
		snprintf(wal, sizeof(wal), "%s/journal.db-wal", copy);
		write_file(path, db_bytes, db_size);
		write_file(wal, wal_bytes, wal_size - wal_size * (size_t)cut / 12);
		struct journal_test *test = journal_test_open(&mmq_journal_sqlite, copy);
		size_t kept = 0;
		for (; kept < count; kept++) {
			struct mmq_journal_event event = journal_test_read(test,
			    &(struct mmq_journal_read){ .query = MMQ_READ_BODY, .row.seq = said[kept][7] });
			bool is_there = event.page->count == 1;
			assert_true(is_there || event.page->status == MMQ_JOURNAL_MISSING);
			test->ops->release(&event);
			if (!is_there)
				break;
		}
		assert_true(cut > 0 || kept == count);
		for (size_t i = kept; i < count; i++) {
			struct mmq_journal_event event = journal_test_read(test,
			    &(struct mmq_journal_read){ .query = MMQ_READ_BODY, .row.seq = said[i][1] });
			assert_int_equal(event.page->count, 0);
			test->ops->release(&event);
		}
		longest = kept > longest ? kept : longest;
		journal_test_close(test, false);
	}
	assert_int_equal(longest, count);
	free(db_bytes);
	free(wal_bytes);
	char command[256];
	snprintf(command, sizeof(command), "rm -rf %s %s", folder, copy);
	assert_int_equal(system(command), 0);
}

/* Change one letter of each kind of text that lies in the file; the row is named and left out, the others are as they were. */
static void
test_a_flipped_bit_is_found_and_named(void **state)
{
	(void)state;
	const char *const marks[] = { "body-of-two", "answer-of-two", "message-of-two", "id002", "iris-of-two" };

	for (size_t m = 0; m < sizeof(marks) / sizeof(marks[0]); m++) {
		struct journal_test *test = journal_test_open(&mmq_journal_sqlite, NULL);
		uint64_t seqs[4];
		char folder[64], path[96];
		size_t size;
		for (int i = 1; i <= 3; i++) {
			struct mmq_journal_command put = journal_test_put(i, i == 2 ? "body-of-two" : "body-of-another");
			put.row.keep = true;
			if (i == 2)
				snprintf(put.row.model, sizeof(put.row.model), "iris-of-two");
			seqs[i] = journal_test_do(test, &put).seq;
			struct mmq_journal_command outcome = journal_test_outcome(seqs[i], i == 2 ? "answer-of-two" : "answer-of-another");
			snprintf(outcome.row.message, sizeof(outcome.row.message), i == 2 ? "message-of-two" : "message");
			journal_test_do(test, &outcome);
		}
		snprintf(folder, sizeof(folder), "%s", test->folder);
		snprintf(path, sizeof(path), "%s", test->path);
		journal_test_close(test, false);
		uint8_t *bytes = read_file(path, &size);
		size_t hits = 0;
		for (uint8_t *at = bytes; (at = memmem(at, size - (size_t)(at - bytes), marks[m], strlen(marks[m]))) != NULL; at++, hits++)
			at[1] ^= 1;
		assert_true(hits > 0);
		write_file(path, bytes, size);
		free(bytes);

		test = journal_test_open(&mmq_journal_sqlite, folder);
		struct mmq_journal_read read = { .query = MMQ_READ_RESULTS, .row.tenant = "default", .prefix = "result/" };
		struct mmq_journal_event event = journal_test_read(test, &read);
		bool is_body = strcmp(marks[m], "body-of-two") == 0;   /* results do not read bodies */
		assert_int_equal(event.page->count, is_body ? 3 : 2);
		for (uint32_t i = 0; i < event.page->count; i++)
			assert_true(is_body || event.page->rows[i].seq != seqs[2]);
		test->ops->release(&event);
		event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_BODY, .row.seq = seqs[2] });
		bool is_answer = strcmp(marks[m], "answer-of-two") == 0;   /* and this does not read answers */
		assert_int_equal(event.page->status, is_answer ? MMQ_JOURNAL_OK : MMQ_JOURNAL_DAMAGED);
		assert_int_equal(event.page->count, is_answer);
		char name[32];
		snprintf(name, sizeof(name), "request %llu", (unsigned long long)seqs[2]);
		assert_true(is_answer || strstr(event.message, name) != NULL);
		test->ops->release(&event);
		assert_true(test->ops->damaged(test->journal) > 0);
		struct mmq_journal_command again = journal_test_outcome(seqs[2], "new");   /* never sealed with a fresh checksum */
		event = journal_test_do(test, &again);
		assert_int_equal(event.status, is_body || is_answer ? MMQ_JOURNAL_ENDED : MMQ_JOURNAL_DAMAGED);
		journal_test_close(test, true);
	}
}

/* Every byte region of a small journal: whatever is still given out is what was put in. */
static void
test_no_flip_gives_a_wrong_row(void **state)
{
	(void)state;
	struct journal_test *test = journal_test_open(&mmq_journal_sqlite, NULL);
	char folder[64], path[96];
	size_t size;

	for (int i = 0; i < 20; i++) {
		struct mmq_journal_command put = journal_test_put(i, "a body that has to survive");
		journal_test_do(test, &put);
	}
	snprintf(folder, sizeof(folder), "%s", test->folder);
	snprintf(path, sizeof(path), "%s", test->path);
	journal_test_close(test, false);
	uint8_t *bytes = read_file(path, &size);
	for (size_t at = 0; at < size; at += 2477) {
		struct mmq_journal_options options = { .path = path, .free_bytes_min = 1, .reserve_bytes = 4096 };
		struct mmq_journal_info info;
		struct mmq_err err;
		struct journal_test damaged = { .ops = &mmq_journal_sqlite };
		bytes[at] ^= 0x10;
		write_file(path, bytes, size);
		bytes[at] ^= 0x10;
		if (mmq_journal_sqlite.open(&damaged.journal, &options, &info, &err) == -1)
			continue;   /* refused with a reason */
		for (uint64_t seq = 1; seq <= 20; seq++) {
			struct mmq_journal_event event = journal_test_read(&damaged, &(struct mmq_journal_read){ .query = MMQ_READ_BODY, .row.seq = seq });
			if (event.page->count == 1) {
				char id[8];
				snprintf(id, sizeof(id), "id%03d", (int)seq - 1);
				assert_memory_equal(event.page->rows[0].id, id, 5);
				assert_string_equal(event.page->rows[0].model, "iris");
				assert_int_equal(event.page->rows[0].body->size, 26);
				assert_memory_equal(event.page->rows[0].body->bytes, "a body that has to survive", 26);
			}
			damaged.ops->release(&event);
		}
		mmq_journal_sqlite.close(&damaged.journal);
	}
	free(bytes);
	char command[96];
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	assert_int_equal(system(command), 0);
}

/* ---- Faults of the disk ------------------------------------------------------------------------------------------ */

static volatile int fault;             /* errno of every write to the log; 0: none */
static char fault_until_gone[112];     /* only while this file is there */
static sqlite3_syscall_ptr real_pwrite;
static const char *pwrite_name;

static ssize_t
faulty_pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
	if (fault != 0 && (fault_until_gone[0] == '\0' || access(fault_until_gone, F_OK) == 0)) {
		errno = fault;
		return -1;
	}
	return ((ssize_t (*)(int, const void *, size_t, off_t))real_pwrite)(fd, bytes, size, offset);
}

static int
faults_setup(void **state)
{
	const char *const names[] = { "pwrite64", "pwrite" };
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

	(void)state;
	for (size_t i = 0; i < 2 && pwrite_name == NULL; i++) {
		real_pwrite = vfs->xGetSystemCall(vfs, names[i]);
		if (real_pwrite != NULL && vfs->xSetSystemCall(vfs, names[i], (sqlite3_syscall_ptr)faulty_pwrite) == SQLITE_OK)
			pwrite_name = names[i];
	}
	return pwrite_name != NULL ? 0 : -1;
}

static int
faults_teardown(void **state)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

	(void)state;
	vfs->xSetSystemCall(vfs, pwrite_name, real_pwrite);
	pwrite_name = NULL;
	fault = 0;
	fault_until_gone[0] = '\0';
	return 0;
}

static void
test_no_space_refuses_puts_and_keeps_outcomes(void **state)
{
	(void)state;
	struct journal_test *test = journal_test_open(&mmq_journal_sqlite, NULL);
	struct mmq_journal_command put = journal_test_put(1, "one"), another = journal_test_put(2, "two");
	uint64_t seq = journal_test_do(test, &put).seq;
	struct mmq_journal_command batch[] = { another, journal_test_outcome(seq, "answer") };
	struct mmq_journal_event events[2];

	snprintf(fault_until_gone, sizeof(fault_until_gone), "%s.reserve", test->path);
	assert_int_equal(access(fault_until_gone, F_OK), 0);   /* the reserve is there before it is needed */
	fault = ENOSPC;
	test->ops->submit(test->journal, batch, 2);
	journal_test_wait(test, events, 2);
	assert_int_equal(events[0].status, MMQ_JOURNAL_FULL);
	assert_true(strstr(events[0].message, "space") != NULL);
	assert_int_equal(events[1].status, MMQ_JOURNAL_OK);
	assert_int_equal(access(fault_until_gone, F_OK), -1);  /* it was given up for the outcome */

	fault_until_gone[0] = '\0';                             /* now there is truly none */
	assert_int_equal(journal_test_do(test, &another).status, MMQ_JOURNAL_FULL);
	fault = 0;                                              /* and now there is again, without a restart */
	assert_int_equal(journal_test_do(test, &another).status, MMQ_JOURNAL_OK);
	struct mmq_journal_event event = journal_test_do(test, &put);
	assert_int_equal(event.status, MMQ_JOURNAL_EXISTS);
	assert_memory_equal(event.found->answer->bytes, "answer", 6);
	test->ops->release(&event);
	journal_test_close(test, true);
}

static void
test_below_the_watermark_puts_are_refused(void **state)
{
	(void)state;
	struct journal_test *test = journal_test_open(&mmq_journal_sqlite, NULL);
	struct mmq_journal_options options = { .path = test->path, .free_bytes_min = UINT64_MAX / 4 };
	struct mmq_journal_command put = journal_test_put(1, "one"), another = journal_test_put(2, "two");
	struct mmq_err err;

	uint64_t seq = journal_test_do(test, &put).seq;
	test->ops->close(&test->journal);
	assert_int_equal(test->ops->open(&test->journal, &options, &test->info, &err), 0);
	assert_int_equal(test->info.pending, 1);
	assert_int_equal(journal_test_do(test, &another).status, MMQ_JOURNAL_FULL);
	struct mmq_journal_command outcome = journal_test_outcome(seq, "answer");
	assert_int_equal(journal_test_do(test, &outcome).status, MMQ_JOURNAL_OK);
	journal_test_close(test, true);
}

static void
test_an_io_error_breaks_the_journal_until_a_restart(void **state)
{
	(void)state;
	struct journal_test *test = journal_test_open(&mmq_journal_sqlite, NULL);
	struct mmq_journal_command put = journal_test_put(1, "one"), another = journal_test_put(2, "two");
	char folder[64];

	assert_int_equal(journal_test_do(test, &put).status, MMQ_JOURNAL_OK);
	fault = EIO;
	struct mmq_journal_event event = journal_test_do(test, &another);
	assert_int_equal(event.status, MMQ_JOURNAL_BROKEN);
	assert_true(event.message[0] != '\0');
	fault = 0;   /* the disk is back, but what is on it is not known */
	assert_int_equal(journal_test_do(test, &another).status, MMQ_JOURNAL_BROKEN);
	snprintf(folder, sizeof(folder), "%s", test->folder);
	journal_test_close(test, false);
	test = journal_test_open(&mmq_journal_sqlite, folder);
	event = journal_test_do(test, &put);
	assert_int_equal(event.status, MMQ_JOURNAL_EXISTS);
	test->ops->release(&event);
	event = journal_test_do(test, &another);   /* kept or not: the same id has one row */
	assert_true(event.status == MMQ_JOURNAL_OK || event.status == MMQ_JOURNAL_EXISTS);
	test->ops->release(&event);
	journal_test_close(test, true);
}

/* ---- Refusals ---------------------------------------------------------------------------------------------------- */

static void
expect_refusal(const char *path, enum mmq_code code, const char *word)
{
	struct mmq_journal_options options = { .path = path };
	struct mmq_journal *journal;
	struct mmq_journal_info info;
	struct mmq_err err;

	assert_int_equal(mmq_journal_sqlite.open(&journal, &options, &info, &err), -1);
	assert_int_equal(err.code, code);
	assert_non_null(strstr(err.message, word));
	assert_null(journal);
}

static void
change_pragma(const char *path, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* A file as format 1 made it: without the column for traces, its row sums and its count of kept bytes. */
static void
test_a_file_of_format_1_is_brought_up_to_date(void **state)
{
	(void)state;
	struct journal_test *test = journal_test_open(&mmq_journal_sqlite, NULL);
	char folder[64];
	struct mmq_journal_command put = journal_test_put(1, "an old body");
	uint64_t seq = journal_test_do(test, &put).seq;
	struct mmq_journal_command end = journal_test_outcome(seq, "an old answer");

	journal_test_do_all(test, &end, 1);
	snprintf(folder, sizeof(folder), "%s", test->folder);
	char path[96];
	snprintf(path, sizeof(path), "%s", test->path);
	journal_test_close(test, false);
	change_pragma(path, "ALTER TABLE request DROP COLUMN trace; DROP INDEX request_dead; DELETE FROM setting WHERE key = 'kept'; PRAGMA user_version = 1");
	test = journal_test_open(&mmq_journal_sqlite, folder);
	put = journal_test_put(2, "a new body");
	snprintf(put.row.trace, sizeof(put.row.trace), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
	uint64_t traced = journal_test_do(test, &put).seq;
	struct mmq_journal_event event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_BODY, .row.seq = traced });
	assert_string_equal(event.page->rows[0].trace, put.row.trace);
	test->ops->release(&event);
	event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_BODY, .row.seq = seq });
	assert_true(event.page->count == 1 && event.page->status == MMQ_JOURNAL_OK && event.page->rows[0].trace[0] == '\0');
	test->ops->release(&event);
	struct mmq_journal_command prune = { .verb = MMQ_PRUNE, .number = 10, .bytes_max = MMQ_KEPT_ROW_BYTES + 12 };
	assert_int_equal(journal_test_do(test, &prune).number, 1);   /* the answer of 13 bytes was counted at the opening */
	journal_test_close(test, true);
}

static int
free_pages(sqlite3 *db)
{
	sqlite3_stmt *statement;
	int count = -1;

	if (sqlite3_prepare_v2(db, "PRAGMA freelist_count", -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
		count = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	return count;
}

/* Forgotten rows leave holes; the journal's thread gives them back while it has nothing else to do. */
static void
test_the_file_shrinks_again_when_rows_are_forgotten(void **state)
{
	(void)state;
	struct journal_test *test = journal_test_open(&mmq_journal_sqlite, NULL);
	struct mmq_journal_command puts[64], prune = { .verb = MMQ_PRUNE, .wall_ms = INT64_MAX, .number = MMQ_PRUNE_ROWS_MAX };
	static char big[8001];
	struct mmq_body body = { .bytes = (const uint8_t *)big, .size = 8000 };
	struct mmq_journal_event events[64];
	struct stat before, after;

	memset(big, 'b', 8000);
	for (int i = 0; i < 1024; i += 64) {
		for (int k = 0; k < 64; k++) {
			puts[k] = journal_test_put(i + k, "x");
			puts[k].body = &body;
		}
		test->ops->submit(test->journal, puts, 64);
		journal_test_wait(test, events, 64);
		for (int k = 0; k < 64; k++) {
			struct mmq_journal_command end = journal_test_outcome(events[k].seq, "done");
			end.row.keep = true;
			journal_test_do_all(test, &end, 1);
		}
	}
	char folder[64], path[96], command[96];
	snprintf(folder, sizeof(folder), "%s", test->folder);
	snprintf(path, sizeof(path), "%s", test->path);
	journal_test_close(test, false);    /* so that all of it is in the file */
	assert_int_equal(stat(path, &before), 0);
	assert_true(before.st_size > 8 << 20);
	test = journal_test_open(&mmq_journal_sqlite, folder);
	while (journal_test_do(test, &prune).number > 0)
		continue;
	/* Each command finds the thread at work on a slice or ends its rest; a thousand free pages may stay. */
	struct mmq_journal_command meta = { .verb = MMQ_META, .key = "k", .value = "v" };
	int64_t until_us = mmq_clock_mono_us() + 20000000;
	sqlite3 *db;
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	while (free_pages(db) > 1000 && mmq_clock_mono_us() < until_us)
		journal_test_do_all(test, &meta, 1);
	assert_true(free_pages(db) <= 1000);
	sqlite3_close(db);
	journal_test_close(test, false);
	assert_int_equal(stat(path, &after), 0);
	assert_true(after.st_size <= 5 << 20);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	assert_int_equal(system(command), 0);
}

static void
test_what_cannot_be_opened_says_why(void **state)
{
	(void)state;
	struct journal_test *test = journal_test_open(&mmq_journal_sqlite, NULL);
	char path[96], command[96];

	snprintf(path, sizeof(path), "%s", test->path);
	expect_refusal(path, MMQ_UNAVAILABLE, "in use");
	test->ops->close(&test->journal);
	change_pragma(path, "PRAGMA user_version = 3");
	expect_refusal(path, MMQ_FAILED_PRECONDITION, "newer");
	change_pragma(path, "PRAGMA user_version = 2; PRAGMA application_id = 7");
	expect_refusal(path, MMQ_FAILED_PRECONDITION, "another program");
	write_file(path, (const uint8_t *)"this is no database at all, and long enough to be looked at as one by SQLite's header check.....", 96);
	struct mmq_journal_options options = { .path = path };
	struct mmq_err err;
	assert_int_equal(mmq_journal_sqlite.open(&test->journal, &options, &test->info, &err), -1);
	assert_non_null(strstr(err.message, "not a database"));
	expect_refusal("/nonexistent/journal.db", MMQ_UNAVAILABLE, "No such file");
	snprintf(command, sizeof(command), "rm -rf %s", test->folder);
	assert_int_equal(system(command), 0);
	free(test);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill_keeps_what_was_acknowledged),
		cmocka_unit_test(test_a_torn_tail_leaves_whole_batches),
		cmocka_unit_test(test_a_flipped_bit_is_found_and_named),
		cmocka_unit_test(test_no_flip_gives_a_wrong_row),
		cmocka_unit_test_setup_teardown(test_no_space_refuses_puts_and_keeps_outcomes, faults_setup, faults_teardown),
		cmocka_unit_test(test_below_the_watermark_puts_are_refused),
		cmocka_unit_test_setup_teardown(test_an_io_error_breaks_the_journal_until_a_restart, faults_setup, faults_teardown),
		cmocka_unit_test(test_the_file_shrinks_again_when_rows_are_forgotten),
		cmocka_unit_test(test_a_file_of_format_1_is_brought_up_to_date),
		cmocka_unit_test(test_what_cannot_be_opened_says_why),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
