"""The command line against a real service: the whole first hour of a user, wrong turns included."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from helpers import ROOT, binary, until

DATA = ROOT / "examples/data"
IRIS = ["sepal_length,sepal_width,petal_length,petal_width", "5.1,3.5,1.4,0.2", "6.3,3.3,6.0,2.5"]


def start_up(home, *options):
    """`modelmq up`, ready; its output goes to a file beside the home."""
    log = open(home.parent / "up.log", "ab")
    up = subprocess.Popen([binary("modelmq"), "up", "--home", home, "--predictors", "1", "--data", DATA, *options], stdout=log, stderr=log)
    log.close()
    assert until(lambda: up.poll() is not None or "is ready" in (home.parent / "up.log").read_text()), (home.parent / "up.log").read_text()
    return up


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("cli") / "home"
    up = start_up(home)
    yield home
    up.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert up.wait(20) == 0
    assert time.monotonic() - began < 8, "the service takes long to stop"
    assert "modelmq has stopped" in (home.parent / "up.log").read_text()


def run(home, *words, input=None, **more):
    return subprocess.run([binary("modelmq"), *map(str, words)], input=input, capture_output=True, text=True, timeout=60,
                          env={**os.environ, "MODELMQ_HOME": str(home)}, **more)


@pytest.fixture(scope="module")
def iris(home):
    done = run(home, "train", DATA / "iris.csv", "--target", "species", "--model", "iris", "--engine", "tree", "--set", "num_leaves=7",
               "--follow", "--json")
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert job["state"] == "done" and job["result"]["metrics"]["test"]["accuracy"] > 0.85
    assert job["result"]["params"]["num_leaves"] == 7
    return "iris"


def test_predict_reads_csv_and_json_lines(home, iris, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text("\r\n".join(IRIS))   # CRLF, no line end after the last row
    done = run(home, "predict", iris, new)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"prediction": "setosa"}, {"prediction": "virginica"}]
    names = IRIS[0].split(",")
    lines = "".join(json.dumps(dict(zip(names, map(float, row.split(","))))) + "\n" for row in IRIS[1:])
    done = run(home, "predict", iris, "-", "--output", "csv", "--want", "prediction,probability", input=lines)
    assert done.returncode == 0, done.stderr
    header, first, second = done.stdout.splitlines()
    assert header == "prediction,probability_setosa,probability_versicolor,probability_virginica"
    assert first.startswith("setosa,0.9") and second.startswith("virginica,")


def test_predict_keeps_the_order_over_many_batches(home, iris):
    rows = IRIS[1:] * 500
    done = run(home, "predict", iris, "-", "--batch", "7", input="\n".join([IRIS[0], *rows]) + "\n")
    assert [json.loads(line)["prediction"] for line in done.stdout.splitlines()] == ["setosa", "virginica"] * 500


def test_tables_and_their_json(home, iris):
    models = json.loads(run(home, "models", "--json").stdout)
    assert [model["model"] for model in models].count("iris") == 1
    assert re.search(r"iris +1 +1 +production=1 +multiclass +tree", run(home, "models").stdout)
    assert json.loads(run(home, "jobs", "--json", "--state", "done").stdout)[0]["model"] == "iris"
    assert json.loads(run(home, "model", "show", "iris", "--json").stdout)["inputs"][0]["name"] == "sepal_length"
    params = {param["name"]: param for param in json.loads(run(home, "engines", "tree", "--json").stdout)["params"]}
    assert params["num_leaves"]["doc"]
    assert "num_leaves" in run(home, "engines", "tree").stdout
    status = run(home, "status", "--json")
    assert status.returncode == 0 and json.loads(status.stdout)["health"] == "ready"
    assert "\033" not in run(home, "status").stdout   # colour only on a terminal


def test_aliases_and_delete(home, iris):
    train = run(home, "train", DATA / "iris.csv", "--target", "species", "--model", "spare", "--engine", "tree", "--follow")
    assert train.returncode == 0, train.stderr
    assert run(home, "model", "alias", "spare", "canary", "1").returncode == 0
    assert run(home, "predict", "spare", "-", "--version", "canary", input="\n".join(IRIS)).returncode == 0
    refused = run(home, "model", "delete", "spare", "--version", "1")
    assert refused.returncode == 1 and "FAILED_PRECONDITION" in refused.stderr
    assert run(home, "model", "alias", "spare", "canary", "--remove").returncode == 0
    assert run(home, "model", "delete", "spare", "--all").returncode == 0
    assert run(home, "predict", "spare", "-", input="\n".join(IRIS)).returncode == 1


@pytest.mark.parametrize("words, code, said", [
    (["nonsense"], 2, "no command"),
    (["--home", "x", "status"], 2, "options come after"),
    (["models", "--nonsense"], 2, "no option"),
    (["train", "x.csv"], 2, "--target"),
    (["train", "missing.csv", "--target", "a", "--model", "m"], 2, "missing.csv"),
    (["train", "/etc/hostname", "--target", "a", "--model", "m", "--follow"], 1, "PERMISSION_DENIED"),
    (["train", DATA / "iris.csv", "--target", "species", "--model", "../x"], 1, "model"),
    (["train", DATA / "iris.csv", "--target", "species", "--model", "m", "--engine", "tree", "--set", "num_leaves=0", "--follow"], 1, "num_leaves"),
    (["predict", "unknown", "-"], 1, "NOT_FOUND"),
    (["job", "show", "0" * 32], 1, "NOT_FOUND"),
    (["models", "--connect", "ipc:///tmp/mmq-nobody-is-here"], 3, "no service answers"),
    (["models", "--home", "/nonexistent"], 3, "modelmq up"),
])
def test_exit_codes_and_one_line_errors(home, words, code, said):
    done = run(home, *words, input="\n".join(IRIS))
    assert done.returncode == code, done
    assert said in done.stderr and (done.stdout == "" or "--follow" in words)
    assert len(done.stderr.splitlines()) <= 2 and "\n\n" not in done.stderr


def test_every_command_has_help(home):
    names = re.findall(r"^  (\w+) +\w", run(home, "--help").stdout, re.M)
    assert {"up", "train", "predict", "models", "jobs", "watch", "engines", "status", "keygen", "doctor"} <= set(names)
    for name in names:
        if name == "modelmq":
            continue
        done = run(home, name, "--help")
        assert done.returncode == 0 and "examples:" in done.stdout and "exit codes" in done.stdout


def test_bad_rows_are_reported_one_by_one(home, iris):
    names = IRIS[0].split(",")
    good = json.dumps(dict(zip(names, [5.1, 3.5, 1.4, 0.2])))
    bad = json.dumps(dict(zip(names, ["many", 3.5, 1.4, 0.2])))
    done = run(home, "predict", iris, "-", input=f"{good}\n{bad}\n{good}\n")
    assert done.returncode == 1 and "sepal_length" in done.stderr


def test_a_second_up_is_refused_and_changes_nothing(home, iris):
    endpoints = (home / "endpoints").read_text()
    done = run(home, "up")
    assert done.returncode == 78 and "another `modelmq up`" in done.stderr
    assert (home / "endpoints").read_text() == endpoints
    assert run(home, "status").returncode == 0


def children(home):
    """{program: pid} of the service's processes."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        if str(home) in words and "modelmq-" in words[0]:
            found[pathlib.Path(words[0]).name] = int(path.parent.name)
    return found


