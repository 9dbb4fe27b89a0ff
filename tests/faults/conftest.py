"""Fixtures of the fault scenarios: those of tests/daemon, and a whole service whose processes a test may kill one by one."""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "daemon")]

from fixtures import context, home  # noqa: E402, F401
from helpers import Broker  # noqa: E402
from processes import Service  # noqa: E402


@pytest.fixture
def broker(home):
    broker = Broker(home, "--lease-ms", "1000", "--heartbeat-ms", "200", "--adoption-ms", "2000")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def service(home, context):
    service = Service(home, context)
    yield service
    service.close()
