/* load.c: see load.h. */
#include "bench/load.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "util/clock.h"

static void
ask(struct load *load)
{
	const struct load_request *request = &load->requests[load->next % load->requests_count];
	unsigned left = load->next;

	for (int i = LOAD_ID_CHARS - 1; i >= 0; i--, left /= 10)
		request->bytes[request->id_at + (size_t)i] = (uint8_t)('0' + left % 10);
	load->waits[load->next++ % LOAD_PENDING_MAX] = true;
	zmq_send(load->socket, request->bytes, request->size, 0);
}

/* One answer; returns its number modulo LOAD_PENDING_MAX, or -1 when none is there and flags say not to wait. */
static int
hear(struct load *load, int flags)
{
	zmq_msg_t frame;
	const uint8_t *answer;
	size_t size;
	unsigned number = 0;

	zmq_msg_init(&frame);
	if (zmq_msg_recv(&frame, load->socket, flags) == -1) {
		if (errno == EAGAIN && flags == ZMQ_DONTWAIT)
			return -1;
		fprintf(stderr, "bench: no answer: %s\n", zmq_strerror(errno));
		exit(1);
	}
	answer = zmq_msg_data(&frame);
	size = zmq_msg_size(&frame);
	for (size_t i = 0; i < LOAD_ID_CHARS && load->answer_id_at + i < size; i++)
		number = number * 10 + (unsigned)(answer[load->answer_id_at + i] - '0');
	if (!load->waits[number % LOAD_PENDING_MAX] || !load->is_good(&load->requests[number % load->requests_count], answer, size)) {
		fprintf(stderr, "bench: a refusal, or an answer that was not asked for: %.*s\n", size > 400 ? 400 : (int)size, (const char *)answer);
		exit(1);
	}
	zmq_msg_close(&frame);
	load->waits[number % LOAD_PENDING_MAX] = false;
	return (int)(number % LOAD_PENDING_MAX);
}

double
load_rate(struct load *load, int in_flight, int count)
{
	int64_t start_us = mmq_clock_mono_us();

	for (int i = 0; i < in_flight; i++)
		ask(load);
	for (int i = 0; i < count; i++) {
		hear(load, 0);
		if (i + in_flight < count)
			ask(load);
	}
	return count * 1e6 / (double)(mmq_clock_mono_us() - start_us);
}

void
load_times(struct load *load, double *us, int count)
{
	for (int i = 0; i < count; i++) {
		struct timespec from, to;

		clock_gettime(CLOCK_MONOTONIC, &from);
		ask(load);
		hear(load, 0);
		clock_gettime(CLOCK_MONOTONIC, &to);
		us[i] = (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
	}
}

int
load_open(struct load *load, double per_s, double seconds, double *us, int count_max)
{
	int64_t start_us = mmq_clock_mono_us(), now_us = start_us;
	int total = (int)(per_s * seconds), sent = 0, heard = 0, number;
	struct pollfd fd = { .events = POLLIN };
	size_t size = sizeof fd.fd;

	total = total < count_max ? total : count_max;
	zmq_getsockopt(load->socket, ZMQ_FD, &fd.fd, &size);
	while (heard < total) {
		while ((number = hear(load, ZMQ_DONTWAIT)) != -1) {
			now_us = mmq_clock_mono_us();
			us[heard++] = (double)(now_us - load->due_us[number]);
		}
		now_us = mmq_clock_mono_us();
		int64_t due_us = start_us + (int64_t)(sent * 1e6 / per_s);
		if (sent < total && now_us >= due_us) {
			if (sent - heard >= LOAD_PENDING_MAX) {
				fprintf(stderr, "bench: the service does not keep up with %.0f/s\n", per_s);
				exit(1);
			}
			load->due_us[load->next % LOAD_PENDING_MAX] = due_us;
			ask(load);
			sent++;
			continue;
		}
		/* Nothing came and nothing is due: sleep. The descriptor tells of what comes, since the socket was read empty. */
		int64_t left_us = sent < total ? due_us - now_us : 1000;
		struct timespec timeout = { .tv_nsec = (long)left_us * 1000 };
		if (heard < total)
			ppoll(&fd, 1, &timeout, NULL);
	}
	return total;
}

static int
compare(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

double
load_quantile(double *values, int count, double q)
{
	qsort(values, (size_t)count, sizeof *values, compare);
	return values[(int)(q * (count - 1))];
}
