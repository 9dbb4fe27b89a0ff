/* test_journal_reads.c: laws of the reads, for both journals: what is found, in which order, in which pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/journal_helper.h"
#include "work/work.h"

static void
test_lanes_and_heads_page_in_order(void **state)
{
	struct journal_test *test = *state;
	struct mmq_journal_command commands[30];
	struct mmq_journal_event event;
	uint64_t after = 0, seen = 0;

	for (int i = 0; i < 30; i++) {
		commands[i] = journal_test_put(i, "body");
		commands[i].row.priority = i % 3 == 0 ? 9 : 1;
	}
	journal_test_do_all(test, commands, 30);
	event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_LANES });
	assert_int_equal(event.page->count, 2);
	assert_false(event.page->more);
	assert_true(event.page->rows[0].priority == 1 && event.page->numbers[0] == 20);
	assert_true(event.page->rows[1].priority == 9 && event.page->numbers[1] == 10);
	struct mmq_journal_row lane = event.page->rows[1];
	test->ops->release(&event);
	event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_LANES, .after = 1, .limit = 1 });
	assert_true(event.page->count == 1 && event.page->rows[0].priority == 9);
	test->ops->release(&event);
	for (bool more = true; more;) {
		event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_HEADS, .row = lane, .after = after, .limit = 4 });
		for (uint32_t i = 0; i < event.page->count; i++) {
			assert_true(event.page->rows[i].seq > after && event.page->rows[i].body == NULL);
			after = event.page->rows[i].seq;
			seen++;
		}
		more = event.page->more;
		test->ops->release(&event);
	}
	assert_int_equal(seen, 10);
}

static void
test_lists_filter_and_go_back_in_time(void **state)
{
	struct journal_test *test = *state;
	struct mmq_journal_event event;
	uint64_t seqs[6];

	for (int i = 0; i < 6; i++) {
		struct mmq_journal_command put = journal_test_put(i, "body");
		put.row.kind = i == 5 ? MMQ_WORK_PREDICT : MMQ_WORK_TRAIN;
		strcpy(put.row.model, i == 4 ? "other" : "iris");
		seqs[i] = journal_test_do(test, &put).seq;
	}
	struct mmq_journal_command outcome = journal_test_outcome(seqs[1], "x");
	journal_test_do(test, &outcome);
	struct mmq_journal_read read = { .query = MMQ_READ_LIST, .row.tenant = "default", .state = -1, .limit = 3 };
	event = journal_test_read(test, &read);
	assert_true(event.page->count == 3 && event.page->more && event.page->rows[0].seq == seqs[4]);
	test->ops->release(&event);
	read.after = seqs[2];
	event = journal_test_read(test, &read);
	assert_true(event.page->count == 2 && !event.page->more && event.page->rows[0].seq == seqs[1] && event.page->rows[0].answer == NULL);
	test->ops->release(&event);
	read = (struct mmq_journal_read){ .query = MMQ_READ_LIST, .row.tenant = "default", .state = MMQ_JOB_DONE };
	event = journal_test_read(test, &read);
	assert_true(event.page->count == 1 && event.page->rows[0].seq == seqs[1]);
	test->ops->release(&event);
	read = (struct mmq_journal_read){ .query = MMQ_READ_LIST, .row = { .tenant = "default", .model = "other" }, .state = -1 };
	event = journal_test_read(test, &read);
	assert_true(event.page->count == 1 && event.page->rows[0].seq == seqs[4]);
	test->ops->release(&event);
	strcpy(read.row.tenant, "nobody");
	event = journal_test_read(test, &read);
	assert_int_equal(event.page->count, 0);
	test->ops->release(&event);
}

static void
test_expired_and_the_next_deadline(void **state)
{
	struct journal_test *test = *state;
	const int64_t deadlines[] = { 300, 100, 0, 200, 400 };
	struct mmq_journal_event event;

	for (int i = 0; i < 5; i++) {
		struct mmq_journal_command put = journal_test_put(i, "body");
		put.row.deadline_ms = deadlines[i];
		journal_test_do(test, &put);
	}
	event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_EXPIRED, .wall_ms = 200 });
	assert_int_equal(event.page->count, 2);
	assert_true(event.page->rows[0].deadline_ms == 100 && event.page->rows[1].deadline_ms == 200 && event.page->next_ms == 300);
	test->ops->release(&event);
	event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_EXPIRED, .wall_ms = 400 });
	assert_true(event.page->count == 4 && event.page->next_ms == 0);
	test->ops->release(&event);
}

static void
test_results_by_prefix_in_pages_of_bytes(void **state)
{
	struct journal_test *test = *state;
	struct mmq_journal_event event;
	uint64_t last = 0, first_result = 0;
	int seen = 0;

	for (int i = 0; i < 9; i++) {
		struct mmq_journal_command put = journal_test_put(i, "body");
		struct mmq_journal_command outcome = journal_test_outcome(journal_test_do(test, &put).seq, "a hundred bytes, nearly");
		strcpy(outcome.row.topic, i % 3 == 2 ? "result/default/other/train" : i % 3 == 1 ? "" : "result/default/iris/train");
		event = journal_test_do(test, &outcome);
		first_result = first_result == 0 ? event.result_seq : first_result;
	}
	for (bool more = true; more;) {
		struct mmq_journal_read read = { .query = MMQ_READ_RESULTS, .row.tenant = "default", .prefix = "result/default/", .after = last,
			.bytes_max = 50 };
		event = journal_test_read(test, &read);
		assert_int_equal(event.page->oldest, first_result);
		assert_true(event.page->count > 0 && event.page->count <= 2);
		for (uint32_t i = 0; i < event.page->count; i++, seen++) {
			assert_true(event.page->rows[i].result_seq > last);
			assert_memory_equal(event.page->rows[i].answer->bytes, "a hundred", 9);
			last = event.page->rows[i].result_seq;
		}
		more = event.page->more;
		test->ops->release(&event);
	}
	assert_int_equal(seen, 6);
	struct mmq_journal_read read = { .query = MMQ_READ_RESULTS, .row.tenant = "default", .prefix = "result/default/iris/" };
	event = journal_test_read(test, &read);
	assert_int_equal(event.page->count, 3);
	test->ops->release(&event);
	strcpy(read.row.tenant, "other");   /* a prefix never reaches into another tenant */
	event = journal_test_read(test, &read);
	assert_true(event.page->count == 0 && event.page->oldest == 0);
	test->ops->release(&event);
}

static void
test_a_job_of_another_tenant_is_not_found_but_noticed(void **state)
{
	struct journal_test *test = *state;
	struct mmq_journal_command put = journal_test_put(1, "body");
	struct mmq_journal_read find = { .query = MMQ_READ_FIND, .job_is_set = true };

	memset(put.row.job, 'j', sizeof(put.row.job));
	journal_test_do_all(test, &put, 1);
	memset(find.row.job, 'j', sizeof(find.row.job));
	for (int i = 0; i < 3; i++) {
		snprintf(find.row.tenant, sizeof(find.row.tenant), "%s", i == 0 ? "default" : "other");
		memset(find.row.job, i == 2 ? 'k' : 'j', sizeof(find.row.job));
		struct mmq_journal_event event = journal_test_read(test, &find);
		assert_int_equal(event.page->count, i == 0);
		assert_int_equal(event.page->is_foreign, i == 1);
		test->ops->release(&event);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LAW(test_lanes_and_heads_page_in_order),
		LAW(test_lists_filter_and_go_back_in_time),
		LAW(test_expired_and_the_next_deadline),
		LAW(test_results_by_prefix_in_pages_of_bytes),
		LAW(test_a_job_of_another_tenant_is_not_found_but_noticed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
