/* load.c: see load.h. */
#include "bench/load.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "mpack/reader.h"
#include "mpack/writer.h"
#include "util/buf.h"
#include "util/clock.h"

/* The next request, with its number in it. */
static const struct load_request *
request_next(struct load *load)
{
	const struct load_request *request = &load->requests[load->next % load->requests_count];
	unsigned left = load->next;

	for (int i = LOAD_ID_CHARS - 1; i >= 0; i--, left /= 10)
		request->bytes[request->id_at + (size_t)i] = (uint8_t)('0' + left % 10);
	load->waits[load->next++ % LOAD_PENDING_MAX] = true;
	return request;
}

static void
ask(struct load *load)
{
	const struct load_request *request = request_next(load);

	zmq_send(load->socket, request->bytes, request->size, 0);
}

static void
ask_packed(struct load *load, struct mmq_buf *frame, int count)
{
	mmq_buf_reset(frame);
	mmq_put_array(frame, (size_t)count);
	while (count-- > 0) {
		const struct load_request *request = request_next(load);

		mmq_buf_append(frame, request->bytes, request->size);
	}
	zmq_send(load->socket, frame->bytes, frame->size, 0);
}

/* Is it the answer to something asked? Returns its number modulo LOAD_PENDING_MAX. */
static int
answer_check(struct load *load, const uint8_t *answer, size_t size)
{
	unsigned number = 0;

	for (size_t i = 0; i < LOAD_ID_CHARS && load->answer_id_at + i < size; i++)
		number = number * 10 + (unsigned)(answer[load->answer_id_at + i] - '0');
	if (!load->waits[number % LOAD_PENDING_MAX] || !load->is_good(&load->requests[number % load->requests_count], answer, size)) {
		fprintf(stderr, "bench: a refusal, or an answer that was not asked for: %.*s\n", size > 400 ? 400 : (int)size, (const char *)answer);
		exit(1);
	}
	load->waits[number % LOAD_PENDING_MAX] = false;
	return (int)(number % LOAD_PENDING_MAX);
}

/* False: none is there and flags say not to wait. */
static bool
frame_hear(struct load *load, zmq_msg_t *frame, int flags)
{
	zmq_msg_init(frame);
	if (zmq_msg_recv(frame, load->socket, flags) != -1)
		return true;
	if (errno == EAGAIN && flags == ZMQ_DONTWAIT)
		return false;
	fprintf(stderr, "bench: no answer: %s\n", zmq_strerror(errno));
	exit(1);
}

/* One answer; returns its number modulo LOAD_PENDING_MAX, or -1 when none is there and flags say not to wait. */
static int
hear(struct load *load, int flags)
{
	zmq_msg_t frame;
	int number;

	if (!frame_hear(load, &frame, flags))
		return -1;
	number = answer_check(load, zmq_msg_data(&frame), zmq_msg_size(&frame));
	zmq_msg_close(&frame);
	return number;
}

/* One frame of answers; returns how many. */
static int
hear_packed(struct load *load)
{
	struct mmq_reader reader;
	struct mmq_token list;
	const uint8_t *answer;
	size_t size;
	zmq_msg_t frame;
	uint32_t count = 0;

	frame_hear(load, &frame, 0);
	mmq_reader_init(&reader, zmq_msg_data(&frame), zmq_msg_size(&frame));
	if (mmq_read(&reader, &list) && list.type == MMQ_T_ARRAY)
		while (count < list.size && mmq_read_raw(&reader, &answer, &size)) {
			answer_check(load, answer, size);
			count++;
		}
	if (count == 0 || count < list.size) {
		fprintf(stderr, "bench: no list of answers\n");
		exit(1);
	}
	zmq_msg_close(&frame);
	return (int)count;
}

/* Lists of requests may have 64 KiB, so that of larger ones fewer go into one. */
static void
packed_run(struct load *load, int in_flight, int count)
{
	struct mmq_buf frame;
	int asked = 0, heard = 0, due = in_flight, fit = (int)(LOAD_PACK_BYTES_MAX / load->requests->size);
	int pack_max = load->pack_max < fit ? load->pack_max : fit;

	mmq_buf_init(&frame, 1 << 20);
	while (heard < count) {
		for (int pack; asked < count && due > 0; asked += pack, due -= pack) {
			pack = due < pack_max ? due : pack_max;
			pack = pack < count - asked ? pack : count - asked;
			ask_packed(load, &frame, pack);
		}
		due = hear_packed(load);
		heard += due;
	}
	mmq_buf_fini(&frame);
}

double
load_rate(struct load *load, int in_flight, int count)
{
	int64_t start_us = mmq_clock_mono_us();

	if (load->pack_max > 0) {
		packed_run(load, in_flight, count);
		return count * 1e6 / (double)(mmq_clock_mono_us() - start_us);
	}
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
