"""Data that is less than a job asks for."""

import json
import struct

import numpy as np
import pytest

from tests.e2e.harness import data_section


@pytest.mark.parametrize("mode", ["bsp", "downpour", "peer"])
def test_a_batch_larger_than_the_data_and_classes_that_never_occur(place, mode):
    net = [{"name": "ip", "type": "inner_product", "outputs": 14}, {"name": "loss", "type": "softmax_loss"}]
    job = place.job(net="net: " + json.dumps(net), data=data_section(limit=20), sync=json.dumps({"mode": mode}),
                    training=json.dumps({"batch": 64, "epochs": 3}))
    result, events, run = place.ps_run(job)
    assert result.returncode == 0, result.stderr
    assert events[-1]["event"] == "summary"
    assert events[-1]["samples"] == 3 * 20
    content = (run / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:8 + size])
    begin, end = header["ip.bias"]["data_offsets"]
    bias = np.frombuffer(content[8 + size:][begin:end], np.float32)
    assert len(bias) == 14
    assert np.isfinite(bias).all()
    assert (bias[10:] < 0).all()  # what never occurs becomes less likely
