"""What a request may ask for beyond its values: how rows are cut, weighed and judged in training, and how a prediction is answered."""
import math

import pytest
import service as services

IRIS = str(services.DATA / "iris.csv")
ROW = [5.1, 3.5, 1.4, 0.2]
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


@pytest.fixture(scope="module")
def client(service):
    return service.client()


def train(client, **more):
    return client.train(**{"model": "options", "engine": "tree", "data": {"file": IRIS}, "target": "species", **more})


def rows_of(result):
    return result["rows"]["train"], result["rows"].get("valid", 0), result["rows"]["test"]


# split: rows for train, valid, test of iris' 150
SPLITS = {
    "modulo": ({"kind": "modulo"}, (120, 0, 30)),
    "modulo of 3": ({"kind": "modulo", "modulo": 3}, (100, 0, 50)),
    "head": ({"kind": "head", "rows": 100}, (100, 0, 50)),
    "none held out": ({"test": 0, "valid": 0}, (150, 0, 0)),
    "valid as well": ({"kind": "modulo", "valid": 0.2}, (90, 30, 30)),
    "folds": ({"kind": "folds", "folds": 5}, (150, 0, 150)),
    "refit": ({"kind": "modulo", "refit": True}, (150, 0, 30)),
}


@pytest.mark.parametrize("name", SPLITS)
def test_rows_are_cut_as_asked(client, name):
    split, counts = SPLITS[name]
    if name == "head":  # iris is sorted by class: the head alone has two of three
        result = train(client, split=split, data={"file": str(services.DATA / "diabetes.csv")}, target="progression", model="head")
        assert rows_of(result) == (100, 0, 342)
    else:
        result = train(client, split=split)
        assert rows_of(result) == counts
    metrics = result["metrics"]["test" if result["rows"]["test"] else "train"]
    assert metrics["n"] == (result["rows"]["test"] or result["rows"]["train"])
    assert not math.isnan(metrics["accuracy" if "accuracy" in metrics else "rmse"])


def test_a_split_by_column_is_no_feature(client):
    lines = [[float(i % 7), "ab"[i % 2], "train" if i % 4 else "test"] for i in range(80)]
    data = {"rows": lines, "names": ["x", "y", "part"]}
    result = train(client, data=data, target="y", split={"kind": "column", "column": "part"}, model="parted")
    assert rows_of(result) == (60, 0, 20)
    assert [one["name"] for one in client.good(op="model.get", model="parted")["inputs"]] == ["x"]


def test_a_class_that_weighs_more_is_predicted_more(client):
    lines = [[float(i % 10), "rare" if i % 10 == 0 else "common"] for i in range(200)] + [[0.0, "common"]] * 60
    data = {"rows": lines, "names": ["x", "y"]}
    share = {}
    for name, weight in {"as it is": None, "balanced": "balanced", "by hand": {"rare": 50.0}}.items():
        more = {"class_weight": weight} if weight else {}
        train(client, model="weighed", engine="linear", data=data, target="y", split={"test": 0, "valid": 0}, **more)
        answers = client.predict("weighed", rows=[line[:1] for line in lines])["prediction"]
        share[name] = answers.count("rare")
    assert share["as it is"] < share["balanced"] and share["as it is"] < share["by hand"]


def test_a_row_of_weight_two_is_a_row_twice(client):
    base = [[0.1 * i, 0.3 * i + (i % 3)] for i in range(20)]
    weighed = {"rows": [[*line, 2.0 if i < 10 else 1.0] for i, line in enumerate(base)], "names": ["x", "y", "w"]}
    twice = {"rows": base[:10] + base, "names": ["x", "y"]}
    common = dict(engine="linear", target="y", task="regression", split={"test": 0, "valid": 0})
    train(client, model="weighed-rows", data=weighed, schema={"w": {"role": "weight"}}, **common)
    train(client, model="rows-twice", data=twice, **common)
    ask = [[0.5], [1.5], [3.0]]
    one, other = (client.predict(model, rows=ask)["prediction"] for model in ("weighed-rows", "rows-twice"))
    assert one == pytest.approx(other, rel=0.05)


