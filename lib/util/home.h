/* home.h: a service's folder on this machine: HOME/endpoints names its sockets, HOME/store holds its models. */
#ifndef MMQ_UTIL_HOME_H
#define MMQ_UTIL_HOME_H

#include "util/err.h"

const char *mmq_home_default(void);   /* MODELMQ_HOME, else "modelmq-home" */

/* The endpoint that the broker wrote under `which` ("request", "publish", "sink", "work"); free() it. NULL: UNAVAILABLE, and err
 * says how to start a service. */
char *mmq_home_endpoint(const char *home, const char *which, struct mmq_err *err);

char *mmq_home_path(const char *home, const char *name);   /* home/name; free() it */

#endif
