/* predict.c: rows -> prepared batch -> engine -> labels and values. All memory is the scratch's and is kept. */
#include "model/model_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

struct area {
	void *bytes;
	size_t size;
};

struct mmq_scratch {
	struct mmq_prepared one;           /* what is being added */
	struct mmq_batch joined;           /* rows of several requests; points into the areas below */
	struct area dense, codes, row_start, col, value;
	struct area score, probability, contribution, contribution_error, summed, summed_error, base, leaf, label, engine, curves;
};

struct mmq_scratch *
mmq_scratch_new(void)
{
	return mmq_alloc(sizeof(struct mmq_scratch));
}

void
mmq_scratch_destroy(struct mmq_scratch **scratch)
{
	struct mmq_scratch *s = *scratch;
	if (s == NULL)
		return;
	mmq_prepared_fini(&s->one);
	struct area *areas[] = { &s->dense, &s->codes, &s->row_start, &s->col, &s->value, &s->score, &s->probability, &s->contribution,
		&s->contribution_error, &s->summed, &s->summed_error, &s->base, &s->leaf, &s->label, &s->engine, &s->curves };
	for (size_t i = 0; i < sizeof(areas) / sizeof(*areas); i++)
		free(areas[i]->bytes);
	free(s);
	*scratch = NULL;
}

/* At least bytes of 64-byte aligned room; the first `keep` bytes survive growth. NULL: no memory. */
static void *
reserve(struct area *area, size_t bytes, size_t keep)
{
	if (bytes <= area->size && area->bytes != NULL)
		return area->bytes;
	size_t size = bytes < area->size * 2 ? area->size * 2 : bytes;
	void *fresh = mmq_try_aligned(size);
	if (fresh == NULL)
		return NULL;
	if (keep > 0)
		memcpy(fresh, area->bytes, keep);
	free(area->bytes);
	*area = (struct area){ .bytes = fresh, .size = size };
	return fresh;
}

/* a * b * c * size bytes, or NULL on overflow or lack of memory. */
static void *
reserve_array(struct area *area, size_t a, size_t b, size_t c, size_t size)
{
	size_t bytes;
	if (!mmq_size_mul(a, b, &bytes) || !mmq_size_mul(bytes, c, &bytes) || !mmq_size_mul(bytes, size, &bytes))
		return NULL;
	return reserve(area, bytes, 0);
}

int
mmq_model_check_wanted(const struct mmq_model *model, unsigned wanted, struct mmq_err *err)
{
	static const struct { unsigned bit; const char *name; } names[] = {
		{ MMQ_OUT_SCORE, "score" }, { MMQ_OUT_PROBABILITY, "probability" }, { MMQ_OUT_CONTRIBUTION, "contribution" },
		{ MMQ_OUT_LEAF, "leaf" }, { MMQ_OUT_INTERVAL, "interval" },
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if ((wanted & names[i].bit) && !(model->outputs & names[i].bit)) {
			char want[160];
			size_t length = (size_t)snprintf(want, sizeof(want), "prediction");
			for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++)
				if (model->outputs & names[k].bit)
					length += (size_t)snprintf(want + length, sizeof(want) - length, ", %s", names[k].name);
			return mmq_err_value(err, MMQ_FAILED_PRECONDITION, "want", want, "%s", names[i].name);
		}
	return 0;
}

/* Contributions of prepared features -> of the model's columns. */
static void
sum_to_columns(const struct mmq_model *model, size_t rows, const double *contribution, double *summed)
{
	size_t blocks = rows * model->score_cols;

	memset(summed, 0, blocks * model->columns * sizeof(*summed));
	for (size_t b = 0; b < blocks; b++)
		for (size_t f = 0; f < model->features_count; f++) {
			summed[b * model->columns + model->contribution_column[f]] += contribution[b * model->features_count + f];
		}
}

