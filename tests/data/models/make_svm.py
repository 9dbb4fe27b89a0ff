#!/usr/bin/env python3
"""Writes the svm_*.model and linear_*.model files with their CSVs: every type, kernel and solver of LIBSVM and LIBLINEAR on formula data.

Needs libsvm-official and liblinear-official (PyPI). Answers are the library's own for rows it has not seen, in full precision. With a folder of files
that modelmq wrote (test_svm_import with MMQ_WRITTEN set) as argument it loads each there and compares the labels instead.
"""
import ctypes
import math
import pathlib
import sys

from libsvm import svm, svmutil
from liblinear import liblinear, liblinearutil

HERE = pathlib.Path(__file__).parent
TRAIN, TEST, COLS = 45, 12, 4
LABELS = (7, -2, 3)


def rows(first, count):
    return [[math.sin(1.7 * i + 2.3 * j) + 0.1 * j if (i + j) % 5 else 0.0 for j in range(COLS)] for i in range(first, first + count)]


def targets(x, kind):
    value = [1.5 * r[0] - 0.7 * r[1] + 0.4 * r[2] * r[3] + 0.3 * math.cos(5.1 * k) for k, r in enumerate(x)]
    if kind == 0:
        return value
    if kind == 2:
        return [LABELS[0] if v > 0.2 else LABELS[1] for v in value]
    return [LABELS[0] if v > 0.8 else LABELS[1] if v > -0.4 else LABELS[2] for v in value]


def gram(a, b):
    return [[0.1 + sum(p * q for p, q in zip(r, s)) ** 2 for s in b] for r in a]


SVM = {
    "svm_csvc_linear": (2, "-s 0 -t 0 -c 2"), "svm_csvc_poly": (3, "-s 0 -t 1 -d 2 -r 1 -g 0.5 -c 3"), "svm_csvc_rbf_prob": (3, "-s 0 -t 2 -g 0.7 -b 1"),
    "svm_csvc_rbf_prob2": (2, "-s 0 -t 2 -g 0.7 -b 1"), "svm_nusvc_sigmoid": (2, "-s 1 -t 3 -g 0.2 -r 0.1 -n 0.4"), "svm_oneclass_rbf": (1, "-s 2 -t 2 -g 0.5 -n 0.2 -b 1"),
    "svm_esvr_rbf_prob": (0, "-s 3 -t 2 -g 0.3 -c 5 -b 1"), "svm_nusvr_poly": (0, "-s 4 -t 1 -d 3 -r 0.5 -g 0.4 -n 0.6"), "svm_csvc_precomputed": (3, "-s 0 -t 4 -c 1"),
    "svm_esvr_precomputed": (0, "-s 3 -t 4 -c 1"),
}
LINEAR = {f"linear_s{s}": (0 if s in (11, 12, 13) else 1 if s == 21 else 3, f"-s {s} -B {1 if s % 2 == 0 else -1}") for s in (0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 21)}
LINEAR |= {"linear_s0_two": (2, "-s 0 -B 2.5"), "linear_s4_two": (2, "-s 4 -B 1"), "linear_s3_two": (2, "-s 3 -c 4")}


def write_csv(path, x, columns):
    lines = [",".join([f"x.{j + 1}" for j in range(len(x[0]))] + [f"p.{name}" for name in columns])]
    for i, row in enumerate(x):
        lines.append(",".join([f"{v:.17g}" for v in row] + [f"{values[i]:.17g}" for values in columns.values()]))
    path.write_text("\n".join(lines) + "\n")


def answers_svm(model, x, first_index):
    kind, classes = model.get_svm_type(), model.get_nr_class()
    labels = model.get_labels() if kind in (0, 1) else []
    columns = {}
    for row in x:
        nodes, _ = svm.gen_svm_nodearray(({0: 1} if first_index == 0 else {}) | {j + 1: v for j, v in enumerate(row)}, isKernel=first_index == 0)
        pairs = classes * (classes - 1) // 2 if labels else 1
        dec = (ctypes.c_double * pairs)()
        pred = svm.libsvm.svm_predict_values(model, nodes, dec)
        columns.setdefault("pred", []).append(pred)
        names = [f"dec_{a}_{b}" for i, a in enumerate(labels) for b in labels[i + 1:]] or (["dec"] if kind == 2 else [])
        for name, value in zip(names, dec):
            columns.setdefault(name, []).append(value)
        if labels and model.is_probability_model():
            prob = (ctypes.c_double * classes)()
            columns.setdefault("pred_b1", []).append(svm.libsvm.svm_predict_probability(model, nodes, prob))
            for label, value in zip(labels, prob):
                columns.setdefault(f"prob_{label}", []).append(value)
    return columns


