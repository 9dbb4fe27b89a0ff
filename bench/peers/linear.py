#!/usr/bin/env python3
"""Times bench_linear beside scikit-learn, scikit-learn-intelex (oneDAL) and LIBLINEAR, as far as installed.

Cases (arguments; all without): logistic and svc (500,000 x 28, logistic and squared hinge), lasso and elasticnet (200,000 x 100; scikit-learn), wide
(1,000 x 5,000 lasso), text_svc, text_logistic (50,000 sparse rows of about 75 of 100,000 columns; LIBLINEAR). Runs are interleaved; medians of
MMQ_BENCH_REPEATS (5), MMQ_BENCH_THREADS (1). Time is from the matrix in memory to the model: LIBLINEAR's rows are converted before. The primal objective is
recomputed here in double for everyone. svc has LIBLINEAR's penalised bias for both; LIBLINEAR stops by its default eps, this side by its own tol.
"""
import os
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "..", "build", "plain", "bench", "bench_linear")
THREADS, REPEATS = int(os.environ.get("MMQ_BENCH_THREADS", "1")), int(os.environ.get("MMQ_BENCH_REPEATS", "5"))


def dense(rows, cols, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, cols)).astype(np.float32)
    return x, x @ (rng.normal(size=cols) * 0.1 * (np.arange(cols) < 28)) + rng.normal(size=rows)


def text(rows=50000, cols=100000, words=75):
    """Bags of words with Zipf's frequencies and tf-idf-like weights, rows of length 1."""
    import scipy.sparse
    rng = np.random.default_rng(2)
    col = (cols ** rng.random((rows, words))).astype(np.int64) - 1
    x = scipy.sparse.csr_matrix((1 + rng.random(rows * words), (np.repeat(np.arange(rows), words), col.ravel())), shape=(rows, cols))
    x.sum_duplicates()
    x.data *= np.log1p(x.indices)          # rarer words weigh more
    x = scipy.sparse.diags(1 / np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).ravel())) @ x
    x = x.tocsr().astype(np.float32)
    score = x @ rng.normal(size=cols)
    return x, score + 0.3 * rng.normal(size=rows)


def write(path, x, y, classes):
    with open(path, "wb") as file:
        if hasattr(x, "indptr"):
            file.write(struct.pack("<3i", x.shape[0], -x.shape[1], classes) + x.indptr.astype(np.uint64).tobytes() +
                       x.indices.astype(np.uint32).tobytes() + x.data.astype(np.float32).tobytes())
        else:
            file.write(struct.pack("<3i", *x.shape, classes) + x.tobytes())
        file.write(y.astype(np.float64).tobytes())


def ours(path, settings):
    done = subprocess.run([BENCH, path, path + ".coef", str(THREADS), *settings], check=True, capture_output=True, text=True,
                          env={**os.environ, "MMQ_BENCH_FITS": "3"})     # the peers' process has fitted before, too
    coef = np.fromfile(path + ".coef")
    said = dict(pair.split("=") for pair in done.stdout.split())
    return float(said["train_s"]), coef[:-1], coef[-1], f"{said['method']}, {said['iterations']} iterations" + ("" if said["converged"] == "1" else ", NOT CONVERGED")


def sklearn_peer(make):
    def run(x, y):
        model = make()
        start = time.perf_counter()
        model.fit(x, y)
        return time.perf_counter() - start, np.ravel(model.coef_).astype(np.float64), float(np.ravel(model.intercept_)[0]), ""
    return run


def liblinear_peer(options):
    from liblinear import liblinear, liblinearutil
    kept = {}

    def run(x, y):
        if not kept:
            import scipy.sparse
            kept["problem"] = liblinear.problem(2 * y - 1, scipy.sparse.csr_matrix(x, dtype=np.float64), bias=1)
        start = time.perf_counter()
        model = liblinearutil.train(kept["problem"], liblinear.parameter(options + " -q"))
        seconds = time.perf_counter() - start
        coef, bias = model.get_decfun(0)
        coef = np.asarray(coef) * (1 if model.get_labels()[0] == 1 else -1)
        return seconds, coef, bias * (1 if model.get_labels()[0] == 1 else -1), ""
    return run


def log_loss(z, t):
    return np.logaddexp(0, -t * z).sum()


