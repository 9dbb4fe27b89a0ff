"""Fixtures of the daemon scenarios: a ZeroMQ context, and a broker that is stopped whatever happened."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from fixtures import context, home  # noqa: E402, F401
from helpers import Broker  # noqa: E402


@pytest.fixture
def broker(home):
    broker = Broker(home, "--lease-ms", "1000", "--heartbeat-ms", "200", "--adoption-ms", "3000")
    broker.start()
    yield broker
    broker.kill()
