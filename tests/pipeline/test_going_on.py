"""Trainings that go on from a published version, and trainings without a target, for each engine that says it can."""
import pytest
import service as services
from client import Refused

IRIS = [line.split(",") for line in (services.DATA / "iris.csv").read_text().split()[1:]]
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width", "species"]
ROWS = [[float(cell) for cell in line[:4]] + line[4:] for line in IRIS]


@pytest.fixture(scope="module")
def client(service):
    return service.client()


@pytest.fixture(scope="module")
def engines(client):
    return {one["engine"]: one for one in client.good(op="engine.list")["engines"]}


def data(rows, names=NAMES):
    return {"rows": rows, "names": names}


def train(client, rows, names=NAMES, **more):
    return client.train(**{"model": "going", "data": data(rows, names), "target": "species", "split": {"test": 0.2, "seed": 1}, **more})


def test_each_engine_goes_on_or_says_that_it_cannot(client, engines):
    for name, engine in engines.items():
        first = train(client, ROWS[::2], engine=name)
        if "warm_start" not in engine["can"]:
            with pytest.raises(Refused) as refused:
                train(client, ROWS[1::2], warm_start={"model": "going", "version": first["version"]})
            assert refused.value.code == "FAILED_PRECONDITION" and name in refused.value.error["message"]
            continue
        second = train(client, ROWS[1::2], warm_start={"model": "going", "version": first["version"]})
        assert second["engine"] == name and second["parent"] == {"model": "going", "version": first["version"]}
        assert second["classes"] == first["classes"]
        assert client.good(op="model.get", model="going")["card"]["parent"] == second["parent"]
        labels = client.predict("going", rows=[row[:4] for row in ROWS])["prediction"]
        assert sum(label == row[4] for label, row in zip(labels, ROWS)) >= 140


def warm(client, engines):
    """A model of an engine that can go on; None while none can."""
    able = [name for name, engine in engines.items() if "warm_start" in engine["can"]]
    if not able:
        pytest.skip("no engine goes on from its models")
    train(client, ROWS, engine=able[0], model="base")
    return {"model": "base"}


def test_rows_that_do_not_fit_are_refused_by_name(client, engines):
    start = warm(client, engines)
    wrong = {
        "a class that was never seen": (dict(rows=[[*ROWS[0][:4], "unheard"], *ROWS]), "species"),
        "a column that is gone": (dict(rows=[row[1:] for row in ROWS], names=NAMES[1:]), "sepal_length"),
        "text for numbers": (dict(rows=[["wide", *row[1:]] for row in ROWS]), "sepal_length"),
        "another task": (dict(rows=ROWS, task="regression"), "task"),
        "another engine": (dict(rows=ROWS, engine=[name for name in engines if "warm_start" not in engines[name]["can"]][0]
                           if any("warm_start" not in one["can"] for one in engines.values()) else "unheard"), "engine"),
        "a schema of its own": (dict(rows=ROWS, schema={"sepal_width": {"kind": "categorical"}}), "sepal_width"),
    }
    for name, (how, says) in wrong.items():
        with pytest.raises(Refused) as refused:
            train(client, warm_start=start, **how)
        assert refused.value.code in ("INVALID_ARGUMENT", "NOT_FOUND"), name
        assert says in str(refused.value), name


def test_a_start_that_is_not_there_is_not_found(client):
    for start in ({"model": "nobody"}, {"model": "nobody", "version": 3}, {"model": "nobody", "version": "production"}):
        with pytest.raises(Refused) as refused:
            train(client, ROWS, warm_start=start)
        assert refused.value.code == "NOT_FOUND" and "warm_start" in refused.value.error["field"]


def test_columns_that_came_later_are_passed_over_with_a_warning(client, engines):
    start = warm(client, engines)
    result = train(client, [[*row[:4], 1.5, row[4]] for row in ROWS], [*NAMES[:4], "later", "species"], warm_start=start)
    assert any("later" in warning for warning in result["warnings"])
    assert len(client.good(op="model.get", model="going")["inputs"]) == 4


def test_one_class_learns_without_a_target(client, engines):
    rows = [row[:4] for row in ROWS if row[4] == "setosa"]
    for name, engine in engines.items():
        if "one_class" not in engine["tasks"]:
            with pytest.raises(Refused) as refused:
                client.train(model="usual", engine=name, data=data(rows, NAMES[:4]), task="one_class")
            assert refused.value.code == "FAILED_PRECONDITION" and name in refused.value.error["message"]
            continue
        result = client.train(model="usual", engine=name, data=data(rows, NAMES[:4]), task="one_class", split={"test": 0.2, "seed": 1})
        assert result["task"] == "one_class" and result["classes"] == [-1, 1]
        assert 0 <= result["metrics"]["test"]["inside"] <= 1 and result["metrics"]["test"]["n"] == result["rows"]["test"] > 0
        outputs = client.predict("usual", rows=[*rows, [50.0, -50.0, 50.0, -50.0]], want=["prediction", "score"])
        assert outputs["prediction"][-1] == -1 and outputs["prediction"].count(1) >= 20
        assert [1 if score > 0 else -1 for score in outputs["score"]] == outputs["prediction"]


def test_one_class_refuses_a_target_and_class_weights(client):
    for more in ({"target": "species"}, {"class_weight": "balanced"}):
        with pytest.raises(Refused) as refused:
            client.train(model="usual", data=data(ROWS), task="one_class", schema={"species": {"kind": "ignore"}}, **more)
        assert refused.value.code == "INVALID_ARGUMENT" and refused.value.error["field"] in ("target", "class_weight")
