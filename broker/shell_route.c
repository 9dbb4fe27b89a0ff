/* shell_route.c: the table of connections and their outboxes. See shell_route.h.
 * A row's number carries how often the row was used, so that a number kept by someone after the row was given to another
 * connection finds nothing instead of the wrong peer. */
#include "broker/shell_route.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

static uint32_t
hash_bytes(const uint8_t *bytes, size_t size)
{
	uint64_t hash = 0x9e3779b97f4a7c15U + size;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3U;
	return (uint32_t)(hash ^ hash >> 32);
}

void
mmq_routes_init(struct routes *routes, void *socket, size_t bytes_max, size_t bytes_each, int64_t ttl_us)
{
	*routes = (struct routes){ .socket = socket, .mail_bytes_max = bytes_max, .mail_bytes_each = bytes_each, .mail_ttl_us = ttl_us };
	routes->chains_size = 1024;
	routes->chains = mmq_array(routes->chains_size, sizeof *routes->chains);
}

static void
chains_grow(struct routes *routes)
{
	uint32_t size = routes->chains_size * 2;
	struct route **chains = mmq_array(size, sizeof *chains);

	for (uint32_t i = 0; i < routes->chains_size; i++)
		for (struct route *route = routes->chains[i], *next; route != NULL; route = next) {
			next = route->next;
			route->next = chains[route->hash & (size - 1)];
			chains[route->hash & (size - 1)] = route;
		}
	free(routes->chains);
	routes->chains = chains;
	routes->chains_size = size;
}

static struct route *
row_new(struct routes *routes)
{
	struct route *route = routes->free;

	if (route != NULL) {
		uint64_t number = route->number + ((uint64_t)1 << 32);

		routes->free = route->next;
		*route = (struct route){ .number = number };
		return route;
	}
	if (routes->rows_count == routes->rows_size) {
		routes->rows_size = routes->rows_size == 0 ? 256 : routes->rows_size * 2;
		routes->rows = mmq_grow(routes->rows, routes->rows_size, sizeof *routes->rows);
	}
	route = mmq_alloc(sizeof *route);
	route->number = (uint64_t)1 << 32 | routes->rows_count;
	routes->rows[routes->rows_count++] = route;
	return route;
}

struct route *
mmq_routes_get(struct routes *routes, const void *id, size_t id_size, const char *tenant)
{
	uint32_t hash = hash_bytes(id, id_size);
	struct route *route;

	assert(id_size <= sizeof route->id);
	for (route = routes->chains[hash & (routes->chains_size - 1)]; route != NULL; route = route->next)
		if (route->hash == hash && route->id_size == id_size && memcmp(route->id, id, id_size) == 0)
			return route;
	if (routes->used >= routes->chains_size)
		chains_grow(routes);
	route = row_new(routes);
	route->hash = hash;
	route->id_size = (uint8_t)id_size;
	memcpy(route->id, id, id_size);
	strncpy(route->tenant, tenant, sizeof route->tenant - 1);
	route->mail_last = &route->mail_first;
	route->next = routes->chains[hash & (routes->chains_size - 1)];
	routes->chains[hash & (routes->chains_size - 1)] = route;
	routes->used++;
	return route;
}

struct route *
mmq_routes_find(struct routes *routes, uint64_t number)
{
	uint32_t index = (uint32_t)number;

	if (index >= routes->rows_count || routes->rows[index]->number != number || routes->rows[index]->id_size == 0)
		return NULL;
	return routes->rows[index];
}

static void
mail_drop(struct routes *routes, struct route *route)
{
	struct route_mail *mail = route->mail_first;

	route->mail_first = mail->next;
	route->mail_bytes -= mail->bytes;
	routes->mail_bytes -= mail->bytes;
	for (unsigned i = 0; i < mail->parts_count; i++)
		zmq_msg_close(&mail->parts[i]);
	free(mail);
	if (route->mail_first != NULL)
		return;
	route->mail_last = &route->mail_first;
	*route->mail_at = route->mail_next;
	if (route->mail_next != NULL)
		route->mail_next->mail_at = route->mail_at;
}

