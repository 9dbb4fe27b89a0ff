/* bench_mlp.c: training and prediction times of the mlp engine on one set of works.
 *
 *   bench_mlp                            all works with 1 and 2 threads; bench/peers/mlp.py takes other libraries' times in turn with ours
 *   bench_mlp run WORK THREADS [name=value ...]   one work once: "seconds quality"; name=value changes its parameters, or the seed
 *   bench_mlp dump WORK FILE             its rows, for a peer: int32 {train rows, test rows, columns}, float32 x, float32 y of each
 *   bench_mlp predict WORK [FILE]        seconds for one row, seconds a row of 10,000; FILE gets the weights as saved and the probabilities, float32
 *
 * Digits are the 10,000 of examples/data: 8,000 to train, 2,000 held out; 20,000 rows are made of the 8,000 by shifting them. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "engine/engine.h"
#include "math/cpu.h"
#include "math/rng.h"
#include "util/clock.h"
#include "util/mem.h"

extern const struct mmq_engine mmq_engine_mlp;

enum { SIDE = 28, PIXELS = SIDE * SIDE, DIGITS = 10000, DIGITS_TRAIN = 8000, SETTINGS_MAX = 16, PREDICT_ROWS = 10000 };

struct rows {
	size_t count, cols;
	float *x;
	double *y;
};

struct work {
	const char *name;
	size_t train_rows;       /* 0: XOR */
	bool is_digits;
	const char *settings[SETTINGS_MAX];
};

static const struct work works[] = {
	{ "mlp784", 20000, true, { "hidden_layer_sizes=256 128", "batch_size=128", "max_iter=5", "alpha=0", "tol=0", "n_iter_no_change=100" } },
	{ "mlp28", 500000, false, { "hidden_layer_sizes=64 32", "batch_size=256", "max_iter=1", "alpha=0", "tol=0" } },
	{ "cnn28", 8000, true, { "layers=conv 8 3x3 relu, pool 2, conv 16 3x3 relu, pool 2, flatten, dense 64 relu", "batch_size=64", "max_iter=3",
	    "alpha=0", "tol=0", "n_iter_no_change=100" } },
	{ "xor", 0, false, { "hidden_layer_sizes=4", "activation=logistic", "loss=mse", "solver=sgd", "momentum=0", "nesterovs_momentum=false",
	    "batch_size=full", "alpha=0", "tol=0", "learning_rate_init=4", "max_iter=200000", "n_iter_no_change=1000000" } },
};
enum { WORKS = sizeof(works) / sizeof(works[0]) };

static int
fail(const char *what)
{
	fprintf(stderr, "bench_mlp: %s\n", what);
	return 1;
}

static bool
read_gz(const char *path, size_t skip, uint8_t *out, size_t size)
{
	gzFile file = gzopen(path, "rb");
	bool is_whole = file != NULL && gzseek(file, (z_off_t)skip, SEEK_SET) >= 0 && gzread(file, out, (unsigned)size) == (int)size;
	if (file != NULL)
		gzclose(file);
	return is_whole;
}

/* Digit r, moved by (r / rows of the source) pixels to the right. */
static bool
make_digits(struct rows *train, struct rows *test)
{
	uint8_t *pixels = mmq_alloc((size_t)DIGITS * PIXELS), *labels = mmq_alloc(DIGITS);
	bool is_there = read_gz("examples/data/mnist10k-images-idx3-ubyte.gz", 16, pixels, (size_t)DIGITS * PIXELS) &&
	    read_gz("examples/data/mnist10k-labels-idx1-ubyte.gz", 8, labels, DIGITS);
	for (int part = 0; part < 2; part++) {
		struct rows *rows = part == 0 ? train : test;
		size_t sources = part == 0 ? DIGITS_TRAIN : DIGITS - DIGITS_TRAIN, base = part == 0 ? 0 : DIGITS_TRAIN;
		for (size_t r = 0; r < rows->count; r++) {
			size_t from = base + r % sources, shift = r / sources;
			rows->y[r] = labels[from];
			for (size_t i = 0; i < PIXELS; i++)
				rows->x[r * PIXELS + i] = i % SIDE < shift ? 0.0f : (float)pixels[from * PIXELS + i - shift] / 255.0f;
		}
	}
	free(pixels), free(labels);
	return is_there;
}

