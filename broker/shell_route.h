/* shell_route.h: the connections of one ROUTER, by number, and what could not be sent to them yet.
 *
 * Key idea: a routing id is never shown to anyone; the rest of the broker knows a connection by a number that is not used
 * twice. A connection that does not read gets an outbox with a byte budget and a time to live; the socket itself is never waited for. */
#ifndef MMQ_BROKER_SHELL_ROUTE_H
#define MMQ_BROKER_SHELL_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

enum { ROUTE_PARTS_MAX = 3 };

struct route_mail {
	struct route_mail *next;
	int64_t expires_us;
	size_t bytes;
	unsigned parts_count;
	zmq_msg_t parts[ROUTE_PARTS_MAX];
};

struct shell_pack;

struct route {
	uint64_t number;             /* index in the table, and above it how often that place was used */
	struct route *next;          /* of its hash chain, or of the free list */
	uint32_t hash;
	uint32_t holds;              /* requests that are not answered yet, or 1 for a worker's session */
	uint8_t id_size;
	uint8_t id[255];
	char tenant[65];
	struct route_mail *mail_first, **mail_last;
	size_t mail_bytes;
	struct route *mail_next, **mail_at;  /* list of routes with mail */
	struct shell_pack *pack;     /* answers that will leave in one frame (shell_pack.c); NULL: none */
};

struct routes {
	void *socket;                /* the ROUTER; borrowed */
	struct route **rows;         /* by index */
	uint32_t rows_count, rows_size;
	struct route **chains;       /* by hash */
	uint32_t chains_size, used;
	struct route *free;
	struct route *with_mail;     /* those whose outbox is not empty */
	size_t mail_bytes, mail_bytes_max, mail_bytes_each;
	int64_t mail_ttl_us;
	uint64_t lost_gone, lost_full, lost_late;
	bool was_used;               /* a send was tried since the owner cleared this */
};

enum route_sent { ROUTE_SENT, ROUTE_WAITS, ROUTE_GONE, ROUTE_FULL };

void mmq_routes_init(struct routes *routes, void *socket, size_t bytes_max, size_t bytes_each, int64_t ttl_us);
void mmq_routes_fini(struct routes *routes);

/* The route of this routing id, made if it is new. tenant is set when it is made. */
struct route *mmq_routes_get(struct routes *routes, const void *id, size_t id_size, const char *tenant);
struct route *mmq_routes_find(struct routes *routes, uint64_t number);   /* NULL: not there any more */
void mmq_routes_release(struct routes *routes, struct route *route);     /* forget it if nothing holds it and nothing waits */

/* Send the parts (moved; closed in any case). now_us is for the outbox; 0: do not keep it there, WAITS then says that nothing
 * was sent. GONE: no such peer any more; FULL: its outbox has no room. */
enum route_sent mmq_routes_send(struct routes *routes, struct route *route, zmq_msg_t *parts, unsigned count, int64_t now_us);

/* Try all outboxes again. Returns whether something still waits; gone is called for each route whose peer left. */
bool mmq_routes_retry(struct routes *routes, int64_t now_us, void (*gone)(void *arg, uint64_t number), void *arg);

#endif
