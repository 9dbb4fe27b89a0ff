/* client.h: the inside of a client, shared by client.c (opening), request.c (asking) and stream.c (push and sink). */
#ifndef MMQ_CLIENT_CLIENT_H
#define MMQ_CLIENT_CLIENT_H

#include "client/internal.h"

enum mmq_endpoint { MMQ_REQUEST, MMQ_PUBLISH, MMQ_SINK, MMQ_WORK, MMQ_ENDPOINTS };

struct mmq_pending {
	char id[65];
	bool is_sent;       /* on the present connection */
	int64_t first_us;   /* when it was asked first */
	int64_t again_us;   /* not to be sent before; 0: at once */
	unsigned retries;
	struct mmq_buf frame, payload;   /* kept until the answer is here, to be sent again */
};

struct mmq_client {
	void *context, *request, *monitor, *publish, *sink;
	char *endpoints[MMQ_ENDPOINTS];
	bool has_curve, is_broken;
	char server_key[41], public_key[41], secret_key[41];
	struct mmq_err broken;              /* why nothing can be asked */
	uint32_t connect_ms, retry_ms;

	bool is_connected, was_connected, is_refused;   /* is_refused: the handshake failed for our key */
	int64_t lost_us;                    /* since when there is no connection */
	struct mmq_pending **pending;       /* unanswered, in the order of sending */
	size_t pending_count, pending_capacity;
	struct mmq_answer **ready;          /* answers that nobody has taken yet, oldest first */
	size_t ready_count, ready_capacity;
};

/* client.c: a configured socket (not connected), NULL with err; connect it. */
void *mmq_client_socket(struct mmq_client *client, int type, struct mmq_err *err);
int mmq_client_connect(struct mmq_client *client, void *socket, enum mmq_endpoint which, struct mmq_err *err);

/* request.c */
void mmq_client_forget_all(struct mmq_client *client);

#endif
