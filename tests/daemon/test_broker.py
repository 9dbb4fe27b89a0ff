"""The bare broker with a fake worker and foreign clients: answered once, whatever dies, whoever sends what."""
import os
import subprocess
import time

import msgpack
import pytest
import zmq

from helpers import Broker, Client, Subscriber, Worker, binary, until

MODEL = [("iris", [1, 2], {"production": 2})]
DEAD = 1.0  # the lease of the fixture's broker, seconds


def predict(client, **keys):
    return client.send("predict", model="iris", rows=[[1, 2]], **keys)


def test_prediction_goes_to_a_worker_and_back(context, broker):
    worker, client = Worker(context, broker, models=MODEL), Client(context, broker)
    identity = predict(client)
    item = worker.work()
    assert (item.op, item.tenant, item.model, item.version, item.attempt) == ("predict", "default", "iris", 2, 1)
    assert 0 < item.ms_left <= 30000
    assert item.request["rows"] == [[1, 2]]
    worker.echo(item)
    answer = client.receive()
    assert answer["id"] == identity and answer["outputs"] == {"prediction": [[1, 2]]}


def test_payload_and_large_bodies_arrive_whole(context, broker):
    worker, client = Worker(context, broker, models=MODEL), Client(context, broker)
    payload = os.urandom(300000)
    request = {"v": 1, "op": "predict", "id": "p", "model": "iris", "payload": "csv"}
    client.raw(msgpack.packb(request), payload)
    item = worker.work()
    assert item.payload == payload
    worker.result(item, {"v": 1, "id": "p", "ok": True, "big": os.urandom(200000)})
    assert len(client.receive()["big"]) == 200000


def test_many_in_flight_come_back_each_to_its_asker(context, broker):
    worker = Worker(context, broker, models=MODEL, window=64)
    clients = [Client(context, broker) for _ in range(3)]
    asked = {client: {predict(client, priority=i % 10) for i in range(40)} for client in clients}
    for _ in range(120):
        worker.echo(worker.work())
    for client in clients:
        assert {client.receive()["id"] for _ in range(40)} == asked[client]
        assert client.is_silent()


def test_killed_worker_loses_nothing(context, broker):
    first, client = Worker(context, broker, models=MODEL), Client(context, broker)
    identity = predict(client)
    assert first.work().attempt == 1
    second = Worker(context, broker, models=MODEL)
    first.vanish()
    item = until(lambda: second.beat() or (second.take(0.1) and second.items and second.items.pop(0)))
    assert item.attempt == 2
    second.echo(item)
    assert client.receive()["id"] == identity
    assert client.is_silent()


def test_late_result_of_a_lost_lease_is_refused(context, broker):
    first, client = Worker(context, broker, models=MODEL), Client(context, broker)
    predict(client)
    old = first.work()
    second = Worker(context, broker, models=MODEL)
    item = until(lambda: second.beat() or (second.take(0.1) and second.items and second.items.pop(0)))  # first says nothing: its lease ends
    first.result(old, {"v": 1, "id": old.request["id"], "ok": True, "who": "late"})
    assert client.is_silent(50)
    second.echo(item)
    assert "outputs" in client.receive()
    assert client.is_silent()


def test_deadline_is_answered_in_time_also_while_leased(context, broker):
    worker, client = Worker(context, broker, models=MODEL), Client(context, broker)
    start = time.monotonic()
    predict(client, deadline_ms=150)
    item = worker.work()
    answer = client.receive()
    took_ms = (time.monotonic() - start) * 1000
    assert answer["error"]["code"] == "DEADLINE_EXCEEDED" and answer["error"]["retryable"]
    assert 145 <= took_ms < 400
    assert worker.expect("cancel")["delivery"] == item.delivery
    worker.echo(item)
    assert client.is_silent()


def test_deadline_passes_while_queued(context, broker):
    worker, client = Worker(context, broker, models=MODEL, window=0), Client(context, broker)
    assert worker.welcome
    predict(client, deadline_ms=100)
    assert client.receive()["error"]["code"] == "DEADLINE_EXCEEDED"
    assert client.ask("predict", model="iris", rows=[[1]], deadline_ms=0)["error"]["code"] == "DEADLINE_EXCEEDED"


