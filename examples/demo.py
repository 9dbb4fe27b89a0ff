#!/usr/bin/python3
"""The main job, seen from outside: starts the whole service in a fresh folder, trains real models, streams held-out rows, stops.

Everything goes through the service's sockets. Run by `make demo`; --keep leaves the folder, --only NAME[,NAME] runs a part.
"""
import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import demo_data as data
from demo_client import Client

TOP = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("MMQ_BIN", TOP / "build" / "bin"))
FILES = TOP / "examples" / "data"
MODULO = {"kind": "modulo"}


def csv_set(name, target):
    rows, truth = data.read_csv(name, target)
    return {"data": {"file": str(FILES / name)}, "target": target, "split": MODULO}, data.held_out(rows), data.held_out(truth)


def adult_set():
    rows, truth = data.read_csv("adult_test.csv.gz", "income")
    request = {"data": {"file": str(FILES / "adult_train.csv.gz")}, "test": {"file": str(FILES / "adult_test.csv.gz")}, "target": "income"}
    return request, rows, truth


def mnist_set():
    images, labels = data.read_idx("mnist10k-images-idx3-ubyte.gz"), data.read_idx("mnist10k-labels-idx1-ubyte.gz")
    request = {"data": {"file": str(FILES / "mnist10k-images-idx3-ubyte.gz"), "format": "idx",
                        "options": {"labels": str(FILES / "mnist10k-labels-idx1-ubyte.gz")}}, "target": "label", "split": MODULO}
    return request, [[list(image)] for image in data.held_out(images)], data.held_out(labels)


def xor_set():
    rows = [[0, 0], [0, 1], [1, 0], [1, 1]]
    request = {"data": {"rows": [row + [row[0] ^ row[1]] for row in rows], "names": ["a", "b", "xor"]}, "target": "xor", "task": "binary",
               "split": {"test": 0, "valid": 0}}
    return request, rows * 25, [row[0] ^ row[1] for row in rows] * 25


# name, engine, parameters, data set, quality, what a well-known library reaches on the same rows (shown beside ours)
MODELS = [
    ("xor", "mlp", {"hidden_layer_sizes": [4], "activation": "logistic", "loss": "mse", "solver": "sgd", "batch_size": "full",
                    "learning_rate_init": 2.0, "momentum": 0.0, "alpha": 0.0, "tol": 0.0, "max_iter": 5000}, xor_set, "accuracy",
     ("truth table", 1.0)),
    ("iris-tree", "tree", {"boosting": "tree"}, lambda: csv_set("iris.csv", "species"), "accuracy", ("scikit-learn DecisionTree", 0.9333)),
    ("cancer-svc", "svm", {"kernel": "rbf"}, lambda: csv_set("breast_cancer.csv", "diagnosis"), "accuracy", ("scikit-learn SVC", 0.9823)),
    ("adult-gbdt", "tree", {}, adult_set, "accuracy", ("LightGBM", 0.8714)),
    ("digits-mlp", "mlp", {"layers": "dropout 0.2, dense 256 relu, dropout 0.4, dense 128 relu", "max_iter": 30, "learning_rate": "cosine"}, mnist_set, "accuracy", ("scikit-learn MLP", 0.9450)),
    ("digits-cnn", "mlp", {"layers": "dropout 0.1, conv 12 5x5 relu, pool 2, conv 24 3x3 relu, pool 2, dropout 0.4, dense 96 relu, dropout 0.3", "max_iter": 15,
                           "batch_size": 64, "learning_rate_init": 0.002, "learning_rate": "cosine"}, mnist_set, "accuracy", ("scikit-learn MLP", 0.9450)),
    ("housing-gbdt", "tree", {}, lambda: csv_set("california_housing.csv.gz", "median_house_value"), "rmse", ("LightGBM", 48118.7)),
    ("housing-svr", "svm", {}, lambda: csv_set("california_housing.csv.gz", "median_house_value"), "rmse", ("scikit-learn SVR", 57741.7)),
    ("housing-mlp", "mlp", {"max_iter": 100}, lambda: csv_set("california_housing.csv.gz", "median_house_value"), "rmse",
     ("scikit-learn MLP", 56098.7)),
    ("housing-ridge", "linear", {}, lambda: csv_set("california_housing.csv.gz", "median_house_value"), "rmse", ("scikit-learn Ridge", 70967.2)),
]