def test_schema_overrides_hold_and_are_kept(client):
    train(client, model="kinds", schema={"sepal_width": {"kind": "ignore"}, "petal_width": {"kind": "categorical"}})
    inputs = {one["name"]: one for one in client.good(op="model.get", model="kinds")["inputs"]}
    assert set(inputs) == {"sepal_length", "petal_length", "petal_width"}
    assert inputs["petal_width"]["kind"] == "categorical"
    assert client.predict("kinds", rows=[dict(sepal_length=5.1, petal_length=1.4, petal_width=0.2)])["prediction"] == ["setosa"]


def test_a_gate_that_holds_lets_the_version_through(client):
    result = train(client, gates={"accuracy": {"min": 0.5}}, split={"kind": "modulo"})
    assert result["gates"][0]["passed"] and result["gates"][0]["metric"] == "accuracy"


def test_the_same_seed_gives_the_same_model_for_any_number_of_threads(client):
    answers = []
    for threads in (1, 2, 2):
        train(client, model="seeded", params={"boosting": "rf", "n_estimators": 10}, seed=7, threads=threads)
        answers.append(client.predict("seeded", rows=[[4 + 0.1 * i, 3, 0.15 * i, 0.05 * i] for i in range(40)], want=["probability"]))
    assert answers[0] == answers[1] == answers[2]


def test_the_card_says_where_a_model_comes_from(client):
    result = train(client, model="carded", seed=3, description="for the test", split={"kind": "modulo"})
    card = client.good(op="model.get", model="carded", version=result["version"])["card"]
    for key in ("schema", "params", "metrics", "seed", "sources", "profile", "split", "job", "created", "code_version", "preparation"):
        assert card.get(key) not in (None, "", []), key
    assert card["seed"] == 3 and card["description"] == "for the test"
    assert len(card["sources"][0]["hash"]) == 64 and card["sources"][0]["rows"] == 150
    assert {column["name"] for column in card["profile"]} >= set(NAMES)
    assert card["metrics"]["test"]["accuracy"] == result["metrics"]["test"]["accuracy"]


def test_answers_come_as_lists_or_tensors(client):
    train(client, model="shapes")
    lists = client.predict("shapes", rows=[ROW, ROW], want=["probability"], reply_format="lists")["probability"]
    tensor = client.predict("shapes", rows=[ROW, ROW], want=["probability"], reply_format="tensor")["probability"]
    assert tensor["shape"] == [2, 3] and len(tensor["data"]) == 2 * 3 * {"f32": 4, "f64": 8}[tensor["dtype"]]
    assert sum(lists[0]) == pytest.approx(1)


def test_row_ids_come_back_and_bad_rows_are_reported(client):
    train(client, model="reported")
    request = dict(op="predict", model="reported", rows=[ROW, ["x", 1, 1, 1], ROW], row_ids=["a", 7, "c"])
    client.refused("INVALID_ARGUMENT", **request)
    answer = client.good(on_row_error="report", **request)
    assert answer["row_ids"] == ["a", 7, "c"]
    assert answer["outputs"]["prediction"] == ["setosa", None, "setosa"]
    assert [one["row"] for one in answer["row_errors"]] == [1] and answer["row_errors"][0]["code"] == "INVALID_ARGUMENT"


def test_extra_keys_are_refused_unless_they_are_to_be_ignored(client):
    train(client, model="extras")
    row = dict(zip(NAMES, ROW), colour="blue")
    client.refused("INVALID_ARGUMENT", op="predict", model="extras", rows=[row])
    assert client.predict("extras", rows=[row], extra="ignore")["prediction"] == ["setosa"]


def test_boolean_labels_stay_boolean(client):
    data = {"rows": [[float(i), i >= 10] for i in range(20)], "names": ["x", "y"]}
    train(client, model="booleans", data=data, target="y", engine="svm", split={"test": 0, "valid": 0})
    answer = client.good(op="predict", model="booleans", rows=[[1.0], [18.0]])
    assert answer["outputs"]["prediction"] == [False, True] and answer["classes"] == [False, True]


def test_the_positive_class_is_the_one_that_is_named(client):
    data = {"rows": [[float(i), "no" if i < 10 else "yes"] for i in range(20)], "names": ["x", "y"]}
    scores = {}
    for positive in ("yes", "no"):
        train(client, model="sided", data=data, target="y", engine="linear", positive=positive, split={"test": 0, "valid": 0})
        answer = client.good(op="predict", model="sided", rows=[[18.0]], want=["prediction", "score"])
        assert answer["outputs"]["prediction"] == ["yes"]
        scores[positive] = answer["outputs"]["score"][0]
    assert scores["yes"] > 0 > scores["no"]
