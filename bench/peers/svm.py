#!/usr/bin/env python3
"""Times bench_svm beside oneDAL (scikit-learn-intelex), scikit-learn, LIBSVM and onnxruntime, as far as they are installed, on the same data.

usage: bench/peers/svm.py [case ...]     cases: see svm_cases.py; `table` stands for the main ones, `robust` for the odd ones, `slow` runs only the
                                         slow peers of the cases after it, `labels` counts equal labels with LIBSVM over all
                                         classification sets of MMQ_BENCH_DATA, `labels:NAME` over one
Each run is a process of its own on as many cores as it has threads; runs of a case are interleaved, medians of MMQ_BENCH_REPEATS (3). LIBSVM and
scikit-learn (which is LIBSVM over dense rows) have one thread and take minutes: they run once, for MMQ_BENCH_CAP seconds (300) of CPU at the most,
their times are CPU time, and results are kept in MMQ_BENCH_KEEP (build/bench-svm), so that `slow` may run beside other work before.

The dual objective is recomputed here in double from the support vectors and coefficients each side reports; `over` is how far it lies above
LIBSVM's (the best one's, where LIBSVM did not finish), relative; `primal` is the duality gap of our solution, in double, relative, where it is
quick or no peer finished. `agree`: labels equal to the peer's, of all rows and of those it is sure of. MMQ_BENCH_QUALITY=no: only times.
"""
import hashlib
import importlib.metadata
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import numpy as np
import scipy.sparse as sp

from svm_cases import DATA, ROBUST, TABLE, load_data, save_data
from svm_sides import HERE, duality_gap, objective, our_coefficients, run_libsvm, run_onnxruntime, run_ours, run_sklearn

CASES = {**TABLE, **ROBUST}
SLOW = ("LIBSVM", "scikit-learn")
REPEATS = int(os.environ.get("MMQ_BENCH_REPEATS", "3"))
THREADS = [int(t) for t in os.environ.get("MMQ_BENCH_THREADS", "1 2").split()]
SKIP = os.environ.get("MMQ_BENCH_SKIP", "").split()
ROWS_MAX = int(os.environ.get("MMQ_BENCH_ROWS", "5000"))    # of each set in `labels`
CAP_S = int(os.environ.get("MMQ_BENCH_CAP", "300"))
KEEP = os.environ.get("MMQ_BENCH_KEEP", os.path.join(HERE, "..", "..", "build", "bench-svm"))
QUALITY = os.environ.get("MMQ_BENCH_QUALITY", "yes") == "yes"
GAP_ROWS_MAX = 5000   # above, the duality gap takes minutes in numpy


def run_child(peer, path, threads, params, more):
    os.sched_setaffinity(0, range(threads))
    if peer in SLOW:
        resource.setrlimit(resource.RLIMIT_CPU, (CAP_S, CAP_S + 5))
    x, y, classes = load_data(path)
    out = {}
    if peer == "LIBSVM":
        answer = run_libsvm(x, y, classes, params, more, out)
    elif peer == "onnxruntime":
        answer = run_onnxruntime(x, y, classes, params, more)
    else:
        dense = peer.endswith("dense")
        answer = run_sklearn(x.toarray() if dense and sp.issparse(x) else x, y, classes, params, more, peer.startswith("oneDAL"), out)
    np.savez(f"{path}.{peer}.npz", labels=answer.pop("labels", []), values=answer.pop("values", []), **out)
    print(json.dumps(answer))


