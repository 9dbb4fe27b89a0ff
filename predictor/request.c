/* request.c: the client's map into a frame, joined results back into one request's, and its answer. */
#include "predictor/request.h"

#include <stdlib.h>
#include <string.h>

#include "util/clock.h"
#include "util/mem.h"
#include "wire/peek.h"
#include "wire/reply.h"
#include "wire/values.h"

enum { ANSWER_BYTES_MAX = 64 << 20, KEEP_BYTES_MAX = 1 << 20 };

struct mmq_request *
mmq_request_new(void)
{
	struct mmq_request *request = mmq_alloc(sizeof(*request));

	mmq_frame_init(&request->frame);
	mmq_buf_init(&request->answer, ANSWER_BYTES_MAX);
	return request;
}

static void
partial_fini(struct mmq_partial *partial)
{
	free(partial->label);
	free(partial->leaf);
	free(partial->value);
	free(partial->probability);
	free(partial->score);
	free(partial->contribution);
	free(partial->contribution_error);
	free(partial->base);
	*partial = (struct mmq_partial){ 0 };
}

void
mmq_request_destroy(struct mmq_request **request)
{
	if (*request == NULL)
		return;
	mmq_frame_fini(&(*request)->frame);
	mmq_row_errors_fini(&(*request)->bad);
	partial_fini(&(*request)->partial);
	mmq_buf_fini(&(*request)->answer);
	free(*request);
	*request = NULL;
}

void
mmq_request_reset(struct mmq_request *request)
{
	struct mmq_request kept = { .frame = request->frame, .bad = request->bad, .partial = request->partial, .answer = request->answer };

	/* What a rare large request needed is given back; what small ones need stays. */
	if (kept.frame.arena.used_bytes > KEEP_BYTES_MAX) {
		mmq_frame_fini(&kept.frame);
		mmq_frame_init(&kept.frame);
	} else
		mmq_frame_reset(&kept.frame);
	if (kept.answer.capacity > KEEP_BYTES_MAX)
		mmq_buf_fini(&kept.answer);
	mmq_buf_reset(&kept.answer);
	partial_fini(&kept.partial);
	kept.bad.count = 0;
	*request = kept;
}

static int
read_values(struct mmq_request *request, enum mmq_values_form *form_out, struct mmq_err *err)
{
	const struct mmq_work_item *item = request->item;
	const struct mmq_values_options options = { .schema = mmq_model_schema(request->entry->model),
		.extra_is_ignored = request->options.extra_is_ignored, .errors = request->options.report_row_errors ? &request->bad : NULL,
		.rows_max = MMQ_VALUES_ROWS_MAX, .cells_max = MMQ_VALUES_CELLS_MAX };
	const struct mmq_text payload = { (const char *)item->payload, (uint32_t)item->payload_bytes };

	switch (request->head.payload) {
	case MMQ_PAYLOAD_NONE:
	case MMQ_PAYLOAD_TENSOR:
		return mmq_values_read(&request->frame, form_out, item->body, item->body_bytes, item->payload != NULL ? &payload : NULL, &options, err);
	case MMQ_PAYLOAD_MSGPACK:
		if (mmq_wire_check(item->payload, item->payload_bytes, err) == -1)
			return -1;
		return mmq_values_read(&request->frame, form_out, item->payload, item->payload_bytes, NULL, &options, err);
	case MMQ_PAYLOAD_FILE:
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "payload", "tensor, csv, jsonl or msgpack", "'file'");
	default:
		return mmq_payload_read(request, err);
	}
}

