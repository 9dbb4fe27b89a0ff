/* shell.c: start, loop and stop of the broker. See shell.h.
 *
 * Order at start: lock, keys, journal, core, sockets, endpoints file. Clients find nothing until the journal was recovered. */
#include "broker/shell.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "daemon/daemon.h"
#include "util/clock.h"

enum { RETRY_MS = 5, KEYS_MS = 500, SINK_RETRY_MS = 20, EVENTS_MAX = 64, OUT_BYTES_MAX = 72 << 20, TURNS_UNPOLLED = 8 };

static void
times_read(struct shell *shell)
{
	shell->now_us = mmq_clock_mono_us();
	shell->wall_ms = mmq_clock_wall_ms();
}

static const struct mmq_journal_ops *
journal_named(const char *name)
{
	static const struct mmq_journal_ops *const all[] = { &mmq_journal_sqlite, &mmq_journal_memory };

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (name != NULL && strcmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
}

int
mmq_shell_check(void *self, struct mmq_err *err)
{
	struct shell *shell = self;
	const struct shell_options *options = &shell->options;

	if (options->home == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "home", "a folder", "nothing");
	if (strcmp(options->journal == NULL ? "" : options->journal, "none") != 0 && journal_named(options->journal) == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "journal", "sqlite, memory or none", "'%s'", options->journal == NULL ? "" : options->journal);
	if (options->lease_ms < 2 * options->heartbeat_ms)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "lease-ms", "at least twice heartbeat-ms", "%lld", (long long)options->lease_ms);
	for (int i = 0; i < SHELL_SOCKETS; i++)
		if (options->given[i] != NULL && options->keys == NULL && !mmq_shell_is_local(options->given[i]))
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, mmq_shell_socket_name((enum shell_socket)i),
			    "ipc or a loopback address, or --keys for encryption", "'%s'", options->given[i]);
	return 0;
}

static void
limits_fill(const struct shell_options *options, struct mmq_core_limits *limits)
{
	*limits = (struct mmq_core_limits){
		.requests_max = (uint32_t)options->requests_max, .bytes_max = (uint64_t)options->bytes_max,
		.requests_tenant_max = (uint32_t)options->requests_tenant_max, .bytes_tenant_max = (uint64_t)options->bytes_tenant_max,
		.requests_client_max = (uint32_t)options->requests_client_max, .bytes_client_max = (uint64_t)options->bytes_client_max,
		.requests_model_max = (uint32_t)options->requests_model_max, .bytes_model_max = (uint64_t)options->bytes_model_max,
		.requests_priority_max = (uint32_t)options->requests_priority_max, .bytes_priority_max = (uint64_t)options->bytes_priority_max,
		.durable_max = (uint32_t)options->durable_max,
		.heartbeat_ms = (uint32_t)options->heartbeat_ms, .lease_ms = (uint32_t)options->lease_ms, .adoption_ms = (uint32_t)options->adoption_ms,
		.stall_ms = (uint32_t)options->stall_ms,
		.strikes_max = (uint32_t)options->strikes_max, .retention_ms = (uint32_t)(options->retention_hours * 3600 * 1000),
		.retention_bytes = (uint64_t)options->retention_bytes, .dead_retention_ms = (uint32_t)(options->dead_retention_hours * 3600 * 1000),
		.dead_retention_bytes = (uint64_t)options->dead_retention_bytes,
	};
}

static int
journal_start(struct shell *shell, struct mmq_err *err)
{
	struct mmq_journal_options options = { .free_bytes_min = (uint64_t)shell->options.disk_free_min };
	char path[4096];

	randombytes_buf(shell->info.id, sizeof shell->info.id);
	randombytes_buf(shell->info.fingerprint_key, sizeof shell->info.fingerprint_key);
	shell->ops = journal_named(shell->options.journal);
	if (shell->ops == NULL)
		return 0;
	snprintf(path, sizeof path, "%s/journal.db", shell->home.path);
	options.path = path;
	randombytes_buf(options.random, sizeof options.random);
	return shell->ops->open(&shell->journal, &options, &shell->info, err);
}

