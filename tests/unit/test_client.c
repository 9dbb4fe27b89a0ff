/* test_client.c: the C client against a small service in a thread: answers, timeouts, restarts, push, sink, wrong messages. */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zmq.h>

#include "client/modelmq.h"
#include "mpack/reader.h"
#include "mpack/writer.h"
#include "util/buf.h"

struct service {
	char folder[64], endpoint[128], publish[128], sink[128];
	void *context;
	pthread_t thread;
	int swallow;        /* requests left unanswered before the socket is closed and bound anew */
	int seen, lists;    /* requests; frames that held a list of them */
};

/* Append {id, ok, echo: <whole request>} and count it; op "bad" gets an error, op "busy" a retryable one twice, "quit" ends the service. false: quit. */
static bool
answer_one(struct service *service, const uint8_t *request, size_t size, struct mmq_buf *out, uint32_t *answers)
{
	struct mmq_reader reader;
	struct mmq_token token, key, value = { 0 }, id = { 0 }, op = { 0 };

	service->seen++;
	mmq_reader_init(&reader, request, size);
	assert_true(mmq_read(&reader, &token) && token.type == MMQ_T_MAP);
	for (uint32_t i = 0; i < token.size; i++) {
		struct mmq_reader before;
		assert_true(mmq_read(&reader, &key));
		before = reader;
		assert_true(mmq_read(&before, &value) && mmq_read_skip(&reader));
		if (mmq_read_is(&key, "id"))
			id = value;
		if (mmq_read_is(&key, "op"))
			op = value;
	}
	bool goes_on = !mmq_read_is(&op, "quit");
	if (service->swallow > 0 && goes_on) {
		service->swallow--;
	} else {
		bool is_busy = mmq_read_is(&op, "busy") && service->seen <= 2, is_bad = mmq_read_is(&op, "bad") || is_busy;
		(*answers)++;
		mmq_put_map(out, 3);
		mmq_put_str(out, "id");
		mmq_put_strn(out, id.bytes, id.size);
		mmq_put_str(out, "ok");
		mmq_put_bool(out, !is_bad);
		if (is_bad) {
			mmq_put_str(out, "error");
			mmq_put_map(out, 5);
			mmq_put_str(out, "retryable");
			mmq_put_bool(out, is_busy);
			mmq_put_str(out, "retry_after_ms");
			mmq_put_int(out, 20);
			mmq_put_str(out, "code");
			mmq_put_str(out, is_busy ? "RESOURCE_EXHAUSTED" : "NOT_FOUND");
			mmq_put_str(out, "message");
			mmq_put_str(out, "no such model");
			mmq_put_str(out, "field");
			mmq_put_str(out, "model");
		} else {
			mmq_put_str(out, "echo");
			mmq_buf_append(out, request, size);
		}
	}
	return goes_on;
}

/* One frame: a request, or a list of them, answered by a list. false: quit. */
static bool
frame_answer(void *router, struct service *service)
{
	zmq_msg_t route, body;
	struct mmq_reader reader;
	struct mmq_token list = { .size = 1 };
	struct mmq_buf out;
	const uint8_t *request;
	size_t size, place = 0;
	uint32_t answers = 0;
	bool goes_on = true, is_list;

	zmq_msg_init(&route);
	zmq_msg_init(&body);
	mmq_buf_init(&out, 1 << 20);
	assert_true(zmq_msg_recv(&route, router, 0) >= 0 && zmq_msg_recv(&body, router, 0) > 0);
	mmq_reader_init(&reader, zmq_msg_data(&body), zmq_msg_size(&body));
	is_list = mmq_read_peek(&reader) == MMQ_T_ARRAY;
	if (is_list) {
		assert_true(mmq_read(&reader, &list) && list.size > 1);
		place = mmq_put_array_begin(&out);
		service->lists++;
	}
	for (uint32_t i = 0; i < list.size; i++) {
		assert_true(mmq_read_raw(&reader, &request, &size));
		goes_on = answer_one(service, request, size, &out, &answers) && goes_on;
	}
	if (is_list)
		mmq_put_array_end(&out, place, answers);
	if (answers > 0) {
		zmq_msg_send(&route, router, ZMQ_SNDMORE);
		zmq_send(router, out.bytes, out.size, 0);
	}
	mmq_buf_fini(&out);
	zmq_msg_close(&route);
	zmq_msg_close(&body);
	return goes_on;
}