def answers_linear(model, x):
    labels = model.get_labels() if not model.is_regression_model() and not model.is_oneclass_model() else []
    columns, bias = {}, model.bias
    for row in x:
        nodes, _ = liblinear.gen_feature_nodearray({j + 1: v for j, v in enumerate(row)})
        if bias >= 0:
            nodes[-2] = liblinear.feature_node(model.nr_feature + 1, bias)
        dec = (ctypes.c_double * max(1, len(labels)))()
        columns.setdefault("pred", []).append(liblinear.liblinear.predict_values(model, nodes, dec))
        width = 1 if len(labels) <= 2 and model.param.solver_type != 4 else len(labels)
        names = [f"dec_{label}" for label in labels[:width]] or (["dec"] if model.is_oneclass_model() else [])
        for name, value in zip(names, dec):
            columns.setdefault(name, []).append(value)
        if labels and model.is_probability_model():
            prob = (ctypes.c_double * len(labels))()
            liblinear.liblinear.predict_probability(model, nodes, prob)
            for label, value in zip(labels, prob):
                columns.setdefault(f"prob_{label}", []).append(value)
    return columns


def main():
    x, unseen = rows(0, TRAIN), rows(TRAIN, TEST)
    for name, (kind, options) in SVM.items():
        y = targets(x, kind) if kind != 1 else [1] * len(x)
        is_kernel = "precomputed" in name
        train = [dict([(0, i + 1)] + [(j + 1, v) for j, v in enumerate(r)]) for i, r in enumerate(gram(x, x))] if is_kernel else \
            [{j + 1: v for j, v in enumerate(r)} for r in x]
        model = svmutil.svm_train(svm.svm_problem(y, train, isKernel=is_kernel), svm.svm_parameter(options + " -q"))
        svmutil.svm_save_model(str(HERE / f"{name}.model"), model)
        model = svmutil.svm_load_model(str(HERE / f"{name}.model"))
        rows_to_ask = gram(unseen, x) if is_kernel else unseen
        write_csv(HERE / f"{name}.csv", rows_to_ask, answers_svm(model, rows_to_ask, 0 if is_kernel else 1))
    for name, (kind, options) in LINEAR.items():
        y = targets(x, kind) if kind != 1 else [1] * len(x)
        model = liblinearutil.train(y, [{j + 1: v for j, v in enumerate(r)} for r in x], options + " -q")
        liblinearutil.save_model(str(HERE / f"{name}.model"), model)
        model = liblinearutil.load_model(str(HERE / f"{name}.model"))
        write_csv(HERE / f"{name}.csv", unseen, answers_linear(model, unseen))


def compare(folder):
    for path in sorted(pathlib.Path(folder).glob("*.model")):
        lines = (HERE / f"{path.stem}.csv").read_text().split()
        head = lines[0].split(",")
        cells = [[float(v) for v in line.split(",")] for line in lines[1:]]
        x = [row[:sum(n.startswith("x.") for n in head)] for row in cells]
        is_linear = path.stem.startswith("linear") or path.stem.startswith("breast_l2r")
        model = liblinearutil.load_model(str(path)) if is_linear else svmutil.svm_load_model(str(path))
        got = answers_linear(model, x) if is_linear else answers_svm(model, x, 0 if "precomputed" in path.stem else 1)
        worst = max(abs(got["pred"][i] - row[head.index("p.pred")]) / (1 + abs(got["pred"][i])) for i, row in enumerate(cells))
        print(f"{path.stem:28} {len(cells)} rows, pred differs by at most {worst:.1e}")
        assert worst < 1e-9


if __name__ == "__main__":
    compare(sys.argv[1]) if len(sys.argv) > 1 else main()
