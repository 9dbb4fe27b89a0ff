"""Models, versions and aliases: list, get, alias, delete; an alias moves while predictions stream."""
import sets

IRIS = {"file": str(sets.DATA / "iris.csv")}
ROWS = [[5.1, 3.5, 1.4, 0.2]]


def publish(client, model, alias="production", **params):
    params = {"num_iterations": 5, **params}
    return client.train(model=model, engine="tree", params=params, data=IRIS, target="species", alias=alias)["version"]


def test_versions_by_number_and_alias(client):
    assert publish(client, "a") == 1 and publish(client, "a", alias="staging") == 2 and publish(client, "a", alias=None) == 3
    for version, number in ((None, 1), ("production", 1), ("staging", 2), (1, 1), (2, 2), (3, 3)):
        assert client.good(op="predict", model="a", rows=ROWS, version=version)["version"] == number
    got = client.good(op="model.get", model="a")
    assert got["version"] == 1 and got["latest"] == 3 and [one["version"] for one in got["versions"]] == [1, 2, 3]
    assert {name: one["version"] for name, one in got["aliases"].items()} == {"production": 1, "staging": 2}
    listed = {one["model"]: one for one in client.good(op="model.list")["models"]}
    assert listed["a"]["aliases"] == {"production": 1, "staging": 2} and listed["a"]["engine"] == "tree"


def test_a_generation_that_moved_is_a_conflict(client):
    publish(client, "b")
    publish(client, "b", alias=None)
    seen = client.good(op="model.get", model="b")["generation"]
    moved = client.good(op="model.alias", model="b", alias="production", version=2, expect=seen)
    assert moved["version"] == 2 and moved["previous"] == 1 and moved["generation"] > seen
    client.refused("ALREADY_EXISTS", op="model.alias", model="b", alias="production", version=1, expect=seen)
    assert client.good(op="predict", model="b", rows=ROWS)["version"] == 2
    client.refused("NOT_FOUND", op="model.alias", model="b", alias="production", version=9)
    client.good(op="model.alias", model="b", alias="production", remove=True)
    client.refused("NOT_FOUND", op="predict", model="b", rows=ROWS)


def test_delete_is_refused_under_an_alias(client):
    publish(client, "c")
    publish(client, "c", alias=None)
    client.refused("FAILED_PRECONDITION", op="model.delete", model="c", version=1)
    assert client.good(op="model.delete", model="c", version=2)["deleted"] == [2]
    client.refused("NOT_FOUND", op="predict", model="c", version=2, rows=ROWS)
    assert client.good(op="predict", model="c", rows=ROWS)["version"] == 1


def test_a_store_change_sent_twice_is_done_once(client):
    publish(client, "d")
    publish(client, "d", alias=None)
    request = {"op": "model.alias", "id": "f" * 32, "model": "d", "alias": "production", "version": 2}
    assert client.good(**request) == client.good(**request)
    client.refused("ALREADY_EXISTS", **{**request, "version": 1})


def test_no_prediction_fails_while_an_alias_moves(client):
    publish(client, "e")
    publish(client, "e", alias=None, boosting="rf")
    seen = set()
    for turn in range(10):
        ids = [client.send(op="predict", model="e", rows=ROWS) for _ in range(20)]
        change = client.send(op="model.alias", model="e", alias="production", version=1 + (turn + 1) % 2)
        ids += [client.send(op="predict", model="e", rows=ROWS) for _ in range(20)]
        assert client.receive(change)["ok"]
        for id in ids:
            answer = client.receive(id)
            assert answer["ok"] and answer["outputs"]["prediction"] == ["setosa"]
            seen.add(answer["version"])
    assert seen == {1, 2}
