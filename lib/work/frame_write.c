/* frame_write.c: the work protocol's messages to bytes. Each function is one message of schemas/work.md. */
#include <string.h>

#include "mpack/writer.h"
#include "work/frame.h"

static void
open_map(struct mmq_buf *buf, enum mmq_work_type type, size_t more)
{
	mmq_put_map(buf, 1 + more);
	mmq_put_str(buf, "t");
	mmq_put_str(buf, mmq_work_type_name(type));
}

static void
put_number(struct mmq_buf *buf, const char *key, uint64_t value)
{
	mmq_put_str(buf, key);
	mmq_put_uint(buf, value);
}

static void
put_text(struct mmq_buf *buf, const char *key, const char *text)
{
	mmq_put_str(buf, key);
	mmq_put_str(buf, text == NULL ? "" : text);
}

static void
put_bin16(struct mmq_buf *buf, const char *key, const uint8_t bytes[16])
{
	mmq_put_str(buf, key);
	mmq_put_bin(buf, bytes, 16);
}

static void
put_leases(struct mmq_buf *buf, const char *key, const struct mmq_lease *leases, size_t count)
{
	mmq_put_str(buf, key);
	mmq_put_array(buf, count);
	for (size_t i = 0; i < count; i++) {
		mmq_put_array(buf, 2);
		mmq_put_bin(buf, leases[i].epoch, MMQ_WORK_EPOCH_BYTES);
		mmq_put_uint(buf, leases[i].delivery);
	}
}

static void
put_window(struct mmq_buf *buf, const char *key, const uint32_t window[MMQ_WORK_KINDS])
{
	mmq_put_str(buf, key);
	mmq_put_map(buf, MMQ_WORK_KINDS);
	for (int kind = 0; kind < MMQ_WORK_KINDS; kind++)
		put_number(buf, mmq_work_kind_name((enum mmq_work_kind)kind), window[kind]);
}

static void
put_models_key(struct mmq_buf *buf, const struct mmq_buf *models)
{
	mmq_put_str(buf, "models");
	if (models == NULL || models->size == 0)
		mmq_put_array(buf, 0);
	else
		mmq_buf_append(buf, models->bytes, models->size);
}

static void
put_lease(struct mmq_buf *buf, const struct mmq_lease *lease)
{
	put_bin16(buf, "epoch", lease->epoch);
	put_number(buf, "delivery", lease->delivery);
}

static const char *
what_name(enum mmq_grant_kind what)
{
	return what == MMQ_GRANT_ALIAS ? "alias" : "version";
}

void
mmq_work_put_hello(struct mmq_buf *buf, enum mmq_worker_kind kind, const uint8_t session[16], const char *name, const char *build, uint64_t pid,
    const struct mmq_lease *held, size_t held_count, const uint32_t window[MMQ_WORK_KINDS], const struct mmq_buf *models)
{
	open_map(buf, MMQ_WM_HELLO, 9);
	put_text(buf, "kind", mmq_worker_kind_name(kind));
	put_bin16(buf, "session", session);
	put_number(buf, "protocol", MMQ_WORK_PROTOCOL);
	put_text(buf, "name", name);
	put_text(buf, "build", build);
	put_number(buf, "pid", pid);
	put_leases(buf, "held", held, held_count);
	put_window(buf, "ready", window);
	put_models_key(buf, models);
}

void
mmq_work_put_ready(struct mmq_buf *buf, const uint32_t window[MMQ_WORK_KINDS])
{
	open_map(buf, MMQ_WM_READY, 1);
	put_window(buf, "window", window);
}

void
mmq_work_put_heartbeat(struct mmq_buf *buf, uint64_t n, const struct mmq_lease *held, size_t held_count, const struct mmq_work_usage *usage)
{
	open_map(buf, MMQ_WM_HEARTBEAT, 4);
	put_number(buf, "n", n);
	put_leases(buf, "held", held, held_count);
	put_number(buf, "bytes", usage->bytes);
	put_number(buf, "entries", usage->entries);
}

void
mmq_work_put_catalogue(struct mmq_buf *buf, bool full, const struct mmq_buf *models)
{
	open_map(buf, MMQ_WM_CATALOGUE, 2);
	mmq_put_str(buf, "full");
	mmq_put_bool(buf, full);
	put_models_key(buf, models);
}

void
mmq_work_put_models(struct mmq_buf *buf, const struct mmq_work_model *models, size_t count)
{
	mmq_put_array(buf, count);
	for (size_t i = 0; i < count; i++) {
		const struct mmq_work_model *model = &models[i];

		mmq_put_array(buf, 5);
		mmq_put_str(buf, model->tenant);
		mmq_put_str(buf, model->name);
		mmq_put_array(buf, model->versions_count);
		for (size_t j = 0; j < model->versions_count; j++)
			mmq_put_uint(buf, model->versions[j]);
		mmq_put_map(buf, model->aliases_count);
		for (size_t j = 0; j < model->aliases_count; j++)
			put_number(buf, model->aliases[j].name, model->aliases[j].version);
		mmq_put_uint(buf, model->generation);
	}
}

void
mmq_work_put_return(struct mmq_buf *buf, const struct mmq_lease *held, size_t held_count)
{
	open_map(buf, MMQ_WM_RETURN, 1);
	put_leases(buf, "held", held, held_count);
}

void
mmq_work_put_progress(struct mmq_buf *buf, const struct mmq_lease *lease, uint64_t checkpoint, const void *info, size_t info_size)
{
	open_map(buf, MMQ_WM_PROGRESS, 4);
	put_lease(buf, lease);
	put_number(buf, "checkpoint", checkpoint);
	mmq_put_str(buf, "info");
	if (info_size == 0)
		mmq_put_map(buf, 0);
	else
		mmq_buf_append(buf, info, info_size);
}

