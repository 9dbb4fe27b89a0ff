/* job.h: one training (read -> prepare -> fit -> evaluate -> publish), import or export in a compute thread.
 *
 * The compute thread never touches the worker's socket. What it needs from the socket thread it asks through this
 * interface: progress is left in one slot, the latest wins; a grant is asked for and waited for; the end is announced. Each of these
 * adds to the eventfd that the owner gave. */
#ifndef TRAINER_JOB_H
#define TRAINER_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"
#include "util/buf.h"
#include "util/err.h"
#include "work/work.h"

struct mmq_job_options {
	struct mmq_store *store;
	const char *const *folders;        /* where data files may be */
	size_t folders_count;
	unsigned threads_max;
	size_t memory_bytes_max;
	int niceness;
	int64_t checkpoint_ms;             /* between two checkpoints of a fit */
	int wake_fd;                       /* eventfd, the owner's */
};

struct mmq_job;

/* Start the thread. item is borrowed until destroy. */
struct mmq_job *mmq_job_start(struct mmq_work_item *item, const struct mmq_job_options *options);

uint64_t mmq_job_checkpoints(const struct mmq_job *job);  /* written so far, earlier attempts' counted */
/* Progress since the last call: one packed map into out; false: nothing new. */
bool mmq_job_take_progress(struct mmq_job *job, struct mmq_buf *out);
/* A number that the job waits for; true once per ask. */
bool mmq_job_take_ask(struct mmq_job *job, enum mmq_grant_kind *kind_out, uint32_t *above_out);
void mmq_job_grant(struct mmq_job *job, uint32_t number, enum mmq_code code, const char *message);
void mmq_job_cancel(struct mmq_job *job, enum mmq_code code);     /* stops within a second; the end comes as usual */
bool mmq_job_is_done(struct mmq_job *job);
bool mmq_job_is_handed_back(const struct mmq_job *job);            /* after the end: the lease was lost or this process leaves; another trainer goes on */

/* After the end: what to answer. bytes borrowed until destroy. version: what was published, 0 if nothing. */
void mmq_job_result(const struct mmq_job *job, struct mmq_work_result *result_out, const uint8_t **bytes_out, size_t *size_out);
struct mmq_work_item *mmq_job_item(const struct mmq_job *job);
void mmq_job_destroy(struct mmq_job **job);                       /* cancels and joins if it still runs; the process leaves if it does not stop */

#endif
