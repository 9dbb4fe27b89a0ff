"""What the scenarios of tests/daemon and tests/faults both begin with; their conftest.py files take these names over."""
import pytest
import zmq

from helpers import fresh_home


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def home():
    with fresh_home() as home:
        yield home
