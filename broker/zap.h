/* zap.h: who may connect: the ZAP handler of the broker's context and the folder of allowed keys.
 *
 * Key idea: libzmq asks over an inproc socket that the broker's own loop answers, so there is no second thread and no
 * lock. The User-Id of a connection is its public key; what that key may do is looked up in the table at every message, so a key
 * that was taken out of the folder is cut off at its next message.
 * Should the handler not answer, libzmq 4.3 lets a connection in without a User-Id; such messages find no key and are refused.
 * KEYS/ holds broker (public) and broker_secret, made at the first start, and allow/, one public certificate per key with
 * the metadata `role` (client, worker, subscriber, admin; several separated by commas) and `tenant` (default: default). */
#ifndef MMQ_BROKER_ZAP_H
#define MMQ_BROKER_ZAP_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/shell_home.h"

enum { ZAP_CLIENT = 1, ZAP_WORKER = 2, ZAP_SUBSCRIBER = 4, ZAP_ADMIN = 8 };

struct zap_key {
	char text[41];            /* Z85 of the public key */
	char tenant[65];
	unsigned roles;
};

struct zap {
	void *socket;             /* REP; poll it */
	char *folder;             /* KEYS */
	char public_key[41], secret_key[41];
	struct zap_key *keys;     /* sorted by text */
	int keys_count;
	uint64_t stamp;           /* of the folder's content */
	bool revoked;             /* a key lost rights since mmq_zap_reload last said so */
	int64_t looked_us;        /* when an unknown key last made us look at the folder */
	bool has_more;            /* the last mmq_zap_answer stopped before it found nothing: the socket may be silent over the rest */
	uint64_t denied;
};

/* Load the keys and bind the handler. Must come before any other socket of the context is bound. */
int mmq_zap_open(struct zap *zap, void *context, const char *folder, struct mmq_err *err);
void mmq_zap_close(struct zap *zap);

/* Make a socket that is about to be bound ask for keys. */
int mmq_zap_protect(struct zap *zap, void *socket, enum shell_socket which, struct mmq_err *err);

/* How long a peer of a socket that is about to be bound may take for its handshake (5 s), and after that without a whole frame
 * (peer_timeout_ms; 0: for ever). */
void mmq_zap_patience(void *socket, int64_t peer_timeout_ms);

void mmq_zap_answer(struct zap *zap);    /* answer what waits; call when the socket is readable */

/* Look at the folder again. Returns true if a key was taken out or lost rights, so that one-way sockets must be bound anew. */
bool mmq_zap_reload(struct zap *zap);

/* The key with this User-Id if it may use this socket; NULL: cut it off. */
const struct zap_key *mmq_zap_find(const struct zap *zap, const char *user_id, enum shell_socket which);

#endif
