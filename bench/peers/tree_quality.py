#!/usr/bin/env python3
"""Held-out quality of the tree engine beside LightGBM, XGBoost and scikit-learn: the same rows, the same parameters.

    python bench/peers/tree_quality.py DATA [data set ...]

    MMQ_QUALITY_SEEDS (5), MMQ_QUALITY_KINDS (gbdt xgb rf extra tree), MMQ_QUALITY_CACHE (a file that keeps the peers' results)

DATA holds datasets.json and the files. gbdt: 100 rounds of 31 leaves with LightGBM's defaults; xgb: the same leaves with XGBoost's (lambda 1,
least hessian 1), which LightGBM can be given, too; rf, extra, tree: scikit-learn's defaults. Sets with fewer than 500 test rows are compared by
5 x 5 folds, the others by their own split. Of several peers the one with the best mean counts. Margins are those of margins.py.
"""
import csv
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import numpy as np

sys.path += [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parent.parent)]
import margins  # noqa: E402
import tree  # noqa: E402

warnings.filterwarnings("ignore")
SEEDS = int(os.environ.get("MMQ_QUALITY_SEEDS", "5"))
KINDS = os.environ.get("MMQ_QUALITY_KINDS", "gbdt xgb rf extra tree").split()
XGBOOSTS = {"lambda_l2": 1, "min_sum_hessian_in_leaf": 1, "min_data_in_leaf": 1, "min_data_in_bin": 1}
OURS = {"gbdt": {}, "xgb": XGBOOSTS, "rf": {"boosting": "rf"}, "extra": {"boosting": "rf", "extra_trees": "true"}, "tree": {"boosting": "tree"}}
FOREST = {"rf": "RandomForest", "extra": "ExtraTrees", "tree": "DecisionTree"}
WORD_ROWS_MIN = 5


def word_counts(paths, entry):
    """How often each word that is in some rows occurs: the plainest numbers that trees can be given for a text."""
    rows = [row for path in paths for row in csv.DictReader(io.StringIO(tree.text_of(path)))]
    words = [re.findall(r"\w\w+", row["text"].lower()) for row in rows]
    held, counts = np.unique([word for found in words for word in set(found)], return_counts=True)
    column = {word: k for k, word in enumerate(held[counts >= WORD_ROWS_MIN])}
    x = np.zeros((len(rows), len(column)), np.float32)
    for r, found in enumerate(words):
        for word in found:
            if word in column:
                x[r, column[word]] += 1
    names, y = np.unique([row[entry["target"]] for row in rows], return_inverse=True)
    return tree.Rows(x, np.zeros((len(x), 0), np.int32), y.astype(float), len(names), 1)


def load(folder, entry):
    """tree.Rows of all rows in file order, and which of them are test rows."""
    paths = [folder / item["path"] for item in entry["files"]]
    if entry["format"] == "idx":
        import gzip
        x, y = (gzip.decompress(path.read_bytes()) for path in paths)
        x = np.frombuffer(x, np.uint8, offset=16).reshape(-1, 784).astype(np.float32)
        data = tree.Rows(x, np.zeros((len(x), 0), np.int32), np.frombuffer(y, np.uint8, offset=8).astype(float), 10, 1)
    elif entry["task"] == "text":
        data = word_counts(paths, entry)
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
    """(seed, rows) of every fit: the data's own split for each seed, or 5 folds for each."""
    if test.sum() >= 500:
        part = parted(data, test)
        return [(seed, part) for seed in range(SEEDS)]
    found = []
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(data.y))
        if data.classes:  # stratified: rows of a class dealt out in turn
            order = order[np.argsort(data.y[order], kind="stable")]
        fold = np.empty(len(order), int)
        fold[order] = np.arange(len(order)) % 5
        found += [(seed, parted(data, fold == k)) for k in range(5)]
    return found


def f1(label, y, of):
    hits = ((label == of) & (y == of)).sum()
    return 2 * hits / max(1, (label == of).sum() + (y == of).sum())


def metrics_of(data, score):
    y = data.y[data.test]
    if data.classes == 0:
        return {"rmse": float(np.sqrt(np.mean((score[:, 0] - y) ** 2)))}
    label = (score[:, 0] > 0) if score.shape[1] == 1 else score.argmax(1)
    found = {"accuracy": float((label == y).mean())}
    if data.classes == 2:
        return found | {"auc": float(tree.auc(score[:, 0], y))}
    return found | {"macro_f1": float(np.mean([f1(label, y, of) for of in range(data.classes)]))}


