#!/usr/bin/python3
"""Held-out quality of every engine, trained through the service, beside what other libraries reach on the same rows.

    bench/quality.py DATA [--only NAME,NAME] [--engine E,E] [--seeds 5] [--peers peers.json]

DATA is a folder with the data sets, datasets.json (split, target) and reference.json (other libraries' results). Prints one line per
data set and engine: our mean over the seeds, the peer's figure, the difference, and whether it lies within the margin:
max(0.005, one standard error) for accuracy, 2 % for RMSE, since the peer's figure is of one fit with its defaults, which are not always ours;
and whether it is as close as margins.py asks of fits in pairs. bench/peers/tree_quality.py makes such pairs for trees. With --peers (from bench/peers/cross_validate.py) the small data sets are
compared by 5 x 5 cross-validation of both sides instead of by their few test rows.
"""
import argparse
import json
import math
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "examples"))
import margins  # noqa: E402
from demo_client import Client, ServiceError  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parent.parent

# engine, parameters, the peer whose kind of model it is
KINDS = [
    ("tree", {"boosting": "tree"}, ["sklearn DecisionTree"]),
    ("tree", {"boosting": "rf"}, ["sklearn RandomForest"]),
    ("tree", {}, ["LightGBM"]),
    ("svm", {}, ["sklearn SVC rbf", "sklearn SVR rbf, y standardised", "LIBSVM svm-train defaults"]),
    ("mlp", {}, ["sklearn MLPClassifier", "sklearn MLPRegressor"]),
    ("linear", {}, ["sklearn LogisticRegression", "sklearn Ridge"]),
    ("linear", {"loss": "squared_hinge"}, ["sklearn LinearSVC", "LIBLINEAR train defaults", "sklearn TF-IDF + LinearSVC"]),
]


def find_reference(results, names):
    for name, metrics in results.items():
        if any(name.startswith(wanted) for wanted in names):
            return name, metrics
    return None, None


def peer_params(engine, params, peer):
    """The parameters that the peer's name tells of, so that both sides do the same work."""
    found = re.search(r"max_iter=(\d+)", peer)
    return {**params, "max_iter": int(found[1])} if engine == "mlp" and found else params


def train_request(entry, folder):
    files = [str(folder / item["path"]) for item in entry["files"]]
    request = {"data": {"file": files[0], "format": entry["format"]}, "target": entry["target"]}
    if entry["format"] == "idx":
        request["data"]["options"] = {"labels": files[1]}
        request["target"] = "label"
    elif entry["format"] == "libsvm":
        request["target"] = "label"
        request["data"]["options"] = {"width": entry["features"]}
    rule = entry["split"]
    if rule["kind"] == "files":
        request["test"] = {**request["data"], "file": files[1]}
    elif rule["kind"] == "modulo":
        request["split"] = {"kind": "modulo"}
    else:
        request["split"] = {"kind": "head", "rows": rule["train_rows"]}
    if entry["task"] != "regression":
        request["task"] = "classification"
    request["schema"] = {column: {"kind": "ignore"} for column in entry.get("ignore", [])}
    if entry["task"] == "text":
        request["schema"]["text"] = {"kind": "text"}
    return request


def measure(client, entry, folder, engine, params, seeds, folds):
    request = train_request(entry, folder)
    scores, seconds = [], []
    for seed in range(seeds):
        started = time.monotonic()
        if folds:
            request["split"] = {"kind": "folds", "folds": 5, "seed": seed}
        result = client.train(lambda progress: None, timeout_s=600, model="quality", engine=engine, params=params, seed=seed, **request)
        seconds.append(time.monotonic() - started)
        scores.append(result["metrics"]["test"])
    return scores, sorted(seconds)[len(seconds) // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--engine", default="")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peers", type=pathlib.Path)
    options = parser.parse_args()
    only, engines = set(filter(None, options.only.split(","))), set(filter(None, options.engine.split(",")))
    folder = options.data.resolve()
    entries = json.loads((folder / "datasets.json").read_text())["datasets"]
    reference = json.loads((folder / "reference.json").read_text())
    reference = reference.get("results", reference)
    peers = json.loads(options.peers.read_text()) if options.peers else {}

    home = pathlib.Path(tempfile.mkdtemp(prefix="modelmq-quality-"))
    service = subprocess.Popen([TOP / "build/bin/modelmq", "up", "--home", home, "--predictors", "1", "--data", folder],
                               stdout=subprocess.DEVNULL, stderr=open(home / "up.log", "w"))
    while not (home / "endpoints").exists():
        if service.poll() is not None:
            sys.exit((home / "up.log").read_text())
        signal.sigtimedwait([], 0.05)
    client = Client(home)
    client.ask(op="engine.list")
    print(f"{'data set':<20} {'engine':<18} {'metric':<9} {'ours':>10} {'peer':>10} {'diff':>9}  within  close  {'s':>6}  peer")
    outside = 0
    for entry in entries:
        if only and entry["name"] not in only:
            continue
        for engine, params, kinds in KINDS:
            name, theirs = find_reference(reference[entry["name"]], kinds)
            if name is None or (engines and engine not in engines):
                continue
            metric = "rmse" if entry["task"] == "regression" else "accuracy"
            label = " ".join([engine, *params.values()])
            by_folds = label in peers.get(entry["name"], {})
            if by_folds:
                name, theirs = name + ", 5 x 5 folds", {metric: peers[entry["name"]][label]}
            try:
                scores, seconds = measure(client, entry, folder, engine, peer_params(engine, params, name), options.seeds, by_folds)
            except (ServiceError, TimeoutError) as error:
                print(f"{entry['name']:<20} {label:<18} {error}", flush=True)
                outside += 1
                continue
            ours, peer = sum(score[metric] for score in scores) / len(scores), theirs[metric]
            if metric == "rmse":
                within = ours <= peer * 1.02
            else:
                within = ours >= peer - max(0.005, math.sqrt(peer * (1 - peer) / scores[0]["n"]))
            outside += not within
            close = margins.judged(metric, ours, peer, margins.error_of([score[metric] for score in scores])).within
            print(f"{entry['name']:<20} {label:<18} {metric:<9} {ours:>10.5g} {peer:>10.5g} {ours - peer:>+9.4g}  {'yes' if within else 'NO':<6}  {'yes' if close else 'no':<5} "
                  f"{seconds:>6.2f}  {name}", flush=True)
    client.close()
    service.send_signal(signal.SIGTERM)
    service.wait(timeout=20)
    sys.exit(outside > 0)


main()