@pytest.mark.parametrize("program", ["modelmq-predictor", "modelmq-trainer", "modelmq-broker"])
def test_a_killed_process_comes_back(home, iris, program):
    before = children(home)[program]
    os.kill(before, signal.SIGKILL)
    assert until(lambda: children(home).get(program, before) != before)
    done = run(home, "predict", iris, "-", input="\n".join(IRIS))
    assert done.returncode == 0, done.stderr
    assert f"the {program[8:]} was killed by signal 9" in (home.parent / "up.log").read_text()


def test_watch_prints_json_lines(home, iris):
    watch = subprocess.Popen([binary("modelmq"), "watch", "model/", "--count", "1", "--home", home], stdout=subprocess.PIPE, text=True)
    try:
        for number in range(20):   # a subscription takes a moment: go on until something was seen
            run(home, "model", "alias", iris, f"seen{number}", "1")
            if watch.poll() is not None:
                break
        line = json.loads(watch.communicate(timeout=20)[0])
    finally:
        watch.kill()
    assert line["topic"] == "model/default/iris" and line["message"]["event"] == "alias"


def test_doctor_finds_a_flipped_byte(home, iris):
    assert run(home, "doctor").returncode == 0
    path = home / "store/models/default/iris/versions/000001/model.mmq"
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    try:
        done = run(home, "doctor")
        assert done.returncode == 1 and "BAD" in done.stdout and "iris version 1" in done.stdout
        assert any(finding["state"] == "bad" for finding in json.loads(run(home, "doctor", "--json").stdout))
    finally:
        path.write_bytes(whole)
        path.chmod(0o444)


