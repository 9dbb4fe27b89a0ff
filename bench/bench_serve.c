/* bench_serve.c: the whole service, `modelmq up` with a broker, a trainer and two predictors on ipc, serving 100 trees of 31 leaves over
 * 28 float columns that it trained itself on generated rows. Prints start, idle memory and CPU; single rows with one and 64
 * in flight, 256-row requests with 4 in flight; the round trip beside an echo of the same bytes through a minimal loop (sides.h), interleaved; and
 * the tail of 5,000 single rows a second, sent by the clock, while nothing else runs and while the trainer fits.
 *
 * Rows are f32 tensors. Every answer is compared with the one that the same rows got at first, one request at a time.
 *     bench_serve [rounds] [start|rate|tail|all] [path of modelmq] */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "bench/load.h"
#include "bench/sides.h"
#include "math/rng.h"
#include "mpack/writer.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/mem.h"

enum { COLS = 28, TRAIN_ROWS = 20000, REQUESTS = 256, ROUNDS_MAX = 31, STARTS = 5, LOOP = 1, CHILDREN_MAX = 8, IDLE_MS = 10000, TAIL_PER_S = 5000,
	TAIL_S = 4, TAIL_TREES = 40000, ANSWER_MAX = 16384 };

/* What the service answered to each request at first, and where in it the times begin, which differ from answer to answer. */
struct expected { uint8_t bytes[ANSWER_MAX]; size_t compared; };

struct service {
	const char *program;
	char home[64], front[128];
	pid_t pid, children[CHILDREN_MAX];
	int children_count;
	void *context, *socket;
};

static struct expected *expected;
static size_t answer_id_at;

static void
die(const char *what)
{
	fprintf(stderr, "bench: %s\n", what);
	exit(1);
}

/* ---- The service ------------------------------------------------------------------------------------------------- */

static double
service_start(struct service *service)
{
	const char *argv[] = { service->program, "up", "--home", service->home, NULL };
	int64_t start_us = mmq_clock_mono_us();
	char text[4096], *at;
	size_t size = 0;
	ssize_t got;
	int fds[2];

	if (pipe(fds) == -1)
		die("no pipe");
	service->pid = bench_fork();
	if (service->pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		dup2(fds[1], STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		execv(service->program, (char *const *)argv);
		_exit(127);
	}
	close(fds[1]);
	do {
		got = read(fds[0], text + size, sizeof text - 1 - size);
		size += got > 0 ? (size_t)got : 0;
		text[size] = '\0';
	} while (got > 0 && strstr(text, "is ready") == NULL);
	double took_us = (double)(mmq_clock_mono_us() - start_us);
	while ((at = strstr(text, "request ")) == NULL && (got = read(fds[0], text + size, sizeof text - 1 - size)) > 0)
		text[size += (size_t)got] = '\0';
	if (at == NULL || sscanf(at, "request %127s", service->front) != 1)
		die("modelmq up did not become ready");
	close(fds[0]);
	return took_us;
}

static void
service_stop(struct service *service)
{
	kill(service->pid, SIGTERM);
	waitpid(service->pid, NULL, 0);
}

static void
children_find(struct service *service)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)service->pid, (int)service->pid);
	file = fopen(path, "r");
	service->children_count = 0;
	while (file != NULL && service->children_count < CHILDREN_MAX && fscanf(file, "%d", &service->children[service->children_count]) == 1)
		service->children_count++;
	if (file != NULL)
		fclose(file);
}

static double
sum_of_children(const struct service *service, double (*measure)(pid_t pid))
{
	double sum = 0;

	for (int i = 0; i < service->children_count; i++)
		sum += measure(service->children[i]);
	return sum;
}

static void
start_measure(struct service *service)
{
	double us[STARTS], cpu_us;

	for (int i = 0; i < STARTS; i++) {
		us[i] = service_start(service);
		if (i + 1 < STARTS)
			service_stop(service);
	}
	children_find(service);
	usleep(500000);   /* start-up's own work is not idleness */
	cpu_us = sum_of_children(service, bench_cpu_us);
	usleep(IDLE_MS * 1000);
	cpu_us = sum_of_children(service, bench_cpu_us) - cpu_us;
	printf("start to ready, all processes              %8.1f ms   (median of %d)\n", load_quantile(us, STARTS, 0.5) / 1e3, STARTS);
	printf("idle memory of the %d processes (PSS)       %8.1f MiB\n", service->children_count, sum_of_children(service, bench_pss_bytes) / (1 << 20));
	printf("idle CPU                                   %8.2f %% of a core\n", cpu_us / (IDLE_MS * 1000.0) * 100);
	service_stop(service);
}

