#!/usr/bin/env python3
"""Times predictions of bench_tree_predict beside LightGBM, lleaves and XGBoost: one thread, pinned to a core, at least 10,000 distinct rows in turn.

    python bench/peers/tree_predict.py [case ...]

Cases: 100x31 and 1000x127, trees by leaves over 28 float32 columns. LightGBM trains the model that it, lleaves and we answer with; XGBoost
trains one of the same size. Single rows go through C loops (compiled here), so that no interpreter is measured; medians of MMQ_BENCH_REPEATS (5).
XGBoost's C interface has no other entry for one row than the one that takes its matrix as JSON.
Scores, and contributions of the smaller model, are held to LightGBM's in the same run.
"""
import ctypes
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import lightgbm
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
BENCH = HERE.parent.parent / "build/plain/bench/bench_tree_predict"
REPEATS = int(os.environ.get("MMQ_BENCH_REPEATS", "5"))
CASES = {"100x31": (100, 31, 0.1), "1000x127": (1000, 127, 0.02)}
ROWS, TRAIN_ROWS, COLS, EXPLAINED = 20000, 40000, 28, 300

LOOPS = r"""
#include <stdint.h>
#include <stdio.h>
typedef int fast(void *config, const void *row, int64_t *count, double *out);
void lightgbm_rows(fast *f, void *config, const float *x, int64_t rows, int64_t cols, double *out)
{
	int64_t count;
	for (int64_t r = 0; r < rows; r++)
		f(config, x + r * cols, &count, out + r);
}
typedef void entry(const double *x, double *out, int32_t from, int32_t to);
void lleaves_rows(entry *f, const double *x, int32_t rows, double *out)
{
	for (int32_t r = 0; r < rows; r++)
		f(x, out, r, r + 1);
}
typedef int dense(void *model, const char *values, const char *config, void *proxy, const uint64_t **shape, uint64_t *dim, const float **found);
int xgboost_rows(dense *f, void *model, const char *config, const float *x, int64_t rows, int64_t cols, float *out)
{
	const uint64_t *shape;
	const float *found;
	uint64_t dim;
	char values[200];
	for (int64_t r = 0; r < rows; r++) {
		snprintf(values, sizeof(values), "{\"data\":[%zu,false],\"shape\":[1,%d],\"typestr\":\"<f4\",\"version\":3}", (size_t)(x + r * cols), (int)cols);
		if (f(model, values, config, 0, &shape, &dim, &found) != 0)
			return -1;
		out[r] = found[0];
	}
	return 0;
}
"""


def made():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(TRAIN_ROWS + ROWS, COLS)).astype(np.float32)
    value = sum(x[:, c] * x[:, c + 1] + np.sin(2 * x[:, c + 2]) for c in range(0, 13, 3))
    return x, (value + rng.normal(size=len(x)) > 0).astype(float)


def median_us(run, rows):
    took = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        took.append((time.perf_counter() - start) / rows * 1e6)
    return statistics.median(took)


def compiled_loops(folder):
    source, library = folder / "loops.c", folder / "loops.so"
    source.write_text(LOOPS)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return ctypes.CDLL(str(library))


def time_lightgbm(model, x, loops, explains):
    library, config, out = lightgbm.basic._LIB, ctypes.c_void_p(), np.zeros(len(x))
    library.LGBM_BoosterPredictForMatSingleRowFastInit(model._handle, 1, 0, -1, 0, COLS, b"num_threads=1", ctypes.byref(config))
    loops.lightgbm_rows.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2 + [ctypes.c_void_p]
    address = ctypes.cast(library.LGBM_BoosterPredictForMatSingleRowFast, ctypes.c_void_p)
    single = median_us(lambda: loops.lightgbm_rows(address, config, x.ctypes.data, len(x), COLS, out.ctypes.data), len(x))
    batch = median_us(lambda: model.predict(x[:10000], raw_score=True, num_threads=1), 10000)
    found = {"single_us": single, "batch_us": batch}
    if explains:
        found["explain_us"] = median_us(lambda: model.predict(x[:EXPLAINED], pred_contrib=True, num_threads=1), EXPLAINED)
    return found


