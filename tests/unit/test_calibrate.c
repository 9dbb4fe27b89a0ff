/* test_calibrate.c: isotonic curves are scikit-learn's, sigmoids find the sigmoid that made the data, several classes add up to 1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/rng.h"
#include "model/calibrate.h"
#include "util/mem.h"

static const struct mmq_decide binary = { .task = MMQ_BINARY, .classes = { .count = 2 }, .positive = 1 };

static double
at(const struct mmq_calibrate *calibrate, double x)
{
	double p[2];
	mmq_calibrate_apply(calibrate, 1, &x, p);
	assert_true(fabs(p[0] + p[1] - 1) < 1e-15);
	return p[1];
}

/* scikit-learn 1.9.1: IsotonicRegression(out_of_bounds="clip", y_min=0, y_max=1).fit(x, y, sample_weight=w).predict(ask). */
static void
test_isotonic_is_scikit_learns(void **state)
{
	static const double x[] = { -2, -1.5, -1.5, -1, -0.5, 0, 0.25, 0.5, 1, 1, 1.5, 2, 3 }, y[] = { 0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1 };
	static const float w[] = { 1, 2, 1, 1, 3, 1, 1, 1, 2, 1, 1, 1, 1 };
	static const double ask[] = { -5, -2, -1.75, -1.5, -1.2, -0.25, 0.1, 0.3, 0.75, 1, 1.25, 2.5, 9 };
	static const double want[] = { 0.0, 0.0, 0.07142857142857142, 0.14285714285714285, 0.14285714285714285, 0.3214285714285714, 0.5, 0.55, 0.75, 0.75, 0.875, 1.0, 1.0 };
	struct mmq_calibrate calibrate;
	struct mmq_err err;

	(void)state;
	assert_int_equal(mmq_calibrate_fit(&calibrate, MMQ_CALIBRATE_ISOTONIC, &binary, x, y, w, 13, &err), 0);
	for (size_t i = 0; i < sizeof(ask) / sizeof(ask[0]); i++)
		if (!(fabs(at(&calibrate, ask[i]) - want[i]) < 1e-12))
			fail_msg("at %g: %.17g, want %.17g", ask[i], at(&calibrate, ask[i]), want[i]);
	mmq_calibrate_fini(&calibrate);
}

static void
test_sigmoid_finds_what_made_the_data(void **state)
{
	enum { ROWS = 20000 };
	struct mmq_rng rng = mmq_rng_stream(3, 1, 4);
	double *x = mmq_array(ROWS, sizeof(*x)), *y = mmq_array(ROWS, sizeof(*y));
	struct mmq_calibrate calibrate;
	struct mmq_err err;

	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		x[i] = 3 * mmq_rng_normal(&rng);
		y[i] = mmq_rng_uniform(&rng) < 1 / (1 + exp(-1.5 * x[i] + 0.7));
	}
	assert_int_equal(mmq_calibrate_fit(&calibrate, MMQ_CALIBRATE_SIGMOID, &binary, x, y, NULL, ROWS, &err), 0);
	for (double score = -3; score <= 3; score += 0.5)
		assert_true(fabs(at(&calibrate, score) - 1 / (1 + exp(-1.5 * score + 0.7))) < 0.02);
	mmq_calibrate_fini(&calibrate);
	free(x);
	free(y);
}

/* scikit-learn 1.9.1's _sigmoid_calibration(x, y, weight), and the same from rows as often as they weigh. */
static void
test_weights_pull_the_sigmoid(void **state)
{
	enum { ROWS = 12, MANY = 3 * ROWS };
	static const double x[ROWS] = { -2, -1.5, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 1.5, 2, 2.5 }, y[ROWS] = { 0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1 };
	double many_x[MANY], many_y[MANY];
	float weight[ROWS];
	size_t count = 0;
	struct mmq_calibrate weighted, repeated, plain;
	struct mmq_err err;

	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		weight[i] = (float)(1 + i % 3);
		for (size_t copy = 0; copy <= i % 3; copy++, count++) {
			many_x[count] = x[i];
			many_y[count] = y[i];
		}
	}
	assert_int_equal(mmq_calibrate_fit(&weighted, MMQ_CALIBRATE_SIGMOID, &binary, x, y, weight, ROWS, &err), 0);
	assert_int_equal(mmq_calibrate_fit(&repeated, MMQ_CALIBRATE_SIGMOID, &binary, many_x, many_y, NULL, count, &err), 0);
	assert_int_equal(mmq_calibrate_fit(&plain, MMQ_CALIBRATE_SIGMOID, &binary, x, y, NULL, ROWS, &err), 0);
	assert_true(fabs(weighted.curves[0].a - (-0.7498916446467104)) < 1e-5 && fabs(weighted.curves[0].b - (-0.5721350353720904)) < 1e-5);
	assert_true(fabs(weighted.curves[0].a - repeated.curves[0].a) < 1e-9 && fabs(weighted.curves[0].b - repeated.curves[0].b) < 1e-9);
	assert_true(fabs(weighted.curves[0].b - plain.curves[0].b) > 0.01);
	mmq_calibrate_fini(&weighted);
	mmq_calibrate_fini(&repeated);
	mmq_calibrate_fini(&plain);
}

