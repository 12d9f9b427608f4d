"""LeNet trained here and by PyTorch, with the same weights and batches, has the same loss in each step.

PyTorch lives in an environment of its own, which tools/setup-torch makes; without it the test is skipped.
"""

import array
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4


@pytest.fixture
def torch_python() -> Path:
    python = ROOT / ".setup/torch/bin/python"
    if not python.exists():
        pytest.skip(f"no PyTorch at {python}; tools/setup-torch installs it")
    return python


@pytest.fixture
def lenet_trace() -> Path:
    binary = ROOT / "bazel-bin/tests/pytorch/lenet_trace"
    assert binary.exists(), f"{binary} is not built; run bazel build //tests/pytorch:lenet_trace"
    return binary


def test_the_loss_of_each_step_is_pytorchs(lenet_trace: Path, torch_python: Path, tmp_path: Path) -> None:
    subprocess.run([lenet_trace, tmp_path], check=True, timeout=120)
    ours = array.array("f", (tmp_path / "losses.f32").read_bytes())
    replay = Path(__file__).with_name("replay_with_pytorch.py")
    printed = subprocess.run(
        [torch_python, replay, tmp_path], check=True, timeout=300, stdout=subprocess.PIPE, text=True
    ).stdout
    theirs = [float(line) for line in printed.split()]

    assert len(ours) == len(theirs) == 50
    assert theirs[-1] < theirs[0] - 0.3, "the trace must be one in which something is learnt"
    worst = max(range(50), key=lambda step: abs(ours[step] - theirs[step]))
    assert abs(ours[worst] - theirs[worst]) <= TOLERANCE, f"step {worst}: {ours[worst]} and {theirs[worst]}"
