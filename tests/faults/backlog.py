"""Durable requests that nobody works on: they lie on disk, memory stays flat, a restart finds all of them.

    python3 tests/faults/backlog.py --jobs 1000000     the long form; prints its figures
`make check` runs 20,000 of them (test_backlog.py)."""
import argparse
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "daemon")]

import msgpack  # noqa: E402
import zmq  # noqa: E402

from helpers import Broker, Client, Worker, fresh_home, until  # noqa: E402

MODEL, IN_FLIGHT = [("iris", [1], {"production": 1})], 1000


def identity(i):
    return f"backlog-{i:024d}"


class Backlog:
    """What was measured. rss_kb: of the broker at the start, when a tenth was accepted, all were, after the restart, and after some were done."""

    def __init__(self, home, context, jobs, filler=0):
        self.jobs, self.filler, self.rss_kb = jobs, bytes(filler), []
        self.broker = Broker(home).start()
        try:
            self.fill(context)
            self.journal_mb = sum(path.stat().st_size for path in pathlib.Path(home).glob("journal.db*")) / 1e6
            self.broker.kill()
            began = time.monotonic()
            self.broker.start()
            self.ready_s = time.monotonic() - began
            self.rss_kb.append(self.broker.rss_kb())
            self.some_done(context)
            self.rss_kb.append(self.broker.rss_kb())
        finally:
            self.broker.kill()

    def fill(self, context):
        Worker(context, self.broker, models=MODEL, window=0)
        client = Client(context, self.broker)
        assert client.ask("ping")["ok"]
        self.rss_kb.append(self.broker.rss_kb())
        sent = accepted = 0
        began = time.monotonic()
        while accepted < self.jobs:
            while sent < self.jobs and sent - accepted < IN_FLIGHT:
                client.socket.send(msgpack.packb({"v": 1, "op": "predict", "id": identity(sent), "model": "iris", "durable": True, "wait": False,
                                                  "deadline_ms": 2000000000, "rows": [[1.5, 2.5, 3.5, 4.5]], "filler": self.filler}))
                sent += 1
            answer = client.receive()
            assert answer.get("accepted"), answer
            accepted += 1
            if accepted in (self.jobs // 10, self.jobs):
                self.rss_kb.append(self.broker.rss_kb())
        self.rate = self.jobs / (time.monotonic() - began)

    def some_done(self, context, count=2000):
        """The oldest come first."""
        worker, client = Worker(context, self.broker, models=MODEL, window=64), Client(context, self.broker)
        self.found = client.ask("status")["queue"]["durable"]
        for i in range(count):
            item = until(lambda: worker.items or worker.beat() or worker.take(0.2) and worker.items) and worker.items.pop(0)
            assert item.request["id"] == identity(i), (item.request["id"], i)
            worker.echo(item)
            if i % 50 == 0:
                worker.beat()
        assert until(lambda: client.ask("status")["queue"]["durable"] == self.found - count)

    def report(self):
        return (f"{self.jobs} durable requests accepted at {self.rate:.0f}/s by one Python client, journal {self.journal_mb:.0f} MB; broker RSS in kB: "
                f"start {self.rss_kb[0]}, a tenth {self.rss_kb[1]}, all {self.rss_kb[2]}, killed and started again {self.rss_kb[3]} (ready after "
                f"{self.ready_s:.2f} s, {self.found} found), after 2000 were done in order {self.rss_kb[4]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1000000)
    with fresh_home() as home:
        print(Backlog(home, zmq.Context(), parser.parse_args().jobs).report())
