/* worker.c: the session with the broker: the connection, what comes over it, and the items that are held.
 * The connection is opened anew when the broker stays silent for a lease: what libzmq still had queued for the old one
 * would be refused anyhow, and what is held here is named again in HELLO. */
#include "work/inner.h"

#include <czmq.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/mem.h"

bool
lease_is_in(const struct mmq_lease *lease, const struct mmq_work_span *span)
{
	struct mmq_work_list list;
	struct mmq_lease other;

	mmq_work_list_begin(&list, span);
	while (mmq_work_next_lease(&list, &other))
		if (other.delivery == lease->delivery && memcmp(other.epoch, lease->epoch, sizeof other.epoch) == 0)
			return true;
	return false;
}

static void
frame_release(struct frame *frame)
{
	if (--frame->references > 0)
		return;
	for (unsigned i = 0; i < frame->count; i++)
		zmq_msg_close(&frame->parts[i]);
	free(frame);
}

void
worker_held_free(struct mmq_worker *worker, struct held *held)
{
	for (struct note *note = worker->note_first; note != NULL; note = note->next)
		if (note->event.item == &held->item)
			note->event = (struct mmq_work_event){ .kind = MMQ_WORK_EVENT_NONE };
	*(held->previous != NULL ? &held->previous->next : &worker->first) = held->next;
	*(held->next != NULL ? &held->next->previous : &worker->last) = held->previous;
	if (worker->untaken == held)
		worker->untaken = held->previous;
	worker->held_count--;
	worker->untaken_count -= !held->taken;
	worker->cancel_count -= held->cancel_waiting;
	mmq_buf_fini(&held->progress);
	frame_release(held->frame);
	if (worker->spare_count == SPARE_MAX) {
		free(held);
		return;
	}
	held->next = worker->spare;
	worker->spare = held;
	worker->spare_count++;
}

static struct held *
held_new(struct mmq_worker *worker)
{
	struct held *held = worker->spare;

	if (held == NULL)
		return mmq_alloc(sizeof *held);
	worker->spare = held->next;
	worker->spare_count--;
	return held;
}

static void
note_add(struct mmq_worker *worker, const struct mmq_work_event *event)
{
	struct note *note = mmq_alloc(sizeof *note);

	note->event = *event;
	*worker->note_last = note;
	worker->note_last = &note->next;
}

static int
keys_load(struct mmq_worker *worker, const struct mmq_worker_options *options, struct mmq_err *err)
{
	zcert_t *own, *server;
	int result = 0;

	if (options->key_file == NULL && options->server_key_file == NULL)
		return 0;
	if (options->key_file == NULL || options->server_key_file == NULL)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "keys: the worker's key file and the broker's key file go together");
	own = zcert_load(options->key_file);
	server = zcert_load(options->server_key_file);
	if (own == NULL || server == NULL)
		result = mmq_err_set(err, MMQ_INVALID_ARGUMENT, "keys: cannot read '%s'",
		    own == NULL ? options->key_file : options->server_key_file);
	else if (strspn(zcert_secret_txt(own), "0") == 40)
		result = mmq_err_set(err, MMQ_INVALID_ARGUMENT, "keys: '%s' holds no secret key", options->key_file);
	else {
		snprintf(worker->secret_key, sizeof worker->secret_key, "%s", zcert_secret_txt(own));
		snprintf(worker->public_key, sizeof worker->public_key, "%s", zcert_public_txt(own));
		snprintf(worker->server_key, sizeof worker->server_key, "%s", zcert_public_txt(server));
		worker->curve = true;
	}
	zcert_destroy(&own);
	zcert_destroy(&server);
	return result;
}