static void *
router_new(struct service *service)
{
	void *router = zmq_socket(service->context, ZMQ_ROUTER);
	int linger = 1000;

	zmq_setsockopt(router, ZMQ_LINGER, &linger, sizeof(linger));
	for (int tries = 0; zmq_bind(router, service->endpoint) == -1; tries++) {
		assert_true(zmq_errno() == EADDRINUSE && tries < 1000);   /* an old socket of that port is about to go */
		zmq_poll(NULL, 0, 5);
	}
	return router;
}

static void *
service_run(void *arg)
{
	struct service *service = arg;
	void *router = router_new(service);
	bool dies = service->swallow > 0;

	while (frame_answer(router, service)) {
		if (dies && service->swallow == 0) {
			dies = false;
			zmq_close(router);
			router = router_new(service);
		}
	}
	zmq_close(router);
	return NULL;
}

static void
service_start(struct service *service, int swallow)
{
	strcpy(service->folder, "/tmp/mmq-client-XXXXXX");
	assert_non_null(mkdtemp(service->folder));
	snprintf(service->publish, sizeof(service->publish), "ipc://%s/publish", service->folder);
	snprintf(service->sink, sizeof(service->sink), "ipc://%s/sink", service->folder);
	service->context = zmq_ctx_new();
	snprintf(service->endpoint, sizeof(service->endpoint), "tcp://127.0.0.1:*");
	void *router = router_new(service);
	size_t endpoint_size = sizeof(service->endpoint);
	zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, service->endpoint, &endpoint_size);
	zmq_close(router);   /* the thread binds the same port anew */
	char path[128];
	snprintf(path, sizeof(path), "%s/endpoints", service->folder);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "request=%s\npublish=%s\nsink=%s\nwork=ipc://none\n", service->endpoint, service->publish, service->sink);
	fclose(file);
	service->swallow = swallow;
	service->seen = service->lists = 0;
	assert_int_equal(pthread_create(&service->thread, NULL, service_run, service), 0);
}

static void
service_stop(struct service *service, struct mmq_client *client)
{
	struct mmq_message *quit = mmq_message_new("quit");
	struct mmq_answer *answer = mmq_client_ask(client, &quit, 5000);
	char command[128];

	assert_true(mmq_answer_is_ok(answer));
	mmq_answer_destroy(&answer);
	mmq_client_close(&client);
	pthread_join(service->thread, NULL);
	zmq_ctx_term(service->context);
	snprintf(command, sizeof(command), "rm -rf %s", service->folder);
	assert_int_equal(system(command), 0);
}

static void
test_values_travel_and_answers_are_read_by_path(void **state)
{
	(void)state;
	struct service service;
	const double rows[] = { 1, 2, NAN, 4 }, tensor[] = { 1.5, -2.5 };
	const char *const want[] = { "prediction", "probability" };
	double numbers[4];
	size_t size;

	service_start(&service, 0);
	struct mmq_client *client = mmq_client_open(service.folder);
	assert_null(mmq_client_why(client));
	assert_string_equal(mmq_client_endpoint(client, "sink"), service.sink);
	struct mmq_message *message = mmq_message_new("predict");
	mmq_message_rows(message, "rows", rows, 2, 2);
	mmq_message_texts(message, "want", want, 2);
	mmq_message_map(message, "data");
	mmq_message_tensor(message, "tensor", tensor, 1, 2);
	mmq_message_number(message, "half", 0.5);
	mmq_message_flag(message, "yes", true);
	mmq_message_raw(message, "raw", "\x93\x01\x02\x03", 4);
	mmq_message_close(message);
	mmq_message_text(message, "model", "iris");   /* after the lists, yet sent before them */
	mmq_message_int(message, "priority", 7);
	struct mmq_answer *answer = mmq_client_ask(client, &message, 5000);
	assert_null(message);
	assert_true(mmq_answer_is_ok(answer));
	assert_string_equal(mmq_answer_why(answer), "");
	assert_string_equal(mmq_answer_text(answer, "echo.model"), "iris");
	assert_string_equal(mmq_answer_text(answer, "echo.want.1"), "probability");
	assert_null(mmq_answer_text(answer, "echo.want.2"));
	assert_int_equal(mmq_answer_int(answer, "echo.priority", -1), 7);
	assert_int_equal(mmq_answer_numbers(answer, "echo.rows", numbers, 4), 4);
	assert_true(numbers[1] == 2 && isnan(numbers[2]) && numbers[3] == 4);
	assert_int_equal(mmq_answer_int(answer, "echo.data.tensor.shape.1", -1), 2);
	assert_true(mmq_answer_flag(answer, "echo.data.yes", false));
	assert_true(mmq_answer_number(answer, "echo.data.half", 0) == 0.5);
	assert_int_equal(mmq_answer_count(answer, "echo.data.raw"), 3);
	assert_false(mmq_answer_has(answer, "echo.nothing"));
	const uint8_t *whole = mmq_answer_raw(answer, "echo", &size);
	assert_non_null(whole);
	const uint8_t *model = memmem(whole, size, "model", 5), *list = memmem(whole, size, "rows", 4);
	assert_true(model != NULL && list != NULL && model < list);
	mmq_answer_destroy(&answer);
	service_stop(&service, client);
}

