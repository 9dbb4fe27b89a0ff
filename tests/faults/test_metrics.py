"""What the broker shows over HTTP: numbers that Prometheus reads, health that tells the truth, labels that cannot explode."""
import re
import urllib.error
import urllib.request

import pytest

from helpers import ROOT, Broker, Client, Worker, until

SAMPLE = re.compile(r'^(modelmq_[a-z_]+)(?:\{((?:[a-z]+="[^"]*",?)*)\})? (\S+)$')


@pytest.fixture
def seen(home):
    broker = Broker(home, "--http", "127.0.0.1:0", "--lease-ms", "3000", "--heartbeat-ms", "300").start()
    port = re.search(r"http=127\.0\.0\.1:(\d+)", broker.log()).group(1)
    broker.url = f"http://127.0.0.1:{port}"
    yield broker
    broker.kill()


def get(broker, path):
    try:
        with urllib.request.urlopen(broker.url + path, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(broker):
    code, text = get(broker, "/metrics")
    assert code == 200
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.match(line)
            assert match, line
            found[match.group(1), match.group(2) or ""] = float(match.group(3))
    return found


def test_metrics_count_what_happened(context, seen):
    worker, client = Worker(context, seen, models=[("iris", [1], {"production": 1})], window=64), Client(context, seen)
    for i in range(20):
        client.send("predict", model="iris", rows=[[i]])
        worker.echo(worker.work(), code="OK") if i % 4 else worker.result(worker.work(), {"v": 1, "ok": False}, code="INVALID_ARGUMENT")
        client.receive()
    found = samples(seen)
    labels = 'op="predict",tenant="default",model="iris",'
    assert found["modelmq_outcomes_total", labels + 'code="OK"'] == 15
    assert found["modelmq_outcomes_total", labels + 'code="INVALID_ARGUMENT"'] == 5
    assert found["modelmq_queue_seconds_count", labels[:-1]] == 20 == found["modelmq_service_seconds_count", labels[:-1]]
    assert found["modelmq_queue_seconds_bucket", labels + 'le="+Inf"'] == 20
    buckets = [value for (name, of), value in found.items() if name == "modelmq_queue_seconds_bucket" and of.startswith(labels)]
    assert buckets == sorted(buckets) and found["modelmq_requests_total", ""] >= 20
    assert found["modelmq_workers", 'kind="predictor"'] == 1


def test_depth_sizes_and_crashes_are_told(context, seen):
    first = Worker(context, seen, models=[("iris", [1], {"production": 1})], window=1, name="predictor-1")
    trainer = Worker(context, seen, kind="trainer", window=1, name='odd "name"')
    trainer.say("catalogue", full=True, models=[["default", "iris", [1], {"production": 1}, 1]])
    client = Client(context, seen)
    for i in range(5):
        client.send("predict", model="iris", rows=[[i]])
    assert first.work().request["rows"] == [[0]]
    first.beat(bytes=7000, entries=2)
    trainer.beat(bytes=90000, entries=11)
    assert first.expect("echo") and trainer.expect("echo")
    labels = 'op="predict",tenant="default",model="iris"'
    found = samples(seen)
    assert found["modelmq_queue_depth", labels] == 4 and found["modelmq_leased", ""] == 1
    assert (found["modelmq_cache_bytes", ""], found["modelmq_cache_models", ""]) == (7000, 2)
    assert (found["modelmq_store_bytes", ""], found["modelmq_store_versions", ""]) == (90000, 11)
    assert found["modelmq_journal_bytes", ""] > 0
    for _ in range(2):
        first.vanish()
        assert until(lambda: samples(seen)["modelmq_workers", 'kind="predictor"'] == 0)
        first = Worker(context, seen, window=1, name="predictor-1")
        first.work()
    crash = 'worker="predictor-1",kind="predictor"'
    found = samples(seen)
    assert found["modelmq_worker_crashes_total", crash] == 2
    assert found["modelmq_version_strikes", 'tenant="default",model="iris",version="1"'] == 1
    assert found["modelmq_redelivered_total", ""] >= 2
    status = client.ask("status")
    assert [(one["name"], one["crashes"]) for one in status["crashes"]["workers"]] == [("predictor-1", 2)]
    assert status["crashes"]["versions"] == [{"model": "iris", "version": 1, "strikes": 1, "disabled": False}]
    assert {one["name"] for one in status["workers"]} == {"predictor-1", "odd__name_"}


def test_health_is_ready_only_when_predictions_are_answered(context, seen):
    assert get(seen, "/health/live") == (200, "alive\n")
    code, why = get(seen, "/health/ready")
    assert code == 503 and why.startswith("not ready\n") and "no predictor is connected" in why
    worker = Worker(context, seen, models=[("iris", [1], {"production": 1})])
    code, why = get(seen, "/health/ready")
    assert worker.welcome and code == 200 and why == "degraded\nno trainer is connected\n"
    trainer = Worker(context, seen, kind="trainer", window=1)
    assert trainer.welcome and get(seen, "/health/ready") == (200, "ready\n")
    assert get(seen, "/nothing")[0] == 404


def test_61_a_flood_of_model_names_shares_one_label(context, seen):
    names = [f"m{i:04d}" for i in range(400)]
    worker = Worker(context, seen, models=[(name, [1], {"production": 1}) for name in names], window=512)
    client = Client(context, seen)
    for name in names:
        client.send("predict", model=name, rows=[[1]])
    for _ in names:
        worker.echo(worker.work())
    for _ in names:
        assert client.receive()["ok"]
    found = samples(seen)
    models = {re.search('model="([^"]*)"', of).group(1) for name, of in found if name == "modelmq_outcomes_total"}
    assert len(models) <= 201 and "other" in models
    assert sum(value for (name, _), value in found.items() if name == "modelmq_outcomes_total") == 400


def test_only_loopback_is_served(home):
    broker = Broker(home, "--http", "0.0.0.0:0")
    broker.start(expect_ready=False)
    assert broker.process.wait(10) != 0 and "loopback" in broker.log()


def test_dashboard_and_alerts_ask_only_for_what_there_is(context, seen):
    worker, client = Worker(context, seen, models=[("iris", [1], {"production": 1})]), Client(context, seen)
    client.send("predict", model="iris", rows=[[1]])
    worker.echo(worker.work())
    assert client.receive()["ok"]
    declared = re.findall(r"^# TYPE (\S+)", get(seen, "/metrics")[1], re.M)    # nothing crashed here: such counters have no samples yet
    there = {name for name, _ in samples(seen)} | set(declared)
    for file in ("grafana-dashboard.json", "prometheus-alerts.yml"):
        text = (ROOT / "packaging" / file).read_text()
        asked = set(re.findall(r"modelmq_[a-z_]+", text))
        assert len(asked) > 5 and asked <= there, asked - there
