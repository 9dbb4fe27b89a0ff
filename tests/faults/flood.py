"""One tenant floods, another one asks: how much longer does that one wait?

    python3 tests/faults/flood.py          prints the other tenant's latencies alone and beside the flood, on real processes

Tenants come from CURVE keys. The flood keeps 512 rows in flight from a process of its own, once at normal priority, where its client competes with
everybody for the processors, and once at the lowest, which leaves what the service makes of it. test_played.py holds the order of turns; this measures what it is worth."""
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "daemon")]

import msgpack  # noqa: E402
import zmq  # noqa: E402
import zmq.auth  # noqa: E402

from helpers import Broker, binary, fresh_home, until  # noqa: E402
from processes import DATA, Service  # noqa: E402

IN_FLIGHT, SAMPLES, ROW = 512, 10000, [[5.1, 3.5, 1.4, 0.2]]


class Tenant:
    def __init__(self, keys, name, endpoint):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.curve_serverkey = zmq.auth.load_certificate(str(keys / "broker"))[0]
        self.socket.curve_publickey, self.socket.curve_secretkey = zmq.auth.load_certificate(str(keys / f"{name}_secret"))
        self.socket.connect(endpoint)
        self.number = 0

    def send(self, op, **keys):
        self.number += 1
        self.socket.send(msgpack.packb({"v": 1, "op": op, "id": f"request-{self.number:016d}", **keys}))

    def receive(self):
        assert self.socket.poll(30000), "no answer in time"
        return msgpack.unpackb(self.socket.recv(), strict_map_key=False)

    def ask(self, op, **keys):
        self.send(op, **keys)
        return self.receive()

    def train(self):
        job = self.ask("train", model="iris", engine="tree", params={"num_iterations": 10}, target="species", data={"file": str(DATA / "iris.csv")})["job"]
        assert self.ask("job.wait", job=job)["state"] == "done"
        assert until(lambda: self.ask("predict", model="iris", rows=ROW)["ok"])

    def latencies_ms(self, count, in_flight):
        found, began = [], {}
        while len(found) < count:
            while len(began) < in_flight:
                self.send("predict", model="iris", rows=ROW)
                began[f"request-{self.number:016d}"] = time.monotonic()
            answer = self.receive()
            assert answer["ok"], answer
            found.append((time.monotonic() - began.pop(answer["id"])) * 1000)
        for _ in began:
            self.receive()
        return sorted(found)

    def flood(self):
        open_requests = done = 0
        while True:
            while open_requests < IN_FLIGHT:
                self.send("predict", model="iris", rows=ROW)
                open_requests += 1
            self.receive()
            open_requests, done = open_requests - 1, done + 1
            if done == 5000:
                print("flooding", flush=True)


def measured(home, in_flight, niceness=0, samples=SAMPLES):
    """The quiet tenant's sorted latencies: alone, beside the flood, alone again; and the flood's answers per second."""
    keys = home.parent / "keys"
    (keys / "allow").mkdir(parents=True)
    for name in ("loud", "quiet"):
        subprocess.run([binary("modelmq"), "keygen", name, "--keys", str(keys), "--role", "client", "--tenant", name], check=True, cwd=keys,
                       stdout=subprocess.DEVNULL)
    service = Service(home, None)
    service.broker = Broker(home, "--keys", str(keys), "--request", "tcp://127.0.0.1:*", "--lease-ms", "5000", "--heartbeat-ms", "500").start()
    flood = None
    try:
        service.worker("trainer", "--data", str(DATA))
        for _ in range(2):
            service.worker("predictor")
        endpoint = service.broker.endpoints["request"]
        loud, quiet = (Tenant(keys, name, endpoint) for name in ("loud", "quiet"))
        for tenant in (loud, quiet):
            assert until(lambda: tenant.ask("status")["health"] == "ready")
            tenant.train()
        alone = quiet.latencies_ms(samples, in_flight)
        flood = subprocess.Popen([sys.executable, str(HERE / "flood.py"), "loud", str(keys), endpoint], stdout=subprocess.PIPE, text=True,
                                 preexec_fn=lambda: os.nice(niceness))
        assert flood.stdout.readline() == "flooding\n"
        began, before = time.monotonic(), quiet.ask("status")["counters"]["predict_done"]
        beside = quiet.latencies_ms(samples, in_flight)
        rate = (quiet.ask("status")["counters"]["predict_done"] - before - samples - in_flight) / (time.monotonic() - began)
        assert flood.poll() is None
        flood.kill()
        flood.wait()
        return alone, beside, quiet.latencies_ms(samples, in_flight), rate
    finally:
        if flood is not None and flood.poll() is None:
            flood.kill()
        service.close()


def percentile(latencies, share):
    return latencies[int(len(latencies) * share)]


if __name__ == "__main__":
    if len(sys.argv) == 4:
        Tenant(pathlib.Path(sys.argv[2]), sys.argv[1], sys.argv[3]).flood()
    for in_flight, niceness in ((1, 0), (1, 19), (32, 0), (32, 19)):
        with fresh_home() as home:
            *runs, rate = measured(home, in_flight, niceness)
        print(f"the other tenant keeps {in_flight} in flight, the flood's client has nice {niceness}:")
        for what, latencies in zip(("alone", f"beside a flood of {rate:.0f} rows/s", "alone again"), runs):
            print(f"  {what}: p50 {percentile(latencies, 0.5):.3f} ms, p99 {percentile(latencies, 0.99):.3f} ms")
