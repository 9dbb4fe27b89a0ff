/* shell_work.c: the workers' socket: frames of the work protocol become events of the core, its actions become frames.
 * A worker that sends what cannot be read is told so and forgotten; what it held goes to others. */
#include <string.h>

#include "broker/shell.h"
#include "daemon/log.h"
#include "mpack/reader.h"

enum { PARTS_MAX = 4, LEASES_MAX = 65536, MODELS_MAX = 100000 };

static struct mmq_lease *
leases_read(struct shell *shell, const struct mmq_work_span *span, size_t *count_out)
{
	struct mmq_work_list list;
	uint32_t left = mmq_work_list_begin(&list, span);
	struct mmq_lease *leases;
	size_t count = 0;

	left = left < LEASES_MAX ? left : LEASES_MAX;
	leases = mmq_arena_get(&shell->arena, (left + 1) * sizeof *leases);
	while (count < left && mmq_work_next_lease(&list, &leases[count]))
		count++;
	*count_out = count;
	return leases;
}

/* One reported model with its lists, all in the arena. */
static bool
model_read(struct shell *shell, struct mmq_work_list *models, struct mmq_work_model *model)
{
	struct mmq_arena *arena = &shell->arena;
	struct mmq_work_entry entry;
	struct mmq_work_list list;
	struct mmq_work_alias *aliases;
	uint32_t *versions, count;
	char name[65];

	if (!mmq_work_next_model(models, &entry))
		return false;
	*model = (struct mmq_work_model){ .generation = entry.generation };
	model->tenant = mmq_arena_strndup(arena, entry.tenant, strlen(entry.tenant));
	model->name = mmq_arena_strndup(arena, entry.name, strlen(entry.name));
	count = mmq_work_list_begin(&list, &entry.versions);
	model->versions = versions = mmq_arena_get(arena, (count + 1) * sizeof *versions);
	while (model->versions_count < count && mmq_work_next_version(&list, &versions[model->versions_count]))
		model->versions_count++;
	count = mmq_work_list_begin(&list, &entry.aliases);
	model->aliases = aliases = mmq_arena_get(arena, (count + 1) * sizeof *aliases);
	while (model->aliases_count < count && mmq_work_next_alias(&list, name, &aliases[model->aliases_count].version))
		aliases[model->aliases_count++].name = mmq_arena_strndup(arena, name, strlen(name));
	return true;
}

static void
catalogue_give(struct shell *shell, uint64_t route, const struct mmq_work_span *span, bool full)
{
	struct mmq_core_event event = { .kind = MMQ_ON_CATALOGUE, .route = route };
	struct mmq_work_list list;
	uint32_t left = mmq_work_list_begin(&list, span);
	struct mmq_work_model *models;
	size_t count = 0;

	left = left < MODELS_MAX ? left : MODELS_MAX;
	models = mmq_arena_get(&shell->arena, (left + 1) * sizeof *models);
	while (count < left && model_read(shell, &list, &models[count]))
		count++;
	event.catalogue.models = models;
	event.catalogue.count = count;
	event.catalogue.full = full;
	mmq_shell_event(shell, &event);
}

static void
hello_give(struct shell *shell, uint64_t route, const struct mmq_work_message *message)
{
	struct mmq_core_event event = { .kind = MMQ_ON_HELLO, .route = route };

	event.hello.kind = message->kind;
	memcpy(event.hello.session, message->session, sizeof event.hello.session);
	event.hello.name = message->name;
	event.hello.build = message->build;
	event.hello.pid = message->pid;
	memcpy(event.hello.window, message->window, sizeof event.hello.window);
	event.hello.held = leases_read(shell, &message->held, &event.hello.held_count);
	mmq_shell_event(shell, &event);
	/* A worker that knows of no models says nothing about the store; what it knows may also come after WELCOME. */
	struct mmq_work_list models;
	if (mmq_work_list_begin(&models, &message->models) > 0)
		catalogue_give(shell, route, &message->models, true);
}

