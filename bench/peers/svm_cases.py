"""The data and settings of bench/peers/svm.py's cases, and the file that carries data to the sides."""
import os

import numpy as np
import scipy.sparse as sp

DATA = os.environ.get("MMQ_BENCH_DATA", "")       # folder of real data sets; cases on them are left out without it


def made(rows, cols, classes=2, informative=20, seed=1, separation=1.0, noise=0.05):
    from sklearn.datasets import make_classification
    x, y = make_classification(rows, cols, n_informative=informative, n_redundant=0, n_classes=classes, class_sep=separation,
                               flip_y=noise, random_state=seed)
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), y.astype(np.float64), classes


def made_regression(rows, cols, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, cols)).astype(np.float32)
    y = x[:, :10].sum(1) / 3 + x[:, 0] * x[:, 1] + 0.2 * rng.normal(size=rows)
    return x, ((y - y.mean()) / y.std()).astype(np.float64), 0


def unscaled():
    x, y, classes = made(4000, 20, 2, 10, 5)
    return (x * np.logspace(-2, 3, 20, dtype=np.float32) + np.float32(1000)), y, classes


def duplicates():
    x, y, classes = made(4000, 20, 2, 10, 6)
    x[1::4] = x[::4]
    y[1::4] = 1 - y[::4]
    return x, y, classes


def libsvm_file(name, rows, cols):
    import gzip
    with gzip.open(os.path.join(DATA, name), "rt") as file:
        lines = [line.split() for line in file]
    y = np.array([float(fields[0]) > 0 for fields in lines], float)
    col = [[int(pair.split(":")[0]) - 1 for pair in fields[1:]] for fields in lines]
    start = np.cumsum([0] + [len(c) for c in col])
    values = np.concatenate([[float(pair.split(":")[1]) for pair in fields[1:]] for fields in lines])
    return sp.csr_matrix((values.astype(np.float32), np.concatenate(col), start), (len(lines), cols)), y, 2


RBF = dict(C=1.0, gamma=0.02, kernel="rbf")
TABLE = {
    "svc": (lambda: made(20000, 50, separation=1.25), RBF, {}),
    "classes": (lambda: made(20000, 784, 10, 60, 4), dict(RBF, gamma=1 / 784), dict(cache=2000)),
    "svr": (lambda: made_regression(20000, 50), RBF, {}),
    "a9a": (lambda: libsvm_file("a9a_train.libsvm.gz", 32561, 123), dict(RBF, gamma=1 / 123), {}),
    "probability": (lambda: made(20000, 50, separation=1.25), RBF, dict(probability=True)),
    "predict": (lambda: made(20000, 50, separation=1.25), RBF, dict(predict=True)),
}
ROBUST = {
    "easy": (lambda: made(20000, 50, 2, 20, 2, 3.0, 0.0), RBF, {}),
    "separable": (lambda: made(5000, 20, 2, 10, 3, 8.0, 0.0), dict(RBF, C=1000.0), {}),
    "C=0.01": (lambda: made(4000, 8, 2, 5, 3, 0.7, 0.1), dict(RBF, C=0.01), {}),
    "C=1": (lambda: made(4000, 8, 2, 5, 3, 0.7, 0.1), RBF, {}),
    "C=100": (lambda: made(4000, 8, 2, 5, 3, 0.7, 0.1), dict(RBF, C=100.0), {}),
    "C=10000": (lambda: made(4000, 8, 2, 5, 3, 0.7, 0.1), dict(RBF, C=10000.0), {}),
    "g=0.001": (lambda: made(5000, 30, 2, 10, 3), dict(RBF, gamma=0.001), {}),
    "g=0.1": (lambda: made(5000, 30, 2, 10, 3), dict(RBF, gamma=0.1), {}),
    "g=10": (lambda: made(5000, 30, 2, 10, 3), dict(RBF, gamma=10.0), {}),
    "unscaled": (unscaled, dict(RBF, gamma=1e-6), {}),
    "duplicates": (duplicates, RBF, {}),
    "n=50": (lambda: made(50, 10, 2, 5, 7), RBF, {}),
    "n=50,C=10000": (lambda: made(50, 10, 2, 5, 7), dict(RBF, C=10000.0), {}),
    "n=50000": (lambda: made(50000, 20, 2, 10, 8, 1.5), RBF, {}),
    "n=50000,C=100": (lambda: made(50000, 20, 2, 10, 8, 1.5), dict(RBF, C=100.0), {}),
    "easy50000": (lambda: made(50000, 20, 2, 10, 2, 3.0, 0.0), dict(RBF, C=100.0), {}),
    "easy,C=10000": (lambda: made(50000, 20, 2, 10, 2, 3.0, 0.0), dict(RBF, C=10000.0), {}),
}
CASES = {**TABLE, **ROBUST}


def save_data(path, data, classes):
    x, y = data
    with open(path, "wb") as file:
        np.array([*x.shape, classes, sp.issparse(x)], np.int32).tofile(file)
        for part in ([x.indptr.astype(np.uint64), x.indices.astype(np.uint32), x.data] if sp.issparse(x) else [x]):
            part.tofile(file)
        y.tofile(file)


def load_data(path):
    with open(path, "rb") as file:
        rows, cols, classes, sparse = (int(v) for v in np.fromfile(file, np.int32, 4))
        if sparse:
            start = np.fromfile(file, np.uint64, rows + 1).astype(np.int64)
            col = np.fromfile(file, np.uint32, start[-1]).astype(np.int32)
            x = sp.csr_matrix((np.fromfile(file, np.float32, start[-1]), col, start), (rows, cols))
        else:
            x = np.fromfile(file, np.float32, rows * cols).reshape(rows, cols)
        return x, np.fromfile(file, np.float64, rows), classes
