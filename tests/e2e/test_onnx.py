"""Nets as ONNX compute what they compute here."""

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from downpour.predictor import Predictor

from tests.e2e import tensors
from tests.e2e.harness import BINARIES, REPOSITORY

# Every layer that ONNX has, with windows that do not come out even.
ZOO = """
name: zoo
sync: {mode: downpour}
data: {shape: [3, 15, 15], scale: 0.5, transforms: {mean: [0.25, -1, 0.5]}}
net:
  - {name: conv1, type: convolution, outputs: 8, kernel: 3, pad: 1, stride: 2}
  - {name: norm, type: batch_norm, epsilon: 0.001}
  - {name: prelu, type: prelu}
  - {name: dilated, type: convolution, outputs: 8, kernel: 3, pad: 2, dilation: 2, groups: 4}
  - {name: leaky, type: leaky_relu, slope: 0.2}
  - {name: elu, type: elu, slope: 0.7}
  - {name: sum, type: eltwise, inputs: [elu, prelu, leaky]}
  - {name: product, type: eltwise, operation: product, inputs: [sum, prelu, leaky]}
  - {name: largest, type: eltwise, operation: max, inputs: [sum, product]}
  - {name: max, type: pooling, kernel: 3, stride: 2, round_up: true, inputs: [largest]}
  - {name: padded_max, type: pooling, kernel: 3, stride: 2, pad: 1, inputs: [largest]}
  - {name: average, type: pooling, kernel: 3, stride: 2, round_up: true, method: average, inputs: [largest]}
  - {name: padded_average, type: pooling, kernel: 4, stride: 3, pad: 1, round_up: true, method: average, inputs: [largest]}
  - {name: even_average, type: pooling, kernel: 2, stride: 2, pad: 1, method: average, inputs: [largest]}
  - {name: concat, type: concat, inputs: [max, average]}
  - {name: lrn, type: lrn, local_size: 3, alpha: 0.5, k: 2}
  - {name: up, type: transposed_convolution, outputs: 6, kernel: 3, stride: 2, pad: 1, dilation: 2, groups: 2}
  - {name: layer_norm, type: layer_norm}
  - {name: row_norm, type: layer_norm, axis: step}
  - {name: left, type: slice, axis: width, to: 5}
  - {name: upper, type: slice, from: 1, to: 5}
  - {name: reshaped, type: reshape, shape: [2, 9, 10]}
  - {name: softmax, type: softmax}
  - {name: drop, type: dropout, rate: 0.25}
  - {name: sigmoid, type: sigmoid}
  - {name: global, type: global_pooling, method: average}
  - {name: ip1, type: inner_product, outputs: 16}
  - {name: tanh, type: tanh}
  - {name: flat_norm, type: batch_norm}
  - {name: flat_prelu, type: prelu}
  - {name: row, type: inner_product, outputs: 16, inputs: [padded_average]}
  - {name: other, type: inner_product, outputs: 16, inputs: [padded_max]}
  - {name: third, type: inner_product, outputs: 16, inputs: [even_average]}
  - {name: global_max, type: global_pooling, inputs: [concat]}
  - {name: mixed, type: eltwise, inputs: [flat_prelu, global_max]}
  - {name: rows, type: concat, inputs: [mixed, row, other, third]}
  - {name: gelu, type: gelu}
  - {name: flat_layer_norm, type: layer_norm}
  - {name: flat_softmax, type: softmax}
  - {name: ip2, type: inner_product, outputs: 5}
  - {name: loss, type: softmax_loss}
"""


# Layers that are written as several nodes, and read as one again.
SEVERAL = """
name: several
sync: {mode: downpour}
data: {shape: [4, 9, 9], scale: 1}
net:
  - {name: maxout, type: maxout, pieces: 2}
  - {name: within, type: lrn, region: within_channel, local_size: 3, alpha: 2, k: 1.5}
  - {name: flatten, type: flatten}
  - {name: flat_maxout, type: maxout, pieces: 3}
  - {name: ip, type: inner_product, outputs: 5}
  - {name: loss, type: softmax_loss}
"""

# Of ids of words.
SEQUENCE = """
name: sequence
sync: {mode: downpour}
data: {shape: [7], scale: 1}
net:
  - {name: words, type: embedding, vocabulary: 9, outputs: 5}
  - {name: each, type: inner_product, outputs: 6, per_step: true}
  - {name: attention, type: self_attention, heads: 3}
  - {name: causal, type: self_attention, heads: 2, causal: true}
  - {name: lstm, type: lstm, outputs: 4}
  - {name: gru, type: gru, outputs: 8, last: true}
  - {name: ip, type: inner_product, outputs: 3}
  - {name: loss, type: softmax_loss}
"""


@pytest.fixture
def net(place, request):
    """The job file of a net of bench/nets, or of the one above, and a file of random parameters."""
    job = place.folder / "net.yaml"
    known = REPOSITORY / f"bench/nets/{request.param}.yaml"
    own = {"zoo": ZOO, "several": SEVERAL, "sequence": SEQUENCE}
    job.write_text(own.get(request.param) or known.read_text())
    model = place.folder / "net.safetensors"
    tensors.write(model, tensors.random_parameters(place, job))
    return job, model


def here(job, model, samples):
    rows = pa.FixedSizeListArray.from_arrays(pa.array(samples.ravel()), samples[0].size)
    with Predictor(job.read_text(), model.read_bytes(), samples[0].size, program=str(BINARIES / "ps-predict")) as predictor:
        return next(iter(predictor.values(rows).values()))


def there(model, samples):
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: samples})[0]


def samples_for(model):
    shape = onnxruntime.InferenceSession(str(model)).get_inputs()[0].shape[1:]
    samples = np.random.default_rng(2).normal(0, 1, [3, *shape]).astype(np.float32)
    return np.floor(np.abs(samples) * 100) % 9 if len(shape) == 1 and shape[0] == 7 else samples


def close(one, other):
    np.testing.assert_allclose(np.ravel(one), np.ravel(other), rtol=1e-4, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize("net", ["lenet", "cifar10_quick", "resnet20", "mlp", "zoo", "several", "sequence"], indirect=True)
def test_another_runtime_computes_the_same(place, net):
    result = place.run("ps-ctl", "convert", *net, "--to", "net.onnx")
    assert result.returncode == 0, result.stderr
    exported = place.folder / "net.onnx"
    samples = samples_for(exported)
    close(there(exported, samples), here(*net, samples))


@pytest.mark.parametrize("net", ["lenet", "cifar10_quick", "resnet20", "zoo", "several", "sequence"], indirect=True)
def test_what_was_written_is_read_again(place, net):
    for step in ((*net, "--to", "net.onnx"), ("net.onnx", "--to", "again.yaml", "again.safetensors")):
        result = place.run("ps-ctl", "convert", *step)
        assert result.returncode == 0, result.stderr
    samples = samples_for(place.folder / "net.onnx")
    again = place.folder / "again.yaml", place.folder / "again.safetensors"
    np.testing.assert_array_equal(here(*again, samples), here(*net, samples))
    before, after = tensors.read(net[1]), tensors.read(again[1])
    assert {name: values.shape for name, values in before.items()} == {name: values.shape for name, values in after.items()}