def test_the_first_c_example_trains_and_predicts(home):
    example = pathlib.Path(binary("modelmq")).parents[1] / "plain/examples/c/first"
    if not example.exists():
        pytest.skip("the example is built in the plain build only")
    done = subprocess.run([example, home], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "2.5 h: 30" in done.stdout


def test_wrong_configuration_is_not_started_again(tmp_path):
    up = start_up(tmp_path / "home", "--request", "tcp://0.0.0.0:*")   # beyond this machine, without keys
    assert up.wait(20) == 78
    log = (tmp_path / "up.log").read_text()
    assert "its configuration is wrong" in log and "starting it again" not in log


@pytest.mark.parametrize("sockets", [["request", "publish", "sink"], ["request", "publish", "sink", "work"]])
def test_keys_let_in_those_who_are_allowed(tmp_path, sockets):
    """A service on tcp with CURVE: an allowed key works, another does not, no key does not. Workers on tcp get a key of their own."""
    home, keys = tmp_path / "home", tmp_path / "keys"
    up = start_up(home, "--keys", keys, *[f"--{name}=tcp://127.0.0.1:*" for name in sockets])
    try:
        assert up.poll() is None, (tmp_path / "up.log").read_text()
        for name, more in (("alice", ["--keys", keys]), ("mallory", [])):
            assert run(home, "keygen", name, "--dir", tmp_path, *more).returncode == 0
        assert (tmp_path / "alice_secret").stat().st_mode & 0o777 == 0o600
        assert run(home, "keygen", "alice", "--dir", tmp_path).returncode == 1   # never over an old key
        with_key = lambda name: ["--server-key", keys / "broker", "--key", tmp_path / f"{name}_secret"]
        assert until(lambda: run(home, "status", *with_key("alice")).returncode == 0)
        assert run(home, "engines", *with_key("alice")).returncode == 0
        refused = run(home, "status", *with_key("mallory"), "--timeout", "2000")
        assert refused.returncode == 3, refused
        assert run(home, "status", "--timeout", "2000").returncode == 3
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(20) == 0


@pytest.mark.parametrize("engine", ["linear", "svm"])
def test_contributions_add_up_from_the_base_and_sampled_ones_bring_their_error(home, engine):
    done = run(home, "train", DATA / "iris.csv", "--target", "species", "--model", f"explained-{engine}", "--engine", engine, "--follow")
    assert done.returncode == 0, done.stderr
    done = run(home, "predict", f"explained-{engine}", "-", "--want", "contribution,score", input="\n".join(IRIS) + "\n")
    assert done.returncode == 0, done.stderr
    for row in map(json.loads, done.stdout.splitlines()):
        for parts, base, score in zip(row["contribution"], row["base"], row["score"]):
            assert base + sum(parts) == pytest.approx(score, abs=1e-6)
        assert ("contribution_error" in row) == (engine == "svm")
        if engine == "svm":
            assert all(0 < error < 1 for errors in row["contribution_error"] for error in errors)
