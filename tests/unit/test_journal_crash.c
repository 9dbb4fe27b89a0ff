/* test_journal_crash.c: what kill -9 leaves of the SQLite journal: all that was acknowledged, whole batches, numbers that are not used twice. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/journal_helper.h"

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
	uint8_t *db_bytes = journal_test_read_file(path, &db_size), *wal_bytes = journal_test_read_file(wal, &wal_size);
	for (int cut = 0; cut <= 12; cut++) {
		char command[128];
		snprintf(command, sizeof(command), "rm -f %s/*", copy);
		assert_int_equal(system(command), 0);
		snprintf(path, sizeof(path), "%s/journal.db", copy);
		snprintf(wal, sizeof(wal), "%s/journal.db-wal", copy);
		journal_test_write_file(path, db_bytes, db_size);
		journal_test_write_file(wal, wal_bytes, wal_size - wal_size * (size_t)cut / 12);
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

/* Numbers are reserved by the thousand; what was given out of a thousand before the process died is never given out again. */
static void
test_no_number_is_used_twice(void **state)
{
	(void)state;
	char folder[] = "/tmp/mmq-journal-XXXXXX";
	const int puts[] = { 3, 1600, 0, 1 };
	uint64_t last = 0;
	int number = 0;

	assert_non_null(mkdtemp(folder));
	for (size_t life = 0; life < sizeof(puts) / sizeof(puts[0]); life++) {
		int fds[2];
		uint64_t seq;

		assert_int_equal(pipe(fds), 0);
		pid_t pid = fork();
		if (pid == 0) {
			struct journal_test *test = journal_test_open(&mmq_journal_sqlite, folder);
			for (int i = 0; i < puts[life]; i++) {
				struct mmq_journal_command put = journal_test_put(number + i, "body");
				seq = journal_test_do(test, &put).seq;
				if (write(fds[1], &seq, sizeof(seq)) != sizeof(seq))
					break;
			}
			kill(getpid(), SIGKILL);
		}
		close(fds[1]);
		for (; read(fds[0], &seq, sizeof(seq)) == sizeof(seq); number++) {
			assert_true(seq > last);
			last = seq;
		}
		close(fds[0]);
		waitpid(pid, NULL, 0);
	}
	assert_int_equal(number, 1604);
	journal_test_close(journal_test_open(&mmq_journal_sqlite, folder), true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill_keeps_what_was_acknowledged),
		cmocka_unit_test(test_a_torn_tail_leaves_whole_batches),
		cmocka_unit_test(test_no_number_is_used_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
