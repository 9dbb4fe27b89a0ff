"""A client's traceparent comes back with every kind of answer, on the sink and in the log; a restart does not lose it."""
from helpers import Broker, Client, Subscriber, Worker, until

MODEL = [("iris", [1], {"production": 1})]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def told(broker, *words):
    """The lines of the log that hold all of these."""
    return until(lambda: [line for line in broker.log().splitlines() if all(word in line for word in words)])


def test_an_answer_of_the_broker_and_its_sink_message_carry_the_trace(context, broker):
    worker, client, sink = Worker(context, broker, models=MODEL, window=1), Client(context, broker), Subscriber(context, broker, "result/")
    assert client.ask("ping", trace=TRACE)["trace"] == TRACE and "trace" not in client.ask("ping")
    assert client.ask("predict", model="none", rows=[[1]], trace=TRACE)["trace"] == TRACE     # refused
    late = client.send("predict", id="late", model="iris", rows=[[1]], deadline_ms=30, sink=True, trace=TRACE)
    item = worker.work()
    assert item.request["trace"] == TRACE
    answer = client.receive()
    assert answer["id"] == late and answer["error"]["code"] == "DEADLINE_EXCEEDED" and answer["trace"] == TRACE
    assert sink.receive()[1]["trace"] == TRACE
    assert told(broker, "ended", f"trace={TRACE}", "id=late", "code=DEADLINE_EXCEEDED", "queue_us=")


def test_only_what_looks_like_a_trace_gets_into_the_log(context, broker):
    worker, client = Worker(context, broker, models=MODEL, window=8), Client(context, broker)
    for number, trace in enumerate(["00 x=1\nevent=forged", TRACE[:-1] + "0", TRACE]):
        client.send("predict", id=f"p{number}", model="iris", rows=[[1]], trace=trace)
        worker.echo(worker.work())
        assert client.receive()["ok"]
    assert told(broker, "id=p2", TRACE)
    assert "forged" not in broker.log() and "id=p1" not in broker.log()      # not recorded by its client: not at this level


def test_a_durable_request_keeps_its_trace_over_a_restart(context, broker):
    worker, client = Worker(context, broker, models=MODEL, window=0), Client(context, broker)
    assert worker.welcome
    assert client.ask("predict", id="d" * 32, model="iris", rows=[[1]], durable=True, wait=False, sink=True, deadline_ms=1500,
                      trace=TRACE)["trace"] == TRACE
    broker.kill()
    broker.start()
    client = Client(context, broker)
    found = until(lambda: client.ask("results", prefix="result/")["results"])
    assert found[0]["message"]["error"]["code"] == "DEADLINE_EXCEEDED" and found[0]["message"]["trace"] == TRACE
    assert told(broker, "id=" + "d" * 32, TRACE)


def test_real_workers_echo_the_trace_and_say_how_long_it_took(service):
    service.start(trainers=1, predictors=1)
    jobs = Subscriber(service.context, service.broker, "job/")
    assert service.client.ask("ping")["ok"]
    service.trained("iris", trace=TRACE)
    events = []
    while not events or events[-1]["event"] != "done":
        events.append(jobs.receive()[1])
    assert all(event["trace"] == TRACE for event in events)
    assert f"trace={TRACE}" in (service.home.parent / "trainer.log").read_text()
    for ask in ({"op": "predict", "model": "iris", "rows": [[5.1, 3.5, 1.4, 0.2]]}, {"op": "predict", "model": "iris", "rows": [[1]]},
                {"op": "model.list"}, {"op": "engine.get", "engine": "none"}, {"op": "model.get", "model": "iris"}):
        answer = service.client.ask(ask.pop("op"), trace=TRACE, **ask)
        assert answer["trace"] == TRACE and answer["queue_us"] >= 0 and answer["service_us"] >= 0, answer
