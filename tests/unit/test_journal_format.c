/* test_journal_format.c: files that the SQLite journal did not make like this: older ones are brought up to date, others refused with a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "tests/unit/journal_helper.h"

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
	journal_test_write_file(path, (const uint8_t *)"this is no database at all, and long enough to be looked at as one by SQLite's header check.....", 96);
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
		cmocka_unit_test(test_a_file_of_format_1_is_brought_up_to_date),
		cmocka_unit_test(test_what_cannot_be_opened_says_why),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
