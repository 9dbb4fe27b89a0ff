"""Models that other libraries wrote, imported through the service: each of tests/data/models answers every row as its library did, by all forms of
input; hostile files get a named error and cost nobody else anything."""
import csv
import itertools
import random
import struct

import msgpack
import pytest
import service as services
from client import new_id

FOLDER = services.ROOT / "tests" / "data" / "models"
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".txt", ".json", ".ubj", ".model") and path.with_suffix(".csv").exists())


@pytest.fixture(scope="module")
def service():
    yield from services.running("--data", FOLDER, predictors=1)


@pytest.fixture(scope="module")
def client(service):
    return service.client()


def take(client, name, model="imported", **more):
    path = FOLDER / name
    return client.good(op="model.import", model=model, payload="file", frame=path.read_bytes(), timeout_s=60, **more)


def cell(text):
    if text == "":
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def recorded(name):
    """The rows to ask about, and {column: the library's answers}."""
    lines = list(csv.reader((FOLDER / name).with_suffix(".csv").read_text().splitlines()))
    inputs = [i for i, title in enumerate(lines[0]) if title.startswith("x.")]
    rows = [[cell(line[i]) for i in inputs] for line in lines[1:]]
    wants = {title[2:]: [float(line[i]) for line in lines[1:]] for i, title in enumerate(lines[0]) if title.startswith("p.")}
    return rows, wants


def ours(answer, column):
    """What the library's column is among our outputs; None: we do not give it in this form."""
    outputs, classes = answer["outputs"], [str(label) for label in answer.get("classes", [])]
    kind, _, rest = column.partition("_")
    has_probability = "probability" in outputs
    if column in ("raw", "margin", "dec"):
        return outputs["score"]
    if column == "pred" and answer["task"] == "binary" and answer["model"].startswith(("lightgbm", "xgboost")):
        return [row[1] for row in outputs["probability"]]
    if column == "pred_b1" or (column == "pred" and not any("_b1" in name for name in answer["recorded"])):
        return outputs["prediction"]
    if column == "pred":
        return None     # labels by votes; with probabilities in the model we decide by them
    if kind in ("raw", "margin"):
        return [row[int(rest)] for row in outputs["score"]]
    if kind == "prob" and has_probability:
        return [row[classes.index(rest)] for row in outputs["probability"]]
    if kind == "dec" and answer["task"] == "binary":
        # Two classes have one score here, the difference where the library gives one a class (they are opposite numbers).
        share = 1 / len([name for name in answer["recorded"] if name.startswith("dec_")])
        sign = share if rest.split("_")[0] == str(answer["positive"]) else -share
        return [sign * value for value in outputs["score"]]
    if kind == "dec" and "_" in rest:
        pairs = list(itertools.combinations(classes, 2))
        first, second = rest.split("_")
        at, sign = (pairs.index((first, second)), 1) if (first, second) in pairs else (pairs.index((second, first)), -1)
        return [sign * row[at] for row in outputs["score"]]
    if kind == "dec":
        return [row[classes.index(rest)] for row in outputs["score"]]
    raise AssertionError(f"column {column} is of no known kind")


def check(answer, wants, within):
    answer["recorded"] = list(wants)
    compared = 0
    for column, values in wants.items():
        got = ours(answer, column)
        if got is None:
            continue
        assert len(got) == len(values)
        for row, (mine, theirs) in enumerate(zip(got, values)):
            assert abs(mine - theirs) <= within * max(1.0, abs(theirs)), f"{answer['model']} row {row} {column}: {mine!r}, the library says {theirs!r}"
        compared += 1
    assert compared > 0


def asked(client, model, **request):
    wants = ["prediction", "score", "probability"]
    if "probability" not in [one["name"] for one in client.good(op="model.get", model=model)["outputs"]]:
        wants.remove("probability")
    return client.good(op="predict", model=model, want=wants, **request)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_row_is_answered_as_the_library_did(client, path):
    rows, wants = recorded(path.name)
    format = client.good(op="model.import", model="probe", payload="file", frame=path.read_bytes(), timeout_s=60)["imported"]["format"]
    model = f"{format}-{path.stem.replace('_', '-')}"
    result = take(client, path.name, model=model, format=format)
    assert result["columns"] == len(rows[0]) and result["alias"] == "production"
    within = 1e-5 if format == "xgboost" else 1e-9
    check(asked(client, model, rows=rows), wants, within)
    if all(isinstance(value, (int, float)) or value is None for row in rows for value in row) and not any(
            one["kind"] == "categorical" for one in client.good(op="model.get", model=model)["inputs"]):
        flat = [float("nan") if value is None else float(value) for row in rows for value in row]
        tensor = {"dtype": "f64", "shape": [len(rows), len(rows[0])], "data": struct.pack(f"<{len(flat)}d", *flat)}
        check(asked(client, model, tensor=tensor, reply_format="lists"), wants, within)
    names = [one["name"] for one in client.good(op="model.get", model=model)["inputs"]]
    check(asked(client, model, rows=[dict(zip(names, row)) for row in rows]), wants, within)
    check(asked(client, model, columns={name: [row[i] for row in rows] for i, name in enumerate(names)}), wants, within)


