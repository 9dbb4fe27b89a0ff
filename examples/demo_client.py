"""The demo's client: asks again by id when an answer stays out, streams rows through PUSH and reads the sink."""
import pathlib
import time
import uuid

import msgpack
import zmq

RESEND_S = 2.0


class ServiceError(Exception):
    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.code = error["code"]


class Client:
    def __init__(self, home):
        self.endpoints = dict(line.split("=", 1) for line in (pathlib.Path(home) / "endpoints").read_text().split())
        self.context = zmq.Context()
        self.request = self.connect(zmq.DEALER, "request")
        self.publish = self.connect(zmq.PUSH, "publish")
        self.sink = self.connect(zmq.SUB, "sink")
        self.poller = zmq.Poller()
        self.poller.register(self.request, zmq.POLLIN)
        self.poller.register(self.sink, zmq.POLLIN)

    def connect(self, kind, name):
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(self.endpoints[name])
        return socket

    def close(self):
        self.context.destroy(linger=0)

    def ask(self, timeout_s=60.0, on_sink=None, **request):
        """One request, one answer. A broker that dies in between costs a re-send: the same id means the same request."""
        request = {"v": 1, "id": uuid.uuid4().hex, **request}
        frame = msgpack.packb(request)
        until = time.monotonic() + timeout_s
        resend_at = 0.0
        while time.monotonic() < until:
            if time.monotonic() >= resend_at:
                self.request.send(frame)
                resend_at = time.monotonic() + RESEND_S + request.get("deadline_ms", 0) / 1000
            ready = dict(self.poller.poll(100))
            if self.sink in ready:
                topic, body = self.sink.recv_multipart()
                if on_sink:
                    on_sink(topic.decode(), msgpack.unpackb(body))
            if self.request in ready:
                answer = msgpack.unpackb(self.request.recv())
                if answer.get("id") != request["id"]:
                    continue
                if answer["ok"]:
                    return answer
                if not answer["error"]["retryable"]:
                    raise ServiceError(answer["error"])
                resend_at = time.monotonic() + max(answer["error"].get("retry_after_ms", 0), 200) / 1000
        raise TimeoutError(f"no answer to {request['op']} within {timeout_s:.0f} s")

    def train(self, on_progress, timeout_s=170.0, **request):
        """Queue a training and follow it to its end; returns its result."""
        job = self.ask(op="train", **request)["job"]
        topic = f"job/default/{job}"
        self.sink.setsockopt_string(zmq.SUBSCRIBE, topic)

        def on_sink(came, message):
            if came == topic and message.get("progress"):
                on_progress(message["progress"])

        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            try:
                state = self.ask(op="job.wait", job=job, deadline_ms=5000, timeout_s=8.0, on_sink=on_sink)
            except TimeoutError:
                continue  # still running
            self.sink.setsockopt_string(zmq.UNSUBSCRIBE, topic)
            if state["state"] != "done":
                raise ServiceError(state["error"])
            return state["result"]
        raise TimeoutError(f"training of {request['model']} did not end")

    def stream(self, model, rows, window=64, timeout_s=90.0):
        """Push one request per row, at most `window` unanswered, and read the answers from the sink.

        Returns (predictions in row order, seconds, latencies in seconds, sent again)."""
        topic = f"result/default/{model}/predict"
        self.sink.setsockopt_string(zmq.SUBSCRIBE, topic)
        run = uuid.uuid4().hex[:12]
        answers, sent_at, first_sent, latencies = {}, {}, {}, []
        following, again = 0, 0
        started = None
        until = time.monotonic() + timeout_s
        check_at = time.monotonic() + 0.2

        def push(row):
            frame = msgpack.packb({"v": 1, "op": "predict", "id": f"{run}-{row}", "model": model, "sink": True, "rows": [rows[row]]})
            now = time.monotonic()
            try:
                self.publish.send(frame, zmq.DONTWAIT)
            except zmq.Again:
                pass  # the broker is away or full: the re-send below comes back to it
            sent_at[row] = now
            first_sent.setdefault(row, now)

        while len(answers) < len(rows):
            # The first row goes alone until its answer shows that the subscription stands.
            while following < len(rows) and len(sent_at) < (window if answers else 1):
                push(following)
                following += 1
            if self.sink.poll(100):
                while True:
                    try:
                        _, body = self.sink.recv_multipart(zmq.DONTWAIT)
                    except zmq.Again:
                        break
                    message = msgpack.unpackb(body)
                    mine, _, row = str(message.get("id")).rpartition("-")
                    if mine != run or int(row) in answers:
                        continue
                    row = int(row)
                    if not message["ok"]:
                        if not message["error"]["retryable"]:
                            raise ServiceError(message["error"])
                        continue
                    now = time.monotonic()
                    if started is None:
                        started = now
                    elif sent_at[row] == first_sent[row]:
                        latencies.append(now - sent_at[row])
                    answers[row] = message["outputs"]["prediction"][0]
                    del sent_at[row]
            now = time.monotonic()
            if now >= check_at:
                check_at = now + RESEND_S / 4
                late = [row for row, when in sent_at.items() if now - when > (RESEND_S if answers else 0.2)]
                for row in late:
                    push(row)
                    again += 1 if answers else 0
            if now > until:
                raise TimeoutError(f"{model}: {len(rows) - len(answers)} of {len(rows)} rows unanswered")
        self.sink.setsockopt_string(zmq.UNSUBSCRIBE, topic)
        return [answers[row] for row in range(len(rows))], time.monotonic() - started, sorted(latencies), again
