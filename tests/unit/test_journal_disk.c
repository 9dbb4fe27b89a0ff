/* test_journal_disk.c: what a disk does to the SQLite journal: no space, I/O errors; and space that is given back to it. Faults come through
 * SQLite's own table of system calls, so the code under test is the real one. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "tests/unit/journal_helper.h"
#include "util/clock.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_space_refuses_puts_and_keeps_outcomes, faults_setup, faults_teardown),
		cmocka_unit_test(test_below_the_watermark_puts_are_refused),
		cmocka_unit_test_setup_teardown(test_an_io_error_breaks_the_journal_until_a_restart, faults_setup, faults_teardown),
		cmocka_unit_test(test_the_file_shrinks_again_when_rows_are_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
