/* bench_tree_predict.c: prediction times of the tree engine on a model that LightGBM wrote; one thread.
 *
 *   bench_tree_predict                               a model trained here on made-up rows: 100 trees of 31 leaves, 28 columns
 *   bench_tree_predict MODEL DATA SCORES [explain]   DATA: int32 {rows, columns}, float32 rows; SCORES gets float64 scores, and with `explain`
 *                                            after them contributions (rows, columns + 1), the base last, as LightGBM's pred_contrib
 *
 * Rows come one after the other, never the same twice in a row: a processor learns the branches of a repeated row by heart. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/lightgbm.h"
#include "engine/tree/walk.h"
#include "math/cpu.h"
#include "math/rng.h"
#include "util/clock.h"
#include "util/file.h"
#include "util/mem.h"

extern const struct mmq_engine mmq_engine_tree;

enum { REPEATS = 5, MADE_ROWS = 20000, MADE_COLS = 28 };

static int
fail(const char *what)
{
	fprintf(stderr, "bench_tree_predict: %s\n", what);
	return 1;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Median microseconds a row of `turns` rows of x, `at_once` rows a call. */
static double
time_rows(const void *state, const struct mmq_batch *x, const struct mmq_outputs *out, size_t turns, size_t at_once)
{
	double took[REPEATS];
	struct mmq_err err;
	size_t widths[] = { out->score_cols, out->score_cols * (x->cols + 1) };
	void *scratch = mmq_aligned(mmq_engine_tree.scratch_bytes(state, at_once, out->wanted));
	for (int k = 0; k < REPEATS; k++) {
		int64_t start = mmq_clock_mono_us();
		for (size_t r = 0; r + at_once <= turns; r += at_once) {
			struct mmq_batch part = *x;
			struct mmq_outputs to = *out;
			part.rows = at_once;
			part.dense = (const char *)x->dense + r % x->rows * x->stride * mmq_dtype_bytes(x->dtype);
			to.score += r % x->rows * widths[0];
			if (to.contribution != NULL)
				to.contribution += r % x->rows * out->score_cols * x->cols;
			mmq_engine_tree.predict(state, &part, &to, scratch, &err);
		}
		took[k] = (double)(mmq_clock_mono_us() - start) / (double)(turns / at_once * at_once);
	}
	free(scratch);
	qsort(took, REPEATS, sizeof(took[0]), compare);
	return took[REPEATS / 2];
}

static int
write_scores(const char *path, const struct mmq_batch *x, const struct mmq_outputs *out)
{
	FILE *file = fopen(path, "wb");
	if (file == NULL || fwrite(out->score, sizeof(double), x->rows * out->score_cols, file) != x->rows * out->score_cols)
		return fail("cannot write the scores");
	for (size_t r = 0; out->contribution != NULL && r < x->rows; r++)
		if (fwrite(out->contribution + r * x->cols, sizeof(double), x->cols, file) != x->cols || fwrite(out->base, sizeof(double), 1, file) != 1)
			return fail("cannot write the contributions");
	return fclose(file) == 0 ? 0 : fail("cannot write the scores");
}

static int
run(const void *state, const struct mmq_batch *x, const char *scores, bool explains)
{
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE, .score_cols = mmq_engine_tree.score_cols(state) };
	const struct mmq_tree_walk *walk = ((const struct mmq_tree_model *)state)->walk;
	double base[1], *wide = mmq_array(x->rows * x->cols, sizeof(double));
	float *narrow = (float *)x->dense;
	if (out.score_cols != 1)
		return fail("one score a row is wanted");
	out.score = mmq_array(x->rows, sizeof(double));
	for (size_t i = 0; i < x->rows * x->cols; i++)
		wide[i] = (double)narrow[i];
	struct mmq_batch doubles = *x;
	doubles.dtype = MMQ_F64;
	doubles.dense = wide;
	size_t batch = x->rows < 10000 ? x->rows : 10000;
	printf("rows=%zu columns=%zu trees=%u path=%s rows_way=%s row_way=%s group_min=%zu", x->rows, x->cols, walk->trees,
	    mmq_cpu_has_avx512() ? "avx512" : mmq_cpu_path(), walk->rows_way->name, walk->row_way->name, walk->group_min);
	printf(" single_us=%.3f batch_us=%.3f", time_rows(state, x, &out, x->rows, 1), time_rows(state, x, &out, batch, batch));
	printf(" single_f64_us=%.3f batch_f64_us=%.3f", time_rows(state, &doubles, &out, x->rows, 1), time_rows(state, &doubles, &out, batch, batch));
	if (explains) {
		out.wanted |= MMQ_OUT_CONTRIBUTION;
		out.base = base;
		out.contribution = mmq_array(x->rows * x->cols, sizeof(double));
		printf(" explain_single_us=%.3f explain_batch_us=%.3f", time_rows(state, x, &out, 500, 1), time_rows(state, x, &out, batch, batch));
	}
	printf("\n");
	int result = scores != NULL ? write_scores(scores, x, &out) : 0;
	free(out.score);
	free(out.contribution);
	free(wide);
	return result;
}

