/* model.c: a fitted linear model: saving, opening, prediction, contributions.
 *
 * A model is coefficients, intercepts and the training mean of each column (for contributions). Prediction sums each row on its own in
 * column order, so one row and a batch give the same bits. */
#include "engine/linear/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "util/mem.h"

static const char *const link_names[] = { "none", "logistic", "softmax", "ratio" };

void
mmq_linear_destroy(void **state_p)
{
	struct mmq_linear_model *state = *state_p;
	if (state == NULL)
		return;
	free(state->by_col), free(state->owned_numbers), free(state->owned_map), free(state->method), free(state->warning),
	    free(state->loss_name);
	free(state);
	*state_p = NULL;
}

void
mmq_linear_model_turn(struct mmq_linear_model *state)
{
	if (state->outputs == 1)
		return;
	state->by_col = mmq_array(state->cols * state->outputs, sizeof(*state->by_col));
	for (size_t k = 0; k < state->outputs; k++)
		for (size_t j = 0; j < state->cols; j++)
			state->by_col[j * state->outputs + k] = state->coef[k * state->cols + j];
}

int
mmq_linear_save(const void *state_p, struct mmq_part *out, struct mmq_err *err)
{
	const struct mmq_linear_model *state = state_p;
	(void)err;
	mmq_part_put_int(out, "classes", state->classes);
	mmq_part_put_int(out, "features", (int64_t)state->features);
	mmq_part_put_int(out, "iterations", state->iterations);
	mmq_part_put_double(out, "loss", isfinite(state->loss) ? state->loss : 0.0);
	mmq_part_put_bool(out, "converged", state->converged);
	mmq_part_put_text(out, "method", state->method);
	mmq_part_put_text(out, "link", link_names[state->link]);
	mmq_part_put_text(out, "loss_name", state->loss_name);
	if (isfinite(state->gap))
		mmq_part_put_double(out, "gap", state->gap);
	if (state->warning != NULL)
		mmq_part_put_text(out, "warning", state->warning);
	mmq_part_put_matrix(out, "coef", MMQ_F64, state->outputs, state->cols, state->coef);
	mmq_part_put_vector(out, "intercept", MMQ_F64, state->outputs, state->intercept);
	mmq_part_put_vector(out, "mean", MMQ_F64, state->cols, state->mean);
	mmq_part_put_vector(out, "feature_of", MMQ_U32, state->cols, state->feature_of);
	return 0;
}

/* What files of earlier versions do not say: then it is logistic or softmax for classes. */
static int
open_link(struct mmq_linear_model *state, const struct mmq_part *in, struct mmq_err *err)
{
	const char *link = state->classes == 0 ? "none" : state->classes == 2 ? "logistic" : "softmax", *loss_name = "";
	bool is_known = false;
	state->gap = NAN;
	if ((mmq_part_find(in, "link") != NULL && mmq_part_get_text(in, "link", &link, err) == -1) ||
	    (mmq_part_find(in, "loss_name") != NULL && mmq_part_get_text(in, "loss_name", &loss_name, err) == -1) ||
	    (mmq_part_find(in, "gap") != NULL && mmq_part_get_double(in, "gap", &state->gap, err) == -1))
		return -1;
	for (int k = MMQ_LINK_NONE; k <= MMQ_LINK_RATIO; k++) {
		if (strcmp(link, link_names[k]) != 0)
			continue;
		state->link = (enum mmq_linear_link)k;
		is_known = k == MMQ_LINK_NONE || (k == MMQ_LINK_LOGISTIC ? state->classes == 2 : state->classes > 2);
	}
	state->loss_name = mmq_strdup(loss_name);
	return is_known ? 0 : mmq_err_set(err, MMQ_DATA_LOSS, "linear: link '%s' with %u classes is no model", link, (unsigned)state->classes);
}