static void
core_start(struct shell *shell)
{
	struct mmq_core_options options = { .journal = shell->journal != NULL, .journal_pending = shell->info.pending };

	for (int i = 0; i < 8; i++)
		shell->epoch[i] = (uint8_t)(shell->info.start >> (56 - 8 * i));
	randombytes_buf(shell->epoch + 8, 8);
	randombytes_buf(shell->run, sizeof shell->run);
	limits_fill(&shell->options, &options.limits);
	memcpy(options.epoch, shell->epoch, sizeof options.epoch);
	memcpy(options.run, shell->run, sizeof options.run);
	options.now_us = shell->started_us;
	options.wall_ms = shell->wall_ms;
	shell->core = mmq_core_new(&options);
}

/* One descriptor per connection: take as many as the system lets us have. */
static void
descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void
batch_submit(struct shell *shell)
{
	if (shell->batch_count > 0)
		shell->ops->submit(shell->journal, shell->batch, shell->batch_count);
	shell->batch_count = 0;
}

static void
action_do(struct shell *shell, const struct mmq_core_action *action)
{
	switch (action->kind) {
	case MMQ_DO_ANSWER: mmq_shell_answer(shell, &action->answer); break;
	case MMQ_DO_PUBLISH: mmq_shell_publish(shell, &action->publish); break;
	case MMQ_DO_MARK: mmq_shell_mark(shell, action->mark.tenant, action->mark.marks, action->mark.count); break;
	case MMQ_DO_FREE: action->body->release(action->body); break;
	case MMQ_DO_JOURNAL:
		shell->batch[shell->batch_count++] = *action->command;
		if (shell->batch_count == SHELL_BATCH_MAX)
			batch_submit(shell);
		break;
	case MMQ_DO_READ:
		batch_submit(shell);
		shell->ops->read(shell->journal, action->read);
		break;
	case MMQ_DO_AUDIT:
		mmq_log(MMQ_LOG_INFO, "audit", "what=%s tenant=%s number=%llu text=\"%s\"", action->audit.what,
		    action->audit.tenant == NULL ? "-" : action->audit.tenant, (unsigned long long)action->audit.number,
		    action->audit.text == NULL ? "" : action->audit.text);
		break;
	case MMQ_DO_TRACED: mmq_shell_log_traced(&action->traced); break;
	case MMQ_DO_STOP:
		mmq_err_set(&shell->why, MMQ_UNAVAILABLE, "journal: %s", action->message == NULL ? "broken" : action->message);
		shell->stopping = shell->failed = true;
		break;
	default: mmq_shell_work_act(shell, action); break;
	}
}

static void
core_drain(struct shell *shell)
{
	const struct mmq_core_action *action;

	while ((action = mmq_core_next_action(shell->core)) != NULL)
		action_do(shell, action);
}

void
mmq_shell_news(struct shell *shell, enum mmq_event_kind kind, uint64_t route, const struct mmq_core_item *items, size_t count)
{
	struct shell_news *news = mmq_alloc(sizeof *news + count * sizeof *news->leases);

	news->kind = kind;
	news->route = route;
	news->count = count;
	for (size_t i = 0; i < count; i++) {
		memcpy(news->leases[i].epoch, shell->epoch, sizeof shell->epoch);
		news->leases[i].delivery = items[i].delivery;
	}
	*shell->news_last = news;
	shell->news_last = &news->next;
}

static void
event_give(struct shell *shell, struct mmq_core_event *event)
{
	event->now_us = shell->now_us;
	event->wall_ms = shell->wall_ms;
	mmq_core_event(shell->core, event);
	core_drain(shell);
}

void
mmq_shell_event(struct shell *shell, struct mmq_core_event *event)
{
	event_give(shell, event);
	while (shell->news_first != NULL) {
		struct shell_news *news = shell->news_first;
		struct mmq_core_event of_news = { .kind = news->kind, .route = news->route };

		shell->news_first = news->next;
		if (news->next == NULL)
			shell->news_last = &shell->news_first;
		of_news.held.leases = news->leases;
		of_news.held.count = news->count;
		event_give(shell, &of_news);
		free(news);
	}
}

