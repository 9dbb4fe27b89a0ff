"""Real broker, trainers and predictors, killed, stopped and cut off at bad moments. Numbers are the cases of tests/FAULTS.md."""
import hashlib
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from helpers import Broker, Client, binary, until
from processes import DATA, Service, Wire

SLOW = {"engine": "mlp", "params": {"max_iter": 60, "tol": 0.0}, "data": {"file": str(DATA / "california_housing.csv.gz")},
        "target": "median_house_value"}
LONG = {**SLOW, "params": {"max_iter": 100000, "tol": 0.0}}
ROW = [[5.1, 3.5, 1.4, 0.2]]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def columns_alike(service, one, other):
    """The two published models answer bit by bit alike."""
    rows = [[-120.0 + i / 10, 36.0, 20.0 + i, 900.0, 200.0 + i, 400.0, 150.0, 3.0 + i / 7, "INLAND"] for i in range(20)]
    answers = [service.client.ask("predict", model=name, rows=rows, reply_format="tensor", id="same") for name in (one, other)]
    assert all(answer["ok"] for answer in answers), answers
    return answers[0]["outputs"] == answers[1]["outputs"]


def test_01_a_killed_training_is_done_again_with_the_same_bits(service):
    service.start(trainers=1, predictors=1)
    job = service.train("disturbed", **SLOW)
    service.until_phase(job)
    service.kill("trainer")
    service.worker("trainer", "--data", str(DATA))
    done = service.wait(job, 60)
    assert done["state"] == "done" and done["attempt"] == 2
    assert service.versions("disturbed") == ["000001"]
    service.trained("calm", **SLOW)
    assert columns_alike(service, "disturbed", "calm")


@pytest.mark.parametrize("fit", [{"engine": "mlp", "params": {"max_iter": 200, "tol": 0.0}},
                                 {"engine": "tree", "params": {"num_iterations": 1500, "bagging_fraction": 0.8, "bagging_freq": 2}}], ids=["mlp", "tree"])
def test_02_a_training_killed_between_checkpoints_goes_on_from_the_last_with_the_same_bits(service, fit):
    service.start(predictors=1)
    often = ("--data", str(DATA), "--checkpoint-ms", "20")
    service.worker("trainer", *often)
    service.whole(1, 1)
    job = service.train("resumed", **{**SLOW, **fit})
    folder = service.home / "store/jobs/default" / job
    assert until(lambda: service.state(job) and (folder / "checkpoint.mmq").exists())
    service.kill("trainer")
    assert service.versions("resumed") == []
    service.worker("trainer", *often)
    done = service.wait(job, 60)
    assert done["state"] == "done" and done["attempt"] == 2
    assert re.search(rf"event=checkpoint job={job} resume=[1-9]", (service.home.parent / "trainer.log").read_text())
    service.trained("whole", **{**SLOW, **fit})
    assert columns_alike(service, "resumed", "whole")
    assert not folder.exists()      # what is no longer needed is gone


def test_03_nothing_is_visible_of_a_half_written_version_and_its_pieces_go(service):
    service.start(trainers=1)
    job = service.train("m", **LONG)
    service.until_phase(job)
    service.kill("trainer")
    rest = service.home / "store/tmp/0123456789abcdef0123456789abcdef-7"  # when no trainer is there that would clean
    rest.mkdir(parents=True)
    (rest / "model.mmq").write_bytes(b"half")
    assert service.versions("m") == []
    service.worker("trainer", "--data", str(DATA))
    service.client.ask("job.cancel", job=job)
    service.trained("n")
    assert service.versions("n") == ["000001"]
    assert until(lambda: not rest.exists())


def test_05_a_killed_predictor_loses_no_request_of_its_batches(service):
    service.start(trainers=1, predictors=2)
    service.trained("iris")
    asked, answered = set(), []
    for killed in range(2):
        for _ in range(1500):
            asked.add(service.client.send("predict", model="iris", rows=ROW * 20))
        service.kill("predictor")
        service.worker("predictor")
    while len(answered) < len(asked):
        answer = service.client.receive(20)
        assert answer["ok"], answer
        answered.append(answer["id"])
    assert len(set(answered)) == len(answered) and set(answered) == asked
    assert service.client.is_silent()


