/* bench_broker.c: requests through the broker, beside the least that libzmq can do (sides.h): an own loop between two ROUTERs (`loop`), and
 * zmq_proxy (`proxy`). On ipc and tcp, with bodies of 64 and 1024 bytes, 1, 64 and 1024 in flight. `packed` is the broker with up to 64
 * requests in one frame of the client's, as a list (one in flight: none to pack).
 *
 * All three have the same client and an echoing worker in a process of its own; that of `broker` is on lib/work. Every request has
 * a number of its own, and the client checks that each comes back once and unchanged. Rates move with the machine's mood:
 * compare the ratios, which come from the medians of rounds that alternate. CPU is that of client, middle process and worker, all threads:
 * where their sum comes near the cores' time per request, it is the sum that bounds the rate.
 *     bench_broker [rounds] [requests] [ipc|tcp|all] [64|1024|0] [in flight|0] [loop|proxy|broker|packed|all] [path of modelmq-broker] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "bench/load.h"
#include "bench/sides.h"
#include "work/work.h"

enum { LOOP, PROXY, BROKER, PACKED, SIDES, CLIENT = 0, MIDDLE, WORKER, PROCESSES, ROUNDS_MAX = 31, REQUEST_MAX = 2048, WARM_TRIES = 20000 };

static const char *const side_names[SIDES] = { "loop", "proxy", "broker", "packed" };
static bool is_wanted[SIDES];    /* one side alone is for profilers */
static char home[64];

/* A predictor that answers with the request itself: it is a map with the right id, which is all the client looks at. */
static void
broker_worker_run(const char *endpoint)
{
	static const uint32_t versions[] = { 1 };
	static const struct mmq_work_alias alias = { "production", 1 };
	const struct mmq_work_model model = { .tenant = "default", .name = "m", .versions = versions, .versions_count = 1, .aliases = &alias, .aliases_count = 1 };
	const struct mmq_worker_options options = { .kind = MMQ_WORKER_PREDICTOR, .endpoint = endpoint, .build = "bench" };
	struct mmq_worker *worker;
	struct mmq_work_event event;
	struct mmq_err err;

	if (mmq_worker_open(&worker, &options, &err) == -1) {
		fprintf(stderr, "bench: %s\n", err.message);
		exit(1);
	}
	mmq_worker_ready(worker, MMQ_WORK_PREDICT, 1024);
	while (mmq_worker_next(worker, -1, &event, &err) != -1)
		if (event.kind == MMQ_WORK_EVENT_WELCOME) {
			mmq_worker_catalogue(worker, &model, 1, true);
		} else if (event.kind == MMQ_WORK_EVENT_WORK) {
			const struct mmq_work_result result = { .code = MMQ_OK, .rows = 1, .service_us = 1, .version = 1 };

			mmq_worker_answer(worker, &event.item, &result, event.item->body, event.item->body_bytes);
		}
	exit(1);
}

static void
broker_start(struct bench_side *side, const char *program)
{
	const char *argv[] = { program, "--home", home, "--request", side->front, "--work", side->back, "--log-level", "error", "--ready-fd", NULL, NULL };

	side->middle = bench_daemon_start(program, argv, sizeof argv / sizeof *argv - 1);
	side->worker = bench_fork();
	if (side->worker == 0)
		broker_worker_run(side->back);
}

static bool
is_echo(const struct load_request *request, const uint8_t *answer, size_t size)
{
	size_t id_end = request->id_at + LOAD_ID_CHARS;

	return size == request->size && memcmp(answer, request->bytes, request->id_at) == 0 &&
	    memcmp(answer + id_end, request->bytes + id_end, size - id_end) == 0;
}

/* A prediction of `size` bytes: the rows' text fills what the rest leaves. */
static void
request_make(struct load_request *request, size_t size)
{
	static const char keys[] = "\x85\xa1v\x01\xa2op\xa7predict\xa2id\xa8" "00000000" "\xa5model\xa1m\xa4rows\xc5";
	static uint8_t bytes[REQUEST_MAX];

	memset(bytes, 0, sizeof bytes);
	memcpy(bytes, keys, sizeof keys - 1);
	request->bytes = bytes;
	request->size = size;
	request->id_at = (size_t)((const char *)memchr(keys, '0', sizeof keys) - keys);
	bytes[sizeof keys - 1] = (uint8_t)((size - sizeof keys - 1) >> 8);
	bytes[sizeof keys] = (uint8_t)(size - sizeof keys - 1);
}

/* The model is known once the worker said hello: until then the broker refuses, and its refusal is no echo. */
static void
warm_up(struct load *load)
{
	const struct load_request *request = load->requests;
	char answer[REQUEST_MAX];

	for (int tries = 0; tries < WARM_TRIES; tries++) {
		zmq_send(load->socket, request->bytes, request->size, 0);
		if (zmq_recv(load->socket, answer, sizeof answer, 0) == (int)request->size)
			break;
	}
	load_rate(load, 64, 2000);
}