def test_cancel_before_and_while_running(context, broker):
    worker, client = Worker(context, broker, models=MODEL, window=1), Client(context, broker)
    running, queued = predict(client), predict(client)
    item = worker.work()
    for identity, state in ((queued, "cancelled"), (running, "cancelling")):
        client.send("cancel", id="c" + identity, request=identity)
        answers = [client.receive()]
        if state == "cancelled" or client.socket.poll(200):
            answers.append(client.receive())
        by_id = {answer["id"]: answer for answer in answers}
        assert by_id["c" + identity]["state"] in ("cancelled", "cancelling") and by_id["c" + identity]["request"] == identity
        if identity in by_id:
            assert by_id[identity]["error"]["code"] == "CANCELLED"
    assert worker.expect("cancel")["delivery"] == item.delivery
    assert client.ask("cancel", request="nothing")["state"] == "unknown"


def test_unknown_model_and_version_and_no_worker(context, broker):
    client = Client(context, broker)
    worker = Worker(context, broker, models=MODEL)
    assert client.ask("predict", model="rose", rows=[[1]])["error"]["code"] == "NOT_FOUND"
    assert client.ask("predict", model="iris", version=9, rows=[[1]])["error"]["code"] == "NOT_FOUND"
    assert client.ask("predict", model="iris", version="beta", rows=[[1]])["error"]["code"] == "NOT_FOUND"
    client.send("predict", model="iris", version=1, rows=[[1]])
    assert worker.work().version == 1


def test_ping_and_status(context, broker):
    worker, client = Worker(context, broker, models=MODEL), Client(context, broker)
    assert worker.welcome["protocol"] == 1
    pong = client.ask("ping")
    assert pong["ok"] and len(pong["run"]) == 16 and pong["version"]
    status = client.ask("status")
    assert [w["kind"] for w in status["workers"]] == ["predictor"]
    assert status["queue"]["waiting"] == 0 and status["health"] in ("degraded", "ready")
    assert status["counters"]["requests"] >= 1 and status["limits"]["message_bytes_max"] == 4 << 20


GARBAGE = [
    b"", b"\xc1", b"hello", b"\xdd\x0f\x00\x00\x00", b"\xdf\xff\xff\xff\xff", b"\x91" * 10000, b"\xdc\xff\xff" * 31,
    msgpack.packb([1, 2]), msgpack.packb({}), msgpack.packb({"v": 2, "op": "ping"}), msgpack.packb({"v": 1}),
    msgpack.packb({"v": 1, "op": "nonsense", "id": "x"}), msgpack.packb({"v": 1, "op": "predict", "id": 7}),
    msgpack.packb({"v": 1, "op": "predict", "model": "../x", "id": "x"}), msgpack.packb({"v": 1, "op": "ping"}) + b"\x00",
    b"\x82\xa1v\x01\xa1v\x01", b"\x81\xa2\xff\xfe\x01",
]


@pytest.mark.parametrize("frame", GARBAGE, ids=lambda frame: frame[:6].hex() or "empty")
def test_garbage_is_answered_with_a_named_error(context, broker, frame):
    client = Client(context, broker)
    client.raw(frame)
    answer = client.receive()
    if isinstance(answer, list):  # what looks like a list of requests is answered by a list
        answer, = answer
    assert answer["ok"] is False and answer["error"]["code"] == "INVALID_ARGUMENT" and answer["error"]["message"]
    assert client.ask("ping")["ok"]


def test_every_cut_and_flipped_byte_of_a_request_gets_an_answer(context, broker):
    worker, client = Worker(context, broker, models=MODEL, window=1000), Client(context, broker)
    good = msgpack.packb({"v": 1, "op": "status", "id": "0123456789abcdef", "trace": "t", "priority": 3})
    sent = 0
    for i in range(len(good)):
        client.raw(good[:i])
        client.raw(good[:i] + bytes([good[i] ^ (1 << i % 8)]) + good[i + 1:])
        sent += 2
    for _ in range(sent):
        assert client.receive()["v"] == 1
    assert worker.welcome and client.ask("ping")["ok"]


def test_too_many_frames(context, broker):
    client = Client(context, broker)
    ping = msgpack.packb({"v": 1, "op": "ping", "id": "x"})
    for frames in ([ping] * 3, [b"", ping, ping, ping], [ping] * 1000):
        client.raw(*frames)
        assert client.receive()["error"]["code"] == "INVALID_ARGUMENT"
    assert client.ask("ping")["ok"]


