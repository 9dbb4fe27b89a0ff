/* The parts of the broker's shell that need no core: connections and outboxes, the folder, topics of tenants, keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <czmq.h>

#include "broker/shell_home.h"
#include "broker/shell_route.h"
#include "broker/sink.h"
#include "broker/zap.h"
#include "util/mem.h"

static char *const nothing[SHELL_SOCKETS];
static char folder[64];

static int
folder_make(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/mmq-shell-%d-%06lx", (int)getpid(), (unsigned long)random() & 0xffffff);
	return mkdir(folder, 0700);
}

static int
folder_remove(void **state)
{
	char command[160];

	(void)state;
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	return system(command);
}

static char *
inside(const char *name)
{
	static char path[4][4096];
	static int turn;
	char *text = path[turn++ & 3];

	snprintf(text, 4096, "%s/%s", folder, name);
	return text;
}

static void
test_second_broker_on_a_home_is_refused(void **state)
{
	struct shell_home first, second;
	struct mmq_err err;

	(void)state;
	assert_int_equal(mmq_shell_home_open(&first, inside("home"), nothing, false, &err), 0);
	assert_int_equal(mmq_shell_home_open(&second, inside("home"), nothing, false, &err), -1);
	assert_int_equal(err.code, MMQ_UNAVAILABLE);
	mmq_shell_home_close(&second);
	mmq_shell_home_close(&first);
	assert_int_equal(mmq_shell_home_open(&first, inside("home"), nothing, false, &err), 0);
	mmq_shell_home_close(&first);
}

static void
test_long_home_has_a_short_runtime_folder_that_stays(void **state)
{
	char name[200], first_endpoint[512], record[256];
	struct shell_home home;
	struct mmq_err err;
	FILE *file;

	(void)state;
	memset(name, 'h', 120);
	name[120] = 0;
	assert_int_equal(mmq_shell_home_open(&home, inside(name), nothing, false, &err), 0);
	snprintf(first_endpoint, sizeof first_endpoint, "%s", home.endpoint[SHELL_REQUEST]);
	assert_true(strlen(first_endpoint) <= 107 + 6);
	mmq_shell_home_close(&home);
	assert_int_equal(mmq_shell_home_open(&home, inside(name), nothing, false, &err), 0);
	assert_string_equal(home.endpoint[SHELL_REQUEST], first_endpoint);
	snprintf(record, sizeof record, "%s/runtime", home.path);
	mmq_shell_home_close(&home);
	file = fopen(record, "r");
	assert_non_null(file);
	assert_non_null(fgets(record, sizeof record, file));
	fclose(file);
	record[strcspn(record, "\n")] = 0;
	assert_int_equal(rmdir(record), 0);
}

static void
test_open_ports_are_kept_and_outside_addresses_need_keys(void **state)
{
	char *const outside[SHELL_SOCKETS] = { [SHELL_REQUEST] = "tcp://0.0.0.0:5550" };
	char *const open_port[SHELL_SOCKETS] = { [SHELL_REQUEST] = "tcp://127.0.0.1:0" };
	char *const strange[SHELL_SOCKETS] = { [SHELL_SINK] = "inproc://x" };
	struct shell_home home;
	struct mmq_err err;

	(void)state;
	assert_int_equal(mmq_shell_home_open(&home, inside("home"), outside, false, &err), -1);
	assert_string_equal(err.field, "request");
	mmq_shell_home_close(&home);
	assert_int_equal(mmq_shell_home_open(&home, inside("home"), strange, false, &err), -1);
	assert_string_equal(err.field, "sink");
	mmq_shell_home_close(&home);
	assert_int_equal(mmq_shell_home_open(&home, inside("home"), outside, true, &err), 0);
	mmq_shell_home_close(&home);

	assert_int_equal(mmq_shell_home_open(&home, inside("home"), open_port, false, &err), 0);
	assert_string_equal(home.endpoint[SHELL_REQUEST], "tcp://127.0.0.1:*");
	free(home.endpoint[SHELL_REQUEST]);
	home.endpoint[SHELL_REQUEST] = mmq_strdup("tcp://127.0.0.1:45678");
	assert_int_equal(mmq_shell_home_write(&home, &err), 0);
	mmq_shell_home_close(&home);
	assert_int_equal(mmq_shell_home_open(&home, inside("home"), open_port, false, &err), 0);
	assert_string_equal(home.endpoint[SHELL_REQUEST], "tcp://127.0.0.1:45678");
	mmq_shell_home_close(&home);
}

static void
test_subscriptions_never_reach_another_tenant(void **state)
{
	static const struct { const char *tenant, *wish; int count; const char *first; } cases[] = {
		{ "a", "", 4, "result/a/" }, { "a", "result/", 1, "result/a/" }, { "a", "result/a", 1, "result/a/" },
		{ "a", "result/a/iris/predict", 1, "result/a/iris/predict" }, { "a", "result/ab", 0, NULL }, { "ab", "result/a", 1, "result/ab/" },
		{ "a", "result/b/", 0, NULL }, { "a", "mark/a", 1, "mark/a/" }, { "a", "m", 2, "model/a/" }, { "a", "secret", 0, NULL },
		{ "a", "job/a/00", 1, "job/a/00" },
	};
	char topics[SINK_KINDS][SINK_TOPIC_MAX];
	char long_wish[SINK_TOPIC_MAX + 8];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(mmq_sink_narrow(cases[i].tenant, cases[i].wish, strlen(cases[i].wish), topics), cases[i].count);
		if (cases[i].count > 0)
			assert_string_equal(topics[0], cases[i].first);
	}
	memset(long_wish, 'r', sizeof long_wish);
	assert_int_equal(mmq_sink_narrow("a", long_wish, sizeof long_wish, topics), 0);
}

static void
gone_count(void *arg, uint64_t number)
{
	(void)number;
	(*(int *)arg)++;
}

static enum route_sent
send_bytes(struct routes *routes, struct route *route, size_t size, int64_t now_us)
{
	zmq_msg_t part;

	zmq_msg_init_size(&part, size);
	memset(zmq_msg_data(&part), 'x', size);
	return mmq_routes_send(routes, route, &part, 1, now_us);
}

/* A client that does not read fills its socket, then its outbox, and after that loses only its own messages. */
static void
test_outbox_has_a_budget_and_empties_when_the_client_reads(void **state)
{
	void *context = zmq_ctx_new(), *router = zmq_socket(context, ZMQ_ROUTER), *dealer = zmq_socket(context, ZMQ_DEALER);
	int on = 1, hwm = 2, linger_ms = 0, timeout_ms = 10, received = 0, sent = 0, waits = 0, gone = 0;
	char endpoint[96], id[256], body[4096];
	struct routes routes;
	struct route *route;
	int id_size;
	uint64_t number;

	(void)state;
	snprintf(endpoint, sizeof endpoint, "ipc://%s/socket", folder);
	zmq_setsockopt(router, ZMQ_ROUTER_MANDATORY, &on, sizeof on);
	zmq_setsockopt(router, ZMQ_SNDHWM, &hwm, sizeof hwm);
	zmq_setsockopt(dealer, ZMQ_RCVHWM, &hwm, sizeof hwm);
	zmq_setsockopt(dealer, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
	zmq_setsockopt(router, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
	zmq_setsockopt(dealer, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
	assert_int_equal(zmq_bind(router, endpoint), 0);
	assert_int_equal(zmq_connect(dealer, endpoint), 0);
	zmq_send(dealer, "x", 1, 0);
	id_size = zmq_recv(router, id, sizeof id, 0);
	zmq_recv(router, body, sizeof body, 0);
	mmq_routes_init(&routes, router, 100000, 50000, 1000000);
	route = mmq_routes_get(&routes, id, (size_t)id_size, "default");
	assert_ptr_equal(mmq_routes_get(&routes, id, (size_t)id_size, "default"), route);
	number = route->number;
	for (enum route_sent how = ROUTE_SENT; how != ROUTE_FULL && sent + waits < 100000;) {
		how = send_bytes(&routes, route, 4000, 1);
		sent += how == ROUTE_SENT;
		waits += how == ROUTE_WAITS;
	}
	assert_in_range(waits, 10, 13);
	assert_true(routes.mail_bytes <= 50000 && route->mail_bytes == routes.mail_bytes);
	mmq_routes_release(&routes, route);
	assert_ptr_equal(mmq_routes_find(&routes, number), route);
	for (int tries = 0; tries < 1000 && received < sent + waits; tries++) {
		mmq_routes_retry(&routes, 2, gone_count, &gone);
		while (zmq_recv(dealer, body, sizeof body, 0) == 4000)
			received++;
	}
	assert_int_equal(received, sent + waits);
	assert_int_equal(routes.mail_bytes, 0);
	assert_int_equal(gone, 0);
	assert_null(mmq_routes_find(&routes, number));
	route = mmq_routes_get(&routes, "other", 5, "default");
	assert_int_not_equal(route->number, number);
	assert_null(mmq_routes_find(&routes, number));
	assert_int_equal(send_bytes(&routes, route, 1, 3), ROUTE_GONE);
	mmq_routes_fini(&routes);
	zmq_close(router);
	zmq_close(dealer);
	zmq_ctx_term(context);
}

static void
key_write(const char *name, const char *role, const char *tenant, char public_out[41])
{
	zcert_t *cert = zcert_new();

	zcert_set_meta(cert, "role", "%s", role);
	zcert_set_meta(cert, "tenant", "%s", tenant);
	assert_int_equal(zcert_save_public(cert, inside(name)), 0);
	snprintf(public_out, 41, "%s", zcert_public_txt(cert));
	zcert_destroy(&cert);
}

static void
test_keys_have_roles_and_can_be_taken_back(void **state)
{
	void *context = zmq_ctx_new();
	char client[41], worker[41], later[41], own[41];
	struct mmq_err err;
	struct zap zap;

	(void)state;
	assert_int_equal(mmq_zap_open(&zap, context, inside("keys"), &err), 0);
	snprintf(own, sizeof own, "%s", zap.public_key);
	key_write("keys/allow/c", "client", "acme", client);
	key_write("keys/allow/w", "worker", "default", worker);
	assert_false(mmq_zap_reload(&zap));
	assert_non_null(mmq_zap_find(&zap, client, SHELL_REQUEST));
	assert_string_equal(mmq_zap_find(&zap, client, SHELL_SINK)->tenant, "acme");
	assert_null(mmq_zap_find(&zap, client, SHELL_WORK));
	assert_null(mmq_zap_find(&zap, worker, SHELL_REQUEST));
	assert_non_null(mmq_zap_find(&zap, worker, SHELL_WORK));
	assert_null(mmq_zap_find(&zap, NULL, SHELL_REQUEST));
	key_write("keys/allow/l", "client,admin", "default", later);
	assert_false(mmq_zap_reload(&zap));
	assert_non_null(mmq_zap_find(&zap, later, SHELL_PUBLISH));
	assert_int_equal(unlink(inside("keys/allow/c")), 0);
	assert_true(mmq_zap_reload(&zap));
	assert_null(mmq_zap_find(&zap, client, SHELL_REQUEST));
	mmq_zap_close(&zap);
	zmq_ctx_term(context);
	context = zmq_ctx_new();
	assert_int_equal(mmq_zap_open(&zap, context, inside("keys"), &err), 0);
	assert_string_equal(zap.public_key, own);
	mmq_zap_close(&zap);
	zmq_ctx_term(context);
}

int
main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
	const struct CMUnitTest tests[] = {
		IN_FOLDER(test_second_broker_on_a_home_is_refused),
		IN_FOLDER(test_long_home_has_a_short_runtime_folder_that_stays),
		IN_FOLDER(test_open_ports_are_kept_and_outside_addresses_need_keys),
		cmocka_unit_test(test_subscriptions_never_reach_another_tenant),
		IN_FOLDER(test_outbox_has_a_budget_and_empties_when_the_client_reads),
		IN_FOLDER(test_keys_have_roles_and_can_be_taken_back),
	};
	srandom((unsigned)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
