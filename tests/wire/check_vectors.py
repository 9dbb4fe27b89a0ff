"""Checks schemas/vectors against msgpack's Python package and the JSON Schemas; with --fill writes hex for vectors that lack it.

A vector's `decoded` is its message as JSON. What JSON lacks is written {"$bin": hex}, {"$float": "nan"} and {"$map": [[key, value], ...]}.
A vector without `decoded` is bytes that no packer would write. Run from the project root.
"""
import glob
import json
import math
import sys

import jsonschema
import msgpack

FOLDER = "schemas"


def to_python(value):
    if isinstance(value, list):
        return [to_python(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "$bin" in value:
        return bytes.fromhex(value["$bin"])
    if "$float" in value:
        return float(value["$float"])
    if "$map" in value:
        return {to_python(k): to_python(v) for k, v in value["$map"]}
    return {k: to_python(v) for k, v in value.items()}


def to_json(value):
    if isinstance(value, bytes):
        return {"$bin": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, list):
        return [to_json(v) for v in value]
    if isinstance(value, dict):
        if all(isinstance(k, str) for k in value):
            return {k: to_json(v) for k, v in value.items()}
        return {"$map": [[to_json(k), to_json(v)] for k, v in value.items()]}
    return value


def validators():
    store = {}
    for path in glob.glob(f"{FOLDER}/*.json"):
        with open(path, encoding="utf-8") as file:
            schema = json.load(file)
        jsonschema.Draft202012Validator.check_schema(schema)
        store[path.split("/")[-1]] = schema
    made = {}
    for name, schema in store.items():
        resolver = jsonschema.RefResolver(base_uri=name, referrer=schema, store=dict(store))
        made[name] = jsonschema.Draft202012Validator(schema, resolver=resolver)
    return made


def check(vector, schemas):
    """None, or what is wrong with the vector."""
    data = bytes.fromhex(vector["hex"])
    if "decoded" in vector:
        decoded = msgpack.unpackb(data, strict_map_key=False)
        if json.dumps(to_json(decoded)) != json.dumps(vector["decoded"]):
            return "hex does not decode to `decoded`"
        if msgpack.packb(to_python(vector["decoded"])) != data:
            return "`decoded` does not pack to hex"
    if "schema" not in vector:
        return None
    errors = list(schemas[vector["schema"]].iter_errors(vector["decoded"]))
    wanted = vector.get("valid", True)
    if wanted and errors:
        return f"{vector['schema']} refuses it: {errors[0].message} at {list(errors[0].path)}"
    if not wanted and not errors:
        return f"{vector['schema']} accepts it, but it is bad"
    return None


def main():
    schemas = validators()
    count = wrong = 0
    names = set()
    for path in sorted(glob.glob(f"{FOLDER}/vectors/*.json")):
        if path.endswith("/models.json"):
            continue
        with open(path, encoding="utf-8") as file:
            vectors = json.load(file)
        if "--fill" in sys.argv:
            for vector in vectors:
                if "hex" not in vector:
                    vector["hex"] = msgpack.packb(to_python(vector["decoded"])).hex()
            with open(path, "w", encoding="utf-8") as file:
                file.write("[\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in vectors) + "\n]\n")
        for vector in vectors:
            count += 1
            why = "its name is there twice" if vector["name"] in names else check(vector, schemas)
            names.add(vector["name"])
            if why is not None:
                wrong += 1
                print(f"{path}: {vector['name']}: {why}")
    print(f"{count} vectors, {len(schemas)} schemas, {wrong} wrong")
    return 1 if wrong or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
