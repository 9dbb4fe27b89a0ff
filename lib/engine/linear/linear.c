/* linear.c: the linear engine: ridge regression, logistic and softmax regression, all in double.
 *
 * A model is coefficients, intercepts and the training mean of each column (for contributions). Prediction sums each row on its own in
 * column order, so one row and a batch give the same bits. It has no L1 penalty. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "engine/linear/linear.h"
#include "util/mem.h"

enum { TASKS = MMQ_REGRESSION | MMQ_BINARY | MMQ_MULTICLASS };
enum { ACCEPTS = MMQ_ACCEPTS_SPARSE | MMQ_ACCEPTS_VECTOR | MMQ_ACCEPTS_F64 | MMQ_WANTS_SCALED | MMQ_WANTS_ONE_HOT };

struct state {
	size_t cols, outputs, features;
	uint32_t classes;
	const double *coef, *intercept, *mean;   /* (outputs, cols), (outputs), (cols) */
	const uint32_t *feature_of;              /* (cols) */
	double *by_col;                          /* (cols, outputs): coef turned, for more than one output */
	double *owned_numbers;                   /* what train allocated; NULL after open */
	uint32_t *owned_map;
	int64_t iterations;
	double loss;
	bool converged;
	char *method, *warning;
};

static const struct mmq_param params_table[] = {
	{ "alpha", "lambda l2_regularization", MMQ_P_NUMBER, "1.0", 0, 1e15, NULL, "Regression: L2 penalty on the coefficients (ridge).", 1e-4, 1e4 },
	{ "C", "inverse_regularization", MMQ_P_NUMBER, "1.0", 1e-12, 1e15, NULL, "Classes: inverse of the L2 penalty.", 1e-4, 1e4 },
	{ "fit_intercept", NULL, MMQ_P_BOOL, "true", 0, 0, NULL, "Fit an intercept, which is never penalised.", 0, 0 },
	{ "tol", "eps", MMQ_P_NUMBER, "0.0001", 1e-14, 1, NULL,
	    "Classes: stop when no gradient entry, divided by the sum of weights, is above tol. Wide regression: residual against the first.", 0, 0 },
	{ "max_iter", NULL, MMQ_P_INT, "100", 1, 1e7, NULL, "Most iterations (ten times as many for wide regression).", 0, 0 },
	{ NULL, NULL, MMQ_P_BOOL, NULL, 0, 0, NULL, NULL, 0, 0 },
};

static size_t
features_of(const struct mmq_dataset *data)
{
	return data->features != NULL ? data->features_count : data->x.cols;
}

static int
linear_check(const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_dataset *train = fit->train;
	bool is_regression = fit->task == MMQ_REGRESSION;
	if (mmq_check_fit(fit, TASKS, ACCEPTS, err) == -1)
		return -1;
	if (mmq_params_is_set(fit->params, is_regression ? "C" : "alpha"))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, is_regression ? "params.C" : "params.alpha", is_regression ? "alpha for regression" :
		    "C for classes", "%g", mmq_params_number(fit->params, is_regression ? "C" : "alpha"));
	if (train->features != NULL && mmq_check_feature_cols(train->features, train->features_count) != train->x.cols &&
	    train->features_count != train->x.cols)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "features", "features that cover the columns", "%zu features for %zu columns",
		    train->features_count, train->x.cols);
	size_t outputs = train->classes <= 2 ? 1 : train->classes, product;
	if (train->x.cols > INT32_MAX - 1 || !mmq_size_mul(outputs * 40, train->x.cols + 1, &product) || product > SIZE_MAX / 64)
		return mmq_err_value(err, MMQ_RESOURCE_EXHAUSTED, "x.cols", "fewer columns", "%zu", train->x.cols);
	if (fit->memory_bytes_max > 0 && product * sizeof(double) > fit->memory_bytes_max)
		return mmq_err_value(err, MMQ_RESOURCE_EXHAUSTED, "x.cols", "columns within the memory limit", "%zu", train->x.cols);
	return 0;
}

static void
linear_destroy(void **state_p)
{
	struct state *state = *state_p;
	if (state == NULL)
		return;
	free(state->by_col), free(state->owned_numbers), free(state->owned_map), free(state->method), free(state->warning);
	free(state);
	*state_p = NULL;
}

static void
turn_coef(struct state *state)
{
	if (state->outputs == 1)
		return;
	state->by_col = mmq_array(state->cols * state->outputs, sizeof(*state->by_col));
	for (size_t k = 0; k < state->outputs; k++)
		for (size_t j = 0; j < state->cols; j++)
			state->by_col[j * state->outputs + k] = state->coef[k * state->cols + j];
}