/* Open the socket, or open it anew. */
int
worker_socket_open(struct mmq_worker *worker, struct mmq_err *err)
{
	int linger = 0, on = 1, handshake_ms = 5000;
	size_t fd_size = sizeof worker->fd;

	if (worker->socket != NULL)
		zmq_close(worker->socket);
	worker->socket = zmq_socket(worker->context, ZMQ_DEALER);
	worker->welcome = worker->greeted = false;
	worker->opened_us = worker->heard_us = mmq_clock_mono_us();
	if (worker->socket == NULL)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "work socket: %s", zmq_strerror(zmq_errno()));
	zmq_setsockopt(worker->socket, ZMQ_LINGER, &linger, sizeof linger);
	zmq_setsockopt(worker->socket, ZMQ_IMMEDIATE, &on, sizeof on);
	zmq_setsockopt(worker->socket, ZMQ_HANDSHAKE_IVL, &handshake_ms, sizeof handshake_ms);
	zmq_setsockopt(worker->socket, ZMQ_MAXMSGSIZE, &worker->message_bytes_max, sizeof worker->message_bytes_max);
	if (worker->curve) {
		zmq_setsockopt(worker->socket, ZMQ_CURVE_SERVERKEY, worker->server_key, 41);
		zmq_setsockopt(worker->socket, ZMQ_CURVE_PUBLICKEY, worker->public_key, 41);
		zmq_setsockopt(worker->socket, ZMQ_CURVE_SECRETKEY, worker->secret_key, 41);
	}
	if (zmq_getsockopt(worker->socket, ZMQ_FD, &worker->fd, &fd_size) == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "work socket: %s", zmq_strerror(zmq_errno()));
	if (zmq_connect(worker->socket, worker->endpoint) == -1)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "work endpoint '%s': %s", worker->endpoint, zmq_strerror(zmq_errno()));
	return 0;
}

int
mmq_worker_open(struct mmq_worker **worker_out, const struct mmq_worker_options *options, struct mmq_err *err)
{
	struct mmq_worker *worker;

	*worker_out = NULL;
	if (options->kind <= MMQ_WORKER_NONE || options->kind >= MMQ_WORKER_KINDS || options->endpoint == NULL)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "worker: needs a kind and an endpoint");
	if (sodium_init() == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "worker: no source of random numbers");
	worker = mmq_alloc(sizeof *worker);
	worker->kind = options->kind;
	worker->endpoint = mmq_strdup(options->endpoint);
	worker->build = options->build == NULL ? mmq_strdup("") : mmq_strndup(options->build, strnlen(options->build, 63));
	snprintf(worker->name, sizeof worker->name, "%s", options->name == NULL ? "" : options->name);
	worker->message_bytes_max = options->message_bytes_max > 0 ? options->message_bytes_max : 64 << 20;
	worker->heartbeat_ms = 1000;
	worker->lease_ms = 5000;
	worker->out_last = &worker->out_first;
	worker->control_last = &worker->control_first;
	worker->note_last = &worker->note_first;
	mmq_buf_init(&worker->scratch, 64 << 20);
	randombytes_buf(worker->session, sizeof worker->session);
	worker->context = zmq_ctx_new();
	if (worker->context == NULL)
		mmq_err_set(err, MMQ_UNAVAILABLE, "worker: %s", zmq_strerror(zmq_errno()));
	if (worker->context == NULL || keys_load(worker, options, err) == -1 || worker_socket_open(worker, err) == -1) {
		mmq_worker_close(&worker);
		return -1;
	}
	*worker_out = worker;
	return 0;
}

