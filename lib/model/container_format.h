/* container_format.h: numbers of the model file that its writer (container.c) and reader (container_read.c) share. */
#ifndef MMQ_MODEL_CONTAINER_FORMAT_H
#define MMQ_MODEL_CONTAINER_FORMAT_H

#include "model/container.h"

enum {
	MMQ_CONTAINER_ALIGN = 64,
	MMQ_CONTAINER_PREFIX_BYTES = 24,
	MMQ_CONTAINER_HEADER_MAX = 64 << 20,
};

static const char mmq_container_magic[8] = { 'm', 'o', 'd', 'e', 'l', 'm', 'q', '\n' };

/* What `requires` may hold. [0] is the pipeline that every model of this version needs: prepare -> engine -> decide. */
static const char *const mmq_container_features[] = { "pipeline-1", "calibrate-1" };

static inline uint64_t
mmq_container_padded(uint64_t bytes)
{
	return (bytes + MMQ_CONTAINER_ALIGN - 1) / MMQ_CONTAINER_ALIGN * MMQ_CONTAINER_ALIGN;
}

/* Where tensors lie, counted from the end of the padded header block. `next` is where the following one must begin. */
struct mmq_container_places {
	const uint8_t *base;     /* NULL: headers only, tensors are not looked at */
	uint64_t next, end;
	bool verify;
};

/* Read the header into container->parts. What was read before a failure is freed by mmq_container_close. */
int mmq_container_parse(struct mmq_container *container, const uint8_t *header, size_t size, struct mmq_container_places *places,
    struct mmq_err *err);

int mmq_container_lost(struct mmq_err *err, const char *what);   /* DATA_LOSS "model file is damaged: what"; -1 */
bool mmq_container_is_zero(const uint8_t *bytes, size_t size);

#endif
