/* client.c: opens and closes a client: where the service is, which keys, and one socket of each kind when it is first needed. */
#include "client/client.h"

#include <stdlib.h>
#include <string.h>

#include <zmq.h>

#include "util/home.h"
#include "util/mem.h"

enum { CONNECT_MS_DEFAULT = 3000, MESSAGE_BYTES_MAX = 64 << 20, PUSH_LINGER_MS = 2000 };

static const char *const endpoint_names[MMQ_ENDPOINTS] = { "request", "publish", "sink", "work" };

static void
read_keys(struct mmq_client *client, const struct mmq_client_options *options)
{
	if (options->server_key == NULL && options->key_file == NULL)
		return;
	if (options->server_key == NULL || options->key_file == NULL) {
		client->is_broken = true;
		mmq_err_set(&client->broken, MMQ_INVALID_ARGUMENT, "CURVE needs both the service's key and this client's key file");
		return;
	}
	client->has_curve = true;
	client->is_broken = mmq_keys_read(options->server_key, "public-key", client->server_key, &client->broken) == -1 ||
	    mmq_keys_read(options->key_file, "public-key", client->public_key, &client->broken) == -1 ||
	    mmq_keys_read(options->key_file, "secret-key", client->secret_key, &client->broken) == -1;
}

struct mmq_client *
mmq_client_open_with(const struct mmq_client_options *options)
{
	struct mmq_client *client = mmq_alloc(sizeof(*client));
	const char *given[MMQ_ENDPOINTS] = { options->request, options->publish, options->sink, NULL };
	bool is_remote = options->request != NULL || options->publish != NULL || options->sink != NULL;
	const char *home = options->home != NULL ? options->home : is_remote ? NULL : mmq_home_default();

	client->connect_ms = options->connect_ms > 0 ? options->connect_ms : CONNECT_MS_DEFAULT;
	client->retry_ms = options->retry_ms;
	client->context = zmq_ctx_new();
	if (client->context == NULL)
		abort();
	read_keys(client, options);
	for (int i = 0; i < MMQ_ENDPOINTS && !client->is_broken; i++) {
		if (given[i] != NULL)
			client->endpoints[i] = mmq_strdup(given[i]);
		else if (home != NULL)
			client->endpoints[i] = mmq_home_endpoint(home, endpoint_names[i], &client->broken);
	}
	/* The request socket is what nearly everyone needs; the others are missed only when they are used. */
	if (home != NULL && client->endpoints[MMQ_REQUEST] == NULL)
		client->is_broken = true;
	return client;
}

struct mmq_client *
mmq_client_open(const char *where)
{
	bool is_endpoint = where != NULL && strstr(where, "://") != NULL;
	struct mmq_client_options options = { .request = is_endpoint ? where : NULL, .home = is_endpoint ? NULL : where };

	return mmq_client_open_with(&options);
}

void
mmq_client_close(struct mmq_client **client_in)
{
	struct mmq_client *client = *client_in;

	if (client == NULL)
		return;
	void *sockets[] = { client->monitor, client->request, client->publish, client->sink };
	for (size_t i = 0; i < sizeof(sockets) / sizeof(sockets[0]); i++)
		if (sockets[i] != NULL)
			zmq_close(sockets[i]);
	zmq_ctx_term(client->context);
	mmq_client_forget_all(client);
	for (int i = 0; i < MMQ_ENDPOINTS; i++)
		free(client->endpoints[i]);
	free(client);
	*client_in = NULL;
}

const char *
mmq_client_why(const struct mmq_client *client)
{
	return client->is_broken ? client->broken.message : NULL;
}

const char *
mmq_client_endpoint(const struct mmq_client *client, const char *which)
{
	for (int i = 0; i < MMQ_ENDPOINTS; i++)
		if (strcmp(endpoint_names[i], which) == 0)
			return client->endpoints[i];
	return NULL;
}

static void
set_int(void *socket, int option, int value)
{
	zmq_setsockopt(socket, option, &value, sizeof(value));
}

void *
mmq_client_socket(struct mmq_client *client, int type, struct mmq_err *err)
{
	void *socket = zmq_socket(client->context, type);
	int64_t bytes_max = MESSAGE_BYTES_MAX;

	if (socket == NULL) {
		mmq_err_set(err, MMQ_UNAVAILABLE, "no socket: %s", zmq_strerror(zmq_errno()));
		return NULL;
	}
	/* No ZMTP heartbeats: with a reader that pauses they lose messages. TCP's own find a peer that is gone. */
	zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof(bytes_max));
	set_int(socket, ZMQ_LINGER, type == ZMQ_PUSH ? PUSH_LINGER_MS : 0);
	set_int(socket, ZMQ_HANDSHAKE_IVL, 5000);
	set_int(socket, ZMQ_RECONNECT_IVL, 50);
	set_int(socket, ZMQ_RECONNECT_IVL_MAX, 1000);
	set_int(socket, ZMQ_TCP_KEEPALIVE, 1);
	set_int(socket, ZMQ_TCP_KEEPALIVE_IDLE, 30);
	if (type == ZMQ_PUSH)
		set_int(socket, ZMQ_IMMEDIATE, 1);   /* nothing is swallowed before there is a connection */
	if (client->has_curve) {
		zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, client->server_key, 41);
		zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, client->public_key, 41);
		zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, client->secret_key, 41);
	}
	return socket;
}

int
mmq_client_connect(struct mmq_client *client, void *socket, enum mmq_endpoint which, struct mmq_err *err)
{
	const char *endpoint = client->endpoints[which];

	if (client->is_broken) {
		*err = client->broken;
		return -1;
	}
	if (endpoint == NULL)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "the %s endpoint of the service is not known; name it or the home folder",
		    endpoint_names[which]);
	if (zmq_connect(socket, endpoint) == -1)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, endpoint_names[which], "an endpoint like tcp://host:5550 or ipc:///path", "%s (%s)",
		    endpoint, zmq_strerror(zmq_errno()));
	return 0;
}