static void
make_table(struct rows *rows, uint64_t seed)
{
	for (size_t r = 0; r < rows->count; r++) {
		struct mmq_rng rng = mmq_rng_stream(seed, r, 0);
		float *row = rows->x + r * rows->cols;
		double value = 0;
		for (size_t c = 0; c < rows->cols; c++)
			row[c] = (float)mmq_rng_normal(&rng);
		for (size_t c = 0; c + 2 < 15; c += 3)
			value += (double)(row[c] * row[c + 1]) + sin(2 * (double)row[c + 2]);
		rows->y[r] = value + mmq_rng_normal(&rng) > 0;
	}
}

static bool
make_rows(const struct work *work, struct rows *train, struct rows *test)
{
	static const float corners[8] = { 0, 0, 0, 1, 1, 0, 1, 1 };
	train->cols = test->cols = work->train_rows == 0 ? 2 : work->is_digits ? PIXELS : 28;
	train->count = work->train_rows == 0 ? 4 : work->train_rows;
	test->count = work->train_rows == 0 ? 4 : work->is_digits ? DIGITS - DIGITS_TRAIN : 50000;
	for (int part = 0; part < 2; part++) {
		struct rows *rows = part == 0 ? train : test;
		rows->x = mmq_aligned(rows->count * rows->cols * sizeof(float));
		rows->y = mmq_array(rows->count, sizeof(double));
		if (work->train_rows == 0) {
			memcpy(rows->x, corners, sizeof(corners));
			rows->y[1] = rows->y[2] = 1.0;
		} else if (!work->is_digits) {
			make_table(rows, (uint64_t)part + 1);
		}
	}
	return !work->is_digits || make_digits(train, test);
}

static void
free_rows(struct rows *rows)
{
	free(rows->x), free(rows->y);
}

static struct mmq_batch
batch_of(const struct rows *rows)
{
	return (struct mmq_batch){ .rows = rows->count, .cols = rows->cols, .dtype = MMQ_F32, .dense = rows->x, .stride = rows->cols };
}

/* Train once; the state is the caller's. */
static void *
train_once(const struct work *work, const struct rows *train, unsigned threads, const char *const *extra, size_t extra_count, double *seconds_out)
{
	const char *settings[2 * SETTINGS_MAX];
	size_t count = 0;
	uint64_t seed = 1;
	struct mmq_err err;
	struct mmq_params *params;
	void *state = NULL;
	while (work->settings[count] != NULL)
		settings[count] = work->settings[count], count++;
	for (size_t i = 0; i < extra_count && count < 2 * SETTINGS_MAX; i++) {
		size_t at = 0, name = strcspn(extra[i], "=") + 1;
		if (strncmp(extra[i], "seed=", name) == 0) {
			seed = strtoull(extra[i] + name, NULL, 10);
			continue;
		}
		while (at < count && strncmp(settings[at], extra[i], name) != 0)
			at++;
		settings[at] = extra[i];
		count += at == count;
	}
	if (mmq_params_parse(&params, mmq_engine_mlp.params, settings, count, &err) == -1) {
		fail(err.message);
		return NULL;
	}
	struct mmq_feature *features = mmq_array(train->cols, sizeof(*features));
	for (size_t c = 0; c < train->cols; c++)
		features[c] = (struct mmq_feature){ .name = "x", .kind = MMQ_NUMERIC };
	if (work->is_digits)
		features[0] = (struct mmq_feature){ .name = "image", .kind = MMQ_VECTOR, .rank = 3, .shape = { SIDE, SIDE, 1 } };
	struct mmq_dataset data = { .x = batch_of(train), .y = train->y, .classes = work->is_digits ? 10 : 2, .features = features,
		.features_count = work->is_digits ? 1 : train->cols };
	struct mmq_fit fit = { .train = &data, .params = params, .seed = seed, .pool = mmq_pool_new(threads),
		.task = work->is_digits ? MMQ_MULTICLASS : MMQ_BINARY };
	int64_t start = mmq_clock_mono_us();
	int rc = mmq_engine_mlp.train(&state, &fit, &err);
	*seconds_out = (double)(mmq_clock_mono_us() - start) * 1e-6;
	if (rc == -1)
		fail(err.message);
	mmq_pool_destroy(&fit.pool);
	mmq_params_destroy(&params);
	free(features);
	return state;
}

