"""A real broker beside workers, clients and subscribers that misbehave on purpose. Numbers are the cases of tests/FAULTS.md."""
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import msgpack
import pytest
import zmq

from helpers import Broker, Client, Subscriber, Worker, binary, until
from processes import DATA, Service, build_shim

MODEL = [("iris", [1, 2], {"production": 2})]


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return build_shim(tmp_path_factory.mktemp("shim"))


def predict(client, **keys):
    return client.send("predict", **{"model": "iris", "rows": [[1, 2]], **keys})


def waits(worker):
    """The next item, while the worker keeps saying that it is there."""
    return until(lambda: worker.beat() or (worker.take(0.1) and worker.items and worker.items.pop(0)) or (worker.items and worker.items.pop(0)))


def test_08_a_subscriber_that_was_away_reads_what_it_missed(context, broker):
    worker, client = Worker(context, broker, models=MODEL, window=64), Client(context, broker)
    seen = Subscriber(context, broker, "result/")
    last = 0
    for i in range(12):
        predict(client, id=f"away-{i:027d}", durable=True, sink=True)
        worker.echo(worker.work())
        assert client.receive()["ok"]
        if i == 5 and seen is not None:
            while seen.socket.poll(100):
                last = seen.receive()[1]["seq"]
            seen.socket.close(0)
    missed = client.ask("results", prefix="result/", since=last)["results"]
    assert [entry["message"]["id"][-2:] for entry in missed][-6:] == [f"{i:02d}" for i in range(6, 12)]
    assert [entry["seq"] for entry in missed] == sorted(entry["seq"] for entry in missed)


def test_10_a_training_without_progress_goes_to_another_trainer(home, context):
    broker = Broker(home, "--lease-ms", "1000", "--heartbeat-ms", "100", "--stall-ms", "400")
    broker.start()
    try:
        hung, client = Worker(context, broker, kind="trainer", window=1), Client(context, broker)
        client.send("train", id="s" * 32, model="rose", data={"rows": [[1]]})
        job, item = client.receive()["job"], hung.work()
        other = Worker(context, broker, kind="trainer", window=1)
        taken = until(lambda: hung.beat(item) or other.beat() or (other.take(0.05) and other.items and other.items.pop(0)))
        other.result(taken, {"model": "rose"})      # at once: it has 400 ms too
        assert taken.attempt == 2 and hung.expect("bye")["code"] == "DEADLINE_EXCEEDED"
        assert client.ask("job.wait", job=job)["state"] == "done"
    finally:
        broker.kill()


def test_10_a_trainer_that_hangs_is_taken_its_job_and_leaves(home, context, shim):
    """Its compute thread hangs in a write while its heartbeats go on."""
    service = Service(home, context)
    service.broker = Broker(home, "--lease-ms", "2000", "--heartbeat-ms", "200", "--stall-ms", "1000")
    try:
        fault = home.parent / "fault"
        service.broker.start()
        service.client = Client(context, service.broker)
        hung = service.worker("trainer", "--data", str(DATA), "--name", "trainer-1", env={"LD_PRELOAD": str(shim), "MMQ_DISK_FAULT": str(fault)})
        service.whole(1, 0)
        fault.write_text("-1 /store/tmp/")
        job = service.train("iris")
        assert until(lambda: service.state(job).get("progress", {}).get("phase") == "publish")
        service.worker("trainer", "--data", str(DATA), "--name", "trainer-2")
        done = service.wait(job)
        assert done["state"] == "done" and done["attempt"] == 2
        assert hung.wait(15) == 1 and "event=hang" in (home.parent / "trainer.log").read_text()
        assert service.versions("iris") == ["000001"]
        assert [one["name"] for one in service.client.ask("status")["crashes"]["workers"]] == ["trainer-1"]
    finally:
        service.close()


