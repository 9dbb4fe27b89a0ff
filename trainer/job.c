/* job.c: the compute thread's life: phases as a table, progress in one slot, questions to the socket thread. */
#include "trainer/job.h"

#include <math.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/log.h"
#include "mpack/map.h"
#include "trainer/job_inner.h"
#include "util/clock.h"
#include "util/mem.h"
#include "wire/peek.h"
#include "wire/reply.h"

enum { REPORT_EVERY_US = 100000, STUCK_MS = 5000, RESULT_BYTES_MAX = 4 << 20 };

/* share: about how much of a whole job a phase takes; only the fraction shown depends on it. */
struct mmq_phase_row {
	const char *name;
	double share;
	int (*run)(struct mmq_job *job, struct mmq_err *err);
};
static const struct mmq_phase_row train_phases[MMQ_PHASES] = {
	[MMQ_PHASE_READ] = { "read", 0.05, mmq_job_read },
	[MMQ_PHASE_PREPARE] = { "prepare", 0.02, mmq_job_prepare },
	[MMQ_PHASE_FIT] = { "fit", 0.85, mmq_job_fit },
	[MMQ_PHASE_EVALUATE] = { "evaluate", 0.06, mmq_job_evaluate },
	[MMQ_PHASE_PUBLISH] = { "publish", 0.02, mmq_job_publish },
};
static const struct mmq_phase_row import_phases[] = { { "read", 0.9, mmq_job_import }, { "publish", 0.1, mmq_job_import_publish } };
static const struct mmq_phase_row export_phases[] = { { "write", 1, mmq_job_export } };

static void
wake_owner(const struct mmq_job *job)
{
	uint64_t one = 1;
	if (write(job->options.wake_fd, &one, sizeof(one)) == -1)
		return;  /* full: the owner is awake already */
}

static void
put_progress(struct mmq_buf *out, const struct mmq_job *job, const struct mmq_progress_state *fit)
{
	double fraction = 0;
	for (int p = 0; p < (int)job->phase; p++)
		fraction += job->phases[p].share;
	fraction += job->phases[job->phase].share * job->phase_done;
	struct mmq_map map = mmq_map_begin(out);
	mmq_map_text(&map, "phase", job->phases[job->phase].name);
	mmq_map_double(&map, "fraction", fraction);
	if (fit != NULL && !isnan(fit->loss)) {
		mmq_map_double(&map, "loss", fit->loss);
		mmq_map_text(&map, "loss_name", fit->loss_name);
	}
	if (fit != NULL && !isnan(fit->valid_loss))
		mmq_map_double(&map, "valid_loss", fit->valid_loss);
	if (fit != NULL && fit->size > 0)
		mmq_map_int(&map, fit->size_name, fit->size);
	if (fit != NULL && fit->iteration > 0) {
		mmq_map_int(&map, "iteration", fit->iteration);
		if (fit->iterations_max > 0)
			mmq_map_int(&map, "iterations", fit->iterations_max);
	}
	/* What this phase took so far, stretched to its end; too early to tell below 2 %. */
	if (job->phase_done > 0.02)
		mmq_map_int(&map, "eta_ms", (int64_t)((double)(mmq_clock_mono_us() - job->phase_begun_us) / 1000 * (1 / job->phase_done - 1)));
	mmq_map_end(&map);
}

bool
mmq_job_report(struct mmq_job *job, double phase_done, const struct mmq_progress_state *fit)
{
	int64_t now_us = mmq_clock_mono_us();

	pthread_mutex_lock(&job->lock);
	job->phase_done = phase_done < 0 ? 0 : phase_done > 1 ? 1 : phase_done;
	if (now_us - job->reported_us >= REPORT_EVERY_US) {
		job->reported_us = now_us;
		mmq_buf_reset(&job->progress);
		put_progress(&job->progress, job, fit);
		wake_owner(job);
	}
	pthread_mutex_unlock(&job->lock);
	return atomic_load(&job->cancel_code) == MMQ_OK;
}

int
mmq_job_check_cancel(struct mmq_job *job, struct mmq_err *err)
{
	enum mmq_code code = (enum mmq_code)atomic_load(&job->cancel_code);

	if (code == MMQ_OK)
		return 0;
	return mmq_err_set(err, code, code == MMQ_CANCELLED ? "the training was cancelled" :
	    code == MMQ_DEADLINE_EXCEEDED ? "the training's deadline passed" : "the trainer had to stop");
}