/* Weighted column means of the training rows, summed in row order. */
static void
find_means(const struct mmq_dataset *data, double *mean)
{
	double row_weight, sum = 0.0, *row = mmq_array(data->x.cols, sizeof(*row)), unused = 0.0;
	for (size_t r = 0; r < data->x.rows; r++) {
		row_weight = mmq_linear_weight(data, r);
		sum += row_weight;
		if (data->x.row_start != NULL) {
			mmq_linear_backward(&data->x, r, 1, &row_weight, 1, NULL, mean, &unused);
			continue;
		}
		mmq_linear_load(&data->x, r, 1, NULL, row, data->x.cols);
		for (size_t j = 0; j < data->x.cols; j++)
			mean[j] += row_weight * row[j];
	}
	for (size_t j = 0; j < data->x.cols; j++)
		mean[j] /= sum;
	free(row);
}

static void
map_features(const struct mmq_dataset *data, uint32_t *feature_of)
{
	size_t col = 0;
	if (data->features == NULL || features_of(data) == data->x.cols) {
		for (size_t j = 0; j < data->x.cols; j++)
			feature_of[j] = (uint32_t)j;
		return;
	}
	for (size_t f = 0; f < data->features_count; f++)
		for (size_t k = mmq_check_feature_cols(&data->features[f], 1); k > 0; k--)
			feature_of[col++] = (uint32_t)f;
}

static int
linear_train(void **state_out, const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_dataset *train = fit->train;
	*state_out = NULL;
	if (linear_check(fit, err) == -1)
		return -1;
	struct state *state = mmq_alloc(sizeof(*state));
	void *holder = state;
	size_t cols = train->x.cols, outputs = train->classes <= 2 ? 1 : train->classes;
	double *numbers = mmq_array((outputs + 1) * (cols + 1), sizeof(*numbers));
	struct mmq_linear_fit out = { .coef = numbers, .intercept = numbers + outputs * cols, .outputs = outputs, .cols = cols };

	*state = (struct state){ .cols = cols, .outputs = outputs, .features = features_of(train), .classes = train->classes, .owned_numbers = numbers,
		.coef = out.coef, .intercept = out.intercept, .mean = numbers + outputs * (cols + 1), .owned_map = mmq_array(cols, sizeof(uint32_t)) };
	state->feature_of = state->owned_map;
	int rc = fit->task == MMQ_REGRESSION ? mmq_linear_ridge(&out, fit, err) : mmq_linear_logistic(&out, fit, err);
	for (size_t i = 0; rc == 0 && i < outputs * (cols + 1); i++)
		if (!isfinite(numbers[i]))
			rc = mmq_err_value(err, MMQ_INVALID_ARGUMENT, "x", "values whose squares can be added in double", "a fit that overflowed");
	if (rc == -1) {
		linear_destroy(&holder);
		return -1;
	}
	find_means(train, numbers + outputs * (cols + 1));
	map_features(train, state->owned_map);
	state->iterations = out.iterations;
	state->loss = out.loss;
	state->converged = out.converged;
	state->method = mmq_strdup(out.method);
	state->warning = out.warning != NULL ? mmq_strdup(out.warning) : NULL;
	turn_coef(state);
	*state_out = state;
	return 0;
}

static int
linear_save(const void *state_p, struct mmq_part *out, struct mmq_err *err)
{
	const struct state *state = state_p;
	(void)err;
	mmq_part_put_int(out, "classes", state->classes);
	mmq_part_put_int(out, "features", (int64_t)state->features);
	mmq_part_put_int(out, "iterations", state->iterations);
	mmq_part_put_double(out, "loss", isfinite(state->loss) ? state->loss : 0.0);
	mmq_part_put_bool(out, "converged", state->converged);
	mmq_part_put_text(out, "method", state->method);
	if (state->warning != NULL)
		mmq_part_put_text(out, "warning", state->warning);
	mmq_part_put_matrix(out, "coef", MMQ_F64, state->outputs, state->cols, state->coef);
	mmq_part_put_vector(out, "intercept", MMQ_F64, state->outputs, state->intercept);
	mmq_part_put_vector(out, "mean", MMQ_F64, state->cols, state->mean);
	mmq_part_put_vector(out, "feature_of", MMQ_U32, state->cols, state->feature_of);
	return 0;
}

static int
open_values(struct state *state, const struct mmq_part *in, struct mmq_err *err)
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

static int
linear_open(void **state_out, const struct mmq_part *in, struct mmq_err *err)
{
	struct state *state = mmq_alloc(sizeof(*state));
	void *holder = state;
	*state_out = NULL;
	if (open_values(state, in, err) == -1) {
		linear_destroy(&holder);
		return -1;
	}
	turn_coef(state);
	*state_out = state;
	return 0;
}

static size_t
linear_score_cols(const void *state)
{
	return ((const struct state *)state)->outputs;
}