def test_11_a_request_that_kills_workers_is_given_up_and_the_others_go_on(context, broker):
    client = Client(context, broker)
    answers = {}
    first = Worker(context, broker, models=MODEL, window=64)
    good = [predict(client, rows=[[i]]) for i in range(5)]
    poison = predict(client, rows=[["poison"]])
    for _ in range(6):
        first.work()
    first.vanish()
    kills, worker = 1, Worker(context, broker, models=MODEL, window=64)
    while len(answers) < 6:
        item = until(lambda: worker.beat() or worker.take(0.05) and worker.items and worker.items.pop(0) or client.socket.poll(0))
        if hasattr(item, "request") and item.request["rows"] == [["poison"]]:
            worker.vanish()
            kills += 1
            worker = Worker(context, broker, models=MODEL, window=64)
        elif hasattr(item, "request"):
            worker.echo(item)
        while client.socket.poll(0):
            answer = client.receive()
            answers[answer["id"]] = answer
    assert answers[poison]["error"]["code"] == "INTERNAL" and all(answers[identity]["ok"] for identity in good)
    assert kills == 4       # once among others, three times alone
    counters = client.ask("status")["counters"]
    assert (counters["strikes"], counters["dead_letters"]) == (3, 1)


def test_12_a_version_that_kills_is_disabled_and_its_alias_falls_back(context, broker):
    first = Worker(context, broker, models=[("iris", [1], {"production": 1})])
    first.say("catalogue", full=True, models=[["default", "iris", [1, 2], {"production": 2}, 2]])
    client, sink = Client(context, broker), Subscriber(context, broker, "model/")
    assert client.ask("ping")["ok"]
    for i in range(3):
        predict(client, rows=[[i]])
    for _ in range(3):
        first.work()
    first.vanish()
    for _ in range(3):
        worker = Worker(context, broker, models=())
        assert waits(worker).version == 2
        worker.vanish()
    codes = {client.receive()["error"]["code"] for _ in range(3)}
    assert codes == {"DATA_LOSS"}
    worker = Worker(context, broker, models=())
    predict(client)
    item = waits(worker)
    assert item.version == 1
    worker.echo(item)
    assert client.receive()["version"] == 1
    assert client.ask("predict", model="iris", version=2, rows=[[1]])["error"]["code"] == "DATA_LOSS"
    status = client.ask("status")
    assert status["health"] != "ready" and "a model version is disabled" in status["reasons"]
    assert status["counters"]["versions_disabled"] == 1
    events = []
    while sink.socket.poll(100):
        events.append(sink.receive()[1]["event"])
    assert not events or "disabled" in events


def faulty_broker(home, shim, *options):
    fault = home.parent / "fault"
    os.environ["LD_PRELOAD"], os.environ["MMQ_DISK_FAULT"] = str(shim), str(fault)
    try:
        broker = Broker(home, "--lease-ms", "2000", "--heartbeat-ms", "200", *options).start()
    finally:
        del os.environ["LD_PRELOAD"], os.environ["MMQ_DISK_FAULT"]
    return broker, fault


def test_16_a_full_disk_refuses_new_work_and_what_runs_ends(home, context, shim):
    broker, fault = faulty_broker(home, shim)
    try:
        worker, client = Worker(context, broker, models=MODEL), Client(context, broker)
        running = predict(client, id="r" * 32, durable=True)
        item = worker.work()
        fault.write_text("28 journal.db")
        refused = client.ask("predict", id="n" * 32, model="iris", rows=[[1]], durable=True)
        assert refused["error"]["code"] == "RESOURCE_EXHAUSTED" and refused["error"]["retry_after_ms"] > 0
        plain = predict(client)
        worker.echo(item)       # its outcome cannot be written yet, the plain one does not mind
        worker.echo(worker.work())
        assert client.receive()["id"] == plain
        assert "the journal's disk is full" in client.ask("status")["reasons"]
        fault.unlink()
        assert client.receive()["id"] == running
        worker.beat()
        identity = predict(client, id="m" * 32, durable=True)
        worker.echo(worker.work())
        assert client.receive()["id"] == identity
        assert broker.process.poll() is None
    finally:
        broker.kill()


