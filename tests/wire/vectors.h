/* vectors.h: golden vectors for the tests of the wire. */
#ifndef TESTS_WIRE_VECTORS_H
#define TESTS_WIRE_VECTORS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "data/schema.h"

struct bytes {
	uint8_t *at;  /* an exact heap block, so that the sanitizers see the first byte read past it; free() it */
	size_t size;
};

struct bytes from_hex(const char *hex);
json_t *load_vectors(const char *path);                                            /* fails the test when it cannot */
void make_schema(struct mmq_schema *schema, const json_t *models, const char *name); /* of models.json; fini it */

#endif
