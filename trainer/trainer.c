/* trainer.c: the socket thread: it never computes, so leases are kept and cancel is heard during the longest fit. */
#include "trainer/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/mem.h"
#include "wire/peek.h"

enum { CLEAN_EVERY_MS = 60000, DELETE_GRACE_MS = 60000, TURN_MS = 1000 };

#define AT(member) offsetof(struct mmq_trainer, member)
static const struct mmq_option options[] = {
	{ "home", MMQ_OPTION_TEXT, AT(home), NULL, 0, 0, 0, "the service's folder: names the work endpoint and the store unless those are given" },
	{ "work", MMQ_OPTION_TEXT, AT(work), NULL, 0, 0, 0, "the broker's work endpoint, ipc://... or tcp://host:port" },
	{ "store", MMQ_OPTION_TEXT, AT(store_path), NULL, 0, 0, 0, "folder of the model store; default HOME/store" },
	{ "data", MMQ_OPTION_TEXT, AT(data), NULL, 0, 0, 0, "folders that training files may be in, separated by colons; none: inline data only" },
	{ "threads", MMQ_OPTION_COUNT, AT(threads), "0", 0, 1024, 0, "threads of one training at the most; 0: one per processor" },
	{ "memory", MMQ_OPTION_BYTES, AT(memory_bytes), "0", 0, INT64_MAX / 2, 0, "memory that one training may plan with; 0: no limit" },
	{ "nice", MMQ_OPTION_COUNT, AT(niceness), "10", 0, 19, 0, "niceness of the compute thread, so that predictions keep their latency" },
	{ "checkpoint-ms", MMQ_OPTION_COUNT, AT(checkpoint_ms), "30000", 0, 86400000, 0, "time between two checkpoints of a long fit" },
	{ "name", MMQ_OPTION_TEXT, AT(name), NULL, 0, 0, 0, "what this worker is called in status, at most 32 bytes; crashes are counted by it" },
	{ "key-file", MMQ_OPTION_TEXT, AT(key_file), NULL, 0, 0, 0, "this worker's secret certificate (CURVE)" },
	{ "server-key-file", MMQ_OPTION_TEXT, AT(server_key_file), NULL, 0, 0, 0, "the broker's public certificate (CURVE)" },
	{ .name = NULL },
};
#undef AT

static int
split_folders(struct mmq_trainer *self, struct mmq_err *err)
{
	self->data_copy = self->data == NULL ? NULL : mmq_strdup(self->data);
	for (char *rest = self->data_copy, *folder; rest != NULL && (folder = strsep(&rest, ":")) != NULL;) {
		if (*folder == '\0')
			continue;
		if (self->folders_count == MMQ_TRAINER_FOLDERS_MAX)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "data", "at most 16 folders", "more");
		self->folders[self->folders_count++] = folder;
	}
	return 0;
}

static int
start(void *arg, struct mmq_err *err)
{
	struct mmq_trainer *self = arg;

	if (mmq_place_find(&self->place, self->home, self->work, self->store_path, err) == -1 || split_folders(self, err) == -1 ||
	    mmq_store_open(&self->store, self->place.store, true, NULL, err) == -1)
		return -1;
	const struct mmq_worker_options worker = { .kind = MMQ_WORKER_TRAINER, .name = self->name, .endpoint = self->place.work, .build = "modelmq-trainer " MMQ_VERSION,
		.key_file = self->key_file, .server_key_file = self->server_key_file };
	if (mmq_worker_open(&self->worker, &worker, err) == -1)
		return -1;
	self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (self->wake_fd == -1 || mmq_worker_watch(self->worker, self->wake_fd) == -1 || mmq_worker_watch(self->worker, mmq_signal_fd()) == -1)
		return mmq_err_set(err, MMQ_INTERNAL, "a descriptor cannot be watched");
	mmq_worker_ready(self->worker, MMQ_WORK_TRAIN, 1);
	mmq_worker_ready(self->worker, MMQ_WORK_STORE, MMQ_STORE_WINDOW);
	return 0;
}

