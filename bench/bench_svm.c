/* bench_svm.c: training and prediction times of the svm engine.
 *
 *   bench_svm                                      generated data: C-SVC 20,000 x 50 and epsilon-SVR, 1 and 2 threads; MMQ_BENCH_ROWS changes the rows
 *   bench_svm DATA OUT threads [name=value ...]    fits rows from a file; OUT.scores and OUT.model for a check from outside; prints one line
 *
 * DATA holds int32 {rows, columns, classes (0: regression), sparse}, then float32 columns, or uint64 row starts, uint32 columns and float32 values,
 * then float64 targets. OUT.scores: float64 scores of all rows; OUT.model: int64 {vectors, columns, coefficient rows, pairs}, float64 vectors,
 * coefficients, thresholds and, with several classes, uint32 class starts. Time counts from matrix to model and from matrix to scores; reading is
 * not in it. bench/peers/svm.py runs it beside other libraries. */
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

/* Median time of one row, in us, over up to 400 rows. */
static int
by_value(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static struct mmq_batch
row_of(const struct mmq_batch *x, size_t row)
{
	struct mmq_batch one = *x;
	one.rows = 1;
	if (x->row_start != NULL)
		one.row_start = x->row_start + row;
	else
		one.dense = (const float *)x->dense + row * x->stride;
	return one;
}

static double
median_of_rows(const void *state, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch)
{
	double times[400];
	size_t rows = x->rows < 400 ? x->rows : 400;
	struct mmq_err err;
	for (size_t r = 0; r < rows; r++) {
		struct mmq_batch one = row_of(x, r);
		int64_t start = mmq_clock_mono_us();
		for (int k = 0; k < 4; k++)   /* the clock counts whole microseconds */
			if (mmq_engine_svm.predict(state, &one, out, scratch, &err) == -1)
				return NAN;
		times[r] = (double)(mmq_clock_mono_us() - start) / 4;
	}
	qsort(times, rows, sizeof(*times), by_value);
	return times[rows / 2];
}

/* The vectors as plain float64 rows, whatever form the model keeps them in. */
static void
write_model(const void *state, FILE *file)
{
	struct mmq_part part;
	mmq_part_init(&part, true);
	mmq_engine_svm.save(state, &part, NULL);
	const struct mmq_tensor *coef = mmq_part_find_tensor(&part, "dual_coef"), *rho = mmq_part_find_tensor(&part, "rho");
	const struct mmq_tensor *dense = mmq_part_find_tensor(&part, "support_vectors"), *starts = mmq_part_find_tensor(&part, "class_start");
	int64_t head[4] = { (int64_t)coef->shape[1], mmq_part_find(&part, "cols")->i, (int64_t)coef->shape[0], (int64_t)rho->shape[0] };
	size_t cols = (size_t)head[1];
	double *row = mmq_array(cols, sizeof(double));

	fwrite(head, sizeof(head), 1, file);
	for (size_t v = 0; v < (size_t)head[0]; v++) {
		memset(row, 0, cols * sizeof(double));
		const struct mmq_tensor *values = dense != NULL ? dense : mmq_part_find_tensor(&part, "vector_value");
		const uint64_t *start = dense != NULL ? NULL : mmq_part_find_tensor(&part, "vector_start")->data;
		const uint32_t *col = dense != NULL ? NULL : mmq_part_find_tensor(&part, "vector_col")->data;
		size_t from = dense != NULL ? v * cols : (size_t)start[v], to = dense != NULL ? from + cols : (size_t)start[v + 1];
		for (size_t k = from; k < to; k++)
			row[dense != NULL ? k - from : col[k]] = values->dtype == MMQ_F64 ? ((const double *)values->data)[k] :
			    (double)((const float *)values->data)[k];
		fwrite(row, sizeof(double), cols, file);
	}
	fwrite(coef->data, 1, coef->bytes, file);
	fwrite(rho->data, 1, rho->bytes, file);
	fwrite(starts->data, 1, starts->bytes, file);
	free(row);
	mmq_part_fini(&part);
}

/* Fits that are over in no time: the mean of some more, as the clock counts whole microseconds and the first one meets cold pages. */
static double
seconds_to_train(void **state, const struct mmq_fit *fit, struct mmq_err *err)
{
	double seconds = 0;
	for (int fits = 1; fits <= 20 && (fits == 1 || seconds < 0.01); fits += 19) {
		int64_t start = mmq_clock_mono_us();
		for (int k = 0; k < fits; k++) {
			mmq_engine_svm.destroy(state);
			if (mmq_engine_svm.train(state, fit, err) == -1)
				return NAN;
		}
		seconds = (double)(mmq_clock_mono_us() - start) / 1e6 / fits;
	}
	return seconds;
}

static int
run_once(const struct mmq_dataset *data, unsigned threads, const char *const *settings, size_t count, FILE *scores, FILE *model)
{
	struct mmq_err err;
	struct mmq_params *params;
	struct mmq_part part;
	void *state = NULL;

	if (mmq_params_parse(&params, mmq_engine_svm.params, settings, count, &err) == -1)
		return fail(err.message);
	struct mmq_fit fit = { .train = data, .params = params, .seed = 1, .pool = mmq_pool_new(threads),
		.task = data->classes == 0 ? MMQ_REGRESSION : data->classes == 2 ? MMQ_BINARY : MMQ_MULTICLASS };
	double train_s = seconds_to_train(&state, &fit, &err);
	if (isnan(train_s))
		return fail(err.message);
	size_t cols = mmq_engine_svm.score_cols(state), classes = data->classes;
	unsigned gives = mmq_engine_svm.gives(state) & (MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY);
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE, .score = mmq_array(data->x.rows * cols, sizeof(double)), .score_cols = cols,
		.probability = mmq_array(data->x.rows * (classes + 1), sizeof(double)) };
	void *scratch = mmq_aligned(mmq_engine_svm.scratch_bytes(state, data->x.rows, gives));
	double row_us = median_of_rows(state, &data->x, &out, scratch);
	int64_t start = mmq_clock_mono_us();
	if (mmq_engine_svm.predict(state, &data->x, &out, scratch, &err) == -1)
		return fail(err.message);
	double batch_us = (double)(mmq_clock_mono_us() - start) / (double)data->x.rows;
	mmq_part_init(&part, true);
	mmq_engine_svm.describe(state, &part, &err);
	printf("threads=%u train_s=%.6f row_us=%.2f batch_us=%.2f vectors=%.0f iterations=%.0f objective=%.9g gap=%.3g precision=%s sparse=%d converged=%d\n",
	    threads, train_s, row_us, batch_us, described(&part, "support_vectors"), described(&part, "iterations"), described(&part, "objective"),
	    described(&part, "gap"), mmq_part_find(&part, "precision")->texts[0], (int)mmq_part_find(&part, "sparse")->i,
	    mmq_part_find(&part, "warning") == NULL);
	if (scores != NULL) {
		out.wanted = gives;
		if (gives != MMQ_OUT_SCORE)
			mmq_engine_svm.predict(state, &data->x, &out, scratch, &err);
		fwrite(out.score, sizeof(double), data->x.rows * cols, scores);
		if (gives & MMQ_OUT_PROBABILITY)
			fwrite(out.probability, sizeof(double), data->x.rows * classes, scores);
		write_model(state, model);
	}
	mmq_part_fini(&part);
	mmq_engine_svm.destroy(&state);
	mmq_params_destroy(&params);
	mmq_pool_destroy(&fit.pool);
	free(out.score);
	free(out.probability);
	free(scratch);
	return 0;
}