def test_06_a_killed_broker_completes_what_it_accepted_each_once(service):
    service.start(trainers=1, predictors=1)
    service.trained("iris")
    identities = [f"durable-{i:024d}" for i in range(300)]
    for identity in identities:
        service.client.send("predict", id=identity, model="iris", rows=ROW, durable=True, wait=False)
    accepted = set()
    while len(accepted) < 150:
        accepted.add(service.client.receive()["id"])
    service.broker.kill()
    while service.client.socket.poll(0):
        accepted.add(service.client.receive()["id"])
    service.broker.start()
    client = service.client = Client(service.context, service.broker)

    def outcomes():
        found, since = [], 0
        while True:
            page = client.ask("results", prefix="result/default/iris", since=since, limit=1000)
            found += [entry["message"]["id"] for entry in page["results"]]
            if "next" not in page:
                return found
            since = page["next"]
    found = until(lambda: (lambda now: now if accepted <= set(now) else None)(outcomes()), 20)
    assert found and len(found) == len(set(found))


def test_07_kill_between_commit_and_answer_gives_one_result_for_the_retried_id(service):
    service.start(trainers=1, predictors=1)
    service.trained("iris")
    for turn in range(5):
        identity = f"retried-{turn:024d}"
        service.client.send("predict", id=identity, model="iris", rows=ROW, durable=True)
        service.client.socket.poll(turn)   # 0 to 4 ms: before, in and after the commit
        service.broker.kill()
        service.broker.start()
        client = service.client = Client(service.context, service.broker)

        def again():
            answer = client.ask("predict", id=identity, model="iris", rows=ROW, durable=True)
            return answer if answer["ok"] or answer["error"]["code"] != "UNAVAILABLE" else None
        assert until(again)["ok"]
        results = client.ask("results", prefix="result/", limit=1000)["results"]
        assert [entry["message"]["id"] for entry in results].count(identity) <= 1
        assert client.ask("predict", id=identity, model="iris", rows=ROW, durable=True)["ok"]


def test_09_a_stopped_trainer_comes_back_too_late_to_publish(service):
    service.start(trainers=1)
    job = service.train("m", **SLOW)
    service.until_phase(job)
    stopped = service.kill("trainer", signal.SIGSTOP)
    service.worker("trainer", "--data", str(DATA))
    done = service.wait(job, 60)
    assert done["state"] == "done" and done["attempt"] == 2
    before = digest(service.file_of("m"))
    stopped.send_signal(signal.SIGCONT)
    service.whole(2, 0)     # it has heard that its lease is gone and works on
    assert service.versions("m") == ["000001"] and digest(service.file_of("m")) == before
    assert service.state(job)["attempt"] == 2 and service.trained("n")["attempt"] == 1


def test_13_a_training_that_takes_its_trainers_along_is_given_up(service):
    """As the killer of processes that use too much memory does: it never comes back, the trainer's next work does."""
    service.start(trainers=1)
    job = service.train("m", **LONG)
    for attempt in range(1, 4):
        assert until(lambda: service.state(job).get("attempt") == attempt and service.until_phase(job))
        service.kill("trainer")
        service.worker("trainer", "--data", str(DATA))
    done = service.wait(job)
    assert done["state"] == "failed" and done["error"]["code"] == "INTERNAL" and done["attempt"] == 3
    assert service.trained("n")["state"] == "done"


def test_13_memory_beyond_the_plan_is_refused_by_name(service):
    service.broker.start()
    service.client = Client(service.context, service.broker)
    service.worker("trainer", "--data", str(DATA), "--memory", "1M")
    service.whole(1, 0)
    done = service.wait(service.train("m", engine="tree", data={"file": str(DATA / "california_housing.csv.gz")}, target="median_house_value"))
    assert done["state"] == "failed" and done["error"]["code"] == "RESOURCE_EXHAUSTED" and "the limit is 1 MiB" in done["error"]["message"]
    assert done["attempt"] == 1


