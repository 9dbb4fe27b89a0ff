/* bench_broker.c: requests of 64 bytes through the broker, beside the least that a ROUTER-to-ROUTER loop can do, on ipc, interleaved.
 *
 * Both have the same client and an echoing worker in processes of their own: `plain` is a loop that moves frames between two
 * ROUTERs in bursts and knows nothing; `broker` is modelmq-broker and a worker on lib/work. Rates move with the machine's
 * mood: compare the ratio, which comes from the medians of rounds that alternate.
 *     bench_broker [rounds] [requests] [path of modelmq-broker] */
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

enum { ROUNDS_MAX = 31, LATENCIES = 3000, BURST = 128 };

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
plain_worker_run(const char *back_at)
{
	void *context = zmq_ctx_new(), *socket = socket_new(context, ZMQ_DEALER, back_at, false);
	int timeout_ms = -1;

	zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
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
child_start(void (*run)(const char *), const char *endpoint)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run(endpoint);
		_exit(1);
	}
	return pid;
}

static pid_t
broker_start(const char *program)
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
		execl(program, program, "--home", home, "--ready-fd", number, "--log-level", "error", (char *)NULL);
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
ask(void *socket, const struct mmq_buf *request)
{
	zmq_send(socket, request->bytes, request->size, 0);
}

static void
hear(void *socket, size_t size)
{
	char answer[4096];

	if (zmq_recv(socket, answer, sizeof answer, 0) != (int)size) {
		fprintf(stderr, "bench: no answer, or a refusal: %.200s\n", answer);
		exit(1);
	}
}

static double
rate_measure(void *socket, const struct mmq_buf *request, int in_flight, int count)
{
	int64_t start_us = mmq_clock_mono_us();

	for (int i = 0; i < in_flight; i++)
		ask(socket, request);
	for (int i = 0; i < count; i++) {
		hear(socket, request->size);
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

static void
latency_measure(void *socket, const struct mmq_buf *request, double *p50, double *p99)
{
	static double latencies[LATENCIES];

	for (int i = 0; i < LATENCIES; i++) {
		int64_t start_us = mmq_clock_mono_us();

		ask(socket, request);
		hear(socket, request->size);
		latencies[i] = (double)(mmq_clock_mono_us() - start_us);
	}
	*p50 = quantile(latencies, LATENCIES, 0.5);
	*p99 = quantile(latencies, LATENCIES, 0.99);
}

static void
request_pack(struct mmq_buf *buf)
{
	mmq_buf_init(buf, 256);
	mmq_put_map(buf, 5);
	mmq_put_str(buf, "v");
	mmq_put_uint(buf, 1);
	mmq_put_str(buf, "op");
	mmq_put_str(buf, "predict");
	mmq_put_str(buf, "id");
	mmq_put_str(buf, "0123456789");
	mmq_put_str(buf, "model");
	mmq_put_str(buf, "m");
	mmq_put_str(buf, "rows");
	mmq_put_array(buf, 1);
	mmq_put_array(buf, 2);
	mmq_put_double(buf, 1.5);
	mmq_put_int(buf, 2);
}

int
main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 5, count = argc > 2 ? atoi(argv[2]) : 40000, worker_tries = 0;
	const char *program = argc > 3 ? argv[3] : "build/bin/modelmq-broker";
	static const int in_flight[] = { 64, 1024 };
	static double rates[2][2][ROUNDS_MAX], p50[2][ROUNDS_MAX], p99[2][ROUNDS_MAX];
	double broker_cpu_us, requests = 0;
	char front[96], back[96], request_at[96], work_at[96], answer[4096];
	struct mmq_buf request;
	pid_t children[4];
	void *context, *sockets[2];

	rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
	snprintf(home, sizeof home, "/tmp/mmq-bench-%d", (int)getpid());
	snprintf(front, sizeof front, "ipc://%s-front", home);
	snprintf(back, sizeof back, "ipc://%s-back", home);
	snprintf(request_at, sizeof request_at, "ipc://%s/run/request", home);
	snprintf(work_at, sizeof work_at, "ipc://%s/run/work", home);
	request_pack(&request);
	children[0] = broker_start(program);
	children[1] = child_start(broker_worker_run, work_at);
	children[2] = fork();
	if (children[2] == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		plain_run(front, back);
		_exit(1);
	}
	children[3] = child_start(plain_worker_run, back);
	context = zmq_ctx_new();
	sockets[0] = socket_new(context, ZMQ_DEALER, front, false);
	sockets[1] = socket_new(context, ZMQ_DEALER, request_at, false);
	/* The model is known once the worker said hello: until then the broker refuses, and its refusal is larger than the echo. */
	do
		ask(sockets[1], &request);
	while (zmq_recv(sockets[1], answer, sizeof answer, 0) != (int)request.size && ++worker_tries < 20000);
	rate_measure(sockets[0], &request, 64, 1000);
	broker_cpu_us = cpu_us(children[0]);
	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < 4; i++)
			rates[i & 1][i >> 1][round] = rate_measure(sockets[i & 1], &request, in_flight[i >> 1], count);
	requests = 2.0 * rounds * count;
	broker_cpu_us = (cpu_us(children[0]) - broker_cpu_us) / requests;
	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < 2; i++)
			latency_measure(sockets[i], &request, &p50[i][round], &p99[i][round]);
	printf("%zu-byte requests, ipc, medians of %d interleaved rounds of %d\n", request.size, rounds, count);
	printf("%-8s %14s %14s %12s %12s\n", "", "64 in flight/s", "1024 in flight/s", "RTT p50 us", "RTT p99 us");
	for (int i = 0; i < 2; i++)
		printf("%-8s %14.0f %16.0f %12.0f %12.0f\n", i == 0 ? "plain" : "broker", quantile(rates[i][0], rounds, 0.5),
		    quantile(rates[i][1], rounds, 0.5), quantile(p50[i], rounds, 0.5), quantile(p99[i], rounds, 0.5));
	printf("ratio    %14.2f %16.2f\n", quantile(rates[1][0], rounds, 0.5) / quantile(rates[0][0], rounds, 0.5),
	    quantile(rates[1][1], rounds, 0.5) / quantile(rates[0][1], rounds, 0.5));
	printf("broker CPU per request: %.2f us\n", broker_cpu_us);
	for (int i = 0; i < 4; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	zmq_close(sockets[0]);
	zmq_close(sockets[1]);
	zmq_ctx_term(context);
	mmq_buf_fini(&request);
	snprintf(answer, sizeof answer, "rm -rf '%s' '%s-front' '%s-back'", home, home, home);
	return system(answer) == 0 ? 0 : 1;
}