static void
test_an_error_names_code_sentence_and_field(void **state)
{
	(void)state;
	struct service service;

	service_start(&service, 0);
	struct mmq_client *client = mmq_client_open(service.endpoint);
	struct mmq_message *message = mmq_message_new("bad");
	struct mmq_answer *answer = mmq_client_ask(client, &message, 5000);
	assert_false(mmq_answer_is_ok(answer));
	assert_false(mmq_answer_is_local(answer));
	assert_string_equal(mmq_answer_code(answer), "NOT_FOUND");
	assert_string_equal(mmq_answer_why(answer), "NOT_FOUND: no such model");   /* the sentence names the field already */
	mmq_answer_destroy(&answer);
	service_stop(&service, client);
}

/* The service dies with all it was given; what is unanswered goes out again, once each, with the same ids. */
static void
test_unanswered_requests_are_sent_again_after_a_restart(void **state)
{
	(void)state;
	struct service service;
	char ids[5][40];

	service_start(&service, 5);
	struct mmq_client *client = mmq_client_open(service.folder);
	for (int i = 0; i < 5; i++) {
		struct mmq_message *message = mmq_message_new("ping");
		strcpy(ids[i], mmq_message_id(message));
		assert_int_equal(mmq_client_send(client, &message), 0);
	}
	for (int i = 0; i < 5; i++) {
		struct mmq_answer *answer = mmq_client_receive(client, 5000);
		assert_non_null(answer);
		assert_true(mmq_answer_is_ok(answer));
		assert_string_equal(mmq_answer_id(answer), ids[i]);
		mmq_answer_destroy(&answer);
	}
	assert_int_equal(mmq_client_unanswered(client), 0);
	assert_null(mmq_client_receive(client, 0));
	assert_int_equal(service.seen, 10);
	assert_true(service.lists > 0);   /* what waited for the new connection left together */
	service_stop(&service, client);
}

static void
test_many_messages_leave_in_few_frames(void **state)
{
	(void)state;
	enum { MANY = 600 };
	struct service service;
	struct mmq_message *messages[MANY];
	bool is_seen[MANY] = { false };

	service_start(&service, 0);
	struct mmq_client *client = mmq_client_open(service.folder);
	for (int i = 0; i < MANY; i++) {
		messages[i] = mmq_message_new("ping");
		mmq_message_int(messages[i], "number", i);
	}
	mmq_message_close(messages[7]);   /* built wrongly: its neighbours leave all the same */
	assert_int_equal(mmq_client_send_many(client, messages, MANY), -1);
	for (int i = 0; i < MANY; i++) {
		struct mmq_answer *answer = mmq_client_receive(client, 5000);
		assert_non_null(answer);
		assert_null(messages[i]);
		if (mmq_answer_is_ok(answer))
			is_seen[mmq_answer_int(answer, "echo.number", 7)] = true;
		else
			assert_string_equal(mmq_answer_code(answer), "INVALID_ARGUMENT");
		mmq_answer_destroy(&answer);
	}
	for (int i = 0; i < MANY; i++)
		assert_int_equal(is_seen[i], i != 7);
	assert_in_range(service.lists, 3, 20);   /* 64 KiB and 256 requests each; those before the connection was there wait in the socket */
	service_stop(&service, client);
}