/* The message of a failed training, for lists of jobs: they show it without reading answers. False: the body holds none. */
static bool
failure_text(const struct mmq_body *body, char text_out[MMQ_JOURNAL_MESSAGE])
{
	struct mmq_reader reader;
	struct mmq_token map, key, value;

	mmq_reader_init(&reader, body->bytes, body->size);
	if (!mmq_read(&reader, &map) || map.type != MMQ_T_MAP)
		return false;
	for (uint32_t i = 0; i < map.size && mmq_read(&reader, &key); i++) {
		if (!mmq_read_is(&key, "message")) {
			if (!mmq_read_skip(&reader))
				return false;
			continue;
		}
		if (!mmq_read(&reader, &value) || value.type != MMQ_T_STR)
			return false;
		snprintf(text_out, MMQ_JOURNAL_MESSAGE, "%.*s", (int)value.size, value.bytes);
		return true;
	}
	return false;
}

/* Cut the bodies of a result message and give each to the core. */
static void
results_give(struct shell *shell, uint64_t route, const struct mmq_work_message *message, zmq_msg_t *parts, unsigned count)
{
	const uint8_t *bytes = zmq_msg_data(&parts[0]);
	size_t at = message->head_bytes, size = zmq_msg_size(&parts[0]);
	struct mmq_work_outcome outcome;
	struct mmq_work_list list;
	uint32_t items = mmq_work_list_begin(&list, &message->items);
	char why[MMQ_JOURNAL_MESSAGE];

	if (count > 1 && (items != 1 || count != 2)) {
		shell->counters.bad_work++;
		return;
	}
	while (mmq_work_next_result(&list, &outcome)) {
		struct mmq_core_event event = { .kind = MMQ_ON_RESULT, .route = route };
		size_t left = count > 1 ? zmq_msg_size(&parts[1]) : size - at;
		struct shell_body *own;

		if (outcome.body_bytes > left || (count > 1 && outcome.body_bytes != left)) {
			shell->counters.bad_work++;
			return;
		}
		if (count > 1) {
			own = mmq_shell_body_take(&shell->bodies, &parts[1], 1);
			zmq_msg_init(&parts[1]);
		} else {
			own = mmq_shell_body_copy(&shell->bodies, bytes + at, outcome.body_bytes);
			at += outcome.body_bytes;
		}
		event.result.lease = outcome.lease;
		event.result.result = outcome.result;
		event.result.body = &own->body;
		if (outcome.result.code != MMQ_OK && failure_text(&own->body, why))
			event.result.why = why;
		mmq_shell_event(shell, &event);
	}
	shell->counters.bad_work += list.why != NULL;
}

static void
message_give(struct shell *shell, uint64_t route, const struct mmq_work_message *message, zmq_msg_t *parts, unsigned count)
{
	struct mmq_core_event event = { .route = route };

	switch (message->type) {
	case MMQ_WM_HELLO:
		hello_give(shell, route, message);
		return;
	case MMQ_WM_CATALOGUE:
		catalogue_give(shell, route, &message->models, message->full);
		return;
	case MMQ_WM_RESULT:
		results_give(shell, route, message, parts, count);
		return;
	case MMQ_WM_READY:
		event.kind = MMQ_ON_READY;
		memcpy(event.window, message->window, sizeof event.window);
		break;
	case MMQ_WM_HEARTBEAT:
	case MMQ_WM_RETURN:
		event.kind = message->type == MMQ_WM_RETURN ? MMQ_ON_RETURN : MMQ_ON_HEARTBEAT;
		event.held.n = message->n;
		event.held.usage = (struct mmq_work_usage){ message->bytes, message->entries };
		event.held.leases = leases_read(shell, &message->held, &event.held.count);
		break;
	case MMQ_WM_BYE:
		event.kind = MMQ_ON_BYE;
		break;
	case MMQ_WM_PROGRESS:
		event.kind = MMQ_ON_PROGRESS;
		event.progress.lease = message->lease;
		event.progress.checkpoint = message->checkpoint;
		event.progress.body = &mmq_shell_body_copy(&shell->bodies, message->info.bytes, message->info.size)->body;
		break;
	case MMQ_WM_GRANT:
		event.kind = MMQ_ON_GRANT;
		event.grant.lease = message->lease;
		event.grant.what = message->what;
		event.grant.above = message->above;
		break;
	case MMQ_WM_LOADED:
		event.kind = MMQ_ON_LOADED;
		event.loaded.tenant = message->tenant;
		event.loaded.model = message->model;
		event.loaded.version = message->version;
		event.loaded.code = message->code;
		if (message->code != MMQ_OK)
			mmq_log(MMQ_LOG_WARN, "not-loaded", "tenant=%s model=%s version=%u code=%s error=\"%s\"", message->tenant, message->model,
			    message->version, mmq_code_name(message->code), message->message);
		break;
	default:
		shell->counters.bad_work++;
		return;
	}
	mmq_shell_event(shell, &event);
}

