/* bench_tree.c: training and prediction times of the tree engine.
 *
 *   bench_tree                                     synthetic, 28 columns, two classes; rows from MMQ_BENCH_ROWS, 500,000 if not set
 *   bench_tree DATA SCORES threads seed [name=value ...]   train and score rows from a file; writes float64 scores
 *
 * DATA holds int32 header {train rows, test rows, columns, code columns, classes}, int32 cardinalities, then for train and for test: float32
 * columns, int32 codes, float64 targets. Time counts from matrix to model and from matrix to scores; reading is not in it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "math/cpu.h"
#include "math/rng.h"
#include "util/clock.h"
#include "util/mem.h"

extern const struct mmq_engine mmq_engine_tree;

static int
fail(const char *what)
{
	fprintf(stderr, "bench_tree: %s\n", what);
	return 1;
}

static void
make_rows(struct mmq_dataset *data, float *x, double *y, uint64_t seed)
{
	size_t cols = data->x.cols;
	for (size_t r = 0; r < data->x.rows; r++) {
		struct mmq_rng rng = mmq_rng_stream(seed, r, 0);
		double value = 0;
		for (size_t c = 0; c < cols; c++)
			x[r * cols + c] = (float)mmq_rng_normal(&rng);
		const float *row = x + r * cols;
		for (size_t c = 0; c + 2 < 15; c += 3)
			value += (double)(row[c] * row[c + 1]) + sin(2 * (double)row[c + 2]);
		y[r] = value + mmq_rng_normal(&rng) > 0;
	}
	data->x.dense = x;
	data->y = y;
}

/* Train and score once; prints one line. */
static int
run_once(const struct mmq_dataset *train, const struct mmq_dataset *test, unsigned threads, uint64_t seed, const char *const *settings, size_t count,
    double *score)
{
	struct mmq_err err;
	struct mmq_params *params;
	void *state;
	if (mmq_params_parse(&params, mmq_engine_tree.params, settings, count, &err) == -1)
		return fail(err.message);
	struct mmq_fit fit = { .train = train, .params = params, .seed = seed, .pool = mmq_pool_new(threads),
		.task = train->classes == 0 ? MMQ_REGRESSION : train->classes == 2 ? MMQ_BINARY : MMQ_MULTICLASS };
	int64_t start = mmq_clock_mono_us();
	if (mmq_engine_tree.train(&state, &fit, &err) == -1)
		return fail(err.message);
	double train_s = (double)(mmq_clock_mono_us() - start) * 1e-6;
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE, .score = score, .score_cols = mmq_engine_tree.score_cols(state) };
	void *scratch = mmq_aligned(mmq_engine_tree.scratch_bytes(state, test->x.rows, out.wanted));
	start = mmq_clock_mono_us();
	if (mmq_engine_tree.predict(state, &test->x, &out, scratch, &err) == -1)
		return fail(err.message);
	double batch_s = (double)(mmq_clock_mono_us() - start) * 1e-6;
	size_t singles = test->x.rows < 10000 ? test->x.rows : 10000;
	start = mmq_clock_mono_us();
	for (size_t r = 0; r < singles; r++) {
		struct mmq_batch x = test->x;
		x.rows = 1;
		x.dense = (const float *)test->x.dense + r * x.stride;
		x.codes = x.codes_cols > 0 ? x.codes + r * x.codes_cols : NULL;
		struct mmq_outputs one = out;
		one.score = score + r * out.score_cols;
		mmq_engine_tree.predict(state, &x, &one, scratch, &err);
	}
	double single_us = (double)(mmq_clock_mono_us() - start) / (double)singles;
	printf("rows=%zu columns=%zu threads=%u path=%s train_s=%.3f trees=%zu batch_ns_per_row_tree=%.2f single_row_us=%.2f\n", train->x.rows,
	    train->features_count, threads, mmq_cpu_path(), train_s, mmq_engine_tree.leaf_cols(state),
	    batch_s * 1e9 / (double)test->x.rows / (double)(mmq_engine_tree.leaf_cols(state) + 1), single_us);
	free(scratch);
	mmq_engine_tree.destroy(&state);
	mmq_pool_destroy((struct mmq_pool **)&fit.pool);
	mmq_params_destroy(&params);
	return 0;
}