def squared_hinge(z, t):
    return (np.maximum(0, 1 - t * z) ** 2).sum()


def classes_objective(loss, bias):
    return lambda x, y, w, b: loss(x @ w + b, 2 * y - 1) + (w @ w + (b * b if bias else 0)) / 2


def lasso_objective(alpha, ratio):
    return lambda x, y, w, b: ((y - x @ w - b) ** 2).mean() / 2 + alpha * (ratio * np.abs(w).sum() + (1 - ratio) / 2 * (w @ w))


def peers():
    """name of the case -> (data, classes?, our settings, objective, {peer: run})"""
    from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression
    from liblinear import liblinear  # noqa: F401  (its absence ends the comparison here, not midway)
    tall = {"scikit-learn lbfgs": sklearn_peer(lambda: LogisticRegression(max_iter=200)),
            "scikit-learn newton-cholesky": sklearn_peer(lambda: LogisticRegression(solver="newton-cholesky"))}
    try:
        from sklearnex.linear_model import LogisticRegression as FastLogistic
        import daal4py
        daal4py.daalinit(THREADS)
        tall["oneDAL"] = sklearn_peer(lambda: FastLogistic(max_iter=200))
    except ImportError:
        pass
    bias = ["loss=squared_hinge", "penalize_intercept=true"]
    return {
        "logistic": (lambda: dense(500000, 28), True, [], classes_objective(log_loss, False), tall),
        "svc": (lambda: dense(500000, 28), True, bias, classes_objective(squared_hinge, True), {"LIBLINEAR primal (-s 2)": liblinear_peer("-s 2 -B 1")}),
        "lasso": (lambda: dense(200000, 100), False, ["penalty=l1", "alpha=0.02"], lasso_objective(0.02, 1), {"scikit-learn": sklearn_peer(lambda: Lasso(alpha=0.02))}),
        "elasticnet": (lambda: dense(200000, 100), False, ["penalty=elasticnet", "alpha=0.02", "l1_ratio=0.5"], lasso_objective(0.02, 0.5),
                       {"scikit-learn": sklearn_peer(lambda: ElasticNet(alpha=0.02))}),
        "wide": (lambda: dense(1000, 5000), False, ["penalty=l1", "alpha=0.05"], lasso_objective(0.05, 1), {"scikit-learn": sklearn_peer(lambda: Lasso(alpha=0.05))}),
        "text_svc": (text, True, bias, classes_objective(squared_hinge, True), {"LIBLINEAR dual (-s 1)": liblinear_peer("-s 1 -B 1"),
                                                                              "LIBLINEAR primal (-s 2)": liblinear_peer("-s 2 -B 1")}),
        "text_logistic": (text, True, ["penalize_intercept=true"], classes_objective(log_loss, True), {"LIBLINEAR primal (-s 0)": liblinear_peer("-s 0 -B 1"),
                                                                                                      "LIBLINEAR dual (-s 7)": liblinear_peer("-s 7 -B 1")}),
    }


def main():
    try:
        cases = peers()
    except ImportError as error:
        print(f"linear: peers are missing ({error}); bench_linear alone")
        sys.exit(subprocess.run([BENCH]).returncode)
    for name in sys.argv[1:] or cases:
        make, is_classes, settings, objective, others = cases[name]
        x, y = make()
        y = (y > 0).astype(np.float64) if is_classes else y.astype(np.float64)
        times, values, notes = {}, {}, {}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "data")
            write(path, x, y, 2 if is_classes else 0)
            wide = x.astype(np.float64)
            for _ in range(REPEATS):
                for who, run in {"modelmq": lambda _x, _y: ours(path, settings), **others}.items():
                    seconds, coef, intercept, notes[who] = run(x, y)
                    times.setdefault(who, []).append(seconds)
                    values[who] = objective(wide, y, coef, intercept)
        best = min(values.values())
        for who, seconds in times.items():
            print(f"{name:13} {x.shape[0]} x {x.shape[1]} threads={THREADS} {who:28} {np.median(seconds):8.4f} s  objective {values[who]:.8g} "
                  f"({(values[who] - best) / best:.1e} above the best)  ours is {np.median(times['modelmq']) / np.median(seconds):.3f} x  {notes[who]}", flush=True)


if __name__ == "__main__":
    main()