static enum route_sent
frame_send(struct shell *shell, uint64_t number, const struct mmq_buf *buf)
{
	struct route *route = mmq_routes_find(&shell->workers, number);
	zmq_msg_t part;

	if (route == NULL || buf->failed)
		return ROUTE_GONE;
	mmq_shell_part(&part, buf);
	return mmq_routes_send(&shell->workers, route, &part, 1, shell->now_us);
}

static void
worker_forget(struct shell *shell, uint64_t number)
{
	struct route *route = mmq_routes_find(&shell->workers, number);

	if (route == NULL)
		return;
	route->holds = 0;
	mmq_routes_release(&shell->workers, route);
}

/* Refuse what came on this route and give its work to others. */
static void
worker_expel(struct shell *shell, uint64_t number, enum mmq_code code, const char *message)
{
	struct mmq_core_event event = { .kind = MMQ_ON_EXPELLED, .route = number };

	mmq_log(MMQ_LOG_WARN, "expelled", "code=%s error=\"%s\"", mmq_code_name(code), message);
	mmq_buf_reset(&shell->out);
	mmq_work_put_refused(&shell->out, code, message);
	frame_send(shell, number, &shell->out);
	mmq_shell_event(shell, &event);
	worker_forget(shell, number);
}

static bool
key_is_good(struct shell *shell, zmq_msg_t *part)
{
	if (!shell->has_keys || strncmp(shell->home.endpoint[SHELL_WORK], "tcp:", 4) != 0)
		return true;
	if (mmq_zap_find(&shell->zap, zmq_msg_gets(part, "User-Id"), SHELL_WORK) != NULL)
		return true;
	shell->counters.denied++;
	return false;
}

static void
message_read(struct shell *shell, zmq_msg_t *parts, unsigned count)
{
	struct mmq_work_message message;
	struct route *route = mmq_routes_get(&shell->workers, zmq_msg_data(&parts[0]), zmq_msg_size(&parts[0]), "");
	uint64_t number = route->number;
	struct mmq_err err = { 0 };

	if (!key_is_good(shell, &parts[1])) {
		worker_expel(shell, number, MMQ_UNAUTHENTICATED, "this key is not allowed any more");
		return;
	}
	if (mmq_work_parse(&message, zmq_msg_data(&parts[1]), zmq_msg_size(&parts[1]), &err) == -1 || count > PARTS_MAX - 1) {
		shell->counters.bad_work++;
		worker_expel(shell, number, MMQ_INVALID_ARGUMENT, err.code == MMQ_OK ? "work message: too many frames" : err.message);
		return;
	}
	if (message.type == MMQ_WM_HELLO && message.protocol != MMQ_WORK_PROTOCOL) {
		worker_expel(shell, number, MMQ_FAILED_PRECONDITION, "this broker speaks work protocol 1");
		return;
	}
	if (message.type == MMQ_WM_HELLO)
		route->holds = 1;
	message_give(shell, number, &message, parts + 1, count - 1);
	mmq_arena_reset(&shell->arena);
	if (message.type == MMQ_WM_BYE)
		worker_forget(shell, number);
	route = mmq_routes_find(&shell->workers, number);
	if (route != NULL)
		mmq_routes_release(&shell->workers, route);
}

bool
mmq_shell_work_read(struct shell *shell)
{
	struct mmq_core_event early = { .kind = MMQ_ON_BURST };
	zmq_msg_t parts[PARTS_MAX];
	unsigned count;

	for (int burst = 0; burst < SHELL_BURST; burst++) {
		if (mmq_shell_receive(shell->work, parts, PARTS_MAX, &count) == -1)
			return true;
		if (count >= 2)
			message_read(shell, parts, count);
		mmq_shell_parts_close(parts, count < PARTS_MAX ? count : PARTS_MAX);
		mmq_shell_event(shell, &early);
	}
	return false;
}

