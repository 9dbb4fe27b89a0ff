"""Bad requests: each gets its named error and costs nobody else anything. One table; after each row a good request works on the same and on
another connection, and no process was replaced."""
import math

import msgpack
import pytest
import sets
from client import new_id

IRIS = {"file": str(sets.DATA / "iris.csv")}
GOOD = {"op": "predict", "model": "iris", "rows": [[5.1, 3.5, 1.4, 0.2]]}
SMALL = {"rows": [[float(i), "ab"[i % 2]] for i in range(40)], "names": ["x", "y"]}


def deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


RAW = {
    "not msgpack": b"\xc1\xc1\xc1", "text": b"GET / HTTP/1.1\r\n\r\n", "empty frame with data": b"\x00", "a list": msgpack.packb([1, 2]),
    "truncated": msgpack.packb({"v": 1, **GOOD})[:-7], "33 deep": msgpack.packb({"v": 1, **GOOD, "rows": deep(33)}),
    "array of four billion": b"\x82\xa1v\x01\xa4rows\xdd\xff\xff\xff\xff", "map of four billion": b"\xdf\xff\xff\xff\xff",
    "trailing bytes": msgpack.packb({"v": 1, **GOOD}) + b"\x00", "a key twice": b"\x83\xa1v\x01\xa2op\xa4ping\xa2op\xa4ping",
    "no version of the protocol": msgpack.packb(GOOD), "another version of the protocol": msgpack.packb({"v": 2, **GOOD}),
}

P, T = "predict", "train"
TABLE = [  # (code, field or None, request)
    ("INVALID_ARGUMENT", "op", {"op": "no.such.op"}),
    ("INVALID_ARGUMENT", "priority", {**GOOD, "priority": 10}),
    ("INVALID_ARGUMENT", "priority", {**GOOD, "priority": 2.0}),
    ("INVALID_ARGUMENT", "deadline_ms", {**GOOD, "deadline_ms": "soon"}),
    ("DEADLINE_EXCEEDED", None, {**GOOD, "deadline_ms": 0}),
    ("INVALID_ARGUMENT", "model", {**GOOD, "model": "../x"}),
    ("INVALID_ARGUMENT", "model", {"op": P, "rows": [[1]]}),
    ("INVALID_ARGUMENT", "version", {**GOOD, "version": 0}),
    ("NOT_FOUND", None, {**GOOD, "model": "nobody"}),
    ("NOT_FOUND", None, {**GOOD, "version": 99}),
    ("NOT_FOUND", None, {**GOOD, "version": "staging"}),
    ("INVALID_ARGUMENT", None, {**GOOD, "rows": [[1, 2, 3]]}),
    ("INVALID_ARGUMENT", None, {**GOOD, "rows": [[1, 2, 3, 4, 5]]}),
    ("INVALID_ARGUMENT", "rows", {**GOOD, "rows": 7}),
    ("INVALID_ARGUMENT", None, {**GOOD, "rows": [[1, 2, 3, "four"]]}),
    ("INVALID_ARGUMENT", None, {**GOOD, "rows": [[1, 2, 3, True]]}),
    ("INVALID_ARGUMENT", None, {**GOOD, "rows": [[1, 2, 3, math.inf]]}),
    ("INVALID_ARGUMENT", None, {**GOOD, "rows": [[1, 2, 3, 2**53 + 1]]}),
    ("INVALID_ARGUMENT", None, {**GOOD, "rows": [{"sepal_length": 1, "sepal_width": 2, "petal_length": 3, "petal": 4}]}),
    ("INVALID_ARGUMENT", None, {**GOOD, "columns": {"sepal_length": [1]}}),
    ("INVALID_ARGUMENT", None, {"op": P, "model": "iris"}),
    ("INVALID_ARGUMENT", None, {"op": P, "model": "iris", "columns": {n: [1.0] * (1 + (n == "petal_width")) for n in sets.table("iris.csv")[0][:4]}}),
    ("INVALID_ARGUMENT", None, {"op": P, "model": "iris", "tensor": {"dtype": "f64", "shape": [1, 4], "data": b"short"}}),
    ("INVALID_ARGUMENT", None, {"op": P, "model": "iris", "tensor": {"dtype": "f8", "shape": [1, 4], "data": bytes(32)}}),
    ("INVALID_ARGUMENT", None, {"op": P, "model": "iris", "sparse": {"shape": [1, 4], "indptr": [0, 1], "indices": [4], "data": [1.0]}}),
    ("INVALID_ARGUMENT", "want", {**GOOD, "want": ["everything"]}),
    ("INVALID_ARGUMENT", None, {**GOOD, "want_options": {"interval_level": 2}, "want": ["interval"]}),
    ("INVALID_ARGUMENT", "row_ids", {**GOOD, "row_ids": [1, 2]}),
    ("NOT_FOUND", "engine", {"op": "engine.get", "engine": "oracle"}),
    ("NOT_FOUND", None, {"op": "job.get", "job": "0" * 32}),
    ("INVALID_ARGUMENT", "job", {"op": "job.get", "job": "x"}),
    ("NOT_FOUND", None, {"op": "model.get", "model": "nobody"}),
]
TRAINS = [  # the same for trainings: refused at once or failed as a job
    ("NOT_FOUND", "engine", {"engine": "oracle"}),
    ("INVALID_ARGUMENT", None, {"params": {"no_such": 1}}),
    ("INVALID_ARGUMENT", None, {"params": {"learning_rate": -1}}),
    ("INVALID_ARGUMENT", None, {"params": {"num_iterations": "many"}}),
    ("INVALID_ARGUMENT", None, {"params": {"num_iterations": 5, "n_estimators": 5}}),
    ("INVALID_ARGUMENT", "target", {"target": "no_such_column"}),
    ("INVALID_ARGUMENT", None, {"data": {"rows": [[1.0, "a"]] * 30, "names": ["x", "y"]}, "task": "classification"}),
    ("INVALID_ARGUMENT", None, {"data": {"rows": [], "names": ["x", "y"]}}),
    ("INVALID_ARGUMENT", None, {"data": {"rows": [[1.0, "a"], [2.0]], "names": ["x", "y"]}}),
    ("PERMISSION_DENIED", None, {"data": {"file": "/etc/passwd"}}),
    ("PERMISSION_DENIED", None, {"data": {"file": str(sets.DATA / ".." / ".." / "Makefile")}}),
    ("NOT_FOUND", None, {"data": {"file": str(sets.DATA / "no-such.csv")}}),
    ("INVALID_ARGUMENT", "id", {"id": None}),
    ("INVALID_ARGUMENT", None, {"split": {"kind": "sideways"}}),
    ("INVALID_ARGUMENT", None, {"split": {"test": 1.5}}),
]


