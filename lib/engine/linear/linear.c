/* linear.c: the engine's table, and a fit from its check to its model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "engine/linear/gram.h"
#include "engine/linear/linear.h"
#include "engine/linear/model.h"
#include "util/mem.h"

enum { TASKS = MMQ_REGRESSION | MMQ_BINARY | MMQ_MULTICLASS };

static size_t
features_of(const struct mmq_dataset *data)
{
	return data->features != NULL ? data->features_count : data->x.cols;
}

static int
linear_check(const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_dataset *train = fit->train;
	if (mmq_check_fit(fit, TASKS, MMQ_LINEAR_ACCEPTS, err) == -1 || mmq_linear_check_params(fit, err) == -1)
		return -1;
	if (train->features != NULL && mmq_check_feature_cols(train->features, train->features_count) != train->x.cols &&
	    train->features_count != train->x.cols)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "features", "features that cover the columns", "%zu features for %zu columns",
		    train->features_count, train->x.cols);
	size_t outputs = train->classes <= 2 ? 1 : train->classes, product;
	if (train->x.cols > INT32_MAX - 1 || !mmq_size_mul(outputs * 80, train->x.cols + 1, &product) || product > SIZE_MAX / 64)
		return mmq_err_value(err, MMQ_RESOURCE_EXHAUSTED, "x.cols", "fewer columns", "%zu", train->x.cols);
	if (fit->memory_bytes_max > 0 && product * sizeof(double) > fit->memory_bytes_max)
		return mmq_err_value(err, MMQ_RESOURCE_EXHAUSTED, "x.cols", "columns within the memory limit", "%zu", train->x.cols);
	return 0;
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

/* An earlier model's coefficients are the start. */
static int
start_from(struct mmq_linear_fit *out, const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_linear_model *previous = fit->previous;
	if (previous == NULL)
		return 0;
	if (previous->cols != out->cols || previous->classes != fit->train->classes)
		return mmq_err_value(err, MMQ_FAILED_PRECONDITION, "previous", "a model of as many columns and classes", "%zu columns, %u classes", previous->cols,
		    (unsigned)previous->classes);
	memcpy(out->coef, previous->coef, out->outputs * out->cols * sizeof(double));
	memcpy(out->intercept, previous->intercept, out->outputs * sizeof(double));
	out->is_warm = true;
	return 0;
}

static void
find_means(const struct mmq_fit *fit, double *mean)
{
	const struct mmq_dataset *train = fit->train;
	const struct mmq_linear_problem p = { .fit = fit, .x = &train->x, .target = train->y, .weight = train->weight, .pool = fit->pool, .cols = train->x.cols,
		.with_intercept = true };
	struct mmq_linear_gram g;
	mmq_linear_gram_init(&g, &p);
	memcpy(mean, g.mean, p.cols * sizeof(*mean));
	mmq_linear_gram_fini(&g);
}

static int
linear_train(void **state_out, const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_dataset *train = fit->train;
	*state_out = NULL;
	if (linear_check(fit, err) == -1)
		return -1;
	struct mmq_linear_model *state = mmq_alloc(sizeof(*state));
	void *holder = state;
	size_t cols = train->x.cols, outputs = train->classes <= 2 ? 1 : train->classes;
	double *numbers = mmq_array((outputs + 1) * (cols + 1), sizeof(*numbers));
	struct mmq_linear_fit out = { .coef = numbers, .intercept = numbers + outputs * cols, .outputs = outputs, .cols = cols };

	*state = (struct mmq_linear_model){ .cols = cols, .outputs = outputs, .features = features_of(train), .classes = train->classes, .owned_numbers = numbers,
		.coef = out.coef, .intercept = out.intercept, .mean = numbers + outputs * (cols + 1), .owned_map = mmq_array(cols, sizeof(uint32_t)) };
	state->feature_of = state->owned_map;
	int rc = start_from(&out, fit, err) == -1 || mmq_linear_fit_all(&out, fit, &state->link, err) == -1 ? -1 : 0;
	for (size_t i = 0; rc == 0 && i < outputs * (cols + 1); i++)
		if (!isfinite(numbers[i]))
			rc = mmq_err_value(err, MMQ_INVALID_ARGUMENT, "x", "values whose squares can be added in double", "a fit that overflowed");
	if (rc == -1) {
		mmq_linear_destroy(&holder);
		return -1;
	}
	find_means(fit, numbers + outputs * (cols + 1));
	map_features(train, state->owned_map);
	state->iterations = out.iterations;
	state->loss = out.loss;
	state->gap = out.gap;
	state->converged = out.converged;
	state->method = mmq_strdup(out.method);
	state->loss_name = mmq_strdup(mmq_linear_loss_name(fit));
	state->warning = out.warning != NULL ? mmq_strdup(out.warning) : NULL;
	mmq_linear_model_turn(state);
	*state_out = state;
	return 0;
}

static const char *
contribution_method(const void *state)
{
	(void)state;
	return "linear";
}

extern const struct mmq_engine mmq_engine_linear;
const struct mmq_engine mmq_engine_linear = {
	.abi = MMQ_ENGINE_ABI, .name = "linear",
	.summary = "Ridge, lasso, elastic net; logistic and softmax regression; linear support vector machines (double)",
	.tasks = TASKS, .accepts = MMQ_LINEAR_ACCEPTS, .outputs = MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY | MMQ_OUT_CONTRIBUTION,
	.can = MMQ_CAN_WEIGHTS | MMQ_CAN_WARM_START, .params = mmq_linear_params, .check = linear_check, .train = linear_train, .save = mmq_linear_save,
	.open = mmq_linear_open, .score_cols = mmq_linear_score_cols, .shape = mmq_linear_shape, .gives = mmq_linear_gives,
	.contribution_method = contribution_method, .scratch_bytes = mmq_linear_scratch_bytes, .predict = mmq_linear_predict,
	.describe = mmq_linear_describe, .destroy = mmq_linear_destroy,
};