def test_17_a_full_disk_fails_the_training_and_the_old_version_serves(home, context, shim):
    service = Service(home, context)
    try:
        fault = home.parent / "fault"
        service.broker.start()
        service.client = Client(context, service.broker)
        service.worker("predictor")
        service.worker("trainer", "--data", str(DATA), env={"LD_PRELOAD": str(shim), "MMQ_DISK_FAULT": str(fault)})
        service.whole(1, 1)
        service.trained("iris")
        fault.write_text("28 /store/tmp/")
        failed = service.wait(service.train("iris"))
        assert failed["state"] == "failed" and failed["error"]["code"] == "RESOURCE_EXHAUSTED", failed
        assert service.client.ask("predict", model="iris", rows=[[5.1, 3.5, 1.4, 0.2]])["version"] == 1
        fault.unlink()
        assert service.trained("iris")["version"] > 1
    finally:
        service.close()


def test_18_a_failed_sync_stops_the_broker_and_a_restart_recovers(home, context, shim):
    broker, fault = faulty_broker(home, shim)
    try:
        worker, client = Worker(context, broker, models=MODEL, window=0), Client(context, broker)
        assert worker.welcome and client.ask("predict", id="k" * 32, model="iris", rows=[[1]], durable=True, wait=False)["accepted"]
        fault.write_text("5 syncs")
        answer = client.ask("predict", id="u" * 32, model="iris", rows=[[1]], durable=True, wait=False)
        assert answer["error"]["code"] == "UNAVAILABLE" and answer["error"]["retryable"]
        assert broker.process.wait(10) == 1
        fault.unlink()
        broker.start()
        worker, client = Worker(context, broker, models=MODEL, window=8), Client(context, broker)
        again = client.ask("predict", id="u" * 32, model="iris", rows=[[1]], durable=True, wait=False)
        assert again["accepted"]
        done = set()
        while len(done) < 2:
            item = worker.work()
            worker.echo(item)
            done.add(item.request["id"])
        assert done == {"k" * 32, "u" * 32}
    finally:
        broker.kill()


def test_23_a_home_that_cannot_be_used_is_refused_in_one_sentence(home, context):
    home.write_text("a file")
    broker = Broker(home.parent / "x")
    broker.home = home
    for program, options in (("broker", ["--home", home]), ("trainer", ["--work", "ipc:///tmp/none", "--store", home]),
                             ("predictor", ["--work", "ipc:///tmp/none", "--store", home])):
        run = subprocess.run([binary(f"modelmq-{program}"), *map(str, options)], capture_output=True, text=True, timeout=10)
        assert run.returncode not in (0, -6, -11) and run.stderr.strip().count("\n") <= 1 and str(home) in run.stderr, run.stderr


def test_25_a_copy_of_the_journal_taken_while_it_runs_is_whole(home, context, broker):
    client = Client(context, broker)
    Worker(context, broker, models=MODEL, window=0)
    for i in range(200):
        client.send("predict", id=f"copied-{i:025d}", model="iris", rows=[[i]], durable=True, wait=False)
        if i == 100:
            for _ in range(50):
                client.receive()
            copy = home.parent / "copy"
            copy.mkdir()
            with sqlite3.connect(f"file:{home}/journal.db?mode=ro", uri=True) as live, sqlite3.connect(copy / "journal.db") as into:
                live.backup(into)
    second = Broker(copy).start()
    try:
        worker, asker = Worker(context, second, models=MODEL, window=64), Client(context, second)
        count = asker.ask("status")["queue"]["durable"]
        assert 50 <= count <= 200 and asker.ask("status")["journal"]["damaged"] == 0
        seen = set()
        while len(seen) < count:
            item = waits(worker)
            worker.echo(item)
            seen.add(item.request["id"])
        assert len(seen) == count
    finally:
        second.kill()


class Oversleep(threading.Thread):
    """How late this machine itself wakes whom it has promised to, in milliseconds: what no process on it can be better than."""

    def __init__(self):
        super().__init__(daemon=True)
        self.done, self.late = threading.Event(), []
        self.start()

    def run(self):
        while not self.done.is_set():
            started = time.monotonic()
            self.done.wait(0.002)
            self.late.append((time.monotonic() - started) * 1000 - 2)

    def worst_of_20(self):
        self.done.set()
        self.join()
        return sorted(self.late)[int(len(self.late) * 0.95)]


