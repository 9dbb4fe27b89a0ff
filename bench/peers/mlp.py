"""mlp.py: the works of bench_mlp beside PyTorch, scikit-learn, onnxruntime and FANN, in turn in one run; medians.

    python bench/peers/mlp.py [case ...]     mlp784, mlp28, cnn28, predict-mlp784, predict-mlp28, xor; all by default

MMQ_BENCH_REPEATS (3) runs of each, with MMQ_BENCH_THREADS ("1 2") threads. Needs torch, scikit-learn, onnxruntime and onnx in this Python and a
C compiler (onnx_rows.c); FANN (Debian's libfann2) through ctypes if it is there. What is missing is left out. Each run of a peer is a process of
its own, as each of ours is, so that thread counts are set before its libraries start. Rows come from bench_mlp: the same for all.
"""
import ctypes, ctypes.util, os, pathlib, statistics, subprocess, sys, tempfile, time

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "build/plain/bench/bench_mlp"
REPEATS = int(os.environ.get("MMQ_BENCH_REPEATS", "3"))
THREADS = [int(count) for count in os.environ.get("MMQ_BENCH_THREADS", "1 2").split()]

WORKS = {"mlp784": (5, 128), "mlp28": (1, 256), "cnn28": (3, 64)}


def rows_of(path):
    import numpy as np
    raw = np.fromfile(path, dtype=np.float32)
    train, test, cols = (int(v) for v in raw[:3].view(np.int32))
    at, parts = 3, []
    for count in (train, test):
        parts.append((raw[at:at + count * cols].reshape(count, cols).copy(), raw[at + count * cols:at + count * cols + count].copy()))
        at += count * (cols + 1)
    return parts


def network(work):
    from torch import nn
    if work == "mlp784":
        return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    if work == "mlp28":
        return nn.Sequential(nn.Linear(28, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(400, 64), nn.ReLU(), nn.Linear(64, 10))


def run_torch(work, threads, path):
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    epochs, batch = WORKS[work]
    (x, y), (u, v) = rows_of(path)
    x, u = torch.from_numpy(x), torch.from_numpy(u)
    if work == "cnn28":
        x, u = x.reshape(-1, 1, 28, 28), u.reshape(-1, 1, 28, 28)
    y = torch.from_numpy(y) if work == "mlp28" else torch.from_numpy(y).long()
    net = network(work)
    step = torch.optim.Adam(net.parameters(), lr=0.001)
    entropy = torch.nn.BCEWithLogitsLoss() if work == "mlp28" else torch.nn.CrossEntropyLoss()
    start = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for i in range(0, len(x), batch):
            rows = order[i:i + batch]
            step.zero_grad()
            out = net(x[rows])
            loss = entropy(out[:, 0] if work == "mlp28" else out, y[rows])
            loss.backward()
            step.step()
    seconds = time.perf_counter() - start
    with torch.no_grad():
        out = net(u)
        right = (out[:, 0] > 0).numpy() if work == "mlp28" else out.argmax(1).numpy()
    return seconds, float((right == v).mean())


def run_sklearn(work, threads, path):
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits
    import warnings
    warnings.simplefilter("ignore")
    epochs, batch = WORKS[work]
    (x, y), (u, v) = rows_of(path)
    net = MLPClassifier((256, 128) if work == "mlp784" else (64, 32), batch_size=batch, max_iter=epochs, alpha=0, tol=0, n_iter_no_change=100, random_state=1)
    with threadpool_limits(threads):
        start = time.perf_counter()
        net.fit(x, y)
        seconds = time.perf_counter() - start
    return seconds, float(net.score(u, v))


def onnx_model(sizes, weights):
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper
    nodes, constants, name, at = [], [], "x", 0
    for k in range(3):
        count = sizes[k] * sizes[k + 1]
        w, b = weights[at:at + count].reshape(sizes[k], sizes[k + 1]), weights[at + count:at + count + sizes[k + 1]]
        at += count + sizes[k + 1]
        constants += [numpy_helper.from_array(np.ascontiguousarray(w), f"w{k}"), numpy_helper.from_array(b.copy(), f"b{k}")]
        last = "Softmax" if sizes[3] > 1 else "Sigmoid"
        nodes.append(helper.make_node("Gemm", [name, f"w{k}", f"b{k}"], [f"z{k}"]))
        nodes.append(helper.make_node("Relu" if k < 2 else last, [f"z{k}"], [f"a{k}" if k < 2 else "y"]))
        name = f"a{k}"
    graph = helper.make_graph(nodes, "mlp", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, sizes[0]])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, sizes[3]])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model.SerializeToString()


def run_onnx(work, threads, path):
    """onnxruntime's C interface with our trained weights: seconds for one row, seconds a row of 10,000, largest difference of probabilities."""
    import numpy as np, onnxruntime
    sizes = [784, 256, 128, 10] if work == "mlp784" else [28, 64, 32, 1]
    (x, _), _ = rows_of(path)
    x = np.ascontiguousarray(x[:10000])
    raw = np.fromfile(path + ".model", dtype=np.float32)
    count = sum((sizes[k] + 1) * sizes[k + 1] for k in range(3))
    model, want = onnx_model(sizes, raw[:count]), raw[count:].reshape(10000, -1)
    folder = pathlib.Path(onnxruntime.__file__).parent / "capi"
    library = next(folder.glob("libonnxruntime.so*"))
    built = path + ".so"
    subprocess.run(["cc", "-O2", "-w", "-shared", "-fPIC", "-o", built, pathlib.Path(__file__).with_name("onnx_rows.c"), "-ldl"], check=True)
    y, seconds = np.zeros((10000, sizes[3]), np.float32), (ctypes.c_double * 2)()
    failed = ctypes.CDLL(built).onnx_rows(str(library).encode(), model, ctypes.c_size_t(len(model)), ctypes.c_void_p(x.ctypes.data), ctypes.c_size_t(10000),
                                          ctypes.c_size_t(sizes[0]), ctypes.c_void_p(y.ctypes.data), ctypes.c_size_t(sizes[3]), ctypes.c_size_t(4000), seconds)
    if failed:
        sys.exit(f"onnx_rows: step {failed} failed")
    return seconds[0], seconds[1], float(np.abs(y - (want[:, 1:] if sizes[3] == 1 else want)).max())