/* Take what the journal completed. */
static size_t
journal_read(struct shell *shell)
{
	struct mmq_journal_event events[EVENTS_MAX];
	size_t count, total = 0;

	do {
		count = shell->ops->poll(shell->journal, events, EVENTS_MAX);
		for (size_t i = 0; i < count; i++) {
			struct mmq_core_event event = { .kind = MMQ_ON_JOURNAL, .journal = &events[i] };

			if (events[i].message[0] != 0)
				mmq_log(MMQ_LOG_WARN, "journal", "status=%d error=\"%s\"", (int)events[i].status, events[i].message);
			mmq_shell_event(shell, &event);
			shell->ops->release(&events[i]);
		}
		total += count;
	} while (count == EVENTS_MAX);
	return total;
}

/* Hand over the batch of this turn. A journal without a thread has completed it by then, and what comes of that may be the next batch. */
static void
journal_write(struct shell *shell)
{
	if (shell->journal == NULL)
		return;
	batch_submit(shell);
	while (shell->ops->fd(shell->journal) == -1 && journal_read(shell) > 0)
		batch_submit(shell);
}

/* Let the core read what the journal holds before anyone is heard: a worker that comes back with a training would else meet a
 * broker that does not know it yet. */
static void
recover(struct shell *shell)
{
	struct mmq_core_status status = { .recovering = true };

	core_drain(shell);
	journal_write(shell);
	while (shell->journal != NULL && !shell->stopping && (mmq_core_status(shell->core, &status), status.recovering)) {
		struct mmq_core_event tick = { .kind = MMQ_ON_TICK };
		zmq_pollitem_t item = { .fd = shell->ops->fd(shell->journal), .events = ZMQ_POLLIN };

		if (item.fd != -1)
			zmq_poll(&item, 1, 100);
		times_read(shell);
		journal_read(shell);
		mmq_shell_event(shell, &tick);
		journal_write(shell);
	}
}

int
mmq_shell_start(void *self, struct mmq_err *err)
{
	struct shell *shell = self;

	if (sodium_init() == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "no source of random numbers");
	descriptors_raise();
	times_read(shell);
	shell->started_us = shell->now_us;
	shell->news_last = &shell->news_first;
	mmq_buf_init(&shell->out, OUT_BYTES_MAX);
	mmq_arena_init(&shell->arena);
	shell->batch = mmq_array(SHELL_BATCH_MAX, sizeof *shell->batch);
	shell->has_keys = shell->options.keys != NULL;
	if (mmq_shell_home_open(&shell->home, shell->options.home, shell->options.given, shell->has_keys, err) == -1)
		return -1;
	shell->context = mmq_zmq_context((int)shell->options.io_threads, (int)shell->options.peers_max);
	if (shell->context == NULL)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "libzmq: %s", strerror(errno));
	if (shell->has_keys && mmq_zap_open(&shell->zap, shell->context, shell->options.keys, err) == -1)
		return -1;
	if (journal_start(shell, err) == -1)
		return -1;
	core_start(shell);
	if (mmq_shell_sockets_open(shell, err) == -1)
		return -1;
	recover(shell);
	if (shell->options.http != NULL) {
		if (mmq_http_open(&shell->http, shell->options.http, err) == -1)
			return -1;
		mmq_log(MMQ_LOG_INFO, "bound", "http=127.0.0.1:%u", mmq_http_port(shell->http));
	}
	for (int i = 0; i < SHELL_SOCKETS; i++)
		mmq_log(MMQ_LOG_INFO, "bound", "socket=%s endpoint=%s", mmq_shell_socket_name((enum shell_socket)i), shell->home.endpoint[i]);
	return 0;
}

static void
on_client_gone(void *arg, uint64_t number)
{
	(void)arg;
	(void)number;  /* its requests are answered into nothing; there is no more to do for a plain client */
}

