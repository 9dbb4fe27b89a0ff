"""What somebody on the wire recorded of an encrypted connection is worth nothing to them."""
import pathlib
import socket
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "daemon")]

import pytest  # noqa: E402

from helpers import Broker, Client, Worker, until  # noqa: E402
from test_keys import Keys, person  # noqa: E402

MODEL = [("iris", [1], {"production": 1})]


class Tap:
    """Passes one connection on and keeps what the client sent, piece by piece."""

    def __init__(self, endpoint):
        host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
        self.target, self.sent, self.broker_left = (host, int(port)), [], threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "tcp://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        self.near, _ = self.listener.accept()
        self.far = socket.create_connection(self.target)
        threading.Thread(target=self.answers, daemon=True).start()
        self.pump(self.near, self.far, self.sent)

    def answers(self):
        self.pump(self.far, self.near, None)
        self.broker_left.set()
        self.near.close()

    @staticmethod
    def pump(one, other, kept):
        try:
            while data := one.recv(65536):
                if kept is not None:
                    kept.append(data)
                other.sendall(data)
        except OSError:
            pass


def is_closed(end, timeout_s=10):
    end.settimeout(timeout_s)
    try:
        while end.recv(65536):
            pass
    except ConnectionError:
        pass
    return True     # a timeout is an error of its own


@pytest.fixture
def encrypted(home):
    keys = Keys(home.parent / "keys")
    broker = Broker(home, "--keys", str(keys.folder), "--request", "tcp://127.0.0.1:*", "--lease-ms", "3000", "--heartbeat-ms", "300").start()
    yield keys, broker
    broker.kill()


def test_43_replayed_ciphertext_is_never_a_request(encrypted, context):
    keys, broker = encrypted
    worker = Worker(context, broker, models=MODEL, window=8)       # over ipc, where keys are not asked for
    tap = Tap(broker.endpoints["request"])
    direct = broker.endpoints["request"]
    pair = keys.add("alice", "client")
    with person(keys, pair) as own:
        broker.endpoints["request"] = tap.endpoint
        client = Client(own, broker)
        broker.endpoints["request"] = direct
        assert until(lambda: client.ask("ping")["ok"])
        before = len(tap.sent)
        client.send("predict", model="iris", rows=[["once"]])
        worker.echo(worker.work())
        assert client.receive()["ok"]
        recorded = b"".join(tap.sent[before:])
        assert recorded and b"once" not in recorded and b"predict" not in recorded
        requests = Client(own, broker).ask("status")["counters"]["requests"]
        # On the connection it came from: its nonce was used, so that libzmq gives the connection up.
        tap.far.sendall(recorded)
        assert tap.broker_left.wait(10)
        # On a new one: all that the client ever said, then the one message alone.
        for bytes_again in (b"".join(tap.sent), tap.sent[0] + recorded):
            thief = socket.create_connection(tap.target)
            thief.sendall(bytes_again)
            assert is_closed(thief)
            thief.close()
        worker.beat()
        assert not worker.take(0.3) or not worker.items
        fresh = Client(own, broker)
        assert fresh.ask("status")["counters"]["requests"] == requests + 1 and fresh.ask("ping")["ok"]
