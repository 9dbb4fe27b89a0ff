"""Thousands of connections that say nothing, a thousand that come and go every second, and a client that does not notice.

    python3 tests/faults/churn.py --idle 10000 --rate 1000 --seconds 600

prints the broker's descriptors and memory before, with all of them, and after, and the client's latencies. test_played.py 39 is the short form."""
import argparse
import os
import pathlib
import resource
import socket
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "daemon")]

import zmq  # noqa: E402

from helpers import Broker, Client, fresh_home, until  # noqa: E402
from test_played import GREETING, ready  # noqa: E402


def descriptors(broker):
    return len(os.listdir(f"/proc/{broker.process.pid}/fd"))


def connected(port):
    end = socket.create_connection(("127.0.0.1", port))
    end.sendall(GREETING + ready())
    return end


def run(broker, idle, rate, seconds):
    port = int(broker.endpoints["request"].rsplit(":", 1)[1])
    client = Client(zmq.Context.instance(), broker)
    assert client.ask("ping")["ok"]
    figures = {"before": (descriptors(broker), broker.rss_kb())}
    ends = [connected(port) for _ in range(idle)]
    assert until(lambda: client.ask("ping")["ok"] and descriptors(broker) >= idle, 60)
    figures["all idle"] = (descriptors(broker), broker.rss_kb())
    began, made, pings = time.monotonic(), 0, []
    while time.monotonic() - began < seconds:
        while made < (time.monotonic() - began) * rate:
            connected(port).close()
            made += 1
        asked = time.monotonic()
        assert client.ask("ping")["ok"]
        pings.append((time.monotonic() - asked) * 1000)
        client.socket.poll(2)       # nothing comes: a pause that keeps the rate from being a busy loop
    figures["after the churn"] = (descriptors(broker), broker.rss_kb())
    for end in ends:
        end.close()
    assert until(lambda: client.ask("ping")["ok"] and not client.socket.poll(100) and descriptors(broker) <= figures["before"][0] + 2, 60)
    # The broker looks once a minute at what the allocator keeps.
    until(lambda: client.ask("ping")["ok"] and not client.socket.poll(500) and broker.rss_kb() < 64000, 70)
    figures["all gone"] = (descriptors(broker), broker.rss_kb())
    pings.sort()
    print(f"{idle} idle connections, {made} more came and went in {seconds:.0f} s ({made / seconds:.0f}/s); descriptors and RSS in kB: "
          + ", ".join(f"{what} {count} {kb}" for what, (count, kb) in figures.items())
          + f"; ping p50 {pings[len(pings) // 2]:.2f} ms, p99 {pings[len(pings) * 99 // 100]:.2f} ms, worst {pings[-1]:.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--idle", type=int, default=10000)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with fresh_home() as home:
        broker = Broker(home, *(f"--{name}=tcp://127.0.0.1:*" for name in ("request", "publish", "sink", "work"))).start()
        try:
            run(broker, options.idle, options.rate, options.seconds)
        finally:
            broker.kill()