def test_the_card_says_where_it_came_from_and_versions_count_up(client):
    first = take(client, "breast_binary.txt", model="carded", description="from afar")
    second = take(client, "breast_binary.txt", model="carded", alias=None)
    assert (first["version"], second["version"]) == (1, 2) and "alias" not in second
    got = client.good(op="model.get", model="carded")
    assert got["version"] == 1 and got["latest"] == 2
    card = got["card"]
    assert card["imported"] == first["imported"] and card["imported"]["library"] == "LightGBM"
    assert card["imported"]["bytes"] == (FOLDER / "breast_binary.txt").stat().st_size and len(card["imported"]["hash"]) == 64
    assert card["description"] == "from afar" and card["precision"] == "f64"


def test_the_same_id_is_the_same_import(client):
    id, path = new_id(), FOLDER / "breast_binary.txt"
    request = dict(op="model.import", model="once", payload="file", id=id)
    first = client.good(frame=path.read_bytes(), **request)
    assert client.good(frame=path.read_bytes(), **request) == first
    assert client.refused("ALREADY_EXISTS", frame=b"something else", **request)
    assert client.good(op="model.get", model="once")["latest"] == first["version"]


def test_a_path_inside_the_allowed_folders_is_read_and_no_other(client, tmp_path):
    path = FOLDER / "breast_binary.txt"
    answer = client.good(op="model.import", model="by-path", file=str(path))
    assert answer["imported"]["file"] == str(path)
    outside = tmp_path / "model.txt"
    outside.write_bytes(path.read_bytes())
    link = services.ROOT / "build" / f"link-{new_id()}"
    link.symlink_to(outside)
    for where in (outside, "/etc/passwd", "/dev/zero", f"{FOLDER}/../../../README.md", link):
        client.refused("PERMISSION_DENIED", op="model.import", model="by-path", file=str(where))
    link.unlink()
    client.refused("NOT_FOUND", op="model.import", model="by-path", file=str(FOLDER / "absent.txt"))


def test_requests_that_say_too_little_or_too_much_are_refused(client):
    path = FOLDER / "breast_binary.txt"
    client.refused("INVALID_ARGUMENT", "file", op="model.import", model="wrong")
    client.refused("INVALID_ARGUMENT", "file", op="model.import", model="wrong", file=str(path), payload="file", frame=path.read_bytes())
    client.refused("INVALID_ARGUMENT", "file", op="model.import", model="wrong", payload="csv", frame=path.read_bytes())
    client.refused("INVALID_ARGUMENT", "format", op="model.import", model="wrong", payload="file", frame=path.read_bytes(), format="unheard")
    client.refused("INVALID_ARGUMENT", "model", op="model.import", model="../x", payload="file", frame=path.read_bytes())
    client.refused("INVALID_ARGUMENT", "payload", op="predict", model="wrong", payload="unheard", frame=b"1")
    client.refused("NOT_FOUND", "model", op="model.export", model="nobody")


def deep(size):
    return b'{"learner":' + b"[" * size


