"""Each layer computes what PyTorch's does: values, and gradients of inputs and parameters."""

import json
import runpy
import subprocess
from pathlib import Path

import pytest

TOLERANCE = 1e-4

HERE = Path(__file__).parent
CASES, NOT_COMPARED = (runpy.run_path(str(HERE / "layer_cases.py"))[name] for name in ("CASES", "NOT_COMPARED"))
NAMES = [f"{settings} of {', '.join(shapes)}" for settings, shapes, _ in CASES]


def type_of(settings: str) -> str:
    return settings.split(",")[0].removeprefix("type: ")


def test_every_layer_is_compared(layer_trace: Path) -> None:
    types = subprocess.run([layer_trace, "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    missing = set(types) - set(NOT_COMPARED) - {type_of(settings) for settings, _, _ in CASES}
    assert not missing, "add a line for each to layer_cases.py"


@pytest.fixture(scope="module")
def compared(layer_trace: Path, torch_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """By the case's name, how far off each tensor is. One run of PyTorch for all: it takes long to start."""
    folder = tmp_path_factory.mktemp("layers")
    for index, (settings, shapes, _) in enumerate(CASES):
        place = folder / str(index)
        place.mkdir()
        subprocess.run([layer_trace, place, settings, *shapes], check=True, timeout=60)
    printed = subprocess.run(
        [torch_python, HERE / "replay_layers_with_pytorch.py", folder],
        check=True,
        timeout=300,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    lines = printed.splitlines()
    assert len(lines) == len(CASES)
    return {name: json.loads(line) for name, line in zip(NAMES, lines)}


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_are_pytorchs(compared: dict, name: str) -> None:
    assert not {tensor: off for tensor, off in compared[name].items() if not off <= TOLERANCE}