int
mmq_job_ask(struct mmq_job *job, enum mmq_grant_kind kind, uint32_t above, uint32_t *number_out, struct mmq_err *err)
{
	int result = -1;

	pthread_mutex_lock(&job->lock);
	job->ask_kind = kind;
	job->ask_above = above;
	job->ask_is_new = true;
	job->ask_is_answered = false;
	wake_owner(job);
	while (!job->ask_is_answered && atomic_load(&job->cancel_code) == MMQ_OK)
		pthread_cond_wait(&job->answered, &job->lock);
	if (!job->ask_is_answered)
		mmq_job_check_cancel(job, err);
	else if (job->ask_err.code != MMQ_OK)
		*err = job->ask_err;
	else
		result = 0;
	*number_out = job->ask_number;
	pthread_mutex_unlock(&job->lock);
	return result;
}

static int
run_phases(struct mmq_job *job, struct mmq_err *err)
{
	for (size_t p = 0; p < job->phases_count; p++) {
		int64_t begun_us = mmq_clock_mono_us();
		pthread_mutex_lock(&job->lock);
		job->phase = (enum mmq_phase)p;
		job->phase_done = 0;
		job->phase_begun_us = begun_us;
		job->reported_us = 0;
		pthread_mutex_unlock(&job->lock);
		mmq_job_report(job, 0, NULL);
		if (mmq_job_check_cancel(job, err) == -1 || job->phases[p].run(job, err) == -1)
			return -1;
		job->phase_ms[p] = (mmq_clock_mono_us() - begun_us) / 1000;
	}
	return 0;
}

static void *
compute(void *arg)
{
	struct mmq_job *job = arg;
	struct mmq_err err = { 0 };

	/* On Linux niceness belongs to a thread: the socket thread keeps its own. */
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), job->options.niceness);
	if (run_phases(job, &err) == -1) {
		/* An engine that was told to stop says CANCELLED; the reason that was given to us is the truth. */
		if (err.code == MMQ_CANCELLED)
			mmq_job_check_cancel(job, &err);
		mmq_buf_reset(&job->result);
		if (job->is_training)
			mmq_reply_put_error(&job->result, &err);
		else
			mmq_reply_error(&job->result, &job->head, &err);
	}
	pthread_mutex_lock(&job->lock);
	job->is_handed_back = err.code != MMQ_OK && (atomic_load(&job->cancel_code) == MMQ_UNAVAILABLE || job->ask_err.code == MMQ_UNAVAILABLE);
	job->err = err;
	job->is_done = true;
	wake_owner(job);
	pthread_mutex_unlock(&job->lock);
	return NULL;
}

/* What the job is made of. A store operation has no job's id from the broker; its request's id does as well, since it is the idempotency key. */
static void
choose_phases(struct mmq_job *job)
{
	const struct mmq_work_item *item = job->item;
	bool is_import = strcmp(item->op, "model.import") == 0;
	uint8_t hash[16];
	crypto_generichash_state state;

	snprintf(job->tenant, sizeof(job->tenant), "%s", item->tenant);
	job->is_training = item->kind == MMQ_WORK_TRAIN;
	job->phases = job->is_training ? train_phases : is_import ? import_phases : export_phases;
	job->phases_count = job->is_training ? MMQ_PHASES : is_import ? 2 : 1;
	if (job->is_training) {
		snprintf(job->id, sizeof(job->id), "%s", item->job);
		return;
	}
	struct mmq_head head = { 0 };
	struct mmq_err ignored;
	(void)mmq_peek(&head, item->body, item->body_bytes, item->payload != NULL ? 2 : 1, &ignored);
	crypto_generichash_init(&state, NULL, 0, sizeof(hash));
	crypto_generichash_update(&state, (const uint8_t *)item->tenant, strlen(item->tenant) + 1);
	crypto_generichash_update(&state, (const uint8_t *)head.id.at, head.id.at != NULL ? head.id.size : 0);
	crypto_generichash_final(&state, hash, sizeof(hash));
	mmq_job_id_format(hash, job->id);
}

struct mmq_job *
mmq_job_start(struct mmq_work_item *item, const struct mmq_job_options *options)
{
	struct mmq_job *job = mmq_alloc(sizeof(*job));

	job->item = item;
	job->options = *options;
	job->begun_us = mmq_clock_mono_us();
	choose_phases(job);
	pthread_mutex_init(&job->lock, NULL);
	pthread_cond_init(&job->answered, NULL);
	mmq_buf_init(&job->progress, 1 << 16);
	mmq_buf_init(&job->warnings, 1 << 16);
	mmq_buf_init(&job->gates, 1 << 16);
	mmq_buf_init(&job->result, RESULT_BYTES_MAX);
	mmq_frame_init(&job->frame);
	mmq_frame_init(&job->test_frame);
	mmq_schema_init(&job->schema);
	if (pthread_create(&job->thread, NULL, compute, job) != 0) {
		fprintf(stderr, "modelmq-trainer: cannot start a thread\n");
		abort();
	}
	return job;
}

uint64_t
mmq_job_checkpoints(const struct mmq_job *job)
{
	return atomic_load(&job->checkpoints);
}