struct mmq_job *
mmq_trainer_job(struct mmq_trainer *self, struct mmq_work_item *item)
{
	const struct mmq_job_options how = { .store = self->store, .folders = self->folders, .folders_count = self->folders_count,
		.threads_max = self->threads > 0 ? (unsigned)self->threads : (unsigned)sysconf(_SC_NPROCESSORS_ONLN),
		.memory_bytes_max = (size_t)self->memory_bytes, .niceness = (int)self->niceness, .checkpoint_ms = self->checkpoint_ms, .wake_fd = self->wake_fd };

	struct mmq_head head;
	struct mmq_err ignored;
	bool has_trace = mmq_peek(&head, item->body, item->body_bytes, item->payload == NULL ? 1 : 2, &ignored) == 0 && head.trace.at != NULL &&
	    mmq_trace_is_plain(head.trace.at, head.trace.size);
	mmq_log(MMQ_LOG_INFO, "job", "op=%s job=%s tenant=%s model=%s attempt=%u state=started%s%.*s", item->op, item->job, item->tenant, item->model,
	    item->attempt, has_trace ? " trace=" : "", has_trace ? (int)head.trace.size : 0, has_trace ? head.trace.at : "");
	return mmq_job_start(item, &how);
}

static void
job_begin(struct mmq_trainer *self, struct mmq_work_item *item)
{
	if (self->job != NULL)  /* the broker keeps to the window; if it did not, another trainer can have it */
		mmq_worker_drop(self->worker, &item);
	else
		self->job = mmq_trainer_job(self, item);
}

void
mmq_trainer_job_end(struct mmq_trainer *self, struct mmq_job **job)
{
	struct mmq_work_item *item = mmq_job_item(*job);
	struct mmq_work_result result;
	const uint8_t *bytes;
	size_t size;

	mmq_job_result(*job, &result, &bytes, &size);
	mmq_log(MMQ_LOG_INFO, "job", "op=%s job=%s tenant=%s model=%s code=%s version=%u ms=%u", item->op, item->job, item->tenant, item->model,
	    mmq_code_name(result.code), result.version, result.service_us / 1000);
	if (result.version != 0)
		mmq_catalogue_report_model(self, item->tenant, item->model);
	if (mmq_job_is_handed_back(*job))
		mmq_worker_drop(self->worker, &item);
	else
		mmq_worker_answer(self->worker, &item, &result, bytes, size);
	mmq_job_destroy(job);
}

static void
job_turn(struct mmq_trainer *self)
{
	enum mmq_grant_kind kind;
	uint32_t above;
	struct mmq_buf info;
	uint64_t wakes;

	if (read(self->wake_fd, &wakes, sizeof(wakes)) == -1)
		return;
	mmq_side_jobs_turn(self);
	if (self->job == NULL)
		return;
	mmq_buf_init(&info, 1 << 16);
	if (mmq_job_take_progress(self->job, &info))
		mmq_worker_progress(self->worker, mmq_job_item(self->job), mmq_job_checkpoints(self->job), info.bytes, info.size);
	mmq_buf_fini(&info);
	if (mmq_job_take_ask(self->job, &kind, &above))
		mmq_worker_grant(self->worker, mmq_job_item(self->job), kind, above);
	if (mmq_job_is_done(self->job))
		mmq_trainer_job_end(self, &self->job);
}

static void
take_signal(struct mmq_trainer *self)
{
	enum mmq_signal signal = mmq_signal_take();

	if (signal == MMQ_SIGNAL_DRAIN && !self->draining) {
		/* A training can take hours: it goes back to the broker, which gives it to the next trainer. */
		mmq_log(MMQ_LOG_INFO, "drain", "held=%zu", mmq_worker_held(self->worker));
		self->draining = true;
		mmq_worker_ready(self->worker, MMQ_WORK_TRAIN, 0);
		mmq_worker_ready(self->worker, MMQ_WORK_STORE, 0);
		if (self->job != NULL)
			mmq_job_cancel(self->job, MMQ_UNAVAILABLE);
		mmq_side_jobs_leave(self);
	} else if (signal == MMQ_SIGNAL_LEAVE) {
		self->leaving = true;
	}
}