def start_child(peer, path, threads, params, more):
    """What the peer answers; None: it failed or took too long."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS")}
    environment.update(OMP_NUM_THREADS=str(threads), PYTHONWARNINGS="ignore")
    call = [sys.executable, __file__, "--child", peer, path, str(threads), json.dumps(params), json.dumps(more)]
    try:
        done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=None if peer in SLOW else CAP_S)
    except subprocess.TimeoutExpired:
        print(f"  {peer}: more than {CAP_S} s", file=sys.stderr)
        return None
    if done.returncode != 0:
        late = done.returncode == -signal.SIGXCPU
        print(f"  {peer}: {f'more than {CAP_S} s' if late else done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return {"late": CAP_S} if late else None
    return json.loads(done.stdout.splitlines()[-1])


def start_slow(peer, path, params, more):
    """The same for a slow peer, or what it answered before to the same question."""
    version = importlib.metadata.version("libsvm-official" if peer == "LIBSVM" else peer)
    asked = hashlib.sha256(open(path, "rb").read() + json.dumps([peer, version, params, more]).encode()).hexdigest()[:24]
    kept = os.path.join(KEEP, asked)
    answer = json.load(open(kept + ".json")) if os.path.exists(kept + ".json") else None
    if answer is None or answer.get("late", CAP_S) < CAP_S:
        answer = start_child(peer, path, 1, params, dict(more, quality=True))
        if answer is None:
            return None
        os.makedirs(KEEP, exist_ok=True)
        if "late" not in answer:
            shutil.copy(f"{path}.{peer}.npz", kept + ".npz")
        with open(kept + ".json", "w") as file:
            json.dump(answer, file)
    if "late" in answer:
        return None
    shutil.copy(kept + ".npz", f"{path}.{peer}.npz")
    return answer


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


def peers_of(case, x, more):
    peers = ["oneDAL"] if not sp.issparse(x) else ["oneDAL-csr", "oneDAL-dense"]
    if more.get("predict"):
        peers += ["onnxruntime", "LIBSVM"]
    else:
        peers += ["LIBSVM"] if more.get("probability") or case == "classes" else ["LIBSVM", "scikit-learn"]
    return [p for p in peers if p not in SKIP]


def median(runs, key):
    values = [run[key] for run in runs if run is not None and key in run]
    return float(np.median(values)) if values else float("nan")


def run_case(case, folder, only_slow):
    (x, y, classes), params, more = CASES[case][0](), CASES[case][1], CASES[case][2]
    path, objectives, peers = os.path.join(folder, "data"), {}, peers_of(case, x, more)
    save_data(path, (x, y), classes)
    slow = {name: [start_slow(name, path, params, more)] for name in peers if name in SLOW}
    for threads in [] if only_slow else [1] if more.get("predict") else THREADS:
        runs = {"modelmq": []}
        for repeat in range(REPEATS):
            runs["modelmq"].append(run_ours(path, threads, params, more))
            for name in peers:
                of = runs.setdefault(name, [])
                if name not in SLOW and not (repeat > 0 and (of[-1] is None or median(of, "train_s") > 40)):
                    of.append(start_child(name, path, threads, params, dict(more, quality=QUALITY)))
        runs.update(slow)
        report(case, threads, runs, path, (x, y, classes), params, objectives)


def quality(case, name, path, data, params, objectives):
    """Objective (once a peer) and labels and values of all rows."""
    x, y, classes = data
    if name == "modelmq":
        scores = np.fromfile(path + ".scores")[:len(y) * max(1, classes * (classes - 1) // 2)].reshape(len(y), -1)
        coef, labels, values = our_coefficients(path, x, y, classes), labels_of(scores, classes) if classes else scores[:, 0], scores
    else:
        with np.load(f"{path}.{name}.npz") as file:
            coef, labels, values = file.get("coef"), file["labels"], file["values"]
    if coef is not None and case != "probability" and name not in objectives:
        objectives[name] = objective(x, y, classes, coef, params)
    return labels, values, coef


def report(case, threads, runs, path, data, params, objectives):
    x, y, classes = data
    found = {name: quality(case, name, path, data, params, objectives) for name, of in runs.items()
             if of[-1] is not None and name != "onnxruntime"} if QUALITY else {}
    against = objectives.get("LIBSVM", min(objectives.values(), default=float("nan")))
    ours, seconds = median(runs["modelmq"], "train_s"), {name: median(of, "train_s") for name, of in runs.items()}
    for name, of in runs.items():
        line = f"{case:13} {x.shape[0]}x{x.shape[1]} threads={threads} {name:13}"
        if of[-1] is None:
            print(f"{line} more than {CAP_S} s, or failed", flush=True)
            continue
        over = (objectives[name] - against) / abs(against) if name in objectives else float("nan")
        line += f" train {seconds[name]:9.4f} s  over {over:8.1e}  vectors {median(of, 'vectors'):6.0f}"
        if case == "predict":
            line += f"  row {median(of, 'row_us'):7.1f} us  batch {median(of, 'batch_us'):7.2f} us a row"
        if name == "modelmq":
            line += f"  gap {of[-1]['gap']:.1e} {of[-1]['precision']}{'' if of[-1]['converged'] else ' not converged'}"
            if classes == 2 and QUALITY and case != "probability" and (len(y) <= GAP_ROWS_MAX or len(objectives) == 1):
                line += f"  primal {duality_gap(x, y, found[name][2], params):.1e}"
            peers = {peer: s for peer, s in seconds.items() if peer != name and s > 0}
            if peers:
                best = min(peers, key=peers.get)
                line += f"  of the best, {best}: {ours / peers[best]:.3f}" + (f", of LIBSVM {ours / peers['LIBSVM']:.3f}" if "LIBSVM" in peers else "")
        elif name in found and classes:
            labels, values, _ = found[name]
            same = labels == found["modelmq"][0][:len(labels)]
            line += f"  agree {same.mean():.5f}"
            if len(values) and values.ndim == 2 and values.shape[1] == 1 and case != "probability":
                sure = np.abs(values[:, 0]) > 0.01
                line += f" sure {same[:len(sure)][sure].mean():.5f}"
        print(line, flush=True)


def classification_sets(only):
    """name -> rows (dense or sparse, float32) and class codes of every classification set of DATA; text and categories one-hot, numbers scaled."""
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import OneHotEncoder
    for about in json.load(open(os.path.join(DATA, "datasets.json")))["datasets"]:
        name = about["name"]
        if about.get("task") not in ("binary", "multiclass", "text") or only not in ("", name):
            continue
        file = about["files"][0]["path"]
        if "libsvm" in file:
            from sklearn.datasets import load_svmlight_file
            x, y = load_svmlight_file(os.path.join(DATA, file))
        elif "idx" in file:
            import gzip
            x = np.frombuffer(gzip.open(os.path.join(DATA, "mnist10k-images-idx3-ubyte.gz")).read(), np.uint8, offset=16).reshape(-1, 784) / 255
            y = np.frombuffer(gzip.open(os.path.join(DATA, "mnist10k-labels-idx1-ubyte.gz")).read(), np.uint8, offset=8)
        else:
            table = pd.read_csv(os.path.join(DATA, file))
            x, y = table.iloc[:, :-1], table.iloc[:, -1]
            text = [c for c in x if x[c].dtype == object or not pd.api.types.is_numeric_dtype(x[c])]
            if about["task"] == "text":
                x = TfidfVectorizer().fit_transform(x[text[0]].astype(str))
            else:
                numbers = x.drop(columns=text).fillna(0).to_numpy(float)
                numbers = (numbers - numbers.mean(0)) / np.where(numbers.std(0) > 0, numbers.std(0), 1)
                x = numbers if not text else sp.hstack([sp.csr_matrix(numbers), OneHotEncoder().fit_transform(x[text].astype(str))]).tocsr()
        yield name, x.astype(np.float32), np.unique(y, return_inverse=True)[1].astype(float)


def count_labels(folder, only):
    from libsvm.svmutil import svm_parameter, svm_predict, svm_problem, svm_train
    path, totals = os.path.join(folder, "data"), np.zeros(3)
    for name, x, y in classification_sets(only):
        x, y, classes = x[:ROWS_MAX], y[:ROWS_MAX], int(y.max()) + 1
        params = dict(C=1.0, gamma=1 / x.shape[1], kernel="rbf")
        save_data(path, (x, y), classes)
        run_ours(path, 1, params, {})
        scores = np.fromfile(path + ".scores").reshape(len(y), -1)
        given = sp.csr_matrix(x).astype(np.float64)
        by_class = np.argsort(y, kind="stable")   # LIBSVM numbers classes as they come, and the first of equal votes wins
        model = svm_train(svm_problem(y[by_class], given[by_class]), svm_parameter(f"-q -t 2 -c 1 -g {params['gamma']} -m 500"))
        found, _, values = svm_predict([], given, model, "-q")
        sure = (np.abs(np.array(values)) > 0.01).all(1)
        same = labels_of(scores, classes) == np.array(found)
        totals += [same.sum(), same[sure].sum(), sure.sum()]
        print(f"labels {name:14} {x.shape[0]}x{x.shape[1]} {classes} classes: equal {same.mean():.5f}, of {sure.sum()} sure rows {same[sure].mean():.6f}", flush=True)
    if not only:
        print(f"labels, all sets: of {int(totals[2])} sure rows {totals[1] / totals[2]:.6f}")


def main():
    if sys.argv[1:2] == ["--child"]:
        run_child(sys.argv[2], sys.argv[3], int(sys.argv[4]), json.loads(sys.argv[5]), json.loads(sys.argv[6]))
        return
    versions = {name: importlib.metadata.version(name) for name in ("scikit-learn", "scikit-learn-intelex", "libsvm-official", "onnxruntime")}
    print("peers: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    wanted, only_slow = [], False
    for word in sys.argv[1:] or ["table", "robust"]:
        wanted += TABLE if word == "table" else ROBUST if word == "robust" else [word]
    for case in wanted:
        if case == "slow":
            only_slow = True
            continue
        if case.startswith("labels"):
            with tempfile.TemporaryDirectory() as folder:
                count_labels(folder, case.partition(":")[2])
            continue
        if case == "a9a" and not DATA:
            print("a9a: left out, MMQ_BENCH_DATA does not name a folder with a9a_train.libsvm.gz")
            continue
        with tempfile.TemporaryDirectory() as folder:
            run_case(case, folder, only_slow)


if __name__ == "__main__":
    main()
