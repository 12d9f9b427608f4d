"""Caffe's nets and solvers as jobs: they are read as they are, and train."""

import json

import pytest

from tests.e2e import caffe_nets
from tests.e2e.harness import FASHION


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
    [("lenet", "1,28,28", 431080)],
)
def test_nets_of_the_literature_have_their_parameters(place, name, shape, parameters):
    write(place, **{name: getattr(caffe_nets, name)()})
    assert total(place, name, shape)["parameters"] == parameters


def test_lenet_trains_by_its_solver(place):
    write(place, lenet_train_test=caffe_nets.lenet(), solver=caffe_nets.LENET_SOLVER)
    convert(place, place.folder / "solver.prototxt", "--shape", "1,28,28", "--to", "lenet.yaml")
    assert final_accuracy(place, place.folder / "lenet.yaml", "--data", FASHION) > 0.7
