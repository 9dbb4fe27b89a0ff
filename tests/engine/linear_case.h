/* linear_case.h: formula data and fits that the tests of the linear engine share. What fails, fails the test. */
#ifndef TESTS_ENGINE_LINEAR_CASE_H
#define TESTS_ENGINE_LINEAR_CASE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

enum { LINEAR_ROWS = 60, LINEAR_COLS = 3, LINEAR_SETTINGS_MAX = 12 };

/* x_ij = sin(1.7 i + 2.3 j) + j / 10, y = 1.5 x_0 - 0.7 x_1 + 0.3 + cos(5.1 i), class: y > 0.3, weights 1 2 3 1 .. Made anew by each linear_formula. */
extern float linear_x[LINEAR_ROWS * LINEAR_COLS], linear_weight[LINEAR_ROWS];
extern double linear_y[LINEAR_ROWS], linear_class[LINEAR_ROWS];
struct mmq_dataset linear_formula(bool is_regression, bool is_weighted);

struct linear_how {
	const char *settings;        /* separated by spaces */
	const void *previous;
	const struct mmq_progress *progress;
	struct mmq_pool *pool;
};

/* NULL: refused, err says why. */
void *linear_fit(const struct mmq_dataset *data, const struct linear_how *how, struct mmq_err *err);

struct linear_answer {
	void *state;
	struct mmq_part part;
	const double *coef, *intercept;
	bool converged;
	int64_t iterations;
	const char *method;
};

struct linear_answer linear_fitted(const struct mmq_dataset *data, const char *settings, const void *previous);
void linear_answer_fini(struct linear_answer *a);

#endif
