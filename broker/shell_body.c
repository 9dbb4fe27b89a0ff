/* shell_body.c: bodies out of received frames and back onto sockets. Every body is a frame of its own: a received one, or one made of a piece
 * of a packed one, which is small by the rules of packing. What is sent last is moved out; a large frame that is still wanted is
 * passed on by reference (libzmq counts its users), a small one copied. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shell.h"
#include "util/mem.h"

enum { POOL_MAX = 4096 };

static void
body_release(struct mmq_body *body)
{
	struct shell_body *own = (struct shell_body *)body;
	struct shell_bodies *pool = own->pool;

	mmq_shell_parts_close(own->parts, own->parts_count);
	if (pool->count == POOL_MAX) {
		free(own);
		return;
	}
	own->next = pool->free;
	pool->free = own;
	pool->count++;
}

static struct shell_body *
body_get(struct shell_bodies *pool)
{
	struct shell_body *own = pool->free;

	if (own == NULL) {
		own = mmq_alloc(sizeof *own);
		own->pool = pool;
		return own;
	}
	pool->free = own->next;
	pool->count--;
	return own;
}

void
mmq_shell_bodies_fini(struct shell_bodies *pool)
{
	struct shell_body *own;

	while ((own = pool->free) != NULL) {
		pool->free = own->next;
		free(own);
	}
	pool->count = 0;
}

struct shell_body *
mmq_shell_body_take(struct shell_bodies *pool, zmq_msg_t *parts, unsigned count)
{
	struct shell_body *own = body_get(pool);

	own->parts_count = count;
	for (unsigned i = 0; i < count; i++) {
		zmq_msg_init(&own->parts[i]);
		zmq_msg_move(&own->parts[i], &parts[i]);
		zmq_msg_close(&parts[i]);
	}
	own->body = (struct mmq_body){ .bytes = zmq_msg_data(&own->parts[0]), .size = zmq_msg_size(&own->parts[0]), .release = body_release };
	if (count > 1) {
		own->body.payload = zmq_msg_data(&own->parts[1]);
		own->body.payload_size = zmq_msg_size(&own->parts[1]);
	}
	return own;
}

struct shell_body *
mmq_shell_body_copy(struct shell_bodies *pool, const void *bytes, size_t size)
{
	struct shell_body *own = body_get(pool);
	uint8_t *place = own->small;

	own->parts_count = size > SHELL_SMALL;
	if (own->parts_count > 0) {
		zmq_msg_init_size(&own->parts[0], size);
		place = zmq_msg_data(&own->parts[0]);
	}
	if (size > 0)
		memcpy(place, bytes, size);
	own->body = (struct mmq_body){ .bytes = place, .size = size, .release = body_release };
	return own;
}

void
mmq_shell_body_send(const struct mmq_body *body, zmq_msg_t *part_out, bool payload)
{
	const uint8_t *bytes = payload ? body->payload : body->bytes;
	size_t size = payload ? body->payload_size : body->size;
	struct shell_body *own = (struct shell_body *)body;

	if (body->release == body_release && size > SHELL_COPY_MAX) {
		zmq_msg_init(part_out);
		zmq_msg_copy(part_out, &own->parts[payload ? 1 : 0]);
		return;
	}
	zmq_msg_init_size(part_out, size);
	if (size > 0)
		memcpy(zmq_msg_data(part_out), bytes, size);
}

void
mmq_shell_body_move(const struct mmq_body *body, zmq_msg_t *part_out)
{
	struct shell_body *own = (struct shell_body *)body;

	if (body->release != body_release || own->parts_count == 0) {
		mmq_shell_body_send(body, part_out, false);
		return;
	}
	zmq_msg_init(part_out);
	zmq_msg_move(part_out, &own->parts[0]);
}

void
mmq_shell_part(zmq_msg_t *part_out, const struct mmq_buf *buf)
{
	assert(!buf->failed);
	zmq_msg_init_size(part_out, buf->size);
	memcpy(zmq_msg_data(part_out), buf->bytes, buf->size);
}

void
mmq_shell_parts_close(zmq_msg_t *parts, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		zmq_msg_close(&parts[i]);
}

/* Receive one message without waiting. Frames past parts_max are read and dropped; *count_out counts them too. -1: none waits. */
int
mmq_shell_receive(void *socket, zmq_msg_t *parts, unsigned parts_max, unsigned *count_out)
{
	unsigned count = 0;
	int more = 1;

	while (more) {
		zmq_msg_t part;

		zmq_msg_init(&part);
		if (zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) == -1) {
			zmq_msg_close(&part);
			mmq_shell_parts_close(parts, count < parts_max ? count : parts_max);
			return -1;
		}
		more = zmq_msg_more(&part);
		if (count < parts_max)
			parts[count] = part;
		else
			zmq_msg_close(&part);
		count++;
	}
	*count_out = count;
	return 0;
}
