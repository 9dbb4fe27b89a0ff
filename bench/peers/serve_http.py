"""The server that most people write: FastAPI on uvicorn, a LightGBM model, one prediction per request. `app` is what uvicorn's workers import; Http starts
them on a unix socket and is the client, one connection per request in flight.

Requests are JSON rows, checked by pydantic, as in FastAPI's own examples; or float32 bytes without any check, the least that HTTP can cost.
"""
import os
import selectors
import socket
import subprocess
import sys
import time

import lightgbm
import numpy as np
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

HERE = os.path.dirname(os.path.abspath(__file__))
COLS, WORKERS = 28, 2  # as many as the service has predictors


class Rows(BaseModel):
    rows: list[list[float]]


app = FastAPI()
booster = lightgbm.Booster(model_file=os.environ["MMQ_BENCH_MODEL"]) if "MMQ_BENCH_MODEL" in os.environ else None


@app.post("/json")
async def predict_json(request: Rows):
    return {"predictions": booster.predict(np.asarray(request.rows), num_threads=1).tolist()}


@app.post("/bytes")
async def predict_bytes(request: Request):
    rows = np.frombuffer(await request.body(), np.float32).reshape(-1, COLS)
    return Response(booster.predict(rows, num_threads=1).tobytes(), media_type="application/octet-stream")


def request_bytes(form, values):
    if form == "json":
        body = ('{"rows":[' + ",".join("[" + ",".join(f"{x:.8g}" for x in row) + "]" for row in values) + "]}").encode()
    else:
        body = values.tobytes()
    kind = "application/json" if form == "json" else "application/octet-stream"
    return f"POST /{form} HTTP/1.1\r\nHost: bench\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def response_size(received):
    """Of the whole response, once its head is there; None before."""
    end = received.find(b"\r\n\r\n")
    if end == -1:
        return None
    if not received.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(received[:300].decode())
    at = received.lower().index(b"content-length:", 0, end) + 15
    return end + 4 + int(received[at:received.index(b"\r\n", at)])


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.received = b""

    def answered(self):
        """Take what is there; whether that completes the response."""
        got = self.socket.recv(65536)
        if not got:
            raise RuntimeError("the server closed a connection")
        self.received += got
        size = response_size(self.received)
        if size is None or len(self.received) < size:
            return False
        self.received = b""
        return True


class Http:
    def __init__(self, folder, model_file):
        self.path = f"{folder}/http"
        self.server = subprocess.Popen([sys.executable, "-m", "uvicorn", "--app-dir", HERE, "serve_http:app", "--uds", self.path, "--workers", str(WORKERS),
                                        "--log-level", "error", "--no-access-log"], env={**os.environ, "MMQ_BENCH_MODEL": model_file})
        until = time.monotonic() + 60
        while True:
            try:
                self.times("json", 1, 1, 10)
                return
            except (OSError, RuntimeError):
                if time.monotonic() > until or self.server.poll() is not None:
                    raise
                time.sleep(0.1)  # poll interval

    def times(self, form, rows, in_flight, count):
        """Seconds of each round trip, and of all."""
        rng = np.random.default_rng(rows)
        requests = [request_bytes(form, rng.normal(size=(rows, COLS)).astype(np.float32)) for _ in range(64)]
        selector = selectors.EpollSelector()
        left = {}
        began = time.perf_counter()
        for sent in range(in_flight):
            connection = Connection(self.path)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            left[connection] = time.perf_counter()
            connection.socket.sendall(requests[sent % 64])
        trips, sent = [], in_flight
        while len(trips) < count:
            for key, _ in selector.select():
                if not key.data.answered():
                    continue
                trips.append(time.perf_counter() - left[key.data])
                if sent < count:
                    left[key.data] = time.perf_counter()
                    key.data.socket.sendall(requests[sent % 64])
                    sent += 1
        took = time.perf_counter() - began
        for connection in left:
            connection.socket.close()
        return trips, took

    def close(self):
        self.server.terminate()
        self.server.wait()
