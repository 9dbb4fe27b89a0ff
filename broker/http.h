/* http.h: the broker seen from outside over HTTP: /metrics for Prometheus, /health/live and /health/ready for whoever restarts things.
 *
 * A thread of libmicrohttpd only reads snapshots: it asks the broker's loop for a fresh one over a pipe and waits for it a second at most,
 * then answers with what it has. Loopback only: there is no authentication. */
#ifndef MMQ_BROKER_HTTP_H
#define MMQ_BROKER_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"

struct http;

/* address: "127.0.0.1:9464"; port 0 takes a free one. */
int mmq_http_open(struct http **http_out, const char *address, struct mmq_err *err);
void mmq_http_close(struct http **http);                      /* *http may be NULL */
unsigned mmq_http_port(const struct http *http);
int mmq_http_fd(const struct http *http);                     /* readable: a snapshot is wanted */
void mmq_http_give(struct http *http, const char *metrics, size_t size, bool is_ready, const char *why); /* copies; empties the fd */

#endif
