"""Starts and stops a whole service in a fresh home, as a user does: `modelmq up`. Waits on its pipes and sockets, never sleeps."""
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time

from client import Client

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MMQ_BIN", ROOT / "build" / "bin"))
BIN = BIN if BIN.is_absolute() else ROOT / BIN
DATA = ROOT / "examples" / "data"
START_S = 20.0


def command(*words, home=None, timeout_s=30.0, stdin=None):
    """Run `modelmq words` to its end; returns the finished process with text output."""
    env = dict(os.environ, **({"MODELMQ_HOME": str(home)} if home else {}))
    return subprocess.run([BIN / "modelmq", *map(str, words)], capture_output=True, text=True, timeout=timeout_s, env=env, input=stdin)


def read_endpoints(home):
    return dict(line.split("=", 1) for line in (pathlib.Path(home) / "endpoints").read_text().split())


def children(pid):
    """{pid: program} of the direct children."""
    found = {}
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            program = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0].decode()
        except OSError:
            continue
        found[int(child)] = pathlib.Path(program).name
    return found


def is_alive(pid):
    """A process that runs; a zombie does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(what, condition, timeout_s=START_S):
    """Poll `condition` every 20 ms until it is true; returns its value."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        select.select([], [], [], 0.02)
    raise TimeoutError(f"not within {timeout_s} s: {what}")


class Service:
    def __init__(self, *options, home=None, predictors=2, trainers=1, env=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mmq-")) if home is None else None
        self.home = self.folder / "home" if home is None else pathlib.Path(home)
        self.options = ["--data", DATA, "--predictors", predictors, "--trainers", trainers, *options]
        self.predictors, self.trainers = predictors, trainers
        self.env = dict(os.environ, OPENBLAS_NUM_THREADS="1", **(env or {}))
        self.process = None
        self.clients = []

    def start(self):
        """Start and return when it says that it is ready."""
        self.home.parent.mkdir(exist_ok=True)
        self.log = open(self.home.parent / "up.log", "ab")
        words = [BIN / "modelmq", "up", "--home", self.home, *self.options]
        self.process = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=self.log, env=self.env)
        said, end = b"", time.monotonic() + START_S
        while b"is ready" not in said:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            chunk = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert chunk, f"modelmq up did not become ready: {said.decode()}\n{self.log_text()}"
            said += chunk
        self.endpoints = read_endpoints(self.home)
        return self

    def log_text(self):
        return (self.home.parent / "up.log").read_text()[-6000:]

    def client(self):
        made = Client(self.endpoints)
        self.clients.append(made)
        return made

    def pids(self, kind=None):
        """Process ids of the workers and the broker, or of one kind: "broker", "trainer", "predictor"."""
        found = children(self.process.pid)
        return sorted(pid for pid, name in found.items() if kind is None or name == f"modelmq-{kind}")

    def kill(self, kind, number=signal.SIGKILL):
        pid = self.pids(kind)[0]
        os.kill(pid, number)
        return pid

    def whole(self):
        """Wait until the broker lists as many workers as were asked for."""
        client = self.client()
        wanted = {"predictor": self.predictors, "trainer": self.trainers}

        def ready():
            try:
                workers = client.ask(op="status", timeout_s=1.0).get("workers", [])
            except TimeoutError:
                return False
            return all(sum(w["kind"] == kind and w.get("state") == "ready" for w in workers) >= n for kind, n in wanted.items())

        until("all workers are there", ready)

    def stop(self, number=signal.SIGTERM):
        """Stop it and hold it to a clean end: exit code 0 and no process left."""
        for client in self.clients:
            client.close()
        self.clients = []
        if self.process is None:
            return
        process, self.process = self.process, None
        left = list(children(process.pid)) if process.poll() is None else []
        if process.poll() is None:
            process.send_signal(number)
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            process.stdout.close()
            self.log.close()
        assert code == 0, f"modelmq up left with {code}:\n{self.log_text()}"
        assert not [pid for pid in left if is_alive(pid)], "a process was left behind"

    def remove(self):
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def running(*options, **settings):
    """What a fixture yields from: a service with all its workers there, stopped cleanly and removed afterwards."""
    made = Service(*options, **settings).start()
    made.whole()
    yield made
    made.stop()
    made.remove()