int
mmq_request_read(struct mmq_request *request, struct mmq_err *err)
{
	const struct mmq_work_item *item = request->item;
	enum mmq_values_form form = MMQ_VALUES_NONE;

	request->is_read = true;
	if (mmq_peek(&request->head, item->body, item->body_bytes, item->payload != NULL ? 2 : 1, err) == -1 ||
	    mmq_predict_options_read(&request->options, item->body, item->body_bytes, err) == -1)
		return -1;
	/* The bits of enum mmq_ask are those of the model's outputs. */
	_Static_assert((int)MMQ_ASK_PREDICTION == (int)MMQ_WANT_PREDICTION && (int)MMQ_ASK_LEAF == (int)MMQ_OUT_LEAF, "one set of bits");
	request->wanted = request->options.want;
	if (mmq_model_check_wanted(request->entry->model, request->wanted, err) == -1 || read_values(request, &form, err) == -1)
		return -1;
	request->rows = request->frame.rows;
	request->as_tensor = request->options.reply_format == MMQ_REPLY_TENSOR ||
	    (request->options.reply_format == MMQ_REPLY_DEFAULT && form == MMQ_VALUES_TENSOR);
	if (request->options.row_ids.at != NULL && request->options.row_ids_count != request->rows)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "row_ids", "one id per row", "%u ids for %zu rows", request->options.row_ids_count,
		    request->rows);
	return 0;
}

struct mmq_prediction
mmq_prediction_slice(const struct mmq_prediction *whole, size_t from, size_t count)
{
	struct mmq_prediction part = *whole;

	part.rows = count;
	part.label = whole->label != NULL ? whole->label + from : NULL;
	part.value = whole->value != NULL ? whole->value + from : NULL;
	part.probability = whole->probability != NULL ? whole->probability + from * whole->classes : NULL;
	part.score = whole->score != NULL ? whole->score + from * whole->score_cols : NULL;
	part.contribution = whole->contribution != NULL ? whole->contribution + from * whole->score_cols * whole->columns : NULL;
	part.contribution_error = whole->contribution_error != NULL ? whole->contribution_error + from * whole->score_cols * whole->columns : NULL;
	part.leaf = whole->leaf != NULL ? whole->leaf + from * whole->leaf_cols : NULL;
	return part;
}

/* Copy count rows of `width` cells from part (if it is there) to row done of an array for rows rows, made at first. */
static int
collect_array(void **array, const void *part, size_t rows, size_t done, size_t count, size_t width, size_t cell)
{
	size_t bytes;

	if (part == NULL)
		return 0;
	if (*array == NULL) {
		if (!mmq_size_mul(rows, width, &bytes) || (*array = mmq_try_array(bytes, cell)) == NULL)
			return -1;
	}
	memcpy((uint8_t *)*array + done * width * cell, part, count * width * cell);
	return 0;
}

int
mmq_request_collect(struct mmq_request *request, const struct mmq_prediction *whole, size_t from, size_t count, struct mmq_err *err)
{
	const struct mmq_prediction part = mmq_prediction_slice(whole, from, count);
	struct mmq_partial *to = &request->partial;
	size_t rows = request->rows, done = request->done;

	if (collect_array((void **)&to->label, part.label, rows, done, count, 1, sizeof(*to->label)) == -1 ||
	    collect_array((void **)&to->value, part.value, rows, done, count, 1, sizeof(*to->value)) == -1 ||
	    collect_array((void **)&to->probability, part.probability, rows, done, count, part.classes, sizeof(*to->probability)) == -1 ||
	    collect_array((void **)&to->score, part.score, rows, done, count, part.score_cols, sizeof(*to->score)) == -1 ||
	    collect_array((void **)&to->contribution, part.contribution, rows, done, count, part.score_cols * part.columns,
	        sizeof(*to->contribution)) == -1 ||
	    collect_array((void **)&to->contribution_error, part.contribution_error, rows, done, count, part.score_cols * part.columns,
	        sizeof(*to->contribution_error)) == -1 ||
	    collect_array((void **)&to->base, part.base, 1, 0, 1, part.score_cols, sizeof(*to->base)) == -1 ||
	    collect_array((void **)&to->leaf, part.leaf, rows, done, count, part.leaf_cols, sizeof(*to->leaf)) == -1)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "no memory for the outputs of %zu rows", rows);
	request->done += count;
	request->sum = part;
	request->sum.rows = rows;
	request->sum.label = to->label;
	request->sum.value = to->value;
	request->sum.probability = to->probability;
	request->sum.score = to->score;
	request->sum.contribution = to->contribution;
	request->sum.contribution_error = to->contribution_error;
	request->sum.base = to->base;
	request->sum.leaf = to->leaf;
	return 0;
}

