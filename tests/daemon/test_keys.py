"""CURVE keys: who may connect where, whose tenant it is, and that a key that was taken back is cut off."""
import contextlib

import msgpack
import pytest
import zmq
import zmq.auth

from helpers import Broker, Client, Subscriber, Worker, until

MODEL = [("iris", [1], {"production": 1})]


class Keys:
    """Certificates in the broker's folder of allowed keys."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "allow").mkdir(parents=True)

    def add(self, name, role, tenant="default", allow=True):
        public, secret = zmq.curve_keypair()
        if allow:
            text = f'metadata\n    role = "{role}"\n    tenant = "{tenant}"\ncurve\n    public-key = "{public.decode()}"\n'
            (self.folder / "allow" / name).write_text(text)
        return public, secret

    def remove(self, name):
        (self.folder / "allow" / name).unlink()

    def server(self):
        return zmq.auth.load_certificate(str(self.folder / "broker"))[0]


class Locked(zmq.Context):
    """A context whose sockets all use one key pair."""
    keys = None

    def socket(self, kind, *args, **kwargs):
        socket = super().socket(kind, *args, **kwargs)
        if self.keys:
            socket.curve_serverkey, (socket.curve_publickey, socket.curve_secretkey) = self.keys
        return socket


@contextlib.contextmanager
def person(keys, pair):
    context = Locked()
    context.__dict__["keys"] = (keys.server(), pair) if pair else None
    try:
        yield context
    finally:
        context.destroy(linger=0)


@pytest.fixture
def keys(home):
    return Keys(home.parent / "keys")


@pytest.fixture
def guarded(home, keys):
    broker = Broker(home, "--keys", str(keys.folder), "--lease-ms", "1000", "--heartbeat-ms", "200",
                    *(f"--{name}=tcp://127.0.0.1:*" for name in ("request", "publish", "sink", "work")))
    broker.start()
    yield broker
    broker.kill()


def test_strangers_and_wrong_roles_get_nothing(guarded, keys):
    worker_pair, stranger = keys.add("w", "worker"), keys.add("s", "client", allow=False)
    for pair in (None, stranger, worker_pair):
        with person(keys, pair) as context:
            client = Client(context, guarded)
            client.send("ping")
            assert client.is_silent(300)


def test_tenant_comes_from_the_key(guarded, keys):
    pairs = {name: keys.add(name, role, tenant) for name, role, tenant in
             (("a", "client", "acme"), ("b", "client", "beta"), ("w", "worker", "default"))}
    with person(keys, pairs["a"]) as acme, person(keys, pairs["b"]) as beta, person(keys, pairs["w"]) as third:
        a, b = Client(acme, guarded), Client(beta, guarded)
        assert until(lambda: a.ask("ping")["ok"])
        worker = Worker(third, guarded, say_hello=False)
        worker.say("hello", kind="predictor", session=b"s" * 16, protocol=1, build="test", pid=1, held=[], ready={"predict": 4},
                   models=[["acme", "iris", [1], {"production": 1}, 1]])
        assert worker.expect("welcome")
        spy = Subscriber(beta, guarded, "")
        a.send("predict", model="iris", rows=[[1]], sink=True, id="mine")
        item = worker.work()
        assert item.tenant == "acme"
        worker.echo(item)
        assert a.receive()["ok"]
        assert b.ask("predict", model="iris", rows=[[1]])["error"]["code"] == "NOT_FOUND"
        assert b.ask("results", prefix="result/acme/")["results"] == []
        assert not spy.socket.poll(100)


def test_naming_what_is_another_tenants_is_not_found_and_written_down(guarded, keys):
    pairs = {name: keys.add(name, role, tenant) for name, role, tenant in
             (("a", "client", "acme"), ("b", "client", "beta"), ("w", "worker", "default"))}
    with person(keys, pairs["a"]) as acme, person(keys, pairs["b"]) as beta, person(keys, pairs["w"]) as third:
        a, b = Client(acme, guarded), Client(beta, guarded)
        assert until(lambda: a.ask("ping")["ok"])
        worker = Worker(third, guarded, kind="trainer", window=0, say_hello=False)
        worker.say("hello", kind="trainer", session=b"t" * 16, protocol=1, build="test", pid=1, held=[], ready={"train": 0},
                   models=[["acme", "iris", [1], {"production": 1}, 1]])
        assert worker.expect("welcome")
        job = a.ask("train", id="t" * 32, model="rose", data={"rows": [[1]]})["job"]

        def noted(what, text):
            return f'what={what} tenant=beta number=0 text="{text}"' in guarded.log()
        # The broker looks at such names ten times a second at most: ask until it has.
        asks = {("foreign_model", "iris"): lambda: b.ask("predict", model="iris", rows=[[1]]),
                ("foreign_job", job): lambda: b.ask("job.get", job=job),
                ("foreign_topic", "acme"): lambda: b.ask("results", prefix="result/acme/")}
        for (what, text), ask in asks.items():
            assert until(lambda: [ask(), noted(what, text)][1]), what
        assert b.ask("job.get", job=job)["error"]["code"] == b.ask("job.cancel", job=job)["error"]["code"] == "NOT_FOUND"
        a.ask("job.cancel", job=job)
        seen = guarded.log().count("what=foreign_job tenant=beta")
        assert until(lambda: [b.ask("job.get", job=job), guarded.log().count("what=foreign_job tenant=beta") > seen][1])   # ended: in the journal
        seen = guarded.log().count("what=foreign_topic tenant=beta")
        spy = Subscriber(beta, guarded, "job/acme/" + job)

        def subscribed_again_is_noted():
            spy.socket.unsubscribe("job/acme/" + job)
            spy.socket.subscribe("job/acme/" + job)
            assert not spy.socket.poll(50)  # a socket that nobody polls does not learn that it may send again
            return guarded.log().count("what=foreign_topic tenant=beta") > seen
        assert until(subscribed_again_is_noted), guarded.log()
        assert b.ask("status")["counters"]["foreign"] >= 5 and "tenant=acme number=0" not in guarded.log()


def test_key_taken_back_is_cut_off_without_restart(guarded, keys):
    pair, sub = keys.add("late", "client"), keys.add("sub", "subscriber")
    with person(keys, pair) as context, person(keys, sub) as listener:
        client = Client(context, guarded)
        client.send("ping")
        assert client.receive()["ok"]
        subscriber = Subscriber(listener, guarded, "")
        monitor = subscriber.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        keys.remove("late")
        refused = until(lambda: cut_off(client))
        assert refused is not None, guarded.log() + str(guarded.process.poll())
        assert refused["error"]["code"] == "UNAUTHENTICATED"
        keys.remove("sub")
        assert monitor.poll(5000)
    with person(keys, pair) as context:
        client = Client(context, guarded)
        client.send("ping")
        assert client.is_silent(300)


def cut_off(client):
    """Ask once; the refusal, or None while the key is still good."""
    client.raw(msgpack.packb({"v": 1, "op": "ping", "id": "x"}))
    if not client.socket.poll(1000):
        return None  # lost with the connection that was cut: ask again
    answer = client.receive()
    return None if answer["ok"] else answer
