/* http.c: see http.h. */
#include "broker/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/mem.h"

enum { CONNECTIONS_MAX = 64, CONNECTION_S = 10, WAIT_S = 1 };

struct http {
	struct MHD_Daemon *daemon;
	pthread_mutex_t lock;
	pthread_cond_t fresh;
	int wish[2];                 /* a byte: someone waits for a snapshot */
	unsigned port;
	unsigned long serial;
	char *metrics, why[512];
	size_t size;
	bool is_ready;
};

/* Ask the loop and wait for its answer. Called with the lock held. */
static void
refresh(struct http *http)
{
	struct timespec until;
	unsigned long had = http->serial;

	if (write(http->wish[1], "w", 1) == -1 && errno != EAGAIN)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += WAIT_S;
	while (http->serial == had && pthread_cond_timedwait(&http->fresh, &http->lock, &until) == 0)
		continue;
}

static enum MHD_Result
reply(struct MHD_Connection *connection, unsigned code, const char *type, const char *text, size_t size)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(size, (void *)text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (response == NULL)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", type);
	result = MHD_queue_response(connection, code, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method, const char *version, const char *upload,
    size_t *upload_size, void **seen)
{
	struct http *http = arg;
	enum MHD_Result result;

	(void)version;
	(void)upload;
	if (*seen == NULL) { /* the header only; libmicrohttpd calls again for the rest */
		*seen = http;
		return MHD_YES;
	}
	*upload_size = 0;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return reply(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", "GET only\n", 9);
	if (strcmp(url, "/health/live") == 0)
		return reply(connection, MHD_HTTP_OK, "text/plain", "alive\n", 6);
	if (strcmp(url, "/metrics") != 0 && strcmp(url, "/health/ready") != 0)
		return reply(connection, MHD_HTTP_NOT_FOUND, "text/plain", "try /metrics, /health/ready or /health/live\n", 44);
	pthread_mutex_lock(&http->lock);
	refresh(http);
	if (url[1] == 'm')
		result = reply(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", http->metrics == NULL ? "" : http->metrics, http->size);
	else
		result = reply(connection, http->is_ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain", http->why, strlen(http->why));
	pthread_mutex_unlock(&http->lock);
	return result;
}

static int
address_read(const char *text, struct sockaddr_in *address, struct mmq_err *err)
{
	char host[32] = "";
	unsigned port = 65536;

	*address = (struct sockaddr_in){ .sin_family = AF_INET };
	if (sscanf(text, "%31[0-9.]:%u", host, &port) != 2 || port > 65535 || inet_pton(AF_INET, host, &address->sin_addr) != 1 ||
	    (ntohl(address->sin_addr.s_addr) >> 24) != 127)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "http", "a loopback address and port, as 127.0.0.1:9464", "'%s'", text);
	address->sin_port = htons((uint16_t)port);
	return 0;
}

int
mmq_http_open(struct http **http_out, const char *text, struct mmq_err *err)
{
	struct http *http = *http_out = mmq_alloc(sizeof *http);
	const union MHD_DaemonInfo *info;
	pthread_condattr_t monotonic;
	struct sockaddr_in address;

	http->wish[0] = http->wish[1] = -1;
	pthread_mutex_init(&http->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&http->fresh, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (address_read(text, &address, err) == -1)
		return -1;
	if (pipe2(http->wish, O_CLOEXEC | O_NONBLOCK) == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "http: %s", strerror(errno));
	http->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, ntohs(address.sin_port), NULL, NULL, on_request, http,
	    MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
	    (unsigned)CONNECTION_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32768, MHD_OPTION_END);
	if (http->daemon == NULL)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "http: cannot listen on %s: %s", text, strerror(errno));
	info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT);
	http->port = info == NULL ? ntohs(address.sin_port) : info->port;
	return 0;
}

void
mmq_http_close(struct http **http_at)
{
	struct http *http = *http_at;

	if (http == NULL)
		return;
	if (http->daemon != NULL)
		MHD_stop_daemon(http->daemon);
	for (int i = 0; i < 2; i++)
		if (http->wish[i] != -1)
			close(http->wish[i]);
	pthread_cond_destroy(&http->fresh);
	pthread_mutex_destroy(&http->lock);
	free(http->metrics);
	free(http);
	*http_at = NULL;
}

unsigned
mmq_http_port(const struct http *http)
{
	return http->port;
}

int
mmq_http_fd(const struct http *http)
{
	return http->wish[0];
}

void
mmq_http_give(struct http *http, const char *metrics, size_t size, bool is_ready, const char *why)
{
	char bytes[64];

	while (read(http->wish[0], bytes, sizeof bytes) > 0)
		continue;
	pthread_mutex_lock(&http->lock);
	http->metrics = mmq_grow(http->metrics, size + 1, 1);
	memcpy(http->metrics, metrics, size);
	http->size = size;
	http->is_ready = is_ready;
	snprintf(http->why, sizeof http->why, "%s", why);
	http->serial++;
	pthread_cond_broadcast(&http->fresh);
	pthread_mutex_unlock(&http->lock);
}
