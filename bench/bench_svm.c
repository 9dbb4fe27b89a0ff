/* bench_svm.c: training and prediction times of the svm engine.
 *
 *   bench_svm                                      generated data: C-SVC 20,000 x 50 and epsilon-SVR, 1 and 2 threads; MMQ_BENCH_ROWS changes the rows
 *   bench_svm DATA SCORES threads [name=value ...] fits rows from a file; writes the float64 scores of all rows; prints one line
 *
 * DATA holds int32 {rows, columns, classes (0: regression)}, float32 columns, float64 targets. Time counts from matrix to model and from matrix
 * to scores; reading is not in it. bench/peers/svm.py runs it beside other libraries. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "math/cpu.h"
#include "math/rng.h"
#include "util/clock.h"
#include "util/mem.h"

extern const struct mmq_engine mmq_engine_svm;

static int
fail(const char *what)
{
	fprintf(stderr, "bench_svm: %s\n", what);
	return 1;
}

static double
described(const struct mmq_part *part, const char *key)
{
	const struct mmq_value *value = mmq_part_find(part, key);
	return value == NULL ? NAN : value->type == MMQ_V_INT ? (double)value->i : value->f;
}

static double
median_of_rows(const void *state, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch)
{
	double total = 0;
	size_t rows = x->rows < 400 ? x->rows : 400;
	struct mmq_err err;
	for (size_t r = 0; r < rows; r++) {
		struct mmq_batch one = *x;
		one.rows = 1;
		one.dense = (const float *)x->dense + r * x->stride;
		int64_t start = mmq_clock_mono_us();
		if (mmq_engine_svm.predict(state, &one, out, scratch, &err) == -1)
			return NAN;
		total += (double)(mmq_clock_mono_us() - start);
	}
	return total / (double)rows;
}

static int
run_once(const struct mmq_dataset *data, unsigned threads, const char *const *settings, size_t count, FILE *scores)
{
	struct mmq_err err;
	struct mmq_params *params;
	struct mmq_part part;
	void *state;

	if (mmq_params_parse(&params, mmq_engine_svm.params, settings, count, &err) == -1)
		return fail(err.message);
	struct mmq_fit fit = { .train = data, .params = params, .seed = 1, .pool = mmq_pool_new(threads),
		.task = data->classes == 0 ? MMQ_REGRESSION : data->classes == 2 ? MMQ_BINARY : MMQ_MULTICLASS };
	int64_t start = mmq_clock_mono_us();
	if (mmq_engine_svm.train(&state, &fit, &err) == -1)
		return fail(err.message);
	double train_s = (double)(mmq_clock_mono_us() - start) / 1e6;
	size_t cols = mmq_engine_svm.score_cols(state);
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE, .score = mmq_array(data->x.rows * cols, sizeof(double)), .score_cols = cols };
	void *scratch = mmq_aligned(mmq_engine_svm.scratch_bytes(state, data->x.rows, out.wanted));
	double row_us = median_of_rows(state, &data->x, &out, scratch);
	start = mmq_clock_mono_us();
	if (mmq_engine_svm.predict(state, &data->x, &out, scratch, &err) == -1)
		return fail(err.message);
	double batch_us = (double)(mmq_clock_mono_us() - start) / (double)data->x.rows;
	mmq_part_init(&part, true);
	mmq_engine_svm.describe(state, &part, &err);
	printf("threads=%u train_s=%.3f row_us=%.1f batch_us=%.2f vectors=%.0f iterations=%.0f objective=%.9g gap=%.3g\n", threads, train_s, row_us,
	    batch_us, described(&part, "support_vectors"), described(&part, "iterations"), described(&part, "objective"), described(&part, "gap"));
	if (scores != NULL)
		fwrite(out.score, sizeof(double), data->x.rows * cols, scores);
	mmq_part_fini(&part);
	mmq_engine_svm.destroy(&state);
	mmq_params_destroy(&params);
	mmq_pool_destroy(&fit.pool);
	free(out.score);
	free(scratch);
	return 0;
}

static int
run_file(int argc, char **argv)
{
	int32_t head[3];
	FILE *file = fopen(argv[1], "rb"), *scores = fopen(argv[2], "wb");

	if (file == NULL || scores == NULL || fread(head, sizeof(head), 1, file) != 1 || head[0] <= 0 || head[1] <= 0)
		return fail("cannot read DATA or write SCORES");
	size_t rows = (size_t)head[0], cols = (size_t)head[1];
	float *x = mmq_array(rows * cols, sizeof(float));
	double *y = mmq_array(rows, sizeof(double));
	if (fread(x, sizeof(float), rows * cols, file) != rows * cols || fread(y, sizeof(double), rows, file) != rows)
		return fail("DATA is short");
	const struct mmq_dataset data = { .x = { .rows = rows, .cols = cols, .dtype = MMQ_F32, .dense = x, .stride = cols }, .y = y,
		.classes = (uint32_t)head[2] };
	int result = run_once(&data, (unsigned)atoi(argv[3]), (const char *const *)argv + 4, (size_t)argc - 4, scores);
	fclose(file);
	fclose(scores);
	free(x);
	free(y);
	return result;
}

static int
run_generated(bool regression)
{
	const char *rows_text = getenv("MMQ_BENCH_ROWS");
	size_t rows = rows_text != NULL && atol(rows_text) > 0 ? (size_t)atol(rows_text) : 20000, cols = 50;
	float *x = mmq_array(rows * cols, sizeof(float));
	double *y = mmq_array(rows, sizeof(double));
	const char *const settings[] = { "gamma=0.02", "C=1", "cache_size=200" };

	for (size_t r = 0; r < rows; r++) {
		struct mmq_rng rng = mmq_rng_stream(7, r, 0);
		double value = 0;
		for (size_t c = 0; c < cols; c++)
			x[r * cols + c] = (float)mmq_rng_normal(&rng);
		for (size_t c = 0; c < 10; c++)
			value += (double)x[r * cols + c];
		value = value / 3 + (double)(x[r * cols] * x[r * cols + 1]) + 0.2 * mmq_rng_normal(&rng);
		y[r] = regression ? value : value > 0;
	}
	const struct mmq_dataset data = { .x = { .rows = rows, .cols = cols, .dtype = MMQ_F32, .dense = x, .stride = cols }, .y = y,
		.classes = regression ? 0 : 2 };
	printf("%s %zu x %zu, C=1 gamma=0.02, 200 MB of kernel rows\n", regression ? "epsilon-SVR" : "C-SVC", rows, cols);
	int result = 0;
	for (unsigned threads = 1; threads <= 2 && result == 0; threads++)
		result = run_once(&data, threads, settings, 3, NULL);
	free(x);
	free(y);
	return result;
}

int
main(int argc, char **argv)
{
	mmq_cpu_pin_blas(argv);
	if (argc >= 4)
		return run_file(argc, argv);
	return run_generated(false) != 0 || run_generated(true) != 0;
}
