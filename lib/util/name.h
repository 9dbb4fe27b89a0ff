/* name.h: what may be the name of a model, tenant, alias or engine: the wire and the store hold the same rule. */
#ifndef MMQ_UTIL_NAME_H
#define MMQ_UTIL_NAME_H

#include <stdbool.h>
#include <stddef.h>

enum { MMQ_NAME_MAX = 64 };

/* [a-z0-9][a-z0-9._-]{0,63}, and not a device name of Windows (con, nul, com1, ... also before a dot), since stores are copied there. */
bool mmq_name_is_valid(const char *text, size_t size);

#endif
