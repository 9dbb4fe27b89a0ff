/* journal_helper.h: opens a journal in a fresh folder, and runs commands and reads one after the other; laws for both journals. */
#ifndef MMQ_TESTS_JOURNAL_HELPER_H
#define MMQ_TESTS_JOURNAL_HELPER_H

#include "broker/journal.h"

struct journal_test {
	const struct mmq_journal_ops *ops;
	struct mmq_journal *journal;
	struct mmq_journal_info info;
	char folder[64], path[96];
};

/* A fresh folder, or the one of an earlier test (folder not NULL). */
struct journal_test *journal_test_open(const struct mmq_journal_ops *ops, const char *folder);
void journal_test_close(struct journal_test *test, bool remove_folder);
void journal_test_wait(struct journal_test *test, struct mmq_journal_event *events_out, size_t count);

struct mmq_journal_event journal_test_do(struct journal_test *test, const struct mmq_journal_command *command);
void journal_test_do_all(struct journal_test *test, const struct mmq_journal_command *commands, size_t count); /* all must be OK */
struct mmq_journal_event journal_test_read(struct journal_test *test, const struct mmq_journal_read *read);

const struct mmq_body *journal_test_body(const char *text);   /* constant; up to 16 at a time */
struct mmq_journal_command journal_test_put(int number, const char *body);   /* tenant default, model iris, id "id<number>", train */
struct mmq_journal_command journal_test_outcome(uint64_t seq, const char *answer);

uint8_t *journal_test_read_file(const char *path, size_t *size_out);
void journal_test_write_file(const char *path, const uint8_t *bytes, size_t size);

/* A law that is run twice; *state is the journal under test. */
int journal_test_setup_memory(void **state);
int journal_test_setup_sqlite(void **state);
int journal_test_teardown(void **state);
#define LAW(law) cmocka_unit_test_setup_teardown(law, journal_test_setup_memory, journal_test_teardown), \
	cmocka_unit_test_setup_teardown(law, journal_test_setup_sqlite, journal_test_teardown)

#endif