static int
reserve_outputs(const struct mmq_model *model, size_t rows, struct mmq_scratch *s, struct mmq_outputs *out, struct mmq_err *err)
{
	size_t classes = model->decide.classes.count;
	bool ok = true;

	if (out->wanted & MMQ_OUT_SCORE)
		ok = ok && (out->score = reserve_array(&s->score, rows, model->score_cols, 1, sizeof(double))) != NULL;
	if (out->wanted & MMQ_OUT_PROBABILITY)
		ok = ok && (out->probability = reserve_array(&s->probability, rows, classes, 1, sizeof(double))) != NULL;
	if (out->wanted & MMQ_OUT_CONTRIBUTION) {
		ok = ok && (out->contribution = reserve_array(&s->contribution, rows, model->score_cols, model->features_count, sizeof(double))) != NULL;
		ok = ok && (out->base = reserve_array(&s->base, model->score_cols, 1, 1, sizeof(double))) != NULL;
		ok = ok && reserve_array(&s->summed, rows, model->score_cols, model->columns, sizeof(double)) != NULL;
	}
	if ((out->wanted & MMQ_OUT_CONTRIBUTION) && model->is_sampled) {
		out->contribution_error = reserve_array(&s->contribution_error, rows, model->score_cols, model->features_count, sizeof(double));
		ok = ok && out->contribution_error != NULL && reserve_array(&s->summed_error, rows, model->score_cols, model->columns, sizeof(double)) != NULL;
	}
	if (out->wanted & MMQ_OUT_LEAF)
		ok = ok && (out->leaf = reserve_array(&s->leaf, rows, model->leaf_cols, 1, sizeof(uint32_t))) != NULL;
	ok = ok && reserve_array(&s->label, rows, 1, 1, sizeof(uint32_t)) != NULL;
	ok = ok && reserve(&s->engine, model->engine->scratch_bytes(model->state, rows, out->wanted), 0) != NULL;
	return ok ? 0 : mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "no memory for the outputs of %zu rows", rows);
}

/* From prepared features to columns and the target's units. Half widths of one column's features are added up: an upper bound, whatever
 * their errors have to do with each other. */
static void
decide_contribution(const struct mmq_model *model, struct mmq_scratch *s, const struct mmq_outputs *out, struct mmq_prediction *to)
{
	const struct mmq_decide *rule = &model->decide;
	double *sums[] = { s->summed.bytes, out->contribution_error != NULL ? s->summed_error.bytes : NULL };
	double scale = rule->task == MMQ_REGRESSION ? rule->scale : 1;

	sum_to_columns(model, to->rows, out->contribution, sums[0]);
	if (sums[1] != NULL)
		sum_to_columns(model, to->rows, out->contribution_error, sums[1]);
	for (int k = 0; k < 2 && sums[k] != NULL && scale != 1; k++)
		for (size_t i = 0; i < to->rows * model->columns; i++)
			sums[k][i] *= scale;
	if (rule->task == MMQ_REGRESSION)
		mmq_decide_values(rule, 1, out->base);
	to->contribution = sums[0];
	to->contribution_error = sums[1];
	to->base = out->base;
}

/* From the engine's numbers to the user's. */
static void
decide(const struct mmq_model *model, unsigned wanted, struct mmq_scratch *s, const struct mmq_outputs *out, struct mmq_prediction *to)
{
	const struct mmq_decide *rule = &model->decide;

	if (out->probability != NULL)
		mmq_decide_probability(rule, to->rows, out->probability);
	if (rule->task == MMQ_REGRESSION && out->score != NULL)
		mmq_decide_values(rule, to->rows, out->score);
	if (out->contribution != NULL)
		decide_contribution(model, s, out, to);
	if ((wanted & MMQ_WANT_PREDICTION) && rule->task == MMQ_REGRESSION)
		to->value = out->score;
	if ((wanted & MMQ_WANT_PREDICTION) && rule->task != MMQ_REGRESSION) {
		mmq_decide_labels(rule, to->rows, out->score, model->score_cols, out->probability, s->label.bytes);
		to->label = s->label.bytes;
	}
	to->score = wanted & MMQ_OUT_SCORE ? out->score : NULL;
	to->probability = wanted & MMQ_OUT_PROBABILITY ? out->probability : NULL;
	to->leaf = out->leaf;
}

