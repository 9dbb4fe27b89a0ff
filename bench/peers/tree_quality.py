#!/usr/bin/env python3
"""Held-out quality of the tree engine beside LightGBM, XGBoost and scikit-learn: the same rows, the same parameters.

    python bench/peers/tree_quality.py DATA [data set ...]        MMQ_QUALITY_SEEDS (5), MMQ_QUALITY_KINDS (gbdt xgb rf extra tree)

DATA holds datasets.json and the files. gbdt: 100 rounds of 31 leaves with LightGBM's defaults; xgb: the same leaves with XGBoost's (lambda 1,
least hessian 1), both sides each time; rf, extra, tree: scikit-learn's defaults. Sets with fewer than 500 test rows are compared by
5 x 5 folds, the others by their own split. A line is within when ours >= theirs - max(0.002, one paired standard error), or for RMSE
<= 1.005 times theirs or within that error.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import tree  # noqa: E402

warnings.filterwarnings("ignore")
SEEDS = int(os.environ.get("MMQ_QUALITY_SEEDS", "5"))
KINDS = os.environ.get("MMQ_QUALITY_KINDS", "gbdt xgb rf extra tree").split()
OURS = {"gbdt": [], "xgb": ["lambda_l2=1", "min_sum_hessian_in_leaf=1", "min_data_in_leaf=1", "min_data_in_bin=1"], "rf": ["boosting=rf"],
        "extra": ["boosting=rf", "extra_trees=true"], "tree": ["boosting=tree"]}


def load(folder, entry):
    """tree.Rows of all rows in file order, and which of them are test rows."""
    paths = [folder / item["path"] for item in entry["files"]]
    if entry["format"] == "idx":
        import gzip
        x, y = (gzip.decompress(path.read_bytes()) for path in paths)
        x = np.frombuffer(x, np.uint8, offset=16).reshape(-1, 784).astype(np.float32)
        data = tree.Rows(x, np.zeros((len(x), 0), np.int32), np.frombuffer(y, np.uint8, offset=8).astype(float), 10, 1)
    elif entry["format"] == "libsvm":
        x, y = [], []
        for path in paths:
            for line in tree.text_of(path).splitlines():
                label, *pairs = line.split()
                row = np.zeros(entry["features"], np.float32)
                for pair in pairs:
                    k, v = pair.split(":")
                    row[int(k) - 1] = float(v)
                x.append(row)
                y.append(float(label) > 0)
        data = tree.Rows(np.array(x), np.zeros((len(x), 0), np.int32), np.array(y, float), 2, 1)
    else:
        data = tree.table(paths, entry["target"], entry.get("ignore") or (), entry["task"] == "regression")
    count, rule = len(data.y), entry["split"]
    rows = np.arange(count)
    if rule["kind"] == "modulo":
        test = rows % rule["k"] == rule["r"]
    elif rule["kind"] == "head":
        test = rows >= rule["train_rows"]
    else:
        test = rows >= entry["files"][0]["rows"]
    return data, test


def parted(data, test):
    order = np.concatenate([np.flatnonzero(~test), np.flatnonzero(test)])
    return tree.Rows(data.x[order], data.codes[order], data.y[order], data.classes, int(test.sum()))


def splits(data, test):
    """(seed, rows) of every fit: the data's own split for each seed, or 5 x 5 folds."""
    if test.sum() >= 500:
        part = parted(data, test)
        return [(seed, part) for seed in range(SEEDS)]
    found = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(data.y))
        if data.classes:  # stratified: rows of a class dealt out in turn
            order = order[np.argsort(data.y[order], kind="stable")]
        fold = np.empty(len(order), int)
        fold[order] = np.arange(len(order)) % 5
        found += [(seed, parted(data, fold == k)) for k in range(5)]
    return found


def metric_of(data, score):
    y = data.y[data.test]
    if data.classes == 0:
        return float(np.sqrt(np.mean((score[:, 0] - y) ** 2)))
    label = (score[:, 0] > 0) if score.shape[1] == 1 else score.argmax(1)
    return float((label == y).mean())


def ours(data, kind, seed):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows")
        data.write(path)
        subprocess.run([tree.BENCH, path, path + ".scores", str(tree.THREADS), str(seed), *OURS[kind]], check=True, capture_output=True)
        return metric_of(data, np.fromfile(path + ".scores").reshape(data.held, -1))


def theirs(data, kind, seed):
    if kind in ("gbdt", "xgb"):
        return metric_of(data, (tree.lightgbm if kind == "gbdt" else tree.xgboost)(data, "gbdt")()[1])
    import sklearn.ensemble
    import sklearn.tree
    name = {"rf": "RandomForest", "extra": "ExtraTrees", "tree": "DecisionTree"}[kind] + ("Classifier" if data.classes else "Regressor")
    maker = getattr(sklearn.tree if kind == "tree" else sklearn.ensemble, name)
    x = data.frame()[0]
    model = maker(random_state=seed, **({} if kind == "tree" else {"n_jobs": tree.THREADS})).fit(x[data.train], data.y[data.train])
    answer = model.predict(x[data.test])
    return float(np.sqrt(np.mean((answer - data.y[data.test]) ** 2))) if data.classes == 0 else float((answer == data.y[data.test]).mean())


def main():
    folder, only = pathlib.Path(sys.argv[1]), sys.argv[2:]
    peers = {"gbdt": "LightGBM", "xgb": "XGBoost", "rf": "scikit-learn RandomForest", "extra": "scikit-learn ExtraTrees", "tree": "scikit-learn DecisionTree"}
    outside = 0
    for entry in json.loads((folder / "datasets.json").read_text())["datasets"]:
        if entry["task"] == "text" or (only and entry["name"] not in only):
            continue
        data, test = load(folder, entry)
        fits = splits(data, test)
        for kind in KINDS:
            mine = np.array([ours(part, kind, seed) for seed, part in fits])
            # Without sampling a boosted peer gives the same model for every seed: once per split is enough.
            is_fixed, known, other = kind in ("gbdt", "xgb"), {}, []
            for seed, part in fits:
                key = id(part) if is_fixed else (id(part), seed)
                known[key] = known[key] if key in known else theirs(part, kind, seed)
                other.append(known[key])
            other = np.array(other)
            error = float((mine - other).std(ddof=1) / np.sqrt(len(fits)))
            m, o = mine.mean(), other.mean()
            within = m <= max(o * 1.005, o + error) if data.classes == 0 else m >= o - max(0.002, error)
            outside += not within
            print(f"{entry['name']:<20} {kind:<6} {'rmse' if data.classes == 0 else 'accuracy':<9} ours {m:>9.5g}  theirs {o:>9.5g}  diff {m - o:>+9.3g}  "
                  f"error {error:.2g}  {'yes' if within else 'NO':<4} {peers[kind]}, {len(fits)} fits", flush=True)
    sys.exit(outside > 0)


if __name__ == "__main__":
    main()
