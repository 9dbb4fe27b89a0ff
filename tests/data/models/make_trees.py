#!/usr/bin/env python3
"""Writes the tree_* models beside it with LightGBM and XGBoost, and their answers: kinds that the other files here do not have.

usage: make_trees.py            writes them again (needs lightgbm, xgboost, pandas)
       make_trees.py FOLDER     loads each FOLDER/NAME.txt that modelmq has exported into LightGBM and compares with FOLDER/NAME.csv
"""
import csv
import pathlib
import sys

import lightgbm
import numpy as np
import pandas
import xgboost

HERE = pathlib.Path(__file__).parent
ROWS = 60
rng = np.random.default_rng(7)


def rows(count):
    frame = pandas.DataFrame({
        "a": np.round(rng.normal(size=count), 3), "b": np.round(rng.normal(size=count), 3), "zero": np.round(rng.normal(size=count), 1),
        "colour": pandas.Categorical(rng.choice(["red", "grün", "blue", "light grey"], count)),
        "size": pandas.Categorical(rng.integers(3, 9, count))})
    frame.loc[rng.random(count) < 0.2, "a"] = np.nan
    frame.loc[rng.random(count) < 0.1, "colour"] = None
    frame.loc[rng.random(count) < 0.3, "zero"] = 0
    y = frame.a.fillna(0.7) + (frame.colour == "red") * 2 + frame["size"].astype(int) % 3 + frame.b * frame.zero
    return frame, y.to_numpy()


def write(name, frame, answers):
    with open(HERE / f"{name}.csv", "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow([f"x.{c}" for c in frame.columns] + [f"p.{c}" for c in answers])
        columns = {k: np.asarray(v) for k, v in answers.items()}
        for r in range(len(frame)):
            x = ["" if pandas.isna(v) else v if isinstance(v, str) else f"{v:.17g}" for v in frame.iloc[r]]
            out.writerow(x + [f"{v[r]:.17g}" for v in columns.values()])


def answers(raw, pred):
    if raw.ndim == 1:
        return {"raw": raw, "pred": pred}
    return {**{f"raw_{k}": raw[:, k] for k in range(raw.shape[1])}, **{f"prob_{k}": pred[:, k] for k in range(raw.shape[1])}}


def make_lightgbm(name, params, frame, y, rounds=8):
    params = {"num_leaves": 12, "min_data_in_leaf": 5, "min_data_per_group": 5, "cat_smooth": 1, "verbose": -1, "seed": 1, "num_threads": 1, **params}
    model = lightgbm.train(params, lightgbm.Dataset(frame, y), rounds)
    model.save_model(HERE / f"{name}.txt")
    model = lightgbm.Booster(model_file=HERE / f"{name}.txt")
    test = rows(ROWS)[0][frame.columns]
    found = answers(model.predict(test, raw_score=True), model.predict(test))
    if params.get("boosting") == "rf" or params["objective"] == "poisson":   # raw scores are sums not means, or without the link
        del found["raw"]
    write(name, test, found)


def ascii_only(frame):
    """XGBoost 3.2 cuts a frame's category texts at characters where it counts bytes."""
    return frame.assign(colour=frame.colour.cat.rename_categories({"grün": "green"})) if "colour" in frame else frame


def make_xgboost(name, params, frame, y, endings, rounds=8):
    frame = ascii_only(frame)
    params = {"max_depth": 4, "seed": 1, "nthread": 1, **params}
    model = xgboost.train(params, xgboost.DMatrix(frame, y, enable_categorical=True), rounds)
    for ending in endings:
        model.save_model(HERE / f"{name}.{ending}")
    model = xgboost.Booster(model_file=HERE / f"{name}.{endings[0]}")
    test = ascii_only(rows(ROWS)[0][frame.columns])
    data = xgboost.DMatrix(test, enable_categorical=True)
    raw, pred = model.predict(data, output_margin=True), model.predict(data)
    found = answers(raw, pred)
    if params["objective"] == "count:poisson":
        del found["raw"]
    write(name, test, {k.replace("raw", "margin"): v for k, v in found.items()})


def make():
    frame, y = rows(600)
    numbers, classes = frame[["a", "b", "zero"]], np.digitize(y, [0.5, 2.5])
    make_lightgbm("tree_lgb_zero_missing", {"objective": "regression", "zero_as_missing": True}, numbers, y)
    make_lightgbm("tree_lgb_no_missing", {"objective": "binary", "use_missing": False}, numbers, (y > 1).astype(float))
    make_lightgbm("tree_lgb_poisson", {"objective": "poisson"}, frame, np.maximum(0, np.round(y)))
    make_lightgbm("tree_lgb_forest", {"objective": "regression", "boosting": "rf", "bagging_fraction": 0.6, "bagging_freq": 1}, frame, y)
    make_lightgbm("tree_lgb_dart", {"objective": "multiclass", "num_class": 3, "boosting": "dart", "drop_rate": 0.5}, frame, classes)
    make_xgboost("tree_xgb_categories", {"objective": "reg:squarederror", "max_cat_to_onehot": 2}, frame, y, ["json", "ubj"])
    make_xgboost("tree_xgb_dart", {"objective": "multi:softprob", "num_class": 3, "booster": "dart", "rate_drop": 0.5}, numbers, classes, ["ubj"])
    make_xgboost("tree_xgb_poisson", {"objective": "count:poisson"}, numbers, np.maximum(0, np.round(y)), ["ubj"])
    make_xgboost("tree_xgb_binary_dart", {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5}, frame, (y > 1).astype(float), ["json"])


def compare(folder):
    for path in sorted(pathlib.Path(folder).glob("*.txt")):
        model = lightgbm.Booster(model_file=path)
        table = pandas.read_csv(path.with_suffix(".csv"), keep_default_na=False, dtype=str)
        averages = "average_output" in path.read_text()   # raw scores of such are sums
        raw = np.atleast_2d(model.predict(inputs(model, table), raw_score=not averages).T).T
        want = table[[c for c in table if c.startswith("p.")]].astype(float).to_numpy()
        worst = abs(raw - want).max() if raw.shape == want.shape else float("inf")
        print(f"{path.name}: {model.num_trees()} trees, {len(table)} rows, largest difference {worst:.3g}")
        if worst > 1e-9:
            sys.exit(1)


def inputs(model, table):
    """Columns as the model wants them: categories by its own lists, an empty cell is missing."""
    frame, lists = {}, list(model.pandas_categorical or [])
    for c in [c for c in table if c.startswith("x.")]:
        if c.startswith("x.cat"):
            values = lists.pop(0)
            frame[c[2:]] = pandas.Categorical([None if v == "" else type(values[0])(v) for v in table[c]], categories=values)
        else:
            frame[c[2:]] = pandas.to_numeric(table[c].replace("", np.nan))
    return pandas.DataFrame(frame)


if __name__ == "__main__":
    compare(sys.argv[1]) if len(sys.argv) > 1 else make()
