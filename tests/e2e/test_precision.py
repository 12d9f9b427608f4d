"""Products of bf16 learn what float32 learns, where the CPU has them. Precisions are refused where they are not."""

import json
import pathlib
import re

import pytest

FLAGS = re.search(r"^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
HAS_AMX = FLAGS is not None and "amx_bf16" in FLAGS.group(1).split()
NET = [
    {"name": "conv1", "type": "convolution", "outputs": 20, "kernel": 5},
    {"name": "pool1", "type": "pooling", "kernel": 2, "stride": 2},
    {"name": "conv2", "type": "convolution", "outputs": 50, "kernel": 5},
    {"name": "pool2", "type": "pooling", "kernel": 2, "stride": 2},
    {"name": "ip1", "type": "inner_product", "outputs": 500},
    {"name": "relu1", "type": "relu"},
    {"name": "ip2", "type": "inner_product", "outputs": 10},
    {"name": "loss", "type": "softmax_loss"},
]


def trained(place, precision):
    job = place.job(workers=2, net="net: " + json.dumps(NET), worker=json.dumps({"precision": precision}),
                    sync=json.dumps({"mode": "bsp"}), optimizer=json.dumps({"name": "momentum", "learning_rate": 0.05}),
                    training=json.dumps({"batch": 64, "epochs": 4}))
    result = place.run("ps-run", job, "--json", "--run-dir", place.folder / precision)
    return result, [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.skipif(not HAS_AMX, reason="this CPU has no AMX")
def test_bf16_learns_what_float32_learns(place):
    accuracy = {}
    for precision in ("float32", "bf16"):
        result, events = trained(place, precision)
        assert result.returncode == 0, result.stderr
        accuracy[precision] = events[-1]["accuracy"]
    assert accuracy["float32"] > 0.75
    assert accuracy["bf16"] == pytest.approx(accuracy["float32"], abs=0.02)
    assert accuracy["bf16"] != accuracy["float32"]  # it is another computation


@pytest.mark.skipif(HAS_AMX, reason="this CPU has AMX")
def test_bf16_is_refused_where_the_cpu_has_no_unit_for_it(place):
    result, events = trained(place, "bf16")
    assert result.returncode == 1
    assert "worker.precision is bf16: this CPU has no unit for products of bf16" in events[-1]["problems"][0]


@pytest.mark.parametrize("precision, device, told", [
    ("bf16", "reference", "device reference computes in float32 only"),
    ("tf32", "cpu", "device cpu computes in float32 or bf16"),
])
def test_a_precision_is_refused_on_a_device_without_it(place, precision, device, told):
    job = place.job(worker=json.dumps({"precision": precision, "device": device}))
    result, events, _ = place.ps_run(job)
    assert result.returncode == 1
    assert f"worker.precision is {precision}: {told}; float32 runs anywhere" in events[-1]["problems"][0]
