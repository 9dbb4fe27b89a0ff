#!/usr/bin/env python3
"""5 x 5 cross-validation of scikit-learn and LightGBM on the small data sets, for bench/quality.py --peers.

    python3 bench/peers/cross_validate.py DATA > peers.json     (needs scikit-learn and lightgbm)

DATA holds datasets.json and the files. Preparation inside each fold: numbers standardised for all but trees, as bench/quality.py's
reference does; the target standardised for SVR and MLPRegressor.
"""
import csv
import gzip
import io
import json
import pathlib
import sys
import warnings

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, root_mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

warnings.filterwarnings("ignore")


def load(folder, entry):
    raw = (folder / entry["files"][0]["path"]).read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    if entry["format"] == "libsvm":
        x, y = np.zeros((entry["rows"], entry["features"])), []
        for r, line in enumerate(text.splitlines()):
            label, *pairs = line.split()
            y.append(float(label))
            for pair in pairs:
                k, v = pair.split(":")
                x[r, int(k) - 1] = float(v)
        return x, np.array(y)
    rows = list(csv.reader(io.StringIO(text)))
    place = rows[0].index(entry["target"])
    x = np.array([[float(v) for c, v in enumerate(row) if c != place] for row in rows[1:]])
    y = np.array([row[place] for row in rows[1:]])
    return x, y.astype(float) if entry["task"] == "regression" else y


def models(regression, seed):
    if regression:
        scaled = lambda model: TransformedTargetRegressor(make_pipeline(StandardScaler(), model), transformer=StandardScaler())
        return {"tree tree": DecisionTreeRegressor(random_state=seed), "tree rf": RandomForestRegressor(random_state=seed),
                "tree": LGBMRegressor(verbose=-1, random_state=seed, n_jobs=1), "svm": scaled(SVR()),
                "mlp": scaled(MLPRegressor(random_state=seed, max_iter=500)), "linear": make_pipeline(StandardScaler(), Ridge())}
    scaled = lambda model: make_pipeline(StandardScaler(), model)
    return {"tree tree": DecisionTreeClassifier(random_state=seed), "tree rf": RandomForestClassifier(random_state=seed),
            "tree": LGBMClassifier(verbose=-1, random_state=seed, n_jobs=1), "svm": scaled(SVC()),
            "mlp": scaled(MLPClassifier(random_state=seed, max_iter=200)), "linear": scaled(LogisticRegression(max_iter=2000)),
            "linear squared_hinge": scaled(LinearSVC(random_state=seed))}


def main():
    folder = pathlib.Path(sys.argv[1])
    result = {}
    for entry in json.loads((folder / "datasets.json").read_text())["datasets"]:
        if entry["name"] not in ("iris", "breast_cancer", "digits8x8", "heart_scale", "diabetes"):
            continue
        x, y = load(folder, entry)
        regression = entry["task"] == "regression"
        scores = {}
        for seed in range(5):
            folds = (KFold if regression else StratifiedKFold)(5, shuffle=True, random_state=seed)
            for train, test in folds.split(x, y):
                for name, model in models(regression, seed).items():
                    predicted = model.fit(x[train], y[train]).predict(x[test])
                    score = root_mean_squared_error(y[test], predicted) if regression else accuracy_score(y[test], predicted)
                    scores.setdefault(name, []).append(score)
        result[entry["name"]] = {name: float(np.mean(values)) for name, values in scores.items()}
        print(entry["name"], result[entry["name"]], file=sys.stderr, flush=True)
    json.dump(result, sys.stdout, indent=1)


main()
