/* sides.c: see sides.h. */
#include "bench/sides.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { BURST = 128 };

void *
bench_socket(void *context, int type, const char *endpoint, bool bind)
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

void
bench_side_name(struct bench_side *side, bool tcp, int number)
{
	int port = 20000 + (int)(getpid() % 10000) + 2 * number;

	snprintf(side->front, sizeof side->front, tcp ? "tcp://127.0.0.1:%d" : "ipc:///tmp/mmq-bench-%d-front", port);
	snprintf(side->back, sizeof side->back, tcp ? "tcp://127.0.0.1:%d" : "ipc:///tmp/mmq-bench-%d-back", port + 1);
}

/* Move whole messages from one ROUTER to the other: the routing id of the source travels as the first frame. */
static void
loop_move(void *from, void *to, const char *worker, size_t worker_size)
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
loop_run(const struct bench_side *side)
{
	void *context = zmq_ctx_new(), *front = bench_socket(context, ZMQ_ROUTER, side->front, true),
	     *back = bench_socket(context, ZMQ_ROUTER, side->back, true);
	char worker[256], hello[8];
	int size = zmq_recv(back, worker, sizeof worker, 0);

	zmq_recv(back, hello, sizeof hello, 0);
	for (;;) {
		zmq_pollitem_t items[2] = { { .socket = front, .events = ZMQ_POLLIN }, { .socket = back, .events = ZMQ_POLLIN } };

		zmq_poll(items, 2, -1);
		if (items[1].revents)
			loop_move(back, front, NULL, 0);
		if (items[0].revents)
			loop_move(front, back, worker, (size_t)size);
	}
}

/* Sends each message back as it came. A loop has to be told who the worker is; a proxy must not be. */
static void
echo_run(const char *endpoint, bool says_hello)
{
	void *context = zmq_ctx_new(), *socket = bench_socket(context, ZMQ_DEALER, endpoint, false);
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

pid_t
bench_fork(void)
{
	pid_t pid = fork();

	if (pid == -1)
		exit(1);
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

void
bench_loop_start(struct bench_side *side)
{
	side->middle = bench_fork();
	if (side->middle == 0)
		loop_run(side);
	side->worker = bench_fork();
	if (side->worker == 0)
		echo_run(side->back, true);
}

void
bench_proxy_start(struct bench_side *side)
{
	side->middle = bench_fork();
	if (side->middle == 0) {
		void *context = zmq_ctx_new();

		zmq_proxy(bench_socket(context, ZMQ_ROUTER, side->front, true), bench_socket(context, ZMQ_DEALER, side->back, true), NULL);
		_exit(1);
	}
	side->worker = bench_fork();
	if (side->worker == 0)
		echo_run(side->back, false);
}

void
bench_side_stop(struct bench_side *side)
{
	kill(side->worker, SIGKILL);
	kill(side->middle, SIGKILL);
	waitpid(side->worker, NULL, 0);
	waitpid(side->middle, NULL, 0);
	if (strncmp(side->front, "ipc://", 6) != 0)
		return;
	unlink(side->front + 6);
	unlink(side->back + 6);
}

double
bench_cpu_us(pid_t pid)
{
	struct timespec used = { 0 };
	clockid_t clock;

	/* the process's own clock counts nanoseconds; /proc/PID/stat counts ticks of 10 ms, as much as an idle process uses in 10 s */
	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
		return 0;
	return (double)used.tv_sec * 1e6 + (double)used.tv_nsec / 1e3;
}

double
bench_pss_bytes(pid_t pid)
{
	char path[64], line[256];
	double kib = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
	file = fopen(path, "r");
	if (file == NULL)
		return 0;
	while (kib == 0 && fgets(line, sizeof line, file) != NULL)
		sscanf(line, "Pss: %lf", &kib);
	fclose(file);
	return kib * 1024;
}

pid_t
bench_daemon_start(const char *program, const char **argv, size_t argc)
{
	char line[8], number[16];
	int fds[2];
	pid_t pid;

	if (pipe(fds) == -1)
		exit(1);
	snprintf(number, sizeof number, "%d", fds[1]);
	argv[argc - 1] = number;
	pid = bench_fork();
	if (pid == 0) {
		execv(program, (char *const *)argv);
		fprintf(stderr, "bench: cannot run %s: %s\n", program, strerror(errno));
		_exit(127);
	}
	close(fds[1]);
	if (read(fds[0], line, sizeof line) <= 0)
		exit(1);
	close(fds[0]);
	return pid;
}
