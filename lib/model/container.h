/* container.h: one model file for every engine: a msgpack header of parts, then their tensors.
 *
 * Layout, all little-endian:  magic (8) | major u16 | minor u16 | header bytes u32 | file bytes u64 | header | header hash (32)
 * | zeros to a multiple of 64 | tensor, zeros to 64 | tensor ...   The header hash covers everything before it; each tensor's own
 * hash (BLAKE2b-256) stands in the header, and padding must be zero, so there is no byte that can change unseen.
 * Header: {requires: [text], parts: [{id, kind, name, version, inputs: [id], config: {...}, tensors: [{name, dtype, shape, at, hash}]}]}.
 * A list of numbers in config is a bin of float64. Unknown optional keys are ignored; an unknown `requires` text is refused.
 * The container does not know what parts mean; model.c does. */
#ifndef MMQ_MODEL_CONTAINER_H
#define MMQ_MODEL_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/part.h"
#include "util/err.h"

enum { MMQ_CONTAINER_MAJOR = 1, MMQ_CONTAINER_MINOR = 0, MMQ_CONTAINER_PARTS_MAX = 64, MMQ_CONTAINER_INPUTS_MAX = 8,
	MMQ_CONTAINER_HASH_BYTES = 32 };

struct mmq_container_part {
	char id[MMQ_PART_KEY_MAX + 1], kind[MMQ_PART_KEY_MAX + 1], name[MMQ_PART_KEY_MAX + 1];
	uint32_t version;
	size_t inputs_count;
	char inputs[MMQ_CONTAINER_INPUTS_MAX][MMQ_PART_KEY_MAX + 1];  /* ids of earlier parts: a graph without cycles by construction */
	const struct mmq_part *part;
};

/* Write the parts to fd from its current place (the start of an empty file). Does not fsync. Borrows all.
 * RESOURCE_EXHAUSTED: disk full or header above its limit; UNAVAILABLE: another write error. */
int mmq_container_write(int fd, const struct mmq_container_part *parts, size_t parts_count, struct mmq_err *err);

struct mmq_container {
	const uint8_t *bytes;      /* the mapping */
	size_t size;
	size_t parts_count;
	struct mmq_container_part parts[MMQ_CONTAINER_PARTS_MAX];  /* each .part points into read[] */
	struct mmq_part read[MMQ_CONTAINER_PARTS_MAX];             /* texts copied; tensors borrow the mapping */
};

/* Map the whole file read-only, check every count and offset, and (if verify) every hash. The descriptor may be closed afterwards.
 * DATA_LOSS: damaged. FAILED_PRECONDITION: newer format or an unknown `requires`. *container_out is destroyed by mmq_container_close. */
int mmq_container_open(struct mmq_container **container_out, int fd, bool verify, struct mmq_err *err);

/* Only the header: values are there, tensors have names, dtypes and shapes but data NULL. For listings; tensors stay unread. */
int mmq_container_read_header(struct mmq_container **container_out, int fd, struct mmq_err *err);

void mmq_container_close(struct mmq_container **container);  /* unmaps: what borrowed from it must be gone */

const struct mmq_container_part *mmq_container_find(const struct mmq_container *container, const char *kind); /* first of that kind; NULL */

#endif