static int
open_values(struct mmq_linear_model *state, const struct mmq_part *in, struct mmq_err *err)
{
	const struct mmq_tensor *coef, *intercept, *mean, *map;
	int64_t classes, features;
	const char *method, *warning = NULL;
	if (mmq_part_get_int(in, "classes", 0, INT32_MAX, &classes, err) == -1 ||
	    mmq_part_get_int(in, "features", 1, INT32_MAX, &features, err) == -1 ||
	    mmq_part_get_int(in, "iterations", 0, INT64_MAX, &state->iterations, err) == -1 ||
	    mmq_part_get_double(in, "loss", &state->loss, err) == -1 || mmq_part_get_bool(in, "converged", &state->converged, err) == -1 ||
	    mmq_part_get_text(in, "method", &method, err) == -1)
		return -1;
	if (classes == 1)
		return mmq_err_set(err, MMQ_DATA_LOSS, "linear: classes: got 1");
	if (mmq_part_find(in, "warning") != NULL && mmq_part_get_text(in, "warning", &warning, err) == -1)
		return -1;
	state->classes = (uint32_t)classes;
	state->features = (size_t)features;
	state->outputs = classes <= 2 ? 1 : (size_t)classes;
	if (open_link(state, in, err) == -1)
		return -1;
	uint64_t shape[2] = { state->outputs, UINT64_MAX }, outputs = state->outputs;
	if (mmq_part_get_tensor(in, "coef", MMQ_F64, 2, shape, &coef, err) == -1 ||
	    mmq_part_get_tensor(in, "intercept", MMQ_F64, 1, &outputs, &intercept, err) == -1 ||
	    mmq_part_get_tensor(in, "mean", MMQ_F64, 1, &coef->shape[1], &mean, err) == -1 ||
	    mmq_part_get_tensor(in, "feature_of", MMQ_U32, 1, &coef->shape[1], &map, err) == -1)
		return -1;
	state->cols = coef->shape[1];
	state->coef = coef->data;
	state->intercept = intercept->data;
	state->mean = mean->data;
	state->feature_of = map->data;
	if (state->cols == 0)
		return mmq_err_set(err, MMQ_DATA_LOSS, "linear: coef: no columns");
	for (size_t j = 0; j < state->cols; j++)
		if (state->feature_of[j] >= state->features)
			return mmq_err_set(err, MMQ_DATA_LOSS, "linear: feature_of: got %u of %zu features", (unsigned)state->feature_of[j],
			    state->features);
	state->method = mmq_strdup(method);
	state->warning = warning != NULL ? mmq_strdup(warning) : NULL;
	return 0;
}

int
mmq_linear_open(void **state_out, const struct mmq_part *in, struct mmq_err *err)
{
	struct mmq_linear_model *state = mmq_alloc(sizeof(*state));
	void *holder = state;
	*state_out = NULL;
	if (open_values(state, in, err) == -1) {
		mmq_linear_destroy(&holder);
		return -1;
	}
	mmq_linear_model_turn(state);
	*state_out = state;
	return 0;
}

size_t
mmq_linear_score_cols(const void *state)
{
	return ((const struct mmq_linear_model *)state)->outputs;
}

size_t
mmq_linear_scratch_bytes(const void *state_p, size_t rows_max, unsigned wanted)
{
	const struct mmq_linear_model *state = state_p;
	(void)rows_max;
	(void)wanted;
	return (state->cols + state->outputs) * sizeof(double);
}

static inline double
entry_at(const struct mmq_batch *x, uint64_t k)
{
	return x->dtype == MMQ_F32 ? (double)((const float *)x->value)[k] : ((const double *)x->value)[k];
}

/* score (outputs) of one row; row (cols) is its dense copy, unused for sparse rows. */
static void
score_row(const struct mmq_linear_model *state, const struct mmq_batch *x, size_t r, double *row, double *score)
{
	size_t outputs = state->outputs;
	const double *coef = state->by_col;
	if (outputs == 1) {
		mmq_linear_scores(x, r, 1, state->coef, state->intercept[0], score);
		return;
	}
	memcpy(score, state->intercept, outputs * sizeof(*score));
	if (x->row_start != NULL) {
		for (uint64_t e = x->row_start[r]; e < x->row_start[r + 1]; e++)
			for (size_t k = 0; k < outputs; k++)
				score[k] += entry_at(x, e) * coef[x->col[e] * outputs + k];
		return;
	}
	mmq_linear_load(x, r, 1, NULL, row, state->cols);
	for (size_t j = 0; j < state->cols; j++)
		for (size_t k = 0; k < outputs; k++)
			score[k] += row[j] * coef[j * outputs + k];
}