static void
test_a_busy_service_is_asked_again_when_wanted(void **state)
{
	(void)state;
	struct service service;

	for (int wanted = 0; wanted <= 1; wanted++) {
		service_start(&service, 0);
		struct mmq_client_options options = { .home = service.folder, .retry_ms = wanted ? 5000 : 0 };
		struct mmq_client *client = mmq_client_open_with(&options);
		struct mmq_message *message = mmq_message_new("busy");
		struct mmq_answer *answer = mmq_client_ask(client, &message, 5000);
		assert_string_equal(mmq_answer_code(answer), wanted ? "OK" : "RESOURCE_EXHAUSTED");
		assert_int_equal(service.seen, wanted ? 3 : 1);
		mmq_answer_destroy(&answer);
		service_stop(&service, client);
	}
}

static void
test_nobody_there_is_said_in_time(void **state)
{
	(void)state;
	struct mmq_client_options options = { .request = "ipc:///tmp/mmq-nobody-is-here", .connect_ms = 100 };
	struct mmq_client *client = mmq_client_open_with(&options);
	struct mmq_message *message = mmq_message_new("ping");
	struct mmq_answer *answer = mmq_client_ask(client, &message, 20000);

	assert_true(mmq_answer_is_local(answer));
	assert_string_equal(mmq_answer_code(answer), "UNAVAILABLE");
	mmq_answer_destroy(&answer);
	message = mmq_message_new("ping");
	answer = mmq_client_ask(client, &message, 20);
	assert_true(mmq_answer_is_local(answer));
	mmq_answer_destroy(&answer);
	mmq_client_close(&client);

	client = mmq_client_open("/nonexistent/home");
	assert_non_null(strstr(mmq_client_why(client), "modelmq up"));
	message = mmq_message_new("ping");
	answer = mmq_client_ask(client, &message, 1000);
	assert_string_equal(mmq_answer_code(answer), "UNAVAILABLE");
	mmq_answer_destroy(&answer);
	mmq_client_close(&client);
}

static void
test_a_slow_answer_times_out_and_its_late_answer_is_dropped(void **state)
{
	(void)state;
	void *context = zmq_ctx_new(), *router = zmq_socket(context, ZMQ_ROUTER);
	char endpoint[128], route[64];
	uint8_t body[256];
	size_t endpoint_size = sizeof(endpoint);

	assert_int_equal(zmq_bind(router, "tcp://127.0.0.1:*"), 0);
	zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &endpoint_size);
	struct mmq_client *client = mmq_client_open(endpoint);
	struct mmq_message *message = mmq_message_new("ping");
	struct mmq_answer *answer = mmq_client_ask(client, &message, 200);
	assert_string_equal(mmq_answer_code(answer), "DEADLINE_EXCEEDED");
	assert_true(mmq_answer_is_local(answer));

	struct mmq_buf late;
	mmq_buf_init(&late, 1024);
	mmq_put_map(&late, 2);
	mmq_put_str(&late, "id");
	mmq_put_str(&late, mmq_answer_id(answer));
	mmq_put_str(&late, "ok");
	mmq_put_bool(&late, true);
	mmq_answer_destroy(&answer);
	int route_size = zmq_recv(router, route, sizeof(route), 0);
	assert_true(route_size > 0 && zmq_recv(router, body, sizeof(body), 0) > 0);
	zmq_send(router, route, (size_t)route_size, ZMQ_SNDMORE);
	zmq_send(router, late.bytes, late.size, 0);
	mmq_buf_fini(&late);
	message = mmq_message_new("ping");
	answer = mmq_client_ask(client, &message, 200);
	assert_string_equal(mmq_answer_code(answer), "DEADLINE_EXCEEDED");
	mmq_answer_destroy(&answer);
	mmq_client_close(&client);
	zmq_close(router);
	zmq_ctx_term(context);
}

static void
expect_misuse(struct mmq_client *client, struct mmq_message *message)
{
	struct mmq_answer *answer = mmq_client_ask(client, &message, 1000);

	assert_true(mmq_answer_is_local(answer));
	assert_string_equal(mmq_answer_code(answer), "INVALID_ARGUMENT");
	mmq_answer_destroy(&answer);
}

