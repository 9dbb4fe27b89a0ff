/* stream.c: the two one-way sockets: push requests, and take messages from the sink. */
#include "client/client.h"

#include <string.h>
#include <stdlib.h>

#include <zmq.h>

enum { SINK_MESSAGES_MAX = 100000 };

static int
push_open(struct mmq_client *client, struct mmq_err *err)
{
	if (client->publish != NULL)
		return 0;
	void *socket = mmq_client_socket(client, ZMQ_PUSH, err);
	if (socket == NULL)
		return -1;
	if (mmq_client_connect(client, socket, MMQ_PUBLISH, err) == -1) {
		zmq_close(socket);
		return -1;
	}
	client->publish = socket;
	return 0;
}

int
mmq_client_push(struct mmq_client *client, struct mmq_message **message, int timeout_ms, const char **why_out)
{
	struct mmq_err err;
	struct mmq_buf frame = { 0 }, payload = { 0 };
	const char *why = NULL;

	if (push_open(client, &err) == -1)
		why = "the publish endpoint is not known or not valid";
	else if (mmq_message_finish(*message, &frame, &payload, &err) == -1)
		why = "the message was built wrongly or is too large";
	mmq_message_destroy(message);
	if (why == NULL) {
		zmq_setsockopt(client->publish, ZMQ_SNDTIMEO, &timeout_ms, sizeof(timeout_ms));
		bool has_payload = payload.size > 0;
		if (zmq_send(client->publish, frame.bytes, frame.size, has_payload ? ZMQ_SNDMORE : 0) == -1)
			why = "no service takes pushed requests, or it does not keep up";
		else if (has_payload)
			zmq_send(client->publish, payload.bytes, payload.size, 0);
	}
	mmq_buf_fini(&frame);
	mmq_buf_fini(&payload);
	if (why_out != NULL)
		*why_out = why;
	return why == NULL ? 0 : -1;
}

int
mmq_client_subscribe(struct mmq_client *client, const char *topic)
{
	struct mmq_err err;

	if (client->sink == NULL) {
		void *socket = mmq_client_socket(client, ZMQ_SUB, &err);
		if (socket == NULL)
			return -1;
		int messages_max = SINK_MESSAGES_MAX;
		zmq_setsockopt(socket, ZMQ_RCVHWM, &messages_max, sizeof(messages_max));
		if (mmq_client_connect(client, socket, MMQ_SINK, &err) == -1) {
			zmq_close(socket);
			return -1;
		}
		client->sink = socket;
	}
	return zmq_setsockopt(client->sink, ZMQ_SUBSCRIBE, topic, strlen(topic));
}

struct mmq_answer *
mmq_client_next(struct mmq_client *client, int timeout_ms)
{
	zmq_msg_t topic, body;
	struct mmq_answer *answer = NULL;

	if (client->sink == NULL)
		return NULL;
	zmq_msg_init(&topic);
	zmq_msg_init(&body);
	zmq_setsockopt(client->sink, ZMQ_RCVTIMEO, &timeout_ms, sizeof(timeout_ms));
	if (zmq_msg_recv(&topic, client->sink, 0) != -1 && zmq_msg_more(&topic) && zmq_msg_recv(&body, client->sink, 0) != -1)
		answer = mmq_answer_from_bytes(zmq_msg_data(&body), zmq_msg_size(&body), zmq_msg_data(&topic), zmq_msg_size(&topic));
	zmq_msg_close(&topic);
	zmq_msg_close(&body);
	return answer;
}