static int
bench_synthetic(void)
{
	const char *wanted = getenv("MMQ_BENCH_ROWS");
	size_t rows = wanted != NULL ? (size_t)strtoull(wanted, NULL, 10) : 500000, cols = 28;
	struct mmq_feature *features = mmq_array(cols, sizeof(*features));
	for (size_t c = 0; c < cols; c++)
		features[c] = (struct mmq_feature){ .name = "x", .kind = MMQ_NUMERIC };
	struct mmq_dataset data = { .x = { .rows = rows, .cols = cols, .dtype = MMQ_F32, .stride = cols }, .features = features,
		.features_count = cols, .classes = 2 };
	float *x = mmq_array(rows * cols, sizeof(*x));
	double *y = mmq_array(rows, sizeof(*y)), *score = mmq_array(rows, sizeof(*score));
	make_rows(&data, x, y, 1);
	int result = 0;
	for (unsigned threads = 1; threads <= 2 && result == 0; threads++)
		result = run_once(&data, &data, threads, 0, NULL, 0, score);
	free(features);
	free(x);
	free(y);
	free(score);
	return result;
}

static bool
read_rows(FILE *file, struct mmq_dataset *data, size_t rows)
{
	float *x = mmq_array(rows * data->x.cols + 1, sizeof(*x));
	int32_t *codes = mmq_array(rows * data->x.codes_cols + 1, sizeof(*codes));
	double *y = mmq_array(rows, sizeof(*y));
	data->x.rows = rows;
	data->x.dense = x;
	data->x.codes = codes;
	data->y = y;
	return fread(x, sizeof(*x), rows * data->x.cols, file) == rows * data->x.cols &&
	    fread(codes, sizeof(*codes), rows * data->x.codes_cols, file) == rows * data->x.codes_cols && fread(y, sizeof(*y), rows, file) == rows;
}

static void
free_rows(struct mmq_dataset *data)
{
	free((void *)data->x.dense);
	free((void *)data->x.codes);
	free((void *)data->y);
}

static int
bench_file(int argc, char **argv)
{
	int32_t header[5], cardinality;
	FILE *file = fopen(argv[1], "rb"), *out;
	if (file == NULL || fread(header, sizeof(header[0]), 5, file) != 5 || header[0] < 1 || header[1] < 1 || header[2] < 0 || header[3] < 0)
		return fail("cannot read the header of the data");
	size_t count = (size_t)header[2] + (size_t)header[3];
	struct mmq_feature *features = mmq_array(count, sizeof(*features));
	for (size_t k = 0; k < count; k++) {
		features[k] = (struct mmq_feature){ .name = "x", .kind = k < (size_t)header[2] ? MMQ_NUMERIC : MMQ_CATEGORY };
		if (features[k].kind == MMQ_CATEGORY && fread(&cardinality, sizeof(cardinality), 1, file) == 1)
			features[k].cardinality = (uint32_t)cardinality;
	}
	struct mmq_dataset train = { .x = { .cols = (size_t)header[2], .codes_cols = (size_t)header[3], .dtype = MMQ_F32, .stride = (size_t)header[2] },
		.features = features, .features_count = count, .classes = (uint32_t)header[4] }, test = train;
	if (!read_rows(file, &train, (size_t)header[0]) || !read_rows(file, &test, (size_t)header[1]))
		return fail("the data ends early");
	fclose(file);
	size_t scores = (size_t)header[1] * (header[4] > 2 ? (size_t)header[4] : 1);
	double *score = mmq_array(scores, sizeof(*score));
	int result = run_once(&train, &test, (unsigned)strtoul(argv[3], NULL, 10), strtoull(argv[4], NULL, 10), (const char *const *)(argv + 5),
	    (size_t)(argc - 5), score);
	if (result == 0 && ((out = fopen(argv[2], "wb")) == NULL || fwrite(score, sizeof(*score), scores, out) != scores || fclose(out) != 0))
		result = fail("cannot write the scores");
	free_rows(&train);
	free_rows(&test);
	free(features);
	free(score);
	return result;
}

int
main(int argc, char **argv)
{
	return argc == 1 ? bench_synthetic() : argc >= 5 ? bench_file(argc, argv) : fail("usage: bench_tree [DATA SCORES threads seed [name=value ...]]");
}
