"""Every engine trains on real data and answers; all input forms of section 5 give the same answers; every `want`."""
import json
import struct

import live
import msgpack
import pytest
import sets

ENGINES = {
    "gbdt": ("tree", {}), "rf": ("tree", {"boosting": "rf", "num_iterations": 40}), "cart": ("tree", {"boosting": "tree"}),
    "svm": ("svm", {}), "mlp": ("mlp", {"hidden_layer_sizes": [32], "max_iter": 150}), "linear": ("linear", {}),
}
MODULO = {"kind": "modulo", "modulo": 5}
FLOOR = {
    "iris.csv": dict.fromkeys(ENGINES, 0.9),
    "breast_cancer.csv": dict.fromkeys(ENGINES, 0.9),
    "digits8x8.csv.gz": {"gbdt": 0.9, "rf": 0.9, "cart": 0.75, "svm": 0.95, "mlp": 0.93, "linear": 0.9},
}


def ensure(client, name, engine, data_set):
    """The model of this engine on this set, trained once per service."""
    model = f"{data_set.split('.')[0]}-{engine}".replace("_", "-")
    listed = {one["model"] for one in client.good(op="model.list")["models"]}
    if model not in listed:
        kind, params = ENGINES[engine]
        client.train(model=model, engine=kind, params=params, data={"file": name}, target=sets.table(data_set)[0][-1], split=MODULO)
    return model


def model_of(client, engine, data_set):
    return ensure(client, str(sets.DATA / data_set), engine, data_set)


@pytest.mark.parametrize("data_set", FLOOR)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_classifies_held_out_rows(client, engine, data_set):
    model = model_of(client, engine, data_set)
    _, rows, truth = sets.held_out(data_set)
    answer = client.good(op="predict", model=model, rows=rows)
    quality = sets.accuracy(truth, answer["outputs"]["prediction"])
    assert quality >= FLOOR[data_set][engine]
    assert answer["task"] == ("binary" if data_set == "breast_cancer.csv" else "multiclass")
    assert answer["rows"] == len(rows) and answer["model"] == model and answer["version"] == 1
    card = client.good(op="model.get", model=model)["card"]
    assert abs(card["metrics"]["test"]["accuracy"] - quality) < 1e-9, "the card's quality is that of the rows that were held out"
    assert card["metrics"]["test"]["n"] == len(rows)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_learns_a_number(client, engine):
    model = model_of(client, engine, "diabetes.csv")
    _, rows, truth = sets.held_out("diabetes.csv")
    answer = client.good(op="predict", model=model, rows=rows)
    mean = sum(truth) / len(truth)
    assert answer["task"] == "regression" and "classes" not in answer
    got = sets.rmse(truth, answer["outputs"]["prediction"])
    assert got < (1.2 if engine == "cart" else 0.9) * sets.rmse(truth, [mean] * len(truth))
    metrics = client.good(op="model.get", model=model)["card"]["metrics"]["test"]
    assert metrics["rmse"] == pytest.approx(got, rel=1e-6) and {"mae", "r2", "n"} <= set(metrics)


@pytest.mark.parametrize("engine", ENGINES)
def test_text_columns_and_gaps_inline(client, engine):
    """Adult rows in the message: strings and nil; the model takes an unseen text and a gap later."""
    kind, params = ENGINES[engine]
    names, rows = sets.table("adult_train.csv.gz", 1500)
    result = client.train(model=f"adult-{engine}", engine=kind, params=params, data=sets.inline("adult_train.csv.gz", 1500),
                          target="income", positive=">50K", split=MODULO)
    assert result["task"] == "binary" and result["classes"] == ["<=50K", ">50K"] and result["rows"]["test"] == 300
    assert result["metrics"]["test"]["accuracy"] > (0.75 if engine == "cart" else 0.78)
    inputs = {one["name"]: one for one in client.good(op="model.get", model=f"adult-{engine}")["inputs"]}
    assert inputs["workclass"]["kind"] == "categorical" and inputs["age"]["kind"] == "numeric" and "income" not in inputs
    strange = list(rows[0][:-1])
    strange[1], strange[6] = "no-such-workclass", None
    answer = client.good(op="predict", model=f"adult-{engine}", rows=[strange, rows[1][:-1]])
    assert answer["positive"] == ">50K" and set(answer["outputs"]["prediction"]) <= {"<=50K", ">50K"}


def test_sparse_rows_of_heart_scale(client):
    labels, rows = sets.heart()
    file = {"file": str(sets.DATA / "heart_scale.libsvm"), "format": "libsvm"}
    for engine in ("svm", "linear", "gbdt", "mlp"):
        kind, params = ENGINES[engine]
        result = client.train(model=f"heart-{engine}", engine=kind, params=params, data=file, split=MODULO)
        assert result["task"] == "binary" and result["classes"] == [-1, 1] and result["metrics"]["test"]["accuracy"] > 0.7
        by_map = client.good(op="predict", model=f"heart-{engine}", rows=rows)
        assert by_map["classes"] == [-1, 1], "integer labels stay integers"
        assert sets.accuracy(labels, by_map["outputs"]["prediction"]) > 0.8
        dense = [[row.get(i, 0.0) for i in range(13)] for row in rows]
        same(client, f"heart-{engine}", by_map["outputs"], {"sparse": csr(rows, 13)}, {"rows": dense})


