"""Caffe's nets and solvers as jobs: they are read as they are, and train."""

import json
import subprocess

import numpy as np
import pytest

from tests.e2e import caffe_nets, tensors
from tests.e2e.harness import FASHION, REPOSITORY
from tests.e2e.idx import write_idx


def convert(place, *arguments):
    result = place.run("ps-ctl", "convert", *arguments)
    assert result.returncode == 0, result.stderr
    return result


def write(place, **texts):
    for name, text in texts.items():
        (place.folder / f"{name}.prototxt").write_text(text)


def total(place, name, shape):
    result = place.run("ps-ctl", "describe", place.folder / f"{name}.prototxt", *(["--shape", shape] if shape else []), "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["total"]


def final_accuracy(place, *arguments):
    result, _, run = place.ps_run(*arguments)
    assert result.returncode == 0, result.stderr
    return json.loads((run / "summary.json").read_text())["accuracy"]


@pytest.mark.parametrize(
    "name, shape, parameters",
    [
        ("lenet", "1,28,28", 431080),
        ("cifar10_quick", "3,32,32", 145578),
        ("cifar10_full", "3,32,32", 89578),
        ("alexnet", None, 60965224),
        ("googlenet", "3,224,224", 13378280),
    ],
)
def test_nets_of_the_literature_have_their_parameters(place, name, shape, parameters):
    write(place, **{name: getattr(caffe_nets, name)()})
    assert total(place, name, shape)["parameters"] == parameters


def test_lenet_trains_by_its_solver(place):
    write(place, lenet_train_test=caffe_nets.lenet(), solver=caffe_nets.LENET_SOLVER)
    convert(place, place.folder / "solver.prototxt", "--shape", "1,28,28", "--to", "lenet.yaml")
    assert final_accuracy(place, place.folder / "lenet.yaml", "--data", FASHION) > 0.7


def test_cifar10_quick_trains_by_its_solver(place):
    """On images of which the left or the right half is bright."""
    write(place, cifar10_quick_train_test=caffe_nets.cifar10_quick(), solver=caffe_nets.CIFAR10_QUICK_SOLVER)
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 2, 2000, np.uint8)
    images = draw.integers(0, 100, (2000, 3, 32, 32), np.uint8)
    images[labels == 0, :, :, :16] += 100
    images[labels == 1, :, :, 16:] += 100
    write_idx(place.folder / "images", images)
    write_idx(place.folder / "labels", labels)
    convert(place, place.folder / "solver.prototxt", "--shape", "3,32,32", "--to", "quick.yaml")
    files = "{images: %s/images, labels: %s/labels}" % (place.folder, place.folder)
    sets = ("data.format=idx", f"data.train={files}", f"data.test={files}")
    flags = [word for each in sets for word in ("--set", each)]
    result, _, run = place.ps_run(place.folder / "quick.yaml", *flags)
    assert result.returncode == 0, result.stderr
    assert json.loads((run / "summary.json").read_text())["accuracy"] > 0.9


def caffemodel(place, text):
    """The file that Caffe would write, from its text."""
    proto = REPOSITORY / "worker/formats/caffe.proto"
    message = "--encode=downpour.formats.caffe.NetParameter"
    return subprocess.run(["protoc", f"--proto_path={proto.parent}", message, proto.name], input=text.encode(),
                          stdout=subprocess.PIPE, check=True).stdout


def test_parameters_come_along(place):
    write(place, net=caffe_nets.layer("data", "Input", "", "data", "input_param { shape { dim: 1 dim: 3 } }")
          + caffe_nets.inner_product("ip/1", "data", 2) + caffe_nets.layer("prob", "Softmax", "ip/1", "prob"))
    weights = " ".join(f"data: {i}" for i in range(6))
    layer = f'layer {{ name: "ip/1" blobs {{ shape {{ dim: 2 dim: 3 }} {weights} }} blobs {{ num: 1 channels: 1 height: 1 width: 2 data: 7 data: 8 }} }}'
    (place.folder / "net.caffemodel").write_bytes(caffemodel(place, layer))
    convert(place, place.folder / "net.prototxt", "net.caffemodel", "--to", "job.yaml", "model.safetensors")
    read = tensors.read(place.folder / "model.safetensors")
    assert read["ip_1.weight"].tolist() == [[0, 1, 2], [3, 4, 5]] and read["ip_1.bias"].tolist() == [7, 8]


def test_what_is_damaged_is_refused(place):
    write(place, net=caffe_nets.lenet())
    (place.folder / "net.caffemodel").write_bytes(b"\xff" * 1000)
    result = place.run("ps-ctl", "convert", "net.prototxt", "net.caffemodel", "--shape", "1,28,28", "--to", "m.safetensors")
    assert (result.returncode, result.stdout) == (64, "")
    assert "net.caffemodel: is no .caffemodel, or damaged" in result.stderr
    assert not (place.folder / "m.safetensors").exists()
