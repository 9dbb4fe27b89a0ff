#!/usr/bin/env python3
"""Times bench_svm beside scikit-learn, scikit-learn-intelex (oneDAL) and LIBSVM, as far as they are installed, on the same data.

usage: bench/peers/svm.py [case ...]     runs of a case are interleaved; medians of MMQ_BENCH_REPEATS (3)
The dual objective of a binary or regression machine is not printed by all peers: quality is accuracy or R2 on the training rows and the
share of equal labels with the first peer.
"""
import os
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "..", "build", "plain", "bench", "bench_svm")
REPEATS = int(os.environ.get("MMQ_BENCH_REPEATS", "3"))
CACHE_MB = int(os.environ.get("MMQ_BENCH_CACHE", "200"))


def made(rows, cols, classes, informative, seed, separation=1.0, noise=0.05):
    from sklearn.datasets import make_classification
    x, y = make_classification(rows, cols, n_informative=informative, n_redundant=0, n_classes=classes, class_sep=separation,
                               flip_y=noise, random_state=seed)
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), y.astype(np.float64), classes


def made_regression(rows, cols, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, cols)).astype(np.float32)
    y = x[:, :10].sum(1) / 3 + x[:, 0] * x[:, 1] + 0.2 * rng.normal(size=rows)
    return x, ((y - y.mean()) / y.std()).astype(np.float64), 0


CASES = {
    "svc": (lambda: made(20000, 50, 2, 20, 1), dict(C=1.0, gamma=1 / 50)),
    "svr": (lambda: made_regression(20000, 50, 1), dict(C=1.0, gamma=1 / 50)),
    "svc-easy": (lambda: made(20000, 50, 2, 20, 2, 3.0, 0.0), dict(C=1.0, gamma=1 / 50)),
    "svc-hard": (lambda: made(4000, 30, 2, 10, 3), dict(C=1000.0, gamma=1 / 30)),
    "classes": (lambda: made(20000, 784, 10, 60, 4), dict(C=1.0, gamma=1 / 784)),
}


def ours(path, data, params, threads):
    x, y, classes = data
    with open(path, "wb") as file:
        file.write(struct.pack("<3i", *x.shape, classes))
        file.write(x.tobytes())
        file.write(y.tobytes())
    settings = [f"{name}={value!r}" for name, value in params.items()] + [f"cache_size={CACHE_MB}"]
    done = subprocess.run([BENCH, path, path + ".scores", str(threads), *settings], check=True, capture_output=True, text=True)
    fields = dict(part.split("=") for part in done.stdout.split())
    return float(fields["train_s"]), fields, np.fromfile(path + ".scores").reshape(len(y), -1)


def labels_of(scores, classes):
    if classes == 2:
        return (scores[:, 0] > 0).astype(float)
    votes, pair = np.zeros((len(scores), classes)), 0
    for a in range(classes):
        for b in range(a + 1, classes):
            votes[:, a] += scores[:, pair] > 0
            votes[:, b] += scores[:, pair] <= 0
            pair += 1
    return votes.argmax(1).astype(float)


def peers(classes):
    """name -> function(x, y, params) giving an estimator's fit and answers."""
    found = {}
    try:
        from sklearn.svm import SVC, SVR
        found["scikit-learn"] = (SVC if classes else SVR)
        from sklearnex.svm import SVC as FastSVC, SVR as FastSVR
        found["oneDAL"] = (FastSVC if classes else FastSVR)
    except ImportError:
        pass
    return found


def limit_threads(count):
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        import daal4py
        daal4py.daalinit(count)
    except (ImportError, RuntimeError):
        pass


def main():
    wanted = sys.argv[1:] or ["svc", "svr", "svc-easy", "svc-hard"]
    threads = int(os.environ.get("MMQ_BENCH_THREADS", "1"))
    skip = os.environ.get("MMQ_BENCH_SKIP", "").split(",")
    limit_threads(threads)
    for case in wanted:
        data = CASES[case][0]()
        params = CASES[case][1]
        x, y, classes = data
        times, answers, extra = {}, {}, ""
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(REPEATS):
                seconds, fields, scores = ours(os.path.join(folder, "data"), data, params, threads)
                times.setdefault("modelmq", []).append(seconds)
                answers["modelmq"] = labels_of(scores, classes) if classes else scores[:, 0]
                extra = " ".join(f"{k}={v}" for k, v in fields.items() if k not in ("threads", "train_s"))
                for name, kind in peers(classes).items():
                    if name in skip:
                        continue
                    model = kind(cache_size=CACHE_MB, **params)
                    start = time.perf_counter()
                    model.fit(x, y)
                    times.setdefault(name, []).append(time.perf_counter() - start)
                    if name not in answers:
                        answers[name] = model.predict(x)
                        print(f"  {name}: {len(model.support_)} vectors", file=sys.stderr)
        for name, seconds in times.items():
            answer = answers[name]
            quality = (answer == y).mean() if classes else 1 - ((answer - y) ** 2).mean() / y.var()
            same = (answer == answers["modelmq"]).mean() if classes else 1 - np.abs(answer - answers["modelmq"]).max()
            print(f"{case:10} {x.shape[0]}x{x.shape[1]} threads={threads} {name:14} {np.median(seconds):8.3f} s  quality {quality:.4f}  "
                  f"agrees {same:.5f}  {extra if name == 'modelmq' else ''}")


if __name__ == "__main__":
    main()
