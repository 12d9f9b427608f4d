"""Models go from PyTorch to here as ONNX, and from here to PyTorch as safetensors."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from downpour.predictor import Predictor

from tests.e2e import tensors
from tests.e2e.harness import BINARIES, Workplace

SCRIPT = Path(__file__).parent / "exchange_models_with_pytorch.py"

# As the script's Image.
IMAGE = """
name: image
sync: {mode: downpour}
data: {shape: [3, 13, 13], scale: 1}
net:
  - {name: conv1, type: convolution, outputs: 8, kernel: 3, stride: 2, pad: 1}
  - {name: bn1, type: batch_norm}
  - {name: prelu, type: prelu}
  - {name: conv2, type: convolution, outputs: 12, kernel: 3, pad: 2, dilation: 2, groups: 4}
  - {name: relu, type: relu}
  - {name: up, type: transposed_convolution, outputs: 6, kernel: 3, stride: 2}
  - {name: pool, type: pooling, kernel: 2, stride: 2}
  - {name: ip1, type: inner_product, outputs: 9}
  - {name: tanh, type: tanh}
  - {name: ip2, type: inner_product, outputs: 4}
  - {name: loss, type: softmax_loss}
"""


def run(*command: object) -> str:
    done = subprocess.run(command, timeout=300, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def exported(torch_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    run(torch_python, SCRIPT, "export", folder)
    return folder


def here(job: Path, model: Path, samples: np.ndarray) -> np.ndarray:
    rows = pa.FixedSizeListArray.from_arrays(pa.array(samples.ravel()), samples[0].size)
    program = str(BINARIES / "ps-predict")
    with Predictor(job.read_text(), model.read_bytes(), samples[0].size, program=program) as predictor:
        return np.asarray(next(iter(predictor.values(rows).values())))


def require_close(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_allclose(np.ravel(one), np.ravel(other), rtol=1e-4, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize("name", ["words", "image"])
def test_what_pytorch_exports_computes_the_same_here(exported: Path, tmp_path: Path, name: str) -> None:
    job, model = tmp_path / "job.yaml", tmp_path / "model.safetensors"
    run(BINARIES / "ps-ctl", "convert", exported / f"{name}.onnx", "--to", job, model)
    require_close(here(job, model, np.load(exported / f"{name}.samples.npy")), np.load(exported / f"{name}.outputs.npy"))


def test_a_module_loads_what_was_trained_here(exported: Path, tmp_path: Path, torch_python: Path) -> None:
    job, model = tmp_path / "job.yaml", tmp_path / "model.safetensors"
    job.write_text(IMAGE)
    tensors.write(model, tensors.random_parameters(Workplace(tmp_path), job))
    np.savez(tmp_path / "model.npz", **tensors.read(model))
    there = json.loads(run(torch_python, SCRIPT, "load", tmp_path / "model.npz", exported))
    require_close(np.array(there), here(job, model, np.load(exported / "image.samples.npy")))
