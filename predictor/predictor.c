/* predictor.c: one thread that moves messages, computes in turns of about 5 ms, and looks at its socket between turns. */
#include "predictor/predictor.h"

#include <string.h>

#include "predictor/guard.h"
#include "util/clock.h"

enum { EVENTS_PER_TURN = 256 };

#define AT(member) offsetof(struct mmq_predictor, member)
static const struct mmq_option options[] = {
	{ "home", MMQ_OPTION_TEXT, AT(home), NULL, 0, 0, 0, "folder of a service on this machine: the default of work and store" },
	{ "work", MMQ_OPTION_TEXT, AT(work), NULL, 0, 0, 0, "the broker's work endpoint; default: what HOME/endpoints says" },
	{ "store", MMQ_OPTION_TEXT, AT(store_path), NULL, 0, 0, 0, "folder of the model store; default HOME/store" },
	{ "cache-bytes", MMQ_OPTION_BYTES, AT(cache_bytes), "4G", 1 << 20, INT64_MAX / 2, 0, "mapped model files kept when not in use, least recently used go first" },
	{ "batch-rows", MMQ_OPTION_COUNT, AT(batch_rows), "16384", 1, 1 << 20, 0, "most rows in one engine call; 5 ms of work is the usual limit" },
	{ "window", MMQ_OPTION_COUNT, AT(window), "1024", 1, 65536, 0, "most requests held at once" },
	{ "hang-ms", MMQ_OPTION_COUNT, AT(hang_ms), "20000", 100, 86400000, 0, "processor time after which a turn, meant to take 5 ms, counts as hung: the process leaves for a fresh start" },
	{ "name", MMQ_OPTION_TEXT, AT(name), NULL, 0, 0, 0, "what this worker is called in status, at most 32 bytes; crashes are counted by it" },
	{ "key-file", MMQ_OPTION_TEXT, AT(key_file), NULL, 0, 0, 0, "this worker's secret certificate (CURVE)" },
	{ "server-key-file", MMQ_OPTION_TEXT, AT(server_key_file), NULL, 0, 0, 0, "the broker's public certificate (CURVE)" },
	{ .name = NULL },
};
#undef AT

static int
check(void *arg, struct mmq_err *err)
{
	const struct mmq_predictor *self = arg;

	if (self->home == NULL && (self->work == NULL || self->store_path == NULL))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "home", "a folder, or both work and store", "nothing");
	return 0;
}

static int
start(void *arg, struct mmq_err *err)
{
	struct mmq_predictor *self = arg;

	if (mmq_place_find(&self->place, self->home, self->work, self->store_path, err) == -1)
		return -1;
	const struct mmq_worker_options worker = { .kind = MMQ_WORKER_PREDICTOR, .name = self->name, .endpoint = self->place.work, .build = "modelmq-predictor " MMQ_VERSION,
		.key_file = self->key_file, .server_key_file = self->server_key_file };

	mmq_guard_install();
	if (mmq_store_open(&self->store, self->place.store, true, NULL, err) == -1 ||
	    mmq_cache_open(&self->cache, self->store, (size_t)self->cache_bytes, err) == -1 || mmq_worker_open(&self->worker, &worker, err) == -1)
		return -1;
	mmq_cache_on_free(self->cache, mmq_queue_free, NULL);
	mmq_batcher_init(&self->batcher, self->worker, (size_t)self->batch_rows);
	if (mmq_worker_watch(self->worker, mmq_cache_fd(self->cache)) == -1 || mmq_worker_watch(self->worker, mmq_signal_fd()) == -1)
		return mmq_err_set(err, MMQ_INTERNAL, "too many descriptors are watched");
	mmq_worker_ready(self->worker, MMQ_WORK_PREDICT, (uint32_t)self->window);
	return mmq_guard_turns(self->hang_ms, err);
}

static void
take_loaded(struct mmq_predictor *self)
{
	struct mmq_cached *entry;

	while ((entry = mmq_cache_collect(self->cache)) != NULL) {
		bool failed = entry->state == MMQ_CACHED_FAILED;
		entry->references++;
		if (failed)
			mmq_log(MMQ_LOG_WARN, "load", "tenant=%s model=%s version=%u code=%s error=\"%s\"", entry->tenant, entry->name, entry->version,
			    mmq_code_name(entry->err.code), entry->err.message);
		else
			mmq_log(MMQ_LOG_INFO, "load", "tenant=%s model=%s version=%u bytes=%zu cached_bytes=%zu", entry->tenant, entry->name, entry->version,
			    entry->bytes, mmq_cache_bytes(self->cache));
		if (entry->announce || (failed && entry->err.code == MMQ_DATA_LOSS))
			mmq_worker_loaded(self->worker, entry->tenant, entry->name, entry->version, failed ? entry->err.code : MMQ_OK,
			    failed ? entry->err.message : NULL);
		entry->announce = false;
		mmq_batcher_loaded(&self->batcher, self->cache, entry);
		mmq_cache_release(self->cache, &entry);
	}
	mmq_worker_usage(self->worker, &(struct mmq_work_usage){ mmq_cache_bytes(self->cache), (uint32_t)mmq_cache_count(self->cache) });
}