static void
row_print(const char *transport, size_t size, int in_flight, double rates[SIDES][ROUNDS_MAX], int rounds, const double (*cpu)[PROCESSES])
{
	double medians[SIDES] = { 0 }, best;

	for (int i = 0; i < SIDES; i++) {
		if (is_wanted[i])
			medians[i] = load_quantile(rates[i], rounds, 0.5);
		if (is_wanted[i] && in_flight == 1)
			medians[i] = 1e6 / medians[i];
	}
	best = in_flight == 1 ? medians[medians[PROXY] < medians[LOOP]] : medians[medians[PROXY] > medians[LOOP]];
	printf("%-4s %5zu %9d %-5s", transport, size, in_flight, in_flight == 1 ? "us" : "1/s");
	for (int i = 0; i < SIDES; i++)
		printf(" %9.0f", medians[i]);
	printf(" %11.2f %11.2f ", best > 0 ? medians[BROKER] / best : 0, medians[LOOP] > 0 ? medians[PACKED] / medians[LOOP] : 0);
	for (int i = 0; i < SIDES; i++)
		printf("  %4.2f+%4.2f+%4.2f", cpu[i][CLIENT], cpu[i][MIDDLE], cpu[i][WORKER]);
	printf("\n");
	fflush(stdout);
}

static void
row_measure(const struct bench_side *sides, struct load *loads, const char *transport, size_t size, int in_flight, int rounds, int count)
{
	static double rates[SIDES][ROUNDS_MAX];
	struct load_request request;
	double cpu[SIDES][PROCESSES] = { { 0 } };

	request_make(&request, size);
	if (in_flight == 1)
		count = count / 10 + 1;
	for (int i = 0; i < SIDES; i++) {
		loads[i].requests = &request;
		loads[i].requests_count = 1;
		loads[i].answer_id_at = request.id_at;
		loads[i].is_good = is_echo;
		loads[i].pack_max = i == PACKED && in_flight > 1 ? LOAD_PACK_MAX : 0;
		if (is_wanted[i])
			warm_up(&loads[i]);
	}
	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < SIDES; i++) {
			if (!is_wanted[i])
				continue;
			const pid_t processes[PROCESSES] = { [CLIENT] = getpid(), [MIDDLE] = sides[i].middle, [WORKER] = sides[i].worker };
			double before_us[PROCESSES];

			for (int p = 0; p < PROCESSES; p++)
				before_us[p] = bench_cpu_us(processes[p]);
			rates[i][round] = load_rate(&loads[i], in_flight, count);
			for (int p = 0; p < PROCESSES; p++)
				cpu[i][p] += (bench_cpu_us(processes[p]) - before_us[p]) / rounds / count;
		}
	row_print(transport, size, in_flight, rates, rounds, cpu);
}

static void
transport_measure(bool tcp, size_t only_size, int only_in_flight, int rounds, int count, const char *program)
{
	static const size_t sizes[] = { 64, 1024 };
	static const int in_flight[] = { 1, 64, 1024 };
	static struct load loads[SIDES];
	struct bench_side sides[SIDES];
	void *context;
	char command[256];

	snprintf(home, sizeof home, "/tmp/mmq-bench-%d", (int)getpid());
	for (int i = 0; i < SIDES; i++) {
		bench_side_name(&sides[i], tcp, i);
		if (!is_wanted[i])
			continue;
		if (i == PACKED && is_wanted[BROKER])
			sides[i] = sides[BROKER];
		else if (i >= BROKER)
			broker_start(&sides[i], program);
		else
			(i == LOOP ? bench_loop_start : bench_proxy_start)(&sides[i]);
	}
	context = zmq_ctx_new();
	for (int i = 0; i < SIDES; i++)
		loads[i].socket = is_wanted[i] ? bench_socket(context, ZMQ_DEALER, sides[i].front, false) : NULL;
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (size_t f = 0; f < sizeof in_flight / sizeof *in_flight; f++)
			if ((only_size == 0 || only_size == sizes[s]) && (only_in_flight == 0 || only_in_flight == in_flight[f]))
				row_measure(sides, loads, tcp ? "tcp" : "ipc", sizes[s], in_flight[f], rounds, count);
	for (int i = 0; i < SIDES; i++)
		if (is_wanted[i]) {
			if (i != PACKED || !is_wanted[BROKER])
				bench_side_stop(&sides[i]);
			zmq_close(loads[i].socket);
		}
	zmq_ctx_term(context);
	snprintf(command, sizeof command, "rm -rf '%s'", home);
	if ((is_wanted[BROKER] || is_wanted[PACKED]) && system(command) != 0)
		exit(1);
}

int
main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 5, count = argc > 2 ? atoi(argv[2]) : 100000, in_flight = argc > 5 ? atoi(argv[5]) : 0;
	const char *transport = argc > 3 ? argv[3] : "all", *side = argc > 6 ? argv[6] : "all", *program = argc > 7 ? argv[7] : "build/bin/modelmq-broker";
	size_t size = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;

	rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
	count = count < LOAD_IN_FLIGHT_MAX ? LOAD_IN_FLIGHT_MAX : count;
	for (int i = 0; i < SIDES; i++)
		is_wanted[i] = strcmp(side, "all") == 0 || strcmp(side, side_names[i]) == 0;
	printf("medians of %d interleaved rounds of %d requests (a tenth of it with one in flight)\n", rounds, count);
	printf("%-4s %5s %9s %-5s", "", "bytes", "in flight", "");
	for (int i = 0; i < SIDES; i++)
		printf(" %9s", side_names[i]);
	printf(" %11s %11s  %s\n", "broker/best", "packed/loop", "CPU us per request of each: client+middle+worker");
	for (int tcp = 0; tcp < 2; tcp++)
		if (strcmp(transport, tcp ? "ipc" : "tcp") != 0)
			transport_measure(tcp, size, in_flight, rounds, count, program);
	return 0;
}
