/* test_journal_damage.c: bits of the SQLite journal's file that flipped: found, named, and never given out as something else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/journal_helper.h"

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
		uint8_t *bytes = journal_test_read_file(path, &size);
		size_t hits = 0;
		for (uint8_t *at = bytes; (at = memmem(at, size - (size_t)(at - bytes), marks[m], strlen(marks[m]))) != NULL; at++, hits++)
			at[1] ^= 1;
		assert_true(hits > 0);
		journal_test_write_file(path, bytes, size);
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
	uint8_t *bytes = journal_test_read_file(path, &size);
	for (size_t at = 0; at < size; at += 2477) {
		struct mmq_journal_options options = { .path = path, .free_bytes_min = 1, .reserve_bytes = 4096 };
		struct mmq_journal_info info;
		struct mmq_err err;
		struct journal_test damaged = { .ops = &mmq_journal_sqlite };
		bytes[at] ^= 0x10;
		journal_test_write_file(path, bytes, size);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_flipped_bit_is_found_and_named),
		cmocka_unit_test(test_no_flip_gives_a_wrong_row),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