static void
write_probability(const struct mmq_linear_model *state, const double *score, double *p)
{
	double top = score[0], sum = 0.0;
	if (state->link == MMQ_LINK_LOGISTIC) {
		p[0] = 1.0 / (1.0 + exp(score[0]));
		p[1] = 1.0 / (1.0 + exp(-score[0]));
		return;
	}
	for (size_t k = 1; k < state->outputs; k++)
		top = score[k] > top ? score[k] : top;
	for (size_t k = 0; k < state->outputs; k++)
		sum += p[k] = state->link == MMQ_LINK_RATIO ? 1.0 / (1.0 + exp(-score[k])) : exp(score[k] - top);
	for (size_t k = 0; k < state->outputs; k++)
		p[k] = sum > 0.0 ? p[k] / sum : 1.0 / (double)state->outputs;
}

unsigned
mmq_linear_gives(const void *state_p)
{
	const struct mmq_linear_model *state = state_p;
	return MMQ_OUT_SCORE | MMQ_OUT_CONTRIBUTION | (state->link != MMQ_LINK_NONE ? MMQ_OUT_PROBABILITY : 0u);
}

/* out (outputs, features) of one row: coef * (x - mean), columns of one feature added up. */
static void
write_contribution(const struct mmq_linear_model *state, const struct mmq_batch *x, size_t r, double *row, double *out)
{
	memset(out, 0, state->outputs * state->features * sizeof(*out));
	mmq_linear_load(x, r, 1, state->mean, row, state->cols);
	for (size_t k = 0; k < state->outputs; k++)
		for (size_t j = 0; j < state->cols; j++)
			out[k * state->features + state->feature_of[j]] += state->coef[k * state->cols + j] * row[j];
}

void
mmq_linear_shape(const void *state_p, struct mmq_state_shape *shape)
{
	const struct mmq_linear_model *state = state_p;
	*shape = (struct mmq_state_shape){ .cols = state->cols, .classes = state->classes, .features = state->features };
}

int
mmq_linear_predict(const void *state_p, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err)
{
	const struct mmq_linear_model *state = state_p;
	double *row = scratch, *score = row + state->cols;
	if (mmq_check_batch(x, state->cols, 0, MMQ_LINEAR_ACCEPTS, err) == -1)
		return -1;
	if ((out->wanted & MMQ_OUT_PROBABILITY) != 0 && state->link == MMQ_LINK_NONE && state->classes > 0)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "linear: this model was trained with a loss that gives no probabilities");
	for (size_t r = 0; r < x->rows; r++) {
		score_row(state, x, r, row, score);
		if ((out->wanted & MMQ_OUT_SCORE) != 0)
			memcpy(out->score + r * out->score_cols, score, state->outputs * sizeof(*score));
		if ((out->wanted & MMQ_OUT_PROBABILITY) != 0 && state->link != MMQ_LINK_NONE)
			write_probability(state, score, out->probability + r * state->classes);
		if ((out->wanted & MMQ_OUT_CONTRIBUTION) == 0)
			continue;
		write_contribution(state, x, r, row, out->contribution + r * state->outputs * state->features);
		if (out->contribution_error != NULL)
			memset(out->contribution_error + r * state->outputs * state->features, 0, state->outputs * state->features * sizeof(double));
	}
	for (size_t k = 0; (out->wanted & MMQ_OUT_CONTRIBUTION) != 0 && out->base != NULL && k < state->outputs; k++) {
		out->base[k] = state->intercept[k];
		for (size_t j = 0; j < state->cols; j++)
			out->base[k] += state->coef[k * state->cols + j] * state->mean[j];
	}
	return 0;
}

int
mmq_linear_describe(const void *state_p, struct mmq_part *out, struct mmq_err *err)
{
	const struct mmq_linear_model *state = state_p;
	(void)err;
	mmq_part_put_text(out, "method", state->method);
	mmq_part_put_int(out, "iterations", state->iterations);
	mmq_part_put_double(out, "loss", state->loss);
	mmq_part_put_bool(out, "converged", state->converged);
	mmq_part_put_text(out, "loss_name", state->loss_name);
	if (isfinite(state->gap))
		mmq_part_put_double(out, "gap", state->gap);
	mmq_part_put_doubles(out, "intercept", state->intercept, state->outputs);
	mmq_part_put_matrix(out, "coef", MMQ_F64, state->outputs, state->cols, state->coef);
	mmq_part_put_text(out, "precision", "double");
	if (state->warning != NULL)
		mmq_part_put_text(out, "warning", state->warning);
	return 0;
}