static void
test_several_classes_add_up_and_survive_a_file(void **state)
{
	enum { ROWS = 300, CLASSES = 3 };
	static const struct mmq_decide decide = { .task = MMQ_MULTICLASS, .classes = { .count = CLASSES } };
	struct mmq_rng rng = mmq_rng_stream(5, 1, 4);
	double x[ROWS * CLASSES], y[ROWS], p[ROWS * CLASSES], again[ROWS * CLASSES];

	(void)state;
	for (size_t r = 0; r < ROWS; r++) {
		y[r] = (double)(r % CLASSES);
		for (size_t c = 0; c < CLASSES; c++)
			x[r * CLASSES + c] = (r % CLASSES == c ? 2 : 0) + mmq_rng_normal(&rng);
	}
	for (int kind = MMQ_CALIBRATE_SIGMOID; kind <= MMQ_CALIBRATE_ISOTONIC; kind++) {
		struct mmq_calibrate calibrate, opened;
		struct mmq_part part;
		struct mmq_err err;
		size_t hits = 0;
		assert_int_equal(mmq_calibrate_fit(&calibrate, (enum mmq_calibration)kind, &decide, x, y, NULL, ROWS, &err), 0);
		mmq_calibrate_apply(&calibrate, ROWS, x, p);
		for (size_t r = 0; r < ROWS; r++) {
			const double *row = p + r * CLASSES;
			assert_true(fabs(row[0] + row[1] + row[2] - 1) < 1e-12);
			hits += row[r % CLASSES] >= fmax(row[0], fmax(row[1], row[2]));
		}
		assert_true(hits > ROWS * 7 / 10);
		mmq_part_init(&part, true);
		mmq_calibrate_save(&calibrate, &part);
		assert_int_equal(mmq_calibrate_open(&opened, &decide, &part, &err), 0);
		mmq_calibrate_apply(&opened, ROWS, x, again);
		assert_memory_equal(p, again, sizeof(p));
		mmq_calibrate_fini(&opened);
		assert_int_equal(mmq_calibrate_open(&opened, &binary, &part, &err), -1);   /* of another number of classes */
		assert_int_equal(err.code, MMQ_DATA_LOSS);
		mmq_calibrate_fini(&opened);
		mmq_calibrate_fini(&calibrate);
		mmq_part_fini(&part);
	}
}

/* 3 classes, pairs (0,1) (0,2) (1,2): the class with most votes stands out, whatever the scores' sizes. */
static void
test_pairs_become_one_score_a_class(void **state)
{
	static const struct mmq_decide decide = { .task = MMQ_MULTICLASS, .classes = { .count = 3 }, .pairwise = true };
	static const double pairs[] = { 0.1, 0.1, 1000, -2, -1, -0.5 };
	double out[6];

	(void)state;
	assert_int_equal(mmq_calibrate_cols(&decide), 3);
	mmq_calibrate_inputs(&decide, 2, pairs, 3, out);
	assert_true(out[0] > out[1] && out[1] > out[2]);    /* 2, 1 and 0 votes */
	assert_true(out[5] > out[4] && out[4] > out[3]);
	assert_true(fabs(out[0] - (2 + 0.2 / (3 * 1.2))) < 1e-15);
}

static void
test_a_class_without_rows_is_failed_precondition(void **state)
{
	static const double x[] = { 1, 2, 3 }, y[] = { 1, 1, 1 };
	struct mmq_calibrate calibrate;
	struct mmq_err err;

	(void)state;
	for (int kind = MMQ_CALIBRATE_SIGMOID; kind <= MMQ_CALIBRATE_ISOTONIC; kind++) {
		assert_int_equal(mmq_calibrate_fit(&calibrate, (enum mmq_calibration)kind, &binary, x, y, NULL, 3, &err), -1);
		assert_int_equal(err.code, MMQ_FAILED_PRECONDITION);
	}
}

static void
test_points_that_do_not_rise_are_data_loss(void **state)
{
	static const double sigmoid[] = { 0, 0 };
	static const double lies[][4] = { { 1, 0.5, 0, 0.6 }, { 0, 0.6, 1, 0.5 }, { 0, -0.1, 1, 0.5 }, { 0, 0.5, 1, 1.5 }, { NAN, 0.1, 1, 0.5 } };
	const int64_t counts[] = { 2, 3, -1, INT64_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
		for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
			struct mmq_calibrate opened;
			struct mmq_part part;
			struct mmq_err err;
			mmq_part_init(&part, true);
			mmq_part_put_int(&part, "kind", MMQ_CALIBRATE_ISOTONIC);
			mmq_part_put_doubles(&part, "sigmoid", sigmoid, 2);
			mmq_part_put_vector(&part, "counts", MMQ_I64, 1, &counts[k]);
			mmq_part_put_matrix(&part, "points", MMQ_F64, 2, 2, lies[i]);
			assert_int_equal(mmq_calibrate_open(&opened, &binary, &part, &err), -1);
			assert_int_equal(err.code, MMQ_DATA_LOSS);
			mmq_calibrate_fini(&opened);
			mmq_part_fini(&part);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_isotonic_is_scikit_learns),
		cmocka_unit_test(test_sigmoid_finds_what_made_the_data),
		cmocka_unit_test(test_weights_pull_the_sigmoid),
		cmocka_unit_test(test_several_classes_add_up_and_survive_a_file),
		cmocka_unit_test(test_pairs_become_one_score_a_class),
		cmocka_unit_test(test_a_class_without_rows_is_failed_precondition),
		cmocka_unit_test(test_points_that_do_not_rise_are_data_loss),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