static void
take_signal(struct mmq_predictor *self)
{
	enum mmq_signal signal = mmq_signal_take();

	if (signal == MMQ_SIGNAL_DRAIN && !self->draining) {
		mmq_log(MMQ_LOG_INFO, "drain", "held=%zu", mmq_worker_held(self->worker));
		self->draining = true;
		mmq_worker_ready(self->worker, MMQ_WORK_PREDICT, 0);
	} else if (signal == MMQ_SIGNAL_LEAVE)
		self->leaving = true;
}

static void
warm(struct mmq_predictor *self, const struct mmq_work_event *event)
{
	struct mmq_cached *entry = mmq_cache_acquire(self->cache, event->tenant, event->model, event->version);

	if (entry->state == MMQ_CACHED_LOADING)
		entry->announce = true;
	else
		mmq_worker_loaded(self->worker, event->tenant, event->model, event->version, entry->state == MMQ_CACHED_READY ? MMQ_OK : entry->err.code,
		    entry->state == MMQ_CACHED_READY ? NULL : entry->err.message);
	mmq_cache_release(self->cache, &entry);
}

static int
take_event(struct mmq_predictor *self, const struct mmq_work_event *event, struct mmq_err *err)
{
	switch (event->kind) {
	case MMQ_WORK_EVENT_WORK:
		mmq_batcher_add(&self->batcher, self->cache,
		    mmq_cache_acquire(self->cache, event->item->tenant, event->item->model, event->item->version), event->item);
		break;
	case MMQ_WORK_EVENT_CANCEL:
		mmq_batcher_cancel(&self->batcher, self->cache, event->item, event->code);
		break;
	case MMQ_WORK_EVENT_LOAD:
		warm(self, event);
		break;
	case MMQ_WORK_EVENT_DRAIN:
		self->draining = true;
		break;
	case MMQ_WORK_EVENT_REFUSED:
		return mmq_err_set(err, event->code, "the broker refused this worker: %s", event->message);
	case MMQ_WORK_EVENT_FD:
		if (event->fd == mmq_signal_fd())
			take_signal(self);
		else
			take_loaded(self);
		break;
	case MMQ_WORK_EVENT_WELCOME:
		mmq_log(MMQ_LOG_INFO, "welcome", "work=%s", self->place.work);
		break;
	case MMQ_WORK_EVENT_NONE:
	case MMQ_WORK_EVENT_GRANTED:
		break;
	}
	return 0;
}

static int
loop(void *arg, struct mmq_err *err)
{
	struct mmq_predictor *self = arg;
	struct mmq_work_event event;

	while (!self->leaving && !self->batcher.torn) {
		if (self->draining && mmq_worker_held(self->worker) == 0)
			break;
		int timeout_ms = mmq_batcher_has_work(&self->batcher) ? 0 : -1, got = 0;
		for (int i = 0; i < EVENTS_PER_TURN; i++) {
			got = mmq_worker_next(self->worker, timeout_ms, &event, err);
			if (got == -1 || (got == 1 && take_event(self, &event, err) == -1))
				return -1;
			if (got == 0)
				break;
			timeout_ms = 0;
		}
		/* Work that keeps coming must not hide that another model is there now. */
		if (mmq_cache_is_loading(self->cache))
			take_loaded(self);
		if (!mmq_batcher_has_work(&self->batcher))
			continue;
		mmq_guard_turn_begin();
		mmq_batcher_turn(&self->batcher, self->cache);
		mmq_guard_turn_end();
	}
	mmq_worker_flush(self->worker);
	return self->batcher.torn ? mmq_err_set(err, MMQ_DATA_LOSS, "a model file was cut short under the engine; leaving for a fresh start") : 0;
}

static void
stop(void *arg)
{
	struct mmq_predictor *self = arg;

	if (self->worker != NULL && self->cache != NULL) {
		mmq_batcher_drop_all(&self->batcher, self->cache);
		mmq_batcher_fini(&self->batcher);
	}
	mmq_worker_close(&self->worker);
	mmq_cache_close(&self->cache);
	mmq_store_close(&self->store);
	mmq_place_fini(&self->place);
}

const struct mmq_daemon mmq_predictor_daemon = {
	.name = "modelmq-predictor", .summary = "Answers predict requests from mapped models. One compute thread: run one per core.",
	.options = options, .check = check, .start = start, .loop = loop, .stop = stop,
};