def ours(data, kind, seed):
    settings = [f"{k}={v}" for k, v in OURS[kind].items()]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows")
        data.write(path)
        subprocess.run([tree.BENCH, path, path + ".scores", str(tree.THREADS), str(seed), *settings], check=True, capture_output=True)
        return metrics_of(data, np.fromfile(path + ".scores").reshape(data.held, -1))


def scikit(data, kind, seed):
    import sklearn.ensemble
    import sklearn.tree
    maker = getattr(sklearn.tree if kind == "tree" else sklearn.ensemble, FOREST[kind] + ("Classifier" if data.classes else "Regressor"))
    x = data.frame()[0]
    model = maker(random_state=seed, **({} if kind == "tree" else {"n_jobs": tree.THREADS})).fit(x[data.train], data.y[data.train])
    if data.classes == 0:
        return metrics_of(data, model.predict(x[data.test])[:, None])
    share = model.predict_proba(x[data.test])
    return metrics_of(data, share if data.classes > 2 else share[:, 1:] - 0.5)


def peers_of(kind):
    """Name: (its function of data and seed, does the seed matter). Boosting without sampling gives the same model for every seed."""
    if kind in FOREST:
        import sklearn
        return {f"scikit-learn {sklearn.__version__} {FOREST[kind]}": (lambda data, seed: scikit(data, kind, seed), True)}
    import lightgbm
    import xgboost
    settings = {} if kind == "gbdt" else XGBOOSTS
    found = {f"LightGBM {lightgbm.__version__}": (lambda data, seed: metrics_of(data, tree.lightgbm(data, "gbdt", **settings)()[1]), False)}
    if kind == "xgb":
        found[f"XGBoost {xgboost.__version__}"] = (lambda data, seed: metrics_of(data, tree.xgboost(data, "gbdt")()[1]), False)
    return found


class Kept:
    """Results by name, kept in a file from run to run when there is one."""

    def __init__(self, path):
        self.path = pathlib.Path(path) if path else None
        self.known = json.loads(self.path.read_text()) if path and self.path.exists() else {}

    def get(self, key, make):
        if key not in self.known:
            self.known[key] = make()
            if self.path:
                self.path.write_text(json.dumps(self.known))
        return self.known[key]


def fit_all(fits, run, seed_matters, kept, key):
    """{metric: array of a value for each fit}"""
    found = [kept.get(f"{key} fold {k if part is not fits[0][1] else 0}" + (f" seed {seed}" if seed_matters else ""), lambda: run(part, seed))
             for k, (seed, part) in enumerate(fits)]
    return {metric: np.array([one[metric] for one in found]) for metric in found[0]}


def compare(name, kind, fits, kept):
    """Print a line for each metric; returns how many are outside."""
    mine = fit_all(fits, lambda data, seed: ours(data, kind, seed), kind in FOREST, Kept(None), kind)
    theirs = {peer: fit_all(fits, run, seed_matters, kept, f"{name} {kind} {peer}") for peer, (run, seed_matters) in peers_of(kind).items()}
    outside = 0
    for metric, values in mine.items():
        best = (min if metric == "rmse" else max)(theirs, key=lambda peer: theirs[peer][metric].mean())
        result = margins.paired(metric, list(values), list(theirs[best][metric]))
        outside += not result.within
        print(f"{name:<20} {kind:<6} {metric:<9} ours {result.ours:>9.5g}  best peer {result.theirs:>9.5g}  diff {result.ours - result.theirs:>+9.3g}  "
              f"margin {result.margin:<8.2g} {'yes' if result.within else 'NO':<4} {best}, {len(fits)} fits", flush=True)
    return outside


def main():
    folder, only = pathlib.Path(sys.argv[1]), sys.argv[2:]
    kept, outside = Kept(os.environ.get("MMQ_QUALITY_CACHE")), 0
    for entry in json.loads((folder / "datasets.json").read_text())["datasets"]:
        if not only or entry["name"] in only:
            fits = splits(*load(folder, entry))
            outside += sum(compare(entry["name"], kind, fits, kept) for kind in KINDS)
    sys.exit(outside > 0)


if __name__ == "__main__":
    main()
