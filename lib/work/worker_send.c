/* worker_send.c: what a worker sends: answers packed as they wait, progress, grants, reports, heartbeats. Nothing here
 * blocks: what a full socket refuses stays in its list and is tried again at the next call. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mpack/writer.h"
#include "util/clock.h"
#include "util/mem.h"
#include "work/inner.h"

enum { CATALOGUE_BYTES_MAX = 32 << 20 };

static bool
scratch_send(struct mmq_worker *worker)
{
	if (worker->scratch.failed)
		return true;  /* larger than the limit: it can never leave, so it must not stand in the way */
	return zmq_send(worker->socket, worker->scratch.bytes, worker->scratch.size, ZMQ_DONTWAIT) != -1;
}

/* Leases of all items here and of answers that have not left. The array is the caller's to free. */
static struct mmq_lease *
leases_list(struct mmq_worker *worker, size_t *count_out)
{
	struct mmq_lease *leases = mmq_array(worker->held_count + worker->out_count + 1, sizeof *leases);
	size_t count = 0;

	for (struct held *held = worker->first; held != NULL; held = held->next)
		if (!held->lost)
			leases[count++] = held->item.lease;
	for (struct outgoing *out = worker->out_first; out != NULL; out = out->next)
		leases[count++] = out->lease;
	*count_out = count;
	return leases;
}

bool
worker_hello_send(struct mmq_worker *worker)
{
	size_t count;
	struct mmq_lease *leases = leases_list(worker, &count);

	mmq_buf_reset(&worker->scratch);
	mmq_work_put_hello(&worker->scratch, worker->kind, worker->session, worker->name, worker->build, (uint64_t)getpid(), leases, count,
	    worker->window, NULL);
	free(leases);
	worker->window_changed = false;
	return scratch_send(worker);
}

void
worker_heartbeat_send(struct mmq_worker *worker)
{
	size_t count;
	struct mmq_lease *leases = leases_list(worker, &count);

	mmq_buf_reset(&worker->scratch);
	mmq_work_put_heartbeat(&worker->scratch, ++worker->heartbeat_n, leases, count, &worker->usage);
	free(leases);
	scratch_send(worker);
}

/* One frame's worth of small ones is kept for the answers to come, which are mostly alike. */
static struct outgoing *
outgoing_new(struct mmq_worker *worker, size_t size)
{
	struct outgoing *out = worker->out_spare;

	if (out != NULL) {
		worker->out_spare = out->next;
		worker->out_spare_count--;
		if (out->room < size) {
			free(out);
			out = NULL;
		}
	}
	if (out == NULL) {
		out = mmq_alloc(sizeof *out + size);
		out->room = size;
	}
	out->next = NULL;
	return out;
}

static void
outgoing_put(struct mmq_worker *worker, struct outgoing *out)
{
	if (out->room > PACK_BODY_MAX || worker->out_spare_count == PACK_COUNT_MAX) {
		free(out);
		return;
	}
	out->next = worker->out_spare;
	worker->out_spare = out;
	worker->out_spare_count++;
}

/* Send the first answers that wait: as many small ones as fit into one frame, or one large one in two. */
static bool
answers_send(struct mmq_worker *worker)
{
	struct mmq_buf *buf = &worker->scratch;
	struct outgoing *out, *stop = worker->out_first;
	size_t count = 0, bytes = 0;
	bool large = worker->out_first->size > PACK_BODY_MAX;

	while (stop != NULL && count < PACK_COUNT_MAX && stop->size <= PACK_BODY_MAX && bytes + stop->size <= PACK_BYTES_MAX) {
		bytes += stop->size;
		stop = stop->next;
		count++;
	}
	if (large) {
		stop = worker->out_first->next;
		count = 1;
	}
	mmq_buf_reset(buf);
	mmq_work_put_results(buf, count);
	for (out = worker->out_first; out != stop; out = out->next)
		mmq_work_put_result(buf, &out->lease, &out->result, out->size);
	for (out = worker->out_first; out != stop && !large; out = out->next)
		mmq_buf_append(buf, out->bytes, out->size);
	if (zmq_send(worker->socket, buf->bytes, buf->size, ZMQ_DONTWAIT | (large ? ZMQ_SNDMORE : 0)) == -1)
		return false;
	if (large)
		zmq_send(worker->socket, worker->out_first->bytes, worker->out_first->size, 0); /* a part never blocks after its first */
	while (worker->out_first != stop) {
		out = worker->out_first;
		worker->out_first = out->next;
		worker->out_count--;
		outgoing_put(worker, out);
	}
	if (worker->out_first == NULL)
		worker->out_last = &worker->out_first;
	return true;
}

static bool
control_send(struct mmq_worker *worker)
{
	struct control *control = worker->control_first;

	if (zmq_send(worker->socket, control->bytes, control->size, ZMQ_DONTWAIT) == -1)
		return false;
	worker->control_first = control->next;
	worker->control_count--;
	if (control->next == NULL)
		worker->control_last = &worker->control_first;
	free(control);
	return true;
}

static bool
held_send(struct mmq_worker *worker, struct held *held)
{
	int64_t now_us = mmq_clock_mono_us();

	if (held->progress.size > 0) {
		mmq_buf_reset(&worker->scratch);
		mmq_work_put_progress(&worker->scratch, &held->item.lease, held->checkpoint, held->progress.bytes, held->progress.size);
		if (!scratch_send(worker))
			return false;
		mmq_buf_reset(&held->progress);
	}
	if (held->grant_wanted && (held->grant_sent_us == 0 || now_us - held->grant_sent_us > REPEAT_US)) {
		mmq_buf_reset(&worker->scratch);
		mmq_work_put_grant(&worker->scratch, &held->item.lease, held->grant_what, held->grant_above);
		if (!scratch_send(worker))
			return false;
		held->grant_sent_us = now_us;
	}
	return true;
}