class Bar:
    """One line that moves on a terminal; a line now and then elsewhere."""

    def __init__(self, name):
        self.name, self.shown_at = name, 0.0
        self.moves = sys.stdout.isatty()

    def __call__(self, progress):
        now = time.monotonic()
        if now - self.shown_at < (0.1 if self.moves else 3.0):
            return
        self.shown_at = now
        done = int(20 * progress["fraction"])
        text = f"  {self.name:<14} [{'#' * done}{'.' * (20 - done)}] {100 * progress['fraction']:3.0f} % {progress['phase']}"
        if progress.get("loss") is not None:
            text += f"  {progress.get('loss_name') or 'loss'} {progress['loss']:.4g}"
        if progress.get("eta_ms") is not None:
            text += f"  {progress['eta_ms'] / 1000:.0f} s left"
        print(f"\r\033[K{text}" if self.moves else text, end="" if self.moves else "\n", flush=True)

    def end(self, text):
        print(f"\r\033[K{text}" if self.moves else text, flush=True)


def run_model(client, name, engine, params, load, quality, reference):
    request, rows, truth = load()
    bar = Bar(name)
    started = time.monotonic()
    result = client.train(bar, model=name, engine=engine, params=params, **request)
    seconds = time.monotonic() - started
    answers, took, latencies, again = client.stream(name, rows)
    # The same rows once more through the request socket, a hundred at a time, must give the same answers.
    asked = client.ask(op="predict", model=name, rows=rows[:100])["outputs"]["prediction"]
    same = sum(abs(a - b) <= 1e-9 * abs(a) if isinstance(a, float) else a == b for a, b in zip(answers, asked))
    if same != len(asked):
        raise AssertionError(f"{name}: {len(asked) - same} of {len(asked)} answers differ between the sink and the request socket")
    score = data.accuracy(truth, answers) if quality == "accuracy" else data.rmse(truth, answers)
    bar.end(f"  {name:<14} trained in {seconds:.1f} s, {len(rows)} rows streamed in {took:.1f} s" + (f", {again} sent again" if again else ""))
    return {"model": name, "engine": engine, "train rows": result["rows"]["train"], "seconds": seconds, "quality": quality, "score": score,
            "reference": reference, "rate": len(rows) / took if took > 0 else 0.0,
            "p50": latencies[len(latencies) // 2] if latencies else 0.0, "p99": latencies[int(len(latencies) * 0.99)] if latencies else 0.0}


def print_table(rows):
    number = lambda value: f"{value:.4f}" if abs(value) < 10 else f"{value:.0f}"
    print(f"\n  {'model':<14} {'engine':<7} {'rows':>6} {'train s':>8}  {'held-out':<17} {'reference':<33} {'predict/s':>9} {'p50 ms':>7} {'p99 ms':>7}")
    for row in rows:
        reference = f"{number(row['reference'][1])} {row['reference'][0]}"
        print(f"  {row['model']:<14} {row['engine']:<7} {row['train rows']:>6} {row['seconds']:>8.2f}  {row['quality'] + ' ' + number(row['score']):<17} "
              f"{reference:<33} {row['rate']:>9.0f} {row['p50'] * 1000:>7.2f} {row['p99'] * 1000:>7.2f}")


def start_service(home):
    log = open(home / "up.log", "w")
    service = subprocess.Popen([BIN / "modelmq", "up", "--home", home / "service", "--data", FILES], stdout=log, stderr=log)
    until = time.monotonic() + 20
    client = None
    while time.monotonic() < until and service.poll() is None:
        if (home / "service" / "endpoints").exists():
            client = client or Client(home / "service")
            try:
                client.ask(op="engine.list", timeout_s=1.0)
                return service, client
            except TimeoutError:
                continue
        signal.sigtimedwait([], 0.02)
    sys.exit(f"the service did not start:\n{(home / 'up.log').read_text()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the service's folder behind")
    parser.add_argument("--only", default="", help="names of models, comma-separated")
    options = parser.parse_args()
    only = set(filter(None, options.only.split(",")))

    home = pathlib.Path(tempfile.mkdtemp(prefix="modelmq-demo-"))
    began = time.monotonic()
    print(f"modelmq demo: a whole service in {home}")
    service, client = start_service(home)
    print(f"  ready after {time.monotonic() - began:.2f} s: {client.endpoints['request']}")
    try:
        table = [run_model(client, *model) for model in MODELS if not only or model[0] in only]
        print_table(table)
    except Exception:
        print((home / "up.log").read_text()[-4000:], file=sys.stderr)
        raise
    finally:
        client.close()
        service.send_signal(signal.SIGTERM)
        code = service.wait(timeout=20)
        if not options.keep:
            shutil.rmtree(home)
    print(f"\n  stopped cleanly with exit code {code}; {time.monotonic() - began:.0f} s in all")
    sys.exit(code)


if __name__ == "__main__":
    main()
