/* sink.h: the XPUB socket: results, job events and model events to whoever subscribed.
 *
 * Key idea: subscriptions come to us first (XPUB_MANUAL) and are narrowed to the subscriber's tenant before libzmq sees
 * them, so that no topic of another tenant can match. A slow reader loses messages of its own (SNDHWM, no NODROP) and sees the gap in `n`.
 * It keeps nothing: what must not be lost is in the journal. */
#ifndef MMQ_BROKER_SINK_H
#define MMQ_BROKER_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/zap.h"

enum { SINK_KINDS = 4, SINK_TOPIC_MAX = 256 };

struct sink {
	void *context, *socket;
	const char *endpoint;       /* as bound; the home's */
	int64_t peer_timeout_ms;
	bool is_bound;
	bool was_used;              /* since it was last read empty: its descriptor may have fallen silent over something */
	struct zap *zap;            /* NULL: everybody is `default` */
	uint64_t refused, dropped, published;
	void (*on_refused)(void *arg, const char *tenant, const char *topic, size_t size);   /* a subscription; NULL: nobody wants to know */
	void *arg;
};

/* Create and bind; endpoint is rewritten to what was bound. zap may be NULL. Borrows context and zap. */
int mmq_sink_open(struct sink *sink, void *context, char **endpoint, struct zap *zap, int64_t peer_timeout_ms, struct mmq_err *err);
void mmq_sink_close(struct sink *sink);

/* Take the subscriptions that wait; call when the socket is readable. */
void mmq_sink_read(struct sink *sink);

/* Publish two frames. Never blocks. */
void mmq_sink_send(struct sink *sink, const char *topic, const void *bytes, size_t size);

/* Cut every subscriber off, after a key was revoked: from now on nobody hears anything until mmq_sink_bind has bound again. */
int mmq_sink_cut(struct sink *sink, struct mmq_err *err);
/* Bind again where it was. libzmq closes the old listener in its own time, so the address may still be in use: then 0 with is_bound
 * false, and the caller tries again soon. */
int mmq_sink_bind(struct sink *sink, struct mmq_err *err);

/* The topics that a subscription of this tenant becomes: at most SINK_KINDS, each at most SINK_TOPIC_MAX - 1 long.
 * 0: nothing of the tenant's could match. */
int mmq_sink_narrow(const char *tenant, const char *wish, size_t wish_size, char topics_out[SINK_KINDS][SINK_TOPIC_MAX]);

#endif