/* ---- What is asked ----------------------------------------------------------------------------------------------- */

static void
put_tensor(struct mmq_buf *buf, const float *values, size_t rows, size_t cols)
{
	mmq_put_str(buf, "tensor");
	mmq_put_map(buf, 3);
	mmq_put_str(buf, "dtype");
	mmq_put_str(buf, "f32");
	mmq_put_str(buf, "shape");
	mmq_put_array(buf, 2);
	mmq_put_uint(buf, rows);
	mmq_put_uint(buf, cols);
	mmq_put_str(buf, "data");
	mmq_put_bin(buf, values, rows * cols * sizeof *values);
}

static void
put_head(struct mmq_buf *buf, size_t pairs, const char *op, const char *id)
{
	mmq_put_map(buf, 3 + pairs);
	mmq_put_str(buf, "v");
	mmq_put_int(buf, 1);
	mmq_put_str(buf, "id");
	mmq_put_str(buf, id);
	mmq_put_str(buf, "op");
	mmq_put_str(buf, op);
}

static void
row_fill(float *row, struct mmq_rng *rng, bool has_target)
{
	for (int i = 0; i < COLS; i++)
		row[i] = (float)mmq_rng_normal(rng);
	if (has_target)
		row[COLS] = 2 * row[0] + sinf(3 * row[1]) + row[2] * row[3] + 0.1f * (float)mmq_rng_normal(rng);
}

static void
requests_make(struct load_request *requests, size_t rows)
{
	struct mmq_rng rng = mmq_rng_stream(rows, 0, 0);
	float *values = mmq_array(rows * COLS, sizeof *values);

	for (size_t i = 0; i < REQUESTS; i++) {
		struct mmq_buf buf;

		mmq_buf_init(&buf, 1 << 20);
		put_head(&buf, 2, "predict", "00000000");
		mmq_put_str(&buf, "model");
		mmq_put_str(&buf, "m");
		for (size_t row = 0; row < rows; row++)
			row_fill(values + row * COLS, &rng, false);
		put_tensor(&buf, values, rows, COLS);
		free(requests[i].bytes);
		requests[i] = (struct load_request){ .bytes = buf.bytes, .size = buf.size };
		requests[i].id_at = (size_t)((uint8_t *)memmem(buf.bytes, buf.size, "00000000", LOAD_ID_CHARS) - buf.bytes);
	}
	free(values);
}

/* Ask and take the answer; it has to hold `want`. */
static size_t
ask(const struct service *service, const void *bytes, size_t size, const char *want, uint8_t *answer, size_t answer_max)
{
	int got;

	zmq_send(service->socket, bytes, size, 0);
	got = zmq_recv(service->socket, answer, answer_max, 0);
	if (got <= 0 || (size_t)got > answer_max || memmem(answer, (size_t)got, want, strlen(want)) == NULL) {
		fprintf(stderr, "bench: want %s, got %.*s\n", want, got > 300 ? 300 : got, (const char *)answer);
		exit(1);
	}
	return (size_t)got;
}

static void
job_ask(const struct service *service, const char *op, const char *job, const char *want)
{
	uint8_t answer[ANSWER_MAX];
	struct mmq_buf buf;

	mmq_buf_init(&buf, 4096);
	put_head(&buf, 1, op, "job");
	mmq_put_str(&buf, "job");
	mmq_put_str(&buf, job);
	ask(service, buf.bytes, buf.size, want, answer, sizeof answer);
	mmq_buf_fini(&buf);
}