def test_29_deadlines_fall_due_within_10_ms_while_workers_hold_everything(context, broker):
    worker, client = Worker(context, broker, models=MODEL, window=1), Client(context, broker)
    due, machine = {}, Oversleep()
    for i in range(200):
        deadline_ms = 50 + i
        due[predict(client, deadline_ms=deadline_ms)] = time.monotonic() * 1000 + deadline_ms
    late = []
    for _ in range(200):
        answer = client.receive()
        late.append(time.monotonic() * 1000 - due[answer["id"]])
        assert answer["error"]["code"] == "DEADLINE_EXCEEDED"
    late.sort()
    # Two wake-ups lie between the deadline and this list: the broker's and ours.
    assert late[0] > -2 and late[int(len(late) * 0.95)] < 10 + 2 * machine.worst_of_20(), late[-20:]
    assert worker.work().ms_left > 0


def test_31_cancel_in_every_state_is_answered_and_frees(context, broker):
    worker, client = Worker(context, broker, models=MODEL, window=1), Client(context, broker)
    running, queued, durable = predict(client), predict(client), predict(client, id="d" * 32, durable=True)
    item = worker.work()
    for identity in (running, queued, durable):
        client.send("cancel", request=identity, id="c" + identity[:20])
    answers = {}
    while len(answers) < 6:
        answer = client.receive()
        answers[answer["id"]] = answer
    for identity in (running, queued, durable):
        assert answers[identity]["error"]["code"] == "CANCELLED"
        assert answers["c" + identity[:20]]["state"] in ("cancelled", "cancelling")
    worker.echo(item)           # too late
    for identity in (running, queued):
        assert client.ask("cancel", request=identity)["state"] == "unknown"
    assert client.ask("cancel", request=durable)["state"] in ("cancelled", "unknown")
    status = client.ask("status")
    assert status["queue"]["waiting"] == status["queue"]["leased"] == status["queue"]["bytes"] == 0 and client.is_silent()


def test_32_clients_that_vanish_leave_nothing_behind(context, broker):
    worker = Worker(context, broker, models=MODEL, window=64)
    steady = Client(context, broker)

    def round_of(count):
        for _ in range(count):
            gone = Client(context, broker)
            for _ in range(20):
                predict(gone, rows=[[0.5] * 300])
            for _ in range(20):
                item = worker.work()
                if item.delivery % 2:
                    worker.echo(item, filler=bytes(2000))
                else:
                    worker.echo(item)
            gone.socket.close(0)
            worker.beat()
    round_of(20)
    before = broker.rss_kb()
    round_of(150)
    assert broker.rss_kb() - before < 8000
    status = steady.ask("status")
    assert status["queue"]["bytes"] == 0 and until(lambda: steady.ask("status")["counters"]["connections"] <= 2)


def test_34_empty_and_countless_frames(context, broker):
    client = Client(context, broker)
    for frames in ([b""], [b"", b""], [b"x"] * 10000):
        client.raw(*frames)
        assert client.receive()["error"]["code"] == "INVALID_ARGUMENT"
    assert client.ask("ping")["ok"]


def test_37_unknown_keys_are_ignored_and_a_newer_version_refused(context, broker):
    worker, client = Worker(context, broker, models=MODEL), Client(context, broker)
    predict(client, novelty={"deep": [1, 2]})
    worker.echo(worker.work())
    assert client.receive()["ok"]
    client.raw(msgpack.packb({"v": 2, "op": "ping", "id": "n"}))
    answer = client.receive()
    assert answer["id"] == "n" and answer["error"]["field"] == "v"


@pytest.fixture
def tcp(home):
    broker = Broker(home, *(f"--{name}=tcp://127.0.0.1:*" for name in ("request", "publish", "sink", "work"))).start()
    broker.port = int(broker.endpoints["request"].rsplit(":", 1)[1])
    yield broker
    broker.kill()


