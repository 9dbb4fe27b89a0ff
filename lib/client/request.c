/* request.c: requests and their answers over one DEALER socket.
 *
 * Every request stays in `pending` until its answer is here. A socket monitor tells when a connection is made; all that is
 * unanswered then goes out (again). The DEALER sets no routing id, so a new connection is a new peer to the service, and
 * sending again by id is what makes a restart of the service invisible. An answer without a pending request is a
 * duplicate and is dropped. Small requests that wait together leave in one frame, as a list; so come their answers. */
#include "client/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zmq.h>

#include "mpack/reader.h"
#include "mpack/writer.h"
#include "util/clock.h"
#include "util/mem.h"
#include "wire/peek.h"

enum {
	LOST_MS_MAX = 30000,       /* how long a service that was there may be gone */
	RETRY_MS = 50, RETRY_DOUBLINGS_MAX = 5,
	JOB_WAIT_MS = 20000, JOB_WAIT_GRACE_MS = 5000,
	PACK_HEAD_BYTES = 5, PACK_COUNT_MAX = 256,   /* of a list of requests in one frame */
};

static void
pending_free(struct mmq_pending *pending)
{
	mmq_buf_fini(&pending->frame);
	mmq_buf_fini(&pending->payload);
	free(pending);
}

void
mmq_client_forget_all(struct mmq_client *client)
{
	for (size_t i = 0; i < client->pending_count; i++)
		pending_free(client->pending[i]);
	for (size_t i = 0; i < client->ready_count; i++)
		mmq_answer_destroy(&client->ready[i]);
	free(client->pending);
	free(client->ready);
}

static void
pending_remove(struct mmq_client *client, size_t index)
{
	pending_free(client->pending[index]);
	client->pending_count--;
	memmove(client->pending + index, client->pending + index + 1, (client->pending_count - index) * sizeof(*client->pending));
}

/* The place of the request with this id; pending_count when there is none. */
static size_t
pending_find(const struct mmq_client *client, const char *id)
{
	for (size_t i = 0; i < client->pending_count; i++)
		if (strcmp(client->pending[i]->id, id) == 0)
			return i;
	return client->pending_count;
}

static void
ready_add(struct mmq_client *client, struct mmq_answer *answer)
{
	if (client->ready_count == client->ready_capacity) {
		client->ready_capacity = client->ready_capacity * 2 + 8;
		client->ready = mmq_grow(client->ready, client->ready_capacity, sizeof(struct mmq_answer *));
	}
	client->ready[client->ready_count++] = answer;
}

static struct mmq_answer *
ready_take(struct mmq_client *client, size_t index)
{
	struct mmq_answer *answer = client->ready[index];

	client->ready_count--;
	memmove(client->ready + index, client->ready + index + 1, (client->ready_count - index) * sizeof(*client->ready));
	return answer;
}

/* Open the request socket with its monitor. 0, or -1 with err. */
static int
request_open(struct mmq_client *client, struct mmq_err *err)
{
	char monitor_at[64];

	if (client->is_broken) {
		*err = client->broken;
		return -1;
	}
	if (client->request != NULL)
		return 0;
	snprintf(monitor_at, sizeof(monitor_at), "inproc://monitor-%p", (void *)client);
	client->request = mmq_client_socket(client, ZMQ_DEALER, err);
	if (client->request == NULL)
		return -1;
	client->monitor = zmq_socket(client->context, ZMQ_PAIR);
	if (client->monitor == NULL || zmq_socket_monitor(client->request, monitor_at, ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED |
	    ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) == -1 || zmq_connect(client->monitor, monitor_at) == -1) {
		mmq_err_set(err, MMQ_UNAVAILABLE, "cannot watch the connection: %s", zmq_strerror(zmq_errno()));
		goto fail;
	}
	client->lost_us = mmq_clock_mono_us();
	if (mmq_client_connect(client, client->request, MMQ_REQUEST, err) == 0)
		return 0;
fail:
	zmq_socket_monitor(client->request, NULL, 0);   /* frees its address, should it be tried again */
	zmq_close(client->request);
	if (client->monitor != NULL)
		zmq_close(client->monitor);
	client->request = client->monitor = NULL;
	return -1;
}