def receive_lists(client, count):
    """The answers of `count` requests that were sent in lists, by id."""
    answers = []
    while len(answers) < count:
        frame = client.receive()
        assert isinstance(frame, list) and 0 < len(frame) <= 128
        answers += frame
    assert len(answers) == count
    return {answer["id"]: answer for answer in answers}


def test_requests_in_one_frame_are_answered_each(context, broker):
    worker, client, other = Worker(context, broker, models=MODEL, window=1000), Client(context, broker), Client(context, broker)
    requests = [{"v": 1, "op": "predict", "id": f"r{i}", "model": "iris", "rows": [[i, i]]} for i in range(300)]
    client.raw(msgpack.packb(requests + [{"v": 1, "op": "ping", "id": "ping"}]))
    identity = predict(other)
    for _ in range(301):
        worker.echo(worker.work())
    answers = receive_lists(client, 301)
    assert answers.pop("ping")["version"] and {i: answer["outputs"]["prediction"] for i, answer in answers.items()} == \
        {request["id"]: request["rows"] for request in requests}
    assert other.receive()["id"] == identity, "a client that asks for one thing gets one map"
    assert client.is_silent() and other.is_silent()


def test_a_wrong_request_in_a_list_harms_its_neighbours_not(context, broker):
    worker, client = Worker(context, broker, models=MODEL), Client(context, broker)
    good = {"v": 1, "op": "predict", "model": "iris", "rows": [[1]]}
    client.raw(msgpack.packb([{**good, "id": "a"}, {**good, "id": "b", "model": "none"}, {**good, "id": "c", "priority": "x"},
                              {**good, "id": "d", "payload": "csv"}, {"v": 1, "op": "job.list", "id": "e", "limit": -1}, {**good, "id": "f"}]))
    worker.echo(worker.work())
    worker.echo(worker.work())
    answers = receive_lists(client, 6)
    assert [answers[i]["ok"] for i in "abcdef"] == [True, False, False, False, False, True]
    assert [answers[i]["error"]["code"] for i in "bcde"] == ["NOT_FOUND"] + ["INVALID_ARGUMENT"] * 3
    assert answers["c"]["error"]["field"] == "priority" and answers["e"]["error"]["field"] == "limit"


@pytest.mark.parametrize("frame, served", [
    (msgpack.packb([]), 0), (msgpack.packb([1]), 0), (b"\xdd\xff\xff\xff\xff", 0), (msgpack.packb(["x" * 70000]), 0),
    (b"\x92" + msgpack.packb({"v": 1, "op": "ping", "id": "first"}) + b"\xc1", 1),
    (msgpack.packb([{"v": 1, "op": "ping", "id": "first"}, [], {"v": 1, "op": "ping"}]), 1),
    (b"\x91" + msgpack.packb({"v": 1, "op": "ping", "id": "first"}) + b"\x00", 0)], ids=["empty", "number", "cut", "large", "junk", "nested", "more"])
def test_an_unreadable_list_says_so_once(context, broker, frame, served):
    client = Client(context, broker)
    client.raw(frame)
    answers = receive_lists(client, served + 1)
    assert answers[None]["error"]["code"] == "INVALID_ARGUMENT" and all(answers[i]["ok"] for i in answers if i is not None)
    assert client.ask("ping")["ok"]


def test_a_list_needs_a_socket_that_hears_many_answers(context, broker):
    client = Client(context, broker, zmq.REQ)
    client.raw(msgpack.packb([{"v": 1, "op": "ping", "id": "a"}, {"v": 1, "op": "ping", "id": "b"}]))
    assert client.receive()["error"]["code"] == "INVALID_ARGUMENT"
    assert client.ask("ping")["ok"]


def test_deadline_and_cancel_in_a_list(context, broker):
    worker, client = Worker(context, broker, models=MODEL), Client(context, broker)
    good = {"v": 1, "op": "predict", "model": "iris", "rows": [[1]]}
    client.raw(msgpack.packb([{**good, "id": "late", "deadline_ms": 50}, {**good, "id": "gone"}, {"v": 1, "op": "cancel", "id": "c", "request": "gone"}]))
    answers = receive_lists(client, 3)
    assert answers["late"]["error"]["code"] == "DEADLINE_EXCEEDED" and answers["gone"]["error"]["code"] == "CANCELLED" and answers["c"]["ok"]
    assert worker.welcome


