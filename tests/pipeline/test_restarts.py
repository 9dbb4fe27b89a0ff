"""A trainer that slept, the same request after the broker's death, stores of other formats, a clean restart."""
import os
import signal
import subprocess

import pytest
import service as services
from client import new_id

IRIS = str(services.DATA / "iris.csv")
HOUSING = str(services.DATA / "california_housing.csv.gz")
ROW = [5.1, 3.5, 1.4, 0.2]
LONG = dict(model="long", engine="mlp", params={"max_iter": 1500, "tol": 0.0, "n_iter_no_change": 1500}, data={"file": HOUSING},
            target="median_house_value", threads=1)


def train_iris(client, model="iris"):
    client.train(model=model, engine="tree", data={"file": IRIS}, target="species")


def begin_long(service, client):
    """A training that takes seconds, and that is known to be in its fit; returns the job."""
    client.subscribe("job/default/")
    job = client.job(**LONG)
    client.messages_until(lambda topic, message: topic.endswith(job) and (message.get("progress") or {}).get("phase") == "fit")
    return job


def versions_of(client, model):
    return client.patient(op="model.get", model=model)["versions"]


def test_a_trainer_that_slept_past_its_lease_publishes_nothing(fresh):
    service = fresh(env={"MMQ_LEASE_MS": "600", "MMQ_HEARTBEAT_MS": "100"})
    service.whole()
    client = service.client()
    job = begin_long(service, client)
    sleeper = service.kill("trainer", signal.SIGSTOP)
    other = subprocess.Popen([services.BIN / "modelmq-trainer", "--home", service.home, "--data", services.DATA], stderr=subprocess.DEVNULL)
    try:
        ended = client.wait(job, timeout_s=60)
        assert ended["state"] == "done" and ended["attempt"] == 2
    finally:
        os.kill(sleeper, signal.SIGCONT)
        other.terminate()
        assert other.wait(20) == 0
    # The sleeper wakes up, learns that its lease is lost, and takes new work; of the first training there is one version.
    train_iris(client)
    assert len(versions_of(client, "long")) == 1


def test_train_with_the_same_id_after_the_brokers_death_is_the_same_job(fresh):
    service = fresh()
    service.whole()
    client = service.client()
    request = dict(op="train", id=new_id(), model="iris", engine="tree", data={"file": IRIS}, target="species")
    first = client.good(**request)["job"]
    service.kill("broker")
    assert client.patient(**request)["job"] == first
    assert client.wait(first, patient=True)["state"] == "done"
    assert len(versions_of(client, "iris")) == 1


@pytest.mark.parametrize("format", ["modelmq-store 2\n", "something else\n"])
def test_a_store_of_another_format_is_refused_at_start(fresh, format):
    service = fresh()
    service.whole()
    train_iris(service.client())
    service.stop()
    (service.home / "store" / "FORMAT").write_text(format)
    for program in ("modelmq-trainer", "modelmq-predictor"):
        refused = subprocess.run([services.BIN / program, "--store", service.home / "store", "--work", "ipc:///tmp/mmq-nobody"], capture_output=True,
                                 text=True, timeout=20)
        assert refused.returncode != 0 and "format" in refused.stderr.lower(), refused.stderr


def test_models_serve_at_once_after_a_clean_restart(fresh):
    service = fresh()
    service.whole()
    train_iris(service.client())
    service.stop()
    service.start()
    client = service.client()
    assert client.patient(op="predict", model="iris", rows=[ROW])["outputs"]["prediction"] == ["setosa"]
