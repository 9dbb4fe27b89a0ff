"""A broker in a fresh home, clients and fake workers beside it. Every wait is on an event and has an end."""
import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import uuid

import msgpack
import zmq

ROOT = pathlib.Path(__file__).resolve().parents[2]
WAIT_S = 10


def binary(name):
    """Where the built programs are; MMQ_BIN names another folder, e.g. that of a sanitized build."""
    return str(pathlib.Path(os.environ.get("MMQ_BIN", ROOT / "build/bin")) / name)


class Broker:
    """modelmq-broker in HOME, started by start() and ready when that returns."""

    def __init__(self, home, *options):
        self.home = pathlib.Path(home)
        self.options = list(options)
        self.process = None
        self.endpoints = {}

    def start(self, *options, expect_ready=True):
        read, write = os.pipe()
        self.home.mkdir(exist_ok=True)
        with open(self.home.parent / (self.home.name + ".log"), "ab") as log:
            self.process = subprocess.Popen(
                [binary("modelmq-broker"), "--home", str(self.home), "--ready-fd", str(write),
                 *self.options, *options], pass_fds=[write], stderr=log, stdout=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read, "rb") as ready:
            line = ready.readline()
        if expect_ready:
            assert line == b"ready\n", self.log()
            self.endpoints = dict(text.split("=", 1) for text in (self.home / "endpoints").read_text().split())
        return self

    def log(self):
        return (self.home.parent / (self.home.name + ".log")).read_text()

    def kill(self):
        self.process.kill()
        self.process.wait(WAIT_S)

    def stop(self):
        """TERM and wait; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def rss_kb(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0


class Client:
    """A DEALER that speaks maps."""

    def __init__(self, context, broker, kind=zmq.DEALER):
        self.socket = context.socket(kind)
        self.socket.linger = 0
        self.socket.connect(broker.endpoints["request"])

    def send(self, op, *, payload=None, **keys):
        request = {"v": 1, "op": op, "id": keys.pop("id", uuid.uuid4().hex), **keys}
        frames = [msgpack.packb(request)] + ([payload] if payload is not None else [])
        self.socket.send_multipart(frames)
        return request["id"]

    def raw(self, *frames):
        self.socket.send_multipart(list(frames))

    def receive(self, timeout_s=WAIT_S):
        assert self.socket.poll(timeout_s * 1000), "no answer in time"
        return msgpack.unpackb(self.socket.recv_multipart()[-1], strict_map_key=False)

    def ask(self, op, **keys):
        identity = self.send(op, **keys)
        answer = self.receive()
        assert answer["id"] == identity
        return answer

    def is_silent(self, for_ms=100):
        return not self.socket.poll(for_ms)


class Item:
    """One piece of work as a fake worker got it."""

    NAMES = ("delivery", "kind", "op", "tenant", "model", "version", "attempt", "ms_left", "queue_us", "job")

    def __init__(self, epoch, fields, body, payload):
        self.epoch, self.body, self.payload = epoch, body, payload
        for name, value in zip(self.NAMES, fields):
            setattr(self, name, value)
        self.request = msgpack.unpackb(body, strict_map_key=False)


class Worker:
    """A worker in a few lines, which does only what a test tells it to do (heartbeats too: call beat())."""

    def __init__(self, context, broker, kind="predictor", window=4, models=(), session=None, held=(), say_hello=True, name=None):
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(broker.endpoints["work"])
        self.kind, self.session = kind, session or os.urandom(16)
        self.items, self.others, self.beats = [], [], 0
        self.held, self.name = list(held), name
        if say_hello:
            self.hello(window, models)

    def say(self, message_type, *frames, **keys):
        self.socket.send_multipart([msgpack.packb({"t": message_type, **keys}), *frames])

    def hello(self, window=4, models=()):
        kinds = {"predictor": ["predict"], "trainer": ["train", "store"], "store": ["store"]}[self.kind]
        name = {} if self.name is None else {"name": self.name}
        self.say("hello", kind=self.kind, **name, session=self.session, protocol=1, build="test", pid=os.getpid(), held=self.held,
                 ready={kind: window for kind in kinds},
                 models=[["default", name, versions, aliases, 1] for name, versions, aliases in models])
        self.welcome = self.expect("welcome")

    def take(self, timeout_s=WAIT_S):
        """Receive one message; work goes to items, everything else to others."""
        if not self.socket.poll(timeout_s * 1000):
            return False
        frames = self.socket.recv_multipart()
        unpacker = msgpack.Unpacker(strict_map_key=False)
        unpacker.feed(frames[0])
        head = unpacker.unpack()
        if head["t"] != "work":
            self.others.append(head)
            return True
        rest = frames[0][unpacker.tell():]
        for fields in head["items"]:
            size, payload_size = fields[10:12]
            if len(frames) > 1:
                body, payload = frames[1], frames[2] if payload_size else None
            else:
                body, payload = rest[:size], rest[size:size + payload_size] or None
                rest = rest[size + payload_size:]
            assert len(body) == size and len(payload or b"") == payload_size
            self.items.append(Item(head["epoch"], fields, body, payload))
        return True

    def work(self, timeout_s=WAIT_S):
        """The next item."""
        end = time.monotonic() + timeout_s
        while not self.items:
            assert self.take(max(0, end - time.monotonic())), "no work in time"
        return self.items.pop(0)

    def expect(self, kind, timeout_s=WAIT_S):
        """The next message of this type; work that comes meanwhile is kept."""
        end = time.monotonic() + timeout_s
        while True:
            for i, head in enumerate(self.others):
                if head["t"] == kind:
                    return self.others.pop(i)
            assert self.take(max(0, end - time.monotonic())), f"no {kind} in time"

    def beat(self, *items, **usage):
        self.beats += 1
        self.say("heartbeat", n=self.beats, held=[[item.epoch, item.delivery] for item in items], **usage)

    def result(self, item, answer, code="OK", rows=1, service_us=10, version=None, flags=0):
        body = msgpack.packb(answer)
        self.socket.send(msgpack.packb({"t": "result", "items": [
            [item.epoch, item.delivery, code, rows, service_us, version or item.version, flags, len(body)]]}) + body)

    def echo(self, item, **more):
        """Answer a prediction with something of its request in it."""
        self.result(item, {"v": 1, "id": item.request.get("id"), "ok": True, "model": item.model, "version": item.version,
                           "outputs": {"prediction": item.request.get("rows")}, **more})

    def vanish(self):
        """As a killed process: the connection closes and nothing is said."""
        self.socket.close(0)


class Subscriber:
    def __init__(self, context, broker, prefix):
        self.socket = context.socket(zmq.SUB)
        self.socket.linger = 0
        self.socket.connect(broker.endpoints["sink"])
        self.socket.subscribe(prefix)

    def receive(self, timeout_s=WAIT_S):
        assert self.socket.poll(timeout_s * 1000), "nothing on the sink in time"
        topic, body = self.socket.recv_multipart()
        return topic.decode(), msgpack.unpackb(body, strict_map_key=False)


@contextlib.contextmanager
def fresh_home():
    with tempfile.TemporaryDirectory(prefix="mmq-") as folder:
        yield pathlib.Path(folder) / "home"


def until(condition, timeout_s=WAIT_S):
    """Ask again and again (each ask waits for the service, so this does not spin)."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