static void
on_worker_gone(void *arg, uint64_t number)
{
	struct shell *shell = arg;

	mmq_routes_find(&shell->workers, number)->holds = 0;
	mmq_shell_news(shell, MMQ_ON_GONE, number, NULL, 0);
}

static void
signals_read(struct shell *shell)
{
	enum mmq_signal signal;

	while ((signal = mmq_signal_take()) != MMQ_SIGNAL_NONE) {
		struct mmq_core_event event = { .kind = MMQ_ON_DRAIN };
		struct mmq_core_limits limits;

		if (signal == MMQ_SIGNAL_RELOAD) {
			event.kind = MMQ_ON_LIMITS;
			limits_fill(&shell->options, &limits);
			mmq_core_limits_default(&limits);
			event.limits = &limits;
			shell->keys_us = 0;
		}
		if (signal == MMQ_SIGNAL_DRAIN && !shell->draining) {
			shell->draining = true;
			shell->drain_until_us = shell->now_us + shell->options.drain_ms * 1000;
			mmq_log(MMQ_LOG_INFO, "draining", "for_ms=%lld", (long long)shell->options.drain_ms);
		}
		if (signal == MMQ_SIGNAL_LEAVE)
			shell->stopping = true;
		else
			mmq_shell_event(shell, &event);
	}
}

static void
keys_check(struct shell *shell)
{
	bool cut = mmq_zap_reload(&shell->zap) && strncmp(shell->home.endpoint[SHELL_SINK], "tcp:", 4) == 0;
	struct mmq_err err;

	if ((cut && mmq_sink_cut(&shell->sink, &err) == -1) || mmq_sink_bind(&shell->sink, &err) == -1) {
		shell->why = err;
		shell->stopping = shell->failed = true;
	}
	shell->keys_us = shell->now_us + (shell->sink.is_bound ? KEYS_MS : SINK_RETRY_MS) * 1000;
}

/* How long nothing is due, in milliseconds. */
static int
sleep_ms(const struct shell *shell, bool mail_waits)
{
	int64_t next_us = mmq_core_next(shell->core), now_us = mmq_clock_mono_us(), left_us;

	if (mail_waits && next_us > now_us + RETRY_MS * 1000)
		next_us = now_us + RETRY_MS * 1000;
	if (shell->has_keys && next_us > shell->keys_us)
		next_us = shell->keys_us;
	if (shell->draining && next_us > shell->drain_until_us)
		next_us = shell->drain_until_us;
	left_us = next_us - now_us;
	return next_us == INT64_MAX ? 60000 : left_us <= 0 ? 0 : left_us > 60000000 ? 60000 : (int)((left_us + 999) / 1000);
}

static void
work_look(struct shell *shell)
{
	shell->look_work = !mmq_shell_work_read(shell);
	mmq_shell_packs_send(shell);       /* a client can read them while the rest of the turn goes on */
	shell->workers.was_used = false;   /* what was sent meanwhile came before the last look */
}

static void
request_look(struct shell *shell)
{
	shell->look_request = !mmq_shell_request_read(shell);
	shell->clients.was_used = false;
}

/* What was sent on since it was read empty may have something again. */
static void
used_note(struct shell *shell)
{
	shell->look_work |= shell->workers.was_used;
	shell->look_request |= shell->clients.was_used;
	shell->clients.was_used = shell->workers.was_used = false;
}