/* false: the socket is full, poll says when there is room. */
static bool
send_one(struct mmq_client *client, struct mmq_pending *pending)
{
	bool has_payload = pending->payload.size > 0;

	if (zmq_send(client->request, pending->frame.bytes, pending->frame.size, ZMQ_DONTWAIT | (has_payload ? ZMQ_SNDMORE : 0)) == -1)
		return false;
	/* A message goes out whole: once its first frame was taken, the others are too. */
	if (has_payload)
		zmq_send(client->request, pending->payload.bytes, pending->payload.size, 0);
	return pending->is_sent = true;
}

static bool
send_list(struct mmq_client *client, struct mmq_pending *const *list, size_t count)
{
	struct mmq_buf frame;
	bool is_sent;

	if (count < 2)
		return count == 0 || send_one(client, list[0]);
	mmq_buf_init(&frame, MMQ_PACKED_BYTES_MAX);
	mmq_put_array(&frame, count);
	for (size_t i = 0; i < count; i++)
		mmq_buf_append(&frame, list[i]->frame.bytes, list[i]->frame.size);
	is_sent = zmq_send(client->request, frame.bytes, frame.size, ZMQ_DONTWAIT) != -1;
	mmq_buf_fini(&frame);
	for (size_t i = 0; i < count && is_sent; i++)
		list[i]->is_sent = true;
	return is_sent;
}

static void
send_unsent(struct mmq_client *client)
{
	struct mmq_pending *list[PACK_COUNT_MAX];
	size_t count = 0, bytes = PACK_HEAD_BYTES;
	int64_t now_us = mmq_clock_mono_us();

	for (size_t i = 0; i < client->pending_count; i++) {
		struct mmq_pending *pending = client->pending[i];
		bool is_small = pending->payload.size == 0 && pending->frame.size <= MMQ_PACKED_BYTES_MAX - PACK_HEAD_BYTES;
		if (pending->is_sent || pending->again_us > now_us)
			continue;
		if (!is_small || count == PACK_COUNT_MAX || bytes + pending->frame.size > MMQ_PACKED_BYTES_MAX) {
			if (!send_list(client, list, count) || (!is_small && !send_one(client, pending)))
				return;
			count = 0;
			bytes = PACK_HEAD_BYTES;
		}
		if (is_small) {
			list[count++] = pending;
			bytes += pending->frame.size;
		}
	}
	send_list(client, list, count);
}

/* When the next request that was not sent is due: 0 for at once, INT64_MAX for never. */
static int64_t
unsent_due_us(const struct mmq_client *client)
{
	int64_t due_us = INT64_MAX;

	for (size_t i = 0; i < client->pending_count; i++)
		if (!client->pending[i]->is_sent && client->pending[i]->again_us < due_us)
			due_us = client->pending[i]->again_us;
	return due_us;
}

static void
read_monitor(struct mmq_client *client)
{
	uint8_t event[6];
	uint16_t what;

	while (zmq_recv(client->monitor, event, sizeof(event), ZMQ_DONTWAIT) == sizeof(event)) {
		zmq_recv(client->monitor, NULL, 0, ZMQ_DONTWAIT);   /* second frame: the endpoint */
		memcpy(&what, event, sizeof(what));
		switch (what) {
		case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
			/* What was sent before the first connection is still in the socket's queue and goes out now. */
			for (size_t i = 0; client->was_connected && i < client->pending_count; i++)
				client->pending[i]->is_sent = false;
			client->is_connected = client->was_connected = true;
			client->is_refused = false;
			break;
		case ZMQ_EVENT_DISCONNECTED:
			client->is_connected = false;
			client->lost_us = mmq_clock_mono_us();
			break;
		default:
			client->is_refused = true;
		}
	}
}

/* Busy, or nobody there yet: keep the request and send it again after a while. false: the answer is for the caller. */
static bool
retry_later(const struct mmq_client *client, struct mmq_pending *pending, const struct mmq_answer *answer)
{
	int64_t now_us = mmq_clock_mono_us();
	const char *code = mmq_answer_code(answer);

	if (client->retry_ms == 0 || now_us - pending->first_us > (int64_t)client->retry_ms * 1000 || !mmq_answer_flag(answer, "error.retryable", false) ||
	    (strcmp(code, "UNAVAILABLE") != 0 && strcmp(code, "RESOURCE_EXHAUSTED") != 0))
		return false;
	int64_t wait_ms = mmq_answer_int(answer, "error.retry_after_ms", RETRY_MS << pending->retries);
	pending->retries += pending->retries < RETRY_DOUBLINGS_MAX;
	pending->again_us = now_us + (wait_ms < 1 ? 1 : wait_ms > 5000 ? 5000 : wait_ms) * 1000;
	pending->is_sent = false;
	return true;
}

