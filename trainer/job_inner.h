/* job_inner.h: one training from the inside: what the phases share. */
#ifndef TRAINER_JOB_INNER_H
#define TRAINER_JOB_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "convert/convert.h"
#include "data/frame.h"
#include "data/metric.h"
#include "data/schema.h"
#include "data/source.h"
#include "data/split.h"
#include "data/target.h"
#include "math/pool.h"
#include "model/model.h"
#include "mpack/map.h"
#include "trainer/job.h"
#include "wire/peek.h"
#include "wire/request.h"

enum mmq_phase { MMQ_PHASE_READ, MMQ_PHASE_PREPARE, MMQ_PHASE_FIT, MMQ_PHASE_EVALUATE, MMQ_PHASE_PUBLISH, MMQ_PHASES };

/* Where some rows came from, for the card. */
struct mmq_job_source {
	char *file;                            /* NULL: they came with the request */
	uint8_t hash[MMQ_SOURCE_HASH_BYTES];
	size_t rows;
};

/* Drop of the score when a column is shuffled, over the repeats. */
struct mmq_importance { double mean, deviation; };

struct mmq_phase_row;

struct mmq_job {
	struct mmq_work_item *item;
	char id[MMQ_JOB_ID_CHARS + 1];         /* the broker's of a training; of the request's id for a store operation: the same in every attempt */
	char tenant[65];                       /* the item's, which is gone when the job was answered and is destroyed */
	bool is_training;
	const struct mmq_phase_row *phases;
	size_t phases_count;
	struct mmq_job_options options;

	/* Shared between the two threads, under lock. */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t answered;
	struct mmq_buf progress;               /* one packed map; size 0: nothing new */
	bool ask_is_new, ask_is_answered;
	enum mmq_grant_kind ask_kind;
	uint32_t ask_above, ask_number;
	struct mmq_err ask_err;
	bool is_done, is_handed_back;
	atomic_ullong checkpoints;
	atomic_int cancel_code;                /* enum mmq_code; MMQ_OK: go on */

	/* The compute thread's own. */
	struct mmq_checkpoint checkpoint;
	struct mmq_container *left;            /* of an earlier attempt; NULL: none */
	int64_t checkpoint_us;                 /* when the last one was written */
	enum mmq_phase phase;
	double phase_done;                     /* 0..1 of this phase */
	int64_t begun_us, phase_begun_us, reported_us;
	int64_t phase_ms[MMQ_PHASES];
	struct mmq_head head;
	struct mmq_train_request request;
	struct mmq_model *previous;            /* warm start goes on from it; NULL: none */
	char previous_name[MMQ_NAME_MAX + 1];
	uint32_t previous_version;
	struct mmq_frame frame, test_frame;    /* test_frame is used when the request brings its own test rows */
	struct mmq_job_source source, test_source;
	struct mmq_schema schema;              /* of the whole frame, roles included */
	char *target;                          /* NULL: one-class */
	enum mmq_task task;
	bool task_is_inferred;
	char task_why[128];
	struct mmq_classes classes;
	uint32_t positive;
	double *y, *test_y;                    /* (rows) class codes or values; one-class: NULL */
	float *weight;                         /* (rows); NULL: all 1 */
	struct mmq_split_spec split_spec;
	struct mmq_split split;
	const struct mmq_engine *engine;
	struct mmq_params *params;
	struct mmq_pool *pool;
	struct mmq_model *model;
	struct mmq_buf warnings;               /* one a line */
	struct mmq_metrics test, valid, train; /* rows 0: not measured */
	struct mmq_buf gates;                  /* packed list of what was held against the metrics; size 0: none asked for */
	struct mmq_importance *importance;     /* (the model's fields); NULL: not asked for */
	double importance_score;               /* of the rows as they are */
	size_t importance_rows, calibrated_on; /* rows */
	bool calibrated_by_folds;
	double fit_fraction_from, fit_fraction_to; /* which part of the phase the fit that runs now is: several with folds and refit */
	uint32_t version;
	char alias[MMQ_NAME_MAX + 1];          /* "" : none */
	const struct mmq_converter *converter; /* import and export */
	size_t source_bytes;                   /* import: of the file */
	struct mmq_buf result;                 /* what the answer shows */
	struct mmq_err err;
};

