/* worker_next.c: the worker's turn. One socket, one thread, no callbacks: each call of mmq_worker_next() sends what is due, reads what
 * came, and hands out one event. */
#include "work/inner.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "util/clock.h"

/* While nothing is held no lease hangs on a heartbeat: three in the time of a lease say enough, and an idle machine sleeps longer. */
static int64_t
beat_us(const struct mmq_worker *worker)
{
	int64_t usual_us = (int64_t)worker->heartbeat_ms * 1000, idle_us = (int64_t)worker->lease_ms * 1000 / MMQ_WORK_IDLE_BEATS;

	return worker->held_count + worker->out_count > 0 || idle_us < usual_us ? usual_us : idle_us;
}

/* HELLO, heartbeats, a new connection after silence; then what waits to leave. Returns how long nothing is due, ms. */
static int
upkeep(struct mmq_worker *worker)
{
	int64_t now_us = mmq_clock_mono_us(), lease_us = (int64_t)worker->lease_ms * 1000, every_us = beat_us(worker);

	worker->upkeep_us = now_us;
	if (now_us - worker->heard_us > lease_us && (worker->welcome || worker->greeted)) {
		if (worker_socket_open(worker, NULL) == -1)
			return RETRY_MS;
	}
	if (!worker->welcome) {
		if (!worker->greeted || now_us - worker->hello_us > REPEAT_US) {
			worker->greeted = worker_hello_send(worker) || worker->greeted;
			worker->hello_us = worker->greeted ? now_us : 0;
		}
		return worker->greeted ? 250 : 20;
	}
	if (now_us - worker->heartbeat_us >= every_us) {
		worker->heartbeat_us = now_us;
		worker_heartbeat_send(worker);
	}
	if (!worker_flush(worker))
		return RETRY_MS;
	return (int)((worker->heartbeat_us + every_us - now_us) / 1000) + 1;
}

/* Must something leave before the next item is handed out? No answer waits here longer than the time of one item plus GATHER_US. */
static bool
is_due(const struct mmq_worker *worker)
{
	return !worker->welcome || worker->out_count >= PACK_COUNT_MAX ||
	    (worker->out_count > 0 && mmq_clock_mono_us() - worker->upkeep_us >= GATHER_US);
}

static bool
event_take(struct mmq_worker *worker, struct mmq_work_event *event)
{
	struct note *note;

	*event = (struct mmq_work_event){ .kind = MMQ_WORK_EVENT_NONE };
	while ((note = worker->note_first) != NULL && event->kind == MMQ_WORK_EVENT_NONE) {
		*event = note->event;
		worker->note_first = note->next;
		if (note->next == NULL)
			worker->note_last = &worker->note_first;
		free(note);
	}
	if (event->kind != MMQ_WORK_EVENT_NONE)
		return true;
	for (struct held *held = worker->last; worker->cancel_count > 0 && held != NULL; held = held->previous)
		if (held->cancel_waiting) {
			held->cancel_waiting = false;
			worker->cancel_count--;
			event->item = &held->item;
			event->kind = MMQ_WORK_EVENT_CANCEL;
			event->code = held->cancel_code;
			return true;
		}
	if (worker->untaken == NULL)
		return false;
	event->item = &worker->untaken->item;
	event->kind = MMQ_WORK_EVENT_WORK;
	worker->untaken->taken = true;
	worker->untaken_count--;
	worker->untaken = worker->untaken->previous;
	return true;
}

/* Sleep until the socket, one of the watched descriptors or the time says so. -1: errno says why. */
static int
wait_for(struct mmq_worker *worker, int timeout_ms, struct mmq_work_event *event)
{
	struct pollfd fds[1 + MMQ_WORK_WATCH_MAX] = { { .fd = worker->fd, .events = POLLIN } };

	for (int i = 0; i < worker->watches_count; i++)
		fds[1 + i] = (struct pollfd){ .fd = worker->watches[i], .events = POLLIN };
	worker->polled_us = worker->upkeep_us;
	if (poll(fds, 1 + (nfds_t)worker->watches_count, timeout_ms) == -1)
		return errno == EINTR ? 0 : -1;
	for (int i = 0; i < worker->watches_count; i++)
		if (fds[1 + i].revents & (POLLIN | POLLERR)) {
			*event = (struct mmq_work_event){ .kind = MMQ_WORK_EVENT_FD, .fd = worker->watches[i] };
			return 1;
		}
	return 0;
}

/* The socket's descriptor says only that something about the socket changed, and falls silent over what a call noticed in passing: the socket
 * is read empty before each sleep. To ask it with zmq_poll() would be three system calls. */
int
mmq_worker_next(struct mmq_worker *worker, int timeout_ms, struct mmq_work_event *event, struct mmq_err *err)
{
	int64_t until_us = timeout_ms < 0 ? INT64_MAX : mmq_clock_mono_us() + (int64_t)timeout_ms * 1000;

	/* While items wait here, answers gather into one frame: each sent alone would cost more than most small requests. */
	if (!is_due(worker) && event_take(worker, event))
		return 1;
	for (;;) {
		int idle_ms = upkeep(worker), watched;
		int64_t left_us;

		if (worker->socket == NULL)
			return mmq_err_set(err, MMQ_UNAVAILABLE, "work socket: cannot be opened");
		if (event_take(worker, event))
			return 1;
		if (!worker_receive(worker))
			idle_ms = 0;
		if (event_take(worker, event))
			return 1;
		left_us = until_us - mmq_clock_mono_us();
		if (left_us <= 0 && worker->upkeep_us - worker->polled_us < POLL_US)
			return 0;  /* the watched descriptors had their turn not long ago */
		if (left_us < (int64_t)idle_ms * 1000)
			idle_ms = left_us > 0 ? (int)((left_us + 999) / 1000) : 0;
		watched = wait_for(worker, idle_ms, event);
		if (watched == -1)
			return mmq_err_set(err, MMQ_UNAVAILABLE, "work socket: %s", strerror(errno));
		if (watched == 1)
			return 1;
		if (left_us <= 0)
			return 0;
	}
}
