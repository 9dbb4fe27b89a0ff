/* body.h: the bytes of a request or an answer, as everything in the broker passes them around.
 *
 * The owner allocates it, usually as the first member of something larger that also holds the received message, and says how to
 * give it back. The core looks at the sizes only. Nobody copies or changes the bytes. */
#ifndef MMQ_BROKER_BODY_H
#define MMQ_BROKER_BODY_H

#include <stddef.h>
#include <stdint.h>

struct mmq_body {
	const uint8_t *bytes;                     /* the msgpack map, first frame */
	const uint8_t *payload;                   /* the second frame; NULL: none */
	size_t size, payload_size;
	void (*release)(struct mmq_body *body);   /* frees body and what it points to; called once, by the broker's thread */
};

#endif
