#!/usr/bin/env python3
"""Times bench_svm beside oneDAL (scikit-learn-intelex), scikit-learn, LIBSVM and onnxruntime, as far as they are installed, on the same data.

usage: bench/peers/svm.py [case ...]     cases: see CASES; `table` stands for the main ones, `robust` for the odd ones, `labels` counts equal labels
                                         with LIBSVM over all classification sets of MMQ_BENCH_DATA, `labels:NAME` over one
Each run is a process of its own on as many cores as it has threads; runs of a case are interleaved, medians of MMQ_BENCH_REPEATS (3; LIBSVM,
which takes longest, once). The dual objective is recomputed here in double from the support vectors and coefficients each side reports; `over`
is how far it lies above the best one, relative. `agree`: labels equal to LIBSVM's (or the first peer's), of all rows and of those it is sure of.
"""
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import scipy.sparse as sp

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "..", "build", "plain", "bench", "bench_svm")
REPEATS = int(os.environ.get("MMQ_BENCH_REPEATS", "3"))
THREADS = [int(t) for t in os.environ.get("MMQ_BENCH_THREADS", "1 2").split()]
SKIP = os.environ.get("MMQ_BENCH_SKIP", "").split()
DATA = os.environ.get("MMQ_BENCH_DATA", "")       # folder of real data sets; cases on them are left out without it
ROWS_MAX = int(os.environ.get("MMQ_BENCH_ROWS", "5000"))    # of each set in `labels`
CAP_S = float(os.environ.get("MMQ_BENCH_CAP", "100"))


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
    "n=50000": (lambda: made(50000, 20, 2, 10, 8, 1.5), RBF, {}),
}
CASES = {**TABLE, **ROBUST}


# One run, in a process of its own.

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


def timed(call, repeats=1):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        answer = call()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), answer


