"""data.transforms: what a worker does to samples, with the real binaries."""

import gzip
import json

import numpy as np
import pytest

from tests.e2e.harness import FASHION, data_section
from tests.e2e.tensors import read

# What makes no use of neighbours: a shift or a turn that went wrong would show.
NET = "net:\n  - {name: ip, type: inner_product, outputs: 10}\n  - {name: loss, type: softmax_loss}\n"


def section(transforms):
    return data_section()[:-1] + ", transforms: {%s}}" % transforms


def job(place, transforms, training="{batch: 50, epochs: 4}"):
    return place.job(net=NET, sync="{mode: bsp}", training=training, data=section(transforms))


def held_out():
    with gzip.open(FASHION / "t10k-images-idx3-ubyte.gz") as images, gzip.open(
            FASHION / "t10k-labels-idx1-ubyte.gz") as labels:
        return (np.frombuffer(images.read()[16:], np.uint8).reshape(-1, 28, 28).astype(np.float32),
                np.frombuffer(labels.read()[8:], np.uint8))


def test_the_same_bits_with_any_number_of_threads_and_held_out_samples_by_their_middle(place):
    models = []
    for threads in (1, 3):
        where = job(place, f"mean: [70], crop: 24, mirror: true, shift: 1, threads: {threads}")
        result, events, run = place.ps_run(where)
        assert result.returncode == 0, result.stderr
        models.append((run / "model.safetensors").read_bytes())
        seen = read(run / "model.safetensors")
        run.rename(place.folder / f"run-{threads}")
    assert models[0] == models[1]
    assert seen["ip.weight"].shape == (10, 24 * 24)
    images, labels = held_out()
    values = ((images[:, 2:26, 2:26] - 70) / 256).reshape(len(images), -1)
    answers = np.argmax(values @ seen["ip.weight"].T + seen["ip.bias"], axis=1)
    assert events[-1]["accuracy"] == pytest.approx(np.mean(answers == labels), abs=2e-4)
    assert events[-1]["accuracy"] > 0.6


def test_each_transform_changes_what_is_trained(place):
    models = set()
    for index, transforms in enumerate(("", "mean: [70]", "mirror: true", "shift: 2", "crop: 27")):
        result, _, run = place.ps_run(job(place, transforms, training="{batch: 50, max_steps: 3}"))
        assert result.returncode == 0, result.stderr
        models.add((run / "model.safetensors").read_bytes())
        run.rename(place.folder / f"run-{index}")
    assert len(models) == 5


def test_a_job_is_looked_over_with_its_transforms(place):
    result = place.run("ps-run", "--check", "--json", job(place, "crop: 24, mean: [70]"))
    answer = json.loads(result.stdout)
    assert answer["ok"]
    assert answer["net"]["values"] == 784
    assert answer["job"]["data"]["transforms"]["crop"] == 24
    # It reads back, and keys of it can be set.
    again = place.run("ps-run", "--check", "--json", job(place, "crop: 24"), "--set", "data.transforms.shift=3")
    assert json.loads(again.stdout)["job"]["data"]["transforms"]["shift"] == 3
    wrong = place.run("ps-run", "--check", job(place, "crop: 24"), "--set", "data.shape=[784]")
    assert wrong.returncode == 64
    assert "data.transforms.crop: needs samples with a height and a width" in wrong.stdout + wrong.stderr
