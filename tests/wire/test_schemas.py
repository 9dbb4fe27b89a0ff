"""The schemas agree with the golden vectors, with the page for people, and with the table of operations in the C code."""
import glob
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import check_vectors  # noqa: E402


def text(path):
    return pathlib.Path(path).read_text(encoding="utf-8")


def test_every_vector_agrees_with_msgpack_and_its_schema(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["check_vectors"])
    assert check_vectors.main() == 0


def test_the_page_and_asyncapi_name_every_schema():
    page, asyncapi = text("schemas/README.md"), text("schemas/asyncapi.yaml")
    for path in glob.glob("schemas/*.json"):
        name = path.split("/")[-1]
        assert f"`{name}`" in page, name
        assert name in ("common.json", "request.json", "answer.json", "train.result.json") or f'"{name}"' in asyncapi, name


def test_the_operations_are_those_of_the_code():
    code = re.findall(r'X\(MMQ_OP_\w+,\s*"([a-z.]+)"', text("lib/wire/peek.h"))
    schema = json.loads(text("schemas/request.json"))["properties"]["op"]["enum"]
    assert sorted(code) == sorted(schema)


def test_the_error_codes_are_those_of_the_code():
    code = re.findall(r'X\(MMQ_\w+, "([A-Z_]+)", [01]\)', text("lib/util/err.h"))
    schema = json.loads(text("schemas/common.json"))["$defs"]["code"]["enum"]
    assert sorted(schema + ["OK"]) == sorted(code)
