/* test_journal.c: laws of the commands, for both journals. Reads are in test_journal_reads.c; what only SQLite's file can do wrong is in
 * test_journal_disk.c, _crash, _damage and _format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/journal_helper.h"
#include "wire/peek.h"
#include "work/work.h"

static void
test_a_put_comes_back_whole(void **state)
{
	struct journal_test *test = *state;
	struct mmq_journal_command command = journal_test_put(1, "body one");
	struct mmq_journal_event event;

	command.row.sink = command.row.keep = true;
	command.row.key_hash = UINT64_MAX;
	command.row.deadline_ms = 99;
	memcpy(command.row.job, "0123456789abcdef", 16);
	memcpy(command.row.fingerprint, "fedcba9876543210", 16);
	uint64_t seq = journal_test_do(test, &command).seq;
	assert_true(seq > 0);
	event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_BODY, .ticket = 7, .row.seq = seq });
	assert_true(event.is_page && event.ticket == 7 && event.page->status == MMQ_JOURNAL_OK);
	assert_int_equal(event.page->count, 1);
	const struct mmq_journal_row *row = &event.page->rows[0];
	assert_string_equal(row->tenant, "default");
	assert_string_equal(row->model, "iris");
	assert_int_equal(row->id_size, 5);
	assert_memory_equal(row->id, "id001", 5);
	assert_int_equal(row->op, MMQ_OP_TRAIN);
	assert_true(row->kind == MMQ_WORK_TRAIN && row->priority == 5 && row->sink && row->keep && !row->wait);
	assert_true(row->key_hash == UINT64_MAX && row->deadline_ms == 99 && row->created_ms == 1000 && row->version == 3);
	assert_memory_equal(row->job, "0123456789abcdef", 16);
	assert_memory_equal(row->fingerprint, "fedcba9876543210", 16);
	assert_true(row->state == MMQ_JOB_QUEUED && row->result_seq == 0 && row->lease_delivery == 0);
	assert_int_equal(row->body_size, 8);
	assert_memory_equal(row->body->bytes, "body one", 8);
	test->ops->release(&event);
	event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_BODY, .row.seq = 999 });
	assert_int_equal(event.page->status, MMQ_JOURNAL_MISSING);
	test->ops->release(&event);
}

static void
test_an_id_is_taken_once_per_tenant(void **state)
{
	struct journal_test *test = *state;
	struct mmq_journal_command command = journal_test_put(1, "one");
	struct mmq_journal_event event;

	uint64_t seq = journal_test_do(test, &command).seq;
	command.body = journal_test_body("another");
	event = journal_test_do(test, &command);
	assert_int_equal(event.status, MMQ_JOURNAL_EXISTS);
	assert_true(event.found != NULL && event.found->seq == seq && event.found->answer == NULL);
	test->ops->release(&event);
	strcpy(command.row.tenant, "other");
	assert_int_equal(journal_test_do(test, &command).status, MMQ_JOURNAL_OK);
	strcpy(command.row.tenant, "default");
	command.row.id_is_binary = true;   /* the same bytes as bin are another id */
	assert_int_equal(journal_test_do(test, &command).status, MMQ_JOURNAL_OK);
	command.row.id_size = 0;           /* without an id nothing is the same */
	assert_int_equal(journal_test_do(test, &command).status, MMQ_JOURNAL_OK);
	assert_int_equal(journal_test_do(test, &command).status, MMQ_JOURNAL_OK);
}

static void
test_the_first_outcome_stays(void **state)
{
	struct journal_test *test = *state;
	struct mmq_journal_command put = journal_test_put(1, "one");
	uint64_t seq = journal_test_do(test, &put).seq;
	struct mmq_journal_command outcome = journal_test_outcome(seq, "the answer");
	struct mmq_journal_event event = journal_test_do(test, &outcome);

	assert_int_equal(event.status, MMQ_JOURNAL_OK);
	uint64_t result_seq = event.result_seq;
	assert_true(result_seq > seq);
	outcome.row.state = MMQ_JOB_FAILED;
	outcome.body = journal_test_body("too late");
	event = journal_test_do(test, &outcome);
	assert_int_equal(event.status, MMQ_JOURNAL_ENDED);
	outcome.verb = MMQ_CANCEL;
	assert_int_equal(journal_test_do(test, &outcome).status, MMQ_JOURNAL_ENDED);
	outcome.row.seq = 4711;
	assert_int_equal(journal_test_do(test, &outcome).status, MMQ_JOURNAL_MISSING);

	event = journal_test_do(test, &put);   /* the client asks again: the stored answer */
	assert_int_equal(event.status, MMQ_JOURNAL_EXISTS);
	assert_int_equal(event.found->state, MMQ_JOB_DONE);
	assert_true(event.found->result_seq == result_seq && event.found->ended_ms == 2000 && event.found->result_version == 9);
	assert_string_equal(event.found->topic, "result/default/iris/train");
	assert_memory_equal(event.found->answer->bytes, "the answer", 10);
	test->ops->release(&event);
	event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_BODY, .row.seq = seq });
	assert_int_equal(event.page->count, 1);
	assert_null(event.page->rows[0].body);   /* an ended request's body is gone */
	test->ops->release(&event);
}

