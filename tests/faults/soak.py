"""Mixed traffic for a while, with a reload every second and a worker killed every ten: nothing is lost or refused, memory stays flat.

    python3 tests/faults/soak.py --seconds 1800        the long form; prints its figures
`make check` runs 60 seconds of it (test_soak.py). The figures are what the broker's RSS did after the first third, and counts per answer."""
import argparse
import collections
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "daemon")]

import zmq  # noqa: E402

from helpers import fresh_home  # noqa: E402
from processes import DATA, Service  # noqa: E402

IN_FLIGHT, ROW = 64, [5.1, 3.5, 1.4, 0.2]


class Soak:
    def __init__(self, service, seconds):
        self.service, self.client, self.seconds = service, service.client, seconds
        self.open = {}                        # id -> (what, when)
        self.counts = collections.Counter()
        self.failures, self.samples, self.latencies = [], [], []
        self.turn, self.next = 0, {"alias": 0.0, "durable": 0.0, "train": 2.0, "kill": 10.0, "cancel": 0.5, "rss": 0.0, "list": 0.3}
        self.killed = 0

    def ask(self, what, op, **keys):
        self.open[self.client.send(op, **keys)] = (what, time.monotonic(), keys)

    def due(self, what, now, every):
        if now < self.next[what]:
            return False
        self.next[what] = now + every
        return True

    def step(self, now):
        if self.due("alias", now, 1.0):
            self.turn += 1
            self.ask("alias", "model.alias", model="iris", alias="production", version=1 + self.turn % 2)
        if self.due("durable", now, 0.05):
            self.ask("durable", "predict", model="iris", rows=[ROW], durable=True, sink=True)
        if self.due("train", now, 5.0):
            self.ask("train", "train", model=f"soak{self.turn % 3}", engine="tree", params={"num_iterations": 5}, target="species",
                     data={"file": str(DATA / "iris.csv")})
        if self.due("cancel", now, 0.7):
            self.ask("cancelled", "predict", id=f"cancelled-{self.turn}-{now}", model="iris", rows=[ROW] * 50)
            self.ask("cancel", "cancel", request=f"cancelled-{self.turn}-{now}")
        if self.due("list", now, 0.5):
            self.ask("list", "model.list")
        if self.due("kill", now, 10.0):
            kind = "trainer" if self.killed % 4 == 3 else "predictor"
            self.killed += 1
            self.service.kill(kind)
            self.service.worker(kind, *(["--data", str(DATA)] if kind == "trainer" else []))
        if self.due("rss", now, max(0.5, self.seconds / 400)):
            self.samples.append((now, self.service.broker.rss_kb()))
        while sum(what == "plain" for what, _, _ in self.open.values()) < IN_FLIGHT:
            self.ask("plain", "predict", model="iris", rows=[ROW])

    def hear(self, answer):
        what, since, keys = self.open.pop(answer["id"])
        self.counts[what] += 1
        if what == "plain":
            self.latencies.append(time.monotonic() - since)
            if len(self.latencies) > 200000:
                del self.latencies[::2]
        if answer["ok"] or (what == "cancelled" and answer["error"]["code"] == "CANCELLED"):
            return
        self.failures.append((what, answer["error"]))

    def run(self):
        began = time.monotonic()
        while time.monotonic() - began < self.seconds:
            self.step(time.monotonic() - began)
            if self.client.socket.poll(20):
                for _ in range(IN_FLIGHT):
                    self.hear(self.client.receive())
                    if not self.client.socket.poll(0):
                        break
        end = time.monotonic() + 40
        while self.open and time.monotonic() < end:
            if self.client.socket.poll(200):
                self.hear(self.client.receive())

    def slope_kb_per_s(self):
        """Least squares over what comes after the first third."""
        late = self.samples[len(self.samples) // 3:]
        mean_t, mean_kb = (sum(sample[i] for sample in late) / len(late) for i in (0, 1))
        return sum((t - mean_t) * (kb - mean_kb) for t, kb in late) / max(1e-9, sum((t - mean_t) ** 2 for t, _ in late))

    def report(self):
        latencies = sorted(self.latencies)
        return (f"{self.seconds:.0f} s, {sum(self.counts.values())} answers {dict(self.counts)}, {self.killed} workers killed, "
                f"{len(self.failures)} failed, {len(self.open)} lost; plain p50 {latencies[len(latencies) // 2] * 1000:.2f} ms, "
                f"p99 {latencies[len(latencies) * 99 // 100] * 1000:.2f} ms; broker RSS {self.samples[0][1]} to {self.samples[-1][1]} kB, "
                f"slope after the first third {self.slope_kb_per_s():.2f} kB/s")


def fill(client, count):
    """Durable requests until the journal is larger than what SQLite keeps of it in memory: what grows from then on is ours."""
    sent = answered = 0
    while answered < count:
        while sent < count and sent - answered < 500:
            client.send("predict", model="iris", rows=[ROW], durable=True)
            sent += 1
        assert client.receive(30)["ok"]
        answered += 1


def soak(home, context, seconds, filling=40000):
    service = Service(home, context)
    try:
        service.start(trainers=1, predictors=2)
        for _ in range(2):
            service.trained("iris")
        fill(service.client, filling)
        run = Soak(service, seconds)
        run.run()
        return run
    finally:
        service.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    with fresh_home() as home:
        done = soak(home, zmq.Context(), parser.parse_args().seconds)
    print(done.report())
    for failure in done.failures[:10]:
        print("failed:", failure)
    sys.exit(bool(done.failures or done.open))