def run_fann(work, threads, path):
    fann = ctypes.CDLL(ctypes.util.find_library("floatfann") or "libfloatfann.so.2")
    filler = ctypes.CFUNCTYPE(None, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(ctypes.c_float), ctypes.POINTER(ctypes.c_float))

    @filler
    def fill(row, _inputs, _outputs, x, y):
        x[0], x[1], y[0] = row >> 1, row & 1, (row >> 1) ^ (row & 1)

    for name in ("fann_create_standard", "fann_create_train_from_callback"):
        getattr(fann, name).restype = ctypes.c_void_p
    net = ctypes.c_void_p(fann.fann_create_standard(3, 2, 4, 1))
    fann.fann_set_training_algorithm(net, 1)                 # batch
    fann.fann_set_activation_function_hidden(net, 3)         # sigmoid
    fann.fann_set_activation_function_output(net, 3)
    fann.fann_set_learning_rate.argtypes = [ctypes.c_void_p, ctypes.c_float]
    fann.fann_set_learning_rate(net, 4.0)
    data = ctypes.c_void_p(fann.fann_create_train_from_callback(4, 2, 1, fill))
    fann.fann_train_on_data.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_float]
    start = time.perf_counter()
    fann.fann_train_on_data(net, data, 200000, 0, -1.0)
    seconds = time.perf_counter() - start
    fann.fann_run.restype = ctypes.POINTER(ctypes.c_float)
    right = sum((fann.fann_run(net, (ctypes.c_float * 2)(i >> 1, i & 1))[0] > 0.5) == ((i >> 1) != (i & 1)) for i in range(4))
    return seconds, right / 4


RUNNERS = {"torch": run_torch, "scikit-learn": run_sklearn, "onnxruntime": run_onnx, "FANN": run_fann}


def call(command, threads):
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
    if command[0] == sys.executable:
        for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
            env.pop(name, None)
    out = subprocess.run([str(c) for c in command], env=env, capture_output=True, text=True)
    if out.returncode != 0:
        print(f"  {' '.join(str(c) for c in command[:5])}: {(out.stderr.strip() or 'failed').splitlines()[-1]}", file=sys.stderr)
    return [float(v) for v in out.stdout.split()] if out.returncode == 0 and out.stdout.strip() else None


def compare(own, work, threads, peers, path):
    """Ours and every peer in turn, REPEATS times: medians of each figure."""
    took = {name: [] for name in ["ours", *peers]}
    for _ in range(REPEATS):
        took["ours"].append(call([PROGRAM, *own], threads))
        for peer in peers:
            took[peer].append(call([sys.executable, __file__, "--peer", peer, work, threads, path], threads))
    return {name: [statistics.median(column) for column in zip(*[r for r in runs if r])] for name, runs in took.items() if any(runs)}


def version(peer):
    from importlib import metadata
    try:
        return f"{peer} {metadata.version(peer)}"
    except metadata.PackageNotFoundError:
        return peer


def train(work, threads, path):
    result = compare(["run", work, threads], work, threads, ["torch"] + (["scikit-learn"] if work != "cnn28" else []), path)
    ours = result.pop("ours")
    for peer, theirs in result.items():
        print(f"| train {work}, {threads} threads | {version(peer)} | {theirs[0]:.3f} s | {ours[0]:.3f} s | {ours[0] / theirs[0]:.2f} | "
              f"accuracy {ours[1]:.4f}, {theirs[1]:.4f} |", flush=True)


def predict(work, path):
    result = compare(["predict", work, path + ".model"], work, 1, ["onnxruntime"], path)
    if "onnxruntime" not in result:
        return
    for column, label in ((0, "one row"), (1, "10,000 rows, a row")):
        ours, theirs = result["ours"][column] * 1e6, result["onnxruntime"][column] * 1e6
        print(f"| predict {work}, {label} | {version('onnxruntime')}, C | {theirs:.3f} us | {ours:.3f} us | {ours / theirs:.2f} | "
              f"same weights, probabilities within {result['onnxruntime'][2]:.1e} |", flush=True)


def xor():
    result = compare(["run", "xor", 1], "xor", 1, ["FANN"], "-")
    if "FANN" in result:
        ours, theirs = result["ours"][0] * 5, result["FANN"][0] * 5
        print(f"| xor 2-4-1, an iteration | FANN | {theirs:.3f} us | {ours:.3f} us | {ours / theirs:.2f} | "
              f"accuracy {result['ours'][1]:.2f}, {result['FANN'][1]:.2f} |", flush=True)


def main():
    if sys.argv[1:2] == ["--peer"]:
        _, _, peer, work, threads, path = sys.argv
        print(*RUNNERS[peer](work, int(threads), path))
        return
    cases = sys.argv[1:] or ["mlp784", "mlp28", "cnn28", "predict-mlp784", "predict-mlp28", "xor"]
    print("| work | peer | peer's | ours | ours/peer | quality ours, peer |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            work = case.removeprefix("predict-")
            path = os.path.join(folder, work)
            if case == "xor":
                xor()
                continue
            subprocess.run([PROGRAM, "dump", work, path], check=True)
            if work != case:
                predict(work, path)
                continue
            for threads in THREADS:
                train(work, threads, path)


main()
