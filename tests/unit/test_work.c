/* The worker's side of the work protocol against a ROUTER played by the test, in one thread: each side takes its turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zmq.h>

#include "mpack/writer.h"
#include "work/frame.h"

static const uint8_t epoch[16] = "epoch-of-a-test";

struct stage {
	void *context, *router;
	struct mmq_worker *worker;
	uint8_t route[256], bytes[1 << 20];
	int route_size, size, extra_size;
	uint8_t extra[1 << 20];
	struct mmq_work_message message;
	char path[64];
};

static int
stage_open(void **state)
{
	struct stage *stage = calloc(1, sizeof *stage);
	struct mmq_worker_options options = { .kind = MMQ_WORKER_TRAINER, .build = "test" };
	struct mmq_err err;
	char endpoint[80];
	int timeout_ms = 5000;

	snprintf(stage->path, sizeof stage->path, "/tmp/mmq-work-%d", (int)getpid());
	snprintf(endpoint, sizeof endpoint, "ipc://%s", stage->path);
	stage->context = zmq_ctx_new();
	stage->router = zmq_socket(stage->context, ZMQ_ROUTER);
	zmq_setsockopt(stage->router, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
	assert_int_equal(zmq_bind(stage->router, endpoint), 0);
	options.endpoint = endpoint;
	assert_int_equal(mmq_worker_open(&stage->worker, &options, &err), 0);
	*state = stage;
	return 0;
}

static int
stage_close(void **state)
{
	struct stage *stage = *state;
	int linger_ms = 0;

	mmq_worker_close(&stage->worker);
	zmq_setsockopt(stage->router, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
	zmq_close(stage->router);
	zmq_ctx_term(stage->context);
	unlink(stage->path);
	free(stage);
	return 0;
}

/* Let the worker run until it says something of this type; what else it says is passed over. */
static void
hear(struct stage *stage, enum mmq_work_type type)
{
	struct mmq_work_event event;

	for (int turn = 0; turn < 500; turn++) {
		zmq_pollitem_t item = { .socket = stage->router, .events = ZMQ_POLLIN };

		assert_int_not_equal(mmq_worker_next(stage->worker, 1, &event, NULL), -1);
		assert_true(event.kind == MMQ_WORK_EVENT_NONE || type == MMQ_WM_HELLO);
		if (zmq_poll(&item, 1, 10) < 1)
			continue;
		stage->route_size = zmq_recv(stage->router, stage->route, sizeof stage->route, 0);
		stage->size = zmq_recv(stage->router, stage->bytes, sizeof stage->bytes, 0);
		stage->extra_size = -1;
		int more = 0;
		size_t more_size = sizeof more;
		zmq_getsockopt(stage->router, ZMQ_RCVMORE, &more, &more_size);
		if (more)
			stage->extra_size = zmq_recv(stage->router, stage->extra, sizeof stage->extra, 0);
		assert_int_equal(mmq_work_parse(&stage->message, stage->bytes, (size_t)stage->size, NULL), 0);
		if (stage->message.type == type)
			return;
	}
	fail_msg("the worker did not say %s", mmq_work_type_name(type));
}

static void
say(struct stage *stage, struct mmq_buf *buf)
{
	assert_false(buf->failed);
	zmq_send(stage->router, stage->route, (size_t)stage->route_size, ZMQ_SNDMORE);
	zmq_send(stage->router, buf->bytes, buf->size, 0);
	mmq_buf_fini(buf);
}

static struct mmq_work_event
next(struct stage *stage, enum mmq_work_event_kind kind)
{
	struct mmq_work_event event;

	assert_int_equal(mmq_worker_next(stage->worker, 5000, &event, NULL), 1);
	assert_int_equal(event.kind, kind);
	return event;
}

static void
welcome(struct stage *stage, const struct mmq_lease *keep, size_t keep_count)
{
	struct mmq_buf buf;

	hear(stage, MMQ_WM_HELLO);
	mmq_buf_init(&buf, 1 << 20);
	mmq_work_put_welcome(&buf, epoch, "b", 20, 5000, keep, keep_count);
	say(stage, &buf);
	next(stage, MMQ_WORK_EVENT_WELCOME);
}

