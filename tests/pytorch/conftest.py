"""What the comparisons with PyTorch share.

PyTorch lives in an environment of its own, which tools/setup-torch makes; without it they are skipped.
"""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def torch_python() -> Path:
    python = ROOT / ".setup/torch/bin/python"
    if not python.exists():
        pytest.skip(f"no PyTorch at {python}; tools/setup-torch installs it")
    return python


def built(name: str) -> Path:
    binary = ROOT / "bazel-bin/tests/pytorch" / name
    assert binary.exists(), f"{binary} is not built; run bazel build //tests/pytorch:{name}"
    return binary


@pytest.fixture(scope="session")
def lenet_trace() -> Path:
    return built("lenet_trace")


@pytest.fixture(scope="session")
def layer_trace() -> Path:
    return built("layer_trace")


@pytest.fixture(scope="session")
def optimizer_trace() -> Path:
    return built("optimizer_trace")