/* The engine's scores through the model's curves. */
static int
calibrate(const struct mmq_model *model, size_t rows, struct mmq_scratch *s, struct mmq_outputs *out, struct mmq_err *err)
{
	double *inputs = reserve_array(&s->curves, rows, mmq_calibrate_cols(&model->decide), 1, sizeof(double));

	out->probability = reserve_array(&s->probability, rows, model->decide.classes.count, 1, sizeof(double));
	if (inputs == NULL || out->probability == NULL)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "no memory for the probabilities of %zu rows", rows);
	mmq_calibrate_inputs(&model->decide, rows, out->score, out->score_cols, inputs);
	mmq_calibrate_apply(&model->calibrate, rows, inputs, out->probability);
	return 0;
}

static int
run(const struct mmq_model *model, const struct mmq_batch *batch, unsigned wanted, struct mmq_scratch *s, struct mmq_prediction *to,
    struct mmq_err *err)
{
	struct mmq_outputs out = { .wanted = wanted & ~(unsigned)MMQ_WANT_PREDICTION, .score_cols = model->score_cols, .leaf_cols = model->leaf_cols };

	*to = (struct mmq_prediction){ .rows = batch->rows, .classes = model->decide.classes.count, .score_cols = model->score_cols,
		.leaf_cols = model->leaf_cols, .columns = model->columns };
	if (wanted & MMQ_WANT_PREDICTION)
		out.wanted |= model->outputs & MMQ_OUT_PROBABILITY ? MMQ_OUT_PROBABILITY : MMQ_OUT_SCORE;
	if (mmq_model_check_wanted(model, out.wanted, err) == -1)
		return -1;
	bool calibrates = model->calibrate.kind != MMQ_CALIBRATE_NONE && (out.wanted & MMQ_OUT_PROBABILITY);
	if (calibrates)
		out.wanted = (out.wanted & ~(unsigned)MMQ_OUT_PROBABILITY) | MMQ_OUT_SCORE;
	if (reserve_outputs(model, batch->rows, s, &out, err) == -1 || model->engine->predict(model->state, batch, &out, s->engine.bytes, err) == -1 ||
	    (calibrates && calibrate(model, batch->rows, s, &out, err) == -1))
		return -1;
	decide(model, wanted, s, &out, to);
	return 0;
}

int
mmq_model_predict(const struct mmq_model *model, const struct mmq_frame *frame, const uint32_t *rows, size_t rows_count, unsigned wanted,
    struct mmq_scratch *scratch, struct mmq_prediction *out, struct mmq_row_errors *bad, struct mmq_err *err)
{
	if (mmq_prepare_apply(model->prepare, frame, rows, rows == NULL ? frame->rows : rows_count, &scratch->one, bad, err) == -1)
		return -1;
	return run(model, &scratch->one.batch, wanted, scratch, out, err);
}

void
mmq_model_begin(const struct mmq_model *model, struct mmq_scratch *scratch)
{
	(void)model;
	scratch->joined = (struct mmq_batch){ 0 };
}

/* Append the dense block and codes of `from` to `to`; room was reserved. */
static void
append_dense(struct mmq_batch *to, const struct mmq_batch *from, uint8_t *dense, int32_t *codes)
{
	size_t cell = mmq_dtype_bytes(from->dtype), row_bytes = from->cols * cell;

	for (size_t r = 0; r < from->rows && from->cols > 0; r++)
		memcpy(dense + (to->rows + r) * row_bytes, (const uint8_t *)from->dense + r * from->stride * cell, row_bytes);
	if (from->codes_cols > 0)
		memcpy(codes + to->rows * from->codes_cols, from->codes, from->rows * from->codes_cols * sizeof(*codes));
}