/* Hand out items 1..count in one frame; body i is i bytes of the letter 'a' + i. */
static void
hand_out(struct stage *stage, uint64_t first, size_t count)
{
	struct mmq_buf buf;

	mmq_buf_init(&buf, 1 << 20);
	mmq_work_put_work(&buf, epoch, count);
	for (size_t i = 0; i < count; i++)
		mmq_work_put_item(&buf, &(struct mmq_work_head){ .delivery = first + i, .kind = MMQ_WORK_TRAIN, .op = "train", .tenant = "t",
		    .model = "m", .job = "00112233445566778899aabbccddeeff", .version = 7, .attempt = 2, .ms_left = i == 0 ? -1 : 1000,
		    .body_bytes = i, .payload_bytes = i == 2 ? 3 : 0 });
	for (size_t i = 0; i < count; i++) {
		char fill[64];

		memset(fill, 'a' + (int)i, sizeof fill);
		mmq_buf_append(&buf, fill, i);
		mmq_buf_append(&buf, "pay", i == 2 ? 3 : 0);
	}
	say(stage, &buf);
}

static void
test_packed_work_is_cut_and_answers_leave_together(void **state)
{
	struct stage *stage = *state;
	struct mmq_work_item *items[4];
	struct mmq_work_list list;
	struct mmq_work_outcome outcome;
	const uint8_t *at;

	mmq_worker_ready(stage->worker, MMQ_WORK_TRAIN, 4);
	welcome(stage, NULL, 0);
	assert_int_equal(stage->message.window[MMQ_WORK_TRAIN], 4);
	hand_out(stage, 10, 4);
	for (size_t i = 0; i < 4; i++) {
		items[i] = next(stage, MMQ_WORK_EVENT_WORK).item;
		assert_int_equal(items[i]->lease.delivery, 10 + i);
		assert_int_equal(items[i]->body_bytes, i);
		assert_true(i == 0 || items[i]->body[i - 1] == 'a' + (int)i);
		assert_int_equal(items[i]->version, 7);
		assert_int_equal(items[i]->attempt, 2);
		assert_true((items[i]->deadline_us == INT64_MAX) == (i == 0));
	}
	assert_memory_equal(items[2]->payload, "pay", 3);
	assert_int_equal(mmq_worker_held(stage->worker), 4);
	for (size_t i = 0; i < 3; i++)
		mmq_worker_answer(stage->worker, &items[i], &(struct mmq_work_result){ .code = i == 1 ? MMQ_NOT_FOUND : MMQ_OK, .rows = 5 }, "xyz", 1 + i);
	hear(stage, MMQ_WM_RESULT);
	assert_int_equal(mmq_work_list_begin(&list, &stage->message.items), 3);
	at = stage->bytes + stage->message.head_bytes;
	for (size_t i = 0; mmq_work_next_result(&list, &outcome); i++) {
		assert_int_equal(outcome.lease.delivery, 10 + i);
		assert_memory_equal(outcome.lease.epoch, epoch, 16);
		assert_int_equal(outcome.result.code, i == 1 ? MMQ_NOT_FOUND : MMQ_OK);
		assert_int_equal(outcome.body_bytes, 1 + i);
		assert_memory_equal(at, "xyz", 1 + i);
		at += 1 + i;
	}
	assert_null(list.why);
	assert_ptr_equal(at, stage->bytes + stage->size);
	mmq_worker_drop(stage->worker, &items[3]);
	hear(stage, MMQ_WM_RETURN);
}

static void
test_large_answer_has_its_own_frame(void **state)
{
	struct stage *stage = *state;
	struct mmq_work_item *item;
	uint8_t *large = calloc(1, 100000);

	welcome(stage, NULL, 0);
	hand_out(stage, 1, 1);
	item = next(stage, MMQ_WORK_EVENT_WORK).item;
	mmq_worker_answer(stage->worker, &item, &(struct mmq_work_result){ .code = MMQ_OK }, large, 100000);
	free(large);
	hear(stage, MMQ_WM_RESULT);
	assert_int_equal(stage->extra_size, 100000);
}

static void
test_heartbeats_name_what_is_held(void **state)
{
	struct stage *stage = *state;
	struct mmq_work_list list;
	struct mmq_lease lease;

	welcome(stage, NULL, 0);
	hand_out(stage, 5, 1);
	next(stage, MMQ_WORK_EVENT_WORK);
	for (int tries = 0; tries < 10; tries++) {
		hear(stage, MMQ_WM_HEARTBEAT);
		if (mmq_work_list_begin(&list, &stage->message.held) == 1)
			break;
	}
	assert_true(mmq_work_next_lease(&list, &lease));
	assert_int_equal(lease.delivery, 5);
}

