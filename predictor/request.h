/* request.h: one predict request on its way through the predictor: read once its model is there, answered once.
 *
 * Its memory (frame, partial results, answer) is kept and reused by later requests. */
#ifndef PREDICTOR_REQUEST_H
#define PREDICTOR_REQUEST_H

#include "model/model.h"
#include "predictor/cache.h"
#include "wire/peek.h"
#include "wire/request.h"
#include "work/work.h"

/* Results of a request that takes several engine calls; each array is made for the whole request when first needed. */
struct mmq_partial {
	uint32_t *label, *leaf;
	double *value, *probability, *score, *contribution, *contribution_error, *base;
};

struct mmq_request {
	struct mmq_work_item *item;        /* owned until answered or dropped; item->user is this request */
	struct mmq_cached *entry;          /* held */
	struct mmq_request *next;
	bool is_read;
	struct mmq_head head;
	struct mmq_predict_options options;
	bool as_tensor;
	struct mmq_frame frame;
	struct mmq_row_errors bad;
	size_t rows, done;
	bool failed;                       /* its rows could not be prepared: err says why */
	struct mmq_err err;
	unsigned wanted;
	struct mmq_partial partial;
	struct mmq_prediction sum;         /* points into partial */
	struct mmq_buf answer;
	int64_t begun_us;                  /* first engine call */
	int64_t service_us;                /* its share of engine calls */
};

struct mmq_request *mmq_request_new(void);
void mmq_request_destroy(struct mmq_request **request);
void mmq_request_reset(struct mmq_request *request);   /* memory kept */

/* Read the client's map against the model: values into frame, outputs wanted. */
int mmq_request_read(struct mmq_request *request, struct mmq_err *err);

/* The values of a csv or jsonl payload. */
int mmq_payload_read(struct mmq_request *request, struct mmq_err *err);

/* Add the rows `from` .. of a joined result as the rows done.. of this request's. RESOURCE_EXHAUSTED. */
int mmq_request_collect(struct mmq_request *request, const struct mmq_prediction *part, size_t from, size_t count, struct mmq_err *err);
/* The rows from .. from + count of a joined result, borrowed. */
struct mmq_prediction mmq_prediction_slice(const struct mmq_prediction *whole, size_t from, size_t count);

/* Answer and give up the item. prediction has one row per row of the request. */
void mmq_request_answer(struct mmq_request *request, struct mmq_worker *worker, const struct mmq_prediction *prediction);
void mmq_request_refuse(struct mmq_request *request, struct mmq_worker *worker, const struct mmq_err *err, bool crashes_model);

#endif