static int
compare_rows(const void *a, const void *b)
{
	size_t left = ((const struct mmq_row_error *)a)->row, right = ((const struct mmq_row_error *)b)->row;
	return left < right ? -1 : left > right;
}

/* Reading and preparing both report: one error per row, the first one found, in row order. */
static void
order_row_errors(struct mmq_row_errors *bad)
{
	size_t kept = 0;

	if (bad->count < 2)
		return;
	qsort(bad->items, bad->count, sizeof(*bad->items), compare_rows);
	for (size_t i = 0; i < bad->count; i++)
		if (kept == 0 || bad->items[i].row != bad->items[kept - 1].row)
			bad->items[kept++] = bad->items[i];
	bad->count = kept;
}

static void
send(struct mmq_request *request, struct mmq_worker *worker, enum mmq_code code, size_t rows, bool crashes_model)
{
	const struct mmq_work_result result = { .code = code, .rows = (uint32_t)rows, .service_us = (uint32_t)request->service_us,
		.version = code == MMQ_OK ? request->entry->version : 0, .crashes_model = crashes_model };

	mmq_worker_answer(worker, &request->item, &result, request->answer.bytes, request->answer.size);
}

/* By which name the version was found: none when the client gave its number. */
static struct mmq_text
alias_of(const struct mmq_head *head)
{
	return head->version != 0 || head->alias.at != NULL ? head->alias : (struct mmq_text){ "production", 10 };
}

void
mmq_request_answer(struct mmq_request *request, struct mmq_worker *worker, const struct mmq_prediction *prediction)
{
	const struct mmq_cached *entry = request->entry;
	const struct mmq_decide *decide = mmq_model_decide(entry->model);
	struct mmq_err err;

	order_row_errors(&request->bad);
	const struct mmq_predict_reply reply = {
		.model = entry->name, .version = entry->version, .alias = alias_of(&request->head), .task = mmq_task_name(decide->task),
		.rows = request->rows, .score_cols = prediction->score_cols, .leaf_cols = prediction->leaf_cols, .columns = prediction->columns,
		.classes = decide->task == MMQ_REGRESSION ? NULL : &decide->classes, .positive = decide->task == MMQ_BINARY ? (int)decide->positive : -1,
		.score_is_pairwise = decide->pairwise, .label = prediction->label, .value = prediction->value, .probability = prediction->probability,
		.score = prediction->score, .contribution = prediction->contribution, .base = prediction->base,
		.contribution_error = prediction->contribution_error, .contribution_method = mmq_model_contribution_method(entry->model),
		.column_names = mmq_model_column_names(entry->model), .leaf = prediction->leaf, .row_errors = &request->bad,
		.row_ids = request->options.row_ids, .as_tensor = request->as_tensor, .queue_us = request->item->queue_us + request->begun_us - request->item->arrived_us,
		.service_us = request->service_us,
	};
	mmq_reply_predict(&request->answer, &request->head, &reply);
	if (request->answer.failed) {
		mmq_err_set(&err, MMQ_RESOURCE_EXHAUSTED, "the answer is larger than %d MiB: ask for fewer rows at once", ANSWER_BYTES_MAX >> 20);
		mmq_request_refuse(request, worker, &err, false);
		return;
	}
	send(request, worker, MMQ_OK, request->rows, false);
}

void
mmq_request_refuse(struct mmq_request *request, struct mmq_worker *worker, const struct mmq_err *err, bool crashes_model)
{
	struct mmq_err ignored;
	struct mmq_buf plain;

	/* Refused before it was read, e.g. its model is missing: the id is wanted all the same. */
	if (!request->is_read)
		(void)mmq_peek(&request->head, request->item->body, request->item->body_bytes, request->item->payload != NULL ? 2 : 1, &ignored);
	mmq_buf_init(&plain, 1 << 16);
	mmq_reply_error(&plain, &request->head, err);
	mmq_buf_reset(&request->answer);
	mmq_reply_timed(&request->answer, &plain, request->item->queue_us + (mmq_clock_mono_us() - request->item->arrived_us) - request->service_us, request->service_us);
	mmq_buf_fini(&plain);
	send(request, worker, err->code, 0, crashes_model);
}