static void
test_a_cancelled_row_ends_with_its_code(void **state)
{
	struct journal_test *test = *state;
	struct mmq_journal_command put = journal_test_put(1, "one");
	struct mmq_journal_command cancel = { .verb = MMQ_CANCEL, .wall_ms = 5 };
	struct mmq_journal_event event;

	put.row.keep = true;
	cancel.row.seq = journal_test_do(test, &put).seq;
	assert_int_equal(journal_test_do(test, &cancel).status, MMQ_JOURNAL_OK);
	event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_BODY, .row.seq = cancel.row.seq });
	assert_true(event.page->rows[0].state == MMQ_JOB_CANCELLED && event.page->rows[0].code == MMQ_CANCELLED);
	assert_non_null(event.page->rows[0].body);   /* keep */
	test->ops->release(&event);
}

static void
test_leases_and_strikes_are_kept(void **state)
{
	struct journal_test *test = *state;
	struct mmq_journal_command put = journal_test_put(1, "one");
	struct mmq_journal_command lease = { .verb = MMQ_LEASE, .wall_ms = 1500, .row = { .lease_delivery = 77, .attempt = 2 } };
	struct mmq_journal_command strike = { .verb = MMQ_STRIKE, .row = { .strikes = 1, .attempt = 3 } };
	struct mmq_journal_event event;

	lease.row.seq = strike.row.seq = journal_test_do(test, &put).seq;
	memcpy(lease.row.lease_epoch, "epoch of a start", 16);
	assert_int_equal(journal_test_do(test, &lease).status, MMQ_JOURNAL_OK);
	assert_int_equal(journal_test_do(test, &strike).status, MMQ_JOURNAL_OK);
	event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_FIND, .row = put.row });
	const struct mmq_journal_row *row = &event.page->rows[0];
	assert_true(row->strikes == 1 && row->attempt == 3 && row->lease_delivery == 77 && row->started_ms == 1500);
	assert_memory_equal(row->lease_epoch, "epoch of a start", 16);
	test->ops->release(&event);
	lease.row.seq = 4711;
	assert_int_equal(journal_test_do(test, &lease).status, MMQ_JOURNAL_MISSING);
}

static uint32_t
grant(struct journal_test *test, const char *model, char job, uint8_t what, uint32_t above)
{
	struct mmq_journal_command command = { .verb = MMQ_GRANT, .what = what, .number = above, .row.tenant = "default" };

	strcpy(command.row.model, model);
	memset(command.row.job, job, sizeof(command.row.job));
	struct mmq_journal_event event = journal_test_do(test, &command);
	assert_int_equal(event.status, MMQ_JOURNAL_OK);
	return event.number;
}

static void
test_a_job_gets_one_number(void **state)
{
	struct journal_test *test = *state;

	assert_int_equal(grant(test, "iris", 'a', 0, 0), 1);
	assert_int_equal(grant(test, "iris", 'b', 0, 0), 2);
	assert_int_equal(grant(test, "iris", 'a', 0, 0), 1);     /* the same job again */
	assert_int_equal(grant(test, "iris", 'a', 1, 0), 1);     /* aliases count apart */
	assert_int_equal(grant(test, "other", 'c', 0, 0), 1);
	assert_int_equal(grant(test, "iris", 'a', 0, 40), 41);   /* the store already has 40 */
	assert_int_equal(grant(test, "iris", 'a', 0, 40), 41);
	assert_int_equal(grant(test, "iris", 'd', 0, 0), 42);
}

static void
test_prune_forgets_ended_rows_alone(void **state)
{
	struct journal_test *test = *state;
	struct mmq_journal_command prune = { .verb = MMQ_PRUNE, .wall_ms = 2500, .number = 2 };
	struct mmq_journal_command put;
	uint64_t seq = 0;

	for (int i = 0; i < 4; i++) {
		put = journal_test_put(i, "body");
		seq = journal_test_do(test, &put).seq;
		struct mmq_journal_command outcome = journal_test_outcome(seq, "answer");
		outcome.wall_ms = i == 3 ? 3000 : 2000;
		journal_test_do(test, &outcome);
	}
	struct mmq_journal_command open = journal_test_put(9, "body");
	uint64_t open_seq = journal_test_do(test, &open).seq;
	assert_int_equal(journal_test_do(test, &prune).number, 2);
	assert_int_equal(journal_test_do(test, &prune).number, 1);
	assert_int_equal(journal_test_do(test, &prune).number, 0);
	struct mmq_journal_event event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_BODY, .row.seq = open_seq });
	assert_true(event.page->count == 1 && event.page->rows[0].body != NULL);
	test->ops->release(&event);
	put = journal_test_put(0, "body");   /* its id is free again, its number is not used again */
	event = journal_test_do(test, &put);
	assert_int_equal(event.status, MMQ_JOURNAL_OK);
	assert_true(event.seq > open_seq);
}