static void
take_cancel(struct mmq_trainer *self, const struct mmq_work_event *event)
{
	if (self->job != NULL && event->item == mmq_job_item(self->job))
		mmq_job_cancel(self->job, event->code);
	else if (!mmq_side_job_cancel(self, event->item, event->code))
		mmq_store_op_cancel(self, event->item);
}

static int
take_event(struct mmq_trainer *self, const struct mmq_work_event *event, struct mmq_err *err)
{
	switch (event->kind) {
	case MMQ_WORK_EVENT_WORK:
		if (event->item->kind == MMQ_WORK_TRAIN)
			job_begin(self, event->item);
		else
			mmq_store_op(self, event->item);
		break;
	case MMQ_WORK_EVENT_CANCEL:
		take_cancel(self, event);
		break;
	case MMQ_WORK_EVENT_GRANTED:
		if (!mmq_store_op_granted(self, event) && !mmq_side_job_granted(self, event) && self->job != NULL && event->item == mmq_job_item(self->job))
			mmq_job_grant(self->job, event->version, event->code, event->message);
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
			job_turn(self);
		break;
	case MMQ_WORK_EVENT_WELCOME:
		mmq_log(MMQ_LOG_INFO, "welcome", "work=%s", self->place.work);
		mmq_catalogue_report(self);
		break;
	case MMQ_WORK_EVENT_LOAD:
	case MMQ_WORK_EVENT_NONE:
		break;
	}
	return 0;
}

static void
clean_now_and_then(struct mmq_trainer *self)
{
	struct mmq_err err;
	int64_t now_us = mmq_clock_mono_us();

	if (self->clean_at_us == 0)
		self->clean_at_us = now_us;
	if (now_us < self->clean_at_us)
		return;
	self->clean_at_us = now_us + (int64_t)CLEAN_EVERY_MS * 1000;
	if (mmq_store_clean(self->store, DELETE_GRACE_MS, &err) == -1)
		mmq_log(MMQ_LOG_WARN, "clean", "code=%s error=\"%s\"", mmq_code_name(err.code), err.message);
	/* Two trainers that report at the same moment can hide each other's change; said again, it is put right. */
	mmq_catalogue_report(self);
}

static int
loop(void *arg, struct mmq_err *err)
{
	struct mmq_trainer *self = arg;
	struct mmq_work_event event;

	while (!self->leaving && !(self->draining && mmq_worker_held(self->worker) == 0)) {
		int got = mmq_worker_next(self->worker, TURN_MS, &event, err);
		if (got == -1 || (got == 1 && take_event(self, &event, err) == -1))
			return -1;
		clean_now_and_then(self);
	}
	mmq_worker_flush(self->worker);
	return 0;
}

static void
stop(void *arg)
{
	struct mmq_trainer *self = arg;

	if (self->job != NULL) {
		struct mmq_work_item *item = mmq_job_item(self->job);
		mmq_job_destroy(&self->job);
		mmq_worker_drop(self->worker, &item);
	}
	mmq_side_jobs_drop(self);
	mmq_store_ops_drop(self);
	mmq_worker_close(&self->worker);
	mmq_store_close(&self->store);
	if (self->wake_fd > 0)
		close(self->wake_fd);
	mmq_place_fini(&self->place);
	free(self->data_copy);
}

const struct mmq_daemon mmq_trainer_daemon = {
	.name = "modelmq-trainer", .summary = "Trains models one job at a time and serves the store's operations.",
	.options = options, .start = start, .loop = loop, .stop = stop,
};
