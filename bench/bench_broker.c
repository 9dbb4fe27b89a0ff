/* bench_broker.c: requests through the broker, beside the least that libzmq can do: an own loop that moves frames between two ROUTERs
 * in bursts and knows nothing (`loop`), and zmq_proxy (`proxy`). On ipc and tcp, with bodies of 64 and 1024 bytes, 1, 64 and 1024 in flight.
 *
 * All three have the same client and an echoing worker in a process of its own; that of `broker` is on lib/work. Every request has
 * a number of its own, and the client checks that each comes back once and unchanged. Rates move with the machine's mood:
 * compare the ratios, which come from the medians of rounds that alternate. CPU is that of the middle process, all its threads.
 *     bench_broker [rounds] [requests] [ipc|tcp|all] [64|1024|0] [in flight|0] [path of modelmq-broker] */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "mpack/writer.h"
#include "util/clock.h"
#include "work/work.h"

enum { ROUNDS_MAX = 31, BURST = 128, SIDES = 3, IN_FLIGHT_MAX = 1024, ID_CHARS = 8, REQUEST_MAX = 2048 };

static const char *const side_names[SIDES] = { "loop", "proxy", "broker" };

struct side {
	char front[128], back[128];
	pid_t middle, worker;
	void *socket;
};

struct request {
	uint8_t bytes[REQUEST_MAX];
	size_t size, id_at;
	unsigned next;                   /* number of the next request */
	bool waits[IN_FLIGHT_MAX];       /* by number modulo IN_FLIGHT_MAX */
};

static char home[64];

static void *
socket_new(void *context, int type, const char *endpoint, bool bind)
{
	void *socket = zmq_socket(context, type);
	int linger_ms = 0, hwm = 100000, timeout_ms = 10000;

	zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
	zmq_setsockopt(socket, ZMQ_SNDHWM, &hwm, sizeof hwm);
	zmq_setsockopt(socket, ZMQ_RCVHWM, &hwm, sizeof hwm);
	if (!bind)
		zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
	if ((bind ? zmq_bind(socket, endpoint) : zmq_connect(socket, endpoint)) == -1) {
		fprintf(stderr, "bench: %s: %s\n", endpoint, zmq_strerror(errno));
		exit(1);
	}
	return socket;
}

/* Move whole messages from one ROUTER to the other: the routing id of the source travels as the first frame. */
static void
plain_move(void *from, void *to, const char *worker, size_t worker_size)
{
	for (int burst = 0; burst < BURST; burst++) {
		zmq_msg_t id, body;

		zmq_msg_init(&id);
		zmq_msg_init(&body);
		if (zmq_msg_recv(&id, from, ZMQ_DONTWAIT) == -1)
			return;
		if (worker_size > 0) {
			zmq_msg_recv(&body, from, 0);
			zmq_send(to, worker, worker_size, ZMQ_SNDMORE);
		} else {
			zmq_msg_close(&id);
			zmq_msg_init(&id);
			zmq_msg_recv(&id, from, 0);
			zmq_msg_recv(&body, from, 0);
		}
		zmq_msg_send(&id, to, ZMQ_SNDMORE);
		zmq_msg_send(&body, to, 0);
	}
}

static void
plain_run(const char *front_at, const char *back_at)
{
	void *context = zmq_ctx_new(), *front = socket_new(context, ZMQ_ROUTER, front_at, true), *back = socket_new(context, ZMQ_ROUTER, back_at, true);
	char worker[256], hello[8];
	int size = zmq_recv(back, worker, sizeof worker, 0);

	zmq_recv(back, hello, sizeof hello, 0);
	for (;;) {
		zmq_pollitem_t items[2] = { { .socket = front, .events = ZMQ_POLLIN }, { .socket = back, .events = ZMQ_POLLIN } };

		zmq_poll(items, 2, -1);
		if (items[1].revents)
			plain_move(back, front, NULL, 0);
		if (items[0].revents)
			plain_move(front, back, worker, (size_t)size);
	}
}

static void
proxy_run(const char *front_at, const char *back_at)
{
	void *context = zmq_ctx_new();

	zmq_proxy(socket_new(context, ZMQ_ROUTER, front_at, true), socket_new(context, ZMQ_DEALER, back_at, true), NULL);
}

static void
plain_worker_run(const char *back_at, bool says_hello)
{
	void *context = zmq_ctx_new(), *socket = socket_new(context, ZMQ_DEALER, back_at, false);
	int timeout_ms = -1;

	zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
	if (says_hello)
		zmq_send(socket, "hi", 2, 0);
	for (;;) {
		zmq_msg_t id, body;

		zmq_msg_init(&id);
		zmq_msg_init(&body);
		zmq_msg_recv(&id, socket, 0);
		zmq_msg_recv(&body, socket, 0);
		zmq_msg_send(&id, socket, ZMQ_SNDMORE);
		zmq_msg_send(&body, socket, 0);
	}
}

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
}

