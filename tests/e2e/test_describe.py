"""ps-ctl describe: a net as a table."""

import json

from tests.e2e.harness import REPOSITORY


def test_a_job_layer_by_layer(place):
    result = place.run("ps-ctl", "describe", REPOSITORY / "bench/nets/lenet.yaml", "--batch", 2)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1] == ["conv1", "convolution", "1x28x28", "20x24x24", "520", "288,000", "90.0", "KiB"]
    assert lines[9][:3] == ["total", "431,080", "2,293,000"]


def test_json_says_the_same(place):
    result = place.run("ps-ctl", "describe", REPOSITORY / "bench/nets/resnet20.yaml", "--json")
    net = json.loads(result.stdout)
    assert net["batch"] == 64
    assert net["total"]["parameters"] == sum(layer["parameters"] for layer in net["layers"])
    assert {layer["name"]: layer["inputs"] for layer in net["layers"]}["s1b1_sum"] == ["s1b1_bn2", "relu"]


def test_what_is_no_net_is_refused(place):
    result = place.run("ps-ctl", "describe", "nowhere.yaml")
    assert (result.returncode, result.stdout) == (64, "")
    assert "no job file at nowhere.yaml" in result.stderr
