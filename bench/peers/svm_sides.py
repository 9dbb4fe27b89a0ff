"""One run of one side of bench/peers/svm.py, and what can be said of its solution from outside."""
import os
import subprocess
import time

import numpy as np
import scipy.sparse as sp

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "..", "build", "plain", "bench", "bench_svm")


def timed(call, repeats=1):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        answer = call()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), answer


def timed_warm(call):
    """Short calls again, as bench_svm does: the first meets cold pages and code."""
    seconds, answer = timed(call)
    return (seconds, answer) if seconds > 0.01 else timed(call, 5)


def timed_alone(call):
    """The CPU time of a call that has one thread: it may be taken while others work. Short ones: the median of five, by the clock."""
    start = time.process_time()
    answer = call()
    seconds = time.process_time() - start
    return (seconds, answer) if seconds > 0.2 else timed(call, 5)


def by_pair(coef, counts, support, rows):
    """(rows, pairs) y a from LIBSVM's layout: (classes - 1, vectors) coefficients of vectors that lie class after class."""
    k, starts = len(counts), np.concatenate([[0], np.cumsum(counts)])
    answer, p = np.zeros((rows, k * (k - 1) // 2)), 0
    for a in range(k):
        for b in range(a + 1, k):
            for c, row in ((a, b - 1), (b, a)):
                at = slice(starts[c], starts[c + 1])
                answer[support[at], p] = coef[row, at]
            p += 1
    return answer


def signed_coefficients(model, rows):
    """(rows, pairs) y a of a fitted scikit-learn machine."""
    coef = model.dual_coef_.toarray() if sp.issparse(model.dual_coef_) else model.dual_coef_
    if len(getattr(model, "classes_", [0, 1])) > 2:
        return by_pair(coef, model.n_support_, model.support_, rows)
    answer = np.zeros((rows, 1))
    answer[model.support_, 0] = coef[0]
    return answer


def run_sklearn(x, y, classes, params, more, fast, out):
    from sklearn.calibration import CalibratedClassifierCV
    if fast:
        from sklearnex.svm import SVC, SVR
    else:
        from sklearn.svm import SVC, SVR
    model = (SVC if classes else SVR)(cache_size=more.get("cache", 200), **params)
    if more.get("probability"):
        model = CalibratedClassifierCV(model, method="sigmoid", cv=5, ensemble=False)
    seconds, _ = (timed_warm if fast else timed_alone)(lambda: model.fit(x, y))
    answer = {"train_s": seconds}
    if more.get("quality"):
        answer["labels"] = model.predict(x[:5000]) if more.get("probability") else model.predict(x)
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
    seconds, model = timed_alone(lambda: svm_train(problem, svm_parameter(options)))
    few = sp.csr_matrix(x)[:2000]
    predict_s, (found, _, values) = timed(lambda: svm_predict([], few, model, "-q"))
    answer = {"train_s": seconds, "vectors": model.l, "labels": np.array(found) - (classes > 0), "batch_us": predict_s / 2000 * 1e6,
              "row_us": timed(lambda: svm_predict([], few[:1], model, "-q"), 20)[0] * 1e6}
    answer["values"] = np.array(values) * (-1 if classes == 2 and model.get_labels()[0] == 1 else 1)
    coef, support = np.array(model.get_sv_coef()).T, np.array(model.get_sv_indices()) - 1
    counts = [model.nSV[k] for k in range(classes)] if classes > 2 else [model.l, 0]
    out["coef"] = by_pair(coef, counts, support, x.shape[0])
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


def duality_gap(x, y, coef, params):
    """(primal + dual objective) / |dual objective| of two classes at its best threshold, from all rows' scores in double."""
    rows = np.flatnonzero(coef[:, 0])
    z = (x.toarray() if sp.issparse(x) else x).astype(np.float64)
    z, c, sign = z - z.mean(0), coef[rows, 0], np.where(y > 0, 1, -1)
    f = np.concatenate([kernel(z[at:at + 2000], z[rows], params["gamma"]) @ c for at in range(0, len(z), 2000)])
    norm, limit = c @ f[rows], np.sort(sign - f)

    def losses(b):
        return np.maximum(0, 1 - sign * (f + b)).sum()
    low, high = 0, len(limit) - 1   # the losses are convex in b, with their corners at `limit`
    while high - low > 2:
        third = (high - low) // 3
        if losses(limit[low + third]) <= losses(limit[high - third]):
            high -= third
        else:
            low += third
    primal = norm / 2 + params["C"] * min(losses(limit[k]) for k in range(low, high + 1))
    dual = norm / 2 - np.abs(c).sum()
    return (primal + dual) / abs(dual)


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


def run_ours(path, threads, params, more):
    settings = [f"{name}={value}" for name, value in params.items()] + [f"cache_size={more.get('cache', 200)}"]
    settings += ["probability=true"] if more.get("probability") else []
    done = subprocess.run(["taskset", "-c", ",".join(str(c) for c in range(threads)), BENCH, path, path, str(threads), *settings], check=True,
                          capture_output=True, text=True)
    fields = dict(part.split("=") for part in done.stdout.split())
    return {k: v if k == "precision" else float(v) for k, v in fields.items()}
