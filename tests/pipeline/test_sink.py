"""The sink: gapless numbers, marks, answers with sink: true, durable predictions and `results` by prefix, since and pages."""
import pytest
import sets
import zmq
from client import new_id

IRIS = {"file": str(sets.DATA / "iris.csv")}
ROWS = [[5.1, 3.5, 1.4, 0.2]]
TOPIC = "result/default/iris/predict"


@pytest.fixture
def iris(client):
    if "iris" not in [one["model"] for one in client.good(op="model.list")["models"]]:
        client.train(model="iris", engine="tree", params={"num_iterations": 5}, data=IRIS, target="species")
    return client


def pushed(client, **keys):
    return client.publish(op="predict", model="iris", rows=ROWS, sink=True, **keys)


def test_pushed_rows_are_answered_on_the_sink_without_a_gap(iris):
    iris.subscribe(TOPIC, probe=lambda: pushed(iris))
    ids = {pushed(iris) for _ in range(100)}
    left = set(ids)
    came = iris.messages_until(lambda topic, message: left.discard(message["id"]) or not left)
    assert all(message["ok"] and message["outputs"]["prediction"] == ["setosa"] for _, message in came)
    numbers = [message["n"] for _, message in came]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "n has a gap"
    assert len({message["run"] for _, message in came}) == 1 and came[0][1]["run"] == iris.good(op="ping")["run"]


def test_a_mark_repeats_the_last_number(iris):
    iris.subscribe("mark/default", probe=lambda: pushed(iris))
    iris.subscribe(TOPIC, probe=lambda: pushed(iris))
    last = pushed(iris)
    came = iris.messages_until(lambda topic, message: message.get("id") == last)
    n = came[-1][1]["n"]
    iris.messages_until(lambda topic, message: topic == "mark/default/" and message["topics"].get(TOPIC, -1) >= n)


def test_an_asked_answer_is_published_too(iris):
    iris.subscribe(TOPIC, probe=lambda: pushed(iris))
    answer = iris.good(op="predict", model="iris", rows=ROWS, sink=True)
    came = iris.messages_until(lambda topic, message: message["id"] == answer["id"])
    assert came[-1][1]["outputs"] == answer["outputs"]


def test_an_error_is_published_as_an_error(iris):
    iris.subscribe(TOPIC, probe=lambda: pushed(iris))
    bad = iris.publish(op="predict", model="iris", rows=[[1]], sink=True)
    came = iris.messages_until(lambda topic, message: message["id"] == bad)
    assert not came[-1][1]["ok"] and came[-1][1]["error"]["code"] == "INVALID_ARGUMENT"


def test_a_training_is_followed_from_queued_to_done(iris):
    iris.subscribe("job/default/")
    iris.subscribe("model/default/followed")
    iris.subscribe(TOPIC, probe=lambda: pushed(iris))
    iris.sub.setsockopt(zmq.UNSUBSCRIBE, TOPIC.encode())
    job = iris.job(model="followed", engine="mlp", params={"hidden_layer_sizes": [128], "max_iter": 300, "n_iter_no_change": 100000},
                   data={"file": str(sets.DATA / "digits8x8.csv.gz")}, target="digit")
    came = iris.messages_until(lambda topic, message: topic == f"job/default/{job}" and message["event"] == "done", timeout_s=60)
    news = [message for topic, message in came if topic == f"job/default/{job}"]
    events = [message["event"] for message in news]
    assert events[0] == "queued" and "started" in events and "progress" in events and events.count("done") == 1
    assert [message["n"] for message in news] == list(range(news[0]["n"], news[0]["n"] + len(news)))
    fractions = [message["progress"]["fraction"] for message in news if message["event"] == "progress"]
    assert fractions == sorted(fractions) and fractions[-1] <= 1
    assert any(message["progress"].get("loss") is not None for message in news if message["event"] == "progress")
    assert any(topic == "model/default/followed" and message["event"] == "published" for topic, message in came) or \
        iris.messages_until(lambda topic, message: topic == "model/default/followed" and message["event"] == "published")


def test_results_are_paged_in_journal_order(iris):
    ids = [new_id() for _ in range(9)]
    first = iris.good(op="predict", model="iris", rows=ROWS, durable=True, sink=True, id=ids[0])
    assert iris.good(op="predict", model="iris", rows=ROWS, durable=True, sink=True, id=ids[0])["outputs"] == first["outputs"]
    iris.refused("ALREADY_EXISTS", op="predict", model="iris", rows=[[6.0, 3.0, 5.0, 2.0]], durable=True, sink=True, id=ids[0])
    for id in ids[1:]:
        iris.good(op="predict", model="iris", rows=ROWS, durable=True, sink=True, id=id)
    found, since = [], 0
    while True:
        page = iris.good(op="results", prefix="result/default/iris/", since=since, limit=4)
        assert len(page["results"]) <= 4 and all(one["topic"] == TOPIC for one in page["results"])
        found += [(one["seq"], one["message"]["id"]) for one in page["results"]]
        if page.get("next") is None or not page["results"]:
            break
        since = page["next"]
    assert [id for _, id in found] == ids and [seq for seq, _ in found] == sorted({seq for seq, _ in found})
    rest = iris.good(op="results", prefix="result/default/iris/", since=found[4][0])["results"]
    assert [one["message"]["id"] for one in rest] == ids[5:]
    assert iris.good(op="results", prefix="result/default/nobody/")["results"] == []


def test_a_running_job_is_cancelled_and_an_id_names_one_job(iris):
    request = {"op": "train", "id": new_id(), "model": "stopped", "engine": "mlp", "target": "digit",
               "params": {"hidden_layer_sizes": [256], "max_iter": 100000, "n_iter_no_change": 100000},
               "data": {"file": str(sets.DATA / "digits8x8.csv.gz")}}
    job = iris.good(**request)["job"]
    assert iris.good(**request)["job"] == job
    iris.refused("ALREADY_EXISTS", **{**request, "model": "another"})
    iris.subscribe(f"job/default/{job}")
    iris.messages_until(lambda topic, message: message["event"] == "progress")
    iris.good(op="job.cancel", job=job)
    ended = iris.good(op="job.wait", job=job, deadline_ms=1000)
    assert ended["state"] == "cancelled" and ended["error"]["code"] == "CANCELLED"
    iris.refused("NOT_FOUND", op="model.get", model="stopped")