static bool
join_dense(struct mmq_scratch *s, const struct mmq_batch *from)
{
	struct mmq_batch *to = &s->joined;
	size_t cell = mmq_dtype_bytes(from->dtype), rows = to->rows + from->rows;
	uint8_t *dense = reserve(&s->dense, rows * from->cols * cell, to->rows * from->cols * cell);
	int32_t *codes = reserve(&s->codes, rows * from->codes_cols * sizeof(*codes), to->rows * from->codes_cols * sizeof(*codes));

	if (dense == NULL || codes == NULL)
		return false;
	append_dense(to, from, dense, codes);
	*to = (struct mmq_batch){ .rows = rows, .cols = from->cols, .dtype = from->dtype, .dense = from->cols > 0 ? dense : NULL,
		.stride = from->cols, .codes = codes, .codes_cols = from->codes_cols };
	return true;
}

static bool
join_sparse(struct mmq_scratch *s, const struct mmq_batch *from)
{
	struct mmq_batch *to = &s->joined;
	size_t cell = mmq_dtype_bytes(from->dtype), rows = to->rows + from->rows;
	uint64_t had = to->rows > 0 ? to->row_start[to->rows] : 0, first = from->row_start[0], more = from->row_start[from->rows] - first;
	uint64_t *row_start = reserve(&s->row_start, (rows + 1) * sizeof(*row_start), to->rows > 0 ? (to->rows + 1) * sizeof(*row_start) : 0);
	uint32_t *col = reserve(&s->col, (had + more) * sizeof(*col), had * sizeof(*col));
	uint8_t *value = reserve(&s->value, (had + more) * cell, had * cell);
	int32_t *codes = reserve(&s->codes, rows * from->codes_cols * sizeof(*codes), to->rows * from->codes_cols * sizeof(*codes));

	if (row_start == NULL || col == NULL || value == NULL || codes == NULL)
		return false;
	for (size_t r = 0; r <= from->rows; r++)
		row_start[to->rows + r] = had + from->row_start[r] - first;
	memcpy(col + had, from->col + first, more * sizeof(*col));
	memcpy(value + had * cell, (const uint8_t *)from->value + first * cell, more * cell);
	if (from->codes_cols > 0)
		memcpy(codes + to->rows * from->codes_cols, from->codes, from->rows * from->codes_cols * sizeof(*codes));
	*to = (struct mmq_batch){ .rows = rows, .cols = from->cols, .dtype = from->dtype, .codes = codes, .codes_cols = from->codes_cols,
		.row_start = row_start, .col = col, .value = value };
	return true;
}

int
mmq_model_add(const struct mmq_model *model, const struct mmq_frame *frame, const uint32_t *rows, size_t rows_count,
    struct mmq_scratch *scratch, struct mmq_row_errors *bad, struct mmq_err *err)
{
	if (mmq_prepare_apply(model->prepare, frame, rows, rows == NULL ? frame->rows : rows_count, &scratch->one, bad, err) == -1)
		return -1;
	const struct mmq_batch *from = &scratch->one.batch;
	if (!(from->row_start != NULL ? join_sparse(scratch, from) : join_dense(scratch, from)))
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "no memory for %zu prepared rows", from->rows);
	return 0;
}

int
mmq_model_run(const struct mmq_model *model, unsigned wanted, struct mmq_scratch *scratch, struct mmq_prediction *out, struct mmq_err *err)
{
	return run(model, &scratch->joined, wanted, scratch, out, err);
}

int
mmq_model_calibration_inputs(const struct mmq_model *model, const struct mmq_frame *frame, const uint32_t *rows, size_t rows_count,
    struct mmq_scratch *scratch, double *inputs, struct mmq_err *err)
{
	struct mmq_prediction out;

	if (mmq_decide_engine_classes(&model->decide) < 2)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "calibrate", "a classification task", "%s", mmq_task_name(model->decide.task));
	if (mmq_model_predict(model, frame, rows, rows_count, MMQ_OUT_SCORE, scratch, &out, NULL, err) == -1)
		return -1;
	mmq_calibrate_inputs(&model->decide, out.rows, out.score, out.score_cols, inputs);
	return 0;
}
