#!/usr/bin/env python3
"""Trains bench_tree beside LightGBM, XGBoost and scikit-learn-intelex (oneDAL) on the same rows, as far as they are installed.

    python bench/peers/tree.py [case ...]

Cases: boost regression small forest tree are made data (see CASES), adult letter california bike are read from MMQ_DATA (a folder with
their files). Runs of a case are interleaved, each round on rows of its own seed: median times and mean quality of MMQ_BENCH_REPEATS (5)
rounds with MMQ_BENCH_THREADS (2) threads. Time is from the matrix in memory to the model, binning included; quality is AUC, accuracy or
RMSE of rows that no side trained on.
"""
import csv
import gzip
import io
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).resolve().parent
BENCH = HERE.parent.parent / "build/plain/bench/bench_tree"
REPEATS = int(os.environ.get("MMQ_BENCH_REPEATS", "5"))
THREADS = int(os.environ.get("MMQ_BENCH_THREADS", "2"))
DATA = pathlib.Path(os.environ.get("MMQ_DATA", "data"))


class Rows:
    """x (rows, numbers) float32, codes (rows, categories) int32 >= 0, y; classes 0: regression. The last `held` rows are for the quality."""

    def __init__(self, x, codes, y, classes, held):
        self.x, self.codes, self.y, self.classes, self.held = x, codes, y, classes, held
        self.train, self.test = slice(0, len(y) - held), slice(len(y) - held, None)

    def frame(self):
        """All columns as one float matrix, category columns last, for the peers; and their numbers."""
        return np.hstack([self.x, self.codes.astype(np.float32)]), list(range(self.x.shape[1], self.x.shape[1] + self.codes.shape[1]))

    def write(self, path):
        with open(path, "wb") as file:
            file.write(struct.pack("<5i", len(self.y) - self.held, self.held, self.x.shape[1], self.codes.shape[1], self.classes))
            file.write((self.codes.max(0, initial=0) + 1).astype("<i4").tobytes() if self.codes.shape[1] else b"")
            for part in (self.train, self.test):
                file.write(np.ascontiguousarray(self.x[part]).tobytes() + np.ascontiguousarray(self.codes[part]).tobytes())
                file.write(self.y[part].astype("<f8").tobytes())