@pytest.fixture
def unharmed(service, client):
    """Yields the client; then both it and another one are served and the processes are those of before."""
    if "iris" not in [one["model"] for one in client.good(op="model.list")["models"]]:
        client.train(model="iris", engine="tree", params={"num_iterations": 10}, data=IRIS, target="species")
    before = service.pids()
    yield client
    other = service.client()
    for one in (client, other):
        assert one.good(**GOOD)["outputs"]["prediction"] == ["setosa"]
    other.close()
    service.clients.remove(other)
    assert service.pids() == before


@pytest.mark.parametrize("name", RAW)
def test_unreadable_bytes_are_answered(unharmed, name):
    answer = unharmed.raw([RAW[name]])
    assert not answer["ok"] and answer["error"]["code"] == "INVALID_ARGUMENT" and answer["id"] is None


@pytest.mark.parametrize("row", range(len(TABLE)))
def test_a_bad_request_is_refused_by_name(unharmed, row):
    code, field, request = TABLE[row]
    unharmed.refused(code, field, **request)


@pytest.mark.parametrize("row", range(len(TRAINS)))
def test_a_bad_training_is_refused_or_fails_by_name(unharmed, row):
    code, field, keys = TRAINS[row]
    request = {"op": T, "id": new_id(), "model": "bad", "data": SMALL, "target": "y", **keys}
    if request["id"] is None:
        del request["id"]
        answer = unharmed.raw([msgpack.packb({"v": 1, **request})])
    else:
        answer = unharmed.ask(**request)
    error = answer.get("error")
    if answer["ok"]:
        job = unharmed.wait(answer["job"])
        assert job["state"] == "failed", job
        error = job["error"]
    assert error["code"] == code and (field is None or error.get("field") == field), error


def test_wrong_ids_are_answered_without_one(unharmed):
    for id in (7, "", "x" * 65, b"short", ["a"]):
        answer = unharmed.raw([msgpack.packb({"v": 1, "op": "ping", "id": id})])
        assert answer["id"] is None and answer["error"]["field"] == "id"


def test_an_oversized_frame_costs_only_its_connection(service, unharmed):
    """Above 4 MiB the frame is not taken; whoever sent it may be cut off, nobody else is."""
    big = service.client()
    big.send(**{**GOOD, "trace": "x" * (5 << 20)})
    assert unharmed.good(**GOOD)["ok"]