/* Start a training of so many trees; its job's id comes back. */
static void
train(const struct service *service, const char *model, unsigned trees, char job_out[33])
{
	struct mmq_rng rng = mmq_rng_stream(7, 0, 0);
	float *values = mmq_array(TRAIN_ROWS * (COLS + 1), sizeof *values);
	uint8_t answer[ANSWER_MAX];
	struct mmq_buf buf;
	char id[40];

	for (size_t row = 0; row < TRAIN_ROWS; row++)
		row_fill(values + row * (COLS + 1), &rng, true);
	mmq_buf_init(&buf, 4 << 20);
	snprintf(id, sizeof id, "train-%s-%lld", model, (long long)mmq_clock_mono_us());
	put_head(&buf, 6, "train", id);
	mmq_put_str(&buf, "model");
	mmq_put_str(&buf, model);
	mmq_put_str(&buf, "engine");
	mmq_put_str(&buf, "tree");
	mmq_put_str(&buf, "target");
	mmq_put_str(&buf, "c28");
	mmq_put_str(&buf, "task");
	mmq_put_str(&buf, "regression");
	mmq_put_str(&buf, "params");
	mmq_put_map(&buf, 2);
	mmq_put_str(&buf, "n_estimators");
	mmq_put_uint(&buf, trees);
	mmq_put_str(&buf, "num_leaves");
	mmq_put_uint(&buf, 31);
	mmq_put_str(&buf, "data");
	mmq_put_map(&buf, 1);
	put_tensor(&buf, values, TRAIN_ROWS, COLS + 1);
	size_t size = ask(service, buf.bytes, buf.size, "queued", answer, sizeof answer);
	const uint8_t *at = memmem(answer, size, "\xa3job\xd9\x20", 6);
	if (at == NULL)
		die("train: no job");
	memcpy(job_out, at + 6, 32);
	job_out[32] = '\0';
	mmq_buf_fini(&buf);
	free(values);
}

/* The same answer as at first, but for its id and the times at its end. */
static bool
is_as_before(const struct load_request *request, const uint8_t *answer, size_t size)
{
	const struct expected *want = &expected[request->bytes[request->size]];
	size_t id_end = answer_id_at + LOAD_ID_CHARS;

	return size >= want->compared && memcmp(answer, want->bytes, answer_id_at) == 0 &&
	    memcmp(answer + id_end, want->bytes + id_end, want->compared - id_end) == 0;
}

static bool
is_echo(const struct load_request *request, const uint8_t *answer, size_t size)
{
	return size == request->size && answer[0] == request->bytes[0];
}

static void
expect(struct service *service, struct load_request *requests)
{
	for (size_t i = 0; i < REQUESTS; i++) {
		size_t size = ask(service, requests[i].bytes, requests[i].size, "\xa2ok\xc3", expected[i].bytes, ANSWER_MAX);
		const uint8_t *times = memmem(expected[i].bytes, size, "queue_us", 8);

		if (times == NULL)
			die("an answer without times");
		expected[i].compared = (size_t)(times - expected[i].bytes);
		answer_id_at = (size_t)((uint8_t *)memmem(expected[i].bytes, size, "00000000", LOAD_ID_CHARS) - expected[i].bytes);
		requests[i].bytes = mmq_grow(requests[i].bytes, requests[i].size + 1, 1);
		requests[i].bytes[requests[i].size] = (uint8_t)i;   /* behind what is sent: which one this is */
	}
}

/* ---- Measurements -------------------------------------------------------------------------------------------------- */

static void
rate_measure(struct service *service, struct load *load, struct load_request *requests, int rounds)
{
	static const struct { size_t rows; int in_flight, count; const char *name; } cases[] = {
		{ 1, 64, 60000, "single rows, 64 in flight" }, { 1, 1024, 60000, "single rows, 1024 in flight" },
		{ 256, 4, 2000, "256-row requests, 4 in flight" }, { 256, 16, 2000, "256-row requests, 16 in flight" },
	};
	double rates[ROUNDS_MAX];

	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		double cpu_us;

		requests_make(requests, cases[c].rows);
		expect(service, requests);
		load->answer_id_at = answer_id_at;
		load_rate(load, cases[c].in_flight, cases[c].count / 4);
		cpu_us = sum_of_children(service, bench_cpu_us);
		for (int round = 0; round < rounds; round++)
			rates[round] = load_rate(load, cases[c].in_flight, cases[c].count) * (double)cases[c].rows;
		cpu_us = sum_of_children(service, bench_cpu_us) - cpu_us;
		printf("%-40s %10.0f predictions/s   (service's CPU %.2f us each)\n", cases[c].name, load_quantile(rates, rounds, 0.5),
		    cpu_us / rounds / cases[c].count / (double)cases[c].rows);
		fflush(stdout);
	}
}