/* Share of right answers. */
static double
accuracy(const void *state, const struct rows *rows)
{
	struct mmq_err err;
	struct mmq_batch x = batch_of(rows);
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE, .score_cols = mmq_engine_mlp.score_cols(state) };
	void *scratch = mmq_aligned(mmq_engine_mlp.scratch_bytes(state, rows->count, out.wanted));
	size_t right = 0;
	out.score = mmq_array(rows->count * out.score_cols, sizeof(double));
	if (mmq_engine_mlp.predict(state, &x, &out, scratch, &err) == -1)
		fail(err.message);
	for (size_t r = 0; r < rows->count; r++) {
		const double *score = out.score + r * out.score_cols;
		size_t best = out.score_cols == 1 ? score[0] > 0.0 : 0;
		for (size_t k = 1; k < out.score_cols; k++)
			best = score[k] > score[best] ? k : best;
		right += (double)best == rows->y[r];
	}
	free(out.score), free(scratch);
	return (double)right / (double)rows->count;
}

static int
run_work(const struct work *work, unsigned threads, const char *const *extra, size_t extra_count, double *seconds_out, double *quality_out)
{
	struct rows train, test;
	if (!make_rows(work, &train, &test))
		return fail("examples/data: no digits; run from the project's root");
	void *state = train_once(work, &train, threads, extra, extra_count, seconds_out);
	*quality_out = state != NULL ? accuracy(state, &test) : 0.0;
	mmq_engine_mlp.destroy(&state);
	free_rows(&train), free_rows(&test);
	return 0;
}

