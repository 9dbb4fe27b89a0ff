/* model.h: preparation + engine + decision as one thing: fitted from a frame, kept in one file, asked for rows.
 *
 * A model's own schema holds its feature columns only, in the order in which requests bring them; target, weight, id and the
 * rest are the card's. An opened model borrows its mapped file and never writes: any number of threads may predict, each with
 * its own scratch. Predicting allocates nothing once the scratch is warm. */
#ifndef MMQ_MODEL_MODEL_H
#define MMQ_MODEL_MODEL_H

#include "data/frame.h"
#include "data/schema.h"
#include "engine/engine.h"
#include "model/calibrate.h"
#include "model/container.h"
#include "model/decide.h"
#include "prepare/prepare.h"
#include "util/buf.h"
#include "util/err.h"

struct mmq_model;

/* What to fit. All borrowed until mmq_model_fit returns; rows are indices into frame. */
struct mmq_model_fit {
	const struct mmq_engine *engine;
	const struct mmq_params *params;
	const struct mmq_frame *frame;
	const struct mmq_schema *schema;      /* of the whole frame; fields that are not features are passed over */
	enum mmq_task task;
	const struct mmq_classes *classes;    /* classification, or mmq_decide_one_class's */
	const double *y;                      /* (frame rows): class index, or the value; finite in the rows used; one-class: NULL */
	const float *weight;                  /* (frame rows) > 0; NULL: all 1 */
	const uint32_t *train_rows, *valid_rows;
	size_t train_count, valid_count;      /* valid_count 0: none */
	uint32_t positive;                    /* binary: index of the positive class, 0 or 1 */
	double threshold;                     /* binary: 0.5 unless the user says so */
	uint64_t seed;
	struct mmq_pool *pool;
	size_t memory_bytes_max;
	const struct mmq_progress *progress;
	const struct mmq_checkpoint *checkpoint; /* as in struct mmq_fit */
	const struct mmq_part *resume;
	struct mmq_buf *warnings;             /* one text per line is appended */
	const struct mmq_model *previous;     /* warm start: its preparation, features, classes and units are kept as they are, its engine goes on from
	                                       * its state. task and classes are its own, rows must fit it. NULL: from the start */
};

/* Fit the preparation on the training rows alone, then the engine. INVALID_ARGUMENT, FAILED_PRECONDITION (the engine cannot
 * do this task), CANCELLED. *model_out is the caller's. */
int mmq_model_fit(struct mmq_model **model_out, const struct mmq_model_fit *fit, struct mmq_err *err);
void mmq_model_destroy(struct mmq_model **model);

/* Give a model that classifies probabilities of its own, in two steps: what its curves take of rows of frame (whose columns are the model's schema's)
 * into inputs (rows_count, mmq_calibrate_cols), and the fit of the curves on such inputs, y (rows) as class indices. Before the model is shared. */
struct mmq_scratch;
int mmq_model_calibration_inputs(const struct mmq_model *model, const struct mmq_frame *frame, const uint32_t *rows, size_t rows_count,
    struct mmq_scratch *scratch, double *inputs, struct mmq_err *err);
int mmq_model_calibrate(struct mmq_model *model, enum mmq_calibration kind, const double *inputs, const double *y, const float *weight, size_t rows,
    struct mmq_err *err);
enum mmq_calibration mmq_model_calibration(const struct mmq_model *model);

/* Write the model file to fd (empty, at its start). Does not fsync. */
int mmq_model_save(const struct mmq_model *model, int fd, struct mmq_err *err);
/* The same from its pieces, for models that were not fitted here: the caller fills schema, prepare and decide between init and write. */
struct mmq_model_parts {
	const char *engine;
	const struct mmq_part *engine_part;    /* borrowed */
	struct mmq_part schema, prepare, decide, calibrate;
	bool has_calibrate;
};
void mmq_model_parts_init(struct mmq_model_parts *parts);
void mmq_model_parts_fini(struct mmq_model_parts *parts);
int mmq_model_parts_write(const struct mmq_model_parts *parts, int fd, struct mmq_err *err);
int mmq_model_save_engine(const struct mmq_model *model, struct mmq_part *out, struct mmq_err *err);   /* the engine's part alone */
/* Map, verify every hash, check everything. The descriptor may be closed. DATA_LOSS, FAILED_PRECONDITION. */
int mmq_model_open(struct mmq_model **model_out, int fd, struct mmq_err *err);