/* One turn: what came, what is due, what has to be written, what waits to leave. Returns whether mail still waits. */
static bool
turn(struct shell *shell, struct pollfd *wakes)
{
	struct mmq_core_event tick = { .kind = MMQ_ON_TICK };
	bool mail_waits;

	times_read(shell);
	if (wakes[WAKE_SIGNAL].revents)
		signals_read(shell);
	if (shell->journal != NULL && wakes[WAKE_JOURNAL].revents)
		journal_read(shell);
	if (shell->look_work || wakes[WAKE_WORK].revents)
		work_look(shell);
	if (shell->look_request || shell->clients.was_used || wakes[WAKE_REQUEST].revents)
		request_look(shell);
	if (wakes[WAKE_PUBLISH].revents && mmq_shell_publish_read(shell))
		wakes[WAKE_PUBLISH].revents = 0;
	if (shell->sink.was_used || wakes[WAKE_SINK].revents)
		mmq_sink_read(&shell->sink);
	if (shell->has_keys && (shell->zap.has_more || wakes[WAKE_ZAP].revents))
		mmq_zap_answer(&shell->zap);
	if (shell->http != NULL && wakes[WAKE_HTTP].revents)
		mmq_shell_metrics_give(shell);
	if (shell->has_keys && shell->now_us >= shell->keys_us)
		keys_check(shell);
	mmq_shell_memory(shell);
	times_read(shell);
	mmq_shell_event(shell, &tick);
	journal_write(shell);
	mmq_shell_packs_send(shell);
	if (shell->draining && (mmq_core_is_drained(shell->core) || shell->now_us >= shell->drain_until_us))
		shell->stopping = true;
	used_note(shell);
	mail_waits = mmq_routes_retry(&shell->clients, shell->now_us, on_client_gone, shell);
	mail_waits |= mmq_routes_retry(&shell->workers, shell->now_us, on_worker_gone, shell);
	/* While mail waits the sleep is short, and a look at both follows it: trying again must not keep the loop awake. */
	if (!mail_waits)
		used_note(shell);
	shell->clients.was_used = shell->workers.was_used = false;
	return mail_waits;
}

int
mmq_shell_loop(void *self, struct mmq_err *err)
{
	struct shell *shell = self;
	struct pollfd wakes[WAKES];
	unsigned turns = 0;

	mmq_shell_wakes_init(shell, wakes);
	while (!shell->stopping) {
		bool mail_waits = turn(shell, wakes);
		bool looks = shell->look_work || shell->look_request || shell->sink.was_used || shell->zap.has_more;

		if (looks && ++turns % TURNS_UNPOLLED != 0) {
			for (int i = 0; i < WAKES; i++)
				wakes[i].revents = i == WAKE_PUBLISH ? wakes[i].revents : 0;
			continue;
		}
		if (mmq_shell_wait(shell, wakes, looks ? 0 : sleep_ms(shell, mail_waits)) == -1 && errno != EINTR)
			return mmq_err_set(err, MMQ_UNAVAILABLE, "poll: %s", strerror(errno));
		shell->look_work |= mail_waits;  /* trying again may have noticed in passing what came */
		shell->look_request |= mail_waits;
	}
	if (!shell->failed)
		return 0;
	*err = shell->why;
	return -1;
}

void
mmq_shell_stop(void *self)
{
	struct shell *shell = self;
	struct shell_news *news;
	void *sockets[] = { shell->request, shell->publish, shell->work };

	mmq_http_close(&shell->http);
	if (shell->journal != NULL)
		batch_submit(shell);
	if (shell->journal != NULL)
		shell->ops->close(&shell->journal);  /* before the core: commands borrow its bodies until they are completed */
	if (shell->core != NULL)
		mmq_core_destroy(&shell->core);
	if (shell->clients.chains != NULL) {
		mmq_routes_fini(&shell->clients);
		mmq_routes_fini(&shell->workers);
	}
	for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++)
		if (sockets[i] != NULL)
			zmq_close(sockets[i]);
	mmq_sink_close(&shell->sink);
	if (shell->has_keys)
		mmq_zap_close(&shell->zap);
	if (shell->context != NULL)
		zmq_ctx_term(shell->context);
	mmq_shell_home_close(&shell->home);
	while ((news = shell->news_first) != NULL) {
		shell->news_first = news->next;
		free(news);
	}
	mmq_shell_packs_fini(shell);
	mmq_shell_bodies_fini(&shell->bodies);
	mmq_buf_fini(&shell->out);
	mmq_arena_fini(&shell->arena);
	free(shell->batch);
}
