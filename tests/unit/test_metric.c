/* test_metric.c: metrics on small cases recorded from scikit-learn 1.9.1 (accuracy_score, f1_score macro, roc_auc_score ovr macro,
 * log_loss, mean_squared_error, mean_absolute_error, r2_score), and what happens where they are not defined. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "data/metric.h"
#include "mpack/reader.h"

static void
near(double got, double want)
{
	if (!(fabs(got - want) < 1e-14))
		fail_msg("got %.17g, want %.17g", got, want);
}

static const double truth[8] = { 0, 0, 1, 1, 2, 2, 2, 0 }, predicted[8] = { 0, 1, 1, 1, 2, 0, 2, 0 };
static const float weight[8] = { 1, 2, 1, 3, 1, .5f, 1, 2 };
static const double probability[24] = { .7, .2, .1, .3, .4, .3, .2, .7, .1, .1, .8, .1, .2, .2, .6, .5, .1, .4, .1, .1, .8, .6, .3, .1 };

static void
test_multiclass_equals_sklearn(void **unused)
{
	struct mmq_metrics m;

	(void)unused;
	mmq_metrics_classes(&m, truth, predicted, NULL, probability, 8, 3, NULL, NULL);
	near(m.value[MMQ_ACCURACY], 0.75);
	near(m.value[MMQ_MACRO_F1], 0.7555555555555555);
	near(m.value[MMQ_AUC], 0.9777777777777779);
	near(m.value[MMQ_LOG_LOSS], 0.5376939717797445);
	assert_int_equal(m.has, 15);
	mmq_metrics_classes(&m, truth, predicted, NULL, probability, 8, 3, weight, NULL);
	near(m.value[MMQ_ACCURACY], 0.782608695652174);
	near(m.value[MMQ_MACRO_F1], 0.7982570806100218);
	near(m.value[MMQ_AUC], 0.9897435897435898);
	near(m.value[MMQ_LOG_LOSS], 0.5221297338279326);
}

static void
test_binary_auc_with_ties_equals_sklearn(void **unused)
{
	static const double classes[8] = { 0, 1, 1, 0, 1, 0, 0, 1 }, score[8] = { .1, .4, .35, .35, .8, .2, .9, .7 };
	double both[16];
	struct mmq_metrics m;

	(void)unused;
	mmq_metrics_classes(&m, classes, classes, score, NULL, 8, 2, NULL, NULL);
	near(m.value[MMQ_AUC], 0.71875);
	assert_false(m.has & 1u << MMQ_LOG_LOSS);
	for (int i = 0; i < 8; i++) {
		both[i * 2] = 1 - score[i];
		both[i * 2 + 1] = score[i];
	}
	mmq_metrics_classes(&m, classes, classes, NULL, both, 8, 2, weight, NULL);
	near(m.value[MMQ_AUC], 0.7727272727272727);
}

static void
test_regression_equals_sklearn(void **unused)
{
	static const double t[5] = { 3, -0.5, 2, 7, 4.25 }, q[5] = { 2.5, 0, 2, 8, 4 };
	static const float w[5] = { 1, 2, .5f, 1, 3 };
	struct mmq_metrics m;

	(void)unused;
	mmq_metrics_values(&m, t, q, 5, NULL, NULL);
	near(m.value[MMQ_RMSE], 0.5590169943749475);
	near(m.value[MMQ_MAE], 0.45);
	near(m.value[MMQ_R2], 0.9491042345276873);
	mmq_metrics_values(&m, t, q, 5, w, NULL);
	near(m.value[MMQ_RMSE], 0.5082650227325636);
	near(m.value[MMQ_MAE], 0.43333333333333335);
	near(m.value[MMQ_R2], 0.9575846027547205);
}

static void
test_undefined_is_nil_with_a_warning(void **unused)
{
	static const double ones[3] = { 1, 1, 1 }, score[3] = { 1, 2, 3 };
	struct mmq_metrics m;
	struct mmq_buf warnings, out;
	struct mmq_reader reader;
	struct mmq_token token;

	(void)unused;
	mmq_buf_init(&warnings, 4096);
	mmq_buf_init(&out, 4096);
	mmq_metrics_classes(&m, ones, ones, score, NULL, 3, 2, NULL, &warnings);
	assert_true(isnan(m.value[MMQ_AUC]) && m.value[MMQ_ACCURACY] == 1);
	assert_non_null(strstr(mmq_buf_text(&warnings), "auc is not defined"));
	mmq_metrics_values(&m, ones, score, 3, NULL, &warnings);
	assert_true(isnan(m.value[MMQ_R2]));
	assert_non_null(strstr(mmq_buf_text(&warnings), "r2 is not defined"));
	mmq_metrics_write(&m, &out);
	mmq_reader_init(&reader, out.bytes, out.size);
	assert_true(mmq_read(&reader, &token) && token.type == MMQ_T_MAP && token.size == 4);
	mmq_metrics_classes(&m, ones, ones, NULL, NULL, 0, 2, NULL, &warnings);
	assert_true(isnan(m.value[MMQ_ACCURACY]));
	mmq_buf_fini(&warnings);
	mmq_buf_fini(&out);
}

static void
test_log_loss_clips(void **unused)
{
	static const double t[2] = { 0, 1 }, p[4] = { 0, 1, 0, 1 };
	struct mmq_metrics m;

	(void)unused;
	mmq_metrics_classes(&m, t, t, NULL, p, 2, 2, NULL, NULL);
	assert_true(fabs(m.value[MMQ_LOG_LOSS] - (-log(1e-15) - log1p(-1e-15)) / 2) < 1e-12);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_multiclass_equals_sklearn),
		cmocka_unit_test(test_binary_auc_with_ties_equals_sklearn),
		cmocka_unit_test(test_regression_equals_sklearn),
		cmocka_unit_test(test_undefined_is_nil_with_a_warning),
		cmocka_unit_test(test_log_loss_clips),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
