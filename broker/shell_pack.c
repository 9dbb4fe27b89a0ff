/* shell_pack.c: several requests in one frame, and the answers to them, several in one frame. What travels alone costs libzmq and the
 * kernel more than it costs the broker, at either end.
 *
 * A frame that holds a list of maps is taken apart here; each map is a request like any other from then on. What answers them within one turn
 * leaves in lists of up to ANSWERS_MAX, so that a client has something to do while more come; nothing waits for more than that turn. A body is a copy: a small request must not keep the whole frame in memory. */
#include <stdlib.h>

#include "broker/shell.h"
#include "mpack/writer.h"
#include "util/mem.h"

enum { ANSWERS_MAX = 128, SPARE_MAX = 16, SPARE_BYTES_MAX = 4 * MMQ_PACKED_BYTES_MAX, ANSWERS_BYTES_MAX = 72 << 20 };

static void
request_refuse(struct shell *shell, struct route *route, const struct mmq_head *head, const struct mmq_err *err)
{
	shell->counters.bad_frames++;
	if (route != NULL)
		mmq_shell_refuse(shell, route, SHELL_PACKED, head, err);
}

void
mmq_shell_pack_read(struct shell *shell, struct route *route, const char *tenant, zmq_msg_t *frame)
{
	struct mmq_core_event early = { .kind = MMQ_ON_BURST };
	struct mmq_head head = { .op = MMQ_OP_NONE };
	struct mmq_reader reader;
	struct mmq_err err;
	uint32_t count;
	bool is_broken = false;

	if (mmq_peek_packed(&reader, zmq_msg_data(frame), zmq_msg_size(frame), &count, &err) == -1) {
		request_refuse(shell, route, &head, &err);
		return;
	}
	for (uint32_t i = 0; i < count && !is_broken; i++) {
		const uint8_t *start = reader.at;
		struct shell_body *own;

		if (mmq_peek_next(&head, &reader, i + 1 == count, &is_broken, &err) == -1) {
			request_refuse(shell, route, &head, &err);
			continue;
		}
		own = mmq_shell_body_copy(&shell->bodies, start, (size_t)(reader.at - start));
		if (mmq_shell_request_give(shell, route, SHELL_PACKED, tenant, &head, own, &err) == -1) {
			request_refuse(shell, route, &head, &err);
			own->body.release(&own->body);
		}
	}
	mmq_shell_event(shell, &early);
}

static struct shell_pack *
pack_get(struct shell *shell)
{
	struct shell_pack *pack = shell->free_packs;

	if (pack == NULL) {
		pack = mmq_alloc(sizeof *pack);
		mmq_buf_init(&pack->bytes, ANSWERS_BYTES_MAX);
		return pack;
	}
	shell->free_packs = pack->next;
	shell->free_packs_count--;
	return pack;
}

static void
pack_free(struct shell_pack *pack)
{
	mmq_buf_fini(&pack->bytes);
	free(pack);
}

static void
pack_put(struct shell *shell, struct shell_pack *pack)
{
	if (shell->free_packs_count == SPARE_MAX || pack->bytes.size > SPARE_BYTES_MAX) {
		pack_free(pack);
		return;
	}
	pack->next = shell->free_packs;
	shell->free_packs = pack;
	shell->free_packs_count++;
}

static void
pack_begin(struct shell_pack *pack)
{
	mmq_buf_reset(&pack->bytes);
	pack->place = mmq_put_array_begin(&pack->bytes);
	pack->count = 0;
}

static void
pack_send(struct shell *shell, struct route *route, struct shell_pack *pack)
{
	zmq_msg_t frame;

	mmq_put_array_end(&pack->bytes, pack->place, pack->count);
	mmq_shell_part(&frame, &pack->bytes);
	mmq_routes_send(&shell->clients, route, &frame, 1, shell->now_us);
}

void
mmq_shell_pack_add(struct shell *shell, struct route *route, const void *answer, size_t size)
{
	struct shell_pack *pack = route->pack;

	if (pack == NULL) {
		pack = route->pack = pack_get(shell);
		pack->route = route->number;
		pack->next = shell->packs;
		shell->packs = pack;
		route->holds++;
		pack_begin(pack);
	} else if (pack->count == ANSWERS_MAX || pack->bytes.size + size > MMQ_PACKED_BYTES_MAX) {
		pack_send(shell, route, pack);
		pack_begin(pack);
	}
	mmq_buf_append(&pack->bytes, answer, size);
	pack->count++;
}

void
mmq_shell_packs_send(struct shell *shell)
{
	struct shell_pack *pack;

	while ((pack = shell->packs) != NULL) {
		struct route *route = mmq_routes_find(&shell->clients, pack->route);

		shell->packs = pack->next;
		pack_send(shell, route, pack);
		route->pack = NULL;
		route->holds--;
		mmq_routes_release(&shell->clients, route);
		pack_put(shell, pack);
	}
}

void
mmq_shell_packs_fini(struct shell *shell)
{
	struct shell_pack *pack;

	while ((pack = shell->packs) != NULL) {
		shell->packs = pack->next;
		pack_free(pack);
	}
	while ((pack = shell->free_packs) != NULL) {
		shell->free_packs = pack->next;
		pack_free(pack);
	}
}
