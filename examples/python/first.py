#!/usr/bin/python3
"""A first model in a few lines: pyzmq and msgpack are all that a client needs. Usage: first.py HOME (of a running `modelmq up`)."""
import os
import pathlib
import sys
import uuid

import msgpack
import zmq

home = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MODELMQ_HOME", "modelmq-home"))
endpoints = dict(line.split("=", 1) for line in (home / "endpoints").read_text().split())
socket = zmq.Context.instance().socket(zmq.DEALER)
socket.connect(endpoints["request"])

def ask(**request):
    socket.send(msgpack.packb({"v": 1, "id": uuid.uuid4().hex, **request}))
    answer = msgpack.unpackb(socket.recv())
    return answer if answer["ok"] else sys.exit(f"{answer['error']['code']}: {answer['error']['message']}")

iris = pathlib.Path(__file__).resolve().parent.parent / "data" / "iris.csv"
job = ask(op="train", model="first", engine="tree", data={"file": str(iris)}, target="species")["job"]
print("trained:", ask(op="job.wait", job=job)["result"]["metrics"])
answer = ask(op="predict", model="first", rows=[[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], want=["prediction", "probability"])
print("predicted:", answer["outputs"]["prediction"], "by version", answer["version"])
