"""What networks have of their own: learnt vectors for categories, convolutions over images, contributions through both."""
import gzip
import struct

import pytest
import sets
import service as services

ADULT = str(services.DATA / "adult_train.csv.gz")
IMAGES, LABELS = (services.DATA / f"mnist10k-{name}.gz" for name in ("images-idx3-ubyte", "labels-idx1-ubyte"))


@pytest.fixture(scope="module")
def client(service):
    return service.client()


def layers_of(client, model):
    return client.good(op="model.get", model=model)["card"]["engine_state"]["layers"]


def adds_up(score, parts, base):
    return base + sum(parts) == pytest.approx(score, abs=1e-6 * max(1, sum(map(abs, parts))))


def test_categories_are_embedded_when_asked(client):
    result = client.train(model="adult", engine="mlp", data={"file": ADULT}, target="income", split={"test": 0.2, "seed": 1},
                          params={"embedding": "auto", "hidden_layer_sizes": [32], "max_iter": 2, "batch_size": 256})
    assert result["metrics"]["test"]["accuracy"] > 0.83
    assert layers_of(client, "adult")[0].startswith("embedding -> 1x1x")
    names, rows = sets.table("adult_train.csv.gz", 40)
    rows = [row[:-1] for row in rows]
    out = client.predict("adult", rows=rows, want=["score", "contribution"])
    assert out["method"] == "integrated_gradients" and out["columns"] == names[:-1]
    for score, parts in zip(out["score"], out["contribution"]):
        assert adds_up(score, parts, out["base"][0])
    workclass = names.index("workclass")
    unheard, gone = ([*rows[0][:workclass], value, *rows[0][workclass + 1:]] for value in ("of another world", "of one more"))
    scores = client.predict("adult", rows=[unheard, gone, rows[0]], want=["score"])["score"]
    assert scores[0] == scores[1] != scores[2]


def test_a_convolution_over_images_says_which_image_spoke_for_which_digit(client):
    client.train(model="digits", engine="mlp", data={"file": str(IMAGES), "format": "idx", "options": {"labels": str(LABELS)}}, target="label",
                 split={"kind": "head", "rows": 1500}, params={"layers": "conv 6 5x5 relu, pool 2, dense 32 relu", "max_iter": 2})
    assert layers_of(client, "digits")[0] == "conv 6 5x5 relu -> 24x24x6, 156 parameters, 176256 flops"
    with gzip.open(IMAGES) as file:
        count, = struct.unpack(">4xi8x", file.read(16))
        assert count == 10000
        image = list(file.read(784))
    out = client.predict("digits", rows=[[image]], want=["score", "contribution"])
    assert len(out["score"][0]) == 10
    for score, parts, base in zip(out["score"][0], out["contribution"][0], out["base"]):
        assert len(parts) == 1 and adds_up(score, parts, base)