/* Pack the items of one work message: small bodies behind the head, the body of a large one in frames of its own. */
static unsigned
work_pack(struct shell *shell, const struct mmq_core_item *items, size_t count, zmq_msg_t *parts)
{
	struct mmq_buf *buf = &shell->out;
	bool large = count == 1 && items[0].body->size + items[0].body->payload_size > mmq_core_limits(shell->core)->pack_body_bytes;
	unsigned parts_count = 1;

	mmq_buf_reset(buf);
	mmq_work_put_work(buf, shell->epoch, count);
	for (size_t i = 0; i < count; i++) {
		const struct mmq_core_item *item = &items[i];
		char job[MMQ_JOB_ID_CHARS + 1] = "";

		if (item->kind == MMQ_WORK_TRAIN)
			mmq_job_id_format(item->job, job);
		mmq_work_put_item(buf, &(struct mmq_work_head){ .delivery = item->delivery, .kind = item->kind, .op = mmq_op_name((enum mmq_op)item->op),
		    .tenant = item->tenant, .model = item->model, .job = job, .version = item->version, .attempt = item->attempt,
		    .ms_left = item->ms_left, .queue_us = item->queue_us, .body_bytes = item->body->size, .payload_bytes = item->body->payload_size });
	}
	for (size_t i = 0; i < count && !large; i++) {
		mmq_buf_append(buf, items[i].body->bytes, items[i].body->size);
		mmq_buf_append(buf, items[i].body->payload, items[i].body->payload_size);
	}
	mmq_shell_part(&parts[0], buf);
	if (large) {
		mmq_shell_body_send(items[0].body, &parts[parts_count++], false);
		if (items[0].body->payload_size > 0)
			mmq_shell_body_send(items[0].body, &parts[parts_count++], true);
	}
	return parts_count;
}

static void
work_send(struct shell *shell, uint64_t number, const struct mmq_core_item *items, size_t count)
{
	struct route *route = mmq_routes_find(&shell->workers, number);
	enum route_sent sent = ROUTE_GONE;
	zmq_msg_t parts[3];

	if (route != NULL) {
		unsigned parts_count = work_pack(shell, items, count, parts);

		sent = mmq_routes_send(&shell->workers, route, parts, parts_count, 0);
	}
	if (sent == ROUTE_SENT)
		return;
	/* What never reached a worker is not held against it, even when the worker turns out to be dead. */
	mmq_shell_news(shell, MMQ_ON_UNSENT, number, items, count);
	if (sent == ROUTE_GONE) {
		mmq_shell_news(shell, MMQ_ON_GONE, number, NULL, 0);
		worker_forget(shell, number);
	}
}

void
mmq_shell_work_act(struct shell *shell, const struct mmq_core_action *action)
{
	struct mmq_buf *buf = &shell->out;
	enum route_sent sent;

	mmq_buf_reset(buf);
	switch (action->kind) {
	case MMQ_DO_WORK:
		work_send(shell, action->route, action->work.items, action->work.count);
		return;
	case MMQ_DO_WELCOME:
		mmq_work_put_welcome(buf, shell->epoch, MMQ_VERSION, action->welcome.heartbeat_ms, action->welcome.lease_ms, action->welcome.keep,
		    action->welcome.count);
		break;
	case MMQ_DO_ECHO: mmq_work_put_echo(buf, action->number); break;
	case MMQ_DO_WHO: mmq_work_put_plain(buf, MMQ_WM_WHO); break;
	case MMQ_DO_DRAIN_WORKER: mmq_work_put_plain(buf, MMQ_WM_DRAIN); break;
	case MMQ_DO_BYE: mmq_work_put_refused(buf, action->bye.code, action->bye.message); break;
	case MMQ_DO_CANCEL_WORK: mmq_work_put_cancel(buf, &action->cancel.lease, action->cancel.code); break;
	case MMQ_DO_GRANTED:
		mmq_work_put_granted(buf, &action->grant.lease, action->grant.what, action->grant.number, action->grant.code, action->grant.message);
		break;
	case MMQ_DO_LOAD: mmq_work_put_load(buf, action->load.tenant, action->load.model, action->load.version); break;
	default: return;
	}
	sent = frame_send(shell, action->route, buf);
	if (action->kind == MMQ_DO_BYE || action->kind == MMQ_DO_WHO)
		worker_forget(shell, action->route);
	else if (sent == ROUTE_GONE && mmq_routes_find(&shell->workers, action->route) != NULL) {
		mmq_shell_news(shell, MMQ_ON_GONE, action->route, NULL, 0);
		worker_forget(shell, action->route);
	}
}
