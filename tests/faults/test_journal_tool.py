"""`modelmq journal` and `doctor` on the journal of a broker that runs, and of one that does not."""
import json
import sqlite3
import subprocess

from helpers import Broker, Client, Worker, binary

MODEL = [("iris", [1], {"production": 1})]


def journal(home, *words):
    run = subprocess.run([binary("modelmq"), "journal", *words, "--home", str(home)], capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout + run.stderr


def checked(home):
    code, text = journal(home, "check", "--json")
    return code, json.loads(text)


def accepted(client, first, count):
    for i in range(first, first + count):
        client.send("predict", id=f"tool-{i:027d}", model="iris", rows=[[i]] * 20, durable=True, wait=False)
    for _ in range(count):
        assert client.receive()["accepted"]


def test_a_journal_in_use_is_checked_and_copied_whole(home, context, broker):
    worker, client = Worker(context, broker, models=MODEL, window=0), Client(context, broker)
    assert worker.welcome
    accepted(client, 0, 200)
    code, found = checked(home)
    assert code == 0 and (found["requests"], found["open"], found["damaged"]) == (200, 200, 0)
    copy = home.parent / "copy"
    copy.mkdir()
    for i in range(400):        # it is being written while the copy is taken
        client.send("predict", id=f"more-{i:027d}", model="iris", rows=[[i]], durable=True, wait=False)
    assert journal(home, "backup", str(copy / "journal.db"))[0] == 0
    code, text = journal(home, "backup", str(copy / "journal.db"))
    assert code == 1 and "ALREADY_EXISTS" in text
    assert sorted(path.name for path in copy.iterdir()) == ["journal.db"]
    code, found = checked(copy)
    assert code == 0 and 200 <= found["requests"] <= 600
    code, text = journal(home, "compact")
    assert code == 1 and "in use" in text
    for _ in range(400):
        assert client.receive()["accepted"]
    second = Broker(copy).start()
    try:
        assert Client(context, second).ask("status")["queue"]["durable"] == found["open"]
    finally:
        second.kill()


def test_damage_is_named_by_check_and_doctor(home, context, broker):
    worker, client = Worker(context, broker, models=MODEL, window=0), Client(context, broker)
    assert worker.welcome
    accepted(client, 0, 5)
    broker.stop()
    with sqlite3.connect(home / "journal.db") as db:
        seq, body = db.execute("SELECT seq, bytes FROM body ORDER BY seq LIMIT 1 OFFSET 2").fetchone()
        db.execute("UPDATE body SET bytes = ? WHERE seq = ?", (body[:10] + bytes([body[10] ^ 1]) + body[11:], seq))
        db.execute("UPDATE request SET model = 'rose' WHERE seq = ?", (seq + 1,))
    code, found = checked(home)
    assert code == 1 and found["damaged"] == 2
    code, text = journal(home, "check")
    assert code == 1 and f"the body of request {seq} of the journal is damaged" in text
    doctor = subprocess.run([binary("modelmq"), "doctor", "--home", str(home)], capture_output=True, text=True, timeout=60)
    assert doctor.returncode == 1 and f"request {seq}" in doctor.stdout


def test_compaction_makes_the_file_of_a_stopped_service_small(home, context, broker):
    worker, client = Worker(context, broker, models=MODEL, window=0), Client(context, broker)
    assert worker.welcome
    for i in range(50):
        client.send("predict", id=f"big-{i:028d}", model="iris", rows=[[0.5] * 1000] * 4, durable=True, wait=False)
        assert client.receive()["accepted"]
    for i in range(50):
        client.ask("cancel", request=f"big-{i:028d}")
    broker.stop()
    before = (home / "journal.db").stat().st_size
    code, text = journal(home, "compact")
    assert code == 0 and "became" in text and (home / "journal.db").stat().st_size < before / 4
    code, found = checked(home)
    assert code == 0 and found["requests"] == 50 and found["free_bytes"] == 0
    assert journal(home, "nonsense")[0] == 2 and journal(home.parent / "nowhere", "check")[0] == 1