bool
worker_flush(struct mmq_worker *worker)
{
	if (!worker->welcome)
		return true;
	if (worker->window_changed) {
		mmq_buf_reset(&worker->scratch);
		mmq_work_put_ready(&worker->scratch, worker->window);
		if (!scratch_send(worker))
			return false;
		worker->window_changed = false;
	}
	if (worker->kind != MMQ_WORKER_PREDICTOR)
		for (struct held *held = worker->first; held != NULL; held = held->next)
			if (!held->lost && !held_send(worker, held))
				return false;
	while (worker->control_first != NULL)
		if (!control_send(worker))
			return false;
	while (worker->out_first != NULL)
		if (!answers_send(worker))
			return false;
	return true;
}

void
mmq_worker_flush(struct mmq_worker *worker)
{
	worker_flush(worker);
}

void
mmq_worker_ready(struct mmq_worker *worker, enum mmq_work_kind kind, uint32_t window)
{
	worker->window_changed |= worker->window[kind] != window;
	worker->window[kind] = window;
}

void
mmq_worker_answer(struct mmq_worker *worker, struct mmq_work_item **item, const struct mmq_work_result *result,
    const void *bytes, size_t size)
{
	struct held *held = (struct held *)*item;

	if (!held->lost) {
		struct outgoing *out = outgoing_new(worker, size);

		out->lease = held->item.lease;
		out->result = *result;
		out->size = size;
		if (size > 0)
			memcpy(out->bytes, bytes, size);
		*worker->out_last = out;
		worker->out_last = &out->next;
		worker->out_count++;
	}
	worker_held_free(worker, held);
	*item = NULL;
}

static void
control_add(struct mmq_worker *worker, const struct mmq_buf *buf)
{
	struct control *control;

	if (buf->failed || worker->control_count == CONTROL_MAX)
		return;
	control = mmq_alloc(sizeof *control + buf->size);
	control->size = buf->size;
	memcpy(control->bytes, buf->bytes, buf->size);
	*worker->control_last = control;
	worker->control_last = &control->next;
	worker->control_count++;
}

void
mmq_worker_drop(struct mmq_worker *worker, struct mmq_work_item **item)
{
	struct held *held = (struct held *)*item;
	const struct mmq_work_result cancelled = { .code = MMQ_CANCELLED };

	if (!held->lost && held->item.cancelled) {
		mmq_worker_answer(worker, item, &cancelled, NULL, 0);
		return;
	}
	if (!held->lost) {
		mmq_buf_reset(&worker->scratch);
		mmq_work_put_return(&worker->scratch, &held->item.lease, 1);
		control_add(worker, &worker->scratch);
	}
	worker_held_free(worker, held);
	*item = NULL;
}

void
mmq_worker_progress(struct mmq_worker *worker, const struct mmq_work_item *item, uint64_t checkpoint, const void *info, size_t info_size)
{
	struct held *held = (struct held *)item;

	(void)worker;
	held->checkpoint = checkpoint;
	mmq_buf_reset(&held->progress);
	mmq_buf_append(&held->progress, info, info_size);
}

void
mmq_worker_grant(struct mmq_worker *worker, const struct mmq_work_item *item, enum mmq_grant_kind kind, uint32_t above)
{
	struct held *held = (struct held *)item;

	(void)worker;
	held->grant_wanted = true;
	held->grant_what = kind;
	held->grant_above = above;
	held->grant_sent_us = 0;
}

void
mmq_worker_catalogue(struct mmq_worker *worker, const struct mmq_work_model *models, size_t count, bool full)
{
	struct mmq_buf list;

	if (!worker->welcome)
		return;
	mmq_buf_init(&list, CATALOGUE_BYTES_MAX);
	mmq_work_put_models(&list, models, count);
	mmq_buf_reset(&worker->scratch);
	mmq_work_put_catalogue(&worker->scratch, full, &list);
	control_add(worker, &worker->scratch);
	mmq_buf_fini(&list);
}

void
mmq_worker_usage(struct mmq_worker *worker, const struct mmq_work_usage *usage)
{
	worker->usage = *usage;
}

void
mmq_worker_loaded(struct mmq_worker *worker, const char *tenant, const char *model, uint32_t version, enum mmq_code code, const char *message)
{
	mmq_buf_reset(&worker->scratch);
	mmq_work_put_loaded(&worker->scratch, tenant, model, version, code, message);
	control_add(worker, &worker->scratch);
}

void
worker_outgoing_keep(struct mmq_worker *worker, const struct mmq_work_span *keep)
{
	struct outgoing **at = &worker->out_first, *out;

	while ((out = *at) != NULL) {
		if (lease_is_in(&out->lease, keep)) {
			at = &out->next;
			continue;
		}
		*at = out->next;
		worker->out_count--;
		free(out);
	}
	worker->out_last = at;
}

void
worker_outgoing_fini(struct mmq_worker *worker)
{
	while (worker->out_first != NULL) {
		struct outgoing *out = worker->out_first;
		worker->out_first = out->next;
		free(out);
	}
	while (worker->out_spare != NULL) {
		struct outgoing *out = worker->out_spare;
		worker->out_spare = out->next;
		free(out);
	}
	while (worker->control_first != NULL) {
		struct control *control = worker->control_first;
		worker->control_first = control->next;
		free(control);
	}
}
