"""A durable request sent again under its id: the stored answer, also when nobody could serve it any more."""
from helpers import Client, Worker

MODEL = [("iris", [1], {"production": 1})]
REQUEST = {"model": "iris", "rows": [[1, 2]], "id": "0123456789abcdef-repeat", "durable": True}


def answered_once(context, broker):
    worker, client = Worker(context, broker, models=MODEL), Client(context, broker)
    client.send("predict", **REQUEST)
    worker.echo(worker.work())
    answer = client.receive()
    assert answer["ok"]
    worker.vanish()
    return answer


def test_stored_answer_without_any_worker(context, broker):
    first = answered_once(context, broker)
    broker.kill()
    broker.start()
    client = Client(context, broker)
    assert client.ask("predict", **REQUEST) == first
    other = client.ask("predict", **{**REQUEST, "rows": [[3, 4]]})
    assert other["error"]["code"] == "ALREADY_EXISTS"
    unknown = client.ask("predict", **{**REQUEST, "id": "0123456789abcdef-unknown"})
    assert unknown["error"]["code"] == "UNAVAILABLE" and unknown["error"]["retry_after_ms"] > 0


def test_stored_answer_after_the_model_went(context, broker):
    first = answered_once(context, broker)
    broker.kill()
    broker.start()
    Worker(context, broker, models=[("wine", [1], {"production": 1})])
    client = Client(context, broker)
    assert client.ask("predict", **REQUEST) == first
    unknown = client.ask("predict", **{**REQUEST, "id": "0123456789abcdef-unknown"})
    assert unknown["error"]["code"] in ("NOT_FOUND", "UNAVAILABLE")
