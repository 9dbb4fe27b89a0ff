/* job_checkpoint.c: leaves the fit's state in the store every so often, and finds what an earlier attempt of the job left.
 *
 * A checkpoint that cannot be written or read costs time, not the job: it is passed over with a line in the log. */
#include <stdlib.h>
#include <unistd.h>

#include "daemon/log.h"
#include "model/container.h"
#include "trainer/job_inner.h"
#include "util/clock.h"

struct pieces {
	const struct mmq_part *engine, *job;
};

static int
write_pieces(void *arg, int fd, struct mmq_err *err)
{
	const struct pieces *pieces = arg;
	const struct mmq_container_part parts[] = {
		{ .id = "fit", .kind = "fit", .name = "checkpoint", .version = 1, .part = pieces->engine },
		{ .id = "job", .kind = "job", .name = "checkpoint", .version = 1, .part = pieces->job },
	};
	return mmq_container_write(fd, parts, 2, err);
}

static bool
is_due(void *arg)
{
	const struct mmq_job *job = arg;
	return mmq_clock_mono_us() - job->checkpoint_us >= job->options.checkpoint_ms * 1000;
}

static void
write_checkpoint(void *arg, const struct mmq_part *part)
{
	struct mmq_job *job = arg;
	struct mmq_part own;
	struct mmq_err err;
	uint64_t number = atomic_load(&job->checkpoints) + 1;
	struct pieces pieces = { part, &own };

	mmq_part_init(&own, true);
	mmq_part_put_int(&own, "number", (int64_t)number);
	if (mmq_store_write_checkpoint(job->options.store, job->tenant, job->id, write_pieces, &pieces, &err) == -1)
		mmq_log(MMQ_LOG_WARN, "checkpoint", "job=%s error=\"%s\"", job->id, err.message);
	else
		atomic_store(&job->checkpoints, number);   /* told with the next progress */
	mmq_part_fini(&own);
	job->checkpoint_us = mmq_clock_mono_us();
}

void
mmq_job_checkpoint_begin(struct mmq_job *job)
{
	const struct mmq_container_part *own;
	struct mmq_err err;
	int64_t number = 0;
	int fd;

	job->checkpoint = (struct mmq_checkpoint){ is_due, write_checkpoint, job };
	job->checkpoint_us = mmq_clock_mono_us();
	if (!(job->engine->can & MMQ_CAN_CHECKPOINT) || mmq_store_open_checkpoint(job->options.store, job->tenant, job->id, &fd, &err) == -1)
		return;
	if (mmq_container_open(&job->left, fd, true, &err) == -1) {
		mmq_log(MMQ_LOG_WARN, "checkpoint", "job=%s error=\"%s\"", job->id, err.message);
	} else if ((own = mmq_container_find(job->left, "job")) != NULL && mmq_part_get_int(own->part, "number", 1, INT64_MAX, &number, &err) == 0) {
		atomic_store(&job->checkpoints, (uint64_t)number);
		mmq_log(MMQ_LOG_INFO, "checkpoint", "job=%s resume=%lld", job->id, (long long)number);
	}
	close(fd);
}

const struct mmq_part *
mmq_job_checkpoint_left(const struct mmq_job *job)
{
	const struct mmq_container_part *fit = job->left != NULL ? mmq_container_find(job->left, "fit") : NULL;
	return fit != NULL ? fit->part : NULL;
}

void
mmq_job_checkpoint_end(struct mmq_job *job)
{
	if (job->left != NULL)
		mmq_container_close(&job->left);
	if (!job->is_handed_back && atomic_load(&job->checkpoints) > 0)
		mmq_store_drop_checkpoint(job->options.store, job->tenant, job->id);
}
