"""kill -9 of each process in mid-work: a durable job ends once with one version, pushed rows sent again by id are all answered."""
import os
import signal

import sets
import service as services
from client import new_id

IRIS = {"file": str(sets.DATA / "iris.csv")}
ROWS = [[5.1, 3.5, 1.4, 0.2]]
LONG = {"engine": "mlp", "params": {"hidden_layer_sizes": [128], "max_iter": 400, "n_iter_no_change": 100000},
        "data": {"file": str(sets.DATA / "digits8x8.csv.gz")}, "target": "digit"}


def iris(client):
    return client.train(model="iris", engine="tree", params={"num_iterations": 5}, data=IRIS, target="species")["version"]


def fitting(client, job):
    services.until("the job runs", lambda: client.good(op="job.get", job=job)["state"] in ("running", "done"))


def one_version(client, model):
    return [one["version"] for one in client.patient(op="model.get", model=model)["versions"]]


def ended_once(client, job, model):
    done = client.wait(job, patient=True)
    assert done["state"] == "done", done
    assert one_version(client, model) == [done["version"]]
    return done


def test_a_killed_trainer_costs_no_job(fresh):
    service = fresh()
    client = service.client()
    job = client.job(model="digits", **LONG)
    fitting(client, job)
    service.kill("trainer")
    assert ended_once(client, job, "digits")["attempt"] == 2, "it was killed in mid-work"


def test_a_killed_broker_costs_no_job(fresh):
    service = fresh()
    client = service.client()
    iris(client)
    run = client.good(op="ping")["run"]
    job = client.job(model="digits", **LONG)
    fitting(client, job)
    service.kill("broker")
    ended_once(client, job, "digits")
    assert client.patient(op="ping")["run"] != run
    assert client.patient(op="predict", model="iris", rows=ROWS)["ok"]


def test_a_killed_predictor_costs_no_answer(fresh):
    service = fresh()
    service.whole()
    client = service.client()
    iris(client)
    ids = [client.send(op="predict", model="iris", rows=ROWS) for _ in range(200)]
    service.kill("predictor")
    ids += [client.send(op="predict", model="iris", rows=ROWS) for _ in range(100)]
    assert all(client.receive(id)["ok"] for id in ids)


def test_durable_results_outlive_the_broker(fresh):
    service = fresh()
    client = service.client()
    iris(client)
    ids = [new_id() for _ in range(12)]
    for id in ids:
        answer = client.good(op="predict", model="iris", rows=ROWS, durable=True, wait=False, id=id)
        assert answer["accepted"] and answer["seq"] > 0
    prefix = "result/default/iris/"

    def replay():
        found, since = {}, 0
        while True:
            page = client.patient(op="results", prefix=prefix, since=since, limit=5)
            found.update({one["message"]["id"]: one for one in page["results"]})
            if page.get("next") is None or not page["results"]:
                return found
            since = page["next"]

    services.until("all results are journalled", lambda: set(replay()) == set(ids))
    before = replay()
    service.kill("broker")
    after = replay()
    assert {id: one["message"]["outputs"] for id, one in before.items()} == {id: one["message"]["outputs"] for id, one in after.items()}
    assert {id: one["seq"] for id, one in before.items()} == {id: one["seq"] for id, one in after.items()}


def test_a_flipped_byte_is_data_loss_and_other_models_go_on(fresh):
    service = fresh()
    client = service.client()
    iris(client)
    version = client.train(model="hurt", engine="tree", params={"num_iterations": 5}, data=IRIS, target="species")["version"]
    path = service.home / "store" / "models" / "default" / "hurt" / "versions" / f"{version:06d}" / "model.mmq"
    bytes_ = bytearray(path.read_bytes())
    bytes_[len(bytes_) // 2] ^= 0x40
    os.chmod(path, 0o644)
    path.write_bytes(bytes_)
    for pid in service.pids("predictor"):
        os.kill(pid, signal.SIGKILL)
    error = client.refused("DATA_LOSS", op="predict", model="hurt", rows=ROWS)
    assert not error["retryable"]
    assert client.good(op="predict", model="iris", rows=ROWS)["ok"]


def test_a_second_service_on_a_home_is_refused(fresh):
    service = fresh()
    done = services.command("up", "--home", service.home)
    assert done.returncode not in (0, 3) and done.stderr
    assert service.client().good(op="ping")["ok"]


def test_a_store_of_a_newer_format_is_refused_at_start(fresh, tmp_path):
    store = tmp_path / "home" / "store"
    store.mkdir(parents=True)
    (store / "FORMAT").write_text("modelmq-store 999\n")
    done = services.command("up", "--home", tmp_path / "home", timeout_s=20)
    assert done.returncode != 0 and "format" in (done.stdout + done.stderr).lower()