static int
run_file(int argc, char **argv)
{
	struct mmq_import import;
	struct mmq_err err;
	void *state;
	uint8_t *bytes;
	size_t size;
	int32_t header[2];
	FILE *model = fopen(argv[1], "rb"), *file = fopen(argv[2], "rb");
	if (model == NULL || mmq_file_read(fileno(model), argv[1], MMQ_CONVERT_BYTES_MAX, &bytes, &size, &err) == -1)
		return fail("cannot read the model");
	fclose(model);
	if (mmq_lightgbm_read(&import, bytes, size, &err) == -1)
		return fail(err.message);
	int64_t start = mmq_clock_mono_us();
	if (mmq_engine_tree.open(&state, &import.part, &err) == -1)
		return fail(err.message);
	printf("open_ms=%.1f ", (double)(mmq_clock_mono_us() - start) * 1e-3);
	if (file == NULL || fread(header, sizeof(header[0]), 2, file) != 2 || header[0] < 1 || header[1] != (int32_t)import.cols || import.codes_cols > 0)
		return fail("DATA does not fit the model");
	struct mmq_batch x = { .rows = (size_t)header[0], .cols = import.cols, .dtype = MMQ_F32, .stride = import.cols };
	float *dense = mmq_array(x.rows * x.cols, sizeof(*dense));
	if (fread(dense, sizeof(*dense), x.rows * x.cols, file) != x.rows * x.cols)
		return fail("DATA ends early");
	fclose(file);
	x.dense = dense;
	int result = run(state, &x, argv[3], argc > 4 && strcmp(argv[4], "explain") == 0);
	mmq_engine_tree.destroy(&state);
	mmq_import_fini(&import);
	free(dense);
	free(bytes);
	return result;
}

static int
run_made(void)
{
	struct mmq_feature features[MADE_COLS];
	float *x = mmq_array((size_t)MADE_ROWS * MADE_COLS, sizeof(*x));
	double *y = mmq_array(MADE_ROWS, sizeof(*y));
	struct mmq_rng rng = mmq_rng_stream(1, 0, 0);
	struct mmq_params *params;
	struct mmq_err err;
	void *state;
	for (size_t c = 0; c < MADE_COLS; c++)
		features[c] = (struct mmq_feature){ .name = "x", .kind = MMQ_NUMERIC };
	for (size_t i = 0; i < (size_t)MADE_ROWS * MADE_COLS; i++)
		x[i] = (float)mmq_rng_normal(&rng);
	for (size_t r = 0; r < MADE_ROWS; r++)
		y[r] = (double)(x[r * MADE_COLS] * x[r * MADE_COLS + 1] + x[r * MADE_COLS + 2]) + mmq_rng_normal(&rng) > 0;
	struct mmq_dataset data = { .x = { .rows = MADE_ROWS, .cols = MADE_COLS, .dtype = MMQ_F32, .stride = MADE_COLS, .dense = x },
		.features = features, .features_count = MADE_COLS, .classes = 2, .y = y };
	if (mmq_params_parse(&params, mmq_engine_tree.params, NULL, 0, &err) == -1)
		return fail(err.message);
	struct mmq_fit fit = { .train = &data, .params = params, .task = MMQ_BINARY };
	if (mmq_engine_tree.train(&state, &fit, &err) == -1)
		return fail(err.message);
	int result = run(state, &data.x, NULL, true);
	mmq_engine_tree.destroy(&state);
	mmq_params_destroy(&params);
	free(x);
	free(y);
	return result;
}

int
main(int argc, char **argv)
{
	return argc == 1 ? run_made() : argc >= 4 ? run_file(argc, argv) : fail("usage: bench_tree_predict [MODEL DATA SCORES [explain]]");
}
