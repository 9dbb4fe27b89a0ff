#!/usr/bin/env python3
"""bench_serve, then beside it the server that people write themselves: pyzmq and LightGBM. A ROUTER-DEALER proxy and a worker process that drains
up to 64 waiting requests, joins their rows and predicts once; rows are float32 bytes in msgpack, answers float64 bytes in msgpack.

The model is 100 trees of 31 leaves over 28 generated columns, the client is Python too and packs its requests before the clock runs. Medians of
MMQ_BENCH_REPEATS (3). Client, proxy and worker share the cores, as the service does.
"""
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time

import lightgbm
import msgpack
import numpy as np
import zmq

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "..", "build", "plain", "bench", "bench_serve")
COLS, DRAIN_MAX, REPEATS = 28, 64, int(os.environ.get("MMQ_BENCH_REPEATS", "3"))
CASES = ((1, 1, 2000), (1, 64, 20000), (256, 4, 1000))  # rows of a request, in flight, requests


def proxy(front, back):
    context = zmq.Context()
    sockets = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    sockets[0].bind(front)
    sockets[1].bind(back)
    zmq.proxy(*sockets)


def worker(back, model_file):
    booster = lightgbm.Booster(model_file=model_file)
    socket = zmq.Context().socket(zmq.DEALER)
    socket.connect(back)
    while True:
        waiting = [socket.recv_multipart()]
        while len(waiting) < DRAIN_MAX and socket.poll(0):
            waiting.append(socket.recv_multipart())
        requests = [msgpack.unpackb(frames[-1]) for frames in waiting]
        parts = [np.frombuffer(request["x"], np.float32).reshape(-1, COLS) for request in requests]
        answers = booster.predict(np.concatenate(parts), num_threads=1)
        at = 0
        for frames, request, part in zip(waiting, requests, parts):
            body = msgpack.packb({"id": request["id"], "y": answers[at:at + len(part)].tobytes()})
            socket.send_multipart(frames[:-1] + [body])
            at += len(part)


def rate(socket, rows, in_flight, count):
    """Answers per second with in_flight requests on their way."""
    rng = np.random.default_rng(rows)
    frames = [msgpack.packb({"id": i, "x": rng.normal(size=(rows, COLS)).astype(np.float32).tobytes()}) for i in range(256)]
    began = time.perf_counter()
    for i in range(in_flight):
        socket.send(frames[i % 256])
    for i in range(count):
        socket.recv()
        if i + in_flight < count:
            socket.send(frames[i % 256])
    return count / (time.perf_counter() - began)


def main():
    subprocess.run([BENCH] + sys.argv[1:], check=True)
    with tempfile.TemporaryDirectory() as folder:
        front, back, model_file = f"ipc://{folder}/front", f"ipc://{folder}/back", f"{folder}/model.txt"
        rng = np.random.default_rng(1)
        x = rng.normal(size=(20000, COLS))
        y = 2 * x[:, 0] + np.sin(3 * x[:, 1]) + x[:, 2] * x[:, 3] + 0.1 * rng.normal(size=len(x))
        lightgbm.train({"num_leaves": 31, "objective": "regression", "verbose": -1}, lightgbm.Dataset(x, y), 100).save_model(model_file)
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=proxy, args=(front, back), daemon=True),
                     context.Process(target=worker, args=(back, model_file), daemon=True)]
        for process in processes:
            process.start()
        socket = zmq.Context.instance().socket(zmq.DEALER)
        socket.RCVTIMEO = 60000
        socket.connect(front)
        rate(socket, 1, 1, 10)  # they are there
        print(f"pyzmq {zmq.__version__}, LightGBM {lightgbm.__version__}:")
        for rows, in_flight, count in CASES:
            median = sorted(rate(socket, rows, in_flight, count) for _ in range(REPEATS))[REPEATS // 2]
            print(f"  {rows:3d} rows a request, {in_flight:2d} in flight {median * rows:12.0f} predictions/s" +
                  (f", round trip {1e6 / median:.0f} us" if in_flight == 1 else ""))
        for process in processes:
            process.terminate()


if __name__ == "__main__":
    main()
