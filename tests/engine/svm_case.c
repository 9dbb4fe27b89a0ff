/* svm_case.c: data, fits and scores that the tests of the svm engine share. */
#include "svm_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "math/rng.h"
#include "util/mem.h"

enum { HEART_ROWS = 270, HEART_COLS = 13 };

void
svm_load_heart(struct svm_data *data)
{
	FILE *file = fopen("examples/data/heart_scale.libsvm", "r");
	char line[1024];

	assert_non_null(file);
	*data = (struct svm_data){ .cols = HEART_COLS, .classes = 2 };
	data->x = calloc(HEART_ROWS * HEART_COLS, sizeof(float));
	data->y = calloc(HEART_ROWS, sizeof(double));
	while (data->rows < HEART_ROWS && fgets(line, sizeof(line), file) != NULL) {
		char *at = line;
		data->y[data->rows] = strtod(at, &at) > 0 ? 1 : 0;
		for (;;) {
			long column = strtol(at, &at, 10);
			if (*at != ':')
				break;
			data->x[data->rows * HEART_COLS + (size_t)column - 1] = (float)strtod(at + 1, &at);
		}
		data->rows++;
	}
	fclose(file);
	assert_int_equal(data->rows, HEART_ROWS);
}

void
svm_data_free(struct svm_data *data)
{
	free(data->x);
	free(data->y);
	free(data->weight);
}

void *
svm_fit(const struct svm_data *data, enum mmq_task task, const char *const *settings, size_t settings_count)
{
	struct mmq_err err = { 0 };
	struct mmq_params *params;
	void *state;
	const struct mmq_dataset train = { .x = { .rows = data->rows, .cols = data->cols, .dtype = MMQ_F32, .dense = data->x, .stride = data->cols },
		.y = task == MMQ_ONE_CLASS ? NULL : data->y, .classes = data->classes, .weight = data->weight };

	if (mmq_params_parse(&params, mmq_engine_svm.params, settings, settings_count, &err) == -1)
		fail_msg("%s", err.message);
	const struct mmq_fit how = { .train = &train, .task = task, .params = params, .pool = data->pool };
	if (mmq_engine_svm.train(&state, &how, &err) == -1)
		fail_msg("%s", err.message);
	mmq_params_destroy(&params);
	return state;
}

double *
svm_scores(const void *state, const struct svm_data *data, size_t from, size_t rows)
{
	struct mmq_err err = { 0 };
	size_t cols = mmq_engine_svm.score_cols(state);
	double *score = calloc(rows * cols, sizeof(double));
	void *scratch = mmq_aligned(mmq_engine_svm.scratch_bytes(state, rows, MMQ_OUT_SCORE));
	const struct mmq_batch x = { .rows = rows, .cols = data->cols, .dtype = MMQ_F32, .dense = data->x + from * data->cols, .stride = data->cols };
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE, .score = score, .score_cols = cols };
	if (mmq_engine_svm.predict(state, &x, &out, scratch, &err) == -1)
		fail_msg("%s", err.message);
	free(scratch);
	return score;
}

double
svm_described(const void *state, const char *key)
{
	struct mmq_part part;
	mmq_part_init(&part, true);
	mmq_engine_svm.describe(state, &part, NULL);
	const struct mmq_value *value = mmq_part_find(&part, key);
	assert_non_null(value);
	double number = value->type == MMQ_V_DOUBLE ? value->f : (double)value->i;
	mmq_part_fini(&part);
	return number;
}

void
svm_close_to(double got, double want, double tolerance)
{
	if (!(fabs(got - want) <= tolerance))
		fail_msg("got %.9g, want %.9g within %g", got, want, tolerance);
}

/* Blobs of `classes` kinds on a circle; `spread` is their standard deviation. */
void
svm_blobs(struct svm_data *data, size_t rows, uint32_t classes, double spread, uint64_t seed)
{
	struct mmq_rng rng = mmq_rng_stream(seed, 0, 0);
	*data = (struct svm_data){ .rows = rows, .cols = 3, .classes = classes };
	data->x = calloc(rows * 3, sizeof(float));
	data->y = calloc(rows, sizeof(double));
	for (size_t r = 0; r < rows; r++) {
		uint32_t c = (uint32_t)(r % classes);
		double angle = 6.2831853 * c / classes;
		data->y[r] = c;
		data->x[r * 3] = (float)(3 * cos(angle) + spread * mmq_rng_normal(&rng));
		data->x[r * 3 + 1] = (float)(3 * sin(angle) + spread * mmq_rng_normal(&rng));
		data->x[r * 3 + 2] = (float)mmq_rng_normal(&rng);
	}
}