void
mmq_work_put_grant(struct mmq_buf *buf, const struct mmq_lease *lease, enum mmq_grant_kind what, uint32_t above)
{
	open_map(buf, MMQ_WM_GRANT, 4);
	put_lease(buf, lease);
	put_text(buf, "what", what_name(what));
	put_number(buf, "above", above);
}

void
mmq_work_put_loaded(struct mmq_buf *buf, const char *tenant, const char *model, uint32_t version, enum mmq_code code, const char *message)
{
	open_map(buf, MMQ_WM_LOADED, 5);
	put_text(buf, "tenant", tenant);
	put_text(buf, "model", model);
	put_number(buf, "version", version);
	put_text(buf, "code", mmq_code_name(code));
	mmq_put_str(buf, "message");
	mmq_put_strn(buf, message == NULL ? "" : message, message == NULL ? 0 : strnlen(message, 255));
}

void
mmq_work_put_results(struct mmq_buf *buf, size_t count)
{
	open_map(buf, MMQ_WM_RESULT, 1);
	mmq_put_str(buf, "items");
	mmq_put_array(buf, count);
}

void
mmq_work_put_result(struct mmq_buf *buf, const struct mmq_lease *lease, const struct mmq_work_result *result, size_t body_bytes)
{
	mmq_put_array(buf, 8);
	mmq_put_bin(buf, lease->epoch, MMQ_WORK_EPOCH_BYTES);
	mmq_put_uint(buf, lease->delivery);
	mmq_put_str(buf, mmq_code_name(result->code));
	mmq_put_uint(buf, result->rows);
	mmq_put_uint(buf, result->service_us);
	mmq_put_uint(buf, result->version);
	mmq_put_uint(buf, result->crashes_model ? 1 : 0);
	mmq_put_uint(buf, body_bytes);
}

void
mmq_work_put_welcome(struct mmq_buf *buf, const uint8_t epoch[16], const char *build, uint32_t heartbeat_ms, uint32_t lease_ms,
    const struct mmq_lease *keep, size_t keep_count)
{
	open_map(buf, MMQ_WM_WELCOME, 6);
	put_bin16(buf, "epoch", epoch);
	put_number(buf, "protocol", MMQ_WORK_PROTOCOL);
	put_text(buf, "build", build);
	put_number(buf, "heartbeat_ms", heartbeat_ms);
	put_number(buf, "lease_ms", lease_ms);
	put_leases(buf, "keep", keep, keep_count);
}

void
mmq_work_put_echo(struct mmq_buf *buf, uint64_t n)
{
	open_map(buf, MMQ_WM_ECHO, 1);
	put_number(buf, "n", n);
}

void
mmq_work_put_plain(struct mmq_buf *buf, enum mmq_work_type type)
{
	open_map(buf, type, 0);
}

void
mmq_work_put_refused(struct mmq_buf *buf, enum mmq_code code, const char *message)
{
	open_map(buf, MMQ_WM_BYE, 2);
	put_text(buf, "code", mmq_code_name(code));
	mmq_put_str(buf, "message");
	mmq_put_strn(buf, message, strnlen(message, 255));
}

void
mmq_work_put_cancel(struct mmq_buf *buf, const struct mmq_lease *lease, enum mmq_code code)
{
	open_map(buf, MMQ_WM_CANCEL, 3);
	put_lease(buf, lease);
	put_text(buf, "code", mmq_code_name(code));
}

void
mmq_work_put_granted(struct mmq_buf *buf, const struct mmq_lease *lease, enum mmq_grant_kind what, uint32_t number,
    enum mmq_code code, const char *message)
{
	open_map(buf, MMQ_WM_GRANTED, 6);
	put_lease(buf, lease);
	put_text(buf, "what", what_name(what));
	put_number(buf, "number", number);
	put_text(buf, "code", mmq_code_name(code));
	mmq_put_str(buf, "message");
	mmq_put_strn(buf, message == NULL ? "" : message, message == NULL ? 0 : strnlen(message, 255));
}

void
mmq_work_put_load(struct mmq_buf *buf, const char *tenant, const char *model, uint32_t version)
{
	open_map(buf, MMQ_WM_LOAD, 3);
	put_text(buf, "tenant", tenant);
	put_text(buf, "model", model);
	put_number(buf, "version", version);
}

void
mmq_work_put_work(struct mmq_buf *buf, const uint8_t epoch[16], size_t count)
{
	open_map(buf, MMQ_WM_WORK, 2);
	put_bin16(buf, "epoch", epoch);
	mmq_put_str(buf, "items");
	mmq_put_array(buf, count);
}

void
mmq_work_put_item(struct mmq_buf *buf, const struct mmq_work_head *head)
{
	mmq_put_array(buf, 12);
	mmq_put_uint(buf, head->delivery);
	mmq_put_uint(buf, (uint64_t)head->kind);
	mmq_put_str(buf, head->op);
	mmq_put_str(buf, head->tenant);
	mmq_put_str(buf, head->model);
	mmq_put_uint(buf, head->version);
	mmq_put_uint(buf, head->attempt);
	mmq_put_int(buf, head->ms_left);
	mmq_put_uint(buf, head->queue_us);
	mmq_put_str(buf, head->job == NULL ? "" : head->job);
	mmq_put_uint(buf, head->body_bytes);
	mmq_put_uint(buf, head->payload_bytes);
}
