"""The predictor beside a played broker: one call for many requests, and whatever goes wrong with one costs nobody else anything."""
import os
import pathlib
import signal
import tempfile

import msgpack
import pytest

from helpers import ROOT, WAIT_S
from played_broker import EPOCH, PREDICT, STORE, TRAIN, PlayedBroker

IRIS = str(ROOT / "examples/data/iris.csv")
ROW = [5.1, 3.5, 1.4, 0.2]


@pytest.fixture
def broker():
    with tempfile.TemporaryDirectory(prefix="mmq-predictor-") as folder:
        played = PlayedBroker(folder)
        played.start("trainer", "--data", str(pathlib.Path(IRIS).parent))
        played.start("predictor")
        yield played
        played.close()


def train(broker, engine="linear", model="m", **keys):
    result, = broker.ask(TRAIN, {"op": "train", "engine": engine, "data": {"file": IRIS}, "target": "species", **keys}, model=model)
    assert result["code"] == "OK", result
    return result["version"]


def predict(rows, **keys):
    return {"op": "predict", "rows": rows, **keys}


def model_file(broker, model, version):
    return broker.store / "models/default" / model / "versions" / f"{version:06d}" / "model.mmq"


def test_joined_requests_answer_as_alone(broker):
    version = train(broker)
    rows = [[5 + i / 100, 3, 1 + i / 20, 0.2 + i / 60] for i in range(100)]
    want = ["prediction", "probability", "score"]
    alone = [broker.ask(PREDICT, predict([row], want=want), version=version)[0]["answer"]["outputs"] for row in rows[::10]]
    joined = broker.ask(PREDICT, *[predict([row], want=want) for row in rows[::10]], version=version)
    whole, = broker.ask(PREDICT, predict(rows, want=want), version=version)
    outputs = whole["answer"]["outputs"]
    for i, (one, answer) in enumerate(zip(alone, joined)):
        assert answer["answer"]["outputs"]["prediction"] == one["prediction"] == outputs["prediction"][i * 10:i * 10 + 1]
        for name in ("probability", "score"):
            assert answer["answer"]["outputs"][name][0] == pytest.approx(one[name][0], rel=1e-12)
            assert outputs[name][i * 10] == pytest.approx(one[name][0], rel=1e-12)
    assert len(set(outputs["prediction"])) == 3


def test_a_large_request_takes_turns_and_lets_others_through(broker):
    version = train(broker, engine="svm")
    rows = [[5 + i % 97 / 100, 3, 1 + i % 89 / 20, 0.2] for i in range(40000)]
    large, = broker.give(PREDICT, predict(rows, want=["prediction", "score"]), version=version)
    small, = broker.give(PREDICT, predict([ROW]), version=version)
    broker.until(lambda: large in broker.results and small in broker.results)
    answer = broker.results[large]["answer"]
    assert answer["rows"] == 40000 and len(answer["outputs"]["prediction"]) == 40000
    for i in (0, 20001, 39999):
        one, = broker.ask(PREDICT, predict([rows[i]], want=["prediction", "score"]), version=version)
        assert one["answer"]["outputs"]["prediction"] == answer["outputs"]["prediction"][i:i + 1]
        assert one["answer"]["outputs"]["score"][0] == pytest.approx(answer["outputs"]["score"][i], rel=1e-9)


def test_bad_requests_cost_their_neighbours_nothing(broker):
    version = train(broker)
    bad = [predict([["x", 1, 1, 1]]), predict([[1, 2, 3]]), predict([]), {"op": "predict"}, predict([ROW], want=["leaf"]), predict([ROW], want=["nothing"]),
           predict([ROW], row_ids=["a", "b"])]
    requests = [request for pair in zip([predict([ROW])] * len(bad), bad) for request in pair]
    results = broker.ask(PREDICT, *requests, version=version)
    for good, wrong in zip(results[::2], results[1::2]):
        assert good["code"] == "OK" and good["answer"]["outputs"]["prediction"] == ["setosa"]
        assert wrong["code"] in ("OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION")
        assert wrong["answer"]["ok"] == (wrong["code"] == "OK") and wrong["flags"] == 0
    assert [result["code"] for result in results[1::2]][0:2] == ["INVALID_ARGUMENT"] * 2
    assert results[-5]["code"] == "FAILED_PRECONDITION" and results[-5]["answer"]["error"]["field"] == "want"


def test_row_errors_are_reported_by_row(broker):
    version = train(broker)
    rows = [ROW, ["x", 1, 1, 1], ROW, [1, None, 1, 1]]
    one, = broker.ask(PREDICT, predict(rows, on_row_error="report"), version=version)
    assert one["answer"]["outputs"]["prediction"][0] == one["answer"]["outputs"]["prediction"][2] == "setosa"
    assert one["answer"]["outputs"]["prediction"][1] is None
    assert [error["row"] for error in one["answer"]["row_errors"]] == [1]


