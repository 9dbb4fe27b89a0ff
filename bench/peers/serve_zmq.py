"""The server that people write with pyzmq and LightGBM: a ROUTER-DEALER proxy and worker processes that drain up to 64 waiting requests, join
their rows and predict once; rows are float32 bytes in msgpack, answers float64 bytes in msgpack. Zmq starts them and is the client.
"""
import multiprocessing
import time

import lightgbm
import msgpack
import numpy as np
import zmq

COLS, DRAIN_MAX, WORKERS = 28, 64, 2  # as many workers as the service has predictors


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


class Zmq:
    def __init__(self, folder, model_file):
        front, back = f"ipc://{folder}/front", f"ipc://{folder}/back"
        context = multiprocessing.get_context("spawn")
        self.processes = [context.Process(target=proxy, args=(front, back), daemon=True)]
        self.processes += [context.Process(target=worker, args=(back, model_file), daemon=True) for _ in range(WORKERS)]
        for process in self.processes:
            process.start()
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.RCVTIMEO = 60000
        self.socket.connect(front)
        self.times(1, 1, 10)  # they are there

    def times(self, rows, in_flight, count):
        """Seconds of each round trip, which are right for one in flight (answers pass one another), and of all."""
        rng = np.random.default_rng(rows)
        frames = [msgpack.packb({"id": i, "x": rng.normal(size=(rows, COLS)).astype(np.float32).tobytes()}) for i in range(64)]
        began = time.perf_counter()
        left, trips = [began] * in_flight, []
        for i in range(in_flight):
            self.socket.send(frames[i % 64])
        for i in range(count):
            self.socket.recv()
            now = time.perf_counter()
            trips.append(now - left[i])
            if len(left) < count:
                left.append(now)
                self.socket.send(frames[len(left) % 64])
        return trips, time.perf_counter() - began

    def close(self):
        self.socket.close(0)
        for process in self.processes:
            process.terminate()