void
mmq_routes_release(struct routes *routes, struct route *route)
{
	struct route **at = &routes->chains[route->hash & (routes->chains_size - 1)];

	if (route->holds > 0 || route->mail_first != NULL)
		return;
	while (*at != route)
		at = &(*at)->next;
	*at = route->next;
	routes->used--;
	route->id_size = 0;
	route->next = routes->free;
	routes->free = route;
}

void
mmq_routes_fini(struct routes *routes)
{
	while (routes->with_mail != NULL)
		mail_drop(routes, routes->with_mail);
	for (uint32_t i = 0; i < routes->rows_count; i++)
		free(routes->rows[i]);
	free(routes->rows);
	free(routes->chains);
	*routes = (struct routes){ .rows = NULL };
}

/* Only the first frame can fail for want of room; the rest of a message that was begun is always taken. */
static enum route_sent
parts_send(struct routes *routes, const struct route *route, zmq_msg_t *parts, unsigned count)
{
	routes->was_used = true;
	if (zmq_send(routes->socket, route->id, route->id_size, ZMQ_SNDMORE | ZMQ_DONTWAIT) == -1)
		return errno == EAGAIN ? ROUTE_WAITS : ROUTE_GONE;
	for (unsigned i = 0; i < count; i++)
		if (zmq_msg_send(&parts[i], routes->socket, ZMQ_DONTWAIT | (i + 1 < count ? ZMQ_SNDMORE : 0)) == -1)
			return ROUTE_GONE;
	return ROUTE_SENT;
}

enum route_sent
mmq_routes_send(struct routes *routes, struct route *route, zmq_msg_t *parts, unsigned count, int64_t now_us)
{
	enum route_sent sent = route->mail_first != NULL ? ROUTE_WAITS : parts_send(routes, route, parts, count);
	size_t bytes = sizeof(struct route_mail);

	for (unsigned i = 0; i < count; i++)
		bytes += zmq_msg_size(&parts[i]);
	if (sent == ROUTE_WAITS && now_us > 0 && (route->mail_bytes + bytes > routes->mail_bytes_each || routes->mail_bytes + bytes > routes->mail_bytes_max)) {
		routes->lost_full++;
		sent = ROUTE_FULL;
	}
	routes->lost_gone += sent == ROUTE_GONE;
	if (sent == ROUTE_WAITS && now_us > 0) {
		struct route_mail *mail = mmq_alloc(sizeof *mail);

		mail->expires_us = now_us + routes->mail_ttl_us;
		mail->bytes = bytes;
		mail->parts_count = count;
		for (unsigned i = 0; i < count; i++) {
			zmq_msg_init(&mail->parts[i]);
			zmq_msg_move(&mail->parts[i], &parts[i]);
		}
		if (route->mail_first == NULL) {
			route->mail_next = routes->with_mail;
			route->mail_at = &routes->with_mail;
			if (route->mail_next != NULL)
				route->mail_next->mail_at = &route->mail_next;
			routes->with_mail = route;
		}
		*route->mail_last = mail;
		route->mail_last = &mail->next;
		route->mail_bytes += bytes;
		routes->mail_bytes += bytes;
	}
	for (unsigned i = 0; i < count; i++)
		zmq_msg_close(&parts[i]);
	return sent;
}

bool
mmq_routes_retry(struct routes *routes, int64_t now_us, void (*gone)(void *arg, uint64_t number), void *arg)
{
	struct route *next;

	for (struct route *route = routes->with_mail; route != NULL; route = next) {
		enum route_sent sent = ROUTE_SENT;

		next = route->mail_next;
		while (route->mail_first != NULL && sent == ROUTE_SENT) {
			sent = parts_send(routes, route, route->mail_first->parts, route->mail_first->parts_count);
			if (sent == ROUTE_WAITS && route->mail_first->expires_us <= now_us) {
				routes->lost_late++;
				sent = ROUTE_SENT;
			}
			if (sent == ROUTE_SENT)
				mail_drop(routes, route);
		}
		if (sent == ROUTE_GONE) {
			while (route->mail_first != NULL) {
				routes->lost_gone++;
				mail_drop(routes, route);
			}
			gone(arg, route->number);
		}
		if (route->mail_first == NULL)
			mmq_routes_release(routes, route);
	}
	return routes->with_mail != NULL;
}