def test_payloads_and_tensors_answer_alike(broker):
    version = train(broker)
    header = "sepal_length,sepal_width,petal_length,petal_width"
    names = [column["name"] for column in broker.ask(STORE, {"op": "model.get"}, version=version)[0]["answer"]["inputs"]]
    csv = (",".join(names) + "\n" + ",".join(map(str, ROW)) + "\n").encode()
    tensor = {"dtype": "f64", "shape": [1, 4], "data": b"".join(__import__("struct").pack("<d", value) for value in ROW)}
    by_rows, by_tensor = broker.ask(PREDICT, predict([ROW]), {"op": "predict", "tensor": tensor}, version=version)
    by_csv, = broker.ask(PREDICT, {"op": "predict", "payload": "csv"}, version=version, payload=csv)
    by_msgpack, = broker.ask(PREDICT, {"op": "predict", "payload": "msgpack"}, version=version, payload=msgpack.packb({"rows": [ROW]}))
    assert len(names) == 4 and header.count(",") == 3
    for result in (by_rows, by_tensor, by_csv, by_msgpack):
        assert result["answer"]["outputs"]["prediction"] == ["setosa"], result


def test_a_missing_version_is_not_found_and_asked_for_again(broker):
    version = train(broker)
    for _ in range(2):
        result, = broker.ask(PREDICT, predict([ROW]), version=version + 7)
        assert result["code"] == "NOT_FOUND" and result["answer"]["id"].startswith("r")
    train(broker)


def test_a_damaged_file_is_data_loss_at_the_models_door(broker):
    version = train(broker)
    path = model_file(broker, "m", version)
    bytes_ = bytearray(path.read_bytes())
    bytes_[-70] ^= 1
    path.unlink()
    path.write_bytes(bytes_)
    result, = broker.ask(PREDICT, predict([ROW]), version=version)
    assert result["code"] == "DATA_LOSS" and result["flags"] == 1
    assert any(message["t"] == "loaded" and message["code"] == "DATA_LOSS" for message in broker.others)


def test_a_file_cut_short_under_the_engine_is_data_loss_not_a_wrong_answer(broker):
    # Large enough that its tail is not on the pages that were just read: an svm keeps its support vectors in the map or in memory of its own.
    version = train(broker, engine="tree", params={"num_iterations": 400, "min_data_in_leaf": 1})
    first, = broker.ask(PREDICT, predict([ROW]), version=version)
    assert first["code"] == "OK"
    path = model_file(broker, "m", version)
    path.chmod(0o644)
    os.truncate(path, 4096)
    result, = broker.ask(PREDICT, predict([ROW]), version=version)
    if result["code"] == "OK":  # the engine had copied what it needs
        assert result["answer"]["outputs"] == first["answer"]["outputs"]
    else:
        assert result["code"] == "DATA_LOSS" and result["flags"] == 1
        assert broker.processes[1].wait(WAIT_S) == 1


def test_late_requests_are_dropped_by_name(broker):
    version = train(broker)
    result, = broker.ask(PREDICT, predict([ROW]), version=version, ms_left=0)
    assert result["code"] == "DEADLINE_EXCEEDED"


def test_cancel_while_waiting_is_answered(broker):
    version = train(broker, engine="svm")
    rows = [[5 + i % 97 / 100, 3, 1 + i % 89 / 20, 0.2] for i in range(60000)]
    large, = broker.give(PREDICT, predict(rows), version=version)
    broker.say("predictor", {"t": "cancel", "epoch": EPOCH, "delivery": large, "code": "CANCELLED"})
    broker.until(lambda: large in broker.results)
    assert broker.results[large]["code"] in ("CANCELLED", "OK")
    result, = broker.ask(PREDICT, predict([ROW]), version=version)
    assert result["code"] == "OK"


def test_load_warms_and_says_so(broker):
    version = train(broker)
    for number, code in ((version, "OK"), (version + 9, "NOT_FOUND")):
        broker.others.clear()
        broker.say("predictor", {"t": "load", "tenant": "default", "model": "m", "version": number})
        broker.until(lambda: any(message["t"] == "loaded" for message in broker.others))
        loaded, = [message for message in broker.others if message["t"] == "loaded"]
        assert (loaded["version"], loaded["code"]) == (number, code)


def test_term_finishes_what_is_held(broker):
    version = train(broker, engine="svm")
    broker.ask(PREDICT, predict([ROW]), version=version)
    rows = [[5 + i % 97 / 100, 3, 1 + i % 89 / 20, 0.2] for i in range(20000)]
    held = broker.give(PREDICT, predict(rows), predict([ROW]), version=version)
    broker.until(lambda: held[1] in broker.results)
    broker.processes[1].send_signal(signal.SIGTERM)
    broker.until(lambda: held[0] in broker.results)
    assert broker.results[held[0]]["code"] == "OK"
    assert broker.processes[1].wait(WAIT_S) == 0
