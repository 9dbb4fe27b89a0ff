#!/usr/bin/env python3
"""bench_serve, then in the same run, round by round in turn, the service (`bench_serve 1 rate`) and the servers that people write themselves:
pyzmq (serve_zmq.py) and FastAPI (serve_http.py, when it is installed). All serve 100 trees of 31 leaves over 28 generated columns; servers and client share
the cores. bench_serve's client is in C, the others' in Python; requests are packed before the clock runs. Medians of MMQ_BENCH_REPEATS (3) rounds.
"""
import os
import re
import subprocess
import sys
import tempfile

import lightgbm
import msgpack
import numpy as np
import zmq

from serve_zmq import COLS, Zmq

try:
    import fastapi
    import uvicorn
    from serve_http import Http
except ImportError:
    fastapi = None

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "..", "build", "plain", "bench", "bench_serve")
REPEATS = int(os.environ.get("MMQ_BENCH_REPEATS", "3"))
CASES = ((1, 1, "single rows, one in flight, us (p50)", r"one in flight, p50/p99 +(\d+)"),  # rows, in flight, name, where bench_serve says it
         (1, 64, "single rows, 64 in flight, rows/s", r"single rows, 64 in flight +(\d+)"),
         (256, 4, "256-row requests, 4 in flight, rows/s", r"256-row requests, 4 in flight +(\d+)"))
COUNTS = {"pyzmq": (2000, 20000, 1000), "JSON": (500, 2000, 100), "float32": (1000, 5000, 1000)}  # requests per case: about a second


def train(model_file):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20000, COLS))
    y = 2 * x[:, 0] + np.sin(3 * x[:, 1]) + x[:, 2] * x[:, 3] + 0.1 * rng.normal(size=len(x))
    lightgbm.train({"num_leaves": 31, "objective": "regression", "verbose": -1}, lightgbm.Dataset(x, y), 100).save_model(model_file)


def service_figures():
    text = subprocess.run([BENCH, "1", "rate"], check=True, capture_output=True, text=True).stdout
    return [float(re.search(pattern, text).group(1)) for *_, pattern in CASES]


def peer_figures(name, times):
    figures = []
    for (rows, in_flight, *_), count in zip(CASES, COUNTS[name]):
        trips, took = times(rows, in_flight, count)
        figures.append(float(np.median(trips)) * 1e6 if in_flight == 1 else rows * count / took)
    return figures


def main():
    subprocess.run([BENCH] + sys.argv[1:], check=True)
    with tempfile.TemporaryDirectory() as folder:
        model_file = f"{folder}/model.txt"
        train(model_file)
        servers = [Zmq(folder, model_file)]
        sides = {"modelmq": service_figures, "pyzmq": lambda: peer_figures("pyzmq", servers[0].times)}
        if fastapi is not None:
            servers.append(Http(folder, model_file))
            sides["FastAPI, JSON"] = lambda: peer_figures("JSON", lambda *case: servers[1].times("json", *case))
            sides["FastAPI, float32"] = lambda: peer_figures("float32", lambda *case: servers[1].times("bytes", *case))
        try:
            found = [[measure() for measure in sides.values()] for _ in range(REPEATS)]
        finally:
            for server in servers:
                server.close()
    print(f"beside pyzmq {zmq.__version__} with msgpack {'.'.join(map(str, msgpack.version))}, " +
          (f"FastAPI {fastapi.__version__} on uvicorn {uvicorn.__version__}" if fastapi else "FastAPI is not installed (scripts/peers)") +
          f", LightGBM {lightgbm.__version__}, medians of {REPEATS} rounds")
    print(f"{'':40s}" + "".join(f"{name:>18s}" for name in sides))
    for case, (*_, name, _) in enumerate(CASES):
        medians = [sorted(figures[side][case] for figures in found)[REPEATS // 2] for side in range(len(sides))]
        print(f"{name:40s}" + "".join(f"{median:18.0f}" for median in medians))


if __name__ == "__main__":
    main()
