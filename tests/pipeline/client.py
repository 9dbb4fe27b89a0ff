"""A small foreign client of modelmq, written from schemas/README.md alone: pyzmq and msgpack are all that it needs.

Every answer and every sink message that it reads is held against schemas/*.json (live.py), so that each scenario is also a test of the
page. It waits on sockets with a deadline and never sleeps.
"""
import collections
import json
import time
import uuid

import live
import msgpack
import zmq

WAIT_S = 20.0


class Refused(Exception):
    """An answer with ok: false."""

    def __init__(self, op, error):
        super().__init__(f"{op}: {json.dumps(error)}")
        self.error = error
        self.code = error["code"]


def new_id():
    return uuid.uuid4().hex


def pack(message):
    return msgpack.packb(message, use_bin_type=True)


class Client:
    def __init__(self, endpoints, dress=None):
        """endpoints: {"request": ..., "publish": ..., "sink": ...}; dress(socket) sets CURVE keys before connecting."""
        self.endpoints = endpoints
        self.dress = dress
        self.context = zmq.Context()
        self.request = self.connect(zmq.DEALER, "request")
        self.push = None
        self.sub = None
        self.early = {}
        self.ops = {}
        self.messages = collections.deque()

    def connect(self, kind, name):
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        if self.dress:
            self.dress(socket)
        socket.connect(self.endpoints[name])
        return socket

    def close(self):
        self.context.destroy(linger=0)

    # -- requests ------------------------------------------------------------------------------------------------------------------
    def send(self, frame=None, **request):
        """Send without waiting; returns the id. `receive` reads the answer."""
        request = {"v": 1, "id": new_id(), **request}
        self.ops[request["id"]] = request["op"]
        frames = [pack(request)] if frame is None else [pack(request), frame]
        self.request.send_multipart(frames)
        return request["id"]

    def receive(self, id, timeout_s=WAIT_S):
        """The answer to `id`; others that come meanwhile are kept."""
        until = time.monotonic() + timeout_s
        while id not in self.early:
            left = until - time.monotonic()
            if left <= 0 or not self.request.poll(left * 1000):
                raise TimeoutError(f"no answer to {self.ops.get(id)} within {timeout_s} s")
            frames = self.request.recv_multipart()
            assert len(frames) == 1, "an answer is one frame"
            answer = msgpack.unpackb(frames[0], strict_map_key=False)
            live.check_answer(self.ops.get(answer.get("id")), answer)
            self.early[answer.get("id")] = answer
        return self.early.pop(id)

    def ask(self, frame=None, timeout_s=WAIT_S, **request):
        """One request, one answer, ok or not."""
        return self.receive(self.send(frame=frame, **request), timeout_s)

    def good(self, frame=None, timeout_s=WAIT_S, **request):
        """One request that must work; it is held against the schema of its op too."""
        request = {"v": 1, "id": new_id(), **request}
        live.check_request(request)
        answer = self.ask(frame=frame, timeout_s=timeout_s, **request)
        if not answer["ok"]:
            raise Refused(request["op"], answer["error"])
        return answer

    def refused(self, code, field=None, frame=None, timeout_s=WAIT_S, **request):
        """One request that must be refused with this code (and field); returns the error."""
        answer = self.ask(frame=frame, timeout_s=timeout_s, **request)
        assert not answer["ok"], f"taken: {answer}"
        error = answer["error"]
        assert error["code"] == code and (field is None or error.get("field") == field), error
        return error

    def raw(self, frames, timeout_s=WAIT_S):
        """Send these bytes and read the next answer, whatever it is."""
        self.request.send_multipart(frames)
        if not self.request.poll(timeout_s * 1000):
            raise TimeoutError("no answer to raw bytes")
        answer = msgpack.unpackb(self.request.recv(), strict_map_key=False)
        if isinstance(answer, list):  # what looks like a list of requests is answered by a list
            live.check("list.answer", answer, closed=False)
            answer, = answer
        live.check_answer(None, answer)
        return answer

    def patient(self, timeout_s=WAIT_S, resend_s=1.0, **request):
        """As section 10 says: on a retryable error, or silence, send the same bytes again."""
        request = {"v": 1, "id": new_id(), **request}
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            try:
                answer = self.ask(timeout_s=resend_s, **request)
            except TimeoutError:
                continue
            if answer["ok"]:
                return answer
            if not answer["error"]["retryable"]:
                raise Refused(request["op"], answer["error"])
            self.request.poll(min(answer["error"].get("retry_after_ms", 50), 200))
        raise TimeoutError(f"no good answer to {request['op']} within {timeout_s} s")

    # -- trainings -----------------------------------------------------------------------------------------------------------------
    def job(self, **request):
        """Queue a training; returns the job id."""
        answer = self.good(op="train", **request)
        assert answer["state"] == "queued"
        return answer["job"]

    def wait(self, job, timeout_s=60.0, patient=False):
        """The job once it has ended."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            ask = self.patient if patient else self.ask
            try:
                answer = ask(op="job.wait", job=job, deadline_ms=5000, timeout_s=6.0)
            except TimeoutError:
                if not patient:
                    raise
                continue
            if answer["ok"]:
                return answer
            if answer["error"]["code"] != "DEADLINE_EXCEEDED":
                raise Refused("job.wait", answer["error"])
        raise TimeoutError(f"job {job} did not end")

    def train(self, timeout_s=60.0, **request):
        """Train to the end; returns the result."""
        job = self.wait(self.job(**request), timeout_s)
        if job["state"] != "done":
            raise Refused("train", job["error"])
        return job["result"]

    def predict(self, model, want=None, frame=None, **request):
        """The outputs of a good predict."""
        if want:
            request["want"] = want
        return self.good(op="predict", model=model, frame=frame, **request)["outputs"]

    # -- push and sink -------------------------------------------------------------------------------------------------------------
    def publish(self, **request):
        if self.push is None:
            self.push = self.connect(zmq.PUSH, "publish")
        request = {"v": 1, "id": new_id(), **request}
        self.push.send(pack(request))
        return request["id"]

    def subscribe(self, topic, probe=None):
        """Subscribe; with `probe` (a call that publishes there) return only when a message shows that the subscription stands."""
        if self.sub is None:
            self.sub = self.connect(zmq.SUB, "sink")
        self.sub.setsockopt(zmq.SUBSCRIBE, topic.encode())
        until = time.monotonic() + WAIT_S
        while probe:
            probe()
            if self.next_message(0.1) is not None:
                return
            assert time.monotonic() < until, f"nothing comes on {topic}"

    def next_message(self, timeout_s=WAIT_S):
        """(topic, message) of the sink, or None when nothing came in time."""
        if not self.sub.poll(timeout_s * 1000):
            return None
        frames = self.sub.recv_multipart()
        assert len(frames) == 2, "a sink message is two frames"
        topic, message = frames[0].decode(), msgpack.unpackb(frames[1], strict_map_key=False)
        live.check_message(topic, message)
        return topic, message

    def messages_until(self, last, timeout_s=WAIT_S):
        """All (topic, message) of the sink up to the one that `last(topic, message)` accepts."""
        came, until = [], time.monotonic() + timeout_s
        while time.monotonic() < until:
            pair = self.next_message(max(0.0, until - time.monotonic()))
            if pair is None:
                break
            came.append(pair)
            if last(*pair):
                return came
        raise TimeoutError(f"the last of {len(came)} sink messages did not come: {came[-3:]}")
