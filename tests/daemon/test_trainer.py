"""The trainer beside a played broker: what a job leaves in the store, whatever happens to its lease, and the store's operations."""
import json
import signal
import tempfile
import time

import pytest

from helpers import ROOT, WAIT_S
from played_broker import EPOCH, STORE, TRAIN, PlayedBroker

DATA = ROOT / "examples/data"
IRIS = {"op": "train", "engine": "linear", "data": {"file": str(DATA / "iris.csv")}, "target": "species"}
LONG = {"op": "train", "engine": "mlp", "params": {"max_iter": 100000, "tol": 0.0}, "data": {"file": str(DATA / "california_housing.csv.gz")},
        "target": "median_house_value"}


@pytest.fixture
def broker():
    with tempfile.TemporaryDirectory(prefix="mmq-trainer-") as folder:
        played = PlayedBroker(folder)
        played.start("trainer", "--data", str(DATA))
        yield played
        played.close()


def versions(broker, model="m"):
    return sorted(path.name for path in (broker.store / "models/default" / model / "versions").glob("[0-9]*"))


def fitting(broker, delivery):
    return any(message["t"] == "progress" and message["delivery"] == delivery and message["info"]["phase"] == "fit" for message in broker.others)


def test_a_job_leaves_a_version_a_card_and_an_alias(broker):
    result, = broker.ask(TRAIN, IRIS)
    card = json.loads((broker.store / "models/default/m/versions/000001/card.json").read_text())
    assert result["code"] == "OK" and result["version"] == card["version"] == 1
    assert card["job"] == "%032x" % 1 and card["classes"] == ["setosa", "versicolor", "virginica"] and card["task"] == "multiclass"
    assert card["params"]["C"] == 1.0 and card["seed"] == 0 and card["sources"] and card["split"] and card["profile"] and card["schema"]
    assert result["answer"]["metrics"]["test"]["n"] == result["answer"]["rows"]["test"] == card["metrics"]["test"]["n"]
    assert sum(result["answer"]["rows"].values()) == 150
    catalogue = [message for message in broker.others if message["t"] == "catalogue"][-1]
    assert catalogue["models"] == [["default", "m", [1], {"production": 1}, 1]]
    assert list((broker.store / "tmp").iterdir()) == []


def test_the_same_request_gives_the_same_bytes(broker):
    broker.ask(TRAIN, IRIS)
    broker.ask(TRAIN, {**IRIS, "threads": 1})
    first, second = [(broker.store / f"models/default/m/versions/00000{k}/model.mmq").read_bytes() for k in (1, 2)]
    assert first == second


def test_a_second_attempt_of_a_job_makes_no_second_version(broker):
    first, = broker.ask(TRAIN, IRIS)
    broker.numbers.clear()  # the journal remembers what it granted to this job
    broker.delivery -= 1    # the same job's id once more
    delivery = broker.give(TRAIN, IRIS)[0]
    broker.results.pop(delivery)
    broker.until(lambda: delivery in broker.results)
    again = broker.results[delivery]
    assert (again["code"], again["version"]) == ("OK", first["version"]) and versions(broker) == ["000001"]


def test_a_number_of_another_job_is_left_to_it(broker):
    broker.ask(TRAIN, IRIS)
    broker.numbers.clear()  # a journal restored from yesterday grants the number again
    result, = broker.ask(TRAIN, IRIS)
    assert result["version"] == 2 and versions(broker) == ["000001", "000002"]


@pytest.mark.parametrize("code", ["CANCELLED", "DEADLINE_EXCEEDED"])
def test_cancel_is_heard_within_a_second_of_a_long_fit(broker, code):
    delivery, = broker.give(TRAIN, LONG)
    broker.until(lambda: fitting(broker, delivery))
    began = time.monotonic()
    broker.say("trainer", {"t": "cancel", "epoch": EPOCH, "delivery": delivery, "code": code})
    broker.until(lambda: delivery in broker.results)
    assert time.monotonic() - began < 1.0
    assert broker.results[delivery]["code"] == code and broker.results[delivery]["answer"]["code"] == code
    assert not (broker.store / "models/default/m/versions").exists()


def test_store_operations_are_served_during_a_fit(broker):
    delivery, = broker.give(TRAIN, LONG)
    broker.until(lambda: fitting(broker, delivery))
    began = time.monotonic()
    engines, = broker.ask(STORE, {"op": "engine.list"})
    assert time.monotonic() - began < 1.0 and {"mlp", "svm", "tree", "linear"} <= {engine["engine"] for engine in engines["answer"]["engines"]}
    broker.say("trainer", {"t": "cancel", "epoch": EPOCH, "delivery": delivery, "code": "CANCELLED"})
    broker.until(lambda: delivery in broker.results)


def test_a_lost_lease_is_given_up_without_an_answer(broker):
    delivery, = broker.give(TRAIN, LONG)
    broker.until(lambda: fitting(broker, delivery))
    broker.say("trainer", {"t": "cancel", "epoch": EPOCH, "delivery": delivery, "code": "UNAVAILABLE"})
    result, = broker.ask(STORE, {"op": "model.list"})
    assert result["code"] == "OK"
    # The next job can only begin when the compute thread has let go of this one.
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        following, = broker.give(TRAIN, IRIS)
        broker.until(lambda: following in broker.results or any(message["t"] == "return" for message in broker.others))
        if following in broker.results:
            break
        broker.others.clear()
    assert broker.results[following]["code"] == "OK" and delivery not in broker.results