def signed_coefficients(model, rows):
    """(rows, pairs) y a of a fitted scikit-learn machine; LIBSVM's layout taken apart."""
    if len(getattr(model, "classes_", [0, 1])) <= 2:
        coef = np.zeros((rows, 1))
        coef[model.support_, 0] = model.dual_coef_.toarray()[0] if sp.issparse(model.dual_coef_) else model.dual_coef_[0]
        return coef
    k, starts = len(model.classes_), np.concatenate([[0], np.cumsum(model.n_support_)])
    coef, p = np.zeros((rows, k * (k - 1) // 2)), 0
    for a in range(k):
        for b in range(a + 1, k):
            for c, row in ((a, b - 1), (b, a)):
                at = slice(starts[c], starts[c + 1])
                coef[model.support_[at], p] = model.dual_coef_[row, at]
            p += 1
    return coef


def run_sklearn(x, y, classes, params, more, fast, out):
    from sklearn.calibration import CalibratedClassifierCV
    if fast:
        from sklearnex.svm import SVC, SVR
    else:
        from sklearn.svm import SVC, SVR
    model = (SVC if classes else SVR)(cache_size=more.get("cache", 200), **params)
    if more.get("probability"):
        model = CalibratedClassifierCV(model, method="sigmoid", cv=5, ensemble=False)
    seconds, _ = timed(lambda: model.fit(x, y))
    answer = {"train_s": seconds, "labels": model.predict(x[:5000]) if more.get("probability") else model.predict(x)}
    if not more.get("probability"):
        out["coef"], answer["vectors"] = signed_coefficients(model, x.shape[0]), int(len(model.support_))
    if more.get("predict"):
        answer["batch_us"] = timed(lambda: model.predict(x[:10000]), 3)[0] * 100
        answer["row_us"] = timed(lambda: model.predict(x[:1]), 200)[0] * 1e6
    return answer


def run_libsvm(x, y, classes, params, more, out):
    from libsvm.svmutil import svm_parameter, svm_predict, svm_problem, svm_train
    labels = y if classes == 0 else y + 1
    problem = svm_problem(labels, sp.csr_matrix(x).astype(np.float64))
    options = f"-q -s {0 if classes else 3} -t 2 -c {params['C']} -g {params['gamma']} -p 0.1 -m {more.get('cache', 200)} -b {int(more.get('probability', 0))}"
    seconds, model = timed(lambda: svm_train(problem, svm_parameter(options)))
    few = sp.csr_matrix(x)[:2000]
    predict_s, (found, _, values) = timed(lambda: svm_predict([], few, model, "-q"))
    answer = {"train_s": seconds, "vectors": model.l, "labels": np.array(found) - (classes > 0), "batch_us": predict_s / 2000 * 1e6,
              "row_us": timed(lambda: svm_predict([], few[:1], model, "-q"), 20)[0] * 1e6}
    answer["values"] = np.array(values) * (-1 if classes == 2 and model.get_labels()[0] == 1 else 1)
    if classes in (0, 2):
        out["coef"] = np.zeros((x.shape[0], 1))
        out["coef"][np.array(model.get_sv_indices()) - 1, 0] = [c[0] for c in model.get_sv_coef()]
    return answer


def run_onnxruntime(x, y, classes, params, more):
    import onnxruntime
    from skl2onnx import to_onnx
    from sklearnex.svm import SVC
    from sklearn.svm import SVC as Plain
    fitted = SVC(**params).fit(x, y)
    model = Plain(**params).fit(x[:200], y[:200])
    for name in ("support_", "support_vectors_", "_n_support", "dual_coef_", "_dual_coef_", "intercept_", "_intercept_", "shape_fit_"):
        if hasattr(fitted, name):
            setattr(model, name, getattr(fitted, name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(to_onnx(model, x[:1]).SerializeToString(), options)
    name = session.get_inputs()[0].name
    return {"train_s": float("nan"), "row_us": timed(lambda: session.run(None, {name: x[:1]}), 200)[0] * 1e6,
            "batch_us": timed(lambda: session.run(None, {name: x[:2000]}), 3)[0] / 2000 * 1e6}


def run_child(peer, path, threads, params, more):
    os.sched_setaffinity(0, range(threads))
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
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS")}
    environment.update(OMP_NUM_THREADS=str(threads), PYTHONWARNINGS="ignore")
    call = [sys.executable, __file__, "--child", peer, path, str(threads), json.dumps(params), json.dumps(more)]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=CAP_S)
    if done.returncode != 0:
        print(f"  {peer}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def run_ours(path, threads, params, more):
    settings = [f"{name}={value}" for name, value in params.items()] + [f"cache_size={more.get('cache', 200)}"]
    settings += ["probability=true"] if more.get("probability") else []
    done = subprocess.run(["taskset", "-c", ",".join(str(c) for c in range(threads)), BENCH, path, path, str(threads), *settings], check=True,
                          capture_output=True, text=True)
    fields = dict(part.split("=") for part in done.stdout.split())
    return {k: v if k == "precision" else float(v) for k, v in fields.items()}


# Quality, from outside.

def kernel(a, b, gamma):
    return np.exp(-gamma * np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T, 0))


def objective(x, y, classes, coef, params):
    """Sum over pairs of 1/2 c'Kc - sum |c| (classification) or + epsilon sum |c| - y'c (regression), c = y a."""
    total = 0.0
    for p in range(coef.shape[1]):
        rows = np.flatnonzero(coef[:, p])
        c = coef[rows, p]
        z = (x[rows].toarray() if sp.issparse(x) else x[rows]).astype(np.float64)
        if not sp.issparse(x):
            z = z - z.mean(0)
        for at in range(0, len(rows), 2000):
            total += 0.5 * c[at:at + 2000] @ (kernel(z[at:at + 2000], z, params["gamma"]) @ c)
        total += 0.1 * np.abs(c).sum() - y[rows] @ c if classes == 0 else -np.abs(c).sum()
    return total


def our_coefficients(path, x, y, classes):
    """Rows are found again by their content (and class)."""
    with open(path + ".model", "rb") as file:
        count, cols, coef_rows, pairs = (int(v) for v in np.fromfile(file, np.int64, 4))
        vectors = np.fromfile(file, np.float64, count * cols).reshape(count, cols).astype(np.float32)
        coef = np.fromfile(file, np.float64, coef_rows * count).reshape(coef_rows, count)
        np.fromfile(file, np.float64, pairs)
        starts = np.fromfile(file, np.uint32).astype(int)
    dense = x.toarray() if sp.issparse(x) else x
    places = {}
    for row in range(len(dense)):
        places.setdefault((dense[row] + 0.0).tobytes(), []).append(row)
    answer = np.zeros((len(dense), pairs))
    for v in range(count):
        rows = places[(vectors[v] + 0.0).tobytes()]
        if classes == 2:
            at = [k for k, r in enumerate(rows) if (y[r] == 1) == (coef[0, v] > 0)]
        elif classes > 2:
            own = int(np.searchsorted(starts, v, "right") - 1)
            at = [k for k, r in enumerate(rows) if y[r] == own]
        else:
            at = [0]
        row = rows.pop(at[0])
        if classes <= 2:
            answer[row, 0] = coef[0, v]
            continue
        p = 0
        for a in range(classes):
            for b in range(a + 1, classes):
                if own in (a, b):
                    answer[row, p] = coef[b - 1 if own == a else a, v]
                p += 1
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


def peers_of(case, x, more, threads):
    peers = ["oneDAL"] if not sp.issparse(x) else ["oneDAL-csr", "oneDAL-dense"]
    if more.get("predict"):
        return [p for p in peers + ["onnxruntime", "LIBSVM"] if p not in SKIP]
    peers += [] if more.get("probability") or case == "classes" else ["scikit-learn"]
    peers += ["LIBSVM"] if threads == 1 and case != "classes" else []
    return [p for p in peers if p not in SKIP]


def median(runs, key):
    values = [run[key] for run in runs if run is not None and key in run]
    return float(np.median(values)) if values else float("nan")


def run_case(case, folder):
    (x, y, classes), params, more = CASES[case][0](), CASES[case][1], CASES[case][2]
    path = os.path.join(folder, "data")
    save_data(path, (x, y), classes)
    objectives = {}
    for threads in THREADS if not more.get("predict") else [1]:
        runs, names = {"modelmq": []}, peers_of(case, x, more, threads)
        for repeat in range(REPEATS):
            runs["modelmq"].append(run_ours(path, threads, params, more))
            for name in names:
                if repeat > 0 and (name == "LIBSVM" or median(runs[name], "train_s") > 20 or runs[name][-1] is None):
                    continue
                try:
                    runs.setdefault(name, []).append(start_child(name, path, threads, params, more))
                except subprocess.TimeoutExpired:
                    runs[name] = [None]
                    print(f"  {name}: more than {CAP_S:.0f} s", file=sys.stderr)
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
    if coef is not None and case != "probability":
        objectives[name] = objective(x, y, classes, coef, params)
    return labels, values


def report(case, threads, runs, path, data, params, objectives):
    x, y, classes = data
    found = {name: quality(case, name, path, data, params, objectives) for name, of in runs.items() if of[-1] is not None and (name != "onnxruntime")}
    ours = found["modelmq"][0]
    best = min(objectives.values()) if objectives else float("nan")
    for name, of in runs.items():
        over = (objectives[name] - best) / abs(best) if name in objectives else float("nan")
        line = f"{case:11} {x.shape[0]}x{x.shape[1]} threads={threads} {name:13} train {median(of, 'train_s'):8.3f} s  over {over:8.1e}  vectors {median(of, 'vectors'):7.0f}"
        if name == "modelmq":
            last = of[-1]
            line += f"  gap {last['gap']:.1e} {last['precision']}{' not converged' if not last['converged'] else ''}"
        if case == "predict":
            line += f"  row {median(of, 'row_us'):7.1f} us  batch {median(of, 'batch_us'):7.2f} us a row"
        if name in found and name != "modelmq" and classes:
            labels, values = found[name]
            same = labels == ours[:len(labels)]
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
    wanted = []
    for word in sys.argv[1:] or ["table", "robust"]:
        wanted += TABLE if word == "table" else ROBUST if word == "robust" else [word]
    for case in wanted:
        if case.startswith("labels"):
            with tempfile.TemporaryDirectory() as folder:
                count_labels(folder, case.partition(":")[2])
            continue
        if case == "a9a" and not DATA:
            print("a9a: left out, MMQ_BENCH_DATA does not name a folder with a9a_train.libsvm.gz")
            continue
        with tempfile.TemporaryDirectory() as folder:
            run_case(case, folder)


if __name__ == "__main__":
    main()