def test_a_client_that_leaves_before_its_lists_costs_nothing(context, broker):
    worker, client, other = Worker(context, broker, models=MODEL, window=1000), Client(context, broker), Client(context, broker)
    client.raw(msgpack.packb([{"v": 1, "op": "predict", "id": f"r{i}", "model": "iris", "rows": [[i]]} for i in range(50)]))
    item = worker.work()
    client.socket.close()
    worker.echo(item)
    for _ in range(49):
        worker.echo(worker.work())
    assert other.ask("ping")["ok"] and until(lambda: other.ask("status")["queue"]["leased"] == 0)


def test_req_client_gets_its_delimiter_back(context, broker):
    worker, client = Worker(context, broker, models=MODEL), Client(context, broker, zmq.REQ)
    assert client.ask("ping")["ok"]
    predict(client)
    worker.echo(worker.work())
    assert client.receive()["ok"]
    client.raw(b"junk")
    assert client.receive()["error"]["code"] == "INVALID_ARGUMENT"


def test_oversized_frame_closes_that_connection_only(context, broker):
    big, client = Client(context, broker), Client(context, broker)
    big.raw(b"\x00" * (5 << 20))
    assert big.is_silent(200)
    assert client.ask("ping")["ok"]
    assert broker.rss_kb() < 200 << 10


def test_junk_from_a_worker_harms_nobody(context, broker):
    worker, client = Worker(context, broker, models=MODEL), Client(context, broker)
    for frames in ([b""], [b"\xc1"], [b"\x80"], [msgpack.packb({"t": "result"})], [msgpack.packb({"t": "nothing"})], [b"x"] * 9,
                   [msgpack.packb({"t": "result", "items": [[b"0" * 16, 1, "OK", 1, 1, 1, 0, 1 << 40]]})],
                   [msgpack.packb({"t": "hello", "kind": "predictor", "session": b"1" * 16, "protocol": 9})],
                   [msgpack.packb({"t": "heartbeat", "n": 1, "held": [[b"0" * 16, 5]]})]):
        bad = Worker(context, broker, say_hello=False)
        bad.socket.send_multipart(frames)
        bad.take(0.1)
        bad.vanish()
        worker.beat()
    identity = predict(client)
    worker.echo(worker.work())
    assert client.receive()["id"] == identity


def test_sink_gets_the_answer_too(context, broker):
    worker, client = Worker(context, broker, models=MODEL), Client(context, broker)
    sink = Subscriber(context, broker, "result/")
    seen = []

    def once():
        predict(client, sink=True)
        worker.echo(worker.work())
        assert client.receive()["ok"]
        if sink.socket.poll(50):
            seen.append(sink.receive())
        return len(seen) == 2
    assert until(once)
    (topic, first), (_, second) = seen
    assert topic == "result/default/iris/predict"
    assert second["n"] == first["n"] + 1 and second["run"] == first["run"] and first["outputs"]


def test_pushed_request_is_answered_on_the_sink(context, broker):
    worker, sink = Worker(context, broker, models=MODEL), Subscriber(context, broker, "")
    push = context.socket(zmq.PUSH)
    push.linger = 0
    push.connect(broker.endpoints["publish"])
    push.send(b"junk")
    seen = []

    def once():
        push.send(msgpack.packb({"v": 1, "op": "predict", "id": "pushed", "model": "iris", "rows": [[1]], "sink": True}))
        worker.echo(worker.work())
        while sink.socket.poll(50):
            seen.append(sink.receive())
        return any(topic.startswith("result/") for topic, _ in seen)
    assert until(once)
    assert next(body for topic, body in seen if topic.startswith("result/"))["id"] == "pushed"
    push.send(msgpack.packb([{"v": 1, "op": "predict", "id": f"list{i}", "model": "iris", "rows": [[1]], "sink": True} for i in range(3)] + [1]))
    for _ in range(3):
        worker.echo(worker.work())
    assert until(lambda: seen.append(sink.receive()) or {"list0", "list1", "list2"} <= {body.get("id") for topic, body in seen if topic.startswith("result/")})