/* job.c */
bool mmq_job_report(struct mmq_job *job, double phase_done, const struct mmq_progress_state *fit); /* false: stop now */
int mmq_job_check_cancel(struct mmq_job *job, struct mmq_err *err);   /* -1 with the code that cancel brought */
/* Ask the broker for a number and wait for it. */
int mmq_job_ask(struct mmq_job *job, enum mmq_grant_kind kind, uint32_t above, uint32_t *number_out, struct mmq_err *err);

/* The phases, in order. */
int mmq_job_read(struct mmq_job *job, struct mmq_err *err);       /* job_read.c: request, files, schema, target */
int mmq_job_prepare(struct mmq_job *job, struct mmq_err *err);    /* job_prepare.c: parameters, split, weights */
int mmq_job_fit(struct mmq_job *job, struct mmq_err *err);        /* job_fit.c */
int mmq_job_evaluate(struct mmq_job *job, struct mmq_err *err);   /* job_evaluate.c: metrics, gates, refit */
int mmq_job_publish(struct mmq_job *job, struct mmq_err *err);    /* job_publish.c: card, version, alias, result */
/* Of model.import: read, publish; of model.export: the one. */
int mmq_job_import(struct mmq_job *job, struct mmq_err *err);     /* job_import.c */
int mmq_job_import_publish(struct mmq_job *job, struct mmq_err *err);
int mmq_job_export(struct mmq_job *job, struct mmq_err *err);     /* job_export.c */

int mmq_job_publish_version(struct mmq_job *job, struct mmq_err *err);  /* job_publish.c: card, version, alias */

/* job_warm.c: what a warm start settles; each does nothing without one. In this order: open the version; its columns into the schema before data is
 * read; are they in the data; the task (only with one); columns that it does not have. */
int mmq_job_warm_open(struct mmq_job *job, struct mmq_err *err);
int mmq_job_warm_schema(struct mmq_job *job, struct mmq_err *err);
int mmq_job_warm_columns(const struct mmq_job *job, struct mmq_err *err);
int mmq_job_warm_task(struct mmq_job *job, struct mmq_err *err);
void mmq_job_warm_extra(struct mmq_job *job);

/* job_checkpoint.c: begin once the engine is known; end when the job is over. left: what to resume from, NULL: nothing. */
void mmq_job_checkpoint_begin(struct mmq_job *job);
const struct mmq_part *mmq_job_checkpoint_left(const struct mmq_job *job);
void mmq_job_checkpoint_end(struct mmq_job *job);

/* job_fit.c: one fit on these rows; progress covers from..to of the phase. plain: not calibrated. */
int mmq_job_fit_plain(struct mmq_job *job, struct mmq_model **model_out, const uint32_t *rows, size_t rows_count, const uint32_t *valid,
    size_t valid_count, double from, double to, struct mmq_err *err);
int mmq_job_fit_rows(struct mmq_job *job, struct mmq_model **model_out, const uint32_t *rows, size_t rows_count, const uint32_t *valid,
    size_t valid_count, double from, double to, struct mmq_err *err);
/* job_evaluate.c: metrics of a model on these rows of frame (all if rows == NULL); y and weight are by frame row. */
int mmq_job_measure(struct mmq_job *job, const struct mmq_model *model, const struct mmq_frame *frame, const double *y, const float *weight,
    const uint32_t *rows, size_t rows_count, struct mmq_metrics *out, struct mmq_err *err);
/* job_calibrate.c: as the request asks, on valid or (valid_count 0) by folds of rows. */
int mmq_job_calibrate(struct mmq_job *job, struct mmq_model *model, const uint32_t *rows, size_t rows_count, const uint32_t *valid, size_t valid_count,
    double from, double to, struct mmq_err *err);
/* job_importance.c: if the request asks for it. */
int mmq_job_importance(struct mmq_job *job, struct mmq_err *err);
void mmq_job_put_importance(const struct mmq_job *job, struct mmq_buf *out);
/* job_card.c: the card as a msgpack map; the result as the answer shows it. */
void mmq_job_put_card(const struct mmq_job *job, struct mmq_buf *out);
void mmq_job_put_result(const struct mmq_job *job, struct mmq_buf *out);
void mmq_job_put_model(struct mmq_map *map, const struct mmq_model *model);  /* inputs, outputs, preparation, what the engine tells of itself */
void mmq_job_put_import_card(const struct mmq_job *job, struct mmq_buf *out); /* job_import.c */

#endif
