"""ps-ctl predict: what a net that was trained says of samples."""

import gzip
import json
import shutil

import numpy as np
import pytest

from tests.e2e import caffe_nets, lmdb_files, tensors
from tests.e2e.harness import FASHION


def test_a_run_says_of_its_test_samples_what_its_summary_says(place):
    result, _, run = place.ps_run(place.job())
    assert result.returncode == 0, result.stderr
    accuracy = json.loads((run / "summary.json").read_text())["accuracy"]
    predicted = place.run("ps-ctl", "predict", run, "--json")
    assert predicted.returncode == 0, predicted.stderr
    lines = [json.loads(line) for line in predicted.stdout.splitlines()]
    assert [line["sample"] for line in lines] == list(range(10000))
    assert all(line["class"] == np.argmax(line["values"]) for line in lines)
    right, _, count = predicted.stderr.split()[:3]
    assert int(count) == 10000 and int(right) / 10000 == pytest.approx(accuracy)

    # The same of a model in another form, of samples whose labels nobody knows.
    assert place.run("ps-ctl", "convert", run, "--to", "net.onnx").returncode == 0
    images = FASHION / "t10k-images-idx3-ubyte.gz"
    again = place.run("ps-ctl", "predict", "net.onnx", "--images", images, "--limit", 100)
    assert again.returncode == 0 and again.stderr == ""
    assert [int(line.split()[1]) for line in again.stdout.splitlines()] == [line["class"] for line in lines[:100]]

    hidden = place.run("ps-ctl", "predict", run, "--layer", "relu", "--limit", 3)
    assert [len(line.split()) for line in hidden.stdout.splitlines()] == [33, 33, 33]
    assert "it has ip1, relu, ip2" in place.run("ps-ctl", "predict", run, "--layer", "conv").stderr


def fashion(name, count):
    with gzip.open(FASHION / f"{name}-images-idx3-ubyte.gz") as images, gzip.open(FASHION / f"{name}-labels-idx1-ubyte.gz") as labels:
        pixels = np.frombuffer(images.read()[16:], np.uint8).reshape(-1, 1, 28, 28)
        return pixels[:count], np.frombuffer(labels.read()[8:], np.uint8)[:count]


def test_a_net_trains_on_the_databases_that_caffe_has(place):
    for phase, name, count in (("train", "train", 4000), ("test", "t10k", 1000)):
        lmdb_files.write(place.folder / f"samples_{phase}_lmdb", *fashion(name, count))
    (place.folder / "lenet_train_test.prototxt").write_text(caffe_nets.lenet())
    (place.folder / "solver.prototxt").write_text(caffe_nets.LENET_SOLVER)
    converted = place.run("ps-ctl", "convert", "solver.prototxt", "--to", "lenet.yaml")
    assert converted.returncode == 0, converted.stderr
    result, _, run = place.ps_run(place.folder / "lenet.yaml", "--set", "workers=2")
    assert result.returncode == 0, result.stderr
    assert json.loads((run / "summary.json").read_text())["accuracy"] > 0.7
    predicted = place.run("ps-ctl", "predict", run, "--images", "samples_test_lmdb")
    assert "of 1000 right" in predicted.stderr


def predictions(place, loss, weights, samples, labels):
    """The classes of scores that are samples times weights, and what is said of the labels."""
    shutil.rmtree(place.folder / "samples", ignore_errors=True)
    lmdb_files.write(place.folder / "samples", np.array(samples, np.uint8)[:, :, None, None], labels)
    (place.folder / "small.yaml").write_text(f"""
name: small
sync: {{mode: bsp}}
data: {{format: lmdb, shape: [2, 1, 1], scale: 1, test: {{images: samples}}}}
net:
  - {{name: ip, type: inner_product, outputs: {len(weights)}}}
  - {{name: loss, {loss}}}
""")
    tensors.write(place.folder / "small.safetensors",
                  {"ip.weight": np.array(weights, np.float32), "ip.bias": np.zeros(len(weights), np.float32)})
    result = place.run("ps-ctl", "predict", "small.yaml", "small.safetensors", "--json")
    assert result.returncode == 0, result.stderr
    return [json.loads(line).get("class") for line in result.stdout.splitlines()], result.stderr


def test_a_class_is_told_as_the_loss_tells_it(place):
    assert predictions(place, "type: sigmoid_loss", [[1, -1]], [[2, 0], [0, 2], [3, 1], [0, 1]], [1, 0, 1, 0]) == (
        [1, 0, 1, 0], "4 of 4 right, 100.00 %\n")
    three, samples, labels = [[1, 0], [0, 1], [0.5, 0.5]], [[3, 1], [1, 3], [3, 1]], [0, 1, 2]
    assert predictions(place, "type: softmax_loss", three, samples, labels) == ([0, 1, 0], "2 of 3 right, 66.67 %\n")
    top_2 = predictions(place, "type: softmax_loss, top_k: 2", three, samples, labels)
    assert top_2 == ([0, 1, 0], "3 of 3 right, 100.00 %\n")


def test_a_net_without_parameters_is_refused(place):
    (place.folder / "net.prototxt").write_text(caffe_nets.lenet())
    result = place.run("ps-ctl", "predict", "net.prototxt", "--shape", "1,28,28", "--images", "none")
    assert (result.returncode, result.stdout) == (64, "")
    assert "a net without its parameters" in result.stderr