static void *
read_array(FILE *file, size_t count, size_t size)
{
	void *array = mmq_array(count, size);
	if (fread(array, size, count, file) != count)
		exit(fail("DATA is short"));
	return array;
}

static FILE *
open_out(const char *name, const char *ending)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s%s", name, ending);
	return fopen(path, "wb");
}

static int
run_file(int argc, char **argv)
{
	int32_t head[4];
	FILE *file = fopen(argv[1], "rb"), *scores = open_out(argv[2], ".scores"), *model = open_out(argv[2], ".model");

	if (file == NULL || scores == NULL || model == NULL || fread(head, sizeof(head), 1, file) != 1 || head[0] <= 0 || head[1] <= 0)
		return fail("cannot read DATA or write OUT");
	size_t rows = (size_t)head[0], cols = (size_t)head[1];
	struct mmq_dataset data = { .x = { .rows = rows, .cols = cols, .dtype = MMQ_F32, .stride = cols }, .classes = (uint32_t)head[2] };
	if (head[3] != 0) {
		data.x.row_start = read_array(file, rows + 1, sizeof(uint64_t));
		data.x.col = read_array(file, data.x.row_start[rows], sizeof(uint32_t));
		data.x.value = read_array(file, data.x.row_start[rows], sizeof(float));
	} else {
		data.x.dense = read_array(file, rows * cols, sizeof(float));
	}
	data.y = read_array(file, rows, sizeof(double));
	int result = run_once(&data, (unsigned)atoi(argv[3]), (const char *const *)argv + 4, (size_t)argc - 4, scores, model);
	fclose(file);
	fclose(scores);
	fclose(model);
	free((void *)data.x.dense);
	free((void *)data.x.row_start);
	free((void *)data.x.col);
	free((void *)data.x.value);
	free((void *)data.y);
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
		result = run_once(&data, threads, settings, 3, NULL, NULL);
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
