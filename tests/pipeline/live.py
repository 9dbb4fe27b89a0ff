"""Holds live messages against schemas/*.json: the schema of the op, and no key on top that the schema does not name.

SEEN counts what was checked, so that a test can say that every kind of message was there.
"""
import collections
import json
import math
import pathlib

import jsonschema

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "schemas"
ANSWERS = {
    "predict": "predict.answer", "train": "train.answer", "train.check": "train.check.answer",
    "job.get": "job.answer", "job.wait": "job.answer", "job.cancel": "job.answer", "job.list": "job.list.answer",
    "model.list": "model.list.answer", "model.get": "model.get.answer", "model.alias": "model.change.answer",
    "model.delete": "model.change.answer", "model.import": "model.import.answer", "model.export": "model.export.answer",
    "engine.list": "engine.list.answer", "engine.get": "engine.get.answer",
    "cancel": "cancel.answer", "results": "results.answer", "ping": "ping.answer", "status": "status.answer",
}
REQUESTS = {
    "predict": "predict", "train": "train", "train.check": "train.check", "job.get": "job", "job.wait": "job", "job.cancel": "job",
    "job.list": "job", "model.list": "model", "model.get": "model", "model.alias": "model", "model.delete": "model",
    "model.import": "model", "model.export": "model",
    "engine.list": "engine", "engine.get": "engine", "cancel": "cancel", "results": "results", "ping": "ping", "status": "status",
}
TOPICS = {"result": "sink.result", "job": "sink.job", "model": "sink.model", "mark": "sink.mark"}
SEEN = collections.Counter()


def load():
    return {path.name: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}


STORE = load()
VALIDATORS = {}


def to_json(value):
    """Binary, NaN and maps with other keys than strings, as the schemas write them."""
    if isinstance(value, bytes):
        return {"$bin": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: to_json(item) for key, item in value.items()}
        return {"$map": [[to_json(key), to_json(item)] for key, item in value.items()]}
    return value


def validator(name, closed):
    """closed: top-level keys that the schema does not name are errors (a reader ignores them; we want them in the page)."""
    if (name, closed) not in VALIDATORS:
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": f"{name}.json"}
        if closed:
            schema["unevaluatedProperties"] = False
        resolver = jsonschema.RefResolver(base_uri="", referrer=schema, store=dict(STORE))
        VALIDATORS[name, closed] = jsonschema.Draft202012Validator(schema, resolver=resolver)
    return VALIDATORS[name, closed]


def check(name, message, closed=True):
    errors = sorted(validator(name, closed).iter_errors(to_json(message)), key=lambda error: len(list(error.path)))
    assert not errors, f"{name}.json: {errors[0].message[:600]} at {list(errors[0].absolute_path)}; message keys {list(message)}"
    SEEN[name] += 1


def check_answer(op, answer):
    """op None: it is not known what was asked."""
    if not answer.get("ok"):
        check("error", answer)
    elif op is None or answer.get("accepted"):
        check("answer", answer, closed=False)
    else:
        check(ANSWERS[op], answer)


def check_request(request):
    check(REQUESTS[request["op"]], request, closed=False)


def check_message(topic, message):
    kind = topic.split("/")[0]
    check(TOPICS[kind], message, closed=False)
    if kind == "result":
        answer = {key: value for key, value in message.items() if key not in ("run", "n", "seq")}
        check_answer(topic.split("/")[3], answer)
