/* side_jobs.c: model.import and model.export: store operations that take too long for the socket thread. Each runs in a thread of its own beside the
 * training, a few at a time; they ask for numbers and end as a training does. */
#include <stdlib.h>

#include "trainer/trainer.h"
#include "wire/peek.h"
#include "wire/reply.h"

enum { RETRY_MS = 500 };

static void
refuse(struct mmq_trainer *self, struct mmq_work_item *item)
{
	struct mmq_head head = { 0 };
	struct mmq_err err = { 0 }, ignored;
	struct mmq_buf out;

	mmq_buf_init(&out, 1 << 16);
	(void)mmq_peek(&head, item->body, item->body_bytes, item->payload != NULL ? 2 : 1, &ignored);
	mmq_err_set(&err, MMQ_RESOURCE_EXHAUSTED, "this trainer converts %d models at once already", MMQ_SIDE_JOBS_MAX);
	err.retry_after_ms = RETRY_MS;
	mmq_reply_error(&out, &head, &err);
	const struct mmq_work_result result = { .code = err.code };
	mmq_worker_answer(self->worker, &item, &result, out.bytes, out.size);
	mmq_buf_fini(&out);
}

void
mmq_side_job_begin(struct mmq_trainer *self, struct mmq_work_item *item)
{
	for (size_t i = 0; i < MMQ_SIDE_JOBS_MAX; i++)
		if (self->side_jobs[i] == NULL) {
			self->side_jobs[i] = mmq_trainer_job(self, item);
			return;
		}
	refuse(self, item);
}

void
mmq_side_jobs_turn(struct mmq_trainer *self)
{
	enum mmq_grant_kind kind;
	uint32_t above;

	for (size_t i = 0; i < MMQ_SIDE_JOBS_MAX; i++) {
		struct mmq_job *job = self->side_jobs[i];
		if (job == NULL)
			continue;
		if (mmq_job_take_ask(job, &kind, &above))
			mmq_worker_grant(self->worker, mmq_job_item(job), kind, above);
		if (mmq_job_is_done(job))
			mmq_trainer_job_end(self, &self->side_jobs[i]);
	}
}

static struct mmq_job *
find(const struct mmq_trainer *self, const struct mmq_work_item *item)
{
	for (size_t i = 0; i < MMQ_SIDE_JOBS_MAX; i++)
		if (self->side_jobs[i] != NULL && mmq_job_item(self->side_jobs[i]) == item)
			return self->side_jobs[i];
	return NULL;
}

bool
mmq_side_job_granted(struct mmq_trainer *self, const struct mmq_work_event *event)
{
	struct mmq_job *job = find(self, event->item);

	if (job != NULL)
		mmq_job_grant(job, event->version, event->code, event->message);
	return job != NULL;
}

bool
mmq_side_job_cancel(struct mmq_trainer *self, const struct mmq_work_item *item, enum mmq_code code)
{
	struct mmq_job *job = find(self, item);

	if (job != NULL)
		mmq_job_cancel(job, code);
	return job != NULL;
}

void
mmq_side_jobs_leave(struct mmq_trainer *self)
{
	for (size_t i = 0; i < MMQ_SIDE_JOBS_MAX; i++)
		if (self->side_jobs[i] != NULL)
			mmq_job_cancel(self->side_jobs[i], MMQ_UNAVAILABLE);
}

void
mmq_side_jobs_drop(struct mmq_trainer *self)
{
	for (size_t i = 0; i < MMQ_SIDE_JOBS_MAX; i++) {
		if (self->side_jobs[i] == NULL)
			continue;
		struct mmq_work_item *item = mmq_job_item(self->side_jobs[i]);
		mmq_job_destroy(&self->side_jobs[i]);
		mmq_worker_drop(self->worker, &item);
	}
}