def test_14_a_worker_that_dies_at_its_start_is_restarted_ever_more_slowly(home, context):
    folder = home.parent / "bin"
    folder.mkdir()
    for name in ("modelmq", "modelmq-broker", "modelmq-predictor"):
        shutil.copy(binary(name), folder / name)
    (folder / "modelmq-trainer").write_text("#!/bin/sh\nexit 1\n")
    (folder / "modelmq-trainer").chmod(0o755)
    log = home.parent / "up.log"
    with open(log, "wb") as out:
        up = subprocess.Popen([folder / "modelmq", "up", "--home", home, "--predictors", "1"], stdout=out, stderr=out)
    try:
        assert until(lambda: len(re.findall(r"starting it again in ([0-9.]+) s", log.read_text())) >= 4), log.read_text()
        waits = [float(text) for text in re.findall(r"starting it again in ([0-9.]+) s", log.read_text())]
        assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
        broker = Broker(home)
        broker.endpoints = dict(line.split("=", 1) for line in (home / "endpoints").read_text().split())
        status = Client(context, broker).ask("status")
        assert status["health"] in ("degraded", "not ready") and "no trainer is connected" in status["reasons"]
    finally:
        up.terminate()
        up.wait(20)


def test_15_workers_that_are_told_to_leave_lose_nothing(service):
    service.start(trainers=1, predictors=2)
    service.trained("iris")
    asked = {service.client.send("predict", model="iris", rows=ROW * 10) for _ in range(2000)}
    leaving = service.kill("predictor", signal.SIGTERM)
    answers = [service.client.receive(20) for _ in asked]
    assert {answer["id"] for answer in answers} == asked and all(answer["ok"] for answer in answers)
    assert leaving.wait(10) == 0
    counters = service.client.ask("status")["counters"]
    assert counters["strikes"] == 0 and counters["suspects"] == 0


def test_29_deadlines_are_answered_in_time_while_the_only_predictor_hangs(service):
    service.start(trainers=1, predictors=1)
    service.trained("iris")
    hung = service.kill("predictor", signal.SIGSTOP)
    due = {}
    for i in range(100):
        identity = service.client.send("predict", model="iris", rows=ROW, deadline_ms=30 + i)
        due[identity] = time.monotonic() * 1000 + 30 + i
    late = []
    for _ in range(100):
        answer = service.client.receive()
        late.append(time.monotonic() * 1000 - due[answer["id"]])
        assert answer["error"]["code"] == "DEADLINE_EXCEEDED"
    hung.send_signal(signal.SIGCONT)
    late.sort()
    assert late[0] > -2 and late[94] < 10, late[-10:]
    assert service.client.ask("predict", model="iris", rows=ROW)["ok"] and service.client.is_silent()


@pytest.mark.parametrize("phase", ["fit"])
def test_62_a_partition_that_heals_publishes_once(home, context, phase):
    """As soon as another trainer has done it, or after MMQ_PARTITION_SECONDS."""
    broker = Broker(home, "--lease-ms", "800", "--heartbeat-ms", "200", "--adoption-ms", "300", "--work", "tcp://127.0.0.1:*")
    service = Service(home, context)
    service.broker = broker
    broker.start()
    service.client = Client(context, broker)
    wire = Wire(broker.endpoints["work"])
    try:
        service.worker("trainer", "--data", str(DATA), "--work", wire.endpoint)
        service.whole(1, 0)
        job = service.train("m", **SLOW)
        service.until_phase(job, phase)
        wire.flows.clear()
        cut_at = time.monotonic()
        service.worker("trainer", "--data", str(DATA))
        done = service.wait(job, 60)
        assert done["state"] == "done" and done["attempt"] == 2 and done["version"] == 1
        before = digest(service.file_of("m"))
        heals_at = cut_at + float(os.environ.get("MMQ_PARTITION_SECONDS", "0"))
        until(lambda: service.client.ask("ping") and time.monotonic() >= heals_at, max(0, heals_at - time.monotonic()))
        wire.flows.set()
        service.whole(2, 0)
        assert service.versions("m") == ["000001"] and digest(service.file_of("m")) == before
        assert service.state(job)["attempt"] == 2
    finally:
        wire.close()
        service.close()
