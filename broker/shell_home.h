/* shell_home.h: the broker's folder: one broker per home, and where its sockets are bound.
 *
 * Key idea: the lock is taken before anything is bound, because binding an ipc endpoint would take a living broker's socket
 * away. Endpoints are chosen once and written to HOME/endpoints; a restart binds the same ones. */
#ifndef MMQ_BROKER_SHELL_HOME_H
#define MMQ_BROKER_SHELL_HOME_H

#include <stdbool.h>

#include "util/err.h"

enum shell_socket { SHELL_REQUEST, SHELL_PUBLISH, SHELL_SINK, SHELL_WORK, SHELL_SOCKETS };
const char *mmq_shell_socket_name(enum shell_socket socket);

struct shell_home {
	char *path;
	int lock_fd;
	char *endpoint[SHELL_SOCKETS];   /* what to bind; after mmq_shell_home_write what was bound */
	char *recorded[SHELL_SOCKETS];   /* what HOME/endpoints said at start; NULL: nothing */
};

/* Create HOME if needed (0700), refuse network file systems, take HOME/lock, choose endpoints. given[i]: NULL for an ipc socket
 * in HOME. curve: addresses other than ipc and loopback are allowed. -1: INVALID_ARGUMENT, FAILED_PRECONDITION (another broker). */
int mmq_shell_home_open(struct shell_home *home, const char *path, char *const given[SHELL_SOCKETS], bool curve, struct mmq_err *err);

/* Record the bound endpoints for clients and for the next start. */
int mmq_shell_home_write(struct shell_home *home, struct mmq_err *err);
void mmq_shell_home_close(struct shell_home *home);

bool mmq_shell_is_local(const char *endpoint);   /* ipc, or tcp on a loopback address */

#endif
