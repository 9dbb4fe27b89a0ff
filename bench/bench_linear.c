/* bench_linear.c: training times of the linear engine.
 *
 *   bench_linear                                logistic and ridge regression, generated, 500,000 x 28 (MMQ_BENCH_ROWS), 1 and 2 threads
 *   bench_linear DATA COEF threads [name=value] fits rows from a file and writes coefficients, then intercepts, float64
 *
 * DATA: int32 rows, columns, classes (0: regression); float32 rows; float64 targets. Negative columns: sparse rows instead, as uint64 offsets
 * (rows + 1), uint32 columns, float32 values.
 *
 * Time counts from the float32 matrix to the model; the median of MMQ_BENCH_FITS (1) fits. bench/peers/linear.py runs it beside other libraries. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "math/cpu.h"
#include "math/rng.h"
#include "util/clock.h"
#include "util/mem.h"

static int
fail(const char *what)
{
	fprintf(stderr, "bench_linear: %s\n", what);
	return 1;
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static int
run_once(const struct mmq_dataset *data, unsigned threads, const char *const *settings, size_t count, FILE *coef_file)
{
	const struct mmq_engine *engine = mmq_engine_find("linear");
	struct mmq_err err;
	struct mmq_params *params;
	struct mmq_part part;
	void *state;

	if (mmq_params_parse(&params, engine->params, settings, count, &err) == -1)
		return fail(err.message);
	struct mmq_fit fit = { .train = data, .params = params, .seed = 1, .pool = mmq_pool_new(threads),
		.task = data->classes == 0 ? MMQ_REGRESSION : data->classes == 2 ? MMQ_BINARY : MMQ_MULTICLASS };
	const char *fits_text = getenv("MMQ_BENCH_FITS");
	size_t fits = fits_text != NULL && atol(fits_text) > 0 ? (size_t)atol(fits_text) : 1;
	double *seconds = mmq_array(fits, sizeof(*seconds)), train_s;
	for (size_t k = 0; k < fits; k++) {
		int64_t start = mmq_clock_mono_us();
		if (k > 0)
			engine->destroy(&state);
		if (engine->train(&state, &fit, &err) == -1)
			return fail(err.message);
		seconds[k] = (double)(mmq_clock_mono_us() - start) / 1e6;
	}
	qsort(seconds, fits, sizeof(*seconds), by_size);
	train_s = seconds[fits / 2];
	free(seconds);
	mmq_part_init(&part, true);
	if (engine->save(state, &part, &err) == -1)
		return fail(err.message);
	const struct mmq_tensor *coef = mmq_part_find_tensor(&part, "coef"), *intercept = mmq_part_find_tensor(&part, "intercept");
	const struct mmq_value *iterations = mmq_part_find(&part, "iterations"), *converged = mmq_part_find(&part, "converged");
	const struct mmq_value *method = mmq_part_find(&part, "method");
	if (iterations != NULL && converged != NULL && method != NULL)
		printf("threads=%u train_s=%.4f iterations=%lld converged=%d method=%s\n", threads, train_s, (long long)iterations->i, (int)converged->i,
		    method->texts[0]);
	if (coef_file != NULL && coef != NULL && intercept != NULL) {
		fwrite(coef->data, 1, coef->bytes, coef_file);
		fwrite(intercept->data, 1, intercept->bytes, coef_file);
	}
	mmq_part_fini(&part);
	engine->destroy(&state);
	mmq_params_destroy(&params);
	mmq_pool_destroy(&fit.pool);
	return 0;
}

/* count entries of size bytes; NULL when the file is short. */
static void *
take(FILE *file, size_t count, size_t size)
{
	void *values = mmq_array(count + 1, size);
	if (fread(values, size, count, file) == count)
		return values;
	free(values);
	return NULL;
}

static int
run_file(int argc, char **argv)
{
	int32_t head[3];
	FILE *file = fopen(argv[1], "rb"), *coef = fopen(argv[2], "wb");

	if (file == NULL || coef == NULL || fread(head, sizeof(head), 1, file) != 1 || head[0] <= 0 || head[1] == 0)
		return fail("cannot read DATA or write COEF");
	size_t rows = (size_t)head[0], cols = (size_t)labs(head[1]);
	struct mmq_dataset data = { .x = { .rows = rows, .cols = cols, .dtype = MMQ_F32, .stride = cols }, .classes = (uint32_t)head[2] };
	void *owned[4] = { NULL };
	if (head[1] > 0) {
		data.x.dense = owned[0] = take(file, rows * cols, sizeof(float));
	} else if ((data.x.row_start = owned[0] = take(file, rows + 1, sizeof(uint64_t))) != NULL) {
		data.x.col = owned[1] = take(file, data.x.row_start[rows], sizeof(uint32_t));
		data.x.value = owned[2] = take(file, data.x.row_start[rows], sizeof(float));
	}
	data.y = owned[3] = take(file, rows, sizeof(double));
	if (data.y == NULL)
		return fail("DATA is short");
	int result = run_once(&data, (unsigned)atoi(argv[3]), (const char *const *)argv + 4, (size_t)argc - 4, coef);
	fclose(file);
	fclose(coef);
	for (size_t k = 0; k < 4; k++)
		free(owned[k]);
	return result;
}

static int
run_generated(bool regression)
{
	const char *rows_text = getenv("MMQ_BENCH_ROWS");
	size_t rows = rows_text != NULL && atol(rows_text) > 0 ? (size_t)atol(rows_text) : 500000, cols = 28;
	float *x = mmq_array(rows * cols, sizeof(float));
	double *y = mmq_array(rows, sizeof(double));

	for (size_t r = 0; r < rows; r++) {
		struct mmq_rng rng = mmq_rng_stream(5, r, 0);
		double value = 0;
		for (size_t c = 0; c < cols; c++) {
			x[r * cols + c] = (float)mmq_rng_normal(&rng);
			value += (double)x[r * cols + c] * (double)((int)c % 5 - 2) * 0.1;
		}
		y[r] = regression ? value + mmq_rng_normal(&rng) : value + 2 * mmq_rng_normal(&rng) > 0;
	}
	const struct mmq_dataset data = { .x = { .rows = rows, .cols = cols, .dtype = MMQ_F32, .dense = x, .stride = cols }, .y = y,
		.classes = regression ? 0 : 2 };
	printf("%s %zu x %zu\n", regression ? "ridge" : "logistic", rows, cols);
	int result = 0;
	for (unsigned threads = 1; threads <= 2 && result == 0; threads++)
		result = run_once(&data, threads, NULL, 0, NULL);
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