def descriptors(broker):
    return len(os.listdir(f"/proc/{broker.process.pid}/fd"))


def test_38_garbage_on_the_port_is_closed_and_harms_nobody(context, tcp):
    client = Client(context, tcp)
    assert client.ask("ping")["ok"]
    base = descriptors(tcp)
    ends = [socket.create_connection(("127.0.0.1", tcp.port)) for _ in range(4)]
    ends[0].sendall(os.urandom(4096))
    ends[1].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    ends[2].sendall(b"\xff" + bytes(8) + b"\x7f\x03")   # half a handshake, held open; ends[3] says nothing at all
    began = time.monotonic()
    assert until(lambda: client.ask("ping")["ok"] and descriptors(tcp) <= base and not client.socket.poll(20), 8)
    assert time.monotonic() - began < 6.5
    for end in ends:
        end.close()
    assert tcp.process.poll() is None


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def ready():
    body = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
    return b"\x04" + bytes([len(body)]) + body


def test_38_a_handshake_of_one_byte_per_second_is_closed(context, tcp):
    client = Client(context, tcp)
    assert client.ask("ping")["ok"]
    slow = socket.create_connection(("127.0.0.1", tcp.port))
    began, closed = time.monotonic(), False
    for byte in GREETING:
        try:
            slow.sendall(bytes([byte]))
            slow.settimeout(1)
            while not closed:
                closed = slow.recv(4096) == b""
        except TimeoutError:
            continue
        except ConnectionError:
            closed = True
        if closed:
            break
    assert closed and time.monotonic() - began < 7 and client.ask("ping")["ok"]


def greeted(port):
    """A connection whose handshake is done."""
    end = socket.create_connection(("127.0.0.1", port))
    end.sendall(GREETING + ready())
    end.settimeout(10)
    got = b""
    while len(got) < 64 + 2 or len(got) < 64 + 2 + got[65]:
        got += end.recv(4096)
    return end


def test_38_frames_that_never_end_cost_their_descriptors_and_nobody_else(context, tcp):
    """After the handshake a slow frame looks like a slow network: it is not closed for minutes, but it must not matter."""
    client = Client(context, tcp)
    assert client.ask("ping")["ok"]
    base, before = descriptors(tcp), tcp.rss_kb()
    ends = []
    for _ in range(200):
        end = greeted(tcp.port)
        end.sendall(b"\x02" + (4 << 20).to_bytes(8, "big"))      # a frame as large as is allowed
        ends.append(end)
    for _ in range(5):
        for end in ends:
            end.sendall(b"x")
        began = time.monotonic()
        assert client.ask("ping")["ok"] and time.monotonic() - began < 0.5
    assert descriptors(tcp) >= base + 200           # they are there
    assert tcp.rss_kb() - before < 30000            # announced 800 MiB
    for end in ends:
        end.close()
    assert until(lambda: client.ask("ping")["ok"] and not client.socket.poll(20) and descriptors(tcp) <= base)


def test_38_a_frame_that_takes_longer_than_the_timeout_is_closed(context, home):
    """Bytes alone do not help; idle clients, which answer pings, stay."""
    broker = Broker(home, "--peer-timeout-ms", "1000", *(f"--{name}=tcp://127.0.0.1:*" for name in ("request", "publish", "sink", "work"))).start()
    client, port = Client(context, broker), int(broker.endpoints["request"].rsplit(":", 1)[1])
    assert client.ask("ping")["ok"]
    dropped = client.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    slow, began, closed = greeted(port), time.monotonic(), False
    slow.sendall(b"\x02" + (1 << 20).to_bytes(8, "big"))
    slow.settimeout(0.1)
    while not closed and time.monotonic() - began < 10:
        try:
            slow.sendall(b"x")
            closed = slow.recv(4096) == b""
        except TimeoutError:
            continue
        except ConnectionError:
            closed = True
    assert closed and 0.4 < time.monotonic() - began < 3
    assert not dropped.poll(1500) and client.ask("ping")["ok"]   # silent for longer than that
    broker.kill()


