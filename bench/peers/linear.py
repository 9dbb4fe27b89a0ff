#!/usr/bin/env python3
"""Times bench_linear beside scikit-learn, scikit-learn-intelex (oneDAL) and LIBLINEAR's primal, as far as installed: logistic, 500,000 x 28.

Runs are interleaved; medians of MMQ_BENCH_REPEATS (3), MMQ_BENCH_THREADS (1). The primal objective, sum of log losses plus |w|^2 / (2 C), is
recomputed here in double for everyone; LIBLINEAR penalises its bias too, so its own optimum differs a little.
"""
import os
import struct
import subprocess
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "..", "build", "plain", "bench", "bench_linear")


def objective(x, y, coef, intercept):
    margin = (2 * y - 1) * (x.astype(np.float64) @ coef + intercept)
    return np.logaddexp(0, -margin).sum() + coef @ coef / 2


def main():
    threads, repeats = int(os.environ.get("MMQ_BENCH_THREADS", "1")), int(os.environ.get("MMQ_BENCH_REPEATS", "3"))
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500000, 28)).astype(np.float32)
    y = (x @ rng.normal(size=28) * 0.1 + rng.normal(size=len(x)) > 0).astype(np.float64)
    models = {}
    try:
        from sklearn.linear_model import LogisticRegression
        models["scikit-learn"] = lambda: LogisticRegression(max_iter=200)
        from sklearnex.linear_model import LogisticRegression as FastLogistic
        import daal4py
        daal4py.daalinit(threads)
        models["oneDAL"] = lambda: FastLogistic(max_iter=200)
        models["scikit-learn newton-cholesky"] = lambda: LogisticRegression(solver="newton-cholesky")
    except ImportError:
        pass
    times, values = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "data")
        with open(path, "wb") as file:
            file.write(struct.pack("<3i", *x.shape, 2) + x.tobytes() + y.tobytes())
        for _ in range(repeats):
            done = subprocess.run([BENCH, path, path + ".coef", str(threads)], check=True, capture_output=True, text=True)
            times.setdefault("modelmq", []).append(float(done.stdout.split("train_s=")[1].split()[0]))
            coef = np.fromfile(path + ".coef")
            values["modelmq"] = objective(x, y, coef[:-1], coef[-1])
            for name, make in models.items():
                model = make()
                start = time.perf_counter()
                model.fit(x, y)
                times.setdefault(name, []).append(time.perf_counter() - start)
                values[name] = objective(x, y, model.coef_[0].astype(np.float64), float(model.intercept_[0]))
    best = min(values.values())
    for name, seconds in times.items():
        print(f"logistic 500000x28 threads={threads} {name:28} {np.median(seconds):7.3f} s  objective {values[name]:.6f} ({(values[name] - best) / best:.1e} above the best)")


if __name__ == "__main__":
    main()
