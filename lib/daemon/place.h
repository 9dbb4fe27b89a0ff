/* place.h: where a worker finds its broker and its store: said outright, or by the home folder of a service on this machine. */
#ifndef MMQ_DAEMON_PLACE_H
#define MMQ_DAEMON_PLACE_H

#include "util/err.h"

struct mmq_place {
	char *work, *store;   /* owned */
};

/* work and store may be NULL: then HOME/endpoints and HOME/store. UNAVAILABLE: no service at home. fini also after -1. */
int mmq_place_find(struct mmq_place *place, const char *home, const char *work, const char *store, struct mmq_err *err);
void mmq_place_fini(struct mmq_place *place);

#endif