def test_39_idle_and_churning_connections_give_back_what_they_took(context, tcp):
    client = Client(context, tcp)
    assert client.ask("ping")["ok"]
    base = descriptors(tcp)
    greeting = b"\xff" + bytes(8) + b"\x7f\x03"
    idle = [socket.create_connection(("127.0.0.1", tcp.port)) for _ in range(300)]
    for end in idle:
        end.sendall(greeting)
    assert client.ask("ping")["ok"]
    for _ in range(1000):
        socket.create_connection(("127.0.0.1", tcp.port)).close()
    for end in idle:
        end.close()
    assert until(lambda: client.ask("ping")["ok"] and not client.socket.poll(20) and descriptors(tcp) <= base + 2)


def test_40_two_peers_of_one_routing_id_never_get_each_others_answers(context, broker):
    worker = Worker(context, broker, models=MODEL, window=64)
    peers = []
    for _ in range(2):
        peer = context.socket(zmq.DEALER)
        peer.linger = 0
        peer.routing_id = b"twin"
        peer.connect(broker.endpoints["request"])
        peers.append(peer)
    for i, peer in enumerate(peers):
        peer.send(msgpack.packb({"v": 1, "op": "predict", "id": f"peer{i}", "model": "iris", "rows": [[i]]}))
    got = []
    while worker.take(0.3):
        while worker.items:
            worker.echo(worker.items.pop(0))
    for i, peer in enumerate(peers):
        while peer.poll(200):
            answer = msgpack.unpackb(peer.recv())
            got.append(answer["id"])
            assert answer["id"] == f"peer{i}"
    assert got == ["peer0"] or got == ["peer1"]
    assert Client(context, broker).ask("ping")["ok"]


def test_44_a_subscriber_that_does_not_read_costs_a_bounded_amount(context, broker):
    worker, client = Worker(context, broker, models=MODEL, window=64), Client(context, broker)
    sleeper = context.socket(zmq.SUB)
    sleeper.rcvhwm = 1
    sleeper.connect(broker.endpoints["sink"])
    sleeper.subscribe("result/")
    reader = Subscriber(context, broker, "result/")
    padding = bytes(8000)
    before, seen = broker.rss_kb(), 0
    for i in range(6000):
        predict(client, sink=True)
        worker.echo(worker.work(), padding=padding)
        assert client.receive()["ok"]
        while reader.socket.poll(0):
            reader.receive()
            seen += 1
        if i % 20 == 0:
            worker.beat()
    assert broker.rss_kb() - before < 40000     # 1000 messages of 8 kB wait for it, not 48 MB
    while reader.socket.poll(200):
        reader.receive()
        seen += 1
    assert seen > 5000
    numbers = []
    while sleeper.poll(200):
        numbers.append(msgpack.unpackb(sleeper.recv_multipart()[1])["n"])
    assert numbers == sorted(numbers) and numbers[-1] - numbers[0] >= len(numbers) - 1   # a gap shows in n
    sleeper.close(0)


def test_44_a_client_that_does_not_read_its_answers_costs_a_bounded_amount(home, context):
    broker = Broker(home, "--outbox-bytes-each", "2M", "--lease-ms", "3000", "--heartbeat-ms", "300").start()
    try:
        worker, client = Worker(context, broker, models=MODEL, window=64), Client(context, broker)
        deaf = Client(context, broker)
        deaf.socket.rcvhwm = 1
        before = broker.rss_kb()
        for i in range(4000):
            predict(deaf)
            worker.echo(worker.work(), padding=bytes(12000))
            if i % 20 == 0:
                worker.beat()
        status = client.ask("status")["counters"]
        assert status["outbox_bytes"] <= 2 << 20 and broker.rss_kb() - before < 60000
        assert status["answers_over_budget"] > 0
        predict(client)
        worker.echo(worker.work())
        assert client.receive()["ok"]
    finally:
        broker.kill()