static pid_t
broker_start(const char *program, const struct side *side)
{
	char line[8], number[16];
	int fds[2];
	pid_t pid;

	if (pipe(fds) == -1)
		exit(1);
	snprintf(number, sizeof number, "%d", fds[1]);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(program, program, "--home", home, "--request", side->front, "--work", side->back, "--ready-fd", number, "--log-level", "error", (char *)NULL);
		fprintf(stderr, "bench: cannot run %s: %s\n", program, strerror(errno));
		_exit(127);
	}
	close(fds[1]);
	if (read(fds[0], line, sizeof line) <= 0)
		exit(1);
	close(fds[0]);
	return pid;
}

static double
cpu_us(pid_t pid)
{
	char path[64], text[512] = "";
	unsigned long user = 0, system = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	if (file == NULL)
		return 0;
	if (fgets(text, sizeof text, file) != NULL && strrchr(text, ')') != NULL)
		sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
	fclose(file);
	return (double)(user + system) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static void
ask(void *socket, struct request *request)
{
	char id[ID_CHARS + 1];

	snprintf(id, sizeof id, "%0*u", ID_CHARS, request->next % 100000000);
	memcpy(request->bytes + request->id_at, id, ID_CHARS);
	request->waits[request->next++ % IN_FLIGHT_MAX] = true;
	zmq_send(socket, request->bytes, request->size, 0);
}

/* One answer: the request of a number that waits, unchanged. */
static void
hear(void *socket, struct request *request)
{
	uint8_t answer[REQUEST_MAX] = { 0 };
	int size = zmq_recv(socket, answer, sizeof answer, 0);
	size_t id_end = request->id_at + ID_CHARS;
	char id[ID_CHARS + 1] = "";
	unsigned number;

	memcpy(id, answer + request->id_at, ID_CHARS);
	number = (unsigned)strtoul(id, NULL, 10) % IN_FLIGHT_MAX;
	if (size != (int)request->size || memcmp(answer, request->bytes, request->id_at) != 0 || !request->waits[number] ||
	    memcmp(answer + id_end, request->bytes + id_end, request->size - id_end) != 0) {
		fprintf(stderr, "bench: no answer, a refusal, or one that was not asked for: %.200s\n", (const char *)answer);
		exit(1);
	}
	request->waits[number] = false;
}

static double
rate_measure(void *socket, struct request *request, int in_flight, int count)
{
	int64_t start_us = mmq_clock_mono_us();

	for (int i = 0; i < in_flight; i++)
		ask(socket, request);
	for (int i = 0; i < count; i++) {
		hear(socket, request);
		if (i + in_flight < count)
			ask(socket, request);
	}
	return count * 1e6 / (double)(mmq_clock_mono_us() - start_us);
}

static int
compare(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static double
quantile(double *values, int count, double q)
{
	qsort(values, (size_t)count, sizeof *values, compare);
	return values[(int)(q * (count - 1))];
}

/* A prediction of `size` bytes: the rows' text fills what the rest leaves. */
static void
request_make(struct request *request, size_t size)
{
	static const char keys[] = "\x85\xa1v\x01\xa2op\xa7predict\xa2id\xa8" "00000000" "\xa5model\xa1m\xa4rows\xc5";

	memset(request, 0, sizeof *request);
	memcpy(request->bytes, keys, sizeof keys - 1);
	request->size = size;
	request->id_at = (size_t)((const char *)memchr(keys, '0', sizeof keys) - keys);
	request->bytes[sizeof keys - 1] = (uint8_t)((size - sizeof keys - 1) >> 8);
	request->bytes[sizeof keys] = (uint8_t)(size - sizeof keys - 1);
}

static void
pair_start(struct side *side, int which, const char *program)
{
	side->middle = which == 2 ? broker_start(program, side) : fork();
	if (side->middle == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		(which == 0 ? plain_run : proxy_run)(side->front, side->back);
		_exit(1);
	}
	side->worker = fork();
	if (side->worker == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (which == 2)
			broker_worker_run(side->back);
		plain_worker_run(side->back, which == 0);
		_exit(1);
	}
}

/* The model is known once the worker said hello: until then the broker refuses, and its refusal is no echo. */
static void
warm_up(void *socket, struct request *request)
{
	char answer[REQUEST_MAX];

	for (int tries = 0; tries < 20000; tries++) {
		zmq_send(socket, request->bytes, request->size, 0);
		if (zmq_recv(socket, answer, sizeof answer, 0) == (int)request->size)
			break;
	}
	rate_measure(socket, request, 64, 2000);
}

static void
row_print(const char *transport, size_t size, int in_flight, double rates[SIDES][ROUNDS_MAX], int rounds, const double *cpu)
{
	double medians[SIDES], best;

	for (int i = 0; i < SIDES; i++) {
		medians[i] = quantile(rates[i], rounds, 0.5);
		if (in_flight == 1)
			medians[i] = 1e6 / medians[i];
	}
	best = in_flight == 1 ? medians[medians[1] < medians[0]] : medians[medians[1] > medians[0]];
	printf("%-4s %5zu %9d %-5s", transport, size, in_flight, in_flight == 1 ? "us" : "1/s");
	for (int i = 0; i < SIDES; i++)
		printf(" %9.0f", medians[i]);
	printf(" %12.2f  ", medians[2] / best);
	for (int i = 0; i < SIDES; i++)
		printf(" %6.2f", cpu[i]);
	printf("\n");
	fflush(stdout);
}

static void
row_measure(struct side *sides, const char *transport, size_t size, int in_flight, int rounds, int count)
{
	static double rates[SIDES][ROUNDS_MAX];
	static struct request request;
	double cpu[SIDES] = { 0 };

	request_make(&request, size);
	if (in_flight == 1)
		count = count / 10 + 1;
	for (int i = 0; i < SIDES; i++)
		warm_up(sides[i].socket, &request);
	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < SIDES; i++) {
			double before_us = cpu_us(sides[i].middle);

			rates[i][round] = rate_measure(sides[i].socket, &request, in_flight, count);
			cpu[i] += (cpu_us(sides[i].middle) - before_us) / rounds / count;
		}
	row_print(transport, size, in_flight, rates, rounds, cpu);
}

static void
transport_measure(bool tcp, size_t only_size, int only_in_flight, int rounds, int count, const char *program)
{
	static const size_t sizes[] = { 64, 1024 };
	static const int in_flight[] = { 1, 64, 1024 };
	struct side sides[SIDES];
	void *context;
	char command[256];

	snprintf(home, sizeof home, "/tmp/mmq-bench-%d", (int)getpid());
	for (int i = 0; i < SIDES; i++) {
		int port = 20000 + (int)(getpid() % 10000) + 2 * i;

		snprintf(sides[i].front, sizeof sides[i].front, tcp ? "tcp://127.0.0.1:%d" : "ipc:///tmp/mmq-bench-%d-front", port);
		snprintf(sides[i].back, sizeof sides[i].back, tcp ? "tcp://127.0.0.1:%d" : "ipc:///tmp/mmq-bench-%d-back", port + 1);
		pair_start(&sides[i], i, program);
	}
	context = zmq_ctx_new();
	for (int i = 0; i < SIDES; i++)
		sides[i].socket = socket_new(context, ZMQ_DEALER, sides[i].front, false);
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (size_t f = 0; f < sizeof in_flight / sizeof *in_flight; f++)
			if ((only_size == 0 || only_size == sizes[s]) && (only_in_flight == 0 || only_in_flight == in_flight[f]))
				row_measure(sides, tcp ? "tcp" : "ipc", sizes[s], in_flight[f], rounds, count);
	for (int i = 0; i < SIDES; i++) {
		kill(sides[i].worker, SIGKILL);
		kill(sides[i].middle, SIGKILL);
		waitpid(sides[i].worker, NULL, 0);
		waitpid(sides[i].middle, NULL, 0);
		zmq_close(sides[i].socket);
		if (!tcp) {
			unlink(sides[i].front + strlen("ipc://"));
			unlink(sides[i].back + strlen("ipc://"));
		}
	}
	zmq_ctx_term(context);
	snprintf(command, sizeof command, "rm -rf '%s'", home);
	if (system(command) != 0)
		exit(1);
}

int
main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 5, count = argc > 2 ? atoi(argv[2]) : 40000, in_flight = argc > 5 ? atoi(argv[5]) : 0;
	const char *transport = argc > 3 ? argv[3] : "all", *program = argc > 6 ? argv[6] : "build/bin/modelmq-broker";
	size_t size = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;

	rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
	count = count < IN_FLIGHT_MAX ? IN_FLIGHT_MAX : count;
	printf("medians of %d interleaved rounds of %d requests\n", rounds, count);
	printf("%-4s %5s %9s %-5s", "", "bytes", "in flight", "");
	for (int i = 0; i < SIDES; i++)
		printf(" %9s", side_names[i]);
	printf(" %12s   %s\n", "broker/best", "CPU us per request of each");
	for (int tcp = 0; tcp < 2; tcp++)
		if (strcmp(transport, tcp ? "ipc" : "tcp") != 0)
			transport_measure(tcp, size, in_flight, rounds, count, program);
	return 0;
}