/* One in flight, beside an echo of the same request through the loop. */
static void
latency_measure(struct service *service, struct load *load, struct load_request *requests, int rounds)
{
	static double us[2000];
	static struct load echo;
	struct bench_side loop;
	double p50[2][ROUNDS_MAX], p99[2][ROUNDS_MAX];

	bench_side_name(&loop, false, LOOP);
	bench_loop_start(&loop);
	requests_make(requests, 1);
	expect(service, requests);
	load->answer_id_at = answer_id_at;
	echo = (struct load){ .socket = bench_socket(service->context, ZMQ_DEALER, loop.front, false), .requests = requests, .requests_count = REQUESTS,
		.answer_id_at = requests[0].id_at, .is_good = is_echo };
	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < 2; i++) {
			load_times(i == 0 ? load : &echo, us, 2000);
			p50[i][round] = load_quantile(us, 2000, 0.5);
			p99[i][round] = load_quantile(us, 2000, 0.99);
		}
	printf("single rows, one in flight, p50/p99        %8.0f / %-8.0f us; bare echo through the loop %.0f / %.0f us; ratio of p50 %.2f\n",
	    load_quantile(p50[0], rounds, 0.5), load_quantile(p99[0], rounds, 0.5), load_quantile(p50[1], rounds, 0.5),
	    load_quantile(p99[1], rounds, 0.5), load_quantile(p50[0], rounds, 0.5) / load_quantile(p50[1], rounds, 0.5));
	zmq_close(echo.socket);
	bench_side_stop(&loop);
}

static void
tail_measure(struct service *service, struct load *load, struct load_request *requests)
{
	static double us[TAIL_PER_S * TAIL_S];
	double quiet[2], busy[2];
	char job[33];
	int count;

	requests_make(requests, 1);
	expect(service, requests);
	load->answer_id_at = answer_id_at;
	load_open(load, TAIL_PER_S, 1, us, TAIL_PER_S * TAIL_S);
	count = load_open(load, TAIL_PER_S, TAIL_S, us, TAIL_PER_S * TAIL_S);
	quiet[0] = load_quantile(us, count, 0.5);
	quiet[1] = load_quantile(us, count, 0.99);
	train(service, "other", TAIL_TREES, job);
	load_open(load, TAIL_PER_S, 1, us, TAIL_PER_S * TAIL_S);
	count = load_open(load, TAIL_PER_S, TAIL_S, us, TAIL_PER_S * TAIL_S);
	busy[0] = load_quantile(us, count, 0.5);
	busy[1] = load_quantile(us, count, 0.99);
	job_ask(service, "job.get", job, "running");
	job_ask(service, "job.cancel", job, "\xa2ok\xc3");
	printf("%d single rows/s by the clock, p50/p99   %8.0f / %-8.0f us; while the trainer fits %.0f / %.0f us; ratio of p99 %.2f\n", TAIL_PER_S, quiet[0],
	    quiet[1], busy[0], busy[1], busy[1] / quiet[1]);
}

int
main(int argc, char **argv)
{
	static struct load_request requests[REQUESTS];
	static struct load load;
	int rounds = argc > 1 ? atoi(argv[1]) : 5;
	const char *part = argc > 2 ? argv[2] : "all";
	bool all = strcmp(part, "all") == 0;
	struct service service = { .program = argc > 3 ? argv[3] : "build/bin/modelmq" };
	char job[33], command[96];

	rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(service.home, sizeof service.home, "/tmp/mmq-serve-%d", (int)getpid());
	expected = mmq_array(REQUESTS, sizeof *expected);
	if (all || strcmp(part, "start") == 0)
		start_measure(&service);
	service_start(&service);
	children_find(&service);
	service.context = zmq_ctx_new();
	service.socket = bench_socket(service.context, ZMQ_DEALER, service.front, false);
	train(&service, "m", 100, job);
	job_ask(&service, "job.wait", job, "done");
	load = (struct load){ .socket = service.socket, .requests = requests, .requests_count = REQUESTS, .is_good = is_as_before };
	if (all || strcmp(part, "rate") == 0) {
		latency_measure(&service, &load, requests, rounds);
		rate_measure(&service, &load, requests, rounds);
	}
	if (all || strcmp(part, "tail") == 0)
		tail_measure(&service, &load, requests);
	service_stop(&service);
	zmq_close(service.socket);
	zmq_ctx_term(service.context);
	snprintf(command, sizeof command, "rm -rf '%s'", service.home);
	return system(command) != 0;
}