static void
answer_take(struct mmq_client *client, const void *bytes, size_t size)
{
	struct mmq_answer *answer = mmq_answer_from_bytes(bytes, size, NULL, 0);
	size_t index = pending_find(client, mmq_answer_id(answer));

	/* An answer without an id is to a message that could not be read; with one unanswered we know which. */
	if (index == client->pending_count && *mmq_answer_id(answer) == '\0' && client->pending_count == 1)
		index = 0;
	if (index == client->pending_count || retry_later(client, client->pending[index], answer)) {
		mmq_answer_destroy(&answer);
		return;
	}
	mmq_answer_set_id(answer, client->pending[index]->id);
	pending_remove(client, index);
	ready_add(client, answer);
}

static void
read_answers(struct mmq_client *client)
{
	zmq_msg_t frame;

	zmq_msg_init(&frame);
	while (zmq_msg_recv(&frame, client->request, ZMQ_DONTWAIT) != -1) {
		struct mmq_reader reader;
		struct mmq_token list;
		const uint8_t *bytes;
		size_t size;

		if (zmq_msg_more(&frame) || zmq_msg_size(&frame) == 0)
			continue;
		mmq_reader_init(&reader, zmq_msg_data(&frame), zmq_msg_size(&frame));
		if (mmq_read_peek(&reader) != MMQ_T_ARRAY) {
			answer_take(client, zmq_msg_data(&frame), zmq_msg_size(&frame));
			continue;
		}
		mmq_read(&reader, &list);
		for (uint32_t i = 0; i < list.size && mmq_read_raw(&reader, &bytes, &size); i++)
			answer_take(client, bytes, size);
	}
	zmq_msg_close(&frame);
}

/* Wait up to timeout_ms for the network and do what it brings. */
static void
pump(struct mmq_client *client, long timeout_ms)
{
	int64_t now_us = mmq_clock_mono_us(), due_us = unsent_due_us(client);
	zmq_pollitem_t items[2] = {
		{ .socket = client->request, .events = (short)(ZMQ_POLLIN | (due_us <= now_us ? ZMQ_POLLOUT : 0)) },
		{ .socket = client->monitor, .events = ZMQ_POLLIN },
	};

	if (due_us > now_us && due_us - now_us < (int64_t)timeout_ms * 1000)
		timeout_ms = (long)((due_us - now_us + 999) / 1000);
	if (zmq_poll(items, 2, timeout_ms) < 0)
		return;
	if (items[1].revents != 0)
		read_monitor(client);
	send_unsent(client);
	read_answers(client);
}

/* Turn the oldest unanswered request into a local answer when the service cannot be reached. */
static void
give_up_if_gone(struct mmq_client *client)
{
	struct mmq_err err;
	int64_t gone_ms = (mmq_clock_mono_us() - client->lost_us) / 1000;
	const char *endpoint = client->endpoints[MMQ_REQUEST];

	if (client->is_connected || client->pending_count == 0)
		return;
	if (client->is_refused)
		mmq_err_set(&err, MMQ_UNAUTHENTICATED, "the service at %s refuses this key (or speaks without keys)", endpoint);
	else if (gone_ms >= (client->was_connected ? LOST_MS_MAX : (int64_t)client->connect_ms))
		mmq_err_set(&err, MMQ_UNAVAILABLE, "no service answers at %s", endpoint);
	else
		return;
	ready_add(client, mmq_answer_from_err(client->pending[0]->id, &err));
	pending_remove(client, 0);
}

static int
pending_add(struct mmq_client *client, struct mmq_message **message)
{
	struct mmq_pending *pending = mmq_alloc(sizeof(*pending));
	struct mmq_err err;
	int outcome = -1;

	snprintf(pending->id, sizeof(pending->id), "%s", mmq_message_id(*message));
	if (request_open(client, &err) == 0)
		outcome = mmq_message_finish(*message, &pending->frame, &pending->payload, &err);
	mmq_message_destroy(message);
	if (outcome == -1) {
		ready_add(client, mmq_answer_from_err(pending->id, &err));
		pending_free(pending);
		return -1;
	}
	if (client->pending_count == client->pending_capacity) {
		client->pending_capacity = client->pending_capacity * 2 + 8;
		client->pending = mmq_grow(client->pending, client->pending_capacity, sizeof(struct mmq_pending *));
	}
	pending->first_us = mmq_clock_mono_us();
	client->pending[client->pending_count++] = pending;
	return 0;
}