def test_term_hands_a_training_back_at_once(broker):
    delivery, = broker.give(TRAIN, LONG)
    broker.until(lambda: fitting(broker, delivery))
    began = time.monotonic()
    broker.processes[0].send_signal(signal.SIGTERM)
    broker.until(lambda: broker.processes[0].poll() is not None)
    assert broker.processes[0].returncode == 0 and time.monotonic() - began < 2.0
    assert delivery not in broker.results or broker.results[delivery]["code"] == "UNAVAILABLE"


@pytest.mark.parametrize("change, code, field", [
    ({"data": {"file": "/etc/passwd"}}, "PERMISSION_DENIED", None),
    ({"data": {"file": str(DATA / "nothing.csv")}}, "NOT_FOUND", None),
    ({"target": "no_such"}, "INVALID_ARGUMENT", "target"),
    ({"engine": "no-such"}, None, "engine"),
    ({"params": {"no_such": 1}}, "INVALID_ARGUMENT", "params.no_such"),
    ({"task": "binary"}, "INVALID_ARGUMENT", None),
    ({"gates": {"accuracy": {"min": 1.1}}}, "FAILED_PRECONDITION", None),
])
def test_what_cannot_be_done_names_its_reason(broker, change, code, field):
    result, = broker.ask(TRAIN, {**IRIS, **change})
    assert result["code"] != "OK" and result["code"] == result["answer"]["code"] and result["answer"]["message"]
    assert code is None or result["code"] == code, result
    assert field is None or result["answer"]["field"] == field, result
    assert not (broker.store / "models/default/m/versions").exists()


def test_aliases_move_by_generation(broker):
    broker.ask(TRAIN, IRIS)
    broker.ask(TRAIN, IRIS)
    moved, = broker.ask(STORE, {"op": "model.alias", "alias": "canary", "version": 1, "id": "a" * 32})
    assert moved["code"] == "OK" and moved["answer"]["generation"] == 3
    late, = broker.ask(STORE, {"op": "model.alias", "alias": "canary", "version": 2, "expect": 2, "id": "b" * 32})
    assert late["code"] == "ALREADY_EXISTS" and late["answer"]["error"]["field"] == "expect"
    absent, = broker.ask(STORE, {"op": "model.alias", "alias": "canary", "version": 9, "id": "c" * 32})
    assert absent["code"] == "NOT_FOUND"
    shown, = broker.ask(STORE, {"op": "model.get"})
    assert {name: alias["version"] for name, alias in shown["answer"]["aliases"].items()} == {"production": 2, "canary": 1}
    removed, = broker.ask(STORE, {"op": "model.alias", "alias": "canary", "remove": True, "id": "d" * 32})
    assert removed["code"] == "OK"
    shown, = broker.ask(STORE, {"op": "model.get"})
    assert list(shown["answer"]["aliases"]) == ["production"]


def test_delete_spares_what_an_alias_points_at(broker):
    broker.ask(TRAIN, IRIS)
    broker.ask(TRAIN, IRIS)
    kept, = broker.ask(STORE, {"op": "model.delete", "version": 2, "id": "a" * 32})
    gone, = broker.ask(STORE, {"op": "model.delete", "version": 1, "id": "b" * 32})
    assert kept["code"] == "FAILED_PRECONDITION" and gone["answer"]["deleted"] == [1] and versions(broker) == ["000002"]
    listed, = broker.ask(STORE, {"op": "model.list"})
    assert [model["versions"] for model in listed["answer"]["models"]] == [[2]]
    everything, = broker.ask(STORE, {"op": "model.delete", "all": True, "id": "c" * 32})
    assert everything["code"] == "OK" and not (broker.store / "models/default/m").exists()
    listed, = broker.ask(STORE, {"op": "model.list"})
    assert listed["answer"]["models"] == []


def test_a_job_killed_in_mid_training_goes_on_and_ends_with_the_same_bits(broker):
    request = {"op": "train", "engine": "mlp", "params": {"max_iter": 60, "tol": 0.0, "n_iter_no_change": 1000, "hidden_layer_sizes": [64, 32]},
               "data": {"file": str(DATA / "california_housing.csv.gz")}, "target": "median_house_value", "threads": 1}
    broker.processes[0].terminate()
    assert broker.processes[0].wait(WAIT_S) == 0
    broker.routes.clear()
    trainer = broker.start("trainer", "--data", str(DATA), "--checkpoint-ms", "1")
    undisturbed, = broker.ask(TRAIN, request)
    assert undisturbed["code"] == "OK" and not list((broker.store / "jobs/default").iterdir())

    broker.others.clear()
    delivery, = broker.give(TRAIN, request)
    broker.until(lambda: any(message["t"] == "progress" and message["delivery"] == delivery and message.get("checkpoint", 0) >= 5
                             for message in broker.others))
    trainer.kill()
    trainer.wait(WAIT_S)
    assert delivery not in broker.results and (broker.store / "jobs/default" / ("%032x" % delivery) / "checkpoint.mmq").exists()

    broker.routes.clear()
    broker.start("trainer", "--data", str(DATA), "--checkpoint-ms", "1")
    broker.delivery -= 1    # the same job's id, another attempt
    broker.give(TRAIN, request)
    broker.until(lambda: delivery in broker.results)
    assert broker.results[delivery]["code"] == "OK"
    assert "resume=" in (broker.folder / "trainer.log").read_text()
    first, second = [(broker.store / f"models/default/m/versions/{number}/model.mmq").read_bytes() for number in versions(broker)]
    assert first == second
    assert not list((broker.store / "jobs/default").iterdir())