def made(rows, cols, classes, noise, seed):
    """Products of neighbours and sines, so that trees have to be deep, under noise. The products are off centre: where neither factor tells
    anything alone, luck decides which pair a greedy tree finds, and that luck would drown what is compared."""
    held = max(rows // 5, 20000)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows + held, cols)).astype(np.float32)
    value = sum((x[:, c] + 0.5) * (x[:, c + 1] + 0.5) + np.sin(2 * x[:, c + 2]) for c in range(0, 13, 3)) - 1.25
    value += noise * rng.normal(size=rows + held)
    return Rows(x, np.zeros((rows + held, 0), np.int32), (value > 0).astype(float) if classes else value.astype(float), classes, held)


def text_of(path):
    raw = path.read_bytes()
    return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()


def table(paths, target, ignore=(), regression=False):
    """Rows of CSV files, one after the other, in their order; held is yet to be set. Columns that are not numbers are categories."""
    rows = []
    for path in paths:
        head, *more = csv.reader(io.StringIO(text_of(path)))
        rows += more
    columns = {key: [row[k] for row in rows] for k, key in enumerate(head) if key not in ignore}
    y = columns.pop(target)
    numbers, codes = [], []
    for values in columns.values():
        try:
            numbers.append(np.array([float(v) if v not in ("", "?", "NA") else np.nan for v in values], np.float32))
        except ValueError:
            codes.append(np.unique(values, return_inverse=True)[1].astype(np.int32))
    if regression:
        y, classes = np.array([float(v) for v in y]), 0
    else:
        names, y = np.unique(y, return_inverse=True)
        y, classes = y.astype(float), len(names)
    return Rows(np.stack(numbers, 1), np.stack(codes, 1) if codes else np.zeros((len(y), 0), np.int32), y, classes, 1)


def real(seed, names, target, ignore=(), regression=False, held=None):
    """A fifth of the rows, by chance, or the last `held` ones, for the quality."""
    data = table([DATA / name for name in names], target, ignore, regression)
    order = np.arange(len(data.y)) if held else np.random.default_rng(seed).permutation(len(data.y))
    return Rows(data.x[order], data.codes[order], data.y[order], data.classes, held or len(order) // 5)


BOOST = {"num_iterations": 100, "num_leaves": 31, "learning_rate": 0.1}
ONE = {"num_iterations": 1, "num_leaves": 1024, "max_depth": 10, "learning_rate": 1.0}
# case: data by seed, kind of model
CASES = {
    "boost": (lambda seed: made(500000, 28, 2, 1.75, seed), "gbdt"),
    "regression": (lambda seed: made(200000, 50, 0, 1.0, seed), "gbdt"),
    "small": (lambda seed: made(2000, 20, 2, 1.75, seed), "gbdt"),
    "forest": (lambda seed: made(100000, 28, 2, 1.75, seed), "rf"),
    "tree": (lambda seed: made(500000, 28, 2, 1.75, seed), "tree"),
    "adult": (lambda seed: real(seed, ["adult_train.csv.gz", "adult_test.csv.gz"], "income", held=16281), "gbdt"),
    "letter": (lambda seed: real(seed, ["letter.csv.gz"], "letter"), "gbdt"),
    "california": (lambda seed: real(seed, ["california_housing.csv.gz"], "median_house_value", regression=True), "gbdt"),
    "bike": (lambda seed: real(seed, ["bike_sharing_hourly.csv.gz"], "cnt", ["dteday"], True), "gbdt"),
}


def ours(data, kind):
    settings = [f"{k}={v}" for k, v in BOOST.items()] if kind == "gbdt" else ["boosting=rf", "num_iterations=50"] if kind == "rf" else \
        ["boosting=tree", "max_depth=10"]

    def run():
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rows")
            data.write(path)
            done = subprocess.run([BENCH, path, path + ".scores", str(THREADS), "1", *settings], check=True, capture_output=True, text=True)
            fields = dict(part.split("=", 1) for part in done.stdout.split())
            return float(fields["train_s"]), np.fromfile(path + ".scores").reshape(data.held, -1)
    return run


def lightgbm(data, kind, **more):
    import lightgbm as lgb
    x, categories = data.frame()
    params = dict(BOOST if kind == "gbdt" else ONE, num_threads=THREADS, verbose=-1, seed=1, **more)
    params["objective"] = "binary" if data.classes == 2 else "multiclass" if data.classes else "regression"
    if data.classes > 2:
        params["num_class"] = data.classes
    rounds = params.pop("num_iterations")
    train, test, y = np.ascontiguousarray(x[data.train]), x[data.test], data.y[data.train]

    def run():
        start = time.perf_counter()
        model = lgb.train(params, lgb.Dataset(train, y, categorical_feature=categories, params={"verbose": -1, "num_threads": THREADS}), rounds)
        return time.perf_counter() - start, model.predict(test, raw_score=True).reshape(data.held, -1)
    return run


def xgboost(data, kind):
    import xgboost as xgb
    x, categories = data.frame()
    params = {"tree_method": "hist", "nthread": THREADS, "seed": 1, "verbosity": 0, "max_bin": 256}
    params |= {"grow_policy": "lossguide", "max_leaves": 31, "max_depth": 0, "eta": 0.1} if kind == "gbdt" else {"max_depth": 10, "eta": 1.0}
    params["objective"] = "binary:logistic" if data.classes == 2 else "multi:softprob" if data.classes else "reg:squarederror"
    if data.classes > 2:
        params["num_class"] = data.classes
    types = ["c" if c in categories else "q" for c in range(x.shape[1])]
    train, y = np.ascontiguousarray(x[data.train]), data.y[data.train]
    test = xgb.DMatrix(x[data.test], feature_types=types, enable_categorical=True)

    def run():
        start = time.perf_counter()
        matrix = xgb.QuantileDMatrix(train, y, feature_types=types, enable_categorical=True, nthread=THREADS)
        model = xgb.train(params, matrix, 100 if kind == "gbdt" else 1)
        return time.perf_counter() - start, model.predict(test, output_margin=True).reshape(data.held, -1)
    return run


def onedal(data, kind):
    from sklearnex.ensemble import RandomForestClassifier
    x, y = np.ascontiguousarray(data.x[data.train]), data.y[data.train]

    def run():
        start = time.perf_counter()
        model = RandomForestClassifier(50, random_state=1, n_jobs=THREADS).fit(x, y)
        return time.perf_counter() - start, model.predict_proba(data.x[data.test])[:, 1:]
    return run


def runners(data, kind):
    found = {"modelmq": ours(data, kind)}
    makers = {"oneDAL": onedal} if kind == "rf" else {"LightGBM": lightgbm, "LightGBM quantised": lambda d, k: lightgbm(d, k, use_quantized_grad=True),
                                                      "XGBoost": xgboost}
    for name, make in makers.items():
        try:
            found[name] = make(data, kind)
        except ImportError:
            pass
    return found


def auc(score, y):
    """Share of pairs in the right order, ties half."""
    values, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]
    ones = y > 0
    return (rank[ones].sum() - ones.sum() * (ones.sum() + 1) / 2) / ones.sum() / (~ones).sum()


def quality(data, score):
    y = data.y[data.test]
    if data.classes == 0:
        return "rmse", float(np.sqrt(np.mean((score[:, 0] - y) ** 2)))
    return ("auc", auc(score[:, 0], y)) if data.classes == 2 else ("accuracy", float((score.argmax(1) == y).mean()))


def main():
    versions = []
    for module in ("lightgbm", "xgboost", "sklearnex"):
        try:
            versions.append(f"{module} {__import__(module).__version__}")
        except (ImportError, AttributeError):
            pass
    print("peers:", ", ".join(versions) or "none")
    for case in sys.argv[1:] or [case for case in CASES if DATA.is_dir() or case in list(CASES)[:5]]:
        make, kind = CASES[case]
        times, values = {}, {}
        for seed in range(1, REPEATS + 1):
            data = make(seed)
            for name, run in runners(data, kind).items():
                seconds, score = run()
                metric, value = quality(data, score)
                times.setdefault(name, []).append(seconds)
                values.setdefault(name, []).append(value)
        best = min((np.median(seconds) for name, seconds in times.items() if name != "modelmq"), default=float("nan"))
        for name, seconds in times.items():
            print(f"{case:10} {len(data.y) - data.held}x{data.x.shape[1] + data.codes.shape[1]} threads={THREADS} {name:19} {np.median(seconds):8.3f} s  "
                  f"{metric} {np.mean(values[name]):.4f}" + (f"  {np.median(seconds) / best:.2f} of the best peer's time" if name == "modelmq" else ""), flush=True)


if __name__ == "__main__":
    main()
