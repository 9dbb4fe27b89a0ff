/* linear_case.c: see linear_case.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/engine/linear_case.h"

float linear_x[LINEAR_ROWS * LINEAR_COLS], linear_weight[LINEAR_ROWS];
double linear_y[LINEAR_ROWS], linear_class[LINEAR_ROWS];

static void
make_formula(void)
{
	for (size_t i = 0; i < LINEAR_ROWS; i++) {
		for (size_t j = 0; j < LINEAR_COLS; j++)
			linear_x[i * LINEAR_COLS + j] = (float)(sin(1.7 * (double)i + 2.3 * (double)j) + 0.1 * (double)j);
		linear_y[i] = 1.5 * (double)linear_x[i * LINEAR_COLS] - 0.7 * (double)linear_x[i * LINEAR_COLS + 1] + 0.3 + cos(5.1 * (double)i);
		linear_class[i] = linear_y[i] > 0.3 ? 1.0 : 0.0;
		linear_weight[i] = (float)(1 + i % 3);
	}
}

struct mmq_dataset
linear_formula(bool is_regression, bool is_weighted)
{
	make_formula();
	return (struct mmq_dataset){ .x = { .rows = LINEAR_ROWS, .cols = LINEAR_COLS, .dtype = MMQ_F32, .dense = linear_x, .stride = LINEAR_COLS }, .y = is_regression ? linear_y : linear_class,
		.classes = is_regression ? 0 : 2, .weight = is_weighted ? linear_weight : NULL };
}

void *
linear_fit(const struct mmq_dataset *data, const struct linear_how *how, struct mmq_err *err)
{
	const struct mmq_engine *engine = mmq_engine_find("linear");
	char text[256], *save = NULL;
	const char *settings[LINEAR_SETTINGS_MAX];
	size_t count = 0;
	struct mmq_params *params;
	void *state = NULL;
	snprintf(text, sizeof(text), "%s", how->settings);
	for (char *at = strtok_r(text, " ", &save); at != NULL; at = strtok_r(NULL, " ", &save)) {
		assert_true(count < LINEAR_SETTINGS_MAX);
		settings[count++] = at;
	}
	if (mmq_params_parse(&params, engine->params, settings, count, err) == -1)
		fail_msg("%s: %s", how->settings, err->message);
	struct mmq_fit fit = { .train = data, .task = data->classes == 0 ? MMQ_REGRESSION : data->classes == 2 ? MMQ_BINARY : MMQ_MULTICLASS, .params = params,
		.seed = 1, .previous = how->previous, .progress = how->progress, .pool = how->pool };
	engine->train(&state, &fit, err);
	mmq_params_destroy(&params);
	return state;
}

struct linear_answer
linear_fitted(const struct mmq_dataset *data, const char *settings, const void *previous)
{
	struct mmq_err err;
	struct linear_answer a = { .state = linear_fit(data, &(struct linear_how){ .settings = settings, .previous = previous }, &err) };
	if (a.state == NULL)
		fail_msg("%s: %s", settings, err.message);
	mmq_part_init(&a.part, true);
	assert_int_equal(mmq_engine_find("linear")->describe(a.state, &a.part, &err), 0);
	a.coef = mmq_part_find_tensor(&a.part, "coef")->data;
	a.intercept = mmq_part_find(&a.part, "intercept")->doubles;
	a.converged = mmq_part_find(&a.part, "converged")->i;
	a.iterations = mmq_part_find(&a.part, "iterations")->i;
	a.method = mmq_part_find(&a.part, "method")->texts[0];
	return a;
}

void
linear_answer_fini(struct linear_answer *a)
{
	mmq_engine_find("linear")->destroy(&a->state);
	mmq_part_fini(&a->part);
}
