/* shell_sockets.c: the sockets at the start: their options, keys and addresses. */
#include <stdlib.h>
#include <string.h>

#include "broker/shell.h"

static int
socket_open(struct shell *shell, enum shell_socket which, int type, int64_t bytes_max, void **socket_out, struct mmq_err *err)
{
	int on = 1, linger_ms = 500, backlog = 1024;
	char bound[512];
	size_t size = sizeof bound;
	void *socket = *socket_out = zmq_socket(shell->context, type);

	if (socket == NULL)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "%s: %s", mmq_shell_socket_name(which), zmq_strerror(zmq_errno()));
	if (type == ZMQ_ROUTER)
		zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &on, sizeof on);
	zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
	zmq_setsockopt(socket, ZMQ_BACKLOG, &backlog, sizeof backlog);
	mmq_zap_patience(socket, which == SHELL_WORK ? 0 : shell->options.peer_timeout_ms);   /* workers are heard by their leases */
	zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max);
	if (shell->has_keys && strncmp(shell->home.endpoint[which], "tcp:", 4) == 0 && mmq_zap_protect(&shell->zap, socket, which, err) == -1)
		return -1;
	if (zmq_bind(socket, shell->home.endpoint[which]) == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "%s: cannot bind %s: %s", mmq_shell_socket_name(which), shell->home.endpoint[which],
		    zmq_strerror(zmq_errno()));
	if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, bound, &size) == 0) {
		free(shell->home.endpoint[which]);
		shell->home.endpoint[which] = mmq_strdup(bound);
	}
	return 0;
}

static void
on_refused(void *arg, const char *tenant, const char *topic, size_t size)
{
	struct mmq_core_event event = { .kind = MMQ_ON_SUBSCRIBE, .subscribe = { tenant, topic, size } };

	mmq_shell_event(arg, &event);
}

int
mmq_shell_sockets_open(struct shell *shell, struct mmq_err *err)
{
	const struct shell_options *options = &shell->options;

	if (socket_open(shell, SHELL_REQUEST, ZMQ_ROUTER, options->message_bytes_max, &shell->request, err) == -1 ||
	    socket_open(shell, SHELL_PUBLISH, ZMQ_PULL, options->message_bytes_max, &shell->publish, err) == -1 ||
	    socket_open(shell, SHELL_WORK, ZMQ_ROUTER, options->work_bytes_max, &shell->work, err) == -1 ||
	    mmq_sink_open(&shell->sink, shell->context, &shell->home.endpoint[SHELL_SINK], shell->has_keys ? &shell->zap : NULL, options->peer_timeout_ms, err) == -1)
		return -1;
	shell->sink.on_refused = on_refused;
	shell->sink.arg = shell;
	mmq_routes_init(&shell->clients, shell->request, (size_t)options->outbox_bytes_max, (size_t)options->outbox_bytes_each, options->outbox_ttl_ms * 1000);
	mmq_routes_init(&shell->workers, shell->work, 64 << 20, 16 << 20, 5000000);
	return mmq_shell_home_write(&shell->home, err);
}
