/* trainer.h: the train worker: options and what lives as long as the process.
 *
 * The socket thread (the main loop) keeps leases, hears cancel, serves the store's and engines' operations at once and passes on
 * progress; the one job of the moment runs in a compute thread of its own (job.h). */
#ifndef TRAINER_TRAINER_H
#define TRAINER_TRAINER_H

#include "daemon/daemon.h"
#include "daemon/place.h"
#include "store/store.h"
#include "trainer/job.h"
#include "work/work.h"

enum { MMQ_TRAINER_FOLDERS_MAX = 16, MMQ_STORE_WINDOW = 64, MMQ_SIDE_JOBS_MAX = 4 };

struct mmq_trainer {
	/* Options. */
	char *home, *work, *store_path, *name, *data, *key_file, *server_key_file;
	int64_t threads, memory_bytes, niceness, checkpoint_ms;
	/* Alive between start and stop. */
	struct mmq_place place;
	const char *folders[MMQ_TRAINER_FOLDERS_MAX];   /* into data_copy */
	size_t folders_count;
	char *data_copy;
	struct mmq_store *store;
	struct mmq_worker *worker;
	int wake_fd;                          /* eventfd: a job has something for this thread */
	struct mmq_job *job;                  /* NULL: none */
	struct mmq_job *side_jobs[MMQ_SIDE_JOBS_MAX];   /* imports and exports; NULL: free */
	struct mmq_alias_op *alias_ops;       /* alias changes that wait for their generation */
	int64_t clean_at_us;
	bool draining, leaving;
};

extern const struct mmq_daemon mmq_trainer_daemon;

/* trainer.c: start a job for item; answer it after its end and forget it. */
struct mmq_job *mmq_trainer_job(struct mmq_trainer *self, struct mmq_work_item *item);
void mmq_trainer_job_end(struct mmq_trainer *self, struct mmq_job **job);

/* side_jobs.c: imports and exports. begin takes item. turn: after a wake. granted, cancel: true if it was one of them. leave: stop them, they end as
 * handed back; drop: at once. */
void mmq_side_job_begin(struct mmq_trainer *self, struct mmq_work_item *item);
void mmq_side_jobs_turn(struct mmq_trainer *self);
bool mmq_side_job_granted(struct mmq_trainer *self, const struct mmq_work_event *event);
bool mmq_side_job_cancel(struct mmq_trainer *self, const struct mmq_work_item *item, enum mmq_code code);
void mmq_side_jobs_leave(struct mmq_trainer *self);
void mmq_side_jobs_drop(struct mmq_trainer *self);

/* store_ops.c: answer a store or engine operation now, or (model.alias) after its grant. Takes item. */
void mmq_store_op(struct mmq_trainer *self, struct mmq_work_item *item);
/* GRANTED for an alias change that store_ops asked for; true if it was one of them. */
bool mmq_store_op_granted(struct mmq_trainer *self, const struct mmq_work_event *event);
/* The broker wants this item no more; true if it was an alias change. */
bool mmq_store_op_cancel(struct mmq_trainer *self, struct mmq_work_item *item);
void mmq_store_ops_drop(struct mmq_trainer *self);

/* engine_ops.c: the whole answer of engine.list and engine.get. */
struct mmq_head;
int mmq_engine_list_reply(struct mmq_buf *out, const struct mmq_head *head, struct mmq_err *err);
int mmq_engine_get_reply(struct mmq_buf *out, const struct mmq_head *head, const struct mmq_work_item *item, struct mmq_err *err);

/* catalogue.c: tell the broker which models, versions and aliases there are: all, or one model. */
void mmq_catalogue_report(struct mmq_trainer *self);
void mmq_catalogue_report_model(struct mmq_trainer *self, const char *tenant, const char *model);

#endif