static int
compare_double(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* For a peer: the weights as the model file holds them, then the probabilities. */
static bool
write_model(const char *path, const void *state, const struct mmq_outputs *out, size_t count)
{
	FILE *file = fopen(path, "wb");
	struct mmq_part part;
	struct mmq_err err;
	bool is_written = file != NULL;
	mmq_part_init(&part, true);
	is_written = is_written && mmq_engine_mlp.save(state, &part, &err) == 0;
	for (size_t t = 0; t < part.tensors_count && is_written; t++)
		if (strcmp(part.tensors[t].name, "params") == 0)
			is_written = fwrite(part.tensors[t].data, 1, part.tensors[t].bytes, file) == part.tensors[t].bytes;
	for (size_t i = 0; i < count && is_written; i++) {
		float value = (float)out->probability[i];
		is_written = fwrite(&value, sizeof(value), 1, file) == 1;
	}
	mmq_part_fini(&part);
	return file != NULL && fclose(file) == 0 && is_written;
}

/* Seconds per row: one row at a time, and a batch of 10,000. Medians of 9. */
static int
time_prediction(const struct work *work, const char *path, double *one_out, double *batch_out)
{
	struct rows train, test;
	struct mmq_err err;
	double seconds, one[9], many[9];
	const char *const quick[] = { "max_iter=1" };
	if (!make_rows(work, &train, &test))
		return fail("examples/data: no digits; run from the project's root");
	train.count = train.count < 10000 ? train.count : 10000;
	void *state = train_once(work, &train, 1, quick, 1, &seconds);
	if (state == NULL)
		return 1;
	struct mmq_outputs out = { .wanted = MMQ_OUT_PROBABILITY, .score_cols = mmq_engine_mlp.score_cols(state) };
	void *scratch = mmq_aligned(mmq_engine_mlp.scratch_bytes(state, PREDICT_ROWS, out.wanted));
	out.probability = mmq_array(PREDICT_ROWS * 10, sizeof(double));
	struct mmq_batch x = batch_of(&train);
	x.rows = train.count;
	for (int round = 0; round < 9; round++) {
		size_t singles = 4000;
		int64_t start = mmq_clock_mono_us();
		for (size_t r = 0; r < singles; r++) {
			struct mmq_batch row = x;
			row.rows = 1;
			row.dense = train.x + (r % 64) * train.cols;
			mmq_engine_mlp.predict(state, &row, &out, scratch, &err);
		}
		one[round] = (double)(mmq_clock_mono_us() - start) * 1e-6 / (double)singles;
		start = mmq_clock_mono_us();
		mmq_engine_mlp.predict(state, &x, &out, scratch, &err);
		many[round] = (double)(mmq_clock_mono_us() - start) * 1e-6 / (double)x.rows;
	}
	qsort(one, 9, sizeof(double), compare_double);
	qsort(many, 9, sizeof(double), compare_double);
	if (path != NULL && !write_model(path, state, &out, x.rows * (size_t)(work->is_digits ? 10 : 2)))
		return fail("cannot write the model");
	*one_out = one[4];
	*batch_out = many[4];
	mmq_engine_mlp.destroy(&state);
	free(out.probability), free(scratch);
	free_rows(&train), free_rows(&test);
	return 0;
}

static int
dump_rows(const struct work *work, const char *path)
{
	struct rows train, test;
	FILE *file = fopen(path, "wb");
	if (file == NULL || !make_rows(work, &train, &test))
		return fail("cannot write the rows");
	int32_t head[3] = { (int32_t)train.count, (int32_t)test.count, (int32_t)train.cols };
	fwrite(head, sizeof(head), 1, file);
	for (int part = 0; part < 2; part++) {
		struct rows *rows = part == 0 ? &train : &test;
		fwrite(rows->x, sizeof(float), rows->count * rows->cols, file);
		for (size_t r = 0; r < rows->count; r++) {
			float y = (float)rows->y[r];
			fwrite(&y, sizeof(y), 1, file);
		}
		free_rows(rows);
	}
	return fclose(file) == 0 ? 0 : fail("cannot write the rows");
}

static const struct work *
find_work(const char *name)
{
	for (size_t i = 0; i < WORKS; i++)
		if (strcmp(works[i].name, name) == 0)
			return &works[i];
	fail("no such work");
	return NULL;
}

static int
print_all(void)
{
	double seconds, quality, one, many;
	printf("path=%s\n", mmq_cpu_path());
	for (size_t i = 0; i < WORKS; i++) {
		for (unsigned threads = 1; threads <= (works[i].train_rows > 0 ? 2 : 1); threads++) {
			if (run_work(&works[i], threads, NULL, 0, &seconds, &quality) != 0)
				return 1;
			if (works[i].train_rows == 0)
				printf("%s: %.3f us an iteration, accuracy %.4f\n", works[i].name, seconds / 200000 * 1e6, quality);
			else
				printf("%s: %u threads %.3f s, accuracy %.4f\n", works[i].name, threads, seconds, quality);
		}
		if (works[i].train_rows == 0)
			continue;
		if (time_prediction(&works[i], NULL, &one, &many) != 0)
			return 1;
		printf("%s: one row %.3f us, batch %.4f us a row\n", works[i].name, one * 1e6, many * 1e6);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	double seconds, quality, one, many;
	const struct work *work = argc > 2 ? find_work(argv[2]) : NULL;
	mmq_cpu_pin_blas(argv);
	if (argc == 1)
		return print_all();
	if (work == NULL)
		return fail("usage: bench_mlp | run WORK THREADS [name=value ...] | predict WORK [FILE] | dump WORK FILE");
	if (strcmp(argv[1], "run") == 0 && argc >= 4) {
		int rc = run_work(work, (unsigned)atoi(argv[3]), (const char *const *)argv + 4, (size_t)argc - 4, &seconds, &quality);
		printf("%.6f %.5f\n", seconds, quality);
		return rc;
	}
	if (strcmp(argv[1], "predict") == 0) {
		int rc = time_prediction(work, argc > 3 ? argv[3] : NULL, &one, &many);
		printf("%.9f %.9f\n", one, many);
		return rc;
	}
	if (strcmp(argv[1], "dump") == 0 && argc == 4)
		return dump_rows(work, argv[3]);
	return fail("usage: bench_mlp | run WORK THREADS [name=value ...] | predict WORK [FILE] | dump WORK FILE");
}