bool
mmq_job_take_progress(struct mmq_job *job, struct mmq_buf *out)
{
	pthread_mutex_lock(&job->lock);
	bool is_new = job->progress.size > 0;
	mmq_buf_append(out, job->progress.bytes, job->progress.size);
	mmq_buf_reset(&job->progress);
	pthread_mutex_unlock(&job->lock);
	return is_new;
}

bool
mmq_job_take_ask(struct mmq_job *job, enum mmq_grant_kind *kind_out, uint32_t *above_out)
{
	pthread_mutex_lock(&job->lock);
	bool is_new = job->ask_is_new;
	job->ask_is_new = false;
	*kind_out = job->ask_kind;
	*above_out = job->ask_above;
	pthread_mutex_unlock(&job->lock);
	return is_new;
}

void
mmq_job_grant(struct mmq_job *job, uint32_t number, enum mmq_code code, const char *message)
{
	pthread_mutex_lock(&job->lock);
	job->ask_number = number;
	job->ask_err = (struct mmq_err){ 0 };
	if (code != MMQ_OK)
		mmq_err_set(&job->ask_err, code, "%s", message);
	job->ask_is_answered = true;
	pthread_cond_signal(&job->answered);
	pthread_mutex_unlock(&job->lock);
}

void
mmq_job_cancel(struct mmq_job *job, enum mmq_code code)
{
	pthread_mutex_lock(&job->lock);
	int go_on = MMQ_OK;
	atomic_compare_exchange_strong(&job->cancel_code, &go_on, (int)code);  /* the first reason stays */
	pthread_cond_signal(&job->answered);
	pthread_mutex_unlock(&job->lock);
}

bool
mmq_job_is_done(struct mmq_job *job)
{
	pthread_mutex_lock(&job->lock);
	bool is_done = job->is_done;
	pthread_mutex_unlock(&job->lock);
	return is_done;
}

bool
mmq_job_is_handed_back(const struct mmq_job *job)
{
	return job->is_handed_back;
}

void
mmq_job_result(const struct mmq_job *job, struct mmq_work_result *result_out, const uint8_t **bytes_out, size_t *size_out)
{
	*result_out = (struct mmq_work_result){ .code = job->err.code, .rows = (uint32_t)job->split.train_count,
		.service_us = (uint32_t)((mmq_clock_mono_us() - job->begun_us) % UINT32_MAX), .version = job->version };
	*bytes_out = job->result.bytes;
	*size_out = job->result.size;
}

struct mmq_work_item *
mmq_job_item(const struct mmq_job *job)
{
	return job->item;
}

/* False: it hangs. */
static bool
ends_in_time(struct mmq_job *job)
{
	int64_t until_us = mmq_clock_mono_us() + (int64_t)STUCK_MS * 1000, left_us;
	uint64_t wakes;

	mmq_job_cancel(job, MMQ_UNAVAILABLE);
	while (!mmq_job_is_done(job) && (left_us = until_us - mmq_clock_mono_us()) > 0) {
		struct pollfd fd = { .fd = job->options.wake_fd, .events = POLLIN };
		if (poll(&fd, 1, (int)(left_us / 1000) + 1) == 1 && read(job->options.wake_fd, &wakes, sizeof(wakes)) == -1)
			continue;   /* somebody else took it: look again */
	}
	return mmq_job_is_done(job);
}

void
mmq_job_destroy(struct mmq_job **job_p)
{
	struct mmq_job *job = *job_p;

	if (job == NULL)
		return;
	/* A thread cannot be ended from outside, a process can: its supervisor starts another one. */
	if (!ends_in_time(job)) {
		mmq_log(MMQ_LOG_ERROR, "hang", "job=%s ms=%d error=\"the job does not stop; leaving without it\"", job->id, STUCK_MS);
		_exit(1);
	}
	pthread_join(job->thread, NULL);
	if (job->is_training)
		mmq_job_checkpoint_end(job);
	mmq_model_destroy(&job->model);
	mmq_model_destroy(&job->previous);
	mmq_pool_destroy(&job->pool);
	mmq_params_destroy(&job->params);
	mmq_split_fini(&job->split);
	mmq_classes_fini(&job->classes);
	mmq_schema_fini(&job->schema);
	mmq_frame_fini(&job->frame);
	mmq_frame_fini(&job->test_frame);
	free(job->source.file);
	free(job->test_source.file);
	free(job->target);
	free(job->y);
	free(job->test_y);
	free(job->weight);
	free(job->importance);
	mmq_buf_fini(&job->progress);
	mmq_buf_fini(&job->warnings);
	mmq_buf_fini(&job->gates);
	mmq_buf_fini(&job->result);
	pthread_mutex_destroy(&job->lock);
	pthread_cond_destroy(&job->answered);
	free(job);
	*job_p = NULL;
}