def test_45_more_than_can_be_done_is_refused_with_an_honest_time(home, context):
    broker = Broker(home, "--requests-max", "50", "--lease-ms", "3000", "--heartbeat-ms", "300").start()
    try:
        worker, client = Worker(context, broker, models=MODEL, window=1), Client(context, broker)
        sent, accepted, refused = 0, 0, []
        began = time.monotonic()
        while time.monotonic() < began + 0.8:
            predict(client)
            sent += 1
            if sent % 4 == 0:      # a quarter of what arrives can be done
                worker.echo(worker.work())
            while client.socket.poll(0):
                answer = client.receive()
                accepted += answer["ok"]
                if not answer["ok"]:
                    refused.append((time.monotonic(), answer["error"]))
        assert accepted > 50 and refused and all(error["code"] == "RESOURCE_EXHAUSTED" for _, error in refused)
        rate = accepted / (time.monotonic() - began)
        told = refused[-1][1]["retry_after_ms"]
        assert 10 <= told <= 20 * 1000 * 25 / rate + 100     # half of 50 at the measured rate, within reason
        assert Client(context, broker).ask("status")["queue"]["waiting"] <= 50
    finally:
        broker.kill()


@pytest.mark.parametrize("option, second", [("--requests-client-max", {}), ("--requests-model-max", {"model": "rose"}),
                                            ("--requests-priority-max", {"priority": 9}), ("--bytes-client-max", {})])
def test_45_every_budget_has_its_name_and_leaves_room_for_others(home, context, option, second):
    broker = Broker(home, option, "10" if "requests" in option else "2000").start()
    try:
        worker = Worker(context, broker, models=MODEL + [("rose", [1], {"production": 1})], window=0)
        client = Client(context, broker)
        assert worker.welcome
        for _ in range(60):
            predict(client, deadline_ms=60000)
        error = client.receive()["error"]
        assert error["code"] == "RESOURCE_EXHAUSTED" and option[2:].replace("-", "_") in error["message"] and error["retry_after_ms"] > 0
        while client.socket.poll(100):
            client.receive()
        other = Client(context, broker) if "client" in option else client
        predict(other, **second)
        assert other.is_silent(150)
    finally:
        broker.kill()


def test_45_pushed_requests_wait_in_their_senders_when_memory_is_used_up(home, context):
    broker = Broker(home, "--bytes-max", "1M", "--bytes-client-max", "100M", "--bytes-model-max", "100M", "--bytes-priority-max", "100M",
                    "--bytes-tenant-max", "100M", "--lease-ms", "3000").start()
    try:
        worker = Worker(context, broker, models=MODEL, window=0)
        push = context.socket(zmq.PUSH)
        push.linger, push.sndhwm = 0, 10
        push.connect(broker.endpoints["publish"])
        body = msgpack.packb({"v": 1, "op": "predict", "id": "p", "model": "iris", "rows": [[1]], "filler": bytes(60000)})
        before = broker.rss_kb()
        pushed, blocked = 0, False
        for _ in range(5000):
            if not push.poll(300, zmq.POLLOUT):
                blocked = True
                break
            push.send(body)
            pushed += 1
        assert blocked and broker.rss_kb() - before < 120000 and worker.welcome
        assert Client(context, broker).ask("ping")["ok"]
    finally:
        broker.kill()


def test_48_rows_of_mixed_requests_are_never_crossed(context, broker):
    models = [(f"m{i}", [1], {"production": 1}) for i in range(3)]
    worker, client = Worker(context, broker, models=models, window=512), Client(context, broker)
    want = {}
    for i in range(600):
        rows = [[i, j] for j in range(i % 5 + 1)]
        identity = client.send("predict", model=f"m{i % 3}", rows=rows, priority=i % 10, deadline_ms=5000 + i)
        want[identity] = (f"m{i % 3}", rows)
    for _ in range(600):
        worker.echo(worker.work())
    for _ in range(600):
        answer = client.receive()
        assert (answer["model"], answer["outputs"]["prediction"]) == want.pop(answer["id"])