def test_second_broker_on_the_same_home_is_refused(context, broker):
    run = subprocess.run([binary("modelmq-broker"), "--home", str(broker.home)], capture_output=True, text=True, timeout=10)
    assert run.returncode == 1 and "another broker" in run.stderr
    assert Client(context, broker).ask("ping")["ok"]


def test_bad_options_stop_the_start_with_code_2(home):
    for options, says in ((["--colour", "red"], "colour"), (["--request", "tcp://0.0.0.0:5550"], "request"),
                          (["--lease-ms", "1"], "lease-ms"), (["--journal", "paper"], "journal")):
        run = subprocess.run([binary("modelmq-broker"), "--home", str(home), *options], capture_output=True, text=True, timeout=10)
        assert run.returncode == 2 and says in run.stderr
    run = subprocess.run([binary("modelmq-broker"), "--check-config"], capture_output=True, text=True, timeout=10)
    assert run.returncode == 0
    assert "--lease-ms" in subprocess.run([binary("modelmq-broker"), "--help"], capture_output=True, text=True, timeout=10).stdout


def test_term_drains_and_leaves_with_0(context, broker):
    worker, client = Worker(context, broker, models=MODEL), Client(context, broker)
    identity = predict(client)
    item = worker.work()
    broker.process.terminate()
    worker.beat(item)
    worker.echo(item)
    assert client.receive()["id"] == identity
    assert broker.process.wait(10) == 0


def test_tcp_ports_stay_after_a_restart(context, home):
    broker = Broker(home, *(f"--{name}=tcp://127.0.0.1:*" for name in ("request", "publish", "sink", "work")))
    try:
        broker.start()
        first = dict(broker.endpoints)
        assert all(endpoint.startswith("tcp://127.0.0.1:") for endpoint in first.values())
        assert Client(context, broker).ask("ping")["ok"]
        broker.kill()
        broker.start()
        assert broker.endpoints == first
    finally:
        broker.kill()


def test_client_that_does_not_read_costs_nobody_else(context, broker):
    worker, client = Worker(context, broker, models=MODEL, window=64), Client(context, broker)
    deaf = Client(context, broker)
    deaf.socket.rcvhwm = 1
    for _ in range(3000):
        deaf.send("status")
    for _ in range(20):
        predict(client)
        worker.beat()
        worker.echo(worker.work())
        assert client.receive()["ok"]
    assert broker.process.poll() is None


# Durable work

def train(client, identity, **keys):
    return client.send("train", id=identity, model="rose", data={"rows": [[1]]}, **keys)


def test_training_is_accepted_granted_finished_and_found(context, broker):
    worker, client = Worker(context, broker, kind="trainer"), Client(context, broker)
    sink = Subscriber(context, broker, "job/")
    assert client.ask("ping")["ok"]
    train(client, "t" * 32)
    accepted = client.receive()
    assert accepted["ok"] and accepted["state"] == "queued" and len(accepted["job"]) == 32
    item = worker.work()
    assert (item.op, item.kind, item.job) == ("train", 1, accepted["job"])
    worker.beat(item)
    worker.say("grant", epoch=item.epoch, delivery=item.delivery, what="version", above=0)
    granted = worker.expect("granted")
    assert granted["number"] == 1 and granted["code"] == "OK"
    worker.say("grant", epoch=item.epoch, delivery=item.delivery, what="version", above=0)
    assert worker.expect("granted")["number"] == 1
    worker.say("progress", epoch=item.epoch, delivery=item.delivery, checkpoint=0, info={"phase": "fit", "fraction": 0.5})
    shown = until(lambda: (lambda job: job if "progress" in job else None)(client.ask("job.get", job=item.job)))
    assert shown["state"] == "running" and shown["progress"]["fraction"] == 0.5
    client.send("job.wait", id="w", job=item.job)
    worker.result(item, {"model": "rose", "version": 1}, version=1)
    waited = client.receive()
    assert waited["id"] == "w" and waited["state"] == "done" and waited["result"] == {"model": "rose", "version": 1}
    assert [job["job"] for job in client.ask("job.list")["jobs"]] == [item.job]
    events = []
    while sink.socket.poll(200):
        events.append(sink.receive()[1]["event"])
    assert not events or events[-1] == "done"


