"""Broker, trainers and predictors as children of the test, so that each can be killed, stopped and started alone."""
import os
import pathlib
import signal
import subprocess
import threading

from helpers import ROOT, WAIT_S, Broker, Client, binary, until

DATA = ROOT / "examples/data"
SHIM = pathlib.Path(__file__).resolve().parent / "disk_faults.inc"


def build_shim(folder):
    """The library that makes a process's disk fail (see disk_faults.inc)."""
    built = pathlib.Path(folder) / "disk_faults.so"
    subprocess.run([*os.environ.get("CC", "cc").split(), "-shared", "-fPIC", "-O1", "-x", "c", str(SHIM), "-o", str(built), "-ldl"], check=True)
    return built


class Service:
    def __init__(self, home, context):
        self.home, self.context = pathlib.Path(home), context
        self.broker = Broker(home, "--lease-ms", "1000", "--heartbeat-ms", "200", "--adoption-ms", "4000")
        self.processes = []
        self.env = dict(os.environ, OPENBLAS_NUM_THREADS="1")

    def start(self, trainers=0, predictors=0):
        self.broker.start()
        for _ in range(trainers):
            self.worker("trainer", "--data", str(DATA))
        for _ in range(predictors):
            self.worker("predictor")
        self.client = Client(self.context, self.broker)
        self.whole(trainers, predictors)
        return self

    def whole(self, trainers, predictors):
        def there():
            kinds = [worker["kind"] for worker in self.client.ask("status")["workers"] if worker["state"] == "ready"]
            return kinds.count("trainer") >= trainers and kinds.count("predictor") >= predictors
        assert until(there), (self.client.ask("status")["workers"], [(process.kind, process.poll()) for process in self.processes],
                              self.broker.log()[-2000:])

    def worker(self, kind, *options, env=None):
        with open(self.home.parent / f"{kind}.log", "ab") as log:
            process = subprocess.Popen([binary(f"modelmq-{kind}"), "--home", str(self.home), *options], stderr=log,
                                       stdout=subprocess.DEVNULL, env=dict(self.env, **(env or {})))
        process.kind = kind
        self.processes.append(process)
        return process

    def of(self, kind):
        return [process for process in self.processes if process.kind == kind and process.poll() is None]

    def kill(self, kind, number=signal.SIGKILL):
        process = self.of(kind)[0]
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait(WAIT_S)
        return process

    def train(self, model, **keys):
        """Accepted, and its job."""
        request = {"data": {"file": str(DATA / "iris.csv")}, "target": "species", "engine": "tree", "params": {"num_iterations": 10}, **keys}
        answer = self.client.ask("train", model=model, **request)
        assert answer["ok"], answer
        return answer["job"]

    def wait(self, job, timeout_s=30):
        """The job once it has ended."""
        identity = self.client.send("job.wait", job=job, deadline_ms=timeout_s * 1000)
        answer = self.client.receive(timeout_s)
        assert answer["id"] == identity
        return answer

    def trained(self, model, **keys):
        job = self.wait(self.train(model, **keys))
        assert job["ok"] and job["state"] == "done", job
        return job

    def state(self, job):
        return self.client.ask("job.get", job=job)

    def until_phase(self, job, phase="fit"):
        """Until the job is in this phase, and in its first one when it is seen so."""
        shown = until(lambda: (lambda now: now if now.get("progress", {}).get("phase") == phase else None)(self.state(job)))
        assert shown, self.state(job)
        return shown

    def versions(self, model):
        folder = self.home / "store/models/default" / model / "versions"
        return sorted(path.name for path in folder.glob("[0-9]*"))

    def file_of(self, model, version=1):
        return self.home / "store/models/default" / model / "versions" / f"{version:06d}" / "model.mmq"

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait(WAIT_S)
        if self.broker.process is not None:
            self.broker.process.send_signal(signal.SIGCONT) if self.broker.process.poll() is None else None
            self.broker.kill()


class Wire:
    """A tcp connection that can be cut without anyone being told: a network partition between one worker and the broker."""

    def __init__(self, target):
        import selectors
        import socket
        self.socket_module, self.selectors = socket, selectors
        host, port = target.removeprefix("tcp://").rsplit(":", 1)
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "tcp://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.flows = threading.Event()
        self.flows.set()
        self.pairs = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.wake_read, self.wake_write = os.pipe()
        self.selector.register(self.wake_read, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def close(self):
        os.write(self.wake_write, b"x")
        self.flows.set()
        self.thread.join()
        for end in [self.listener, *self.pairs]:
            end.close()

    def run(self):
        while True:
            for key, _ in self.selector.select():
                if key.fd == self.wake_read:
                    return
                self.flows.wait()
                if key.fileobj is self.listener:
                    near, _ = self.listener.accept()
                    far = self.socket_module.create_connection(self.target)
                    for one, other in ((near, far), (far, near)):
                        self.pairs[one] = other
                        self.selector.register(one, self.selectors.EVENT_READ)
                    continue
                self.move(key.fileobj)

    def move(self, one):
        other = self.pairs.get(one)
        if other is None:
            return
        try:
            data = one.recv(65536)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        for end in (one, other):
            self.selector.unregister(end)
            self.pairs.pop(end, None)
            end.close()