def test_60_workers_of_another_release_are_understood_or_refused(context, broker):
    newer = Worker(context, broker, say_hello=False)
    newer.say("hello", kind="predictor", session=os.urandom(16), protocol=9, build="9.0", pid=1, held=[], ready={"predict": 4}, models=[])
    refused = newer.expect("bye")
    assert refused["code"] == "FAILED_PRECONDITION" and "protocol 1" in refused["message"]
    kind = Worker(context, broker, say_hello=False)
    kind.say("hello", kind="predictor", session=os.urandom(16), protocol=1, build="1.9", pid=1, held=[], ready={"predict": 4, "dream": 3},
             models=[["default", "iris", [1], {"production": 1}, 1, "more"]], novelty=[1])
    assert kind.expect("welcome")["protocol"] == 1
    client = Client(context, broker)
    predict(client)
    item = kind.work()
    kind.echo(item)
    assert client.receive()["ok"]


def test_11_dead_letters_are_listed_shown_tried_again_and_dropped(context, broker):
    client = Client(context, broker)
    for identity in ("p" * 32, "q" * 32):
        worker = Worker(context, broker, models=MODEL)
        predict(client, id=identity, rows=[["poison"]], durable=True, deadline_ms=5000)
        for _ in range(4):
            assert waits(worker)
            worker.vanish()
            worker = Worker(context, broker, models=MODEL)
        assert client.receive()["error"]["code"] == "INTERNAL"
        worker.say("bye")
        worker.vanish()
    jobs = client.ask("dead.list")["jobs"]
    assert len(jobs) == 2 and all(job["state"] == "failed" and job["error"]["code"] == "INTERNAL" for job in jobs)
    newest, oldest = (job["job"] for job in jobs)
    assert client.ask("dead.list", limit=1)["jobs"][0]["job"] == newest
    assert client.ask("job.get", job=oldest)["state"] == "failed"
    assert client.ask("dead.drop", job=newest)["state"] == "dropped"
    assert client.ask("job.get", job=newest)["error"]["code"] == "NOT_FOUND"
    broker.kill()               # they outlive the broker
    broker.start()
    client = Client(context, broker)
    assert [job["job"] for job in client.ask("dead.list")["jobs"]] == [oldest]
    assert client.ask("dead.requeue", job=oldest)["state"] == "queued"
    again = client.ask("dead.requeue", job=oldest)
    assert again["error"]["code"] == "FAILED_PRECONDITION"
    worker = Worker(context, broker, models=MODEL)
    item = waits(worker)
    assert item.request["id"] == "p" * 32 and item.request["rows"] == [["poison"]]
    worker.echo(item)
    assert client.ask("job.wait", job=oldest)["state"] == "done" and client.ask("dead.list")["jobs"] == []


def dead(broker, *words):
    run = subprocess.run([binary("modelmq"), "dead", *words, "--home", str(broker.home)], capture_output=True, text=True, timeout=30)
    return run.returncode, run.stdout + run.stderr


def test_11_people_list_show_requeue_and_drop_dead_letters_by_command(context, broker):
    client = Client(context, broker)
    worker = Worker(context, broker, models=MODEL)
    predict(client, id="p" * 32, rows=[["poison"]], durable=True)
    for _ in range(4):
        assert waits(worker)
        worker.vanish()
        worker = Worker(context, broker, models=MODEL)
    assert client.receive()["error"]["code"] == "INTERNAL"
    worker.say("bye")
    job = client.ask("dead.list")["jobs"][0]["job"]
    code, text = dead(broker, "list")
    assert code == 0 and job in text and "iris" in text and "3 workers died" in text
    code, text = dead(broker, "show", job)
    assert code == 0 and '"failed"' in text
    assert dead(broker, "requeue", job)[0] == 0 and job not in dead(broker, "list")[1]
    assert dead(broker, "drop", job)[0] == 1        # it is queued: no dead letter any more
    assert dead(broker, "drop")[0] == 2
    worker = Worker(context, broker, models=MODEL)
    assert waits(worker).request["rows"] == [["poison"]]