/* Two dead letters older than three results; each kind has its own budget, and the oldest of a kind go first. */
static void
test_prune_keeps_the_newest_of_each_kind_within_its_bytes(void **state)
{
	struct journal_test *test = *state;
	uint64_t seqs[5];

	for (int i = 0; i < 5; i++) {
		bool is_dead = i < 2;
		struct mmq_journal_command put = journal_test_put(i, "a body that only dead letters keep"), outcome, strike;
		seqs[i] = journal_test_do(test, &put).seq;
		strike = (struct mmq_journal_command){ .verb = MMQ_STRIKE, .row = { .seq = seqs[i], .strikes = is_dead ? 3 : 0, .attempt = 3 } };
		journal_test_do_all(test, &strike, 1);
		outcome = journal_test_outcome(seqs[i], "an answer of 22 bytes.");
		outcome.wall_ms = 2000 + i;
		outcome.row.state = is_dead ? MMQ_JOB_FAILED : MMQ_JOB_DONE;
		outcome.row.code = is_dead ? MMQ_INTERNAL : MMQ_OK;
		outcome.row.keep = is_dead;
		journal_test_do_all(test, &outcome, 1);
	}
	struct mmq_journal_command prune = { .verb = MMQ_PRUNE, .what = MMQ_KEPT_RESULTS, .number = 100 };
	prune.bytes_max = 2 * (MMQ_KEPT_ROW_BYTES + 22);
	assert_int_equal(journal_test_do(test, &prune).number, 1);
	assert_int_equal(journal_test_do(test, &prune).number, 0);
	prune.what = MMQ_KEPT_DEAD;
	prune.bytes_max = 2 * (MMQ_KEPT_ROW_BYTES + 22 + 34);
	assert_int_equal(journal_test_do(test, &prune).number, 0);
	prune.bytes_max--;
	assert_int_equal(journal_test_do(test, &prune).number, 1);
	for (int i = 0; i < 5; i++) {
		struct mmq_journal_event event = journal_test_read(test, &(struct mmq_journal_read){ .query = MMQ_READ_BODY, .row.seq = seqs[i] });
		assert_int_equal(event.page->count, i != 0 && i != 2);
		test->ops->release(&event);
	}
	struct mmq_journal_command revive = { .verb = MMQ_REVIVE, .row = { .seq = seqs[1], .strikes = 3 } };
	journal_test_do_all(test, &revive, 1);
	prune.bytes_max = 1;     /* what was revived is not kept, and not counted, any more */
	assert_int_equal(journal_test_do(test, &prune).number, 0);
	prune.what = MMQ_KEPT_RESULTS;
	prune.wall_ms = 2004;
	prune.bytes_max = 0;
	assert_int_equal(journal_test_do(test, &prune).number, 1);
}

static void
test_one_bad_command_does_not_fail_its_batch(void **state)
{
	struct journal_test *test = *state;
	struct mmq_journal_command commands[] = { journal_test_put(1, "one"), journal_test_put(1, "the same id"), journal_test_outcome(4711, "x"),
		journal_test_put(2, "two"), journal_test_put(3, "a job that is taken") };
	struct mmq_journal_event events[5];

	memset(commands[0].row.job, 'j', 16);
	test->ops->submit(test->journal, commands, 5);
	journal_test_wait(test, events, 5);
	const enum mmq_journal_status wanted[] = { MMQ_JOURNAL_OK, MMQ_JOURNAL_EXISTS, MMQ_JOURNAL_MISSING, MMQ_JOURNAL_OK, MMQ_JOURNAL_OK };
	for (int i = 0; i < 5; i++) {
		assert_int_equal(events[i].status, wanted[i]);
		test->ops->release(&events[i]);
	}
}

static void
test_settings_are_replaced(void **state)
{
	struct journal_test *test = *state;
	struct mmq_journal_command meta = { .verb = MMQ_META, .key = "sink", .value = "one" };
	char value[96];

	assert_int_equal(test->ops->get_meta(test->journal, "sink", value, sizeof(value)), 0);
	journal_test_do(test, &meta);
	strcpy(meta.value, "two");
	journal_test_do(test, &meta);
	assert_int_equal(test->ops->get_meta(test->journal, "sink", value, sizeof(value)), 3);
	assert_string_equal(value, "two");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LAW(test_a_put_comes_back_whole),
		LAW(test_an_id_is_taken_once_per_tenant),
		LAW(test_the_first_outcome_stays),
		LAW(test_a_cancelled_row_ends_with_its_code),
		LAW(test_leases_and_strikes_are_kept),
		LAW(test_a_job_gets_one_number),
		LAW(test_prune_forgets_ended_rows_alone),
		LAW(test_prune_keeps_the_newest_of_each_kind_within_its_bytes),
		LAW(test_one_bad_command_does_not_fail_its_batch),
		LAW(test_settings_are_replaced),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