def time_lleaves(path, x, loops):
    import lleaves
    model = lleaves.Model(model_file=str(path))
    start = time.perf_counter()
    model.compile()
    took, wide, out = time.perf_counter() - start, x.astype(np.float64), np.zeros(len(x))
    loops.lleaves_rows.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p]
    entry = ctypes.cast(model._c_entry_func, ctypes.c_void_p)
    single = median_us(lambda: loops.lleaves_rows(entry, wide.ctypes.data, len(x), out.ctypes.data), len(x))
    return {"single_us": single, "batch_us": median_us(lambda: model.predict(wide[:10000], n_jobs=1), 10000), "compile_s": took}


def time_xgboost(x, y, trees, leaves, rate, loops):
    import xgboost
    params = {"objective": "binary:logistic", "tree_method": "hist", "grow_policy": "lossguide", "max_leaves": leaves, "max_depth": 0, "eta": rate, "nthread": 2}
    model = xgboost.train(params, xgboost.DMatrix(x[:TRAIN_ROWS], y[:TRAIN_ROWS]), trees)
    model.set_param({"nthread": 1})
    test = x[TRAIN_ROWS:]
    out, wrong = np.zeros(len(test), np.float32), []
    loops.xgboost_rows.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_char_p, ctypes.c_void_p] + [ctypes.c_int64] * 2 + [ctypes.c_void_p]
    entry = ctypes.cast(xgboost.core._LIB.XGBoosterPredictFromDense, ctypes.c_void_p)
    config = b'{"type":1,"training":false,"iteration_begin":0,"iteration_end":0,"missing":NaN,"strict_shape":false,"cache_id":0}'
    single = median_us(lambda: wrong.append(loops.xgboost_rows(entry, model.handle, config, test.ctypes.data, len(test), COLS, out.ctypes.data)), len(test))
    if any(wrong) or abs(out - model.inplace_predict(test, predict_type="margin")).max() > 1e-5:
        raise RuntimeError("XGBoost's C interface does not answer as its Python one")
    return {"single_us": single, "batch_us": median_us(lambda: model.inplace_predict(test[:10000]), 10000)}


def time_ours(path, x, folder, explains):
    rows, scores = folder / "rows.bin", folder / "scores.bin"
    with open(rows, "wb") as file:
        file.write(np.array(x.shape, np.int32).tobytes() + x.tobytes())
    done = subprocess.run([BENCH, path, rows, scores] + ["explain"] * explains, check=True, capture_output=True, text=True)
    found = np.fromfile(scores)
    return dict(part.split("=") for part in done.stdout.split()), found[:len(x)], found[len(x):].reshape(len(x), -1) if explains else None


def run(case, x, y, folder):
    trees, leaves, rate = CASES[case]
    path = folder / f"{case}.txt"
    params = {"objective": "binary", "num_leaves": leaves, "learning_rate": rate, "verbose": -1, "num_threads": 2}
    lightgbm.train(params, lightgbm.Dataset(x[:TRAIN_ROWS], y[:TRAIN_ROWS]), trees).save_model(path)
    test, loops = x[TRAIN_ROWS:], compiled_loops(folder)
    model = lightgbm.Booster(model_file=path)
    explains = trees <= 100
    ours, scores, contributions = time_ours(path, test, folder, explains)
    peers = {f"LightGBM {lightgbm.__version__}": time_lightgbm(model, test, loops, explains)}
    if trees <= 100:   # larger ones take lleaves minutes to compile
        try:
            peers["lleaves"] = time_lleaves(path, test, loops)
        except (ImportError, AttributeError) as error:   # it needs an llvmlite that still has what it calls
            print(f"{case}: lleaves does not run here: {error}")
    try:
        import xgboost
        peers[f"XGBoost {xgboost.__version__} (its own trees)"] = time_xgboost(x, y, trees, leaves, rate, loops)
    except ImportError:
        pass
    wrong = abs(scores - model.predict(test, raw_score=True)).max()
    differs = f"score {wrong:.2g}"
    if explains:
        differs += f", contribution {abs(contributions[:EXPLAINED] - model.predict(test[:EXPLAINED], pred_contrib=True)).max():.2g}"
    print(f"{case}: ours  " + "  ".join(f"{k}={v}" for k, v in ours.items() if k not in ("rows", "columns", "trees")))
    print(f"{case}: largest difference from LightGBM: {differs}")
    for name, figures in peers.items():
        print(f"{case}: {name}  " + "  ".join(f"{k}={v:.3f}" for k, v in figures.items()))


def main():
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    x, y = made()
    with tempfile.TemporaryDirectory() as folder:
        for case in sys.argv[1:] or CASES:
            run(case, x, y, pathlib.Path(folder))


if __name__ == "__main__":
    main()
