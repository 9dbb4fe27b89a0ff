"""Fixtures of the daemon scenarios: a ZeroMQ context, and a broker that is stopped whatever happened."""
import pathlib
import sys

import pytest
import zmq

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from helpers import Broker, fresh_home  # noqa: E402


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def home():
    with fresh_home() as home:
        yield home


@pytest.fixture
def broker(home):
    broker = Broker(home, "--lease-ms", "1000", "--heartbeat-ms", "200", "--adoption-ms", "3000")
    broker.start()
    yield broker
    broker.kill()
