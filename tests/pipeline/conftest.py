"""Fixtures of the scenarios: one service per test file for what does it no harm (`service`, `client`), own ones for the rest (`fresh`)."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import service as services  # noqa: E402


@pytest.fixture(scope="module")
def service():
    yield from services.running()


@pytest.fixture
def client(service):
    made = service.client()
    yield made
    made.close()
    service.clients.remove(made)


@pytest.fixture
def fresh():
    """fresh(...): a service of the test's own; stopped cleanly and removed afterwards."""
    made = []

    def start(*options, **settings):
        made.append(services.Service(*options, **settings).start())
        return made[-1]

    yield start
    failures = []
    for one in made:
        try:
            one.stop()
        except AssertionError as failure:
            failures.append(failure)
        one.remove()
    if failures:
        raise failures[0]
