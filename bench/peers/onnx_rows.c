/* onnx_rows.c: times onnxruntime through its C interface, for mlp.py, which compiles this file and calls onnx_rows.
 *
 * The library is opened by its path and its functions are taken by their place in the table that OrtGetApiBase gives (the table only grows), so that no
 * header is needed. Inputs and outputs are made before the clock starts: what is timed is Run alone, which is the library at its best. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum { CREATE_ENV = 3, CREATE_SESSION_FROM_ARRAY = 8, RUN = 9, CREATE_SESSION_OPTIONS = 10, SET_INTRA_THREADS = 24, SET_INTER_THREADS = 25,
	CREATE_TENSOR = 49, CREATE_CPU_MEMORY = 69, API_VERSION = 11, FLOAT = 1, ERRORS_ONLY = 3, SINGLES = 64, ROUNDS = 9 };

typedef void *(*function)();
struct base { function *(*get)(uint32_t version); };

static double
now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int
compare(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static void *
tensor(function *api, void *memory, const float *values, int64_t rows, int64_t cols)
{
	int64_t shape[2] = { rows, cols };
	void *value = NULL;
	api[CREATE_TENSOR](memory, values, (size_t)(rows * cols) * sizeof(float), shape, (size_t)2, FLOAT, &value);
	return value;
}

/* x (rows, cols), y (rows, outs). seconds_out: median of one row, and of a row of all rows. Returns 0, or the step that failed. */
int
onnx_rows(const char *library, const void *model, size_t model_bytes, const float *x, size_t rows, size_t cols, float *y, size_t outs, size_t singles,
    double *seconds_out)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL), *env, *options, *session, *memory, *one[SINGLES], *one_out, *in, *out;
	const char *in_name = "x", *out_name = "y";
	struct base *(*get_base)(void) = handle != NULL ? (struct base *(*)(void))dlsym(handle, "OrtGetApiBase") : NULL;
	double took[2][ROUNDS];
	if (get_base == NULL)
		return 1;
	function *api = get_base()->get(API_VERSION);
	if (api == NULL || api[CREATE_ENV](ERRORS_ONLY, "bench", &env) != NULL || api[CREATE_SESSION_OPTIONS](&options) != NULL)
		return 2;
	api[SET_INTRA_THREADS](options, 1);
	api[SET_INTER_THREADS](options, 1);
	if (api[CREATE_SESSION_FROM_ARRAY](env, model, model_bytes, options, &session) != NULL || api[CREATE_CPU_MEMORY](1, 0, &memory) != NULL)
		return 3;
	in = tensor(api, memory, x, (int64_t)rows, (int64_t)cols);
	out = tensor(api, memory, y, (int64_t)rows, (int64_t)outs);
	one_out = tensor(api, memory, y, 1, (int64_t)outs);
	for (size_t i = 0; i < SINGLES; i++)
		one[i] = tensor(api, memory, x + i * cols, 1, (int64_t)cols);
	for (int round = 0; round < ROUNDS; round++) {
		double start = now();
		for (size_t i = 0; i < singles; i++)
			if (api[RUN](session, NULL, &in_name, &one[i % SINGLES], (size_t)1, &out_name, (size_t)1, &one_out) != NULL)
				return 4;
		took[0][round] = (now() - start) / (double)singles;
		start = now();
		if (api[RUN](session, NULL, &in_name, &in, (size_t)1, &out_name, (size_t)1, &out) != NULL)
			return 5;
		took[1][round] = (now() - start) / (double)rows;
	}
	for (int k = 0; k < 2; k++) {
		qsort(took[k], ROUNDS, sizeof(double), compare);
		seconds_out[k] = took[k][ROUNDS / 2];
	}
	return 0;
}
