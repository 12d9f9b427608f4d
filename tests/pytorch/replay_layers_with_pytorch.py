"""Repeats traces of layer_trace.cc with PyTorch.

    replay_layers_with_pytorch.py FOLDER

FOLDER has a folder for each of layer_cases.py's cases, by its index. For each it prints a line of JSON: by which share
of max(1, |PyTorch's value|) the worst value is off, of the output (or the loss) and of each gradient.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from layer_cases import CASES


def read(path: Path, kind: str = "<f4") -> torch.Tensor:
    return torch.tensor(np.fromfile(path, dtype=kind))


def off(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    theirs = theirs.detach().flatten()
    assert ours.shape == theirs.shape, f"{ours.numel()} values and {theirs.numel()} of PyTorch"
    return float(((ours - theirs).abs() / theirs.abs().clamp(min=1)).max())


def replay(folder: Path, function) -> dict:
    tensors = {}
    for line in (folder / "shapes.txt").read_text().splitlines():
        name, *sides = line.split()
        if name != "output":
            tensors[name] = read(folder / f"{name}.f32").reshape([int(side) for side in sides])
    averages = {name: tensor.clone() for name, tensor in tensors.items() if name.startswith("running_")}
    for name, tensor in tensors.items():
        tensor.requires_grad_(name not in averages)
    inputs = [tensor for name, tensor in tensors.items() if name.startswith("input")]
    parameters = dict(tensors)
    if (folder / "classes.i32").exists():
        parameters["classes"] = read(folder / "classes.i32", "<i4").long()
    if (folder / "numbers.f32").exists():
        parameters["numbers"] = read(folder / "numbers.f32")

    theirs = function(torch, inputs, parameters)
    if (folder / "loss.f32").exists():
        theirs = (theirs * read(folder / "weights.f32")).sum()
        result = {"loss": off(read(folder / "loss.f32"), theirs)}
        theirs.backward()
    else:
        result = {"output": off(read(folder / "output.f32"), theirs)}
        theirs.backward(read(folder / "output_gradient.f32").reshape(theirs.shape))
    for name, tensor in tensors.items():
        gradient = name.replace("input", "input_gradient") if name.startswith("input") else f"{name}_gradient"
        expected = averages[name] - tensor if name in averages else tensor.grad
        result[gradient] = off(read(folder / f"{gradient}.f32"), expected)
    return result


for index, (_, _, function) in enumerate(CASES):
    print(json.dumps(replay(Path(sys.argv[1]) / str(index), function)))