# -- all input forms ---------------------------------------------------------------------------------------------------------------
def csr(rows, width):
    indptr, indices, data = [0], [], []
    for row in rows:
        indices += sorted(row)
        data += [row[i] for i in sorted(row)]
        indptr.append(len(indices))
    return {"shape": [len(rows), width], "indptr": indptr, "indices": indices, "data": data}


def tensor(dtype, rows):
    code = {"f64": "d", "f32": "f", "u8": "B", "i64": "q"}[dtype]
    flat = [value for row in rows for value in row]
    return {"dtype": dtype, "shape": [len(rows), len(rows[0])], "data": struct.pack(f"<{len(flat)}{code}", *flat)}


def same(client, model, outputs, *forms):
    for form in forms:
        frame = form.pop("_frame", None)
        got = client.predict(model, frame=frame, reply_format="lists", want=list(outputs), **form)
        assert got == outputs, f"{list(form)}: another answer"


def number_forms(names, rows):
    """The same numbers in every form."""
    f64 = tensor("f64", rows)
    numpy = {b"nd": True, b"type": "<f8", b"kind": b"", b"shape": f64["shape"], b"data": f64["data"]}
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    pieces = {name: {"dtype": "f64", "shape": [len(rows)], "data": struct.pack(f"<{len(rows)}d", *columns[name])} for name in names}
    text = "\r\n".join([",".join(names)] + [",".join(map(repr, row)) for row in rows]) + "\r\n"
    semicolons = "\n".join(";".join(map(repr, row)) for row in rows)
    lines = "\n".join(json.dumps(dict(zip(names, row))) for row in rows)
    lists = "\n".join(json.dumps(row) for row in rows)
    return {
        "lists": {"rows": rows}, "maps": {"rows": [dict(zip(reversed(names), reversed(row))) for row in rows]},
        "sparse maps": {"rows": [dict(enumerate(row)) for row in rows]}, "columns": {"columns": columns},
        "columns of tensors": {"columns": pieces}, "tensor": {"tensor": f64}, "numpy in tensor": {"tensor": numpy},
        "numpy in rows": {"rows": numpy}, "numpy, text keys": {"tensor": {**{k.decode(): v for k, v in numpy.items()}, "kind": ""}},
        "csr": {"sparse": csr([dict(enumerate(row)) for row in rows], len(names))},
        "csr of tensors": {"sparse": tensors_of(csr([dict(enumerate(row)) for row in rows], len(names)))},
        "csv payload": {"payload": "csv", "_frame": text.encode()},
        "csv payload with names": {"payload": "csv", "_frame": semicolons.encode(), "format_options": {"delimiter": ";", "names": names}},
        "jsonl payload": {"payload": "jsonl", "_frame": lines.encode()},
        "jsonl lists": {"payload": "jsonl", "_frame": lists.encode()},
        "tensor payload": {"payload": "tensor", "tensor": {"dtype": "f64", "shape": f64["shape"]}, "_frame": f64["data"]},
        "msgpack payload": {"payload": "msgpack", "_frame": msgpack.packb({"rows": rows})},
        "msgpack payload of columns": {"payload": "msgpack", "_frame": msgpack.packb({"columns": columns})},
    }


def tensors_of(sparse):
    data = {"indptr": "i64", "indices": "i64", "data": "f64"}
    made = {key: tensor(dtype, [sparse[key]]) for key, dtype in data.items()}
    return {"shape": sparse["shape"], **{key: {**value, "shape": value["shape"][1:]} for key, value in made.items()}}


