"""Running averages, which no optimizer may touch: through servers, and between peers."""

import gzip
import json
import struct

import numpy as np
import pytest

from tests.e2e.harness import FASHION, data_section

NET = [
    {"name": "bn", "type": "batch_norm"},
    {"name": "ip", "type": "inner_product", "outputs": 10},
    {"name": "loss", "type": "softmax_loss"},
]


def tensors(path):
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:8 + length])
    header.pop("__metadata__", None)
    return {name: np.frombuffer(content[8 + length:][slice(*entry["data_offsets"])], np.float32)
            for name, entry in header.items()}


# Where many take from the averages at once, or one for many steps together, they must not swing.
@pytest.mark.parametrize("workers, epochs, sync, optimizer", [
    (2, 4, {"mode": "downpour", "n_fetch": 2, "n_push": 2},
     {"name": "momentum", "weight_decay": 0.1, "clip_value": 0.001}),
    (6, 12, {"mode": "downpour", "n_fetch": 5, "n_push": 5}, {"name": "sgd", "learning_rate": 0.002}),
    (2, 48, {"mode": "downpour", "n_fetch": 25, "n_push": 25, "local_step": False},
     {"name": "sgd", "learning_rate": 0.001}),
    (2, 4, {"mode": "bsp"}, {"name": "lars", "learning_rate": 20}),
    (2, 4, {"mode": "asp", "delay_compensation": 1}, {"name": "sgd"}),
    (2, 4, {"mode": "local_sgd", "tau": 5}, {"name": "adam"}),
    (2, 4, {"mode": "easgd", "tau": 5}, {"name": "sgd"}),
    (2, 4, {"mode": "peer"}, {"name": "adagrad"}),
], ids=["downpour", "downpour-6", "downpour-no-local-step", "bsp", "asp", "local_sgd", "easgd", "peer"])
def test_running_averages_become_those_of_the_data(place, workers, epochs, sync, optimizer):
    job = place.job(workers=workers, net="net: " + json.dumps(NET), sync=json.dumps(sync),
                    optimizer=json.dumps({"learning_rate": 0.01, **optimizer}),
                    training=json.dumps({"batch": 50, "epochs": epochs}))
    result, events, run = place.ps_run(job)
    assert result.returncode == 0, result.stderr
    with gzip.open(FASHION / "train-images-idx3-ubyte.gz") as images:
        pixels = np.frombuffer(images.read()[16:16 + 4000 * 784], np.uint8) / 255
    seen = tensors(run / "model.safetensors")
    assert seen["bn.running_mean"][0] == pytest.approx(pixels.mean(), rel=0.1)
    assert seen["bn.running_var"][0] == pytest.approx(pixels.var(), rel=0.1)
    assert events[-1]["accuracy"] > 0.6
