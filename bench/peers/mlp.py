"""mlp.py: the works of bench_mlp beside PyTorch, scikit-learn, onnxruntime and FANN, in turn in one run; medians.

    python bench/peers/mlp.py build/plain/bench/bench_mlp [rounds]

Needs torch, scikit-learn, onnxruntime and onnx in this Python; FANN (Debian's libfann2) through ctypes if it is there. Each run of a peer
is a process of its own, as each of ours is, so that thread counts are set before its libraries start. Rows come from bench_mlp: the same for all.
"""
import ctypes, ctypes.util, os, statistics, subprocess, sys, tempfile, time

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


def run_onnx(work, threads, path):
    import numpy as np, onnx, onnxruntime
    from onnx import TensorProto, helper, numpy_helper
    sizes = [784, 256, 128, 10] if work == "mlp784" else [28, 64, 32, 1]
    rng = np.random.default_rng(1)
    nodes, weights, name = [], [], "x"
    for k in range(3):
        w = (rng.standard_normal((sizes[k], sizes[k + 1])) / np.sqrt(sizes[k])).astype(np.float32)
        weights += [numpy_helper.from_array(w, f"w{k}"), numpy_helper.from_array(np.zeros(sizes[k + 1], np.float32), f"b{k}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{k}", f"b{k}"], [f"z{k}"]))
        name = f"z{k}"
        last = "Softmax" if sizes[3] > 1 else "Sigmoid"
        nodes.append(helper.make_node("Relu" if k < 2 else last, [name], [f"a{k}"]))
        name = f"a{k}"
    graph = helper.make_graph(nodes, "mlp", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, sizes[0]])],
                              [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, sizes[3]])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (x, _), _ = rows_of(path)
    x, one = x[:10000], x[:1]

    def median(call, count):
        took = []
        for _ in range(9):
            start = time.perf_counter()
            for _ in range(count):
                call()
            took.append((time.perf_counter() - start) / count)
        return statistics.median(took)
    return median(lambda: session.run(None, {"x": one}), 2000), median(lambda: session.run(None, {"x": x}), 1) / 10000


def run_fann(work, threads, path):
    fann = ctypes.CDLL(ctypes.util.find_library("floatfann") or "libfloatfann.so.2")
    for name in ("fann_create_standard", "fann_create_train"):
        getattr(fann, name).restype = ctypes.c_void_p
    net = ctypes.c_void_p(fann.fann_create_standard(3, 2, 4, 1))
    fann.fann_set_training_algorithm(net, 1)                 # batch
    fann.fann_set_activation_function_hidden(net, 3)         # sigmoid
    fann.fann_set_activation_function_output(net, 3)
    fann.fann_set_learning_rate.argtypes = [ctypes.c_void_p, ctypes.c_float]
    fann.fann_set_learning_rate(net, 4.0)
    data = ctypes.c_void_p(fann.fann_create_train(4, 2, 1))
    for i in range(4):
        row, want = (ctypes.c_float * 2)(i >> 1, i & 1), (ctypes.c_float * 1)(float((i >> 1) != (i & 1)))
        fann.fann_set_train_input.argtypes = fann.fann_set_train_output.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p]
        fann.fann_set_train_input(data, i, row)
        fann.fann_set_train_output(data, i, want)
    fann.fann_train_on_data.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_float]
    start = time.perf_counter()
    fann.fann_train_on_data(net, data, 200000, 0, -1.0)
    return time.perf_counter() - start, 0.0


RUNNERS = {"torch": run_torch, "scikit-learn": run_sklearn, "onnxruntime": run_onnx, "FANN": run_fann}


def call(command, threads):
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
    if command[0] == sys.executable:
        for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
            env.pop(name, None)
    out = subprocess.run([str(c) for c in command], env=env, capture_output=True, text=True)
    return [float(v) for v in out.stdout.split()] if out.returncode == 0 and out.stdout.strip() else None


def compare(program, work, threads, peers, path, rounds, verb="run"):
    took = {name: [] for name in ["ours", *peers]}
    for _ in range(rounds):
        took["ours"].append(call([program, verb, work] + ([threads] if verb == "run" else []), threads))
        for peer in peers:
            took[peer].append(call([sys.executable, __file__, "--peer", peer, work, threads, path], threads))
    return {name: [statistics.median(column) for column in zip(*[r for r in runs if r])] for name, runs in took.items() if any(runs)}


def main():
    if sys.argv[1] == "--peer":
        _, _, peer, work, threads, path = sys.argv
        print(*RUNNERS[peer](work, int(threads), path))
        return
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    print("| work | peer | peer's | ours | ours/peer | quality ours, peer |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for work in WORKS:
            path = os.path.join(folder, work)
            subprocess.run([program, "dump", work, path], check=True)
            for threads in (1, 2):
                result = compare(program, work, threads, ["torch"] + (["scikit-learn"] if work != "cnn28" else []), path, rounds)
                ours = result.pop("ours")
                for peer, theirs in result.items():
                    print(f"| train {work}, {threads} threads | {peer} | {theirs[0]:.3f} s | {ours[0]:.3f} s | {ours[0] / theirs[0]:.2f} | {ours[1]:.4f}, {theirs[1]:.4f} |", flush=True)
            if work == "cnn28":
                continue
            result = compare(program, work, 1, ["onnxruntime"], path, rounds, "predict")
            if "onnxruntime" in result:
                for column, label, unit in ((0, "one row", 1e6), (1, "10,000 rows, a row", 1e6)):
                    ours, theirs = result["ours"][column] * unit, result["onnxruntime"][column] * unit
                    print(f"| {work} {label} | onnxruntime (from Python) | {theirs:.3f} us | {ours:.3f} us | {ours / theirs:.2f} | |", flush=True)
        result = compare(program, "xor", 1, ["FANN"], "-", rounds)
        if "FANN" in result:
            ours, theirs = result["ours"][0] * 5, result["FANN"][0] * 5
            print(f"| xor 2-4-1, an iteration | FANN | {theirs:.3f} us | {ours:.3f} us | {ours / theirs:.2f} | {result['ours'][1]:.2f} |", flush=True)


main()
