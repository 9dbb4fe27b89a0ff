/* keys.h: maps whose keys are read through a table; inner to lib/wire. */
#ifndef MMQ_WIRE_KEYS_H
#define MMQ_WIRE_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"
#include "wire/request.h"

/* A row of a table of keys. `into` is the struct being filled. nil counts as absent unless takes_nil. */
struct mmq_key {
	const char *name;
	int (*read)(void *into, const struct mmq_raw *value, struct mmq_err *err);
	bool takes_nil;
};

/* Read the map's known keys into `into`; the table ends with name == NULL. */
int mmq_keys_read(const struct mmq_key *keys, void *into, const void *map, size_t size, struct mmq_err *err);
/* A value that must be a map, kept as a range. */
int mmq_keys_map(struct mmq_raw *out, const struct mmq_raw *value, const char *field, struct mmq_err *err);

#endif
