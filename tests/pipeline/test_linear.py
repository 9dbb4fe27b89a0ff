"""Linear models through the service: free text as 2^18 sparse columns, learnt with every loss and penalty; contributions add up to the score."""
import random

import pytest
import service as services

SPAM, HAM = "win free prize call now claim cash reward urgent".split(), "see you at home later tonight mum is asking about dinner".split()


@pytest.fixture(scope="module")
def service():
    yield from services.running(predictors=1)


@pytest.fixture(scope="module")
def client(service):
    return service.client()


def messages(count, seed):
    draw = random.Random(seed)
    labels = [draw.random() < 0.4 for _ in range(count)]
    words = [draw.choices(SPAM if spam else HAM, k=6) + draw.choices(SPAM + HAM, k=2) for spam in labels]
    return [" ".join(some) for some in words], ["spam" if spam else "ham" for spam in labels]


@pytest.mark.parametrize("params", [{}, {"loss": "squared_hinge"}, {"loss": "hinge"}, {"penalty": "l1", "C": 10}])
def test_text_is_learnt_by_every_loss(client, params):
    words, labels = messages(300, 1)
    model = "text-" + "-".join(str(value) for value in params.values() or ["logistic"])
    client.train(model=model, engine="linear", params=params, target="label", schema={"words": {"kind": "text"}},
                 data={"names": ["words", "label"], "rows": [list(pair) for pair in zip(words, labels)]})
    unseen, want = messages(100, 2)
    got = client.predict(model, want=["prediction", "score", "contribution"], rows=[[text] for text in unseen])
    assert sum(a == b for a, b in zip(got["prediction"], want)) >= 95
    for score, contribution in zip(got["score"], got["contribution"]):
        assert sum(contribution) + got["base"][0] == pytest.approx(score, abs=1e-9)