NAMES, ROWS, _ = sets.held_out("iris.csv")
FORMS = number_forms(NAMES, ROWS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("engine", ["gbdt", "svm", "linear", "mlp"])
def test_every_form_gives_the_same_answer(client, engine, form):
    model = model_of(client, engine, "iris.csv")
    outputs = client.predict(model, rows=ROWS, want=["prediction", "score"])
    same(client, model, outputs, dict(FORMS[form]))


def test_small_dtypes_give_the_answer_of_their_numbers(client):
    """float32 and bytes are numbers like others: equal to the lists of the same values."""
    model = model_of(client, "gbdt", "digits8x8.csv.gz")
    _, rows, _ = sets.held_out("digits8x8.csv.gz", 200)
    bytes_ = [[int(v) for v in row] for row in rows]
    outputs = client.predict(model, rows=rows, want=["prediction", "probability"])
    same(client, model, outputs, *({"tensor": tensor(dtype, bytes_)} for dtype in ("u8", "i64", "f32", "f64")))


def test_one_row_answers_as_in_a_batch(client):
    for engine in ENGINES:
        model = model_of(client, engine, "iris.csv")
        batch = client.predict(model, rows=ROWS, want=["prediction", "score"])
        ids = [client.send(op="predict", model=model, rows=[row], want=["prediction", "score"]) for row in ROWS]
        singles = [client.receive(id)["outputs"] for id in ids]
        assert [one["prediction"][0] for one in singles] == batch["prediction"]
        for one, score in zip(singles, batch["score"]):
            assert one["score"][0] == pytest.approx(score, rel=1e-5, abs=1e-6)


# -- want --------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("data_set", ["iris.csv", "breast_cancer.csv", "diabetes.csv"])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_want_is_answered_or_refused_by_name(client, engine, data_set):
    model = model_of(client, engine, data_set)
    names, rows, _ = sets.held_out(data_set)
    rows = rows[:20]
    has = {one["name"] for one in client.good(op="model.get", model=model)["outputs"]}
    assert {"prediction", "score"} <= has
    for want in ("prediction", "probability", "score", "interval", "contribution", "leaf"):
        if want in has:
            answer = client.good(op="predict", model=model, rows=rows, want=[want])
            hold(answer, want, len(names), len(rows))
        else:
            client.refused("FAILED_PRECONDITION", "want", op="predict", model=model, rows=rows, want=[want])
    if data_set == "diabetes.csv":
        assert "probability" not in has


def hold(answer, want, columns, rows):
    """Shapes and sums of section 6."""
    values, classes = answer["outputs"][want], answer.get("classes", [])
    assert len(values) == rows
    if want == "probability":
        assert all(len(row) == len(classes) and min(row) >= 0 and sum(row) == pytest.approx(1, abs=1e-6) for row in values)
    if want == "contribution":
        assert len(answer["outputs"]["columns"]) == columns and answer["outputs"]["method"]
        assert len(values[0]) == (len(classes) if len(classes) > 2 else columns)


def test_probability_score_and_prediction_agree(client):
    for engine in ("gbdt", "rf", "cart", "mlp", "linear"):
        answer = client.good(op="predict", model=model_of(client, engine, "breast_cancer.csv"), rows=sets.held_out("breast_cancer.csv")[1],
                             want=["prediction", "probability", "score"])
        out, at = answer["outputs"], answer["classes"].index(answer["positive"])
        for label, probability, score in zip(out["prediction"], out["probability"], out["score"]):
            assert isinstance(score, float), "a binary score is one number"
            assert label == answer["classes"][probability.index(max(probability))]
            if abs(score) > 1e-9:
                assert (score > 0) == (probability[at] > 0.5)


@pytest.mark.parametrize("engine", ["linear", "mlp"])
@pytest.mark.parametrize("data_set", ["iris.csv", "breast_cancer.csv", "diabetes.csv"])
def test_contributions_add_up_to_the_score(client, data_set, engine):
    model = model_of(client, engine, data_set)
    out = client.predict(model, rows=sets.held_out(data_set)[1], want=["score", "contribution"])
    for score, contribution in zip(out["score"], out["contribution"]):
        many = isinstance(contribution[0], list)
        for got, parts, base in zip(score if many else [score], contribution if many else [contribution], out["base"]):
            assert base + sum(parts) == pytest.approx(got, abs=1e-6 * max(1, sum(map(abs, parts))))


def test_multiclass_svm_scores_are_named_pairs(client):
    answer = client.good(op="predict", model=model_of(client, "svm", "iris.csv"), rows=ROWS, want=["score"])
    assert len(answer["score_names"]) == 3 and all(len(row) == 3 for row in answer["outputs"]["score"])
    assert all("setosa" in name or "versicolor" in name for name in answer["score_names"])


def test_several_requests_in_one_frame_are_answered_like_single_ones(client):
    """A list of maps: an answer to each, in lists, as if each had been asked alone."""
    model = model_of(client, "gbdt", "iris.csv")
    _, rows, _ = sets.held_out("iris.csv")
    asked = [{"v": 1, "op": "predict", "id": f"l{i}", "model": model, "rows": [row]} for i, row in enumerate(rows)]
    live.check("list", asked, closed=False)
    client.request.send(msgpack.packb(asked))
    got = {}
    while len(got) < len(asked):
        assert client.request.poll(10000)
        answers = msgpack.unpackb(client.request.recv(), strict_map_key=False)
        live.check("list.answer", answers, closed=False)
        for answer in answers:
            live.check_answer("predict", answer)
            got[answer["id"]] = answer["outputs"]["prediction"][0]
    whole = client.good(op="predict", model=model, rows=rows)["outputs"]["prediction"]
    assert [got[f"l{i}"] for i in range(len(rows))] == whole