HOSTILE = {
    "nothing": b"",
    "zeros": bytes(1000),
    "noise": random.Random(1).randbytes(5000),
    "msgpack": msgpack.packb({"learner": [1] * 100}),
    "deep json": deep(100000),
    "deep ubjson": b"{L\0\0\0\0\0\0\0\7learner" + b"[" * 100000,
    "a list of 10 GB announced": b"{L\0\0\0\0\0\0\0\1a[$D#L\0\0\0\2\x54\x0b\xe4\0",
    "lightgbm without trees": b"tree\nversion=v4\n",
    "lightgbm with a leaf twice": b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=0\nobjective=regression\nfeature_names=a\n"
                                  b"feature_infos=[0:1]\n\nTree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature=0\nthreshold=0.5\ndecision_type=2\nleft_child=0\n"
                                  b"right_child=-2\nleaf_value=1 2\n\nend of trees\n",
    "lightgbm of a million features": b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=1048575\nobjective=regression\n"
                                      b"feature_names=a\nfeature_infos=[0:1]\n\n",
    "two features of one name": (FOLDER / "breast_binary.txt").read_bytes().replace(b"feature_names=mean_radius mean_texture", b"feature_names=a a", 1)
                                if b"feature_names=mean_radius mean_texture" in (FOLDER / "breast_binary.txt").read_bytes() else b"tree\nx",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_a_reason(client, service, name):
    trainers = service.pids("trainer")
    error = client.refused("INVALID_ARGUMENT", op="model.import", model="hostile", payload="file", frame=HOSTILE[name], timeout_s=60)
    assert len(error["message"]) > 10
    assert service.pids("trainer") == trainers
    client.refused("NOT_FOUND", op="model.get", model="hostile")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_damaged_files_are_refused_or_answer(client, service, path):
    """Cut and changed at seeded places: a reason, or a model that predicts; the trainer and the predictor stay."""
    before = service.pids("trainer"), service.pids("predictor")
    whole, rng = path.read_bytes(), random.Random(path.name)
    rows, _ = recorded(path.name)
    for turn in range(12):
        bytes_ = bytearray(whole[:rng.randrange(len(whole))] if turn % 3 == 0 else whole)
        for _ in range(4 if turn % 3 else 0):
            bytes_[rng.randrange(len(bytes_))] = rng.randrange(256) if turn % 3 == 1 else ord("0") + rng.randrange(10)
        answer = client.ask(op="model.import", model="damaged", payload="file", frame=bytes(bytes_), timeout_s=60)
        if not answer["ok"]:
            assert answer["error"]["code"] in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"), answer
            continue
        answered = client.ask(op="predict", model="damaged", rows=rows[:3])
        assert answered["ok"] or answered["error"]["code"] in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"), answered
    assert (service.pids("trainer"), service.pids("predictor")) == before


def export(client, model, **more):
    data, offset, hashes = b"", 0, set()
    while True:
        answer = client.good(op="model.export", model=model, offset=offset, **more)
        assert answer["offset"] == len(data)
        data += answer["data"]
        hashes.add(answer["hash"])
        if "next" not in answer:
            assert len(data) == answer["bytes"] and len(hashes) == 1
            return answer["format"], data
        offset = answer["next"]


LABELS = {"setosa": 1, "versicolor": 2, "virginica": 4}
IRIS = [line.split(",") for line in (services.DATA / "iris.csv").read_text().split()[1:]]
NUMBERED = {"rows": [[float(cell) for cell in line[:4]] + [LABELS[line[4]]] for line in IRIS], "names": ["a", "b", "c", "d", "label"]}
# A writer of LightGBM's format is in the table of formats or it is not.
WRITES_TREES = "mmq_lightgbm_write" in (services.ROOT / "lib" / "convert" / "convert.c").read_text()
EXAMPLES = {
    "tree": dict(params={"n_estimators": 10}),
    "svm": dict(prepare={"*": {"scale": "none"}}),
    "linear": dict(),
}


@pytest.mark.parametrize("engine", EXAMPLES)
def test_an_exported_model_comes_back_and_answers_the_same(client, engine):
    client.train(model=f"out-{engine}", engine=engine, data=NUMBERED, target="label", task="classification", **EXAMPLES[engine])
    rows = [[5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3], [7.7, 3.0, 6.1, 2.3], [5.8, 2.7, 5.1, 1.9]]
    if engine == "tree" and not WRITES_TREES:
        client.refused("FAILED_PRECONDITION", "format", op="model.export", model=f"out-{engine}")
        return
    format, data = export(client, f"out-{engine}")
    client.good(op="model.import", model=f"in-{engine}", format=format, payload="file", frame=data)
    before, after = (client.predict(f"{side}-{engine}", rows=rows)["prediction"] for side in ("out", "in"))
    if engine == "tree":   # LightGBM's classes are 0, 1, 2
        after = [[1, 2, 4][label] for label in after]
    assert before == after


def test_what_a_format_cannot_say_is_failed_precondition(client):
    client.train(model="scaled", engine="svm", data=NUMBERED, target="label", task="classification")
    assert "scal" in client.refused("FAILED_PRECONDITION", op="model.export", model="scaled")["message"]
    client.refused("FAILED_PRECONDITION", "format", op="model.export", model="scaled", format="liblinear")
    client.refused("INVALID_ARGUMENT", "format", op="model.export", model="scaled", format="unheard")
    client.train(model="no-format", engine="mlp", data=NUMBERED, target="label", task="classification", params={"max_iter": 2})
    client.refused("FAILED_PRECONDITION", "format", op="model.export", model="no-format")


def test_an_import_outlives_its_trainer(fresh):
    """Killed at once, or a little later: another trainer gives the one answer, and the version is there once."""
    own = fresh(predictors=1)
    own.whole()
    client = own.client()
    for turn, name in enumerate(["digits_multiclass.txt", "digits_softprob.ubj", "housing_squarederror_missing.json"]):
        id = client.send(op="model.import", model="survivor", payload="file", frame=(FOLDER / name).read_bytes())
        for _ in range(turn):       # the broker has taken it, and passed it on
            client.good(op="ping")
        own.kill("trainer")
        answer = client.receive(id, timeout_s=60)
        assert answer["ok"] and answer["version"] == turn + 1, answer
        own.whole()
    assert [one["version"] for one in client.good(op="model.get", model="survivor")["versions"]] == [1, 2, 3]