int
mmq_client_send(struct mmq_client *client, struct mmq_message **message)
{
	return mmq_client_send_many(client, message, 1);
}

int
mmq_client_send_many(struct mmq_client *client, struct mmq_message **messages, size_t count)
{
	int outcome = 0;

	for (size_t i = 0; i < count; i++)
		if (pending_add(client, &messages[i]) == -1)
			outcome = -1;
	if (client->request != NULL)
		send_unsent(client);
	return outcome;
}

size_t
mmq_client_unanswered(const struct mmq_client *client)
{
	return client->pending_count + client->ready_count;
}

/* Take the answer to id (NULL: any); NULL after timeout_ms or when nothing more can come. */
static struct mmq_answer *
wait_for(struct mmq_client *client, const char *id, int timeout_ms)
{
	int64_t until_us = timeout_ms < 0 ? INT64_MAX : mmq_clock_mono_us() + (int64_t)timeout_ms * 1000;

	for (;;) {
		for (size_t i = 0; i < client->ready_count; i++)
			if (id == NULL || strcmp(mmq_answer_id(client->ready[i]), id) == 0)
				return ready_take(client, i);
		int64_t left_us = until_us - mmq_clock_mono_us();
		if (client->pending_count == 0 || left_us < 0)
			return NULL;
		/* At most 100 ms at a time, so that a service that is gone is noticed. */
		pump(client, left_us > 100000 ? 100 : (long)((left_us + 999) / 1000));
		give_up_if_gone(client);
	}
}

struct mmq_answer *
mmq_client_receive(struct mmq_client *client, int timeout_ms)
{
	return wait_for(client, NULL, timeout_ms);
}

struct mmq_answer *
mmq_client_ask(struct mmq_client *client, struct mmq_message **message, int timeout_ms)
{
	struct mmq_err err;
	char id[65];

	snprintf(id, sizeof(id), "%s", mmq_message_id(*message));
	mmq_client_send(client, message);
	struct mmq_answer *answer = wait_for(client, id, timeout_ms);
	if (answer != NULL)
		return answer;
	size_t index = pending_find(client, id);
	if (index < client->pending_count)
		pending_remove(client, index);
	mmq_err_set(&err, MMQ_DEADLINE_EXCEEDED, "no answer within %d ms", timeout_ms);
	return mmq_answer_from_err(id, &err);
}

/* Ask job.wait until the job has ended; one such wait is kept short enough for the service's default deadline. */
static struct mmq_answer *
wait_for_job(struct mmq_client *client, const char *job, int64_t until_us)
{
	for (;;) {
		int64_t left_ms = until_us == INT64_MAX ? JOB_WAIT_MS : (until_us - mmq_clock_mono_us()) / 1000;
		int wait_ms = (int)(left_ms > JOB_WAIT_MS ? JOB_WAIT_MS : left_ms < 1 ? 1 : left_ms);
		struct mmq_message *message = mmq_message_new("job.wait");
		mmq_message_text(message, "job", job);
		mmq_message_int(message, "deadline_ms", wait_ms);
		struct mmq_answer *answer = mmq_client_ask(client, &message, wait_ms + JOB_WAIT_GRACE_MS);
		bool is_over = strcmp(mmq_answer_code(answer), "DEADLINE_EXCEEDED") != 0;
		if (is_over || mmq_clock_mono_us() >= until_us)
			return answer;
		mmq_answer_destroy(&answer);
	}
}

struct mmq_answer *
mmq_client_train(struct mmq_client *client, struct mmq_message **message, int timeout_ms)
{
	int64_t until_us = timeout_ms < 0 ? INT64_MAX : mmq_clock_mono_us() + (int64_t)timeout_ms * 1000;
	struct mmq_answer *accepted = mmq_client_ask(client, message, timeout_ms);
	const char *job = mmq_answer_text(accepted, "job");

	if (!mmq_answer_is_ok(accepted) || job == NULL)
		return accepted;
	struct mmq_answer *answer = wait_for_job(client, job, until_us);
	mmq_answer_need_done_job(answer);
	mmq_answer_destroy(&accepted);
	return answer;
}
