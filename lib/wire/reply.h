/* reply.h: answers as bytes. A struct says what an answer holds; the writer decides how it looks on the wire.
 *
 * Answers are appended to a struct mmq_buf; the caller looks at buf->failed once (the answer did not fit its maximum). */
#ifndef MMQ_WIRE_REPLY_H
#define MMQ_WIRE_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/frame.h"
#include "data/target.h"
#include "util/buf.h"
#include "util/err.h"
#include "wire/peek.h"
#include "wire/request.h"

/* {v, id, ok: true, ...}: begin announces `pairs` more pairs, which the caller puts. */
void mmq_reply_begin(struct mmq_buf *out, const struct mmq_head *head, size_t pairs);
/* The same when the number of pairs is known only at the end: returns the place for mmq_put_map_end(out, place, mmq_reply_pairs(head) + pairs). */
size_t mmq_reply_begin_open(struct mmq_buf *out, const struct mmq_head *head);
uint32_t mmq_reply_pairs(const struct mmq_head *head);  /* v, id, ok, and the request's trace if it has one */
enum { MMQ_REPLY_PAIRS = 3 };

/* {v, id, ok: false, error: {...}}. head may be NULL (id nil). */
void mmq_reply_error(struct mmq_buf *out, const struct mmq_head *head, const struct mmq_err *err);
/* A whole answer with the time it waited and the time its making took in front of its own pairs. */
void mmq_reply_timed(struct mmq_buf *out, const struct mmq_buf *answer, int64_t queue_us, int64_t service_us);
/* The error object alone: {code, message, field?, got?, want?, retryable, retry_after_ms?}. */
void mmq_reply_put_error(struct mmq_buf *out, const struct mmq_err *err);

/* Everything a predict answer shows. All borrowed. Arrays are by row; NULL: not asked for. */
struct mmq_predict_reply {
	const char *model;
	uint32_t version;
	struct mmq_text alias;                 /* by which the version was found; at == NULL: by number */
	const char *task;                      /* "regression", "binary", "multiclass" */
	size_t rows, score_cols, leaf_cols, columns;
	const struct mmq_classes *classes;     /* NULL: regression */
	int positive;                          /* binary: index of the class that a score > 0 means; -1: not binary */
	bool score_is_pairwise;                /* multiclass SVM: score columns are pairs of classes, named in score_names */
	const uint32_t *label;                 /* (rows) index into classes: the prediction */
	const double *value;                   /* (rows): the prediction of a regression */
	const double *probability;             /* (rows, classes) */
	const double *score;                   /* (rows, score_cols) */
	const double *interval;                /* (rows, 2) */
	const double *contribution;            /* (rows, score_cols, columns) */
	const double *base;                    /* (score_cols) */
	const double *contribution_error;      /* of a sampled method; NULL: exact */
	const char *contribution_method;       /* "treeshap", "linear", ... */
	const char *const *column_names;       /* (columns) */
	const uint32_t *leaf;                  /* (rows, leaf_cols) */
	const struct mmq_row_errors *row_errors; /* ascending rows; their outputs become nil (NaN in tensors); NULL or empty: none */
	struct mmq_raw row_ids;                /* as they came; at == NULL: none */
	bool as_tensor;
	int64_t queue_us, service_us;
};
void mmq_reply_predict(struct mmq_buf *out, const struct mmq_head *head, const struct mmq_predict_reply *reply);

/* The labels in class order, each of its own type. */
void mmq_reply_put_classes(struct mmq_buf *out, const struct mmq_classes *classes);

/* An answer with more pairs in front of its own, for the sink: out gets {extra..., answer's pairs...}. extra holds `pairs` keys and values
 * already packed. -1: answer is not a map. */
int mmq_reply_splice(struct mmq_buf *out, const struct mmq_buf *extra, uint32_t pairs, const void *answer, size_t answer_size, struct mmq_err *err);

/* The head of an answer that came from elsewhere: ok, and (if not ok) its error. -1: not an answer. */
int mmq_reply_read(const void *answer, size_t size, bool *ok_out, struct mmq_err *error_out, struct mmq_err *err);
/* An error object at the reader's place. -1: not one. */
int mmq_reply_read_error(struct mmq_err *error_out, struct mmq_reader *reader, struct mmq_err *err);

#endif