static void
test_grant_is_asked_again_until_answered(void **state)
{
	struct stage *stage = *state;
	struct mmq_work_event event;
	struct mmq_lease lease;
	struct mmq_buf buf;

	welcome(stage, NULL, 0);
	hand_out(stage, 5, 1);
	event = next(stage, MMQ_WORK_EVENT_WORK);
	mmq_worker_grant(stage->worker, event.item, MMQ_GRANT_VERSION, 3);
	mmq_worker_progress(stage->worker, event.item, 2, "\x80", 1);
	hear(stage, MMQ_WM_PROGRESS);
	assert_int_equal(stage->message.checkpoint, 2);
	hear(stage, MMQ_WM_GRANT);
	assert_int_equal(stage->message.above, 3);
	hear(stage, MMQ_WM_GRANT);
	lease = stage->message.lease;
	mmq_buf_init(&buf, 4096);
	mmq_work_put_granted(&buf, &lease, MMQ_GRANT_VERSION, 4, MMQ_OK, NULL);
	say(stage, &buf);
	event = next(stage, MMQ_WORK_EVENT_GRANTED);
	assert_int_equal(event.version, 4);
	assert_int_equal(event.code, MMQ_OK);
}

/* A broker that forgot us: what it keeps goes on, what it does not keep is cancelled and its answer never leaves. */
static void
test_new_welcome_decides_what_is_still_held(void **state)
{
	struct stage *stage = *state;
	struct mmq_work_item *kept, *lost;
	struct mmq_work_event event;
	struct mmq_work_list list;
	struct mmq_lease keep;
	struct mmq_buf buf;

	welcome(stage, NULL, 0);
	hand_out(stage, 1, 2);
	kept = next(stage, MMQ_WORK_EVENT_WORK).item;
	lost = next(stage, MMQ_WORK_EVENT_WORK).item;
	keep = kept->lease;
	mmq_buf_init(&buf, 4096);
	mmq_work_put_plain(&buf, MMQ_WM_WHO);
	say(stage, &buf);
	hear(stage, MMQ_WM_HELLO);
	assert_int_equal(mmq_work_list_begin(&list, &stage->message.held), 2);
	mmq_buf_init(&buf, 4096);
	mmq_work_put_welcome(&buf, epoch, "b", 1000, 5000, &keep, 1);
	say(stage, &buf);
	next(stage, MMQ_WORK_EVENT_WELCOME);
	event = next(stage, MMQ_WORK_EVENT_CANCEL);
	assert_ptr_equal(event.item, lost);
	assert_int_equal(event.code, MMQ_UNAVAILABLE);
	mmq_worker_answer(stage->worker, &lost, &(struct mmq_work_result){ .code = MMQ_OK }, "lost", 4);
	mmq_worker_answer(stage->worker, &kept, &(struct mmq_work_result){ .code = MMQ_OK }, "kept", 4);
	hear(stage, MMQ_WM_RESULT);
	assert_int_equal(mmq_work_list_begin(&list, &stage->message.items), 1);
	assert_memory_equal(stage->bytes + stage->message.head_bytes, "kept", 4);
}

static void
test_damaged_messages_are_refused(void **state)
{
	struct mmq_lease lease = { .delivery = 77 };
	uint8_t session[16] = { 1 };
	struct mmq_work_message message;
	struct mmq_buf buf;

	(void)state;
	mmq_buf_init(&buf, 1 << 16);
	mmq_work_put_hello(&buf, MMQ_WORKER_STORE, session, "n", "b", 1, &lease, 1, (uint32_t[3]){ 0 }, NULL);
	for (size_t size = 0; size < buf.size; size++)
		assert_int_equal(mmq_work_parse(&message, buf.bytes, size, NULL), -1);
	assert_int_equal(mmq_work_parse(&message, buf.bytes, buf.size, NULL), 0);
	for (size_t i = 0; i < buf.size; i++)
		for (int bit = 0; bit < 8; bit++) {
			struct mmq_work_list list;

			buf.bytes[i] ^= (uint8_t)(1 << bit);
			if (mmq_work_parse(&message, buf.bytes, buf.size, NULL) == 0) {
				mmq_work_list_begin(&list, &message.held);
				while (mmq_work_next_lease(&list, &lease))
					continue;
			}
			buf.bytes[i] ^= (uint8_t)(1 << bit);
		}
	mmq_buf_fini(&buf);
}

int
main(void)
{
#define STAGED(test) cmocka_unit_test_setup_teardown(test, stage_open, stage_close)
	const struct CMUnitTest tests[] = {
		STAGED(test_packed_work_is_cut_and_answers_leave_together),
		STAGED(test_large_answer_has_its_own_frame),
		STAGED(test_heartbeats_name_what_is_held),
		STAGED(test_grant_is_asked_again_until_answered),
		STAGED(test_new_welcome_decides_what_is_still_held),
		cmocka_unit_test(test_damaged_messages_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
