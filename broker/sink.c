/* sink.c: subscriptions narrowed, messages out. See sink.h. */
#include "broker/sink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "util/mem.h"

/* The first two segments of every topic. A mark has nothing behind its tenant but a slash, so that the mark of tenant `a`
 * does not match a subscription to that of tenant `ab`. */
static const char *const kinds[SINK_KINDS] = { "result", "job", "model", "mark" };

int
mmq_sink_narrow(const char *tenant, const char *wish, size_t wish_size, char topics_out[SINK_KINDS][SINK_TOPIC_MAX])
{
	int count = 0;

	if (wish_size >= SINK_TOPIC_MAX)
		return 0;
	for (int i = 0; i < SINK_KINDS; i++) {
		char own[SINK_TOPIC_MAX];
		size_t own_size = (size_t)snprintf(own, sizeof own, "%s/%s/", kinds[i], tenant);

		if (wish_size >= own_size && memcmp(wish, own, own_size) == 0) {
			memcpy(topics_out[count], wish, wish_size);
			topics_out[count++][wish_size] = 0;
		} else if (wish_size < own_size && memcmp(wish, own, wish_size) == 0) {
			memcpy(topics_out[count++], own, own_size + 1);
		}
	}
	return count;
}

static int
socket_open(struct sink *sink, const char *endpoint, struct mmq_err *err)
{
	int on = 1, hwm = 1000, linger_ms = 100;
	int64_t message_max = 1 << 16;

	sink->socket = zmq_socket(sink->context, ZMQ_XPUB);
	sink->was_used = true;
	if (sink->socket == NULL)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "sink: %s", zmq_strerror(zmq_errno()));
	zmq_setsockopt(sink->socket, ZMQ_XPUB_MANUAL, &on, sizeof on);
	zmq_setsockopt(sink->socket, ZMQ_SNDHWM, &hwm, sizeof hwm);
	zmq_setsockopt(sink->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
	mmq_zap_patience(sink->socket, sink->peer_timeout_ms);
	zmq_setsockopt(sink->socket, ZMQ_MAXMSGSIZE, &message_max, sizeof message_max);
	if (sink->zap != NULL && strncmp(endpoint, "tcp:", 4) == 0)
		return mmq_zap_protect(sink->zap, sink->socket, SHELL_SINK, err);
	return 0;
}

static int
socket_bind(struct sink *sink, const char *endpoint, struct mmq_err *err)
{
	sink->is_bound = zmq_bind(sink->socket, endpoint) == 0;
	if (!sink->is_bound)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "sink: cannot bind %s: %s", endpoint, zmq_strerror(zmq_errno()));
	return 0;
}

int
mmq_sink_open(struct sink *sink, void *context, char **endpoint, struct zap *zap, int64_t peer_timeout_ms, struct mmq_err *err)
{
	char bound[512];
	size_t size = sizeof bound;

	*sink = (struct sink){ .context = context, .zap = zap, .peer_timeout_ms = peer_timeout_ms };
	if (socket_open(sink, *endpoint, err) == -1 || socket_bind(sink, *endpoint, err) == -1)
		return -1;
	if (zmq_getsockopt(sink->socket, ZMQ_LAST_ENDPOINT, bound, &size) == 0) {
		free(*endpoint);
		*endpoint = mmq_strdup(bound);
	}
	sink->endpoint = *endpoint;
	return 0;
}

void
mmq_sink_close(struct sink *sink)
{
	if (sink->socket != NULL)
		zmq_close(sink->socket);
	sink->socket = NULL;
}

void
mmq_sink_read(struct sink *sink)
{
	for (int burst = 0; burst < 128; burst++) {
		char topics[SINK_KINDS][SINK_TOPIC_MAX];
		const char *tenant = "default", *wish;
		int count, option;
		zmq_msg_t message;
		size_t size;

		zmq_msg_init(&message);
		if (zmq_msg_recv(&message, sink->socket, ZMQ_DONTWAIT) == -1) {
			zmq_msg_close(&message);
			sink->was_used = false;
			return;
		}
		wish = zmq_msg_data(&message);
		size = zmq_msg_size(&message);
		if (sink->zap != NULL && strncmp(sink->endpoint, "tcp:", 4) == 0) {
			const struct zap_key *key = mmq_zap_find(sink->zap, zmq_msg_gets(&message, "User-Id"), SHELL_SINK);

			tenant = key == NULL ? NULL : key->tenant;
		}
		if (size > 0 && (wish[0] == 0 || wish[0] == 1)) {
			option = wish[0] == 1 ? ZMQ_SUBSCRIBE : ZMQ_UNSUBSCRIBE;
			count = tenant == NULL ? 0 : mmq_sink_narrow(tenant, wish + 1, size - 1, topics);
			if (count == 0 && option == ZMQ_SUBSCRIBE) {
				sink->refused++;
				if (sink->on_refused != NULL && tenant != NULL)
					sink->on_refused(sink->arg, tenant, wish + 1, size - 1);
			}
			for (int i = 0; i < count; i++)
				zmq_setsockopt(sink->socket, option, topics[i], strlen(topics[i]));
		}
		zmq_msg_close(&message);
	}
	sink->was_used = true;
}

void
mmq_sink_send(struct sink *sink, const char *topic, const void *bytes, size_t size)
{
	sink->was_used = true;
	if (zmq_send(sink->socket, topic, strlen(topic), ZMQ_DONTWAIT | ZMQ_SNDMORE) == -1 ||
	    zmq_send(sink->socket, bytes, size, ZMQ_DONTWAIT) == -1)
		sink->dropped++;
	else
		sink->published++;
}

int
mmq_sink_cut(struct sink *sink, struct mmq_err *err)
{
	mmq_sink_close(sink);
	sink->is_bound = false;
	return socket_open(sink, sink->endpoint, err);
}

int
mmq_sink_bind(struct sink *sink, struct mmq_err *err)
{
	if (sink->is_bound || socket_bind(sink, sink->endpoint, err) == 0)
		return 0;
	return zmq_errno() == EADDRINUSE ? 0 : -1;
}
