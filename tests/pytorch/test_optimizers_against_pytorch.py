"""Each optimizer that PyTorch has moves parameters as PyTorch's does, on one shard and cut over several."""

import json
import subprocess
from pathlib import Path

import pytest

TOLERANCE = 1e-5

# Our settings, PyTorch's class and its options; a clip_value is PyTorch's clip_grad_value_.
CASES = [
    ("{name: sgd, learning_rate: 0.05}", "SGD", {"lr": 0.05}),
    ("{name: sgd, learning_rate: 0.05, weight_decay: 0.1}", "SGD", {"lr": 0.05, "weight_decay": 0.1}),
    ("{name: sgd, learning_rate: 0.05, clip_value: 0.5}", "SGD", {"lr": 0.05}),
    ("{name: momentum, learning_rate: 0.01}", "SGD", {"lr": 0.01, "momentum": 0.9}),
    (
        "{name: momentum, learning_rate: 0.01, momentum: 0.5, weight_decay: 0.1}",
        "SGD",
        {"lr": 0.01, "momentum": 0.5, "weight_decay": 0.1},
    ),
    ("{name: nesterov, learning_rate: 0.01}", "SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    (
        "{name: nesterov, learning_rate: 0.01, momentum: 0.8, weight_decay: 0.1}",
        "SGD",
        {"lr": 0.01, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ),
    ("{name: adagrad, learning_rate: 0.02, epsilon: 1e-10}", "Adagrad", {"lr": 0.02}),
    (
        "{name: adagrad, learning_rate: 0.02, epsilon: 1e-10, initial_accumulator: 0.3, weight_decay: 0.1}",
        "Adagrad",
        {"lr": 0.02, "initial_accumulator_value": 0.3, "weight_decay": 0.1},
    ),
    ("{name: adadelta, learning_rate: 1, epsilon: 1e-6}", "Adadelta", {}),
    (
        "{name: adadelta, learning_rate: 0.5, rho: 0.8, epsilon: 1e-4, weight_decay: 0.1}",
        "Adadelta",
        {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1},
    ),
    ("{name: rmsprop}", "RMSprop", {}),
    (
        "{name: rmsprop, learning_rate: 0.005, alpha: 0.9, epsilon: 1e-6, weight_decay: 0.1}",
        "RMSprop",
        {"lr": 0.005, "alpha": 0.9, "eps": 1e-6, "weight_decay": 0.1},
    ),
    ("{name: adam, learning_rate: 0.001}", "Adam", {}),
    (
        "{name: adam, learning_rate: 0.01, beta1: 0.8, beta2: 0.99, epsilon: 1e-6, weight_decay: 0.1}",
        "Adam",
        {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.1},
    ),
    ("{name: adamw, learning_rate: 0.001, weight_decay: 0.01}", "AdamW", {}),
    ("{name: adamw, learning_rate: 0.02, weight_decay: 0.5}", "AdamW", {"lr": 0.02, "weight_decay": 0.5}),
    ("{name: adamax, learning_rate: 0.002}", "Adamax", {}),
    (
        "{name: adamax, learning_rate: 0.01, beta2: 0.9, weight_decay: 0.1}",
        "Adamax",
        {"lr": 0.01, "betas": (0.9, 0.9), "weight_decay": 0.1},
    ),
    # By foreach: the other path has mu_t twice in the product up to t + 1, until PyTorch 2.0 (pull request 92699).
    ("{name: nadam, learning_rate: 0.002}", "NAdam", {"foreach": True}),
    (
        "{name: nadam, learning_rate: 0.01, beta1: 0.95, momentum_decay: 0.1, weight_decay: 0.1}",
        "NAdam",
        {"lr": 0.01, "betas": (0.95, 0.999), "momentum_decay": 0.1, "weight_decay": 0.1, "foreach": True},
    ),
    ("{name: amsgrad, learning_rate: 0.001}", "Adam", {"amsgrad": True}),
    (
        "{name: amsgrad, learning_rate: 0.01, beta2: 0.9, weight_decay: 0.1}",
        "Adam",
        {"lr": 0.01, "betas": (0.9, 0.9), "amsgrad": True, "weight_decay": 0.1},
    ),
]
NOT_IN_PYTORCH = {"ftrl", "lars"}


def setting(settings: str, key: str) -> str:
    pairs = (pair.split(": ") for pair in settings.strip("{}").split(", "))
    return dict(pairs).get(key, "")


def test_every_optimizer_that_pytorch_has_is_compared(optimizer_trace: Path) -> None:
    names = subprocess.run([optimizer_trace, "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    assert set(names) - NOT_IN_PYTORCH == {setting(settings, "name") for settings, _, _ in CASES}


@pytest.fixture(scope="module")
def compared(optimizer_trace: Path, torch_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """By settings, how far off each case is. One run of PyTorch for all: it takes long to start."""
    folder = tmp_path_factory.mktemp("optimizers")
    cases = []
    for index, (settings, optimizer, options) in enumerate(CASES):
        place = folder / str(index)
        place.mkdir()
        subprocess.run([optimizer_trace, place, settings], check=True, timeout=60)
        clip_value = float(setting(settings, "clip_value") or 0)
        cases.append({"folder": str(place), "optimizer": optimizer, "options": options, "clip_value": clip_value})
    (folder / "cases.json").write_text(json.dumps(cases))
    replay = Path(__file__).with_name("replay_optimizers_with_pytorch.py")
    printed = subprocess.run(
        [torch_python, replay, folder / "cases.json"], check=True, timeout=300, stdout=subprocess.PIPE, text=True
    ).stdout
    lines = printed.splitlines()
    assert len(lines) == len(CASES)
    return {settings: json.loads(line) for (settings, _, _), line in zip(CASES, lines)}


@pytest.mark.parametrize("settings", [settings for settings, _, _ in CASES])
def test_parameters_after_each_step_are_pytorchs(compared: dict, settings: str) -> None:
    case = compared[settings]
    assert case["steps"] == 50
    assert case["moved"] > 1e-3, "the trace must be one in which parameters move"
    assert case["dense"] <= TOLERANCE
    assert case["split"] <= TOLERANCE
