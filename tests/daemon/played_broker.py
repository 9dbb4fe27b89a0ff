"""A broker that does only what a test tells it to do, so that workers can be watched from the other side of their socket."""
import os
import pathlib
import subprocess
import time

import msgpack
import zmq

from helpers import WAIT_S, binary

PREDICT, TRAIN, STORE = 0, 1, 2
EPOCH = bytes(8) + os.urandom(8)


class PlayedBroker:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.store = self.folder / "store"
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.endpoint = f"ipc://{folder}/work"
        self.socket.bind(self.endpoint)
        self.routes, self.results, self.others, self.numbers, self.processes = {}, {}, [], {}, []
        self.delivery = 0

    def start(self, kind, *options):
        log = open(self.folder / f"{kind}.log", "ab")
        process = subprocess.Popen([binary(f"modelmq-{kind}"), "--work", self.endpoint, "--store", str(self.store), *options], stderr=log)
        log.close()
        self.processes.append(process)
        self.until(lambda: kind in self.routes)
        return process

    def close(self):
        running = [process for process in self.processes if process.poll() is None]
        for process in running:
            process.terminate()
        assert [process.wait(WAIT_S) for process in running] == [0] * len(running)
        self.context.destroy(linger=0)

    def say(self, kind, message, *tail):
        self.socket.send_multipart([self.routes[kind], msgpack.packb(message) + b"".join(tail)])

    def take(self, timeout_ms=100):
        """One message from a worker: hellos, heartbeats and grants are answered, results kept by delivery, the rest by order."""
        if not self.socket.poll(timeout_ms):
            return
        route, frame, *more = self.socket.recv_multipart()
        unpacker = msgpack.Unpacker(strict_map_key=False)
        unpacker.feed(frame)
        message = unpacker.unpack()
        kind = message["t"]
        if kind == "hello":
            self.routes[message["kind"]] = route
            self.say(message["kind"], {"t": "welcome", "epoch": EPOCH, "protocol": 1, "build": "test", "heartbeat_ms": 500,
                                       "lease_ms": 5000, "keep": []})
        elif kind == "heartbeat":
            self.socket.send_multipart([route, msgpack.packb({"t": "echo", "n": message["n"]})])
        elif kind == "grant":
            number = max(self.numbers.get(message["what"], 0), message["above"]) + 1
            self.numbers[message["what"]] = number
            self.socket.send_multipart([route, msgpack.packb({"t": "granted", "epoch": EPOCH, "delivery": message["delivery"],
                                                              "what": message["what"], "number": number})])
        elif kind == "result":
            rest = more[0] if more else frame[unpacker.tell():]
            for _, delivery, code, rows, _, version, flags, size in message["items"]:
                body, rest = rest[:size], rest[size:]
                self.results[delivery] = {"code": code, "rows": rows, "version": version, "flags": flags,
                                          "answer": msgpack.unpackb(body, strict_map_key=False) if body else None}
            assert rest == b""
        else:
            self.others.append(message)

    def until(self, done, seconds=WAIT_S):
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, "not in time"
            self.take()

    def give(self, kind, *requests, model="m", version=0, ms_left=-1, payload=b""):
        """Requests in one work message; returns their delivery numbers."""
        items, bodies, first = [], [], self.delivery + 1
        for request in requests:
            self.delivery += 1
            body = request if isinstance(request, bytes) else msgpack.packb({"v": 1, "id": f"r{self.delivery}", "model": model, **request})
            op = request["op"] if isinstance(request, dict) else "predict"
            items.append([self.delivery, kind, op, "default", model, version, 1, ms_left, 0, "%032x" % self.delivery if kind == TRAIN else "",
                          len(body), len(payload)])
            bodies += [body, payload]
        self.say("predictor" if kind == PREDICT else "trainer", {"t": "work", "epoch": EPOCH, "items": items}, *bodies)
        return list(range(first, self.delivery + 1))

    def ask(self, kind, *requests, **how):
        """Give and wait: the results in order."""
        deliveries = self.give(kind, *requests, **how)
        self.until(lambda: all(delivery in self.results for delivery in deliveries))
        return [self.results[delivery] for delivery in deliveries]