def test_same_id_same_request_is_done_once(context, broker):
    worker, client = Worker(context, broker, kind="trainer"), Client(context, broker)
    train(client, "same" * 8)
    train(client, "same" * 8, priority=9)
    jobs = {client.receive()["job"], client.receive()["job"]}
    assert len(jobs) == 1
    worker.result(worker.work(), {"model": "rose"})
    assert client.ask("job.wait", job=jobs.pop())["state"] == "done"
    other = client.ask("train", id="same" * 8, model="rose", data={"rows": [[2]]})
    assert other["error"]["code"] == "ALREADY_EXISTS"
    assert not worker.items and not worker.take(0.1)


def test_durable_prediction_survives_a_killed_broker(context, broker):
    client = Client(context, broker)
    worker = Worker(context, broker, models=MODEL, window=0)
    identities = [f"durable-{i:024d}" for i in range(5)]
    first_seq = 0
    for identity in identities:
        answer = client.ask("predict", id=identity, model="iris", rows=[[1]], durable=True, wait=False)
        assert answer["accepted"] and answer["seq"] > 0
        first_seq = answer["seq"] if identity == identities[0] else first_seq
    worker.vanish()
    broker.kill()
    broker.start()
    worker, client = Worker(context, broker, models=MODEL, window=8), Client(context, broker)
    done = set()
    while len(done) < 5:
        item = worker.work()
        worker.echo(item)
        done.add(item.request["id"])
    assert done == set(identities)
    results = until(lambda: (lambda r: r if len(r) == 5 else None)(client.ask("results", prefix="result/default/")["results"]))
    assert {entry["message"]["id"] for entry in results} == done
    again = client.ask("predict", id=identities[0], model="iris", rows=[[1]], durable=True, wait=False)
    assert again["accepted"] and again["seq"] == first_seq and not worker.take(0.05)
    other = client.ask("predict", id=identities[0], model="iris", rows=[[2]], durable=True, wait=False)
    assert other["error"]["code"] == "ALREADY_EXISTS"


def test_durable_answer_is_given_again_by_another_broker(context, broker):
    worker, client = Worker(context, broker, models=MODEL), Client(context, broker)
    client.send("predict", id="again" * 6, model="iris", rows=[[1]], durable=True)
    worker.echo(worker.work())
    first = client.receive()
    assert first["outputs"] == {"prediction": [[1]]}
    worker.vanish()
    broker.kill()
    broker.start()
    worker = Worker(context, broker, models=MODEL)
    assert Client(context, broker).ask("predict", id="again" * 6, model="iris", rows=[[1]], durable=True) == first
    assert not worker.take(0.05)


def test_training_is_adopted_after_a_killed_broker(context, broker):
    worker, client = Worker(context, broker, kind="trainer", window=1), Client(context, broker)
    train(client, "adopt" * 6)
    job = client.receive()["job"]
    item = worker.work()
    worker.beat(item)
    assert worker.expect("echo")
    train(client, "later" * 6)  # the journal writes in order: with this one acknowledged, the lease of the first is on disk
    assert client.receive()["ok"]
    broker.kill()
    broker.start()
    again = Worker(context, broker, kind="trainer", window=1, session=worker.session, held=[[item.epoch, item.delivery]])
    assert [list(lease) for lease in again.welcome["keep"]] == [[item.epoch, item.delivery]]
    again.result(item, {"model": "rose"})
    assert Client(context, broker).ask("job.wait", job=job)["state"] == "done"


def test_list_of_jobs_says_why_a_training_failed(context, broker):
    worker, client = Worker(context, broker, kind="trainer"), Client(context, broker)
    train(client, "why" * 8)
    worker.result(worker.work(), {"code": "INVALID_ARGUMENT", "message": "target: no such column", "retryable": False},
                  code="INVALID_ARGUMENT")
    assert client.receive()["job"]
    job, = until(lambda: client.ask("job.list", state="failed")["jobs"])
    assert job["error"]["message"] == "target: no such column" and job["error"]["code"] == "INVALID_ARGUMENT"


def test_many_subscriptions_at_once_are_all_heard(context, broker):
    """More than one look of the broker takes: nothing else has to happen for it to look again."""
    client, socket = Client(context, broker), context.socket(zmq.SUB)
    for i in range(1000):
        socket.subscribe(f"job/somebody-else/{i}")
    socket.connect(broker.endpoints["sink"])
    assert until(lambda: client.ask("status")["counters"]["sink_refused"] == 1000)