void
mmq_worker_close(struct mmq_worker **worker_at)
{
	struct mmq_worker *worker = *worker_at;
	int linger_ms = 500;

	if (worker == NULL)
		return;
	if (worker->socket != NULL) {
		if (worker->welcome) {
			worker_flush(worker);
			mmq_buf_reset(&worker->scratch);
			mmq_work_put_plain(&worker->scratch, MMQ_WM_BYE);
			zmq_send(worker->socket, worker->scratch.bytes, worker->scratch.size, ZMQ_DONTWAIT);
		}
		zmq_setsockopt(worker->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
		zmq_close(worker->socket);
	}
	if (worker->context != NULL)
		zmq_ctx_term(worker->context);
	while (worker->first != NULL)
		worker_held_free(worker, worker->first);
	while (worker->spare != NULL) {
		struct held *held = worker->spare;
		worker->spare = held->next;
		free(held);
	}
	while (worker->note_first != NULL) {
		struct note *note = worker->note_first;
		worker->note_first = note->next;
		free(note);
	}
	worker_outgoing_fini(worker);
	mmq_buf_fini(&worker->scratch);
	sodium_memzero(worker->secret_key, sizeof worker->secret_key);
	free(worker->endpoint);
	free(worker->build);
	free(worker);
	*worker_at = NULL;
}

int
mmq_worker_watch(struct mmq_worker *worker, int fd)
{
	if (worker->watches_count == MMQ_WORK_WATCH_MAX)
		return -1;
	worker->watches[worker->watches_count++] = fd;
	return 0;
}

static struct held *
held_find(struct mmq_worker *worker, const struct mmq_lease *lease)
{
	for (struct held *held = worker->first; held != NULL; held = held->next)
		if (held->item.lease.delivery == lease->delivery &&
		    memcmp(held->item.lease.epoch, lease->epoch, sizeof lease->epoch) == 0)
			return held;
	return NULL;
}

/* The broker wants this item to stop. One that the caller never saw is answered here. */
static void
held_cancel(struct mmq_worker *worker, struct held *held, enum mmq_code code)
{
	struct mmq_work_item *item = &held->item;

	held->lost = code == MMQ_UNAVAILABLE;
	item->cancelled = true;
	if (!held->taken) {
		mmq_worker_drop(worker, &item);
		return;
	}
	held->cancel_code = code;
	worker->cancel_count += !held->cancel_waiting;
	held->cancel_waiting = true;
}

static void
on_welcome(struct mmq_worker *worker, const struct mmq_work_message *message)
{
	struct held *next;

	worker->welcome = true;
	worker->heartbeat_ms = message->heartbeat_ms > 0 ? message->heartbeat_ms : 1000;
	worker->lease_ms = message->lease_ms > 0 ? message->lease_ms : 5000;
	for (struct held *held = worker->first; held != NULL; held = next) {
		next = held->next;
		held->grant_sent_us = 0;
		if (!lease_is_in(&held->item.lease, &message->keep))
			held_cancel(worker, held, MMQ_UNAVAILABLE);
	}
	worker_outgoing_keep(worker, &message->keep);
	note_add(worker, &(struct mmq_work_event){ .kind = MMQ_WORK_EVENT_WELCOME });
}

/* Cut the bodies of a work message into items. A message that does not add up is dropped: its leases run out. */
static void
on_work(struct mmq_worker *worker, const struct mmq_work_message *message, struct frame *frame)
{
	const uint8_t *bytes = zmq_msg_data(&frame->parts[0]);
	size_t at = message->head_bytes, size = zmq_msg_size(&frame->parts[0]);
	int64_t now_us = mmq_clock_mono_us(), ms_left;
	struct mmq_work_list list;
	struct mmq_work_item item = { .lease = message->lease };
	uint32_t count = mmq_work_list_begin(&list, &message->items);

	while (mmq_work_next_item(&list, &item, &ms_left)) {
		struct held *held;

		if (frame->count == 1) {
			if (item.body_bytes + item.payload_bytes > size - at)
				return;
			item.body = bytes + at;
			item.payload = item.payload_bytes > 0 ? item.body + item.body_bytes : NULL;
			at += item.body_bytes + item.payload_bytes;
		} else {
			size_t payload = frame->count == 3 ? zmq_msg_size(&frame->parts[2]) : 0;

			if (count != 1 || zmq_msg_size(&frame->parts[1]) != item.body_bytes || payload != item.payload_bytes)
				return;
			item.body = zmq_msg_data(&frame->parts[1]);
			item.payload = payload > 0 ? zmq_msg_data(&frame->parts[2]) : NULL;
		}
		item.arrived_us = now_us;
		item.deadline_us = ms_left < 0 ? INT64_MAX : now_us + ms_left * 1000;
		held = held_new(worker);
		*held = (struct held){ .item = item, .next = worker->first, .frame = frame };
		frame->references++;
		*(worker->first != NULL ? &worker->first->previous : &worker->last) = held;
		worker->first = held;
		if (worker->untaken == NULL)
			worker->untaken = held;
		worker->held_count++;
		worker->untaken_count++;
		mmq_buf_init(&held->progress, 1 << 20);
	}
}

static void
on_lease_message(struct mmq_worker *worker, const struct mmq_work_message *message)
{
	struct held *held = held_find(worker, &message->lease);
	struct mmq_work_event event = { .kind = MMQ_WORK_EVENT_GRANTED, .version = message->number, .code = message->code };

	if (held == NULL)
		return;
	if (message->type == MMQ_WM_CANCEL) {
		held_cancel(worker, held, message->code);
	} else if (held->grant_wanted && held->grant_what == message->what) {
		held->grant_wanted = false;
		event.item = &held->item;
		snprintf(event.message, sizeof event.message, "%s", message->message);
		note_add(worker, &event);
	}
}

static void
on_message(struct mmq_worker *worker, struct frame *frame)
{
	struct mmq_work_message message;
	struct mmq_work_event event = { .kind = MMQ_WORK_EVENT_NONE };

	worker->heard_us = mmq_clock_mono_us();
	if (mmq_work_parse(&message, zmq_msg_data(&frame->parts[0]), zmq_msg_size(&frame->parts[0]), NULL) == -1)
		return;
	switch (message.type) {
	case MMQ_WM_WELCOME: on_welcome(worker, &message); break;
	case MMQ_WM_WORK: on_work(worker, &message, frame); break;
	case MMQ_WM_CANCEL:
	case MMQ_WM_GRANTED: on_lease_message(worker, &message); break;
	case MMQ_WM_WHO: worker->welcome = worker->greeted = false; break;
	case MMQ_WM_LOAD: event.kind = MMQ_WORK_EVENT_LOAD; break;
	case MMQ_WM_DRAIN: event.kind = MMQ_WORK_EVENT_DRAIN; break;
	case MMQ_WM_BYE: worker->welcome = false; event.kind = MMQ_WORK_EVENT_REFUSED; break;
	default: break;
	}
	if (event.kind == MMQ_WORK_EVENT_NONE)
		return;
	snprintf(event.message, sizeof event.message, "%s", message.message);
	snprintf(event.tenant, sizeof event.tenant, "%s", message.tenant);
	snprintf(event.model, sizeof event.model, "%s", message.model);
	event.version = message.version;
	event.code = message.code;
	note_add(worker, &event);
}

/* Take what came, at most a burst, so that a flood of messages does not keep heartbeats from leaving. True: nothing is left there. */
bool
worker_receive(struct mmq_worker *worker)
{
	for (int burst = 0; burst < 128; burst++) {
		struct frame *frame = mmq_alloc(sizeof *frame);
		bool more = true, fits = true;

		frame->references = 1;
		while (more) {
			zmq_msg_t part;

			zmq_msg_init(&part);
			if (zmq_msg_recv(&part, worker->socket, ZMQ_DONTWAIT) == -1) {
				zmq_msg_close(&part);
				break;
			}
			more = zmq_msg_more(&part);
			fits = frame->count < 3;
			if (fits)
				frame->parts[frame->count++] = part;
			else
				zmq_msg_close(&part);
		}
		if (frame->count > 0 && fits)
			on_message(worker, frame);
		more = frame->count > 0;
		frame_release(frame);
		if (!more)
			return true;
	}
	return false;
}

size_t
mmq_worker_held(const struct mmq_worker *worker)
{
	return worker->held_count - worker->untaken_count;
}

bool
mmq_worker_is_welcome(const struct mmq_worker *worker)
{
	return worker->welcome;
}