static size_t
linear_scratch_bytes(const void *state_p, size_t rows_max, unsigned wanted)
{
	const struct state *state = state_p;
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
score_row(const struct state *state, const struct mmq_batch *x, size_t r, double *row, double *score)
{
	size_t outputs = state->outputs;
	const double *coef = outputs == 1 ? state->coef : state->by_col;
	memcpy(score, state->intercept, outputs * sizeof(*score));
	if (x->row_start != NULL) {
		for (uint64_t e = x->row_start[r]; e < x->row_start[r + 1]; e++)
			for (size_t k = 0; k < outputs; k++)
				score[k] += entry_at(x, e) * coef[x->col[e] * outputs + k];
		return;
	}
	mmq_linear_load(x, r, 1, NULL, row, state->cols);
	if (outputs == 1) {                      /* four chains instead of one: the sum's latency is the cost */
		double sums[4] = { 0 };
		size_t j = 0;
		for (; j + 4 <= state->cols; j += 4)
			for (size_t k = 0; k < 4; k++)
				sums[k] += row[j + k] * coef[j + k];
		for (; j < state->cols; j++)
			sums[0] += row[j] * coef[j];
		score[0] += (sums[0] + sums[1]) + (sums[2] + sums[3]);
		return;
	}
	for (size_t j = 0; j < state->cols; j++)
		for (size_t k = 0; k < outputs; k++)
			score[k] += row[j] * coef[j * outputs + k];
}

static void
write_probability(const struct state *state, const double *score, double *p)
{
	double top = score[0], sum = 0.0;
	if (state->outputs == 1) {
		p[0] = 1.0 / (1.0 + exp(score[0]));
		p[1] = 1.0 / (1.0 + exp(-score[0]));
		return;
	}
	for (size_t k = 1; k < state->outputs; k++)
		top = score[k] > top ? score[k] : top;
	for (size_t k = 0; k < state->outputs; k++)
		sum += p[k] = exp(score[k] - top);
	for (size_t k = 0; k < state->outputs; k++)
		p[k] /= sum;
}

/* out (outputs, features) of one row: coef * (x - mean), columns of one feature added up. */
static void
write_contribution(const struct state *state, const struct mmq_batch *x, size_t r, double *row, double *out)
{
	memset(out, 0, state->outputs * state->features * sizeof(*out));
	mmq_linear_load(x, r, 1, state->mean, row, state->cols);
	for (size_t k = 0; k < state->outputs; k++)
		for (size_t j = 0; j < state->cols; j++)
			out[k * state->features + state->feature_of[j]] += state->coef[k * state->cols + j] * row[j];
}

static void
linear_shape(const void *state_p, struct mmq_state_shape *shape)
{
	const struct state *state = state_p;
	*shape = (struct mmq_state_shape){ .cols = state->cols, .classes = state->classes, .features = state->features };
}

static int
linear_predict(const void *state_p, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err)
{
	const struct state *state = state_p;
	double *row = scratch, *score = row + state->cols;
	if (mmq_check_batch(x, state->cols, 0, ACCEPTS, err) == -1)
		return -1;
	for (size_t r = 0; r < x->rows; r++) {
		score_row(state, x, r, row, score);
		if ((out->wanted & MMQ_OUT_SCORE) != 0)
			memcpy(out->score + r * out->score_cols, score, state->outputs * sizeof(*score));
		if ((out->wanted & MMQ_OUT_PROBABILITY) != 0 && state->classes > 0)
			write_probability(state, score, out->probability + r * state->classes);
		if ((out->wanted & MMQ_OUT_CONTRIBUTION) != 0)
			write_contribution(state, x, r, row, out->contribution + r * state->outputs * state->features);
	}
	for (size_t k = 0; (out->wanted & MMQ_OUT_CONTRIBUTION) != 0 && out->base != NULL && k < state->outputs; k++) {
		out->base[k] = state->intercept[k];
		for (size_t j = 0; j < state->cols; j++)
			out->base[k] += state->coef[k * state->cols + j] * state->mean[j];
	}
	return 0;
}

static const char *
linear_contribution_method(const void *state)
{
	(void)state;
	return "linear";
}

static int
linear_describe(const void *state_p, struct mmq_part *out, struct mmq_err *err)
{
	const struct state *state = state_p;
	(void)err;
	mmq_part_put_text(out, "method", state->method);
	mmq_part_put_int(out, "iterations", state->iterations);
	mmq_part_put_double(out, "loss", state->loss);
	mmq_part_put_bool(out, "converged", state->converged);
	mmq_part_put_doubles(out, "intercept", state->intercept, state->outputs);
	mmq_part_put_matrix(out, "coef", MMQ_F64, state->outputs, state->cols, state->coef);
	mmq_part_put_text(out, "precision", "double");
	if (state->warning != NULL)
		mmq_part_put_text(out, "warning", state->warning);
	return 0;
}

extern const struct mmq_engine mmq_engine_linear;
const struct mmq_engine mmq_engine_linear = {
	.abi = MMQ_ENGINE_ABI, .name = "linear", .summary = "Ridge regression; logistic and softmax regression with L2 penalty (double)",
	.tasks = TASKS, .accepts = ACCEPTS, .outputs = MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY | MMQ_OUT_CONTRIBUTION, .can = MMQ_CAN_WEIGHTS,
	.params = params_table, .check = linear_check, .train = linear_train, .save = linear_save, .open = linear_open,
	.score_cols = linear_score_cols, .shape = linear_shape, .scratch_bytes = linear_scratch_bytes, .predict = linear_predict,
	.contribution_method = linear_contribution_method, .describe = linear_describe,
	.destroy = linear_destroy,
};