const struct mmq_engine *mmq_model_engine(const struct mmq_model *model);
const struct mmq_schema *mmq_model_schema(const struct mmq_model *model);     /* features only */
const struct mmq_decide *mmq_model_decide(const struct mmq_model *model);
const struct mmq_prepare *mmq_model_preparation(const struct mmq_model *model);
const char *mmq_model_contribution_method(const struct mmq_model *model);     /* NULL: it gives no contributions */
unsigned mmq_model_outputs(const struct mmq_model *model);                    /* OR of enum mmq_output that this model gives */
size_t mmq_model_columns(const struct mmq_model *model);                      /* columns of a contribution */
const char *const *mmq_model_column_names(const struct mmq_model *model);      /* (columns) */
size_t mmq_model_bytes(const struct mmq_model *model);                        /* of the mapped file; 0 when it was fitted here */
int mmq_model_describe(const struct mmq_model *model, struct mmq_part *out, struct mmq_err *err); /* what the engine tells of itself */

/* The model's feature columns of a larger frame, e.g. of training data. Cells are borrowed from frame; fini with mmq_frame_fini. */
int mmq_model_view(const struct mmq_schema *features, const struct mmq_frame *frame, struct mmq_frame *view_out, struct mmq_err *err);

enum { MMQ_WANT_PREDICTION = 256 };  /* beside the bits of enum mmq_output */

/* Answers by row. Arrays live in the scratch until its next use; what was not wanted is NULL. */
struct mmq_prediction {
	size_t rows, classes, score_cols, leaf_cols, columns;
	const uint32_t *label;       /* classification: (rows) index into the model's classes */
	const double *value;         /* regression: (rows), in the target's units */
	const double *probability;   /* (rows, classes) in class order */
	const double *score;         /* (rows, score_cols); regression: equal to value */
	const double *contribution;  /* (rows, score_cols, columns), summed to the model's columns */
	const double *contribution_error; /* as contribution; NULL: they are exact */
	const double *base;          /* (score_cols): base + the sum of a row's contributions = its score */
	const uint32_t *leaf;        /* (rows, leaf_cols) */
};

struct mmq_scratch;              /* memory for predicting; grows to what was needed, one per thread */
struct mmq_scratch *mmq_scratch_new(void);
void mmq_scratch_destroy(struct mmq_scratch **scratch);

/* FAILED_PRECONDITION naming the first output in `wanted` that this model does not give. */
int mmq_model_check_wanted(const struct mmq_model *model, unsigned wanted, struct mmq_err *err);

/* Rows of frame (all if rows == NULL), whose columns are the model's schema's, in its order -> out.
 * bad: as in mmq_prepare_apply; a bad row's answers are there but mean nothing. */
int mmq_model_predict(const struct mmq_model *model, const struct mmq_frame *frame, const uint32_t *rows, size_t rows_count, unsigned wanted,
    struct mmq_scratch *scratch, struct mmq_prediction *out, struct mmq_row_errors *bad, struct mmq_err *err);

/* The same in pieces, so that rows of several requests share one engine call: begin, add for each request, run. A failed
 * add leaves the batch as it was before. */
void mmq_model_begin(const struct mmq_model *model, struct mmq_scratch *scratch);
int mmq_model_add(const struct mmq_model *model, const struct mmq_frame *frame, const uint32_t *rows, size_t rows_count,
    struct mmq_scratch *scratch, struct mmq_row_errors *bad, struct mmq_err *err);
int mmq_model_run(const struct mmq_model *model, unsigned wanted, struct mmq_scratch *scratch, struct mmq_prediction *out, struct mmq_err *err);

#endif