static void
test_wrongly_built_messages_never_leave(void **state)
{
	(void)state;
	struct mmq_client *client = mmq_client_open("ipc:///tmp/mmq-nobody-is-here");
	struct mmq_message *message = mmq_message_new("x");

	mmq_message_close(message);
	expect_misuse(client, message);
	message = mmq_message_new("x");
	mmq_message_map(message, "open");
	expect_misuse(client, message);
	message = mmq_message_new("x");
	mmq_message_int(message, NULL, 1);
	expect_misuse(client, message);
	message = mmq_message_new("x");
	mmq_message_raw(message, "raw", "\x93\x01", 2);
	expect_misuse(client, message);
	message = mmq_message_new("x");
	for (int i = 0; i < 20; i++)
		mmq_message_list(message, i == 0 ? "deep" : NULL);
	expect_misuse(client, message);
	message = mmq_message_new("x");
	mmq_message_text(message, "text", "\xff\xfe");
	expect_misuse(client, message);
	message = mmq_message_new("x");
	mmq_message_set_id(message, "");
	expect_misuse(client, message);
	mmq_client_close(&client);
}

static void
test_push_and_sink(void **state)
{
	(void)state;
	void *context = zmq_ctx_new(), *pull = zmq_socket(context, ZMQ_PULL), *pub = zmq_socket(context, ZMQ_XPUB);
	char publish[128], sink[128], subscription[64];
	uint8_t frame[256];
	size_t publish_size = sizeof(publish), sink_size = sizeof(sink);
	const char *why;

	assert_int_equal(zmq_bind(pull, "tcp://127.0.0.1:*"), 0);
	assert_int_equal(zmq_bind(pub, "tcp://127.0.0.1:*"), 0);
	zmq_getsockopt(pull, ZMQ_LAST_ENDPOINT, publish, &publish_size);
	zmq_getsockopt(pub, ZMQ_LAST_ENDPOINT, sink, &sink_size);
	struct mmq_client_options options = { .publish = publish, .sink = sink };
	struct mmq_client *client = mmq_client_open_with(&options);
	assert_null(mmq_client_why(client));
	assert_null(mmq_client_next(client, 0));
	assert_int_equal(mmq_client_subscribe(client, "result/"), 0);
	assert_int_equal(zmq_recv(pub, subscription, sizeof(subscription), 0), 8);
	zmq_send(pub, "result/default/m/predict", 24, ZMQ_SNDMORE);
	zmq_send(pub, "\x81\xa1n\x05", 4, 0);
	struct mmq_answer *answer = mmq_client_next(client, 5000);
	assert_non_null(answer);
	assert_true(mmq_answer_is_ok(answer));
	assert_string_equal(mmq_answer_topic(answer), "result/default/m/predict");
	assert_int_equal(mmq_answer_int(answer, "n", -1), 5);
	mmq_answer_destroy(&answer);
	zmq_send(pub, "result/junk", 11, ZMQ_SNDMORE);
	zmq_send(pub, "\xdd\xff\xff\xff\xff", 5, 0);   /* a list that announces 4 billion elements */
	answer = mmq_client_next(client, 5000);
	assert_false(mmq_answer_is_ok(answer));
	assert_int_equal(mmq_answer_count(answer, ""), 0);
	mmq_answer_destroy(&answer);

	struct mmq_message *message = mmq_message_new("predict");
	assert_int_equal(mmq_client_push(client, &message, 5000, &why), 0);
	assert_null(why);
	assert_true(zmq_recv(pull, frame, sizeof(frame), 0) > 0);
	mmq_client_close(&client);

	struct mmq_client_options nowhere = { .publish = "ipc:///tmp/mmq-nobody-is-here" };
	client = mmq_client_open_with(&nowhere);
	message = mmq_message_new("predict");
	assert_int_equal(mmq_client_push(client, &message, 50, &why), -1);
	assert_non_null(why);
	assert_null(message);
	mmq_client_close(&client);
	zmq_close(pull);
	zmq_close(pub);
	zmq_ctx_term(context);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_travel_and_answers_are_read_by_path),
		cmocka_unit_test(test_an_error_names_code_sentence_and_field),
		cmocka_unit_test(test_unanswered_requests_are_sent_again_after_a_restart),
		cmocka_unit_test(test_many_messages_leave_in_few_frames),
		cmocka_unit_test(test_a_busy_service_is_asked_again_when_wanted),
		cmocka_unit_test(test_nobody_there_is_said_in_time),
		cmocka_unit_test(test_a_slow_answer_times_out_and_its_late_answer_is_dropped),
		cmocka_unit_test(test_wrongly_built_messages_never_leave),
		cmocka_unit_test(test_push_and_sink),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
